//! A credential helper as a process: found in `PATH`, asked once, bounded in time and in what it may say.

use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Child;
use zeroize::Zeroizing;

use crate::host::Env;
use crate::secret::Secret;
use crate::sys::leash::{self, Leash};

/// The longest answer that is read, in bytes.
const ANSWER_LIMIT: usize = 64 * 1024;

/// What a helper prints when it has nothing. It exits with an error then, which is none.
/// <https://github.com/docker/docker-credential-helpers/blob/master/credentials/error.go>
const NOTHING: &str = "credentials not found in native keychain";

/// Why a helper gave no answer. What it printed is not repeated: it may be a secret.
#[derive(Debug, Error)]
pub(crate) enum ProcessError {
    #[error("{program} was not found: {}", searched(.path.as_deref()))]
    NotFound { program: String, path: Option<String> },
    #[error("{} cannot be started", .0.display())]
    Start(PathBuf, #[source] io::Error),
    #[error("{program} cannot be heard")]
    Pipe { program: String, source: io::Error },
    #[error("{program} gave no answer within {limit:?} and was killed")]
    TimedOut { program: String, limit: Duration },
    #[error("{program} answered with more than {ANSWER_LIMIT} bytes and was killed")]
    TooLong { program: String },
    #[error("{program} {}; to read why, run `echo {server} | {program} get` in the step's image", ended(*.status))]
    Failed { program: String, server: String, status: ExitStatus },
    #[error("{0} answered with something else than UTF-8")]
    NotUtf8(String),
}

fn searched(path: Option<&str>) -> String {
    path.map_or_else(|| "PATH is not set".to_owned(), |path| format!("PATH is {path:?}"))
}

fn ended(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("failed with exit code {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => "failed".to_owned(),
    }
}

/// Asks a helper for a server's credential; `None` when it has none. It runs in a process group of its own, with the
/// pod's environment, and is killed with its group when its time is up, when it says too much, or when nobody waits for
/// it any more.
pub(super) async fn get(
    program: &str,
    server: &str,
    env: &Env,
    limit: Duration,
) -> Result<Option<Secret>, ProcessError> {
    let path = find(program, env)?;
    let mut command = Command::new(&path);
    command.arg("get").env_clear().envs(env.iter());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    leash::put_on(&mut command);
    let mut child = tokio::process::Command::from(command).spawn().map_err(|error| ProcessError::Start(path, error))?;
    let leash = child.id().map(Leash::of);
    let program = program.to_owned();
    let (answer, status) = match tokio::time::timeout(limit, exchange(&mut child, server)).await {
        Err(_) => return Err(ProcessError::TimedOut { program, limit }),
        Ok(Err(source)) => return Err(ProcessError::Pipe { program, source }),
        Ok(Ok(None)) => return Err(ProcessError::TooLong { program }),
        Ok(Ok(Some(ended))) => ended,
    };
    if let Some(leash) = leash {
        leash.release();
    }
    let answer = std::str::from_utf8(&answer).map(str::trim);
    match answer {
        Ok(NOTHING) => Ok(None),
        Ok(_) | Err(_) if !status.success() => Err(ProcessError::Failed { program, server: server.to_owned(), status }),
        Ok(text) => Ok(Some(Secret::new(text.to_owned()))),
        Err(_) => Err(ProcessError::NotUtf8(program)),
    }
}

/// Says the server, reads the answer, waits for the end. `None` when the answer is too long.
async fn exchange(child: &mut Child, server: &str) -> io::Result<Option<(Zeroizing<Vec<u8>>, ExitStatus)>> {
    if let Some(mut stdin) = child.stdin.take() {
        // A helper that does not listen may still answer.
        let _ = stdin.write_all(format!("{server}\n").as_bytes()).await;
    }
    // Room for all of it: a vector that grows leaves copies behind that nobody wipes.
    let mut answer = Zeroizing::new(Vec::with_capacity(ANSWER_LIMIT + 1));
    if let Some(stdout) = child.stdout.take() {
        let room = u64::try_from(ANSWER_LIMIT + 1).unwrap_or(u64::MAX);
        stdout.take(room).read_to_end(&mut answer).await?;
    }
    if answer.len() > ANSWER_LIMIT {
        return Ok(None);
    }
    Ok(Some((answer, child.wait().await?)))
}

/// Go's search of `PATH`, but only in its absolute directories: what lies in the working directory is the user's.
fn find(program: &str, env: &Env) -> Result<PathBuf, ProcessError> {
    let path = env.get("PATH");
    let executable = |file: &PathBuf| {
        file.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
    };
    let directories = path.into_iter().flat_map(std::env::split_paths).filter(|directory| directory.is_absolute());
    directories.map(|directory| directory.join(program)).find(executable).ok_or_else(|| ProcessError::NotFound {
        program: program.to_owned(),
        path: path.map(OsStr::to_string_lossy).map(Into::into),
    })
}
