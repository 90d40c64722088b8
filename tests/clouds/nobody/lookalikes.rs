//! Hosts built to look like a cloud's, one list per cloud of `src/cloud.rs`: whoever registers one sees no token.

use super::{PURPOSE, clouds_that_nobody_asks, unauthorized, with_every_identity};
use crate::server::{Answer, Request};
use crate::world::World;

/// Somebody who would like to be given a token, in every way in which a cloud's registry is given one: he has a challenge
/// like Azure's, a token service, and whatever else is asked of him is wrong.
fn wishes(host: &'static str, scheme: &'static str) -> impl Fn(&Request) -> Answer + Send + Sync + 'static {
    move |request| {
        assert_eq!(request.header("Authorization"), None, "{host} was shown a token");
        assert_eq!((request.method.as_str(), request.body.len()), ("GET", 0), "{host} was asked {}", request.line());
        match request.path() {
            "/oauth2/token" => Answer::new(401),
            path if path.starts_with("/v2/") => unauthorized(&format!(
                r#"Bearer realm="{scheme}://{host}/oauth2/token",service="{host}",scope="repository:team/tool:pull""#
            )),
            _ => panic!("{host} was asked {}", request.line()),
        }
    }
}

fn nobody_is_shown_a_token(hosts: &[&'static str]) {
    let Some(world) = World::new(PURPOSE) else { return };
    clouds_that_nobody_asks(&world);
    for host in hosts {
        match host.split_once(':') {
            // A certificate's names have no dot at their end.
            None => world.secure(&[host, host.trim_end_matches('.')], wishes(host, "https")),
            // Where clouds have no port, plain http is as likely as not.
            Some((name, port)) => {
                let address = format!("127.0.8.{}", hosts.iter().position(|own| own == host).unwrap() + 1);
                world.named(&address, &[name]);
                world.plain(&format!("{address}:{port}"), wishes(host, "http"));
            }
        }
        // Without the flag everybody's identity may be asked for; with it a host's owner is told that he was not.
        for named in [&[][..], &["-image_credential_helpers="]] {
            let before = world.asked().len();
            let insecure = if host.contains(':') { &["-image_insecure_registry", host][..] } else { &[] };
            let told = with_every_identity(&world, world.resolve(host)).flags(insecure).flags(named).told();
            let said = told.failed();
            assert!(world.asked().len() >= before + 2, "{host} and its token service were asked: {said}");
            for word in ["Google", "Amazon", "Azure", "identity"] {
                assert!(!said.contains(word), "{host}: {word} in {said}");
            }
        }
    }
}

#[test]
fn hosts_that_look_like_googles_are_shown_no_token() {
    nobody_is_shown_a_token(&[
        "gcr.io.evil.example",
        "gcr.io.evil",
        "evilgcr.io",
        "eu-gcr.io",
        "gcr.io.",
        "gcr.io:8080",
        "eu.gcr.io:444",
        "pkg.dev",
        "us-docker.pkg.dev.evil.example",
        "evilpkg.dev",
        "us-docker-pkg.dev",
        "google.com",
        "gcr.google.com",
    ]);
}

#[test]
fn hosts_that_look_like_amazons_are_shown_no_token() {
    nobody_is_shown_a_token(&[
        "123.dkr.ecr.evil.com",
        "123456789012.dkr.ecr.us-east-1.evil.com",
        "123456789012.dkr.ecr.us-east-1.amazonaws.com.evil.example",
        "123456789012.dkr.ecr.us-east-1.evilamazonaws.com",
        "123456789012.dkr.ecr.amazonaws.com",
        "123456789012.dkr.ecr.us-east-1.x.amazonaws.com",
        "12345678901.dkr.ecr.us-east-1.amazonaws.com",
        "1234567890123.dkr.ecr.us-east-1.amazonaws.com",
        "a23456789012.dkr.ecr.us-east-1.amazonaws.com",
        "x.123456789012.dkr.ecr.us-east-1.amazonaws.com",
        "123456789012.dkrecr.us-east-1.amazonaws.com",
        "123456789012.dkr.ecr.us-east-1.amazonaws.com:8443",
        "public.ecr.aws.evil.example",
        "evilpublic.ecr.aws",
        "x.public.ecr.aws",
        "public.ecr.aws:444",
        "ecr-public.aws.com.evil.example",
    ]);
}

#[test]
fn hosts_that_look_like_azures_are_shown_no_token() {
    nobody_is_shown_a_token(&[
        "x.azurecr.io.evil.example",
        "azurecr.io.evil.example",
        "evilazurecr.io",
        "azurecr.io",
        "x.azurecr.com",
        "x.azurecr.io.",
        "x.azurecr.io:5000",
        "x.azurecr.cn.evil.example",
        "x.azurecr.de.evil.example",
        "x.azurecr.us.evil.example",
    ]);
}
