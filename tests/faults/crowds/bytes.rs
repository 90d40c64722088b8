//! A gibibyte of stdout through the tee: the same at both ends, in little memory, whatever becomes of the reader or the disk.

use std::fs::{self, File};
use std::io::{Read, Seek as _, SeekFrom};
use std::path::Path;
use std::process::Child;
use std::thread::sleep;
use std::time::Duration;

use nix::sys::statvfs::statvfs;
use ring::digest::{Context, SHA256};
use tempfile::TempDir;

use crate::shell::scratch;
use crate::skip;
use crate::step::Step;

const MIB: u64 = 1 << 20;

/// How much is read at once.
const PIECE: usize = 1 << 16;

/// What the supervisor may need of its own, and how much more of everything from the first MiB to the last, in KiB. What it
/// has before that is its program, which is the kernel's to load and to drop.
const MEMORY: u64 = 1024;

/// The length of a line of what is printed.
const LINE: u64 = 11;

/// Prints so many MiB that are different everywhere: the lines 1000000000, 1000000001, and so on.
fn print(mebibytes: u64) -> String {
    format!("seq 1000000000 1999999999 | head -c {}", mebibytes * MIB)
}

/// The byte that stands there of what is printed.
fn printed_at(position: u64) -> u8 {
    format!("{}\n", 1_000_000_000 + position / LINE).as_bytes()[usize::try_from(position % LINE).unwrap()]
}

/// What came out at an end.
#[derive(Debug, PartialEq, Eq)]
struct Came {
    bytes: u64,
    digest: Vec<u8>,
}

/// Reads up to so many bytes; `look` is called for each MiB.
fn read(mut source: impl Read, limit: u64, mut look: impl FnMut(u64)) -> Came {
    let (mut context, mut bytes, mut buffer) = (Context::new(&SHA256), 0, vec![0; PIECE]);
    while bytes < limit {
        let most = usize::try_from(limit - bytes).unwrap_or(PIECE).min(PIECE);
        let read = source.read(&mut buffer[..most]).unwrap();
        if read == 0 {
            break;
        }
        context.update(&buffer[..read]);
        let before = bytes;
        bytes += read as u64;
        if bytes / MIB > before / MIB {
            look(bytes / MIB);
        }
    }
    Came { bytes, digest: context.finish().as_ref().to_vec() }
}

/// What a process needs of memory, in KiB: at most so far, and now of its own.
fn memory(child: &Child) -> [u64; 2] {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
    ["VmHWM:", "RssAnon:"].map(|name| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.trim().trim_end_matches(" kB").parse().unwrap_or(0)
    })
}

/// A step that prints into a pipe of ours and into a file.
struct Tee {
    step: Step,
    dir: TempDir,
}

impl Tee {
    /// None where there is no room for so many MiB; the test is skipped then.
    fn new(mebibytes: u64) -> Option<Self> {
        let room = |dir: &Path| {
            statvfs(dir).is_ok_and(|found| found.blocks_available() * found.fragment_size() > 2 * mebibytes * MIB)
        };
        let dir = Some(scratch())
            .filter(|dir| room(dir.path()))
            .or_else(|| tempfile::tempdir().ok().filter(|dir| room(dir.path())));
        let Some(dir) = dir else {
            skip::skip(&format!("{mebibytes} MiB of output: no room for them"));
            return None;
        };
        let path = dir.path().join("log").display().to_string();
        Some(Self { step: Step::new().flags(["-stdout_path", &path]), dir })
    }

    fn file(&self) -> File {
        File::open(self.dir.path().join("log")).unwrap()
    }

    fn start(&self, script: &str) -> Child {
        self.step.start(&["-entrypoint", "/bin/sh", "--", "-c", script])
    }
}

#[test]
fn a_gibibyte_is_the_same_at_both_ends_and_needs_little_memory_also_behind_a_reader_that_rests() {
    let Some(tee) = Tee::new(1024) else { return };
    let mut child = tee.start(&print(1024));
    let stdout = child.stdout.take().unwrap();
    let (mut peaks, mut own) = (Vec::new(), 0);
    let came = read(stdout, u64::MAX, |mebibytes| {
        if mebibytes % 16 == 1 {
            let [peak, now] = memory(&child);
            // Nothing is to be seen of one that has ended.
            peaks.extend(Some(peak).filter(|peak| *peak > 0));
            own = own.max(now);
            sleep(Duration::from_millis(10));
        }
    });
    let mut file = tee.file();
    assert_eq!(came.bytes, 1024 * MIB);
    assert!(read(&file, u64::MAX, |_| {}) == came, "the file is another");
    for sample in 0..1000 {
        let position = sample * 1_073_741 + sample % LINE;
        file.seek(SeekFrom::Start(position)).unwrap();
        let mut byte = [0];
        file.read_exact(&mut byte).unwrap();
        assert_eq!(byte[0], printed_at(position), "byte {position}");
    }
    let ended = tee.step.finish(child);
    assert_eq!((ended.code(), ended.post, ended.stderr.as_str()), (0, true, ""), "{ended:#?}");
    let (first, last) = (peaks[0], peaks[peaks.len() - 1]);
    eprintln!("at most {first} KiB at the first MiB, {last} KiB at the end, {own} KiB of its own");
    assert!(peaks.len() > 32 && own > 0, "{peaks:?}");
    assert!(last.saturating_sub(first) < MEMORY && own < MEMORY, "{first} {last} {own}");
}

#[test]
fn a_reader_that_goes_away_in_the_middle_ends_the_printing_and_not_the_step() {
    let Some(tee) = Tee::new(512) else { return };
    let done = tee.dir.path().join("done");
    // Whoever prints is told by the system, as without a copy; what comes behind it is the step's own affair.
    let mut child = tee.start(&format!("{}; echo $? >{}; exit 6", print(512), done.display()));
    let stdout = child.stdout.take().unwrap();
    let came = read(stdout, 256 * MIB, |_| {});
    let file = tee.file();
    let ended = tee.step.finish(child);
    assert_eq!((ended.code(), ended.err, ended.stderr.as_str()), (6, true, ""), "{ended:#?}");
    assert_eq!(fs::read_to_string(done).unwrap(), "141\n", "128 and SIGPIPE");
    let length = file.metadata().unwrap().len();
    assert!((256 * MIB..512 * MIB).contains(&length), "{length}");
    assert!(read(&file, 256 * MIB, |_| {}) == came, "the file is another");
}

#[test]
fn a_disk_that_is_full_in_the_middle_disturbs_neither_the_step_nor_its_reader_and_is_told_at_the_end() {
    const MOUNT: &str =
        r#"mount -t tmpfs -o size=64m none "$0" && "$@"; code=$?; stat -c %s "$0/log" >"$0.size"; exit $code"#;
    let purpose = "a disk that is full in the middle";
    if !skip::root(purpose) || !skip::programs(purpose, &[("unshare", "util-linux"), ("mount", "mount")]) {
        return;
    }
    let step = Step::new();
    let disk = step.path("disk");
    fs::create_dir(&disk).unwrap();
    let log = disk.join("log").display().to_string();
    let step = step.flags(["-stdout_path", &log]).under(&["unshare", "-m", "sh", "-c", MOUNT, disk.to_str().unwrap()]);
    let mut child = step.start(&["-entrypoint", "/bin/sh", "--", "-c", &format!("{}; echo end >&2", print(256))]);
    let came = read(child.stdout.take().unwrap(), u64::MAX, |_| {});
    let status = child.wait().unwrap();
    let size: u64 = fs::read_to_string(step.path("disk.size")).unwrap().trim().parse().unwrap();
    let ended = step.finish(child);
    assert_eq!((status.code(), ended.err, ended.post), (Some(1), true, false), "{ended:#?}");
    assert_eq!((came.bytes, size), (256 * MIB, 64 * MIB), "the reader's is complete, and the disk full");
    let sentence = format!(
        "Error executing command: write {log}: no space left on device: the last {} bytes of the step's stdout are missing \
         there",
        192 * MIB
    );
    assert!(ended.stderr.starts_with("end\n") && ended.stderr.contains(&sentence), "{}", ended.stderr);
    assert!(ended.message.is_some_and(|message| message.contains(&sentence)));
}
