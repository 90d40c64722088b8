//! The typed values of the flags, to a step: what they mean together.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ArgMatches;

use super::flags::{DEFAULT_TERMINATION_PATH, POST_FILE, TERMINATION_PATH};
use crate::cloud::Cloud;
use crate::spec::{
    CommandSource, CredentialsSpec, EndSpec, Endpoint, EndpointsSpec, ImagePin, ImageSource, LookupSpec, MapRule,
    MapTarget, MountedSecret, OutputSpec, ReportSpec, ResultsSpec, SecretUrl, StepSpec, WaitSpec,
};

/// Flags that are right one by one, and wrong together or in this build.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum StepFault {
    #[error(
        "-entrypoint and -image exclude each other: -entrypoint names the program to run, -image asks a registry for it; \
         give one of them"
    )]
    TwoCommands,
    #[error(
        "asking a registry needs a build with the feature \"lookup\", and this one is without: give the program with \
         -entrypoint, or use a build that can ask registries"
    )]
    NoLookup,
    #[error(
        "-wait_endpoints needs a build with the feature \"lookup\", and this one is without: leave the flag away, or use a \
         build that can ask a network"
    )]
    NoEndpoints,
    #[error(
        "-wait_endpoints names {0} endpoints, and a step waits for {limit} at most: let one of them stand for several",
        limit = EndpointsSpec::LIMIT
    )]
    TooManyEndpoints(usize),
    #[error(
        "-image_pin=registry and -image_pin_strict exclude each other: strict is to run nothing but what the pod's status \
         names; give one of them"
    )]
    StrictRegistry,
    #[error(
        "-image_report_result tells of an image that is looked up, and none is: give -image, or leave the flag away"
    )]
    NoImageToReport,
    #[error(
        "-enable_spire asks for results that are signed by SPIRE, which this entrypoint cannot do, so nothing was run: \
         leave enforce-nonfalsifiability off, or use Tekton's own entrypoint"
    )]
    Signed,
}

/// What this build can do.
#[derive(Debug, Clone, Copy)]
pub(super) struct Built {
    /// Whether registries can be asked.
    pub(super) lookup: bool,
}

/// The step that the flags describe. Without a program and without an image its command is the platform table's.
pub(super) fn step(
    mut flags: ArgMatches,
    built: Built,
    ignored: &[OsString],
    args: &[OsString],
) -> Result<StepSpec, StepFault> {
    if flags.remove_one("enable_spire").unwrap_or_default() {
        return Err(StepFault::Signed);
    }
    let credentials = credentials(&mut flags);
    let breakpoint_on_failure = flags.remove_one("breakpoint_on_failure").unwrap_or_default();
    let termination_path: PathBuf = flags.remove_one(TERMINATION_PATH).unwrap_or_default();
    let command = command(&mut flags, built, &credentials, &termination_path)?;
    // Not even defined where nothing of a lookup was given.
    let image_result = flags.try_remove_one::<Option<String>>("image_report_result").ok().flatten().flatten();
    if image_result.is_some() && !matches!(command, CommandSource::Image(_)) {
        return Err(StepFault::NoImageToReport);
    }
    Ok(StepSpec {
        wait: WaitSpec {
            files: flags.remove_one("wait_file").unwrap_or_default(),
            content: flags.remove_one("wait_file_content").unwrap_or_default(),
            despite_failure: breakpoint_on_failure,
        },
        endpoints: endpoints(&mut flags, built)?,
        report: ReportSpec {
            post_file: flags.remove_one(POST_FILE).and_then(not_empty),
            termination_path,
            metadata_dir: flags.remove_one("step_metadata_dir").unwrap_or_default(),
            compress: flags.remove_one("compress_termination_message").unwrap_or_default(),
            containers: flags.remove_one("termination_containers"),
        },
        results: ResultsSpec {
            task: flags.remove_one("results").unwrap_or_default(),
            step: flags.remove_one("step_results").unwrap_or_default(),
            image: image_result,
            in_message: flags.remove_one("result_from").unwrap_or_default(),
        },
        timeout: flags.remove_one("timeout").unwrap_or_default(),
        stop_grace: flags.remove_one("stop_grace").unwrap_or_default(),
        end: EndSpec {
            on_error: flags.remove_one("on_error").unwrap_or_default(),
            breakpoint_on_failure,
            signal_exit_code: flags.remove_one("signal_exit_code").unwrap_or_default(),
        },
        debug_before_step: flags.remove_one("debug_before_step").unwrap_or_default(),
        when: flags.remove_one("when_expressions").unwrap_or_default(),
        output: OutputSpec {
            stdout: flags.remove_one("stdout_path").and_then(not_empty),
            stderr: flags.remove_one("stderr_path").and_then(not_empty),
        },
        command,
        credentials,
        args: args.to_vec(),
        ignored: ignored.to_vec(),
    })
}

/// What must answer before the step runs.
fn endpoints(flags: &mut ArgMatches, built: Built) -> Result<EndpointsSpec, StepFault> {
    let endpoints: Vec<Endpoint> =
        flags.remove_many::<Vec<Endpoint>>("wait_endpoints").map(|all| all.flatten().collect()).unwrap_or_default();
    if !endpoints.is_empty() && !built.lookup {
        return Err(StepFault::NoEndpoints);
    }
    if endpoints.len() > EndpointsSpec::LIMIT {
        return Err(StepFault::TooManyEndpoints(endpoints.len()));
    }
    let timeout = flags.remove_one("wait_endpoints_timeout").unwrap_or(EndpointsSpec::TIMEOUT);
    Ok(EndpointsSpec { endpoints, timeout })
}

/// The credentials, each kind in the order of its flags.
fn credentials(flags: &mut ArgMatches) -> CredentialsSpec {
    fn all<T: Clone + Send + Sync + 'static>(flags: &mut ArgMatches, flag: &str) -> Vec<T> {
        flags.remove_many(flag).map(Iterator::collect).unwrap_or_default()
    }
    CredentialsSpec {
        basic_git: all(flags, "basic-git"),
        ssh_git: all(flags, "ssh-git"),
        basic_docker: all(flags, "basic-docker"),
        docker_config: all(flags, "docker-config"),
        docker_cfg: all(flags, "docker-cfg"),
    }
}

/// The secrets among them that hold registry credentials.
fn mounted(credentials: &CredentialsSpec) -> Vec<MountedSecret> {
    let config = credentials.docker_config.iter().map(|secret| MountedSecret::Config { secret: secret.clone() });
    let legacy = credentials.docker_cfg.iter().map(|secret| MountedSecret::Legacy { secret: secret.clone() });
    let basic = credentials.basic_docker.iter().cloned();
    let basic = basic.map(|SecretUrl { secret, url }| MountedSecret::Basic { secret, url });
    config.chain(legacy).chain(basic).collect()
}

fn command(
    flags: &mut ArgMatches,
    built: Built,
    credentials: &CredentialsSpec,
    termination_path: &Path,
) -> Result<CommandSource, StepFault> {
    let program = flags.remove_one::<OsString>("entrypoint").filter(|program| !program.is_empty());
    let image = flags.remove_one::<Option<String>>("image").flatten();
    match (program, image) {
        (Some(_), Some(_)) => Err(StepFault::TwoCommands),
        (Some(program), None) => Ok(CommandSource::Given(program)),
        (None, Some(_)) if !built.lookup => Err(StepFault::NoLookup),
        (None, Some(image)) => {
            let lookup = lookup(flags, image, mounted(credentials), termination_path)?;
            Ok(CommandSource::Image(Box::new(lookup)))
        }
        (None, None) => Ok(CommandSource::PlatformTable),
    }
}

/// The lookup of an image without a step.
pub(super) fn lookup_of(mut flags: ArgMatches, image: &OsStr, built: Built) -> Result<LookupSpec, StepFault> {
    if !built.lookup {
        return Err(StepFault::NoLookup);
    }
    // What is no UTF-8 is no reference: the lookup says so, with the rule.
    lookup(&mut flags, image.to_string_lossy().into_owned(), Vec::new(), Path::new(DEFAULT_TERMINATION_PATH))
}

/// Whose word decides which image it is.
fn pin(flags: &mut ArgMatches) -> Result<ImagePin, StepFault> {
    let strict = flags.remove_one("image_pin_strict").unwrap_or_default();
    match (flags.remove_one("image_pin").unwrap_or_default(), strict) {
        (ImagePin::Registry, true) => Err(StepFault::StrictRegistry),
        (_, true) => Ok(ImagePin::Strict),
        (pin, false) => Ok(pin),
    }
}

fn lookup(
    flags: &mut ArgMatches,
    image: String,
    mounted: Vec<MountedSecret>,
    termination_path: &Path,
) -> Result<LookupSpec, StepFault> {
    Ok(LookupSpec {
        image,
        namespace: flags.remove_one::<Option<String>>("taskrun_namespace").flatten(),
        service_account: flags.remove_one::<Option<String>>("taskrun_service_account").flatten(),
        pull_secrets: flags
            .remove_many::<Vec<String>>("image_pull_secrets")
            .map(|all| all.flatten().collect())
            .unwrap_or_default(),
        mounted,
        exec_helpers: flags.remove_one("image_exec_helpers").unwrap_or_default(),
        clouds: match flags.remove_many::<Vec<Cloud>>("image_credential_helpers") {
            Some(named) => named.flatten().collect(),
            None => Cloud::ALL.into_iter().filter(|cloud| cloud.is_built()).collect(),
        },
        certificates: flags
            .remove_many::<Option<(String, PathBuf)>>("image_registry_certificate")
            .map(|all| all.flatten().collect())
            .unwrap_or_default(),
        insecure: flags
            .remove_many::<Vec<String>>("image_insecure_registry")
            .map(|all| all.flatten().collect())
            .unwrap_or_default(),
        unverified: flags
            .remove_many::<Vec<String>>("image_skip_tls_verify_registry")
            .map(|all| all.flatten().collect())
            .unwrap_or_default(),
        registry_map: flags
            .remove_many::<Option<MapRule>>("image_registry_map")
            .map(|all| all.flatten().collect())
            .unwrap_or_default(),
        mirrors: flags
            .remove_many::<Option<MapTarget>>("image_registry_mirror")
            .map(|all| all.flatten().collect())
            .unwrap_or_default(),
        map_only: flags.remove_one("image_registry_map_only").unwrap_or_default(),
        registry_configs: flags
            .remove_many::<PathBuf>("image_registry_config")
            .map(|all| all.filter_map(not_empty).collect())
            .unwrap_or_default(),
        client_certificates: flags
            .remove_many::<Option<(String, PathBuf, PathBuf)>>("image_registry_client_cert")
            .map(|all| all.flatten().collect())
            .unwrap_or_default(),
        sources: flags.remove_one("image_sources").unwrap_or_else(|| vec![ImageSource::Registry]),
        pin: pin(flags)?,
        container: flags.remove_one::<Option<String>>("image_container").flatten(),
        termination_paths: vec![termination_path.to_owned(), LookupSpec::TERMINATION_LOG.into()],
        cache_dir: flags.remove_one("image_cache_dir").and_then(not_empty),
        platform: flags.remove_one::<Option<String>>("image_platform").flatten(),
        timeout: flags.remove_one::<Duration>("image_lookup_timeout").unwrap_or(LookupSpec::TIMEOUT),
        service_account_dir: flags
            .remove_one("service_account_dir")
            .and_then(not_empty)
            .unwrap_or_else(|| LookupSpec::SERVICE_ACCOUNT_DIR.into()),
    })
}

/// The path, unless it is empty: then the flag was not given.
pub(super) fn not_empty(path: PathBuf) -> Option<PathBuf> {
    Some(path).filter(|path| !path.as_os_str().is_empty())
}

#[cfg(test)]
mod tests {
    use super::super::flags;
    use super::super::grammar::Setting;
    use super::*;

    #[test]
    fn paths_of_what_a_node_knows_are_kept_in_order() {
        let setting = |value| Setting { name: "image_registry_config", value: OsStr::new(value) };
        for (values, expected) in [
            (&[][..], &[][..]),
            (&[""], &[]),
            (&["/etc/containerd/certs.d", "", "a,b"], &["/etc/containerd/certs.d", "a,b"]),
        ] {
            let settings: Vec<_> = values.iter().copied().map(setting).collect();
            let flags = flags::matches(flags::lookup_command(), &settings).unwrap();
            let read = lookup_of(flags, OsStr::new("busybox"), Built { lookup: true }).unwrap();
            assert_eq!(read.registry_configs, expected.iter().map(PathBuf::from).collect::<Vec<_>>(), "{values:?}");
        }
    }
}
