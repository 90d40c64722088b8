//! podman's `registries.conf`, version 2: where images are asked for, by the longest prefix that fits.
//!
//! <https://github.com/containers/image/blob/main/docs/containers-registries.conf.5.md>

use std::path::{Path, PathBuf};

use super::Routes;
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
            for (offset, table) in root.tables("registry")? {
                let registry = Registry::read(text, offset, table, &mut conf.notes)?;
                // As in podman the first of a file counts.
                if conf.registries.iter().any(|other| other.prefix == registry.prefix) {
                    let outcome = format!("the prefix {:?} has a [[registry]] already", registry.prefix);
                    conf.notes.push(text.note(offset, &outcome));
                } else {
                    conf.registries.push(registry);
                }
            }
            Ok(conf)
        })
    }

    /// Adds what another file says: its tables take the place of those with the same prefix.
    pub(super) fn merge(&mut self, later: Self) {
        self.registries.retain(|own| later.registries.iter().all(|other| other.prefix != own.prefix));
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
    pub(super) fn routes(&self, reference: &Reference) -> Result<Option<Routes>, NodeFileError> {
        let name = written(reference);
        let Some((registry, rest)) = self.find(&name) else { return Ok(None) };
        let mut found = Routes { routes: Vec::new(), notes: self.notes.clone() };
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
mod tests {
    use super::super::line;
    use super::*;
    use crate::sys::cause::chain;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn parsed(text: &str) -> Result<RegistriesConf, NodeFileError> {
        RegistriesConf::parse(Path::new("/r.conf"), text.as_bytes())
    }

    /// The places for an image, one line each, and the notes. Nothing for an image of which the file says nothing.
    fn routes(text: &str, image: &str) -> (Vec<String>, Vec<String>) {
        let found = parsed(text).unwrap_or_else(|error| panic!("{}: {text}", chain(&error)));
        let found = found.routes(&image.parse().unwrap()).unwrap_or_else(|error| panic!("{}: {text}", chain(&error)));
        let found = found.unwrap_or_default();
        let of = |note: &Note| note.to_string().replace("registry configuration /r.conf: ", "");
        (found.routes.iter().map(line).collect(), found.notes.iter().map(of).collect())
    }

    fn fault(text: &str) -> String {
        let error = parsed(text).map(|_| ()).expect_err(text);
        chain(&error).replace("the registry configuration \"/r.conf\" cannot be used: ", "")
    }

    #[test]
    fn the_example_of_the_manual() {
        let text = r#"
            unqualified-search-registries = ["example.com"]

            [[registry]]
            prefix = "example.com/foo"
            insecure = false
            blocked = false
            location = "internal-registry-for-example.com/bar"

            [[registry.mirror]]
            location = "example-mirror-0.local/mirror-for-foo"

            [[registry.mirror]]
            location = "example-mirror-1.local/mirrors/foo"
            insecure = true

            [[registry]]
            location = "registry.com"

            [[registry.mirror]]
            location = "mirror.registry.com"
        "#;
        let (found, notes) = routes(text, "example.com/foo/image:latest");
        let expected = [
            "usual example-mirror-0.local/mirror-for-foo/image:latest by v2, from the file",
            "either example-mirror-1.local/mirrors/foo/image:latest by v2, unverified, from the file",
            "usual internal-registry-for-example.com/bar/image:latest by v2, from the file",
        ];
        assert_eq!((found, notes), (expected.map(str::to_owned).to_vec(), vec![]));
        let (found, _) = routes(text, "registry.com/image");
        let expected = [
            "usual mirror.registry.com/image:latest by v2, from the file",
            "usual registry.com/image:latest by v2, the reference's",
        ];
        assert_eq!(found, expected);
        assert_eq!(routes(text, "example.com/food/image"), (vec![], vec![]));
    }

    #[test]
    fn the_longest_prefix_wins_and_ends_where_a_part_of_the_name_ends() {
        for (name, prefix, rest) in [
            ("r.example/a/b:1", "r.example", Some("/a/b:1")),
            ("r.example/a/b:1", "r.example/a", Some("/b:1")),
            ("r.example/a/b:1", "r.example/a/b", Some(":1")),
            ("r.example/a/b:1", "r.example/a/b:1", Some("")),
            ("r.example/a/b:1", "r.example/a/b:12", None),
            ("r.example/a/b:12", "r.example/a/b:1", None),
            ("r.example/a/b@sha256:0", "r.example/a/b", Some("@sha256:0")),
            ("r.example/a/b:1", "r.exampl", None),
            ("r.example/ab:1", "r.example/a", None),
            ("r.example:5000/a:1", "r.example:5000", Some("/a:1")),
            // podman takes these for the same.
            ("r.example:5000/a:1", "r.example", None),
            ("r.example/a:1", "*.example", Some("/a:1")),
            ("a.b.example:5000/a:1", "*.example", Some(":5000/a:1")),
            ("a.example.example/a:1", "*.example", Some("/a:1")),
            ("r.example/a:1", "*.r.example", None),
            ("xr.example/a:1", "*.r.example", None),
            ("other.com/r.example/a:1", "*.example", None),
            ("[::1]:5000/a:1", "*.example", None),
            ("[::1]/a:1", "[::1]", Some("/a:1")),
        ] {
            assert_eq!(follows(name, prefix), rest, "{name} {prefix}");
        }
        for (prefixes, winner) in [
            (&["r.example", "r.example/a", "r.example/b"][..], "r.example/a"),
            (&["r.example/a/b", "r.example/a"][..], "r.example/a/b"),
            (&["R.example/a", "r.example"][..], "r.example/a"),
            (&["r.example/a/b:1", "r.example/a/b"][..], "r.example/a/b:1"),
            // Equally long.
            (&["r.example", "*.example"][..], "*.example"),
        ] {
            let table = |prefix: &&str| format!("[[registry]]\nprefix = {prefix:?}\nlocation = 'l.example'\n");
            let conf = parsed(&prefixes.iter().map(table).collect::<String>()).unwrap();
            let (found, _) = conf.find("r.example/a/b:1").unwrap();
            assert_eq!(found.prefix, winner, "{prefixes:?}");
        }
    }

    #[test]
    fn docker_hub_is_docker_io_with_the_library_in_these_files() {
        for (prefix, location, image, expected) in [
            ("docker.io", "m.example/hub", "busybox", "m.example/hub/library/busybox:latest"),
            ("docker.io/library", "m.example", "busybox:1", "m.example/busybox:1"),
            ("docker.io/library/busybox", "m.example/b", "index.docker.io/busybox", "m.example/b:latest"),
            ("docker.io/busybox", "m.example/b", "busybox", ""),
            ("r.example", "docker.io", "r.example/library/a", "index.docker.io/library/a:latest"),
            ("r.example", "registry-1.docker.io", "r.example/ci/a", "index.docker.io/ci/a:latest"),
        ] {
            let (found, _) = routes(&format!("[[registry]]\nprefix = {prefix:?}\nlocation = {location:?}"), image);
            let lines =
                if expected.is_empty() { vec![] } else { vec![format!("usual {expected} by v2, from the file")] };
            assert_eq!(found, lines, "{prefix} {location} {image}");
        }
    }

    #[test]
    fn a_wildcard_needs_no_location_and_what_is_insecure_stays_where_it_is() {
        let (found, _) = routes("[[registry]]\nprefix = '*.example'\ninsecure = true", "a.b.example:5000/i:1");
        assert_eq!(found, ["either a.b.example:5000/i:1 by v2, unverified, the reference's"]);
        let (found, _) = routes("[[registry]]\nprefix = '*.example'\nlocation = 'l.local'", "a.example:5000/i:1");
        assert_eq!(found, ["usual l.local:5000/i:1 by v2, from the file"]);
        let (found, _) = routes("[[registry]]\nlocation = 'r.example/a/'\ninsecure = true", "r.example/a/i:1");
        assert_eq!(found, ["either r.example/a/i:1 by v2, unverified, the reference's"]);
    }

    #[test]
    fn a_mirror_is_asked_for_what_it_is_for() {
        let mirror = |pulls: &str| format!("[[registry]]\nlocation = 'r.example'\n{pulls}");
        let m = "[[registry.mirror]]\nlocation = 'm.example'\n";
        for (text, for_tags, for_digests) in [
            (format!("{m}"), true, true),
            (format!("{m}pull-from-mirror = ''"), true, true),
            (format!("{m}pull-from-mirror = 'all'"), true, true),
            (format!("{m}pull-from-mirror = 'digest-only'"), false, true),
            (format!("{m}pull-from-mirror = 'tag-only'"), true, false),
            (format!("mirror-by-digest-only = true\n{m}"), false, true),
            (format!("mirror-by-digest-only = false\n{m}pull-from-mirror = 'all'"), true, true),
        ] {
            for (image, asked, kind) in [
                ("r.example/i:1".to_owned(), for_tags, "digests"),
                (format!("r.example/i@{DIGEST}"), for_digests, "tags"),
            ] {
                let (found, notes) = routes(&mirror(&text), &image);
                assert_eq!(found.len(), 1 + usize::from(asked), "{text} {image}");
                let told = if asked { vec![] } else { vec![format!("m.example is asked for {kind} only")] };
                assert_eq!(notes, told, "{text} {image}");
            }
        }
    }

    #[test]
    fn a_blocked_image_is_refused_and_a_longer_prefix_may_allow_it() {
        let text = "[[registry]]\nlocation = 'r.example'\nblocked = true\n[[registry]]\nlocation = 'r.example/good'";
        let conf = parsed(text).unwrap();
        let error = conf.check(&"r.example/i:1".parse().unwrap()).expect_err("blocked");
        assert_eq!(chain(&error), "r.example/i:1 may not be asked for: \"/r.conf\", line 1, blocks \"r.example\"");
        conf.check(&"r.example/good/i:1".parse().unwrap()).unwrap();
        conf.check(&"other.example/i:1".parse().unwrap()).unwrap();
    }

    #[test]
    fn later_files_take_the_place_of_earlier_tables_and_in_one_file_the_first_counts() {
        let table = |location: &str| format!("[[registry]]\nprefix = 'r.example'\nlocation = '{location}'\n");
        let (found, notes) = routes(&format!("{}{}", table("a.example"), table("b.example")), "r.example/i:1");
        assert_eq!(found, ["usual a.example/i:1 by v2, from the file"]);
        assert_eq!(notes, ["line 4: the prefix \"r.example\" has a [[registry]] already"]);
        let mut conf = parsed(&table("a.example")).unwrap();
        conf.merge(parsed("[[registry]]\nlocation = 'other.example'").unwrap());
        conf.merge(parsed(&table("b.example")).unwrap());
        let found = conf.routes(&"r.example/i:1".parse().unwrap()).unwrap().unwrap();
        assert_eq!(line(&found.routes[0]), "usual b.example/i:1 by v2, from the file");
    }

    #[test]
    fn keys_about_short_names_are_passed_over_and_others_are_told() {
        let text = "unqualified-search-registries = ['a.example']\nshort-name-mode = 'enforcing'\ncolour = 1\n\
                    credential-helpers = ['x']\n[aliases]\na = 'b.example/a'\n[[registry]]\nlocation = 'r.example'\n\
                    mirrors = 1\n[[registry.mirror]]\nlocation = 'm.example'\nblocked = true";
        let (_, notes) = routes(text, "r.example/i");
        let none = "has no effect here";
        let expected = [
            format!("line 3: \"colour\" {none}"),
            format!("line 9: \"mirrors\" {none}"),
            format!("line 12: \"blocked\" {none}"),
        ];
        assert_eq!(notes, expected);
    }

    #[test]
    fn mistakes_are_told_with_their_line() {
        for (text, expected) in [
            (
                "\n[registries.search]\nregistries = []",
                "line 2, column 2: this is version 1 of the format, which is not read: write [[registry]] tables as \
                 containers-registries.conf(5) has them",
            ),
            (
                "server = 'https://a.example'",
                "line 1, column 1: server is a key of hosts.toml, and this file was read as a registries.conf: name the \
                 directory in which each registry has a directory with its hosts.toml",
            ),
            (
                "[registry]\nlocation = 'r.example'",
                "line 1, column 2: registry must be tables, each headed by its name in double brackets",
            ),
            (
                "[[registry]]\ninsecure = true",
                "line 1, column 1: a [[registry]] needs a prefix or a location, and a location unless its prefix begins \
                 with *.",
            ),
            (
                "[[registry]]\nprefix = 'r.example'",
                "line 1, column 1: a [[registry]] needs a prefix or a location, and a location unless its prefix begins \
                 with *.",
            ),
            (
                "[[registry]]\nlocation = 'https://r.example'",
                "line 2, column 12: location is written without a scheme, as in registry.example.com:5000/team; plain \
                 http is insecure = true",
            ),
            (
                "[[registry]]\nprefix = '*.r.example:5000'",
                "line 2, column 1: a prefix may have a wildcard only as *.example.com, without a port and a path",
            ),
            (
                "[[registry]]\nlocation = 'r.*'",
                "line 1, column 1: a prefix may have a wildcard only as *.example.com, without a port and a path",
            ),
            (
                "[[registry]]\nlocation = 'r.example'\npull-from-mirror = 'all'",
                "line 3, column 20: pull-from-mirror is for a [[registry.mirror]]",
            ),
            (
                "[[registry]]\nlocation = 'r.example'\n[[registry.mirror]]\ninsecure = true",
                "line 3, column 1: a [[registry.mirror]] needs a location",
            ),
            (
                "[[registry]]\nlocation = 'r.example'\n[[registry.mirror]]\nlocation = 'm'\npull-from-mirror = 'some'",
                "line 5, column 20: pull-from-mirror must be all, digest-only or tag-only",
            ),
            (
                "[[registry]]\nlocation = 'r.example'\nmirror-by-digest-only = true\n[[registry.mirror]]\n\
                 location = 'm'\npull-from-mirror = 'all'",
                "line 6, column 20: pull-from-mirror excludes the mirror-by-digest-only of its [[registry]]",
            ),
            (
                "[[registry]]\nlocation = 'r.example'\nblocked = 'yes'",
                "line 3, column 1: blocked must be true or false",
            ),
            ("[[registry]\n", "line 1, column 12: it is no TOML: unclosed array table, expected `]`"),
        ] {
            assert_eq!(fault(text), expected, "{text}");
        }
    }

    #[test]
    fn a_location_that_leads_nowhere_is_told_when_an_image_is_asked_for() {
        for (location, more) in [
            ("mirror", ""),
            ("mirror/team", ""),
            (
                "m.example:x",
                ": the image reference \"m.example:x/i:1\" has the registry \"m.example:x\", which is not a host name with an optional port",
            ),
            (
                "m.example/Team",
                ": the image reference \"m.example/Team/i:1\" has 'T' in its repository, where only a-z, 0-9 and _ - . / may be",
            ),
        ] {
            let text = format!("[[registry]]\nlocation = 'r.example'\n[[registry.mirror]]\nlocation = '{location}'");
            let conf = parsed(&text).unwrap();
            let error = conf.routes(&"r.example/i:1".parse().unwrap()).expect_err(location);
            assert_eq!(
                chain(&error),
                format!(
                    "the registry configuration \"/r.conf\" cannot be used: line 3, column 1: the location {location:?} \
                     makes no image reference of r.example/i:1{more}"
                )
            );
            assert_eq!(conf.routes(&"other.example/i:1".parse().unwrap()).unwrap(), None);
        }
    }
}
