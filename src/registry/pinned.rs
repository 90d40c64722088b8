//! Which image is taken: the one that the container runtime runs, if that is known and can be had, wherever the reference
//! leads by now.

use super::client::Lookup;
use super::error::What;
use super::session::{Failed, Session};
use super::walk::{Image, Leaf, Right, Root};
use super::{FetchedImage, NotFollowed, RegistryError, Retry};
use crate::image::agreement::{Answer, Because};
use crate::image::running::RunningKind;
use crate::image::{Agreement, Document, Identifier, LeadsTo, Match, PinnedBy, RunningDigest, shown};
use crate::note::Note;
use crate::sys::cause::chain;

/// The source of a note about what kubelet reports.
const POD_STATUS: &str = "pod status";
/// How many characters of an `imageID` a message shows.
const SHOWN: usize = 200;

/// What the document that a reference leads to says of the image that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    /// It is that, or the image chosen from it may turn out to be that.
    Choose,
    /// It is not: that has to be asked for by its digest.
    ByDigest,
}

impl Look {
    fn at(running: &RunningDigest, is_the_root: bool, is_listed: bool) -> Self {
        match running.kind {
            RunningKind::Config => Self::Choose,
            _ if is_the_root => Self::Choose,
            RunningKind::Unknown if !is_listed => Self::Choose,
            RunningKind::Unknown | RunningKind::IndexOrManifest | RunningKind::Index | RunningKind::Manifest => {
                Self::ByDigest
            }
        }
    }
}

/// What there is to tell of an image beside what it is.
struct Told {
    leads_to: Option<LeadsTo>,
    agreement: Agreement,
    pinned_by: PinnedBy,
    not_followed: Option<NotFollowed>,
}

impl Lookup<'_> {
    /// From the reference to the config of the image that is meant.
    pub(super) async fn image(&mut self, session: &mut Session<'_>) -> Result<FetchedImage, Failed> {
        let root = self.root(session, self.reference.identifier()).await;
        let Some(running) = self.aim.running.and_then(|running| running.identity.as_ref()) else {
            let root = root?;
            let leaf = self.choose(session, &root).await?;
            return self.as_it_leads(session, &root, leaf, None).await;
        };
        match root {
            Ok(root) => match self.looked(session, &root, running).await {
                Ok(leaf) => self.led(session, running, root, leaf).await,
                Err(failed) => self.misled(session, running, Some(&root), failed).await,
            },
            Err(failed) => self.misled(session, running, None, failed).await,
        }
    }

    /// The reference leads somewhere: to what runs, or else that is asked for; to where it leads, if that cannot be had.
    async fn led(
        &mut self,
        session: &mut Session<'_>,
        running: &RunningDigest,
        root: Root,
        leaf: Option<Leaf>,
    ) -> Result<FetchedImage, Failed> {
        let answer = root.led_to(self.aim.platform, leaf.as_ref());
        let agreement = Agreement::of(self.aim.running, self.aim.requested, Some(&answer));
        let leaf = match leaf {
            Some(leaf) if agreement.verdict == Match::Same => {
                let leads_to = Some(LeadsTo::of(&answer));
                let told = Told { leads_to, agreement, pinned_by: PinnedBy::PodStatus, not_followed: None };
                return Ok(finished(self.read(session, leaf).await?, told));
            }
            leaf => leaf,
        };
        let not_had = match self.by_digest(session, running, Some(&root)).await {
            Ok((image, kind)) => return Ok(followed(image, kind, running, Some(&answer))),
            Err(Failed::Offline) => return Err(Failed::Offline),
            Err(not_had) => self.not_had(&not_had),
        };
        let leaf = match leaf {
            Some(leaf) => leaf,
            None => self.choose(session, &root).await?,
        };
        self.as_it_leads(session, &root, leaf, Some(not_had)).await
    }

    /// The reference leads nowhere: what runs may be there all the same.
    async fn misled(
        &mut self,
        session: &mut Session<'_>,
        running: &RunningDigest,
        root: Option<&Root>,
        failed: Failed,
    ) -> Result<FetchedImage, Failed> {
        if !failed.is_about_the_image() {
            // Whoever cannot be asked, or not any more, need not be where what runs is on the shelf.
            let asked = matches!(failed, Failed::Finally(_));
            let shelved = if asked { self.by_digest(&mut Session::offline(), running, root).await.ok() } else { None };
            let Some((image, kind)) = shelved else { return Err(failed) };
            if let Failed::Finally(error) = &failed {
                self.asker.note_once(Note::failed(self.host(), error));
            }
            return Ok(followed(image, kind, running, None));
        }
        match self.by_digest(session, running, root).await {
            Ok((image, kind)) => {
                let answer = root.map(|root| root.led_to(self.aim.platform, None));
                Ok(followed(image, kind, running, answer.as_ref()))
            }
            Err(Failed::Offline) => Err(Failed::Offline),
            Err(not_had) => {
                let NotFollowed { reason, retryable, .. } = self.not_had(&not_had);
                self.asker.note_once(Note::new(POD_STATUS, reason));
                if let (Failed::Finally(error), true) = (not_had, retryable) {
                    self.unsettled = Some(error);
                }
                Err(failed)
            }
        }
    }

    /// The image that the reference leads to, if it takes that to know whether it is the one that runs.
    async fn looked(
        &mut self,
        session: &mut Session<'_>,
        root: &Root,
        running: &RunningDigest,
    ) -> Result<Option<Leaf>, Failed> {
        match Look::at(running, running.digest == root.digest, root.lists(&running.digest)) {
            Look::Choose => self.choose(session, root).await.map(Some),
            Look::ByDigest => Ok(None),
        }
    }

    /// The image that the reference leads to, whatever runs.
    async fn as_it_leads(
        &mut self,
        session: &mut Session<'_>,
        root: &Root,
        leaf: Leaf,
        not_followed: Option<NotFollowed>,
    ) -> Result<FetchedImage, Failed> {
        let answer = root.led_to(self.aim.platform, Some(&leaf));
        let told = Told {
            leads_to: Some(LeadsTo::of(&answer)),
            agreement: Agreement::of(self.aim.running, self.aim.requested, Some(&answer)),
            pinned_by: match self.aim.requested.identifier() {
                Identifier::Digest(_) => PinnedBy::Reference,
                Identifier::Tag(_) => PinnedBy::Registry,
            },
            not_followed,
        };
        Ok(finished(self.read(session, leaf).await?, told))
    }

    /// Asks the image's own repository, and nobody else, for what runs; and tells what that is.
    async fn by_digest(
        &mut self,
        session: &mut Session<'_>,
        running: &RunningDigest,
        root: Option<&Root>,
    ) -> Result<(Image, RunningKind), Failed> {
        let listed = root.is_some_and(|root| root.lists(&running.digest));
        match running.kind {
            RunningKind::Index | RunningKind::Manifest | RunningKind::IndexOrManifest => {
                self.by_manifest(session, running, root).await
            }
            RunningKind::Config => self.by_config(session, running, root).await,
            RunningKind::Unknown if listed => self.by_manifest(session, running, root).await,
            // Mostly a config. A registry that has not got it may have a manifest of that digest.
            RunningKind::Unknown => match self.by_config(session, running, root).await {
                Err(Failed::Refused(refusal)) if refusal.status == 404 => {
                    self.by_manifest(session, running, root).await
                }
                result => result,
            },
        }
    }

    async fn by_manifest(
        &mut self,
        session: &mut Session<'_>,
        running: &RunningDigest,
        tags: Option<&Root>,
    ) -> Result<(Image, RunningKind), Failed> {
        let root = self.root(session, &Identifier::Digest(running.digest)).await?;
        let kind = match root.document {
            Document::Index(_) => RunningKind::Index,
            Document::Manifest(_) => RunningKind::Manifest,
        };
        let mut leaf = self.choose(session, &root).await?;
        if let Some(tags) = tags.filter(|tags| tags.lists(&running.digest)) {
            leaf.index.get_or_insert(tags.digest);
        }
        Ok((self.read(session, leaf).await?, kind))
    }

    async fn by_config(
        &mut self,
        session: &mut Session<'_>,
        running: &RunningDigest,
        root: Option<&Root>,
    ) -> Result<(Image, RunningKind), Failed> {
        let fetched = self.fetched(session, "blobs", &running.digest, What::Config, Right::Unshown).await?;
        // Registries give a manifest as a blob too.
        if running.kind == RunningKind::Unknown && fetched.is_a_manifest() {
            return self.by_manifest(session, running, root).await;
        }
        let leaf = Leaf::of_config(running.digest, fetched.into_config(self)?);
        Ok((self.read(session, leaf).await?, RunningKind::Config))
    }

    /// Why what runs is not to be had here.
    fn not_had(&self, failed: &Failed) -> NotFollowed {
        let running = self.aim.running.map(|running| shown(&running.image_id, SHOWN)).unwrap_or_default();
        let (host, repository) = (self.host(), self.reference.repository());
        let (retryable, retry_after) = match failed {
            Failed::Finally(error) => (matches!(error.retry(), Retry::Worthwhile), error.retry_after()),
            Failed::Refused(_) | Failed::Withheld | Failed::Unknown(_) | Failed::Offline => (false, None),
        };
        let why = match failed {
            Failed::Refused(refusal) if refusal.status == 404 => {
                let reason =
                    format!("the container runs {running}, which {host} does not have in {repository}: {refusal}");
                return NotFollowed { reason, retryable, retry_after };
            }
            Failed::Refused(refusal) => refusal.to_string(),
            Failed::Finally(error) => chain(error),
            Failed::Withheld => "no credential is shown over plain http".to_owned(),
            Failed::Unknown(_) | Failed::Offline => "the registry wants a login that is not known here".to_owned(),
        };
        let reason = format!("the container runs {running}, which cannot be had from {host} in {repository}: {why}");
        NotFollowed { reason, retryable, retry_after }
    }
}

/// The image that runs, which was found by its digest: that tells what the digest is of.
fn followed(image: Image, kind: RunningKind, running: &RunningDigest, answer: Option<&Answer>) -> FetchedImage {
    let agreement = answer
        .map_or(Agreement::unknown(Because::NotAsked), |answer| Agreement::compare(&running.digest, kind, answer));
    let leads_to = answer.map(LeadsTo::of);
    finished(image, Told { leads_to, agreement, pinned_by: PinnedBy::PodStatus, not_followed: None })
}

fn finished(image: Image, told: Told) -> FetchedImage {
    let Image { index, manifest, config_digest, config, platform, shelved } = image;
    let Told { leads_to, agreement, pinned_by, not_followed } = told;
    // Credential and notes are the caller's, who knows the whole story.
    FetchedImage {
        config,
        index_digest: index,
        manifest_digest: manifest,
        config_digest,
        platform,
        leads_to,
        agreement,
        pinned_by,
        not_followed,
        from_shelf: shelved,
        credential: None,
        notes: Vec::new(),
    }
}

impl RegistryError {
    /// Whether it says something of what the reference leads to, and nothing of whoever asks or of the way there.
    pub(super) fn is_about_the_image(&self) -> bool {
        matches!(
            self,
            Self::NoPlatform { .. } | Self::EndlessIndex { .. } | Self::Manifest { .. } | Self::Config { .. }
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Digest;

    #[test]
    fn what_runs_is_asked_for_by_its_digest_only_where_the_reference_cannot_lead_there() {
        use Look::{ByDigest, Choose};
        use RunningKind::{Config, Index, IndexOrManifest, Manifest, Unknown};
        // The kind; where the digest is the root's own, is listed by it, is neither.
        for (kind, is_the_root, is_listed, is_neither) in [
            // The chosen image's config is known only when that is chosen.
            (Config, Choose, Choose, Choose),
            (Index, Choose, ByDigest, ByDigest),
            (Manifest, Choose, ByDigest, ByDigest),
            (IndexOrManifest, Choose, ByDigest, ByDigest),
            // One that is listed is a manifest's; another may be the chosen image's config.
            (Unknown, Choose, ByDigest, Choose),
        ] {
            let running = RunningDigest { digest: Digest::of(b""), kind, repository: None };
            for (root, listed, expected) in [
                (true, false, is_the_root),
                // An index that lists itself is nobody's, and no other either.
                (true, true, is_the_root),
                (false, true, is_listed),
                (false, false, is_neither),
            ] {
                assert_eq!(Look::at(&running, root, listed), expected, "{kind:?} {root} {listed}");
            }
        }
    }
}
