//! The pass of a step, from its wait to the exit door.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::cli::{self, Invocation, UsageError};
use crate::commands::{self, resolve, run_image, version};
use crate::host::{Dirs, Env, Host};
use crate::log;
use crate::lookup::{Found, Lookup, When};
use crate::outcome::{NotRunKind, Outcome};
use crate::quote::OneLine;
use crate::report;
use crate::setup;
use crate::setup::credentials;
use crate::spec::{CommandSource, SetupCommand, StepSpec, Timeout, WaitSpec};
use crate::step::alive::{self, Alive};
use crate::step::breakpoint::{self, Breakpoint};
use crate::step::command::{self, Program};
use crate::step::hermetic;
use crate::step::runner::{RunSpec, Running};
use crate::step::start_error::StartError;
use crate::step::substitution::{self, SubstitutionError, WhenTexts, script};
use crate::step::wait::{Turn, Wait};
use crate::step::when::{self, Evaluation, Verdict, WhenError, WhenExpression};
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
        Ok(Invocation::RunImage { lookup, args }) => {
            with_signals(signals, |signals| run_image::run(&lookup, &args, host, signals))
        }
        Ok(Invocation::Resolve { lookup, args, format }) => {
            with_signals(signals, |signals| resolve::run(&lookup, &args, format, host, signals))
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
    if let Err(error) = set_up_credentials(spec, host) {
        return usage_error(&error);
    }
    let mut pass = match signals {
        Ok(signals) => Pass { spec, host, signals, started_at: None, paused: false, alive: None, warnings: Vec::new() },
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
    // Only now, and only to somebody who reads: what is missing there may be missing because nobody does.
    for warning in pass.warnings.iter().filter(|_| poll::is_writable(io::stderr().as_fd())) {
        log::warn(warning);
    }
    let (outcome, code) = if outcome.breaks(spec.end) {
        match pass.ask_about_failure() {
            Ok(code) => return code,
            // Nobody will answer any more, and the next step must not wait for it.
            Err(outcome) => {
                let code = report::leave_breakpoint(&outcome, spec.report.post_file.as_deref()).finish();
                (outcome, code)
            }
        }
    } else {
        (outcome, code)
    };
    // Not before the post file is there, and not left to a death by signal.
    drop(pass.alive.take());
    if let Outcome::NotRun(why) = &outcome
        && let NotRunKind::Interrupted(number) = why.kind
    {
        pass.signals.die_of(number);
    }
    code
}

/// Puts the credentials of the flags where git and docker look for them, before anything else of the step. A secret that
/// cannot be read is a mistake of the command line, as in Tekton; whatever fails behind that is only said.
fn set_up_credentials(spec: &StepSpec, host: &Host) -> Result<(), UsageError> {
    let read = credentials::read(&spec.credentials, &host.dirs).map_err(|error| UsageError {
        message: OneLine(chain(&error)).to_string(),
        post_file: spec.report.post_file.clone(),
        termination_path: Some(spec.report.termination_path.clone()),
    })?;
    read.write(&host.dirs);
    credentials::copy_to_home(&host.dirs, host.env.get("HOME"));
    Ok(())
}

/// A defect of ours must not leave the next step waiting: before a panic ends the process, the step is reported.
fn report_panics(spec: &StepSpec, host: &Host) {
    let (spec, dirs) = (spec.clone(), host.dirs.clone());
    std::panic::set_hook(Box::new(move |panic| {
        let outcome = failed(format!("entrypoint has a defect, please report it: {panic}"));
        let code = report::report(&outcome, &spec, &dirs, None);
        if let Some(post_file) = &spec.report.post_file {
            alive::withdraw(post_file);
        }
        process::exit_now(code);
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
    /// Whether a person at a breakpoint is being waited for.
    paused: bool,
    /// What tells later steps that this process lives.
    alive: Option<Alive>,
    /// What is left to be said about the step's output.
    warnings: Vec<String>,
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
        let mut when = when::parse(&spec.when).map_err(|error| failed(error.to_string()))?;
        make_directories(&spec.report.metadata_dir)?;
        // Before anything that takes time. Where there can be no lock, later steps wait as they do behind Tekton's own.
        self.alive = spec.report.post_file.as_deref().and_then(|post_file| Alive::announce(post_file).ok());
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
        if spec.debug_before_step {
            self.ask_before_step(lookup.as_mut())?;
        }
        let found = self.wait_for_lookup(lookup)?;
        self.started_at = Some(clock::now());
        let deadline_from = Instant::now();
        if spec.timeout == Timeout::Negative {
            return Err(failed("Error executing command: negative timeout specified".to_owned()));
        }
        let mut argv = self.argv(found)?;
        let mut env = host.env.clone();
        substitute(&mut argv, &mut env, &mut when, &host.dirs)?;
        if self.verdict(&when)? == Verdict::Skip {
            log::info("Step was skipped due to when expressions were evaluated to false.");
            return Ok(Outcome::NotWanted);
        }
        let program = Program::find(&argv, &env).map_err(|error| cannot_execute(&chain(&error)))?;
        let Some(program) = program else { return Ok(Outcome::NothingToRun) };
        let how = RunSpec {
            timeout: spec.timeout,
            deadline_from,
            stop_grace: spec.stop_grace,
            output: &spec.output,
            hermetic: hermetic::is_asked_for(&env),
            downward: &host.dirs.downward,
        };
        let step = Running::start(&program, &how, &self.signals).map_err(|error| match error {
            StartError::TimeIsUp => Outcome::TimedOut,
            error @ (StartError::Output(_) | StartError::Program(_) | StartError::Isolated(_)) => {
                cannot_execute(&error.explain(&program))
            }
        })?;
        // Not before: the kernel takes its time, milliseconds at worst, to give an inotify instance back.
        drop(wait);
        let ended = step
            .until_it_ends(&mut self.signals)
            .map_err(|error| failed(format!("the step was killed: cannot read signals: {}", Cause(&error))))?;
        self.warnings = ended.warnings;
        Ok(ended.outcome)
    }

    /// Waits for the files of earlier steps.
    fn wait_for_turn(&mut self, mut lookup: Option<&mut Lookup<'_>>) -> Result<Wait, Outcome> {
        let mut wait = Wait::new(&self.spec.wait, &self.host.dirs.steps);
        loop {
            match wait.look().map_err(|error| cannot_execute(&error.to_string()))? {
                Turn::Now => return Ok(wait),
                Turn::Never => return Err(Outcome::Skipped),
                Turn::Dead(dead) => return Err(Outcome::not_run(NotRunKind::PredecessorDied, dead.sentence())),
                Turn::Later => {
                    memory::release_program_pages();
                    self.sleep(Some(&wait), lookup.as_deref_mut())?;
                }
            }
        }
    }

    /// Asks a person whether the step shall run.
    fn ask_before_step(&mut self, mut lookup: Option<&mut Lookup<'_>>) -> Result<(), Outcome> {
        let post_file = self.spec.report.post_file.as_deref();
        log::say(Breakpoint::BeforeStep.question());
        self.paused = true;
        let mut wait = Wait::new(&Breakpoint::BeforeStep.wait(post_file), &self.host.dirs.steps);
        let answer = loop {
            match wait.look() {
                Ok(Turn::Later) => self.sleep(Some(&wait), lookup.as_deref_mut())?,
                answer => break answer,
            }
        };
        self.paused = false;
        if matches!(answer, Ok(Turn::Now)) {
            return Ok(());
        }
        log::say(format_args!(
            "error occurred while waiting for {} : before step breakpoint error file, user decided to skip the current \
             step execution",
            Breakpoint::BeforeStep.answer(post_file).display()
        ));
        self.started_at = Some(clock::now());
        Err(Outcome::Refused)
    }

    /// Asks a person how a failed step ends, which was reported without its post file: that is the person's too.
    fn ask_about_failure(&mut self) -> Result<u8, Outcome> {
        let post_file = self.spec.report.post_file.as_deref();
        log::info("Skipping writing to PostFile");
        log::say(Breakpoint::OnFailure.question());
        self.paused = true;
        let wait = Breakpoint::OnFailure.wait(post_file);
        let answer = Breakpoint::OnFailure.answer(post_file);
        let failure = self.wait_for_answer(wait, &answer)?;
        if let Some(failure) = failure {
            log::say(format_args!("error occurred while waiting for {} : {failure}", answer.display()));
        }
        let (code, lines) = breakpoint::exit_code(&answer);
        lines.iter().for_each(log::say);
        Ok(code)
    }

    /// Waits until the answer at a failure is there, and for a moment until it says something; why it will not come.
    fn wait_for_answer(&mut self, spec: WaitSpec, answer: &Path) -> Result<Option<String>, Outcome> {
        let mut wait = Wait::new(&spec, &self.host.dirs.steps);
        loop {
            match wait.look() {
                Ok(Turn::Later) => self.sleep(Some(&wait), None)?,
                Ok(Turn::Now) => break,
                Ok(Turn::Never | Turn::Dead(_)) => {
                    return Ok(Some("error file present, bail and skip the step".to_owned()));
                }
                Err(error) => return Ok(Some(error.to_string())),
            }
        }
        let mut wait = Wait::new(&WaitSpec { content: true, ..spec }, &self.host.dirs.steps);
        let patience = Instant::now() + breakpoint::EMPTY_ANSWER;
        while breakpoint::is_empty(answer) && Instant::now() < patience && matches!(wait.look(), Ok(Turn::Later)) {
            self.sleep(Some(&wait), None)?;
        }
        Ok(None)
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

    /// Whether the step's when expressions want it to run.
    fn verdict(&mut self, expressions: &[WhenExpression]) -> Result<Verdict, Outcome> {
        let limit = match self.spec.timeout {
            Timeout::After(limit) => limit.min(when::LIMIT),
            Timeout::Unlimited | Timeout::Negative => when::LIMIT,
        };
        let own_limit = Timeout::After(limit) == self.spec.timeout;
        let failure = |error: WhenError| {
            let timed_out = own_limit && matches!(error, WhenError::TimedOut(_));
            if timed_out { Outcome::TimedOut } else { cannot_execute(&error.to_string()) }
        };
        let mask = self.signals.found_mask();
        let Some(mut evaluation) = Evaluation::start(expressions, limit, &mask).map_err(failure)? else {
            return Ok(when::decide(expressions, true));
        };
        let unreadable = |error: io::Error| failed(format!("cannot read signals: {}", Cause(&error)));
        loop {
            let now = Instant::now();
            if let Some(evaluated) = evaluation.advance(now) {
                return evaluated.map(|cel_holds| when::decide(expressions, cel_holds)).map_err(failure);
            }
            let sources: Vec<_> = evaluation.events().into_iter().chain([self.signals.as_fd()]).collect();
            poll::readable(&sources, evaluation.time_left(now)).map_err(unreadable)?;
            while let Some(number) = self.signals.receive().map_err(unreadable)? {
                if signals::asks_to_end(number) {
                    let sentence = format!(
                        "{} ended the step while its when expressions were being evaluated: the pod is being deleted, or \
                         its node shut down",
                        signals::name(number)
                    );
                    return Err(Outcome::not_run(NotRunKind::Interrupted(number), sentence));
                }
            }
            while let Some((id, exit)) = process::reap() {
                evaluation.reaped(id, exit);
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
                    _ if self.paused => "at its breakpoint".to_owned(),
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

/// Puts what earlier steps left where the step refers to it. Of what cannot be replaced the log tells, and the step runs
/// all the same, as it does with Tekton, unless it could not.
fn substitute(
    argv: &mut Vec<OsString>,
    env: &mut Env,
    when: &mut [WhenExpression],
    dirs: &Dirs,
) -> Result<(), Outcome> {
    let told = |error: SubstitutionError| match error.fatal() {
        Some(kind) => Err(Outcome::not_run(kind, error.sentence())),
        None => {
            log::error(error.sentence());
            Ok(())
        }
    };
    let texts = when.iter_mut().map(|WhenExpression { input, values, cel, .. }| WhenTexts { values, input, cel });
    substitution::results(env, texts, argv, &dirs.steps).or_else(told)?;
    let temporary_directory = script::temporary_directory(env);
    substitution::artifacts(argv, env, &dirs.steps, &dirs.scripts, &temporary_directory).or_else(told)
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
            report_panics(&spec, &Host { env: Env::default(), dirs: Dirs::default() });
            let _alive = Alive::announce(&dir.join("out")).unwrap();
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
        assert!(!dir.path().join("out.lock").exists(), "what it says is said");
        let message = fs::read_to_string(dir.path().join("termination")).unwrap();
        assert!(message.contains("defect") && message.contains("on purpose"), "{message}");
    }
}
