//! Links of the pages for people lead to files and headings that are there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::{files, page, root};

/// The pages: those at the top, and everything below these directories.
fn pages() -> Vec<PathBuf> {
    let top = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(|name| root().join(name));
    let below = ["docs", "examples/tep-0130", "tests/e2e/kind"].map(|name| files(&root().join(name)));
    let below = below.into_iter().flatten().filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    top.into_iter().chain(below).collect()
}

/// The lines that are no code: what stands in a fenced block is no link and no heading.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    })
}

/// What the links of a page lead to.
fn targets(text: &str) -> Vec<String> {
    let links = |line: &str| -> Vec<String> {
        // What stands between backquotes is no link.
        let plain: String = line.split('`').step_by(2).collect::<Vec<_>>().join("`");
        plain.split("](").skip(1).filter_map(|rest| rest.split(')').next()).map(str::to_owned).collect()
    };
    prose(text).flat_map(links).collect()
}

/// The names by which a page's headings are linked to, as GitHub makes them.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let headings = prose(text).filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let mut anchors = BTreeSet::new();
    for heading in headings {
        let kept = heading.to_lowercase().replace(' ', "-");
        let name: String = kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_')).collect();
        let times = seen.entry(name.clone()).or_default();
        anchors.insert(if *times == 0 { name } else { format!("{name}-{times}") });
        *times += 1;
    }
    anchors
}

/// What is wrong with a link of a page; `read` has the text of a page.
fn fault(from: &Path, target: &str, read: &dyn Fn(&Path) -> String) -> Option<String> {
    if target.contains("://") {
        return None;
    }
    let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
    let to = if file.is_empty() { from.to_owned() } else { from.parent().unwrap().join(file) };
    let known = anchor.is_empty() || anchors(&read(&to)).contains(anchor);
    (!to.exists() || !known).then(|| format!("{}: {target} leads nowhere", from.display()))
}

fn read_file(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

#[test]
fn links_lead_to_files_and_headings() {
    let mut links = 0;
    let mut faults = Vec::new();
    for from in pages() {
        for target in targets(&read_file(&from)) {
            links += 1;
            faults.extend(fault(&from, &target, &read_file));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(links > 300, "{links}");
}

#[test]
fn every_page_of_docs_is_led_to_by_the_readme() {
    let readme = page("README.md");
    let linked: BTreeSet<PathBuf> = targets(&readme).iter().map(|target| root().join(target)).collect();
    for path in files(&root().join("docs")) {
        let of_adrs = path.parent().is_some_and(|dir| dir.ends_with("adr"));
        let is_page = path.extension().is_some_and(|extension| extension == "md");
        assert!(of_adrs || !is_page || linked.contains(&path), "README.md has no link to {}", path.display());
    }
}

#[test]
fn a_link_that_leads_nowhere_is_found() {
    let text = "# A `b` c: d?\n\n[x](README.md) `[y](no)` [z](#e)\n```\n# no\n[w](no)\n```\n## E\n### E\n";
    assert_eq!(targets(text), ["README.md", "#e"]);
    assert_eq!(anchors(text), ["a-b-c-d", "e", "e-1"].map(str::to_owned).into());
    let from = root().join("page.md");
    let read = |path: &Path| if path == from { text.to_owned() } else { read_file(path) };
    std::fs::metadata(root().join("README.md")).unwrap();
    for (target, is_fault) in [
        ("README.md", false),
        ("README.md#measured", false),
        ("README.md#no-such-heading", true),
        ("no.md", true),
        ("docs", false),
        ("https://example.com/#x", false),
    ] {
        assert_eq!(fault(&from, target, &read).is_some(), is_fault, "{target}");
    }
}
