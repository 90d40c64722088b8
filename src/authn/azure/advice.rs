//! What a person can do about a refusal: functions of what was answered, and of what is known of the identity.

use super::claims::Claims;
use super::error::{Failure, Refusal};
use super::place::Audience;
use crate::authn::cloud::CloudHttpError;
use crate::http::Unanswered;

/// How far apart clocks may be, in seconds.
const SKEW: u64 = 300;

/// What an identity needs at a registry.
const ROLE: &str = "the identity needs the role AcrPull on the registry (Container Registry Repository Reader where it has \
                    attribute-based permissions), in the registry's own tenant";

/// How an application proves itself to Entra ID.
#[derive(Debug, Clone, Copy)]
pub(super) enum Way<'a> {
    Secret,
    /// By a token of Kubernetes, which says this of itself.
    Token(&'a Claims),
}

/// The seconds since 1970 here.
pub(super) type Now = u64;

/// Where Entra ID gave no token.
pub(super) fn for_entra(failure: &Failure, way: Way<'_>, now: Now) -> String {
    let Some(refusal) = failure.refusal() else {
        return silent(failure, "a network policy, a firewall or a missing HTTPS_PROXY may keep the pod from it");
    };
    let advice = match (refusal.code, way) {
        (Some(70021 | 700_211 | 700_212 | 700_213 | 7_002_137 | 7_002_138), Way::Token(claims)) => {
            let said = |claim: &Option<String>| claim.clone().unwrap_or_else(|| "(none)".to_owned());
            format!(
                "the application or managed identity needs a federated credential with the issuer {}, the subject {} and \
                 the audience {}, to the letter",
                said(&claims.issuer),
                said(&claims.subject),
                said(&claims.audience),
            )
        }
        (Some(7_000_215), Way::Secret) => {
            "AZURE_CLIENT_SECRET must be the value of a secret of this application, not the secret's ID".to_owned()
        }
        (Some(7_000_222), Way::Secret) => "the application needs a new client secret".to_owned(),
        (Some(700_016), _) => "AZURE_CLIENT_ID and AZURE_TENANT_ID must be those of one application".to_owned(),
        (Some(90002 | 900_021 | 900_023), _) => {
            "AZURE_TENANT_ID must be a tenant of the cloud of AZURE_AUTHORITY_HOST".to_owned()
        }
        (_, Way::Token(claims)) => out_of_time(claims, refusal.date.unwrap_or(now)),
        (_, Way::Secret) => String::new(),
    };
    join(advice, clock(refusal, now))
}

/// Where the metadata server gave no token for the machine's identity, or for that of `client`. A pod whose workload
/// identity was tried is not told of it.
pub(super) fn for_metadata(failure: &Failure, client: Option<&str>, has_token: bool) -> String {
    let Some(refusal) = failure.refusal() else {
        let unreachable = "only Azure's machines have it, and pods may be kept from it";
        let label = "; for workload identity the pod needs the label azure.workload.identity/use: \"true\" and an annotated \
                     service account";
        return silent(failure, &format!("{unreachable}{}", if has_token { "" } else { label }));
    };
    let of_nobody = refusal.says("identity not found");
    match client {
        Some(_) if of_nobody => {
            "no user-assigned identity of this node has the ID in AZURE_CLIENT_ID: assign it to the node pool, or unset the \
             variable to ask for the node's own"
        }
        None if of_nobody => {
            "this node has no identity of its own: set AZURE_CLIENT_ID to that of an assigned one, or use workload identity"
        }
        None if refusal.says("multiple user assigned identities") => {
            "set AZURE_CLIENT_ID to the client ID of one of them"
        }
        Some(_) | None => "",
    }
    .to_owned()
}

/// Where `IDENTITY_ENDPOINT` gave no token.
pub(super) fn for_endpoint(failure: &Failure, client: Option<&str>) -> String {
    match (failure.refusal(), client) {
        (None, _) => "IDENTITY_ENDPOINT must be that of this container",
        (Some(Refusal { status: 400, .. }), Some(_)) => {
            "the identity in AZURE_CLIENT_ID must be assigned to this container"
        }
        (Some(Refusal { status: 400, .. }), None) => {
            "this container needs a system-assigned identity, or AZURE_CLIENT_ID that of an assigned one"
        }
        (Some(Refusal { status: 401 | 403, .. }), _) => "IDENTITY_HEADER must be that of this container",
        (Some(_), _) => "",
    }
    .to_owned()
}

/// Where the registry did not exchange a token for `audience`.
pub(super) fn for_exchange(failure: &Failure, audience: Audience, now: Now) -> String {
    let Some(refusal) = failure.refusal() else {
        return silent(failure, "a firewall rule of the registry or a network policy may keep the pod from it");
    };
    let advice = match refusal.status {
        403 if refusal.says("client with ip") => "the registry's firewall must let the pod's address in",
        401 | 403 if audience == Audience::REGISTRY => ROLE,
        401 | 403 => {
            return join(
                format!("{ROLE}, and the registry's authentication-as-arm must be enabled"),
                clock(refusal, now),
            );
        }
        _ => "",
    };
    join(advice.to_owned(), clock(refusal, now))
}

/// The advice where nobody answered.
fn silent(failure: &Failure, advice: &str) -> String {
    match failure {
        Failure::Hung(_) => advice.to_owned(),
        Failure::Unanswered(CloudHttpError::Unanswered { source, .. }) => match source {
            Unanswered::Refused | Unanswered::Unreachable | Unanswered::Name(_) | Unanswered::TimedOut => {
                advice.to_owned()
            }
            Unanswered::UnknownAuthority => {
                "is it a proxy's that looks into TLS? let SSL_CERT_FILE name a PEM file with its authority".to_owned()
            }
            Unanswered::Certificate(_)
            | Unanswered::WantsCertificate(_)
            | Unanswered::Handshake(_)
            | Unanswered::NotTls
            | Unanswered::Closed
            | Unanswered::NotHttp
            | Unanswered::Other(_) => String::new(),
        },
        Failure::Unanswered(_) | Failure::Refused(_) | Failure::NoToken { .. } | Failure::Unaskable { .. } => {
            String::new()
        }
    }
}

/// What is wrong with a token's time at a moment.
fn out_of_time(claims: &Claims, at: u64) -> String {
    match (claims.begins, claims.ends) {
        (_, Some(ends)) if ends <= at => format!(
            "the token in the file has expired {} ago: the kubelet did not renew it, or the file is a copy",
            span(at - ends)
        ),
        (Some(begins), _) if begins > at => {
            format!("the token in the file is valid only in {}: a clock of the cluster is wrong", span(begins - at))
        }
        _ => String::new(),
    }
}

/// What is wrong with our clock, if the service's is right.
fn clock(refusal: &Refusal, now: Now) -> String {
    match refusal.date {
        Some(date) if date.abs_diff(now) > SKEW => {
            let way = if now > date { "ahead of" } else { "behind" };
            format!("this node's clock is {} {way} that of {}", span(date.abs_diff(now)), refusal.whom)
        }
        _ => String::new(),
    }
}

fn join(first: String, second: String) -> String {
    match (first.is_empty(), second.is_empty()) {
        (false, false) => format!("{first}; {second}"),
        (false, true) => first,
        (true, _) => second,
    }
}

/// A span of time in the unit that people would choose.
fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86400),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::place::AzureCloud;
    use super::*;
    use crate::authn::cloud::Hung;

    const NOW: u64 = 1_795_262_400;

    fn refused(status: u16, code: Option<u32>, words: &str, date: Option<u64>) -> Failure {
        let words = Some(words.to_owned());
        Failure::from(Refusal { whom: "h:443".to_owned(), status, words, code, unknown_audience: false, date })
    }

    fn hung() -> Failure {
        Failure::from(Hung { whom: "h:443".to_owned(), limit: Duration::from_secs(5) })
    }

    #[test]
    fn a_refusal_of_entra_id_has_its_remedy() {
        let claims = Claims {
            issuer: Some("https://oidc.example/".to_owned()),
            subject: Some("system:serviceaccount:ci:builder".to_owned()),
            audience: Some("api://AzureADTokenExchange".to_owned()),
            begins: Some(NOW - 60),
            ends: Some(NOW + 3600),
            ..Claims::default()
        };
        let expired = Claims { ends: Some(NOW - 7300), ..claims.clone() };
        let early = Claims { begins: Some(NOW + 3600), ..claims.clone() };
        let [token, expired, early] = [Way::Token(&claims), Way::Token(&expired), Way::Token(&early)];
        for (code, way, date, advice) in [
            (
                70021,
                token,
                NOW,
                "the application or managed identity needs a federated credential with the issuer https://oidc.example/, \
                 the subject system:serviceaccount:ci:builder and the audience api://AzureADTokenExchange, to the letter",
            ),
            (7_000_215, Way::Secret, NOW, "AZURE_CLIENT_SECRET must be the value of a secret"),
            (7_000_222, Way::Secret, NOW, "the application needs a new client secret"),
            (700_016, token, NOW, "AZURE_CLIENT_ID and AZURE_TENANT_ID must be"),
            (90002, Way::Secret, NOW, "AZURE_TENANT_ID must be"),
            (700_024, token, NOW, ""),
            (700_024, expired, NOW, "the token in the file has expired 2 h ago"),
            (700_024, early, NOW, "the token in the file is valid only in 60 min"),
            (700_024, token, NOW + 3600, "the token in the file has expired 0 s ago"),
            (
                700_024,
                token,
                NOW - 3600,
                "the token in the file is valid only in 59 min: a clock of the cluster is wrong; this node's clock is 60 min",
            ),
            (50000, Way::Secret, NOW - 3600, "this node's clock is 60 min ahead of that of h:443"),
            (50000, Way::Secret, NOW + 3600, "this node's clock is 60 min behind that of h:443"),
            (50000, Way::Secret, NOW + 300, ""),
        ] {
            let told = for_entra(&refused(400, Some(code), "", Some(date)), way, NOW);
            assert!(told.starts_with(advice) && told.is_empty() == advice.is_empty(), "{code} {date}: {told}");
        }
        assert!(for_entra(&hung(), Way::Secret, NOW).contains("network policy"));
    }

    #[test]
    fn a_refusal_of_a_metadata_server_has_its_remedy() {
        for (failure, client, advice) in [
            (hung(), None, "azure.workload.identity/use: \"true\""),
            (refused(400, None, "Identity not found", None), Some("c"), "no user-assigned identity of this node"),
            (refused(400, None, "Identity not found", None), None, "this node has no identity of its own"),
            (
                refused(400, None, "Multiple user assigned identities exist, please", None),
                None,
                "set AZURE_CLIENT_ID to the client ID of one of them",
            ),
        ] {
            let told = for_metadata(&failure, client, false);
            assert!(told.contains(advice), "{told}");
        }
        assert_eq!(for_metadata(&refused(500, None, "x", None), None, false), "");
        assert!(!for_metadata(&hung(), None, true).contains("label"));
        assert!(for_endpoint(&refused(400, None, "", None), None).contains("system-assigned"));
        assert!(for_endpoint(&refused(403, None, "", None), None).contains("IDENTITY_HEADER"));
    }

    #[test]
    fn a_refusal_of_the_registry_names_the_role_or_the_firewall() {
        for (status, words, advice) in [
            (401, "UNAUTHORIZED: authentication required", "AcrPull"),
            (403, "DENIED: denied", "AcrPull"),
            (403, "DENIED: client with IP '192.0.2.1' is not allowed access.", "firewall"),
        ] {
            let told = for_exchange(&refused(status, None, words, Some(NOW)), Audience::REGISTRY, NOW);
            assert!(told.contains(advice) && !told.contains("as-arm"), "{told}");
        }
        let manager = AzureCloud::Public.manager();
        assert!(
            for_exchange(&refused(401, None, "", None), manager, NOW)
                .ends_with("authentication-as-arm must be enabled")
        );
        assert_eq!(for_exchange(&refused(404, None, "", None), manager, NOW), "");
        assert!(for_exchange(&hung(), Audience::REGISTRY, NOW).contains("firewall"));
    }
}
