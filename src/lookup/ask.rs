//! The lookup child's work: gather the pod's credentials, ask the registry, tell the story.

use std::time::Duration;

use super::document::{Failure, Found};
use crate::authn;
use crate::credential::{Credential, Note};
use crate::host::Env;
use crate::http::Network;
use crate::image::platform::{self, Platform};
use crate::image::reference::Reference;
use crate::image::shown;
use crate::registry::{self, Patience, Settings};
use crate::spec::LookupSpec;
use crate::sys::cause::chain;

/// What is left of the attempt's time for the supervisor's own deadline: the child should be the one to say what it was
/// waiting for.
const MARGIN: Duration = Duration::from_millis(250);

/// Asks the image's registry what the image would run.
pub(super) fn ask(spec: &LookupSpec, env: &Env) -> Result<Found, Failure> {
    let failure = |reason: String| Failure::of(&spec.image, reason);
    let reference: Reference = spec.image.parse().map_err(|error| failure(chain(&error)))?;
    let network = Network::new(env).map_err(|error| failure(chain(&error)))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| failure(format!("the asynchronous runtime cannot be started: {error}")))?;
    let mut notes = Vec::new();
    let asked = runtime.block_on(async {
        let limit = spec.timeout.saturating_sub(MARGIN.min(spec.timeout / 4));
        tokio::time::timeout(limit, ask_registry(spec, env, &network, &reference, &mut notes)).await
    });
    match asked {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(reason)) => Err(Failure { notes, ..failure(reason) }),
        Err(_) => Err(Failure {
            notes,
            ..failure(format!(
                "no answer from {} within {:?} (-image_lookup_timeout)",
                reference.registry(),
                spec.timeout
            ))
        }),
    }
}

/// The lookup itself. Notes are left behind as they come, so that they are there when the time is up.
async fn ask_registry(
    spec: &LookupSpec,
    env: &Env,
    network: &Network,
    reference: &Reference,
    notes: &mut Vec<Note>,
) -> Result<Found, String> {
    let credentials = gather(spec, env, network, reference, notes).await;
    let settings = Settings {
        certificates: spec.certificates.clone(),
        insecure: spec.insecure.clone(),
        patience: Patience::default(),
    };
    match registry::fetch_image(network, &settings, reference, &Platform::host(), &credentials).await {
        Ok(image) => {
            notes.extend(image.notes);
            Ok(Found {
                image: reference.to_string(),
                entrypoint: image.config.entrypoint,
                cmd: image.config.cmd,
                index_digest: image.index_digest.map(|digest| digest.to_string()),
                manifest_digest: image.manifest_digest.to_string(),
                config_digest: image.config_digest.to_string(),
                platform: shown(&image.platform.to_string(), platform::SHOWN),
                credential: image.credential,
                notes: std::mem::take(notes),
            })
        }
        Err(failure) => {
            notes.extend(failure.notes);
            Err(chain(&failure.error))
        }
    }
}

/// Every credential that the pod has for this image, in the order in which they are tried.
async fn gather(
    spec: &LookupSpec,
    env: &Env,
    network: &Network,
    reference: &Reference,
    notes: &mut Vec<Note>,
) -> Vec<Credential> {
    let (registry, repository) = (reference.registry(), reference.repository());
    let mut found = authn::Found::default();
    #[cfg(feature = "kube")]
    {
        let read = crate::kube::pull_secrets(
            network,
            env,
            &spec.service_account_dir,
            spec.namespace.as_deref(),
            spec.service_account.as_deref(),
            crate::kube::CALL_DEADLINE,
        )
        .await;
        notes.extend(read.notes);
        found.merge(authn::pull_secrets::credentials(&read.secrets, registry, repository));
    }
    #[cfg(not(feature = "kube"))]
    let _ = (spec, network);
    found.merge(authn::docker_config::credentials(env, registry, repository));
    notes.extend(found.notes);
    found.credentials
}
