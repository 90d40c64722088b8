//! A registry that counts as Docker Hub does: per address, the manifests that are got, and not the HEADs.
//!
//! Each node speaks to an address of its own of this one process, by which it is told from the others. Everybody needs a token,
//! which everybody gets.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use crate::http::{Answer, Request, serve};
use crate::images::{Images, TAG, repository};
use crate::listening::Listening;

/// How many manifests a node may get within the window.
pub const ALLOWANCE: usize = 100;
/// The window, in hours.
pub const HOURS: u64 = 6;

const TOKEN: &str = "a-token-of-the-simulation";
const SENTENCE: &str =
    "You have reached your unauthenticated pull rate limit. https://www.docker.com/increase-rate-limit";

/// What a node has asked for so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    /// Manifests that were got: those count.
    pub manifests: usize,
    /// Those of them that an image's name leads to: how often an image was fetched.
    pub images: usize,
    /// Manifests whose digest alone was asked for.
    pub heads: usize,
    /// Manifests that were not given, with 429.
    pub refused: usize,
}

/// A node, as the registry sees it.
struct Node {
    listening: Listening,
    counts: Arc<Mutex<Counts>>,
}

/// A running registry.
pub struct Registry {
    nodes: Vec<Node>,
    /// Seconds until the window is over.
    left: Arc<AtomicU64>,
}

impl Registry {
    /// Starts one for so many nodes, of which each has got `before` manifests in this window already.
    pub fn start(images: &Arc<Images>, nodes: usize, before: usize) -> io::Result<Self> {
        let left = Arc::new(AtomicU64::new(0));
        let start = |node: usize| {
            let address =
                u8::try_from(node + 1).map(|last| Ipv4Addr::new(127, 0, 1, last)).map_err(io::Error::other)?;
            let counts = Arc::new(Mutex::new(Counts::default()));
            let seen = SeenBy {
                images: Arc::clone(images),
                counts: Arc::clone(&counts),
                before,
                left: Arc::clone(&left),
                names_pause: names_pause(node),
                address: address.into(),
            };
            let listening = Listening::start(address, move |mut stream| {
                serve(&mut stream, &|request: &Request| seen.answer(request))
            })?;
            Ok(Node { listening, counts })
        };
        let nodes = (0..nodes).map(start).collect::<io::Result<_>>()?;
        let registry = Self { nodes, left };
        registry.at_hour(0);
        Ok(registry)
    }

    /// What the window's clock shows from now on.
    pub fn at_hour(&self, hour: u64) {
        self.left.store(HOURS.saturating_sub(hour) * 3600, Ordering::SeqCst);
    }

    /// An image as a node has to name it.
    pub fn reference(&self, node: usize, image: usize) -> String {
        let host = self.nodes.get(node).map(|node| node.listening.address().to_string()).unwrap_or_default();
        format!("{host}/{}:{TAG}", repository(image))
    }

    /// What each node has asked for so far.
    pub fn counts(&self) -> Vec<Counts> {
        self.nodes.iter().map(|node| *locked(&node.counts)).collect()
    }
}

/// Whether a node that is refused is told for how long, by `Retry-After`. Docker's pages do not promise it for this limit;
/// and who is not told asks again.
fn names_pause(node: usize) -> bool {
    node % 10 != 9
}

fn locked(counts: &Mutex<Counts>) -> MutexGuard<'_, Counts> {
    counts.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The registry as one node sees it.
struct SeenBy {
    images: Arc<Images>,
    counts: Arc<Mutex<Counts>>,
    before: usize,
    left: Arc<AtomicU64>,
    names_pause: bool,
    address: IpAddr,
}

impl SeenBy {
    fn answer(&self, request: &Request) -> Answer {
        let path = request.path.split('?').next().unwrap_or_default();
        if path == "/token" {
            return json(200, &json!({"token": TOKEN, "expires_in": 300}));
        }
        if request.authorization != format!("Bearer {TOKEN}") {
            let mut refusal = error(401, "UNAUTHORIZED", "authentication required");
            let challenge = format!(r#"Bearer realm="http://{}/token",service="simulation""#, request.host);
            refusal.headers.push(("WWW-Authenticate", challenge));
            return refusal;
        }
        let path = path.strip_prefix("/v2/").unwrap_or_default();
        let manifest = path.split_once("/manifests/");
        let found = manifest.or_else(|| path.split_once("/blobs/"));
        let Some(document) = found.and_then(|(repository, name)| self.images.document(repository, name)) else {
            return error(404, "MANIFEST_UNKNOWN", "not here");
        };
        let limits = manifest.map(|_| self.count(&request.method, document.named));
        if let Some(Err(remaining)) = limits {
            let mut refusal = error(429, "TOOMANYREQUESTS", SENTENCE);
            refusal.headers.extend(self.limit_headers(remaining));
            if self.names_pause {
                refusal.headers.push(("Retry-After", self.left.load(Ordering::SeqCst).to_string()));
            }
            return refusal;
        }
        let mut headers = vec![
            ("Content-Type", document.media_type.to_owned()),
            ("Docker-Content-Digest", document.digest.to_owned()),
        ];
        if let Some(Ok(remaining)) = limits {
            headers.extend(self.limit_headers(remaining));
        }
        Answer { status: 200, headers, body: document.bytes.to_vec() }
    }

    /// Counts a request for a manifest. How many are left, as what says whether it is given.
    fn count(&self, method: &str, named: bool) -> Result<usize, usize> {
        let mut counts = locked(&self.counts);
        let remaining = ALLOWANCE.saturating_sub(self.before + counts.manifests);
        if method == "HEAD" {
            counts.heads += 1;
            Ok(remaining)
        } else if remaining == 0 {
            counts.refused += 1;
            Err(0)
        } else {
            counts.manifests += 1;
            counts.images += usize::from(named);
            Ok(remaining - 1)
        }
    }

    fn limit_headers(&self, remaining: usize) -> [(&'static str, String); 3] {
        let window = HOURS * 3600;
        [
            ("ratelimit-limit", format!("{ALLOWANCE};w={window}")),
            ("ratelimit-remaining", format!("{remaining};w={window}")),
            ("docker-ratelimit-source", self.address.to_string()),
        ]
    }
}

fn error(status: u16, code: &str, message: &str) -> Answer {
    json(status, &json!({"errors": [{"code": code, "message": message}]}))
}

fn json(status: u16, body: &Value) -> Answer {
    let headers = vec![("Content-Type", "application/json".to_owned())];
    Answer { status, headers, body: body.to_string().into_bytes() }
}
