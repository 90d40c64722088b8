//! Where the API server is and who we are, as kubelet tells every pod. A kubeconfig is never read: in a step's
//! container it belongs to the image or to the user.

use std::fs::File;
use std::io::{self, Read as _};
use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};

use reqwest::Url;
use thiserror::Error;

use super::identity::{BadName, Identity, Name, ServiceAccount};
use crate::host::Env;
use crate::secret::Secret;

/// The largest token or namespace file that is read, in bytes.
const FILE_LIMIT: u64 = 64 * 1024;

/// Why a pod cannot ask its cluster.
#[derive(Debug, Error)]
pub enum InClusterError {
    /// Nobody told us where the API server is.
    #[error("not in a cluster: {0} is not set")]
    NoVariable(&'static str),
    /// The variables name no server.
    #[error(
        "KUBERNETES_SERVICE_HOST={host:?} with KUBERNETES_SERVICE_PORT={port:?} is not the address of an API server"
    )]
    BadAddress {
        /// The host as given.
        host: String,
        /// The port as given.
        port: String,
    },
    /// There is no token.
    #[error("no token at {}: not in a cluster, or the pod has automountServiceAccountToken: false", .0.display())]
    NoToken(PathBuf),
    /// The token is there and is not for us.
    #[error("the token {} cannot be read", path.display())]
    TokenFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The token file is empty, or holds no text that a header could carry.
    #[error("the token {} is empty or no token", .0.display())]
    BadToken(PathBuf),
    /// Neither the flag, nor the token, nor the file says which namespace.
    #[error("the namespace is unknown: the token does not say it, and {} cannot be read", path.display())]
    NamespaceFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A name that cannot be one.
    #[error(transparent)]
    BadName(#[from] BadName),
}

impl InClusterError {
    /// Whether another attempt of the same process would meet the same: there is no cluster, none that this pod was
    /// meant to ask, or a name on the command line that cannot be one. Files may still change: kubelet writes them.
    #[must_use]
    pub fn is_final(&self) -> bool {
        match self {
            Self::NoVariable(_) | Self::BadAddress { .. } | Self::NoToken(_) | Self::BadName(_) => true,
            Self::TokenFile { .. } | Self::BadToken(_) | Self::NamespaceFile { .. } => false,
        }
    }
}

/// The cluster as a pod sees it.
#[derive(Debug, Clone)]
pub(crate) struct InCluster {
    /// `https://10.96.0.1:443`.
    pub(crate) server: String,
    /// The service account's token; kubelet renews it in place.
    pub(crate) token_file: PathBuf,
    /// The authority of the API server's certificate.
    pub(crate) authority: PathBuf,
    /// Whose token it is, if it says so.
    pub(crate) bearer: Option<Identity>,
    /// Whose pull secrets are wanted.
    pub(crate) account: ServiceAccount,
}

impl InCluster {
    /// Reads what kubelet gave the pod. Names that are given win over the token's own.
    /// <https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/>
    pub(crate) fn find(
        env: &Env,
        dir: &Path,
        namespace: Option<&str>,
        service_account: Option<&str>,
    ) -> Result<Self, InClusterError> {
        let server = server(env)?;
        let token_file = dir.join("token");
        let bearer = Identity::of_token(&token(&token_file)?);
        let claimed = bearer.as_ref().map(|bearer| bearer.account.clone());
        let namespace = match (namespace, &claimed) {
            (Some(name), _) => Name::parse(name, "namespace")?,
            (None, Some(account)) => account.namespace.clone(),
            (None, None) => {
                let path = dir.join("namespace");
                let text = bounded(&path).map_err(|source| InClusterError::NamespaceFile { path, source })?;
                Name::parse(text.trim(), "namespace")?
            }
        };
        let name = match (service_account, claimed) {
            (Some(name), _) => Name::parse(name, "service account")?,
            (None, Some(account)) => account.name,
            // What Kubernetes gives a pod that names none.
            (None, None) => Name::parse("default", "service account")?,
        };
        let account = ServiceAccount { namespace, name };
        Ok(Self { server, token_file, authority: dir.join("ca.crt"), bearer, account })
    }
}

/// The API server's URL, without a path.
fn server(env: &Env) -> Result<String, InClusterError> {
    let variable = |name| env.text(name).ok_or(InClusterError::NoVariable(name));
    let host = variable("KUBERNETES_SERVICE_HOST")?;
    let port = variable("KUBERNETES_SERVICE_PORT")?;
    let authority = if host.parse::<Ipv6Addr>().is_ok() { format!("[{host}]") } else { host.to_owned() };
    let server = format!("https://{authority}:{port}");
    let sound = Url::parse(&server).is_ok_and(|url| {
        url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none()
    });
    if sound && port.parse::<u16>().is_ok_and(|port| port > 0) && !authority.contains(['/', '\\', '?', '#', '@']) {
        return Ok(server);
    }
    Err(InClusterError::BadAddress { host: host.to_owned(), port: port.to_owned() })
}

/// The service account's token. It is read anew for every call: kubelet renews it.
pub(crate) fn token(path: &Path) -> Result<Secret, InClusterError> {
    let text = match bounded(path) {
        Ok(text) => Secret::new(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(InClusterError::NoToken(path.to_owned())),
        Err(source) => return Err(InClusterError::TokenFile { path: path.to_owned(), source }),
    };
    let token = text.expose().trim();
    if token.is_empty() || token.contains(|c: char| !c.is_ascii_graphic()) {
        return Err(InClusterError::BadToken(path.to_owned()));
    }
    Ok(Secret::new(token.to_owned()))
}

fn bounded(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(FILE_LIMIT).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(host: &str, port: &str) -> Env {
        [("KUBERNETES_SERVICE_HOST", host), ("KUBERNETES_SERVICE_PORT", port)].into_iter().collect()
    }

    #[test]
    fn the_server_is_what_kubelet_says() {
        for (host, port, expected) in [
            ("10.96.0.1", "443", "https://10.96.0.1:443"),
            ("kubernetes.default.svc", "6443", "https://kubernetes.default.svc:6443"),
            ("fd00::1", "443", "https://[fd00::1]:443"),
        ] {
            assert_eq!(server(&env(host, port)).unwrap(), expected);
        }
    }

    #[test]
    fn an_address_that_is_none_is_named() {
        for (host, port) in [
            ("evil.example/", "443"),
            ("me@evil.example", "443"),
            ("a?b", "443"),
            ("a#b", "443"),
            (r"a\b", "443"),
            ("a b", "443"),
            ("a", "0"),
            ("a", "70000"),
            ("a", "443/x"),
            ("a", "tcp://10.0.0.1:443"),
        ] {
            let error = server(&env(host, port)).unwrap_err();
            assert!(error.is_final());
            assert_eq!(
                error.to_string(),
                format!(
                    "KUBERNETES_SERVICE_HOST={host:?} with KUBERNETES_SERVICE_PORT={port:?} is not the address of an \
                     API server"
                )
            );
        }
    }

    #[test]
    fn without_the_variables_there_is_no_cluster() {
        let error = server(&Env::default()).unwrap_err();
        assert!(error.is_final());
        assert_eq!(error.to_string(), "not in a cluster: KUBERNETES_SERVICE_HOST is not set");
        let only_host: Env = [("KUBERNETES_SERVICE_HOST", "10.96.0.1")].into_iter().collect();
        assert_eq!(server(&only_host).unwrap_err().to_string(), "not in a cluster: KUBERNETES_SERVICE_PORT is not set");
    }
}
