//! The tables of the history, one step per version of the schema.
//!
//! `PRAGMA user_version` has the number of steps that a file has been through. A step is never changed once
//! it was published: what is new is a further step. Times are in microseconds where nothing else is said,
//! sizes in bytes.

use rusqlite::{Connection, TransactionBehavior};

/// What takes a file from each version to the next.
const STEPS: [&str; 2] = [
    "CREATE TABLE builds (
        id INTEGER PRIMARY KEY,
        pname TEXT NOT NULL,
        version TEXT NOT NULL,
        class TEXT NOT NULL,
        system TEXT NOT NULL,
        host TEXT NOT NULL,
        cores INTEGER NOT NULL,
        wall INTEGER NOT NULL,
        cpu INTEGER,
        input_size INTEGER NOT NULL,
        output_size INTEGER NOT NULL,
        outcome TEXT NOT NULL,
        stopped INTEGER NOT NULL, -- seconds since 1970
        run TEXT NOT NULL,
        UNIQUE (pname, version, class, system, host, stopped, wall, outcome, run)
    ) STRICT;
    CREATE INDEX builds_by_time ON builds (stopped);",
    "CREATE TABLE transfers (
        id INTEGER PRIMARY KEY,
        host TEXT NOT NULL,
        bytes INTEGER NOT NULL,
        took INTEGER NOT NULL,
        at INTEGER NOT NULL, -- seconds since 1970
        UNIQUE (host, at, bytes, took)
    ) STRICT;",
];

/// The newest version.
pub const NEWEST: i64 = STEPS.len() as i64;

/// What became of a file's schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schema {
    /// It is, or is now, the newest.
    Current,
    /// It is newer than that; nothing was changed.
    Newer(i64),
    /// The file has other tables; nothing was changed.
    Foreign,
}

/// Brings a file to the newest version, in one transaction.
pub fn migrate(db: &mut Connection) -> rusqlite::Result<Schema> {
    if version(db)? == NEWEST {
        return Ok(Schema::Current);
    }
    // Another process may be doing the same: whoever has the lock looks again.
    let step = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let from = version(&step)?;
    let steps = match usize::try_from(from) {
        Ok(from) if from <= STEPS.len() => &STEPS[from..],
        _ => return Ok(Schema::Newer(from)),
    };
    let tables: i64 = step.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if from == 0 && tables > 0 {
        return Ok(Schema::Foreign);
    }
    steps.iter().try_for_each(|sql| step.execute_batch(sql))?;
    step.pragma_update(None, "user_version", NEWEST)?;
    step.commit()?;
    Ok(Schema::Current)
}

fn version(db: &Connection) -> rusqlite::Result<i64> {
    db.query_row("PRAGMA user_version", [], |row| row.get(0))
}
