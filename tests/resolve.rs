//! `resolve` from outside: the story on stdout as text and as JSON, the sentence on stderr, exit codes, and no secret.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and waits for the processes that it starts"
)]

use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

#[path = "support/kube_api.rs"]
mod kube_api;
#[path = "support/oci.rs"]
mod oci;
#[path = "../examples/demo/registry.rs"]
#[allow(unreachable_pub, reason = "shared with the demo")]
mod registry;
#[path = "support/server.rs"]
mod server;
#[path = "support/step.rs"]
mod step;
#[path = "support/tls.rs"]
mod tls;

use kube_api::{Cluster, KubeApi};
use oci::{Layout, architecture};
use registry::Registry;
use server::{Answer, Bound, Reply, Request, Server};
use tls::{Authority, LOOPBACK};

/// What no output may hold, nor its base64 with a user's name.
const PASSWORD: &str = "hunter2-secret";
const SIGNATURE: &str = "f00dfeed";
const TOKEN: &str = "opaque-access-token";

/// A registry's content, and the files that a pod has.
struct World {
    dir: tempfile::TempDir,
    layout: Layout,
    authority: Authority,
}

/// What a run left.
struct Told {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::create(&dir.path().join("layout"));
        let authority = Authority::new("the tests' authority");
        authority.write(dir.path());
        Self { dir, layout, authority }
    }

    /// Adds an image with this command; its descriptor.
    fn image(&mut self, tag: &str, entrypoint: &[&str], cmd: &[&str]) -> Value {
        let image = self.layout.image(architecture(), oci::Command { entrypoint, cmd }, &[]);
        self.layout.tag(tag, &image);
        image
    }

    /// A registry over TLS, for whoever shows `user:password`, if that is asked for.
    fn serve(&self, bound: Bound, authorization: Option<String>) -> Server {
        let registry = self.registry(authorization);
        Server::handler(bound, Some(self.authority.server(LOOPBACK)), move |request| registry.answer(request))
    }

    fn registry(&self, authorization: Option<String>) -> Registry {
        Registry { layout: self.layout.dir().to_owned(), authorization }
    }

    /// Writes a docker config that has a password for a registry.
    fn docker_config(&self, host: &str, user: &str) {
        let config = json!({"auths": {host: {"auth": STANDARD.encode(format!("{user}:{PASSWORD}"))}}});
        std::fs::write(self.dir.path().join("config.json"), config.to_string()).unwrap();
    }

    fn command(&self, host: &str, image: &str, rest: &[&str]) -> Command {
        let mut command = Command::new(step::entrypoint());
        let certificate = format!("{host}={}", self.dir.path().join("ca.crt").display());
        command.args(["resolve", &format!("{host}/{image}"), "-image_registry_certificate", &certificate]).args(rest);
        command.env_clear().current_dir(self.dir.path()).stdin(Stdio::null());
        command
    }

    fn resolve(&self, host: &str, image: &str, rest: &[&str]) -> Told {
        told(&mut self.command(host, image, rest))
    }

    /// In a pod of this cluster, whose files are in the directory `account`, with docker's config of the world.
    fn resolve_in_pod(&self, api: &KubeApi, host: &str, image: &str, rest: &[&str]) -> Told {
        let mount = self.dir.path().join("account");
        std::fs::create_dir_all(&mount).unwrap();
        api.mount(&mount, "ci", "builder");
        let mount = mount.display().to_string();
        let rest: Vec<&str> = ["-service_account_dir", &mount].iter().chain(rest).copied().collect();
        told(self.command(host, image, &rest).envs(api.env()).env("DOCKER_CONFIG", self.dir.path()))
    }
}

/// Runs to the end. Whatever it says, there is no secret in it.
fn told(command: &mut Command) -> Told {
    let output = command.output().unwrap();
    let [stdout, stderr] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    let both = format!("{stdout}{stderr}");
    let pairs = ["me", "you", "them"].map(|user| STANDARD.encode(format!("{user}:{PASSWORD}")));
    let account = kube_api::token("ci", "builder");
    let secrets = [PASSWORD, SIGNATURE, TOKEN, &account].into_iter().chain(pairs.iter().map(String::as_str));
    for secret in secrets {
        assert!(!both.contains(secret), "{secret} in {both}");
    }
    assert!(!both.contains('\u{1b}'), "no colours: {both}");
    Told { code: output.status.code(), stdout, stderr }
}

/// The story with `names` for what differs from run to run; every time is `N ms`.
fn normal(text: &str, names: &[(&str, &str)]) -> String {
    let text = names.iter().fold(text.to_owned(), |text, (found, name)| text.replace(found, name));
    let line = |line: &str| match line.split_once(" ms") {
        Some((before, rest)) => {
            let before = before.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end();
            format!("{before} N ms{rest}")
        }
        None => line.to_owned(),
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

fn basic(user: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{PASSWORD}")))
}

fn digest(descriptor: &Value) -> &str {
    descriptor["digest"].as_str().unwrap()
}

/// The digest of the config of an image.
fn config_digest(world: &World, image: &Value) -> String {
    let path = world.layout.dir().join("blobs").join(digest(image).replace(':', "/"));
    let manifest: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    digest(&manifest["config"]).to_owned()
}

/// A cluster in which `ci/builder` may read itself and its pull secret `regcred`, and not its pod.
fn cluster(host: &str, user: &str) -> Cluster {
    Cluster::new()
        .service_account("ci", "builder", &["regcred"])
        .pull_secret("ci", "regcred", host, user, PASSWORD)
        .allow("ci/builder", "serviceaccounts", &["builder"])
        .allow("ci/builder", "secrets", &["regcred"])
}

#[test]
fn the_whole_story_of_a_pod_is_told_as_text() {
    let mut world = World::new();
    let image = world.image("single", &["/bin/app", "--greet"], &["the world"]);
    let index = world.layout.index(std::slice::from_ref(&image));
    world.layout.tag("v1", &index);
    let bound = Bound::new();
    let api = cluster(&bound.host(), "me").start();
    let registry = world.serve(bound, Some(basic("me")));
    let told = world.resolve_in_pod(&api, &registry.host(), "team/tool:v1", &[]);
    let platform = format!("linux/{}", architecture());
    let wanted = if architecture() == "arm64" { "linux/arm64/v8" } else { platform.as_str() };
    let config = config_digest(&world, &image);
    let (registry, api) = (registry.host(), api.address().to_string());
    let dir = world.dir.path().display().to_string();
    let text = normal(
        &told.stdout,
        &[
            (&registry, "REGISTRY"),
            (&api, "API"),
            (&dir, "DIR"),
            (digest(&index), "INDEX"),
            (digest(&image), "MANIFEST"),
            (&config, "CONFIG"),
            (&format!("{platform} (wanted: {wanted})"), "PLATFORM"),
        ],
    );
    assert_eq!((told.code, told.stderr.as_str()), (Some(0), ""), "{}", told.stdout);
    let sources = "  pod ci/taskrun-pod: the pod may not be read: service account ci/builder may not get pod ci/taskrun-pod; a Role with get \
on pods is needed if the pod itself names pull secrets
  docker config DIR/config.json: absent
  pull secret ci/regcred of the service account, key \"REGISTRY\": accepted by REGISTRY";
    assert_eq!(
        text,
        format!(
            "\
Image       REGISTRY/team/tool:v1
Command     /bin/app --greet 'the world'
ENTRYPOINT  [\"/bin/app\", \"--greet\"]
CMD         [\"the world\"]
Platform    PLATFORM
Index       INDEX
Manifest    MANIFEST
Config      CONFIG
Credential  pull secret ci/regcred of the service account, key \"REGISTRY\"

Sources:
{sources}

Requests:
 N ms  403  pod              GET  https://API/api/v1/namespaces/ci/pods/taskrun-pod
 N ms  200  service account  GET  https://API/api/v1/namespaces/ci/serviceaccounts/builder
 N ms  200  pull secret      GET  https://API/api/v1/namespaces/ci/secrets/regcred
 N ms  200  manifest         GET  https://REGISTRY/v2/team/tool/manifests/v1
 N ms  200  manifest         GET  https://REGISTRY/v2/team/tool/manifests/MANIFEST
 N ms  200  config           GET  https://REGISTRY/v2/team/tool/blobs/CONFIG

Total: N ms"
        )
    );
}

#[test]
fn the_arguments_of_a_step_show_what_it_would_run_with_them() {
    let mut world = World::new();
    world.image("v1", &["/bin/app"], &["cmd"]);
    let registry = world.serve(Bound::new(), None);
    let told = world.resolve(&registry.host(), "team/tool:v1", &["--", "-c", "it's $HOME", "line\nbreak"]);
    let line = told.stdout.lines().nth(1).unwrap();
    assert_eq!(line, r"Command     /bin/app -c 'it'\''s $HOME' $'line\nbreak'");
    assert_eq!(told.code, Some(0));
}

#[test]
fn the_same_is_told_as_json() {
    let mut world = World::new();
    let image = world.image("v1", &["/bin/app"], &["cmd"]);
    let registry = world.serve(Bound::new(), None);
    let told = world.resolve(&registry.host(), "team/tool:v1", &["-o", "json", "--", "x"]);
    assert_eq!((told.code, told.stderr.as_str()), (Some(0), ""), "{}", told.stdout);
    assert!(told.stdout.ends_with("\n}\n") && told.stdout.lines().count() > 20, "it is pretty: {}", told.stdout);
    let mut story: Value = serde_json::from_str(&told.stdout).unwrap();
    assert!(story["millis"].is_u64(), "{story}");
    let notes = story["notes"].take();
    assert_eq!(notes[0]["source"], "service account");
    assert!(notes[0]["outcome"].as_str().unwrap().starts_with("not in a cluster: "), "{notes}");
    let host = registry.host();
    let urls = ["manifests/v1".to_owned(), format!("blobs/{}", config_digest(&world, &image))];
    for (request, (what, url)) in
        story["requests"].take().as_array().unwrap().iter().zip(["manifest", "config"].iter().zip(urls))
    {
        let url = format!("https://{host}/v2/team/tool/{url}");
        let expected = json!({
            "what": what, "method": "GET", "url": url, "status": 200, "error": null, "millis": request["millis"],
        });
        assert_eq!(request, &expected);
        assert!(request["millis"].is_u64());
    }
    let wanted = story["wanted_platform"].take();
    assert!(wanted.as_str().unwrap().starts_with("linux/"));
    assert_eq!(
        story,
        json!({
            "image": format!("{host}/team/tool:v1"),
            "found_at": null,
            "daemon": null,
            "cache": null,
            "command": ["/bin/app", "x"],
            "error": null,
            "entrypoint": ["/bin/app"],
            "cmd": ["cmd"],
            "platform": format!("linux/{}", architecture()),
            "wanted_platform": null,
            "digests": {"index": null, "manifest": digest(&image), "config": config_digest(&world, &image), "repository": null},
            "runtime": null,
            "runtime_unread": null,
            "match": null,
            "compared": null,
            "because": null,
            "leads_to": {"kind": "manifest", "digest": digest(&image)},
            "pinned_by": "registry",
            "not_followed": null,
            "credential": null,
            "notes": null,
            "requests": null,
            "requests_left_out": 0,
            "millis": story["millis"],
        })
    );
}

#[test]
fn what_the_container_runs_is_told_where_it_is_asked_for() {
    let mut world = World::new();
    let image = world.image("v1", &["/bin/app"], &["cmd"]);
    let registry = world.serve(Bound::new(), None);
    let asked = format!("{}/team/tool:v1", registry.host());
    let id = format!("{}/team/tool@{}", registry.host(), digest(&image));
    let api = cluster(&registry.host(), "me")
        .pod("ci", "taskrun-pod", &[])
        .container("ci", "taskrun-pod", "step-tool", &asked, (&asked, &id))
        .allow("ci/builder", "pods", &["taskrun-pod"])
        .start();
    let pin = ["-image_pin", "pod-status", "-image_container", "step-tool"];
    let told = world.resolve_in_pod(&api, &registry.host(), "team/tool:v1", &pin);
    assert_eq!((told.code, told.stderr.as_str()), (Some(0), ""), "{}", told.stdout);
    let rows = format!(
        "\nContainer   step-tool, runs {asked}\nImage ID    {id}\nMatch       same: the runtime runs the manifest that the \
         reference leads to\nPinned by   the pod's status\nCredential  "
    );
    assert!(told.stdout.contains(&rows), "{rows} in\n{}", told.stdout);
    let told = world.resolve_in_pod(&api, &registry.host(), "team/tool:v1", &[&pin[..], &["-o", "json"]].concat());
    let story: Value = serde_json::from_str(&told.stdout).unwrap();
    assert_eq!(story["runtime"], json!({"container": "step-tool", "image": asked, "imageID": id}));
    for (name, value) in [("match", "same"), ("compared", "manifest"), ("pinned_by", "pod-status")] {
        assert_eq!(story[name], value, "{story:#}");
    }
}

#[test]
fn a_registry_that_refuses_three_sources_is_told_with_each_of_them() {
    let mut world = World::new();
    world.image("v1", &["/bin/app"], &[]);
    let bound = Bound::new();
    let api = cluster(&bound.host(), "me").start();
    world.docker_config(&bound.host(), "you");
    let registry = world.serve(bound, Some(basic("them")));
    let told = world.resolve_in_pod(&api, &registry.host(), "team/tool:v1", &[]);
    assert_eq!((told.code, told.stderr.lines().count()), (Some(1), 1), "{}", told.stderr);
    let host = registry.host();
    let sentence = format!(
        " cannot look up the command of image {host}/team/tool:v1: the registry {host} refuses team/tool to each of the 2 \
         credentials that were found, and without a credential too: 401 "
    );
    assert!(told.stderr.contains(&sentence), "{}", told.stderr);
    assert!(told.stderr.contains("; tried: pod ci/taskrun-pod: "), "{}", told.stderr);
    let text = told.stdout;
    assert!(text.starts_with(&format!("Image       {host}/team/tool:v1\nError       cannot look up ")), "{text}");
    let config = world.dir.path().join("config.json").display().to_string();
    let sources = [
        format!("  pull secret ci/regcred of the service account, key \"{host}\": refused: 401 UNAUTHORIZED"),
        format!("  docker config {config}, key \"{host}\": refused: 401 UNAUTHORIZED"),
        "  without a credential: refused: 401 UNAUTHORIZED".to_owned(),
    ];
    for source in sources {
        let count = text.lines().filter(|line| line.starts_with(&source)).count();
        assert_eq!(count, 1, "{source} in\n{text}");
    }
    let refused = format!("ms  401  manifest         GET  https://{host}/v2/team/tool/manifests/v1");
    assert_eq!(text.lines().filter(|line| line.ends_with(&refused)).count(), 3, "{text}");
    assert!(text.lines().last().unwrap().starts_with("Total: "), "{text}");
    for absent in ["Command", "ENTRYPOINT", "Manifest", "Credential"] {
        assert!(!text.lines().any(|line| line.starts_with(absent)), "{absent} in\n{text}");
    }
}

#[test]
fn a_token_and_a_signed_redirect_are_told_without_token_and_signature() {
    let mut world = World::new();
    let image = world.image("v1", &["/bin/app"], &[]);
    let bound = Bound::new();
    let (host, registry) = (bound.host(), world.registry(None));
    world.docker_config(&host, "me");
    let own = host.clone();
    let _server = Server::handler(bound, Some(world.authority.server(LOOPBACK)), move |request: &Request| {
        let path = request.path().to_owned();
        if path == "/token" {
            assert_eq!(request.header("Authorization"), Some(basic("me").as_str()));
            return Reply::from(Answer::json(json!({"token": TOKEN}).to_string()));
        }
        if let Some(blob) = path.strip_prefix("/storage/") {
            let blob = Request { target: format!("/v2/team/tool/blobs/{blob}"), ..request.clone() };
            return registry.answer(&blob).into();
        }
        if request.header("Authorization") != Some(&format!("Bearer {TOKEN}")) {
            let challenge = format!(r#"Bearer realm="https://{own}/token?account={PASSWORD}",service="the registry""#);
            return Answer::new(401).header("WWW-Authenticate", challenge).into();
        }
        match path.split_once("/blobs/") {
            Some((_, blob)) => {
                let location = format!("/storage/{blob}?X-Amz-Signature={SIGNATURE}");
                Answer::new(307).header("Location", location).into()
            }
            None => registry.answer(request).into(),
        }
    });
    let told = told(world.command(&host, "team/tool:v1", &[]).env("DOCKER_CONFIG", world.dir.path()));
    assert_eq!(told.code, Some(0), "{}{}", told.stdout, told.stderr);
    let config = config_digest(&world, &image);
    let text = normal(&told.stdout, &[(&host, "REGISTRY"), (&config, "CONFIG")]);
    let requests: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix(" N ms  ")).collect();
    assert_eq!(
        requests,
        [
            "401  manifest  GET  https://REGISTRY/v2/team/tool/manifests/v1",
            "200  token     GET  https://REGISTRY/token?scope=repository:team/tool:pull&service=the%20registry&...",
            "200  manifest  GET  https://REGISTRY/v2/team/tool/manifests/v1",
            "307  config    GET  https://REGISTRY/v2/team/tool/blobs/CONFIG",
            "200  config    GET  https://REGISTRY/storage/CONFIG?...",
        ]
    );
}

#[test]
fn a_redirect_that_repeats_the_password_in_its_path_is_hidden() {
    let mut world = World::new();
    world.image("v1", &["/bin/app"], &[]);
    let bound = Bound::new();
    let host = bound.host();
    world.docker_config(&host, "me");
    let _server = Server::handler(bound, Some(world.authority.server(LOOPBACK)), |request: &Request| {
        let known = request.path().starts_with("/v2/");
        let location = format!("/{}/x", PASSWORD.replace('-', "%2D"));
        if known { Answer::new(302).header("Location", location) } else { Answer::new(404) }
    });
    let told = told(world.command(&host, "team/tool:v1", &[]).env("DOCKER_CONFIG", world.dir.path()));
    assert_eq!(told.code, Some(1));
    assert!(told.stdout.contains(&format!("https://{host}/(hidden: it holds a secret)")), "{}", told.stdout);
    assert!(!told.stdout.contains("hunter2"), "{}", told.stdout);
}

#[test]
fn an_image_without_a_command_is_told_and_fails_as_a_step_would() {
    let mut world = World::new();
    world.image("v1", &[], &[]);
    let registry = world.serve(Bound::new(), None);
    let told = world.resolve(&registry.host(), "team/tool:v1", &["--", "x"]);
    assert_eq!((told.code, told.stderr.lines().count()), (Some(1), 1), "{}", told.stderr);
    for text in [&told.stdout, &told.stderr] {
        assert!(text.contains("has neither ENTRYPOINT nor CMD") && text.contains("command: ["), "{text}");
    }
    for line in ["ENTRYPOINT  none", "CMD         none", "Credential  none was needed"] {
        assert!(told.stdout.lines().any(|found| found == line), "{line:?} in\n{}", told.stdout);
    }
    let told = world.resolve(&registry.host(), "team/tool:v1", &["-o=json"]);
    let story: Value = serde_json::from_str(&told.stdout).unwrap();
    assert_eq!((told.code, &story["command"], &story["entrypoint"]), (Some(1), &Value::Null, &json!([])));
    assert!(story["error"].as_str().unwrap().contains("neither ENTRYPOINT nor CMD"), "{story}");
    assert!(story["digests"]["config"].is_string(), "{story}");
}

#[test]
fn the_platform_that_was_wanted_is_told_with_those_that_are_there() {
    let mut world = World::new();
    let image = world.image("single", &["/bin/app"], &[]);
    let index = world.layout.index(&[image]);
    world.layout.tag("v1", &index);
    let registry = world.serve(Bound::new(), None);
    let told = world.resolve(&registry.host(), "team/tool:v1", &["-image_platform", "linux/s390x"]);
    assert_eq!(told.code, Some(1));
    assert!(told.stdout.contains("\nPlatform    wanted: linux/s390x\n"), "{}", told.stdout);
    let there = format!("is not there for linux/s390x, only for: linux/{}\n", architecture());
    assert!(told.stdout.contains(&there), "{}", told.stdout);
}

#[test]
fn a_registry_that_is_not_there_is_told_with_every_try_outside_a_cluster() {
    let (world, host) = (World::new(), Bound::new().host());
    let told = world.resolve(&host, "team/tool:v1", &["-o", "json"]);
    assert_eq!((told.code, told.stderr.lines().count()), (Some(1), 1), "{}", told.stderr);
    assert!(told.stderr.contains("connection refused"), "{}", told.stderr);
    let story: Value = serde_json::from_str(&told.stdout).unwrap();
    assert_eq!(story["image"], format!("{host}/team/tool:v1"));
    assert!(story["error"].as_str().unwrap().ends_with("connection refused"), "{story}");
    assert!(story["notes"][0]["outcome"].as_str().unwrap().starts_with("not in a cluster: "), "{story}");
    assert!(
        story["digests"] == json!({"index": null, "manifest": null, "config": null, "repository": null}),
        "{story}"
    );
    // On loopback plain http is tried too.
    let tries = ["https", "http"].map(|scheme| format!("{scheme}://{host}/v2/team/tool/manifests/v1"));
    let requests = story["requests"].as_array().unwrap();
    assert_eq!(requests.len(), 2, "{story}");
    for (request, url) in requests.iter().zip(tries) {
        assert_eq!((request["url"].as_str(), &request["status"]), (Some(url.as_str()), &Value::Null));
        assert_eq!(request["error"], "connection refused");
    }
}

#[test]
fn a_request_that_had_no_answer_when_the_time_was_up_is_told_too() {
    let world = World::new();
    let tls = Some(world.authority.server(LOOPBACK));
    let silent = Server::handler(Bound::new(), tls, |_: &Request| Reply::Stall(Vec::new()));
    let told = world.resolve(&silent.host(), "team/tool:v1", &["-image_lookup_timeout=1s"]);
    assert_eq!(told.code, Some(1));
    assert!(told.stderr.contains("1s (-image_lookup_timeout)"), "{}", told.stderr);
    let request = told.stdout.lines().find(|line| line.contains("https://")).unwrap();
    assert!(request.contains(" ms  ---  manifest  GET  https://"), "{request}");
    assert!(request.ends_with("/v2/team/tool/manifests/v1  no answer in time"), "{request}");
}

#[test]
fn a_manifest_that_is_too_long_is_told_with_its_status() {
    let world = World::new();
    let long = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\nConnection: close\r\n\r\n{".to_vec();
    let tls = Some(world.authority.server(LOOPBACK));
    let server = Server::handler(Bound::new(), tls, move |_: &Request| Reply::Raw(long.clone()));
    let told = world.resolve(&server.host(), "team/tool:v1", &[]);
    assert_eq!(told.code, Some(1));
    let request = told.stdout.lines().find(|line| line.contains("https://")).unwrap();
    assert!(
        request.contains(" ms  200  manifest  GET  ") && request.contains("  the manifest is longer than "),
        "{request}"
    );
}

#[test]
fn a_reference_that_is_none_and_a_wrong_command_line_are_told() {
    let resolve = |args: &[&str]| {
        let mut command = Command::new(step::entrypoint());
        told(command.arg("resolve").args(args).env_clear())
    };
    let bad = resolve(&["registry.example.com/UPPER"]);
    assert_eq!(bad.code, Some(1));
    assert!(bad.stdout.starts_with("Image       registry.example.com/UPPER\nError       cannot look up "));
    assert!(bad.stdout.contains("\nNo request was made.\n"), "{}", bad.stdout);
    let usage = resolve(&["busybox", "-o", "yaml"]);
    assert_eq!((usage.code, usage.stdout.as_str()), (Some(2), ""));
    assert!(usage.stderr.contains("write text or json"), "{}", usage.stderr);
}

#[test]
fn a_signal_in_mid_lookup_ends_it_with_one_line() {
    use std::os::unix::process::ExitStatusExt;
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (world, host) = (World::new(), silent.local_addr().unwrap().to_string());
    let mut command = world.command(&host, "team/tool:v1", &[]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let connection = silent.accept().unwrap();
    step::send(i32::try_from(child.id()).unwrap(), libc::SIGINT);
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.signal(), output.stdout.len()), (Some(libc::SIGINT), 0));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.lines().count() == 1 && stderr.contains(" SIGINT ended the lookup of image "), "{stderr}");
    drop(connection);
}

#[test]
fn a_reader_that_has_gone_is_no_crash() {
    let (world, host) = (World::new(), Bound::new().host());
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = world.command(&host, "team/tool:v1", &[]).stdout(writer).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(String::from_utf8(output.stderr).unwrap().lines().count(), 1);
}
