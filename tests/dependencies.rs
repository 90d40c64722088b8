//! What may be linked: one implementation of TLS, on one provider of cryptography, in Rust; under which licences; and the list of it.
#![cfg(feature = "lookup")]
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    unreachable_pub,
    reason = "a test fails by panicking, waits for the children that it starts, and reads its runner's environment"
)]

#[path = "dependencies/bill.rs"]
mod bill;
#[path = "../examples/sbom/bom.rs"]
mod bom;
#[path = "../examples/licences/document.rs"]
mod document;
#[path = "dependencies/licence.rs"]
mod licence;
#[path = "../examples/licences/package.rs"]
mod package;
#[path = "dependencies/rules.rs"]
mod rules;
#[path = "dependencies/texts.rs"]
mod texts;

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;

use rules::{Package, Rules};

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

/// What cargo says. Nothing is fetched.
fn cargo(arguments: &[&str]) -> String {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(cargo);
    command.args(arguments).current_dir(env!("CARGO_MANIFEST_DIR"));
    let output = command.output().expect("cargo starts");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// What is linked on this machine with every feature, one package per line, with what of it is switched on.
fn tree() -> String {
    let linked = ["tree", "--locked", "--offline", "--all-features", "--edges", "normal"];
    cargo(&[&linked[..], &["--prefix", "none", "--format", "{p} with {f}"]].concat())
}

/// Everything that is compiled on this machine with every feature, for the program and for its tests. Where it comes from is what
/// the lock file says.
fn packages() -> Vec<Package> {
    let lock = lock();
    let sources: BTreeMap<(&str, &str), &str> = lock.split("[[package]]").filter_map(source).collect();
    let compiled = ["tree", "--locked", "--offline", "--all-features", "--edges", "normal,build,dev"];
    let tree = cargo(&[&compiled[..], &["--prefix", "none", "--format", "{p}|{l}"]].concat());
    // A licence is written out each time, and "(*)" behind it where the package was shown before.
    let lines: BTreeSet<&str> = tree.lines().map(|line| line.trim_end_matches(" (*)")).collect();
    lines
        .into_iter()
        .map(|line| {
            let (package, licence) = line.split_once('|').expect("two columns");
            let [name, version, ..] = package.split(' ').collect::<Vec<_>>()[..] else { panic!("no version: {line}") };
            let version = version.trim_start_matches('v');
            let source = sources.get(&(name, version)).map(|source| (*source).to_owned());
            Package { name: name.to_owned(), version: version.to_owned(), licence: licence.to_owned(), source }
        })
        .collect()
}

/// Name, version and source of a package of the lock file; our own has no source.
fn source(block: &str) -> Option<((&str, &str), &str)> {
    let field =
        |key: &str| block.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = \"")?.strip_suffix('"'));
    Some(((field("name")?, field("version")?), field("source")?))
}

fn lock() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock")).expect("Cargo.lock")
}

#[test]
fn no_other_tls_is_locked_for_any_machine() {
    // The lock file has the packages of all targets and all features: `cargo tree --target all` can have no others, and
    // would download those of other machines first.
    let lock = lock();
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

#[test]
fn every_package_keeps_the_rules_of_deny_toml() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("deny.toml")).expect("deny.toml");
    let packages = packages();
    assert!(packages.len() > 200, "{}", packages.len());
    let ours: Vec<&str> = packages.iter().filter(|one| one.source.is_none()).map(|one| one.name.as_str()).collect();
    assert_eq!(ours, [env!("CARGO_PKG_NAME")], "everything else says where it comes from");
    let complaints = Rules::read(&text).complaints(&packages);
    assert!(complaints.is_empty(), "{complaints:#?}");
}
