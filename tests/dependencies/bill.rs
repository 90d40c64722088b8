//! The bill of materials: `scripts/sbom` writes it, of what cargo says is linked.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::bom::{BomError, Built, bom};
use crate::cargo;
use crate::lock;

const LOCK: &str = r#"
[[package]]
name = "ours"
version = "0.1.0"

[[package]]
name = "a"
version = "1.0.0+spec"
source = "registry"
checksum = "aa"
dependencies = [
 "b",
]

[[package]]
name = "b"
version = "2.0.0"
source = "registry"
checksum = "bb"
"#;

const TREE: &str = "0ours v0.1.0 (/a path/with spaces)|Apache-2.0|
1a v1.0.0+spec|MIT/Apache-2.0|https://git.example.org/a
2b v2.0.0||
1b v2.0.0||
1a v1.0.0+spec|MIT/Apache-2.0|https://git.example.org/a (*)
";

fn built() -> Built {
    Built { sha256: "ff".to_owned(), rust: "1.95.0".to_owned(), libc: "2.36-9+deb12u14".to_owned() }
}

#[test]
fn a_tree_and_a_lock_file_are_a_bill_of_materials() {
    let (a, b, ours) = ("pkg:cargo/a@1.0.0%2Bspec", "pkg:cargo/b@2.0.0", "pkg:cargo/ours@0.1.0");
    let (std, libc) = ("pkg:generic/rust-std@1.95.0", "pkg:generic/glibc@2.36-9%2Bdeb12u14");
    let expected = json!({
        "bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
        "metadata": {"component": {
            "type": "application", "bom-ref": ours, "name": "ours", "version": "0.1.0", "purl": ours,
            "licenses": [{"expression": "Apache-2.0"}],
            "hashes": [{"alg": "SHA-256", "content": "ff"}],
        }},
        "components": [
            {
                "type": "library", "bom-ref": a, "name": "a", "version": "1.0.0+spec", "purl": a,
                "licenses": [{"expression": "MIT OR Apache-2.0"}],
                "hashes": [{"alg": "SHA-256", "content": "aa"}],
                "externalReferences": [{"type": "vcs", "url": "https://git.example.org/a"}],
            },
            {
                "type": "library", "bom-ref": b, "name": "b", "version": "2.0.0", "purl": b,
                "hashes": [{"alg": "SHA-256", "content": "bb"}],
            },
            {
                "type": "library", "bom-ref": std, "name": "rust-std", "version": "1.95.0", "purl": std,
                "licenses": [{"expression": "MIT OR Apache-2.0"}],
            },
            {
                "type": "library", "bom-ref": libc, "name": "glibc", "version": "2.36-9+deb12u14", "purl": libc,
                "licenses": [{"expression": "LGPL-2.1-or-later"}],
            },
        ],
        "dependencies": [
            {"ref": ours, "dependsOn": [a, b, std, libc]},
            {"ref": a, "dependsOn": [b]},
            {"ref": b, "dependsOn": []},
        ],
    });
    assert_eq!(bom(&built(), TREE, LOCK), Ok(expected));
}

#[test]
fn what_is_not_understood_is_no_bill() {
    let line = |number, text: &str| BomError::Line(number, text.to_owned());
    for (tree, expected) in [
        ("", BomError::Empty),
        ("ours v0.1.0||", line(1, "ours v0.1.0||")),
        ("1ours v0.1.0||", line(1, "1ours v0.1.0||")),
        ("0ours 0.1.0||", line(1, "0ours 0.1.0||")),
        ("0ours v0.1.0|", line(1, "0ours v0.1.0|")),
        ("0ours v0.1.0||\n2b v2.0.0||", line(2, "2b v2.0.0||")),
        ("0ours v0.1.0||\n0b v2.0.0||", line(2, "0b v2.0.0||")),
        ("0ours v0.1.0||\n1b v2.0.1||", BomError::NoChecksum("b 2.0.1".to_owned())),
    ] {
        assert_eq!(bom(&built(), tree, LOCK), Err(expected), "{tree}");
    }
}

#[test]
fn the_bill_has_all_that_is_linked_and_nothing_else() {
    let tree = |prefix: &str, format: &str| {
        let edges = ["tree", "--locked", "--offline", "--edges", "normal,no-proc-macro"];
        cargo(&[&edges[..], &["--prefix", prefix, "--format", format]].concat())
    };
    let bill = bom(&built(), &tree("depth", "{p}|{l}|{r}"), &lock()).expect("a bill");
    let field = |value: &Value, name: &str| value[name].as_str().expect("a string").to_owned();
    let components = bill["components"].as_array().expect("components");

    let linked: BTreeSet<String> = tree("none", "{p}")
        .lines()
        .map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" "))
        .filter(|package| !package.starts_with("entrypoint "))
        .collect();
    let of_crates = components.iter().filter(|component| field(component, "purl").starts_with("pkg:cargo/"));
    let listed: BTreeSet<String> =
        of_crates.map(|component| format!("{} v{}", field(component, "name"), field(component, "version"))).collect();
    assert_eq!(listed, linked);
    assert!(listed.iter().any(|package| package.starts_with("rustls v")), "{listed:?}");
    assert!(!listed.iter().any(|package| package.starts_with("tempfile v")), "for tests only");

    // Each thing once, and nothing refers to what is not there.
    let references: Vec<String> = components.iter().map(|component| field(component, "bom-ref")).collect();
    let known: BTreeSet<&String> = references.iter().collect();
    assert_eq!(known.len(), references.len());
    for dependency in bill["dependencies"].as_array().expect("dependencies") {
        for needed in dependency["dependsOn"].as_array().expect("a list") {
            assert!(known.contains(&needed.as_str().expect("a reference").to_owned()), "{needed}");
        }
    }
}
