//! The API's version: what somebody says, or what both sides know.

use std::fmt;
use std::str::FromStr;

/// The oldest version that is spoken: the one that the engine means when it says nothing.
pub(super) const LOWEST: ApiVersion = ApiVersion { major: 1, minor: 24 };
/// The newest version whose answers are known.
pub(super) const HIGHEST: ApiVersion = ApiVersion { major: 1, minor: 52 };

/// `1.41`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ApiVersion {
    major: u16,
    minor: u16,
}

/// A text that is no version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NotAVersion;

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl FromStr for ApiVersion {
    type Err = NotAVersion;

    fn from_str(text: &str) -> Result<Self, NotAVersion> {
        let number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse().ok().filter(|_| digits).ok_or(NotAVersion)
        };
        let (major, minor) = text.split_once('.').ok_or(NotAVersion)?;
        Ok(Self { major: number(major)?, minor: number(minor)? })
    }
}

impl ApiVersion {
    /// The version to speak with a daemon that speaks `offered` and what is older; none if it is too old.
    pub(super) fn spoken_with(offered: Self) -> Option<Self> {
        (offered >= LOWEST).then(|| offered.min(HIGHEST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_that_both_know_is_spoken() {
        for (offered, spoken) in [
            ("1.41", Some("1.41")),
            ("1.24", Some("1.24")),
            ("1.52", Some("1.52")),
            ("1.99", Some("1.52")),
            ("2.0", Some("1.52")),
            ("1.23", None),
            ("0.99", None),
        ] {
            let found = ApiVersion::spoken_with(offered.parse().unwrap()).map(|version| version.to_string());
            assert_eq!(found.as_deref(), spoken, "{offered}");
        }
        for text in ["", "1", "1.", ".4", "v1.41", "1.41.2", "1.+4", "1.-4", "1.99999", "1.4 ", "a.b"] {
            assert_eq!(text.parse::<ApiVersion>(), Err(NotAVersion), "{text:?}");
        }
    }
}
