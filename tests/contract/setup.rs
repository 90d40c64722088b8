//! Section 3: subcommands as they are called. What they do to files is in `tests/setup.rs`.

use std::fs;
use std::process::{Command, Stdio};

use super::{assert_left, in_tekton, internal, lines};
use crate::step::{Step, entrypoint};

#[test]
fn a_subcommand_that_succeeds_says_one_line_on_standard_error() {
    let Some(step) = in_tekton() else { return };
    fs::write(step.path("tekton/program"), "x").unwrap();
    fs::write(step.path("tekton/script"), "aGk=").unwrap();
    let rows: [(&[&str], &str); 4] = [
        (&["cp", "/tekton/program", "/tekton/copy"], "Copied /tekton/program to /tekton/copy"),
        (&["step-init", "step-a"], "Setup /step directories"),
        (&["decode-script", "/tekton/script"], "Decoded script /tekton/script"),
        (&["init", "/tekton/program", "/tekton/entrypoint", "step-a", "step-b"], "Entrypoint initialization"),
    ];
    for (words, line) in rows {
        let output = step.start(words).wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{words:?}");
        assert_eq!(lines(&String::from_utf8(output.stderr).unwrap()), [line]);
        assert!(output.stdout.is_empty(), "{words:?}");
    }
    assert_eq!(fs::read(step.path("tekton/script")).unwrap(), b"hi");
    for (link, target) in [("step-a", 0), ("step-b", 1), ("1", 1)] {
        let text = fs::read_link(step.path("tekton/steps").join(link)).unwrap();
        assert_eq!(text.to_str(), Some(format!("/tekton/run/{target}/status").as_str()), "{link}");
    }
    // A subcommand is no step: it leaves none of a step's files.
    assert!(!step.path("out").exists() && !step.path("out.err").exists() && !step.path("termination").exists());
}

#[test]
fn a_subcommand_that_fails_exits_with_1_and_names_itself() {
    for (words, line) in [
        (&["cp", "/no/program", "/no/copy"][..], "cp error: open /no/program: no such file or directory"),
        (&["init", "/no/program", "/no/copy"], "init error: open /no/program: no such file or directory"),
        (
            &["decode-script", "/no/script"],
            "decode-script error: error decoding script file \"/no/script\": error reading from script file \
             \"/no/script\": open /no/script: no such file or directory",
        ),
    ] {
        let ended = Step::new().run(words);
        assert_eq!((ended.code(), lines(&ended.stderr)), (1, vec![line]));
        assert_eq!((ended.post, ended.err, ended.message), (false, false, None));
    }
}

#[test]
fn a_subcommand_with_another_number_of_arguments_is_a_mistake_as_ours_does() {
    // Tekton goes on as a step, which fails for want of a command.
    let ended = Step::new().run(&["cp", "only-one"]);
    let sentence = "cp takes 2 arguments, got 1: entrypoint cp SRC DST";
    assert_left(&ended, 2, false, None, &[internal("entrypoint/error", sentence)]);
    assert_eq!(lines(&ended.stderr).first(), Some(&sentence));
}

#[test]
fn the_version_goes_to_standard_output() {
    let child = Command::new(entrypoint()).arg("version").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let output = child.unwrap().wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(text.starts_with(concat!("entrypoint ", env!("CARGO_PKG_VERSION"), "\n")), "{text}");
    assert!(output.stderr.is_empty());
}
