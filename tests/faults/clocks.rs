//! Clocks that jump: the wall clock of a run is ahead by ten years from some reading on, behind by a day, at the beginning of
//! 1970 as where nobody has set it, or elsewhere each time. The machine's own is never touched: what the program is told is.

use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::unistd::Pid;
use serde_json::Value;

use crate::disks::scenarios::{self, Scenario};
use crate::disks::world::{self, Files, Node};
use crate::server::{Answer, Bound, Reply, Server};
use crate::step::without_times;
use crate::tls::{LOOPBACK, Leaf};
use crate::tracer::{self, Call, Ended, Verdict, Watcher, memory, word};

const DAY: i64 = 24 * 60 * 60;
const YEAR: i64 = 365 * DAY;

/// What the clock shows, by how often it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Clock {
    Right,
    /// From this reading on it is off.
    Jumps(usize, Jump),
    /// It is somewhere else each time.
    Mad,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Jump {
    /// So many seconds ahead, or behind.
    By(i64),
    /// To the first hour that Linux knows of.
    ToTheBeginning,
}

const AHEAD: Jump = Jump::By(10 * YEAR);
const BEHIND: Jump = Jump::By(-DAY);

/// Where it jumps to.
const JUMPS: [Jump; 3] = [AHEAD, BEHIND, Jump::ToTheBeginning];

impl Clock {
    fn shows(self, reading: usize, now: i64) -> i64 {
        let jump = match self {
            Self::Jumps(from, jump) if reading >= from => jump,
            Self::Right | Self::Jumps(..) => return now,
            Self::Mad => [AHEAD, BEHIND, Jump::By(0), Jump::ToTheBeginning, Jump::By(200 * YEAR)][reading % 5],
        };
        match jump {
            Jump::By(seconds) => now + seconds,
            Jump::ToTheBeginning => now % 3600,
        }
    }
}

/// Tells the wrong time.
#[derive(Debug)]
struct Liar {
    clock: Clock,
    readings: usize,
    /// Waits that end at a time of the wall clock.
    by_the_wall: Vec<Call>,
}

impl Liar {
    fn new(clock: Clock) -> Self {
        Self { clock, readings: 0, by_the_wall: Vec::new() }
    }
}

impl Watcher for Liar {
    fn called(&mut self, call: &Call) -> Verdict {
        const REALTIME: u64 = libc::CLOCK_REALTIME as u64;
        const ABSOLUTE: u64 = libc::TIMER_ABSTIME as u64;
        let by_the_wall = match call.number {
            libc::SYS_timerfd_create | libc::SYS_timer_create => call.args[0] == REALTIME,
            libc::SYS_clock_nanosleep => call.args[0] == REALTIME && call.args[1] & ABSOLUTE != 0,
            // With a limit of time that is one.
            libc::SYS_futex => call.args[1] & libc::FUTEX_CLOCK_REALTIME as u64 != 0 && call.args[3] != 0,
            _ => false,
        };
        if by_the_wall {
            self.by_the_wall.push(*call);
        }
        Verdict::Pass
    }

    fn returned(&mut self, call: &Call) {
        let wall = [libc::CLOCK_REALTIME, libc::CLOCK_REALTIME_COARSE].map(|clock| clock as u64);
        if call.number == libc::SYS_clock_gettime && wall.contains(&call.args[0]) {
            let memory = memory(call.pid).unwrap();
            let now = word(&memory, call.args[1]).unwrap().cast_signed();
            let told = self.clock.shows(self.readings, now);
            memory.write_all_at(&told.to_ne_bytes(), call.args[1]).unwrap();
            self.readings += 1;
        }
    }

    /// Without the kernel's page of quick calls, which nobody sees, the clock is read by a call.
    fn begins(&mut self, pid: Pid) {
        const QUICK_CALLS: u64 = 33;
        const IGNORED: u64 = 1;
        let memory = memory(pid).unwrap();
        let mut at = tracer::stack(pid);
        // How many arguments, these, an empty one, the environment, an empty one.
        at += 8 * (word(&memory, at).unwrap() + 2);
        while word(&memory, at).unwrap() != 0 {
            at += 8;
        }
        at += 8;
        while word(&memory, at).unwrap() != 0 {
            if word(&memory, at).unwrap() == QUICK_CALLS {
                memory.write_all_at(&IGNORED.to_ne_bytes(), at).unwrap();
            }
            at += 16;
        }
    }
}

/// What a run under a clock left.
struct Left {
    ended: Ended,
    files: Files,
    readings: usize,
    by_the_wall: Vec<Call>,
}

fn run(scenario: &Scenario, clock: Clock, quiet: &Path) -> Left {
    world::clear();
    let command = scenario.ready();
    let mut liar = Liar::new(clock);
    let ended = tracer::run(&command, quiet, &mut liar);
    assert_eq!(world::left(), [""; 0], "{}, {clock:?}", scenario.name);
    Left { ended, files: world::files(), readings: liar.readings, by_the_wall: liar.by_the_wall }
}

/// A log without its times: of a line that has one the time is 19 letters long, at least.
fn timeless(log: &str) -> Vec<&str> {
    log.lines()
        .map(|line| {
            let time: String = line.chars().take_while(|letter| "0123456789/: ".contains(*letter)).collect();
            if time.len() >= 19 { &line[time.len()..] } else { line }
        })
        .collect()
}

/// Everything that a run leaves, without times.
fn timeless_files(files: &Files) -> Files {
    let mut files = files.clone();
    if let Some(Node::File { content, .. }) = files.get_mut("termination") {
        let message = String::from_utf8(content.clone()).unwrap();
        let entries: Vec<Value> = serde_json::from_str(&message).unwrap();
        let started: Vec<&str> = entries
            .iter()
            .filter(|entry| entry["key"] == "StartedAt")
            .map(|entry| entry["value"].as_str().unwrap())
            .collect();
        let [started] = started[..] else { panic!("{message}") };
        assert!(is_a_time(started), "{message}");
        *content = without_times(&message).into_bytes();
    }
    // Of a cache the oldest go, and what seems to be from the future: that costs a request.
    files.retain(|name, _| !name.starts_with("cache/"));
    files
}

/// Whether this is RFC 3339, with milliseconds.
fn is_a_time(text: &str) -> bool {
    let shape: String =
        text.chars().map(|letter| if letter.is_ascii_digit() { '0' } else { letter }).collect::<String>();
    ["0000-00-00T00:00:00.000Z", "0000-00-00T00:00:00.000+00:00", "0000-00-00T00:00:00.000-00:00"].contains(&&*shape)
}

#[test]
fn a_clock_that_jumps_at_any_reading_changes_nothing_but_the_times() {
    if !tracer::available("clocks that jump") {
        return;
    }
    let (registry, _layout) = scenarios::registry();
    let all = Arc::new(scenarios::all(&registry.host()));
    let counted = {
        let all = Arc::clone(&all);
        world::with_disk(move |quiet| all.iter().map(|scenario| run(scenario, Clock::Right, quiet)).collect::<Vec<_>>())
    };
    let counted = Arc::new(counted.join().unwrap());
    let mut cases = Vec::new();
    for (scenario, left) in counted.iter().enumerate() {
        let by = |at: usize| JUMPS.map(|by| Clock::Jumps(at, by));
        cases.extend((0..left.readings).flat_map(by).chain([Clock::Mad]).map(|clock| (scenario, clock)));
    }
    // It must have been read at all.
    assert!(counted.iter().zip(all.iter()).all(|(left, scenario)| left.readings > 0 || !scenario.step));
    let (cases, turn) = (Arc::new(cases), Arc::new(AtomicUsize::new(0)));
    let wrong = Arc::new(Mutex::new(Vec::new()));
    let workers: Vec<_> = (0..4)
        .map(|_| {
            let (all, cases, counted) = (Arc::clone(&all), Arc::clone(&cases), Arc::clone(&counted));
            let (turn, wrong) = (Arc::clone(&turn), Arc::clone(&wrong));
            world::with_disk(move |quiet| {
                while let Some(&(scenario, clock)) = cases.get(turn.fetch_add(1, Ordering::Relaxed)) {
                    let (left, right) = (run(&all[scenario], clock, quiet), &counted[scenario]);
                    let same = left.ended.code == right.ended.code
                        && timeless(&left.ended.stderr) == timeless(&right.ended.stderr)
                        && timeless_files(&left.files) == timeless_files(&right.files);
                    if !same || !left.by_the_wall.is_empty() {
                        wrong.lock().unwrap().push(format!(
                            "{}, {clock:?}: {:?} {:?}, not {:?}\n{:#?}",
                            all[scenario].name, left.ended, left.by_the_wall, right.ended, left.files
                        ));
                    }
                }
            })
        })
        .collect();
    workers.into_iter().for_each(|worker| worker.join().unwrap());
    let wrong = wrong.lock().unwrap();
    assert!(wrong.is_empty(), "{} of {} went wrong:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    let readings: usize = counted.iter().map(|left| left.readings).sum();
    eprintln!("{} runs with a clock that jumped at one of {readings} readings, or at all", cases.len());
}

#[test]
fn a_limit_of_time_is_one_of_the_monotonic_clock() {
    if !tracer::available("clocks that jump") {
        return;
    }
    const LIMIT: Duration = Duration::from_secs(2);
    let runs: Vec<_> = [Clock::Mad, Clock::Jumps(0, AHEAD), Clock::Jumps(1, AHEAD), Clock::Jumps(1, BEHIND)]
        .into_iter()
        .map(|clock| {
            world::with_disk(move |quiet| {
                let slow = scenarios::step(
                    "a step that is too slow",
                    || (),
                    &["-timeout", "2s"],
                    &["-entrypoint", "/bin/sleep", "--", "1000"],
                );
                let since = Instant::now();
                let left = run(&slow, clock, quiet);
                assert!(since.elapsed() >= LIMIT, "{clock:?}");
                assert_eq!(left.ended.code, Some(1), "{clock:?}: {:?}", left.ended);
                assert_eq!(timeless(&left.ended.stderr), ["context deadline exceeded"], "{clock:?}");
                assert_eq!(left.by_the_wall.len(), 0, "{clock:?}");
                assert!(left.files.contains_key("run/0/out.err"), "{clock:?}");
            })
        })
        .collect();
    runs.into_iter().for_each(|run| run.join().unwrap());
}

#[test]
fn a_step_that_waits_is_released_whatever_the_clock_shows() {
    if !tracer::available("clocks that jump") {
        return;
    }
    let runs: Vec<_> = [Clock::Mad, Clock::Jumps(0, BEHIND), Clock::Jumps(0, AHEAD)]
        .into_iter()
        .map(|clock| {
            world::with_disk(move |quiet| {
                let waits = scenarios::step(
                    "a step that waits",
                    || (),
                    &["-wait_file", "/tekton/go"],
                    &["-entrypoint", "/bin/true", "--"],
                );
                // Longer than between two looks: it has been asleep, and looked again.
                let release = std::thread::spawn(|| {
                    std::thread::sleep(Duration::from_millis(2500));
                    world::put("go", "");
                });
                let left = run(&waits, clock, quiet);
                release.join().unwrap();
                assert_eq!((left.ended.code, &*left.ended.stderr), (Some(0), ""), "{clock:?}");
                assert_eq!(left.by_the_wall.len(), 0, "{clock:?}");
            })
        })
        .collect();
    runs.into_iter().for_each(|run| run.join().unwrap());
}

#[test]
fn a_certificate_that_the_clock_makes_invalid_is_told_with_the_clock() {
    if !tracer::available("clocks that jump") {
        return;
    }
    let leaf = Leaf::signed_by_itself(LOOPBACK, 2090);
    let pem = leaf.certificate_pem.clone();
    let registry = Server::handler(Bound::new(), Some(leaf.server()), |_| Answer::new(404));
    let host = registry.host();
    let job = move |quiet: &Path| {
        let file = quiet.join("ca.crt");
        std::fs::write(&file, pem).unwrap();
        let (image, certificate) = (format!("{host}/team/tool:v1"), format!("{host}={}", file.display()));
        let flags = ["-image", &image, "-image_registry_certificate", &certificate];
        let asks = scenarios::step("an image over TLS", || (), &flags, &["--"]);
        for (clock, told) in [
            (Clock::Right, "404"),
            (Clock::Jumps(0, BEHIND), "404"),
            (Clock::Jumps(0, Jump::By(80 * YEAR)), "not valid any more by the clock here"),
            (Clock::Jumps(0, Jump::ToTheBeginning), "not valid yet by the clock here"),
        ] {
            let left = run(&asks, clock, quiet);
            let Some(Node::File { content, .. }) = left.files.get("termination") else { panic!("{clock:?}") };
            let message = String::from_utf8_lossy(content);
            assert_eq!(left.ended.code, Some(1), "{clock:?}");
            assert!(left.ended.stderr.contains(told) || message.contains(told), "{clock:?}: {}", left.ended.stderr);
            assert!(message.contains("ImageLookupFailed"), "{clock:?}: {message}");
            assert_eq!(left.by_the_wall.len(), 0, "{clock:?}");
        }
    };
    world::with_disk(job).join().unwrap();
}

#[test]
fn a_pause_until_a_date_is_counted_by_the_clock_of_who_asked_for_it() {
    if !tracer::available("clocks that jump") {
        return;
    }
    for clock in [
        Clock::Right,
        Clock::Mad,
        Clock::Jumps(0, AHEAD),
        Clock::Jumps(0, BEHIND),
        Clock::Jumps(0, Jump::ToTheBeginning),
    ] {
        let (served, _layout) = scenarios::served();
        let asked = AtomicUsize::new(0);
        let registry = Server::handler(Bound::new(), None, move |request| {
            if asked.fetch_add(1, Ordering::Relaxed) == 0 {
                let busy = Answer::new(429).header("Date", "Sat, 21 Nov 2026 12:00:00 GMT");
                return Reply::from(busy.header("Retry-After", "Sat, 21 Nov 2026 12:00:01 GMT"));
            }
            Reply::from(served.answer(request))
        });
        let host = registry.host();
        let job = move |quiet: &Path| {
            let image = format!("{host}/team/tool:v1");
            let flags = ["-image", &image, "-image_insecure_registry", &host];
            let asks = scenarios::step("a registry that is busy", || (), &flags, &["--", "exit 0"]);
            let left = run(&asks, clock, quiet);
            assert_eq!((left.ended.code, left.by_the_wall.len()), (Some(0), 0), "{clock:?}: {}", left.ended.stderr);
        };
        world::with_disk(job).join().unwrap();
        assert!(registry.requests().len() > 1, "{clock:?}");
    }
}
