//! The fields of a JSON object that has secrets in it: taken out one by one, and no error repeats a value.

use serde_json::{Map, Value};

use crate::secret::Secret;

/// What is left of an object.
pub(super) struct Fields(Map<String, Value>);

/// Why an object does not have what it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(in crate::authn) enum FieldError {
    /// It is not there, or empty.
    #[error("it has no \"{0}\"")]
    Absent(&'static str),
    /// It is something else.
    #[error("its \"{0}\" is not {1}")]
    Other(&'static str, &'static str),
}

/// Why a text is no object.
#[derive(Debug, thiserror::Error)]
pub(in crate::authn) enum ObjectError {
    /// There is nothing in it.
    #[error("it is empty")]
    Empty,
    // The cause names a line and a column: what is read into a plain value has no other errors.
    /// It is not JSON.
    #[error("it is not JSON")]
    NotJson(#[source] serde_json::Error),
    /// It is JSON of another kind.
    #[error("it is not a JSON object")]
    NotAnObject,
}

impl Fields {
    /// The object that a text is.
    pub(super) fn of(text: &[u8]) -> Result<Self, ObjectError> {
        if text.trim_ascii().is_empty() {
            return Err(ObjectError::Empty);
        }
        match serde_json::from_slice(text).map_err(ObjectError::NotJson)? {
            Value::Object(fields) => Ok(Self(fields)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                Err(ObjectError::NotAnObject)
            }
        }
    }

    /// Whether there is such a field.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|value| !value.is_null())
    }

    /// A text, if there is one that is not empty.
    pub(super) fn text(&mut self, name: &'static str) -> Result<Option<String>, FieldError> {
        match self.0.swap_remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text).filter(|text| !text.is_empty())),
            Some(Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
                Err(FieldError::Other(name, "a text"))
            }
        }
    }

    /// A text whose name is not ours to choose, if there is one.
    pub(super) fn named(mut self, name: &str) -> Option<String> {
        match self.0.swap_remove(name) {
            Some(Value::String(text)) => Some(text),
            None | Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => None,
        }
    }

    /// A text that must be there.
    pub(super) fn needed(&mut self, name: &'static str) -> Result<String, FieldError> {
        self.text(name)?.ok_or(FieldError::Absent(name))
    }

    /// A secret that must be there.
    pub(super) fn secret(&mut self, name: &'static str) -> Result<Secret, FieldError> {
        self.needed(name).map(Secret::new)
    }

    /// A whole number, if there is one.
    pub(super) fn number(&mut self, name: &'static str) -> Result<Option<u64>, FieldError> {
        match self.0.swap_remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => value.as_u64().map(Some).ok_or(FieldError::Other(name, "a whole number")),
        }
    }

    /// An object, if there is one.
    pub(super) fn object(&mut self, name: &'static str) -> Result<Option<Self>, FieldError> {
        match self.0.swap_remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Object(fields)) => Ok(Some(Self(fields))),
            Some(Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => {
                Err(FieldError::Other(name, "an object"))
            }
        }
    }

    /// Texts, if there are any.
    pub(super) fn texts(&mut self, name: &'static str) -> Result<Vec<String>, FieldError> {
        let wrong = FieldError::Other(name, "a list of texts");
        let texts = match self.0.swap_remove(name) {
            None | Some(Value::Null) => return Ok(Vec::new()),
            Some(Value::Array(texts)) => texts,
            Some(Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_)) => return Err(wrong),
        };
        let text = |value: Value| value.as_str().map(str::to_owned).ok_or(wrong);
        texts.into_iter().map(text).collect()
    }

    /// What is left, as pairs of texts.
    pub(super) fn pairs(self, name: &'static str) -> Result<Vec<(String, String)>, FieldError> {
        let wrong = FieldError::Other(name, "an object of texts");
        let pair = |(name, value): (String, Value)| Ok((name, value.as_str().map(str::to_owned).ok_or(wrong)?));
        self.0.into_iter().map(pair).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(text: &str) -> Fields {
        Fields::of(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_text_that_is_no_object_says_so_and_repeats_nothing() {
        for (text, expected) in [
            ("", "it is empty"),
            (" \n", "it is empty"),
            ("\"hunter2\"", "it is not a JSON object"),
            ("[\"hunter2\"]", "it is not a JSON object"),
            ("{\"hunter2\": hunter2}", "it is not JSON"),
        ] {
            let error = Fields::of(text.as_bytes()).err().unwrap();
            assert_eq!(error.to_string(), expected);
            assert!(!crate::sys::cause::chain(&error).contains("hunter2"));
        }
    }

    #[test]
    fn a_field_is_what_it_must_be_and_an_empty_one_is_none() {
        let text = r#"{"t": "x", "e": "", "n": null, "i": 7, "o": {"a": "b"}, "l": ["x"], "w": [1]}"#;
        assert_eq!(fields(text).needed("t").unwrap(), "x");
        for name in ["e", "n", "absent"] {
            assert_eq!(fields(text).text(name), Ok(None));
            assert_eq!(fields(text).needed(name), Err(FieldError::Absent(name)));
        }
        assert_eq!(fields(text).text("i"), Err(FieldError::Other("i", "a text")));
        assert_eq!(fields(text).number("i"), Ok(Some(7)));
        assert_eq!(fields(text).number("t"), Err(FieldError::Other("t", "a whole number")));
        assert_eq!(fields(text).texts("l"), Ok(vec!["x".to_owned()]));
        assert_eq!(fields(text).texts("absent"), Ok(vec![]));
        for name in ["w", "t"] {
            assert_eq!(fields(text).texts(name), Err(FieldError::Other(name, "a list of texts")));
        }
        let pairs = fields(text).object("o").unwrap().unwrap().pairs("o");
        assert_eq!(pairs, Ok(vec![("a".to_owned(), "b".to_owned())]));
        assert_eq!(fields(text).object("l").err(), Some(FieldError::Other("l", "an object")));
        assert!(fields(text).has("t") && !fields(text).has("n") && !fields(text).has("absent"));
    }
}
