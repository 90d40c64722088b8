//! The registry of a runner's container hooks: pushed to by its service's name, pulled by kubelet through a port of the node.
//!
//! Images are named `localhost:NODE_PORT/...` then, which is the registry for the node and nobody for the pod. The runner's
//! pod template has the variables that say where it is:
//! <https://github.com/actions/runner-container-hooks/tree/main/docs/adrs>. An image can set them too, so they
//! are believed of names on localhost alone, and nobody is shown anything there.

use std::str::FromStr;

use super::{NoPlace, Places, at};
use crate::credential::Note;
use crate::host::Env;
use crate::image::{Reference, shown};
use crate::registry::{Api, Origin, Route, RouteTrust, Scheme};

/// Host, port and the node's port, by the names that they have in one place or another.
const BY_PORTS: [[&str; 3]; 2] = [
    [
        "ACTIONS_RUNNER_CONTAINER_HOOKS_REGISTRY_HOST",
        "ACTIONS_RUNNER_CONTAINER_HOOKS_REGISTRY_PORT",
        "ACTIONS_RUNNER_CONTAINER_HOOKS_REGISTRY_NODE_PORT",
    ],
    [
        "ACTIONS_RUNNER_CONTAINER_HOOKS_LOCAL_REGISTRY_HOST",
        "ACTIONS_RUNNER_CONTAINER_HOOKS_LOCAL_REGISTRY_PORT",
        "ACTIONS_RUNNER_CONTAINER_HOOKS_LOCAL_REGISTRY_NODE_PORT",
    ],
];
/// Where images are pushed to, and where they are pulled from.
const PUSH: &str = "ACTIONS_RUNNER_CONTAINER_HOOKS_K8S_REGISTRY_HOST_PUSH";
const PULL: &str = "ACTIONS_RUNNER_CONTAINER_HOOKS_K8S_REGISTRY_HOST_PULL";

/// The names of this machine that images are found under: one for all.
const LOCAL: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// Why a variable has no effect.
#[derive(Debug, thiserror::Error)]
enum Unused {
    #[error("without effect, because {0} is not set")]
    Alone(&'static str),
    #[error("without effect: it is not UTF-8")]
    Encoding,
    #[error("without effect: {0:?} is not a port")]
    Port(String),
    #[error(
        "without effect: {0:?} is not localhost, 127.0.0.1 or [::1] with an optional port; other registries are mapped by \
         -image_registry_map"
    )]
    NotHere(String),
    #[error("without effect")]
    NoPlace(#[from] NoPlace),
}

/// A variable, and why it has no effect.
type Fault = (&'static str, Unused);

/// A registry on this machine: its port, if it has one.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Local(Option<u16>);

/// Where the runner says that an image is to be asked for.
pub(super) fn places(env: &Env, reference: &Reference) -> Places {
    let mut places = Places::default();
    let local = reference.registry().parse().ok();
    let by_ports = BY_PORTS.iter().filter_map(|names| Some((names[0], by_ports(env, local?, names))));
    for (variable, target) in by_ports.chain([(PUSH, by_hosts(env, reference, local))]) {
        let route = target.and_then(|target| match target {
            Some(registry) => route(reference, &registry, variable).map_err(|why| (variable, why)),
            None => Ok(None),
        });
        match route {
            Ok(route) => places.routes.extend(route),
            Err((variable, why)) => places.notes.push(Note::failed(variable, &why)),
        }
    }
    places
}

/// Host and port of the registry whose port on the node is the image's.
fn by_ports(env: &Env, local: Local, &[host, port, node_port]: &[&'static str; 3]) -> Result<Option<String>, Fault> {
    let (registry, at_port, key) = match (text(env, host)?, text(env, port)?, text(env, node_port)?) {
        (Some(registry), Some(at_port), Some(key)) => (registry, at_port, key),
        (None, None, None) => return Ok(None),
        (Some(_), Some(_), None) => return Err((host, Unused::Alone(node_port))),
        (Some(_), None, _) => return Err((host, Unused::Alone(port))),
        (None, Some(_), _) => return Err((port, Unused::Alone(host))),
        (None, None, Some(_)) => return Err((node_port, Unused::Alone(host))),
    };
    let number = |name, text: &str| number(text).ok_or_else(|| (name, Unused::Port(shown(text, 100))));
    let (at_port, key) = (number(port, at_port)?, number(node_port, key)?);
    Ok((local == Local(Some(key))).then(|| format!("{registry}:{at_port}")))
}

/// Where images are pushed to that are pulled as this one is.
fn by_hosts(env: &Env, reference: &Reference, local: Option<Local>) -> Result<Option<String>, Fault> {
    let named = || env.get(PULL).is_some_and(|pull| pull.eq_ignore_ascii_case(reference.registry()));
    // What is on another machine is nobody's business here, unless somebody has meant it to be.
    if local.is_none() && !named() {
        return Ok(None);
    }
    let (push, pull) = match (text(env, PUSH)?, text(env, PULL)?) {
        (Some(push), Some(pull)) => (push, pull),
        (None, None) => return Ok(None),
        (Some(_), None) => return Err((PUSH, Unused::Alone(PULL))),
        (None, Some(_)) => return Err((PULL, Unused::Alone(PUSH))),
    };
    let key: Local = pull.parse().map_err(|()| (PULL, Unused::NotHere(shown(pull, 100))))?;
    // The bare name of a service: with its port it is a registry's name.
    let port = if push.contains(['.', ':']) || push == LOCAL[0] { "" } else { ":80" };
    Ok((local == Some(key)).then(|| format!("{push}{port}")))
}

/// The place, which is shown nothing; none where the image's own name leads to it already.
fn route(reference: &Reference, registry: &str, variable: &'static str) -> Result<Option<Route>, Unused> {
    let place = at(reference, registry, reference.repository())?;
    if place.registry().parse().ok() == reference.registry().parse::<Local>().ok() {
        return Ok(None);
    }
    Ok(Some(Route {
        reference: place,
        api: Api { scheme: Scheme::Http, ..Api::default() },
        trust: RouteTrust::default(),
        credentials: false,
        origin: Origin::Runner(variable),
    }))
}

/// A variable that is set and not empty.
fn text<'e>(env: &'e Env, name: &'static str) -> Result<Option<&'e str>, Fault> {
    let value = env.get(name).filter(|value| !value.is_empty());
    value.map(|value| value.to_str().ok_or((name, Unused::Encoding))).transpose()
}

fn number(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port > 0)
}

impl FromStr for Local {
    type Err = ();

    fn from_str(registry: &str) -> Result<Self, ()> {
        let registry = registry.to_ascii_lowercase();
        let port = LOCAL.iter().find_map(|name| registry.strip_prefix(name)).ok_or(())?;
        match port.strip_prefix(':') {
            Some(port) => number(port).map(|port| Self(Some(port))).ok_or(()),
            None if port.is_empty() => Ok(Self(None)),
            None => Err(()),
        }
    }
}
