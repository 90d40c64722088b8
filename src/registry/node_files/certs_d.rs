//! A tree with a directory per registry, as containerd, docker and podman have it: `hosts.toml`, or only certificates.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::document;
use super::error::NodeFileError;
use super::hosts_toml::HostsToml;
use super::place::hub_or;
use super::{LIMIT, Places, entries, has_ending, look};
use crate::image::Reference;
use crate::registry::route::{ClientCertificate, Route, RouteTrust};
use crate::sys::file;

/// The file of a registry's directory.
pub(super) const HOSTS_TOML: &str = "hosts.toml";
/// The directory for every registry that has none.
const DEFAULT: &str = "_default";

/// What a tree says about an image's registry.
#[derive(Debug)]
pub(super) enum Says {
    /// Where it is asked for.
    Places(Places),
    /// Whom to believe at the registry itself.
    Certificates(Places),
}

/// What the tree says about an image's registry, if anything.
pub(super) fn routes(tree: &Path, reference: &Reference) -> Result<Option<Says>, NodeFileError> {
    let names = directories(hub_or(reference.registry())).into_iter().chain([DEFAULT.to_owned()]);
    let Some(directory) = first(tree, names)? else { return Ok(None) };
    if let Some(hosts) = hosts_toml(&directory)? {
        return hosts.routes(reference).map(|found| Some(Says::Places(found)));
    }
    let trust = certificates(&directory)?;
    let trusted = if trust == RouteTrust::default() { "no certificates" } else { "certificates" };
    let notes = vec![document::note(&directory, &format!("{trusted}, and no {HOSTS_TOML}"))];
    let routes = vec![Route { trust, ..Route::direct(reference.clone()) }];
    Ok(Some(Says::Certificates(Places { routes, notes })))
}

/// Adds the certificates that the tree has for a place that is known from elsewhere.
pub(super) fn add_certificates(tree: &Path, route: &mut Route) -> Result<(), NodeFileError> {
    let names = directories(hub_or(route.reference.registry()));
    let Some(directory) = first(tree, names.into_iter())? else { return Ok(()) };
    let trust = certificates(&directory)?;
    route.trust.certificates.extend(trust.certificates);
    route.trust.client = route.trust.client.take().or(trust.client);
    Ok(())
}

/// The names that a registry's directory may have, in order: file systems without colons are provided for.
fn directories(registry: &str) -> Vec<String> {
    if registry.chars().all(|c| c == '.') {
        return Vec::new();
    }
    let without_colon = registry.rsplit_once(':').filter(|(_, port)| !port.contains(']'));
    let without_colon = without_colon.map(|(host, port)| format!("{host}_{port}_"));
    without_colon.into_iter().chain([registry.to_owned()]).collect()
}

/// The first of these that is there.
fn first(tree: &Path, mut names: impl Iterator<Item = String>) -> Result<Option<PathBuf>, NodeFileError> {
    let there = |name: String| {
        let path = tree.join(name);
        match fs::metadata(&path) {
            Ok(_) => Some(Ok(path)),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => Some(Err(look(&path)(error))),
        }
    };
    names.find_map(there).transpose()
}

/// What the directory's file says; none without one, and of one without a byte.
fn hosts_toml(directory: &Path) -> Result<Option<HostsToml>, NodeFileError> {
    let path = directory.join(HOSTS_TOML);
    match file::read_if_there(&path, LIMIT).map_err(|source| NodeFileError::File { source })? {
        Some(bytes) if !bytes.is_empty() => HostsToml::parse(&path, &bytes).map(Some),
        Some(_) | None => Ok(None),
    }
}

/// Every `.crt` is an authority's; the first `.cert` is the one to show, with the `.key` of the same name.
fn certificates(directory: &Path) -> Result<RouteTrust, NodeFileError> {
    let entries = entries(directory)?;
    let client = entries.iter().find(|path| has_ending(path, b".cert")).map(|certificate| {
        let key = certificate.with_extension("key");
        let key = if entries.contains(&key) { key } else { certificate.clone() };
        ClientCertificate { certificate: certificate.clone(), key }
    });
    let certificates = entries.into_iter().filter(|path| has_ending(path, b".crt")).collect();
    Ok(RouteTrust { certificates, client, unverified: false })
}
