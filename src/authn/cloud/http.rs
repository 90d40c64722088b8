//! How identity services are asked, by this program and by the clouds' libraries: our roots, resolver and proxies, bounded
//! answers, every request told, and no secret of a request repeated.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode, Url};
use zeroize::Zeroizing;

use super::Setting;
use crate::http::{HttpError, Network, Proxies, Proxy, Trust, Unanswered, is_named, read_body};
use crate::image::shown;
use crate::secrets::Secrets;
use crate::sys::cause::chain;
use crate::trace::{End, Trace};

/// The longest answer that is read, in bytes: tokens have a few thousand.
const ANSWER: usize = 256 << 10;
/// The longest URL that is told, in characters.
const LONGEST: usize = 300;
/// How identity services are asked. Clones share what they know.
#[derive(Debug, Clone)]
pub(crate) struct CloudHttp(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    network: Network,
    registry: String,
    certificates: Vec<(String, PathBuf)>,
    unverified: Vec<String>,
    connect: Duration,
    trace: Trace,
    /// What no message may repeat.
    secrets: Secrets,
}

/// What is asked.
pub(crate) struct Question {
    /// What for, in a word of the story: `identity token`.
    pub(crate) what: &'static str,
    /// The method.
    pub(crate) method: Method,
    /// Whom. Neither query nor user are told.
    pub(crate) url: Url,
    /// The headers.
    pub(crate) headers: HeaderMap,
    /// The body; empty for none. It may hold secrets.
    pub(crate) body: Zeroizing<Vec<u8>>,
}

/// What was answered, whatever the status.
pub(crate) struct Answer {
    /// The status. A redirect is one of them: none is followed.
    pub(crate) status: StatusCode,
    /// The headers.
    pub(crate) headers: HeaderMap,
    /// The body. It may hold secrets.
    pub(crate) body: Zeroizing<Vec<u8>>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CloudHttpError {
    /// Nobody answered.
    #[error("no answer from {host}{}", through(.proxy.as_ref()))]
    Unanswered {
        /// Host and port.
        host: String,
        /// The proxy in between.
        proxy: Option<Proxy>,
        /// Why.
        source: Unanswered,
    },
    /// The answer cannot be used.
    #[error("the answer of {host} cannot be used")]
    Unusable {
        /// Host and port.
        host: String,
        /// Why.
        source: HttpError,
    },
    /// There is no client for it.
    #[error("{host} cannot be asked")]
    Client {
        /// Host and port.
        host: String,
        /// Why.
        source: HttpError,
    },
}

fn through(proxy: Option<&Proxy>) -> String {
    proxy.map(|proxy| format!(" through the proxy {proxy}")).unwrap_or_default()
}

impl CloudHttp {
    /// For the lookup at one registry: whose certificates count there, counts here too.
    pub(super) fn new(setting: &Setting<'_>, registry: &str) -> Self {
        Self(Arc::new(Shared {
            network: setting.network.clone(),
            registry: registry.to_owned(),
            certificates: setting.certificates.to_vec(),
            unverified: setting.unverified.to_vec(),
            connect: setting.limits.connect,
            trace: setting.trace.clone(),
            secrets: setting.secrets.clone(),
        }))
    }

    /// Asks once. The caller limits the time.
    pub(crate) async fn ask(&self, question: Question) -> Result<Answer, CloudHttpError> {
        let Question { what, method, url, headers, body } = question;
        self.0.secrets.keep_those_of_url(&url);
        self.0.secrets.keep_those_of_headers(&headers);
        self.0.secrets.keep_those_of_body(&body);
        let host = host_and_port(&url);
        let client = self.client(&url).map_err(|source| CloudHttpError::Client { host: host.clone(), source })?;
        let mut request = client.request(method.clone(), url.clone()).headers(headers);
        if !body.is_empty() || method == Method::POST || method == Method::PUT {
            request = request.body(body.to_vec());
        }
        let asked = self.0.trace.begin(what, method.as_str(), self.told(&url));
        let response = match request.send().await.map_err(Unanswered::from) {
            Ok(response) => response,
            Err(source) => {
                asked.end(End::Unanswered { reason: chain(&source) });
                let proxy = self.0.network.proxies().proxy_for(&url).filter(|_| !straight(&url)).cloned();
                return Err(CloudHttpError::Unanswered { host, proxy, source });
            }
        };
        let (status, headers) = (response.status(), response.headers().clone());
        match read_body(response, ANSWER, "the answer").await {
            Ok(body) => {
                asked.end(End::Answered { status: status.as_u16() });
                self.0.secrets.keep_those_of_body(&body);
                Ok(Answer { status, headers, body: Zeroizing::new(body) })
            }
            Err(source) => {
                asked.end(End::Unread { status: status.as_u16(), reason: chain(&source) });
                Err(CloudHttpError::Unusable { host, source })
            }
        }
    }

    /// From now on no message repeats this. What a request shows and what an answer tells is kept by itself, if it stands
    /// where secrets do.
    pub(crate) fn keep(&self, secret: &str) {
        self.0.secrets.keep(secret);
    }

    /// A message without the secrets that were shown or told: whoever is asked may repeat them, whole or in part.
    pub(crate) fn without_secrets(&self, text: String) -> String {
        self.0.secrets.without(text)
    }

    /// A URL for the story: scheme, host and path.
    fn told(&self, url: &Url) -> String {
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        let path = self.without_secrets(url.path().trim_start_matches('/').to_owned());
        shown(&format!("{}://{}{port}/{path}", url.scheme(), url.host_str().unwrap_or("")), LONGEST)
    }

    fn client(&self, url: &Url) -> Result<reqwest::Client, HttpError> {
        let shared = &self.0;
        let registry = Url::parse(&format!("{}://{}/", url.scheme(), shared.registry)).ok();
        let here = |key: &str| is_named(key, url) || registry.as_ref().is_some_and(|registry| is_named(key, registry));
        let extra = shared.certificates.iter().filter(|(key, _)| here(key)).map(|(_, path)| path.clone()).collect();
        let trust = Trust { public_roots: true, extra };
        if straight(url) {
            return shared.network.clone().with_connect_timeout(shared.connect).client(&trust, Proxies::Never);
        }
        let believed = url.host_str().filter(|_| shared.unverified.iter().any(|key| is_named(key, url)));
        match believed {
            Some(host) => shared.network.client_believing(host, &trust, Proxies::FromEnvironment),
            None => shared.network.client(&trust, Proxies::FromEnvironment),
        }
    }
}

/// Whether somebody is reached at once or not at all, and by nobody's proxy: whoever is asked in plain text answers with a
/// token in plain text, and is a metadata server or an agent on this node whatever it is called.
fn straight(url: &Url) -> bool {
    url.scheme() == "http" || is_metadata(url)
}

/// Whether a host is a metadata server or an agent on this node.
pub(crate) fn is_metadata(url: &Url) -> bool {
    let host = url.host_str().unwrap_or("").trim_end_matches('.').to_ascii_lowercase();
    if host == "metadata.google.internal" || host == "localhost" || host.ends_with(".localhost") {
        return true;
    }
    match host.trim_start_matches('[').trim_end_matches(']').parse().map(|address: IpAddr| address.to_canonical()) {
        // Whoever connects to 0.0.0.0 or [::] connects to this machine.
        Ok(IpAddr::V4(address)) => address.is_link_local() || address.is_loopback() || address.is_unspecified(),
        // Amazon's are in fd00:ec2::/32, Google's is fd20:ce::254.
        Ok(IpAddr::V6(address)) => {
            address.is_unicast_link_local()
                || address.is_loopback()
                || address.is_unspecified()
                || address.is_unique_local()
        }
        Err(_) => false,
    }
}

/// Host and port for a message.
pub(crate) fn host_and_port(url: &Url) -> String {
    let host = url.host_str().unwrap_or("");
    url.port_or_known_default().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Question({} {} {}, redacted)", self.what, self.method, host_and_port(&self.url))
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Answer({}, {} bytes, redacted)", self.status.as_u16(), self.body.len())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::thread::JoinHandle;
    use std::time::SystemTime;

    use reqwest::header::HeaderValue;

    use super::*;
    use crate::authn::cloud::Limits;
    use crate::host::Env;

    const TOKEN: &str = "ya29.c.b0Aaekm1K+zV9/7Qw==-the_rest_of_it";

    /// Somebody who reads the head of one request and says this. Joined, it gives back what it read.
    fn once(says: impl Into<Vec<u8>>) -> (String, JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, says) = (listener.local_addr().unwrap().to_string(), says.into());
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = Vec::new();
            while !head.windows(4).any(|window| window == b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                head.extend(byte);
            }
            // Whoever has had enough may hang up.
            let _ = stream.write_all(&says);
            String::from_utf8(head).unwrap()
        });
        (address, thread)
    }

    fn answer(status: &str, headers: &str, body: &str) -> String {
        format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
    }

    /// Nobody: connections are refused.
    fn nobody() -> String {
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
    }

    fn question(url: &str) -> Question {
        Question {
            what: "identity token",
            method: Method::GET,
            url: url.parse().unwrap(),
            headers: HeaderMap::new(),
            body: Zeroizing::new(Vec::new()),
        }
    }

    struct World {
        trace: Trace,
        http: CloudHttp,
    }

    fn world(variables: &[(&str, &str)]) -> World {
        let env: Env = variables.iter().copied().collect();
        let (network, trace) = (Network::new(&env).unwrap(), Trace::default());
        let setting = Setting {
            env: &env,
            network: &network,
            certificates: &[],
            unverified: &[],
            limits: Limits::default(),
            now: SystemTime::UNIX_EPOCH,
            trace: &trace,
            secrets: &Secrets::default(),
        };
        let http = CloudHttp::new(&setting, "gcr.io");
        World { trace, http }
    }

    impl World {
        fn ask(&self, question: Question) -> Result<Answer, CloudHttpError> {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(self.http.ask(question))
        }

        fn told(&self) -> Vec<(String, End)> {
            self.trace.requests().listed.into_iter().map(|request| (request.url, request.end)).collect()
        }
    }

    #[test]
    fn what_was_shown_and_what_was_answered_is_not_repeated() {
        let (address, server) = once(answer("200 OK", "", r#"{"access_token":"answered-0123456789"}"#));
        let world = world(&[]);
        let mut question = question(&format!("http://{address}/token?access_token=queried-0123456789"));
        question.method = Method::POST;
        question.headers.insert("authorization", HeaderValue::from_static("Bearer shown-0123456789"));
        question.body = Zeroizing::new(b"client_secret=posted-0123456789&scope=told-9876543210".to_vec());
        let odd = format!("{question:?}");
        let answer = world.ask(question).unwrap();
        let text = "shown-0123456789 posted-0123456789 queried-0123456789 answered-0123456789 told-9876543210";
        let told = world.http.without_secrets(text.to_owned());
        assert_eq!(told, "(a secret) (a secret) (a secret) (a secret) told-9876543210");
        assert_eq!(odd, format!("Question(identity token POST {address}, redacted)"));
        assert_eq!(format!("{answer:?}"), "Answer(200, 38 bytes, redacted)");
        assert!(server.join().unwrap().starts_with("POST /token?access_token=queried-0123456789 HTTP/1.1\r\n"));
    }

    #[test]
    fn what_an_answer_broke_off_in_is_not_repeated_either() {
        let (address, server) = once(answer("200 OK", "", r#"{"access_token":"answered-0123456789"#));
        let world = world(&[]);
        world.ask(question(&format!("http://{address}/"))).unwrap();
        server.join().unwrap();
        assert_eq!(world.http.without_secrets("it was answered-01234567...".to_owned()), "it was (a secret)...");
    }

    #[test]
    fn of_a_url_scheme_host_and_path_are_told() {
        let (address, server) = once(answer("404 Not Found", "", ""));
        let world = world(&[]);
        world.http.keep(TOKEN);
        let asked = format!("http://user:hunter2-hunter2@{address}/token/a%20b?scopes=x&access_token={TOKEN}#fragment");
        world.ask(question(&asked)).unwrap();
        server.join().unwrap();
        let gone = nobody();
        for path in ["ya29.c.b0Aaekm1K%2BzV9%2F7Qw==-the_rest_of_it", TOKEN] {
            world.ask(question(&format!("http://{gone}/{path}"))).unwrap_err();
        }
        world.ask(question(&format!("http://{gone}/{}", "a".repeat(5000)))).unwrap_err();
        let refused = || End::Unanswered { reason: "connection refused".to_owned() };
        let start = format!("http://{gone}/");
        assert_eq!(
            world.told(),
            [
                (format!("http://{address}/token/a%20b"), End::Answered { status: 404 }),
                (format!("{start}(what it says holds a secret)"), refused()),
                (format!("{start}(a secret)"), refused()),
                (format!("{start}{}...", "a".repeat(LONGEST - start.len())), refused()),
            ]
        );
    }

    #[test]
    fn a_redirect_is_an_answer() {
        let elsewhere = nobody();
        let (address, server) = once(answer("302 Found", &format!("Location: http://{elsewhere}/\r\n"), ""));
        let world = world(&[]);
        let answer = world.ask(question(&format!("http://{address}/"))).unwrap();
        server.join().unwrap();
        assert_eq!((answer.status, world.told().len()), (StatusCode::FOUND, 1));
        assert_eq!(answer.headers.get("location").unwrap(), &format!("http://{elsewhere}/"));
    }

    #[test]
    fn an_answer_that_is_too_long_is_refused() {
        let announced = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", ANSWER + 1);
        let endless = format!("HTTP/1.1 200 OK\r\n\r\n{}", " ".repeat(ANSWER + 1));
        for says in [announced, endless] {
            let (address, server) = once(says);
            let world = world(&[]);
            let error = world.ask(question(&format!("http://{address}/"))).unwrap_err();
            server.join().unwrap();
            let sentence = format!("the answer of {address} cannot be used: the answer is longer than 262144 bytes");
            assert!(chain(&error).starts_with(&sentence), "{}", chain(&error));
            let [(_, End::Unread { status: 200, .. })] = &world.told()[..] else { panic!("{:?}", world.told()) };
        }
        let (address, server) = once(answer("200 OK", "", &" ".repeat(ANSWER)));
        assert_eq!(world(&[]).ask(question(&format!("http://{address}/"))).unwrap().body.len(), ANSWER);
        server.join().unwrap();
    }

    #[test]
    fn nobodys_proxy_sees_what_is_asked_of_a_metadata_server() {
        let proxy = format!("http://{}", nobody());
        let (address, server) = once(answer("200 OK", "", ""));
        let all =
            [("HTTP_PROXY", &*proxy), ("HTTPS_PROXY", &*proxy), ("http_proxy", &*proxy), ("https_proxy", &*proxy)];
        world(&all).ask(question(&format!("http://{address}/"))).unwrap();
        assert!(server.join().unwrap().starts_with("GET / HTTP/1.1\r\n"));
    }

    #[test]
    fn others_are_asked_through_the_proxy_which_sees_their_name_alone() {
        let (address, server) = once(answer("403 Forbidden", "", ""));
        let world = world(&[("HTTPS_PROXY", &format!("http://user:hunter2-hunter2@{address}"))]);
        let error = world.ask(question(&format!("https://sts.example/secret?access_token={TOKEN}"))).unwrap_err();
        let head = server.join().unwrap();
        assert!(head.starts_with("CONNECT sts.example:443 HTTP/1.1\r\n") && !head.contains("secret"), "{head}");
        let sentence = format!("no answer from sts.example:443 through the proxy http://{address} (HTTPS_PROXY): ");
        assert!(chain(&error).starts_with(&sentence), "{}", chain(&error));
    }

    #[test]
    fn whom_no_proxy_is_asked_about_is_told_without_one() {
        let gone = nobody();
        let world = world(&[("HTTP_PROXY", "http://proxy.example:3128"), ("HTTPS_PROXY", "http://proxy.example:3128")]);
        let error = world.ask(question(&format!("http://{gone}/"))).unwrap_err();
        assert_eq!(chain(&error), format!("no answer from {gone}: connection refused"));
    }

    #[test]
    fn silence_is_ended_by_the_caller_and_told() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let world = world(&[]);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let asked = async {
            let limit = Duration::from_millis(10);
            super::super::within(limit, "the server", world.http.ask(question(&format!("http://{address}/")))).await
        };
        assert_eq!(runtime.block_on(asked).unwrap_err().to_string(), "no answer from the server within 10ms");
        let silent = End::Unanswered { reason: "no answer in time".to_owned() };
        assert_eq!(world.told(), [(format!("http://{address}/"), silent)]);
        drop(TcpStream::connect(address));
    }

    #[test]
    fn metadata_servers_are_known_by_name_and_address() {
        for (url, is) in [
            ("http://169.254.169.254/latest", true),
            ("http://169.254.170.2/v2/credentials", true),
            ("http://169.254.170.23/v1/credentials", true),
            ("https://169.254.169.254/", true),
            ("http://[fd00:ec2::254]/", true),
            ("http://[fd00:ec2::23]/v1/credentials", true),
            ("http://[fd20:ce::254]/", true),
            ("http://[fe80::1]/", true),
            ("http://[::1]:8080/", true),
            ("http://[::]:8080/", true),
            ("http://[::ffff:169.254.169.254]/", true),
            ("http://[::ffff:127.0.0.1]/", true),
            ("http://127.0.0.1:1338/", true),
            ("http://127.9.9.9/", true),
            // The same, as URLs may have it.
            ("http://127.1/", true),
            ("http://0x7f000001/", true),
            ("http://2852039166/", true),
            ("http://0.0.0.0/", true),
            ("http://localhost:1338/", true),
            ("http://LOCALHOST/", true),
            ("http://localhost./", true),
            ("http://agent.localhost/", true),
            ("http://metadata.google.internal/computeMetadata/v1/", true),
            ("http://metadata.google.internal./", true),
            ("http://Metadata.Google.Internal/", true),
            ("https://metadata.google.internal.evil.example/", false),
            ("https://xmetadata.google.internal/", false),
            ("https://notlocalhost/", false),
            ("https://localhost.example/", false),
            ("https://127.0.0.1.example/", false),
            ("https://169.254.169.254.example/", false),
            ("https://169.255.0.1/", false),
            ("https://10.0.0.1/", false),
            ("https://[2001:db8::1]/", false),
            ("https://[::ffff:10.0.0.1]/", false),
            ("https://sts.amazonaws.com/", false),
            ("https://metadata/", false),
        ] {
            assert_eq!(is_metadata(&url.parse().unwrap()), is, "{url}");
        }
    }

    #[test]
    fn nobody_is_asked_in_plain_text_through_a_proxy() {
        for (url, expected) in [
            ("http://metadata.emulator:8080/", true),
            ("http://sts.example/", true),
            ("https://sts.example/", false),
            ("https://localhost/", true),
        ] {
            assert_eq!(straight(&url.parse().unwrap()), expected, "{url}");
        }
    }
}
