//! Running the step as PID 1 should: the loop around [`Supervision`], which decides.

use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::outcome::Outcome;
use crate::spec::Timeout;
use crate::step::command::Program;
use crate::step::supervisor::{Action, Event, Supervision};
use crate::sys::memory;
use crate::sys::poll;
use crate::sys::process::{self, ProcessId};
use crate::sys::signals::Signals;

/// How often the cancel file is looked at, as in Tekton.
const CANCEL_POLL: Duration = Duration::from_secs(1);

/// How long a step must live to be a long one.
const SETTLING: Duration = Duration::from_millis(100);

/// A step that has been started.
#[derive(Debug)]
pub struct Running {
    step: ProcessId,
    supervision: Supervision,
    cancel: Option<PathBuf>,
}

impl Running {
    /// Starts the program.
    ///
    /// The file `cancel` in the downward API volume, once it has content, kills the step; where there is no such
    /// volume, nothing is looked for.
    ///
    /// # Errors
    /// Why the program cannot be started.
    pub fn start(program: &Program, timeout: Timeout, downward: &Path, signals: &Signals) -> io::Result<Self> {
        let step = process::spawn(&program.path, &program.argv, &program.environment, &signals.found_mask())?;
        let cancel = downward.is_dir().then(|| downward.join("cancel"));
        Ok(Self { step, supervision: Supervision::new(timeout, Instant::now()), cancel })
    }

    /// Stays with the step until it ends.
    ///
    /// # Errors
    /// When our signals cannot be read any more; the step has been killed then.
    pub fn until_it_ends(mut self, signals: &mut Signals) -> io::Result<Outcome> {
        self.supervise(signals).inspect_err(|_| process::kill_group(self.step))
    }

    fn supervise(&mut self, signals: &mut Signals) -> io::Result<Outcome> {
        // Most of the program's pages are not needed beside a step. One that ends at once is not worth the trouble.
        let mut settling = Some(Instant::now() + SETTLING);
        loop {
            if let Some(outcome) = self.catch_up(signals)? {
                return Ok(outcome);
            }
            let now = Instant::now();
            if settling.is_some_and(|settled| settled <= now) {
                settling = None;
                memory::release_program_pages();
            }
            let limits = [self.longest_sleep(now), settling.map(|settled| settled.saturating_duration_since(now))];
            poll::readable(&[signals.as_fd()], limits.into_iter().flatten().min())?;
        }
    }

    /// Handles all that has happened by now; the outcome, if the step has ended.
    fn catch_up(&mut self, signals: &mut Signals) -> io::Result<Option<Outcome>> {
        // Signals first: one that came before the step ended still belongs to its group, whose number is not free for
        // others until the step is reaped.
        while let Some(number) = signals.receive()? {
            self.handle(Event::Signal(number));
        }
        self.handle(Event::Time(Instant::now()));
        if self.is_cancelled() {
            self.handle(Event::Cancelled);
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
            Ok(Action::Kill) => {
                process::kill_group(self.step);
                None
            }
            Err(outcome) => Some(outcome),
        }
    }

    fn is_cancelled(&self) -> bool {
        let has_content = |file: &PathBuf| file.metadata().is_ok_and(|found| found.len() > 0);
        self.supervision.may_be_cancelled() && self.cancel.as_ref().is_some_and(has_content)
    }

    fn longest_sleep(&self, now: Instant) -> Option<Duration> {
        let cancel = self.cancel.as_ref().filter(|_| self.supervision.may_be_cancelled()).map(|_| CANCEL_POLL);
        match (self.supervision.time_left(now), cancel) {
            (Some(left), Some(poll)) => Some(left.min(poll)),
            (left, poll) => left.or(poll),
        }
    }
}
