//! What no message may repeat: the secrets that were shown to somebody or told by somebody, whole, in part or encoded.

mod shown;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde_json::Value;

use crate::percent::percent_decoded;
use crate::secret::Secret;

/// What is too short to be looked for inside of words, in bytes: words of a message are as long.
const SHORT: usize = 8;
/// What is too short to be looked for at all, in bytes.
const TINY: usize = 4;
/// A part of a secret that is not repeated either, in bytes: a message may have been cut in the middle of one.
const PART: usize = 12;
/// How much of one secret is looked for, in bytes, and of all of them together: the work for a message does not grow with
/// either, but the memory does. Tokens have a few thousand.
const LONGEST: usize = 16 << 10;
const ALL: usize = 256 << 10;
/// What stands in a secret's place.
const HIDDEN: &str = "(a secret)";
/// What stands in the place of a text that has one in another form.
pub const HIDDEN_WHOLLY: &str = "(what it says holds a secret)";
/// What stands for a secret that is hidden already, while other forms are looked for: no secret goes on behind it.
const BARRIER: &str = "\0";
/// The keeper of one attempt's secrets. Clones keep the same ones: whatever anybody shows or is told, nobody repeats.
///
/// A secret is looked for whole and in parts, also in base64, hex, another case, with other punctuation or white space, and
/// behind percent signs or backslashes. One that is shorter than 8 bytes is looked for only where it stands by itself, and
/// only if it has a letter and something else: to hide a word like `admin` or a number like `5000` wherever messages have
/// them would tell it. One that is shorter than 4 bytes is not looked for. Of a JSON document (a key of Google's) the fields
/// that are secret are looked for: it also has names and addresses that messages need.
#[derive(Clone, Default)]
pub struct Secrets(Arc<Mutex<Kept>>);

/// What is looked for. Of all but short secrets there are only hashes.
#[derive(Default)]
struct Kept {
    /// As they are.
    plain: Windows,
    /// Without punctuation and white space, in lower case; as they are, in base64 and in hex.
    squeezed: Windows,
    /// Short ones.
    short: Vec<Secret>,
    known: HashSet<u64>,
    /// How much was kept, in bytes.
    size: usize,
}

/// Every part of every secret, by its length: [`PART`], and the whole of what is shorter.
#[derive(Default)]
struct Windows(BTreeMap<usize, HashSet<u64>>);

impl Windows {
    fn add(&mut self, text: &[u8]) {
        let length = text.len().min(PART);
        if length >= SHORT {
            self.0.entry(length).or_default().extend(text.windows(length).map(hash));
        }
    }

    fn found<'t>(&'t self, text: &'t [u8]) -> impl Iterator<Item = Range<usize>> + 't {
        self.0.iter().flat_map(move |(&length, parts)| {
            let windows = text.windows(length).enumerate();
            windows.filter(|(_, part)| parts.contains(&hash(part))).map(move |(start, _)| start..start + length)
        })
    }
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

impl Kept {
    fn keep(&mut self, secret: &str) {
        if secret.len() < TINY || !self.known.insert(hash(secret.as_bytes())) {
            return;
        }
        if secret.len() < SHORT {
            let letters = secret.chars().filter(|letter| letter.is_alphabetic()).count();
            if letters > 0 && letters < secret.chars().count() {
                self.short.push(Secret::new(secret.to_owned()));
            }
            return;
        }
        let secret = secret.get(..secret.floor_char_boundary(LONGEST)).unwrap_or_default();
        self.size = self.size.saturating_add(secret.len());
        if self.is_full() {
            return;
        }
        self.plain.add(secret.as_bytes());
        self.squeezed.add(&squeezed(secret));
        let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
        self.squeezed.add(hex.as_bytes());
        for before in 0..3 {
            self.squeezed.add(&squeezed(&base64_behind(before, secret)));
        }
    }

    /// Whether there was more to keep than is kept: then nothing is known to be free of it.
    fn is_full(&self) -> bool {
        self.size > ALL
    }

    /// Where in a text secrets are, or parts of them; in order, each by itself.
    fn found(&self, text: &str) -> Vec<Range<usize>> {
        let mut ranges: Vec<_> = self.plain.found(text.as_bytes()).collect();
        for secret in &self.short {
            let whole = |range: &Range<usize>| {
                let is_word = |letter: Option<char>| letter.is_some_and(char::is_alphanumeric);
                let before = text.get(..range.start).and_then(|text| text.chars().next_back());
                let behind = text.get(range.end..).and_then(|text| text.chars().next());
                !is_word(before) && !is_word(behind)
            };
            let places = text.match_indices(secret.expose()).map(|(at, found)| at..at + found.len());
            ranges.extend(places.filter(whole));
        }
        ranges.sort_unstable_by_key(|range| range.start);
        let mut apart: Vec<Range<usize>> = Vec::new();
        for Range { start, end } in ranges {
            // A part may begin or end in the middle of a character.
            let (start, end) = (text.floor_char_boundary(start), text.ceil_char_boundary(end));
            match apart.last_mut() {
                Some(last) if start <= last.end => last.end = last.end.max(end),
                Some(_) | None => apart.push(start..end),
            }
        }
        apart
    }

    /// A text with every secret in it, or part of one, replaced.
    fn replaced<'t>(&self, text: &'t str, by: &str) -> Cow<'t, str> {
        let ranges = self.found(text);
        if ranges.is_empty() {
            return Cow::Borrowed(text);
        }
        let mut told = String::new();
        let mut rest = 0;
        for range in ranges {
            told.push_str(text.get(rest..range.start).unwrap_or_default());
            told.push_str(by);
            rest = range.end;
        }
        told.push_str(text.get(rest..).unwrap_or_default());
        Cow::Owned(told)
    }

    /// Whether a text has a secret in another form than the one in which it is replaced.
    fn in_another_form(&self, text: &str) -> bool {
        let has_squeezed = |text: &str| self.squeezed.found(&squeezed(text)).next().is_some();
        let rest = self.replaced(text, BARRIER);
        if has_squeezed(&rest) {
            return true;
        }
        let twice = |text: &str| percent_decoded(&percent_decoded(text));
        let both = |text: &str| percent_decoded(&unescaped(text));
        let decoders: [&dyn Fn(&str) -> String; 4] = [&percent_decoded, &unescaped, &twice, &both];
        decoders.into_iter().any(|decode| {
            let plain = decode(text);
            // Where it is not the same to replace first and to decode first, one was written in another form.
            plain != text && (self.replaced(&plain, BARRIER) != decode(&rest) || has_squeezed(&decode(&rest)))
        })
    }
}

impl Secrets {
    /// From now on no message repeats this.
    pub fn keep(&self, secret: &str) {
        if let Ok(document @ Value::Object(_)) = serde_json::from_str(secret) {
            self.keep_those_of_json(&document);
        } else if secret.contains("-----BEGIN ") {
            // Messages may name what begins and ends every key.
            let lines = secret.lines().filter(|line| !line.starts_with("-----"));
            lines.for_each(|line| self.kept(|kept| kept.keep(line.trim())));
        } else {
            self.kept(|kept| kept.keep(secret.trim()));
        }
    }

    /// Keeps a user's password, and the pair as it is shown.
    pub fn keep_pair(&self, user: &str, password: &str) {
        self.keep(password);
        if !password.is_empty() {
            let pair = Secret::new(format!("{user}:{password}"));
            self.keep(&STANDARD.encode(pair.expose()));
        }
    }

    fn kept<T>(&self, act: impl FnOnce(&mut Kept) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A text without the secrets: whoever is asked may repeat them, and not as they were written.
    #[must_use]
    pub fn without(&self, text: String) -> String {
        self.kept(|kept| {
            if kept.is_full() || kept.in_another_form(&text) {
                return HIDDEN_WHOLLY.to_owned();
            }
            match kept.replaced(&text, HIDDEN) {
                Cow::Borrowed(_) => None,
                Cow::Owned(told) => Some(told),
            }
            .unwrap_or(text)
        })
    }

    /// The same for a sentence that ends with what others say: only those of its parts that hold a secret are hidden wholly,
    /// as long as the others hold none together.
    #[must_use]
    pub fn without_in_parts(&self, text: String) -> String {
        let told = self.without(text.clone());
        if told != HIDDEN_WHOLLY {
            return told;
        }
        let parts: Vec<_> = text.split(": ").map(|part| self.without(part.to_owned())).collect();
        let joined = parts.join(": ");
        if self.hold(&joined) { HIDDEN_WHOLLY.to_owned() } else { joined }
    }

    /// A URL without the secrets: only its host is left, if that holds none.
    #[must_use]
    pub fn without_in_url(&self, url: String) -> String {
        if !self.hold(&url) {
            return url;
        }
        let (scheme, rest) = url.split_once("://").unwrap_or(("", &url));
        let host = rest.split('/').next().unwrap_or_default();
        let place = format!("{scheme}://{host}/");
        if scheme.is_empty() || self.hold(&place) {
            return "(hidden: it holds a secret)".to_owned();
        }
        format!("{place}(hidden: it holds a secret)")
    }

    /// Whether there is a secret in a text, in whatever form.
    #[must_use]
    pub fn hold(&self, text: &str) -> bool {
        self.kept(|kept| kept.is_full() || !kept.found(text).is_empty() || kept.in_another_form(text))
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets(redacted)")
    }
}

/// Letters and digits in lower case, and barriers.
fn squeezed(text: &str) -> Vec<u8> {
    let letters = text.chars().filter(|letter| letter.is_alphanumeric() || BARRIER.contains(*letter));
    letters.flat_map(char::to_lowercase).collect::<String>().into_bytes()
}

/// What a text is in base64 wherever so many bytes modulo 3 stand before it, whatever they are and whatever follows.
fn base64_behind(before: usize, text: &str) -> String {
    let bytes = [&[0; 2][..before.min(2)], text.as_bytes()].concat();
    let encoded = STANDARD_NO_PAD.encode(&bytes);
    let own = (before * 8).div_ceil(6)..bytes.len() * 8 / 6;
    encoded.get(own).unwrap_or_default().to_owned()
}

/// What the backslashes of a JSON text stand for, as far as a token's characters are concerned.
fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('\\') {
        plain.push_str(before);
        let code = behind.strip_prefix('u').and_then(|hex| hex.get(..4));
        let escaped = code.and_then(|code| u32::from_str_radix(code, 16).ok()).and_then(char::from_u32);
        rest = match escaped {
            Some(character) => {
                plain.push(character);
                behind.get(5..).unwrap_or_default()
            }
            None => behind,
        };
    }
    plain.push_str(rest);
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "ya29.c.b0Aaekm1K+zV9/7Qw==-the_rest_of_it";

    fn keeping(keep: impl FnOnce(&Secrets)) -> Secrets {
        let secrets = Secrets::default();
        keep(&secrets);
        secrets
    }

    fn without(secret: &str, text: &str) -> String {
        keeping(|secrets| secrets.keep(secret)).without(text.to_owned())
    }

    #[test]
    fn a_secret_is_replaced_wherever_it_stands_and_whatever_was_cut_off() {
        for (text, told) in [
            ("not a word of it".to_owned(), "not a word of it"),
            (format!("{TOKEN} is odd, {TOKEN}"), "(a secret) is odd, (a secret)"),
            (format!("token '{}...", &TOKEN[..30]), "token '(a secret)..."),
            (format!("...{}' is odd", &TOKEN[20..]), "...(a secret)' is odd"),
            (format!("near {}", &TOKEN[5..17]), "near (a secret)"),
            // Too little to be of use.
            (format!("near {}", &TOKEN[5..16]), "near c.b0Aaekm1K"),
            (format!("\u{e9}{TOKEN}\u{e9}"), "\u{e9}(a secret)\u{e9}"),
        ] {
            assert_eq!(without(TOKEN, &text), told, "{text}");
        }
    }

    #[test]
    fn one_secret_that_begins_another_leaves_nothing_of_it() {
        let secrets =
            keeping(|secrets| [&TOKEN[..12], TOKEN, "hunter2-"].iter().for_each(|secret| secrets.keep(secret)));
        assert_eq!(secrets.without(format!("{TOKEN} hunter2-")), "(a secret) (a secret)");
        assert_eq!(secrets.without(format!("{}hunter2-", &TOKEN[..12])), "(a secret)");
    }

    #[test]
    fn a_secret_in_another_form_hides_the_whole_text() {
        for text in [
            "body: assertion=ya29.c.b0Aaekm1K%2BzV9%2F7Qw%3D%3D-the_rest_of_it",
            "body: assertion=ya29.c.b0Aaekm1K%2bzV9%2f7Qw%3d%3d-the_re...",
            r#"{"assertion":"ya29.c.b0Aaekm1K\u002bzV9\/7Qw\u003D\u003d-the_rest_of_it"}"#,
        ] {
            assert_eq!(without(TOKEN, text), HIDDEN_WHOLLY, "{text}");
        }
        for text in [r"100 % of \ and \u12 and %4 \", "%", r"\u", ""] {
            assert_eq!(without(TOKEN, text), text);
        }
        // Whole parts of it stand there as they are.
        assert_eq!(without(TOKEN, "ya29.c.b0Aaekm1K%2BzV9%2F7Qw==-the_rest_of_it"), HIDDEN_WHOLLY);
        assert_eq!(without(TOKEN, &format!("100%25 {TOKEN} %20")), "100%25 (a secret) %20");
        let told = without("p\u{e4}ssw\u{f6}rter", "p%C3%A4ssw%C3%B6rter");
        assert_eq!(told, HIDDEN_WHOLLY);
    }

    #[test]
    fn a_short_word_is_no_secret() {
        assert_eq!(without("expired", "it is expired"), "it is expired");
        assert_eq!(without("a", "it has an a"), "it has an a");
        assert_eq!(without("5000", "host:5000"), "host:5000");
        assert_eq!(without("p1", "it is p1"), "it is p1");
        assert_eq!(
            without("hunter2", "'hunter2', hunter2. hunter22 xhunter2"),
            "'(a secret)', (a secret). hunter22 xhunter2"
        );
        assert_eq!(without("hunter2-", "it is hunter2-"), "it is (a secret)");
    }

    #[test]
    fn a_secret_that_was_changed_is_found() {
        let encoded = |before: &str| STANDARD.encode(format!("{before}{TOKEN}"));
        let hex: String = TOKEN.bytes().map(|byte| format!("{byte:02X}")).collect();
        for text in [
            TOKEN.to_uppercase(),
            TOKEN.to_lowercase(),
            TOKEN.replace(['.', '+', '/', '=', '-', '_'], ""),
            TOKEN.chars().map(|letter| format!("{letter} ")).collect(),
            TOKEN.chars().map(|letter| format!("{letter}\u{200b}")).collect(),
            [&TOKEN[..11], &TOKEN[11..22], &TOKEN[22..33], &TOKEN[33..]].join(", "),
            TOKEN.bytes().map(|byte| format!("%{byte:02x}")).collect(),
            TOKEN.bytes().map(|byte| format!("%25{byte:02x}")).collect(),
            TOKEN.bytes().map(|byte| format!("\\u00{byte:02x}")).collect(),
            encoded(""),
            encoded("u:"),
            encoded("user:"),
            encoded("").replace('+', "-").replace('/', "_"),
            encoded("")[7..23].to_owned(),
            hex[5..41].to_owned(),
            hex,
        ] {
            let told = without(TOKEN, &format!("it says {text}"));
            assert_eq!(told, HIDDEN_WHOLLY, "{text}");
            let secrets = keeping(|secrets| secrets.keep(TOKEN));
            assert_eq!(secrets.without_in_parts(format!("it says: {text}")), format!("it says: {HIDDEN_WHOLLY}"));
        }
    }

    #[test]
    fn parts_that_hold_a_secret_together_are_hidden_together() {
        let secrets = keeping(|secrets| secrets.keep(TOKEN));
        let text = TOKEN.chars().map(|letter| format!("{letter}: ")).collect();
        assert_eq!(secrets.without_in_parts(text), HIDDEN_WHOLLY);
    }

    #[test]
    fn of_a_url_the_host_is_left_unless_it_holds_a_secret() {
        let secrets = keeping(|secrets| secrets.keep("Hunter2-the-password"));
        for (url, told) in [
            ("https://r:5000/v2/", "https://r:5000/v2/"),
            ("https://r:5000/hunter2-the-password", "https://r:5000/(hidden: it holds a secret)"),
            ("https://hunter2-the-password.example/x", "(hidden: it holds a secret)"),
            ("hunter2-the-password", "(hidden: it holds a secret)"),
        ] {
            assert_eq!(secrets.without_in_url(url.to_owned()), told);
        }
    }

    #[test]
    fn of_a_key_in_json_the_names_are_told() {
        let key = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n-----END PRIVATE KEY-----\n";
        let document = serde_json::json!({"project_id": "my-project-123456", "private_key": key}).to_string();
        let secrets = keeping(|secrets| secrets.keep_pair("_json_key", &document));
        let text = "gcr.io/my-project-123456/a, -----BEGIN PRIVATE KEY-----";
        assert_eq!(secrets.without(text.to_owned()), text);
        assert_eq!(secrets.without("it says BADANBgkqhkiG9w0B".to_owned()), "it says (a secret)");
        assert_eq!(secrets.without(STANDARD.encode(format!("_json_key:{document}"))), HIDDEN);
    }

    #[test]
    fn what_is_more_than_can_be_kept_hides_everything() {
        let secrets = Secrets::default();
        for number in 0..=ALL / LONGEST {
            assert_eq!(secrets.without("a word".to_owned()), "a word", "{number}");
            secrets.keep(&format!("{number:0>LONGEST$}"));
        }
        assert_eq!(secrets.without("a word".to_owned()), HIDDEN_WHOLLY);
        assert_eq!(format!("{secrets:?}"), "Secrets(redacted)");
    }
}
