//! Which key of a docker config serves which repository: kubelet's rules, as pure functions.
//!
//! The rules are those of `pkg/credentialprovider/keyring.go` of kubernetes/kubernetes, with two differences. A key's
//! path ends at a `/` of the repository (there, `host/team` also serves `host/teammate/app`), and Docker Hub's names
//! are one registry (there, which of them works depends on the tool that reads the secret).

use std::cmp::Reverse;
use std::fmt;
use std::net::Ipv6Addr;

use thiserror::Error;

/// The names under which Docker Hub stands in configs. They are one registry.
const DOCKER_HUB: [&str; 3] = ["docker.io", "index.docker.io", "registry-1.docker.io"];

/// The key under which docker itself keeps Docker Hub's credential.
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";

/// What a credential is wanted for: a repository at a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    host: String,
    port: Option<String>,
    path: String,
}

impl Target {
    /// A repository (`library/ubuntu`) at a registry (`host` or `host:port`), both as they go on the wire.
    #[must_use]
    pub fn new(registry: &str, repository: &str) -> Self {
        let (host, port) = split_port(registry);
        Self {
            host: host.to_ascii_lowercase(),
            port: port.map(ToOwned::to_owned),
            path: repository.trim_matches('/').to_owned(),
        }
    }

    /// What credential helpers are asked for, and the keys of `credHelpers`: docker's own name for the registry first,
    /// which for Docker Hub is a URL.
    /// <https://docs.docker.com/reference/cli/docker/login/#credential-helpers>
    pub(crate) fn servers(&self) -> Vec<String> {
        let port = self.port.as_ref().map_or_else(String::new, |port| format!(":{port}"));
        let names: Vec<_> = self.names().into_iter().map(|name| format!("{name}{port}")).collect();
        if names.len() > 1 { [vec![DOCKER_HUB_KEY.to_owned()], names].concat() } else { names }
    }

    /// Every name of the target's registry.
    fn names(&self) -> Vec<&str> {
        let name = self.host.as_str();
        if self.port.is_none() && DOCKER_HUB.contains(&name) { DOCKER_HUB.to_vec() } else { vec![name] }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host)?;
        if let Some(port) = &self.port {
            write!(f, ":{port}")?;
        }
        write!(f, "/{}", self.path)
    }
}

/// Why a key of a docker config can serve no repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum KeyError {
    /// There is no host in it.
    #[error("it names no registry")]
    NoHost,
    /// White space or a control character, which no URL has.
    #[error("it holds white space or a control character")]
    NotAUrl,
    /// A `[` without its `]`, an empty class, or a backslash at the end.
    #[error("its glob is malformed")]
    BadGlob,
}

/// A key of a docker config: the repositories that one entry serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    host: Host,
    port: Option<String>,
    path: String,
}

/// The host of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Host {
    /// Exactly this one.
    Literal(String),
    /// One glob for each label, so that `*.example.com` does not serve `a.b.example.com`.
    Labels(Vec<Glob>),
}

/// The order in which matching keys are tried, the most specific first: longest path, then a literal host before a
/// glob, then the glob with more literal characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    path: Reverse<usize>,
    glob: bool,
    literal: Reverse<usize>,
}

impl Key {
    /// Reads a key: `ghcr.io`, `registry:5000/team`, `*.example.com`, `https://index.docker.io/v1/`.
    ///
    /// # Errors
    ///
    /// The key has no host, is no URL, or its glob is malformed.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(KeyError::NotAUrl);
        }
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or(text);
        let (authority, path) = rest.split_once('/').map_or((rest, ""), |(authority, path)| (authority, path));
        // `docker login https://registry/v2/` left the API's own path in many configs.
        let path = path.strip_prefix("v1/").or_else(|| path.strip_prefix("v2/")).unwrap_or(path);
        let (host, port) = split_port(authority.rsplit_once('@').map_or(authority, |(_, host)| host));
        if host.is_empty() {
            return Err(KeyError::NoHost);
        }
        Ok(Self {
            host: Host::parse(&host.to_ascii_lowercase())?,
            port: port.map(ToOwned::to_owned),
            path: path.trim_matches('/').to_owned(),
        })
    }

    /// Whether the entry under this key serves the target.
    #[must_use]
    pub fn serves(&self, target: &Target) -> bool {
        self.port == target.port
            && target.names().into_iter().any(|name| self.host.matches(name))
            && (self.path.is_empty()
                || target
                    .path
                    .strip_prefix(self.path.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
    }

    fn rank(&self) -> Rank {
        let (glob, literal) = match &self.host {
            Host::Literal(name) => (false, name.len()),
            Host::Labels(labels) => (true, labels.iter().map(Glob::literal_chars).sum()),
        };
        Rank { path: Reverse(self.path.len()), glob, literal: Reverse(literal) }
    }
}

/// Of entries under their keys, those that serve the target: the most specific first, equals in the order given.
#[must_use]
pub fn select<T>(target: &Target, entries: impl IntoIterator<Item = (Key, T)>) -> Vec<T> {
    let mut serving: Vec<_> =
        entries.into_iter().filter(|(key, _)| key.serves(target)).map(|(key, entry)| (key.rank(), entry)).collect();
    serving.sort_by_key(|(rank, _)| *rank);
    serving.into_iter().map(|(_, entry)| entry).collect()
}

impl Host {
    fn parse(text: &str) -> Result<Self, KeyError> {
        // The brackets of an IPv6 address are not a class.
        let address = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        if address.is_some_and(|address| address.parse::<Ipv6Addr>().is_ok()) || !text.contains(['*', '?', '[', '\\']) {
            return Ok(Self::Literal(text.to_owned()));
        }
        text.split('.').map(Glob::parse).collect::<Result<_, _>>().map(Self::Labels)
    }

    fn matches(&self, name: &str) -> bool {
        match self {
            Self::Literal(literal) => literal == name,
            Self::Labels(globs) => {
                let labels: Vec<_> = name.split('.').collect();
                globs.len() == labels.len() && globs.iter().zip(labels).all(|(glob, label)| glob.matches(label))
            }
        }
    }
}

/// The host and, behind its last colon, the port of an authority. An IPv6 address keeps its brackets.
fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        Some(_) | None => (authority, None),
    }
}

/// A glob of Go's `path/filepath.Match` for one host label: `*`, `?`, `[a-z]`, `[^a-z]`, `\c`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Glob(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    AnyRun,
    AnyOne,
    One(char),
    Class { negated: bool, ranges: Vec<(char, char)> },
}

impl Glob {
    fn parse(text: &str) -> Result<Self, KeyError> {
        let mut chars = text.chars();
        let mut pieces = Vec::new();
        while let Some(c) = chars.next() {
            pieces.push(match c {
                '*' => Piece::AnyRun,
                '?' => Piece::AnyOne,
                '[' => Self::class(&mut chars)?,
                '\\' => Piece::One(chars.next().ok_or(KeyError::BadGlob)?),
                c => Piece::One(c),
            });
        }
        Ok(Self(pieces))
    }

    /// The rest of a class, behind its `[`.
    fn class(chars: &mut std::str::Chars<'_>) -> Result<Piece, KeyError> {
        let negated = chars.as_str().starts_with('^');
        if negated {
            chars.next();
        }
        let mut ranges = Vec::new();
        loop {
            if !ranges.is_empty() && chars.as_str().starts_with(']') {
                chars.next();
                return Ok(Piece::Class { negated, ranges });
            }
            let low = Self::class_char(chars)?;
            let high = if chars.as_str().starts_with('-') {
                chars.next();
                Self::class_char(chars)?
            } else {
                low
            };
            ranges.push((low, high));
        }
    }

    fn class_char(chars: &mut std::str::Chars<'_>) -> Result<char, KeyError> {
        match chars.next() {
            None | Some('-' | ']') => Err(KeyError::BadGlob),
            Some('\\') => chars.next().ok_or(KeyError::BadGlob),
            Some(c) => Ok(c),
        }
    }

    /// Remembers the last `*` only, so that the time is bounded by the product of both lengths.
    fn matches(&self, label: &str) -> bool {
        let label: Vec<char> = label.chars().collect();
        let (mut piece, mut at) = (0, 0);
        let mut last_run = None;
        loop {
            let step = match (self.0.get(piece), label.get(at)) {
                (None, None) => return true,
                (Some(Piece::AnyRun), _) => {
                    last_run = Some((piece, at));
                    piece += 1;
                    continue;
                }
                (Some(wanted), Some(c)) => wanted.is(*c),
                (Some(_), None) | (None, Some(_)) => false,
            };
            if step {
                piece += 1;
                at += 1;
                continue;
            }
            // Let the last `*` take one character more.
            let Some((run, from)) = last_run.filter(|(_, from)| *from < label.len()) else {
                return false;
            };
            last_run = Some((run, from + 1));
            piece = run + 1;
            at = from + 1;
        }
    }

    fn literal_chars(&self) -> usize {
        self.0.iter().filter(|piece| matches!(piece, Piece::One(_))).count()
    }
}

impl Piece {
    fn is(&self, c: char) -> bool {
        match self {
            Self::AnyRun | Self::AnyOne => true,
            Self::One(literal) => *literal == c,
            Self::Class { negated, ranges } => ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != *negated,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn serves(key: &str, registry: &str, repository: &str) -> bool {
        Key::parse(key).unwrap_or_else(|e| panic!("{key}: {e}")).serves(&Target::new(registry, repository))
    }

    #[test]
    fn a_key_serves_what_kubelet_would_let_it_serve() {
        for (key, registry, repository, expected) in [
            // Hosts, schemes, API paths.
            ("ghcr.io", "ghcr.io", "team/app", true),
            ("GHCR.io", "ghcr.io", "team/app", true),
            ("https://ghcr.io", "ghcr.io", "team/app", true),
            ("http://ghcr.io/", "ghcr.io", "team/app", true),
            ("https://ghcr.io/v1/", "ghcr.io", "team/app", true),
            ("ghcr.io/v2/", "ghcr.io", "team/app", true),
            ("ghcr.io/v2/team", "ghcr.io", "team/app", true),
            ("https://ghcr.io/v2", "ghcr.io", "team/app", false),
            ("https://me:hunter2@ghcr.io", "ghcr.io", "team/app", true),
            ("ghcr.io", "ghcr.io.evil.example", "team/app", false),
            ("ghcr.io", "evil-ghcr.io", "team/app", false),
            // Ports are compared as text.
            ("registry:5000", "registry:5000", "app", true),
            ("registry", "registry:5000", "app", false),
            ("registry:5000", "registry", "app", false),
            ("registry:443", "registry", "app", false),
            ("registry:05000", "registry:5000", "app", false),
            ("[::1]:5000", "[::1]:5000", "app", true),
            ("[::1]", "[::1]", "app", true),
            ("[::1]", "[::1]:5000", "app", false),
            // Paths end at a slash.
            ("ghcr.io/team", "ghcr.io", "team/app", true),
            ("ghcr.io/team/", "ghcr.io", "team/app", true),
            ("ghcr.io/team/app", "ghcr.io", "team/app", true),
            ("ghcr.io/team/app/more", "ghcr.io", "team/app", false),
            ("ghcr.io/team", "ghcr.io", "teammate/app", false),
            ("ghcr.io/tea", "ghcr.io", "team/app", false),
            ("ghcr.io/te*m", "ghcr.io", "team/app", false),
            // Globs are for one label of the host.
            ("*.example.com", "reg.example.com", "app", true),
            ("*.example.com", "a.reg.example.com", "app", false),
            ("*.*.example.com", "a.reg.example.com", "app", true),
            ("*.example.com", "example.com", "app", false),
            ("*", "registry", "app", true),
            ("*", "example.com", "app", false),
            ("reg?.example.com", "reg1.example.com", "app", true),
            ("reg?.example.com", "reg12.example.com", "app", false),
            ("reg[0-3].example.com", "reg2.example.com", "app", true),
            ("reg[0-3].example.com", "reg4.example.com", "app", false),
            ("reg[^0-3].example.com", "reg4.example.com", "app", true),
            ("r*g*1.example.com", "registry-1.example.com", "app", true),
            ("r*g*2.example.com", "registry-1.example.com", "app", false),
            ("*.example.com:5000", "reg.example.com:5000", "app", true),
            ("*.example.com:*", "reg.example.com:5000", "app", false),
            (r"\r\eg.example.com", "reg.example.com", "app", true),
            ("*.dkr.ecr.*.amazonaws.com", "1234.dkr.ecr.eu-west-1.amazonaws.com", "app", true),
            // Docker Hub is one registry under each of its names.
            ("docker.io", "index.docker.io", "library/ubuntu", true),
            ("docker.io", "docker.io", "library/ubuntu", true),
            ("index.docker.io", "docker.io", "library/ubuntu", true),
            ("registry-1.docker.io", "docker.io", "library/ubuntu", true),
            ("https://index.docker.io/v1/", "registry-1.docker.io", "library/ubuntu", true),
            ("https://index.docker.io/v1/", "docker.io", "library/ubuntu", true),
            ("docker.io/library", "index.docker.io", "library/ubuntu", true),
            ("docker.io/library", "index.docker.io", "me/ubuntu", false),
            ("*.docker.io", "docker.io", "library/ubuntu", true),
            ("docker.io", "index.docker.io:443", "library/ubuntu", false),
            ("docker.io:443", "index.docker.io", "library/ubuntu", false),
            ("hub.docker.com", "docker.io", "library/ubuntu", false),
            ("ghcr.io", "docker.io", "library/ubuntu", false),
        ] {
            assert_eq!(serves(key, registry, repository), expected, "{key} for {registry}/{repository}");
        }
    }

    #[test]
    fn a_helper_is_asked_by_dockers_name_of_the_registry() {
        assert_eq!(Target::new("GHCR.io", "a").servers(), ["ghcr.io"]);
        assert_eq!(Target::new("[::1]:5000", "a").servers(), ["[::1]:5000"]);
        assert_eq!(
            Target::new("docker.io", "library/a").servers(),
            ["https://index.docker.io/v1/", "docker.io", "index.docker.io", "registry-1.docker.io"]
        );
    }

    #[test]
    fn a_key_that_can_serve_nothing_is_an_error() {
        for (key, expected) in [
            ("", KeyError::NoHost),
            ("https://", KeyError::NoHost),
            ("/team", KeyError::NoHost),
            (":5000", KeyError::NoHost),
            ("ghcr.io /team", KeyError::NotAUrl),
            ("ghcr.io\n", KeyError::NotAUrl),
            ("reg[0-.example.com", KeyError::BadGlob),
            ("reg[].example.com", KeyError::BadGlob),
            ("reg[a.b].example.com", KeyError::BadGlob),
            (r"*\", KeyError::BadGlob),
        ] {
            assert_eq!(Key::parse(key), Err(expected), "{key:?}");
        }
    }

    #[test]
    fn the_most_specific_key_comes_first_and_equals_keep_their_order() {
        let keys = [
            "*.example.com",
            "reg.example.com",
            "reg*.example.com",
            "elsewhere.example.com",
            "*.example.com/team",
            "https://reg.example.com/v1/",
            "reg.example.com/team/app",
            "reg.example.com/team",
        ];
        let entries = keys.map(|key| (Key::parse(key).unwrap(), key));
        assert_eq!(
            select(&Target::new("reg.example.com", "team/app"), entries),
            [
                "reg.example.com/team/app",
                "reg.example.com/team",
                "*.example.com/team",
                "reg.example.com",
                "https://reg.example.com/v1/",
                "reg*.example.com",
                "*.example.com",
            ]
        );
    }

    #[test]
    fn a_hostile_glob_costs_no_time() {
        let glob = format!("{}b", "*a".repeat(200));
        assert!(!serves(&glob, &"a".repeat(2_000), "app"));
    }
}
