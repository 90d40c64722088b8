//! Whom a registry may send us to: pure rules about the URLs of token services and redirects.
//!
//! The step's author chooses the image, hence the registry, and the registry chooses these URLs: without rules it could
//! make a pod ask services of the node, of the cloud's metadata, of the cluster.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use reqwest::Url;

use super::Settings;
use crate::http::is_named;

/// Where clouds tell a machine who it is, besides link-local addresses: Amazon's two, Google's, Azure's, Alibaba's, Oracle's.
const METADATA: [IpAddr; 6] = [
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
];

/// Why a URL that a registry names is not asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    /// Not a URL.
    #[error("it is not the URL of a host")]
    NotAUrl,
    /// A scheme that is not spoken here.
    #[error("it is neither https nor http")]
    Scheme,
    /// Plain http from a registry that speaks https.
    #[error("it is plain http, and the registry speaks https")]
    PlainHttp,
    /// A token service on a private address that nobody has named.
    #[error(
        "it is on a private address, where the registry is not: if it is the registry's own, name it with \
         -image_registry_certificate HOST:PORT=PATH"
    )]
    Private,
    /// An address that is meaningful only inside a machine or a network.
    #[error("it is on {} {kind} address, where the registry is not", if kind.starts_with('u') { "an" } else { "a" })]
    Internal {
        /// Which kind.
        kind: &'static str,
    },
}

/// What a URL is needed for: the rules differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A token service: it may be shown a credential, and its answer is sent back to the registry.
    Token,
    /// Where a redirect leads: it is shown nothing. Storage on a private address is common.
    Storage,
    /// Where a redirect of something leads whose digest is known: whoever answers, only the right bytes are taken.
    VerifiedStorage,
}

/// The same place over plain http: a port that was left out stays left out.
pub(super) fn over_http(https: &Url, registry: &str) -> Url {
    Url::parse(&format!("http://{registry}/")).unwrap_or_else(|_| https.clone())
}

/// Host and port for a message.
pub(super) fn host_and_port(url: &Url) -> String {
    let host = url.host_str().unwrap_or("");
    match url.port_or_known_default() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// Scheme, host and port are equal: a credential for one is for the other.
pub(super) fn same_origin(one: &Url, other: &Url) -> bool {
    one.scheme() == other.scheme() && same_place(one, other)
}

fn same_place(one: &Url, other: &Url) -> bool {
    one.host_str() == other.host_str() && one.port_or_known_default() == other.port_or_known_default()
}

/// Whether plain http may be spoken to a place: this machine itself, an address of RFC 1918 as it is, and who is listed.
/// That is the table of `pkg/name` in google/go-containerregistry, with all of loopback.
pub(super) fn plain_http_allowed(url: &Url, settings: &Settings) -> bool {
    may_be_shown_credentials(url, settings) || is_private_literal(url)
}

/// Whether credentials may be shown over plain http: to this machine itself, and to who is listed.
pub(super) fn may_be_shown_credentials(url: &Url, settings: &Settings) -> bool {
    is_loopback(url) || is_listed(url, settings)
}

fn is_private_literal(url: &Url) -> bool {
    url.host_str().and_then(|host| host.parse().ok()).is_some_and(|address: Ipv4Addr| address.is_private())
}

/// Whether the command line names a place, in whatever flag.
fn is_known(url: &Url, settings: &Settings) -> bool {
    is_listed(url, settings) || settings.certificates.iter().any(|(key, _)| is_named(key, url))
}

/// Whether a place is this machine itself. The names are those that the resolver never asks anybody about.
pub(super) fn is_loopback(url: &Url) -> bool {
    internal(url) == Some("loopback")
}

/// Whether anybody is believed to be whom this URL names, whatever certificate is shown.
pub(super) fn is_unverified(url: &Url, settings: &Settings) -> bool {
    url.scheme() == "https" && settings.unverified.iter().any(|key| is_named(key, url))
}

/// Which kind of inner address a URL's host is, if it is one.
fn internal(url: &Url) -> Option<&'static str> {
    let host = url.host_str()?.trim_end_matches('.');
    if host.eq_ignore_ascii_case("localhost") || host.to_ascii_lowercase().ends_with(".localhost") {
        return Some("loopback");
    }
    let address: IpAddr = host.trim_start_matches('[').trim_end_matches(']').parse().ok()?;
    internal_address(address)
}

/// Which kind of address this is, where a name that a registry chose must not lead: by its own name server it could lead
/// anywhere. Private ones are its storage's, or its token service's, under names that are known only there.
pub(super) fn refused_of_names(address: IpAddr) -> Option<&'static str> {
    internal_address(address).filter(|kind| *kind != "private")
}

/// Whether the names of a place are whoever's who wrote the URL: a registry's, and not of the command line.
pub(super) fn is_chosen_by_registry(url: &Url, registry: &Url, settings: &Settings) -> bool {
    !is_loopback(registry) && !same_place(url, registry) && !is_known(url, settings)
}

/// Which kind of inner address this is, if it is one.
fn internal_address(address: IpAddr) -> Option<&'static str> {
    match address.to_canonical() {
        address if METADATA.contains(&address) => Some("metadata service's"),
        IpAddr::V4(address) if address.is_loopback() => Some("loopback"),
        IpAddr::V4(address) if address.is_link_local() => Some("link-local"),
        IpAddr::V4(address) if address.is_private() => Some("private"),
        IpAddr::V4(address) if address.is_unspecified() || address.octets().starts_with(&[0]) => Some("unspecified"),
        // Shared address space (RFC 6598): clouds keep services there too.
        IpAddr::V4(address)
            if address.octets().first() == Some(&100) && address.octets().get(1).is_some_and(|o| o & 0xc0 == 0x40) =>
        {
            Some("private")
        }
        IpAddr::V6(address) if address.is_loopback() => Some("loopback"),
        IpAddr::V6(address) if address.is_unicast_link_local() => Some("link-local"),
        IpAddr::V6(address) if address.is_unique_local() => Some("private"),
        IpAddr::V6(address) if address.is_unspecified() => Some("unspecified"),
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    }
}

/// Whether a URL that a registry names may be asked. `registry` is the root by which the registry itself was reached.
///
/// # Errors
///
/// [`PlaceError`] says why not.
pub(super) fn check(target: &Url, registry: &Url, purpose: Purpose, settings: &Settings) -> Result<(), PlaceError> {
    if !target.has_host() {
        return Err(PlaceError::NotAUrl);
    }
    let here = is_loopback(registry);
    match target.scheme() {
        "https" => {}
        "http" if registry.scheme() == "http" || here || is_listed(target, settings) => {}
        "http" if purpose == Purpose::VerifiedStorage => {}
        "http" => return Err(PlaceError::PlainHttp),
        _ => return Err(PlaceError::Scheme),
    }
    // A registry on this machine is the pod's own, or a test's: what it names is as trustworthy as itself.
    if here || same_place(target, registry) {
        return Ok(());
    }
    match (internal(target), purpose) {
        (None, _) | (Some("private"), Purpose::Storage | Purpose::VerifiedStorage) => Ok(()),
        // GitLab's registry is on one port, and its token service on another.
        (Some("private"), Purpose::Token) if target.host_str() == registry.host_str() => Ok(()),
        // Harbor that is reached by name and calls itself by its address: somebody who runs this pod has named it.
        (Some("private"), Purpose::Token) if is_known(target, settings) => Ok(()),
        (Some("private"), Purpose::Token) => Err(PlaceError::Private),
        (Some(kind), Purpose::Token | Purpose::Storage | Purpose::VerifiedStorage) => {
            Err(PlaceError::Internal { kind })
        }
    }
}

fn is_listed(url: &Url, settings: &Settings) -> bool {
    settings.insecure.iter().any(|key| is_named(key, url))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        text.parse().expect(text)
    }

    fn insecure(keys: &[&str]) -> Settings {
        Settings { insecure: keys.iter().map(|&key| key.to_owned()).collect(), ..Settings::default() }
    }

    #[test]
    fn a_token_service_is_public_or_where_the_registry_is() {
        let internal = |kind| Err(PlaceError::Internal { kind });
        let registry = "https://registry.example";
        for (target, registry, verdict) in [
            ("https://auth.example/token", registry, Ok(())),
            ("https://93.184.216.34/token", registry, Ok(())),
            ("http://auth.example/token", registry, Err(PlaceError::PlainHttp)),
            ("http://listed.example/token", registry, Ok(())),
            ("http://auth.example/token", "http://registry.example", Ok(())),
            ("ftp://auth.example/token", registry, Err(PlaceError::Scheme)),
            ("unix:/run/token", registry, Err(PlaceError::NotAUrl)),
            ("https://10.0.0.1/token", registry, Err(PlaceError::Private)),
            ("https://192.168.1.1/token", registry, Err(PlaceError::Private)),
            ("https://100.100.100.200/token", registry, internal("metadata service's")),
            ("https://100.100.100.201/token", registry, Err(PlaceError::Private)),
            ("https://169.254.169.254/token", registry, internal("link-local")),
            ("https://127.0.0.1/token", registry, internal("loopback")),
            ("https://localhost/token", registry, internal("loopback")),
            ("https://0.0.0.0/token", registry, internal("unspecified")),
            ("https://[::1]/token", registry, internal("loopback")),
            ("https://[::ffff:169.254.169.254]/token", registry, internal("link-local")),
            ("https://[fd00:ec2::254]/token", registry, internal("metadata service's")),
            ("https://[fd00:ec2::255]/token", registry, Err(PlaceError::Private)),
            ("https://[fe80::1]/token", registry, internal("link-local")),
            // Other ways to write an address: the URL parser makes them one.
            ("https://0x7f.1/token", registry, internal("loopback")),
            ("https://2852039166/token", registry, internal("link-local")),
            ("https://10.0.0.1/token", "https://10.0.0.1", Ok(())),
            ("https://10.0.0.1/jwt/auth", "https://10.0.0.1:5050", Ok(())),
            ("http://10.0.0.1/jwt/auth", "https://10.0.0.1:5050", Err(PlaceError::PlainHttp)),
            ("https://10.0.0.2/jwt/auth", "https://10.0.0.1:5050", Err(PlaceError::Private)),
            ("https://169.254.169.254/", "https://169.254.169.254:5050", internal("link-local")),
            ("http://127.0.0.1:5001/token", "https://127.0.0.1:5000", Ok(())),
            ("http://10.0.0.1/token", "https://localhost:5000", Ok(())),
        ] {
            let found = check(&url(target), &url(registry), Purpose::Token, &insecure(&["listed.example"]));
            assert_eq!(found, verdict, "{target} of {registry}");
        }
        let named = Settings { certificates: vec![("10.0.0.1".into(), "/ca.pem".into())], ..Settings::default() };
        let check = |target| check(&url(target), &url(registry), Purpose::Token, &named);
        assert_eq!(
            (check("https://10.0.0.1/token"), check("https://10.0.0.2/token")),
            (Ok(()), Err(PlaceError::Private))
        );
    }

    #[test]
    fn a_redirect_may_lead_to_private_storage_but_not_to_the_node() {
        let registry = url("https://registry.example");
        let check = |target: &str| check(&url(target), &registry, Purpose::Storage, &Settings::default());
        assert_eq!(check("https://10.0.0.1/bucket"), Ok(()));
        assert_eq!(check("http://10.0.0.1/bucket"), Err(PlaceError::PlainHttp));
        assert_eq!(check("https://169.254.169.254/"), Err(PlaceError::Internal { kind: "link-local" }));
        assert_eq!(check("https://localhost/"), Err(PlaceError::Internal { kind: "loopback" }));
        for address in ["168.63.129.16", "100.100.100.200", "[fd00:ec2::254]", "[fd00:ec2::23]", "[fd20:ce::254]"] {
            let found = check(&format!("https://{address}/")).unwrap_err().to_string();
            assert_eq!(found, "it is on a metadata service's address, where the registry is not", "{address}");
        }
    }

    #[test]
    fn a_name_of_the_registrys_choice_leads_to_no_inner_address_and_one_of_the_command_line_anywhere() {
        for (address, kind) in [
            ("169.254.169.254", Some("link-local")),
            ("::ffff:169.254.169.254", Some("link-local")),
            ("127.0.0.1", Some("loopback")),
            ("0.0.0.0", Some("unspecified")),
            ("168.63.129.16", Some("metadata service's")),
            ("10.0.0.1", None),
            ("93.184.216.34", None),
        ] {
            assert_eq!(refused_of_names(address.parse().expect(address)), kind, "{address}");
        }
        let settings = insecure(&["listed.example"]);
        for (at, registry, chosen) in [
            ("https://evil.example/", "https://registry.example/", true),
            ("https://registry.example:444/", "https://registry.example/", true),
            ("https://registry.example/token", "https://registry.example/", false),
            ("https://listed.example/", "https://registry.example/", false),
            ("https://evil.example/", "https://localhost:5000/", false),
        ] {
            assert_eq!(is_chosen_by_registry(&url(at), &url(registry), &settings), chosen, "{at} of {registry}");
        }
    }

    #[test]
    fn what_is_verified_may_come_over_plain_http_but_not_from_the_node() {
        let registry = url("https://registry.example");
        let check = |target| check(&url(target), &registry, Purpose::VerifiedStorage, &Settings::default());
        assert_eq!(check("http://minio.example:9000/bucket"), Ok(()));
        assert_eq!(check("http://10.0.0.1:9000/bucket"), Ok(()));
        assert_eq!(check("http://169.254.169.254/"), Err(PlaceError::Internal { kind: "link-local" }));
        assert_eq!(check("ftp://minio.example/"), Err(PlaceError::Scheme));
    }

    #[test]
    fn a_registry_of_the_command_line_is_matched_by_host_and_port() {
        for (key, at, named) in [
            ("registry.example", "https://registry.example/", true),
            ("REGISTRY.example", "https://registry.example/", true),
            ("registry.example:443", "https://registry.example/", true),
            ("registry.example", "http://registry.example/", true),
            ("registry.example:5000", "https://registry.example:5000/", true),
            ("registry.example", "https://registry.example:5000/", false),
            ("registry.example:5000", "https://registry.example/", false),
            ("docker.io", "https://index.docker.io/", true),
            ("[::1]:5000", "https://[::1]:5000/", true),
            ("not a host", "https://registry.example/", false),
        ] {
            assert_eq!(is_named(key, &url(at)), named, "{key} {at}");
        }
    }

    #[test]
    fn plain_http_is_for_loopback_private_addresses_and_the_listed_and_credentials_are_for_fewer() {
        let settings = insecure(&["10.0.0.1:5000", "registry.local"]);
        let (nothing, spoken, shown) = ((false, false), (true, false), (true, true));
        for (at, expected) in [
            // The table of go-containerregistry.
            ("https://10.2.3.4/", spoken),
            ("https://172.16.0.1:5000/", spoken),
            ("https://172.32.0.1:5000/", nothing),
            ("https://192.168.0.1/", spoken),
            ("https://localhost:5000/", shown),
            ("https://a.localhost/", shown),
            ("https://a.localhost:5000/", shown),
            ("https://127.0.0.1/", shown),
            ("https://127.0.0.1:5000/", shown),
            ("https://[::1]/", shown),
            ("https://[::1]:5000/", shown),
            ("https://169.254.0.1/", nothing),
            ("https://registry.svc.cluster.local:5000/", nothing),
            ("https://ghcr.io/", nothing),
            ("https://8.8.8.8/", nothing),
            // All of loopback, as no packet leaves the pod.
            ("https://localhost/", shown),
            ("https://127.0.0.2/", shown),
            // Another private range is no literal of RFC 1918.
            ("https://[fd00::1]/", nothing),
            ("https://100.64.0.1/", nothing),
            // The listed.
            ("https://10.0.0.1:5000/", shown),
            ("https://10.0.0.1:5001/", spoken),
            ("https://registry.local/", shown),
        ] {
            let url = url(at);
            let found = (plain_http_allowed(&url, &settings), may_be_shown_credentials(&url, &settings));
            assert_eq!(found, expected, "{at}");
        }
    }
}
