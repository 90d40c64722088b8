//! A status that is not there yet: waited for while the step waits, and at the turn only by who asked for nothing else.

use std::process::Child;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::kube_api::{KubeApi, Late};
use crate::server::Reply;
use crate::step::{Ended, Step, eventually};
use crate::world::{
    Content, GET_POD, World, failed, looked_up, ran, ran_silently, ran_with_warning, reads, says, unreadable, verdict,
};

/// A tag's own three requests.
const AS_EVER: [&str; 3] = ["manifests/v1", "manifests/<new manifest>", "blobs/<new config>"];

/// A pod of whose container that is reported, but not in the first answers.
fn late(world: &World, image_id: &str, late: Late) -> KubeApi {
    world.cluster(image_id).late("ci", "taskrun-pod", late).start()
}

/// A step that waits for a file, and the file.
fn waiting(world: &World, api: &KubeApi, flags: &[&str]) -> (Step, std::path::PathBuf) {
    let step = world.step(api).flags(flags.iter().copied());
    let before = step.path("before");
    (step.flags(["-wait_file", &before.display().to_string()]), before)
}

/// Its turn comes once this is so, and the lookup has ended.
fn turn(step: Step, child: Child, before: &std::path::Path, what: &str, so: impl FnMut() -> bool) -> Ended {
    eventually(what, so);
    looked_up(&child);
    std::fs::write(before, "").unwrap();
    step.finish(child)
}

#[test]
fn a_status_that_is_late_by_three_seconds_is_waited_for_while_the_step_waits() {
    let mut world = World::new();
    let new = world.image("new");
    let registry = world.serve(Content::tagged(&new));
    // After a second, and after two more.
    let api = late(&world, &world.named(&new.index), Late::Answers(2));
    let (step, before) = waiting(&world, &api, &[]);
    let child = step.start(&["--"]);
    let ended = turn(step, child, &before, "the pod is read until its status is there", || reads(&api) == 3);
    ran_silently(&ended, &new);
    assert_eq!(world.asked(&registry), AS_EVER, "the registry's answer was held");
    says(&ended, &verdict("same", Some("index"), "pod-status"));
}

#[test]
fn a_late_status_that_is_another_image_has_the_registry_asked_for_that() {
    let (world, old, new) = World::of_two();
    let registry = world.serve(Content::tagged(&new).image(&old));
    let api = late(&world, &world.named(&old.index), Late::Answers(2));
    let (step, before) = waiting(&world, &api, &[]);
    let child = step.start(&["--"]);
    let ended = turn(step, child, &before, "the old image is asked for", || {
        world.asked(&registry).contains(&"blobs/<old config>".to_owned())
    });
    ran_silently(&ended, &old);
    assert_eq!(world.asked(&registry)[..3], AS_EVER);
    says(&ended, &verdict("moved", Some("index"), "pod-status"));
}

#[test]
fn a_late_status_that_is_another_image_of_the_tags_index_is_followed() {
    let (mut world, old, new) = World::of_two();
    let both = world.index("both", &[new.children[0].clone(), old.children[0].clone()]);
    let registry = world.serve(Content::default().tag(&both).image(&new).image(&old));
    let api = late(&world, &world.named(&old.manifest), Late::Answers(1));
    let (step, before) = waiting(&world, &api, &[]);
    let child = step.start(&["--"]);
    let ended = turn(step, child, &before, "the chosen image is asked for", || {
        world.asked(&registry).contains(&"blobs/<old config>".to_owned())
    });
    ran_silently(&ended, &old);
    says(&ended, &verdict("same", Some("manifest"), "pod-status"));
}

#[test]
fn at_the_turn_a_late_status_is_not_waited_for() {
    // Without a file to wait for it is the step's turn at once.
    let (world, old, new) = World::of_two();
    let registry = world.serve(Content::tagged(&new));
    let api = late(&world, &world.named(&old.index), Late::For(Duration::from_secs(3600)));
    let ended = world.run(&api, &[]);
    ran_silently(&ended, &new);
    assert_eq!((world.asked(&registry), reads(&api)), (AS_EVER.map(str::to_owned).to_vec(), 1));
    says(&ended, &verdict("unknown", None, "registry"));
    says(&ended, &json!({"runtime": {"container": "step-build", "imageID": ""}, "leadsTo": {"digest": new.index}}));
}

#[test]
fn a_turn_in_between_two_readings_of_the_pod_uses_the_answer_that_is_held() {
    let (world, old, new) = World::of_two();
    let registry = world.serve(Content::tagged(&new));
    let api = late(&world, &world.named(&old.index), Late::For(Duration::from_secs(3600)));
    let (step, before) = waiting(&world, &api, &[]);
    let child = step.start(&["--"]);
    let ended = turn(step, child, &before, "the pod is read again", || reads(&api) == 2);
    ran_silently(&ended, &new);
    assert_eq!(world.asked(&registry), AS_EVER);
    assert_eq!(reads(&api), 2, "the turn asks nobody");
    says(&ended, &verdict("unknown", None, "registry"));
}

#[test]
fn whoever_asked_for_the_pods_word_is_warned_that_it_came_too_late() {
    let (world, old, new) = World::of_two();
    let _registry = world.serve(Content::tagged(&new));
    let api = late(&world, &world.named(&old.index), Late::For(Duration::from_secs(3600)));
    let ended = world.run(&api, &["-image_pin=pod-status"]);
    ran_with_warning(&ended, &new, &["step-build"]);
    says(&ended, &verdict("unknown", None, "registry"));
}

#[test]
fn a_strict_step_waits_for_a_late_status_at_its_turn_too() {
    let (world, old, new) = World::of_two();
    let registry = world.serve(Content::tagged(&new).image(&old));
    let api = late(&world, &world.named(&old.index), Late::Answers(2));
    let ended = world.run(&api, &["-image_pin_strict"]);
    ran_silently(&ended, &old);
    assert_eq!(reads(&api), 3);
    assert_eq!(world.asked(&registry).last().unwrap(), "blobs/<old config>");
    says(&ended, &verdict("moved", Some("index"), "pod-status"));
}

#[test]
fn a_strict_step_whose_status_never_comes_fails_in_time_and_says_so() {
    let (world, old, new) = World::of_two();
    let _registry = world.serve(Content::tagged(&new).image(&old));
    let api = late(&world, &world.named(&old.index), Late::For(Duration::from_secs(3600)));
    let ended = world.run(&api, &["-image_pin_strict", "-image_lookup_timeout", "2s"]);
    failed(&ended, &["step-build", "-image_lookup_timeout", "2s"]);
    says(&ended, &json!({"match": "unknown", "command": null, "runtime": {"imageID": ""}}));
}

#[test]
fn a_strict_step_that_waits_gets_its_status_before_its_turn() {
    let (world, old, new) = World::of_two();
    let registry = world.serve(Content::tagged(&new).image(&old));
    let api = late(&world, &world.named(&old.index), Late::Answers(1));
    let (step, before) = waiting(&world, &api, &["-image_pin_strict"]);
    let child = step.start(&["--"]);
    let ended = turn(step, child, &before, "the old image is asked for", || {
        world.asked(&registry).contains(&"blobs/<old config>".to_owned())
    });
    ran(&ended, &old);
    says(&ended, &verdict("moved", Some("index"), "pod-status"));
}

#[test]
fn a_reading_of_the_pod_that_hangs_does_not_hold_the_step_at_its_turn() {
    // The first answer is late, and whoever asks again gets none.
    let (world, old, new) = World::of_two();
    let registry = world.serve(Content::tagged(&new));
    let cluster = world.cluster(&world.named(&old.index)).late("ci", "taskrun-pod", Late::Answers(1));
    let times = AtomicUsize::new(0);
    let api = cluster.start_with(move |cluster, request| match request.line() == GET_POD {
        true if times.fetch_add(1, Ordering::SeqCst) > 0 => Reply::Stall(Vec::new()),
        _ => cluster.answer(request),
    });
    let (step, before) = waiting(&world, &api, &["-image_lookup_timeout", "10m"]);
    let child = step.start(&["--"]);
    eventually("the pod is read again", || reads(&api) == 2);
    let since = Instant::now();
    std::fs::write(before, "").unwrap();
    let ended = step.finish(child);
    assert!(since.elapsed() < entrypoint::kube::CALL_DEADLINE, "{:?}", since.elapsed());
    ran_silently(&ended, &new);
    assert_eq!(world.asked(&registry), AS_EVER);
    says(&ended, &verdict("unknown", None, "registry"));
}

#[test]
fn a_pod_that_may_not_be_read_is_not_read_again() {
    let mut world = World::new();
    let new = world.image("new");
    let registry = world.serve(Content::tagged(&new));
    let api = unreadable().start();
    let (step, before) = waiting(&world, &api, &[]);
    let child = step.start(&["--"]);
    let ended = turn(step, child, &before, "the image is found", || registry.lines().len() == 3);
    ran_silently(&ended, &new);
    assert_eq!(reads(&api), 1);
}

#[test]
fn a_held_answer_is_nothing_to_a_step_that_is_skipped() {
    let (world, old, new) = World::of_two();
    let _registry = world.serve(Content::tagged(&new));
    let api = late(&world, &world.named(&old.index), Late::For(Duration::from_secs(3600)));
    let (step, before) = waiting(&world, &api, &[]);
    let child = step.start(&["--"]);
    eventually("the pod is read again", || reads(&api) == 2);
    std::fs::write(before.with_extension("err"), "").unwrap();
    let ended = step.finish(child);
    assert_eq!((ended.code(), ended.err, ended.stdout.as_str()), (1, true, ""), "{ended:#?}");
    assert!(ended.message.as_deref().unwrap().contains(r#""Reason","value":"Skipped""#), "{ended:#?}");
}
