//! What is asked of the history, and what of it is forgotten.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use rusqlite::types::Value;
use rusqlite::{Row as SqlRow, Statement, TransactionBehavior, params_from_iter};

use super::nom;
use super::row::word;
use super::{
    Build, Ended, History, HistoryError, MOST_LEARNED, MOST_OF_EACH, MOST_READ, Transfer, int, outcome_word,
};
use crate::base::Span;
use crate::cost::{LinkSample, Links, Memory, OutputClass, Sample};

const COLUMNS: &str =
    "pname, version, class, system, host, cores, wall, cpu, input_size, output_size, outcome,
    stopped, run";

/// Which builds. Without anything set, all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// A glob over names, with or without version.
    pub name: Option<String>,
    /// Built by this host.
    pub host: Option<String>,
    /// Ended before so many seconds since 1970.
    pub before: Option<u64>,
}

/// What is known of a package: a name of a kind for a system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// Its name.
    pub pname: String,
    /// The version built last.
    pub version: String,
    /// Its kind.
    pub class: OutputClass,
    /// The system it was built for.
    pub system: String,
    /// How often it was built.
    pub builds: u64,
    /// When it was built last, in seconds since 1970.
    pub last: u64,
}

/// What was forgotten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Builds.
    pub builds: usize,
    /// Transfers.
    pub transfers: usize,
}

impl Filter {
    /// The condition on builds, with its parameters.
    fn builds(&self) -> (String, Vec<Value>) {
        let mut of = self.common("stopped");
        if let Some(name) = &self.name {
            let full = "CASE version WHEN '' THEN pname ELSE pname || '-' || version END";
            of.0.push(format!("(pname GLOB ? OR {full} GLOB ?)"));
            of.1.extend([Value::from(name.clone()), Value::from(name.clone())]);
        }
        (join(of.0), of.1)
    }

    /// The condition on transfers; `None` if none is meant.
    fn transfers(&self) -> Option<(String, Vec<Value>)> {
        let of = self.common("at");
        self.name.is_none().then(|| (join(of.0), of.1))
    }

    fn common(&self, time: &str) -> (Vec<String>, Vec<Value>) {
        let (mut all, mut values) = (Vec::new(), Vec::new());
        if let Some(host) = &self.host {
            all.push("host = ?".to_owned());
            values.push(Value::from(host.clone()));
        }
        if let Some(before) = self.before {
            all.push(format!("{time} < ?"));
            values.push(Value::from(int(before)));
        }
        (all, values)
    }
}

fn join(conditions: Vec<String>) -> String {
    if conditions.is_empty() { "true".to_owned() } else { conditions.join(" AND ") }
}

impl History {
    /// Teaches a memory what was built, in the order of time, and returns it: all of it, or as it was before
    /// a moment in seconds since 1970. Configure the hosts first.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn memory(&self, mut memory: Memory, before: Option<u64>) -> Result<Memory, HistoryError> {
        // The newest first, until there are enough; the index by time has them in this order.
        let sql = format!(
            "SELECT {COLUMNS} FROM builds WHERE outcome = ? AND stopped < ? ORDER BY stopped DESC, id DESC
             LIMIT {MOST_READ}"
        );
        let values = [Value::from(outcome_word(Ended::Built)), Value::from(before.map_or(i64::MAX, int))];
        let (mut samples, mut counts) = (Vec::new(), Counts::new());
        self.each(&sql, &values, |Build { sample, .. }| {
            if one_more(&mut counts, &sample) {
                samples.push(sample);
            }
            if samples.len() < MOST_LEARNED { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        samples.reverse();
        memory.learn_all(&samples);
        Ok(memory)
    }

    /// What transfers say about links, likewise.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn links(&self, before: Option<u64>) -> Result<Links, HistoryError> {
        let mut links = Links::default();
        let which = Filter { before, ..Filter::default() };
        self.transfers(&which, |transfer| links.learn(&transfer.sample))?;
        Ok(links)
    }

    /// Shows the builds of a filter to `see`, the oldest first.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn builds(&self, which: &Filter, mut see: impl FnMut(Build)) -> Result<(), HistoryError> {
        let (condition, values) = which.builds();
        let sql = format!("SELECT {COLUMNS} FROM builds WHERE {condition} ORDER BY stopped, id");
        self.each(&sql, &values, |build| {
            see(build);
            ControlFlow::Continue(())
        })
    }

    /// Shows the transfers of a filter to `see`, the oldest first; none to a filter by name.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn transfers(&self, which: &Filter, mut see: impl FnMut(Transfer)) -> Result<(), HistoryError> {
        let Some((condition, values)) = which.transfers() else { return Ok(()) };
        let sql = format!("SELECT host, bytes, took, at FROM transfers WHERE {condition} ORDER BY at, id");
        let mut run = |mut statement: Statement<'_>| {
            let mut rows = statement.query(params_from_iter(values.iter()))?;
            while let Some(row) = rows.next()? {
                see(transfer_of(row)?);
            }
            Ok(())
        };
        self.db.prepare(&sql).and_then(&mut run).map_err(self.failed())
    }

    /// The packages of a filter, those that were built most lately first. What never succeeded is none.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn packages(&self, which: &Filter) -> Result<Vec<Package>, HistoryError> {
        let (condition, mut values) = which.builds();
        // SQLite takes the other columns from the row that has the maximum.
        let sql = format!(
            "SELECT pname, version, class, system, count(*), max(stopped) FROM builds
             WHERE {condition} AND outcome = ? GROUP BY pname, class, system
             ORDER BY max(stopped) DESC, pname, class, system"
        );
        values.push(Value::from(outcome_word(Ended::Built)));
        let read = |mut statement: Statement<'_>| {
            let mut rows = statement.query(params_from_iter(values.iter()))?;
            let mut packages = Vec::new();
            while let Some(row) = rows.next()? {
                packages.extend(package_of(row)?);
            }
            Ok(packages)
        };
        self.db.prepare(&sql).and_then(read).map_err(self.failed())
    }

    /// How much [`History::forget`] would remove.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn count(&self, which: &Filter) -> Result<Removed, HistoryError> {
        let count = |table: &str, (condition, values): (String, Vec<Value>)| {
            let sql = format!("SELECT count(*) FROM {table} WHERE {condition}");
            self.db
                .query_row(&sql, params_from_iter(values), |row| row.get::<_, i64>(0))
                .map_err(self.failed())
        };
        let builds = count("builds", which.builds())?;
        let transfers = which.transfers().map_or(Ok(0), |of| count("transfers", of))?;
        let size = |n: i64| usize::try_from(n).unwrap_or(0);
        Ok(Removed { builds: size(builds), transfers: size(transfers) })
    }

    /// Forgets what a filter is about: builds, and transfers unless it has a name.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn forget(&mut self, which: &Filter) -> Result<Removed, HistoryError> {
        let path = self.path.clone();
        let failed = HistoryError::sqlite(&path);
        let mut forget = || {
            let step = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let delete = |table: &str, (condition, values): (String, Vec<Value>)| {
                step.execute(&format!("DELETE FROM {table} WHERE {condition}"), params_from_iter(values))
            };
            let builds = delete("builds", which.builds())?;
            let transfers = which.transfers().map_or(Ok(0), |of| delete("transfers", of))?;
            step.commit()?;
            Ok(Removed { builds, transfers })
        };
        forget().map_err(failed)
    }

    /// Whether a build of another origin than `run` is there that may well be the same one, told by somebody
    /// else: of the same name on the same host, ended at the same time and taking as long, to a second or two.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) fn knows(&self, build: &Build) -> Result<bool, HistoryError> {
        let sql = "SELECT pname, version, host FROM builds WHERE stopped BETWEEN ? AND ?
            AND run <> ? AND outcome = ? AND abs(wall - ?) < 1500000";
        let Sample { pname, host, stopped, wall, .. } = &build.sample;
        let ask = || {
            let values = rusqlite::params![
                int(stopped.saturating_sub(2)),
                int(stopped.saturating_add(2)),
                build.run,
                outcome_word(Ended::Built),
                int(wall.0)
            ];
            let mut statement = self.db.prepare_cached(sql)?;
            let mut rows = statement.query(values)?;
            while let Some(row) = rows.next()? {
                let text = |column: usize| row.get_ref(column)?.as_str().map_err(rusqlite::Error::from);
                let (name, version, place) = (text(0)?, text(1)?, text(2)?);
                if (name == pname || nom::name_of(name, version) == pname)
                    && (place == host || nom::host_of(place) == nom::host_of(host))
                {
                    return Ok(true);
                }
            }
            Ok(false)
        };
        ask().map_err(self.failed())
    }

    /// Shows builds to `see` until it has seen enough.
    fn each(
        &self,
        sql: &str,
        values: &[Value],
        mut see: impl FnMut(Build) -> ControlFlow<()>,
    ) -> Result<(), HistoryError> {
        let mut run = |mut statement: Statement<'_>| {
            let mut rows = statement.query(params_from_iter(values))?;
            while let Some(row) = rows.next()? {
                if let Some(build) = build_of(row)?
                    && see(build).is_break()
                {
                    break;
                }
            }
            Ok(())
        };
        self.db.prepare(sql).and_then(&mut run).map_err(self.failed())
    }
}

/// How many builds of a package are learned from so far, by kind, name and system.
type Counts = BTreeMap<OutputClass, BTreeMap<String, BTreeMap<String, i64>>>;

/// Counts a build, unless there are enough of its package.
fn one_more(counts: &mut Counts, of: &Sample) -> bool {
    let names = counts.entry(of.class).or_default();
    let count = names.entry(of.pname.clone()).or_default().entry(of.system.clone()).or_default();
    *count += 1;
    *count <= MOST_OF_EACH
}

/// A count from the file: never negative where this program wrote it.
fn unsigned(row: &SqlRow<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(|n| u64::try_from(n).unwrap_or(0))
}

/// A build; `None` if it is of a kind that this version does not know.
fn build_of(row: &SqlRow<'_>) -> rusqlite::Result<Option<Build>> {
    let text = |column: usize| row.get_ref(column)?.as_str().map_err(rusqlite::Error::from);
    let (Some(class), Some(outcome)) = (word(text(2)?), word(text(10)?)) else { return Ok(None) };
    let sample = Sample {
        pname: row.get(0)?,
        version: row.get(1)?,
        class,
        system: row.get(3)?,
        host: row.get(4)?,
        cores: u32::try_from(unsigned(row, 5)?).unwrap_or(u32::MAX),
        wall: Span(unsigned(row, 6)?),
        cpu: row.get::<_, Option<i64>>(7)?.map(|n| Span(u64::try_from(n).unwrap_or(0))),
        input_size: unsigned(row, 8)?,
        output_size: unsigned(row, 9)?,
        stopped: unsigned(row, 11)?,
    };
    Ok(Some(Build { sample, outcome, run: row.get(12)? }))
}

fn transfer_of(row: &SqlRow<'_>) -> rusqlite::Result<Transfer> {
    let sample = LinkSample { host: row.get(0)?, bytes: unsigned(row, 1)?, took: Span(unsigned(row, 2)?) };
    Ok(Transfer { sample, at: unsigned(row, 3)? })
}

fn package_of(row: &SqlRow<'_>) -> rusqlite::Result<Option<Package>> {
    let class = row.get_ref(2)?.as_str().map_err(rusqlite::Error::from)?;
    let Some(class) = word(class) else { return Ok(None) };
    Ok(Some(Package {
        pname: row.get(0)?,
        version: row.get(1)?,
        class,
        system: row.get(3)?,
        builds: unsigned(row, 4)?,
        last: unsigned(row, 5)?,
    }))
}
