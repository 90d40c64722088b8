//! The runtime runs something else than the tag leads to: it is looked for in the image's own repository, and nowhere else.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::server::{Answer, Reply, Server};
use crate::step::Ended;
use crate::world::{
    Content, Image, World, failed, notes_say, ran_silently, ran_with_warning, reads, says, unreadable, verdict,
};

/// The `imageID` of an image.
type Form = fn(&World, &Image) -> String;
/// One of an image's digests.
type Of = fn(&Image) -> &String;

/// The tag has moved from `old` to `new`; the node still has this of `old`, and the registry was asked for that.
fn moved(
    form: impl Fn(&World, &Image) -> String,
    content: impl Fn(Content, &Image) -> Content,
    asked: &[&str],
) -> Moved {
    let (world, old, new) = World::of_two();
    let content = content(Content::tagged(&new).image(&old), &old);
    let registry = world.serve(content);
    let api = world.pod(&form(&world, &old));
    let ended = world.run(&api, &[]);
    ran_silently(&ended, &old);
    assert_eq!(world.asked(&registry), asked);
    assert_eq!(reads(&api), 1);
    says(&ended, &json!({"leadsTo": {"kind": "index", "digest": new.index}, "command": {"pinnedBy": "pod-status"}}));
    Moved { ended, old }
}

struct Moved {
    ended: Ended,
    old: Image,
}

impl Moved {
    /// The verdict, and the digests of the image that was run, by name.
    #[track_caller]
    fn says(self, verdict: &str, compared: Option<&str>, digests: impl Fn(&Image) -> [Option<&String>; 3]) {
        let [index, manifest, config] = digests(&self.old);
        let digests = json!({"index": index, "manifest": manifest, "config": config});
        says(&self.ended, &json!({"match": verdict, "compared": compared, "digests": digests}));
    }
}

fn as_it_is(content: Content, _: &Image) -> Content {
    content
}

#[test]
fn the_old_index_of_a_moved_tag_is_run_and_not_what_the_tag_leads_to() {
    let asked = ["manifests/v1", "manifests/<old index>", "manifests/<old manifest>", "blobs/<old config>"];
    let [plain, pullable] = ["", "docker-pullable://"]
        .map(|form| moved(|world, old| format!("{form}{}", world.named(&old.index)), as_it_is, &asked));
    for moved in [plain, pullable] {
        moved.says("moved", Some("index"), |old| [Some(&old.index), Some(&old.manifest), Some(&old.config)]);
    }
}

#[test]
fn the_old_manifest_of_a_moved_tag_is_run() {
    let asked = ["manifests/v1", "manifests/<old manifest>", "blobs/<old config>"];
    let moved = moved(|world, old| world.named(&old.manifest), as_it_is, &asked);
    moved.says("moved", Some("manifest"), |old| [None, Some(&old.manifest), Some(&old.config)]);
}

#[test]
fn an_old_config_is_fetched_by_its_digest_and_the_tags_own_is_not() {
    let asked = ["manifests/v1", "manifests/<new manifest>", "blobs/<old config>"];
    let moved = moved(|_, old| old.config.clone(), as_it_is, &asked);
    moved.says("moved", Some("config"), |old| [None, None, Some(&old.config)]);
}

#[test]
fn a_digest_of_unknown_kind_is_looked_for_as_a_config_first() {
    let asked = ["manifests/v1", "manifests/<new manifest>", "blobs/<old config>"];
    for docker in [false, true] {
        let form = |_: &World, old: &Image| match docker {
            true => format!("docker://{}", old.config),
            false => old.config.replace("sha256:", ""),
        };
        // Whoever has read it knows that it is a config.
        let moved = moved(form, as_it_is, &asked);
        moved.says("moved", Some("config"), |old| [None, None, Some(&old.config)]);
    }
}

#[test]
fn a_digest_of_unknown_kind_that_is_no_config_is_looked_for_as_an_index_or_a_manifest() {
    let no_blob =
        |of: fn(&Image) -> &String| move |content: Content, old: &Image| content.lacks(format!("blobs/{}", of(old)));
    let asked = [
        "manifests/v1",
        "manifests/<new manifest>",
        "blobs/<old index>",
        "manifests/<old index>",
        "manifests/<old manifest>",
        "blobs/<old config>",
    ];
    let found = moved(|_, old| format!("docker://{}", old.index), no_blob(|old| &old.index), &asked);
    found.says("moved", Some("index"), |old| [Some(&old.index), Some(&old.manifest), Some(&old.config)]);
    let asked = [
        "manifests/v1",
        "manifests/<new manifest>",
        "blobs/<old manifest>",
        "manifests/<old manifest>",
        "blobs/<old config>",
    ];
    let found = moved(|_, old| format!("docker://{}", old.manifest), no_blob(|old| &old.manifest), &asked);
    found.says("moved", Some("manifest"), |old| [None, Some(&old.manifest), Some(&old.config)]);
}

#[test]
fn a_config_in_a_tags_index_with_two_for_this_machine_is_never_called_moved() {
    let (mut world, old, new) = World::of_two();
    let both = world.index("both", &[new.children[0].clone(), old.children[0].clone()]);
    let registry = world.serve(Content::default().tag(&both).image(&new).image(&old));
    let ended = world.run(&world.pod(&old.config), &[]);
    ran_silently(&ended, &old);
    assert_eq!(world.asked(&registry), ["manifests/v1", "manifests/<new manifest>", "blobs/<old config>"]);
    says(&ended, &verdict("unknown", None, "pod-status"));
}

#[test]
fn an_image_of_an_index_within_the_tags_index_is_never_called_moved() {
    let (mut world, old, new) = World::of_two();
    let inner = world.layout.index(&old.children);
    let outer = world.index("outer", &[new.children[0].clone(), inner]);
    let registry = world.serve(Content::default().tag(&outer).image(&new).image(&old));
    let ended = world.run(&world.pod(&world.named(&old.manifest)), &[]);
    ran_silently(&ended, &old);
    assert_eq!(world.asked(&registry), ["manifests/v1", "manifests/<old manifest>", "blobs/<old config>"]);
    says(&ended, &verdict("unknown", None, "pod-status"));
}

#[test]
fn in_a_pinned_index_the_platform_is_chosen_as_ever() {
    let (world, old, new) = World::of_two();
    let registry = world.serve(Content::tagged(&new).image(&old));
    let api = world.pod(&world.named(&old.index));
    let platform = format!("linux/{}", crate::world::ELSEWHERE);
    let ended = world.run(&api, &["-image_platform", &platform]);
    assert_eq!(ended.stdout, format!("old {}\n", crate::world::ELSEWHERE), "{ended:#?}");
    let asked = ["manifests/v1", "manifests/<old index>", "manifests/<old other manifest>", "blobs/<old other config>"];
    assert_eq!(world.asked(&registry), asked);
    says(&ended, &verdict("moved", Some("index"), "pod-status"));
    says(&ended, &json!({"platform": platform}));
}

#[test]
fn an_image_of_the_tags_index_is_the_same_also_where_the_index_has_none_for_the_platform_that_is_wanted() {
    let (world, old, new) = World::of_two();
    let registry = world.serve(Content::tagged(&new).image(&old));
    for (image, word) in [(&new, "same"), (&old, "moved")] {
        let api = world.pod(&world.named(&image.manifest));
        let ended = world.run(&api, &["-image_platform", "linux/riscv64"]);
        ran_silently(&ended, image);
        says(&ended, &verdict(word, Some("manifest"), "pod-status"));
    }
    assert_eq!(world.asked(&registry)[..2], ["manifests/v1", "manifests/<new manifest>"]);
}

#[test]
fn a_pinned_index_without_this_platform_leaves_the_tags_image_and_a_warning() {
    let (mut world, old, new) = World::of_two();
    let foreign = world.index("foreign", &old.children[1..]);
    let registry = world.serve(Content::tagged(&new).manifest(&foreign));
    let ended = world.run(&world.pod(&world.named(&foreign)), &[]);
    ran_with_warning(&ended, &new, &[&foreign, "linux/s390x"]);
    assert_eq!(world.asked(&registry)[..2], ["manifests/v1", "manifests/<foreign>"]);
    says(&ended, &json!({"command": {"pinnedBy": "registry"}}));
}

/// A step whose tag leads to `new` and whose container runs something of `old`, and what came of it.
struct Nowhere {
    world: World,
    old: Image,
    new: Image,
    registry: Server,
    ended: Ended,
}

/// What the runtime runs is not in the image's repository, whatever it is asked for as.
fn nowhere(form: impl Fn(&World, &Image) -> String, lacks: &[&str], flags: &[&str]) -> Nowhere {
    let (world, old, new) = World::of_two();
    let digests = [&old.index, &old.config];
    let content = lacks.iter().fold(Content::tagged(&new), |content, place| {
        digests.iter().fold(content, |content, digest| content.lacks(format!("{place}/{digest}")))
    });
    let registry = world.serve(content);
    let api = world.pod(&form(&world, &old));
    let ended = world.run(&api, flags);
    Nowhere { world, old, new, registry, ended }
}

#[test]
fn an_index_that_is_gone_leaves_the_tags_image_and_a_warning() {
    let Nowhere { world, old, new, registry, ended } =
        nowhere(|world, old| world.named(&old.index), &["manifests"], &[]);
    ran_with_warning(&ended, &new, &[&old.index, "404"]);
    assert_eq!(
        world.asked(&registry),
        ["manifests/v1", "manifests/<old index>", "manifests/<new manifest>", "blobs/<new config>"]
    );
    // By its form it may be an index or a manifest; it is none of the tag's either way.
    says(&ended, &verdict("moved", Some("index"), "registry"));
    says(&ended, &json!({"digests": {"index": new.index, "manifest": new.manifest, "config": new.config}}));
    notes_say(&ended, &old.index);
}

#[test]
fn an_index_that_is_gone_fails_a_strict_step() {
    let Nowhere { world, old, registry, ended, .. } =
        nowhere(|world, old| world.named(&old.index), &["manifests"], &["-image_pin_strict"]);
    failed(&ended, &[&old.index, "-image_pin_strict", "404"]);
    assert_eq!(world.asked(&registry)[..2], ["manifests/v1", "manifests/<old index>"]);
    says(
        &ended,
        &json!({"command": null, "runtime": {"imageID": world.named(&old.index)}, "requested": {"written": world.tagged()}}),
    );
}

#[test]
fn a_config_that_is_only_on_the_node_leaves_the_tags_image_and_a_warning() {
    let Nowhere { world, old, new, registry, ended } = nowhere(|_, old| old.config.clone(), &["blobs"], &[]);
    ran_with_warning(&ended, &new, &[&old.config]);
    assert_eq!(
        world.asked(&registry),
        ["manifests/v1", "manifests/<new manifest>", "blobs/<old config>", "blobs/<new config>"]
    );
    says(&ended, &verdict("moved", Some("config"), "registry"));
}

#[test]
fn a_config_that_is_only_on_the_node_fails_a_strict_step() {
    let Nowhere { old, ended, .. } = nowhere(|_, old| old.config.clone(), &["blobs"], &["-image_pin_strict"]);
    failed(&ended, &[&old.config, "-image_pin_strict", "404"]);
}

#[test]
fn an_id_that_a_storage_made_up_leaves_the_tags_image_and_a_warning() {
    let made_up = |_: &World, old: &Image| old.config.replace("sha256:", "");
    let Nowhere { world, old, new, registry, ended } = nowhere(made_up, &["blobs", "manifests"], &[]);
    ran_with_warning(&ended, &new, &[&old.config.replace("sha256:", ""), "404"]);
    assert_eq!(
        world.asked(&registry),
        [
            "manifests/v1",
            "manifests/<new manifest>",
            "blobs/<old config>",
            "manifests/<old config>",
            "blobs/<new config>"
        ]
    );
    says(&ended, &verdict("unknown", None, "registry"));
}

#[test]
fn an_image_that_was_deleted_from_the_registry_by_its_tag_alone_still_runs() {
    let forms: [(Form, &[&str], Value); 3] = [
        (
            |world, old| world.named(&old.index),
            &["manifests/v1", "manifests/<old index>", "manifests/<old manifest>", "blobs/<old config>"],
            json!("index"),
        ),
        (
            |world, old| world.named(&old.manifest),
            &["manifests/v1", "manifests/<old manifest>", "blobs/<old config>"],
            json!(null),
        ),
        (|_, old| old.config.clone(), &["manifests/v1", "blobs/<old config>"], json!(null)),
    ];
    for (form, asked, index) in forms {
        let mut world = World::new();
        let old = world.image("old");
        let registry = world.serve(Content::default().image(&old).lacks("manifests/v1"));
        let api = world.pod(&form(&world, &old));
        let ended = world.run(&api, &["-image_pin_strict"]);
        ran_silently(&ended, &old);
        assert_eq!(world.asked(&registry), asked);
        says(&ended, &verdict("unknown", None, "pod-status"));
        let index = if index.is_null() { index } else { json!(old.index) };
        says(&ended, &json!({"leadsTo": null, "digests": {"index": index, "config": old.config}}));
    }
}

#[test]
fn an_image_that_is_nowhere_but_on_the_node_is_a_sentence_that_says_both() {
    let forms: [(Form, Of, &[&str]); 3] = [
        (|world, old| world.named(&old.index), |old| &old.index, &["manifests"]),
        (|_, old| old.config.clone(), |old| &old.config, &["blobs"]),
        (|_, old| format!("docker://{}", old.config), |old| &old.config, &["blobs", "manifests"]),
    ];
    for (form, digest, places) in forms {
        for flags in [&[][..], &["-image_pin_strict"]] {
            let mut world = World::new();
            let old = world.image("old");
            let digest = digest(&old);
            let gone = places.iter().fold(Content::default().lacks("manifests/v1"), |content, place| {
                content.lacks(format!("{place}/{digest}"))
            });
            let registry = world.serve(gone);
            let api = world.pod(&form(&world, &old));
            let ended = world.run(&api, flags);
            failed(&ended, &["team/tool:v1", digest, "404", "node"]);
            assert_eq!(world.asked(&registry).len(), 1 + places.len(), "{:?}", world.asked(&registry));
            says(&ended, &json!({"match": "unknown", "command": null, "leadsTo": null}));
        }
    }
}

#[test]
fn an_image_that_the_registry_refuses_to_name_is_not_said_to_be_on_its_node_alone() {
    for (reply, sentence) in [
        (Answer::new(429).header("Retry-After", "60"), "has been asked too often"),
        // Nothing that would pass: what runs is not to be had, for the reason that is told.
        (Answer::new(403), "nor is what the container runs to be had there"),
    ] {
        let mut world = World::new();
        let old = world.image("old");
        let gone = Content::default().lacks("manifests/v1").odd(format!("manifests/{}", old.index), reply);
        let registry = world.serve(gone);
        let ended = world.run(&world.pod(&world.named(&old.index)), &[]);
        failed(&ended, &[sentence, &old.index, "404", "cannot be had from"]);
        assert!(!ended.stderr.contains("nor does it have"), "{}", ended.stderr);
        assert_eq!(world.asked(&registry), ["manifests/v1", "manifests/<old index>"]);
    }
}

#[test]
fn an_image_of_another_repository_is_looked_for_in_its_own_and_nowhere_else() {
    let (world, old, new) = World::of_two();
    let registry = world.serve(Content::tagged(&new).image(&old));
    let nobody = world.nobody();
    let api = world.pod(&format!("{}/somebody/else@{}", nobody.host(), old.index));
    let ended = world.run(&api, &[]);
    ran_silently(&ended, &old);
    assert_eq!(
        world.asked(&registry),
        ["manifests/v1", "manifests/<old index>", "manifests/<old manifest>", "blobs/<old config>"]
    );
    assert_eq!(nobody.lines(), [""; 0]);
    // It is here: so the tag has moved.
    says(&ended, &verdict("moved", Some("index"), "pod-status"));
}

#[test]
fn an_image_of_another_repository_that_its_own_has_not_leaves_the_tags_and_a_warning() {
    for strict in [false, true] {
        let (world, old, new) = World::of_two();
        let registry = world.serve(Content::tagged(&new).lacks(format!("manifests/{}", old.index)));
        let nobody = world.nobody();
        let id = format!("{}/somebody/else@{}", nobody.host(), old.index);
        let ended = world.run(&world.pod(&id), if strict { &["-image_pin_strict"] } else { &[] });
        match strict {
            true => failed(&ended, &[&old.index, "-image_pin_strict"]),
            false => {
                ran_with_warning(&ended, &new, &[&old.index, "404"]);
                says(&ended, &verdict("unknown", None, "registry"));
            }
        }
        assert_eq!(world.asked(&registry)[..2], ["manifests/v1", "manifests/<old index>"]);
        assert_eq!(nobody.lines(), [""; 0]);
    }
}

#[test]
fn a_registry_that_fails_at_the_digest_leaves_the_tags_image_and_a_warning() {
    let odd: [(&str, Reply); 4] = [
        (
            "digest",
            Answer::new(200).header("Content-Type", "application/vnd.oci.image.index.v1+json").body("{}").into(),
        ),
        ("403", Answer::new(403).into()),
        ("405", Answer::new(405).into()),
        ("manifest", Answer::new(200).header("Content-Type", "text/html").body("<html>Welcome!</html>").into()),
    ];
    for (part, reply) in odd {
        for strict in [false, true] {
            let (world, old, new) = World::of_two();
            let _registry = world.serve(Content::tagged(&new).odd(format!("manifests/{}", old.index), reply.clone()));
            let api = world.pod(&world.named(&old.index));
            let ended = world.run(&api, if strict { &["-image_pin_strict"] } else { &[] });
            match strict {
                true => failed(&ended, &[&old.index, part]),
                false => ran_with_warning(&ended, &new, &[&old.index, part]),
            }
        }
    }
}

#[test]
fn a_config_that_lies_about_its_digest_is_not_believed() {
    let (world, old, new) = World::of_two();
    let lie = r#"{"architecture":"amd64","os":"linux","config":{"Entrypoint":["/bin/echo","a lie"]}}"#;
    let reply = Answer::new(200).header("Content-Type", "application/octet-stream").body(lie);
    let _registry = world.serve(Content::tagged(&new).odd(format!("blobs/{}", old.config), reply));
    let ended = world.run(&world.pod(&old.config), &[]);
    ran_with_warning(&ended, &new, &[&old.config]);
}

#[test]
fn the_digest_is_asked_for_with_the_pull_secret_that_the_tag_was_asked_for_with() {
    let (world, old, new) = World::of_two();
    let wanted = format!("Basic {}", STANDARD.encode("me:hunter2"));
    let image = world.tagged();
    let id = world.named(&old.index);
    let api = crate::kube_api::Cluster::new()
        .service_account("ci", "builder", &[])
        .allow("ci/builder", "serviceaccounts", &["builder"])
        .pod("ci", "taskrun-pod", &["regcred"])
        .pull_secret("ci", "regcred", &world.host, "me", "hunter2")
        .allow("ci/builder", "pods", &["taskrun-pod"])
        .allow("ci/builder", "secrets", &["regcred"])
        .container("ci", "taskrun-pod", "step-build", &image, (&image, &id))
        .start();
    let registry = world.serve(Content::tagged(&new).image(&old));
    let ended = world.run(&api, &[]);
    ran_silently(&ended, &old);
    for request in registry.requests() {
        assert_eq!(request.header("Authorization"), Some(wanted.as_str()), "{}", request.line());
    }
    assert_eq!((registry.lines().len(), reads(&api)), (4, 1), "{:?}", api.lines());
}

#[test]
fn whoever_wants_the_registrys_word_gets_it() {
    for readable in [true, false] {
        let (world, old, new) = World::of_two();
        let api = if readable { world.pod(&world.named(&old.index)) } else { unreadable().start() };
        let registry = world.serve(Content::tagged(&new));
        let ended = world.run(&api, &["-image_pin=registry"]);
        ran_silently(&ended, &new);
        assert_eq!(world.asked(&registry), ["manifests/v1", "manifests/<new manifest>", "blobs/<new config>"]);
        // For its pull secrets.
        assert_eq!(reads(&api), 1);
        says(&ended, &verdict("unknown", None, "registry"));
    }
}

#[test]
fn the_step_s_own_arguments_replace_the_cmd_of_the_image_that_runs() {
    let (world, _, new) = World::of_two();
    let words = crate::oci::Command { entrypoint: &["/bin/echo", "pinned"], cmd: &["default"] };
    let image = world.layout.image(crate::oci::architecture(), words, &[]);
    let manifest = image["digest"].as_str().unwrap().to_owned();
    let config = world.config_of(&manifest);
    let content = Content::tagged(&new).manifest(&manifest).config(&config);
    let _registry = world.serve(content);
    let api = world.pod(&world.named(&manifest));
    let ended = world.step(&api).run(&["--", "own"]);
    assert_eq!((ended.code(), ended.stdout.as_str()), (0, "pinned own\n"), "{ended:#?}");
}
