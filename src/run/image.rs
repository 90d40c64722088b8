//! What a lookup's end tells of the step's image: the report that is left, and the warning where the command is not known
//! to be that of the image which the container runtime runs: pure.

use crate::image::agreement::{Agreement, Because};
use crate::image::{Digest, PinnedBy, Reference};
use crate::lookup::{Failure, Found, RuntimeWord};
use crate::quote::OneLine;
use crate::report::image::{Command, Digests, ImageReport, Requested, Runtime, Source};
use crate::report::image_files::{ImageFiles, ImageResult};
use crate::spec::{CommandSource, ImagePin, StepSpec};

/// The texts that are left for this end of the step's lookup.
pub(super) fn files(spec: &StepSpec, end: &Result<Found, Failure>) -> Option<ImageFiles> {
    let CommandSource::Image(image) = &spec.command else { return None };
    let report = report_of(&image.image, end);
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
        RuntimeWord::NotAsked => Agreement::unknown(Because::StatusNotAsked),
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
        notes: unread(&found.runtime).into_iter().chain(&found.not_followed).cloned().collect(),
    }
}

/// Nobody had a command; what the runtime runs may be known all the same.
fn of_failure(written: &str, failure: &Failure) -> ImageReport {
    let reference = || Some(written.parse::<Reference>().ok()?.to_string());
    let because = match &failure.runtime {
        RuntimeWord::NotAsked => Because::StatusNotAsked,
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
        notes: [failure.summary()].into_iter().chain(unread(&failure.runtime).cloned()).collect(),
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

fn unread(word: &RuntimeWord) -> Option<&String> {
    match word {
        RuntimeWord::Unread { reason, .. } => Some(reason),
        RuntimeWord::NotAsked | RuntimeWord::Reported { .. } => None,
    }
}

/// Who had the image. A cache has it of one of the others; it is the one that was read.
fn source(found: &Found) -> Source {
    match found {
        Found { daemon: Some(address), .. } => Source::Daemon { address: address.clone() },
        Found { cache: Some(directory), .. } => Source::Cache { directory: directory.clone() },
        Found { found_at: Some(at), .. } => Source::Mirror { image: at.image.clone(), because: at.because.clone() },
        Found { image, .. } => Source::Registry { registry: registry_of(image) },
    }
}

/// The registry of a canonical reference.
fn registry_of(image: &str) -> String {
    image.parse().map_or_else(|_| image.to_owned(), |reference: Reference| reference.registry().to_owned())
}

/// The line for the log of a step whose command is not that of the image which the runtime runs, or is not known to be
/// although that was asked for.
pub(super) fn warning(spec: &StepSpec, found: &Found) -> Option<String> {
    let CommandSource::Image(image) = &spec.command else { return None };
    let Found { image: name, runtime, not_followed, .. } = found;
    let what = match (not_followed, runtime) {
        (Some(reason), RuntimeWord::Reported { running, .. }) if !running.is_late() => {
            format!(
                "The container runtime runs {} as image {name}, and its command was not to be had: {reason}",
                running.image_id
            )
        }
        (Some(reason), _) => {
            format!("The command of image {name} is not that of what the container runtime runs: {reason}")
        }
        (None, _) if image.pin != ImagePin::PodStatus || is_pinned(found) => return None,
        (None, RuntimeWord::Unread { reason, .. }) => {
            format!("What the container runtime runs as image {name} is not known: {reason}")
        }
        (None, RuntimeWord::Reported { container, running }) if running.is_late() => format!(
            "What the container runtime runs as image {name} was not known in time: the pod's status had no imageID of \
             container {container} yet"
        ),
        (None, RuntimeWord::NotAsked | RuntimeWord::Reported { .. }) => return None,
    };
    Some(OneLine(format!("{what}; used instead: {}; {TO_DO}", instead(found))).to_string())
}

/// What to do about a command that may be another image's.
const TO_DO: &str = "-image_pin_strict has such a step fail, and -image_pin registry leaves the pod's status unasked";

/// Whether it is certain which image is meant, whatever the tag says.
fn is_pinned(found: &Found) -> bool {
    match found.pinned_by {
        PinnedBy::PodStatus | PinnedBy::Reference => true,
        PinnedBy::Registry | PinnedBy::Daemon => false,
    }
}

/// Whose image it is that the command was taken from.
fn instead(found: &Found) -> String {
    let digest = [&found.manifest_digest, &found.repository_digest, &found.config_digest].into_iter().flatten().next();
    let digest = digest.map(|digest| format!(", {digest}")).unwrap_or_default();
    let what = match (found.pinned_by, &found.daemon, &found.found_at) {
        (PinnedBy::Reference, ..) => "the digest in the reference".to_owned(),
        (PinnedBy::PodStatus, ..) => "what the pod's status says".to_owned(),
        (PinnedBy::Daemon, Some(daemon), _) | (PinnedBy::Registry, Some(daemon), _) => {
            format!("what the Docker daemon at {daemon} has under that name")
        }
        (PinnedBy::Registry | PinnedBy::Daemon, None, Some(at)) => format!("what {at} has now"),
        (PinnedBy::Registry | PinnedBy::Daemon, None, None) => {
            format!("what {} has under that name now", registry_of(&found.image))
        }
    };
    what + &digest
}
