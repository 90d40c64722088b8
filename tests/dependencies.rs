//! What may be linked: one implementation of TLS, on one provider of cryptography, in Rust.
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

/// Other implementations of TLS, and other providers for rustls. (openssl-probe is none: a list of paths.)
const OTHERS: [&str; 9] = [
    "aws-lc-fips-sys",
    "aws-lc-rs",
    "aws-lc-sys",
    "boring",
    "boring-sys",
    "native-tls",
    "openssl",
    "openssl-src",
    "openssl-sys",
];

/// The packages of a lock file.
fn locked(text: &str) -> Vec<&str> {
    text.lines().filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"')).collect()
}

/// What cargo says is linked on this machine, one package per line, with what of it is switched on. Nothing is fetched.
fn tree() -> String {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let output = Command::new(cargo)
        .args(["tree", "--locked", "--offline", "--edges", "normal", "--prefix", "none", "--format", "{p} with {f}"])
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
    let others: Vec<_> = packages.iter().filter(|package| OTHERS.contains(package)).collect();
    assert!(others.is_empty(), "{others:?}");
}

#[cfg(feature = "lookup")]
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
    for other in OTHERS {
        assert_eq!(packages(other), [""; 0]);
    }
}
