//! Scenarios and answers, and the text in which they are kept.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use crate::format::{bytes, content_bytes, words};

/// A file of scenarios.
#[derive(Debug)]
pub struct Section {
    /// What stands before the first scenario, to the letter.
    head: String,
    pub scenarios: Vec<Scenario>,
}

/// What stands in the container before, what is run, and the answers.
#[derive(Debug, Default)]
pub struct Scenario {
    /// The rule.
    pub name: String,
    /// The lines between the name and the answers, to the letter.
    source: String,
    pub files: Vec<Node>,
    /// Directories and files of the plain world that this one does not have.
    pub absent: Vec<String>,
    /// Set (some) or taken away (none).
    pub env: Vec<(OsString, Option<OsString>)>,
    pub umask: u32,
    pub uid: u32,
    pub cwd: String,
    pub stdin: Vec<u8>,
    /// Whether the entrypoint is PID 1 of its namespace.
    pub pid_1: bool,
    pub proc: bool,
    pub loopback: bool,
    pub read_only_root: bool,
    /// The machine (`x86_64`) whose answers these are, where machines differ.
    pub only_on: Option<String>,
    /// Whether the program must know CEL, which a build may leave out.
    pub needs_cel: bool,
    /// A part of the answer that says nothing, such as a trace.
    pub without: Vec<String>,
    pub argv: Vec<OsString>,
    pub actions: Vec<(Condition, Action)>,
    pub tekton: Option<Answer>,
    pub ours: Vec<Difference>,
}

/// A file before the run.
#[derive(Debug)]
pub struct Node {
    pub path: String,
    pub kind: Kind,
}

/// What it is.
#[derive(Debug)]
pub enum Kind {
    Directory { mode: u32, owner: Option<(u32, u32)> },
    File { mode: u32, owner: Option<(u32, u32)>, content: Vec<u8> },
    Link { target: String },
    Fifo,
}

/// What is waited for before an action.
#[derive(Debug)]
pub enum Condition {
    Exists(String),
    StderrSays(String),
    StdoutSays(String),
}

/// What is done to the running entrypoint, or to its files.
#[derive(Debug)]
pub enum Action {
    Signal(i32),
    Put(Node),
}

/// An answer: its parts by name. `exit`, `stdout`, `stderr`, and the path of everything that is not as it was.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Answer(pub BTreeMap<String, String>);

/// Where ours is meant to differ.
#[derive(Debug)]
pub struct Difference {
    /// Files in `docs/adr`: the reasons.
    pub decisions: Vec<String>,
    /// The parts as ours has them; `none` for one that it does not have.
    pub parts: Answer,
    /// The block, to the letter.
    source: String,
}

const TEKTON: &str = "-- tekton";
const OURS: &str = "-- ours ";
const NAME: &str = "== ";
/// The parts that are no files.
const PARTS: [&str; 4] = ["exit", "missed", "stdout", "stderr"];
/// Behind the name of a part that is not there.
pub const NONE: &str = "none";

impl Section {
    /// Reads a file, whose head must name where its answers come from.
    ///
    /// # Errors
    /// Which line of it is wrong.
    pub fn parse(text: &str, upstream: &str) -> Result<Self, String> {
        let mut starts: Vec<usize> = text.match_indices("\n== ").map(|(at, _)| at + 1).collect();
        starts.push(text.len());
        let head = text[..starts[0]].to_owned();
        if !head.contains(upstream) {
            return Err(format!("its head must say {upstream}"));
        }
        let one = |pair: &[usize]| {
            let text = &text[pair[0]..pair[1]];
            Scenario::parse(text).map_err(|fault| format!("{}: {fault}", text.lines().next().unwrap_or_default()))
        };
        Ok(Self { head, scenarios: starts.windows(2).map(one).collect::<Result<_, _>>()? })
    }

    /// The file with the answers that the scenarios have now.
    pub fn text(&self) -> String {
        let mut out = self.head.clone();
        for scenario in &self.scenarios {
            out.push_str(&format!("{NAME}{}\n{}", scenario.name, scenario.source));
            if let Some(answer) = &scenario.tekton {
                out.push_str(&format!("{TEKTON}\n{}", answer.text()));
            }
            scenario.ours.iter().for_each(|difference| out.push_str(&difference.source));
            out.push('\n');
        }
        out.truncate(out.trim_end().len());
        out.push('\n');
        out
    }
}

impl Scenario {
    fn parse(text: &str) -> Result<Self, String> {
        let (name, body) = text.split_once('\n').ok_or("nothing in it")?;
        let body = body.trim_end();
        let cut = |text: &str, mark: &str| text.find(&format!("\n{mark}")).map_or(text.len(), |at| at + 1);
        let (rest, ours) = body.split_at(cut(body, OURS));
        let (source, tekton) = rest.split_at(cut(rest, TEKTON));
        let mut scenario = Self {
            name: name.strip_prefix(NAME).unwrap_or(name).to_owned(),
            source: format!("{}\n", source.trim_end()),
            umask: 0o022,
            cwd: "/workspace".to_owned(),
            pid_1: true,
            ..Self::default()
        };
        for (line, below) in headings(source) {
            scenario.input(line, &below).map_err(|fault| format!("{line}: {fault}"))?;
        }
        if scenario.argv.is_empty() && !source.lines().any(|line| line.trim() == "run") {
            return Err("nothing is run".to_owned());
        }
        scenario.tekton = tekton.strip_prefix(TEKTON).map(Answer::parse).transpose()?;
        for block in ours.split_inclusive('\n').collect::<String>().split(OURS).skip(1) {
            let (decisions, parts) = block.split_once('\n').unwrap_or((block, ""));
            let decisions = decisions.split_whitespace().map(str::to_owned).collect();
            let source = format!("{OURS}{}\n", block.trim_end());
            scenario.ours.push(Difference { decisions, parts: Answer::parse(parts)?, source });
        }
        Ok(scenario)
    }

    /// A line of the part that is written by hand.
    fn input(&mut self, line: &str, below: &[&str]) -> Result<(), String> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let os = |text: &str| bytes(text).map(OsString::from_vec);
        match word {
            "#" | "" => {}
            _ if line.starts_with('/') => self.files.push(Node::parse(line, below)?),
            "no" => self.absent.push(rest.to_owned()),
            "env" => {
                let (name, value) = rest.split_once('=').ok_or("NAME=VALUE")?;
                self.env.push((os(name)?, Some(os(value)?)));
            }
            "unset" => self.env.push((rest.into(), None)),
            "umask" => self.umask = mode(rest)?,
            "uid" => self.uid = rest.parse().map_err(|_| "a number")?,
            "cwd" => self.cwd = rest.to_owned(),
            "stdin" => self.stdin = content_bytes(rest, below.iter().copied())?,
            "beside" if rest == "PID 1" => self.pid_1 = false,
            "with" if rest == "/proc" => self.proc = true,
            "with" if rest == "loopback" => self.loopback = true,
            "read-only" if rest == "root" => self.read_only_root = true,
            "only" => self.only_on = Some(rest.to_owned()),
            "needs" if rest == "cel" => self.needs_cel = true,
            "without" => self.without.push(rest.to_owned()),
            "when" => self.actions.push(action(rest, below)?),
            "run" => self.argv = argv(rest, below)?,
            _ => return Err("what is that?".to_owned()),
        }
        Ok(())
    }
}

/// The flags that the controller gives every step.
const STEP: &str =
    "-post_file /tekton/run/0/out -termination_path /tekton/termination -step_metadata_dir /tekton/run/0/status";
/// A step that is a script.
const SHELL: &str = "-entrypoint /bin/sh -- -c";

/// The arguments: words of the line, and what stands below as the last one.
fn argv(line: &str, below: &[&str]) -> Result<Vec<OsString>, String> {
    let mut argv = Vec::new();
    for word in words(line)? {
        match word.as_slice() {
            b"@step" => argv.extend(words(STEP)?),
            b"@sh" => argv.extend(words(SHELL)?),
            _ => argv.push(word),
        }
    }
    if !below.is_empty() {
        argv.push(content_bytes("", below.iter().copied())?);
    }
    Ok(argv.into_iter().map(OsString::from_vec).collect())
}

/// `exists PATH: signal TERM` and the like.
fn action(line: &str, below: &[&str]) -> Result<(Condition, Action), String> {
    let (condition, action) = line.split_once(": ").ok_or("CONDITION: ACTION")?;
    let condition = match condition.split_once(' ') {
        Some(("exists", path)) => Condition::Exists(path.to_owned()),
        Some(("stderr", text)) => Condition::StderrSays(text.to_owned()),
        Some(("stdout", text)) => Condition::StdoutSays(text.to_owned()),
        _ => return Err(format!("no condition: {condition}")),
    };
    let action = match action.split_once(' ') {
        Some(("signal", number)) => Action::Signal(number.parse().map_err(|_| "a number")?),
        Some(("put", node)) => Action::Put(Node::parse(node, below)?),
        _ => return Err(format!("no action: {action}")),
    };
    Ok((condition, action))
}

impl Node {
    /// `PATH MODE [UID:GID] [:CONTENT]`, `PATH/ MODE`, `PATH -> TARGET`, `PATH fifo`.
    fn parse(line: &str, below: &[&str]) -> Result<Self, String> {
        let (path, rest) = line.split_once(' ').ok_or("a mode, `->` or `fifo`")?;
        let made = |kind, path: &str| Ok(Self { path: path.to_owned(), kind });
        if let Some(target) = rest.strip_prefix("-> ") {
            return made(Kind::Link { target: target.to_owned() }, path);
        }
        if rest == "fifo" {
            return made(Kind::Fifo, path);
        }
        let (mode_text, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        let mode = mode(mode_text)?;
        let (owner, rest) = match rest.split_once(' ').unwrap_or((rest, "")) {
            (owner, rest) if owner.starts_with(|first: char| first.is_ascii_digit()) => {
                let (uid, gid) = owner.split_once(':').ok_or("UID:GID")?;
                (Some((uid.parse().map_err(|_| "a user")?, gid.parse().map_err(|_| "a group")?)), rest)
            }
            _ => (None, rest),
        };
        match path.strip_suffix('/') {
            Some(path) => made(Kind::Directory { mode, owner }, path),
            None => {
                let content = content_bytes(rest, below.iter().copied())?;
                made(Kind::File { mode, owner, content }, path)
            }
        }
    }
}

fn mode(text: &str) -> Result<u32, String> {
    u32::from_str_radix(text, 8).map_err(|_| format!("{text} is no mode"))
}

/// The lines that begin something, each with the indented lines below it.
fn headings(text: &str) -> Vec<(&str, Vec<&str>)> {
    let mut out: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        match out.last_mut() {
            Some((_, below)) if line.starts_with("  ") => below.push(line),
            _ => out.push((line, Vec::new())),
        }
    }
    out
}

impl Answer {
    fn parse(text: &str) -> Result<Self, String> {
        let part = |(line, below): (&str, Vec<&str>)| {
            let (name, rest) = match line.split_once(' ') {
                Some((name, rest)) => (name, format!(" {rest}")),
                None => (line, String::new()),
            };
            if !name.starts_with('/') && !PARTS.contains(&name) {
                return Err(format!("no part of an answer: {line}"));
            }
            Ok((name.to_owned(), below.iter().fold(rest, |part, line| format!("{part}\n{line}"))))
        };
        headings(text).into_iter().map(part).collect::<Result<_, _>>().map(Self)
    }

    /// The parts in an order for people: how it ended, what it said, what it left.
    pub fn text(&self) -> String {
        let rank = |name: &str| PARTS.iter().position(|part| *part == name).unwrap_or(PARTS.len());
        let mut parts: Vec<(&String, &String)> = self.0.iter().collect();
        parts.sort_by_key(|(name, _)| rank(name));
        parts.into_iter().map(|(name, part)| format!("{name}{part}\n")).collect()
    }

    /// These parts as text.
    pub fn only(&self, names: &BTreeSet<String>) -> String {
        Self(names.iter().map(|name| (name.clone(), self.part(name))).collect()).text()
    }

    /// The value of a part as it stands in an answer that has it, or `none`.
    pub fn part(&self, name: &str) -> String {
        self.0.get(name).cloned().unwrap_or_else(|| format!(" {NONE}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# from here\n\n== a rule\n# why\n/tekton/a 600 1:2 :x\n/tekton/b/ 755\nenv A=B\nrun @step -x 'y z'\n  |line\n\
        -- tekton\nexit 0\n/tekton/a none\n/tekton/t 644\n  |one\n  :two\n-- ours 0001-x.md\nexit 1\n\n== another\nrun\n";

    #[test]
    fn a_section_is_written_as_it_was_read() {
        let section = Section::parse(TEXT, "from here").unwrap();
        assert_eq!(section.text(), TEXT);
        let first = &section.scenarios[0];
        assert_eq!(first.argv.len(), 9);
        assert_eq!(first.argv[8], "line\n");
        assert_eq!(first.tekton.as_ref().unwrap().part("/tekton/t"), " 644\n  |one\n  :two");
        assert_eq!(
            (first.ours[0].decisions.join(" ").as_str(), first.ours[0].parts.part("exit").as_str()),
            ("0001-x.md", " 1")
        );
    }

    #[test]
    fn what_is_no_scenario_is_said() {
        for (text, fault) in [
            ("# elsewhere\n\n== a\nrun\n", "its head must say from here"),
            ("# from here\n\n== a\numask x\nrun\n", "== a: umask x: x is no mode"),
            ("# from here\n\n== a\nrnu\n", "== a: rnu: what is that?"),
            ("# from here\n\n== a\numask 0\n", "== a: nothing is run"),
            ("# from here\n\n== a\nrun\n-- tekton\nfailures:\n", "== a: no part of an answer: failures:"),
        ] {
            assert_eq!(Section::parse(text, "from here").unwrap_err(), fault);
        }
    }
}
