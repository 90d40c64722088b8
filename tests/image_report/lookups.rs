//! Whatever a lookup came to, what is told of it is as the schema has it.

use entrypoint::image::agreement::{Agreement, Because};
use entrypoint::image::{PinnedBy, Reference, Running};
use entrypoint::lookup::{Failure, Found, FoundAt, RuntimeWord, Wanted};
use entrypoint::note::Note;
use entrypoint::run::image::report_of;
use entrypoint::trace::Requests;

use super::{answers, digest, image_ids, leads_to, valid};

const WRITTEN: &str = "busybox:1";
const CANONICAL: &str = "index.docker.io/library/busybox:1";

fn words() -> Vec<RuntimeWord> {
    let reported = |id: &str| RuntimeWord::Reported {
        container: "step-build".into(),
        running: Running::parse("docker.io/library/busybox:1", id),
    };
    let unread = |retryable| RuntimeWord::Unread { reason: "it may not be read".into(), retryable };
    let ids = image_ids();
    [RuntimeWord::NotAsked, unread(false), unread(true)].into_iter().chain(ids.iter().map(|id| reported(id))).collect()
}

fn found() -> Found {
    Found {
        image: CANONICAL.into(),
        daemon: None,
        found_at: None,
        entrypoint: vec!["/bin/sh".into()],
        cmd: Vec::new(),
        index_digest: Some(digest("index").to_string()),
        manifest_digest: Some(digest("manifest").to_string()),
        config_digest: Some(digest("config").to_string()),
        repository_digest: None,
        platform: "linux/amd64".into(),
        wanted: "linux/amd64".into(),
        credential: Some("pull secret ci/regcred".into()),
        runtime: RuntimeWord::NotAsked,
        leads_to: None,
        agreement: Agreement::unknown(Because::NotAsked),
        pinned_by: PinnedBy::Registry,
        not_followed: None,
        follow_later: None,
        cache: None,
        notes: vec![Note::new("service account", "not in a cluster")],
        requests: Requests::default(),
    }
}

/// Who had it, and what that is called.
fn places() -> [(&'static str, Found); 5] {
    let at = || Some(FoundAt { image: "r:5000/library/busybox:1".into(), because: "-image_registry_map".into() });
    let daemon = Some("unix:///var/run/docker.sock".into());
    let none = |found| Found { index_digest: None, manifest_digest: None, config_digest: None, ..found };
    let repository_digest = Some(digest("index").to_string());
    [
        ("registry", found()),
        ("mirror", Found { found_at: at(), ..found() }),
        ("cache", Found { cache: Some("/tekton/cache".into()), ..found() }),
        ("cache", Found { cache: Some("/tekton/cache".into()), found_at: at(), ..found() }),
        ("daemon", none(Found { daemon, repository_digest, pinned_by: PinnedBy::Daemon, ..found() })),
    ]
}

#[test]
fn what_is_told_of_every_lookup_that_found_something_is_valid() {
    let requested: Reference = WRITTEN.parse().unwrap();
    let told = || Some("it is not there".to_owned());
    let pins = [
        (PinnedBy::PodStatus, None),
        (PinnedBy::Registry, told()),
        (PinnedBy::Reference, None),
        (PinnedBy::Daemon, told()),
    ];
    for (from, place) in places() {
        for (pinned_by, not_followed) in pins.clone() {
            for answer in answers().iter().map(Some).chain([None]) {
                for runtime in words() {
                    let found = Found {
                        agreement: Agreement::of(runtime.running(), &requested, answer),
                        leads_to: answer.map(leads_to),
                        runtime,
                        pinned_by,
                        not_followed: not_followed.clone(),
                        ..place.clone()
                    };
                    let document = valid(&report_of(WRITTEN, &Ok(found)));
                    assert_eq!(document["command"]["from"], from);
                }
            }
        }
    }
}

#[test]
fn what_is_told_of_every_lookup_that_failed_is_valid_and_has_no_command() {
    for written in [WRITTEN, "UPPER", "", "\u{1f433}\n"] {
        for runtime in words() {
            let asked = Wanted { image: CANONICAL.into(), platform: "linux/amd64".into() };
            for wanted in [None, Some(Box::new(asked))] {
                let reason = "nobody answers".to_owned();
                let failure = Failure { wanted, runtime: Box::new(runtime.clone()), ..Failure::of(written, reason) };
                let document = valid(&report_of(written, &Err(failure)));
                assert_eq!(document["requested"]["written"], written);
                assert!(document["command"].is_null() && document["match"] == "unknown", "{document}");
            }
        }
    }
}
