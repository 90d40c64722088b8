//! Credentials from docker's `config.json`, in the pod's environment or in the step's image.

use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use thiserror::Error;
use zeroize::Zeroizing;

use super::Found;
use super::document::{Entries, Form, LIMIT};
use super::matching::Target;
use crate::credential::Note;
use crate::host::Env;
use crate::secret::Secret;

/// The credentials that docker's config has for a repository: `$DOCKER_CONFIG/config.json`, or
/// `$HOME/.docker/config.json` when `DOCKER_CONFIG` is not set.
/// <https://docs.docker.com/reference/cli/docker/#environment-variables>
///
/// Whatever is wrong with the file is a note: file and variables belong to the step's image as much as to the pod.
#[must_use]
pub fn credentials(env: &Env, registry: &str, repository: &str) -> Found {
    let Some(path) = path(env) else {
        return Found::only_note(Note::new("docker config", "absent: neither DOCKER_CONFIG nor HOME is set"));
    };
    let source = format!("docker config {}", path.display());
    let text = match read(&path) {
        Ok(text) => text,
        Err(error) => return Found::only_note(Note::failed(source, &error)),
    };
    let target = Target::new(registry, repository);
    let mut entries = Entries::default();
    entries.add(&source, text.expose(), Form::Config, &target);
    entries.for_target(&target)
}

/// Where docker's config would be.
fn path(env: &Env) -> Option<PathBuf> {
    let set = |name| env.get(name).filter(|value| !value.is_empty());
    let in_home = |home: &OsStr| Path::new(home).join(".docker/config.json");
    set("DOCKER_CONFIG").map(|dir| Path::new(dir).join("config.json")).or_else(|| set("HOME").map(in_home))
}

/// Why a config file cannot be read.
#[derive(Debug, Error)]
enum FileError {
    #[error("absent")]
    Absent,
    #[error("absent: its directory is not a directory")]
    NoDirectory,
    #[error("cannot be read")]
    Unreadable(#[source] io::Error),
    #[error("not read: it is not a regular file")]
    NotAFile,
    #[error("not read: it is larger than {LIMIT} bytes")]
    TooLarge,
    #[error("it is not UTF-8")]
    NotUtf8,
}

impl From<io::Error> for FileError {
    fn from(error: io::Error) -> Self {
        let kind = error.kind();
        if kind == io::ErrorKind::NotFound {
            Self::Absent
        } else if kind == io::ErrorKind::NotADirectory {
            Self::NoDirectory
        } else {
            Self::Unreadable(error)
        }
    }
}

fn read(path: &Path) -> Result<Secret, FileError> {
    // The file belongs to somebody else: opening a FIFO must not wait for a writer, nor a terminal become ours.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(FileError::NotAFile);
    }
    // Roomy from the start: a vector that grows leaves copies behind that nobody wipes.
    let room = usize::try_from(metadata.len().min(LIMIT) + 1).unwrap_or_default();
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    file.take(LIMIT + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > LIMIT) {
        return Err(FileError::TooLarge);
    }
    std::str::from_utf8(&bytes).map(|text| Secret::new(text.to_owned())).map_err(|_| FileError::NotUtf8)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;
    use tempfile::TempDir;

    use super::*;
    use crate::credential::Proof;

    const CONFIG: &str = r#"{"auths": {"ghcr.io": {"username": "me", "password": "hunter2"}}}"#;

    fn find(env: &Env) -> Found {
        credentials(env, "ghcr.io", "team/app")
    }

    fn docker_config(dir: &Path) -> Env {
        [("DOCKER_CONFIG", dir)].into_iter().collect()
    }

    /// The only note of a config that helped nobody.
    fn note(env: &Env) -> String {
        let found = find(env);
        assert_eq!(found.credentials, []);
        let [note] = found.notes.as_slice() else { panic!("{:?}", found.notes) };
        note.to_string()
    }

    #[test]
    fn a_credential_says_which_file_and_key_it_is_from() {
        let dir = TempDir::new().unwrap();
        fs::write(dir.path().join("config.json"), CONFIG).unwrap();
        let found = find(&docker_config(dir.path()));
        assert_eq!(found.notes, []);
        let [credential] = found.credentials.as_slice() else { panic!("{found:?}") };
        assert_eq!(
            credential.proof,
            Proof::Basic { username: "me".to_owned(), password: Secret::new("hunter2".to_owned()) }
        );
        assert_eq!(credential.source, format!("docker config {}/config.json, key \"ghcr.io\"", dir.path().display()));
    }

    #[test]
    fn docker_config_wins_over_home_even_when_it_holds_nothing() {
        let (home, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        fs::create_dir(home.path().join(".docker")).unwrap();
        fs::write(home.path().join(".docker/config.json"), CONFIG).unwrap();
        let env: Env = [("HOME", home.path())].into_iter().collect();
        assert_eq!(find(&env).credentials.len(), 1);
        let env: Env = [("HOME", home.path()), ("DOCKER_CONFIG", Path::new(""))].into_iter().collect();
        assert_eq!(find(&env).credentials.len(), 1);
        let env: Env = [("HOME", home.path()), ("DOCKER_CONFIG", other.path())].into_iter().collect();
        assert_eq!(note(&env), format!("docker config {}/config.json: absent", other.path().display()));
    }

    #[test]
    fn without_a_home_there_is_a_note() {
        assert_eq!(note(&Env::default()), "docker config: absent: neither DOCKER_CONFIG nor HOME is set");
        let env: Env = [("HOME", "/dev/null")].into_iter().collect();
        assert_eq!(note(&env), "docker config /dev/null/.docker/config.json: absent: its directory is not a directory");
    }

    #[test]
    fn a_fifo_is_not_waited_for() {
        let dir = TempDir::new().unwrap();
        mkfifo(&dir.path().join("config.json"), Mode::S_IRWXU).unwrap();
        assert!(note(&docker_config(dir.path())).ends_with("config.json: not read: it is not a regular file"));
    }

    #[test]
    fn a_directory_and_an_endless_device_are_not_read() {
        let dir = TempDir::new().unwrap();
        fs::create_dir(dir.path().join("config.json")).unwrap();
        assert!(note(&docker_config(dir.path())).ends_with("config.json: not read: it is not a regular file"));
        let dir = TempDir::new().unwrap();
        symlink("/dev/zero", dir.path().join("config.json")).unwrap();
        assert!(note(&docker_config(dir.path())).ends_with("config.json: not read: it is not a regular file"));
    }

    #[test]
    fn a_file_is_read_up_to_a_mebibyte() {
        let dir = TempDir::new().unwrap();
        let limit = usize::try_from(LIMIT).unwrap();
        let padded = |length: usize| format!("{CONFIG}{}", " ".repeat(length - CONFIG.len()));
        fs::write(dir.path().join("config.json"), padded(limit)).unwrap();
        assert_eq!(find(&docker_config(dir.path())).credentials.len(), 1);
        fs::write(dir.path().join("config.json"), padded(limit + 1)).unwrap();
        assert!(note(&docker_config(dir.path())).ends_with("not read: it is larger than 1048576 bytes"));
    }

    #[test]
    fn a_file_that_may_not_be_read_is_a_note() {
        let dir = TempDir::new().unwrap();
        let file = dir.path().join("config.json");
        fs::write(&file, CONFIG).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
        if fs::File::open(&file).is_ok() {
            // We are root, whom no mode stops: a link that leads to itself can be read by nobody.
            fs::remove_file(&file).unwrap();
            symlink("config.json", &file).unwrap();
            assert!(note(&docker_config(dir.path())).contains("config.json: cannot be read: too many"));
        } else {
            assert!(note(&docker_config(dir.path())).contains("config.json: cannot be read: Permission denied"));
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_a_note() {
        let dir = TempDir::new().unwrap();
        fs::write(dir.path().join("config.json"), b"\xff\xfe").unwrap();
        assert!(note(&docker_config(dir.path())).ends_with("config.json: it is not UTF-8"));
    }
}
