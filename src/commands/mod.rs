//! The commands for people and pod templates.

#[cfg(feature = "lookup")]
mod attempt;
#[cfg(feature = "lookup")]
pub mod doctor;
#[cfg(feature = "lookup")]
pub mod resolve;
#[cfg(feature = "lookup")]
pub mod run_image;
#[cfg(feature = "lookup")]
mod story;
pub mod version;
#[cfg(feature = "lookup")]
mod words;

use std::io::{self, Write};
use std::process::ExitCode;

/// Prints to stdout what a person asked for: a failure when nobody reads it.
#[must_use]
pub fn print(text: &str) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
