//! Opening a file to write into where others may have put a link: a stranger's link lends nobody our rights.
//!
//! A step can have another user than the supervisor that reports it, and than the steps with which it shares a volume. With
//! a link at the name of a file that is written for it, it would have us write where it may not. `fs.protected_symlinks`
//! keeps that from happening only in directories like `/tmp`.

use std::fs::{File, FileType, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::fcntl::readlinkat;

use super::filesystem;

/// How many links are followed: as many as the kernel does.
const LINKS: usize = 40;

/// Never waits, as [`super::file::open`] does not.
const FLAGS: i32 = libc::O_NONBLOCK | libc::O_NOCTTY;

/// Opens a file to write into; what it is stands beside it. Links of root's and of this user's are followed. One of anybody
/// else leads only to a file that is his as well, and makes none. `options` may not truncate: what must not be opened
/// would be empty then.
///
/// # Errors
/// Those of the system for `open`; [`io::ErrorKind::PermissionDenied`] where a stranger's link leads to what is not his.
pub fn open(path: &Path, options: &OpenOptions) -> io::Result<(File, FileType)> {
    let mut options = options.clone();
    let mut path = path.to_owned();
    let mut stranger = None;
    for _ in 0..LINKS {
        let (link, owner) = match options.custom_flags(FLAGS | libc::O_NOFOLLOW).open(&path) {
            Err(error) if error.raw_os_error() == Some(libc::ELOOP) => match link(&path)? {
                Some(link) => link,
                // Somebody is playing with the name.
                None => continue,
            },
            opened => return judged(opened?, stranger),
        };
        // SAFETY: the call has no argument and no failure.
        let own = unsafe { libc::geteuid() };
        if owner != 0 && owner != own {
            stranger = stranger.or(Some(owner));
            options.create(false);
        }
        // `/proc/self/fd/2`, where `/dev/stderr` leads, is a link whose text is no path.
        if filesystem::is_kernels(&link) {
            return judged(options.custom_flags(FLAGS).open(&path)?, stranger);
        }
        path = beside(&path, &readlinkat(&link, "")?.into());
    }
    Err(io::Error::from_raw_os_error(libc::ELOOP))
}

/// The link at a path, held, with its owner; none if there is something else by now.
fn link(path: &Path) -> io::Result<Option<(File, u32)>> {
    let link = OpenOptions::new().read(true).custom_flags(libc::O_PATH | libc::O_NOFOLLOW).open(path)?;
    let found = link.metadata()?;
    Ok(found.file_type().is_symlink().then(|| (link, found.uid())))
}

/// Where the text of a link leads.
fn beside(link: &Path, text: &PathBuf) -> PathBuf {
    match link.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory.join(text),
        Some(_) | None => text.clone(),
    }
}

/// What a stranger's link led to must be his.
fn judged(file: File, stranger: Option<u32>) -> io::Result<(File, FileType)> {
    let found = file.metadata()?;
    match stranger {
        Some(user) if user != found.uid() => Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("a link of user {user} leads there, and the file is that of user {}", found.uid()),
        )),
        Some(_) | None => Ok((file, found.file_type())),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{lchown, symlink};

    use super::*;

    const STRANGER: Option<u32> = Some(4711);

    fn opened(path: &Path) -> io::Result<(File, FileType)> {
        open(path, OpenOptions::new().write(true).create(true).truncate(false))
    }

    #[test]
    fn own_links_are_followed_and_make_files_as_open_does() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir(at("below")).unwrap();
        for (name, text) in [("one", "below/two"), ("below/two", "../three"), ("loop", "loop")] {
            symlink(text, at(name)).unwrap();
        }
        assert!(opened(&at("one")).unwrap().1.is_file());
        assert!(at("three").is_file());
        assert_eq!(opened(&at("loop")).unwrap_err().raw_os_error(), Some(libc::ELOOP));
        assert_eq!(opened(&at("none/file")).unwrap_err().raw_os_error(), Some(libc::ENOENT));
        symlink("/proc/self/fd/2", at("stderr")).unwrap();
        opened(&at("stderr")).unwrap();
    }

    #[test]
    fn a_strangers_link_leads_only_to_what_is_his() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for file in ["ours", "his"] {
            fs::write(at(file), "as it was").unwrap();
        }
        for (name, text) in
            [("to-ours", "ours"), ("to-his", "his"), ("to-nothing", "nothing"), ("to-null", "/dev/null")]
        {
            symlink(text, at(name)).unwrap();
            if lchown(at(name), STRANGER, None).is_err() {
                // Only root can give anything away; tests/threats/ has the same in a pod.
                return;
            }
        }
        // A link of ours does not make his a link of ours.
        symlink("to-ours", at("through-ours")).unwrap();
        lchown(at("his"), STRANGER, None).unwrap();
        opened(&at("to-his")).unwrap();
        for name in ["to-ours", "through-ours", "to-null"] {
            let error = opened(&at(name)).unwrap_err();
            assert_eq!(error.to_string(), "a link of user 4711 leads there, and the file is that of user 0", "{name}");
        }
        assert_eq!(opened(&at("to-nothing")).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(!at("nothing").exists());
    }
}
