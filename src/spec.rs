//! What a step is to do, as typed values: the meaning of the command line, with nothing read and nothing done yet.

use std::ffi::OsString;
use std::fmt;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use crate::cloud::Cloud;

/// Everything one step wrapper was told to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepSpec {
    /// What to wait for before the step's turn.
    pub wait: WaitSpec,
    /// What must answer then, before it runs.
    pub endpoints: EndpointsSpec,
    /// Where the step's end is reported.
    pub report: ReportSpec,
    /// What the step may leave for others, and whether the message carries it.
    pub results: ResultsSpec,
    /// How long the step's process may run.
    pub timeout: Timeout,
    /// How long a step that is stopped, at its timeout or by a cancellation, may take from SIGTERM to SIGKILL. Zero is
    /// SIGKILL at once, as in Tekton.
    pub stop_grace: Duration,
    /// What its end means, and how it is told.
    pub end: EndSpec,
    /// Whether a person is asked before the step runs.
    pub debug_before_step: bool,
    /// The JSON of `-when_expressions`, not read yet: a mistake in it is a failure at exit 1, not of the command line.
    pub when: String,
    /// Files that get a copy of what the step prints.
    pub output: OutputSpec,
    /// Credentials to put where git and docker look for them.
    pub credentials: CredentialsSpec,
    /// Where the program to run comes from.
    pub command: CommandSource,
    /// The step's own arguments: what stood behind `--`, verbatim.
    pub args: Vec<OsString>,
    /// Positional arguments before `--` that mean nothing (Tekton drops them silently; we say so and drop them).
    pub ignored: Vec<OsString>,
}

/// What a step waits for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WaitSpec {
    /// Files to wait for, one after the other. A file's name with `.err` appended means that the wait failed.
    pub files: Vec<PathBuf>,
    /// Whether a file must also be longer than zero bytes.
    pub content: bool,
    /// Whether a file with `.err` appended is as good as the file: where people debug failures, the steps behind one run.
    pub despite_failure: bool,
}

/// What must answer before a step runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointsSpec {
    /// All of them, in the order of the flags; without any nothing is waited for.
    pub endpoints: Vec<Endpoint>,
    /// How long that may take, for all together.
    pub timeout: Duration,
}

impl EndpointsSpec {
    /// The default of `-wait_endpoints_timeout`.
    pub const TIMEOUT: Duration = Duration::from_secs(5 * 60);
    /// How many endpoints one step may wait for.
    pub const LIMIT: usize = 16;
}

impl Default for EndpointsSpec {
    fn default() -> Self {
        Self { endpoints: Vec::new(), timeout: Self::TIMEOUT }
    }
}

/// One thing that must answer. Shown, it is as `-wait_endpoints` has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// Accepts a connection.
    Tcp {
        /// A name or an address, without brackets.
        host: String,
        /// The port.
        port: u16,
    },
    /// Answers a GET with a status of success.
    Http {
        /// Its address, `http://` or `https://`.
        url: String,
    },
    /// The Docker daemon that `DOCKER_HOST` names answers its ping.
    Docker,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "tcp://[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "tcp://{host}:{port}"),
            Self::Http { url } => f.write_str(url),
            Self::Docker => f.write_str("docker"),
        }
    }
}

/// Where the end of a step is reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportSpec {
    /// Created empty when the step is done; with `.err` appended when it failed.
    pub post_file: Option<PathBuf>,
    /// Kubernetes' termination message file.
    pub termination_path: PathBuf,
    /// Holds `exitCode`, `results/` and `artifacts/`. Empty means the current directory, as in Tekton.
    pub metadata_dir: PathBuf,
    /// Whether the message may be compressed: only a controller that asked for it can read that.
    pub compress: bool,
    /// How many containers share the pod's 12 KiB for messages; counted from `/tekton/steps` when absent.
    pub containers: Option<NonZeroU32>,
}

/// What a step may leave for others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResultsSpec {
    /// Names of the task results that are read from `/tekton/results` after the step; empty elements are gone already.
    pub task: Vec<String>,
    /// Names of the step results that are read from `<metadata_dir>/results`; likewise.
    pub step: Vec<String>,
    /// The step result that is to say which image the step was, if there is to be one.
    pub image: Option<String>,
    /// Whether results and artifacts go into the termination message: `-result_from` is `termination-message`, or was
    /// not given. They are read, and a failure to read them counts, in any case; artifacts only when it is so.
    pub in_message: bool,
}

/// What a step's end means, and how it is told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EndSpec {
    /// What a failing step means for the steps after it.
    pub on_error: OnError,
    /// Whether a failed step waits for a person, who decides how it ended.
    pub breakpoint_on_failure: bool,
    /// Whether a death by signal is told as 128 and its number, instead of Tekton's 255 and -1.
    pub signal_exit_code: bool,
}

/// Files that get a copy of what the step prints: appended to, made when missing. Both may be one file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OutputSpec {
    /// `-stdout_path`.
    pub stdout: Option<PathBuf>,
    /// `-stderr_path`.
    pub stderr: Option<PathBuf>,
}

/// Credentials that Tekton's controller mounted below `/tekton/creds-secrets`, by the flags that name them.
/// <https://tekton.dev/docs/pipelines/auth/>
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CredentialsSpec {
    /// `-basic-git`, in the order of the flags.
    pub basic_git: Vec<SecretUrl>,
    /// `-ssh-git`; a URL may have several secrets.
    pub ssh_git: Vec<SecretUrl>,
    /// `-basic-docker`.
    pub basic_docker: Vec<SecretUrl>,
    /// `-docker-config`: secrets with a `.dockerconfigjson`.
    pub docker_config: Vec<String>,
    /// `-docker-cfg`: secrets with a `.dockercfg`.
    pub docker_cfg: Vec<String>,
}

/// A secret, and the place that it is for: `SECRET=URL` on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretUrl {
    /// The secret's name, and that of its directory.
    pub secret: String,
    /// The place, as written.
    pub url: String,
}

/// The time limit of a step's process. The clock starts when the step starts, not while it waits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Timeout {
    /// No limit (`0`).
    #[default]
    Unlimited,
    /// At most this long.
    After(Duration),
    /// A negative duration: parsed as Tekton parses it, and a failure of the step at its turn.
    Negative,
}

/// What a failing step means for the steps after it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnError {
    /// They are skipped: the post file gets `.err`. Any value of `-on_error` other than `continue` means this.
    #[default]
    StopAndFail,
    /// They run: the failure is only recorded.
    Continue,
}

/// Where the program of a step comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandSource {
    /// `-entrypoint`.
    Given(OsString),
    /// The environment variable `TEKTON_PLATFORM_COMMANDS`, filled in by Tekton's controller.
    PlatformTable,
    /// `-image`: what the image's own config says, asked of its registry.
    Image(Box<LookupSpec>),
}

/// How to ask a registry what an image would run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookupSpec {
    /// The image reference as written.
    pub image: String,
    /// Namespace of the service account; the pod's own when absent.
    pub namespace: Option<String>,
    /// Service account whose pull secrets are used; the pod's own when absent.
    pub service_account: Option<String>,
    /// Pull secrets that `-image_pull_secrets` names, in order; they are in the lookup's namespace.
    pub pull_secrets: Vec<String>,
    /// Secrets of registry credentials that are mounted into the pod.
    pub mounted: Vec<MountedSecret>,
    /// Whether credential helpers that a docker or podman config names may be run, at the step's turn.
    pub exec_helpers: bool,
    /// The clouds whose identities may be asked for.
    pub clouds: Vec<Cloud>,
    /// Extra certificate authorities: registry (`host[:port]`) and the path of a PEM file.
    pub certificates: Vec<(String, PathBuf)>,
    /// Registries (`host[:port]`) that may be spoken to over plain http.
    pub insecure: Vec<String>,
    /// Registries and token services (`host[:port]`) that are believed whatever certificate they show.
    pub unverified: Vec<String>,
    /// Where images of a registry are asked for instead of there, in order.
    pub registry_map: Vec<MapRule>,
    /// Where Docker Hub's images are asked for first, in order.
    pub mirrors: Vec<MapTarget>,
    /// Whether a registry that is mapped, or has mirrors, is itself left alone.
    pub map_only: bool,
    /// Files and directories with what a node knows about registries: `hosts.toml` trees and `registries.conf`.
    pub registry_configs: Vec<PathBuf>,
    /// Certificates to show: registry (`host[:port]`), the PEM files of the certificate and of its key.
    pub client_certificates: Vec<(String, PathBuf, PathBuf)>,
    /// Who is asked for the image, in order.
    pub sources: Vec<ImageSource>,
    /// Whose word decides which image of that name it is.
    pub pin: ImagePin,
    /// The name of the step's container in its pod, where the command line has it.
    pub container: Option<String>,
    /// Where kubelet may have mounted the file of the container's termination message: that mount has the container's name.
    pub termination_paths: Vec<PathBuf>,
    /// A directory with verified documents of images that others have looked up.
    pub cache_dir: Option<PathBuf>,
    /// The platform whose image is meant, `os/architecture[/variant]`; this machine's when absent.
    pub platform: Option<String>,
    /// Bounds one attempt.
    pub timeout: Duration,
    /// Directory of the service account's `token`, `ca.crt` and `namespace`.
    pub service_account_dir: PathBuf,
}

impl LookupSpec {
    /// Where Kubernetes mounts a pod's service account.
    /// <https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/>
    pub const SERVICE_ACCOUNT_DIR: &'static str = "/var/run/secrets/kubernetes.io/serviceaccount";
    /// The default of `-image_lookup_timeout`.
    pub const TIMEOUT: Duration = Duration::from_secs(30);
    /// Where Kubernetes mounts the file of a container's termination message, unless its pod says otherwise.
    /// <https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/>
    pub const TERMINATION_LOG: &'static str = "/dev/termination-log";
}

/// What `doctor` looks at: the settings of a lookup, with an image or without.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DoctorSpec(LookupSpec);

impl DoctorSpec {
    /// Takes the settings; an image without a letter is none.
    #[must_use]
    pub fn new(settings: LookupSpec) -> Self {
        Self(settings)
    }

    /// The lookup, if an image is named.
    #[must_use]
    pub fn image(&self) -> Option<&LookupSpec> {
        (!self.0.image.is_empty()).then_some(&self.0)
    }

    /// What goes for any image.
    #[must_use]
    pub fn settings(&self) -> &LookupSpec {
        &self.0
    }
}

/// Whose word decides which image a reference means: that of the container runtime, through the status of the step's own
/// pod, or that of the registry.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ImagePin {
    /// The runtime's where the pod may be read and its status is there in time, else the registry's.
    #[default]
    Offered,
    /// Likewise, and where it is not the runtime's, that is worth a warning: it was asked for.
    PodStatus,
    /// The runtime's alone. Without it the step does not run.
    Strict,
    /// The registry's. The pod's status is not asked for.
    Registry,
}

/// Who may know what an image runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageSource {
    /// The image's registry.
    Registry,
    /// The Docker daemon that `DOCKER_HOST` names.
    Docker,
}

/// One rule of `-image_registry_map`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MapRule {
    /// The registry that images name, `host[:port]`; `docker.io` is `index.docker.io`.
    pub registry: String,
    /// The beginning of their repositories, whole segments without slashes at the ends; empty for all.
    pub prefix: String,
    /// Where they are asked for instead.
    pub target: MapTarget,
}

/// A place that is asked instead of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MapTarget {
    /// Whether it is spoken to over https (`Some(true)`) or plain http (`Some(false)`), if that is written.
    pub https: Option<bool>,
    /// The registry, `host[:port]`.
    pub registry: String,
    /// What stands there before the repository, in the place of a rule's own prefix; without slashes at the ends, may be
    /// empty.
    pub prefix: String,
}

/// A secret of registry credentials that Tekton's controller mounted into the pod, under its name.
/// <https://tekton.dev/docs/pipelines/auth/#configuring-authentication-for-docker>
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountedSecret {
    /// `-docker-config NAME`: its file `.dockerconfigjson` has an object with `auths`.
    Config {
        /// The secret.
        secret: String,
    },
    /// `-docker-cfg NAME`: its file `.dockercfg` has the map of `auths` itself.
    Legacy {
        /// The secret.
        secret: String,
    },
    /// `-basic-docker NAME=URL`: its files `username` and `password` are for one registry.
    Basic {
        /// The secret.
        secret: String,
        /// The registry, as a key of a docker config is written.
        url: String,
    },
}

/// How `resolve` and `doctor` tell what they found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object.
    Json,
}

/// What an init container asks for: setting up a pod's shared directories.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SetupCommand {
    /// `init`: [`SetupCommand::Copy`], then [`SetupCommand::StepInit`].
    Init {
        /// The program to copy.
        source: PathBuf,
        /// The name of the copy.
        destination: PathBuf,
        /// Names of the steps, in order.
        steps: Vec<OsString>,
    },
    /// `cp`: places a program where the steps find it.
    Copy {
        /// The program to copy.
        source: PathBuf,
        /// The name of the copy.
        destination: PathBuf,
    },
    /// `decode-script`: turns a script file from base64 into what it says.
    DecodeScript {
        /// The file, changed in place.
        file: PathBuf,
    },
    /// `step-init`: links from steps' names and indices to their metadata directories.
    StepInit {
        /// Names of the steps, in order.
        steps: Vec<OsString>,
    },
}

impl SetupCommand {
    /// The word on the command line.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Init { .. } => "init",
            Self::Copy { .. } => "cp",
            Self::DecodeScript { .. } => "decode-script",
            Self::StepInit { .. } => "step-init",
        }
    }
}
