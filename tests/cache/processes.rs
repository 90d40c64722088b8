//! Several processes, of several users, one after the other killed, on disks that are full or only readable. They are this
//! program, started again for one test, which does nothing when nobody has given it a role.

use std::env;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use entrypoint::cache::{Cache, CacheError, ENTRY, Turn, WAIT};
use entrypoint::image::Digest;
use entrypoint::sys::cause::chain;
use nix::sys::stat::{Mode, umask};

use super::{DOCUMENT, all_verify, blob, bytes, entries, names, open, shared, skip, wait};

const ROLE: &str = "ENTRYPOINT_TEST_CACHE_ROLE";
const PLACE: &str = "ENTRYPOINT_TEST_CACHE_PLACE";

/// A process with a role in a directory; it is killed with its test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Process {
    fn start(command: &mut Command, role: &str, place: &Path) -> Self {
        let arguments = ["--exact", "processes::a_role_is_played", "--nocapture"];
        let command = command.args(arguments).env(ROLE, role).env(PLACE, place);
        Self(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap())
    }

    fn new(role: &str, place: &Path) -> Self {
        Self::start(&mut Command::new("/proc/self/exe"), role, place)
    }

    /// Of another user, whose umask hides everything.
    fn of_user(user: u32, role: &str, place: &Path) -> Self {
        // Its own name needs no path that this user may not go.
        Self::start(Command::new("/proc/self/exe").uid(user).gid(user), role, place)
    }

    /// Waits until it says that it is at work.
    fn ready(&mut self) {
        let mut lines = BufReader::new(self.0.stdout.as_mut().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().ends_with(READY)), "it ended");
    }

    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    fn succeeds(mut self) {
        let mut said = String::new();
        self.0.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        assert!(self.0.wait().unwrap().success(), "{said}");
        assert!(said.contains(READY), "it did nothing: {said}");
    }
}

const READY: &str = "at work";

#[test]
fn a_role_is_played() {
    let Some(role) = env::var_os(ROLE) else { return };
    let place = env::var_os(PLACE).unwrap();
    let place = Path::new(&place);
    println!("{READY}");
    match role.to_str().unwrap() {
        "write" => write(place),
        "hold" => hold(place),
        "fetch" => fetch(place),
        "share" => share(place),
        "fill" => fill(place),
        "cramped" => cramped(place),
        "read only" => read_only(place),
        "unwritable" => unwritable(place),
        other => panic!("{other}"),
    }
}

/// Writes for ever, documents that take their time.
fn write(place: &Path) {
    let cache = open(place);
    for n in 0_u32.. {
        let mut document = vec![n.to_le_bytes()[0]; 400_000 + usize::try_from(n % 7).unwrap() * 100_000];
        document.extend(n.to_le_bytes());
        cache.put(&document).unwrap();
    }
}

#[test]
fn a_writer_that_is_killed_at_any_moment_leaves_no_bad_entry() {
    let dir = shared();
    let random = std::hash::RandomState::new();
    let mut unfinished = 0;
    let mut seen = 0;
    for n in 0..200 {
        let mut writer = Process::new("write", dir.path());
        writer.ready();
        let moment = std::hash::BuildHasher::hash_one(&random, n) % 4000;
        std::thread::sleep(Duration::from_micros(moment));
        writer.kill();
        // It may have been killed before there was anything.
        if dir.path().join("blobs").exists() {
            seen = all_verify(dir.path());
            let own = names(&dir.path().join("entrypoint"));
            unfinished = unfinished.max(own.iter().filter(|name| name.starts_with("new-")).count());
        }
    }
    eprintln!("{unfinished} of 200 writers were killed in the middle of a write; {seen} entries are left");
    assert!(seen > 0 && unfinished > 0);
    // What was left counts, so that it cannot grow without a bound, and the next writer finds everything in order.
    let size = |name: &String| fs::metadata(dir.path().join("entrypoint").join(name)).unwrap().len();
    let left = names(&dir.path().join("entrypoint")).iter().map(size).sum::<u64>();
    assert!(left < 65 << 20, "{left}");
    let digest = open(dir.path()).put(DOCUMENT).unwrap();
    assert_eq!(bytes(open(dir.path()).get(&digest, ENTRY)).as_deref(), Some(DOCUMENT));
}

/// Has the turn until somebody ends it.
fn hold(place: &Path) {
    let turn = open(place).try_turn("image");
    assert!(matches!(turn, Turn::Ours { .. }));
    fs::write(place.join("held"), "").unwrap();
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    drop(turn);
}

#[test]
fn the_turn_of_a_process_that_is_killed_is_somebody_elses() {
    let dir = shared();
    let holder = Process::new("hold", dir.path());
    let since = Instant::now();
    while !dir.path().join("held").exists() {
        assert!(since.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(5));
    }
    let cache = open(dir.path());
    assert!(matches!(cache.try_turn("image"), Turn::Taken));
    holder.kill();
    assert!(matches!(wait(cache.turn("image")), Turn::Ours { .. }));
}

/// As a lookup does it: nothing is there, so one fetches and the others wait for that.
fn fetch(place: &Path) {
    let cache = open(&place.join("cache"));
    let digest = Digest::of(DOCUMENT);
    // All begin at the same time.
    fs::write(place.join(format!("here-{}", std::process::id())), "").unwrap();
    while names(place).iter().filter(|name| name.starts_with("here-")).count() < 6 {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(bytes(cache.get(&digest, ENTRY)).is_none() || place.join("fetched").exists());
    let turn = wait(cache.turn("image"));
    assert!(matches!(turn, Turn::Ours { .. }), "{turn:?}");
    if bytes(cache.get(&digest, ENTRY)).is_none() {
        fs::File::create_new(place.join("fetched")).expect("the first that fetches");
        std::thread::sleep(Duration::from_millis(300));
        cache.put(DOCUMENT).unwrap();
    }
    drop(turn);
    assert_eq!(bytes(cache.get(&digest, ENTRY)).as_deref(), Some(DOCUMENT));
}

#[test]
fn of_six_that_want_the_same_one_fetches() {
    let dir = shared();
    let six: Vec<Process> = (0..6).map(|_| Process::new("fetch", dir.path())).collect();
    six.into_iter().for_each(Process::succeeds);
    assert!(dir.path().join("fetched").exists());
}

/// Writes, reads and spoils what others do too.
fn share(place: &Path) {
    // Files are readable by others all the same.
    umask(Mode::from_bits_truncate(0o077));
    let cache = Cache::open(place, Some("pod")).unwrap();
    for round in 0..200_u32 {
        let document = format!("document {}", round % 7).repeat(500);
        let digest = Digest::of(document.as_bytes());
        match cache.get(&digest, ENTRY) {
            Ok(Some(entry)) => assert_eq!(entry.bytes, document.as_bytes()),
            Ok(None) | Err(CacheError::Poisoned { .. }) => {}
            Err(error) => panic!("{}", chain(&error)),
        }
        if round % 5 == 0 {
            // Of an unfinished file everybody could make an entry.
            let path = place.join(format!("spoilt-{}", std::process::id()));
            fs::write(&path, "spoilt").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).unwrap();
            fs::rename(&path, blob(place, &digest)).unwrap();
        }
        cache.put(document.as_bytes()).unwrap_or_else(|error| panic!("{}", chain(&error)));
        drop(cache.try_turn(&document));
    }
}

#[test]
fn users_that_share_a_directory_repair_what_the_others_spoil() {
    if !skip::root("several users") {
        return;
    }
    let dir = shared();
    let users: Vec<Process> = [0, 1001, 1002, 1003].map(|user| Process::of_user(user, "share", dir.path())).into();
    users.into_iter().for_each(Process::succeeds);
    let cache = open(dir.path());
    for n in 0..7 {
        let document = format!("document {n}").repeat(500);
        // What was spoilt last is still found out.
        match cache.get(&Digest::of(document.as_bytes()), ENTRY) {
            Ok(Some(entry)) => assert_eq!(entry.bytes, document.as_bytes()),
            Ok(None) | Err(CacheError::Poisoned { removed: true, .. }) => {}
            Err(error) => panic!("{}", chain(&error)),
        }
    }
    let own = dir.path().join("entrypoint");
    let modes = names(&own).iter().map(|name| fs::metadata(own.join(name)).unwrap().mode() & 0o777).collect::<Vec<_>>();
    assert!(modes.iter().all(|mode| *mode == 0o444), "{modes:?}");
}

#[test]
fn in_a_sticky_directory_what_another_user_spoilt_is_told_and_stays() {
    if !skip::root("a sticky directory") {
        return;
    }
    let dir = shared();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o1777)).unwrap();
    open(dir.path());
    fs::write(blob(dir.path(), &Digest::of(DOCUMENT)), "spoilt").unwrap();
    Process::of_user(1001, "unwritable", dir.path()).succeeds();
    assert_eq!(entries(dir.path()).len(), 1);
}

/// What cannot be replaced is told, and nothing else is.
fn unwritable(place: &Path) {
    let cache = open(place);
    let digest = Digest::of(DOCUMENT);
    assert!(matches!(cache.get(&digest, ENTRY), Err(CacheError::Poisoned { removed: false, .. })));
    let error = chain(&cache.put(DOCUMENT).unwrap_err());
    assert!(error.ends_with(": operation not permitted") || error.ends_with(": permission denied"), "{error}");
    let unfinished = names(&place.join("entrypoint")).into_iter().filter(|name| name.starts_with("new-")).count();
    assert_eq!(unfinished, 0);
}

#[test]
fn a_directory_of_somebody_else_is_read_and_what_is_wrong_there_is_told() {
    if !skip::root("another user") {
        return;
    }
    let dir = shared();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    open(dir.path());
    fs::write(blob(dir.path(), &Digest::of(DOCUMENT)), "spoilt").unwrap();
    Process::of_user(1001, "unwritable", dir.path()).succeeds();
    let cache = open(dir.path());
    cache.put(DOCUMENT).unwrap();
    // A lock that is there can be had by those who only read; one that is not cannot be made.
    drop(cache.try_turn("image"));
    Process::of_user(1001, "read only", dir.path()).succeeds();
}

/// Everything can be read and nothing written.
fn read_only(place: &Path) {
    let cache = open(place);
    assert_eq!(bytes(cache.get(&Digest::of(DOCUMENT), ENTRY)).as_deref(), Some(DOCUMENT));
    let reason = ["read-only file system", "permission denied"];
    let error = chain(&cache.put(b"new").unwrap_err());
    assert!(reason.iter().any(|reason| error.ends_with(reason)), "{error}");
    assert!(matches!(cache.try_turn("image"), Turn::Ours { .. }));
    let Turn::Unknown(error) = cache.try_turn("another image") else { panic!("locked") };
    let error = chain(&error);
    assert!(reason.iter().any(|reason| error.ends_with(reason)), "{error}");
    assert_eq!(all_verify(place), 1);
    // An empty one is a cache in which there is nothing.
    let (there, missing) = (place.join("empty"), place.join("missing"));
    if there.exists() {
        let empty = open(&there);
        assert_eq!(bytes(empty.get(&Digest::of(DOCUMENT), ENTRY)), None);
        assert!(chain(&empty.put(DOCUMENT).unwrap_err()).ends_with("read-only file system"));
        assert!(matches!(empty.try_turn("image"), Turn::Unknown(CacheError::Write { .. })));
    }
    assert!(matches!(Cache::open(&missing, None), Err(CacheError::Make { .. })));
}

/// Starts a process in mounts of its own, if that is possible here: `$1` is the directory.
fn mounted(purpose: &str, script: &str, role: &str, place: &Path) -> Option<Process> {
    if !skip::root(purpose) || !skip::programs(purpose, &[("unshare", "util-linux"), ("mount", "mount")]) {
        return None;
    }
    let script = format!("set -e\n{script}\nshift\nexec \"$@\"");
    let program = env::current_exe().unwrap();
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", &script, "sh"]).arg(place).arg(program);
    Some(Process::start(&mut command, role, place))
}

#[test]
fn a_full_disk_means_no_cache_and_what_is_there_is_read() {
    let dir = shared();
    let full = "mount -t tmpfs -o size=256k,mode=777 none \"$1\"";
    if let Some(process) = mounted("a full disk", full, "fill", dir.path()) {
        process.succeeds();
    }
}

fn fill(place: &Path) {
    let cache = Cache::open(place, Some("pod")).unwrap();
    let document = |n: u8| vec![n; 20_000];
    let mut kept = 0;
    let error = loop {
        match cache.put(&document(kept)) {
            Ok(_) => kept += 1,
            Err(error) => break chain(&error),
        }
        assert!(kept < 14);
    };
    assert!(error.ends_with(": no space left on device"), "{error}");
    assert!(kept > 5, "{kept}");
    assert_eq!(all_verify(place), usize::from(kept));
    assert!((0..kept).all(|n| bytes(cache.get(&Digest::of(&document(n)), ENTRY)) == Some(document(n))));
    assert_eq!(names(&place.join("entrypoint")).iter().filter(|name| name.starts_with("new-")).count(), 0);
    // The locks are empty files.
    assert!(matches!(cache.try_turn("image"), Turn::Ours { .. }));
}

#[test]
fn a_disk_on_which_not_even_the_directories_can_be_made_means_no_cache() {
    for inodes in 1..12 {
        let dir = shared();
        let tiny = format!("mount -t tmpfs -o nr_inodes={inodes},mode=777 none \"$1\"");
        let Some(process) = mounted("a disk without inodes", &tiny, "cramped", dir.path()) else { return };
        process.succeeds();
    }
}

fn cramped(place: &Path) {
    for path in [place.to_owned(), place.join("inner")] {
        match Cache::open(&path, Some("pod")) {
            Ok(cache) => {
                assert_eq!(bytes(cache.get(&Digest::of(DOCUMENT), ENTRY)), None);
                if let Err(error) = cache.put(DOCUMENT) {
                    assert!(chain(&error).ends_with(": no space left on device"), "{}", chain(&error));
                }
                drop(cache.try_turn("image"));
            }
            Err(error) => assert!(chain(&error).ends_with(": no space left on device"), "{}", chain(&error)),
        }
        // Nothing that is half made is left.
        assert!(!names(place).iter().any(|name| name.starts_with("new-")));
    }
}

#[test]
fn a_read_only_mount_is_read() {
    let dir = shared();
    let cache = open(dir.path());
    cache.put(DOCUMENT).unwrap();
    drop(cache.try_turn("image"));
    fs::create_dir(dir.path().join("empty")).unwrap();
    let read_only = "mount --bind \"$1\" \"$1\"\nmount -o remount,bind,ro \"$1\"";
    if let Some(process) = mounted("a read-only mount", read_only, "read only", dir.path()) {
        process.succeeds();
    }
}

#[test]
fn a_reader_beside_a_writer_that_spoils_and_repairs_believes_nothing_wrong() {
    let dir = shared();
    let cache = open(dir.path());
    let digest = cache.put(DOCUMENT).unwrap();
    let path = blob(dir.path(), &digest);
    let found = AtomicU64::new(0);
    let (slowest, wrong) = std::thread::scope(|scope| {
        let spoiler = scope.spawn(|| {
            let mut rounds = 0;
            while rounds < 300 || found.load(Ordering::Relaxed) == 0 {
                rounds += 1;
                // In place, as a step can: the same file while it is read.
                let _ = fs::set_permissions(&path, fs::Permissions::from_mode(0o666));
                let _ = fs::write(&path, b"{\"schemaVersion\":9}");
                let _ = open(dir.path()).put(DOCUMENT);
            }
        });
        let (mut slowest, mut wrong) = (Duration::ZERO, None);
        while !spoiler.is_finished() {
            let since = Instant::now();
            if let Ok(Some(entry)) = cache.get(&digest, ENTRY) {
                wrong = wrong.or(Some(entry.bytes).filter(|bytes| bytes != DOCUMENT));
                found.fetch_add(1, Ordering::Relaxed);
            }
            slowest = slowest.max(since.elapsed());
        }
        (slowest, wrong)
    });
    assert_eq!(wrong, None);
    assert!(slowest < WAIT, "{slowest:?}");
}
