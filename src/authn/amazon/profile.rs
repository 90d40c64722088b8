//! Profiles: `~/.aws/config` and `~/.aws/credentials`, or the files that variables name.
//!
//! The files are read here, bounded, and handed to the SDK as values. What of them leads to an agent or a metadata server
//! is asked as if the pod's variables led there.

use std::error::Error;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use aws_config::profile::{ProfileFileCredentialsProvider, ProfileSet};
use aws_config::provider_config::ProviderConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, future};
use aws_runtime::env_config::file::{EnvConfigFileKind, EnvConfigFiles};
use aws_sdk_sts::operation::assume_role::AssumeRoleError;
use aws_sdk_sts::operation::assume_role_with_web_identity::AssumeRoleWithWebIdentityError;
use aws_smithy_async::rt::sleep::TokioSleep;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use aws_types::os_shim_internal;

use super::Keys;
use super::container::Container;
use super::error::{AmazonError, Service};
use super::instance::Instance;
use super::sdk::{Sdk, Transport, region, retries, sendable};
use super::web_identity::token;
use crate::authn::cloud::{Hung, within};
use crate::authn::file::{self, FileError};
use crate::image::shown;
use crate::secret::Secret;
use crate::sys::cause::chain;

/// The longest text about a profile that is told, in characters.
const TEXT: usize = 300;
/// How many profiles are followed from one to its source.
const DEEPEST: usize = 10;

/// A profile, and where it may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Profile {
    /// `AWS_PROFILE`, or `default`.
    pub(super) name: String,
    /// Whether a variable asks for it: then its absence is a failure.
    pub(super) is_named: bool,
    /// The files.
    pub(super) files: Vec<ProfileFile>,
    /// The keys of the environment, for a profile that leads there.
    pub(super) keys: Option<Keys>,
    /// The agent of the container's credentials, for a profile that leads there.
    pub(super) container: Option<Container>,
    /// The metadata server, for a profile that leads there.
    pub(super) instance: Option<Instance>,
}

/// A file that may have profiles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ProfileFile {
    /// Its path.
    pub(super) path: PathBuf,
    /// Whether it is of the kind in which nothing but keys stand.
    pub(super) is_credentials: bool,
}

impl Profile {
    /// Asks for what the profile leads to; `None` if there is no such profile, and nobody asked for one.
    pub(super) async fn ask(&self, sdk: &Sdk) -> Result<Option<Credentials>, AmazonError> {
        let read = self.read()?;
        if read.iter().all(|(_, content)| content.is_none()) {
            return if self.is_named { Err(self.failed(self.nowhere())) } else { Ok(None) };
        }
        let files = || {
            let files = read.iter().fold(EnvConfigFiles::builder(), |files, (file, content)| {
                let kind = if file.is_credentials { EnvConfigFileKind::Credentials } else { EnvConfigFileKind::Config };
                files.with_contents(kind, content.as_ref().map_or("", Secret::expose))
            });
            files.build()
        };
        // Nothing of the process and no file: everything that is to be parsed is here.
        let (no_file, no_variable) = (os_shim_internal::Fs::from_slice(&[]), os_shim_internal::Env::from_slice(&[]));
        let (name, given) = (self.name.clone().into(), files());
        let parsed = aws_config::profile::load(&no_file, &no_variable, &given, Some(name)).await;
        let profiles = parsed.map_err(|error| self.failed(format!("cannot be read: {}", chain(&error))))?;
        self.check(&profiles)?;
        let transport = sdk.transport("role credentials");
        let region = match (sdk.named_region()?, profiles.get("region")) {
            (Some(named), _) => named,
            (None, Some(own)) => region(own).ok_or_else(|| self.failed("has a region that is none".to_owned()))?,
            (None, None) => sdk.registry_region(),
        };
        let config = ProviderConfig::empty()
            .with_region(Some(region))
            .with_http_client(transport.clone())
            .with_sleep_impl(TokioSleep::new())
            .with_time_source(sdk.clock())
            .with_retry_config(retries());
        let failure = Arc::new(Mutex::new(None));
        let lead = |to: Lead| Named { to, sdk: sdk.clone(), failure: Arc::clone(&failure) };
        let provider = ProfileFileCredentialsProvider::builder()
            .configure(&config)
            .profile_files(files())
            .profile_name(self.name.clone())
            .with_custom_provider("Environment", lead(Lead::Environment(self.keys.clone())))
            .with_custom_provider("EcsContainer", lead(Lead::Container(self.container.clone())))
            .with_custom_provider("Ec2InstanceMetadata", lead(Lead::Instance(self.instance.clone())))
            .build();
        let error = match within(sdk.limits.service, "STS", provider.provide_credentials()).await {
            Ok(Ok(keys)) => return Ok(Some(keys)),
            Ok(Err(error)) => error,
            Err(hung) => {
                let whom = transport.told().host.unwrap_or(hung.whom);
                return Err(AmazonError::Hung { hung: Hung { whom, ..hung }, advice: "" });
            }
        };
        if let Some(failure) = failure.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Err(failure);
        }
        if let CredentialsError::CredentialsNotLoaded(_) = error {
            return if self.is_named { Err(self.failed(self.nowhere())) } else { Ok(None) };
        }
        Err(self.meant(&error, &transport, sdk))
    }

    /// The files with their content.
    fn read(&self) -> Result<Vec<(&ProfileFile, Option<Secret>)>, AmazonError> {
        let read = self.files.iter().map(|file| match file::read(&file.path) {
            Ok(content) => Ok((file, Some(content))),
            Err(FileError::Absent | FileError::NoDirectory) => Ok((file, None)),
            Err(source) => Err(AmazonError::ProfileFile { path: file.path.display().to_string(), source }),
        });
        read.collect()
    }

    /// Whether the profile, and those that it has its credentials from, lead to something that is there.
    fn check(&self, profiles: &ProfileSet) -> Result<(), AmazonError> {
        let mut name = self.name.as_str();
        for _ in 0..DEEPEST {
            let Some(profile) = profiles.get_profile(name) else { break };
            for (property, means) in [
                ("credential_process", "a program to run"),
                ("sso_session", "a sign-in (SSO)"),
                ("sso_start_url", "a sign-in (SSO)"),
                ("login_session", "a sign-in"),
            ] {
                if profile.get(property).is_some() {
                    let of = if name == self.name { String::new() } else { format!(" in its source {name:?}") };
                    return Err(self.failed(format!(
                        "names {means}{of}, in {property}: an entrypoint has none; give the service account a role, by \
                         IRSA or EKS Pod Identity"
                    )));
                }
            }
            if let Some(path) = profile.get("web_identity_token_file") {
                // The SDK would read it, whatever it is.
                token(path)?;
            }
            let [id, session] = ["aws_access_key_id", "aws_session_token"].map(|property| profile.get(property));
            let session = session.map(str::to_owned);
            sendable(Credentials::new(id.unwrap_or(""), "", session, None, "profile"))?;
            match profile.get("source_profile") {
                Some(source) if source != name => name = source,
                Some(_) | None => break,
            }
        }
        Ok(())
    }

    /// What an error of the SDK means.
    fn meant(&self, error: &CredentialsError, transport: &Transport, sdk: &Sdk) -> AmazonError {
        let causes = || {
            std::iter::successors(Some(error as &(dyn Error + 'static)), |error: &&(dyn Error + 'static)| {
                (*error).source()
            })
        };
        let refusal = causes().find_map(|cause| {
            let assumed = cause.downcast_ref::<AssumeRoleError>().map(ProvideErrorMetadata::meta);
            assumed.or_else(|| cause.downcast_ref::<AssumeRoleWithWebIdentityError>().map(ProvideErrorMetadata::meta))
        });
        let (code, message) = (refusal.and_then(|meta| meta.code()), refusal.and_then(|meta| meta.message()));
        AmazonError::told(Service::Sts { role: None }, code, message, transport.told(), sdk.now).unwrap_or_else(|_| {
            // Nobody was asked: it is about the profile itself, and the words of whoever read it are the best.
            let why = causes().last().map(ToString::to_string).unwrap_or_default();
            self.failed(format!("cannot be used: {why}"))
        })
    }

    fn nowhere(&self) -> String {
        let files: Vec<_> = self.files.iter().map(|file| file.path.display().to_string()).collect();
        format!("has no credentials in {}", files.join(" or "))
    }

    fn failed(&self, why: String) -> AmazonError {
        AmazonError::Profile { name: self.name.clone(), why: shown(&why, TEXT) }
    }
}

/// What a profile leads to by `credential_source`.
#[derive(Debug)]
enum Lead {
    Environment(Option<Keys>),
    Container(Option<Container>),
    Instance(Option<Instance>),
}

/// The same for the SDK. The reason of a failure is kept, for the SDK's own errors do not give theirs back.
struct Named {
    to: Lead,
    sdk: Sdk,
    failure: Arc<Mutex<Option<AmazonError>>>,
}

impl fmt::Debug for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to.fmt(f)
    }
}

impl Named {
    async fn keys(&self) -> Result<Credentials, CredentialsError> {
        let asked = match &self.to {
            Lead::Environment(Some(keys)) => Ok(keys.credentials()),
            Lead::Container(Some(container)) => container.keys(&self.sdk).await,
            Lead::Instance(Some(instance)) => instance.keys(&self.sdk).await.map(|(keys, _)| keys),
            Lead::Environment(None) => Err(left_out(
                "AWS_ACCESS_KEY_ID",
                "is not set, and the profile has its credentials from the environment",
            )),
            Lead::Container(None) => Err(left_out(
                "AWS_CONTAINER_CREDENTIALS_FULL_URI",
                "is not set, and the profile has its credentials from the agent that it names",
            )),
            Lead::Instance(None) => Err(left_out(
                "AWS_EC2_METADATA_DISABLED",
                "is true, and the profile has its credentials from the metadata server",
            )),
        };
        asked.and_then(sendable).map_err(|error| {
            *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            CredentialsError::provider_error("told elsewhere")
        })
    }
}

fn left_out(variable: &'static str, why: &'static str) -> AmazonError {
    AmazonError::Variable { variable, why }
}

impl ProvideCredentials for Named {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.keys())
    }
}
