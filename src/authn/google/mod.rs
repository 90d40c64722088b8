//! Google's identities: a credential file that the environment names or that gcloud wrote, then the metadata server.
//!
//! Asked for by our own code (docs/adr/0039-googles-tokens-by-our-own-code.md). Whatever the identity, what a registry is
//! shown is an access token behind the user name `oauth2accesstoken`.
//! <https://cloud.google.com/docs/authentication/application-default-credentials>,
//! <https://cloud.google.com/artifact-registry/docs/docker/authentication#token>

mod clock;
mod document;
mod endpoint;
mod error;
mod exchange;
mod fields;
mod key;
mod metadata;
mod refusal;
mod service;
mod subject;

use std::ffi::OsStr;
use std::fmt;
use std::path::PathBuf;

use self::document::Document;
pub(super) use self::error::GoogleError;
use self::error::cannot_be_read;
use self::metadata::MetadataServer;
use self::service::Token;
use super::cloud::Context;
use super::file::{self, FileError};
use crate::credential::{Credential, Proof};
use crate::host::Env;

/// The user name that Google's registries know an access token by.
const USER: &str = "oauth2accesstoken";
/// What a token is asked for: reading a registry is a part of it, and the roles of the identity are what limits it.
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
/// The variable that names a credential file.
const VARIABLE: &str = "GOOGLE_APPLICATION_CREDENTIALS";
/// The name under which gcloud writes such a file.
const WELL_KNOWN: &str = "application_default_credentials.json";
/// A token that is shorter-lived is told of: the registry may find it expired.
const SOON: u64 = 10;

/// An identity that a pod may have.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// A credential file.
    File {
        /// The file.
        path: PathBuf,
        /// Why it is looked for.
        place: Place,
    },
    /// The metadata server: the node's identity, or by GKE's Workload Identity the pod's.
    Metadata(MetadataServer),
}

/// Why a file is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The environment names it.
    Variable,
    /// It is where gcloud would have written one; mostly it has not.
    WellKnown,
}

/// The identities to ask for, in order.
pub(super) fn sources(env: &Env) -> Vec<Source> {
    let path = |name| env.get(name).filter(|value: &&OsStr| !value.is_empty()).map(PathBuf::from);
    let named = path(VARIABLE);
    let directory = path("CLOUDSDK_CONFIG").or_else(|| Some(path("HOME")?.join(".config/gcloud")));
    let well_known = directory.map(|directory| directory.join(WELL_KNOWN)).filter(|path| named.as_ref() != Some(path));
    let file = |place| move |path| Source::File { path, place };
    let files = named.map(file(Place::Variable)).into_iter().chain(well_known.map(file(Place::WellKnown)));
    files.chain([Source::Metadata(MetadataServer::of(env))]).collect()
}

impl Source {
    /// Asks for the credentials.
    pub(super) async fn credentials(&self, context: &Context<'_>) -> Result<Vec<Credential>, GoogleError> {
        match self {
            Self::File { path, place } => {
                let text = match file::read(path) {
                    Ok(text) => text,
                    Err(FileError::Absent | FileError::NoDirectory) if *place == Place::WellKnown => {
                        return Ok(Vec::new());
                    }
                    Err(error) => return Err(GoogleError::File(cannot_be_read(path, &error))),
                };
                let document = Document::parse(text.expose())?;
                let token = exchange::token(&document, context).await?;
                Ok(vec![credential(token, format!("{} of {}", document.identity(), path.display()))])
            }
            Self::Metadata(server) => {
                let (token, email) = server.token(context).await?;
                let identity =
                    email.map_or_else(|| "Google identity".to_owned(), |email| format!("Google identity {email}"));
                Ok(vec![credential(token, format!("{identity} from the {server}"))])
            }
        }
    }
}

fn credential(token: Token, mut source: String) -> Credential {
    // GKE's metadata server gives out what it has, however old. Whether it still counts is for the registry to say.
    if let Some(left) = token.expires_in.filter(|left| *left < SOON) {
        source.push_str(&format!(" (its token expires in {left} s)"));
    }
    Credential { proof: Proof::Basic { username: USER.to_owned(), password: token.secret }, source }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, place: Place::Variable } => {
                write!(f, "Google credential file {} of {VARIABLE}", path.display())
            }
            Self::File { path, place: Place::WellKnown } => write!(f, "Google credential file {}", path.display()),
            Self::Metadata(server) => write!(f, "Google {server}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    fn told(env: &[(&str, &str)]) -> Vec<String> {
        let env: Env = env.iter().copied().collect();
        sources(&env).iter().map(Source::to_string).collect()
    }

    #[test]
    fn the_file_that_is_named_comes_before_gclouds_and_the_metadata_server_last() {
        let metadata = "Google metadata server 169.254.169.254".to_owned();
        let named = |path: &str| format!("Google credential file {path} of GOOGLE_APPLICATION_CREDENTIALS");
        let well_known = |dir: &str| format!("Google credential file {dir}/application_default_credentials.json");
        let table = [
            (&[][..], vec![]),
            (&[("HOME", "/home/ci")][..], vec![well_known("/home/ci/.config/gcloud")]),
            (&[("HOME", "")][..], vec![]),
            (&[("HOME", "/home/ci"), ("CLOUDSDK_CONFIG", "/sdk")][..], vec![well_known("/sdk")]),
            (&[("HOME", "/home/ci"), ("CLOUDSDK_CONFIG", "")][..], vec![well_known("/home/ci/.config/gcloud")]),
            (&[("GOOGLE_APPLICATION_CREDENTIALS", "")][..], vec![]),
            (&[("GOOGLE_APPLICATION_CREDENTIALS", "/key.json")][..], vec![named("/key.json")]),
            (
                &[("GOOGLE_APPLICATION_CREDENTIALS", "/key.json"), ("HOME", "/home/ci")][..],
                vec![named("/key.json"), well_known("/home/ci/.config/gcloud")],
            ),
            (
                &[
                    ("GOOGLE_APPLICATION_CREDENTIALS", "/sdk/application_default_credentials.json"),
                    ("CLOUDSDK_CONFIG", "/sdk"),
                ][..],
                vec![named("/sdk/application_default_credentials.json")],
            ),
        ];
        for (env, files) in table {
            assert_eq!(told(env), [files, vec![metadata.clone()]].concat(), "{env:?}");
        }
        assert_eq!(told(&[("GCE_METADATA_HOST", "127.0.0.1:8080")]), ["Google metadata server 127.0.0.1:8080"]);
    }

    #[test]
    fn a_token_that_is_about_to_expire_is_used_and_told_of() {
        for (expires_in, expected) in [
            (None, "Google identity"),
            (Some(3599), "Google identity"),
            (Some(10), "Google identity"),
            (Some(9), "Google identity (its token expires in 9 s)"),
            (Some(0), "Google identity (its token expires in 0 s)"),
        ] {
            let token = Token { secret: Secret::new("t".to_owned()), expires_in };
            assert_eq!(credential(token, "Google identity".to_owned()).source, expected);
        }
    }
}
