//! `.docker/config.json`: what the mounted secrets have for registries, merged into one file.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::super::call::CallError;
use super::docker_config::{Document, DocumentError, Entry, Form};
use super::docker_merge::merge;
use super::files::{self, FileError};
use super::mounted::{self, Login};
use crate::go_path;
use crate::host::Dirs;
use crate::log;
use crate::quote::OneLine;
use crate::spec::CredentialsSpec;
use crate::sys::directory;

/// What is asked for: secrets whose configs are read when they are written, and logins that are read already.
#[derive(Default)]
pub(super) struct Docker {
    cfgs: Vec<String>,
    configs: Vec<String>,
    logins: Vec<(String, Login)>,
}

/// Why there is no config for docker.
#[derive(Debug, thiserror::Error)]
pub(super) enum DockerError {
    #[error(transparent)]
    Secret(#[from] FileError),
    #[error("{path}")]
    Document {
        path: OneLine,
        #[source]
        cause: DocumentError,
    },
    #[error(transparent)]
    Call(#[from] CallError),
}

impl Docker {
    /// Those of the flags, without the logins.
    pub(super) fn new(spec: &CredentialsSpec) -> Self {
        Self { cfgs: spec.docker_cfg.clone(), configs: spec.docker_config.clone(), logins: Vec::new() }
    }

    /// Whether there is a login for this registry already.
    pub(super) fn has(&self, url: &str) -> bool {
        self.logins.iter().any(|(known, _)| known == url)
    }

    /// Adds a login of `-basic-docker`.
    pub(super) fn add(&mut self, url: &str, login: Login) {
        self.logins.push((url.to_owned(), login));
    }

    /// Writes the config, unless there is nothing to write. What could not be kept is told.
    pub(super) fn write(&self, dirs: &Dirs) -> Result<(), DockerError> {
        let mut sources = Vec::new();
        for (secrets, form) in [(&self.cfgs, Form::Legacy), (&self.configs, Form::Config)] {
            for secret in secrets {
                sources.push(document_in(dirs, secret, form)?);
            }
        }
        for (url, login) in &self.logins {
            sources.push(("-basic-docker".to_owned(), document_of(url, login)));
        }
        let merged = merge(sources);
        for sentence in merged.left_out {
            log::warn(format_args!("credentials for docker: {}", OneLine(sentence)));
        }
        let Some(json) = merged.config.json() else { return Ok(()) };
        let directory = go_path::join(&dirs.creds, ".docker");
        directory::make_all(&directory, 0o777).map_err(CallError::from)?;
        Ok(files::write(&directory.join("config.json"), json.as_bytes())?)
    }
}

/// The config in a secret, with its path.
fn document_in(dirs: &Dirs, secret: &str, form: Form) -> Result<(String, Document), DockerError> {
    let path = mounted::path(&dirs.creds_secrets, secret, form.key());
    let content = files::read(&path)?;
    let path = OneLine(path.display().to_string());
    match Document::parse(&content, form) {
        Ok(document) => Ok((path.to_string(), document)),
        Err(cause) => Err(DockerError::Document { path, cause }),
    }
}

/// A login as docker would have noted it down itself.
fn document_of(url: &str, login: &Login) -> Document {
    let Login { username, password } = login;
    let auth = STANDARD.encode([username, b":".as_slice(), password].concat()).into_bytes();
    // The address is Tekton's; long ago docker wanted one.
    let values = [username.clone(), password.clone(), auth, b"not@val.id".to_vec(), Vec::new(), Vec::new()];
    let entry = Entry { values, from: 0 };
    let mut document = Document::default();
    document.auths.insert(url.to_owned(), entry);
    document
}
