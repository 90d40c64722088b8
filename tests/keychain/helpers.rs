//! Credential helpers as real programs: what they are asked, what becomes of each answer, and that none outlives its
//! lookup.

use std::fs::OpenOptions;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;

use entrypoint::secret::Secret;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::Value;

use super::*;

/// A container: its `PATH` and its docker config.
struct Container {
    dir: TempDir,
    limit: Duration,
}

impl Container {
    fn new(config: &Value) -> Self {
        let dir = TempDir::new().expect("a directory");
        fs::write(dir.path().join("config.json"), config.to_string()).expect("a file");
        fs::create_dir(dir.path().join("bin")).expect("a directory");
        Self { dir, limit: PATIENT }
    }

    /// A container whose config has this helper for all registries.
    fn with_store(script: &str) -> Self {
        let container = Self::new(&json!({"credsStore": "test"}));
        container.program("bin/docker-credential-test", script);
        container
    }

    /// Writes a shell script. Not this process does: a program that is open for writing anywhere cannot be run, and the
    /// other tests' processes begin as copies of this one.
    fn program(&self, name: &str, script: &str) {
        let mut shell = Command::new("/bin/sh")
            .args(["-c", "cat > \"$0\" && chmod 755 \"$0\""])
            .arg(self.dir.path().join(name))
            .stdin(Stdio::piped())
            .spawn()
            .expect("a shell");
        let text = format!("#!/bin/sh\n{script}\n");
        shell.stdin.take().expect("its stdin").write_all(text.as_bytes()).expect("it reads");
        assert!(shell.wait().expect("it ends").success());
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    fn env(&self) -> Env {
        let system = "/usr/bin:/bin".to_owned();
        [
            ("DOCKER_CONFIG", self.dir.path().display().to_string()),
            ("PATH", format!("{}:{system}", self.path("bin"))),
            ("DIR", self.dir.path().display().to_string()),
        ]
        .into_iter()
        .collect()
    }

    fn find_in(&self, env: &Env, registry: &str) -> Found {
        let helpers = Helpers::Run { timeout: self.limit };
        block_on(config_files::credentials(env, &helpers, registry, "team/app"))
    }

    fn find(&self) -> Found {
        self.find_in(&self.env(), "ghcr.io")
    }

    /// The notes of a lookup in which nobody helped, without the directory's name.
    #[track_caller]
    fn notes(&self) -> Vec<String> {
        self.notes_of(&self.find())
    }

    #[track_caller]
    fn notes_of(&self, found: &Found) -> Vec<String> {
        assert_eq!(found.credentials, []);
        assert!(!format!("{found:?}").contains(PASSWORD), "{found:?}");
        found.notes.iter().map(|note| note.to_string().replace(&self.dir.path().display().to_string(), "DIR")).collect()
    }
}

fn basic(username: &str) -> Proof {
    Proof::Basic { username: username.to_owned(), password: Secret::new(PASSWORD.to_owned()) }
}

fn answer(username: &str) -> String {
    format!("echo '{{\"ServerURL\": \"x\", \"Username\": \"{username}\", \"Secret\": \"{PASSWORD}\"}}'")
}

/// What is said of the entries when the helper did not help.
const NO_ENTRY: &str = "docker config DIR/config.json: no entry for ghcr.io/team/app; it has none";

#[test]
fn a_helper_is_asked_as_docker_asks_it() {
    let container = Container::with_store(&format!(
        "cat > \"$DIR/stdin\"; echo \"$0 $*\" > \"$DIR/argv\"; env > \"$DIR/env\"; {}",
        answer("me")
    ));
    let found = container.find();
    assert_eq!(found.notes, []);
    assert!(!found.deferred);
    let [credential] = found.credentials.as_slice() else { panic!("{found:?}") };
    assert_eq!(credential.proof, basic("me"));
    assert_eq!(credential.source, format!("docker config {}, credsStore \"test\"", container.path("config.json")));
    assert!(!format!("{found:?}").contains(PASSWORD));
    let written = |name: &str| fs::read_to_string(container.path(name)).expect("the helper wrote it");
    assert_eq!(written("stdin"), "ghcr.io\n");
    assert_eq!(written("argv"), format!("{} get\n", container.path("bin/docker-credential-test")));
    let env = written("env");
    assert!(env.contains(&format!("DOCKER_CONFIG={}\n", container.dir.path().display())), "{env}");
    assert!(!env.contains("CARGO"), "the pod's environment, not this process's: {env}");

    container.find_in(&container.env(), "index.docker.io");
    assert_eq!(written("stdin"), "https://index.docker.io/v1/\n");
}

#[test]
fn an_identity_token_is_told_by_its_user_name() {
    let found = Container::with_store(&answer("<token>")).find();
    let [credential] = found.credentials.as_slice() else { panic!("{found:?}") };
    assert_eq!(credential.proof, Proof::IdentityToken(Secret::new(PASSWORD.to_owned())));
}

#[test]
fn the_helper_comes_before_the_entries_of_its_file() {
    let entry = json!({"username": "entry", "password": PASSWORD});
    let config = json!({
        "auths": {"ghcr.io": entry, "ghcr.io/team": {}},
        "credHelpers": {"ghcr.io": "own"},
        "credsStore": "all",
    });
    let container = Container::new(&config);
    container.program("bin/docker-credential-own", &answer("helper"));
    container.program("bin/docker-credential-all", "touch \"$DIR/asked\"");
    let found = container.find();
    assert_eq!(found.notes, []);
    let file = container.path("config.json");
    assert_eq!(
        found
            .credentials
            .iter()
            .map(|credential| (credential.source.clone(), credential.proof.clone()))
            .collect::<Vec<_>>(),
        [
            (format!("docker config {file}, credHelpers \"own\" for \"ghcr.io\""), basic("helper")),
            (format!("docker config {file}, key \"ghcr.io\""), basic("entry")),
        ]
    );
    assert!(!Path::new(&container.path("asked")).exists(), "one helper is asked");
}

#[test]
fn every_way_in_which_a_helper_does_not_help_is_a_note_without_its_words() {
    let p = "docker config DIR/config.json, credsStore \"test\": ";
    let to_read_why = "to read why, run `echo ghcr.io | docker-credential-test get` in the step's image";
    for (script, expected) in [
        (
            "echo 'credentials not found in native keychain'; exit 1".to_owned(),
            "it has no credential for \"ghcr.io\"".to_owned(),
        ),
        (r#"echo '{"Username": "", "Secret": ""}'"#.to_owned(), "it has no credential for \"ghcr.io\"".to_owned()),
        (
            format!("echo {PASSWORD}; echo {PASSWORD} >&2; exit 3"),
            format!("docker-credential-test failed with exit code 3; {to_read_why}"),
        ),
        (format!("{}; exit 1", answer("me")), format!("docker-credential-test failed with exit code 1; {to_read_why}")),
        ("kill -9 $$".to_owned(), format!("docker-credential-test was killed by signal 9; {to_read_why}")),
        (
            format!("echo {PASSWORD}"),
            "docker-credential-test answered with something else than a JSON object of texts".to_owned(),
        ),
        (
            "true".to_owned(),
            "docker-credential-test answered with something else than a JSON object of texts".to_owned(),
        ),
        (r"printf '\377\376'".to_owned(), "docker-credential-test answered with something else than UTF-8".to_owned()),
        (answer(""), "docker-credential-test answered with a secret but without a user name".to_owned()),
        (
            "exec cat /dev/zero".to_owned(),
            "docker-credential-test answered with more than 65536 bytes and was killed".to_owned(),
        ),
    ] {
        let container = Container::with_store(&script);
        assert_eq!(container.notes(), [format!("{p}{expected}"), NO_ENTRY.to_owned()], "{script}");
    }
}

#[test]
fn a_helper_that_does_not_read_may_still_answer() {
    let found = Container::with_store(&format!("exec <&-; {}", answer("me"))).find();
    assert_eq!(found.credentials.len(), 1, "{found:?}");
}

#[test]
fn a_helper_that_never_answers_is_killed() {
    let mut container = Container::with_store("exec sleep 1000");
    container.limit = IMPATIENT;
    assert_eq!(
        container.notes(),
        [
            "docker config DIR/config.json, credsStore \"test\": docker-credential-test gave no answer within 1s and \
             was killed",
            NO_ENTRY,
        ]
    );
}

#[test]
fn what_a_helper_started_is_killed_with_it() {
    // Both hold the FIFO open; it is at its end when neither is left.
    let container = Container::with_store("exec 3>\"$DIR/alive\"; sleep 1000 & cat /dev/zero; wait");
    let fifo = container.dir.path().join("alive");
    mkfifo(&fifo, Mode::S_IRWXU).expect("a FIFO");
    let mut reader = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&fifo).expect("the FIFO");
    assert!(container.notes()[0].ends_with("answered with more than 65536 bytes and was killed"));
    nix::fcntl::fcntl(&reader, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::empty())).expect("it blocks");
    let (done, ended) = mpsc::channel();
    std::thread::spawn(move || done.send(reader.read(&mut [0]).expect("it can be read")));
    assert_eq!(ended.recv_timeout(PATIENT), Ok(0), "a child of the helper is left");
}

#[test]
fn a_helper_is_looked_for_in_absolute_directories_only() {
    let container = Container::with_store(&answer("me"));
    fs::create_dir(container.path("first")).expect("a directory");
    fs::write(container.path("first/docker-credential-test"), "not executable").expect("a file");
    let with_path = |path: Option<&str>| {
        let variables = container.env();
        let others = variables.iter().filter(|(name, _)| *name != "PATH");
        let path = path.map(|path| ("PATH".into(), path.into()));
        let env: Env = others.map(|(name, value)| (name.to_owned(), value.to_owned())).chain(path).collect();
        container.find_in(&env, "ghcr.io")
    };
    // The same directory, as it is seen from the working directory.
    let here = std::env::current_dir().expect("a working directory");
    let relative = format!("{}{}", "../".repeat(here.components().count() - 1), &container.path("bin")[1..]);
    assert!(Path::new(&relative).join("docker-credential-test").exists());
    let path = format!("relative::{}:{}", container.path("first"), container.path("bin"));
    assert_eq!(with_path(Some(&path)).credentials.len(), 1);
    for (path, expected) in [
        (Some(relative.as_str()), format!("PATH is \"{relative}\"")),
        (Some(""), "PATH is \"\"".to_owned()),
        (None, "PATH is not set".to_owned()),
    ] {
        let expected = expected.replace(&container.dir.path().display().to_string(), "DIR");
        let start = "docker config DIR/config.json, credsStore \"test\": docker-credential-test was not found";
        assert_eq!(container.notes_of(&with_path(path)), [format!("{start}: {expected}"), NO_ENTRY.to_owned()]);
    }
}

#[test]
fn a_helper_that_cannot_be_started_is_a_note() {
    let container = Container::new(&json!({"credsStore": "test"}));
    let status = Command::new("/bin/sh")
        .args(["-c", "printf '#!/nonexistent/interpreter\\n' > \"$0\" && chmod 755 \"$0\""])
        .arg(container.path("bin/docker-credential-test"))
        .status()
        .expect("a shell");
    assert!(status.success());
    assert_eq!(
        container.notes()[0],
        "docker config DIR/config.json, credsStore \"test\": DIR/bin/docker-credential-test cannot be started: \
         no such file or directory"
    );
}

#[test]
fn a_helper_that_may_not_run_is_named_with_the_reason_and_what_to_do() {
    let container = Container::with_store("touch \"$DIR/asked\"");
    let find = |why| {
        let env = container.env();
        block_on(config_files::credentials(&env, &Helpers::Not(why), "ghcr.io", "team/app"))
    };
    for (why, expected, deferred) in [
        (
            NotRun::NotAllowed,
            "not run: it is a program of the step's image; -image_exec_helpers allows it, or use a pull secret",
            false,
        ),
        (
            NotRun::Hermetic,
            "not run: it is a program of the step's image, and the step is hermetic (TEKTON_HERMETIC=1); \
             use a pull secret",
            false,
        ),
        (NotRun::BeforeTurn, "not run yet: it is a program of the step's image, and waits for the step's turn", true),
    ] {
        let found = find(why);
        assert_eq!(found.deferred, deferred);
        assert_eq!(
            container.notes_of(&found),
            [format!("docker config DIR/config.json, credsStore \"test\": {expected}"), NO_ENTRY.to_owned()]
        );
        // What was deferred stays so among the other sources.
        let mut all = Found::default();
        all.merge(found);
        all.merge(Found::default());
        assert_eq!(all.deferred, deferred);
    }
    assert!(!Path::new(&container.path("asked")).exists());
}

#[test]
fn a_name_that_is_no_name_is_not_run() {
    let container = Container::new(&json!({"credsStore": "../evil"}));
    container.program("evil", "touch \"$DIR/asked\"");
    assert_eq!(
        container.notes(),
        [
            "docker config DIR/config.json: \"../evil\" cannot be the name of a helper: \
             letters, digits, `.`, `_` and `-` can",
            NO_ENTRY,
        ]
    );
    assert!(!Path::new(&container.path("asked")).exists());
}

#[test]
fn podmans_files_name_helpers_too() {
    let container = Container::with_store(&answer("me"));
    let env: Env = container
        .env()
        .iter()
        .filter(|(name, _)| *name != "DOCKER_CONFIG")
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .chain([("REGISTRY_AUTH_FILE".into(), container.path("config.json").into())])
        .collect();
    let found = container.find_in(&env, "ghcr.io");
    let [credential] = found.credentials.as_slice() else { panic!("{found:?}") };
    assert_eq!(credential.source, format!("podman auth file {}, credsStore \"test\"", container.path("config.json")));
}
