//! A line of the table: what was checked, the verdict, a sentence, and what a person can do.

use serde::{Deserialize, Serialize};

use crate::secrets::Secrets;

/// What is checked, in the order of the table. The names are those of JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Check {
    Container,
    Process,
    Volume,
    Token,
    Rbac,
    PullSecrets,
    ConfigFiles,
    CloudIdentity,
    CaRoots,
    Dns,
    Proxy,
    Registry,
    Clock,
    Lookup,
}

impl Check {
    /// All of them.
    pub(super) const ALL: [Self; 14] = [
        Self::Container,
        Self::Process,
        Self::Volume,
        Self::Token,
        Self::Rbac,
        Self::PullSecrets,
        Self::ConfigFiles,
        Self::CloudIdentity,
        Self::CaRoots,
        Self::Dns,
        Self::Proxy,
        Self::Registry,
        Self::Clock,
        Self::Lookup,
    ];

    /// Its name for people.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Process => "process",
            Self::Volume => "volume",
            Self::Token => "token",
            Self::Rbac => "rbac",
            Self::PullSecrets => "pull secrets",
            Self::ConfigFiles => "config files",
            Self::CloudIdentity => "cloud identity",
            Self::CaRoots => "CA roots",
            Self::Dns => "dns",
            Self::Proxy => "proxy",
            Self::Registry => "registry",
            Self::Clock => "clock",
            Self::Lookup => "lookup",
        }
    }

    /// This is as it should be.
    pub(super) fn ok(self, says: impl Into<String>) -> Row {
        Row { check: self, verdict: Verdict::Ok, says: says.into(), fix: None }
    }

    /// This is worth knowing, and mostly harmless.
    pub(super) fn note(self, says: impl Into<String>, fix: impl Into<String>) -> Row {
        Row { check: self, verdict: Verdict::Note, says: says.into(), fix: Some(fix.into()) }
    }

    /// This is in the way.
    pub(super) fn problem(self, says: impl Into<String>, fix: impl Into<String>) -> Row {
        Row { check: self, verdict: Verdict::Problem, says: says.into(), fix: Some(fix.into()) }
    }

    /// This was not found out.
    pub(super) fn not_checked(self, says: impl Into<String>, fix: impl Into<String>) -> Row {
        Row { check: self, verdict: Verdict::NotChecked, says: says.into(), fix: Some(fix.into()) }
    }
}

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    Ok,
    Note,
    Problem,
    NotChecked,
}

impl Verdict {
    /// For people.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Problem => "problem",
            Self::NotChecked => "not checked",
        }
    }
}

/// A line of the table. Never holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Row {
    pub(super) check: Check,
    pub(super) verdict: Verdict,
    /// One sentence.
    pub(super) says: String,
    /// What a person can do, one command or sentence per line; there is one wherever the verdict is not `ok`.
    pub(super) fix: Option<String>,
}

impl Row {
    /// The same without secrets: whoever was asked may repeat what they were shown.
    pub(super) fn without(self, secrets: &Secrets) -> Self {
        let fix = self.fix.map(|fix| secrets.without(fix));
        Self { says: secrets.without_in_parts(self.says), fix, ..self }
    }
}

/// A length of time, in the largest unit of which there is one.
pub(super) fn about(seconds: u64) -> String {
    let (count, unit) = match seconds {
        0..120 => (seconds, "second"),
        120..7200 => (seconds / 60, "minute"),
        7200..172_800 => (seconds / 3600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_check_stands_once_in_the_list_and_in_order() {
        assert!(Check::ALL.is_sorted_by(|one, next| one < next));
        assert_eq!(Check::ALL.last(), Some(&Check::Lookup));
    }

    #[test]
    fn times_are_told_as_people_tell_them() {
        for (seconds, told) in [
            (0, "0 seconds"),
            (1, "1 second"),
            (119, "119 seconds"),
            (120, "2 minutes"),
            (3599, "59 minutes"),
            (7200, "2 hours"),
            (172_800, "2 days"),
        ] {
            assert_eq!(about(seconds), told);
        }
    }
}
