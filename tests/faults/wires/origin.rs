//! A registry that keeps its connections, or closes them, and says what a closure says, byte for byte.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustls::{ServerConnection, StreamOwned};

use crate::images::{Blob, Image, OCI_CONFIG, REPOSITORY, index, tag_path};
use crate::server::Tls;

/// What a user of the tests has, as it is shown: `user:hunter2`.
pub const BASIC: &str = "Basic dXNlcjpodW50ZXIy";
const TOKEN: &str = "a.token";

/// Who is shown the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Login {
    Nobody,
    Basic,
    /// With the realm.
    Bearer,
}

/// Whether a connection is for one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connections {
    Kept,
    Closed,
}

/// The documents of a registry that has one tag: an index whose other image would be the wrong one.
#[derive(Clone)]
pub struct Documents {
    pub index: Blob,
    pub right: Image,
    pub wrong: Image,
}

impl Documents {
    pub fn new() -> Self {
        Self::saying("right")
    }

    /// The same with another word in the place of `right`.
    pub fn saying(word: &str) -> Self {
        let image = |platform: &str, word: &str| {
            let (os, architecture) = platform.split_once('/').expect("a platform");
            let config = format!(
                r#"{{"os":"{os}","architecture":"{architecture}","config":{{"Entrypoint":["/bin/echo","{word}"]}}}}"#
            );
            Image::of(Blob::new(OCI_CONFIG, config), "")
        };
        let (right, wrong) = (image("linux/amd64", word), image("linux/arm64", "wrong"));
        let index = index(&[wrong.manifest.entry("linux/arm64"), right.manifest.entry("linux/amd64")]);
        Self { index, right, wrong }
    }

    /// What is asked for in a lookup, in order.
    pub fn paths(&self) -> [String; 3] {
        [tag_path("1"), self.right.manifest.manifest_path(), self.right.config.blob_path()]
    }

    fn find(&self, path: &str) -> Option<&Blob> {
        let Self { index, right, wrong } = self;
        let manifests = [index, &right.manifest, &wrong.manifest].map(|blob| (blob.manifest_path(), blob));
        let configs = [&right.config, &wrong.config].map(|blob| (blob.blob_path(), blob));
        let tag = (tag_path("1"), index);
        manifests.into_iter().chain(configs).chain([tag]).find(|(own, _)| own == path).map(|(_, blob)| blob)
    }

    /// What a registry says to a request; `realm` is the host of its token service, which is itself.
    pub fn answer(&self, login: Login, scheme: &str, realm: &str, asked: &Asked) -> Said {
        let json = "application/json";
        if login == Login::Bearer && asked.path == "/token" {
            return match asked.authorization.as_deref() {
                Some(BASIC) => Said::new(200, json, &format!(r#"{{"token":"{TOKEN}"}}"#)),
                _ => Said::new(401, json, r#"{"details":"incorrect username or password"}"#),
            };
        }
        let (wanted, challenge) = match login {
            Login::Nobody => (None, String::new()),
            Login::Basic => (Some(BASIC.to_owned()), r#"Basic realm="r""#.to_owned()),
            Login::Bearer => {
                let challenge = format!(
                    r#"Bearer realm="{scheme}://{realm}/token",service="s",scope="repository:{REPOSITORY}:pull""#
                );
                (Some(format!("Bearer {TOKEN}")), challenge)
            }
        };
        if wanted.is_some() && asked.authorization != wanted {
            let body = r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}"#;
            return Said::new(401, json, body).header("WWW-Authenticate", &challenge);
        }
        match self.find(&asked.path) {
            Some(blob) => Said::new(200, blob.media_type, &blob.text),
            None => Said::new(404, json, r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#),
        }
    }
}

/// What is asked.
pub struct Asked {
    /// Without the query.
    pub path: String,
    pub authorization: Option<String>,
}

impl Asked {
    /// The same for another path.
    pub fn at(&self, path: String) -> Self {
        Self { path, authorization: self.authorization.clone() }
    }
}

/// An answer before it is put on the wire.
#[derive(Clone)]
pub struct Said {
    pub status: u16,
    pub headers: String,
    pub body: String,
}

impl Said {
    pub fn new(status: u16, media_type: &str, body: &str) -> Self {
        Self { status, headers: format!("Content-Type: {media_type}\r\n"), body: body.to_owned() }
    }

    fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push_str(&format!("{name}: {value}\r\n"));
        self
    }

    /// As HTTP/1.1 has it, with the length.
    pub fn framed(&self, connections: Connections) -> Vec<u8> {
        let Self { status, headers, body } = self;
        let close = if connections == Connections::Closed { "Connection: close\r\n" } else { "" };
        let length = body.len();
        format!("HTTP/1.1 {status} Said\r\n{headers}Content-Length: {length}\r\n{close}\r\n{body}").into_bytes()
    }
}

/// What is said to a request, byte for byte.
pub type Answer = Arc<dyn Fn(&Asked) -> Vec<u8> + Send + Sync>;

/// A running registry.
pub struct Origin {
    pub address: SocketAddr,
    stopping: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

impl Origin {
    pub fn new(tls: Tls, connections: Connections, answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback address");
        let address = listener.local_addr().expect("an address");
        let stopping = Arc::new(AtomicBool::new(false));
        let accepting = {
            let stopping = Arc::clone(&stopping);
            std::thread::spawn(move || {
                for stream in listener.incoming() {
                    if stopping.load(Ordering::SeqCst) {
                        return;
                    }
                    let Ok(stream) = stream else { continue };
                    let (tls, answer) = (tls.clone(), Arc::clone(&answer));
                    std::thread::spawn(move || {
                        // A connection that breaks is what these tests are about.
                        let _ = serve(stream, tls, connections, &answer);
                    });
                }
            })
        };
        Self { address, stopping, accepting: Some(accepting) }
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        let _ = self.accepting.take().map(JoinHandle::join);
    }
}

fn serve(socket: TcpStream, tls: Tls, connections: Connections, answer: &Answer) -> io::Result<()> {
    // Longer than any client of the tests waits.
    socket.set_read_timeout(Some(Duration::from_secs(60)))?;
    socket.set_nodelay(true)?;
    match tls {
        None => talk(&mut &socket, connections, answer)?,
        Some(config) => {
            let session = ServerConnection::new(config).map_err(io::Error::other)?;
            let mut secured = StreamOwned::new(session, socket.try_clone()?);
            talk(&mut secured, connections, answer)?;
            secured.conn.send_close_notify();
            secured.flush()?;
        }
    }
    // Closing with unread bytes would reset the connection under the client's eyes.
    socket.shutdown(Shutdown::Write)?;
    io::copy(&mut &socket, &mut io::sink())?;
    Ok(())
}

fn talk(stream: &mut (impl Read + Write), connections: Connections, answer: &Answer) -> io::Result<()> {
    let mut left = Vec::new();
    while let Some(asked) = read(stream, &mut left)? {
        let said = answer(&asked);
        stream.write_all(&said)?;
        stream.flush()?;
        // As a real one: whoever is told that the connection ends is not asked for more.
        let head = said.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or(0);
        if connections == Connections::Closed || String::from_utf8_lossy(&said[..head]).contains("Connection: close") {
            break;
        }
    }
    Ok(())
}

/// The next request; none when there is none.
fn read(stream: &mut (impl Read + Write), left: &mut Vec<u8>) -> io::Result<Option<Asked>> {
    let mut buffer = [0; 4096];
    let end = loop {
        if let Some(end) = left.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        // A TLS handshake, at a registry that speaks plain http.
        if left.first().is_some_and(|byte| !byte.is_ascii_alphabetic()) {
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")?;
            return Ok(None);
        }
        let read = stream.read(&mut buffer)?;
        if read == 0 || left.len() > 1 << 16 {
            return Ok(None);
        }
        left.extend_from_slice(&buffer[..read]);
    };
    let rest = left.split_off(end);
    let head = String::from_utf8_lossy(&std::mem::replace(left, rest)).into_owned();
    let target = head.split(' ').nth(1).unwrap_or("");
    let path = target.split('?').next().unwrap_or("").to_owned();
    let authorization = head.lines().filter_map(|line| line.split_once(": "));
    let authorization = authorization.filter(|(name, _)| name.eq_ignore_ascii_case("authorization"));
    let authorization = authorization.map(|(_, value)| value.to_owned()).next();
    Ok(Some(Asked { path, authorization }))
}
