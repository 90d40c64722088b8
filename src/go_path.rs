//! Paths as Go's `filepath` joins and cleans them, by their letters alone. What is opened is what Tekton opens, and
//! the path of an artifact is its key in the termination message.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// The path of `name` below `dir`; an absolute name is below it too. Without a `dir` the name stands alone.
///
/// <https://pkg.go.dev/path/filepath#Join>
#[must_use]
pub fn join(dir: &Path, name: impl AsRef<OsStr>) -> PathBuf {
    let (dir, name) = (dir.as_os_str().as_bytes(), name.as_ref().as_bytes());
    let joined = if dir.is_empty() { name.to_vec() } else { [dir, b"/", name].concat() };
    clean(Path::new(OsStr::from_bytes(&joined)))
}

/// The shortest path of the same meaning, if no directory on the way is a link: <https://pkg.go.dev/path/filepath#Clean>.
#[must_use]
pub fn clean(path: &Path) -> PathBuf {
    let path = path.as_os_str().as_bytes();
    let root: &[u8] = if path.starts_with(b"/") { b"/" } else { b"" };
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." if parts.last().is_some_and(|last| *last != b"..") => {
                parts.pop();
            }
            // Above the root there is the root.
            b".." if !root.is_empty() => {}
            _ => parts.push(part),
        }
    }
    let cleaned = [root, &parts.join(&b'/')].concat();
    if cleaned.is_empty() { PathBuf::from(".") } else { OsString::from_vec(cleaned).into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_joined_and_cleaned_as_go_does_it() {
        for (dir, name, expected) in [
            ("/tekton/run/0/status", "artifacts/provenance.json", "/tekton/run/0/status/artifacts/provenance.json"),
            ("/tekton//run/./0/status/", "artifacts", "/tekton/run/0/status/artifacts"),
            ("", "artifacts/provenance.json", "artifacts/provenance.json"),
            (".", "artifacts", "artifacts"),
            ("./run//0/../1/", "artifacts", "run/1/artifacts"),
            ("..", "artifacts", "../artifacts"),
            ("../..", "../artifacts", "../../../artifacts"),
            ("/..", "artifacts", "/artifacts"),
            ("/results", "/r", "/results/r"),
            ("/results", "../above", "/above"),
            ("results", "../../above", "../above"),
            ("results", "..", "."),
            ("/", "..", "/"),
            ("/a", "b/..c/...", "/a/b/..c/..."),
            ("/secrets", "../x/./y//username", "/x/y/username"),
            ("/secrets/all", "../../../../etc/username", "/etc/username"),
            ("/home", "", "/home"),
            ("work/..", ".ssh", ".ssh"),
        ] {
            assert_eq!(join(Path::new(dir), name), Path::new(expected), "{dir:?} and {name:?}");
        }
    }

    #[test]
    fn bytes_that_are_no_utf8_stay() {
        let dir = PathBuf::from(OsString::from_vec(b"/a/\xff/..\xff".to_vec()));
        assert_eq!(join(&dir, "r").as_os_str().as_bytes(), b"/a/\xff/..\xff/r");
    }
}
