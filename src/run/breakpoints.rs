//! Breakpoints: the pass stands still until a person in the container answers.

use std::path::Path;
use std::time::Instant;

use super::attend::Beside;
use super::pass::Pass;
use crate::log;
use crate::lookup::Lookup;
use crate::outcome::Outcome;
use crate::spec::WaitSpec;
use crate::step::breakpoint::{self, Breakpoint};
use crate::step::wait::{Turn, Wait};
use crate::sys::clock;

impl Pass<'_> {
    /// Asks a person whether the step shall run.
    pub(super) fn ask_before_step(&mut self, mut lookup: Option<&mut Lookup<'_>>) -> Result<(), Outcome> {
        let post_file = self.spec.report.post_file.as_deref();
        self.paused = true;
        self.wait_for_log(&mut Beside::of(lookup.as_deref_mut()))?;
        log::say(Breakpoint::BeforeStep.question());
        let mut wait = Wait::new(&Breakpoint::BeforeStep.wait(post_file), &self.host.dirs.steps);
        let answer = loop {
            match wait.look() {
                Ok(Turn::Later) => self.sleep(Some(&wait), &mut Beside::of(lookup.as_deref_mut()))?,
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
    pub(super) fn ask_about_failure(&mut self) -> Result<u8, Outcome> {
        let post_file = self.spec.report.post_file.as_deref();
        self.paused = true;
        self.wait_for_log(&mut Beside::Nobody)?;
        log::info("Skipping writing to PostFile");
        self.wait_for_log(&mut Beside::Nobody)?;
        log::say(Breakpoint::OnFailure.question());
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
                Ok(Turn::Later) => self.sleep(Some(&wait), &mut Beside::Nobody)?,
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
            self.sleep(Some(&wait), &mut Beside::Nobody)?;
        }
        Ok(None)
    }
}
