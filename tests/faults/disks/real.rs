//! The same with the kernel's own full and read-only filesystems: with room for so many pages or files and not for one more,
//! and read-only from a moment on at which the step runs.

use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::sys::statvfs::statvfs;

use super::faults::{Disk, Fault};
use super::judge::{Left, Next};
use super::scenarios::{self, Scenario};
use super::world::{self, DISK};
use crate::step::eventually;
use crate::tracer;

/// What there is little of.
#[derive(Debug, Clone, Copy)]
enum Little {
    Pages(u64),
    Files(u64),
}

/// Runs a scenario on a new disk that has room for what is there, and for so much more.
fn run(scenario: &Scenario, little: Option<Little>, quiet: &Path) -> Left {
    let mounted = |flags, data: &str| mount(Some("none"), DISK, Some("tmpfs"), flags, Some(data)).unwrap();
    mounted(MsFlags::empty(), "size=1m");
    let command = scenario.ready();
    let before = world::files();
    let there = statvfs(DISK).unwrap();
    let pages = there.blocks() - there.blocks_free();
    let files = there.files() - there.files_free();
    match little {
        // No limit is what nothing at all would mean.
        Some(Little::Pages(more)) => {
            mounted(MsFlags::MS_REMOUNT, &format!("size={}", ((pages + more) * 4096).max(4096)));
        }
        Some(Little::Files(more)) => mounted(MsFlags::MS_REMOUNT, &format!("nr_inodes={}", files + more)),
        None => {}
    }
    let next = scenario.step.then(|| Next::starts(quiet));
    // At a breakpoint the post file is a person's, and there.
    if let Some(next) = next.as_ref().filter(|_| !before.contains_key("run/0/out.err")) {
        crate::step::waits(next);
    }
    let ended = tracer::run(&command, quiet, &mut Disk::default());
    let next = next.map_or(Next::Nobody, Next::ends);
    let left = Left { ended, before, files: world::files(), processes: world::left(), next };
    unmount();
    left
}

/// Takes the upper disk away. The kernel takes its time to give back what watched it.
fn unmount() {
    nix::mount::umount2(DISK, nix::mount::MntFlags::MNT_DETACH).unwrap();
}

#[test]
fn a_filesystem_with_room_for_so_much_and_no_more_leaves_whole_files_and_nobody_waiting() {
    if !tracer::available("filesystems that are full") {
        return;
    }
    let (registry, _layout) = scenarios::registry();
    let host = registry.host();
    let count = scenarios::all(&host).len();
    let runs: Vec<_> = (0..count)
        .map(|number| {
            let host = host.clone();
            world::with_disk(move |quiet| {
                let scenario = scenarios::all(&host).swap_remove(number);
                let whole = run(&scenario, None, quiet);
                let pages = (0..8).map(Little::Pages);
                // As many as it makes, and one more.
                let made = u64::try_from(whole.files.len() - whole.before.len()).unwrap() + 4;
                let cases: Vec<Little> = pages.chain((0..made).map(Little::Files)).collect();
                let (mut wrong, mut nexts) = (Vec::new(), Vec::new());
                for little in &cases {
                    let left = run(&scenario, Some(*little), quiet);
                    let what = left.wrong(&scenario, Fault::Full, &Disk::default(), &whole);
                    if !what.is_empty() {
                        wrong.push(format!("{}, {little:?}: {what:#?} {left:#?}", scenario.name));
                    }
                    nexts.push(left.next);
                }
                (scenario.name, cases.len(), wrong, nexts)
            })
        })
        .collect();
    let mut wrong = Vec::new();
    let mut all = 0;
    for run in runs {
        let (name, cases, what, nexts) = run.join().unwrap();
        let of = |next| nexts.iter().filter(|seen| **seen == next).count();
        eprintln!(
            "{name}: {cases} disks: {} ran, {} skipped, {} told dead",
            of(Next::Ran),
            of(Next::Skipped),
            of(Next::ToldDead)
        );
        wrong.extend(what);
        all += cases;
    }
    assert!(wrong.is_empty(), "{} of {all} went wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn a_filesystem_that_turns_read_only_while_the_step_runs_leaves_whole_files_and_nobody_waiting() {
    if !tracer::available("filesystems that turn read-only") {
        return;
    }
    let job = |quiet: &Path| {
        world::clear();
        let go = quiet.join("go");
        let script = format!(
            "printf value >/tekton/results/r; : >/tekton/ready; until [ -e {} ]; do sleep 0.01; done; exit $0",
            go.display()
        );
        for code in ["0", "3"] {
            let _ = std::fs::remove_file(&go);
            let step = scenarios::step(
                "a step",
                || (),
                &["-results", "r"],
                &["-entrypoint", "/bin/sh", "--", "-c", &script, code],
            );
            let command = step.ready();
            let next = Next::starts(quiet);
            let sealed = std::thread::spawn({
                let go = go.clone();
                move || {
                    eventually("the step runs", || Path::new("/tekton/ready").exists());
                    let none: Option<&str> = None;
                    mount(Some(DISK), DISK, none, MsFlags::MS_BIND, none).unwrap();
                    let read_only = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
                    mount(none, DISK, none, read_only, none).unwrap();
                    std::fs::write(go, "").unwrap();
                }
            });
            let ended = tracer::run(&command, quiet, &mut Disk::default());
            sealed.join().unwrap();
            // A failure to tell is one of ours, whatever the step's was.
            assert_eq!(ended.code, Some(1), "{ended:?}");
            for file in ["/tekton/termination", "/tekton/run/0/out.err"] {
                let line = ended.stderr.lines().find(|line| line.contains(file));
                assert!(line.is_some_and(|line| line.contains("read-only file system")), "{file}: {ended:?}");
            }
            let files = world::files();
            for name in ["run/0/out", "run/0/out.err", "run/0/status/exitCode", "termination"] {
                assert!(!files.contains_key(name), "{name}");
            }
            assert_eq!((Next::ends(next), Next::after(&files, quiet)), (Next::ToldDead, Next::ToldDead));
            assert_eq!(world::left(), [""; 0]);
            unmount();
            world::clear();
        }
    };
    world::with_disk(job).join().unwrap();
}
