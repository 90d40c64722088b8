//! One line to stderr per call, in Tekton's form. Nothing else in the program prints while a step is run.

use std::fmt::Display;
use std::io::Write;

use crate::sys::clock;

/// Says a line: `2026/11/21 05:56:16 Skipping step because a previous step failed`.
pub fn say(message: impl Display) {
    write_line("", &message);
}

/// Says a line with the level `INFO`.
pub fn info(message: impl Display) {
    write_line("INFO ", &message);
}

/// Says a line with the level `WARN`: something was left out or went on differently, and the step goes on.
pub fn warn(message: impl Display) {
    write_line("WARN ", &message);
}

/// Says a line with the level `ERROR`: something failed, and the step goes on as it does with Tekton.
pub fn error(message: impl Display) {
    write_line("ERROR ", &message);
}

/// Prints the help, as it is, to stderr: stdout belongs to the step.
pub fn help(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// One write per line, so that lines of several processes do not mix. A stderr that is gone is nobody's failure.
fn write_line(level: &str, message: &dyn Display) {
    let line = format!("{} {level}{message}\n", clock::now().log_prefix());
    let _ = std::io::stderr().write_all(line.as_bytes());
}
