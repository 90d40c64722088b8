//! Filesystems that fill up or turn read-only, at every write.
//!
//! A first run counts the calls that change the disk; then each of them fails, alone or with all that come after it, in each
//! of the ways of [`faults::FAULTS`]. By default a few ways are tried at each position, others at the next; `FAULTS_ALL=1` tries all.

#[path = "disks/faults.rs"]
mod faults;
#[path = "disks/judge.rs"]
mod judge;
#[path = "disks/real.rs"]
mod real;
#[path = "disks/scenarios.rs"]
pub(crate) mod scenarios;
#[path = "disks/world.rs"]
pub(crate) mod world;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use self::faults::{Disk, FAULTS, Fault};
use self::judge::{Left, Next};
use self::scenarios::Scenario;
use crate::tracer;

/// How many ways are tried at each position.
const SAMPLED: usize = 2;

/// How many runs there are at a time: some of them sleep for seconds.
const WORKERS: usize = 8;

/// How many of those that only sleep.
const TOGETHER: usize = 32;

/// One run.
fn run(scenario: &Scenario, mut disk: Disk, quiet: &Path) -> (Disk, Left) {
    world::clear();
    let command = scenario.ready();
    let before = world::files();
    let ended = tracer::run(&command, quiet, &mut disk);
    let processes = world::left();
    let files = world::files();
    let next = if scenario.step { Next::after(&files, quiet) } else { Next::Nobody };
    (disk, Left { ended, before, files, processes, next })
}

/// The same with the next step waiting meanwhile, and what becomes of that.
fn run_beside_the_next(scenario: &Scenario, mut disk: Disk, quiet: &Path) -> Next {
    let command = scenario.ready();
    let next = Next::starts(quiet);
    crate::step::waits(&next);
    tracer::run(&command, quiet, &mut disk);
    Next::ends(next)
}

/// What is tried.
struct Case {
    scenario: usize,
    at: usize,
    fault: Fault,
}

#[derive(Default)]
struct Told {
    /// By scenario: what became of the next step, and how often.
    next: BTreeMap<(usize, Next), usize>,
    /// After these the next step finds nothing.
    no_sign: Vec<(usize, usize, Fault)>,
    wrong: Vec<String>,
}

#[test]
fn a_disk_that_fails_at_any_write_leaves_whole_files_and_nobody_waiting() {
    if !tracer::available("disks that fail") {
        return;
    }
    let (registry, _layout) = scenarios::registry();
    let host = registry.host();
    let wanted = std::env::var("FAULTS_ONLY").unwrap_or_default();
    let all: Arc<Vec<Scenario>> =
        Arc::new(scenarios::all(&host).into_iter().filter(|scenario| scenario.name.contains(&*wanted)).collect());
    let counted = {
        let all = Arc::clone(&all);
        world::with_disk(move |quiet| {
            all.iter().map(|scenario| run(scenario, Disk::default(), quiet)).collect::<Vec<_>>()
        })
        .join()
        .unwrap()
    };
    let every = std::env::var_os("FAULTS_ALL").is_some_and(|all| all == "1");
    let mut cases = Vec::new();
    for (scenario, (disk, left)) in counted.iter().enumerate() {
        assert!(!disk.positions.is_empty(), "{}", all[scenario].name);
        assert_eq!(left.wrong_without_fault(&all[scenario]), [""; 0], "{}: {left:#?}", all[scenario].name);
        for at in 0..disk.positions.len() {
            let ways = if every { FAULTS.len() } else { SAMPLED };
            // Neighbours are tried in different ways.
            let way = |n: usize| FAULTS[(at * SAMPLED + n + scenario * 5) % FAULTS.len()];
            cases.extend((0..ways).map(|n| Case { scenario, at, fault: way(n) }));
        }
    }
    let (cases, counted) = (Arc::new(cases), Arc::new(counted));
    let (turn, told) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Told::default())));
    let workers: Vec<_> = (0..WORKERS)
        .map(|_| {
            let (all, cases, counted) = (Arc::clone(&all), Arc::clone(&cases), Arc::clone(&counted));
            let (turn, told) = (Arc::clone(&turn), Arc::clone(&told));
            world::with_disk(move |quiet| {
                while let Some(Case { scenario, at, fault }) = cases.get(turn.fetch_add(1, Ordering::Relaxed)) {
                    let (disk, left) = run(&all[*scenario], Disk::failing(*at, *fault), quiet);
                    let wrong = left.wrong(&all[*scenario], *fault, &disk, &counted[*scenario].1);
                    let mut told = told.lock().unwrap();
                    *told.next.entry((*scenario, left.next)).or_default() += 1;
                    if left.next == Next::NoSign {
                        told.no_sign.push((*scenario, *at, *fault));
                    }
                    if !wrong.is_empty() {
                        let (name, refused) = (all[*scenario].name, &disk.refused);
                        told.wrong.push(format!(
                            "{name}, {fault:?} at {at}: {wrong:#?}\n  refused: {refused:?}\n  {:?}\n  next: {:?}\n",
                            left.ended, left.next
                        ));
                    }
                }
            })
        })
        .collect();
    workers.into_iter().for_each(|worker| worker.join().unwrap());
    let mut told = told.lock().unwrap();
    // What stands on no disk is told to those who wait meanwhile. They look every other second, so all of them at once.
    let no_sign = std::mem::take(&mut told.no_sign);
    for some in no_sign.chunks(TOGETHER) {
        let waiting: Vec<_> = some
            .iter()
            .map(|&(scenario, at, fault)| {
                let all = Arc::clone(&all);
                world::with_disk(move |quiet| {
                    let next = run_beside_the_next(&all[scenario], Disk::failing(at, fault), quiet);
                    let name = all[scenario].name;
                    (next != Next::ToldDead).then(|| format!("{name}, {fault:?} at {at}: the next step: {next:?}"))
                })
            })
            .collect();
        told.wrong.extend(waiting.into_iter().filter_map(|waiting| waiting.join().unwrap()));
    }
    eprintln!("{} without a sign on the disk", no_sign.len());
    for (scenario, (disk, _)) in counted.iter().enumerate() {
        let next: Vec<_> =
            told.next.iter().filter(|((of, _), _)| *of == scenario).map(|((_, next), n)| (next, n)).collect();
        eprintln!("{}: {} positions, {next:?}", all[scenario].name, disk.positions.len());
    }
    assert!(told.wrong.is_empty(), "{} of {} went wrong:\n{}", told.wrong.len(), cases.len(), told.wrong.join("\n"));
    eprintln!("{} runs with a disk that failed", cases.len());
}
