//! The table that the benchmark prints, and its verdict.

/// What is measured, ours beside the peer's.
pub struct Row {
    /// What is measured.
    pub what: String,
    /// The unit of all numbers but the ratio; empty for a count.
    pub unit: &'static str,
    /// Ours, unless this run has not measured it.
    pub ours: Option<f64>,
    /// The peer's, where there is one to measure.
    pub peer: Option<f64>,
    /// What must hold.
    pub target: Target,
}

/// What must hold of a number: all of them.
#[derive(Default, Clone, Copy)]
pub struct Target {
    /// The release does not go out above this.
    pub gate: Option<f64>,
    /// What we want to reach: at most this.
    pub goal: Option<f64>,
    /// This and nothing else.
    pub exactly: Option<f64>,
    /// Ours divided by the peer's is at most this: judged where a peer was measured.
    pub ratio: Option<f64>,
}

impl Target {
    /// At most this.
    pub fn goal(goal: f64) -> Self {
        Self { goal: Some(goal), ..Self::default() }
    }

    /// At most this part of the peer's.
    pub fn ratio(ratio: f64) -> Self {
        Self { ratio: Some(ratio), ..Self::default() }
    }

    /// This and nothing else.
    pub fn exactly(number: f64) -> Self {
        Self { exactly: Some(number), ..Self::default() }
    }
}

/// What a row says about itself.
#[derive(PartialEq, Eq, Clone, Copy)]
pub enum Verdict {
    /// There is nothing to meet.
    Shown,
    /// Every target is met.
    Met,
    /// What can be judged is met, but the ratio has nothing to be taken to.
    NoPeer,
    /// The gate is met, the goal is not.
    GoalMissed,
    /// A gate, or a target without a gate, is missed.
    Missed,
    /// This run has not measured it.
    NotMeasured,
}

impl Verdict {
    /// Whether `CHECK=1` fails on it.
    pub fn is_missed(self) -> bool {
        matches!(self, Self::GoalMissed | Self::Missed)
    }

    fn text(self) -> &'static str {
        match self {
            Self::Shown => "",
            Self::Met => "ok",
            Self::NoPeer => "no peer",
            Self::GoalMissed => "gate ok, goal missed",
            Self::Missed => "MISSED",
            Self::NotMeasured => "not measured",
        }
    }
}

impl Row {
    /// A row without a peer and without a target.
    pub fn shown(what: impl Into<String>, unit: &'static str, ours: f64) -> Self {
        Self { what: what.into(), unit, ours: Some(ours), peer: None, target: Target::default() }
    }

    /// With a peer's number beside it, if there is one.
    pub fn beside(self, peer: Option<f64>) -> Self {
        Self { peer, ..self }
    }

    /// With something to meet.
    pub fn target(self, target: Target) -> Self {
        Self { target, ..self }
    }

    fn ratio(&self) -> Option<f64> {
        let peer = self.peer.filter(|peer| *peer > 0.0)?;
        Some(self.ours? / peer)
    }

    /// Whether the targets are met.
    pub fn verdict(&self) -> Verdict {
        let Some(ours) = self.ours else { return Verdict::NotMeasured };
        let Target { gate, goal, exactly, ratio } = self.target;
        if gate.or(goal).or(exactly).or(ratio).is_none() {
            return Verdict::Shown;
        }
        // Judged is what is printed: a thousandth of a wake-up is no wake-up.
        let rounded = |number: f64| (number * 100.0).round() / 100.0;
        let above = |number: f64, limit: Option<f64>| limit.is_some_and(|limit| rounded(number) > limit);
        let ratio_missed = self.ratio().is_some_and(|own| above(own, ratio));
        let differs = exactly.is_some_and(|exactly| (ours - exactly).abs() > f64::EPSILON);
        let goal_missed = above(ours, goal);
        if above(ours, gate) || differs || (gate.is_none() && (goal_missed || ratio_missed)) {
            Verdict::Missed
        } else if goal_missed || ratio_missed {
            Verdict::GoalMissed
        } else if ratio.is_some() && self.ratio().is_none() {
            Verdict::NoPeer
        } else {
            Verdict::Met
        }
    }

    fn target_text(&self) -> String {
        let Target { gate, goal, exactly, ratio } = self.target;
        let unit = if self.unit.is_empty() { String::new() } else { format!(" {}", self.unit) };
        let texts = [
            gate.map(|gate| format!("gate ≤ {gate}{unit}")),
            goal.map(|goal| format!("{}≤ {goal}{unit}", if gate.is_some() { "goal " } else { "" })),
            exactly.map(|exactly| format!("{exactly}{unit}")),
            ratio.map(|ratio| format!("ratio ≤ {ratio}")),
        ];
        texts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }

    fn cells(&self) -> [String; 6] {
        let number = |value: f64| {
            let digits = if self.unit.is_empty() || value.abs() >= 100.0 { 0 } else { 2 };
            format!("{value:.digits$} {}", self.unit).trim_end().to_owned()
        };
        let optional = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), number);
        let ratio = self.ratio().map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"));
        let verdict = self.verdict().text().to_owned();
        [self.what.clone(), optional(self.ours), optional(self.peer), ratio, self.target_text(), verdict]
    }
}

/// Prints the rows as a table of Markdown.
pub fn print(rows: &[Row]) {
    let heads = ["what", "ours", "beside it", "ratio", "target", "verdict"].map(str::to_owned);
    let lines: Vec<[String; 6]> = std::iter::once(heads).chain(rows.iter().map(Row::cells)).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 6] = std::array::from_fn(width);
    for (index, line) in lines.iter().enumerate() {
        let cells: Vec<String> = line.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        println!("| {} |", cells.join(" | "));
        if index == 0 {
            println!("|{}|", widths.map(|width| "-".repeat(width + 2)).join("|"));
        }
    }
}
