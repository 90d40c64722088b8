//! `os/architecture[/variant]` in the words of Go, which are those of image indexes.

use std::cmp::{Ordering, Reverse};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::shown;

/// How many characters of somebody else's platform a message shows.
pub const SHOWN: usize = 60;

/// What an image is for, or what a machine is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Platform {
    /// Go's GOOS: `linux`.
    pub os: String,
    /// Go's GOARCH: `amd64`, `arm64`.
    pub architecture: String,
    /// `v7` of arm, `v8` of arm64.
    pub variant: Option<String>,
}

/// A text that is no platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a platform (os/architecture or os/architecture/variant, as in linux/arm64/v8)")]
pub struct PlatformError {
    /// The text.
    pub text: String,
}

/// How well an offered platform serves a wanted one; better is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fit {
    /// Any variant is wanted, and one is offered whose place among the others is not known.
    SomeVariant,
    /// Any variant is wanted, and one is offered that not every such machine runs; the lower, the better.
    HigherVariant(Reverse<Level>),
    /// A lower variant, which the wanted one runs too; the nearer, the better.
    LowerVariant(Level),
    /// The variant that goes without saying is offered and not named, or the other way round.
    UnnamedVariant,
    /// Equal.
    Exact,
}

/// The number of a variant: 7 of `v7`, 8 and 1 of `v8.1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Level(u16, u16);

impl Level {
    /// The level of a variant, for the architectures whose variants each run what is built for the lower ones.
    fn of(architecture: &str, variant: &str) -> Option<Self> {
        Self::unnamed(architecture)?;
        let number = variant.strip_prefix('v')?;
        let (major, minor) = number.split_once('.').unwrap_or((number, "0"));
        Some(Self(major.parse().ok()?, minor.parse().ok()?))
    }

    /// The level that is meant where no variant is named, as containerd has it.
    /// <https://github.com/containerd/platforms/blob/v1.0.0/database.go>
    fn unnamed(architecture: &str) -> Option<Self> {
        match architecture {
            "amd64" => Some(Self(1, 0)),
            "arm" => Some(Self(7, 0)),
            "arm64" => Some(Self(8, 0)),
            _ => None,
        }
    }
}

impl Platform {
    /// The platform of this program, hence of the machine that it runs on. Only linux is built.
    #[must_use]
    pub fn host() -> Self {
        Self::of_rust(std::env::consts::ARCH, cfg!(target_endian = "little"))
    }

    /// Go's name for a Rust architecture; where the two agree, that name.
    fn of_rust(arch: &str, little_endian: bool) -> Self {
        let architecture = match (arch, little_endian) {
            ("x86_64", _) => "amd64",
            ("aarch64", _) => "arm64",
            ("x86", _) => "386",
            ("powerpc64", true) => "ppc64le",
            ("powerpc64", false) => "ppc64",
            ("loongarch64", _) => "loong64",
            ("mips", true) => "mipsle",
            ("mips64", true) => "mips64le",
            // arm, s390x, riscv64 and others have one name.
            (same, _) => same,
        };
        // Every 64-bit arm is v8; which 32-bit arm this is cannot be told from here.
        let variant = (architecture == "arm64").then(|| "v8".to_owned());
        Self { os: "linux".to_owned(), architecture: architecture.to_owned(), variant }
    }

    /// How well `offered` serves when `self` is wanted; `None` when it does not.
    #[must_use]
    pub fn fit(&self, offered: &Self) -> Option<Fit> {
        if self.os != offered.os || self.architecture != offered.architecture {
            return None;
        }
        let unnamed = Level::unnamed(&self.architecture);
        let level = |variant: &str| Level::of(&self.architecture, variant);
        match (self.variant.as_deref(), offered.variant.as_deref()) {
            (wanted, offered) if wanted == offered => Some(Fit::Exact),
            (Some(wanted), None) => Some(match (level(wanted), unnamed) {
                (Some(wanted), Some(unnamed)) if unnamed < wanted => Fit::LowerVariant(unnamed),
                (Some(_) | None, _) => Fit::UnnamedVariant,
            }),
            (None, Some(offered)) => Some(match (unnamed, level(offered)) {
                (Some(unnamed), Some(offered)) => match offered.cmp(&unnamed) {
                    Ordering::Less => Fit::LowerVariant(offered),
                    Ordering::Equal => Fit::UnnamedVariant,
                    Ordering::Greater => Fit::HigherVariant(Reverse(offered)),
                },
                (Some(_) | None, _) => Fit::SomeVariant,
            }),
            (Some(wanted), Some(offered)) => {
                let (wanted, offered) = (level(wanted)?, level(offered)?);
                (offered < wanted).then_some(Fit::LowerVariant(offered))
            }
            // Equal, hence taken above.
            (None, None) => None,
        }
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let wrong = || PlatformError { text: shown(text, 80) };
        let mut parts = text.split('/');
        let mut part = || parts.next().filter(|part| !part.is_empty()).map(str::to_owned);
        let (os, architecture) = (part().ok_or_else(wrong)?, part().ok_or_else(wrong)?);
        let variant = part();
        // What was not taken: a fourth part, or an empty third one.
        let whole = Self { os, architecture, variant };
        if whole.to_string() == text { Ok(whole) } else { Err(wrong()) }
    }
}

impl TryFrom<String> for Platform {
    type Error = PlatformError;

    fn try_from(text: String) -> Result<Self, PlatformError> {
        text.parse()
    }
}

impl From<Platform> for String {
    fn from(platform: Platform) -> Self {
        platform.to_string()
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(text: &str) -> Platform {
        text.parse().expect(text)
    }

    #[test]
    fn a_platform_reads_back_as_it_was_written() {
        for text in ["linux/amd64", "linux/arm64/v8", "windows/386"] {
            assert_eq!(platform(text).to_string(), text);
        }
        for text in ["", "linux", "linux/", "/amd64", "linux/arm/", "linux/arm/v7/x", "linux//v7"] {
            let error = text.parse::<Platform>().expect_err(text).to_string();
            assert!(error.contains("os/architecture/variant"), "{error}");
        }
    }

    #[test]
    fn rust_architectures_have_gos_names() {
        for (arch, little, name) in [
            ("x86_64", true, "linux/amd64"),
            ("aarch64", true, "linux/arm64/v8"),
            ("x86", true, "linux/386"),
            ("powerpc64", true, "linux/ppc64le"),
            ("powerpc64", false, "linux/ppc64"),
            ("arm", true, "linux/arm"),
            ("s390x", false, "linux/s390x"),
            ("riscv64", true, "linux/riscv64"),
            ("loongarch64", true, "linux/loong64"),
        ] {
            assert_eq!(Platform::of_rust(arch, little).to_string(), name);
        }
    }

    #[test]
    fn a_variant_fits_exactly_or_where_one_side_names_none_or_where_the_machine_runs_it_too() {
        let (lower, higher) =
            (|n| Some(Fit::LowerVariant(Level(n, 0))), |n| Some(Fit::HigherVariant(Reverse(Level(n, 0)))));
        for (wanted, offered, fit) in [
            ("linux/arm64/v8", "linux/arm64/v8", Some(Fit::Exact)),
            ("linux/arm64/v8", "linux/arm64", Some(Fit::UnnamedVariant)),
            ("linux/arm64", "linux/arm64/v8", Some(Fit::UnnamedVariant)),
            ("linux/arm64/v8", "linux/arm64/v9", None),
            ("linux/arm64/v9", "linux/arm64", lower(8)),
            ("linux/arm64/v8.1", "linux/arm64/v8", lower(8)),
            ("linux/arm", "linux/arm/v6", lower(6)),
            ("linux/arm", "linux/arm/v8", higher(8)),
            ("linux/arm/v7", "linux/arm/v6", lower(6)),
            ("linux/arm/v6", "linux/arm/v7", None),
            ("linux/arm/v6", "linux/arm/odd", None),
            ("linux/amd64", "linux/amd64", Some(Fit::Exact)),
            ("linux/amd64", "linux/amd64/v3", higher(3)),
            ("linux/amd64/v3", "linux/amd64/v2", lower(2)),
            ("linux/amd64/v3", "linux/amd64", lower(1)),
            ("linux/amd64/v2", "linux/amd64/v3", None),
            ("linux/riscv64", "linux/riscv64/rva23", Some(Fit::SomeVariant)),
            ("linux/riscv64/rva23", "linux/riscv64", Some(Fit::UnnamedVariant)),
            ("linux/amd64", "linux/arm64", None),
            ("linux/amd64", "windows/amd64", None),
        ] {
            assert_eq!(platform(wanted).fit(&platform(offered)), fit, "{wanted} {offered}");
        }
    }

    #[test]
    fn the_nearest_variant_is_the_best() {
        for (wanted, best_first) in [
            ("linux/arm/v7", &["linux/arm/v7", "linux/arm", "linux/arm/v6", "linux/arm/v5"][..]),
            (
                "linux/arm",
                &["linux/arm", "linux/arm/v7", "linux/arm/v6", "linux/arm/v5", "linux/arm/v8", "linux/arm/odd"],
            ),
            ("linux/amd64", &["linux/amd64", "linux/amd64/v1", "linux/amd64/v2", "linux/amd64/v3"]),
            ("linux/amd64/v4", &["linux/amd64/v4", "linux/amd64/v3", "linux/amd64/v2", "linux/amd64"]),
        ] {
            let fits: Vec<_> = best_first.iter().map(|offered| platform(wanted).fit(&platform(offered))).collect();
            assert!(fits.iter().all(Option::is_some) && fits.is_sorted_by(|a, b| a > b), "{wanted}: {fits:?}");
        }
    }
}
