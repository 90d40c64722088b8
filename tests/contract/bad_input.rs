//! Bad input of every kind: each ends in a sentence, and in a file that releases the next step.

use std::collections::BTreeSet;
use std::fs;

use super::step::{Ended, Step, entrypoint};
use super::{assert_failed, assert_left, executable, in_tekton, internal, lines};

/// A flag, a wrong value, the exit code, and how the sentence about it starts. `FILE` is a file where a directory should
/// be.
const WRONG: [(&str, &str, i32, &str); 54] = [
    ("breakpoint_on_failure", "maybe", 2, r#"invalid boolean value "maybe" for -breakpoint_on_failure: parse error"#),
    ("debug_before_step", "2", 2, r#"invalid boolean value "2" for -debug_before_step: parse error"#),
    ("wait_file_content", "yes", 2, r#"invalid boolean value "yes" for -wait_file_content: parse error"#),
    ("compress_termination_message", "on", 2, r#"invalid boolean value "on" for -compress_termination_message: "#),
    ("signal_exit_code", "tRUE", 2, r#"invalid boolean value "tRUE" for -signal_exit_code: parse error"#),
    ("image_exec_helpers", "", 2, r#"invalid boolean value "" for -image_exec_helpers: parse error"#),
    ("timeout", "10", 2, r#"invalid value "10" for flag -timeout: parse error"#),
    ("timeout", "99999999h", 2, r#"invalid value "99999999h" for flag -timeout: parse error"#),
    ("timeout", "-1s", 1, "Error executing command: negative timeout specified"),
    ("stop_grace", "soon", 2, r#"invalid value "soon" for flag -stop_grace: "#),
    ("stop_grace", "-1s", 2, r#"invalid value "-1s" for flag -stop_grace: it must not be negative"#),
    ("termination_containers", "0", 2, r#"invalid value "0" for flag -termination_containers: "#),
    ("termination_containers", "many", 2, r#"invalid value "many" for flag -termination_containers: "#),
    ("image_lookup_timeout", "0", 2, r#"invalid value "0" for flag -image_lookup_timeout: it must be longer than"#),
    ("wait_endpoints", "db:5432", 2, r#"invalid value "db:5432" for flag -wait_endpoints: write tcp://HOST:PORT, "#),
    (
        "wait_endpoints",
        "http://u:p@h/",
        2,
        r#"invalid value "http://u:p@h/" for flag -wait_endpoints: an endpoint is "#,
    ),
    ("wait_endpoints_timeout", "-1s", 2, r#"invalid value "-1s" for flag -wait_endpoints_timeout: it must be longer"#),
    ("image_platform", "linux", 2, r#"invalid value "linux" for flag -image_platform: "#),
    ("image_registry_certificate", "/ca", 2, r#"invalid value "/ca" for flag -image_registry_certificate: "#),
    ("image_registry_client_cert", "r=/c", 2, r#"invalid value "r=/c" for flag -image_registry_client_cert: "#),
    ("image_insecure_registry", "http://r", 2, r#"invalid value "http://r" for flag -image_insecure_registry: "#),
    ("image_skip_tls_verify_registry", "r/p", 2, r#"invalid value "r/p" for flag -image_skip_tls_verify_registry: "#),
    ("image_sources", "docker,docker", 2, r#"invalid value "docker,docker" for flag -image_sources: write registry, "#),
    ("image_pin", "tag", 2, r#"invalid value "tag" for flag -image_pin: write pod-status or registry"#),
    ("image_pin_strict", "always", 2, r#"invalid boolean value "always" for -image_pin_strict: parse error"#),
    ("image_container", "Step", 2, r#"invalid value "Step" for flag -image_container: it is not a name that "#),
    ("image_report_result", "../x", 2, r#"invalid value "../x" for flag -image_report_result: a result's name has "#),
    ("image_report_result", "image", 2, "-image_report_result tells of an image that is looked up, and none is: "),
    ("image_registry_map", "r.example", 2, r#"invalid value "r.example" for flag -image_registry_map: write the "#),
    ("image_registry_map", "r.example=m/p", 2, r#"invalid value "r.example=m/p" for flag -image_registry_map: "#),
    ("image_registry_map_only", "r", 2, r#"invalid boolean value "r" for -image_registry_map_only: parse error"#),
    ("image_registry_mirror", "ftp://m:1", 2, r#"invalid value "ftp://m:1" for flag -image_registry_mirror: "#),
    ("image_pull_secrets", "a,..", 2, r#"invalid value "a,.." for flag -image_pull_secrets: "#),
    ("image_credential_helpers", "gcr", 2, r#"invalid value "gcr" for flag -image_credential_helpers: "#),
    ("taskrun_namespace", "A", 2, r#"invalid value "A" for flag -taskrun_namespace: "#),
    ("taskrun_service_account", "../x", 2, r#"invalid value "../x" for flag -taskrun_service_account: "#),
    ("basic-git", "none", 2, r#"invalid value "none" for flag -basic-git: expect entries of the form secret=url"#),
    ("basic-git", "none=https://h", 2, r#"invalid value "none=https://h" for flag -basic-git: open "#),
    ("ssh-git", "none=h", 2, r#"invalid value "none=h" for flag -ssh-git: open "#),
    ("basic-docker", "none", 2, r#"invalid value "none" for flag -basic-docker: expect entries of the form "#),
    ("docker-config", "none", 0, "Error initializing credentials: open /tekton/creds-secrets/none/.dockerconfigjson: "),
    ("docker-cfg", "none", 0, "Error initializing credentials: open /tekton/creds-secrets/none/.dockercfg: "),
    ("enable_spire", "true", 2, "-enable_spire asks for results that are signed by SPIRE, "),
    ("image", "busybox", 2, "-entrypoint and -image exclude each other: "),
    ("entrypoint", "FILE/program", 1, "Error executing command: fork/exec "),
    ("wait_file", "FILE/out", 1, "Error executing command: waiting for "),
    ("when_expressions", "[", 1, "unexpected end of JSON input: -when_expressions must be "),
    ("when_expressions", r#"[{"input":1}]"#, 1, "json: cannot unmarshal number into Go struct field "),
    ("step_metadata_dir", "FILE", 1, "Error executing command: mkdir "),
    ("stdout_path", "FILE/log", 1, "Error executing command: error creating parent directory: mkdir "),
    ("stderr_path", "/", 1, "Error executing command: error opening /: open /: is a directory"),
    ("termination_path", "FILE/termination", 1, "Error while writing message: opening "),
    ("results", "../dir", 1, r#"Result "../dir" cannot be read: "#),
    ("step_results", "../../dir", 1, r#"Result "../../dir" cannot be read: "#),
];

/// Flags for which no value is wrong by itself. The post file, which alone releases the next step, is a matter of
/// `disks`; a directory of the service account, and what a node knows, are read together with `-image`; a directory that can
/// be no cache means none.
const ANY_VALUE_IS_RIGHT: [&str; 7] = [
    "on_error",
    "result_from",
    "service_account_dir",
    "image_registry_config",
    "image_cache_dir",
    "spire_socket_path",
    "post_file",
];

/// Not a step's.
const OF_RESOLVE: [&str; 2] = ["o", "source"];

#[test]
fn every_flag_has_a_wrong_value_below() {
    let help = std::process::Command::new(entrypoint()).arg("-help").output().unwrap();
    let help = String::from_utf8(help.stderr).unwrap();
    let words = help.lines().filter(|line| line.starts_with("  -")).flat_map(str::split_whitespace);
    let told: BTreeSet<&str> = words.filter_map(|word| word.strip_prefix('-')).collect();
    let wrong = WRONG.iter().map(|(flag, ..)| *flag);
    let here: BTreeSet<&str> = wrong.chain(ANY_VALUE_IS_RIGHT).chain(OF_RESOLVE).collect();
    assert_eq!(here, told);
}

#[test]
fn a_wrong_value_of_any_flag_ends_in_a_sentence_and_a_released_next_step() {
    for (flag, value, code, sentence) in WRONG {
        let Some(step) = in_tekton() else { return };
        fs::write(step.path("file"), "").unwrap();
        fs::create_dir(step.path("tekton/dir")).unwrap();
        fs::create_dir(step.path("dir")).unwrap();
        let value = value.replace("FILE", &step.path("file").display().to_string());
        let ended =
            step.flags(["-entrypoint", "/bin/true", &format!("-{flag}={value}")]).env("HOME", "/nowhere").run(&["--"]);
        assert_eq!((ended.code(), ended.post, ended.err), (code, code == 0, code != 0), "-{flag}={value}: {ended:#?}");
        let lines = lines(&ended.stderr);
        assert!(lines.first().is_some_and(|line| line.starts_with(sentence)), "-{flag}={value}: {lines:?}");
        if code != 0 && flag != "termination_path" {
            let first = serde_json::to_string(&lines[0]).unwrap();
            let message = ended.message.unwrap_or_default();
            assert!(message.contains(first.trim_matches('"')), "-{flag}={value}: {message}");
        }
    }
}

#[test]
fn a_secret_without_an_end_ends_in_a_sentence_and_a_released_next_step() {
    for (flag, file, code, start) in [
        ("-basic-git=s=https://h", "password", 2, r#"invalid value "s=https://h" for flag -basic-git: "#),
        ("-ssh-git=s=h", "ssh-privatekey", 2, r#"invalid value "s=h" for flag -ssh-git: "#),
        ("-docker-config=s", ".dockerconfigjson", 0, "Error initializing credentials: "),
    ] {
        let Some(step) = in_tekton() else { return };
        let secret = step.path("tekton/creds-secrets/s");
        fs::create_dir_all(&secret).unwrap();
        fs::write(secret.join("username"), "u").unwrap();
        fs::File::create(secret.join(file)).unwrap().set_len(1 << 40).unwrap();
        let ended = step.env("HOME", "/nowhere").run(&[flag, "-entrypoint", "/bin/true", "--"]);
        let sentence = format!(
            "{start}read /tekton/creds-secrets/s/{file}: it is longer than 1048576 bytes, and Kubernetes allows no secret \
             to be"
        );
        assert_eq!((ended.code(), ended.post, ended.err), (code, code == 0, code != 0), "{ended:#?}");
        assert_eq!(lines(&ended.stderr).first(), Some(&sentence.as_str()));
    }
}

/// A step in `/tekton` whose environment asks for the script to be looked through.
fn with_scripts() -> Option<Step> {
    let step = in_tekton()?;
    fs::create_dir(step.path("tekton/scripts")).unwrap();
    Some(step)
}

fn script(step: Step) -> Ended {
    step.run(&["-entrypoint", "/tekton/scripts/s", "--"])
}

#[test]
fn a_script_that_is_none_ends_in_a_sentence_and_a_released_next_step() {
    let Some(step) = with_scripts() else { return };
    fs::create_dir(step.path("tekton/scripts/s")).unwrap();
    let directory = script(step);
    let Some(step) = with_scripts() else { return };
    nix::unistd::mkfifo(&step.path("tekton/scripts/s"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let fifo = script(step);
    let Some(step) = with_scripts() else { return };
    let missing = script(step);
    for (ended, cause) in
        [(directory, "permission denied"), (fifo, "permission denied"), (missing, "no such file or directory")]
    {
        assert_eq!((ended.code(), ended.post, ended.err), (1, false, true), "{ended:#?}");
        let lines = lines(&ended.stderr);
        let [told, failed] = lines.as_slice() else { panic!("{lines:?}") };
        assert!(told.starts_with("ERROR Error while substituting step artifacts: error=\""), "{told}");
        assert!(
            failed.starts_with(&format!("Error executing command: fork/exec /tekton/scripts/s: {cause}")),
            "{failed}"
        );
    }
}

#[test]
fn a_script_without_an_end_is_not_read_in_full_and_runs_as_it_is() {
    let Some(step) = with_scripts() else { return };
    let path = step.path("tekton/scripts/s");
    executable(&path, "#!/bin/sh\necho ran\nexit 0\n");
    fs::File::options().write(true).open(&path).unwrap().set_len(1 << 40).unwrap();
    let ended = script(step);
    assert_left(&ended, 0, true, Some("0"), &[]);
    assert_eq!(ended.stdout, "ran\n");
    let lines = lines(&ended.stderr);
    let [told] = lines.as_slice() else { panic!("{lines:?}") };
    assert!(told.starts_with("ERROR Error while substituting step artifacts: error=\""), "{told}");
}

/// A step that refers to a result of an earlier one.
fn referring() -> Option<(Step, std::path::PathBuf)> {
    let step = in_tekton()?;
    let results = step.path("tekton/steps/step-a/results");
    fs::create_dir_all(&results).unwrap();
    Some((step, results.join("r")))
}

const REFERENCE: [&str; 5] = ["-entrypoint", "/usr/bin/printf", "--", "%s", "$(steps.a.results.r)"];

#[test]
fn a_referred_result_with_any_bytes_but_nul_reaches_the_step() {
    let Some((step, result)) = referring() else { return };
    let bytes: Vec<u8> = (1..=255).collect();
    fs::write(result, &bytes).unwrap();
    let child = step.start(&REFERENCE);
    assert_eq!(child.wait_with_output().unwrap().stdout, bytes);
    assert!(step.path("out").exists());
}

#[test]
fn a_referred_result_with_nul_in_an_argument_ends_in_a_sentence_and_a_released_next_step() {
    let Some((step, result)) = referring() else { return };
    fs::write(result, "a\0b").unwrap();
    let ended = step.run(&REFERENCE);
    assert_eq!((ended.code(), ended.post, ended.err, &*ended.stdout), (1, false, true, ""), "{ended:#?}");
    let lines = lines(&ended.stderr);
    let [line] = lines.as_slice() else { panic!("{lines:?}") };
    assert!(line.starts_with("Error executing command: "), "{line}");
    assert!(line.contains("NUL"), "{line}");
    assert_eq!(ended.message, Some(super::message(&[internal("entrypoint/error", line)])));
}

#[test]
fn a_referred_result_that_is_no_file_or_has_no_end_is_told_and_the_step_runs_with_the_reference() {
    for make in [
        |path: &std::path::Path| fs::create_dir(path).unwrap(),
        |path: &std::path::Path| fs::File::create(path).unwrap().set_len(1 << 40).unwrap(),
        |path: &std::path::Path| std::os::unix::fs::symlink("/dev/zero", path).unwrap(),
    ] {
        let Some((step, result)) = referring() else { return };
        make(&result);
        let ended = step.run(&REFERENCE);
        assert_left(&ended, 0, true, Some("0"), &[]);
        assert_eq!(ended.stdout, "$(steps.a.results.r)");
        let lines = lines(&ended.stderr);
        let [told] = lines.as_slice() else { panic!("{lines:?}") };
        assert!(told.starts_with("ERROR Error while substituting step results: error=\""), "{told}");
    }
}

#[test]
fn a_platform_table_with_nul_ends_in_a_sentence_and_a_released_next_step() {
    for (command, shown) in [(r#"["/bin/true","a\u0000b"]"#, "a\\0b"), (r#"["/bin/tr\u0000ue"]"#, "/bin/tr\\0ue")] {
        let entries = ["amd64", "arm64", "arm", "s390x", "ppc64le"].map(|name| format!("\"linux/{name}\":{command}"));
        let table = format!("{{{}}}", entries.join(","));
        let ended = Step::new().env("TEKTON_PLATFORM_COMMANDS", &table).run(&["--"]);
        assert_failed(
            &ended,
            &format!(
                "Error executing command: an argument or an environment variable of the step holds a NUL byte: {shown}"
            ),
        );
    }
}

#[test]
fn ten_thousand_results_end_in_two_short_lines_and_a_released_next_step() {
    let names: Vec<String> = (0..10_000).map(|number| format!("r{number}")).collect();
    let Some(step) = in_tekton() else { return };
    let missing = step.flags(["-results", &names.join(",")]).sh("true");
    assert_left(&missing, 0, true, Some("0"), &[]);

    let Some(step) = in_tekton() else { return };
    for name in &names {
        fs::write(step.path("tekton/results").join(name), "v").unwrap();
    }
    let ended = step.flags(["-results", &names.join(",")]).sh("true");
    assert_left(&ended, 1, false, None, &[internal("Reason", "ResultsTooLarge")]);
    assert!(lines(&ended.stderr).len() == 2 && ended.stderr.len() < 2048, "{}", ended.stderr);
}

#[test]
fn a_result_that_may_not_be_read_ends_in_a_sentence_and_a_released_next_step() {
    if !crate::skip::programs("a step of another user", &[("setpriv", "util-linux")]) {
        return;
    }
    let Some(step) = in_tekton() else { return };
    let result = step.path("tekton/results/r");
    fs::write(&result, "v").unwrap();
    fs::set_permissions(&result, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    fs::set_permissions(step.path(""), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    let ended = step.under(&user).flags(["-results", "r"]).sh("true");
    assert_failed(&ended, "Result \"r\" cannot be read: opening \"/tekton/results/r\": permission denied");
}
