//! The pass of a step, from its wait to its outcome.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::time::Instant;

use super::attend::Beside;
use super::endpoints;
use super::image;
use crate::host::{Dirs, Env, Host};
use crate::log;
use crate::lookup::{Found, Lookup, When};
use crate::outcome::{NotRunKind, Outcome};
use crate::report::image_files::ImageFiles;
use crate::spec::{CommandSource, StepSpec, Timeout};
use crate::step::alive::Alive;
use crate::step::command::{self, Program};
use crate::step::hermetic;
use crate::step::runner::{RunSpec, Running};
use crate::step::start_error::StartError;
use crate::step::substitution::{self, SubstitutionError, script};
use crate::step::wait::{Turn, Wait};
use crate::step::when::{self, Evaluation, Verdict, WhenError, WhenExpression};
use crate::sys::cause::{Cause, chain};
use crate::sys::clock::{self, Timestamp};
use crate::sys::memory;
use crate::sys::process;
use crate::sys::signals::Signals;

/// One step on its way to an outcome.
pub(super) struct Pass<'a> {
    pub(super) spec: &'a StepSpec,
    pub(super) host: &'a Host,
    pub(super) signals: Signals,
    /// When the step's turn came: the wait is not part of the step.
    pub(super) started_at: Option<Timestamp>,
    /// Whether a person at a breakpoint is being waited for.
    pub(super) paused: bool,
    /// What tells later steps that this process lives.
    pub(super) alive: Option<Alive>,
    /// What will be left about the step's image: known when its lookup has ended, and no more of it is kept than that.
    pub(super) image: Option<ImageFiles>,
    /// What is left to be said about the step's output.
    pub(super) warnings: Vec<String>,
}

impl<'a> Pass<'a> {
    /// A pass that begins.
    pub(super) fn new(spec: &'a StepSpec, host: &'a Host, signals: Signals, alive: Option<Alive>) -> Self {
        Self { spec, host, signals, started_at: None, paused: false, alive, image: None, warnings: Vec::new() }
    }

    /// The step's outcome; early ends come as errors so that `?` can leave with them.
    pub(super) fn outcome(&mut self) -> Result<Outcome, Outcome> {
        let (spec, host) = (self.spec, self.host);
        let mut when = self.begin()?;
        let awaits = !spec.endpoints.endpoints.is_empty();
        let asked_later = endpoints::asked_behind_them(spec);
        let mut lookup = match &spec.command {
            CommandSource::Image(image) if asked_later.is_none() => {
                let when = if spec.wait.files.is_empty() && !awaits { When::Turn } else { When::Waiting };
                Some(Lookup::start(image, host, self.signals.found_mask(), when))
            }
            CommandSource::Image(_) | CommandSource::Given(_) | CommandSource::PlatformTable => None,
        };
        let wait = self.wait_for_turn(lookup.as_mut())?;
        // Kept until the step has started, unless that will take a while: an inotify instance is one of few.
        let soon = !awaits && !spec.debug_before_step && lookup.as_ref().is_none_or(|lookup| lookup.result().is_some());
        let wait = Some(wait).filter(|_| soon);
        self.wait_for_endpoints(&when, lookup.as_mut())?;
        if let Some(image) = asked_later {
            lookup = Some(Lookup::start(image, host, self.signals.found_mask(), When::Turn));
        }
        if spec.debug_before_step {
            self.ask_before_step(lookup.as_mut())?;
        }
        let found = self.wait_for_lookup(lookup)?;
        self.started_at = Some(clock::now());
        let deadline_from = Instant::now();
        if spec.timeout == Timeout::Negative {
            return Err(failed("Error executing command: negative timeout specified".to_owned()));
        }
        if let (CommandSource::Image(image), Some(found)) = (&spec.command, &found)
            && let Some(warning) = found.warning(image.pin)
        {
            self.wait_for_log(&mut Beside::Nobody)?;
            log::warn(warning);
        }
        let mut argv = self.argv(found)?;
        let mut env = host.env.clone();
        let mut errors = Vec::new();
        let substituted = substitute(&mut argv, &mut env, &mut when, &host.dirs, &mut errors);
        for error in errors {
            self.wait_for_log(&mut Beside::Nobody)?;
            log::error(error);
        }
        substituted?;
        if self.verdict(&when)? == Verdict::Skip {
            // As with the results of such a step.
            self.image = None;
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
        self.execute(&program, &how, wait)
    }

    /// What comes before anything that takes time. Returns the when expressions, with their references.
    fn begin(&mut self) -> Result<Vec<WhenExpression>, Outcome> {
        let spec = self.spec;
        if !spec.ignored.is_empty() {
            self.wait_for_log(&mut Beside::Nobody)?;
            log::warn(format_args!("ignoring arguments before `--` that are no flags: {:?}", spec.ignored));
        }
        if !process::is_pid1() {
            // PID 1 is given orphans anyway. Without it they are reaped by whoever is PID 1 here.
            let _ = process::become_subreaper();
        }
        let when = when::parse(&spec.when).map_err(|error| failed(error.to_string()))?;
        make_directories(&spec.report.metadata_dir)?;
        Ok(when)
    }

    /// Runs the step's program to its end, and lets go of the wait once it has started.
    fn execute(&mut self, program: &Program, how: &RunSpec<'_>, wait: Option<Wait>) -> Result<Outcome, Outcome> {
        let step = Running::start(program, how, &self.signals).map_err(|error| match error {
            StartError::TimeIsUp => Outcome::TimedOut,
            error @ (StartError::Output(_) | StartError::Program(_) | StartError::Isolated(_)) => {
                cannot_execute(&error.explain(program))
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
                    self.sleep(Some(&wait), &mut Beside::of(lookup.as_deref_mut()))?;
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
                Some(Some(end)) => {
                    self.image = image::files(self.spec, end);
                    return match end {
                        Ok(found) => Ok(Some(found.clone())),
                        Err(failure) => Err(Outcome::not_run(NotRunKind::ImageLookup, failure.to_string())),
                    };
                }
                Some(None) => self.sleep(None, &mut Beside::of(lookup.as_mut()))?,
            }
        }
    }

    /// Whether the step's when expressions want it to run.
    pub(super) fn verdict(&mut self, expressions: &[WhenExpression]) -> Result<Verdict, Outcome> {
        let limit = match self.spec.timeout {
            Timeout::After(limit) => limit.min(when::LIMIT),
            Timeout::Unlimited | Timeout::Negative => when::LIMIT,
        };
        let own = self.spec.timeout == Timeout::After(limit);
        let failure = |error: WhenError| {
            let own = own && matches!(error, WhenError::TimedOut(_));
            if own { Outcome::TimedOut } else { cannot_execute(&chain(&error)) }
        };
        let mask = self.signals.found_mask();
        let Some(mut evaluation) = Evaluation::start(expressions, limit, &mask).map_err(failure)? else {
            return Ok(when::decide(expressions, true));
        };
        loop {
            if let Some(evaluated) = evaluation.advance(Instant::now()) {
                return evaluated.map(|cel_holds| when::decide(expressions, cel_holds)).map_err(failure);
            }
            self.sleep(None, &mut Beside::Evaluation(&mut evaluation))?;
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

/// Puts what earlier steps left where the step refers to it. Of what cannot be replaced `errors` tells, and the step runs
/// all the same, as it does with Tekton, unless it could not.
fn substitute(
    argv: &mut Vec<OsString>,
    env: &mut Env,
    when: &mut [WhenExpression],
    dirs: &Dirs,
    errors: &mut Vec<String>,
) -> Result<(), Outcome> {
    let mut told = |error: SubstitutionError| match error.fatal() {
        Some(kind) => Err(Outcome::not_run(kind, error.sentence())),
        None => {
            errors.push(error.sentence());
            Ok(())
        }
    };
    substitution::results(env, when, argv, &dirs.steps).or_else(&mut told)?;
    let temporary_directory = script::temporary_directory(env);
    substitution::artifacts(argv, env, &dirs.steps, &dirs.scripts, &temporary_directory).or_else(told)
}

/// A failure of our own around the step.
pub(super) fn failed(sentence: String) -> Outcome {
    Outcome::not_run(NotRunKind::Other, sentence)
}
