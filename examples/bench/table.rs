//! The table that the benchmark prints, and its verdict.

/// What is measured, ours beside the peer's.
pub struct Row {
    /// What is measured.
    pub what: String,
    /// The unit of all numbers but the ratio.
    pub unit: &'static str,
    /// Ours.
    pub ours: f64,
    /// The peer's, where there is one to measure.
    pub peer: Option<f64>,
    /// What must hold.
    pub target: Target,
}

/// What must hold of a number: upper limits, all of them.
#[derive(Default, Clone, Copy)]
pub struct Target {
    /// The release does not go out above this.
    pub gate: Option<f64>,
    /// What we want to reach.
    pub goal: Option<f64>,
    /// Ours divided by the peer's: judged where a peer was measured.
    pub ratio: Option<f64>,
}

/// What a row says about itself.
#[derive(PartialEq, Eq, Clone, Copy)]
pub enum Verdict {
    /// Every target is met, or there is none.
    Met,
    /// The gate is met, the goal is not.
    GoalMissed,
    /// A gate, or a ratio, is missed.
    Missed,
}

impl Row {
    fn ratio(&self) -> Option<f64> {
        self.peer.filter(|peer| *peer > 0.0).map(|peer| self.ours / peer)
    }

    /// Whether the targets are met.
    pub fn verdict(&self) -> Verdict {
        let above =
            |number: Option<f64>, limit: Option<f64>| number.zip(limit).is_some_and(|(number, limit)| number > limit);
        // Without a gate of its own a row's goal is what must hold.
        let gate = self.target.gate.or(self.target.goal);
        if above(Some(self.ours), gate) || above(self.ratio(), self.target.ratio) {
            Verdict::Missed
        } else if above(Some(self.ours), self.target.goal) {
            Verdict::GoalMissed
        } else {
            Verdict::Met
        }
    }

    fn target_text(&self) -> String {
        let limit = |name: &str, limit: Option<f64>| limit.map(|limit| format!("{name}<= {limit}"));
        let texts = [
            limit("gate ", self.target.gate),
            limit(if self.target.gate.is_some() { "goal " } else { "" }, self.target.goal),
            limit("ratio ", self.target.ratio),
        ];
        texts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

/// Prints the rows as a table of Markdown. Whether no target is missed.
pub fn print(rows: &[Row]) -> bool {
    let number = |value: f64| if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") };
    let optional = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), number);
    let mut lines = vec![["what", "unit", "ours", "peer", "ratio", "target", "verdict"].map(str::to_owned)];
    lines.extend(rows.iter().map(|row| {
        let verdict = match row.verdict() {
            Verdict::Met => "ok",
            Verdict::GoalMissed => "gate ok, goal missed",
            Verdict::Missed => "MISSED",
        };
        let (ours, peer, ratio) = (number(row.ours), optional(row.peer), optional(row.ratio()));
        [row.what.clone(), row.unit.to_owned(), ours, peer, ratio, row.target_text(), verdict.to_owned()]
    }));
    let widths: Vec<usize> =
        (0..7).map(|column| lines.iter().map(|line| line[column].len()).max().unwrap_or(0)).collect();
    for (index, line) in lines.iter().enumerate() {
        let cells: Vec<String> = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        println!("| {} |", cells.join(" | "));
        if index == 0 {
            println!("|{}|", widths.iter().map(|width| "-".repeat(width + 2)).collect::<Vec<_>>().join("|"));
        }
    }
    rows.iter().all(|row| row.verdict() != Verdict::Missed)
}
