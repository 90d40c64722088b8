//! One try of one endpoint. Everything is prepared anew each time: a name may be known, a certificate be there, only now.

use std::net::SocketAddr;
use std::time::Duration;

use reqwest::header::{CONNECTION, LOCATION};
use reqwest::{Response, Url};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::daemon;
use crate::host::Env;
use crate::http::{Network, Proxies, Trust, Unanswered};
use crate::spec::Endpoint;
use crate::sys::cause::{Cause, chain};
use crate::trace::Trace;

/// How many addresses of one name are tried.
const ADDRESSES: usize = 4;
/// Bounds the connection to one of them.
const CONNECT: Duration = Duration::from_secs(2);
/// How much of a redirect's target is shown, in bytes.
const SHOWN: usize = 200;

/// Why an endpoint did not answer as it should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// A phrase that goes behind the endpoint and a colon.
    pub(super) reason: String,
    /// Whether time may mend it.
    pub(super) may_pass: bool,
}

impl Refusal {
    /// For now.
    pub(super) fn for_now(reason: String) -> Self {
        Self { reason, may_pass: true }
    }

    fn for_good(reason: String) -> Self {
        Self { reason, may_pass: false }
    }
}

/// Whether the endpoint answers as it should.
pub(super) async fn once(endpoint: &Endpoint, env: &Env) -> Result<(), Refusal> {
    match endpoint {
        Endpoint::Tcp { host, port } => tcp(host, *port).await.map_err(Refusal::for_now),
        Endpoint::Http { url } => http(url, env).await,
        Endpoint::Docker => docker(env).await,
    }
}

/// What to say of an endpoint that let its time pass without a word.
pub(super) fn silence(endpoint: &Endpoint, env: &Env) -> String {
    match (endpoint, daemon::address(env)) {
        (Endpoint::Docker, Ok(address)) => format!("no answer from the daemon at {address} in time"),
        (Endpoint::Docker | Endpoint::Tcp { .. } | Endpoint::Http { .. }, _) => "no answer in time".to_owned(),
    }
}

/// A connection is enough: nothing is said on it. No proxy is asked, and so no variable of the environment read.
async fn tcp(host: &str, port: u16) -> Result<(), String> {
    let network = Network::new(&Env::default()).map_err(|error| chain(&error))?;
    let addresses = network.addresses(host).await.map_err(|error| chain(&error))?;
    let mut first = None;
    for address in addresses.into_iter().take(ADDRESSES) {
        let reason = match timeout(CONNECT, TcpStream::connect(SocketAddr::new(address, port))).await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) => Cause(&error).to_string(),
            Err(_) => "no answer in time".to_owned(),
        };
        let named = address.to_string() != host;
        first.get_or_insert(if named { format!("{address}: {reason}") } else { reason });
    }
    Err(first.unwrap_or_else(|| format!("{host} has no address")))
}

/// A GET, whose answer counts by its status alone.
async fn http(url: &str, env: &Env) -> Result<(), Refusal> {
    let url: Url = url.parse().map_err(|error| Refusal::for_good(format!("it is no address: {error}")))?;
    let network = Network::new(env).map_err(|error| Refusal::for_good(chain(&error)))?;
    let client =
        network.client(&Trust::default(), Proxies::FromEnvironment).map_err(|error| Refusal::for_now(chain(&error)))?;
    let reason = match client.get(url.clone()).header(CONNECTION, "close").send().await.map_err(Unanswered::from) {
        Ok(response) if response.status().is_success() => return Ok(()),
        Ok(response) => status(&response),
        Err(error) => unanswered(&error, &network),
    };
    Err(Refusal::for_now(match network.proxy_in_force(&url) {
        Some(note) => format!("{reason}; {note}"),
        None => reason,
    }))
}

/// What to say where there was no answer.
fn unanswered(error: &Unanswered, network: &Network) -> String {
    let mut reason = chain(error);
    if let Unanswered::UnknownAuthority = error {
        reason.push_str("; let SSL_CERT_FILE name a PEM file with it");
        for note in network.roots_in_force() {
            reason.push_str(&format!("; {note}"));
        }
    }
    reason
}

/// What to say of an answer that is none of success.
fn status(response: &Response) -> String {
    let status = response.status();
    let target = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
    match target.filter(|_| status.is_redirection()) {
        Some(target) => {
            // A query may carry a signature, and a user a password.
            let target = target.split(['?', '#']).next().unwrap_or_default();
            let target = match (target.split_once("://"), target.rsplit_once('@')) {
                (Some((scheme, _)), Some((_, host))) => format!("{scheme}://{host}"),
                _ => target.to_owned(),
            };
            let target = &target[..target.floor_char_boundary(SHOWN)];
            format!("it answers {status}, and redirects are not followed: name {target} instead")
        }
        None => format!("it answers {status}"),
    }
}

/// The daemon's own ping.
async fn docker(env: &Env) -> Result<(), Refusal> {
    let network = Network::new(env).map_err(|error| Refusal::for_good(chain(&error)))?;
    daemon::ping(&network, env, &Trace::default())
        .await
        .map_err(|error| Refusal { reason: chain(&error), may_pass: error.may_pass() })
}
