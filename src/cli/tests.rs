//! The command line as a whole: each rule of Go's grammar and each flag, read from argv to the invocation.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::*;
use crate::cloud::Cloud;
use crate::spec::{
    CredentialsSpec, EndSpec, EndpointsSpec, ImagePin, ImageSource, LookupSpec, OnError, OutputSpec, ReportSpec,
    ResultsSpec, SecretUrl, Timeout, WaitSpec,
};

pub(super) fn argv(args: &[&str]) -> Vec<OsString> {
    std::iter::once("entrypoint").chain(args.iter().copied()).map(OsString::from).collect()
}

pub(super) fn read(args: &[&str]) -> Result<Invocation, UsageError> {
    parse_with(&argv(args), Built { lookup: true })
}

pub(super) fn step(args: &[&str]) -> StepSpec {
    match read(args) {
        Ok(Invocation::Step(step)) => *step,
        other => panic!("{args:?}: {other:?}"),
    }
}

pub(super) fn lookup(args: &[&str]) -> LookupSpec {
    match step(args).command {
        CommandSource::Image(lookup) => *lookup,
        other @ (CommandSource::Given(_) | CommandSource::PlatformTable) => panic!("{args:?}: {other:?}"),
    }
}

pub(super) fn message(args: &[&str]) -> String {
    match read(args) {
        Err(error) => error.to_string(),
        Ok(other) => panic!("{args:?}: {other:?}"),
    }
}

fn secret_url(secret: &str, url: &str) -> SecretUrl {
    SecretUrl { secret: secret.to_owned(), url: url.to_owned() }
}

pub(super) fn os(args: &[&str]) -> Vec<OsString> {
    args.iter().map(OsString::from).collect()
}

#[test]
fn no_flag_at_all_is_a_step_with_the_defaults() {
    let defaults = StepSpec {
        wait: WaitSpec::default(),
        endpoints: EndpointsSpec::default(),
        report: ReportSpec {
            post_file: None,
            termination_path: "/tekton/termination".into(),
            metadata_dir: PathBuf::new(),
            compress: false,
            containers: None,
        },
        results: ResultsSpec { in_message: true, ..ResultsSpec::default() },
        timeout: Timeout::Unlimited,
        stop_grace: Duration::ZERO,
        end: EndSpec::default(),
        debug_before_step: false,
        when: String::new(),
        output: OutputSpec::default(),
        credentials: CredentialsSpec::default(),
        command: CommandSource::PlatformTable,
        args: Vec::new(),
        ignored: Vec::new(),
    };
    assert_eq!(step(&[]), defaults);
    assert_eq!(step(&["--"]), defaults);
    assert_eq!(parse(&[]), Ok(Invocation::Step(Box::new(defaults))));
}

#[test]
fn what_tektons_controller_writes_becomes_the_step_it_means() {
    let read = step(&[
        "-wait_file",
        "/tekton/run/0/out",
        "-post_file",
        "/tekton/run/1/out",
        "-termination_path",
        "/tekton/termination",
        "-step_metadata_dir",
        "/tekton/run/1/status",
        "-basic-git=github=https://github.com",
        "-ssh-git=deploy=git.example.com:2222",
        "-basic-docker=basic=https://registry.example.com",
        "-docker-config=regcred",
        "-docker-config=second",
        "-docker-cfg=old",
        "-result_from",
        "sidecar-logs",
        "-compress_termination_message=true",
        "-on_error",
        "continue",
        "-timeout",
        "1h0m0s",
        "-stdout_path",
        "/tekton/out",
        "-stderr_path",
        "/tekton/err",
        "-step_results",
        "a,b",
        "--when_expressions",
        "[]",
        "-results",
        "digest,url",
        "-breakpoint_on_failure",
        "-debug_before_step",
        "-entrypoint",
        "/bin/sh",
        "--",
        "-c",
        "echo -- hi",
        "--",
        "-post_file",
    ]);
    let expected = StepSpec {
        wait: WaitSpec { files: vec!["/tekton/run/0/out".into()], content: false, despite_failure: true },
        endpoints: EndpointsSpec::default(),
        report: ReportSpec {
            post_file: Some("/tekton/run/1/out".into()),
            termination_path: "/tekton/termination".into(),
            metadata_dir: "/tekton/run/1/status".into(),
            compress: true,
            containers: None,
        },
        results: ResultsSpec {
            task: vec!["digest".to_owned(), "url".to_owned()],
            step: vec!["a".to_owned(), "b".to_owned()],
            image: None,
            in_message: false,
        },
        timeout: Timeout::After(Duration::from_secs(3600)),
        stop_grace: Duration::ZERO,
        end: EndSpec { on_error: OnError::Continue, breakpoint_on_failure: true, signal_exit_code: false },
        debug_before_step: true,
        when: "[]".to_owned(),
        output: OutputSpec { stdout: Some("/tekton/out".into()), stderr: Some("/tekton/err".into()) },
        credentials: CredentialsSpec {
            basic_git: vec![secret_url("github", "https://github.com")],
            ssh_git: vec![secret_url("deploy", "git.example.com:2222")],
            basic_docker: vec![secret_url("basic", "https://registry.example.com")],
            docker_config: vec!["regcred".to_owned(), "second".to_owned()],
            docker_cfg: vec!["old".to_owned()],
        },
        command: CommandSource::Given("/bin/sh".into()),
        args: os(&["-c", "echo -- hi", "--", "-post_file"]),
        ignored: Vec::new(),
    };
    assert_eq!(read, expected);
    let first = step(&["-wait_file", "/tekton/downward/ready", "-wait_file_content", "-post_file", "/o", "--"]);
    assert_eq!(
        first.wait,
        WaitSpec { files: vec!["/tekton/downward/ready".into()], content: true, despite_failure: false }
    );
    assert_eq!(first.report.post_file.as_deref(), Some(Path::new("/o")));
}

#[test]
fn every_spelling_sets_the_same_flag() {
    for args in [&["-timeout", "5s"][..], &["--timeout", "5s"], &["-timeout=5s"], &["--timeout=5s"]] {
        assert_eq!(step(args).timeout, Timeout::After(Duration::from_secs(5)), "{args:?}");
    }
}

#[test]
fn of_a_scalar_that_is_given_twice_the_last_counts() {
    assert_eq!(step(&["-timeout=5s", "-timeout=-1s"]).timeout, Timeout::Negative);
    assert_eq!(step(&["-entrypoint=a", "--entrypoint", "b"]).command, CommandSource::Given("b".into()));
    assert_eq!(step(&["-entrypoint=a", "-entrypoint="]).command, CommandSource::PlatformTable);
    assert_eq!(step(&["-wait_file=/a,/b", "-wait_file=/c"]).wait.files, [PathBuf::from("/c")]);
    assert_eq!(step(&["-on_error=continue", "-on_error=x"]).end.on_error, OnError::StopAndFail);
    assert!(!step(&["-wait_file_content", "-wait_file_content=false"]).wait.content);
    // Every value must be right, also one that does not count.
    assert_eq!(message(&["-timeout=x", "-timeout=5s"]), r#"invalid value "x" for flag -timeout: parse error"#);
}

#[test]
fn a_boolean_takes_no_argument_and_its_would_be_value_ends_the_flags() {
    for (args, content) in [
        (&["-wait_file_content"][..], true),
        (&["--wait_file_content=true"], true),
        (&["-wait_file_content=1"], true),
        (&["-wait_file_content=F"], false),
        (&["-wait_file_content=False"], false),
    ] {
        assert_eq!(step(args).wait.content, content, "{args:?}");
    }
    let read = step(&["-wait_file_content", "false", "-entrypoint", "x", "--", "y"]);
    assert!(read.wait.content);
    assert_eq!(read.command, CommandSource::PlatformTable);
    assert_eq!(read.ignored, os(&["false", "-entrypoint", "x"]));
    assert_eq!(read.args, os(&["y"]));
}

#[test]
fn empty_values_mean_that_a_flag_was_not_given() {
    let read = step(&[
        "-entrypoint=",
        "-image=",
        "-wait_file=",
        "-post_file=",
        "-results",
        "",
        "-on_error=",
        "-taskrun_namespace=",
        "-taskrun_service_account=",
        "-image_pull_secrets=",
        "-service_account_dir=",
        "-image_registry_certificate=",
        "-image_insecure_registry=",
        "-image_skip_tls_verify_registry=",
        "-image_platform=",
    ]);
    assert_eq!(read, step(&[]));
    let read = lookup(&[
        "-image=busybox",
        "-taskrun_namespace=",
        "-taskrun_service_account=",
        "-image_pull_secrets=",
        "-service_account_dir=",
        "-image_registry_certificate=",
        "-image_insecure_registry=",
        "-image_skip_tls_verify_registry=",
        "-image_platform=",
    ]);
    assert_eq!(read, lookup(&["-image", "busybox"]));
    // Tekton writes to the path as it is given, and fails.
    assert_eq!(step(&["-termination_path="]).report.termination_path, PathBuf::new());
}

#[test]
fn positionals_are_kept_apart_and_end_the_flags() {
    let read = step(&["-entrypoint", "echo", "hi", "-timeout", "x", "--", "there"]);
    assert_eq!(read.command, CommandSource::Given("echo".into()));
    assert_eq!((read.ignored, read.args), (os(&["hi", "-timeout", "x"]), os(&["there"])));
    assert_eq!(step(&["-", "x"]).ignored, os(&["-", "x"]));
}

#[test]
fn values_that_are_no_utf8_survive() {
    let raw = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
    let argv = [
        raw(b"entrypoint"),
        raw(b"-entrypoint"),
        raw(b"/bin/\xff"),
        raw(b"-wait_file=/\xfe"),
        raw(b"--on_error=\xff"),
        raw(b"ig\xffnored"),
        raw(b"--"),
        raw(b"\xfd"),
    ];
    let Ok(Invocation::Step(step)) = parse(&argv) else { panic!("{:?}", parse(&argv)) };
    assert_eq!(step.command, CommandSource::Given(raw(b"/bin/\xff")));
    assert_eq!(step.wait.files, [PathBuf::from(OsStr::from_bytes(b"/\xfe"))]);
    assert_eq!((step.ignored, step.args), (vec![raw(b"ig\xffnored")], vec![raw(b"\xfd")]));
    let argv = [raw(b"entrypoint"), raw(b"-results=\xff")];
    assert_eq!(parse(&argv).unwrap_err().to_string(), r#"invalid value "\xff" for flag -results: it is not UTF-8"#);
}

#[test]
fn mistakes_are_told_in_gos_words() {
    for (args, expected) in [
        (&["-nope"][..], "flag provided but not defined: -nope"),
        (&["--nope=1"], "flag provided but not defined: -nope"),
        (&["-entrypoint"], "flag needs an argument: -entrypoint"),
        (&["-entrypoint", "--", "echo"], "flag needs an argument: -entrypoint"),
        (&["--post_file"], "flag needs an argument: -post_file"),
        (&["---x"], "bad flag syntax: ---x"),
        (&["-=x"], "bad flag syntax: -=x"),
        (&["-wait_file_content=maybe"], r#"invalid boolean value "maybe" for -wait_file_content: parse error"#),
        (&["-wait_file_content="], r#"invalid boolean value "" for -wait_file_content: parse error"#),
        (&["-timeout", "10"], r#"invalid value "10" for flag -timeout: parse error"#),
        (&["-timeout", "1d"], r#"invalid value "1d" for flag -timeout: parse error"#),
        (&["-timeout", "--entrypoint"], r#"invalid value "--entrypoint" for flag -timeout: parse error"#),
        // The first mistake counts.
        (&["-timeout=x", "-nope"], r#"invalid value "x" for flag -timeout: parse error"#),
        (&["-nope", "-timeout=x"], "flag provided but not defined: -nope"),
        (&["-timeout=x", "-help"], r#"invalid value "x" for flag -timeout: parse error"#),
        (&["-timeout=x", "cp", "a", "b"], r#"invalid value "x" for flag -timeout: parse error"#),
    ] {
        assert_eq!(message(args), expected, "{args:?}");
    }
}

#[test]
fn a_mistake_in_our_own_flags_says_what_to_write() {
    for (args, expected) in [
        (
            "-image_lookup_timeout=0s",
            r#"invalid value "0s" for flag -image_lookup_timeout: it must be longer than zero"#,
        ),
        (
            "-image_lookup_timeout=30",
            r#"invalid value "30" for flag -image_lookup_timeout: it is not a duration; write a number with a unit, such as 30s or 1m30s"#,
        ),
        (
            "-image_registry_certificate=/ca.pem",
            r#"invalid value "/ca.pem" for flag -image_registry_certificate: write the registry, an equals sign and the path of a PEM file, as in registry.example.com:5000=/ca.pem"#,
        ),
        (
            "-image_insecure_registry=http://r",
            r#"invalid value "http://r" for flag -image_insecure_registry: a registry is written as host or host:port, without a scheme and without a path"#,
        ),
        (
            "-image_skip_tls_verify_registry=r/path",
            r#"invalid value "r/path" for flag -image_skip_tls_verify_registry: a registry is written as host or host:port, without a scheme and without a path"#,
        ),
        (
            "-image_platform=linux",
            r#"invalid value "linux" for flag -image_platform: a platform is written as os/architecture or os/architecture/variant, as in linux/amd64 or linux/arm/v7"#,
        ),
        (
            "-taskrun_namespace=../x",
            r#"invalid value "../x" for flag -taskrun_namespace: it is not a name that Kubernetes allows there"#,
        ),
        (
            "-taskrun_service_account=A",
            r#"invalid value "A" for flag -taskrun_service_account: it is not a name that Kubernetes allows there"#,
        ),
        (
            "-image_pull_secrets=regcred,../x",
            r#"invalid value "regcred,../x" for flag -image_pull_secrets: it is not a name that Kubernetes allows there"#,
        ),
        (
            "-image_credential_helpers=gcr",
            r#"invalid value "gcr" for flag -image_credential_helpers: the clouds are google, ecr and acr; leave the flag's value empty for none"#,
        ),
        ("-image_exec_helpers=maybe", r#"invalid boolean value "maybe" for -image_exec_helpers: parse error"#),
    ] {
        // They are checked also when no image is to be looked up.
        assert_eq!(message(&[args]), expected);
    }
}

#[test]
fn an_image_is_looked_up_as_the_flags_say() {
    let defaults = LookupSpec {
        image: "busybox".to_owned(),
        namespace: None,
        service_account: None,
        pull_secrets: Vec::new(),
        mounted: Vec::new(),
        exec_helpers: false,
        clouds: Cloud::ALL.into_iter().filter(|cloud| cloud.is_built()).collect(),
        registry_map: Vec::new(),
        mirrors: Vec::new(),
        map_only: false,
        registry_configs: Vec::new(),
        client_certificates: Vec::new(),
        sources: vec![ImageSource::Registry],
        pin: ImagePin::Offered,
        container: None,
        termination_paths: ["/tekton/termination", "/dev/termination-log"].map(PathBuf::from).to_vec(),
        cache_dir: None,
        certificates: Vec::new(),
        insecure: Vec::new(),
        unverified: Vec::new(),
        platform: None,
        timeout: Duration::from_secs(30),
        service_account_dir: "/var/run/secrets/kubernetes.io/serviceaccount".into(),
    };
    assert_eq!(lookup(&["-image", "busybox"]), defaults);
    assert_eq!(LookupSpec::TIMEOUT, defaults.timeout);
    let read = lookup(&[
        "-image=r:5000/a@sha256:0",
        "-taskrun_namespace=team",
        "-taskrun_service_account=builder",
        "-image_pull_secrets=one,,two.x",
        "-image_pull_secrets",
        "three",
        "-image_exec_helpers",
        "-image_credential_helpers",
        "",
        "-image_registry_certificate=r:5000=/a.pem",
        "-image_registry_certificate",
        "s=/b.pem",
        "-image_insecure_registry=a,b:1",
        "-image_insecure_registry=c",
        "-image_skip_tls_verify_registry=d,e:1",
        "-image_skip_tls_verify_registry=f",
        "-image_sources=docker,registry",
        "-image_pin=pod-status",
        "-image_pin_strict",
        "-image_container=step-x",
        "-image_cache_dir=/cache",
        "-termination_path=/t",
        "-image_platform=linux/arm/v7",
        "-image_lookup_timeout=1m",
        "-service_account_dir=/sa",
        "--",
        "x",
    ]);
    let expected = LookupSpec {
        image: "r:5000/a@sha256:0".to_owned(),
        namespace: Some("team".to_owned()),
        service_account: Some("builder".to_owned()),
        pull_secrets: ["one", "two.x", "three"].map(str::to_owned).to_vec(),
        mounted: Vec::new(),
        exec_helpers: true,
        clouds: Vec::new(),
        registry_map: Vec::new(),
        mirrors: Vec::new(),
        map_only: false,
        registry_configs: Vec::new(),
        client_certificates: Vec::new(),
        sources: vec![ImageSource::Docker, ImageSource::Registry],
        pin: ImagePin::Strict,
        container: Some("step-x".to_owned()),
        termination_paths: ["/t", "/dev/termination-log"].map(PathBuf::from).to_vec(),
        cache_dir: Some("/cache".into()),
        certificates: vec![("r:5000".to_owned(), "/a.pem".into()), ("s".to_owned(), "/b.pem".into())],
        insecure: ["a", "b:1", "c"].map(str::to_owned).to_vec(),
        unverified: ["d", "e:1", "f"].map(str::to_owned).to_vec(),
        platform: Some("linux/arm/v7".to_owned()),
        timeout: Duration::from_secs(60),
        service_account_dir: "/sa".into(),
    };
    assert_eq!(read, expected);
}

#[test]
fn whose_word_decides_which_image_it_is() {
    for (args, pin) in [
        (&[][..], ImagePin::Offered),
        (&["-image_pin=registry"], ImagePin::Registry),
        (&["-image_pin=registry", "-image_pin", "pod-status"], ImagePin::PodStatus),
        (&["-image_pin_strict"], ImagePin::Strict),
        (&["-image_pin_strict", "-image_pin=pod-status"], ImagePin::Strict),
        (&["-image_pin_strict=false", "-image_pin=registry"], ImagePin::Registry),
    ] {
        assert_eq!(lookup(&[&["-image=busybox"], args].concat()).pin, pin, "{args:?}");
    }
    assert_eq!(
        message(&["-image=busybox", "-image_pin_strict", "-image_pin=registry"]),
        "-image_pin=registry and -image_pin_strict exclude each other: strict is to run nothing but what the pod's status \
         names; give one of them"
    );
}

#[test]
fn a_result_about_an_image_needs_an_image() {
    assert_eq!(step(&["-image=busybox", "-image_report_result=image"]).results.image.as_deref(), Some("image"));
    assert_eq!(step(&["-entrypoint=x", "-image_report_result="]).results.image, None);
    for args in [&["-entrypoint=x", "-image_report_result=image"][..], &["-image_report_result=image"]] {
        assert_eq!(
            message(args),
            "-image_report_result tells of an image that is looked up, and none is: give -image, or leave the flag away"
        );
    }
}

#[test]
fn the_clouds_of_a_flag_that_is_repeated_add_up() {
    let built = Cloud::ALL.into_iter().filter(|cloud| cloud.is_built());
    let flags = built.clone().map(|cloud| format!("-image_credential_helpers={}", cloud.word()));
    let args: Vec<String> =
        ["-image=busybox", "-image_credential_helpers="].map(str::to_owned).into_iter().chain(flags).collect();
    assert_eq!(lookup(&args.iter().map(String::as_str).collect::<Vec<_>>()).clouds, built.collect::<Vec<_>>());
}

#[test]
fn flags_of_the_lookup_are_accepted_without_an_image() {
    let read = step(&["-entrypoint=x", "-taskrun_namespace=team", "-image_lookup_timeout=1m", "-image="]);
    assert_eq!(read.command, CommandSource::Given("x".into()));
}

#[test]
fn an_image_together_with_a_program_is_a_usage_error() {
    let expected = "-entrypoint and -image exclude each other: -entrypoint names the program to run, -image asks a \
                    registry for it; give one of them";
    assert_eq!(message(&["-image=busybox", "-entrypoint=x", "--", "a"]), expected);
}

#[test]
fn without_the_lookup_an_image_is_refused_and_everything_else_works() {
    let built = Built { lookup: false };
    let error = parse_with(&argv(&["-image=busybox", "-post_file=/o"]), built).unwrap_err();
    assert_eq!(
        error.to_string(),
        "asking a registry needs a build with the feature \"lookup\", and this one is without: give the program with -entrypoint, \
         or use a build that can ask registries"
    );
    assert_eq!(error.post_file, Some("/o".into()));
    assert!(parse_with(&argv(&["-image=", "-entrypoint=x", "-taskrun_namespace=team"]), built).is_ok());
    assert_eq!(parse(&argv(&["-image=busybox"])).is_ok(), cfg!(feature = "lookup"));
}

#[test]
fn tektons_flags_that_are_not_built_are_refused_and_still_take_their_argument() {
    let sentence = "-enable_spire asks for results that are signed by SPIRE, which this entrypoint cannot do, so nothing was \
                    run: leave enforce-nonfalsifiability off, or use Tekton's own entrypoint";
    let (on, off, socket) = ("-enable_spire", "-enable_spire=false", "-spire_socket_path");
    for args in [&[on][..], &["-enable_spire=1", socket, "x"], &[off, on], &[on, "-entrypoint=x", "-image=y"]] {
        assert_eq!(message(args), sentence, "{args:?}");
    }
    for args in [&[off][..], &[on, off], &[socket, on], &[socket, "", off]] {
        assert_eq!(step(args), step(&[]), "{args:?}");
    }
    // An init container signs nothing.
    assert!(matches!(read(&[on, "cp", "a", "b"]), Ok(Invocation::Setup(_))));
    assert_eq!(message(&[on, "-nope"]), "flag provided but not defined: -nope");
}

#[test]
fn a_usage_error_knows_where_to_report_itself() {
    let read = |args: &[&str]| read(args).map_err(|e| (e.post_file, e.termination_path)).unwrap_err();
    let found = |post: &str, termination: &str| (Some(PathBuf::from(post)), Some(PathBuf::from(termination)));
    let default = "/tekton/termination";
    for (args, expected) in [
        (&["-nope"][..], (None, Some(default.into()))),
        (&["-post_file", "/o", "-nope"], found("/o", default)),
        (&["-nope", "-post_file", "/o", "-termination_path=/t"], found("/o", "/t")),
        (&["-nope", "x", "--post_file=/o", "--termination_path", "/t"], found("/o", "/t")),
        (&["-post_file=/a", "---", "-post_file=/b", "-termination_path=/t", "-termination_path=/u"], found("/b", "/u")),
        (&["-timeout=x", "-post_file=/o", "--", "-post_file=/steps"], found("/o", default)),
        (&["-timeout", "-post_file", "/o", "-post_file=/p"], found("/p", default)),
        (&["-nope", "-post_file="], (None, Some(default.into()))),
        (&["-post_file=/o", "-termination_path"], found("/o", default)),
        (&["-entrypoint=a", "-image=b", "-post_file=/o"], found("/o", default)),
        (&["-post_file=/o", "cp", "a"], found("/o", default)),
        // What is no step has nowhere to report to.
        (&["version", "x"], (None, None)),
        (&["resolve", "-post_file=/o"], (None, None)),
        (&["run-image", "x", "-post_file=/o"], (None, None)),
    ] {
        assert_eq!(read(args), expected, "{args:?}");
    }
}

#[test]
fn a_usage_error_is_one_sentence_and_a_hint() {
    let error = read(&["-nope"]).unwrap_err();
    assert_eq!(error.to_string(), "flag provided but not defined: -nope");
    assert_eq!(error.usage_hint(), "Run 'entrypoint -help' for the flags and subcommands.");
}

#[test]
fn help_is_asked_for_in_gos_spellings() {
    for args in [&["-h"][..], &["-help"], &["--help"], &["--help=x"], &["-post_file", "p", "-help", "-nope"]] {
        let Ok(Invocation::Help(text)) = read(args) else { panic!("{args:?}") };
        assert!(text.starts_with("entrypoint runs one step"), "{text}");
    }
    // Behind the first element that is no flag, and behind the cut, it is just an argument.
    assert_eq!(step(&["x", "-help"]).ignored, os(&["x", "-help"]));
    assert_eq!(step(&["-entrypoint=x", "--", "-help"]).args, os(&["-help"]));
}
