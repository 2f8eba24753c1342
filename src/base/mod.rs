//! The ground floor: typed indices, tables and lists by them, time as a value, a seeded generator, intervals of
//! means, parameters by name.
//!
//! Nothing here reads a clock, does I/O or knows of Nix; everything above may use it.

mod bootstrap;
mod lists;
mod parameter;
mod random;
mod table;
mod time;

pub use bootstrap::{Draw, Interval};
pub use lists::Lists;
pub use parameter::{Domain, Parameter, Value};
pub use random::Random;
pub(crate) use table::typed_id;
pub use table::{Id, Table};
pub use time::{Span, Time};
