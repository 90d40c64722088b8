//! The child's work: all endpoints at once, each tried until it answers or the time is up.

use std::io;
use std::os::fd::AsFd;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::document::{Failure, Missing};
use super::knock;
use crate::host::Env;
use crate::log;
use crate::pause::{self, Pauses};
use crate::quote::OneLine;
use crate::spec::{Endpoint, EndpointsSpec};
use crate::sys::cause::Cause;
use crate::sys::poll;

/// Between two tries of an endpoint: steps that wait for one daemon do not ask it all at once.
const PAUSES: Pauses = Pauses { shortest: Duration::from_millis(250), longest: Duration::from_secs(5) };
/// Bounds one try. It is more than a name, a connection or a daemon's answer may take by itself, so that their own words are told.
const TRY: Duration = Duration::from_secs(12);
/// How long an endpoint may take before the log tells what is waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// The longest that a wait can be: clocks do not reach further than some centuries.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// The longest reason, in bytes: a line of the log with it is still written at once.
const REASON: usize = 1024;

/// Waits for all of them.
pub(super) fn wait(spec: &EndpointsSpec, env: &Env) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| {
        Failure::of(&spec.endpoints, format!("the asynchronous runtime cannot be started: {}", Cause(&error)))
    })?;
    let missing = runtime.block_on(everything(spec, env))?;
    if missing.is_empty() { Ok(()) } else { Err(Failure::Late { missing, limit: spec.timeout }) }
}

/// What has not answered when the time is up, in the order of the command line. What will never answer ends it at once.
async fn everything(spec: &EndpointsSpec, env: &Env) -> Result<Vec<Missing>, Failure> {
    let env = Arc::new(env.clone());
    let deadline = Instant::now() + spec.timeout.min(LONGEST);
    let mut asked = JoinSet::new();
    for (index, endpoint) in spec.endpoints.iter().cloned().enumerate() {
        let env = Arc::clone(&env);
        asked.spawn(async move { (index, until_it_answers(&endpoint, &env, deadline).await) });
    }
    let mut missing = Vec::new();
    while let Some(ended) = asked.join_next().await {
        match ended {
            Ok((_, End::Answered)) => {}
            Ok((index, End::Late(late))) => missing.push((index, late)),
            Ok((index, End::Never(reason))) => return Err(Failure::of(spec.endpoints.get(index), reason)),
            // A defect of ours: the child has no answer then, and the parent says so.
            Err(error) => std::panic::resume_unwind(Box::new(error.to_string())),
        }
    }
    missing.sort_by_key(|(index, _)| *index);
    Ok(missing.into_iter().map(|(_, late)| late).collect())
}

/// How the asking of one endpoint ends.
enum End {
    Answered,
    /// The time was up.
    Late(Missing),
    /// No time will mend it.
    Never(String),
}

/// Tries one endpoint until it answers.
async fn until_it_answers(endpoint: &Endpoint, env: &Env, deadline: Instant) -> End {
    let last = Last::default();
    let mut telling = JoinSet::new();
    telling.spawn(tell(endpoint.to_string(), last.clone()));
    let mut tries = 0_u32;
    loop {
        tries = tries.saturating_add(1);
        let knock = pin!(knock::once(endpoint, env));
        match timeout_at(deadline.min(Instant::now() + TRY), knock).await {
            Ok(Ok(())) => return End::Answered,
            Ok(Err(refusal)) if refusal.may_pass => last.set(&refusal.reason),
            Ok(Err(refusal)) => return End::Never(one_line(&refusal.reason)),
            // What the deadline has cut short says less than the try before it.
            Err(_) if Instant::now() >= deadline && last.get().is_some() => {}
            Err(_) => last.set(&knock::silence(endpoint, env)),
        }
        let pause = PAUSES.behind(tries.saturating_sub(1), pause::some_number());
        sleep_until(deadline.min(Instant::now() + pause)).await;
        if Instant::now() >= deadline {
            let reason = last.get().unwrap_or_default();
            return End::Late(Missing { endpoint: endpoint.to_string(), reason, tries });
        }
    }
}

/// Tells, once, what is waited for: to somebody who reads, for a log that nobody reads would keep us from asking.
async fn tell(endpoint: String, last: Last) {
    loop {
        sleep(PATIENCE).await;
        if poll::is_writable(io::stderr().as_fd()) {
            let reason = last.get().unwrap_or_else(|| "no answer so far".to_owned());
            log::info(format_args!("waiting for {endpoint}: {reason}"));
            return;
        }
    }
}

/// What came of the last try.
#[derive(Debug, Clone, Default)]
struct Last(Arc<Mutex<Option<String>>>);

impl Last {
    /// Keeps a reason, which others had a hand in.
    fn set(&self, reason: &str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(one_line(reason));
    }

    fn get(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A reason as a part of one line, not too long a one.
fn one_line(reason: &str) -> String {
    let mut reason = OneLine(reason.to_owned()).to_string();
    reason.truncate(reason.floor_char_boundary(REASON));
    reason
}
