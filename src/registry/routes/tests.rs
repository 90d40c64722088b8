//! Where images are asked for, as tables.

use super::*;

fn target(text: &str) -> MapTarget {
    let (https, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (Some(scheme == "https"), rest),
        None => (None, text),
    };
    let (registry, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    MapTarget { https, registry: registry.to_owned(), prefix: prefix.to_owned() }
}

fn rule(text: &str) -> MapRule {
    let (key, to) = text.split_once('=').expect("A=B");
    let (registry, prefix) = key.split_once('/').unwrap_or((key, ""));
    MapRule { registry: registry.to_owned(), prefix: prefix.to_owned(), target: target(to) }
}

fn file(reference: &str) -> Route {
    let origin = Origin::File("/node/hosts.toml".into());
    Route { credentials: false, origin, ..Route::direct(reference.parse().expect(reference)) }
}

/// Places as one line each: scheme where one is written, the image there, whether it is shown anything, and why.
fn lines(places: &Places) -> Vec<String> {
    let line = |route: &Route| {
        let scheme = match route.api.scheme {
            Scheme::Usual => "",
            Scheme::Https => "https://",
            Scheme::Http => "http://",
            Scheme::Either => "either ",
        };
        let anonymous = if route.credentials { "" } else { " anonymously" };
        format!("{scheme}{}{anonymous} ({})", route.reference, route.origin)
    };
    places.routes.iter().map(line).collect()
}

fn notes(places: &Places) -> Vec<String> {
    places.notes.iter().map(Note::to_string).collect()
}

struct Given {
    map: Vec<MapRule>,
    mirrors: Vec<MapTarget>,
    only: bool,
    env: Env,
    files: Vec<Route>,
}

fn map(rules: &[&str]) -> Given {
    let map = rules.iter().map(|text| rule(text)).collect();
    Given { map, mirrors: Vec::new(), only: false, env: Env::default(), files: Vec::new() }
}

impl Given {
    fn mirrors(self, mirrors: &[&str]) -> Self {
        Self { mirrors: mirrors.iter().map(|text| target(text)).collect(), ..self }
    }

    fn only(self) -> Self {
        Self { only: true, ..self }
    }

    fn env(self, variables: &[(&str, &str)]) -> Self {
        Self { env: variables.iter().copied().collect(), ..self }
    }

    fn files(self, references: &[&str]) -> Self {
        Self { files: references.iter().map(|text| file(text)).collect(), ..self }
    }

    fn places(&self, image: &str) -> Places {
        let reference: Reference = image.parse().expect(image);
        let rules = Rules { map: &self.map, mirrors: &self.mirrors, only: self.only };
        let files = Places { routes: self.files.clone(), notes: Vec::new() };
        routes(&reference, &rules, runner(&self.env, &reference), files)
    }
}

const MAP: &str = "(-image_registry_map)";
const MIRROR: &str = "(-image_registry_mirror)";
const OWN: &str = "(the image's own registry)";

#[test]
fn an_image_is_asked_for_where_the_map_says_and_then_at_its_own_registry() {
    for (rules, image, expected) in [
        (&[][..], "r.example/team/tool:1", vec![format!("r.example/team/tool:1 {OWN}")]),
        (
            &["r.example=m.example"],
            "r.example/team/tool:1",
            vec![format!("m.example/team/tool:1 {MAP}"), format!("r.example/team/tool:1 {OWN}")],
        ),
        // The whole host and port, and whole segments of the path.
        (&["r.example=m.example"], "r.example:5000/x", vec![format!("r.example:5000/x:latest {OWN}")]),
        (&["r.example:5000=m.example"], "r.example/x", vec![format!("r.example/x:latest {OWN}")]),
        (&["r.example/te=m.example"], "r.example/team/x", vec![format!("r.example/team/x:latest {OWN}")]),
        // Schemes, paths, ports.
        (
            &["r.example=http://10.0.0.1:5000/a/b", "r.example=https://m.example"],
            "r.example/x",
            vec![
                format!("http://10.0.0.1:5000/a/b/x:latest {MAP}"),
                format!("https://m.example/x:latest {MAP}"),
                format!("r.example/x:latest {OWN}"),
            ],
        ),
        // What stands before the repository takes the place of the key's own path, the longest of which comes first.
        (
            &["r.example=one.example", "r.example/team=two.example/x", "r.example/team/tool=three.example/y"],
            "r.example/team/tool",
            vec![
                format!("three.example/y:latest {MAP}"),
                format!("two.example/x/tool:latest {MAP}"),
                format!("one.example/team/tool:latest {MAP}"),
                format!("r.example/team/tool:latest {OWN}"),
            ],
        ),
        // Docker Hub.
        (
            &["index.docker.io=m.example/hub"],
            "busybox",
            vec![
                format!("m.example/hub/library/busybox:latest {MAP}"),
                format!("index.docker.io/library/busybox:latest {OWN}"),
            ],
        ),
        (
            &["index.docker.io/library=m.example/official"],
            "docker.io/busybox",
            vec![
                format!("m.example/official/busybox:latest {MAP}"),
                format!("index.docker.io/library/busybox:latest {OWN}"),
            ],
        ),
        (
            &["r.example=docker.io"],
            "r.example/x",
            vec![format!("index.docker.io/library/x:latest {MAP}"), format!("r.example/x:latest {OWN}")],
        ),
        // Loops: a place is not mapped again.
        (
            &["a.example=b.example", "b.example=a.example"],
            "a.example/x",
            vec![format!("b.example/x:latest {MAP}"), format!("a.example/x:latest {OWN}")],
        ),
        // A place is asked once, as it was written first.
        (&["r.example=r.example"], "r.example/x", vec![format!("r.example/x:latest {MAP}")]),
        (&["r.example=http://r.example"], "r.example/x", vec![format!("http://r.example/x:latest {MAP}")]),
        (
            &["r.example=m.example", "r.example=https://m.example", "r.example=m.example/p"],
            "r.example/x",
            vec![
                format!("m.example/x:latest {MAP}"),
                format!("m.example/p/x:latest {MAP}"),
                format!("r.example/x:latest {OWN}"),
            ],
        ),
        (
            &["[::1]:5000=[fd00::1]:5000"],
            "[::1]:5000/x",
            vec![format!("[fd00::1]:5000/x:latest {MAP}"), format!("[::1]:5000/x:latest {OWN}")],
        ),
    ] {
        let places = map(rules).places(image);
        assert_eq!(lines(&places), expected, "{rules:?} {image}");
        assert_eq!(notes(&places), [""; 0]);
    }
}

#[test]
fn a_digest_stays_what_is_asked_for() {
    let digest = format!("sha256:{}", "0".repeat(64));
    let places = map(&["r.example=m.example/p"]).places(&format!("r.example/x:1@{digest}"));
    assert_eq!(lines(&places), [format!("m.example/p/x@{digest} {MAP}"), format!("r.example/x@{digest} {OWN}")]);
}

#[test]
fn mirrors_are_docker_hubs_and_come_behind_the_map() {
    let given = map(&["index.docker.io=m.example"]).mirrors(&["https://one.example/hub", "two.example:5000"]);
    assert_eq!(
        lines(&given.places("bitnami/git")),
        [
            format!("m.example/bitnami/git:latest {MAP}"),
            format!("https://one.example/hub/bitnami/git:latest {MIRROR}"),
            format!("two.example:5000/bitnami/git:latest {MIRROR}"),
            format!("index.docker.io/bitnami/git:latest {OWN}"),
        ]
    );
    assert_eq!(lines(&given.places("ghcr.io/x")), [format!("ghcr.io/x:latest {OWN}")]);
}

#[test]
fn with_only_a_registry_is_left_alone_where_there_is_another_place() {
    let given = map(&["r.example/team=m.example"]).only();
    assert_eq!(lines(&given.places("r.example/team/x")), [format!("m.example/x:latest {MAP}")]);
    assert_eq!(lines(&given.places("r.example/other/x")), [format!("r.example/other/x:latest {OWN}")]);
    let given = map(&[]).mirrors(&["m.example"]).only();
    assert_eq!(lines(&given.places("busybox")), [format!("m.example/library/busybox:latest {MIRROR}")]);
    let given = map(&[]).files(&["m.example/x:1"]).only();
    assert_eq!(lines(&given.places("r.example/x:1")), ["m.example/x:1 anonymously (/node/hosts.toml)"]);
    // What the environment says does not keep anybody from being asked.
    let given = map(&[]).env(&SET).only();
    assert_eq!(
        lines(&given.places("localhost:30500/x")),
        [format!("http://registry:5000/x:latest anonymously ({HOST})"), format!("localhost:30500/x:latest {OWN}")]
    );
    // Nor does a rule that leads nowhere make it be asked.
    let given = map(&["r.example/x=m.example"]).only();
    let places = given.places("r.example/x");
    assert_eq!(lines(&places), [""; 0]);
    assert_eq!(
        notes(&places),
        [
            "-image_registry_map r.example/x=m.example: it leads to no image: the image reference \"m.example/:latest\" has a \
             repository of 0 characters: 1 to 255 may be"
        ]
    );
}

#[test]
fn a_registry_whose_images_are_elsewhere_in_itself_is_asked_there_and_with_only_nowhere_else() {
    let given = map(&["r.example=r.example/mirror"]);
    let (mirror, own) = (format!("r.example/mirror/x:1 {MAP}"), format!("r.example/x:1 {OWN}"));
    assert_eq!(lines(&given.places("r.example/x:1")), [mirror.clone(), own]);
    assert_eq!(lines(&map(&["r.example=r.example/mirror"]).only().places("r.example/x:1")), [mirror]);
}

#[test]
fn a_rule_that_leads_to_no_image_is_told_and_passed_over() {
    let long = format!("r.example=m.example/{}", "a".repeat(250));
    for (rule, image, part) in [
        (long.as_str(), "r.example/team/tool", "it leads to no image: the image reference \"m.example/aaa"),
        ("r.example=registry", "r.example/x", "\"registry\" is not how a registry is named: it has neither a dot"),
        ("r.example=https://registry/a", "r.example/x", "-image_registry_map r.example=https://registry/a: "),
    ] {
        let places = map(&[rule, "r.example=n.example"]).places(image);
        assert_eq!((places.routes.len(), places.notes.len()), (2, 1), "{places:?}");
        assert!(notes(&places)[0].contains(part), "{part} in {:?}", notes(&places));
    }
}

#[test]
fn what_files_of_a_node_name_comes_behind_the_runners_and_they_say_whether_the_images_own_is_asked() {
    let first = [format!("m.example/x:1 {MAP}"), format!("http://registry:5000/x:1 anonymously ({HOST})")];
    let file = |place: &str| format!("{place}/x:1 anonymously (/node/hosts.toml)");
    let (other, own) = (file("f.example"), file("localhost:30500"));
    let direct = format!("localhost:30500/x:1 {OWN}");
    for (files, expected) in [
        (&["f.example/x:1", "localhost:30500/x:1"][..], vec![&other, &own]),
        (&["f.example/x:1"], vec![&other]),
        (&[], vec![&direct]),
    ] {
        let given = map(&["localhost:30500=m.example"]).env(&SET).files(files);
        let expected: Vec<&String> = first.iter().chain(expected).collect();
        assert_eq!(lines(&given.places("localhost:30500/x:1")).iter().collect::<Vec<_>>(), expected);
    }
    let only = map(&["localhost:30500=m.example"]).env(&SET).files(&["f.example/x:1", "localhost:30500/x:1"]).only();
    let expected: Vec<&String> = first.iter().chain([&other]).collect();
    assert_eq!(lines(&only.places("localhost:30500/x:1")).iter().collect::<Vec<_>>(), expected);
}

const HOST: &str = "ACTIONS_RUNNER_CONTAINER_HOOKS_REGISTRY_HOST";
const PORT: &str = "ACTIONS_RUNNER_CONTAINER_HOOKS_REGISTRY_PORT";
const NODE_PORT: &str = "ACTIONS_RUNNER_CONTAINER_HOOKS_REGISTRY_NODE_PORT";
const LOCAL_HOST: &str = "ACTIONS_RUNNER_CONTAINER_HOOKS_LOCAL_REGISTRY_HOST";
const LOCAL_PORT: &str = "ACTIONS_RUNNER_CONTAINER_HOOKS_LOCAL_REGISTRY_PORT";
const LOCAL_NODE_PORT: &str = "ACTIONS_RUNNER_CONTAINER_HOOKS_LOCAL_REGISTRY_NODE_PORT";
const PUSH: &str = "ACTIONS_RUNNER_CONTAINER_HOOKS_K8S_REGISTRY_HOST_PUSH";
const PULL: &str = "ACTIONS_RUNNER_CONTAINER_HOOKS_K8S_REGISTRY_HOST_PULL";
const SET: [(&str, &str); 3] = [(HOST, "registry"), (PORT, "5000"), (NODE_PORT, "30500")];

/// The places that the environment adds, without the image's own, and the notes.
fn of_env(variables: &[(&str, &str)], image: &str) -> (Vec<String>, Vec<String>) {
    let places = map(&[]).env(variables).places(image);
    let (_, added) = lines(&places).split_last().map(|(own, added)| (own.clone(), added.to_vec())).expect("its own");
    (added, notes(&places))
}

#[test]
fn the_runners_variables_send_names_on_localhost_to_the_registry_and_no_others() {
    let local = [(LOCAL_HOST, "kaniko.ci.svc.cluster.local"), (LOCAL_PORT, "80"), (LOCAL_NODE_PORT, "31500")];
    let push = |push, pull| [(PUSH, push), (PULL, pull)];
    let at = |place: &str, variable: &str| vec![format!("http://{place} anonymously ({variable})")];
    for (variables, image, added) in [
        (&SET[..], "localhost:30500/h/x:1", at("registry:5000/h/x:1", HOST)),
        (&SET, "127.0.0.1:30500/x:1", at("registry:5000/x:1", HOST)),
        (&SET, "[::1]:30500/x:1", at("registry:5000/x:1", HOST)),
        (&SET, "LOCALHOST:30500/x:1", at("registry:5000/x:1", HOST)),
        (&SET, "localhost:30501/x:1", vec![]),
        (&SET, "localhost/x:1", vec![]),
        (&SET, "127.0.0.2:30500/x:1", vec![]),
        (&SET, "localhost.example:30500/x:1", vec![]),
        (&SET, "registry:5000/x:1", vec![]),
        (&SET, "busybox", vec![]),
        (&local, "localhost:31500/x:1", at("kaniko.ci.svc.cluster.local:80/x:1", LOCAL_HOST)),
        (&push("registry:5000", "localhost:30500"), "localhost:30500/x:1", at("registry:5000/x:1", PUSH)),
        (&push("registry:5000", "localhost:30500"), "127.0.0.1:30500/x:1", at("registry:5000/x:1", PUSH)),
        (&push("registry:5000", "localhost"), "localhost/x:1", at("registry:5000/x:1", PUSH)),
        (&push("registry", "localhost:30500"), "localhost:30500/x:1", at("registry:80/x:1", PUSH)),
        (&push("r.ci.svc", "[::1]:30500"), "localhost:30500/x:1", at("r.ci.svc/x:1", PUSH)),
        (&push("registry:5000", "localhost:30500"), "localhost:30501/x:1", vec![]),
        // It is there already.
        (&push("127.0.0.1:30500", "localhost:30500"), "localhost:30500/x:1", vec![]),
        // Not set is empty, and half of it is nobody's business where the image is elsewhere.
        (&[(HOST, ""), (PORT, ""), (NODE_PORT, "")], "localhost:30500/x:1", vec![]),
        (&[(HOST, "a b")], "r.example/x:1", vec![]),
        (&[(PULL, "a b")], "r.example/x:1", vec![]),
        (&push("m.example", "other.example"), "r.example/x:1", vec![]),
    ] {
        assert_eq!(of_env(variables, image), (added, vec![]), "{variables:?} {image}");
    }
    let all: Vec<_> = SET.into_iter().chain(local).chain(push("registry:5000", "localhost:30500")).collect();
    assert_eq!(of_env(&all, "localhost:30500/x:1"), (at("registry:5000/x:1", HOST), vec![]), "each place once");
}

#[test]
fn variables_of_the_runner_that_cannot_be_meant_are_told_and_without_effect() {
    let ports = |port: &'static str, node_port: &'static str| [(HOST, "r"), (PORT, port), (NODE_PORT, node_port)];
    let host = |host: &'static str| [(HOST, host), (PORT, "5000"), (NODE_PORT, "30500")];
    for (variables, note) in [
        (&[(HOST, "r")][..], format!("{HOST}: without effect, because {PORT} is not set")),
        (&[(HOST, "r"), (PORT, "1")], format!("{HOST}: without effect, because {NODE_PORT} is not set")),
        (&[(PORT, "1"), (NODE_PORT, "1")], format!("{PORT}: without effect, because {HOST} is not set")),
        (&[(NODE_PORT, "1")], format!("{NODE_PORT}: without effect, because {HOST} is not set")),
        (&[(PUSH, "r")], format!("{PUSH}: without effect, because {PULL} is not set")),
        (&[(PULL, "r")], format!("{PULL}: without effect, because {PUSH} is not set")),
        (&ports("x", "30500"), format!("{PORT}: without effect: \"x\" is not a port")),
        (
            &ports("tcp://10.0.0.1:5000", "30500"),
            format!("{PORT}: without effect: \"tcp://10.0.0.1:5000\" is not a port"),
        ),
        (&ports("5000", "0"), format!("{NODE_PORT}: without effect: \"0\" is not a port")),
        (&ports("5000", "+30500"), format!("{NODE_PORT}: without effect: \"+30500\" is not a port")),
        (&ports("5000", "99999"), format!("{NODE_PORT}: without effect: \"99999\" is not a port")),
        (
            &host("a b"),
            format!("{HOST}: without effect: it leads to no image: the image reference \"a b:5000/x:1\" has "),
        ),
        (&host("http://r"), format!("{HOST}: without effect: it leads to no image: the image reference ")),
        (&host("r/path"), format!("{HOST}: without effect: it leads to no image: the image reference ")),
        (&host("a\nb"), format!("{HOST}: without effect: it leads to no image: the image reference \"a b:5000/")),
        (&[(PUSH, "r:1"), (PULL, "p.example")], format!("{PULL}: without effect: \"p.example\" is not localhost, ")),
        (&[(PUSH, "a b"), (PULL, "localhost:30500")], format!("{PUSH}: without effect: it leads to no image: ")),
    ] {
        let (added, notes) = of_env(variables, "localhost:30500/x:1");
        assert_eq!((added.len(), notes.len()), (0, 1), "{variables:?}: {notes:?}");
        assert!(notes[0].starts_with(&note) && !notes[0].contains('\n'), "{note} is not how it starts: {notes:?}");
    }
    // Somebody has meant it, and is told what to do.
    let (added, notes) = of_env(&[(PUSH, "r:1"), (PULL, "p.example")], "p.example/x:1");
    assert!(added.is_empty() && notes[0].ends_with("are mapped by -image_registry_map"), "{notes:?}");
}

#[test]
fn a_variable_of_the_runner_that_is_no_text_is_told() {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;
    let odd = OsString::from_vec(b"r\xff".to_vec());
    let env: Env = [(HOST, odd), (PORT, "5000".into()), (NODE_PORT, "30500".into())].into_iter().collect();
    let reference: Reference = "localhost:30500/x".parse().expect("a reference");
    assert_eq!(notes(&runner(&env, &reference)), [format!("{HOST}: without effect: it is not UTF-8")]);
}
