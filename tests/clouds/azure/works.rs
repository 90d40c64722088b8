//! Each identity opens the registry, in each cloud and in each way that registries know.

use std::time::Duration;

use super::emulator::{
    Acr, CLIENT, MANAGER, OBJECT, Proof, REGISTRIES, TENANT, Tokens, endpoint, entra, federated, metadata, now,
};
use super::{
    CLIENT_SECRET, ENTRA, IMDS, PURPOSE, TEAM, authority, by_secret, by_token, nobody_asks_the_metadata_server,
    registry, serve,
};
use crate::world::World;

#[test]
fn a_client_secret_opens_the_registry() {
    let Some(world) = World::new(PURPOSE) else { return };
    let tokens = Tokens::new(&world, &[REGISTRIES]);
    let secret = world.secret(CLIENT_SECRET);
    nobody_asks_the_metadata_server(&world);
    authority(&world, ENTRA, Proof::Secret(secret.clone()), &tokens);
    registry(&world, TEAM, &tokens);
    let told = by_secret(world.resolve(TEAM), &secret).told();
    let line = format!("Azure client secret of application {CLIENT} in tenant {TENANT}: accepted by {TEAM}:443");
    assert!(told.found().contains(&line), "{told:#?}");
    let asked: Vec<_> = world.asked().into_iter().filter(|line| !line.contains("/v2/")).collect();
    assert_eq!(
        asked,
        [
            format!("{ENTRA} POST /{TENANT}/oauth2/v2.0/token"),
            format!("{TEAM} POST /oauth2/exchange"),
            format!("{TEAM} POST /oauth2/token"),
        ]
    );
}

#[test]
fn workload_identity_opens_the_registry() {
    let Some(world) = World::new(PURPOSE) else { return };
    let tokens = Tokens::new(&world, &[REGISTRIES]);
    let token = federated(&world, now() - 60, now() + 3600);
    nobody_asks_the_metadata_server(&world);
    authority(&world, ENTRA, Proof::Assertion(token.clone()), &tokens);
    registry(&world, TEAM, &tokens);
    let told = by_token(&world, world.resolve(TEAM), &format!("{token}\n")).told();
    let line = format!("Azure workload identity {CLIENT} in tenant {TENANT}: accepted by {TEAM}:443");
    assert!(told.found().contains(&line), "{told:#?}");
}

#[test]
fn a_registry_of_another_cloud_has_that_clouds_authority() {
    for (host, authority_host, manager) in [
        ("team.azurecr.us", "login.microsoftonline.us", "https://management.usgovcloudapi.net"),
        ("team.azurecr.cn", "login.chinacloudapi.cn", "https://management.chinacloudapi.cn"),
    ] {
        let Some(world) = World::new(PURPOSE) else { return };
        // The registries are no audience there: the resource manager is.
        let tokens = Tokens::new(&world, &[manager]);
        let secret = world.secret(CLIENT_SECRET);
        authority(&world, authority_host, Proof::Secret(secret.clone()), &tokens);
        registry(&world, host, &tokens);
        by_secret(world.resolve(host), &secret).told().found();
    }
    // What the environment names comes before what the host says.
    let Some(world) = World::new(PURPOSE) else { return };
    let tokens = Tokens::new(&world, &[REGISTRIES]);
    let secret = world.secret(CLIENT_SECRET);
    authority(&world, "login.microsoftonline.us", Proof::Secret(secret.clone()), &tokens);
    registry(&world, TEAM, &tokens);
    let run = by_secret(world.resolve(TEAM), &secret).env("AZURE_AUTHORITY_HOST", "https://login.microsoftonline.us");
    run.told().found();
}

#[test]
fn the_nodes_identity_opens_the_registry() {
    for client in [None, Some(CLIENT)] {
        let Some(world) = World::new(PURPOSE) else { return };
        let tokens = Tokens::new(&world, &[REGISTRIES]);
        let served = tokens.clone();
        world.plain(IMDS, move |request| metadata(request, client, &served));
        serve(&world, Acr { tenant: None, ..Acr::new(&world, TEAM, &tokens) });
        let mut run = world.resolve(TEAM);
        // A proxy is for others.
        run = run.env("HTTP_PROXY", "http://127.0.0.1:9");
        if let Some(client) = client {
            run = run.env("AZURE_CLIENT_ID", client);
        }
        let told = run.told();
        let named = client.map(|client| format!(" {client}")).unwrap_or_default();
        let line = format!(
            "Azure managed identity{named} from the metadata server 169.254.169.254 (application {CLIENT}, object \
             {OBJECT}, tenant {TENANT}): accepted by {TEAM}:443"
        );
        assert!(told.found().contains(&line), "{told:#?}");
    }
}

#[test]
fn a_slow_metadata_server_is_waited_for() {
    let Some(world) = World::new(PURPOSE) else { return };
    let tokens = Tokens::new(&world, &[REGISTRIES]);
    let served = tokens.clone();
    world.plain(IMDS, move |request| {
        std::thread::sleep(Duration::from_millis(1500));
        metadata(request, None, &served)
    });
    serve(&world, Acr { tenant: None, ..Acr::new(&world, TEAM, &tokens) });
    world.resolve(TEAM).told().found();
}

#[test]
fn the_endpoint_beside_a_container_opens_the_registry() {
    let Some(world) = World::new(PURPOSE) else { return };
    let tokens = Tokens::new(&world, &[REGISTRIES]);
    let served = tokens.clone();
    let header = world.secret("Xh4~header.of_the-endpoint.91");
    let expected = header.clone();
    nobody_asks_the_metadata_server(&world);
    world.plain("127.0.0.1:42356", move |request| endpoint(request, &expected, &served));
    serve(&world, Acr { tenant: None, ..Acr::new(&world, TEAM, &tokens) });
    let run = world.resolve(TEAM).env("IDENTITY_ENDPOINT", "http://localhost:42356/msi/token");
    let told = run.env("IDENTITY_HEADER", header).told();
    assert!(told.found().contains("from IDENTITY_ENDPOINT http://localhost:42356 (application"), "{told:#?}");
}

#[test]
fn a_registry_that_knows_passwords_only_is_shown_one() {
    for status in [400, 405] {
        let Some(world) = World::new(PURPOSE) else { return };
        let tokens = Tokens::new(&world, &[REGISTRIES]);
        let secret = world.secret(CLIENT_SECRET);
        authority(&world, ENTRA, Proof::Secret(secret.clone()), &tokens);
        serve(&world, Acr { no_post: Some(status), ..Acr::new(&world, TEAM, &tokens) });
        let told = by_secret(world.resolve(TEAM), &secret).told();
        assert!(told.found().contains(", as a password: accepted by team.azurecr.io:443"), "{told:#?}");
    }
}

#[test]
fn a_token_for_the_resource_manager_is_the_second_try() {
    // The tenant does not know the registries as an audience.
    let Some(world) = World::new(PURPOSE) else { return };
    let tokens = Tokens::new(&world, &[MANAGER]);
    let token = federated(&world, now() - 60, now() + 3600);
    authority(&world, ENTRA, Proof::Assertion(token.clone()), &tokens);
    registry(&world, TEAM, &tokens);
    by_token(&world, world.resolve(TEAM), &token).told().found();

    // The metadata server does not.
    let Some(world) = World::new(PURPOSE) else { return };
    let tokens = Tokens::new(&world, &[MANAGER]);
    let served = tokens.clone();
    world.plain(IMDS, move |request| metadata(request, None, &served));
    serve(&world, Acr { tenant: None, ..Acr::new(&world, TEAM, &tokens) });
    world.resolve(TEAM).told().found();

    // The registry takes none but the resource manager's.
    let Some(world) = World::new(PURPOSE) else { return };
    let tokens = Tokens::new(&world, &[REGISTRIES, MANAGER]);
    let secret = world.secret(CLIENT_SECRET);
    authority(&world, ENTRA, Proof::Secret(secret.clone()), &tokens);
    registry(&world, TEAM, &tokens.only(MANAGER));
    by_secret(world.resolve(TEAM), &secret).told().found();
}

#[test]
fn the_next_identity_is_asked_where_the_first_has_nothing() {
    let Some(world) = World::new(PURPOSE) else { return };
    let tokens = Tokens::new(&world, &[REGISTRIES]);
    let secret = world.secret("Xo9~old.8Q-zvK_7rT.mB2c=");
    let token = federated(&world, now() - 60, now() + 3600);
    let (old, good, served) = (secret.clone(), token.clone(), tokens.clone());
    nobody_asks_the_metadata_server(&world);
    world.secure(&[ENTRA], move |request| {
        if request.form().contains(&("client_secret".to_owned(), old.clone())) {
            return super::emulator::aadsts(
                401,
                "invalid_client",
                7_000_222,
                "The provided client secret keys are expired.",
            );
        }
        entra(request, ENTRA, &Proof::Assertion(good.clone()), &served)
    });
    registry(&world, TEAM, &tokens);
    let run = by_token(&world, world.resolve(TEAM), &token).env("AZURE_CLIENT_SECRET", secret);
    let told = run.told();
    assert!(told.found().contains("Azure workload identity"), "{told:#?}");
    assert!(
        told.stdout.contains(
            "answered 401: AADSTS7000222: The provided client secret keys are expired; the application needs"
        ),
        "{told:#?}"
    );
}
