//! A step's life: its wait, its command, its process.

pub mod command;
pub mod hermetic;
pub mod output;
pub mod runner;
pub mod start_error;
pub mod supervisor;
pub mod wait;
