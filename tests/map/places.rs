//! One place after the other, over loopback: which is asked, what it is shown, and how it is told.

use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::kube_api::{self, Cluster, KubeApi};
use crate::oci::{self, Layout, architecture};
use crate::registry::Registry;
use crate::server::{Answer, Bound, Reply, Request, Server};
use crate::step::{self, Step, eventually};
use crate::tls::{Authority, LOOPBACK};

/// What the image of the registries runs.
const ENTRYPOINT: &str = "/bin/tool";
const HOST: &str = "ACTIONS_RUNNER_CONTAINER_HOOKS_REGISTRY_HOST";
const PORT: &str = "ACTIONS_RUNNER_CONTAINER_HOOKS_REGISTRY_PORT";
const NODE_PORT: &str = "ACTIONS_RUNNER_CONTAINER_HOOKS_REGISTRY_NODE_PORT";

/// The content of the registries, and whom they are vouched for by.
struct World {
    dir: tempfile::TempDir,
    layout: Layout,
    authority: Authority,
    /// The digest of the image's manifest.
    digest: String,
}

/// What a run left.
#[derive(Debug)]
struct Told {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut layout = Layout::create(&dir.path().join("layout"));
        let image = layout.image(architecture(), oci::Command { entrypoint: &[ENTRYPOINT], cmd: &[] }, &[]);
        layout.tag("v1", &image);
        let authority = Authority::new("the tests' authority");
        authority.write(dir.path());
        Self { dir, layout, authority, digest: image["digest"].as_str().unwrap().to_owned() }
    }

    fn content(&self, authorization: Option<&str>) -> Registry {
        Registry { layout: self.layout.dir().to_owned(), authorization: authorization.map(str::to_owned) }
    }

    /// A registry that has the image, over TLS, for whoever shows this.
    fn serve(&self, authorization: Option<&str>) -> Server {
        let content = self.content(authorization);
        self.secure(Bound::new(), move |request| content.answer(request))
    }

    fn secure<R: Into<Reply>>(&self, bound: Bound, handle: impl Fn(&Request) -> R + Send + Sync + 'static) -> Server {
        Server::handler(bound, Some(self.authority.server(LOOPBACK)), handle)
    }

    /// Nobody, who is not to be asked either: a server that fails the test.
    fn nobody(&self) -> Server {
        self.secure::<Answer>(Bound::new(), |request| panic!("not to be asked: {}", request.line()))
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(step::entrypoint());
        command.args(args).env_clear().current_dir(self.dir.path()).stdin(Stdio::null());
        command.env("SSL_CERT_FILE", self.dir.path().join("ca.crt"));
        command
    }

    fn resolve(&self, image: &str, flags: &[&str]) -> Told {
        told(&mut self.command(&[&["resolve", image], flags].concat()))
    }

    /// Docker's config with a password for each of these, the same as its name.
    fn docker_config(&self, users: &[(&str, &str)]) {
        let auths: serde_json::Map<_, _> = users
            .iter()
            .map(|(host, user)| ((*host).to_owned(), json!({"auth": STANDARD.encode(pair(user))})))
            .collect();
        std::fs::write(self.dir.path().join("config.json"), json!({"auths": auths}).to_string()).unwrap();
    }

    /// In a pod of this cluster, whose service account is `ci/builder`.
    fn in_pod(&self, api: &KubeApi, args: &[&str]) -> Told {
        let mount = self.dir.path().join("account");
        std::fs::create_dir_all(&mount).unwrap();
        api.mount(&mount, "ci", "builder");
        let dir = ["-service_account_dir", mount.to_str().unwrap()];
        told(self.command(&[args, &dir].concat()).envs(api.env()))
    }
}

fn told(command: &mut Command) -> Told {
    let output = command.output().unwrap();
    let [stdout, stderr] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    Told { code: output.status.code(), stdout, stderr }
}

impl Told {
    /// Fails unless the image was found; the story.
    fn found(&self) -> &str {
        assert!(self.code == Some(0) && self.stdout.contains(ENTRYPOINT), "{self:#?}");
        &self.stdout
    }

    /// Fails unless the lookup failed; the sentence of a step, without what became of every source.
    fn failed(&self) -> &str {
        assert_eq!((self.code, self.stderr.lines().count()), (Some(1), 1), "{self:#?}");
        let sentence = self.stderr.split_once("cannot look up the command of image ").expect("the sentence").1;
        sentence.split("; tried: ").next().unwrap()
    }
}

fn pair(user: &str) -> String {
    format!("{user}:{user}-password")
}

fn basic(user: &str) -> String {
    format!("Basic {}", STANDARD.encode(pair(user)))
}

/// A cluster in which `ci/builder` has a pull secret for each of these registries, named as its user.
fn cluster(users: &[(&str, &str)]) -> Cluster {
    let names: Vec<&str> = users.iter().map(|(_, user)| *user).collect();
    let cluster = Cluster::new()
        .service_account("ci", "builder", &names)
        .allow("ci/builder", "serviceaccounts", &["builder"])
        .allow("ci/builder", "secrets", &names);
    users
        .iter()
        .fold(cluster, |cluster, (host, user)| cluster.pull_secret("ci", user, host, user, &format!("{user}-password")))
}

/// A port on which nobody listens.
fn dead() -> String {
    Bound::new().host()
}

#[test]
fn an_image_is_found_where_the_map_says_and_the_story_says_so() {
    let world = World::new();
    let (own, place) = (world.nobody(), world.serve(None));
    let image = format!("{}/team/tool:v1", own.host());
    let map = format!("{}/team={}/cache/team", own.host(), place.host());
    let text = world.resolve(&image, &["-image_registry_map", &map]);
    let there = format!("{}/cache/team/tool:v1", place.host());
    let start = format!("Image       {image}\nFound at    {there} (-image_registry_map)\nCommand     {ENTRYPOINT}\n");
    assert!(text.found().starts_with(&start), "{}", text.stdout);
    let json = world.resolve(&image, &["-image_registry_map", &map, "-o", "json"]);
    let story: Value = serde_json::from_str(json.found()).unwrap();
    assert_eq!(story["image"], image);
    assert_eq!(story["found_at"], json!({"image": there, "because": "-image_registry_map"}));
    assert_eq!(place.lines()[0], "GET /v2/cache/team/tool/manifests/v1");
}

#[test]
fn an_image_that_is_at_no_place_is_told_with_each_its_own_first() {
    let world = World::new();
    let empty = world.secure(Bound::new(), |_| Answer::new(404));
    let (own, gone) = (dead(), dead());
    let map = |place: &str| format!("-image_registry_map={own}={place}");
    let told = world.resolve(&format!("{own}/team/tool:v1"), &[&map(&gone), &map(&empty.host())]);
    let empty = empty.host();
    assert_eq!(
        told.failed(),
        format!(
            "{own}/team/tool:v1: {own} (the image's own registry): cannot ask the registry {own}: connection refused; {gone} \
             (-image_registry_map): cannot ask the registry {gone}: connection refused; {empty} (-image_registry_map): the \
             registry {empty} has no image {empty}/team/tool:v1: 404"
        )
    );
    // In the story the sources follow, and not the places again.
    assert!(!told.stdout.contains("\n  127.0.0.1"), "{}", told.stdout);
    // What is said of the sources of credentials is said once.
    assert_eq!(told.stdout.matches("docker config: absent").count(), 1, "{}", told.stdout);
}

#[test]
fn with_only_the_registry_itself_is_left_alone() {
    let world = World::new();
    let (own, gone) = (world.nobody(), dead());
    let map = format!("-image_registry_map={}={gone}", own.host());
    let told = world.resolve(&format!("{}/x:v1", own.host()), &[&map, "-image_registry_map_only"]);
    let expected = format!(
        "{}/x:v1: {gone} (-image_registry_map): cannot ask the registry {gone}: connection refused",
        own.host()
    );
    assert_eq!(told.failed(), expected);
}

#[test]
fn a_map_to_nowhere_alone_leaves_no_place() {
    let world = World::new();
    let told =
        world.resolve("r.example/x:v1", &["-image_registry_map=r.example/x=m.example", "-image_registry_map_only"]);
    assert_eq!(told.failed(), "r.example/x:v1: -image_registry_map_only leaves no place to ask");
    let note = "tried: -image_registry_map r.example/x=m.example: it leads to no image: ";
    assert!(told.stderr.contains(note), "{}", told.stderr);
}

#[test]
fn a_registry_that_is_mapped_to_itself_is_asked_once_and_fails_as_ever() {
    let world = World::new();
    let own = world.secure(Bound::new(), |_| Answer::new(404));
    let (host, gone) = (own.host(), dead());
    let told = world.resolve(&format!("{host}/x:v1"), &[&format!("-image_registry_map={host}={host}")]);
    assert_eq!(told.failed(), format!("{host}/x:v1: the registry {host} has no image {host}/x:v1: 404"));
    assert_eq!(own.lines(), ["GET /v2/x/manifests/v1"]);
    // Nor are two that are mapped to each other.
    let flags = [format!("-image_registry_map={host}={gone}"), format!("-image_registry_map={gone}={host}")];
    let told = world.resolve(&format!("{host}/x:v1"), &[&flags[0], &flags[1]]);
    assert_eq!(told.failed().matches("connection refused").count(), 1, "{told:#?}");
    assert_eq!(own.lines().len(), 2);
}

#[test]
fn a_mirror_of_docker_hub_that_is_dead_leaves_the_image_to_the_next() {
    let world = World::new();
    let (gone, mirror) = (dead(), world.serve(None));
    let flags = ["-image_registry_mirror", &gone, "-image_registry_mirror", &format!("https://{}/hub", mirror.host())];
    let told = world.resolve("tool:v1", &[&flags[..], &["-image_registry_map_only"]].concat());
    let host = mirror.host();
    let there = format!(
        "Image       index.docker.io/library/tool:v1\nFound at    {host}/hub/library/tool:v1 (-image_registry_mirror)\n"
    );
    assert!(told.found().starts_with(&there), "{}", told.stdout);
    let note = format!("\n  {gone} (-image_registry_mirror): cannot ask the registry {gone}: connection refused\n");
    assert!(told.stdout.contains(&note), "{}", told.stdout);
}

#[test]
fn of_two_mirrors_in_a_nodes_file_the_second_has_the_image_where_the_first_is_dead_and_the_story_says_so() {
    let world = World::new();
    let (gone, mirror, own) = (dead(), world.serve(None), world.nobody());
    let certs = world.dir.path().join("certs.d");
    let file = certs.join(own.host()).join("hosts.toml");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    let hosts = format!(
        "server = \"https://{}\"\n[host.\"https://{gone}\"]\ncapabilities = [\"pull\", \"resolve\"]\n\
         [host.\"https://{}\"]\ncapabilities = [\"pull\", \"resolve\"]\n",
        own.host(),
        mirror.host()
    );
    std::fs::write(&file, hosts).unwrap();
    let image = format!("{}/team/tool:v1", own.host());
    let told = world.resolve(&image, &["-image_registry_config", certs.to_str().unwrap()]);
    let file = file.display();
    let start = format!("Image       {image}\nFound at    {}/team/tool:v1 ({file})\nCommand     ", mirror.host());
    assert!(told.found().starts_with(&start), "{}", told.stdout);
    let note = format!("\n  {gone} ({file}): cannot ask the registry {gone}: connection refused\n");
    assert!(told.stdout.contains(&note), "{}", told.stdout);
    assert_eq!(mirror.lines()[0], format!("GET /v2/team/tool/manifests/v1?ns={}", own.host().replace(':', "%3A")));
}

#[test]
fn a_file_of_a_node_that_cannot_be_read_fails_the_lookup_before_anybody_is_asked() {
    let world = World::new();
    let own = world.nobody();
    let file = world.dir.path().join("registries.conf");
    std::fs::write(&file, "[[registry]\n").unwrap();
    let image = format!("{}/team/tool:v1", own.host());
    let told = world.resolve(&image, &["-image_registry_config", file.to_str().unwrap()]);
    let sentence = told.failed();
    assert!(sentence.contains(&format!("{}", file.display())) && sentence.contains("line 1"), "{sentence}");
}

#[test]
fn a_place_that_has_something_else_leaves_the_image_to_the_next() {
    let world = World::new();
    let page = || Answer::new(200).header("Content-Type", "text/html").body("<html>Welcome!</html>");
    let other = || {
        let manifest = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json"});
        Answer::new(200).header("Content-Type", "application/vnd.oci.image.manifest.v1+json").body(manifest.to_string())
    };
    let (tag, digest) = (":v1", format!("@{}", world.digest));
    let refusing = || Answer::new(401).header("WWW-Authenticate", "Basic realm=\"r\"");
    let answers: [(&str, &str, Answer); 7] = [
        (tag, "something else than an image", page()),
        (&digest, "gave something else than the manifest of", page()),
        (&digest, "gave something else than the manifest of", other()),
        (tag, "wants a login that is not known here", Answer::new(401)),
        (tag, "without a credential, and none was found", refusing()),
        (tag, "has no image", Answer::new(404)),
        (tag, "does not give the manifest: 500", Answer::new(500)),
    ];
    for (image, part, answer) in answers {
        let odd = world.secure(Bound::new(), move |_| answer.clone());
        let own = world.serve(None);
        let map = format!("-image_registry_map={}={}", own.host(), odd.host());
        let told = world.resolve(&format!("{}/x{image}", own.host()), &[&map]);
        let note = format!("\n  {} (-image_registry_map): ", odd.host());
        let line = told.found().split_once(&note).expect(&told.stdout).1.lines().next().unwrap();
        assert!(line.contains(part), "{part} in {line}");
        assert!(!told.stdout.contains("Found at"), "{}", told.stdout);
    }
}

#[test]
fn pull_secrets_are_shown_to_the_place_that_they_are_for_and_to_no_other() {
    let world = World::new();
    let place = world.serve(Some(&basic("there")));
    let own = world.nobody();
    let api = cluster(&[(&own.host(), "here"), (&place.host(), "there")]).start();
    let image = format!("{}/team/tool:v1", own.host());
    let map = format!("-image_registry_map={}={}", own.host(), place.host());
    let told = world.in_pod(&api, &["resolve", &image, &map]);
    let host = place.host();
    let used = format!("Credential  pull secret ci/there of the service account, key \"{host}\"\n");
    assert!(told.found().contains(&used), "{}", told.stdout);
    let shown = |server: &Server| -> Vec<Option<String>> {
        server.requests().iter().map(|request| request.header("Authorization").map(str::to_owned)).collect()
    };
    assert!(shown(&place).iter().all(|shown| *shown == Some(basic("there"))), "{:?}", shown(&place));

    // A place that nothing is for is shown nothing, and the cluster is asked once for both.
    let (place, own) = (world.serve(Some("Basic other")), world.serve(Some(&basic("here"))));
    let api = cluster(&[(&own.host(), "here")]).start();
    let map = format!("-image_registry_map={}={}", own.host(), place.host());
    let told = world.in_pod(&api, &["resolve", &format!("{}/team/tool:v1", own.host()), &map]);
    assert!(told.found().contains("Credential  pull secret ci/here of "), "{}", told.stdout);
    assert_eq!((shown(&place), shown(&own)[0].clone()), (vec![None], Some(basic("here"))));
    assert_eq!(api.lines().iter().filter(|line| line.contains("/secrets/")).count(), 1, "{:?}", api.lines());
}

#[test]
fn dockers_config_is_asked_for_the_place_and_not_for_what_the_image_names() {
    let world = World::new();
    let (place, own) = (world.serve(Some(&basic("there"))), world.nobody());
    world.docker_config(&[(&own.host(), "here"), (&place.host(), "there")]);
    let map = format!("-image_registry_map={}={}", own.host(), place.host());
    let image = format!("{}/x:v1", own.host());
    let told = told(world.command(&["resolve", &image, &map]).env("DOCKER_CONFIG", world.dir.path()));
    assert!(told.found().contains(&format!("key \"{}\"", place.host())), "{}", told.stdout);
    assert!(place.requests().iter().all(|request| request.header("Authorization") == Some(&basic("there"))));
}

#[test]
fn a_place_by_https_is_never_asked_in_the_clear_and_one_by_http_never_otherwise() {
    let world = World::new();
    let content = world.content(None);
    let plain = Server::handler(Bound::new(), None, move |request| content.answer(request));
    let image = format!("{}/x:v1", dead());
    let own = image.split('/').next().unwrap();
    let told = world.resolve(&image, &[&format!("-image_registry_map={own}=http://{}", plain.host())]);
    told.found();
    assert!(!told.stdout.contains("https://127"), "{}", told.stdout);
    // What is read as it would be without a scheme: loopback may be asked in the clear.
    let told = world.resolve(&image, &[&format!("-image_registry_map={own}={}", plain.host())]);
    assert!(told.found().contains("asked over plain http"), "{}", told.stdout);
    let told = world.resolve(&image, &[&format!("-image_registry_map={own}=https://{}", plain.host())]);
    assert!(told.failed().contains("what answers there does not speak TLS"), "{told:#?}");
    assert!(told.stdout.matches(&format!("http://{}", plain.host())).count() == 0, "{}", told.stdout);
}

#[test]
fn a_place_that_never_answers_leaves_the_next_one_its_share_of_the_time() {
    let world = World::new();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let (own, host) = (world.serve(None), silent.local_addr().unwrap().to_string());
    let map = format!("-image_registry_map={}={host}", own.host());
    let image = format!("{}/x:v1", own.host());
    let told = world.resolve(&image, &[&map, "-image_lookup_timeout", "3s"]);
    let note = format!("\n  {host} (-image_registry_map): no answer from {host} within 1.");
    assert!(told.found().contains(&note), "{}", told.stdout);
    assert!(told.stdout.contains("s, its share of -image_lookup_timeout\n"), "{}", told.stdout);
    // Nobody answers at all.
    let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
    let own = deaf.local_addr().unwrap().to_string();
    let map = format!("-image_registry_map={own}={host}");
    let told = world.resolve(&format!("{own}/x:v1"), &[&map, "-image_lookup_timeout", "1s"]);
    let sentence = told.failed();
    let first = format!("{own}/x:v1: {own} (the image's own registry): no answer from {own} within ");
    assert!(sentence.starts_with(&first), "{sentence}");
    assert!(sentence.contains(&format!("; {host} (-image_registry_map): no answer from {host} within ")), "{sentence}");
    // The supervisor's own limit is not what ended it.
    assert!(!sentence.contains("(-image_lookup_timeout)"), "{sentence}");
}

#[test]
fn a_place_that_comes_up_while_the_step_waits_is_asked_again() {
    let world = World::new();
    let mut layout = Layout::create(&world.dir.path().join("echo"));
    let echo = oci::Command { entrypoint: &["/bin/echo", "from", "the", "mirror"], cmd: &[] };
    let image = layout.image(architecture(), echo, &[]);
    layout.tag("v1", &image);
    // What is there says for good that it has nothing; what is not there may come.
    let own = world.secure(Bound::new(), |_| Answer::new(404));
    let gone = dead();
    let step = Step::new().flags(["-image", &format!("{}/x:v1", own.host())]);
    let before = step.path("before");
    let ca = format!("{gone}={}", world.dir.path().join("ca.crt").display());
    let own_ca = format!("{}={}", own.host(), world.dir.path().join("ca.crt").display());
    let step = step
        .flags(["-image_registry_map", &format!("{}={gone}", own.host()), "-wait_file", before.to_str().unwrap()])
        .flags(["-image_registry_certificate", &ca, "-image_registry_certificate", &own_ca]);
    let child = step.start(&["--"]);
    eventually("the first attempt comes to nothing", || !own.lines().is_empty());
    let content = Registry { layout: layout.dir().to_owned(), authorization: None };
    let asked = Arc::new(Mutex::new(false));
    let seen = Arc::clone(&asked);
    let _mirror = world.secure(Bound::to(&gone), move |request| {
        *seen.lock().unwrap() = request.path().contains("/blobs/");
        content.answer(request)
    });
    eventually("the mirror is asked", || *asked.lock().unwrap());
    std::fs::write(before, "").unwrap();
    let ended = step.finish(child);
    assert_eq!((ended.code(), ended.stdout.as_str()), (0, "from the mirror\n"), "{ended:#?}");
}

#[test]
fn the_runners_registry_is_shown_nothing_and_the_failure_says_what_shows_it_something() {
    let world = World::new();
    let content = world.content(Some(&basic("there")));
    let runners = Server::handler(Bound::new(), None, move |request| content.answer(request));
    let port = runners.address().port().to_string();
    let own = format!("localhost:{}", Bound::new().address().port());
    let node_port = own.split(':').nth(1).unwrap();
    world.docker_config(&[(&runners.host(), "there"), (&own, "there"), ("127.0.0.1", "there")]);
    let image = format!("{own}/team/tool:v1");
    let with_env = |flags: &[&str]| {
        let mut command = world.command(&[&["resolve", &image], flags].concat());
        command.env("DOCKER_CONFIG", world.dir.path());
        told(command.env(HOST, "127.0.0.1").env(PORT, &port).env(NODE_PORT, node_port))
    };
    let refused = with_env(&[]);
    let (host, sentence) = (runners.host(), refused.failed());
    let first = format!("{image}: {own} (the image's own registry): cannot ask the registry {own}: ");
    assert!(sentence.starts_with(&first), "{sentence}");
    let hint = format!("; {HOST} shows nobody a credential: -image_registry_map {own}=http://{host} does");
    assert!(sentence.contains(&format!("; {host} ({HOST}): ")) && sentence.ends_with(&hint), "{sentence}");
    assert!(runners.requests().iter().all(|request| request.header("Authorization").is_none()));
    // And what it says is true.
    let map = format!("-image_registry_map={own}=http://{host}");
    let shown = with_env(&[&map]);
    assert!(shown.found().contains("(-image_registry_map)\n"), "{}", shown.stdout);
}

#[test]
fn the_runners_registry_costs_no_question_to_the_cluster() {
    let world = World::new();
    let content = world.content(None);
    let runners = Server::handler(Bound::new(), None, move |request| content.answer(request));
    let port = runners.address().port().to_string();
    let api = cluster(&[]).start();
    let mount = world.dir.path().join("account");
    std::fs::create_dir_all(&mount).unwrap();
    api.mount(&mount, "ci", "builder");
    let mut command = world.command(&["resolve", "localhost:1/x:v1", "-service_account_dir", mount.to_str().unwrap()]);
    command.envs(api.env()).env(HOST, "127.0.0.1").env(PORT, &port).env(NODE_PORT, "1");
    let told = told(&mut command);
    let there = format!("Found at    127.0.0.1:{port}/x:v1 ({HOST})\n");
    assert!(told.found().contains(&there), "{}", told.stdout);
    assert_eq!(api.lines(), [""; 0]);
    assert!(!told.stdout.contains(&kube_api::token("ci", "builder")));
}

#[test]
fn a_runners_variable_that_cannot_be_meant_is_told_when_the_lookup_fails() {
    let world = World::new();
    let own = format!("localhost:{}", Bound::new().address().port());
    let mut command = world.command(&["resolve", &format!("{own}/x:v1")]);
    let told = told(command.env(HOST, "registry").env(PORT, "tcp://10.0.0.1:5000").env(NODE_PORT, "30500"));
    // One place, so the sentence is as ever.
    assert!(told.failed().starts_with(&format!("{own}/x:v1: cannot ask the registry {own}: ")), "{told:#?}");
    let note = format!("; tried: {PORT}: without effect: \"tcp://10.0.0.1:5000\" is not a port; ");
    assert!(told.stderr.contains(&note), "{}", told.stderr);
}
