//! What can go wrong with the history's file, by what there is to do about it.

use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

/// Why the history cannot be used, or not any further.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// There is no home directory to put it in.
    #[error("no place for the history: neither XDG_STATE_HOME nor HOME is set to an absolute path")]
    NoHome,
    /// Its directory or file could not be made or moved.
    #[error("cannot {what} {}: {source}", path.display())]
    Io { what: &'static str, path: PathBuf, source: std::io::Error },
    /// Written by a newer version of this program.
    #[error(
        "{} has schema {found}, this version knows up to {known}: use the newer drvdispatch, or move the file away",
        path.display()
    )]
    Newer { path: PathBuf, found: i64, known: i64 },
    /// A database of another program.
    #[error("{} is a database of another program; move it away", path.display())]
    Foreign { path: PathBuf },
    /// SQLite failed.
    #[error("{}: {}", path.display(), trouble.said(source))]
    Sqlite { path: PathBuf, trouble: Trouble, source: rusqlite::Error },
}

/// Kinds of SQLite's errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The file is not a database, or not a whole one.
    Damaged,
    /// Another process keeps it locked.
    Locked,
    /// It may be read but not written.
    ReadOnly,
    /// The disk has no room left.
    Full,
    /// Anything else.
    Other,
}

impl Trouble {
    fn of(error: &rusqlite::Error) -> Trouble {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Trouble::Damaged,
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Trouble::Locked,
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => Trouble::ReadOnly,
            Some(ErrorCode::DiskFull) => Trouble::Full,
            _ => Trouble::Other,
        }
    }

    fn said(self, source: &rusqlite::Error) -> String {
        match self {
            Trouble::Damaged => format!("it is damaged ({source})"),
            Trouble::Locked => "another process keeps it locked".to_owned(),
            Trouble::ReadOnly => {
                "it can only be read; check who may write to it and its directory".to_owned()
            }
            Trouble::Full => "the disk has no room left".to_owned(),
            Trouble::Other => source.to_string(),
        }
    }
}

impl HistoryError {
    /// An error of SQLite about the file at `path`.
    pub(super) fn sqlite(path: &Path) -> impl Fn(rusqlite::Error) -> HistoryError + '_ {
        |source| HistoryError::Sqlite { path: path.to_owned(), trouble: Trouble::of(&source), source }
    }

    /// What kind of trouble SQLite has, if it is SQLite's.
    pub fn trouble(&self) -> Option<Trouble> {
        match self {
            HistoryError::Sqlite { trouble, .. } => Some(*trouble),
            _ => None,
        }
    }
}
