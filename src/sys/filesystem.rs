//! Whether a filesystem is this kernel's own affair.

use std::fs::File;
use std::path::Path;

use nix::sys::statfs::{PROC_SUPER_MAGIC, Statfs, fstatfs, statfs};

/// Whether a directory is on a filesystem of which this kernel knows everything: who changed what, and who has locked it.
/// Not so on network and host-shared filesystems, and where it cannot be found out.
#[must_use]
pub fn is_own_directory(directory: &Path) -> bool {
    statfs(directory).is_ok_and(|found| is_own(&found))
}

/// The same for an open file.
#[must_use]
pub fn is_own_file(file: &File) -> bool {
    fstatfs(file).is_ok_and(|found| is_own(&found))
}

/// Whether a file is `/proc`'s: not written by anybody, and another one for each process that reads it.
#[must_use]
pub fn is_kernels(file: &File) -> bool {
    fstatfs(file).is_ok_and(|found| found.filesystem_type() == PROC_SUPER_MAGIC)
}

fn is_own(found: &Statfs) -> bool {
    /// Magic numbers of `linux/magic.h` and of the filesystems' own sources.
    const SHARED: [i64; 8] = [
        0x6969,      // nfs
        0x0102_1997, // 9p, and every directory of the host in gVisor
        0x6573_5546, // fuse, virtiofs
        0xff53_4d42, // cifs
        0xfe53_4d42, // smb2
        0x00c3_6400, // ceph
        0x5346_414f, // afs
        0x0bd0_0bd0, // lustre
    ];
    #[allow(
        clippy::unnecessary_fallible_conversions,
        clippy::useless_conversion,
        reason = "the field's type differs between C libraries"
    )]
    let kind = i64::try_from(found.filesystem_type().0).unwrap_or_default() & 0xffff_ffff;
    !SHARED.contains(&kind)
}
