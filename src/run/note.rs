//! What is worth showing but decides nothing, and so is not in the log.

use super::event::Attempt;
use super::order::TransferId;
use crate::fleet::HostId;
use crate::graph::JobId;

/// Something for the eyes only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// A line of a build's log.
    LogLine { job: JobId, attempt: Attempt, text: String },
    /// A build entered a phase.
    Phase { job: JobId, attempt: Attempt, name: String },
    /// So many bytes of a transfer have arrived.
    TransferProgress { transfer: TransferId, bytes: u64 },
    /// Something about a host that the user should know.
    HostWarning { host: HostId, text: String },
    /// Something else that the user should know.
    Warning { text: String },
}
