//! A damaged file is kept under another name, and a fresh one begun.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::{History, HistoryError, Trouble, directory};

/// Names that are tried for a damaged file.
const MOST_KEPT: u32 = 1000;

/// What came of opening a file that may be damaged.
#[derive(Debug)]
pub struct Healed<T> {
    /// What was wanted; `None` if there is no history to be had.
    pub got: Option<T>,
    /// What is to be said about it.
    pub warning: Option<String>,
}

/// Opens the file and does `with` it. If it is damaged, it is kept aside and this is done with a fresh one.
pub fn heal<T>(path: &Path, with: impl Fn(History) -> Result<T, HistoryError>) -> Healed<T> {
    let before = identity(path);
    let attempt = || History::open(path).and_then(&with);
    let error = match attempt() {
        Ok(got) => return Healed { got: Some(got), warning: None },
        Err(error) => error,
    };
    if error.trouble() != Some(Trouble::Damaged) {
        return Healed { got: None, warning: Some(format!("the history is not used: {error}")) };
    }
    let fresh = set_aside(path, before).and_then(|kept| Ok((kept, attempt()?)));
    match fresh {
        Ok((kept, got)) => {
            let kept = kept.map_or_else(String::new, |kept| format!("; it is kept as {}", kept.display()));
            let warning = format!("the history begins anew: {error}{kept}");
            Healed { got: Some(got), warning: Some(warning) }
        }
        Err(next) => Healed { got: None, warning: Some(format!("the history is not used: {error}; {next}")) },
    }
}

/// Held while a file is opened, so that nobody moves it away or its companions in the meantime.
pub(super) fn shared_lock(path: &Path) -> Result<File, HistoryError> {
    lock(path, FlockOperation::LockShared)
}

/// Which file has this name, if any.
pub(super) fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino()))
}

/// Renames the file to the first free `…damaged-N`, and the files beside it likewise. Does nothing if it is
/// another file by now: then another process has done it.
pub(super) fn set_aside(path: &Path, which: Option<(u64, u64)>) -> Result<Option<PathBuf>, HistoryError> {
    let _lock = lock(path, FlockOperation::LockExclusive)?;
    if which.is_none() || identity(path) != which {
        return Ok(None);
    }
    let beside = |base: &Path, suffix: &str| {
        let mut name = base.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let free = |n: &u32| !beside(path, &format!(".damaged-{n}")).exists();
    let n = (1..MOST_KEPT).find(free).unwrap_or(MOST_KEPT);
    let kept = beside(path, &format!(".damaged-{n}"));
    for suffix in ["", "-wal", "-shm"] {
        let from = beside(path, suffix);
        if from.exists() {
            let moved = fs::rename(&from, beside(&kept, suffix));
            moved.map_err(|source| HistoryError::Io { what: "move away", path: from, source })?;
        }
    }
    Ok(Some(kept))
}

fn lock(path: &Path, how: FlockOperation) -> Result<File, HistoryError> {
    let dir = directory(path)?;
    let failed = |source| HistoryError::Io { what: "lock", path: dir.clone(), source };
    let file = File::open(&dir).map_err(failed)?;
    // Held for moments only. Where a file system knows no such locks, there is no protection.
    match flock(&file, how) {
        Ok(()) | Err(rustix::io::Errno::NOTSUP | rustix::io::Errno::NOLCK | rustix::io::Errno::INVAL) => {
            Ok(file)
        }
        Err(e) => Err(failed(e.into())),
    }
}
