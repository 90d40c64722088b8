//! CEL in a child: whatever an expression does to the library that evaluates it, the supervisor goes on.

use std::fs::File;
use std::io::Write;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{WhenError, WhenExpression};
use crate::image::shown;
use crate::outcome::ChildExit;
use crate::sys::helper::{Ended, Helper};
use crate::sys::isolation;
use crate::sys::process::ProcessId;
use crate::sys::signals::Mask;

/// How long the expressions of a step may take, if the step has no shorter limit of its own.
pub const LIMIT: Duration = Duration::from_secs(30);

/// The most memory that an evaluation may map, in bytes.
const MEMORY: u64 = 1 << 30;

/// The one document that the child writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Answer {
    /// Whether every expression is true; nothing is evaluated behind the first one that is false.
    Holds(bool),
    /// The first one that has no value: why.
    Fails(String),
}

/// An evaluation in progress.
#[derive(Debug)]
pub struct Evaluation {
    helper: Helper,
    limit: Duration,
}

impl Evaluation {
    /// Starts a child that evaluates what is written in CEL; none when nothing is. It is killed after `limit`.
    ///
    /// # Errors
    /// When there is no process to be had, or the program was built without CEL.
    pub fn start(expressions: &[WhenExpression], limit: Duration, mask: &Mask) -> Result<Option<Self>, WhenError> {
        let Some(first) = texts(expressions).next() else { return Ok(None) };
        if cfg!(not(feature = "cel")) {
            return Err(WhenError::NotBuilt(first.to_owned()));
        }
        let parent = std::process::id();
        let helper = Helper::start(limit, |pipe| in_child(expressions, pipe, parent, mask));
        Ok(Some(Self { helper: helper.map_err(WhenError::NoProcess)?, limit }))
    }

    /// The descriptor that becomes readable when there is news.
    #[must_use]
    pub fn events(&self) -> Option<BorrowedFd<'_>> {
        self.helper.events()
    }

    /// How long until time itself is news.
    #[must_use]
    pub fn time_left(&self, now: Instant) -> Option<Duration> {
        self.helper.time_left(now)
    }

    /// Takes note of a child that was reaped, if it is this one.
    pub fn reaped(&mut self, id: ProcessId, exit: ChildExit) {
        self.helper.reaped(id, exit);
    }

    /// Catches up with the child. Once it has ended: whether everything in CEL is true, or why that is not known.
    pub fn advance(&mut self, now: Instant) -> Option<Result<bool, WhenError>> {
        let ended = self.helper.advance(now)?;
        Some(read(ended, self.limit))
    }
}

/// What is written in CEL, in order.
fn texts(expressions: &[WhenExpression]) -> impl Iterator<Item = &str> {
    expressions.iter().map(|expression| expression.cel.as_str()).filter(|text| !text.is_empty())
}

/// What a child's end means.
fn read(ended: Ended, limit: Duration) -> Result<bool, WhenError> {
    match ended {
        Ended::Document(bytes) => match serde_json::from_slice(&bytes) {
            Ok(Answer::Holds(holds)) => Ok(holds),
            Ok(Answer::Fails(reason)) => Err(WhenError::Cel(reason)),
            Err(error) => Err(WhenError::Answer(shown(&error.to_string(), 160))),
        },
        Ended::Died(exit) => Err(WhenError::Died(exit)),
        Ended::TimedOut => Err(WhenError::TimedOut(limit)),
        Ended::TooLong => Err(WhenError::TooLong),
    }
}

/// The child's life.
fn in_child(expressions: &[WhenExpression], pipe: File, parent: u32, mask: &Mask) -> u8 {
    let Ok(mut pipe) = isolation::isolate(pipe, parent, mask) else { return 1 };
    // Where the system refuses, the container's own limit has to do.
    let _ = isolation::limit_memory(MEMORY);
    let answer = evaluate(texts(expressions), holds);
    u8::from(serde_json::to_vec(&answer).map_or(true, |document| pipe.write_all(&document).is_err()))
}

/// Evaluates in order, until one is false or has no value.
fn evaluate<'a>(mut texts: impl Iterator<Item = &'a str>, holds: impl Fn(&str) -> Result<bool, String>) -> Answer {
    let stop = texts.find_map(|text| match holds(text) {
        Ok(true) => None,
        Ok(false) => Some(Answer::Holds(false)),
        Err(reason) => Some(Answer::Fails(reason)),
    });
    stop.unwrap_or(Answer::Holds(true))
}

#[cfg(feature = "cel")]
fn holds(text: &str) -> Result<bool, String> {
    super::cel::holds(text).map_err(|error| error.to_string())
}

/// Without the feature no child is made.
#[cfg(not(feature = "cel"))]
fn holds(text: &str) -> Result<bool, String> {
    Err(WhenError::NotBuilt(text.to_owned()).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_evaluated_behind_the_first_that_is_false_or_fails() {
        let holds = |text: &str| match text {
            "true" => Ok(true),
            "false" => Ok(false),
            other => Err(format!("no {other}")),
        };
        for (texts, answer) in [
            (&[][..], Answer::Holds(true)),
            (&["true", "true"], Answer::Holds(true)),
            (&["true", "false", "x"], Answer::Holds(false)),
            (&["true", "x", "false"], Answer::Fails("no x".to_owned())),
        ] {
            assert_eq!(evaluate(texts.iter().copied(), holds), answer, "{texts:?}");
        }
    }

    #[test]
    fn every_end_of_the_child_but_an_answer_is_a_failure_with_a_sentence() {
        let limit = Duration::from_secs(7);
        let document = |answer| Ended::Document(serde_json::to_vec(&answer).unwrap());
        assert!(read(document(Answer::Holds(true)), limit).unwrap());
        assert!(!read(document(Answer::Holds(false)), limit).unwrap());
        for (ended, part) in [
            (document(Answer::Fails("no x".to_owned())), "no x"),
            (Ended::Document(Vec::new()), "cannot be read"),
            (Ended::Document(br#"{"Ho\u001blds":true}"#.to_vec()), "cannot be read: unknown variant `Ho lds`"),
            (Ended::Died(ChildExit::Code(1)), "ended with code 1"),
            (Ended::Died(ChildExit::Signal(libc::SIGSEGV)), "was killed by SIGSEGV: they are nested too deeply"),
            (Ended::TimedOut, "within 7s"),
            (Ended::TooLong, "longer than 1 MiB"),
        ] {
            let sentence = read(ended, limit).unwrap_err().to_string();
            assert!(sentence.contains(part), "{sentence}");
        }
    }

    #[test]
    fn without_anything_in_cel_there_is_no_child() {
        let mask = crate::sys::signals::Signals::block().unwrap().found_mask();
        assert!(Evaluation::start(&[], LIMIT, &mask).unwrap().is_none());
        assert!(Evaluation::start(&[WhenExpression::default()], LIMIT, &mask).unwrap().is_none());
    }

    #[cfg(not(feature = "cel"))]
    #[test]
    fn a_build_without_cel_says_so() {
        let mask = crate::sys::signals::Signals::block().unwrap().found_mask();
        let cel = WhenExpression { cel: "'a' == 'a'".to_owned(), ..WhenExpression::default() };
        let refused = Evaluation::start(&[WhenExpression::default(), cel], LIMIT, &mask).unwrap_err().to_string();
        assert!(refused.contains("'a' == 'a'") && refused.contains("without the feature cel"), "{refused}");
    }
}
