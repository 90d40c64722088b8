//! Both substitutions on real files: what changes, in which order, and what stays where something fails.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use super::*;
use crate::sys::cause::chain;

/// A pod's directories, with what earlier steps left.
struct Pod(tempfile::TempDir);

impl Pod {
    fn new() -> Self {
        let pod = Self(tempfile::tempdir().unwrap());
        for directory in ["steps", "scripts", "tmp"] {
            fs::create_dir(pod.path(directory)).unwrap();
        }
        pod
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A file below the directory of a step.
    fn left(self, step: &str, name: &str, content: impl AsRef<[u8]>) -> Self {
        let path = self.path(&format!("steps/step-{step}/{name}"));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self
    }

    fn result(self, step: &str, name: &str, content: impl AsRef<[u8]>) -> Self {
        self.left(step, &format!("results/{name}"), content)
    }

    fn provenance(self, step: &str, content: impl AsRef<[u8]>) -> Self {
        self.left(step, "artifacts/provenance.json", content)
    }

    /// The error, if any, with the pod's directory cut out.
    fn told(&self, done: Result<(), SubstitutionError>) -> Option<String> {
        done.err().map(|error| error.sentence().replace(&format!("{}/", self.0.path().display()), "/"))
    }

    fn results(&self, env: &mut Env, argv: &mut Vec<OsString>) -> Option<String> {
        self.told(results(env, &mut [], argv, &self.path("steps")))
    }

    fn artifacts(&self, env: &mut Env, argv: &mut Vec<OsString>) -> Option<String> {
        self.told(artifacts(argv, env, &self.path("steps"), &self.path("scripts"), &self.path("tmp")))
    }
}

fn env(variables: &[(&str, &str)]) -> Env {
    variables.iter().copied().collect()
}

fn argv(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

/// A pod in which step `a` left one result of each kind.
fn kinds() -> Pod {
    let pod = Pod::new().result("a", "string", "s").result("a", "list", r#"["x","y z"]"#);
    pod.result("a", "none", "[]").result("a", "map", r#"{"k":"v"}"#).result("b", "string", "t\n")
}

#[test]
fn references_are_replaced_in_variables_and_arguments() {
    let pod = kinds();
    for (text, in_variable, in_arguments) in [
        ("$(steps.a.results.string)", "s", &["s"][..]),
        ("<$(steps.a.results.string)>$(steps.b.results.string)", "<s>t\n", &["<s>t\n"]),
        ("$(steps.a.results.string)$(steps.a.results.string)", "ss", &["ss"]),
        ("$(steps.a.results.list[1])", "y z", &["y z"]),
        ("$(steps.a.results.list[*])", "", &["x", "y z"]),
        ("$(steps.a.results.none[*])", "", &[""]),
        ("<$(steps.a.results.none[*])>", "<>", &["<>"]),
        ("$(steps.a.results.string[*])", "", &[""]),
        ("$(steps.a.results.map.k)", "v", &["v"]),
        ("$(steps.a.results.map.other)", "", &[""]),
        ("$(steps.a.results.list)", "", &[""]),
        ("$(params.x) $(steps.a) $HOME", "$(params.x) $(steps.a) $HOME", &["$(params.x) $(steps.a) $HOME"]),
    ] {
        let (mut env, mut words) = (env(&[("V", text)]), argv(&["/bin/x", text, "end"]));
        assert_eq!(pod.results(&mut env, &mut words), None, "{text}");
        assert_eq!(env.get("V").unwrap(), in_variable, "{text}");
        assert_eq!(words, argv(&[&["/bin/x"], in_arguments, &["end"]].concat()), "{text}");
    }
}

#[test]
fn the_program_is_a_word_like_any_other() {
    let mut words = argv(&["$(steps.a.results.list[*])", "end"]);
    assert_eq!(kinds().results(&mut Env::default(), &mut words), None);
    assert_eq!(words, argv(&["x", "y z", "end"]));
}

#[test]
fn bytes_that_are_no_utf8_survive() {
    let pod = Pod::new().result("a", "bytes", b"\xfe").provenance("a", r#"{"outputs":[{"name":"o","values":[]}]}"#);
    let bytes = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
    let mut env: Env = [
        (bytes(b"N\xff"), bytes(b"\xff$(steps.a.results.bytes)\xff$(steps.a.outputs.o)\xff")),
        (bytes(b"U"), bytes(b"\xff$(")),
    ]
    .into_iter()
    .collect();
    let mut words = vec![bytes(b"\xff"), bytes(b"$(steps.a.results.bytes)")];
    assert_eq!(pod.results(&mut env, &mut words), None);
    assert_eq!(pod.artifacts(&mut env, &mut words), None);
    assert_eq!(words, [bytes(b"\xff"), bytes(b"\xfe")]);
    let values: Vec<_> = env.iter().map(|(_, value)| value.as_bytes()).collect();
    assert_eq!(values, [&b"\xff\xfe\xff[]\xff"[..], b"\xff$("]);
}

#[test]
fn what_a_reference_stands_for_is_not_searched_for_results_again_as_ours_does() {
    // Tekton replaces in what it has put there, too, if the same reference comes later in the text.
    let reference = "$(steps.b.results.string)";
    let pod = kinds().result("a", "trap", reference).result("a", "self", "$(steps.a.results.self)".repeat(2));
    let mut words = argv(&["$(steps.a.results.trap) $(steps.b.results.string)", &"$(steps.a.results.self)".repeat(64)]);
    assert_eq!(pod.results(&mut Env::default(), &mut words), None);
    assert_eq!(words, argv(&[&format!("{reference} t\n"), &"$(steps.a.results.self)".repeat(128)]));
}

#[test]
fn when_expressions_are_replaced_after_variables_and_before_arguments() {
    let pod = kinds();
    let mut when = [WhenExpression {
        input: "$(steps.a.results.list[*])|$(steps.a.results.string)".to_owned(),
        operator: "$(steps.a.results.string)".to_owned(),
        values: ["$(steps.a.results.list[*])", "$(steps.a.results.none[*])", "<$(steps.a.results.string)>", "plain"]
            .map(str::to_owned)
            .into(),
        cel: "'$(steps.a.results.map.k)' == 'v'".to_owned(),
    }];
    results(&mut Env::default(), &mut when, &mut Vec::new(), &pod.path("steps")).unwrap();
    let [WhenExpression { input, operator, values, cel }] = when;
    assert_eq!(values, ["x", "y z", "", "<s>", "plain"]);
    assert_eq!((input.as_str(), cel.as_str()), ("|s", "'v' == 'v'"));
    assert_eq!(operator, "$(steps.a.results.string)", "not searched for references, as in Tekton");
}

#[test]
fn the_first_failure_ends_the_substitution_of_results() {
    let (good, bad) = ("$(steps.a.results.string)", "$(steps.a.results.missing)");
    // Which of the texts fails, and which are changed: two variables, values, input and cel of two expressions, two words.
    for (fails, changed) in [
        (0, [false; 10]),
        (1, [true, false, false, false, false, false, false, false, false, false]),
        (2, [true, true, false, false, false, false, false, false, false, false]),
        (3, [true, true, true, false, false, false, false, false, false, false]),
        (4, [true, true, true, true, false, false, false, false, false, false]),
        (7, [true, true, true, true, true, true, true, false, false, false]),
        (8, [true, true, true, true, true, true, true, true, false, false]),
        (9, [true, true, true, true, true, true, true, true, false, false]),
        (10, [true; 10]),
    ] {
        let pod = kinds();
        let text = |index| if index == fails { bad } else { good };
        let mut env = env(&[("A", text(0)), ("B", text(1))]);
        let mut words = argv(&[text(8), text(9)]);
        let mut when = [2, 5].map(|at| WhenExpression {
            values: vec![text(at).to_owned()],
            input: text(at + 1).to_owned(),
            cel: text(at + 2).to_owned(),
            ..WhenExpression::default()
        });
        let done = results(&mut env, &mut when, &mut words, &pod.path("steps"));
        assert_eq!(done.is_err(), fails < 10);
        let mut after: Vec<String> = env.iter().map(|(_, value)| value.to_str().unwrap().to_owned()).collect();
        for WhenExpression { values, input, cel, .. } in when {
            after.extend([values.concat(), input, cel]);
        }
        after.extend(words.iter().map(|word| word.to_str().unwrap().to_owned()));
        assert_eq!(after.iter().map(|text| text == "s").collect::<Vec<_>>(), changed, "{fails}");
    }
}

#[test]
fn what_stays_is_told_in_tektons_words_then_ours_and_never_with_what_stands_around_it() {
    let pod = kinds().result("a", "dir/x", "");
    let rest = "in variables, when expressions and arguments";
    for (text, in_variable, in_argument) in [
        (
            "$(steps.a.results.zz)",
            "open /steps/step-a/results/zz: no such file or directory",
            Some(
                "failed to find replacement for $(steps.a.results.zz): open /steps/step-a/results/zz: no such file or directory",
            ),
        ),
        (
            "$(steps.a.results.dir)",
            "read /steps/step-a/results/dir: it is a directory, and must be a regular file",
            None,
        ),
        (
            "$(steps.a.b.results.c)",
            r#"must be one of the form 1). "steps.<stepName>.results.<resultName>"; 2). "steps.<stepName>.results.<objectResultName>.<individualAttribute>""#,
            None,
        ),
    ] {
        let secret = format!("hunter2 {text} hunter2");
        let told = pod.results(&mut env(&[("V", &secret)]), &mut Vec::new()).unwrap();
        let expected = format!(
            "Error while substituting step results: error={in_variable:?}; the step runs all the same: {text} in the \
             environment variable \"V\" stays as it is, and so does every one after it, {rest}"
        );
        assert!(told.starts_with(&expected), "{told}\n{expected}");
        let told = pod.results(&mut Env::default(), &mut argv(&["/bin/x", &secret])).unwrap();
        let words =
            in_argument.map_or_else(|| format!("failed to find replacement for {text}: {in_variable}"), str::to_owned);
        let expected = format!(
            "Error while substituting step results: error={words:?}; the step runs all the same: {text} in argument 1 stays \
             as it is, and so does every other one in an argument"
        );
        assert!(told.starts_with(&expected), "{told}\n{expected}");
    }
    let told = pod.results(&mut Env::default(), &mut argv(&["/bin/x", "hunter2$(steps.a.results.list[*])"])).unwrap();
    assert_eq!(
        told,
        "Error while substituting step results: error=\"value must be in \\\"$(steps.<step-name>.results.<result-name>[*])\\\" \
         format, when using array results\"; the step runs all the same: $(steps.a.results.list[*]) in argument 1 stays as it \
         is, and so does every other one in an argument"
    );
    let swallowed = pod.results(&mut env(&[("V", "$(steps.a) hunter2 $(x.results.y)")]), &mut Vec::new()).unwrap();
    assert!(swallowed.contains("open /steps/step-a…/results/y: "), "{swallowed}");
    assert!(!swallowed.contains("hunter2"), "{swallowed}");
}

#[test]
fn an_element_that_is_not_there_ends_the_step() {
    let pod = kinds();
    for (reference, words, what) in [
        (
            "$(steps.a.results.list[2])",
            "index out of range [2] with length 2",
            "it is an array, whose first element is [0]",
        ),
        (
            "$(steps.a.results.none[0])",
            "index out of range [0] with length 0",
            "it is an array, whose first element is [0]",
        ),
        (
            "$(steps.a.results.string[0])",
            "index out of range [0] with length 0",
            "it is a string, not a JSON array of strings",
        ),
        (
            "$(steps.a.results.map[0])",
            "index out of range [0] with length 0",
            "it is an object, not a JSON array of strings",
        ),
    ] {
        let error = results(&mut env(&[("V", reference)]), &mut [], &mut Vec::new(), &pod.path("steps")).unwrap_err();
        assert_eq!(error.fatal(), Some(crate::outcome::NotRunKind::Substitution));
        assert_eq!(
            error.sentence(),
            format!(
                "{words}: {reference} in the environment variable \"V\" asks for an element that the result does not have: \
                 {what}"
            )
        );
        assert_eq!(chain(&error), format!("{reference} in the environment variable \"V\": {words}"));
    }
}

#[test]
fn a_nul_byte_stays_out_of_variables_and_ends_a_step_that_has_it_in_an_argument() {
    let pod = kinds().result("a", "nul", b"a\0b");
    let (reference, good) = ("$(steps.a.results.nul)", "$(steps.a.results.string)");
    let mut env = env(&[("V", reference), ("W", good)]);
    assert_eq!(pod.results(&mut env, &mut Vec::new()), None);
    assert_eq!((env.get("V").unwrap(), env.get("W").unwrap()), (OsString::from(reference).as_os_str(), "s".as_ref()));

    let mut words = argv(&["/bin/x", reference]);
    let error = results(&mut Env::default(), &mut [], &mut words, &pod.path("steps")).unwrap_err();
    assert_eq!(error.fatal(), Some(crate::outcome::NotRunKind::Other));
    assert!(
        error.sentence().starts_with("Error executing command: invalid argument: $(steps.a.results.nul) in argument 1")
    );
}

#[test]
fn more_than_a_process_can_be_given_ends_the_step_and_takes_no_memory() {
    let pod = kinds().result("a", "large", vec![b'x'; 1 << 20]).result(
        "a",
        "words",
        format!("[{}\"\"]", "\"\",".repeat(200_000)),
    );
    for word in ["$(steps.a.results.large)".repeat(1000), "$(steps.a.results.words[*])".to_owned()] {
        let mut words = vec![OsString::from(word); 1000];
        let error = results(&mut Env::default(), &mut [], &mut words, &pod.path("steps")).unwrap_err();
        assert_eq!(error.fatal(), Some(crate::outcome::NotRunKind::Other));
        assert!(
            error.sentence().starts_with("Error executing command: argument list too long: with $(steps.a.results.")
        );
        assert_eq!(words.len(), 1000);
    }
}

#[test]
fn a_file_that_is_no_file_is_named_and_never_waited_for() {
    let pod = kinds();
    let results = |name: &str| pod.path("steps/step-a/results").join(name);
    nix::unistd::mkfifo(&results("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    symlink("/dev/zero", results("device")).unwrap();
    symlink("loop", results("loop")).unwrap();
    // Sparse: reading it whole would take a tebibyte of memory.
    fs::File::create(results("huge")).unwrap().set_len(1 << 40).unwrap();
    for (name, found) in [
        ("fifo", "read /steps/step-a/results/fifo: it is a FIFO, and must be a regular file"),
        ("device", "read /steps/step-a/results/device: it is a device, and must be a regular file"),
        ("loop", "open /steps/step-a/results/loop: too many levels of symbolic links"),
        ("huge", "read /steps/step-a/results/huge: it has more than 1048576 bytes"),
    ] {
        let told = pod.results(&mut env(&[("V", &format!("$(steps.a.results.{name})"))]), &mut Vec::new()).unwrap();
        assert!(told.contains(&format!("error=\"{found}\"")), "{told}");
    }
}

#[test]
fn a_link_to_a_steps_directory_is_followed_as_step_init_makes_it() {
    let pod = Pod::new();
    fs::create_dir_all(pod.path("run/0/status/results")).unwrap();
    fs::write(pod.path("run/0/status/results/r"), "v").unwrap();
    symlink(pod.path("run/0/status"), pod.path("steps/step-a")).unwrap();
    let mut words = argv(&["$(steps.a.results.r)"]);
    assert_eq!(pod.results(&mut Env::default(), &mut words), None);
    assert_eq!(words, argv(&["v"]));
}

/// A pod in which step `a` made the artifact `o`.
fn made() -> (Pod, &'static str) {
    let provenance = r#"{"outputs":[{"name":"o","values":[{"uri":"a&b","digest":{"sha256":"c"}}]}]}"#;
    (Pod::new().provenance("a", provenance), r#"[{"digest":{"sha256":"c"},"uri":"a\u0026b"}]"#)
}

#[test]
fn artifacts_are_replaced_in_arguments_then_in_variables() {
    let (pod, values) = made();
    let (good, bad) = ("<$(steps.a.outputs.o)>", "$(steps.a.outputs.zz)");
    let done = format!("<{values}>");
    for (texts, expected) in [
        ([good, good, good, good], [&*done, &done, &done, &done]),
        ([good, bad, good, good], [good, bad, good, good]),
        ([good, good, bad, good], [&done, &done, bad, good]),
        ([good, good, good, bad], [&done, &done, &done, bad]),
    ] {
        let [first, second, third, fourth] = texts;
        let (mut env, mut words) = (env(&[("A", third), ("B", fourth)]), argv(&[first, second]));
        assert_eq!(pod.artifacts(&mut env, &mut words).is_some(), texts.contains(&bad));
        let after: Vec<_> = words.iter().map(OsString::as_os_str).chain(env.iter().map(|(_, value)| value)).collect();
        assert_eq!(after, expected);
    }
}

#[test]
fn artifacts_that_stay_are_told_in_tektons_words_then_ours() {
    let (pod, _) = made();
    let pod = pod.provenance("b", "[hunter2]").provenance("c", r#"{"outputs":{"hunter2":1}}"#);
    for (text, words) in [
        ("$(steps.a.outputs.zz)", "values for template $(steps.a.outputs.zz) not found"),
        ("$(steps.a.inputs.o)", "values for template $(steps.a.inputs.o) not found"),
        ("$(steps.zz.outputs.o)", "open /steps/step-zz/artifacts/provenance.json: no such file or directory"),
        (
            "$(steps.b.outputs.o)",
            "read /steps/step-b/artifacts/provenance.json: it is not JSON: expected value at line 1 column 2",
        ),
        (
            "$(steps.c.outputs.o)",
            "read /steps/step-c/artifacts/provenance.json: outputs is an object, and must be an array",
        ),
    ] {
        let told = pod.artifacts(&mut Env::default(), &mut argv(&["/bin/x", &format!("hunter2 {text}")])).unwrap();
        let expected = format!(
            "Error while substituting step artifacts: error={words:?}; the step runs all the same: {text} in argument 1 \
             stays as it is, and so does every other one to an artifact"
        );
        assert!(told.starts_with(&expected), "{told}\n{expected}");
        assert!(!told.contains("hunter2"), "{told}");
    }
}

#[test]
fn a_script_with_references_to_artifacts_is_replaced_and_one_without_is_not() {
    let (pod, values) = made();
    let script = pod.path("scripts/script-0-abcde");
    for (content, expected) in [
        ("#!/bin/sh\n".to_owned(), None),
        ("$(steps.a.results.r)\n".to_owned(), None),
        ("#!/bin/sh\necho '$(steps.a.outputs.o)'\n".to_owned(), Some(format!("#!/bin/sh\necho '{values}'\n"))),
        ("\u{fffd}".repeat(3), None),
    ] {
        fs::write(&script, &content).unwrap();
        let mut words = vec![script.clone().into_os_string()];
        assert_eq!(pod.artifacts(&mut Env::default(), &mut words), None);
        match expected {
            None => assert_eq!(words, [script.as_os_str()]),
            Some(expected) => {
                let [new] = words.as_slice() else { panic!("{words:?}") };
                assert_eq!(Path::new(new).parent(), Some(pod.path("tmp").as_path()));
                assert_eq!(fs::read_to_string(new).unwrap(), expected);
            }
        }
        assert_eq!(fs::read_to_string(&script).unwrap(), content, "the script itself belongs to the controller");
    }
}

#[test]
fn a_script_with_arguments_is_left_alone() {
    let (pod, values) = made();
    let script = pod.path("scripts/s");
    fs::write(&script, "$(steps.a.outputs.o)").unwrap();
    let mut words = vec![script.clone().into_os_string(), "$(steps.a.outputs.o)".into()];
    assert_eq!(pod.artifacts(&mut Env::default(), &mut words), None);
    assert_eq!(words, [script.into_os_string(), values.into()]);
}

#[test]
fn a_script_that_cannot_be_read_or_placed_stays() {
    let (pod, _) = made();
    let script = pod.path("scripts/s");
    let mut words = vec![script.clone().into_os_string()];
    let told = pod.artifacts(&mut env(&[("V", "$(steps.a.outputs.o)")]), &mut words).unwrap();
    assert!(
        told.starts_with(
            "Error while substituting step artifacts: error=\"open /scripts/s: no such file or directory\"; the step runs all \
             the same: the script \"/scripts/s\" stays as it is, and so does every reference to an artifact in a variable"
        ),
        "{told}"
    );

    fs::write(&script, "$(steps.a.outputs.o)").unwrap();
    fs::remove_dir(pod.path("tmp")).unwrap();
    let told = pod.artifacts(&mut Env::default(), &mut words).unwrap();
    assert!(told.contains("error=\"open /tmp/script-") && told.contains("TMPDIR"), "{told}");
    assert_eq!(words, [script.into_os_string()]);
}

#[test]
fn ten_thousand_references_are_replaced_and_each_file_is_read_once() {
    let (pod, values) = made();
    let script = pod.path("scripts/s");
    let large = format!(r#"{{"inputs":[{}{{}}],{}"#, "{},".repeat(100_000), r#""outputs":[{"name":"o","values":[]}]}"#);
    let pod = pod.provenance("b", large);
    fs::write(&script, "$(steps.a.outputs.o)$(steps.b.outputs.o)\n".repeat(5_000)).unwrap();
    let mut words = vec![script.into_os_string()];
    assert_eq!(pod.artifacts(&mut Env::default(), &mut words), None);
    assert_eq!(fs::read_to_string(&words[0]).unwrap(), format!("{values}[]\n").repeat(5_000));
}
