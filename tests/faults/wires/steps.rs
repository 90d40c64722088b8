//! The built binary as a step behind a wire: what it leaves, that the next step is released, and that no process stays.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::origin::Documents;
use super::sweep::{Fine, Tally};
use super::wire::{Fault, Harm, Often, Way, Weather, Wire};
use super::world::{Came, Kind, Patient, World, is_sentence};
use super::{PLAIN, TLS};
use crate::step::{Ended, Step, eventually};

/// How many steps run at once: most wait for a pause or a limit.
const AT_ONCE: usize = 12;
/// How many bytes are tried on each way, from the first to the last.
const BYTES: usize = 6;
/// What marks the processes of one step.
const MARK: &str = "FAULTS_WIRES_STEP";

/// What is done to steps, and the limit of the lookup: one that is short where silence is waited for.
const HARMS: &[(Harm, Often, &str)] = &[
    (Harm::Closed, Often::Once, "30s"),
    (Harm::Reset, Often::Once, "30s"),
    (Harm::Closed, Often::Always, "30s"),
    (Harm::Silence, Often::Once, "1500ms"),
    (Harm::Flipped(1), Often::Always, "3s"),
    (Harm::Lost, Often::Once, "3s"),
];

/// A step that asks for its command over a wire, and the next one, which waits for it.
fn step(world: &World, weather: Weather, limit: &str) -> Came {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let mark = format!("{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::SeqCst));
    let _trip = world.begin(weather);
    let mut flags = vec!["-image".to_owned(), world.image(), "-image_lookup_timeout".to_owned(), limit.to_owned()];
    flags.extend(["-image_platform".to_owned(), "linux/amd64".to_owned()]);
    if world.kind.over == TLS.over {
        let certificate = format!("{}={}", world.host, world.ca().display());
        flags.extend(["-image_registry_certificate".to_owned(), certificate]);
    }
    let step = Step::new().flags(flags).env(MARK, &mark);
    let next = Step::new().flags(["-wait_file", &step.path("out").display().to_string()]).env(MARK, &mark);
    let waiting = next.start(&["-entrypoint", "/bin/true", "--"]);
    let running = step.start(&["--"]);
    // The next one first: to read what a step has left is to remove its directory, post file and all.
    let next = next.finish(waiting);
    let ended = step.finish(running);
    eventually("no process of the step is left", || !is_running(&mark));
    judged(world, &ended, &next)
}

fn judged(world: &World, ended: &Ended, next: &Ended) -> Came {
    let message = ended.message.as_deref().unwrap_or_else(|| panic!("no message: {ended:#?}"));
    let message: Vec<Value> = serde_json::from_str(message).unwrap_or_else(|error| panic!("{error}: {message}"));
    assert!(!message.is_empty());
    for line in ended.stderr.lines() {
        is_sentence(line);
    }
    assert!(ended.stderr.is_empty() || ended.stderr.ends_with('\n'), "{ended:#?}");
    if ended.code() == 0 {
        let left = (ended.post, ended.err, ended.stdout.as_str(), ended.exit_code.as_deref());
        assert_eq!(left, (true, false, "right\n", Some("0")), "{ended:#?}");
        assert_eq!((next.code(), next.post), (0, true), "the next step is released: {next:#?}");
        return Came::Right;
    }
    let left = (ended.code(), ended.post, ended.err, ended.stdout.as_str(), ended.exit_code.as_deref());
    assert_eq!(left, (1, false, true, "", None), "{ended:#?}");
    assert!(message.iter().any(|item| item["key"] == "Reason" && item["value"] == "ImageLookupFailed"), "{message:?}");
    assert_eq!((next.code(), next.err), (1, true), "the next step is told: {next:#?}");
    let last = ended.stderr.lines().last().expect("a line");
    let parts = [" cannot look up the command of image ", &world.host];
    assert!(parts.iter().all(|part| last.contains(part)), "{last}");
    Came::Told(last.to_owned())
}

/// A part of an answer that calls itself whole is what a proxy, or a cache, makes of a connection that was cut: the next
/// answer may be another one.
#[test]
fn a_step_that_waits_asks_again_after_a_document_that_came_short_and_was_called_whole() {
    for document in 0..3 {
        let documents = Documents::new();
        let path = documents.paths()[document].clone();
        let asked_for = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked_for);
        let world = World::saying(PLAIN, Patient::Yes, Wire::new, move |kind, realm, asked| {
            let mut said = documents.answer(kind.login, kind.scheme(), realm, asked);
            if asked.path == path && counted.fetch_add(1, Ordering::SeqCst) == 0 {
                said.body.truncate(said.body.len() / 2);
            }
            said.framed(kind.connections)
        });
        let _trip = world.begin(Weather::Fine);
        let step = Step::new().flags(["-image", &world.image(), "-image_platform", "linux/amd64"]);
        let before = step.path("before");
        let step = step.flags(["-wait_file", &before.display().to_string()]);
        let running = step.start(&["--"]);
        eventually("the first half was given", || asked_for.load(Ordering::SeqCst) > 0);
        std::fs::write(before, "").expect("the step's turn");
        let ended = step.finish(running);
        assert_eq!((ended.code(), ended.stdout.as_str()), (0, "right\n"), "document {document}: {ended:#?}");
    }
}

/// Whether there is a process with this mark in its environment, whoever its parent is by now.
fn is_running(mark: &str) -> bool {
    let mark = format!("{MARK}={mark}\0");
    let environment = |process: &Path| std::fs::read(process.join("environ")).unwrap_or_default();
    let processes = std::fs::read_dir("/proc").expect("/proc").flatten().map(|entry| entry.path());
    let numbered = |process: &Path| process.file_name().is_some_and(|name| name.as_encoded_bytes()[0].is_ascii_digit());
    processes
        .filter(|process| numbered(process))
        .any(|process| environment(&process).split_inclusive(|byte| *byte == 0).any(|one| one == mark.as_bytes()))
}

#[test]
fn a_step_whose_wire_fails_at_any_byte_releases_the_next_one_and_leaves_no_process() {
    for kind in [PLAIN, TLS] {
        let fine = Fine::of(&World::new(kind, Patient::Yes));
        let mut faults = Vec::new();
        for way in [Way::Asked, Way::Answered] {
            let length = fine.sent(way).len();
            for byte in 0..BYTES {
                let at = byte * (length - 1) / (BYTES - 1);
                faults.extend(
                    HARMS.iter().map(|(harm, often, limit)| (Fault { way, at, harm: *harm, often: *often }, *limit)),
                );
            }
        }
        let tally = steps(kind, &faults);
        eprintln!("steps, {:?}: {tally}", kind.over);
        assert!(tally.right > 0 && tally.told > 0);
    }
}

fn steps(kind: Kind, faults: &[(Fault, &str)]) -> Tally {
    let (next, tally) = (AtomicUsize::new(0), Mutex::new(Tally::default()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                let world = World::new(kind, Patient::Yes);
                while let Some((fault, limit)) = faults.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let came = step(&world, Weather::Harm(*fault), limit);
                    let mended = fault.often == Often::Once && matches!(fault.harm, Harm::Closed | Harm::Reset);
                    assert!(!mended || came == Came::Right, "{fault:?}: {came:?}");
                    if let (Harm::Silence, Came::Told(sentence)) = (fault.harm, &came) {
                        assert!(sentence.contains("(-image_lookup_timeout)"), "{fault:?}: {sentence}");
                    }
                    tally.lock().expect("no panic holds the lock").add(&came);
                }
            });
        }
    });
    tally.into_inner().expect("no panic holds the lock")
}
