//! The command line: Go's flags, and Go's durations.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use entrypoint::cli::fuzzing::duration;
use entrypoint::cli::{Invocation, parse};

use super::Target;

pub(super) const FLAGS: Target = Target {
    name: "flags",
    check: flags,
    words: &[
        "\n--\n",
        "-image\nbusybox",
        "-entrypoint\n/bin/sh",
        "-post_file=/p",
        "-termination_path=/t",
        "-wait_file\n/w",
        "-wait_file_content",
        "-timeout=1h",
        "-on_error=continue",
        "-image_registry_map=a.b=c.d",
        "-image_registry_certificate=a.b=/c",
        "-image_pull_secrets=a,b",
        "-wait_endpoints=tcp://h:1,docker",
        "-basic-docker=a=b",
        "-image_platform=linux/arm/v7",
        "-image_sources=docker,registry",
        "-image_pin=pod-status",
        "-image_result=r",
        "-results=a,b",
        "-when_expressions=[]",
        "init\na\nb",
        "cp\na\nb",
        "step-init",
        "decode-script\na",
        "resolve\n",
        "run-image\n",
        "version",
        "-h",
        "=true",
    ],
};

/// Each line is an argument. A mistake is one line, whatever was written; it names the post file that is known, because
/// somebody waits for it.
fn flags(data: &[u8]) {
    let mut argv = vec![OsString::from("entrypoint")];
    argv.extend(data.split(|byte| *byte == b'\n').map(|argument| OsString::from_vec(argument.to_vec())));
    let parsed = parse(&argv);
    // The step's own arguments: behind the first `--`, unless that is the first of all.
    let cut = argv.iter().skip(1).position(|argument| argument == "--").filter(|at| *at > 0).map(|at| at + 1);
    match &parsed {
        Ok(Invocation::Step(step)) => {
            let behind = cut.and_then(|cut| argv.get(cut + 1..)).unwrap_or_default();
            assert_eq!(step.args, behind);
            assert_ne!(step.report.post_file.as_ref().map(|path| path.as_os_str().is_empty()), Some(true));
        }
        Ok(_) => {}
        Err(error) => {
            assert!(!error.message.contains(char::is_control), "{:?}", error.message);
            assert!(error.message.len() <= 1000 + 12 * data.len(), "{}", error.message.len());
        }
    }
    // What stands in front changes nothing but what a later flag says again.
    let first = argv.get(1).is_some_and(|first| first.as_encoded_bytes().starts_with(b"-") && first != "--");
    if first && cut != Some(1) {
        let mut longer = argv.clone();
        longer.insert(1, OsString::from("-post_file=/f"));
        match (&parsed, parse(&longer)) {
            (Ok(Invocation::Step(step)), Ok(Invocation::Step(mut again))) => {
                if step.report.post_file.is_none() && again.report.post_file.as_deref() == Some("/f".as_ref()) {
                    again.report.post_file = None;
                }
                assert_eq!(**step, *again);
            }
            (Err(error), Err(again)) if error.termination_path.is_some() => {
                let expected = error.post_file.clone().or_else(|| Some("/f".into()));
                assert!(again.post_file == expected || again.post_file.is_none(), "{again:?}");
            }
            (Ok(Invocation::Help(_)), Ok(Invocation::Help(_))) => {}
            (Ok(Invocation::Setup(one)), Ok(Invocation::Setup(other))) => assert_eq!(*one, other),
            (Err(_), Err(_)) => {}
            (one, other) => panic!("{one:?} and {other:?}"),
        }
    }
}

pub(super) const DURATION: Target = Target {
    name: "duration",
    check: go_duration,
    words: &[
        "ns",
        "us",
        "\u{b5}s",
        "\u{3bc}s",
        "ms",
        "s",
        "m",
        "h",
        ".",
        "-",
        "+",
        "9223372036854775807",
        "0.3333333333333333333h",
    ],
};

/// A duration has the value that exact arithmetic gives it, but for fractions, which Go rounds; as Go writes it, it is
/// read back.
fn go_duration(data: &[u8]) {
    if let Some(bytes) = data.first_chunk() {
        let value = i64::from_le_bytes(*bytes);
        assert_eq!(duration(&written(value)), Some(value), "{}", written(value));
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    let found = duration(text);
    if let Some(value) = found {
        assert_eq!(duration(&written(value)), Some(value));
        let exact = exact(text);
        let (exact, fractions) = exact.expect("a duration");
        // One nanosecond for each fraction that is cut off, and what 53 bits cannot hold.
        let slack = fractions * 2;
        assert!((exact - i128::from(value)).abs() <= slack, "{text:?}: {value} for {exact}");
    } else if let Some((exact, fractions)) = exact(text) {
        // What is too large for Go, or for a part of it.
        assert!(exact.saturating_abs().saturating_add(fractions * 2) >= i128::from(i64::MAX), "{text:?} is {exact}");
    }
}

/// The nanoseconds of a duration, and how many parts of it have fractions; none of what is no duration at all.
fn exact(text: &str) -> Option<(i128, i128)> {
    let (sign, mut rest) = match text.as_bytes().first()? {
        b'-' => (-1, &text[1..]),
        b'+' => (1, &text[1..]),
        _ => (1, text),
    };
    if rest == "0" {
        return Some((0, 0));
    }
    let (mut sum, mut fractions) = (0_i128, 0);
    let mut any = false;
    while !rest.is_empty() {
        let end = rest.find(|c: char| c != '.' && !c.is_ascii_digit())?;
        let (number, behind) = rest.split_at(end);
        let end = behind.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(end);
        let unit: i128 = match unit {
            "ns" => 1,
            "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if fraction.contains('.') || (whole.is_empty() && fraction.is_empty()) {
            return None;
        }
        let digits =
            |text: &str| text.bytes().fold(0_i128, |n, b| n.saturating_mul(10).saturating_add((b - b'0').into()));
        // Digits beyond these are below a nanosecond.
        let fraction = fraction.get(..20).unwrap_or(fraction);
        let part = digits(fraction).saturating_mul(unit) / 10_i128.pow(fraction.len() as u32);
        let whole = digits(whole).saturating_mul(unit);
        sum = sum.saturating_add(whole).saturating_add(part);
        fractions += i128::from(!fraction.is_empty());
        rest = behind;
        any = true;
    }
    any.then_some((sum.saturating_mul(sign), fractions))
}

/// As Go's `Duration.String` has it, above a second: hours, minutes, seconds with their fraction.
fn written(value: i64) -> String {
    let (sign, all) = (if value < 0 { "-" } else { "" }, value.unsigned_abs());
    let (seconds, nanoseconds) = (all / 1_000_000_000, all % 1_000_000_000);
    format!("{sign}{}h{}m{}.{nanoseconds:09}s", seconds / 3600, seconds / 60 % 60, seconds % 60)
}
