//! What a step finds of a lookup in `/proc`, in memory, in core dumps, and in what it is given when it starts.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::place::{PASSWORD, Place, TOKEN, basic};
use crate::server::{Answer, Reply, Server};
use crate::skip;
use crate::step::{Step, entrypoint, eventually, only_child, send};

/// The user of a pod that is not root's.
const USER: u32 = 4711;

/// Whether a process has these bytes in its memory, in what of it can be written or was.
fn holds(pid: u32, text: &str) -> bool {
    let memory = File::open(format!("/proc/{pid}/mem")).unwrap();
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let mut areas = maps.lines().filter_map(|line| {
        let (range, rest) = line.split_once(' ')?;
        let (from, to) = range.split_once('-')?;
        let number = |text| u64::from_str_radix(text, 16).unwrap();
        // What is only read of a file is what the file is.
        let own = rest.starts_with("rw") || rest.starts_with('r') && rest.contains(" 00:00 0 ");
        (own && !rest.contains("[v")).then(|| (number(from), number(to)))
    });
    areas.any(|(from, to)| {
        let mut content = vec![0; usize::try_from(to - from).unwrap()];
        let read = memory.read_at(&mut content, from).unwrap_or(0);
        content.truncate(read);
        // The library's search is fast also in a build for debugging.
        String::from_utf8_lossy(&content).contains(text)
    })
}

/// What a lookup there knows.
fn secrets() -> [String; 3] {
    [PASSWORD.to_owned(), basic().split_off("Basic ".len()), TOKEN.to_owned()]
}

fn child_of(parent: &Child) -> u32 {
    let mut child = None;
    eventually("the lookup's process is there", || {
        child = only_child(parent.id());
        child.is_some()
    });
    u32::try_from(child.unwrap()).unwrap()
}

/// A registry that was shown the password, gave the token and the manifest, and keeps silent about the config.
fn stalling(place: &Place) -> Server {
    let content = place.content();
    place.serve(move |request| -> Reply {
        match request.header("Authorization") {
            Some(shown) if shown == basic() && request.path().contains("/blobs/") => {
                Reply::Stall(b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n".to_vec())
            }
            Some(shown) if shown == basic() => content(request).into(),
            _ => Answer::new(401).header("WWW-Authenticate", "Basic realm=\"r\"").into(),
        }
    })
}

/// Every way in which a lookup is made, in the middle of one: a directory to be in, and the command.
fn ways(place: &Place, host: &str) -> Vec<(&'static str, Command)> {
    let image = format!("{host}/team/tool:v1");
    let out = |name: &str| place.dir.path().join(name).display().to_string();
    let own = [
        "-post_file".to_owned(),
        out("out"),
        "-termination_path".to_owned(),
        out("termination"),
        "-step_metadata_dir".to_owned(),
        out("status"),
    ];
    let words = |first: &[&str]| first.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
    let ways = [
        ("a step", [own.to_vec(), words(&["-image", &image])].concat()),
        ("run-image", words(&["run-image", &image])),
        ("resolve", words(&["resolve", &image])),
    ];
    let docker = place.docker_config(host);
    let flags = place.flags(host);
    ways.into_iter()
        .map(|(name, args)| {
            let mut command = Command::new("sh");
            command.args(["-c", "ulimit -c unlimited; exec \"$0\" \"$@\""]).arg(entrypoint()).args(args).args(&flags);
            command.env("DOCKER_CONFIG", &docker).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            (name, command)
        })
        .collect()
}

/// Until the lookup has everything but the config.
fn in_the_middle(server: &Server, before: usize) {
    eventually("the config is asked for", || server.lines()[before..].iter().any(|line| line.contains("/blobs/")));
}

fn end(mut child: Child) {
    send(i32::try_from(child.id()).unwrap(), libc::SIGKILL);
    child.wait().unwrap();
}

#[test]
fn what_a_lookup_knew_is_nowhere_in_the_memory_of_the_process_that_stays() {
    if !skip::root("the memory of another process") {
        return;
    }
    let place = Place::new().image(&["/bin/sh", "-c", "echo; until [ -e $0 ]; do sleep 0.01; done"]);
    let registry = place.private();
    let docker = place.docker_config(&registry.host());
    let step = place.step(&registry.host()).env("DOCKER_CONFIG", &docker);
    let (turn, gate) = (step.path("turn"), step.path("gate"));
    let step = step.flags(["-wait_file".to_owned(), turn.display().to_string()]);
    let supervisor = step.start(&["--", &gate.display().to_string()]);
    eventually("the image was looked up", || {
        registry.lines().iter().any(|line| line.contains("/blobs/")) && only_child(supervisor.id()).is_none()
    });
    let search = |when: &str| {
        assert!(holds(supervisor.id(), "team/tool:v1"), "{when}: what is searched for would be found");
        for secret in secrets() {
            assert!(!holds(supervisor.id(), &secret), "{when}: {secret}");
        }
    };
    search("while it waits");
    fs::write(turn, "").unwrap();
    let program = child_of(&supervisor);
    eventually("the program runs", || {
        fs::read_link(format!("/proc/{program}/exe")).is_ok_and(|exe| exe != entrypoint())
    });
    search("beside the step");
    for secret in secrets() {
        assert!(!holds(program, &secret), "in the program: {secret}");
    }
    fs::write(gate, "").unwrap();
    let ended = step.finish(supervisor);
    assert_eq!((ended.code(), ended.post), (0, true), "{ended:#?}");
}

#[test]
fn a_program_that_run_image_becomes_finds_nothing_of_the_lookup() {
    if !skip::root("the memory of another process") {
        return;
    }
    let place = Place::new().image(&["/bin/sh", "-c", "exec sleep 1000"]);
    let registry = place.private();
    let docker = place.docker_config(&registry.host());
    let mut command = Command::new(entrypoint());
    command.args(["run-image", &format!("{}/team/tool:v1", registry.host())]).args(place.flags(&registry.host()));
    let child = command
        .stderr(Stdio::null())
        .env_clear()
        .env("DOCKER_CONFIG", &docker)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    eventually("it became the program", || {
        fs::read_to_string(format!("/proc/{}/cmdline", child.id())).is_ok_and(|line| line.starts_with("sleep"))
    });
    for secret in secrets() {
        assert!(!holds(child.id(), &secret), "{secret}");
    }
    let open = fs::read_dir(format!("/proc/{}/fd", child.id())).unwrap();
    let open: Vec<_> = open.map(|fd| fs::read_link(fd.unwrap().path()).unwrap().display().to_string()).collect();
    end(child);
    let is_ours = |file: &&String| file.starts_with("socket:") || file.starts_with("anon_inode:");
    assert_eq!(open.iter().find(is_ours), None, "{open:?}");
}

#[test]
fn a_process_of_the_same_user_reads_nothing_of_a_lookup_and_traces_none() {
    let purpose = "a lookup seen by the same user";
    if !skip::root(purpose) || !skip::programs(purpose, &[("perl", "perl-base")]) {
        return;
    }
    let place = Place::new().image(&["/bin/true"]);
    fs::set_permissions(place.dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let registry = stalling(&place);
    // PTRACE_SEIZE does not stop whom it traces, and ends with the tracer.
    let trace = if cfg!(target_arch = "x86_64") { 101 } else { 117 };
    let probe = format!(
        "for file in environ mem maps smaps auxv stack syscall io; do (exec 3</proc/$0/$file && cat <&3 >/dev/null) \
         2>/dev/null && echo $file; (exec 3</proc/$0/$file) 2>/dev/null && [ $file = mem ] && echo mem; done; \
         ls /proc/$0/fd >/dev/null 2>&1 && echo fd; readlink /proc/$0/cwd >/dev/null && echo cwd; \
         perl -e 'exit(syscall({trace}, 0x4206, $ARGV[0]+0, 0, 0) == 0 ? 0 : 1)' $0 && echo trace"
    );
    let seen = |pid: u32| {
        let mut command = Command::new("sh");
        let output = command.args(["-c", &probe, &pid.to_string()]).uid(USER).gid(USER).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    for (name, mut command) in ways(&place, &registry.host()) {
        let before = registry.lines().len();
        let parent = command.uid(USER).gid(USER).current_dir(place.dir.path()).spawn().unwrap();
        in_the_middle(&registry, before);
        let child = child_of(&parent);
        let (of_parent, of_child) = (seen(parent.id()), seen(child));
        for way in ["environ", "mem", "maps", "fd", "cwd", "trace"] {
            assert!(of_parent.lines().any(|line| line == way), "{name}: nobody could see {way}: {of_parent}");
        }
        assert!(holds(child, PASSWORD), "{name}: there is something to find");
        assert_eq!(of_child, "", "{name}");
        let cmdline = fs::read_to_string(format!("/proc/{child}/cmdline")).unwrap();
        for secret in secrets() {
            assert!(!cmdline.contains(&secret), "{name}: {cmdline}");
            assert!(!holds(parent.id(), &secret), "{name}: {secret} in the parent");
        }
        end(parent);
    }
}

#[test]
fn a_lookup_that_crashes_leaves_no_core() {
    let place = Place::new().image(&["/bin/true"]);
    let registry = stalling(&place);
    let cores = |dir: &Path| {
        let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with("core")).collect::<Vec<_>>()
    };
    for signal in [libc::SIGABRT, libc::SIGSEGV, libc::SIGQUIT] {
        for (name, mut command) in ways(&place, &registry.host()) {
            let (before, dir) = (registry.lines().len(), tempfile::tempdir().unwrap());
            let parent = command.current_dir(dir.path()).spawn().unwrap();
            in_the_middle(&registry, before);
            let child = child_of(&parent);
            let limits = fs::read_to_string(format!("/proc/{child}/limits")).unwrap();
            let core = limits.lines().find_map(|line| line.strip_prefix("Max core file size")).unwrap();
            assert_eq!(core.split_whitespace().take(2).collect::<Vec<_>>(), ["0", "0"], "{name}");
            send(i32::try_from(child).unwrap(), signal);
            eventually("it has died", || !Path::new(&format!("/proc/{child}/exe")).exists());
            end(parent);
            assert_eq!(cores(dir.path()), [] as [&str; 0], "{name}");
        }
    }
    // The machine makes them, and there.
    let dir = tempfile::tempdir().unwrap();
    let mut crash = Command::new("sh");
    let crash = crash.args(["-c", "ulimit -c unlimited && kill -ABRT $$"]).current_dir(dir.path());
    crash.stderr(Stdio::null()).status().unwrap();
    if cores(dir.path()).is_empty() {
        skip::skip("core files in the working directory: /proc/sys/kernel/core_pattern sends them elsewhere");
    }
}

#[test]
fn a_step_is_given_nothing_of_its_lookup() {
    // Descriptors, variables, signals and limits, as it would have them without a lookup.
    let script = "ls /proc/$$/fd; tr '\\0' '\\n' </proc/$$/environ; grep -E '^(Sig[^Q]|Shd|Cap|NoNew|Seccomp)' /proc/self/status; \
                  cat /proc/$$/limits; cat /proc/$$/oom_score_adj; umask; \
                  ls -l /proc/$$/fd | grep -c anon_inode";
    let place = Place::new().image(&["/bin/sh", "-c", script]);
    let registry = place.private();
    let docker = place.docker_config(&registry.host());
    let cache = place.dir.path().join("cache");
    fs::create_dir(&cache).unwrap();
    let flags = |step: Step| {
        let turn = step.path("turn");
        fs::write(&turn, "").unwrap();
        step.flags(["-wait_file".to_owned(), turn.display().to_string()]).env("DOCKER_CONFIG", &docker)
    };
    let looked_up =
        flags(place.step(&registry.host()).flags(["-image_cache_dir".to_owned(), cache.display().to_string()]));
    let looked_up = looked_up.run(&["--"]);
    let given = flags(Step::new()).sh(script);
    assert_eq!((looked_up.code(), given.code()), (1, 1), "grep counts none: {looked_up:#?}");
    assert_eq!(looked_up.stdout, given.stdout);
}

#[test]
fn a_step_that_gave_up_its_rights_neither_sees_nor_ends_its_supervisor() {
    if !skip::root("a step without rights") || !skip::programs("a step without rights", &[("setpriv", "util-linux")]) {
        return;
    }
    let script = format!(
        "exec setpriv --reuid={USER} --regid={USER} --clear-groups sh -c 'for file in environ maps mem; do (exec 3</proc/$0/$file) \
         2>/dev/null && echo $file; done; kill -9 $0 2>/dev/null && echo killed; kill -STOP $0 2>/dev/null && echo stopped; \
         echo done' $PPID"
    );
    let ended = Step::new().sh(&script);
    assert_eq!((ended.code(), ended.stdout.as_str(), ended.post), (0, "done\n", true), "{ended:#?}");
}

#[test]
fn a_step_of_the_same_user_can_end_its_supervisor_and_the_next_step_is_told() {
    let step = Step::new();
    let next = Step::new().flags(["-wait_file", &step.path("out").display().to_string()]);
    let waiting = next.start(&["-entrypoint", "/bin/true", "--"]);
    let ended = step.start(&["-entrypoint", "/bin/sh", "--", "-c", "kill -9 $PPID"]);
    let next = next.finish(waiting);
    assert_eq!((next.code(), next.post, next.err), (1, false, true), "{next:#?}");
    assert!(next.stderr.contains("ended without a report"), "{next:#?}");
    assert!(!step.finish(ended).post);
}
