//! The story that `resolve` tells: one value, as text for people and as JSON. `docs/resolve.md` describes both.

use std::ffi::OsString;
use std::fmt::{self, Write};
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::words::{exec_form, json_lines, one_line, shell_line, written};
use crate::image::agreement::Kind;
use crate::image::{LeadsTo, Match, PinnedBy};
use crate::lookup::{Failure, Found, FoundAt, RuntimeWord};
use crate::note::Note;
use crate::step::command;
use crate::trace::{End, Request, Requests};

/// Everything there is to tell of a lookup. What is not known is `None`, and `null` in JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Story {
    image: String,
    found_at: Option<FoundAt>,
    daemon: Option<String>,
    cache: Option<String>,
    #[serde(serialize_with = "as_text")]
    command: Option<Vec<OsString>>,
    /// Why a step would fail.
    pub(super) error: Option<String>,
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    platform: Option<String>,
    wanted_platform: Option<String>,
    digests: Digests,
    #[serde(flatten)]
    pin: Pin,
    credential: Option<String>,
    notes: Vec<Note>,
    requests: Vec<Asked>,
    requests_left_out: u32,
    millis: u64,
}

/// What the container runtime has to do with it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
struct Pin {
    /// What the pod's status reports, verbatim.
    runtime: Option<Runtime>,
    /// Why that is not known, if it was asked for.
    runtime_unread: Option<String>,
    #[serde(rename = "match")]
    verdict: Option<Match>,
    compared: Option<Kind>,
    because: Option<String>,
    leads_to: Option<LeadsTo>,
    pinned_by: Option<PinnedBy>,
    not_followed: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Runtime {
    container: String,
    image: String,
    #[serde(rename = "imageID")]
    image_id: String,
}

impl Pin {
    /// What the runtime says, as far as it was asked.
    fn of_word(word: &RuntimeWord) -> Self {
        match word {
            RuntimeWord::NotAsked => Self::default(),
            RuntimeWord::Unread { reason, .. } => Self { runtime_unread: Some(reason.clone()), ..Self::default() },
            RuntimeWord::Reported { container, running } => {
                let (image, image_id) = (running.image.clone(), running.image_id.clone());
                Self { runtime: Some(Runtime { container: container.clone(), image, image_id }), ..Self::default() }
            }
        }
    }

    fn of(found: &Found) -> Self {
        let said = Self::of_word(&found.runtime);
        let agreement = Some(found.agreement).filter(|_| said.is_asked());
        Self {
            verdict: agreement.map(|agreement| agreement.verdict),
            compared: agreement.and_then(|agreement| agreement.compared),
            because: agreement.map(|agreement| agreement.because.to_string()),
            leads_to: found.leads_to,
            pinned_by: Some(found.pinned_by),
            not_followed: found.not_followed.clone(),
            ..said
        }
    }

    fn is_asked(&self) -> bool {
        self.runtime.is_some() || self.runtime_unread.is_some()
    }

    /// The rows for it: none where the runtime was not asked.
    fn write(&self, row: &mut impl FnMut(&str, &str) -> fmt::Result) -> fmt::Result {
        if let Some(Runtime { container, image, image_id }) = &self.runtime {
            row("Container", &format!("{container}, runs {image}"))?;
            row("Image ID", if image_id.is_empty() { "not reported yet" } else { image_id })?;
        }
        if let Some(reason) = &self.runtime_unread {
            row("Container", &format!("not known: {reason}"))?;
        }
        if let (Some(verdict), Some(because)) = (self.verdict, &self.because) {
            let verdict = match verdict {
                Match::Same => "same",
                Match::Moved => "moved",
                Match::Unknown => "unknown",
            };
            row("Match", &format!("{verdict}: {because}"))?;
        }
        match self.pinned_by.filter(|_| self.is_asked()) {
            Some(PinnedBy::PodStatus) => row("Pinned by", "the pod's status")?,
            Some(PinnedBy::Registry) => row("Pinned by", "the registry")?,
            Some(PinnedBy::Reference) => row("Pinned by", "the digest in the reference")?,
            Some(PinnedBy::Daemon) => row("Pinned by", "the daemon")?,
            None => {}
        }
        match &self.not_followed {
            Some(reason) => row("Not pinned", reason),
            None => Ok(()),
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
struct Digests {
    index: Option<String>,
    manifest: Option<String>,
    config: Option<String>,
    repository: Option<String>,
}

/// A request as JSON has it: a status, an error, or both where an answer could not be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Asked {
    what: String,
    method: String,
    url: String,
    status: Option<u16>,
    error: Option<String>,
    millis: u64,
}

/// A word that is no UTF-8 has a replacement character for what cannot be shown.
fn as_text<S: Serializer>(command: &Option<Vec<OsString>>, serializer: S) -> Result<S::Ok, S::Error> {
    let words = command.as_ref().map(|words| words.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>());
    words.serialize(serializer)
}

impl From<&Request> for Asked {
    fn from(request: &Request) -> Self {
        let (status, error) = match &request.end {
            End::Answered { status } => (Some(*status), None),
            End::Unread { status, reason } => (Some(*status), Some(reason.clone())),
            End::Unanswered { reason } => (None, Some(reason.clone())),
        };
        let Request { what, method, url, millis, .. } = request.clone();
        Self { what, method, url, status, error, millis }
    }
}

impl Story {
    /// The story of a lookup that took `total`, for a step with `args`.
    pub(super) fn of(result: &Result<Found, Failure>, args: &[OsString], total: Duration) -> Self {
        let millis = u64::try_from(total.as_millis()).unwrap_or(u64::MAX);
        match result {
            Ok(found) => Self::of_found(found, args, millis),
            Err(failure) => Self {
                image: failure.wanted.as_ref().map_or_else(|| failure.image.clone(), |wanted| wanted.image.clone()),
                found_at: None,
                daemon: None,
                cache: None,
                command: None,
                error: Some(failure.summary()),
                entrypoint: None,
                cmd: None,
                platform: None,
                wanted_platform: failure.wanted.as_ref().map(|wanted| wanted.platform.clone()),
                digests: Digests::default(),
                pin: Pin::of_word(&failure.runtime),
                credential: None,
                notes: failure.notes.clone(),
                requests: asked(&failure.requests),
                requests_left_out: failure.requests.left_out,
                millis,
            },
        }
    }

    fn of_found(found: &Found, args: &[OsString], millis: u64) -> Self {
        let words = command::of_image(&found.image, found.entrypoint.clone(), found.cmd.clone(), !args.is_empty());
        let (command, error) = match words {
            Ok(words) => (Some(words.into_iter().chain(args.iter().cloned()).collect()), None),
            Err(error) => (None, Some(error.to_string())),
        };
        Self {
            image: found.image.clone(),
            found_at: found.found_at.clone(),
            daemon: found.daemon.clone(),
            cache: found.cache.clone(),
            command,
            error,
            entrypoint: Some(found.entrypoint.clone()),
            cmd: Some(found.cmd.clone()),
            platform: Some(found.platform.clone()),
            wanted_platform: Some(found.wanted.clone()),
            digests: Digests {
                index: found.index_digest.clone(),
                manifest: found.manifest_digest.clone(),
                config: found.config_digest.clone(),
                repository: found.repository_digest.clone(),
            },
            pin: Pin::of(found),
            credential: found.credential.clone(),
            notes: found.notes.clone(),
            requests: asked(&found.requests),
            requests_left_out: found.requests.left_out,
            millis,
        }
    }

    /// One JSON object, on lines of its own.
    pub(super) fn json(&self) -> String {
        json_lines(self)
    }

    /// Lines for people. Columns are aligned, and nothing is cut.
    pub(super) fn text(&self) -> String {
        written(|text| self.write(text))
    }

    fn write(&self, text: &mut String) -> fmt::Result {
        let mut row = |label: &str, value: &str| writeln!(text, "{label:<12}{}", one_line(value));
        row("Image", &self.image)?;
        if let Some(daemon) = &self.daemon {
            row("Found in", &format!("the Docker daemon at {daemon}"))?;
        }
        if let Some(found_at) = &self.found_at {
            row("Found at", &found_at.to_string())?;
        }
        if let Some(cache) = &self.cache {
            row("Cached in", cache)?;
        }
        if let Some(command) = &self.command {
            row("Command", &shell_line(command))?;
        }
        if let Some(error) = &self.error {
            row(if self.entrypoint.is_some() { "Command" } else { "Error" }, error)?;
        }
        for (label, words) in [("ENTRYPOINT", &self.entrypoint), ("CMD", &self.cmd)] {
            match words.as_deref() {
                Some([]) => row(label, "none")?,
                Some(words) => row(label, &exec_form(words))?,
                None => {}
            }
        }
        match (&self.platform, &self.wanted_platform) {
            (Some(platform), Some(wanted)) => row("Platform", &format!("{platform} (wanted: {wanted})"))?,
            (None, Some(wanted)) => row("Platform", &format!("wanted: {wanted}"))?,
            (_, None) => {}
        }
        let Digests { index, manifest, config, repository } = &self.digests;
        // A daemon need not know every digest, and asks nobody for a credential.
        let in_registry = self.entrypoint.is_some() && self.daemon.is_none();
        for (label, digest) in
            [("Index", index), ("Manifest", manifest), ("Config", config), ("Repository", repository)]
        {
            if let Some(digest) = digest {
                row(label, digest)?;
            } else if in_registry && label == "Index" {
                // What was pinned or asked for by a manifest's digest may well be in one.
                row(label, "none: the image was not reached through one")?;
            }
        }
        self.pin.write(&mut row)?;
        if in_registry {
            row("Credential", self.credential.as_deref().unwrap_or("none was needed"))?;
        }
        write_notes(text, &self.notes)?;
        write_requests(text, &self.requests, self.requests_left_out)?;
        writeln!(text, "\nTotal: {} ms", self.millis)
    }
}

fn asked(requests: &Requests) -> Vec<Asked> {
    requests.listed.iter().map(Asked::from).collect()
}

fn write_notes(text: &mut String, notes: &[Note]) -> fmt::Result {
    if notes.is_empty() {
        return writeln!(text, "\nNo source of credentials was asked.");
    }
    writeln!(text, "\nSources:")?;
    notes.iter().try_for_each(|note| writeln!(text, "  {}", one_line(&note.to_string())))
}

fn write_requests(text: &mut String, requests: &[Asked], left_out: u32) -> fmt::Result {
    if requests.is_empty() {
        return writeln!(text, "\nNo request was made.");
    }
    writeln!(text, "\nRequests:")?;
    let millis: Vec<String> = requests.iter().map(|asked| asked.millis.to_string()).collect();
    let column = |texts: &mut dyn Iterator<Item = &str>| texts.map(str::len).max().unwrap_or(0);
    let wide = column(&mut millis.iter().map(String::as_str));
    let method = column(&mut requests.iter().map(|asked| asked.method.as_str()));
    let what = column(&mut requests.iter().map(|asked| asked.what.as_str()));
    for (asked, millis) in requests.iter().zip(&millis) {
        let status = asked.status.map_or_else(|| "---".to_owned(), |status| status.to_string());
        let error = asked.error.as_ref().map(|error| format!("  {}", one_line(error))).unwrap_or_default();
        let Asked { method: verb, what: object, url, .. } = asked;
        writeln!(
            text,
            "  {millis:>wide$} ms  {status:>3}  {object:<what$}  {verb:<method$}  {}{error}",
            one_line(url)
        )?;
    }
    if left_out > 0 {
        writeln!(text, "  and {left_out} more")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::agreement::Because;
    use crate::image::{Agreement, Running};
    use crate::lookup::samples;

    fn found(entrypoint: &[&str], cmd: &[&str]) -> Found {
        let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
        Found {
            image: "r.example/team/tool:v1".to_owned(),
            entrypoint: words(entrypoint),
            cmd: words(cmd),
            index_digest: None,
            manifest_digest: Some("sha256:b".to_owned()),
            config_digest: Some("sha256:c".to_owned()),
            platform: "linux/arm64".to_owned(),
            wanted: "linux/arm64/v8".to_owned(),
            notes: vec![Note::new("service account", "not in a cluster")],
            ..samples::found()
        }
    }

    fn text(result: &Result<Found, Failure>, args: &[&str]) -> String {
        let args: Vec<OsString> = args.iter().map(OsString::from).collect();
        Story::of(result, &args, Duration::from_millis(7)).text()
    }

    #[test]
    fn the_command_is_what_a_step_with_these_arguments_would_run() {
        for (entrypoint, cmd, args, line) in [
            (&["/app", "-v"][..], &["serve it"][..], &[][..], "Command     /app -v 'serve it'\n"),
            (&["/app", "-v"], &["serve it"], &["x"], "Command     /app -v x\n"),
            (&[], &["sh", "-c"], &["x;y"], "Command     sh -c 'x;y'\n"),
            (&[], &[], &["x"], "Command     image r.example/team/tool:v1 has neither ENTRYPOINT nor CMD, "),
        ] {
            let text = text(&Ok(found(entrypoint, cmd)), args);
            assert!(text.contains(line), "{line:?} in\n{text}");
        }
    }

    #[test]
    fn a_story_has_a_line_for_every_fact_and_aligned_columns() {
        let request = |what: &str, method, url: &str, end, millis| Request {
            what: what.to_owned(),
            method: String::from(method),
            url: url.to_owned(),
            end,
            millis,
        };
        let listed = vec![
            request("manifest", "GET", "https://r.example/v2/", End::Answered { status: 401 }, 12),
            request("token", "POST", "https://r.example/token", End::Unanswered { reason: "refused".into() }, 3),
            request("config", "GET", "https://r.example/c", End::Unread { status: 200, reason: "cut".into() }, 1000),
        ];
        let elsewhere = FoundAt { image: "m.example/r/tool:v1".to_owned(), because: "-image_registry_map".to_owned() };
        let found = Found {
            found_at: Some(elsewhere),
            index_digest: Some("sha256:a".to_owned()),
            credential: Some("pull secret ci/regcred".to_owned()),
            requests: Requests { listed, left_out: 4 },
            ..found(&["/app"], &[])
        };
        assert_eq!(
            text(&Ok(found), &[]),
            "\
Image       r.example/team/tool:v1
Found at    m.example/r/tool:v1 (-image_registry_map)
Command     /app
ENTRYPOINT  [\"/app\"]
CMD         none
Platform    linux/arm64 (wanted: linux/arm64/v8)
Index       sha256:a
Manifest    sha256:b
Config      sha256:c
Credential  pull secret ci/regcred

Sources:
  service account: not in a cluster

Requests:
    12 ms  401  manifest  GET   https://r.example/v2/
     3 ms  ---  token     POST  https://r.example/token  refused
  1000 ms  200  config    GET   https://r.example/c  cut
  and 4 more

Total: 7 ms
"
        );
    }

    #[test]
    fn an_image_that_was_reached_by_its_own_digest_is_not_said_to_be_in_no_index() {
        let by_manifest = Found { pinned_by: PinnedBy::PodStatus, ..found(&["/app"], &[]) };
        // Of a config's digest alone.
        let by_config = Found { manifest_digest: None, credential: Some("a secret".to_owned()), ..by_manifest.clone() };
        for (found, credential) in [(by_manifest, "none was needed"), (by_config, "a secret")] {
            let text = text(&Ok(found), &[]);
            assert!(text.contains("\nIndex       none: the image was not reached through one\n"), "{text}");
            assert!(text.contains(&format!("\nCredential  {credential}\n")), "{text}");
        }
    }

    #[test]
    fn what_the_container_runs_is_told_where_it_was_asked_for() {
        let unread = RuntimeWord::Unread { reason: "no Role".to_owned(), retryable: false };
        let reported = |id: &str| RuntimeWord::Reported {
            container: "step-build".to_owned(),
            running: Running::parse("docker.io/team/tool:v1", id),
        };
        let same = Agreement { verdict: Match::Same, compared: Some(Kind::Config), because: Because::SameConfig };
        let pinned = Found { agreement: same, pinned_by: PinnedBy::PodStatus, ..found(&["/app"], &[]) };
        for (found, rows) in [
            (found(&["/app"], &[]), ""),
            (
                Found { runtime: unread.clone(), ..found(&["/app"], &[]) },
                "Container   not known: no Role\n\
                 Match       unknown: what the runtime runs could not be read\n\
                 Pinned by   the registry\n",
            ),
            (
                Found { runtime: reported("sha256:c"), cache: Some("/cache".to_owned()), ..pinned },
                "Container   step-build, runs docker.io/team/tool:v1\n\
                 Image ID    sha256:c\n\
                 Match       same: the runtime runs an image with the config that the reference leads to\n\
                 Pinned by   the pod's status\n",
            ),
            (
                Found { runtime: reported(""), not_followed: Some("why\nnot".to_owned()), ..found(&["/app"], &[]) },
                "Container   step-build, runs docker.io/team/tool:v1\n\
                 Image ID    not reported yet\n\
                 Match       unknown: what the runtime runs could not be read\n\
                 Pinned by   the registry\n\
                 Not pinned  why\\nnot\n",
            ),
        ] {
            let text = text(&Ok(found.clone()), &[]);
            assert!(text.contains(&format!("Config      sha256:c\n{rows}Credential  ")), "{rows} in\n{text}");
            assert_eq!(text.contains("Cached in   /cache\nCommand "), found.cache.is_some(), "{text}");
        }
        let failure = Failure { runtime: Box::new(unread), ..Failure::of("x", "y".to_owned()) };
        assert!(text(&Err(failure), &[]).contains("\nContainer   not known: no Role\n\nNo source"));
    }

    #[test]
    fn an_attempt_that_came_to_nothing_is_told_too() {
        let failure = Failure::of("UPPER", "it is\nno reference".to_owned());
        assert_eq!(
            text(&Err(failure), &[]),
            "\
Image       UPPER
Error       cannot look up the command of image UPPER: it is\\nno reference

No source of credentials was asked.

No request was made.

Total: 7 ms
"
        );
    }

    #[test]
    fn json_has_every_name_always_and_nothing_invisible() {
        let failed = Story::of(&Err(Failure::of("x", "y".to_owned())), &[], Duration::ZERO).json();
        let args = [OsString::from("\u{9b}31m")];
        let good = Story::of(&Ok(found(&["/app"], &[])), &args, Duration::ZERO).json();
        assert!(good.contains(r#""\u009b31m""#), "{good}");
        let names = |json: &str| -> Vec<String> {
            let value: serde_json::Map<_, _> = serde_json::from_str(json).unwrap();
            value.keys().cloned().collect()
        };
        assert_eq!(names(&failed), names(&good));
        assert_eq!(
            names(&good).join(" "),
            "image found_at daemon cache command error entrypoint cmd platform wanted_platform digests runtime \
             runtime_unread match compared because leads_to pinned_by not_followed credential notes requests \
             requests_left_out millis"
        );
    }
}
