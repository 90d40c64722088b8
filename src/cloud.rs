//! Which cloud owns a registry, by its host alone: pure, anchored patterns, so that nobody else's host is shown a token.

use std::fmt;

/// A cloud whose registries a workload's own identity opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cloud {
    /// Google's Container Registry and Artifact Registry.
    Google,
    /// Amazon's ECR, private and public.
    Amazon,
    /// Azure's Container Registry.
    Azure,
}

impl Cloud {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Google, Self::Amazon, Self::Azure];

    /// The word of `-image_credential_helpers`, as in the forks of kaniko that have such a flag.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Google => "google",
            Self::Amazon => "ecr",
            Self::Azure => "acr",
        }
    }

    /// The cloud of a word of `-image_credential_helpers`.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cloud| cloud.word() == word)
    }

    /// The feature of this program that has it.
    #[must_use]
    pub fn feature(self) -> &'static str {
        match self {
            Self::Google => "gcr",
            Self::Amazon => "ecr",
            Self::Azure => "acr",
        }
    }

    /// Whether this program was built with it.
    #[must_use]
    pub fn is_built(self) -> bool {
        match self {
            Self::Google => cfg!(feature = "gcr"),
            Self::Amazon => cfg!(feature = "ecr"),
            Self::Azure => cfg!(feature = "acr"),
        }
    }
}

impl fmt::Display for Cloud {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Google => "Google",
            Self::Amazon => "Amazon",
            Self::Azure => "Azure",
        })
    }
}

/// A registry that belongs to a cloud.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CloudRegistry {
    /// One of Google's.
    Google,
    /// One of Amazon's.
    Amazon(AmazonRegistry),
    /// One of Azure's.
    Azure,
}

/// What the host of an Amazon registry says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AmazonRegistry {
    /// ECR Public.
    Public,
    /// An account's registry in a region.
    Private {
        /// The account: twelve digits.
        account: String,
        /// The region: `eu-central-1`.
        region: String,
        /// Whether its endpoints are those with FIPS 140 cryptography.
        fips: bool,
        /// Whether its endpoints are those with IPv6 too.
        dual_stack: bool,
    },
}

/// The suffixes of ECR's hosts in all partitions, behind the region; the second is whether IPv6 is spoken there too.
/// `ecr-login/api/client.go` of awslabs/amazon-ecr-credential-helper and
/// <https://docs.aws.amazon.com/AmazonECR/latest/userguide/ecr-requests.html>.
const AMAZON: [(&str, bool); 9] = [
    ("amazonaws.com", false),
    ("amazonaws.com.cn", false),
    ("amazonaws.eu", false),
    ("on.aws", true),
    ("on.amazonwebservices.com.cn", true),
    ("sc2s.sgov.gov", false),
    ("c2s.ic.gov", false),
    ("cloud.adc-e.uk", false),
    ("csp.hci.ic.gov", false),
];

/// ECR Public, and its name for IPv6 too.
const AMAZON_PUBLIC: [&str; 2] = ["public.ecr.aws", "ecr-public.aws.com"];

/// Azure's suffixes: the public cloud, China, Germany, the government's.
/// <https://learn.microsoft.com/en-us/azure/container-registry/container-registry-concepts>
const AZURE: [&str; 4] = [".azurecr.io", ".azurecr.cn", ".azurecr.de", ".azurecr.us"];

impl CloudRegistry {
    /// The cloud's registry that a host (`host[:port]`, as a reference has it) is; `None` for everybody else's. A port
    /// other than that of https is nobody's: clouds have none there.
    #[must_use]
    pub fn of(registry: &str) -> Option<Self> {
        let host = registry.strip_suffix(":443").unwrap_or(registry).to_ascii_lowercase();
        let named = |label: &str| {
            !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        };
        if !host.split('.').all(named) {
            return None;
        }
        if host == "gcr.io" || host.ends_with(".gcr.io") || host.ends_with(".pkg.dev") {
            return Some(Self::Google);
        }
        // `mcr.microsoft.com` is public, and none of these.
        if AZURE.iter().any(|suffix| host.ends_with(suffix)) {
            return Some(Self::Azure);
        }
        AmazonRegistry::of(&host).map(Self::Amazon)
    }

    /// The cloud.
    #[must_use]
    pub fn cloud(&self) -> Cloud {
        match self {
            Self::Google => Cloud::Google,
            Self::Amazon(_) => Cloud::Amazon,
            Self::Azure => Cloud::Azure,
        }
    }
}

impl AmazonRegistry {
    fn of(host: &str) -> Option<Self> {
        if AMAZON_PUBLIC.contains(&host) {
            return Some(Self::Public);
        }
        let (account, rest) = host.split_once(".dkr")?;
        if account.len() != 12 || !account.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let rest = rest.strip_prefix('.').or_else(|| rest.strip_prefix('-'))?.strip_prefix("ecr")?;
        let (fips, rest) = rest.strip_prefix("-fips").map_or((false, rest), |rest| (true, rest));
        let (region, suffix) = rest.strip_prefix('.')?.split_once('.')?;
        let (_, dual_stack) = AMAZON.into_iter().find(|(own, _)| *own == suffix)?;
        region.bytes().next().filter(u8::is_ascii_alphanumeric)?;
        Some(Self::Private { account: account.to_owned(), region: region.to_owned(), fips, dual_stack })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(registry: &str) -> Option<Cloud> {
        CloudRegistry::of(registry).map(|owned| owned.cloud())
    }

    #[test]
    fn a_cloud_owns_its_own_hosts() {
        for (cloud, hosts) in [
            (
                Cloud::Google,
                &["gcr.io", "eu.gcr.io", "us-docker.pkg.dev", "docker.us-east1.rep.pkg.dev", "GCR.io", "gcr.io:443"][..],
            ),
            (
                Cloud::Amazon,
                &[
                    "public.ecr.aws",
                    "ecr-public.aws.com",
                    "123456789012.dkr.ecr.eu-central-1.amazonaws.com",
                    "123456789012.dkr.ecr.eu-central-1.amazonaws.com:443",
                    "123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com",
                    "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn",
                    "123456789012.dkr.ecr.eusc-de-east-1.amazonaws.eu",
                    "123456789012.dkr-ecr.us-east-1.on.aws",
                    "123456789012.dkr-ecr-fips.us-east-1.on.aws",
                    "123456789012.dkr-ecr.cn-north-1.on.amazonwebservices.com.cn",
                    "123456789012.dkr.ecr.us-isob-east-1.sc2s.sgov.gov",
                    "123456789012.dkr.ecr.us-iso-east-1.c2s.ic.gov",
                    "123456789012.dkr.ecr.eu-isoe-west-1.cloud.adc-e.uk",
                    "123456789012.dkr.ecr.us-isof-south-1.csp.hci.ic.gov",
                ][..],
            ),
            (
                Cloud::Azure,
                &["team.azurecr.io", "Team.azurecr.io", "team-abc123.azurecr.cn", "t.azurecr.de", "t.azurecr.us"][..],
            ),
        ] {
            for host in hosts {
                assert_eq!(owner(host), Some(cloud), "{host}");
            }
        }
    }

    #[test]
    fn a_host_built_to_look_like_a_clouds_is_nobodys() {
        for host in [
            "gcr.io.evil.example",
            "gcr.io.evil",
            "evilgcr.io",
            "xgcr.io",
            "gcr.io.",
            ".gcr.io",
            "gcr.io:8080",
            "gcr.io:443:443",
            "pkg.dev",
            "us-docker.pkg.dev.evil.example",
            "evilpkg.dev",
            "google.com",
            "x.azurecr.io.evil.example",
            "evilazurecr.io",
            "azurecr.io",
            "azurecr.io.evil.example",
            "x.azurecr.com",
            "x.azurecr.io:5000",
            "a@x.azurecr.io",
            "evil.example/x.azurecr.io",
            "mcr.microsoft.com",
            "123.dkr.ecr.evil.com",
            "123456789012.dkr.ecr.us-east-1.evil.com",
            "123456789012.dkr.ecr.us-east-1.amazonaws.com.evil.example",
            "123456789012.dkr.ecr.amazonaws.com",
            "123456789012.dkr.ecr..amazonaws.com",
            "123456789012.dkr.ecr.us-east-1.x.amazonaws.com",
            "123456789012.dkr.ecr.-east.amazonaws.com",
            "12345678901.dkr.ecr.us-east-1.amazonaws.com",
            "1234567890123.dkr.ecr.us-east-1.amazonaws.com",
            "a23456789012.dkr.ecr.us-east-1.amazonaws.com",
            "x.123456789012.dkr.ecr.us-east-1.amazonaws.com",
            "123456789012.dkrecr.us-east-1.amazonaws.com",
            "public.ecr.aws.evil.example",
            "evilpublic.ecr.aws",
            "docker.io",
            "ghcr.io",
            "quay.io",
            "localhost",
            "127.0.0.1:5000",
            "[::1]:5000",
            "",
        ] {
            assert_eq!(owner(host), None, "{host}");
        }
    }

    #[test]
    fn an_amazon_host_says_account_region_and_endpoints() {
        let private = |region: &str, fips, dual_stack| {
            let (account, region) = ("123456789012".to_owned(), region.to_owned());
            Some(CloudRegistry::Amazon(AmazonRegistry::Private { account, region, fips, dual_stack }))
        };
        for (host, expected) in [
            ("123456789012.dkr.ecr.eu-central-1.amazonaws.com", private("eu-central-1", false, false)),
            ("123456789012.dkr.ecr-fips.us-east-1.amazonaws.com", private("us-east-1", true, false)),
            ("123456789012.dkr-ecr.us-east-1.on.aws", private("us-east-1", false, true)),
            ("123456789012.dkr-ecr-fips.us-east-1.on.aws", private("us-east-1", true, true)),
            ("public.ecr.aws", Some(CloudRegistry::Amazon(AmazonRegistry::Public))),
        ] {
            assert_eq!(CloudRegistry::of(host), expected, "{host}");
        }
    }

    #[test]
    fn every_cloud_has_a_word_of_its_own() {
        for cloud in Cloud::ALL {
            assert_eq!(Cloud::from_word(cloud.word()), Some(cloud));
        }
        assert_eq!(Cloud::from_word("gcr"), None);
    }
}
