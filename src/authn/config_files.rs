//! Credentials from docker's and podman's config files, in the pod's environment or in the step's image.

use std::path::{Path, PathBuf};

use super::Found;
use super::document::{Document, Entries, Form};
use super::file::{self, FileError};
use super::helpers::{self, Helpers};
use super::matching::Target;
use crate::credential::Note;
use crate::host::Env;

/// What docker's config and then podman's have for a repository: `$DOCKER_CONFIG/config.json`, or
/// `$HOME/.docker/config.json` when `DOCKER_CONFIG` is not set; then `$REGISTRY_AUTH_FILE`,
/// `$XDG_RUNTIME_DIR/containers/auth.json` and `${XDG_CONFIG_HOME:-$HOME/.config}/containers/auth.json`, all that exist.
/// In each file the credential of the helper that it names for the registry comes first, then its entries.
/// <https://docs.docker.com/reference/cli/docker/#environment-variables>,
/// <https://github.com/containers/image/blob/main/docs/containers-auth.json.5.md>
///
/// Whatever is wrong with a file is a note: files and variables belong to the step's image as much as to the pod.
pub async fn credentials(env: &Env, helpers: &Helpers, registry: &str, repository: &str) -> Found {
    let target = Target::new(registry, repository);
    let mut found = Found::default();
    if docker(env).is_none() {
        found.notes.push(Note::new("docker config", "absent: neither DOCKER_CONFIG nor HOME is set"));
    }
    for file in files(env) {
        found.merge(of_file(&file, env, helpers, &target).await);
    }
    found
}

/// A file that may hold credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ConfigFile {
    /// Whose it is: `docker config`.
    pub(super) kind: &'static str,
    pub(super) path: PathBuf,
    /// Whether it was not asked for: then its absence is not worth a note.
    by_default: bool,
}

/// The files, in the order in which they are read, each once.
pub(super) fn files(env: &Env) -> Vec<ConfigFile> {
    let docker = docker(env).map(|path| ConfigFile { kind: "docker config", path, by_default: false });
    let podman = |path, by_default| ConfigFile { kind: "podman auth file", path, by_default };
    let named = set(env, "REGISTRY_AUTH_FILE").map(|path| podman(path, false));
    let in_directory = |dir: PathBuf| podman(dir.join("containers/auth.json"), true);
    let runtime = set(env, "XDG_RUNTIME_DIR").map(in_directory);
    let config = set(env, "XDG_CONFIG_HOME").or_else(|| set(env, "HOME").map(|home| home.join(".config")));
    let mut files: Vec<ConfigFile> = Vec::new();
    for file in [docker, named, runtime, config.map(in_directory)].into_iter().flatten() {
        if files.iter().all(|earlier| earlier.path != file.path) {
            files.push(file);
        }
    }
    files
}

/// Where docker's config would be.
fn docker(env: &Env) -> Option<PathBuf> {
    let in_home = |home: PathBuf| home.join(".docker/config.json");
    set(env, "DOCKER_CONFIG").map(|dir| dir.join("config.json")).or_else(|| set(env, "HOME").map(in_home))
}

/// The path in a variable that is set and not empty.
fn set(env: &Env, name: &str) -> Option<PathBuf> {
    env.get(name).filter(|value| !value.is_empty()).map(|value| Path::new(value).to_owned())
}

/// What one file has.
async fn of_file(file: &ConfigFile, env: &Env, helpers: &Helpers, target: &Target) -> Found {
    let source = format!("{} {}", file.kind, file.path.display());
    let text = match file::read(&file.path) {
        Ok(text) => text,
        Err(FileError::Absent | FileError::NoDirectory) if file.by_default => return Found::default(),
        Err(error) => return Found::only_note(Note::failed(source, &error)),
    };
    let document = match Document::read(text.expose(), Form::Config) {
        Ok(document) => document,
        Err(error) => return Found::only_note(Note::failed(source, &error)),
    };
    let mut found = helpers::ask(&document.helpers, helpers, env, &source, target).await;
    let helped = !found.credentials.is_empty();
    let mut entries = Entries::default();
    entries.add_document(&source, document, target, helped);
    found.merge(entries.for_target(target));
    found
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;
    use tempfile::TempDir;

    use super::*;
    use crate::authn::document::LIMIT;
    use crate::authn::helpers::NotRun;
    use crate::credential::Proof;
    use crate::secret::Secret;

    const CONFIG: &str = r#"{"auths": {"ghcr.io": {"username": "me", "password": "hunter2"}}}"#;

    fn find(env: &Env) -> Found {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(credentials(env, &Helpers::Not(NotRun::NotAllowed), "ghcr.io", "team/app"))
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
            assert!(note(&docker_config(dir.path())).contains("config.json: cannot be read: permission denied"));
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_a_note() {
        let dir = TempDir::new().unwrap();
        fs::write(dir.path().join("config.json"), b"\xff\xfe").unwrap();
        assert!(note(&docker_config(dir.path())).ends_with("config.json: it is not UTF-8"));
    }

    /// Which files are read, as far as the tests' directory is concerned.
    fn paths(variables: &[(&str, &str)]) -> Vec<String> {
        let env: Env = variables.iter().copied().collect();
        files(&env).into_iter().map(|file| format!("{} {}", file.kind, file.path.display())).collect()
    }

    #[test]
    fn dockers_config_is_followed_by_all_of_podmans_files() {
        assert_eq!(
            paths(&[("HOME", "/h")]),
            ["docker config /h/.docker/config.json", "podman auth file /h/.config/containers/auth.json"]
        );
        assert_eq!(
            paths(&[
                ("HOME", "/h"),
                ("DOCKER_CONFIG", "/d"),
                ("REGISTRY_AUTH_FILE", "/r/auth"),
                ("XDG_RUNTIME_DIR", "/run/user/1"),
                ("XDG_CONFIG_HOME", "/x"),
                ("DOCKER_AUTH_CONFIG", "{}"),
            ]),
            [
                "docker config /d/config.json",
                "podman auth file /r/auth",
                "podman auth file /run/user/1/containers/auth.json",
                "podman auth file /x/containers/auth.json",
            ]
        );
        assert_eq!(paths(&[("HOME", ""), ("XDG_RUNTIME_DIR", "")]), [""; 0]);
        // A file that several variables lead to is read once.
        assert_eq!(
            paths(&[
                ("REGISTRY_AUTH_FILE", "/d/config.json"),
                ("DOCKER_CONFIG", "/d"),
                ("XDG_CONFIG_HOME", "/x"),
                ("XDG_RUNTIME_DIR", "/x")
            ]),
            ["docker config /d/config.json", "podman auth file /x/containers/auth.json"]
        );
    }

    #[test]
    fn every_file_that_exists_helps_in_its_order() {
        let dir = TempDir::new().unwrap();
        for (name, user) in [
            ("d/config.json", "one"),
            ("r", "two"),
            ("run/containers/auth.json", "three"),
            ("x/containers/auth.json", "four"),
        ] {
            let file = dir.path().join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, CONFIG.replace("\"me\"", &format!("\"{user}\""))).unwrap();
        }
        let at = |name: &str| dir.path().join(name);
        let env: Env = [
            ("DOCKER_CONFIG", at("d")),
            ("REGISTRY_AUTH_FILE", at("r")),
            ("XDG_RUNTIME_DIR", at("run")),
            ("XDG_CONFIG_HOME", at("x")),
        ]
        .into_iter()
        .collect();
        let found = find(&env);
        assert_eq!(found.notes, []);
        let sources: Vec<_> = found.credentials.into_iter().map(|credential| credential.source).collect();
        let dir = dir.path().display();
        assert_eq!(
            sources,
            [
                format!("docker config {dir}/d/config.json, key \"ghcr.io\""),
                format!("podman auth file {dir}/r, key \"ghcr.io\""),
                format!("podman auth file {dir}/run/containers/auth.json, key \"ghcr.io\""),
                format!("podman auth file {dir}/x/containers/auth.json, key \"ghcr.io\""),
            ]
        );
    }

    #[test]
    fn only_a_file_that_was_asked_for_is_missed() {
        let dir = TempDir::new().unwrap();
        let env: Env = [
            ("REGISTRY_AUTH_FILE", dir.path().join("gone")),
            ("XDG_RUNTIME_DIR", dir.path().to_owned()),
            ("XDG_CONFIG_HOME", "/dev/null".into()),
        ]
        .into_iter()
        .collect();
        assert_eq!(
            find(&env).notes.iter().map(ToString::to_string).collect::<Vec<_>>(),
            [
                "docker config: absent: neither DOCKER_CONFIG nor HOME is set".to_owned(),
                format!("podman auth file {}/gone: absent", dir.path().display()),
            ]
        );
        // A default file that is there and cannot be used is told of.
        fs::create_dir(dir.path().join("containers")).unwrap();
        fs::write(dir.path().join("containers/auth.json"), "hunter2").unwrap();
        let env: Env = [("HOME", dir.path()), ("XDG_RUNTIME_DIR", dir.path())].into_iter().collect();
        assert_eq!(
            find(&env).notes[1].to_string(),
            format!(
                "podman auth file {}/containers/auth.json: it is not JSON: expected value at line 1 column 1",
                dir.path().display()
            )
        );
    }
}
