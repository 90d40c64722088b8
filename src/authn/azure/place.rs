//! Azure's clouds: to which of them a registry belongs, who gives tokens there, and for whom a token is made out.

/// The registry that is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Registry {
    /// Its host, in lower case and without a port.
    pub(super) host: String,
    /// Where it stands.
    pub(super) cloud: AzureCloud,
}

/// One of Azure's clouds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AzureCloud {
    Public,
    China,
    Germany,
    Government,
}

/// Who gives tokens: the host of one of Microsoft's authorities, and nobody else's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Authority(&'static str);

/// For whom a token is made out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Audience(&'static str);

/// Microsoft's authorities in all clouds, old names and new.
/// <https://learn.microsoft.com/en-us/entra/identity-platform/authentication-national-cloud>
const AUTHORITIES: [&str; 10] = [
    "login.microsoftonline.com",
    "login.microsoft.com",
    "login.windows.net",
    "sts.windows.net",
    "login.microsoftonline.us",
    "login-us.microsoftonline.com",
    "login.usgovcloudapi.net",
    "login.partner.microsoftonline.cn",
    "login.chinacloudapi.cn",
    "login.microsoftonline.de",
];

impl Registry {
    /// The registry of a reference's host, which is known to be one of Azure's.
    pub(super) fn of(registry: &str) -> Self {
        let host = registry.strip_suffix(":443").unwrap_or(registry).to_ascii_lowercase();
        let cloud = match host.rsplit('.').next() {
            Some("cn") => AzureCloud::China,
            Some("de") => AzureCloud::Germany,
            Some("us") => AzureCloud::Government,
            _ => AzureCloud::Public,
        };
        Self { host, cloud }
    }
}

impl AzureCloud {
    /// Who gives tokens there, where the environment does not say.
    pub(super) fn authority(self) -> Authority {
        Authority(match self {
            Self::Public => "login.microsoftonline.com",
            Self::China => "login.chinacloudapi.cn",
            Self::Germany => "login.microsoftonline.de",
            Self::Government => "login.microsoftonline.us",
        })
    }

    /// Its resource manager: the older audience of tokens for registries.
    pub(super) fn manager(self) -> Audience {
        Audience(match self {
            Self::Public => "https://management.azure.com",
            Self::China => "https://management.chinacloudapi.cn",
            Self::Germany => "https://management.microsoftazure.de",
            Self::Government => "https://management.usgovcloudapi.net",
        })
    }
}

impl Authority {
    /// The authority that `AZURE_AUTHORITY_HOST` names, if it is one of Microsoft's. The environment is also the image's,
    /// and whoever is asked is shown the pod's secret or token.
    pub(super) fn named(value: &str) -> Option<Self> {
        let host = value.strip_prefix("https://")?;
        let host = host.strip_suffix('/').unwrap_or(host);
        let host = host.strip_suffix(":443").unwrap_or(host);
        AUTHORITIES.into_iter().find(|known| known.eq_ignore_ascii_case(host)).map(Self)
    }

    /// Its host.
    pub(super) fn host(self) -> &'static str {
        self.0
    }
}

impl Audience {
    /// All registries: the one that they always accept, but which Azure's stacks do not have.
    pub(super) const REGISTRY: Self = Self("https://containerregistry.azure.net");

    /// The resource's identifier.
    pub(super) fn resource(self) -> &'static str {
        self.0
    }

    /// As Entra ID is asked for it.
    pub(super) fn scope(self) -> String {
        format!("{}/.default", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registrys_host_says_its_cloud_authority_and_resource_manager() {
        for (registry, host, authority, manager) in [
            ("team.azurecr.io", "team.azurecr.io", "login.microsoftonline.com", "https://management.azure.com"),
            ("Team.AzureCR.io:443", "team.azurecr.io", "login.microsoftonline.com", "https://management.azure.com"),
            ("team.azurecr.us", "team.azurecr.us", "login.microsoftonline.us", "https://management.usgovcloudapi.net"),
            ("team.azurecr.cn", "team.azurecr.cn", "login.chinacloudapi.cn", "https://management.chinacloudapi.cn"),
            ("team.azurecr.de", "team.azurecr.de", "login.microsoftonline.de", "https://management.microsoftazure.de"),
        ] {
            let registry = Registry::of(registry);
            assert_eq!(registry.host, host);
            assert_eq!(registry.cloud.authority().host(), authority);
            assert_eq!(registry.cloud.manager().resource(), manager);
            assert_eq!(Authority::named(&format!("https://{authority}/")), Some(registry.cloud.authority()));
        }
        assert_eq!(Audience::REGISTRY.scope(), "https://containerregistry.azure.net/.default");
    }

    #[test]
    fn an_authority_is_one_of_microsofts() {
        for value in [
            "https://login.microsoftonline.com",
            "https://login.microsoftonline.com/",
            "https://login.microsoftonline.com:443/",
            "https://Login.MicrosoftOnline.us",
            "https://login.windows.net",
        ] {
            assert!(Authority::named(value).is_some(), "{value}");
        }
        for value in [
            "",
            "login.microsoftonline.com",
            "http://login.microsoftonline.com",
            "https://evil.example",
            "https://login.microsoftonline.com.evil.example",
            "https://login.microsoftonline.com@evil.example",
            "https://login.microsoftonline.com:8443",
            "https://login.microsoftonline.com/x",
            "https://login.microsoftonline.com//",
            "https://login.microsoftonline.com?x",
            "https://evil.login.microsoftonline.com",
            "https://127.0.0.1",
            "https://adfs.local.azurestack.external/adfs",
        ] {
            assert_eq!(Authority::named(value), None, "{value}");
        }
    }
}
