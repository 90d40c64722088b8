//! Corpora as they are kept: one file per target, one input per line, bytes that are no printable ASCII escaped.
//!
//! Above an empty line stand inputs that a person wrote, among them every one that was a finding; below it those that a
//! run found, which the next may replace.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// How many bytes of a file the inputs below the empty line may take.
const ROOM: usize = 3000;

/// The file of a target's corpus, below the repository.
pub(crate) fn path(repository: &Path, target: &str) -> PathBuf {
    repository.join("fuzz/corpus").join(target)
}

/// Every input of a file.
pub(crate) fn read(file: &Path) -> io::Result<Vec<Vec<u8>>> {
    Ok(fs::read_to_string(file)?.lines().filter(|line| !line.is_empty()).map(unescaped).collect())
}

/// Puts other inputs below the empty line: as many as there is room for, the shorter before the longer, and of those that
/// are equally long in the order of their bytes.
#[allow(dead_code, reason = "for whoever has run a fuzzer")]
pub(crate) fn write(file: &Path, inputs: Vec<Vec<u8>>) -> io::Result<()> {
    let text = fs::read_to_string(file)?;
    let written: Vec<&str> = text.lines().take_while(|line| !line.is_empty()).collect();
    let mut found: Vec<String> = inputs.iter().map(|input| escaped(input)).collect();
    found.retain(|line| !line.is_empty() && !written.contains(&line.as_str()));
    found.sort_by_key(|line| (line.len(), line.clone()));
    found.dedup();
    let mut new: Vec<String> = written.iter().map(|&line| line.to_owned()).collect();
    new.push(String::new());
    let mut room = ROOM;
    for line in spread(found) {
        if let Some(left) = room.checked_sub(line.len() + 1) {
            room = left;
            new.push(line);
        }
    }
    new.push(String::new());
    fs::write(file, new.join("\n"))
}

/// Lines in an order of which every beginning has short and long ones: each eighth, then each eighth of the others.
fn spread(lines: Vec<String>) -> Vec<String> {
    let (mut order, mut rest) = (Vec::new(), lines);
    while !rest.is_empty() {
        let (taken, left): (Vec<_>, Vec<_>) = rest.into_iter().enumerate().partition(|(index, _)| index % 8 == 0);
        order.extend(taken.into_iter().map(|(_, line)| line));
        rest = left.into_iter().map(|(_, line)| line).collect();
    }
    order
}

/// A line for an input. A space at its end would be lost in many an editor.
#[allow(dead_code, reason = "as above")]
fn escaped(input: &[u8]) -> String {
    let line = input.escape_ascii().to_string();
    line.strip_suffix(' ').map_or_else(|| line.clone(), |start| format!("{start}\\x20"))
}

/// A line without its escapes.
fn unescaped(line: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(line.len());
    let mut rest = line.as_bytes();
    while let [first, others @ ..] = rest {
        let (byte, behind) = match (first, others) {
            (b'\\', [b'x', high, low, behind @ ..]) => (digit(*high) << 4 | digit(*low), behind),
            (b'\\', [b'n', behind @ ..]) => (b'\n', behind),
            (b'\\', [b'r', behind @ ..]) => (b'\r', behind),
            (b'\\', [b't', behind @ ..]) => (b'\t', behind),
            (b'\\', [other, behind @ ..]) => (*other, behind),
            (byte, behind) => (*byte, behind),
        };
        bytes.push(byte);
        rest = behind;
    }
    bytes
}

fn digit(byte: u8) -> u8 {
    char::from(byte).to_digit(16).map_or(0, |digit| digit as u8)
}
