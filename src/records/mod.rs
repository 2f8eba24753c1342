//! What is kept between runs: the run-log files and their place.
//!
//! The log's format is `run/`'s business; here are directories, file names and what to do when the
//! disk is full.

mod recorder;
mod runs;

pub use recorder::Recorder;
pub use runs::{RunFile, RunsDir, RunsError};
