//! What a table of numbers is worth nothing without: the machine, the day, the filesystem, who is compared.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::process::{Result, filesystem};
use crate::rows::Bench;

/// Lines of Markdown.
pub fn lines(bench: &Bench) -> Result<Vec<String>> {
    let load = fs::read_to_string("/proc/loadavg")?;
    let load = load.split(' ').next().unwrap_or_default();
    let peer = |path: Option<&Path>, variable: &str| match path {
        Some(path) => go_version(path),
        None => Ok(format!("none (`{variable}` is not given)")),
    };
    let mut lines = vec![
        format!("- Machine: {}; load before: {load}.", machine()?),
        format!("- Date: {}.", said(Command::new("date").args(["-u", "+%Y-%m-%d %H:%M UTC"]))?),
        format!(
            "- Files on {} (the termination message is fsynced){}.",
            filesystem(&bench.base)?,
            if bench.memory.is_some() { ", and on tmpfs where the row says so" } else { "" }
        ),
        format!("- Ours: {}.", said(Command::new(&bench.entrypoint).arg("version"))?),
        format!(
            "- Beside it, measured in turn: Tekton's entrypoint: {}; for lookups `crane config`: {}.",
            peer(bench.tekton.as_deref(), "TEKTON_ENTRYPOINT")?,
            peer(bench.crane.as_deref(), "CRANE")?
        ),
        "- A lookup of ours is `run-image` of `/bin/true`, a whole process as crane's is.".to_owned(),
    ];
    if let Some(runs) = bench.runs {
        lines.push(format!("- Shortened: at most {runs} runs of each (`BENCH_RUNS`). These are no measurements."));
    }
    Ok(lines)
}

fn machine() -> Result<String> {
    let field = |file: &str, name: &str| -> Result<Option<String>> {
        let text = fs::read_to_string(file)?;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix(':'));
        Ok(line.map(|value| value.trim().to_owned()))
    };
    let model = field("/proc/cpuinfo", "model name")?.unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let memory = field("/proc/meminfo", "MemTotal")?.unwrap_or_default();
    let kilobytes: f64 = memory.trim_end_matches(" kB").parse()?;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let processors = std::thread::available_parallelism()?;
    let gigabytes = kilobytes * 1024.0 / 1e9;
    Ok(format!("{processors} processors ({model}), {gigabytes:.0} GB, Linux {}", kernel.trim()))
}

/// The first line that a program prints.
fn said(command: &mut Command) -> Result<String> {
    let output = command.output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().next().ok_or_else(|| format!("{command:?} says nothing"))?.to_owned())
}

/// Module and version that Go's linker writes into a program.
fn go_version(program: &Path) -> Result<String> {
    let content = fs::read(program)?;
    let behind = |mark: &str| {
        let start = content.windows(mark.len()).position(|window| window == mark.as_bytes())? + mark.len();
        let line = content.get(start..)?.split(|byte| *byte == b'\n').next()?;
        std::str::from_utf8(line).ok().filter(|line| line.len() < 200)
    };
    let module = behind("\nmod\t").map(|line| line.split('\t').take(2).collect::<Vec<_>>().join(" "));
    let revision = behind("\nbuild\tvcs.revision=").map(|revision| format!(", commit {revision:.12}"));
    Ok(match module {
        Some(module) => format!("{module}{}", revision.unwrap_or_default()),
        None => "a version that it does not tell".to_owned(),
    })
}
