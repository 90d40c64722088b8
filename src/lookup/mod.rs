//! The lookup: what an image would run, asked of its registry by a child process.
