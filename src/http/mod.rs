//! The one factory of HTTP clients: trusted roots, names resolved in Rust, proxies, time limits, bounded bodies.
//!
//! The program runs inside other people's images. There may be no CA bundle (roots are compiled in), a hostile
//! `nsswitch.conf` (getaddrinfo is never called), and bodies that never end (every read has a limit).

mod date;
mod error;
mod identity;
mod named;
mod names;
mod proxy;
mod roots;
mod trust;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, RootCertStore};

pub use self::date::seconds_of_date;
pub use self::error::{CertificateFault, HttpError, Unanswered};
pub use self::identity::Identity;
pub use self::named::is_named;
use self::names::Names;
pub use self::names::{NameFiles, Refused, ResolveError};
pub use self::proxy::{Proxy, ProxySettings};
use self::roots::SystemRoots;
pub use self::roots::{RootPlace, RootPlaces, RootsThere};
use self::trust::Verifier;
use crate::host::Env;
use crate::note::Note;
use crate::sys::file;

/// Bounds one TCP connection with its TLS handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest silence of a server in the middle of an answer.
const READ_TIMEOUT: Duration = Duration::from_secs(20);
/// The largest PEM file that is read: a whole distribution's bundle has about a quarter of this.
const PEM_LIMIT: u64 = 1 << 20;
/// What the program calls itself.
const USER_AGENT: &str = concat!("entrypoint/", env!("CARGO_PKG_VERSION"));

/// What every client of one lookup shares: the crypto provider, the system's authorities, the resolver, the proxies.
#[derive(Debug, Clone)]
pub struct Network {
    provider: Arc<CryptoProvider>,
    roots: Arc<SystemRoots>,
    names: Arc<Names>,
    proxies: ProxySettings,
    connect_timeout: Duration,
    read_timeout: Duration,
}

/// Whose certificates a client accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trust {
    /// The public authorities, which are compiled in, and those of the system.
    pub public_roots: bool,
    /// PEM files with further authorities.
    pub extra: Vec<PathBuf>,
}

impl Default for Trust {
    fn default() -> Self {
        Self { public_roots: true, extra: Vec::new() }
    }
}

/// Whether a client asks the environment's proxies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proxies {
    /// `HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`, by Go's rules: loopback is never proxied.
    FromEnvironment,
    /// Always straight: metadata servers, the Kubernetes API.
    Never,
}

impl Network {
    /// Prepares what clients share. A resolver that cannot be set up is no error here: IP addresses need none.
    ///
    /// # Errors
    ///
    /// [`HttpError::Proxy`], when a proxy variable holds something that is not a proxy's address.
    pub fn new(env: &Env) -> Result<Self, HttpError> {
        Self::with_name_files(env, &NameFiles::default())
    }

    /// The same with other files than `/etc/resolv.conf` and `/etc/hosts`.
    ///
    /// # Errors
    ///
    /// As [`Network::new`].
    pub fn with_name_files(env: &Env, files: &NameFiles) -> Result<Self, HttpError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        // Libraries that build a TLS configuration of their own panic without a process default. One that is there
        // already stays: then this is an error, and none of ours.
        let _ = CryptoProvider::install_default((*provider).clone());
        Ok(Self {
            provider,
            roots: Arc::new(SystemRoots::new(RootPlaces::of_distributions().with_env(env))),
            names: Arc::new(Names::from_files(files)),
            proxies: ProxySettings::from_env(env)?,
            connect_timeout: CONNECT_TIMEOUT,
            read_timeout: READ_TIMEOUT,
        })
    }

    /// The same network with another limit on a server's silence in the middle of an answer.
    #[must_use]
    pub fn with_read_timeout(self, read_timeout: Duration) -> Self {
        Self { read_timeout, ..self }
    }

    /// The same network with another limit on a connection with its TLS handshake.
    #[must_use]
    pub fn with_connect_timeout(self, connect_timeout: Duration) -> Self {
        Self { connect_timeout, ..self }
    }

    /// The same network with other places for the system's authorities.
    #[must_use]
    pub fn with_root_places(self, places: RootPlaces) -> Self {
        Self { roots: Arc::new(SystemRoots::new(places)), ..self }
    }

    /// The same network, but name servers are not believed when they answer with an address of which this says a kind.
    #[must_use]
    pub fn refusing(&self, refused: Refused) -> Self {
        Self { names: Arc::new(self.names.refusing(refused)), ..self.clone() }
    }

    /// The proxy that a request takes because of the environment, for the story of a failure.
    #[must_use]
    pub fn proxy_in_force(&self, url: &reqwest::Url) -> Option<Note> {
        self.proxies.proxy_for(url).map(|proxy| Note::new(format!("proxy {proxy}"), "in between"))
    }

    /// What became of the certificates that `SSL_CERT_FILE` and `SSL_CERT_DIR` name, for the story of a failure.
    #[must_use]
    pub fn roots_in_force(&self) -> &[Note] {
        &self.roots.read().notes
    }

    /// What became of every place where the system's authorities are looked for. They are read now, if they were not.
    #[must_use]
    pub fn root_places(&self) -> &[RootPlace] {
        &self.roots.read().places
    }

    /// How many authorities are compiled in.
    #[must_use]
    pub fn embedded_roots() -> usize {
        webpki_roots::TLS_SERVER_ROOTS.len()
    }

    /// The addresses of a host, as clients of this network find them; for who speaks no HTTP.
    ///
    /// # Errors
    ///
    /// Why it has none.
    pub async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, ResolveError> {
        self.names.addresses(host).await
    }

    /// Which proxies are in force.
    #[must_use]
    pub fn proxies(&self) -> &ProxySettings {
        &self.proxies
    }

    /// A client that trusts `trust`. It follows no redirect, keeps no cookie, undoes no compression and retries nothing:
    /// all of these are decisions of whoever asks.
    ///
    /// # Errors
    ///
    /// A certificate file that cannot be used, named.
    pub fn client(&self, trust: &Trust, proxies: Proxies) -> Result<reqwest::Client, HttpError> {
        self.client_with(self.tls(trust)?, proxies)
    }

    /// The same client, but whoever answers as `host` is believed without a proof: any certificate will do. Everybody
    /// else's is verified as ever, that of a proxy in between for example.
    ///
    /// # Errors
    ///
    /// As [`Network::client`].
    pub fn client_believing(&self, host: &str, trust: &Trust, proxies: Proxies) -> Result<reqwest::Client, HttpError> {
        self.client_with(self.tls_of(server_name(host), None, trust)?, proxies)
    }

    /// A client that shows who it is to every server that asks for a certificate: it is for one server. If `believed`
    /// is that server's host, any certificate of its will do, as for [`Network::client_believing`].
    ///
    /// # Errors
    ///
    /// As [`Network::client`].
    pub fn client_showing(
        &self,
        identity: &Identity,
        believed: Option<&str>,
        trust: &Trust,
        proxies: Proxies,
    ) -> Result<reqwest::Client, HttpError> {
        self.client_with(self.tls_of(believed.and_then(server_name), Some(identity), trust)?, proxies)
    }

    /// A client of the server behind a socket of this machine, whatever the host of a URL is.
    ///
    /// # Errors
    ///
    /// As [`Network::client`].
    pub fn client_behind(&self, socket: &Path) -> Result<reqwest::Client, HttpError> {
        let builder = self.builder(self.tls(&Trust::default())?).unix_socket(socket);
        builder.build().map_err(|source| HttpError::Client { source })
    }

    /// A certificate to show and its key, from PEM files, which may be one.
    ///
    /// # Errors
    ///
    /// A file that cannot be used, named, or two that do not belong together.
    pub fn identity(&self, certificate: &Path, key: &Path) -> Result<Identity, HttpError> {
        Identity::read(certificate, key, &self.provider)
    }

    fn builder(&self, tls: ClientConfig) -> reqwest::ClientBuilder {
        reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .dns_resolver(Arc::clone(&self.names))
            .user_agent(USER_AGENT)
            .connect_timeout(self.connect_timeout)
            .read_timeout(self.read_timeout)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            // Without this reqwest would read the process environment by rules that are not Go's.
            .no_proxy()
    }

    fn client_with(&self, tls: ClientConfig, proxies: Proxies) -> Result<reqwest::Client, HttpError> {
        let mut builder = self.builder(tls);
        if proxies == Proxies::FromEnvironment && !self.proxies.is_empty() {
            let settings = self.proxies.clone();
            builder = builder
                .proxy(reqwest::Proxy::custom(move |url| settings.proxy_for(url).map(|proxy| proxy.url().clone())));
        }
        builder.build().map_err(|source| HttpError::Client { source })
    }

    /// The TLS configuration behind [`Network::client`], for clients that are not reqwest's.
    ///
    /// # Errors
    ///
    /// As [`Network::client`].
    pub fn tls(&self, trust: &Trust) -> Result<ClientConfig, HttpError> {
        self.tls_of(None, None, trust)
    }

    fn tls_of(
        &self,
        believed: Option<ServerName<'static>>,
        identity: Option<&Identity>,
        trust: &Trust,
    ) -> Result<ClientConfig, HttpError> {
        let mut roots = RootCertStore::empty();
        let mut named = Vec::new();
        if trust.public_roots {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        for path in &trust.extra {
            for certificate in certificates(path)? {
                named.push(certificate.clone());
                roots
                    .add(certificate)
                    .map_err(|source| HttpError::BadCertificate { path: path.clone(), source: source.into() })?;
            }
        }
        let builder = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()
            .map_err(|source| HttpError::Tls { source })?;
        let system = trust.public_roots.then(|| Arc::clone(&self.roots));
        let verifier = Verifier::new(roots, named, system, believed, Arc::clone(&self.provider))
            .map_err(|source| HttpError::Tls { source: rustls::Error::General(source.to_string()) })?;
        let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
        Ok(match identity {
            Some(identity) => {
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(&identity.0))))
            }
            None => builder.with_no_client_auth(),
        })
    }
}

/// The name of a URL's host, as certificates have it. What is no name of a server cannot be connected to either.
fn server_name(host: &str) -> Option<ServerName<'static>> {
    ServerName::try_from(host.trim_start_matches('[').trim_end_matches(']').to_owned()).ok()
}

/// The certificates of a PEM file; at least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, HttpError> {
    let pem =
        file::head(path, PEM_LIMIT).map_err(|source| HttpError::CertificateFile { path: path.to_owned(), source })?;
    let found = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|source| HttpError::NotPem { path: path.to_owned(), source })?;
    if found.is_empty() { Err(HttpError::NoCertificate { path: path.to_owned() }) } else { Ok(found) }
}

/// The body of an answer, at most `limit` bytes of it; `what` names it in the error.
///
/// # Errors
///
/// [`HttpError::TooLong`] when it is longer, or says that it will be; [`HttpError::Interrupted`] when it breaks off.
pub async fn read_body(
    mut response: reqwest::Response,
    limit: usize,
    what: &'static str,
) -> Result<Vec<u8>, HttpError> {
    let too_long = || HttpError::TooLong { what, limit };
    let announced = usize::try_from(response.content_length().unwrap_or(0)).map_err(|_| too_long())?;
    if announced > limit {
        return Err(too_long());
    }
    let mut body = Vec::with_capacity(announced);
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() > limit => return Err(too_long()),
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return Ok(body),
            Err(error) => return Err(HttpError::Interrupted { what, source: Unanswered::from(error) }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network() -> Network {
        Network::new(&Env::default()).expect("a network without an environment")
    }

    fn shown(error: &(dyn std::error::Error + 'static)) -> String {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        text
    }

    #[test]
    fn a_certificate_file_that_cannot_be_used_is_named_with_the_reason() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = |name: &str, content: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, content).expect("a file");
            path
        };
        let empty = file("empty.pem", "");
        let text = file("text.pem", "hello");
        let cut = file("cut.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n");
        let garbage = file("garbage.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
        let absent = directory.path().join("absent.pem");
        for (path, sentence) in [
            (&empty, "holds no certificate in PEM form"),
            (&text, "holds no certificate in PEM form"),
            (&cut, "is not a PEM file"),
            (&garbage, "holds a certificate that cannot be used"),
            (&absent, "No such file or directory"),
        ] {
            let trust = Trust { public_roots: true, extra: vec![path.clone()] };
            let error = network().client(&trust, Proxies::Never).expect_err("no client");
            let message = shown(&error);
            assert!(message.contains(sentence) && message.contains(&path.display().to_string()), "{message}");
        }
    }

    #[test]
    fn a_client_needs_no_certificate_file_and_no_crypto_setup_by_the_caller() {
        network().client(&Trust::default(), Proxies::FromEnvironment).expect("a client");
    }
}
