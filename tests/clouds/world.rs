//! A world with clouds in it: a network of its own in which metadata servers, token services and registries have their real
//! addresses and names, and an empty root in which nothing but the program is.
//!
//! The servers are emulators written for the tests. An assertion that fails in one fails the test when the world ends.

mod sweep;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use crate::oci::{self, Layout, architecture};
use crate::registry::Registry;
use crate::server::{Answer, Bound, Reply, Request, Server, Tls};
use crate::skip;
use crate::tls::Authority;

/// What the image of every registry runs.
pub const ENTRYPOINT: &str = "/bin/tool";
/// Where clouds have their metadata servers.
pub const METADATA: &str = "169.254.169.254";
/// Addresses besides loopback that the network has.
const ADDRESSES: [&str; 3] = ["169.254.169.254/32", "169.254.170.2/32", "169.254.170.23/32"];

type Job = Box<dyn FnOnce() + Send>;

/// The world.
pub struct World {
    root: tempfile::TempDir,
    authority: Authority,
    layout: PathBuf,
    inside: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    hosts: RefCell<String>,
    servers: RefCell<Vec<(String, Server)>>,
    secrets: RefCell<Vec<String>>,
    /// Everything that runs have said and left behind so far.
    left: RefCell<Vec<String>>,
    /// The files in the root that the test wrote itself.
    written: RefCell<BTreeSet<PathBuf>>,
}

/// A run of the program that is being prepared.
pub struct Run<'w> {
    world: &'w World,
    args: Vec<String>,
    env: Vec<(String, String)>,
    wrapper: Vec<String>,
    uid: Option<u32>,
}

/// What a run left.
#[derive(Debug)]
pub struct Told {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    /// How long it took. For people: no test depends on it.
    pub took: Duration,
}

impl World {
    /// A world with nobody in it; the test is skipped where there can be none.
    pub fn new(purpose: &str) -> Option<Self> {
        let programs = [("busybox", "busybox-static"), ("chroot", "coreutils")];
        if !skip::root(purpose) || !skip::programs(purpose, &programs) {
            return None;
        }
        let root = tempfile::tempdir().unwrap();
        let mut layout = Layout::create(&root.path().join("layout"));
        let image = layout.image(architecture(), oci::Command { entrypoint: &[ENTRYPOINT], cmd: &[] }, &[]);
        layout.tag("1", &image);
        let authority = Authority::new("the tests' authority");
        let (inside, jobs) = mpsc::channel::<Job>();
        let container = root.path().join("root");
        fs::create_dir_all(container.join("etc")).unwrap();
        fs::write(container.join("entrypoint"), "").unwrap();
        fs::write(container.join("ca.crt"), authority.pem()).unwrap();
        // A program that lets the C library resolve names would load what this names, from the step's image.
        fs::write(container.join("etc/nsswitch.conf"), "hosts: evil files\npasswd: evil\n").unwrap();
        let (ready, is_ready) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            enter(&container);
            ready.send(()).unwrap();
            jobs.into_iter().for_each(|job| job());
        });
        is_ready.recv().expect("the world is made");
        let world = Self {
            layout: layout.dir().to_owned(),
            root,
            authority,
            inside: Some(inside),
            thread: Some(thread),
            hosts: RefCell::default(),
            servers: RefCell::default(),
            secrets: RefCell::default(),
            left: RefCell::default(),
            written: RefCell::default(),
        };
        world.written.replace(files(&world.path("/")).into_iter().collect());
        world.named("127.0.0.1", &["localhost"]);
        Some(world)
    }

    /// A secret that no run may tell, whether before or after: on its outputs or in a file, the whole or its beginning, as
    /// it is or encoded.
    pub fn secret(&self, text: &str) -> String {
        let mut secrets = self.secrets.borrow_mut();
        if secrets.iter().all(|known| known != text) {
            secrets.push(text.to_owned());
        }
        text.to_owned()
    }

    /// Gives an address further names.
    pub fn named(&self, address: &str, names: &[&str]) {
        let mut hosts = self.hosts.borrow_mut();
        hosts.push_str(&format!("{address} {}\n", names.join(" ")));
        fs::write(self.path("/etc/hosts"), hosts.as_bytes()).unwrap();
    }

    /// Somebody who answers plain http at `address:port`: 169.254.169.254:80 for example.
    pub fn plain<R: Into<Reply>>(&self, address: &str, handle: impl Fn(&Request) -> R + Send + Sync + 'static) {
        self.serve(address.to_owned(), address.to_owned(), None, handle);
    }

    /// Somebody who answers https at these names, at an address of their own.
    pub fn secure<R: Into<Reply>>(&self, names: &[&str], handle: impl Fn(&Request) -> R + Send + Sync + 'static) {
        let address = format!("127.0.7.{}", self.servers.borrow().len() + 1);
        self.named(&address, names);
        self.serve(names[0].to_owned(), format!("{address}:443"), Some(self.authority.server(names)), handle);
    }

    /// A registry at this name. `door` answers whoever may not come in, and what else is no part of a registry's content;
    /// whom it has no answer for is given the image.
    pub fn registry(&self, name: &str, door: impl Fn(&Request) -> Option<Answer> + Send + Sync + 'static) {
        self.secure(&[name], self.with_image(door));
    }

    /// What a registry answers, with such a door.
    pub fn with_image(
        &self,
        door: impl Fn(&Request) -> Option<Answer> + Send + Sync + 'static,
    ) -> impl Fn(&Request) -> Answer + Send + Sync + 'static {
        let content = Registry { layout: self.layout.clone(), authorization: None };
        move |request| door(request).unwrap_or_else(|| content.answer(request))
    }

    /// Fails if a secret is in one of these.
    pub fn assert_that_no_secret_is_told_in(&self, texts: &[String]) {
        for secret in self.secrets.borrow().iter() {
            for text in texts {
                let told = sweep::tells(text, secret);
                assert!(told.is_none(), "{} of the secret {secret} in {text}", told.unwrap_or_default());
            }
        }
    }

    /// Somebody who is called this here, and listens at an address.
    pub fn serve<R: Into<Reply>>(
        &self,
        name: String,
        address: String,
        tls: Tls,
        handle: impl Fn(&Request) -> R + Send + Sync + 'static,
    ) {
        let server = self.inside(move || Server::handler(Bound::to(&address), tls, handle));
        self.servers.borrow_mut().push((name, server));
    }

    /// What was asked so far: `sts.amazonaws.com POST /`, in the order of the servers.
    pub fn asked(&self) -> Vec<String> {
        let servers = self.servers.borrow();
        servers
            .iter()
            .flat_map(|(name, server)| server.lines().into_iter().map(move |l| format!("{name} {l}")))
            .collect()
    }

    /// What was asked of one server.
    pub fn asked_of(&self, name: &str) -> Vec<Request> {
        let servers = self.servers.borrow();
        let (_, server) = servers.iter().find(|(own, _)| own == name).expect(name);
        server.requests()
    }

    /// The path outside of a path in the root.
    pub fn path(&self, inside: &str) -> PathBuf {
        self.root.path().join("root").join(inside.trim_start_matches('/'))
    }

    /// Writes a file into the root; the path as the program has it.
    pub fn file(&self, inside: &str, content: &str) -> String {
        let path = self.path(inside);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        self.written.borrow_mut().insert(path);
        inside.to_owned()
    }

    /// `resolve` of the image at a registry: its story, with nothing in the environment but the authority.
    pub fn resolve(&self, registry: &str) -> Run<'_> {
        self.run(&["resolve", &format!("{registry}/team/tool:1")])
    }

    /// The program with these arguments.
    pub fn run(&self, args: &[&str]) -> Run<'_> {
        let env = vec![("SSL_CERT_FILE".to_owned(), "/ca.crt".to_owned())];
        let args = args.iter().map(|&arg| arg.to_owned()).collect();
        Run { world: self, args, env, wrapper: Vec::new(), uid: None }
    }

    /// Does something in the world's network, where what is bound stays and what is started lives.
    pub fn inside<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (done, result) = mpsc::channel();
        let job = Box::new(move || drop(done.send(job())));
        self.inside.as_ref().unwrap().send(job).unwrap();
        result.recv().expect("what was done inside did not panic")
    }
}

impl Run<'_> {
    /// With this variable.
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.env.push((name.to_owned(), value.into()));
        self
    }

    /// With these variables.
    pub fn envs(mut self, variables: &[(&str, &str)]) -> Self {
        self.env.extend(variables.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())));
        self
    }

    /// With these flags.
    pub fn flags(mut self, flags: &[&str]) -> Self {
        self.args.extend(flags.iter().map(|&flag| flag.to_owned()));
        self
    }

    /// As somebody who is not root.
    pub fn uid(mut self, uid: u32) -> Self {
        self.uid = Some(uid);
        self
    }

    /// By a program of the machine that runs another.
    pub fn under(mut self, wrapper: &[&str]) -> Self {
        self.wrapper.extend(wrapper.iter().map(|&word| word.to_owned()));
        self
    }

    /// Runs to the end. Whatever it says, there is no secret in it.
    pub fn told(self) -> Told {
        let Self { world, args, env, wrapper, uid } = self;
        let mut words = wrapper;
        words.push(skip::program("chroot").unwrap().display().to_string());
        words.extend(uid.map(|uid| format!("--userspec={uid}:{uid}")));
        words.push(world.root.path().join("root").display().to_string());
        words.push("/entrypoint".to_owned());
        words.extend(args);
        let (output, took) = world.inside(move || {
            let since = Instant::now();
            let mut command = Command::new(&words[0]);
            command.args(&words[1..]).env_clear().envs(env).stdin(Stdio::null());
            (command.output().unwrap(), since.elapsed())
        });
        let [stdout, stderr] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
        let mut left = vec![stdout.clone(), stderr.clone()];
        let own = files(&world.path("/")).into_iter().filter(|path| !world.written.borrow().contains(path));
        left.extend(own.map(|path| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned()));
        world.assert_that_no_secret_is_told_in(&left);
        world.left.borrow_mut().extend(left);
        Told { code: output.status.code(), stdout, stderr, took }
    }
}

impl Told {
    /// Fails unless the image was found; the story.
    pub fn found(&self) -> &str {
        assert!(self.code == Some(0) && self.stdout.contains(ENTRYPOINT), "{self:#?}");
        &self.stdout
    }

    /// Fails unless the lookup failed; everything that was said.
    pub fn failed(&self) -> String {
        assert_eq!(self.code, Some(1), "{self:#?}");
        format!("{}{}", self.stdout, self.stderr)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // Servers are woken through the network in which they listen.
        let servers = std::mem::take(&mut *self.servers.borrow_mut());
        let ended = self.inside.take().map(|inside| inside.send(Box::new(move || drop(servers))));
        let thread = self.thread.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            // What was made a secret after a run was one before.
            self.assert_that_no_secret_is_told_in(&self.left.borrow());
            assert!(matches!(ended, Some(Ok(()))), "the world was there to the end");
            assert!(matches!(thread, Some(Ok(()))), "an emulator was asked what it was not to be asked");
        }
    }
}

/// All regular files below a directory.
fn files(dir: &Path) -> Vec<PathBuf> {
    let below = |entry: fs::DirEntry| -> Vec<PathBuf> {
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => files(&entry.path()),
            kind if kind.is_file() => vec![entry.path()],
            _ => Vec::new(),
        }
    };
    fs::read_dir(dir).unwrap().flat_map(|entry| below(entry.unwrap())).collect()
}

/// Moves the calling thread into a network of its own, and the program into the root.
fn enter(container: &Path) {
    let none: Option<&str> = None;
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET).expect("namespaces");
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).expect("no mount is shared");
    let program = container.join("entrypoint");
    mount(Some(&skip::entrypoint()), &program, none, MsFlags::MS_BIND, none).expect("the program");
    let busybox = skip::busybox().unwrap();
    let ip = |args: &[&str]| {
        let done = Command::new(&busybox).arg("ip").args(args).status().unwrap();
        assert!(done.success(), "ip {args:?}");
    };
    ip(&["link", "set", "lo", "up"]);
    for address in ADDRESSES {
        ip(&["addr", "add", address, "dev", "lo"]);
    }
}
