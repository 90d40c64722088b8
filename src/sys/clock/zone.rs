//! The time zone of this process, from `TZ` and the files of an image that is not ours.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use tz::{TimeZone, TimeZoneSettings};

use crate::sys::file;

/// The zone where `TZ` does not name one.
const LOCAL: &str = "/etc/localtime";

/// Where Go looks for a zone by its name (`platformZoneSources` in its package `time`).
const SOURCES: [&str; 4] = ["/usr/share/zoneinfo", "/usr/share/lib/zoneinfo", "/usr/lib/locale/TZ", "/etc/zoneinfo"];

/// How many bytes a zone's file may have. The longest one of the time zone database has 5 kB.
const LIMIT: u64 = 64 << 10;

/// The zone of this process.
pub(super) fn local() -> &'static TimeZone {
    static ZONE: OnceLock<TimeZone> = OnceLock::new();
    #[allow(
        clippy::disallowed_methods,
        reason = "the log has local time from its first line on, also where there is no snapshot of the environment"
    )]
    ZONE.get_or_init(|| named(std::env::var_os("TZ").as_deref(), Path::new("/")))
}

/// The zone of a value of `TZ`, by Go's rules: unset is the image's own, empty is UTC, an absolute path is a file and
/// everything else the name of one. What Go does not know is POSIX's form, which is no file's name.
fn named(tz: Option<&OsStr>, root: &Path) -> TimeZone {
    let Some(tz) = tz else { return read(&below(root, Path::new(LOCAL))).unwrap_or_else(TimeZone::utc) };
    let tz = tz.as_bytes();
    let tz = tz.strip_prefix(b":").unwrap_or(tz);
    let name = Path::new(OsStr::from_bytes(tz));
    if tz.is_empty() || tz == b"UTC" {
        return TimeZone::utc();
    }
    let file = if name.is_absolute() {
        read(&below(root, name))
    } else {
        SOURCES.iter().find_map(|source| read(&below(root, &Path::new(source).join(name))))
    };
    file.or_else(|| rule(tz)).unwrap_or_else(TimeZone::utc)
}

fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// The zone that a file describes (TZif, <https://www.rfc-editor.org/rfc/rfc9636>), if it does. Nothing is waited for:
/// whatever stands there was put there by somebody else.
pub(super) fn read(path: &Path) -> Option<TimeZone> {
    TimeZone::from_tz_data(&file::read(path, LIMIT).ok()?).ok()
}

/// The zone that is its own rule: `CET-1CEST,M3.5.0,M10.5.0/3`, POSIX's form of `TZ`.
fn rule(tz: &[u8]) -> Option<TimeZone> {
    let no_files = TimeZoneSettings::new(&[], |_| Err("no file is read".into()));
    no_files.parse_posix_tz(std::str::from_utf8(tz).ok()?).ok()
}

/// Seconds east of UTC at a moment, in seconds since 1970. Before a zone's first change, and where it says nothing of a
/// moment, it is its first kind of time.
pub(super) fn offset(zone: &TimeZone, at: i64) -> i64 {
    let kind = zone.find_local_time_type(at).ok().or_else(|| zone.as_ref().local_time_types().first());
    kind.map_or(0, |kind| kind.ut_offset().into())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;

    use super::*;

    /// A file of the first version with one type, so many hours east.
    fn file(hours: i32) -> Vec<u8> {
        let mut bytes = [b"TZif".as_slice(), &[0; 32], &[0, 0, 0, 1], &[0, 0, 0, 4]].concat();
        bytes.extend((hours * 3600).to_be_bytes());
        bytes.extend([0, 0]);
        bytes.extend(b"XST\0");
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
            let zone = named(tz.map(OsStr::new), root.path());
            assert_eq!(offset(&zone, 0), hours * 3600, "{tz:?}");
        }
        assert_eq!(named(None, &root.path().join("opt")), TimeZone::utc());
    }

    #[test]
    fn what_an_image_puts_in_the_place_of_a_zone_is_not_waited_for() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("etc")).unwrap();
        mkfifo(&root.path().join("etc/localtime"), Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
        assert_eq!(named(None, root.path()), TimeZone::utc());
        assert_eq!(read(Path::new("/dev/zero")), None);
        let long = root.path().join("long");
        fs::write(&long, [file(5), vec![0; 1 << 20]].concat()).unwrap();
        assert_eq!(read(&long), None);
    }

    #[test]
    fn a_rule_has_its_summer() {
        let zone = named(Some(OsStr::new("CET-1CEST,M3.5.0,M10.5.0/3")), Path::new("/no/root"));
        // 2026-01-01, 2026-07-01, and the last seconds before and first seconds of the summer of 2026.
        for (moment, hours) in [(1_767_225_600, 1), (1_782_864_000, 2), (1_774_745_999, 1), (1_774_746_000, 2)] {
            assert_eq!(offset(&zone, moment), hours * 3600, "{moment}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_damaged_file_is_no_zone_or_one_that_has_an_offset(
            cut in 0_usize..60, at in 0_usize..54, byte in proptest::num::u8::ANY, moment in proptest::num::i64::ANY,
        ) {
            let mut bytes = file(3);
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
            bytes.truncate(cut);
            if let Ok(zone) = TimeZone::from_tz_data(&bytes) {
                offset(&zone, moment);
            }
        }
    }
}
