//! How long a cloud's services may take: short, because the attempt has other sources to ask.

use std::time::Duration;

/// The limits of one source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// A connection to a metadata server.
    pub connect: Duration,
    /// A metadata server in all.
    pub metadata: Duration,
    /// A metadata server that may just be starting, as GKE's does in a pod's first seconds.
    pub start_up: Duration,
    /// A cloud's token service or API.
    pub service: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(1),
            metadata: Duration::from_secs(3),
            start_up: Duration::from_secs(10),
            service: Duration::from_secs(5),
        }
    }
}

/// Nobody answered within a limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no answer from {whom} within {limit:?}")]
pub(crate) struct Hung {
    /// Who was asked.
    pub(crate) whom: String,
    /// The limit.
    pub(crate) limit: Duration,
}

/// Waits for an answer, but no longer than the limit.
pub(crate) async fn within<T>(limit: Duration, whom: &str, answer: impl Future<Output = T>) -> Result<T, Hung> {
    tokio::time::timeout(limit, answer).await.map_err(|_| Hung { whom: whom.to_owned(), limit })
}
