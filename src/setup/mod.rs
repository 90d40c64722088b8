//! What a pod needs before its steps run: placing the binary, step directories, decoding scripts for init containers, and
//! for each step the credentials of git and docker.

mod base64;
mod call;
pub mod credentials;
mod decode_script;
mod init;
mod place;
mod step_init;

pub use self::base64::Corrupt;
pub use self::call::CallError;
pub use self::decode_script::{ContentError, ScriptError};
pub use self::place::PlaceError;
pub use self::step_init::StepInitError;

use crate::host::Dirs;
use crate::spec::SetupCommand;

/// A subcommand that failed. The log says its name, `error: ` and the chain of causes, as Tekton's does.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The program could not be placed.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// The steps' links could not be made.
    #[error(transparent)]
    StepInit(#[from] StepInitError),
    /// The script could not be decoded.
    #[error(transparent)]
    DecodeScript(#[from] ScriptError),
}

/// Does what a subcommand asks for, and returns the line that says so.
///
/// # Errors
///
/// The first thing that failed. What was done before it stays: running the same command again completes it.
pub fn run(command: &SetupCommand, dirs: &Dirs) -> Result<String, SetupError> {
    match command {
        SetupCommand::Init { source, destination, steps } => {
            init::init(source, destination, steps, dirs)?;
            Ok("Entrypoint initialization".to_owned())
        }
        SetupCommand::Copy { source, destination } => {
            place::place(source, destination)?;
            Ok(format!("Copied {} to {}", source.display(), destination.display()))
        }
        SetupCommand::DecodeScript { file } => {
            decode_script::decode_script(file)?;
            Ok(format!("Decoded script {}", file.display()))
        }
        SetupCommand::StepInit { steps } => {
            step_init::step_init(&dirs.steps, &dirs.run, steps)?;
            Ok("Setup /step directories".to_owned())
        }
    }
}
