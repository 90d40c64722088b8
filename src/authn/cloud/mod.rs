//! The pod's own identity in the cloud that owns a registry: one source after the other, each with its own limits.
//!
//! Nobody is asked before the registry has refused everything else, and no cloud is asked for a host that is not its own.
#![cfg_attr(
    not(all(feature = "gcr", feature = "ecr", feature = "acr")),
    allow(dead_code, unused_imports, unused_variables, reason = "each cloud uses a part of this")
)]

mod http;
mod limits;

use std::collections::VecDeque;
use std::fmt;
use std::time::SystemTime;

pub(crate) use self::http::{Answer, CloudHttp, CloudHttpError, Question, host_and_port, is_metadata};
pub use self::limits::Limits;
pub(crate) use self::limits::{Hung, within};
#[cfg(feature = "ecr")]
use super::amazon;
#[cfg(feature = "acr")]
use super::azure;
#[cfg(feature = "gcr")]
use super::google;
use crate::cloud::{Cloud, CloudRegistry};
use crate::credential::{Credential, Keychain, Note};
use crate::host::Env;
use crate::http::Network;
use crate::secrets::Secrets;
use crate::trace::Trace;

/// What identities are looked for with.
#[derive(Debug, Clone)]
pub struct Setting<'a> {
    /// The environment, which has the identity's variables.
    pub env: &'a Env,
    /// What all clients share.
    pub network: &'a Network,
    /// Extra certificate authorities: a registry and the path of a PEM file.
    pub certificates: &'a [(String, std::path::PathBuf)],
    /// Registries that are believed whatever certificate they show.
    pub unverified: &'a [String],
    /// The time limits.
    pub limits: Limits,
    /// What time it is.
    pub now: SystemTime,
    /// Where requests are noted.
    pub trace: &'a Trace,
    /// What no message may repeat.
    pub secrets: &'a Secrets,
}

/// What every source of an identity is given.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    /// The environment.
    pub(crate) env: &'a Env,
    /// How anybody is asked.
    pub(crate) http: CloudHttp,
    /// The time limits.
    pub(crate) limits: Limits,
    /// What time it is.
    pub(crate) now: SystemTime,
    /// The registry's host, as the reference has it.
    pub(crate) registry: String,
}

/// One identity of a pod. Shown, it is the source of a note.
enum Source {
    #[cfg(feature = "gcr")]
    Google(google::Source),
    #[cfg(feature = "ecr")]
    Amazon(amazon::Source),
    #[cfg(feature = "acr")]
    Azure(azure::Source),
}

/// Why a source has no credential.
#[derive(Debug, thiserror::Error)]
enum SourceError {
    #[cfg(feature = "gcr")]
    #[error(transparent)]
    Google(#[from] google::GoogleError),
    #[cfg(feature = "ecr")]
    #[error(transparent)]
    Amazon(#[from] amazon::AmazonError),
    #[cfg(feature = "acr")]
    #[error(transparent)]
    Azure(#[from] azure::AzureError),
}

/// The identities of a pod for one registry, asked one after the other.
pub struct Identities<'a> {
    context: Context<'a>,
    left: VecDeque<Source>,
    /// What a source had besides the credential that was given out.
    ready: VecDeque<Credential>,
    passing: bool,
}

impl<'a> Identities<'a> {
    /// The identities that a pod may have for a registry, if it is one of a cloud's: `clouds` are those that may be
    /// asked. Nobody is asked yet. A note says what was left out.
    #[must_use]
    pub fn of(setting: &Setting<'a>, registry: &str, clouds: &[Cloud]) -> (Option<Self>, Option<Note>) {
        let Some(owned) = CloudRegistry::of(registry) else { return (None, None) };
        let cloud = owned.cloud();
        let left_out = |why: String| (None, Some(Note::new(format!("{cloud} identity"), why)));
        if !cloud.is_built() {
            return left_out(format!("not asked: this entrypoint was built without the feature {}", cloud.feature()));
        }
        if !clouds.contains(&cloud) {
            return left_out(format!("not asked: -image_credential_helpers does not name {}", cloud.word()));
        }
        let context = Context {
            env: setting.env,
            http: CloudHttp::new(setting, registry),
            limits: setting.limits.clone(),
            now: setting.now,
            registry: registry.to_owned(),
        };
        let left = sources(&owned, &context);
        (Some(Self { context, left, ready: VecDeque::new(), passing: false }), None)
    }

    /// The next credential, once somebody has one. What became of a source that has none goes into `story`.
    pub async fn next(&mut self, story: &mut Vec<Note>) -> Option<Credential> {
        if let Some(ready) = self.ready.pop_front() {
            return Some(ready);
        }
        while let Some(source) = self.left.pop_front() {
            match source.credentials(&self.context).await {
                Ok(credentials) => {
                    self.ready = credentials.into();
                    if let Some(credential) = self.ready.pop_front() {
                        return Some(credential);
                    }
                }
                Err(error) => {
                    self.passing |= error.is_passing();
                    let Note { source, outcome } = Note::failed(source.to_string(), &error);
                    story.push(Note { source: self.without_secrets(source), outcome: self.without_secrets(outcome) });
                }
            }
        }
        None
    }

    /// What others say, without the secrets that the cloud's services were shown.
    #[must_use]
    pub fn without_secrets(&self, text: String) -> String {
        self.context.http.without_secrets(text)
    }

    /// Whether a source failed in a way that may pass: another attempt may find more.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        self.passing
    }
}

impl Keychain for Identities<'_> {
    async fn next_credential(&mut self, story: &mut Vec<Note>) -> Option<Credential> {
        self.next(story).await
    }
}

/// The sources of the cloud, those injected into the environment before any metadata server.
fn sources(owned: &CloudRegistry, context: &Context<'_>) -> VecDeque<Source> {
    match owned {
        #[cfg(feature = "gcr")]
        CloudRegistry::Google => google::sources(context.env).into_iter().map(Source::Google).collect(),
        #[cfg(feature = "ecr")]
        CloudRegistry::Amazon(registry) => {
            amazon::sources(context.env, registry).into_iter().map(Source::Amazon).collect()
        }
        #[cfg(feature = "acr")]
        CloudRegistry::Azure => azure::sources(context.env).into_iter().map(Source::Azure).collect(),
        #[cfg(not(all(feature = "gcr", feature = "ecr", feature = "acr")))]
        _ => {
            let _ = context;
            VecDeque::new()
        }
    }
}

impl Source {
    /// Asks. The credentials are in the order in which they are to be tried; the first is what the source is about.
    async fn credentials(&self, context: &Context<'_>) -> Result<Vec<Credential>, SourceError> {
        match *self {
            #[cfg(feature = "gcr")]
            Self::Google(ref source) => Ok(source.credentials(context).await?),
            #[cfg(feature = "ecr")]
            Self::Amazon(ref source) => Ok(source.credentials(context).await?),
            #[cfg(feature = "acr")]
            Self::Azure(ref source) => Ok(source.credentials(context).await?),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            #[cfg(feature = "gcr")]
            Self::Google(ref source) => source.fmt(f),
            #[cfg(feature = "ecr")]
            Self::Amazon(ref source) => source.fmt(f),
            #[cfg(feature = "acr")]
            Self::Azure(ref source) => source.fmt(f),
        }
    }
}

impl SourceError {
    /// Whether time may mend it.
    fn is_passing(&self) -> bool {
        match *self {
            #[cfg(feature = "gcr")]
            Self::Google(ref error) => error.is_passing(),
            #[cfg(feature = "ecr")]
            Self::Amazon(ref error) => error.is_passing(),
            #[cfg(feature = "acr")]
            Self::Azure(ref error) => error.is_passing(),
        }
    }
}
