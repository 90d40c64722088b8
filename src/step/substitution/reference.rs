//! References to what earlier steps left, as they stand in a text: `$(steps.NAME.results.NAME)` and its relatives.
//!
//! Texts are bytes here: neither a variable nor an argument needs to be UTF-8. The forms are those of Tekton's
//! `pkg/internal/resultref` and `internal/artifactref`. Every search takes a time that is linear in the text.

use std::ops::Range;

/// What every reference starts with.
const START: &[u8] = b"$(steps.";
/// What makes it one to a result.
const RESULTS: &[u8] = b".results.";

/// A reference to the result of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResultReference<'t> {
    /// The step's name.
    pub step: &'t [u8],
    /// The result's name.
    pub result: Vec<u8>,
    /// What of the result is meant.
    pub part: Part<'t>,
}

/// What of a result is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part<'t> {
    /// The string that it is.
    Whole,
    /// `[3]`: one element of the array that it is, the first being 0.
    Element(u64),
    /// `[*]`: all elements of the array that it is.
    All,
    /// `.key`: the value of a key of the object that it is.
    Key(&'t [u8]),
}

/// Why a text that looks like a reference is none. The words are Tekton's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// There is no result's name where it should be.
    #[error(
        "must be one of the form 1). \"steps.<stepName>.results.<resultName>\"; 2). \
         \"steps.<stepName>.results.<objectResultName>.<individualAttribute>\""
    )]
    NoResult,
    /// More dots than the key of an object has.
    #[error(
        "must be one of the form 1). \"tasks.<taskName>.results.<resultName>\"; 2). \
         \"tasks.<taskName>.results.<objectResultName>.<individualAttribute>\"; 3). \
         \"steps.<stepName>.results.<resultName>\"; 4). \
         \"steps.<stepName>.results.<objectResultName>.<individualAttribute>\""
    )]
    TooManyParts,
}

/// Where references to results stand, in order and apart from each other:
/// `\$\(steps\..*?\.results\..*?\)`, each within a line.
#[must_use]
pub fn results(text: &[u8]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut line_start = 0;
    for line in text.split(|byte| *byte == b'\n') {
        let mut at = 0;
        // What is missing behind one start is missing behind every later one of the line.
        while let Some(start) = find(line, START, at)
            && let Some(middle) = find(line, RESULTS, start + START.len())
            && let Some(last) = find(line, b")", middle + RESULTS.len())
        {
            at = last + 1;
            found.push(line_start + start..line_start + at);
        }
        line_start += line.len() + 1;
    }
    found
}

impl<'t> ResultReference<'t> {
    /// Reads a text that [`results`] found.
    ///
    /// # Errors
    /// [`Malformed`]: what is found may reach over the end of another reference, and have any number of dots.
    pub fn parse(text: &'t [u8]) -> Result<Self, Malformed> {
        let inside = text.strip_prefix(b"$(").unwrap_or(text);
        let inside = inside.strip_suffix(b")").unwrap_or(inside);
        let parts: Vec<&[u8]> = inside.split(|byte| *byte == b'.').collect();
        match parts.as_slice() {
            [b"steps", step, b"results", last] => {
                let (result, part) = indexed(last);
                Ok(Self { step, result, part })
            }
            [b"steps", step, b"results", result, key] => {
                Ok(Self { step, result: result.to_vec(), part: Part::Key(key) })
            }
            [b"steps", _, b"results", ..] => Err(Malformed::TooManyParts),
            _ => Err(Malformed::NoResult),
        }
    }
}

/// Takes every index (`\[[0-9]*\*?\]`) out of a result's name; the first one counts.
fn indexed(text: &[u8]) -> (Vec<u8>, Part<'static>) {
    let mut name = Vec::with_capacity(text.len());
    let mut index = None;
    let mut rest = text;
    while let Some((first, behind)) = rest.split_first() {
        if let Some((inside, after)) = index_at(rest) {
            index.get_or_insert(inside);
            rest = after;
        } else {
            name.push(*first);
            rest = behind;
        }
    }
    let part = match index {
        None | Some(b"") => Part::Whole,
        Some(b"*") => Part::All,
        // Digits alone. Go reads more of them than fit as the largest number, and `1*`, which is none, as 0.
        Some(digits) if digits.ends_with(b"*") => Part::Element(0),
        Some(digits) => Part::Element(
            digits
                .iter()
                .fold(0, |value: u64, digit| {
                    value.saturating_mul(10).saturating_add(u64::from(digit.wrapping_sub(b'0')))
                })
                .min(i64::MAX.unsigned_abs()),
        ),
    };
    (name, part)
}

/// The inside of the index with which `text` starts, and what follows.
fn index_at(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let inside = text.strip_prefix(b"[")?;
    let digits = inside.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let length = if inside.get(digits) == Some(&b'*') { digits + 1 } else { digits };
    let (inside, rest) = inside.split_at_checked(length)?;
    Some((inside, rest.strip_prefix(b"]")?))
}

/// Which of a step's artifacts are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// Those that it used.
    Inputs,
    /// Those that it made.
    Outputs,
}

/// A reference to an artifact of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArtifactReference<'t> {
    /// The step's name.
    pub step: &'t [u8],
    /// Which of its artifacts.
    pub direction: Direction,
    /// The artifact's name.
    pub name: &'t [u8],
}

/// Where references to artifacts stand, in order and apart from each other:
/// `\$\(steps\.([^.]+)\.(?:inputs|outputs)\.([^.)]+)\)`.
#[must_use]
pub fn artifacts(text: &[u8]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(start) = find(text, START, at) {
        at = start + START.len();
        if let Some((_, length)) = text.get(start..).and_then(artifact_at) {
            at = start + length;
            found.push(start..at);
        }
    }
    found
}

impl<'t> ArtifactReference<'t> {
    /// Reads a text that [`artifacts`] found.
    #[must_use]
    pub fn parse(text: &'t [u8]) -> Option<Self> {
        artifact_at(text).map(|(reference, _)| reference)
    }
}

/// The reference with which a text starts, and its length.
fn artifact_at(text: &[u8]) -> Option<(ArtifactReference<'_>, usize)> {
    let (step, rest) = split_at_first(text.strip_prefix(START)?, |byte| byte == b'.')?;
    let (direction, rest) = match rest.strip_prefix(b".inputs.") {
        Some(rest) => (Direction::Inputs, rest),
        None => (Direction::Outputs, rest.strip_prefix(b".outputs.")?),
    };
    let (name, rest) = split_at_first(rest, |byte| byte == b'.' || byte == b')')?;
    let rest = rest.strip_prefix(b")")?;
    Some((ArtifactReference { step, direction, name }, text.len() - rest.len()))
}

/// What stands before the first such byte, which must be something, and the rest from it on.
fn split_at_first(text: &[u8], is_it: impl Fn(u8) -> bool) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|byte| is_it(*byte)).filter(|at| *at > 0)?;
    text.split_at_checked(at)
}

/// Where `wanted` stands first, from `from` on.
fn find(text: &[u8], wanted: &[u8], from: usize) -> Option<usize> {
    let first = *wanted.first()?;
    let mut at = from;
    loop {
        at += text.get(at..)?.iter().position(|byte| *byte == first)?;
        if text.get(at..)?.starts_with(wanted) {
            return Some(at);
        }
        at += 1;
    }
}

/// How much of a reference a person is shown.
const SHOWN: usize = 200;

/// A reference for the log: as far as it looks like one. What is found may reach over other text, which may be a secret.
#[must_use]
pub fn shown(reference: &[u8]) -> String {
    let inside = reference.strip_prefix(b"$(").unwrap_or_default();
    let inside = inside.strip_suffix(b")").unwrap_or(inside);
    format!("$({})", shown_name(inside))
}

/// A name out of a reference for the log, with the same care.
#[must_use]
pub fn shown_name(name: &[u8]) -> String {
    let is_plain = |byte: &&u8| byte.is_ascii_alphanumeric() || b"._-/[]*".contains(byte);
    let mut plain: String = name.iter().take(SHOWN).take_while(is_plain).map(|byte| char::from(*byte)).collect();
    if plain.len() < name.len() {
        plain.push('…');
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<&str> {
        results(text.as_bytes()).into_iter().map(|range| &text[range]).collect()
    }

    #[test]
    fn references_to_results_are_found_where_tekton_finds_them() {
        for (text, expected) in [
            ("", &[][..]),
            ("$(steps.a.results.b)", &["$(steps.a.results.b)"]),
            ("<$(steps.a.results.b)>$(steps.a.results.c[0])", &["$(steps.a.results.b)", "$(steps.a.results.c[0])"]),
            ("$$(steps.a.results.b))", &["$(steps.a.results.b)"]),
            ("$(steps..results.)", &["$(steps..results.)"]),
            ("$(steps.a.b.results.c)", &["$(steps.a.b.results.c)"]),
            // Neither name is complete, or a line ends in it.
            ("$(steps.a.results.b", &[]),
            ("$(steps.results.b)", &[]),
            ("$(steps.a.results)", &[]),
            ("$(steps.a\n.results.b)", &[]),
            ("$(steps.a.results.b\n)", &[]),
            ("$(step.a.results.b)", &[]),
            ("$(tasks.a.results.b)", &[]),
            ("$(steps.a.outputs.b)", &[]),
            // A start that finds no end of its own takes that of the next one in the line, not of the next line.
            ("$(steps.a) $(steps.b.results.c)", &["$(steps.a) $(steps.b.results.c)"]),
            ("$(steps.a)\n$(steps.b.results.c)", &["$(steps.b.results.c)"]),
            ("$(steps.a\u{e9}.results.b)", &["$(steps.a\u{e9}.results.b)"]),
        ] {
            assert_eq!(found(text), expected, "{text:?}");
        }
        assert_eq!(results(b"\xff$(steps.\xff.results.\xff)\xff").first(), Some(&(1..21)));
    }

    #[test]
    fn a_reference_names_a_step_a_result_and_a_part_of_it() {
        for (text, step, result, part) in [
            ("$(steps.a.results.b)", "a", "b", Part::Whole),
            ("$(steps.a.results.b[0])", "a", "b", Part::Element(0)),
            ("$(steps.a.results.b[10])", "a", "b", Part::Element(10)),
            ("$(steps.a.results.b[007])", "a", "b", Part::Element(7)),
            ("$(steps.a.results.b[99999999999999999999])", "a", "b", Part::Element(i64::MAX.unsigned_abs())),
            ("$(steps.a.results.b[*])", "a", "b", Part::All),
            ("$(steps.a.results.b.c)", "a", "b", Part::Key(b"c")),
            ("$(steps.a.results.b.)", "a", "b", Part::Key(b"")),
            ("$(steps.a.results.b[0].c)", "a", "b[0]", Part::Key(b"c")),
            ("$(steps.a.results.b[])", "a", "b", Part::Whole),
            ("$(steps.a.results.b[1*])", "a", "b", Part::Element(0)),
            ("$(steps.a.results.b[-1])", "a", "b[-1]", Part::Whole),
            ("$(steps.a.results.b[x])", "a", "b[x]", Part::Whole),
            ("$(steps.a.results.b[1][*])", "a", "b", Part::Element(1)),
            ("$(steps.a.results.[[2]c)", "a", "[c", Part::Element(2)),
            ("$(steps..results.)", "", "", Part::Whole),
            ("$(steps.a/b.results.c/d)", "a/b", "c/d", Part::Whole),
        ] {
            let expected = ResultReference { step: step.as_bytes(), result: result.as_bytes().to_vec(), part };
            assert_eq!(ResultReference::parse(text.as_bytes()), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_malformed_reference_is_told_with_the_forms_that_there_are() {
        for (text, malformed, forms) in [
            ("$(steps.a.b.results.c)", Malformed::NoResult, 2),
            ("$(steps.a) $(steps.b.results.c)", Malformed::NoResult, 2),
            ("$(steps.a.results.b.c.d)", Malformed::TooManyParts, 4),
            ("$(steps.a.results...)", Malformed::TooManyParts, 4),
        ] {
            assert_eq!(ResultReference::parse(text.as_bytes()), Err(malformed), "{text}");
            assert!(malformed.to_string().contains(&format!("{forms}). ")), "{malformed}");
            assert!(!malformed.to_string().contains(&format!("{}). ", forms + 1)), "{malformed}");
        }
    }

    #[test]
    fn no_name_leads_upward() {
        // A dot ends every name, so that none can be `..`: files are looked for below the steps' directory only.
        assert_eq!(ResultReference::parse(b"$(steps.a/../../x.results.y)"), Err(Malformed::NoResult));
        assert_eq!(ResultReference::parse(b"$(steps.a.results.../y)"), Err(Malformed::TooManyParts));
        assert_eq!(artifacts(b"$(steps.a/../x.outputs.y) $(steps.a.outputs.../y)"), []);
    }

    #[test]
    fn references_to_artifacts_are_found_where_tekton_finds_them() {
        let shown = |text: &str| -> Vec<String> {
            let name = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            let all = artifacts(text.as_bytes()).into_iter();
            all.map(|range| {
                let ArtifactReference { step, direction, name: artifact } =
                    ArtifactReference::parse(&text.as_bytes()[range.clone()]).unwrap();
                format!("{range:?} {} {direction:?} {}", name(step), name(artifact))
            })
            .collect()
        };
        for (text, expected) in [
            ("", &[][..]),
            ("$(steps.a.outputs.b)", &["0..20 a Outputs b"]),
            ("x$(steps.a.inputs.b)$(steps.c.outputs.d)", &["1..20 a Inputs b", "20..40 c Outputs d"]),
            ("$(steps.a.outputs)", &[]),
            ("$(steps.a.outputs.)", &[]),
            ("$(steps..outputs.b)", &[]),
            ("$(steps.a.outputs.b.c)", &[]),
            ("$(steps.a.outputs.b", &[]),
            ("$(steps.a.output.b)", &[]),
            ("$(steps.a.results.b)", &[]),
            // Names may hold anything but a dot, line ends too.
            ("$(steps.a\nb.outputs.c[0]\n)", &["0..26 a\nb Outputs c[0]\n"]),
            ("$(steps.a) x.outputs.b)", &["0..23 a) x Outputs b"]),
            ("$(steps.a $(steps.b.outputs.c)", &["10..30 b Outputs c"]),
            ("$(steps.a.outputs.$(steps.b.outputs.c))", &["18..38 b Outputs c"]),
        ] {
            assert_eq!(shown(text), expected, "{text:?}");
        }
    }

    #[test]
    fn what_stands_around_a_reference_is_never_shown() {
        for (text, expected) in [
            ("$(steps.a.results.b[*])", "$(steps.a.results.b[*])"),
            ("$(steps.a-b/c_d.results.e.f)", "$(steps.a-b/c_d.results.e.f)"),
            ("$(steps.a) hunter2 $(steps.b.results.c)", "$(steps.a…)"),
            ("$(steps.a)hunter2$(steps.b.results.c)", "$(steps.a…)"),
            ("$(steps.a\x1b[31m.results.c)", "$(steps.a…)"),
            ("$(steps.\u{e9}.results.c)", "$(steps.…)"),
        ] {
            assert_eq!(shown(text.as_bytes()), expected, "{text:?}");
        }
        let long = format!("$(steps.{}.results.c)", "a".repeat(1 << 20));
        assert!(shown(long.as_bytes()).len() < 300);
    }
}
