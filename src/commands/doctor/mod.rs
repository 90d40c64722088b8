//! `doctor`: what a lookup needs in this pod, checked one by one, with a fix for each that is not as it should be.

#[cfg(feature = "kube")]
mod cluster;
#[cfg(not(feature = "kube"))]
#[path = "cluster/absent.rs"]
mod cluster;
mod files;
mod found;
mod identity;
mod network;
mod place;
mod probe;
mod report;
mod row;
mod trouble;

use std::io;
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use self::probe::Probe;
use self::report::Report;
use self::row::{Check, Row};
use crate::host::Host;
use crate::log;
use crate::lookup::{Lookup, When};
use crate::spec::{DoctorSpec, Format};
use crate::sys::cause::Cause;
use crate::sys::helper::Helper;
use crate::sys::signals::Signals;
use crate::sys::{poll, process, signals};

/// Checks, and tells it on stdout. 1 if an image was named and could not be looked up, or nobody reads what is told;
/// whatever else was found is told, and no failure.
#[must_use]
pub fn run(spec: &DoctorSpec, format: Format, host: &Host, mut signals: Signals) -> ExitCode {
    let since = Instant::now();
    let (rows, looked_up) = match examine(spec, host, &mut signals) {
        Ok(Ok(found)) => found,
        Ok(Err(number)) => {
            log::say(format_args!("{} ended the checks", signals::name(number)));
            signals.die_of(number);
            return ExitCode::from(u8::try_from(128 + number).unwrap_or(u8::MAX));
        }
        Err(error) => {
            log::say(format_args!("cannot read signals: {}", Cause(&error)));
            return ExitCode::FAILURE;
        }
    };
    // From here on there is no child to look after, and whoever stops reading may end this.
    signals.leave_to_the_system();
    let report = Report::new(spec.image().map(|lookup| lookup.image.as_str()), looked_up, rows, since.elapsed());
    let printed = super::print(&match format {
        Format::Text => report.text(),
        Format::Json => report.json(),
    });
    if looked_up == Some(false) { ExitCode::FAILURE } else { printed }
}

/// Every row, and whether the image was looked up, or the signal that asked for the end.
type Examined = Result<(Vec<Row>, Option<bool>), i32>;

/// Runs every part and the lookup, each in its own process, at the same time.
fn examine(spec: &DoctorSpec, host: &Host, signals: &mut Signals) -> io::Result<Examined> {
    let mask = signals.found_mask();
    let mut rows = Vec::new();
    let mut running: Vec<(Probe, Helper)> = Vec::new();
    for probe in Probe::ALL {
        match probe.start(spec, host, &mask) {
            Ok(helper) => running.push((probe, helper)),
            Err(lost) => rows.extend(lost),
        }
    }
    let mut lookup = spec.image().map(|spec| Lookup::start(spec, host, mask, When::Turn));
    loop {
        let now = Instant::now();
        running.retain_mut(|(probe, helper)| match helper.advance(now) {
            Some(ended) => {
                rows.extend(probe.read(ended));
                false
            }
            None => true,
        });
        if let Some(lookup) = &mut lookup {
            let _ = lookup.advance(now);
        }
        let result = lookup.as_ref().map(Lookup::result);
        if running.is_empty() && !matches!(result, Some(None)) {
            let (row, looked_up) = match result.flatten() {
                Some(result) => found::row(result),
                None => (Check::Lookup.not_checked("no image is named", "name one: entrypoint doctor IMAGE"), None),
            };
            rows.push(row);
            return Ok(Ok((rows, looked_up)));
        }
        let helpers = running.iter().filter_map(|(_, helper)| helper.events());
        let sources: Vec<_> =
            helpers.chain(lookup.iter().filter_map(Lookup::events)).chain([signals.as_fd()]).collect();
        let times = running.iter().filter_map(|(_, helper)| helper.time_left(now));
        let left: Option<Duration> = times.chain(lookup.iter().filter_map(|lookup| lookup.time_left(now))).min();
        poll::readable(&sources, left)?;
        while let Some(number) = signals.receive()? {
            if signals::asks_to_end(number) {
                return Ok(Err(number));
            }
        }
        while let Some((id, exit)) = process::reap() {
            running.iter_mut().for_each(|(_, helper)| helper.reaped(id, exit));
            if let Some(lookup) = &mut lookup {
                lookup.reaped(id, exit);
            }
        }
    }
}
