//! Files of podman's kind as tables: what they say of an image, and what is wrong with them.

use super::super::line;
use super::*;
use crate::sys::cause::chain;

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn parsed(text: &str) -> Result<RegistriesConf, NodeFileError> {
    RegistriesConf::parse(Path::new("/r.conf"), text.as_bytes())
}

/// The places for an image, one line each, and the notes. Nothing for an image of which the file says nothing.
fn routes(text: &str, image: &str) -> (Vec<String>, Vec<String>) {
    let found = parsed(text).unwrap_or_else(|error| panic!("{}: {text}", chain(&error)));
    let found = found.routes(&image.parse().unwrap()).unwrap_or_else(|error| panic!("{}: {text}", chain(&error)));
    let found = found.unwrap_or_default();
    let of = |note: &Note| note.to_string().replace("registry configuration /r.conf: ", "");
    (found.routes.iter().map(line).collect(), found.notes.iter().map(of).collect())
}

fn fault(text: &str) -> String {
    let error = parsed(text).map(|_| ()).expect_err(text);
    chain(&error).replace("the registry configuration \"/r.conf\" cannot be used: ", "")
}

#[test]
fn the_example_of_the_manual() {
    let text = r#"
        unqualified-search-registries = ["example.com"]

        [[registry]]
        prefix = "example.com/foo"
        insecure = false
        blocked = false
        location = "internal-registry-for-example.com/bar"

        [[registry.mirror]]
        location = "example-mirror-0.local/mirror-for-foo"

        [[registry.mirror]]
        location = "example-mirror-1.local/mirrors/foo"
        insecure = true

        [[registry]]
        location = "registry.com"

        [[registry.mirror]]
        location = "mirror.registry.com"
    "#;
    let (found, notes) = routes(text, "example.com/foo/image:latest");
    let expected = [
        "usual example-mirror-0.local/mirror-for-foo/image:latest by v2, from the file",
        "either example-mirror-1.local/mirrors/foo/image:latest by v2, unverified, from the file",
        "usual internal-registry-for-example.com/bar/image:latest by v2, from the file",
    ];
    assert_eq!((found, notes), (expected.map(str::to_owned).to_vec(), vec![]));
    let (found, _) = routes(text, "registry.com/image");
    let expected = [
        "usual mirror.registry.com/image:latest by v2, from the file",
        "usual registry.com/image:latest by v2, the reference's",
    ];
    assert_eq!(found, expected);
    assert_eq!(routes(text, "example.com/food/image"), (vec![], vec![]));
}

#[test]
fn the_longest_prefix_wins_and_ends_where_a_part_of_the_name_ends() {
    for (name, prefix, rest) in [
        ("r.example/a/b:1", "r.example", Some("/a/b:1")),
        ("r.example/a/b:1", "r.example/a", Some("/b:1")),
        ("r.example/a/b:1", "r.example/a/b", Some(":1")),
        ("r.example/a/b:1", "r.example/a/b:1", Some("")),
        ("r.example/a/b:1", "r.example/a/b:12", None),
        ("r.example/a/b:12", "r.example/a/b:1", None),
        ("r.example/a/b@sha256:0", "r.example/a/b", Some("@sha256:0")),
        ("r.example/a/b:1", "r.exampl", None),
        ("r.example/ab:1", "r.example/a", None),
        ("r.example:5000/a:1", "r.example:5000", Some("/a:1")),
        // podman takes these for the same.
        ("r.example:5000/a:1", "r.example", None),
        ("r.example/a:1", "*.example", Some("/a:1")),
        ("a.b.example:5000/a:1", "*.example", Some(":5000/a:1")),
        ("a.example.example/a:1", "*.example", Some("/a:1")),
        ("r.example/a:1", "*.r.example", None),
        ("xr.example/a:1", "*.r.example", None),
        ("other.com/r.example/a:1", "*.example", None),
        ("[::1]:5000/a:1", "*.example", None),
        ("[::1]/a:1", "[::1]", Some("/a:1")),
    ] {
        assert_eq!(follows(name, prefix), rest, "{name} {prefix}");
    }
    for (prefixes, winner) in [
        (&["r.example", "r.example/a", "r.example/b"][..], "r.example/a"),
        (&["r.example/a/b", "r.example/a"][..], "r.example/a/b"),
        (&["R.example/a", "r.example"][..], "r.example/a"),
        (&["r.example/a/b:1", "r.example/a/b"][..], "r.example/a/b:1"),
        // Equally long.
        (&["r.example", "*.example"][..], "*.example"),
    ] {
        let table = |prefix: &&str| format!("[[registry]]\nprefix = {prefix:?}\nlocation = 'l.example'\n");
        let conf = parsed(&prefixes.iter().map(table).collect::<String>()).unwrap();
        let (found, _) = conf.find("r.example/a/b:1").unwrap();
        assert_eq!(found.prefix, winner, "{prefixes:?}");
    }
}

#[test]
fn docker_hub_is_docker_io_with_the_library_in_these_files() {
    for (prefix, location, image, expected) in [
        ("docker.io", "m.example/hub", "busybox", "m.example/hub/library/busybox:latest"),
        ("docker.io/library", "m.example", "busybox:1", "m.example/busybox:1"),
        ("docker.io/library/busybox", "m.example/b", "index.docker.io/busybox", "m.example/b:latest"),
        ("docker.io/busybox", "m.example/b", "busybox", ""),
        ("r.example", "docker.io", "r.example/library/a", "index.docker.io/library/a:latest"),
        ("r.example", "registry-1.docker.io", "r.example/ci/a", "index.docker.io/ci/a:latest"),
    ] {
        let (found, _) = routes(&format!("[[registry]]\nprefix = {prefix:?}\nlocation = {location:?}"), image);
        let lines = if expected.is_empty() { vec![] } else { vec![format!("usual {expected} by v2, from the file")] };
        assert_eq!(found, lines, "{prefix} {location} {image}");
    }
}

#[test]
fn a_wildcard_needs_no_location_and_what_is_insecure_stays_where_it_is() {
    let (found, _) = routes("[[registry]]\nprefix = '*.example'\ninsecure = true", "a.b.example:5000/i:1");
    assert_eq!(found, ["either a.b.example:5000/i:1 by v2, unverified, the reference's"]);
    let (found, _) = routes("[[registry]]\nprefix = '*.example'\nlocation = 'l.local'", "a.example:5000/i:1");
    assert_eq!(found, ["usual l.local:5000/i:1 by v2, from the file"]);
    let (found, _) = routes("[[registry]]\nlocation = 'r.example/a/'\ninsecure = true", "r.example/a/i:1");
    assert_eq!(found, ["either r.example/a/i:1 by v2, unverified, the reference's"]);
}

#[test]
fn a_mirror_is_asked_for_what_it_is_for() {
    let mirror = |pulls: &str| format!("[[registry]]\nlocation = 'r.example'\n{pulls}");
    let m = "[[registry.mirror]]\nlocation = 'm.example'\n";
    for (text, for_tags, for_digests) in [
        (m.to_owned(), true, true),
        (format!("{m}pull-from-mirror = ''"), true, true),
        (format!("{m}pull-from-mirror = 'all'"), true, true),
        (format!("{m}pull-from-mirror = 'digest-only'"), false, true),
        (format!("{m}pull-from-mirror = 'tag-only'"), true, false),
        (format!("mirror-by-digest-only = true\n{m}"), false, true),
        (format!("mirror-by-digest-only = false\n{m}pull-from-mirror = 'all'"), true, true),
    ] {
        for (image, asked, kind) in
            [("r.example/i:1".to_owned(), for_tags, "digests"), (format!("r.example/i@{DIGEST}"), for_digests, "tags")]
        {
            let (found, notes) = routes(&mirror(&text), &image);
            assert_eq!(found.len(), 1 + usize::from(asked), "{text} {image}");
            let told = if asked { vec![] } else { vec![format!("m.example is asked for {kind} only")] };
            assert_eq!(notes, told, "{text} {image}");
        }
    }
}

#[test]
fn a_blocked_image_is_refused_and_a_longer_prefix_may_allow_it() {
    let text = "[[registry]]\nlocation = 'r.example'\nblocked = true\n[[registry]]\nlocation = 'r.example/good'";
    let conf = parsed(text).unwrap();
    let error = conf.check(&"r.example/i:1".parse().unwrap()).expect_err("blocked");
    assert_eq!(chain(&error), "r.example/i:1 may not be asked for: \"/r.conf\", line 1, blocks \"r.example\"");
    conf.check(&"r.example/good/i:1".parse().unwrap()).unwrap();
    conf.check(&"other.example/i:1".parse().unwrap()).unwrap();
}

#[test]
fn later_files_take_the_place_of_earlier_tables_and_in_one_file_the_first_counts() {
    let table = |location: &str| format!("[[registry]]\nprefix = 'r.example'\nlocation = '{location}'\n");
    let (found, notes) = routes(&format!("{}{}", table("a.example"), table("b.example")), "r.example/i:1");
    assert_eq!(found, ["usual a.example/i:1 by v2, from the file"]);
    assert_eq!(notes, ["line 4: the prefix \"r.example\" has a [[registry]] already"]);
    let mut conf = parsed(&table("a.example")).unwrap();
    conf.merge(parsed("[[registry]]\nlocation = 'other.example'").unwrap());
    conf.merge(parsed(&table("b.example")).unwrap());
    let found = conf.routes(&"r.example/i:1".parse().unwrap()).unwrap().unwrap();
    assert_eq!(line(&found.routes[0]), "usual b.example/i:1 by v2, from the file");
}

#[test]
fn keys_about_short_names_are_passed_over_and_others_are_told() {
    let text = "unqualified-search-registries = ['a.example']\nshort-name-mode = 'enforcing'\ncolour = 1\n\
                credential-helpers = ['x']\n[aliases]\na = 'b.example/a'\n[[registry]]\nlocation = 'r.example'\n\
                mirrors = 1\n[[registry.mirror]]\nlocation = 'm.example'\nblocked = true";
    let (_, notes) = routes(text, "r.example/i");
    let none = "has no effect here";
    let expected = [
        format!("line 3: \"colour\" {none}"),
        format!("line 9: \"mirrors\" {none}"),
        format!("line 12: \"blocked\" {none}"),
    ];
    assert_eq!(notes, expected);
}

#[test]
fn mistakes_are_told_with_their_line() {
    for (text, expected) in [
        (
            "\n[registries.search]\nregistries = []",
            "line 2, column 2: this is version 1 of the format, which is not read: write [[registry]] tables as \
             containers-registries.conf(5) has them",
        ),
        (
            "server = 'https://a.example'",
            "line 1, column 1: server is a key of hosts.toml, and this file was read as a registries.conf: name the \
             directory in which each registry has a directory with its hosts.toml",
        ),
        (
            "[registry]\nlocation = 'r.example'",
            "line 1, column 2: registry must be tables, each headed by its name in double brackets",
        ),
        (
            "[[registry]]\ninsecure = true",
            "line 1, column 1: a [[registry]] needs a prefix or a location, and a location unless its prefix begins \
             with *.",
        ),
        (
            "[[registry]]\nprefix = 'r.example'",
            "line 1, column 1: a [[registry]] needs a prefix or a location, and a location unless its prefix begins \
             with *.",
        ),
        (
            "[[registry]]\nlocation = 'https://r.example'",
            "line 2, column 12: location is written without a scheme, as in registry.example.com:5000/team; plain \
             http is insecure = true",
        ),
        (
            "[[registry]]\nprefix = '*.r.example:5000'",
            "line 2, column 1: a prefix may have a wildcard only as *.example.com, without a port and a path",
        ),
        (
            "[[registry]]\nlocation = 'r.*'",
            "line 1, column 1: a prefix may have a wildcard only as *.example.com, without a port and a path",
        ),
        (
            "[[registry]]\nlocation = 'r.example'\npull-from-mirror = 'all'",
            "line 3, column 20: pull-from-mirror is for a [[registry.mirror]]",
        ),
        (
            "[[registry]]\nlocation = 'r.example'\n[[registry.mirror]]\ninsecure = true",
            "line 3, column 1: a [[registry.mirror]] needs a location",
        ),
        (
            "[[registry]]\nlocation = 'r.example'\n[[registry.mirror]]\nlocation = 'm'\npull-from-mirror = 'some'",
            "line 5, column 20: pull-from-mirror must be all, digest-only or tag-only",
        ),
        (
            "[[registry]]\nlocation = 'r.example'\nmirror-by-digest-only = true\n[[registry.mirror]]\n\
             location = 'm'\npull-from-mirror = 'all'",
            "line 6, column 20: pull-from-mirror excludes the mirror-by-digest-only of its [[registry]]",
        ),
        ("[[registry]]\nlocation = 'r.example'\nblocked = 'yes'", "line 3, column 1: blocked must be true or false"),
        ("[[registry]\n", "line 1, column 12: it is no TOML: unclosed array table, expected `]`"),
    ] {
        assert_eq!(fault(text), expected, "{text}");
    }
}

#[test]
fn a_location_that_leads_nowhere_is_told_when_an_image_is_asked_for() {
    for (location, more) in [
        ("mirror", ""),
        ("mirror/team", ""),
        (
            "m.example:x",
            ": the image reference \"m.example:x/i:1\" has the registry \"m.example:x\", which is not a host name of at most 253 characters with an optional port",
        ),
        (
            "m.example/Team",
            ": the image reference \"m.example/Team/i:1\" has 'T' in its repository, where only a-z, 0-9 and _ - . / may be",
        ),
    ] {
        let text = format!("[[registry]]\nlocation = 'r.example'\n[[registry.mirror]]\nlocation = '{location}'");
        let conf = parsed(&text).unwrap();
        let error = conf.routes(&"r.example/i:1".parse().unwrap()).expect_err(location);
        assert_eq!(
            chain(&error),
            format!(
                "the registry configuration \"/r.conf\" cannot be used: line 3, column 1: the location {location:?} \
                 makes no image reference of r.example/i:1{more}"
            )
        );
        assert_eq!(conf.routes(&"other.example/i:1".parse().unwrap()).unwrap(), None);
    }
}
