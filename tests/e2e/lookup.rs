//! Lookups at a real registry, and every way in which they fail: the next step is always released, and no secret is told.

use std::fs;

use nix::sys::signal::{Signal, kill};

use crate::step::eventually;
use crate::tls::Authority;
use crate::world::World;

#[test]
fn what_the_image_would_run_is_found() {
    let Some(world) = World::with_password(&["echo", "index", "cmd-only"]) else { return };
    for (image, printed) in [("echo:1", "hello world\n"), ("index:1", "hello world\n"), ("cmd-only:1", "cmd\n")] {
        world.two_steps(image).ran(&world, printed);
    }
}

#[test]
fn an_answer_that_names_no_command_fails_the_step() {
    let Some(world) = World::with_password(&["nothing", "elsewhere"]) else { return };
    for (image, words) in
        [("nothing:1", ["ENTRYPOINT", "CMD"]), ("elsewhere:1", ["linux/", "s390x"]), ("absent:1", ["404", "ci/absent"])]
    {
        let sentence = world.two_steps(image).failure(&world);
        for word in words.iter().copied().chain([world.host()]) {
            assert!(sentence.contains(word), "{word} is not in: {sentence}");
        }
    }
}

#[test]
fn a_registry_that_is_gone_fails_the_step() {
    let Some(mut world) = World::with_password(&["echo"]) else { return };
    world.registry.stop();
    let sentence = world.two_steps("echo:1").failure(&world);
    assert!(sentence.contains(world.host()) && sentence.contains("refused"), "{sentence}");
}

#[test]
fn a_wrong_password_fails_the_step() {
    let Some(world) = World::with_password(&["echo"]) else { return };
    world.forget_password();
    let sentence = world.two_steps("echo:1").failure(&world);
    for words in [world.host(), "401", "docker/config.json"] {
        assert!(sentence.contains(words), "no {words:?} in: {sentence}");
    }
}

#[test]
fn a_registry_with_an_unknown_authority_fails_the_step() {
    let Some(world) = World::with_password(&["echo"]) else { return };
    let stranger = Authority::new("somebody else").pem();
    fs::write(world.path("authority.pem"), stranger).expect("another authority");
    let sentence = world.two_steps("echo:1").failure(&world);
    assert!(sentence.contains(world.host()) && sentence.contains("certificate"), "{sentence}");
}

#[test]
fn a_lookup_that_is_killed_with_a_secret_in_its_hands_fails_the_step() {
    let Some(world) = World::with_tokens() else { return };
    world.token_service().hold();
    let steps = world.two_steps_and("echo:1", |first| {
        world.token_service().wait_for_held();
        kill(first.only_child(), Signal::SIGKILL).expect("the lookup is there");
    });
    let sentence = steps.failure(&world);
    assert!(sentence.contains("killed by SIGKILL"), "{sentence}");
}

#[test]
fn a_step_that_is_told_to_end_while_its_lookup_has_a_secret_in_its_hands_is_not_run() {
    let Some(world) = World::with_tokens() else { return };
    world.token_service().hold();
    let mut lookup = None;
    let steps = world.two_steps_and("echo:1", |first| {
        world.token_service().wait_for_held();
        lookup = Some(first.only_child());
        first.send(Signal::SIGTERM);
    });
    // It dies of the signal, as far as it can: as PID 1 of a container it would exit.
    assert_eq!((steps.first.code, steps.first.signal), (None, Some(Signal::SIGTERM as i32)), "{:?}", steps.first);
    let sentence = steps.not_run(&world, "Interrupted");
    assert!(sentence.contains("SIGTERM"), "{sentence}");
    let lookup = lookup.expect("the first step had started");
    eventually("the lookup's process is gone", || match kill(lookup, None) {
        Ok(()) => Err(format!("process {lookup} is there")),
        Err(_) => Ok(()),
    });
}
