//! Where a credential file may send what: every URL in it is checked before anybody is asked.
//!
//! The file is as trustworthy as the environment that names it, and an image has an environment of its own. A file that came
//! with an image may name the pod's own token as what is to be exchanged: so that token goes to Google and to nobody else.
//! What a file holds itself, a key or a refresh token, may go wherever the file says.

use std::net::IpAddr;

use reqwest::Url;

use crate::authn::cloud::is_metadata;
use crate::image::shown;

/// How many characters of a host a message shows.
const SHOWN: usize = 100;
/// Where a key's assertion or a user's refresh token goes, when the file does not say.
const TOKEN_URI: &str = "https://oauth2.googleapis.com/token";
/// Where a federated identity's token goes, when the file does not say.
const TOKEN_URL: &str = "https://sts.googleapis.com/v1/token";
/// Where a service account's token is asked for: how such a path begins and ends.
const IMPERSONATION: (&str, &str) = ("/v1/projects/-/serviceAccounts/", ":generateAccessToken");

/// Where a proof goes that stands in the file itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TokenUri(Url);

/// Google's Security Token Service, which exchanges somebody else's tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StsUrl(Url);

/// Where Google's IAM gives out a service account's token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ImpersonationUrl {
    url: Url,
    account: String,
}

/// Where a token is fetched that is to be exchanged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SubjectUrl(Url);

/// Why a URL is not asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::authn) enum EndpointError {
    /// It is none.
    #[error("is not a URL")]
    NotAUrl,
    /// It would send more than one sees.
    #[error("has a user or a password in it")]
    User,
    /// It would be sent in the clear.
    #[error("is not https ({host} is neither this machine nor a metadata server)")]
    Plain {
        /// Whom it names.
        host: String,
    },
    /// It would go to somebody else.
    #[error("names {host}, and the pod's tokens go to Google's {service}.googleapis.com alone")]
    NotGoogles {
        /// Whom it names.
        host: String,
        /// Who it should be.
        service: &'static str,
    },
    /// It asks for something else.
    #[error("does not end in serviceAccounts/ACCOUNT:generateAccessToken")]
    NotAnAccount,
}

impl TokenUri {
    /// The URI of a file; https, or this machine's.
    pub(super) fn parse(text: Option<&str>) -> Result<Self, EndpointError> {
        let url = parsed(text.unwrap_or(TOKEN_URI))?;
        if url.scheme() == "https" || is_loopback(&url) { Ok(Self(url)) } else { Err(plain(&url)) }
    }

    /// As a URL.
    pub(super) fn url(&self) -> &Url {
        &self.0
    }
}

impl StsUrl {
    /// The URL of a file; one of Google's, or this machine's.
    pub(super) fn parse(text: Option<&str>) -> Result<Self, EndpointError> {
        googles(parsed(text.unwrap_or(TOKEN_URL))?, "sts").map(Self)
    }

    /// As a URL.
    pub(super) fn url(&self) -> &Url {
        &self.0
    }
}

impl ImpersonationUrl {
    /// The URL of a file; one of Google's, or this machine's, for one account.
    pub(super) fn parse(text: &str) -> Result<Self, EndpointError> {
        let url = googles(parsed(text)?, "iamcredentials")?;
        let account = url.path().strip_prefix(IMPERSONATION.0).and_then(|rest| rest.strip_suffix(IMPERSONATION.1));
        let Some(account) = account.filter(|account| !account.is_empty() && !account.contains(['/', ':', '%'])) else {
            return Err(EndpointError::NotAnAccount);
        };
        Ok(Self { account: account.to_owned(), url })
    }

    /// As a URL.
    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    /// Whose token it gives out.
    pub(super) fn account(&self) -> &str {
        &self.account
    }
}

impl SubjectUrl {
    /// The URL of a file; https, or a metadata server's or an agent's on this machine.
    pub(super) fn parse(text: &str) -> Result<Self, EndpointError> {
        let url = parsed(text)?;
        if url.scheme() == "https" || is_metadata(&url) { Ok(Self(url)) } else { Err(plain(&url)) }
    }

    /// As a URL.
    pub(super) fn url(&self) -> &Url {
        &self.0
    }
}

fn parsed(text: &str) -> Result<Url, EndpointError> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let url = url.ok_or(EndpointError::NotAUrl)?;
    if url.username().is_empty() && url.password().is_none() { Ok(url) } else { Err(EndpointError::User) }
}

fn plain(url: &Url) -> EndpointError {
    EndpointError::Plain { host: host(url) }
}

fn host(url: &Url) -> String {
    shown(url.host_str().unwrap_or(""), SHOWN)
}

/// A URL of one of Google's services, in all the forms that its host may have: `sts.googleapis.com`, one for a region, one
/// for client certificates, one for a private network. Or this machine's, by its address: a name may lead elsewhere.
/// <https://cloud.google.com/vpc/docs/regional-service-endpoints>,
/// <https://cloud.google.com/vpc/docs/configure-private-service-connect-apis>
fn googles(url: Url, service: &'static str) -> Result<Url, EndpointError> {
    if is_loopback(&url) {
        return Ok(url);
    }
    let not_googles = || EndpointError::NotGoogles { host: host(&url), service };
    let is_label =
        |label: &str| !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let inner = url.host_str().and_then(|host| host.strip_suffix(".googleapis.com")).ok_or_else(not_googles)?;
    let labels: Vec<&str> = inner.split('.').collect();
    let is_its = match labels[..] {
        [only] => {
            only == service || only.strip_suffix(service).is_some_and(|rest| rest.len() > 1 && rest.ends_with('-'))
        }
        [first, second] if first == service => is_label(second),
        [first, second] if second == service => is_label(first),
        [first, "p"] => first.strip_prefix(service).is_some_and(|rest| rest.len() > 1 && rest.starts_with('-')),
        [first, region, "rep"] => first == service && is_label(region),
        _ => false,
    };
    if is_its && url.scheme() == "https" && url.port().is_none() { Ok(url) } else { Err(not_googles()) }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or("");
    let address: Option<IpAddr> = host.trim_start_matches('[').trim_end_matches(']').parse().ok();
    address.is_some_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pods_token_goes_to_googles_token_service_alone() {
        for url in [
            "https://sts.googleapis.com/v1/token",
            "https://STS.googleapis.com:443/v1/token",
            "https://sts.europe-west1.rep.googleapis.com/v1/token",
            "https://sts.mtls.googleapis.com/v1/token",
            "https://us-east-1.sts.googleapis.com/v1/token",
            "https://us-east-1-sts.googleapis.com/v1/token",
            "https://sts-xyz123.p.googleapis.com/v1/token",
            "http://127.0.0.1:8080/v1/token",
            "https://[::1]/v1/token",
        ] {
            assert!(StsUrl::parse(Some(url)).is_ok(), "{url}");
        }
        for url in [
            "https://evil.example/v1/token",
            "https://sts.googleapis.com.evil.example/v1/token",
            "https://sts.evil.example/.googleapis.com",
            "https://evilsts.googleapis.com/v1/token",
            "https://storage.googleapis.com/bucket",
            "https://googleapis.com/v1/token",
            "https://.googleapis.com/v1/token",
            "https://sts.googleapis.com./v1/token",
            "https://stsXgoogleapis.com/v1/token",
            "https://evilgoogleapis.com/v1/token",
            "https://sts.evilgoogleapis.com/v1/token",
            "https://sts..rep.googleapis.com/v1/token",
            "https://a.b.sts.googleapis.com/v1/token",
            "https://sts.a.b.googleapis.com/v1/token",
            "https://storage.p.googleapis.com/v1/token",
            "https://sts.googleapis.com:8443/v1/token",
            "http://sts.googleapis.com/v1/token",
            "https://sts.googleapis.com@evil.example/v1/token",
            "https://evil.example/https://sts.googleapis.com/v1/token",
            "https://evil.example#sts.googleapis.com",
            "https://evil.example?.googleapis.com",
            "https://evil.example\\.sts.googleapis.com/v1/token",
            "https://169.254.169.254/v1/token",
            "https://10.0.0.1/v1/token",
            "https://localhost/v1/token",
            "https://127.0.0.1.evil.example/v1/token",
            "ftp://sts.googleapis.com/v1/token",
            "sts.googleapis.com",
            "",
        ] {
            assert!(StsUrl::parse(Some(url)).is_err(), "{url}");
        }
    }

    #[test]
    fn a_service_accounts_token_is_asked_for_at_googles_iam_and_nothing_else_is() {
        let path = "/v1/projects/-/serviceAccounts/ci@p.iam.gserviceaccount.com:generateAccessToken";
        for host in ["iamcredentials.googleapis.com", "iamcredentials.us-east1.rep.googleapis.com", "127.0.0.1:1"] {
            let url = ImpersonationUrl::parse(&format!("https://{host}{path}")).unwrap();
            assert_eq!(url.account(), "ci@p.iam.gserviceaccount.com");
        }
        for (url, expected) in [
            (format!("https://evil.example{path}"), "names evil.example"),
            (format!("https://sts.googleapis.com{path}"), "names sts.googleapis.com"),
            ("https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/a:signJwt".into(), "does not end in"),
            ("https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/:generateAccessToken".into(), "does"),
            (
                "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/a/b:generateAccessToken".into(),
                "does not end in",
            ),
            ("https://iamcredentials.googleapis.com/".into(), "does not end in"),
        ] {
            let error = ImpersonationUrl::parse(&url).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{url}: {error}");
        }
    }

    #[test]
    fn what_is_the_files_own_may_go_anywhere_but_not_in_the_clear() {
        assert_eq!(TokenUri::parse(None).unwrap().url().as_str(), "https://oauth2.googleapis.com/token");
        for url in ["https://accounts.google.com/o/oauth2/token", "https://idp.example/t", "http://127.0.0.1:9/token"] {
            assert!(TokenUri::parse(Some(url)).is_ok(), "{url}");
        }
        for url in ["http://oauth2.googleapis.com/token", "http://169.254.169.254/token", "https://u:p@idp.example/t"] {
            assert!(TokenUri::parse(Some(url)).is_err(), "{url}");
        }
    }

    #[test]
    fn a_token_is_fetched_by_https_or_from_this_node() {
        for url in [
            "https://idp.example/token?audience=x",
            "http://169.254.169.254/metadata/identity/oauth2/token",
            "http://metadata.google.internal/x",
            "http://127.0.0.1:9000/token",
            "http://localhost:9000/token",
            "http://[fe80::1]/token",
        ] {
            assert!(SubjectUrl::parse(url).is_ok(), "{url}");
        }
        for url in ["http://idp.example/token", "http://10.0.0.1/token", "file:///etc/shadow", "/token"] {
            assert!(SubjectUrl::parse(url).is_err(), "{url}");
        }
    }
}
