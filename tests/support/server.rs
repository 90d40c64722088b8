//! A loopback HTTP/1.1 server on threads, plain or TLS: scripted exchanges that fail on the unscripted, or a handler.
//!
//! A server that was given a script is satisfied only when every exchange happened and nothing else did:
//! [`Server::finish`] (or the drop) panics with what went wrong. It has nothing asynchronous in it and never sleeps.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of this")]
#![allow(clippy::expect_used, clippy::panic, reason = "a server of the tests fails the test")]

use std::any::Any;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// The largest request that is read.
const REQUEST_LIMIT: usize = 1 << 20;

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Request {
    /// `GET`.
    pub method: String,
    /// Path and query as sent.
    pub target: String,
    /// In order, names as sent.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Request {
    /// The path without the query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or("")
    }

    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// All parameters of the query, decoded, in order.
    pub fn query(&self) -> Vec<(String, String)> {
        pairs(self.target.split_once('?').map_or("", |(_, query)| query))
    }

    /// All parameters of a form body, decoded, in order.
    pub fn form(&self) -> Vec<(String, String)> {
        pairs(&String::from_utf8_lossy(&self.body))
    }

    /// The line that people know a request by: `GET /v2/`.
    pub fn line(&self) -> String {
        format!("{} {}", self.method, self.target)
    }
}

fn pairs(text: &str) -> Vec<(String, String)> {
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(name), decoded(value))
        })
        .collect()
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let digits: String = rest.by_ref().take(2).map(char::from).collect();
                bytes.push(u8::from_str_radix(&digits, 16).expect("two hexadecimal digits behind %"));
            }
            other => bytes.push(other),
        }
    }
    String::from_utf8(bytes).expect("UTF-8 in a parameter")
}

/// What the server does with a request.
#[derive(Debug, Clone)]
pub enum Reply {
    /// An ordinary answer, its `Content-Length` and `Connection: close` added.
    Answer(Answer),
    /// These bytes as they are, then the connection is closed.
    Raw(Vec<u8>),
    /// These bytes, then these others again and again until the client has had enough.
    Endless(Vec<u8>, Vec<u8>),
    /// These bytes, then silence until the client closes.
    Stall(Vec<u8>),
    /// The connection is closed without a byte.
    Close,
}

/// An ordinary answer.
#[derive(Debug, Clone)]
pub struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Answer {
    /// An empty answer with this status.
    pub fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new() }
    }

    /// A 200 with a JSON body.
    pub fn json(body: impl Into<Vec<u8>>) -> Self {
        Self::new(200).header("Content-Type", "application/json").body(body)
    }

    /// With this status.
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// With one more header.
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// With this body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Its status.
    pub fn status(&self) -> u16 {
        self.status
    }

    fn bytes(&self, without_body: bool) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {} Scripted\r\n", self.status);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("Content-Length: {}\r\nConnection: close\r\n\r\n", self.body.len()));
        let mut bytes = head.into_bytes();
        if !without_body {
            bytes.extend_from_slice(&self.body);
        }
        bytes
    }
}

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Self {
        Self::Answer(answer)
    }
}

type Respond = Box<dyn FnMut(&Request) -> Reply + Send>;

/// One expected request and what is done with it.
pub struct Exchange {
    method: &'static str,
    path: String,
    respond: Respond,
}

/// Expects this method and path (the query is the closure's business); the closure asserts the rest and answers.
pub fn on<R: Into<Reply>>(
    method: &'static str,
    path: impl Into<String>,
    mut respond: impl FnMut(&Request) -> R + Send + 'static,
) -> Exchange {
    Exchange { method, path: path.into(), respond: Box::new(move |request| respond(request).into()) }
}

enum Behaviour {
    /// The exchanges left, in the order that they must come in, or (`keyed`) in any order.
    Script { left: Vec<Exchange>, keyed: bool },
    /// A handler for whatever comes.
    Handler(Arc<dyn Fn(&Request) -> Reply + Send + Sync>),
}

struct Shared {
    behaviour: Mutex<Behaviour>,
    requests: Mutex<Vec<Request>>,
    failures: Mutex<Vec<String>>,
    /// How many scripted exchanges are being answered, and a call when one is done.
    busy: Mutex<usize>,
    idle: Condvar,
    stopping: AtomicBool,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A bound address without a server yet, so that a script can name it.
pub struct Bound(TcpListener);

impl Bound {
    /// A free port of 127.0.0.1.
    pub fn new() -> Self {
        Self::to("127.0.0.1:0")
    }

    /// This address.
    pub fn to(address: &str) -> Self {
        Self(TcpListener::bind(address).expect("a loopback address to listen on"))
    }

    /// The address.
    pub fn address(&self) -> SocketAddr {
        self.0.local_addr().expect("an address")
    }

    /// Address and port as a registry reference has them.
    pub fn host(&self) -> String {
        self.address().to_string()
    }
}

impl Default for Bound {
    fn default() -> Self {
        Self::new()
    }
}

/// Plain http or https.
pub type Tls = Option<Arc<ServerConfig>>;

/// A running server.
pub struct Server {
    address: SocketAddr,
    tls: bool,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

impl Server {
    /// A server for these exchanges, in this order.
    pub fn scripted(bound: Bound, tls: Tls, script: Vec<Exchange>) -> Self {
        Self::start(bound, tls, Behaviour::Script { left: script, keyed: false })
    }

    /// A server for these exchanges, in any order; those of one method and path in the order given.
    pub fn keyed(bound: Bound, tls: Tls, script: Vec<Exchange>) -> Self {
        Self::start(bound, tls, Behaviour::Script { left: script, keyed: true })
    }

    /// A server for anything: the closure is the program. It runs on several threads.
    pub fn handler<R: Into<Reply>>(
        bound: Bound,
        tls: Tls,
        handle: impl Fn(&Request) -> R + Send + Sync + 'static,
    ) -> Self {
        Self::start(bound, tls, Behaviour::Handler(Arc::new(move |request| handle(request).into())))
    }

    fn start(bound: Bound, tls: Tls, behaviour: Behaviour) -> Self {
        let address = bound.address();
        let shared = Arc::new(Shared {
            behaviour: Mutex::new(behaviour),
            requests: Mutex::default(),
            failures: Mutex::default(),
            busy: Mutex::default(),
            idle: Condvar::new(),
            stopping: AtomicBool::new(false),
        });
        let secure = tls.is_some();
        let accepting = {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || {
                for stream in bound.0.incoming() {
                    if shared.stopping.load(Ordering::SeqCst) {
                        return;
                    }
                    let Ok(stream) = stream else { continue };
                    let (shared, tls) = (Arc::clone(&shared), tls.clone());
                    std::thread::spawn(move || {
                        // A connection that breaks is the client's affair, and often the point of the test.
                        let _ = serve(&shared, stream, tls);
                    });
                }
            })
        };
        Self { address, tls: secure, shared, accepting: Some(accepting) }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Address and port as a registry reference has them.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// The URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", if self.tls { "https" } else { "http" }, self.address)
    }

    /// Everything that was asked so far.
    pub fn requests(&self) -> Vec<Request> {
        locked(&self.shared.requests).clone()
    }

    /// The lines of everything that was asked so far.
    pub fn lines(&self) -> Vec<String> {
        self.requests().iter().map(Request::line).collect()
    }

    /// Stops listening: what comes next is refused.
    pub fn stop(&mut self) {
        let Some(accepting) = self.accepting.take() else { return };
        self.shared.stopping.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
        let _ = accepting.join();
    }

    /// Stops, and fails the test unless the script was followed to its end. Gives back what was asked.
    pub fn finish(mut self) -> Vec<Request> {
        self.stop();
        let failures = self.failures();
        assert!(failures.is_empty(), "{}", failures.join("\n"));
        self.requests()
    }

    /// What went wrong; asked once. An exchange may fail after its client has gone: it is waited for.
    fn failures(&self) -> Vec<String> {
        let busy = locked(&self.shared.busy);
        drop(self.shared.idle.wait_while(busy, |busy| *busy > 0));
        let mut failures = std::mem::take(&mut *locked(&self.shared.failures));
        if let Behaviour::Script { left, .. } = &mut *locked(&self.shared.behaviour) {
            failures.extend(left.drain(..).map(|left| format!("never asked: {} {}", left.method, left.path)));
        }
        failures
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
        let failures = self.failures();
        // A second panic would hide the first, which says more.
        if !std::thread::panicking() {
            assert!(failures.is_empty(), "{}", failures.join("\n"));
        }
    }
}

/// One connection: one request, one reply.
fn serve(shared: &Shared, stream: TcpStream, tls: Tls) -> io::Result<()> {
    let Some(config) = tls else { return exchange(shared, &mut &stream, &stream) };
    let session = ServerConnection::new(config).map_err(io::Error::other)?;
    let socket = stream.try_clone()?;
    let mut secured = StreamOwned::new(session, stream);
    let done = exchange(shared, &mut secured, &socket);
    secured.conn.send_close_notify();
    let _ = secured.flush();
    done
}

fn exchange(shared: &Shared, stream: &mut (impl Read + Write), socket: &TcpStream) -> io::Result<()> {
    let Some(request) = read_request(stream)? else { return Ok(()) };
    locked(&shared.requests).push(request.clone());
    let reply = respond(shared, &request);
    match reply {
        Reply::Answer(answer) => stream.write_all(&answer.bytes(request.method == "HEAD"))?,
        Reply::Raw(bytes) => stream.write_all(&bytes)?,
        Reply::Endless(head, chunk) => {
            stream.write_all(&head)?;
            while !shared.stopping.load(Ordering::SeqCst) {
                stream.write_all(&chunk)?;
            }
        }
        Reply::Stall(bytes) => {
            stream.write_all(&bytes)?;
            stream.flush()?;
            // Ends when the client closes.
            let _ = stream.read(&mut [0]);
        }
        Reply::Close => {}
    }
    stream.flush()?;
    // Closing with unread bytes would reset the connection under the client's eyes.
    socket.shutdown(Shutdown::Write)?;
    socket.set_read_timeout(Some(Duration::from_secs(1)))?;
    let mut rest: &TcpStream = socket;
    let _ = io::copy(&mut Read::by_ref(&mut rest).take(REQUEST_LIMIT as u64), &mut io::sink());
    Ok(())
}

/// What the script or the handler says. An assertion that fails in there is a failure of the test, not of a thread.
fn respond(shared: &Shared, request: &Request) -> Reply {
    let failed = |message: String| {
        locked(&shared.failures).push(message.clone());
        Reply::from(Answer::new(599).header("Content-Type", "text/plain").body(message))
    };
    let reason = |panic: Box<dyn Any + Send>| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        format!("{}: {}", request.line(), text.unwrap_or("the exchange panicked"))
    };
    let mut behaviour = locked(&shared.behaviour);
    match &mut *behaviour {
        Behaviour::Handler(handle) => {
            let handle = Arc::clone(handle);
            drop(behaviour);
            catch_unwind(AssertUnwindSafe(|| handle(request))).unwrap_or_else(|panic| failed(reason(panic)))
        }
        Behaviour::Script { left, keyed } => {
            let fits = |exchange: &Exchange| exchange.method == request.method && exchange.path == request.path();
            let found = if *keyed { left.iter().position(fits) } else { left.first().filter(|e| fits(e)).map(|_| 0) };
            let Some(found) = found else {
                let next: Vec<_> =
                    left.iter().map(|exchange| format!("{} {}", exchange.method, exchange.path)).collect();
                return failed(format!("unscripted request {}; expected next: {next:?}", request.line()));
            };
            let mut exchange = left.remove(found);
            *locked(&shared.busy) += 1;
            drop(behaviour);
            let reply = catch_unwind(AssertUnwindSafe(|| (exchange.respond)(request)))
                .unwrap_or_else(|panic| failed(reason(panic)));
            *locked(&shared.busy) -= 1;
            shared.idle.notify_all();
            reply
        }
    }
}

/// Reads one request; `None` when the client closes before one.
fn read_request(stream: &mut (impl Read + Write)) -> io::Result<Option<Request>> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    let head_end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        let read = stream.read(&mut buffer)?;
        if read == 0 || bytes.len() > REQUEST_LIMIT {
            return Ok(None);
        }
        bytes.extend(buffer.iter().take(read));
        // A TLS handshake at a plain server has no end that could be waited for. Real servers answer in plain text too.
        if !bytes.first().is_some_and(u8::is_ascii_alphabetic) {
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")?;
            return Ok(None);
        }
    };
    let mut body = bytes.split_off(head_end);
    let head = String::from_utf8_lossy(&bytes).into_owned();
    let mut lines = head.lines();
    let mut first = lines.next().unwrap_or("").split(' ');
    let (method, target) = (first.next().unwrap_or("").to_owned(), first.next().unwrap_or("").to_owned());
    let headers: Vec<_> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect();
    let mut request = Request { method, target, headers, body: Vec::new() };
    let length: usize = request.header("Content-Length").and_then(|length| length.parse().ok()).unwrap_or(0);
    while body.len() < length.min(REQUEST_LIMIT) {
        let read = stream.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        body.extend(buffer.iter().take(read));
    }
    request.body = body;
    Ok(Some(request))
}
