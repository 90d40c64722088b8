//! URLs of git servers: read and written again with a user as Go's `net/url` does it, since `.git-credentials` has its bytes.
//!
//! <https://pkg.go.dev/net/url#Parse>, <https://pkg.go.dev/net/url#URL.String>. All of it is pure.

use std::ffi::OsStr;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::unix::ffi::OsStrExt;

use crate::quote::Quoted;

/// A URL without its user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GitUrl {
    /// In lower case; empty when there is none.
    scheme: String,
    place: Place,
    /// What stands behind `?`, as it is.
    query: Option<String>,
    /// What stands behind `#`, escaped; empty when there is none.
    fragment: String,
}

/// What stands behind the scheme.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    /// `scheme:text`: such a URL has no host, so a user has no place in it.
    Opaque(String),
    /// A host, which may be empty, and a path; both escaped as they are written again. Whether the path is more than the
    /// root's.
    Host { host: String, path: String, below: bool },
}

/// A text that is no URL, in Go's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("parse {url}")]
pub struct UrlError {
    /// What cannot be read.
    url: Quoted,
    /// Why.
    #[source]
    cause: UrlCause,
}

/// Why a text is no URL, in Go's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlCause {
    /// A control character stands in it.
    #[error("net/url: invalid control character in URL")]
    Control,
    /// It starts with a colon.
    #[error("missing protocol scheme")]
    NoScheme,
    /// It has no scheme, but what looks like one.
    #[error("first path segment in URL cannot contain colon")]
    Colon,
    /// What stands before `@` cannot stand there.
    #[error("net/url: invalid userinfo")]
    User,
    /// A bracket opens within the host, or holds no IPv6 address but one of IPv4.
    #[error("invalid IP-literal")]
    Literal,
    /// A bracket is not closed.
    #[error("missing ']' in host")]
    NoBracket,
    /// What stands behind the host's colon is no port.
    #[error("invalid port {0} after host")]
    Port(Quoted),
    /// What stands in brackets is no address.
    #[error("invalid host: ParseAddr({0}): unable to parse IP")]
    Address(Quoted),
    /// A percent sign without two hexadecimal digits, or with digits that are not allowed there.
    #[error("invalid URL escape {0}")]
    Escape(Quoted),
    /// A character that a host cannot have.
    #[error("invalid character {0} in host name")]
    Host(Quoted),
}

/// What a text is a part of: that decides which bytes are escaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    User,
    Host,
    /// What stands behind an IPv6 address' percent sign.
    Zone,
    Path,
    Fragment,
}

/// What a server is called in git's configuration, and the URL that this stands for. Git knows no URL without a scheme,
/// so `github.com` is taken as `https://github.com` where that is one (<https://github.com/tektoncd/pipeline/issues/2409>).
///
/// # Errors
///
/// The text is no URL, as it is and with a scheme.
pub(super) fn server(text: &str) -> Result<(String, GitUrl), UrlError> {
    if let Some(text) = with_scheme(text)
        && let Ok(url) = GitUrl::parse(&text)
        && url.has_host()
    {
        return Ok((text, url));
    }
    GitUrl::parse(text).map(|url| (text.to_owned(), url))
}

/// A text that has no scheme of its own, with one.
fn with_scheme(text: &str) -> Option<String> {
    let scheme = |scheme: &str| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
    };
    if text.split_once("://").is_some_and(|(before, _)| scheme(before)) {
        return None;
    }
    Some(if text.starts_with("//") { format!("https:{text}") } else { format!("https://{text}") })
}

impl GitUrl {
    /// Reads a URL. A user in it is checked and forgotten.
    fn parse(text: &str) -> Result<Self, UrlError> {
        let (url, fragment) = text.split_once('#').unwrap_or((text, ""));
        let failed = |url: &str| {
            let url = Quoted::new(OsStr::new(url));
            move |cause| UrlError { url, cause }
        };
        let mut read = Self::without_fragment(url).map_err(failed(url))?;
        read.fragment = again(fragment, Part::Fragment).map_err(failed(text))?;
        Ok(read)
    }

    fn without_fragment(text: &str) -> Result<Self, UrlCause> {
        if text.bytes().any(|byte| byte.is_ascii_control()) {
            return Err(UrlCause::Control);
        }
        let (scheme, rest) = scheme(text)?;
        let (rest, query) = match rest.split_once('?') {
            Some((rest, query)) => (rest, Some(query.to_owned())),
            None => (rest, None),
        };
        let url = |place| Self { scheme: scheme.to_ascii_lowercase(), place, query, fragment: String::new() };
        if !rest.starts_with('/') {
            if !scheme.is_empty() && !rest.is_empty() {
                return Ok(url(Place::Opaque(rest.to_owned())));
            }
            if rest.split('/').next().is_some_and(|segment| segment.contains(':')) {
                return Err(UrlCause::Colon);
            }
        }
        let authority = rest.strip_prefix("//").filter(|rest| !scheme.is_empty() || !rest.starts_with('/'));
        let (host, path) = match authority {
            Some(rest) => {
                let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
                (host_of(&scheme.to_ascii_lowercase(), authority)?, path)
            }
            None => (String::new(), rest),
        };
        let below = !matches!(unescape(path, Part::Path)?.as_slice(), b"" | b"/");
        Ok(url(Place::Host { host, path: again(path, Part::Path)?, below }))
    }

    fn has_host(&self) -> bool {
        matches!(&self.place, Place::Host { host, .. } if !host.is_empty())
    }

    /// Whether it names something below the host, as the URL of a repository does.
    pub(super) fn has_path(&self) -> bool {
        matches!(self.place, Place::Host { below: true, .. })
    }

    /// The URL with this user in front of its host.
    pub(super) fn with_user(&self, username: &[u8], password: &[u8]) -> String {
        let mut text = String::new();
        if !self.scheme.is_empty() {
            text += &self.scheme;
            text.push(':');
        }
        match &self.place {
            Place::Opaque(opaque) => text += opaque,
            Place::Host { host, path, below: _ } => {
                text += "//";
                text += &escape(username, Part::User);
                text.push(':');
                text += &escape(password, Part::User);
                text.push('@');
                text += host;
                text += path;
            }
        }
        if let Some(query) = &self.query {
            text.push('?');
            text += query;
        }
        if !self.fragment.is_empty() {
            text.push('#');
            text += &self.fragment;
        }
        text
    }
}

/// The scheme and what stands behind its colon; an empty scheme when there is none.
fn scheme(text: &str) -> Result<(&str, &str), UrlCause> {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '+' | '-' | '.'));
    match end.and_then(|end| text.split_at_checked(end)) {
        Some((scheme, rest)) if rest.starts_with(':') => {
            if scheme.is_empty() {
                return Err(UrlCause::NoScheme);
            }
            let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic());
            Ok(if is_scheme { (scheme, rest.get(1..).unwrap_or_default()) } else { ("", text) })
        }
        Some(_) | None => Ok(("", text)),
    }
}

/// The host of `user:password@host:port`, escaped as it is written again.
fn host_of(scheme: &str, authority: &str) -> Result<String, UrlCause> {
    let (user, host) = match authority.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, authority),
    };
    let host = host_and_port(scheme, host)?;
    if let Some(user) = user {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-._:~!$&'()*+,;=%@".contains(c);
        if !user.chars().all(allowed) {
            return Err(UrlCause::User);
        }
        let (username, password) = user.split_once(':').unwrap_or((user, ""));
        unescape(username, Part::User)?;
        unescape(password, Part::User)?;
    }
    Ok(escape(&host, Part::Host))
}

/// The host and its port, unescaped.
fn host_and_port(scheme: &str, text: &str) -> Result<Vec<u8>, UrlCause> {
    match text.rfind('[') {
        Some(0) => {}
        Some(_) => return Err(UrlCause::Literal),
        None => {
            // Databases have several hosts in one URL, so Go is strict about colons only here.
            let strict = matches!(scheme, "http" | "https");
            if let Some(colon) = if strict { text.find(':') } else { text.rfind(':') } {
                check_port(text.get(colon..).unwrap_or_default())?;
            }
            return unescape(text, Part::Host);
        }
    }
    let (address, port) = text.rsplit_once(']').ok_or(UrlCause::NoBracket)?;
    let address = address.get(1..).unwrap_or_default();
    check_port(port)?;
    let (address, zone) = address.split_at(address.find("%25").unwrap_or(address.len()));
    let mut unescaped = unescape(address, Part::Host)?;
    unescaped.extend(unescape(zone, Part::Zone)?);
    check_address(&unescaped)?;
    Ok([b"[", unescaped.as_slice(), b"]", port.as_bytes()].concat())
}

/// Whether a text is empty, or a colon and digits.
fn check_port(text: &str) -> Result<(), UrlCause> {
    let digits = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    if text.is_empty() || text.strip_prefix(':').is_some_and(digits) {
        return Ok(());
    }
    Err(UrlCause::Port(Quoted::new(OsStr::new(text))))
}

/// Whether what stands in brackets is an IPv6 address, with or without a zone.
fn check_address(address: &[u8]) -> Result<(), UrlCause> {
    let no_address = || UrlCause::Address(Quoted::new(OsStr::from_bytes(address)));
    let text = std::str::from_utf8(address).map_err(|_| no_address())?;
    let (ip, zone) = match text.split_once('%') {
        Some((ip, zone)) => (ip, Some(zone)),
        None => (text, None),
    };
    if zone.is_none() && ip.parse::<Ipv4Addr>().is_ok() {
        return Err(UrlCause::Literal);
    }
    if ip.parse::<Ipv6Addr>().is_err() || zone == Some("") {
        return Err(no_address());
    }
    Ok(())
}

/// A path or a fragment as it is written again: as it was where that is allowed, else escaped anew.
fn again(text: &str, part: Part) -> Result<String, UrlCause> {
    let unescaped = unescape(text, part)?;
    let allowed = |byte: u8| b"!$&'()*+,;=:@[]%".contains(&byte) || !is_escaped(byte, part);
    Ok(if text.bytes().all(allowed) { text.to_owned() } else { escape(&unescaped, part) })
}

/// Replaces each `%XX` by its byte.
fn unescape(text: &str, part: Part) -> Result<Vec<u8>, UrlCause> {
    let quoted = |bytes: &[u8]| Quoted::new(OsStr::from_bytes(bytes));
    let hex = |digit: &u8| char::from(*digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut unescaped = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        rest = behind;
        let in_host = matches!(part, Part::Host | Part::Zone);
        if *first != b'%' {
            if in_host && first.is_ascii() && is_escaped(*first, part) {
                return Err(UrlCause::Host(quoted(&[*first])));
            }
            unescaped.push(*first);
            continue;
        }
        let digits = match behind {
            [high, low, behind @ ..] => hex(high).zip(hex(low)).map(|(high, low)| (high << 4 | low, behind)),
            _ => None,
        };
        let shown = [b"%", behind.get(..2).unwrap_or(behind)].concat();
        let Some((byte, behind)) = digits else { return Err(UrlCause::Escape(quoted(&shown))) };
        let allowed = match part {
            Part::Host => !byte.is_ascii() || byte == b'%',
            Part::Zone => matches!(byte, b'%' | b' ') || !is_escaped(byte, Part::Host),
            Part::User | Part::Path | Part::Fragment => true,
        };
        if !allowed {
            return Err(UrlCause::Escape(quoted(&shown)));
        }
        unescaped.push(byte);
        rest = behind;
    }
    Ok(unescaped)
}

/// Replaces each byte that a part cannot have by `%XX`.
fn escape(bytes: &[u8], part: Part) -> String {
    let mut escaped = String::with_capacity(bytes.len());
    for &byte in bytes {
        if is_escaped(byte, part) {
            escaped += &format!("%{byte:02X}");
        } else {
            escaped.push(char::from(byte));
        }
    }
    escaped
}

/// Whether a byte is escaped in this part.
fn is_escaped(byte: u8, part: Part) -> bool {
    let others: &[u8] = match part {
        Part::User => b"$&+,;=",
        Part::Host | Part::Zone => b"!$&'()*+,;=:[]<>\"",
        Part::Path => b"$&+,/:;=@",
        Part::Fragment => b"$&+,/:;=?@!()*",
    };
    !byte.is_ascii_alphanumeric() && !b"-_.~".contains(&byte) && !others.contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::cause::chain;

    fn shown(url: &GitUrl) -> (String, bool) {
        (url.with_user(b"us er@x", b"p:%/?#\xff\n~+w"), url.has_path())
    }

    /// Each row is what Go's `net/url` was seen to make of the URL.
    #[test]
    fn a_url_with_a_user_is_written_as_go_writes_it() {
        const USER: &str = "us%20er%40x:p%3A%25%2F%3F%23%FF%0A~+w";
        for (url, expected, has_path) in [
            ("https://github.com", "https://USER@github.com", false),
            ("https://github.com/", "https://USER@github.com/", false),
            ("https://github.com/org/repo.git", "https://USER@github.com/org/repo.git", true),
            ("HTTPS://Me:pw@GitHub.COM:/x?", "https://USER@GitHub.COM:/x?", true),
            ("https://h/a%2fb%20c?q=a b#fr ag(é)", "https://USER@h/a%2fb%20c?q=a b#fr%20ag(%C3%A9)", true),
            ("https://h/a b\"c", "https://USER@h/a%20b%22c", true),
            ("https://é.org", "https://USER@%C3%A9.org", false),
            ("https://%c3%a9.org", "https://USER@%C3%A9.org", false),
            ("https://[fe80::1%25en0]:443/a", "https://USER@[fe80::1%25en0]:443/a", true),
            ("https://h??", "https://USER@h??", false),
            ("https:", "https://USER@", false),
            ("https:h", "https:h", false),
            ("mailto:x", "mailto:x", false),
            ("github.com", "//USER@github.com", true),
            ("//github.com", "//USER@github.com", false),
            ("/path", "//USER@/path", true),
            ("*", "//USER@*", true),
            ("", "//USER@", false),
            ("https://h/%2A", "https://USER@h/%2A", true),
            ("postgres://a:1,b:2", "postgres://USER@a:1,b:2", false),
            ("https://a<b>", "https://USER@a<b>", false),
        ] {
            assert_eq!(shown(&GitUrl::parse(url).unwrap()), (expected.replace("USER", USER), has_path), "{url}");
        }
    }

    #[test]
    fn what_is_no_url_is_told_in_gos_words() {
        for (url, message) in [
            ("https://a:b:80", r#"parse "https://a:b:80": invalid port ":b:80" after host"#),
            ("https://[::1", r#"parse "https://[::1": missing ']' in host"#),
            ("https://a[::1]", r#"parse "https://a[::1]": invalid IP-literal"#),
            ("https://[1.2.3.4]", r#"parse "https://[1.2.3.4]": invalid IP-literal"#),
            ("https://[g]", r#"parse "https://[g]": invalid host: ParseAddr("g"): unable to parse IP"#),
            ("https://a b", r#"parse "https://a b": invalid character " " in host name"#),
            ("https://a%20b", r#"parse "https://a%20b": invalid URL escape "%20""#),
            ("https://h/%zz", r#"parse "https://h/%zz": invalid URL escape "%zz""#),
            ("https://h/%2", r#"parse "https://h/%2": invalid URL escape "%2""#),
            ("https://h/#%zz", r#"parse "https://h/#%zz": invalid URL escape "%zz""#),
            ("https://h/%zz#f", r#"parse "https://h/%zz": invalid URL escape "%zz""#),
            ("https://u er@h", r#"parse "https://u er@h": net/url: invalid userinfo"#),
            (":foo", r#"parse ":foo": missing protocol scheme"#),
            ("1:foo", r#"parse "1:foo": first path segment in URL cannot contain colon"#),
            ("https://h/\u{1}", r#"parse "https://h/\x01": net/url: invalid control character in URL"#),
        ] {
            assert_eq!(chain(&GitUrl::parse(url).unwrap_err()), message);
        }
    }

    #[test]
    fn a_server_without_a_scheme_is_one_of_https() {
        for (text, context, line) in [
            ("github.com", "https://github.com", "https://u:p@github.com"),
            ("github.com:8443", "https://github.com:8443", "https://u:p@github.com:8443"),
            ("127.0.0.1:8443/a", "https://127.0.0.1:8443/a", "https://u:p@127.0.0.1:8443/a"),
            ("github.com/org/repo", "https://github.com/org/repo", "https://u:p@github.com/org/repo"),
            ("github.com/a?u=http://x", "https://github.com/a?u=http://x", "https://u:p@github.com/a?u=http://x"),
            ("//github.com", "https://github.com", "https://u:p@github.com"),
            ("me@github.com", "https://me@github.com", "https://u:p@github.com"),
            // With a scheme it stays as it is, and so does what names no host.
            ("http://github.com", "http://github.com", "http://u:p@github.com"),
            ("git+ssh://h", "git+ssh://h", "git+ssh://u:p@h"),
            ("/path", "/path", "//u:p@/path"),
            ("", "", "//u:p@"),
            ("github.com:org/repo", "github.com:org/repo", "github.com:org/repo"),
            ("mailto:x", "mailto:x", "mailto:x"),
        ] {
            let (shown, url) = server(text).unwrap();
            assert_eq!((shown.as_str(), url.with_user(b"u", b"p").as_str()), (context, line), "{text}");
        }
        assert_eq!(
            chain(&server("git@github.com:org/repo").unwrap_err()),
            r#"parse "git@github.com:org/repo": first path segment in URL cannot contain colon"#
        );
    }
}
