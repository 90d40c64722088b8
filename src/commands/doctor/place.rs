//! Where this process is: its container, its user, and the volumes that programs are run from.

use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::{AccessFlags, access};

use super::row::{Check, Row};
use crate::host::{Env, Host};
use crate::sys::cause::Cause;
use crate::sys::file;

/// Where Tekton mounts the program of its steps, today and in its first releases.
const PROGRAMS: [&str; 2] = ["/tekton/bin", "/tekton/tools"];
/// The message's path in a step of Tekton.
#[cfg(feature = "kube")]
const TERMINATION_PATH: &str = "/tekton/termination";
/// How much of the kernel's word on this process is read, in bytes.
const STATUS: u64 = 16 << 10;

/// A directory that programs are run from.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Volume {
    path: PathBuf,
    /// What it is for.
    of: &'static str,
    /// Whether this program runs from there.
    is_own: bool,
    found: Mounted,
    /// The program that should be there, and whether it may be run.
    program: Option<(PathBuf, Program)>,
}

/// How a directory is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Mounted {
    Absent,
    Unknown { reason: String },
    There { executable: bool },
}

/// Whether a program may be run by this user.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Program {
    Absent,
    Runs,
    Refused { reason: String },
}

/// What the kernel says of this process, as far as it says it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Process {
    user: Option<u32>,
    group: Option<u32>,
    no_new_privileges: Option<bool>,
    seccomp: Option<&'static str>,
}

/// What `HOME` is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Home {
    Unset,
    Absent(PathBuf),
    Writable(PathBuf),
    ReadOnly(PathBuf, String),
}

/// Where we are.
pub(super) fn rows(host: &Host) -> Vec<Row> {
    let mut rows = vec![container(own_container())];
    let status = file::head(Path::new("/proc/self/status"), STATUS);
    let status = status.map(|text| Process::of_status(&String::from_utf8_lossy(&text)));
    let root = statvfs("/").ok().map(|found| found.flags().contains(FsFlags::ST_RDONLY));
    rows.push(process(status.map_err(|error| Cause(&error).to_string()), root));
    rows.push(home(&Home::of(&host.env)));
    let program = std::env::current_exe();
    let program = program.as_deref().map_err(|error| Cause(error).to_string());
    let own = program.map(|program| {
        let dir = program.parent().unwrap_or(Path::new("/"));
        Volume { is_own: true, ..Volume::of(dir, "this program's own", None) }
    });
    let tekton = PROGRAMS.iter().map(|dir| Volume::of(Path::new(dir), "the steps' program", Some("entrypoint")));
    let scripts = Volume::of(&host.dirs.scripts, "the steps' scripts", None);
    let all: Vec<Volume> = own.into_iter().chain(tekton).chain([scripts]).collect();
    rows.extend(volumes(&all));
    rows
}

/// The container's name and its pod's UID, or why nothing tells them.
#[cfg(feature = "kube")]
fn own_container() -> Result<(String, String), String> {
    use crate::kube::OwnContainer;
    use crate::spec::LookupSpec;
    use crate::sys::cause::chain;

    let mut reasons = Vec::new();
    for path in [TERMINATION_PATH, LookupSpec::TERMINATION_LOG] {
        match OwnContainer::find(Path::new(path)) {
            Ok(own) => return Ok((own.name, own.pod_uid)),
            Err(error) => reasons.push(chain(&error)),
        }
    }
    Err(reasons.join("; "))
}

#[cfg(not(feature = "kube"))]
fn own_container() -> Result<(String, String), String> {
    Err("this entrypoint was built without the feature kube".to_owned())
}

fn container(own: Result<(String, String), String>) -> Row {
    match own {
        Ok((name, pod)) => Check::Container.ok(format!("container {name} of the pod with UID {pod}")),
        Err(reason) => Check::Container.not_checked(
            reason,
            "outside of a pod that is as it should be; in one, -image_container NAME says it where it is needed",
        ),
    }
}

impl Process {
    /// The kernel's word, `/proc/self/status`.
    /// <https://www.kernel.org/doc/html/latest/filesystems/proc.html>
    fn of_status(text: &str) -> Self {
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            line.split_whitespace().next()
        };
        let number = |name| value(name)?.parse().ok();
        Self {
            user: number("Uid"),
            group: number("Gid"),
            no_new_privileges: value("NoNewPrivs").map(|value| value == "1"),
            seccomp: value("Seccomp").map(|mode| match mode {
                "0" => "none",
                "1" => "strict",
                "2" => "a filter",
                _ => "of a kind that is not known here",
            }),
        }
    }
}

fn process(found: Result<Process, String>, read_only_root: Option<bool>) -> Row {
    let Process { user, group, no_new_privileges, seccomp } = match found {
        Ok(found) => found,
        Err(reason) => {
            return Check::Process.not_checked(format!("/proc/self/status: {reason}"), "mount /proc in the container");
        }
    };
    let number = |id: Option<u32>| id.map_or_else(|| "unknown".to_owned(), |id| id.to_string());
    let mut parts = vec![format!("uid {}, gid {}", number(user), number(group))];
    parts.extend(read_only_root.map(|yes| format!("root file system {}", if yes { "read-only" } else { "writable" })));
    parts.extend(seccomp.map(|seccomp| format!("seccomp: {seccomp}")));
    parts.extend(no_new_privileges.map(|yes| format!("new privileges: {}", if yes { "none" } else { "allowed" })));
    Check::Process.ok(parts.join("; "))
}

impl Home {
    fn of(env: &Env) -> Self {
        let Some(home) = env.get("HOME").filter(|home| !home.is_empty()).map(PathBuf::from) else {
            return Self::Unset;
        };
        match access(&home, AccessFlags::W_OK | AccessFlags::X_OK) {
            Ok(()) => Self::Writable(home),
            Err(Errno::ENOENT) => Self::Absent(home),
            Err(error) => Self::ReadOnly(home, Cause(&io::Error::from(error)).to_string()),
        }
    }
}

fn home(home: &Home) -> Row {
    let fix = "mount an emptyDir and let HOME name it, if the step's tools want credentials or a cache there";
    match home {
        Home::Writable(path) => Check::Process.ok(format!("HOME={} can be written to", path.display())),
        Home::Unset => {
            Check::Process.note("HOME is not set: no file of docker, podman or a cloud's tools is found by it", fix)
        }
        Home::Absent(path) => Check::Process.note(format!("HOME={} is not there", path.display()), fix),
        Home::ReadOnly(path, reason) => {
            Check::Process.note(format!("HOME={} cannot be written to: {reason}", path.display()), fix)
        }
    }
}

impl Volume {
    fn of(path: &Path, of: &'static str, program: Option<&str>) -> Self {
        let found = match statvfs(path) {
            Ok(found) => Mounted::There { executable: !found.flags().contains(FsFlags::ST_NOEXEC) },
            Err(Errno::ENOENT | Errno::ENOTDIR) => Mounted::Absent,
            Err(error) => Mounted::Unknown { reason: Cause(&io::Error::from(error)).to_string() },
        };
        let program = program.map(|name| path.join(name)).map(|file| {
            let found = match access(&file, AccessFlags::X_OK) {
                Ok(()) => Program::Runs,
                Err(Errno::ENOENT | Errno::ENOTDIR) => Program::Absent,
                Err(error) => Program::Refused { reason: Cause(&io::Error::from(error)).to_string() },
            };
            (file, found)
        });
        Self { path: path.to_owned(), of, is_own: false, found, program }
    }
}

fn volumes(all: &[Volume]) -> Vec<Row> {
    let mut rows: Vec<Row> = all.iter().filter_map(volume).collect();
    let (absent, there): (Vec<&Volume>, Vec<&Volume>) =
        all.iter().filter(|volume| !volume.is_own).partition(|volume| volume.found == Mounted::Absent);
    // Of Tekton's directories some are for steps with scripts only, some of its first releases.
    if there.is_empty() && !absent.is_empty() {
        let absent: Vec<String> = absent.iter().map(|volume| volume.path.display().to_string()).collect();
        rows.push(Check::Volume.not_checked(
            format!("not there: {}", absent.join(", ")),
            "a step of Tekton has /tekton/bin; another container needs none of them",
        ));
    }
    rows
}

fn volume(volume: &Volume) -> Option<Row> {
    let Volume { path, of, found, program, .. } = volume;
    let name = format!("{} ({of})", path.display());
    match found {
        Mounted::Absent => None,
        Mounted::Unknown { reason } => Some(Check::Volume.problem(
            format!("{name}: {reason}"),
            "let this user enter the directories on the way there (fsGroup, or another runAsUser)",
        )),
        Mounted::There { executable: false } => Some(Check::Volume.problem(
            format!("{name} is mounted noexec: no program there can be run"),
            "an emptyDir inherits it from the node: kubelet's directory (/var/lib/kubelet) must not be mounted noexec; any \
             other volume is to be mounted without noexec",
        )),
        Mounted::There { executable: true } => Some(match program {
            Some((file, Program::Refused { reason })) => Check::Volume.problem(
                format!("{name}: {} may not be run by this user: {reason}", file.display()),
                "the init container that puts it there makes it executable by everybody (entrypoint init); SELinux and \
                 AppArmor may forbid it too",
            ),
            Some((file, Program::Absent)) => Check::Volume.note(
                format!("{name}: there is no {}", file.display()),
                "the init container that runs entrypoint init is to put it there",
            ),
            Some((_, Program::Runs)) | None => Check::Volume.ok(format!("{name}: programs there can be run")),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::row::Verdict;
    use super::*;

    fn told(rows: &[Row]) -> Vec<(Verdict, &str)> {
        assert!(rows.iter().all(|row| row.fix.is_some() == (row.verdict != Verdict::Ok)), "{rows:?}");
        rows.iter().map(|row| (row.verdict, row.says.as_str())).collect()
    }

    #[test]
    fn the_process_is_told_as_the_kernel_tells_it() {
        let status = "Name:\tentrypoint\nUid:\t65532\t65532\t65532\t65532\nGid:\t7\t7\t7\t7\nNoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t1\n";
        let of = |text, root| process(Ok(Process::of_status(text)), root);
        assert_eq!(
            told(&[of(status, Some(true)), of("", None), process(Err("no".to_owned()), None)]),
            [
                (Verdict::Ok, "uid 65532, gid 7; root file system read-only; seccomp: a filter; new privileges: none"),
                (Verdict::Ok, "uid unknown, gid unknown"),
                (Verdict::NotChecked, "/proc/self/status: no"),
            ]
        );
    }

    #[test]
    fn a_home_is_told_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let of = |path: &Path| Home::of(&[("HOME", path)].into_iter().collect());
        assert_eq!(of(dir.path()), Home::Writable(dir.path().to_owned()));
        assert_eq!(of(&dir.path().join("x")), Home::Absent(dir.path().join("x")));
        assert_eq!(Home::of(&Env::default()), Home::Unset);
        let rows = [
            home(&Home::Writable("/h".into())),
            home(&Home::Unset),
            home(&Home::Absent("/h".into())),
            home(&Home::ReadOnly("/h".into(), "permission denied".to_owned())),
        ];
        assert_eq!(
            told(&rows),
            [
                (Verdict::Ok, "HOME=/h can be written to"),
                (Verdict::Note, "HOME is not set: no file of docker, podman or a cloud's tools is found by it"),
                (Verdict::Note, "HOME=/h is not there"),
                (Verdict::Note, "HOME=/h cannot be written to: permission denied"),
            ]
        );
    }

    #[test]
    fn volumes_are_told_with_what_can_be_run_there() {
        let of = |path: &str, found, program: Option<Program>| Volume {
            path: path.into(),
            of: "x",
            is_own: false,
            found,
            program: program.map(|program| (Path::new(path).join("entrypoint"), program)),
        };
        let there = || Mounted::There { executable: true };
        let refused = Program::Refused { reason: "permission denied".to_owned() };
        let rows = volumes(&[
            of("/a", there(), None),
            of("/b", there(), Some(Program::Runs)),
            of("/c", Mounted::There { executable: false }, Some(Program::Runs)),
            of("/d", there(), Some(refused)),
            of("/e", there(), Some(Program::Absent)),
            of("/f", Mounted::Absent, None),
            of("/g", Mounted::Unknown { reason: "permission denied".to_owned() }, None),
        ]);
        assert_eq!(
            told(&rows),
            [
                (Verdict::Ok, "/a (x): programs there can be run"),
                (Verdict::Ok, "/b (x): programs there can be run"),
                (Verdict::Problem, "/c (x) is mounted noexec: no program there can be run"),
                (Verdict::Problem, "/d (x): /d/entrypoint may not be run by this user: permission denied"),
                (Verdict::Note, "/e (x): there is no /e/entrypoint"),
                (Verdict::Problem, "/g (x): permission denied"),
            ]
        );
        let own = Volume { is_own: true, ..of("/a", there(), None) };
        let rows = volumes(&[own, of("/f", Mounted::Absent, None), of("/g", Mounted::Absent, None)]);
        assert_eq!(
            told(&rows),
            [(Verdict::Ok, "/a (x): programs there can be run"), (Verdict::NotChecked, "not there: /f, /g")]
        );
    }

    #[test]
    fn a_container_is_named_or_nothing_tells_it() {
        let rows =
            [container(Ok(("step-build".to_owned(), "u".to_owned()))), container(Err("nothing is mounted".to_owned()))];
        assert_eq!(
            told(&rows),
            [(Verdict::Ok, "container step-build of the pod with UID u"), (Verdict::NotChecked, "nothing is mounted")]
        );
    }
}
