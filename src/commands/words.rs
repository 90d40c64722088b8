//! Words of others as one line that can be read, and that a shell would take apart again.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;

use serde::Serialize;

/// Whether a terminal would do something with a character, or show nothing of it.
fn is_invisible(c: char) -> bool {
    c.is_control() || (!c.is_ascii() && c.escape_debug().len() > 1)
}

/// The text with everything that cannot be seen, but for line breaks, as JSON escapes it.
pub(super) fn visible(text: &str) -> String {
    let mut seen = String::with_capacity(text.len());
    for c in text.chars() {
        if c == '\n' || !is_invisible(c) {
            seen.push(c);
        } else {
            let mut units = [0; 2];
            c.encode_utf16(&mut units).iter().for_each(|unit| seen.push_str(&format!("\\u{unit:04x}")));
        }
    }
    seen
}

/// A value as one JSON object, on lines of its own.
pub(super) fn json_lines(value: &impl Serialize) -> String {
    // A value of text, lists and numbers is always JSON.
    serde_json::to_string_pretty(value).map(|json| visible(&json) + "\n").unwrap_or_default()
}

/// What is written.
pub(super) fn written(write: impl FnOnce(&mut String) -> fmt::Result) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write(&mut text);
    text
}

/// The text as [`visible`] has it, on one line.
pub(super) fn one_line(text: &str) -> String {
    visible(text).replace('\n', "\\n")
}

/// A command as a shell reads it.
pub(super) fn shell_line<S: AsRef<OsStr>>(words: &[S]) -> String {
    words.iter().map(|word| shell_word(word.as_ref())).collect::<Vec<_>>().join(" ")
}

/// A word as a shell reads it: as it is, in quotes, or, with what cannot be seen, in `$'...'` (POSIX.1-2024, 2.2.4).
fn shell_word(word: &OsStr) -> String {
    let bytes = word.as_bytes();
    // `name=value` in front would be an assignment.
    let is_flag = bytes.starts_with(b"-");
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_./:@%+,-".contains(byte) || (is_flag && *byte == b'=');
    match word.to_str() {
        Some(text) if !bytes.is_empty() && bytes.iter().all(plain) => text.to_owned(),
        Some(text) if !text.contains(is_invisible) => format!("'{}'", text.replace('\'', r"'\''")),
        Some(_) | None => format!("$'{}'", escaped(bytes)),
    }
}

fn escaped(bytes: &[u8]) -> String {
    let octal = |bytes: &[u8]| bytes.iter().map(|byte| format!("\\{byte:03o}")).collect::<String>();
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\n' => text.push_str("\\n"),
                '\t' => text.push_str("\\t"),
                '\'' | '\\' => text.extend(['\\', c]),
                _ if is_invisible(c) => text.push_str(&octal(c.encode_utf8(&mut [0; 4]).as_bytes())),
                _ => text.push(c),
            }
        }
        text.push_str(&octal(chunk.invalid()));
    }
    text
}

/// The words as a Dockerfile writes them: a JSON list.
pub(super) fn exec_form(words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|word| serde_json::Value::from(word.as_str()).to_string()).collect();
    format!("[{}]", one_line(&words.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: [(&[u8], &str); 12] = [
        (b"/bin/app", "/bin/app"),
        (b"--level=3", "--level=3"),
        (b"A=b", "'A=b'"),
        (b"", "''"),
        (b"two words", "'two words'"),
        (b"it's", r"'it'\''s'"),
        (b"$HOME `x` \\", r"'$HOME `x` \'"),
        ("naïve".as_bytes(), "'naïve'"),
        (b"a\nb\t'\\", r"$'a\nb\t\'\\'"),
        (b"\x1b[31m1", r"$'\033[31m1'"),
        (b"\xff\xfe1", r"$'\377\3761'"),
        ("\u{202e}a".as_bytes(), r"$'\342\200\256a'"),
    ];

    #[test]
    fn words_are_quoted_only_where_a_shell_needs_it_and_nothing_is_invisible() {
        for (word, quoted) in WORDS {
            assert_eq!(shell_word(OsStr::from_bytes(word)), quoted);
        }
        assert_eq!(shell_line(&["sh", "-c", "exit 7"]), "sh -c 'exit 7'");
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "a shell is asked how it reads the line")]
    fn a_shell_reads_the_words_back() {
        let words: Vec<&OsStr> = WORDS.iter().map(|(word, _)| OsStr::from_bytes(word)).collect();
        let script = format!("printf '%s\\0' {}", shell_line(&words));
        // Not every `sh` knows $'...' yet.
        let Ok(output) = std::process::Command::new("bash").arg("-c").arg(script).output() else { return };
        let read: Vec<&[u8]> = output.stdout.split(|byte| *byte == 0).collect();
        let expected: Vec<&[u8]> = WORDS.iter().map(|(word, _)| *word).chain([&b""[..]]).collect();
        assert_eq!(read, expected);
    }

    #[test]
    fn lists_are_json_without_anything_invisible() {
        let words = ["a b", "\"", "\n\u{9b}\u{e0001}"].map(str::to_owned);
        let list = exec_form(&words);
        assert_eq!(list, r#"["a b", "\"", "\n\u009b\udb40\udc01"]"#);
        assert_eq!(serde_json::from_str::<Vec<String>>(&list).unwrap(), words);
        assert_eq!(exec_form(&[]), "[]");
    }
}
