//! The way to the registry.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::server::{Answer, Bound, Reply, Request, Server};
use crate::tls::LOOPBACK;
use crate::world::{PASSWORD, PROXY_PASSWORD, World, row, rows, says, told};

/// The arguments for an image of a registry, trusted.
fn image(world: &World, host: &str) -> Vec<String> {
    [format!("{host}/team/tool:v1")].into_iter().chain(world.trusting(host)).collect()
}

#[test]
fn a_registry_of_a_private_authority_is_told_with_the_flag_that_makes_it_known() {
    let world = World::new();
    let registry = world.serve(Bound::new(), Some("me"));
    let host = registry.host();
    let own = format!("{host} (the image's own registry)");
    let (strange, report) = told(&mut world.command(&[format!("{host}/team/tool:v1")]));
    assert_eq!(strange.code, Some(1), "the image could not be looked up");
    let found = rows(&report, "registry");
    assert_eq!(found[0].says, format!("{own}: its certificate is signed by an authority that is not trusted here"));
    assert_eq!(
        found[0].fix.as_deref(),
        Some(format!("-image_registry_certificate {host}=/path/to/ca.pem, if that authority is yours").as_str())
    );
    world.docker_config(&host, "me");
    let (known, report) = told(world.command(&image(&world, &host)).env("DOCKER_CONFIG", world.path()));
    assert_eq!(known.code, Some(0), "{known:?}");
    let wants = format!("{own} answers over https with 401: it wants a user name and a password");
    assert_eq!(row(&report, "registry"), says("ok", wants));
    let roots = rows(&report, "ca_roots");
    assert!(roots[0].says.contains(" are compiled in"), "{roots:?}");
    assert!(roots.last().unwrap().says.ends_with(&format!(" is trusted for {host}")), "{roots:?}");
    let names = rows(&report, "dns");
    assert_eq!(names.last().unwrap().says, format!("{host} is 127.0.0.1"));
    assert_eq!(row(&report, "proxy"), says("ok", "none is in force"));
}

#[test]
fn what_is_wrong_with_certificate_files_and_variables_is_told_for_each() {
    let world = World::new();
    let garbage = world.path().join("garbage.pem");
    std::fs::write(&garbage, "hello").unwrap();
    let flag = format!("r.example={}", garbage.display());
    let mut command = world.command(&["-image_registry_certificate", &flag]);
    let (_, report) = told(command.env("SSL_CERT_FILE", "/absent.pem").env("SSL_CERT_DIR", world.path()));
    let roots = rows(&report, "ca_roots");
    let problems: Vec<&str> =
        roots.iter().filter(|row| row.verdict == "problem").map(|row| row.says.as_str()).collect();
    assert_eq!(
        problems,
        [
            "SSL_CERT_FILE=/absent.pem: there is no such file or directory, and it stands for the usual ones"
                .to_owned(),
            format!("-image_registry_certificate {flag}: {} holds no certificate in PEM form", garbage.display()),
        ]
    );
    assert!(roots[0].says.ends_with(&format!("; 1 in SSL_CERT_DIR={}", world.path().display())), "{roots:?}");
}

#[test]
fn a_registry_of_plain_http_is_told_as_such() {
    let world = World::new();
    let registry = world.registry(None);
    let server = Server::handler(Bound::new(), None, move |request: &Request| registry.answer(request));
    let host = server.host();
    let (told, report) = told(&mut world.command(&[format!("{host}/team/tool:v1")]));
    assert_eq!(told.code, Some(0), "{told:?}");
    let (verdict, sentence) = row(&report, "registry");
    assert_eq!(verdict, "note");
    assert!(
        sentence.starts_with(&format!("{host} (the image's own registry) answers over http with 200; ")),
        "{sentence}"
    );
}

#[test]
fn a_clock_that_is_off_is_a_problem_by_the_registrys_date() {
    let world = World::new();
    for (date, verdict, part) in [
        (Some("Sun, 06 Nov 1994 08:49:37 GMT"), "problem", " days ahead of that of "),
        (Some("Fri, 31 Dec 2100 00:00:00 GMT"), "problem", " days behind that of "),
        (Some("yesterday"), "not_checked", "no registry said what time it is"),
        (None, "not_checked", "no registry said what time it is"),
        (Some("now"), "ok", "the clock here is "),
    ] {
        let date = if date == Some("now") { Some(http_date()) } else { date.map(str::to_owned) };
        let registry = world.registry(None);
        let tls = Some(world.authority().server(LOOPBACK));
        let server = Server::handler(Bound::new(), tls, move |request: &Request| {
            let answer = registry.answer(request);
            if let Some(date) = &date { answer.header("Date", date.as_str()) } else { answer }
        });
        let (_, report) = told(&mut world.command(&image(&world, &server.host())));
        let (found, sentence) = row(&report, "clock");
        assert_eq!(found, verdict, "{sentence}");
        assert!(sentence.contains(part), "{sentence}");
    }
}

/// The present in the form of HTTP.
fn http_date() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // The civil calendar by counting years and months: a test has the time.
    let is_leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let (mut year, mut left) = (1970, days);
    while left >= if is_leap(year) { 366 } else { 365 } {
        left -= if is_leap(year) { 366 } else { 365 };
        year += 1;
    }
    let lengths = [31, if is_leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let names = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut month = 0;
    while left >= lengths[month] {
        left -= lengths[month];
        month += 1;
    }
    let (day, month) = (left + 1, names[month]);
    format!("Thu, {day:02} {month} {year} {:02}:{:02}:{:02} GMT", rest / 3600, rest / 60 % 60, rest % 60)
}

#[test]
fn the_words_of_a_hostile_registry_are_not_repeated() {
    let world = World::new();
    let bound = Bound::new();
    let host = bound.host();
    world.docker_config(&host, "me");
    let odd = format!("\u{9b}31m{PASSWORD} rm -rf /");
    let own = host.clone();
    let server = Server::handler(bound, Some(world.authority().server(LOOPBACK)), move |request: &Request| {
        // By the time of the second, it knows the password.
        let known = request.header("Authorization").is_some();
        let location = format!("https://{PASSWORD}.example/{PASSWORD}");
        match request.path() {
            "/v2/" => Answer::new(401)
                .header(
                    "WWW-Authenticate",
                    format!(r#"Bearer realm="https://{PASSWORD}@{own}/{PASSWORD}",service="rm -rf {PASSWORD}""#),
                )
                .header("Date", format!("Sun, {PASSWORD} Nov 1994"))
                .body(format!(r#"{{"errors": [{{"code": "{PASSWORD}", "message": "{odd}"}}]}}"#)),
            _ if known => Answer::new(302).header("Location", location),
            _ => Answer::new(401).header("WWW-Authenticate", format!("{PASSWORD} x=1")).body(odd.clone()),
        }
    });
    let mut command = world.command(&image(&world, &server.host()));
    let (told, report) = told(command.env("DOCKER_CONFIG", world.path()));
    assert_eq!(told.code, Some(1));
    let own = format!("{host} (the image's own registry)");
    let expected = format!("{own} answers over https with 401: it wants a token of its own service");
    assert_eq!(row(&report, "registry"), says("ok", expected));
    assert_eq!(row(&report, "lookup").0, "problem");
    assert!(!told.stdout.contains("rm -rf /") || !told.stdout.contains('\u{9b}'), "{}", told.stdout);
}

#[test]
fn a_registry_that_redirects_or_is_no_registry_is_told_by_what_it_is() {
    let world = World::new();
    for (reply, verdict, part) in [
        (
            Reply::from(Answer::new(302).header("Location", "ftp://some-word/")),
            "problem",
            ": it redirects to where nobody may be sent",
        ),
        (Answer::new(503).into(), "problem", " answers over https with 503"),
        (Answer::new(404).into(), "note", " answers over https with 404, where registries have 200 or 401"),
        (
            Answer::new(401).header("WWW-Authenticate", "Negotiate some-word").into(),
            "problem",
            " answers over https with 401: it wants a login that is not known here",
        ),
        (Reply::Close, "problem", ": the connection was closed before the answer was complete"),
        (Reply::Raw(b"SSH-2.0-OpenSSH\r\n\r\n".to_vec()), "problem", ": what answers there does not speak HTTP"),
    ] {
        let tls = Some(world.authority().server(LOOPBACK));
        let server = Server::handler(Bound::new(), tls, move |_: &Request| reply.clone());
        let (told, report) = told(&mut world.command(&image(&world, &server.host())));
        assert_eq!(told.code, Some(1));
        let (found, sentence) = row(&report, "registry");
        assert_eq!(found, verdict, "{sentence}");
        assert!(sentence.ends_with(part), "{sentence}");
    }
}

#[test]
fn an_image_that_is_no_reference_and_one_that_only_a_daemon_is_asked_for_are_told() {
    let world = World::new();
    let (bad, report) = told(&mut world.command(&["registry.example.com/UPPER"]));
    assert_eq!((bad.code, rows(&report, "registry")[0].verdict.as_str()), (Some(1), "problem"));
    let mut command = world.command(&["busybox", "-image_sources=docker"]);
    let (daemon, report) = told(command.env("DOCKER_HOST", "unix:///absent.sock"));
    assert_eq!(daemon.code, Some(1));
    assert_eq!(row(&report, "registry"), says("not_checked", "-image_sources does not name registry"));
}

#[test]
fn every_place_of_a_map_is_told() {
    let world = World::new();
    let registry = world.serve(Bound::new(), None);
    let (host, absent) = (registry.host(), Bound::new().host());
    let mut args = image(&world, &host);
    args.extend(["-image_registry_map".to_owned(), format!("{host}={absent}/other")]);
    let (told, report) = told(&mut world.command(&args));
    assert_eq!(told.code, Some(0), "{told:?}");
    let found = rows(&report, "registry");
    assert_eq!(found[0].says, format!("{absent} (-image_registry_map): connection refused"));
    assert_eq!(found[1].says, format!("{host} (the image's own registry) answers over https with 200"));
}

#[test]
fn a_proxy_is_told_without_its_password_and_one_that_is_none_by_its_variable() {
    let world = World::new();
    let refusing = Bound::new().host();
    let proxy = format!("http://you:{PROXY_PASSWORD}@{refusing}");
    let mut command = world.command(&["registry.example/team/tool:v1"]);
    let (told_of, report) = told(command.env("HTTPS_PROXY", &proxy));
    assert_eq!(told_of.code, Some(1));
    let through = format!("registry.example is asked through http://{refusing} (HTTPS_PROXY)");
    assert_eq!(row(&report, "proxy"), says("ok", through));
    let (verdict, sentence) = row(&report, "registry");
    assert_eq!(verdict, "problem");
    assert!(
        sentence.ends_with(&format!(": the proxy http://{refusing} (HTTPS_PROXY) cannot be reached")),
        "{sentence}"
    );
    let none: &[&str] = &[];
    let mut command = world.command(none);
    let (_, report) = told(command.env("HTTPS_PROXY", &proxy));
    let expected =
        format!("https by http://{refusing} (HTTPS_PROXY); not for whom NO_PROXY names, nor for this machine");
    assert_eq!(row(&report, "proxy"), says("ok", expected));
    let mut command = world.command(none);
    let (broken, report) = told(command.env("HTTPS_PROXY", format!("socks5://you:{PROXY_PASSWORD}@p:1")));
    assert_eq!((broken.code, row(&report, "proxy").0.as_str()), (Some(0), "problem"));
    assert_eq!(row(&report, "registry").0, "not_checked");
}
