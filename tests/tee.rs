//! What a step prints, copied to files: complete in both places, whatever its reader, its disk and its orphans do.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and waits for the processes that it starts"
)]

#[path = "support/skip.rs"]
mod skip;
#[path = "support/step.rs"]
mod step;

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use step::{Ended, Step, eventually, send};

/// Prints 64 MiB that are different everywhere, in pieces of no round size.
const PRINT: &str = "seq 1000000000 1006100805 | head -c 67108864";

/// What that prints, from the program itself.
fn printed() -> Vec<u8> {
    let output = Command::new("sh").args(["-c", PRINT]).output().unwrap();
    assert_eq!(output.stdout.len(), 64 << 20);
    output.stdout
}

/// The flag with a path in the scratch directory.
fn flag(step: &Step, name: &str, file: &str) -> [String; 2] {
    [format!("-{name}"), step.path(file).display().to_string()]
}

/// A step whose stdout is copied into the file `log`.
fn copied() -> Step {
    let step = Step::new();
    let flag = flag(&step, "stdout_path", "log");
    step.flags(flag)
}

/// Runs a script with this as stdout.
fn sh_into(step: &Step, stdout: impl Into<Stdio>, script: &str) -> std::process::Child {
    let flag = |name: &str, file: &str| flag(step, name, file);
    Command::new(step::entrypoint())
        .args(flag("post_file", "out"))
        .args(flag("termination_path", "termination"))
        .args(flag("step_metadata_dir", "status"))
        .args(flag("stdout_path", "log"))
        .args(["-entrypoint", "/bin/sh", "--", "-c", script])
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The number that a script wrote into a file with a newline behind it.
fn number_in(file: &Path) -> i32 {
    eventually("the number is written", || fs::read_to_string(file).is_ok_and(|text| text.ends_with('\n')));
    fs::read_to_string(file).unwrap().trim().parse().unwrap()
}

/// Whether a process is there, and no zombie.
fn lives(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn sixty_four_mebibytes_are_complete_in_the_file_and_behind_a_pipe() {
    let step = copied();
    let mut child = step.start(&["-entrypoint", "/bin/sh", "--", "-c", PRINT]);
    let mut read = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut read).unwrap();
    let copy = fs::read(step.path("log")).unwrap();
    let ended = step.finish(child);
    assert_eq!((ended.code(), ended.post, ended.stderr.as_str()), (0, true, ""), "{ended:#?}");
    let expected = printed();
    assert!(read == expected, "what the reader got, {} bytes", read.len());
    assert!(copy == expected, "the file, {} bytes", copy.len());
}

#[test]
fn sixty_four_mebibytes_are_complete_behind_a_file_and_a_socket() {
    let expected = printed();
    let step = Step::new();
    let child = sh_into(&step, File::create(step.path("stdout")).unwrap(), PRINT);
    assert!(child.wait_with_output().unwrap().status.success());
    for name in ["stdout", "log"] {
        assert!(fs::read(step.path(name)).unwrap() == expected, "{name}");
    }

    let step = Step::new();
    let (mut reader, writer) = UnixStream::pair().unwrap();
    let child = sh_into(&step, OwnedFd::from(writer), PRINT);
    let mut read = Vec::new();
    reader.read_to_end(&mut read).unwrap();
    assert!(child.wait_with_output().unwrap().status.success());
    assert!(read == expected && fs::read(step.path("log")).unwrap() == expected);
}

#[test]
fn a_terminal_gets_its_copy_too() {
    if !skip::programs("a terminal", &[("script", "bsdutils")]) {
        return;
    }
    let step = Step::new();
    let words = [flag(&step, "post_file", "out"), flag(&step, "termination_path", "termination")];
    let words =
        [words.concat(), flag(&step, "stdout_path", "log").into(), flag(&step, "step_metadata_dir", "s").into()];
    let command = format!("{} {} -entrypoint seq -- 20000", step::entrypoint().display(), words.concat().join(" "));
    let output = Command::new("script").args(["-qec", &command, "/dev/null"]).stdin(Stdio::null()).output().unwrap();
    let expected: String = (1..=20_000).map(|number| format!("{number}\n")).collect();
    assert!(String::from_utf8_lossy(&output.stdout).replace("\r\n", "\n").contains(&expected), "the terminal");
    assert_eq!(fs::read_to_string(step.path("log")).unwrap(), expected);
}

#[test]
fn a_step_that_prints_and_ends_at_once_loses_nothing() {
    for _ in 0..50 {
        let step = copied();
        let child = step.start(&["-entrypoint", "head", "--", "-c", "200000", "/dev/zero"]);
        let copy = step.path("log");
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(0), 200_000));
        assert_eq!(fs::metadata(copy).unwrap().len(), 200_000);
    }
}

#[test]
fn one_file_takes_both_streams_behind_what_it_held() {
    let step = Step::new();
    fs::write(step.path("log"), "old\n").unwrap();
    let flags = [flag(&step, "stdout_path", "log"), flag(&step, "stderr_path", "log")].concat();
    let step = step.flags(flags);
    let log = step.path("log");
    let child = step.start(&[
        "-entrypoint",
        "/bin/sh",
        "--",
        "-c",
        "i=0; while [ $i -lt 1000 ]; do echo out$i; echo err$i >&2; i=$((i+1)); done",
    ]);
    let output = child.wait_with_output().unwrap();
    let text = fs::read_to_string(log).unwrap();
    let of = |word: &str| (0..1000).map(|number| format!("{word}{number}\n")).collect::<String>();
    let with = |word: &str| text.split_inclusive('\n').filter(|line| line.starts_with(word)).collect::<String>();
    assert_eq!(text.lines().next(), Some("old"));
    assert_eq!((with("out"), with("err")), (of("out"), of("err")), "each in its order");
    assert_eq!(text.len(), "old\n".len() + of("out").len() + of("err").len());
    assert_eq!(output.stdout, of("out").as_bytes());
    assert_eq!(output.stderr, of("err").as_bytes());
}

#[test]
fn only_the_streams_that_are_copied_are_pipes_and_the_step_gets_no_other_descriptor() {
    let script =
        "links=$(readlink /proc/$$/fd/1 /proc/$$/fd/2); fds=$(ls /proc/$$/fd); printf '%s\\n' \"$links\" \"$fds\" >&2";
    let plain = Step::new().sh(script);
    let step = copied();
    let out = step.path("err");
    let step =
        step.under(&["sh", "-c", r#"e=$0; "$@" 2>"$e"; c=$?; cat "$e" >&2; exit $c"#, &out.display().to_string()]);
    let ended = step.sh(script);
    let lines: Vec<&str> = ended.stderr.lines().collect();
    assert!(lines[0].starts_with("pipe:"), "{ended:#?}");
    assert_eq!(lines[1], out.display().to_string());
    assert_eq!(lines[2..], plain.stderr.lines().collect::<Vec<_>>()[2..], "{ended:#?}");
}

#[test]
fn a_file_and_its_directories_are_made_with_tektons_modes() {
    let step = Step::new().under(&["sh", "-c", r#"umask 027; exec "$@""#, "sh"]);
    let flag = flag(&step, "stderr_path", "a/b/log");
    let step = step.flags(flag);
    let (log, dir) = (step.path("a/b/log"), step.path("a"));
    let child = step.start(&["-entrypoint", "/bin/sh", "--", "-c", "echo out; echo err >&2"]);
    assert!(child.wait_with_output().unwrap().status.success());
    assert_eq!(fs::read_to_string(&log).unwrap(), "err\n");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(&log), mode(&dir)), (0o640, 0o750));
}

#[test]
fn a_file_that_cannot_be_opened_fails_the_step_before_it_runs_in_tektons_words() {
    for (path, words) in [
        ("file/a/log", "error creating parent directory: mkdir {}/file: not a directory"),
        ("status", "error opening {}/status: open {}/status: is a directory"),
    ] {
        for name in ["stdout_path", "stderr_path"] {
            let step = Step::new();
            fs::write(step.path("file"), "").unwrap();
            let base = step.path("").display().to_string();
            let words = words.replace("{}", base.trim_end_matches('/'));
            let flag = flag(&step, name, path);
            let ended = step.flags(flag).sh("echo ran; echo ran >&2");
            assert_eq!((ended.code(), ended.err, ended.stdout.as_str()), (1, true, ""), "{ended:#?}");
            assert!(!ended.stderr.contains("ran"), "{ended:#?}");
            let line = format!("Error executing command: {words}");
            assert!(ended.stderr.contains(&line), "{}", ended.stderr);
            assert!(ended.message.as_ref().is_some_and(|message| message.contains(&line)), "{ended:#?}");
        }
    }
}

/// Leaves an orphan in a session of its own, which holds the step's stdout, and writes down its number.
fn leave_orphan(step: &Step) -> String {
    let file = step.path("orphan").display().to_string();
    format!("setsid sleep 60 2>/dev/null & echo $! >{file}.new; mv {file}.new {file}; echo said")
}

#[test]
fn an_orphan_that_holds_the_pipe_is_not_waited_for() {
    let step = copied();
    let (log, orphan) = (step.path("log"), step.path("orphan"));
    let child = step.start(&["-entrypoint", "/bin/sh", "--", "-c", &leave_orphan(&step)]);
    let output = child.wait_with_output().unwrap();
    let pid = number_in(&orphan);
    assert!(lives(pid), "the step ended before its orphan");
    send(pid, libc::SIGKILL);
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(0), &b"said\n"[..]));
    assert_eq!(fs::read_to_string(log).unwrap(), "said\n");
}

#[test]
fn an_orphan_that_holds_the_pipe_is_not_waited_for_after_a_timeout_either() {
    let step = copied().flags(["-timeout", "1s"]);
    let orphan = step.path("orphan");
    let script = format!("{}; exec sleep 60", leave_orphan(&step));
    let child = step.start(&["-entrypoint", "/bin/sh", "--", "-c", &script]);
    let output = child.wait_with_output().unwrap();
    let pid = number_in(&orphan);
    assert!(lives(pid), "the step ended before its orphan");
    send(pid, libc::SIGKILL);
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(1), &b"said\n"[..]));
    let message = fs::read_to_string(step.path("termination")).unwrap();
    assert!(message.contains("TimeoutExceeded"), "{message}");
}

#[test]
fn an_orphan_that_never_stops_writing_does_not_keep_the_step_from_ending() {
    let step = copied();
    let orphan = step.path("orphan");
    let file = orphan.display().to_string();
    let script = format!("setsid timeout 60 yes & echo $! >{file}.new; mv {file}.new {file}");
    let mut child = step.start(&["-entrypoint", "/bin/sh", "--", "-c", &script]);
    let mut output = child.stdout.take().unwrap();
    let reader = std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()).unwrap());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let pid = number_in(&orphan);
    reader.join().unwrap();
    // Nobody reads its pipe any more.
    eventually("the orphan is gone", || !lives(pid));
}

/// A step below a root in which the directory `disk` has room for 64 KiB. Its files' sizes are written to `sizes`.
fn on_a_small_disk() -> Option<Step> {
    const MOUNT: &str = r#"mount -t tmpfs -o size=64k none "$0/disk" && "$@"; code=$?
        stat -c %s "$0/disk/log" >"$0/sizes"; exit $code"#;
    if !skip::root("a small disk") || !skip::programs("a small disk", &[("unshare", "util-linux")]) {
        return None;
    }
    let step = Step::new();
    fs::create_dir(step.path("disk")).unwrap();
    let flag = flag(&step, "stdout_path", "disk/log");
    let scratch = step.path("").display().to_string();
    Some(step.flags(flag).under(&["unshare", "-m", "sh", "-c", MOUNT, &scratch]))
}

/// Runs a script, and returns what a full disk left of the copy as well.
fn on_disk(step: Step, script: &str) -> (Ended, String, String) {
    let mut child = step.start(&["-entrypoint", "/bin/sh", "--", "-c", script]);
    let (log, sizes) = (step.path("disk/log").display().to_string(), step.path("sizes"));
    let mut printed = String::new();
    child.stdout.take().unwrap().read_to_string(&mut printed).unwrap();
    child.wait().unwrap();
    let size = fs::read_to_string(sizes).unwrap();
    let mut ended = step.finish(child);
    ended.stdout = printed;
    (ended, log, size)
}

#[test]
fn a_full_disk_does_not_disturb_the_step_and_fails_it_at_the_end_with_what_is_missing() {
    let Some(step) = on_a_small_disk() else { return };
    let (ended, log, size) = on_disk(step, "head -c 100000 /dev/zero | tr '\\0' x; echo end >&2");
    assert_eq!((ended.stdout.len(), size.as_str()), (100_000, "65536\n"), "the reader's is complete");
    assert_eq!((ended.code(), ended.err, ended.post, &ended.exit_code), (1, true, false, &None), "{ended:#?}");
    let sentence = format!(
        "Error executing command: write {log}: no space left on device: the last 34464 bytes of the step's stdout are \
         missing there"
    );
    assert!(ended.stderr.starts_with("end\n") && ended.stderr.contains(&sentence), "{}", ended.stderr);
    assert!(ended.message.as_ref().is_some_and(|message| message.contains(&sentence)), "{ended:#?}");
}

#[test]
fn a_step_that_failed_anyway_keeps_its_own_end_on_a_full_disk() {
    let Some(step) = on_a_small_disk() else { return };
    let (ended, log, _) = on_disk(step, "head -c 100000 /dev/zero; exit 3");
    assert_eq!((ended.code(), ended.err), (3, true), "{ended:#?}");
    assert_eq!(ended.message.as_deref(), Some(r#"[{"key":"StartedAt","value":"T","type":3}]"#));
    let sentence = format!("WARN write {log}: no space left on device: the last 34464 bytes");
    assert!(ended.stderr.contains(&sentence), "{}", ended.stderr);
}

#[test]
fn a_file_that_may_not_grow_is_a_full_disk_and_the_answer_does_not_kill_the_step() {
    // The kernel sends SIGXFSZ to who writes, and that is us.
    let step = copied().under(&["sh", "-c", r#"ulimit -f 8; exec "$@""#, "sh"]);
    let ended = step.sh("head -c 100000 /dev/zero | tr '\\0' x; echo end >&2; exit 4");
    assert_eq!((ended.code(), ended.stdout.len()), (4, 100_000), "{}", ended.stderr);
    assert!(ended.stderr.starts_with("end\n") && ended.stderr.contains("file too large"), "{}", ended.stderr);
}

#[test]
fn a_step_whose_reader_goes_away_gets_sigpipe_as_it_would_without_a_copy() {
    let step = copied();
    let mut child = step.start(&["-entrypoint", "yes", "--"]);
    let mut some = vec![0; 200_000];
    child.stdout.take().unwrap().read_exact(&mut some).unwrap();
    let log = step.path("log");
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(255));
    assert!(step.path("out.err").exists());
    assert!(fs::read(log).unwrap().starts_with(&some));
}

#[test]
fn a_signal_ends_the_step_while_its_reader_blocks_and_a_second_one_ends_the_waiting_for_the_reader() {
    let step = copied();
    let mut child = step.start(&["-entrypoint", "yes", "--"]);
    let (log, pid) = (step.path("log"), i32::try_from(child.id()).unwrap());
    let length = || fs::metadata(&log).map_or(0, |found| found.len());
    eventually("the reader's pipe is full", || length() >= 65536);
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None => send(pid, libc::SIGTERM),
        }
        sleep(Duration::from_millis(5));
    };
    assert_eq!(status.code(), Some(255));
    let ended = step.finish(child);
    assert!(ended.err && ended.stderr.contains("nobody read it when SIGTERM came"), "{ended:#?}");
}

#[test]
fn a_step_that_ended_is_reported_although_nobody_reads_what_it_printed() {
    let step = copied();
    let script = "head -c 100000 /dev/zero | tr '\\0' x";
    let mut child = step.start(&["-entrypoint", "/bin/sh", "--", "-c", script]);
    let stdout = child.stdout.take().unwrap();
    let status = child.wait().unwrap();
    let log = step.path("log");
    assert_eq!((status.code(), fs::metadata(&log).unwrap().len()), (Some(0), 100_000));
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    let warning = format!("bytes of the step's stdout are only in {}: nobody read it for 10 s", log.display());
    assert!(said.contains("WARN the last ") && said.contains(&warning), "{said}");
    assert!(step.path("out").exists());
    drop(stdout);
}

#[test]
fn a_log_that_nobody_reads_does_not_keep_a_step_whose_stderr_is_copied() {
    let step = Step::new();
    let flag = flag(&step, "stderr_path", "log");
    let step = step.flags(flag);
    let mut child = step.start(&["-entrypoint", "/bin/sh", "--", "-c", "head -c 200000 /dev/zero >&2"]);
    let stderr = child.stderr.take().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(fs::metadata(step.path("log")).unwrap().len(), 200_000);
    drop(stderr);
}
