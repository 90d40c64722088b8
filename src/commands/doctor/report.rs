//! The table as a whole: as text for people and as JSON. `docs/doctor.md` describes both.

use std::fmt::{self, Write};
use std::time::Duration;

use serde::Serialize;

use super::super::words::{json_lines, one_line, written};
use super::row::{Check, Row, Verdict};

/// Everything that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Report {
    version: &'static str,
    /// The image as written, if one was named.
    image: Option<String>,
    /// Whether it could be looked up.
    looked_up: Option<bool>,
    checks: Vec<Row>,
    counts: Counts,
    millis: u64,
}

/// How many rows there are of each verdict.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
struct Counts {
    ok: usize,
    note: usize,
    problem: usize,
    not_checked: usize,
}

impl Report {
    /// The rows in the order of the checks. A check without a row would be one that nobody looked at: it says so.
    pub(super) fn new(image: Option<&str>, looked_up: Option<bool>, mut checks: Vec<Row>, total: Duration) -> Self {
        for check in Check::ALL {
            if !checks.iter().any(|row| row.check == check) {
                checks.push(check.not_checked("nobody looked", "tell us: this is a mistake of the program"));
            }
        }
        checks.sort_by_key(|row| row.check);
        let mut counts = Counts::default();
        for row in &checks {
            match row.verdict {
                Verdict::Ok => counts.ok += 1,
                Verdict::Note => counts.note += 1,
                Verdict::Problem => counts.problem += 1,
                Verdict::NotChecked => counts.not_checked += 1,
            }
        }
        Self {
            version: env!("CARGO_PKG_VERSION"),
            image: image.map(str::to_owned),
            looked_up,
            checks,
            counts,
            millis: u64::try_from(total.as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// One JSON object, on lines of its own.
    pub(super) fn json(&self) -> String {
        json_lines(self)
    }

    /// Lines for people. Columns are aligned, and nothing is cut.
    pub(super) fn text(&self) -> String {
        written(|text| self.write(text))
    }

    fn write(&self, text: &mut String) -> fmt::Result {
        let wide = |texts: &mut dyn Iterator<Item = &'static str>| texts.map(str::len).max().unwrap_or(0);
        let verdicts = wide(&mut self.checks.iter().map(|row| row.verdict.name()));
        let checks = wide(&mut self.checks.iter().map(|row| row.check.name()));
        for row in &self.checks {
            let Row { check, verdict, says, fix } = row;
            writeln!(text, "{:verdicts$}  {:checks$}  {}", verdict.name(), check.name(), one_line(says))?;
            let indent = verdicts + checks + 4;
            for (index, line) in fix.iter().flat_map(|fix| fix.lines()).enumerate() {
                let label = if index == 0 { "fix: " } else { "     " };
                writeln!(text, "{:indent$}{label}{}", "", one_line(line))?;
            }
        }
        let Counts { ok, note, problem, not_checked } = self.counts;
        writeln!(text, "\nproblems: {problem}, notes: {note}, not checked: {not_checked}, ok: {ok}; {} ms", self.millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Row> {
        let each = Check::ALL.into_iter().filter(|check| !matches!(check, Check::Rbac | Check::Token));
        let mut rows: Vec<_> = each.map(|check| check.ok("fine")).collect();
        rows.push(Check::Rbac.problem("may not\nget \u{1b}[31m", "kubectl a\nkubectl b"));
        rows.push(Check::Rbac.note("may not", "nothing"));
        rows
    }

    #[test]
    fn the_table_has_a_line_per_row_in_order_and_a_fix_below() {
        let report = Report::new(Some("busybox"), Some(false), rows(), Duration::from_millis(7));
        let text = report.text();
        let part = "\
not checked  token           nobody looked
                             fix: tell us: this is a mistake of the program
problem      rbac            may not\\nget \\u001b[31m
                             fix: kubectl a
                                  kubectl b
note         rbac            may not
                             fix: nothing
ok           pull secrets    fine
";
        assert!(text.contains(part), "{text}");
        assert!(
            text.ends_with(
                "\nok           lookup          fine\n\nproblems: 1, notes: 1, not checked: 1, ok: 12; 7 ms\n"
            )
        );
    }

    #[test]
    fn json_has_every_name_always_and_nothing_invisible() {
        let report = Report::new(None, None, rows(), Duration::ZERO).json();
        assert!(report.contains(r"\u001b") && !report.contains('\u{1b}'), "{report}");
        let value: serde_json::Map<_, _> = serde_json::from_str(&report).unwrap();
        let names: Vec<&str> = value.keys().map(String::as_str).collect();
        assert_eq!(names, ["version", "image", "looked_up", "checks", "counts", "millis"]);
        assert_eq!(value["counts"], serde_json::json!({"ok": 12, "note": 1, "problem": 1, "not_checked": 1}));
        let checks = value["checks"].as_array().unwrap();
        for row in checks {
            let names: Vec<_> = row.as_object().unwrap().keys().map(String::as_str).collect();
            assert_eq!(names, ["check", "verdict", "says", "fix"]);
        }
        assert_eq!((checks[3]["check"].as_str(), checks[3]["verdict"].as_str()), (Some("token"), Some("not_checked")));
    }
}
