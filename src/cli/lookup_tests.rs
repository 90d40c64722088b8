//! The flags that say where an image is asked for: from argv to the lookup.

use std::ffi::OsString;

use super::*;
use crate::spec::{LookupSpec, MapRule, MapTarget};

fn read(args: &[&str]) -> Result<LookupSpec, String> {
    let argv: Vec<OsString> = ["entrypoint", "resolve", "busybox"].iter().chain(args).map(OsString::from).collect();
    match parse_with(&argv, Built { lookup: true }) {
        Ok(Invocation::Resolve { lookup, .. }) => Ok(*lookup),
        Ok(other) => panic!("{args:?}: {other:?}"),
        Err(error) => Err(error.to_string()),
    }
}

fn target(https: Option<bool>, registry: &str, prefix: &str) -> MapTarget {
    MapTarget { https, registry: registry.to_owned(), prefix: prefix.to_owned() }
}

fn rule(registry: &str, prefix: &str, target: MapTarget) -> MapRule {
    MapRule { registry: registry.to_owned(), prefix: prefix.to_owned(), target }
}

#[test]
fn the_rules_of_the_map_are_read_in_their_order() {
    let lookup = read(&[
        "-image_registry_map",
        "localhost:30500=http://registry:5000",
        "--image_registry_map=docker.io=m.example/hub",
        "-image_registry_map=",
        "-image_registry_map",
        "docker.io=https://N.example:8443/a/b/",
        "-image_registry_map=R.example/team/tool=[::1]:5000",
        "-image_registry_map_only",
    ]);
    let lookup = lookup.unwrap();
    assert_eq!(
        lookup.registry_map,
        [
            rule("localhost:30500", "", target(Some(false), "registry:5000", "")),
            rule("index.docker.io", "", target(None, "m.example", "hub")),
            rule("index.docker.io", "", target(Some(true), "n.example:8443", "a/b")),
            rule("r.example", "team/tool", target(None, "[::1]:5000", "")),
        ]
    );
    assert!(lookup.map_only && lookup.mirrors.is_empty());
    let none = read(&[]).unwrap();
    assert_eq!((none.registry_map, none.mirrors, none.map_only), (Vec::new(), Vec::new(), false));
}

#[test]
fn mirrors_are_read_in_their_order() {
    let lookup = read(&["-image_registry_mirror", "HTTP://m:5000/hub", "-image_registry_mirror=docker.io"]).unwrap();
    assert_eq!(lookup.mirrors, [target(Some(false), "m:5000", "hub"), target(None, "index.docker.io", "")]);
}

#[test]
fn a_place_that_is_none_says_what_to_write() {
    for value in [
        "r.example",
        "=",
        "r.example=",
        "=m.example",
        "r=m.example",
        "r.example=m",
        "r.example=http://m",
        "http://r.example=m.example",
        "r.example=ftp://m.example",
        "r.example=://m.example",
        "r.example=m.example:0",
        "r.example=m.example:x",
        "r.example=user:pass@m.example",
        "r.example=m.example/A",
        "r.example=m.example//a",
        "r.example=m.example/../a",
        "r.example=m.example/a//",
        "r.example=m.example/a?b",
        "r.example//a=m.example",
        "r.example=m.example,n.example",
        "r.example=m.example;s.example=n.example",
        " r.example=m.example",
        "r.example=m.example\n",
    ] {
        let message = read(&["-image_registry_map", value]).expect_err(value);
        let is_it = message
            .contains(" for flag -image_registry_map: write the registry, an equals sign and where its ")
            && message.ends_with("or localhost:30500=http://registry:5000");
        assert!(is_it, "{value}: {message}");
    }
    for value in ["m", "https://", "https://m", "m.example=n.example", "m.example/A", "http://http://m.example"] {
        let message = read(&["-image_registry_mirror", value]).expect_err(value);
        assert!(message.ends_with("as in mirror.example.com/hub or http://mirror:5000"), "{value}: {message}");
    }
    let message = read(&["-image_registry_map_only=maybe"]).expect_err("maybe");
    assert_eq!(message, "invalid boolean value \"maybe\" for -image_registry_map_only: parse error");
}
