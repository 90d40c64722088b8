//! What README shows in short is what stands on the pages where it is tried out.

use serde_json::Value;

use super::page;

/// The object of a kind in the page's blocks of YAML.
fn object(name: &str, kind: &str, called: &str) -> Value {
    let text = page(name);
    let blocks = text.split("```yaml\n").skip(1).map(|rest| rest.split("\n```").next().unwrap());
    let mut objects = blocks.flat_map(|block| serde_saphyr::from_multiple::<Value>(block).unwrap());
    let wanted = |object: &Value| object["kind"] == kind && object["metadata"]["name"] == called;
    objects.find(wanted).unwrap_or_else(|| panic!("{name}: no {kind} {called}"))
}

#[test]
fn the_job_of_the_readme_has_the_pod_that_is_played_with_podman() {
    let job = object("README.md", "Job", "tool");
    let pod = object("docs/debug-pod.md", "Pod", "tool");
    assert!(pod["spec"]["initContainers"].is_array());
    assert_eq!(job["spec"]["template"]["spec"], pod["spec"]);
}

#[test]
fn the_role_of_the_readme_is_the_one_of_the_installation() {
    let [short, whole] = ["README.md", "docs/install-tekton.md"].map(|name| object(name, "Role", "image-lookup"));
    assert!(whole["rules"].as_array().is_some_and(|rules| rules.len() == 3));
    assert_eq!(short, whole);
}
