//! A Docker daemon as somebody who knows images: what it has may never have been pushed anywhere.
//!
//! The Engine's API over a socket of this machine, plain http or TLS, found by the variables of Docker's own tools.
//! podman's service speaks it too. <https://docs.docker.com/reference/api/engine/>

mod address;
mod client;
mod error;
mod inspect;
mod version;

use std::time::Duration;

use self::address::Address;
pub use self::address::AddressError;
use self::client::Client;
pub use self::error::DaemonError;
pub use self::inspect::{Image, InspectError};
use crate::host::Env;
use crate::http::Network;
use crate::image::{Platform, Reference};
use crate::note::Note;
use crate::trace::Trace;

/// Bounds a connection with its TLS handshake.
const CONNECT: Duration = Duration::from_secs(5);
/// Bounds everything that one question to a daemon takes.
pub const LIMIT: Duration = Duration::from_secs(10);

/// The daemon that the environment names, as `DOCKER_HOST` has it: for messages.
///
/// # Errors
///
/// [`AddressError`], when it names none.
pub fn address(env: &Env) -> Result<String, AddressError> {
    Address::from_env(env).map(|address| address.to_string())
}

/// Whether the daemon that the environment names is there and answers, within [`LIMIT`].
///
/// # Errors
///
/// [`DaemonError`], why it is not known to be there.
pub async fn ping(network: &Network, env: &Env, trace: &Trace) -> Result<(), DaemonError> {
    let client = Client::new(network, env, trace)?;
    client.in_time(LIMIT, client.ping()).await.map(drop)
}

/// Asks the daemon that the environment names what an image runs, within `limit` and [`LIMIT`].
///
/// # Errors
///
/// [`DaemonError`], why it did not tell.
pub async fn inspect(
    network: &Network,
    env: &Env,
    reference: &Reference,
    platform: &Platform,
    limit: Duration,
    trace: &Trace,
) -> Result<Image, DaemonError> {
    let client = Client::new(network, env, trace)?;
    client.in_time(limit.min(LIMIT), client.inspect(reference, platform)).await
}

/// What of the environment is not looked at, though somebody may think so.
#[must_use]
pub fn not_looked_at(env: &Env) -> Option<Note> {
    let set = |name| env.get(name).is_some_and(|value| !value.is_empty());
    (set("CONTAINER_HOST") && !set("DOCKER_HOST"))
        .then(|| Note::new("CONTAINER_HOST", "not looked at: DOCKER_HOST names the daemon, podman's service too"))
}
