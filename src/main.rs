//! argv and environment in, an exit code out.

use std::process::ExitCode;

use entrypoint::host::{Dirs, Env, Host};

fn main() -> ExitCode {
    let argv: Vec<_> = std::env::args_os().collect();
    let env: Env = std::env::vars_os().collect();
    entrypoint::run::run(&argv, &Host { env, dirs: Dirs::default() })
}
