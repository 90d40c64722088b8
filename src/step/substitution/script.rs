//! The script of a step: a file that the controller wrote, and that is replaced by a temporary one when it refers to
//! artifacts.

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions, Permissions};
use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::go_path;
use crate::host::Env;
use crate::sys::file;

/// How many names for a temporary file are tried.
const TRIES: u32 = 1000;

/// Why a new script was not placed.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// It cannot be made.
    #[error("open {path}")]
    Create {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It was made, and could not be written; it is gone again.
    #[error("write {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The script, if the command is one and nothing else: a single word that names a file in `scripts_dir`.
#[must_use]
pub fn of<'a>(argv: &'a [OsString], scripts_dir: &Path) -> Option<&'a Path> {
    let [word] = argv else { return None };
    let at = word.as_bytes().iter().rposition(|byte| *byte == b'/')?;
    let directory = Path::new(OsStr::from_bytes(word.as_bytes().get(..=at)?));
    (go_path::clean(directory) == go_path::clean(scripts_dir)).then_some(Path::new(word))
}

/// Where temporary files are made: `$TMPDIR`, else `/tmp`.
#[must_use]
pub fn temporary_directory(env: &Env) -> PathBuf {
    env.get("TMPDIR").filter(|dir| !dir.is_empty()).unwrap_or(OsStr::new("/tmp")).into()
}

/// Makes a script of mode 0755, whatever the umask, with a new name. It stays for as long as the container does.
///
/// # Errors
/// [`PlaceError`]; then there is no such file.
pub fn place(content: &[u8], temporary_directory: &Path) -> Result<PathBuf, PlaceError> {
    let (mut file, path) = create(temporary_directory)?;
    let written = file.write_all(content).and_then(|()| file.set_permissions(Permissions::from_mode(0o755)));
    if let Err(source) = written {
        file::take_back(&path, &file, None);
        return Err(PlaceError::Write { path, source });
    }
    // Closed before anybody executes it: the kernel refuses a file that is open for writing.
    drop(file);
    Ok(path)
}

/// A new file, which nobody else can have put there.
fn create(directory: &Path) -> Result<(File, PathBuf), PlaceError> {
    let random = RandomState::new();
    let mut attempt = 0;
    loop {
        let path = directory.join(format!("script-{}", random.hash_one(attempt) >> 32));
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
            Ok(file) => return Ok((file, path)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && attempt < TRIES => attempt += 1,
            Err(source) => return Err(PlaceError::Create { path, source }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;
    use std::fs;

    use super::*;

    #[test]
    fn a_script_is_a_single_word_that_names_a_file_of_the_scripts_directory() {
        let scripts = Path::new("/tekton/scripts");
        for (words, is_script) in [
            (&["/tekton/scripts/script-0-abcde"][..], true),
            (&["/tekton//scripts/./x"], true),
            (&["/tekton/other/../scripts/x"], true),
            (&["/../tekton/scripts/x"], true),
            (&["/tekton/scripts/"], true),
            (&["/tekton/scripts/x", "argument"], false),
            (&["/tekton/scripts"], false),
            (&["/tekton/scripts/sub/x"], false),
            (&["/tekton/scripts2/x"], false),
            (&["tekton/scripts/x"], false),
            (&["../tekton/scripts/x"], false),
            (&["x"], false),
            (&[""], false),
            (&[], false),
        ] {
            let argv: Vec<OsString> = words.iter().map(OsString::from).collect();
            assert_eq!(of(&argv, scripts), is_script.then(|| Path::new(words[0])), "{words:?}");
        }
    }

    #[test]
    fn temporary_files_are_made_where_the_environment_says() {
        for (env, expected) in [
            (Env::default(), "/tmp"),
            ([("TMPDIR", "")].into_iter().collect(), "/tmp"),
            ([("TMPDIR", "/scratch")].into_iter().collect(), "/scratch"),
        ] {
            assert_eq!(temporary_directory(&env), Path::new(expected));
        }
    }

    #[test]
    fn a_placed_script_is_new_whole_and_everybody_may_execute_it() {
        let dir = tempfile::tempdir().unwrap();
        let paths: Vec<PathBuf> = ["one", "two"].map(|text| place(text.as_bytes(), dir.path()).unwrap()).into();
        assert_ne!(paths[0], paths[1]);
        for (path, text) in paths.iter().zip(["one", "two"]) {
            let name = path.file_name().unwrap().to_str().unwrap();
            let digits = name.strip_prefix("script-").unwrap();
            assert!(digits.parse::<u32>().is_ok(), "{name}");
            assert_eq!(fs::read_to_string(path).unwrap(), text);
            assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o7777, 0o755);
        }
    }

    #[test]
    fn a_script_that_cannot_be_placed_is_named_and_not_left_behind() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("missing");
        let error = place(b"", &missing).unwrap_err();
        assert!(error.to_string().starts_with(&format!("open {:?}/script-", missing).replace('"', "")), "{error}");
        assert!(error.source().is_some());
    }
}
