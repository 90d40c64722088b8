//! Waiting with an eye on everything else: signals that end the step, children to reap, a lookup's news.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use super::pass::{Pass, failed};
use crate::endpoints::Endpoints;
use crate::log;
use crate::lookup::Lookup;
use crate::outcome::{ChildExit, NotRunKind, Outcome};
use crate::step::wait::Wait;
use crate::step::when::Evaluation;
use crate::sys::cause::Cause;
use crate::sys::poll;
use crate::sys::process::{self, ProcessId};
use crate::sys::signals;

/// The children of ours that work meanwhile.
pub(super) enum Beside<'p, 'l> {
    /// There is none.
    Nobody,
    /// One that asks a registry.
    Lookup(&'p mut Lookup<'l>),
    /// One that waits for endpoints, and maybe one that asks a registry.
    Endpoints(&'p mut Endpoints<'l>, Option<&'p mut Lookup<'l>>),
    /// One that evaluates CEL.
    Evaluation(&'p mut Evaluation),
}

impl<'p, 'l> Beside<'p, 'l> {
    /// The lookup, if there is one.
    pub(super) fn of(lookup: Option<&'p mut Lookup<'l>>) -> Self {
        lookup.map_or(Self::Nobody, Self::Lookup)
    }

    fn events(&self) -> [Option<BorrowedFd<'_>>; 2] {
        match self {
            Self::Nobody => [None, None],
            Self::Lookup(lookup) => [lookup.events(), None],
            Self::Endpoints(endpoints, lookup) => {
                [endpoints.events(), lookup.as_ref().and_then(|lookup| lookup.events())]
            }
            Self::Evaluation(evaluation) => [evaluation.events(), None],
        }
    }

    fn time_left(&self, now: Instant) -> Option<Duration> {
        match self {
            Self::Nobody => None,
            Self::Lookup(lookup) => lookup.time_left(now),
            Self::Endpoints(endpoints, lookup) => {
                let lookup = lookup.as_ref().and_then(|lookup| lookup.time_left(now));
                [endpoints.time_left(now), lookup].into_iter().flatten().min()
            }
            Self::Evaluation(evaluation) => evaluation.time_left(now),
        }
    }

    fn reaped(&mut self, id: ProcessId, exit: ChildExit) {
        match self {
            Self::Nobody => {}
            Self::Lookup(lookup) => lookup.reaped(id, exit),
            Self::Endpoints(endpoints, lookup) => {
                endpoints.reaped(id, exit);
                if let Some(lookup) = lookup {
                    lookup.reaped(id, exit);
                }
            }
            Self::Evaluation(evaluation) => evaluation.reaped(id, exit),
        }
    }
}

impl Pass<'_> {
    /// Sleeps until there is news of a signal, the awaited files or a child, and takes care of the first and, where it is a
    /// lookup's, of the last.
    pub(super) fn sleep(&mut self, wait: Option<&Wait>, beside: &mut Beside<'_, '_>) -> Result<(), Outcome> {
        self.sleep_or_write(wait, beside, &[])
    }

    /// Waits until our log takes a line. Writing it would wait too, and be deaf meanwhile to a signal that ends the step.
    pub(super) fn wait_for_log(&mut self, beside: &mut Beside<'_, '_>) -> Result<(), Outcome> {
        let log = io::stderr();
        while !poll::is_writable(log.as_fd()) {
            self.sleep_or_write(None, beside, &[log.as_fd()])?;
        }
        Ok(())
    }

    fn sleep_or_write(
        &mut self,
        wait: Option<&Wait>,
        beside: &mut Beside<'_, '_>,
        sinks: &[BorrowedFd<'_>],
    ) -> Result<(), Outcome> {
        let unreadable = |error: io::Error| failed(format!("cannot read signals: {}", Cause(&error)));
        let limits = [wait.map(Wait::pace), beside.time_left(Instant::now())];
        let limit: Option<Duration> = limits.into_iter().flatten().min();
        let files = wait.and_then(Wait::events);
        let sources: Vec<_> =
            beside.events().into_iter().chain([files, Some(self.signals.as_fd())]).flatten().collect();
        poll::ready(&sources, sinks, limit).map_err(unreadable)?;
        while let Some(number) = self.signals.receive().map_err(unreadable)? {
            if signals::asks_to_end(number) {
                let sentence = format!(
                    "{} ended the step {}: the pod is being deleted, or its node shut down",
                    signals::name(number),
                    self.stage(wait, beside)
                );
                return Err(Outcome::not_run(NotRunKind::Interrupted(number), sentence));
            }
        }
        while let Some((id, exit)) = process::reap() {
            beside.reaped(id, exit);
        }
        // The moment at which the step fails of it may be an hour away.
        let early = wait.is_some() || matches!(beside, Beside::Endpoints(..));
        if let Beside::Lookup(lookup) | Beside::Endpoints(_, Some(lookup)) = beside
            && let Some(failure) = lookup.advance(Instant::now())
            && early
        {
            log::warn(failure);
        }
        Ok(())
    }

    /// Where on its pass the step is.
    fn stage(&self, wait: Option<&Wait>, beside: &Beside<'_, '_>) -> String {
        match (wait, beside) {
            _ if self.paused => "at its breakpoint".to_owned(),
            (None, Beside::Lookup(lookup)) => {
                format!("while the command of image {} was being looked up", lookup.image())
            }
            (None, Beside::Endpoints(endpoints, _)) => format!("while it waited for {}", endpoints.names()),
            (None, Beside::Evaluation(_)) => "while its when expressions were being evaluated".to_owned(),
            (None, Beside::Nobody) if self.started_at.is_some() => "before its program was started".to_owned(),
            (None, Beside::Nobody) | (Some(_), _) => "before its turn came".to_owned(),
        }
    }
}
