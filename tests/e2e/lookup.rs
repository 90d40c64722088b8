//! Lookups at a real registry, and every way in which they fail: the next step is always released.

use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::registry::{PASSWORD, Registry};
use crate::step::{Ended, Task};
use crate::tls::Authority;
use crate::{images, skip};

/// A registry with the images of the tests, and a docker configuration with the right password; or a skip.
fn registry(dir: &Path) -> Option<Registry> {
    if !Registry::available("lookups at a real registry") || !skip::programs("images", &[("busybox", "busybox-static")])
    {
        return None;
    }
    let registry = Registry::start(dir, &images::certificates(dir));
    let layout = images::layout(&dir.join("layout"), &skip::busybox().expect("busybox"));
    for name in ["echo", "index", "cmd-only", "nothing", "elsewhere"] {
        registry.push(layout.dir(), name, &format!("ci/{name}:1"));
    }
    images::docker_config(&dir.join("docker"), registry.host(), PASSWORD);
    Some(registry)
}

/// A step that looks up its image, and one that waits for it: what became of both.
fn two_steps(dir: &Path, host: &str, image: &str) -> (Ended, Ended) {
    let task = Task { dir };
    let second = task.start(1, &["-entrypoint", "/bin/true"], &[]);
    let certificate = format!("{host}={}", dir.join("authority.pem").display());
    let docker = dir.join("docker").display().to_string();
    let flags = ["-image", &format!("{host}/ci/{image}"), "-image_registry_certificate", &certificate];
    let first = task.start(0, &flags, &[("DOCKER_CONFIG", &docker)]);
    (first.end(), second.end())
}

/// A lookup that failed, as the contract has it: `.err`, a message with its reason, exit 1, one sentence, which is
/// returned; and the next step is released, to be skipped.
fn failure((first, second): &(Ended, Ended)) -> String {
    assert_eq!((first.code, first.post), (Some(1), Some("out.err")), "{first:?}");
    assert_eq!(first.said("Reason").as_deref(), Some("ImageLookupFailed"), "{first:?}");
    assert!(first.said("StartedAt").is_some(), "{first:?}");
    let sentence = first.stderr.lines().last().expect("a sentence").to_owned();
    let told = first.said("entrypoint/error").expect("the message holds the sentence");
    assert!(sentence.contains(told.trim_end_matches("...")), "{first:?}");
    assert!(!first.stderr.contains(PASSWORD) && !first.message.contains(PASSWORD), "a password was printed");
    assert_eq!((second.code, second.post), (Some(1), Some("out.err")), "{second:?}");
    assert_eq!(second.said("Reason").as_deref(), Some("Skipped"), "{second:?}");
    sentence
}

#[test]
fn what_the_image_would_run_is_found() {
    let dir = TempDir::new().expect("a directory");
    let Some(registry) = registry(dir.path()) else { return };
    for (image, printed) in [("echo:1", "hello world\n"), ("index:1", "hello world\n"), ("cmd-only:1", "cmd\n")] {
        let task = TempDir::new_in(dir.path()).expect("a directory");
        for name in ["authority.pem", "docker"] {
            std::os::unix::fs::symlink(dir.path().join(name), task.path().join(name)).expect("a link");
        }
        let (first, second) = two_steps(task.path(), registry.host(), image);
        assert_eq!((first.code, first.post, first.stdout.as_str()), (Some(0), Some("out"), printed), "{first:?}");
        assert_eq!((second.code, second.post), (Some(0), Some("out")), "{second:?}");
    }
}

#[test]
fn an_answer_that_names_no_command_fails_the_step() {
    let dir = TempDir::new().expect("a directory");
    let Some(registry) = registry(dir.path()) else { return };
    for (image, words) in
        [("nothing:1", ["ENTRYPOINT", "CMD"]), ("elsewhere:1", ["linux/", "s390x"]), ("absent:1", ["404", "ci/absent"])]
    {
        let task = TempDir::new_in(dir.path()).expect("a directory");
        for name in ["authority.pem", "docker"] {
            std::os::unix::fs::symlink(dir.path().join(name), task.path().join(name)).expect("a link");
        }
        let sentence = failure(&two_steps(task.path(), registry.host(), image));
        for word in words.iter().copied().chain([registry.host()]) {
            assert!(sentence.contains(word), "{word} is not in: {sentence}");
        }
    }
}

#[test]
fn a_registry_that_is_gone_fails_the_step() {
    let dir = TempDir::new().expect("a directory");
    let Some(mut registry) = registry(dir.path()) else { return };
    registry.stop();
    let sentence = failure(&two_steps(dir.path(), registry.host(), "echo:1"));
    assert!(sentence.contains(registry.host()) && sentence.contains("refused"), "{sentence}");
}

#[test]
fn a_wrong_password_fails_the_step() {
    let dir = TempDir::new().expect("a directory");
    let Some(registry) = registry(dir.path()) else { return };
    images::docker_config(&dir.path().join("docker"), registry.host(), "not the password");
    let sentence = failure(&two_steps(dir.path(), registry.host(), "echo:1"));
    assert!(sentence.contains(registry.host()) && sentence.contains("401"), "{sentence}");
    assert!(!sentence.contains("not the password"), "{sentence}");
}

#[test]
fn a_registry_with_an_unknown_authority_fails_the_step() {
    let dir = TempDir::new().expect("a directory");
    let Some(registry) = registry(dir.path()) else { return };
    let stranger = Authority::new("somebody else").pem();
    fs::write(dir.path().join("authority.pem"), stranger).expect("another authority");
    let sentence = failure(&two_steps(dir.path(), registry.host(), "echo:1"));
    assert!(sentence.contains(registry.host()) && sentence.contains("certificate"), "{sentence}");
}

#[test]
fn a_lookup_that_is_killed_fails_the_step() {
    let dir = TempDir::new().expect("a directory");
    // It accepts and says nothing, so the lookup is surely in the middle of its work.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let host = silent.local_addr().expect("an address").to_string();
    let task = Task { dir: dir.path() };
    let second = task.start(1, &["-entrypoint", "/bin/true"], &[]);
    let first = task.start(0, &["-image", &format!("{host}/ci/echo:1"), "-image_insecure_registry", &host], &[]);
    let (mut connection, _) = silent.accept().expect("the lookup connects");
    let mut byte = [0];
    connection.read_exact(&mut byte).expect("the lookup speaks");
    drop(silent);
    let children = children(first.pid());
    let [child] = children[..] else { panic!("one child, the lookup, and not {children:?}") };
    kill(Pid::from_raw(child), Signal::SIGKILL).expect("the child is there");
    let sentence = failure(&(first.end(), second.end()));
    assert!(sentence.contains("killed by SIGKILL"), "{sentence}");
}

/// The children of a process.
fn children(parent: u32) -> Vec<i32> {
    let listed = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).expect("the process is there");
    listed.split_whitespace().map(|pid| pid.parse().expect("a process id")).collect()
}
