//! One lookup for each fault, several at once, and the count of what came of them.

use std::fmt;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::wire::{Fault, Harm, Often, Way, Weather};
use super::world::{Came, Kind, Patient, World};

/// How many lookups are made at once. Most of them wait for something.
const AT_ONCE: usize = 8;

/// What came of many lookups.
#[derive(Debug, Default, Clone, Copy)]
pub struct Tally {
    /// The fault came about.
    pub tried: usize,
    pub right: usize,
    pub told: usize,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tried {}: the right command {}, told {}", self.tried, self.right, self.told)
    }
}

/// What goes over the wire in a lookup that nothing happens to.
pub struct Fine {
    pub asked: Vec<u8>,
    pub answered: Vec<u8>,
}

impl Fine {
    pub fn of(world: &World) -> Self {
        let (came, trip) = world.lookup(Weather::Fine);
        assert_eq!(came, Came::Right);
        Self { asked: trip.sent(Way::Asked), answered: trip.sent(Way::Answered) }
    }

    pub fn sent(&self, way: Way) -> &[u8] {
        match way {
            Way::Asked => &self.asked,
            Way::Answered => &self.answered,
        }
    }

    /// The port in the realm that a registry names. Another one may be somebody's who is not of these tests.
    pub fn port(&self) -> Option<Range<usize>> {
        let host = b"://localhost:";
        let begin = self.answered.windows(host.len()).position(|window| window == host)? + host.len();
        let digits = self.answered[begin..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        Some(begin - 1..begin + digits + 1)
    }
}

/// Whether sampling is lifted: every harm at every byte.
pub fn all() -> bool {
    std::env::var_os("FAULTS_ALL").is_some()
}

/// The faults for a kind of registry: each of the harms at each byte with `FAULTS_ALL`, and otherwise each in its turn at
/// every `step`th byte.
pub fn faults(kind: Kind, way: Way, step: usize, harms: &[(Harm, Often)]) -> Vec<Fault> {
    let fine = Fine::of(&World::new(kind, Patient::Yes));
    let skipped = fine.port().filter(|_| way == Way::Answered).unwrap_or(0..0);
    // Signatures in a handshake differ in length from one to the next.
    let bytes = (0..fine.sent(way).len()).filter(|at| !skipped.contains(at));
    let fault = |at, (harm, often)| Fault { way, at, harm, often };
    if all() {
        return bytes.flat_map(|at| harms.iter().map(move |harm| fault(at, *harm))).collect();
    }
    bytes.step_by(step).zip(harms.iter().cycle()).map(|(at, harm)| fault(at, *harm)).collect()
}

/// One lookup for each fault. Where one did not come about, the lookup must find the right command; the closure judges
/// what else may come.
pub fn sweep(kind: Kind, patient: Patient, faults: &[Fault], judge: impl Fn(&Fault, &Came) + Sync) -> Tally {
    let (next, tally) = (AtomicUsize::new(0), Mutex::new(Tally::default()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                let world = World::new(kind, patient);
                while let Some(fault) = faults.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let (came, trip) = world.lookup(Weather::Harm(*fault));
                    if !trip.harmed() {
                        assert_eq!(came, Came::Right, "nothing happened: {fault:?}");
                        continue;
                    }
                    judge(fault, &came);
                    let mut tally = tally.lock().expect("no panic holds the lock");
                    tally.tried += 1;
                    match came {
                        Came::Right => tally.right += 1,
                        Came::Told(_) => tally.told += 1,
                    }
                }
            });
        }
    });
    tally.into_inner().expect("no panic holds the lock")
}
