//! What stands above a block of a page: whether its lines were run, by whom, and if not, why not.

/// A block, fenced or indented, with what the page says of it.
#[derive(Debug, PartialEq, Eq)]
pub struct Block {
    /// Where it begins.
    pub line: usize,
    /// What stands behind its fence.
    pub info: String,
    pub text: String,
    /// The comment directly above it.
    pub mark: Option<Mark>,
    /// The prose before it, from the block or the heading above, and the paragraph behind it.
    pub prose: String,
}

/// What a comment says.
#[derive(Debug, PartialEq, Eq)]
pub enum Mark {
    /// `run: cluster::played::a_test`, several with commas between them: that runs it as it stands there.
    Run(Vec<String>),
    /// `run: by hand, 2026-11-22`, and behind a colon what was put in.
    ByHand(String),
    /// `checked: cluster::pages::a_test`: nothing to run, but looked at.
    Checked(Vec<String>),
    /// `not run: needs a cluster`.
    NotRun(String),
    /// `output`: what a program has printed, or would.
    Output,
    /// `form`: how a command line is put together.
    Form,
}

impl Mark {
    fn read(line: &str) -> Option<Self> {
        let words = line.trim().strip_prefix("<!-- ")?.strip_suffix(" -->")?;
        let tests = |list: &str| list.split(", ").map(str::to_owned).collect();
        match words.split_once(": ") {
            None if words == "output" => Some(Self::Output),
            None if words == "form" => Some(Self::Form),
            Some(("run", what)) => Some(match what.strip_prefix("by hand, ") {
                Some(day) => Self::ByHand(day.to_owned()),
                None => Self::Run(tests(what)),
            }),
            Some(("checked", what)) => Some(Self::Checked(tests(what))),
            Some(("not run", why)) => Some(Self::NotRun(why.to_owned())),
            _ => None,
        }
    }
}

/// The programs that lines for a shell begin with.
const PROGRAMS: [&str; 18] = [
    "buildah",
    "cargo",
    "cat",
    "cp",
    "curl",
    "docker",
    "entrypoint",
    "gcloud",
    "git",
    "jq",
    "kubectl",
    "make",
    "mkdir",
    "podman",
    "sha256sum",
    "skopeo",
    "tests/",
    "scripts/",
];

/// A line without the prompt and the variables in front of it.
pub fn command(line: &str) -> &str {
    let mut rest = line.trim_start().trim_start_matches("$ ");
    while let Some((word, behind)) = rest.split_once(' ') {
        let is_variable = word.split_once('=').is_some_and(|(name, _)| {
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
        });
        if !is_variable || word.contains("$(") && !word.ends_with(')') {
            break;
        }
        rest = behind;
    }
    rest
}

impl Block {
    /// Whether something in it is for a shell.
    pub fn is_shell(&self) -> bool {
        let starts = |line: &str| {
            let first = command(line).split(' ').next().unwrap_or_default();
            // A directory alone is none.
            let of_ours = |place: &&str| place.ends_with('/') && first.contains(*place) && !first.ends_with('/');
            let known = PROGRAMS.contains(&first) && !first.ends_with('/');
            known || PROGRAMS.iter().any(of_ours) || first.ends_with("/entrypoint")
        };
        let of_shell = self.info.split(' ').next().is_some_and(|kind| ["sh", "bash", "console"].contains(&kind));
        let unnamed = self.info.is_empty() && self.text.lines().any(|line| line.starts_with("$ ") || starts(line));
        of_shell || unnamed
    }
}

/// The blocks of a page, in their order.
pub fn blocks(page: &str) -> Vec<Block> {
    let lines: Vec<&str> = page.lines().collect();
    let mut blocks: Vec<Block> = Vec::new();
    let (mut prose, mut mark, mut at) = (String::new(), None, 0);
    // The paragraph that follows a block belongs to it too.
    let mut follows = false;
    while let Some(&line) = lines.get(at) {
        let begin = at + 1;
        let before = at.checked_sub(1).and_then(|at| lines.get(at)).copied().unwrap_or_default();
        let indented = line.starts_with("    ") && (before.trim().is_empty() || Mark::read(before).is_some());
        if let Some(fence) = line.trim_start().strip_prefix("```") {
            let body: Vec<&str> = lines[begin..].iter().copied().take_while(|line| line.trim() != "```").collect();
            at = begin + body.len() + 1;
            assert!(at <= lines.len(), "line {begin}: a block without an end");
            blocks.push(Block {
                line: begin,
                info: fence.to_owned(),
                text: body.iter().map(|line| format!("{line}\n")).collect(),
                mark: mark.take(),
                prose: std::mem::take(&mut prose),
            });
            follows = true;
            continue;
        }
        if indented {
            let body: Vec<&str> = lines[at..].iter().copied().take_while(|line| line.starts_with("    ")).collect();
            at += body.len();
            blocks.push(Block {
                line: begin,
                info: String::new(),
                text: body.iter().map(|line| format!("{}\n", &line[4..])).collect(),
                mark: mark.take(),
                prose: std::mem::take(&mut prose),
            });
            follows = true;
            continue;
        }
        if line.starts_with('#') {
            prose.clear();
            (mark, follows) = (None, false);
        } else if let Some(read) = Mark::read(line) {
            mark = Some(read);
        } else if !line.trim().is_empty() {
            // What stands between a comment and a block makes it a comment on something else.
            mark = None;
            prose += &format!("{line}\n");
            if let Some(block) = blocks.last_mut().filter(|_| follows) {
                block.prose += &format!("{line}\n");
            }
        } else if follows && !prose.is_empty() {
            follows = false;
        }
        at += 1;
    }
    blocks
}

/// What is wrong with a block. A test is there if the function says so.
pub fn faults(block: &Block, is_test: &dyn Fn(&str) -> bool) -> Vec<String> {
    let told = block.prose.to_lowercase();
    let missing = |tests: &[String]| -> Vec<String> {
        tests.iter().filter(|test| !is_test(test)).map(|test| format!("there is no test {test}")).collect()
    };
    match &block.mark {
        None => vec!["nothing says whether it was run".to_owned()],
        Some(Mark::Run(tests)) => missing(tests),
        Some(Mark::ByHand(day)) => {
            let day = day.split(": ").next().unwrap_or_default();
            let date = day.len() == 10 && day.split('-').map(str::len).eq([4, 2, 2]);
            if date { Vec::new() } else { vec![format!("{day:?} is no day")] }
        }
        Some(Mark::NotRun(_)) if !["not run", "never run"].iter().any(|words| told.contains(words)) => {
            vec!["a reader does not learn that it was not run".to_owned()]
        }
        Some(Mark::NotRun(_)) => Vec::new(),
        Some(Mark::Form) if block.text.contains('[') => Vec::new(),
        Some(Mark::Form) => vec!["a form has something in brackets".to_owned()],
        Some(Mark::Checked(_) | Mark::Output) if block.is_shell() => {
            vec!["its lines are for a shell: they were run, or not".to_owned()]
        }
        Some(Mark::Checked(tests)) => missing(tests),
        Some(Mark::Output) => Vec::new(),
    }
}

#[test]
fn blocks_are_found_with_what_is_said_of_them() {
    let page = "# A\n\nFirst.\n\n<!-- run: a::b, c::d -->\n```sh cluster\nkubectl get\n```\n\nBehind,\nstill.\n\nFar.\n\n\
        <!-- not run: no cluster -->\n\n    make x\n    make y\n\n## B\n```\nout\n```\n<!-- output -->\ntext\n```yaml\na: 1\n```\n";
    let found = blocks(page);
    let tests = ["a::b", "c::d"].map(str::to_owned).to_vec();
    let block = |line, info: &str, text: &str, mark, prose: &str| Block {
        line,
        info: info.to_owned(),
        text: text.to_owned(),
        mark,
        prose: prose.to_owned(),
    };
    assert_eq!(
        found,
        [
            block(6, "sh cluster", "kubectl get\n", Some(Mark::Run(tests)), "First.\nBehind,\nstill.\n"),
            block(17, "", "make x\nmake y\n", Some(Mark::NotRun("no cluster".to_owned())), "Behind,\nstill.\nFar.\n"),
            block(21, "", "out\n", None, "text\n"),
            block(26, "yaml", "a: 1\n", None, "text\n"),
        ]
    );
    assert_eq!(found.iter().map(Block::is_shell).collect::<Vec<_>>(), [true, true, false, false]);
}

#[test]
fn each_fault_of_a_block_is_found() {
    let none: &[&str] = &[];
    for (page, expected) in [
        ("```\nx\n```", &["nothing says whether it was run"][..]),
        ("<!-- no mark -->\n```\nx\n```", &["nothing says whether it was run"]),
        ("<!-- run: t::one -->\n```sh\nx\n```", none),
        ("<!-- run: t::one, t::two -->\n```sh\nx\n```", &["there is no test t::two"]),
        ("<!-- checked: t::two -->\n```yaml\nx\n```", &["there is no test t::two"]),
        ("<!-- run: by hand, 2026-11-22 -->\n```sh\nx\n```", none),
        ("<!-- run: by hand, 2026-11-22: another host -->\n```sh\nx\n```", none),
        ("<!-- run: by hand, lately -->\n```sh\nx\n```", &["\"lately\" is no day"]),
        ("Not run: so.\n\n<!-- not run: so -->\n```sh\nx\n```", none),
        ("<!-- not run: so -->\n```sh\nx\n```\n\n(**Never run**.)", none),
        ("Run.\n<!-- not run: so -->\n```sh\nx\n```", &["a reader does not learn that it was not run"]),
        ("Not run.\n# H\n<!-- not run: so -->\n```sh\nx\n```", &["a reader does not learn that it was not run"]),
        ("<!-- output -->\n```\nx\n```", none),
        (
            "<!-- output -->\n```\n$ A=b entrypoint version\n0.1.0\n```",
            &["its lines are for a shell: they were run, or not"],
        ),
        ("<!-- checked: t::one -->\n\n    X=1 make x", &["its lines are for a shell: they were run, or not"]),
        ("<!-- form -->\n```\nentrypoint resolve IMAGE [flags]\n```", none),
        ("<!-- output -->\n```\nscripts/    what is called\n```", none),
        ("<!-- form -->\n```\nentrypoint resolve IMAGE\n```", &["a form has something in brackets"]),
    ] {
        let found = blocks(page);
        assert_eq!(found.len(), 1, "{page}");
        assert_eq!(faults(&found[0], &|test| test == "t::one"), expected, "{page}");
    }
}
