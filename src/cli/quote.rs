//! Values in messages, quoted as Go's `%q` does, so that no value can break or disguise a line of the log.

use std::ffi::OsStr;
use std::fmt::{self, Write};
use std::os::unix::ffi::OsStrExt;

/// A value in double quotes; bytes that are no UTF-8 and characters that cannot be seen are escaped. Other than in Go,
/// so are marks that combine with the character before them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Quoted(String);

impl Quoted {
    pub(super) fn new(value: &OsStr) -> Self {
        let mut text = String::from('"');
        for chunk in value.as_bytes().utf8_chunks() {
            chunk.valid().chars().for_each(|c| push(&mut text, c));
            for byte in chunk.invalid() {
                // Writing to a String cannot fail.
                let _ = write!(text, "\\x{byte:02x}");
            }
        }
        text.push('"');
        Self(text)
    }
}

/// One character in Go's spelling.
fn push(text: &mut String, c: char) {
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
                // Of the characters that Rust escapes for debugging, all but these are invisible.
                _ if c != '\'' && c.escape_debug().len() > 1 && code > 0xffff => write!(text, "\\U{code:08x}"),
                _ if c != '\'' && c.escape_debug().len() > 1 => write!(text, "\\u{code:04x}"),
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
}
