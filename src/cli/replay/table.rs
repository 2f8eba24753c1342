//! The comparison as a table and as JSON.

use std::fmt::Write as _;

use serde::Serialize;

use super::compare::{Kind, gain};
use crate::base::Span;
use crate::report::{bytes, plural};
use crate::run::Losses;
use crate::sim::Outcome;

/// What the last columns are.
const COLUMNS: &str =
    "beyond the bound: no ready work, estimate error, waiting by choice, transfer, hosts away, handling\n";

/// What one run came to under several conditions; times in microseconds.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Table {
    pub run: String,
    /// That were built in it.
    pub derivations: usize,
    /// What the run really took; absent for a graph.
    pub makespan: Option<Span>,
    /// Of which each row is the mean.
    pub seeds: u64,
    pub rows: Vec<Row>,
}

/// One line.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    #[serde(skip)]
    pub kind: Kind,
    pub name: String,
    /// Of all hosts.
    pub slots: u64,
    #[serde(flatten)]
    pub outcome: Outcome,
}

impl Table {
    pub(super) fn text(&self) -> String {
        let mut out = format!("{}: {}", self.run, plural(self.derivations, "derivation"));
        if let Some(makespan) = self.makespan {
            let _ = write!(out, ", built in {makespan}");
        }
        if self.seeds > 1 {
            let _ = write!(out, "; means of {} seeds", self.seeds);
        }
        out.push('\n');
        let width = self.rows.iter().map(|row| row.name.chars().count()).max().unwrap_or(0);
        let _ = writeln!(
            out,
            "  {:width$}  {:>7}  {:>7}  {:>8}    {:>7}  {:>8}  {:>7}  {:>8}  {:>7}  {:>8}",
            "",
            "takes",
            "× bound",
            "copied",
            "no work",
            "estimate",
            "choice",
            "transfer",
            "hosts",
            "handling"
        );
        let mut before = None;
        for row in &self.rows {
            // A blank line between kinds, but not between the first two.
            if before.is_some_and(|kind| kind != row.kind) && row.kind != Kind::Asked {
                out.push('\n');
            }
            before = Some(row.kind);
            row.line(width, &mut out);
        }
        out.push_str(COLUMNS);
        if let Some(line) = self.gains() {
            let _ = writeln!(out, "{line}");
        }
        out
    }

    /// What more hosts or cores would have gained.
    fn gains(&self) -> Option<String> {
        let base = self.rows.iter().rfind(|row| matches!(row.kind, Kind::Recorded | Kind::Asked))?;
        let more = |row: &&Row| row.kind == Kind::Fleet && !row.name.starts_with("without");
        let word = |row: &Row| {
            let (saved, part) = gain(row, base)?;
            let worth =
                if part < 0.005 { "nothing".to_owned() } else { format!("{saved} ({:.0} %)", part * 100.0) };
            Some(format!("{} {worth}", row.name))
        };
        let words: Vec<String> = self.rows.iter().filter(more).filter_map(word).collect();
        (!words.is_empty()).then(|| format!("would have saved: {}", words.join(", ")))
    }
}

impl Row {
    fn line(&self, width: usize, out: &mut String) {
        let Outcome { makespan, ratio, bytes: copied, losses, missing, .. } = self.outcome;
        let part = |of: fn(&Losses) -> Span| losses.as_ref().map_or("-".to_owned(), |l| of(l).to_string());
        let ratio = ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"));
        let short = if missing > 0 { "  (does not build all)" } else { "" };
        let _ = writeln!(
            out,
            "  {:width$}  {:>7}  {ratio:>7}  {:>8}    {:>7}  {:>8}  {:>7}  {:>8}  {:>7}  {:>8}{short}",
            self.name,
            makespan.to_string(),
            bytes(copied),
            part(|l| l.no_ready_work),
            part(|l| l.estimate_error),
            part(|l| l.waiting_by_choice),
            part(|l| l.transfer),
            part(|l| l.lost_host),
            part(|l| l.handling),
        );
    }
}
