//! `.ssh`: keys for git servers, which server each is for, and the hosts that are known.

use std::path::{Path, PathBuf};

use super::super::call::CallError;
use super::files::{self, FileError};
use super::mounted;
use crate::go_path;
use crate::host::Dirs;
use crate::sys::directory;

const DEFAULT_PORT: &str = "22";

/// The keys that are asked for.
#[derive(Default)]
pub(super) struct GitSsh {
    /// By place, in the order of the flags.
    places: Vec<(Place, Vec<Key>)>,
}

/// A server, or a repository on it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    /// As it was written on the command line.
    text: String,
    host: String,
    port: String,
    /// With its first slash; empty for a server.
    path: String,
}

/// The key of one secret.
struct Key {
    secret: String,
    private_key: Vec<u8>,
    known_hosts: Vec<u8>,
}

impl GitSsh {
    /// Reads the key of a secret for a place. Returns why its known hosts cannot be read, if they are there.
    pub(super) fn read(&mut self, secrets: &Path, secret: &str, place: &str) -> Result<Option<FileError>, FileError> {
        let private_key = mounted::read(secrets, secret, "ssh-privatekey")?;
        let (known_hosts, unread) = match mounted::read(secrets, secret, "known_hosts") {
            Ok(known_hosts) => (known_hosts, None),
            Err(error) => (Vec::new(), Some(error).filter(|error| !error.is_absent())),
        };
        let key = Key { secret: secret.to_owned(), private_key, known_hosts };
        match self.places.iter_mut().find(|(known, _)| known.text == place) {
            Some((_, keys)) => keys.push(key),
            None => self.places.push((Place::parse(place), vec![key])),
        }
        Ok(unread)
    }

    /// Writes everything, unless there is no key. Goes on with the `.gitconfig` of the logins.
    pub(super) fn write(&self, dirs: &Dirs) -> Result<(), CallError> {
        if self.places.is_empty() {
            return Ok(());
        }
        let directory = go_path::join(&dirs.creds, ".ssh");
        directory::make_all(&directory, 0o777)?;
        for key in self.sorted().flat_map(|(_, keys)| keys) {
            files::write(&key.path(&directory), &key.private_key)?;
        }
        files::write(&directory.join("config"), self.config(&directory).as_bytes())?;
        let known_hosts = self.known_hosts();
        if !known_hosts.is_empty() {
            files::write(&directory.join("known_hosts"), &known_hosts)?;
        }
        let aliases: String = self.sorted().map(|(place, _)| place.instead_of()).collect();
        if aliases.is_empty() {
            Ok(())
        } else {
            files::append(&go_path::join(&dirs.creds, ".gitconfig"), aliases.as_bytes())
        }
    }

    /// Whole servers first.
    fn sorted(&self) -> impl Iterator<Item = &(Place, Vec<Key>)> {
        let of = |whole: bool| self.places.iter().filter(move |(place, _)| place.path.is_empty() == whole);
        of(true).chain(of(false))
    }

    fn config(&self, directory: &Path) -> String {
        let mut config = String::new();
        for (place, keys) in self.sorted() {
            let Place { host, port, .. } = place;
            config += &format!("Host {}\n    HostName {host}\n    Port {port}\n", place.alias());
            for key in keys {
                config += &format!("    IdentityFile {}\n", key.path(directory).display());
            }
        }
        config
    }

    fn known_hosts(&self) -> Vec<u8> {
        let keys = self.sorted().flat_map(|(_, keys)| keys);
        let known: Vec<&[u8]> = keys.map(|key| key.known_hosts.as_slice()).filter(|known| !known.is_empty()).collect();
        known.join(b"\n".as_slice())
    }
}

impl Key {
    fn path(&self, directory: &Path) -> PathBuf {
        go_path::join(directory, format!("id_{}", self.secret))
    }
}

impl Place {
    /// Reads `host[:port][/path]`.
    fn parse(text: &str) -> Self {
        let (server, path) = text.split_at(text.find('/').unwrap_or(text.len()));
        let (host, port) = host_and_port(server).unwrap_or((server, DEFAULT_PORT));
        Self { text: text.to_owned(), host: host.to_owned(), port: port.to_owned(), path: path.to_owned() }
    }

    /// The path as repositories are called.
    fn repository(&self) -> &str {
        self.path.strip_prefix('/').unwrap_or(&self.path)
    }

    /// What ssh is told to connect to: a repository has a name of its own, since ssh knows keys by host.
    fn alias(&self) -> String {
        if self.path.is_empty() {
            return self.host.clone();
        }
        format!("{}--{}", self.host, self.repository().replace('/', "--"))
    }

    /// What makes git use the alias, in both ways to write such a URL. With `.git`, since git compares beginnings only.
    fn instead_of(&self) -> String {
        if self.path.is_empty() {
            return String::new();
        }
        let Self { host, port, .. } = self;
        let (alias, repository) = (self.alias(), self.repository());
        let server = if port == DEFAULT_PORT { host.clone() } else { format!("{host}:{port}") };
        format!(
            "[url \"git@{alias}:{repository}.git\"]\n\tinsteadOf = git@{host}:{repository}.git\n\
             [url \"ssh://{alias}/{repository}.git\"]\n\tinsteadOf = ssh://{server}/{repository}.git\n"
        )
    }
}

/// The halves of `host:port` or `[host]:port`; `None` for what is neither.
/// <https://pkg.go.dev/net#SplitHostPort>
fn host_and_port(text: &str) -> Option<(&str, &str)> {
    let (host, port) = text.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(host) => host.strip_suffix(']')?,
        None if host.contains(':') => return None,
        None => host,
    };
    let bracket = |text: &str| text.contains(['[', ']']);
    if bracket(host) || bracket(port) { None } else { Some((host, port)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_split_as_tekton_splits_them() {
        for (text, host, port, path) in [
            ("github.com", "github.com", "22", ""),
            ("github.com:2222", "github.com", "2222", ""),
            ("github.com/org/repo", "github.com", "22", "/org/repo"),
            ("github.com:2222/org/repo", "github.com", "2222", "/org/repo"),
            ("[::1]:22", "::1", "22", ""),
            ("[::1]", "[::1]", "22", ""),
            ("::1", "::1", "22", ""),
            ("h:", "h", "", ""),
            (":22", "", "22", ""),
            ("[a]b:1", "[a]b:1", "22", ""),
            ("a]:1", "a]:1", "22", ""),
            ("[a[b]:1", "[a[b]:1", "22", ""),
            ("a:[1", "a:[1", "22", ""),
            ("h/", "h", "22", "/"),
            ("", "", "22", ""),
        ] {
            let place = Place::parse(text);
            assert_eq!((place.host.as_str(), place.port.as_str(), place.path.as_str()), (host, port, path), "{text}");
        }
    }

    #[test]
    fn a_repository_has_a_name_of_its_own_for_ssh() {
        for (text, alias, instead_of) in [
            ("github.com", "github.com", ""),
            (
                "github.com/org/repo",
                "github.com--org--repo",
                "[url \"git@github.com--org--repo:org/repo.git\"]\n\
                 \tinsteadOf = git@github.com:org/repo.git\n\
                 [url \"ssh://github.com--org--repo/org/repo.git\"]\n\
                 \tinsteadOf = ssh://github.com/org/repo.git\n",
            ),
            (
                "gitlab.com:2222/g/s/r",
                "gitlab.com--g--s--r",
                "[url \"git@gitlab.com--g--s--r:g/s/r.git\"]\n\
                 \tinsteadOf = git@gitlab.com:g/s/r.git\n\
                 [url \"ssh://gitlab.com--g--s--r/g/s/r.git\"]\n\
                 \tinsteadOf = ssh://gitlab.com:2222/g/s/r.git\n",
            ),
        ] {
            let place = Place::parse(text);
            assert_eq!((place.alias().as_str(), place.instead_of().as_str()), (alias, instead_of), "{text}");
        }
    }
}
