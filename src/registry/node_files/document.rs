//! A TOML file by its tables: whatever is wrong with one of them is told with its line and column.

use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{Fault, NodeFileError};
use crate::image::shown;
use crate::note::Note;

/// How much of a key or a value a message repeats.
const SHOWN: usize = 80;

/// A fault, and the byte where it is.
#[derive(Debug)]
pub(super) struct At {
    offset: usize,
    fault: Fault,
}

/// What was read of a table, or why it cannot be used.
pub(super) type Read<T> = Result<T, At>;

/// Where something stands in a file, counted from 1; columns are characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) line: usize,
    pub(super) column: usize,
}

/// The text of a file, for errors and notes about it.
#[derive(Clone, Copy)]
pub(super) struct Text<'t> {
    pub(super) path: &'t Path,
    text: &'t str,
    /// Where lines begin.
    lines: &'t [usize],
}

/// A table of the file.
#[derive(Clone, Copy)]
pub(super) struct Table<'a>(&'a DeTable<'a>);

/// A key of a table, with what it names.
#[derive(Clone, Copy)]
pub(super) struct Entry<'a> {
    pub(super) offset: usize,
    pub(super) key: &'a str,
    value: &'a Spanned<DeValue<'a>>,
}

/// A string of the file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Word<'a> {
    pub(super) offset: usize,
    pub(super) text: &'a str,
}

/// Reads a file's root table by `read`, and gives its faults their places.
///
/// # Errors
///
/// What is no TOML, and what `read` finds wrong.
pub(super) fn read<T>(
    path: &Path,
    bytes: &[u8],
    read: impl FnOnce(Text<'_>, Table<'_>) -> Read<T>,
) -> Result<T, NodeFileError> {
    let text = std::str::from_utf8(bytes).map_err(|_| NodeFileError::Encoding { path: path.to_owned() })?;
    let lines: Vec<usize> = [0].into_iter().chain(text.match_indices('\n').map(|(newline, _)| newline + 1)).collect();
    let text = Text { path, text, lines: &lines };
    let parsed = DeTable::parse(text.text).map_err(|error| {
        let offset = error.span().map_or(0, |span| span.start);
        At { offset, fault: Fault::Syntax(shown(error.message(), SHOWN)) }
    });
    let done = parsed.and_then(|root| read(text, Table(root.get_ref())));
    done.map_err(|At { offset, fault }| NodeFileError::broken(path.to_owned(), text.position(offset), fault))
}

impl At {
    pub(super) fn new(offset: usize, fault: Fault) -> Self {
        Self { offset, fault }
    }
}

impl Text<'_> {
    /// Where a byte stands.
    pub(super) fn position(self, offset: usize) -> Position {
        let line = self.lines.partition_point(|&start| start <= offset);
        let start = self.lines.get(line.saturating_sub(1)).copied().unwrap_or(0);
        let column = self.text.get(start..offset).map_or(0, |before| before.chars().count()) + 1;
        Position { line, column }
    }

    /// What a person is to know about a place in the file.
    pub(super) fn note(self, offset: usize, outcome: &str) -> Note {
        note(self.path, &format!("line {}: {outcome}", self.position(offset).line))
    }

    /// A note for every key that is not among those.
    pub(super) fn note_others(self, table: Table<'_>, known: &[&str], notes: &mut Vec<Note>) {
        let is_known = |key: &str| known.iter().any(|known| known.eq_ignore_ascii_case(key));
        for other in table.entries().into_iter().filter(|entry| !is_known(entry.key)) {
            notes.push(self.note(other.offset, &format!("{:?} has no effect here", shown(other.key, SHOWN))));
        }
    }
}

/// A note about a file.
pub(super) fn note(path: &Path, outcome: &str) -> Note {
    Note::new(format!("registry configuration {}", path.display()), outcome)
}

impl<'a> Table<'a> {
    /// The entries in the order of the file.
    pub(super) fn entries(self) -> Vec<Entry<'a>> {
        let entry = |(key, value): (&'a Spanned<_>, &'a Spanned<_>)| {
            let text: &'a std::borrow::Cow<'a, str> = key.get_ref();
            Entry { offset: key.span().start, key: text, value }
        };
        let mut entries: Vec<_> = self.0.iter().map(entry).collect();
        entries.sort_by_key(|entry| entry.offset);
        entries
    }

    /// What a key names, in whatever case it is written: the programs whose files these are do not mind either.
    fn get(self, key: &str) -> Option<Entry<'a>> {
        let mut entries = self.entries();
        entries.sort_by_key(|entry| entry.key != key);
        entries.into_iter().find(|entry| entry.key.eq_ignore_ascii_case(key))
    }

    /// Where a key stands, if it does.
    pub(super) fn offset_of(self, key: &str) -> Option<usize> {
        self.get(key).map(|entry| entry.offset)
    }

    /// A string.
    pub(super) fn word(self, key: &str) -> Read<Option<Word<'a>>> {
        self.get(key).map(Entry::word).transpose()
    }

    /// A string that may also be written as several in a list; what they are is said in an error.
    pub(super) fn words(self, key: &str, wanted: &'static str) -> Read<Vec<Word<'a>>> {
        let Some(entry) = self.get(key) else { return Ok(Vec::new()) };
        words(entry.value).ok_or_else(|| entry.wrong(wanted))
    }

    /// Strings, and lists of strings, that may be the only one or in a list.
    pub(super) fn groups(self, key: &str, wanted: &'static str) -> Read<Vec<Vec<Word<'a>>>> {
        let Some(entry) = self.get(key) else { return Ok(Vec::new()) };
        let groups = match entry.value.get_ref().as_array() {
            Some(list) => list.iter().map(words).collect(),
            None => words(entry.value).map(|words| vec![words]),
        };
        groups.ok_or_else(|| entry.wrong(wanted))
    }

    /// `true` or `false`.
    pub(super) fn flag(self, key: &str) -> Read<Option<bool>> {
        let Some(entry) = self.get(key) else { return Ok(None) };
        entry.value.get_ref().as_bool().map(Some).ok_or_else(|| entry.wrong("true or false"))
    }

    /// A table.
    pub(super) fn table(self, key: &str) -> Read<Option<Self>> {
        self.get(key).map(Entry::table).transpose()
    }

    /// The tables of an array, each with its place.
    pub(super) fn tables(self, key: &str) -> Read<Vec<(usize, Self)>> {
        let Some(entry) = self.get(key) else { return Ok(Vec::new()) };
        let wrong = || entry.wrong("tables, each headed by its name in double brackets");
        let list = entry.value.get_ref().as_array().ok_or_else(wrong)?;
        let table = |item: &'a Spanned<DeValue<'a>>| Some((item.span().start, Table(item.get_ref().as_table()?)));
        list.iter().map(table).collect::<Option<_>>().ok_or_else(wrong)
    }
}

impl<'a> Entry<'a> {
    fn wrong(self, wanted: &'static str) -> At {
        At::new(self.offset, Fault::Type { key: shown(self.key, SHOWN), wanted })
    }

    fn word(self) -> Read<Word<'a>> {
        word(self.value).ok_or_else(|| self.wrong("a string"))
    }

    /// As a table.
    pub(super) fn table(self) -> Read<Table<'a>> {
        self.value.get_ref().as_table().map(Table).ok_or_else(|| self.wrong("a table"))
    }
}

impl Word<'_> {
    /// A path, which is relative to the directory of the file; not the empty one.
    pub(super) fn path(self, directory: &Path, key: &'static str) -> Read<PathBuf> {
        if self.text.is_empty() {
            return Err(At::new(self.offset, Fault::Type { key: key.to_owned(), wanted: "a path" }));
        }
        Ok(directory.join(self.text))
    }

    /// The string for a message.
    pub(super) fn shown(self) -> String {
        shown(self.text, SHOWN)
    }
}

fn word<'a>(value: &'a Spanned<DeValue<'a>>) -> Option<Word<'a>> {
    Some(Word { offset: value.span().start, text: value.get_ref().as_str()? })
}

/// A string as the only one, or the strings of a list that has nothing else.
fn words<'a>(value: &'a Spanned<DeValue<'a>>) -> Option<Vec<Word<'a>>> {
    match value.get_ref().as_array() {
        Some(list) => list.iter().map(word).collect(),
        None => word(value).map(|word| vec![word]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::cause::chain;

    fn story(bytes: &[u8]) -> String {
        let read = read(Path::new("/etc/f.toml"), bytes, |_, table| {
            table.word("word")?;
            table.flag("flag")?;
            table.words("words", "strings")?;
            table.table("table")?;
            table.tables("tables")?;
            Ok(())
        });
        read.map_or_else(|error| chain(&error), |()| String::new())
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line_and_column() {
        for (text, expected) in [
            ("", ""),
            ("word = 'a'\nWORDS = ['a']\nFlag = true", ""),
            ("word = 'a'\nword = 'b'", "line 2, column 1: it is no TOML: duplicate key"),
            ("a = 1\nb 2", "line 2, column 3: it is no TOML: key with no value, expected `=`"),
            ("\n[host.\"ä", "line 2, column 9: it is no TOML: unclosed table, expected `]`"),
            ("\n\n  word = 1", "line 3, column 3: word must be a string"),
            ("flag = 'true'", "line 1, column 1: flag must be true or false"),
            ("words = [1]", "line 1, column 1: words must be strings"),
            ("table = 1", "line 1, column 1: table must be a table"),
            ("[tables]", "line 1, column 2: tables must be tables, each headed by its name in double brackets"),
        ] {
            let expected = if expected.is_empty() {
                String::new()
            } else {
                format!("the registry configuration \"/etc/f.toml\" cannot be used: {expected}")
            };
            assert_eq!(story(text.as_bytes()), expected, "{text}");
        }
        assert_eq!(story(b"a = '\xff'"), "the registry configuration \"/etc/f.toml\" is not UTF-8");
    }

    #[test]
    fn nothing_is_nested_without_end() {
        let nested = "[".repeat(100_000);
        let dotted = format!("{}a = 1", "a.".repeat(400_000));
        for text in [format!("a = {nested}"), format!("a = {}", "{a=".repeat(100_000)), dotted] {
            let story = story(text.as_bytes());
            assert!(story.contains("recur"), "{story}");
        }
    }
}
