//! The comparison as a table and as JSON.

use std::fmt::Write as _;

use serde::Serialize;

use super::compare::{Kind, gain};
use crate::base::Span;
use crate::report::{self, Cells, NONE, Room, bytes, plural};
use crate::run::Losses;
use crate::sim::Outcome;

const HEADING: [(Cells, &str); 11] = [
    (Cells::Names, ""),
    (Cells::Numbers, "takes"),
    (Cells::Numbers, "× bound"),
    (Cells::Numbers, "copied"),
    (Cells::Numbers, "work"),
    (Cells::Numbers, "error"),
    (Cells::Numbers, "choice"),
    (Cells::Numbers, "moves"),
    (Cells::Numbers, "hosts"),
    (Cells::Numbers, "orders"),
    (Cells::Words, ""),
];

/// What the last columns are.
const COLUMNS: &str = "\
beyond the bound: no ready work, estimate error, waiting by choice, transfer
(moves), hosts away, handling (orders)
";

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
    pub(super) fn text(&self, room: Room) -> String {
        let mut out = format!("{}: {}", self.run, plural(self.derivations, "derivation"));
        if let Some(makespan) = self.makespan {
            let _ = write!(out, ", built in {makespan}");
        }
        if self.seeds > 1 {
            let _ = write!(out, "; means of {} seeds", self.seeds);
        }
        out.push('\n');
        let mut table = report::Table::new(HEADING);
        let mut before = None;
        for row in &self.rows {
            // A blank line between kinds, but not between the first two.
            if before.is_some_and(|kind| kind != row.kind) && row.kind != Kind::Asked {
                table.gap();
            }
            before = Some(row.kind);
            table.row(row.cells());
        }
        out.push_str(&table.text(room));
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
    fn cells(&self) -> [String; HEADING.len()] {
        let Outcome { makespan, ratio, bytes: copied, losses, missing, .. } = self.outcome;
        let none = || NONE.to_owned();
        // What would be shown as 0.0s is nothing to speak of.
        let seen = |part: &Span| *part >= Span::from_millis(50);
        let part = |of: fn(&Losses) -> Span| {
            losses.as_ref().map(of).filter(seen).map_or_else(none, |part| part.to_string())
        };
        let ratio = ratio.map_or_else(none, |ratio| format!("{ratio:.2}"));
        let short = if missing > 0 { "(does not build all)" } else { "" };
        [
            format!("  {}", self.name),
            makespan.to_string(),
            ratio,
            bytes(copied),
            part(|l| l.no_ready_work),
            part(|l| l.estimate_error),
            part(|l| l.waiting_by_choice),
            part(|l| l.transfer),
            part(|l| l.lost_host),
            part(|l| l.handling),
            short.to_owned(),
        ]
    }
}
