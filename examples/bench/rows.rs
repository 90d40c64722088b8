//! What is measured, row by row.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use crate::oci::{self, Layout, architecture};
use crate::process::{Result, Run, Watched, footprint, spread, take};
use crate::registry::Registry;
use crate::server::{Bound, Server};
use crate::table::{Row, Target};

/// How long a process is watched that has nothing to do: several of its slowest polls.
const WATCHED: Duration = Duration::from_secs(9);
/// Long enough for a program that was just started to have nothing left to do but wait.
const SETTLED: Duration = Duration::from_millis(60);
const MB: f64 = 1e6;

/// What is compared with what.
pub struct Bench {
    pub entrypoint: PathBuf,
    pub tekton: Option<PathBuf>,
    pub crane: Option<PathBuf>,
    /// The program that the measured steps run: this one.
    pub clock: PathBuf,
    /// Holds everything that is written.
    pub base: PathBuf,
}

impl Bench {
    /// All rows that exist so far. What cannot be measured is said, and leaves the others alone.
    pub fn rows(&self) -> (Vec<Row>, Vec<String>) {
        type Measure = fn(&Bench) -> Result<Vec<Row>>;
        let groups: [(&str, Measure); 8] = [
            ("overhead", Self::overhead),
            ("hand-off", Self::hand_off),
            ("waiting", Self::waiting),
            ("beside a looked-up step", Self::beside),
            ("size", Self::size),
            ("placing", Self::placing),
            ("lookup", Self::lookup),
            ("lookup beside the wait", Self::lookup_beside_wait),
        ];
        let (mut rows, mut failures) = (Vec::new(), Vec::new());
        for (name, measure) in groups {
            match measure(self) {
                Ok(measured) => rows.extend(measured),
                Err(error) => failures.push(format!("{name}: {error}")),
            }
        }
        (rows, failures)
    }

    /// Wall time over that of the step alone: pairs of runs, one after the other; the median of the differences.
    fn overhead(&self) -> Result<Vec<Row>> {
        const PAIRS: usize = 200;
        let base = self.dir("overhead")?;
        let (mut base_line, mut ours, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
        for number in 0..PAIRS {
            let alone = take(&mut Command::new("/bin/true"))?.wall;
            base_line.push(alone);
            let run = |program: &Path, kind: &str| -> Result<f64> {
                let run = Run::new(&base.join(kind), number)?;
                let wall = take(run.step(program).args(["-entrypoint", "/bin/true", "--"]))?.wall;
                run.remove()?;
                Ok(wall - alone)
            };
            ours.push(run(&self.entrypoint, "ours")?);
            if let Some(tekton) = &self.tekton {
                theirs.push(run(tekton, "theirs")?);
            }
        }
        let target = Target { gate: Some(2.0), goal: Some(1.0), ratio: Some(0.1) };
        Ok(vec![
            row("/bin/true alone, median", "ms", spread(base_line)?.median, None, Target::default()),
            row("overhead over /bin/true, median", "ms", spread(ours)?.median, median(theirs)?, target),
        ])
    }

    /// From the moment before the awaited file is created until the next step's process runs.
    fn hand_off(&self) -> Result<Vec<Row>> {
        let base = self.dir("hand-off")?;
        let command = ["-entrypoint".to_owned(), self.clock.display().to_string()];
        let (mut base_line, mut ours) = (Vec::new(), Vec::new());
        for number in 0..300 {
            base_line.push(self.one_start(&base)?);
            ours.push(self.one_hand_off(&base.join("ours"), number, &self.entrypoint, &command, SETTLED)?);
        }
        let mut theirs = Vec::new();
        if let Some(tekton) = &self.tekton {
            for number in 0..40_u8 {
                // It looks once a second: every phase of that second in turn.
                let settled = SETTLED + Duration::from_millis(u64::from(number) * 25);
                theirs.push(self.one_hand_off(&base.join("theirs"), number.into(), tekton, &command, settled)?);
            }
        }
        let base_line = spread(base_line)?;
        let (ours, theirs) = (spread(ours)?, if theirs.is_empty() { None } else { Some(spread(theirs)?) });
        let median = Target { gate: Some(3.0), goal: Some(2.0), ratio: None };
        let p99 = Target { goal: Some(20.0), ..Target::default() };
        Ok(vec![
            row("start of the step's process alone, median", "ms", base_line.median, None, Target::default()),
            row("start of the step's process alone, p99", "ms", base_line.p99, None, Target::default()),
            row("hand-off, median", "ms", ours.median, theirs.as_ref().map(|theirs| theirs.median), median),
            row("hand-off, p99", "ms", ours.p99, theirs.as_ref().map(|theirs| theirs.p99), p99),
        ])
    }

    /// What no hand-off can be faster than: from before the fork until the step's process runs.
    fn one_start(&self, base: &Path) -> Result<f64> {
        let clock = base.join("clock");
        sleep(SETTLED);
        let forked = SystemTime::now();
        take(Command::new(&self.clock).arg("clock").arg(&clock))?;
        since(forked, &clock)
    }

    fn one_hand_off(
        &self,
        base: &Path,
        number: usize,
        program: &Path,
        command: &[String],
        settled: Duration,
    ) -> Result<f64> {
        let run = Run::new(base, number)?;
        let clock = run.dir.join("clock");
        let mut step = run.step(program);
        step.arg("-wait_file").arg(run.previous()).args(command).args(["--", "clock"]).arg(&clock);
        let mut step = Watched(step.spawn()?);
        sleep(settled);
        let released = SystemTime::now();
        File::create(run.previous())?;
        let status = step.0.wait()?;
        if !status.success() {
            return Err(format!("a step that waited ended with {status}").into());
        }
        let took = since(released, &clock)?;
        run.remove()?;
        Ok(took)
    }

    /// What a step costs that only waits.
    fn waiting(&self) -> Result<Vec<Row>> {
        let base = self.dir("waiting")?;
        let idle = |run: &Run, program: &Path| -> Result<[f64; 4]> {
            let mut step = run.step(program);
            step.arg("-wait_file").arg(run.previous()).args(["-entrypoint", "/bin/true", "--"]);
            at_rest(Watched(step.spawn()?))
        };
        let ours = idle(&Run::new(&base, 0)?, &self.entrypoint)?;
        let theirs = match &self.tekton {
            Some(tekton) => Some(idle(&Run::new(&base, 1)?, tekton)?),
            None => None,
        };
        Ok(at_rest_rows("waiting", ours, theirs))
    }

    /// What a step costs whose command was looked up, and runs.
    fn beside(&self) -> Result<Vec<Row>> {
        let (registry, image) = self.registry("sleep", &["/bin/sleep", "1000"])?;
        let run = Run::new(&self.dir("beside")?, 0)?;
        let mut step = run.step(&self.entrypoint);
        step.args(["-image", &image, "-image_insecure_registry", &registry.host(), "--"]);
        Ok(at_rest_rows("beside a looked-up step", at_rest(Watched(step.spawn()?))?, None))
    }

    fn size(&self) -> Result<Vec<Row>> {
        let compressed = |program: &str, level: &str, path: &Path| -> Result<f64> {
            let output =
                Command::new(program).args([level, "-c"]).stdin(File::open(path)?).stderr(Stdio::null()).output()?;
            Ok(f64::from(u32::try_from(output.stdout.len())?) / MB)
        };
        let size = |path: &Path| -> Result<f64> { Ok(f64::from(u32::try_from(fs::metadata(path)?.len())?) / MB) };
        let theirs = |measure: &dyn Fn(&Path) -> Result<f64>| self.tekton.as_deref().map(measure).transpose();
        let goal = |goal: f64| Target { goal: Some(goal), ..Target::default() };
        let mut rows = vec![row("binary", "MB", size(&self.entrypoint)?, theirs(&size)?, goal(9.0))];
        for (name, level, target) in [("gzip", "-9", 4.2), ("zstd", "-19", 3.4)] {
            if Command::new(name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
                println!("{name} is not here: that size is not measured");
                continue;
            }
            let measure = |path: &Path| compressed(name, level, path);
            let what = format!("binary, {name} {level}");
            rows.push(row(&what, "MB", measure(&self.entrypoint)?, theirs(&measure)?, goal(target)));
        }
        Ok(rows)
    }

    /// The init container's work: the binary placed by itself, warm; beside it `cp` of the same file.
    fn placing(&self) -> Result<Vec<Row>> {
        let base = self.dir("placing")?;
        let (mut ours, mut theirs, mut cp) = (Vec::new(), Vec::new(), Vec::new());
        for number in 0..50 {
            let place = |program: &Path, name: &str| -> Result<f64> {
                let to = base.join(format!("{name}-{number}"));
                let quiet = Stdio::null();
                let wall = take(Command::new(program).arg("cp").arg(program).arg(&to).stderr(quiet))?.wall;
                fs::remove_file(to)?;
                Ok(wall)
            };
            ours.push(place(&self.entrypoint, "ours")?);
            if let Some(tekton) = &self.tekton {
                theirs.push(place(tekton, "theirs")?);
            }
            let to = base.join(format!("cp-{number}"));
            cp.push(take(Command::new("cp").arg(&self.entrypoint).arg(&to))?.wall);
            fs::remove_file(to)?;
        }
        let what = format!("placing the binary (cp: {:.2} ms), median", spread(cp)?.median);
        let target = Target { ratio: Some(0.12), ..Target::default() };
        Ok(vec![row(&what, "ms", spread(ours)?.median, median(theirs)?, target)])
    }

    /// A lookup at a registry on loopback, anonymous and plain, which a peer can do too.
    fn lookup(&self) -> Result<Vec<Row>> {
        const TURNS: usize = 100;
        let base = self.dir("lookup")?;
        let (registry, image) = self.registry("true", &["/bin/true"])?;
        let host = registry.host();
        let flags = ["-image", &image, "-image_insecure_registry", &host, "--"];
        let (mut wall, mut cpu, mut crane_wall, mut crane_cpu) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for number in 0..TURNS {
            // The same step with its command given: what is left is the lookup.
            let run = Run::new(&base, number * 2)?;
            let given = take(run.step(&self.entrypoint).args(["-entrypoint", "/bin/true", "--"]))?;
            run.remove()?;
            let run = Run::new(&base, number * 2 + 1)?;
            let looked_up = take(run.step(&self.entrypoint).args(flags))?;
            run.remove()?;
            wall.push(looked_up.wall - given.wall);
            cpu.push(looked_up.cpu - given.cpu);
            if let Some(crane) = &self.crane {
                let took = take(Command::new(crane).args(["config", "--insecure", &image]).stdout(Stdio::null()))?;
                crane_wall.push(took.wall);
                crane_cpu.push(took.cpu);
            }
        }
        let target = Target { ratio: Some(0.8), ..Target::default() };
        Ok(vec![
            row("lookup on loopback: wall, median", "ms", spread(wall)?.median, median(crane_wall)?, target),
            row("lookup on loopback: cpu, median", "ms", spread(cpu)?.median, median(crane_cpu)?, target),
        ])
    }

    /// What a lookup adds to a step that had to wait anyway: the hand-off with it minus the hand-off without, in turn.
    fn lookup_beside_wait(&self) -> Result<Vec<Row>> {
        let base = self.dir("beside-wait")?;
        let clock = self.clock.display().to_string();
        let (registry, image) = self.registry("clock", &[&clock])?;
        let given = ["-entrypoint".to_owned(), clock];
        let looked_up = ["-image", &image, "-image_insecure_registry", &registry.host()].map(str::to_owned);
        // Longer than any lookup on loopback: the file comes when its answer is there.
        let settled = SETTLED * 3;
        let mut added = Vec::new();
        for number in 0..60 {
            let without = self.one_hand_off(&base, number * 2, &self.entrypoint, &given, settled)?;
            let with = self.one_hand_off(&base, number * 2 + 1, &self.entrypoint, &looked_up, settled)?;
            added.push(with - without);
        }
        let target = Target { goal: Some(1.0), ..Target::default() };
        Ok(vec![row("added by a lookup to a step that waited", "ms", spread(added)?.median, None, target)])
    }

    fn dir(&self, name: &str) -> Result<PathBuf> {
        let dir = self.base.join(name);
        fs::create_dir_all(&dir)?;
        Ok(dir)
    }

    /// A registry with one image, and the image's reference.
    fn registry(&self, name: &str, entrypoint: &[&str]) -> Result<(Server, String)> {
        let mut layout = Layout::create(&self.dir("layouts")?.join(name));
        let command = oci::Command { entrypoint, ..oci::Command::default() };
        let image = layout.image(architecture(), command, &[]);
        layout.tag("1", &image);
        let registry = Registry { layout: layout.dir().to_owned(), authorization: None };
        let server = Server::handler(Bound::new(), None, move |request| registry.answer(request));
        let image = format!("{}/bench/{name}:1", server.host());
        Ok((server, image))
    }
}

/// Milliseconds from a moment to the one that a measured step wrote down.
fn since(moment: SystemTime, clock: &Path) -> Result<f64> {
    let ran = SystemTime::UNIX_EPOCH + Duration::from_nanos(fs::read_to_string(clock)?.parse()?);
    Ok(ran.duration_since(moment)?.as_secs_f64() * 1e3)
}

fn row(what: &str, unit: &'static str, ours: f64, peer: Option<f64>, target: Target) -> Row {
    Row { what: what.to_owned(), unit, ours, peer, target }
}

/// The median of a peer's samples; a peer that is not there has none.
fn median(samples: Vec<f64>) -> Result<Option<f64>> {
    if samples.is_empty() { Ok(None) } else { Ok(Some(spread(samples)?.median)) }
}

/// Resident and dirty memory in MB, threads, and wake-ups per second, of a process that has nothing to do.
fn at_rest(mut step: Watched) -> Result<[f64; 4]> {
    let pid = step.0.id();
    let start = Instant::now();
    // At rest is what was not woken twice in a while, and has nothing under way that is about to end.
    let mut before = 0.0;
    loop {
        sleep(SETTLED * 5);
        if let Some(status) = step.0.try_wait()? {
            return Err(format!("the step is to stay, and ended with {status}").into());
        }
        let wakeups = footprint(pid)?.wakeups;
        if (wakeups - before <= 1.0 && start.elapsed() > WATCHED / 6) || start.elapsed() > WATCHED {
            break;
        }
        before = wakeups;
    }
    let per_second = wakeups_per_second(pid)?;
    let rest = footprint(pid)?;
    Ok([rest.resident, rest.dirty, rest.threads, per_second])
}

/// From the first wake-up that is seen to the last: a window of a fixed length may hold one more or less of them.
fn wakeups_per_second(pid: u32) -> Result<f64> {
    let start = Instant::now();
    let mut last = footprint(pid)?.wakeups;
    let mut seen: Vec<(Instant, f64)> = Vec::new();
    while start.elapsed() < WATCHED {
        sleep(SETTLED / 6);
        let wakeups = footprint(pid)?.wakeups;
        if wakeups > last {
            seen.push((Instant::now(), wakeups));
            last = wakeups;
        }
    }
    match (seen.first(), seen.last()) {
        (Some((first, from)), Some((last, to))) if to > from => Ok((to - from) / (*last - *first).as_secs_f64()),
        (None, _) | (_, None) | (Some(_), Some(_)) => Ok(f64::from(u32::try_from(seen.len())?) / WATCHED.as_secs_f64()),
    }
}

fn at_rest_rows(when: &str, ours: [f64; 4], theirs: Option<[f64; 4]>) -> Vec<Row> {
    let targets = [
        ("resident memory", "MB", Target { gate: Some(2.5), goal: Some(2.0), ratio: None }),
        ("private dirty memory", "MB", Target { goal: Some(0.3), ..Target::default() }),
        ("threads", "", Target { goal: Some(1.0), ..Target::default() }),
        ("wake-ups per second", "1/s", Target { goal: Some(0.5), ..Target::default() }),
    ];
    let mut rows = Vec::new();
    for (index, (what, unit, target)) in targets.into_iter().enumerate() {
        let what = format!("{when}: {what}");
        rows.push(row(&what, unit, ours[index], theirs.map(|theirs| theirs[index]), target));
    }
    rows
}
