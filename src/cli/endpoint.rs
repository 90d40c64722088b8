//! The values of `-wait_endpoints`: text to endpoints.

use std::ffi::OsStr;
use std::net::Ipv4Addr;

use super::value::{ValueCause, elements, is_registry};
use crate::spec::Endpoint;

/// The longest endpoint, in bytes: a line of the log with it is still written at once.
const LIMIT: usize = 1024;

/// Endpoints, separated by commas; empty ones are skipped.
pub(super) fn endpoints(value: &OsStr) -> Result<Vec<Endpoint>, ValueCause> {
    elements(value.to_str().ok_or(ValueCause::Encoding)?).map(endpoint).collect()
}

fn endpoint(text: &str) -> Result<Endpoint, ValueCause> {
    if text.len() > LIMIT || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(ValueCause::Endpoint);
    }
    match text.split_once("://") {
        None if text == "docker" => Ok(Endpoint::Docker),
        Some(("tcp", place)) => tcp(place),
        Some(("http" | "https", rest)) => http(text, rest),
        Some(_) | None => Err(ValueCause::Endpoint),
    }
}

/// `HOST:PORT`.
fn tcp(place: &str) -> Result<Endpoint, ValueCause> {
    let (host, port) = host_and_port(place)?;
    let port = port.and_then(|port| port.parse().ok()).ok_or(ValueCause::Endpoint)?;
    Ok(Endpoint::Tcp { host: host.trim_start_matches('[').trim_end_matches(']').to_owned(), port })
}

/// `HOST[:PORT][/PATH][?QUERY]`. A fragment would not be sent.
fn http(url: &str, rest: &str) -> Result<Endpoint, ValueCause> {
    let (place, behind) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    host_and_port(place)?;
    if behind.contains('#') { Err(ValueCause::Endpoint) } else { Ok(Endpoint::Http { url: url.to_owned() }) }
}

fn host_and_port(place: &str) -> Result<(&str, Option<&str>), ValueCause> {
    if place.contains('@') {
        return Err(ValueCause::EndpointUser);
    }
    if !is_registry(place) {
        return Err(ValueCause::Endpoint);
    }
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        Some(_) | None => (place, None),
    };
    // What ends like an address must be one: nobody can be called so.
    let last = host.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    let numeric = !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit());
    if numeric && host.parse::<Ipv4Addr>().is_err() { Err(ValueCause::Endpoint) } else { Ok((host, port)) }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStrExt;

    use super::super::{Built, Invocation, parse_with};
    use super::*;
    use crate::spec::EndpointsSpec;

    fn one(text: &str) -> Result<Endpoint, ValueCause> {
        endpoints(OsStr::new(text)).map(|found| match <[Endpoint; 1]>::try_from(found) {
            Ok([endpoint]) => endpoint,
            Err(found) => panic!("{text}: {found:?}"),
        })
    }

    fn tcp(host: &str, port: u16) -> Endpoint {
        Endpoint::Tcp { host: host.to_owned(), port }
    }

    fn http(url: &str) -> Endpoint {
        Endpoint::Http { url: url.to_owned() }
    }

    #[test]
    fn endpoints_are_read_and_shown_as_they_are_written() {
        for (text, endpoint) in [
            ("docker", Endpoint::Docker),
            ("tcp://db:5432", tcp("db", 5432)),
            ("tcp://10.0.0.1:1", tcp("10.0.0.1", 1)),
            ("tcp://[::1]:65535", tcp("::1", 65535)),
            ("tcp://db.team-a.svc.cluster.local.:5432", tcp("db.team-a.svc.cluster.local.", 5432)),
            ("http://h", http("http://h")),
            ("http://h:8080/ready?deep=1&x=@", http("http://h:8080/ready?deep=1&x=@")),
            ("https://[fd00::1]:8443/", http("https://[fd00::1]:8443/")),
            ("https://my_service/%2C", http("https://my_service/%2C")),
        ] {
            assert_eq!(one(text).as_ref(), Ok(&endpoint), "{text}");
            assert_eq!(endpoint.to_string(), text);
        }
    }

    #[test]
    fn several_endpoints_stand_between_commas() {
        for (text, expected) in [
            ("", vec![]),
            (",", vec![]),
            (",docker,,tcp://a:1,http://b/,", vec![Endpoint::Docker, tcp("a", 1), http("http://b/")]),
        ] {
            assert_eq!(endpoints(OsStr::new(text)), Ok(expected), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_endpoint_is_refused() {
        let long = format!("http://h/{}", "a".repeat(LIMIT));
        for text in [
            "Docker",
            "docker://",
            "db:5432",
            "db",
            "/var/run/docker.sock",
            "unix:///var/run/docker.sock",
            "udp://db:1",
            "TCP://db:1",
            "tcp://",
            "tcp://db",
            "tcp://db:",
            "tcp://db:0",
            "tcp://db:65536",
            "tcp://db:x",
            "tcp://:1",
            "tcp://db:1/",
            "tcp://::1:1",
            "tcp://[::1]",
            "tcp://[x]:1",
            "tcp://1.2.3:1",
            "tcp://1.2.3.4.5:1",
            "tcp://256.0.0.1:1",
            "http://",
            "http:///ready",
            "http://h:99999/",
            "http://h/#top",
            "http://h/a b",
            "http://h/\n",
            "http://h/ä",
            "http://1.2.3.256/",
            "tcp://db:1;docker",
            "docker, tcp://db:1",
            long.as_str(),
        ] {
            assert_eq!(endpoints(OsStr::new(text)), Err(ValueCause::Endpoint), "{text}");
        }
        for text in ["http://user:password@h/", "https://u@h", "tcp://u@h:1"] {
            assert_eq!(endpoints(OsStr::new(text)), Err(ValueCause::EndpointUser), "{text}");
        }
        assert_eq!(endpoints(OsStr::from_bytes(b"tcp://\xff:1")), Err(ValueCause::Encoding));
    }

    fn read(args: &[&str], lookup: bool) -> Result<EndpointsSpec, String> {
        let argv: Vec<OsString> = ["entrypoint"].iter().chain(args).map(OsString::from).collect();
        match parse_with(&argv, Built { lookup }) {
            Ok(Invocation::Step(step)) => Ok(step.endpoints),
            Ok(other) => panic!("{args:?}: {other:?}"),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn the_flag_is_repeatable_and_bounded_over_all() {
        let two = read(&["-wait_endpoints", "docker,", "-wait_endpoints=tcp://a:1"], true).unwrap();
        assert_eq!(two, EndpointsSpec { endpoints: vec![Endpoint::Docker, tcp("a", 1)], ..EndpointsSpec::default() });
        let timed = read(&["-wait_endpoints_timeout", "1m30s"], true).unwrap();
        assert_eq!(timed, EndpointsSpec { endpoints: Vec::new(), timeout: std::time::Duration::from_secs(90) });
        let eight = ["docker"; 8].join(",");
        assert_eq!(read(&["-wait_endpoints", &eight, "-wait_endpoints", &eight], true).unwrap().endpoints.len(), 16);
        let sentence = read(&["-wait_endpoints", &eight, "-wait_endpoints", &eight, "-wait_endpoints=docker"], true);
        assert_eq!(
            sentence.unwrap_err(),
            "-wait_endpoints names 17 endpoints, and a step waits for 16 at most: let one of them stand for several"
        );
    }

    #[test]
    fn a_build_without_a_network_refuses_the_flag_unless_it_is_empty() {
        let refused = read(&["-wait_endpoints=docker", "-entrypoint=x"], false).unwrap_err();
        assert!(refused.starts_with("-wait_endpoints needs a build with the feature \"lookup\""), "{refused}");
        assert_eq!(read(&["-wait_endpoints=", "-wait_endpoints_timeout=5m"], false), Ok(EndpointsSpec::default()));
    }
}
