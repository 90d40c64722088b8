//! The documents that hold credentials, docker's `config.json` and the older `.dockercfg`, read as Go's tools read them.
//!
//! No error here carries a piece of the document's values: all of them may be secrets.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, PAD_INDIFFERENT};
use serde_json::{Map, Value};
use thiserror::Error;
use zeroize::Zeroizing;

use super::Found;
use super::helpers::NamedHelpers;
use super::matching::{Key, KeyError, Target, select};
use crate::credential::{Credential, Note, Proof};
use crate::secret::Secret;

/// The largest document that is read, in bytes: what Kubernetes allows a secret to be.
/// <https://kubernetes.io/docs/concepts/configuration/secret/>
pub(crate) const LIMIT: u64 = 1024 * 1024;

/// How many entries of a document a note names.
const NAMED: usize = 5;

/// How many characters of a key a message shows.
const SHOWN: usize = 100;

/// As Go's `base64.StdEncoding` and `RawStdEncoding` take it, either of which tools write.
const BASE64: GeneralPurpose =
    GeneralPurpose::new(&alphabet::STANDARD, PAD_INDIFFERENT.with_decode_allow_trailing_bits(true));

/// The two forms of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// `config.json` and `.dockerconfigjson`: an object with `auths`.
    Config,
    /// `.dockercfg`: the map of `auths` itself.
    Legacy,
}

/// Why a document has no entries to offer.
#[derive(Debug, Error)]
pub(crate) enum DocumentError {
    #[error("it is empty")]
    Empty,
    // The cause names a line and a column: a document that is read into a plain value has no other errors.
    #[error("it is not JSON")]
    NotJson(#[source] serde_json::Error),
    #[error("it is not a JSON object")]
    NotAnObject,
    #[error("its \"{0}\" is not an object")]
    PartNotAnObject(&'static str),
}

/// Why one entry of a document is skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
enum EntryError {
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("it is not an object")]
    NotAnObject,
    #[error("its \"{0}\" is not a text")]
    NotText(&'static str),
    #[error("its \"auth\" is not base64")]
    AuthNotBase64,
    #[error("its \"auth\" is not UTF-8")]
    AuthNotUtf8,
    #[error("its \"auth\" has no colon between user name and password")]
    AuthWithoutColon,
    #[error("it has a password without a user name")]
    NoUser,
    #[error("it is empty")]
    Empty,
}

/// The entries of one or more documents, with the story of those that cannot be used.
#[derive(Debug, Default)]
pub(crate) struct Entries {
    usable: Vec<(Key, Vec<Credential>)>,
    notes: Vec<Note>,
}

impl Entries {
    /// Adds the entries of a secret's document, or a note why there are none. `source` names the document in every note.
    pub(crate) fn add(&mut self, source: &str, text: &str, form: Form, target: &Target) {
        match Document::read(text, form) {
            Ok(document) => {
                if let Some(named) = document.helpers.named_for(target) {
                    let named = named.map_or_else(|error| error.to_string(), |helper| helper.to_string());
                    self.notes.push(Note::new(source, format!("{named} is not asked: a secret's helpers never are")));
                }
                self.add_document(source, document, target, false);
            }
            Err(error) => self.notes.push(Note::failed(source, &error)),
        }
    }

    /// Adds a note about a document.
    pub(crate) fn note(&mut self, note: Note) {
        self.notes.push(note);
    }

    /// What there is for the target, across all documents: the most specific key first, then the first document.
    pub(crate) fn for_target(self, target: &Target) -> Found {
        let mut found = Found { notes: self.notes, ..Found::default() };
        for credential in select(target, self.usable).into_iter().flatten() {
            found.push(credential);
        }
        found
    }

    /// Adds one credential under a key, as if it stood in a document.
    pub(crate) fn add_one(&mut self, source: &str, name: &str, proof: Proof, target: &Target) {
        let shown = shown_key(name);
        match Key::parse(name) {
            Err(error) => self.notes.push(Note::new(source, format!("its registry {shown} is no key: {error}"))),
            Ok(key) if !key.serves(target) => {
                self.notes.push(Note::new(source, format!("it is for {shown}, not for {target}")));
            }
            Ok(key) => {
                let source = format!("{source}, key {shown}");
                self.usable.push((key, vec![Credential { proof, source }]));
            }
        }
    }

    /// Adds a document's entries. That there is none for the target is no news if something else has `helped`.
    pub(crate) fn add_document(&mut self, source: &str, document: Document, target: &Target, helped: bool) {
        let mut names = Vec::new();
        let mut broken = Vec::new();
        let mut serves = false;
        for (name, value) in document.entries {
            let shown = shown_key(&name);
            // docker leaves `"host": {}` behind when a helper keeps the secret.
            match entry(&name, value) {
                Err(EntryError::Empty) if !document.helpers.is_empty() => {}
                Err(error) => broken.push(format!("entry {shown} is skipped: {error}")),
                Ok((key, proofs)) => {
                    serves |= key.serves(target);
                    let source = format!("{source}, key {shown}");
                    let credential = |proof| Credential { proof, source: source.clone() };
                    self.usable.push((key, proofs.into_iter().map(credential).collect()));
                }
            }
            names.push(shown);
        }
        let more = broken.len().saturating_sub(NAMED);
        self.notes.extend(broken.into_iter().take(NAMED).map(|outcome| Note::new(source, outcome)));
        if more > 0 {
            self.notes.push(Note::new(source, format!("{more} more entries are skipped")));
        }
        if !serves && !helped {
            self.notes.push(Note::new(source, format!("no entry for {target}{}", listed(&names))));
        }
    }
}

/// A document, taken apart only as far as no entry can break another.
pub(crate) struct Document {
    entries: Map<String, Value>,
    /// Which credential helpers it names.
    pub(crate) helpers: NamedHelpers,
}

impl Document {
    pub(crate) fn read(text: &str, form: Form) -> Result<Self, DocumentError> {
        if text.trim().is_empty() {
            return Err(DocumentError::Empty);
        }
        let Value::Object(root) = serde_json::from_str(text).map_err(DocumentError::NotJson)? else {
            return Err(DocumentError::NotAnObject);
        };
        if form == Form::Legacy {
            return Ok(Self { entries: root, helpers: NamedHelpers::default() });
        }
        let (mut entries, mut helpers) = (Map::new(), NamedHelpers::default());
        for (name, value) in root {
            match (name.to_ascii_lowercase().as_str(), value) {
                ("auths", Value::Object(map)) => entries = map,
                ("credhelpers", Value::Object(map)) => helpers.by_registry = map,
                ("credsstore", Value::String(helper)) => helpers.store = helper,
                ("auths", value) if !value.is_null() => return Err(DocumentError::PartNotAnObject("auths")),
                _ => {}
            }
        }
        Ok(Self { entries, helpers })
    }
}

/// One entry of a document, without its values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its key, quoted for a message.
    pub key: String,
    /// Why it is of no use, where it is.
    pub skipped: Option<String>,
}

impl Document {
    /// The keys of the entries, and the helpers that are named; no value.
    pub(crate) fn keys(self) -> (Vec<Entry>, NamedHelpers) {
        let entries = self.entries.into_iter().map(|(name, value)| {
            let skipped = match entry(&name, value) {
                // docker leaves `"host": {}` behind when a helper keeps the secret.
                Err(EntryError::Empty) if !self.helpers.is_empty() => None,
                Err(error) => Some(error.to_string()),
                Ok(_) => None,
            };
            Entry { key: shown_key(&name), skipped }
        });
        (entries.collect(), self.helpers)
    }
}

/// Reads one entry: its key, and every proof that it holds, in the order in which they are to be tried.
fn entry(name: &str, value: Value) -> Result<(Key, Vec<Proof>), EntryError> {
    let key = Key::parse(name)?;
    let Value::Object(fields) = value else {
        return Err(EntryError::NotAnObject);
    };
    let [mut auth, mut username, mut password, mut identity, mut registry] = [const { None }; 5];
    for (name, value) in fields {
        // Go matches names without regard to case, the last one wins, and null changes nothing.
        let (slot, name) = match name.to_ascii_lowercase().as_str() {
            "auth" => (&mut auth, "auth"),
            "username" => (&mut username, "username"),
            "password" => (&mut password, "password"),
            "identitytoken" => (&mut identity, "identitytoken"),
            "registrytoken" => (&mut registry, "registrytoken"),
            _ => continue,
        };
        match value {
            Value::Null => {}
            Value::String(text) => *slot = Some(Secret::new(text)).filter(|text| !text.is_empty()),
            Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                return Err(EntryError::NotText(name));
            }
        }
    }
    let basic = match auth {
        Some(auth) => Some(decoded(&auth)?),
        None => match (username, password) {
            (Some(username), password) => {
                Some((username.expose().to_owned(), password.unwrap_or_else(|| Secret::new(String::new()))))
            }
            (None, Some(_)) => return Err(EntryError::NoUser),
            (None, None) => None,
        },
    };
    let has_token = registry.is_some() || identity.is_some();
    let tokens = [registry.map(Proof::RegistryToken), identity.map(Proof::IdentityToken)];
    // `az acr login` writes a user name of zeros and no password beside its identity token.
    let basic = basic
        .filter(|(_, password)| !(has_token && password.is_empty()))
        .map(|(username, password)| Proof::Basic { username, password });
    let proofs: Vec<_> = tokens.into_iter().flatten().chain(basic).collect();
    if proofs.is_empty() { Err(EntryError::Empty) } else { Ok((key, proofs)) }
}

/// The user name and the password of an `auth` field.
fn decoded(auth: &Secret) -> Result<(String, Secret), EntryError> {
    // Go's decoder skips line ends, which tools that wrap at 76 columns leave in it.
    let text: Zeroizing<String> = Zeroizing::new(auth.expose().chars().filter(|c| !matches!(c, '\r' | '\n')).collect());
    let bytes = Zeroizing::new(BASE64.decode(text.as_bytes()).map_err(|_| EntryError::AuthNotBase64)?);
    let pair = std::str::from_utf8(&bytes).map_err(|_| EntryError::AuthNotUtf8)?;
    let (username, password) = pair.split_once(':').ok_or(EntryError::AuthWithoutColon)?;
    if username.is_empty() {
        return Err(EntryError::NoUser);
    }
    // https://github.com/docker/cli/blob/master/cli/config/configfile/file.go: decodeAuth
    Ok((username.to_owned(), Secret::new(password.trim_matches('\0').to_owned())))
}

/// A key as messages show it: quoted, without the password that a URL may hold, and not endless.
pub(super) fn shown_key(key: &str) -> String {
    let (scheme, rest) = key.split_once("://").map_or(("", key), |(scheme, rest)| (scheme, rest));
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let separator = if scheme.is_empty() { "" } else { "://" };
    let whole = format!("{scheme}{separator}{host}{path}");
    let start: String = whole.chars().take(SHOWN).collect();
    let mark = if start.len() < whole.len() { "..." } else { "" };
    format!("\"{}{mark}\"", start.escape_debug())
}

/// Which entries a document has, as the end of a sentence.
fn listed(names: &[String]) -> String {
    if names.is_empty() { "; it has none".to_owned() } else { format!("; it has {}", shortened(names)) }
}

fn shortened(names: &[String]) -> String {
    let more = names.len().saturating_sub(NAMED);
    let start: Vec<_> = names.iter().take(NAMED).map(String::as_str).collect();
    let end = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{end}", start.join(", "))
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;
    use serde_json::json;

    use super::*;

    fn basic(username: &str, password: &str) -> Proof {
        Proof::Basic { username: username.to_owned(), password: Secret::new(password.to_owned()) }
    }

    fn find(text: &str, form: Form) -> Found {
        let target = Target::new("ghcr.io", "team/app");
        let mut entries = Entries::default();
        entries.add("config", text, form, &target);
        entries.for_target(&target)
    }

    fn proofs(entry: &Value) -> Vec<Proof> {
        let found = find(&json!({"auths": {"ghcr.io": entry}}).to_string(), Form::Config);
        assert_eq!(found.notes, []);
        found.credentials.into_iter().map(|credential| credential.proof).collect()
    }

    fn notes(text: &str) -> Vec<String> {
        let found = find(text, Form::Config);
        assert_eq!(found.credentials, []);
        found.notes.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_entry_holds_what_dockers_tools_write_into_it() {
        let token = |text: &str| Secret::new(text.to_owned());
        for (entry, expected) in [
            (json!({"username": "me", "password": "hunter2"}), vec![basic("me", "hunter2")]),
            (json!({"Username": "me", "PASSWORD": "hunter2"}), vec![basic("me", "hunter2")]),
            (json!({"username": "me"}), vec![basic("me", "")]),
            (json!({"auth": STANDARD.encode("me:hunter2")}), vec![basic("me", "hunter2")]),
            // Padded and not.
            (json!({"auth": "bWU6aHVudGVyMjM="}), vec![basic("me", "hunter23")]),
            (json!({"auth": "bWU6aHVudGVyMjM"}), vec![basic("me", "hunter23")]),
            // Wrapped.
            (json!({"auth": "bWU6\r\naHVudGVy\nMg==\n"}), vec![basic("me", "hunter2")]),
            (json!({"auth": STANDARD.encode("me:hunter2\0\0")}), vec![basic("me", "hunter2")]),
            (json!({"auth": STANDARD.encode("me:a:b")}), vec![basic("me", "a:b")]),
            (
                json!({"auth": STANDARD.encode("me:right"), "username": "you", "password": "wrong"}),
                vec![basic("me", "right")],
            ),
            (json!({"auth": "", "username": "me", "password": "hunter2"}), vec![basic("me", "hunter2")]),
            (json!({"auth": null, "username": "me", "password": "hunter2"}), vec![basic("me", "hunter2")]),
            // az acr login.
            (
                json!({
                    "auth": STANDARD.encode("00000000-0000-0000-0000-000000000000:"),
                    "identitytoken": "refresh"
                }),
                vec![Proof::IdentityToken(token("refresh"))],
            ),
            (
                json!({"identityToken": "refresh", "registryToken": "bearer", "username": "me", "password": "p"}),
                vec![Proof::RegistryToken(token("bearer")), Proof::IdentityToken(token("refresh")), basic("me", "p")],
            ),
            (json!({"username": "me", "password": "p", "email": "me@example.com"}), vec![basic("me", "p")]),
        ] {
            assert_eq!(proofs(&entry), expected, "{entry}");
        }
    }

    #[test]
    fn a_broken_entry_is_skipped_with_a_note_that_names_its_key_and_no_value() {
        let broken = [
            ("a.example", json!("hunter2"), "it is not an object"),
            ("b.example", json!({"auth": 7}), r#"its "auth" is not a text"#),
            ("c.example", json!({"auth": "hunter2!"}), r#"its "auth" is not base64"#),
            ("d.example", json!({"auth": STANDARD.encode("hunter2")}), "no colon between user name and password"),
            ("e.example", json!({"auth": STANDARD.encode(":hunter2")}), "it has a password without a user name"),
            ("f.example", json!({"auth": STANDARD.encode(b"me:\xff")}), r#"its "auth" is not UTF-8"#),
            ("g.example", json!({"password": "hunter2"}), "it has a password without a user name"),
            ("h.example", json!({}), "it is empty"),
            ("i[.example", json!({"username": "me", "password": "hunter2"}), "its glob is malformed"),
            ("j .example", json!({"username": "me", "password": "hunter2"}), "it holds white space"),
        ];
        for (key, entry, expected) in broken {
            let good = json!({"username": "me", "password": "good"});
            let found = find(&json!({"auths": {key: entry, "ghcr.io": good}}).to_string(), Form::Config);
            assert_eq!(found.credentials.len(), 1, "{key}");
            let [note] = found.notes.as_slice() else { panic!("{key}: {:?}", found.notes) };
            assert!(note.outcome.starts_with(&format!("entry \"{key}\" is skipped: ")), "{note}");
            assert!(note.outcome.contains(expected), "{note}");
            assert!(!note.outcome.contains("hunter2"), "{note}");
        }
    }

    #[test]
    fn a_document_that_cannot_be_used_is_one_note_without_its_content() {
        for (text, expected) in [
            ("", vec!["config: it is empty"]),
            (" \n", vec!["config: it is empty"]),
            ("hunter2", vec!["config: it is not JSON: expected value at line 1 column 1"]),
            (
                r#"{"auths": {"hunter2""#,
                vec!["config: it is not JSON: EOF while parsing an object at line 1 column 20"],
            ),
            (r#"["hunter2"]"#, vec!["config: it is not a JSON object"]),
            (r#"{"auths": "hunter2"}"#, vec![r#"config: its "auths" is not an object"#]),
            ("{}", vec!["config: no entry for ghcr.io/team/app; it has none"]),
            (r#"{"auths": null}"#, vec!["config: no entry for ghcr.io/team/app; it has none"]),
            (
                r#"{"auths": {"quay.io": {"auth": "bWU6aHVudGVyMg=="}}}"#,
                vec![r#"config: no entry for ghcr.io/team/app; it has "quay.io""#],
            ),
        ] {
            assert_eq!(notes(text), expected, "{text}");
        }
    }

    #[test]
    fn a_secrets_helpers_are_never_asked_and_the_entries_beside_them_used() {
        for (helpers, expected) in [
            (json!({"credsStore": "desktop"}), Some(r#"credsStore "desktop" is not asked"#)),
            (json!({"credHelpers": {"ghcr.io": "pass"}}), Some(r#"credHelpers "pass" for "ghcr.io" is not asked"#)),
            (json!({"credHelpers": {"quay.io": "pass"}}), None),
        ] {
            let mut config = json!({"auths": {"ghcr.io": {"username": "me", "password": "hunter2"}, "quay.io": {}}});
            config.as_object_mut().unwrap().extend(helpers.as_object().unwrap().clone());
            let found = find(&config.to_string(), Form::Config);
            assert_eq!(found.credentials.len(), 1);
            let expected = expected.map(|start| format!("config: {start}: a secret's helpers never are"));
            assert_eq!(found.notes.first().map(ToString::to_string), expected);
        }
    }

    #[test]
    fn the_older_form_is_the_map_itself() {
        let found = find(r#"{"ghcr.io": {"auth": "bWU6aHVudGVyMg==", "email": "me@example.com"}}"#, Form::Legacy);
        assert_eq!(found.notes, []);
        assert_eq!(found.credentials.into_iter().map(|c| c.proof).collect::<Vec<_>>(), [basic("me", "hunter2")]);
    }

    #[test]
    fn notes_about_many_entries_stay_short() {
        let many: Map<String, Value> = (0..100).map(|n| (format!("r{n}.example"), json!({"auth": "x"}))).collect();
        let notes = notes(&json!({ "auths": many }).to_string());
        assert_eq!(notes.len(), 7);
        assert_eq!(notes[5], "config: 95 more entries are skipped");
        assert!(notes[6].ends_with(r#""r4.example" and 95 more"#), "{}", notes[6]);
    }

    #[test]
    fn a_key_is_shown_without_its_password_and_without_control_characters() {
        assert_eq!(shown_key("https://me:hunter2@ghcr.io/team"), r#""https://ghcr.io/team""#);
        assert_eq!(shown_key("ghcr.io/team@x"), r#""ghcr.io/team@x""#);
        assert_eq!(shown_key("a\nb"), r#""a\nb""#);
        assert_eq!(shown_key(&"a".repeat(101)), format!("\"{}...\"", "a".repeat(100)));
    }
}
