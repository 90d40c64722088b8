//! What earlier steps left is put where this one refers to it: `$(steps.NAME.results.NAME)` and
//! `$(steps.NAME.outputs.NAME)` in environment, when expressions, arguments and script.
//!
//! The order, and what becomes of a text where another fails, are those of Tekton's `applyStepResultSubstitutions` and
//! `applyStepArtifactSubstitutions` (`pkg/entrypoint/entrypointer.go`). What a reference stands for is not searched for
//! references to results again.

mod error;
mod files;
pub mod provenance;
pub mod reference;
pub mod script;
pub mod value;

#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;

pub use self::error::SubstitutionError;
use self::error::{Kind, Place, Why};
use self::files::Files;
use self::reference::{ArtifactReference, ResultReference};
use self::value::Selected;
use crate::go_json;
use crate::host::Env;
use crate::log;
use crate::step::when::WhenExpression;

/// How many bytes all replacements of a step may add, and how long a script is read. No process can be given as much:
/// Linux stops at 6 MiB for arguments and environment together.
const LIMIT: usize = 16 << 20;

/// Replaces references to results: in every variable; in the values, the input and the CEL of every when expression; in
/// every word of the command. A value or a word that is a reference to all elements of an array becomes as many.
///
/// # Errors
/// At the first reference that cannot be replaced. The variables and texts of when expressions before it have changed;
/// of the command all words have, or none. [`SubstitutionError::fatal`] tells whether the step can run with it.
pub fn results(
    env: &mut Env,
    when: &mut [WhenExpression],
    argv: &mut Vec<OsString>,
    steps_dir: &Path,
) -> Result<(), SubstitutionError> {
    let mut results = Substitution::new(Kind::Results, steps_dir);
    env.change(|name, text| match results.text(text.as_bytes(), &Place::Variable(name.to_owned())) {
        Ok(new) => Ok(new.map(OsString::from_vec)),
        Err(error) if matches!(*error.source, Why::NulInVariable) => {
            // Tekton goes on too, without a word.
            log::error(error.sentence());
            Ok(None)
        }
        Err(error) => Err(error),
    })?;
    for (index, expression) in when.iter_mut().enumerate() {
        let string = |bytes: Vec<u8>| go_json::text(&bytes).into_owned();
        let place = Place::When(index, "values");
        let mut new = Vec::with_capacity(expression.values.len());
        for value in &expression.values {
            match results.words(value.as_bytes(), &place)? {
                Some(words) => new.extend(words.into_iter().map(string)),
                None => new.push(value.clone()),
            }
        }
        expression.values = new;
        for (text, part) in [(&mut expression.input, "input"), (&mut expression.cel, "cel")] {
            if let Some(new) = results.text(text.as_bytes(), &Place::When(index, part))? {
                *text = string(new);
            }
        }
    }
    let mut new = Vec::with_capacity(argv.len());
    for (index, word) in argv.iter().enumerate() {
        match results.words(word.as_bytes(), &Place::Argument(index))? {
            Some(words) => new.extend(words.into_iter().map(OsString::from_vec)),
            None => new.push(word.clone()),
        }
    }
    *argv = new;
    Ok(())
}

/// Replaces references to artifacts: in the script, if the command is nothing but one in `scripts_dir`, else in every
/// word of the command; then in every variable. A script with references is replaced by a new one in `temporary_directory`
/// (see [`script::temporary_directory`]).
///
/// # Errors
/// At the first reference that cannot be replaced, or if the script cannot. The variables before it have changed; of
/// the command all words have, or none. [`SubstitutionError::fatal`] tells whether the step can run with it.
pub fn artifacts(
    argv: &mut Vec<OsString>,
    env: &mut Env,
    steps_dir: &Path,
    scripts_dir: &Path,
    temporary_directory: &Path,
) -> Result<(), SubstitutionError> {
    let mut artifacts = Substitution::new(Kind::Artifacts, steps_dir);
    if let Some(path) = script::of(argv, scripts_dir) {
        let place = Place::Script(path.to_owned());
        let fail = |why| SubstitutionError {
            kind: Kind::Artifacts,
            reference: None,
            place: place.clone(),
            source: Box::new(why),
        };
        let content = files::read(path, LIMIT as u64, &path.display().to_string());
        let content = content.map_err(|error| fail(error.into()))?;
        if let Some(new) = artifacts.text(&content, &place)? {
            let new = script::place(&new, temporary_directory).map_err(|error| fail(error.into()))?;
            *argv = vec![new.into()];
        }
    } else {
        let mut new = Vec::with_capacity(argv.len());
        for (index, word) in argv.iter().enumerate() {
            let replaced = artifacts.text(word.as_bytes(), &Place::Argument(index))?;
            new.push(replaced.map_or_else(|| word.clone(), OsString::from_vec));
        }
        *argv = new;
    }
    env.change(|name, text| {
        let new = artifacts.text(text.as_bytes(), &Place::Variable(name.to_owned()))?;
        Ok(new.map(OsString::from_vec))
    })
}

/// What one kind of references stands for, and how much of it there may yet be.
struct Substitution<'d> {
    kind: Kind,
    files: Files<'d>,
    room: usize,
}

/// What a reference stands for.
enum Meant {
    Text(Vec<u8>),
    /// All elements of an array that has some.
    Words(Vec<String>),
}

/// What a reference to all elements of an array becomes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Arrays {
    /// As many words, if nothing stands around it; else it is a mistake.
    Words,
    /// Nothing.
    Nothing,
}

impl<'d> Substitution<'d> {
    fn new(kind: Kind, steps_dir: &'d Path) -> Self {
        Self { kind, files: Files::new(steps_dir), room: LIMIT }
    }

    /// A text with its references replaced, if it has any.
    fn text(&mut self, text: &[u8], place: &Place) -> Result<Option<Vec<u8>>, SubstitutionError> {
        let words = self.replace(text, place, Arrays::Nothing)?;
        Ok(words.map(|words| words.concat()))
    }

    /// The words that a text becomes, if it has references.
    fn words(&mut self, text: &[u8], place: &Place) -> Result<Option<Vec<Vec<u8>>>, SubstitutionError> {
        self.replace(text, place, Arrays::Words)
    }

    fn replace(
        &mut self,
        text: &[u8],
        place: &Place,
        arrays: Arrays,
    ) -> Result<Option<Vec<Vec<u8>>>, SubstitutionError> {
        let found = match self.kind {
            Kind::Results => reference::results(text),
            Kind::Artifacts => reference::artifacts(text),
        };
        if found.is_empty() {
            return Ok(None);
        }
        let mut new = Vec::with_capacity(text.len());
        let mut done = 0;
        for range in found {
            new.extend_from_slice(text.get(done..range.start).unwrap_or_default());
            done = range.end;
            let reference = text.get(range).unwrap_or_default();
            let fail = |why| SubstitutionError {
                kind: self.kind,
                reference: Some(reference::shown(reference)),
                place: place.clone(),
                source: Box::new(why),
            };
            let meant = match self.kind {
                Kind::Results => result(&mut self.files, reference),
                Kind::Artifacts => artifact(&mut self.files, reference),
            };
            match meant.map_err(fail)? {
                Meant::Text(text) => {
                    admit(&text, place, &mut self.room).map_err(fail)?;
                    new.extend(text);
                }
                Meant::Words(_) if arrays == Arrays::Nothing => {}
                Meant::Words(_) if reference.len() < text.len() => return Err(fail(Why::NotAlone)),
                Meant::Words(words) => {
                    let words: Vec<Vec<u8>> = words.into_iter().map(String::into_bytes).collect();
                    words.iter().try_for_each(|word| admit(word, place, &mut self.room)).map_err(fail)?;
                    return Ok(Some(words));
                }
            }
        }
        new.extend_from_slice(text.get(done..).unwrap_or_default());
        Ok(Some(vec![new]))
    }
}

fn result(files: &mut Files<'_>, reference: &[u8]) -> Result<Meant, Why> {
    let reference = ResultReference::parse(reference)?;
    let value = files.result(&reference)?;
    Ok(match value.select(&reference.part)? {
        Selected::Text(text) => Meant::Text(text.to_vec()),
        Selected::Words(words) => Meant::Words(words.to_vec()),
    })
}

fn artifact(files: &mut Files<'_>, reference: &[u8]) -> Result<Meant, Why> {
    let not_found = || Why::NoArtifact(reference::shown(reference));
    let reference = ArtifactReference::parse(reference).ok_or_else(not_found)?;
    let provenance = files.provenance(&reference)?;
    let values = provenance.values(&reference).ok_or_else(not_found)?;
    Ok(Meant::Text(values.as_bytes().to_vec()))
}

/// Whether a text may be put into a place: it takes room there, as the kernel counts it, and most have none for a NUL
/// byte.
fn admit(text: &[u8], place: &Place, room: &mut usize) -> Result<(), Why> {
    *room = room.checked_sub(text.len() + size_of::<usize>()).ok_or(Why::TooMuch)?;
    match place {
        Place::Variable(_) if text.contains(&0) => Err(Why::NulInVariable),
        Place::Argument(_) if text.contains(&0) => Err(Why::NulInArgument),
        Place::Variable(_) | Place::Argument(_) | Place::When(..) | Place::Script(_) => Ok(()),
    }
}
