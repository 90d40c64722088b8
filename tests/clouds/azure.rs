//! Azure's identities: works, hung, refused, rejected by the registry.

#[path = "azure/emulator.rs"]
mod emulator;
#[path = "azure/entra_id.rs"]
mod entra_id;
#[path = "azure/fails.rs"]
mod fails;
#[path = "azure/nearby.rs"]
mod nearby;
#[path = "azure/rejects.rs"]
mod rejects;
#[path = "azure/works.rs"]
mod works;

use self::emulator::{Acr, CLIENT, Proof, TENANT, Tokens, entra};
use crate::server::Answer;
use crate::world::{Run, World};

const PURPOSE: &str = "the tests of Azure's identities";
const TEAM: &str = "team.azurecr.io";
const ENTRA: &str = "login.microsoftonline.com";
const IMDS: &str = "169.254.169.254:80";

/// A client secret with every kind of letter that Entra ID puts into one, and those that a form must encode.
const CLIENT_SECRET: &str = "Xk2~Q8.aBcDeF_gHiJkLm+NoPq/RsT&uVw=";

/// A registry that accepts these tokens.
fn registry(world: &World, host: &str, accepts: &Tokens) -> Acr {
    let acr = Acr::new(world, host, accepts);
    serve(world, acr.clone());
    acr
}

fn serve(world: &World, acr: Acr) {
    world.registry(&acr.host.clone(), move |request| acr.door(request));
}

/// Entra ID at a host, which accepts this proof.
fn authority(world: &World, host: &'static str, proof: Proof, tokens: &Tokens) {
    let tokens = tokens.clone();
    world.secure(&[host], move |request| entra(request, host, &proof, &tokens));
}

/// A metadata server that is not to be asked.
fn nobody_asks_the_metadata_server(world: &World) {
    world.plain(IMDS, |request| -> Answer { panic!("asked {}", request.line()) });
}

fn by_secret<'w>(run: Run<'w>, secret: &str) -> Run<'w> {
    run.envs(&[("AZURE_TENANT_ID", TENANT), ("AZURE_CLIENT_ID", CLIENT), ("AZURE_CLIENT_SECRET", secret)])
}

/// With the variables that AKS puts into a pod, and the token's file.
fn by_token<'w>(world: &'w World, run: Run<'w>, token: &str) -> Run<'w> {
    let path = world.file("/var/run/secrets/azure/tokens/azure-identity-token", token);
    by_token_in(run, &path)
}

fn by_token_in<'w>(run: Run<'w>, path: &str) -> Run<'w> {
    run.envs(&[
        ("AZURE_TENANT_ID", TENANT),
        ("AZURE_CLIENT_ID", CLIENT),
        ("AZURE_FEDERATED_TOKEN_FILE", path),
        ("AZURE_AUTHORITY_HOST", "https://login.microsoftonline.com/"),
    ])
}
