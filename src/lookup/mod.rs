//! The lookup: what an image would run, asked of its registry by child processes while the step waits.
//!
//! This file is the supervisor's side: it forks a child per attempt, drains its pipe, and keeps what it said. The child's
//! side, `ask`, is the only part of the program that talks to a network.

#[cfg(feature = "lookup")]
mod ask;
mod document;
#[cfg(feature = "lookup")]
mod gather;
#[cfg(feature = "lookup")]
mod pin;
#[cfg(feature = "lookup")]
mod places;
#[cfg(test)]
pub(crate) mod samples;
#[cfg(feature = "lookup")]
mod sources;
#[cfg(feature = "lookup")]
mod warning;
#[cfg(feature = "lookup")]
mod without;

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

pub use document::{Failure, Found, FoundAt, RuntimeWord, Wanted};

use crate::host::Host;
use crate::outcome::ChildExit;
use crate::pause::{self, Pauses};
use crate::spec::{ImagePin, LookupSpec};
use crate::sys::cause::Cause;
use crate::sys::helper::{Ended, Helper};
use crate::sys::process::ProcessId;
use crate::sys::signals::{self, Mask};

/// Between two attempts.
const PAUSES: Pauses = Pauses { shortest: Duration::from_secs(1), longest: Duration::from_secs(60) };

/// The longest pause that those who were asked are granted. What chance adds comes on top.
const GRANTED: Duration = Duration::from_secs(15 * 60);

/// A lookup in progress: one child per attempt, pauses between them, and what came of it in the end.
#[derive(Debug)]
pub struct Lookup<'a> {
    spec: &'a LookupSpec,
    host: &'a Host,
    mask: Mask,
    /// How many attempts have been made that were not the last.
    attempts: u32,
    /// Whether the step's turn has come.
    turn: bool,
    state: State,
}

/// When an attempt is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// While the step waits: others will follow if need be.
    Waiting,
    /// At the step's turn: it is the last, and programs of the step's image may be run for it.
    Turn,
}

#[derive(Debug)]
enum State {
    /// A child is asking.
    Asking { helper: Helper, when: When, held: Option<Box<Found>> },
    /// The last attempt did not bring what it might bring later.
    Pausing { until: Instant, left: Box<Left> },
    /// It is known what came of it.
    Done(Box<Result<Found, Failure>>),
}

/// What attempts have left behind that were not the last.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Left {
    /// A failure that time may mend.
    Failed(Failure),
    /// What was found before kubelet said what the step's container runs, or while that could not be had.
    Early(Box<Found>),
}

impl<'a> Lookup<'a> {
    /// Starts the first attempt.
    #[must_use]
    pub fn start(spec: &'a LookupSpec, host: &'a Host, mask: Mask, when: When) -> Self {
        let state = attempt(spec, host, mask, when, None);
        Self { spec, host, mask, attempts: 0, turn: when == When::Turn, state }
    }

    /// The image, as written.
    #[must_use]
    pub fn image(&self) -> &str {
        &self.spec.image
    }

    /// The descriptor that becomes readable when there is news.
    #[must_use]
    pub fn events(&self) -> Option<BorrowedFd<'_>> {
        match &self.state {
            State::Asking { helper, .. } => helper.events(),
            State::Pausing { .. } | State::Done(_) => None,
        }
    }

    /// How long until time itself is news.
    #[must_use]
    pub fn time_left(&self, now: Instant) -> Option<Duration> {
        match &self.state {
            State::Asking { helper, .. } => helper.time_left(now),
            State::Pausing { until, .. } => Some(until.saturating_duration_since(now)),
            State::Done(_) => None,
        }
    }

    /// Takes note of a child that was reaped, if it is the lookup's.
    pub fn reaped(&mut self, id: ProcessId, exit: ChildExit) {
        if let State::Asking { helper, .. } = &mut self.state {
            helper.reaped(id, exit);
        }
    }

    /// The step's turn has come. If what has been tried did not help for now, one last attempt is made at once. What was
    /// found without kubelet's word is used as it is, unless nothing but that will do.
    pub fn turn(&mut self) {
        // What a child has just brought counts.
        let _ = self.advance(Instant::now());
        self.turn = true;
        let next = match &mut self.state {
            State::Asking { held, .. } if !is_strict(self.spec) => {
                held.take().map(|found| State::Done(Box::new(Ok(*found))))
            }
            State::Pausing { left, .. } => {
                let left = left.clone();
                Some(self.last(*left))
            }
            State::Asking { .. } | State::Done(_) => None,
        };
        if let Some(next) = next {
            self.state = next;
        }
    }

    /// Catches up with the child. A failure that has just come about is handed out, once, to be logged at once where the
    /// step's turn may be an hour away.
    pub fn advance(&mut self, now: Instant) -> Option<&Failure> {
        match &mut self.state {
            State::Asking { helper, when, held } => {
                let ended = helper.advance(now)?;
                let (when, held) = (*when, held.take());
                self.state = self.after(ended, when, held, now);
                match &self.state {
                    State::Pausing { left, .. } => match &**left {
                        Left::Failed(failure) => Some(failure),
                        Left::Early(_) => None,
                    },
                    State::Done(result) => result.as_ref().as_ref().err(),
                    State::Asking { .. } => None,
                }
            }
            State::Pausing { until, left } => {
                if *until <= now {
                    let held = match &**left {
                        Left::Early(found) => Some(found.clone()),
                        Left::Failed(_) => None,
                    };
                    self.state = self.attempt(When::Waiting, held);
                }
                None
            }
            State::Done(_) => None,
        }
    }

    /// What came of it, once it is known.
    #[must_use]
    pub fn result(&self) -> Option<&Result<Found, Failure>> {
        match &self.state {
            State::Asking { .. } | State::Pausing { .. } => None,
            State::Done(result) => Some(result),
        }
    }

    /// What follows from the end of an attempt that was made `when`; `held` is what had been found before it.
    fn after(&mut self, ended: Ended, when: When, held: Option<Box<Found>>, now: Instant) -> State {
        let result = read(self.spec, ended);
        let asked = result.as_ref().map_or_else(|failure| failure.retry_after, |found| found.follow_later);
        let mut left = match what_follows(result, when, held.map(|held| *held), is_strict(self.spec)) {
            Next::Done(result) => return State::Done(result),
            Next::Again(left) => left,
        };
        if self.turn {
            return self.last(left);
        }
        let pause = pause_behind(self.attempts, asked, pause::some_number());
        if let (Left::Failed(failure), Some(_)) = (&mut left, asked) {
            let next = format!("; the next attempt is in {} s, or at the step's turn", pause.as_secs());
            failure.reason.push_str(&next);
        }
        self.attempts = self.attempts.saturating_add(1);
        match now.checked_add(pause) {
            Some(until) => State::Pausing { until, left: Box::new(left) },
            None => self.last(left),
        }
    }

    /// What the turn makes of what there is: it is used, or one last attempt is made.
    fn last(&self, left: Left) -> State {
        match left {
            Left::Early(found) if is_strict(self.spec) => self.attempt(When::Turn, Some(found)),
            Left::Early(found) => State::Done(Box::new(Ok(*found))),
            Left::Failed(_) => self.attempt(When::Turn, None),
        }
    }

    /// Makes an attempt.
    fn attempt(&self, when: When, held: Option<Box<Found>>) -> State {
        attempt(self.spec, self.host, self.mask, when, held)
    }
}

/// Whether nothing but the image will do that kubelet reports.
fn is_strict(spec: &LookupSpec) -> bool {
    spec.pin == ImagePin::Strict
}

/// What becomes of a lookup behind an attempt.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// It is over.
    Done(Box<Result<Found, Failure>>),
    /// There is to be another attempt.
    Again(Left),
}

/// What follows from an attempt's result; `held` is what had been found before it, and lacked only kubelet's word.
fn what_follows(result: Result<Found, Failure>, when: When, held: Option<Found>, strict: bool) -> Next {
    match (result, when, held) {
        (result, When::Turn, _) => Next::Done(Box::new(result)),
        // Kubelet's word may come yet, or what it says runs.
        (Ok(found), When::Waiting, _) if found.runtime.may_come() || found.follow_later.is_some() => {
            Next::Again(Left::Early(Box::new(found)))
        }
        (Ok(found), When::Waiting, _) => Next::Done(Box::new(Ok(found))),
        (Err(failure), When::Waiting, None) if failure.retryable => Next::Again(Left::Failed(failure)),
        (Err(failure), When::Waiting, None) => Next::Done(Box::new(Err(failure))),
        // What runs is another image, and that cannot be had: for now, or at all.
        (Err(failure), When::Waiting, Some(held)) if failure.retryable => {
            Next::Again(Left::Early(Box::new(held.without_what_runs(failure))))
        }
        (Err(failure), When::Waiting, Some(_)) if strict => Next::Done(Box::new(Err(failure))),
        (Err(failure), When::Waiting, Some(held)) => Next::Done(Box::new(Ok(held.without_what_runs(failure)))),
    }
}

/// The pause behind this many attempts and another one: what those who were asked wish is heeded up to a limit, as they may
/// wish for a day.
fn pause_behind(attempts: u32, asked: Option<Duration>, random: u32) -> Duration {
    let own = PAUSES.behind(attempts, random);
    asked.map_or(own, |asked| own.max(pause::not_before(asked.min(GRANTED), PAUSES.shortest, random)))
}

/// Forks the child of one attempt. A child that cannot be made is a failed lookup like any other.
fn attempt(spec: &LookupSpec, host: &Host, mask: Mask, when: When, held: Option<Box<Found>>) -> State {
    let parent = std::process::id();
    let known = held.as_deref();
    match Helper::start(spec.timeout, |pipe| ask_in_child(spec, host, when, known, pipe, parent, &mask)) {
        Ok(helper) => State::Asking { helper, when, held },
        Err(error) => {
            let reason = format!("the lookup's process cannot be started: {}", Cause(&error));
            State::Done(Box::new(not_started(Failure::of(&spec.image, reason), held, is_strict(spec))))
        }
    }
}

/// What comes of a lookup whose next child cannot be made: what was found is not lost by that, unless it will not do.
fn not_started(failure: Failure, held: Option<Box<Found>>, strict: bool) -> Result<Found, Failure> {
    match held {
        Some(found) if !strict => Ok(*found),
        Some(_) | None => Err(failure),
    }
}

/// What a child's end means. Whatever is not in its document may be different the next time.
fn read(spec: &LookupSpec, ended: Ended) -> Result<Found, Failure> {
    let failure = |reason: String| Err(Failure { retryable: true, ..Failure::of(&spec.image, reason) });
    match ended {
        Ended::Document(bytes) => document::read(&bytes)
            .unwrap_or_else(|error| failure(format!("the lookup's answer cannot be read: {error}"))),
        Ended::Died(ChildExit::Code(code)) => {
            failure(format!("the lookup's process ended with code {code} and no answer"))
        }
        Ended::Died(ChildExit::Signal(number)) => failure(death(number)),
        Ended::TimedOut => failure(format!("no answer within {:?} (-image_lookup_timeout)", spec.timeout)),
        Ended::TooLong => failure("the lookup's answer is longer than 1 MiB".to_owned()),
    }
}

/// What to say of a child that a signal killed.
fn death(number: i32) -> String {
    let hint = match number {
        libc::SIGKILL => ": if that was the out-of-memory killer, give the step more memory",
        _ => "",
    };
    format!("the lookup's process was killed by {} before it had an answer{hint}", signals::name(number))
}

/// The child's life.
#[cfg(feature = "lookup")]
fn ask_in_child(
    spec: &LookupSpec,
    host: &Host,
    when: When,
    held: Option<&Found>,
    pipe: std::fs::File,
    parent: u32,
    mask: &Mask,
) -> u8 {
    let Ok(pipe) = crate::sys::isolation::isolate(pipe, parent, mask) else { return 1 };
    u8::from(document::write(pipe, &ask::ask(spec, host, when, held)).is_err())
}

/// Without the feature `lookup` the command line refuses `-image`, so this child is never made.
#[cfg(not(feature = "lookup"))]
fn ask_in_child(spec: &LookupSpec, _: &Host, _: When, _: Option<&Found>, pipe: std::fs::File, _: u32, _: &Mask) -> u8 {
    let failure = Failure::of(&spec.image, "this entrypoint was built without the feature lookup".to_owned());
    u8::from(document::write(pipe, &Err(failure)).is_err())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Running;

    #[test]
    fn the_next_attempt_comes_not_before_the_time_that_was_asked_for() {
        let seconds = Duration::from_secs;
        for (failures, asked, shortest, longest) in [
            (0, None, 1, 2),
            (0, Some(0), 1, 2),
            (0, Some(2), 2, 3),
            (0, Some(60), 60, 75),
            (0, Some(600), 600, 750),
            // A limit of six hours is asked again every quarter of an hour.
            (0, Some(21_600), 900, 1_125),
            (0, Some(u64::MAX), 900, 1_125),
            // Its own pauses are longer by now.
            (9, Some(5), 45, 60),
            (u32::MAX, None, 45, 60),
        ] {
            for random in [0, 1, 499, 500_000, 1_000_000, u32::MAX] {
                let pause = pause_behind(failures, asked.map(seconds), random);
                let expected = seconds(shortest)..=seconds(longest);
                assert!(expected.contains(&pause), "{failures} {asked:?} {random}: {pause:?}");
            }
            let alike = (0..1_000_000).step_by(1_001).map(|random| pause_behind(failures, asked.map(seconds), random));
            let mut alike: Vec<_> = alike.collect();
            alike.sort_unstable();
            alike.dedup();
            assert!(alike.len() > 100, "{failures} {asked:?}");
        }
    }

    #[test]
    fn only_a_kill_is_suspected_to_be_the_out_of_memory_killer_s() {
        assert_eq!(death(libc::SIGSEGV), "the lookup's process was killed by SIGSEGV before it had an answer");
        let kill = death(libc::SIGKILL);
        assert!(kill.contains("SIGKILL") && kill.ends_with("give the step more memory"), "{kill}");
    }

    /// What kubelet says of what runs, in a letter: `-` is not asked, `?` not read and may be, `!` not to be read, `l` late,
    /// `o` odd, `r` reported.
    fn word(letter: char) -> RuntimeWord {
        let reported = |image_id: &str| RuntimeWord::Reported {
            container: "step-build".into(),
            running: Running::parse("busybox", image_id),
        };
        match letter {
            '-' => RuntimeWord::NotAsked,
            '?' => RuntimeWord::Unread { reason: "not now".into(), retryable: true },
            '!' => RuntimeWord::Unread { reason: "never".into(), retryable: false },
            'l' => reported(""),
            'o' => reported("busybox"),
            'r' => reported(&format!("busybox@sha256:{}", "0".repeat(64))),
            _ => panic!("{letter}"),
        }
    }

    fn found(image: &str, letter: char) -> Found {
        Found { image: image.into(), runtime: word(letter), not_followed: None, ..document::tests::found() }
    }

    fn failed(retryable: bool, letter: char) -> Failure {
        Failure { retryable, runtime: Box::new(word(letter)), ..Failure::of("x", "no".into()) }
    }

    /// What follows, in words; an image by its name, and one that is not what runs with why.
    fn follows(result: Result<Found, Failure>, when: When, held: Option<Found>, strict: bool) -> String {
        let named = |found: Found| match found.not_followed {
            Some(reason) => format!("{} ({reason})", found.image),
            None => found.image,
        };
        match what_follows(result, when, held, strict) {
            Next::Done(result) => match *result {
                Ok(found) => format!("done {}", named(found)),
                Err(failure) => format!("failed {}", failure.reason),
            },
            Next::Again(Left::Failed(failure)) => format!("again, failed {}", failure.reason),
            Next::Again(Left::Early(found)) => format!("again, holding {}", named(*found)),
        }
    }

    #[test]
    fn while_the_step_waits_a_lookup_goes_on_as_long_as_that_may_help() {
        for (result, held, loose, strict) in [
            (Ok('-'), false, "done new", "done new"),
            (Ok('r'), false, "done new", "done new"),
            (Ok('o'), false, "done new", "done new"),
            (Ok('!'), false, "done new", "done new"),
            (Ok('l'), false, "again, holding new", "again, holding new"),
            (Ok('?'), false, "again, holding new", "again, holding new"),
            // Behind one that was held: it is that, or another.
            (Ok('r'), true, "done new", "done new"),
            (Ok('!'), true, "done new", "done new"),
            (Ok('l'), true, "again, holding new", "again, holding new"),
            (Err((true, '-')), false, "again, failed no", "again, failed no"),
            (Err((true, 'r')), false, "again, failed no", "again, failed no"),
            (Err((false, '-')), false, "failed no", "failed no"),
            (Err((false, 'r')), false, "failed no", "failed no"),
            // What runs cannot be had for now; what is held is not it.
            (Err((true, 'r')), true, "again, holding held (no)", "again, holding held (no)"),
            // The child died, or did not come to ask.
            (Err((true, '-')), true, "again, holding held", "again, holding held"),
            (Err((false, 'r')), true, "done held (no)", "failed no"),
            (Err((false, '!')), true, "done held (no)", "failed no"),
            (Err((false, '-')), true, "done held", "failed no"),
        ] {
            for (is_strict, expected) in [(false, loose), (true, strict)] {
                let held = held.then(|| found("held", 'l'));
                let given = match result {
                    Ok(letter) => Ok(found("new", letter)),
                    Err((retryable, letter)) => Err(failed(retryable, letter)),
                };
                let case = format!("{result:?}, held: {}, strict: {is_strict}", held.is_some());
                assert_eq!(follows(given, When::Waiting, held, is_strict), expected, "{case}");
            }
        }
    }

    #[test]
    fn what_runs_is_asked_for_again_while_the_step_waits_where_it_may_be_had_later() {
        let found = |later| Found { not_followed: Some("not now".into()), follow_later: later, ..found("new", 'r') };
        let later = found(Some(Duration::ZERO));
        assert_eq!(follows(Ok(later.clone()), When::Waiting, None, false), "again, holding new (not now)");
        assert_eq!(follows(Ok(later.clone()), When::Turn, None, false), "done new (not now)");
        assert_eq!(follows(Ok(found(None)), When::Waiting, Some(later), false), "done new (not now)");
    }

    #[test]
    fn what_is_held_is_not_lost_where_no_other_child_can_be_made() {
        let held = || Some(Box::new(found("held", 'l')));
        assert_eq!(not_started(failed(false, '-'), held(), false), Ok(found("held", 'l')));
        // Nothing but what runs will do.
        assert_eq!(not_started(failed(false, '-'), held(), true), Err(failed(false, '-')));
        assert_eq!(not_started(failed(false, '-'), None, false), Err(failed(false, '-')));
    }

    #[test]
    fn at_the_turn_a_lookup_is_over_whatever_came_of_it() {
        for strict in [false, true] {
            for held in [None, Some(found("held", 'l'))] {
                for letter in ['-', '?', '!', 'l', 'o', 'r'] {
                    let told = follows(Ok(found("new", letter)), When::Turn, held.clone(), strict);
                    assert_eq!(told, "done new", "{letter}");
                    for retryable in [false, true] {
                        let told = follows(Err(failed(retryable, letter)), When::Turn, held.clone(), strict);
                        assert_eq!(told, "failed no", "{letter}");
                    }
                }
            }
        }
    }
}
