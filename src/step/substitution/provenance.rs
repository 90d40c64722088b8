//! What a step's `provenance.json` says of its artifacts, and the JSON that a reference to one of them stands for.
//!
//! It is read as Go's `encoding/json` reads Tekton's `Artifacts` (`pkg/apis/pipeline/v1/types/artifacts_types.go`):
//! members are known by their names in any case, `null` says nothing, and what is not known is passed over.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value};

use super::reference::{ArtifactReference, Direction};
use crate::go_json;

/// A step's artifacts: their names, and the JSON of their values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Provenance {
    inputs: Artifacts,
    outputs: Artifacts,
}

type Artifacts = BTreeMap<String, String>;

/// Why a file is no provenance.
#[derive(Debug, thiserror::Error)]
pub enum ProvenanceError {
    /// It is no JSON.
    #[error("it is not JSON")]
    NotJson(#[source] serde_json::Error),
    /// Something in it is of another type than it must be.
    #[error("{place} is {found}, and must be {wanted}")]
    Type {
        /// What: `outputs[0].values`.
        place: String,
        /// What it is.
        found: &'static str,
        /// What it must be.
        wanted: &'static str,
    },
}

impl Provenance {
    /// Reads the content of the file.
    ///
    /// # Errors
    /// [`ProvenanceError`]: a mistake anywhere in it makes all of it unusable, as with Tekton.
    pub fn read(content: &[u8]) -> Result<Self, ProvenanceError> {
        let text = go_json::text(content);
        let json: Value =
            serde_json::from_str(&go_json::without_lone_surrogates(&text)).map_err(ProvenanceError::NotJson)?;
        let mut provenance = Self::default();
        for (name, value) in object(&json, &At::Document)? {
            if is(name, "inputs") {
                provenance.inputs = artifacts(value, &At::Member(&At::Document, "inputs"))?;
            } else if is(name, "outputs") {
                provenance.outputs = artifacts(value, &At::Member(&At::Document, "outputs"))?;
            }
        }
        Ok(provenance)
    }

    /// The JSON of an artifact's values, compact and escaped as Go does it; `null` for one without any.
    #[must_use]
    pub fn values(&self, reference: &ArtifactReference<'_>) -> Option<&str> {
        let artifacts = match reference.direction {
            Direction::Inputs => &self.inputs,
            Direction::Outputs => &self.outputs,
        };
        artifacts.get(std::str::from_utf8(reference.name).ok()?).map(String::as_str)
    }
}

/// A place in the document, for an error.
enum At<'p> {
    Document,
    Member(&'p Self, &'static str),
    Element(&'p Self, usize),
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Document => f.write_str("the document"),
            Self::Member(Self::Document, name) => f.write_str(name),
            Self::Member(parent, name) => write!(f, "{parent}.{name}"),
            Self::Element(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

fn artifacts(json: &Value, at: &At<'_>) -> Result<Artifacts, ProvenanceError> {
    let mut artifacts = Artifacts::new();
    for (index, artifact) in array(json, at)?.into_iter().flatten().enumerate() {
        let (name, values) = artifact_of(artifact, &At::Element(at, index))?;
        // Of two with one name the first is meant.
        artifacts.entry(name).or_insert(values);
    }
    Ok(artifacts)
}

/// The name of an artifact, and the JSON of its values.
fn artifact_of(json: &Value, at: &At<'_>) -> Result<(String, String), ProvenanceError> {
    let (mut name, mut values) = (String::new(), None);
    for (key, value) in object(json, at)? {
        if is(key, "name") {
            name = string(value, &At::Member(at, "name"))?.map_or(name, str::to_owned);
        } else if is(key, "values") {
            let at = At::Member(at, "values");
            values = match array(value, &at)? {
                None => None,
                Some(elements) => {
                    let rendered =
                        elements.iter().enumerate().map(|(index, element)| rendered(element, &At::Element(&at, index)));
                    Some(rendered.collect::<Result<Vec<_>, _>>()?.join(","))
                }
            };
        } else if is(key, "buildOutput") && !(value.is_boolean() || value.is_null()) {
            return Err(wrong(value, &At::Member(at, "buildOutput"), "true or false"));
        }
    }
    Ok((name, values.map_or_else(|| "null".to_owned(), |values| format!("[{values}]"))))
}

/// One of an artifact's values, as JSON: what it has of a digest and a URI, in this order.
fn rendered(json: &Value, at: &At<'_>) -> Result<String, ProvenanceError> {
    let (mut digest, mut uri) = (BTreeMap::new(), "");
    for (key, value) in object(json, at)? {
        if is(key, "uri") {
            uri = string(value, &At::Member(at, "uri"))?.unwrap_or(uri);
        } else if is(key, "digest") {
            let at = At::Member(at, "digest");
            if value.is_null() {
                digest.clear();
            }
            for (algorithm, hex) in object(value, &at)? {
                let hex = string(hex, &At::Member(&at, "<algorithm>"))?;
                digest.insert(algorithm.as_str(), hex.unwrap_or_default());
            }
        }
    }
    let mut json = String::from("{");
    if !digest.is_empty() {
        json.push_str("\"digest\":");
        let mut separator = '{';
        for (algorithm, hex) in digest {
            json.push(separator);
            separator = ',';
            go_json::push_string(&mut json, algorithm);
            json.push(':');
            go_json::push_string(&mut json, hex);
        }
        json.push('}');
    }
    if !uri.is_empty() {
        json.push_str(if json.len() > 1 { ",\"uri\":" } else { "\"uri\":" });
        go_json::push_string(&mut json, uri);
    }
    json.push('}');
    Ok(json)
}

/// Whether a member has this name for Go, which does not tell upper from lower case, nor U+017F from `s`.
fn is(member: &str, name: &str) -> bool {
    let folded = |character: char| if character == '\u{17f}' { 's' } else { character.to_ascii_lowercase() };
    member.chars().map(folded).eq(name.chars().map(folded))
}

/// The members of an object; none of null.
fn object<'v>(json: &'v Value, at: &At<'_>) -> Result<impl Iterator<Item = (&'v String, &'v Value)>, ProvenanceError> {
    let members = or_null(json, json.as_object(), at, "an object")?;
    Ok(members.into_iter().flat_map(Map::iter))
}

fn array<'v>(json: &'v Value, at: &At<'_>) -> Result<Option<&'v Vec<Value>>, ProvenanceError> {
    or_null(json, json.as_array(), at, "an array")
}

fn string<'v>(json: &'v Value, at: &At<'_>) -> Result<Option<&'v str>, ProvenanceError> {
    or_null(json, json.as_str(), at, "a string")
}

/// What a value is, or nothing for null.
fn or_null<T>(json: &Value, is: Option<T>, at: &At<'_>, wanted: &'static str) -> Result<Option<T>, ProvenanceError> {
    if is.is_none() && !json.is_null() {
        return Err(wrong(json, at, wanted));
    }
    Ok(is)
}

fn wrong(json: &Value, at: &At<'_>, wanted: &'static str) -> ProvenanceError {
    let found = match json {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    };
    ProvenanceError::Type { place: at.to_string(), found, wanted }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::cause::chain;

    /// The JSON of the output `o`.
    fn output(document: &str) -> Option<String> {
        let reference = ArtifactReference { step: b"s", direction: Direction::Outputs, name: b"o" };
        let provenance = Provenance::read(document.as_bytes()).unwrap_or_else(|error| panic!("{document}: {error}"));
        provenance.values(&reference).map(str::to_owned)
    }

    fn values(values: &str) -> String {
        output(&format!(r#"{{"outputs":[{{"name":"o","values":{values}}}]}}"#)).unwrap()
    }

    #[test]
    fn values_are_compact_json_in_gos_order_and_gos_escapes() {
        for (given, expected) in [
            ("null", "null"),
            ("[]", "[]"),
            ("[{}]", "[{}]"),
            ("[null]", "[{}]"),
            (
                r#"[ {"uri" : "u", "digest" : {"sha256":"b","md5":"a"}} ]"#,
                r#"[{"digest":{"md5":"a","sha256":"b"},"uri":"u"}]"#,
            ),
            (r#"[{"uri":"u"},{"digest":{"a":"b"}}]"#, r#"[{"uri":"u"},{"digest":{"a":"b"}}]"#),
            (r#"[{"uri":"","digest":{}}]"#, "[{}]"),
            (r#"[{"uri":null,"digest":null}]"#, "[{}]"),
            (r#"[{"digest":{"a":null}}]"#, r#"[{"digest":{"a":""}}]"#),
            (
                r#"[{"uri":"a?b=<c>&d=\u2028\ud83d\"\\"}]"#,
                "[{\"uri\":\"a?b=\\u003cc\\u003e\\u0026d=\\u2028\u{fffd}\\\"\\\\\"}]",
            ),
            (r#"[{"uri":"\u00e9\u0000"}]"#, "[{\"uri\":\"\u{e9}\\u0000\"}]"),
            (r#"[{"uri":"u","more":[{"deep":[1e2,true]}]}]"#, r#"[{"uri":"u"}]"#),
            (r#"[{"URI":"u","Digest":{"A":"b"}}]"#, r#"[{"digest":{"A":"b"},"uri":"u"}]"#),
            (r#"[{"uri":"a","URI":"b"}]"#, r#"[{"uri":"b"}]"#),
        ] {
            assert_eq!(values(given), expected, "{given}");
        }
    }

    #[test]
    fn an_artifact_is_found_by_its_direction_and_its_name() {
        for (document, expected) in [
            (r#"{"outputs":[{"name":"o","values":[{"uri":"1"}]},{"name":"o"}]}"#, Some(r#"[{"uri":"1"}]"#)),
            (r#"{"inputs":[{"name":"o","values":[]}],"outputs":[{"name":"p"}]}"#, None),
            (r#"{"outputs":[{"name":"o"}]}"#, Some("null")),
            (r#"{"outputs":[{"name":"o","buildOutput":true},null]}"#, Some("null")),
            (r#"{"OUTPUT\u017f":[{"Name":"o"}]}"#, Some("null")),
            (r#"{"outputs":null,"inputs":null}"#, None),
            ("{}", None),
            ("null", None),
        ] {
            assert_eq!(output(document).as_deref(), expected, "{document}");
        }
    }

    #[test]
    fn what_is_no_provenance_is_told_with_the_place_and_without_its_words() {
        for (document, expected) in [
            ("", "it is not JSON: EOF while parsing a value at line 1 column 0"),
            ("hunter2", "it is not JSON: expected value at line 1 column 1"),
            ("{} x", "it is not JSON: trailing characters at line 1 column 4"),
            ("[]", "the document is an array, and must be an object"),
            (r#""hunter2""#, "the document is a string, and must be an object"),
            (r#"{"outputs":{}}"#, "outputs is an object, and must be an array"),
            (r#"{"outputs":[[]]}"#, "outputs[0] is an array, and must be an object"),
            (r#"{"inputs":[{},{"name":1}]}"#, "inputs[1].name is a number, and must be a string"),
            (r#"{"inputs":[{"buildOutput":"yes"}]}"#, "inputs[0].buildOutput is a string, and must be true or false"),
            (r#"{"outputs":[{"values":[{"uri":[]}]}]}"#, "outputs[0].values[0].uri is an array, and must be a string"),
            (
                r#"{"outputs":[{"values":[{"digest":{"hunter2":true}}]}]}"#,
                "outputs[0].values[0].digest.<algorithm> is true or false, and must be a string",
            ),
        ] {
            assert_eq!(chain(&Provenance::read(document.as_bytes()).unwrap_err()), expected, "{document}");
        }
    }

    #[test]
    fn a_deeply_nested_document_is_refused_and_no_overflow() {
        for open in ["[", "{\"k\":"] {
            let error = chain(&Provenance::read(open.repeat(1 << 17).as_bytes()).unwrap_err());
            assert!(error.starts_with("it is not JSON: recursion limit exceeded"), "{error}");
        }
    }
}
