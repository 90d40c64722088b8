//! Why an identity has no token, for the people who read a pod's log.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use super::document::DocumentError;
use super::key::KeyError;
use super::refusal::Refusal;
use super::subject::SubjectError;
use crate::authn::cloud::{CloudHttpError, Hung};
use crate::authn::file::FileError;
use crate::sys::cause::chain;

/// Why there is no credential.
#[derive(Debug, thiserror::Error)]
pub(in crate::authn) enum GoogleError {
    /// The credential file is not read.
    #[error("{0}")]
    File(String),
    /// The credential file is no identity.
    #[error("not used")]
    Document(#[from] DocumentError),
    /// The key of the file does not sign.
    #[error("its \"private_key\" {0}")]
    Key(#[from] KeyError),
    /// There is no token to exchange.
    #[error(transparent)]
    Subject(#[from] SubjectError),
    /// Somebody does not answer.
    #[error(transparent)]
    Unanswered(#[from] CloudHttpError),
    /// Somebody takes too long.
    #[error("{hung}; {usually}")]
    Hung {
        /// Who.
        hung: Hung,
        /// What it usually means.
        usually: &'static str,
    },
    /// Somebody refuses.
    #[error("{0}")]
    Refused(Box<Refusal>),
    /// An answer has no token in it.
    #[error("the answer of {host} holds no access token")]
    NoToken {
        /// Host and port.
        host: String,
    },
    /// `GCE_METADATA_HOST` is no host.
    #[error("GCE_METADATA_HOST does not hold the address of a metadata server (HOST or HOST:PORT)")]
    MetadataHost,
    /// Somebody else answers there.
    #[error(
        "what answers at {host} (status {status}) is not Google's metadata server: it does not say Metadata-Flavor: \
         Google"
    )]
    NotGoogles {
        /// Host and port.
        host: String,
        /// The status.
        status: u16,
    },
    /// The metadata server does not get ready.
    #[error("not ready within {limit:?} (asked {tries} times)")]
    NotReady {
        /// How long it was given.
        limit: Duration,
        /// How often it was asked.
        tries: usize,
        /// What it said last.
        source: Box<Self>,
    },
}

impl GoogleError {
    /// Whether time may mend it.
    pub(in crate::authn) fn is_passing(&self) -> bool {
        match self {
            Self::Unanswered(CloudHttpError::Unanswered { .. } | CloudHttpError::Unusable { .. })
            | Self::Hung { .. }
            | Self::NotReady { .. } => true,
            Self::Refused(refusal) => refusal.status >= 500 || refusal.status == 429,
            Self::File(_)
            | Self::Document(_)
            | Self::Key(_)
            | Self::Subject(_)
            | Self::Unanswered(CloudHttpError::Client { .. })
            | Self::NoToken { .. }
            | Self::MetadataHost
            | Self::NotGoogles { .. } => false,
        }
    }
}

/// Why a file cannot be read, and whose it is: what is mounted for root is often not for who runs the step.
pub(super) fn cannot_be_read(path: &Path, error: &FileError) -> String {
    let told = chain(error);
    let FileError::Unreadable(cause) = error else { return told };
    let Some(file) = path.metadata().ok().filter(|_| cause.kind() == std::io::ErrorKind::PermissionDenied) else {
        return told;
    };
    let (owner, group, mode) = (file.uid(), file.gid(), file.mode() & 0o7777);
    // The kernel's word for who we are; not everywhere.
    let ours = Path::new("/proc/self").metadata().map(|own| format!(" {}", own.uid())).unwrap_or_default();
    format!(
        "{told}: it is user {owner}'s and group {group}'s with mode {mode:04o}, and the step runs as another user{ours}; \
         set fsGroup or runAsUser in the pod's securityContext"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Unanswered;

    #[test]
    fn what_time_may_mend_is_told_from_what_people_must() {
        let refused =
            |status| GoogleError::Refused(Box::new(Refusal { host: "h".into(), status, words: None, advice: None }));
        let unanswered = GoogleError::Unanswered(CloudHttpError::Unanswered {
            host: "h".into(),
            proxy: None,
            source: Unanswered::Refused,
        });
        let hung = Hung { whom: "h".into(), limit: Duration::ZERO };
        for passing in [unanswered, GoogleError::Hung { hung, usually: "" }, refused(503), refused(429)] {
            assert!(passing.is_passing(), "{passing}");
        }
        for lasting in [
            refused(400),
            refused(403),
            GoogleError::MetadataHost,
            GoogleError::NotGoogles { host: "h".into(), status: 404 },
            GoogleError::NoToken { host: "h".into() },
            GoogleError::File("absent".into()),
        ] {
            assert!(!lasting.is_passing(), "{lasting}");
        }
    }
}
