//! What a step left for others to be told of, read from its files: results of Task and step, artifacts.

use super::artifacts::{self, ArtifactsError};
use super::message::{Entry, EntryKind};
use super::results::{self, ResultsError};
use crate::go_path;
use crate::host::Dirs;
use crate::spec::StepSpec;

/// The entries of the termination message that the step's own files give.
#[derive(Debug, Default)]
pub(super) struct Collected {
    /// Task results, then step results: they stand in front of what is internal.
    pub(super) results: Vec<Entry>,
    /// The provenance of the step's artifacts, then of the Task's: they stand behind it.
    pub(super) artifacts: Vec<Entry>,
}

/// A file of the step that is there and cannot be read, or not be reported.
#[derive(Debug, thiserror::Error)]
pub(super) enum CollectError {
    #[error(transparent)]
    Results(#[from] ResultsError),
    #[error(transparent)]
    Artifacts(#[from] ArtifactsError),
}

impl CollectError {
    /// Whether it is only too long for a message.
    pub(super) fn is_too_large(&self) -> bool {
        match self {
            Self::Results(error) => {
                matches!(error, ResultsError::TooLarge { .. } | ResultsError::TooLargeTogether { .. })
            }
            Self::Artifacts(error) => error.is_too_large(),
        }
    }
}

impl Collected {
    /// Reads in Tekton's order (`Go` in `pkg/entrypoint/entrypointer.go`), and stops at the first file that cannot be
    /// read: what came before it is kept, but for the other results of its group.
    ///
    /// Where something else takes the results from their files, they are only looked at, and artifacts not even that. A
    /// step result that is `ours` is not the step's to give, and is not read.
    pub(super) fn read(&mut self, spec: &StepSpec, ours: Option<&str>, dirs: &Dirs) -> Result<(), CollectError> {
        let metadata_dir = &spec.report.metadata_dir;
        let step_results = go_path::join(metadata_dir, "results");
        let names: Vec<String> = spec.results.step.iter().filter(|name| ours != Some(name.as_str())).cloned().collect();
        let groups = [
            (&dirs.results, &spec.results.task, EntryKind::TASK_RESULT),
            (&step_results, &names, EntryKind::STEP_RESULT),
        ];
        if !spec.results.in_message {
            return Ok(groups.iter().try_for_each(|(dir, names, _)| results::probe(dir, names))?);
        }
        for (dir, names, kind) in groups {
            self.results.extend(results::read(dir, names, kind)?);
        }
        self.artifacts.extend(artifacts::of_step(metadata_dir)?);
        self.artifacts.extend(artifacts::of_task(&dirs.artifacts)?);
        Ok(())
    }
}
