//! The names of registries in the files of a node: how they become those of references, and Docker Hub's three names.

use super::error::Fault;
use crate::image::Reference;
use crate::image::reference::DOCKER_HUB;

/// The ports of the two schemes.
pub(super) const HTTPS: u16 = 443;
pub(super) const HTTP: u16 = 80;
/// What Docker Hub is called by images; its API is at the other name.
const HUB: &str = "docker.io";
const HUB_API: &str = "registry-1.docker.io";

/// A registry as the files name it: Docker Hub is `docker.io` there.
pub(super) fn hub_or(registry: &str) -> &str {
    if registry == DOCKER_HUB { HUB } else { registry }
}

/// A registry that is asked: credentials for Docker Hub are for the name that images have.
fn canonical(registry: &str) -> &str {
    let hub = [DOCKER_HUB, HUB_API].iter().any(|name| registry.eq_ignore_ascii_case(name));
    if hub { HUB } else { registry }
}

/// The reference as these files have it: the registry first, whatever it is.
pub(super) fn written(reference: &Reference) -> String {
    let separator = if reference.digest().is_some() { '@' } else { ':' };
    let registry = hub_or(reference.registry());
    format!("{registry}/{}{separator}{}", reference.repository(), reference.identifier())
}

/// The same image at another registry, and at no other.
pub(super) fn at(reference: &Reference, registry: &str) -> Result<Reference, Fault> {
    let separator = if reference.digest().is_some() { '@' } else { ':' };
    moved(reference, registry, &format!("/{}{separator}{}", reference.repository(), reference.identifier()))
}

/// The reference whose text is a location and what follows it; `of` is what it stands for.
pub(super) fn moved(of: &Reference, location: &str, rest: &str) -> Result<Reference, Fault> {
    let failed = |source| Fault::Location { location: location.to_owned(), reference: of.to_string(), source };
    let text = format!("{location}{rest}");
    let (host, path) = text.split_once('/').unwrap_or((&text, ""));
    let host = canonical(host);
    let there: Reference = format!("{host}/{path}").parse().map_err(|error| failed(Some(error)))?;
    // A first part without a dot and a colon is none to a reference, which would be Docker Hub's.
    if hub_or(there.registry()).eq_ignore_ascii_case(host) { Ok(there) } else { Err(failed(None)) }
}
