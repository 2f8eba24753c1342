//! What is kept between runs: the run-log files and their place, the history of builds, and the user's
//! configuration.
//!
//! The log's format is `run/`'s business; here are directories, file names and what to do when the
//! disk is full. What is learned from the history is `cost/`'s.

mod config;
pub mod history;
mod recorder;
mod runs;

use std::path::PathBuf;

/// Where this program keeps what outlives a run, by the XDG base directory specification; `None`
/// without a home.
pub fn state_dir() -> Option<PathBuf> {
    let xdg = etcetera::base_strategy::Xdg::new().ok()?;
    let state = etcetera::BaseStrategy::state_dir(&xdg).filter(|dir| dir.is_absolute())?;
    Some(state.join("drvdispatch"))
}

/// Where this program's configuration is, likewise.
fn config_dir() -> Option<PathBuf> {
    let xdg = etcetera::base_strategy::Xdg::new().ok()?;
    let config = Some(etcetera::BaseStrategy::config_dir(&xdg)).filter(|dir| dir.is_absolute())?;
    Some(config.join("drvdispatch"))
}

pub use config::{Change, Config, ConfigError, ConfigFile};
pub use recorder::Recorder;
pub use runs::{RunFile, RunsDir, RunsError};
