//! Whether a place answers at all, over what, and what time it is there: `GET /v2/`, shown no credential.

use reqwest::header::{DATE, WWW_AUTHENTICATE};
use reqwest::{Method, Url};

use super::ask::{Asker, Question};
use super::error::What;
use super::place::{self, host_and_port};
use super::session::speaks_no_tls;
use super::{Challenge, RegistryError, Route, Scheme, Settings, Telling};
use crate::http::{Network, seconds_of_date};

/// A place that answers. Nothing of it is a text that the place chose: it may know secrets, and repeat them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reached {
    /// `https` or `http`.
    pub scheme: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// What it wants to be shown.
    pub login: Login,
    /// What time it is there, in seconds since 1970, if it says.
    pub date: Option<u64>,
}

/// What a place wants to be shown before it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Login {
    /// Nothing.
    No,
    /// User name and password.
    Basic,
    /// A token of its service; whether that is at the place itself.
    Bearer {
        /// Whether the token service is at the same host and port.
        own: bool,
    },
    /// Nothing that is known here.
    Unknown,
}

/// Asks a place by a route: over https, and over plain http where that is allowed and https is certainly not spoken, as a
/// lookup does.
///
/// # Errors
///
/// Why there is no answer.
pub async fn reach(
    network: &Network,
    settings: &Settings,
    route: &Route,
    telling: Telling<'_>,
) -> Result<Reached, RegistryError> {
    let Some(registry) = route.root() else {
        return Err(RegistryError::Host { registry: route.reference.registry().to_owned() });
    };
    let settings = route.settings(settings);
    let mut asker = Asker::new(network, &settings, registry.clone(), telling);
    match root(&mut asker, route).await {
        Err(error) if may_be_plain(&error, route, &registry, &settings) => {
            asker.registry = place::over_http(&registry, route.reference.registry());
            root(&mut asker, route).await
        }
        outcome => outcome,
    }
}

async fn root(asker: &mut Asker<'_>, route: &Route) -> Result<Reached, RegistryError> {
    let mut url = asker.registry.clone();
    url.set_path(&format!("/{}/", route.api.path));
    let question = Question {
        what: What::Root,
        method: Method::GET,
        accept: None,
        authorization: None,
        proves: false,
        form: None,
    };
    let answer = asker.ask(&url, &question).await?;
    let challenges = Challenge::parse_all(answer.lines(WWW_AUTHENTICATE));
    Ok(Reached {
        scheme: if url.scheme() == "http" { "http" } else { "https" },
        status: answer.status.as_u16(),
        login: login(answer.status.as_u16(), &challenges, &url),
        date: answer.lines(DATE).next().and_then(seconds_of_date),
    })
}

/// What a lookup would make of the challenges of an answer: it prefers a token.
fn login(status: u16, challenges: &[Challenge], registry: &Url) -> Login {
    if status != 401 {
        return Login::No;
    }
    let realm = challenges.iter().find_map(|challenge| match challenge {
        Challenge::Bearer { realm, .. } => Some(realm),
        Challenge::Basic | Challenge::Other { .. } => None,
    });
    match realm {
        Some(realm) => {
            let own = registry.join(realm).is_ok_and(|realm| host_and_port(&realm) == host_and_port(registry));
            Login::Bearer { own }
        }
        None if challenges.contains(&Challenge::Basic) => Login::Basic,
        None => Login::Unknown,
    }
}

/// Whether plain http is the next to try: where it is allowed, and the failure shows that TLS is not spoken.
fn may_be_plain(error: &RegistryError, route: &Route, registry: &Url, settings: &Settings) -> bool {
    speaks_no_tls(error, &host_and_port(registry))
        && matches!(route.api.scheme, Scheme::Usual | Scheme::Either)
        && place::plain_http_allowed(registry, settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_place_wants_to_be_shown_is_told_by_kind_alone() {
        let registry: Url = "https://r.example:5000/v2/".parse().unwrap();
        for (status, header, expected) in [
            (200, "", Login::No),
            (200, "Basic realm=x", Login::No),
            (401, "Basic realm=x", Login::Basic),
            (401, r#"Basic, Bearer realm="https://r.example:5000/token""#, Login::Bearer { own: true }),
            (401, r#"Bearer realm="/token""#, Login::Bearer { own: true }),
            (401, r#"Bearer realm="https://auth.example/token""#, Login::Bearer { own: false }),
            (401, r#"Bearer realm="https://r.example/token""#, Login::Bearer { own: false }),
            (401, "Negotiate", Login::Unknown),
            (401, "\u{1b}[31m", Login::Unknown),
            (401, "", Login::Unknown),
        ] {
            assert_eq!(login(status, &Challenge::parse_all([header]), &registry), expected, "{header}");
        }
    }
}
