//! Names to addresses, in Rust: a static binary that calls getaddrinfo may load the image's own libraries.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::config::{LookupIpStrategy, ResolveHosts, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::system_conf::parse_resolv_conf;
use hickory_resolver::{Hosts, TokioResolver};
use reqwest::dns::{Addrs, Resolve, Resolving};

use crate::sys::cause::Cause;
use crate::sys::file;

/// The largest name file that is read: the files are the image's, if kubelet did not mount over them.
const FILE_LIMIT: u64 = 256 << 10;
/// Bounds on what a `resolv.conf` may ask for. glibc has the same limit on servers, and its own on time.
const SERVERS: usize = 3;
const SEARCH_DOMAINS: usize = 32;
const NDOTS: usize = 15;
const ATTEMPTS: usize = 3;
const TIMEOUT: Duration = Duration::from_secs(5);
/// Bounds one name with all its search domains. It is less than the time that a connection has, so that silent name
/// servers are told from a silent registry.
const LIMIT: Duration = Duration::from_secs(8);

/// Where names are resolved from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameFiles {
    /// `/etc/resolv.conf`.
    pub resolv_conf: PathBuf,
    /// `/etc/hosts`.
    pub hosts: PathBuf,
}

impl Default for NameFiles {
    fn default() -> Self {
        Self { resolv_conf: "/etc/resolv.conf".into(), hosts: "/etc/hosts".into() }
    }
}

/// Why a name has no address.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ResolveError {
    /// The name servers know of none.
    #[error("no host is called {name}")]
    Unknown {
        /// The name.
        name: String,
    },
    /// There is no name server to ask.
    #[error("{name} is not in the hosts file, and {reason}")]
    NoServers {
        /// The name.
        name: String,
        /// What is wrong with `resolv.conf`.
        reason: String,
    },
    /// The name servers gave no answer at all.
    #[error("the name servers gave no answer for {name} in time")]
    Silent {
        /// The name.
        name: String,
    },
    /// The name servers lead where whoever chose the name may not lead us.
    #[error("the name servers lead {name} to {} {kind} address, and it was not the command line that named it", if kind.starts_with('u') { "an" } else { "a" })]
    Misled {
        /// The name.
        name: String,
        /// Which kind of address.
        kind: &'static str,
    },
    /// The name servers gave no usable answer.
    #[error("the name servers gave no answer for {name}")]
    NoAnswer {
        /// The name.
        name: String,
        /// Why.
        source: Arc<NetError>,
    },
}

/// What hosts files call this machine wherever they come from, kubelet for one.
const EVERYWHERE: [&str; 3] = ["ip6-localhost", "ip6-loopback", "localhost.localdomain"];

/// Says of an address which kind it is, if name servers are not believed when they answer with it.
pub type Refused = fn(IpAddr) -> Option<&'static str>;

/// The resolver: the hosts file, then the name servers.
#[derive(Clone)]
pub(super) struct Names {
    hosts: Arc<Hosts>,
    servers: Result<TokioResolver, String>,
    refused: Refused,
}

impl std::fmt::Debug for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Names").field("servers", &self.servers.as_ref().map(|_| ())).finish_non_exhaustive()
    }
}

impl Names {
    /// Reads the files. What is missing or broken is remembered for the name that needs it.
    pub(super) fn from_files(files: &NameFiles) -> Self {
        let mut hosts = Hosts::default();
        if let Ok(text) = file::head(&files.hosts, FILE_LIMIT) {
            // A line that is not UTF-8 ends the reading; what stands before it counts.
            let _ = hosts.read_hosts_conf(text.as_slice());
        }
        let servers = file::head(&files.resolv_conf, FILE_LIMIT)
            .map_err(|error| Cause(&error).to_string())
            .and_then(|text| resolver(&text).map_err(|error| error.to_string()))
            .map_err(|reason| format!("{} names no usable name server: {reason}", files.resolv_conf.display()));
        Self { hosts: Arc::new(hosts), servers, refused: |_| None }
    }

    /// The same, but name servers are not believed when they answer with one of these addresses. The hosts file is: it is
    /// the pod's, but for what stands in each.
    pub(super) fn refusing(&self, refused: Refused) -> Self {
        Self { refused, ..self.clone() }
    }

    /// The addresses of a name.
    pub(super) fn addresses(
        &self,
        name: &str,
    ) -> impl Future<Output = Result<Vec<IpAddr>, ResolveError>> + Send + use<> {
        let (known, servers, name) = (self.known(name), self.servers.clone(), name.to_owned());
        let refused = self.refused;
        async move {
            let plain = name.trim_end_matches('.').to_ascii_lowercase();
            let refuses = || known.iter().any(|address| refused(*address).is_some());
            let meant = !(EVERYWHERE.contains(&plain.as_str()) && refuses());
            if meant && !known.is_empty() {
                return Ok(known);
            }
            let found = ask(servers, name.clone(), LIMIT).await?;
            let kind = found.iter().find_map(|address| refused(*address));
            let left: Vec<_> = found.into_iter().filter(|address| refused(*address).is_none()).collect();
            match kind {
                Some(kind) if left.is_empty() => Err(ResolveError::Misled { name, kind }),
                Some(_) | None => Ok(left),
            }
        }
    }

    /// The addresses that need no name server: literals, `localhost` and its subdomains, the hosts file.
    fn known(&self, name: &str) -> Vec<IpAddr> {
        if let Ok(address) = name.trim_start_matches('[').trim_end_matches(']').parse() {
            return vec![address];
        }
        let plain = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        // RFC 6761, section 6.3: loopback whatever the files say, and never asked of a server.
        if plain == "localhost" || plain.ends_with(".localhost") {
            return vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        }
        let Ok(parsed) = Name::from_ascii(&plain) else { return Vec::new() };
        [RecordType::A, RecordType::AAAA]
            .into_iter()
            .filter_map(|kind| self.hosts.lookup_static_host(&Query::query(parsed.clone(), kind)))
            .flat_map(|found| found.answers().iter().filter_map(|record| record.data.ip_addr()).collect::<Vec<_>>())
            .collect()
    }
}

/// A resolver by the given `resolv.conf`, within bounds.
fn resolver(text: &[u8]) -> Result<TokioResolver, NetError> {
    let (config, asked) = parse_resolv_conf(text)?;
    let search = config.search().iter().take(SEARCH_DOMAINS).cloned().collect();
    let servers = config.name_servers().iter().take(SERVERS).cloned().collect();
    // No domain beside the search list: glibc has either, and the host's name is not the pod's business.
    let config = ResolverConfig::from_parts(None, search, servers);
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    let options = builder.options_mut();
    options.ndots = asked.ndots.min(NDOTS);
    options.attempts = asked.attempts.clamp(1, ATTEMPTS);
    options.timeout = asked.timeout.clamp(Duration::from_secs(1), TIMEOUT);
    options.edns0 = asked.edns0;
    options.use_hosts_file = ResolveHosts::Never;
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    builder.build()
}

impl Resolve for Names {
    fn resolve(&self, name: reqwest::dns::Name) -> Resolving {
        let found = self.addresses(name.as_str());
        Box::pin(async move {
            let addresses: Addrs = Box::new(found.await?.into_iter().map(|address| SocketAddr::new(address, 0)));
            Ok(addresses)
        })
    }
}

/// Asks the name servers.
async fn ask(
    servers: Result<TokioResolver, String>,
    name: String,
    limit: Duration,
) -> Result<Vec<IpAddr>, ResolveError> {
    let resolver = match servers {
        Ok(resolver) => resolver,
        Err(reason) => return Err(ResolveError::NoServers { name, reason }),
    };
    let Ok(answer) = tokio::time::timeout(limit, resolver.lookup_ip(name.as_str())).await else {
        return Err(ResolveError::Silent { name });
    };
    match answer {
        Ok(found) => Ok(found.iter().collect()),
        Err(error) if error.is_nx_domain() || error.is_no_records_found() => Err(ResolveError::Unknown { name }),
        Err(error) => Err(ResolveError::NoAnswer { name, source: Arc::new(error) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(resolv_conf: &[u8], hosts: &[u8]) -> Names {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let files =
            NameFiles { resolv_conf: directory.path().join("resolv.conf"), hosts: directory.path().join("hosts") };
        std::fs::write(&files.resolv_conf, resolv_conf).expect("resolv.conf");
        std::fs::write(&files.hosts, hosts).expect("hosts");
        Names::from_files(&files)
    }

    fn addresses(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().expect("an address")).collect()
    }

    #[test]
    fn localhost_is_loopback_without_any_file() {
        let absent = NameFiles { resolv_conf: "/absent/resolv.conf".into(), hosts: "/absent/hosts".into() };
        let names = Names::from_files(&absent);
        for name in ["localhost", "LOCALHOST", "localhost.", "registry.localhost"] {
            assert_eq!(names.known(name), addresses(&["127.0.0.1", "::1"]), "{name}");
        }
        assert!(names.servers.is_err());
    }

    #[test]
    fn a_literal_address_is_itself() {
        let names = names(b"", b"");
        assert_eq!(names.known("127.0.0.2"), addresses(&["127.0.0.2"]));
        assert_eq!(names.known("[::1]"), addresses(&["::1"]));
    }

    #[test]
    fn the_hosts_file_counts_up_to_its_first_broken_line() {
        let names = names(b"", b"10.0.0.1 registry.example Registry\n::2 registry.example\n\xff\xff\n10.0.0.3 late\n");
        assert_eq!(names.known("registry.example"), addresses(&["10.0.0.1", "::2"]));
        assert_eq!(names.known("registry"), addresses(&["10.0.0.1"]));
        assert_eq!(names.known("late"), addresses(&[]));
    }

    #[test]
    fn the_names_that_every_hosts_file_has_for_this_machine_are_nobodys_choice() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let hosts = b"127.0.0.1 localhost storage.example\n::1 localhost ip6-localhost ip6-loopback\n";
        // No name server: what is not taken from the hosts file is not found.
        let names = names(b"", hosts);
        let refusing = names.refusing(|address| address.is_loopback().then_some("loopback"));
        for name in ["ip6-localhost", "IP6-loopback."] {
            assert_eq!(runtime.block_on(names.addresses(name)).expect(name), addresses(&["::1"]));
            assert!(runtime.block_on(refusing.addresses(name)).is_err(), "{name}");
        }
        // Whoever wrote that one meant it.
        assert!(runtime.block_on(refusing.addresses("storage.example")).is_ok());
    }

    #[test]
    fn a_resolver_is_made_of_hostile_files_or_a_reason_is_kept() {
        let many: String = (0..5000).map(|n| format!("nameserver 10.0.{}.{}\n", n / 256, n % 256)).collect();
        assert!(names(many.as_bytes(), b"").servers.is_ok());
        let greedy = b"nameserver 10.0.0.1\noptions ndots:99999999 timeout:99999999 attempts:99999999\n";
        assert!(names(greedy, b"").servers.is_ok());
        for broken in [&b""[..], b"\0\0\0", b"nameserver not-an-address\n", b"\xff\xfe nameserver"] {
            let Err(reason) = names(broken, b"").servers else { panic!("a resolver of {broken:?}") };
            assert!(reason.contains("names no usable name server: "), "{reason}");
        }
    }

    #[test]
    fn name_servers_that_say_nothing_are_told_from_a_registry_that_does() {
        assert!(LIMIT < crate::http::CONNECT_TIMEOUT);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let names = names(b"nameserver 127.0.0.1\n", b"");
        // No time at all: nothing could have answered.
        let error =
            runtime.block_on(ask(names.servers, "registry.example".to_owned(), Duration::ZERO)).expect_err("no answer");
        assert_eq!(error.to_string(), "the name servers gave no answer for registry.example in time");
    }

    #[test]
    fn a_name_without_a_name_server_says_what_is_missing() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let absent = NameFiles { resolv_conf: "/absent/resolv.conf".into(), hosts: "/absent/hosts".into() };
        let names = Names::from_files(&absent);
        let error = match runtime.block_on(names.resolve("registry.example".parse().expect("a name"))) {
            Ok(_) => panic!("resolved without a name server"),
            Err(error) => error.to_string(),
        };
        assert_eq!(
            error,
            "registry.example is not in the hosts file, and /absent/resolv.conf names no usable name server: \
             no such file or directory"
        );
    }
}
