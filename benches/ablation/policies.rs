//! The policies by name.

use drvdispatch::sched::Policy;
use drvdispatch::sim::DEFAULT;

/// A policy whose name ends in this is told what jobs really take.
const CLAIRVOYANT: &str = "-clairvoyant";

/// What `build` does: the default, unless going through the run beforehand finds another one better.
pub const REHEARSED: &str = "rehearsed";

fn named(name: &str) -> Option<Policy> {
    let name = if name == REHEARSED { DEFAULT } else { name };
    let policy = Policy::named(name.strip_suffix(CLAIRVOYANT).unwrap_or(name))?;
    Some(Policy { keep_going: true, ..policy })
}

/// Whether a policy knows the truth.
pub fn is_clairvoyant(name: &str) -> bool {
    name.ends_with(CLAIRVOYANT)
}

/// Those that were asked for, or all.
pub fn chosen(names: &[String]) -> Result<Vec<(String, Policy)>, String> {
    let mut all: Vec<String> = [REHEARSED].iter().chain(Policy::NAMES).map(|&name| name.to_owned()).collect();
    all.extend(["full", "heft"].map(|name| format!("{name}{CLAIRVOYANT}")));
    let names = if names.is_empty() { &all } else { names };
    let find = |name: &String| match named(name) {
        Some(policy) => Ok((name.clone(), policy)),
        None => Err(format!("no policy '{name}'; there are {}", all.join(", "))),
    };
    names.iter().map(find).collect()
}
