//! The file `exitCode`, by which later steps see how this one ended. A process that is killed at it leaves the whole file or
//! none.

use std::fs;
use std::io;
use std::path::Path;

use super::post::PostError;
use crate::sys::replace::{Writers, replace};

/// Its name, in the step's metadata directory.
const FILE: &str = "exitCode";

/// Writes the file, and makes the directories above it, with Tekton's modes: 0666 and 0777 less the umask.
///
/// # Errors
/// [`PostError`] when the file does not stand there with its content afterwards.
pub(super) fn write(metadata_dir: &Path, content: &str) -> Result<(), PostError> {
    let path = metadata_dir.join(FILE);
    let dir = if metadata_dir == Path::new("") { Path::new(".") } else { metadata_dir };
    if let Err(source) = fs::create_dir_all(dir) {
        return Err(PostError::Directory { path, dir: dir.to_owned(), source });
    }
    replace(dir, FILE.as_ref(), content.as_bytes(), Writers::All).map_err(|source| {
        if is_full(&source) { PostError::Write { path, source } } else { PostError::Create { path, source } }
    })
}

/// Whether there was no room for the content.
fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_stands_there_without_a_newline_in_place_of_what_stood_there() {
        let dir = tempfile::tempdir().unwrap();
        let status = dir.path().join("run/0/status");
        for code in ["killed", "-1"] {
            write(&status, code).unwrap();
            assert_eq!(fs::read_to_string(status.join(FILE)).unwrap(), code);
        }
        assert_eq!(fs::read_dir(status).unwrap().count(), 1);
    }

    #[test]
    fn whoever_looks_sees_a_whole_one() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "0").unwrap();
        let before = fs::File::open(dir.path().join(FILE)).unwrap();
        write(dir.path(), "255").unwrap();
        // The one that is open has not been emptied meanwhile: it is another file.
        assert_eq!(io::read_to_string(before).unwrap(), "0");
    }

    #[test]
    fn what_the_step_put_there_to_have_us_write_elsewhere_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let (file, elsewhere) = (dir.path().join(FILE), dir.path().join("elsewhere"));
        fs::write(&elsewhere, "as it was").unwrap();
        let plant: [&dyn Fn(); 3] = [
            &|| std::os::unix::fs::symlink(&elsewhere, &file).unwrap(),
            &|| fs::hard_link(&elsewhere, &file).unwrap(),
            &|| nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRWXU).unwrap(),
        ];
        for plant in plant {
            plant();
            write(dir.path(), "0").unwrap();
            assert_eq!((fs::read(&file).unwrap(), fs::read(&elsewhere).unwrap()), (b"0".into(), b"as it was".into()));
            fs::remove_file(&file).unwrap();
        }
    }

    #[test]
    fn a_file_in_the_way_of_the_directory_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let status = dir.path().join("status");
        fs::write(&status, "").unwrap();
        let error = write(&status, "0").unwrap_err();
        assert_eq!(error.to_string(), format!("Creating {:?}: making the directory {status:?}", status.join(FILE)));
    }
}
