//! A door for fuzzing to what otherwise runs in a child (docs/adr/0053-fuzzing-by-coverage-on-stable.md).

/// Whether an expression in CEL is true.
///
/// # Errors
/// When it has no value, or none that is a boolean: the sentence.
pub fn cel_holds(text: &str) -> Result<bool, String> {
    super::cel::holds(text).map_err(|error| error.to_string())
}
