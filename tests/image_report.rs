//! `image.json` is as `docs/image.schema.json` has it, whatever a runtime and a registry say, and the schema refuses what
//! it should.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and waits for the processes that it starts"
)]

#[cfg(feature = "kube")]
#[path = "support/kube_api.rs"]
mod kube_api;
#[path = "support/oci.rs"]
mod oci;
#[path = "../examples/demo/registry.rs"]
#[allow(unreachable_pub, reason = "shared with the demo")]
mod registry;
#[path = "support/schema.rs"]
mod schema;
#[path = "support/server.rs"]
mod server;
#[path = "support/step.rs"]
mod step;
#[path = "support/tls.rs"]
mod tls;

#[path = "image_report/lookups.rs"]
mod lookups;
#[cfg(feature = "kube")]
#[path = "image_report/pods.rs"]
mod pods;
#[path = "image_report/steps.rs"]
mod steps;

use entrypoint::image::agreement::{Agreement, Answer, Kind, Within};
use entrypoint::image::{Digest, Document, LeadsTo, PinnedBy, Reference, Running};
use entrypoint::report::image::{Command, Digests, ImageReport, Requested, Runtime, Source};
use serde_json::{Value, json};

fn the_schema() -> Value {
    serde_json::from_str(include_str!("../docs/image.schema.json")).expect("JSON")
}

fn digest(of: &str) -> Digest {
    Digest::of(of.as_bytes())
}

/// Where a reference leads: an index with one image for this platform, an image, an index that was not read.
fn answers() -> [Answer; 3] {
    let entry = |name: &str, architecture: &str| json!({"digest": digest(name), "size": 1, "platform": {"os": "linux", "architecture": architecture}});
    let document = json!({"manifests": [entry("manifest", "amd64"), entry("sibling", "arm64")]}).to_string();
    let Ok(Document::Index(index)) = Document::parse(None, document.as_bytes()) else { panic!("an index") };
    let platform = "linux/amd64".parse().unwrap();
    let within = Within::of(&index, &platform, digest("manifest"), Some(digest("config")));
    [
        Answer::Index { index: digest("index"), within: Some(within) },
        Answer::Manifest { manifest: digest("manifest"), config: Some(digest("config")) },
        Answer::Index { index: digest("index"), within: None },
    ]
}

fn leads_to(answer: &Answer) -> LeadsTo {
    match answer {
        Answer::Index { index, .. } => LeadsTo { kind: Kind::Index, digest: *index },
        Answer::Manifest { manifest, .. } => LeadsTo { kind: Kind::Manifest, digest: *manifest },
    }
}

fn commands() -> Vec<Option<Command>> {
    let of = |from, pinned_by| Some(Command { from, pinned_by });
    let registry = || Source::Registry { registry: "index.docker.io".into() };
    vec![
        None,
        of(registry(), PinnedBy::Registry),
        of(registry(), PinnedBy::PodStatus),
        of(registry(), PinnedBy::Reference),
        of(
            Source::Mirror { image: "r:5000/library/busybox:1".into(), because: "-image_registry_map".into() },
            PinnedBy::PodStatus,
        ),
        of(Source::Cache { directory: "/tekton/cache".into() }, PinnedBy::PodStatus),
        of(Source::Daemon { address: "unix:///var/run/docker.sock".into() }, PinnedBy::Daemon),
    ]
}

fn report(running: Option<&Running>, answer: Option<&Answer>, command: Option<Command>) -> ImageReport {
    let reference: Reference = "busybox:1".parse().unwrap();
    ImageReport {
        requested: Requested { written: "busybox:1".into(), reference: Some(reference.to_string()) },
        runtime: running.map(|running| Runtime {
            container: "step-build".into(),
            image: running.image.clone(),
            image_id: running.image_id.clone(),
        }),
        digests: Digests::default(),
        platform: command.as_ref().map(|_| "linux/amd64".into()),
        command,
        leads_to: answer.map(leads_to),
        agreement: Agreement::of(running, &reference, answer),
        notes: Vec::new(),
    }
}

#[track_caller]
fn valid(report: &ImageReport) -> Value {
    valid_text(&report.json().unwrap())
}

#[track_caller]
fn valid_text(text: &str) -> Value {
    assert!(!text.contains('\n'), "{text}");
    let document = serde_json::from_str(text).expect("JSON");
    assert_eq!(schema::violations(&the_schema(), &document), [""; 0], "{document:#}");
    document
}

/// Every form of an `imageID`, for every digest that may stand in it, and those of nothing.
fn image_ids() -> Vec<String> {
    let forms = ["docker.io/library/busybox@", "ghcr.io/other/place@", "docker-pullable://busybox@", "docker://", ""];
    let names = ["index", "manifest", "sibling", "config", "nobody's"];
    let mut ids: Vec<String> = Vec::new();
    for form in forms {
        ids.extend(names.iter().map(|name| format!("{form}{}", digest(name))));
    }
    ids.push(digest("config").to_string().replace("sha256:", ""));
    ids.extend(["", "busybox:1", "\u{1}\"\\\n", "\u{1f433}"].map(str::to_owned));
    ids
}

#[test]
fn the_document_is_valid_whatever_is_reported_and_answered() {
    let mut verdicts = Vec::new();
    for answer in answers().iter().map(Some).chain([None]) {
        for command in commands() {
            valid(&report(None, answer, command.clone()));
            for id in image_ids() {
                let running = Running::parse("docker.io/library/busybox:1", &id);
                let document = valid(&report(Some(&running), answer, command.clone()));
                assert_eq!(document["runtime"]["imageID"], id.as_str());
                assert_eq!(document["runtime"]["image"], "docker.io/library/busybox:1");
                verdicts.push((document["match"].to_string(), document["compared"].to_string()));
            }
        }
    }
    verdicts.sort();
    verdicts.dedup();
    let expected = [
        ("\"moved\"", "\"config\""),
        ("\"moved\"", "\"index\""),
        ("\"same\"", "\"config\""),
        ("\"same\"", "\"index\""),
        ("\"same\"", "\"manifest\""),
        ("\"unknown\"", "null"),
    ];
    assert_eq!(verdicts, expected.map(|(verdict, compared)| (verdict.to_owned(), compared.to_owned())));
}

#[test]
fn every_fact_stands_under_its_own_name() {
    let [index, ..] = answers();
    let running =
        Running::parse("docker.io/library/busybox:1", &format!("docker.io/library/busybox@{}", digest("index")));
    let command =
        Command { from: Source::Registry { registry: "index.docker.io".into() }, pinned_by: PinnedBy::PodStatus };
    let mut report = report(Some(&running), Some(&index), Some(command));
    report.digests = Digests {
        index: Some(digest("index")),
        manifest: Some(digest("manifest")),
        config: Some(digest("config")),
        repository: None,
    };
    report.notes = vec!["a note".into()];
    assert_eq!(
        valid(&report),
        json!({
            "schemaVersion": 1,
            "requested": {"written": "busybox:1", "reference": "index.docker.io/library/busybox:1"},
            "runtime": {
                "container": "step-build",
                "image": "docker.io/library/busybox:1",
                "imageID": format!("docker.io/library/busybox@{}", digest("index")),
            },
            "match": "same",
            "compared": "index",
            "because": "the runtime runs an image of the index that the reference leads to; which one of the index was \
                        chosen here, for the platform",
            "leadsTo": {"kind": "index", "digest": digest("index")},
            "command": {"from": "registry", "registry": "index.docker.io", "pinnedBy": "pod-status"},
            "digests": {
                "index": digest("index"),
                "manifest": digest("manifest"),
                "config": digest("config"),
                "repository": null,
            },
            "platform": "linux/amd64",
            "notes": ["a note"],
        })
    );
}

#[test]
fn the_document_is_valid_and_bounded_whatever_others_have_written() {
    let long = "\u{1f433}\n".repeat(100_000);
    let running = Running::parse(&long, &long);
    let command =
        Command { from: Source::Mirror { image: long.clone(), because: long.clone() }, pinned_by: PinnedBy::Registry };
    let mut report = report(Some(&running), None, Some(command));
    report.requested = Requested { written: long.clone(), reference: None };
    report.platform = Some(long.clone());
    report.notes = vec![long; 1000];
    let document = valid(&report);
    assert_eq!(document["match"], "unknown");
    assert_eq!(document["notes"][16], "984 more");
    assert!(report.json().unwrap().len() < 64 * 1024);
    assert!(report.brief().unwrap().len() < 32 * 1024);
}

#[test]
fn a_result_has_the_document_without_its_notes() {
    let mut report = report(None, None, None);
    let without = report.json().unwrap();
    report.notes = vec!["a note".into()];
    assert_ne!(report.json().unwrap(), without);
    assert_eq!(report.brief().unwrap(), without);
    valid(&report);
}

#[test]
fn the_schema_refuses_what_the_document_never_is() {
    let [index, ..] = answers();
    let running = Running::parse("x", &digest("config").to_string());
    let command = commands().pop().flatten();
    let good = valid(&report(Some(&running), Some(&index), command));
    let changed = |pointer: &str, value: Value| {
        let mut document = good.clone();
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        document.pointer_mut(parent).unwrap()[name] = value;
        document
    };
    for (pointer, value) in [
        ("/schemaVersion", json!(2)),
        ("/match", json!("different")),
        ("/match", json!("unknown")),
        ("/compared", json!(null)),
        ("/compared", json!("layer")),
        ("/runtime", json!(null)),
        ("/runtime/imageID", json!(null)),
        ("/runtime/reference", json!("made up")),
        ("/requested", json!("busybox")),
        ("/leadsTo/kind", json!("config")),
        ("/leadsTo/digest", json!("sha256:0")),
        ("/digests/config", json!("latest")),
        ("/command/from", json!("registry")),
        ("/command/pinnedBy", json!(null)),
        ("/platform", json!({})),
        ("/notes", json!("a note")),
        ("/notes", json!([1])),
        ("/more", json!(1)),
    ] {
        let document = changed(pointer, value.clone());
        assert_ne!(schema::violations(&the_schema(), &document), [""; 0], "{pointer} {value}");
    }
    for name in good.as_object().unwrap().keys() {
        let mut document = good.clone();
        document.as_object_mut().unwrap().remove(name);
        assert_ne!(schema::violations(&the_schema(), &document), [""; 0], "without {name}");
    }
}
