//! One docker config, read as Go reads it, and the merged one, written as Go writes it. All of it is pure.
//!
//! <https://pkg.go.dev/encoding/json#Unmarshal>, <https://docs.docker.com/reference/cli/docker/#docker-cli-configuration-file-configjson-properties>

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value};

use crate::go_json;
use crate::quote::OneLine;

/// How a secret holds its entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// An object with `auths` and others.
    Config,
    /// The map of `auths` itself.
    Legacy,
}

impl Form {
    /// The key of a secret of that type.
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::Config => ".dockerconfigjson",
            Self::Legacy => ".dockercfg",
        }
    }
}

/// The members of an entry, in Tekton's order.
const MEMBERS: [&str; 6] = ["username", "password", AUTH, "email", "identitytoken", "registrytoken"];

/// The member that is written when it is empty, too.
const AUTH: &str = "auth";

/// How many of the members are Tekton's own.
const TEKTONS: usize = 4;

/// The credential for one registry.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Entry {
    /// The values of [`MEMBERS`]. All of them are bytes: a name and a password from files need not be text.
    pub(super) values: [Vec<u8>; 6],
    /// Which of several configs it is from.
    pub(super) from: usize,
}

/// A header's value or a helper's name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Text {
    pub(super) text: String,
    /// Which of several configs it is from.
    pub(super) from: usize,
}

/// It has a password, so it is not shown.
impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Entry(redacted)")
    }
}

impl Entry {
    /// Whether there is anything to show to a registry. Beside a credential store docker leaves empty entries.
    pub(super) fn is_credential(&self) -> bool {
        self.members().any(|(member, value)| member != "email" && !value.is_empty())
    }

    fn members(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        MEMBERS.into_iter().zip(self.values.iter().map(Vec::as_slice))
    }

    /// Its members; of the empty ones only `auth`.
    fn json(&self) -> String {
        let mut json = String::from("{");
        for (member, value) in self.members().filter(|(member, value)| *member == AUTH || !value.is_empty()) {
            push_member(&mut json, member, &string(value));
        }
        json.push('}');
        json
    }
}

/// A config: of one secret, or the merged one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Document {
    /// Registries and their credentials.
    pub(super) auths: BTreeMap<String, Entry>,
    /// `HttpHeaders`: sent to every registry.
    pub(super) headers: BTreeMap<String, Text>,
    /// `credsStore`: the helper that is asked for every registry; empty for none.
    pub(super) store: String,
    /// `credHelpers`: registries and the helpers that are asked for them.
    pub(super) helpers: BTreeMap<String, Text>,
    /// Members that would be kept if they were text.
    pub(super) odd: Vec<&'static str>,
}

/// Why a secret holds no config. Never shows what stands there.
#[derive(Debug, thiserror::Error)]
pub(super) enum DocumentError {
    #[error("it is not JSON")]
    Json(#[source] serde_json::Error),
    #[error("it is not an object")]
    NotAnObject,
    #[error("its auths are not an object")]
    Auths,
    #[error("the entry for {0} is not an object")]
    Entry(Registry),
    #[error("{member} of the entry for {registry} is not text")]
    Member { registry: Registry, member: &'static str },
}

/// The key of an entry, as it may be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Registry(String);

impl Registry {
    pub(super) fn new(key: &str) -> Self {
        // Some write the password in front of the host.
        Self(OneLine(key.rsplit('@').next().unwrap_or_default().to_owned()).to_string())
    }
}

impl fmt::Display for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Document {
    /// Reads the content of a secret. Names of members are read in any case, as Go does.
    pub(super) fn parse(content: &[u8], form: Form) -> Result<Self, DocumentError> {
        let text = go_json::text(content);
        let value: Value =
            serde_json::from_str(&go_json::without_lone_surrogates(&text)).map_err(DocumentError::Json)?;
        let mut document = Self::default();
        let members = members(value).ok_or(DocumentError::NotAnObject)?;
        match form {
            Form::Legacy => document.add_auths(members)?,
            Form::Config => members.into_iter().try_for_each(|(name, value)| document.add_member(&name, value))?,
        }
        Ok(document)
    }

    fn add_member(&mut self, name: &str, value: Value) -> Result<(), DocumentError> {
        match (name.to_ascii_lowercase().as_str(), value) {
            ("auths", Value::Object(auths)) => self.add_auths(auths)?,
            ("auths", Value::Null) => self.auths.clear(),
            ("auths", _) => return Err(DocumentError::Auths),
            ("httpheaders", value) => add_texts(&mut self.headers, value, "HttpHeaders", &mut self.odd),
            ("credhelpers", value) => add_texts(&mut self.helpers, value, "credHelpers", &mut self.odd),
            ("credsstore", value) => match text(value) {
                Ok(store) => store.into_iter().for_each(|store| self.store = store),
                Err(NotText) => self.odd.push("credsStore"),
            },
            // Docker's other members say nothing about how a registry is asked.
            _ => {}
        }
        Ok(())
    }

    fn add_auths(&mut self, auths: Map<String, Value>) -> Result<(), DocumentError> {
        for (registry, value) in auths {
            let entry = self.entry(&registry, value)?;
            self.auths.insert(registry, entry);
        }
        Ok(())
    }

    fn entry(&mut self, registry: &str, value: Value) -> Result<Entry, DocumentError> {
        let mut entry = Entry::default();
        for (name, value) in members(value).ok_or_else(|| DocumentError::Entry(Registry::new(registry)))? {
            let fields = MEMBERS.into_iter().zip(&mut entry.values).enumerate();
            let Some((at, (member, field))) =
                fields.into_iter().find(|(_, (known, _))| name.eq_ignore_ascii_case(known))
            else {
                continue;
            };
            match text(value) {
                Ok(Some(text)) => *field = text.into_bytes(),
                Ok(None) => {}
                // What Tekton does not even look at is no reason to write nothing.
                Err(NotText) if at >= TEKTONS => self.odd.push(member),
                Err(NotText) => return Err(DocumentError::Member { registry: Registry::new(registry), member }),
            }
        }
        Ok(entry)
    }

    /// The JSON of what there is, to the byte as Go writes it; `None` where there is nothing.
    pub(super) fn json(&self) -> Option<String> {
        let Self { auths, headers, store, helpers, odd: _ } = self;
        if auths.is_empty() && headers.is_empty() && store.is_empty() && helpers.is_empty() {
            return None;
        }
        let mut json = String::from("{");
        push_member(&mut json, "auths", &object(auths, Entry::json));
        if !headers.is_empty() {
            push_member(&mut json, "HttpHeaders", &object(headers, Text::json));
        }
        if !store.is_empty() {
            push_member(&mut json, "credsStore", &string(store.as_bytes()));
        }
        if !helpers.is_empty() {
            push_member(&mut json, "credHelpers", &object(helpers, Text::json));
        }
        json.push('}');
        Some(json)
    }
}

impl Text {
    fn json(&self) -> String {
        string(self.text.as_bytes())
    }
}

/// An object with its members in the order of their names' bytes.
fn object<T>(members: &BTreeMap<String, T>, json: impl Fn(&T) -> String) -> String {
    let mut object = String::from("{");
    for (name, value) in members {
        push_member(&mut object, name, &json(value));
    }
    object.push('}');
    object
}

/// Appends a member to an object that is not closed yet.
fn push_member(object: &mut String, name: &str, json: &str) {
    if !object.ends_with('{') {
        object.push(',');
    }
    go_json::push_string(object, name);
    object.push(':');
    object.push_str(json);
}

fn string(text: &[u8]) -> String {
    let mut json = String::new();
    go_json::push_bytes(&mut json, text);
    json
}

/// A value is neither text nor `null`.
struct NotText;

/// A text; none for `null`, which Go reads as if it were not there.
fn text(value: Value) -> Result<Option<String>, NotText> {
    match value {
        Value::String(text) => Ok(Some(text)),
        Value::Null => Ok(None),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => Err(NotText),
    }
}

/// An object; none for `null`.
fn members(value: Value) -> Option<Map<String, Value>> {
    match value {
        Value::Object(members) => Some(members),
        Value::Null => Some(Map::new()),
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => None,
    }
}

/// Adds the texts of an object; others are odd.
fn add_texts(texts: &mut BTreeMap<String, Text>, value: Value, member: &'static str, odd: &mut Vec<&'static str>) {
    let Some(members) = members(value) else { return odd.push(member) };
    for (name, value) in members {
        match text(value) {
            Ok(Some(text)) => {
                texts.insert(name, Text { text, from: 0 });
            }
            Ok(None) => {}
            Err(NotText) => odd.push(member),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::cause::chain;

    fn json(content: &[u8], form: Form) -> Option<String> {
        Document::parse(content, form).unwrap().json()
    }

    #[test]
    fn a_config_of_what_tekton_knows_has_tektons_bytes() {
        for (content, expected) in [
            (
                r#"{"auths":{"b.io":{"email":"e","auth":"dTpw","password":"p","username":"u"},"a.io":{"auth":"x"}}}"#,
                r#"{"auths":{"a.io":{"auth":"x"},"b.io":{"username":"u","password":"p","auth":"dTpw","email":"e"}}}"#,
            ),
            (
                r#"{"auths":{"é":{},"B":null,"a":{"x":[1.5e3]}},"y":{}}"#,
                r#"{"auths":{"B":{"auth":""},"a":{"auth":""},"é":{"auth":""}}}"#,
            ),
            (r#"{"AUTHS":{"a":{"Username":"u","AUTH":null}}}"#, r#"{"auths":{"a":{"username":"u","auth":""}}}"#),
            (
                r#"{"auths":{"a":{"username":"<&>\ud83d"}}}"#,
                "{\"auths\":{\"a\":{\"username\":\"\\u003c\\u0026\\u003e\u{fffd}\",\"auth\":\"\"}}}",
            ),
            (r#"{"auths":{"a":{"password":""}}}"#, r#"{"auths":{"a":{"auth":""}}}"#),
        ] {
            assert_eq!(json(content.as_bytes(), Form::Config).as_deref(), Some(expected), "{content}");
        }
        let expected = "{\"auths\":{\"a\":{\"auth\":\"\u{fffd}\"}}}";
        assert_eq!(json(b"{\"a\":{\"auth\":\"\xff\"}}", Form::Legacy).unwrap(), expected);
    }

    #[test]
    fn an_empty_config_is_none() {
        for content in ["{}", "null", r#"{"auths":{}}"#, r#"{"auths":null}"#, r#"{"credsStore":"","credHelpers":{}}"#] {
            assert_eq!(json(content.as_bytes(), Form::Config), None, "{content}");
        }
        assert_eq!(json(b"{}", Form::Legacy), None);
    }

    #[test]
    fn tokens_headers_and_helpers_are_kept() {
        let content = r#"{"credHelpers":{"gcr.io":"gcloud"},"credsstore":"ecr-login","HttpHeaders":{"B":"2","A":"1"},
            "auths":{"a.io":{"identitytoken":"i","auth":"x","registrytoken":"r"}},"currentContext":"colima"}"#;
        let expected = concat!(
            r#"{"auths":{"a.io":{"auth":"x","identitytoken":"i","registrytoken":"r"}},"HttpHeaders":{"A":"1","B":"2"},"#,
            r#""credsStore":"ecr-login","credHelpers":{"gcr.io":"gcloud"}}"#
        );
        assert_eq!(json(content.as_bytes(), Form::Config).unwrap(), expected);
        let only_helpers = json(br#"{"credHelpers":{"gcr.io":"gcloud"}}"#, Form::Config);
        assert_eq!(only_helpers.unwrap(), r#"{"auths":{},"credHelpers":{"gcr.io":"gcloud"}}"#);
    }

    #[test]
    fn what_tekton_does_not_look_at_fails_nothing() {
        let content = r#"{"auths":{"a":{"auth":"x","identitytoken":3}},"credHelpers":["b"],"credsStore":{},"HttpHeaders":{"A":1,"B":"2"}}"#;
        let document = Document::parse(content.as_bytes(), Form::Config).unwrap();
        assert_eq!(document.odd, ["identitytoken", "credHelpers", "credsStore", "HttpHeaders"]);
        assert_eq!(document.json().unwrap(), r#"{"auths":{"a":{"auth":"x"}},"HttpHeaders":{"B":"2"}}"#);
    }

    #[test]
    fn what_is_no_config_is_told_without_a_word_of_it() {
        for (content, form, message) in [
            ("hunter2", Form::Config, "it is not JSON: expected value at line 1 column 1"),
            ("", Form::Config, "it is not JSON: EOF while parsing a value at line 1 column 0"),
            ("\"hunter2\"", Form::Config, "it is not an object"),
            ("[\"hunter2\"]", Form::Legacy, "it is not an object"),
            (r#"{"auths":"hunter2"}"#, Form::Config, "its auths are not an object"),
            (r#"{"a.io":"hunter2"}"#, Form::Legacy, "the entry for a.io is not an object"),
            (r#"{"a.io":{"auth":["hunter2"]}}"#, Form::Legacy, "auth of the entry for a.io is not text"),
            (r#"{"https://me:hunter2@a.io":3}"#, Form::Legacy, "the entry for a.io is not an object"),
        ] {
            assert_eq!(chain(&Document::parse(content.as_bytes(), form).unwrap_err()), message, "{content}");
        }
    }
}
