//! Leaves which image a step was: `image.json` and, where it is asked for, a step result. The texts are finished, so that
//! they can be kept while the step runs, and written by every build. Nobody's end depends on them: what cannot be written
//! is a sentence for the log.

use std::ffi::OsStr;
use std::path::Path;

use crate::go_path;
use crate::sys::cause::Cause;
use crate::sys::replace::{Writers, replace};

/// The name of the file, in the step's metadata directory.
pub const FILE: &str = "image.json";

/// What is to be left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageFiles {
    /// The document.
    pub json: String,
    /// The step result that says it too.
    pub result: Option<ImageResult>,
}

/// A step result of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageResult {
    /// Its name: one without slashes.
    pub name: String,
    /// Its value.
    pub value: String,
}

impl ImageFiles {
    /// Writes `image.json` and the result's file. The step can write there: what it put at those names is replaced, not
    /// followed. Returns a sentence for each that could not be written.
    pub(super) fn write(&self, metadata_dir: &Path) -> Vec<String> {
        let own = go_path::clean(metadata_dir);
        let document = write(&own, FILE, &format!("{}\n", self.json));
        let result = self.result.as_ref().map(|ImageResult { name, value }| write(&own.join("results"), name, value));
        [Some(document), result].into_iter().flatten().filter_map(Result::err).collect()
    }
}

fn write(directory: &Path, name: &str, content: &str) -> Result<(), String> {
    replace(directory, OsStr::new(name), content.as_bytes(), Writers::Owner).map_err(|error| {
        let path = directory.join(name);
        format!("{path:?}, which says which image the step was, cannot be written: {}", Cause(&error))
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn files() -> ImageFiles {
        let result = Some(ImageResult { name: "image".into(), value: "brief".into() });
        ImageFiles { json: "{}".into(), result }
    }

    #[test]
    fn what_the_step_has_put_at_their_names_is_replaced_and_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let own = dir.path().join("status");
        fs::create_dir_all(own.join("results")).unwrap();
        let other = dir.path().join("other");
        fs::write(&other, "0").unwrap();
        for name in ["image.json", "results/image"] {
            symlink(&other, own.join(name)).unwrap();
        }
        assert_eq!(files().write(&own), [""; 0]);
        assert_eq!(fs::read_to_string(own.join("image.json")).unwrap(), "{}\n");
        assert_eq!(fs::read_to_string(own.join("results/image")).unwrap(), "brief");
        assert_eq!(fs::read_to_string(&other).unwrap(), "0");
    }

    #[test]
    fn without_a_result_there_is_one_file() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(ImageFiles { result: None, ..files() }.write(dir.path()), [""; 0]);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn each_that_cannot_be_written_is_a_sentence_and_the_other_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let unwritten =
            |path: &Path, why: &str| format!("{path:?}, which says which image the step was, cannot be written: {why}");
        let result = dir.path().join("results/image");
        assert_eq!(files().write(dir.path()), [unwritten(&result, "no such file or directory")]);
        assert!(dir.path().join("image.json").exists());
        fs::remove_file(dir.path().join("image.json")).unwrap();
        fs::create_dir_all(dir.path().join("image.json")).unwrap();
        fs::create_dir(dir.path().join("results")).unwrap();
        assert_eq!(files().write(dir.path()), [unwritten(&dir.path().join("image.json"), "is a directory")]);
        assert_eq!(fs::read_to_string(result).unwrap(), "brief");
    }
}
