//! Registries that have been asked too often: what is said of their limits, and when they are asked again.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and waits for the processes that it starts"
)]
#![cfg(feature = "lookup")]

#[path = "support/images.rs"]
mod images;
#[path = "support/lookup.rs"]
mod lookup;
#[path = "support/server.rs"]
mod server;
#[path = "support/step.rs"]
mod step;
#[path = "support/tls.rs"]
mod tls;

use std::io::{BufRead, BufReader};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use images::{Image, REPOSITORY, refuse, tag_path};
use lookup::{PASSWORD, Setup, lines, user};
use server::{Answer, Bound, Exchange, Request, Server, on};
use step::Step;

/// What Docker Hub says.
const HUBS_WORDS: &str =
    r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull rate limit."}]}"#;

fn quiet(_: &Request) {}

/// A manifest that is refused with this.
fn busy(answer: Answer) -> Exchange {
    on("GET", tag_path("1"), move |_| answer.clone())
}

/// A registry over TLS with this script; the reference of its image, the setup that trusts it.
fn registry(script: Vec<Exchange>) -> (Server, String, Setup) {
    let setup = Setup::new();
    let server = Server::scripted(Bound::new(), Some(setup.tls.clone()), script);
    let host = server.host();
    (server, format!("{host}/{REPOSITORY}:1"), setup.trusting(host))
}

#[test]
fn a_registry_that_asks_for_no_pause_is_asked_again_at_once() {
    let mut script = vec![busy(Answer::new(429).header("Retry-After", "0"))];
    script.extend(Image::new("linux/amd64", "/app").exchanges("1", quiet));
    let (server, reference, setup) = registry(script);
    let found = setup.image(&reference, &[]);
    assert_eq!(lines(&found.notes), [format!("{}: asked again for the manifest after 0 s: 429", server.host())]);
    server.finish();
}

#[test]
fn docker_hubs_limit_is_told_in_words_with_what_helps() {
    let refused = Answer::new(429)
        .header("RateLimit-Limit", "100;w=21600")
        .header("RateLimit-Remaining", "0;w=21600")
        .header("Docker-RateLimit-Source", "10.0.0.1")
        .header("Retry-After", "60")
        .body(HUBS_WORDS);
    let (server, reference, setup) = registry(vec![busy(refused)]);
    let (story, error, _) = setup.failure(&reference, &[]);
    assert_eq!(
        story,
        format!(
            "{} has been asked too often (the limit is 100 requests in 6 hours, 0 left, counted for 10.0.0.1) and asks for \
             a pause of 60 s: 429 TOOMANYREQUESTS: You have reached your pull rate limit.; credentials raise Docker Hub's \
             limit, -image_cache_dir lets steps share what one has looked up, and -image_registry_mirror names a mirror \
             that is asked first",
            server.host()
        )
    );
    assert_eq!(error.retry_after(), Some(Duration::from_secs(60)));
    server.finish();
}

#[test]
fn a_limit_of_nobody_in_particular_is_told_as_it_is_where_it_is_not_understood() {
    let refused = Answer::new(429)
        .header("X-RateLimit-Limit", "60")
        .header("X-RateLimit-Reset", "Sat")
        .header("Retry-After", "in a while");
    let again = || busy(refused.clone());
    let (server, reference, setup) = registry(vec![again(), again(), again()]);
    let (story, error, _) = setup.failure(&reference, &[]);
    assert_eq!(
        story,
        format!(
            "{} has been asked too often (the limit is 60 requests, retry-after: in a while, x-ratelimit-reset: Sat): 429; \
             -image_cache_dir lets steps share what one has looked up, and -image_registry_map names another registry that \
             is asked first",
            server.host()
        )
    );
    assert_eq!(error.retry_after(), None);
    server.finish();
}

#[test]
fn a_hostile_limit_is_bounded_and_cleaned() {
    let mut hostile = Answer::new(429)
        .header("Retry-After", "99999999999999999999999999")
        .header("RateLimit-Limit", "1\u{9b}31m;w=\u{85}")
        .header("RateLimit-Policy", "x".repeat(5_000));
    for number in 0..50 {
        hostile = hostile.header(&format!("X-RateLimit-{}-{number}", "n".repeat(60)), "y".repeat(300));
    }
    let (server, reference, setup) = registry(vec![busy(hostile)]);
    let (story, error, _) = setup.failure(&reference, &[]);
    let (limit, _) = story.split_once(" and asks for a pause of 18446744073709551615 s: 429; ").expect("a pause");
    assert!(limit.ends_with(", and more)") && limit.contains("x...") && limit.len() < 700, "{limit}");
    assert!(!story.contains(char::is_control), "{story}");
    assert_eq!(error.retry_after(), Some(Duration::from_secs(u64::MAX)));
    server.finish();
}

#[test]
fn a_limit_that_repeats_a_secret_is_not_repeated() {
    for repeated in [PASSWORD.to_owned(), STANDARD.encode(format!("ann:{PASSWORD}"))] {
        let challenge = refuse(&tag_path("1"), 401, &["Basic realm=\"r\""]);
        let refused = Answer::new(429).header("Retry-After", "60").header("RateLimit-Limit", "5");
        let (server, reference, setup) =
            registry(vec![challenge, busy(refused.header("Docker-RateLimit-Source", repeated))]);
        // The setup looks for the password in whatever comes of it.
        let (story, ..) = setup.failure(&reference, &[user("ann")]);
        let told = " has been asked too often ((what it says holds a secret)) and asks for a pause of 60 s: 429; ";
        assert!(story.contains(told), "{story}");
        server.finish();
    }
}

/// A step that waits while its registries are asked; the last of them is the image's own. The seconds after which its log says
/// that they are asked again; at its turn they are asked at once, and the image is found.
fn next_attempt(places: &[Answer]) -> u64 {
    let setup = Setup::new();
    let (first, rest) = places.split_first().expect("a place");
    let image = Image::new("linux/amd64", "/bin/echo");
    let answers = |answer: &Answer, more: Vec<Exchange>| {
        let script = [busy(answer.clone())].into_iter().chain(more).collect();
        Server::scripted(Bound::new(), Some(setup.tls.clone()), script)
    };
    // The first one has the image by then, so that nobody else is asked again.
    let mut servers = vec![answers(first, image.exchanges("1", quiet))];
    servers.extend(rest.iter().map(|answer| answers(answer, Vec::new())));
    let own = servers.last().expect("a registry").host();
    let mut flags = vec!["-image".to_owned(), format!("{own}/{REPOSITORY}:1")];
    flags.extend(["-image_platform", "linux/amd64"].map(str::to_owned));
    for server in &servers {
        flags.extend(["-image_registry_certificate".to_owned(), format!("{}={}", server.host(), setup.ca())]);
        if server.host() != own {
            flags.extend(["-image_registry_map".to_owned(), format!("{own}={}", server.host())]);
        }
    }
    let step = Step::new().flags(flags);
    let before = step.path("before");
    let step = step.flags(["-wait_file", &before.display().to_string()]);
    let mut child = step.start(&["--"]);
    let mut line = String::new();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    stderr.read_line(&mut line).unwrap();
    let (_, next) = line.split_once("; the next attempt is in ").unwrap_or_else(|| panic!("{line}"));
    let (seconds, _) = next.split_once(" s, or at the step's turn").unwrap_or_else(|| panic!("{line}"));
    std::fs::write(before, "").unwrap();
    let ended = step.finish(child);
    drop(stderr);
    assert_eq!((ended.code(), ended.stdout.as_str()), (0, "c\n"), "{ended:#?}");
    for server in servers {
        server.finish();
    }
    seconds.parse().unwrap()
}

#[test]
fn a_step_that_waits_asks_not_before_the_time_that_was_asked_for_and_at_its_turn_at_once() {
    let asks = |status, seconds: &str| Answer::new(status).header("Retry-After", seconds);
    for (places, seconds) in [
        (vec![asks(429, "60")], 60..=75),
        (vec![asks(503, "20")], 20..=25),
        // Longer than anybody is granted.
        (vec![asks(429, "21600")], 900..=1125),
        // The shortest of those that were asked for.
        (vec![asks(429, "700"), asks(429, "60")], 60..=75),
        (vec![asks(429, "60"), asks(404, "7")], 60..=75),
    ] {
        let next = next_attempt(&places);
        assert!(seconds.contains(&next), "{next} of {places:?}");
    }
}
