//! The pod's own status: read once beside the pull secrets, read again while it is late, and never that of another pod.

use entrypoint::image::running::RunningKind;
use entrypoint::kube::pod::State;
use entrypoint::kube::{ContainerName, choose};

use super::support::kube_api::{Late, token_without_pod, uid};
use super::support::server::{Answer, Reply};
use super::*;

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// A cluster in which `ci/builder` may read its pod, of the containers `step-build` and `step-test`.
fn open() -> Cluster {
    let named = format!("ghcr.io/team/app@{DIGEST}");
    cluster(&[])
        .pod("ci", "taskrun-pod", &[])
        .allow("ci/builder", "pods", &["taskrun-pod"])
        .init_container("ci", "taskrun-pod", "prepare", "tekton/entrypoint", ("tekton/entrypoint:latest", DIGEST))
        .container("ci", "taskrun-pod", "step-build", "ghcr.io/team/app", ("ghcr.io/team/app:latest", &named))
        .container("ci", "taskrun-pod", "step-test", "busybox", ("docker.io/library/busybox:latest", DIGEST))
}

impl Pod {
    /// Runs `work` with this process's own pod.
    fn own<T>(&self, work: impl AsyncFnOnce(Result<OwnPod, PodUnread>) -> T) -> T {
        let network = Network::with_name_files(&self.env, &self.names).expect("a network");
        let wanted = Wanted {
            dir: self.dir.path(),
            namespace: None,
            service_account: None,
            pull_secrets: &[],
            call_deadline: self.deadline,
            secrets: &Secrets::default(),
        };
        block_on(async {
            let own = OwnPod::find(&network, &self.env, &wanted, &Trace::default());
            work(own).await
        })
    }

    fn status(&self) -> Result<PodStatus, PodUnread> {
        self.own(async |own| own?.status().await)
    }
}

/// The container and what its identity is, or the state of one that has none.
fn running(pod: &PodStatus, name: &str) -> Result<RunningKind, State> {
    let container = pod.of_container(name).expect(name);
    container.running().identity.map(|identity| identity.kind).ok_or(container.state.clone())
}

#[test]
fn the_pod_is_read_once_for_its_pull_secrets_and_its_status() {
    let api = open().start();
    let read = Pod::of(&api).read_all();
    let pod = read.pod.expect("the pod");
    assert_eq!(pod.uid, uid("taskrun-pod"));
    assert_eq!(running(&pod, "step-build"), Ok(RunningKind::IndexOrManifest));
    assert_eq!(running(&pod, "step-test"), Ok(RunningKind::Config));
    assert_eq!(running(&pod, "prepare"), Ok(RunningKind::Config));
    let chosen = choose(&pod, None::<&ContainerName>, &"busybox".parse().expect("an image")).expect("one");
    assert_eq!(chosen.name, "step-test");
    assert_eq!(api.lines(), [GET_POD, "GET /api/v1/namespaces/ci/serviceaccounts/builder"]);
    assert_eq!(notes(&read.pull_secrets)[0], "pod ci/taskrun-pod: names no imagePullSecrets");
}

#[test]
fn a_status_that_is_late_is_there_when_it_is_read_again() {
    let late = |late| open().late("ci", "taskrun-pod", late).start();
    let api = late(Late::Answers(2));
    let creating = Err(State::Waiting("ContainerCreating".to_owned()));
    let first = Pod::of(&api).read_all().pod.expect("the pod");
    assert_eq!(running(&first, "step-build"), creating);
    Pod::of(&api).own(async |own| {
        let own = own.expect("a pod");
        assert_eq!(running(&own.status().await.expect("the pod"), "step-build"), creating);
        assert_eq!(running(&own.status().await.expect("the pod"), "step-build"), Ok(RunningKind::IndexOrManifest));
    });
    let asked: Vec<_> = api.lines().into_iter().filter(|line| line == GET_POD).collect();
    assert_eq!(asked.len(), 3);

    let api = late(Late::For(Duration::from_secs(3600)));
    let pod = Pod::of(&api).status().expect("the pod");
    assert_eq!((running(&pod, "step-build"), running(&pod, "prepare")), (creating, Ok(RunningKind::Config)));
    assert_eq!(api.lines(), [GET_POD]);
}

#[test]
fn another_pod_of_the_same_name_is_refused_with_all_that_it_says() {
    let other = "11111111-0000-4000-8000-000000000000";
    let api = cluster(&[])
        .pod("ci", "taskrun-pod", &["regcred"])
        .allow("ci/builder", "pods", &["taskrun-pod"])
        .allow("ci/builder", "secrets", &["regcred"])
        .container("ci", "taskrun-pod", "step-build", "ghcr.io/team/app", ("ghcr.io/team/app", DIGEST))
        .pod_uid("ci", "taskrun-pod", other)
        .start();
    let pod = Pod::of(&api);
    let reason = format!("it is not this pod: its UID is {other:?}, and the token is for {:?}", uid("taskrun-pod"));
    let expected = Err(PodUnread { reason: reason.clone(), retryable: false });
    assert_eq!(pod.status(), expected);
    let read = pod.read_all();
    assert_eq!(read.pod, expected);
    assert_eq!(without_secrets(&read.pull_secrets)[0], format!("pod ci/taskrun-pod: {reason}"));
    assert!(read.pull_secrets.complete);
}

#[test]
fn a_pod_that_may_not_be_read_is_a_reason() {
    let forbidden = "service account ci/builder may not get pod ci/taskrun-pod; a Role with get on pods is needed";
    let absent = "pod ci/taskrun-pod may not be read: the cluster has no pod of this name";
    let may = |cluster: Cluster| cluster.allow("ci/builder", "pods", &["taskrun-pod"]);
    let odd = |reply: Reply| open().odd("ci", "pods", "taskrun-pod", reply).start();
    for (api, expected, retryable) in [
        (cluster(&[]).start(), forbidden, false),
        (may(cluster(&[])).start(), absent, false),
        (open().revoke("ci", "builder").start(), "the API server does not accept the token", true),
        (odd(Answer::new(500).into()), "answered 500", true),
        (odd(Answer::json("[]").into()), "answered with something else than the object", true),
        (odd(Answer::json(r#"{"spec": {}}"#).into()), "it is not this pod: its UID is \"\"", false),
        (odd(Reply::Close), "cannot be asked", true),
    ] {
        let pod = Pod::of(&api);
        for unread in [pod.status(), pod.read_all().pod] {
            let unread = unread.expect_err(expected);
            assert!(unread.reason.contains(expected), "{expected}: {unread}");
            assert_eq!(unread.retryable, retryable, "{expected}");
        }
    }
}

#[test]
fn without_a_cluster_or_a_pod_in_the_token_nobody_is_asked() {
    let api = open().accept(&token_without_pod("ci", "builder"), "ci", "builder").start();
    let pod = Pod::of(&api);
    fs::write(pod.dir.path().join("token"), token_without_pod("ci", "builder")).expect("a file");
    let expected = "the pod may not be read: the token does not say which pod it is for";
    let unread = pod.status().expect_err("no pod");
    assert_eq!((unread.reason.as_str(), unread.retryable), (expected, false));
    assert_eq!(api.lines(), [""; 0]);
    assert_eq!(pod.read_all().pod, Err(unread));

    let nowhere = Pod::new(Env::default(), TempDir::new().expect("a directory"));
    let unread = nowhere.status().expect_err("no cluster");
    assert_eq!(unread.reason, "not in a cluster: KUBERNETES_SERVICE_HOST is not set");
    assert!(!unread.retryable);
    assert_eq!(nowhere.read_all().pod, Err(unread));
}

#[test]
fn an_api_server_that_never_answers_is_not_waited_for() {
    let api = open().odd("ci", "pods", "taskrun-pod", Reply::Stall(Vec::new())).start();
    let mut pod = Pod::of(&api);
    pod.deadline = IMPATIENT;
    let unread = pod.status().expect_err("no answer");
    assert!(unread.reason.ends_with("gave no answer within 1s") && unread.retryable, "{unread}");
}
