//! The policies by name.

use drvdispatch::base::Span;
use drvdispatch::sched::Policy;

/// All names, the one to compare to first.
const NAMES: &[&str] = &["full", "no-prefetch", "no-transfer-overhead", "exact-ranks", "full-clairvoyant"];

/// A policy that ends in this is told what jobs really take.
const CLAIRVOYANT: &str = "-clairvoyant";

fn named(name: &str) -> Option<Policy> {
    let full = Policy { keep_going: true, ..Policy::default() };
    let name = name.strip_suffix(CLAIRVOYANT).unwrap_or(name);
    match name {
        "full" => Some(full),
        "no-prefetch" => Some(Policy { prefetch: 0, ..full }),
        "no-transfer-overhead" => Some(Policy { transfer_overhead: Span::ZERO, ..full }),
        "exact-ranks" => Some(Policy { rank_tolerance: 0.0, ..full }),
        _ => None,
    }
}

/// Whether a policy knows the truth.
pub fn is_clairvoyant(name: &str) -> bool {
    name.ends_with("clairvoyant")
}

/// Those that were asked for, or all.
pub fn chosen(names: &[String]) -> Result<Vec<(String, Policy)>, String> {
    let all: Vec<String> = NAMES.iter().map(|&name| name.to_owned()).collect();
    let names = if names.is_empty() { &all } else { names };
    let find = |name: &String| match named(name) {
        Some(policy) => Ok((name.clone(), policy)),
        None => Err(format!("no policy '{name}'; there are {}", NAMES.join(", "))),
    };
    names.iter().map(find).collect()
}
