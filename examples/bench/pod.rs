//! The rows of a whole pod: orphans, exit codes, many steps at once.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::process::{Result, Run, Watched, milliseconds};
use crate::rows::{Bench, SETTLED, median};
use crate::table::{Row, Target};

const ORPHANS: usize = 1000;
const STEPS: usize = 64;
/// Leaves a thousand orphans, says so (`$0`), and stays until it is told to go (`$1`).
const LEAVE_ORPHANS: &str = "i=0; while [ $i -lt 1000 ]; do (: &); i=$((i+1)); done
    : >\"$0\"; until [ -e \"$1\" ]; do sleep 0.05; done";
/// How long anything may take that is not measured by its time.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long the last orphan may stay a zombie.
const REAPED: Duration = Duration::from_secs(3);

/// How many of a thousand orphans stay zombies while the step runs.
pub fn orphans(bench: &Bench) -> Result<Vec<Row>> {
    let base = bench.dir("orphans")?;
    let ours = zombies(&Run::new(&base, 0)?, &bench.entrypoint)?;
    let theirs = bench.tekton.as_deref().map(|tekton| zombies(&Run::new(&base, 1)?, tekton)).transpose()?;
    let what = format!("{ORPHANS} orphans of a step, as PID 1: still zombies after 3 s");
    Ok(vec![Row::shown(what, "", ours).beside(theirs).target(Target::exactly(0.0))])
}

fn zombies(run: &Run, program: &Path) -> Result<f64> {
    let (ready, go) = (run.dir.join("ready"), run.dir.join("go"));
    // A container's first process: that is where orphans go.
    let mut unshare = Command::new("unshare");
    if fs::metadata("/proc/self")?.uid() != 0 {
        unshare.args(["--user", "--map-root-user"]);
    }
    unshare.args(["--pid", "--fork", "--kill-child"]).arg(program);
    let mut step = run.report(unshare);
    step.args(["-entrypoint", "/bin/sh", "--", "-c", LEAVE_ORPHANS]).arg(&ready).arg(&go).stderr(Stdio::inherit());
    let mut step = Watched(step.spawn().map_err(|error| format!("unshare (Debian: util-linux): {error}"))?);
    let start = Instant::now();
    while !ready.exists() {
        if let Some(status) = step.0.try_wait()? {
            return Err(format!("the step is to stay, and ended with {status}").into());
        }
        if start.elapsed() > PATIENCE {
            return Err("the step left no orphans in time".into());
        }
        sleep(SETTLED);
    }
    let [(first, _)] = children(step.0.id())?[..] else { return Err("unshare has not one child".into()) };
    let left = Instant::now();
    let zombies = loop {
        let zombies = children(first)?.iter().filter(|(_, state)| *state == 'Z').count();
        if zombies == 0 || left.elapsed() > REAPED {
            break zombies;
        }
        sleep(SETTLED);
    };
    File::create(go)?;
    let status = step.0.wait()?;
    if !status.success() {
        return Err(format!("a step that left orphans ended with {status}").into());
    }
    Ok(f64::from(u32::try_from(zombies)?))
}

/// The children of a process and their states.
fn children(of: u32) -> Result<Vec<(u32, char)>> {
    let mut children = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // It may be gone by now.
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        // Behind the name, which may hold anything: state, then parent.
        let mut fields = stat.rsplit_once(") ").map_or("", |(_, rest)| rest).split(' ');
        let (state, parent) = (fields.next().and_then(|state| state.chars().next()), fields.next());
        if let (Some(state), Some(parent)) = (state, parent)
            && parent.parse() == Ok(of)
        {
            children.push((pid, state));
        }
    }
    Ok(children)
}

/// How many exit codes of a step become its supervisor's, with the post file that goes with them.
pub fn exit_codes(bench: &Bench) -> Result<Vec<Row>> {
    let base = bench.dir("exit-codes")?;
    let passed_on = |program: &Path, name: &str| -> Result<f64> {
        let mut right = 0_u32;
        for code in 0..=255_u8 {
            let run = Run::new(&base.join(name), code.into())?;
            let mut step = run.step(program);
            let status = step.args(["-entrypoint", "/bin/sh", "--", "-c", &format!("exit {code}")]).status()?;
            let post = run.dir.join(if code == 0 { "out/post" } else { "out/post.err" });
            if status.code() == Some(code.into()) && post.exists() {
                right += 1;
            }
            run.remove()?;
        }
        Ok(f64::from(right))
    };
    let ours = passed_on(&bench.entrypoint, "ours")?;
    let theirs = bench.tekton.as_deref().map(|tekton| passed_on(tekton, "theirs")).transpose()?;
    let what = "exit codes 0 to 255 of a step: passed on, the next step told which it was";
    Ok(vec![Row::shown(what, "", ours).beside(theirs).target(Target::exactly(256.0))])
}

/// A pod of 64 steps, all started together, each waiting for the one before it.
pub fn many_steps(bench: &Bench) -> Result<Vec<Row>> {
    let base = bench.dir("many-steps")?;
    let (mut ended_well, mut walls) = (STEPS, Vec::new());
    for number in 0..bench.runs(5) {
        let (well, wall) = one_pod(&base.join(format!("ours-{number}")), &bench.entrypoint)?;
        ended_well = ended_well.min(well);
        walls.push(wall);
    }
    let theirs = bench.tekton.as_deref().map(|tekton| one_pod(&base.join("theirs"), tekton)).transpose()?;
    let count = |number: usize| -> Result<f64> { Ok(f64::from(u32::try_from(number)?)) };
    let peer = theirs.map(|(well, _)| count(well)).transpose()?;
    let what = format!("{STEPS} steps in one pod: ended well");
    let all = Target::exactly(count(STEPS)?);
    Ok(vec![
        Row::shown(what, "", count(ended_well)?).beside(peer).target(all),
        Row::shown(
            format!("{STEPS} steps in one pod: from the first's release to the last's end, median"),
            "ms",
            median(walls)?,
        )
        .beside(theirs.map(|(_, wall)| wall)),
    ])
}

/// How many steps ended well with their post files there, and how long all of them took, ms.
fn one_pod(base: &Path, program: &Path) -> Result<(usize, f64)> {
    let runs = (0..STEPS).map(|number| Run::new(base, number)).collect::<Result<Vec<_>>>()?;
    let first = base.join("first");
    let post = |run: &Run| run.dir.join("out/post");
    let awaited: Vec<PathBuf> = std::iter::once(first.clone()).chain(runs.iter().map(post)).collect();
    let mut steps = Vec::new();
    for (run, awaited) in runs.iter().zip(&awaited) {
        let mut step = run.step(program);
        step.arg("-wait_file").arg(awaited).args(["-entrypoint", "/bin/true", "--"]);
        steps.push(Watched(step.spawn()?));
    }
    // All of them wait.
    sleep(SETTLED * 25);
    let start = Instant::now();
    File::create(first)?;
    let mut ended_well = 0;
    for (step, run) in steps.iter_mut().zip(&runs) {
        let status = step.0.wait()?;
        if status.success() && post(run).exists() {
            ended_well += 1;
        }
    }
    Ok((ended_well, milliseconds(start.elapsed())))
}
