//! The drop-in proof: scenarios that Tekton's entrypoint answered once, answered by ours, and compared part by part.
//!
//! `tests/drop_in/answers/*.txt` has the scenarios, each with the world before it, what is run, Tekton's recorded answer,
//! and where ours is meant to differ: the differing parts and the decision (`docs/adr`) behind them. Its `README.md` has the
//! format. Each scenario runs in mount, PID and network namespaces of its own, in a root made of nothing but busybox.
//!
//! * `cargo test --test drop_in`: ours against the recorded answers.
//! * `TEKTON_ENTRYPOINT=/path`: the program there too; an answer that is not the recorded one any more fails.
//! * `TEKTON_ENTRYPOINT=/path RECORD=1`: its answers are written into the files.
//! * `SCENARIO=text`: only scenarios whose name contains it.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    missing_docs,
    unreachable_pub,
    reason = "a test fails by panicking, and waits for the processes that it starts"
)]

#[path = "drop_in/compare.rs"]
mod compare;
#[path = "drop_in/format.rs"]
mod format;
#[path = "drop_in/inflate.rs"]
mod inflate;
#[path = "drop_in/run.rs"]
mod run;
#[path = "drop_in/scenario.rs"]
mod scenario;
#[path = "support/skip.rs"]
mod skip;
#[path = "drop_in/tidy.rs"]
mod tidy;
#[path = "drop_in/world.rs"]
mod world;

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use compare::faults;
use run::Subject;
use scenario::{Scenario, Section};

/// Where the recorded answers come from: it stands at the head of every file of them.
const UPSTREAM: &str = "tektoncd/pipeline 3ee1745ae5b2d9175b11917d7c1935eaad44910c";

/// The issue asks for this many.
const AT_LEAST: usize = 200;

fn answers() -> PathBuf {
    skip::repository().join("tests/drop_in/answers")
}

fn section(name: &str) -> Section {
    let path = answers().join(name).with_extension("txt");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    Section::parse(&text, UPSTREAM).unwrap_or_else(|fault| panic!("{}: {fault}", path.display()))
}

/// What is to be done with a section.
struct Plan {
    ours: Option<PathBuf>,
    live: Option<PathBuf>,
    record: bool,
    only: Option<String>,
}

impl Plan {
    fn of_the_environment() -> Self {
        let live = env::var_os("TEKTON_ENTRYPOINT").filter(|path| !path.is_empty()).map(PathBuf::from);
        let record = env::var_os("RECORD").is_some_and(|record| record == "1");
        assert!(live.is_some() || !record, "RECORD=1 needs TEKTON_ENTRYPOINT, the path of Tekton's entrypoint");
        let ours = (!record).then(skip::entrypoint);
        Self { ours, live, record, only: env::var("SCENARIO").ok() }
    }

    fn wants(&self, scenario: &Scenario) -> bool {
        self.only.as_ref().is_none_or(|only| scenario.name.contains(only.as_str()))
    }
}

/// Runs all scenarios of a section, and compares.
fn check(name: &str) {
    const PURPOSE: &str = "scenarios in namespaces of their own";
    if !skip::root(PURPOSE) || !skip::programs(PURPOSE, &[("busybox", "busybox-static")]) {
        return;
    }
    let plan = Plan::of_the_environment();
    let mut section = section(name);
    let mut found = Vec::new();
    for scenario in section.scenarios.iter_mut().filter(|scenario| plan.wants(scenario)) {
        if let Some(machine) = scenario.only_on.as_ref().filter(|machine| *machine != env::consts::ARCH) {
            skip::skip(&format!("the scenario {:?} has answers of {machine} only", scenario.name));
            continue;
        }
        if scenario.needs_cel && !cfg!(feature = "cel") {
            skip::skip(&format!("the scenario {:?} needs the feature cel", scenario.name));
            continue;
        }
        let faults = answer(scenario, &plan).unwrap_or_else(|fault| vec![fault]);
        found.extend(faults.iter().map(|fault| format!("== {}\n{fault}\n", scenario.name)));
    }
    if plan.record {
        fs::write(answers().join(name).with_extension("txt"), section.text()).expect("the answers can be written");
    }
    assert!(found.is_empty(), "{} faults in {name}.txt:\n\n{}", found.len(), found.join("\n"));
}

/// Runs one scenario with the programs of the plan; what differs and should not comes back.
fn answer(scenario: &mut Scenario, plan: &Plan) -> Result<Vec<String>, String> {
    let mut found = Vec::new();
    if let Some(live) = &plan.live {
        let answer = run::in_its_own_world(scenario, Subject { program: live, loses_signals: true })?;
        if plan.record {
            scenario.tekton = Some(answer);
        } else {
            let recorded = scenario.tekton.clone().unwrap_or_default();
            found.extend(compare::changed(&recorded, &answer));
        }
    }
    if let Some(ours) = &plan.ours {
        let answer = run::in_its_own_world(scenario, Subject { program: ours, loses_signals: false })?;
        found.extend(faults(scenario, &answer, &|decision| {
            skip::repository().join("docs/adr").join(decision).is_file()
        }));
    }
    Ok(found)
}

macro_rules! sections {
    ($($name:ident),* $(,)?) => {
        /// Every section has a test of its name.
        const SECTIONS: &[&str] = &[$(stringify!($name)),*];

        $(#[test]
        fn $name() {
            check(stringify!($name));
        })*
    };
}

sections! {
    breakpoints,
    command_line,
    containers,
    credentials,
    limits,
    message,
    outcomes,
    programs,
    results,
    signals,
    subcommands,
    substitutions,
    tee,
    waiting,
    when,
}

#[test]
fn there_are_enough_scenarios_each_of_its_own_name_and_with_an_answer() {
    let mut scenarios = 0;
    for name in SECTIONS {
        let section = section(name);
        let names: BTreeSet<&str> = section.scenarios.iter().map(|scenario| scenario.name.as_str()).collect();
        assert_eq!(names.len(), section.scenarios.len(), "two scenarios of {name} have one name");
        let silent = section.scenarios.iter().filter(|scenario| scenario.tekton.is_none());
        let silent: Vec<&str> = silent.map(|scenario| scenario.name.as_str()).collect();
        assert!(silent.is_empty(), "record Tekton's answers of {name}: {silent:?}");
        scenarios += section.scenarios.len();
    }
    assert!(scenarios >= AT_LEAST, "{scenarios} of at least {AT_LEAST} scenarios");
}

#[test]
fn every_file_of_answers_is_a_section() {
    let files = fs::read_dir(answers()).expect("the answers").map(|entry| entry.expect("an entry").path());
    let texts = files.filter(|path| path.extension().is_some_and(|extension| extension == "txt"));
    let stem = |path: PathBuf| path.file_stem().map(Path::new).expect("a name").display().to_string();
    let there: BTreeSet<String> = texts.map(stem).collect();
    assert_eq!(there, SECTIONS.iter().map(|name| (*name).to_owned()).collect());
}
