//! Registries that no cloud owns, and hosts that are built to look as if one did.

use crate::server::Answer;
use crate::world::World;

const PURPOSE: &str = "the tests of the clouds' identities";

#[test]
fn a_registry_of_no_cloud_is_asked_alone() {
    let Some(world) = World::new(PURPOSE) else { return };
    world.plain("169.254.169.254:80", |request| -> Answer { panic!("asked {}", request.line()) });
    world.registry("registry.example", |_| None);
    let told = world.resolve("registry.example").told();
    told.found();
    assert!(world.asked().iter().all(|line| line.starts_with("registry.example ")), "{:?}", world.asked());
}
