//! Lookups by what a node says: containerd's and podman's own files lead to the places that these programs ask.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and waits for the processes that it starts"
)]
#![cfg(feature = "lookup")]

#[path = "support/images.rs"]
mod images;
#[path = "node_files/peers.rs"]
mod peers;
#[path = "support/server.rs"]
mod server;
#[path = "support/skip.rs"]
mod skip;
#[path = "support/tls.rs"]
mod tls;

use std::fs;
use std::path::PathBuf;

use entrypoint::credential::{Credential, Note, Proof};
use entrypoint::host::Env;
use entrypoint::http::{NameFiles, Network, RootPlaces};
use entrypoint::image::Reference;
use entrypoint::registry::Places;
use entrypoint::registry::node_files;
use entrypoint::registry::{Aim, FetchedImage, Patience, Settings, Telling, fetch_image_telling};
use entrypoint::secret::Secret;
use entrypoint::secrets::Secrets;
use entrypoint::sys::cause::chain;
use entrypoint::trace::Trace;
use images::{Image, REPOSITORY, serve};
use server::{Answer, Bound, Request, Server, Tls};
use tempfile::TempDir;
use tls::{Authority, LOOPBACK};

/// A name that is no loopback name, and leads to 127.0.0.1 by the hosts file of the tests.
const FOREIGN: &str = "mirror.example";
/// The registry that images name. Nobody is there.
const REGISTRY: &str = "r.example";
/// `Basic` of ann with her password.
const ANN: &str = "Basic YW5uOmh1bnRlcjI=";

/// The files of a node, and a network that knows a name.
struct Node {
    directory: TempDir,
    network: Network,
}

/// What came of the places that were asked.
#[derive(Debug)]
struct Asked {
    found: Option<FetchedImage>,
    /// Why the places before it, or all of them, did not help.
    failures: Vec<String>,
    notes: Vec<String>,
}

impl Node {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let files =
            NameFiles { resolv_conf: directory.path().join("resolv.conf"), hosts: directory.path().join("hosts") };
        fs::write(&files.hosts, format!("127.0.0.1 {FOREIGN}\n")).unwrap();
        let network = Network::with_name_files(&Env::default(), &files).unwrap();
        Self { directory, network: network.with_root_places(RootPlaces::default()) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a file below the directory.
    fn write(&self, name: &str, content: &str) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), content).unwrap();
    }

    /// Writes the `hosts.toml` of a registry.
    fn hosts_toml(&self, registry: &str, content: &str) {
        self.write(&format!("certs.d/{registry}/hosts.toml"), content);
    }

    /// What the files say.
    fn routes(&self, name: &str, image: &str) -> Places {
        let routes = node_files::read(&[self.path(name)]).and_then(|files| files.routes(&image.parse().unwrap()));
        routes.unwrap_or_else(|error| panic!("{}", chain(&error)))
    }

    /// Asks each place until one has the image, as a lookup does, with ann's credential wherever one is for the place.
    fn ask(&self, name: &str, image: &str) -> Asked {
        let Places { routes, notes } = self.routes(name, image);
        let settings = Settings { patience: Patience::without_pauses(), ..Settings::default() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let platform = "linux/amd64".parse().unwrap();
        let mut asked = Asked { found: None, failures: Vec::new(), notes: notes.iter().map(Note::to_string).collect() };
        for route in routes {
            let proof = Proof::Basic { username: "ann".to_owned(), password: Secret::new("hunter2".to_owned()) };
            let ann: Vec<_> =
                route.credentials.then(|| Credential { proof, source: "ann".to_owned() }).into_iter().collect();
            let (mut story, trace) = (Vec::new(), Trace::default());
            let keychain = ann.into_iter();
            let (secrets, network) = (Secrets::default(), &self.network);
            let telling = Telling { story: &mut story, trace: &trace, secrets: &secrets };
            let aim = Aim::at(&route.reference, &platform);
            let asking = fetch_image_telling(network, &settings, &route, aim, keychain, telling);
            match runtime.block_on(asking) {
                Ok(image) => {
                    asked.found = Some(image);
                    break;
                }
                Err(error) => asked.failures.push(chain(&error)),
            }
        }
        asked
    }

    /// The same, where the image must be found, and the failures before that.
    fn found(&self, name: &str, image: &str) -> Vec<String> {
        let asked = self.ask(name, image);
        assert!(asked.found.is_some(), "{asked:?}");
        asked.failures
    }
}

/// The image that every registry here has.
fn app() -> Image {
    Image::new("linux/amd64", "/app")
}

/// A registry that has it, for whom the request is right.
fn registry(tls: Tls, check: impl Fn(&Request) + Clone + Send + 'static) -> Server {
    Server::scripted(Bound::new(), tls, app().exchanges("1", check))
}

/// An address where nobody listens.
fn dead() -> String {
    Bound::new().host()
}

fn asks_for(registry: &'static str) -> impl Fn(&Request) + Clone + Send {
    move |request: &Request| assert_eq!(request.query(), [("ns".to_owned(), registry.to_owned())])
}

/// A foreign name for a server of the tests.
fn foreign(server: &Server) -> String {
    format!("{FOREIGN}:{}", server.address().port())
}

#[test]
fn of_two_mirrors_the_first_is_dead_and_the_image_is_found_at_the_second() {
    let (node, second) = (Node::new(), registry(None, asks_for(REGISTRY)));
    let dead = dead();
    node.hosts_toml(
        REGISTRY,
        &format!("server = 'http://{dead}'\n[host.'http://{dead}']\n[host.'http://{}']\n", second.host()),
    );
    let failures = node.found("certs.d", &format!("{REGISTRY}/{REPOSITORY}:1"));
    assert_eq!(failures, [format!("cannot ask the registry {dead}: connection refused")]);
    assert_eq!(second.finish().len(), 2);
}

#[test]
fn docker_hubs_mirror_is_told_whose_images_it_is_asked_for() {
    let node = Node::new();
    let image = app();
    let path = |kind: &str, what: &str| format!("/team/v2/library/busybox/{kind}/{what}");
    let mirror = Server::scripted(
        Bound::new(),
        None,
        vec![
            serve(&path("manifests", "latest"), &image.manifest, asks_for("docker.io")),
            serve(&path("blobs", &image.config.digest().to_string()), &image.config, asks_for("docker.io")),
        ],
    );
    node.hosts_toml("_default", &format!("[host.'http://{}/team']", mirror.host()));
    assert!(node.found("certs.d", "busybox").is_empty());
    mirror.finish();
}

#[test]
fn a_path_that_is_kept_takes_the_place_of_v2() {
    let node = Node::new();
    let image = app();
    let path = |kind: &str, what: &str| format!("/v2/proxy/{REPOSITORY}/{kind}/{what}");
    let mirror = Server::scripted(
        Bound::new(),
        None,
        vec![
            serve(&path("manifests", "1"), &image.manifest, |_| {}),
            serve(&path("blobs", &image.config.digest().to_string()), &image.config, |_| {}),
        ],
    );
    node.hosts_toml(REGISTRY, &format!("[host.'http://{}/v2/proxy']\noverride_path = true", mirror.host()));
    assert!(node.found("certs.d", &format!("{REGISTRY}/{REPOSITORY}:1")).is_empty());
    mirror.finish();
}

#[test]
fn the_authority_beside_the_file_is_trusted_for_that_mirror() {
    let node = Node::new();
    let authority = Authority::new("the node's");
    let names: Vec<&str> = LOOPBACK.iter().copied().chain([FOREIGN]).collect();
    for (more, believed) in [("ca = 'ca.crt'", true), ("", false), ("skip_verify = true", true)] {
        let tls = Some(authority.server(&names));
        let mirror =
            if believed { registry(tls, asks_for(REGISTRY)) } else { Server::scripted(Bound::new(), tls, vec![]) };
        let (host, dead) = (foreign(&mirror), dead());
        node.hosts_toml(REGISTRY, &format!("server = 'http://{dead}'\n[host.'https://{host}']\n{more}"));
        authority.write(&node.path(&format!("certs.d/{REGISTRY}")));
        let asked = node.ask("certs.d", &format!("{REGISTRY}/{REPOSITORY}:1"));
        assert_eq!(asked.found.is_some(), believed, "{asked:?}");
        if !believed {
            let unknown = "its certificate is signed by an authority that is not trusted here";
            assert!(asked.failures[0].contains(unknown), "{asked:?}");
        }
        mirror.finish();
    }
}

#[test]
fn an_authority_in_the_directory_of_a_registry_is_trusted_for_the_registry_itself() {
    let node = Node::new();
    let authority = Authority::new("the node's");
    let own = registry(Some(authority.server(&[FOREIGN])), |request| assert!(request.query().is_empty()));
    let host = foreign(&own);
    let directory = format!("certs.d/{FOREIGN}_{}_", own.address().port());
    fs::create_dir_all(node.path(&directory)).unwrap();
    authority.write(&node.path(&directory));
    assert!(node.found("certs.d", &format!("{host}/{REPOSITORY}:1")).is_empty());
    own.finish();
}

#[test]
fn a_mirror_over_plain_http_is_shown_what_is_for_it() {
    let node = Node::new();
    let shows_ann = |request: &Request| assert_eq!(request.header("Authorization"), Some(ANN));
    let mirror = registry(None, shows_ann);
    node.hosts_toml(REGISTRY, &format!("[host.'http://{}']", foreign(&mirror)));
    assert!(node.found("certs.d", &format!("{REGISTRY}/{REPOSITORY}:1")).is_empty());
    mirror.finish();
    // With something said of TLS, that is tried first.
    let mirror = registry(None, shows_ann);
    node.hosts_toml(REGISTRY, &format!("[host.'http://{}']\nskip_verify = true", foreign(&mirror)));
    assert!(node.found("certs.d", &format!("{REGISTRY}/{REPOSITORY}:1")).is_empty());
    mirror.finish();
    // https is https: what speaks plain http there is shown nothing.
    let mirror = Server::scripted(Bound::new(), None, vec![]);
    let dead = dead();
    node.hosts_toml(REGISTRY, &format!("server = 'http://{dead}'\n[host.'https://{}']", mirror.host()));
    let asked = node.ask("certs.d", &format!("{REGISTRY}/{REPOSITORY}:1"));
    assert!(asked.failures[0].contains("does not speak TLS"), "{asked:?}");
    mirror.finish();
}

#[test]
fn a_mirror_for_digests_is_not_asked_for_a_tag() {
    let node = Node::new();
    let digest = app().manifest.digest();
    let by_digest = || {
        let image = app();
        vec![
            serve(&image.manifest.manifest_path(), &image.manifest, |_| {}),
            serve(&image.config.blob_path(), &image.config, |_| {}),
        ]
    };
    let digests = Server::scripted(Bound::new(), None, by_digest());
    let tags = registry(None, |_| {});
    let (for_digests, for_tags) = (digests.host(), tags.host());
    node.hosts_toml(
        REGISTRY,
        &format!("server = 'http://{for_tags}'\n[host.'http://{for_digests}']\ncapabilities = ['pull']"),
    );
    let asked = node.ask("certs.d", &format!("{REGISTRY}/{REPOSITORY}:1"));
    assert!(asked.found.is_some() && asked.failures.is_empty(), "{asked:?}");
    let left_out = format!("{for_digests} is not asked for a tag, because it has no capability \"resolve\"");
    assert!(asked.notes[0].ends_with(&left_out), "{asked:?}");
    tags.finish();
    assert!(node.found("certs.d", &format!("{REGISTRY}/{REPOSITORY}@{digest}")).is_empty());
    digests.finish();
}

#[test]
fn podmans_mirrors_are_asked_before_the_location() {
    let node = Node::new();
    let authority = Authority::new("nobody's");
    let missing = Server::handler(Bound::new(), None, |_: &Request| Answer::new(404));
    // What is insecure may show any certificate.
    let location = registry(Some(authority.server(LOOPBACK)), |request| assert!(request.query().is_empty()));
    let table = format!(
        "[[registry]]\nprefix = '{REGISTRY}/team'\nlocation = '{}'\ninsecure = true\n[[registry.mirror]]\nlocation = \
         '{}'\ninsecure = true\n",
        location.host(),
        foreign(&missing)
    );
    node.write("registries.conf", &table);
    let failures = node.found("registries.conf", &format!("{REGISTRY}/team/{REPOSITORY}:1"));
    let absent = format!("has no image {}/{REPOSITORY}:1", foreign(&missing));
    assert!(failures.len() == 1 && failures[0].contains(&absent), "{failures:?}");
    missing.finish();
    location.finish();
}

#[test]
fn what_the_files_do_not_say_is_left_to_the_reference() {
    let node = Node::new();
    node.hosts_toml("other.example", "not even read");
    let routes = node.routes("certs.d", &format!("{REGISTRY}/{REPOSITORY}:1"));
    assert!(routes.routes.is_empty());
    assert!(routes.notes[0].outcome == format!("nothing about {REGISTRY}"), "{routes:?}");
    let reference: Reference = "busybox".parse().unwrap();
    let nothing = node_files::read(&[]).unwrap().routes(&reference).unwrap();
    assert_eq!(nothing, Places::default());
}
