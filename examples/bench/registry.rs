//! A registry on loopback that keeps its connections, as real ones do, and counts what it is asked.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use crate::http::{Answer, Request, serve};
use crate::listening::Listening;
use crate::oci::{self, Layout, architecture};
use crate::process::Result;

/// The repository of all images.
const REPOSITORY: &str = "bench/app";
/// An image by itself.
pub const SINGLE: &str = "single";
/// The same image in an index of two platforms, with an attestation beside it.
pub const INDEX: &str = "index";

const USER: &str = "bench";
const PASSWORD: &str = "only for loopback";
const TOKEN: &str = "a-token-of-the-benchmark";

/// Who may read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Login {
    /// Anybody.
    Anonymous,
    /// Who shows the password.
    Basic,
    /// Who shows a token, which this server gives for the password.
    Bearer,
}

/// What is served: by the last two parts of its path, type and content.
pub struct Documents(HashMap<String, (String, Vec<u8>)>);

impl Documents {
    /// An image with this ENTRYPOINT, as [`SINGLE`] and as [`INDEX`]; `dir` is written to.
    pub fn of_image(dir: &Path, entrypoint: &[&str]) -> Result<Self> {
        let mut layout = Layout::create(dir);
        let command = oci::Command { entrypoint, ..oci::Command::default() };
        let image = layout.image(architecture(), command, &[]);
        let other = layout.image("s390x", command, &[]);
        let index = layout.index(&[other, image.clone(), layout.attestation(&image)]);
        layout.tag(SINGLE, &image);
        layout.tag(INDEX, &index);
        let mut documents = HashMap::new();
        for blob in fs::read_dir(dir.join("blobs/sha256"))? {
            let blob = blob?;
            let content = fs::read(blob.path())?;
            let digest = format!("sha256:{}", blob.file_name().display());
            let media_type = serde_json::from_slice(&content)
                .ok()
                .and_then(|document: Value| document.get("mediaType").and_then(Value::as_str).map(str::to_owned));
            if let Some(media_type) = media_type {
                for (tag, tagged) in [(SINGLE, &image), (INDEX, &index)] {
                    if tagged.get("digest").and_then(Value::as_str) == Some(&digest) {
                        documents.insert(format!("manifests/{tag}"), (media_type.clone(), content.clone()));
                    }
                }
                documents.insert(format!("manifests/{digest}"), (media_type, content.clone()));
            }
            documents.insert(format!("blobs/{digest}"), ("application/octet-stream".to_owned(), content));
        }
        Ok(Self(documents))
    }
}

/// A running registry.
pub struct Registry {
    listening: Listening,
    requests: Arc<AtomicUsize>,
}

impl Registry {
    /// Starts one, over TLS if there is a configuration for it.
    pub fn start(documents: Arc<Documents>, login: Login, tls: Option<Arc<ServerConfig>>) -> Result<Self> {
        let requests = Arc::new(AtomicUsize::new(0));
        let asked = Arc::clone(&requests);
        let scheme = if tls.is_some() { "https" } else { "http" };
        let answer = move |request: &Request| {
            asked.fetch_add(1, Ordering::SeqCst);
            answer(&documents, login, scheme, request)
        };
        let listening = Listening::start(Ipv4Addr::LOCALHOST, move |mut stream: TcpStream| match &tls {
            Some(tls) => {
                let session = ServerConnection::new(Arc::clone(tls)).map_err(io::Error::other)?;
                serve(&mut StreamOwned::new(session, stream), &answer)
            }
            None => serve(&mut stream, &answer),
        })?;
        Ok(Self { listening, requests })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.listening.address()
    }

    /// How often it was asked so far.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

/// An image's reference at a host.
pub fn reference(host: &str, tag: &str) -> String {
    format!("{host}/{REPOSITORY}:{tag}")
}

/// What docker's `config.json` holds for a host.
pub fn docker_config(host: &str) -> String {
    json!({"auths": {host: {"auth": STANDARD.encode(format!("{USER}:{PASSWORD}"))}}}).to_string()
}

fn answer(documents: &Documents, login: Login, scheme: &str, request: &Request) -> Answer {
    let basic = format!("Basic {}", STANDARD.encode(format!("{USER}:{PASSWORD}")));
    let path = request.path.split('?').next().unwrap_or_default();
    let (wanted, challenge) = match login {
        Login::Bearer if path == "/token" => (Some(basic), String::new()),
        Login::Anonymous => (None, String::new()),
        Login::Basic => (Some(basic), r#"Basic realm="bench""#.to_owned()),
        Login::Bearer => {
            let realm = format!("{scheme}://{}/token", request.host);
            let scope = format!("repository:{REPOSITORY}:pull");
            let challenge = format!(r#"Bearer realm="{realm}",service="bench",scope="{scope}""#);
            (Some(format!("Bearer {TOKEN}")), challenge)
        }
    };
    let json = |status: u16, body: Value| Answer {
        status,
        headers: vec![("Content-Type", "application/json".to_owned())],
        body: body.to_string().into_bytes(),
    };
    if wanted.is_some_and(|wanted| wanted != request.authorization) {
        let mut refusal = json(401, json!({"errors": [{"code": "UNAUTHORIZED", "message": "log in"}]}));
        refusal.headers.push(("WWW-Authenticate", challenge));
        return refusal;
    }
    if path == "/token" {
        return json(200, json!({"token": TOKEN, "expires_in": 300}));
    }
    if path == "/v2/" {
        return json(200, json!({}));
    }
    let document = path.strip_prefix(&format!("/v2/{REPOSITORY}/")).and_then(|path| documents.0.get(path));
    match document {
        Some((media_type, body)) => {
            Answer { status: 200, headers: vec![("Content-Type", media_type.clone())], body: body.clone() }
        }
        None => json(404, json!({"errors": [{"code": "MANIFEST_UNKNOWN", "message": "not here"}]})),
    }
}
