//! Section 13: the bytes of the termination message, and the file that they go into.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use super::{STARTED_AT, assert_left, internal, lines, message};
use crate::step::{Step, eventually};

#[test]
fn a_message_has_neither_blanks_nor_a_newline() {
    let step = Step::new().env("TZ", "UTC");
    let child = step.start(&["-entrypoint", "/bin/true", "--"]);
    assert!(child.wait_with_output().unwrap().status.success());
    let message = fs::read_to_string(step.path("termination")).unwrap();
    let time = message.strip_prefix(r#"[{"key":"StartedAt","value":""#).unwrap();
    let time = time.strip_suffix(r#"","type":3}]"#).unwrap();
    let shape: String = time.chars().map(|letter| if letter.is_ascii_digit() { '0' } else { letter }).collect();
    assert_eq!(shape, "0000-00-00T00:00:00.000Z");
}

#[test]
fn started_at_has_the_offset_of_the_local_time() {
    for (zone, offset) in [("IST-5:30", "+05:30"), ("NST3:30", "-03:30"), ("UTC0", "Z"), ("garbage", "Z")] {
        let step = Step::new().env("TZ", zone);
        let child = step.start(&["-entrypoint", "/bin/true", "--"]);
        assert!(child.wait_with_output().unwrap().status.success());
        let message = fs::read_to_string(step.path("termination")).unwrap();
        assert!(message.ends_with(&format!(r#"{offset}","type":3}}]"#)), "{zone}: {message}");
    }
}

#[test]
fn started_at_is_when_the_turn_came_not_when_the_wait_began_nor_when_the_step_ended() {
    let step = Step::new().env("TZ", "UTC");
    let file = step.path("before");
    // The step notes a moment within it, and ends when the clock shows a later one.
    let script = "moment=$(date +%s%3N); echo $moment; while [ $(date +%s%3N) -le $moment ]; do :; done";
    let wait = ["-wait_file", &file.display().to_string()];
    let child = step.start(&[&wait[..], &["-entrypoint", "/bin/sh", "--", "-c", script]].concat());
    eventually("the wait sleeps in poll", || {
        let call = fs::read_to_string(format!("/proc/{}/syscall", child.id())).unwrap_or_default();
        // poll is 7 on x86-64; elsewhere the C library calls ppoll, 73.
        ["7 ", "73 ", "271 "].iter().any(|number| call.starts_with(number))
    });
    // The clock of file times is never ahead, and may be a tick behind: that tick has to pass.
    let begun = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let probe = step.path("probe");
    eventually("file times are past the beginning of the wait", || {
        fs::write(&probe, "").unwrap();
        modified(&probe) > begun
    });
    fs::write(&file, "").unwrap();
    let released = modified(&file);
    let within = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    let within: u128 = within.trim().parse().unwrap();
    let started = milliseconds(&fs::read_to_string(step.path("termination")).unwrap());
    assert!(released <= started && started <= within, "{released} {started} {within}");
}

/// When a file was written, as milliseconds since 1970.
fn modified(path: &Path) -> u128 {
    fs::metadata(path).unwrap().modified().unwrap().duration_since(UNIX_EPOCH).unwrap().as_millis()
}

/// `StartedAt` of a message as milliseconds since 1970.
fn milliseconds(message: &str) -> u128 {
    let time = message.split('"').nth(7).unwrap();
    let date = Command::new("date").args(["-d", time, "+%s%3N"]).stdout(Stdio::piped()).spawn().unwrap();
    String::from_utf8(date.wait_with_output().unwrap().stdout).unwrap().trim().parse().unwrap()
}

#[test]
fn entries_that_stand_in_the_file_are_kept_in_front_in_our_form() {
    let step = Step::new();
    let existing = r#" [ {"value":"v","key":"k","type":"TaskRunResult","unknown":[1]}, {}, {"key":"a","type":3} ] "#;
    fs::write(step.path("termination"), existing).unwrap();
    let ended = step.sh("true");
    let kept = r#"{"key":"k","value":"v","type":1},{"key":"","value":""},{"key":"a","value":"","type":3}"#;
    assert_eq!(ended.message, Some(format!("[{kept},{STARTED_AT}]")));
    assert_eq!(ended.stderr, "");
}

#[test]
fn what_the_step_itself_writes_into_the_file_is_kept_when_it_is_a_message() {
    let step = Step::new();
    let script = format!(r#"printf '[{{"key":"own","value":"1","type":1}}]' >{}"#, step.path("termination").display());
    let ended = step.sh(&script);
    assert_eq!(ended.message, Some(format!(r#"[{{"key":"own","value":"1","type":1}},{STARTED_AT}]"#)));
}

#[test]
fn blank_files_and_garbage_are_overwritten_silently() {
    for content in ["", " \n\t ", "not json", "{}", "[{\"key\":\"cut", "\u{0}", &"x".repeat(5000)] {
        let step = Step::new();
        fs::write(step.path("termination"), content).unwrap();
        let ended = step.sh("true");
        assert_left(&ended, 0, true, Some("0"), &[]);
        assert_eq!(ended.stderr, "");
    }
}

#[test]
fn the_file_is_written_in_place() {
    let step = Step::new();
    let path = step.path("termination");
    fs::write(&path, "before").unwrap();
    let linked = step.path("linked");
    fs::hard_link(&path, &linked).unwrap();
    let before = fs::metadata(&path).unwrap().ino();
    let child = step.start(&["-entrypoint", "/bin/true", "--"]);
    assert!(child.wait_with_output().unwrap().status.success());
    assert_eq!(fs::metadata(&path).unwrap().ino(), before);
    assert_eq!(fs::read(&linked).unwrap(), fs::read(&path).unwrap());
}

#[test]
fn a_termination_path_that_is_a_directory_fails_the_step() {
    let step = Step::new();
    let path = step.path("termination");
    fs::create_dir(&path).unwrap();
    let ended = step.sh("true");
    assert_eq!((ended.code(), ended.post, ended.err, &ended.exit_code), (1, false, true, &None), "{ended:#?}");
    assert_eq!(lines(&ended.stderr), [format!("Error while writing message: opening {path:?}: is a directory")]);
}

#[test]
fn a_termination_path_in_no_directory_fails_the_step_and_makes_none() {
    let step = Step::new();
    let path = step.path("none/termination");
    let dir = step.path("none");
    let child = step.start(&["-termination_path", &path.display().to_string(), "-entrypoint", "/bin/true", "--"]);
    let output = child.wait_with_output().unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    let line = format!("Error while writing message: opening {path:?}: no such file or directory");
    assert_eq!(lines(&log), [line]);
    assert!(!dir.exists());
}

#[test]
fn an_existing_message_that_leaves_no_room_stays_and_fails_the_step() {
    let step = Step::new();
    let existing = format!(r#"[{{"key":"old","value":"{}","type":1}}]"#, "x".repeat(4050));
    fs::write(step.path("termination"), &existing).unwrap();
    let ended = step.sh("true");
    assert_eq!((ended.code(), ended.post, ended.err), (1, false, true), "{ended:#?}");
    assert_eq!(ended.message, Some(existing));
    let text = "Termination message is above max allowed size 4096, caused by large task result.";
    assert_eq!(lines(&ended.stderr).last(), Some(&format!("Error while writing message: {text}").as_str()));
}

#[test]
fn half_a_message_is_not_left_where_writing_stops_in_its_middle() {
    let step = Step::new();
    // The kernel lets no file grow above 512 bytes here. SIGXFSZ, which would kill us, is blocked like all others.
    let existing = format!(r#"[{{"key":"old","value":"{}"}}]"#, "x".repeat(600));
    fs::write(step.path("termination"), existing).unwrap();
    let ended = step.under(&["sh", "-c", r#"ulimit -f 1; exec "$@""#, "sh"]).sh("true");
    assert_eq!((ended.code(), ended.post, ended.err), (1, false, true), "{ended:#?}");
    assert_eq!(ended.message.as_deref(), Some(""));
    assert!(ended.stderr.ends_with("file too large\n"), "{}", ended.stderr);
}

#[test]
fn a_sentence_of_ours_is_escaped_as_go_escapes_it() {
    let ended = Step::new().env("PATH", "/bin").run(&["-entrypoint", "<a&b>", "--"]);
    let expected = r#"exec: \"\u003ca\u0026b\u003e\": executable file not found in $PATH"#;
    let text = ended.message.expect("a message");
    assert!(text.contains(expected), "{text}");
}

#[test]
fn a_long_sentence_of_ours_is_cut_in_the_message_and_whole_in_the_log() {
    let long = format!("/{}", "n".repeat(2000));
    let ended = Step::new().run(&["-entrypoint", &long, "--"]);
    assert!(ended.stderr.contains(&long), "{}", ended.stderr);
    let text = ended.message.expect("a message");
    assert!(text.ends_with(r#"...","type":3}]"#) && text.len() < 700, "{text}");
    assert!(
        text.starts_with(
            message(&[internal("entrypoint/error", "Error executing")]).trim_end_matches("\",\"type\":3}]")
        )
    );
}
