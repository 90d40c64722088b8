//! What a server's headers say of its limit on requests, in words for the person who reads the log.
//!
//! Docker Hub has `ratelimit-limit: 100;w=21600`, `ratelimit-remaining: 0;w=21600` and `docker-ratelimit-source`
//! (<https://docs.docker.com/docker-hub/usage/pulls/>), the IETF's draft `RateLimit-Policy: "name";q=100;w=60` and
//! `RateLimit: "name";r=0;t=30` (<https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/>), others `x-ratelimit-*`
//! of all kinds. What is not understood is told as it is.

use std::net::IpAddr;

use crate::image::shown;
use crate::secrets::HIDDEN_WHOLLY;

/// The longest name and the longest value of a header that are shown, in characters.
const NAME: usize = 40;
const VALUE: usize = 80;
/// How many headers are shown as they are.
const VERBATIM: usize = 4;
/// How many are looked at.
const LOOKED_AT: usize = 32;
/// Docker Hub's word for who is counted: an address, or an account's id.
const SOURCE: &str = "docker-ratelimit-source";

/// What the headers say. Shown, it is a part of a sentence.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    quota: Option<Quota>,
    remaining: Option<Remaining>,
    /// Who is counted.
    source: Option<String>,
    /// What is not understood, in order.
    verbatim: Vec<String>,
    /// Whether there is more of that.
    more: bool,
}

/// So many requests in so many seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Quota {
    requests: u64,
    window: Option<u64>,
}

/// So many are left, and there are more in so many seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Remaining {
    requests: u64,
    renewed: Option<u64>,
}

impl Limits {
    /// Reads headers, names in lower case. `is_secret` tells what no message may repeat.
    pub(super) fn read<'h>(
        headers: impl Iterator<Item = (&'h str, &'h [u8])>,
        is_secret: impl Fn(&str) -> bool,
    ) -> Self {
        let told = headers.filter(|(name, _)| is_told(name)).take(LOOKED_AT);
        let mut told: Vec<_> = told.map(|(name, value)| (name, String::from_utf8_lossy(value))).collect();
        // Lines of one name stay in their order, which means something.
        told.sort_by_key(|(name, _)| *name);
        let mut limits = Self::default();
        // One that is told in parts is one as well.
        let together: String = told.iter().map(|(_, value)| value.as_ref()).collect();
        if is_secret(&together) || told.iter().any(|(name, value)| is_secret(&format!("{name}: {value}"))) {
            limits.keep(HIDDEN_WHOLLY.to_owned());
            return limits;
        }
        for (name, value) in told {
            let value = value.trim();
            if !limits.understand(name, value) {
                limits.keep(format!("{}: {}", shown(name, NAME), shown(value, VALUE)));
            }
        }
        limits
    }

    /// Takes note of a header that is as one of those that are known; whether it was.
    fn understand(&mut self, name: &str, value: &str) -> bool {
        let bare = name.strip_prefix("x-").unwrap_or(name);
        match bare {
            "ratelimit-limit" | "ratelimit-policy" => put(&mut self.quota, quota(value)),
            "ratelimit-remaining" | "ratelimit" => {
                // Left of another limit than the one that was told: to say both in one sentence would be wrong.
                let window = self.quota.and_then(|quota| quota.window);
                let same = |of: &Option<u64>| of.is_none() || window.is_none() || *of == window;
                let left = if bare == "ratelimit" { left(value) } else { of_window(value) };
                put(&mut self.remaining, left.filter(|(_, of)| same(of)).map(|(remaining, _)| remaining))
            }
            SOURCE => put(&mut self.source, is_id(value).then(|| shown(value, VALUE))),
            _ => false,
        }
    }

    fn keep(&mut self, line: String) {
        if self.verbatim.len() < VERBATIM {
            self.verbatim.push(line);
        } else {
            self.more = true;
        }
    }

    /// Whether Docker Hub says so, whatever it is called here.
    fn are_docker_hubs(&self) -> bool {
        self.source.is_some()
    }

    /// Whether whoever is counted has shown a credential already.
    fn are_an_accounts(&self) -> bool {
        self.source.as_ref().is_some_and(|source| source.parse::<IpAddr>().is_err())
    }

    /// In brackets, with a space before them; nothing if there is nothing to tell.
    pub(super) fn in_brackets(&self) -> String {
        let mut parts = Vec::new();
        if let Some(Quota { requests, window }) = self.quota {
            let within = window.map(|window| format!(" in {}", span(window))).unwrap_or_default();
            parts.push(format!("the limit is {}{within}", counted(requests, "request")));
        }
        if let Some(Remaining { requests, renewed }) = self.remaining {
            parts.push(format!("{requests} left"));
            parts.extend(renewed.map(|seconds| format!("renewed in {}", span(seconds))));
        }
        parts.extend(self.source.as_ref().map(|source| format!("counted for {source}")));
        parts.extend_from_slice(&self.verbatim);
        parts.extend(self.more.then(|| "and more".to_owned()));
        if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) }
    }

    /// What helps against the limit of whoever is `host:port`.
    pub(super) fn advice(&self, host: &str) -> &'static str {
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        let docker_hub = self.are_docker_hubs() || name == "docker.io" || name.ends_with(".docker.io");
        match (docker_hub, self.are_an_accounts()) {
            (true, false) => {
                "credentials raise Docker Hub's limit, -image_cache_dir lets steps share what one has looked up, and \
                 -image_registry_mirror names a mirror that is asked first"
            }
            (true, true) => {
                "-image_cache_dir lets steps share what one has looked up, and -image_registry_mirror names a mirror that \
                 is asked first"
            }
            (false, _) => {
                "-image_cache_dir lets steps share what one has looked up, and -image_registry_map names another registry \
                 that is asked first"
            }
        }
    }
}

/// Whether a header is about limits. `retry-after` is told here only if it is no pause.
fn is_told(name: &str) -> bool {
    let bare = name.strip_prefix("x-").unwrap_or(name);
    matches!(name, SOURCE | "retry-after")
        || ["ratelimit", "rate-limit"].into_iter().filter_map(|known| bare.strip_prefix(known)).any(|rest| {
            let mut rest = rest.chars();
            matches!(rest.next(), None | Some('-'))
        })
}

/// Fills a place that is free; whether it was, and there was something to put there.
fn put<T>(place: &mut Option<T>, found: Option<T>) -> bool {
    let fits = place.is_none() && found.is_some();
    if fits {
        *place = found;
    }
    fits
}

/// `100;w=21600`, or `"name";q=100;w=60`.
fn quota(value: &str) -> Option<Quota> {
    let item = Item::of(value)?;
    let requests = match item.number() {
        Some(requests) => requests,
        None if item.parameter("qu").is_none_or(|unit| unit.trim_matches('"') == "requests") => item.count("q")?,
        None => return None,
    };
    Some(Quota { requests, window: item.count("w") })
}

/// `0;w=21600`: what is left, and of which window.
fn of_window(value: &str) -> Option<(Remaining, Option<u64>)> {
    let item = Item::of(value)?;
    Some((Remaining { requests: item.number()?, renewed: None }, item.count("w")))
}

/// `"name";r=0;t=30`.
fn left(value: &str) -> Option<(Remaining, Option<u64>)> {
    let item = Item::of(value)?;
    Some((Remaining { requests: item.count("r")?, renewed: item.count("t") }, None))
}

/// One item with its parameters; a list is not read.
struct Item<'v> {
    head: &'v str,
    parameters: Vec<(&'v str, &'v str)>,
}

impl<'v> Item<'v> {
    fn of(value: &'v str) -> Option<Self> {
        if value.contains(',') {
            return None;
        }
        let mut parts = value.split(';').map(str::trim);
        let head = parts.next()?;
        let parameters = parts.map(|part| part.split_once('=')).collect::<Option<Vec<_>>>()?;
        Some(Self { head, parameters })
    }

    fn number(&self) -> Option<u64> {
        number(self.head)
    }

    fn parameter(&self, name: &str) -> Option<&'v str> {
        self.parameters.iter().find(|(own, _)| *own == name).map(|(_, value)| *value)
    }

    fn count(&self, name: &str) -> Option<u64> {
        self.parameter(name).and_then(number)
    }
}

/// Digits alone.
fn number(text: &str) -> Option<u64> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// An address, or an account's id.
fn is_id(value: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b':' | b'_');
    (1..=VALUE).contains(&value.len()) && value.bytes().all(plain)
}

/// Seconds in the largest unit that they are a multiple of.
fn span(seconds: u64) -> String {
    match seconds {
        _ if seconds > 0 && seconds.is_multiple_of(3600) => counted(seconds / 3600, "hour"),
        _ if seconds > 0 && seconds.is_multiple_of(60) => counted(seconds / 60, "minute"),
        _ => counted(seconds, "second"),
    }
}

fn counted(number: u64, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(headers: &[(&str, &str)]) -> Limits {
        let headers = headers.iter().map(|(name, value)| (*name, value.as_bytes()));
        Limits::read(headers, |text| text.contains("hunter2"))
    }

    #[test]
    fn what_headers_say_of_a_limit_is_told_in_words_and_as_it_is_where_it_is_not_understood() {
        for (headers, told) in [
            (&[][..], ""),
            (&[("content-type", "text/html"), ("x-request-id", "7"), ("ratelimited", "yes")], ""),
            // Docker Hub.
            (
                &[
                    ("ratelimit-remaining", "0;w=21600"),
                    ("ratelimit-limit", "100;w=21600"),
                    ("docker-ratelimit-source", "10.0.0.1"),
                ],
                " (the limit is 100 requests in 6 hours, 0 left, counted for 10.0.0.1)",
            ),
            (
                &[("ratelimit-limit", "200;w=21600"), ("docker-ratelimit-source", "0b5a-7c")],
                " (the limit is 200 requests in 6 hours, counted for 0b5a-7c)",
            ),
            (&[("docker-ratelimit-source", "2001:db8::1")], " (counted for 2001:db8::1)"),
            (&[("docker-ratelimit-source", "who knows")], " (docker-ratelimit-source: who knows)"),
            // The IETF's draft, and earlier ones.
            (
                &[("ratelimit-policy", r#""day";q=1;w=86400;pk=:cHsdsRa894==:"#), ("ratelimit", r#""day";r=0;t=90"#)],
                " (the limit is 1 request in 24 hours, 0 left, renewed in 90 seconds)",
            ),
            (&[("ratelimit-policy", r#""b";q=9;qu="requests";w=1"#)], " (the limit is 9 requests in 1 second)"),
            (
                &[("ratelimit-policy", r#""b";q=9;qu="content-bytes";w=1"#)],
                r#" (ratelimit-policy: "b";q=9;qu="content-bytes";w=1)"#,
            ),
            (
                &[("ratelimit-policy", r#""a";q=1;w=1, "b";q=9;w=60"#), ("ratelimit", "limit=9, remaining=0, reset=7")],
                r#" (ratelimit: limit=9, remaining=0, reset=7, ratelimit-policy: "a";q=1;w=1, "b";q=9;w=60)"#,
            ),
            // Others.
            (
                &[("x-ratelimit-limit", "60"), ("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1795262400")],
                " (the limit is 60 requests, 0 left, x-ratelimit-reset: 1795262400)",
            ),
            (&[("x-rate-limit-limit", "15m")], " (x-rate-limit-limit: 15m)"),
            (&[("retry-after", "soon")], " (retry-after: soon)"),
            // Left of another limit, and two of a kind.
            (
                &[("ratelimit-limit", "100;w=3600"), ("ratelimit-remaining", "7;w=60")],
                " (the limit is 100 requests in 1 hour, ratelimit-remaining: 7;w=60)",
            ),
            (
                &[("ratelimit-limit", "100;w=60"), ("ratelimit-limit", "9;w=1")],
                " (the limit is 100 requests in 1 minute, ratelimit-limit: 9;w=1)",
            ),
            // No numbers.
            (&[("ratelimit-limit", "")], " (ratelimit-limit: )"),
            (&[("ratelimit-limit", "-1;w=60")], " (ratelimit-limit: -1;w=60)"),
            (&[("ratelimit-limit", "99999999999999999999")], " (ratelimit-limit: 99999999999999999999)"),
            (&[("ratelimit-limit", "5;w=0")], " (the limit is 5 requests in 0 seconds)"),
        ] {
            assert_eq!(read(headers).in_brackets(), told, "{headers:?}");
        }
    }

    #[test]
    fn headers_are_bounded_and_cleaned_and_repeat_no_secret() {
        let long = "9".repeat(200);
        let names: Vec<String> = (0..50).map(|number| format!("x-ratelimit-{number:02}")).collect();
        let many: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), long.as_str())).collect();
        let told = read(&many).in_brackets();
        assert!(told.starts_with(" (x-ratelimit-00: 999") && told.ends_with("..., and more)"), "{told}");
        assert!(told.len() < (NAME + VALUE + 10) * VERBATIM + 40, "{told}");
        let name = format!("x-ratelimit-{}", "n".repeat(500));
        assert!(read(&[(&name, "1")]).in_brackets().len() < NAME + 20);

        assert_eq!(read(&[("ratelimit-limit", "a\x1b[31m\u{9b}b\tc")]).in_brackets(), " (ratelimit-limit: a [31m b c)");
        let odd = [("ratelimit-limit", &b"\xff100"[..])].into_iter();
        assert_eq!(Limits::read(odd, |_| false).in_brackets(), " (ratelimit-limit: \u{fffd}100)");

        for headers in [
            &[("ratelimit-limit", "hunter2"), ("ratelimit-remaining", "0")][..],
            &[("docker-ratelimit-source", "hunter2")],
            &[("x-ratelimit-hunter2", "1")],
            &[("x-ratelimit-b", "ter2"), ("x-ratelimit-a", "hun")],
        ] {
            assert_eq!(read(headers).in_brackets(), " ((what it says holds a secret))");
        }
    }

    #[test]
    fn what_to_do_is_what_helps_at_that_registry() {
        let (nothing, address) = (read(&[]), read(&[("docker-ratelimit-source", "10.0.0.1")]));
        let account = read(&[("docker-ratelimit-source", "0b5a-7c")]);
        for (limits, host, credentials, mirror) in [
            (&nothing, "index.docker.io:443", true, true),
            (&nothing, "auth.docker.io:443", true, true),
            (&nothing, "ghcr.io:443", false, false),
            (&nothing, "notdocker.io:443", false, false),
            (&address, "127.0.0.1:5000", true, true),
            (&account, "index.docker.io:443", false, true),
        ] {
            let advice = limits.advice(host);
            assert!(advice.contains("-image_cache_dir "), "{host}");
            assert_eq!(advice.contains("credentials raise"), credentials, "{host}");
            assert_eq!(advice.contains("-image_registry_mirror "), mirror, "{host}");
            assert_eq!(advice.contains("-image_registry_map "), !mirror, "{host}");
        }
    }
}
