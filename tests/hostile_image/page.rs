//! docs/threat-model.md keeps up: a line has a test that exists, a test has a line, and no variable is read that is not there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::skip::repository;

/// Texts of the sources that look like a variable and are none of the environment that a lookup is given.
const OTHERS: [&str; 6] = [
    "CARGO_PKG_NAME",
    "CARGO_PKG_VERSION",
    "CAP_SYS_ADMIN",
    "PERMISSION_DENIED",
    "ENTRYPOINT_TEST_PANIC_IN",
    "ENTRYPOINT_TEST_LEASH_STARTER",
];

/// How the first lines of the tables begin.
const HEADS: [&str; 2] = ["Variables", "Who, with what"];

fn page() -> String {
    fs::read_to_string(repository().join("docs/threat-model.md")).unwrap()
}

/// The cells of every line of a table.
fn lines(page: &str) -> Vec<Vec<&str>> {
    let rows = page.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    rows.map(|row| row.split(" | ").collect::<Vec<_>>()).filter(|cells| !HEADS.contains(&cells[0])).collect()
}

/// The texts of a cell that stand in backquotes.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// All files below a directory of the repository.
fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// Every test of the integration tests, as `program::module::name`.
fn tests() -> BTreeSet<String> {
    let root = repository().join("tests");
    let mut tests = BTreeSet::new();
    for path in files(&root).into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "rs")) {
        let text = fs::read_to_string(&path).unwrap();
        let module = path.strip_prefix(&root).unwrap().with_extension("").display().to_string().replace('/', "::");
        for behind in text.split("#[test]").skip(1) {
            let name = behind.split("fn ").nth(1).and_then(|rest| rest.split('(').next()).unwrap();
            tests.insert(format!("{module}::{name}"));
        }
    }
    tests
}

#[test]
fn every_line_has_a_test_that_exists_and_every_test_a_line() {
    let (page, tests) = (page(), tests());
    let lines = lines(&page);
    assert!(lines.len() > 60, "{}", lines.len());
    // Every table has one of the known heads, so that no line of any is taken for something else.
    let tables = page.lines().filter(|line| line.starts_with("|---"));
    let heads = page.lines().filter(|line| HEADS.iter().any(|head| line.starts_with(&format!("| {head} | "))));
    assert_eq!(tables.count(), heads.count());
    let mut named = BTreeSet::new();
    for cells in &lines {
        assert_eq!(cells.len(), 5, "{cells:?}");
        let own: Vec<&str> = quoted(cells[4]).collect();
        assert!(!own.is_empty(), "no test: {}", cells[0]);
        for test in own {
            assert!(tests.contains(test), "there is no test {test}");
            named.insert(test.to_owned());
        }
    }
    let of_lines = |test: &&String| {
        let modules = ["amazon", "azure", "files", "google", "places", "program", "way"];
        modules.iter().any(|module| test.starts_with(&format!("hostile_image::{module}::")))
            || test.starts_with("threats::")
    };
    let without: Vec<_> = tests.iter().filter(of_lines).filter(|test| !named.contains(*test)).collect();
    assert!(without.is_empty(), "tests of no line: {without:?}");
}

#[test]
fn every_variable_that_the_program_reads_is_on_the_page() {
    let page = page();
    let on_page: BTreeSet<&str> = quoted(&page).collect();
    let is_variable = |text: &&str| {
        let is_part =
            |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
        text.contains('_') && text.starts_with(|c: char| c.is_ascii_uppercase()) && text.split('_').all(is_part)
    };
    let mut seen = 0;
    for path in files(&repository().join("src")) {
        let text = fs::read_to_string(&path).unwrap();
        for variable in text.split('"').filter(is_variable).filter(|text| !OTHERS.contains(text)) {
            seen += 1;
            let service = variable.strip_prefix("AWS_ENDPOINT_URL_").map(|_| "AWS_ENDPOINT_URL_STS");
            let name = service.unwrap_or(variable);
            assert!(on_page.contains(name), "{}: {variable} is not on docs/threat-model.md", path.display());
        }
    }
    assert!(seen > 50, "{seen}");
}

#[test]
fn the_page_is_led_to() {
    for (document, link) in [
        ("README.md", "](docs/threat-model.md)"),
        ("docs/adr/0023-trust-and-the-environment.md", "](../threat-model.md)"),
    ] {
        assert!(fs::read_to_string(repository().join(document)).unwrap().contains(link), "{document}");
    }
}
