//! Credentials for git and docker: read from the secrets that Tekton's controller mounted, written to one directory, and
//! copied from there to the home directory.
//!
//! <https://tekton.dev/docs/pipelines/auth/>. The files are Tekton's to the byte, but for what its own lose
//! (`docs/adr/0024-credentials-that-keep-everything.md`).
//!
//! The passwords are not wiped from memory: the step finds the same ones in files that are written for it.

mod docker;
mod docker_config;
mod docker_merge;
mod files;
mod git_basic;
mod git_ssh;
mod git_url;
mod home;
mod mounted;

use std::error::Error;
use std::ffi::OsStr;
use std::fmt;

use self::docker::Docker;
pub use self::files::FileError;
use self::git_basic::GitBasic;
use self::git_ssh::GitSsh;
pub use self::git_url::{UrlCause, UrlError};
use super::call::CallError;
use crate::host::Dirs;
use crate::log;
use crate::quote::{OneLine, Quoted};
use crate::spec::{CredentialsSpec, SecretUrl};
use crate::sys::cause::chain;

/// Credentials that are read and not written yet.
pub struct Credentials {
    docker: Docker,
    git_basic: GitBasic,
    git_ssh: GitSsh,
}

/// They are not shown.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(redacted)")
    }
}

/// A flag whose secret cannot be used. With its cause these are the words of Go's flags, as for any mistake in them.
#[derive(Debug, thiserror::Error)]
#[error("invalid value {value} for flag -{flag}")]
pub struct ReadError {
    flag: &'static str,
    value: Quoted,
    /// What is wrong.
    #[source]
    cause: ReadCause,
}

/// Why a secret cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ReadCause {
    /// There is one for this URL already.
    #[error("multiple entries for url: {0}")]
    Twice(OneLine),
    /// A file of the secret cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// What it is for is no URL.
    #[error(transparent)]
    Url(#[from] UrlError),
}

/// Reads the secrets of `-basic-docker`, `-basic-git` and `-ssh-git`. Those of the other flags are read when they are
/// written, as in Tekton: a mistake in them fails no step.
///
/// # Errors
///
/// The first flag whose secret cannot be used: kind by kind in the order above, within a kind in the order of the command
/// line.
pub fn read(spec: &CredentialsSpec, dirs: &Dirs) -> Result<Credentials, ReadError> {
    let mut docker = Docker::new(spec);
    each("basic-docker", &spec.basic_docker, |secret, url| {
        if docker.has(url) {
            return Err(ReadCause::Twice(OneLine(url.to_owned())));
        }
        docker.add(url, mounted::login(&dirs.creds_secrets, secret)?);
        Ok(())
    })?;
    let mut git_basic = GitBasic::default();
    each("basic-git", &spec.basic_git, |secret, url| {
        if git_basic.has(url) {
            return Err(ReadCause::Twice(OneLine(url.to_owned())));
        }
        Ok(git_basic.add(url, mounted::login(&dirs.creds_secrets, secret)?)?)
    })?;
    let mut git_ssh = GitSsh::default();
    each("ssh-git", &spec.ssh_git, |secret, place| {
        if let Some(unread) = git_ssh.read(&dirs.creds_secrets, secret, place)? {
            log::warn(format_args!("credentials for git: known hosts are left out: {}", OneLine(chain(&unread))));
        }
        Ok(())
    })?;
    Ok(Credentials { docker, git_basic, git_ssh })
}

/// Reads the secrets of one flag.
fn each(
    flag: &'static str,
    values: &[SecretUrl],
    mut read: impl FnMut(&str, &str) -> Result<(), ReadCause>,
) -> Result<(), ReadError> {
    values.iter().try_for_each(|SecretUrl { secret, url }| {
        read(secret, url).map_err(|cause| {
            let value = Quoted::new(OsStr::new(&format!("{secret}={url}")));
            ReadError { flag, value, cause }
        })
    })
}

impl Credentials {
    /// Writes them: docker's, then git's. A failure is said, keeps nothing of the other from being written, and is none
    /// of the step's.
    pub fn write(&self, dirs: &Dirs) {
        said(self.docker.write(dirs));
        said(self.write_git(dirs));
    }

    fn write_git(&self, dirs: &Dirs) -> Result<(), CallError> {
        self.git_basic.write(dirs)?;
        self.git_ssh.write(dirs)
    }
}

fn said<E: Error + 'static>(written: Result<(), E>) {
    if let Err(error) = written {
        log::say(format_args!("Error initializing credentials: {}", OneLine(chain(&error))));
    }
}

/// Copies written credentials to the home directory, where git, ssh and docker look for them. Does nothing where there is
/// no directory of credentials; a failure is said, and is none of the step's.
pub fn copy_to_home(dirs: &Dirs, home: Option<&OsStr>) {
    home::copy(dirs, home);
}
