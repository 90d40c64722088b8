//! A registry with scripted content, a pod with a status, a step between the two; and what it must leave behind.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::kube_api::{Cluster, KubeApi};
use crate::oci::{Command, Layout, architecture};
use crate::schema;
use crate::server::{Answer, Bound, Reply, Request, Server};
use crate::step::{Ended, Step, eventually, only_child};
use crate::tls::{Authority, LOOPBACK};

/// The image's repository.
pub const REPOSITORY: &str = "team/tool";
/// The request for the pod.
pub const GET_POD: &str = "GET /api/v1/namespaces/ci/pods/taskrun-pod";
/// Another machine than any that the tests run on.
pub const ELSEWHERE: &str = "s390x";

/// What there is beside the step: the content of registries, who vouches for them, and where the image's own will listen.
pub struct World {
    dir: tempfile::TempDir,
    pub layout: Layout,
    authority: Authority,
    bound: Cell<Option<Bound>>,
    /// The image's registry, `host:port`.
    pub host: String,
    /// What a digest is the digest of, in words.
    names: Vec<(String, String)>,
}

/// An image for this machine, which echoes its name, and another for [`ELSEWHERE`], in one index.
pub struct Image {
    name: String,
    pub index: String,
    pub manifest: String,
    pub config: String,
    /// That for the other machine.
    pub other: String,
    other_config: String,
    /// Descriptors of both.
    pub children: [Value; 2],
}

/// What a registry was told of: paths within the repository, and the blob or the reply.
#[derive(Default, Clone)]
pub struct Content(BTreeMap<String, Has>);

#[derive(Clone)]
enum Has {
    Blob(String),
    Reply(Reply),
    /// That once, and then the blob.
    AtFirst(Arc<AtomicBool>, Reply, String),
}

impl World {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::create(&dir.path().join("layout"));
        let authority = Authority::new("the tests' authority");
        authority.write(dir.path());
        let bound = Bound::new();
        let host = bound.host();
        Self { dir, layout, authority, bound: Cell::new(Some(bound)), host, names: Vec::new() }
    }

    /// Two images, `old` and `new`.
    pub fn of_two() -> (Self, Image, Image) {
        let mut world = Self::new();
        let (old, new) = (world.image("old"), world.image("new"));
        (world, old, new)
    }

    pub fn image(&mut self, name: &str) -> Image {
        let [own, other] = [architecture(), ELSEWHERE].map(|architecture| {
            let echo = ["/bin/echo", name, architecture];
            let words = if architecture == ELSEWHERE { &echo[..] } else { &echo[..2] };
            self.layout.image(architecture, Command { entrypoint: words, cmd: &[] }, &[])
        });
        let index = digest(&self.layout.index(&[own.clone(), other.clone()]));
        let [config, other_config] = [&own, &other].map(|image| self.config_of(&digest(image)));
        let (manifest, other_manifest) = (digest(&own), digest(&other));
        for (digest, what) in [
            (&index, "index"),
            (&manifest, "manifest"),
            (&config, "config"),
            (&other_manifest, "other manifest"),
            (&other_config, "other config"),
        ] {
            self.name(digest, &format!("{name} {what}"));
        }
        let children = [own, other];
        Image { name: name.to_owned(), index, manifest, config, other: other_manifest, other_config, children }
    }

    /// An index of these, by a name.
    pub fn index(&mut self, name: &str, children: &[Value]) -> String {
        let index = digest(&self.layout.index(children));
        self.name(&index, name);
        index
    }

    fn name(&mut self, digest: &str, name: &str) {
        self.names.push((digest.to_owned(), name.to_owned()));
    }

    /// The digest of a manifest's config.
    pub fn config_of(&self, manifest: &str) -> String {
        let manifest: Value = serde_json::from_slice(&self.blob(manifest).unwrap()).unwrap();
        digest(&manifest["config"])
    }

    fn blob(&self, digest: &str) -> Option<Vec<u8>> {
        std::fs::read(self.layout.dir().join("blobs").join(digest.replace(':', "/"))).ok()
    }

    pub fn ca(&self) -> PathBuf {
        self.dir.path().join("ca.crt")
    }

    /// The image's own registry, over TLS.
    pub fn serve(&self, content: Content) -> Server {
        self.serve_at(self.bound.take().expect("one registry of one's own"), content)
    }

    /// Another registry.
    pub fn serve_elsewhere(&self, content: Content) -> Server {
        self.serve_at(Bound::new(), content)
    }

    fn serve_at(&self, bound: Bound, content: Content) -> Server {
        let blobs = self.layout.dir().join("blobs");
        let tls = Some(self.authority.server(LOOPBACK));
        Server::handler(bound, tls, move |request| {
            content.answer(request, |digest| std::fs::read(blobs.join(digest.replace(':', "/"))).unwrap())
        })
    }

    /// Nobody, who is not to be asked either.
    pub fn nobody(&self) -> Server {
        self.serve_elsewhere(Content::default())
    }

    /// What a registry was asked for, digests in words, in order: `manifests/v1`, `blobs/<new config>`.
    pub fn asked(&self, registry: &Server) -> Vec<String> {
        let words = |line: String| {
            let path = line.replace(&format!("GET /v2/{REPOSITORY}/"), "");
            self.names.iter().fold(path, |path, (digest, name)| path.replace(digest, &format!("<{name}>")))
        };
        registry.lines().into_iter().map(words).collect()
    }

    /// The image with a tag.
    pub fn tagged(&self) -> String {
        format!("{}/{REPOSITORY}:v1", self.host)
    }

    /// A digest as a runtime names it in the image's own repository.
    pub fn named(&self, digest: &str) -> String {
        format!("{}/{REPOSITORY}@{digest}", self.host)
    }

    /// A cluster in which the step's pod may be read, whose container `step-build` runs this.
    pub fn cluster(&self, image_id: &str) -> Cluster {
        let image = self.tagged();
        unreadable().allow("ci/builder", "pods", &["taskrun-pod"]).container(
            "ci",
            "taskrun-pod",
            "step-build",
            &image,
            (&image, image_id),
        )
    }

    /// A pod of which that is reported.
    pub fn pod(&self, image_id: &str) -> KubeApi {
        self.cluster(image_id).start()
    }

    /// The flags of a lookup in a pod.
    pub fn flags(&self, api: &KubeApi) -> [String; 4] {
        let account = self.dir.path().join("account");
        std::fs::create_dir_all(&account).unwrap();
        api.mount(&account, "ci", "builder");
        let certificate = format!("{}={}", self.host, self.ca().display());
        let account = account.display().to_string();
        ["-image_registry_certificate".to_owned(), certificate, "-service_account_dir".to_owned(), account]
    }

    /// A step with the image in a pod.
    pub fn step(&self, api: &KubeApi) -> Step {
        let step = Step::new().flags(["-image", &self.tagged()]).flags(self.flags(api));
        api.env().iter().fold(step, |step, (name, value)| step.env(name, value))
    }

    /// Runs such a step at once.
    pub fn run(&self, api: &KubeApi, flags: &[&str]) -> Ended {
        self.step(api).flags(flags.iter().copied()).run(&["--"])
    }

    /// A subcommand that looks up the same image in the same pod.
    pub fn command(&self, api: &KubeApi, subcommand: &str, flags: &[&str]) -> std::process::Command {
        let mut command = std::process::Command::new(crate::step::entrypoint());
        command.args([subcommand, &self.tagged()]).args(self.flags(api)).args(flags);
        command.env_clear().envs(api.env()).current_dir(self.dir.path()).stdin(std::process::Stdio::null());
        command
    }
}

/// A cluster with a pod that its service account may not read.
pub fn unreadable() -> Cluster {
    Cluster::new().service_account("ci", "builder", &[]).allow("ci/builder", "serviceaccounts", &["builder"]).pod(
        "ci",
        "taskrun-pod",
        &[],
    )
}

/// How often the pod was read.
pub fn reads(api: &KubeApi) -> usize {
    api.lines().iter().filter(|line| *line == GET_POD).count()
}

fn digest(descriptor: &Value) -> String {
    descriptor["digest"].as_str().unwrap().to_owned()
}

impl Content {
    /// The tag `v1`, which leads to a digest.
    pub fn tag(self, digest: &str) -> Self {
        self.blob("manifests/v1", digest)
    }

    /// A tag that leads to an image's index, and the documents of the image.
    pub fn tagged(image: &Image) -> Self {
        Self::default().tag(&image.index).image(image)
    }

    /// The documents of an image, by their digests.
    pub fn image(self, image: &Image) -> Self {
        [&image.index, &image.manifest, &image.other]
            .into_iter()
            .fold(self, |content, digest| content.manifest(digest))
            .config(&image.config)
            .config(&image.other_config)
    }

    /// A manifest or an index by its digest.
    pub fn manifest(self, digest: &str) -> Self {
        self.blob(&format!("manifests/{digest}"), digest)
    }

    /// A config by its digest.
    pub fn config(self, digest: &str) -> Self {
        self.blob(&format!("blobs/{digest}"), digest)
    }

    fn blob(mut self, path: &str, digest: &str) -> Self {
        self.0.insert(path.to_owned(), Has::Blob(digest.to_owned()));
        self
    }

    /// Something else than the content at a path.
    pub fn odd(mut self, path: impl Into<String>, reply: impl Into<Reply>) -> Self {
        self.0.insert(path.into(), Has::Reply(reply.into()));
        self
    }

    /// Something else than a manifest, when that is asked for for the first time.
    pub fn odd_at_first(mut self, digest: &str, reply: impl Into<Reply>) -> Self {
        let has = Has::AtFirst(Arc::default(), reply.into(), digest.to_owned());
        self.0.insert(format!("manifests/{digest}"), has);
        self
    }

    /// The registry is asked for this, and has it not.
    pub fn lacks(self, path: impl Into<String>) -> Self {
        let body = json!({"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]});
        self.odd(path, Answer::json(body.to_string()).with_status(404))
    }

    fn answer(&self, request: &Request, blob: impl Fn(&str) -> Vec<u8>) -> Reply {
        let path = request.path().strip_prefix(&format!("/v2/{REPOSITORY}/"));
        match path.filter(|_| request.method == "GET").and_then(|path| Some((path, self.0.get(path)?))) {
            Some((_, Has::Reply(reply))) => reply.clone(),
            Some((_, Has::AtFirst(seen, reply, _))) if !seen.swap(true, Ordering::Relaxed) => reply.clone(),
            Some((path, Has::Blob(digest) | Has::AtFirst(_, _, digest))) => {
                let body = blob(digest);
                let media_type = match serde_json::from_slice::<Value>(&body) {
                    Ok(document) if path.starts_with("manifests/") => document["mediaType"].as_str().map(str::to_owned),
                    Ok(_) | Err(_) => None,
                };
                let media_type = media_type.unwrap_or_else(|| "application/octet-stream".to_owned());
                let answer = Answer::new(200).header("Content-Type", media_type).body(body);
                answer.header("Docker-Content-Digest", digest).into()
            }
            None => panic!("it was not told of this: {}", request.line()),
        }
    }
}

/// The step ran this image to its end.
#[track_caller]
pub fn ran(ended: &Ended, image: &Image) {
    let stdout = format!("{}\n", image.name);
    assert_eq!((ended.code(), ended.post, &ended.stdout), (0, true, &stdout), "{ended:#?}");
    assert_eq!(ended.exit_code.as_deref(), Some("0"), "{ended:#?}");
}

/// It ran this image, and had nothing to say.
#[track_caller]
pub fn ran_silently(ended: &Ended, image: &Image) {
    ran(ended, image);
    assert_eq!(ended.stderr, "", "{ended:#?}");
}

/// It ran this image, and warned of something, once, on one line.
#[track_caller]
pub fn ran_with_warning(ended: &Ended, image: &Image, parts: &[&str]) {
    ran(ended, image);
    let lines: Vec<&str> = ended.stderr.lines().collect();
    let [warning] = lines[..] else { panic!("one warning: {}", ended.stderr) };
    assert!(warning.contains(" WARN "), "{warning}");
    for part in parts {
        assert!(warning.contains(part), "no {part:?} in: {warning}");
    }
}

/// The step failed because of the lookup, at its turn: the next one is released, and the sentence says why.
#[track_caller]
pub fn failed(ended: &Ended, parts: &[&str]) {
    assert_eq!((ended.code(), ended.post, ended.err, &ended.exit_code), (1, false, true, &None), "{ended:#?}");
    assert_eq!(ended.stdout, "", "nothing was run");
    let message = ended.message.as_deref().expect("a message");
    assert!(message.contains(r#"{"key":"Reason","value":"ImageLookupFailed","type":3}"#), "{message}");
    let last = ended.stderr.lines().last().expect("a line");
    assert!(last.contains(" cannot look up the command of image "), "{last}");
    for part in parts {
        assert!(last.contains(part), "no {part:?} in: {last}");
    }
}

/// `image.json`, which is as its schema has it.
#[track_caller]
pub fn report(ended: &Ended) -> Value {
    let text = ended.image.as_deref().unwrap_or_else(|| panic!("no image.json: {ended:#?}"));
    let schema = serde_json::from_str(include_str!("../../docs/image.schema.json")).unwrap();
    let report = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text}"));
    assert_eq!(schema::violations(&schema, &report), [""; 0], "{report:#}");
    report
}

/// `image.json` says this among other things: every member that is named has that value.
#[track_caller]
pub fn says(ended: &Ended, wanted: &Value) {
    let report = report(ended);
    let differences = differences("$", wanted, &report);
    assert!(differences.is_empty(), "{}\n{report:#}", differences.join("\n"));
}

fn differences(at: &str, wanted: &Value, found: &Value) -> Vec<String> {
    match (wanted, found) {
        (Value::Object(wanted), Value::Object(_)) => {
            wanted.iter().flat_map(|(name, value)| differences(&format!("{at}.{name}"), value, &found[name])).collect()
        }
        _ if wanted == found => Vec::new(),
        _ => vec![format!("{at}: {found} instead of {wanted}")],
    }
}

/// Its notes hold this.
#[track_caller]
pub fn notes_say(ended: &Ended, part: &str) {
    let report = report(ended);
    let notes: Vec<&str> = report["notes"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(notes.iter().any(|note| note.contains(part)), "no {part:?} in {notes:#?}");
}

/// What `image.json` says of a verdict.
pub fn verdict(word: &str, compared: Option<&str>, pinned_by: &str) -> Value {
    json!({"match": word, "compared": compared, "command": {"pinnedBy": pinned_by}})
}

/// Until a step's lookup has ended, which has been seen at work.
pub fn looked_up(step: &Child) {
    eventually("the lookup has ended", || only_child(step.id()).is_none());
}
