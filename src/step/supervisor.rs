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
    /// The run was cancelled, and this was seen now.
    Cancelled(Instant),
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
    /// Ask the step's process group to end.
    Terminate,
    /// Kill the step's process group.
    Kill,
}

/// Why a step is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    TimedOut,
    Cancelled,
}

/// A step that is being stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stopping {
    why: Reason,
    /// When it is killed; `None` once it has been.
    kill_at: Option<Instant>,
}

/// A running step.
#[derive(Debug)]
pub struct Supervision {
    deadline: Option<Instant>,
    grace: Duration,
    stopping: Option<Stopping>,
}

impl Supervision {
    /// Supervision of a step whose time began at `from`, and which, when it is to be stopped, has `grace` to end by itself:
    /// none at all if that is zero.
    #[must_use]
    pub fn new(timeout: Timeout, from: Instant, grace: Duration) -> Self {
        let deadline = match timeout {
            // A limit beyond the clock's end is no limit.
            Timeout::After(limit) => from.checked_add(limit),
            Timeout::Unlimited | Timeout::Negative => None,
        };
        Self { deadline, grace, stopping: None }
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
            Event::Cancelled(now) => Ok(self.stop(Reason::Cancelled, now)),
            Event::Time(now) => Ok(self.at(now)),
            // A step that came to a good end in the last moment did so, as in Tekton.
            Event::StepEnded(ChildExit::Code(0)) => Err(Outcome::Ran(ChildExit::Code(0))),
            Event::StepEnded(exit) => Err(match self.stopping {
                Some(Stopping { why: Reason::TimedOut, .. }) => Outcome::TimedOut,
                Some(Stopping { why: Reason::Cancelled, .. }) => Outcome::Cancelled,
                None => Outcome::Ran(exit),
            }),
        }
    }

    /// Whether the step's time is up.
    #[must_use]
    pub fn is_late(&self, now: Instant) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now)
    }

    /// How long until time itself is an event.
    #[must_use]
    pub fn time_left(&self, now: Instant) -> Option<Duration> {
        let next = match self.stopping {
            None => self.deadline,
            Some(stopping) => stopping.kill_at,
        };
        next.map(|next| next.saturating_duration_since(now))
    }

    /// Whether a cancellation would still change anything.
    #[must_use]
    pub fn may_be_cancelled(&self) -> bool {
        self.stopping.is_none()
    }

    /// What is due.
    fn at(&mut self, now: Instant) -> Action {
        match self.stopping {
            None if self.is_late(now) => self.stop(Reason::TimedOut, now),
            Some(stopping) if stopping.kill_at.is_some_and(|kill_at| kill_at <= now) => {
                self.stopping = Some(Stopping { kill_at: None, ..stopping });
                Action::Kill
            }
            None | Some(_) => Action::Nothing,
        }
    }

    /// Stops once: the first reason counts, and its clock.
    fn stop(&mut self, why: Reason, now: Instant) -> Action {
        if self.stopping.is_some() {
            return Action::Nothing;
        }
        if self.grace.is_zero() {
            self.stopping = Some(Stopping { why, kill_at: None });
            return Action::Kill;
        }
        // A grace beyond the clock's end has no end.
        self.stopping = Some(Stopping { why, kill_at: now.checked_add(self.grace) });
        Action::Terminate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const TERM: i32 = libc::SIGTERM;
    const KILLED: Event = Event::StepEnded(ChildExit::Signal(libc::SIGKILL));

    /// Plays events and returns the actions, and the outcome if the step ended.
    fn play(timeout: Timeout, events: impl Fn(Instant) -> Vec<Event>) -> (Vec<Action>, Option<Outcome>) {
        play_with(timeout, Duration::ZERO, events)
    }

    /// The same with a grace.
    fn play_with(
        timeout: Timeout,
        grace: Duration,
        events: impl Fn(Instant) -> Vec<Event>,
    ) -> (Vec<Action>, Option<Outcome>) {
        let start = Instant::now();
        let mut step = Supervision::new(timeout, start, grace);
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
                KILLED,
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
            vec![Event::Cancelled(start), Event::Time(start + SECOND), Event::StepEnded(ChildExit::Code(137))]
        });
        assert_eq!(actions, [Action::Kill, Action::Nothing]);
        assert_eq!(outcome, Some(Outcome::Cancelled));
    }

    #[test]
    fn a_limit_beyond_the_end_of_the_clock_is_no_limit() {
        let step = Supervision::new(Timeout::After(Duration::MAX), Instant::now(), Duration::ZERO);
        assert_eq!(step.time_left(Instant::now()), None);
    }

    #[test]
    fn with_a_grace_a_step_is_asked_to_end_first_and_killed_when_the_grace_is_over() {
        let stopped = [Action::Terminate, Action::Nothing, Action::Kill, Action::Nothing];
        let (actions, outcome) = play_with(Timeout::After(SECOND), 2 * SECOND, |start| {
            let times = [1, 2, 3, 4].map(|seconds| Event::Time(start + seconds * SECOND));
            times.into_iter().chain([KILLED]).collect()
        });
        assert_eq!((actions.as_slice(), outcome), (&stopped[..], Some(Outcome::TimedOut)));
        let (actions, outcome) = play_with(Timeout::Unlimited, 2 * SECOND, |start| {
            let times = [2, 3, 4].map(|seconds| Event::Time(start + seconds * SECOND));
            [Event::Cancelled(start + SECOND)].into_iter().chain(times).chain([KILLED]).collect()
        });
        assert_eq!((actions.as_slice(), outcome), (&stopped[..], Some(Outcome::Cancelled)));
    }

    #[test]
    fn a_second_reason_neither_restarts_the_grace_nor_is_the_one_reported() {
        let (actions, outcome) = play_with(Timeout::After(SECOND), 2 * SECOND, |start| {
            vec![
                Event::Cancelled(start),
                Event::Time(start + SECOND),
                Event::Cancelled(start + SECOND),
                Event::Time(start + 2 * SECOND),
                KILLED,
            ]
        });
        assert_eq!(actions, [Action::Terminate, Action::Nothing, Action::Nothing, Action::Kill]);
        assert_eq!(outcome, Some(Outcome::Cancelled));
    }

    #[test]
    fn a_step_that_ends_within_its_grace_was_stopped_unless_it_ends_with_0() {
        for (exit, expected) in [
            (ChildExit::Code(0), Outcome::Ran(ChildExit::Code(0))),
            (ChildExit::Code(143), Outcome::TimedOut),
            (ChildExit::Signal(TERM), Outcome::TimedOut),
        ] {
            let (_, outcome) = play_with(Timeout::After(SECOND), SECOND, |start| {
                vec![Event::Time(start + SECOND), Event::StepEnded(exit)]
            });
            assert_eq!(outcome, Some(expected), "{exit:?}");
        }
    }

    #[test]
    fn a_sleep_lasts_until_the_deadline_then_until_the_grace_is_over_and_then_for_ever() {
        let start = Instant::now();
        let mut step = Supervision::new(Timeout::After(SECOND), start, 3 * SECOND);
        assert_eq!(step.time_left(start), Some(SECOND));
        assert_eq!(step.on(Event::Time(start + SECOND)), Ok(Action::Terminate));
        assert_eq!((step.time_left(start + 2 * SECOND), step.may_be_cancelled()), (Some(2 * SECOND), false));
        assert_eq!(step.on(Event::Time(start + 4 * SECOND)), Ok(Action::Kill));
        assert_eq!(step.time_left(start + 4 * SECOND), None);
    }

    #[test]
    fn signals_are_forwarded_during_the_grace_too() {
        let (actions, _) = play_with(Timeout::Unlimited, SECOND, |start| {
            vec![Event::Cancelled(start), Event::Signal(libc::SIGINT), Event::Signal(libc::SIGCHLD)]
        });
        assert_eq!(actions, [Action::Terminate, Action::Forward(libc::SIGINT), Action::Nothing]);
    }

    #[test]
    fn a_grace_beyond_the_end_of_the_clock_has_no_end() {
        let start = Instant::now();
        let mut step = Supervision::new(Timeout::Unlimited, start, Duration::MAX);
        assert_eq!(step.on(Event::Cancelled(start)), Ok(Action::Terminate));
        assert_eq!(step.time_left(start), None);
    }
}
