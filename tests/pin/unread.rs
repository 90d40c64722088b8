//! A pod that is not read, or not as a pod: by default the registry's word is taken and a note says why; whoever asked for
//! the pod's is warned, and whoever wants nothing else gets a sentence.

use serde_json::json;

use crate::kube_api::Cluster;
use crate::server::{Answer, Reply};
use crate::world::{
    Content, World, failed, notes_say, ran, ran_silently, ran_with_warning, report, says, unreadable, verdict,
};

/// Each way of asking, of a pod that is not read for a reason that has these parts in it. Where time might mend that, a
/// strict step gives it time.
fn not_read(cluster: impl Fn(&World, &str) -> Cluster, flags: &[&str], parts: &[&str]) {
    let strict = ["-image_pin_strict", "-image_lookup_timeout", "2s"];
    for pin in [&[][..], &["-image_pin=pod-status"], &strict] {
        let (world, old, new) = World::of_two();
        let registry = world.serve(Content::tagged(&new).image(&old));
        let api = cluster(&world, &world.named(&old.index)).start();
        let ended = world.run(&api, &[flags, pin].concat());
        match pin {
            [] => ran_silently(&ended, &new),
            ["-image_pin=pod-status"] => ran_with_warning(&ended, &new, parts),
            _ => {
                failed(&ended, parts);
                says(&ended, &json!({"match": "unknown", "command": null, "runtime": null}));
                continue;
            }
        }
        assert_eq!(world.asked(&registry), ["manifests/v1", "manifests/<new manifest>", "blobs/<new config>"]);
        says(&ended, &verdict("unknown", None, "registry"));
        says(&ended, &json!({"runtime": null, "leadsTo": {"digest": new.index}}));
        for part in parts {
            notes_say(&ended, part);
        }
    }
}

/// A cluster whose API server answers with this for the pod.
fn odd(reply: impl Into<Reply>) -> impl Fn(&World, &str) -> Cluster {
    let reply = reply.into();
    move |world, id| world.cluster(id).odd("ci", "pods", "taskrun-pod", reply.clone())
}

#[test]
fn a_pod_that_may_not_be_read_names_the_role_that_is_missing() {
    not_read(|_, _| unreadable(), &[], &["ci/builder", "ci/taskrun-pod", "a Role with get on pods is needed"]);
}

#[test]
fn a_pod_that_the_cluster_has_not_is_a_reason() {
    not_read(odd(Answer::json(r#"{"kind":"Status","code":404}"#).with_status(404)), &[], &["no pod of this name"]);
}

#[test]
fn a_pod_api_that_hangs_leaves_the_registry_its_time() {
    not_read(odd(Reply::Stall(Vec::new())), &["-image_lookup_timeout", "3s"], &["within"]);
}

#[test]
fn a_pod_api_that_hangs_in_the_middle_of_its_answer_leaves_the_registry_its_time() {
    let begun = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 5000\r\n\r\n{\"kind\":\"Pod\",";
    not_read(odd(Reply::Stall(begun.to_vec())), &["-image_lookup_timeout", "3s"], &["within"]);
}

#[test]
fn a_pod_that_is_no_json_is_a_reason() {
    for body in ["<html>Welcome!</html>", "", r#"{"kind":"Pod","spec":[]}"#] {
        not_read(odd(Answer::json(body)), &[], &["something else than the object"]);
    }
}

#[test]
fn a_pod_without_an_end_is_a_reason() {
    let head =
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n{\"kind\":\"Pod\",\"x\":\"";
    not_read(odd(Reply::Endless(head.to_vec(), vec![b'x'; 1 << 16])), &[], &["2"]);
}

#[test]
fn an_api_server_in_trouble_is_a_reason() {
    not_read(odd(Answer::new(500)), &[], &["500"]);
    not_read(odd(Reply::Close), &[], &["cannot be asked"]);
}

#[test]
fn a_step_outside_of_a_cluster_has_no_pod() {
    for (flags, is) in [(&[][..], "silent"), (&["-image_pin=pod-status"], "warned"), (&["-image_pin_strict"], "failed")]
    {
        let mut world = World::new();
        let new = world.image("new");
        let registry = world.serve(Content::tagged(&new));
        let certificate = format!("{}={}", world.host, world.ca().display());
        let step = crate::step::Step::new();
        let step = step.flags(["-image", &world.tagged(), "-image_registry_certificate", &certificate]);
        let ended = step.flags(flags.iter().copied()).run(&["--"]);
        let parts = ["not in a cluster"];
        match is {
            "silent" => ran_silently(&ended, &new),
            "warned" => ran_with_warning(&ended, &new, &parts),
            _ => failed(&ended, &parts),
        }
        assert!(is == "failed" || registry.lines().len() == 3);
        says(&ended, &json!({"match": "unknown", "runtime": null}));
    }
}

/// Nothing of a pod that is larger, or stranger, than any kubelet's is believed or repeated without a bound.
#[test]
fn a_pod_with_more_containers_than_there_can_be_ends_in_the_right_command() {
    let (world, old, new) = World::of_two();
    let _registry = world.serve(Content::tagged(&new).image(&old));
    let image = world.tagged();
    let cluster = (0..2000).fold(world.cluster(&world.named(&old.index)), |cluster, number| {
        let name = format!("sidecar-{number}");
        cluster.container("ci", "taskrun-pod", &name, "registry.example/sidecar:1", ("x", "y"))
    });
    let ended = world.run(&cluster.start(), &["-image_container=step-build"]);
    ran_silently(&ended, &old);
    says(&ended, &json!({"runtime": {"image": image}}));

    let (world, old, new) = World::of_two();
    let _registry = world.serve(Content::tagged(&new).image(&old));
    let long = "x".repeat(100_000);
    let cluster = world.cluster(&world.named(&old.index));
    let tagged = world.tagged();
    let odd = cluster.container("ci", "taskrun-pod", "step-build", &tagged, (&long, &world.named(&old.index)));
    let ended = world.run(&odd.start(), &[]);
    ran(&ended, &old);
    let report = report(&ended);
    let kept = report["runtime"]["image"].as_str().map(str::len);
    assert!(kept.is_some_and(|length| length < 1100), "{report:#}");
    says(&ended, &json!({"runtime": {"imageID": world.named(&old.index)}}));
}
