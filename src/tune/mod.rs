//! Better settings from recorded runs, and how well the estimator does.
//!
//! The search (`search`) knows of settings and makespans only; what a run takes under settings is found by
//! replay (`replays`). Nothing here reads files, draws or writes a configuration, and nothing depends on
//! how many processors there are: the same runs and the same budget give the same findings.

mod accuracy;
mod replays;
mod search;
mod settings;

pub use accuracy::{Accuracy, Package, Score};
pub use replays::{FEWEST_BUILDS, Replays, Run, Unfit};
pub use search::{Design, FEWEST_RUNS, Finding, Found, Makespan, Pair, search};
pub use settings::{Dial, Settings};
