//! What a step leaves behind: termination message, `exitCode`, post file.

mod file;
pub mod go_json;
pub mod message;
pub mod post;
pub mod results;
pub mod termination;
