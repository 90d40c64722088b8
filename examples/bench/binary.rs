//! The rows of the binary itself: its size, and what it costs to place it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

use crate::process::{Result, take};
use crate::rows::{Bench, median, median_of_peer};
use crate::table::{Row, Target};

const MB: f64 = 1e6;
/// A build of Tekton's below this size was made without SPIRE and without TLS.
const SMALLEST_BUILD: f64 = 12.0;

/// Three builds; those that were not made say how to get them.
pub fn size(bench: &Bench) -> Result<Vec<Row>> {
    let theirs = bench.tekton.as_deref().map(megabytes).transpose()?;
    let mut rows = vec![
        Row::shown("binary, everything on", "MB", megabytes(&bench.entrypoint)?)
            .beside(theirs)
            .target(Target::goal(9.0)),
    ];
    for (what, build, goal) in [
        ("binary, no clouds (no code of theirs yet: the same program)", &bench.builds.no_clouds, 6.0),
        ("binary, no network at all", &bench.builds.no_network, 1.5),
    ] {
        let ours = build.as_deref().map(megabytes).transpose()?;
        let how = if build.is_some() { "" } else { " (`BENCH_BUILDS=1` builds it)" };
        let target = Target::goal(goal);
        rows.push(Row { what: format!("{what}{how}"), unit: "MB", ours, peer: None, target });
    }
    Ok(rows)
}

/// What a node downloads.
pub fn compressed(bench: &Bench) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (name, level, goal) in [("gzip", "-9", 4.2), ("zstd", "-19", 3.4)] {
        let measure = |path: &Path| -> Result<f64> {
            let mut command = Command::new(name);
            let output = command.args([level, "-c"]).stdin(File::open(path)?).stderr(Stdio::null()).output()?;
            Ok(f64::from(u32::try_from(output.stdout.len())?) / MB)
        };
        let what = format!("binary, everything on, `{name} {level}`");
        if Command::new(name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
            let what = format!("{what} ({name} is not installed)");
            rows.push(Row { what, unit: "MB", ours: None, peer: None, target: Target::goal(goal) });
            continue;
        }
        let theirs = bench.tekton.as_deref().map(measure).transpose()?;
        rows.push(Row::shown(what, "MB", measure(&bench.entrypoint)?).beside(theirs).target(Target::goal(goal)));
    }
    Ok(rows)
}

/// The init container's work: the binary placed by itself, in turn with `cp` of the same file; with the file in memory
/// and with nothing of it there.
pub fn placing(bench: &Bench) -> Result<Vec<Row>> {
    let base = bench.dir("placing")?;
    let ratio = match bench.tekton.as_deref().map(megabytes).transpose()? {
        Some(size) if size < SMALLEST_BUILD => 0.6,
        Some(_) | None => 0.12,
    };
    let ours = copy(&bench.entrypoint, base.join("ours"))?;
    let theirs = bench.tekton.as_deref().map(|tekton| copy(tekton, base.join("theirs"))).transpose()?;
    let mut rows = Vec::new();
    // A filesystem in memory has nothing that is not there.
    let can_be_cold = crate::process::filesystem(&base)? != "tmpfs";
    for (name, cold) in [("warm", false), ("cold", true)].into_iter().take(if can_be_cold { 2 } else { 1 }) {
        let to = base.join("placed");
        let place = |program: &Path, mut command: Command| -> Result<f64> {
            if cold {
                forget(program)?;
            }
            let wall = take(command.arg(program).arg(&to).stderr(Stdio::null()))?.wall;
            fs::remove_file(&to)?;
            Ok(wall)
        };
        let itself = |program: &Path| {
            let mut command = Command::new(program);
            command.arg("cp");
            place(program, command)
        };
        let (mut own, mut peer, mut cp) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..bench.runs(50) {
            own.push(itself(&ours)?);
            if let Some(theirs) = &theirs {
                peer.push(itself(theirs)?);
            }
            cp.push(place(&ours, Command::new("cp"))?);
        }
        let what = format!("placing the binary, {name} (`cp` of it: {:.2} ms), median", median(cp)?);
        let row = Row::shown(what, "ms", median(own)?).beside(median_of_peer(peer)?);
        rows.push(row.target(Target::ratio(ratio)));
    }
    Ok(rows)
}

fn megabytes(path: &Path) -> Result<f64> {
    Ok(f64::from(u32::try_from(fs::metadata(path)?.len())?) / MB)
}

/// A copy that is on the disk, so that the kernel can forget it.
fn copy(program: &Path, to: PathBuf) -> Result<PathBuf> {
    fs::copy(program, &to)?;
    File::open(&to)?.sync_all()?;
    Ok(to)
}

/// Has the kernel drop what it holds of a file in memory.
fn forget(path: &Path) -> Result<()> {
    Ok(posix_fadvise(&File::open(path)?, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?)
}
