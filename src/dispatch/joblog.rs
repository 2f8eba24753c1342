//! Build logs of remote builds, kept where `nix log DRV` finds them.
//!
//! The local daemon stores them (`AddBuildLog`, for trusted users). Where it does not take them they
//! are kept in this program's own state directory, and the user is told.

use std::io::{Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam::channel::{Sender, unbounded};
use tempfile::SpooledTempFile;

use super::session::{Access, Session};

/// A log up to this size stays in memory.
const IN_MEMORY: usize = 256 << 10;

/// The log of one build, as it grows.
pub(super) struct JobLog {
    drv: String,
    text: SpooledTempFile,
    empty: bool,
}

impl JobLog {
    pub fn new(drv: &str) -> Self {
        Self { drv: drv.to_owned(), text: SpooledTempFile::new(IN_MEMORY), empty: true }
    }

    /// Adds a line. A log that cannot be spooled is cut, never the build.
    pub fn line(&mut self, line: &str) {
        self.empty = false;
        let written = self.text.write_all(line.as_bytes()).and_then(|()| self.text.write_all(b"\n"));
        if let Err(e) = written {
            tracing::warn!("the log of {} is incomplete: {e}", self.drv);
        }
    }
}

/// Hands finished logs to a thread of its own, so that no slot waits for them.
#[derive(Clone)]
pub(super) struct Keeper(Sender<Option<JobLog>>);

impl Keeper {
    /// Starts the thread. It ends after [`Self::stop`], when everything before that is stored, with the
    /// directory of what the local daemon did not take, if there is any.
    pub fn start(home: Arc<Access>, fallback: PathBuf) -> (Self, JoinHandle<Option<PathBuf>>) {
        let (sender, logs) = unbounded::<Option<JobLog>>();
        let thread = std::thread::spawn(move || {
            let mut store = LogStore { home, session: None, refused: false, fallback, fallen_back: false };
            for log in logs.into_iter().map_while(|log| log) {
                if let Err(e) = store.add(log) {
                    tracing::warn!("a build log could not be kept: {e}");
                }
            }
            store.fallen_back.then_some(store.fallback)
        });
        (Self(sender), thread)
    }

    /// Keeps a log, if it says anything.
    pub fn keep(&self, log: JobLog) {
        if !log.empty {
            // Nobody listens any more only when the run is over.
            let _ = self.0.send(Some(log));
        }
    }

    /// No more logs are to come.
    pub fn stop(&self) {
        let _ = self.0.send(None);
    }
}

struct LogStore {
    home: Arc<Access>,
    session: Option<Session>,
    refused: bool,
    fallback: PathBuf,
    fallen_back: bool,
}

impl LogStore {
    fn add(&mut self, mut log: JobLog) -> std::io::Result<()> {
        if !self.refused && self.add_to_store(&mut log)? {
            return Ok(());
        }
        std::fs::create_dir_all(&self.fallback)?;
        let name = log.drv.rsplit('/').next().unwrap_or("unnamed").to_owned() + ".log";
        log.text.seek(SeekFrom::Start(0))?;
        let path = self.fallback.join(name);
        std::io::copy(&mut log.text, &mut std::fs::File::create(&path)?)?;
        self.fallen_back = true;
        Ok(())
    }

    /// Whether the local daemon took it.
    fn add_to_store(&mut self, log: &mut JobLog) -> std::io::Result<bool> {
        log.text.seek(SeekFrom::Start(0))?;
        if self.session.is_none() {
            self.session = self.home.open(None).ok();
        }
        let Some(session) = &mut self.session else { return Ok(false) };
        match session.client.add_build_log(&log.drv, &mut log.text) {
            Ok(()) => Ok(true),
            Err(error) => {
                tracing::debug!("the local daemon does not take build logs: {error}");
                self.session = None;
                self.refused = !error.is_connection();
                Ok(false)
            }
        }
    }
}
