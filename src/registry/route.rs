//! One place where an image may be asked for, and how that place is spoken to.

use std::fmt;
use std::path::PathBuf;

use reqwest::Url;

use super::Settings;
use crate::image::Reference;

/// One place where an image may be asked for. An image has several where registries are mapped or have mirrors: they are
/// asked in order, and the first that has the image is believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The image as this place names it: what credentials, certificates and the settings of registries are chosen for.
    pub reference: Reference,
    /// How its API is reached.
    pub api: Api,
    /// Whom to believe there, besides whom the command line names.
    pub trust: RouteTrust,
    /// Whether the pod's credentials are for this place too. Nobody else's choice of a place makes it one that is shown
    /// anything.
    pub credentials: bool,
    /// Why it is asked.
    pub origin: Origin,
}

/// How a registry's API is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Api {
    /// Over what.
    pub scheme: Scheme,
    /// The path of the API, which `v2` is by the specification; without slashes at its ends.
    pub path: String,
    /// Whose images a mirror is asked for: the parameter `ns` of containerd's mirrors.
    pub namespace: Option<String>,
}

/// Over what a registry is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// https; plain http where that is allowed and https is certainly not spoken.
    Usual,
    /// https and nothing else.
    Https,
    /// Plain http, because somebody wrote `http://`.
    Http,
    /// https; plain http where https is certainly not spoken, because somebody wrote that either will do.
    Either,
}

/// Whom to believe at one place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RouteTrust {
    /// PEM files of further authorities.
    pub certificates: Vec<PathBuf>,
    /// The certificate to show, and its key.
    pub client: Option<ClientCertificate>,
    /// Whether any certificate will do.
    pub unverified: bool,
}

/// A certificate that is shown to a registry, and its key. Both are PEM files, and may be the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The certificate, with the chain behind it.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// Why a place is asked. Shown, it goes behind the name of the place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// It is the one that the reference names.
    Reference,
    /// `-image_registry_map`.
    Map,
    /// `-image_registry_mirror`.
    Mirror,
    /// The variables of the runner's container hooks; the first of them.
    Runner(&'static str),
    /// A file of `-image_registry_config`.
    File(PathBuf),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reference => f.write_str("the image's own registry"),
            Self::Map => f.write_str("-image_registry_map"),
            Self::Mirror => f.write_str("-image_registry_mirror"),
            Self::Runner(variable) => f.write_str(variable),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

impl Default for Api {
    fn default() -> Self {
        Self { scheme: Scheme::Usual, path: "v2".to_owned(), namespace: None }
    }
}

impl Route {
    /// The place that the reference itself names.
    #[must_use]
    pub fn direct(reference: Reference) -> Self {
        let (api, trust) = (Api::default(), RouteTrust::default());
        Self { reference, api, trust, credentials: true, origin: Origin::Reference }
    }

    /// The settings for this place: those of the command line, and what is its own.
    #[must_use]
    pub fn settings(&self, common: &Settings) -> Settings {
        let mut settings = common.clone();
        let registry = || self.reference.registry().to_owned();
        settings.certificates.extend(self.trust.certificates.iter().map(|path| (registry(), path.clone())));
        settings.client_certificates.extend(self.trust.client.iter().map(|own| (registry(), own.clone())));
        if self.trust.unverified {
            settings.unverified.push(registry());
        }
        if matches!(self.api.scheme, Scheme::Http | Scheme::Either) {
            settings.insecure.push(registry());
        }
        settings
    }

    /// The root of the registry by its own scheme.
    pub(super) fn root(&self) -> Option<Url> {
        let scheme = match self.api.scheme {
            Scheme::Usual | Scheme::Https | Scheme::Either => "https",
            Scheme::Http => "http",
        };
        Url::parse(&format!("{scheme}://{}/", self.reference.registry())).ok().filter(Url::has_host)
    }
}
