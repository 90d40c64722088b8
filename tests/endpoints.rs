//! The wait for endpoints from outside: the built binary, real sockets, and what every end leaves behind.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and waits for the processes that it starts"
)]

use std::io::{self, BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Child;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

#[path = "endpoints/daemon.rs"]
mod daemon;
#[path = "support/oci.rs"]
mod oci;
#[path = "../examples/demo/registry.rs"]
#[allow(unreachable_pub, reason = "shared with the demo")]
mod registry;
#[path = "support/server.rs"]
mod server;
#[path = "support/skip.rs"]
mod skip;
#[path = "support/step.rs"]
mod step;
#[path = "support/tls.rs"]
mod tls;

use oci::{Command, Layout, architecture};
use registry::Registry;
use server::{Answer, Bound, Reply, Server, on};
use step::{Ended, Step, eventually, only_child, send};
use tls::{Authority, LOOPBACK};

/// A step that would say so if it ran.
const SAYS: [&str; 4] = ["-entrypoint", "/bin/echo", "--", "ran"];

/// A step that waits for these, far longer than any of these tests takes.
fn waits_for(endpoints: &str) -> Step {
    Step::new().flags(["-wait_endpoints", endpoints, "-wait_endpoints_timeout", "60s"])
}

/// A success, with these lines in the log but for their times.
#[track_caller]
fn ran(ended: &Ended, lines: &[&str]) {
    assert_eq!((ended.code(), ended.post, ended.err, ended.stdout.as_str()), (0, true, false, "ran\n"), "{ended:#?}");
    assert_eq!(ended.message.as_deref(), Some(r#"[{"key":"StartedAt","value":"T","type":3}]"#));
    assert_eq!(log(&ended.stderr), lines);
}

/// The lines of a log without their times.
fn log(stderr: &str) -> Vec<&str> {
    stderr.lines().map(|line| line.get(20..).unwrap_or(line)).collect()
}

/// What every failed wait leaves: `.err`, exit code 1, a message with its reason, one sentence; no program was run, and the
/// next step is released by it. Gives the sentence back.
#[track_caller]
fn fails(step: Step) -> String {
    let next = Step::new().flags(["-wait_file", &step.path("out").display().to_string()]);
    let waiting = next.start(&["-entrypoint", "/bin/true", "--"]);
    let child = step.start(&SAYS);
    // The next step first: to read what this one left is to remove its directory, post file and all.
    let next = next.finish(waiting);
    assert_eq!((next.code(), next.err), (1, true), "the next step is released: {next:#?}");
    let ended = step.finish(child);
    assert_eq!((ended.code(), ended.post, ended.err, &*ended.stdout), (1, false, true, ""), "{ended:#?}");
    assert_eq!(ended.exit_code, None);
    let message = ended.message.as_deref().expect("a message");
    assert!(message.contains(r#"{"key":"Reason","value":"EndpointNotReady","type":3}"#), "{message}");
    let sentence = log(&ended.stderr).last().expect("a line").to_string();
    let start: String = sentence.chars().take(300).collect();
    assert!(message.contains(serde_json::to_string(&start).unwrap().trim_matches('"')), "{message}");
    sentence
}

/// A failed wait for what gives no good answer, in a second; `reason` is what its sentence says of the last try.
#[track_caller]
fn fails_in_time(step: Step, endpoint: &str, reason: &str) {
    let sentence = fails(step.flags(["-wait_endpoints_timeout", "1s"]));
    let start = format!("no good answer within 1s (-wait_endpoints_timeout) from {endpoint}, tried ");
    assert!(sentence.starts_with(&start), "{sentence}");
    assert!(sentence.contains(&format!(": {reason}")), "no {reason:?} in: {sentence}");
    assert!(
        sentence.ends_with("; see that it runs and that this pod may reach it, or allow it more time"),
        "{sentence}"
    );
}

/// An address of this machine where nothing listens, and which no other test is given.
fn nowhere(last: u8) -> String {
    Bound::to(&format!("127.77.0.{last}:0")).host()
}

/// Reads the first line of a step's log as soon as it is there; the rest can be read behind it.
fn first_line(child: &mut Child) -> (String, BufReader<std::process::ChildStderr>) {
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    stderr.read_line(&mut line).unwrap();
    (log(&line).concat(), stderr)
}

/// The process that waits for the endpoints, as soon as it is there.
fn asking(step: &Child) -> i32 {
    let mut asking = None;
    eventually("the endpoints' process is there", || {
        asking = only_child(step.id());
        asking.is_some()
    });
    asking.unwrap()
}

fn pid(child: &Child) -> i32 {
    i32::try_from(child.id()).unwrap()
}

/// A listener that takes no connection by itself.
fn silent() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    (listener, host)
}

#[test]
fn a_step_runs_without_a_word_when_everything_answers() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new("the tests' authority");
    let ca = authority.write(dir.path()).display().to_string();
    let (_listening, tcp) = silent();
    let plain = Server::scripted(Bound::new(), None, vec![on("GET", "/ready", |_| Answer::new(204))]);
    let secure =
        Server::scripted(Bound::new(), Some(authority.server(LOOPBACK)), vec![on("GET", "/", |_| Answer::json("{}"))]);
    let two = format!("tcp://{tcp},{}?deep=1", plain.url("/ready"));
    let step = waits_for(&two).flags(["-wait_endpoints", &secure.url("")]).env("SSL_CERT_FILE", &ca);
    ran(&step.run(&SAYS), &[]);
    let requests = plain.finish();
    assert_eq!(requests[0].line(), "GET /ready?deep=1");
    assert_eq!(requests[0].header("connection"), Some("close"));
    secure.finish();
}

#[test]
fn a_server_that_comes_up_later_releases_the_step_and_the_log_told_what_was_waited_for() {
    let host = nowhere(1);
    let step = waits_for(&format!("tcp://{host}"));
    let mut child = step.start(&SAYS);
    let (line, mut stderr) = first_line(&mut child);
    assert_eq!(line, format!("INFO waiting for tcp://{host}: connection refused"));
    let _bound = Bound::to(&host);
    let ended = step.finish(child);
    assert_eq!((ended.code(), ended.post, ended.stdout.as_str()), (0, true, "ran\n"), "{ended:#?}");
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "", "nothing more is said");
}

#[test]
fn what_is_waited_for_is_told_once_however_long_it_takes() {
    let (first, second) = (nowhere(13), nowhere(14));
    let step = waits_for(&format!("tcp://{first},tcp://{second}")).flags(["-wait_endpoints_timeout", "5s"]);
    let ended = step.run(&SAYS);
    let lines = log(&ended.stderr);
    let [one, two, sentence] = lines[..] else { panic!("{lines:?}") };
    let told = |host: &str| format!("INFO waiting for tcp://{host}: connection refused");
    assert_eq!(std::collections::BTreeSet::from([one, two]), [&*told(&first), &*told(&second)].into());
    assert!(sentence.starts_with("no good answer within 5s "), "{sentence}");
}

#[test]
fn a_server_that_is_not_ready_at_first_is_asked_again() {
    let ready = Server::scripted(
        Bound::new(),
        None,
        vec![
            on("GET", "/", |_| Answer::new(503)),
            on("GET", "/", |_| Reply::Close),
            on("GET", "/", |_| Answer::new(200).body("ready")),
        ],
    );
    ran(&waits_for(&ready.url("/")).run(&SAYS), &[]);
    ready.finish();
}

#[test]
fn what_never_comes_up_fails_the_step_and_releases_the_next() {
    let host = nowhere(2);
    let endpoint = format!("tcp://{host}");
    fails_in_time(waits_for(&endpoint), &endpoint, "connection refused; ");
    let url = format!("http://{host}/x");
    fails_in_time(waits_for(&url), &url, "connection refused; ");
}

#[test]
fn what_accepts_and_never_answers_costs_the_time_and_not_more() {
    let (_listening, host) = silent();
    let url = format!("http://{host}/");
    let begun = Instant::now();
    fails_in_time(waits_for(&url), &url, "no answer in time; ");
    assert!(begun.elapsed() >= Duration::from_secs(1));
    let url = format!("https://{host}/");
    fails_in_time(waits_for(&url), &url, "no answer in time; ");
    // Nobody is asked for an answer there.
    ran(&waits_for(&format!("tcp://{host}")).run(&SAYS), &[]);
}

#[test]
fn the_log_tells_of_what_has_not_answered_so_far() {
    let (listening, host) = silent();
    let step = waits_for(&format!("http://{host}/"));
    let mut child = step.start(&SAYS);
    let connection = listening.accept().unwrap();
    let (line, _stderr) = first_line(&mut child);
    assert_eq!(line, format!("INFO waiting for http://{host}/: no answer so far"));
    send(pid(&child), libc::SIGTERM);
    drop(connection);
    step.finish(child);
}

#[test]
fn only_a_status_of_success_will_do() {
    let page = "<html><body>Not here</body></html>";
    let web = Server::handler(Bound::new(), None, move |request| match request.path() {
        "/moved" => Answer::new(302).header("Location", "https://elsewhere.example/login?token=hunter2"),
        "/odd" => Answer::new(301),
        _ => Answer::new(404).header("Content-Type", "text/html").body(page),
    });
    for (path, reason) in [
        ("/", "it answers 404 Not Found; "),
        (
            "/moved",
            "it answers 302 Found, and redirects are not followed: name https://elsewhere.example/login instead; ",
        ),
        ("/odd", "it answers 301 Moved Permanently; "),
    ] {
        let url = web.url(path);
        fails_in_time(waits_for(&url), &url, reason);
    }
}

#[test]
fn a_server_without_an_end_is_not_read() {
    let head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n".to_vec();
    let web = Server::handler(Bound::new(), None, move |_| Reply::Endless(head.clone(), vec![b'x'; 4096]));
    ran(&waits_for(&web.url("/")).run(&SAYS), &[]);
}

#[test]
fn who_cannot_be_trusted_or_spoken_to_is_told_by_what_it_is() {
    let stranger = Authority::new("a stranger");
    let secure = Server::handler(Bound::new(), Some(stranger.server(LOOPBACK)), |_| Answer::new(200));
    let url = secure.url("/");
    fails_in_time(
        waits_for(&url),
        &url,
        "its certificate is signed by an authority that is not trusted here; let SSL_CERT_FILE name a PEM file with it; ",
    );
    fails_in_time(
        waits_for(&url).env("SSL_CERT_FILE", "/nowhere/ca.pem"),
        &url,
        "its certificate is signed by an authority that is not trusted here; let SSL_CERT_FILE name a PEM file with it; \
         SSL_CERT_FILE=/nowhere/ca.pem: adds no trusted certificate: ",
    );
    let plain = Server::handler(Bound::new(), None, |_| Answer::new(200));
    let url = format!("https://{}/", plain.host());
    fails_in_time(waits_for(&url), &url, "what answers there does not speak TLS; ");
    let garbage = Server::handler(Bound::new(), None, |_| Reply::Raw(b"SSH-2.0-OpenSSH\r\n\r\n".to_vec()));
    let url = garbage.url("/");
    fails_in_time(waits_for(&url), &url, "what answers there does not speak HTTP; ");
}

#[test]
fn every_endpoint_that_is_missing_is_told_in_order_and_no_other() {
    let (_listening, there) = silent();
    let (first, second) = (nowhere(3), nowhere(4));
    let sentence = fails(
        waits_for(&format!("http://{first}/,tcp://{there},tcp://{second}")).flags(["-wait_endpoints_timeout", "1s"]),
    );
    let (head, tail) = sentence.split_once("; nor from ").expect("two");
    assert!(head.contains(&format!(" from http://{first}/, tried ")), "{sentence}");
    assert!(tail.starts_with(&format!("tcp://{second}, tried ")), "{sentence}");
    assert!(!sentence.contains(&there), "{sentence}");
}

/// A step with a hosts file and a `resolv.conf` of its own; `None` where the test is skipped.
fn with_names(step: Step, hosts: &str, resolv_conf: &str) -> Option<Step> {
    const NAMES: &str = r#"
        set -e
        mount --bind "$1/hosts" /etc/hosts
        mount --bind "$1/resolv.conf" /etc/resolv.conf
        shift
        exec "$@""#;
    let tools = [("unshare", "util-linux"), ("mount", "mount")];
    if !skip::root("names of a pod's own") || !skip::programs("names of a pod's own", &tools) {
        return None;
    }
    std::fs::write(step.path("hosts"), hosts).unwrap();
    std::fs::write(step.path("resolv.conf"), resolv_conf).unwrap();
    let scratch = step.path("").display().to_string();
    Some(step.under(&["unshare", "-m", "sh", "-c", NAMES, "sh", &scratch]))
}

#[test]
fn a_name_that_never_resolves_is_told_with_the_reason() {
    let nobody = "db.example is not in the hosts file, and /etc/resolv.conf names no usable name server: ";
    for endpoint in ["tcp://db.example:5432", "http://db.example/"] {
        let Some(step) = with_names(waits_for(endpoint), "", "") else { return };
        let sentence = fails(step.flags(["-wait_endpoints_timeout", "1s"]));
        assert!(sentence.contains(nobody), "{sentence}");
    }
}

#[test]
fn name_servers_that_say_nothing_are_told_from_a_server_that_does() {
    // Nobody listens there, and a name may take eight seconds.
    let Some(step) = with_names(waits_for("tcp://db.example:5432"), "", "nameserver 127.77.0.53\n") else { return };
    let sentence = fails(step.flags(["-wait_endpoints_timeout", "9s"]));
    assert!(sentence.contains(": the name servers gave no answer for db.example in time; "), "{sentence}");
}

#[test]
fn a_name_that_resolves_only_later_releases_the_step() {
    let bound = Bound::new();
    let endpoint = format!("tcp://db.example:{}", bound.address().port());
    let Some(step) = with_names(waits_for(&endpoint), "", "") else { return };
    let mut child = step.start(&SAYS);
    let (line, _stderr) = first_line(&mut child);
    assert!(line.starts_with(&format!("INFO waiting for {endpoint}: db.example is not in the hosts file")), "{line}");
    std::fs::write(step.path("hosts"), "127.0.0.1 db.example\n").unwrap();
    let ended = step.finish(child);
    assert_eq!((ended.code(), ended.post, ended.stdout.as_str()), (0, true, "ran\n"), "{ended:#?}");
}

#[test]
fn a_signal_in_the_middle_ends_the_step_and_the_child() {
    let host = nowhere(5);
    let step = waits_for(&format!("tcp://{host},http://{host}/"));
    let child = step.start(&SAYS);
    let asking = asking(&child);
    send(pid(&child), libc::SIGTERM);
    let ended = step.finish(child);
    assert!(ended.err && ended.message.as_deref().unwrap().contains("Interrupted"), "{ended:#?}");
    let sentence =
        format!("SIGTERM ended the step while it waited for tcp://{host}, http://{host}/: the pod is being ");
    assert!(log(&ended.stderr)[0].starts_with(&sentence), "{}", ended.stderr);
    let gone = format!("/proc/{asking}");
    eventually("the endpoints' process is gone", || !std::path::Path::new(&gone).exists());
}

#[test]
fn a_child_that_is_killed_fails_the_step_with_what_to_do() {
    let host = nowhere(6);
    let step = waits_for(&format!("tcp://{host}"));
    let child = step.start(&SAYS);
    send(asking(&child), libc::SIGKILL);
    let ended = step.finish(child);
    assert_eq!((ended.code(), ended.err, &*ended.stdout), (1, true, ""), "{ended:#?}");
    assert_eq!(
        log(&ended.stderr),
        [format!(
            "cannot wait for tcp://{host} (-wait_endpoints): their process was killed by SIGKILL: if that was the \
             out-of-memory killer, give the step more memory"
        )]
    );
}

#[test]
fn a_child_that_hangs_is_killed_behind_its_own_deadline() {
    let host = nowhere(7);
    let step = waits_for(&format!("tcp://{host}")).flags(["-wait_endpoints_timeout", "1s"]);
    let child = step.start(&SAYS);
    let asking = asking(&child);
    send(asking, libc::SIGSTOP);
    let ended = step.finish(child);
    assert_eq!((ended.code(), ended.err), (1, true), "{ended:#?}");
    assert!(ended.stderr.contains("their process said nothing within 1s and 5s more"), "{}", ended.stderr);
    let gone = format!("/proc/{asking}");
    eventually("the endpoints' process is gone", || !std::path::Path::new(&gone).exists());
}

#[test]
fn the_supervisor_stays_one_small_thread_with_no_socket() {
    let step = waits_for(&format!("http://{}/", nowhere(8)));
    let child = step.start(&SAYS);
    let asking = asking(&child);
    step::waits(&child);
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let field = |name: &str| -> u64 {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}: {status}"));
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    assert_eq!(field("Threads:"), 1);
    // Anonymous memory is what the supervisor itself has; it is some 200 kB in any wait.
    assert!(field("RssAnon:") < 1024, "{status}");
    for entry in std::fs::read_dir(format!("/proc/{}/fd", child.id())).unwrap() {
        let target = std::fs::read_link(entry.unwrap().path()).unwrap_or_default();
        assert!(!target.display().to_string().starts_with("socket:"), "{}", target.display());
    }
    assert_ne!(asking, pid(&child));
    send(pid(&child), libc::SIGTERM);
    step.finish(child);
}

#[test]
fn a_proxy_is_asked_for_http_by_gos_rules_and_never_for_tcp() {
    let (_listening, tcp) = silent();
    let proxy = Server::scripted(
        Bound::new(),
        None,
        // As proxies are asked: with the whole address.
        vec![on("GET", "http://service.example/ready", |_| Answer::new(200))],
    );
    let direct = Server::scripted(Bound::new(), None, vec![on("GET", "/", |_| Answer::new(200))]);
    let step = waits_for(&format!("http://service.example/ready,tcp://{tcp},{}", direct.url("/")));
    ran(&step.env("HTTP_PROXY", &proxy.host()).run(&SAYS), &[]);
    proxy.finish();
    direct.finish();
    let refusing = Server::handler(Bound::new(), None, |_| Answer::new(407));
    let (url, host) = ("http://service.example/", refusing.host());
    fails_in_time(
        waits_for(url).env("http_proxy", &format!("http://ci:hunter2@{host}")),
        url,
        &format!("it answers 407 Proxy Authentication Required; proxy http://{host} (http_proxy): in between; "),
    );
}

#[test]
fn a_variable_that_names_no_proxy_fails_at_once_where_a_proxy_could_be_meant() {
    let (_listening, tcp) = silent();
    let endpoint = format!("tcp://{tcp}");
    ran(&waits_for(&endpoint).env("HTTPS_PROXY", "ftp://p").run(&SAYS), &[]);
    let sentence = fails(waits_for(&format!("{endpoint},https://h/")).env("HTTPS_PROXY", "ftp://p"));
    assert_eq!(
        sentence,
        "cannot wait for https://h/ (-wait_endpoints): the environment variable HTTPS_PROXY does not hold the address of a \
         proxy (http://HOST:PORT)"
    );
}

#[test]
fn a_name_that_looks_like_one_and_is_none_fails_with_a_sentence() {
    let sentence = fails(waits_for("http://xn--a-ecp.ru/"));
    let start = "cannot wait for http://xn--a-ecp.ru/ (-wait_endpoints): it is no address: ";
    assert!(sentence.starts_with(start), "{sentence}");
}

#[test]
fn nothing_is_asked_before_the_steps_turn() {
    let (listening, host) = silent();
    listening.set_nonblocking(true).unwrap();
    let step = waits_for(&format!("tcp://{host}"));
    let before = step.path("before");
    let step = step.flags(["-wait_file", &before.display().to_string()]);
    let child = step.start(&SAYS);
    step::waits(&child);
    assert_eq!(only_child(child.id()), None);
    assert_eq!(listening.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    std::fs::write(before, "").unwrap();
    ran(&step.finish(child), &[]);
    listening.accept().expect("it was asked then");
}

#[test]
fn a_step_that_is_skipped_waits_for_nothing() {
    let (listening, host) = silent();
    listening.set_nonblocking(true).unwrap();
    let endpoints = format!("tcp://{host},tcp://{}", nowhere(9));
    // An earlier step has failed.
    let step = waits_for(&endpoints);
    let before = step.path("before");
    std::fs::write(step.path("before.err"), "").unwrap();
    let ended = step.flags(["-wait_file", &before.display().to_string()]).run(&SAYS);
    assert_eq!(log(&ended.stderr), ["Skipping step because a previous step failed"]);
    // Its when expressions do not want it.
    let when = r#"[{"input":"a","operator":"in","values":["b"]}]"#;
    let ended = waits_for(&endpoints).flags(["-when_expressions", when]).run(&SAYS);
    assert_eq!((ended.code(), ended.post, &*ended.stdout), (0, true, ""), "{ended:#?}");
    assert_eq!(listening.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    // They do.
    let when = r#"[{"input":"a","operator":"in","values":["a"]}]"#;
    let step = waits_for(&format!("tcp://{host}")).flags(["-when_expressions", when]);
    ran(&step.run(&SAYS), &[]);
    listening.accept().expect("it was asked");
}

#[test]
fn endpoints_come_before_the_person_who_is_asked_about_the_step() {
    let host = nowhere(10);
    let endpoint = format!("tcp://{host}");
    fails_in_time(waits_for(&endpoint).flags(["-debug_before_step"]), &endpoint, "connection refused; ");
}

#[test]
fn the_steps_time_begins_behind_the_endpoints() {
    let tries = AtomicUsize::new(0);
    // The step's own time is less than the pauses between the first tries.
    let slow = Server::handler(Bound::new(), None, move |_| {
        Answer::new(if tries.fetch_add(1, Ordering::SeqCst) < 2 { 503 } else { 200 })
    });
    ran(&waits_for(&slow.url("/")).flags(["-timeout", "450ms"]).run(&SAYS), &[]);
}

/// A registry on loopback, over plain http, and a step whose image it has.
struct World {
    dir: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut layout = Layout::create(&dir.path().join("layout"));
        let image = layout.image(architecture(), Command { entrypoint: &["/bin/echo"], cmd: &["ran"] }, &[]);
        layout.tag("v1", &image);
        Self { dir }
    }

    fn layout(&self) -> PathBuf {
        self.dir.path().join("layout")
    }
}

#[test]
fn an_image_is_looked_up_when_its_registry_has_come_up() {
    let (world, host) = (World::new(), nowhere(11));
    let step = waits_for(&format!("tcp://{host}")).flags(["-image", &format!("{host}/team/tool:v1")]);
    let mut child = step.start(&["--"]);
    // What failed before the step's turn is told at once, and tried again.
    let (line, _stderr) = first_line(&mut child);
    assert!(line.starts_with("WARN cannot look up the command of image "), "{line}");
    let registry = Registry { layout: world.layout(), authorization: None };
    let _registry = Server::handler(Bound::to(&host), None, move |request| registry.answer(request));
    let ended = step.finish(child);
    assert_eq!((ended.code(), ended.post, ended.stdout.as_str()), (0, true, "ran\n"), "{ended:#?}");
}
