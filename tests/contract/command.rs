//! Sections 5 and 10.1 to 10.5: which program is run, and in which surroundings.

use std::fs;

use super::{assert_failed, assert_left, executable, lines};
use crate::step::Step;

const TABLE: &str = "TEKTON_PLATFORM_COMMANDS";

/// Go's name of the platform that the tests run on, with and without its variant.
fn platform() -> (&'static str, &'static str) {
    match std::env::consts::ARCH {
        "x86_64" => ("linux/amd64", "linux/amd64"),
        "aarch64" => ("linux/arm64/v8", "linux/arm64"),
        other => panic!("name the platform {other} here"),
    }
}

#[test]
fn the_platform_table_names_the_program_and_the_arguments_follow() {
    let (exact, general) = platform();
    for key in [exact, general] {
        let table = format!(r#"{{"{key}":["/bin/echo","from","the table"],"linux/other":null}}"#);
        let ended = Step::new().env(TABLE, &table).run(&["--", "and", "--", "$(args)"]);
        assert_left(&ended, 0, true, Some("0"), &[]);
        assert_eq!(ended.stdout, "from the table and -- $(args)\n");
    }
}

#[test]
fn the_platform_table_is_not_read_when_a_program_is_given() {
    let ended = Step::new().env(TABLE, "no JSON").run(&["-entrypoint", "/bin/echo", "--", "given"]);
    assert_eq!((ended.code(), ended.stdout.as_str()), (0, "given\n"));
}

#[test]
fn an_empty_command_and_no_arguments_succeed_without_running_anything() {
    for list in ["null", "[]"] {
        let table = format!(r#"{{"{}":{list}}}"#, platform().0);
        let ended = Step::new().env(TABLE, &table).run(&["--"]);
        assert_left(&ended, 0, true, Some("0"), &[]);
        assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("", ""));
    }
}

#[test]
fn an_empty_command_makes_a_program_of_the_first_argument() {
    let table = format!(r#"{{"{}":null}}"#, platform().0);
    let ended = Step::new().env(TABLE, &table).run(&["--", "/bin/echo", "hi"]);
    assert_eq!((ended.code(), ended.stdout.as_str()), (0, "hi\n"));
}

#[test]
fn a_missing_platform_table_fails_the_step_and_releases_the_next_as_ours_does() {
    let ended = Step::new().run(&["--", "arg"]);
    assert_left(&ended, 1, false, None, &[super::internal("entrypoint/error", lines(&ended.stderr)[0])]);
    assert!(ended.stderr.ends_with("unexpected end of JSON input\n"), "{}", ended.stderr);
}

#[test]
fn a_malformed_platform_table_is_named() {
    for table in ["{", "[]", r#"{"linux/amd64":"sh","linux/arm64":"sh"}"#] {
        let ended = Step::new().env(TABLE, table).run(&["--", "arg"]);
        assert_eq!((ended.code(), ended.err, lines(&ended.stderr).len()), (1, true, 1), "{table}: {ended:#?}");
        assert!(lines(&ended.stderr)[0].starts_with("TEKTON_PLATFORM_COMMANDS cannot be read"), "{ended:#?}");
    }
}

#[test]
fn a_platform_table_without_our_platform_says_which_it_has() {
    let table = r#"{"linux/mips":["/bin/true"],"windows/amd64":null}"#;
    let ended = Step::new().env(TABLE, table).run(&["--"]);
    assert_failed(
        &ended,
        &format!(
            "could not find command for platform \"{}\": TEKTON_PLATFORM_COMMANDS has linux/mips, windows/amd64",
            platform().0
        ),
    );
}

#[test]
fn the_step_has_our_whole_environment() {
    let ended = Step::new().env(TABLE, "{}").env("HOME", "/h").env("TEKTON_HERMETIC", "0").run(&[
        "-entrypoint",
        "/usr/bin/env",
        "--",
    ]);
    for line in [r"TEKTON_PLATFORM_COMMANDS={}", "HOME=/h", "TEKTON_HERMETIC=0"] {
        assert!(ended.stdout.lines().any(|variable| variable == line), "{line}: {}", ended.stdout);
    }
}

#[test]
fn arguments_behind_the_dashes_are_passed_verbatim() {
    let ended = Step::new().sh("printf '<%s>' \"$@\"");
    assert_eq!(ended.stdout, "<>");
    let rest = ["-entrypoint", "printf", "--", "<%s>", "-timeout", "", "--", "a b", "-nope"];
    assert_eq!(Step::new().run(&rest).stdout, "<-timeout><><--><a b><-nope>");
}

#[test]
fn a_bare_name_is_searched_in_path() {
    let step = Step::new();
    executable(&step.path("program"), "#!/bin/sh\necho found \"$@\"\n");
    let path = format!("/nowhere:{}", step.path("").display());
    let ended = step.env("PATH", &path).run(&["-entrypoint", "program", "--", "me"]);
    assert_eq!((ended.code(), ended.stdout.as_str()), (0, "found me\n"));
}

#[test]
fn a_bare_name_that_is_nowhere_in_path_fails_the_step() {
    let ended = Step::new().env("PATH", "/nowhere:/bin").run(&["-entrypoint", "nonesuch", "--"]);
    assert_failed(
        &ended,
        "Error executing command: exec: \"nonesuch\": executable file not found in $PATH; PATH is /nowhere:/bin: does \
         this step's image contain the program?",
    );
}

#[test]
fn an_empty_path_finds_nothing() {
    let ended = Step::new().env("PATH", "").run(&["-entrypoint", "true", "--"]);
    assert_failed(
        &ended,
        "Error executing command: exec: \"true\": executable file not found in $PATH; PATH is not set: name the program \
         with its path",
    );
}

#[test]
fn a_program_that_is_found_relative_to_the_working_directory_is_refused() {
    let step = Step::new();
    executable(&step.path("program"), "#!/bin/sh\n");
    let scratch = step.path("").display().to_string();
    let ended = step.under(&["sh", "-c", r#"cd "$1"; shift; PATH=.:/bin; exec "$@""#, "sh", &scratch]).run(&[
        "-entrypoint",
        "program",
        "--",
    ]);
    let expected =
        "Error executing command: exec: \"program\": cannot run executable found relative to current directory";
    assert_eq!((ended.code(), ended.err), (1, true), "{ended:#?}");
    assert!(lines(&ended.stderr)[0].starts_with(expected), "{ended:#?}");
}

#[test]
fn what_cannot_be_executed_is_explained_and_never_given_to_a_shell() {
    let elf = {
        // The header of an ELF program for a machine that no test runs on.
        let mut header = b"\x7fELF\x02\x01\x01".to_vec();
        header.resize(64, 0);
        header[16] = 2;
        header[18] = 8;
        header
    };
    let rows: [(&str, &[u8], u32, &str, &str); 5] = [
        ("plain", b"#!/bin/sh\n", 0o644, "permission denied", "it is not executable (mode 0644): chmod +x it"),
        ("script", b"#!/no/python\n", 0o755, "no such file or directory", "its interpreter /no/python does not exist"),
        ("words", b"echo ran\n", 0o755, "exec format error", "a script needs a first line such as #!/bin/sh"),
        ("empty", b"", 0o755, "exec format error", "the file is empty"),
        ("foreign", &elf, 0o755, "exec format error", "the program was built for "),
    ];
    for (name, content, mode, cause, reason) in rows {
        let step = Step::new();
        let file = step.path(name);
        executable(&file, content);
        fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
        let program = file.display().to_string();
        let ended = step.run(&["-entrypoint", &program, "--"]);
        let line = lines(&ended.stderr)[0].to_owned();
        assert!(
            line.starts_with(&format!("Error executing command: fork/exec {program}: {cause}: ")),
            "{name}: {line}"
        );
        assert!(line.contains(reason), "{name}: {line}");
        assert_failed(&ended, &line);
        assert_eq!(ended.stdout, "", "{name}");
    }
}

#[test]
fn a_directory_is_no_program() {
    let ended = Step::new().run(&["-entrypoint", "/usr/", "--"]);
    assert_failed(&ended, "Error executing command: fork/exec /usr/: permission denied: it is a directory");
}

#[test]
fn the_step_reads_nothing_from_our_standard_input() {
    let step = Step::new();
    let ended = step.under(&["sh", "-c", r#"echo secret | "$@""#, "sh"]).sh("readlink /proc/$$/fd/0; cat");
    assert_eq!(ended.stdout, "/dev/null\n");
}

#[test]
fn the_step_has_our_standard_output_and_error_themselves() {
    let step = Step::new();
    let out = step.path("stdout");
    let scratch = step.path("kept");
    let links = "out=$(readlink /proc/$$/fd/1); err=$(readlink /proc/$$/fd/2)";
    let script = format!(r#"{links}; printf '%s\n' "$out" "$err" >{}"#, scratch.display());
    let wrapper = r#"exec >"$1" 2>&1; shift; exec "$@""#;
    let step = step.under(&["sh", "-c", wrapper, "sh", &out.display().to_string()]);
    let status = step.start(&["-entrypoint", "/bin/sh", "--", "-c", &script]).wait_with_output().unwrap().status;
    assert!(status.success());
    let out = out.display();
    assert_eq!(fs::read_to_string(scratch).unwrap(), format!("{out}\n{out}\n"));
}

#[test]
fn the_step_runs_in_our_working_directory_and_has_our_other_descriptors() {
    let step = Step::new();
    fs::create_dir(step.path("work")).unwrap();
    let work = fs::canonicalize(step.path("work")).unwrap().display().to_string();
    let wrapper = r#"cd "$1"; shift; exec 7</dev/zero; exec "$@""#;
    let ended = step.under(&["sh", "-c", wrapper, "sh", &work]).sh("pwd; readlink /proc/$$/fd/7");
    assert_eq!(ended.stdout, format!("{work}\n/dev/zero\n"));
}

#[test]
fn a_log_that_cannot_be_written_changes_no_outcome() {
    for redirection in ["2>&-", "2>/dev/full", ">&- 2>&- <&-"] {
        let wrapper = format!(r#"exec "$@" {redirection}"#);
        let ended = Step::new().under(&["sh", "-c", &wrapper, "sh"]).run(&["-entrypoint", "/no/such/program", "--"]);
        let line = "Error executing command: fork/exec /no/such/program: no such file or directory: there is no such \
                    file in this step's image";
        assert_left(&ended, 1, false, None, &[super::internal("entrypoint/error", line)]);
    }
}

#[test]
fn arguments_before_the_dashes_are_dropped_and_said_as_ours_does() {
    // Tekton drops them silently.
    let ended = Step::new().run(&["-entrypoint", "/bin/echo", "hi", "-timeout", "soon", "--", "there"]);
    assert_left(&ended, 0, true, Some("0"), &[]);
    assert_eq!(ended.stdout, "there\n");
    assert_eq!(
        lines(&ended.stderr),
        [r#"WARN ignoring arguments before `--` that are no flags: ["hi", "-timeout", "soon"]"#]
    );
}

#[test]
fn a_skip_wins_over_a_command_that_cannot_be_found_as_ours_does() {
    // Tekton reads the table before it waits, and leaves neither post file nor message.
    let step = Step::new();
    fs::write(step.path("previous.err"), "").unwrap();
    let previous = step.path("previous").display().to_string();
    let ended = step.env(TABLE, "{").flags(["-wait_file", &previous]).run(&["--"]);
    assert_left(&ended, 1, false, None, &[super::internal("Reason", "Skipped")]);
}

#[test]
fn a_reference_to_a_step_s_result_is_not_run_as_it_is_written() {
    let reference = "token=hunter2 sha:$(steps.build.results.digest)";
    for ended in [
        Step::new().run(&["-entrypoint", "/bin/echo", "--", reference]),
        Step::new().env("DIGEST", reference).sh("echo ran"),
    ] {
        assert_eq!((ended.code(), ended.err, ended.stdout.as_str()), (1, true, ""), "{ended:#?}");
        assert!(ended.stderr.contains("$(steps.build.results.digest) is the result of a step"), "{}", ended.stderr);
        assert!(
            !ended.stderr.contains("hunter2"),
            "what stands beside the reference may be a secret: {}",
            ended.stderr
        );
    }
}
