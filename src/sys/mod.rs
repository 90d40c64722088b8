//! The kernel, wrapped: the only room with `unsafe` code and the only one that calls `waitpid`.
//!
//! `nix` wraps what it can. It has no words for real-time signals, which a step may be sent and may die of, so the calls
//! that carry a signal's number ([`process::reap`], [`process::signal_group`]) are made directly.

#![expect(unsafe_code, reason = "the only room in which unsafe code is allowed; each block states its reason")]

pub mod beneath;
pub mod cause;
pub mod clock;
pub mod directory;
pub mod file;
pub mod filesystem;
pub mod helper;
pub mod inotify;
pub mod isolation;
pub mod leash;
pub mod lock;
pub mod memory;
pub mod namespaces;
pub mod pipe;
pub mod poll;
pub mod process;
pub mod replace;
pub mod signals;
#[cfg(all(not(test), target_env = "gnu", target_feature = "crt-static"))]
mod stack;
pub mod strangers;
pub mod stream;
#[cfg(all(
    panic = "abort",
    target_env = "gnu",
    target_feature = "crt-static",
    any(target_arch = "aarch64", target_arch = "x86_64")
))]
mod unwind;
