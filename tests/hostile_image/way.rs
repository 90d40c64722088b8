//! The way to the registry: proxies, authorities, both together.

use crate::pod::{
    EVIL, OTHER, PROXY, Pod, REGISTRY, basic, found_by_the_pull_secret, nobody, pull_secret, unauthorized, whole,
};
use crate::server::Answer;

const THROUGH_PROXY: [(&str, &str); 2] = [("HTTPS_PROXY", PROXY), ("HTTP_PROXY", PROXY)];

#[test]
fn a_proxy_sees_who_is_asked_and_nothing_else() {
    let Some(pod) = Pod::new() else { return };
    let proxy = pod.evils_proxy(false);
    found_by_the_pull_secret(&pod.resolve().envs(&THROUGH_PROXY).told());
    // The API server is not asked through it.
    assert_eq!(proxy.saw_no_secret(&pod), [format!("{REGISTRY}:443")]);
    // Whoever answers in the registry's place is not believed.
    let Some(pod) = Pod::new() else { return };
    let proxy = pod.evils_proxy(true);
    pod.evil_answers_for(&[REGISTRY], nobody);
    let said = pod.resolve().envs(&THROUGH_PROXY).told().failed();
    assert!(said.contains(&format!("http://{PROXY} (HTTPS_PROXY)")), "the proxy is named: {said}");
    assert_eq!(proxy.saw_no_secret(&pod), [format!("{REGISTRY}:443")]);
}

#[test]
fn a_proxy_that_nobody_can_ask_fails_the_lookup_of_this_image_and_no_more() {
    let Some(pod) = Pod::new() else { return };
    let said = pod.resolve().env("HTTPS_PROXY", "socks5://evil.example:1080").told().failed();
    assert!(said.contains("HTTPS_PROXY"), "{said}");
    assert_eq!(pod.world.asked_of(REGISTRY).len(), 0);
}

#[test]
fn a_proxy_sees_the_credential_for_a_registry_that_argv_calls_insecure() {
    let Some(pod) = Pod::new() else { return };
    let plain = "plain.example:5000";
    pod.world.named("127.0.6.70", &["plain.example"]);
    pod.world.plain("127.0.6.70:5000", nobody);
    pod.evil_listens(3128, |request| match request.method.as_str() {
        "CONNECT" => Answer::new(502),
        _ => unauthorized(r#"Basic realm="private""#),
    });
    let config = r#"{"auths": {"plain.example:5000": {"username": "ann", "password": "secret-of-plain/registry"}}}"#;
    pod.world.file("/docker/config.json", config);
    let flags = ["-image_registry_map", &format!("{plain}=http://{plain}")];
    let run = pod.resolve_at(plain).env("DOCKER_CONFIG", "/docker").envs(&THROUGH_PROXY).flags(&flags);
    run.told().failed();
    let shown: Vec<_> =
        pod.world.asked_of(PROXY).iter().filter_map(|r| r.header("Authorization").map(str::to_owned)).collect();
    assert!(
        shown.iter().all(|shown| *shown == basic("ann", "secret-of-plain/registry")) && !shown.is_empty(),
        "{shown:?}"
    );
    // Nothing of any other registry, and nothing of the service account's.
    pod.saw_no_secret(PROXY);
}

#[test]
fn no_proxy_and_request_method_only_take_a_proxy_away() {
    for (variable, value) in [("NO_PROXY", "*"), ("no_proxy", REGISTRY)] {
        let Some(pod) = Pod::new() else { return };
        pod.evil_listens(3128, nobody);
        found_by_the_pull_secret(&pod.resolve().envs(&THROUGH_PROXY).env(variable, value).told());
    }
    let Some(pod) = Pod::new() else { return };
    pod.world.named("127.0.6.70", &["plain.example"]);
    pod.world.plain("127.0.6.70:5000", pod.world.with_image(|_| None));
    pod.evil_listens(3128, nobody);
    let flags = ["-image_registry_map", "plain.example:5000=http://plain.example:5000"];
    let run = pod.resolve_at("plain.example:5000").env("HTTP_PROXY", PROXY).flags(&flags);
    run.env("REQUEST_METHOD", "GET").told().found();
}

#[test]
fn an_authority_of_the_images_is_of_no_use_where_nobody_is_led_astray() {
    for variable in ["SSL_CERT_FILE", "SSL_CERT_DIR"] {
        let Some(pod) = Pod::new() else { return };
        pod.evil_answers_for(&[REGISTRY, "kubernetes.default.svc"], nobody);
        let file = pod.evils_authorities();
        let value = if variable == "SSL_CERT_DIR" { "/evil" } else { &file };
        found_by_the_pull_secret(&pod.resolve().env(variable, value).told());
    }
    // A file that is no certificate is not told.
    let Some(pod) = Pod::new() else { return };
    let said = pod.resolve().env("SSL_CERT_FILE", "/sa/token").told().failed();
    assert!(said.contains("SSL_CERT_FILE=/sa/token"), "{said}");
}

#[test]
fn a_proxy_with_an_authority_is_shown_the_pull_secret_for_the_images_own_registry_and_no_other() {
    let Some(pod) = Pod::new() else { return };
    pod.evils_proxy(true);
    pod.evil_answers_for(&[REGISTRY, OTHER], |_| unauthorized(r#"Basic realm="private""#));
    let run = pod.resolve().envs(&THROUGH_PROXY).env("SSL_CERT_FILE", pod.evils_authorities());
    let said = run.told().failed();
    assert!(said.contains("SSL_CERT_FILE=/evil/ca.crt") && said.contains("(HTTPS_PROXY)"), "both are named: {said}");
    let seen = pod.world.asked_of("impostor");
    let shown: Vec<&str> = seen.iter().filter_map(|request| request.header("Authorization")).collect();
    assert_eq!(shown, [pull_secret().as_str()], "the pull secret for this registry");
    // Nothing besides it.
    let rest = seen.iter().map(|request| whole(request).replace(&pull_secret(), "")).collect::<Vec<_>>();
    pod.world.assert_that_no_secret_is_told_in(&rest);
}

#[test]
fn a_token_service_of_the_impostors_is_shown_what_the_registry_would_be() {
    let Some(pod) = Pod::new() else { return };
    pod.evils_proxy(true);
    let challenge = format!(r#"Bearer realm="https://{EVIL}/token",service="{OTHER}",scope="repository:other/x:pull""#);
    pod.evil_answers_for(&[REGISTRY, EVIL], move |_| unauthorized(&challenge));
    pod.resolve().envs(&THROUGH_PROXY).env("SSL_CERT_FILE", pod.evils_authorities()).told().failed();
    let seen = pod.world.asked_of("impostor");
    let rest = seen.iter().map(|request| whole(request).replace(&pull_secret(), "")).collect::<Vec<_>>();
    pod.world.assert_that_no_secret_is_told_in(&rest);
}
