//! The history as text: lines of JSON with all there is, or CSV with the builds.

use std::io::{self, Write};

use super::{Build, Filter, History, HistoryError, Row, Transfer, class_word, outcome_word};

/// The columns of the CSV; times are in microseconds, sizes in bytes, `stopped` in seconds since 1970.
pub(super) const COLUMNS: [&str; 13] = [
    "pname",
    "version",
    "class",
    "system",
    "host",
    "cores",
    "wall",
    "cpu",
    "input-size",
    "output-size",
    "outcome",
    "stopped",
    "run",
];

/// Writes the builds and transfers of a filter, each as a line of JSON; the inner error is `out`'s.
///
/// # Errors
/// The history cannot be read, or `out` not be written.
pub fn export_json(
    history: &History,
    which: &Filter,
    out: &mut dyn Write,
) -> Result<io::Result<()>, HistoryError> {
    let mut done = Ok(());
    let mut write = |row: &Row| {
        if done.is_ok() {
            done =
                serde_json::to_writer(&mut *out, row).map_err(io::Error::from).and_then(|()| writeln!(out));
        }
    };
    history.builds(which, |build: Build| write(&Row::Build(build)))?;
    history.transfers(which, |transfer: Transfer| write(&Row::Transfer(transfer)))?;
    Ok(done.and_then(|()| out.flush()))
}

/// Writes the builds of a filter as CSV, likewise.
///
/// # Errors
/// The history cannot be read, or `out` not be written.
pub fn export_csv(
    history: &History,
    which: &Filter,
    out: &mut dyn Write,
) -> Result<io::Result<()>, HistoryError> {
    let mut csv = csv::Writer::from_writer(out);
    let mut done = csv.write_record(COLUMNS);
    history.builds(which, |build| {
        if done.is_ok() {
            done = csv.write_record(fields(&build));
        }
    })?;
    // In its own conversion the kind gets lost, by which a reader that has gone is told.
    let plain = |error: csv::Error| match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    };
    Ok(done.map_err(plain).and_then(|()| csv.flush()))
}

fn fields(build: &Build) -> [String; 13] {
    let Build { sample: s, outcome, run } = build;
    [
        s.pname.clone(),
        s.version.clone(),
        class_word(s.class),
        s.system.clone(),
        s.host.clone(),
        s.cores.to_string(),
        s.wall.0.to_string(),
        s.cpu.map(|cpu| cpu.0.to_string()).unwrap_or_default(),
        s.input_size.to_string(),
        s.output_size.to_string(),
        outcome_word(*outcome),
        s.stopped.to_string(),
        run.clone(),
    ]
}
