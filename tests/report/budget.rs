//! The room that Kubernetes leaves for the messages of a whole pod: warned of, and nothing else.

use std::num::NonZeroU32;

use super::SUCCESS;
use super::pod::{Pod, no_lines};

/// The one warning of this pod, whose step is a success all the same.
fn warning(pod: &Pod) -> String {
    let ended = pod.report(&SUCCESS);
    assert_eq!((ended.exit, ended.post), (0, true), "{ended:?}");
    let [line] = <[String; 1]>::try_from(ended.lines).unwrap();
    line
}

#[test]
fn a_message_above_the_share_of_its_pod_is_told_and_no_failure() {
    let pod = Pod::new().steps(4).result("r", "x".repeat(2000));
    let line = warning(&pod);
    let size = std::fs::metadata(pod.path("termination")).unwrap().len();
    assert!(
        line.starts_with(&format!(
            "WARN The termination message has {size} bytes, and Kubernetes may cut it at 2048, the share of each of the \
             pod's 6 containers (4 steps and 2 init containers)"
        )),
        "{line}"
    );
}

#[test]
fn a_message_within_the_share_is_not_worth_a_word() {
    let ended = Pod::new().steps(4).result("r", "x".repeat(1900)).report(&SUCCESS);
    assert_eq!((ended.exit, ended.lines), (0, no_lines()));
    // One step and two init containers leave each container all that kubelet reads.
    let ended = Pod::new().steps(1).result("r", "x".repeat(3990)).report(&SUCCESS);
    assert_eq!((ended.exit, ended.lines), (0, no_lines()));
}

#[test]
fn the_number_of_containers_that_is_given_wins_over_the_steps_that_are_counted() {
    let mut pod = Pod::new().steps(50).result("r", "x".repeat(2000));
    pod.spec.report.containers = NonZeroU32::new(3);
    assert_eq!(pod.report(&SUCCESS).lines, no_lines());
    std::fs::remove_file(pod.path("termination")).unwrap();
    pod.spec.report.containers = NonZeroU32::new(7);
    assert!(
        warning(&pod).contains("1755, the share of each of the pod's 7 containers (as -termination_containers says)")
    );
}

#[test]
fn where_no_steps_can_be_counted_nothing_is_said() {
    let ended = Pod::new().result("r", "x".repeat(3900)).report(&SUCCESS);
    assert_eq!((ended.exit, ended.lines), (0, no_lines()));
    let pod = Pod::new().result("r", "x".repeat(3900));
    std::fs::write(pod.path("steps"), "a file").unwrap();
    assert_eq!(pod.report(&SUCCESS).lines, no_lines());
}

#[test]
fn a_message_that_compression_makes_short_enough_is_not_warned_of() {
    let mut pod = Pod::new().steps(10).result("r", "x".repeat(3900));
    pod.spec.report.compress = true;
    assert_eq!(pod.report(&SUCCESS).lines, no_lines());
}
