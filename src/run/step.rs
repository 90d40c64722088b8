//! The exit door of a step: whatever happens on its pass is reported here, and the report decides the exit code.

use std::io;
use std::os::fd::AsFd;

use super::pass::{Pass, failed};
use super::usage_error;
use crate::cli::UsageError;
use crate::host::Host;
use crate::log;
use crate::outcome::{NotRunKind, Outcome};
use crate::quote::OneLine;
use crate::report;
use crate::setup::credentials;
use crate::spec::StepSpec;
use crate::step::alive::{self, Alive};
use crate::sys::cause::{Cause, chain};
use crate::sys::poll;
use crate::sys::process;
use crate::sys::signals::Signals;

/// Runs a step, and returns the exit code of the process.
pub(super) fn run(spec: &StepSpec, host: &Host, signals: io::Result<Signals>) -> u8 {
    report_panics(spec, host);
    // Before anything that may take time, or room on a disk: behind a process that is killed unannounced, later steps wait for
    // ever, and the lock can become the post file. Where there can be no sign, they wait as they do behind Tekton's own.
    let alive = spec.report.post_file.as_deref().and_then(|post_file| Alive::announce(post_file).ok());
    let refused = |alive: Option<Alive>, code| {
        if let Some(alive) = alive {
            alive.end();
        }
        code
    };
    if let Err(error) = set_up_credentials(spec, host) {
        return refused(alive, usage_error(&error));
    }
    let mut pass = match signals {
        Ok(signals) => Pass::new(spec, host, signals, alive),
        Err(error) => {
            let outcome = failed(format!("cannot read signals: {}", Cause(&error)));
            return refused(alive, report::report(&outcome, spec, &host.dirs, None));
        }
    };
    let outcome = pass.outcome().unwrap_or_else(|outcome| outcome);
    let left = report::leave(&outcome, spec, &host.dirs, pass.started_at, pass.image.as_ref());
    // Not before the post file is there: a log that nobody reads may keep us here.
    if outcome == Outcome::Cancelled {
        log::info("Step was canceling");
    } else if outcome == Outcome::NotWanted {
        log::info("Step was skipped due to when expressions were evaluated to false.");
    }
    let asks = left.is_left_to_a_person();
    let code = left.finish();
    // Only now, and only to somebody who reads: what is missing there may be missing because nobody does.
    for warning in pass.warnings.iter().filter(|_| poll::is_writable(io::stderr().as_fd())) {
        log::warn(warning);
    }
    let (outcome, code) = if asks {
        match pass.ask_about_failure() {
            Ok(code) => return code,
            // Nobody will answer any more, and the next step must not wait for it.
            Err(outcome) => {
                let code = report::leave_breakpoint(&outcome, spec.report.post_file.as_deref()).finish();
                (outcome, code)
            }
        }
    } else {
        (outcome, code)
    };
    // Not before the post file is there, and not left to a death by signal.
    if let Some(alive) = pass.alive.take() {
        alive.end();
    }
    if let Outcome::NotRun(why) = &outcome
        && let NotRunKind::Interrupted(number) = why.kind
    {
        pass.signals.die_of(number);
    }
    code
}

/// Puts the credentials of the flags where git and docker look for them, before anything else of the step. A secret that
/// cannot be read is a mistake of the command line, as in Tekton; whatever fails behind that is only said.
fn set_up_credentials(spec: &StepSpec, host: &Host) -> Result<(), UsageError> {
    let read = credentials::read(&spec.credentials, &host.dirs).map_err(|error| UsageError {
        message: OneLine(chain(&error)).to_string(),
        post_file: spec.report.post_file.clone(),
        termination_path: Some(spec.report.termination_path.clone()),
    })?;
    read.write(&host.dirs);
    credentials::copy_to_home(&host.dirs, host.env.get("HOME"));
    Ok(())
}

/// A defect of ours must not leave the next step waiting: before a panic ends the process, the step is reported.
fn report_panics(spec: &StepSpec, host: &Host) {
    let (spec, dirs) = (spec.clone(), host.dirs.clone());
    std::panic::set_hook(Box::new(move |panic| {
        let outcome = failed(format!("entrypoint has a defect, please report it: {panic}"));
        let code = report::report(&outcome, &spec, &dirs, None);
        if let Some(post_file) = &spec.report.post_file {
            alive::withdraw(post_file);
        }
        process::exit_now(code);
    }));
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::cli::{self, Invocation};
    use crate::host::{Dirs, Env};

    /// Set in the process that is to panic: the directory for its reports.
    const PANIC_IN: &str = "ENTRYPOINT_TEST_PANIC_IN";

    #[test]
    #[allow(clippy::disallowed_methods, reason = "the panicking process is a child of this test")]
    fn a_panic_is_reported_before_it_ends_the_process() {
        if let Some(dir) = std::env::var_os(PANIC_IN) {
            let dir = Path::new(&dir);
            let report = ["-post_file", "out", "-termination_path", "termination", "-step_metadata_dir", "."];
            let argv =
                report.map(|word| if word.starts_with('-') { word.into() } else { dir.join(word).into_os_string() });
            let argv: Vec<OsString> = ["entrypoint".into()].into_iter().chain(argv).collect();
            let Ok(Invocation::Step(spec)) = cli::parse(&argv) else { panic!("a step") };
            report_panics(&spec, &Host { env: Env::default(), dirs: Dirs::default() });
            let _alive = Alive::announce(&dir.join("out")).unwrap();
            panic!("on purpose");
        }
        let dir = tempfile::tempdir().unwrap();
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "run::step::tests::a_panic_is_reported_before_it_ends_the_process", "--nocapture"])
            .env(PANIC_IN, dir.path())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(dir.path().join("out.err").exists());
        assert!(!dir.path().join("out.lock").exists(), "what it says is said");
        let message = fs::read_to_string(dir.path().join("termination")).unwrap();
        assert!(message.contains("defect") && message.contains("on purpose"), "{message}");
    }
}
