//! `run-image`: looks up what an image runs and becomes it. For steps under an unmodified controller, Pods and Jobs.

use std::convert::Infallible;
use std::ffi::OsString;
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::Instant;

use crate::host::Host;
use crate::log;
use crate::lookup::{Found, Lookup, When};
use crate::spec::LookupSpec;
use crate::step::command::{self, Program};
use crate::step::start_error;
use crate::sys::cause::{Cause, chain};
use crate::sys::signals::Signals;
use crate::sys::{poll, process, signals};

/// Looks up and becomes the program. Returns only when there is none to become; then with 1, or with 128 and a signal's
/// number. Nothing but the sentence on stderr is written: whoever wrapped us does the reporting.
#[must_use]
pub fn run(spec: &LookupSpec, args: &[OsString], host: &Host, mut signals: Signals) -> ExitCode {
    let Err(end) = become_image(spec, args, host, &mut signals);
    match end {
        End::Failed(sentence) => {
            log::say(sentence);
            ExitCode::FAILURE
        }
        End::Signal(number) => {
            log::say(format_args!("{} ended the lookup of image {}", signals::name(number), spec.image));
            signals.die_of(number);
            // Still here: we are PID 1, which no signal's default disposition ends.
            ExitCode::from(u8::try_from(128 + number).unwrap_or(u8::MAX))
        }
    }
}

/// Why no program was run.
enum End {
    Failed(String),
    Signal(i32),
}

fn become_image(spec: &LookupSpec, args: &[OsString], host: &Host, signals: &mut Signals) -> Result<Infallible, End> {
    let failed = |error: String| End::Failed(error);
    let found = look_up(spec, host, signals)?;
    let command = command::of_image(&found.image, found.entrypoint, found.cmd, !args.is_empty())
        .map_err(|error| failed(error.to_string()))?;
    let argv: Vec<OsString> = command.into_iter().chain(args.iter().cloned()).collect();
    let program = Program::find(&argv, &host.env).map_err(|error| failed(chain(&error)))?;
    let Some(program) = program else { return Err(failed(format!("image {} has nothing to run", spec.image))) };
    let error = process::become_program(&program.path, &program.argv, &program.environment, &signals.found_mask());
    Err(failed(start_error::explain(&program, &error)))
}

/// One attempt: it is this step's turn already.
fn look_up(spec: &LookupSpec, host: &Host, signals: &mut Signals) -> Result<Found, End> {
    let unreadable = |error: std::io::Error| End::Failed(format!("cannot read signals: {}", Cause(&error)));
    let mut lookup = Lookup::start(spec, host, signals.found_mask(), When::Turn);
    loop {
        if let Some(result) = lookup.result() {
            return result.clone().map_err(|failure| End::Failed(failure.to_string()));
        }
        let sources: Vec<_> = lookup.events().into_iter().chain([signals.as_fd()]).collect();
        poll::readable(&sources, lookup.time_left(Instant::now())).map_err(unreadable)?;
        while let Some(number) = signals.receive().map_err(unreadable)? {
            if signals::asks_to_end(number) {
                return Err(End::Signal(number));
            }
        }
        while let Some((id, exit)) = process::reap() {
            lookup.reaped(id, exit);
        }
        let _ = lookup.advance(Instant::now());
    }
}
