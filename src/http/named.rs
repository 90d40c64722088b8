//! Whom the command line means by `host[:port]`.

use reqwest::Url;

use crate::image::reference::DOCKER_HUB;

/// Whether `host[:port]`, as the command line has it, names this URL's place. `docker.io` is Docker Hub's registry.
#[must_use]
pub fn is_named(key: &str, url: &Url) -> bool {
    let key = if key.eq_ignore_ascii_case("docker.io") { DOCKER_HUB } else { key };
    let Ok(named) = Url::parse(&format!("{}://{key}/", url.scheme())) else { return false };
    named.host_str() == url.host_str() && named.port() == url.port()
}
