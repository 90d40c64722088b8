//! Who may be shown a token of the pod's: Amazon's STS, and what is on this node.
//!
//! An image has an environment of its own, and its variables can name endpoints. Whoever is shown the token of a service account
//! has the account's role; a request that is signed gives nothing away, and may go anywhere.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use reqwest::Url;

/// Where the agents are: that of ECS, and that of EKS.
const AGENTS: [IpAddr; 3] = [
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 2)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 23)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23)),
];

/// The suffixes of Amazon's services in all partitions, each without IPv6 and with it.
/// <https://docs.aws.amazon.com/general/latest/gr/sts.html>, `partitions.json` of Amazon's SDKs.
const SUFFIXES: [&str; 14] = [
    "amazonaws.com",
    "api.aws",
    "amazonaws.com.cn",
    "api.amazonwebservices.com.cn",
    "amazonaws.eu",
    "api.amazonwebservices.eu",
    "c2s.ic.gov",
    "api.aws.ic.gov",
    "sc2s.sgov.gov",
    "api.aws.scloud",
    "cloud.adc-e.uk",
    "api.cloud-aws.adc-e.uk",
    "csp.hci.ic.gov",
    "api.aws.hci.ic.gov",
];

/// Whether a URL is that of EKS's agent.
pub(super) fn is_eks(url: &Url) -> bool {
    let [_, eks @ ..] = AGENTS;
    address(url).is_some_and(|address| eks.contains(&address))
}

/// Whether a URL leads to an agent that may be asked in plain text: Amazon's, or one on this machine.
pub(super) fn is_agent(url: &Url) -> bool {
    is_own(url) || address(url).is_some_and(|address| AGENTS.contains(&address))
}

/// Whether a URL leads to something on this node, so that it may be shown the token for an agent.
pub(super) fn is_on_node(url: &Url) -> bool {
    is_agent(url)
        || address(url).is_some_and(|address| match address {
            IpAddr::V4(address) => address.is_link_local(),
            IpAddr::V6(address) => address.is_unicast_link_local(),
        })
}

/// Whether a URL is one of Amazon's STS, or this machine's: whom the token of a service account may be shown to. The host
/// is looked at to the letter, for customers have names below Amazon's suffixes too: of a bucket, of an API of their own.
pub(super) fn is_sts(url: &Url) -> bool {
    if is_own(url) {
        return true;
    }
    let is_usual = url.scheme() == "https" && url.port().is_none();
    let host = url.host_str().unwrap_or("");
    let inner = |suffix: &&str| host.strip_suffix(*suffix)?.strip_suffix('.');
    is_usual && SUFFIXES.iter().filter_map(inner).any(|inner| is_name_of_sts(&inner.split('.').collect::<Vec<_>>()))
}

/// Whether these labels, before Amazon's suffix, are a name of STS: the global one, that of a region, that of an endpoint in
/// a VPC.
fn is_name_of_sts(labels: &[&str]) -> bool {
    let is_its = |label: &str| matches!(label, "sts" | "sts-fips");
    match *labels {
        [service] => is_its(service),
        [service, region] => is_its(service) && is_region(region),
        [endpoint, service, region, "vpce"] => endpoint.starts_with("vpce-") && is_its(service) && is_region(region),
        _ => false,
    }
}

/// `eu-central-1`: a bucket's host has the likes of `s3-eu-central-1` there.
fn is_region(label: &str) -> bool {
    let parts: Vec<&str> = label.split('-').collect();
    let letters = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphabetic());
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    match parts.as_slice() {
        [area @ .., number] => area.len() >= 2 && area.iter().all(letters) && digits(number),
        [] => false,
    }
}

/// Whether a URL is this machine's. The name `localhost` leads nowhere else, whatever the image's files say.
fn is_own(url: &Url) -> bool {
    url.host_str() == Some("localhost") || address(url).is_some_and(|address| address.is_loopback())
}

fn address(url: &Url) -> Option<IpAddr> {
    url.host_str()?.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_accounts_token_goes_to_amazons_sts_alone() {
        for url in [
            "https://sts.amazonaws.com",
            "https://sts.amazonaws.com:443/",
            "https://STS.eu-central-1.amazonaws.com/",
            "https://sts-fips.us-gov-west-1.amazonaws.com/",
            "https://sts.us-east-1.api.aws/",
            "https://sts-fips.us-east-1.api.aws/",
            "https://sts.cn-north-1.amazonaws.com.cn/",
            "https://sts.cn-north-1.api.amazonwebservices.com.cn/",
            "https://sts.eusc-de-east-1.amazonaws.eu/",
            "https://sts.eusc-de-east-1.api.amazonwebservices.eu/",
            "https://sts.us-iso-east-1.c2s.ic.gov/",
            "https://sts.us-isob-east-1.sc2s.sgov.gov/",
            "https://sts.us-isob-east-1.api.aws.scloud/",
            "https://sts.eu-isoe-west-1.cloud.adc-e.uk/",
            "https://sts.us-isof-south-1.csp.hci.ic.gov/",
            "https://vpce-0a1b2c-x3y4.sts.eu-central-1.vpce.amazonaws.com/",
            "https://vpce-0a1b2c-x3y4-eu-central-1a.sts.eu-central-1.vpce.amazonaws.com/",
            "http://127.0.0.1:4566/",
            "http://localhost:4566/",
            "https://[::1]:4566/",
        ] {
            assert!(is_sts(&url.parse().unwrap()), "{url}");
        }
        for url in [
            "https://evil.example/",
            "https://sts.amazonaws.com.evil.example/",
            "https://sts.amazonaws.com@evil.example/",
            "https://sts.evilamazonaws.com/",
            "https://stsamazonaws.com/",
            "https://evil.sts.amazonaws.com/",
            "https://amazonaws.com/",
            "https://.amazonaws.com/",
            "https://sts..amazonaws.com/",
            "https://sts.amazonaws.com./",
            // Customers' names.
            "https://abcdef.execute-api.eu-central-1.amazonaws.com/",
            "https://sts.s3.amazonaws.com/",
            "https://sts.s3-us-west-2.amazonaws.com/",
            "https://sts.s3.eu-central-1.amazonaws.com/",
            "https://sts.eu-central-1.elb.amazonaws.com/",
            "https://ec2-1-2-3-4.eu-central-1.compute.amazonaws.com/",
            "https://vpce-0a1b2c.vpce-svc-0a1b2c.eu-central-1.vpce.amazonaws.com/",
            "https://evil.sts.eu-central-1.vpce.amazonaws.com/",
            "https://sts.evil.amazonaws.com/",
            "https://sts.on.aws/",
            // Not https, and not the port.
            "http://sts.amazonaws.com/",
            "https://sts.amazonaws.com:8443/",
            // Not this machine.
            "http://10.0.0.1/",
            "https://169.254.169.254/",
            "https://169.254.170.23/",
            "https://0.0.0.0/",
            "https://127.0.0.1.evil.example/",
            "https://localhost.evil.example/",
        ] {
            assert!(!is_sts(&url.parse().unwrap()), "{url}");
        }
    }
}
