//! Where the daemon is: what `DOCKER_HOST` and the variables beside it say, and what they cannot say.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use reqwest::Url;

use crate::host::Env;
use crate::image::shown;

/// Where a daemon listens when nobody says anything.
pub(super) const SOCKET: &str = "/var/run/docker.sock";
/// The longest path of a socket, in bytes (`sun_path` of unix(7), and its end).
const PATH_LIMIT: usize = 107;
/// The ports of `tcp://` without one.
const PLAIN_PORT: u16 = 2375;
const TLS_PORT: u16 = 2376;

/// Where a daemon is, and how it is spoken to. Shown, it is as `DOCKER_HOST` names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Address {
    /// A socket of this machine.
    Socket(PathBuf),
    /// Plain http.
    Plain {
        /// The root of its API.
        root: Url,
    },
    /// http over TLS.
    Tls {
        /// The root of its API.
        root: Url,
        /// The directory of `ca.pem`, `cert.pem` and `key.pem`; without one, the public authorities are believed.
        certificates: Option<PathBuf>,
    },
}

/// Why the environment names no daemon. A value that may hold a password is not shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Neither of the forms that are known.
    #[error(
        "DOCKER_HOST={value:?} is no address of a daemon: write unix:///PATH, tcp://HOST:PORT, http:// or https://"
    )]
    Form {
        /// Its beginning.
        value: String,
    },
    /// A way to a daemon that is not spoken here.
    #[error(
        "DOCKER_HOST begins with {scheme}://, which is not spoken here: name the daemon with unix:///PATH or \
         tcp://HOST:PORT"
    )]
    Scheme {
        /// The way.
        scheme: &'static str,
    },
    /// Something in it that may be a secret.
    #[error("DOCKER_HOST holds a user or a password, which no daemon asks for: write tcp://HOST:PORT")]
    User,
    /// Something in it that no address has.
    #[error("DOCKER_HOST holds a query or a fragment, which no daemon asks for: write tcp://HOST:PORT")]
    Query,
    /// A socket at a path that the system cannot name.
    #[error("DOCKER_HOST names a socket whose path has {length} bytes: at most {PATH_LIMIT} can be used")]
    LongPath {
        /// In bytes.
        length: usize,
    },
    /// Nobody says where the certificates are.
    #[error(
        "DOCKER_TLS_VERIFY is set, and neither DOCKER_CERT_PATH nor HOME says where ca.pem, cert.pem and key.pem are"
    )]
    NoCertificates,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) => write!(f, "unix://{}", path.display()),
            Self::Plain { root } | Self::Tls { root, .. } => {
                write!(f, "tcp://{}", root.host_str().unwrap_or(""))?;
                if let Some(port) = root.port_or_known_default() {
                    write!(f, ":{port}")?;
                }
                f.write_str(root.path().trim_end_matches('/'))
            }
        }
    }
}

impl Address {
    /// The daemon that the environment names.
    pub(super) fn from_env(env: &Env) -> Result<Self, AddressError> {
        let set = |name| env.get(name).filter(|value| !value.is_empty());
        let Some(value) = set("DOCKER_HOST") else { return Ok(Self::Socket(SOCKET.into())) };
        let bytes = value.as_bytes();
        if let Some(path) = bytes.strip_prefix(b"unix://") {
            return socket(path, value);
        }
        let form = || AddressError::Form { value: without_user(value) };
        let text = value.to_str().ok_or_else(form)?;
        for scheme in ["ssh", "npipe", "fd"] {
            if text.strip_prefix(scheme).is_some_and(|rest| rest.starts_with("://")) {
                return Err(AddressError::Scheme { scheme });
            }
        }
        // As an ordinary word `tcp` keeps every port; http would drop its own.
        let written = match text.split_once("://") {
            Some(("tcp" | "http" | "https", _)) => Url::parse(text),
            Some(_) => return Err(form()),
            None => Url::parse(&format!("tcp://{text}")),
        };
        let written = written.ok().filter(Url::has_host).ok_or_else(form)?;
        if !written.username().is_empty() || written.password().is_some() {
            return Err(AddressError::User);
        }
        if written.query().is_some() || written.fragment().is_some() {
            return Err(AddressError::Query);
        }
        let verify = set("DOCKER_TLS_VERIFY").is_some();
        let tls = verify || written.scheme() == "https";
        let usual = |plain, tls_port| if tls { tls_port } else { plain };
        let port = written.port().unwrap_or(match written.scheme() {
            "tcp" => usual(PLAIN_PORT, TLS_PORT),
            _ => written.port_or_known_default().unwrap_or(usual(80, 443)),
        });
        let (scheme, host) = (usual_scheme(tls), written.host_str().unwrap_or(""));
        let path = written.path().trim_end_matches('/');
        let root = Url::parse(&format!("{scheme}://{host}:{port}{path}/")).ok().filter(Url::has_host);
        let root = root.ok_or_else(form)?;
        if !tls {
            return Ok(Self::Plain { root });
        }
        let certificates = match (set("DOCKER_CERT_PATH"), verify) {
            (Some(path), _) => Some(PathBuf::from(path)),
            (None, true) => {
                let home = set("HOME").ok_or(AddressError::NoCertificates)?;
                Some(Path::new(home).join(".docker"))
            }
            (None, false) => None,
        };
        Ok(Self::Tls { root, certificates })
    }

    /// The URL of a path of the API, which begins with a slash. Behind a socket the host means nothing.
    pub(super) fn url(&self, path: &str) -> Option<Url> {
        let root = match self {
            Self::Socket(_) => "http://localhost",
            Self::Plain { root } | Self::Tls { root, .. } => root.as_str().trim_end_matches('/'),
        };
        Url::parse(&format!("{root}{path}")).ok()
    }

    /// The same for the story.
    pub(super) fn told(&self, path: &str) -> String {
        match self {
            Self::Socket(socket) => format!("unix://{}:{path}", socket.display()),
            Self::Plain { root } | Self::Tls { root, .. } => {
                format!("{}{path}", root.as_str().trim_end_matches('/'))
            }
        }
    }
}

fn usual_scheme(tls: bool) -> &'static str {
    if tls { "https" } else { "http" }
}

fn socket(path: &[u8], value: &OsStr) -> Result<Address, AddressError> {
    match path {
        b"" => Ok(Address::Socket(SOCKET.into())),
        _ if path.len() > PATH_LIMIT => Err(AddressError::LongPath { length: path.len() }),
        [b'/', ..] => Ok(Address::Socket(OsStr::from_bytes(path).into())),
        _ => Err(AddressError::Form { value: shown(&value.to_string_lossy(), 100) }),
    }
}

/// What is no address, for a message: without what could be a user and a password.
fn without_user(value: &OsStr) -> String {
    let text = value.to_string_lossy();
    let bare = text.split(['?', '#']).next().unwrap_or("");
    let (scheme, rest) = bare.split_once("://").map_or(("", bare), |(scheme, rest)| (scheme, rest));
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    let separator = if scheme.is_empty() { "" } else { "://" };
    shown(&format!("{scheme}{separator}{host}"), 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(variables: &[(&str, &str)]) -> Result<Address, AddressError> {
        Address::from_env(&variables.iter().copied().collect())
    }

    #[test]
    fn docker_host_and_the_variables_beside_it() {
        const VERIFY: (&str, &str) = ("DOCKER_TLS_VERIFY", "1");
        const HOME: (&str, &str) = ("HOME", "/home/ann");
        const CERTIFICATES: (&str, &str) = ("DOCKER_CERT_PATH", "/certs");
        for (host, beside, shown, ping, certificates) in [
            ("", &[][..], "unix:///var/run/docker.sock", "http://localhost/_ping", None),
            ("unix://", &[], "unix:///var/run/docker.sock", "http://localhost/_ping", None),
            (
                "unix:///run/podman/podman.sock",
                &[VERIFY],
                "unix:///run/podman/podman.sock",
                "http://localhost/_ping",
                None,
            ),
            ("tcp://docker:2375", &[], "tcp://docker:2375", "http://docker:2375/_ping", None),
            ("tcp://docker", &[CERTIFICATES], "tcp://docker:2375", "http://docker:2375/_ping", None),
            ("docker:2375", &[], "tcp://docker:2375", "http://docker:2375/_ping", None),
            (
                "tcp://docker",
                &[VERIFY, HOME],
                "tcp://docker:2376",
                "https://docker:2376/_ping",
                Some("/home/ann/.docker"),
            ),
            ("tcp://docker:80", &[], "tcp://docker:80", "http://docker/_ping", None),
            ("tcp://docker:443", &[VERIFY, CERTIFICATES], "tcp://docker:443", "https://docker/_ping", Some("/certs")),
            ("tcp://[::1]:5/a/b/", &[], "tcp://[::1]:5/a/b", "http://[::1]:5/a/b/_ping", None),
            ("http://docker", &[], "tcp://docker:80", "http://docker/_ping", None),
            ("http://docker:81", &[VERIFY, CERTIFICATES], "tcp://docker:81", "https://docker:81/_ping", Some("/certs")),
            ("https://docker", &[], "tcp://docker:443", "https://docker/_ping", None),
            ("https://docker:5", &[CERTIFICATES, HOME], "tcp://docker:5", "https://docker:5/_ping", Some("/certs")),
            ("tcp://docker:1", &[("DOCKER_TLS_VERIFY", "")], "tcp://docker:1", "http://docker:1/_ping", None),
            (
                "tcp://docker:1",
                &[("DOCKER_TLS_VERIFY", "0"), HOME],
                "tcp://docker:1",
                "https://docker:1/_ping",
                Some("/home/ann/.docker"),
            ),
        ] {
            let found = address(&[&[("DOCKER_HOST", host)], beside].concat()).expect(host);
            assert_eq!(found.to_string(), shown);
            assert_eq!(found.url("/_ping").map(String::from).as_deref(), Some(ping), "{host}");
            let named = match &found {
                Address::Tls { certificates, .. } => certificates.as_deref(),
                Address::Socket(_) | Address::Plain { .. } => None,
            };
            assert_eq!(named, certificates.map(Path::new), "{host}");
            assert_eq!(matches!(found, Address::Tls { .. }), ping.starts_with("https"), "{host}");
        }
        assert_eq!(address(&[]), Ok(Address::Socket(SOCKET.into())), "the default needs no variable");
        assert_eq!(address(&[]).unwrap().told("/v1.41/x"), "unix:///var/run/docker.sock:/v1.41/x");
        let tcp = address(&[("DOCKER_HOST", "tcp://docker:2375")]).unwrap();
        assert_eq!(tcp.told("/v1.41/x"), "http://docker:2375/v1.41/x");
    }

    #[test]
    fn what_names_no_daemon_is_refused_without_its_password() {
        let long = format!("unix:///{}", "a".repeat(200));
        for (host, sentence) in [
            ("ssh://ann@host", "begins with ssh://, which is not spoken here"),
            ("npipe:////./pipe/docker_engine", "begins with npipe://"),
            ("fd://", "begins with fd://"),
            ("unix://relative.sock", "is no address of a daemon: write unix:///PATH, tcp://HOST:PORT"),
            ("/var/run/docker.sock", "is no address of a daemon"),
            ("tcp://", "is no address of a daemon"),
            ("tcp://:2375", "is no address of a daemon"),
            ("tcp://host:99999", "is no address of a daemon"),
            ("tcp://ho st:1", "is no address of a daemon"),
            ("tcp://a%20b:1", "is no address of a daemon"),
            ("ftp://host", "DOCKER_HOST=\"ftp://host\" is no address"),
            ("tcp://ann:hunter2@host:99999", "DOCKER_HOST=\"tcp://host:99999\" is no address"),
            ("tcp://ann:hunter2@host:1", "holds a user or a password"),
            ("tcp://hunter2@host:1", "holds a user or a password"),
            ("tcp://host:1?token=hunter2", "holds a query"),
            ("tcp://host:1#hunter2", "holds a query or a fragment"),
            (long.as_str(), "a socket whose path has 201 bytes: at most 107"),
        ] {
            let error = address(&[("DOCKER_HOST", host)]).expect_err(host).to_string();
            assert!(error.contains(sentence) && !error.contains("hunter2"), "{host}: {error}");
        }
        let error = address(&[("DOCKER_HOST", "tcp://h"), ("DOCKER_TLS_VERIFY", "1")]).unwrap_err();
        assert_eq!(error, AddressError::NoCertificates);
    }
}
