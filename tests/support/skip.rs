//! Leaving a test out, loudly: the reason is printed, counted by `make test`, and a failure under `STRICT=1`.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "each test program uses a part of this, and a test's support fails the test"
)]

use std::env;
use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Says that a test does not run here, and why. Under `STRICT=1` the test fails instead.
pub fn skip(reason: &str) {
    assert!(env::var_os("STRICT").is_none_or(|strict| strict != "1"), "STRICT=1, and this test cannot run: {reason}");
    eprintln!("SKIPPED: {reason}");
    if let Some(log) = env::var_os("SKIP_LOG") {
        let mut log = OpenOptions::new().append(true).create(true).open(log).expect("SKIP_LOG can be appended to");
        writeln!(log, "{reason}").expect("SKIP_LOG can be written");
    }
}

/// The path of a program, looked for where distributions put them too: a user's `PATH` often lacks `/usr/sbin`.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|dir| dir.join(name))
        .find(|candidate| candidate.is_file())
}

/// Whether all these programs (name, Debian's package) are here; if not, the test is skipped with the way to get them.
pub fn programs(purpose: &str, wanted: &[(&str, &str)]) -> bool {
    let missing: Vec<&(&str, &str)> = wanted.iter().filter(|(name, _)| program(name).is_none()).collect();
    if missing.is_empty() {
        return true;
    }
    let names: Vec<&str> = missing.iter().map(|(name, _)| *name).collect();
    let packages: Vec<&str> = missing.iter().map(|(_, package)| *package).collect();
    skip(&format!("{purpose}: needs {} (Debian: apt-get install {})", names.join(", "), packages.join(" ")));
    false
}

/// Whether the tests run as root; if not, the test is skipped.
pub fn root(purpose: &str) -> bool {
    use std::os::unix::fs::MetadataExt;
    let owner = std::fs::metadata("/proc/self").map(|metadata| metadata.uid());
    if matches!(owner, Ok(0)) {
        return true;
    }
    skip(&format!("{purpose}: needs root"));
    false
}

/// The static busybox that goes into images.
pub fn busybox() -> Option<PathBuf> {
    program("busybox").or_else(|| Some(PathBuf::from("/bin/busybox")).filter(|path| path.is_file()))
}

/// The program under test: the one that `ENTRYPOINT_BINARY` names (`make test` names the release build), else cargo's.
pub fn entrypoint() -> PathBuf {
    env::var_os("ENTRYPOINT_BINARY").unwrap_or_else(|| OsString::from(env!("CARGO_BIN_EXE_entrypoint"))).into()
}

/// The root of the repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
