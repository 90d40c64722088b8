//! Who names pull secrets: the pod, the command line, the service account; and when another attempt would find the same.

use super::support::kube_api::{Cluster, token_without_pod};
use super::support::server::{Answer, Reply};
use super::*;

/// A cluster in which `ci/builder` may read its pod, itself and these secrets.
fn open(pod: &[&str], account: &[&str], readable: &[&str]) -> Cluster {
    cluster(account).pod("ci", "taskrun-pod", pod).allow("ci/builder", "pods", &["taskrun-pod"]).allow(
        "ci/builder",
        "secrets",
        readable,
    )
}

fn naming(api: &KubeApi, names: &[&str]) -> Pod {
    let mut pod = Pod::of(api);
    pod.pull_secrets = names.iter().copied().map(str::to_owned).collect();
    pod
}

fn sources(read: &PullSecrets) -> Vec<String> {
    read.secrets.iter().map(|secret| secret.name.to_string()).collect()
}

#[test]
fn the_pods_secrets_come_first_then_the_flags_then_the_service_accounts_and_each_is_read_once() {
    let names = ["pod", "both", "flag", "account", "all"];
    let mut api = open(&["both", "pod", "all", ""], &["account", "both", "all"], &names);
    for name in names {
        api = api.pull_secret("ci", name, "ghcr.io", name, PASSWORD);
    }
    let api = api.start();
    let read = naming(&api, &["flag", "all", "flag"]).read();
    assert_eq!(notes(&read), [""; 0]);
    assert!(read.complete);
    let expected = [
        "pull secret ci/both of the pod and the service account",
        "pull secret ci/pod of the pod",
        "pull secret ci/all of the pod, -image_pull_secrets and the service account",
        "pull secret ci/flag of -image_pull_secrets",
        "pull secret ci/account of the service account",
    ];
    assert_eq!(sources(&read), expected);
    assert_eq!(
        api.lines(),
        [
            GET_POD,
            "GET /api/v1/namespaces/ci/serviceaccounts/builder",
            "GET /api/v1/namespaces/ci/secrets/both",
            "GET /api/v1/namespaces/ci/secrets/pod",
            "GET /api/v1/namespaces/ci/secrets/all",
            "GET /api/v1/namespaces/ci/secrets/flag",
            "GET /api/v1/namespaces/ci/secrets/account",
        ]
    );
    let found: Vec<_> = find(&read).credentials.into_iter().map(|credential| credential.source).collect();
    assert_eq!(found, expected.map(|source| format!("{source}, key \"ghcr.io\"")));
}

#[test]
fn a_pod_that_may_not_be_read_is_a_note_and_the_others_are_read() {
    let api = cluster(&["regcred"])
        .pull_secret("ci", "regcred", "ghcr.io", "me", PASSWORD)
        .allow("ci/builder", "secrets", &["regcred"])
        .start();
    let read = Pod::of(&api).read();
    let notes: Vec<_> = read.notes.iter().map(ToString::to_string).collect();
    assert_eq!(notes, [POD_FORBIDDEN]);
    assert!(read.complete);
    assert_eq!(sources(&read), ["pull secret ci/regcred of the service account"]);
}

#[test]
fn a_pod_that_is_not_there_or_not_known_is_a_note() {
    let api = cluster(&[])
        .allow("ci/builder", "pods", &["taskrun-pod"])
        .accept(&token_without_pod("ci", "builder"), "ci", "builder")
        .start();
    let pod = Pod::of(&api);
    let read = pod.read();
    let account = "service account ci/builder: names no imagePullSecrets";
    assert_eq!(
        without_secrets(&read),
        ["pod ci/taskrun-pod: the pod may not be read: the cluster has no pod of this name", account]
    );
    assert!(read.complete, "a pod that is gone does not come back");

    fs::write(pod.dir.path().join("token"), token_without_pod("ci", "builder")).expect("a file");
    let read = pod.read();
    assert_eq!(
        without_secrets(&read),
        ["pod: the pod may not be read: the token does not say which pod it is for", account]
    );
    assert!(read.complete);
}

#[test]
fn a_pod_and_a_service_account_without_pull_secrets_are_complete() {
    let read = Pod::of(&open(&[], &[], &[]).start()).read();
    assert_eq!(
        without_secrets(&read),
        ["pod ci/taskrun-pod: names no imagePullSecrets", "service account ci/builder: names no imagePullSecrets"]
    );
    assert!(read.complete);
}

#[test]
fn the_pods_secrets_are_of_its_namespace_and_the_flags_of_the_lookups() {
    let api = open(&["regcred"], &[], &["regcred"]).pull_secret("ci", "regcred", "ghcr.io", "me", PASSWORD).start();
    let mut pod = naming(&api, &["regcred"]);
    pod.namespace = Some("prod");
    let read = pod.read();
    assert_eq!(sources(&read), ["pull secret ci/regcred of the pod"]);
    assert_eq!(
        notes(&read),
        [
            concat!(
                "service account prod/builder: forbidden: service account ci/builder may not get ",
                "service account prod/builder; a Role with get on serviceaccounts is needed"
            ),
            concat!(
                "pull secret prod/regcred of -image_pull_secrets: forbidden: service account ci/builder may not get ",
                "secret prod/regcred; a Role with get on secrets is needed"
            ),
        ]
    );
    assert!(read.complete);
}

#[test]
fn what_is_not_there_yet_may_be_found_by_another_attempt() {
    let with_all = |cluster: Cluster| cluster.allow("ci/builder", "secrets", &["late"]).start();
    for (api, flag, note) in [
        (open(&["late"], &[], &["late"]).start(), &[][..], "pull secret ci/late of the pod: not found: "),
        (with_all(cluster(&[])), &["late"], "pull secret ci/late of -image_pull_secrets: not found: "),
        (with_all(cluster(&["late"])), &[], "pull secret ci/late of the service account: not found: "),
        (
            open(&[], &[], &[]).odd("ci", "pods", "taskrun-pod", Answer::new(500)).start(),
            &[],
            "pod ci/taskrun-pod: the API server https://ADDRESS answered 500",
        ),
        (
            open(&[], &[], &[]).odd("ci", "serviceaccounts", "builder", Answer::new(503)).start(),
            &[],
            "service account ci/builder: the API server https://ADDRESS answered 503",
        ),
        (
            open(&[], &[], &[]).odd("ci", "pods", "taskrun-pod", Answer::json(r#"{"spec": []}"#)).start(),
            &[],
            "pod ci/taskrun-pod: the API server https://ADDRESS answered with something else than the object: line 1, ",
        ),
        (
            open(&[], &[], &[]).odd("ci", "pods", "taskrun-pod", Answer::json("hunter2")).start(),
            &[],
            "pod ci/taskrun-pod: the API server https://ADDRESS answered with something else than the object: line 1, ",
        ),
    ] {
        let read = naming(&api, flag).read();
        let notes = without_secrets(&read);
        let note = note.replace("ADDRESS", &api.address().to_string());
        assert!(notes.iter().any(|line| line.starts_with(&note)), "{notes:?}");
        assert!(!notes.concat().contains("hunter2"), "{notes:?}");
        assert!(!read.complete, "{note}");
    }
    let api = cluster(&[]).allow("ci/builder", "serviceaccounts", &["late"]).start();
    let mut pod = Pod::of(&api);
    pod.service_account = Some("late");
    assert!(!pod.read().complete);
}

#[test]
fn a_server_that_went_away_is_asked_for_nothing_more() {
    let api = open(&["regcred"], &["regcred"], &["regcred"]).odd("ci", "pods", "taskrun-pod", Reply::Close).start();
    let read = naming(&api, &["one", "two"]).read();
    let server = format!("https://{}", api.address());
    assert_eq!(
        without_secrets(&read),
        [
            format!(
                "pod ci/taskrun-pod: the API server {server} cannot be asked: \
                 the connection was closed before the answer was complete"
            ),
            format!(
                "API server {server}: not asked any more for service account ci/builder, \
                 pull secret ci/one of -image_pull_secrets, pull secret ci/two of -image_pull_secrets"
            ),
        ]
    );
    assert_eq!(api.lines(), [GET_POD]);
    assert!(!read.complete);
}

#[test]
fn the_flags_secrets_are_told_of_where_no_cluster_can_be_asked() {
    let api = open(&[], &[], &[]).start();
    let mut pod = naming(&api, &["one", "two"]);
    pod.env = Env::default();
    let read = pod.read();
    assert_eq!(
        without_secrets(&read),
        [
            "service account: not in a cluster: KUBERNETES_SERVICE_HOST is not set",
            "pull secrets one, two of -image_pull_secrets: not read: the cluster cannot be asked",
        ]
    );
    assert!(read.complete, "there will be no cluster");
    assert_eq!(api.lines(), [""; 0]);
}

#[test]
fn a_name_in_the_pod_that_is_a_path_is_not_asked_for() {
    let api = open(&["../../x"], &[], &[]).start();
    let read = Pod::of(&api).read();
    assert_eq!(
        without_secrets(&read),
        [
            concat!(
                "pod ci/taskrun-pod: \"../../x\" cannot be the name of a secret: ",
                "it has other characters than a-z, 0-9, `-` and `.`, or is too long"
            ),
            "service account ci/builder: names no imagePullSecrets",
        ]
    );
    assert_eq!(api.lines().len(), 2);
}

#[test]
fn the_reading_can_be_joined_with_other_work() {
    let api = open(&["regcred"], &[], &["regcred"]).pull_secret("ci", "regcred", "ghcr.io", "me", PASSWORD).start();
    let pod = Pod::of(&api);
    let network = Network::with_name_files(&pod.env, &pod.names).expect("a network");
    let wanted = Wanted {
        dir: pod.dir.path(),
        namespace: None,
        service_account: None,
        pull_secrets: &[],
        call_deadline: PATIENT,
        secrets: &Secrets::default(),
    };
    let trace = Trace::default();
    let mut reading = Box::pin(kube::pull_secrets(&network, &pod.env, &wanted, &trace));
    let mut other_work = 0;
    let read = block_on(std::future::poll_fn(|context| {
        other_work += 1;
        reading.as_mut().poll(context)
    }));
    assert_eq!(read.secrets.len(), 1);
    assert!(other_work > 1, "the reading waits without holding up the runtime");
    assert_eq!(api.lines().len(), 3);
}

#[test]
fn a_secret_whose_name_is_a_path_is_not_asked_for() {
    let api = cluster(&["../serviceaccounts/builder", "regcred"])
        .pull_secret("ci", "regcred", "ghcr.io", "me", PASSWORD)
        .allow("ci/builder", "secrets", &["regcred"])
        .start();
    let read = Pod::of(&api).read();
    assert_eq!(
        notes(&read),
        [concat!(
            "service account ci/builder: \"../serviceaccounts/builder\" cannot be the name of a secret: ",
            "it has other characters than a-z, 0-9, `-` and `.`, or is too long"
        )]
    );
    assert_eq!(read.secrets.len(), 1);
    assert!(read.complete, "there will never be such a secret");
    assert_eq!(api.lines().len(), 3);
}

#[test]
fn a_service_account_without_pull_secrets_is_complete() {
    let api = cluster(&[]).start();
    let read = Pod::of(&api).read();
    assert_eq!(without_secrets(&read), ["service account ci/builder: names no imagePullSecrets"]);
    assert!(read.complete);
}

#[test]
fn a_forbidden_secret_does_not_hide_the_next() {
    let api = cluster(&["regcred", "open"])
        .pull_secret("ci", "regcred", "ghcr.io", "me", PASSWORD)
        .pull_secret("ci", "open", "ghcr.io", "me", PASSWORD)
        .allow("ci/builder", "secrets", &["open"])
        .start();
    let read = Pod::of(&api).read();
    assert_eq!(
        notes(&read),
        [concat!(
            "pull secret ci/regcred of the service account: forbidden: service account ci/builder may not get secret ci/regcred; ",
            "a Role with get on secrets is needed"
        )]
    );
    assert!(read.complete, "permissions do not change while a step waits");
    assert_eq!(find(&read).credentials.len(), 1);
}

#[test]
fn a_secret_that_is_not_there_is_not_all_there_is() {
    let api = cluster(&["gone"]).allow("ci/builder", "secrets", &["gone"]).start();
    let read = Pod::of(&api).read();
    assert_eq!(
        without_secrets(&read),
        ["pull secret ci/gone of the service account: not found: namespace ci has no secret of this name"]
    );
    assert!(!read.complete);
}
