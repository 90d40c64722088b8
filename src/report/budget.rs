//! The room that Kubernetes leaves for the termination messages of a whole pod.
//!
//! Kubelet reads 4096 bytes of each container's message, and cuts each at an equal share of 12 KiB when the pod's status
//! is reported. A message that was cut is no JSON: the controller gets nothing of it. It is only warned of, because
//! Tekton writes such messages, and because the containers of the pod can only be guessed at from inside.
//!
//! <https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/>

use std::fs;
use std::num::NonZeroU32;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::message;

/// Bytes that all containers of a pod share.
const POD: u32 = 12 * 1024;

/// How many containers are there besides the steps: Tekton's init containers `prepare` and `place-scripts`.
const BESIDES_STEPS: u32 = 2;

/// Up to this many bytes a message is short enough for 48 containers, and nothing is counted.
const SHORT: usize = 256;

/// How many names below the directory of the steps are looked at.
const NAMES: usize = 4096;

/// Whose message it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Containers {
    /// The command line says how many containers the pod has.
    Given(NonZeroU32),
    /// The pod has this many steps.
    Steps(NonZeroU32),
}

impl Containers {
    fn number(self) -> NonZeroU32 {
        match self {
            Self::Given(containers) => containers,
            Self::Steps(steps) => steps.saturating_add(BESIDES_STEPS),
        }
    }

    /// How many bytes of its message each of them keeps.
    #[must_use]
    pub(super) fn share(self) -> usize {
        usize::try_from(POD / self.number()).map_or(message::LIMIT, |share| share.min(message::LIMIT))
    }

    /// The warning for a message of this many bytes, if it is too long.
    #[must_use]
    pub(super) fn warning(self, size: usize, compressed: bool) -> Option<String> {
        let share = self.share();
        if size <= share {
            return None;
        }
        let containers = self.number();
        let origin = match self {
            Self::Given(_) => "as -termination_containers says".to_owned(),
            Self::Steps(steps) => format!("{steps} steps and {BESIDES_STEPS} init containers"),
        };
        let compress = if compressed {
            ""
        } else {
            ", or let Tekton compress messages (its feature flag enable-termination-message-compression)"
        };
        Some(format!(
            "The termination message has {size} bytes, and Kubernetes may cut it at {share}, the share of each of the pod's \
             {containers} containers ({origin}), so that the controller cannot read it: report fewer results, put larger \
             ones into a workspace{compress}"
        ))
    }
}

/// The warning for a message of this many bytes, if the pod's containers can be counted and the message is too long for
/// them. Steps are counted by their links below `steps`: each has one with its name and one with its number.
#[must_use]
pub(super) fn warning(size: usize, given: Option<NonZeroU32>, steps: &Path, compressed: bool) -> Option<String> {
    let containers = match given {
        Some(containers) => Containers::Given(containers),
        None if size <= SHORT => return None,
        None => Containers::Steps(count(steps)?),
    };
    containers.warning(size, compressed)
}

/// How many bytes a message may have that nobody cuts: the limit of all messages where the pod's containers cannot be counted.
#[must_use]
pub(super) fn share(given: Option<NonZeroU32>, steps: &Path) -> usize {
    let containers = given.map(Containers::Given).or_else(|| count(steps).map(Containers::Steps));
    containers.map_or(message::LIMIT, Containers::share)
}

/// The number of steps; none where there are no links.
fn count(steps: &Path) -> Option<NonZeroU32> {
    let is_number = |name: &[u8]| !name.is_empty() && name.iter().all(u8::is_ascii_digit);
    let names = fs::read_dir(steps).ok()?.take(NAMES).map_while(Result::ok).map(|entry| entry.file_name());
    let numbers = names.filter(|name| is_number(name.as_bytes())).count();
    NonZeroU32::new(u32::try_from(numbers).ok()?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn given(containers: u32) -> Containers {
        Containers::Given(NonZeroU32::new(containers).unwrap())
    }

    fn steps(steps: u32) -> Containers {
        Containers::Steps(NonZeroU32::new(steps).unwrap())
    }

    #[test]
    fn the_share_is_12_kib_divided_and_never_more_than_4096() {
        for (containers, share) in [
            (given(1), 4096),
            (given(3), 4096),
            (given(4), 3072),
            (given(5), 2457),
            (given(12_288), 1),
            (given(12_289), 0),
            (given(u32::MAX), 0),
            (steps(1), 4096),
            (steps(2), 3072),
            (steps(46), SHORT),
            (steps(u32::MAX), 0),
        ] {
            assert_eq!(containers.share(), share, "{containers:?}");
        }
    }

    #[test]
    fn a_warning_names_the_bytes_the_share_the_containers_and_what_to_do() {
        assert_eq!(steps(3).warning(2457, false), None);
        assert_eq!(
            steps(3).warning(2458, false).unwrap(),
            "The termination message has 2458 bytes, and Kubernetes may cut it at 2457, the share of each of the pod's 5 \
             containers (3 steps and 2 init containers), so that the controller cannot read it: report fewer results, put \
             larger ones into a workspace, or let Tekton compress messages (its feature flag \
             enable-termination-message-compression)"
        );
        assert_eq!(
            given(4).warning(3073, true).unwrap(),
            "The termination message has 3073 bytes, and Kubernetes may cut it at 3072, the share of each of the pod's 4 \
             containers (as -termination_containers says), so that the controller cannot read it: report fewer results, \
             put larger ones into a workspace"
        );
    }

    #[test]
    fn steps_are_counted_by_the_links_that_are_numbers() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(count(dir.path()), None);
        for name in ["0", "1", "step-a", "step-1", "step-unnamed-2", "1a", "-1", "10", ".0"] {
            symlink("/tekton/run/0/status", dir.path().join(name)).unwrap();
        }
        assert_eq!(count(dir.path()), NonZeroU32::new(3));
        assert_eq!(count(&dir.path().join("none")), None);
    }

    #[test]
    fn without_steps_and_for_a_short_message_nothing_is_warned_of() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(warning(4096, None, dir.path(), false), None);
        for step in 0..100 {
            symlink("status", dir.path().join(step.to_string())).unwrap();
        }
        assert_eq!(warning(SHORT, None, dir.path(), false), None);
        assert!(warning(SHORT + 1, None, dir.path(), false).unwrap().contains("102 containers (100 steps"));
        assert_eq!(warning(4096, NonZeroU32::new(3), dir.path(), false), None);
        assert_eq!([share(None, dir.path()), share(NonZeroU32::new(5), dir.path())], [120, 2457]);
        assert_eq!(share(None, &dir.path().join("none")), 4096);
        assert!(warning(65, NonZeroU32::new(1000), dir.path(), false).is_some(), "what is given is believed");
    }
}
