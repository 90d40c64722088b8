//! Names that a registry chooses, and name servers of its own that say where they lead.

use std::fs;
use std::net::UdpSocket;

use crate::oci::architecture;
use crate::server::{Answer, Request};
use crate::world::World;

/// The registry, by a name that the pod knows.
const REGISTRY: &str = "registry.example";
/// A name that only the registry's own name server knows.
const CHOSEN: &str = "storage.evil.example";

/// A name server that says of every name that it is this address.
fn name_server(world: &World, address: [u8; 4]) {
    world.inside(move || {
        let socket = UdpSocket::bind("127.0.0.53:53").unwrap();
        std::thread::spawn(move || {
            let mut question = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut question) {
                let mut answer = question[..length].to_vec();
                // One question, behind twelve bytes; what follows its name, type and class is not repeated.
                let name_end = 12 + answer[12..].iter().position(|byte| *byte == 0).unwrap();
                let is_a = answer[name_end + 1..name_end + 3] == [0, 1];
                answer.truncate(name_end + 5);
                answer[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, u8::from(is_a), 0, 0, 0, 0]);
                if is_a {
                    answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4]);
                    answer.extend(address);
                }
                let _ = socket.send_to(&answer, from);
            }
        });
    });
    fs::write(world.path("/etc/resolv.conf"), "nameserver 127.0.0.53\noptions timeout:1 attempts:1\n").unwrap();
}

fn nobody(request: &Request) -> Answer {
    panic!("asked {}", request.line())
}

/// What is said of a registry that does this, where the name that it chose leads to this address. Nobody is asked there.
fn said(address: [u8; 4], door: impl Fn(&Request) -> Option<Answer> + Send + Sync + 'static) -> Option<String> {
    let world = World::new("names that lead to the node")?;
    name_server(&world, address);
    world.registry(REGISTRY, door);
    let [a, b, c, d] = address;
    world.plain(&format!("{a}.{b}.{c}.{d}:80"), nobody);
    world.serve("the node".to_owned(), format!("{a}.{b}.{c}.{d}:443"), None, nobody);
    Some(world.resolve(REGISTRY).flags(&["-image_platform", &format!("linux/{}", architecture())]).told().failed())
}

/// The addresses, with their kinds.
const INNER: [([u8; 4], &str); 2] = [([169, 254, 169, 254], "a link-local"), ([127, 0, 0, 1], "a loopback")];

#[test]
fn a_redirect_to_a_name_that_leads_to_the_node_is_not_followed() {
    for (address, kind) in INNER {
        for scheme in ["http", "https"] {
            let to = format!("{scheme}://{CHOSEN}/latest/meta-data");
            let redirects = move |request: &Request| {
                request.path().contains("/blobs/").then(|| Answer::new(307).header("Location", to.clone()))
            };
            let Some(said) = said(address, redirects) else { return };
            let why = format!("the name servers lead {CHOSEN} to {kind} address");
            assert!(said.contains(&why), "{said}");
        }
    }
}

#[test]
fn a_token_service_whose_name_leads_to_the_node_is_not_asked() {
    for (address, kind) in INNER {
        let challenge = format!(r#"Bearer realm="https://{CHOSEN}/token""#);
        let door = move |_: &Request| Some(Answer::new(401).header("WWW-Authenticate", challenge.clone()));
        let Some(said) = said(address, door) else { return };
        assert!(said.contains(&format!("the name servers lead {CHOSEN} to {kind} address")), "{said}");
    }
}
