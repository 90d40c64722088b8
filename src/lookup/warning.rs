//! The warning where a command is not that of the image which the container runtime runs, or is not known to be: pure.

use super::document::{Found, RuntimeWord};
use crate::image::PinnedBy;
use crate::quote::OneLine;
use crate::spec::ImagePin;

impl Found {
    /// The line for the log where this is not the image which the container runs, or is not known to be although that was
    /// asked for.
    #[must_use]
    pub fn warning(&self, pin: ImagePin) -> Option<String> {
        let why = match &self.not_followed {
            Some(reason) => reason.clone(),
            None if pin == ImagePin::PodStatus && !is_pinned(self) => not_known(&self.runtime)?,
            None => return None,
        };
        let line = format!(
            "The command of image {} is not taken from what the container runs: {why}; used instead: {}; {TO_DO}",
            self.image,
            instead(self)
        );
        Some(OneLine(line).to_string())
    }
}

/// Why the runtime's word tells no image.
fn not_known(word: &RuntimeWord) -> Option<String> {
    match word {
        RuntimeWord::Unread { reason, .. } => Some(reason.clone()),
        RuntimeWord::Reported { container, running } if running.is_late() => {
            Some(format!("kubelet has not reported it yet for the container {container}"))
        }
        RuntimeWord::Reported { container, running } if running.identity.is_none() => {
            Some(format!("kubelet reports {:?} for the container {container}, which is not a digest", running.image_id))
        }
        RuntimeWord::NotAsked | RuntimeWord::Reported { .. } => None,
    }
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
            format!("what {} has under that name now", found.registry())
        }
    };
    what + &digest
}

#[cfg(test)]
mod tests {
    use super::super::samples::{IMAGE, IMAGE_ID, found, mirrored, reported, unread};
    use super::*;
    use crate::image::Digest;

    #[test]
    fn a_command_that_may_be_another_images_is_warned_of_where_that_is_told_or_was_asked_about() {
        let daemon = Some("unix:///d.sock".to_owned());
        let manifest = Digest::of(b"manifest");
        let start = format!("The command of image {IMAGE} is not taken from what the container runs: ");
        let at_registry = format!("used instead: what index.docker.io has under that name now, {manifest}; ");
        for (pin, found, parts) in [
            (ImagePin::Offered, found(), &[][..]),
            (ImagePin::Offered, Found { runtime: unread(), ..found() }, &[]),
            (ImagePin::Registry, found(), &[]),
            (
                ImagePin::PodStatus,
                Found { runtime: reported(IMAGE_ID), pinned_by: PinnedBy::PodStatus, ..found() },
                &[],
            ),
            (ImagePin::PodStatus, Found { runtime: unread(), pinned_by: PinnedBy::Reference, ..found() }, &[]),
            (
                ImagePin::PodStatus,
                Found { runtime: unread(), ..found() },
                &[&start, "the pod may not be read; ", &at_registry, TO_DO],
            ),
            (
                ImagePin::PodStatus,
                Found { runtime: reported(""), ..mirrored() },
                &[
                    &start,
                    "kubelet has not reported it yet for the container step-build; ",
                    "used instead: what r:5000/library/busybox:1 (-image_registry_map) has now, ",
                    TO_DO,
                ],
            ),
            (ImagePin::PodStatus, Found { runtime: reported("odd"), ..found() }, &["reports \"odd\" for", "; used"]),
            (
                ImagePin::Offered,
                Found { runtime: reported(IMAGE_ID), not_followed: Some("it is\ngone".into()), ..found() },
                &[&start, "it is\\ngone; ", &at_registry, TO_DO],
            ),
            (
                ImagePin::Offered,
                Found { not_followed: Some("it is gone".into()), daemon, pinned_by: PinnedBy::Daemon, ..found() },
                &[&start, "it is gone; ", "the Docker daemon at unix:///d.sock has under that name, "],
            ),
        ] {
            let warning = found.warning(pin);
            assert_eq!(warning.is_some(), !parts.is_empty(), "{pin:?} {warning:?}");
            for part in parts {
                let warning = warning.as_deref().unwrap();
                assert!(warning.contains(part) && !warning.contains('\n'), "{part:?} in {warning}");
            }
        }
    }
}
