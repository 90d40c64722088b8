//! Looking for a secret in what a run left.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// So many characters of a secret's beginning are too many: a message may be cut in the middle of one.
const BEGINNING: usize = 16;

/// What a text tells of a secret: the whole or the beginning of it, as it is, in a URL, in JSON, or in base64, also behind
/// a user's name.
pub fn tells(text: &str, secret: &str) -> Option<String> {
    let mut forms = Vec::new();
    for line in secret.lines().filter(|line| line.len() >= 4 && !line.starts_with("-----")) {
        let json = serde_json::to_string(line).unwrap().trim_matches('"').to_owned();
        forms.extend([line.to_owned(), percent(line, true), percent(line, false), json.replace('/', "\\/"), json]);
    }
    // Behind a name, base64 of the same bytes has one of three forms, but for its ends.
    for (before, cut) in [("", 0), ("x", 2), ("xx", 3)] {
        for encoded in [STANDARD_NO_PAD, URL_SAFE_NO_PAD].map(|engine| engine.encode(format!("{before}{secret}"))) {
            let whole = encoded.len() - usize::from(!(before.len() + secret.len()).is_multiple_of(3));
            forms.extend(encoded.get(cut..whole).filter(|inner| inner.len() >= 8).map(str::to_owned));
        }
    }
    let mut beginnings = forms.into_iter().map(|form| form.chars().take(BEGINNING).collect::<String>());
    beginnings.find(|beginning| text.contains(beginning))
}

/// As a URL has it.
fn percent(text: &str, upper: bool) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~*".contains(&byte);
    let escaped = |byte: u8| if upper { format!("%{byte:02X}") } else { format!("%{byte:02x}") };
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { escaped(byte) }).collect()
}

#[test]
fn a_secret_is_found_in_every_form() {
    let secret = "s3cret/of+the=tests?&so on";
    for text in [
        "it is s3cret/of+the=tests?&so on.",
        "it is s3cret/of+the=te...",
        "it is s3cret%2Fof%2Bthe%3Dtests%3F%26so%20on.",
        "it is s3cret%2fof%2bthe%3dtests%3f%26so%20on.",
        r"it is s3cret\/of+the=tests?&so on",
        "it is czNjcmV0L29mK3RoZT10ZXN0cz8mc28gb24=",
        "it is czNjcmV0L29mK3RoZT10ZXN0cz8mc28gb24",
        "it is QVdTOnMzY3JldC9vZit0aGU9dGVzdHM/JnNvIG9u",
        "it is QVdTOnMzY3JldC9vZit0aGU9dGVzdHM_JnNvIG9u",
        "it is dTpzM2NyZXQvb2YrdGhlPXRlc3RzPyZzbyBvbg==",
    ] {
        assert!(tells(text, secret).is_some(), "{text}");
    }
    assert_eq!(tells("it is s3cret/of+the=", secret), None);
    assert_eq!(tells("", secret), None);
    let pem = "-----BEGIN PRIVATE KEY-----\nMIIE\nvQIBADANBgkqhkiG9w0BAQEFAASC\n-----END PRIVATE KEY-----\n";
    assert_eq!(tells("it has no -----BEGIN PRIVATE KEY-----", pem), None);
    assert!(tells("it has vQIBADANBgkqhkiG9w0BAQEFAASC", pem).is_some());
}
