//! Folds of the run's events: the live view, plain lines, JSON, the summary. Decides nothing.
//!
//! One fold, [`RunState`], is fed with the log's header, events and orders and with display-only
//! notes; every view draws from it. Views are pure functions of it wherever they can be, so that a
//! recorded run looks the same as a live one.

mod failure;
mod fit;
mod json;
mod lines;
mod live;
mod losses;
mod plain;
mod sink;
mod state;
mod summary;
mod table;
#[cfg(test)]
mod testing;
mod text;
mod units;

pub use failure::failure_lines;
pub use json::{BuildResult, Requested, build_results, write_json};
pub use live::{Live, Look, colors, render};
pub use losses::loss_parts;
pub use plain::{Detail, Plain};
pub use sink::{Reporter, View};
pub use state::{
    Counts, CriticalPath, Ended, HostState, JobFailure, JobState, LinkTotals, RunState, Running, Standing,
    Transfer, Transfers,
};
pub use summary::{HostSummary, LinkSummary, NotBuilt, Summary};
pub use table::{Cells, NONE, Room, Table};
pub use text::clean;
pub use units::{bytes, plural};
