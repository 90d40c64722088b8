//! Documents with credentials: docker's `config.json`, `.dockercfg`, and the keys under which entries stand in them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use entrypoint::authn::Found;
use entrypoint::authn::matching::{Key, Target as Wanted};
use entrypoint::authn::pull_secrets::credentials;
use entrypoint::credential::{NamedBy, Proof, PullSecret, PullSecretDocument, PullSecretName};
use entrypoint::image::Reference;
use entrypoint::secret::Secret;
use serde_json::Value;

use super::{PASSWORD, Target, check_told, headed, lines};

const WORDS: &[&str] = &[
    "{\"auths\":{",
    "\"ghcr.io\":{",
    "\"auth\":\"bWU6aHVudGVyMg==\"",
    "\"username\":\"me\"",
    "\"password\":\"hunter2\"",
    "\"identitytoken\":\"hunter2\"",
    "\"registrytoken\":\"hunter2\"",
    "\"credHelpers\":{",
    "\"credsStore\":\"pass\"",
    "\"https://index.docker.io/v1/\"",
    "\"*.io\"",
    "null",
    "hunter2",
    "bWU6aHVudGVyMg",
    "}}",
    "\\u0000",
    "\\ud800",
];

pub(super) const DOCKER_CONFIG: Target = Target { name: "docker_config", check: docker_config, words: WORDS };

/// The input is a line with an image, and the document.
fn docker_config(data: &[u8]) {
    let Some((wanted, document)) = wanted(data) else { return };
    let found = find(&wanted, PullSecretDocument::Config(Secret::new(document.to_owned())));
    check_found(&found, document, &wanted);
}

pub(super) const DOCKERCFG: Target = Target { name: "dockercfg", check: dockercfg, words: WORDS };

/// As above. The same entries are found in the newer document.
fn dockercfg(data: &[u8]) {
    let Some((wanted, document)) = wanted(data) else { return };
    let found = find(&wanted, PullSecretDocument::Legacy(Secret::new(document.to_owned())));
    check_found(&found, document, &wanted);
    // What is no document could become one by what stands around it.
    if serde_json::from_str::<serde_json::Map<_, Value>>(document).is_ok() {
        let newer = format!("{{\"auths\":{document}}}");
        let newer = find(&wanted, PullSecretDocument::Config(Secret::new(newer)));
        assert_eq!(newer.credentials, found.credentials, "{document:?}");
    }
}

fn wanted(data: &[u8]) -> Option<(Reference, &str)> {
    let (image, document) = headed(data)?;
    Some((image.parse().ok()?, std::str::from_utf8(document).ok()?))
}

fn find(image: &Reference, document: PullSecretDocument) -> Found {
    let name = PullSecretName {
        namespace: "ci".to_owned(),
        name: "regcred".to_owned(),
        named_by: NamedBy::Pod,
        also_by: Vec::new(),
    };
    credentials(&[PullSecret { name, document }], image.registry(), image.repository())
}

/// No proof is empty or stands there twice, and nothing of any proof is told.
fn check_found(found: &Found, document: &str, image: &Reference) {
    assert!(!found.deferred, "a secret's helpers are never asked");
    for (index, credential) in found.credentials.iter().enumerate() {
        let others = found.credentials.get(index + 1..).unwrap_or_default();
        assert!(others.iter().all(|other| other.proof != credential.proof), "twice: {}", credential.source);
        match &credential.proof {
            Proof::Basic { username, .. } => assert!(!username.is_empty()),
            Proof::IdentityToken(token) | Proof::RegistryToken(token) => assert!(!token.is_empty()),
        }
        check_told(&credential.source);
        assert!(!format!("{:?}", credential.proof.secret()).contains(PASSWORD));
    }
    // Of broken entries five are told, and that there are more; besides a helper, and that there is none for the image.
    assert!(found.notes.len() <= 8, "{:?}", found.notes);
    let mut names = format!("{image} ");
    if let Ok(value) = serde_json::from_str(document) {
        keys(&value, &mut names);
    }
    // In a name nobody looks for a password, but for the place where URLs have it.
    let secrets = [PASSWORD.to_owned(), STANDARD_NO_PAD.encode("me:hunter2")];
    if secrets.iter().any(|secret| names.contains(secret)) {
        return;
    }
    let told =
        found.notes.iter().map(ToString::to_string).chain(found.credentials.iter().map(|own| own.source.clone()));
    for told in told {
        check_told(&told);
        assert!(secrets.iter().all(|secret| !told.contains(secret)), "{told:?}");
    }
}

/// The names of a document's members, and the helpers that it names: what messages may repeat.
fn keys(value: &Value, names: &mut String) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                names.push_str(name);
                names.push(' ');
                if let (true, Value::String(helper)) = (name.eq_ignore_ascii_case("credsStore"), value) {
                    names.push_str(helper);
                }
                if let (true, Value::Object(helpers)) = (name.eq_ignore_ascii_case("credHelpers"), value) {
                    helpers.values().filter_map(Value::as_str).for_each(|helper| names.push_str(helper));
                }
                keys(value, names);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| keys(value, names)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

pub(super) const DOCKER_KEY: Target = Target {
    name: "docker_key",
    check: docker_key,
    words: &[
        "https://",
        "http://",
        "/v1/",
        "/v2/",
        "docker.io",
        "index.docker.io",
        "ghcr.io",
        "*.",
        "*",
        "?",
        "[a-z]",
        "[^",
        "\\",
        ":5000",
        "[::1]",
        "team/app",
        "@",
    ],
};

/// The lines are a key, a registry and a repository. A key serves what a slow reading of the same rules says.
fn docker_key(data: &[u8]) {
    let Some([key, registry, repository]) = lines(data) else { return };
    let parsed = match Key::parse(key) {
        Ok(parsed) => parsed,
        Err(error) => return check_told(&error.to_string()),
    };
    let wanted = Wanted::new(registry, repository);
    let serves = parsed.serves(&wanted);
    // Others take the slow reading too long.
    if key.len() < 40 && registry.len() < 40 && key.matches('*').count() < 5 {
        assert_eq!(serves, serves_by_trying(key, registry, repository), "{key:?} for {registry:?} {repository:?}");
    }
    // A key serves all below what it serves; that it is written as a URL changes nothing.
    if serves {
        assert!(
            parsed.serves(&Wanted::new(registry, &format!("{}/more", repository.trim_matches('/'))))
                || repository.trim_matches('/').is_empty()
        );
    }
    if !key.contains("://") {
        assert_eq!(Key::parse(&format!("https://{key}")), Ok(parsed));
    }
}

fn serves_by_trying(key: &str, registry: &str, repository: &str) -> bool {
    let rest = ["https://", "http://"].iter().find_map(|scheme| key.strip_prefix(scheme)).unwrap_or(key);
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let path = ["v1/", "v2/"].iter().find_map(|api| path.strip_prefix(api)).unwrap_or(path).trim_matches('/');
    let (host, port) = port_of(authority.rsplit('@').next().unwrap_or(""));
    let (name, wanted_port) = port_of(registry);
    let (host, name) = (host.to_ascii_lowercase(), name.to_ascii_lowercase());
    let name = name.as_str();
    const HUB: [&str; 3] = ["docker.io", "index.docker.io", "registry-1.docker.io"];
    let names = if wanted_port.is_none() && HUB.contains(&name) { HUB.to_vec() } else { vec![name] };
    let literal =
        host.starts_with('[') && host.ends_with(']') && host[1..host.len() - 1].parse::<std::net::Ipv6Addr>().is_ok();
    let fits = |name: &str| {
        if literal {
            return name == host;
        }
        let (globs, labels): (Vec<_>, Vec<_>) = (host.split('.').collect(), name.split('.').collect());
        globs.len() == labels.len() && globs.iter().zip(labels).all(|(glob, label)| glob_fits(glob, label))
    };
    let below = format!("{}/", repository.trim_matches('/'));
    let fits_path = path.is_empty() || below.starts_with(&format!("{path}/"));
    port == wanted_port && fits_path && names.into_iter().any(fits)
}

fn port_of(authority: &str) -> (&str, Option<&str>) {
    match authority.rfind(':') {
        Some(at) if !authority[at..].contains(']') => (&authority[..at], Some(&authority[at + 1..])),
        _ => (authority, None),
    }
}

/// One label and its glob, letter by letter and in every way.
fn glob_fits(glob: &str, label: &str) -> bool {
    let mut letters = glob.chars();
    let Some(letter) = letters.next() else { return label.is_empty() };
    let rest = letters.as_str();
    let mut others = label.chars();
    let first = others.next();
    let behind = others.as_str();
    match letter {
        '*' => glob_fits(rest, label) || (first.is_some() && glob_fits(glob, behind)),
        '?' => first.is_some() && glob_fits(rest, behind),
        '\\' => letters.next().is_some_and(|letter| first == Some(letter)) && glob_fits(letters.as_str(), behind),
        '[' => {
            let Some(first) = first else { return false };
            let negated = rest.starts_with('^');
            let mut letters = if negated { rest[1..].chars() } else { rest.chars() };
            let next = |letters: &mut std::str::Chars<'_>| match letters.next() {
                Some('\\') => letters.next(),
                other => other,
            };
            let (mut within, mut any) = (false, false);
            loop {
                if any && letters.as_str().starts_with(']') {
                    return within != negated && glob_fits(&letters.as_str()[1..], behind);
                }
                any = true;
                let Some(low) = next(&mut letters) else { return false };
                let mut high = low;
                if letters.as_str().starts_with('-') {
                    letters.next();
                    let Some(end) = next(&mut letters) else { return false };
                    high = end;
                }
                within |= (low..=high).contains(&first);
            }
        }
        letter => first == Some(letter) && glob_fits(rest, behind),
    }
}
