//! A place for a lookup: a registry over TLS on loopback that asks for a password, and a step that has it.

use std::fs;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::oci::{Command, Layout, architecture};
use crate::registry::Registry;
use crate::server::{Answer, Bound, Reply, Request, Server};
use crate::step::Step;
use crate::tls::{Authority, LOOPBACK};

/// What nobody is to find.
pub const PASSWORD: &str = "Zq7-hunter2-horse-battery-staple9";
/// What the token service gives for it.
pub const TOKEN: &str = "tok-Wm4xR8vKq2LzP0sYb7NdTt3HcJfUeGaX";

/// The password as it is shown.
pub fn basic() -> String {
    format!("Basic {}", STANDARD.encode(format!("ann:{PASSWORD}")))
}

/// The directory of everything.
pub struct Place {
    pub dir: tempfile::TempDir,
    layout: Layout,
    authority: Authority,
}

impl Place {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::create(&dir.path().join("layout"));
        let authority = Authority::new("the tests' authority");
        authority.write(dir.path());
        Self { dir, layout, authority }
    }

    /// With an image that runs this.
    pub fn image(mut self, entrypoint: &[&str]) -> Self {
        let image = self.layout.image(architecture(), Command { entrypoint, cmd: &[] }, &[]);
        self.layout.tag("v1", &image);
        self
    }

    /// Somebody on loopback with a certificate that is believed.
    pub fn serve<R: Into<Reply>>(&self, answer: impl Fn(&Request) -> R + Send + Sync + 'static) -> Server {
        Server::handler(Bound::new(), Some(self.authority.server(LOOPBACK)), answer)
    }

    /// What a registry with this image answers.
    pub fn content(&self) -> impl Fn(&Request) -> Answer + Send + Sync + 'static {
        let registry = Registry { layout: self.layout.dir().to_owned(), authorization: None };
        move |request| registry.answer(request)
    }

    /// A registry that gives the image for a token, and the token for the password.
    pub fn private(&self) -> Server {
        let content = self.content();
        let bound = Bound::new();
        let challenge = format!(r#"Bearer realm="https://{}/token",service="registry""#, bound.host());
        Server::handler(bound, Some(self.authority.server(LOOPBACK)), move |request| {
            match (request.path(), request.header("Authorization")) {
                ("/token", Some(shown)) if shown == basic() => {
                    Answer::json(json!({"token": TOKEN, "expires_in": 300}).to_string())
                }
                (path, Some(shown)) if path != "/token" && shown == format!("Bearer {TOKEN}") => content(request),
                _ => Answer::new(401).header("WWW-Authenticate", challenge.clone()),
            }
        })
    }

    pub fn ca(&self) -> PathBuf {
        self.dir.path().join("ca.crt")
    }

    /// The flags of a lookup there.
    pub fn flags(&self, host: &str) -> [String; 2] {
        ["-image_registry_certificate".to_owned(), format!("{host}={}", self.ca().display())]
    }

    /// A step whose command is looked up at a registry.
    pub fn step(&self, host: &str) -> Step {
        Step::new().flags(["-image".to_owned(), format!("{host}/team/tool:v1")]).flags(self.flags(host))
    }

    /// A docker config with the password for a registry; its directory.
    pub fn docker_config(&self, host: &str) -> String {
        let config = json!({"auths": {host: {"username": "ann", "password": PASSWORD}}});
        let dir = self.dir.path().join("docker");
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("config.json"), config.to_string()).unwrap();
        dir.display().to_string()
    }
}
