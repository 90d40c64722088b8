//! Where an image is asked for, and in which order: a function of the command line, the runner's variables and what nodes
//! know. Nobody is asked here.

mod runner;

use super::{Api, Origin, Route, RouteTrust, Scheme};
use crate::credential::Note;
use crate::host::Env;
use crate::image::Reference;
use crate::image::reference::{DOCKER_HUB, ReferenceError};
use crate::spec::{MapRule, MapTarget};

/// Where an image is asked for besides its own registry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Places {
    /// The places, in order.
    pub routes: Vec<Route>,
    /// What there is to tell: a rule that leads nowhere, for example.
    pub notes: Vec<Note>,
}

/// What the command line says of places.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rules<'a> {
    /// `-image_registry_map`, in order.
    pub map: &'a [MapRule],
    /// `-image_registry_mirror`, in order.
    pub mirrors: &'a [MapTarget],
    /// `-image_registry_map_only`: a registry that is mapped, or has mirrors, is itself left alone.
    pub only: bool,
}

/// Why a rule has no place for an image.
#[derive(Debug, thiserror::Error)]
enum NoPlace {
    #[error("it leads to no image")]
    Reference(#[from] ReferenceError),
    #[error("{registry:?} is not how a registry is named: it has neither a dot nor a port")]
    Name { registry: String },
}

/// Where an image is asked for, in order: the map's places, the mirrors, the runner's, those that files of a node name,
/// and its own registry at last. A place is not mapped again, and none stands there twice.
#[must_use]
pub fn routes(reference: &Reference, rules: &Rules<'_>, runner: Places, files: Places) -> Places {
    let mut all = Places::default();
    let mapped = mapped(reference, rules, &mut all);
    // Files that name places say themselves whether the registry is one of them.
    let told = !files.routes.is_empty();
    for Places { routes, notes } in [runner, files] {
        all.routes.extend(routes);
        all.notes.extend(notes);
    }
    if !told {
        all.routes.push(Route::direct(reference.clone()));
    }
    if rules.only && mapped {
        let named = |route: &Route| matches!(route.origin, Origin::Map | Origin::Mirror);
        all.routes.retain(|route| named(route) || route.reference.registry() != reference.registry());
    }
    Places { routes: each_once(all.routes), notes: all.notes }
}

/// Where the variables of a runner's container hooks send an image that is named by its node's port.
#[must_use]
pub fn runner(env: &Env, reference: &Reference) -> Places {
    runner::places(env, reference)
}

/// The places that the command line names; whether it names any.
fn mapped(reference: &Reference, rules: &Rules<'_>, places: &mut Places) -> bool {
    let of_image = |rule: &'_ MapRule| (rule.registry == reference.registry()).then(|| beyond(reference, &rule.prefix));
    let mut map: Vec<_> = rules.map.iter().filter_map(|rule| Some((rule, of_image(rule)??))).collect();
    // The most particular first; of two that are equally so, the first. The sort is stable.
    map.sort_by_key(|(rule, _)| std::cmp::Reverse(rule.prefix.len()));
    let map = map.into_iter().map(|(rule, rest)| {
        let written = format!("{} {}={}", Origin::Map, path(&rule.registry, &rule.prefix), shown(&rule.target));
        (Origin::Map, &rule.target, rest, written)
    });
    let mirrors = if reference.registry() == DOCKER_HUB { rules.mirrors } else { &[] };
    let mirrors = mirrors.iter().map(|target| {
        (Origin::Mirror, target, reference.repository(), format!("{} {}", Origin::Mirror, shown(target)))
    });
    let mut any = false;
    for (origin, target, rest, written) in map.chain(mirrors) {
        any = true;
        match at(reference, &target.registry, &path(&target.prefix, rest)) {
            Ok(reference) => places.routes.push(Route {
                reference,
                api: Api { scheme: scheme(target), ..Api::default() },
                trust: RouteTrust::default(),
                credentials: true,
                origin,
            }),
            Err(error) => places.notes.push(Note::failed(written, &error)),
        }
    }
    any
}

/// What is left of a repository behind a prefix of whole segments.
fn beyond<'r>(reference: &'r Reference, prefix: &str) -> Option<&'r str> {
    let rest = reference.repository().strip_prefix(prefix)?;
    if prefix.is_empty() || rest.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
}

/// The image as a place names it.
fn at(reference: &Reference, registry: &str, repository: &str) -> Result<Reference, NoPlace> {
    let place = reference.at(registry, repository)?;
    // A first part that is no registry's name would be a part of a repository of Docker Hub's.
    let meant = registry.eq_ignore_ascii_case(place.registry()) || registry.eq_ignore_ascii_case("docker.io");
    if meant { Ok(place) } else { Err(NoPlace::Name { registry: registry.to_owned() }) }
}

fn scheme(target: &MapTarget) -> Scheme {
    match target.https {
        None => Scheme::Usual,
        Some(true) => Scheme::Https,
        Some(false) => Scheme::Http,
    }
}

/// Each place where it stands first: a map to itself with a scheme says how a registry is spoken to. One that may be shown nothing does not stand for one that may.
fn each_once(routes: Vec<Route>) -> Vec<Route> {
    let mut each: Vec<Route> = Vec::new();
    for route in routes {
        let same = |earlier: &Route| {
            earlier.reference.to_string() == route.reference.to_string()
                && (&earlier.api.path, &earlier.api.namespace) == (&route.api.path, &route.api.namespace)
                && (earlier.credentials || !route.credentials)
        };
        if !each.iter().any(same) {
            each.push(route);
        }
    }
    each
}

/// A target as it is written.
fn shown(target: &MapTarget) -> String {
    let scheme = match target.https {
        None => "",
        Some(true) => "https://",
        Some(false) => "http://",
    };
    format!("{scheme}{}", path(&target.registry, &target.prefix))
}

/// Two parts of a path, either of which may be empty.
fn path(first: &str, rest: &str) -> String {
    let separator = if first.is_empty() || rest.is_empty() { "" } else { "/" };
    format!("{first}{separator}{rest}")
}

#[cfg(test)]
#[path = "routes/tests.rs"]
mod tests;
