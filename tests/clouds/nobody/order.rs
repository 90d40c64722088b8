//! What comes before a cloud's identity, and what remains where there is none.

use super::{ECR, PURPOSE, clouds_that_nobody_asks, docker_config, shows, unauthorized, with_every_identity};
use crate::world::World;

/// A registry of each cloud.
const REGISTRIES: [&str; 4] = ["eu.gcr.io", ECR, "public.ecr.aws", "team.azurecr.io"];

#[test]
fn no_cloud_is_asked_where_the_docker_config_opens_the_registry() {
    for registry in REGISTRIES {
        let Some(world) = World::new(PURPOSE) else { return };
        clouds_that_nobody_asks(&world);
        let docker = docker_config(&world, registry, "hunter2-hunter2");
        world.registry(registry, |request| {
            (!shows(request, "ann", "hunter2-hunter2")).then(|| unauthorized(r#"Basic realm="private""#))
        });
        let run = world.resolve(registry).env("DOCKER_CONFIG", docker);
        let told = with_every_identity(&world, run).told();
        assert!(told.found().contains("Credential  docker config /docker/config.json"), "{told:#?}");
        assert!(world.asked().iter().all(|line| line.starts_with(registry)), "{:?}", world.asked());
    }
}

#[cfg(feature = "kube")]
#[test]
fn no_cloud_is_asked_where_a_pull_secret_opens_the_registry() {
    use crate::kube_api::{Cluster, token};
    for registry in REGISTRIES {
        let Some(world) = World::new(PURPOSE) else { return };
        clouds_that_nobody_asks(&world);
        let cluster = Cluster::new()
            .service_account("ci", "builder", &["regcred"])
            .pull_secret("ci", "regcred", registry, "ann", &world.secret("hunter2-hunter2"))
            .allow("ci/builder", "serviceaccounts", &["builder"])
            .allow("ci/builder", "secrets", &["regcred"]);
        world.secure(&["kubernetes.default.svc"], move |request| cluster.answer(request));
        world.file("/sa/token", &world.secret(&token("ci", "builder")));
        world.file("/sa/namespace", "ci");
        world.file("/sa/ca.crt", &std::fs::read_to_string(world.path("/ca.crt")).unwrap());
        world.registry(registry, |request| {
            (!shows(request, "ann", "hunter2-hunter2")).then(|| unauthorized(r#"Basic realm="private""#))
        });
        let run = world
            .resolve(registry)
            .flags(&["-service_account_dir", "/sa"])
            .envs(&[("KUBERNETES_SERVICE_HOST", "kubernetes.default.svc"), ("KUBERNETES_SERVICE_PORT", "443")]);
        let told = with_every_identity(&world, run).told();
        assert!(told.found().contains("Credential  pull secret ci/regcred of the service account"), "{told:#?}");
    }
}

/// Where a note stands in the story that was told.
fn at(notes: &[&str], start: &str) -> usize {
    notes.iter().position(|note| note.starts_with(start)).unwrap_or_else(|| panic!("{start}: {notes:#?}"))
}

#[test]
fn what_the_pod_was_given_comes_first_its_identity_after_that_and_nobody_last() {
    let built = [cfg!(feature = "gcr"), cfg!(feature = "ecr"), cfg!(feature = "ecr"), cfg!(feature = "acr")];
    let clouds = ["Google", "Amazon", "Amazon", "Azure"].into_iter().zip(built);
    for (registry, (cloud, built)) in REGISTRIES.into_iter().zip(clouds) {
        let Some(world) = World::new(PURPOSE) else { return };
        let docker = docker_config(&world, registry, "hunter2-hunter2");
        world.registry(registry, |_| Some(unauthorized(r#"Basic realm="private""#)));
        let told = world.resolve(registry).env("DOCKER_CONFIG", docker).told();
        let said = told.failed();
        let notes: Vec<&str> = told.stdout.lines().filter_map(|line| line.strip_prefix("  ")).collect();
        let given = at(&notes, "docker config /docker/config.json");
        let nobody = at(&notes, "without a credential: refused: ");
        assert!(given < nobody, "{said}");
        let owned: Vec<usize> =
            notes.iter().enumerate().filter(|(_, note)| note.starts_with(cloud)).map(|(index, _)| index).collect();
        // A cloud that was not built is told of before anybody is asked.
        assert!(!owned.is_empty() && owned.iter().all(|index| *index < nobody), "{said}");
        assert!(owned.iter().all(|index| (*index > given) == built), "{said}");
        assert!(notes[given].contains("refused: "), "{said}");
    }
}

#[test]
fn a_public_image_is_found_by_nobody_where_there_is_no_cloud() {
    for registry in REGISTRIES {
        let Some(world) = World::new(PURPOSE) else { return };
        // Nobody listens at any metadata address: connections are refused at once.
        world.registry(registry, |request| {
            assert_eq!(request.header("Authorization"), None);
            None
        });
        let told = world.resolve(registry).told();
        eprintln!("{registry}, public, off every cloud: {:?}", told.took);
        told.found();
        assert!(told.stdout.contains("\nCredential  none was needed\n"), "{told:#?}");
    }
}
