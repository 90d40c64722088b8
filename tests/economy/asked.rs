//! How many requests a lookup makes, of which kind, and in which order.

use std::path::Path;

use crate::place::{Documents, Login, Place, Shape};

const OWN: &str = "0b1c2d3e-0000-4000-8000-000000000001";
const OTHER: &str = "0b1c2d3e-0000-4000-8000-000000000002";

/// What a lookup of the tag asks for that finds nothing in a cache.
fn whole(login: Login, shape: Shape) -> Vec<String> {
    let rest: &[&str] = match shape {
        Shape::Single => &["GET config"],
        Shape::Index => &["GET manifest", "GET config"],
    };
    login.first("GET 1").into_iter().chain(rest.iter().map(|line| (*line).to_owned())).collect()
}

/// Every kind of registry and of image.
fn everywhere(test: impl Fn(&Place, &Documents, Login, Shape, &Path)) {
    for login in Login::ALL {
        for shape in Shape::ALL {
            let documents = Documents::new(shape, "app");
            let place = Place::new(login, &documents);
            let dir = tempfile::tempdir().unwrap();
            test(&place, &documents, login, shape, dir.path());
        }
    }
}

#[test]
fn two_for_nobody_two_with_a_password_four_with_a_token_and_an_index_is_one_more() {
    for (login, shape, requests) in [
        (Login::Anonymous, Shape::Single, 2),
        (Login::Anonymous, Shape::Index, 3),
        (Login::Basic, Shape::Single, 2),
        (Login::Basic, Shape::Index, 3),
        (Login::Bearer, Shape::Single, 4),
        (Login::Bearer, Shape::Index, 5),
    ] {
        assert_eq!(whole(login, shape).len(), requests);
    }
    everywhere(|place, _, login, shape, _| {
        let image = place.lookup().image();
        assert_eq!(place.asked(), whole(login, shape), "{login:?} {shape:?}");
        assert_eq!((image.config.entrypoint, image.from_shelf), (vec!["/app".to_owned()], false));
    });
}

#[test]
fn an_empty_cache_costs_no_request() {
    everywhere(|place, documents, login, shape, dir| {
        let without = place.lookup().image();
        place.asked();
        let image = place.lookup().cache(dir).pod(OWN).image();
        assert_eq!(place.asked(), whole(login, shape), "{login:?} {shape:?}");
        assert_eq!(image, without);

        // Nor where the image is named by its digest.
        let dir = tempfile::tempdir().unwrap();
        let image = place.lookup().of(&documents.root).cache(dir.path()).pod(OWN).image();
        assert_eq!(place.asked().len(), whole(login, shape).len(), "{login:?} {shape:?}");
        assert_eq!(image.config, without.config);
    });
}

#[test]
fn a_tag_whose_image_is_in_the_cache_is_one_head() {
    for (login, requests) in [(Login::Anonymous, 1), (Login::Basic, 1), (Login::Bearer, 3)] {
        assert_eq!(login.first("HEAD 1").len(), requests);
    }
    everywhere(|place, _, login, shape, dir| {
        let first = place.lookup().cache(dir).pod(OWN).image();
        place.asked();
        for pod in [OWN, OTHER] {
            let image = place.lookup().cache(dir).pod(pod).image();
            assert_eq!(place.asked(), login.first("HEAD 1"), "{login:?} {shape:?} {pod}");
            assert!(image.from_shelf && !first.from_shelf);
            assert_eq!((&image.config, image.index_digest), (&first.config, first.index_digest));
            assert_eq!((image.manifest_digest, image.config_digest), (first.manifest_digest, first.config_digest));
            assert_eq!((image.credential, image.leads_to), (first.credential.clone(), first.leads_to));
        }
    });
}

#[test]
fn a_digest_that_this_pod_has_fetched_is_no_request() {
    everywhere(|place, documents, login, shape, dir| {
        let first = place.lookup().cache(dir).pod(OWN).image();
        place.asked();
        let image = place.lookup().of(&documents.root).cache(dir).pod(OWN).image();
        assert_eq!(place.asked(), [""; 0], "{login:?} {shape:?}");
        assert_eq!((image.config, image.from_shelf), (first.config, true));
        // Nobody was shown anything.
        assert_eq!(image.credential, None);
    });
}

#[test]
fn a_digest_that_the_pods_status_reports_for_this_repository_is_no_request() {
    everywhere(|place, documents, login, shape, dir| {
        place.lookup().cache(dir).pod(OTHER).image();
        place.asked();
        let reported = place.named(&documents.root.digest().to_string());
        let image = place.lookup().of(&documents.root).cache(dir).pod(OWN).running(&reported).image();
        assert_eq!(place.asked(), [""; 0], "{login:?} {shape:?}");
        assert_eq!(image.config.entrypoint, ["/app"]);
        // A tag is nobody's but the registry's to say: that it leads there still.
        place.lookup().cache(dir).pod(OWN).running(&reported).image();
        assert_eq!(place.asked(), login.first("HEAD 1"), "{login:?} {shape:?}");
    });
}

#[test]
fn a_digest_that_somebody_else_has_fetched_is_one_head() {
    everywhere(|place, documents, login, shape, dir| {
        place.lookup().cache(dir).pod(OTHER).image();
        place.asked();
        let head = match shape {
            Shape::Single => "HEAD manifest",
            Shape::Index => "HEAD index",
        };
        let by_digest = place.lookup().of(&documents.root).cache(dir);
        let elsewhere = format!("registry.example/ci/app@{}", documents.root.digest());
        let unnamed = format!("docker://{}", documents.root.digest());
        for (whose, lookup) in [
            ("another pod's", by_digest.clone().pod(OWN)),
            ("of a pod that does not know itself", by_digest.clone()),
            ("reported of another repository", by_digest.clone().pod(OWN).running(&elsewhere)),
            ("reported of no repository", by_digest.clone().pod(OWN).running(&unnamed)),
        ] {
            let image = lookup.image();
            assert_eq!(place.asked(), login.first(head), "{login:?} {shape:?} {whose}");
            assert!(image.from_shelf && image.config.entrypoint == ["/app"], "{whose}");
        }
    });
}

#[test]
fn another_tag_of_an_image_in_the_cache_is_one_get() {
    everywhere(|place, documents, login, shape, dir| {
        place.lookup().cache(dir).pod(OWN).image();
        place.asked();
        // Of 256 locks it must not have the same: then somebody may have looked it up, and a head is tried.
        let tag = (2..9).map(|tag| tag.to_string()).find(|tag| !place.lookup().tag(tag).shares_its_lock(dir)).unwrap();
        place.tag(&tag, &documents.root);
        let image = place.lookup().tag(&tag).cache(dir).pod(OWN).image();
        assert_eq!(place.asked(), login.first(&format!("GET {tag}")), "{login:?} {shape:?}");
        assert!(image.from_shelf);
    });
}

#[test]
fn for_a_digest_that_runs_in_a_pod_nothing_is_asked_twice() {
    // As a step asks whose pod says what runs: by the tag, which leads there, or which has moved.
    everywhere(|place, documents, login, shape, dir| {
        let reported = place.named(&documents.root.digest().to_string());
        place.lookup().running(&reported).image();
        assert_eq!(place.asked(), whole(login, shape), "{login:?} {shape:?}");
        let new = Documents::new(shape, "new");
        place.has("new", &new);
        place.tag("1", &new.root);
        let old = place.lookup().running(&reported).image();
        assert_eq!(old.config.entrypoint, ["/app"]);
        // The tag, and then the image that runs: of that which the tag leads to nothing else.
        let moved: Vec<String> = match shape {
            Shape::Single => vec!["GET manifest".to_owned(), "GET config".to_owned()],
            Shape::Index => ["GET index", "GET manifest", "GET config"].map(str::to_owned).to_vec(),
        };
        assert_eq!(place.asked(), [login.first("GET 1"), moved].concat(), "{login:?} {shape:?}");
        // With a cache that is two heads: of the tag, and of what runs where nothing else shows that it may be read.
        place.lookup().cache(dir).pod(OTHER).image();
        place.lookup().of(&documents.root).cache(dir).pod(OTHER).image();
        place.asked();
        let old = place.lookup().cache(dir).pod(OWN).running(&reported).image();
        assert_eq!(old.config.entrypoint, ["/app"]);
        assert_eq!(place.asked(), login.first("HEAD 1"), "{login:?} {shape:?}: the pod reports the other");
    });
}
