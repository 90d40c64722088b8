//! An expression in the Common Expression Language, evaluated by the crate `cel-core` where it follows the language, and
//! by our own code where it does not (ADR 0026). Runs in the evaluation's child only.
//! <https://github.com/google/cel-spec/blob/master/doc/langdef.md>

#[cfg(test)]
mod conformance;
mod conversions;
mod functions;
mod pattern;
mod strict;
mod times;

use cel_core::parser::{self, Macro, MacroRegistry, MacroStyle, ParseOptions};
use cel_core::{Ast, CelType, CheckErrorKind, Env, EvalError, EvalErrorKind, MapActivation, Value};

use strict::type_name;

/// The longest expression, in bytes: `cel-go`'s limit counts characters of a source, and is the same number.
const LONGEST: usize = 100_000;

/// How much of an expression is shown where it fails.
const SHOWN: usize = 200;

/// The types that have a name in an expression beside the library's own.
const MESSAGES: [(&str, CelType); 2] =
    [("google.protobuf.Duration", CelType::Duration), ("google.protobuf.Timestamp", CelType::Timestamp)];

/// Whether the expression is true.
///
/// # Errors
/// A sentence, in Tekton's words where it has some, when the expression has no value or none that is a boolean.
pub(super) fn holds(text: &str) -> Result<bool, String> {
    let failed = |reason: String| format!("{reason}, in the CEL expression {}", shown(text));
    match value(text).map_err(failed)? {
        Value::Bool(holds) => Ok(holds),
        Value::Error(error) => Err(failed(in_words(&error))),
        _ => Err(format!("the CEL expression {} is not evaluated to a boolean", shown(text))),
    }
}

/// What the expression evaluates to.
fn value(text: &str) -> Result<Value, String> {
    if text.len() > LONGEST {
        return Err(format!("more than {LONGEST} bytes"));
    }
    let parsed = parser::parse_with_options(text, ParseOptions::with_macros(macros()));
    if let Some(error) = parsed.errors.first() {
        return Err(format!("Syntax error: {} at {}", error.message, place(text, error.span.start)));
    }
    let parsed = parsed.ast.ok_or("Syntax error: there is no expression")?;
    strict::own_names(text)?;
    let env = environment();
    let checked = env.check(&parsed);
    if let Some(error) = checked.errors.first() {
        return Err(mistake(&error.kind));
    }
    let prepared = strict::prepare(parsed, &checked.type_map)?;
    let program = env.program(&Ast::new_checked(prepared, text, checked)).map_err(|error| error.to_string())?;
    let mut names = MapActivation::new();
    for (name, _) in MESSAGES {
        names.insert(name, Value::new_type(name));
    }
    Ok(program.eval(&names))
}

/// The standard library and no variables, with our own functions in place of what the crate gets wrong.
fn environment() -> Env {
    let standard = Env::with_standard_library();
    let mut env = Env::new();
    for function in standard.functions().values() {
        let mut function = function.clone();
        functions::correct(&mut function);
        env.add_function(function);
    }
    for function in functions::own() {
        env.add_function(function);
    }
    for (name, kind) in standard.variables() {
        env.add_variable(name, kind.clone());
    }
    for (name, kind) in MESSAGES {
        env.add_variable(name, CelType::type_of(kind));
    }
    env
}

/// The macros of the language; the crate has those of extensions as well, which Tekton does not know.
fn macros() -> MacroRegistry {
    let standard = MacroRegistry::standard();
    let known = [
        ("has", 1, MacroStyle::Global),
        ("all", 2, MacroStyle::Receiver),
        ("exists", 2, MacroStyle::Receiver),
        ("exists_one", 2, MacroStyle::Receiver),
        ("map", 2, MacroStyle::Receiver),
        ("map", 3, MacroStyle::Receiver),
        ("filter", 2, MacroStyle::Receiver),
    ];
    let wanted =
        |found: &&Macro| known.iter().any(|known| *known == (found.name, found.arg_count.count(), found.style));
    let mut macros = MacroRegistry::new();
    standard.iter().filter(wanted).for_each(|found| macros.register(found.clone()));
    macros
}

/// A mistake in the types, in Tekton's words, and what to do.
fn mistake(kind: &CheckErrorKind) -> String {
    match kind {
        CheckErrorKind::UndeclaredReference { name, .. } => format!(
            "undeclared reference to '{name}' (in container ''): here are the functions of CEL's standard library and no \
             variables; text stands in quotes"
        ),
        CheckErrorKind::NoMatchingOverload { function, arg_types } => no_overload(function, arg_types),
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

/// Tekton's words for a function or an operator that does not take such arguments.
fn no_overload<'a>(function: &str, types: impl IntoIterator<Item = &'a CelType>) -> String {
    let types: Vec<String> = types.into_iter().map(type_name).collect();
    format!("found no matching overload for '{function}' applied to '({})'", types.join(", "))
}

/// A failure while evaluating, in Tekton's words where it has some.
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

/// Line and column of a byte.
fn place(text: &str, at: usize) -> String {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!("{line}:{column}")
}

/// An expression as one line, cut where it is long.
fn shown(text: &str) -> String {
    let start = text.get(..text.floor_char_boundary(SHOWN)).unwrap_or(text);
    let mut line = String::new();
    for character in start.chars() {
        if character.is_control() { line.extend(character.escape_default()) } else { line.push(character) }
    }
    if start.len() < text.len() { line + "..." } else { line }
}
