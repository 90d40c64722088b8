//! What documents of credentials are for: keys and names of helpers, never a value.

use std::path::PathBuf;

use serde_json::Value;

use super::config_files;
use super::document::{self, Form};
use super::file::{self, FileError};
use crate::credential::PullSecretDocument;
use crate::host::Env;
use crate::sys::cause::chain;

pub use super::document::Entry;

/// What a document is for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// Its entries.
    pub entries: Vec<Entry>,
    /// The programs of `credsStore` and `credHelpers`, each with the registry that it is for.
    pub helpers: Vec<String>,
}

/// A file that may hold credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigFile {
    /// Whose it is: `docker config`.
    pub kind: &'static str,
    /// Where.
    pub path: PathBuf,
    /// What is there; none if there is no file.
    pub contents: Option<Result<Contents, String>>,
}

/// The files of docker and podman that a lookup would read, in its order.
#[must_use]
pub fn files(env: &Env) -> Vec<ConfigFile> {
    let read = |file: config_files::ConfigFile| {
        let contents = match file::read(&file.path) {
            Ok(text) => Some(contents(text.expose(), Form::Config)),
            Err(FileError::Absent | FileError::NoDirectory) => None,
            Err(error) => Some(Err(chain(&error))),
        };
        ConfigFile { kind: file.kind, path: file.path, contents }
    };
    config_files::files(env).into_iter().map(read).collect()
}

/// What a pull secret is for.
///
/// # Errors
///
/// Why it is for nothing.
pub fn of_pull_secret(document: &PullSecretDocument) -> Result<Contents, String> {
    match document {
        PullSecretDocument::Config(text) => contents(text.expose(), Form::Config),
        PullSecretDocument::Legacy(text) => contents(text.expose(), Form::Legacy),
        PullSecretDocument::Unusable(reason) => Err(reason.to_string()),
    }
}

fn contents(text: &str, form: Form) -> Result<Contents, String> {
    let document = document::Document::read(text, form).map_err(|error| chain(&error))?;
    let (entries, named) = document.keys();
    let program = |name: &str| format!("docker-credential-{}", crate::image::shown(name, 40));
    let store = (!named.store.is_empty()).then(|| format!("{} for all others", program(&named.store)));
    let each = named.by_registry.iter().filter_map(|(key, name)| match name {
        Value::String(name) if !name.is_empty() => Some(format!("{} for {}", program(name), document::shown_key(key))),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => None,
    });
    Ok(Contents { entries, helpers: each.chain(store).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    #[test]
    fn keys_and_helpers_are_told_and_no_value() {
        let text = r#"{"auths": {"ghcr.io": {"auth": "bWU6aHVudGVyMg=="}, "https://me:hunter2@quay.io/v1": {},
            "broken": {"auth": "hunter2!"}}, "credsStore": "pass", "credHelpers": {"gcr.io": "gcloud", "x": 1, "y": ""}}"#;
        let contents = of_pull_secret(&PullSecretDocument::Config(Secret::new(text.to_owned()))).unwrap();
        let told: Vec<_> =
            contents.entries.iter().map(|entry| (entry.key.as_str(), entry.skipped.as_deref())).collect();
        assert_eq!(
            told,
            [
                ("\"ghcr.io\"", None),
                ("\"https://quay.io/v1\"", None),
                ("\"broken\"", Some("its \"auth\" is not base64")),
            ]
        );
        assert_eq!(
            contents.helpers,
            ["docker-credential-gcloud for \"gcr.io\"", "docker-credential-pass for all others"]
        );
        assert!(!format!("{contents:?}").contains("hunter2"));
        for (document, reason) in
            [("", "it is empty"), ("hunter2", "it is not JSON: expected value at line 1 column 1")]
        {
            let document = PullSecretDocument::Legacy(Secret::new(document.to_owned()));
            assert_eq!(of_pull_secret(&document).unwrap_err(), reason);
        }
    }

    #[test]
    fn files_are_told_with_what_is_there() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join(".docker")).unwrap();
        std::fs::write(dir.path().join(".docker/config.json"), r#"{"auths": {"r": {"auth": "bWU6cGFzc3dvcmQxMg=="}}}"#)
            .unwrap();
        let env: Env = [("HOME", dir.path())].into_iter().collect();
        let files = files(&env);
        assert_eq!(files.len(), 2);
        assert_eq!((files[0].kind, files[0].path.clone()), ("docker config", dir.path().join(".docker/config.json")));
        assert_eq!(files[0].contents.as_ref().unwrap().as_ref().unwrap().entries[0].key, "\"r\"");
        assert_eq!((files[1].kind, &files[1].contents), ("podman auth file", &None));
        assert!(!format!("{files:?}").contains("bWU6"));
    }
}
