//! Token, rights and pull secrets.

use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use crate::kube_api::{Cluster, KubeApi, token_without_pod};
use crate::server::{Answer, Bound};
use crate::skip;
use crate::world::{PASSWORD, World, row, rows, says, told};

/// `ci/builder` has a pull secret and so has its pod.
fn cluster() -> Cluster {
    Cluster::new()
        .service_account("ci", "builder", &["regcred", "gone"])
        .pod("ci", "taskrun-pod", &["podcred", "regcred"])
        .pull_secret("ci", "regcred", "ghcr.io", "me", PASSWORD)
        .pull_secret("ci", "podcred", "https://me:hunter2-secret@quay.io/v1", "me", PASSWORD)
}

fn allowed() -> Cluster {
    cluster().allow("ci/builder", "pods", &["taskrun-pod"]).allow("ci/builder", "serviceaccounts", &["builder"]).allow(
        "ci/builder",
        "secrets",
        &["regcred", "podcred", "gone"],
    )
}

const NONE: &[&str] = &[];

#[test]
fn outside_of_a_cluster_that_is_said_and_is_no_failure() {
    let (told, report) = told(&mut World::new().command(NONE));
    assert_eq!(told.code, Some(0));
    let nowhere = "not in a cluster: KUBERNETES_SERVICE_HOST is not set";
    for check in ["rbac", "pull_secrets"] {
        assert_eq!(row(&report, check), says("not_checked", nowhere));
    }
    let (verdict, sentence) = row(&report, "token");
    assert_eq!(verdict, "note");
    assert!(sentence.starts_with("no token at /var/run/secrets/"), "{sentence}");
}

#[test]
fn what_the_token_may_read_is_told_with_the_keys_of_the_pull_secrets() {
    let (world, api) = (World::new(), allowed().start());
    let (told, report) = told(&mut world.in_pod(&api, NONE));
    assert_eq!(told.code, Some(0), "{told:?}");
    let token = "service account ci/builder, for pod taskrun-pod, for https://kubernetes.default.svc.cluster.local; it \
                 never expires";
    assert_eq!(row(&report, "token"), says("ok", token));
    let sentences = |check| rows(&report, check).into_iter().map(|row| (row.verdict, row.says)).collect::<Vec<_>>();
    assert_eq!(
        sentences("rbac"),
        [
            says("ok", "may get pod ci/taskrun-pod"),
            says("ok", "may get service account ci/builder"),
            says("ok", "may get secret ci/podcred, secret ci/regcred"),
        ]
    );
    assert_eq!(
        sentences("pull_secrets"),
        [
            says("ok", "pull secret ci/podcred of the pod: for \"https://quay.io/v1\""),
            says("ok", "pull secret ci/regcred of the pod and the service account: for \"ghcr.io\""),
            says("problem", "pull secret ci/gone of the service account: namespace ci has no secret of this name"),
        ]
    );
    // Each object is asked about before it is got, and nothing is asked twice.
    let lines = api.lines();
    let reviews = lines.iter().filter(|line| line.starts_with("POST ")).count();
    let gets = lines.iter().filter(|line| line.starts_with("GET ")).count();
    assert_eq!((reviews, gets), (5, 5), "{lines:?}");
}

#[test]
fn what_the_token_may_not_read_is_told_with_the_role_and_never_got() {
    let (world, api) = (World::new(), cluster().start());
    let (told, report) = told(&mut world.in_pod(&api, &["-image_pull_secrets", "regcred,mirror"]));
    assert_eq!(told.code, Some(0), "problems are told, and no failure");
    let rbac = rows(&report, "rbac");
    let verdicts: Vec<_> = rbac.iter().map(|row| row.verdict.as_str()).collect();
    assert_eq!(verdicts, ["note", "note", "problem"], "{rbac:#?}");
    let fix = rbac[2].fix.as_deref().unwrap();
    assert_eq!(
        fix,
        "kubectl create role builder-get-secrets --namespace=ci --verb=get --resource=secrets --resource-name=regcred \
         --resource-name=mirror\n\
         kubectl create rolebinding builder-get-secrets --namespace=ci --role=builder-get-secrets \
         --serviceaccount=ci:builder"
    );
    assert!(api.lines().iter().all(|line| line.starts_with("POST ")), "{:?}", api.lines());
    assert_eq!(rows(&report, "pull_secrets").len(), 2);
}

#[test]
fn the_roles_are_what_kubectl_takes() {
    if !skip::programs("the commands of doctor", &[("kubectl", "kubernetes-client")]) {
        return;
    }
    let (world, api) = (World::new(), cluster().start());
    let (_, report) = told(&mut world.in_pod(&api, &["-image_pull_secrets", "regcred"]));
    let fixes: Vec<String> = rows(&report, "rbac").into_iter().filter_map(|row| row.fix).collect();
    let lines: Vec<&str> = fixes.iter().flat_map(|fix| fix.lines()).collect();
    assert_eq!(lines.len(), 6, "{fixes:?}");
    for line in lines {
        let words: Vec<&str> = line.split(' ').collect();
        let (program, args) = words.split_first().unwrap();
        assert_eq!(*program, "kubectl");
        let output = kubectl(&world, &api, args);
        let made: serde_json::Value = serde_json::from_str(&output).unwrap_or_else(|error| panic!("{error}: {output}"));
        assert_eq!(made["metadata"]["namespace"], "ci", "{made}");
        if made["kind"] == "Role" {
            assert_eq!(made["rules"][0]["verbs"], json!(["get"]), "{made}");
        } else {
            let builder = json!([{"kind": "ServiceAccount", "name": "builder", "namespace": "ci"}]);
            assert_eq!((&made["kind"], &made["subjects"]), (&json!("RoleBinding"), &builder), "{made}");
        }
    }
}

/// A dry run, for which kubectl asks the API server what there is.
fn kubectl(world: &World, api: &KubeApi, args: &[&str]) -> String {
    let account = world.path().join("account");
    let token = std::fs::read_to_string(account.join("token")).unwrap();
    let output = Command::new("kubectl")
        .args(args)
        .args(["--dry-run=client", "--output=json", &format!("--token={token}")])
        .arg(format!("--server=https://{}", api.address()))
        .arg(format!("--certificate-authority={}", account.join("ca.crt").display()))
        .env("HOME", world.path())
        .env_remove("KUBECONFIG")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn where_nobody_says_who_may_what_the_object_itself_is_asked_for() {
    let world = World::new();
    let api = allowed().without_reviews().start();
    let (_, report) = told(&mut world.in_pod(&api, NONE));
    assert_eq!(rows(&report, "rbac").len(), 3);
    assert!(rows(&report, "rbac").iter().all(|row| row.verdict == "ok"), "{report}");
    let api = cluster().without_reviews().start();
    std::fs::remove_dir_all(world.path().join("account")).unwrap();
    let (_, report) = told(&mut world.in_pod(&api, NONE));
    let forbidden = rows(&report, "rbac");
    assert!(forbidden[0].says.starts_with("may not get pod ci/taskrun-pod: "), "{forbidden:?}");
    assert!(forbidden[1].says.starts_with("may not get service account ci/builder: "), "{forbidden:?}");
    // Then it is not known which there are.
    assert_eq!(row(&report, "pull_secrets").0, "not_checked");
}

#[test]
fn an_api_server_that_is_odd_or_gone_leaves_nothing_known() {
    let world = World::new();
    let oops = || Answer::new(500).body(r#"{"kind": "Status", "code": 500, "message": "\u001b[31moops"}"#);
    let api = allowed().odd("ci", "serviceaccounts", "builder", oops()).start();
    let (_, report) = told(&mut world.in_pod(&api, NONE));
    let rbac = rows(&report, "rbac");
    let unknown = rbac.iter().find(|row| row.verdict == "not_checked").unwrap();
    assert!(unknown.says.starts_with("service account ci/builder: the API server https://127.0.0.1:"), "{rbac:#?}");
    assert_eq!(rows(&report, "pull_secrets").len(), 2, "those of the pod are known");
    let mut api = allowed().start();
    std::fs::remove_dir_all(world.path().join("account")).unwrap();
    let mut command = world.in_pod(&api, NONE);
    api.stop();
    let (told, report) = told(&mut command);
    let gone = rows(&report, "rbac");
    assert_eq!((told.code, gone.len()), (Some(0), 2));
    assert!(gone[0].says.ends_with(" cannot be asked: connection refused"), "{gone:?}");
    assert!(gone[1].says.starts_with("service account ci/builder: not asked any more: "), "{gone:?}");
}

#[test]
fn a_token_is_told_with_its_life_and_what_is_wrong_with_it() {
    let (world, api) = (World::new(), allowed().start());
    let mount = world.path().join("account");
    std::fs::create_dir(&mount).unwrap();
    api.mount(&mount, "ci", "builder");
    let claims = json!({"sub": "system:serviceaccount:ci:builder", "exp": 1_000_000_000, "aud": "x\u{1b}[31m"});
    let expired = format!("e30.{}.unsigned", URL_SAFE_NO_PAD.encode(claims.to_string()));
    for (token, verdict, start) in [
        (
            expired.as_str(),
            "problem",
            "service account ci/builder, it does not say for which pod, for x\u{1b}[31m; it expired ",
        ),
        (
            &token_without_pod("ci", "builder"),
            "ok",
            "service account ci/builder, it does not say for which pod; it never",
        ),
        ("opaque", "note", "the token does not say whose it is"),
        ("", "problem", "the token "),
    ] {
        std::fs::write(mount.join("token"), token).unwrap();
        let (_, report) = told(&mut world.in_pod(&api, NONE));
        let (found, sentence) = row(&report, "token");
        assert_eq!(found, verdict, "{sentence}");
        assert!(sentence.starts_with(start), "{sentence}");
        assert_eq!(rows(&report, "rbac").first().map(|row| row.verdict == "ok"), Some(false), "{report}");
    }
}

#[test]
fn config_files_and_identities_are_told_by_name_and_never_by_value() {
    let world = World::new();
    world.docker_config("ghcr.io", "me");
    let auth = world.path().join("auth.json");
    std::fs::write(&auth, format!(r#"{{"auths": {{"quay.io": {{"auth": "{PASSWORD}"}}}}, "credsStore": "pass"}}"#))
        .unwrap();
    let mut command = world.command(NONE);
    command
        .env("DOCKER_CONFIG", world.path())
        .env("REGISTRY_AUTH_FILE", &auth)
        .env("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
        .env("AWS_SECRET_ACCESS_KEY", PASSWORD)
        .env("AZURE_CLIENT_SECRET", PASSWORD)
        .env("GOOGLE_APPLICATION_CREDENTIALS", "/absent/key.json");
    let (_, report) = told(&mut command);
    let configs = rows(&report, "config_files");
    let docker = format!("docker config {}/config.json: for \"ghcr.io\"", world.path().display());
    assert_eq!((configs[0].verdict.as_str(), &configs[0].says), ("ok", &docker));
    let podman = format!(
        "podman auth file {}: helpers: docker-credential-pass for all others; of no use: \"quay.io\" (its \"auth\" is not \
         base64)",
        auth.display()
    );
    assert_eq!((configs[1].verdict.as_str(), &configs[1].says), ("problem", &podman));
    let identities: Vec<String> = rows(&report, "cloud_identity").into_iter().map(|row| row.says).collect();
    assert_eq!(
        identities,
        [
            "Google credential file: GOOGLE_APPLICATION_CREDENTIALS names a file that cannot be read: /absent/key.json: no \
             such file or directory",
            "Amazon keys, by AWS_ACCESS_KEY_ID",
            "Azure client secret: AZURE_CLIENT_SECRET is set, and not AZURE_CLIENT_ID and AZURE_TENANT_ID",
        ]
    );
}

#[test]
fn a_lookup_with_a_pull_secret_is_one_line() {
    let world = World::new();
    let bound = Bound::new();
    let api = Cluster::new()
        .service_account("ci", "builder", &["regcred"])
        .pull_secret("ci", "regcred", &bound.host(), "me", PASSWORD)
        .allow("ci/builder", "serviceaccounts", &["builder"])
        .allow("ci/builder", "secrets", &["regcred"])
        .start();
    let registry = world.serve(bound, Some("me"));
    let host = registry.host();
    let args: Vec<String> = [format!("{host}/team/tool:v1")].into_iter().chain(world.trusting(&host)).collect();
    let (told, report) = told(&mut world.in_pod(&api, &args));
    assert_eq!((told.code, &report["looked_up"]), (Some(0), &json!(true)), "{told:?}");
    let (verdict, sentence) = row(&report, "lookup");
    let platform = format!("linux/{}", crate::oci::architecture());
    let expected = format!(
        "runs /bin/app 'serve it': {host}/team/tool:v1, {platform}; credential: pull secret ci/regcred of the service \
         account, key \"{host}\""
    );
    assert_eq!((verdict.as_str(), sentence), ("ok", expected));
}
