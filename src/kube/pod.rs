//! A pod as its own process reads it: the pull secrets that it names, and what kubelet reports of its containers; and
//! which of those a step is.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use thiserror::Error;

use super::container::OwnContainer;
use crate::image::{Reference, Running};

/// How many entries of each of a pod's lists are kept. Of more containers no kubelet runs a pod.
const ENTRIES: usize = 512;

/// How many names a message lists.
const LISTED: usize = 20;

/// The part of a pod that is of interest. The library's own type would bring all of a pod's specification into the
/// program.
#[derive(Deserialize)]
pub(super) struct Pod {
    #[serde(default)]
    metadata: Metadata,
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Deserialize, Default)]
struct Metadata {
    #[serde(default)]
    uid: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    image_pull_secrets: Option<First<Named>>,
    init_containers: Option<First<Named>>,
    containers: Option<First<Named>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct Status {
    init_container_statuses: Option<First<Reported>>,
    container_statuses: Option<First<Reported>>,
}

/// A container, or a reference: Kubernetes allows one without a name, which refers to nothing.
#[derive(Deserialize)]
struct Named {
    #[serde(default)]
    name: String,
    #[serde(default)]
    image: String,
}

#[derive(Deserialize)]
struct Reported {
    name: String,
    #[serde(default)]
    image: String,
    #[serde(default, rename = "imageID")]
    image_id: String,
    #[serde(default)]
    state: States,
}

/// At most one of them is there.
#[derive(Deserialize, Default)]
struct States {
    waiting: Option<Waiting>,
    running: Option<IgnoredAny>,
    terminated: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Waiting {
    #[serde(default)]
    reason: String,
}

/// The first of a list; what comes after is read past.
struct First<T>(Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for First<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for List<T> {
            type Value = First<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<First<T>, A::Error> {
                let mut first = Vec::new();
                while first.len() < ENTRIES {
                    let Some(entry) = list.next_element()? else { return Ok(First(first)) };
                    first.push(entry);
                }
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(First(first))
            }
        }
        deserializer.deserialize_seq(List(PhantomData))
    }
}

fn listed<T>(list: Option<First<T>>) -> impl Iterator<Item = T> {
    list.into_iter().flat_map(|list| list.0)
}

impl Pod {
    /// What tells the pod from another of its name.
    pub(super) fn uid(&self) -> &str {
        &self.metadata.uid
    }

    /// The names of its pull secrets, and its containers.
    pub(super) fn into_parts(self) -> (Vec<String>, PodStatus) {
        let secrets = listed(self.spec.image_pull_secrets).map(|reference| reference.name).collect();
        let declared = listed(self.spec.init_containers).chain(listed(self.spec.containers));
        let mut containers: Vec<ContainerStatus> = declared.map(ContainerStatus::declared).collect();
        let status = self.status;
        for reported in listed(status.init_container_statuses).chain(listed(status.container_statuses)) {
            match containers.iter_mut().find(|container| container.name == reported.name) {
                Some(container) => container.report(reported),
                None => {
                    let mut container =
                        ContainerStatus::declared(Named { name: reported.name.clone(), image: String::new() });
                    container.report(reported);
                    containers.push(container);
                }
            }
        }
        (secrets, PodStatus { uid: self.metadata.uid, containers })
    }
}

/// What kubelet reports of a pod's containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodStatus {
    /// The pod's UID.
    pub uid: String,
    /// Its containers, those of the initialisation first.
    pub containers: Vec<ContainerStatus>,
}

/// A container of a pod, and what kubelet reports of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerStatus {
    /// Its name, which no other container of the pod has.
    pub name: String,
    /// The image that the pod asks for; empty if the pod does not list the container.
    pub asked: String,
    /// `image` of its status: what the runtime calls the image.
    pub image: String,
    /// `imageID` of its status; empty until the runtime has the image.
    pub image_id: String,
    /// What it is at.
    pub state: State,
}

/// What a container is at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Kubelet has not said anything of it.
    Unreported,
    /// Not started: `ContainerCreating`, `ErrImagePull`.
    Waiting(String),
    /// Started.
    Running,
    /// At its end.
    Terminated,
}

impl ContainerStatus {
    fn declared(container: Named) -> Self {
        Self {
            name: container.name,
            asked: container.image,
            image: String::new(),
            image_id: String::new(),
            state: State::Unreported,
        }
    }

    fn report(&mut self, reported: Reported) {
        self.image = reported.image;
        self.image_id = reported.image_id;
        self.state = match reported.state {
            States { terminated: Some(_), .. } => State::Terminated,
            States { running: Some(_), .. } => State::Running,
            States { waiting, .. } => State::Waiting(waiting.map(|waiting| waiting.reason).unwrap_or_default()),
        };
    }

    /// What the runtime runs, as far as it has said it.
    #[must_use]
    pub fn running(&self) -> Running {
        Running::parse(&self.image, &self.image_id)
    }
}

impl PodStatus {
    /// What is reported of a container.
    #[must_use]
    pub fn of_container(&self, name: &str) -> Option<&ContainerStatus> {
        self.containers.iter().find(|container| container.name == name)
    }

    /// The names of the containers that `wanted` picks, for a message.
    fn names(&self, wanted: impl Fn(&ContainerStatus) -> bool) -> String {
        let names: Vec<&str> =
            self.containers.iter().filter(|container| wanted(container)).map(|it| it.name.as_str()).collect();
        let shown = names.get(..LISTED).map_or_else(|| names.join(", "), |first| format!("{}, ...", first.join(", ")));
        if shown.is_empty() { "none".to_owned() } else { shown }
    }
}

/// Who says which container a step is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContainerName {
    /// The command line.
    Flag(String),
    /// Kubelet's mount.
    Mount(OwnContainer),
}

impl ContainerName {
    /// The command line's name, else that of the mount.
    #[must_use]
    pub fn first(flag: Option<String>, mount: Option<OwnContainer>) -> Option<Self> {
        flag.map(Self::Flag).or(mount.map(Self::Mount))
    }
}

/// Why it is not known which of a pod's containers a step is.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NotChosen {
    /// The command line's name is none of them.
    #[error("-image_container={name}: the pod has no such container (it has {names})")]
    NotByFlag {
        /// The name.
        name: String,
        /// Those that there are.
        names: String,
    },
    /// The mount's name is none of them.
    #[error("the termination path is that of the container {name}, which the pod has not (it has {names})")]
    NotByMount {
        /// The name.
        name: String,
        /// Those that there are.
        names: String,
    },
    /// The mount is that of another pod.
    #[error("the termination path is that of a container of the pod with the UID {mount}, and this pod has {pod}")]
    OtherPod {
        /// The UID in the mount.
        mount: String,
        /// The pod's.
        pod: String,
    },
    /// The image alone does not tell.
    #[error(
        "nothing but the image tells which container this is, and several have {image}: {names}; -image_container=NAME says it"
    )]
    Several {
        /// The image.
        image: String,
        /// Their names.
        names: String,
    },
    /// The image tells nothing.
    #[error("nothing but the image tells which container this is, and none has {image}; -image_container=NAME says it")]
    None {
        /// The image.
        image: String,
    },
}

/// The container that a step is: by its name, whoever says that; without one by the image that the pod asks for, if one
/// container alone asks for it.
///
/// # Errors
///
/// [`NotChosen`].
pub fn choose<'s>(
    pod: &'s PodStatus,
    name: Option<&ContainerName>,
    image: &Reference,
) -> Result<&'s ContainerStatus, NotChosen> {
    let all = || pod.names(|_| true);
    match name {
        Some(ContainerName::Flag(name)) => {
            pod.of_container(name).ok_or_else(|| NotChosen::NotByFlag { name: name.clone(), names: all() })
        }
        Some(ContainerName::Mount(own)) if own.pod_uid != pod.uid => {
            Err(NotChosen::OtherPod { mount: own.pod_uid.clone(), pod: pod.uid.clone() })
        }
        Some(ContainerName::Mount(own)) => {
            pod.of_container(&own.name).ok_or_else(|| NotChosen::NotByMount { name: own.name.clone(), names: all() })
        }
        None => {
            let has = |container: &ContainerStatus| asks_for(container, image);
            let mut found = pod.containers.iter().filter(|container| has(container));
            match (found.next(), found.next()) {
                (Some(only), None) => Ok(only),
                (Some(_), Some(_)) => Err(NotChosen::Several { image: image.to_string(), names: pod.names(has) }),
                (None, _) => Err(NotChosen::None { image: image.to_string() }),
            }
        }
    }
}

/// Whether the pod asks for this image in a container: not what the runtime calls it, which may be any of its names.
fn asks_for(container: &ContainerStatus, image: &Reference) -> bool {
    let asked = container.asked.parse::<Reference>();
    asked.is_ok_and(|asked| asked.to_string() == image.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::running::RunningKind;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn parts(text: &str) -> (Vec<String>, PodStatus) {
        let pod: Pod = serde_json::from_str(text).expect(text);
        assert_eq!(pod.uid(), pod.metadata.uid);
        pod.into_parts()
    }

    fn pod() -> PodStatus {
        let text = format!(
            r#"{{"kind": "Pod", "metadata": {{"name": "p", "uid": "u-1", "labels": {{"a": "b"}}}},
            "spec": {{
                "initContainers": [{{"name": "prepare", "image": "tekton/entrypoint", "command": ["x"]}}],
                "containers": [
                    {{"name": "step-a", "image": "busybox"}},
                    {{"name": "step-b", "image": "ghcr.io/acme/build:1", "env": []}},
                    {{"name": "step-c", "image": "docker.io/library/busybox:latest"}},
                    {{"name": "step-d", "image": "Not An Image"}}]}},
            "status": {{"phase": "Running",
                "initContainerStatuses": [{{"name": "prepare", "image": "t", "imageID": "t@sha256:{HEX}",
                    "state": {{"terminated": {{"exitCode": 0}}}}, "ready": true}}],
                "containerStatuses": [
                    {{"name": "step-a", "image": "docker.io/library/busybox:1.37", "imageID": "sha256:{HEX}",
                      "state": {{"running": {{"startedAt": "2026-11-21T00:00:00Z"}}}}}},
                    {{"name": "step-b", "image": "ghcr.io/acme/build:1", "imageID": "",
                      "state": {{"waiting": {{"reason": "ContainerCreating"}}}}}},
                    {{"name": "ghost", "image": "x", "imageID": "y"}}]}}}}"#
        );
        parts(&text).1
    }

    #[test]
    fn every_container_is_there_with_what_is_reported_of_it() {
        let pod = pod();
        assert_eq!(pod.uid, "u-1");
        let seen: Vec<_> =
            pod.containers.iter().map(|it| (it.name.as_str(), it.asked.as_str(), it.state.clone())).collect();
        assert_eq!(
            seen,
            [
                ("prepare", "tekton/entrypoint", State::Terminated),
                ("step-a", "busybox", State::Running),
                ("step-b", "ghcr.io/acme/build:1", State::Waiting("ContainerCreating".into())),
                ("step-c", "docker.io/library/busybox:latest", State::Unreported),
                ("step-d", "Not An Image", State::Unreported),
                ("ghost", "", State::Waiting(String::new())),
            ]
        );
        let running = |name: &str| pod.of_container(name).unwrap().running();
        assert_eq!(running("step-a").identity.map(|it| it.kind), Some(RunningKind::Config));
        assert_eq!(running("step-a").image, "docker.io/library/busybox:1.37");
        assert_eq!(running("prepare").identity.map(|it| it.kind), Some(RunningKind::IndexOrManifest));
        assert!(running("step-b").is_late() && running("step-c").is_late());
        assert_eq!(pod.of_container("step"), None);
    }

    #[test]
    fn a_pod_without_a_status_has_its_containers_and_pull_secrets_all_the_same() {
        let (secrets, pod) = parts(
            r#"{"metadata": {}, "spec": {"imagePullSecrets": [{"name": "a"}, {}], "containers": [{"name": "s"}]},
                "status": {"containerStatuses": null}}"#,
        );
        assert_eq!(secrets, ["a", ""]);
        assert_eq!((pod.uid.as_str(), pod.containers.len()), ("", 1));
        assert_eq!(parts(r#"{"spec": {}}"#), (Vec::new(), PodStatus { uid: String::new(), containers: Vec::new() }));
    }

    #[test]
    fn a_list_without_end_is_not_kept() {
        let many = r#"{"name": "x"},"#.repeat(100_000);
        let (_, pod) = parts(&format!(
            r#"{{"spec": {{"containers": [{many}{{"name": "y"}}]}}, "status": {{"containerStatuses": []}}}}"#
        ));
        assert_eq!(pod.containers.len(), ENTRIES);
    }

    #[test]
    fn what_is_no_pod_is_an_error() {
        for text in [
            "{}",
            r#"{"spec": []}"#,
            r#"{"spec": {"containers": {}}}"#,
            r#"{"spec": {}, "status": {"containerStatuses": [{"name": 7}]}}"#,
            r#"{"spec": {}, "status": {"containerStatuses": [{}]}}"#,
        ] {
            assert!(serde_json::from_str::<Pod>(text).is_err(), "{text}");
        }
    }

    fn mount(pod_uid: &str, name: &str) -> Option<OwnContainer> {
        Some(OwnContainer { pod_uid: pod_uid.into(), name: name.into() })
    }

    #[test]
    fn a_step_is_found_by_its_name_and_by_its_image_only_where_nobody_else_has_it() {
        let pod = pod();
        let flag = |name: &str| Some(name.to_owned());
        for (by_flag, by_mount, image, expected) in [
            (flag("step-c"), mount("u-1", "step-a"), "busybox", Ok("step-c")),
            (flag("step-b"), None, "busybox", Ok("step-b")),
            (None, mount("u-1", "step-a"), "busybox", Ok("step-a")),
            (None, mount("u-1", "step-c"), "some/other", Ok("step-c")),
            (None, mount("u-1", "prepare"), "busybox", Ok("prepare")),
            (None, None, "ghcr.io/acme/build:1", Ok("step-b")),
            // A wrong name is never mended by the image, or by the other name.
            (
                flag("step-x"),
                mount("u-1", "step-a"),
                "ghcr.io/acme/build:1",
                Err("-image_container=step-x: the pod has no such container \
                     (it has prepare, step-a, step-b, step-c, step-d, ghost)"),
            ),
            (
                None,
                mount("u-1", "step-x"),
                "ghcr.io/acme/build:1",
                Err("the termination path is that of the container step-x, which the pod has not \
                     (it has prepare, step-a, step-b, step-c, step-d, ghost)"),
            ),
            (
                None,
                mount("u-2", "step-a"),
                "busybox",
                Err("the termination path is that of a container of the pod with the UID u-2, and this pod has u-1"),
            ),
            (
                None,
                None,
                "busybox",
                Err("nothing but the image tells which container this is, and several have \
                     index.docker.io/library/busybox:latest: step-a, step-c; -image_container=NAME says it"),
            ),
            // What the runtime calls an image is no reason.
            (
                None,
                None,
                "busybox:1.37",
                Err("nothing but the image tells which container this is, and none has \
                     index.docker.io/library/busybox:1.37; -image_container=NAME says it"),
            ),
        ] {
            let name = ContainerName::first(by_flag, by_mount);
            let chosen = choose(&pod, name.as_ref(), &image.parse().unwrap());
            let chosen = chosen.map(|it| it.name.clone()).map_err(|error| error.to_string());
            assert_eq!(chosen, expected.map(str::to_owned).map_err(str::to_owned), "{name:?} {image}");
        }
    }

    #[test]
    fn a_message_does_not_list_containers_without_end() {
        let many = r#"{"name": "x"},"#.repeat(100);
        let (_, pod) = parts(&format!(r#"{{"spec": {{"containers": [{many}{{"name": "y"}}]}}}}"#));
        let error = choose(&pod, Some(&ContainerName::Flag("z".into())), &"a".parse().unwrap()).unwrap_err();
        assert_eq!(error.to_string().matches("x,").count(), LISTED);
    }
}
