//! The commands for people and pod templates.

pub mod run_image;
pub mod version;
