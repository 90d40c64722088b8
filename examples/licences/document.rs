//! The document: every part with the numbers of its texts, then every text once.
//!
//! It has no date and no path: from the same sources comes the same document.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::package::Part;

const LINE: &str = "--------------------------------------------------------------------------------";

/// A text without what no reader sees: ends of lines of another kind, blanks behind them, empty lines around it.
fn tidy(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.join("\n").trim_matches('\n').to_owned()
}

/// The document for a program, as `entrypoint 0.1.0`, and its parts, in their order.
pub(crate) fn document(program: &str, parts: &[Part]) -> String {
    // Texts that differ in their blanks alone are one.
    let mut numbers: BTreeMap<String, usize> = BTreeMap::new();
    let mut texts: Vec<(String, Vec<String>)> = Vec::new();
    let mut list = String::new();
    for part in parts {
        let mut own = Vec::new();
        for (file, text) in &part.texts {
            let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
            let number = *numbers.entry(words).or_insert_with(|| {
                texts.push((tidy(text), Vec::new()));
                texts.len()
            });
            if let Some((_, of)) = number.checked_sub(1).and_then(|index| texts.get_mut(index)) {
                of.push(format!("{} {} ({file})", part.name, part.version));
            }
            own.push(number.to_string());
        }
        own.dedup();
        // Writing to a string does not fail.
        let _ = writeln!(list, "{} {}: {}", part.name, part.version, part.licence);
        for line in [&part.source, &part.authors, part.note].iter().filter(|line| !line.is_empty()) {
            let _ = writeln!(list, "    {line}");
        }
        let _ = writeln!(list, "    texts: {}", own.join(", "));
    }
    let mut all = format!(
        "What is linked into {program}, and under which licences.\n\n\
         The program itself is under Apache-2.0, whose text is among those below. {} parts, {} texts.\n\n\
         {LINE}\nParts\n{LINE}\n\n{list}",
        parts.len(),
        texts.len(),
    );
    for (index, (text, of)) in texts.iter().enumerate() {
        let _ = write!(all, "\n{LINE}\nText {}\n", index + 1);
        for part in of {
            let _ = writeln!(all, "  for {part}");
        }
        let _ = write!(all, "{LINE}\n\n{text}\n");
    }
    all
}
