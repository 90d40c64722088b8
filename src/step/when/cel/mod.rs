//! An expression in the Common Expression Language, evaluated by the crate `cel-core` where it follows the language, and
//! by our own code where it does not (ADR 0026). Runs in the evaluation's child only.
//! <https://github.com/google/cel-spec/blob/master/doc/langdef.md>

mod conversions;
mod error;
mod functions;
mod pattern;
mod strict;
#[cfg(test)]
mod tests;
mod times;

use cel_core::parser::{self, Macro, MacroRegistry, MacroStyle, ParseOptions};
use cel_core::{Ast, CelType, Env, MapActivation, ParseError, Value};

use conversions::Offsets;
use error::{CelError, Reason, Shown};

/// The longest expression, in characters, as in `cel-go`.
const LONGEST: usize = 100_000;

/// The types that have a name in an expression beside the library's own.
const MESSAGES: [(&str, CelType); 2] =
    [("google.protobuf.Duration", CelType::Duration), ("google.protobuf.Timestamp", CelType::Timestamp)];

/// Whether the expression is true.
///
/// # Errors
/// When the expression has no value, or none that is a boolean.
pub(super) fn holds(text: &str) -> Result<bool, CelError> {
    let failed = |reason| CelError::NoValue { expression: Shown::of(text), reason };
    match value(text).map_err(failed)? {
        Value::Bool(holds) => Ok(holds),
        Value::Error(error) => Err(failed(Reason::Evaluation((*error).clone()))),
        _ => Err(CelError::NoBoolean(Shown::of(text))),
    }
}

/// What the expression evaluates to.
fn value(text: &str) -> Result<Value, Reason> {
    let size = text.chars().count();
    if size > LONGEST {
        return Err(Reason::TooLong { size, limit: LONGEST });
    }
    let parsed = parser::parse_with_options(text, ParseOptions::with_macros(macros()));
    if let Some(error) = parsed.errors.into_iter().next() {
        return Err(syntax(text, error));
    }
    let parsed = parsed.ast.ok_or(Reason::Unknown)?;
    strict::own_names(text)?;
    let env = environment();
    let mut checked = env.check(&parsed);
    if !checked.errors.is_empty() {
        return Err(Reason::Mistake(checked.errors.swap_remove(0).kind));
    }
    let prepared = strict::prepare(parsed, &checked.type_map)?;
    let program = env.program(&Ast::new_checked(prepared, text, checked)).map_err(Reason::Program)?;
    let mut names = MapActivation::new();
    for (name, _) in MESSAGES {
        names.insert(name, Value::new_type(name));
    }
    Ok(program.eval(&names))
}

/// A mistake in the syntax, with its line and column.
fn syntax(text: &str, error: ParseError) -> Reason {
    let before = text.get(..error.span.start).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    Reason::Syntax { said: error.message, line, column }
}

/// The standard library and no variables, with our own functions in place of what the crate gets wrong.
fn environment() -> Env {
    let standard = Env::with_standard_library();
    let offsets = Offsets::default();
    let mut env = Env::new();
    for function in standard.functions().values() {
        let mut function = function.clone();
        functions::correct(&mut function, &offsets);
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
