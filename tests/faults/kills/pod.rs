//! A small pod: three steps that share directories as in Tekton, each a container with a PID namespace of its own. Two of
//! them look their command up, in one cache.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};
use tempfile::TempDir;

use crate::shell::{ShellImage, scratch};
use crate::step::entrypoint;

/// How many steps there are.
pub const STEPS: usize = 3;

/// The variable by which a process is known for one of a pod.
const MARK: &str = "ENTRYPOINT_TEST_POD";

/// After this a process is taken for one that waits for ever.
pub const FOR_EVER: Duration = Duration::from_secs(60);

/// The directories of a pod.
pub struct Pod {
    dir: TempDir,
    lookup: Vec<String>,
}

impl Pod {
    pub fn new(image: &ShellImage) -> Self {
        let mut pod = Self { dir: scratch(), lookup: Vec::new() };
        pod.lookup = image.flags(&pod.cache());
        fs::create_dir(pod.path("shared")).unwrap();
        fs::set_permissions(pod.path("shared"), Permissions::from_mode(0o777)).unwrap();
        pod
    }

    /// A path in the pod's own directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A file that a step leaves: `out`, `out.err`, `status/exitCode`.
    pub fn left(&self, step: usize, name: &str) -> PathBuf {
        self.path(&format!("run/{step}/{name}"))
    }

    /// The directory of the cache that the steps share.
    pub fn cache(&self) -> PathBuf {
        self.path("shared/images")
    }

    /// What the container of a step runs. It waits for the step before it, if it is to.
    fn argv(&self, step: usize, waits: bool) -> Vec<String> {
        let path = |name: &str| self.path(name).display().to_string();
        let mut argv = vec![entrypoint().display().to_string()];
        let mut flag = |name: &str, value: String| argv.extend([format!("-{name}"), value]);
        flag("post_file", path(&format!("run/{step}/out")));
        flag("termination_path", path(&format!("termination-{step}")));
        flag("step_metadata_dir", path(&format!("run/{step}/status")));
        flag("step_results", "said".to_owned());
        if let Some(before) = step.checked_sub(1).filter(|_| waits) {
            flag("wait_file", path(&format!("run/{before}/out")));
        }
        let script = format!(
            "echo said >{status}/results/said; sleep 0.03 & wait $!; code=$?; echo {step} >>{order}; exit $code",
            status = path(&format!("run/{step}/status")),
            order = path("order"),
        );
        if looks_up(step) {
            flag("image_report_result", "image".to_owned());
            argv.extend(self.lookup.iter().cloned());
            if tells_signals(step) {
                argv.push("-signal_exit_code".to_owned());
            }
            argv.extend(["--".to_owned(), script]);
        } else {
            flag("entrypoint", "/bin/sh".to_owned());
            argv.extend(["--", "-c", &script].map(str::to_owned));
        }
        argv
    }

    /// The command of a step's container, behind a wrapper; what it says goes into files.
    pub fn command(&self, step: usize, waits: bool, wrapper: &[&str]) -> Command {
        let argv = self.argv(step, waits);
        let mut words = wrapper.iter().map(|word| (*word).to_owned()).chain(argv);
        let mut command = Command::new(words.next().expect("a program"));
        let log = |name: &str| {
            let path = self.path(&format!("{name}-{step}"));
            File::options().create(true).append(true).open(path).expect("a log")
        };
        command.args(words).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env(MARK, self.dir.path()).stdin(Stdio::null()).stdout(log("stdout")).stderr(log("stderr"));
        command
    }

    /// Starts a step's container.
    pub fn start(&self, step: usize, waits: bool) -> Container {
        let child = in_namespace(self.command(step, waits, &[]));
        Container { pod: self.dir.path().to_owned(), step, child }
    }

    /// What a step has written to its log.
    pub fn log(&self, step: usize) -> String {
        fs::read_to_string(self.path(&format!("stderr-{step}"))).unwrap_or_default()
    }

    /// Everything that there is to be seen of the pod, for the person who reads of a failure.
    pub fn shown(&self) -> String {
        let mut shown = String::new();
        let mut show = |path: &Path| {
            if let Ok(content) = fs::read(path) {
                let name = path.strip_prefix(self.dir.path()).unwrap_or(path).display();
                shown.push_str(&format!(
                    "  {name}: {:?}\n",
                    String::from_utf8_lossy(&content[..content.len().min(4096)])
                ));
            }
        };
        for step in 0..STEPS {
            for name in ["out", "out.err", "out.lock", "status/exitCode", "status/image.json"] {
                show(&self.left(step, name));
            }
            show(&self.path(&format!("termination-{step}")));
            show(&self.path(&format!("stderr-{step}")));
        }
        shown
    }

    /// The processes of the pod that are there, zombies included.
    pub fn processes(&self) -> Vec<i32> {
        let mark = format!("{MARK}={}\0", self.dir.path().display());
        let numbers = fs::read_dir("/proc").unwrap().flatten();
        let numbers = numbers.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        let marked = |number: &i32| {
            let environment = fs::read(format!("/proc/{number}/environ")).unwrap_or_default();
            environment.windows(mark.len()).any(|part| part == mark.as_bytes())
        };
        numbers.filter(marked).collect()
    }
}

/// Whether a step looks its command up.
pub fn looks_up(step: usize) -> bool {
    step < 2
}

/// Whether a step that a signal kills ends as a shell has it.
pub fn tells_signals(step: usize) -> bool {
    step == 1
}

/// Starts a program as PID 1 of a new namespace. When it ends, however, the kernel ends all that is in it.
fn in_namespace(mut command: Command) -> Child {
    // The namespace is that of the next child of the thread that asks for it, and of no other.
    let starter = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWPID).expect("a PID namespace");
        command.spawn().expect("the binary starts")
    });
    starter.join().expect("the thread that starts a container")
}

/// A step's container, which is killed with its test.
pub struct Container {
    pod: PathBuf,
    pub step: usize,
    child: Child,
}

/// How a container ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Code(i32),
    Signal(i32),
}

impl From<ExitStatus> for End {
    fn from(status: ExitStatus) -> Self {
        status.signal().map_or_else(|| Self::Code(status.code().expect("a code or a signal")), Self::Signal)
    }
}

impl Container {
    /// The number of PID 1.
    pub fn id(&self) -> i32 {
        i32::try_from(self.child.id()).expect("a process number")
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<End> {
        self.child.try_wait().expect("its status").map(End::from)
    }

    /// Waits for its end. `poke` is called all the time; who never ends fails the test.
    pub fn end(&mut self, mut poke: impl FnMut(i32)) -> End {
        let since = Instant::now();
        loop {
            if let Some(end) = self.ended() {
                return end;
            }
            assert!(since.elapsed() < FOR_EVER, "step {} in {:?} waits for ever", self.step, self.pod);
            poke(self.id());
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
