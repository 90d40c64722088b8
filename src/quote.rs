//! Values in messages, quoted as Go's `%q` does, so that no value can break or disguise a line of the log.

use std::ffi::OsStr;
use std::fmt::{self, Write};
use std::os::unix::ffi::OsStrExt;

/// A value in double quotes; bytes that are no UTF-8 and characters that cannot be seen are escaped. Other than in Go,
/// so are marks that combine with the character before them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quoted(String);

impl Quoted {
    /// Quotes a value, which need not be UTF-8.
    #[must_use]
    pub fn new(value: &OsStr) -> Self {
        let mut text = String::from('"');
        for chunk in value.as_bytes().utf8_chunks() {
            chunk.valid().chars().for_each(|c| push(&mut text, c, unseen));
            for byte in chunk.invalid() {
                // Writing to a String cannot fail.
                let _ = write!(text, "\\x{byte:02x}");
            }
        }
        text.push('"');
        Self(text)
    }

    /// Quotes a text for a file, where Go's bytes count: marks that combine stay as they are.
    #[must_use]
    pub fn to_the_byte(value: &str) -> Self {
        let mut text = String::from('"');
        value.chars().for_each(|c| push(&mut text, c, unseen_by_itself));
        text.push('"');
        Self(text)
    }
}

/// A text that others had a hand in, as one line of the log: only its control characters are escaped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OneLine(pub String);

impl fmt::Display for OneLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .chars()
            .try_for_each(|c| if c.is_control() { write!(f, "{}", c.escape_default()) } else { f.write_char(c) })
    }
}

/// Of the characters that Rust escapes for debugging, these cannot be seen, or change the one before them.
fn unseen(c: char) -> bool {
    !matches!(c, '\'' | '"' | '\\') && c.escape_debug().len() > 1
}

/// As above, without those that combine: behind another character Rust leaves them alone.
fn unseen_by_itself(c: char) -> bool {
    unseen(c) && String::from_iter(['a', c]).escape_debug().count() > 2
}

/// One character in Go's spelling.
fn push(text: &mut String, c: char, unseen: fn(char) -> bool) {
    let short = match c {
        '"' | '\\' => c,
        '\x07' => 'a',
        '\x08' => 'b',
        '\x0c' => 'f',
        '\n' => 'n',
        '\r' => 'r',
        '\t' => 't',
        '\x0b' => 'v',
        _ => {
            let code = u32::from(c);
            let _ = match c {
                '\0'..=' ' | '\x7f' if c != ' ' => write!(text, "\\x{code:02x}"),
                _ if unseen(c) && code > 0xffff => write!(text, "\\U{code:08x}"),
                _ if unseen(c) => write!(text, "\\u{code:04x}"),
                _ => text.write_char(c),
            };
            return;
        }
    };
    text.push('\\');
    text.push(short);
}

impl fmt::Display for Quoted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_quoted_as_go_quotes_them() {
        for (value, quoted) in [
            (&b""[..], r#""""#),
            (b"maybe", r#""maybe""#),
            (b"it's 10 %", r#""it's 10 %""#),
            (br#"a"b\c"#, r#""a\"b\\c""#),
            (b"a\nb\tc\r\x07\x08\x0b\x0c", r#""a\nb\tc\r\a\b\v\f""#),
            (b"\x00\x1b[31m\x7f", r#""\x00\x1b[31m\x7f""#),
            ("é日".as_bytes(), r#""é日""#),
            ("\u{202e}\u{200b}\u{85}".as_bytes(), r#""\u202e\u200b\u0085""#),
            ("\u{e0001}".as_bytes(), r#""\U000e0001""#),
            (b"a\xff\xc3", r#""a\xff\xc3""#),
        ] {
            assert_eq!(Quoted::new(OsStr::from_bytes(value)).to_string(), quoted);
        }
    }

    #[test]
    fn only_in_a_message_a_mark_that_combines_is_escaped() {
        let text = "e\u{301}\u{200b}\n'\"";
        assert_eq!(Quoted::new(OsStr::new(text)).to_string(), r#""e\u0301\u200b\n'\"""#);
        assert_eq!(Quoted::to_the_byte(text).to_string(), "\"e\u{301}\\u200b\\n'\\\"\"");
    }

    #[test]
    fn a_text_of_several_lines_is_shown_as_one() {
        assert_eq!(OneLine("a\nb\x1b[1m \"c\" \\ é".to_owned()).to_string(), r#"a\nb\u{1b}[1m "c" \ é"#);
    }
}
