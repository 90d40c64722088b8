//! Asking a registry what an image runs: manifest first, authentication as it answers, every body bounded and verified.
//!
//! The protocol is <https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md>, with the token exchange of
//! <https://distribution.github.io/distribution/spec/auth/token/>.

mod ask;
mod challenge;
mod client;
mod error;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod limits;
pub mod node_files;
mod pinned;
mod place;
mod reach;
mod retry_after;
mod route;
mod routes;
mod session;
mod shelf;
mod token;
mod traced;
mod walk;

use std::path::PathBuf;
use std::time::Duration;

pub use self::challenge::Challenge;
pub use self::client::{fetch_image, fetch_image_telling};
pub use self::error::{Refusal, RegistryError, Retry, What};
pub use self::limits::Limits;
pub use self::place::PlaceError;
pub use self::reach::{Login, Reached, reach};
pub use self::route::{Api, ClientCertificate, Origin, Route, RouteTrust, Scheme};
pub use self::routes::{Places, Rules, routes, runner};
pub use self::shelf::{Shelf, shelf_name};
use crate::credential::Note;
use crate::http::Network;
use crate::image::{Agreement, Digest, ImageConfig, LeadsTo, PinnedBy, Platform, Reference, Running};
use crate::secrets::Secrets;
use crate::trace::Trace;

/// What the command line says about registries. Registries are written `host[:port]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// Extra certificate authorities: a registry (or a token service) and the path of a PEM file.
    pub certificates: Vec<(String, PathBuf)>,
    /// Certificates to show: a registry and the files.
    pub client_certificates: Vec<(String, ClientCertificate)>,
    /// Registries that may be spoken to over plain http, and be shown credentials over it.
    pub insecure: Vec<String>,
    /// Registries and token services whose certificate does not matter, each for itself alone.
    pub unverified: Vec<String>,
    /// How transient failures are borne.
    pub patience: Patience,
}

/// How transient failures (429, 5xx, a connection that breaks off) are borne within one lookup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patience {
    /// How often one request is made at most.
    pub tries: u32,
    /// The pause before the second try, if the server names none; each further pause is three times as long.
    pub first_pause: Duration,
    /// The sum of all pauses of a lookup. A pause that does not fit, also one that the server asks for, is not begun. What
    /// chance adds to one need not fit.
    pub budget: Duration,
    /// Any number, another one in other pods. It adds to every pause a part of at most a quarter; to one that the server asks
    /// for, of at most the pause that there would have been by itself, where that is more ([`crate::pause::not_before`]).
    pub chance: u32,
}

impl Default for Patience {
    fn default() -> Self {
        Self { tries: 3, first_pause: Duration::from_secs(1), budget: Duration::from_secs(10), chance: 0 }
    }
}

impl Patience {
    /// As often as by default, without any pause; a server that asks for a pause gets no second try.
    #[must_use]
    pub fn without_pauses() -> Self {
        Self { first_pause: Duration::ZERO, budget: Duration::ZERO, ..Self::default() }
    }
}

/// Where a lookup leaves what there is to tell, as it comes.
#[derive(Debug)]
pub struct Telling<'a> {
    /// What became of each credential, and what else there is to tell.
    pub story: &'a mut Vec<Note>,
    /// Every request.
    pub trace: &'a Trace,
    /// What was shown, and what no message may repeat.
    pub secrets: &'a Secrets,
}

/// What the environment decides about asking a place, for the story of a lookup that was given up: the proxy in between,
/// and what became of certificates that variables name.
#[must_use]
pub fn in_force(network: &Network, route: &Route) -> Vec<Note> {
    let proxy = route.root().and_then(|registry| network.proxy_in_force(&registry));
    proxy.into_iter().chain(network.roots_in_force().iter().cloned()).collect()
}

/// What is wanted of a registry, and what is known of it already.
#[derive(Debug, Clone, Copy)]
pub struct Aim<'a> {
    /// The image as it was asked for, whatever the place calls it.
    pub requested: &'a Reference,
    /// The platform whose image is meant.
    pub platform: &'a Platform,
    /// What the container runtime runs: that is wanted, wherever the reference leads by now.
    pub running: Option<&'a Running>,
    /// What was looked up before.
    pub shelf: Option<&'a Shelf>,
}

impl<'a> Aim<'a> {
    /// Whatever the reference leads to.
    #[must_use]
    pub fn at(requested: &'a Reference, platform: &'a Platform) -> Self {
        Self { requested, platform, running: None, shelf: None }
    }
}

/// What a registry said about an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedImage {
    /// What the image runs.
    pub config: ImageConfig,
    /// The digest of the index that the image was chosen from, if it was.
    pub index_digest: Option<Digest>,
    /// The digest of the image's manifest; none where only its config was asked for, which was known to run.
    pub manifest_digest: Option<Digest>,
    /// The digest of its config document.
    pub config_digest: Digest,
    /// The platform that the image is for.
    pub platform: Platform,
    /// Where the reference leads now; none if that is not known.
    pub leads_to: Option<LeadsTo>,
    /// Whether the runtime runs what the reference leads to.
    pub agreement: Agreement,
    /// Who said which image it is.
    pub pinned_by: PinnedBy,
    /// Why it is not the image that the runtime runs, where that was wanted.
    pub not_followed: Option<NotFollowed>,
    /// Whether its config was on the shelf.
    pub from_shelf: bool,
    /// The source of the credential that the registry accepted; `None` when none was needed.
    pub credential: Option<String>,
    /// What became of each credential, and what else there is to tell.
    pub notes: Vec<Note>,
}

/// Why an image is not the one that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotFollowed {
    /// The reason, as a sentence.
    pub reason: String,
    /// Whether asking again may help.
    pub retryable: bool,
    /// The pause that the registry asks for.
    pub retry_after: Option<Duration>,
}

/// Why a registry said nothing of use about an image.
#[derive(Debug)]
pub struct FetchFailure {
    /// The reason.
    pub error: RegistryError,
    /// What became of each credential, and what else there is to tell.
    pub notes: Vec<Note>,
}
