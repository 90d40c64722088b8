//! When expressions: whether the step is wanted.
//!
//! The rules are Tekton's (`pkg/apis/pipeline/v1/types/when_types.go`, and `allowExec` of `pkg/entrypoint/entrypointer.go`
//! in tektoncd/pipeline). What is here is pure; CEL, which is somebody else's code, runs in a child (`evaluation`).

#[cfg(feature = "cel")]
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the enums are the library's: what it adds is not known here either"
)]
mod cel;
mod evaluation;
#[cfg(all(feature = "cel", feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod json;

use std::io;
use std::time::Duration;

pub use evaluation::{Evaluation, LIMIT};
pub use json::{Context, JsonError};

use crate::outcome::ChildExit;
use crate::sys::cause::Cause;
use crate::sys::signals;

/// One condition on a step. All of a step's must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WhenExpression {
    /// What is looked for in the values.
    pub input: String,
    /// `in`; anything else, also nothing, means `notin`.
    pub operator: String,
    /// Where the input is looked for.
    pub values: Vec<String>,
    /// An expression in CEL that must be true as well; none when empty.
    pub cel: String,
}

impl WhenExpression {
    /// Whether the input stands in the relation to the values that the operator says. CEL is not looked at: an
    /// expression of CEL alone holds here, since nothing is not in nothing.
    #[must_use]
    pub fn holds(&self) -> bool {
        (self.operator == "in") == self.values.contains(&self.input)
    }
}

/// What follows for the step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It runs.
    Run,
    /// It does not run, which succeeds.
    Skip,
}

/// What follows from all expressions, where it is known whether everything in CEL is true.
#[must_use]
pub fn decide(expressions: &[WhenExpression], cel_holds: bool) -> Verdict {
    if cel_holds && expressions.iter().all(WhenExpression::holds) { Verdict::Run } else { Verdict::Skip }
}

/// Why it is not known whether the step is wanted.
#[derive(Debug, thiserror::Error)]
pub enum WhenError {
    /// The flag's value is not what it must be.
    #[error(
        "{0}: -when_expressions must be a JSON list such as [{{\"input\":\"a\",\"operator\":\"in\",\"values\":[\"a\",\"b\"]}},\
         {{\"cel\":\"'a' == 'a'\"}}]"
    )]
    Json(#[from] JsonError),
    /// An expression in CEL is wrong, or has no boolean value, or cannot be evaluated by this version.
    #[error("{0}")]
    Cel(String),
    /// The program was built without CEL.
    #[error(
        "the CEL expression {0} cannot be evaluated: this entrypoint was built without the feature cel; use one that has \
         it, or input, operator and values"
    )]
    NotBuilt(String),
    /// There is no process to be had.
    #[error("the process for the CEL expressions cannot be started: {}", Cause(.0))]
    NoProcess(#[source] io::Error),
    /// The child ended without an answer.
    #[error("{}", death(*.0))]
    Died(ChildExit),
    /// The child's time was up.
    #[error("the CEL expressions were not evaluated within {0:?}: make them simpler")]
    TimedOut(Duration),
    /// The child's answer is none.
    #[error("the answer of the process for the CEL expressions cannot be read: {0}")]
    Answer(String),
    /// The child's answer has no end.
    #[error("the answer of the process for the CEL expressions is longer than 1 MiB")]
    TooLong,
}

/// What to say of a child that ended without an answer.
fn death(exit: ChildExit) -> String {
    let end = match exit {
        ChildExit::Code(code) => format!("ended with code {code} and no answer"),
        ChildExit::Signal(number) => format!("was killed by {}", signals::name(number)),
    };
    format!("the process for the CEL expressions {end}: they are nested too deeply, or need too much memory")
}

/// Reads the value of `-when_expressions`, as tolerantly as Go does. No text at all is no expression.
///
/// # Errors
/// When it is no JSON, or not of the right shape. The sentence starts with Go's words.
pub fn parse(json: &str) -> Result<Vec<WhenExpression>, WhenError> {
    if json.is_empty() {
        return Ok(Vec::new());
    }
    Ok(json::read(json)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn expression(input: &str, operator: &str, values: &[&str], cel: &str) -> WhenExpression {
        let [input, operator, cel] = [input, operator, cel].map(str::to_owned);
        WhenExpression { input, operator, values: values.iter().map(|&value| value.to_owned()).collect(), cel }
    }

    #[test]
    fn only_the_exact_word_in_means_in() {
        for (input, operator, values, holds) in [
            ("a", "in", &["a", "b"][..], true),
            ("b", "in", &["a", "b"], true),
            ("c", "in", &["a", "b"], false),
            ("A", "in", &["a"], false),
            ("a ", "in", &["a"], false),
            ("a", "in", &[], false),
            ("", "in", &[], false),
            ("", "in", &[""], true),
            ("a", "notin", &["a"], false),
            ("c", "notin", &["a"], true),
            ("", "notin", &[], true),
            ("a", "", &["a"], false),
            ("c", "", &["a"], true),
            ("a", "IN", &["a"], false),
            ("a", " in", &["a"], false),
            ("c", "equals", &["a"], true),
        ] {
            let holds_here = expression(input, operator, values, "").holds();
            assert_eq!(holds_here, holds, "{input} {operator} {values:?}");
        }
    }

    #[test]
    fn a_step_runs_only_when_every_expression_holds_and_every_cel_is_true() {
        let holds = expression("a", "in", &["a"], "");
        let fails = expression("a", "in", &["b"], "");
        let cel = expression("", "", &[], "true");
        for (expressions, cel_holds, verdict) in [
            (vec![], true, Verdict::Run),
            (vec![&holds], true, Verdict::Run),
            (vec![&holds, &fails], true, Verdict::Skip),
            (vec![&cel], true, Verdict::Run),
            (vec![&cel], false, Verdict::Skip),
            (vec![&holds, &cel], false, Verdict::Skip),
            (vec![&cel, &fails], true, Verdict::Skip),
        ] {
            let expressions: Vec<_> = expressions.into_iter().cloned().collect();
            assert_eq!(decide(&expressions, cel_holds), verdict, "{expressions:?}");
        }
    }

    #[test]
    fn no_text_is_no_expression_and_a_mistake_is_told_in_gos_words_first() {
        assert!(parse("").unwrap().is_empty());
        let error = parse("[").unwrap_err().to_string();
        assert!(error.starts_with("unexpected end of JSON input: -when_expressions must be a JSON list"), "{error}");
    }
}
