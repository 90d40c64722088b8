//! The system's certificate authorities: where they are looked for, and what is there.
//!
//! The rules are those of Go's [`crypto/x509`](https://github.com/golang/go/blob/go1.25.0/src/crypto/x509/root_unix.go),
//! because operators set its variables for Tekton: `SSL_CERT_FILE` replaces the list of files and leaves the directories,
//! `SSL_CERT_DIR` the other way round.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::host::Env;
use crate::image::shown;
use crate::note::Note;
use crate::sys::cause::chain;
use crate::sys::file::{self, FileError};

/// The bundles of the usual distributions, in Go's order; the first that can be read is the only one.
/// <https://github.com/golang/go/blob/go1.25.0/src/crypto/x509/root_linux.go>
const FILES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
/// The directories of the usual distributions; all are read.
const DIRECTORIES: [&str; 2] = ["/etc/ssl/certs", "/etc/pki/tls/certs"];

/// Replaces the list of files.
const FILE_VARIABLE: &str = "SSL_CERT_FILE";
/// Replaces the list of directories; several stand between colons.
const DIRECTORY_VARIABLE: &str = "SSL_CERT_DIR";

/// The longest part of a path that a note shows, in characters.
const SHOWN: usize = 200;

/// How much is read: the files are the image's, and it may be anybody's.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// One file, in bytes: the bundle of a distribution has about a fortieth of this.
    file: u64,
    /// All files together, in bytes.
    total: u64,
    /// Names of one directory.
    entries: usize,
    /// Certificates.
    certificates: usize,
}

const LIMITS: Limits = Limits { file: 8 << 20, total: 32 << 20, entries: 4096, certificates: 4096 };

/// Where a system's certificate authorities are looked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RootPlaces {
    files: Vec<Place>,
    directories: Vec<Place>,
}

/// A file or a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    path: PathBuf,
    /// The variable that names it: then it is worth a note.
    variable: Option<&'static str>,
}

impl Place {
    fn usual(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), variable: None }
    }

    fn named(variable: &'static str, path: &OsStr) -> Self {
        Self { path: path.into(), variable: Some(variable) }
    }
}

impl RootPlaces {
    /// The places of the usual distributions.
    #[must_use]
    pub fn of_distributions() -> Self {
        Self::new(FILES, DIRECTORIES)
    }

    /// Other places than those: files, of which the first that can be read is the only one, and directories.
    #[must_use]
    pub fn new<P: Into<PathBuf>>(files: impl IntoIterator<Item = P>, directories: impl IntoIterator<Item = P>) -> Self {
        Self {
            files: files.into_iter().map(Place::usual).collect(),
            directories: directories.into_iter().map(Place::usual).collect(),
        }
    }

    /// With what `SSL_CERT_FILE` and `SSL_CERT_DIR` name instead, each in its own list. An empty variable is none.
    #[must_use]
    pub fn with_env(mut self, env: &Env) -> Self {
        let set = |variable| env.get(variable).filter(|value| !value.is_empty());
        if let Some(file) = set(FILE_VARIABLE) {
            self.files = vec![Place::named(FILE_VARIABLE, file)];
        }
        if let Some(directories) = set(DIRECTORY_VARIABLE) {
            let each = directories.as_bytes().split(|&byte| byte == b':').filter(|path| !path.is_empty());
            self.directories = each.map(|path| Place::named(DIRECTORY_VARIABLE, OsStr::from_bytes(path))).collect();
        }
        self
    }
}

/// The system's authorities, read when they are needed for the first time: to verify a server that the compiled-in ones do
/// not vouch for, or to tell a failure's story.
#[derive(Debug)]
pub(super) struct SystemRoots {
    places: RootPlaces,
    found: OnceLock<Found>,
}

/// What is there.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Those that can be authorities, each once.
    pub(super) certificates: Vec<CertificateDer<'static>>,
    /// What became of the places that a variable names.
    pub(super) notes: Vec<Note>,
    /// What became of every place that was looked at.
    pub(super) places: Vec<RootPlace>,
}

/// A file or a directory of certificate authorities, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootPlace {
    /// Where.
    pub path: PathBuf,
    /// The variable that names it, if one does.
    pub variable: Option<&'static str>,
    /// What is there.
    pub found: RootsThere,
}

/// What a place has of certificate authorities.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RootsThere {
    /// So many.
    Certificates(usize),
    /// There is no such file or directory.
    Absent,
    /// Nothing that can be used.
    Unusable {
        /// Why.
        reason: String,
    },
}

impl SystemRoots {
    pub(super) fn new(places: RootPlaces) -> Self {
        Self { places, found: OnceLock::new() }
    }

    /// The authorities. The first call reads them.
    pub(super) fn read(&self) -> &Found {
        self.found.get_or_init(|| Found::read(&self.places, LIMITS))
    }
}

/// Why a place adds nothing.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("it cannot be read")]
    Unreadable(#[source] io::Error),
    #[error("it is not a regular file")]
    NotAFile,
    #[error("it is larger than {0} bytes")]
    TooLarge(u64),
    #[error("there is no certificate in it")]
    Empty,
}

impl From<io::Error> for Unusable {
    fn from(error: io::Error) -> Self {
        Self::Unreadable(error)
    }
}

/// The reading of all places.
struct Reading {
    left: Limits,
    seen: HashSet<CertificateDer<'static>>,
    found: Found,
}

impl Found {
    fn read(places: &RootPlaces, limits: Limits) -> Self {
        let mut reading = Reading { left: limits, seen: HashSet::new(), found: Self::default() };
        for place in &places.files {
            let outcome = reading.file(&place.path);
            let readable = matches!(outcome, Ok(_) | Err(Unusable::Empty));
            reading.note(place, outcome);
            if readable {
                break;
            }
        }
        for place in &places.directories {
            let outcome = reading.directory(&place.path);
            reading.note(place, outcome);
        }
        reading.found
    }
}

impl Reading {
    /// The certificates of one file: how many there are, whether they were known already or not.
    fn file(&mut self, path: &Path) -> Result<usize, Unusable> {
        let limit = self.left.file.min(self.left.total);
        let mut pem = Vec::new();
        let read = file::read_into(&mut pem, path, limit);
        self.left.total = self.left.total.saturating_sub(pem.len() as u64);
        read.map_err(|error| match error {
            FileError::Open { source, .. } | FileError::Read { source, .. } => Unusable::Unreadable(source),
            FileError::NotRegular { .. } => Unusable::NotAFile,
            FileError::TooLarge { .. } => Unusable::TooLarge(limit),
        })?;
        // A certificate that is broken is none, and does not hide the others.
        let mut usable = 0;
        for certificate in CertificateDer::pem_slice_iter(&pem).flatten() {
            if RootCertStore::empty().add(certificate.clone()).is_err() {
                continue;
            }
            if self.seen.contains(&certificate) {
                usable += 1;
            } else if self.left.certificates > 0 {
                usable += 1;
                self.left.certificates -= 1;
                self.seen.insert(certificate.clone());
                self.found.certificates.push(certificate);
            }
        }
        if usable == 0 { Err(Unusable::Empty) } else { Ok(usable) }
    }

    /// The certificates of all files of a directory. Links to a name beside themselves are skipped: they are OpenSSL's
    /// second names for the same files.
    fn directory(&mut self, path: &Path) -> Result<usize, Unusable> {
        let names: Vec<OsString> =
            fs::read_dir(path)?.take(self.left.entries).flatten().map(|entry| entry.file_name()).collect();
        let mut usable = 0;
        for name in names {
            let file = path.join(name);
            let beside = |target: PathBuf| !target.as_os_str().as_bytes().contains(&b'/');
            if !fs::read_link(&file).is_ok_and(beside) {
                usable += self.file(&file).unwrap_or(0);
            }
        }
        if usable == 0 { Err(Unusable::Empty) } else { Ok(usable) }
    }

    fn note(&mut self, place: &Place, outcome: Result<usize, Unusable>) {
        let found = match &outcome {
            Ok(count) => RootsThere::Certificates(*count),
            Err(Unusable::Unreadable(error)) if error.kind() == io::ErrorKind::NotFound => RootsThere::Absent,
            Err(error) => RootsThere::Unusable { reason: chain(error) },
        };
        self.found.places.push(RootPlace { path: place.path.clone(), variable: place.variable, found });
        let Some(variable) = place.variable else { return };
        let source = format!("{variable}={}", shown(&place.path.to_string_lossy(), SHOWN));
        let outcome = match outcome {
            Ok(1) => "its certificate is trusted too".to_owned(),
            Ok(count) => format!("its {count} certificates are trusted too"),
            Err(error) => format!("adds no trusted certificate: {}", chain(&error)),
        };
        self.found.notes.push(Note::new(source, outcome));
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair};

    use super::*;

    fn authority(name: &str) -> String {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        params.self_signed(&key).expect("a certificate").pem()
    }

    struct World(tempfile::TempDir);

    impl World {
        fn new() -> Self {
            Self(tempfile::tempdir().expect("a directory"))
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn text(&self, name: &str) -> String {
            self.path(name).display().to_string()
        }

        fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
            let path = self.path(name);
            fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
            fs::write(&path, content).expect("a file");
            path
        }
    }

    fn read(places: &RootPlaces) -> Found {
        Found::read(places, LIMITS)
    }

    fn lines(found: &Found) -> Vec<String> {
        found.notes.iter().map(Note::to_string).collect()
    }

    #[test]
    fn the_first_file_that_can_be_read_and_every_directory_are_read() {
        let world = World::new();
        let (one, two, three) = (authority("one"), authority("two"), authority("three"));
        world.file("one.pem", format!("a comment\n{one}"));
        world.file("two.pem", &two);
        world.file("a/one-again.pem", &one);
        world.file("a/three.pem", &three);
        world.file("a/README", "no certificate");
        let files = ["absent.pem", "one.pem", "two.pem"].map(|name| world.path(name));
        let found = read(&RootPlaces::new(files, ["absent", "a"].map(|name| world.path(name))));
        let expected = [one, three].map(|pem| CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate"));
        assert_eq!(found.certificates, expected);
        assert_eq!(found.notes, []);
    }

    #[test]
    fn each_variable_replaces_its_own_list_only_and_is_told() {
        let world = World::new();
        let names = ["usual", "usual-dir", "named", "named-dir"];
        let [usual, usual_dir, named, named_dir] = names.map(authority);
        let usual_file = world.file("usual.pem", &usual);
        world.file("usual/a.pem", &usual_dir);
        world.file("named.pem", &named);
        world.file("named/a.pem", named_dir.clone() + &usual);
        let places = RootPlaces::new([usual_file], [world.path("usual")]);
        let (file, dirs) = (world.text("named.pem"), format!("{}::{}", world.text("absent"), world.text("named")));
        let file_note = format!("SSL_CERT_FILE={file}: its certificate is trusted too");
        let absent = format!(
            "SSL_CERT_DIR={}: adds no trusted certificate: it cannot be read: no such file or directory",
            world.text("absent")
        );
        let dir_note = format!("SSL_CERT_DIR={}: its 2 certificates are trusted too", world.text("named"));
        for (variables, expected, notes) in [
            (vec![], vec![&usual, &usual_dir], vec![]),
            (vec![("SSL_CERT_FILE", ""), ("SSL_CERT_DIR", "")], vec![&usual, &usual_dir], vec![]),
            (vec![("SSL_CERT_FILE", file.as_str())], vec![&named, &usual_dir], vec![&file_note]),
            (vec![("SSL_CERT_DIR", dirs.as_str())], vec![&usual, &named_dir], vec![&absent, &dir_note]),
            (
                vec![("SSL_CERT_FILE", file.as_str()), ("SSL_CERT_DIR", dirs.as_str())],
                vec![&named, &named_dir, &usual],
                vec![&file_note, &absent, &dir_note],
            ),
        ] {
            let found = read(&places.clone().with_env(&variables.iter().copied().collect()));
            let expected: Vec<_> = expected
                .into_iter()
                .map(|pem| CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate"))
                .collect();
            assert_eq!(found.certificates, expected, "{variables:?}");
            assert_eq!(lines(&found), notes.into_iter().cloned().collect::<Vec<_>>(), "{variables:?}");
        }
    }

    #[test]
    fn a_named_file_that_adds_nothing_is_told_with_the_reason() {
        let world = World::new();
        world.file("empty.pem", "");
        world.file("broken.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
        fs::create_dir(world.path("directory")).expect("a directory");
        nix::unistd::mkfifo(&world.path("fifo"), nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
        for (name, reason) in [
            ("absent.pem", "it cannot be read: no such file or directory"),
            ("empty.pem", "there is no certificate in it"),
            ("broken.pem", "there is no certificate in it"),
            ("directory", "it is not a regular file"),
            ("fifo", "it is not a regular file"),
        ] {
            let env = [("SSL_CERT_FILE", world.text(name))].into_iter().collect();
            let found = read(&RootPlaces::default().with_env(&env));
            assert_eq!(found.certificates, []);
            assert_eq!(
                lines(&found),
                [format!("SSL_CERT_FILE={}: adds no trusted certificate: {reason}", world.text(name))]
            );
        }
    }

    #[test]
    fn a_broken_certificate_does_not_hide_the_others() {
        let world = World::new();
        let (one, two) = (authority("one"), authority("two"));
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let unreadable = "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n";
        let path = world.file("a.pem", format!("{one}{broken}{unreadable}{two}"));
        assert_eq!(read(&RootPlaces::new([path], [])).certificates.len(), 2);
    }

    #[test]
    fn second_names_within_a_directory_are_skipped_and_links_out_of_it_followed() {
        let world = World::new();
        world.file("outside/a.pem", authority("one"));
        fs::create_dir(world.path("in")).expect("a directory");
        std::os::unix::fs::symlink("../outside/a.pem", world.path("in/a.pem")).expect("a link");
        std::os::unix::fs::symlink("a.pem", world.path("in/0123abcd.0")).expect("a link");
        std::os::unix::fs::symlink("/dev/zero", world.path("in/endless.pem")).expect("a link");
        let env = [("SSL_CERT_DIR", world.text("in"))].into_iter().collect();
        let found = read(&RootPlaces::default().with_env(&env));
        assert_eq!(lines(&found), [format!("SSL_CERT_DIR={}: its certificate is trusted too", world.text("in"))]);
    }

    #[test]
    fn what_is_read_is_bounded() {
        let world = World::new();
        let path = world.file("a.pem", ["one", "two", "three"].map(authority).concat());
        let length = fs::metadata(&path).expect("a file").len();
        let places = RootPlaces::new([path], []);
        let count = |limits| Found::read(&places, limits).certificates.len();
        assert_eq!(count(Limits { file: length, ..LIMITS }), 3);
        assert_eq!(count(Limits { file: length - 1, ..LIMITS }), 0);
        assert_eq!(count(Limits { total: length - 1, ..LIMITS }), 0);
        assert_eq!(count(Limits { certificates: 2, ..LIMITS }), 2);

        for name in ["x", "y", "z"] {
            world.file(&format!("dir/{name}"), authority(name));
        }
        let places = RootPlaces::new([], [world.path("dir")]);
        assert_eq!(Found::read(&places, Limits { entries: 2, ..LIMITS }).certificates.len(), 2);
        // The bytes of all files count together.
        let small = fs::metadata(world.path("dir/x")).expect("a file").len();
        assert!(Found::read(&places, Limits { total: small * 2, ..LIMITS }).certificates.len() < 3);
    }

    #[test]
    fn nothing_is_read_before_it_is_needed() {
        let world = World::new();
        let roots = SystemRoots::new(RootPlaces::new([world.path("late.pem")], []));
        world.file("late.pem", authority("late"));
        assert_eq!(roots.read().certificates.len(), 1);
    }
}
