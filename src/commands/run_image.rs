//! `run-image`: looks up what an image runs and becomes it. For steps under an unmodified controller, Pods and Jobs.

use std::convert::Infallible;
use std::ffi::OsString;
use std::process::ExitCode;

use super::attempt::{self, Broken};
use crate::host::Host;
use crate::log;
use crate::spec::LookupSpec;
use crate::step::command::{self, Program};
use crate::step::start_error;
use crate::sys::cause::chain;
use crate::sys::process;
use crate::sys::signals::Signals;

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
        End::Broken(broken) => broken.end(spec, &signals),
    }
}

/// Why no program was run.
enum End {
    Failed(String),
    Broken(Broken),
}

fn become_image(spec: &LookupSpec, args: &[OsString], host: &Host, signals: &mut Signals) -> Result<Infallible, End> {
    let failed = |error: String| End::Failed(error);
    let found = attempt::look_up(spec, host, signals).map_err(End::Broken)?;
    let found = found.map_err(|failure| failed(failure.to_string()))?;
    if let Some(warning) = found.warning(spec.pin) {
        log::warn(warning);
    }
    let command = command::of_image(&found.image, found.entrypoint, found.cmd, !args.is_empty())
        .map_err(|error| failed(error.to_string()))?;
    let argv: Vec<OsString> = command.into_iter().chain(args.iter().cloned()).collect();
    let program = Program::find(&argv, &host.env).map_err(|error| failed(chain(&error)))?;
    let Some(program) = program else { return Err(failed(format!("image {} has nothing to run", spec.image))) };
    let error = process::become_program(&program.path, &program.argv, &program.environment, &signals.found_mask());
    Err(failed(start_error::explain(&program, &error)))
}
