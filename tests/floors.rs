//! Who may import whom: a module imports only from lower floors, and siblings meet in a lower one.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and waits for the processes that it starts"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The floors, from the top.
const FLOORS: [&[&str]; 8] = [
    &["main"],
    &["run"],
    &["commands"],
    &["cli", "endpoints", "lookup", "report", "setup", "step"],
    &["authn", "daemon", "kube", "registry"],
    &["cache", "http"],
    &["credential", "go_json", "go_path", "image", "note", "outcome", "secrets", "spec", "trace"],
    &["cloud", "host", "log", "pause", "percent", "quote", "secret", "sys"],
];

/// The only arrows between siblings, each between two plain things.
const SIBLINGS: [(&str, &str); 3] = [("credential", "note"), ("log", "sys"), ("outcome", "spec")];

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("a source directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The modules that a text names behind `crate::`, or behind the crate's own name in `main`.
fn imports(text: &str) -> impl Iterator<Item = String> {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    let code = code.collect::<Vec<_>>().join("\n").replace("use entrypoint::", "use crate::");
    assert!(!code.contains("use crate::{"), "import modules of this crate one by one, so that this test can read them");
    let names: Vec<String> = code
        .split("crate::")
        .skip(1)
        .map(|rest| rest.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect())
        .collect();
    names.into_iter()
}

#[test]
fn a_module_imports_only_from_lower_floors() {
    let floors: BTreeMap<&str, usize> = FLOORS
        .iter()
        .enumerate()
        .flat_map(|(floor, modules)| modules.iter().map(move |module| (*module, floor)))
        .collect();
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    let mut upward = Vec::new();
    for file in files {
        let inside = file.strip_prefix(&src).expect("a file of src");
        let module = inside.iter().next().expect("a name").to_str().expect("UTF-8").trim_end_matches(".rs");
        if module == "lib" {
            continue;
        }
        let floor = *floors.get(module).unwrap_or_else(|| panic!("{} stands on no floor: add it", inside.display()));
        for import in imports(&fs::read_to_string(&file).expect("a source file")) {
            let Some(&below) = floors.get(import.as_str()) else { continue };
            if import != module && below <= floor && !SIBLINGS.contains(&(module, &import)) {
                upward.push(format!("{} imports {import}", inside.display()));
            }
        }
    }
    assert!(upward.is_empty(), "{upward:#?}");
}

#[test]
fn only_sys_has_unsafe_code() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    files.retain(|file| !file.starts_with(src.join("sys")));
    let unsafe_files: Vec<_> =
        files.iter().filter(|file| fs::read_to_string(file).expect("a source file").contains("unsafe {")).collect();
    assert!(unsafe_files.is_empty(), "{unsafe_files:?}");
}
