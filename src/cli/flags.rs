//! Every flag, once: name, value, help and default, as a clap command that both parsing and help read.

use std::cell::OnceCell;
use std::error::Error;
use std::ffi::{OsStr, OsString};

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::endpoint;
use super::grammar::{Kind, Setting};
use super::value::{self, ValueCause, ValueFault};
use crate::quote::Quoted;
use crate::spec::LookupSpec;

/// The flag of the post file, which is needed even when the others cannot be read.
pub(super) const POST_FILE: &str = "post_file";
/// The flag of the termination message file, which is needed even when the others cannot be read.
pub(super) const TERMINATION_PATH: &str = "termination_path";
/// The flag that makes a step look up its command.
const IMAGE: &str = "image";
/// Where Tekton's entrypoint asks for a key without a flag.
const SPIRE_AGENT: &str = "unix:///spiffe-workload-api/spire-agent.sock";
/// Where the termination message goes without a flag.
pub(super) const DEFAULT_TERMINATION_PATH: &str = "/tekton/termination";

/// All flags.
pub(super) fn command() -> Command {
    bare()
        .next_help_heading("What the step runs")
        .args(what_runs())
        .next_help_heading("When its turn comes")
        .args(turn())
        .next_help_heading("How its end is reported")
        .args(end())
        .next_help_heading("Credentials for git and docker")
        .args(credentials())
        .next_help_heading("Asking the image's registry (with -image, run-image and resolve)")
        .args(lookup())
        .args(sources())
        .args(places())
        .next_help_heading("Which image it is (with -image, run-image and resolve)")
        .args(which())
}

/// The flags of a lookup without a step.
pub(super) fn lookup_command() -> Command {
    bare().args(lookup()).args(sources()).args(places()).args(which())
}

/// The flags of `resolve`; only its own have a heading.
pub(super) fn resolve_command() -> Command {
    bare()
        .args(lookup())
        .args(sources())
        .args(places())
        .args(which())
        .next_help_heading("How resolve and doctor tell what they found")
        .args(told())
}

/// The flags of `doctor`.
pub(super) fn doctor_command() -> Command {
    lookup_command().args(told().into_iter().filter(|arg| arg.get_id() == "o"))
}

fn bare() -> Command {
    Command::new("entrypoint")
        .no_binary_name(true)
        .disable_help_flag(true)
        .disable_version_flag(true)
        .args_override_self(true)
}

fn what_runs() -> [Arg; 8] {
    [
        valued("entrypoint", "PROGRAM", value::verbatim).help(
            "The program of the step. Without it and without -image, the environment variable TEKTON_PLATFORM_COMMANDS \
             says what to run.\nExample: -entrypoint /bin/sh -- -c 'make all'",
        ),
        valued(IMAGE, "REFERENCE", value::text).help(
            "Run what this image would have run: its ENTRYPOINT, else its CMD, asked of its registry while the step \
             waits. Not together with -entrypoint.\nExample: -image registry.example.com/team/tool:1.2 -- --verbose",
        ),
        valued("timeout", "DURATION", value::timeout).default_value("0").help(
            "How long the step's program may run, counted from its start; 0 is for ever.\nExample: -timeout 1h30m",
        ),
        valued("on_error", "WORD", value::on_error).help(
            "What a failure of the step's program means: 'continue' lets the following steps run, any other word skips \
             them.\nExample: -on_error continue",
        ),
        valued("stop_grace", "DURATION", value::grace).default_value("0").help(
            "How long a step that is stopped, at its timeout or by a cancellation, may take from SIGTERM to SIGKILL; with \
             0 it is killed at once.\nExample: -timeout 10m -stop_grace 20s",
        ),
        valued("stdout_path", "PATH", value::path).help(
            "Append what the step prints on stdout to this file too.\nExample: -stdout_path /tekton/results/output",
        ),
        valued("stderr_path", "PATH", value::path).help(
            "Append what the step prints on stderr to this file too; it may be that of stdout.\n\
             Example: -stderr_path /workspace/log",
        ),
        boolean("breakpoint_on_failure").default_value("false").help(
            "When the step fails, wait for a person in the container, who ends it with POST_FILE.breakpointexit. A value \
             only with '='.\nExample: -post_file /tekton/run/0/out -breakpoint_on_failure",
        ),
    ]
}

fn turn() -> [Arg; 6] {
    [
        valued("wait_file", "PATH,...", value::paths).help(
            "Wait until this file exists; several are waited for one after the other. When PATH.err exists instead, an \
             earlier step has failed and this one is skipped.\nExample: -wait_file /tekton/run/0/out",
        ),
        boolean("wait_file_content").default_value("false").help(
            "Wait until the files also have content. A value only with '='.\n\
                 Example: -wait_file /tekton/downward/ready -wait_file_content",
        ),
        valued("wait_endpoints", "ENDPOINT,...", endpoint::endpoints).action(ArgAction::Append).help(
            "When the step's turn has come, wait until all of these answer: tcp://HOST:PORT accepts a connection, \
             http://HOST[:PORT]/PATH or https:// has a status of success, docker is the daemon that DOCKER_HOST names; at \
             most 16; repeatable.\nExample: -wait_endpoints docker,tcp://db:5432",
        ),
        valued("wait_endpoints_timeout", "DURATION", value::bound).default_value("5m").help(
            "How long that may take, for all of them together; longer than zero. Then the step fails.\n\
             Example: -wait_endpoints docker -wait_endpoints_timeout 10m",
        ),
        valued("when_expressions", "JSON", value::when).help(
            "Run the step only if all of these hold, an array of objects with input, operator (in, notin) and values, or \
             with cel.\nExample: -when_expressions '[{\"input\":\"main\",\"operator\":\"in\",\"values\":[\"main\"]}]'",
        ),
        boolean("debug_before_step").default_value("false").help(
            "Before the step runs, wait for a person in the container, who lets it run with POST_FILE.beforestepexit. A \
             value only with '='.\nExample: -post_file /tekton/run/0/out -debug_before_step",
        ),
    ]
}

fn end() -> [Arg; 12] {
    [
        valued(POST_FILE, "PATH", value::path).help(
            "Create this file when the step is done, or PATH.err when it failed: the next step waits for it.\n\
             Example: -post_file /tekton/run/1/out",
        ),
        valued(TERMINATION_PATH, "PATH", value::path).default_value(DEFAULT_TERMINATION_PATH).help(
            "The container's terminationMessagePath: start time, results and reason of the end go there as JSON.\n\
             Example: -termination_path /tekton/termination",
        ),
        valued("step_metadata_dir", "DIR", value::path).help(
            "Directory of the step's exitCode, results and artifacts; the current directory when empty.\n\
             Example: -step_metadata_dir /tekton/run/1/status",
        ),
        valued("results", "NAME,...", value::results).help(
            "Task results that are read from /tekton/results after the step, and reported.\n\
             Example: -results digest,url",
        ),
        valued("step_results", "NAME,...", value::results).help(
            "Step results that are read from the results directory of -step_metadata_dir after the step, and reported.\n\
             Example: -step_results digest,url",
        ),
        valued("image_report_result", "NAME", value::result).help(
            "With -image: report which image the step was, as this step result too; image.json in the directory of \
             -step_metadata_dir says it in any case.\nExample: -image busybox -image_report_result image",
        ),
        valued("result_from", "WORD", value::result_from).default_value(TERMINATION_MESSAGE).help(
            "Results and artifacts go into the termination message with this word, and stay where they are with any \
             other.\nExample: -result_from sidecar-logs",
        ),
        boolean("compress_termination_message").default_value("false").help(
            "Compress the termination message where that makes it shorter; the controller must be able to read it. A \
             value only with '='.\nExample: -compress_termination_message=true",
        ),
        valued("termination_containers", "NUMBER", value::containers).help(
            "How many containers share the 12 KiB that Kubernetes keeps of a pod's termination messages: a longer share \
             is warned of. Without it, the steps below /tekton/steps and two more.\nExample: -termination_containers 7",
        ),
        boolean("signal_exit_code").default_value("false").help(
            "Tell a step's death by a signal as 128 and its number, with its name, instead of 255. A value only with \
             '='.\nExample: -signal_exit_code",
        ),
        boolean("enable_spire").default_value("false").help(
            "Sign results by SPIRE. This version cannot: a step of which it is asked is refused. A value only with '='.\n\
             Example: -enable_spire=false",
        ),
        valued("spire_socket_path", "ADDRESS", value::verbatim).default_value(SPIRE_AGENT).help(
            "Where SPIRE's agent listens. Without effect, because nothing is signed.\n\
             Example: -spire_socket_path unix:///run/spire/agent.sock",
        ),
    ]
}

/// The word with which results go into the termination message.
pub(super) const TERMINATION_MESSAGE: &str = "termination-message";

fn credentials() -> [Arg; 5] {
    let repeated = |arg: Arg| arg.action(ArgAction::Append);
    [
        repeated(valued("basic-git", "SECRET=URL", value::secret_url)).help(
            "Username and password for a git server, from /tekton/creds-secrets/SECRET; repeatable.\n\
             Example: -basic-git github=https://github.com",
        ),
        repeated(valued("ssh-git", "SECRET=HOST", value::secret_url)).help(
            "A key, and known hosts, for a git server, from /tekton/creds-secrets/SECRET; repeatable.\n\
             Example: -ssh-git deploy=git.example.com:2222",
        ),
        repeated(valued("basic-docker", "SECRET=URL", value::secret_url)).help(
            "Username and password for a registry, from /tekton/creds-secrets/SECRET; repeatable.\n\
             Example: -basic-docker regcred=https://registry.example.com",
        ),
        repeated(valued("docker-config", "SECRET", value::secret)).help(
            "Registry credentials from the .dockerconfigjson of /tekton/creds-secrets/SECRET; repeatable.\n\
             Example: -docker-config regcred",
        ),
        repeated(valued("docker-cfg", "SECRET", value::secret)).help(
            "Registry credentials from the .dockercfg of /tekton/creds-secrets/SECRET; repeatable.\n\
             Example: -docker-cfg oldcred",
        ),
    ]
}

fn lookup() -> [Arg; 13] {
    [
        valued("taskrun_namespace", "NAMESPACE", value::namespace).help(
            "Namespace of the service account whose pull secrets are used; the pod's own when empty.\n\
             Example: -taskrun_namespace team-a",
        ),
        valued("taskrun_service_account", "NAME", value::service_account).help(
            "Service account whose pull secrets are used; the pod's own when empty.\n\
             Example: -taskrun_service_account builder",
        ),
        valued("image_pull_secrets", "NAME,...", value::pull_secrets).action(ArgAction::Append).help(
            "Further pull secrets, of the namespace above; the pod's service account must be allowed to get them; \
             repeatable.\nExample: -image_pull_secrets regcred,mirror",
        ),
        boolean("image_exec_helpers").default_value("false").help(
            "Run the credential helpers that a docker or podman config in the container names \
             (docker-credential-NAME, from PATH): when the step's turn has come, never with TEKTON_HERMETIC=1. A value \
             only with '='.\nExample: -image registry.example.com/tool -image_exec_helpers",
        ),
        valued("image_credential_helpers", "CLOUD,...", value::clouds).action(ArgAction::Append).help(
            "The clouds whose identity of the pod may be used for their own registries: google, ecr, acr; all when the \
             flag is absent, none when it is empty; repeatable.\nExample: -image_credential_helpers ecr",
        ),
        valued("service_account_dir", "DIR", value::path).default_value(LookupSpec::SERVICE_ACCOUNT_DIR).help(
            "Where token, ca.crt and namespace of the pod's service account are mounted.\n\
             Example: -service_account_dir /var/run/secrets/tokens",
        ),
        valued("image_registry_certificate", "REGISTRY=PATH", value::certificate).action(ArgAction::Append).help(
            "Also trust the certificate authorities of this PEM file, for this registry; repeatable.\n\
             Example: -image_registry_certificate registry.example.com:5000=/certs/ca.pem",
        ),
        valued("image_registry_client_cert", "REGISTRY=CERT,KEY", value::client_certificate)
            .action(ArgAction::Append)
            .help(
                "Show this certificate to a registry that asks for one: two PEM files, the certificate with its chain \
                 and its private key; repeatable.\n\
                 Example: -image_registry_client_cert registry.example.com:5000=/certs/client.crt,/certs/client.key",
            ),
        valued("image_insecure_registry", "REGISTRY,...", value::registries).action(ArgAction::Append).help(
            "Registries that may be spoken to over plain http; repeatable.\n\
             Example: -image_insecure_registry registry.local:5000",
        ),
        valued("image_skip_tls_verify_registry", "REGISTRY,...", value::registries).action(ArgAction::Append).help(
            "Registries that are believed without a proof: any certificate will do, and credentials are shown to whoever \
             answers; a token service elsewhere must be named too; repeatable.\n\
             Example: -image_skip_tls_verify_registry registry.local:5000",
        ),
        valued("image_registry_config", "PATH", value::path).action(ArgAction::Append).help(
            "Go by what a node knows about registries: a tree of hosts.toml as containerd has it (certs.d), a \
             registries.conf, or a directory of its additions, mounted into the container; repeatable.\n\
             Example: -image_registry_config /etc/containerd/certs.d",
        ),
        valued("image_platform", "PLATFORM", value::platform).help(
            "The platform whose image is meant, os/architecture or os/architecture/variant; that of this machine when \
             empty.\nExample: -image_platform linux/arm/v7",
        ),
        valued("image_lookup_timeout", "DURATION", value::bound)
            .default_value("30s")
            .help("Bounds one attempt of the lookup; longer than zero.\nExample: -image_lookup_timeout 1m"),
    ]
}

/// Who is asked.
fn sources() -> [Arg; 1] {
    [valued("image_sources", "SOURCE,...", value::sources).default_value("registry").help(
        "Who is asked what the image runs, in this order, until somebody has it: registry, the image's own; docker, the \
         daemon that DOCKER_HOST names (unix:///var/run/docker.sock without it, podman's service too; TLS by \
         DOCKER_TLS_VERIFY and DOCKER_CERT_PATH).\nExample: -image_sources docker,registry",
    )]
}

/// Where an image is asked for besides its own registry.
fn places() -> [Arg; 3] {
    [
        valued("image_registry_map", "REGISTRY[/PATH]=PLACE", value::map_rule).action(ArgAction::Append).help(
            "Ask for the images of this registry, host[:port], at this place first, [http[s]://]host[:port][/path], with \
             the credentials for the place; the place's path replaces the one in front. Several places are asked in \
             their order, those for the longest path first, then the registry itself; repeatable.\n\
             Example: -image_registry_map localhost:30500=http://registry:5000 -image_registry_map ghcr.io=m.example/ghcr",
        ),
        boolean("image_registry_map_only").default_value("false").help(
            "Never ask a registry itself that is mapped or has mirrors. A value only with '='.\n\
             Example: -image_registry_map docker.io=registry.example.com/hub -image_registry_map_only",
        ),
        valued("image_registry_mirror", "PLACE", value::mirror).action(ArgAction::Append).help(
            "Ask for Docker Hub's images at this place first, [http[s]://]host[:port][/path]; repeatable.\n\
             Example: -image_registry_mirror https://mirror.example.com/hub",
        ),
    ]
}

/// Whose word decides which image it is, and what was looked up before.
fn which() -> [Arg; 4] {
    [
        valued("image_pin", "WORD", value::pin).help(
            "Whose word decides which image a tag means: pod-status, what kubelet reports that the step's container runs, or \
             registry. Without the flag pod-status, where the pod's service account may get the pod and the status is there \
             in time, else registry; resolve goes by the registry.\nExample: -image_pin registry",
        ),
        boolean("image_pin_strict").default_value("false").help(
            "Run nothing but the image that kubelet reports: wait for its report, and fail without it. A value only with \
             '='.\nExample: -image registry.example.com/tool:1 -image_pin_strict",
        ),
        valued("image_container", "NAME", value::container).help(
            "The name of the step's container in its pod, where the mount of the termination path does not tell it.\n\
             Example: -image_container step-build",
        ),
        valued("image_cache_dir", "DIR", value::path).help(
            "Share what was looked up with the other steps of the pod: manifests and configs by their digests, verified each \
             time. A directory of a volume that all of them mount; it is made if its parent is there.\n\
             Example: -image_cache_dir /workspace/.images",
        ),
    ]
}

fn told() -> [Arg; 2] {
    [
        valued("o", "FORMAT", value::format).default_value("text").help(
            "Of resolve and doctor only: text for people, or json, which is one object.\n\
             Example: entrypoint resolve busybox -o json",
        ),
        valued("source", "SOURCE", value::source).help(
            "Of resolve only: ask this one, registry or docker, whatever -image_sources says.\n\
             Example: entrypoint resolve busybox -source docker",
        ),
    ]
}

/// A flag with an argument.
fn valued<T: Clone + Send + Sync + 'static>(
    flag: &'static str,
    value_name: &'static str,
    parse: fn(&OsStr) -> Result<T, ValueCause>,
) -> Arg {
    let parser = OsStringValueParser::new().try_map(move |value| {
        parse(&value).map_err(|cause| ValueFault::Value { flag, value: Quoted::new(&value), cause })
    });
    Arg::new(flag).long(flag).value_name(value_name).action(ArgAction::Set).value_parser(parser)
}

/// A flag that takes no argument but behind `=`. For clap it has an optional value; [`kind`] knows it by that.
fn boolean(flag: &'static str) -> Arg {
    let parser = OsStringValueParser::new().try_map(move |value| {
        value::boolean(&value).map_err(|cause| ValueFault::Boolean { flag, value: Quoted::new(&value), cause })
    });
    Arg::new(flag).long(flag).action(ArgAction::Set).num_args(0..=1).require_equals(true).value_parser(parser)
}

/// The definitions of a step's flags, made as far as they are asked for: nothing else takes as long before a step waits.
#[derive(Default)]
pub(super) struct OfStep {
    step: OnceCell<Vec<Arg>>,
    lookup: OnceCell<Vec<Arg>>,
}

impl OfStep {
    /// Whether a flag exists, and how it takes its value.
    pub(super) fn kind(&self, flag: &str) -> Option<Kind> {
        kind_among(self.step.get_or_init(of_step), flag)
            .or_else(|| kind_among(self.lookup.get_or_init(of_lookup), flag))
    }

    /// The settings as typed values. Without an image, and without any flag of the lookup, these are not among them.
    pub(super) fn matches(self, settings: &[Setting<'_>]) -> Result<ArgMatches, Refused> {
        if settings.iter().any(|setting| setting.name == IMAGE) {
            self.lookup.get_or_init(of_lookup);
        }
        let step = self.step.into_inner().unwrap_or_else(of_step);
        matches(bare().args(step).args(self.lookup.into_inner().unwrap_or_default()), settings)
    }
}

fn of_step() -> Vec<Arg> {
    what_runs().into_iter().chain(turn()).chain(end()).chain(credentials()).collect()
}

fn of_lookup() -> Vec<Arg> {
    lookup().into_iter().chain(sources()).chain(places()).chain(which()).collect()
}

/// Whether a flag exists, and how it takes its value.
pub(super) fn kind(command: &Command, flag: &str) -> Option<Kind> {
    kind_among(command.get_arguments(), flag)
}

fn kind_among<'a>(args: impl IntoIterator<Item = &'a Arg>, flag: &str) -> Option<Kind> {
    let arg = args.into_iter().find(|arg| arg.get_long() == Some(flag))?;
    let optional = arg.get_num_args().is_some_and(|range| range.min_values() == 0);
    Some(if optional { Kind::Boolean } else { Kind::Valued })
}

/// Why clap refused the settings.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    #[error(transparent)]
    Value(ValueFault),
    /// The tokenizer lets nothing through that clap does not know: a mistake in the definitions above.
    #[error("the flags cannot be read: {0}")]
    Definition(clap::error::ErrorKind),
}

/// The settings as typed values, the last of each scalar.
pub(super) fn matches(command: Command, settings: &[Setting<'_>]) -> Result<ArgMatches, Refused> {
    let arguments = settings.iter().map(|setting| {
        let mut argument = OsString::from("--");
        argument.push(setting.name);
        argument.push("=");
        argument.push(setting.value);
        argument
    });
    command.try_get_matches_from(arguments).map_err(|error| {
        let fault = error.source().and_then(|source| source.downcast_ref::<ValueFault>());
        fault.cloned().map_or(Refused::Definition(error.kind()), Refused::Value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definitions_are_consistent() {
        command().debug_assert();
        resolve_command().debug_assert();
    }

    #[test]
    fn flags_are_known_with_the_way_they_take_their_value() {
        let command = command();
        assert_eq!(kind(&command, "entrypoint"), Some(Kind::Valued));
        assert_eq!(kind(&command, "wait_file_content"), Some(Kind::Boolean));
        assert_eq!(kind(&command, "image_insecure_registry"), Some(Kind::Valued));
        assert_eq!(kind(&command, "enable_spire"), Some(Kind::Boolean));
        // Nothing is abbreviated, and clap's own flags are not there.
        for flag in ["entry", "help", "h", "version", "V", ""] {
            assert_eq!(kind(&command, flag), None, "{flag}");
        }
    }

    #[test]
    fn a_step_knows_all_flags_and_defines_those_of_the_lookup_where_one_is_given() {
        for arg in command().get_arguments() {
            let name = arg.get_id().as_str();
            assert_eq!(OfStep::default().kind(name), kind(&command(), name), "{name}");
        }
        let set = |name: &'static str| {
            let (defined, value) = (OfStep::default(), OsString::from("true"));
            defined.kind(name);
            defined.matches(&[Setting { name, value: &value }]).unwrap()
        };
        let knows = |name| set(name).try_contains_id("image_lookup_timeout").is_ok();
        assert_eq!(["on_error", "image", "image_pin_strict"].map(knows), [false, true, true]);
    }

    #[test]
    fn every_flag_has_help_with_an_example_of_itself() {
        let (command, resolve) = (command(), resolve_command());
        let told = resolve.get_arguments().filter(|arg| arg.get_help_heading().is_some());
        for arg in command.get_arguments().chain(told) {
            let help = arg.get_help().unwrap().to_string();
            let example = help.split_once("\nExample: ").unwrap().1;
            assert!(example.contains(&format!("-{}", arg.get_id())), "{}", arg.get_id());
            assert!(help.split_whitespace().count() > 5, "{}", arg.get_id());
        }
    }
}
