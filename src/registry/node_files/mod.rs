//! What a node knows about registries, from its own files: where images are asked for, and whom to believe there.
//!
//! Two programs have such files: containerd a tree with a directory per registry, podman one file and its additions. They
//! come from the command line by their paths, mounted into the container. A file that cannot be used fails the lookup.

mod certs_d;
mod document;
mod error;
mod hosts_toml;
mod place;
mod registries_conf;

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

pub use self::error::{Fault, NodeFileError};
use self::registries_conf::RegistriesConf;
use super::route::Route;
use crate::image::Reference;
use crate::note::Note;
use crate::sys::file;

/// The longest file that is read, in bytes.
const LIMIT: u64 = 1 << 20;
/// The most entries of a directory that are looked at.
const ENTRIES: usize = 4096;

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

/// Where an image is asked for, and what there is to tell about that.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Routes {
    /// The places in order, the registry itself among them where it is one. None: nothing is said about this image.
    pub routes: Vec<Route>,
    /// What was used, and what of it has no effect.
    pub notes: Vec<Note>,
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
    /// Where an image is asked for.
    ///
    /// What podman's files block is blocked. Of the two kinds that one decides which is named first and says something
    /// about the image. Where that is podman's, trees still add the certificates of the places.
    ///
    /// # Errors
    ///
    /// An image that may not be asked for, and a file that cannot be used.
    pub fn routes(&self, reference: &Reference) -> Result<Routes, NodeFileError> {
        self.registries.check(reference)?;
        let found = match self.registries_first {
            true => self.by_registries(reference).transpose().or_else(|| self.by_trees(reference).transpose()),
            false => self.by_trees(reference).transpose().or_else(|| self.by_registries(reference).transpose()),
        };
        found.unwrap_or_else(|| Ok(Routes { routes: Vec::new(), notes: self.silence(reference) }))
    }

    fn by_registries(&self, reference: &Reference) -> Result<Option<Routes>, NodeFileError> {
        let Some(mut found) = self.registries.routes(reference)? else { return Ok(None) };
        for route in &mut found.routes {
            for tree in &self.trees {
                certs_d::add_certificates(tree, route)?;
            }
        }
        Ok(Some(found))
    }

    fn by_trees(&self, reference: &Reference) -> Result<Option<Routes>, NodeFileError> {
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
