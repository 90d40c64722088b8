//! A certificate to show, and the private key that proves it: for servers that want to know who asks.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::sign::CertifiedKey;
use zeroize::Zeroizing;

use super::{HttpError, PEM_LIMIT, certificates};
use crate::sys::file;

/// A certificate with the chain behind it, and its private key, which is never shown. Clones share it.
#[derive(Clone)]
pub struct Identity(pub(super) Arc<CertifiedKey>);

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({} certificates)", self.0.cert.len())
    }
}

impl Identity {
    /// Reads both from PEM files, which may be one.
    pub(super) fn read(certificate: &Path, key: &Path, provider: &CryptoProvider) -> Result<Self, HttpError> {
        let chain = certificates(certificate)?;
        let pem = file::head(key, PEM_LIMIT).map(Zeroizing::new);
        let pem = pem.map_err(|source| HttpError::KeyFile { path: key.to_owned(), source })?;
        let path = || key.to_owned();
        let secret = PrivateKeyDer::from_pem_slice(&pem).map_err(|error| {
            let none = matches!(error, PemError::NoItemsFound);
            // What the error quotes of the file may be a part of the key.
            if none { HttpError::NoKey { path: path() } } else { HttpError::BrokenKey { path: path() } }
        })?;
        match CertifiedKey::from_der(chain, secret, provider) {
            Ok(both) => Ok(Self(Arc::new(both))),
            Err(rustls::Error::InconsistentKeys(_)) => {
                Err(HttpError::Strangers { certificate: certificate.to_owned(), key: key.to_owned() })
            }
            Err(_) => Err(HttpError::BadIdentity { certificate: certificate.to_owned(), key: key.to_owned() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rcgen::{CertificateParams, KeyPair};

    use super::super::Network;
    use crate::host::Env;
    use crate::sys::cause::chain;

    #[test]
    fn an_identity_that_cannot_be_used_is_named_with_the_reason_and_without_the_key() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = |name: &str, content: &str| {
            let path = directory.path().join(name);
            fs::write(&path, content).expect("a file");
            path
        };
        let key = KeyPair::generate().expect("a key");
        let own = CertificateParams::new(["client".to_owned()]).expect("names").self_signed(&key).expect("signed");
        let pem = key.serialize_pem();
        let (certificate, right) = (file("cert.pem", &own.pem()), file("key.pem", &pem));
        let both = file("both.pem", &format!("{pem}{}", own.pem()));
        let other = file("other.pem", &KeyPair::generate().expect("a key").serialize_pem());
        let secret = pem.lines().nth(1).expect("a line of the key");
        let cut = file("cut.pem", &pem[..pem.len() - 10]);
        let text = file("text.pem", "hello");
        let locked = file("locked.pem", &pem.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY"));
        let garbage = file("garbage.pem", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
        let broken = file("broken.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
        let absent = directory.path().join("absent.pem");

        let network = Network::new(&Env::default()).expect("a network");
        network.identity(&certificate, &right).expect("an identity");
        let identity = network.identity(&both, &both).expect("an identity of one file");
        assert_eq!(format!("{identity:?}"), "Identity(1 certificates)");
        for (certificate, key, named, sentence) in [
            (&certificate, &other, &other, "is not the key of the certificate in"),
            (&certificate, &cut, &cut, "is not a PEM file"),
            (&certificate, &text, &text, "holds no private key in PEM form that can be read without a password"),
            (&certificate, &locked, &locked, "that can be read without a password"),
            (&certificate, &garbage, &garbage, "cannot be used"),
            (&certificate, &absent, &absent, "cannot read the private key in"),
            (&broken, &right, &broken, "cannot be used"),
            (&text, &right, &text, "holds no certificate in PEM form"),
            (&absent, &right, &absent, "cannot read the certificates in"),
        ] {
            let error = network.identity(certificate, key).expect_err("no identity");
            let message = format!("{} {error:?}", chain(&error));
            assert!(message.contains(sentence) && message.contains(&named.display().to_string()), "{message}");
            assert!(!message.contains(secret), "{message}");
        }
    }
}
