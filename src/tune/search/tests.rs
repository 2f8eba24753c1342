use super::*;
use crate::base::Random;

/// Makespans of a hundred seconds, off by a factor of this σ for each pair and each setting, so that no
/// difference between settings is real.
fn noise(sigma: f64, world: u64) -> impl Fn(&Settings, Pair) -> Option<f64> + Sync {
    move |settings, pair| {
        let key = pair.run as u64 * 1_000 + pair.seed + world * 1_000_000;
        Some(100.0 * Random::keyed(key, mark(settings)).lognormal(sigma))
    }
}

/// A number that no two settings of a search have in common.
fn mark(settings: &Settings) -> u64 {
    Dial::all().iter().fold(0, |mark: u64, dial| {
        let value = dial
            .of(settings)
            .number()
            .map_or(f64::from(u8::from(dial.of(settings) == Value::ON)) + 0.5, |n| n);
        Random::keyed(mark, value.to_bits()).next_u64()
    })
}

fn find(runs: usize, budget: u64, makespan: Makespan<'_>) -> Found {
    let (dials, start) = (Dial::all(), Settings::default());
    let design = Design::new(runs, &dials, &start, budget).unwrap();
    search(&design, &dials, &start, makespan, &|| ())
}

fn kept(found: &Found) -> Vec<(&'static str, Value)> {
    found.findings.iter().filter(|f| f.kept).map(|f| (f.dial.name(), f.best)).collect()
}

#[test]
fn what_matters_is_found_whatever_noise_lies_over_it() {
    for runs in [1, 2, 5] {
        let noise = noise(0.01, 0);
        let makespan = |settings: &Settings, pair: Pair| {
            let off = (f64::from(settings.policy.prefetch) - 2.0).abs();
            Some(noise(settings, pair)? * (1.0 + 0.05 * off) * (1.0 + settings.cost.k0))
        };
        let found = find(runs, 5_000, &makespan);
        let best = [("prefetch", Value::Number(2.0)), ("k0", Value::Number(0.03))];
        assert_eq!(kept(&found), best, "{runs} runs");
        assert_eq!((found.settings.policy.prefetch, found.settings.cost.k0), (2, 0.03));
        let gain = found.findings.iter().find(|f| f.dial.name() == "prefetch").unwrap().gain.unwrap();
        assert!(gain.low < 0.05 / 1.05 && gain.high > 0.05 / 1.05, "{gain:?}");
        let both = 1.0 - 1.03 / (1.05 * 1.1);
        let together = found.together.unwrap();
        assert!((together.mean - both).abs() < 0.02, "{together:?}");
    }
}

#[test]
fn where_nothing_matters_nothing_is_kept() {
    let even = find(3, 5_000, &|_, pair| Some(10.0 + pair.run as f64));
    assert!(even.findings.iter().all(|f| !f.matters && f.gain.is_none() && f.best == f.now));
    // Runs that are alike, and runs each of which likes something else.
    for apart in [0.0, 0.02] {
        let mistakes = (0..15).filter(|world| {
            let (noise, own) = (noise(0.03, *world), noise(apart, 1_000 + world));
            let makespan = |settings: &Settings, pair: Pair| {
                Some(noise(settings, pair)? * own(settings, Pair { seed: 0, ..pair })?)
            };
            !kept(&find(3 + *world as usize % 5, 1_500, &makespan)).is_empty()
        });
        assert!(mistakes.count() <= 1, "{apart}");
    }
}

#[test]
fn two_runs_say_less_than_three() {
    let design = |runs| Design::new(runs, &Dial::all(), &Settings::default(), 5_000).unwrap();
    assert!(!design(2).is_by_run() && design(3).is_by_run());
    // A gain that is sure, but small, is worth writing down only if other runs say so.
    let makespan = |settings: &Settings, pair: Pair| {
        let more = if settings.policy.window == 64 { 1.005 } else { 1.0 };
        Some((10 + pair.run) as f64 * more)
    };
    assert_eq!(kept(&find(2, 5_000, &makespan)), []);
    assert_eq!(kept(&find(3, 5_000, &makespan)), [("window", Value::Number(16.0))]);
}

#[test]
fn a_budget_is_kept_to() {
    let (dials, start) = (Dial::all(), Settings::default());
    let each = Design::fewest(&dials, &start) / FEWEST_PAIRS as u64;
    assert_eq!(Design::new(9, &dials, &start, Design::fewest(&dials, &start) - 1), None);
    for (runs, budget, expected) in [(9, 6, (3, 2)), (1, 100, (1, 8)), (4, 13, (4, 3)), (100, 20, (10, 2))] {
        let design = Design::new(runs, &dials, &start, each * budget).unwrap();
        assert_eq!((design.runs, design.seeds), expected);
        let count = std::sync::atomic::AtomicU64::new(0);
        let done = || {
            count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        };
        search(&design, &dials, &start, &noise(0.1, 1), &done);
        let count = count.into_inner();
        assert!(count <= design.simulations && design.simulations <= each * budget, "{count}");
    }
}

#[test]
fn what_does_not_get_everything_built_is_never_better() {
    let makespan = |settings: &Settings, pair: Pair| match settings.policy.prefetch {
        1 => Some(100.0),
        2 if pair.run == 0 => None,
        _ => Some(90.0),
    };
    let found = find(4, 5_000, &makespan);
    let prefetch = found.findings.iter().find(|f| f.dial.name() == "prefetch").unwrap();
    assert_eq!((prefetch.best, prefetch.kept), (Value::Number(0.0), true));
}
