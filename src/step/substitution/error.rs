//! Why a reference was not replaced, in the words of the log. What stands around a reference is never in them: it may be
//! a secret.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use super::LIMIT;
use super::files::FileError;
use super::reference::Malformed;
use super::script::PlaceError;
use super::value::{Found, NoElement};
use crate::outcome::NotRunKind;
use crate::sys::cause::chain;

/// What a reference is to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The result of a step.
    Results,
    /// An artifact of a step.
    Artifacts,
}

/// Where a reference stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The value of this environment variable.
    Variable(OsString),
    /// A part (`input`, `values`, `cel`) of the when expression with this index.
    When(usize, &'static str),
    /// The word of the command with this index; that of the program is 0.
    Argument(usize),
    /// The content of this script.
    Script(PathBuf),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable(name) => write!(f, "the environment variable {name:?}"),
            Self::When(index, part) => write!(f, "`{part}` of when expression {index}"),
            Self::Argument(0) => write!(f, "the name of the program"),
            Self::Argument(index) => write!(f, "argument {index}"),
            Self::Script(path) => write!(f, "the script {path:?}"),
        }
    }
}

/// Why a reference was not replaced. Where Tekton has words for it, these are the text and its causes.
#[derive(Debug, thiserror::Error)]
pub enum Why {
    /// It only looks like a reference.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// What it refers to cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// It asks for an element that is not there: a panic in Tekton.
    #[error(transparent)]
    NoElement(#[from] NoElement),
    /// All elements of an array are put into the middle of a text.
    #[error("value must be in \"$(steps.<step-name>.results.<result-name>[*])\" format, when using array results")]
    NotAlone,
    /// The step has no such artifact.
    #[error("values for template {0} not found")]
    NoArtifact(String),
    /// A variable was to hold a NUL byte.
    #[error("setenv: invalid argument")]
    NulInVariable,
    /// An argument was to hold a NUL byte.
    #[error("invalid argument")]
    NulInArgument,
    /// More than any process can be given.
    #[error("argument list too long")]
    TooMuch,
    /// The new script could not be placed.
    #[error(transparent)]
    Place(#[from] PlaceError),
}

/// References that were not replaced, because of one of them.
#[derive(Debug, thiserror::Error)]
#[error("{}", .reference.as_ref().map_or_else(|| .place.to_string(), |reference| format!("{reference} in {}", .place)))]
pub struct SubstitutionError {
    /// What was being replaced.
    pub kind: Kind,
    /// The reference that it happened at, if it was one, shown.
    pub reference: Option<String>,
    /// Where that stands.
    pub place: Place,
    /// Why.
    pub source: Box<Why>,
}

impl SubstitutionError {
    /// The failure that this is, if the step cannot run with it. Without one it runs, with the references as they are
    /// written: so it does with Tekton.
    #[must_use]
    pub fn fatal(&self) -> Option<NotRunKind> {
        match *self.source {
            Why::NoElement(_) => Some(NotRunKind::Substitution),
            Why::NulInArgument | Why::TooMuch => Some(NotRunKind::Other),
            Why::Malformed(_)
            | Why::File(_)
            | Why::NotAlone
            | Why::NoArtifact(_)
            | Why::NulInVariable
            | Why::Place(_) => None,
        }
    }

    /// What the log says: Tekton's words, then ours.
    #[must_use]
    pub fn sentence(&self) -> String {
        let cause = chain(&*self.source);
        match &*self.source {
            Why::NoElement(element) => format!(
                "{cause}: {self} asks for an element that the result does not have: {}",
                match element.found {
                    Found::List => "it is an array, whose first element is [0]",
                    Found::Text => "it is a string, not a JSON array of strings",
                    Found::Map => "it is an object, not a JSON array of strings",
                }
            ),
            Why::NulInArgument => format!(
                "Error executing command: {cause}: {self} stands for a text with a NUL byte, which no process can be given"
            ),
            Why::TooMuch => {
                let tektons = match self.place {
                    Place::Script(_) => String::new(),
                    Place::Variable(_) | Place::When(..) | Place::Argument(_) => format!("{cause}: "),
                };
                format!(
                    "Error executing command: {tektons}with {self}, what the step refers to is more than {} MiB; let the steps \
                     share large data in a workspace",
                    LIMIT >> 20
                )
            }
            Why::Malformed(_)
            | Why::File(_)
            | Why::NotAlone
            | Why::NoArtifact(_)
            | Why::NulInVariable
            | Why::Place(_) => {
                let what = match self.kind {
                    Kind::Results => "results",
                    Kind::Artifacts => "artifacts",
                };
                let tektons = match (&self.place, &self.reference, &*self.source) {
                    // Tekton shows the whole argument here, and not the cause.
                    (Place::Argument(_), Some(reference), Why::Malformed(_) | Why::File(_))
                        if self.kind == Kind::Results =>
                    {
                        format!("failed to find replacement for {reference}: {cause}")
                    }
                    _ => cause,
                };
                format!(
                    "Error while substituting step {what}: error={tektons:?}; the step runs all the same: {self} stays as \
                     it is{}{}",
                    self.others(),
                    self.advice()
                )
            }
        }
    }

    /// Which other references stay with it.
    fn others(&self) -> &'static str {
        if matches!(*self.source, Why::NulInVariable) {
            return "";
        }
        match (self.kind, &self.place) {
            _ if self.reference.is_none() => ", and so does every reference to an artifact in a variable",
            (Kind::Results, Place::Variable(_)) => {
                ", and so does every one after it, in variables, when expressions and arguments"
            }
            (Kind::Results, Place::When(..)) => ", and so does every one after it, in when expressions and arguments",
            (Kind::Results, Place::Argument(_) | Place::Script(_)) => ", and so does every other one in an argument",
            (Kind::Artifacts, Place::Variable(_)) => ", and so does every one to an artifact in a variable after it",
            (Kind::Artifacts, Place::When(..) | Place::Argument(_) | Place::Script(_)) => {
                ", and so does every other one to an artifact"
            }
        }
    }

    /// What to look at.
    fn advice(&self) -> &'static str {
        match &*self.source {
            Why::File(FileError::Open { source, .. })
                if source.kind() == std::io::ErrorKind::NotFound && self.reference.is_some() =>
            {
                "; is there an earlier step of that name, and did it write this?"
            }
            Why::NoArtifact(_) => "; did that step name this artifact in its provenance.json?",
            Why::NulInVariable => "; what it refers to holds a NUL byte, which no variable can",
            Why::Place(_) => "; TMPDIR, or else /tmp, must be a directory that the step's user may write to",
            Why::Malformed(_)
            | Why::File(_)
            | Why::NotAlone
            | Why::NoElement(_)
            | Why::NulInArgument
            | Why::TooMuch => "",
        }
    }
}
