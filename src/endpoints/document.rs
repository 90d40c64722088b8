//! The one document that the child of the endpoints writes to its pipe, and the sentence of a failure.

use std::fmt;
use std::io::Write;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::image::JsonError;
use crate::spec::Endpoint;

/// Why not everything has answered. Shown, it is one sentence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Failure {
    /// The time was up.
    Late {
        /// What had not answered by then; at least one.
        missing: Vec<Missing>,
        /// How long that was.
        limit: Duration,
    },
    /// Nothing could be asked, or it is not known what came of it.
    Broken {
        /// What was to be waited for.
        endpoints: String,
        /// Why.
        reason: String,
    },
}

/// An endpoint that has not answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// As the command line has it.
    pub endpoint: String,
    /// What came of the last try.
    pub reason: String,
    /// How often it was tried.
    pub tries: u32,
}

impl Failure {
    /// A failure without an answer.
    #[must_use]
    pub(super) fn of<'a>(endpoints: impl IntoIterator<Item = &'a Endpoint>, reason: String) -> Self {
        Self::Broken { endpoints: names(endpoints), reason }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken { endpoints, reason } => write!(f, "cannot wait for {endpoints} (-wait_endpoints): {reason}"),
            Self::Late { missing, limit } => {
                write!(f, "no good answer within {limit:?} (-wait_endpoints_timeout) from ")?;
                for (index, missing) in missing.iter().enumerate() {
                    write!(f, "{}{missing}", if index == 0 { "" } else { "; nor from " })?;
                }
                write!(f, "; see that it runs and that this pod may reach it, or allow it more time")
            }
        }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { endpoint, reason, tries } = self;
        write!(f, "{endpoint}, tried {tries} time{}: {reason}", if *tries == 1 { "" } else { "s" })
    }
}

/// Endpoints, for a sentence.
pub(super) fn names<'a>(endpoints: impl IntoIterator<Item = &'a Endpoint>) -> String {
    let names: Vec<String> = endpoints.into_iter().map(ToString::to_string).collect();
    names.join(", ")
}

/// Writes the document.
///
/// # Errors
/// When the pipe is closed at its other end.
pub(super) fn write(mut pipe: impl Write, result: &Result<(), Failure>) -> std::io::Result<()> {
    pipe.write_all(&serde_json::to_vec(result)?)
}

/// Reads the document.
///
/// # Errors
/// When it is not one.
pub(super) fn read(bytes: &[u8]) -> Result<Result<(), Failure>, JsonError> {
    Ok(serde_json::from_slice(bytes)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing(endpoint: &str, reason: &str, tries: u32) -> Missing {
        Missing { endpoint: endpoint.to_owned(), reason: reason.to_owned(), tries }
    }

    #[test]
    fn a_document_arrives_as_it_was_written() {
        let late = Failure::Late { missing: vec![missing("docker", "no", 3)], limit: Duration::from_millis(1500) };
        for result in [Ok(()), Err(late), Err(Failure::of(&[Endpoint::Docker], "no".to_owned()))] {
            let mut pipe = Vec::new();
            write(&mut pipe, &result).unwrap();
            assert_eq!(read(&pipe).unwrap(), result);
        }
    }

    #[test]
    fn a_failure_is_one_sentence_with_every_endpoint_that_is_missing() {
        let limit = Duration::from_secs(300);
        let one = Failure::Late { missing: vec![missing("tcp://db:5432", "connection refused", 71)], limit };
        assert_eq!(
            one.to_string(),
            "no good answer within 300s (-wait_endpoints_timeout) from tcp://db:5432, tried 71 times: connection refused; \
             see that it runs and that this pod may reach it, or allow it more time"
        );
        let (a, b) = (missing("docker", "no", 1), missing("http://b/", "it answers 404 Not Found", 2));
        let two = Failure::Late { missing: vec![a, b], limit }.to_string();
        assert!(
            two.contains(
                " from docker, tried 1 time: no; nor from http://b/, tried 2 times: it answers 404 Not Found; "
            ),
            "{two}"
        );
    }
}
