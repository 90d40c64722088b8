//! The document of the contract keeps up with the program: every rule has a test that exists, every flag has a row, every
//! link leads somewhere.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const DOCUMENT: &str = "docs/contract.md";
const FLAGS: &str = "src/cli/flags.rs";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What the document is held against.
struct World {
    /// Every test, as `contract::wait::a_test` or `cli::tests::a_test`.
    tests: BTreeSet<String>,
    /// Every flag that the program knows.
    flags: BTreeSet<String>,
    /// Whether a link's target, seen from the document, is there.
    target_exists: fn(&str) -> bool,
}

/// Everything that is wrong with the document.
fn faults(document: &str, world: &World) -> Vec<String> {
    let mut faults = Vec::new();
    let rows = rows(document);
    if rows.is_empty() {
        faults.push("there is no row".to_owned());
    }
    let mut flags = BTreeSet::new();
    for row in &rows {
        let rule = row.first().map(String::as_str).unwrap_or_default();
        let tests: Vec<&str> = row.last().map(|cell| quoted(cell).collect()).unwrap_or_default();
        if !tests.iter().any(|test| test.contains("::")) {
            faults.push(format!("no test: {rule}"));
        }
        for test in tests.iter().filter(|test| !world.tests.contains(**test)) {
            faults.push(format!("no such test: {test}"));
        }
        flags.extend(quoted(rule).filter_map(|word| word.strip_prefix('-')).map(str::to_owned));
    }
    faults.extend(world.flags.difference(&flags).map(|flag| format!("no row: -{flag}")));
    let targets = document.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
    let local = targets.filter(|target| !target.is_empty() && !target.contains("://"));
    faults
        .extend(local.filter(|target| !(world.target_exists)(target)).map(|target| format!("leads nowhere: {target}")));
    faults
}

/// The cells of every row of every table whose last column is headed `Test`; every other table is a fault of its own.
fn rows(document: &str) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    let mut header = true;
    for line in document.lines() {
        let Some(inner) = line.strip_prefix('|').and_then(|line| line.trim_end().strip_suffix('|')) else {
            header = true;
            continue;
        };
        let cells: Vec<String> = inner.replace("\\|", "\u{0}").split('|').map(|cell| cell.trim().to_owned()).collect();
        let separator = cells.iter().all(|cell| !cell.is_empty() && cell.chars().all(|c| c == '-' || c == ':'));
        if header {
            assert_eq!(
                cells.last().map(String::as_str),
                Some("Test"),
                "the last column of every table is `Test`: {line}"
            );
        } else if !separator {
            rows.push(cells);
        }
        header = false;
    }
    rows
}

/// What stands between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// All Rust files below a directory, in no order.
fn sources(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry").path());
    let below = |path: PathBuf| if path.is_dir() { sources(&path) } else { vec![path] };
    entries.flat_map(below).filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
}

/// The name of every test, with the path of its module.
fn all_tests() -> BTreeSet<String> {
    let mut tests = BTreeSet::new();
    for dir in ["src", "tests"] {
        for file in sources(&root().join(dir)) {
            let path = file.strip_prefix(root().join(dir)).expect("a file below").with_extension("");
            let mut module: Vec<&str> = path.iter().map(|part| part.to_str().expect("UTF-8")).collect();
            if matches!(module.last(), Some(&"mod" | &"main")) {
                module.pop();
            }
            if dir == "src" && !module.last().is_some_and(|name| name.ends_with("tests")) {
                module.push("tests");
            }
            let text = fs::read_to_string(&file).expect("a source file");
            let names = names_of_tests(&text);
            tests.extend(names.into_iter().map(|name| format!("{}::{name}", module.join("::"))));
        }
    }
    tests
}

/// The functions under `#[test]`, whatever other attributes stand between.
fn names_of_tests(text: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut is_test = false;
    for line in text.lines().map(str::trim) {
        if line == "#[test]" {
            is_test = true;
        } else if let Some(name) = line.strip_prefix("fn ").filter(|_| is_test) {
            names.extend(name.split('(').next());
            is_test = false;
        }
    }
    names
}

/// The flags that `flags.rs` defines: by `valued` or `boolean`, or in the list of those that are refused.
fn defined_flags(source: &str) -> BTreeSet<String> {
    let code = source.split("#[cfg(test)]").next().unwrap_or_default();
    let constant = |name: &str| {
        let rest = code.split(&format!("const {name}: &str = \"")).nth(1)?;
        rest.split('"').next().map(str::to_owned)
    };
    let argument = |rest: &str| match rest.trim_start().strip_prefix('"') {
        Some(literal) => literal.split('"').next().map(str::to_owned),
        None => constant(rest.split(|c: char| !c.is_ascii_uppercase() && c != '_').next()?),
    };
    let called = ["valued(", "boolean("].into_iter().flat_map(|call| code.split(call).skip(1));
    let refused = code
        .split("(\"")
        .skip(1)
        .filter(|rest| rest.split_once("\", Kind::").is_some_and(|(name, _)| !name.contains('"')));
    let refused = refused.filter_map(|rest| rest.split('"').next()).map(str::to_owned);
    called.filter_map(argument).chain(refused).collect()
}

#[test]
fn every_rule_of_the_document_has_a_test_every_flag_a_row_and_every_link_a_target() {
    let document = fs::read_to_string(root().join(DOCUMENT)).expect("the document");
    let flags = defined_flags(&fs::read_to_string(root().join(FLAGS)).expect("the flags"));
    let target_exists = |target: &str| root().join("docs").join(target).exists();
    let found = faults(&document, &World { tests: all_tests(), flags, target_exists });
    assert!(found.is_empty(), "{DOCUMENT}:\n{}", found.join("\n"));
}

#[test]
fn the_flags_that_are_read_from_the_source_are_those_that_help_shows() {
    let help = std::process::Command::new(env!("CARGO_BIN_EXE_entrypoint")).arg("-help").output().expect("the help");
    let help = String::from_utf8(help.stderr).expect("text");
    let shown = help.lines().filter_map(|line| line.strip_prefix("  -")).filter_map(|line| line.split(' ').next());
    let shown: BTreeSet<String> = shown.map(str::to_owned).collect();
    assert_eq!(defined_flags(&fs::read_to_string(root().join(FLAGS)).expect("the flags")), shown);
}

#[test]
fn the_list_of_decisions_has_every_one_of_them() {
    let dir = root().join("docs/adr");
    let list = fs::read_to_string(dir.join("README.md")).expect("the list");
    let linked: Vec<&str> = list.split("](").skip(1).filter_map(|rest| rest.split(')').next()).collect();
    let names = fs::read_dir(dir).expect("the decisions").map(|entry| entry.expect("an entry").file_name());
    let names: Vec<String> = names.map(|name| name.into_string().expect("UTF-8")).collect();
    let there: BTreeSet<&str> = names.iter().map(String::as_str).filter(|name| *name != "README.md").collect();
    assert_eq!(linked, Vec::from_iter(there), "each once, in the order of their numbers");
}

#[test]
fn each_fault_of_a_document_is_found() {
    let head = "| Rule | Tekton | Here | Test |\n|---|---|---|---|\n";
    let good = "| `-a` | x \\| y | [why](adr/1.md) | `t::one`, `t::two` |\n";
    for (document, expected) in [
        (format!("{head}{good}"), &[][..]),
        (format!("{head}{good}| r | x | y | |\n"), &["no test: r"]),
        (format!("{head}{good}| r | x | y | see above |\n"), &["no test: r"]),
        (format!("{head}{good}| r | x | y | `one` |\n"), &["no test: r", "no such test: one"]),
        (format!("{head}{good}| r | x | y | `t::three` |\n"), &["no such test: t::three"]),
        (format!("{head}{good}\ntext\n\n{head}| r | x | y | `t::one`, `u::two` |\n"), &["no such test: u::two"]),
        (format!("{head}| `-b` | x | y | `t::one` |\n"), &["no row: -a"]),
        (format!("{head}{good}\n[why](adr/2.md) [what](https://example.com)\n"), &["leads nowhere: adr/2.md"]),
        (head.to_owned(), &["there is no row", "no row: -a"]),
    ] {
        let world = World {
            tests: ["t::one", "t::two"].map(str::to_owned).into(),
            flags: ["a".to_owned()].into(),
            target_exists: |target| target == "adr/1.md",
        };
        assert_eq!(faults(&document, &world), expected, "{document}");
    }
}

#[test]
fn flags_and_tests_are_read_from_sources_as_they_are_written() {
    let source = r#"const POST: &str = "post_file"; const NOT: [(&str, Kind); 1] = [("ssh-git", Kind::Valued)];
        valued("a", "X"), valued(POST, "PATH"), boolean("b"), fn valued<T>( #[cfg(test)] valued("c")"#;
    let flags = ["a", "b", "post_file", "ssh-git"].map(str::to_owned);
    assert_eq!(defined_flags(source), flags.into());
    let source = "#[test]\nfn one() {}\nfn none() {}\n    #[test]\n    #[cfg(unix)]\n    fn two() {}";
    assert_eq!(names_of_tests(source), ["one", "two"]);
}
