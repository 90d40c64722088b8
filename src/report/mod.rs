//! What a step leaves behind: termination message, `exitCode`, post file. The writing half of the exit door.
//!
//! The order is fixed: which image the step was is written, results and artifacts are read, the message is written, then
//! `exitCode`, then the post file, which releases the next step and so comes last of what that step may look at. Only then is the message synced to the disk:
//! that takes milliseconds, and nobody but kubelet waits for it. A file that fails never stops the ones after it.

mod artifacts;
mod budget;
mod collected;
pub mod compression;
pub mod existing;
mod exit_code;
#[cfg(feature = "lookup")]
pub mod image;
pub mod image_files;
pub mod message;
mod post;
mod results;
mod termination;

use std::path::Path;

use self::collected::Collected;
use self::image_files::{ImageFiles, ImageResult};
use self::message::{Entry, EntryKind, Spare};
use self::termination::{Lost, MessageError, Written};
use crate::host::Dirs;
use crate::log;
use crate::outcome::{ERROR_KEY, InternalEntry, NotRunKind, Outcome, PostFile};
use crate::spec::{EndSpec, StepSpec};
use crate::sys::cause::chain;
use crate::sys::clock::{self, Timestamp};

/// The `Reason` of a step whose results do not fit into the termination message.
pub const RESULTS_TOO_LARGE: &str = "ResultsTooLarge";

/// Reports a step's end: writes its files, says the outcome's last line and every failure on the way, and returns the
/// process's exit code. A step that never started is given the present moment as `StartedAt`.
#[must_use]
pub fn report(outcome: &Outcome, spec: &StepSpec, dirs: &Dirs, started_at: Option<Timestamp>) -> u8 {
    leave(outcome, spec, dirs, started_at, None).finish()
}

/// Reports a command line that cannot be followed, as far as its post file and termination path could be made out,
/// without the report's last part. The sentence goes into the message; it is for the caller to say.
pub fn leave_usage(sentence: &str, post_file: Option<&Path>, termination_path: Option<&Path>) -> Left {
    let mut left = Left::new(&Outcome::not_run(NotRunKind::Usage, sentence), EndSpec::default());
    left.lines.clear();
    // A person at a shell, outside any pod, needs no second line about a message that nobody would read.
    if let Some(path) = termination_path.filter(|path| path.parent().is_none_or(is_directory)) {
        left.write_message(path, None, Collected::default(), clock::now(), false);
    }
    left.write_post_file(post_file);
    left
}

/// Reports that nobody will decide any more about a step that was left at a breakpoint: its message stands already.
pub fn leave_breakpoint(outcome: &Outcome, post_file: Option<&Path>) -> Left {
    let mut left = Left::new(outcome, EndSpec::default());
    left.write_post_file(post_file);
    left
}

fn is_directory(path: &Path) -> bool {
    path == Path::new("") || path.is_dir()
}

/// The report without its last part: every file is written; nothing is said or synced yet. `image` is what is known of
/// the step's image, if it was looked up.
pub fn leave(
    outcome: &Outcome,
    spec: &StepSpec,
    dirs: &Dirs,
    started_at: Option<Timestamp>,
    image: Option<&ImageFiles>,
) -> Left {
    let mut left = Left::new(outcome, spec.end);
    let to = &spec.report;
    let mut warnings = image.map(|image| image.write(&to.metadata_dir)).unwrap_or_default();
    let result = image.and_then(|image| image.result.as_ref());
    let collected = if outcome.reads_results(started_at.is_some()) {
        left.collect(spec, result, dirs)
    } else {
        Collected::default()
    };
    let spare = result.and_then(|result| spare(result, spec, dirs, &mut warnings));
    left.write_message(
        &to.termination_path,
        spare.as_ref(),
        collected,
        started_at.unwrap_or_else(clock::now),
        to.compress,
    );
    left.write_exit_code(&to.metadata_dir);
    left.write_post_file(to.post_file.as_deref());
    // Only a line of the log: the next step does not wait for it.
    if let Some(message) = &left.message
        && let Some(warning) = budget::warning(message.size(), to.containers, &dirs.steps, to.compress)
    {
        left.lines.push(Line::Warn(warning));
    }
    left.lines.extend(warnings.into_iter().map(Line::Warn));
    left
}

/// The entry of the message that says which image the step was. Others need their room more than this one.
fn spare(result: &ImageResult, spec: &StepSpec, dirs: &Dirs, warnings: &mut Vec<String>) -> Option<Spare> {
    let ImageResult { name, value } = result;
    if !spec.results.in_message {
        return None;
    }
    if spec.results.task.contains(name) {
        warnings.push(format!(
            "{}: the Task has a result of that name too, and the controller takes only one: give another to \
             -image_report_result",
            not_in_the_message(name)
        ));
        return None;
    }
    let limit = budget::share(spec.report.containers, &dirs.steps);
    Some(Spare { entry: Entry::new(EntryKind::STEP_RESULT, name, value.as_bytes()), limit })
}

fn not_in_the_message(name: &str) -> String {
    format!("Which image the step was, its result {name:?}, is not in the termination message")
}

/// A line for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// Without a level.
    Say(String),
    /// With the level `WARN`.
    Warn(String),
}

/// What has been left behind so far: the outcome's rows of the table, changed by what failed on the way.
#[derive(Debug)]
#[must_use = "finish() says and syncs what is left, and knows the exit code"]
pub struct Left {
    exit_code: u8,
    /// None where a person at a breakpoint decides.
    post_file: Option<PostFile>,
    exit_code_file: Option<String>,
    entries: Vec<InternalEntry>,
    /// Whether the exit code is that of an own failure already: no later failure changes it.
    failed: bool,
    lines: Vec<Line>,
    message: Option<Written>,
}

impl Left {
    fn new(outcome: &Outcome, end: EndSpec) -> Self {
        Self {
            exit_code: outcome.exit_code(end),
            post_file: outcome.post_file(end),
            exit_code_file: outcome.exit_code_file(end),
            entries: outcome.message_entries(end),
            failed: matches!(outcome, Outcome::NotRun(_)),
            lines: outcome.last_line(end).map(Line::Say).into_iter().collect(),
            message: None,
        }
    }

    /// Whether the post file, and so the step's end, has been left to a person at a breakpoint.
    #[must_use]
    pub fn is_left_to_a_person(&self) -> bool {
        self.post_file.is_none()
    }

    /// The exit code, unless the disk fails yet.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        self.exit_code
    }

    /// What will be said, in order.
    #[must_use]
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// Says what there is to say, waits for the disk, and returns the exit code.
    #[must_use]
    pub fn finish(mut self) -> u8 {
        self.say();
        if let Some(Err(error)) = self.message.take().map(Written::sync) {
            self.fail_message(&error);
            self.say();
        }
        self.exit_code
    }

    fn say(&mut self) {
        for line in self.lines.drain(..) {
            match line {
                Line::Say(text) => log::say(text),
                Line::Warn(text) => log::warn(text),
            }
        }
    }

    /// Turns the end of a step into a failure of our own. One that would have been a success is a failure in all its
    /// files; one that had failed anyway keeps what it says of itself and gets the sentence besides, unless it has one.
    fn fail(&mut self, sentence: String) {
        let failure = Self::new(&Outcome::not_run(NotRunKind::Other, sentence), EndSpec::default());
        match self.post_file {
            Some(PostFile::Success) => {
                self.exit_code_file = failure.exit_code_file;
                self.entries = failure.entries;
                self.post_file = failure.post_file;
            }
            // The controller takes the last entry of a key, and the first failure is the one to know.
            Some(PostFile::Err) | None if self.failed => {}
            Some(PostFile::Err) | None => self.entries.extend(failure.entries),
        }
        if !self.failed {
            self.exit_code = failure.exit_code;
        }
        self.failed = true;
        self.lines.extend(failure.lines);
    }

    fn fail_message(&mut self, error: &MessageError) {
        self.fail(format!("Error while writing message: {}", chain(error)));
    }

    /// Fails because results do not fit: the controller gets the reason, unless the step has one of its own.
    fn fail_results_too_large(&mut self, details: &str) {
        self.lines.push(Line::Say(format!("{details}; no result is reported")));
        // As in Tekton no person is asked about this: what would the answer change?
        self.post_file = self.post_file.or(Some(PostFile::Err));
        self.fail(message::TOO_LARGE.to_owned());
        // The reason says it.
        self.entries.retain(|entry| entry.key != ERROR_KEY || entry.value != message::TOO_LARGE);
        if self.entries.iter().all(|entry| entry.key != "Reason") {
            self.entries.insert(0, InternalEntry { key: "Reason", value: RESULTS_TOO_LARGE.to_owned() });
        }
    }

    fn collect(&mut self, spec: &StepSpec, ours: Option<&ImageResult>, dirs: &Dirs) -> Collected {
        let mut collected = Collected::default();
        match collected.read(spec, ours.map(|result| result.name.as_str()), dirs) {
            Ok(()) => {}
            Err(error) if error.is_too_large() => {
                self.fail_results_too_large(&chain(&error));
                return Collected::default();
            }
            Err(error) => self.fail(chain(&error)),
        }
        collected
    }

    fn write_message(
        &mut self,
        path: &Path,
        spare: Option<&Spare>,
        collected: Collected,
        started_at: Timestamp,
        compress: bool,
    ) {
        let started_at = Entry::internal("StartedAt", &started_at.rfc3339());
        let entries = |left: &Self, collected: Collected| -> Vec<Entry> {
            let internal = left.entries.iter().map(|entry| Entry::internal(entry.key, &entry.value));
            collected
                .results
                .into_iter()
                .chain([started_at.clone()])
                .chain(internal)
                .chain(collected.artifacts)
                .collect()
        };
        let written = match termination::write(path, spare, &entries(self, collected), compress) {
            Err(MessageError::TooLarge(error)) if error.has_results() => {
                self.fail_results_too_large(&error.details());
                termination::write(path, spare, &entries(self, Collected::default()), compress)
            }
            written => written,
        };
        match written {
            Ok(written) => {
                self.lines.extend(written.lost().and_then(|lost| lost_line(path, lost, compress)).map(Line::Warn));
                let left_out = spare.and_then(|spare| Some(left_out_line(spare, written.left_out()?)));
                self.lines.extend(left_out.map(Line::Warn));
                self.message = Some(written);
            }
            Err(error) => {
                if let MessageError::TooLarge(error) = &error {
                    self.lines.push(Line::Say(format!("{}; {path:?} is left as it was", error.details())));
                }
                self.fail_message(&error);
            }
        }
    }

    fn write_exit_code(&mut self, metadata_dir: &Path) {
        if let Some(content) = &self.exit_code_file
            && let Err(error) = exit_code::write(metadata_dir, content)
        {
            self.fail(chain(&error));
        }
    }

    fn write_post_file(&mut self, post_file: Option<&Path>) {
        let Some(post_file) = post_file else { return };
        let create = |kind| post::release(post_file, kind);
        let Some(meant) = self.post_file else { return };
        let Err(error) = create(meant) else { return };
        self.fail(chain(&error));
        // A success that cannot be told is told as a failure: the next step must not wait for ever.
        let instead = (meant == PostFile::Success).then(|| create(PostFile::Err));
        self.lines.push(Line::Say(match instead {
            Some(Ok(path)) => format!("Created {path:?} instead: the steps after this one are skipped"),
            Some(Err(error)) => format!("{}; {WAITING}", chain(&error)),
            None => WAITING.to_owned(),
        }));
    }
}

/// The warning about what stood in the termination file. A step's own text is nobody's loss; where messages are
/// compressed, it may have been one that was damaged.
fn lost_line(path: &Path, lost: &Lost, compress: bool) -> Option<String> {
    match lost {
        Lost::Huge => Some(format!("What stood in {path:?} was overwritten: it was too long to be a message")),
        Lost::Unreadable(why) if compress => Some(format!(
            "Failed to parse existing termination message, previous results will be lost: {path:?}: {}",
            chain(why)
        )),
        Lost::Unreadable(_) => None,
    }
}

/// The warning about an entry that would have made the message this long.
fn left_out_line(Spare { entry, limit }: &Spare, size: usize) -> String {
    format!(
        "{}: that would have {size} bytes with it, and may have {limit}; {} says it, and fewer or shorter results, or \
         compressed messages, leave room for it",
        not_in_the_message(&entry.key),
        image_files::FILE
    )
}

/// What a missing post file means for the rest of the pod.
const WAITING: &str =
    "the steps after this one are not told how it ended: they take it for dead, or wait until they are stopped";
