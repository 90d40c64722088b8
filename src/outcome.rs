//! How a step ended, and the contract's tables of what follows from it: exit code, post file, `exitCode`, message.
//!
//! Nothing else in the program decides any of these. The rows are those of Tekton's entrypoint
//! (`pkg/entrypoint/entrypointer.go` and `cmd/entrypoint/main.go` of tektoncd/pipeline); `docs/contract.md` has them
//! with their tests.

use crate::spec::{EndSpec, OnError};
pub use crate::sys::process::ChildExit;
use crate::sys::signals;

/// Why the step never ran, in the words that its reports use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotRun {
    /// The kind of failure, for machines.
    pub kind: NotRunKind,
    /// One sentence for the person who reads the log: what failed, what was tried, what to do.
    pub sentence: String,
}

/// The kinds of failure that are ours, not the step's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotRunKind {
    /// The command line is wrong.
    Usage,
    /// The registry could not be asked, or its answer cannot be used.
    ImageLookup,
    /// An endpoint that the step waited for did not answer in time.
    Endpoint,
    /// The wait was ended by this signal.
    Interrupted(i32),
    /// The process of an earlier step was killed, and left no post file.
    PredecessorDied,
    /// A reference to a step's result asks for an element that the result does not have.
    Substitution,
    /// Anything else: directories, the platform table, a program that cannot be started.
    Other,
}

/// How a step ended: every path through the program ends in one of these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The step's process ran and ended by itself.
    Ran(ChildExit),
    /// An earlier step failed, so this one did not run.
    Skipped,
    /// The step's process was killed because its time was up.
    TimedOut,
    /// The step's process was killed because the run was cancelled.
    Cancelled,
    /// The image has an empty command table and the step has no arguments: there is nothing to run, which succeeds.
    NothingToRun,
    /// The step's when expressions do not hold, so it did not run, which succeeds.
    NotWanted,
    /// A person who was asked before the step decided against it.
    Refused,
    /// The step's process never started, or we failed around it.
    NotRun(NotRun),
}

/// Which post file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PostFile {
    /// The name as given: the next step runs.
    Success,
    /// With `.err` appended: the next step is skipped.
    Err,
}

/// An entry that the outcome adds to the termination message, with Tekton's type 3 (internal).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InternalEntry {
    /// `Reason`, `ExitCode`, or our own `entrypoint/error`.
    pub key: &'static str,
    /// Its text.
    pub value: String,
}

/// The key under which the sentence of an own failure stands in the termination message. The slash keeps it apart from
/// any result's name: the controller removes duplicates by key, whatever their type.
pub const ERROR_KEY: &str = "entrypoint/error";

/// The longest sentence, in bytes, that goes into the termination message.
const ERROR_LIMIT: usize = 512;

/// The number that Tekton's files carry: the exit code, or for a death by signal -1, unless its number is asked for.
fn contract_code(exit: ChildExit, end: EndSpec) -> i32 {
    match exit {
        ChildExit::Code(code) => code.into(),
        ChildExit::Signal(number) if end.signal_exit_code => SIGNALLED + number,
        ChildExit::Signal(_) => -1,
    }
}

/// What shells add to the number of a signal to tell a death by it as an exit code.
const SIGNALLED: i32 = 128;

/// The key under which the signal that killed a step stands in the termination message, where it is asked for.
pub const SIGNAL_KEY: &str = "entrypoint/signal";

impl Outcome {
    /// A failure of our own.
    pub fn not_run(kind: NotRunKind, sentence: impl Into<String>) -> Self {
        Self::NotRun(NotRun { kind, sentence: sentence.into() })
    }

    /// Whether a failing step is reported as a success, because it was told to `continue`.
    fn continued(&self, end: EndSpec) -> Option<ChildExit> {
        match self {
            Self::Ran(exit)
                if end.on_error == OnError::Continue
                    && !end.breakpoint_on_failure
                    && contract_code(*exit, end) != 0 =>
            {
                Some(*exit)
            }
            Self::Ran(_)
            | Self::Skipped
            | Self::TimedOut
            | Self::Cancelled
            | Self::NothingToRun
            | Self::NotWanted
            | Self::Refused
            | Self::NotRun(_) => None,
        }
    }

    /// Whether a person decides how this ended: a failure of the step, or around it, where that was asked for. What an
    /// earlier step, a limit or a cancellation has decided stays as it is.
    #[must_use]
    pub fn breaks(&self, end: EndSpec) -> bool {
        end.breakpoint_on_failure
            && match self {
                Self::Ran(exit) => *exit != ChildExit::Code(0),
                Self::NotRun(NotRun { kind, .. }) => match kind {
                    NotRunKind::ImageLookup | NotRunKind::Endpoint | NotRunKind::Substitution | NotRunKind::Other => {
                        true
                    }
                    NotRunKind::Usage | NotRunKind::Interrupted(_) | NotRunKind::PredecessorDied => false,
                },
                Self::Skipped
                | Self::TimedOut
                | Self::Cancelled
                | Self::NothingToRun
                | Self::NotWanted
                | Self::Refused => false,
            }
    }

    /// The exit code of the process, unless a person at a breakpoint has another one.
    #[must_use]
    pub fn exit_code(&self, end: EndSpec) -> u8 {
        if self.continued(end).is_some() {
            return 0;
        }
        match self {
            // -1 is 255 there.
            Self::Ran(exit) => u8::try_from(contract_code(*exit, end)).unwrap_or(u8::MAX),
            Self::NothingToRun | Self::NotWanted => 0,
            Self::Skipped | Self::TimedOut | Self::Refused => 1,
            // The number of SIGKILL: Tekton's choice.
            Self::Cancelled => 9,
            Self::NotRun(NotRun { kind, .. }) => match kind {
                // The last one is a panic in Tekton.
                NotRunKind::Usage | NotRunKind::Interrupted(_) | NotRunKind::Substitution => 2,
                NotRunKind::ImageLookup | NotRunKind::Endpoint | NotRunKind::PredecessorDied | NotRunKind::Other => 1,
            },
        }
    }

    /// Which post file is written; none where a person decides.
    #[must_use]
    pub fn post_file(&self, end: EndSpec) -> Option<PostFile> {
        if self.breaks(end) {
            return None;
        }
        Some(match self {
            Self::Ran(ChildExit::Code(0)) | Self::NothingToRun | Self::NotWanted => PostFile::Success,
            Self::Ran(_) if end.on_error == OnError::Continue => PostFile::Success,
            Self::Ran(_) | Self::Skipped | Self::TimedOut | Self::Cancelled | Self::Refused | Self::NotRun(_) => {
                PostFile::Err
            }
        })
    }

    /// The content of `<step_metadata_dir>/exitCode`, if that file is written.
    #[must_use]
    pub fn exit_code_file(&self, end: EndSpec) -> Option<String> {
        if let Some(exit) = self.continued(end) {
            return Some(contract_code(exit, end).to_string());
        }
        match self {
            Self::Ran(ChildExit::Code(0)) | Self::NothingToRun | Self::NotWanted => Some("0".to_owned()),
            Self::Cancelled => Some("killed".to_owned()),
            Self::Ran(_) | Self::Skipped | Self::TimedOut | Self::Refused | Self::NotRun(_) => None,
        }
    }

    /// What the outcome adds to the termination message, behind `StartedAt`.
    #[must_use]
    pub fn message_entries(&self, end: EndSpec) -> Vec<InternalEntry> {
        let entry = |key: &'static str, value: String| InternalEntry { key, value };
        let reason = |value: &str| entry("Reason", value.to_owned());
        let mut entries = Vec::new();
        if let Some(exit) = self.continued(end) {
            entries.push(entry("ExitCode", contract_code(exit, end).to_string()));
        }
        match self {
            Self::Ran(ChildExit::Signal(number)) if end.signal_exit_code => {
                entries.push(entry(SIGNAL_KEY, signals::name(*number)));
            }
            Self::Ran(_) | Self::NothingToRun | Self::Refused => {}
            Self::Skipped | Self::NotWanted => entries.push(reason("Skipped")),
            Self::TimedOut => entries.push(reason("TimeoutExceeded")),
            Self::Cancelled => entries.push(reason("Cancelled")),
            Self::NotRun(NotRun { kind, sentence }) => {
                match kind {
                    NotRunKind::ImageLookup => entries.push(reason("ImageLookupFailed")),
                    NotRunKind::Endpoint => entries.push(reason("EndpointNotReady")),
                    NotRunKind::Interrupted(_) => entries.push(reason("Interrupted")),
                    NotRunKind::PredecessorDied => entries.push(reason("Skipped")),
                    NotRunKind::Usage | NotRunKind::Substitution | NotRunKind::Other => {}
                }
                entries.push(entry(ERROR_KEY, shortened(sentence, ERROR_LIMIT)));
            }
        }
        entries
    }

    /// Whether results and artifacts are read: when the step's process ran, however it ended, and when it could have,
    /// because its turn had come.
    #[must_use]
    pub fn reads_results(&self, turn_came: bool) -> bool {
        match self {
            Self::Ran(_) | Self::TimedOut | Self::Cancelled | Self::NothingToRun | Self::Refused => true,
            Self::Skipped | Self::NotWanted => false,
            Self::NotRun(NotRun { kind, .. }) => match kind {
                NotRunKind::Other => turn_came,
                NotRunKind::Usage
                | NotRunKind::ImageLookup
                | NotRunKind::Endpoint
                | NotRunKind::Interrupted(_)
                | NotRunKind::PredecessorDied
                | NotRunKind::Substitution => false,
            },
        }
    }

    /// The last line of the log, if the outcome needs one. A step's own exit code is silent, as in Tekton.
    #[must_use]
    pub fn last_line(&self, end: EndSpec) -> Option<String> {
        match self {
            Self::Ran(ChildExit::Signal(number)) if end.signal_exit_code => {
                Some(format!("The step's process was killed by {}", signals::name(*number)))
            }
            Self::Ran(_) | Self::NothingToRun | Self::NotWanted => None,
            Self::Skipped => Some("Skipping step because a previous step failed".to_owned()),
            Self::Refused => {
                Some("Skipping execute step script because before step breakpoint fail-continue".to_owned())
            }
            Self::TimedOut => Some("context deadline exceeded".to_owned()),
            Self::Cancelled => Some("Step was cancelled".to_owned()),
            Self::NotRun(NotRun { sentence, .. }) => Some(sentence.clone()),
        }
    }
}

/// The text, cut at a character boundary so that it is at most `limit` bytes long, with a mark where it was cut.
fn shortened(text: &str, limit: usize) -> String {
    const MARK: &str = "...";
    if text.len() <= limit {
        return text.to_owned();
    }
    format!("{}{MARK}", &text[..text.floor_char_boundary(limit - MARK.len())])
}
