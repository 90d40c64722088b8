//! The values of flags: text to typed value, and what is said of a text that is none.

use std::ffi::{OsStr, OsString};
use std::net::Ipv6Addr;
use std::num::NonZeroU32;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use super::duration::{self, NotADuration};
use crate::cloud::Cloud;
use crate::quote::{OneLine, Quoted};
use crate::spec::{Format, ImagePin, ImageSource, MapRule, MapTarget, OnError, SecretUrl, Timeout};

/// Docker Hub's name in a canonical reference. A build without the lookup reads its flags too, and has no references.
const DOCKER_HUB: &str = "index.docker.io";

/// A flag whose value cannot be used; the first two in Go's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ValueFault {
    #[error("invalid boolean value {value} for -{flag}")]
    Boolean {
        flag: &'static str,
        value: Quoted,
        #[source]
        cause: ValueCause,
    },
    #[error("invalid value {value} for flag -{flag}")]
    Value {
        flag: &'static str,
        value: Quoted,
        #[source]
        cause: ValueCause,
    },
}

/// Why a text is not a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ValueCause {
    // Go's flags say no more than this of a boolean and of a duration.
    #[error("parse error")]
    Parse,
    #[error("it is not UTF-8")]
    Encoding,
    #[error("it is not a duration; write a number with a unit, such as 30s or 1m30s")]
    Duration,
    #[error("it must be longer than zero")]
    NotPositive,
    #[error("it is not a name that Kubernetes allows there")]
    KubernetesName,
    #[error("write the registry, an equals sign and the path of a PEM file, as in registry.example.com:5000=/ca.pem")]
    Certificate,
    #[error(
        "write the registry, an equals sign, the path of a PEM file with the certificate, a comma and that of its key, as \
         in registry.example.com:5000=/client.crt,/client.key"
    )]
    ClientCertificate,
    #[error("a platform is written as os/architecture or os/architecture/variant, as in linux/amd64 or linux/arm/v7")]
    Platform,
    #[error("a registry is written as host or host:port, without a scheme and without a path")]
    Registry,
    #[error(
        "write the registry, an equals sign and where its images are asked for, each with a dot or a port in its host, as in \
         docker.io=mirror.example.com/hub or localhost:30500=http://registry:5000"
    )]
    Map,
    #[error("write where to ask, with a dot or a port in its host, as in mirror.example.com/hub or http://mirror:5000")]
    Mirror,
    #[error(
        "write tcp://HOST:PORT, http://HOST[:PORT]/PATH, https://HOST[:PORT]/PATH or docker, and commas between them"
    )]
    Endpoint,
    #[error("an endpoint is asked without a user and a password: leave out what stands before the @")]
    EndpointUser,
    #[error("the clouds are google, ecr and acr; leave the flag's value empty for none")]
    Cloud,
    #[error("this entrypoint was built without the feature {feature}")]
    CloudNotBuilt { feature: &'static str },
    #[error("write registry, docker, or both in the order in which they are asked, as in docker,registry")]
    Sources,
    #[error("write registry or docker")]
    Source,
    #[error("write text or json")]
    Format,
    #[error("write pod-status or registry")]
    Pin,
    #[error("a result's name has letters, digits, '-', '_' and '.' only, and begins with a letter or '_'")]
    Result,
    #[error("it must not be negative")]
    Negative,
    #[error("write how many containers, a number from 1 on")]
    Containers,
    // Tekton's words.
    #[error("expect entries of the form secret=url, got: {0}")]
    SecretUrl(OneLine),
}

/// How an answer is told.
pub(super) fn format(value: &OsStr) -> Result<Format, ValueCause> {
    match value.as_bytes() {
        b"text" => Ok(Format::Text),
        b"json" => Ok(Format::Json),
        _ => Err(ValueCause::Format),
    }
}

/// Whose word decides which image it is.
pub(super) fn pin(value: &OsStr) -> Result<ImagePin, ValueCause> {
    match value.as_bytes() {
        b"pod-status" => Ok(ImagePin::PodStatus),
        b"registry" => Ok(ImagePin::Registry),
        _ => Err(ValueCause::Pin),
    }
}

/// Who is asked for an image.
pub(super) fn source(value: &OsStr) -> Result<ImageSource, ValueCause> {
    match value.as_bytes() {
        b"registry" => Ok(ImageSource::Registry),
        b"docker" => Ok(ImageSource::Docker),
        _ => Err(ValueCause::Source),
    }
}

/// Who is asked for an image, in order; somebody, and nobody twice.
pub(super) fn sources(value: &OsStr) -> Result<Vec<ImageSource>, ValueCause> {
    let mut sources = Vec::new();
    for word in value.as_bytes().split(|&byte| byte == b',') {
        let source = source(OsStr::from_bytes(word)).map_err(|_| ValueCause::Sources)?;
        if sources.contains(&source) {
            return Err(ValueCause::Sources);
        }
        sources.push(source);
    }
    Ok(sources)
}

/// A Go boolean.
pub(super) fn boolean(value: &OsStr) -> Result<bool, ValueCause> {
    match value.as_bytes() {
        b"1" | b"t" | b"T" | b"TRUE" | b"true" | b"True" => Ok(true),
        b"0" | b"f" | b"F" | b"FALSE" | b"false" | b"False" => Ok(false),
        _ => Err(ValueCause::Parse),
    }
}

/// Any value, as it is.
pub(super) fn verbatim(value: &OsStr) -> Result<OsString, ValueCause> {
    Ok(value.to_owned())
}

/// A path; its existence is nobody's business here.
pub(super) fn path(value: &OsStr) -> Result<PathBuf, ValueCause> {
    Ok(value.into())
}

/// Text; the empty one means that the flag was not given.
pub(super) fn text(value: &OsStr) -> Result<Option<String>, ValueCause> {
    let text = value.to_str().ok_or(ValueCause::Encoding)?;
    Ok(Some(text.to_owned()).filter(|text| !text.is_empty()))
}

/// Paths, separated by commas; empty ones are skipped.
pub(super) fn paths(value: &OsStr) -> Result<Vec<PathBuf>, ValueCause> {
    let elements = value.as_bytes().split(|&byte| byte == b',').filter(|element| !element.is_empty());
    Ok(elements.map(|element| OsStr::from_bytes(element).into()).collect())
}

/// Result names, separated by commas. When the first one is empty there are none; other empty ones are skipped.
pub(super) fn results(value: &OsStr) -> Result<Vec<String>, ValueCause> {
    let text = value.to_str().ok_or(ValueCause::Encoding)?;
    if text.is_empty() || text.starts_with(',') {
        return Ok(Vec::new());
    }
    Ok(elements(text).map(str::to_owned).collect())
}

/// The time limit of a step.
pub(super) fn timeout(value: &OsStr) -> Result<Timeout, ValueCause> {
    match value.to_str().ok_or(NotADuration).and_then(duration::parse) {
        Ok(0) => Ok(Timeout::Unlimited),
        Ok(nanoseconds) => {
            Ok(u64::try_from(nanoseconds).map_or(Timeout::Negative, |n| Timeout::After(Duration::from_nanos(n))))
        }
        Err(NotADuration) => Err(ValueCause::Parse),
    }
}

/// A duration that bounds something, so it is longer than zero.
pub(super) fn bound(value: &OsStr) -> Result<Duration, ValueCause> {
    let nanoseconds = value.to_str().ok_or(NotADuration).and_then(duration::parse);
    match u64::try_from(nanoseconds.map_err(|NotADuration| ValueCause::Duration)?) {
        Ok(nanoseconds @ 1..) => Ok(Duration::from_nanos(nanoseconds)),
        Ok(0) | Err(_) => Err(ValueCause::NotPositive),
    }
}

/// A duration that may be none at all.
pub(super) fn grace(value: &OsStr) -> Result<Duration, ValueCause> {
    let nanoseconds = value.to_str().ok_or(NotADuration).and_then(duration::parse);
    let nanoseconds = nanoseconds.map_err(|NotADuration| ValueCause::Duration)?;
    u64::try_from(nanoseconds).map(Duration::from_nanos).map_err(|_| ValueCause::Negative)
}

/// JSON, which is read when everything else of the command line is understood.
pub(super) fn when(value: &OsStr) -> Result<String, ValueCause> {
    value.to_str().map(str::to_owned).ok_or(ValueCause::Encoding)
}

/// Whether results go into the termination message.
pub(super) fn result_from(value: &OsStr) -> Result<bool, ValueCause> {
    Ok(value == super::flags::TERMINATION_MESSAGE)
}

/// How many containers.
pub(super) fn containers(value: &OsStr) -> Result<NonZeroU32, ValueCause> {
    value.to_str().and_then(|text| text.parse().ok()).ok_or(ValueCause::Containers)
}

/// A secret and what it is for. Further `=`, which Tekton refuses, are the URL's: the name of a secret has none.
pub(super) fn secret_url(value: &OsStr) -> Result<SecretUrl, ValueCause> {
    let text = value.to_str().ok_or(ValueCause::Encoding)?;
    match text.split_once('=') {
        Some((secret, url)) => Ok(SecretUrl { secret: secret.to_owned(), url: url.to_owned() }),
        None => Err(ValueCause::SecretUrl(OneLine(text.to_owned()))),
    }
}

/// A secret's name; the empty one too, as Tekton has it: its directory is the one of all secrets.
pub(super) fn secret(value: &OsStr) -> Result<String, ValueCause> {
    value.to_str().map(str::to_owned).ok_or(ValueCause::Encoding)
}

/// What a failure means: only the exact word has an effect.
pub(super) fn on_error(value: &OsStr) -> Result<OnError, ValueCause> {
    Ok(if value == "continue" { OnError::Continue } else { OnError::StopAndFail })
}

/// A namespace: an RFC 1123 label.
/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-label-names>
pub(super) fn namespace(value: &OsStr) -> Result<Option<String>, ValueCause> {
    kubernetes_name(value, is_label)
}

/// The name of a service account: an RFC 1123 subdomain, at most 253 bytes.
/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-subdomain-names>
pub(super) fn service_account(value: &OsStr) -> Result<Option<String>, ValueCause> {
    kubernetes_name(value, is_subdomain)
}

/// Names of secrets, separated by commas; empty ones are skipped.
/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-subdomain-names>
pub(super) fn pull_secrets(value: &OsStr) -> Result<Vec<String>, ValueCause> {
    let text = value.to_str().ok_or(ValueCause::Encoding)?;
    let names: Vec<_> = elements(text).map(str::to_owned).collect();
    if names.iter().all(|name| is_subdomain(name)) { Ok(names) } else { Err(ValueCause::KubernetesName) }
}

/// The name of a container: an RFC 1123 label.
pub(super) fn container(value: &OsStr) -> Result<Option<String>, ValueCause> {
    kubernetes_name(value, is_label)
}

/// The name of one result, which becomes that of a file. Empty means that it was not given.
/// <https://tekton.dev/docs/pipelines/tasks/#emitting-results>
pub(super) fn result(value: &OsStr) -> Result<Option<String>, ValueCause> {
    let name = text(value)?;
    let first = |character: char| character.is_ascii_alphabetic() || character == '_';
    let other = |character: char| character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.');
    let valid = |name: &str| name.len() <= 253 && name.starts_with(first) && name.chars().all(other);
    if name.as_deref().is_none_or(valid) { Ok(name) } else { Err(ValueCause::Result) }
}

/// A name that goes into an address of the API server, so it must be one. Empty means that it was not given.
fn kubernetes_name(value: &OsStr, valid: impl Fn(&str) -> bool) -> Result<Option<String>, ValueCause> {
    let name = text(value)?;
    if name.as_deref().is_none_or(valid) { Ok(name) } else { Err(ValueCause::KubernetesName) }
}

/// Kubernetes bounds a subdomain only as a whole, so a part of it may be longer than a label.
fn is_subdomain(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(is_part)
}

fn is_label(label: &str) -> bool {
    label.len() <= 63 && is_part(label)
}

fn is_part(part: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !part.is_empty() && part.chars().all(inner) && !part.starts_with('-') && !part.ends_with('-')
}

/// `registry=path`; the empty text adds nothing.
pub(super) fn certificate(value: &OsStr) -> Result<Option<(String, PathBuf)>, ValueCause> {
    let bytes = value.as_bytes();
    if bytes.is_empty() {
        return Ok(None);
    }
    let mut halves = bytes.splitn(2, |&byte| byte == b'=').map(OsStr::from_bytes);
    match (halves.next().and_then(OsStr::to_str), halves.next()) {
        (Some(host), Some(path)) if !path.is_empty() && is_registry(host) => Ok(Some((host.to_owned(), path.into()))),
        _ => Err(ValueCause::Certificate),
    }
}

/// Registries, separated by commas; empty ones are skipped.
pub(super) fn registries(value: &OsStr) -> Result<Vec<String>, ValueCause> {
    let text = value.to_str().ok_or(ValueCause::Encoding)?;
    let hosts: Vec<_> = elements(text).map(str::to_owned).collect();
    if hosts.iter().all(|host| is_registry(host)) { Ok(hosts) } else { Err(ValueCause::Registry) }
}

/// Where the images of a registry, or some of them, are asked for; the empty text adds nothing.
pub(super) fn map_rule(value: &OsStr) -> Result<Option<MapRule>, ValueCause> {
    let Some(text) = text(value)? else { return Ok(None) };
    let (key, target) = text.split_once('=').ok_or(ValueCause::Map)?;
    match (place(key), target_of(target)) {
        (Some((registry, prefix)), Some(target)) => Ok(Some(MapRule { registry, prefix, target })),
        (None, _) | (_, None) => Err(ValueCause::Map),
    }
}

/// Where Docker Hub's images are asked for; the empty text adds nothing.
pub(super) fn mirror(value: &OsStr) -> Result<Option<MapTarget>, ValueCause> {
    let Some(text) = text(value)? else { return Ok(None) };
    target_of(&text).map(Some).ok_or(ValueCause::Mirror)
}

/// `[scheme://]host[:port][/path]`.
fn target_of(text: &str) -> Option<MapTarget> {
    let (https, rest) = match text.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (Some(true), rest),
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (Some(false), rest),
        Some(_) => return None,
        None => (None, text),
    };
    let (registry, prefix) = place(rest)?;
    Some(MapTarget { https, registry, prefix })
}

/// `host[:port][/path]`, as a reference has them: the host in lower case, Docker Hub under one name. A slash at the end
/// changes nothing.
fn place(text: &str) -> Option<(String, String)> {
    let text = text.strip_suffix('/').unwrap_or(text);
    let (registry, path) = text.split_once('/').map_or((text, None), |(registry, path)| (registry, Some(path)));
    let is_named = registry == "localhost" || registry.contains(['.', ':']);
    let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-' | '.');
    let is_part = |part: &str| !matches!(part, "" | "." | "..") && part.chars().all(letter);
    if !is_named || !is_registry(registry) || !path.is_none_or(|path| path.split('/').all(is_part)) {
        return None;
    }
    let registry = match registry.to_ascii_lowercase() {
        hub if hub == "docker.io" => DOCKER_HUB.to_owned(),
        other => other,
    };
    Some((registry, path.unwrap_or_default().to_owned()))
}

/// Clouds whose identities may be asked for; empty for none.
pub(super) fn clouds(value: &OsStr) -> Result<Vec<Cloud>, ValueCause> {
    let cloud = |word: &str| match Cloud::from_word(word) {
        Some(cloud) if cloud.is_built() => Ok(cloud),
        Some(cloud) => Err(ValueCause::CloudNotBuilt { feature: cloud.feature() }),
        None => Err(ValueCause::Cloud),
    };
    elements(value.to_str().ok_or(ValueCause::Encoding)?).map(cloud).collect()
}

/// A registry, the PEM file of a certificate and that of its key; empty for none.
pub(super) fn client_certificate(value: &OsStr) -> Result<Option<(String, PathBuf, PathBuf)>, ValueCause> {
    if value.is_empty() {
        return Ok(None);
    }
    let bytes = value.as_bytes();
    let (registry, files) = split_at(bytes, b'=').ok_or(ValueCause::ClientCertificate)?;
    let (certificate, key) = split_at(files, b',').ok_or(ValueCause::ClientCertificate)?;
    let registry = std::str::from_utf8(registry).map_err(|_| ValueCause::Encoding)?;
    if !is_registry(registry) || certificate.is_empty() || key.is_empty() || key.contains(&b',') {
        return Err(ValueCause::ClientCertificate);
    }
    let path = |bytes| PathBuf::from(OsStr::from_bytes(bytes));
    Ok(Some((registry.to_owned(), path(certificate), path(key))))
}

/// What stands before and behind the first such byte.
fn split_at(bytes: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let position = bytes.iter().position(|&byte| byte == separator)?;
    Some((bytes.get(..position)?, bytes.get(position + 1..)?))
}

/// A platform in Go's words, which are in lower case; empty means that it was not given.
pub(super) fn platform(value: &OsStr) -> Result<Option<String>, ValueCause> {
    let word = |part: &str| {
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-' | '.');
        !part.is_empty() && part.len() <= 32 && part.chars().all(inner)
    };
    let sound = |text: &str| (2..=3).contains(&text.split('/').count()) && text.split('/').all(word);
    let platform = text(value)?;
    if platform.as_deref().is_none_or(sound) { Ok(platform) } else { Err(ValueCause::Platform) }
}

/// Whether a text is `host` or `host:port`. An IPv6 address stands in brackets.
pub(super) fn is_registry(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        Some(_) | None => (text, None),
    };
    let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')),
    };
    let is_port = |port: &str| port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|p| p > 0);
    host && port.is_none_or(is_port)
}

/// The elements between commas that are not empty.
pub(super) fn elements(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').filter(|element| !element.is_empty())
}

#[cfg(test)]
mod tests;
