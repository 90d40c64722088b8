//! Sixty-four steps in one pod: each looks its command up in the cache of all, and waits for the one before it.

use std::fs;
use std::path::PathBuf;
use std::process::Child;

use tempfile::TempDir;

use crate::shell::{ShellImage, scratch};
use crate::step::{Ended, Step, eventually};

const STEPS: usize = 64;

/// A pod that has been started: all of its steps, the last one first.
struct Pod {
    dir: TempDir,
    image: ShellImage,
    steps: Vec<(Step, Child)>,
}

impl Pod {
    /// Each step writes its number down; then it does what `script` says.
    fn start(script: impl Fn(usize) -> String) -> Self {
        let (dir, image) = (scratch(), ShellImage::new());
        let order = dir.path().join("order");
        let flags = image.flags(&dir.path().join("cache"));
        let message = ["-termination_path", "/dev/null"].map(str::to_owned);
        let steps: Vec<Step> = (0..STEPS).map(|_| Step::new().flags(flags.clone()).flags(message.clone())).collect();
        let start = |at: usize| {
            let before = at.checked_sub(1).map(|before| steps[before].path("out").display().to_string());
            let script = format!("echo {at} >>{}; {}", order.display(), script(at));
            let wait = before.iter().flat_map(|file| ["-wait_file", file]);
            steps[at].start(&wait.chain(["--", &script]).collect::<Vec<_>>())
        };
        let mut children: Vec<Child> = (0..STEPS).rev().map(start).collect();
        children.reverse();
        Self { dir, image, steps: steps.into_iter().zip(children).collect() }
    }

    fn order(&self) -> PathBuf {
        self.dir.path().join("order")
    }

    /// How the steps ended, and in which order they ran. Nobody asked the registry for anything but the image.
    fn end(mut self) -> (Vec<Ended>, Vec<usize>) {
        for (_, child) in &mut self.steps {
            eventually("a step ends", || child.try_wait().unwrap().is_some());
        }
        let order = fs::read_to_string(self.order()).unwrap().lines().map(|line| line.parse().unwrap()).collect();
        let asked = self.image.registry.requests();
        let configs = asked.iter().filter(|request| request.path().contains("/blobs/")).count();
        assert!((1..=STEPS).contains(&configs) && asked.len() <= 3 * STEPS, "{configs} of {}", asked.len());
        eprintln!("{STEPS} steps: {} requests, {configs} for the config", asked.len());
        let ends = self.steps.into_iter().map(|(step, child)| {
            assert!(!step.path("out.lock").exists() || !(step.path("out").exists() || step.path("out.err").exists()));
            step.finish(child)
        });
        (ends.collect(), order)
    }
}

/// Everything behind a step that did not succeed says why it does not run.
#[track_caller]
fn skipped(ends: &[Ended]) {
    for ended in ends {
        assert_eq!((ended.code(), ended.post, ended.err), (1, false, true), "{ended:#?}");
        assert!(ended.stderr.ends_with("Skipping step because a previous step failed\n"), "{ended:#?}");
    }
}

#[test]
fn sixty_four_steps_run_one_after_the_other() {
    let (ends, order) = Pod::start(|_| "exit 0".to_owned()).end();
    assert_eq!(order, (0..STEPS).collect::<Vec<_>>());
    for ended in &ends {
        assert_eq!((ended.code(), ended.post, ended.err, ended.stderr.as_str()), (0, true, false, ""), "{ended:#?}");
        assert!(ended.image.is_some());
    }
}

#[test]
fn behind_one_of_sixty_four_that_fails_all_others_skip_themselves() {
    let (ends, order) = Pod::start(|step| if step == 31 { "exit 5" } else { "exit 0" }.to_owned()).end();
    assert_eq!(order, (0..=31).collect::<Vec<_>>());
    assert!(ends[..31].iter().all(|ended| (ended.code(), ended.post) == (0, true)), "{ends:#?}");
    assert_eq!((ends[31].code(), ends[31].err), (5, true));
    skipped(&ends[32..]);
}

#[test]
fn behind_one_of_sixty_four_that_is_killed_the_next_is_told_and_all_others_skip_themselves() {
    // The supervisor, by its own step.
    let (ends, order) = Pod::start(|step| if step == 31 { "kill -KILL $PPID" } else { "exit 0" }.to_owned()).end();
    assert_eq!(order, (0..=31).collect::<Vec<_>>());
    assert_eq!((ends[31].status.code(), ends[31].post, ends[31].err), (None, false, false));
    assert_eq!((ends[32].code(), ends[32].err), (1, true));
    assert!(ends[32].stderr.contains("ended without a report: its entrypoint was killed"), "{:#?}", ends[32]);
    skipped(&ends[33..]);
}
