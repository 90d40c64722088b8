//! Five hundred kills at random moments: each process of a pod, evenly over its life.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::judge::{Fate, Killed, Tally, Victim, judge};
use super::pod::{Container, End, Pod, STEPS};
use crate::shell::ShellImage;
use crate::skip;
use crate::step::only_child;

/// How many processes are killed.
const KILLS: usize = 500;

/// How many pods there are at a time. They mostly wait.
const LANES: usize = 6;

/// In which moments, unless `FAULTS_SEED` says otherwise.
const SEED: u64 = 0x5EED_0008;

/// Who is killed, in turn.
const VICTIMS: [(usize, Victim); 10] = [
    (0, Victim::Supervisor),
    (1, Victim::Supervisor),
    (2, Victim::Supervisor),
    (0, Victim::Lookup),
    (1, Victim::Lookup),
    (0, Victim::Step),
    (1, Victim::Step),
    (2, Victim::Step),
    (0, Victim::Grandchild),
    (1, Victim::Grandchild),
];

/// Numbers that look random: SplitMix64.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to 1.
    fn fraction(&mut self) -> f64 {
        f64::from(u32::try_from(self.next() >> 32).unwrap()) / f64::from(u32::MAX)
    }
}

/// The processes that a process has started, in their order.
fn children(parent: i32) -> Vec<i32> {
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
    children.split_whitespace().filter_map(|number| number.parse().ok()).collect()
}

/// Whether the process is the lookup of its container: the first that PID 1 has started.
fn is_lookup(number: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{number}/status")).unwrap_or_default();
    status.lines().any(|line| line.starts_with("NSpid:") && line.ends_with("\t2"))
}

/// Whether a process is there and has not ended.
fn lives(number: i32) -> bool {
    fs::read_to_string(format!("/proc/{number}/stat"))
        .is_ok_and(|stat| !stat.contains(") Z ") && !stat.contains(") X "))
}

/// The victim, if it is there.
fn find(supervisor: i32, step: usize, victim: Victim) -> Option<i32> {
    let program = || children(supervisor).into_iter().find(|child| !(super::pod::looks_up(step) && is_lookup(*child)));
    match victim {
        Victim::Supervisor => Some(supervisor),
        Victim::Lookup => children(supervisor).into_iter().find(|child| is_lookup(*child)),
        Victim::Step => program(),
        Victim::Grandchild => only_child(u32::try_from(program()?).ok()?),
    }
    .filter(|found| lives(*found))
}

/// Starts a pod, all steps at once.
fn start(pod: &Pod) -> Vec<Container> {
    (0..STEPS).map(|step| pod.start(step, true)).collect()
}

/// How long each victim lives in a pod that nobody disturbs.
fn lengths(image: &ShellImage) -> Vec<Duration> {
    let measure = |(step, victim): (usize, Victim)| {
        let pod = Pod::new(image);
        let mut containers = start(&pod);
        let supervisor = containers[step].id();
        let found = loop {
            if let Some(found) = find(supervisor, step, victim) {
                break found;
            }
            assert!(containers[step].ended().is_none(), "{victim:?} of step {step} was never seen: {}", pod.shown());
        };
        let since = Instant::now();
        while lives(found) {
            std::thread::sleep(Duration::from_micros(200));
        }
        let length = since.elapsed();
        for mut container in containers {
            assert_eq!(container.end(|_| {}), End::Code(0), "{}", pod.shown());
        }
        assert_eq!(fs::read_to_string(pod.path("order")).unwrap(), "0\n1\n2\n");
        length
    };
    VICTIMS.map(measure).into()
}

/// A pod in which one process is killed, at a moment of its life. None if it had ended by then.
fn trial(pod: &Pod, (step, victim): (usize, Victim), moment: Duration) -> Option<Fate> {
    let mut containers = start(pod);
    let supervisor = containers[step].id();
    let found = loop {
        match find(supervisor, step, victim) {
            Some(found) => break Some(found),
            None if containers[step].ended().is_some() => break None,
            None => std::thread::sleep(Duration::from_micros(100)),
        }
    };
    std::thread::sleep(moment);
    // A number is not given away again so soon.
    let killed =
        found.filter(|found| lives(*found)).is_some_and(|found| kill(Pid::from_raw(found), Signal::SIGKILL).is_ok());
    let mut own = containers.remove(step);
    let end = own.end(|_| {});
    let fate = judge(pod, 0, Killed { step, victim, end }, containers);
    fate.filter(|_| killed)
}

#[test]
fn after_a_kill_at_any_of_500_moments_the_next_step_is_released_or_told_and_everything_is_whole() {
    if !skip::root("containers whose processes are killed") {
        return;
    }
    let image = ShellImage::new();
    let seed = std::env::var("FAULTS_SEED").map_or(SEED, |seed| seed.parse().expect("FAULTS_SEED is a number"));
    let lengths = lengths(&image);
    let next = AtomicUsize::new(0);
    let (tally, late) = (Mutex::new(Tally::default()), AtomicUsize::new(0));
    let one = |number: usize| {
        let mut random = Random::new(seed ^ (number as u64).wrapping_mul(0xA076_1D64_78BD_642F));
        let who = VICTIMS[number % VICTIMS.len()];
        let (part, parts) = (number / VICTIMS.len(), KILLS / VICTIMS.len());
        for attempt in 0..40 {
            // Its own part of the life; an earlier one each time that it came too late.
            let fraction = (part as f64 + random.fraction()) / parts as f64 * 0.9_f64.powi(attempt);
            let moment = lengths[number % VICTIMS.len()].mul_f64(fraction);
            let pod = Pod::new(&image);
            let met = catch_unwind(AssertUnwindSafe(|| trial(&pod, who, moment))).unwrap_or_else(|panic| {
                eprintln!("FAULTS_SEED={seed}: trial {number}, {who:?} after {moment:?}:\n{}", pod.shown());
                resume_unwind(panic)
            });
            match met {
                Some(fate) => {
                    tally.lock().unwrap().add(who.1, fate);
                    return;
                }
                None => late.fetch_add(1, Ordering::Relaxed),
            };
        }
        panic!("{who:?} always ends too early");
    };
    std::thread::scope(|scope| {
        for _ in 0..LANES {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= KILLS {
                        break;
                    }
                    one(number);
                }
            });
        }
    });
    let tally = tally.into_inner().unwrap();
    eprintln!("seed {seed}: {tally:?}; {} more had ended when they were to be killed", late.into_inner());
    assert_eq!(tally.total(), KILLS);
    assert_eq!(tally.of(Victim::Supervisor), KILLS * 3 / 10);
    // Or the moments are not what they are said to be.
    for fate in [Fate::Told, Fate::Last, Fate::Retried, Fate::Failed] {
        assert!(tally.met(fate) > 0, "{fate:?}");
    }
}
