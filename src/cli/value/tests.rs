//! Each kind of value, from its text to its meaning or to what is wrong with it.

use super::*;

fn os(text: &str) -> &OsStr {
    OsStr::new(text)
}

#[test]
fn go_booleans() {
    for text in ["1", "t", "T", "TRUE", "true", "True"] {
        assert_eq!(boolean(os(text)), Ok(true), "{text}");
    }
    for text in ["0", "f", "F", "FALSE", "false", "False"] {
        assert_eq!(boolean(os(text)), Ok(false), "{text}");
    }
    for text in ["", "yes", "tRUE", " true", "2", "maybe"] {
        assert_eq!(boolean(os(text)), Err(ValueCause::Parse), "{text}");
    }
}

#[test]
fn sources_of_images_are_named_once_each() {
    use ImageSource::{Docker, Registry};
    for (text, expected) in [
        ("registry", Some(vec![Registry])),
        ("docker", Some(vec![Docker])),
        ("registry,docker", Some(vec![Registry, Docker])),
        ("docker,registry", Some(vec![Docker, Registry])),
        ("", None),
        ("docker,", None),
        (",docker", None),
        ("docker,docker", None),
        ("registry,docker,registry", None),
        ("Docker", None),
        ("docker registry", None),
        ("podman", None),
    ] {
        assert_eq!(sources(os(text)), expected.ok_or(ValueCause::Sources), "{text:?}");
    }
    assert_eq!((source(os("docker")), source(os("registry"))), (Ok(Docker), Ok(Registry)));
    for text in ["", "docker,registry", "podman"] {
        assert_eq!(source(os(text)), Err(ValueCause::Source), "{text:?}");
    }
}

#[test]
fn result_names_by_tektons_rule_for_the_first_one() {
    for (text, names) in [
        ("", &[][..]),
        (",foo", &[]),
        (",", &[]),
        ("foo", &["foo"]),
        ("foo,bar", &["foo", "bar"]),
        ("foo,,bar,", &["foo", "bar"]),
        (" foo", &[" foo"]),
    ] {
        assert_eq!(results(os(text)).unwrap(), names, "{text:?}");
    }
    assert_eq!(results(OsStr::from_bytes(b"\xff")), Err(ValueCause::Encoding));
}

#[test]
fn paths_between_commas() {
    for (text, expected) in [("", &[][..]), (",", &[]), ("/a", &["/a"]), (",/a,,b c,", &["/a", "b c"])] {
        assert_eq!(paths(os(text)).unwrap(), expected.iter().map(PathBuf::from).collect::<Vec<_>>(), "{text:?}");
    }
    let raw = OsStr::from_bytes(b"/\xff,/b");
    assert_eq!(paths(raw).unwrap(), [PathBuf::from(OsStr::from_bytes(b"/\xff")), "/b".into()]);
}

#[test]
fn time_limits() {
    for (text, expected) in [
        ("0", Ok(Timeout::Unlimited)),
        ("0s", Ok(Timeout::Unlimited)),
        ("1h0m0s", Ok(Timeout::After(Duration::from_secs(3600)))),
        ("300ms", Ok(Timeout::After(Duration::from_millis(300)))),
        ("-1s", Ok(Timeout::Negative)),
        ("10", Err(ValueCause::Parse)),
        ("", Err(ValueCause::Parse)),
    ] {
        assert_eq!(timeout(os(text)), expected, "{text}");
    }
    for (text, expected) in [
        ("1m30s", Ok(Duration::from_secs(90))),
        ("0", Err(ValueCause::NotPositive)),
        ("-1s", Err(ValueCause::NotPositive)),
        ("30", Err(ValueCause::Duration)),
    ] {
        assert_eq!(bound(os(text)), expected, "{text}");
    }
}

#[test]
fn names_that_go_into_an_api_address_are_names() {
    let (long, too_long) = ("a".repeat(64), "a".repeat(254));
    for (text, as_namespace, as_account) in [
        ("default", true, true),
        ("team-1", true, true),
        ("a.b", false, true),
        ("Team", false, false),
        ("-a", false, false),
        ("a-", false, false),
        ("a..b", false, false),
        ("../secrets", false, false),
        ("a/b", false, false),
        ("a b", false, false),
        (long.as_str(), false, true),
        (too_long.as_str(), false, false),
    ] {
        assert_eq!(namespace(os(text)).is_ok(), as_namespace, "{text}");
        assert_eq!(service_account(os(text)).is_ok(), as_account, "{text}");
    }
    assert_eq!((namespace(os("")), service_account(os(""))), (Ok(None), Ok(None)));
    assert_eq!(pull_secrets(os("a.b,,regcred-1,")).unwrap(), ["a.b", "regcred-1"]);
    assert_eq!(pull_secrets(os("")).unwrap(), [""; 0]);
    for text in ["a,../b", "A", "a, b", "a/b"] {
        assert_eq!(pull_secrets(os(text)), Err(ValueCause::KubernetesName), "{text}");
    }
    assert_eq!(pull_secrets(OsStr::from_bytes(b"\xff")), Err(ValueCause::Encoding));
}

#[test]
fn registries_are_hosts() {
    for text in ["r", "r.example.com", "r:5000", "127.0.0.1:5000", "[::1]", "[::1]:5000", "my_reg.local:1", "R.io"] {
        assert!(is_registry(text), "{text}");
    }
    for text in
        ["", ":5000", "r:", "r:0", "r:65536", "r:+1", "r:x", "http://r", "r/path", "r b", "::1", "[x]", "[]:1", "r=x"]
    {
        assert!(!is_registry(text), "{text}");
    }
    assert_eq!(registries(os("a,,b:1,")).unwrap(), ["a", "b:1"]);
    assert_eq!(registries(os("")).unwrap(), [""; 0]);
    assert_eq!(registries(os("a,http://b")), Err(ValueCause::Registry));
}

#[test]
fn platforms_have_two_or_three_parts() {
    assert_eq!(platform(os("")), Ok(None));
    for text in ["linux/amd64", "linux/arm/v7", "linux/arm64/v8.1", "wasip1/wasm"] {
        assert_eq!(platform(os(text)), Ok(Some(text.to_owned())));
    }
    let long = format!("linux/{}", "a".repeat(33));
    for text in
        ["linux", "linux/", "/amd64", "linux/arm/", "linux//v7", "linux/arm/v7/x", "Linux/amd64", "linux/a b", &long]
    {
        assert_eq!(platform(os(text)), Err(ValueCause::Platform), "{text}");
    }
    assert_eq!(platform(OsStr::from_bytes(b"linux/\xff")), Err(ValueCause::Encoding));
}

#[test]
fn a_secret_and_its_url_are_split_at_the_first_equals_sign() {
    for (text, secret, url) in [
        ("s=https://r.example.com", "s", "https://r.example.com"),
        ("s=https://r/?a=b&c=d", "s", "https://r/?a=b&c=d"),
        ("=", "", ""),
        ("s=", "s", ""),
    ] {
        assert_eq!(secret_url(os(text)), Ok(SecretUrl { secret: secret.to_owned(), url: url.to_owned() }), "{text}");
    }
    for (text, message) in [
        ("", "expect entries of the form secret=url, got: "),
        ("secret", "expect entries of the form secret=url, got: secret"),
        ("a\nb", "expect entries of the form secret=url, got: a\\nb"),
    ] {
        assert_eq!(secret_url(os(text)).unwrap_err().to_string(), message);
    }
    assert_eq!(secret_url(OsStr::from_bytes(b"s=\xff")), Err(ValueCause::Encoding));
}

#[test]
fn certificates_are_a_registry_and_a_path() {
    let pair = |host: &str, path: &str| Ok(Some((host.to_owned(), PathBuf::from(path))));
    for (text, expected) in [
        ("", Ok(None)),
        ("r:5000=/ca.pem", pair("r:5000", "/ca.pem")),
        ("r=/a=b.pem", pair("r", "/a=b.pem")),
        ("[::1]:5000=ca.pem", pair("[::1]:5000", "ca.pem")),
        ("/ca.pem", Err(ValueCause::Certificate)),
        ("r=", Err(ValueCause::Certificate)),
        ("=/ca.pem", Err(ValueCause::Certificate)),
        ("https://r=/ca.pem", Err(ValueCause::Certificate)),
    ] {
        assert_eq!(certificate(os(text)), expected, "{text}");
    }
}

#[test]
fn client_certificates_are_a_registry_and_two_files() {
    let files = |host: &str, certificate: &str, key: &str| {
        Ok(Some((host.to_owned(), PathBuf::from(certificate), PathBuf::from(key))))
    };
    for (text, expected) in [
        ("", Ok(None)),
        ("r:5000=/c.crt,/c.key", files("r:5000", "/c.crt", "/c.key")),
        ("r=/a=b.pem,/a=b.pem", files("r", "/a=b.pem", "/a=b.pem")),
        ("r=/c.crt", Err(ValueCause::ClientCertificate)),
        ("r=/c.crt,", Err(ValueCause::ClientCertificate)),
        ("r=,/c.key", Err(ValueCause::ClientCertificate)),
        ("r=/a,/b,/c", Err(ValueCause::ClientCertificate)),
        ("/c.crt,/c.key", Err(ValueCause::ClientCertificate)),
        ("https://r=/c.crt,/c.key", Err(ValueCause::ClientCertificate)),
    ] {
        assert_eq!(client_certificate(os(text)), expected, "{text}");
    }
}

#[test]
fn clouds_are_words_between_commas_of_those_that_were_built() {
    let (built, absent): (Vec<Cloud>, Vec<Cloud>) = Cloud::ALL.into_iter().partition(|cloud| cloud.is_built());
    let read = |text: &str| clouds(os(text)).map_err(|error| error.to_string());
    assert_eq!((read(""), read(",")), (Ok(Vec::new()), Ok(Vec::new())));
    let words: Vec<&str> = built.iter().map(|cloud| cloud.word()).collect();
    assert_eq!(read(&words.join(",")), Ok(built.clone()));
    for cloud in built {
        assert_eq!(read(&format!(",{},", cloud.word())), Ok(vec![cloud]));
    }
    for cloud in absent {
        let expected = format!("this entrypoint was built without the feature {}", cloud.feature());
        assert_eq!(read(cloud.word()), Err(expected));
    }
    for unknown in ["gcr", "aws", "Google", " ", "none", "\u{e9}"] {
        let expected = "the clouds are google, ecr and acr; leave the flag's value empty for none";
        assert_eq!(read(unknown), Err(expected.to_owned()), "{unknown}");
    }
}
