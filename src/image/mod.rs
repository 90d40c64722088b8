//! Names and documents of images, as registries have them: pure, nothing here talks to anything.

#[cfg(feature = "lookup")]
pub mod agreement;
#[cfg(feature = "lookup")]
pub mod config;
#[cfg(feature = "lookup")]
pub mod digest;
#[cfg(feature = "lookup")]
pub mod manifest;
#[cfg(feature = "lookup")]
mod object;
#[cfg(feature = "lookup")]
pub mod pinned;
pub mod platform;
#[cfg(feature = "lookup")]
pub mod reference;
#[cfg(feature = "lookup")]
pub mod running;

#[cfg(feature = "lookup")]
pub use self::agreement::{Agreement, Answer, Match};
#[cfg(feature = "lookup")]
pub use self::config::{ConfigError, ImageConfig};
#[cfg(feature = "lookup")]
pub use self::digest::{Digest, DigestError, DigestMismatch};
#[cfg(feature = "lookup")]
pub use self::manifest::{Descriptor, Document, Index, Manifest, ManifestError};
#[cfg(feature = "lookup")]
pub(crate) use self::object::Object;
#[cfg(feature = "lookup")]
pub use self::pinned::{LeadsTo, PinnedBy};
pub use self::platform::{Platform, PlatformError};
#[cfg(feature = "lookup")]
pub use self::reference::{Identifier, Reference, ReferenceError};
#[cfg(feature = "lookup")]
pub use self::running::{Running, RunningDigest};

/// Why a document is not the JSON that it should be. The library repeats the values that it did not expect, whole: only
/// the beginning of that is for a message.
#[cfg(feature = "lookup")]
#[derive(Debug, thiserror::Error)]
#[error("{}", shown(&.0.to_string(), 160))]
pub struct JsonError(serde_json::Error);

#[cfg(feature = "lookup")]
impl From<serde_json::Error> for JsonError {
    fn from(error: serde_json::Error) -> Self {
        Self(error)
    }
}

/// At most this many characters of somebody else's text, for a message: without control characters, and without those that
/// end a line or turn the direction in which what follows is shown.
#[must_use]
pub fn shown(text: &str, limit: usize) -> String {
    let turns = |character: char| matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let clean = |character: char| if character.is_control() || turns(character) { ' ' } else { character };
    let mut shown: String = text.chars().take(limit).map(clean).collect();
    if text.chars().nth(limit).is_some() {
        shown.push_str("...");
    }
    shown
}
