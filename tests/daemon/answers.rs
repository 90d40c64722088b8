//! What daemons answer: the image, other versions, nothing of use, and lies.

use serde_json::{Value, json};

use super::oci::architecture;
use super::server::{Answer, Reply, on};
use super::world::{address, asked_for_the_image, daemon, digest, failure, image, pong, resolve, without_times};

#[test]
fn an_image_that_only_the_daemon_has_is_found_there_and_the_story_says_so() {
    let server = daemon(asked_for_the_image(Answer::json(image().to_string())));
    let host = server.host();
    let story = resolve("team/tool:1", &[("DOCKER_HOST", &address(&server))], &["--", "-x"]).story();
    server.finish();
    let machine = architecture();
    let wanted = if machine == "arm64" { "linux/arm64/v8" } else { &format!("linux/{machine}") };
    assert_eq!(
        without_times(&story),
        format!(
            "\
Image       index.docker.io/team/tool:1
Found in    the Docker daemon at tcp://{host}
Command     /bin/tool -x
ENTRYPOINT  [\"/bin/tool\"]
CMD         [\"--all\", \"a b\"]
Platform    linux/{machine} (wanted: {wanted})
Config      {}

No source of credentials was asked.

Requests:
 N ms  200  ping   GET  http://{host}/_ping
 N ms  200  image  GET  http://{host}/v1.41/images/docker.io/team/tool:1/json

Total: N ms",
            digest('a')
        )
    );
}

#[test]
fn json_has_the_daemon_and_the_digests_that_it_knows_and_no_others() {
    let mut pulled = image();
    pulled["RepoDigests"] = json!([format!("team/tool@{}", digest('b'))]);
    let server = daemon(asked_for_the_image(Answer::json(pulled.to_string())));
    let story = resolve("team/tool:1", &[("DOCKER_HOST", &address(&server))], &["-o", "json"]).story();
    let story: Value = serde_json::from_str(&story).unwrap();
    assert_eq!(story["daemon"], json!(address(&server)));
    let digests = json!({"index": null, "manifest": null, "config": digest('a'), "repository": digest('b')});
    assert_eq!(story["digests"], digests);
    assert_eq!((&story["credential"], &story["command"]), (&Value::Null, &json!(["/bin/tool", "--all", "a b"])));
    server.finish();
}

#[test]
fn the_newest_version_that_both_know_is_spoken_or_the_one_that_the_variable_says() {
    for (offered, variable, spoken) in [
        (Some("1.41"), None, "1.41"),
        (Some("1.24"), None, "1.24"),
        (Some("9.99"), None, "1.52"),
        (None, None, "1.24"),
        (Some("1.41"), Some(""), "1.41"),
        // Then nobody is asked.
        (None, Some("1.30"), "1.30"),
        (None, Some("v1.99"), "1.99"),
    ] {
        let asks = variable.is_none_or(str::is_empty);
        let ping = on("GET", "/_ping", move |_| offered.map_or_else(|| Answer::new(200).body("OK"), pong));
        let path = format!("/v{spoken}/images/docker.io/team/tool:1/json");
        let found = on("GET", path, |_| Answer::json(image().to_string()));
        let server = daemon(if asks { vec![ping, found] } else { vec![found] });
        let host = address(&server);
        let mut env = vec![("DOCKER_HOST", host.as_str())];
        env.extend(variable.map(|version| ("DOCKER_API_VERSION", version)));
        resolve("team/tool:1", &env, &[]).story();
        server.finish();
    }
}

#[test]
fn a_version_that_is_not_spoken_is_told_with_the_variable() {
    const TOO_NEW: &str = "client version 1.99 is too new. Maximum supported API version is 1.41";
    const TOO_OLD: &str = "client version 1.52 is too old. Minimum supported API version is 1.60, please upgrade";
    let old_words = Answer::new(400).header("Content-Type", "text/plain; charset=utf-8").body(TOO_OLD);
    for (offered, variable, refusal, sentence) in [
        ("1.23", None, None, "speaks the API up to version 1.23 only: 1.24 to 1.52 are spoken here"),
        ("1.41", Some("newest"), None, "DOCKER_API_VERSION=\"newest\" is no version of the API: write it as in 1.41"),
        (
            "",
            Some("1.99"),
            Some(failure(400, TOO_NEW)),
            "does not speak version 1.99 of the API (DOCKER_API_VERSION): client version 1.99 is too new. Maximum",
        ),
        (
            "1.60",
            None,
            Some(failure(400, TOO_OLD)),
            "version 1.52 of the API; set DOCKER_API_VERSION to one that it speaks: client version 1.52 is too old. Minimum supported API version is 1.60",
        ),
        ("1.60", None, Some(old_words), "set DOCKER_API_VERSION to one that it speaks: client version 1.52 is too old"),
    ] {
        let mut script = Vec::new();
        if variable.is_none() {
            script.push(on("GET", "/_ping", move |_| pong(offered)));
        }
        let path = if variable.is_some() { "1.99" } else { "1.52" };
        script.extend(
            refusal.map(|refusal| {
                on("GET", format!("/v{path}/images/docker.io/team/tool:1/json"), move |_| refusal.clone())
            }),
        );
        let server = daemon(script);
        let host = address(&server);
        let mut env = vec![("DOCKER_HOST", host.as_str())];
        env.extend(variable.map(|version| ("DOCKER_API_VERSION", version)));
        let told = resolve("team/tool:1", &env, &[]).sentence();
        assert!(told.contains(sentence), "{told}");
        server.finish();
    }
}

#[test]
fn an_image_that_is_not_there_is_told_with_the_name_that_was_asked_for() {
    let server = daemon(asked_for_the_image(failure(404, "No such image: team/tool:1")));
    let told = resolve("team/tool:1", &[("DOCKER_HOST", &address(&server))], &[]).sentence();
    let sentence = format!(
        "cannot look up the command of image team/tool:1: the daemon at {} does not have the image \
         index.docker.io/team/tool:1 (asked for as docker.io/team/tool:1): No such image: team/tool:1",
        address(&server)
    );
    assert!(told.ends_with(&sentence), "{told}");
    server.finish();
}

#[test]
fn a_digest_is_asked_for_and_found_only_where_the_daemon_names_it() {
    for (known, sentence) in
        [('b', None), ('c', Some("it answered with another image: team/tool:1, team/tool@sha256:ccc"))]
    {
        let path = format!("/v1.41/images/docker.io/team/tool@{}/json", digest('b'));
        let mut pulled = image();
        pulled["RepoDigests"] = json!([format!("team/tool@{}", digest(known))]);
        let found = Answer::json(pulled.to_string());
        let server = daemon(vec![on("GET", "/_ping", |_| pong("1.41")), on("GET", path, move |_| found.clone())]);
        let told = resolve(&format!("team/tool@{}", digest('b')), &[("DOCKER_HOST", &address(&server))], &[]);
        match sentence {
            None => assert!(told.story().contains(&format!("Repository  {}", digest('b')))),
            Some(sentence) => {
                let told = told.sentence();
                assert!(told.contains(sentence), "{told}");
            }
        }
        server.finish();
    }
}

#[test]
fn every_answer_that_is_of_no_use_is_a_sentence() {
    let with = |name: &str, value: Value| {
        let mut lie = image();
        lie[name] = value;
        Reply::from(Answer::json(lie.to_string()))
    };
    let html = |status| Answer::new(status).header("Content-Type", "text/html").body("<html>hello</html>");
    let head = |rest: &str| format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{rest}\r\n").into_bytes();
    let chunk = [b"10000\r\n".to_vec(), vec![b' '; 65536], b"\r\n".to_vec()].concat();
    for (reply, sentence) in [
        (html(200).into(), "is no Docker Engine API: it answered HTTP 200 with text/html"),
        (html(404).into(), "is no Docker Engine API: it answered HTTP 404 with text/html"),
        (html(502).into(), "is no Docker Engine API: it answered HTTP 502 with text/html"),
        (
            Answer::new(404).header("Content-Type", "text/plain").body("404 page not found").into(),
            "it answered HTTP 404 with text/plain",
        ),
        (failure(404, "page not found").into(), "is no Docker Engine API: it answered HTTP 404 with application/json"),
        (Answer::new(301).header("Location", "/elsewhere").into(), "it answered HTTP 301 with no content type"),
        (failure(500, "disk\nis\u{1b}[31m full").into(), "answered HTTP 500: disk is [31m full"),
        (failure(403, "authorization denied by plugin").into(), "answered HTTP 403: authorization denied by plugin"),
        (failure(500, &"x".repeat(9000)).into(), "xxx..."),
        (Answer::json("[]").into(), "it answered HTTP 200 with application/json"),
        (Answer::json("").into(), "it answered HTTP 200 with application/json"),
        (Answer::json("{}").into(), "its answer is not that of a Docker Engine API: missing field `Id`"),
        (Answer::json("{\"Id\":").into(), "its answer is not that of a Docker Engine API: EOF"),
        (with("Id", json!(["x"])), "its answer is not that of a Docker Engine API: invalid type: sequence"),
        (with("Config", json!("sh")), "its answer is not that of a Docker Engine API: invalid type: string"),
        (with("Config", json!({"Cmd": [["sh"]]})), "its answer is not that of a Docker Engine API"),
        (with("Config", json!({"Cmd": ["x".repeat(2 << 20)]})), "a command of more than 1048576 bytes"),
        (with("RepoTags", json!(["other:1"])), "it answered with another image: other:1"),
        (with("Architecture", json!("sparc")), "its image is for linux/sparc, and linux/"),
        (Reply::Raw(head("Content-Length: 99999999\r\n")), "the image is longer than 4194304 bytes"),
        (Reply::Endless(head("Transfer-Encoding: chunked\r\n"), chunk), "the image is longer than 4194304 bytes"),
        (Reply::Raw([head("Content-Length: 50\r\n"), b"{".to_vec()].concat()), "the image breaks off"),
        (
            Reply::Close,
            "(if it speaks TLS, set DOCKER_TLS_VERIFY=1 and DOCKER_CERT_PATH): the connection was closed before the answer",
        ),
        (Reply::Raw(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()), "what answers there does not speak HTTP"),
    ] {
        let server = daemon(asked_for_the_image(reply));
        let told = resolve("team/tool:1", &[("DOCKER_HOST", &address(&server))], &[]);
        assert!(!format!("{}{}", told.stdout, told.stderr).contains('\u{1b}'), "{told:#?}");
        let told = told.sentence();
        assert!(told.contains(sentence) && told.contains(&address(&server)) && told.len() < 700, "{sentence}: {told}");
        server.finish();
    }
}

#[test]
fn every_ping_that_is_of_no_use_is_a_sentence() {
    for (reply, sentence) in [
        (
            Answer::new(200).header("Content-Type", "text/html").body("<html>").into(),
            "it answered HTTP 200 with text/html",
        ),
        (Answer::new(200).into(), "it answered HTTP 200 with no content type"),
        (Answer::new(503).body("busy").into(), "it answered HTTP 503 with no content type"),
        (failure(500, "starting").into(), "answered HTTP 500: starting"),
        (pong("newest").into(), "it says that it speaks version \"newest\""),
        (
            Reply::Raw([&b"HTTP/1.1 200 OK\r\n\r\n"[..], &[b'x'; 99_999]].concat()),
            "the answer to a ping is longer than 65536 bytes",
        ),
        (
            Reply::Raw(b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n".to_vec()),
            "speaks TLS only: set DOCKER_TLS_VERIFY=1, and DOCKER_CERT_PATH to the directory of ca.pem, cert.pem and key.pem",
        ),
    ] {
        let mut reply: Option<Reply> = Some(reply);
        let server = daemon(vec![on("GET", "/_ping", move |_| reply.take().expect("asked once"))]);
        let told = resolve("team/tool:1", &[("DOCKER_HOST", &address(&server))], &[]).sentence();
        assert!(told.contains(sentence) && told.contains(&address(&server)), "{sentence}: {told}");
        server.finish();
    }
}

#[test]
fn a_daemon_that_accepts_and_never_answers_costs_its_own_limit() {
    let server = daemon(vec![on("GET", "/_ping", |_| Reply::Stall(Vec::new()))]);
    let told = resolve("team/tool:1", &[("DOCKER_HOST", &address(&server))], &[]);
    assert!(told.stdout.contains("---  ping  GET  "), "{}", told.stdout);
    assert!(told.stdout.contains("/_ping  no answer in time"), "{}", told.stdout);
    let told = told.sentence();
    assert!(told.contains(&format!("no answer from the daemon at {} within 10s", address(&server))), "{told}");
    // The attempt's limit is the lower one.
    let server = daemon(asked_for_the_image(Reply::Stall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{".to_vec())));
    let told =
        resolve("team/tool:1", &[("DOCKER_HOST", &address(&server))], &["-image_lookup_timeout", "2s"]).sentence();
    // On a machine that is busy the supervisor may be the one who says it.
    let by_child = told.contains("no answer from the daemon at ") && told.contains(" within 1.7");
    assert!(by_child || told.contains("no answer within 2s (-image_lookup_timeout)"), "{told}");
}
