//! The URL of a request as the story of a lookup shows it: nothing in it that is a secret.

use reqwest::Url;

use super::error::What;
use crate::image::shown;
use crate::secrets::Secrets;

/// The longest URL that is shown, in characters.
const LONGEST: usize = 1000;
/// What of a query is shown, where a token is asked for: what the token is to allow, and where.
const PARAMETERS: [&str; 2] = ["scope", "service"];

/// A URL without user, password and fragment, and of its query only what is asked of a token service: the rest may be a
/// signature. Where somebody else chose the URL, it may repeat what they were shown: then only the host is left.
pub(super) fn traced(url: &Url, what: What, secrets: Option<&Secrets>) -> String {
    let place = format!("{}://{}", url.scheme(), url.host_str().unwrap_or(""));
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let query = query(url, what);
    let whole = format!("{place}{port}{}{query}", url.path());
    match secrets {
        Some(secrets) => shown(&secrets.without_in_url(whole), LONGEST),
        None => shown(&whole, LONGEST),
    }
}

/// The part of a query that is shown, with `...` for what is not.
fn query(url: &Url, what: What) -> String {
    let allowed = |name: &str| what == What::Token && PARAMETERS.contains(&name);
    let mut parts: Vec<String> = Vec::new();
    let mut left_out = false;
    for (name, value) in url.query_pairs() {
        if allowed(&name) {
            parts.push(format!("{name}={}", encoded(&value)));
        } else {
            left_out = true;
        }
    }
    parts.extend(left_out.then(|| "...".to_owned()));
    if parts.is_empty() { String::new() } else { format!("?{}", parts.join("&")) }
}

/// A value of a query, still a URL's, but with `:`, `/` and `,` as people read them (RFC 3986, section 3.4).
fn encoded(value: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/,@*".contains(&byte);
    value.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        text.parse().expect(text)
    }

    #[test]
    fn of_a_query_only_scope_and_service_are_shown_and_only_of_a_token_service() {
        for (what, asked, shown) in [
            (
                What::Token,
                "https://auth.example/token?account=me&scope=repository%3Aa%2Fb%3Apull&scope=x+y&service=r.example&k=v",
                "https://auth.example/token?scope=repository:a/b:pull&scope=x%20y&service=r.example&...",
            ),
            (What::Token, "https://auth.example/token", "https://auth.example/token"),
            (What::Config, "https://s.example/b/1?X-Amz-Signature=abc&service=x", "https://s.example/b/1?..."),
            (What::Manifest, "http://u:p@r.example:5000/v2/a/manifests/1#f", "http://r.example:5000/v2/a/manifests/1"),
        ] {
            assert_eq!(traced(&url(asked), what, None), shown, "{asked}");
        }
    }

    #[test]
    fn a_url_that_repeats_a_secret_is_hidden_also_when_it_is_encoded() {
        let secrets = Secrets::default();
        secrets.keep("p/w d-pass");
        for (asked, hidden) in [
            ("https://s.example/p%2Fw%20d-pass", true),
            ("https://s.example/a/p/w%20d-pass/b", true),
            ("https://s.example/token?scope=p%2Fw+d-pass", true),
            ("https://s.example/token?other=p%2Fw+d-pass", false),
            ("https://s.example/%p/100%", false),
        ] {
            let text = traced(&url(asked), What::Token, Some(&secrets));
            assert_eq!(text == "https://s.example/(hidden: it holds a secret)", hidden, "{text}");
        }
    }

    #[test]
    fn a_url_is_bounded() {
        let long = format!("https://s.example/{}", "a".repeat(5000));
        assert_eq!(traced(&url(&long), What::Config, None).chars().count(), LONGEST + 3);
    }
}
