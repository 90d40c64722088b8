//! Whose certificates are accepted: those of trusted authorities, and a server's own that was named as one.

use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::client::{VerifierBuilderError, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::roots::SystemRoots;

/// Verifies as rustls does, but for two things. A server may show a certificate that is an authority's, if that very
/// certificate was named: `openssl req -x509` makes such certificates, so many private registries have one, and Go's
/// tools accept them. And one server may be believed whatever it shows, if the person who runs this asked for that; that
/// it holds the key of the certificate is checked even then.
#[derive(Debug)]
pub(super) struct Verifier {
    chosen: Authorities,
    /// The system's, asked only where the others do not know who signed: reading them takes longer than a handshake.
    system: Option<System>,
    believed: Option<ServerName<'static>>,
}

/// Authorities, and the certificates among them that a server may show as its own.
#[derive(Debug)]
struct Authorities {
    chains: Arc<WebPkiServerVerifier>,
    named: Vec<CertificateDer<'static>>,
}

/// The system's authorities, from the moment on at which they are needed.
#[derive(Debug)]
struct System {
    roots: Arc<SystemRoots>,
    provider: Arc<CryptoProvider>,
    authorities: OnceLock<Option<Authorities>>,
}

impl System {
    /// The authorities; none where the system has none.
    fn authorities(&self) -> Option<&Authorities> {
        let read = || {
            let named = self.roots.read().certificates.clone();
            let mut store = RootCertStore::empty();
            store.add_parsable_certificates(named.iter().cloned());
            Authorities::new(store, named, Arc::clone(&self.provider)).ok()
        };
        self.authorities.get_or_init(read).as_ref()
    }
}

impl Verifier {
    /// `named` are the certificates that were named beyond the public authorities; they are among the roots too.
    /// `system` are the authorities that are trusted besides. `believed` is the server whose certificate does not matter.
    pub(super) fn new(
        roots: RootCertStore,
        named: Vec<CertificateDer<'static>>,
        system: Option<Arc<SystemRoots>>,
        believed: Option<ServerName<'static>>,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, VerifierBuilderError> {
        let chosen = Authorities::new(roots, named, Arc::clone(&provider))?;
        let system = system.map(|roots| System { roots, provider, authorities: OnceLock::new() });
        Ok(Self { chosen, system, believed })
    }
}

impl Authorities {
    fn new(
        roots: RootCertStore,
        named: Vec<CertificateDer<'static>>,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, VerifierBuilderError> {
        let chains = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build()?;
        Ok(Self { chains, named })
    }

    fn verify(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.chains.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(error) if is_authority(&error) && self.named.iter().any(|named| named == end_entity) => {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            verdict => verdict,
        }
    }
}

/// Whether somebody is missing who would vouch for the certificate; everything else is wrong whoever is asked.
fn is_unknown(error: &Error) -> bool {
    matches!(error, Error::InvalidCertificate(CertificateError::UnknownIssuer)) || is_authority(error)
}

/// Whether a certificate is refused only because it is an authority's. Its dates have been checked before that, its
/// name has not.
pub(super) fn is_authority(error: &Error) -> bool {
    let Error::InvalidCertificate(CertificateError::Other(other)) = error else { return false };
    matches!(other.0.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.believed.as_ref() == Some(server_name) {
            return Ok(ServerCertVerified::assertion());
        }
        let chosen = self.chosen.verify(end_entity, intermediates, server_name, ocsp_response, now);
        let system = || self.system.as_ref().and_then(System::authorities);
        match chosen {
            Err(error) if is_unknown(&error) => match system() {
                Some(system) => system.verify(end_entity, intermediates, server_name, ocsp_response, now),
                None => Err(error),
            },
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chosen.chains.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chosen.chains.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chosen.chains.supported_verify_schemes()
    }
}
