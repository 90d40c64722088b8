//! A registry behind a wire, who asks it, and what may come of it: the right command, or one sentence about it.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use entrypoint::credential::{Credential, Proof};
use entrypoint::host::Env;
use entrypoint::http::{NameFiles, Network, RootPlaces};
use entrypoint::image::Digest;
use entrypoint::registry::{FetchFailure, FetchedImage, Patience, Settings, fetch_image};
use entrypoint::secret::Secret;
use entrypoint::sys::cause::chain;
use entrypoint::trace::Trace;
use tempfile::TempDir;

use super::origin::{Asked, Connections, Documents, Login, Origin};
use super::wire::{Trip, Weather, Wire};
use crate::images::REPOSITORY;
use crate::tls::{Authority, LOOPBACK};

/// A lookup that takes longer has hung: no fault is waited for that long, whatever else the machine does.
const HUNG: Duration = Duration::from_secs(60);
/// The longest sentence, in characters.
const SENTENCE: usize = 700;

/// Over what a registry is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    Plain,
    Tls,
}

/// A kind of registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    pub over: Over,
    pub login: Login,
    pub connections: Connections,
}

impl Kind {
    pub fn scheme(self) -> &'static str {
        match self.over {
            Over::Plain => "http",
            Over::Tls => "https",
        }
    }
}

/// How long a client bears silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patient {
    Yes,
    /// So many milliseconds.
    For(u64),
}

/// A registry behind a wire, and a client that trusts it.
pub struct World {
    pub kind: Kind,
    dir: TempDir,
    /// The wire, as a registry.
    pub host: String,
    wire: Wire,
    _origin: Origin,
    network: Network,
    settings: Settings,
}

/// What came of a lookup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Came {
    Right,
    Told(String),
}

impl World {
    /// A registry that keeps to HTTP.
    pub fn new(kind: Kind, patient: Patient) -> Self {
        let documents = Documents::new();
        Self::saying(kind, patient, Wire::new, move |kind, realm, asked| {
            documents.answer(kind.login, kind.scheme(), realm, asked).framed(kind.connections)
        })
    }

    /// A registry that says what a closure says, which is told the host of the realm, behind this kind of wire.
    pub fn saying(
        kind: Kind,
        patient: Patient,
        wire: fn(TcpListener, SocketAddr) -> Wire,
        say: impl Fn(Kind, &str, &Asked) -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let authority = authority();
        let ca = authority.write(dir.path());
        let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback address");
        let host = listener.local_addr().expect("an address").to_string();
        let tls = (kind.over == Over::Tls).then(|| authority.server(LOOPBACK));
        let realm = host.replace("127.0.0.1", "localhost");
        let origin = Origin::new(tls, kind.connections, Arc::new(move |asked: &Asked| say(kind, &realm, asked)));
        // No names: nobody outside is asked, whatever a broken byte makes of a host.
        let files = NameFiles { resolv_conf: dir.path().join("resolv.conf"), hosts: dir.path().join("hosts") };
        let network = Network::with_name_files(&Env::default(), &files).expect("a network");
        let network = network.with_root_places(RootPlaces::default());
        let network = match patient {
            Patient::Yes => network,
            Patient::For(milliseconds) => {
                let limit = Duration::from_millis(milliseconds);
                network.with_read_timeout(limit).with_connect_timeout(limit)
            }
        };
        let certificates = if kind.over == Over::Tls { vec![(host.clone(), ca)] } else { Vec::new() };
        let settings = Settings { certificates, patience: Patience::without_pauses(), ..Settings::default() };
        Self { kind, dir, wire: wire(listener, origin.address), host, _origin: origin, network, settings }
    }

    /// What goes over the wire from now on meets this.
    pub fn begin(&self, weather: Weather) -> Arc<Trip> {
        self.wire.begin(weather)
    }

    /// The reference of the image.
    pub fn image(&self) -> String {
        format!("{}/{REPOSITORY}:1", self.host)
    }

    /// The file of the authority that the registry's certificate is of.
    pub fn ca(&self) -> PathBuf {
        self.dir.path().join("ca.crt")
    }

    /// The reference of a digest.
    pub fn image_of(&self, digest: &Digest) -> String {
        format!("{}/{REPOSITORY}@{digest}", self.host)
    }

    /// One lookup in this weather.
    pub fn lookup(&self, weather: Weather) -> (Came, Arc<Trip>) {
        let trip = self.begin(weather);
        (self.came(&self.image(), "right"), trip)
    }

    /// One lookup of a reference; it must be this word's command if it is any.
    pub fn came(&self, reference: &str, word: &str) -> Came {
        let proof = || Proof::Basic { username: "user".to_owned(), password: Secret::new("hunter2".to_owned()) };
        let credentials: Vec<_> = (self.kind.login != Login::Nobody)
            .then(|| Credential { proof: proof(), source: "the tests".to_owned() })
            .into_iter()
            .collect();
        let reference = reference.parse().expect("a reference");
        let platform = "linux/amd64".parse().expect("a platform");
        let trace = Trace::default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let asked = fetch_image(&self.network, &self.settings, &reference, &platform, &credentials, &trace);
        let outcome = runtime.block_on(async { tokio::time::timeout(HUNG, asked).await.expect("it hangs") });
        self.judged(outcome, word)
    }

    fn judged(&self, outcome: Result<FetchedImage, FetchFailure>, word: &str) -> Came {
        let (came, notes) = match outcome {
            Ok(image) => {
                let argv: Vec<_> = image.config.entrypoint.iter().chain(&image.config.cmd).collect();
                assert_eq!(argv, ["/bin/echo", word], "another command");
                (Came::Right, image.notes)
            }
            Err(FetchFailure { error, notes }) => {
                let sentence = chain(&error);
                let port = self.host.trim_start_matches("127.0.0.1");
                let told = sentence.contains(port) || sentence.contains("the token service ");
                assert!(told, "it does not say who: {sentence}");
                is_sentence(&sentence);
                (Came::Told(sentence), notes)
            }
        };
        for note in notes {
            is_sentence(&note.to_string());
        }
        came
    }
}

/// One line, bounded, with nothing that a terminal would take for more than text, and without the password.
pub fn is_sentence(text: &str) {
    assert!(!text.is_empty() && !text.contains(char::is_control), "no line of text: {text:?}");
    assert!(text.chars().count() <= SENTENCE, "{} characters: {text}", text.chars().count());
    assert!(!text.contains("hunter2") && !text.contains("dXNlcjpodW50ZXIy"), "{text}");
}

/// One for all: keys take time to make.
fn authority() -> &'static Authority {
    static AUTHORITY: OnceLock<Authority> = OnceLock::new();
    AUTHORITY.get_or_init(|| Authority::new("the wires' authority"))
}
