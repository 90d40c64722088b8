//! How a step ended, and the contract's tables of what follows from it: exit code, post file, `exitCode`, message.
//!
//! Nothing else in the program decides any of these. The rows are those of Tekton's entrypoint
//! (`pkg/entrypoint/entrypointer.go` and `cmd/entrypoint/main.go` of tektoncd/pipeline); `docs/contract.md` has them
//! with their tests.

use crate::spec::OnError;
pub use crate::sys::process::ChildExit;

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
    /// The wait was ended by this signal.
    Interrupted(i32),
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

/// The number that Tekton's files carry: the exit code, or -1 for a death by signal.
fn contract_code(exit: ChildExit) -> i32 {
    match exit {
        ChildExit::Code(code) => code.into(),
        ChildExit::Signal(_) => -1,
    }
}

impl Outcome {
    /// A failure of our own.
    pub fn not_run(kind: NotRunKind, sentence: impl Into<String>) -> Self {
        Self::NotRun(NotRun { kind, sentence: sentence.into() })
    }

    /// Whether a failing step is reported as a success, because it was told to `continue`.
    fn continued(&self, on_error: OnError) -> Option<ChildExit> {
        match self {
            Self::Ran(exit) if on_error == OnError::Continue && contract_code(*exit) != 0 => Some(*exit),
            Self::Ran(_) | Self::Skipped | Self::TimedOut | Self::Cancelled | Self::NothingToRun | Self::NotRun(_) => {
                None
            }
        }
    }

    /// The exit code of the process.
    #[must_use]
    pub fn exit_code(&self, on_error: OnError) -> u8 {
        if self.continued(on_error).is_some() {
            return 0;
        }
        match self {
            Self::Ran(ChildExit::Code(code)) => *code,
            Self::Ran(ChildExit::Signal(_)) => 255,
            Self::NothingToRun => 0,
            Self::Skipped | Self::TimedOut => 1,
            // The number of SIGKILL: Tekton's choice.
            Self::Cancelled => 9,
            Self::NotRun(NotRun { kind: NotRunKind::Usage | NotRunKind::Interrupted(_), .. }) => 2,
            Self::NotRun(NotRun { kind: NotRunKind::ImageLookup | NotRunKind::Other, .. }) => 1,
        }
    }

    /// Which post file is written.
    #[must_use]
    pub fn post_file(&self, on_error: OnError) -> PostFile {
        match self {
            Self::Ran(exit) if contract_code(*exit) == 0 || on_error == OnError::Continue => PostFile::Success,
            Self::NothingToRun => PostFile::Success,
            Self::Ran(_) | Self::Skipped | Self::TimedOut | Self::Cancelled | Self::NotRun(_) => PostFile::Err,
        }
    }

    /// The content of `<step_metadata_dir>/exitCode`, if that file is written.
    #[must_use]
    pub fn exit_code_file(&self, on_error: OnError) -> Option<String> {
        if let Some(exit) = self.continued(on_error) {
            return Some(contract_code(exit).to_string());
        }
        match self {
            Self::Ran(ChildExit::Code(0)) | Self::NothingToRun => Some("0".to_owned()),
            Self::Cancelled => Some("killed".to_owned()),
            Self::Ran(_) | Self::Skipped | Self::TimedOut | Self::NotRun(_) => None,
        }
    }

    /// What the outcome adds to the termination message, behind `StartedAt`.
    #[must_use]
    pub fn message_entries(&self, on_error: OnError) -> Vec<InternalEntry> {
        let reason = |value: &str| InternalEntry { key: "Reason", value: value.to_owned() };
        if let Some(exit) = self.continued(on_error) {
            return vec![InternalEntry { key: "ExitCode", value: contract_code(exit).to_string() }];
        }
        match self {
            Self::Ran(_) | Self::NothingToRun => Vec::new(),
            Self::Skipped => vec![reason("Skipped")],
            Self::TimedOut => vec![reason("TimeoutExceeded")],
            Self::Cancelled => vec![reason("Cancelled")],
            Self::NotRun(NotRun { kind, sentence }) => {
                let mut entries = match kind {
                    NotRunKind::ImageLookup => vec![reason("ImageLookupFailed")],
                    NotRunKind::Interrupted(_) => vec![reason("Interrupted")],
                    NotRunKind::Usage | NotRunKind::Other => Vec::new(),
                };
                entries.push(InternalEntry { key: ERROR_KEY, value: shortened(sentence, ERROR_LIMIT) });
                entries
            }
        }
    }

    /// Whether task results are read: whenever the step's process ran, however it ended.
    #[must_use]
    pub fn reads_results(&self) -> bool {
        match self {
            Self::Ran(_) | Self::TimedOut | Self::Cancelled | Self::NothingToRun => true,
            Self::Skipped | Self::NotRun(_) => false,
        }
    }

    /// The last line of the log, if the outcome needs one. A step's own exit code is silent, as in Tekton.
    #[must_use]
    pub fn last_line(&self) -> Option<String> {
        match self {
            Self::Ran(_) | Self::NothingToRun => None,
            Self::Skipped => Some("Skipping step because a previous step failed".to_owned()),
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
