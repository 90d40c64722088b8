//! A loopback Kubernetes API over TLS: pods, service accounts, secrets, bearer tokens and permissions, with the real server's
//! answers. Good enough for `kubectl get`. The demo uses it too.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of this")]
#![allow(clippy::expect_used, reason = "a test that cannot set up its cluster is to fail")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::server::{Answer, Bound, Reply, Request, Server};
use super::tls::{Authority, LOOPBACK};

/// What is in the cluster, and who may read it. Whoever is not allowed to read something is forbidden to.
#[derive(Default)]
pub struct Cluster {
    /// By path.
    objects: BTreeMap<String, Value>,
    /// Subject, path of the object.
    rules: Vec<(String, String)>,
    /// By path: answers that are no API server's.
    odd: BTreeMap<String, Reply>,
    /// Bearer tokens that are accepted, and their subjects.
    tokens: BTreeMap<String, String>,
    /// Whether access reviews are refused.
    no_reviews: bool,
    /// By path: pods whose statuses come late, and how they were asked for so far.
    late: BTreeMap<String, (Late, Mutex<Asked>)>,
}

/// Until when a pod's containers have no `imageID` and are not started.
#[derive(Debug, Clone, Copy)]
pub enum Late {
    /// In the first answers.
    Answers(usize),
    /// For so long after the first answer.
    For(Duration),
}

/// How a pod was asked for so far.
#[derive(Default)]
struct Asked {
    times: usize,
    first: Option<Instant>,
}

impl Late {
    /// Whether the next answer is without statuses.
    fn is_now(self, asked: &Mutex<Asked>) -> bool {
        let mut asked = asked.lock().expect("a count");
        let first = *asked.first.get_or_insert_with(Instant::now);
        asked.times += 1;
        match self {
            Self::Answers(first) => asked.times <= first,
            Self::For(time) => first.elapsed() < time,
        }
    }
}

impl Cluster {
    /// An empty cluster.
    pub fn new() -> Self {
        Self::default()
    }

    /// A service account with its `imagePullSecrets`. Its token is accepted from now on.
    pub fn service_account(mut self, namespace: &str, name: &str, pull_secrets: &[&str]) -> Self {
        let references: Vec<_> = pull_secrets.iter().map(|secret| json!({"name": secret})).collect();
        let mut account = json!({
            "kind": "ServiceAccount",
            "apiVersion": "v1",
            "metadata": {"name": name, "namespace": namespace, "uid": uid(name)},
        });
        if !references.is_empty() {
            account["imagePullSecrets"] = Value::Array(references);
        }
        self.objects.insert(path(namespace, "serviceaccounts", name), account);
        self.tokens.insert(token(namespace, name), subject(namespace, name));
        self
    }

    /// A pod with its `imagePullSecrets`. The pod of every token is `taskrun-pod`.
    pub fn pod(mut self, namespace: &str, name: &str, pull_secrets: &[&str]) -> Self {
        let references: Vec<_> = pull_secrets.iter().map(|secret| json!({"name": secret})).collect();
        let mut pod = json!({
            "kind": "Pod",
            "apiVersion": "v1",
            "metadata": {"name": name, "namespace": namespace, "uid": uid(name)},
            "spec": {"containers": [{"name": "step-build", "image": "ghcr.io/team/app"}], "restartPolicy": "Never"},
            "status": {"phase": "Running"},
        });
        if !references.is_empty() {
            pod["spec"]["imagePullSecrets"] = Value::Array(references);
        }
        self.objects.insert(path(namespace, "pods", name), pod);
        self
    }

    /// Adds a container to a pod (or changes one): the image that the pod asks for, and what kubelet reports of it, `image`
    /// and `imageID`. An empty `imageID` is that of a container which is not started.
    pub fn container(self, namespace: &str, pod: &str, name: &str, asked: &str, (image, id): (&str, &str)) -> Self {
        self.contains(namespace, pod, ["containers", "containerStatuses"], name, asked, (image, id))
    }

    /// The same for a container of the initialisation, which has ended.
    pub fn init_container(self, namespace: &str, pod: &str, name: &str, asked: &str, is: (&str, &str)) -> Self {
        self.contains(namespace, pod, ["initContainers", "initContainerStatuses"], name, asked, is)
    }

    fn contains(
        mut self,
        namespace: &str,
        pod: &str,
        [spec, statuses]: [&str; 2],
        name: &str,
        asked: &str,
        (image, id): (&str, &str),
    ) -> Self {
        let state = match (id, spec) {
            ("", _) => json!({"waiting": {"reason": "ContainerCreating"}}),
            (_, "initContainers") => json!({"terminated": {"exitCode": 0, "reason": "Completed"}}),
            _ => json!({"running": {"startedAt": "2026-11-21T00:00:00Z"}}),
        };
        let started = !id.is_empty() && spec == "containers";
        let status = json!({"name": name, "image": image, "imageID": id, "state": state, "lastState": {},
            "ready": started, "restartCount": 0, "started": started});
        let pod = self.objects.get_mut(&path(namespace, "pods", pod)).expect("the pod, before its containers");
        for (part, list, entry) in [("spec", spec, json!({"name": name, "image": asked})), ("status", statuses, status)]
        {
            let list = &mut pod[part][list];
            if list.is_null() {
                *list = json!([]);
            }
            let list = list.as_array_mut().expect("a list");
            match list.iter_mut().find(|other| other["name"] == name) {
                Some(other) => *other = entry,
                None => list.push(entry),
            }
        }
        self
    }

    /// Has the statuses of a pod's containers come late.
    pub fn late(mut self, namespace: &str, pod: &str, late: Late) -> Self {
        self.late.insert(path(namespace, "pods", pod), (late, Mutex::default()));
        self
    }

    /// Gives a pod another UID than that of the tokens: a later pod of the same name.
    pub fn pod_uid(mut self, namespace: &str, pod: &str, uid: &str) -> Self {
        let pod = self.objects.get_mut(&path(namespace, "pods", pod)).expect("the pod");
        pod["metadata"]["uid"] = json!(uid);
        self
    }

    /// Accepts another token of a service account.
    pub fn accept(mut self, token: &str, namespace: &str, name: &str) -> Self {
        self.tokens.insert(token.to_owned(), subject(namespace, name));
        self
    }

    /// A secret of any type, with one key.
    pub fn secret(mut self, namespace: &str, name: &str, kind: &str, key: &str, content: impl AsRef<[u8]>) -> Self {
        let secret = json!({
            "kind": "Secret",
            "apiVersion": "v1",
            "metadata": {"name": name, "namespace": namespace, "uid": uid(name)},
            "type": kind,
            "data": {key: STANDARD.encode(content)},
        });
        self.objects.insert(path(namespace, "secrets", name), secret);
        self
    }

    /// A pull secret with a user name and a password under one key, as `kubectl create secret docker-registry` makes it.
    pub fn pull_secret(self, namespace: &str, name: &str, key: &str, username: &str, password: &str) -> Self {
        let auth = STANDARD.encode(format!("{username}:{password}"));
        let config = json!({"auths": {key: {"username": username, "password": password, "auth": auth}}});
        self.secret(namespace, name, "kubernetes.io/dockerconfigjson", ".dockerconfigjson", config.to_string())
    }

    /// Lets a service account (`ci/builder`) get objects of its own namespace: resource (`secrets`) and names.
    pub fn allow(mut self, account: &str, resource: &str, names: &[&str]) -> Self {
        let (namespace, name) = account.split_once('/').expect("namespace/name");
        for object in names {
            self.rules.push((subject(namespace, name), path(namespace, resource, object)));
        }
        self
    }

    /// Refuses to say who may do what, as a cluster without the role `system:basic-user` does.
    pub fn without_reviews(mut self) -> Self {
        self.no_reviews = true;
        self
    }

    /// Answers a GET of an object with something else than an API server would.
    pub fn odd(mut self, namespace: &str, resource: &str, name: &str, reply: impl Into<Reply>) -> Self {
        self.odd.insert(path(namespace, resource, name), reply.into());
        self
    }

    /// Forgets that a service account's token is valid.
    pub fn revoke(mut self, namespace: &str, name: &str) -> Self {
        self.tokens.remove(&token(namespace, name));
        self
    }

    /// Starts the API server.
    pub fn start(self) -> KubeApi {
        self.start_with(Self::answer)
    }

    /// Starts an API server that answers in another way.
    pub fn start_with(self, answer: impl Fn(&Self, &Request) -> Reply + Send + Sync + 'static) -> KubeApi {
        let authority = Authority::new("kubernetes");
        let tls = authority.server(&[LOOPBACK, &["kubernetes.default.svc"]].concat());
        let server = Server::handler(Bound::new(), Some(tls), move |request| answer(&self, request));
        KubeApi { server, authority }
    }

    /// The answer to a request.
    pub fn answer(&self, request: &Request) -> Reply {
        let bearer = request.header("Authorization").and_then(|value| value.strip_prefix("Bearer "));
        let Some(subject) = bearer.and_then(|token| self.tokens.get(token)) else {
            return status(401, "Unauthorized", "Unauthorized", &json!(null)).into();
        };
        if let Some(reply) = self.odd.get(request.path()) {
            return reply.clone();
        }
        if let Some(document) = discovery(request.path()) {
            return Answer::json(document.to_string()).into();
        }
        if request.line() == "POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews" {
            return self.review(subject, &request.body).into();
        }
        let parts: Vec<_> = request.path().split('/').collect();
        let ["", "api", "v1", "namespaces", namespace, resource, name] = parts.as_slice() else {
            let message = "the server could not find the requested resource";
            return status(404, "NotFound", message, &json!({})).into();
        };
        let details = json!({"name": name, "kind": resource});
        if request.method != "GET" {
            let message = "the server does not allow this method on the requested resource";
            return status(405, "MethodNotAllowed", message, &details).into();
        }
        // As in the real server: who may not read an object is not told whether it exists.
        if !self.rules.iter().any(|(who, what)| who == subject && what == request.path()) {
            let message = format!(
                "{resource} \"{name}\" is forbidden: User \"{subject}\" cannot get resource \"{resource}\" in API \
                 group \"\" in the namespace \"{namespace}\""
            );
            return status(403, "Forbidden", &message, &details).into();
        }
        match self.objects.get(request.path()) {
            Some(object) => Answer::json(self.as_of_now(request.path(), object).to_string()).into(),
            None => status(404, "NotFound", &format!("{resource} \"{name}\" not found"), &details).into(),
        }
    }

    /// Whether a subject may do what it asks about: <https://kubernetes.io/docs/reference/kubernetes-api/authorization-resources/self-subject-access-review-v1/>.
    fn review(&self, subject: &str, body: &[u8]) -> Answer {
        if self.no_reviews {
            let message =
                format!("selfsubjectaccessreviews.authorization.k8s.io is forbidden: User \"{subject}\" cannot create");
            return status(403, "Forbidden", &message, &json!({}));
        }
        let mut review: Value = serde_json::from_slice(body).expect("a review");
        let asked = &review["spec"]["resourceAttributes"];
        let word = |name: &str| asked[name].as_str().expect("a word").to_owned();
        assert_eq!((word("verb").as_str(), review["kind"].as_str()), ("get", Some("SelfSubjectAccessReview")));
        let path = path(&word("namespace"), &word("resource"), &word("name"));
        let allowed = self.rules.iter().any(|(who, what)| who == subject && *what == path);
        review["status"] = json!({"allowed": allowed, "reason": if allowed { "RBAC: allowed" } else { "" }});
        Answer::json(review.to_string()).with_status(201)
    }

    /// An object, without what kubelet has not reported yet.
    fn as_of_now(&self, path: &str, object: &Value) -> Value {
        let mut object = object.clone();
        let Some((late, asked)) = self.late.get(path) else { return object };
        if late.is_now(asked) {
            for status in object["status"]["containerStatuses"].as_array_mut().into_iter().flatten() {
                status["imageID"] = json!("");
                status["state"] = json!({"waiting": {"reason": "ContainerCreating"}});
            }
        }
        object
    }
}

/// A running API server.
pub struct KubeApi {
    server: Server,
    authority: Authority,
}

impl KubeApi {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// The variables that kubelet sets in every container.
    pub fn env(&self) -> [(String, String); 2] {
        let address = self.address();
        [
            ("KUBERNETES_SERVICE_HOST".to_owned(), address.ip().to_string()),
            ("KUBERNETES_SERVICE_PORT".to_owned(), address.port().to_string()),
        ]
    }

    /// Writes what kubelet mounts for a service account: `token`, `ca.crt` and `namespace`.
    pub fn mount(&self, directory: &Path, namespace: &str, name: &str) {
        self.authority.write(directory);
        std::fs::write(directory.join("token"), token(namespace, name)).expect("token is written");
        std::fs::write(directory.join("namespace"), namespace).expect("namespace is written");
    }

    /// The lines of everything that was asked so far: `GET /api/v1/...`.
    pub fn lines(&self) -> Vec<String> {
        self.server.lines()
    }

    /// Stops listening: what comes next is refused.
    pub fn stop(&mut self) {
        self.server.stop();
    }
}

/// A service account's token: the claims of one that is bound to `taskrun-pod`, without a signature. This server compares
/// it as a whole.
pub fn token(namespace: &str, name: &str) -> String {
    let claims = json!({
        "aud": ["https://kubernetes.default.svc.cluster.local"],
        "iss": "https://kubernetes.default.svc.cluster.local",
        "kubernetes.io": {
            "namespace": namespace,
            "node": {"name": "node-1", "uid": uid("node-1")},
            "pod": {"name": "taskrun-pod", "uid": uid("taskrun-pod")},
            "serviceaccount": {"name": name, "uid": uid(name)},
        },
        "sub": subject(namespace, name),
    });
    unsigned(&claims)
}

/// A token of before Kubernetes 1.22: it says whose it is, and not for which pod.
pub fn token_without_pod(namespace: &str, name: &str) -> String {
    unsigned(&json!({"iss": "kubernetes/serviceaccount", "sub": subject(namespace, name)}))
}

fn unsigned(claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.unsigned", part(&json!({"alg": "none", "typ": "JWT"})), part(claims))
}

fn subject(namespace: &str, name: &str) -> String {
    format!("system:serviceaccount:{namespace}:{name}")
}

fn path(namespace: &str, resource: &str, name: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/{resource}/{name}")
}

/// An identifier that looks like the cluster's.
pub fn uid(name: &str) -> String {
    let sum = name.bytes().fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    format!("{sum:08x}-0000-4000-8000-000000000000")
}

/// A `Status`, which an API server answers with when it has no object.
fn status(code: u16, reason: &str, message: &str, details: &Value) -> Answer {
    let mut status = json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": code,
    });
    if !details.is_null() {
        status["details"] = details.clone();
    }
    Answer::new(code).header("Content-Type", "application/json").body(status.to_string())
}

/// What `kubectl` asks before it asks for an object.
fn discovery(path: &str) -> Option<Value> {
    let resource = |name: &str, singular: &str, kind: &str| json!({"name": name, "singularName": singular, "namespaced": true, "kind": kind, "verbs": ["get"]});
    match path {
        "/version" => Some(json!({"major": "1", "minor": "33", "gitVersion": "v1.33.0"})),
        "/api" => Some(json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []})),
        "/apis" => Some(json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": []})),
        "/api/v1" => Some(json!({
            "kind": "APIResourceList",
            "groupVersion": "v1",
            "resources": [
                resource("pods", "pod", "Pod"),
                resource("secrets", "secret", "Secret"),
                resource("serviceaccounts", "serviceaccount", "ServiceAccount"),
            ],
        })),
        _ => None,
    }
}
