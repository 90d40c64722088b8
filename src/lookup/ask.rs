//! The lookup child's work: what is to be asked for, within which time, and the story of it.

use std::time::Duration;

use tokio::time::Instant;

use super::document::{Failure, Found, Wanted};
use super::{When, pin, sources};
use crate::host::Host;
use crate::http::Network;
use crate::image::platform::Platform;
use crate::image::reference::Reference;
use crate::secrets::Secrets;
use crate::spec::LookupSpec;
use crate::sys::cause::chain;
use crate::trace::Trace;

/// What is left of the attempt's time for the supervisor's own deadline: the child should be the one to say what it was
/// waiting for.
const MARGIN: Duration = Duration::from_millis(250);

/// Asks what the image would run, and tells every request that was made for it.
///
/// An answer that is `held` was found before kubelet said what runs: then that is asked first, and everything else only if
/// something else runs.
pub(super) fn ask(spec: &LookupSpec, host: &Host, when: When, held: Option<&Found>) -> Result<Found, Failure> {
    let (trace, secrets) = (Trace::default(), Secrets::default());
    let asked = ask_in_time(spec, host, when, held, &trace, &secrets);
    let requests = trace.requests();
    // Last: whoever was asked may repeat what somebody else was shown.
    match asked {
        Ok(found) => Ok(Found { requests: found.requests.clone().and(requests), ..found }.without(&secrets)),
        Err(failure) => Err(Failure { requests: Box::new(requests), ..failure }.without(&secrets)),
    }
}

fn ask_in_time(
    spec: &LookupSpec,
    host: &Host,
    when: When,
    held: Option<&Found>,
    trace: &Trace,
    secrets: &Secrets,
) -> Result<Found, Failure> {
    let failure = |reason: String| Failure::of(&spec.image, reason);
    let reference: Reference = spec.image.parse().map_err(|error| failure(chain(&error)))?;
    let platform = spec.platform.as_deref().map_or_else(|| Ok(Platform::host()), str::parse);
    let platform = platform.map_err(|error| failure(chain(&error)))?;
    let asked_for = |failure| {
        let wanted = Wanted { image: reference.to_string(), platform: platform.to_string() };
        Failure { wanted: Some(Box::new(wanted)), ..failure }
    };
    let network = Network::new(&host.env).map_err(|error| asked_for(failure(chain(&error))))?;
    for (user, password) in network.proxies().users() {
        secrets.keep_pair(&user, password.expose());
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| asked_for(failure(format!("the asynchronous runtime cannot be started: {error}"))))?;
    let until = Instant::now() + spec.timeout.saturating_sub(MARGIN.min(spec.timeout / 4));
    let (network, reference, wanted) = (&network, &reference, &platform);
    let attempt = Attempt { spec, host, when, network, reference, wanted, trace, secrets, until };
    runtime.block_on(attempt.ask(held)).map_err(asked_for)
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
    /// What is shown to anybody, or told by anybody, for this attempt.
    pub(super) secrets: &'a Secrets,
    /// When the attempt is over.
    pub(super) until: Instant,
}

impl Attempt<'_> {
    /// Asks for the image; first for what runs, if that alone was not known.
    async fn ask(self, held: Option<&Found>) -> Result<Found, Failure> {
        let Some(held) = held else { return sources::ask(self, None).await };
        let mut word = self.read_word().await;
        if self.is_strict() && self.when == When::Turn {
            word = self.awaited_word(word).await;
        }
        if word.running().is_some_and(|running| running.identity.is_some()) {
            return match pin::confirmed(held, &word) {
                Some(found) => Ok(found),
                None => sources::ask(self, Some(word)).await,
            };
        }
        match pin::strict_refusal(&word) {
            Some((reason, retryable)) if self.is_strict() && (!retryable || self.when == When::Turn) => {
                let reason = self.waited(&reason, retryable);
                Err(Failure { retryable, runtime: Box::new(word), ..Failure::of(&self.spec.image, reason) })
            }
            // It may come yet, or will never come: then there is nothing better than this.
            Some(_) | None => Ok(held.clone().beside(word)),
        }
    }

    /// What is left of the attempt.
    pub(super) fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }
}
