//! The cache of image lookups, in directories in which others have put what they liked.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and starts itself again"
)]

#[path = "cache/processes.rs"]
mod processes;
#[path = "support/skip.rs"]
mod skip;
#[path = "cache/turns.rs"]
mod turns;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use entrypoint::cache::{Cache, CacheError, ENTRY, Entry, Turn, WAIT};
use entrypoint::image::Digest;
use entrypoint::sys::cause::chain;
use nix::sys::stat::Mode;
use proptest::collection::vec;
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
use tempfile::TempDir;

const POD: &str = "0b1c2d3e-0000-4000-8000-000000000001";

/// A directory for one test, like a pod's emptyDir: everybody may write there.
fn shared() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
    directory
}

fn open(directory: &Path) -> Cache {
    Cache::open(directory, None).unwrap()
}

fn blob(directory: &Path, digest: &Digest) -> PathBuf {
    directory.join("blobs/sha256").join(&digest.to_string()["sha256:".len()..])
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn entries(directory: &Path) -> Vec<String> {
    names(&directory.join("blobs/sha256"))
}

/// What is in the cache must be right; how many entries that are.
fn all_verify(directory: &Path) -> usize {
    let entries = entries(directory);
    for name in &entries {
        let digest: Digest = format!("sha256:{name}").parse().expect("only entries");
        let content = fs::read(blob(directory, &digest));
        // Another process may have dropped it since.
        digest.verify(&content.unwrap_or_else(|error| panic!("{name}: {error}"))).unwrap();
    }
    entries.len()
}

fn bytes(found: Result<Option<Entry>, CacheError>) -> Option<Vec<u8>> {
    found.unwrap().map(|entry| entry.bytes)
}

/// Without the directory's own name.
fn message(error: &CacheError, directory: &Path) -> String {
    chain(error).replace(&directory.display().to_string(), "D")
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

#[test]
fn what_is_put_is_got_until_it_is_removed() {
    let dir = shared();
    let cache = open(dir.path());
    for document in [&b""[..], b"{}", &[7; 100_000]] {
        assert_eq!(bytes(cache.get(&Digest::of(document), ENTRY)), None);
        let digest = cache.put(document).unwrap();
        assert_eq!(digest, Digest::of(document));
        assert_eq!(bytes(cache.get(&digest, document.len() as u64)).as_deref(), Some(document));
        assert_eq!(bytes(open(dir.path()).get(&digest, u64::MAX)).as_deref(), Some(document));
        assert_eq!(fs::metadata(blob(dir.path(), &digest)).unwrap().mode() & 0o7777, 0o444);
        fs::remove_file(blob(dir.path(), &digest)).unwrap();
        assert_eq!(bytes(cache.get(&digest, ENTRY)), None);
    }
}

#[test]
fn the_directory_is_an_image_layout_as_open_as_the_one_that_it_is_in() {
    for mode in [0o700, 0o755, 0o777, 0o1777, 0o2775] {
        let above = tempfile::tempdir().unwrap();
        fs::set_permissions(above.path(), fs::Permissions::from_mode(mode)).unwrap();
        let made = above.path().join("made");
        for directory in [above.path(), &made] {
            // The second time everything is there.
            for _ in 0..2 {
                open(directory).put(b"document").unwrap();
            }
            let inside: Vec<_> = names(directory).into_iter().filter(|name| name != "made").collect();
            assert_eq!(inside, ["blobs", "entrypoint", "index.json", "oci-layout"]);
            for (path, mode) in [
                ("", mode),
                ("blobs", mode),
                ("blobs/sha256", mode),
                ("entrypoint", mode),
                ("entrypoint/README", 0o444),
                ("index.json", 0o444),
                ("oci-layout", 0o444),
            ] {
                assert_eq!(fs::metadata(directory.join(path)).unwrap().mode() & 0o7777, mode, "{path}");
            }
            let json = |name| serde_json::from_slice(&fs::read(directory.join(name)).unwrap()).unwrap();
            let (layout, index): (serde_json::Value, serde_json::Value) = (json("oci-layout"), json("index.json"));
            assert_eq!(layout, serde_json::json!({ "imageLayoutVersion": "1.0.0" }));
            let index_type = "application/vnd.oci.image.index.v1+json";
            let expected = serde_json::json!({ "schemaVersion": 2, "mediaType": index_type, "manifests": [] });
            assert_eq!(index, expected);
        }
    }
}

fn remove(path: &Path) {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    removed.unwrap();
}

#[test]
fn what_is_missing_of_the_directory_is_made_again() {
    let dir = shared();
    for missing in ["oci-layout", "index.json", "blobs/sha256", "blobs"] {
        open(dir.path()).put(b"document").unwrap();
        let path = dir.path().join(missing);
        remove(&path);
        let cache = open(dir.path());
        assert!(path.exists(), "{missing}");
        cache.put(b"document").unwrap();
    }
    // Removed while it is open: there is no cache, and nothing worse.
    let cache = open(dir.path());
    for name in names(dir.path()) {
        let path = dir.path().join(name);
        remove(&path);
    }
    assert_eq!(bytes(cache.get(&Digest::of(b"document"), ENTRY)), None);
    assert!(matches!(cache.put(b"document"), Err(CacheError::Write { .. })));
    assert!(matches!(cache.try_turn("key"), Turn::Unknown(CacheError::Lock { .. })));
    open(dir.path()).put(b"document").unwrap();
}

/// Puts something in the place of an entry.
type Prank = fn(&Path);

const DOCUMENT: &[u8] = b"{\"schemaVersion\":2}";

/// What may stand where the document should, what is said of it, and whether a new one takes its place.
const PRANKS: [(&str, Prank, &str, bool); 12] = [
    ("another document", |path| fs::write(path, b"{\"schemaVersion\":3}").unwrap(), WRONG, true),
    ("nothing in it", |path| fs::write(path, b"").unwrap(), WRONG, true),
    ("its beginning", |path| fs::write(path, &DOCUMENT[..9]).unwrap(), WRONG, true),
    ("more than it", |path| fs::write(path, [DOCUMENT, b" "].concat()).unwrap(), WRONG, true),
    ("a link to the very document", |path| right(path, |right, path| symlink(right, path)), "is a symbolic link", true),
    ("a link to itself", |path| symlink(path.file_name().unwrap(), path).unwrap(), "is a symbolic link", true),
    ("an endless device", |path| symlink("/dev/zero", path).unwrap(), "is a symbolic link", true),
    ("a FIFO", |path| nix::unistd::mkfifo(path, Mode::S_IRWXU).unwrap(), "is a FIFO", true),
    ("a socket", |path| drop(UnixListener::bind(path).unwrap()), "is a socket", true),
    ("a terabyte of nothing", |path| sparse(path, 1 << 40), "has 1099511627776 bytes", true),
    ("a little too much of nothing", |path| sparse(path, ENTRY + 1), "has 8388609 bytes", true),
    ("a directory", |path| fs::create_dir(path).unwrap(), "is a directory", false),
];
const WRONG: &str = "is not what its name says; it has been removed: its digest is sha256:";

fn sparse(path: &Path, size: u64) {
    File::create(path).unwrap().set_len(size).unwrap();
}

fn right(path: &Path, link: fn(&Path, &Path) -> std::io::Result<()>) {
    let right = path.with_file_name("right");
    fs::write(&right, DOCUMENT).unwrap();
    link(&right, path).unwrap();
}

#[test]
fn nothing_is_believed_that_does_not_verify_and_a_new_one_takes_its_place() {
    for (case, prank, sentence, replaced) in PRANKS {
        let dir = shared();
        let cache = open(dir.path());
        let digest = Digest::of(DOCUMENT);
        let path = blob(dir.path(), &digest);
        prank(&path);
        let since = Instant::now();
        let error = cache.get(&digest, ENTRY).expect_err(case);
        assert!(since.elapsed() < WAIT, "{case}");
        let message = message(&error, dir.path());
        assert!(message.contains(sentence), "{case}: {message}");
        assert!(message.starts_with(&format!("\"D/blobs/sha256/{}\" ", path.file_name().unwrap().display())));
        assert_eq!(message.contains("; it has been removed"), replaced, "{case}: {message}");
        assert_eq!(path.symlink_metadata().is_err(), replaced, "{case}");
        if replaced {
            assert_eq!(bytes(cache.get(&digest, ENTRY)), None, "{case}");
            // Put over it, for those who did not come by here.
            prank(&path.with_file_name("again"));
            fs::rename(path.with_file_name("again"), &path).unwrap();
            cache.put(DOCUMENT).unwrap();
            assert_eq!(bytes(cache.get(&digest, ENTRY)).as_deref(), Some(DOCUMENT), "{case}");
        } else {
            assert!(matches!(cache.put(DOCUMENT), Err(CacheError::Write { .. })), "{case}");
        }
    }
}

#[test]
fn what_is_larger_than_asked_for_is_not_read_and_may_be_right() {
    let dir = shared();
    let cache = open(dir.path());
    let digest = cache.put(DOCUMENT).unwrap();
    let error = cache.get(&digest, DOCUMENT.len() as u64 - 1).unwrap_err();
    assert!(matches!(error, CacheError::TooLarge { size: 19, limit: 18, removed: false, .. }), "{error}");
    assert_eq!(bytes(cache.get(&digest, 19)).as_deref(), Some(DOCUMENT));
    let huge = vec![0; usize::try_from(ENTRY).unwrap() + 1];
    assert!(matches!(cache.put(&huge), Err(CacheError::TooLarge { .. })));
    let largest = cache.put(&huge[1..]).unwrap();
    assert_eq!(bytes(cache.get(&largest, ENTRY)).unwrap().len() as u64, ENTRY);
}

#[test]
fn what_is_no_directory_or_a_link_to_one_is_no_cache() {
    let dir = shared();
    let path = |name: &str| dir.path().join(name);
    let elsewhere = tempfile::tempdir().unwrap();
    open(elsewhere.path()).put(DOCUMENT).unwrap();
    let before = names(elsewhere.path());
    symlink(elsewhere.path(), path("link")).unwrap();
    symlink("nowhere", path("dangling")).unwrap();
    fs::write(path("file"), "").unwrap();
    nix::unistd::mkfifo(&path("fifo"), Mode::S_IRWXU).unwrap();
    for (name, sentence) in [
        ("link", "\"D/link\" is a symbolic link, and must be a directory"),
        ("link/", "\"D/link\" is a symbolic link, and must be a directory"),
        ("link/.", "\"D/link\" is a symbolic link, and must be a directory"),
        ("dangling", "\"D/dangling\" is a symbolic link, and must be a directory"),
        ("file", "\"D/file\" is a file, and must be a directory"),
        ("fifo", "\"D/fifo\" is a FIFO, and must be a directory"),
        ("file/below", "opening \"D/file/below\": not a directory"),
        ("missing/below", "making \"D/missing/below\": no such file or directory"),
    ] {
        assert_eq!(message(&Cache::open(&path(name), None).unwrap_err(), dir.path()), sentence);
    }
    assert_eq!(names(dir.path()), ["dangling", "fifo", "file", "link"]);
    // A link on the way there is the operator's.
    assert!(bytes(open(&path("link/inner")).get(&Digest::of(DOCUMENT), ENTRY)).is_none());
    assert!(elsewhere.path().join("inner/oci-layout").exists());
    fs::remove_dir_all(elsewhere.path().join("inner")).unwrap();
    assert_eq!(names(elsewhere.path()), before);
}

#[test]
fn a_link_in_the_place_of_one_of_its_directories_is_not_followed() {
    let elsewhere = tempfile::tempdir().unwrap();
    open(elsewhere.path()).put(DOCUMENT).unwrap();
    for name in ["blobs", "blobs/sha256", "entrypoint"] {
        for prank in ["link", "fifo", "file"] {
            let dir = shared();
            open(dir.path());
            let path = dir.path().join(name);
            fs::remove_dir_all(&path).unwrap();
            let found = match prank {
                "link" => symlink(elsewhere.path().join(name), &path).map(|()| "a symbolic link").unwrap(),
                "fifo" => nix::unistd::mkfifo(&path, Mode::S_IRWXU).map(|()| "a FIFO").unwrap(),
                _ => fs::write(&path, "").map(|()| "a file").unwrap(),
            };
            let error = Cache::open(dir.path(), None).unwrap_err();
            let expected = format!("\"D/{name}\" is {found}, and must be a directory");
            assert_eq!(message(&error, dir.path()), expected);
        }
    }
    assert_eq!(all_verify(elsewhere.path()), 1);
}

#[test]
fn a_layout_that_somebody_else_has_made_is_read_and_not_changed() {
    let (right, wrong) = (Digest::of(DOCUMENT), Digest::of(b"another"));
    for mark in ["oci-layout", "blobs"] {
        let dir = shared();
        fs::create_dir_all(dir.path().join("blobs/sha256")).unwrap();
        if mark == "oci-layout" {
            fs::write(dir.path().join(mark), "{\"imageLayoutVersion\":\"1.0.0\"}").unwrap();
        }
        fs::write(blob(dir.path(), &right), DOCUMENT).unwrap();
        fs::write(blob(dir.path(), &wrong), DOCUMENT).unwrap();
        let before = names(dir.path());
        let cache = Cache::open(dir.path(), Some(POD)).unwrap();
        let expected = Entry { bytes: DOCUMENT.to_vec(), by_this_pod: false };
        assert_eq!(cache.get(&right, ENTRY).unwrap(), Some(expected));
        assert!(matches!(cache.get(&wrong, ENTRY), Err(CacheError::Poisoned { removed: false, .. })));
        assert!(matches!(cache.put(b"new"), Err(CacheError::Foreign { .. })));
        assert!(matches!(cache.try_turn("key"), Turn::Unknown(CacheError::Foreign { .. })));
        assert_eq!(names(dir.path()), before);
        assert_eq!(entries(dir.path()).len(), 2);
    }
    // Not even completed.
    let dir = shared();
    fs::write(dir.path().join("oci-layout"), "{}").unwrap();
    assert_eq!(bytes(open(dir.path()).get(&right, ENTRY)), None);
    assert_eq!(names(dir.path()), ["oci-layout"]);
}

#[test]
fn who_wrote_an_entry_is_told_to_the_same_pod_alone() {
    let dir = shared();
    let other = "0b1c2d3e-0000-4000-8000-000000000002";
    let of = |pod: Option<&str>| Cache::open(dir.path(), pod).unwrap();
    let digest = of(Some(POD)).put(DOCUMENT).unwrap();
    let told = || [Some(POD), Some(other), None].map(|pod| of(pod).get(&digest, ENTRY).unwrap().unwrap().by_this_pod);
    assert_eq!(told(), [true, false, false]);
    assert!(!of(Some("")).get(&digest, ENTRY).unwrap().unwrap().by_this_pod);
    // Who does not know its pod changes nothing: that pod had the document.
    of(None).put(DOCUMENT).unwrap();
    assert_eq!(told(), [true, false, false]);
    of(Some(other)).put(DOCUMENT).unwrap();
    assert_eq!(told(), [false, true, false]);
    let note = dir.path().join("entrypoint").join(format!("pod-{}", entries(dir.path())[0]));
    assert_eq!(fs::metadata(&note).unwrap().mode() & 0o7777, 0o444);
    fs::write(dir.path().join("right"), POD).unwrap();
    let pranks: [Prank; 8] = [
        |_| {},
        |path| fs::write(path, "").unwrap(),
        |path| fs::write(path, &POD[..8]).unwrap(),
        |path| fs::write(path, format!("{POD}\n")).unwrap(),
        |path| sparse(path, 1 << 40),
        |path| nix::unistd::mkfifo(path, Mode::S_IRWXU).unwrap(),
        |path| symlink("../right", path).unwrap(),
        |path| fs::create_dir(path).unwrap(),
    ];
    for (number, prank) in pranks.into_iter().enumerate() {
        fs::remove_file(&note).unwrap();
        prank(&note);
        assert_eq!(told(), [false; 3], "{number}");
        if number < 7 {
            of(Some(POD)).put(DOCUMENT).unwrap();
            assert_eq!(told(), [true, false, false], "{number}");
        } else {
            // The note cannot be written, the entry can.
            of(Some(POD)).put(DOCUMENT).unwrap();
            assert_eq!(told(), [false; 3], "{number}");
        }
    }
}

/// Writes a file as if it had been written so long ago.
fn aged(path: &Path, content: &[u8], age: Duration) {
    fs::write(path, content).unwrap();
    File::open(path).unwrap().set_modified(SystemTime::now() - age).unwrap();
}

#[test]
fn there_are_never_more_than_1024_entries_and_the_oldest_go_with_their_notes() {
    let dir = shared();
    let cache = Cache::open(dir.path(), Some(POD)).unwrap();
    let own = dir.path().join("entrypoint");
    let document = |n: u64| n.to_string().into_bytes();
    for n in 0..1024 {
        let path = blob(dir.path(), &Digest::of(&document(n)));
        aged(&path, &document(n), Duration::from_secs(5000 - n));
        fs::write(own.join(format!("pod-{}", path.file_name().unwrap().display())), POD).unwrap();
    }
    // Neither is counted or removed: it has not come from here.
    fs::write(dir.path().join("blobs/sha256/README"), "").unwrap();
    fs::write(own.join("odd"), "").unwrap();
    // A note without an entry, and what two processes were writing: the one was killed.
    fs::write(own.join(format!("pod-{}", "0".repeat(64))), POD).unwrap();
    aged(&own.join("new-killed"), b"half", Duration::from_secs(90));
    aged(&own.join("new-alive"), b"half", Duration::from_secs(5));
    for n in 1024..1034 {
        cache.put(&document(n)).unwrap();
    }
    assert_eq!(entries(dir.path()).len(), 1024);
    let kept = |n: u64| bytes(cache.get(&Digest::of(&document(n)), ENTRY)).is_some();
    assert_eq!((0..1034).filter(|n| kept(*n)).collect::<Vec<_>>(), (11..1034).collect::<Vec<_>>());
    let own = names(&own);
    assert_eq!(own.iter().filter(|name| name.starts_with("pod-")).count(), 1023);
    let others: Vec<_> = own.iter().filter(|name| !name.starts_with("pod-")).collect();
    assert_eq!(others, ["README", "new-alive", "odd"]);
}

#[test]
fn there_are_never_more_than_64_mib_and_what_is_huge_goes_first() {
    let dir = shared();
    let cache = open(dir.path());
    for n in 0..20_u8 {
        cache.put(&vec![n; usize::try_from(ENTRY).unwrap() / 2]).unwrap();
        let size = |name: &String| fs::metadata(dir.path().join("blobs/sha256").join(name)).unwrap().len();
        assert!(entries(dir.path()).iter().map(size).sum::<u64>() <= 64 << 20);
    }
    assert_eq!(all_verify(dir.path()), 16);
    sparse(&blob(dir.path(), &Digest::of(b"huge")), 1 << 40);
    sparse(&blob(dir.path(), &Digest::of(b"huge too")), 1 << 40);
    cache.put(b"small").unwrap();
    assert_eq!(all_verify(dir.path()), 16);
}

#[test]
fn a_directory_that_is_crowded_with_files_is_emptied_a_part_at_a_time() {
    let dir = shared();
    let cache = open(dir.path());
    for n in 0..6000 {
        File::create(blob(dir.path(), &Digest::of(format!("junk {n}").as_bytes()))).unwrap();
    }
    let since = Instant::now();
    let mut refused = 0;
    while let Err(error) = cache.put(DOCUMENT) {
        assert!(matches!(error, CacheError::Full { .. }), "{error}");
        refused += 1;
        assert!(refused < 9);
    }
    assert!(since.elapsed() < WAIT * 9, "{:?}", since.elapsed());
    assert!((1..3).contains(&refused), "{refused}");
    assert!(entries(dir.path()).len() <= 1024);
    // What nobody here has made stays, and leaves no room.
    for n in 0..4096 {
        File::create(dir.path().join(format!("blobs/sha256/odd {n}"))).unwrap();
    }
    assert!(matches!(cache.put(DOCUMENT), Err(CacheError::Full { .. })));
    assert!(bytes(cache.get(&Digest::of(DOCUMENT), ENTRY)).is_some());
}

#[test]
fn writers_of_the_same_documents_at_once_are_not_in_each_others_way() {
    let dir = shared();
    std::thread::scope(|scope| {
        for writer in 0..8_u8 {
            let path = dir.path();
            scope.spawn(move || {
                let cache = Cache::open(path, Some(POD)).unwrap();
                for round in 0..40_u8 {
                    let document = vec![round % 5; 20_000];
                    let digest = cache.put(&document).unwrap_or_else(|error| panic!("{writer}: {}", chain(&error)));
                    let found = cache.get(&digest, ENTRY).unwrap().expect("it is there");
                    assert!(found.bytes == document && found.by_this_pod);
                }
            });
        }
    });
    assert_eq!(all_verify(dir.path()), 5);
    assert_eq!(names(&dir.path().join("entrypoint")).iter().filter(|name| name.starts_with("new-")).count(), 0);
}

#[test]
fn a_directory_that_many_make_at_once_is_made_once() {
    for _ in 0..30 {
        let above = shared();
        let path = above.path().join("cache");
        std::thread::scope(|scope| {
            for writer in 0..6_u8 {
                let path = &path;
                scope.spawn(move || open(path).put(&[writer]).unwrap());
            }
        });
        assert_eq!(all_verify(&path), 6);
        assert_eq!(names(&path), ["blobs", "entrypoint", "index.json", "oci-layout"]);
        assert_eq!(names(above.path()), ["cache"]);
    }
    // The same in one that is there.
    for _ in 0..30 {
        let dir = shared();
        std::thread::scope(|scope| {
            for writer in 0..6_u8 {
                let path = dir.path();
                scope.spawn(move || open(path).put(&[writer]).unwrap());
            }
        });
        assert_eq!(all_verify(dir.path()), 6);
        assert_eq!(names(dir.path()), ["blobs", "entrypoint", "index.json", "oci-layout"]);
    }
}

proptest! {
    #[test]
    fn only_a_document_of_the_digest_is_got(document in vec(any::<u8>(), 0..300), found in vec(any::<u8>(), 0..300), limit in 0_u64..400) {
        let dir = shared();
        let cache = open(dir.path());
        let digest = Digest::of(&document);
        fs::write(blob(dir.path(), &digest), &found).unwrap();
        if let Ok(Some(entry)) = cache.get(&digest, limit) {
            prop_assert_eq!(&entry.bytes, &document);
            prop_assert!(entry.bytes.len() as u64 <= limit);
        }
        cache.put(&document).unwrap();
        let entry = cache.get(&digest, document.len() as u64).unwrap();
        prop_assert_eq!(entry.map(|entry| entry.bytes), Some(document));
    }

    #[test]
    fn whatever_a_key_is_its_lock_is_a_file_of_the_cache(key in ".*") {
        let dir = shared();
        let cache = open(dir.path());
        let turn = cache.try_turn(&key);
        prop_assert!(matches!(turn, Turn::Ours { .. }), "{turn:?}");
        let own: BTreeSet<String> = names(&dir.path().join("entrypoint")).into_iter().collect();
        let lock = cache.lock_path(&key).file_name().unwrap().to_str().unwrap().to_owned();
        prop_assert_eq!(own, BTreeSet::from(["README".to_owned(), lock]));
    }
}
