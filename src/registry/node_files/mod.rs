//! What a node knows about registries, from its own files: where images are asked for, and whom to believe there.
//!
//! Two programs have such files: containerd a tree with a directory per registry, podman one file and its additions. They
//! come from the command line by their paths, mounted into the container. A file that cannot be used fails the lookup.

mod certs_d;
mod document;
mod error;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod hosts_toml;
mod place;
mod registries_conf;

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use self::certs_d::Says;
pub use self::error::{Fault, NodeFileError};
use self::registries_conf::RegistriesConf;
use super::Places;
#[cfg(test)]
use super::route::Route;
use crate::image::Reference;
use crate::note::Note;
use crate::sys::file;

/// The longest file that is read, in bytes.
const LIMIT: u64 = 1 << 20;
/// The most entries of a directory that are looked at.
const ENTRIES: usize = 4096;

/// The most notes that an image gets of them: the story of a lookup has its own bound.
const NOTES: usize = 50;

/// The files of `-image_registry_config`, as far as they do not depend on an image.
#[derive(Debug, Default)]
pub struct NodeFiles {
    /// The paths, for a note.
    paths: Vec<PathBuf>,
    /// Directories of containerd's kind, in which each registry has its own.
    trees: Vec<PathBuf>,
    /// All of podman's kind.
    registries: RegistriesConf,
    /// Whether those stand first on the command line.
    registries_first: bool,
}

/// Looks at paths, each a `registries.conf`, a directory of its additions, or a tree of `hosts.toml`.
///
/// # Errors
///
/// The first that cannot be used.
pub fn read(paths: &[PathBuf]) -> Result<NodeFiles, NodeFileError> {
    let mut files = NodeFiles { paths: paths.to_vec(), ..NodeFiles::default() };
    for path in paths {
        let confs = match Kind::of(path)? {
            Kind::Tree => {
                files.trees.push(path.clone());
                continue;
            }
            Kind::Registries(confs) => confs,
        };
        files.registries_first |= files.trees.is_empty();
        for path in confs {
            let bytes = file::read(&path, LIMIT).map_err(|source| NodeFileError::File { source })?;
            files.registries.merge(RegistriesConf::parse(&path, &bytes)?);
        }
    }
    Ok(files)
}

impl NodeFiles {
    /// Where an image is asked for, the registry itself among the places where it is one; none where nothing is said about
    /// the image.
    ///
    /// What podman's files block is blocked. Of the two kinds that one decides which is named first and names places for
    /// the image. Where that is podman's, trees still add the certificates of the places.
    ///
    /// # Errors
    ///
    /// An image that may not be asked for, and a file that cannot be used.
    pub fn routes(&self, reference: &Reference) -> Result<Places, NodeFileError> {
        let mut found = self.decide(reference)?;
        let left_out = found.notes.len().saturating_sub(NOTES);
        if let Some(last) = found.notes.get(NOTES).map(|note| note.source.clone()).filter(|_| left_out > 0) {
            found.notes.truncate(NOTES);
            found.notes.push(Note::new(last, format!("and {left_out} more of this kind")));
        }
        Ok(found)
    }

    fn decide(&self, reference: &Reference) -> Result<Places, NodeFileError> {
        self.registries.check(reference)?;
        if self.registries_first
            && let Some(found) = self.by_registries(reference)?
        {
            return Ok(found);
        }
        let certificates = match self.by_trees(reference)? {
            Some(Says::Places(found)) => return Ok(found),
            Some(Says::Certificates(found)) => Some(found),
            None => None,
        };
        let found = self.by_registries(reference)?.or(certificates);
        Ok(found.unwrap_or_else(|| Places { routes: Vec::new(), notes: self.silence(reference) }))
    }

    fn by_registries(&self, reference: &Reference) -> Result<Option<Places>, NodeFileError> {
        let Some(mut found) = self.registries.routes(reference)? else { return Ok(None) };
        for route in &mut found.routes {
            for tree in &self.trees {
                certs_d::add_certificates(tree, route)?;
            }
        }
        Ok(Some(found))
    }

    fn by_trees(&self, reference: &Reference) -> Result<Option<Says>, NodeFileError> {
        self.trees.iter().find_map(|tree| certs_d::routes(tree, reference).transpose()).transpose()
    }

    /// That nothing is said about an image.
    fn silence(&self, reference: &Reference) -> Vec<Note> {
        let outcome = format!("nothing about {}", place::hub_or(reference.registry()));
        self.paths.iter().map(|path| document::note(path, &outcome)).collect()
    }
}

/// What stands at a path.
#[derive(Debug)]
enum Kind {
    /// Directories of registries.
    Tree,
    /// Files of podman's, in their order.
    Registries(Vec<PathBuf>),
}

impl Kind {
    fn of(path: &Path) -> Result<Self, NodeFileError> {
        if !fs::metadata(path).map_err(look(path))?.is_dir() {
            return Ok(Self::Registries(vec![path.to_owned()]));
        }
        let (mut confs, mut directories) = (Vec::new(), false);
        for entry in entries(path)? {
            let is_dir = fs::metadata(&entry).is_ok_and(|found| found.is_dir());
            directories |= is_dir;
            if !is_dir && has_ending(&entry, b".conf") {
                confs.push(entry);
            } else if entry.file_name() == Some(OsStr::new(certs_d::HOSTS_TOML)) {
                return Err(NodeFileError::OneRegistry { path: path.to_owned() });
            }
        }
        match (confs.is_empty(), directories) {
            (false, true) => Err(NodeFileError::Mixed { path: path.to_owned() }),
            (false, false) => Ok(Self::Registries(confs)),
            (true, _) => Ok(Self::Tree),
        }
    }
}

/// The entries of a directory in the order of their names, without those by which Kubernetes swaps the content of a volume.
fn entries(path: &Path) -> Result<Vec<PathBuf>, NodeFileError> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(path).map_err(look(path))? {
        if entries.len() == ENTRIES {
            return Err(NodeFileError::Crowded { path: path.to_owned(), limit: ENTRIES });
        }
        entries.push(entry.map_err(look(path))?.path());
    }
    entries.retain(|entry| entry.file_name().is_some_and(|name| !name.as_bytes().starts_with(b"..")));
    entries.sort();
    Ok(entries)
}

fn has_ending(path: &Path, ending: &[u8]) -> bool {
    path.file_name().is_some_and(|name| name.as_bytes().ends_with(ending))
}

fn look(path: &Path) -> impl Fn(io::Error) -> NodeFileError {
    move |source| NodeFileError::Look { path: path.to_owned(), source }
}

/// A place for a table of a test.
#[cfg(test)]
fn line(route: &Route) -> String {
    use super::route::{Origin, Scheme};

    let scheme = match route.api.scheme {
        Scheme::Usual => "usual",
        Scheme::Https => "https",
        Scheme::Http => "http",
        Scheme::Either => "either",
    };
    let mut line = format!("{scheme} {} by {}", route.reference, route.api.path);
    let trust = &route.trust;
    line.extend(route.api.namespace.iter().map(|namespace| format!(", ns {namespace}")));
    line.extend(trust.certificates.iter().map(|path| format!(", ca {}", path.display())));
    let client = |client: &super::ClientCertificate| {
        format!(", client {} {}", client.certificate.display(), client.key.display())
    };
    line.extend(trust.client.iter().map(client));
    line.push_str(if trust.unverified { ", unverified" } else { "" });
    assert!(route.credentials, "the operator's choice is shown what is for it");
    line.push_str(match &route.origin {
        Origin::Reference => ", the reference's",
        Origin::File(_) => ", from the file",
        Origin::Map | Origin::Mirror | Origin::Runner(_) => unreachable!("no file says so"),
    });
    line
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use proptest::prelude::*;
    use tempfile::TempDir;

    use super::hosts_toml::HostsToml;
    use super::*;
    use crate::sys::cause::chain;

    /// These files below a directory, each a path and what it holds; a path that ends with a slash is a directory.
    fn disk(files: &[(&str, &str)]) -> TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = directory.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            if name.ends_with('/') {
                fs::create_dir_all(path).unwrap();
            } else {
                fs::write(path, content).unwrap();
            }
        }
        directory
    }

    /// What some of its paths say about an image: places and notes, or the error, without the directory's own name.
    fn told(directory: &TempDir, paths: &[&str], image: &str) -> Result<(Vec<String>, Vec<String>), String> {
        let short = |text: String| text.replace(directory.path().to_str().unwrap(), "");
        let paths: Vec<_> = paths.iter().map(|path| directory.path().join(path)).collect();
        let found = read(&paths).and_then(|files| files.routes(&image.parse().unwrap()));
        let found = found.map_err(|error| short(chain(&error)))?;
        let lines = found.routes.iter().map(|route| short(line(route))).collect();
        Ok((lines, found.notes.iter().map(|note| short(note.to_string())).collect()))
    }

    fn server(name: &str) -> String {
        format!("server = 'https://{name}.example'")
    }

    #[test]
    fn a_registrys_directory_is_found_by_its_name_without_a_colon_by_its_name_and_by_default() {
        let tree = disk(&[
            ("r.example_5000_/hosts.toml", &server("underscores")),
            ("r.example:5000/hosts.toml", &server("colon")),
            ("s.example:5000/hosts.toml", &server("colon")),
            ("docker.io/hosts.toml", &server("hub")),
            ("index.docker.io/hosts.toml", &server("nobody")),
            ("[::1]_5000_/hosts.toml", &server("six")),
            ("_default/hosts.toml", &server("others")),
            ("empty.example/", ""),
            ("hosts.d/hosts.toml", "not read"),
        ]);
        for (image, expected) in [
            ("r.example:5000/i:1", "https underscores.example/i:1"),
            ("s.example:5000/i:1", "https colon.example/i:1"),
            ("busybox", "https hub.example/library/busybox:latest"),
            ("[::1]:5000/i:1", "https six.example/i:1"),
            ("r.example/i:1", "https others.example/i:1"),
            ("[::1]/i:1", "https others.example/i:1"),
            // A directory of its own, with nothing in it, keeps a registry out of the default.
            ("empty.example/i:1", "usual empty.example/i:1"),
            // No way out of the tree.
            ("../i:1", "https others.example/i:1"),
        ] {
            let (found, _) = told(&tree, &[""], image).unwrap();
            assert!(found[0].starts_with(&format!("{expected} ")) && found.len() == 1, "{image}: {found:?}");
        }
    }

    #[test]
    fn a_directory_without_a_file_may_hold_certificates_as_dockers_does() {
        let files =
            [("r.example/b.crt", ""), ("r.example/a.crt", ""), ("r.example/c.cert", ""), ("r.example/c.key", "")];
        let expected = "usual r.example/i:1 by v2, ca /r.example/a.crt, ca /r.example/b.crt, client /r.example/c.cert ";
        for (more, key) in [
            (&[][..], "/r.example/c.key"),
            (&[("r.example/hosts.toml", "")][..], "/r.example/c.key"),
            (&[("r.example/d.cert", ""), ("r.example/d.key", ""), ("r.example/x.pem", "")][..], "/r.example/c.key"),
            (&[("r.example/b.cert", "")][..], ""),
        ] {
            let (found, notes) = told(&disk(&[&files[..], more].concat()), &[""], "r.example/i:1").unwrap();
            match key {
                "" => assert!(found[0].contains("client /r.example/b.cert /r.example/b.cert"), "{found:?}"),
                key => assert_eq!(found, [format!("{expected}{key}, the reference's")]),
            }
            assert_eq!(notes, ["registry configuration /r.example: certificates, and no hosts.toml"]);
        }
    }

    #[test]
    fn podmans_directory_is_read_in_the_order_of_its_names_and_behind_its_file() {
        let table = |location: &str| format!("[[registry]]\nprefix = 'r.example'\nlocation = '{location}.example'");
        let disk = disk(&[
            ("registries.conf", &table("first")),
            ("registries.conf.d/10-a.conf", &table("second")),
            ("registries.conf.d/20-b.conf", &table("third")),
            ("registries.conf.d/30-c.conf.bak", "not read"),
            ("volume/..2026/r.conf", &table("volume")),
            ("volume/..2026/notes", "not read"),
        ]);
        // How Kubernetes mounts a ConfigMap.
        symlink("..2026", disk.path().join("volume/..data")).unwrap();
        symlink("..data/r.conf", disk.path().join("volume/r.conf")).unwrap();
        for (paths, expected) in [
            (&["registries.conf"][..], "first"),
            (&["registries.conf", "registries.conf.d"][..], "third"),
            (&["registries.conf.d", "registries.conf"][..], "first"),
            (&["volume"][..], "volume"),
        ] {
            let (found, notes) = told(&disk, paths, "r.example/i:1").unwrap();
            assert_eq!(found, [format!("usual {expected}.example/i:1 by v2, from the file")], "{paths:?}");
            assert!(notes.is_empty(), "{notes:?}");
        }
    }

    #[test]
    fn of_two_kinds_the_first_that_says_something_decides_and_a_prohibition_counts_anywhere() {
        let disk = disk(&[
            ("certs.d/r.example/hosts.toml", &server("tree")),
            ("certs.d/t.example/hosts.toml", &server("tree")),
            ("certs.d/m.example/ca.crt", ""),
            ("certs.d/m.example/hosts.toml", ""),
            ("only/r.example/r.crt", ""),
            ("only/m.example/m.crt", ""),
            ("second/r.example/hosts.toml", &server("second")),
            ("second/u.example/hosts.toml", &server("second")),
            (
                "r.conf",
                "[[registry]]\nprefix = 'r.example'\nlocation = 'm.example'\n[[registry]]\nlocation = 't.example/x'\n\
                 blocked = true",
            ),
        ]);
        let podmans = "usual m.example/i:1 by v2, ca /certs.d/m.example/ca.crt, from the file";
        let containerds = "https tree.example/i:1 by v2, ns r.example, from the file";
        for (paths, image, expected) in [
            (&["r.conf", "certs.d"][..], "r.example/i:1", podmans),
            (&["certs.d", "r.conf"][..], "r.example/i:1", containerds),
            (&["certs.d", "second"][..], "r.example/i:1", containerds),
            (
                &["second", "certs.d"][..],
                "r.example/i:1",
                "https second.example/i:1 by v2, ns r.example, from the file",
            ),
            (
                &["certs.d", "second"][..],
                "u.example/i:1",
                "https second.example/i:1 by v2, ns u.example, from the file",
            ),
            (&["r.conf", "certs.d"][..], "t.example/i:1", "https tree.example/i:1 by v2, ns t.example, from the file"),
        ] {
            assert_eq!(told(&disk, paths, image).unwrap().0, [expected], "{paths:?} {image}");
        }
        for paths in [["r.conf", "certs.d"], ["certs.d", "r.conf"]] {
            let blocked = "t.example/x/i:1 may not be asked for: \"/r.conf\", line 4, blocks \"t.example/x\"";
            assert_eq!(told(&disk, &paths, "t.example/x/i:1"), Err(blocked.to_owned()));
        }
    }

    #[test]
    fn files_that_say_nothing_about_an_image_are_told() {
        let disk = disk(&[("certs.d/r.example/hosts.toml", "not read"), ("r.conf", "")]);
        let notes = |registry: &str| {
            ["/certs.d", "/r.conf"]
                .map(|path| format!("registry configuration {path}: nothing about {registry}"))
                .to_vec()
        };
        let paths = ["certs.d", "r.conf"];
        assert_eq!(told(&disk, &paths, "other.example/i:1"), Ok((vec![], notes("other.example"))));
        assert_eq!(told(&disk, &paths, "busybox"), Ok((vec![], notes("docker.io"))));
        assert_eq!(told(&disk, &[], "busybox"), Ok((vec![], vec![])));
    }

    #[test]
    fn what_cannot_be_used_is_named_and_no_place_is_asked() {
        let long = "#".repeat(1 << 20) + "\n";
        let disk = disk(&[
            ("certs.d/r.example/hosts.toml", "server = 'https://a.example'\nca = 1"),
            ("certs.d/f.example", "a file"),
            ("certs.d/d.example/hosts.toml/", ""),
            ("certs.d/good.example/hosts.toml", &server("good")),
            ("one/hosts.toml", &server("one")),
            ("containers/registries.conf", ""),
            ("containers/certs.d/", ""),
            ("long.conf", &long),
            ("bytes.conf.d/a.conf", "[[registry]"),
        ]);
        nix::unistd::mkfifo(&disk.path().join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let file = "the registry configuration cannot be read: ";
        for (path, image, expected) in [
            (
                "certs.d",
                "r.example/i",
                "the registry configuration \"/certs.d/r.example/hosts.toml\" cannot be used: line 2, column 1: ca must be \
                 a path or a list of paths"
                    .to_owned(),
            ),
            ("certs.d", "f.example/i", format!("{file}opening \"/certs.d/f.example/hosts.toml\": not a directory")),
            (
                "certs.d",
                "d.example/i",
                format!("{file}\"/certs.d/d.example/hosts.toml\" is a directory, and must be a regular file"),
            ),
            (
                "absent",
                "busybox",
                "the registry configuration \"/absent\" cannot be read: no such file or directory".to_owned(),
            ),
            ("long.conf", "busybox", format!("{file}\"/long.conf\" has 1048577 bytes")),
            ("fifo", "busybox", format!("{file}\"/fifo\" is a FIFO, and must be a regular file")),
            (
                "one",
                "busybox",
                "the registry configuration \"/one\" holds a hosts.toml itself: name the directory above it, in which \
                 each registry has one of its own"
                    .to_owned(),
            ),
            (
                "one/hosts.toml",
                "busybox",
                "the registry configuration \"/one/hosts.toml\" cannot be used: line 1, column 1: server is a key of \
                 hosts.toml, and this file was read as a registries.conf: name the directory in which each registry has \
                 a directory with its hosts.toml"
                    .to_owned(),
            ),
            (
                "containers",
                "busybox",
                "the registry configuration \"/containers\" holds .conf files and directories: name registries.conf, \
                 registries.conf.d or certs.d in it"
                    .to_owned(),
            ),
            (
                "bytes.conf.d",
                "busybox",
                "the registry configuration \"/bytes.conf.d/a.conf\" cannot be used: line 1, column 12: it is no TOML: \
                 unclosed array table, expected `]`"
                    .to_owned(),
            ),
        ] {
            assert_eq!(told(&disk, &[path], image), Err(expected), "{path}");
        }
        // Another registry's broken file is nobody's business.
        assert_eq!(told(&disk, &["certs.d"], "good.example/i").unwrap().0.len(), 1);
    }

    #[test]
    fn a_directory_is_looked_at_up_to_a_limit() {
        let disk = disk(&[]);
        (0..=ENTRIES).for_each(|i| drop(fs::File::create(disk.path().join(i.to_string())).unwrap()));
        let crowded = "the registry configuration \"/\" has more than 4096 entries";
        assert_eq!(told(&disk, &[""], "busybox"), Err(crowded.to_owned()));
    }

    #[test]
    fn a_large_file_is_read_in_time_and_told_in_short() {
        let tables: String = (0..25_000).map(|i| format!("[[registry]]\nlocation='a.b/{}'\nx=1\n", i / 2)).collect();
        let disk = disk(&[("r.conf", &tables)]);
        let (found, notes) = told(&disk, &["r.conf"], "a.b/7/i:1").unwrap();
        assert_eq!(found, ["usual a.b/7/i:1 by v2, the reference's"]);
        assert_eq!(notes.len(), NOTES + 1);
        assert_eq!(notes[NOTES], "registry configuration /r.conf: and 37450 more of this kind");
    }

    /// Both kinds of files, whatever they say, for whatever image: an answer or an error, which names the file.
    fn robust(text: &[u8], image: &Reference) {
        let path = Path::new("/dir/file");
        let outcomes = [
            HostsToml::parse(path, text).and_then(|hosts| hosts.routes(image)),
            RegistriesConf::parse(path, text).and_then(|conf| {
                conf.check(image)?;
                Ok(conf.routes(image)?.unwrap_or_default())
            }),
        ];
        for outcome in outcomes {
            match outcome {
                Ok(found) => found.routes.iter().for_each(|route| {
                    assert!(route.root().is_some(), "{route:?}");
                    assert_eq!(route.reference.identifier(), image.identifier());
                }),
                Err(error) => assert!(chain(&error).contains("/dir/file"), "{}", chain(&error)),
            }
        }
    }

    /// Words of both formats, and what breaks texts.
    fn words() -> impl Strategy<Value = String> {
        let word = prop_oneof![
            Just("[[registry]]\n"),
            Just("[[registry.mirror]]\n"),
            Just("[host]\n"),
            Just("[host.'https://m.example:5000/a']\n"),
            Just("[host.\"http://r\".header]\n"),
            Just("prefix = "),
            Just("location = "),
            Just("server = "),
            Just("capabilities = ['pull']\n"),
            Just("override_path = true\n"),
            Just("skip_verify = true\n"),
            Just("insecure = true\n"),
            Just("client = [['a', 'b'], 'c']\n"),
            Just("ca = 'x'\n"),
            Just("'r.example'\n"),
            Just("'*.example'\n"),
            Just("'r.example/ci'\n"),
            Just("'https://a:b@c/'\n"),
            Just("'//'\n"),
            Just("'é\u{202e}'\n"),
            Just("''\n"),
            Just("[1, 'a']\n"),
            Just("\0"),
            Just("= "),
            Just("\n"),
        ];
        prop::collection::vec(word, 0..24).prop_map(|words| words.concat())
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_readers(text in words(), noise in "\\PC{0,20}", at in 0..400usize) {
            let images = ["r.example/ci/app:1", "r.example//x/app", "busybox", "m.example:5000/a"];
            for image in images.map(|image| image.parse().unwrap()) {
                robust(text.as_bytes(), &image);
                let (start, end) = text.as_bytes().split_at(at.min(text.len()));
                robust(&[start, noise.as_bytes(), end].concat(), &image);
            }
        }

        #[test]
        fn no_value_breaks_the_readers(value in any::<String>(), key in "server|location|prefix", key_of_host in any::<bool>()) {
            // Rust's escapes are not TOML's; a literal string has none.
            let value: String = value.chars().filter(|c| *c != '\'' && !c.is_control()).collect();
            let text = match key_of_host {
                true => format!("[host.'{value}']\n"),
                false => format!("{key} = '{value}'\n[[registry]]\nlocation = 'r.example'\n[[registry.mirror]]\nlocation = '{value}'"),
            };
            robust(text.as_bytes(), &"r.example/ci/app:1".parse().unwrap());
        }

        #[test]
        fn no_bytes_break_the_readers(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            robust(&bytes, &"busybox".parse().unwrap());
        }
    }
}
