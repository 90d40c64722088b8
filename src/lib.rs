//! The in-pod entrypoint: one static binary that a CI system makes the command of every step container.
//!
//! # The pass of a step, on one page
//!
//! 1. [`sys::signals`] blocks every signal, before anything can start a child.
//! 2. [`cli`] turns argv into an [`cli::Invocation`]; a usage error leaves by the exit door too.
//! 3. [`step::alive`] locks a file beside the post file, by which later steps see that this one lives. Then
//!    [`setup::credentials`] puts the credentials of the flags where git and docker look for them.
//! 4. [`run`] reads the when expressions, creates the step's directories, and forks the [`lookup`] child, if the step's
//!    command is to be asked of a registry: it works while the step waits.
//! 5. [`step::wait`] waits for the files by which the previous step reports its end, and with [`step::predecessor`] notices
//!    one that died without a report. A child waits for the [`endpoints`] that must answer, if there are any. With a
//!    [`step::breakpoint`] before the step, a person is waited for too.
//! 6. [`step::command`] makes the step's argv: given, from the platform table, or looked up.
//! 7. [`step::substitution`] puts what earlier steps left where this one refers to it; then [`step::when`] decides whether
//!    the step is wanted, CEL in a child.
//! 8. [`step::runner`] runs it as PID 1 should: own process group, signals forwarded, orphans reaped, a time limit, without a
//!    network if it is [`step::hermetic`]; [`step::output`] copies what it prints to files.
//! 9. Every path of 4 to 8 ends in one [`outcome::Outcome`], which alone decides exit code, post file and message.
//! 10. [`report`] reads the step's results and writes termination message, `exitCode` and, last, the post file, which
//!     releases the next step. Where a failure is a breakpoint, a person answers in place of the post file.
//!
//! # Floors
//!
//! A module imports only from lower floors, and siblings meet in a lower one (`tests/floors.rs` reads the sources and
//! fails on an upward import): `main` > `run`, `commands` > `cli`, `step`, `report`, `setup`, `lookup`, `endpoints` > `authn`,
//! `daemon`, `kube`, `registry` > `cache`, `http` > `image`, `credential`, `go_json`, `go_path`, `note`, `outcome`, `secrets`, `spec`,
//! `trace` > `sys`, `host`, `cloud`, `pause`, `percent`, `secret`, `quote`, `log`.

pub mod cli;
pub mod cloud;
pub mod commands;
#[cfg(feature = "lookup")]
pub mod endpoints;
#[cfg(not(feature = "lookup"))]
#[path = "endpoints/absent.rs"]
pub mod endpoints;
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
#[cfg(feature = "lookup")]
pub mod pause;
pub mod quote;
pub mod report;
pub mod run;
pub mod setup;
pub mod spec;
pub mod step;
pub mod sys;
pub mod trace;

#[cfg(feature = "lookup")]
pub mod authn;
#[cfg(feature = "lookup")]
pub mod cache;
#[cfg(feature = "lookup")]
pub mod credential;
#[cfg(feature = "lookup")]
pub mod daemon;
#[cfg(feature = "lookup")]
pub mod http;
#[cfg(feature = "kube")]
pub mod kube;
#[cfg(feature = "lookup")]
pub mod percent;
#[cfg(feature = "lookup")]
pub mod registry;
#[cfg(feature = "lookup")]
pub mod secret;
#[cfg(feature = "lookup")]
pub mod secrets;
