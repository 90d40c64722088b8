//! The pages that tell people what to type: each block of shell is run here, or is marked and looked at.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::kubectl;
use crate::manifests::{is_least, is_ours, is_understood, is_whole, objects, our_command_lines};
use crate::skip;

const PAGES: [&str; 2] = ["docs/install-tekton.md", "docs/debug-pod.md"];

/// A fenced block: what stands behind its fence, and its text.
struct Block {
    info: String,
    text: String,
}

fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for line in page.lines() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(info), None) => open = Some(Block { info: info.to_owned(), text: String::new() }),
            (None, Some(block)) => block.text += &format!("{line}\n"),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block without an end");
    blocks
}

fn page(name: &str) -> String {
    fs::read_to_string(skip::repository().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Every block of the kind, with the page that it stands on.
fn of_kind(info: &str) -> Vec<(&'static str, String)> {
    let of_page = |name| blocks(&page(name)).into_iter().map(move |block| (name, block));
    PAGES
        .into_iter()
        .flat_map(of_page)
        .filter(|(_, block)| block.info == info)
        .map(|(name, block)| (name, block.text))
        .collect()
}

/// The commands of a shell's text: continued lines joined, documents in it left out, and what is behind a pipe or in `$(...)`
/// as commands of their own.
pub fn commands(text: &str) -> Vec<String> {
    let joined = text.replace("\\\n", " ");
    let (mut commands, mut document) = (Vec::new(), None::<String>);
    for line in joined.lines() {
        if let Some(end) = &document {
            if line == end {
                document = None;
            }
            continue;
        }
        if let Some((_, end)) = line.split_once("<<") {
            document = Some(end.split([' ', '>']).next().unwrap_or_default().trim_matches('\'').to_owned());
        }
        let line = line.split("<<").next().unwrap_or_default();
        let inner = line.split_once("=$(").and_then(|(_, inner)| inner.strip_suffix(')')).unwrap_or(line);
        commands.extend(
            inner.split(" | ").map(|command| command.split(" > ").next().unwrap_or_default().trim().to_owned()),
        );
    }
    commands.retain(|command| !command.is_empty() && !command.starts_with('#'));
    commands
}

#[test]
fn every_block_is_of_a_kind_that_is_looked_at_and_what_was_not_run_is_marked_so() {
    for name in PAGES {
        let text = page(name);
        for block in blocks(&text) {
            assert!(["sh", "sh cluster", "yaml", ""].contains(&block.info.as_str()), "{name}: {:?}", block.info);
        }
        assert!(text.contains("**Not run against a cluster.**"), "{name}");
    }
}

#[test]
fn shell_that_needs_no_cluster_runs_as_it_stands_there() {
    if !skip::programs("the shell of the pages", &[("kubectl", "kubernetes-client"), ("bash", "bash")]) {
        return;
    }
    let found = of_kind("sh");
    assert_eq!(found.len(), 2);
    for (name, text) in found {
        let dir = tempfile::tempdir().expect("a directory");
        let bin = dir.path().join("bin");
        fs::create_dir(&bin).expect("a directory");
        symlink(skip::entrypoint(), bin.join("entrypoint")).expect("a link");
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
        let mut shell = Command::new("bash");
        shell.args(["-euo", "pipefail", "-c", &text]).env("PATH", path).env("KUBECONFIG", "/nonexistent");
        let output = shell.current_dir(dir.path()).stdin(Stdio::null()).output().expect("bash starts");
        assert!(output.status.success(), "{name}: {text}\n{}", String::from_utf8_lossy(&output.stderr));
        assert!(!output.stdout.is_empty(), "{name}: {text}");
    }
}

#[test]
fn shell_for_a_cluster_is_shell_and_kubectl_and_the_program_know_every_flag_in_it() {
    if !skip::programs("the shell of the pages", &[("kubectl", "kubernetes-client"), ("bash", "bash")]) {
        return;
    }
    // Debian's kubectl is older than some of the flags, and no newer one can be asked for: everything else is looked at.
    let recent = kubectl::is_recent();
    if !recent {
        eprintln!("kubectl is older than 1.32: its flags on the pages are not compared with it");
    }
    let (mut asked, mut ours) = (0, 0);
    for (name, text) in of_kind("sh cluster") {
        let shell = Command::new("bash").args(["-n", "-c", &text]).output().expect("bash starts");
        assert!(shell.status.success(), "{name}: {text}\n{}", String::from_utf8_lossy(&shell.stderr));
        for command in commands(&text) {
            let words = kubectl::words(&command);
            match words[0].as_str() {
                "kubectl" if recent => kubectl::knows(&words, &format!("{name}: {command}")),
                "kubectl" => {}
                "docker" | "grep" | "cat" => continue,
                other => panic!("{name}: nobody looks at {other}: {command}"),
            }
            asked += 1;
            // What a pod of our image is to run.
            let Some(behind) = words.iter().position(|word| word == "--").map(|at| &words[at + 1..]) else { continue };
            let line = if is_ours(&behind[0]) { &behind[1..] } else { behind };
            is_understood(line, name);
            ours += 1;
        }
    }
    assert!(asked >= 15 && ours == 5, "{asked} {ours}");
}

#[test]
fn manifests_are_whole_and_their_roles_allow_the_least() {
    let all: Vec<(&str, serde_json::Value)> = of_kind("yaml")
        .into_iter()
        .flat_map(|(name, text)| objects(&text, name).into_iter().map(move |object| (name, object)))
        .collect();
    let beside: Vec<serde_json::Value> = all.iter().map(|(_, object)| object.clone()).collect();
    let (mut roles, mut lines) = (0, 0);
    for (name, object) in &all {
        is_whole(object, &beside, name);
        if object["kind"] == "Role" {
            is_least(object, name);
            roles += 1;
        }
        for line in our_command_lines(object) {
            is_understood(&line, name);
            lines += 1;
        }
    }
    assert_eq!((roles, lines), (1, 4));
}

#[test]
fn what_a_controller_would_emit_is_understood() {
    let found = of_kind("");
    let [(name, text)] = &found[..] else { panic!("one block") };
    let emitted = text.trim().strip_suffix("[the step's args]").expect("the step's args");
    let flags = ["-wait_file", "/tekton/run/0/out", "-post_file", "/tekton/run/1/out"].map(str::to_owned);
    is_understood(&[&flags[..], &kubectl::words(emitted)[..]].concat(), name);
    let table = page(name);
    let rows = table.lines().filter(|line| line.starts_with("| `-"));
    let named: Vec<&str> =
        rows.flat_map(|row| row.split('|').nth(1).unwrap_or_default().split('`').skip(1).step_by(2)).collect();
    assert_eq!(named.len(), 8, "{named:?}");
    for flag in named {
        let line: Vec<String> = match flag {
            "-image" => vec!["-image=busybox".to_owned()],
            flag if flag.contains(' ') => [vec!["-image=busybox".to_owned()], kubectl::words(flag)].concat(),
            "-image_pin_strict" => vec!["-image=busybox".to_owned(), flag.to_owned()],
            flag => vec!["-image=busybox".to_owned(), format!("{flag}=name")],
        };
        is_understood(&line, name);
    }
}

#[test]
fn links_lead_somewhere() {
    for name in PAGES.into_iter().chain(["tests/e2e/kind/README.md"]) {
        let text = page(name);
        let from = skip::repository().join(name);
        let from = from.parent().unwrap_or_else(|| Path::new(""));
        for target in text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()) {
            assert!(target.contains("://") || from.join(target).exists(), "{name}: {target}");
        }
    }
}
