//! A run as data: the facts that come in, the orders that go out, and the log of both.
//!
//! Reading and writing here is over any `Read` and `Write`; where the files are is `records/`'s
//! business, drawing them is `report/`'s.

#[cfg(test)]
pub(crate) mod arbitrary;
mod event;
mod log;
mod losses;
mod measured;
mod note;
mod order;

pub use event::{Attempt, Event, Failure, HostFault, Made, Outcome, Side, Times, bare_cause};
pub use log::{Entry, FORMAT, Header, LogError, LogWriter, Step, Torn, read_header, read_log};
pub use losses::{LossMeter, Losses};
pub use measured::MeasuredBound;
pub use note::Note;
pub use order::{Expectation, Order, SlotId, Source, TransferId, Why};
