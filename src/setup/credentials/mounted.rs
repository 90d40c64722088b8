//! Secrets that the controller mounted, one directory each: which file holds what.

use std::path::{Path, PathBuf};

use super::files::{self, FileError};
use crate::go_path;

/// Reads a key of a secret.
pub(super) fn read(secrets: &Path, secret: &str, key: &str) -> Result<Vec<u8>, FileError> {
    files::read(&path(secrets, secret, key))
}

/// The file of a secret's key. A name with `..` in it leads out of the directory of secrets, as in Tekton.
pub(super) fn path(secrets: &Path, secret: &str, key: &str) -> PathBuf {
    go_path::join(secrets, format!("{secret}/{key}"))
}

/// A name and a password. Both are bytes: nobody promises that they are text.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Login {
    pub(super) username: Vec<u8>,
    pub(super) password: Vec<u8>,
}

/// Reads a secret of the type `kubernetes.io/basic-auth`.
pub(super) fn login(secrets: &Path, secret: &str) -> Result<Login, FileError> {
    let username = without_line_end(read(secrets, secret, "username")?);
    let password = without_line_end(read(secrets, secret, "password")?);
    Ok(Login { username, password })
}

/// A secret that was made from a file often ends with its line end, which nobody means
/// (<https://github.com/tektoncd/pipeline/issues/3873>).
fn without_line_end(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes.ends_with(b"\n") {
        bytes.pop();
        if bytes.ends_with(b"\r") {
            bytes.pop();
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_end_is_cut_and_nothing_else() {
        for (content, expected) in [
            ("a", "a"),
            ("a\n", "a"),
            ("a\r\n", "a"),
            ("a\n\n", "a\n"),
            ("a\r", "a\r"),
            (" a ", " a "),
            ("\na", "\na"),
            ("\n", ""),
            ("", ""),
        ] {
            assert_eq!(without_line_end(content.into()), expected.as_bytes(), "{content:?}");
        }
    }
}
