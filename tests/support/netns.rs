//! Networks of their own, joined by cables: a node and its pods, to each of which `localhost` is somebody else.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "each test program uses a part of this, and a test's support fails the test"
)]

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Pid, gettid};

use super::skip;

type Job = Box<dyn FnOnce() + Send>;

/// A network with nothing but loopback, and a `/etc/hosts` of its own. What is started inside lives in it.
pub struct Netns {
    inside: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    id: Pid,
    _hosts: tempfile::TempDir,
}

/// Something that is dropped in the network in which it was made: a server is woken there, for example.
pub struct Kept<'n, T: Send + 'static> {
    network: &'n Netns,
    thing: Option<T>,
}

/// A program that runs in a network until this is dropped.
pub struct Running(Child);

impl Netns {
    /// Whether there can be any here; the test is skipped if not.
    pub fn available(purpose: &str) -> bool {
        skip::root(purpose) && skip::programs(purpose, &[("ip", "iproute2")])
    }

    /// A network in which these addresses have these names.
    pub fn new(hosts: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let lines =
            [("127.0.0.1", "localhost")].iter().chain(hosts).map(|(address, name)| format!("{address} {name}\n"));
        fs::write(dir.path().join("hosts"), lines.collect::<String>()).unwrap();
        let hosts = dir.path().join("hosts");
        let (inside, jobs) = mpsc::channel::<Job>();
        let (ready, is_ready) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let none: Option<&str> = None;
            unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET).expect("namespaces");
            mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).expect("no mount is shared");
            mount(Some(&hosts), "/etc/hosts", none, MsFlags::MS_BIND, none).expect("the names");
            ip(&["link", "set", "lo", "up"]);
            ready.send(gettid()).unwrap();
            jobs.into_iter().for_each(|job| job());
        });
        let id = is_ready.recv().expect("the network is made");
        Self { inside: Some(inside), thread: Some(thread), id, _hosts: dir }
    }

    /// Does something inside.
    pub fn inside<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (done, result) = mpsc::channel();
        let job = Box::new(move || drop(done.send(job())));
        self.inside.as_ref().unwrap().send(job).unwrap();
        result.recv().expect("what was done inside did not panic")
    }

    /// Makes something inside that is to end there too.
    pub fn keep<T: Send + 'static>(&self, make: impl FnOnce() -> T + Send + 'static) -> Kept<'_, T> {
        Kept { network: self, thing: Some(self.inside(make)) }
    }

    /// `ip`, inside.
    pub fn ip(&self, args: &[&str]) {
        let args: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
        self.inside(move || ip(&args.iter().map(String::as_str).collect::<Vec<_>>()));
    }

    /// Joins two networks by a cable; each has an address at its end (`10.42.0.1/24`), and sends the other everything
    /// that it has no better way for.
    pub fn join(&self, own: &str, other: &Self, others: &str) {
        let id = other.id.to_string();
        self.ip(&["link", "add", "here", "type", "veth", "peer", "name", "there", "netns", &id]);
        for (network, end, address, gateway) in [(self, "here", own, others), (other, "there", others, own)] {
            network.ip(&["addr", "add", address, "dev", end]);
            network.ip(&["link", "set", end, "up"]);
            let gateway = gateway.split('/').next().unwrap();
            network.ip(&["route", "add", "default", "via", gateway]);
        }
    }

    /// Mounts a file over another one, for what runs inside.
    pub fn bind(&self, file: &Path, over: &Path) {
        let (file, over) = (file.to_owned(), over.to_owned());
        self.inside(move || {
            let none: Option<&str> = None;
            mount(Some(&file), &over, none, MsFlags::MS_BIND, none).expect("a file is mounted");
        });
    }

    /// Starts a program that is to listen at this address.
    pub fn start(&self, mut command: Command, address: &str) -> Running {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut running = self.inside(move || Running(command.spawn().expect("the program starts")));
        let give_up = Instant::now() + Duration::from_secs(60);
        loop {
            let address = address.to_owned();
            if self.inside(move || TcpStream::connect(address).is_ok()) {
                return running;
            }
            let ended = running.0.try_wait().unwrap();
            assert!(ended.is_none() && Instant::now() < give_up, "it does not listen: {ended:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Hands every connection to one address of this network on to another one, as a node hands on what comes to a port
    /// of it, until the test's process ends.
    pub fn forward(&self, from: &str, to: &str) {
        let (from, to) = (from.to_owned(), to.to_owned());
        self.inside(move || {
            let listener = TcpListener::bind(from).expect("an address to listen on");
            // Threads are in the network of the thread that starts them.
            std::thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let Ok(onward) = TcpStream::connect(&to) else { continue };
                    let ends = [(stream.try_clone(), onward.try_clone()), (Ok(onward), Ok(stream))];
                    for (reader, writer) in ends {
                        let (mut reader, mut writer) = (reader.unwrap(), writer.unwrap());
                        std::thread::spawn(move || {
                            let _ = std::io::copy(&mut reader, &mut writer);
                            let _ = writer.shutdown(std::net::Shutdown::Write);
                        });
                    }
                }
            });
        });
    }
}

impl<T: Send + 'static> std::ops::Deref for Kept<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.thing.as_ref().expect("it is there until it is dropped")
    }
}

impl<T: Send + 'static> Drop for Kept<'_, T> {
    fn drop(&mut self) {
        let thing = self.thing.take();
        self.network.inside(move || drop(thing));
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        self.inside = None;
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(std::thread::panicking() || matches!(ended, Some(Ok(()))), "the network was there to the end");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn ip(args: &[&str]) {
    let program = skip::program("ip").expect("ip was there a moment ago");
    let output = Command::new(program).args(args).output().unwrap();
    assert!(output.status.success(), "ip {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}
