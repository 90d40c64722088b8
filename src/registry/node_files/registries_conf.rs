//! podman's `registries.conf`, version 2: where images are asked for, by the longest prefix that fits.
//!
//! <https://github.com/containers/image/blob/main/docs/containers-registries.conf.5.md>

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::Places;
use super::document::{self, At, Position, Read, Table, Text, Word};
use super::error::{Fault, NodeFileError};
use super::place::{moved, written};
use crate::image::Reference;
use crate::note::Note;
use crate::registry::route::{Api, Origin, Route, RouteTrust, Scheme};

/// The keys of the root. All but the first are about names without a registry, of which there are none here, about
/// programs that hold credentials, for which there are flags, and about layers.
const ROOT_KEYS: [&str; 6] = [
    "registry",
    "unqualified-search-registries",
    "short-name-mode",
    "aliases",
    "credential-helpers",
    "additional-layer-store-auth-helper",
];
const REGISTRY_KEYS: [&str; 7] =
    ["prefix", "location", "insecure", "blocked", "mirror", "mirror-by-digest-only", "pull-from-mirror"];
const MIRROR_KEYS: [&str; 3] = ["location", "insecure", "pull-from-mirror"];

/// The tables of one file, or of several.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct RegistriesConf {
    registries: Vec<Registry>,
    /// What of the files has no effect.
    notes: Vec<Note>,
}

/// A `[[registry]]`.
#[derive(Debug, PartialEq, Eq)]
struct Registry {
    /// The file, and where in it the table is.
    path: PathBuf,
    position: Position,
    /// Which images are meant: the beginning of their names, or with `*.` in front the end of their hosts.
    prefix: String,
    /// What stands there instead, if anything else does.
    location: Option<String>,
    insecure: bool,
    blocked: bool,
    mirrors: Vec<Mirror>,
}

/// A `[[registry.mirror]]`.
#[derive(Debug, PartialEq, Eq)]
struct Mirror {
    position: Position,
    location: String,
    insecure: bool,
    pulls: Pulls,
}

/// What a mirror is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pulls {
    All,
    Digests,
    Tags,
}

impl RegistriesConf {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// [`NodeFileError`] with the line.
    pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<Self, NodeFileError> {
        document::read(path, bytes, |text, root| {
            for (key, fault) in [
                ("registries", Fault::Version1),
                ("server", Fault::HostsToml("server")),
                ("host", Fault::HostsToml("host")),
            ] {
                if let Some(offset) = root.offset_of(key) {
                    return Err(At::new(offset, fault));
                }
            }
            let mut conf = Self::default();
            text.note_others(root, &ROOT_KEYS, &mut conf.notes);
            let mut prefixes = BTreeSet::new();
            for (offset, table) in root.tables("registry")? {
                let registry = Registry::read(text, offset, table, &mut conf.notes)?;
                // As in podman the first of a file counts.
                if prefixes.insert(registry.prefix.clone()) {
                    conf.registries.push(registry);
                } else {
                    let outcome = format!("the prefix {:?} has a [[registry]] already", registry.prefix);
                    conf.notes.push(text.note(offset, &outcome));
                }
            }
            Ok(conf)
        })
    }

    /// Adds what another file says: its tables take the place of those with the same prefix.
    pub(super) fn merge(&mut self, later: Self) {
        let prefixes: BTreeSet<&str> = later.registries.iter().map(|registry| &registry.prefix[..]).collect();
        self.registries.retain(|own| !prefixes.contains(&own.prefix[..]));
        self.registries.extend(later.registries);
        self.notes.extend(later.notes);
    }

    /// Whether an image may be asked for at all.
    ///
    /// # Errors
    ///
    /// When it is blocked.
    pub(super) fn check(&self, reference: &Reference) -> Result<(), NodeFileError> {
        match self.find(&written(reference)) {
            Some((Registry { blocked: true, path, position, prefix, .. }, _)) => Err(NodeFileError::Blocked {
                reference: reference.to_string(),
                path: path.clone(),
                line: position.line,
                prefix: prefix.clone(),
            }),
            Some(_) | None => Ok(()),
        }
    }

    /// Where an image is asked for; none if that is not said.
    ///
    /// # Errors
    ///
    /// A location that leads nowhere.
    pub(super) fn routes(&self, reference: &Reference) -> Result<Option<Places>, NodeFileError> {
        let name = written(reference);
        let Some((registry, rest)) = self.find(&name) else { return Ok(None) };
        let mut found = Places { routes: Vec::new(), notes: self.notes.clone() };
        for mirror in &registry.mirrors {
            let left_out = match (mirror.pulls, reference.digest()) {
                (Pulls::Digests, None) => Some("is asked for digests only"),
                (Pulls::Tags, Some(_)) => Some("is asked for tags only"),
                (Pulls::All | Pulls::Digests | Pulls::Tags, _) => None,
            };
            if let Some(reason) = left_out {
                found.notes.push(document::note(&registry.path, &format!("{} {reason}", mirror.location)));
                continue;
            }
            let there =
                moved(reference, &mirror.location, rest).map_err(|fault| registry.broken(mirror.position, fault))?;
            found.routes.push(registry.route(there, mirror.insecure));
        }
        let own = match &registry.location {
            Some(location) => {
                moved(reference, location, rest).map_err(|fault| registry.broken(registry.position, fault))?
            }
            None => reference.clone(),
        };
        let stays = own.registry() == reference.registry() && own.repository() == reference.repository();
        let origin = if stays { Origin::Reference } else { Origin::File(registry.path.clone()) };
        found.routes.push(Route { origin, ..registry.route(own, registry.insecure) });
        Ok(Some(found))
    }

    /// The table for an image, and what of its name follows the prefix. Of equally long prefixes the first in the order of
    /// their bytes counts, as in podman: a wildcard before a name.
    fn find<'n>(&self, name: &'n str) -> Option<(&Registry, &'n str)> {
        let fitting = self.registries.iter().filter_map(|registry| Some((registry, follows(name, &registry.prefix)?)));
        fitting.min_by(|(one, _), (other, _)| {
            other.prefix.len().cmp(&one.prefix.len()).then_with(|| one.prefix.cmp(&other.prefix))
        })
    }
}

/// What follows the prefix in a name that begins with it, up to where a part of a name ends.
fn follows<'n>(name: &'n str, prefix: &str) -> Option<&'n str> {
    let host_end = name.find('/').unwrap_or(name.len());
    if let Some(domain) = prefix.strip_prefix('*') {
        let host = name.get(..host_end)?;
        let bare = host.rsplit_once(':').filter(|(bare, _)| !bare.contains('[')).map_or(host, |(bare, _)| bare);
        return if bare.ends_with(domain) { name.get(bare.len()..) } else { None };
    }
    let rest = name.strip_prefix(prefix)?;
    // A port makes it another registry; podman takes it for the same, and asks not to be relied on for that.
    let ends = rest.is_empty() || rest.starts_with('/') || (rest.starts_with([':', '@']) && prefix.len() > host_end);
    ends.then_some(rest)
}

impl Registry {
    fn read(text: Text<'_>, offset: usize, table: Table<'_>, notes: &mut Vec<Note>) -> Read<Self> {
        text.note_others(table, &REGISTRY_KEYS, notes);
        let location = location(table, "location")?;
        let prefix = match self::location(table, "prefix")? {
            Some(prefix) => prefix,
            None => location.clone().ok_or_else(|| At::new(offset, Fault::NoPrefix))?,
        };
        if let Some(domain) = prefix.strip_prefix("*.") {
            if domain.is_empty() || domain.contains(['/', '@', ':', '*']) {
                return Err(At::new(table.offset_of("prefix").unwrap_or(offset), Fault::Wildcard));
            }
        } else if prefix.contains('*') {
            return Err(At::new(table.offset_of("prefix").unwrap_or(offset), Fault::Wildcard));
        } else if location.is_none() {
            return Err(At::new(offset, Fault::NoPrefix));
        }
        if let Some(offset) =
            table.word("pull-from-mirror")?.filter(|word| !word.text.is_empty()).map(|word| word.offset)
        {
            return Err(At::new(offset, Fault::NoMirror));
        }
        let digests = table.flag("mirror-by-digest-only")?.unwrap_or(false);
        let mirrors = table.tables("mirror")?.into_iter();
        let mirrors = mirrors.map(|(offset, mirror)| Mirror::read(text, offset, mirror, digests, notes));
        Ok(Self {
            path: text.path.to_owned(),
            position: text.position(offset),
            mirrors: mirrors.collect::<Read<_>>()?,
            location: location.filter(|location| *location != prefix),
            prefix: lower_host(&prefix),
            insecure: table.flag("insecure")?.unwrap_or(false),
            blocked: table.flag("blocked")?.unwrap_or(false),
        })
    }

    fn broken(&self, position: Position, fault: Fault) -> NodeFileError {
        NodeFileError::broken(self.path.clone(), position, fault)
    }

    /// The way to one of its places.
    fn route(&self, reference: Reference, insecure: bool) -> Route {
        let scheme = if insecure { Scheme::Either } else { Scheme::Usual };
        Route {
            reference,
            api: Api { scheme, ..Api::default() },
            trust: RouteTrust { unverified: insecure, ..RouteTrust::default() },
            credentials: true,
            origin: Origin::File(self.path.clone()),
        }
    }
}

impl Mirror {
    fn read(text: Text<'_>, offset: usize, table: Table<'_>, digests: bool, notes: &mut Vec<Note>) -> Read<Self> {
        text.note_others(table, &MIRROR_KEYS, notes);
        let pulls = match table.word("pull-from-mirror")? {
            Some(Word { offset, text: "all" | "digest-only" | "tag-only" }) if digests => {
                return Err(At::new(offset, Fault::TwoRules));
            }
            Some(Word { text: "digest-only", .. }) => Pulls::Digests,
            Some(Word { text: "tag-only", .. }) => Pulls::Tags,
            Some(Word { text: "" | "all", .. }) | None if digests => Pulls::Digests,
            Some(Word { text: "" | "all", .. }) | None => Pulls::All,
            Some(Word { offset, .. }) => return Err(At::new(offset, Fault::PullFromMirror)),
        };
        Ok(Self {
            position: text.position(offset),
            location: location(table, "location")?.ok_or_else(|| At::new(offset, Fault::NoLocation))?,
            insecure: table.flag("insecure")?.unwrap_or(false),
            pulls,
        })
    }
}

/// A prefix or a location; none if it is empty.
fn location(table: Table<'_>, key: &'static str) -> Read<Option<String>> {
    let Some(word) = table.word(key)? else { return Ok(None) };
    if word.text.contains("://") {
        return Err(At::new(word.offset, Fault::Scheme(key)));
    }
    Ok(Some(word.text.trim_end_matches('/').to_owned()).filter(|text| !text.is_empty()))
}

/// A prefix with its host as references have it.
fn lower_host(prefix: &str) -> String {
    let (host, rest) = prefix.split_at(prefix.find('/').unwrap_or(prefix.len()));
    format!("{}{rest}", host.to_ascii_lowercase())
}

#[cfg(test)]
mod tests;
