//! The ground floor: typed indices and time as a value.
//!
//! Nothing here reads a clock, does I/O or knows of Nix; everything above may use it.

mod table;
mod time;

pub(crate) use table::typed_id;
pub use table::{Id, Table};
pub use time::{Span, Time};
