//! A sha256 digest: the only algorithm that registries use, and the proof that bytes are those that were asked for.

use std::fmt;
use std::str::FromStr;

use ring::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use serde::{Deserialize, Serialize};

use super::shown;

/// `sha256:` and 64 lower-case hexadecimal digits.
/// <https://github.com/opencontainers/image-spec/blob/v1.1.1/descriptor.md#digests>
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; SHA256_OUTPUT_LEN]);

/// Why a text is no digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// Another algorithm.
    #[error("the digest algorithm {algorithm:?} is not supported (only sha256 is)")]
    Algorithm {
        /// What stands before the colon.
        algorithm: String,
    },
    /// Not 64 lower-case hexadecimal digits.
    #[error("{digest:?} is not a sha256 digest (sha256: and 64 hexadecimal digits in lower case)")]
    Hex {
        /// The text.
        digest: String,
    },
}

/// Bytes that are not those of a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("its digest is {found}, but {expected} was asked for")]
pub struct DigestMismatch {
    /// What was asked for.
    pub expected: Digest,
    /// What the bytes have.
    pub found: Digest,
}

impl Digest {
    /// The digest of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut own = [0; SHA256_OUTPUT_LEN];
        for (to, from) in own.iter_mut().zip(digest(&SHA256, bytes).as_ref()) {
            *to = *from;
        }
        Self(own)
    }

    /// Whether these bytes are those of the digest.
    ///
    /// # Errors
    ///
    /// [`DigestMismatch`] with both digests.
    pub fn verify(&self, bytes: &[u8]) -> Result<(), DigestMismatch> {
        let found = Self::of(bytes);
        if found == *self { Ok(()) } else { Err(DigestMismatch { expected: *self, found }) }
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let hex = match text.split_once(':') {
            Some(("sha256", hex)) => hex.as_bytes(),
            Some((algorithm, _)) => return Err(DigestError::Algorithm { algorithm: shown(algorithm, 32) }),
            None => b"",
        };
        let nibble = |byte: &u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        let bytes = hex.chunks(2).map(|pair| match pair {
            [high, low] => Some(nibble(high)? << 4 | nibble(low)?),
            _ => None,
        });
        let bytes: Option<Vec<u8>> = bytes.collect();
        bytes
            .and_then(|bytes| bytes.try_into().ok())
            .map(Self)
            .ok_or_else(|| DigestError::Hex { digest: shown(text, 80) })
    }
}

impl TryFrom<String> for Digest {
    type Error = DigestError;

    fn try_from(text: String) -> Result<Self, DigestError> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn the_digest_of_nothing_is_the_known_one_and_reads_back() {
        assert_eq!(Digest::of(b"").to_string(), EMPTY);
        let digest: Digest = EMPTY.parse().expect("a digest");
        assert_eq!(digest.verify(b""), Ok(()));
        let error = digest.verify(b"x").expect_err("another digest").to_string();
        assert!(error.starts_with("its digest is sha256:2d71") && error.contains(EMPTY), "{error}");
    }

    #[test]
    fn only_sha256_in_lower_case_hexadecimal_is_a_digest() {
        let upper = EMPTY.to_uppercase();
        let sha512 = format!("sha512:{}", "a".repeat(128));
        let long = format!("{EMPTY}00");
        for (text, sentence) in [
            (sha512.as_str(), "the digest algorithm \"sha512\" is not supported (only sha256 is)"),
            (upper.as_str(), "is not supported"),
            ("sha256:", "is not a sha256 digest"),
            ("sha256:abc", "is not a sha256 digest"),
            (long.as_str(), "is not a sha256 digest"),
            ("sha256:zz", "is not a sha256 digest"),
            ("", "is not a sha256 digest"),
        ] {
            let error = text.parse::<Digest>().expect_err(text).to_string();
            assert!(error.contains(sentence), "{error}");
        }
    }
}
