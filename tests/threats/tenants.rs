//! What somebody else on the node is shown.

use crate::place::{Place, basic};
use crate::server::{Answer, Bound, Request, Server};

#[test]
fn who_listens_on_loopback_in_the_place_of_a_registry_there_is_shown_its_password() {
    // With the network of the node, and under a name on loopback, plain http is spoken to whoever listens.
    let place = Place::new();
    let thief = Server::handler(Bound::new(), None, |_: &Request| Answer::new(401));
    let docker = place.docker_config(&thief.host());
    let ended = place.step(&thief.host()).env("DOCKER_CONFIG", &docker).run(&["--"]);
    assert!(ended.err, "{ended:#?}");
    assert!(thief.requests().iter().any(|request| request.header("Authorization") == Some(&basic())));
    // What the pod has for other names is not shown.
    let other = Server::handler(Bound::new(), None, |_: &Request| Answer::new(401));
    let ended = place.step(&other.host()).env("DOCKER_CONFIG", &docker).run(&["--"]);
    assert!(ended.err, "{ended:#?}");
    assert!(other.requests().iter().all(|request| request.header("Authorization").is_none()));
}
