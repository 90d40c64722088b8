//! The lookup child's work: gather the pod's credentials, ask the registry, tell the story.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::document::{Failure, Found, Wanted};
use super::{When, sources};
use crate::authn;
use crate::authn::chain::Chain;
use crate::authn::cloud::{Identities, Limits, Setting};
use crate::authn::helpers::Helpers;
use crate::cloud::CloudRegistry;
use crate::credential::{Credential, Note};
use crate::host::Host;
use crate::http::Network;
use crate::image::platform::{self, Platform};
use crate::image::reference::Reference;
use crate::image::shown;
use crate::registry::{self, Patience, Retry, Route, Settings};
use crate::spec::LookupSpec;
use crate::sys::cause::chain;
use crate::trace::{Requests, Trace};

/// What is left of the attempt's time for the supervisor's own deadline: the child should be the one to say what it was
/// waiting for.
const MARGIN: Duration = Duration::from_millis(250);

/// Asks the image's registry what the image would run, and tells every request that was made for it.
pub(super) fn ask(spec: &LookupSpec, host: &Host, when: When) -> Result<Found, Failure> {
    let trace = Trace::default();
    let asked = ask_in_time(spec, host, when, &trace);
    let requests = trace.requests();
    match asked {
        Ok(found) => Ok(Found { requests, ..found }),
        Err(failure) => Err(Failure { requests, ..failure }),
    }
}

fn ask_in_time(spec: &LookupSpec, host: &Host, when: When, trace: &Trace) -> Result<Found, Failure> {
    let failure = |reason: String| Failure::of(&spec.image, reason);
    let reference: Reference = spec.image.parse().map_err(|error| failure(chain(&error)))?;
    let platform = spec.platform.as_deref().map_or_else(|| Ok(Platform::host()), str::parse);
    let platform = platform.map_err(|error| failure(chain(&error)))?;
    let asked_for = |failure| {
        let wanted = Wanted { image: reference.to_string(), platform: platform.to_string() };
        Failure { wanted: Some(Box::new(wanted)), ..failure }
    };
    let network = Network::new(&host.env).map_err(|error| asked_for(failure(chain(&error))))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| asked_for(failure(format!("the asynchronous runtime cannot be started: {error}"))))?;
    let until = Instant::now() + spec.timeout.saturating_sub(MARGIN.min(spec.timeout / 4));
    let (network, reference, wanted) = (&network, &reference, &platform);
    let attempt = Attempt { spec, host, when, network, reference, wanted, trace, until };
    runtime.block_on(sources::ask(attempt)).map_err(asked_for)
}

/// What one attempt goes by.
#[derive(Clone, Copy)]
pub(super) struct Attempt<'a> {
    pub(super) spec: &'a LookupSpec,
    pub(super) host: &'a Host,
    pub(super) when: When,
    pub(super) network: &'a Network,
    /// The image.
    pub(super) reference: &'a Reference,
    /// The platform whose image is meant.
    pub(super) wanted: &'a Platform,
    pub(super) trace: &'a Trace,
    /// When the attempt is over.
    pub(super) until: Instant,
}

/// The credentials of a pod for an image, in the order in which they are tried.
struct Gathered {
    credentials: Vec<Credential>,
    /// Whether everything that is named could be read: what is not there now may be there later.
    complete: bool,
}

impl Attempt<'_> {
    /// Asks the registry, in time.
    pub(super) async fn ask_registry_in_time(self) -> Result<Found, Failure> {
        let mut notes = Vec::new();
        let asked = tokio::time::timeout_at(self.until, self.ask_registry(&mut notes)).await;
        asked.unwrap_or_else(|_| {
            let (registry, limit) = (self.reference.registry(), self.spec.timeout);
            let reason = format!("no answer from {registry} within {limit:?} (-image_lookup_timeout)");
            notes.extend(registry::in_force(self.network, self.reference));
            Err(Failure { retryable: true, notes, ..Failure::of(&self.spec.image, reason) })
        })
    }

    /// The lookup itself. Notes are left behind as they come, so that they are there when the time is up.
    async fn ask_registry(self, notes: &mut Vec<Note>) -> Result<Found, Failure> {
        let Self { spec, host, network, reference, wanted, trace, .. } = self;
        let gathered = self.gather(notes).await;
        let setting = Setting {
            env: &host.env,
            network,
            certificates: &spec.certificates,
            unverified: &spec.unverified,
            limits: Limits::default(),
            now: SystemTime::now(),
            trace,
        };
        let (mut identities, left_out) = Identities::of(&setting, reference.registry(), &spec.clouds);
        notes.extend(left_out);
        let settings = Settings {
            certificates: spec.certificates.clone(),
            client_certificates: Vec::new(),
            insecure: spec.insecure.clone(),
            unverified: spec.unverified.clone(),
            patience: Patience::default(),
        };
        let keychain = Chain::new(gathered.credentials, identities.as_mut());
        let route = Route::direct(reference.clone());
        match registry::fetch_image_telling(network, &settings, &route, wanted, keychain, notes, trace).await {
            Ok(image) => Ok(Found {
                image: reference.to_string(),
                daemon: None,
                entrypoint: image.config.entrypoint,
                cmd: image.config.cmd,
                index_digest: image.index_digest.map(|digest| digest.to_string()),
                manifest_digest: Some(image.manifest_digest.to_string()),
                config_digest: Some(image.config_digest.to_string()),
                repository_digest: None,
                platform: shown(&image.platform.to_string(), platform::SHOWN),
                wanted: wanted.to_string(),
                credential: image.credential,
                notes: std::mem::take(notes),
                requests: Requests::default(),
            }),
            Err(error) => {
                let retryable = match error.retry() {
                    Retry::Useless => false,
                    Retry::WithMoreCredentials => {
                        !gathered.complete || identities.as_ref().is_some_and(Identities::may_pass)
                    }
                    Retry::Worthwhile => true,
                };
                let mut reason = chain(&error);
                if let registry::RegistryError::NoCredential { .. } = error {
                    reason.push_str(match CloudRegistry::of(reference.registry()) {
                        Some(_) => {
                            "; give the pod an identity that may read it, or the service account a pull secret for it"
                        }
                        None => "; give the service account a pull secret for it, or name one with -image_pull_secrets",
                    });
                }
                Err(Failure { retryable, notes: std::mem::take(notes), ..Failure::of(&spec.image, reason) })
            }
        }
    }

    /// Asks every source that a pod has for credentials.
    async fn gather(self, notes: &mut Vec<Note>) -> Gathered {
        let Self { spec, host, when, network, reference, trace, .. } = self;
        let env = &host.env;
        let (registry, repository) = (reference.registry(), reference.repository());
        let mut found = authn::Found::default();
        #[cfg(feature = "kube")]
        let complete = {
            let wanted = crate::kube::Wanted {
                dir: &spec.service_account_dir,
                namespace: spec.namespace.as_deref(),
                service_account: spec.service_account.as_deref(),
                pull_secrets: &spec.pull_secrets,
                call_deadline: crate::kube::CALL_DEADLINE,
            };
            // However many secrets are named: the registry must have its share of the attempt.
            let limit = spec.timeout / 2;
            let read = tokio::time::timeout(limit, crate::kube::pull_secrets(network, env, &wanted, trace)).await;
            let read = read.unwrap_or_else(|_| crate::kube::PullSecrets {
                secrets: Vec::new(),
                notes: vec![Note::new(
                    "Kubernetes API",
                    format!("the pull secrets were not all read within {limit:?}"),
                )],
                complete: false,
            });
            notes.extend(read.notes);
            found.merge(authn::pull_secrets::credentials(&read.secrets, registry, repository));
            read.complete
        };
        #[cfg(not(feature = "kube"))]
        let complete = {
            let _ = (network, trace);
            if !spec.pull_secrets.is_empty() {
                let secrets = format!("pull secrets {} of -image_pull_secrets", spec.pull_secrets.join(", "));
                notes.push(Note::new(secrets, "not read: this entrypoint was built without the feature kube"));
            }
            true
        };
        found.merge(authn::mounted::credentials(&host.dirs.creds_secrets, &spec.mounted, registry, repository));
        // A helper may take longer than the attempt has left.
        notes.append(&mut found.notes);
        let helpers = Helpers::in_attempt(spec.exec_helpers, when == When::Turn, env);
        found.merge(authn::config_files::credentials(env, &helpers, registry, repository).await);
        notes.extend(found.notes);
        Gathered { credentials: found.credentials, complete: complete && !found.deferred }
    }
}
