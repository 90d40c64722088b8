//! What may be linked: one implementation of TLS, on one provider of cryptography, in Rust.
#![cfg(feature = "lookup")]
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, waits for the children that it starts, and reads its runner's environment"
)]

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;

/// How the names of other implementations of TLS begin, and of other providers for rustls.
const OTHERS: [&str; 8] = ["aws-lc", "boring", "gnutls", "mbedtls", "native-tls", "openssl", "s2n-tls", "wolfssl"];

/// Whether a package is another TLS. (openssl-probe is none: a list of paths.)
fn is_other(package: &str) -> bool {
    OTHERS.iter().any(|other| package.starts_with(other)) && package != "openssl-probe"
}

/// The packages of a lock file.
fn locked(text: &str) -> Vec<&str> {
    text.lines().filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"')).collect()
}

/// What cargo says is linked on this machine with every feature, one package per line, with what of it is switched on.
/// Nothing is fetched.
fn tree() -> String {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let output = Command::new(cargo)
        .args([
            "tree",
            "--locked",
            "--offline",
            "--all-features",
            "--edges",
            "normal",
            "--prefix",
            "none",
            "--format",
            "{p} with {f}",
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo starts");
    assert!(output.status.success(), "cargo tree: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn no_other_tls_is_locked_for_any_machine() {
    // The lock file has the packages of all targets and all features: `cargo tree --target all` can have no others, and
    // would download those of other machines first.
    let lock = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock")).expect("Cargo.lock");
    let packages = locked(&lock);
    assert!(packages.contains(&"rustls") && packages.contains(&"ring"), "the lock file is read: {packages:?}");
    let others: Vec<_> = packages.iter().filter(|package| is_other(package)).collect();
    assert!(others.is_empty(), "{others:?}");
}

#[test]
fn the_only_provider_of_rustls_is_ring() {
    let tree = tree();
    let packages = |name: &str| -> Vec<&str> {
        let mut lines: Vec<&str> = tree
            .lines()
            .filter(|line| line.starts_with(&format!("{name} v")))
            .map(|line| line.trim_end_matches(" (*)"))
            .collect();
        lines.sort_unstable();
        lines.dedup();
        lines
    };
    let [rustls] = packages("rustls")[..] else { panic!("one rustls: {:?}", packages("rustls")) };
    let features: Vec<&str> =
        rustls.split_once(" with ").map(|(_, features)| features.split(',').collect()).unwrap_or_default();
    assert!(features.contains(&"ring"), "{rustls}");
    for provider in ["aws-lc-rs", "aws_lc_rs", "fips", "custom-provider"] {
        assert!(!features.contains(&provider), "{rustls}");
    }
    assert_eq!(packages("ring").len(), 1, "one ring");
    let others: Vec<&str> = tree.lines().filter(|line| line.split(' ').next().is_some_and(is_other)).collect();
    assert!(others.is_empty(), "{others:?}");
}
