//! Doors for fuzzing to the readers of the files (docs/adr/0053-fuzzing-by-coverage-on-stable.md).

use std::path::Path;

use super::hosts_toml::HostsToml;
use super::registries_conf::RegistriesConf;
use super::{NodeFileError, NodeFiles};
use crate::image::Reference;
use crate::registry::Places;

/// Where a `hosts.toml` says that an image is asked for.
///
/// # Errors
///
/// What [`super::read`] and [`NodeFiles::routes`] would find wrong.
pub fn hosts_toml(path: &Path, bytes: &[u8], reference: &Reference) -> Result<Places, NodeFileError> {
    HostsToml::parse(path, bytes)?.routes(reference)
}

/// Where the first of several `registries.conf` says that an image is asked for, with what the others add to it.
///
/// # Errors
///
/// What [`super::read`] and [`NodeFiles::routes`] would find wrong.
pub fn registries_conf(files: &[(&Path, &[u8])], reference: &Reference) -> Result<Places, NodeFileError> {
    let mut found = NodeFiles { registries_first: true, ..NodeFiles::default() };
    for (path, bytes) in files {
        found.registries.merge(RegistriesConf::parse(path, bytes)?);
    }
    found.routes(reference)
}
