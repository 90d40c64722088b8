//! One lookup for each fault, several at once, and the count of what came of them.

use std::fmt;
use std::ops::{AddAssign, Range};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::wire::{Fault, Harm, Often, Way, Weather};
use super::world::{Came, Kind, Patient, World};

/// How many lookups are made at once.
const AT_ONCE: usize = 8;
/// The same where most of them do nothing but wait.
const WAITING_AT_ONCE: usize = 32;

/// What came of many lookups.
#[derive(Debug, Default, Clone, Copy)]
pub struct Tally {
    /// The fault came about.
    pub tried: usize,
    pub right: usize,
    pub told: usize,
}

impl Tally {
    /// Counts one lookup.
    pub fn add(&mut self, came: &Came) {
        self.tried += 1;
        match came {
            Came::Right => self.right += 1,
            Came::Told(_) => self.told += 1,
        }
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, more: Self) {
        let Self { tried, right, told } = more;
        self.tried += tried;
        self.right += right;
        self.told += told;
    }
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

/// How much of what could be tried is tried.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    pub kind: Kind,
    /// Every so many'th byte, of the harms each in its turn.
    pub every: usize,
    /// What `FAULTS_ALL` in the environment lifts that to: each harm at every byte, or every byte with a harm in its turn.
    pub each: bool,
}

impl Sample {
    /// The faults on one way.
    pub fn faults(&self, way: Way, harms: &[(Harm, Often)]) -> Vec<Fault> {
        let fine = Fine::of(&World::new(self.kind, Patient::Yes));
        let skipped = fine.port().filter(|_| way == Way::Answered).unwrap_or(0..0);
        let bytes = (0..fine.sent(way).len()).filter(|at| !skipped.contains(at));
        let fault = |at, (harm, often)| Fault { way, at, harm, often };
        let all = std::env::var_os("FAULTS_ALL").is_some();
        if all && self.each {
            return bytes.flat_map(|at| harms.iter().map(move |harm| fault(at, *harm))).collect();
        }
        let every = if all { 1 } else { self.every };
        bytes.step_by(every).zip(harms.iter().cycle()).map(|(at, harm)| fault(at, *harm)).collect()
    }
}

/// One lookup for each fault. Where one did not come about, the lookup must find the right command; the closure judges
/// what else may come.
pub fn sweep(kind: Kind, patient: Patient, faults: &[Fault], judge: impl Fn(&Fault, &Came) + Sync) -> Tally {
    let (next, tally) = (AtomicUsize::new(0), Mutex::new(Tally::default()));
    let waiting = faults.iter().all(|fault| fault.harm == Harm::Silence);
    std::thread::scope(|scope| {
        for _ in 0..if waiting { WAITING_AT_ONCE } else { AT_ONCE } {
            scope.spawn(|| {
                let world = World::new(kind, patient);
                while let Some(fault) = faults.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let (came, trip) = world.lookup(Weather::Harm(*fault));
                    if !trip.harmed() {
                        // A client that bears little silence may have had enough before on a busy machine.
                        let late = matches!(&came, Came::Told(sentence) if sentence.ends_with(": no answer in time"));
                        let fine = came == Came::Right || (late && patient != Patient::Yes);
                        assert!(fine, "nothing happened: {fault:?}: {came:?}");
                        continue;
                    }
                    judge(fault, &came);
                    tally.lock().expect("no panic holds the lock").add(&came);
                }
            });
        }
    });
    tally.into_inner().expect("no panic holds the lock")
}
