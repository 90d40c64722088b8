//! Which container of its pod this process is in: kubelet mounts the file of each container's termination message from
//! a directory with the container's name.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::go_path;
use crate::image::shown;
use crate::sys::file::{self, FileError};

/// The mounts of this process.
const MOUNTINFO: &str = "/proc/self/mountinfo";

/// The longest list of mounts that is read, in bytes: that of a container has some dozens of lines.
const LIMIT: u64 = 1 << 20;

/// How many characters of somebody's path a message shows.
const SHOWN: usize = 200;

/// A container as kubelet names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnContainer {
    /// The UID of its pod.
    pub pod_uid: String,
    /// Its name.
    pub name: String,
}

/// Why nothing tells which container this is.
#[derive(Debug, Error)]
pub enum NotTold {
    /// The mounts cannot be read.
    #[error(transparent)]
    Unread(FileError),
    /// Kubelet did not mount the file.
    #[error("nothing is mounted at the termination path {}", .0.display())]
    NoMount(PathBuf),
    /// Somebody else mounted it.
    #[error("what is mounted at the termination path {} is not what kubelet mounts there: {root:?}", path.display())]
    NotKubelets {
        /// The termination path.
        path: PathBuf,
        /// What is mounted, within its file system.
        root: String,
    },
}

impl OwnContainer {
    /// The container that this process is in, by the mount of its termination path.
    ///
    /// # Errors
    ///
    /// [`NotTold`], outside of a pod for example.
    pub fn find(termination_path: &Path) -> Result<Self, NotTold> {
        let mounts = file::read(Path::new(MOUNTINFO), LIMIT).map_err(NotTold::Unread)?;
        // The kernel lists where a mount is, not by which links one comes there.
        let place = fs::canonicalize(termination_path).unwrap_or_else(|_| go_path::clean(termination_path));
        Self::of_mounts(&mounts, &place)
    }

    /// The container that a list of mounts (`/proc/self/mountinfo`) tells of: the last mount at a place hides those before
    /// it.
    ///
    /// # Errors
    ///
    /// [`NotTold`].
    pub fn of_mounts(mountinfo: &[u8], termination_path: &Path) -> Result<Self, NotTold> {
        let wanted = termination_path.as_os_str().as_bytes();
        let root = mountinfo
            .split(|byte| *byte == b'\n')
            .rev()
            .find_map(|line| mounted(line).filter(|(_, place)| place == wanted).map(|(root, _)| root))
            .ok_or_else(|| NotTold::NoMount(termination_path.to_owned()))?;
        Self::of_root(&root).ok_or_else(|| NotTold::NotKubelets {
            path: termination_path.to_owned(),
            root: shown(&String::from_utf8_lossy(&root), SHOWN),
        })
    }

    /// `…/pods/UID/containers/NAME/ID`, wherever kubelet has its directory and whatever of it is a file system of its own.
    fn of_root(root: &[u8]) -> Option<Self> {
        let root = std::str::from_utf8(root).ok()?;
        // What the kernel appends when the file is gone from its directory.
        let root = root.strip_suffix("//deleted").unwrap_or(root);
        let mut parts = root.rsplit('/');
        let (id, name, containers, uid, pods) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let letters =
            |text: &str, allowed: fn(char) -> bool| (1..=63).contains(&text.len()) && text.chars().all(allowed);
        let sound = containers == "containers"
            && pods == "pods"
            && !id.is_empty()
            && letters(name, |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
            && letters(uid, |c| c.is_ascii_alphanumeric() || c == '-');
        sound.then(|| Self { pod_uid: uid.to_owned(), name: name.to_owned() })
    }
}

/// What a line mounts where: the fourth and the fifth of its fields.
/// <https://www.kernel.org/doc/html/latest/filesystems/proc.html#proc-pid-mountinfo-information-about-mounts>
fn mounted(line: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut fields = line.split(|byte| *byte == b' ').skip(3);
    Some((unescaped(fields.next()?), unescaped(fields.next()?)))
}

/// A field without the kernel's escapes: three octal digits behind a backslash.
fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [byte, after @ ..] = rest {
        let (found, after) = escaped(rest).unwrap_or((*byte, after));
        bytes.push(found);
        rest = after;
    }
    bytes
}

/// The byte of the escape that a text begins with, and what stands behind it.
fn escaped(text: &[u8]) -> Option<(u8, &[u8])> {
    let (digits, after) = text.strip_prefix(br"\")?.split_at_checked(3)?;
    let digit = |byte: &u8| matches!(byte, b'0'..=b'7').then(|| u32::from(byte - b'0'));
    let number = digits.iter().try_fold(0, |number, byte| Some(number << 3 | digit(byte)?))?;
    Some((u8::try_from(number).ok()?, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    const UID: &str = "0a4c9bd6-1f0b-4b9c-9f2e-6d8f3f1f2a11";

    fn line(root: &str, place: &str) -> String {
        format!("1201 1190 8:1 {root} {place} rw,relatime shared:5 - ext4 /dev/sda1 rw\n")
    }

    fn kubelets(base: &str, name: &str) -> String {
        format!("{base}/pods/{UID}/containers/{name}/5d1e2f3a")
    }

    /// The container's name, or why there is none.
    fn told(mountinfo: impl AsRef<[u8]>, path: &str) -> Result<String, String> {
        let own = OwnContainer::of_mounts(mountinfo.as_ref(), Path::new(path)).map_err(|error| error.to_string())?;
        assert_eq!(own.pod_uid, UID);
        Ok(own.name)
    }

    #[test]
    fn the_mount_of_the_termination_path_has_the_containers_name() {
        let path = "/tekton/termination";
        for base in [
            "/var/lib/kubelet",
            // A file system of its own, another directory, a subvolume, k0s.
            "",
            "/data/kubelet",
            "/@/var/lib/kubelet",
            "/var/lib/k0s/kubelet",
            // A directory with a space, and one that looks like a part of what is sought.
            r"/srv/kube\040let",
            "/pods/x/containers/y/z",
        ] {
            assert_eq!(told(line(&kubelets(base, "step-build"), path), path).as_deref(), Ok("step-build"), "{base}");
        }
        let deleted = line(&format!("{}//deleted", kubelets("", "s")), path);
        assert_eq!(told(deleted, path).as_deref(), Ok("s"));
    }

    #[test]
    fn other_mounts_are_looked_past_and_the_last_at_the_place_wins() {
        let path = "/tekton/termination";
        let hosts = format!("/var/lib/kubelet/pods/{UID}/etc-hosts");
        let (first, second) = (line(&kubelets("", "first"), path), line(&kubelets("", "second"), path));
        let others = [
            line("/", "/"),
            line(&hosts, "/etc/hosts"),
            line(&kubelets("", "other"), "/tekton"),
            line(&kubelets("", "other"), "/tekton/termination2"),
            "garbage\n\n1 2 3\n".to_owned(),
        ]
        .concat();
        assert_eq!(told(format!("{first}{others}"), path).as_deref(), Ok("first"));
        assert_eq!(told(format!("{first}{others}{second}"), path).as_deref(), Ok("second"));
        // Without the last line's end, and behind bytes that are no text.
        assert_eq!(told([b"\xff \xfe\n", first.trim_end().as_bytes()].concat(), path).as_deref(), Ok("first"));
        // What was mounted over it hides it.
        let hidden = format!("{first}{}", line("/upper", path));
        let error = told(hidden, path).unwrap_err();
        assert!(error.ends_with("/tekton/termination is not what kubelet mounts there: \"/upper\""), "{error}");
    }

    #[test]
    fn the_kernels_escapes_are_read() {
        for (escaped, path) in [
            (r"/a\040b", "/a b"),
            (r"/a\011b", "/a\tb"),
            (r"/a\012b", "/a\nb"),
            (r"/a\134b", r"/a\b"),
            (r"/a\134040b", r"/a\040b"),
            (r"/a\043b", "/a#b"),
            // No escapes.
            (r"/a\04", r"/a\04"),
            (r"/a\9999", r"/a\9999"),
            (r"/a\", r"/a\"),
            // 511 is no byte.
            (r"/a\777", r"/a\777"),
        ] {
            assert_eq!(told(line(&kubelets("", "s"), escaped), path).as_deref(), Ok("s"), "{escaped}");
        }
    }

    #[test]
    fn what_kubelet_does_not_mount_tells_nothing() {
        let path = "/tekton/termination";
        for nothing in [String::new(), line("/", "/"), line(&kubelets("", "s"), "/other"), "1 2 3 /x".to_owned()] {
            assert_eq!(
                told(nothing, path).unwrap_err(),
                "nothing is mounted at the termination path /tekton/termination"
            );
        }
        let long = kubelets("", &"a".repeat(64));
        for root in [
            "/",
            "/a/b/c/d/e",
            &kubelets("", "S"),
            &kubelets("", ""),
            &kubelets("", ".."),
            &kubelets("", "é"),
            r"/pods/u/containers/a\040b/1",
            "/pods//containers/s/1",
            "/pods/u/v/containers/s/1",
            "/pods/u/containers/s/",
            "/pods/u/containers/s",
            "/pods/u/volumes/s/1",
            "pods/u",
            &long,
        ] {
            let error = told(line(root, path), path).unwrap_err();
            assert!(error.contains("not what kubelet mounts there"), "{root}: {error}");
        }
    }

    #[test]
    fn this_process_is_in_no_pod() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("termination");
        fs::write(&file, "").unwrap();
        let error = OwnContainer::find(&file).unwrap_err();
        assert!(matches!(error, NotTold::NoMount(_)), "{error}");
        assert!(OwnContainer::find(Path::new("no/such/file")).is_err());
    }
}
