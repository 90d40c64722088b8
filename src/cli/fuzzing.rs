//! A door for fuzzing to what is private here (docs/adr/0053-fuzzing-by-coverage-on-stable.md).

/// The nanoseconds of a duration in Go's syntax.
#[must_use]
pub fn duration(text: &str) -> Option<i64> {
    super::duration::parse(text).ok()
}
