//! An API server on loopback that keeps what it is given: enough for what the pages have `kubectl` do, and nothing else.
//!
//! Pods end as soon as they are there, with a log of one line. A request for what it does not know fails the test.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};

use crate::protobuf;
use crate::server::{Answer, Bound, Reply, Request, Server};

/// Kind and plural.
type Kinds = &'static [(&'static str, &'static str)];

/// Group, version, and what is in it.
const KNOWN: [(&str, &str, Kinds); 6] = [
    (
        "",
        "v1",
        &[
            ("Pod", "pods"),
            ("Secret", "secrets"),
            ("ServiceAccount", "serviceaccounts"),
            ("ConfigMap", "configmaps"),
            ("Namespace", "namespaces"),
            ("Service", "services"),
        ],
    ),
    ("apps", "v1", &[("Deployment", "deployments")]),
    ("authorization.k8s.io", "v1", &[("SelfSubjectAccessReview", "selfsubjectaccessreviews")]),
    ("networking.k8s.io", "v1", &[("NetworkPolicy", "networkpolicies")]),
    ("rbac.authorization.k8s.io", "v1", &[("Role", "roles"), ("RoleBinding", "rolebindings")]),
    (
        "tekton.dev",
        "v1",
        &[("Task", "tasks"), ("TaskRun", "taskruns"), ("Pipeline", "pipelines"), ("PipelineRun", "pipelineruns")],
    ),
];

/// A change that somebody asked for: what was done, to which object, and with which document.
#[derive(Debug, Clone)]
pub struct Change {
    /// `POST pods`, `PATCH deployments/tekton-pipelines-controller`, `DELETE pods/resolve`; a subresource behind it.
    pub line: String,
    /// Whom the caller wants to be taken for.
    pub as_user: Option<String>,
    pub body: Value,
}

#[derive(Default)]
struct Stored {
    /// By path.
    objects: BTreeMap<String, Value>,
    changes: Vec<Change>,
}

/// A running one.
pub struct Api {
    server: Server,
    stored: Arc<Mutex<Stored>>,
}

impl Api {
    /// With these objects in it.
    pub fn with(objects: &[(&str, Value)]) -> Self {
        let objects = objects.iter().map(|(path, object)| ((*path).to_owned(), object.clone())).collect();
        let stored = Arc::new(Mutex::new(Stored { objects, changes: Vec::new() }));
        let of_server = Arc::clone(&stored);
        let server = Server::handler(Bound::new(), None, move |request| {
            answer(&mut of_server.lock().unwrap_or_else(PoisonError::into_inner), request)
        });
        Self { server, stored }
    }

    /// What a kubeconfig for it is.
    pub fn kubeconfig(&self) -> String {
        let server = format!("http://{}", self.server.address());
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "x",
            "clusters": [{"name": "x", "cluster": {"server": server}}],
            "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
            "users": [{"name": "x", "user": {}}],
        })
        .to_string()
    }

    /// What was changed since it was asked last.
    pub fn changes(&self) -> Vec<Change> {
        std::mem::take(&mut self.stored.lock().unwrap_or_else(PoisonError::into_inner).changes)
    }

    /// Stops it. Whatever was asked and not known fails the test.
    pub fn finish(self) -> Vec<Request> {
        self.server.finish()
    }
}

fn group_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

/// The path under which a group's version stands, without the first slash.
fn root(group: &str, version: &str) -> String {
    if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") }
}

/// What `kubectl` asks for to learn what there is.
fn discovery(path: &str) -> Option<Value> {
    match path {
        "/api" => return Some(json!({"kind": "APIVersions", "versions": ["v1"]})),
        "/apis" => {
            let groups = KNOWN.iter().filter(|(group, ..)| !group.is_empty()).map(|(group, version, _)| {
                let this = json!({"groupVersion": group_version(group, version), "version": version});
                json!({"name": group, "versions": [this], "preferredVersion": this})
            });
            return Some(json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups.collect::<Vec<_>>()}));
        }
        "/version" => return Some(json!({"major": "1", "minor": "32", "gitVersion": "v1.32.0"})),
        "/openapi/v3" => {
            let paths = KNOWN.iter().map(|(group, version, _)| {
                let root = root(group, version);
                (root.clone(), json!({"serverRelativeURL": format!("/openapi/v3/{root}")}))
            });
            return Some(json!({"paths": paths.collect::<serde_json::Map<_, _>>()}));
        }
        _ => {}
    }
    KNOWN.iter().find_map(|(group, version, kinds)| {
        let root = root(group, version);
        if path == format!("/{root}") {
            let resources = kinds.iter().map(|(kind, plural)| {
                json!({"name": plural, "singularName": kind.to_lowercase(), "kind": kind,
                    "namespaced": *kind != "Namespace",
                    "verbs": ["create", "delete", "get", "list", "patch", "watch"]})
            });
            return Some(json!({"kind": "APIResourceList", "apiVersion": "v1",
                "groupVersion": group_version(group, version), "resources": resources.collect::<Vec<_>>()}));
        }
        (path == format!("/openapi/v3/{root}")).then(|| schema(group, version, kinds))
    })
}

/// That the server checks the fields of what it is given, so that `kubectl` need not.
fn schema(group: &str, version: &str, kinds: &[(&str, &str)]) -> Value {
    let parameters: Vec<Value> = ["fieldValidation", "dryRun"]
        .iter()
        .map(|name| json!({"name": name, "in": "query", "schema": {"type": "string"}}))
        .collect();
    let paths = kinds.iter().map(|(kind, plural)| {
        let of = json!({"group": group, "version": version, "kind": kind});
        let patch = json!({"parameters": parameters, "x-kubernetes-group-version-kind": of, "responses": {}});
        let path = format!("/{}/namespaces/{{namespace}}/{plural}/{{name}}", root(group, version));
        (path, json!({"patch": patch, "parameters": []}))
    });
    json!({"openapi": "3.0.0", "info": {"title": "x", "version": "x"}, "components": {"schemas": {}},
        "paths": paths.collect::<serde_json::Map<_, _>>()})
}

fn status(code: u16, reason: &str, message: &str) -> Reply {
    let body = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason,
        "message": message, "code": code});
    Answer::json(body.to_string()).with_status(code).into()
}

fn answer(stored: &mut Stored, request: &Request) -> Reply {
    let path = request.path();
    let parameter = |name: &str| request.query().into_iter().find(|(own, _)| own == name).map(|(_, value)| value);
    if let Some(document) = discovery(path).filter(|_| request.method == "GET") {
        return Answer::json(document.to_string()).into();
    }
    // Older versions look at the types themselves, where they can get them.
    if path == "/openapi/v2" {
        return status(404, "NotFound", "no types");
    }
    if let Some(of_pod) = path.strip_suffix("/log") {
        assert!(stored.objects.contains_key(of_pod), "{}: no pod", request.line());
        return Answer::new(200).header("Content-Type", "text/plain").body("what it says\n").into();
    }
    let body: Value = if request.body.is_empty() {
        Value::Null
    } else {
        let json = || serde_json::from_slice(&request.body);
        protobuf::document(&request.body)
            .unwrap_or_else(|| json().unwrap_or_else(|error| panic!("{}: {error}", request.line())))
    };
    if request.method != "GET" {
        // Without the version and the namespace.
        let behind = path.split_once("/v1/").map_or(path, |(_, behind)| behind);
        let named = behind.strip_prefix("namespaces/").and_then(|rest| rest.split_once('/'));
        let short = named.map_or(behind, |(_, short)| short);
        stored.changes.push(Change {
            line: format!("{} {short}", request.method),
            as_user: request.header("Impersonate-User").map(str::to_owned),
            body: body.clone(),
        });
    }
    let changed = match request.method.as_str() {
        "GET" => return read(stored, path, parameter("fieldSelector"), parameter("watch").is_some()),
        "POST" if path.ends_with("/selfsubjectaccessreviews") => {
            let mut reviewed = body;
            reviewed["status"] = json!({"allowed": true});
            reviewed
        }
        "POST" => create(stored, path, body),
        "PATCH" => patch(stored, path, &body),
        "DELETE" => stored.objects.remove(path).unwrap_or_else(|| panic!("{}: not there", request.line())),
        _ => panic!("{}: nobody does that", request.line()),
    };
    let code = if request.method == "POST" { 201 } else { 200 };
    Answer::json(changed.to_string()).with_status(code).into()
}

fn create(stored: &mut Stored, path: &str, mut object: Value) -> Value {
    let name = match object["metadata"]["name"].as_str() {
        Some(name) => name.to_owned(),
        None => {
            format!("{}1", object["metadata"]["generateName"].as_str().unwrap_or_else(|| panic!("{path}: no name")))
        }
    };
    object["metadata"]["name"] = json!(name);
    if let Some((_, rest)) = path.split_once("/namespaces/") {
        object["metadata"]["namespace"] = json!(rest.split('/').next());
    }
    object["metadata"]["uid"] = json!("3f6c1a52-8d6e-4a55-9a0b-0d6f3a1c2b4d");
    object["metadata"]["resourceVersion"] = json!("1");
    object["metadata"]["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
    if path.ends_with("/pods") {
        object["status"] =
            json!({"phase": "Succeeded", "containerStatuses": [ended(&object["spec"]["containers"][0])]});
    }
    let before = stored.objects.insert(format!("{path}/{name}"), object.clone());
    assert!(before.is_none(), "{path}/{name} is there already");
    object
}

fn ended(container: &Value) -> Value {
    json!({"name": container["name"], "image": container["image"], "imageID": "", "ready": false, "restartCount": 0,
        "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}})
}

/// The two kinds of a patch that the pages need: one place of a document, and one more container for debugging.
fn patch(stored: &mut Stored, path: &str, body: &Value) -> Value {
    let of_object = path.strip_suffix("/ephemeralcontainers").unwrap_or(path);
    let object = stored.objects.get_mut(of_object).unwrap_or_else(|| panic!("{of_object}: not there"));
    if let Some(operations) = body.as_array() {
        for operation in operations {
            assert_eq!(operation["op"], "replace", "{path}: {body}");
            let place = operation["path"].as_str().and_then(|place| object.pointer_mut(place));
            *place.unwrap_or_else(|| panic!("{path}: no such place: {body}")) = operation["value"].clone();
        }
    } else {
        let container = &body["spec"]["ephemeralContainers"][0];
        assert!(container.is_object() && of_object != path, "{path}: {body}");
        object["spec"]["ephemeralContainers"] = json!([container]);
        object["status"]["ephemeralContainerStatuses"] = json!([ended(container)]);
    }
    object.clone()
}

/// An object, or what there is of a kind.
fn read(stored: &Stored, path: &str, selector: Option<String>, watched: bool) -> Reply {
    if let Some(object) = stored.objects.get(path) {
        return Answer::json(object.to_string()).into();
    }
    let found = KNOWN.iter().flat_map(|(group, version, kinds)| {
        kinds.iter().map(move |(kind, plural)| (group_version(group, version), *kind, *plural))
    });
    let mut found = found.filter(|(_, _, plural)| path.ends_with(&format!("/{plural}")));
    let Some((version, kind, _)) = found.next() else { return status(404, "NotFound", &format!("{path} not found")) };
    let name = selector.and_then(|selector| selector.strip_prefix("metadata.name=").map(str::to_owned));
    let items: Vec<&Value> = stored
        .objects
        .iter()
        .filter(|(own, _)| own.strip_prefix(path).is_some_and(|rest| rest.starts_with('/')))
        .map(|(_, object)| object)
        .filter(|object| name.as_ref().is_none_or(|name| object["metadata"]["name"] == *name))
        .collect();
    if watched {
        let events: Vec<String> =
            items.iter().map(|object| format!("{}\n", json!({"type": "ADDED", "object": object}))).collect();
        return Answer::json(events.concat()).into();
    }
    let list = json!({"kind": format!("{kind}List"), "apiVersion": version, "metadata": {"resourceVersion": "1"},
        "items": items});
    Answer::json(list.to_string()).into()
}
