//! docs/troubleshooting.md explains sentences that the program says: each is looked for in the texts of its sources.

use std::collections::BTreeSet;

use super::{files, page, root};

const PAGE: &str = "docs/troubleshooting.md";

/// What stands on the page for what varies.
const GAP: char = '…';

/// What stands for a value in a text of the sources, once it is read.
const HOLE: char = '\u{0}';

/// The sentences that the page explains: in code, as a heading or in the first cell of a row, with gaps for what varies.
fn sentences(page: &str) -> Vec<&str> {
    let told = page.lines().filter_map(|line| {
        let row = line.strip_prefix("| `").and_then(|rest| rest.split('`').next());
        row.or_else(|| line.strip_prefix("### `")?.strip_suffix('`'))
    });
    told.collect()
}

/// The parts of a sentence that do not vary.
fn fragments(sentence: &str) -> Vec<&str> {
    sentence.split(GAP).map(str::trim).filter(|part| part.chars().any(char::is_alphanumeric)).collect()
}

/// The texts in a source file, each with a hole for every value that is put into it.
fn texts(source: &str) -> Vec<String> {
    let mut texts = Vec::new();
    let mut rest = source;
    while let Some(at) = rest.find(['"', '\'', '/', 'r']) {
        let tail = &rest[at..];
        let in_word = rest[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        if tail.starts_with("//") {
            rest = tail.split_once('\n').map_or("", |(_, next)| next);
        } else if let Some(raw) = tail.strip_prefix("r\"").filter(|_| !in_word) {
            let end = raw.find('"').unwrap_or(raw.len());
            texts.push(holed(&raw[..end]));
            rest = raw.get(end + 1..).unwrap_or_default();
        } else if let Some(raw) = tail.strip_prefix("r#\"").filter(|_| !in_word) {
            let end = raw.find("\"#").unwrap_or(raw.len());
            texts.push(holed(&raw[..end]));
            rest = raw.get(end + 2..).unwrap_or_default();
        } else if let Some(character) = ["'\"'", "'\\\"'", "'/'", "'\\''"].into_iter().find(|it| tail.starts_with(it)) {
            rest = &tail[character.len()..];
        } else if let Some(text) = tail.strip_prefix('"') {
            let (value, behind) = unescaped(text);
            texts.push(holed(&value));
            rest = behind;
        } else {
            rest = &tail[1..];
        }
    }
    texts
}

/// The value of a text that began with a quotation mark, continued lines joined, and what is behind its end.
fn unescaped(text: &str) -> (String, &str) {
    let (mut value, mut rest) = (String::new(), text);
    loop {
        let mut chars = rest.chars();
        match chars.next() {
            None | Some('"') => return (value, chars.as_str()),
            Some('\\') => match chars.next() {
                Some('\n') => rest = chars.as_str().trim_start(),
                Some(escaped) => {
                    value.push(match escaped {
                        'n' => '\n',
                        't' => '\t',
                        other => other,
                    });
                    rest = chars.as_str();
                }
                None => return (value, ""),
            },
            Some(other) => {
                value.push(other);
                rest = chars.as_str();
            }
        }
    }
}

/// A text with a hole for each of its `{...}`.
fn holed(text: &str) -> String {
    let mut value = String::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('{') {
        value.push_str(&before.replace("}}", "}"));
        if let Some(behind) = behind.strip_prefix('{') {
            value.push('{');
            rest = behind;
        } else {
            value.push(HOLE);
            rest = behind.split_once('}').map_or("", |(_, behind)| behind);
        }
    }
    value + &rest.replace("}}", "}")
}

/// A source file without its tests, which stand at its end.
fn without_tests(source: &str) -> &str {
    let mut ends = source.match_indices("#[cfg(test)]\n").filter(|(at, attribute)| {
        let next = source[at + attribute.len()..].lines().next().unwrap_or_default();
        next.contains("mod ") && next.ends_with('{')
    });
    ends.next().map_or(source, |(at, _)| &source[..at])
}

/// All texts of the program.
fn all_texts() -> BTreeSet<String> {
    let sources = files(&root().join("src")).into_iter().filter(|path| {
        let name = path.file_stem().and_then(|name| name.to_str()).unwrap();
        path.extension().is_some_and(|extension| extension == "rs") && !name.ends_with("tests") && name != "samples"
    });
    sources.flat_map(|path| texts(without_tests(&std::fs::read_to_string(path).unwrap()))).collect()
}

#[test]
fn every_sentence_that_is_explained_is_one_of_the_program() {
    let (page, texts) = (page(PAGE), all_texts());
    assert!(texts.len() > 1000, "{}", texts.len());
    let sentences = sentences(&page);
    assert!(sentences.len() >= 60, "{}", sentences.len());
    let mut unknown = Vec::new();
    for sentence in &sentences {
        let fragments = fragments(sentence);
        assert!(fragments.iter().any(|part| part.len() >= 8), "too short to be looked for: {sentence}");
        unknown.extend(fragments.into_iter().filter(|part| !texts.iter().any(|text| text.contains(part))));
    }
    assert!(unknown.is_empty(), "{PAGE} explains what no text of src says:\n{}", unknown.join("\n"));
}

#[test]
fn no_sentence_is_explained_twice() {
    let page = page(PAGE);
    let all = sentences(&page);
    let once: BTreeSet<&str> = all.iter().copied().collect();
    assert_eq!(all.len(), once.len(), "{:?}", all.iter().filter(|one| all.iter().filter(|it| it == one).count() > 1));
}

#[test]
fn texts_are_read_from_sources_as_they_are_written() {
    let source = r####"
        // "no"
        #[error("a {b:?} c \"d\" \
                 e {{f}}")]
#[cfg(test)]
pub use x;
        let x = ['"', r"g\h", r#"i "j" k"#, "l/m'n"]; for 'a in "o" {}
        #[cfg(test)]
pub(super) mod tests {
    "p"
}"####;
    let expected = ["a \u{0} c \"d\" e {f}", "g\\h", "i \"j\" k", "l/m'n", "o"];
    assert_eq!(texts(without_tests(source)), expected);
}

#[test]
fn sentences_and_their_parts_are_read_from_the_page() {
    let page = "# `no`\n### `a b … c d: …`\nnot `this`\n| `e … f` | `no` |\n| x | `no` |\n### No\n";
    assert_eq!(sentences(page), ["a b … c d: …", "e … f"]);
    assert_eq!(fragments("… a b … c d: …"), ["a b", "c d:"]);
}
