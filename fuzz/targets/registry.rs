//! What registries say in headers: challenges and the token services that they name, pauses and dates.

use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use entrypoint::http::seconds_of_date;
use entrypoint::registry::fuzzing::{retry_after, token_url};
use entrypoint::registry::{Challenge, Settings};
use entrypoint::sys::cause::chain;
use reqwest::Url;

use super::{PASSWORD, Target, check_error, check_keeps, lines};

pub(super) const CHALLENGE: Target = Target {
    name: "challenge",
    check: challenge,
    words: &["Bearer ", "Basic ", "realm=", "service=", "scope=", "\"", "\\\"", "\\\\", ", ", "=", "Negotiate", "\t"],
};

/// Each line is one of a header. What is read is no more than what stands there, and can be written and read again.
fn challenge(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let found = Challenge::parse_all(text.lines());
    assert!(found.len() <= text.split([' ', '\t', ',', '"', '=', '\n', '\r']).count());
    let line_by_line: Vec<_> = text.lines().flat_map(|line| Challenge::parse_all([line])).collect();
    assert_eq!(found, line_by_line);
    let length = |challenge: &Challenge| match challenge {
        Challenge::Basic => 5,
        Challenge::Bearer { realm, service, scope } => [Some(realm), service.as_ref(), scope.as_ref()]
            .into_iter()
            .flatten()
            .fold("bearer".len(), |sum, text| sum + text.len()),
        Challenge::Other { scheme } => scheme.len(),
    };
    assert!(found.iter().map(length).sum::<usize>() <= text.len());
    let written: Vec<_> = found.iter().map(written).collect();
    assert_eq!(Challenge::parse_all(written.iter().map(String::as_str)), found, "{written:?}");
    assert_eq!(Challenge::parse_all([written.join(", ").as_str()]), found, "{written:?}");
}

/// A challenge as a registry would send it.
fn written(challenge: &Challenge) -> String {
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    match challenge {
        Challenge::Basic => "Basic realm=\"x\"".to_owned(),
        Challenge::Other { scheme } => scheme.clone(),
        Challenge::Bearer { realm, service, scope } => {
            let mut text = format!("Bearer realm={}", quoted(realm));
            text.extend(service.iter().map(|service| format!(",service={}", quoted(service))));
            text.extend(scope.iter().map(|scope| format!(",scope={}", quoted(scope))));
            text
        }
    }
}

pub(super) const TOKEN_URL: Target = Target {
    name: "token_url",
    check: token_address,
    words: &[
        "https://",
        "http://",
        "auth.docker.io/token",
        "127.0.0.1",
        "169.254.169.254",
        "[::ffff:169.254.169.254]",
        "localhost",
        "10.0.0.1",
        "0x7f.1",
        "user:",
        "@",
        "?service=",
        "#",
        "%2f",
        "repository:library/busybox:pull",
        "registry.docker.io",
        "\\",
        ":5000",
        "[fe80::1]",
        "。",
    ],
};

/// The lines are realm, service, scope, the registry's authority and a repository. Whatever a registry says, a token is
/// asked for where one may be asked for, without anybody's password, and for this repository too.
fn token_address(data: &[u8]) {
    let Some([realm, service, scope, registry, repository]) = lines(data) else { return };
    let Ok(registry) = Url::parse(&format!("https://{registry}/")) else { return };
    let given = |text: &'static str| move |own: &&str| *own != text;
    let parameters = [Some(realm), Some(service).filter(given("")), Some(scope).filter(given(""))];
    let settings = Settings::default();
    check_token(&settings, parameters, &registry, repository);
    // The same with a password in the realm, and one in a query; where the parser of URLs can make the word of nothing else.
    let all = format!("{realm} {registry}");
    let odd = |letter: char| letter == '%' || !(letter.is_ascii_graphic() || letter == ' ');
    if all.to_lowercase().contains(PASSWORD) || all.contains(odd) {
        return;
    }
    let plain = |text: &str| !text.contains(['/', '?', '#', '\\', '@', ':']);
    let behind = match realm.split_once("://") {
        Some((scheme, rest)) if plain(scheme) => format!("{scheme}://ann:{PASSWORD}@{rest}"),
        Some(_) => realm.to_owned(),
        None => format!("ann:{PASSWORD}@{realm}"),
    };
    for secret in [behind, format!("{realm}?access_token={PASSWORD}")] {
        let parameters = [Some(secret.as_str()), None, None];
        check_token(&settings, parameters, &registry, repository);
        if let Err(error) = token_url(parameters, &registry, repository, &settings) {
            check_keeps(&chain(&error));
        }
    }
}

fn check_token(settings: &Settings, parameters: [Option<&str>; 3], registry: &Url, repository: &str) {
    let url = match token_url(parameters, registry, repository, settings) {
        Ok(url) => url,
        Err(error) => {
            check_error(&error);
            return;
        }
    };
    assert_eq!((url.username(), url.password()), ("", None), "{url}");
    let [realm, service, _] = parameters;
    let here = internal(registry) == Some("loopback");
    match url.scheme() {
        "https" => {}
        "http" => assert!(here, "plain http for a registry that speaks https: {url}"),
        other => panic!("{other}"),
    }
    let at_registry =
        (url.host_str(), url.port_or_known_default()) == (registry.host_str(), registry.port_or_known_default());
    let same_host = url.host_str() == registry.host_str();
    match internal(&url) {
        None => {}
        Some("private") => assert!(here || same_host, "{url} of {registry}"),
        Some(kind) => assert!(here || at_registry, "{kind} {url} of {registry}"),
    }
    // The realm's own query, then ours, in which every scope stands for itself.
    let own = realm.and_then(|realm| Url::parse(realm).ok()).expect("a realm");
    let own: Vec<_> = own.query_pairs().into_owned().collect();
    let pairs: Vec<_> = url.query_pairs().into_owned().collect();
    assert_eq!(pairs.get(..own.len()), Some(own.as_slice()), "{url}");
    let ours = pairs.get(own.len()..).unwrap_or_default();
    let wanted = format!("repository:{repository}:");
    assert!(ours.iter().any(|(name, value)| name == "scope" && value.starts_with(&wanted)), "{url}");
    let services: Vec<_> = ours.iter().filter(|(name, _)| name == "service").map(|(_, value)| value.as_str()).collect();
    assert_eq!(services, service.into_iter().collect::<Vec<_>>(), "{url}");
    assert!(ours.iter().all(|(name, _)| name == "service" || name == "scope"), "{url}");
}

/// What kind of inner address a host is, in other words than the program's.
fn internal(url: &Url) -> Option<&'static str> {
    let host = url.host_str()?.trim_end_matches('.').to_lowercase();
    if host == "localhost" || host.ends_with(".localhost") {
        return Some("loopback");
    }
    let address: IpAddr = host.trim_matches(['[', ']']).parse().ok()?;
    let bits = match address.to_canonical() {
        IpAddr::V6(address) => {
            let first = address.segments()[0];
            return match (u128::from(address), first) {
                (1, _) => Some("loopback"),
                (0, _) => Some("unspecified"),
                (_, 0xfe80..=0xfebf) => Some("link-local"),
                (_, 0xfc00..=0xfdff) => Some("private"),
                _ => None,
            };
        }
        IpAddr::V4(address) => u32::from(address),
    };
    match bits >> 24 {
        127 => Some("loopback"),
        0 => Some("unspecified"),
        10 => Some("private"),
        _ => match bits >> 16 {
            0xa9fe => Some("link-local"),
            0xc0a8 | 0xac10..=0xac1f | 0x6440..=0x647f => Some("private"),
            _ => None,
        },
    }
}

pub(super) const RETRY_AFTER: Target = Target {
    name: "retry_after",
    check: pause,
    words: &[
        "Sun, ",
        "06 Nov 1994 08:49:37 GMT",
        " GMT",
        "Feb",
        "29",
        "23:59:60",
        "9999",
        "1970",
        "18446744073709551616",
    ],
};

/// The lines are `Retry-After` and `Date`. Of eight bytes a date is made as well, and read back.
fn pause(data: &[u8]) {
    if let Some(bytes) = data.first_chunk() {
        // Up to the year 9999.
        let seconds = u64::from_le_bytes(*bytes) % 253_402_300_800;
        let date = date_of(seconds);
        assert_eq!(seconds_of_date(&date), Some(seconds), "{date}");
    }
    let Some([text, date]) = lines(data) else { return };
    let now = UNIX_EPOCH + Duration::from_secs(1_795_262_400);
    let date = Some(date).filter(|date| !date.is_empty());
    let pause = retry_after(text, date, now);
    let trimmed = text.trim();
    if let Ok(number) = trimmed.parse::<u64>() {
        assert_eq!(pause, (!trimmed.starts_with('+')).then(|| Duration::from_secs(number)), "{text:?}");
    }
    if let Some(seconds) = seconds_of_date(text) {
        // No date is later than the end of the year 9999, and a leap second.
        assert!(seconds <= 253_402_300_800 + 31 * 86_400, "{text:?}");
        let before = SystemTime::UNIX_EPOCH;
        assert_eq!(retry_after(text, None, before), Some(Duration::from_secs(seconds)), "{text:?}");
        assert_eq!(retry_after(text, Some(text), now), Some(Duration::ZERO), "{text:?}");
    }
}

/// The date of a second since 1970, counted year by year.
fn date_of(seconds: u64) -> String {
    let (mut day, rest) = (seconds / 86_400, seconds % 86_400);
    let weekday = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"][(day % 7) as usize];
    // 400 years have 146 097 days.
    let mut year = 1970 + day / 146_097 * 400;
    day %= 146_097;
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let in_year = |year| if leap(year) { 366 } else { 365 };
    while day >= in_year(year) {
        day -= in_year(year);
        year += 1;
    }
    let february = if leap(year) { 29 } else { 28 };
    let months = [
        ("Jan", 31),
        ("Feb", february),
        ("Mar", 31),
        ("Apr", 30),
        ("May", 31),
        ("Jun", 30),
        ("Jul", 31),
        ("Aug", 31),
        ("Sep", 30),
        ("Oct", 31),
        ("Nov", 30),
        ("Dec", 31),
    ];
    let mut month = "";
    for (name, days) in months {
        month = name;
        if day < days {
            break;
        }
        day -= days;
    }
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{weekday}, {:02} {month} {year} {hour:02}:{minute:02}:{second:02} GMT", day + 1)
}
