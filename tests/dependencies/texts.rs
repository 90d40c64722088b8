//! The licences that go with the image: every part that is linked has a text, and the document is the same wherever it is made.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::Path;

use serde_json::json;

use crate::cargo;
use crate::document::document;
use crate::package::{Part, PartError, beside, linked, standard};

fn part(name: &str, texts: &[(&str, &str)]) -> Part {
    Part {
        name: name.to_owned(),
        version: "1.0.0".to_owned(),
        licence: "MIT".to_owned(),
        source: format!("https://git.example.org/{name}"),
        authors: String::new(),
        note: "",
        texts: texts.iter().map(|(file, text)| ((*file).to_owned(), (*text).to_owned())).collect(),
    }
}

#[test]
fn each_text_stands_there_once_with_all_whom_it_is_for() {
    let parts = [
        part("a", &[("LICENSE", "You  may.\r\n\r\nReally. \r\n"), ("NOTICE", "Of A.\n")]),
        part("b", &[("COPYING", "\nYou may.\n\n\nReally.\n")]),
    ];
    let line = "-".repeat(80);
    let expected = format!(
        "What is linked into ours 0.1.0, and under which licences.\n\n\
         The program itself is under Apache-2.0, whose text is among those below. 2 parts, 2 texts.\n\n\
         {line}\nParts\n{line}\n\n\
         a 1.0.0: MIT\n    https://git.example.org/a\n    texts: 1, 2\n\
         b 1.0.0: MIT\n    https://git.example.org/b\n    texts: 1\n\n\
         {line}\nText 1\n  for a 1.0.0 (LICENSE)\n  for b 1.0.0 (COPYING)\n{line}\n\nYou  may.\n\nReally.\n\n\
         {line}\nText 2\n  for a 1.0.0 (NOTICE)\n{line}\n\nOf A.\n"
    );
    assert_eq!(document("ours 0.1.0", &parts), expected);
}

#[test]
fn texts_are_found_wherever_they_are_in_a_package_and_else_those_that_it_names() {
    let dir = tempfile::tempdir().expect("a directory");
    let write = |file: &str, text: &str| {
        let path = dir.path().join(file);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(path, text).expect("a file");
    };
    for file in ["a-1/LICENSE-MIT", "a-1/src/tables/Licence.txt", "a-1/NOTICE", "a-1/LICENSES/BSD.txt"] {
        write(file, file);
    }
    for file in ["a-1/src/license.rs", "a-1/README.md", "b-1/src/lib.rs", "c-1/lib.rs", "d-1/lib.rs"] {
        write(file, "no licence");
    }
    let package = |name: &str, licence: &str| {
        json!({"name": name, "version": "1.0.0", "license": licence, "repository": null, "authors": ["A", "B"],
            "manifest_path": dir.path().join(format!("{name}-1/Cargo.toml"))})
    };
    let metadata = json!({"packages": [package("a", "MIT/Apache-2.0"), package("b", "MIT AND (Zlib OR MIT)"),
        package("c", ""), package("d", "Odd-1.0")]})
    .to_string();
    let kept = |name: &str| match name {
        "MIT" | "Zlib" => Ok(format!("the text of {name}")),
        _ => Err(PartError::NoText(name.to_owned())),
    };
    let read = |tree: &str| linked(tree, &metadata, &kept);
    let (program, parts) =
        read("ours v0.1.0 (/here)\nb v1.0.0\na v1.0.0 (*)\na v1.0.0\nours v0.1.0 (/here) (*)").expect("the parts");
    assert_eq!(program, "ours 0.1.0");
    let [a, b] = &parts[..] else { panic!("{parts:?}") };
    assert_eq!((a.licence.as_str(), a.authors.as_str(), a.source.as_str()), ("MIT OR Apache-2.0", "A, B", ""));
    let files: Vec<&str> = a.texts.iter().map(|(file, _)| file.as_str()).collect();
    assert_eq!(files, ["LICENSE-MIT", "LICENSES/BSD.txt", "NOTICE", "src/tables/Licence.txt"]);
    let texts: Vec<&str> = b.texts.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(texts, ["the text of MIT", "the text of Zlib", "the text of MIT"]);

    for (tree, expected) in [
        ("", "cargo's tree is empty"),
        ("ours 0.1.0", "line \"ours 0.1.0\" of cargo's tree is not understood"),
        ("ours v0.1.0\ne v1.0.0", "cargo's metadata has no package e 1.0.0"),
        ("ours v0.1.0\nc v1.0.0", "c 1.0.0 has no text of its licence, and names none"),
        ("ours v0.1.0\nd v1.0.0", "there is no text of Odd-1.0: put it at docs/licences/Odd-1.0.txt"),
    ] {
        assert_eq!(read(tree).expect_err(tree).to_string(), expected);
    }
}

/// The document of this build, as `scripts/licences` makes it, and its parts.
fn ours() -> (String, Vec<Part>) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tree = cargo(&[
        "tree",
        "--locked",
        "--offline",
        "--edges",
        "normal,no-proc-macro",
        "--prefix",
        "none",
        "--format",
        "{p}",
    ]);
    let metadata = cargo(&["metadata", "--locked", "--offline", "--format-version", "1", "--filter-platform", TARGET]);
    let kept = |name: &str| standard(root, name);
    let (program, mut parts) = linked(&tree, &metadata, &kept).expect("the parts");
    parts.extend(beside("1.95.0", "2.36", &kept).expect("the parts beside"));
    (document(&program, &parts), parts)
}

/// The machine that is looked at: what is linked differs by no more than a few packages.
const TARGET: &str = "x86_64-unknown-linux-gnu";

#[test]
fn every_part_that_is_linked_has_its_texts_in_the_document() {
    let (document, parts) = ours();
    let tree = cargo(&[
        "tree",
        "--locked",
        "--offline",
        "--edges",
        "normal,no-proc-macro",
        "--prefix",
        "none",
        "--format",
        "{p}",
    ]);
    let linked: BTreeSet<String> =
        tree.lines().map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" ").replace(" v", " ")).collect();
    assert!(linked.len() > 200 && parts.len() == linked.len() - 1 + 3, "{} {}", linked.len(), parts.len());
    let (list, texts) = document.split_once("\nText 1\n").expect("texts");
    let count = document.matches("\nText ").count();
    for name in linked.iter().filter(|name| !name.starts_with("entrypoint ")) {
        let entry = list.split(&format!("\n{name}: ")).nth(1).unwrap_or_else(|| panic!("{name} has no entry"));
        let numbers = entry.split("    texts: ").nth(1).and_then(|rest| rest.lines().next()).expect("numbers");
        for number in numbers.split(", ") {
            let number: usize = number.parse().unwrap_or_else(|_| panic!("{name}: {numbers}"));
            assert!((1..=count).contains(&number), "{name}: {numbers}");
        }
        assert!(texts.contains(&format!("  for {name} (")), "{name} has no text");
    }
    for part in &parts {
        // The shortest licence here has some 600 characters: less is no more than a hint where it is.
        let longest = part.texts.iter().map(|(_, text)| text.len()).max().unwrap_or_default();
        assert!(longest > 500, "{}: {:?}", part.name, part.texts);
    }
}

#[test]
fn the_document_is_the_same_again_and_has_no_path_of_this_machine() {
    let (document, _) = ours();
    assert!(document == ours().0, "it differs from one time to the next");
    let home = env::var("CARGO_HOME").or_else(|_| env::var("HOME")).unwrap_or_default();
    for path in [env!("CARGO_MANIFEST_DIR"), home.as_str(), "/registry/src/"] {
        assert!(path.len() < 2 || !document.contains(path), "{path}");
    }
    // Every node has it on its disk.
    assert!((300_000..700_000).contains(&document.len()), "{}", document.len());
}

#[test]
fn every_text_that_is_kept_is_needed() {
    let (document, _) = ours();
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/licences")).expect("the directory") {
        let name = entry.expect("an entry").file_name().into_string().expect("UTF-8");
        let name = name.strip_suffix(".txt").expect("a text");
        let used = [format!("(docs/licences, {name})"), format!("; {name} as it is everywhere)")];
        assert!(used.iter().any(|words| document.contains(words)), "{name}: nobody needs it");
    }
}

#[test]
fn what_the_images_first_stage_is_given_is_all_that_it_calls() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let given = fs::read_to_string(root.join(".dockerignore")).expect(".dockerignore");
    let dir = tempfile::tempdir().expect("a directory");
    let mut lines = given.lines();
    assert_eq!(lines.next(), Some("*"), "nothing else");
    for name in lines {
        let name = name.strip_prefix('!').unwrap_or_else(|| panic!("{name}"));
        let there = dir.path().join(name);
        fs::create_dir_all(there.parent().expect("a parent")).expect("a directory");
        std::os::unix::fs::symlink(root.join(name), there).expect("a link");
    }
    // Cargo builds nothing where a test or an example of its manifest is not there.
    let manifest = fs::read_to_string(dir.path().join("Cargo.toml")).expect("Cargo.toml");
    for (of, below) in [("[[test]]", "tests"), ("[[example]]", "examples")] {
        for block in manifest.split(of).skip(1) {
            let name = block.trim_start().strip_prefix("name = \"").and_then(|rest| rest.split('"').next());
            let file = format!("{below}/{}.rs", name.expect("a name"));
            assert!(dir.path().join(&file).exists(), "{file}");
        }
    }
    let script = fs::read_to_string(dir.path().join("scripts/licences")).expect("scripts/licences");
    for called in script.split_whitespace().filter(|word| word.starts_with("scripts/") && !word.contains(':')) {
        assert!(dir.path().join(called).exists(), "{called}");
    }
    assert!(standard(dir.path(), "glibc").is_ok() && standard(dir.path(), "Apache-2.0").is_ok());
}
