//! Why an expression has no value, in Tekton's words where it has some.

use std::fmt;

use cel_core::{CelType, CheckErrorKind, EvalError, EvalErrorKind};

/// How much of an expression is shown where it fails, in bytes.
const SHOWN: usize = 200;

/// How much is shown of a reason, in bytes. The library repeats names and characters of the expression as they are.
const REASON: usize = 1000;

/// Why it is not known whether an expression is true.
#[derive(Debug, thiserror::Error)]
pub(in crate::step::when) enum CelError {
    /// It has no value.
    #[error("{}, in the CEL expression {expression}", Shown::at_most(REASON, &.reason.to_string()))]
    NoValue { expression: Shown, reason: Reason },
    /// Its value is something else.
    #[error("the CEL expression {0} is not evaluated to a boolean")]
    NoBoolean(Shown),
}

/// Why an expression has no value.
#[derive(Debug, thiserror::Error)]
pub(in crate::step::when) enum Reason {
    #[error("expression code point size exceeds limit: size: {size}, limit {limit}")]
    TooLong { size: usize, limit: usize },
    #[error("Syntax error: {said} at {line}:{column}")]
    Syntax { said: String, line: usize, column: usize },
    #[error("{}", mistake(.0))]
    Mistake(CheckErrorKind),
    #[error("found no matching overload for '{function}' applied to '({})'", type_names(.types))]
    Overload { function: &'static str, types: Vec<CelType> },
    #[error("unsupported syntax '?': optional values are not part of the standard library")]
    Optional,
    #[error("this version cannot make protobuf messages: compare with a value of CEL itself")]
    Message,
    #[error("this version cannot use '{0}', the name of a type, as a variable: give the variable another name")]
    TypeAsVariable(String),
    #[error("this version does not know what is written here")]
    Unknown,
    #[error("{0}")]
    Program(cel_core::CompileError),
    #[error("{}", in_words(.0))]
    Evaluation(EvalError),
}

/// A text as one line, cut where it is long.
#[derive(Debug)]
pub(in crate::step::when) struct Shown(String);

impl Shown {
    pub(super) fn of(text: &str) -> Self {
        Self::at_most(SHOWN, text)
    }

    fn at_most(bytes: usize, text: &str) -> Self {
        let start = text.get(..text.floor_char_boundary(bytes)).unwrap_or(text);
        let mut line = String::new();
        for character in start.chars() {
            if character.is_control() {
                line.extend(character.escape_default());
            } else {
                line.push(character);
            }
        }
        if start.len() < text.len() {
            line.push_str("...");
        }
        Self(line)
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A mistake in names or types, and what to do.
fn mistake(kind: &CheckErrorKind) -> String {
    match kind {
        CheckErrorKind::UndeclaredReference { name, .. } => format!(
            "undeclared reference to '{name}' (in container ''): here are the functions of CEL's standard library and no \
             variables; text stands in quotes"
        ),
        CheckErrorKind::NoMatchingOverload { function, arg_types } => {
            format!("found no matching overload for '{function}' applied to '({})'", type_names(arg_types))
        }
        CheckErrorKind::TypeMismatch { expected, actual } => {
            format!("expected type '{}' but found '{}'", type_name(expected), type_name(actual))
        }
        CheckErrorKind::UndefinedField { type_name, field } => {
            format!("type '{type_name}' does not support field selection (of '{field}')")
        }
        CheckErrorKind::NotAssignable { .. }
        | CheckErrorKind::HeterogeneousAggregate { .. }
        | CheckErrorKind::NotAType { .. }
        | CheckErrorKind::Other(_) => kind.to_string(),
    }
}

/// A failure while evaluating.
fn in_words(error: &EvalError) -> String {
    let said = &error.message;
    match error.kind {
        EvalErrorKind::ModuloByZero => "modulus by zero".to_owned(),
        EvalErrorKind::Overflow => format!("integer overflow ({said})"),
        EvalErrorKind::KeyNotFound => said.replacen("key not found", "no such key", 1),
        EvalErrorKind::NoMatchingOverload | EvalErrorKind::TypeMismatch => format!("no such overload: {said}"),
        EvalErrorKind::DivisionByZero
        | EvalErrorKind::RangeError
        | EvalErrorKind::UnknownIdentifier
        | EvalErrorKind::UnknownFunction
        | EvalErrorKind::IndexOutOfBounds
        | EvalErrorKind::InvalidArgument
        | EvalErrorKind::FieldNotFound
        | EvalErrorKind::InvalidConversion
        | EvalErrorKind::Internal => said.clone(),
    }
}

fn type_names(types: &[CelType]) -> String {
    types.iter().map(type_name).collect::<Vec<_>>().join(", ")
}

fn type_name(kind: &CelType) -> String {
    match kind {
        CelType::List(element) => format!("list({})", type_name(element)),
        CelType::Map(key, value) => format!("map({}, {})", type_name(key), type_name(value)),
        CelType::Type(inner) => format!("type({})", type_name(inner)),
        CelType::TypeVar(_) | CelType::TypeParam(_) => "dyn".to_owned(),
        _ => kind.display_name(),
    }
}
