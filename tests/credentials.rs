//! Credentials for git and docker, on real files.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and waits for the processes that it starts"
)]

#[path = "support/skip.rs"]
mod skip;

use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use entrypoint::host::Dirs;
use entrypoint::setup::credentials::{self, Credentials};
use entrypoint::spec::{CredentialsSpec, SecretUrl};
use entrypoint::sys::cause::chain;
use tempfile::TempDir;

/// A directory for one test, with the secrets, the credentials and a home inside.
struct Place {
    directory: TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { directory: tempfile::tempdir().unwrap() };
        for name in ["secrets", "creds", "home"] {
            fs::create_dir(place.path(name)).unwrap();
        }
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn dirs(&self) -> Dirs {
        Dirs { creds_secrets: self.path("secrets"), creds: self.path("creds"), ..Dirs::default() }
    }

    /// Mounts a key of a secret.
    fn secret(&self, secret: &str, key: &str, content: impl AsRef<[u8]>) {
        fs::create_dir_all(self.path("secrets").join(secret)).unwrap();
        fs::write(self.path("secrets").join(secret).join(key), content).unwrap();
    }

    /// Mounts a secret with a name and a password.
    fn login(&self, secret: &str, username: &str, password: &str) {
        self.secret(secret, "username", username);
        self.secret(secret, "password", password);
    }

    fn read(&self, spec: &CredentialsSpec) -> Result<Credentials, String> {
        let shown = |text: String| text.replace(&self.directory.path().display().to_string(), "D");
        credentials::read(spec, &self.dirs()).map_err(|error| shown(chain(&error)))
    }

    fn write(&self, spec: &CredentialsSpec) {
        self.read(spec).unwrap().write(&self.dirs());
    }

    fn copy_to(&self, home: &Path) {
        credentials::copy_to_home(&self.dirs(), Some(home.as_os_str()));
    }

    fn text(&self, name: &str) -> String {
        String::from_utf8(fs::read(self.path(name)).unwrap()).unwrap()
    }

    fn mode(&self, name: &str) -> u32 {
        fs::metadata(self.path(name)).unwrap().permissions().mode() & 0o7777
    }

    /// The bits that the umask of this process leaves of a mode.
    fn masked(&self, mode: u32) -> u32 {
        let probe = self.path("probe");
        fs::OpenOptions::new().write(true).create_new(true).mode(0o777).open(&probe).unwrap();
        let mask = fs::metadata(&probe).unwrap().permissions().mode() & 0o7777;
        fs::remove_file(probe).unwrap();
        mode & mask
    }

    /// Every path below a directory, in order.
    fn below(&self, name: &str) -> Vec<String> {
        let mut found = Vec::new();
        let mut waiting = vec![self.path(name)];
        while let Some(directory) = waiting.pop() {
            for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
                found.push(entry.path().strip_prefix(self.path(name)).unwrap().to_str().unwrap().to_owned());
                waiting.extend(entry.file_type().unwrap().is_dir().then(|| entry.path()));
            }
        }
        found.sort();
        found
    }
}

/// `SECRET=URL`, split.
fn for_url(text: &str) -> SecretUrl {
    let (secret, url) = text.split_once('=').unwrap();
    SecretUrl { secret: secret.to_owned(), url: url.to_owned() }
}

fn basic_git(values: &[&str]) -> CredentialsSpec {
    CredentialsSpec { basic_git: values.iter().map(|text| for_url(text)).collect(), ..CredentialsSpec::default() }
}

fn ssh_git(values: &[&str]) -> CredentialsSpec {
    CredentialsSpec { ssh_git: values.iter().map(|text| for_url(text)).collect(), ..CredentialsSpec::default() }
}

fn basic_docker(values: &[&str]) -> CredentialsSpec {
    CredentialsSpec { basic_docker: values.iter().map(|text| for_url(text)).collect(), ..CredentialsSpec::default() }
}

fn docker_config(secrets: &[&str]) -> CredentialsSpec {
    CredentialsSpec { docker_config: secrets.iter().map(|&name| name.into()).collect(), ..CredentialsSpec::default() }
}

/// A secret as kubelet mounts it: each key is a link through `..data`.
fn as_kubelet_mounts(place: &Place, secret: &str, keys: &[(&str, &str)]) {
    let directory = place.path("secrets").join(secret);
    fs::create_dir_all(directory.join("..2026_11_21")).unwrap();
    symlink("..2026_11_21", directory.join("..data")).unwrap();
    for (key, content) in keys {
        fs::write(directory.join("..2026_11_21").join(key), content).unwrap();
        symlink(Path::new("..data").join(key), directory.join(key)).unwrap();
    }
}

#[test]
fn nothing_is_written_where_nothing_is_asked_for() {
    let place = Place::new();
    place.write(&CredentialsSpec::default());
    place.copy_to(&place.path("home"));
    assert_eq!((place.below("creds"), place.below("home")), (vec![], vec![]));
}

#[test]
fn every_kind_is_written_with_its_bytes_and_its_modes() {
    let place = Place::new();
    place.login("login", "me", "p<a>ss");
    place.secret("old", ".dockercfg", r#"{"old.io":{"username":"o"},"x.io":{"username":"o"}}"#);
    place.secret("new", ".dockerconfigjson", r#"{"auths":{"x.io":{"username":"n"},"r.io":{"username":"n"}}}"#);
    place.secret("key", "ssh-privatekey", "KEY\n");
    place.secret("key", "known_hosts", "h ssh-rsa A\n");
    place.secret("other", "ssh-privatekey", "OTHER");
    place.secret("other", "known_hosts", "");
    place.write(&CredentialsSpec {
        basic_git: vec![for_url("login=https://git.io/a/b"), for_url("login=https://git.io")],
        ssh_git: vec![for_url("key=h/o/r"), for_url("key=h:2222"), for_url("other=h:2222")],
        basic_docker: vec![for_url("login=r.io")],
        docker_config: vec!["new".to_owned()],
        docker_cfg: vec!["old".to_owned()],
    });
    assert_eq!(
        place.text("creds/.docker/config.json"),
        concat!(
            r#"{"auths":{"old.io":{"username":"o","auth":""},"#,
            r#""r.io":{"username":"me","password":"p\u003ca\u003ess","auth":"bWU6cDxhPnNz","email":"not@val.id"},"#,
            r#""x.io":{"username":"n","auth":""}}}"#
        )
    );
    assert_eq!(
        place.text("creds/.gitconfig"),
        "[credential]\n\thelper = store\n\
         [credential \"https://git.io/a/b\"]\n\tusername = me\n\tuseHttpPath = true\n\
         [credential \"https://git.io\"]\n\tusername = me\n\
         [url \"git@h--o--r:o/r.git\"]\n\tinsteadOf = git@h:o/r.git\n\
         [url \"ssh://h--o--r/o/r.git\"]\n\tinsteadOf = ssh://h/o/r.git\n"
    );
    assert_eq!(
        place.text("creds/.git-credentials"),
        "https://me:p%3Ca%3Ess@git.io\nhttps://me:p%3Ca%3Ess@git.io/a/b\n"
    );
    let ssh = place.path("creds/.ssh").display().to_string();
    assert_eq!(
        place.text("creds/.ssh/config").replace(&ssh, "SSH"),
        "Host h\n    HostName h\n    Port 2222\n    IdentityFile SSH/id_key\n    IdentityFile SSH/id_other\n\
         Host h--o--r\n    HostName h\n    Port 22\n    IdentityFile SSH/id_key\n"
    );
    assert_eq!(place.text("creds/.ssh/id_key"), "KEY\n");
    assert_eq!(place.text("creds/.ssh/id_other"), "OTHER");
    assert_eq!(place.text("creds/.ssh/known_hosts"), "h ssh-rsa A\n\nh ssh-rsa A\n");
    for directory in [".docker", ".ssh"] {
        assert_eq!(place.mode(&format!("creds/{directory}")), place.masked(0o777), "{directory}");
    }
    for file in place.below("creds").iter().filter(|name| !matches!(name.as_str(), ".docker" | ".ssh")) {
        assert_eq!(place.mode(&format!("creds/{file}")), place.masked(0o600), "{file}");
    }
}

#[test]
fn a_file_that_is_there_is_overwritten_whole_and_keeps_its_mode() {
    let place = Place::new();
    place.login("login", "u", "p");
    fs::write(place.path("creds/.gitconfig"), "x".repeat(1000)).unwrap();
    fs::set_permissions(place.path("creds/.gitconfig"), fs::Permissions::from_mode(0o640)).unwrap();
    place.write(&basic_git(&["login=https://h"]));
    assert_eq!(place.text("creds/.gitconfig").lines().count(), 4);
    assert_eq!(place.mode("creds/.gitconfig"), 0o640);
}

#[test]
fn secrets_are_read_through_kubelets_links() {
    let place = Place::new();
    as_kubelet_mounts(&place, "login", &[("username", "u\n"), ("password", "p\r\n")]);
    as_kubelet_mounts(&place, "config", &[(".dockerconfigjson", r#"{"auths":{"a":{"auth":"x"}}}"#)]);
    place.write(&basic_git(&["login=https://h"]));
    place.write(&docker_config(&["config"]));
    assert_eq!(place.text("creds/.git-credentials"), "https://u:p@h\n");
    assert_eq!(place.text("creds/.docker/config.json"), r#"{"auths":{"a":{"auth":"x"}}}"#);
}

#[test]
fn a_flag_whose_secret_cannot_be_read_is_told_in_gos_words() {
    let place = Place::new();
    place.login("login", "u", "p");
    place.secret("half", "username", "u");
    fs::create_dir_all(place.path("secrets/dir/ssh-privatekey")).unwrap();
    for (spec, message) in [
        (
            basic_git(&["none=https://h"]),
            r#"invalid value "none=https://h" for flag -basic-git: open D/secrets/none/username: no such file or directory"#,
        ),
        (
            basic_docker(&["half=h"]),
            r#"invalid value "half=h" for flag -basic-docker: open D/secrets/half/password: no such file or directory"#,
        ),
        (
            ssh_git(&["login=h"]),
            r#"invalid value "login=h" for flag -ssh-git: open D/secrets/login/ssh-privatekey: no such file or directory"#,
        ),
        (
            ssh_git(&["dir=h"]),
            r#"invalid value "dir=h" for flag -ssh-git: read D/secrets/dir/ssh-privatekey: is a directory"#,
        ),
        (
            basic_git(&["login=https://h:x"]),
            r#"invalid value "login=https://h:x" for flag -basic-git: parse "https://h:x": invalid port ":x" after host"#,
        ),
        (
            basic_git(&["login=https://h", "none=https://h"]),
            r#"invalid value "none=https://h" for flag -basic-git: multiple entries for url: https://h"#,
        ),
        (
            basic_docker(&["login=h", "login=h"]),
            r#"invalid value "login=h" for flag -basic-docker: multiple entries for url: h"#,
        ),
    ] {
        assert_eq!(place.read(&spec).unwrap_err(), message);
    }
    assert_eq!(place.below("creds"), [""; 0]);
}

#[test]
fn the_first_kind_is_reported_whatever_the_order_of_the_flags() {
    let place = Place::new();
    let mut spec = basic_git(&["none=https://h"]);
    spec.ssh_git.push(for_url("none=h"));
    assert!(place.read(&spec).unwrap_err().contains("-basic-git"));
    spec.basic_docker.push(for_url("none=h"));
    assert!(place.read(&spec).unwrap_err().contains("-basic-docker"));
}

#[test]
fn a_secret_that_is_no_file_is_neither_waited_for_nor_read_without_end() {
    let place = Place::new();
    place.login("big", "u", &"p".repeat(1 << 20));
    place.write(&basic_docker(&["big=h"]));
    place.login("huge", "u", "");
    fs::File::options().write(true).open(place.path("secrets/huge/password")).unwrap().set_len(1 << 40).unwrap();
    let message = place.read(&basic_docker(&["huge=h"])).unwrap_err();
    let path = "D/secrets/huge/password";
    assert!(
        message.ends_with(&format!("{path}: it is longer than 1048576 bytes, and Kubernetes allows no secret to be")),
        "{message}"
    );
    place.login("fifo", "u", "p");
    fs::remove_file(place.path("secrets/fifo/username")).unwrap();
    nix::unistd::mkfifo(&place.path("secrets/fifo/username"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let message = place.read(&basic_git(&["fifo=https://h"])).unwrap_err();
    assert!(message.ends_with("read D/secrets/fifo/username: it is a FIFO, not a regular file"), "{message}");
    symlink("/dev/zero", place.path("secrets/fifo/ssh-privatekey")).unwrap();
    let message = place.read(&ssh_git(&["fifo=h"])).unwrap_err();
    assert!(message.ends_with("it is a device, not a regular file"), "{message}");
}

#[test]
fn no_password_is_in_an_error() {
    let place = Place::new();
    place.login("login", "hunter1", "hunter2");
    let spec = basic_git(&["login=https://h:x"]);
    let error = credentials::read(&spec, &place.dirs()).unwrap_err();
    assert!(!format!("{error:?} {}", chain(&error)).contains("hunter"), "{error:?}");
    let read = place.read(&basic_docker(&["login=h"])).unwrap();
    assert!(!format!("{read:?}").contains("hunter"), "{read:?}");
}

#[test]
fn a_secrets_name_is_joined_as_go_joins_paths() {
    let place = Place::new();
    fs::create_dir(place.path("beside")).unwrap();
    for (file, content) in [("username", "u"), ("password", "p"), ("ssh-privatekey", "K")] {
        fs::write(place.path("beside").join(file), content).unwrap();
    }
    place.login("a/b", "u2", "p2");
    place.write(&basic_git(&["../beside=https://h", "/a/b=https://i", "a/../a//b=https://j"]));
    assert_eq!(place.text("creds/.git-credentials"), "https://u:p@h\nhttps://u2:p2@i\nhttps://u2:p2@j\n");
    // The name of the copy is joined too, and there is no directory `id_..`'s parent to be left by it.
    fs::create_dir_all(place.path("creds/.ssh/id_..")).unwrap();
    place.write(&ssh_git(&["../beside=h"]));
    assert_eq!(place.text("creds/.ssh/id_../beside"), "K");
}

#[test]
fn what_cannot_be_written_keeps_nothing_else_from_being_written() {
    let place = Place::new();
    place.login("login", "u", "p");
    place.secret("key", "ssh-privatekey", "K");
    let mut spec = basic_git(&["login=https://h"]);
    spec.basic_docker.push(for_url("login=h"));
    fs::write(place.path("creds/.docker"), "a file in the way").unwrap();
    place.write(&spec);
    assert_eq!(place.text("creds/.git-credentials"), "https://u:p@h\n");
    fs::remove_file(place.path("creds/.docker")).unwrap();
    fs::remove_file(place.path("creds/.gitconfig")).unwrap();
    fs::create_dir(place.path("creds/.gitconfig")).unwrap();
    place.write(&spec);
    assert!(place.path("creds/.docker/config.json").exists());
    // Of docker's secrets a missing or broken one is told when it is written, and is nobody else's loss.
    fs::remove_file(place.path("creds/.docker/config.json")).unwrap();
    fs::remove_dir(place.path("creds/.gitconfig")).unwrap();
    for secret in ["gone", "broken"] {
        place.secret("broken", ".dockerconfigjson", "{");
        spec.docker_config = vec![secret.to_owned()];
        place.write(&spec);
        assert_eq!(place.below("creds/.docker"), [""; 0], "{secret}");
        assert!(place.path("creds/.gitconfig").is_file(), "{secret}");
    }
}

#[test]
fn a_fifo_in_the_place_of_a_file_makes_nobody_wait() {
    let place = Place::new();
    place.login("login", "u", "p");
    for name in ["creds/.gitconfig", "home/.git-credentials"] {
        nix::unistd::mkfifo(&place.path(name), nix::sys::stat::Mode::S_IRWXU).unwrap();
    }
    place.write(&basic_git(&["login=https://h"]));
    fs::write(place.path("creds/.git-credentials"), "https://u:p@h\n").unwrap();
    place.copy_to(&place.path("home"));
    assert!(!place.path("home/.gitconfig").exists());
}

#[test]
fn the_home_gets_copies_that_only_its_owner_can_read() {
    let place = Place::new();
    for (name, mode) in
        [(".docker/config.json", 0o644), (".gitconfig", 0o444), (".ssh/sub/id", 0o640), ("other", 0o600)]
    {
        let path = place.path("creds").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, name).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
    symlink("other", place.path("creds/.git-credentials")).unwrap();
    // What is there keeps its mode, and loses every byte of its content.
    fs::create_dir(place.path("home/.docker")).unwrap();
    fs::set_permissions(place.path("home/.docker"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(place.path("home/.docker/theirs"), "theirs").unwrap();
    fs::write(place.path("home/.gitconfig"), "theirs, and much longer than ours").unwrap();
    fs::set_permissions(place.path("home/.gitconfig"), fs::Permissions::from_mode(0o644)).unwrap();
    place.copy_to(&place.path("home"));
    assert_eq!(
        place.below("home"),
        [
            ".docker",
            ".docker/config.json",
            ".docker/theirs",
            ".git-credentials",
            ".gitconfig",
            ".ssh",
            ".ssh/sub",
            ".ssh/sub/id",
        ]
    );
    for (name, content, mode) in [
        (".docker/config.json", ".docker/config.json", place.masked(0o600)),
        (".docker/theirs", "theirs", place.mode("home/.docker/theirs")),
        (".gitconfig", ".gitconfig", 0o644),
        (".git-credentials", "other", place.masked(0o600)),
        (".ssh/sub/id", ".ssh/sub/id", place.masked(0o600)),
    ] {
        let name = format!("home/{name}");
        assert_eq!((place.text(&name).as_str(), place.mode(&name)), (content, mode), "{name}");
    }
    assert_eq!(place.mode("home/.docker"), 0o755);
    assert_eq!(place.mode("home/.ssh/sub"), place.masked(0o700));
    assert!(!fs::symlink_metadata(place.path("home/.git-credentials")).unwrap().is_symlink());
}

#[test]
fn a_home_that_is_the_directory_of_credentials_keeps_them() {
    let place = Place::new();
    place.login("login", "u", "p");
    place.secret("key", "ssh-privatekey", "KEY");
    let mut spec = basic_git(&["login=https://h"]);
    spec.ssh_git.push(for_url("key=h"));
    spec.basic_docker.push(for_url("login=h"));
    place.write(&spec);
    let whole = |place: &Place| {
        let files = place.below("creds").into_iter().filter(|name| place.path("creds").join(name).is_file());
        files.map(|name| (place.text(&format!("creds/{name}")), name)).collect::<Vec<_>>()
    };
    let before = whole(&place);
    assert!(before.len() == 5 && before.iter().all(|(text, _)| !text.is_empty()), "{before:?}");
    place.copy_to(&place.path("creds"));
    symlink("creds", place.path("link")).unwrap();
    place.copy_to(&place.path("link/."));
    // A home of its own whose parts lead there, by a symbolic and by a hard link.
    symlink("../creds/.ssh", place.path("home/.ssh")).unwrap();
    symlink("../creds/.gitconfig", place.path("home/.gitconfig")).unwrap();
    fs::hard_link(place.path("creds/.git-credentials"), place.path("home/.git-credentials")).unwrap();
    place.copy_to(&place.path("home"));
    assert_eq!(whole(&place), before);
}

#[test]
fn a_home_below_the_credentials_does_not_fill_the_disk() {
    let place = Place::new();
    fs::create_dir_all(place.path("creds/.docker/home")).unwrap();
    fs::write(place.path("creds/.docker/config.json"), "{}").unwrap();
    place.copy_to(&place.path("creds/.docker/home"));
    assert_eq!(
        place.below("creds"),
        [
            ".docker",
            ".docker/config.json",
            ".docker/home",
            ".docker/home/.docker",
            ".docker/home/.docker/config.json",
            ".docker/home/.docker/home",
        ]
    );
}

#[test]
fn a_home_that_is_missing_is_made_for_a_directory_and_not_for_a_file() {
    let place = Place::new();
    fs::write(place.path("creds/.gitconfig"), "x").unwrap();
    place.copy_to(&place.path("home/of/nobody"));
    assert_eq!(place.below("home"), [""; 0]);
    fs::create_dir(place.path("creds/.docker")).unwrap();
    place.copy_to(&place.path("home/of/nobody"));
    assert_eq!(place.mode("home/of"), place.masked(0o700));
    assert_eq!(place.text("home/of/nobody/.gitconfig"), "x");
}

#[test]
fn no_home_and_no_credentials_are_no_failure() {
    let place = Place::new();
    fs::write(place.path("creds/.gitconfig"), "x").unwrap();
    for home in [None, Some(OsStr::new(""))] {
        credentials::copy_to_home(&place.dirs(), home);
    }
    let nowhere = Dirs { creds: place.path("nowhere"), ..place.dirs() };
    credentials::copy_to_home(&nowhere, Some(place.path("home").as_os_str()));
    assert_eq!(place.below("home"), [""; 0]);
}

#[test]
fn a_home_may_have_a_gitconfig_that_is_a_link_to_nothing() {
    let place = Place::new();
    fs::write(place.path("creds/.gitconfig"), "x").unwrap();
    symlink("/dev/null", place.path("home/.gitconfig")).unwrap();
    place.copy_to(&place.path("home"));
    assert_eq!(fs::read_link(place.path("home/.gitconfig")).unwrap(), Path::new("/dev/null"));
    assert_eq!(fs::metadata("/dev/null").unwrap().mode() & libc::S_IFMT, libc::S_IFCHR);
}

/// What git finds for a URL in a home directory.
fn git_finds(home: &Path, url: &str) -> String {
    let mut child = Command::new(skip::program("git").unwrap())
        .args(["credential", "fill"])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .envs([("HOME", home.as_os_str()), ("GIT_TERMINAL_PROMPT", OsStr::new("0"))])
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    writeln!(child.stdin.take().unwrap(), "url={url}\n").unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)).unwrap_or(&text).to_owned();
    format!("{}:{}", value("username="), value("password="))
}

#[test]
fn git_itself_finds_what_was_written() {
    if !skip::programs("credentials as git reads them", &[("git", "git")]) {
        return;
    }
    let place = Place::new();
    place.login("whole", "me\n", "p@:/ %\n");
    place.login("repo", "you", "q");
    place.login("odd", "a#b;\"c\" \\d", "r");
    place.write(&basic_git(&["whole=git.io", "repo=https://git.io/org/repo.git", "odd=https://odd.io:8443"]));
    place.copy_to(&place.path("home"));
    for (url, found) in [
        ("https://git.io", "me:p@:/ %"),
        ("https://git.io/org/other.git", "me:p@:/ %"),
        ("https://git.io/org/repo.git", "you:q"),
        ("https://odd.io:8443/x", "a#b;\"c\" \\d:r"),
    ] {
        assert_eq!(git_finds(&place.path("home"), url), found, "{url}");
    }
}
