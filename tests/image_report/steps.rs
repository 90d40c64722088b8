//! What a step with `-image` leaves of its image: the built program, a registry on loopback, and the step's own hands in the
//! directory that it is left in.

use std::path::PathBuf;
use std::process::Output;

use serde_json::{Value, json};

use super::oci::{Command, Layout, architecture};
use super::registry::Registry;
use super::server::{Bound, Server};
use super::step::Step;
use super::tls::{Authority, LOOPBACK};
use super::valid_text;

/// A registry with one image under two names: `v1` leads to an index, `single` to its manifest. What it runs is a shell
/// script.
pub(super) struct World {
    pub(super) dir: tempfile::TempDir,
    pub(super) index: Value,
    pub(super) image: Value,
    /// One that no name leads to any more.
    #[cfg_attr(not(feature = "kube"), expect(dead_code, reason = "only a pod can run it"))]
    pub(super) old: Value,
    pub(super) registry: Server,
}

/// What a step left.
pub(super) struct Left {
    code: Option<i32>,
    pub(super) stderr: String,
    message: Vec<Value>,
    step: Step,
}

impl World {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::new("the tests' authority");
        authority.write(dir.path());
        let mut layout = Layout::create(&dir.path().join("layout"));
        let image = layout.image(architecture(), Command { entrypoint: &["/bin/sh", "-c"], cmd: &["exit 0"] }, &[]);
        let index = layout.index(std::slice::from_ref(&image));
        layout.tag("v1", &index);
        layout.tag("single", &image);
        let old = layout.image(architecture(), Command { entrypoint: &["/bin/echo", "old"], cmd: &[] }, &[]);
        let served = Registry { layout: layout.dir().to_owned(), authorization: None };
        let registry =
            Server::handler(Bound::new(), Some(authority.server(LOOPBACK)), move |request| served.answer(request));
        Self { dir, index, image, old, registry }
    }

    pub(super) fn name(&self, image: &str) -> String {
        format!("{}/{image}", self.registry.host())
    }

    pub(super) fn step(&self, image: &str, flags: &[&str]) -> Step {
        let host = self.registry.host();
        let certificate = format!("{host}={}", self.dir.path().join("ca.crt").display());
        let image = self.name(image);
        let own = ["-image", &image, "-image_registry_certificate", &certificate];
        Step::new().flags(own.iter().chain(flags).copied())
    }

    /// Runs a script as the step, with its own directory as `$STATUS`.
    fn run(&self, flags: &[&str], script: &str) -> Left {
        run(self.step("team/tool:v1", flags), script)
    }
}

pub(super) fn run(step: Step, script: &str) -> Left {
    let status = step.path("status").display().to_string();
    let step = step.env("STATUS", &status);
    let child = step.start(&["--", script]);
    let Output { status, stderr, .. } = child.wait_with_output().unwrap();
    let message = std::fs::read(step.path("termination")).unwrap();
    let message = serde_json::from_slice(&message).unwrap();
    Left { code: status.code(), stderr: String::from_utf8(stderr).unwrap(), message, step }
}

impl Left {
    fn path(&self, name: &str) -> PathBuf {
        self.step.path(&format!("status/{name}"))
    }

    fn text(&self, name: &str) -> String {
        let path = self.path(name);
        assert!(std::fs::symlink_metadata(&path).unwrap().is_file(), "{}", path.display());
        std::fs::read_to_string(path).unwrap()
    }

    /// The document, which must be valid.
    pub(super) fn image(&self) -> Value {
        let text = self.text("image.json");
        valid_text(text.strip_suffix('\n').unwrap())
    }

    /// The values of the entries with this key.
    fn entries(&self, key: &str) -> Vec<&Value> {
        self.message.iter().filter(|entry| entry["key"] == key).collect()
    }

    #[track_caller]
    pub(super) fn ended(&self, code: i32, lines: usize) {
        assert_eq!((self.code, self.stderr.lines().count()), (Some(code), lines), "{}", self.stderr);
        assert_eq!(self.step.path("out").exists(), code == 0);
        assert_eq!(self.step.path("out.err").exists(), code != 0);
    }
}

/// What the document says of the image of the world.
fn expected(world: &World, tag: &str) -> Value {
    let path = format!("layout/blobs/{}", world.image["digest"].as_str().unwrap().replace(':', "/"));
    let manifest: Value = serde_json::from_slice(&std::fs::read(world.dir.path().join(path)).unwrap()).unwrap();
    let name = world.name(&format!("team/tool:{tag}"));
    let index = if tag == "v1" { &world.index["digest"] } else { &Value::Null };
    json!({
        "requested": {"written": name, "reference": name},
        "command": {"from": "registry", "registry": world.registry.host(), "pinnedBy": "registry"},
        "digests": {
            "index": index,
            "manifest": world.image["digest"],
            "config": manifest["config"]["digest"],
            "repository": null,
        },
        "platform": format!("linux/{}", architecture()),
    })
}

#[track_caller]
pub(super) fn says(document: &Value, expected: &Value) {
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&document[name], value, "{name} in {document:#}");
    }
}

#[test]
fn a_step_leaves_which_image_it_was_before_the_next_one_starts() {
    let world = World::new();
    let step = world.step("team/tool:v1", &[]);
    let (out, file) = (step.path("out").display().to_string(), step.path("status/image.json").display().to_string());
    let next = Step::new().flags(["-wait_file", &out]);
    let waiting = next.start(&["-entrypoint", "/bin/cat", "--", &file]);
    let left = run(step, "test ! -e $STATUS/image.json");
    left.ended(0, 0);
    says(&left.image(), &expected(&world, "v1"));
    assert_eq!(next.finish(waiting).stdout, left.text("image.json"));
    assert_eq!(left.text("exitCode"), "0");
    assert_eq!(left.message.len(), 1, "{:?}", left.message);
    assert_eq!(std::fs::read_dir(left.path("results")).unwrap().count(), 0);
}

#[test]
fn a_step_that_fails_leaves_it_too_and_its_own_exit_code_stays() {
    let world = World::new();
    let left = run(world.step("team/tool:single", &["-image_report_result", "image"]), "exit 7");
    left.ended(7, 0);
    says(&left.image(), &expected(&world, "single"));
    assert_eq!(left.entries("image").len(), 1);
}

#[test]
fn a_lookup_that_failed_is_told_without_a_command() {
    let world = World::new();
    let left = run(world.step("team/tool:none", &["-image_report_result", "image"]), "exit 0");
    left.ended(1, 1);
    let document = left.image();
    let name = world.name("team/tool:none");
    let nothing = json!({"index": null, "manifest": null, "config": null, "repository": null});
    let requested = json!({"written": name, "reference": name});
    says(&document, &json!({"requested": requested, "command": null, "digests": nothing, "platform": null}));
    let note = document["notes"][0].as_str().unwrap();
    assert!(note.contains("cannot look up the command of image") && note.contains("404"), "{note}");
    assert_eq!(left.entries("image").len(), 1, "{:?}", left.message);
}

#[test]
fn with_the_registrys_word_wanted_the_pods_status_is_told_as_not_asked_for() {
    let world = World::new();
    let left = world.run(&["-image_pin", "registry"], "exit 0");
    left.ended(0, 0);
    let because = "what the runtime runs was not asked for";
    says(&left.image(), &expected(&world, "v1"));
    says(&left.image(), &json!({"runtime": null, "match": "unknown", "compared": null, "because": because}));
}

#[test]
fn the_result_has_the_document_and_is_in_the_message_once() {
    let world = World::new();
    let script = "echo mine > $STATUS/results/image; echo other > $STATUS/results/other";
    for flags in [
        &["-image_report_result", "image", "-step_results", "other"][..],
        &["-image_report_result", "image", "-step_results", "image,other"],
        &["-image_report_result", "image", "-step_results", "other", "-compress_termination_message=false"],
    ] {
        let left = world.run(flags, script);
        left.ended(0, 0);
        let value = left.text("results/image");
        says(&valid_text(&value), &expected(&world, "v1"));
        assert_eq!(left.entries("image"), [&json!({"key": "image", "value": value, "type": 4})], "{flags:?}");
        assert_eq!(left.entries("other"), [&json!({"key": "other", "value": "other\n", "type": 4})]);
    }
}

#[test]
fn where_results_are_taken_from_files_the_result_is_a_file_and_not_in_the_message() {
    let world = World::new();
    let left = world.run(&["-image_report_result", "image", "-result_from", "sidecar-logs"], "exit 0");
    left.ended(0, 0);
    valid_text(&left.text("results/image"));
    assert_eq!(left.message.len(), 1, "{:?}", left.message);
}

#[test]
fn what_the_step_has_put_at_the_names_is_replaced_and_what_it_leads_to_is_left_alone() {
    let world = World::new();
    let script =
        "echo kept > $STATUS/../other; ln -s ../other $STATUS/image.json; ln -s ../../other $STATUS/results/image";
    let left = world.run(&["-image_report_result", "image", "-step_results", "image"], script);
    left.ended(0, 0);
    says(&left.image(), &expected(&world, "v1"));
    valid_text(&left.text("results/image"));
    assert_eq!(std::fs::read_to_string(left.step.path("other")).unwrap(), "kept\n");
    assert_eq!(left.entries("image").len(), 1);

    let script = "mkfifo $STATUS/image.json $STATUS/results/image";
    let left = world.run(&["-image_report_result", "image", "-step_results", "image"], script);
    left.ended(0, 0);
    left.image();
}

#[test]
fn what_cannot_be_written_is_a_warning_behind_the_post_file_and_the_steps_end_is_its_own() {
    let world = World::new();
    let flags = ["-image_report_result", "image", "-step_results", "image"];
    let unwritten = |left: &Left, names: &[&str], why: &str| {
        for (line, name) in left.stderr.lines().zip(names) {
            let path = left.path(name);
            let said = format!(" WARN {path:?}, which says which image the step was, cannot be written: {why}");
            assert!(line.ends_with(&said), "{line}");
        }
        assert_eq!(left.entries("image").len(), 1, "it is known all the same");
    };
    let left = world.run(&flags, "rm -r $STATUS; exit 7");
    left.ended(7, 2);
    unwritten(&left, &["image.json", "results/image"], "no such file or directory");

    let left = world.run(&flags, "rm -r $STATUS/results");
    left.ended(0, 1);
    unwritten(&left, &["results/image"], "no such file or directory");
    left.image();

    let left = world.run(&flags, "mkdir -p $STATUS/image.json/x $STATUS/results/image");
    left.ended(0, 2);
    unwritten(&left, &["image.json", "results/image"], "is a directory");
}

#[test]
fn a_result_that_does_not_fit_is_left_out_of_the_message_with_a_warning() {
    let world = World::new();
    let own = ["-image_report_result", "image", "-step_results", "image,big"];
    let big = |size: usize| format!("head -c {size} /dev/zero | tr '\\0' x > $STATUS/results/big");
    for (flags, size, limit) in [(&[][..], 3500, "4096"), (&["-termination_containers", "24"], 10, "512")] {
        let flags: Vec<&str> = own.iter().chain(flags).copied().collect();
        let left = world.run(&flags, &big(size));
        left.ended(0, 1);
        let said =
            " WARN Which image the step was, its result \"image\", is not in the termination message: that would have ";
        assert!(left.stderr.contains(said) && left.stderr.contains(&format!(" may have {limit}; ")), "{}", left.stderr);
        assert_eq!((left.entries("image").len(), left.entries("big").len()), (0, 1));
        valid_text(&left.text("results/image"));
        left.image();
    }
    // Where the step's own results are too large, they fail it, and the image is told.
    let left = world.run(&own, &big(5000));
    left.ended(1, 2);
    assert_eq!(left.entries("Reason")[0]["value"], "ResultsTooLarge");
    assert_eq!((left.entries("image").len(), left.entries("big").len()), (1, 0));
}

#[test]
fn a_result_of_the_task_with_the_same_name_stays_and_that_is_said() {
    let world = World::new();
    let left = world.run(&["-image_report_result", "image", "-results", "image"], "exit 0");
    left.ended(0, 1);
    assert!(left.stderr.contains("give another to -image_report_result"), "{}", left.stderr);
    assert_eq!(left.entries("image").len(), 0);
    valid_text(&left.text("results/image"));
}

#[test]
fn a_step_that_is_skipped_leaves_nothing_of_its_image() {
    let world = World::new();
    let unwanted = r#"[{"input":"a","operator":"in","values":["b"]}]"#;
    let result = ["-image_report_result", "image"];
    let step = world.step("team/tool:v1", &result).flags(["-when_expressions", unwanted]);
    let unwanted = run(step, "exit 0");
    unwanted.ended(0, 1);

    let step = world.step("team/tool:v1", &result);
    let before = step.path("before").display().to_string();
    std::fs::write(format!("{before}.err"), "").unwrap();
    let skipped = run(step.flags(["-wait_file", &before]), "exit 0");
    skipped.ended(1, 1);

    for left in [unwanted, skipped] {
        assert!(!left.path("image.json").exists() && !left.path("results/image").exists());
        assert_eq!(left.entries("image").len(), 0);
    }
}
