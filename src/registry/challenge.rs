//! `WWW-Authenticate`: what a registry wants to be shown (RFC 9110, section 11.6.1).

/// One challenge of a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Challenge {
    /// User name and password.
    Basic,
    /// A token of the service that it names.
    Bearer {
        /// The URL of the token service; empty when the registry forgot it.
        realm: String,
        /// What the registry is called there.
        service: Option<String>,
        /// What the token must allow.
        scope: Option<String>,
    },
    /// A scheme that no registry client knows.
    Other {
        /// Its name as sent.
        scheme: String,
    },
}

impl Challenge {
    /// Reads all challenges of all header lines, in order. Broken text gives fewer challenges, never an error.
    pub fn parse_all<'h>(lines: impl IntoIterator<Item = &'h str>) -> Vec<Self> {
        lines.into_iter().flat_map(parse_line).collect()
    }
}

/// A scheme with its parameters, names in lower case.
struct Raw {
    scheme: String,
    parameters: Vec<(String, String)>,
}

impl From<Raw> for Challenge {
    fn from(raw: Raw) -> Self {
        let parameter = |name: &str| raw.parameters.iter().find(|(own, _)| own == name).map(|(_, value)| value.clone());
        if raw.scheme.eq_ignore_ascii_case("basic") {
            Self::Basic
        } else if raw.scheme.eq_ignore_ascii_case("bearer") {
            Self::Bearer {
                realm: parameter("realm").unwrap_or_default(),
                service: parameter("service"),
                scope: parameter("scope").filter(|scope| !scope.trim().is_empty()),
            }
        } else {
            Self::Other { scheme: raw.scheme }
        }
    }
}

/// The challenges of one line. A word is a parameter when `=` follows it, and begins a challenge when not.
fn parse_line(line: &str) -> Vec<Challenge> {
    let mut found: Vec<Raw> = Vec::new();
    let mut rest = line;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let end = rest.find([' ', '\t', ',', '=', '"']).unwrap_or(rest.len());
        let (word, behind) = rest.split_at(end);
        let value = behind.trim_start_matches([' ', '\t']).strip_prefix('=');
        match (word.is_empty(), value) {
            (true, _) if behind.is_empty() => break,
            // A stray quote or equals sign: skipped.
            (true, _) => rest = behind.get(1..).unwrap_or(""),
            (false, Some(value)) => {
                let (value, after) = parse_value(value.trim_start_matches([' ', '\t']));
                if let Some(challenge) = found.last_mut() {
                    challenge.parameters.push((word.to_ascii_lowercase(), value));
                }
                rest = after;
            }
            (false, None) => {
                found.push(Raw { scheme: word.to_owned(), parameters: Vec::new() });
                rest = behind;
            }
        }
    }
    found.into_iter().map(Challenge::from).collect()
}

/// A word or a quoted string, and what stands behind it.
fn parse_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([' ', '\t', ',']).unwrap_or(text.len());
        let (value, rest) = text.split_at(end);
        return (value.to_owned(), rest);
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, quoted.get(at + 1..).unwrap_or("")),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    // Never closed: everything belongs to it.
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Challenge {
        Challenge::Bearer {
            realm: realm.to_owned(),
            service: service.map(str::to_owned),
            scope: scope.map(str::to_owned),
        }
    }

    fn other(scheme: &str) -> Challenge {
        Challenge::Other { scheme: scheme.to_owned() }
    }

    #[test]
    fn every_line_and_every_challenge_of_a_line_is_read() {
        let hub = bearer("https://auth.docker.io/token", Some("registry.docker.io"), Some("repository:library/a:pull"));
        for (lines, challenges) in [
            (
                vec![
                    "Bearer realm=\"https://auth.docker.io/token\",service=\"registry.docker.io\",scope=\"repository:library/a:pull\"",
                ],
                vec![hub.clone()],
            ),
            (vec!["Basic realm=\"Registry Realm\""], vec![Challenge::Basic]),
            (vec!["BASIC"], vec![Challenge::Basic]),
            (
                vec!["Negotiate", "bearer REALM = \"https://t\" , Service=x"],
                vec![other("Negotiate"), bearer("https://t", Some("x"), None)],
            ),
            (
                vec!["Basic realm=\"a, Bearer realm=b\", Bearer realm=\"https://t\",scope=\"x y\", Digest nonce=abc=="],
                vec![Challenge::Basic, bearer("https://t", None, Some("x y")), other("Digest")],
            ),
            (vec!["Bearer realm=\"https://t/?a=\\\"b\\\\\""], vec![bearer("https://t/?a=\"b\\", None, None)]),
            (vec!["Bearer scope=\"\""], vec![bearer("", None, None)]),
        ] {
            assert_eq!(Challenge::parse_all(lines.iter().copied()), challenges, "{lines:?}");
        }
    }

    #[test]
    fn broken_text_gives_fewer_challenges_and_ends() {
        for (line, challenges) in [
            ("", vec![]),
            (" ,, , ", vec![]),
            ("=\"\"=", vec![]),
            ("realm=\"x\"", vec![]),
            ("Bearer realm=\"https://t", vec![bearer("https://t", None, None)]),
            ("Bearer realm=\"https://t\\", vec![bearer("https://t", None, None)]),
            ("Bearer realm=", vec![bearer("", None, None)]),
            ("Negotiate YWJj==", vec![other("Negotiate")]),
            ("Bearer \u{fc}=\"\u{fc}\\\u{fc}\" , \u{fc}", vec![bearer("", None, None), other("\u{fc}")]),
        ] {
            assert_eq!(Challenge::parse_all([line]), challenges, "{line:?}");
        }
    }
}
