//! containerd's `hosts.toml`: where the images of one registry are asked for.
//!
//! <https://github.com/containerd/containerd/blob/main/docs/hosts.md>

use std::path::{Path, PathBuf};

use reqwest::Url;

use super::Places;
use super::document::{self, At, Position, Read, Table, Text, Word};
use super::error::{Fault, NodeFileError};
use super::place::{HTTP, HTTPS, at, hub_or};
use crate::image::{Reference, shown};
use crate::note::Note;
use crate::registry::route::{Api, ClientCertificate, Origin, Route, RouteTrust, Scheme};

/// The keys of a host, which stand at the root for the `server`.
const KEYS: [&str; 6] = ["capabilities", "ca", "client", "skip_verify", "override_path", "header"];
const ROOT_KEYS: [&str; 8] =
    ["server", "host", "capabilities", "ca", "client", "skip_verify", "override_path", "header"];

/// How much of what became of every host an error repeats.
const REASONS: usize = 500;

/// A file's meaning.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct HostsToml {
    path: PathBuf,
    /// In the order in which they are asked; the last is `server`, or the registry itself.
    hosts: Vec<Host>,
    /// What of the file has no effect.
    notes: Vec<Note>,
}

/// One that is asked.
#[derive(Debug, PartialEq, Eq)]
struct Host {
    /// The registry that images name, if none.
    place: Option<Place>,
    can: Capabilities,
    trust: RouteTrust,
    /// Where headers are asked for.
    headers: Option<Position>,
}

/// Where a URL of the file leads.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    scheme: Scheme,
    registry: String,
    path: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Capabilities {
    pull: bool,
    resolve: bool,
}

impl HostsToml {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// [`NodeFileError`] with the line.
    pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<Self, NodeFileError> {
        document::read(path, bytes, |text, root| {
            let mut notes = Vec::new();
            text.note_others(root, &ROOT_KEYS, &mut notes);
            let mut hosts = Vec::new();
            for entry in root.table("host")?.map(Table::entries).unwrap_or_default() {
                let table = entry.table()?;
                text.note_others(table, &KEYS, &mut notes);
                hosts.push(Host::read(text, table, Some(Word { offset: entry.offset, text: entry.key }), &mut notes)?);
            }
            let server = root.word("server")?.filter(|server| !server.text.is_empty());
            hosts.push(Host::read(text, root, server, &mut notes)?);
            Ok(Self { path: path.to_owned(), hosts, notes })
        })
    }

    /// Where an image of the registry is asked for.
    ///
    /// # Errors
    ///
    /// When that is nowhere.
    pub(super) fn routes(&self, reference: &Reference) -> Result<Places, NodeFileError> {
        let (mut routes, mut left_out) = (Vec::new(), Vec::new());
        for host in &self.hosts {
            match host.route(reference, &self.path) {
                Ok(route) => routes.push(route),
                Err(reason) => left_out.push(format!("{} is not asked{reason}", host.name(reference))),
            }
        }
        if routes.is_empty() {
            let (path, reasons) = (self.path.clone(), shown(&left_out.join("; "), REASONS));
            return Err(NodeFileError::NoPlace { reference: reference.to_string(), path, reasons });
        }
        let mut notes = self.notes.clone();
        notes.extend(left_out.iter().map(|outcome| document::note(&self.path, outcome)));
        Ok(Places { routes, notes })
    }
}

impl Host {
    fn read(text: Text<'_>, table: Table<'_>, url: Option<Word<'_>>, notes: &mut Vec<Note>) -> Read<Self> {
        let directory = text.path.parent().unwrap_or(Path::new(""));
        let can = Capabilities::read(table)?;
        let certificates = table.words("ca", "a path or a list of paths")?;
        let certificates = certificates.into_iter().map(|path| path.path(directory, "ca")).collect::<Read<_>>()?;
        let clients = clients(table, directory)?;
        let skip_verify = table.flag("skip_verify")?;
        let tls = table.offset_of("ca").or(table.offset_of("client")).or(table.offset_of("skip_verify")).is_some();
        let keeps_path = table.flag("override_path")?.unwrap_or(false);
        let headers = table.table("header")?.filter(|headers| !headers.entries().is_empty());
        let headers = headers.and_then(|_| table.offset_of("header")).map(|offset| text.position(offset));
        let place = url.map(|url| Place::read(url, keeps_path, tls)).transpose()?;
        if let (Some(offset), 2..) = (table.offset_of("client"), clients.len()) {
            notes.push(text.note(offset, "of several client certificates the first is shown"));
        }
        let trust =
            RouteTrust { certificates, client: clients.into_iter().next(), unverified: skip_verify.unwrap_or(false) };
        // What the registry itself can do is not for the file to say.
        let can = if place.is_some() { can } else { Capabilities { pull: true, resolve: true } };
        Ok(Self { place, can, trust, headers })
    }

    fn name<'a>(&'a self, reference: &'a Reference) -> &'a str {
        self.place.as_ref().map_or(reference.registry(), |place| &place.registry)
    }

    /// The way to an image, or why this host is not asked for it.
    fn route(&self, reference: &Reference, file: &Path) -> Result<Route, String> {
        if !self.can.pull {
            return Err(", which has no capability \"pull\"".to_owned());
        }
        if !self.can.resolve && reference.digest().is_none() {
            return Err(" for a tag, because it has no capability \"resolve\"".to_owned());
        }
        if let Some(Position { line, .. }) = self.headers {
            return Err(format!(", because headers of a file (line {line}) are not sent"));
        }
        let trust = self.trust.clone();
        let Some(Place { scheme, registry, path }) = &self.place else {
            return Ok(Route { trust, ..Route::direct(reference.clone()) });
        };
        // At a root without a path it would stand where a URL has its host.
        if path.is_empty() && reference.repository().starts_with('/') {
            return Err(format!(" for the repository {:?}", reference.repository()));
        }
        let there = at(reference, registry).map_err(|reason| format!(": {reason}"))?;
        let owner = if there.registry() == reference.registry() { None } else { Some(reference.registry()) };
        let namespace = owner.map(|owner| hub_or(owner).to_owned());
        Ok(Route {
            reference: there,
            api: Api { scheme: *scheme, path: path.clone(), namespace },
            trust,
            credentials: true,
            origin: Origin::File(file.to_owned()),
        })
    }
}

impl Capabilities {
    /// Those that are listed; all if none are.
    fn read(table: Table<'_>) -> Read<Self> {
        let words = table.words("capabilities", "a list of strings")?;
        let listed = |name: &str| words.is_empty() || words.iter().any(|word| word.text.eq_ignore_ascii_case(name));
        let known = ["pull", "resolve", "push", "referrers"];
        match words.iter().find(|word| !known.iter().any(|known| known.eq_ignore_ascii_case(word.text))) {
            Some(word) => Err(At::new(word.offset, Fault::Capability(word.shown()))),
            None => Ok(Self { pull: listed("pull"), resolve: listed("resolve") }),
        }
    }
}

/// The client certificates, with their keys: a file that holds both, or a pair.
fn clients(table: Table<'_>, directory: &Path) -> Read<Vec<ClientCertificate>> {
    const WANTED: &str = "a path, a list of paths, or a list of pairs of paths";
    let wrong = |offset| At::new(offset, Fault::Type { key: "client".to_owned(), wanted: WANTED });
    let client = |group: Vec<Word<'_>>| {
        let (&certificate, key) = match &group[..] {
            [file] => (file, None),
            [certificate, key] => (certificate, Some(key).filter(|key| !key.text.is_empty())),
            _ => return Err(wrong(table.offset_of("client").unwrap_or(0))),
        };
        let certificate = certificate.path(directory, "client")?;
        let key = key.map_or_else(|| Ok(certificate.clone()), |key| key.path(directory, "client"))?;
        Ok(ClientCertificate { certificate, key })
    };
    table.groups("client", WANTED)?.into_iter().map(client).collect()
}

impl Place {
    /// A URL; `keeps_path` leaves its path as it is, and with something said of TLS even http is https where that is spoken.
    fn read(word: Word<'_>, keeps_path: bool, tls: bool) -> Read<Self> {
        let wrong = |reason| At::new(word.offset, Fault::Url(reason));
        let written = match word.text.contains("://") {
            true => word.text.to_owned(),
            false => format!("https://{}", word.text),
        };
        let url = Url::parse(&written).map_err(|_| wrong("must be one"))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(wrong("must hold no credentials"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(wrong("ends with its path"));
        }
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| wrong("needs a host"))?;
        // A reference knows a registry by a dot or a colon.
        let needs_port = url.port().is_none() && !host.contains(['.', ':']) && host != "localhost";
        // The port of plain http is not TLS's too.
        let may_be_tls = tls && !needs_port && !names_port_80(&written);
        let (scheme, port) = match url.scheme() {
            "https" => (Scheme::Https, HTTPS),
            "http" if may_be_tls => (Scheme::Either, HTTP),
            "http" => (Scheme::Http, HTTP),
            _ => return Err(wrong("begins with https:// or http://")),
        };
        let registry = match url.port().or(Some(port).filter(|_| needs_port)) {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        let mut segments: Vec<&str> = url.path().split('/').filter(|segment| !segment.is_empty()).collect();
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '~' | '-');
        if !segments.iter().all(|segment| segment.chars().all(plain)) {
            return Err(wrong("may have only letters, digits and . _ ~ - in its path"));
        }
        if !keeps_path && segments.last() != Some(&"v2") {
            segments.push("v2");
        }
        let reference = "image".parse::<Reference>().map_err(|_| wrong("must be one"))?;
        let there = at(&reference, &registry).map_err(|_| wrong("must have the name or the address of a host"))?;
        Ok(Self { scheme, registry: there.registry().to_owned(), path: segments.join("/") })
    }
}

/// Whether a URL's authority says so itself.
fn names_port_80(url: &str) -> bool {
    let authority = url.split_once("://").map_or(url, |(_, rest)| rest);
    authority.split('/').next().is_some_and(|authority| authority.ends_with(":80"))
}

#[cfg(test)]
mod tests {
    use super::super::line;
    use super::*;
    use crate::sys::cause::chain;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn parsed(text: &str) -> Result<HostsToml, NodeFileError> {
        HostsToml::parse(Path::new("/certs.d/r/hosts.toml"), text.as_bytes())
    }

    /// The places for an image, one line each, and the notes.
    fn routes(text: &str, image: &str) -> (Vec<String>, Vec<String>) {
        let found = parsed(text).unwrap_or_else(|error| panic!("{}: {text}", chain(&error)));
        let found = found.routes(&image.parse().unwrap()).unwrap_or_else(|error| panic!("{}: {text}", chain(&error)));
        let of = |note: &Note| note.to_string().replace("registry configuration /certs.d/r/hosts.toml: ", "");
        (found.routes.iter().map(line).collect(), found.notes.iter().map(of).collect())
    }

    fn fault(text: &str) -> String {
        let error = parsed(text).map(|_| ()).expect_err(text);
        chain(&error).replace("the registry configuration \"/certs.d/r/hosts.toml\" cannot be used: ", "")
    }

    #[test]
    fn hosts_are_asked_in_the_order_of_the_file_and_the_server_last() {
        let text = r#"
            server = "https://upstream.example"
            [host."https://z.example"]
            capabilities = ["pull", "resolve"]
            [host."http://a.example:5000/team"]
            [host.'https://m.example/v2/proxy']
            override_path = true
        "#;
        let (found, notes) = routes(text, "r.example/ci/app:1");
        let expected = [
            "https z.example/ci/app:1 by v2, ns r.example, from the file",
            "http a.example:5000/ci/app:1 by team/v2, ns r.example, from the file",
            "https m.example/ci/app:1 by v2/proxy, ns r.example, from the file",
            "https upstream.example/ci/app:1 by v2, ns r.example, from the file",
        ];
        assert_eq!((found, notes), (expected.map(str::to_owned).to_vec(), vec![]));
    }

    #[test]
    fn urls_become_places() {
        let by = |registry: &str, way: &str| format!("{way}, ns r.example, from the file").replace('@', registry);
        for (url, expected) in [
            ("https://M.example", by("m.example/ci/app:1", "https @ by v2")),
            ("m.example", by("m.example/ci/app:1", "https @ by v2")),
            ("m.example:5000/a//b/", by("m.example:5000/ci/app:1", "https @ by a/b/v2")),
            ("https://m.example:443/v2/", by("m.example/ci/app:1", "https @ by v2")),
            ("https://m.example/x/../v2", by("m.example/ci/app:1", "https @ by v2")),
            ("http://m.example:80", by("m.example/ci/app:1", "http @ by v2")),
            ("https://mirror", by("mirror:443/ci/app:1", "https @ by v2")),
            ("http://mirror", by("mirror:80/ci/app:1", "http @ by v2")),
            ("http://mirror:5000", by("mirror:5000/ci/app:1", "http @ by v2")),
            ("http://localhost", by("localhost/ci/app:1", "http @ by v2")),
            ("https://[::1]:5000", by("[::1]:5000/ci/app:1", "https @ by v2")),
            // Docker Hub is one, whichever of its names is written; it is not its own mirror.
            ("https://registry-1.docker.io", by("index.docker.io/ci/app:1", "https @ by v2")),
            ("https://docker.io", by("index.docker.io/ci/app:1", "https @ by v2")),
            ("https://r.example/", "https r.example/ci/app:1 by v2, from the file".to_owned()),
        ] {
            let (found, notes) = routes(&format!("server = {url:?}"), "r.example/ci/app:1");
            assert_eq!((found, notes), (vec![expected.clone()], vec![]), "{url}");
            let (found, _) = routes(&format!("[host.{url:?}]"), "r.example/ci/app:1");
            assert_eq!(found, [expected, "usual r.example/ci/app:1 by v2, the reference's".to_owned()], "{url}");
        }
        let (found, _) = routes("server = 'https://registry-1.docker.io'", "busybox");
        assert_eq!(found, ["https index.docker.io/library/busybox:latest by v2, from the file"]);
        let (found, _) = routes("server = 'http://m.example:5000'", "busybox");
        assert_eq!(found, ["http m.example:5000/library/busybox:latest by v2, ns docker.io, from the file"]);
        let (found, _) = routes("server = 'https://m.example/'\noverride_path = true", "busybox");
        assert_eq!(found, ["https m.example/library/busybox:latest by , ns docker.io, from the file"]);
    }

    #[test]
    fn what_is_said_of_tls_makes_plain_http_the_second_choice_as_in_containerd() {
        for (url, more, scheme) in [
            ("http://m.example:5000", "skip_verify = true", "either"),
            ("http://m.example:5000", "skip_verify = false", "either"),
            ("http://m.example", "ca = 'ca.pem'", "either"),
            ("http://m.example:80", "skip_verify = true", "http"),
            ("http://mirror", "skip_verify = true", "http"),
            ("http://mirror:5000", "client = 'c.pem'", "either"),
            ("https://m.example", "skip_verify = true", "https"),
        ] {
            let (found, _) = routes(&format!("server = {url:?}\n{more}"), "r.example/ci/app:1");
            assert!(found[0].starts_with(scheme), "{url} {more}: {found:?}");
        }
    }

    #[test]
    fn who_cannot_resolve_is_asked_for_digests_and_who_cannot_pull_for_nothing() {
        let text = r#"
            [host."https://all.example"]
            capabilities = []
            [host."https://digests.example"]
            capabilities = ["Pull"]
            [host."https://nothing.example"]
            capabilities = ["push", "resolve"]
            [host."https://headers.example".header]
            Authorization = "hunter2"
        "#;
        let nothing = "nothing.example is not asked, which has no capability \"pull\"";
        let headers = "headers.example is not asked, because headers of a file (line 8) are not sent";
        let tag = "digests.example is not asked for a tag, because it has no capability \"resolve\"";
        let (found, notes) = routes(text, "r.example/app:1");
        assert_eq!(found.len(), 2, "{found:?}");
        assert_eq!(notes, [tag, nothing, headers]);
        let (found, notes) = routes(text, &format!("r.example/app@{DIGEST}"));
        assert_eq!(found[1], format!("https digests.example/app@{DIGEST} by v2, ns r.example, from the file"));
        assert_eq!((found.len(), notes), (3, vec![nothing.to_owned(), headers.to_owned()]));
    }

    #[test]
    fn a_file_that_leaves_no_place_says_why() {
        let text = "server = 'https://a.example'\ncapabilities = ['push']\n[host.'b']\ncapabilities = ['pull']";
        let error = parsed(text).unwrap().routes(&"r.example/app:1".parse().unwrap()).expect_err("no place");
        assert_eq!(
            chain(&error),
            "\"/certs.d/r/hosts.toml\" leaves no place where r.example/app:1 could be asked for: b:443 is not asked for a \
             tag, because it has no capability \"resolve\"; a.example is not asked, which has no capability \"pull\""
        );
        // At a root without a path, this would be the URL of another host.
        let keeps = parsed("server = 'https://a.example'\noverride_path = true").unwrap();
        let error = keeps.routes(&"r.example//evil.example/app".parse().unwrap()).expect_err("no place");
        assert!(chain(&error).contains("a.example is not asked for the repository \"/evil.example/app\""), "{error}");
    }

    #[test]
    fn certificates_are_beside_the_file() {
        for (text, expected) in [
            ("ca = 'a.pem'", "ca /certs.d/r/a.pem"),
            ("ca = ['a.pem', '/b.pem']", "ca /certs.d/r/a.pem, ca /b.pem"),
            ("ca = []\nclient = []", ""),
            ("client = 'c.pem'", "client /certs.d/r/c.pem /certs.d/r/c.pem"),
            ("client = ['/c.pem']", "client /c.pem /c.pem"),
            ("client = [['c.crt', 'c.key']]", "client /certs.d/r/c.crt /certs.d/r/c.key"),
            ("client = [['c.pem', '']]", "client /certs.d/r/c.pem /certs.d/r/c.pem"),
            ("skip_verify = true", "unverified"),
            ("skip_verify = false", ""),
        ] {
            let more = if expected.is_empty() { String::new() } else { format!(", {expected}") };
            let (found, notes) = routes(text, "r.example/app:1");
            assert_eq!(found, [format!("usual r.example/app:1 by v2{more}, the reference's")], "{text}");
            assert!(notes.is_empty(), "{notes:?}");
            let (found, _) = routes(&format!("[host.'m.example']\n{text}"), "r.example/app:1");
            assert_eq!(found[0], format!("https m.example/app:1 by v2, ns r.example{more}, from the file"), "{text}");
        }
        let (found, notes) = routes("client = ['a.pem', ['b.crt', 'b.key']]", "r.example/app:1");
        assert!(found[0].contains("client /certs.d/r/a.pem /certs.d/r/a.pem"), "{found:?}");
        assert_eq!(notes, ["line 1: of several client certificates the first is shown"]);
    }

    #[test]
    fn what_has_no_effect_is_told() {
        let text = "sever = 'x'\nSERVER = 'https://a.example'\n[host.'b.example']\ndial_timeout = '1s'\n[other]\nx = 1";
        let (found, notes) = routes(text, "r.example/app:1");
        assert_eq!(found.len(), 2);
        let none = "has no effect here";
        assert_eq!(
            notes,
            [
                format!("line 1: \"sever\" {none}"),
                format!("line 5: \"other\" {none}"),
                format!("line 4: \"dial_timeout\" {none}"),
            ]
        );
    }

    #[test]
    fn mistakes_are_told_with_their_line() {
        for (text, expected) in [
            ("server = ", "line 1, column 10: it is no TOML: string values must be quoted, expected literal string"),
            ("[host.'https://a.example'", "line 1, column 26: it is no TOML: unclosed table, expected `]`"),
            ("server = 1", "line 1, column 1: server must be a string"),
            ("host = 'a'", "line 1, column 1: host must be a table"),
            ("[host]\na = 1", "line 2, column 1: a must be a table"),
            (
                "\n[host.'a.example']\ncapabilities = ['pull', 'read']",
                "line 3, column 25: \"read\" is no capability; pull, resolve, push and referrers are",
            ),
            ("capabilities = 1", "line 1, column 1: capabilities must be a list of strings"),
            ("ca = [1]", "line 1, column 1: ca must be a path or a list of paths"),
            ("ca = ''", "line 1, column 6: ca must be a path"),
            ("client = 1", "line 1, column 1: client must be a path, a list of paths, or a list of pairs of paths"),
            (
                "client = [['a', 'b', 'c']]",
                "line 1, column 1: client must be a path, a list of paths, or a list of pairs of paths",
            ),
            ("skip_verify = 'yes'", "line 1, column 1: skip_verify must be true or false"),
            ("override_path = 1", "line 1, column 1: override_path must be true or false"),
            ("header = 'a: b'", "line 1, column 1: header must be a table"),
            ("server = 'ftp://a'", "line 1, column 10: a registry's URL begins with https:// or http://"),
            ("server = 'https://'", "line 1, column 10: a registry's URL must be one"),
            (
                "server = 'https://ann:hunter2@a.example'",
                "line 1, column 10: a registry's URL must hold no credentials",
            ),
            ("server = 'https://a.example/?x=y'", "line 1, column 10: a registry's URL ends with its path"),
            (
                "server = 'https://a.example/a:b'",
                "line 1, column 10: a registry's URL may have only letters, digits and . _ ~ - in its path",
            ),
            (
                "server = 'https://a!b.example'",
                "line 1, column 10: a registry's URL must have the name or the address of a host",
            ),
        ] {
            assert_eq!(fault(text), expected, "{text}");
        }
    }
}
