//! Why a request got no answer, or an answer no body: transport failures sorted into kinds, by type and not by text.

use std::error::Error as StdError;
use std::io;
use std::path::PathBuf;

use rustls::{AlertDescription, CertificateError, InvalidMessage};

use super::ResolveError;
use super::trust::is_authority;

/// Why a client cannot be built, or a body not be read.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// A certificate file cannot be read.
    #[error("cannot read the certificates in {}", path.display())]
    CertificateFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A certificate file is broken.
    #[error("{} is not a PEM file", path.display())]
    NotPem {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rustls::pki_types::pem::Error,
    },
    /// A certificate file has something else in it.
    #[error("{} holds no certificate in PEM form", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// A certificate cannot be an authority.
    #[error("{} holds a certificate that cannot be used", path.display())]
    BadCertificate {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<rustls::Error>,
    },
    /// The file of a private key cannot be read.
    #[error("cannot read the private key in {}", path.display())]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file of a private key is broken. What is wrong with it is not shown: it may be a part of the key.
    #[error("{} is not a PEM file", path.display())]
    BrokenKey {
        /// The file.
        path: PathBuf,
    },
    /// The file of a private key has something else in it.
    #[error("{} holds no private key in PEM form that can be read without a password", path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// A key and a certificate that do not belong together.
    #[error("the private key in {} is not the key of the certificate in {}", key.display(), certificate.display())]
    Strangers {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
    },
    /// A key or a certificate of a kind that cannot be shown.
    #[error("the certificate in {} and the private key in {} cannot be used", certificate.display(), key.display())]
    BadIdentity {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
    },
    /// A proxy variable holds no proxy's address. Its value is not shown: it may hold a password.
    #[error("the environment variable {variable} does not hold the address of a proxy (http://HOST:PORT)")]
    Proxy {
        /// The variable's name.
        variable: &'static str,
    },
    /// A proxy variable holds a SOCKS proxy's address. Its value is not shown: it may hold a password.
    #[error(
        "the environment variable {variable} names a SOCKS proxy, which is not spoken here, and nothing goes round it: \
         name a proxy that begins with http:// or https://, or unset the variable"
    )]
    SocksProxy {
        /// The variable's name.
        variable: &'static str,
    },
    /// TLS cannot be set up.
    #[error("cannot set up TLS")]
    Tls {
        /// Why.
        source: rustls::Error,
    },
    /// A client cannot be built.
    #[error("cannot set up an HTTP client")]
    Client {
        /// Why.
        source: reqwest::Error,
    },
    /// A body is longer than allowed, or says that it will be.
    #[error("{what} is longer than {limit} bytes")]
    TooLong {
        /// Whose body.
        what: &'static str,
        /// In bytes.
        limit: usize,
    },
    /// A body breaks off.
    #[error("{what} breaks off")]
    Interrupted {
        /// Whose body.
        what: &'static str,
        /// Why.
        source: Unanswered,
    },
}

/// Why a request got no answer, as a phrase that goes behind the name of a host and a colon.
#[derive(Debug, thiserror::Error)]
pub enum Unanswered {
    /// Nothing listens there.
    #[error("connection refused")]
    Refused,
    /// No route to it.
    #[error("no route to this host")]
    Unreachable,
    /// No address for the name.
    #[error("its name cannot be resolved")]
    Name(#[source] Box<ResolveError>),
    /// Too slow.
    #[error("no answer in time")]
    TimedOut,
    /// The certificate's authority is none of those that are trusted.
    #[error("its certificate is signed by an authority that is not trusted here")]
    UnknownAuthority,
    /// The certificate is not acceptable for another reason: expired, another name.
    #[error("its certificate is not {}", certificate_is_not(.0))]
    Certificate(#[source] Box<rustls::Error>),
    /// It wants to be shown a certificate, or another one than it was shown.
    #[error("it wants a certificate to be shown that it knows")]
    WantsCertificate(#[source] Box<rustls::Error>),
    /// TLS was spoken, and failed.
    #[error("the TLS handshake failed")]
    Handshake(#[source] Box<rustls::Error>),
    /// What answered does not speak TLS.
    #[error("what answers there does not speak TLS")]
    NotTls,
    /// The connection ended before the answer did.
    #[error("the connection was closed before the answer was complete")]
    Closed,
    /// What answered does not speak HTTP.
    #[error("what answers there does not speak HTTP")]
    NotHttp,
    /// Anything else, in the words of the library.
    #[error("the request failed")]
    Other(#[source] reqwest::Error),
}

/// What is wrong with a server's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateFault {
    /// Its time is over.
    Expired,
    /// Its time has not come.
    NotYetValid,
    /// It is for somebody else.
    OtherName,
    /// Anything else.
    Other,
}

impl CertificateFault {
    fn of(error: &rustls::Error) -> Self {
        let rustls::Error::InvalidCertificate(error) = error else { return Self::Other };
        if let CertificateError::Expired | CertificateError::ExpiredContext { .. } = error {
            Self::Expired
        } else if let CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } = error {
            Self::NotYetValid
        } else if let CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } = error {
            Self::OtherName
        } else {
            Self::Other
        }
    }
}

/// What a certificate is not. Where its dates are what is wrong, the clock may be.
fn certificate_is_not(error: &rustls::Error) -> &'static str {
    match CertificateFault::of(error) {
        CertificateFault::Expired => "valid any more by the clock here (renew it, or set the clock right)",
        CertificateFault::NotYetValid => "valid yet by the clock here (set the clock right, here or where it was made)",
        CertificateFault::OtherName | CertificateFault::Other => "acceptable",
    }
}

impl Unanswered {
    /// Whether trying again soon may help: the connection broke in the middle.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Closed => true,
            Self::Refused
            | Self::Unreachable
            | Self::Name(_)
            | Self::TimedOut
            | Self::UnknownAuthority
            | Self::Certificate(_)
            | Self::WantsCertificate(_)
            | Self::Handshake(_)
            | Self::NotTls
            | Self::NotHttp
            | Self::Other(_) => false,
        }
    }
}

impl Unanswered {
    /// What is wrong with a certificate, in no words of whoever made it.
    #[must_use]
    pub fn certificate_fault(&self) -> Option<CertificateFault> {
        let Self::Certificate(error) = self else { return None };
        Some(CertificateFault::of(error))
    }

    /// What the system said, where it was the system that refused, and in no way that has a kind of its own here: the
    /// path of a socket that is not there, or may not be used.
    #[must_use]
    pub fn system(&self) -> Option<&io::Error> {
        let Self::Other(error) = self else { return None };
        let causes = std::iter::successors(Some(error as &(dyn StdError + 'static)), |error| inner(*error));
        causes.filter_map(|cause| cause.downcast_ref::<io::Error>()).find(|error| error.raw_os_error().is_some())
    }
}

impl From<reqwest::Error> for Unanswered {
    /// Sorts by the types in the chain of causes. The URL is dropped: a redirect's may carry a signature.
    fn from(error: reqwest::Error) -> Self {
        let mut next: Option<&(dyn StdError + 'static)> = Some(&error);
        while let Some(cause) = next {
            if let Some(kind) = recognised(cause) {
                return kind;
            }
            next = inner(cause);
        }
        if error.is_timeout() { Self::TimedOut } else { Self::Other(error.without_url()) }
    }
}

/// The next cause. An [`io::Error`] that wraps another error skips that one in its `source`.
fn inner<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e (dyn StdError + 'static)> {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(wrapped) => Some(wrapped),
        None => error.source(),
    }
}

/// The kind of one error of the chain, if it says one.
fn recognised(error: &(dyn StdError + 'static)) -> Option<Unanswered> {
    if let Some(error) = error.downcast_ref::<ResolveError>() {
        return Some(Unanswered::Name(Box::new(error.clone())));
    }
    if let Some(error) = error.downcast_ref::<rustls::Error>() {
        return Some(tls(error));
    }
    if let Some(error) = error.downcast_ref::<hyper::Error>() {
        return if error.is_incomplete_message() {
            Some(Unanswered::Closed)
        } else if error.is_parse() {
            Some(Unanswered::NotHttp)
        } else {
            None
        };
    }
    let error = error.downcast_ref::<io::Error>()?;
    // The wrapped error says more than the kind that it was given.
    if error.get_ref().is_some_and(|wrapped| wrapped.is::<rustls::Error>()) {
        return None;
    }
    io_kind(error.kind())
}

fn io_kind(kind: io::ErrorKind) -> Option<Unanswered> {
    use io::ErrorKind as Kind;
    if kind == Kind::ConnectionRefused {
        Some(Unanswered::Refused)
    } else if matches!(kind, Kind::HostUnreachable | Kind::NetworkUnreachable) {
        Some(Unanswered::Unreachable)
    } else if kind == Kind::TimedOut {
        Some(Unanswered::TimedOut)
    } else if matches!(
        kind,
        Kind::ConnectionReset | Kind::ConnectionAborted | Kind::BrokenPipe | Kind::UnexpectedEof | Kind::NotConnected
    ) {
        Some(Unanswered::Closed)
    } else {
        None
    }
}

fn tls(error: &rustls::Error) -> Unanswered {
    if let rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) = error {
        Unanswered::UnknownAuthority
    } else if is_authority(error) {
        // Signed by itself, and not named: nobody that is trusted has signed it.
        Unanswered::UnknownAuthority
    } else if let rustls::Error::InvalidCertificate(_) = error {
        Unanswered::Certificate(Box::new(error.clone()))
    } else if let rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) = error {
        // No TLS record begins so: a server of plain http answers the handshake with an error page. Whatever else is wrong
        // with a message is wrong with a message of TLS.
        Unanswered::NotTls
    } else if let rustls::Error::AlertReceived(alert) = error
        && refuses_certificate(*alert)
    {
        Unanswered::WantsCertificate(Box::new(error.clone()))
    } else {
        Unanswered::Handshake(Box::new(error.clone()))
    }
}

/// Whether a server says by this alert that it misses a certificate, or does not accept the one that it was shown.
/// <https://www.rfc-editor.org/rfc/rfc8446#section-6.2>
fn refuses_certificate(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::CertificateRequired
            | AlertDescription::NoCertificate
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_inside_an_io_error_is_not_skipped() {
        let wrapped = io::Error::new(
            io::ErrorKind::InvalidData,
            rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer),
        );
        assert!(recognised(&wrapped).is_none());
        let within = inner(&wrapped).expect("the wrapped error");
        assert!(matches!(recognised(within), Some(Unanswered::UnknownAuthority)));
    }

    #[test]
    fn a_broken_message_of_tls_is_told_from_another_protocol() {
        let of = |message| tls(&rustls::Error::InvalidMessage(message));
        assert!(matches!(of(InvalidMessage::InvalidContentType), Unanswered::NotTls));
        for message in [
            InvalidMessage::MessageTooLarge,
            InvalidMessage::MissingData("ServerHello"),
            InvalidMessage::UnknownProtocolVersion,
        ] {
            assert!(matches!(of(message), Unanswered::Handshake(_)), "{message:?}");
        }
    }

    #[test]
    fn io_errors_are_sorted_by_kind() {
        use io::ErrorKind as Kind;
        assert!(matches!(io_kind(Kind::ConnectionRefused), Some(Unanswered::Refused)));
        assert!(matches!(io_kind(Kind::NetworkUnreachable), Some(Unanswered::Unreachable)));
        assert!(matches!(io_kind(Kind::TimedOut), Some(Unanswered::TimedOut)));
        assert!(matches!(io_kind(Kind::ConnectionReset), Some(Unanswered::Closed)));
        assert!(io_kind(Kind::PermissionDenied).is_none());
    }
}
