//! The step's supervision as a pure state machine: events in, actions out, no process and no clock of its own.

use std::time::{Duration, Instant};

use crate::outcome::{ChildExit, Outcome};
use crate::spec::Timeout;

/// Something that happened beside a running step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A signal was sent to us.
    Signal(i32),
    /// The step's own process ended.
    StepEnded(ChildExit),
    /// The run was cancelled.
    Cancelled,
    /// Time has passed.
    Time(Instant),
}

/// What is to be done about an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Nothing.
    Nothing,
    /// Send this signal to the step's process group.
    Forward(i32),
    /// Kill the step's process group.
    Kill,
}

/// Why a step was killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Killed {
    TimedOut,
    Cancelled,
}

/// A running step.
#[derive(Debug)]
pub struct Supervision {
    deadline: Option<Instant>,
    killed: Option<Killed>,
}

impl Supervision {
    /// Supervision of a step that started just now.
    #[must_use]
    pub fn new(timeout: Timeout, now: Instant) -> Self {
        let deadline = match timeout {
            // A limit beyond the clock's end is no limit.
            Timeout::After(limit) => now.checked_add(limit),
            Timeout::Unlimited | Timeout::Negative => None,
        };
        Self { deadline, killed: None }
    }

    /// Decides about an event; `Err` is the end of the step.
    ///
    /// # Errors
    /// The outcome, once the step's process has ended.
    pub fn on(&mut self, event: Event) -> Result<Action, Outcome> {
        match event {
            // Children that end are our own business.
            Event::Signal(libc::SIGCHLD) => Ok(Action::Nothing),
            Event::Signal(number) => Ok(Action::Forward(number)),
            Event::Cancelled => Ok(self.kill(Killed::Cancelled)),
            Event::Time(now) if self.deadline.is_some_and(|deadline| deadline <= now) => {
                Ok(self.kill(Killed::TimedOut))
            }
            Event::Time(_) => Ok(Action::Nothing),
            // A step that came to a good end in the last moment did so, as in Tekton.
            Event::StepEnded(ChildExit::Code(0)) => Err(Outcome::Ran(ChildExit::Code(0))),
            Event::StepEnded(exit) => Err(match self.killed {
                Some(Killed::TimedOut) => Outcome::TimedOut,
                Some(Killed::Cancelled) => Outcome::Cancelled,
                None => Outcome::Ran(exit),
            }),
        }
    }

    /// How long until time itself is an event.
    #[must_use]
    pub fn time_left(&self, now: Instant) -> Option<Duration> {
        match self.killed {
            None => self.deadline.map(|deadline| deadline.saturating_duration_since(now)),
            Some(_) => None,
        }
    }

    /// Whether a cancellation would still change anything.
    #[must_use]
    pub fn may_be_cancelled(&self) -> bool {
        self.killed.is_none()
    }

    /// Kills once: the first reason counts.
    fn kill(&mut self, why: Killed) -> Action {
        if self.killed.is_some() {
            return Action::Nothing;
        }
        self.killed = Some(why);
        Action::Kill
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const TERM: i32 = libc::SIGTERM;

    /// Plays events and returns the actions, and the outcome if the step ended.
    fn play(timeout: Timeout, events: impl Fn(Instant) -> Vec<Event>) -> (Vec<Action>, Option<Outcome>) {
        let start = Instant::now();
        let mut step = Supervision::new(timeout, start);
        let mut actions = Vec::new();
        for event in events(start) {
            match step.on(event) {
                Ok(action) => actions.push(action),
                Err(outcome) => return (actions, Some(outcome)),
            }
        }
        (actions, None)
    }

    #[test]
    fn a_step_that_ends_by_itself_is_reported_as_it_ended() {
        for exit in [ChildExit::Code(0), ChildExit::Code(7), ChildExit::Signal(TERM)] {
            let (_, outcome) = play(Timeout::Unlimited, |_| vec![Event::StepEnded(exit)]);
            assert_eq!(outcome, Some(Outcome::Ran(exit)));
        }
    }

    #[test]
    fn every_signal_but_sigchld_is_forwarded() {
        for number in 1..=64 {
            let (actions, _) = play(Timeout::Unlimited, |_| vec![Event::Signal(number)]);
            let expected = if number == libc::SIGCHLD { Action::Nothing } else { Action::Forward(number) };
            assert_eq!(actions, [expected], "{number}");
        }
    }

    #[test]
    fn a_step_whose_time_is_up_is_killed_once() {
        let (actions, outcome) = play(Timeout::After(SECOND), |start| {
            vec![
                Event::Time(start + SECOND / 2),
                Event::Time(start + SECOND),
                Event::Time(start + 2 * SECOND),
                Event::Signal(TERM),
                Event::StepEnded(ChildExit::Signal(libc::SIGKILL)),
            ]
        });
        assert_eq!(actions, [Action::Nothing, Action::Kill, Action::Nothing, Action::Forward(TERM)]);
        assert_eq!(outcome, Some(Outcome::TimedOut));
    }

    #[test]
    fn a_success_in_the_moment_of_the_deadline_is_a_success() {
        let (_, outcome) = play(Timeout::After(SECOND), |start| {
            vec![Event::Time(start + SECOND), Event::StepEnded(ChildExit::Code(0))]
        });
        assert_eq!(outcome, Some(Outcome::Ran(ChildExit::Code(0))));
    }

    #[test]
    fn the_first_reason_to_kill_is_the_one_reported() {
        let (actions, outcome) = play(Timeout::After(SECOND), |start| {
            vec![Event::Cancelled, Event::Time(start + SECOND), Event::StepEnded(ChildExit::Code(137))]
        });
        assert_eq!(actions, [Action::Kill, Action::Nothing]);
        assert_eq!(outcome, Some(Outcome::Cancelled));
    }

    #[test]
    fn a_limit_beyond_the_end_of_the_clock_is_no_limit() {
        let step = Supervision::new(Timeout::After(Duration::MAX), Instant::now());
        assert_eq!(step.time_left(Instant::now()), None);
    }
}
