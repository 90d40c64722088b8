//! What the file of a result says: a string, an array of strings or an object of strings.
//!
//! The reading is that of Tekton's `ParamValue.UnmarshalJSON` (`pkg/apis/pipeline/v1/types/param_types.go`).

use std::collections::BTreeMap;

use super::reference::Part;
use crate::go_json;

/// The value of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A string: what a JSON string says, else the file as it is.
    Text(Vec<u8>),
    /// A JSON array of strings.
    List(Vec<String>),
    /// A JSON object of strings.
    Map(BTreeMap<String, String>),
}

/// What a reference to a value stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selected<'v> {
    /// This text.
    Text(&'v [u8]),
    /// All elements of an array that has some.
    Words(&'v [String]),
}

/// A reference asks for an element that the value does not have. The words are those in which Go panics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("index out of range [{index}] with length {length}")]
pub struct NoElement {
    /// The element that is asked for.
    pub index: u64,
    /// How many there are: 0 where the value is no array.
    pub length: usize,
    /// What the value is instead of a long enough array.
    pub found: Found,
}

/// What a value is, for a person who took it for something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// A string.
    Text,
    /// An array.
    List,
    /// An object.
    Map,
}

impl Value {
    /// Reads the content of a result's file. Whatever it is, it is a value: what is no array or object of strings alone
    /// (numbers in it, say) is a string.
    #[must_use]
    pub fn read(content: Vec<u8>) -> Self {
        // Go puts an empty string where JSON has null instead of a string.
        fn or_empty(text: Option<String>) -> String {
            text.unwrap_or_default()
        }
        let text = go_json::text(&content);
        let json = go_json::without_lone_surrogates(&text);
        match content.first() {
            Some(b'[') => {
                if let Ok(list) = serde_json::from_str::<Vec<Option<String>>>(&json) {
                    return Self::List(list.into_iter().map(or_empty).collect());
                }
            }
            Some(b'{') => {
                if let Ok(map) = serde_json::from_str::<BTreeMap<String, Option<String>>>(&json) {
                    return Self::Map(map.into_iter().map(|(key, value)| (key, or_empty(value))).collect());
                }
            }
            Some(_) | None => {
                if let Ok(string) = serde_json::from_str::<Option<String>>(&json) {
                    return Self::Text(or_empty(string).into_bytes());
                }
            }
        }
        drop(json);
        drop(text);
        Self::Text(content)
    }

    /// What a part of the value stands for. What the value does not have is empty, but for an element of an array.
    ///
    /// # Errors
    /// [`NoElement`].
    pub fn select(&self, part: &Part<'_>) -> Result<Selected<'_>, NoElement> {
        const NOTHING: Selected<'static> = Selected::Text(b"");
        Ok(match (part, self) {
            (Part::Whole, Self::Text(text)) => Selected::Text(text),
            (Part::All, Self::List(words)) if !words.is_empty() => Selected::Words(words),
            (Part::Key(key), Self::Map(map)) => std::str::from_utf8(key)
                .ok()
                .and_then(|key| map.get(key))
                .map_or(NOTHING, |value| Selected::Text(value.as_bytes())),
            (Part::Element(index), value) => {
                let words = match value {
                    Self::List(words) => words.as_slice(),
                    Self::Text(_) | Self::Map(_) => &[],
                };
                let word = usize::try_from(*index).ok().and_then(|index| words.get(index));
                let word = word.ok_or(NoElement { index: *index, length: words.len(), found: value.kind() })?;
                Selected::Text(word.as_bytes())
            }
            (Part::Whole | Part::All | Part::Key(_), _) => NOTHING,
        })
    }

    fn kind(&self) -> Found {
        match self {
            Self::Text(_) => Found::Text,
            Self::List(_) => Found::List,
            Self::Map(_) => Found::Map,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::Text(text.as_bytes().to_vec())
    }

    fn list(words: &[&str]) -> Value {
        Value::List(words.iter().map(|&word| word.to_owned()).collect())
    }

    fn map(entries: &[(&str, &str)]) -> Value {
        Value::Map(entries.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect())
    }

    #[test]
    fn a_file_is_read_as_tekton_reads_it() {
        for (content, expected) in [
            ("", text("")),
            ("plain", text("plain")),
            ("line\n", text("line\n")),
            (r#""quoted""#, text("quoted")),
            ("\"quoted\"\n", text("quoted")),
            (" \"quoted\"", text("quoted")),
            (r#""a\nb""#, text("a\nb")),
            (r#""a" b"#, text(r#""a" b"#)),
            (r#""\ud83d""#, text("\u{fffd}")),
            ("null", text("")),
            ("null\n", text("")),
            ("nul", text("nul")),
            ("1", text("1")),
            ("true", text("true")),
            ("[]", list(&[])),
            (r#"["a","b"]"#, list(&["a", "b"])),
            ("[\"a\"]\n", list(&["a"])),
            (r#"["a",null]"#, list(&["a", ""])),
            (r#" ["a"]"#, text(r#" ["a"]"#)),
            ("[1,2]", text("[1,2]")),
            (r#"["a",1]"#, text(r#"["a",1]"#)),
            (r#"[["a"]]"#, text(r#"[["a"]]"#)),
            (r#"["a""#, text(r#"["a""#)),
            ("{}", map(&[])),
            (r#"{"k":"v"}"#, map(&[("k", "v")])),
            (r#"{"k":null}"#, map(&[("k", "")])),
            (r#"{"k":"v","k":"w"}"#, map(&[("k", "w")])),
            (r#"{"k":1}"#, text(r#"{"k":1}"#)),
            (r#"{"k":{"l":"m"}}"#, text(r#"{"k":{"l":"m"}}"#)),
            (r#"{"k":"v"} x"#, text(r#"{"k":"v"} x"#)),
        ] {
            assert_eq!(Value::read(content.into()), expected, "{content:?}");
        }
    }

    #[test]
    fn bytes_that_are_no_utf8_stay_in_plain_files_and_are_replaced_in_json() {
        assert_eq!(Value::read(b"a\xffb".to_vec()), Value::Text(b"a\xffb".to_vec()));
        assert_eq!(Value::read(b"\"a\xff\xe2\x82\"".to_vec()), text("a\u{fffd}\u{fffd}\u{fffd}"));
        assert_eq!(Value::read(b"[\"\xff\"]".to_vec()), list(&["\u{fffd}"]));
        assert_eq!(Value::read(b"[\xff]".to_vec()), Value::Text(b"[\xff]".to_vec()));
    }

    #[test]
    fn deep_nesting_is_a_string_and_no_overflow() {
        for open in ["[", "{\"k\":"] {
            let deep = open.repeat(1 << 17);
            assert_eq!(Value::read(deep.clone().into()), text(&deep));
        }
    }

    #[test]
    fn what_a_value_does_not_have_is_empty() {
        let (string, array, object) = (text("s"), list(&["a", "b"]), map(&[("k", "v")]));
        for (value, part, expected) in [
            (&string, Part::Whole, "s"),
            (&array, Part::Whole, ""),
            (&object, Part::Whole, ""),
            (&array, Part::Element(1), "b"),
            (&string, Part::All, ""),
            (&object, Part::All, ""),
            (&list(&[]), Part::All, ""),
            (&object, Part::Key(b"k"), "v"),
            (&object, Part::Key(b"other"), ""),
            (&object, Part::Key(b"\xff"), ""),
            (&string, Part::Key(b"k"), ""),
            (&array, Part::Key(b"k"), ""),
        ] {
            assert_eq!(value.select(&part), Ok(Selected::Text(expected.as_bytes())), "{value:?} {part:?}");
        }
        assert_eq!(array.select(&Part::All), Ok(Selected::Words(&["a".to_owned(), "b".to_owned()])));
    }

    #[test]
    fn an_element_that_is_not_there_is_an_error_in_gos_words() {
        for (value, index, length, found) in [
            (list(&["a", "b"]), 2, 2, Found::List),
            (list(&[]), 0, 0, Found::List),
            (text("s"), 0, 0, Found::Text),
            (map(&[("k", "v")]), 1, 0, Found::Map),
            (list(&["a"]), u64::MAX, 1, Found::List),
        ] {
            let error = value.select(&Part::Element(index)).unwrap_err();
            assert_eq!(error, NoElement { index, length, found });
            assert_eq!(error.to_string(), format!("index out of range [{index}] with length {length}"));
        }
    }
}
