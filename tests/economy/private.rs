//! A private image that one pod has looked up is no other's, unless it shows that it may read it.

use entrypoint::credential::Credential;

use crate::images::{Blob, REPOSITORY, tag_path};
use crate::lookup::user;
use crate::place::{Documents, Login, Place, Shape};
use crate::server::{Answer, Bound, Request, Server};

const OWN: &str = "0b1c2d3e-0000-4000-8000-000000000001";
const OTHER: &str = "0b1c2d3e-0000-4000-8000-000000000002";

/// A registry whose private image `ann` has looked up in a pod.
fn private(login: Login, shape: Shape) -> (Place, Documents, tempfile::TempDir) {
    let documents = Documents::new(shape, "app");
    let (place, dir) = (Place::new(login, &documents), tempfile::tempdir().unwrap());
    place.lookup().cache(dir.path()).pod(OWN).image();
    place.asked();
    (place, documents, dir)
}

/// Everybody's tries to have it from another pod: by its tag, by its digest.
fn in_vain(place: &Place, dir: &std::path::Path, documents: &Documents, credentials: &[Credential]) -> Vec<String> {
    let lookup = place.lookup().showing(credentials).cache(dir).pod(OTHER);
    let by_manifest = lookup.clone().of(&documents.image.manifest);
    let tries = [lookup.clone(), lookup.of(&documents.root), by_manifest];
    tries.into_iter().map(|lookup| lookup.failure()).collect()
}

#[test]
fn another_pod_without_a_credential_gets_nothing() {
    for login in [Login::Basic, Login::Bearer] {
        for shape in Shape::ALL {
            let (place, documents, dir) = private(login, shape);
            for failure in in_vain(&place, dir.path(), &documents, &[]) {
                assert!(failure.contains("without a credential") || failure.contains("401"), "{failure}");
            }
            let asked = place.asked();
            assert!(asked.iter().all(|line| !line.contains("config")), "{asked:?}");
            // Of each the head alone where the token service has refused, and otherwise what the registry says to a GET.
            assert_eq!(asked.len(), 6, "{asked:?}");
        }
    }
}

#[test]
fn another_pod_with_other_credentials_gets_nothing() {
    for login in [Login::Basic, Login::Bearer] {
        for shape in Shape::ALL {
            let (place, documents, dir) = private(login, shape);
            for failure in in_vain(&place, dir.path(), &documents, &[user("eve"), user("mallory")]) {
                assert!(failure.contains("401"), "{failure}");
            }
        }
    }
}

#[test]
fn a_registry_that_hides_what_it_has_is_believed_whatever_it_says() {
    for status in [401, 403, 404] {
        for shape in Shape::ALL {
            let (place, documents, dir) = private(Login::Anonymous, shape);
            let refusal = Answer::new(status).header("WWW-Authenticate", "Basic realm=\"r\"").body("{}");
            // A head may lack the challenge.
            place.heads(move |_, _| Answer::new(status));
            for document in [&documents.root, &documents.image.manifest] {
                place.odd(&document.manifest_path(), refusal.clone());
            }
            place.odd(&tag_path("1"), refusal);
            for failure in in_vain(&place, dir.path(), &documents, &[]) {
                assert!(failure.contains(&status.to_string()), "{failure}");
            }
            let asked = place.asked();
            assert!(asked.iter().all(|line| !line.contains("config")), "{asked:?}");
        }
    }
}

#[test]
fn whoever_shows_that_it_may_read_it_is_served_by_whichever_credential_that_is() {
    for login in [Login::Basic, Login::Bearer] {
        let (place, documents, dir) = private(login, Shape::Index);
        place.wants(login, &["ann", "bob"]);
        let lookup = place.lookup().showing(&[user("eve"), user("bob")]).cache(dir.path()).pod(OTHER);
        for lookup in [lookup.clone(), lookup.of(&documents.root)] {
            let image = lookup.image();
            assert_eq!((image.from_shelf, image.credential.as_deref()), (true, Some("pull secret of bob")));
        }
        let asked = place.asked();
        assert!(asked.iter().all(|line| !line.contains("config")), "{asked:?}");
        assert_eq!(asked.last().map(String::as_str), Some("HEAD index"), "{asked:?}");
    }
}

#[test]
fn what_the_pods_status_reports_of_another_repository_opens_nothing() {
    let (place, documents, dir) = private(Login::Basic, Shape::Single);
    let digest = documents.root.digest();
    for elsewhere in [
        format!("{}/ci/other@{digest}", place.host),
        format!("registry.example/{REPOSITORY}@{digest}"),
        format!("docker-pullable://registry.example/{REPOSITORY}@{digest}"),
        // Of no repository.
        format!("docker://{digest}"),
        digest.to_string().replace("sha256:", ""),
        digest.to_string(),
        // Of this one, and another digest.
        place.named(&Blob::new("", "other").digest().to_string()),
    ] {
        let lookup = place.lookup().showing(&[]).cache(dir.path()).pod(OTHER).running(&elsewhere);
        let failure = lookup.clone().of(&documents.root).failure();
        assert!(failure.contains("401"), "{elsewhere}: {failure}");
        let failure = lookup.failure();
        assert!(failure.contains("401"), "{elsewhere}: {failure}");
    }
    // The config of a private image is not had by its digest alone either.
    let config = documents.image.config.digest();
    for form in [config.to_string(), format!("docker://{config}"), config.to_string().replace("sha256:", "")] {
        place.lookup().showing(&[]).cache(dir.path()).pod(OTHER).running(&form).failure();
    }
    assert!(place.asked().iter().all(|line| !line.starts_with("GET config")));
    // And of this repository it does.
    let own = place.named(&digest.to_string());
    let image = place.lookup().showing(&[]).cache(dir.path()).pod(OTHER).running(&own).of(&documents.root).image();
    assert_eq!((image.config.entrypoint, place.asked()), (vec!["/app".to_owned()], Vec::new()));
}

#[test]
fn a_pod_whose_credential_was_taken_away_has_what_it_had_by_its_digest_and_no_tag() {
    let (place, documents, dir) = private(Login::Basic, Shape::Index);
    place.wants(Login::Basic, &["bob"]);
    let lookup = place.lookup().cache(dir.path()).pod(OWN);
    assert!(lookup.clone().of(&documents.root).image().from_shelf);
    assert_eq!(place.asked(), [""; 0]);
    lookup.failure();
}

#[test]
fn a_login_page_elsewhere_that_strangers_are_sent_to_shows_nobodys_right() {
    let (place, documents, dir) = private(Login::Anonymous, Shape::Single);
    let page = Server::handler(Bound::new(), Some(place.setup.tls.clone()), |_: &Request| Answer::new(200));
    let login = page.url("/login");
    place.heads(move |_, _| Answer::new(302).header("Location", login.clone()));
    let path = format!("/v2/{REPOSITORY}/manifests/{}", documents.root.digest());
    place.odd(&path, Answer::new(401));
    let failure = place.lookup().of(&documents.root).cache(dir.path()).pod(OTHER).failure();
    assert!(failure.contains("wants a login"), "{failure}");
    assert_eq!(page.requests().len(), 1, "the page was seen");
}
