//! A lookup against the tests' registries: trust, names and settings as values, and the story that it tells.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of this")]
#![allow(clippy::expect_used, clippy::panic, reason = "a test that cannot set up its parts is to fail")]

use std::sync::Arc;
use std::time::Duration;

use entrypoint::credential::{Credential, Note, Proof};
use entrypoint::host::Env;
use entrypoint::http::{NameFiles, Network, RootPlaces};
use entrypoint::image::Running;
use entrypoint::registry::{
    Aim, ClientCertificate, FetchFailure, FetchedImage, Patience, RegistryError, Route, Settings, Shelf, Telling,
    fetch_image, fetch_image_telling,
};
use entrypoint::secret::Secret;
use entrypoint::secrets::Secrets;
use entrypoint::sys::cause::chain;
use entrypoint::trace::Trace;
use rustls::ServerConfig;
use tempfile::TempDir;

use super::tls::{Authority, LOOPBACK};

/// A name that is no loopback name, and leads to 127.0.0.1 by the hosts file of the tests.
pub const FOREIGN: &str = "registry.example";
/// Another one.
pub const FOREIGN_AUTH: &str = "auth.example";
/// What no output may hold.
pub const PASSWORD: &str = "hunter2-secret";

/// Everything that a lookup is given.
pub struct Setup {
    directory: TempDir,
    authority: Authority,
    pub settings: Settings,
    pub tls: Arc<ServerConfig>,
    pub platform: String,
    network: Network,
    files: NameFiles,
}

impl Setup {
    /// An authority whose servers are trusted under every name of the tests, and no pauses.
    pub fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let authority = Authority::new("registry test authority");
        authority.write(directory.path());
        let files =
            NameFiles { resolv_conf: directory.path().join("resolv.conf"), hosts: directory.path().join("hosts") };
        std::fs::write(&files.hosts, format!("127.0.0.1 {FOREIGN} {FOREIGN_AUTH}\n")).expect("hosts");
        let network = Network::with_name_files(&Env::default(), &files).expect("a network");
        // The machine's own authorities are not the tests'.
        let network = network.with_root_places(RootPlaces::default());
        let names: Vec<&str> = LOOPBACK.iter().copied().chain([FOREIGN, FOREIGN_AUTH]).collect();
        Self {
            tls: authority.server(&names),
            authority,
            directory,
            settings: Settings { patience: Patience::without_pauses(), ..Settings::default() },
            platform: "linux/amd64".to_owned(),
            network,
            files,
        }
    }

    /// With this environment; the machine's own authorities are still not looked for.
    pub fn env(mut self, variables: &[(&str, &str)]) -> Self {
        let env: Env = variables.iter().copied().collect();
        let network = Network::with_name_files(&env, &self.files).expect("a network");
        self.network = network.with_root_places(RootPlaces::default().with_env(&env));
        self
    }

    /// The file of the authority's certificate.
    pub fn ca(&self) -> String {
        self.directory.path().join("ca.crt").display().to_string()
    }

    /// What a server needs that wants to be shown a certificate.
    pub fn tls_for_clients(&self) -> Arc<ServerConfig> {
        self.authority.server_for_clients(LOOPBACK)
    }

    /// With a certificate to show to a registry, of an authority.
    pub fn showing(mut self, registry: impl Into<String>, authority: Option<&Authority>) -> Self {
        let leaf = authority.unwrap_or(&self.authority).leaf(&["client"]);
        let [certificate, key] = ["client.crt", "client.key"].map(|name| self.directory.path().join(name));
        std::fs::write(&certificate, &leaf.certificate_pem).expect("a certificate");
        std::fs::write(&key, &leaf.key_pem).expect("a key");
        self.settings.client_certificates.push((registry.into(), ClientCertificate { certificate, key }));
        self
    }

    /// With any certificate accepted for a registry.
    pub fn believing(mut self, registry: impl Into<String>) -> Self {
        self.settings.unverified.push(registry.into());
        self
    }

    /// With the authority's certificate for a registry.
    pub fn trusting(mut self, registry: impl Into<String>) -> Self {
        self.settings.certificates.push((registry.into(), self.directory.path().join("ca.crt")));
        self
    }

    /// With plain http allowed for a registry.
    pub fn insecure(mut self, registry: impl Into<String>) -> Self {
        self.settings.insecure.push(registry.into());
        self
    }

    /// Giving up on a silent server soon: for servers that stay silent until then.
    pub fn impatient(mut self) -> Self {
        self.network = self.network.with_read_timeout(Duration::from_millis(50));
        self
    }

    /// For another platform than `linux/amd64`.
    pub fn wanting(mut self, platform: &str) -> Self {
        self.platform = platform.to_owned();
        self
    }

    /// The lookup. Whatever comes of it, no secret is in it.
    pub fn fetch(&self, reference: &str, credentials: &[Credential]) -> Result<FetchedImage, FetchFailure> {
        let reference = reference.parse().expect("a reference");
        let platform = self.platform.parse().expect("a platform");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let trace = Trace::default();
        let asked = fetch_image(&self.network, &self.settings, &reference, &platform, credentials, &trace);
        let outcome = runtime.block_on(asked);
        let shown = match &outcome {
            Ok(image) => format!("{image:?}"),
            Err(failure) => format!("{failure:?} {}", chain(&failure.error)),
        };
        let shown = format!("{shown} {trace:?}");
        assert!(!shown.contains(PASSWORD), "{shown}");
        outcome
    }

    /// The lookup with what runs and what was looked up before, as far as that is known.
    pub fn fetch_beside(
        &self,
        reference: &str,
        credentials: &[Credential],
        running: Option<&Running>,
        shelf: Option<&Shelf>,
    ) -> Result<FetchedImage, FetchFailure> {
        let reference = reference.parse().expect("a reference");
        let platform = self.platform.parse().expect("a platform");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let (mut notes, trace, secrets) = (Vec::new(), Trace::default(), Secrets::default());
        let aim = Aim { requested: &reference, platform: &platform, running, shelf };
        let (route, keychain) = (Route::direct(reference.clone()), Vec::from(credentials).into_iter());
        let telling = Telling { story: &mut notes, trace: &trace, secrets: &secrets };
        let asked = fetch_image_telling(&self.network, &self.settings, &route, aim, keychain, telling);
        match runtime.block_on(asked) {
            Ok(image) => Ok(FetchedImage { notes, ..image }),
            Err(error) => Err(FetchFailure { error, notes }),
        }
    }

    /// A lookup that must succeed.
    pub fn image(&self, reference: &str, credentials: &[Credential]) -> FetchedImage {
        match self.fetch(reference, credentials) {
            Ok(image) => image,
            Err(failure) => panic!("{}; {:?}", chain(&failure.error), failure.notes),
        }
    }

    /// A lookup that must fail: its sentence, the error, the notes.
    pub fn failure(&self, reference: &str, credentials: &[Credential]) -> (String, RegistryError, Vec<String>) {
        match self.fetch(reference, credentials) {
            Ok(image) => panic!("{image:?}"),
            Err(FetchFailure { error, notes }) => (chain(&error), error, lines(&notes)),
        }
    }
}

/// Notes as they are printed.
pub fn lines(notes: &[Note]) -> Vec<String> {
    notes.iter().map(Note::to_string).collect()
}

/// A user with the password of the tests.
pub fn user(name: &str) -> Credential {
    let proof = Proof::Basic { username: name.to_owned(), password: Secret::new(PASSWORD.to_owned()) };
    Credential { proof, source: format!("pull secret of {name}") }
}

/// An identity token.
pub fn identity() -> Credential {
    Credential { proof: Proof::IdentityToken(Secret::new(PASSWORD.to_owned())), source: "an identity".to_owned() }
}

/// A registry token.
pub fn registry_token() -> Credential {
    Credential { proof: Proof::RegistryToken(Secret::new(PASSWORD.to_owned())), source: "a token".to_owned() }
}
