//! The ground floor: typed indices, time as a value, a seeded generator.
//!
//! Nothing here reads a clock, does I/O or knows of Nix; everything above may use it.

mod random;
mod table;
mod time;

pub use random::Random;
pub(crate) use table::typed_id;
pub use table::{Id, Table};
pub use time::{Span, Time};
