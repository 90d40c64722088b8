//! What a lookup's end tells of the step's image: the report that is left: pure.

use crate::image::agreement::{Agreement, Because};
use crate::image::{Digest, Reference};
use crate::lookup::{Failure, Found, RuntimeWord};
use crate::report::image::{Command, Digests, ImageReport, Requested, Runtime, Source};
use crate::report::image_files::{ImageFiles, ImageResult};
use crate::spec::{CommandSource, StepSpec};

/// The texts that are left for this end of the step's lookup.
pub(super) fn files(spec: &StepSpec, end: &Result<Found, Failure>) -> Option<ImageFiles> {
    let CommandSource::Image(image) = &spec.command else { return None };
    let mut report = report_of(&image.image, end);
    if let (Some(dir), Ok(found)) = (&image.cache_dir, end) {
        report.notes.extend(found.notes_of_cache(dir).map(ToString::to_string));
    }
    let result = |name: &String| Some(ImageResult { name: name.clone(), value: report.brief().ok()? });
    Some(ImageFiles { json: report.json().ok()?, result: spec.results.image.as_ref().and_then(result) })
}

/// What the end of a lookup tells of the image that was asked for, as written.
#[must_use]
pub fn report_of(written: &str, end: &Result<Found, Failure>) -> ImageReport {
    match end {
        Ok(found) => of_found(written, found),
        Err(failure) => of_failure(written, failure),
    }
}

fn of_found(written: &str, found: &Found) -> ImageReport {
    let digest = |text: &Option<String>| text.as_ref().and_then(|text| text.parse::<Digest>().ok());
    let agreement = match found.runtime {
        RuntimeWord::NotAsked => Agreement::unknown(Because::NotWanted),
        RuntimeWord::Unread { .. } | RuntimeWord::Reported { .. } => found.agreement,
    };
    ImageReport {
        requested: Requested { written: written.to_owned(), reference: Some(found.image.clone()) },
        runtime: runtime(&found.runtime),
        digests: Digests {
            index: digest(&found.index_digest),
            manifest: digest(&found.manifest_digest),
            config: digest(&found.config_digest),
            repository: digest(&found.repository_digest),
        },
        platform: Some(found.platform.clone()),
        command: Some(Command { from: source(found), pinned_by: found.pinned_by }),
        leads_to: found.leads_to,
        agreement,
        notes: unread(&found.runtime).into_iter().chain(found.not_followed.clone()).collect(),
    }
}

/// Nobody had a command; what the runtime runs may be known all the same.
fn of_failure(written: &str, failure: &Failure) -> ImageReport {
    let reference = || Some(written.parse::<Reference>().ok()?.to_string());
    let because = match &*failure.runtime {
        RuntimeWord::NotAsked => Because::NotWanted,
        RuntimeWord::Unread { .. } => Because::NotReported,
        RuntimeWord::Reported { running, .. } if running.is_late() => Because::Late,
        RuntimeWord::Reported { running, .. } if running.identity.is_none() => Because::NoIdentity,
        RuntimeWord::Reported { .. } => Because::NotAsked,
    };
    ImageReport {
        requested: Requested {
            written: written.to_owned(),
            reference: failure.wanted.as_ref().map(|wanted| wanted.image.clone()).or_else(reference),
        },
        runtime: runtime(&failure.runtime),
        digests: Digests::default(),
        platform: None,
        command: None,
        leads_to: None,
        agreement: Agreement::unknown(because),
        notes: [failure.summary()].into_iter().chain(unread(&failure.runtime)).collect(),
    }
}

fn runtime(word: &RuntimeWord) -> Option<Runtime> {
    match word {
        RuntimeWord::NotAsked | RuntimeWord::Unread { .. } => None,
        RuntimeWord::Reported { container, running } => Some(Runtime {
            container: container.clone(),
            image: running.image.clone(),
            image_id: running.image_id.clone(),
        }),
    }
}

/// Why the pod was not read, as a sentence.
fn unread(word: &RuntimeWord) -> Option<String> {
    match word {
        RuntimeWord::Unread { reason, .. } => Some(format!("what the container runs is not known: {reason}")),
        RuntimeWord::NotAsked | RuntimeWord::Reported { .. } => None,
    }
}

/// Who had the image. A cache has it of one of the others; it is the one that was read.
fn source(found: &Found) -> Source {
    match found {
        Found { daemon: Some(address), .. } => Source::Daemon { address: address.clone() },
        Found { cache: Some(directory), .. } => Source::Cache { directory: directory.clone() },
        Found { found_at: Some(at), .. } => Source::Mirror { image: at.image.clone(), because: at.because.clone() },
        Found { .. } => Source::Registry { registry: found.registry() },
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::cli::{self, Invocation};
    use crate::image::agreement::Kind;
    use crate::image::agreement::Match;
    use crate::image::{LeadsTo, PinnedBy};
    use crate::lookup::Wanted;
    use crate::lookup::samples::{self, IMAGE, IMAGE_ID, mirrored, reported, unread};
    use crate::note::Note;

    fn spec(flags: &[&str]) -> StepSpec {
        let argv = ["entrypoint", "-image", "busybox:1"].iter().chain(flags).map(OsString::from);
        let Ok(Invocation::Step(step)) = cli::parse(&argv.collect::<Vec<_>>()) else { panic!("a step") };
        *step
    }

    fn found() -> Found {
        let leads_to = LeadsTo { kind: Kind::Index, digest: Digest::of(b"index") };
        Found { leads_to: Some(leads_to), ..samples::found() }
    }

    #[test]
    fn who_had_the_image_is_told_by_the_nearest_of_those_who_were_asked() {
        let registry = Source::Registry { registry: "index.docker.io".into() };
        let mirror = Source::Mirror { image: "r:5000/library/busybox:1".into(), because: "-image_registry_map".into() };
        let cache = Source::Cache { directory: "/cache".into() };
        let daemon = Source::Daemon { address: "unix:///d.sock".into() };
        for (found, from) in [
            (found(), registry),
            (mirrored(), mirror),
            (Found { cache: Some("/cache".into()), ..found() }, cache.clone()),
            (Found { cache: Some("/cache".into()), ..mirrored() }, cache),
            (Found { daemon: Some("unix:///d.sock".into()), ..found() }, daemon),
        ] {
            for pinned_by in [PinnedBy::PodStatus, PinnedBy::Registry, PinnedBy::Reference] {
                let report = report_of("busybox:1", &Ok(Found { pinned_by, ..found.clone() }));
                assert_eq!(report.command, Some(Command { from: from.clone(), pinned_by }));
            }
        }
    }

    #[test]
    fn what_was_found_is_told_each_fact_apart() {
        let same = Agreement { verdict: Match::Same, compared: Some(Kind::Index), because: Because::SameIndex };
        let found = Found { runtime: reported(IMAGE_ID), agreement: same, not_followed: Some("why".into()), ..found() };
        assert_eq!(
            report_of("busybox:1", &Ok(found)),
            ImageReport {
                requested: Requested { written: "busybox:1".into(), reference: Some(IMAGE.into()) },
                runtime: Some(Runtime {
                    container: "step-build".into(),
                    image: "busybox".into(),
                    image_id: IMAGE_ID.into()
                }),
                digests: Digests {
                    index: Some(Digest::of(b"index")),
                    manifest: Some(Digest::of(b"manifest")),
                    config: None,
                    repository: None,
                },
                platform: Some("linux/amd64".into()),
                command: Some(Command {
                    from: Source::Registry { registry: "index.docker.io".into() },
                    pinned_by: PinnedBy::Registry
                }),
                leads_to: Some(LeadsTo { kind: Kind::Index, digest: Digest::of(b"index") }),
                agreement: same,
                notes: vec!["why".into()],
            }
        );
    }

    #[test]
    fn why_there_is_no_runtimes_word_is_told_as_it_is() {
        for (runtime, found_because, failure_because, notes) in [
            (RuntimeWord::NotAsked, Because::NotWanted, Because::NotWanted, 0),
            (unread(), Because::NotReported, Because::NotReported, 1),
            (reported(""), Because::NotReported, Because::Late, 0),
            (reported("busybox:1"), Because::NotReported, Because::NoIdentity, 0),
            (reported(IMAGE_ID), Because::NotReported, Because::NotAsked, 0),
        ] {
            let report = report_of("busybox:1", &Ok(Found { runtime: runtime.clone(), ..found() }));
            assert_eq!((report.agreement.because, report.notes.len()), (found_because, notes), "{runtime:?}");
            let failure =
                Failure { runtime: Box::new(runtime.clone()), ..Failure::of("busybox:1", "nobody answers".into()) };
            let report = report_of("busybox:1", &Err(failure));
            assert_eq!((report.agreement.because, report.notes.len()), (failure_because, notes + 1), "{runtime:?}");
            assert_eq!(report.notes[0], "cannot look up the command of image busybox:1: nobody answers");
            assert_eq!((report.command, report.platform, report.leads_to), (None, None, None));
            assert_eq!(report.runtime.is_some(), runtime.running().is_some());
        }
    }

    #[test]
    fn a_failure_has_the_reference_that_was_asked_for_or_the_one_that_is_written() {
        let wanted = Some(Box::new(Wanted { image: "r/x:1".into(), platform: "linux/amd64".into() }));
        for (written, wanted, reference) in
            [("busybox:1", None, Some(IMAGE)), ("UPPER", None, None), ("x", wanted, Some("r/x:1"))]
        {
            let report = report_of(written, &Err(Failure { wanted, ..Failure::of(written, "why".into()) }));
            let reference = reference.map(str::to_owned);
            assert_eq!(report.requested, Requested { written: written.to_owned(), reference });
        }
    }

    #[test]
    fn a_cache_that_was_of_no_use_is_told_and_other_notes_are_not() {
        let notes = vec![Note::new("cache /c", "not used: full"), Note::new("service account", "absent")];
        let end = Ok(Found { notes, ..found() });
        let told = |flags: &[&str]| files(&spec(flags), &end).unwrap().json;
        assert!(told(&["-image_cache_dir", "/c"]).ends_with(r#""notes":["cache /c: not used: full"]}"#));
        assert!(told(&["-image_cache_dir", "/d"]).ends_with(r#""notes":[]}"#));
    }

    #[test]
    fn a_result_is_made_only_where_it_is_asked_for() {
        let end = Ok(found());
        let plain = files(&spec(&[]), &end).unwrap();
        assert_eq!(plain.result, None);
        let named = files(&spec(&["-image_report_result", "image"]), &end).unwrap();
        assert_eq!(named.json, plain.json);
        assert_eq!(named.result.unwrap(), ImageResult { name: "image".into(), value: plain.json });
        let noted = files(&spec(&["-image_report_result", "image"]), &Ok(Found { runtime: unread(), ..found() }));
        let noted = noted.unwrap();
        assert!(
            noted.json.contains("what the container runs is not known: the pod may not be read")
                && noted.result.unwrap().value.ends_with(r#""notes":[]}"#)
        );
    }
}
