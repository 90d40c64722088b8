//! A step's life: its wait, its command, its process.

pub mod alive;
pub mod breakpoint;
pub mod command;
pub mod hermetic;
pub mod output;
pub mod predecessor;
pub mod runner;
pub mod start_error;
pub mod substitution;
pub mod supervisor;
pub mod wait;
pub mod when;
