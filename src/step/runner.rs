//! Running the step as PID 1 should: the loop around [`Supervision`], which decides.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::outcome::{ChildExit, NotRunKind, Outcome};
use crate::spec::{OutputSpec, Timeout};
use crate::step::command::Program;
use crate::step::output::Output;
use crate::step::start_error::StartError;
use crate::step::supervisor::{Action, Event, Supervision};
use crate::sys::memory;
use crate::sys::namespaces;
use crate::sys::process::{self, ProcessId};
use crate::sys::signals::Signals;

/// How often the cancel file is looked at, as in Tekton.
const CANCEL_POLL: Duration = Duration::from_secs(1);

/// How long a step must live to be a long one.
const SETTLING: Duration = Duration::from_millis(100);

/// How a step is run.
#[derive(Debug, Clone, Copy)]
pub struct RunSpec<'a> {
    /// How long the step may run.
    pub timeout: Timeout,
    /// When that time began.
    pub deadline_from: Instant,
    /// How long a step that is stopped may take from SIGTERM to SIGKILL; zero is SIGKILL at once.
    pub stop_grace: Duration,
    /// Files that get a copy of what the step prints.
    pub output: &'a OutputSpec,
    /// Whether the step must have no network.
    pub hermetic: bool,
    /// The downward API volume: its file `cancel`, once it has content, stops the step. Where there is no such volume,
    /// nothing is looked for.
    pub downward: &'a Path,
}

/// A step that has been started.
#[derive(Debug)]
pub struct Running {
    step: ProcessId,
    supervision: Supervision,
    cancel: Option<Cancel>,
    output: Output,
}

/// A step that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// How.
    pub outcome: Outcome,
    /// What the log is to say, with the level `WARN`, once the end has been reported: a log that nobody reads must not keep
    /// the next step waiting.
    pub warnings: Vec<String>,
}

impl Running {
    /// Starts the program.
    ///
    /// # Errors
    /// Why it cannot be started. A step whose time is up is not, as with Tekton.
    pub fn start(program: &Program, how: &RunSpec<'_>, signals: &Signals) -> Result<Self, StartError> {
        let supervision = Supervision::new(how.timeout, how.deadline_from, how.stop_grace);
        let (output, ends) = Output::open(how.output)?;
        if supervision.is_late(Instant::now()) {
            return Err(StartError::TimeIsUp);
        }
        let (Program { path, argv, environment }, mask) = (program, signals.found_mask());
        let step = if how.hermetic {
            namespaces::spawn(path, argv, environment, &mask, ends.output()).map_err(StartError::Isolated)?
        } else {
            process::spawn(path, argv, environment, &mask, ends.output()).map_err(StartError::Program)?
        };
        Ok(Self { step, supervision, cancel: Cancel::below(how.downward), output })
    }

    /// Stays with the step until it ends, and passes on what it has printed.
    ///
    /// # Errors
    /// When our signals cannot be read any more; the step has been killed then.
    pub fn until_it_ends(mut self, signals: &mut Signals) -> io::Result<Ended> {
        let outcome = self.supervise(signals).inspect_err(|_| process::kill_group(self.step))?;
        let finished = self.output.finish(signals);
        let mut warnings = finished.warnings;
        let outcome = match (outcome, finished.fault) {
            (Outcome::Ran(ChildExit::Code(0)), Some(fault)) => {
                Outcome::not_run(NotRunKind::Other, format!("Error executing command: {fault}"))
            }
            (outcome, fault) => {
                warnings.extend(fault);
                outcome
            }
        };
        Ok(Ended { outcome, warnings })
    }

    fn supervise(&mut self, signals: &mut Signals) -> io::Result<Outcome> {
        // Most of the program's pages are not needed beside a step. One that ends at once is not worth the trouble.
        let mut settling = Some(Instant::now() + SETTLING);
        loop {
            self.output.advance();
            if let Some(outcome) = self.catch_up(signals)? {
                return Ok(outcome);
            }
            let now = Instant::now();
            if settling.is_some_and(|settled| settled <= now) {
                settling = None;
                memory::release_program_pages();
            }
            let limits = [self.longest_sleep(now), settling.map(|settled| settled.saturating_duration_since(now))];
            self.output.sleep(signals, limits.into_iter().flatten().min())?;
        }
    }

    /// Handles all that has happened by now; the outcome, if the step has ended.
    fn catch_up(&mut self, signals: &mut Signals) -> io::Result<Option<Outcome>> {
        // Signals first: one that came before the step ended still belongs to its group, whose number is not free for
        // others until the step is reaped.
        while let Some(number) = signals.receive()? {
            self.handle(Event::Signal(number));
        }
        let now = Instant::now();
        self.handle(Event::Time(now));
        if self.supervision.may_be_cancelled() && self.cancel.as_mut().is_some_and(|cancel| cancel.is_seen(now)) {
            self.handle(Event::Cancelled(now));
        }
        let mut outcome = None;
        while let Some((ended, exit)) = process::reap() {
            if ended == self.step {
                outcome = self.handle(Event::StepEnded(exit));
            }
        }
        Ok(outcome)
    }

    fn handle(&mut self, event: Event) -> Option<Outcome> {
        match self.supervision.on(event) {
            Ok(Action::Nothing) => None,
            Ok(Action::Forward(number)) => {
                process::signal_group(self.step, number);
                None
            }
            Ok(Action::Terminate) => {
                process::terminate_group(self.step);
                None
            }
            Ok(Action::Kill) => {
                process::kill_group(self.step);
                None
            }
            Err(outcome) => Some(outcome),
        }
    }

    fn longest_sleep(&self, now: Instant) -> Option<Duration> {
        let cancel = self.cancel.as_ref().filter(|_| self.supervision.may_be_cancelled());
        [self.supervision.time_left(now), cancel.map(|cancel| cancel.time_left(now))].into_iter().flatten().min()
    }
}

/// The file that stops a step, and when it is looked at: once in a while, however often the step's output wakes us.
#[derive(Debug)]
struct Cancel {
    file: PathBuf,
    next_look: Option<Instant>,
}

impl Cancel {
    /// None where there is no such volume.
    fn below(downward: &Path) -> Option<Self> {
        downward.is_dir().then(|| Self { file: downward.join("cancel"), next_look: None })
    }

    /// Looks, if it is time to. Whether the file has content.
    fn is_seen(&mut self, now: Instant) -> bool {
        if self.next_look.is_some_and(|next| now < next) {
            return false;
        }
        self.next_look = now.checked_add(CANCEL_POLL);
        self.file.metadata().is_ok_and(|found| found.len() > 0)
    }

    fn time_left(&self, now: Instant) -> Duration {
        self.next_look.map_or(CANCEL_POLL, |next| next.saturating_duration_since(now))
    }
}
