//! The in-pod entrypoint: one static binary that a CI system makes the command of every step container.
//!
//! # The pass of a step, on one page
//!
//! 1. [`sys::signals`] blocks every signal, before anything can start a child.
//! 2. [`cli`] turns argv into an [`cli::Invocation`]; a usage error leaves by the exit door too.
//! 3. [`run`] creates the step's directories and forks the [`lookup`] child, if the step's command is to be asked of a
//!    registry: it works while the step waits.
//! 4. [`step::wait`] waits for the files by which the previous step reports its end.
//! 5. [`step::command`] makes the step's argv: given, from the platform table, or looked up.
//! 6. [`step::runner`] runs it as PID 1 should: own process group, signals forwarded, orphans reaped, a time limit.
//! 7. Every path of 3 to 6 ends in one [`outcome::Outcome`], which alone decides exit code, post file and message.
//! 8. [`report`] writes termination message, `exitCode` and, last, the post file, which releases the next step.
//!
//! # Floors
//!
//! A module imports only from lower floors, and siblings meet in a lower one (`tests/floors.rs` reads the sources and
//! fails on an upward import): `main` > `run`, `commands` > `cli`, `step`, `report`, `setup`, `lookup` > `authn`,
//! `registry`, `kube` > `http` > `image`, `credential`, `go_json`, `go_path`, `note`, `outcome`, `spec`, `trace` > `sys`, `host`,
//! `secret`, `quote`, `log`.

pub mod cli;
pub mod commands;
pub mod go_json;
pub mod go_path;
pub mod host;
pub mod image;
pub mod log;
#[cfg(feature = "lookup")]
pub mod lookup;
#[cfg(not(feature = "lookup"))]
#[path = "lookup/absent.rs"]
pub mod lookup;
pub mod note;
pub mod outcome;
pub mod quote;
pub mod report;
pub mod run;
pub mod setup;
pub mod spec;
pub mod step;
#[expect(unsafe_code, reason = "the only room in which unsafe code is allowed; each block states its reason")]
pub mod sys;
pub mod trace;

#[cfg(feature = "lookup")]
pub mod authn;
#[cfg(feature = "lookup")]
pub mod credential;
#[cfg(feature = "lookup")]
pub mod http;
#[cfg(feature = "kube")]
pub mod kube;
#[cfg(feature = "lookup")]
pub mod registry;
#[cfg(feature = "lookup")]
pub mod secret;
