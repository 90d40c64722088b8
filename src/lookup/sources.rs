//! Who is asked: the image's registry, the Docker daemon, or one where the other has not got it (`-image_sources`).

use std::time::Duration;

use tokio::time::Instant;

use super::ask::Attempt;
use super::document::{Failure, Found, RuntimeWord};
use super::pin::{STRICT, WITHOUT, of_daemon, strict_refusal};
use super::{When, places};
use crate::daemon;
use crate::image::agreement::Because;
use crate::image::platform;
use crate::image::{Agreement, Digest, PinnedBy, shown};
use crate::note::Note;
use crate::spec::{ImagePin, ImageSource};
use crate::sys::cause::chain;
use crate::trace::Requests;

/// Asks each source in turn; the next one is asked only when this one has not got the image, for whatever reason, or not the
/// one that the container runs: then the first is used if no other has that.
pub(super) async fn ask(attempt: Attempt<'_>, mut known: Option<RuntimeWord>) -> Result<Found, Failure> {
    let mut failures = Failures { several: attempt.spec.sources.len() > 1, ..Failures::default() };
    let mut second_best: Option<Found> = None;
    for (index, source) in attempt.spec.sources.iter().enumerate() {
        let left = attempt.until.saturating_duration_since(Instant::now());
        let later = attempt.spec.sources.get(index + 1..).unwrap_or_default();
        let until = attempt.until - reserved(left, later);
        let asked = match source {
            // In a box: what it awaits is too deep for the compiler to lay out as a part of this.
            ImageSource::Registry => Box::pin(places::ask(Attempt { until, ..attempt }, known.clone())).await,
            ImageSource::Docker => Attempt { until, ..attempt }.ask_daemon(known.clone()).await,
        };
        match asked {
            Ok(found) => match &found.not_followed {
                None => return Ok(failures.told_by(found)),
                Some(reason) => {
                    known = Some(found.runtime.clone());
                    failures.reasons.push(Note::new(attempt.named(*source), reason.clone()));
                    second_best.get_or_insert(found);
                }
            },
            Err(failure) => {
                if *failure.runtime != RuntimeWord::NotAsked {
                    known = Some((*failure.runtime).clone());
                }
                failures.add(attempt.named(*source), failure);
            }
        }
    }
    match second_best {
        Some(found) => {
            // That it is another image is told beside the story.
            failures.reasons.retain(|note| Some(&note.outcome) != found.not_followed.as_ref());
            Ok(failures.told_by(found))
        }
        None => Err(failures.together(&attempt.spec.image)),
    }
}

/// What of the time is kept for those who are asked later.
fn reserved(left: Duration, later: &[ImageSource]) -> Duration {
    match later {
        [] => Duration::ZERO,
        [ImageSource::Docker] => daemon::LIMIT.min(left / 2),
        [..] => left / 2,
    }
}

/// The sources that have not got it, so far.
#[derive(Default)]
struct Failures {
    /// Whether there is more than one source: then each is named.
    several: bool,
    /// The sources, and what came of each.
    reasons: Vec<Note>,
    /// What they told beside that.
    notes: Vec<Note>,
    /// Whether any may have it later.
    retryable: bool,
    /// The shortest pause that any asks for.
    retry_after: Option<Duration>,
    /// What kubelet reports, as far as any has read it.
    runtime: Box<RuntimeWord>,
}

impl Failures {
    fn add(&mut self, source: String, failure: Failure) {
        self.reasons.push(Note::new(source, failure.reason));
        self.notes.extend(failure.notes);
        self.retryable |= failure.retryable;
        self.retry_after = [self.retry_after, failure.retry_after].into_iter().flatten().min();
        if *failure.runtime != RuntimeWord::NotAsked {
            self.runtime = failure.runtime;
        }
    }

    /// What another source has, with the story of those before it.
    fn told_by(self, found: Found) -> Found {
        let notes = self.notes.into_iter().chain(self.reasons).chain(found.notes).collect();
        Found { notes, ..found }
    }

    /// All of them as one failure.
    fn together(self, image: &str) -> Failure {
        let reason = |note: &Note| if self.several { note.to_string() } else { note.outcome.clone() };
        let reasons: Vec<String> = self.reasons.iter().map(reason).collect();
        let reason =
            if reasons.is_empty() { "-image_sources names nobody to ask".to_owned() } else { reasons.join("; ") };
        Failure {
            retryable: self.retryable,
            retry_after: self.retry_after,
            runtime: self.runtime,
            notes: self.notes,
            ..Failure::of(image, reason)
        }
    }
}

impl Attempt<'_> {
    /// A source for a message.
    fn named(&self, source: ImageSource) -> String {
        match source {
            ImageSource::Registry => format!("registry {}", self.reference.registry()),
            ImageSource::Docker => "Docker daemon".to_owned(),
        }
    }

    /// Asks the daemon, in time; what runs, only where somebody wants to know of it.
    async fn ask_daemon(self, known: Option<RuntimeWord>) -> Result<Found, Failure> {
        let mut word = match known {
            Some(word) => word,
            None if matches!(self.spec.pin, ImagePin::PodStatus | ImagePin::Strict) => self.read_word().await,
            None => RuntimeWord::NotAsked,
        };
        if self.is_strict() && self.when == When::Turn {
            word = self.awaited_word(word).await;
        }
        let refused = |word: &RuntimeWord, reason, retryable| {
            Err(Failure { retryable, runtime: Box::new(word.clone()), ..Failure::of(&self.spec.image, reason) })
        };
        if self.is_strict()
            && let Some((reason, retryable)) = strict_refusal(&word)
        {
            return refused(&word, self.waited(&reason, retryable), retryable);
        }
        let found = of_daemon(self.daemons_image().await?, word);
        match &found.not_followed {
            Some(reason) if self.is_strict() => refused(&found.runtime, format!("{STRICT}{reason}{WITHOUT}"), false),
            Some(_) | None => Ok(found),
        }
    }

    /// What the daemon has, in time.
    async fn daemons_image(self) -> Result<Found, Failure> {
        let Self { spec, host, network, reference, wanted, trace, until, .. } = self;
        let limit = until.saturating_duration_since(Instant::now());
        let text = |digest: Option<Digest>| digest.map(|digest| digest.to_string());
        match daemon::inspect(network, &host.env, reference, wanted, limit, trace).await {
            Ok(image) => Ok(Found {
                image: reference.to_string(),
                found_at: None,
                daemon: Some(image.daemon),
                entrypoint: image.config.entrypoint,
                cmd: image.config.cmd,
                index_digest: text(image.index_digest),
                manifest_digest: text(image.manifest_digest),
                config_digest: text(image.config_digest),
                repository_digest: text(image.repository_digest),
                platform: shown(&image.platform.to_string(), platform::SHOWN),
                wanted: wanted.to_string(),
                credential: None,
                runtime: RuntimeWord::NotAsked,
                leads_to: None,
                agreement: Agreement::unknown(Because::NotAsked),
                pinned_by: PinnedBy::Daemon,
                not_followed: None,
                follow_later: None,
                cache: None,
                notes: Vec::new(),
                requests: Requests::default(),
            }),
            Err(error) => {
                let notes = daemon::not_looked_at(&host.env).into_iter().collect();
                Err(Failure { retryable: error.may_pass(), notes, ..Failure::of(&spec.image, chain(&error)) })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_asked_later_has_a_share_of_the_time() {
        use ImageSource::{Docker, Registry};
        let seconds = Duration::from_secs;
        for (left, later, kept) in [
            (seconds(30), &[][..], seconds(0)),
            (seconds(30), &[Docker], seconds(10)),
            (seconds(10), &[Docker], seconds(5)),
            (seconds(30), &[Registry], seconds(15)),
        ] {
            assert_eq!(reserved(left, later), kept, "{left:?} {later:?}");
        }
    }

    #[test]
    fn a_failure_of_several_sources_names_each_and_of_one_only_the_reason() {
        let failed = |reason: &str, retryable| Failure {
            retryable,
            notes: vec![Note::new("a source", reason)],
            ..Failure::of("x", reason.to_owned())
        };
        let of = |several| Failures { several, ..Failures::default() };
        let mut one = of(false);
        one.add("registry r".to_owned(), failed("not there", false));
        let one = one.together("x");
        assert_eq!((one.reason.as_str(), one.retryable, one.notes.len()), ("not there", false, 1));
        let mut two = of(true);
        two.add("Docker daemon".to_owned(), failed("asleep", true));
        two.add("registry r".to_owned(), failed("not there", false));
        let two = two.together("x");
        let expected = ("Docker daemon: asleep; registry r: not there", true, 2);
        assert_eq!((two.reason.as_str(), two.retryable, two.notes.len()), expected);
    }

    #[test]
    fn of_several_sources_the_shortest_pause_counts_that_one_asks_for() {
        let seconds = |seconds: Option<u64>| seconds.map(Duration::from_secs);
        for (asked, shortest) in
            [(&[None, None][..], None), (&[None, Some(60)], Some(60)), (&[Some(60), Some(7), None, Some(90)], Some(7))]
        {
            let mut failures = Failures::default();
            for pause in asked {
                let failure = Failure { retry_after: seconds(*pause), ..Failure::of("x", "busy".to_owned()) };
                failures.add("registry r".to_owned(), failure);
            }
            assert_eq!(failures.together("x").retry_after, seconds(shortest), "{asked:?}");
        }
    }
}
