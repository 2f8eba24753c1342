//! The directory of run logs: `$XDG_STATE_HOME/drvdispatch/runs`, one file per run.
//!
//! A file is named for the moment its run began, so that names in order are runs in order. Only its
//! owner can read it: command lines and log messages may hold secrets.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufReader, BufWriter};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::run::{Entry, Header, LogError, Torn, read_header, read_log};

const EXTENSION: &str = "jsonl";

/// Where run logs are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunsDir {
    path: PathBuf,
}

/// One run log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunFile {
    /// The file name without its extension: names the run on the command line.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// Its size in bytes.
    pub bytes: u64,
}

/// What can go wrong with the files.
#[derive(Debug, thiserror::Error)]
pub enum RunsError {
    /// There is no home directory to put the logs in.
    #[error("no place for run logs: neither XDG_STATE_HOME nor HOME is set to an absolute path")]
    NoHome,
    /// A file or directory could not be made, listed or opened.
    #[error("cannot {what} {}: {source}", path.display())]
    Io { what: &'static str, path: PathBuf, source: io::Error },
    /// The file was read and is not right.
    #[error("{}: {source}", path.display())]
    Log { path: PathBuf, source: LogError },
}

impl RunsDir {
    /// The user's own, by the XDG base directory specification.
    pub fn of_user() -> Result<Self, RunsError> {
        super::state_dir().map(|state| Self::at(state.join("runs"))).ok_or(RunsError::NoHome)
    }

    /// Any directory.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Creates the file of a run that began `started` seconds after 1970; no other run has it.
    pub fn create(&self, started: u64) -> Result<(RunFile, BufWriter<File>), RunsError> {
        let mut make = DirBuilder::new();
        make.recursive(true).mode(0o700);
        make.create(&self.path).map_err(|source| self.error("create", source))?;
        let stem = format!("{}-{}", moment(started), std::process::id());
        // Process ids come again, in containers above all; a few tries are enough.
        let mut names = std::iter::once(stem.clone()).chain((1..100).map(|n| format!("{stem}-{n}")));
        loop {
            let name = names.next().ok_or_else(|| self.error("find a free name in", exhausted()))?;
            let path = self.path.join(format!("{name}.{EXTENSION}"));
            match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
                Ok(file) => return Ok((RunFile { name, path, bytes: 0 }, BufWriter::new(file))),
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(source) => return Err(RunsError::Io { what: "create", path, source }),
            }
        }
    }

    /// All runs, newest first. Other files are passed over; a directory that is not there has none.
    pub fn list(&self) -> Result<Vec<RunFile>, RunsError> {
        let entries = match fs::read_dir(&self.path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(|source| self.error("list", source))?,
        };
        let mut runs = Vec::new();
        for entry in entries {
            let path = entry.map_err(|source| self.error("list", source))?.path();
            if path.extension().is_none_or(|e| e != EXTENSION) {
                continue;
            }
            // What was deleted meanwhile is not there any more.
            let Ok(meta) = fs::metadata(&path) else { continue };
            let Some(name) = path.file_stem().and_then(|s| s.to_str()).map(str::to_owned) else { continue };
            if meta.is_file() {
                runs.push(RunFile { name, bytes: meta.len(), path });
            }
        }
        runs.sort_by(|a, b| b.name.cmp(&a.name));
        Ok(runs)
    }

    fn error(&self, what: &'static str, source: io::Error) -> RunsError {
        RunsError::Io { what, path: self.path.clone(), source }
    }
}

impl RunFile {
    /// A file named by its path, wherever it is.
    pub fn at(path: impl Into<PathBuf>) -> Result<Self, RunsError> {
        let path = path.into();
        let bytes = fs::metadata(&path).map_err(|source| io_error("open", &path, source))?.len();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { name, path, bytes })
    }

    /// Reads the whole log.
    pub fn read(&self) -> Result<(Header, Vec<Entry>, Option<Torn>), RunsError> {
        read_log(self.open()?).map_err(|source| RunsError::Log { path: self.path.clone(), source })
    }

    /// Reads only what the run started from.
    pub fn header(&self) -> Result<Header, RunsError> {
        read_header(self.open()?).map_err(|source| RunsError::Log { path: self.path.clone(), source })
    }

    fn open(&self) -> Result<BufReader<File>, RunsError> {
        let file = File::open(&self.path).map_err(|source| io_error("open", &self.path, source))?;
        Ok(BufReader::new(file))
    }
}

fn io_error(what: &'static str, path: &Path, source: io::Error) -> RunsError {
    RunsError::Io { what, path: path.to_owned(), source }
}

fn exhausted() -> io::Error {
    io::Error::from(io::ErrorKind::AlreadyExists)
}

/// `2023-11-14T22-13-20Z`: sorts by time, and has no character that a shell or a file system minds.
fn moment(seconds: u64) -> String {
    i64::try_from(seconds)
        .ok()
        .and_then(|s| jiff::Timestamp::from_second(s).ok())
        .map_or_else(|| format!("at-{seconds}"), |t| t.strftime("%Y-%m-%dT%H-%M-%SZ").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;

    fn names(dir: &RunsDir) -> Vec<String> {
        dir.list().unwrap().into_iter().map(|run| run.name).collect()
    }

    #[test]
    fn every_run_gets_its_own_file_and_the_newest_is_listed_first() {
        let temp = tempfile::tempdir().unwrap();
        let dir = RunsDir::at(temp.path().join("state/runs"));
        assert_eq!(names(&dir), Vec::<String>::new());
        let (first, _) = dir.create(1_700_000_000).unwrap();
        let (again, _) = dir.create(1_700_000_000).unwrap();
        let (later, mut out) = dir.create(1_700_000_001).unwrap();
        out.write_all(b"12345").unwrap();
        out.flush().unwrap();
        fs::write(dir.path().join("notes.txt"), "").unwrap();
        assert!(first.name.starts_with("2023-11-14T22-13-20Z-"), "{}", first.name);
        assert_ne!(first.name, again.name);
        let listed = dir.list().unwrap();
        assert_eq!(listed.len(), 3);
        assert_eq!(listed[0], RunFile { bytes: 5, ..later });
    }

    #[test]
    fn logs_are_the_owners_alone() {
        let temp = tempfile::tempdir().unwrap();
        let dir = RunsDir::at(temp.path().join("runs"));
        let (file, _) = dir.create(0).unwrap();
        assert_eq!(fs::metadata(&file.path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(dir.path()).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn errors_name_the_file() {
        let temp = tempfile::tempdir().unwrap();
        let blocked = temp.path().join("file");
        fs::write(&blocked, "not a log\n").unwrap();
        let error = RunsDir::at(blocked.join("runs")).create(0).unwrap_err().to_string();
        assert!(error.starts_with(&format!("cannot create {}/runs: ", blocked.display())), "{error}");
        let error = RunFile::at(&blocked).unwrap().read().unwrap_err().to_string();
        assert_eq!(
            error,
            format!("{}: this is not a run log: its first line has no format number", blocked.display())
        );
        assert!(matches!(RunFile::at(temp.path().join("none")), Err(RunsError::Io { what: "open", .. })));
    }
}
