//! The kernel, wrapped: the only room with `unsafe` code and the only one that calls `waitpid`.

pub mod clock;
