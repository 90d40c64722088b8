//! A time zone's file: the moments at which its offset from UTC changed, and the rule for all that is to come.
//!
//! The format: <https://www.rfc-editor.org/rfc/rfc9636>.

use super::rule;

/// The parts of a file that tell the offset.
pub(super) struct Zone<'a> {
    /// When the offset changed: big-endian numbers of [`Zone::width`] bytes, in order.
    times: &'a [u8],
    width: usize,
    /// To which of the types it changed then, one byte each.
    changes: &'a [u8],
    /// Six bytes each, the first four of them the offset.
    types: &'a [u8],
    /// The rule for moments after the last change; empty where there is none.
    rule: &'a [u8],
}

impl<'a> Zone<'a> {
    /// Finds the parts. `None` when it is no such file, or a damaged one.
    pub(super) fn read(file: &'a [u8]) -> Option<Self> {
        let mut rest = file;
        let (version, zone) = block(&mut rest, 4)?;
        if version == 0 {
            return Some(zone);
        }
        // What came first is the same for readers that know no years beyond 2038.
        let (_, zone) = block(&mut rest, 8)?;
        let rule = rest.strip_prefix(b"\n").and_then(|rest| rest.split(|&byte| byte == b'\n').next());
        Some(Self { rule: rule.unwrap_or_default(), ..zone })
    }

    /// Seconds east of UTC at a moment, in seconds since 1970.
    pub(super) fn offset(&self, at: i64) -> Option<i64> {
        let passed = self.times.chunks_exact(self.width).take_while(|time| number(time) <= at).count();
        if passed == self.changes.len()
            && let Some(offset) = rule::offset(self.rule, at)
        {
            return Some(offset);
        }
        // Before the first change the first type counts.
        let of_type = match passed.checked_sub(1) {
            Some(last) => usize::from(*self.changes.get(last)?),
            None => 0,
        };
        self.types.chunks_exact(TYPE).nth(of_type).and_then(|of_type| of_type.get(..4)).map(number)
    }
}

/// How long a type is.
const TYPE: usize = 6;

/// One header and its data, and the version of the file.
fn block<'a>(rest: &mut &'a [u8], width: usize) -> Option<(u8, Zone<'a>)> {
    let header = take(rest, 44, 1)?;
    let version = *header.strip_prefix(b"TZif")?.first()?;
    let mut counts = header.get(20..)?.chunks_exact(4).map(|count| usize::try_from(number(count)).ok());
    let mut count = || counts.next().flatten();
    let (universal, standard, leap, times, types, letters) =
        (count()?, count()?, count()?, count()?, count()?, count()?);
    let zone = Zone {
        times: take(rest, times, width)?,
        width,
        changes: take(rest, times, 1)?,
        types: take(rest, types, TYPE)?,
        rule: &[],
    };
    take(rest, letters, 1)?;
    take(rest, leap, width + 4)?;
    take(rest, standard, 1)?;
    take(rest, universal, 1)?;
    Some((version, zone))
}

/// So many things of so many bytes from the front.
fn take<'a>(rest: &mut &'a [u8], count: usize, size: usize) -> Option<&'a [u8]> {
    let (taken, behind) = rest.split_at_checked(count.checked_mul(size)?)?;
    *rest = behind;
    Some(taken)
}

/// A signed big-endian number of four or eight bytes.
fn number(bytes: &[u8]) -> i64 {
    let sign = if bytes.first().is_some_and(|first| first & 0x80 != 0) { -1 } else { 0 };
    bytes.iter().fold(sign, |number, &byte| number << 8 | i64::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A block whose types are hours east, with changes to them.
    fn block(version: u8, width: usize, hours: &[i32], changes: &[(i64, u8)]) -> Vec<u8> {
        let mut bytes = [b"TZif".as_slice(), &[version], &[0; 15]].concat();
        for count in [1, 1, 1, changes.len(), hours.len(), 4] {
            bytes.extend(u32::try_from(count).unwrap().to_be_bytes());
        }
        for (time, _) in changes {
            bytes.extend(&time.to_be_bytes()[8 - width..]);
        }
        bytes.extend(changes.iter().map(|(_, to)| to));
        for hours in hours {
            bytes.extend((hours * 3600).to_be_bytes());
            bytes.extend([0, 0]);
        }
        // Letters, a leap second, and the two kinds of marks.
        bytes.extend(b"ABC\0");
        bytes.extend(vec![0; width + 4]);
        bytes.extend([0, 0]);
        bytes
    }

    fn second_version(hours: &[i32], changes: &[(i64, u8)], rule: &str) -> Vec<u8> {
        [block(b'2', 4, &[9], &[]), block(b'2', 8, hours, changes), format!("\n{rule}\n").into_bytes()].concat()
    }

    fn hours(file: &[u8], at: i64) -> Option<i64> {
        Zone::read(file).and_then(|zone| zone.offset(at)).map(|seconds| seconds / 3600)
    }

    #[test]
    fn the_last_change_before_a_moment_counts_and_after_all_of_them_the_rule() {
        let changes = [(-5_000_000_000, 1), (1_000, 2), (2_000, 0)];
        let file = second_version(&[-1, 2, 3], &changes, "XYZ-7");
        for (at, expected) in [
            (i64::MIN, -1),
            (-5_000_000_001, -1),
            (-5_000_000_000, 2),
            (999, 2),
            (1_000, 3),
            (1_999, 3),
            (2_000, 7),
            (i64::MAX, 7),
        ] {
            assert_eq!(hours(&file, at), Some(expected), "{at}");
        }
        assert_eq!(hours(&second_version(&[-1, 2, 3], &changes, ""), 3_000), Some(-1));
        assert_eq!(hours(&second_version(&[-1, 2, 3], &changes, "nonsense"), 3_000), Some(-1));
        assert_eq!(hours(&second_version(&[4], &[], "XYZ-7"), 3_000), Some(7));
        assert_eq!(hours(&second_version(&[4], &[], ""), 3_000), Some(4));
    }

    #[test]
    fn the_first_version_has_no_rule() {
        let file = block(0, 4, &[1, 2], &[(-1_000, 1)]);
        assert_eq!((hours(&file, -1_001), hours(&file, -1_000)), (Some(1), Some(2)));
    }

    #[test]
    fn a_damaged_file_is_none_and_nobodys_panic() {
        let file = second_version(&[-1, 2, 3], &[(1_000, 2), (2_000, 0)], "XYZ-7");
        let whole = file.len() - "\nXYZ-7\n".len();
        for length in 0..whole {
            assert!(Zone::read(&file[..length]).is_none(), "{length}");
        }
        for at in 0..file.len() {
            let mut file = file.clone();
            file[at] = 0xff;
            // Whatever it tells.
            let _ = hours(&file, 1_500);
        }
        assert!(hours(&second_version(&[], &[], ""), 0).is_none());
        assert!(hours(&second_version(&[1], &[(0, 1)], ""), 0).is_none());
        assert!(Zone::read(b"#!/bin/sh\n").is_none());
    }
}
