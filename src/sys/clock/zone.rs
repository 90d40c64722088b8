//! The time zone of this process, from `TZ` and the files of an image that is not ours.

use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::rule;
use super::tzif;

/// The zone where `TZ` does not name one.
const LOCAL: &str = "/etc/localtime";

/// Where Go looks for a zone by its name (`platformZoneSources` in its package `time`).
const SOURCES: [&str; 4] = ["/usr/share/zoneinfo", "/usr/share/lib/zoneinfo", "/usr/lib/locale/TZ", "/etc/zoneinfo"];

/// How many bytes of a zone's file are read. The longest one of the time zone database has 5 kB.
const LIMIT: u64 = 64 << 10;

/// Seconds east of UTC at a moment, in seconds since 1970.
pub(super) fn offset(at: i64) -> i64 {
    static ZONE: OnceLock<Zone> = OnceLock::new();
    #[allow(
        clippy::disallowed_methods,
        reason = "the log has local time from its first line on, also where there is no snapshot of the environment"
    )]
    ZONE.get_or_init(|| Zone::named(std::env::var_os("TZ").as_deref(), Path::new("/"))).offset(at)
}

/// Where offsets come from.
#[derive(Debug, PartialEq, Eq)]
enum Zone {
    Utc,
    /// The content of a zone's file.
    File(Vec<u8>),
    /// `TZ` itself.
    Rule(Vec<u8>),
}

impl Zone {
    /// The zone of a value of `TZ`, by Go's rules: unset is the image's own, empty is UTC, an absolute path is a file and
    /// everything else the name of one. What Go does not know is POSIX's form, which is no file's name.
    fn named(tz: Option<&OsStr>, root: &Path) -> Self {
        let Some(tz) = tz else { return read(&below(root, Path::new(LOCAL))).map_or(Self::Utc, Self::File) };
        let tz = tz.as_bytes();
        let tz = tz.strip_prefix(b":").unwrap_or(tz);
        let name = Path::new(OsStr::from_bytes(tz));
        if tz.is_empty() || tz == b"UTC" {
            return Self::Utc;
        }
        let file = if name.is_absolute() {
            read(&below(root, name))
        } else {
            SOURCES.iter().find_map(|source| read(&below(root, &Path::new(source).join(name))))
        };
        match file {
            Some(file) => Self::File(file),
            None if rule::offset(tz, 0).is_some() => Self::Rule(tz.to_vec()),
            None => Self::Utc,
        }
    }

    /// Seconds east of UTC at a moment.
    fn offset(&self, at: i64) -> i64 {
        let offset = match self {
            Self::Utc => None,
            Self::File(file) => tzif::Zone::read(file).and_then(|zone| zone.offset(at)),
            Self::Rule(tz) => rule::offset(tz, at),
        };
        offset.unwrap_or(0)
    }
}

fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// A zone's file, if it is one. Nothing is waited for: whatever stands there was put there by somebody else.
fn read(path: &Path) -> Option<Vec<u8>> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path).ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(LIMIT).read_to_end(&mut bytes).ok()?;
    tzif::Zone::read(&bytes).is_some().then_some(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;

    use super::*;

    /// A file of the first version with one type, so many hours east.
    fn file(hours: i32) -> Vec<u8> {
        let mut bytes = [b"TZif".as_slice(), &[0; 32], &[0, 0, 0, 1], &[0, 0, 0, 0]].concat();
        bytes.extend((hours * 3600).to_be_bytes());
        bytes.extend([0, 0]);
        bytes
    }

    #[test]
    fn tz_names_a_zone_as_it_does_for_go() {
        let root = tempfile::tempdir().unwrap();
        for (path, hours) in
            [("etc/localtime", 1), ("usr/share/zoneinfo/Area/Place", 2), ("etc/zoneinfo/Else", 3), ("opt/zone", 4)]
        {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file(hours)).unwrap();
        }
        fs::write(root.path().join("opt/text"), "CET").unwrap();
        for (tz, hours) in [
            (None, 1),
            (Some(""), 0),
            (Some(":"), 0),
            (Some("UTC"), 0),
            (Some("Area/Place"), 2),
            (Some(":Area/Place"), 2),
            (Some("Else"), 3),
            (Some("/opt/zone"), 4),
            (Some(":/opt/zone"), 4),
            (Some("/no/zone"), 0),
            (Some("/opt/text"), 0),
            (Some("Area"), 0),
            (Some("No/Place"), 0),
            (Some("XST-14"), 14),
        ] {
            let zone = Zone::named(tz.map(OsStr::new), root.path());
            assert_eq!(zone.offset(0), hours * 3600, "{tz:?}");
        }
        assert_eq!(Zone::named(None, &root.path().join("opt")), Zone::Utc);
    }

    #[test]
    fn what_an_image_puts_in_the_place_of_a_zone_is_not_waited_for() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("etc")).unwrap();
        mkfifo(&root.path().join("etc/localtime"), Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
        assert_eq!(Zone::named(None, root.path()), Zone::Utc);
        assert_eq!(read(Path::new("/dev/zero")), None);
        let long = root.path().join("long");
        fs::write(&long, [file(5), vec![0; 1 << 20]].concat()).unwrap();
        assert_eq!(read(&long).map(|bytes| bytes.len() as u64), Some(LIMIT));
    }
}
