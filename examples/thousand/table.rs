//! What a pass has come to, as a table of Markdown.

use crate::images::Mix;
use crate::passes::{Hours, Pass, Result};
use crate::pods::PODS;
use crate::registry::ALLOWANCE;

const HEADS: [&str; 9] =
    ["hour", "lookups", "manifest GETs", "of one node, at most", "HEADs", "429s", "retries", "failed", "wall"];

/// Prints it, under a line that says what was simulated.
pub fn print(result: &Result) {
    let Pass { nodes, mix, before, cache, .. } = result.pass;
    let with = if cache { "with a cache per node" } else { "without a cache" };
    let images = match mix {
        Mix::Manifests => "20 images, each a single manifest",
        Mix::HalfIndexes => "20 images, 10 of them indexes",
    };
    println!("\n{images}, {with}. {nodes} nodes with {PODS} pods at a time; of the {ALLOWANCE}");
    println!("manifests that each may get, its container runtime has got {before} before.\n");
    let hours = result.hours.iter().enumerate().map(|(number, hour)| cells(&(number + 1).to_string(), hour));
    let lines: Vec<_> =
        [HEADS.map(str::to_owned)].into_iter().chain(hours).chain([cells("all", &result.whole())]).collect();
    let widths: [usize; HEADS.len()] =
        std::array::from_fn(|column| lines.iter().map(|line| line[column].len()).max().unwrap_or_default());
    for (number, line) in lines.iter().enumerate() {
        let cells: Vec<String> = line.iter().zip(widths).map(|(cell, width)| format!("{cell:>width$}")).collect();
        println!("| {} |", cells.join(" | "));
        if number == 0 {
            println!("|{}|", widths.map(|width| format!("{}:", "-".repeat(width + 1))).join("|"));
        }
    }
}

fn cells(name: &str, hours: &Hours) -> [String; HEADS.len()] {
    let Hours { lookups, counts, most, retries, failed, wall } = hours;
    let numbers = [*lookups, counts.manifests, *most, counts.heads, counts.refused, *retries, *failed];
    let [lookups, manifests, most, heads, refused, retries, failed] = numbers.map(|number| number.to_string());
    let wall = format!("{:.1} s", wall.as_secs_f64());
    [name.to_owned(), lookups, manifests, most, heads, refused, retries, failed, wall]
}
