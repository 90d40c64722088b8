//! A kill before every system call of every process of a step: between two of them nobody outside sees a difference.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::judge::{Fate, Killed, Tally, Victim, judge};
use super::pod::{End, Pod};
use super::tracer::{Moment, Traced, run};
use crate::shell::ShellImage;
use crate::skip;

/// How many pods there are at a time.
const LANES: usize = 4;

/// The step that is traced: it waits, looks its command up, and is waited for.
const STEP: usize = 1;

/// Of so many calls of each process one is tried, beside those that change something, unless `FAULTS_ALL` asks for all.
const SAMPLE: [usize; 4] = [3, 12, 16, 10];

/// Runs the traced step between one that has succeeded and one that waits.
fn trial(image: &ShellImage, contained: bool, moment: Option<Moment>) -> (Traced, Option<Fate>) {
    let pod = Pod::new(image);
    let turn = || {
        fs::create_dir_all(pod.left(0, "")).unwrap();
        fs::write(pod.left(0, "out"), "").unwrap();
    };
    let judged = catch_unwind(AssertUnwindSafe(|| {
        let next = pod.start(STEP + 1, true);
        // Its turn comes once it waits for it.
        let traced = run(&pod, STEP, contained, moment, turn);
        turn();
        let killed = Killed { step: STEP, victim: victim(moment), end: traced.end };
        let fate = judge(&pod, STEP, killed, vec![next]);
        (traced, fate)
    }));
    judged.unwrap_or_else(|panic| {
        eprintln!("killed at {moment:?}, in a namespace: {contained}\n{}", pod.shown());
        resume_unwind(panic)
    })
}

/// Who is killed, by the order in which the processes are made.
fn victim(moment: Option<Moment>) -> Victim {
    match moment {
        None | Some(Moment { whole: true, .. } | Moment { process: 0, .. }) => Victim::Supervisor,
        Some(Moment { process: 1, .. }) => Victim::Lookup,
        Some(Moment { process: 2, .. }) => Victim::Step,
        Some(_) => Victim::Grandchild,
    }
}

/// The moments of a run that are tried. Where the lookup changes something, the container as a whole is killed too: nobody
/// mends then what is left.
fn moments(calls: &[Vec<bool>]) -> Vec<Moment> {
    let every = std::env::var_os("FAULTS_ALL").is_some();
    let mut moments = Vec::new();
    for (process, calls) in calls.iter().enumerate() {
        for (before, changes) in calls.iter().enumerate() {
            let moment = Moment { process, call: before + 1, whole: false };
            if every || *changes || moment.call.is_multiple_of(SAMPLE[process]) {
                moments.push(moment);
            }
            if process == 1 && (every || *changes) {
                moments.push(Moment { whole: true, ..moment });
            }
        }
    }
    moments
}

#[test]
fn a_kill_before_any_system_call_leaves_the_next_step_released_or_told_and_everything_whole() {
    if !skip::root("containers that are killed at each system call") {
        return;
    }
    let image = ShellImage::new();
    let (whole, fate) = trial(&image, true, None);
    assert_eq!((whole.end, whole.killed, fate, whole.calls.len()), (End::Code(0), false, None, 4), "{whole:?}");
    let moments = moments(&whole.calls);
    let made: Vec<usize> = whole.calls.iter().map(Vec::len).collect();
    let (next, late) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let met: Mutex<Vec<(Moment, Fate)>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..LANES {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(&moment) = moments.get(number) else { break };
                    // Where the steps of a pod see each other's processes, nobody is PID 1 of its own.
                    match trial(&image, moment.whole || number % 2 == 0, Some(moment)) {
                        (Traced { killed: true, .. }, Some(fate)) => met.lock().unwrap().push((moment, fate)),
                        // Runs differ by a call or two.
                        _ => drop(late.fetch_add(1, Ordering::Relaxed)),
                    }
                }
            });
        }
    });
    let (met, late) = (met.into_inner().unwrap(), late.into_inner());
    let mut tally = Tally::default();
    met.iter().for_each(|(moment, fate)| tally.add(victim(Some(*moment)), *fate));
    eprintln!("{made:?} calls; of {} moments {late} did not come: {tally:?}", moments.len());
    // A run that is kept waiting by others makes more calls than most.
    assert!(late * 2 < moments.len(), "{late} of {} moments did not come", moments.len());
    for fate in [Fate::Told, Fate::Reported, Fate::Retried, Fate::Failed] {
        assert!(tally.met(fate) > 0, "{fate:?}");
    }
    // Nobody can tell of one that is killed before it has said that it lives; it says so once it knows where, and for good.
    let own = || met.iter().filter(|(moment, _)| moment.process == 0);
    let calls = |wanted: Fate| own().filter(move |(_, fate)| *fate == wanted).map(|(moment, _)| moment.call);
    let (silent, told) = (calls(Fate::Unannounced).max().unwrap_or(0), calls(Fate::Told).min().unwrap());
    eprintln!("the supervisor says that it lives between its calls {silent} and {told}");
    assert!(silent < told, "{silent} {told}");
}
