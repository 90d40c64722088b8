//! A status that is not there yet: waited for while the step waits, and at the turn only by who asked for nothing else.

use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::kube_api::{KubeApi, Late};
use crate::server::{Answer, Reply};
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

/// A step that waits for a file. Whatever becomes of the test, it does not wait for ever.
struct Waiting {
    step: Option<Step>,
    child: Option<Child>,
    before: PathBuf,
}

impl Waiting {
    fn start(world: &World, api: &KubeApi, flags: &[&str]) -> Self {
        let step = world.step(api).flags(flags.iter().copied());
        let before = step.path("before");
        let step = step.flags(["-wait_file", &before.display().to_string()]);
        Self { child: Some(step.start(&["--"])), step: Some(step), before }
    }

    /// Its turn comes once this is so, and the lookup has ended.
    fn turn(self, what: &str, so: impl FnMut() -> bool) -> Ended {
        eventually(what, so);
        looked_up(self.child.as_ref().unwrap());
        self.turn_now()
    }

    /// Its turn comes.
    fn turn_now(self) -> Ended {
        let before = self.before.clone();
        self.end_with(&before)
    }

    /// This file is there.
    fn end_with(mut self, file: &Path) -> Ended {
        std::fs::write(file, "").unwrap();
        let step = self.step.take().unwrap();
        step.finish(self.child.take().unwrap())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let Some(child) = &mut self.child else { return };
        let _ = child.kill();
        let _ = child.wait();
    }
}

#[test]
fn a_status_that_is_late_by_three_seconds_is_waited_for_while_the_step_waits() {
    let mut world = World::new();
    let new = world.image("new");
    let registry = world.serve(Content::tagged(&new));
    // After a second, and after two more.
    let api = late(&world, &world.named(&new.index), Late::Answers(2));
    let step = Waiting::start(&world, &api, &[]);
    let ended = step.turn("the pod is read until its status is there", || reads(&api) == 3);
    ran_silently(&ended, &new);
    assert_eq!(world.asked(&registry), AS_EVER, "the registry's answer was held");
    says(&ended, &verdict("same", Some("index"), "pod-status"));
}

#[test]
fn a_late_status_that_is_another_image_has_the_registry_asked_for_that() {
    let (world, old, new) = World::of_two();
    let registry = world.serve(Content::tagged(&new).image(&old));
    let api = late(&world, &world.named(&old.index), Late::Answers(2));
    let step = Waiting::start(&world, &api, &[]);
    let ended =
        step.turn("the old image is asked for", || world.asked(&registry).contains(&"blobs/<old config>".to_owned()));
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
    let step = Waiting::start(&world, &api, &[]);
    let ended = step
        .turn("the chosen image is asked for", || world.asked(&registry).contains(&"blobs/<old config>".to_owned()));
    ran_silently(&ended, &old);
    says(&ended, &verdict("same", Some("manifest"), "pod-status"));
}

#[test]
fn what_runs_is_asked_for_again_while_the_step_waits_if_the_registry_failed_at_it() {
    let (world, old, new) = World::of_two();
    let failing = Answer::new(405);
    let registry = world.serve(Content::tagged(&new).image(&old).odd_at_first(&old.index, failing));
    let api = world.pod(&world.named(&old.index));
    let step = Waiting::start(&world, &api, &[]);
    let ended =
        step.turn("the old image is asked for", || world.asked(&registry).contains(&"blobs/<old config>".to_owned()));
    ran_silently(&ended, &old);
    says(&ended, &verdict("moved", Some("index"), "pod-status"));
}

#[test]
fn at_the_turn_what_the_registry_failed_at_is_not_asked_for_again() {
    let (world, old, new) = World::of_two();
    let failing = Answer::new(429).header("Retry-After", "60");
    let registry = world.serve(Content::tagged(&new).odd(format!("manifests/{}", old.index), failing));
    let api = world.pod(&world.named(&old.index));
    let step = Waiting::start(&world, &api, &[]);
    let ended = step.turn("the tag's image is there", || world.asked(&registry).contains(&AS_EVER[2].to_owned()));
    ran_with_warning(&ended, &new, &[&old.index, "has been asked too often"]);
    assert_eq!(world.asked(&registry), [AS_EVER[0], "manifests/<old index>", AS_EVER[1], AS_EVER[2]]);
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
    let step = Waiting::start(&world, &api, &[]);
    let ended = step.turn("the pod is read again", || reads(&api) == 2);
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
    assert_eq!(
        world.asked(&registry),
        ["manifests/v1", "manifests/<old index>", "manifests/<old manifest>", "blobs/<old config>"],
        "nothing is asked for that is not run"
    );
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
    let step = Waiting::start(&world, &api, &["-image_pin_strict"]);
    let ended =
        step.turn("the old image is asked for", || world.asked(&registry).contains(&"blobs/<old config>".to_owned()));
    ran(&ended, &old);
    says(&ended, &verdict("moved", Some("index"), "pod-status"));
}

#[test]
fn a_strict_step_whose_turn_comes_before_its_status_waits_on() {
    let (world, old, new) = World::of_two();
    let _registry = world.serve(Content::tagged(&new).image(&old));
    let api = late(&world, &world.named(&old.index), Late::Answers(3));
    let step = Waiting::start(&world, &api, &["-image_pin_strict"]);
    let ended = step.turn("the pod is read again", || reads(&api) == 2);
    ran_silently(&ended, &old);
    assert!(reads(&api) >= 4);
    says(&ended, &verdict("moved", Some("index"), "pod-status"));
}

#[test]
fn a_pod_that_may_not_be_read_any_more_leaves_the_answer_that_is_held() {
    let (world, old, new) = World::of_two();
    let registry = world.serve(Content::tagged(&new));
    let cluster = world.cluster(&world.named(&old.index)).late("ci", "taskrun-pod", Late::Answers(1));
    let times = AtomicUsize::new(0);
    let api = cluster.start_with(move |cluster, request| match request.line() == GET_POD {
        true if times.fetch_add(1, Ordering::SeqCst) > 0 => unreadable().answer(request),
        _ => cluster.answer(request),
    });
    let step = Waiting::start(&world, &api, &[]);
    let ended = step.turn("the pod is read again", || reads(&api) == 2);
    ran_silently(&ended, &new);
    assert_eq!((world.asked(&registry), reads(&api)), (AS_EVER.map(str::to_owned).to_vec(), 2));
    says(&ended, &verdict("unknown", None, "registry"));
}

#[test]
fn a_step_that_waits_is_warned_once_of_what_its_registry_has_not() {
    let (world, old, new) = World::of_two();
    let registry = world.serve(Content::tagged(&new).lacks(format!("manifests/{}", old.index)));
    let api = late(&world, &world.named(&old.index), Late::Answers(1));
    let step = Waiting::start(&world, &api, &[]);
    let ended = step.turn("the old image is asked for", || {
        let asked = world.asked(&registry);
        asked.contains(&"manifests/<old index>".to_owned()) && asked.last().is_some_and(|last| last == AS_EVER[2])
    });
    ran_with_warning(&ended, &new, &[&old.index, "404"]);
    says(&ended, &verdict("moved", Some("index"), "registry"));
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
    let step = Waiting::start(&world, &api, &["-image_lookup_timeout", "10m"]);
    eventually("the pod is read again", || reads(&api) == 2);
    let since = Instant::now();
    let ended = step.turn_now();
    assert!(since.elapsed() < entrypoint::kube::CALL_DEADLINE / 2, "{:?}", since.elapsed());
    ran_silently(&ended, &new);
    assert_eq!(world.asked(&registry), AS_EVER);
    says(&ended, &verdict("unknown", None, "registry"));
}

#[test]
fn a_strict_step_whose_turn_comes_in_the_middle_of_a_reading_takes_nothing_that_is_held() {
    // The first answer is late, the second never comes, and the third says another image.
    let (world, old, new) = World::of_two();
    let _registry = world.serve(Content::tagged(&new).image(&old));
    let cluster = world.cluster(&world.named(&old.index)).late("ci", "taskrun-pod", Late::Answers(1));
    let times = AtomicUsize::new(0);
    let api = cluster.start_with(move |cluster, request| match request.line() == GET_POD {
        true if times.fetch_add(1, Ordering::SeqCst) == 1 => Reply::Stall(Vec::new()),
        _ => cluster.answer(request),
    });
    let step = Waiting::start(&world, &api, &["-image_pin_strict"]);
    eventually("the pod is read again", || reads(&api) == 2);
    let ended = step.turn_now();
    ran_silently(&ended, &old);
    says(&ended, &verdict("moved", Some("index"), "pod-status"));
}

#[test]
fn a_pod_that_may_not_be_read_is_not_read_again() {
    let mut world = World::new();
    let new = world.image("new");
    let registry = world.serve(Content::tagged(&new));
    let api = unreadable().start();
    let step = Waiting::start(&world, &api, &[]);
    let ended = step.turn("the image is found", || registry.lines().len() == 3);
    ran_silently(&ended, &new);
    assert_eq!(reads(&api), 1);
}

#[test]
fn a_held_answer_is_nothing_to_a_step_that_is_skipped() {
    let (world, old, new) = World::of_two();
    let _registry = world.serve(Content::tagged(&new));
    let api = late(&world, &world.named(&old.index), Late::For(Duration::from_secs(3600)));
    let step = Waiting::start(&world, &api, &[]);
    eventually("the pod is read again", || reads(&api) == 2);
    let skip = step.before.with_extension("err");
    let ended = step.end_with(&skip);
    assert_eq!((ended.code(), ended.err, ended.stdout.as_str()), (1, true, ""), "{ended:#?}");
    assert!(ended.message.as_deref().unwrap().contains(r#""Reason","value":"Skipped""#), "{ended:#?}");
}
