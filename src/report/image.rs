//! `image.json`: which image a step was, every fact apart and named for what it is. Nothing is put together from two of
//! them: a reference that nobody has said is not made up.

use serde::Serialize;

use crate::image::agreement::{Agreement, Kind, Match};
use crate::image::{Digest, LeadsTo, PinnedBy, shown};

/// The version of the document: it changes when a reader of the one before would misread it.
const VERSION: u8 = 1;

/// How many characters of a text the document holds.
const TEXT: usize = 1024;

/// How many notes, and how many characters of each.
const NOTES: usize = 16;
const NOTE: usize = 512;

/// What is known of a step's image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageReport {
    /// What was asked for.
    pub requested: Requested,
    /// What the container runtime reports; none where the pod's status was not read.
    pub runtime: Option<Runtime>,
    /// Digests of the image that the command was taken from.
    pub digests: Digests,
    /// Its platform, as its config has it.
    pub platform: Option<String>,
    /// Where the command came from; none if nobody had it.
    pub command: Option<Command>,
    /// Where the requested reference leads now, by a registry's word; none if none was asked or answered.
    pub leads_to: Option<LeadsTo>,
    /// Whether the runtime and the registry agree.
    pub agreement: Agreement,
    /// What else a person should know. Never a secret.
    pub notes: Vec<String>,
}

/// The image as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Requested {
    /// As written.
    pub written: String,
    /// The same in its canonical form, if it is a reference.
    pub reference: Option<String>,
}

/// What a container runtime reports, verbatim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Runtime {
    /// The container's name.
    pub container: String,
    /// `image` of its status.
    pub image: String,
    /// `imageID` of its status; empty if the runtime had not said it.
    #[serde(rename = "imageID")]
    pub image_id: String,
}

/// The digests of one image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Digests {
    /// Of the index that it was chosen from.
    pub index: Option<Digest>,
    /// Of its manifest.
    pub manifest: Option<Digest>,
    /// Of its config.
    pub config: Option<Digest>,
    /// What a daemon names it by in its repository: of an index or of a manifest.
    pub repository: Option<Digest>,
}

/// Where a command came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Command {
    /// Who had the image.
    #[serde(flatten)]
    pub from: Source,
    /// Who said which image of that name it is.
    #[serde(rename = "pinnedBy")]
    pub pinned_by: PinnedBy,
}

/// Who had an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "from", rename_all = "lowercase")]
pub enum Source {
    /// The image's own registry.
    Registry {
        /// Its host.
        registry: String,
    },
    /// Another place.
    Mirror {
        /// The image as it is named there.
        image: String,
        /// Who chose the place.
        because: String,
    },
    /// A directory with what a registry has said before.
    Cache {
        /// The directory.
        directory: String,
    },
    /// A Docker daemon.
    Daemon {
        /// Its address.
        address: String,
    },
}

/// The document, in the order in which a person reads it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    schema_version: u8,
    requested: Requested,
    runtime: Option<Runtime>,
    #[serde(rename = "match")]
    verdict: Match,
    compared: Option<Kind>,
    because: String,
    leads_to: Option<LeadsTo>,
    command: Option<Command>,
    digests: Digests,
    platform: Option<String>,
    notes: Vec<String>,
}

impl ImageReport {
    /// The document, on one line. It is bounded: a text that is too long is cut, and ends with `...`.
    ///
    /// # Errors
    ///
    /// None that a person could meet: every part has a form in JSON.
    pub fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string(&self.document())
    }

    /// The document without its notes, for a place with little room: a step's result.
    ///
    /// # Errors
    ///
    /// None that a person could meet, likewise.
    pub fn brief(&self) -> serde_json::Result<String> {
        serde_json::to_string(&Document { notes: Vec::new(), ..self.document() })
    }

    fn document(&self) -> Document {
        let cut = |text: &String| if text.chars().nth(TEXT).is_none() { text.clone() } else { shown(text, TEXT) };
        let Agreement { verdict, compared, because } = self.agreement;
        let mut notes: Vec<String> = self.notes.iter().take(NOTES).map(|note| shown(note, NOTE)).collect();
        if let Some(more) = self.notes.len().checked_sub(NOTES).filter(|more| *more > 0) {
            notes.push(format!("{more} more"));
        }
        Document {
            schema_version: VERSION,
            requested: Requested {
                written: cut(&self.requested.written),
                reference: self.requested.reference.as_ref().map(cut),
            },
            runtime: self.runtime.as_ref().map(|runtime| Runtime {
                container: cut(&runtime.container),
                image: cut(&runtime.image),
                image_id: cut(&runtime.image_id),
            }),
            verdict,
            compared,
            because: because.to_string(),
            leads_to: self.leads_to,
            command: self.command.as_ref().map(|command| Command {
                from: match &command.from {
                    Source::Registry { registry } => Source::Registry { registry: cut(registry) },
                    Source::Mirror { image, because } => Source::Mirror { image: cut(image), because: cut(because) },
                    Source::Cache { directory } => Source::Cache { directory: cut(directory) },
                    Source::Daemon { address } => Source::Daemon { address: cut(address) },
                },
                pinned_by: command.pinned_by,
            }),
            digests: self.digests.clone(),
            platform: self.platform.as_ref().map(cut),
            notes,
        }
    }
}
