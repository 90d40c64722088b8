//! `-image_credential_helpers`: which clouds may be asked.

use super::{ECR, PURPOSE, clouds_that_nobody_asks, unauthorized, with_every_identity};
use crate::world::World;

/// Each cloud's registry, its word, and whether this build has it.
const CLOUDS: [(&str, &str, &str, bool); 3] = [
    ("eu.gcr.io", "Google", "google", cfg!(feature = "gcr")),
    (ECR, "Amazon", "ecr", cfg!(feature = "ecr")),
    ("team.azurecr.io", "Azure", "acr", cfg!(feature = "acr")),
];

/// A registry that nobody may come into, asked with these flags: nobody else is asked, and that is told so.
fn is_not_asked(registry: &str, flags: &[&str], note: &str) {
    let Some(world) = World::new(PURPOSE) else { return };
    clouds_that_nobody_asks(&world);
    world.registry(registry, |_| Some(unauthorized(r#"Basic realm="private""#)));
    let told = with_every_identity(&world, world.resolve(registry)).flags(flags).told();
    let said = told.failed();
    assert!(told.stdout.contains(&format!("\n  {note}\n")) && told.stderr.contains(note), "{note}: {said}");
    assert!(world.asked().iter().all(|line| line.starts_with(registry)), "{:?}", world.asked());
}

#[test]
fn a_cloud_that_the_flag_does_not_name_is_not_asked_and_that_is_told_with_the_flag() {
    for (registry, cloud, word, built) in CLOUDS {
        if !built {
            continue;
        }
        let note = format!("{cloud} identity: not asked: -image_credential_helpers does not name {word}");
        is_not_asked(registry, &["-image_credential_helpers="], &note);
        let others = CLOUDS.iter().filter(|(_, _, other, built)| *other != word && *built);
        for (_, _, other, _) in others {
            is_not_asked(registry, &["-image_credential_helpers", other], &note);
        }
    }
}

#[test]
fn a_cloud_that_was_not_built_is_not_asked_and_that_is_told_with_the_feature() {
    for ((registry, cloud, _, built), feature) in CLOUDS.into_iter().zip(["gcr", "ecr", "acr"]) {
        if !built {
            let note = format!("{cloud} identity: not asked: this entrypoint was built without the feature {feature}");
            is_not_asked(registry, &[], &note);
        }
    }
}

#[test]
fn a_word_of_the_flag_that_is_not_known_or_not_built_is_a_usage_error() {
    let Some(world) = World::new(PURPOSE) else { return };
    clouds_that_nobody_asks(&world);
    let refused = |value: &str| {
        let told = world.resolve("eu.gcr.io").flags(&["-image_credential_helpers", value]).told();
        assert_eq!((told.code, told.stdout.as_str()), (Some(2), ""), "{value}: {told:#?}");
        let start = format!("invalid value {value:?} for flag -image_credential_helpers: ");
        // Behind the time.
        let line = told.stderr.lines().find_map(|line| line.split_once(&start));
        line.map(|(_, reason)| reason.to_owned()).unwrap_or_else(|| panic!("{value}: {told:#?}"))
    };
    let unknown = refused("gcr");
    for word in ["google", "ecr", "acr"] {
        assert!(unknown.contains(word), "{unknown}");
    }
    assert_eq!(refused("google,aws"), if cfg!(feature = "gcr") { unknown.clone() } else { refused("google") });
    for ((_, _, word, built), feature) in CLOUDS.into_iter().zip(["gcr", "ecr", "acr"]) {
        if !built {
            assert!(refused(word).contains(&format!("built without the feature {feature}")), "{}", refused(word));
        }
    }
}
