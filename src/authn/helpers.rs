//! Credential helpers: which one a config names for a registry, whether it may run, and what its answer means.
//!
//! A helper is a program `docker-credential-NAME` that belongs to the step's image: docker's protocol for it is
//! <https://docs.docker.com/reference/cli/docker/login/#credential-helper-protocol>.

use std::fmt;
use std::time::Duration;

use serde_json::{Map, Value};
use thiserror::Error;

use super::Found;
use super::document::shown_key;
use super::helper_process::{self, ProcessError};
use super::matching::Target;
use crate::credential::{Credential, Note, Proof};
use crate::host::Env;
use crate::secret::Secret;

/// How long a credential helper may take.
pub const TIMEOUT: Duration = Duration::from_secs(10);

/// The user name that marks an identity token.
const TOKEN_USER: &str = "<token>";

/// Whether credential helpers may be run in an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Helpers {
    /// They are run, each for at most this long.
    Run {
        /// The limit of one helper; [`TIMEOUT`] in the program.
        timeout: Duration,
    },
    /// They are not run.
    Not(NotRun),
}

/// Why credential helpers are not run. Shown, it is the outcome of a note.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotRun {
    /// Nobody allowed it.
    NotAllowed,
    /// The step is hermetic.
    Hermetic,
    /// It is allowed, but not yet.
    BeforeTurn,
}

impl fmt::Display for NotRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAllowed => {
                "not run: it is a program of the step's image; -image_exec_helpers allows it, or use a pull secret"
            }
            Self::Hermetic => {
                "not run: it is a program of the step's image, and the step is hermetic (TEKTON_HERMETIC=1); use a \
                 pull secret"
            }
            Self::BeforeTurn => "not run yet: it is a program of the step's image, and waits for the step's turn",
        })
    }
}

impl Helpers {
    /// Whether an attempt may run them: `allowed` by `-image_exec_helpers`, at the step's turn, and not in a hermetic
    /// step. They are the image's programs, so they are part of the step and not of what is done before it.
    #[must_use]
    pub fn in_attempt(allowed: bool, at_turn: bool, env: &Env) -> Self {
        if env.text("TEKTON_HERMETIC") == Some("1") {
            Self::Not(NotRun::Hermetic)
        } else if !allowed {
            Self::Not(NotRun::NotAllowed)
        } else if !at_turn {
            Self::Not(NotRun::BeforeTurn)
        } else {
            Self::Run { timeout: TIMEOUT }
        }
    }
}

/// The credential helpers that a config names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct NamedHelpers {
    /// `credHelpers`: a helper's name for each registry.
    pub(crate) by_registry: Map<String, Value>,
    /// `credsStore`: the helper for all others; empty when there is none.
    pub(crate) store: String,
}

/// The credential helper for one registry. Shown, it is the place in the config that names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Helper {
    /// `NAME` of `docker-credential-NAME`.
    name: String,
    /// The registry's name, as the helper knows it.
    server: String,
    /// Whether it is the registry's own, and not the one for all others.
    own: bool,
}

impl fmt::Display for Helper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.own {
            write!(f, "credHelpers {:?} for {}", self.name, shown_key(&self.server))
        } else {
            write!(f, "credsStore {:?}", self.name)
        }
    }
}

/// Why a credential helper cannot be asked, or has not answered.
#[derive(Debug, Error)]
pub(crate) enum HelperError {
    #[error("credHelpers for {0} is not a text")]
    NotText(String),
    #[error("{0} cannot be the name of a helper: letters, digits, `.`, `_` and `-` can")]
    BadName(String),
    #[error(transparent)]
    Process(#[from] ProcessError),
    #[error("{0} answered with something else than a JSON object of texts")]
    NotAnAnswer(String),
    #[error("{0} answered with a secret but without a user name")]
    NoUser(String),
}

impl NamedHelpers {
    pub(crate) fn is_empty(&self) -> bool {
        self.by_registry.is_empty() && self.store.is_empty()
    }

    /// The helper for a registry: under its own key, else the one for all. An empty name under its own key is docker's
    /// way to exempt a registry.
    pub(crate) fn named_for(&self, target: &Target) -> Option<Result<Helper, HelperError>> {
        let servers = target.servers();
        let own = servers.iter().find_map(|server| self.by_registry.iter().find(|(key, _)| *key == server));
        let (name, server, own) = match own {
            Some((server, Value::String(name))) => (name, server, true),
            Some((server, Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_))) => {
                return Some(Err(HelperError::NotText(shown_key(server))));
            }
            None => (&self.store, servers.first()?, false),
        };
        if name.is_empty() {
            return None;
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        Some(if name.chars().all(plain) {
            Ok(Helper { name: name.clone(), server: server.clone(), own })
        } else {
            Err(HelperError::BadName(shown_key(name)))
        })
    }
}

/// What the helper that a config names for a registry has: a credential or a note.
pub(super) async fn ask(named: &NamedHelpers, helpers: &Helpers, env: &Env, source: &str, target: &Target) -> Found {
    let helper = match named.named_for(target) {
        None => return Found::default(),
        Some(Err(error)) => return Found::only_note(Note::failed(source, &error)),
        Some(Ok(helper)) => helper,
    };
    let source = format!("{source}, {helper}");
    let timeout = match helpers {
        Helpers::Run { timeout } => *timeout,
        Helpers::Not(why) => {
            let deferred = *why == NotRun::BeforeTurn;
            return Found { deferred, ..Found::only_note(Note::new(source, why.to_string())) };
        }
    };
    match run(&helper, env, timeout).await {
        Ok(Some(proof)) => {
            let credential = Credential { proof, source };
            Found { credentials: vec![credential], ..Found::default() }
        }
        Ok(None) => {
            let outcome = format!("it has no credential for {}", shown_key(&helper.server));
            Found::only_note(Note::new(source, outcome))
        }
        Err(error) => Found::only_note(Note::failed(source, &error)),
    }
}

async fn run(helper: &Helper, env: &Env, timeout: Duration) -> Result<Option<Proof>, HelperError> {
    let program = format!("docker-credential-{}", helper.name);
    match helper_process::get(&program, &helper.server, env, timeout).await? {
        None => Ok(None),
        Some(answer) => proof(&program, &answer),
    }
}

/// What a helper's answer holds: `{"ServerURL": ..., "Username": ..., "Secret": ...}`.
fn proof(program: &str, answer: &Secret) -> Result<Option<Proof>, HelperError> {
    let not_an_answer = || HelperError::NotAnAnswer(program.to_owned());
    // The library's own words would repeat a value that it did not expect.
    let Ok(Value::Object(fields)) = serde_json::from_str(answer.expose()) else { return Err(not_an_answer()) };
    let (mut username, mut secret) = (String::new(), Secret::new(String::new()));
    for (name, value) in fields {
        match (name.to_ascii_lowercase().as_str(), value) {
            ("username", Value::String(text)) => username = text,
            ("secret", Value::String(text)) => secret = Secret::new(text),
            ("username" | "secret", _) => return Err(not_an_answer()),
            _ => {}
        }
    }
    match (username.as_str(), secret.is_empty()) {
        // What some helpers say for "nothing".
        (_, true) => Ok(None),
        ("", false) => Err(HelperError::NoUser(program.to_owned())),
        (TOKEN_USER, false) => Ok(Some(Proof::IdentityToken(secret))),
        (_, false) => Ok(Some(Proof::Basic { username, password: secret })),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn named(config: &Value, registry: &str) -> String {
        let helpers = NamedHelpers {
            by_registry: config["credHelpers"].as_object().cloned().unwrap_or_default(),
            store: config["credsStore"].as_str().unwrap_or_default().to_owned(),
        };
        match helpers.named_for(&Target::new(registry, "library/app")) {
            None => "none".to_owned(),
            Some(Ok(helper)) => format!("{helper}: {}", helper.server),
            Some(Err(error)) => format!("error: {error}"),
        }
    }

    #[test]
    fn a_registrys_own_helper_comes_before_the_one_for_all() {
        let config = json!({
            "credHelpers": {"ghcr.io": "own", "r:5000": "with-port", "exempt.example": "", "odd.example": 7,
                "docker.io": "hub", "bad.example": "../x", "spaced.example": "a b"},
            "credsStore": "desktop",
        });
        for (registry, expected) in [
            ("ghcr.io", r#"credHelpers "own" for "ghcr.io": ghcr.io"#),
            ("r:5000", r#"credHelpers "with-port" for "r:5000": r:5000"#),
            ("r", r#"credsStore "desktop": r"#),
            ("sub.ghcr.io", r#"credsStore "desktop": sub.ghcr.io"#),
            ("exempt.example", "none"),
            ("odd.example", r#"error: credHelpers for "odd.example" is not a text"#),
            ("bad.example", r#"error: "../x" cannot be the name of a helper: letters, digits, `.`, `_` and `-` can"#),
            ("spaced.example", r#"error: "a b" cannot be the name of a helper: letters, digits, `.`, `_` and `-` can"#),
            ("index.docker.io", r#"credHelpers "hub" for "docker.io": docker.io"#),
        ] {
            assert_eq!(named(&config, registry), expected);
        }
        let store = json!({"credsStore": "desktop"});
        assert_eq!(named(&store, "docker.io"), r#"credsStore "desktop": https://index.docker.io/v1/"#);
        let dockers = json!({"credHelpers": {"docker.io": "b", "https://index.docker.io/v1/": "a"}});
        assert_eq!(
            named(&dockers, "docker.io"),
            r#"credHelpers "a" for "https://index.docker.io/v1/": https://index.docker.io/v1/"#
        );
        assert_eq!(named(&json!({}), "ghcr.io"), "none");
    }

    #[test]
    fn an_answer_is_read_as_docker_reads_it_and_never_repeated() {
        let secret = || Secret::new("hunter2".to_owned());
        let basic = Proof::Basic { username: "me".to_owned(), password: secret() };
        for (answer, expected) in [
            (r#"{"ServerURL": "r", "Username": "me", "Secret": "hunter2"}"#, Ok(Some(basic.clone()))),
            (r#"{"username": "me", "SECRET": "hunter2", "more": 1}"#, Ok(Some(basic))),
            (r#"{"Username": "<token>", "Secret": "hunter2"}"#, Ok(Some(Proof::IdentityToken(secret())))),
            (r#"{"Username": "", "Secret": ""}"#, Ok(None)),
            (r#"{"Username": "me", "Secret": ""}"#, Ok(None)),
            ("{}", Ok(None)),
            (r#"{"Username": "", "Secret": "hunter2"}"#, Err("p answered with a secret but without a user name")),
            ("hunter2", Err("p answered with something else than a JSON object of texts")),
            (r#"["hunter2"]"#, Err("p answered with something else than a JSON object of texts")),
            (
                r#"{"Username": "me", "Secret": ["hunter2"]}"#,
                Err("p answered with something else than a JSON object of texts"),
            ),
        ] {
            let read = proof("p", &Secret::new(answer.to_owned())).map_err(|error| error.to_string());
            assert_eq!(read, expected.map_err(ToOwned::to_owned), "{answer}");
        }
    }

    #[test]
    fn helpers_run_only_when_allowed_at_the_turn_and_not_in_a_hermetic_step() {
        let hermetic: Env = [("TEKTON_HERMETIC", "1")].into_iter().collect();
        let not_hermetic: Env = [("TEKTON_HERMETIC", "0")].into_iter().collect();
        for (allowed, at_turn, env, expected) in [
            (true, true, &Env::default(), Helpers::Run { timeout: TIMEOUT }),
            (true, true, &not_hermetic, Helpers::Run { timeout: TIMEOUT }),
            (true, false, &Env::default(), Helpers::Not(NotRun::BeforeTurn)),
            (false, true, &Env::default(), Helpers::Not(NotRun::NotAllowed)),
            (true, true, &hermetic, Helpers::Not(NotRun::Hermetic)),
            (true, false, &hermetic, Helpers::Not(NotRun::Hermetic)),
        ] {
            assert_eq!(Helpers::in_attempt(allowed, at_turn, env), expected);
        }
    }
}
