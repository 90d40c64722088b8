//! `resolve`: what a step with this image would run, and the way there, for a person in a debug pod.

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Instant;

use super::attempt;
use super::story::Story;
use crate::host::Host;
use crate::log;
use crate::spec::{Format, LookupSpec};
use crate::sys::signals::Signals;

/// Looks up as a step would at its turn, and tells the story on stdout. Where a step would fail, the sentence that it
/// would fail with comes last, on stderr, and the exit code is 1.
#[must_use]
pub fn run(spec: &LookupSpec, args: &[OsString], format: Format, host: &Host, mut signals: Signals) -> ExitCode {
    let since = Instant::now();
    let result = match attempt::look_up(spec, host, &mut signals) {
        Ok(result) => result,
        Err(broken) => return broken.end(spec, &signals),
    };
    // From here on there is no child to look after, and whoever stops reading may end this.
    signals.leave_to_the_system();
    let story = Story::of(&result, args, since.elapsed());
    let printed = super::print(&match format {
        Format::Text => story.text(),
        Format::Json => story.json(),
    });
    let sentence = match &result {
        Err(failure) => Some(failure.to_string()),
        Ok(_) => story.error,
    };
    match sentence {
        Some(sentence) => {
            log::say(sentence);
            ExitCode::FAILURE
        }
        None => printed,
    }
}
