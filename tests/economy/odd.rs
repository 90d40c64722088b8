//! Registries that answer a HEAD oddly or not at all, tags that move, and caches that have only a part of an image.

use std::fs;
use std::path::Path;

use entrypoint::image::PinnedBy;
use entrypoint::registry::{Patience, RegistryError};

use crate::images::{Blob, Image, OCI_INDEX, OCI_MANIFEST, index, tag_path};
use crate::place::{Documents, Login, Place, Shape, usual_head};
use crate::server::{Answer, Request};

const OTHER: &str = "0b1c2d3e-0000-4000-8000-000000000002";

/// A registry whose image another pod has looked up.
fn known(login: Login, documents: &Documents) -> (Place, tempfile::TempDir) {
    let (place, dir) = (Place::new(login, documents), tempfile::tempdir().unwrap());
    place.lookup().cache(dir.path()).pod(OTHER).image();
    place.asked();
    (place, dir)
}

fn blob(dir: &Path, document: &Blob) -> std::path::PathBuf {
    dir.join("blobs/sha256").join(&document.digest().to_string()["sha256:".len()..])
}

fn without_digest(_: &Request, document: &Blob) -> Answer {
    document.answer()
}

fn with_digest(digest: &'static str) -> impl Fn(&Request, &Blob) -> Answer {
    move |_, document| document.answer().header("Docker-Content-Digest", digest)
}

/// Digests that are none, and one of nothing that is there.
const UNUSABLE: [&str; 6] = [
    "",
    "sha256:",
    "sha512:cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e",
    "SHA256:E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855",
    "../../../etc/passwd",
    "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
];

#[test]
fn where_a_head_says_no_digest_of_use_a_get_decides() {
    for login in Login::ALL {
        let documents = Documents::new(Shape::Index, "app");
        let (place, dir) = known(login, &documents);
        let decided = [login.first("HEAD 1"), vec!["GET 1".to_owned()]].concat();
        place.heads(without_digest);
        assert!(place.lookup().cache(dir.path()).image().from_shelf);
        // What the document names is in the cache still.
        assert_eq!(place.asked(), decided, "{login:?}");
        for digest in UNUSABLE {
            place.heads(with_digest(digest));
            assert_eq!(place.lookup().cache(dir.path()).image().config.entrypoint, ["/app"]);
            assert_eq!(place.asked(), decided, "{login:?} {digest}");
        }
    }
}

#[test]
fn where_a_head_is_refused_a_get_decides() {
    for status in [400, 403, 404, 405, 406, 410, 501] {
        for shape in Shape::ALL {
            let documents = Documents::new(shape, "app");
            let (place, dir) = known(Login::Anonymous, &documents);
            place.heads(move |_, _| Answer::new(status).body("no"));
            let image = place.lookup().cache(dir.path()).image();
            assert_eq!((image.config.entrypoint, image.from_shelf), (vec!["/app".to_owned()], true));
            assert_eq!(place.asked(), ["HEAD 1", "GET 1"], "{status}");
            place.lookup().of(&documents.root).cache(dir.path()).image();
            let name = if shape == Shape::Index { "index" } else { "manifest" };
            assert_eq!(place.asked(), [format!("HEAD {name}"), format!("GET {name}")], "{status}");
        }
    }
}

#[test]
fn a_head_that_fails_for_a_while_is_tried_as_ever_and_then_a_get_decides() {
    let (place, dir) = known(Login::Anonymous, &Documents::new(Shape::Single, "app"));
    for status in [500, 502, 503, 504] {
        place.heads(move |_, _| Answer::new(status));
        assert!(place.lookup().cache(dir.path()).image().from_shelf);
        assert_eq!(place.asked(), ["HEAD 1", "HEAD 1", "HEAD 1", "GET 1"], "{status}");
    }
}

#[test]
fn too_many_heads_are_too_many_requests() {
    let (mut place, dir) = known(Login::Anonymous, &Documents::new(Shape::Single, "app"));
    place.heads(|_, _| Answer::new(429).header("Retry-After", "7"));
    let failed = place.lookup().cache(dir.path()).made().unwrap_err();
    assert!(
        matches!(failed.error, RegistryError::TooManyRequests { retry_after: Some(after), .. } if after.as_secs() == 7)
    );
    // The registry has said when: nothing is asked before that, by no other method either.
    assert_eq!(place.asked(), ["HEAD 1"]);
    // One that passes costs the pause that was asked for, and is told.
    let first = std::sync::atomic::AtomicBool::new(true);
    place.setup.settings.patience = Patience::default();
    place.heads(move |request, document| {
        if first.swap(false, std::sync::atomic::Ordering::Relaxed) {
            return Answer::new(429).header("Retry-After", "1");
        }
        usual_head(request, document)
    });
    let image = place.lookup().cache(dir.path()).image();
    assert_eq!(place.asked(), ["HEAD 1", "HEAD 1"]);
    assert!(image.from_shelf && image.notes.iter().any(|note| note.outcome.contains("429")), "{:?}", image.notes);
}

#[test]
fn a_registry_that_has_been_asked_too_often_is_not_needed_where_what_runs_is_in_the_cache() {
    for shape in Shape::ALL {
        let documents = Documents::new(shape, "app");
        let (place, dir) = known(Login::Anonymous, &documents);
        place.heads(|_, _| Answer::new(429).header("Retry-After", "7"));
        let reported = place.named(&documents.root.digest().to_string());
        let image = place.lookup().cache(dir.path()).running(&reported).image();
        assert_eq!(place.asked(), ["HEAD 1"], "{shape:?}");
        assert_eq!((image.leads_to, image.pinned_by), (None, PinnedBy::PodStatus), "where the tag leads is not known");
        assert!(image.from_shelf && image.config.entrypoint == ["/app"]);
        // Of another repository it is not this pod's to have unasked.
        let elsewhere = format!("registry.example/ci/app@{}", documents.root.digest());
        let failed = place.lookup().cache(dir.path()).running(&elsewhere).made().unwrap_err();
        assert!(matches!(failed.error, RegistryError::TooManyRequests { .. }), "{:?}", failed.error);
        place.asked();
    }
}

#[test]
fn a_registry_that_gives_nothing_has_accepted_no_credential_and_is_told_with_what_it_said() {
    for login in [Login::Basic, Login::Bearer] {
        let documents = Documents::new(Shape::Index, "app");
        let (place, dir) = known(login, &documents);
        place.heads(|_, _| Answer::new(429).header("Retry-After", "7"));
        let reported = place.named(&documents.root.digest().to_string());
        let image = place.lookup().cache(dir.path()).running(&reported).image();
        assert_eq!((image.from_shelf, image.credential), (true, None), "{login:?}");
        let notes: Vec<String> = image.notes.iter().map(ToString::to_string).collect();
        assert!(notes.iter().all(|note| !note.contains("accepted") && !note.contains("not needed")), "{notes:#?}");
        assert!(notes.iter().any(|note| note.contains("has been asked too often")), "{notes:#?}");
    }
}

#[test]
fn what_runs_is_not_given_up_with_its_tag_while_the_registry_cannot_say_whether_it_is_there() {
    for login in Login::ALL {
        let documents = Documents::new(Shape::Single, "app");
        let place = Place::new(login, &documents);
        place.loses(&tag_path("1"));
        place.odd(&documents.root.manifest_path(), Answer::new(429).header("Retry-After", "60"));
        let reported = place.named(&documents.root.digest().to_string());
        let failed = place.lookup().running(&reported).made().unwrap_err();
        let error = &failed.error;
        assert!(matches!(error, RegistryError::TooManyRequests { .. }), "{login:?}: {error}");
        assert_eq!(error.retry_after().map(|pause| pause.as_secs()), Some(60));
        // The tag's end is told beside it.
        assert!(failed.notes.iter().any(|note| note.outcome.contains("404")), "{:?}", failed.notes);
    }
}

#[test]
fn a_tag_that_has_moved_is_fetched_anew() {
    for login in Login::ALL {
        for shape in Shape::ALL {
            let old = Documents::new(shape, "old");
            let (place, dir) = known(login, &old);
            let new = Documents::new(shape, "new");
            place.has("new", &new);
            place.tag("1", &new.root);
            let image = place.lookup().cache(dir.path()).image();
            assert_eq!((image.config.entrypoint, image.from_shelf), (vec!["/new".to_owned()], false));
            let rest: &[&str] = match shape {
                Shape::Single => &["GET 1", "GET new config"],
                Shape::Index => &["GET 1", "GET new manifest", "GET new config"],
            };
            let rest: Vec<String> = rest.iter().map(|line| (*line).to_owned()).collect();
            assert_eq!(place.asked(), [login.first("HEAD 1"), rest].concat(), "{login:?} {shape:?}");
            // And back: both are there now.
            for (tagged, entrypoint) in [(&old, "/old"), (&new, "/new")] {
                place.tag("1", &tagged.root);
                assert_eq!(place.lookup().cache(dir.path()).image().config.entrypoint, [entrypoint]);
                assert_eq!(place.asked(), login.first("HEAD 1"), "{login:?} {shape:?}");
            }
        }
    }
}

#[test]
fn a_head_that_names_another_document_of_the_cache_is_the_registrys_word() {
    // It could as well give that document: whoever asks it believes it.
    let documents = Documents::new(Shape::Single, "app");
    let (place, dir) = known(Login::Anonymous, &documents);
    let other = Documents::new(Shape::Single, "other");
    place.has("other", &other);
    place.lookup().of(&other.root).cache(dir.path()).image();
    place.asked();
    place.heads(move |_, document| document.answer().header("Docker-Content-Digest", other.root.digest().to_string()));
    assert_eq!(place.lookup().cache(dir.path()).image().config.entrypoint, ["/other"]);
    assert_eq!(place.asked(), ["HEAD 1"]);
    // But asked for one digest it must not speak of another.
    assert_eq!(place.lookup().of(&documents.root).cache(dir.path()).image().config.entrypoint, ["/app"]);
    assert_eq!(place.asked(), ["HEAD manifest", "GET manifest"]);
}

#[test]
fn what_is_missing_from_the_cache_is_fetched_and_nothing_else() {
    let documents = Documents::new(Shape::Index, "app");
    for (missing, rest) in [
        (vec![&documents.image.config], &["GET config"][..]),
        (vec![&documents.image.manifest], &["GET manifest"]),
        (vec![&documents.image.manifest, &documents.image.config], &["GET manifest", "GET config"]),
    ] {
        let (place, dir) = known(Login::Bearer, &documents);
        for document in missing {
            fs::remove_file(blob(dir.path(), document)).unwrap();
        }
        let rest: Vec<String> = rest.iter().map(|line| (*line).to_owned()).collect();
        let image = place.lookup().cache(dir.path()).image();
        assert_eq!(image.config.entrypoint, ["/app"]);
        assert_eq!(place.asked(), [Login::Bearer.first("HEAD 1"), rest].concat());
        // It is there again.
        assert!(place.lookup().cache(dir.path()).image().from_shelf);
        assert_eq!(place.asked(), Login::Bearer.first("HEAD 1"));
    }
    // Where a pod need not ask for the rest, it asks for that alone, with all that it takes.
    let place = Place::new(Login::Bearer, &documents);
    let dir = tempfile::tempdir().unwrap();
    place.lookup().cache(dir.path()).pod(OTHER).image();
    fs::remove_file(blob(dir.path(), &documents.image.config)).unwrap();
    place.asked();
    place.lookup().of(&documents.root).cache(dir.path()).pod(OTHER).image();
    assert_eq!(place.asked(), Login::Bearer.first("GET config"));
}

#[test]
fn a_registry_that_has_lost_a_part_of_an_image_is_not_missed_where_the_cache_has_it() {
    let documents = Documents::new(Shape::Index, "app");
    let (place, dir) = known(Login::Anonymous, &documents);
    place.loses(&documents.image.config.blob_path());
    place.loses(&documents.image.manifest.manifest_path());
    assert_eq!(place.lookup().cache(dir.path()).image().config.entrypoint, ["/app"]);
    assert_eq!(place.asked(), ["HEAD 1"]);
}

#[test]
fn a_poisoned_document_is_told_fetched_and_replaced() {
    let documents = Documents::new(Shape::Index, "app");
    let (place, dir) = known(Login::Anonymous, &documents);
    for (poisoned, rest) in [
        (&documents.root, "GET 1"),
        (&documents.image.manifest, "GET manifest"),
        (&documents.image.config, "GET config"),
    ] {
        let path = blob(dir.path(), poisoned);
        let evil = poisoned.text.replace("/app", "/bad").replace("schemaVersion\":2", "schemaVersion\":3");
        assert_ne!(evil, poisoned.text);
        fs::remove_file(&path).unwrap();
        fs::write(&path, evil).unwrap();
        let image = place.lookup().cache(dir.path()).image();
        assert_eq!(image.config.entrypoint, ["/app"]);
        assert_eq!(place.asked(), ["HEAD 1", rest]);
        let told: Vec<String> = image.notes.iter().map(ToString::to_string).collect();
        let [told] = &told[..] else { panic!("{told:?}") };
        assert!(told.contains(" is not what its name says; it has been removed: its digest is "), "{told}");
        assert!(told.contains(path.to_str().unwrap()), "{told}");
        assert_eq!(fs::read_to_string(&path).unwrap(), poisoned.text);
    }
}

#[test]
fn a_document_that_only_its_media_type_makes_an_index_is_not_kept() {
    let image = Image::new("linux/amd64", "/app");
    // Both an index and a manifest, for whoever does not know which: it names another config.
    let config = Image::new("linux/amd64", "/bad").config;
    let both = format!(
        r#"{{"schemaVersion":2,"manifests":[{}],"config":{},"layers":[]}}"#,
        image.manifest.entry("linux/amd64"),
        config.descriptor("")
    );
    // Neither, without its type.
    let bare = |text: &str| text.replace(r#""manifests":["#, r#""manifests":null,"x":["#);
    let listed = index(&[image.manifest.entry("linux/amd64")]).text;
    for (text, is_kept) in [(both, false), (listed.clone(), true)] {
        let root = Blob::new(OCI_INDEX, text);
        let documents = Documents { root: root.clone(), image: image.clone() };
        let place = Place::new(Login::Anonymous, &documents);
        let dir = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            match place.lookup().cache(dir.path()).pod(OTHER).made() {
                Ok(image) => assert_eq!(image.config.entrypoint, ["/app"]),
                Err(failure) => assert!(!is_kept, "{failure:?}"),
            }
            assert_eq!(blob(dir.path(), &root).exists(), is_kept);
        }
    }
    // What is no image is not kept either.
    for (media_type, text) in
        [(OCI_INDEX, bare(&listed)), (OCI_MANIFEST, "{}".to_owned()), (OCI_MANIFEST, "<".to_owned())]
    {
        let documents = Documents { root: Blob::new(media_type, text), image: image.clone() };
        let place = Place::new(Login::Anonymous, &documents);
        place.odd(&tag_path("1"), documents.root.answer());
        let dir = tempfile::tempdir().unwrap();
        place.lookup().cache(dir.path()).pod(OTHER).failure();
        assert!(!blob(dir.path(), &documents.root).exists());
    }
}
