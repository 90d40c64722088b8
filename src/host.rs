//! What the process takes from outside, as values: environment and well-known directories.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

/// A snapshot of the environment, in its order. Names and values need not be UTF-8.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Env(Vec<(OsString, OsString)>);

impl Env {
    /// The value of a variable, if it is set; the first one when a name stands there twice, as `getenv` has it.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_os_str())
    }

    /// The value of a variable that is set, not empty and UTF-8.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(OsStr::to_str).filter(|value| !value.is_empty())
    }

    /// Changes the value of every variable for which `change`, given name and value, has a new one.
    ///
    /// # Errors
    /// The first of `change`; the variables before it are changed.
    pub fn change<E>(
        &mut self,
        mut change: impl FnMut(&OsStr, &OsStr) -> Result<Option<OsString>, E>,
    ) -> Result<(), E> {
        for (name, value) in &mut self.0 {
            if let Some(new) = change(name, value)? {
                *value = new;
            }
        }
        Ok(())
    }

    /// All variables, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.0.iter().map(|(name, value)| (name.as_os_str(), value.as_os_str()))
    }
}

impl<N: Into<OsString>, V: Into<OsString>> FromIterator<(N, V)> for Env {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Self {
        Self(variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

/// The directories that Tekton's contract names absolutely.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dirs {
    /// Task results, one file each.
    pub results: PathBuf,
    /// Links from step names to their metadata directories.
    pub steps: PathBuf,
    /// One directory per step, by index.
    pub run: PathBuf,
    /// The downward API volume: `ready` and `cancel`.
    pub downward: PathBuf,
    /// Secrets of credentials that the controller mounted, one directory each.
    pub creds_secrets: PathBuf,
    /// Where credentials are written for git and docker.
    pub creds: PathBuf,
    /// Scripts of steps, decoded.
    pub scripts: PathBuf,
    /// The provenance of the Task's artifacts.
    pub artifacts: PathBuf,
}

impl Default for Dirs {
    fn default() -> Self {
        Self {
            results: "/tekton/results".into(),
            steps: "/tekton/steps".into(),
            run: "/tekton/run".into(),
            downward: "/tekton/downward".into(),
            creds_secrets: "/tekton/creds-secrets".into(),
            creds: "/tekton/creds".into(),
            scripts: "/tekton/scripts".into(),
            artifacts: "/tekton/artifacts".into(),
        }
    }
}

/// What the process takes from outside.
#[derive(Debug, Clone, Default)]
pub struct Host {
    /// The environment as it was at the start.
    pub env: Env,
    /// The directories of the contract.
    pub dirs: Dirs,
}
