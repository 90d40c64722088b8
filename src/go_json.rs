//! JSON text as Go's `encoding/json` writes and reads it, where that differs from `serde_json`.
//!
//! The controller compares and shows these bytes, so the strings of a termination message are Go's to the byte:
//! <https://pkg.go.dev/encoding/json#Marshal>.

use std::borrow::Cow;

/// Bytes as the text that Go makes of them: each offending byte becomes one U+FFFD (`String::from_utf8_lossy` would
/// make one of a whole truncated sequence).
#[must_use]
pub fn text(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(valid) = std::str::from_utf8(bytes) {
        return Cow::Borrowed(valid);
    }
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    Cow::Owned(text)
}

/// Appends the text as a JSON string, quotes included, with Go's escapes (those for HTML among them).
pub fn push_string(json: &mut String, text: &str) {
    json.push('"');
    for character in text.chars() {
        match character {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\u{8}' => json.push_str("\\b"),
            '\u{c}' => json.push_str("\\f"),
            '\n' => json.push_str("\\n"),
            '\r' => json.push_str("\\r"),
            '\t' => json.push_str("\\t"),
            '\0'..='\u{1f}' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                json.push_str(&format!("\\u{:04x}", u32::from(character)));
            }
            _ => json.push(character),
        }
    }
    json.push('"');
}

/// JSON text in which the escape of a lone surrogate is that of U+FFFD, which is what Go reads in its place;
/// `serde_json` would refuse the document.
#[must_use]
pub fn without_lone_surrogates(json: &str) -> Cow<'_, str> {
    const ESCAPE: usize = r"\uXXXX".len();
    let mut repaired = String::new();
    let mut done = 0;
    let mut at = 0;
    while let Some(found) = json.get(at..).and_then(|rest| rest.find('\\')) {
        at += found;
        at += match (escaped_unit(json, at), escaped_unit(json, at + ESCAPE)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => 2 * ESCAPE,
            (Some(0xd800..=0xdfff), _) => {
                repaired.push_str(json.get(done..at).unwrap_or_default());
                repaired.push_str(r"\ufffd");
                done = at + ESCAPE;
                ESCAPE
            }
            // The backslash and the byte that it escapes. A character of several bytes is no escape: the next search
            // starts within it and finds nothing there (`get` gives `None`), and the parser refuses the document.
            _ => 2,
        };
    }
    if done == 0 {
        return Cow::Borrowed(json);
    }
    repaired.push_str(json.get(done..).unwrap_or_default());
    Cow::Owned(repaired)
}

/// The UTF-16 unit of the escape `\uXXXX` that stands at `at`, if one stands there.
fn escaped_unit(json: &str, at: usize) -> Option<u16> {
    let digits = json.get(at..)?.strip_prefix(r"\u")?.get(..4)?;
    // `from_str_radix` takes a sign too.
    digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u16::from_str_radix(digits, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn string(text: &str) -> String {
        let mut json = String::new();
        push_string(&mut json, text);
        json
    }

    #[test]
    fn each_offending_byte_becomes_one_replacement_character() {
        for (bytes, expected) in [
            (&b"plain"[..], "plain"),
            (b"", ""),
            ("na\u{ef}ve \u{1f600}".as_bytes(), "na\u{ef}ve \u{1f600}"),
            (b"\xff", "\u{fffd}"),
            (b"a\xe2\x82", "a\u{fffd}\u{fffd}"),
            (b"a\xe2\x82b", "a\u{fffd}\u{fffd}b"),
            (b"\xf0\x9f\x98", "\u{fffd}\u{fffd}\u{fffd}"),
            (b"\xed\xa0\x80", "\u{fffd}\u{fffd}\u{fffd}"),
            (b"\xc0\xaf", "\u{fffd}\u{fffd}"),
            (b"\xf4\x90\x80\x80", "\u{fffd}\u{fffd}\u{fffd}\u{fffd}"),
        ] {
            assert_eq!(text(bytes), expected, "{bytes:x?}");
        }
    }

    #[test]
    fn strings_are_escaped_as_go_escapes_them() {
        for (text, expected) in [
            ("", r#""""#),
            ("\"\\/", r#""\"\\/""#),
            ("\u{8}\u{c}\n\r\t", r#""\b\f\n\r\t""#),
            ("\0\u{1}\u{b}\u{1f}", r#""\u0000\u0001\u000b\u001f""#),
            ("<a&b>", r#""\u003ca\u0026b\u003e""#),
            ("\u{2028}\u{2029}", r#""\u2028\u2029""#),
            ("\u{7f}\u{80}\u{e9}\u{1f600}\u{fffd}", "\"\u{7f}\u{80}\u{e9}\u{1f600}\u{fffd}\""),
        ] {
            assert_eq!(string(text), expected, "{text:?}");
        }
    }

    #[test]
    fn every_character_survives_the_way_through_a_json_parser() {
        for character in '\0'..=char::MAX {
            let text = character.to_string();
            assert_eq!(serde_json::from_str::<String>(&string(&text)).unwrap(), text);
        }
    }

    #[test]
    fn the_escape_of_a_lone_surrogate_is_read_as_a_replacement_character() {
        for (json, expected) in [
            (r#""a\\b""#, r#""a\\b""#),
            (r#""\ud83d\ude00""#, r#""\ud83d\ude00""#),
            (r#""\ud83d""#, r#""\ufffd""#),
            (r#""\uDE00x""#, r#""\ufffdx""#),
            (r#""\ud83d\ud83d\ude00""#, r#""\ufffd\ud83d\ude00""#),
            (r#""\\ud83d""#, r#""\\ud83d""#),
            (r#""\\\ud83d""#, r#""\\\ufffd""#),
            (r#""\ud83d\n\udc00""#, r#""\ufffd\n\ufffd""#),
            (r#""\ud83"#, r#""\ud83"#),
            (r#""\u+83d""#, r#""\u+83d""#),
            ("\"\\\u{e9}\"", "\"\\\u{e9}\""),
            ("\\", "\\"),
        ] {
            assert_eq!(without_lone_surrogates(json), expected, "{json}");
        }
    }
}
