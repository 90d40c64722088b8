//! A real registry behind a token service: by password, by identity token, and when neither is accepted.

use crate::images;
use crate::token_service::IDENTITY_TOKEN;
use crate::world::World;

/// The question that a lookup of `ci/echo` puts to the token service, as a GET.
const GET: &str = "GET /token?scope=repository%3Aci%2Fecho%3Apull&service=the+tests%27+registry";
const POST: &str = "POST /token";

/// The questions, each with whether a password or an identity token came along.
fn asked(world: &World) -> Vec<(String, bool)> {
    let requests = world.asked_for_tokens();
    requests
        .iter()
        .map(|request| (request.line(), request.header("Authorization").is_some() || request.method == "POST"))
        .collect()
}

/// As a table is written.
fn lines(lines: &[(&str, bool)]) -> Vec<(String, bool)> {
    lines.iter().map(|(line, shown)| ((*line).to_owned(), *shown)).collect()
}

#[test]
fn a_password_is_exchanged_for_one_token_that_serves_the_whole_lookup() {
    let Some(world) = World::with_tokens() else { return };
    world.two_steps("echo:1").ran(&world, "hello world\n");
    assert_eq!(asked(&world), lines(&[(GET, true)]));
}

#[test]
fn an_identity_token_is_posted_and_never_a_part_of_a_url() {
    let Some(world) = World::with_tokens() else { return };
    images::docker_config_with_identity(&world.path("docker"), world.host(), IDENTITY_TOKEN);
    world.two_steps("echo:1").ran(&world, "hello world\n");
    assert_eq!(asked(&world), lines(&[(POST, true)]));
    let [request] = &world.asked_for_tokens()[..] else { panic!("one request") };
    let mut form = request.form();
    form.sort();
    let expected = [
        ("client_id", "entrypoint"),
        ("grant_type", "refresh_token"),
        ("refresh_token", IDENTITY_TOKEN),
        ("scope", "repository:ci/echo:pull"),
        ("service", "the tests' registry"),
    ];
    assert_eq!(form, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
}

#[test]
fn a_wrong_password_is_told_with_whom_it_was_shown_and_nobody_is_tried_last() {
    let Some(world) = World::with_tokens() else { return };
    world.forget_password();
    let sentence = world.two_steps("echo:1").failure(&world);
    for words in ["401", "docker/config.json", world.host(), &world.token_service().host()] {
        assert!(sentence.contains(words), "no {words:?} in: {sentence}");
    }
    assert_eq!(asked(&world), lines(&[(GET, true), (GET, false)]));
}

#[test]
fn an_identity_token_that_is_not_accepted_is_told_too() {
    let Some(world) = World::with_tokens() else { return };
    images::docker_config_with_identity(&world.path("docker"), world.host(), crate::world::WRONG_PASSWORD);
    let sentence = world.two_steps("echo:1").failure(&world);
    for words in ["401", "docker/config.json", world.host()] {
        assert!(sentence.contains(words), "no {words:?} in: {sentence}");
    }
    // Some services know identity tokens only as the password of a GET.
    assert_eq!(asked(&world), lines(&[(POST, true), (GET, true), (GET, false)]));
}
