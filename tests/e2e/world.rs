//! A real registry with the images of the tests, what a pod is given to pull from it, and what no output may hold.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tempfile::TempDir;

use crate::registry::{Certificates, PASSWORD, Registry, USER};
use crate::server::Request;
use crate::step::{Ended, Running, Task};
use crate::tls::Authority;
use crate::token_service::{IDENTITY_TOKEN, TokenService};
use crate::{images, skip};

/// What nobody may be shown but the registry and its token service.
pub const WRONG_PASSWORD: &str = "not the password";

/// A registry with TLS, the images of the tests, and a docker config with the right password.
pub struct World {
    pub registry: Registry,
    pub token_service: Option<TokenService>,
    /// How much the token service was asked before the tests began to.
    earlier: usize,
    dir: TempDir,
}

/// A step that has looked its image up, and the one behind it.
pub struct TwoSteps {
    task: Task,
    pub first: Ended,
    pub second: Ended,
}

impl World {
    /// A registry that asks for the password and has these images as `ci/NAME:1`; `None` is a skip.
    pub fn with_password(images: &[&str]) -> Option<Self> {
        Self::start(images, |dir, certificates, _| (Registry::start(dir, certificates), None))
    }

    /// A registry that asks for Bearer tokens of a token service and has the image `ci/echo:1`; `None` is a skip.
    pub fn with_tokens() -> Option<Self> {
        Self::start(&["echo"], |dir, certificates, authority| {
            let service = TokenService::start(authority);
            let registry = Registry::start_with(dir, certificates, &service.configuration(dir));
            (registry, Some(service))
        })
    }

    fn start(
        images: &[&str],
        registry: impl FnOnce(&Path, &Certificates, &Authority) -> (Registry, Option<TokenService>),
    ) -> Option<Self> {
        let wanted = [("busybox", "busybox-static")];
        if !Registry::available("lookups at a real registry") || !skip::programs("images", &wanted) {
            return None;
        }
        let dir = TempDir::new().expect("a directory");
        let authority = Authority::new("the tests' authority");
        let certificates = images::certificates(dir.path(), &authority);
        let (registry, token_service) = registry(dir.path(), &certificates, &authority);
        let layout = images::layout(&dir.path().join("layout"), &skip::busybox().expect("busybox"));
        for name in images {
            registry.push(layout.dir(), name, &format!("ci/{name}:1"));
        }
        images::docker_config(&dir.path().join("docker"), &[registry.host()], PASSWORD);
        let earlier = token_service.as_ref().map_or(0, |service| service.requests().len());
        Some(Self { registry, token_service, earlier, dir })
    }

    /// Where the world's own files are.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// `host:port` of the registry.
    pub fn host(&self) -> &str {
        self.registry.host()
    }

    /// The token service of a world that has one.
    pub fn token_service(&self) -> &TokenService {
        self.token_service.as_ref().expect("a world with a token service")
    }

    /// What the tests have asked the token service for.
    pub fn asked_for_tokens(&self) -> Vec<Request> {
        self.token_service().requests().split_off(self.earlier)
    }

    /// The wrong password from now on.
    pub fn forget_password(&self) {
        images::docker_config(&self.path("docker"), &[self.host()], WRONG_PASSWORD);
    }

    /// The flags by which a step looks up an image.
    pub fn flags(&self, image: &str) -> [String; 4] {
        let certificate = format!("{}={}", self.host(), self.path("authority.pem").display());
        let image = format!("{}/ci/{image}", self.host());
        ["-image".to_owned(), image, "-image_registry_certificate".to_owned(), certificate]
    }

    /// Starts number `index` of a task's steps, which looks up its image.
    pub fn look_up(&self, task: &Task, index: usize, image: &str) -> Running {
        let flags = self.flags(image);
        let docker = self.path("docker").display().to_string();
        task.start(index, &flags.each_ref().map(String::as_str), &[("DOCKER_CONFIG", &docker)])
    }

    /// A step that looks up its image, and one that waits for it: what became of both.
    pub fn two_steps(&self, image: &str) -> TwoSteps {
        self.two_steps_and(image, |_| ())
    }

    /// The same with something that happens to the first step.
    pub fn two_steps_and(&self, image: &str, happens: impl FnOnce(&Running)) -> TwoSteps {
        let task = Task::new();
        let second = task.start(1, &["-entrypoint", "/bin/true"], &[]);
        let first = self.look_up(&task, 0, image);
        happens(&first);
        TwoSteps::of(task, first, second)
    }

    /// What may stand in no output and no file.
    pub fn secrets(&self) -> Vec<String> {
        let mut secrets: Vec<String> = [PASSWORD, WRONG_PASSWORD, IDENTITY_TOKEN].map(str::to_owned).into();
        for password in [PASSWORD, WRONG_PASSWORD] {
            secrets.push(STANDARD.encode(format!("{USER}:{password}")));
            secrets.push(password.replace(' ', "+"));
            secrets.push(password.replace(' ', "%20"));
        }
        secrets.push(STANDARD.encode(format!(":{IDENTITY_TOKEN}")));
        for token in self.token_service.iter().flat_map(TokenService::issued) {
            // Its signature alone would do; the header is the same for all of them.
            secrets.extend(token.rsplit('.').next().map(str::to_owned));
            secrets.push(token);
        }
        secrets
    }
}

impl TwoSteps {
    /// Waits for the end of both.
    pub fn of(task: Task, first: Running, second: Running) -> Self {
        Self { first: first.end(), second: second.end(), task }
    }

    /// Looks for secrets in everything that the steps have printed and written.
    pub fn keep_secrets(&self, world: &World) {
        let ended = [&self.first, &self.second];
        let texts = ended.iter().flat_map(|ended| [&ended.stdout, &ended.stderr]);
        nowhere(&world.secrets(), texts.map(String::as_str), &[self.task.path()]);
    }

    /// A step that was not run because its image was not looked up, as the contract has it: `.err`, no exit code in a
    /// file, a message with its reason and the sentence; one sentence on stderr, which is returned; no secret anywhere;
    /// and the next step is released, to be skipped.
    pub fn not_run(&self, world: &World, reason: &str) -> String {
        let (first, second) = (&self.first, &self.second);
        assert_eq!((first.post, first.stdout.as_str()), (Some("out.err"), ""), "{first:?}");
        assert_eq!(first.exit_code, None, "{first:?}");
        assert_eq!(first.said("Reason").as_deref(), Some(reason), "{first:?}");
        assert!(first.said("StartedAt").is_some(), "{first:?}");
        let [sentence] = first.stderr.lines().collect::<Vec<_>>()[..] else { panic!("one sentence: {first:?}") };
        let told = first.said("entrypoint/error").expect("the message holds the sentence");
        assert!(sentence.contains(told.trim_end_matches("...")), "{first:?}");
        assert_eq!((second.code, second.post), (Some(1), Some("out.err")), "{second:?}");
        assert_eq!(second.said("Reason").as_deref(), Some("Skipped"), "{second:?}");
        self.keep_secrets(world);
        sentence.to_owned()
    }

    /// A lookup that failed, with exit code 1: its sentence.
    pub fn failure(&self, world: &World) -> String {
        assert_eq!(self.first.code, Some(1), "{:?}", self.first);
        self.not_run(world, "ImageLookupFailed")
    }

    /// A step that ran what the image says, and was followed by the next one.
    pub fn ran(&self, world: &World, printed: &str) {
        let (first, second) = (&self.first, &self.second);
        assert_eq!((first.code, first.post), (Some(0), Some("out")), "{first:?}");
        assert_eq!((first.stdout.as_str(), first.stderr.as_str()), (printed, ""), "{first:?}");
        assert_eq!(first.exit_code.as_deref(), Some("0"), "{first:?}");
        assert_eq!((second.code, second.post), (Some(0), Some("out")), "{second:?}");
        self.keep_secrets(world);
    }
}

/// Fails when one of the secrets stands in a text, in a file below one of the directories, or in the file's name.
pub fn nowhere<'t>(secrets: &[String], texts: impl IntoIterator<Item = &'t str>, dirs: &[&Path]) {
    let check = |place: &str, bytes: &[u8]| {
        for secret in secrets {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "a secret stands in {place}: {secret}\n{}", String::from_utf8_lossy(bytes));
        }
    };
    for text in texts {
        check("an output", text.as_bytes());
    }
    for dir in dirs {
        let files = files(dir);
        assert!(!files.is_empty(), "nothing to look at in {}", dir.display());
        for file in files {
            let name = file.display().to_string();
            check(&name, name.as_bytes());
            check(&name, &fs::read(&file).unwrap_or_default());
        }
    }
}

/// The files below a directory. Links are not followed.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry")) {
        if entry.file_type().expect("a type").is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found
}
