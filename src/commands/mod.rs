//! The commands for people.

pub mod version;
