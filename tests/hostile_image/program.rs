//! What concerns the program itself: the cluster's address, the search path, the loader, and the step's own variables.

use crate::pod::{EVIL, Pod, REGISTRY, found_by_the_pull_secret, nobody};
use crate::skip;
use crate::step::Step;

#[test]
fn an_api_server_of_the_images_choice_is_not_shown_the_service_accounts_token() {
    for port in ["443", "6443"] {
        let Some(pod) = Pod::new() else { return };
        // One with a certificate that everybody believes, one with his own: the API server's authority vouches for neither.
        pod.evil_answers_for(&[EVIL, "kubernetes.default.svc"], nobody);
        pod.evil_listens(6443, nobody);
        pod.world.file("/sa/ca.crt", &crate::tls::Authority::new("the cluster's").pem());
        pod.evil_serves(nobody);
        let run = pod.resolve().env("KUBERNETES_SERVICE_HOST", EVIL).env("KUBERNETES_SERVICE_PORT", port);
        let told = run.env("SSL_CERT_FILE", pod.evils_authorities()).told();
        let said = told.failed();
        assert!(said.contains(&format!("the API server https://{EVIL}:{port} cannot be asked: ")), "{said}");
        // The lookup goes on without pull secrets.
        assert_eq!(pod.world.asked_of(REGISTRY).len(), 1);
        assert!(pod.world.asked_of(REGISTRY).iter().all(|request| request.header("Authorization").is_none()));
    }
}

#[test]
fn nothing_of_the_search_path_is_run_by_a_lookup() {
    let Some(pod) = Pod::new() else { return };
    for name in ["docker-credential-ecr-login", "docker-credential-gcloud", "gcloud", "aws", "az", "git", "tool"] {
        pod.program(&format!("/evil/bin/{name}"));
    }
    let run = pod.resolve().env("PATH", "/evil/bin").env("SHELL", "/bin/sh").env("HOME", "/evil");
    found_by_the_pull_secret(&run.told());
    assert_eq!(pod.ran(), None);
}

#[test]
fn no_library_of_the_images_is_loaded() {
    let Some(pod) = Pod::new() else { return };
    pod.world.file("/evil/lib/evil.so", "no library");
    pod.world.file("/evil/lib/libnss_evil.so.2", "no library");
    pod.world.file("/etc/ld.so.preload", "/evil/lib/evil.so\n");
    let told = pod
        .resolve()
        .envs(&[
            ("LD_PRELOAD", "/evil/lib/evil.so"),
            ("LD_AUDIT", "/evil/lib/evil.so"),
            ("LD_LIBRARY_PATH", "/evil/lib"),
            ("GCONV_PATH", "/evil/lib"),
            ("LOCPATH", "/evil/lib"),
            ("RES_OPTIONS", "ndots:15"),
            ("HOSTALIASES", "/evil/hosts"),
        ])
        .told();
    found_by_the_pull_secret(&told);
    // `chroot` has a loader that complains, of files that are not there outside of the root. Inside they are, and no library.
    let of_chroot = |line: &str| line.contains("cannot open shared object file");
    assert!(told.stderr.lines().all(of_chroot), "{}", told.stderr);
    assert!(!names_a_loader(&std::fs::read(skip::entrypoint()).unwrap()));
}

#[test]
fn a_hermetic_step_looks_up_before_it_loses_its_network_and_runs_no_helper() {
    let Some(pod) = Pod::new() else { return };
    pod.program("/evil/bin/docker-credential-evil");
    pod.world.file("/evil/config.json", r#"{"credsStore": "evil"}"#);
    let run = pod.resolve().flags(&["-image_exec_helpers"]).env("DOCKER_CONFIG", "/evil").env("PATH", "/evil/bin");
    let told = run.env("TEKTON_HERMETIC", "1").told();
    found_by_the_pull_secret(&told);
    assert_eq!(pod.ran(), None);
    assert!(told.stdout.contains("the step is hermetic (TEKTON_HERMETIC=1)"), "{}", told.stdout);
}

#[test]
fn a_pod_keeps_an_image_hermetic_by_an_empty_resource_name() {
    if !skip::root("a step without network") || !skip::programs("namespaces", &[("unshare", "util-linux")]) {
        return;
    }
    let network = |variables: &[(&str, &str)]| {
        let step = variables.iter().fold(Step::new(), |step, (name, value)| step.env(name, value));
        step.sh("readlink /proc/self/ns/net").stdout
    };
    let own = network(&[]);
    let hermetic = ("TEKTON_HERMETIC", "1");
    assert_eq!(network(&[hermetic, ("TEKTON_RESOURCE_NAME", "of-the-image")]), own, "as the page says");
    assert_ne!(network(&[hermetic]), own);
    assert_ne!(network(&[hermetic, ("TEKTON_RESOURCE_NAME", "")]), own);
}

#[test]
fn a_table_of_the_images_does_not_count_beside_argv() {
    let table = r#"{"linux/amd64": ["/evil/bin/tool"], "linux/arm64": ["/evil/bin/tool"]}"#;
    for command in [["-image", "registry.example/team/tool:1"], ["-entrypoint", "/bin/tool"]] {
        let Some(pod) = Pod::new() else { return };
        pod.program("/bin/tool");
        pod.program("/evil/bin/tool");
        let run = pod.run(&["-service_account_dir", "/sa", "-termination_path", "/message", command[0], command[1]]);
        let told = run.env("TEKTON_PLATFORM_COMMANDS", table).told();
        assert_eq!((told.code, pod.ran().as_deref()), (Some(0), Some("/bin/tool\n")), "{told:#?}");
    }
}

#[test]
fn the_clock_and_the_place_for_files_are_no_way_to_a_secret() {
    let Some(pod) = Pod::new() else { return };
    // What a run says and leaves is searched for every secret.
    found_by_the_pull_secret(&pod.resolve().env("TZ", "/sa/token").env("TMPDIR", "/evil").told());
    pod.resolve_at(EVIL).env("TZ", ":/sa/token").env("TMPDIR", "/sa/token").told().failed();
}

/// Whether an ELF file of 64 bits has a program header of the type INTERP.
fn names_a_loader(elf: &[u8]) -> bool {
    let number =
        |at: usize, size: usize| elf[at..at + size].iter().rev().fold(0, |n, &byte| n << 8 | usize::from(byte));
    let (start, size, count) = (number(32, 8), number(54, 2), number(56, 2));
    (0..count).any(|index| number(start + index * size, 4) == 3)
}
