//! Compressed messages, read by somebody else's decoder too.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use entrypoint::report::existing::Existing;
use entrypoint::report::message::encode;

use super::pod::{Ended, Pod, STARTED_AT, internal, message, no_lines, without_time};
use super::{SUCCESS, TOO_LARGE, skip};

fn compressing(mut pod: Pod) -> Pod {
    pod.spec.report.compress = true;
    pod
}

/// The message of a pod, decoded by our own reader.
fn decoded(pod: &Pod) -> String {
    let content = fs::read(pod.path("termination")).unwrap();
    assert!(content.starts_with(b"tknz:"), "it is compressed: {}", content.escape_ascii());
    let Existing::Entries(entries) = Existing::parse(&content) else { panic!("{}", content.escape_ascii()) };
    without_time(&encode(&entries))
}

/// Decodes a compressed message with Python's zlib.
fn decoded_by_zlib(message: &str) -> String {
    const DECODE: &str = "import base64, sys, zlib\n\
        text = sys.stdin.read().removeprefix('tknz:')\n\
        stream = zlib.decompressobj(-15)\n\
        json = stream.decompress(base64.b64decode(text + '=' * (-len(text) % 4), validate=True))\n\
        assert stream.eof and not stream.unused_data\n\
        sys.stdout.buffer.write(json)";
    let mut python = Command::new("python3")
        .args(["-c", DECODE])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 starts");
    python.stdin.take().unwrap().write_all(message.as_bytes()).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

/// Text that compresses to two thirds: hexadecimal digits of a generator of random numbers, and then in base64.
fn noise(size: usize) -> String {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut digit = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from_digit(u32::try_from(state >> 60).unwrap(), 16).unwrap()
    };
    (0..size).map(|_| digit()).collect()
}

#[test]
fn results_that_would_not_fit_are_told_compressed() {
    let pod = compressing(Pod::new().result("r", "x".repeat(20_000)).step_result("s", "<\u{e9}>"));
    let ended = pod.report(&SUCCESS);
    assert_eq!((ended.exit, ended.lines, ended.post), (0, no_lines(), true));
    let expected = format!(
        r#"[{{"key":"r","value":"{}","type":1}},{{"key":"s","value":"\u003c{}\u003e","type":4}},{STARTED_AT}]"#,
        "x".repeat(20_000),
        '\u{e9}'
    );
    assert_eq!(decoded(&pod), expected);
}

#[test]
fn a_compressed_message_is_read_by_zlib() {
    if !skip::programs("an independent decoder", &[("python3", "python3")]) {
        return;
    }
    for value in ["x".repeat(20_000), noise(5000), (0..700).map(|n| format!("line {n}\n")).collect()] {
        let pod = compressing(Pod::new().result("r", &value));
        assert_eq!(pod.report(&SUCCESS).exit, 0);
        let json = decoded_by_zlib(&fs::read_to_string(pod.path("termination")).unwrap());
        let parsed: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(parsed[0]["value"], value);
        assert_eq!(without_time(&json), decoded(&pod));
    }
}

#[test]
fn a_message_that_compression_makes_no_shorter_is_left_as_it_is() {
    let pod = compressing(Pod::new());
    let ended = pod.report(&SUCCESS);
    assert_eq!((ended.exit, ended.lines, ended.message), (0, no_lines(), message(&[STARTED_AT])));
}

#[test]
fn the_limit_is_that_of_the_compressed_message() {
    let pod = compressing(Pod::new().result("r", noise(8000)));
    let ended = pod.report(&SUCCESS);
    let [details, last] = ended.lines.as_slice() else { panic!("{:?}", ended.lines) };
    let (compressed, rest) = details
        .strip_prefix("The termination message would have ")
        .and_then(|rest| rest.split_once(" bytes, compressed from "))
        .unwrap_or_else(|| panic!("{details}"));
    assert!((4097..8000).contains(&compressed.parse::<usize>().unwrap()), "{details}");
    assert!(rest.starts_with("80") && rest.ends_with(": result \"r\" takes 8031; no result is reported"), "{details}");
    assert_eq!(last, TOO_LARGE);
    assert_eq!(ended.message, message(&[STARTED_AT, &internal("Reason", "ResultsTooLarge")]));
    assert_eq!((ended.exit, ended.post, ended.err), (1, false, true));
}

#[test]
fn what_no_controller_takes_out_again_is_not_written() {
    // Tekton writes this one, a few hundred bytes, and neither it nor its controller reads it again.
    let pod = compressing(Pod::new().result("r", "x".repeat(131_072)));
    let ended = pod.report(&SUCCESS);
    assert!(ended.lines[0].contains("bytes, and no more than 131072 can be compressed: result"), "{:?}", ended.lines);
    assert_eq!(ended.message, message(&[STARTED_AT, &internal("Reason", "ResultsTooLarge")]));
    assert_eq!((ended.exit, ended.post, ended.err), (1, false, true));
}

/// A message of Tekton's entrypoint with one result, and that result.
const RECORDED: &str = "tknz:i65Wyk6tVLJSys9JUdJRKkvMKU0F8gyB7JLKAiDTsDYWAA";
const OLD: &str = r#"{"key":"old","value":"1","type":1}"#;

#[test]
fn a_compressed_message_that_stands_there_is_kept_in_front_whatever_becomes_of_ours() {
    let pod = Pod::new().existing(RECORDED);
    let ended = pod.report(&SUCCESS);
    assert_eq!((ended.exit, ended.lines, ended.message), (0, no_lines(), message(&[OLD, STARTED_AT])));

    let pod = compressing(Pod::new().existing(RECORDED).result("r", "x".repeat(5000)));
    assert_eq!(pod.report(&SUCCESS).lines, no_lines());
    assert_eq!(decoded(&pod), format!(r#"[{OLD},{{"key":"r","value":"{}","type":1}},{STARTED_AT}]"#, "x".repeat(5000)));
}

#[test]
fn a_message_that_was_written_twice_has_everything() {
    let pod = compressing(Pod::new().result("r", "x".repeat(5000)));
    assert_eq!(pod.report(&SUCCESS).lines, no_lines());
    assert_eq!(pod.report(&SUCCESS).lines, no_lines());
    assert_eq!(decoded(&pod).matches(r#""key":"r""#).count(), 2);
}

#[test]
fn what_is_no_message_is_overwritten_with_a_warning_only_where_messages_are_compressed() {
    for (garbage, why) in [
        ("tknz:!!!", "base64 decode: Invalid symbol 33, offset 0."),
        // With padding.
        ("tknz:i65Wyk6tVLJSys9JUdJRKkvMKU0F8gyB7JLKAiDTsDYWAA==", "base64 decode: Invalid padding"),
        ("tknz:aGVsbG8gd29ybGQ", "flate decompress: it is damaged or cut off"),
        ("secret text", "it is no JSON array of entries: no JSON at line 1, column 1"),
    ] {
        let pod = compressing(Pod::new().existing(garbage));
        let path = pod.path("termination");
        let line = format!(
            "WARN Failed to parse existing termination message, previous results will be lost: {path:?}: {why}"
        );
        let expected = Ended {
            exit: 0,
            lines: vec![line],
            message: message(&[STARTED_AT]),
            exit_code: Some("0".to_owned()),
            post: true,
            err: false,
        };
        assert_eq!(pod.report(&SUCCESS), expected);
        let ended = Pod::new().existing(garbage).report(&SUCCESS);
        assert_eq!((ended.exit, ended.lines, ended.message), (0, no_lines(), message(&[STARTED_AT])));
    }
}

#[test]
fn a_decompression_bomb_is_not_unpacked_in_full() {
    let bomb = entrypoint::report::compression::compress(&"x".repeat(1 << 22)).unwrap();
    let pod = compressing(Pod::new().existing(bomb));
    let ended = pod.report(&SUCCESS);
    assert!(
        ended.lines[0].ends_with(": decompressed termination message exceeds 131072 byte limit"),
        "{:?}",
        ended.lines
    );
    assert_eq!((ended.exit, ended.message), (0, message(&[STARTED_AT])));
}
