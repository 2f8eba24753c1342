//! Whether the orders of logs are those that this version gives.

use std::fmt::Write as _;
use std::sync::Arc;

use serde::Serialize;

use crate::base::Span;
use crate::cli::error::CliError;
use crate::cli::runs::find;
use crate::records::RunFile;
use crate::report::loss_parts;
use crate::run::{Entry, Header, LossMeter, Losses, MeasuredBound, Step};
use crate::sched::{Differs, Identical, Scheduler};

/// What came of one log; times in microseconds.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Exact {
    run: String,
    identical: bool,
    /// Compared up to the end, or up to the first difference.
    events: usize,
    orders: usize,
    /// The version that wrote the log.
    version: String,
    /// Whether the log ends in the middle of a line.
    torn: bool,
    /// How long the run took beyond its lower bound by what its builds took, and why; absent where there is no such
    /// bound.
    losses: Option<Losses>,
    difference: Option<Difference>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Difference {
    /// Of the log, from 1.
    line: usize,
    at: Span,
    /// The order in the log.
    expected: Option<String>,
    /// The order that was given now.
    given: Option<String>,
}

/// Checks all logs; the exit code.
pub(super) fn run(runs: &[String], json: bool) -> Result<u8, CliError> {
    let checked: Vec<Exact> = runs.iter().map(|run| Exact::of(&find(run)?)).collect::<Result<_, _>>()?;
    let all = checked.iter().all(|exact| exact.identical);
    if json {
        super::put_json(&checked)?;
    } else {
        let text: String = checked.iter().map(Exact::text).collect();
        crate::cli::put(&text, "the result")?;
    }
    Ok(u8::from(!all))
}

impl Exact {
    pub(super) fn of(file: &RunFile) -> Result<Exact, CliError> {
        let usage = |text: String| CliError::Usage(format!("{}: {text}", file.path.display()));
        let (header, entries, torn) = file.read().map_err(|e| CliError::Usage(e.to_string()))?;
        if let Some(torn) = torn {
            crate::cli::tell!("warning: {}: {torn}", file.path.display());
        }
        let mut fresh = Scheduler::recorded(&header).map_err(|e| usage(e.to_string()))?;
        let (same, difference) = match fresh.replay(&entries) {
            Ok(same) => (same, None),
            Err(differs) => {
                let before = entries.iter().take(differs.row);
                let events = before.filter(|e| matches!(e.what, crate::run::Step::Event(_))).count();
                (Identical { events, orders: differs.row - events }, Some(Difference::of(differs)))
            }
        };
        let losses = losses(header.clone(), &entries);
        Ok(Exact {
            run: file.name.clone(),
            identical: difference.is_none(),
            events: same.events,
            orders: same.orders,
            version: header.version,
            torn: torn.is_some(),
            losses,
            difference,
        })
    }

    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        let (events, orders) = (grouped(self.events), grouped(self.orders));
        let Some(Difference { line, at, expected, given }) = &self.difference else {
            let _ = writeln!(text, "{}: identical: {events} events, {orders} orders", self.run);
            text.extend(self.losses.as_ref().and_then(losses_text));
            return text;
        };
        let word = |order: &Option<String>| order.clone().unwrap_or_else(|| "no order".to_owned());
        let _ = writeln!(text, "{}: differs at line {line} of the log, {at} into the run", self.run);
        let _ = writeln!(text, "  the log has:  {}", word(expected));
        let _ = writeln!(text, "  this version: {}", word(given));
        let _ = writeln!(text, "  identical before: {events} events, {orders} orders");
        let own = env!("CARGO_PKG_VERSION");
        if self.version != own {
            let _ = writeln!(
                text,
                "  the log is of drvdispatch {}, this is {own}: other versions may decide differently",
                self.version
            );
        }
        text
    }
}

/// What a recorded run took beyond its lower bound.
fn losses(header: Header, entries: &[Entry]) -> Option<Losses> {
    let header = Arc::new(header);
    let mut meter = LossMeter::of(&header);
    let mut bound = MeasuredBound::new(&header);
    for Entry { at, what } in entries {
        match what {
            Step::Event(event) => {
                meter.event(*at, event);
                bound.event(event);
            }
            Step::Order(order) => {
                meter.order(*at, order);
                bound.order(order);
            }
        }
    }
    meter.finish(entries.last()?.at, bound.bound())
}

fn losses_text(losses: &Losses) -> Option<String> {
    let parts = loss_parts(losses).map(|parts| format!(": {parts}")).unwrap_or_default();
    Some(format!(
        "  {}, {:.2} times the lower bound of {}{parts}\n",
        losses.makespan,
        losses.ratio()?,
        losses.bound
    ))
}

impl Difference {
    fn of(differs: Differs) -> Difference {
        let Differs { row, at, expected, given } = differs;
        // The header is line 1.
        Difference { line: row + 2, at, expected, given }
    }
}

/// `5,213`.
pub(super) fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
