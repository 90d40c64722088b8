//! The rows of one step: what it costs to run it, to hand on to it, to let it wait.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::process::{Moment, Result, Run, Watched, footprint, spread, take};
use crate::registry::{Documents, Login, Registry, SINGLE, reference};
use crate::rows::{Bench, SETTLED, median, median_of_peer};
use crate::table::{Row, Target};

/// How long a process is watched that has nothing to do: several of its slowest polls.
const WATCHED: Duration = Duration::from_secs(9);

/// Wall time over that of the step alone: pairs of runs, one after the other; the median of the differences.
pub fn overhead(bench: &Bench) -> Result<Vec<Row>> {
    let places: Vec<&Path> = [Some(&*bench.base), bench.memory.as_deref()].into_iter().flatten().collect();
    let mut alone = Vec::new();
    let mut measured: Vec<(Vec<f64>, Vec<f64>)> = places.iter().map(|_| Default::default()).collect();
    for number in 0..bench.runs(200) {
        for (place, (ours, theirs)) in places.iter().zip(&mut measured) {
            let base_line = take(Command::new("/bin/true").stdin(Stdio::null()))?.wall;
            alone.push(base_line);
            let run = |program: &Path| -> Result<f64> {
                let run = Run::new(&place.join("overhead"), number)?;
                let wall = take(run.step(program).args(["-entrypoint", "/bin/true", "--"]))?.wall;
                run.remove()?;
                Ok(wall - base_line)
            };
            ours.push(run(&bench.entrypoint)?);
            if let Some(tekton) = &bench.tekton {
                theirs.push(run(tekton)?);
            }
        }
    }
    let target = Target { gate: Some(2.0), goal: Some(1.0), ratio: Some(0.1), ..Target::default() };
    let mut rows = vec![Row::shown("`/bin/true` alone, median", "ms", median(alone)?)];
    for (place, (ours, theirs)) in places.iter().zip(measured) {
        let what = format!("overhead over `/bin/true`, files on {}, median", crate::process::filesystem(place)?);
        rows.push(Row::shown(what, "ms", median(ours)?).beside(median_of_peer(theirs)?).target(target));
    }
    Ok(rows)
}

/// From the moment before the awaited file is created until the next step's process runs.
pub fn hand_off(bench: &Bench) -> Result<Vec<Row>> {
    let base = bench.dir("hand-off")?;
    let command = ["-entrypoint".to_owned(), bench.this.display().to_string()];
    let (mut alone, mut ours, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
    let (runs, turns) = (bench.runs(300), bench.runs(40));
    for number in 0..runs {
        alone.push(one_start(bench, &base)?);
        ours.push(one(&base.join("ours"), number, &bench.entrypoint, &command, SETTLED)?);
        if let Some(tekton) = bench.tekton.as_deref().filter(|_| number % (runs / turns) == 0) {
            // It looks once a second: every phase of that second in turn.
            let phase = Duration::from_secs(1) * u32::try_from(number)? / u32::try_from(runs)?;
            theirs.push(one(&base.join("theirs"), number, tekton, &command, SETTLED + phase)?);
        }
    }
    let alone = spread(alone)?;
    let (ours, theirs) = (spread(ours)?, if theirs.is_empty() { None } else { Some(spread(theirs)?) });
    let target = Target { gate: Some(3.0), goal: Some(2.0), ..Target::default() };
    Ok(vec![
        Row::shown("start of the step's process alone, median", "ms", alone.median),
        Row::shown("start of the step's process alone, p99", "ms", alone.p99),
        Row::shown("hand-off: post file appears, next step's process runs, median", "ms", ours.median)
            .beside(theirs.as_ref().map(|theirs| theirs.median))
            .target(target),
        Row::shown("hand-off, p99", "ms", ours.p99)
            .beside(theirs.as_ref().map(|theirs| theirs.p99))
            .target(Target::goal(20.0)),
    ])
}

/// What no hand-off can be faster than: from before the fork until the step's process runs.
fn one_start(bench: &Bench, base: &Path) -> Result<f64> {
    let clock = base.join("clock");
    sleep(SETTLED);
    let forked = Moment::now()?;
    take(Command::new(&bench.this).arg("clock").arg(&clock))?;
    forked.until(&clock)
}

/// One hand-off to a step that had so long to settle; its command writes the clock down.
pub fn one(base: &Path, number: usize, program: &Path, command: &[String], settled: Duration) -> Result<f64> {
    let run = Run::new(base, number)?;
    let clock = run.dir.join("clock");
    let mut step = run.step(program);
    step.arg("-wait_file").arg(run.previous()).args(command).args(["--", "clock"]).arg(&clock);
    let mut step = Watched(step.spawn()?);
    sleep(settled);
    let released = Moment::now()?;
    File::create(run.previous())?;
    let status = step.0.wait()?;
    if !status.success() {
        return Err(format!("a step that waited ended with {status}").into());
    }
    let took = released.until(&clock)?;
    run.remove()?;
    Ok(took)
}

/// What a step costs that only waits.
pub fn waiting(bench: &Bench) -> Result<Vec<Row>> {
    let base = bench.dir("waiting")?;
    let idle = |run: &Run, program: &Path| -> Result<[f64; 4]> {
        let mut step = run.step(program);
        step.arg("-wait_file").arg(run.previous()).args(["-entrypoint", "/bin/true", "--"]);
        at_rest(Watched(step.spawn()?))
    };
    let ours = idle(&Run::new(&base, 0)?, &bench.entrypoint)?;
    let theirs = match &bench.tekton {
        Some(tekton) => Some(idle(&Run::new(&base, 1)?, tekton)?),
        None => None,
    };
    Ok(at_rest_rows("waiting", ours, theirs))
}

/// What a step costs whose command was looked up, and runs.
pub fn beside(bench: &Bench) -> Result<Vec<Row>> {
    let documents = Documents::of_image(&bench.dir("sleep")?, &["/bin/sleep", "1000"])?;
    let registry = Registry::start(Arc::new(documents), Login::Anonymous, None)?;
    let host = registry.address().to_string();
    let run = Run::new(&bench.dir("beside")?, 0)?;
    let mut step = run.step(&bench.entrypoint);
    step.args(["-image", &reference(&host, SINGLE), "-image_insecure_registry", &host, "--"]);
    Ok(at_rest_rows("beside a looked-up step", at_rest(Watched(step.spawn()?))?, None))
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
    let gate = Target { gate: Some(2.5), ..Target::goal(2.0) };
    let targets = [
        ("resident memory", "MB", gate),
        ("private dirty memory", "MB", Target::goal(0.3)),
        ("threads", "", Target::exactly(1.0)),
        ("wake-ups per second", "/s", Target::goal(0.5)),
    ];
    let mut rows = Vec::new();
    for (index, (what, unit, target)) in targets.into_iter().enumerate() {
        let theirs = theirs.map(|theirs| theirs[index]);
        rows.push(Row::shown(format!("{when}: {what}"), unit, ours[index]).beside(theirs).target(target));
    }
    rows
}
