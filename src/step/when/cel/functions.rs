//! Our own functions, in place of what the crate gets wrong and for what it evaluates without a function.

use std::sync::Arc;

use cel_core::types::{CelType, FunctionDecl, OverloadDecl};
use cel_core::{EvalError, MapKey, Value};

use super::conversions::Offsets;
use super::strict::NUMBERS;
use super::{conversions, pattern, times};

/// How the crate holds a function.
type FunctionImpl = Arc<dyn Fn(&[Value]) -> Value + Send + Sync>;

/// `a[b]`.
pub(super) const INDEX: &str = "@index";
/// `has(a.b)`.
pub(super) const HAS: &str = "@has";
/// Passes on what may stand at the right of a `+` whose sides are known only now.
pub(super) const ADDABLE: &str = "@addable";
/// Passes on a duration that is not too long.
pub(super) const BOUNDED: &str = "@bounded";

/// Gives a function of the standard library our own implementation, if it needs one. All overloads get the same: the
/// crate tries them in turn.
pub(super) fn correct(function: &mut FunctionDecl, offsets: &Offsets) {
    let implementation: FunctionImpl = match function.name.as_str() {
        "string" => {
            let offsets = offsets.clone();
            Arc::new(move |args| conversions::string(args, &offsets))
        }
        "timestamp" => {
            let offsets = offsets.clone();
            Arc::new(move |args| conversions::timestamp(args, &offsets))
        }
        "bool" => Arc::new(conversions::bool),
        "double" => Arc::new(conversions::double),
        "duration" => Arc::new(conversions::duration),
        "matches" => Arc::new(matches),
        "_<_" | "_<=_" | "_>_" | "_>=_" => return order_numbers(function),
        name => match times::component(name) {
            Some(component) => Arc::new(move |args| times::get(component, args)),
            None => return,
        },
    };
    for overload in &mut function.overloads {
        overload.implementation = Some(Arc::clone(&implementation));
    }
}

/// Lets numbers of different types be ordered, which the crate evaluates, and its types do not know. Where the language
/// forbids it, `strict` refuses it.
fn order_numbers(function: &mut FunctionDecl) {
    for left in NUMBERS {
        for right in NUMBERS.into_iter().filter(|right| *right != left) {
            let id = format!("{}{left:?}{right:?}", function.name);
            function.overloads.push(OverloadDecl::function(id, vec![left.clone(), right], CelType::Bool));
        }
    }
}

/// What stands in an expression that was prepared.
pub(super) fn own() -> [FunctionDecl; 4] {
    let own = |name: &str, arguments: usize, implementation: fn(&[Value]) -> Value| {
        let overload = OverloadDecl::function(name, vec![CelType::Dyn; arguments], CelType::Dyn);
        FunctionDecl::new(name).with_overload(overload.with_impl(implementation))
    };
    [own(INDEX, 2, index), own(HAS, 2, has), own(ADDABLE, 1, addable), own(BOUNDED, 1, bounded)]
}

/// An element of a list or a map. The crate counts from the end where an index is negative, and takes one of a string.
fn index(args: &[Value]) -> Value {
    match args {
        [Value::List(list), index] => {
            let at = match index {
                Value::Int(at) => usize::try_from(*at).ok(),
                Value::UInt(at) => usize::try_from(*at).ok(),
                Value::Double(at) => whole(*at).and_then(|at| usize::try_from(at).ok()),
                _ => return Value::error(EvalError::no_matching_overload("_[_]")),
            };
            at.and_then(|at| list.get(at)).cloned().unwrap_or_else(|| {
                Value::error(EvalError::new(
                    cel_core::EvalErrorKind::IndexOutOfBounds,
                    format!("index out of bounds: {index}"),
                ))
            })
        }
        [Value::Map(map), key] => {
            let known = match key {
                Value::Double(number) => whole(*number).map(MapKey::Int),
                _ => MapKey::from_value(key),
            };
            let found = known.and_then(|key| map.get_with_numeric_coercion(&key).cloned());
            found.unwrap_or_else(|| Value::error(EvalError::key_not_found(&key.to_string())))
        }
        _ => Value::error(EvalError::no_matching_overload("_[_]")),
    }
}

/// A number without a fraction that an integer can be.
fn whole(number: f64) -> Option<i64> {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    #[expect(clippy::cast_possible_truncation, reason = "it has no fraction, and is in range")]
    let whole = (number.fract() == 0.0 && (-LIMIT..LIMIT).contains(&number)).then_some(number as i64);
    whole
}

/// Whether a map has a key. The crate takes an error in the map for an absent key.
fn has(args: &[Value]) -> Value {
    match args {
        [Value::Map(map), Value::String(key)] => Value::Bool(map.contains_key(&MapKey::String(Arc::clone(key)))),
        [Value::List(_), _] => Value::error(EvalError::no_matching_overload("has")),
        _ => Value::Bool(false),
    }
}

/// The crate merges two maps.
fn addable(args: &[Value]) -> Value {
    match args {
        [Value::Map(_)] => Value::error(EvalError::no_matching_overload("_+_")),
        [value] => value.clone(),
        _ => Value::error(EvalError::no_matching_overload("_+_")),
    }
}

/// Go's durations end at 292 years.
fn bounded(args: &[Value]) -> Value {
    match args {
        [Value::Duration(length)] if conversions::nanoseconds(*length).is_none() => {
            Value::error(EvalError::overflow("a duration"))
        }
        [value] => value.clone(),
        _ => Value::error(EvalError::no_matching_overload("_+_")),
    }
}

/// Whether a pattern is found in a text.
fn matches(args: &[Value]) -> Value {
    match args {
        [Value::String(text), Value::String(written)] => match pattern::is_match(written, text) {
            Ok(found) => Value::Bool(found),
            Err(reason) => Value::error(EvalError::invalid_argument(reason)),
        },
        _ => Value::error(EvalError::no_matching_overload("matches")),
    }
}
