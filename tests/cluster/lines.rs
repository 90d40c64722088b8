//! Every block of every page says whether its lines were run, and what it names is there.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::manifests::{is_ours, is_understood, texts};
use crate::marks::{Block, Mark, blocks, command, faults};
use crate::pages::commands;
use crate::{kubectl, skip};

/// Where lines for people stand: single files, and directories with every `.md` in them.
const PAGES: [&str; 6] =
    ["docs", "docs/adr", "examples/tep-0130/README.md", "tests/e2e/kind/README.md", "CONTRIBUTING.md", "README.md"];

/// Every page and its text.
pub fn pages() -> Vec<(String, String)> {
    let mut names = Vec::new();
    for place in PAGES {
        let path = skip::repository().join(place);
        if path.is_dir() {
            let entries = fs::read_dir(&path).expect("a directory").map(|entry| entry.expect("an entry").file_name());
            let found = entries.filter_map(|name| name.into_string().ok()).filter(|name| name.ends_with(".md"));
            let mut found: Vec<String> = found.map(|name| format!("{place}/{name}")).collect();
            found.sort();
            names.extend(found);
        } else {
            names.push(place.to_owned());
        }
    }
    let text =
        |name: &String| fs::read_to_string(skip::repository().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
    names.iter().map(|name| (name.clone(), text(name))).collect()
}

/// The blocks that a test is to run, as their marks say.
pub fn marked(test: &str) -> Vec<(String, Block)> {
    let of_page = |(name, text): (String, String)| blocks(&text).into_iter().map(move |block| (name.clone(), block));
    let is_marked =
        |block: &Block| matches!(&block.mark, Some(Mark::Run(tests)) if tests.iter().any(|one| one == test));
    pages().into_iter().flat_map(of_page).filter(|(_, block)| is_marked(block)).collect()
}

/// Whether there is a test: `cluster::pages::a_test` is in `tests/cluster/pages.rs`.
fn is_test(name: &str) -> bool {
    let Some((module, function)) = name.rsplit_once("::") else { return false };
    let file = skip::repository().join("tests").join(module.replace("::", "/")).with_extension("rs");
    let source = fs::read_to_string(file).unwrap_or_default();
    let mut parts = source.split("#[test]").skip(1);
    parts.any(|part| part.split("fn ").nth(1).is_some_and(|rest| rest.starts_with(&format!("{function}("))))
}

#[test]
fn every_block_says_whether_its_lines_were_run() {
    let mut found = Vec::new();
    let mut count = 0;
    for (name, text) in pages() {
        for block in blocks(&text) {
            found.extend(faults(&block, &is_test).into_iter().map(|fault| format!("{name}:{}: {fault}", block.line)));
            count += 1;
        }
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
    assert!(count > 50, "{count}");
    assert!(
        is_test("cluster::lines::every_block_says_whether_its_lines_were_run") && !is_test("cluster::lines::pages")
    );
}

#[test]
fn every_line_of_this_programs_is_understood() {
    let mut count = 0;
    for (name, text) in pages() {
        for block in blocks(&text).into_iter().filter(|block| block.is_shell() && block.mark != Some(Mark::Form)) {
            for line in commands(&block.text) {
                let Some((first, rest)) = command(&line).split_once(' ') else { continue };
                if is_ours(first) && !rest.contains("$(") {
                    is_understood(&kubectl::words(rest), &format!("{name}:{}", block.line));
                    count += 1;
                }
            }
        }
    }
    assert!(count >= 5, "{count}");
}

/// Every list of words that starts with this program, in a document: `command`, and `args` behind it.
fn command_lines(value: &Value) -> Vec<Vec<String>> {
    let words = |value: &Value| texts(value).into_iter().map(str::to_owned).collect::<Vec<_>>();
    match value {
        Value::Array(all) => all.iter().flat_map(command_lines).collect(),
        Value::Object(all) => {
            let own = all.get("command").map(words).filter(|words| words.first().is_some_and(|first| is_ours(first)));
            let own = own.map(|own| [own, all.get("args").map(words).unwrap_or_default()].concat());
            own.into_iter().chain(all.values().flat_map(command_lines)).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    }
}

#[test]
fn every_manifest_is_yaml_and_the_program_knows_its_flags() {
    let mut count = 0;
    for (name, text) in pages() {
        for block in blocks(&text).into_iter().filter(|block| block.info == "yaml") {
            let place = format!("{name}:{}", block.line);
            let all: Vec<Value> =
                serde_saphyr::from_multiple(&block.text).unwrap_or_else(|error| panic!("{place}: {error}"));
            for line in all.iter().flat_map(command_lines) {
                is_understood(&line[1..], &place);
                count += 1;
            }
        }
    }
    assert!(count >= 5, "{count}");
}

/// What stands between backticks in the prose, and every line of the blocks.
fn mentioned(text: &str) -> Vec<String> {
    let mut found: Vec<String> = blocks(text).iter().flat_map(|block| commands(&block.text)).collect();
    found.extend(text.replace("```", "").split('`').skip(1).step_by(2).map(|line| line.replace('\n', " ")));
    found
}

#[test]
fn what_is_called_is_there() {
    let root = skip::repository();
    let makefile = fs::read_to_string(root.join("Makefile")).expect("Makefile");
    let (mut targets, mut tests) = (0, 0);
    for (name, text) in pages() {
        for line in mentioned(&text) {
            let line = command(&line);
            let words: Vec<&str> = line.split_whitespace().collect();
            match words[..] {
                ["make", target, ..] if target.bytes().all(|byte| byte.is_ascii_lowercase()) => {
                    assert!(makefile.contains(&format!("\n{target}:")), "{name}: {line}: there is no such target");
                    targets += 1;
                }
                ["cargo", "test", "--test", test, ..] => {
                    let is_there =
                        ["tests/{}.rs", "tests/{}/main.rs"].map(|form| root.join(form.replace("{}", test)).exists());
                    assert!(is_there.contains(&true), "{name}: {line}: there is no such test");
                    tests += 1;
                }
                [path, ..] if path.starts_with("scripts/") || path.starts_with("tests/") => {
                    let is_there = path.contains('*') || Path::new(root).join(path).exists();
                    assert!(is_there, "{name}: {path} is not there");
                }
                _ => {}
            }
        }
    }
    assert!(targets > 5 && tests > 0, "{targets} {tests}");
}
