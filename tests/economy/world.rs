//! The built binary between a registry and a directory that its processes share.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::oci::{self, Layout, architecture};
use crate::registry::Registry;
use crate::server::{Bound, Reply, Request, Server};
use crate::step::{Step, entrypoint};
use crate::tls::{Authority, LOOPBACK};

/// What there is beside the program: a registry's content, who vouches for it, and the shared directory.
pub struct World {
    dir: tempfile::TempDir,
    layout: Layout,
    authority: Authority,
    /// The digest of what the tag `v1` leads to, which is an image alone.
    pub manifest: String,
    /// Of its config.
    pub config: String,
    /// Of an index with it, to which `v2` leads.
    pub index: String,
}

/// What `resolve` told.
pub struct Told {
    pub code: Option<i32>,
    pub story: Value,
    pub stderr: String,
}

impl World {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        let mut layout = Layout::create(&dir.path().join("layout"));
        let command = oci::Command { entrypoint: &["/bin/echo", "from", "the"], cmd: &["image"] };
        let image = layout.image(architecture(), command, &[]);
        let other = layout.image("s390x", oci::Command::default(), &[]);
        let index = layout.index(&[other, image.clone()]);
        layout.tag("v1", &image);
        layout.tag("v2", &index);
        let digest = |descriptor: &Value| descriptor["digest"].as_str().unwrap().to_owned();
        let (manifest, index) = (digest(&image), digest(&index));
        let document = fs::read(layout.dir().join("blobs").join(manifest.replace(':', "/"))).unwrap();
        let config = digest(&serde_json::from_slice::<Value>(&document).unwrap()["config"]);
        let authority = Authority::new("the tests' authority");
        authority.write(dir.path());
        // As kubelet makes an emptyDir.
        let world = Self { dir, layout, authority, manifest, config, index };
        world.make_shared();
        world
    }

    fn make_shared(&self) {
        fs::create_dir(self.shared()).unwrap();
        fs::set_permissions(self.shared(), Permissions::from_mode(0o777)).unwrap();
    }

    /// A path of the test's own.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The directory that every step mounts.
    pub fn shared(&self) -> PathBuf {
        self.path("shared")
    }

    /// The cache in it.
    pub fn cache(&self) -> PathBuf {
        self.shared().join("images")
    }

    /// The file of a document in the cache.
    pub fn entry(&self, digest: &str) -> PathBuf {
        self.cache().join("blobs").join(digest.replace(':', "/"))
    }

    /// The only lock that was made in the cache.
    pub fn lock(&self) -> PathBuf {
        let own = fs::read_dir(self.cache().join("entrypoint")).unwrap();
        let locks =
            own.map(|entry| entry.unwrap()).filter(|entry| entry.file_name().to_string_lossy().starts_with("lock-"));
        let [lock] = &locks.collect::<Vec<_>>()[..] else { panic!("one lock") };
        lock.path()
    }

    /// What a document is.
    pub fn document(&self, digest: &str) -> Vec<u8> {
        fs::read(self.layout.dir().join("blobs").join(digest.replace(':', "/"))).unwrap()
    }

    /// A registry over TLS; what is asked passes by `look` first.
    pub fn serve_watched(&self, look: impl Fn(&Request) + Send + Sync + 'static) -> Server {
        let registry = Registry { layout: self.layout.dir().to_owned(), authorization: None };
        Server::handler(Bound::new(), Some(self.authority.server(LOOPBACK)), move |request| -> Reply {
            look(request);
            registry.answer(request).into()
        })
    }

    pub fn serve(&self) -> Server {
        self.serve_watched(|_| {})
    }

    /// The image and the flags of a lookup that shares the directory.
    pub fn flags(&self, registry: &Server, tag: &str, cache: &Path) -> [String; 5] {
        let host = registry.host();
        let certificate = format!("{host}={}", self.path("ca.crt").display());
        let separator = if tag.starts_with("sha256:") { '@' } else { ':' };
        let image = format!("{host}/team/tool{separator}{tag}");
        let cache = cache.display().to_string();
        [image, "-image_registry_certificate".to_owned(), certificate, "-image_cache_dir".to_owned(), cache]
    }

    /// `resolve IMAGE` with these flags, as JSON.
    pub fn command(&self, registry: &Server, tag: &str, cache: &Path) -> Command {
        self.command_under(&[], registry, tag, cache)
    }

    /// The same by another command, as in `unshare -m`.
    pub fn command_under(&self, wrapper: &[&str], registry: &Server, tag: &str, cache: &Path) -> Command {
        let program = entrypoint().to_str().unwrap();
        let mut words = wrapper.iter().copied().chain([program, "resolve"]);
        let mut command = Command::new(words.next().unwrap());
        command.args(words).args(self.flags(registry, tag, cache)).args(["-o", "json"]);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.current_dir(self.dir.path()).stdin(Stdio::null());
        command
    }

    /// `resolve` of a tag, in time.
    #[track_caller]
    pub fn resolve(&self, registry: &Server, tag: &str) -> Told {
        let told = told(self.command(registry, tag, &self.cache()).args(["-image_lookup_timeout", "5s"]));
        told.is_right();
        told
    }

    /// A step of the image, which echoes.
    pub fn step(&self, registry: &Server, tag: &str) -> Step {
        Step::new().flags(["-image"]).flags(self.flags(registry, tag, &self.cache()))
    }
}

/// Runs to the end.
#[track_caller]
pub fn told(command: &mut Command) -> Told {
    let output = command.output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    let story = serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}{stderr}"));
    Told { code: output.status.code(), story, stderr }
}

impl Told {
    /// The image's command was found.
    #[track_caller]
    pub fn is_right(&self) {
        assert_eq!((self.code, self.stderr.as_str()), (Some(0), ""), "{:#}", self.story);
        assert_eq!(self.story["command"], serde_json::json!(["/bin/echo", "from", "the", "image"]), "{:#}", self.story);
    }

    /// What was told of the cache.
    pub fn of_the_cache(&self) -> Vec<String> {
        let notes = self.story["notes"].as_array().unwrap();
        let of_it = notes.iter().filter(|note| note["source"].as_str().unwrap().starts_with("cache "));
        of_it.map(|note| note["outcome"].as_str().unwrap().to_owned()).collect()
    }

    /// One thing was told of the cache, which has these parts.
    #[track_caller]
    pub fn says(&self, parts: &[&str]) {
        let notes = self.of_the_cache();
        let [note] = &notes[..] else { panic!("one note: {notes:#?}") };
        for part in parts {
            assert!(note.contains(part), "no {part:?} in: {note}");
        }
    }
}

/// What a registry was asked, in words, sorted: `GET config`, `GET manifest`, `GET v1`, `HEAD v1`.
pub fn asked(registry: &Server) -> Vec<String> {
    let words = |request: Request| {
        let path = request.path().to_owned();
        let (kind, identifier) = path.rsplit_once('/').unwrap();
        let word = match identifier.strip_prefix("sha256:") {
            None => identifier,
            Some(_) if kind.ends_with("/blobs") => "config",
            Some(_) => "manifest",
        };
        format!("{} {word}", request.method)
    };
    let mut asked: Vec<String> = registry.requests().into_iter().map(words).collect();
    asked.sort();
    asked
}
