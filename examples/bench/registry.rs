//! A registry on loopback that keeps its connections, as real ones do, and counts what it is asked.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

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
/// The largest head of a request that is read.
const HEAD_LIMIT: usize = 1 << 16;

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
        let listening = Listening::start(move |mut stream: TcpStream| match &tls {
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

struct Request {
    method: String,
    path: String,
    host: String,
    authorization: String,
}

struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
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

/// One connection, until the client closes it.
fn serve(stream: &mut (impl Read + Write), answer: &impl Fn(&Request) -> Answer) -> io::Result<()> {
    let mut unread = Vec::new();
    while let Some(request) = read_request(stream, &mut unread)? {
        let Answer { status, headers, body } = answer(&request);
        let mut bytes = format!("HTTP/1.1 {status} Bench\r\nContent-Length: {}\r\n", body.len()).into_bytes();
        for (name, value) in headers {
            bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        if request.method != "HEAD" {
            bytes.extend_from_slice(&body);
        }
        // One write, so that it leaves in one packet.
        stream.write_all(&bytes)?;
        stream.flush()?;
    }
    Ok(())
}

/// The next request; none when the connection was closed or speaks something else. The clients send no bodies.
fn read_request(stream: &mut (impl Read + Write), unread: &mut Vec<u8>) -> io::Result<Option<Request>> {
    let mut buffer = [0; 4096];
    let end = loop {
        if let Some(end) = unread.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        // TLS where plain http is spoken: a client that tries that first wants to hear that it is wrong.
        if unread.first().is_some_and(|first| !first.is_ascii_uppercase()) || unread.len() > HEAD_LIMIT {
            stream.write_all(b"HTTP/1.1 400 Bench\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
            return Ok(None);
        }
        let read = stream.read(&mut buffer)?;
        if read == 0 {
            return Ok(None);
        }
        unread.extend(buffer.iter().take(read));
    };
    let head: Vec<u8> = unread.drain(..end + 4).collect();
    let head = String::from_utf8_lossy(&head);
    let mut lines = head.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ').map(str::to_owned);
    let header = |wanted: &str| {
        let mut lines = lines.clone().filter_map(|line| line.split_once(':'));
        let found = lines.find(|(name, _)| name.eq_ignore_ascii_case(wanted));
        found.map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
    };
    Ok(Some(Request {
        method: words.next().unwrap_or_default(),
        path: words.next().unwrap_or_default(),
        host: header("Host"),
        authorization: header("Authorization"),
    }))
}
