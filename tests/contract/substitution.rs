//! Section 8: references to results and artifacts of earlier steps, which stand below `/tekton/steps`.

use std::fs;

use super::step::{Ended, Step};
use super::{assert_left, executable, in_tekton, internal, lines};

/// Prints its arguments, one per line and in brackets.
const SHOW: &str = "for word; do echo \"[$word]\"; done";

/// A step after one that left these results and this provenance.
fn after(results: &[(&str, &str)], provenance: Option<&str>) -> Option<Step> {
    let step = in_tekton()?;
    let left = step.path("tekton/steps/step-a");
    fs::create_dir_all(left.join("results")).unwrap();
    fs::create_dir_all(left.join("artifacts")).unwrap();
    for (name, content) in results {
        fs::write(left.join("results").join(name), content).unwrap();
    }
    if let Some(provenance) = provenance {
        fs::write(left.join("artifacts/provenance.json"), provenance).unwrap();
    }
    Some(step)
}

/// Runs [`SHOW`] with these arguments.
fn show(step: Step, args: &[&str]) -> Ended {
    step.run(&[&["-entrypoint", "/bin/sh", "--", "-c", SHOW, "sh"], args].concat())
}

#[test]
fn references_to_results_are_replaced_in_environment_and_arguments() {
    let results = [("text", "a b\n"), ("list", r#"["x","y"]"#), ("none", "[]"), ("map", r#"{"k":"v"}"#)];
    let Some(step) = after(&results, None) else { return };
    let step = step.env("V", "<$(steps.a.results.text)>").env("ALL", "<$(steps.a.results.list[*])>");
    let ended = step.run(&[
        "-entrypoint",
        "/bin/sh",
        "--",
        "-c",
        &format!("echo \"$V$ALL\"; {SHOW}"),
        "sh",
        "$(steps.a.results.text)",
        "$(steps.a.results.list[*])",
        "$(steps.a.results.none[*])",
        "<$(steps.a.results.list[1])$(steps.a.results.map.k)$(steps.a.results.map)>",
    ]);
    assert_left(&ended, 0, true, Some("0"), &[]);
    assert_eq!(ended.stdout, "<a b\n><>\n[a b\n]\n[x]\n[y]\n[]\n[<yv>]\n");
    assert_eq!(ended.stderr, "");
}

#[test]
fn the_program_is_searched_with_what_was_put_into_path() {
    let Some(step) = after(&[("path", "/tekton/tools:/bin"), ("program", "tool")], None) else { return };
    fs::create_dir(step.path("tekton/tools")).unwrap();
    executable(&step.path("tekton/tools/tool"), "#!/bin/sh\necho \"$0 $PATH\"\n");
    let ended =
        step.under(&["env", "PATH=$(steps.a.results.path)"]).run(&["-entrypoint", "$(steps.a.results.program)", "--"]);
    assert_eq!(ended.stdout, "/tekton/tools/tool /tekton/tools:/bin\n", "{ended:#?}");
}

#[test]
fn a_reference_that_cannot_be_replaced_is_told_and_the_step_runs_with_it() {
    let Some(step) = after(&[("text", "done")], None) else { return };
    let step = step.env("A", "$(steps.a.results.text)").env("B", "hunter2 $(steps.a.results.missing)");
    let ended = step.run(&["-entrypoint", "/bin/sh", "--", "-c", "echo \"$A $B $1\"", "sh", "$(steps.a.results.text)"]);
    assert_left(&ended, 0, true, Some("0"), &[]);
    assert_eq!(ended.stdout, "done hunter2 $(steps.a.results.missing) $(steps.a.results.text)\n");
    let lines = lines(&ended.stderr);
    let [line] = lines.as_slice() else { panic!("{lines:?}") };
    assert!(
        line.starts_with(
            "ERROR Error while substituting step results: error=\"open /tekton/steps/step-a/results/missing: no such file or \
             directory\"; the step runs all the same: $(steps.a.results.missing) in the environment variable \"B\""
        ),
        "{line}"
    );
    assert!(!line.contains("hunter2"), "what stands beside a reference may be a secret: {line}");
}

#[test]
fn an_element_that_is_not_there_fails_the_step_and_the_next_is_skipped_as_ours_does() {
    // Tekton panics, and leaves no post file.
    let Some(step) = after(&[("list", r#"["x"]"#)], None) else { return };
    let ended = show(step.flags(["-on_error", "continue"]), &["hunter2", "hunter2 $(steps.a.results.list[1])"]);
    let line = "index out of range [1] with length 1: $(steps.a.results.list[1]) in argument 5 asks for an element that the \
                result does not have: it is an array, whose first element is [0]";
    assert_left(&ended, 2, false, None, &[internal("entrypoint/error", line)]);
    assert_eq!(lines(&ended.stderr), [line]);
    assert_eq!(ended.stdout, "");
}

#[test]
fn references_to_artifacts_are_replaced_by_their_values() {
    let provenance = r#"{"inputs": [{"name":"i"}], "outputs": [{"name":"o","values":[{"uri":"u?a&b","digest":{"sha256":"2","md5":"1"}}]}]}"#;
    let Some(step) = after(&[], Some(provenance)) else { return };
    let ended = show(step, &["<$(steps.a.outputs.o)>", "$(steps.a.inputs.i)"]);
    assert_left(&ended, 0, true, Some("0"), &[]);
    assert_eq!(ended.stdout, "[<[{\"digest\":{\"md5\":\"1\",\"sha256\":\"2\"},\"uri\":\"u?a\\u0026b\"}]>]\n[null]\n");
}

#[test]
fn references_to_artifacts_in_a_script_make_it_another_file() {
    let Some(step) = after(&[("r", "v")], Some(r#"{"outputs":[{"name":"o","values":[{"uri":"u"}]}]}"#)) else { return };
    fs::create_dir(step.path("tekton/scripts")).unwrap();
    fs::create_dir(step.path("tekton/tmp")).unwrap();
    let script = "#!/bin/sh\numask; echo \"$0 $V $(ls -l \"$0\" | cut -c-10)\"; echo '$(steps.a.outputs.o)'; echo '$(steps.a.results.r)'\n";
    executable(&step.path("tekton/scripts/script-0-abcde"), script);
    let step = step.env("TMPDIR", "/tekton/tmp").env("V", "$(steps.a.outputs.o)");
    let step = step.under(&["sh", "-c", "umask 077; exec \"$@\"", "sh"]);
    let ended = step.run(&["-entrypoint", "/tekton/scripts/script-0-abcde", "--"]);
    assert_left(&ended, 0, true, Some("0"), &[]);
    let lines: Vec<&str> = ended.stdout.lines().collect();
    let [umask, about, artifact, result] = lines.as_slice() else { panic!("{ended:#?}") };
    assert_eq!((*umask, *artifact, *result), ("0077", r#"[{"uri":"u"}]"#, "$(steps.a.results.r)"));
    let (name, rest) = about.split_once(' ').unwrap();
    assert!(name.starts_with("/tekton/tmp/script-"), "{name}");
    assert_eq!(rest, r#"[{"uri":"u"}] -rwxr-xr-x"#);
}

#[test]
fn an_artifact_that_is_not_there_is_told_and_the_step_runs_without_it() {
    let Some(step) = after(&[], Some(r#"{"outputs":[{"name":"o"}]}"#)) else { return };
    let ended = show(step, &["$(steps.a.outputs.o)", "hunter2 $(steps.a.outputs.p)"]);
    assert_left(&ended, 0, true, Some("0"), &[]);
    assert_eq!(ended.stdout, "[$(steps.a.outputs.o)]\n[hunter2 $(steps.a.outputs.p)]\n");
    let lines = lines(&ended.stderr);
    let [line] = lines.as_slice() else { panic!("{lines:?}") };
    assert!(
        line.starts_with(
            "ERROR Error while substituting step artifacts: error=\"values for template $(steps.a.outputs.p) not found\"; the \
             step runs all the same: $(steps.a.outputs.p) in argument 5"
        ),
        "{line}"
    );
    assert!(!line.contains("hunter2"), "{line}");
}

#[test]
fn a_step_whose_turn_does_not_come_replaces_nothing() {
    let Some(step) = after(&[], None) else { return };
    fs::write(step.path("tekton/previous.err"), "").unwrap();
    let ended = show(step.flags(["-wait_file", "/tekton/previous"]), &["$(steps.a.results.missing)"]);
    assert_left(&ended, 1, false, None, &[internal("Reason", "Skipped")]);
    assert!(!ended.stderr.contains("substituting"), "{ended:#?}");
}
