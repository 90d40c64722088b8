//! The keychain of a pod against a real API server's answers on real sockets: every source's outcome, read as people
//! read it, and no secret in any of them.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and waits for the processes that it starts"
)]
#![cfg(feature = "kube")]
mod support;

#[path = "keychain/helpers.rs"]
mod helpers;
#[path = "keychain/named.rs"]
mod named;
#[path = "keychain/own_pod.rs"]
mod own_pod;

use std::fs;
use std::time::Duration;

use entrypoint::authn::helpers::{Helpers, NotRun};
use entrypoint::authn::{Found, config_files, pull_secrets};
use entrypoint::credential::Proof;
use entrypoint::host::Env;
use entrypoint::http::{NameFiles, Network};
use entrypoint::kube::{self, OwnPod, PodStatus, PodUnread, PullSecrets, Wanted};
use entrypoint::secrets::Secrets;
use entrypoint::trace::Trace;
use serde_json::json;
use support::kube_api::{Cluster, KubeApi};
use support::server::{Answer, Bound, Reply, Server, on};
use support::tls::{Authority, LOOPBACK};
use tempfile::TempDir;

/// Long enough for any machine; no test waits for it.
const PATIENT: Duration = Duration::from_secs(60);
/// For servers that never answer.
const IMPATIENT: Duration = Duration::from_secs(1);
const PASSWORD: &str = "hunter2-the-password";

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(work)
}

/// A pod: its environment and what kubelet mounted into it.
struct Pod {
    env: Env,
    dir: TempDir,
    namespace: Option<&'static str>,
    service_account: Option<&'static str>,
    pull_secrets: Vec<String>,
    deadline: Duration,
    names: NameFiles,
}

impl Pod {
    fn new(env: Env, dir: TempDir) -> Self {
        Self {
            env,
            dir,
            namespace: None,
            service_account: None,
            pull_secrets: Vec::new(),
            deadline: PATIENT,
            names: NameFiles::default(),
        }
    }

    /// A pod of the service account `ci/builder`.
    fn of(api: &KubeApi) -> Self {
        let dir = TempDir::new().expect("a directory");
        api.mount(dir.path(), "ci", "builder");
        Self::new(api.env().into_iter().collect(), dir)
    }

    fn read(&self) -> PullSecrets {
        self.read_all().pull_secrets
    }

    fn read_all(&self) -> kube::Read {
        let network = Network::with_name_files(&self.env, &self.names).expect("a network");
        let wanted = Wanted {
            dir: self.dir.path(),
            namespace: self.namespace,
            service_account: self.service_account,
            pull_secrets: &self.pull_secrets,
            call_deadline: self.deadline,
            secrets: &Secrets::default(),
        };
        block_on(kube::read(&network, &self.env, &wanted, &Trace::default()))
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }
}

/// A cluster in which `ci/builder` may read itself, and names these pull secrets. Its pod may not be read.
fn cluster(pull_secrets: &[&str]) -> Cluster {
    Cluster::new().service_account("ci", "builder", pull_secrets).allow("ci/builder", "serviceaccounts", &["builder"])
}

/// What is said of the pod in most tests.
const POD_FORBIDDEN: &str = concat!(
    "pod ci/taskrun-pod: the pod may not be read: service account ci/builder may not get pod ci/taskrun-pod; ",
    "a Role with get on pods is needed if the pod itself names pull secrets"
);
/// The request for the pod, with which every reading begins.
const GET_POD: &str = "GET /api/v1/namespaces/ci/pods/taskrun-pod";

/// The notes, without the one that the pod may not be read.
fn notes(found: &PullSecrets) -> Vec<String> {
    found.notes.iter().map(ToString::to_string).filter(|note| note != POD_FORBIDDEN).collect()
}

/// What came of it when nothing was found: the notes.
#[track_caller]
fn without_secrets(found: &PullSecrets) -> Vec<String> {
    assert_eq!(found.secrets, []);
    notes(found)
}

/// What is said of the service account when the API server went away before.
fn unasked(api: &KubeApi) -> String {
    format!("API server https://{}: not asked any more for service account ci/builder", api.address())
}

fn find(secrets: &PullSecrets) -> Found {
    pull_secrets::credentials(&secrets.secrets, "ghcr.io", "team/app")
}

#[test]
fn pull_secrets_are_read_in_the_order_in_which_the_service_account_names_them() {
    let api = cluster(&["second", "first", "second", ""])
        .pull_secret("ci", "first", "ghcr.io", "one", PASSWORD)
        .pull_secret("ci", "second", "ghcr.io", "two", PASSWORD)
        .allow("ci/builder", "secrets", &["first", "second"])
        .start();
    let read = Pod::of(&api).read();
    assert_eq!(notes(&read), [""; 0]);
    assert!(read.complete);
    assert_eq!(
        api.lines(),
        [
            GET_POD,
            "GET /api/v1/namespaces/ci/serviceaccounts/builder",
            "GET /api/v1/namespaces/ci/secrets/second",
            "GET /api/v1/namespaces/ci/secrets/first",
        ]
    );
    let found = find(&read);
    let users: Vec<_> = found
        .credentials
        .iter()
        .map(|credential| {
            let Proof::Basic { username, password } = &credential.proof else { panic!("{credential:?}") };
            assert_eq!(password.expose(), PASSWORD);
            username.as_str()
        })
        .collect();
    assert_eq!(users, ["two", "one"]);
    assert_eq!(found.credentials[0].source, r#"pull secret ci/second of the service account, key "ghcr.io""#);
}

#[test]
fn pull_secrets_come_before_dockers_config_and_the_story_names_every_source() {
    let api = cluster(&["regcred", "other"])
        .pull_secret("ci", "regcred", "ghcr.io", "cluster", PASSWORD)
        .pull_secret("ci", "other", "quay.io", "cluster", PASSWORD)
        .allow("ci/builder", "secrets", &["regcred", "other"])
        .start();
    let pod = Pod::of(&api);
    let entry = |user: &str| json!({"username": user, "password": PASSWORD});
    let config = json!({"auths": {"ghcr.io/team": entry("docker"), "ghcr.io": entry("cluster")}});
    fs::write(pod.dir.path().join("config.json"), config.to_string()).expect("a file");
    let docker: Env = [("DOCKER_CONFIG", pod.dir.path())].into_iter().collect();

    let mut found = find(&pod.read());
    let helpers = Helpers::Not(NotRun::NotAllowed);
    found.merge(block_on(config_files::credentials(&docker, &helpers, "ghcr.io", "team/app")));
    assert_eq!(
        found.credentials.iter().map(|credential| credential.source.clone()).collect::<Vec<_>>(),
        [
            r#"pull secret ci/regcred of the service account, key "ghcr.io""#.to_owned(),
            format!("docker config {}, key \"ghcr.io/team\"", pod.path("config.json")),
        ]
    );
    assert_eq!(
        found.notes.iter().map(ToString::to_string).collect::<Vec<_>>(),
        [r#"pull secret ci/other of the service account: no entry for ghcr.io/team/app; it has "quay.io""#]
    );
    assert!(!format!("{found:?}").contains(PASSWORD));
}

#[test]
fn a_service_account_that_may_not_read_itself_is_told_which_role_is_needed() {
    let api = Cluster::new().service_account("ci", "builder", &["regcred"]).start();
    let read = Pod::of(&api).read();
    assert_eq!(
        without_secrets(&read),
        [concat!(
            "service account ci/builder: forbidden: service account ci/builder may not get service account ci/builder; ",
            "a Role with get on serviceaccounts is needed"
        )]
    );
    assert!(read.complete, "permissions do not change while a step waits");
}

#[test]
fn a_token_that_is_not_accepted_is_named() {
    let api = cluster(&["regcred"]).revoke("ci", "builder").start();
    let pod = Pod::of(&api);
    let read = pod.read();
    assert_eq!(
        without_secrets(&read),
        [
            format!("pod ci/taskrun-pod: unauthorized: the API server does not accept the token {}", pod.path("token")),
            unasked(&api),
        ]
    );
    assert!(!read.complete);
}

#[test]
fn outside_a_cluster_there_is_nothing_that_was_missed() {
    let api = cluster(&["regcred"]).start();
    let mut pod = Pod::of(&api);
    fs::remove_file(pod.dir.path().join("token")).expect("it was there");
    let read = pod.read();
    assert_eq!(
        without_secrets(&read),
        [format!(
            "service account: no token at {}: not in a cluster, or the pod has automountServiceAccountToken: false",
            pod.path("token")
        )]
    );
    assert!(read.complete);

    pod.env = Env::default();
    pod.service_account = Some("builder");
    let read = pod.read();
    assert_eq!(
        without_secrets(&read),
        ["service account builder: not in a cluster: KUBERNETES_SERVICE_HOST is not set"]
    );
    assert!(read.complete);
    assert_eq!(api.lines(), [""; 0]);
}

#[test]
fn a_token_that_cannot_be_used_is_named_and_not_shown() {
    let api = cluster(&["regcred"]).start();
    let pod = Pod::of(&api);
    for (content, expected) in [
        ("", "is empty or no token"),
        ("\n", "is empty or no token"),
        ("hunter2-the-password\nX-Injected: 1", "is empty or no token"),
    ] {
        fs::write(pod.dir.path().join("token"), content).expect("a file");
        let read = pod.read();
        assert_eq!(without_secrets(&read), [format!("service account: the token {} {expected}", pod.path("token"))]);
        assert!(!read.complete);
    }
    fs::remove_file(pod.dir.path().join("token")).expect("it was there");
    fs::create_dir(pod.dir.path().join("token")).expect("a directory");
    assert_eq!(
        without_secrets(&pod.read()),
        [format!("service account: the token {} cannot be read: is a directory", pod.path("token"))]
    );
    assert_eq!(api.lines(), [""; 0]);
}

#[test]
fn the_token_is_read_anew_for_every_call() {
    let dir = TempDir::new().expect("a directory");
    let authority = Authority::new("kubernetes");
    authority.write(dir.path());
    let token_file = dir.path().join("token");
    let pod = on("GET", "/api/v1/namespaces/ci/pods/taskrun-pod", |_| Answer::json(json!({"spec": {}}).to_string()));
    fs::write(&token_file, support::kube_api::token("ci", "builder")).expect("a file");
    let account = on("GET", "/api/v1/namespaces/ci/serviceaccounts/builder", move |_| {
        fs::write(&token_file, "renewed\n").expect("a file");
        Answer::json(json!({"metadata": {}, "imagePullSecrets": [{"name": "regcred"}]}).to_string())
    });
    let secret = on("GET", "/api/v1/namespaces/ci/secrets/regcred", |request| {
        assert_eq!(request.header("Authorization"), Some("Bearer renewed"));
        Answer::json(json!({"metadata": {}, "type": "Opaque"}).to_string())
    });
    let server = Server::scripted(Bound::new(), Some(authority.server(LOOPBACK)), vec![pod, account, secret]);
    let address = server.address();
    let env = [
        ("KUBERNETES_SERVICE_HOST", address.ip().to_string()),
        ("KUBERNETES_SERVICE_PORT", address.port().to_string()),
    ];
    let env = env.into_iter().collect();
    let read = Pod::new(env, dir).read();
    server.finish();
    assert!(read.complete, "{:?}", read.notes);
    assert_eq!(
        find(&read).notes[0].to_string(),
        concat!(
            "pull secret ci/regcred of the service account: its type \"Opaque\" holds no registry credentials ",
            "(kubernetes.io/dockerconfigjson and kubernetes.io/dockercfg do)"
        )
    );
}

#[test]
fn an_api_server_that_is_not_there_is_named() {
    let mut api = cluster(&["regcred"]).start();
    let pod = Pod::of(&api);
    api.stop();
    let read = pod.read();
    assert_eq!(
        without_secrets(&read),
        [
            format!("pod ci/taskrun-pod: the API server https://{} cannot be asked: connection refused", api.address()),
            unasked(&api),
        ]
    );
    assert!(!read.complete);
}

#[test]
fn only_the_service_accounts_own_authority_is_trusted() {
    let api = cluster(&["regcred"]).start();
    let pod = Pod::of(&api);
    Authority::new("another").write(pod.dir.path());
    assert_eq!(
        without_secrets(&pod.read()),
        [
            format!(
                "pod ci/taskrun-pod: the API server https://{} cannot be asked: \
                 its certificate is signed by an authority that is not trusted here",
                api.address()
            ),
            unasked(&api),
        ]
    );
    fs::remove_file(pod.dir.path().join("ca.crt")).expect("it was there");
    let read = pod.read();
    assert_eq!(
        without_secrets(&read),
        [format!(
            "service account ci/builder: cannot read the certificates in {}: no such file or directory",
            pod.path("ca.crt")
        )]
    );
    assert!(!read.complete);
    assert_eq!(api.lines(), [""; 0]);
}

#[test]
fn a_server_that_never_answers_is_left() {
    let api = cluster(&["slow"]).odd("ci", "serviceaccounts", "builder", Reply::Stall(Vec::new())).start();
    let mut pod = Pod::of(&api);
    pod.deadline = IMPATIENT;
    let read = pod.read();
    assert_eq!(
        without_secrets(&read),
        [format!("service account ci/builder: the API server https://{} gave no answer within 1s", api.address())]
    );
    assert!(!read.complete);
}

#[test]
fn a_server_that_went_away_is_not_asked_for_the_other_secrets() {
    let api = cluster(&["first", "next", "last"])
        .allow("ci/builder", "secrets", &["first", "next", "last"])
        .odd("ci", "secrets", "first", Reply::Close)
        .start();
    let read = Pod::of(&api).read();
    assert_eq!(
        without_secrets(&read),
        [
            format!(
                "pull secret ci/first of the service account: the API server https://{} cannot be asked: \
                 the connection was closed before the answer was complete",
                api.address()
            ),
            format!(
                "API server https://{}: not asked any more for pull secret ci/next of the service account, \
                 pull secret ci/last of the service account",
                api.address()
            ),
        ]
    );
    assert!(!read.complete);
}

#[test]
fn a_secret_that_is_too_large_does_not_hide_the_next() {
    let api = cluster(&["huge", "regcred"])
        .secret("ci", "huge", "kubernetes.io/dockercfg", ".dockercfg", vec![b' '; 1_600_000])
        .pull_secret("ci", "regcred", "ghcr.io", "me", PASSWORD)
        .allow("ci/builder", "secrets", &["huge", "regcred"])
        .start();
    let read = Pod::of(&api).read();
    assert_eq!(
        notes(&read),
        [format!(
            "pull secret ci/huge of the service account: the API server https://{} gave no usable answer: \
             its answer is longer than 2097152 bytes",
            api.address()
        )]
    );
    assert_eq!(find(&read).credentials.len(), 1);
}

#[test]
fn answers_that_are_no_api_servers_are_told_apart_and_not_repeated() {
    let object = |password: &str| json!({"kind": "Secret", "metadata": {}, "data": {".dockercfg": [password]}});
    for (reply, expected) in [
        (
            Reply::from(Answer::new(500).body("etcd is\nsad")),
            r"the API server https://ADDRESS answered 500: etcd is\nsad",
        ),
        (Reply::from(Answer::new(503)), "the API server https://ADDRESS answered 503"),
        (
            Reply::from(Answer::json(object(PASSWORD).to_string())),
            "the API server https://ADDRESS answered with something else than the object: line 1, column ",
        ),
        (
            Reply::from(Answer::new(302).header("Location", "https://127.0.0.1:1/")),
            "the API server https://ADDRESS answered with something else than the object: line 1, column 0",
        ),
        (
            Reply::Endless(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_vec(), vec![b' '; 4096]),
            "the API server https://ADDRESS gave no usable answer: its answer is longer than 2097152 bytes",
        ),
        (
            Reply::Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n".to_vec()),
            "the API server https://ADDRESS gave no usable answer: its answer is longer than 2097152 bytes",
        ),
        (
            Reply::Close,
            "the API server https://ADDRESS cannot be asked: the connection was closed before the answer was complete",
        ),
        (
            Reply::Raw(b"SSH-2.0-OpenSSH_9.9\r\n\r\n".to_vec()),
            "the API server https://ADDRESS cannot be asked: what answers there does not speak HTTP",
        ),
    ] {
        let api = cluster(&["regcred"])
            .allow("ci/builder", "secrets", &["regcred"])
            .odd("ci", "secrets", "regcred", reply)
            .start();
        let read = Pod::of(&api).read();
        let [note] = <[String; 1]>::try_from(without_secrets(&read)).expect("one note");
        let expected = format!(
            "pull secret ci/regcred of the service account: {}",
            expected.replace("ADDRESS", &api.address().to_string())
        );
        assert!(note.starts_with(&expected), "{note}\nis not\n{expected}");
        assert!(!read.complete);
        assert!(!format!("{read:?}").contains(PASSWORD), "{read:?}");
    }
}

#[test]
fn no_proxy_is_asked_and_no_kubeconfig_read() {
    let api = cluster(&[]).start();
    let mut pod = Pod::of(&api);
    // Under a name, since Go's rules keep loopback addresses from a proxy anyway. Nothing listens at this proxy.
    let hosts = pod.dir.path().join("hosts");
    fs::write(&hosts, "127.0.0.1 kubernetes.default.svc\n").expect("a file");
    let resolv_conf = pod.dir.path().join("resolv.conf");
    fs::write(&resolv_conf, "").expect("a file");
    pod.names = NameFiles { resolv_conf, hosts };
    let port = api.address().port().to_string();
    pod.env = [
        ("KUBERNETES_SERVICE_HOST", "kubernetes.default.svc"),
        ("KUBERNETES_SERVICE_PORT", port.as_str()),
        ("HTTPS_PROXY", "http://127.0.0.1:1"),
        ("https_proxy", "http://127.0.0.1:1"),
        ("KUBECONFIG", "/nonexistent/kubeconfig"),
    ]
    .into_iter()
    .collect();
    assert_eq!(without_secrets(&pod.read()), ["service account ci/builder: names no imagePullSecrets"]);
}

#[test]
fn every_form_of_pull_secret_is_read_and_no_story_tells_a_secret() {
    let auth = "bWU6aHVudGVyMi10aGUtcGFzc3dvcmQ=";
    let api = cluster(&["new", "old", "opaque", "broken", "half", "bytes"])
        .secret(
            "ci",
            "new",
            "kubernetes.io/dockerconfigjson",
            ".dockerconfigjson",
            json!({"auths": {"ghcr.io/team": {"auth": auth}}}).to_string(),
        )
        .secret(
            "ci",
            "old",
            "kubernetes.io/dockercfg",
            ".dockercfg",
            json!({"ghcr.io": {"username": "old", "password": PASSWORD}}).to_string(),
        )
        .secret("ci", "opaque", "Opaque", ".dockerconfigjson", PASSWORD)
        .secret("ci", "broken", "kubernetes.io/dockerconfigjson", ".dockerconfigjson", PASSWORD)
        .secret(
            "ci",
            "half",
            "kubernetes.io/dockerconfigjson",
            ".dockerconfigjson",
            json!({"auths": {"https://me:hunter2-the-password@ghcr.io": {"auth": PASSWORD}}}).to_string(),
        )
        .secret("ci", "bytes", "kubernetes.io/dockercfg", ".dockercfg", b"\xff\xfe")
        .allow("ci/builder", "secrets", &["new", "old", "opaque", "broken", "half", "bytes"])
        .start();
    let read = Pod::of(&api).read();
    assert_eq!(notes(&read), [""; 0]);
    assert!(read.complete);
    let found = find(&read);
    assert_eq!(
        found.credentials.iter().map(|credential| credential.source.as_str()).collect::<Vec<_>>(),
        [
            r#"pull secret ci/new of the service account, key "ghcr.io/team""#,
            r#"pull secret ci/old of the service account, key "ghcr.io""#
        ]
    );
    assert_eq!(
        found.notes.iter().map(ToString::to_string).collect::<Vec<_>>(),
        [
            concat!(
                "pull secret ci/opaque of the service account: its type \"Opaque\" holds no registry credentials ",
                "(kubernetes.io/dockerconfigjson and kubernetes.io/dockercfg do)"
            ),
            "pull secret ci/broken of the service account: it is not JSON: expected value at line 1 column 1",
            r#"pull secret ci/half of the service account: entry "https://ghcr.io" is skipped: its "auth" is not base64"#,
            r#"pull secret ci/half of the service account: no entry for ghcr.io/team/app; it has "https://ghcr.io""#,
            r#"pull secret ci/bytes of the service account: its ".dockercfg" is not UTF-8"#,
        ]
    );
    for text in [format!("{read:?}"), format!("{found:?}"), format!("{:?} {:?}", read.notes, found.notes)] {
        assert!(!text.contains(PASSWORD) && !text.contains(auth), "{text}");
    }
}

#[test]
fn names_that_are_given_win_over_the_tokens_own() {
    let api = cluster(&[]).allow("ci/builder", "serviceaccounts", &["deployer"]).start();
    let mut pod = Pod::of(&api);
    pod.service_account = Some("deployer");
    assert_eq!(
        without_secrets(&pod.read()),
        ["service account ci/deployer: not found: the cluster has no service account of this name"]
    );
    pod.namespace = Some("prod");
    assert_eq!(
        without_secrets(&pod.read()),
        [concat!(
            "service account prod/deployer: forbidden: service account ci/builder may not get ",
            "service account prod/deployer; a Role with get on serviceaccounts is needed"
        )]
    );
    pod.namespace = Some("../secrets");
    let read = pod.read();
    assert_eq!(
        without_secrets(&read),
        [concat!(
            "service account ../secrets/deployer: \"../secrets\" cannot be the name of a namespace: ",
            "it has other characters than a-z, 0-9, `-` and `.`, or is too long"
        )]
    );
    assert_eq!(
        api.lines(),
        [
            GET_POD,
            "GET /api/v1/namespaces/ci/serviceaccounts/deployer",
            GET_POD,
            "GET /api/v1/namespaces/prod/serviceaccounts/deployer",
        ]
    );
}

#[test]
fn a_token_that_says_nothing_leaves_it_to_the_namespace_file_and_default() {
    let api = cluster(&[]).start();
    let pod = Pod::of(&api);
    fs::write(pod.dir.path().join("token"), "opaque\n").expect("a file");
    assert_eq!(
        without_secrets(&pod.read()),
        [
            "pod: the pod may not be read: the token does not say which pod it is for".to_owned(),
            format!(
                "service account ci/default: unauthorized: the API server does not accept the token {}",
                pod.path("token")
            ),
        ]
    );
    fs::remove_file(pod.dir.path().join("namespace")).expect("it was there");
    let [note] = <[String; 1]>::try_from(without_secrets(&pod.read())).expect("one note");
    assert_eq!(
        note,
        format!(
            "service account: the namespace is unknown: the token does not say it, and {} cannot be read: \
             no such file or directory",
            pod.path("namespace")
        )
    );
}
