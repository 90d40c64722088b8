//! Credentials from secrets that Tekton's controller mounted into the pod: files, and no question to the API server.
//!
//! Tekton merges them into one docker config, and loses identity and registry tokens on the way. Here the files are read
//! as they are.

use std::path::{Component, Path};

use thiserror::Error;

use super::Found;
use super::document::{Entries, Form};
use super::file::{self, FileError};
use super::matching::Target;
use crate::credential::{Note, Proof};
use crate::secret::Secret;
use crate::spec::MountedSecret;

/// The credentials that mounted secrets have for a repository: the most specific key first. Among equal keys come first
/// the secrets of `-basic-docker`, then those of `-docker-config`, then those of `-docker-cfg`, since that is who wins
/// in Tekton's merge. `dir` holds one directory per secret. Whatever is wrong with one is a note.
#[must_use]
pub fn credentials(dir: &Path, secrets: &[MountedSecret], registry: &str, repository: &str) -> Found {
    let target = Target::new(registry, repository);
    let mut ordered: Vec<_> = secrets.iter().collect();
    ordered.sort_by_key(|secret| match secret {
        MountedSecret::Basic { .. } => 0,
        MountedSecret::Config { .. } => 1,
        MountedSecret::Legacy { .. } => 2,
    });
    let mut entries = Entries::default();
    for secret in ordered {
        let source = source(secret);
        if let Err(error) = add(&mut entries, &source, dir, secret, &target) {
            entries.note(Note::failed(source, &error));
        }
    }
    entries.for_target(&target)
}

fn source(secret: &MountedSecret) -> String {
    match secret {
        MountedSecret::Config { secret } => format!("mounted secret {secret} of -docker-config"),
        MountedSecret::Legacy { secret } => format!("mounted secret {secret} of -docker-cfg"),
        MountedSecret::Basic { secret, .. } => format!("mounted secret {secret} of -basic-docker"),
    }
}

/// Why a mounted secret has nothing to offer.
#[derive(Debug, Error)]
enum MountError {
    #[error("its name is no name of a secret")]
    BadName,
    #[error("its file {path}")]
    File { path: String, source: FileError },
    #[error("its file username is empty")]
    NoUser,
}

fn add(
    entries: &mut Entries,
    source: &str,
    dir: &Path,
    secret: &MountedSecret,
    target: &Target,
) -> Result<(), MountError> {
    let read = |secret: &str, file: &str| {
        let mut parts = Path::new(secret).components();
        let (Some(Component::Normal(_)), None) = (parts.next(), parts.next()) else { return Err(MountError::BadName) };
        let path = dir.join(secret).join(file);
        file::read(&path).map_err(|source| MountError::File { path: path.display().to_string(), source })
    };
    match secret {
        MountedSecret::Config { secret } => {
            entries.add(source, read(secret, ".dockerconfigjson")?.expose(), Form::Config, target);
        }
        MountedSecret::Legacy { secret } => {
            entries.add(source, read(secret, ".dockercfg")?.expose(), Form::Legacy, target);
        }
        MountedSecret::Basic { secret, url } => {
            let username = without_line_end(&read(secret, "username")?).expose().to_owned();
            let password = without_line_end(&read(secret, "password")?);
            if username.is_empty() {
                return Err(MountError::NoUser);
            }
            entries.add_one(source, url, Proof::Basic { username, password }, target);
        }
    }
    Ok(())
}

/// A secret that was made from a file often ends with its line end, which nobody means
/// (<https://github.com/tektoncd/pipeline/issues/3873>).
fn without_line_end(text: &Secret) -> Secret {
    let text = text.expose();
    let text = text.strip_suffix('\n').map_or(text, |text| text.strip_suffix('\r').unwrap_or(text));
    Secret::new(text.to_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    /// Mounts a secret of these files.
    fn mount(dir: &TempDir, secret: &str, files: &[(&str, &str)]) {
        let path = dir.path().join(secret);
        fs::create_dir(&path).unwrap();
        for (name, content) in files {
            fs::write(path.join(name), content).unwrap();
        }
    }

    fn config(secret: &str) -> MountedSecret {
        MountedSecret::Config { secret: secret.to_owned() }
    }

    fn legacy(secret: &str) -> MountedSecret {
        MountedSecret::Legacy { secret: secret.to_owned() }
    }

    fn basic(secret: &str, url: &str) -> MountedSecret {
        MountedSecret::Basic { secret: secret.to_owned(), url: url.to_owned() }
    }

    fn find(dir: &TempDir, secrets: &[MountedSecret]) -> Found {
        credentials(dir.path(), secrets, "ghcr.io", "team/app")
    }

    fn notes(dir: &TempDir, secrets: &[MountedSecret]) -> Vec<String> {
        let found = find(dir, secrets);
        assert_eq!(found.credentials, []);
        assert!(!format!("{:?}", found.notes).contains("hunter2"));
        found.notes.iter().map(|note| note.to_string().replace(&dir.path().display().to_string(), "DIR")).collect()
    }

    #[test]
    fn every_kind_is_read_and_the_basic_one_comes_first() {
        let dir = TempDir::new().unwrap();
        mount(&dir, "old", &[(".dockercfg", r#"{"ghcr.io": {"username": "old", "password": "hunter2"}}"#)]);
        mount(&dir, "new", &[(".dockerconfigjson", r#"{"auths": {"ghcr.io": {"identitytoken": "hunter2"}}}"#)]);
        mount(&dir, "plain", &[("username", "me\r\n"), ("password", "hunter2\n")]);
        let found = find(&dir, &[legacy("old"), config("new"), basic("plain", "https://ghcr.io")]);
        assert_eq!(found.notes, []);
        let secret = || Secret::new("hunter2".to_owned());
        assert_eq!(
            found.credentials.into_iter().map(|c| (c.source, c.proof)).collect::<Vec<_>>(),
            [
                (
                    r#"mounted secret plain of -basic-docker, key "https://ghcr.io""#.to_owned(),
                    Proof::Basic { username: "me".to_owned(), password: secret() }
                ),
                (r#"mounted secret new of -docker-config, key "ghcr.io""#.to_owned(), Proof::IdentityToken(secret())),
                (
                    r#"mounted secret old of -docker-cfg, key "ghcr.io""#.to_owned(),
                    Proof::Basic { username: "old".to_owned(), password: secret() }
                ),
            ]
        );
    }

    #[test]
    fn a_password_keeps_everything_but_its_last_line_end() {
        for (content, expected) in
            [("a\n", "a"), ("a\r\n", "a"), ("a\n\n", "a\n"), ("a\r", "a\r"), (" a ", " a "), ("", "")]
        {
            assert_eq!(without_line_end(&Secret::new(content.to_owned())).expose(), expected, "{content:?}");
        }
    }

    #[test]
    fn a_secret_that_cannot_help_says_why() {
        let dir = TempDir::new().unwrap();
        mount(&dir, "empty", &[]);
        mount(&dir, "half", &[("username", "me")]);
        mount(&dir, "nobody", &[("username", "\n"), ("password", "hunter2")]);
        mount(&dir, "other", &[("username", "me"), ("password", "hunter2")]);
        mount(&dir, "broken", &[(".dockerconfigjson", "hunter2")]);
        fs::create_dir_all(dir.path().join("odd/.dockercfg")).unwrap();
        assert_eq!(
            notes(
                &dir,
                &[
                    config("gone"),
                    config("empty"),
                    config("broken"),
                    legacy("odd"),
                    legacy("../other"),
                    legacy(""),
                    basic("half", "ghcr.io"),
                    basic("nobody", "ghcr.io"),
                    basic("other", "https://me:hunter2@quay.io/v1/"),
                    basic("other", "gh[cr.io"),
                ]
            ),
            [
                "mounted secret half of -basic-docker: its file DIR/half/password: absent",
                "mounted secret nobody of -basic-docker: its file username is empty",
                r#"mounted secret other of -basic-docker: it is for "https://quay.io/v1/", not for ghcr.io/team/app"#,
                r#"mounted secret other of -basic-docker: its registry "gh[cr.io" is no key: its glob is malformed"#,
                "mounted secret gone of -docker-config: its file DIR/gone/.dockerconfigjson: absent",
                "mounted secret empty of -docker-config: its file DIR/empty/.dockerconfigjson: absent",
                "mounted secret broken of -docker-config: it is not JSON: expected value at line 1 column 1",
                "mounted secret odd of -docker-cfg: its file DIR/odd/.dockercfg: not read: it is not a regular file",
                "mounted secret ../other of -docker-cfg: its name is no name of a secret",
                "mounted secret  of -docker-cfg: its name is no name of a secret",
            ]
        );
    }
}
