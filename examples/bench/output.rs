//! The row of a step's output: how fast it is copied to a file.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::process::{Result, Run, Watched, milliseconds};
use crate::rows::{Bench, median};
use crate::table::{Row, Target};

/// What is printed: a gibibyte of nothing, as fast as it can be had.
const PRINT: [&str; 4] = ["head", "-c", "1G", "/dev/zero"];
const PRINTED: u64 = 1 << 30;

/// A step's stdout through `-stdout_path` to a reader, in turn with coreutils' `tee` between the same two programs.
pub fn copied(bench: &Bench) -> Result<Vec<Row>> {
    let base = bench.memory.as_deref().unwrap_or(&bench.base);
    let [program, arguments @ ..] = PRINT;
    let (mut own, mut tee, mut tekton) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..bench.runs(7) {
        let step = |entrypoint: &Path| -> Result<f64> {
            let run = Run::new(&base.join("output"), number)?;
            let file = run.dir.join("copy");
            let mut step = run.step(entrypoint);
            step.arg("-stdout_path").arg(&file).args(["-entrypoint", program, "--"]).args(arguments);
            let wall = through(&mut [step], &file)?;
            run.remove()?;
            Ok(wall)
        };
        own.push(step(&bench.entrypoint)?);
        let file = base.join("output/copy");
        let mut head = Command::new(program);
        head.args(arguments).stdin(Stdio::null());
        let mut peer = Command::new("tee");
        peer.arg(&file);
        tee.push(through(&mut [head, peer], &file)?);
        fs::remove_file(&file)?;
        if let Some(theirs) = &bench.tekton {
            tekton.push(step(theirs)?);
        }
    }
    let theirs = if tekton.is_empty() { String::new() } else { format!("; Tekton: {:.0} ms", median(tekton)?) };
    let place = crate::process::filesystem(base)?;
    let what = format!("1 GiB of stdout to a reader and a file on {place}, beside `tee`{theirs}, median");
    // At least 0.8 of its throughput.
    Ok(vec![Row::shown(what, "ms", median(own)?).beside(Some(median(tee)?)).target(Target::ratio(1.25))])
}

/// Runs these, each reading what the one before it writes, and `cat` behind them. All must succeed, and leave everything
/// in the file.
fn through(commands: &mut [Command], file: &Path) -> Result<f64> {
    let start = Instant::now();
    let mut running: Vec<Watched> = Vec::new();
    for command in commands {
        if let Some(before) = running.last_mut().and_then(|before| before.0.stdout.take()) {
            command.stdin(before);
        }
        running.push(Watched(command.stdout(Stdio::piped()).spawn()?));
    }
    let last = running.last_mut().and_then(|last| last.0.stdout.take()).ok_or("nothing to read")?;
    running.push(Watched(Command::new("cat").stdin(last).stdout(Stdio::null()).spawn()?));
    for process in &mut running {
        let status = process.0.wait()?;
        if !status.success() {
            return Err(format!("a program between `head` and `cat` ended with {status}").into());
        }
    }
    let wall = milliseconds(start.elapsed());
    match fs::metadata(file)?.len() {
        PRINTED => Ok(wall),
        other => Err(format!("the copy has {other} bytes").into()),
    }
}
