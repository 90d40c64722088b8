//! One attempt of a lookup, with nothing beside it but signals: the turn of whoever asks has come already.

use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::Instant;

use crate::host::Host;
use crate::log;
use crate::lookup::{Failure, Found, Lookup, When};
use crate::spec::LookupSpec;
use crate::sys::cause::Cause;
use crate::sys::signals::Signals;
use crate::sys::{poll, process, signals};

/// Why an attempt came to no end.
pub(super) enum Broken {
    /// Somebody asked for it.
    Signal(i32),
    /// Nothing can be waited for; the sentence.
    Blind(String),
}

/// What came of the lookup.
pub(super) fn look_up(spec: &LookupSpec, host: &Host, signals: &mut Signals) -> Result<Result<Found, Failure>, Broken> {
    let unreadable = |error: std::io::Error| Broken::Blind(format!("cannot read signals: {}", Cause(&error)));
    let mut lookup = Lookup::start(spec, host, signals.found_mask(), When::Turn);
    loop {
        if let Some(result) = lookup.result() {
            return Ok(result.clone());
        }
        let sources: Vec<_> = lookup.events().into_iter().chain([signals.as_fd()]).collect();
        poll::readable(&sources, lookup.time_left(Instant::now())).map_err(unreadable)?;
        while let Some(number) = signals.receive().map_err(unreadable)? {
            if signals::asks_to_end(number) {
                return Err(Broken::Signal(number));
            }
        }
        while let Some((id, exit)) = process::reap() {
            lookup.reaped(id, exit);
        }
        let _ = lookup.advance(Instant::now());
    }
}

impl Broken {
    /// Says it and ends: of the signal, if that is what it was. Returns for PID 1, which no signal's default disposition
    /// ends, with 128 and the signal's number.
    pub(super) fn end(self, spec: &LookupSpec, signals: &Signals) -> ExitCode {
        match self {
            Self::Signal(number) => {
                log::say(format_args!("{} ended the lookup of image {}", signals::name(number), spec.image));
                signals.die_of(number);
                ExitCode::from(u8::try_from(128 + number).unwrap_or(u8::MAX))
            }
            Self::Blind(sentence) => {
                log::say(sentence);
                ExitCode::FAILURE
            }
        }
    }
}
