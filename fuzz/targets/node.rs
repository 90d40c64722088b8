//! What a node, its kubelet and the environment say: `hosts.toml`, `registries.conf`, mounts, proxies.

use std::net::Ipv4Addr;
use std::path::Path;

use entrypoint::host::Env;
use entrypoint::http::ProxySettings;
use entrypoint::image::Reference;
use entrypoint::kube::OwnContainer;
use entrypoint::registry::node_files::NodeFileError;
use entrypoint::registry::node_files::fuzzing::{hosts_toml, registries_conf};
use entrypoint::registry::{Origin, Places};
use entrypoint::sys::cause::chain;
use reqwest::Url;

use super::{PASSWORD, Target, check_error, check_keeps, check_told, headed, lines};

pub(super) const HOSTS_TOML: Target = Target {
    name: "hosts_toml",
    check: hosts,
    words: &[
        "server = \"https://m.example\"\n",
        "[host.\"https://m.example:5000/v2/x\"]\n",
        "[host.\"http://localhost\"]\n",
        "capabilities = [\"pull\", \"resolve\"]\n",
        "override_path = true\n",
        "skip_verify = true\n",
        "ca = \"ca.pem\"\n",
        "client = [[\"c.crt\", \"c.key\"]]\n",
        "header",
        "\"\"\"",
        "'''",
        "\\u0000",
        "r.example/ci/app:1\n",
        "busybox\n",
        "http://",
        "/../",
    ],
};

/// The input is a line with an image, and the file.
fn hosts(data: &[u8]) {
    let Some((image, bytes)) = headed(data) else { return };
    let Ok(reference) = image.parse::<Reference>() else { return };
    let path = Path::new("/certs.d/r/hosts.toml");
    let found = hosts_toml(path, bytes, &reference);
    check_places(&found, &reference, bytes);
    // Headers are for others.
    if !contains(data, PASSWORD.as_bytes()) {
        let header = format!("\n[host.\"https://z.example\".header]\nAuthorization = \"Bearer {PASSWORD}\"\n");
        let longer = [bytes, header.as_bytes()].concat();
        match hosts_toml(path, &longer, &reference) {
            Ok(places) => places.notes.iter().for_each(|note| check_keeps(&note.to_string())),
            Err(error) => check_keeps(&chain(&error)),
        }
    }
}

pub(super) const REGISTRIES_CONF: Target = Target {
    name: "registries_conf",
    check: registries,
    words: &[
        "[[registry]]\n",
        "[[registry.mirror]]\n",
        "prefix = \"r.example\"\n",
        "prefix = \"*.example\"\n",
        "location = \"m.example/x\"\n",
        "insecure = true\n",
        "blocked = true\n",
        "mirror-by-digest-only = true\n",
        "pull-from-mirror = \"digest-only\"\n",
        "unqualified-search-registries = []\n",
        "r.example/ci/app:1\n",
        "busybox\n",
        "@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n",
    ],
};

/// The input is a line with an image, and the file. To read it twice is to read it once.
fn registries(data: &[u8]) {
    let Some((image, bytes)) = headed(data) else { return };
    let Ok(reference) = image.parse::<Reference>() else { return };
    let path = Path::new("/etc/containers/registries.conf");
    let found = registries_conf(&[(path, bytes)], &reference);
    check_places(&found, &reference, bytes);
    let twice = registries_conf(&[(path, bytes), (path, bytes)], &reference);
    match (&found, &twice) {
        (Ok(once), Ok(twice)) => assert_eq!(once.routes, twice.routes),
        (Err(once), Err(twice)) => assert_eq!(chain(once), chain(twice)),
        (once, twice) => panic!("{once:?} and {twice:?}"),
    }
}

/// What a file says about an image: the same image elsewhere, by paths that stay where they are; or what is wrong, and
/// where in the file.
fn check_places(found: &Result<Places, NodeFileError>, reference: &Reference, bytes: &[u8]) {
    let places = match found {
        Ok(places) => places,
        Err(error) => {
            check_error(error);
            if let NodeFileError::Broken { line, column, .. } = error {
                let lines: Vec<_> = bytes.split(|byte| *byte == b'\n').collect();
                let here = line.checked_sub(1).and_then(|line| lines.get(line)).expect("a line of the file");
                assert!((1..=here.len() + 1).contains(column), "line {line}, column {column}");
            }
            return;
        }
    };
    assert!(places.notes.len() <= 51);
    places.notes.iter().for_each(|note| check_told(&note.to_string()));
    for route in &places.routes {
        check_told(&route.reference.to_string());
        check_told(&route.origin.to_string());
        assert_eq!(route.reference.digest(), reference.digest(), "no file chooses another image");
        assert_eq!(
            route.reference.to_string().parse::<Reference>().as_ref().map(ToString::to_string),
            Ok(route.reference.to_string())
        );
        let path = &route.api.path;
        let plain = |segment: &str| !matches!(segment, "" | "." | "..");
        assert!(path.is_empty() || path.split('/').all(plain), "{path:?}");
        if let Origin::Reference = route.origin {
            assert_eq!(route.reference.repository(), reference.repository());
        }
        let url = format!("https://{}/{path}", route.reference.registry());
        if let Ok(url) = Url::parse(&url) {
            assert_eq!(url.path(), format!("/{path}"), "{url}");
        }
    }
}

fn contains(data: &[u8], wanted: &[u8]) -> bool {
    data.windows(wanted.len()).any(|window| window == wanted)
}

pub(super) const MOUNTINFO: Target = Target {
    name: "mountinfo",
    check: mounts,
    words: &[
        "1201 1190 8:1 ",
        "/var/lib/kubelet/pods/",
        "0a4c9bd6-1f0b-4b9c-9f2e-6d8f3f1f2a11",
        "/containers/",
        "step-build/5d1e2f3a",
        " /dev/termination-log ",
        " rw,relatime shared:5 - ext4 /dev/sda1 rw\n",
        "//deleted",
        "\\040",
        "\\777",
    ],
};

/// The mounts of a container. Only one at the place itself tells anything, and the last one tells it.
fn mounts(data: &[u8]) {
    let place = Path::new("/dev/termination-log");
    let found = match OwnContainer::of_mounts(data, place) {
        Ok(own) => {
            check_told(&format!("{} {}", own.pod_uid, own.name));
            assert!((1..=63).contains(&own.name.len()) && (1..=63).contains(&own.pod_uid.len()), "{own:?}");
            assert!(own.name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'), "{own:?}");
            assert!(own.pod_uid.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'), "{own:?}");
            Ok(own)
        }
        Err(error) => {
            check_error(&error);
            Err(error.to_string())
        }
    };
    let behind = |root: &str, place: &str| {
        let line = format!("\n1 2 8:1 {root} {place} rw - ext4 /dev/sda1 rw\n");
        let all = [data, line.as_bytes()].concat();
        OwnContainer::of_mounts(&all, Path::new("/dev/termination-log")).map_err(|error| error.to_string())
    };
    assert_eq!(behind("/x/pods/u-1/containers/other/9", "/dev/termination-logs"), found);
    let hides = behind("/x/pods/u-1/containers/other/9", "/dev/termination\\055log").expect("a container");
    assert_eq!((hides.pod_uid.as_str(), hides.name.as_str()), ("u-1", "other"));
    assert!(behind("/tmp", "/dev/termination-log").is_err());
}

pub(super) const PROXY: Target = Target {
    name: "proxy",
    check: proxies,
    words: &[
        "http://",
        "https://",
        "socks5://",
        "proxy.example:3128",
        "user:hunter2@",
        "localhost",
        "127.0.0.1",
        "169.254.169.254",
        "10.0.0.0/8",
        "fd00::/8",
        "[::1]",
        ".example.com",
        "*.example.com",
        "*",
        ",",
        "%41",
    ],
};

/// The lines are `HTTPS_PROXY`, `HTTP_PROXY`, two halves of `NO_PROXY`, and the authority that is asked.
fn proxies(data: &[u8]) {
    let Some([https, http, one, other, authority]) = lines(data) else { return };
    let read = |https: &str, exceptions: &str| {
        let variables = [("HTTPS_PROXY", https), ("HTTP_PROXY", http), ("NO_PROXY", exceptions)];
        ProxySettings::from_env(&variables.into_iter().collect::<Env>())
    };
    let settings = match read(https, one) {
        Ok(settings) => settings,
        Err(error) => {
            let told = chain(&error);
            check_told(&told);
            // Which variable, never what is in it.
            assert!(told.contains("HTTPS_PROXY") || told.contains("HTTP_PROXY"), "{told}");
            assert!(told.len() < 300, "{told}");
            return;
        }
    };
    for scheme in ["https", "http"] {
        let Ok(url) = Url::parse(&format!("{scheme}://{authority}/")) else { continue };
        let taken = settings.proxy_for(&url);
        if let Some(proxy) = taken {
            let told = proxy.to_string();
            check_told(&told);
            assert!(!told.contains('@'), "{told}");
            let host = url.host_str().unwrap_or("").trim_end_matches('.');
            let here = host.parse().is_ok_and(|own: Ipv4Addr| own.is_loopback() || own.is_link_local());
            assert!(!here && host != "localhost" && host != "[::1]", "{url} by {told}");
        }
        // An exception more is never a request more through the proxy.
        if let Ok(fewer) = read(https, &format!("{one},{other}")) {
            assert!(taken.is_some() || fewer.proxy_for(&url).is_none(), "{url}");
        }
        assert!(read(https, &format!("{other},*")).is_ok_and(|none| none.proxy_for(&url).is_none()), "{url}");
    }
    for (_, password) in settings.users() {
        assert_eq!(format!("{password:?}"), "Secret(redacted)");
    }
    // With a password in it a proxy is told without: with another one it is told the same.
    if let Some((scheme, rest)) = https.split_once("://").filter(|_| !https.contains(['@', '\\'])) {
        let told = |password: &str| match read(&format!("{scheme}://ann:{password}@{rest}"), "") {
            Ok(settings) => {
                let url = Url::parse("https://registry.example/").expect("a URL");
                let proxy = settings.proxy_for(&url).map(|proxy| proxy.to_string());
                format!("{} {settings:?}", proxy.unwrap_or_default())
            }
            Err(error) => chain(&error),
        };
        check_told(&told(PASSWORD));
        assert_eq!(told(PASSWORD), told("dolphin"));
    }
}
