//! Why a registry cannot be asked, and what a person can do. The words of whoever answers are left out: it may know secrets.

use std::time::Duration;

use crate::http::{CertificateFault, Unanswered};
use crate::registry::RegistryError;
use crate::sys::cause::chain;

/// A phrase behind the name of the registry, and the fix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) says: String,
    pub(super) fix: String,
}

fn trouble(says: impl Into<String>, fix: impl Into<String>) -> Trouble {
    Trouble { says: says.into(), fix: fix.into() }
}

/// What to say where there was no answer in time.
pub(super) fn silent(limit: Duration) -> Trouble {
    trouble(format!("no answer within {limit:?}"), BLOCKED)
}

const BLOCKED: &str =
    "look at NetworkPolicies and firewalls between this pod and the registry, or name a proxy by HTTPS_PROXY";

/// What a failure means for a registry, `host[:port]` as flags name it.
pub(super) fn of(error: &RegistryError, registry: &str) -> Trouble {
    let authority = || format!("-image_registry_certificate {registry}=/path/to/ca.pem, if that authority is yours");
    let own = format!("-image_registry_client_cert {registry}=/path/to/client.crt,/path/to/client.key");
    let plain = format!("-image_insecure_registry {registry}, if plain http is meant");
    let variable = "correct the proxy's variable, or except the registry by NO_PROXY";
    if let RegistryError::UnknownAuthority { .. } = error {
        trouble("its certificate is signed by an authority that is not trusted here", authority())
    } else if let RegistryError::WantsCertificate { .. } = error {
        trouble("it wants a certificate to be shown that it knows", own)
    } else if let RegistryError::NotTls { .. } = error {
        trouble("what answers there does not speak TLS", plain)
    } else if let RegistryError::ProxyUnreachable { proxy, .. } = error {
        trouble(format!("the proxy {proxy} cannot be reached"), variable)
    } else if let RegistryError::ProxyRefuses { proxy, .. } = error {
        trouble(format!("the proxy {proxy} opens no connection to it"), variable)
    } else if let RegistryError::Client { source, .. } = error {
        trouble(chain(source), "correct the file that the flag names")
    } else if let RegistryError::Host { .. } = error {
        trouble("it is no host that can be asked", "write the image as docker pull takes it")
    } else if let RegistryError::Redirect { .. } | RegistryError::TooManyRedirects { .. } = error {
        trouble("it redirects to where nobody may be sent", "look at what stands in front of the registry")
    } else if let RegistryError::Unanswered { source, .. } = error {
        unanswered(source, &plain, authority)
    } else {
        trouble("it gave no answer that can be used", "is it a registry? curl -v shows what it says")
    }
}

fn unanswered(source: &Unanswered, plain: &str, authority: impl Fn() -> String) -> Trouble {
    match source {
        Unanswered::Refused => trouble("connection refused", "is it running, and is its port right?"),
        Unanswered::Unreachable => trouble("no route to this host", BLOCKED),
        Unanswered::Name(reason) => trouble(chain(reason.as_ref()), "see the line of dns"),
        Unanswered::TimedOut => trouble("no answer in time", BLOCKED),
        Unanswered::UnknownAuthority => trouble("its certificate is of an unknown authority", authority()),
        Unanswered::Certificate(_) => match source.certificate_fault() {
            Some(CertificateFault::Expired) => {
                trouble("its certificate has expired", "renew it, or set the clock here if that is what is wrong")
            }
            Some(CertificateFault::NotYetValid) => {
                trouble("its certificate is not valid yet", "set the clock, here or where it was made")
            }
            Some(CertificateFault::OtherName) => trouble(
                "its certificate is for other names",
                "name the image by one of these, or give it one for this name",
            ),
            Some(CertificateFault::Other) | None => trouble("its certificate is not acceptable", "give it another one"),
        },
        Unanswered::WantsCertificate(_) | Unanswered::Handshake(_) => {
            trouble("the TLS handshake failed", "look at the log of the registry, or of what stands in front of it")
        }
        Unanswered::NotTls => trouble("what answers there does not speak TLS", plain),
        Unanswered::Closed => trouble("the connection was closed before the answer was complete", BLOCKED),
        Unanswered::NotHttp => trouble("what answers there does not speak HTTP", "is its port right?"),
        Unanswered::Other(_) => trouble("the request failed", "entrypoint resolve IMAGE tells more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_told_with_a_fix_and_without_the_words_of_who_answers() {
        let unanswered =
            |source| RegistryError::Unanswered { giver: "registry", host: "r:5000".to_owned(), proxy: None, source };
        let host = || "r:5000".to_owned();
        let certificate = |fault| Unanswered::Certificate(Box::new(rustls::Error::InvalidCertificate(fault)));
        for (error, says, fix) in [
            (
                RegistryError::UnknownAuthority { giver: "registry", host: host(), proxy: None },
                "its certificate is signed by an authority that is not trusted here",
                "-image_registry_certificate r:5000=/path/to/ca.pem, if that authority is yours",
            ),
            (
                RegistryError::NotTls { giver: "registry", host: host(), key: host(), proxy: None },
                "what answers there does not speak TLS",
                "-image_insecure_registry r:5000, if plain http is meant",
            ),
            (unanswered(Unanswered::Refused), "connection refused", "is it running, and is its port right?"),
            (unanswered(Unanswered::TimedOut), "no answer in time", BLOCKED),
            (
                unanswered(certificate(rustls::CertificateError::Expired)),
                "its certificate has expired",
                "renew it, or set the clock here if that is what is wrong",
            ),
            (
                unanswered(certificate(rustls::CertificateError::NotValidForName)),
                "its certificate is for other names",
                "name the image by one of these, or give it one for this name",
            ),
            (
                RegistryError::Redirect {
                    host: host(),
                    target: "https://hunter2/".to_owned(),
                    source: crate::registry::PlaceError::Scheme,
                },
                "it redirects to where nobody may be sent",
                "look at what stands in front of the registry",
            ),
            (
                RegistryError::NoToken { host: host() },
                "it gave no answer that can be used",
                "is it a registry? curl -v shows what it says",
            ),
        ] {
            assert_eq!(of(&error, "r:5000"), trouble(says, fix), "{error:?}");
        }
    }
}
