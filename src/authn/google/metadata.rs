//! The metadata server: it knows the node's identity, and on GKE with Workload Identity the pod's.
//!
//! GKE's begins to serve a new pod only after seconds, which are those in which this program asks. So where there is reason
//! to think that it is there, it is asked again for a while. Everywhere else once is enough.
//! <https://cloud.google.com/compute/docs/metadata/querying-metadata>,
//! <https://cloud.google.com/kubernetes-engine/docs/how-to/workload-identity>

use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use reqwest::header::{HeaderMap, HeaderValue, SERVER};
use reqwest::{Method, Url};
use zeroize::Zeroizing;

use super::SCOPE;
use super::error::GoogleError;
use super::refusal::Step;
use super::service::{Token, answered, refused, token};
use crate::authn::cloud::{Answer, CloudHttpError, Context, Limits, Question, host_and_port};
use crate::host::Env;
use crate::http::Unanswered;
use crate::image::shown;
use crate::sys::file;

/// Where it is, unless the environment says otherwise.
const ADDRESS: &str = "169.254.169.254";
/// The identity that a machine or a pod has.
const ACCOUNT: &str = "computeMetadata/v1/instance/service-accounts/default";
/// The header that a question and its answer must have.
const FLAVOR: (&str, &str) = ("metadata-flavor", "Google");
/// What a virtual machine's own server calls itself. It is there before the machine is.
const OF_MACHINES: &str = "Metadata Server for VM";
/// What GKE's says when it was IAM that refused.
const OF_IAM: &str = "IAM returned";
/// Where firmware says whose machine this is.
const PRODUCT_NAME: &str = "/sys/class/dmi/id/product_name";
/// The pauses between questions; the last is repeated.
const PAUSES: [u64; 5] = [100, 200, 400, 800, 1000];
/// How many characters of a name a message shows.
const SHOWN: usize = 200;

/// A metadata server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::authn) struct MetadataServer {
    host: String,
    /// Whether the environment names it.
    named: bool,
}

/// Why there is no token yet.
#[derive(Debug)]
struct Failure {
    error: GoogleError,
    /// How long it may last.
    kind: Kind,
    /// Whether it was Google's server that answered.
    googles: bool,
}

/// How long a failure may last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Until the server has started.
    Starting,
    /// A connection is not answered: the server may be starting, or somebody drops what is sent to it.
    Silent,
    /// For good.
    Lasting,
}

impl MetadataServer {
    /// The server that the environment names, or the one of every machine.
    pub(super) fn of(env: &Env) -> Self {
        match env.text("GCE_METADATA_HOST") {
            Some(host) => Self { host: host.to_owned(), named: true },
            None => Self { host: ADDRESS.to_owned(), named: false },
        }
    }

    /// A token, and whose it is if that can be had.
    pub(super) async fn token(&self, context: &Context<'_>) -> Result<(Token, Option<String>), GoogleError> {
        let root = self.root()?;
        let mut url = root.join(&format!("{ACCOUNT}/token")).map_err(|_| GoogleError::MetadataHost)?;
        url.query_pairs_mut().append_pair("scopes", SCOPE);
        let mut plausible = self.named || is_googles(&product_name(Path::new(PRODUCT_NAME)));
        let limits = &context.limits;
        let (since, mut tries, mut left) = (Instant::now(), 0, limits.metadata);
        // The limit that counts, and what was said before.
        let mut waiting: Option<(Duration, GoogleError)> = None;
        loop {
            tries += 1;
            let failure = match ask(context, &url, left).await {
                Ok(token) => {
                    let email = root.join(&format!("{ACCOUNT}/email")).ok();
                    let limit = limits.connect.min(limits.metadata.saturating_sub(since.elapsed()));
                    return Ok((token, email_of(context, email, limit).await));
                }
                Err(failure) => failure,
            };
            let not_ready = |limit, tries, last| GoogleError::NotReady { limit, tries, source: Box::new(last) };
            if let (GoogleError::Hung { .. }, Some((limit, last))) = (&failure.error, waiting)
                && left < limits.metadata
            {
                // What was left of the time was too short for an answer.
                return Err(not_ready(limit, tries, last));
            }
            plausible |= failure.googles;
            let Some(limit) = patience(failure.kind, plausible, limits) else { return Err(failure.error) };
            let pause = Duration::from_millis(PAUSES[(tries - 1).min(PAUSES.len() - 1)]);
            left = limit.saturating_sub(since.elapsed() + pause).min(limits.metadata);
            if left.is_zero() {
                return Err(not_ready(limit, tries, failure.error));
            }
            waiting = Some((limit, failure.error));
            tokio::time::sleep(pause).await;
        }
    }

    fn root(&self) -> Result<Url, GoogleError> {
        let url = Url::parse(&format!("http://{}/", self.host)).ok();
        let plain =
            |url: &Url| url.has_host() && url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        let nobody = |url: &Url| url.username().is_empty() && url.password().is_none();
        url.filter(|url| plain(url) && nobody(url)).ok_or(GoogleError::MetadataHost)
    }
}

impl fmt::Display for MetadataServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Somebody may have written a password there.
        let host = self.host.rsplit_once('@').map_or(self.host.as_str(), |(_, host)| host);
        write!(f, "metadata server {}", shown(host, SHOWN))
    }
}

/// For how long a failing server is asked again.
fn patience(kind: Kind, plausible: bool, limits: &Limits) -> Option<Duration> {
    match kind {
        Kind::Starting if plausible => Some(limits.start_up),
        Kind::Silent if plausible => Some(limits.metadata),
        Kind::Starting | Kind::Silent | Kind::Lasting => None,
    }
}

/// Whose machine this is, by its firmware; empty where that is not said.
fn product_name(path: &Path) -> String {
    String::from_utf8_lossy(&file::head(path, 64).unwrap_or_default()).trim().to_owned()
}

/// Whether a machine is Google's: `Google Compute Engine`, `Google`.
fn is_googles(product_name: &str) -> bool {
    product_name.starts_with("Google")
}

fn question(what: &'static str, url: Url) -> Question {
    let mut headers = HeaderMap::new();
    headers.insert(FLAVOR.0, HeaderValue::from_static(FLAVOR.1));
    Question { what, method: Method::GET, url, headers, body: Zeroizing::default() }
}

/// Asks for a token once.
async fn ask(context: &Context<'_>, url: &Url, limit: Duration) -> Result<Token, Failure> {
    let answer = match answered(context, limit, question("identity token", url.clone())).await {
        Ok(answer) => answer,
        Err(error) => return Err(Failure { kind: of_unanswered(&error), error, googles: false }),
    };
    let status = answer.status.as_u16();
    let host = host_and_port(url);
    if !has_flavor(&answer) {
        // Somebody in between may answer for a server that is not there yet.
        let kind = if status >= 500 { Kind::Starting } else { Kind::Lasting };
        return Err(Failure { error: GoogleError::NotGoogles { host, status }, kind, googles: false });
    }
    if answer.status.is_success() {
        let no_token = || Failure { error: GoogleError::NoToken { host }, kind: Kind::Lasting, googles: true };
        return token(context, &answer.body).ok_or_else(no_token);
    }
    let server = answer.headers.get(SERVER).and_then(|server| server.to_str().ok());
    let kind = of_status(status, server, &answer.body);
    Err(Failure { error: refused(context, url, &answer, &Step::Metadata), kind, googles: true })
}

/// Whose the token is. It is only told, so nothing is waited for long, and a failure is none.
async fn email_of(context: &Context<'_>, url: Option<Url>, limit: Duration) -> Option<String> {
    let answer = answered(context, limit, question("identity name", url?)).await.ok()?;
    let email = std::str::from_utf8(&answer.body).ok()?.trim();
    let fits = answer.status.is_success() && has_flavor(&answer) && !email.is_empty();
    (fits && email.bytes().all(|byte| byte.is_ascii_graphic())).then(|| shown(email, SHOWN))
}

fn has_flavor(answer: &Answer) -> bool {
    answer.headers.get(FLAVOR.0).is_some_and(|flavor| flavor == FLAVOR.1)
}

fn of_unanswered(error: &GoogleError) -> Kind {
    let GoogleError::Unanswered(CloudHttpError::Unanswered { source, .. }) = error else { return Kind::Lasting };
    match source {
        Unanswered::Refused | Unanswered::Unreachable | Unanswered::Closed => Kind::Starting,
        Unanswered::TimedOut => Kind::Silent,
        Unanswered::Name(_)
        | Unanswered::UnknownAuthority
        | Unanswered::Certificate(_)
        | Unanswered::WantsCertificate(_)
        | Unanswered::Handshake(_)
        | Unanswered::NotTls
        | Unanswered::NotHttp
        | Unanswered::Other(_) => Kind::Lasting,
    }
}

/// What a status means: 403 and 404 are said by a server that is not ready, by a machine's own that has no identity, and by
/// GKE's when IAM has refused.
fn of_status(status: u16, server: Option<&str>, body: &[u8]) -> Kind {
    let by_machine = server == Some(OF_MACHINES);
    let by_iam = body.windows(OF_IAM.len()).any(|part| part == OF_IAM.as_bytes());
    match status {
        429 | 500.. => Kind::Starting,
        403 | 404 if !by_machine && !by_iam => Kind::Starting,
        _ => Kind::Lasting,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_waited_for_only_where_there_is_reason_to() {
        let limits = Limits::default();
        for (kind, plausible, expected) in [
            (Kind::Starting, true, Some(limits.start_up)),
            (Kind::Silent, true, Some(limits.metadata)),
            (Kind::Lasting, true, None),
            (Kind::Starting, false, None),
            (Kind::Silent, false, None),
            (Kind::Lasting, false, None),
        ] {
            assert_eq!(patience(kind, plausible, &limits), expected);
        }
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("product_name");
        assert!(!is_googles(&product_name(&path)));
        for (name, expected) in [
            ("Google Compute Engine\n", true),
            ("Google\n", true),
            ("m5.large\n", false),
            ("Not Google\n", false),
            ("", false),
        ] {
            std::fs::write(&path, name).unwrap();
            assert_eq!(is_googles(&product_name(&path)), expected, "{name}");
        }
    }

    #[test]
    fn a_refusal_may_be_that_of_a_server_that_starts() {
        let iam = b"Unable to generate access token; IAM returned 403 Forbidden: Permission denied";
        for (status, server, body, expected) in [
            (503, None, &b""[..], Kind::Starting),
            (500, Some(OF_MACHINES), b"", Kind::Starting),
            (429, None, b"", Kind::Starting),
            (404, None, b"Not Found", Kind::Starting),
            (404, Some(OF_MACHINES), b"", Kind::Lasting),
            (403, None, b"", Kind::Starting),
            (403, None, iam, Kind::Lasting),
            (400, None, b"", Kind::Lasting),
            (302, None, b"", Kind::Lasting),
        ] {
            assert_eq!(of_status(status, server, body), expected, "{status} {server:?}");
        }
    }

    #[test]
    fn the_host_is_a_host_and_no_more() {
        let root =
            |host: &str| MetadataServer { host: host.to_owned(), named: true }.root().map(|url| url.to_string()).ok();
        for (host, expected) in [
            ("169.254.169.254", Some("http://169.254.169.254/")),
            ("metadata.google.internal:80", Some("http://metadata.google.internal/")),
            ("127.0.0.1:8080", Some("http://127.0.0.1:8080/")),
            ("[fd20:ce::254]", Some("http://[fd20:ce::254]/")),
            ("http://169.254.169.254", None),
            ("u:p@169.254.169.254", None),
            ("169.254.169.254/x", None),
            ("169.254.169.254?x", None),
            ("169.254.169.254#x", None),
            ("a b", None),
        ] {
            assert_eq!(root(host).as_deref(), expected, "{host}");
        }
    }
}
