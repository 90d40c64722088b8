//! From argv to an exit code: what is asked for, and for a step the pass through its life to the exit door.

mod attend;
mod breakpoints;
mod endpoints;
#[cfg(feature = "lookup")]
pub mod image;
#[cfg(not(feature = "lookup"))]
#[path = "image/absent.rs"]
mod image;
mod pass;
mod step;

use std::ffi::OsString;
use std::io;
use std::process::ExitCode;

use crate::cli::{self, Invocation, UsageError};
use crate::commands::{self, version};
#[cfg(feature = "lookup")]
use crate::commands::{doctor, resolve, run_image};
use crate::host::Host;
use crate::log;
use crate::report;
use crate::setup;
use crate::spec::SetupCommand;
#[cfg(feature = "lookup")]
use crate::sys::cause::Cause;
use crate::sys::cause::chain;
use crate::sys::signals::Signals;

/// Does what argv asks for.
#[must_use]
pub fn run(argv: &[OsString], host: &Host) -> ExitCode {
    // Before anything else, also before argv: from here on no signal is lost.
    let signals = Signals::block();
    match cli::parse(argv) {
        Ok(Invocation::Step(spec)) => step::run(&spec, host, signals).into(),
        Ok(Invocation::Setup(command)) => set_up(&command, host, signals),
        #[cfg(feature = "lookup")]
        Ok(Invocation::RunImage { lookup, args }) => {
            with_signals(signals, |signals| run_image::run(&lookup, &args, host, signals))
        }
        #[cfg(feature = "lookup")]
        Ok(Invocation::Resolve { lookup, args, format }) => {
            with_signals(signals, |signals| resolve::run(&lookup, &args, format, host, signals))
        }
        #[cfg(feature = "lookup")]
        Ok(Invocation::Doctor { spec, format }) => {
            with_signals(signals, |signals| doctor::run(&spec, format, host, signals))
        }
        #[cfg(not(feature = "lookup"))]
        Ok(Invocation::Doctor { .. }) => {
            // The command line has refused it already.
            log::say("nothing that doctor looks at is in this build");
            ExitCode::FAILURE
        }
        #[cfg(not(feature = "lookup"))]
        Ok(Invocation::RunImage { lookup, .. } | Invocation::Resolve { lookup, .. }) => {
            // The command line has refused them already.
            log::say(format_args!("image {} cannot be looked up by this build", lookup.image));
            ExitCode::FAILURE
        }
        Ok(Invocation::Version) => commands::print(&version::text()),
        Ok(Invocation::Help(text)) => {
            log::help(&text);
            ExitCode::SUCCESS
        }
        Err(error) => usage_error(&error).into(),
    }
}

/// A command that asks a registry, and so has a child to look after.
#[cfg(feature = "lookup")]
fn with_signals(signals: io::Result<Signals>, command: impl FnOnce(Signals) -> ExitCode) -> ExitCode {
    match signals {
        Ok(signals) => command(signals),
        Err(error) => {
            log::say(format_args!("cannot read signals: {}", Cause(&error)));
            ExitCode::FAILURE
        }
    }
}

/// Does what an init container asks for. It reports nothing, so a signal may end it.
fn set_up(command: &SetupCommand, host: &Host, signals: io::Result<Signals>) -> ExitCode {
    if let Ok(signals) = signals {
        signals.leave_to_the_system();
    }
    match setup::run(command, &host.dirs) {
        Ok(line) => {
            log::say(line);
            ExitCode::SUCCESS
        }
        Err(error) => {
            log::say(format_args!("{} error: {}", command.name(), chain(&error)));
            ExitCode::FAILURE
        }
    }
}

/// The exit door of a command line that cannot be followed.
fn usage_error(error: &UsageError) -> u8 {
    let left = report::leave_usage(&error.message, error.post_file.as_deref(), error.termination_path.as_deref());
    // Only now: a log that nobody reads must not keep the next step waiting.
    log::say(error);
    log::say(error.usage_hint());
    left.finish()
}
