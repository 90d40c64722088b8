//! The text form of names and contents: what a reviewer reads, and a parser reads back.

use std::fmt::Write as _;

/// How many bytes of one kind stand for themselves; more are counted.
const RUN: usize = 50;
/// The longest text that is shown; of anything longer only its length and a hash.
const SHOWN: usize = 8000;

/// The bytes as text of one line, which [`bytes`] reads back: `\xNN` is a byte, `\*{N c}` is `c` N times.
pub fn text(bytes: &[u8]) -> String {
    let mut out = String::new();
    let mut rest = bytes;
    while let Some(&first) = rest.first() {
        let run = rest.iter().take_while(|&&byte| byte == first).count();
        if run >= RUN && first.is_ascii_graphic() {
            let _ = write!(out, "\\*{{{run} {}}}", char::from(first));
            rest = &rest[run..];
            continue;
        }
        let (width, shown) = character(rest);
        match shown {
            Some(shown) => out.push(shown),
            None => rest[..width].iter().for_each(|byte| {
                let _ = write!(out, "\\x{byte:02x}");
            }),
        }
        rest = &rest[width..];
    }
    if out.ends_with(' ') {
        out.truncate(out.len() - 1);
        out.push_str("\\x20");
    }
    out
}

/// The width of the first character, and the character if it can be read as itself.
fn character(bytes: &[u8]) -> (usize, Option<char>) {
    let valid = bytes.utf8_chunks().next().map(|chunk| chunk.valid()).unwrap_or_default();
    let Some(first) = valid.chars().next() else { return (1, None) };
    let escape = first == '\\' && bytes.get(1).is_some_and(|next| matches!(next, b'x' | b'*'));
    let plain = first == ' ' || first.is_ascii_graphic() || (!first.is_ascii() && first.is_alphabetic());
    (first.len_utf8(), Some(first).filter(|_| plain && !escape))
}

/// The bytes that a text stands for.
///
/// # Errors
/// An escape that is none.
pub fn bytes(text: &str) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        let escaped = &rest[at + 1..];
        let wrong = || format!("no escape: {}", &rest[at..]);
        rest = if let Some(run) = escaped.strip_prefix("*{") {
            let (run, behind) = run.split_once('}').ok_or_else(wrong)?;
            let (count, what) = run.split_once(' ').ok_or_else(wrong)?;
            let count: usize = count.parse().map_err(|_| wrong())?;
            out.extend(what.repeat(count).into_bytes());
            behind
        } else if let Some(hex) = escaped.strip_prefix('x') {
            let digits = hex.get(..2).ok_or_else(wrong)?;
            out.push(u8::from_str_radix(digits, 16).map_err(|_| wrong())?);
            &hex[2..]
        } else {
            out.push(b'\\');
            escaped
        };
    }
    out.extend_from_slice(rest.as_bytes());
    Ok(out)
}

/// A content behind its heading: ` :text` when it is one line without an end, else a line per line, `|` before one that
/// ends and `:` before one that does not. An empty content is no text at all.
pub fn content(bytes: &[u8]) -> String {
    let shown = lines(bytes);
    if shown.len() > SHOWN { format!(" {} bytes, fnv1a {:016x}", bytes.len(), fnv1a(bytes)) } else { shown }
}

/// Enough to notice a change, which nobody makes on purpose.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

fn lines(bytes: &[u8]) -> String {
    if !bytes.is_empty() && !bytes.contains(&b'\n') {
        return format!(" :{}", text(bytes));
    }
    let mut out = String::new();
    for line in bytes.split_inclusive(|&byte| byte == b'\n') {
        match line.strip_suffix(b"\n") {
            Some(line) => out.push_str(&format!("\n  |{}", text(line))),
            None => out.push_str(&format!("\n  :{}", text(line))),
        }
    }
    out
}

/// The bytes of a content: what stands behind its heading, and the lines below it.
///
/// # Errors
/// What is no content.
pub fn content_bytes<'a>(same_line: &str, below: impl IntoIterator<Item = &'a str>) -> Result<Vec<u8>, String> {
    let mut out = match same_line.trim_start() {
        "" => Vec::new(),
        text => bytes(text.strip_prefix(':').ok_or_else(|| format!("`:` and a text: {text}"))?)?,
    };
    for line in below {
        match line.trim_start().split_at_checked(1) {
            Some(("|", line)) => {
                out.extend(bytes(line)?);
                out.push(b'\n');
            }
            Some((":", line)) => out.extend(bytes(line)?),
            _ => return Err(format!("`|` or `:` and a line: {line}")),
        }
    }
    Ok(out)
}

/// The words of a line: between blanks, or between quotes, in which nothing but the escapes is special.
///
/// # Errors
/// A quote without its end, or an escape that is none.
pub fn words(line: &str) -> Result<Vec<Vec<u8>>, String> {
    let mut words = Vec::new();
    let mut rest = line.trim();
    while !rest.is_empty() {
        let mut word = String::new();
        while let Some(first) = rest.chars().next().filter(|first| *first != ' ') {
            if first == '\'' || first == '"' {
                let (quoted, behind) = rest[1..].split_once(first).ok_or_else(|| format!("no end of {rest}"))?;
                word.push_str(quoted);
                rest = behind;
            } else if rest.starts_with("\\*{") {
                let (run, behind) = rest.split_at(rest.find('}').map_or(rest.len(), |end| end + 1));
                word.push_str(run);
                rest = behind;
            } else {
                word.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
        words.push(bytes(&word)?);
        rest = rest.trim_start();
    }
    Ok(words)
}

#[test]
fn what_is_written_is_read_back() {
    for original in [
        &b""[..],
        b"plain",
        b"two\nlines\n",
        b"two\nlines",
        b"\n",
        b"\n\n",
        b" ends with a blank ",
        b"\\x \\* \\n \\",
        b"\x00\x7f\xff\xe2\x82",
        "é ü \u{202e} \u{301}".as_bytes(),
        "x".repeat(4096).as_bytes(),
    ] {
        let shown = content(original);
        let (same_line, below) = shown.split_once('\n').unwrap_or((&shown, ""));
        assert_eq!(content_bytes(same_line, below.lines()).unwrap(), original, "{shown}");
    }
    assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
    assert!(content("ab".repeat(5000).as_bytes()).starts_with(" 10000 bytes, fnv1a "));
}

#[test]
fn words_stand_between_blanks_or_quotes() {
    let words = words(r#"a  'b "c"' "d 'e'"f '' \x41\*{3 z} g"#).unwrap();
    assert_eq!(words, ["a", "b \"c\"", "d 'e'f", "", "Azzz", "g"].map(|word| word.as_bytes().to_vec()));
    assert!(super::format::words("'a").is_err());
}
