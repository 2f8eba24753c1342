//! What is shown but decides nothing: facts that the scheduler has no use for.
//!
//! Notes are not in the run log; a view must make sense without them.

use super::event::Attempt;
use super::order::TransferId;
use crate::graph::JobId;

/// A display-only fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// An attempt at a job wrote a line of build log; without its line end, otherwise as it came.
    LogLine { job: JobId, attempt: Attempt, text: String },
    /// An attempt at a job entered a phase of its build.
    Phase { job: JobId, attempt: Attempt, name: String },
    /// Bytes of a transfer that are over so far.
    TransferProgress { transfer: TransferId, bytes: u64 },
    /// Something the user should know and may want to remedy.
    Warning { text: String },
    /// Something the user may want to know.
    Message { text: String },
}
