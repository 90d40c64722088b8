//! Which proxy a request takes, by the rules that Go programs follow: operators set these variables for Tekton.
//!
//! The rules are those of `golang.org/x/net/http/httpproxy`: the upper-case name first, then the lower-case one; no
//! `ALL_PROXY`; loopback and `localhost` never; `NO_PROXY` knows names, suffixes, addresses, CIDR blocks, ports and `*`.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use reqwest::Url;

use super::HttpError;
use crate::host::Env;
use crate::percent::percent_decoded;
use crate::secret::Secret;

/// The proxy variables of the environment, read once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProxySettings {
    https: Option<Proxy>,
    http: Option<Proxy>,
    exceptions: Vec<Exception>,
}

/// A proxy, and the variable that names it. Shown, it is without its password: `http://proxy:3128 (HTTPS_PROXY)`.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    // Behind a pointer, because errors carry it.
    url: Arc<Url>,
    variable: &'static str,
}

impl Proxy {
    /// Its address. There may be a password in it.
    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    /// Whether it is spoken to in TLS itself.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.url.scheme() == "https"
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({self})")
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.url.scheme(), self.url.host_str().unwrap_or(""))?;
        if let Some(port) = self.url.port_or_known_default() {
            write!(f, ":{port}")?;
        }
        write!(f, " ({})", self.variable)
    }
}

/// One entry of `NO_PROXY`.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Exception {
    /// `*`: nothing is proxied.
    Everything,
    /// An address.
    Address(IpAddr, Option<u16>),
    /// A block of addresses.
    Block(IpAddr, u8),
    /// A name: `host` stands for itself and its subdomains, `.host` for the subdomains alone.
    Name { suffix: String, itself: bool, port: Option<u16> },
}

impl ProxySettings {
    /// Reads `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`, each also in lower case.
    ///
    /// # Errors
    ///
    /// [`HttpError::Proxy`] or [`HttpError::SocksProxy`] names the variable that holds no address of a proxy that can be
    /// asked. There is no going round such a proxy: whoever set it may rely on everything going through it.
    pub fn from_env(env: &Env) -> Result<Self, HttpError> {
        let https = proxy(env, ["HTTPS_PROXY", "https_proxy"])?;
        // In a CGI program HTTP_PROXY may be a client's `Proxy` header.
        let http = match env.text("REQUEST_METHOD") {
            Some(_) => None,
            None => proxy(env, ["HTTP_PROXY", "http_proxy"])?,
        };
        let exceptions = env.text("NO_PROXY").or_else(|| env.text("no_proxy")).unwrap_or("");
        Ok(Self { https, http, exceptions: exceptions.split(',').filter_map(Exception::parse).collect() })
    }

    /// Whether there is no proxy at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.https.is_none() && self.http.is_none()
    }

    /// The users of the proxies and their passwords, as they are shown. For whoever is to keep them out of messages.
    #[must_use]
    pub fn users(&self) -> Vec<(String, Secret)> {
        let proxies = self.https.iter().chain(&self.http);
        let user = |proxy: &Proxy| {
            let password = Secret::new(percent_decoded(proxy.url.password()?));
            Some((percent_decoded(proxy.url.username()), password))
        };
        proxies.filter_map(user).collect()
    }

    /// The proxy for a request, if it takes one.
    #[must_use]
    pub fn proxy_for(&self, url: &Url) -> Option<&Proxy> {
        let proxy = match url.scheme() {
            "https" => self.https.as_ref(),
            "http" => self.http.as_ref(),
            _ => None,
        }?;
        let host = url.host_str()?.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.').to_lowercase();
        let port = url.port_or_known_default();
        let address: Option<IpAddr> = host.parse().ok();
        if host == "localhost" || host.ends_with(".localhost") || address.is_some_and(never_proxied) {
            return None;
        }
        if self.exceptions.iter().any(|exception| exception.covers(&host, address, port)) {
            return None;
        }
        Some(proxy)
    }
}

/// Loopback by Go's rule; link-local because cloud metadata lives there and a proxy would get its tokens.
fn never_proxied(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_loopback() || address.is_link_local(),
        IpAddr::V6(address) => address.is_loopback() || address.is_unicast_link_local(),
    }
}

/// The proxy that the first variable set names.
fn proxy(env: &Env, variables: [&'static str; 2]) -> Result<Option<Proxy>, HttpError> {
    let Some((variable, text)) = variables.into_iter().find_map(|name| env.text(name).map(|text| (name, text))) else {
        return Ok(None);
    };
    // `host:3128` is allowed, and means http. A bare `host:3128` would parse as a URL of the scheme `host`.
    let url = if text.contains("://") { Url::parse(text) } else { Url::parse(&format!("http://{text}")) };
    match url {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => {
            Ok(Some(Proxy { url: Arc::new(url), variable }))
        }
        Ok(url) if url.scheme().starts_with("socks") => Err(HttpError::SocksProxy { variable }),
        Ok(_) | Err(_) => Err(HttpError::Proxy { variable }),
    }
}

impl Exception {
    /// One entry; `None` when there is nothing in it that could match.
    fn parse(entry: &str) -> Option<Self> {
        let entry = entry.trim().to_lowercase();
        if entry == "*" {
            return Some(Self::Everything);
        }
        if let Some((address, bits)) = entry.split_once('/') {
            let address: IpAddr = address.parse().ok()?;
            let bits: u8 = bits.parse().ok()?;
            return (bits <= if address.is_ipv4() { 32 } else { 128 }).then_some(Self::Block(address, bits));
        }
        if let Ok(address) = entry.trim_start_matches('[').trim_end_matches(']').parse() {
            return Some(Self::Address(address, None));
        }
        let (host, port) = match entry.rsplit_once(':') {
            Some((host, port)) => (host, Some(port.parse().ok()?)),
            None => (entry.as_str(), None),
        };
        if let Ok(address) = host.trim_start_matches('[').trim_end_matches(']').parse() {
            return Some(Self::Address(address, port));
        }
        let (host, itself) = match host.strip_prefix("*.").or_else(|| host.strip_prefix('.')) {
            Some(rest) => (rest, false),
            None => (host, true),
        };
        (!host.is_empty()).then(|| Self::Name { suffix: host.to_owned(), itself, port })
    }

    /// Whether a host is covered.
    fn covers(&self, host: &str, address: Option<IpAddr>, port: Option<u16>) -> bool {
        let port_fits = |wanted: &Option<u16>| wanted.is_none() || *wanted == port;
        match self {
            Self::Everything => true,
            Self::Address(own, wanted) => address == Some(*own) && port_fits(wanted),
            Self::Block(block, bits) => address.is_some_and(|address| in_block(address, *block, *bits)),
            Self::Name { suffix, itself, port: wanted } => {
                let below = host.strip_suffix(suffix.as_str()).is_some_and(|rest| rest.ends_with('.'));
                (below || (*itself && host == suffix)) && port_fits(wanted)
            }
        }
    }
}

/// Whether the first `bits` bits of two addresses of one family are equal.
fn in_block(address: IpAddr, block: IpAddr, bits: u8) -> bool {
    let (differing, width) = match (address, block) {
        (IpAddr::V4(address), IpAddr::V4(block)) => (u128::from(address.to_bits() ^ block.to_bits()), 32),
        (IpAddr::V6(address), IpAddr::V6(block)) => (address.to_bits() ^ block.to_bits(), 128),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return false,
    };
    differing.checked_shr(width - u32::from(bits)).unwrap_or(0) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(variables: &[(&str, &str)]) -> ProxySettings {
        ProxySettings::from_env(&variables.iter().copied().collect()).expect("settings")
    }

    fn taken(settings: &ProxySettings, url: &str) -> Option<String> {
        settings.proxy_for(&url.parse().expect("a URL")).map(|proxy| proxy.url().to_string())
    }

    #[test]
    fn the_scheme_chooses_the_variable_and_upper_case_wins() {
        let settings = settings(&[
            ("https_proxy", "http://lower:1"),
            ("HTTPS_PROXY", "proxy.example:3128"),
            ("http_proxy", "http://plain:2"),
            ("ALL_PROXY", "http://all:3"),
        ]);
        assert_eq!(taken(&settings, "https://ghcr.io/v2/").as_deref(), Some("http://proxy.example:3128/"));
        assert_eq!(taken(&settings, "http://ghcr.io/v2/").as_deref(), Some("http://plain:2/"));
    }

    #[test]
    fn loopback_and_link_local_are_never_proxied() {
        let settings = settings(&[("HTTPS_PROXY", "http://p:1"), ("HTTP_PROXY", "http://p:1")]);
        for host in ["localhost:5000", "a.localhost", "127.0.0.1:5000", "127.9.9.9", "[::1]:5000", "169.254.169.254"] {
            assert_eq!(taken(&settings, &format!("http://{host}/")), None, "{host}");
        }
        assert!(taken(&settings, "http://10.0.0.1/").is_some());
    }

    #[test]
    fn exceptions_are_names_suffixes_addresses_blocks_and_ports() {
        for (exceptions, url, proxied) in [
            ("example.com", "https://example.com/", false),
            ("example.com", "https://a.example.com/", false),
            ("example.com", "https://badexample.com/", true),
            (".example.com", "https://example.com/", true),
            (".example.com", "https://a.example.com/", false),
            ("*.example.com", "https://a.example.com/", false),
            ("EXAMPLE.com", "https://Example.COM/", false),
            ("example.com:8443", "https://example.com/", true),
            ("example.com:8443", "https://example.com:8443/", false),
            ("10.0.0.0/8", "https://10.1.2.3/", false),
            ("10.0.0.0/8", "https://11.1.2.3/", true),
            ("0.0.0.0/0", "https://11.1.2.3/", false),
            ("fd00::/8", "https://[fd00::1]/", false),
            ("10.0.0.1", "https://10.0.0.1/", false),
            ("10.0.0.1:5000", "https://10.0.0.1/", true),
            ("other, *", "https://example.com/", false),
            ("10.0.0.0/99,,:1, ", "https://10.0.0.1/", true),
        ] {
            let settings = settings(&[("HTTPS_PROXY", "http://p:1"), ("NO_PROXY", exceptions)]);
            assert_eq!(taken(&settings, url).is_some(), proxied, "{exceptions} {url}");
        }
    }

    /// The sentences of Go's documentation (golang.org/x/net/http/httpproxy), one by one.
    #[test]
    fn the_documentation_of_gos_proxies_holds_row_by_row() {
        let both = [("HTTPS_PROXY", "http://secure:1"), ("HTTP_PROXY", "http://plain:2")];
        for (variables, url, proxy) in [
            // The variables, or their names in lower case; https has its own; without one nothing is proxied.
            (&both[..], "https://foo.com/", Some("http://secure:1/")),
            (&both[..], "http://foo.com/", Some("http://plain:2/")),
            (&[("https_proxy", "http://secure:1")][..], "https://foo.com/", Some("http://secure:1/")),
            (&[("http_proxy", "http://plain:2")][..], "http://foo.com/", Some("http://plain:2/")),
            (&[("HTTP_PROXY", "http://plain:2")][..], "https://foo.com/", None),
            (&[("HTTPS_PROXY", "http://secure:1")][..], "http://foo.com/", None),
            (&[("HTTPS_PROXY", "")][..], "https://foo.com/", None),
            // A complete URL, or host[:port], which means http.
            (&[("HTTPS_PROXY", "proxy.example:3128")][..], "https://foo.com/", Some("http://proxy.example:3128/")),
            (&[("HTTPS_PROXY", "proxy.example")][..], "https://foo.com/", Some("http://proxy.example/")),
            (&[("HTTPS_PROXY", "https://proxy.example")][..], "https://foo.com/", Some("https://proxy.example/")),
            // Where REQUEST_METHOD is set, HTTP_PROXY is somebody else's header.
            (&[("HTTP_PROXY", "http://plain:2"), ("REQUEST_METHOD", "GET")][..], "http://foo.com/", None),
            // localhost and loopback, with or without a port.
            (&both[..], "http://localhost/", None),
            (&both[..], "http://localhost:8080/", None),
            (&both[..], "https://127.0.0.1:8443/", None),
            (&both[..], "https://[::1]/", None),
        ] {
            assert_eq!(taken(&settings(variables), url).as_deref(), proxy, "{variables:?} {url}");
        }
        for (exceptions, url, proxied) in [
            // An address; an address with a port; a block.
            ("1.2.3.4", "https://1.2.3.4/", false),
            ("1.2.3.4", "https://1.2.3.4:8443/", false),
            ("1.2.3.4", "https://1.2.3.5/", true),
            ("1.2.3.4:443", "https://1.2.3.4/", false),
            ("1.2.3.4:80", "https://1.2.3.4/", true),
            ("1.2.3.4/8", "https://1.200.3.4/", false),
            ("1.2.3.4/8", "https://2.2.3.4/", true),
            // A name matches itself and its subdomains; with a dot in front the subdomains alone.
            ("foo.com", "https://foo.com/", false),
            ("foo.com", "https://bar.foo.com/", false),
            ("foo.com", "https://barfoo.com/", true),
            (".y.com", "https://x.y.com/", false),
            (".y.com", "https://y.com/", true),
            ("foo.com:443", "https://foo.com/", false),
            ("foo.com:8080", "https://foo.com/", true),
            // An asterisk: nothing is proxied. What cannot be read is passed over.
            ("*", "https://foo.com/", false),
            ("1.2.3.4/x, foo.com", "https://foo.com/", false),
            ("foo.com:port", "https://foo.com/", true),
        ] {
            let settings = settings(&[both[0], ("NO_PROXY", exceptions)]);
            assert_eq!(taken(&settings, url).is_some(), proxied, "{exceptions} {url}");
        }
        let lower = settings(&[both[0], ("no_proxy", "foo.com")]);
        assert_eq!(taken(&lower, "https://foo.com/"), None);
    }

    #[test]
    fn a_variable_that_is_no_proxy_is_named_without_its_value() {
        for (value, sentence) in [
            (
                "socks5://user:hunter2@p:1",
                "the environment variable HTTPS_PROXY names a SOCKS proxy, which is not spoken here, and nothing goes \
                 round it: name a proxy that begins with http:// or https://, or unset the variable",
            ),
            (
                "ftp://user:hunter2@p:1",
                "the environment variable HTTPS_PROXY does not hold the address of a proxy (http://HOST:PORT)",
            ),
        ] {
            let env: Env = [("HTTPS_PROXY", value)].into_iter().collect();
            assert_eq!(ProxySettings::from_env(&env).expect_err("no settings").to_string(), sentence);
        }
    }

    #[test]
    fn a_proxy_is_shown_with_its_variable_and_without_its_password() {
        for (variable, value, shown) in [
            ("HTTPS_PROXY", "http://user:hunter2@proxy.example:3128", "http://proxy.example:3128 (HTTPS_PROXY)"),
            ("https_proxy", "https://proxy.example", "https://proxy.example:443 (https_proxy)"),
            ("https_proxy", "[fd00::1]:3128/path?token=hunter2", "http://[fd00::1]:3128 (https_proxy)"),
        ] {
            let settings = settings(&[(variable, value)]);
            let proxy = settings.proxy_for(&"https://ghcr.io/".parse().expect("a URL")).expect("a proxy");
            assert_eq!((proxy.to_string(), format!("{proxy:?}")), (shown.to_owned(), format!("Proxy({shown})")));
        }
    }
}
