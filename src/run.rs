//! The pass of a step, from its wait to the exit door.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::cli::{self, Invocation, UsageError};
use crate::commands::{self, version};
#[cfg(feature = "lookup")]
use crate::commands::{resolve, run_image};
use crate::host::Host;
use crate::log;
use crate::lookup::{Found, Lookup, When};
use crate::outcome::{NotRunKind, Outcome};
use crate::report;
use crate::setup;
use crate::spec::{CommandSource, SetupCommand, StepSpec, Timeout};
use crate::step::command::{self, Program};
use crate::step::runner::Running;
use crate::step::start_error;
use crate::step::wait::{Turn, Wait};
use crate::sys::cause::{Cause, chain};
use crate::sys::clock::{self, Timestamp};
use crate::sys::memory;
use crate::sys::process;
use crate::sys::{poll, signals, signals::Signals};

/// Does what argv asks for.
#[must_use]
pub fn run(argv: &[OsString], host: &Host) -> ExitCode {
    // Before anything else, also before argv: from here on no signal is lost.
    let signals = Signals::block();
    match cli::parse(argv) {
        Ok(Invocation::Step(spec)) => step(&spec, host, signals).into(),
        Ok(Invocation::Setup(command)) => set_up(&command, host, signals),
        #[cfg(feature = "lookup")]
        Ok(Invocation::RunImage { lookup, args }) => {
            with_signals(signals, |signals| run_image::run(&lookup, &args, host, signals))
        }
        #[cfg(feature = "lookup")]
        Ok(Invocation::Resolve { lookup, args, format }) => {
            with_signals(signals, |signals| resolve::run(&lookup, &args, format, host, signals))
        }
        #[cfg(not(feature = "lookup"))]
        Ok(Invocation::RunImage { lookup, .. } | Invocation::Resolve { lookup, .. }) => {
            // The command line has refused them already.
            log::say(format_args!("image {} cannot be looked up by this build", lookup.image));
            ExitCode::FAILURE
        }
        Ok(Invocation::Version) => commands::print(&version::text()),
        Ok(Invocation::Help(text)) => {
            log::help(&text);
            ExitCode::SUCCESS
        }
        Err(error) => usage_error(&error).into(),
    }
}

/// A command that asks a registry, and so has a child to look after.
#[cfg(feature = "lookup")]
fn with_signals(signals: io::Result<Signals>, command: impl FnOnce(Signals) -> ExitCode) -> ExitCode {
    match signals {
        Ok(signals) => command(signals),
        Err(error) => {
            log::say(format_args!("cannot read signals: {}", Cause(&error)));
            ExitCode::FAILURE
        }
    }
}

/// Does what an init container asks for. It reports nothing, so a signal may end it.
fn set_up(command: &SetupCommand, host: &Host, signals: io::Result<Signals>) -> ExitCode {
    if let Ok(signals) = signals {
        signals.leave_to_the_system();
    }
    match setup::run(command, &host.dirs) {
        Ok(line) => {
            log::say(line);
            ExitCode::SUCCESS
        }
        Err(error) => {
            log::say(format_args!("{} error: {}", command.name(), chain(&error)));
            ExitCode::FAILURE
        }
    }
}

/// The exit door of a step: whatever happened on the way, it is reported, and the report decides the exit code.
fn step(spec: &StepSpec, host: &Host, signals: io::Result<Signals>) -> u8 {
    report_panics(spec, host);
    let mut pass = match signals {
        Ok(signals) => Pass { spec, host, signals, started_at: None },
        Err(error) => {
            let outcome = failed(format!("cannot read signals: {}", Cause(&error)));
            return report::report(&outcome, spec, &host.dirs, None);
        }
    };
    let outcome = pass.outcome().unwrap_or_else(|outcome| outcome);
    if outcome == Outcome::Cancelled {
        log::info("Step was canceling");
    }
    let code = report::report(&outcome, spec, &host.dirs, pass.started_at);
    if let Outcome::NotRun(why) = &outcome
        && let NotRunKind::Interrupted(number) = why.kind
    {
        pass.signals.die_of(number);
    }
    code
}

/// A defect of ours must not leave the next step waiting: before a panic ends the process, the step is reported.
fn report_panics(spec: &StepSpec, host: &Host) {
    let (spec, dirs) = (spec.clone(), host.dirs.clone());
    std::panic::set_hook(Box::new(move |panic| {
        let outcome = failed(format!("entrypoint has a defect, please report it: {panic}"));
        process::exit_now(report::report(&outcome, &spec, &dirs, None));
    }));
}

/// A failure of our own around the step.
fn failed(sentence: String) -> Outcome {
    Outcome::not_run(NotRunKind::Other, sentence)
}

/// One step on its way to an outcome.
struct Pass<'a> {
    spec: &'a StepSpec,
    host: &'a Host,
    signals: Signals,
    /// When the step's turn came: the wait is not part of the step.
    started_at: Option<Timestamp>,
}

impl Pass<'_> {
    /// The step's outcome; early ends come as errors so that `?` can leave with them.
    fn outcome(&mut self) -> Result<Outcome, Outcome> {
        let (spec, host) = (self.spec, self.host);
        if !spec.ignored.is_empty() {
            log::warn(format_args!("ignoring arguments before `--` that are no flags: {:?}", spec.ignored));
        }
        if !process::is_pid1() {
            // PID 1 is given orphans anyway. Without it they are reaped by whoever is PID 1 here.
            let _ = process::become_subreaper();
        }
        make_directories(&spec.report.metadata_dir)?;
        let mut lookup = match &spec.command {
            CommandSource::Image(image) => {
                let when = if spec.wait.files.is_empty() { When::Turn } else { When::Waiting };
                Some(Lookup::start(image, host, self.signals.found_mask(), when))
            }
            CommandSource::Given(_) | CommandSource::PlatformTable => None,
        };
        let wait = self.wait_for_turn(lookup.as_mut())?;
        // Kept until the step has started, unless that will take a while.
        let wait = Some(wait).filter(|_| lookup.as_ref().is_none_or(|lookup| lookup.result().is_some()));
        let found = self.wait_for_lookup(lookup)?;
        self.started_at = Some(clock::now());
        if spec.timeout == Timeout::Negative {
            return Err(failed("Error executing command: negative timeout specified".to_owned()));
        }
        let argv = self.argv(found)?;
        self.refuse_what_is_not_built(&argv)?;
        let program = Program::find(&argv, &host.env).map_err(|error| cannot_execute(&chain(&error)))?;
        let Some(program) = program else { return Ok(Outcome::NothingToRun) };
        let step = Running::start(&program, spec.timeout, &host.dirs.downward, &self.signals)
            .map_err(|error| cannot_execute(&start_error::explain(&program, &error)))?;
        // Not before: the kernel takes its time, milliseconds at worst, to give an inotify instance back.
        drop(wait);
        step.until_it_ends(&mut self.signals)
            .map_err(|error| failed(format!("the step was killed: cannot read signals: {}", Cause(&error))))
    }

    /// Waits for the files of earlier steps.
    fn wait_for_turn(&mut self, mut lookup: Option<&mut Lookup<'_>>) -> Result<Wait, Outcome> {
        let mut wait = Wait::new(&self.spec.wait);
        loop {
            match wait.look().map_err(|error| cannot_execute(&error.to_string()))? {
                Turn::Now => return Ok(wait),
                Turn::Never => return Err(Outcome::Skipped),
                Turn::Later => {
                    memory::release_program_pages();
                    self.sleep(Some(&wait), lookup.as_deref_mut())?;
                }
            }
        }
    }

    /// Waits for the lookup, which had all the time of the wait already.
    fn wait_for_lookup(&mut self, mut lookup: Option<Lookup<'_>>) -> Result<Option<Found>, Outcome> {
        if let Some(lookup) = &mut lookup {
            lookup.turn();
        }
        loop {
            match lookup.as_ref().map(Lookup::result) {
                None => return Ok(None),
                Some(Some(Ok(found))) => return Ok(Some(found.clone())),
                Some(Some(Err(failure))) => {
                    return Err(Outcome::not_run(NotRunKind::ImageLookup, failure.to_string()));
                }
                Some(None) => self.sleep(None, lookup.as_mut())?,
            }
        }
    }

    /// Sleeps until there is news of a signal, the awaited files or the lookup, and takes care of the first and the last.
    fn sleep(&mut self, wait: Option<&Wait>, mut lookup: Option<&mut Lookup<'_>>) -> Result<(), Outcome> {
        let unreadable = |error: io::Error| failed(format!("cannot read signals: {}", Cause(&error)));
        let now = Instant::now();
        let limits = [wait.map(Wait::pace), lookup.as_deref().and_then(|lookup| lookup.time_left(now))];
        let limit: Option<Duration> = limits.into_iter().flatten().min();
        let sources = [wait.and_then(Wait::events), lookup.as_deref().and_then(Lookup::events)];
        let sources: Vec<_> = sources.into_iter().flatten().chain([self.signals.as_fd()]).collect();
        poll::readable(&sources, limit).map_err(unreadable)?;
        while let Some(number) = self.signals.receive().map_err(unreadable)? {
            if signals::asks_to_end(number) {
                let meanwhile = match (wait, lookup.as_deref()) {
                    (None, Some(lookup)) => {
                        format!("while the command of image {} was being looked up", lookup.image())
                    }
                    (None, None) | (Some(_), _) => "before its turn came".to_owned(),
                };
                let sentence = format!(
                    "{} ended the step {meanwhile}: the pod is being deleted, or its node shut down",
                    signals::name(number)
                );
                return Err(Outcome::not_run(NotRunKind::Interrupted(number), sentence));
            }
        }
        while let Some((id, exit)) = process::reap() {
            if let Some(lookup) = lookup.as_deref_mut() {
                lookup.reaped(id, exit);
            }
        }
        if let Some(failure) = lookup.and_then(|lookup| lookup.advance(Instant::now()))
            && wait.is_some()
        {
            // The step's turn, at which it fails, may be an hour away.
            log::warn(failure);
        }
        Ok(())
    }

    /// Refuses what Tekton would do here and this version cannot: running the step without it would be wrong silently.
    fn refuse_what_is_not_built(&self, argv: &[OsString]) -> Result<(), Outcome> {
        let env = &self.host.env;
        if env.text("TEKTON_HERMETIC") == Some("1") && env.text("TEKTON_RESOURCE_NAME").is_none() {
            return Err(cannot_execute(
                "TEKTON_HERMETIC=1 asks for a step without network, which this version cannot give it yet: run it without \
                 the annotation experimental.tekton.dev/execution-mode, or with Tekton's own entrypoint",
            ));
        }
        let values = env.iter().map(|(_, value)| value);
        // Only the reference is shown: what stands around it may be a secret.
        match argv.iter().map(OsString::as_os_str).chain(values).find_map(reference_to_a_step) {
            Some(reference) => Err(cannot_execute(&format!(
                "{reference} is the result of a step, which this version cannot put there yet: use a file in a workspace \
                 instead, or Tekton's own entrypoint"
            ))),
            None => Ok(()),
        }
    }

    /// What to execute, with the step's own arguments.
    fn argv(&self, found: Option<Found>) -> Result<Vec<OsString>, Outcome> {
        let args = &self.spec.args;
        let command = match (&self.spec.command, found) {
            (CommandSource::Given(program), _) => vec![program.clone()],
            (CommandSource::PlatformTable, _) => {
                command::from_table(self.host.env.get(command::PLATFORM_TABLE), &command::machine())
                    .map_err(|error| failed(chain(&error)))?
            }
            (CommandSource::Image(_), Some(found)) => {
                command::of_image(&found.image, found.entrypoint, found.cmd, !args.is_empty())
                    .map_err(|error| Outcome::not_run(NotRunKind::ImageLookup, error.to_string()))?
            }
            (CommandSource::Image(image), None) => {
                return Err(failed(format!("the command of image {} was not looked up", image.image)));
            }
        };
        Ok(command.into_iter().chain(args.iter().cloned()).collect())
    }
}

/// What Tekton substitutes in the pod, if a text has it: `$(steps.NAME.results.NAME)`, `.inputs.`, `.outputs.`.
fn reference_to_a_step(text: &OsStr) -> Option<String> {
    const START: &str = "$(steps.";
    text.to_string_lossy().split(START).skip(1).find_map(|rest| {
        let (inside, _) = rest.split_once(')')?;
        let refers = [".results.", ".inputs.", ".outputs."].iter().any(|kind| inside.contains(kind));
        refers.then(|| format!("{START}{inside})"))
    })
}

fn cannot_execute(cause: &str) -> Outcome {
    failed(format!("Error executing command: {cause}"))
}

/// Makes the directories for what the step itself reports.
fn make_directories(metadata_dir: &Path) -> Result<(), Outcome> {
    for name in ["results", "artifacts"] {
        let directory = metadata_dir.join(name);
        fs::create_dir_all(&directory).map_err(|error| {
            cannot_execute(&format!(
                "mkdir {}: {} (-step_metadata_dir must be a directory that the step's user may write to)",
                directory.display(),
                Cause(&error)
            ))
        })?;
    }
    Ok(())
}

/// The exit door of a command line that cannot be followed.
fn usage_error(error: &UsageError) -> u8 {
    let left = report::leave_usage(&error.message, error.post_file.as_deref(), error.termination_path.as_deref());
    // Only now: a log that nobody reads must not keep the next step waiting.
    log::say(error);
    log::say(error.usage_hint());
    left.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_tekton_would_substitute_is_a_reference_to_a_step() {
        for (text, reference) in [
            ("$(steps.build.results.digest)", Some("$(steps.build.results.digest)")),
            ("sha:$(steps.build.results.list[*]),", Some("$(steps.build.results.list[*])")),
            ("$(steps.build) $(steps.build.outputs.image)", Some("$(steps.build.outputs.image)")),
            ("$(steps.build.inputs.source)", Some("$(steps.build.inputs.source)")),
            ("$(steps.build.results.digest", None),
            ("$(steps.build)", None),
            ("$(step.results.x)", None),
            ("$(context.taskRun.name)", None),
            ("", None),
        ] {
            assert_eq!(reference_to_a_step(OsStr::new(text)).as_deref(), reference, "{text}");
        }
    }
    use crate::host::Dirs;

    /// Set in the process that is to panic: the directory for its reports.
    const PANIC_IN: &str = "ENTRYPOINT_TEST_PANIC_IN";

    #[test]
    #[allow(clippy::disallowed_methods, reason = "the panicking process is a child of this test")]
    fn a_panic_is_reported_before_it_ends_the_process() {
        if let Some(dir) = std::env::var_os(PANIC_IN) {
            let dir = Path::new(&dir);
            let report = ["-post_file", "out", "-termination_path", "termination", "-step_metadata_dir", "."];
            let argv =
                report.map(|word| if word.starts_with('-') { word.into() } else { dir.join(word).into_os_string() });
            let argv: Vec<OsString> = ["entrypoint".into()].into_iter().chain(argv).collect();
            let Ok(Invocation::Step(spec)) = cli::parse(&argv) else { panic!("a step") };
            report_panics(&spec, &Host { env: crate::host::Env::default(), dirs: Dirs::default() });
            panic!("on purpose");
        }
        let dir = tempfile::tempdir().unwrap();
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "run::tests::a_panic_is_reported_before_it_ends_the_process", "--nocapture"])
            .env(PANIC_IN, dir.path())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(dir.path().join("out.err").exists());
        let message = fs::read_to_string(dir.path().join("termination")).unwrap();
        assert!(message.contains("defect") && message.contains("on purpose"), "{message}");
    }
}
