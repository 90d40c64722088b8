//! Takes out of an answer what is different each time: times, random names, the lines of a trace.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use crate::inflate::inflate;

/// What a standard error says, with `T` for the time of each line, and without Go's usage and traces.
pub fn log(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut usage = false;
    for line in bytes.split_inclusive(|&byte| byte == b'\n') {
        if line.starts_with(b"goroutine ") || line.starts_with(b"PC=0x") {
            out.extend_from_slice(b"[trace]\n");
            break;
        }
        if usage && line.starts_with(b" ") {
            continue;
        }
        usage = line.starts_with(b"Usage of ");
        match shape(line) {
            Some(behind) => out.extend([b"T ", behind].concat()),
            None => out.extend_from_slice(line),
        }
        if usage {
            out.extend_from_slice(b"[flags]\n");
        }
    }
    sizes(&names(&out))
}

/// How many bytes a compressed message would have depends on the time in it.
fn sizes(bytes: &[u8]) -> Vec<u8> {
    const BEFORE: &[u8] = b"would have ";
    const BEHIND: &[u8] = b" bytes, compressed from ";
    let mut out = Vec::new();
    let mut rest = bytes;
    while let Some(at) = rest.windows(BEFORE.len()).position(|window| window == BEFORE) {
        let (before, after) = rest.split_at(at + BEFORE.len());
        let digits = after.iter().take_while(|byte| byte.is_ascii_digit()).count();
        out.extend_from_slice(before);
        rest = after;
        if after[digits..].starts_with(BEHIND) {
            out.push(b'N');
            rest = &after[digits..];
        }
    }
    out.extend_from_slice(rest);
    out
}

/// What stands behind the date and time of a line of the log.
fn shape(line: &[u8]) -> Option<&[u8]> {
    let (time, behind) = line.split_at_checked(20)?;
    let same = |(&byte, &wanted): (&u8, &u8)| if wanted == b'0' { byte.is_ascii_digit() } else { byte == wanted };
    time.iter().zip(b"0000/00/00 00:00:00 ").all(same).then_some(behind)
}

/// A file's content: a compressed message is inflated, and `StartedAt` is `T`, with the offset of its zone if there is one.
pub fn file(bytes: &[u8]) -> Vec<u8> {
    let compressed = bytes.strip_prefix(b"tknz:").and_then(|text| STANDARD_NO_PAD.decode(text).ok());
    match compressed.and_then(|stream| inflate(&stream)) {
        Some(message) => [b"tknz: inflated: ", times(&message).as_slice()].concat(),
        None => names(&times(bytes)),
    }
}

/// The name of a temporary script, as a path or in a text.
pub fn names(bytes: &[u8]) -> Vec<u8> {
    const NAME: &[u8] = b"/tmp/script-";
    let mut out = Vec::new();
    let mut rest = bytes;
    while let Some(at) = rest.windows(NAME.len()).position(|window| window == NAME) {
        let (before, after) = rest.split_at(at + NAME.len());
        let digits = after.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
        out.extend_from_slice(before);
        out.push(b'N');
        rest = &after[digits..];
    }
    out.extend_from_slice(rest);
    out
}

fn times(bytes: &[u8]) -> Vec<u8> {
    const BEFORE: &[u8] = b"{\"key\":\"StartedAt\",\"value\":\"";
    const TIME: &[u8] = b"0000-00-00T00:00:00.000";
    let mut out = Vec::new();
    let mut rest = bytes;
    while let Some(at) = rest.windows(BEFORE.len()).position(|window| window == BEFORE) {
        let (before, after) = rest.split_at(at + BEFORE.len());
        out.extend_from_slice(before);
        let same = |(&byte, &wanted): (&u8, &u8)| if wanted == b'0' { byte.is_ascii_digit() } else { byte == wanted };
        rest = after;
        if after.len() > TIME.len() && after.iter().zip(TIME).all(same) {
            out.push(b'T');
            rest = &after[TIME.len()..];
            rest = rest.strip_prefix(b"Z").unwrap_or(rest);
        }
    }
    out.extend_from_slice(rest);
    out
}

#[test]
fn what_differs_each_time_is_taken_out_and_nothing_else() {
    for (said, expected) in [
        ("2026/01/02 03:04:05 a\nb\n", "T a\nb\n"),
        ("2026/01/02 3:04:05 a\n", "2026/01/02 3:04:05 a\n"),
        ("bad\nUsage of x:\n  -a\n    \tb\nc\n", "bad\nUsage of x:\n[flags]\nc\n"),
        ("panic: x\n\ngoroutine 1 [running]:\nmain\n", "panic: x\n\n[trace]\n"),
        ("/tmp/script-123: no\n", "/tmp/script-N: no\n"),
        ("it would have 57 bytes, compressed from 60\n", "it would have N bytes, compressed from 60\n"),
        ("it would have 57 bytes\n", "it would have 57 bytes\n"),
    ] {
        assert_eq!(String::from_utf8(log(said.as_bytes())).unwrap(), expected);
    }
    let message = |time: &str| format!(r#"[{{"key":"StartedAt","value":"{time}","type":3}}]"#);
    for (time, expected) in [
        ("2026-01-02T03:04:05.678Z", "T"),
        ("2026-01-02T03:04:05.678+05:30", "T+05:30"),
        ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z"),
    ] {
        assert_eq!(String::from_utf8(file(message(time).as_bytes())).unwrap(), message(expected));
    }
    assert_eq!(file(b"tknz:S0xKToQhAA="), b"tknz:S0xKToQhAA=");
    assert_eq!(file(b"tknz:S0xKToQhAA"), b"tknz: inflated: abcabcabcabc");
}
