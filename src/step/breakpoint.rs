//! Breakpoints: the files by which a person in the container says how a paused step goes on, and the words that ask.
//!
//! Tekton's `pkg/entrypoint/entrypointer.go` (`waitBeforeStepDebug`, `CheckForBreakpointOnFailure`) has the rules;
//! <https://tekton.dev/docs/pipelines/debug/> tells a person how to use them.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::spec::WaitSpec;
use crate::sys::file;

/// Where a step is paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Breakpoint {
    /// Before the step runs.
    BeforeStep,
    /// After it has failed.
    OnFailure,
}

/// How much of an answer is read: an exit code and a line break, and room for a typing error.
const ANSWER_LIMIT: u64 = 256;

/// How long an answer may stay empty. The debug scripts make the file and then write to it: Tekton, which looks once a
/// second, hardly ever meets it between the two, and we always would.
pub const EMPTY_ANSWER: Duration = Duration::from_secs(1);

impl Breakpoint {
    /// What asks the person, in Tekton's words.
    #[must_use]
    pub fn question(self) -> &'static str {
        match self {
            Self::BeforeStep => concat!(
                "debug before step breakpoint has taken effect, waiting for user's decision:\n",
                "1) continue, use cmd: /tekton/debug/scripts/debug-beforestep-continue\n",
                "2) fail-continue, use cmd: /tekton/debug/scripts/debug-beforestep-fail-continue",
            ),
            Self::OnFailure => concat!(
                "debug onFailure breakpoint has taken effect, waiting for user's decision:\n",
                "1) continue, use cmd: /tekton/debug/scripts/debug-continue\n",
                "2) fail-continue, use cmd: /tekton/debug/scripts/debug-fail-continue",
            ),
        }
    }

    /// The file that answers; with `.err` appended it is a refusal. Without a post file it is in the working directory.
    #[must_use]
    pub fn answer(self, post_file: Option<&Path>) -> PathBuf {
        let mut name = post_file.map(OsString::from).unwrap_or_default();
        name.push(match self {
            Self::BeforeStep => ".beforestepexit",
            Self::OnFailure => ".breakpointexit",
        });
        name.into()
    }

    /// The wait for the answer.
    #[must_use]
    pub fn wait(self, post_file: Option<&Path>) -> WaitSpec {
        WaitSpec { files: vec![self.answer(post_file)], ..WaitSpec::default() }
    }
}

/// Reads the answer at a failure: the exit code, and the lines for the log. An answer that is no number counts as 0, so
/// that the steps behind can be tried, as Tekton has it.
#[must_use]
pub fn exit_code(answer: &Path) -> (u8, Vec<String>) {
    const UNREAD: &str = "error occurred while reading breakpoint exit code : ";
    let text = match read(answer) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return (0, vec![format!("{UNREAD}breakpoint postfile {} not found", answer.display())]);
        }
        Err(_) => String::new(),
    };
    let code = text.strip_suffix('\n').unwrap_or(&text);
    let mut lines = vec![format!("Breakpoint exiting with exit code {}", code.escape_debug())];
    // The system keeps eight bits of what is given to exit.
    let exit = code.parse::<i64>().map(|code| u8::try_from(code.rem_euclid(256)).unwrap_or_default());
    if exit.is_err() {
        lines.push(format!("{UNREAD}{code:?} is not a whole number; the step ends with 0"));
    }
    (exit.unwrap_or_default(), lines)
}

/// Whether an answer is there and says nothing yet.
#[must_use]
pub fn is_empty(answer: &Path) -> bool {
    answer.metadata().is_ok_and(|found| found.is_file() && found.len() == 0)
}

fn read(answer: &Path) -> io::Result<String> {
    let text = file::head(answer, ANSWER_LIMIT)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_stand_beside_the_post_file() {
        for (breakpoint, post_file, expected) in [
            (Breakpoint::BeforeStep, Some("/run/0/out"), "/run/0/out.beforestepexit"),
            (Breakpoint::OnFailure, Some("/run/0/out"), "/run/0/out.breakpointexit"),
            (Breakpoint::OnFailure, None, ".breakpointexit"),
        ] {
            assert_eq!(breakpoint.answer(post_file.map(Path::new)), Path::new(expected));
        }
    }

    #[test]
    fn an_answer_is_an_exit_code() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("answer");
        for (text, code, understood) in [
            ("0\n", 0, true),
            ("1\n", 1, true),
            ("7", 7, true),
            ("+3", 3, true),
            ("256", 0, true),
            ("-1\n", 255, true),
            ("", 0, false),
            ("1\n\n", 0, false),
            (" 1", 0, false),
            ("one", 0, false),
        ] {
            std::fs::write(&file, text).unwrap();
            let (exit, lines) = exit_code(&file);
            assert_eq!((exit, lines.len() == 1), (code, understood), "{text:?}: {lines:?}");
            assert!(lines[0].starts_with("Breakpoint exiting with exit code "), "{lines:?}");
        }
    }

    #[test]
    fn an_answer_that_is_gone_or_no_file_is_a_zero() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("missing");
        assert_eq!(
            exit_code(&missing),
            (
                0,
                vec![format!(
                    "error occurred while reading breakpoint exit code : breakpoint postfile {} not found",
                    missing.display()
                )]
            )
        );
        assert_eq!(exit_code(dir.path()).0, 0);
    }
}
