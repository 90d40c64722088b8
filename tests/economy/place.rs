//! A registry that shows its images as its kind does, counts what it is asked, and can be changed between two lookups.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use entrypoint::cache::{Cache, WAIT};
use entrypoint::credential::Credential;
use entrypoint::image::Running;
use entrypoint::registry::{FetchFailure, FetchedImage, Shelf};
use entrypoint::sys::cause::chain;

use crate::images::{Blob, Image, REPOSITORY, index, tag_path};
use crate::lookup::{Setup, user};
use crate::server::{Answer, Bound, Request, Server};

/// What a registry wants to be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Login {
    Anonymous,
    Basic,
    Bearer,
}

impl Login {
    pub const ALL: [Self; 3] = [Self::Anonymous, Self::Basic, Self::Bearer];

    /// What is known for it.
    pub fn credentials(self) -> Vec<Credential> {
        if self == Self::Anonymous { Vec::new() } else { vec![user("ann")] }
    }

    /// A first request that succeeds, with all that comes before it.
    pub fn first(self, request: &str) -> Vec<String> {
        let requests = match self {
            Self::Anonymous | Self::Basic => vec![request],
            Self::Bearer => vec![request, "GET token", request],
        };
        requests.into_iter().map(str::to_owned).collect()
    }
}

/// An image alone or in an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    Single,
    Index,
}

impl Shape {
    pub const ALL: [Self; 2] = [Self::Single, Self::Index];
}

/// How a registry answers a HEAD of a document that it has.
type Head = Box<dyn Fn(&Request, &Blob) -> Answer + Send>;

/// What a registry has, and how it answers.
struct Content {
    login: Login,
    documents: BTreeMap<String, Blob>,
    head: Head,
    /// What it answers to a GET of a path instead.
    odd: BTreeMap<String, Answer>,
    /// Who is let in, by the user's name.
    users: Vec<String>,
}

/// A registry with the image `ci/app:1`.
pub struct Place {
    pub setup: Setup,
    pub host: String,
    pub server: Server,
    content: Arc<Mutex<Content>>,
    names: Mutex<Vec<(String, String)>>,
    seen: Mutex<usize>,
}

/// The documents of an image.
#[derive(Clone)]
pub struct Documents {
    /// What a tag leads to.
    pub root: Blob,
    pub image: Image,
}

impl Documents {
    /// An image that runs `/NAME`.
    pub fn new(shape: Shape, name: &str) -> Self {
        let image = Image::new("linux/amd64", &format!("/{name}"));
        let root = match shape {
            Shape::Single => image.manifest.clone(),
            Shape::Index => {
                let other = Image::new("linux/arm64", "/other");
                index(&[other.manifest.entry("linux/arm64"), image.manifest.entry("linux/amd64")])
            }
        };
        Self { root, image }
    }
}

/// What registries answer to a HEAD: the digest, and no body.
pub fn usual_head(_: &Request, document: &Blob) -> Answer {
    document.answer().header("Docker-Content-Digest", document.digest().to_string())
}

impl Place {
    /// A registry over TLS whose tag `1` leads to this.
    pub fn new(login: Login, documents: &Documents) -> Self {
        let (setup, bound) = (Setup::new(), Bound::new());
        let host = bound.host();
        let content = Content {
            login,
            documents: BTreeMap::new(),
            head: Box::new(usual_head),
            odd: BTreeMap::new(),
            users: vec!["ann".to_owned()],
        };
        let content = Arc::new(Mutex::new(content));
        let (answering, realm) = (Arc::clone(&content), host.clone());
        let server = Server::handler(bound, Some(setup.tls.clone()), move |request| {
            answering.lock().unwrap().answer(request, &realm)
        });
        let setup = setup.trusting(host.clone());
        let place = Self { setup, host, server, content, names: Mutex::default(), seen: Mutex::default() };
        place.has("", documents);
        place.tag("1", &documents.root);
        place
    }

    /// It has these documents by their digests, which are called by a name from now on.
    pub fn has(&self, name: &str, Documents { root, image }: &Documents) {
        let mut content = self.content.lock().unwrap();
        for document in [root, &image.manifest] {
            content.documents.insert(document.manifest_path(), document.clone());
        }
        content.documents.insert(image.config.blob_path(), image.config.clone());
        let mut names = self.names.lock().unwrap();
        for (document, called) in [(&image.manifest, "manifest"), (&image.config, "config"), (root, "index")] {
            let called = format!("{name} {called}").trim().to_owned();
            if !names.iter().any(|(digest, _)| *digest == document.digest().to_string()) {
                names.push((document.digest().to_string(), called));
            }
        }
    }

    /// A tag leads to this.
    pub fn tag(&self, tag: &str, root: &Blob) {
        self.content.lock().unwrap().documents.insert(tag_path(tag), root.clone());
    }

    /// What is not there any more.
    pub fn loses(&self, path: &str) {
        self.content.lock().unwrap().documents.remove(path).expect("it was there");
    }

    /// A path that is answered in another way to a GET.
    pub fn odd(&self, path: &str, answer: Answer) {
        self.content.lock().unwrap().odd.insert(path.to_owned(), answer);
    }

    /// From now on it answers a HEAD so.
    pub fn heads(&self, head: impl Fn(&Request, &Blob) -> Answer + Send + 'static) {
        self.content.lock().unwrap().head = Box::new(head);
    }

    /// From now on it wants this, of these users.
    pub fn wants(&self, login: Login, users: &[&str]) {
        let mut content = self.content.lock().unwrap();
        content.login = login;
        content.users = users.iter().map(|user| (*user).to_owned()).collect();
    }

    /// What it was asked since it was looked at last, in words: `HEAD 1`, `GET config`, `GET token`.
    pub fn asked(&self) -> Vec<String> {
        let mut seen = self.seen.lock().unwrap();
        let requests = self.server.requests();
        let names = self.names.lock().unwrap();
        let words = |request: &Request| {
            let last = request.path().rsplit('/').next().unwrap_or_default();
            let named = names.iter().find(|(digest, _)| digest == last).map_or(last, |(_, name)| name);
            format!("{} {named}", request.method)
        };
        let new = requests.iter().skip(*seen).map(words).collect();
        *seen = requests.len();
        new
    }

    /// The image by its tag, or by what is its digest.
    pub fn named(&self, identifier: &str) -> String {
        let separator = if identifier.starts_with("sha256:") { '@' } else { ':' };
        format!("{}/{REPOSITORY}{separator}{identifier}", self.host)
    }

    /// A lookup of the tag `1` with what the registry wants.
    pub fn lookup(&self) -> LookUp<'_> {
        let login = self.content.lock().unwrap().login;
        LookUp {
            place: self,
            identifier: "1".to_owned(),
            credentials: login.credentials(),
            cache: None,
            pod: None,
            running: None,
        }
    }
}

/// A lookup that is to be made.
#[derive(Clone)]
pub struct LookUp<'a> {
    place: &'a Place,
    identifier: String,
    credentials: Vec<Credential>,
    cache: Option<PathBuf>,
    pod: Option<&'static str>,
    running: Option<Running>,
}

impl LookUp<'_> {
    /// Of this document by its digest.
    pub fn of(mut self, document: &Blob) -> Self {
        self.identifier = document.digest().to_string();
        self
    }

    /// Of another tag.
    pub fn tag(mut self, tag: &str) -> Self {
        self.identifier = tag.to_owned();
        self
    }

    pub fn showing(mut self, credentials: &[Credential]) -> Self {
        self.credentials = credentials.to_vec();
        self
    }

    pub fn cache(mut self, directory: &Path) -> Self {
        self.cache = Some(directory.to_owned());
        self
    }

    /// In a pod of this UID.
    pub fn pod(mut self, uid: &'static str) -> Self {
        self.pod = Some(uid);
        self
    }

    /// In a pod of which this is reported.
    pub fn running(mut self, image_id: &str) -> Self {
        self.running = Some(Running::parse("", image_id));
        self
    }

    /// What is looked up, and for which platform: others with the same wait for each other.
    fn key(&self) -> String {
        format!("{} {}", self.place.named(&self.identifier), self.place.setup.platform)
    }

    /// Whether a lock for it is there: that of another lookup.
    pub fn shares_its_lock(&self, directory: &Path) -> bool {
        Cache::open(directory, None).unwrap().lock_path(&self.key()).exists()
    }

    pub fn made(self) -> Result<FetchedImage, FetchFailure> {
        let open = |dir: &PathBuf| Shelf::open(dir, self.pod, self.key(), WAIT);
        let shelf = self.cache.as_ref().map(open).transpose();
        let shelf = shelf.unwrap_or_else(|error| panic!("{}", chain(&error)));
        let image = self.place.named(&self.identifier);
        self.place.setup.fetch_beside(&image, &self.credentials, self.running.as_ref(), shelf.as_ref())
    }

    /// It must succeed.
    #[track_caller]
    pub fn image(self) -> FetchedImage {
        self.made().unwrap_or_else(|failure| panic!("{}; {:?}", chain(&failure.error), failure.notes))
    }

    /// It must fail with a sentence.
    #[track_caller]
    pub fn failure(self) -> String {
        match self.made() {
            Ok(image) => panic!("{image:?}"),
            Err(failure) => chain(&failure.error),
        }
    }
}

impl Content {
    fn answer(&self, request: &Request, host: &str) -> Answer {
        if request.path() == "/token" {
            return match (self.login, self.knows(request)) {
                (Login::Bearer, true) => Answer::json(r#"{"token":"tok"}"#),
                _ => Answer::new(401),
            };
        }
        let shown = request.header("Authorization");
        let (is_in, challenge) = match self.login {
            Login::Anonymous => (true, String::new()),
            Login::Basic => (self.knows(request), r#"Basic realm="r""#.to_owned()),
            Login::Bearer => {
                (shown == Some("Bearer tok"), format!(r#"Bearer realm="https://{host}/token",service="s""#))
            }
        };
        if !is_in {
            return Answer::new(401)
                .header("WWW-Authenticate", challenge)
                .body(r#"{"errors":[{"code":"UNAUTHORIZED"}]}"#);
        }
        match (request.method.as_str(), self.documents.get(request.path())) {
            ("GET", _) if self.odd.contains_key(request.path()) => self.odd[request.path()].clone(),
            ("GET", Some(document)) => document.answer(),
            ("HEAD", Some(document)) => (self.head)(request, document),
            (_, None) => Answer::new(404).body(r#"{"errors":[{"code":"MANIFEST_UNKNOWN"}]}"#),
            (method, _) => panic!("{method}"),
        }
    }

    /// Whether one of the users shows a password.
    fn knows(&self, request: &Request) -> bool {
        use base64::Engine as _;
        let shown = request.header("Authorization");
        self.users.iter().any(|user| {
            let pair = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{}", crate::lookup::PASSWORD));
            shown.is_some_and(|shown| shown == format!("Basic {pair}"))
        })
    }
}
