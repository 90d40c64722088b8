//! Programs under measurement: starting them as a step's container would, and reading what the kernel knows of them.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{Signal, kill};
use nix::sys::time::TimeValLike;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

/// How long a process is given to end when it is asked to.
const PATIENCE: Duration = Duration::from_secs(1);

pub type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// A directory for one run, as Tekton would have it: a run's termination file is never another's, because the file
/// keeps what it held.
pub struct Run {
    pub dir: PathBuf,
}

impl Run {
    /// A new one below `base`.
    pub fn new(base: &Path, number: usize) -> Result<Self> {
        let dir = base.join(format!("{number}"));
        fs::create_dir_all(dir.join("out"))?;
        fs::write(dir.join("termination"), "")?;
        Ok(Self { dir })
    }

    /// The file that a step waits for.
    pub fn previous(&self) -> PathBuf {
        self.dir.join("previous")
    }

    /// The command of a step that reports into this directory.
    pub fn step(&self, program: &Path) -> Command {
        self.report(Command::new(program))
    }

    /// The same of a command that starts the program.
    pub fn report(&self, mut command: Command) -> Command {
        command.arg("-termination_path").arg(self.dir.join("termination"));
        command.arg("-post_file").arg(self.dir.join("out/post"));
        command.arg("-step_metadata_dir").arg(self.dir.join("status"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// Gone with all its files.
    pub fn remove(self) -> Result<()> {
        Ok(fs::remove_dir_all(self.dir)?)
    }
}

/// A moment of the clock that nobody sets and that all processes share.
#[derive(Clone, Copy)]
pub struct Moment(Duration);

impl Moment {
    pub fn now() -> Result<Self> {
        Ok(Self(clock_gettime(ClockId::CLOCK_MONOTONIC)?.into()))
    }

    /// Leaves it in a file, for who measures.
    pub fn write(self, file: &Path) -> Result<()> {
        // Renamed, so that the reader never sees a half of it.
        let unfinished = file.with_extension("new");
        fs::write(&unfinished, self.0.as_nanos().to_string())?;
        Ok(fs::rename(unfinished, file)?)
    }

    /// Milliseconds until the moment that a file holds.
    pub fn until(self, file: &Path) -> Result<f64> {
        let then = Duration::from_nanos(fs::read_to_string(file)?.parse()?);
        Ok(milliseconds(then.checked_sub(self.0).ok_or("a step ran before it was released")?))
    }
}

/// Runs a command and prints the most memory, in kilobytes, that any process of it had at once. This is a program of its
/// own: the kernel keeps one such number for all children that a process ever had.
pub fn print_peak(command: &mut Command) -> Result<()> {
    let status = command.stdout(Stdio::null()).status()?;
    if !status.success() {
        return Err(format!("{command:?}: {status}").into());
    }
    println!("{}", getrusage(UsageWho::RUSAGE_CHILDREN)?.max_rss());
    Ok(())
}

/// What a finished program took.
pub struct Took {
    /// From before the fork until it was reaped, milliseconds.
    pub wall: f64,
    /// User and system time of it and its reaped children, milliseconds.
    pub cpu: f64,
}

/// Runs a command that must succeed.
pub fn take(command: &mut Command) -> Result<Took> {
    let cpu = cpu_of_children()?;
    let start = Instant::now();
    let status = command.status()?;
    let wall = milliseconds(start.elapsed());
    if !status.success() {
        return Err(format!("{command:?}: {status}").into());
    }
    Ok(Took { wall, cpu: cpu_of_children()? - cpu })
}

fn cpu_of_children() -> Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let microseconds = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Ok(Duration::from_micros(u64::try_from(microseconds)?).as_secs_f64() * 1e3)
}

pub fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// A process that is ended when it is no longer looked at.
pub struct Watched(pub Child);

impl Drop for Watched {
    fn drop(&mut self) {
        // Asked first: a supervisor that is killed leaves its step behind.
        let asked = i32::try_from(self.0.id()).map(|pid| kill(Pid::from_raw(pid), Signal::SIGTERM));
        let start = Instant::now();
        while matches!(self.0.try_wait(), Ok(None)) && asked.is_ok() && start.elapsed() < PATIENCE {
            sleep(PATIENCE / 100);
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What the kernel knows of a process.
pub struct Footprint {
    /// Resident memory, MB (10^6 bytes).
    pub resident: f64,
    /// Private memory that was written to, MB.
    pub dirty: f64,
    pub threads: f64,
    /// How often it was woken so far.
    pub wakeups: f64,
}

/// Reads it.
pub fn footprint(pid: u32) -> Result<Footprint> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let smaps = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let field = |text: &str, name: &str| -> Result<f64> {
        let line =
            text.lines().find_map(|line| line.strip_prefix(name)).ok_or_else(|| format!("no {name} of {pid}"))?;
        Ok(line.trim_start_matches(':').split_whitespace().next().unwrap_or_default().parse()?)
    };
    Ok(Footprint {
        resident: field(&status, "VmRSS")? * 1024.0 / 1e6,
        dirty: field(&smaps, "Private_Dirty")? * 1024.0 / 1e6,
        threads: field(&status, "Threads")?,
        wakeups: field(&status, "voluntary_ctxt_switches")?,
    })
}

/// The middle of the samples, and the one that only a hundredth is above.
pub struct Spread {
    pub median: f64,
    pub p99: f64,
}

/// Of at least one sample.
pub fn spread(mut samples: Vec<f64>) -> Result<Spread> {
    samples.sort_by(f64::total_cmp);
    let at =
        |percent: usize| samples.get((samples.len() * percent / 100).min(samples.len().saturating_sub(1))).copied();
    match (at(50), at(99)) {
        (Some(median), Some(p99)) => Ok(Spread { median, p99 }),
        (None, _) | (_, None) => Err("no samples".into()),
    }
}

/// The type of the filesystem that holds a directory, from the mounts of this process: the longest mount point wins.
pub fn filesystem(dir: &Path) -> Result<String> {
    let dir = fs::canonicalize(dir)?;
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let mounts = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        Some((fields.next()?, fields.next()?))
    });
    let holding = mounts.filter(|(point, _)| dir.starts_with(point)).max_by_key(|(point, _)| point.len());
    Ok(holding.map_or_else(|| "unknown".to_owned(), |(_, kind)| kind.to_owned()))
}
