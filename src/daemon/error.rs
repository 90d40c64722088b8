//! Why a daemon did not tell what was asked, each as a sentence that names the daemon and what to do.

use std::path::PathBuf;
use std::time::Duration;

use super::address::AddressError;
use super::inspect::InspectError;
use super::version::{HIGHEST, LOWEST};
use crate::http::{HttpError, Proxy, Unanswered};

/// Why a daemon did not tell what was asked. `daemon` is its address, as `DOCKER_HOST` has it.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The environment names no daemon.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// `DOCKER_API_VERSION` is none.
    #[error("DOCKER_API_VERSION={value:?} is no version of the API: write it as in 1.41")]
    VersionVariable {
        /// Its beginning.
        value: String,
    },
    /// No socket.
    #[error("{} is not there: mount the daemon's socket or set DOCKER_HOST", path.display())]
    NoSocket {
        /// Its path.
        path: PathBuf,
    },
    /// Something else at the socket's path: a mount makes a directory of what is not there.
    #[error("{} is {found} and not the daemon's socket: was the daemon running when it was mounted?", path.display())]
    NotASocket {
        /// Its path.
        path: PathBuf,
        /// What it is.
        found: &'static str,
    },
    /// A socket that is others'.
    #[error(
        "{} may not be used: permission denied; run as root, or in the group that owns it{}",
        path.display(),
        owner(*.group)
    )]
    Forbidden {
        /// Its path.
        path: PathBuf,
        /// Its group.
        group: Option<u32>,
    },
    /// The certificate files cannot be used.
    #[error("the daemon at {daemon} cannot be asked")]
    Client {
        /// The daemon.
        daemon: String,
        /// Why.
        source: HttpError,
    },
    /// One of a pair of files.
    #[error("{} is there and {} is not: a certificate is shown with its key", there.display(), missing.display())]
    HalfAnIdentity {
        /// The file that is there.
        there: PathBuf,
        /// The other.
        missing: PathBuf,
    },
    /// Nobody answered.
    #[error("no answer from the daemon at {daemon}{}{hint}", through(.proxy.as_deref()))]
    Unanswered {
        /// The daemon.
        daemon: String,
        /// The proxy in between.
        proxy: Option<Box<Proxy>>,
        /// What to look for, in brackets; may be empty.
        hint: &'static str,
        /// Why.
        source: Unanswered,
    },
    /// Its time is up.
    #[error("no answer from the daemon at {daemon} within {limit:?}")]
    TimedOut {
        /// The daemon.
        daemon: String,
        /// The limit.
        limit: Duration,
    },
    /// TLS was asked for, and is not spoken.
    #[error(
        "what answers at {daemon} does not speak TLS, which {asked} asks for: name the daemon's port for TLS, or have it \
         started with --tlsverify"
    )]
    NotTls {
        /// The daemon.
        daemon: String,
        /// Who asks for it.
        asked: &'static str,
    },
    /// Plain http was asked for, and TLS is spoken.
    #[error(
        "the daemon at {daemon} speaks TLS only: set DOCKER_TLS_VERIFY=1, and DOCKER_CERT_PATH to the directory of ca.pem, \
         cert.pem and key.pem"
    )]
    WantsTls {
        /// The daemon.
        daemon: String,
    },
    /// Nobody vouches for the daemon.
    #[error("the certificate of the daemon at {daemon} is signed by an authority that is not {}", trusted(.ca.as_ref()))]
    UnknownAuthority {
        /// The daemon.
        daemon: String,
        /// The file of the authorities.
        ca: Option<PathBuf>,
    },
    /// The daemon does not take what it is shown.
    #[error("the daemon at {daemon} {}", refused(.shown.as_ref(), .directory.as_ref()))]
    ClientRefused {
        /// The daemon.
        daemon: String,
        /// The certificate that was shown.
        shown: Option<PathBuf>,
        /// Where it would have been looked for.
        directory: Option<PathBuf>,
        /// What the daemon said of it.
        source: Box<rustls::Error>,
    },
    /// The body of an answer cannot be used.
    #[error("the answer of the daemon at {daemon} cannot be used")]
    Body {
        /// The daemon.
        daemon: String,
        /// Why.
        source: HttpError,
    },
    /// Somebody else answered.
    #[error("what answers at {daemon} is no Docker Engine API: {found}")]
    NotDocker {
        /// The daemon.
        daemon: String,
        /// What it answered.
        found: String,
    },
    /// The daemon is older than what is spoken here.
    #[error(
        "the daemon at {daemon} speaks the API up to version {offered} only: {LOWEST} to {HIGHEST} are spoken here"
    )]
    TooOld {
        /// The daemon.
        daemon: String,
        /// Its version.
        offered: String,
    },
    /// The daemon does not speak the version that was chosen.
    #[error("the daemon at {daemon} does not speak version {version} of the API{}: {message}", chosen(*.variable))]
    Version {
        /// The daemon.
        daemon: String,
        /// The version.
        version: String,
        /// Whether `DOCKER_API_VERSION` chose it.
        variable: bool,
        /// In the daemon's words.
        message: String,
    },
    /// It does not have the image.
    #[error("the daemon at {daemon} does not have the image {image} (asked for as {name}): {message}")]
    NotThere {
        /// The daemon.
        daemon: String,
        /// The image.
        image: String,
        /// The name that the daemon was asked for.
        name: String,
        /// In the daemon's words.
        message: String,
    },
    /// It says no.
    #[error("the daemon at {daemon} answered HTTP {status}: {message}")]
    Refused {
        /// The daemon.
        daemon: String,
        /// The status.
        status: u16,
        /// In the daemon's words.
        message: String,
    },
    /// What it says of the image is of no use.
    #[error("the daemon at {daemon} was asked for the image {image}")]
    Image {
        /// The daemon.
        daemon: String,
        /// The image.
        image: String,
        /// Why.
        source: Box<InspectError>,
    },
}

impl DaemonError {
    /// Whether asking again later may help: daemons start, and images are built, while a step waits.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        !matches!(self, Self::Address(_) | Self::VersionVariable { .. })
    }
}

fn owner(group: Option<u32>) -> String {
    group.map(|group| format!(" (gid {group}: securityContext.supplementalGroups)")).unwrap_or_default()
}

fn through(proxy: Option<&Proxy>) -> String {
    proxy.map(|proxy| format!(" through the proxy {proxy}")).unwrap_or_default()
}

fn trusted(ca: Option<&PathBuf>) -> String {
    ca.map_or_else(|| "trusted here".to_owned(), |ca| format!("in {}", ca.display()))
}

fn refused(shown: Option<&PathBuf>, directory: Option<&PathBuf>) -> String {
    match (shown, directory) {
        (Some(shown), _) => format!("does not accept the certificate in {}", shown.display()),
        (None, Some(directory)) => {
            format!("wants to be shown a certificate: there is no cert.pem and key.pem in {}", directory.display())
        }
        (None, None) => {
            "wants to be shown a certificate: set DOCKER_CERT_PATH to the directory of ca.pem, cert.pem and key.pem"
                .to_owned()
        }
    }
}

fn chosen(variable: bool) -> &'static str {
    if variable { " (DOCKER_API_VERSION)" } else { "; set DOCKER_API_VERSION to one that it speaks" }
}
