//! The history: what each build took, on which host, and how fast links are, kept between runs in a SQLite
//! file, `$XDG_STATE_HOME/drvdispatch/history.sqlite`.
//!
//! Here are the file, its tables and what to do when either is not as it should be; [`Keeper`] writes a
//! run's builds to it while the run goes on, [`import`](import()) takes in what other programs have recorded,
//! and [`NomFile`] passes builds on to nix-output-monitor. What estimates follow from it is `cost/`'s business.
//! The file is in WAL mode, so that several runs read and write it at once. Whatever is wrong with it costs
//! the history, never the build.

mod aside;
mod error;
mod export;
mod fold;
mod import;
mod keeper;
mod nom;
mod query;
mod row;
mod schema;
#[cfg(test)]
mod tests;

use std::fs::{DirBuilder, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior, params};

pub use aside::{Healed, heal};
pub use error::{HistoryError, Trouble};
pub use export::{export_csv, export_json};
pub use fold::Fold;
pub use import::{Bad, Defaults, ImportError, Imported, import};
pub use keeper::Keeper;
pub use nom::NomFile;
pub use query::{Filter, Package, Removed};
pub use row::{Build, Ended, Row, Transfer, class_word, name, outcome_word};

use schema::{Schema, migrate};

const FILE: &str = "history.sqlite";
/// How long another process may keep the file locked. Nobody who follows the rules does so for long.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long until it is tried again where SQLite does not wait by itself.
const AGAIN: Duration = Duration::from_millis(10);
/// Builds that are kept; beyond, the oldest go. About 300 MB.
const MOST_BUILDS: i64 = 1_000_000;
/// Builds that are looked through for those that estimates are made from, the newest of all.
const MOST_READ: i64 = 200_000;
/// Of these, builds of each package that are learned from, the newest: what a package takes is said by fewer, how
/// fast hosts are by more. And builds in all: reading and learning takes about 0.01 ms for each, a fifth of a
/// second in all.
const MOST_OF_EACH: i64 = 50;
const MOST_LEARNED: usize = 20_000;
/// Transfers that are kept per host, of small ones and of large ones: those tell of its latency, these of its
/// bandwidth, and there are many more of those.
const MOST_TRANSFERS: i64 = 150;
const LARGE: i64 = 1 << 20;

/// The history, open.
#[derive(Debug)]
pub struct History {
    db: Connection,
    path: PathBuf,
}

/// What [`History::add`] has added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Added {
    /// Builds that were not there before.
    pub builds: usize,
    /// Transfers that were not.
    pub transfers: usize,
}

impl History {
    /// The user's own file, by the XDG base directory specification.
    ///
    /// # Errors
    /// There is no home directory.
    pub fn file() -> Result<PathBuf, HistoryError> {
        super::state_dir().map(|dir| dir.join(FILE)).ok_or(HistoryError::NoHome)
    }

    /// Opens a file, or makes it, and brings its tables up to date.
    ///
    /// # Errors
    /// It cannot be opened or made, or is not such a file, or a newer one.
    pub fn open(path: &Path) -> Result<History, HistoryError> {
        let _lock = aside::shared_lock(path)?;
        create(path)?;
        let failed = HistoryError::sqlite(path);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut db = Connection::open_with_flags(path, flags).map_err(&failed)?;
        let prepare = |db: &mut Connection| {
            db.busy_timeout(PATIENCE)?;
            let wal = db.query_row("PRAGMA journal_mode", [], |row| row.get::<_, String>(0))? == "wal";
            if !wal {
                // Where the file system has no shared memory, it stays as it is, and works all the same.
                db.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
            }
            db.pragma_update(None, "synchronous", "NORMAL")?;
            migrate(db)
        };
        match patiently(|| prepare(&mut db)).map_err(&failed)? {
            Schema::Current => Ok(History { path: path.to_owned(), db }),
            Schema::Foreign => Err(HistoryError::Foreign { path: path.to_owned() }),
            Schema::Newer(found) => {
                Err(HistoryError::Newer { path: path.to_owned(), found, known: schema::NEWEST })
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds rows, all or none, and says how many of them were new.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn add(&mut self, rows: &[Row]) -> Result<Added, HistoryError> {
        let failed = HistoryError::sqlite(&self.path);
        let add = |db: &mut Connection| {
            let step = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let mut added = Added::default();
            for row in rows {
                match row {
                    Row::Build(build) => added.builds += insert_build(&step, build)?,
                    Row::Transfer(transfer) => added.transfers += insert_transfer(&step, transfer)?,
                }
            }
            prune(&step, added)?;
            step.commit()?;
            Ok(added)
        };
        add(&mut self.db).map_err(failed)
    }

    fn failed(&self) -> impl Fn(rusqlite::Error) -> HistoryError + '_ {
        HistoryError::sqlite(&self.path)
    }
}

/// Tries again for as long as another process may be in the way. SQLite waits by itself, but not where two
/// connections change the journal's mode at once: there it says at once that the file is locked.
fn patiently<T>(mut work: impl FnMut() -> rusqlite::Result<T>) -> rusqlite::Result<T> {
    let begin = Instant::now();
    loop {
        match work() {
            Err(error)
                if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
                    && begin.elapsed() < PATIENCE =>
            {
                std::thread::sleep(AGAIN);
            }
            done => return done,
        }
    }
}

/// Makes the file and its directory if need be, for their owner only: names may be nobody else's business.
fn create(path: &Path) -> Result<(), HistoryError> {
    let failed = |source| HistoryError::Io { what: "create", path: path.to_owned(), source };
    if path.exists() {
        return Ok(());
    }
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600).open(path).map(drop).map_err(failed)
}

/// The directory of the file, made if need be.
fn directory(path: &Path) -> Result<PathBuf, HistoryError> {
    let dir = path.parent().unwrap_or(Path::new("/")).to_owned();
    if !dir.is_dir() {
        let mut make = DirBuilder::new();
        let made = make.recursive(true).mode(0o700).create(&dir);
        made.map_err(|source| HistoryError::Io { what: "create", path: dir.clone(), source })?;
    }
    Ok(dir)
}

/// SQLite's integers have a sign.
fn int(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn insert_build(db: &Transaction<'_>, build: &Build) -> rusqlite::Result<usize> {
    let sql =
        "INSERT OR IGNORE INTO builds (pname, version, class, system, host, cores, wall, cpu, input_size,
        output_size, outcome, stopped, run) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    let Build { sample: s, outcome, run } = build.clone().bounded();
    db.prepare_cached(sql)?.execute(params![
        s.pname,
        s.version,
        class_word(s.class),
        s.system,
        s.host,
        s.cores,
        int(s.wall.0),
        s.cpu.map(|cpu| int(cpu.0)),
        int(s.input_size),
        int(s.output_size),
        outcome_word(outcome),
        int(s.stopped),
        run,
    ])
}

fn insert_transfer(db: &Transaction<'_>, Transfer { sample, at }: &Transfer) -> rusqlite::Result<usize> {
    let mut host = sample.host.clone();
    row::bound(&mut host);
    db.prepare_cached("INSERT OR IGNORE INTO transfers (host, bytes, took, at) VALUES (?, ?, ?, ?)")?
        .execute(params![host, int(sample.bytes), int(sample.took.0), int(*at)])
}

/// Lets go of what is more than is kept.
fn prune(db: &Transaction<'_>, added: Added) -> rusqlite::Result<()> {
    if added.transfers > 0 {
        db.prepare_cached(
            "DELETE FROM transfers WHERE id IN (SELECT id FROM (SELECT id, row_number() OVER
             (PARTITION BY host, bytes >= ? ORDER BY at DESC, id DESC) AS place FROM transfers) WHERE place > ?)",
        )?
        .execute([LARGE, MOST_TRANSFERS])?;
    }
    if added.builds > 0 {
        db.prepare_cached("DELETE FROM builds WHERE id <= (SELECT max(id) FROM builds) - ?")?
            .execute([MOST_BUILDS])?;
    }
    Ok(())
}
