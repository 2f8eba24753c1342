//! How fast hosts are, and how far whole kinds of estimates are off, from all builds at once.
//!
//! The logarithm of what a build took is its package's, minus its host's speed, plus chance. A package is
//! expected at what the shipped table or its kind says, plus a level that all packages have in common and
//! one of its kind. Hosts and levels are unknown, and each has an expectation of its own: a host's is its
//! configured speed. The most likely values of all of them solve one small system of linear equations
//! (mixed models, Henderson 1953; packages are eliminated beforehand). So a host's speed comes from
//! packages that others built too and, weaker, from whatever has an estimate; what all hosts have in
//! common goes to the level.
//!
//! Builds far off what the solution says count less in a second pass (Huber 1964).

use super::prior::OutputClass;
use super::ratio::{MAX_LOG, SPREAD_OF_BUILDS};

/// How far the shipped figures may be off altogether, and for a kind, in units of the logarithm.
const SPREAD_OF_LEVEL: f64 = 1.0;
const SPREAD_OF_KINDS: f64 = 0.5;
/// How far the slope may be from 1 with which the table's distances from the usual come true.
const SPREAD_OF_TILT: f64 = 0.2;
/// A host is at most e³, about 20, times as fast or as slow as configured.
const MOST_OFFSET: f64 = 3.0;
/// Residuals beyond this, in units of the logarithm, count less.
const FAR: f64 = 1.0;

const KINDS: usize = OutputClass::ALL.len();

/// What is known of one package.
#[derive(Clone, Debug)]
pub(super) struct Evidence {
    /// The logarithm of what is expected of it in seconds.
    pub expected: f64,
    /// How far the table puts it from the usual; 0 if it is not in the table.
    pub tilt: f64,
    pub class: OutputClass,
    pub builds: Vec<Build>,
}

/// Builds of one package in one place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Build {
    /// The host's index; `None` for what is in terms of speed 1 already and says nothing about a host.
    pub host: Option<usize>,
    /// How many builds it stands for.
    pub weight: f64,
    /// The logarithm of seconds on one core.
    pub log: f64,
}

/// The solution.
#[derive(Clone, Debug)]
pub(super) struct Levels {
    /// Logarithms of the speeds, by host index.
    pub speeds: Vec<f64>,
    level: f64,
    kinds: [f64; KINDS],
    tilt: f64,
}

impl Levels {
    /// Nothing known: hosts are as configured, given as logarithms.
    pub fn new(configured: &[f64]) -> Levels {
        Levels { speeds: configured.to_vec(), level: 0.0, kinds: [0.0; KINDS], tilt: 0.0 }
    }

    /// By how much more than was expected packages of a kind take, as a logarithm.
    pub fn offset(&self, class: OutputClass, tilt: f64) -> f64 {
        self.level + self.kinds[class as usize] + self.tilt * tilt
    }

    /// Solves for all packages. `configured` has the logarithms of the hosts' speeds, `tie` how many builds
    /// it is worth what is expected of a package, `speed_spread` how far configured speeds are off.
    pub fn solve(packages: &[Evidence], configured: &[f64], tie: f64, speed_spread: f64) -> Levels {
        let mut found = Levels::new(configured);
        for _pass in 0..2 {
            let mut system = System::new(configured, speed_spread);
            for package in packages {
                system.add(package, tie, &found);
            }
            found = system.solved(configured);
        }
        found
    }

    /// What one package's observations are off by if all levels are as here: builds into `found`, and the
    /// expectation.
    fn residuals(&self, package: &Evidence, tie: f64, found: &mut Vec<f64>) -> f64 {
        let expected = package.expected + self.offset(package.class, package.tilt);
        let normalised = |build: &Build| build.log + build.host.map_or(0.0, |host| self.speeds[host]);
        let weight: f64 = package.builds.iter().map(|build| build.weight).sum();
        let sum: f64 = package.builds.iter().map(|build| build.weight * normalised(build)).sum();
        let centre = (sum + tie * expected) / (weight + tie);
        found.clear();
        found.extend(package.builds.iter().map(|build| normalised(build) - centre));
        expected - centre
    }
}

/// A linear form: the index of each unknown and its factor.
type Terms = Vec<(usize, f64)>;

/// What is needed for one package at a time, kept for the next.
#[derive(Default)]
struct Scratch {
    /// What each build is off by, then what it counts.
    weights: Vec<f64>,
    /// The sum of all observations, each times its weight.
    all: Terms,
}

/// The normal equations: hosts first, then the level, the kinds and the tilt.
struct System {
    hosts: usize,
    size: usize,
    matrix: Vec<f64>,
    right: Vec<f64>,
    /// The weight of builds on each host.
    builds: Vec<f64>,
    scratch: Scratch,
}

impl System {
    fn new(configured: &[f64], speed_spread: f64) -> System {
        let hosts = configured.len();
        let size = hosts + 2 + KINDS;
        let (matrix, right, scratch) = (vec![0.0; size * size], vec![0.0; size], Scratch::default());
        let mut system = System { hosts, size, matrix, right, builds: vec![0.0; hosts], scratch };
        let precision = |spread: f64| (SPREAD_OF_BUILDS / spread).powi(2);
        for (host, speed) in configured.iter().enumerate() {
            system.expect(host, *speed, precision(speed_spread));
        }
        system.expect(hosts, 0.0, precision(SPREAD_OF_LEVEL));
        (0..KINDS).for_each(|kind| system.expect(hosts + 1 + kind, 0.0, precision(SPREAD_OF_KINDS)));
        system.expect(size - 1, 0.0, precision(SPREAD_OF_TILT));
        system
    }

    fn expect(&mut self, at: usize, value: f64, precision: f64) {
        self.matrix[at * self.size + at] += precision;
        self.right[at] += precision * value;
    }

    /// Adds `Σ ω (ℓ - ℓ̄)²` over the package's builds `ℓ = y + s` and its expectation `ℓ = μ + z·u`: what
    /// is left of the package when its own value is chosen best.
    fn add(&mut self, package: &Evidence, tie: f64, before: &Levels) {
        let Scratch { mut weights, mut all } = std::mem::take(&mut self.scratch);
        let expected = before.residuals(package, tie, &mut weights);
        let far = |residual: f64, reach: f64| (reach / residual.abs().max(reach)).min(1.0);
        let builds = || package.builds.iter();
        weights.iter_mut().zip(builds()).for_each(|(w, build)| *w = build.weight * far(*w, FAR));
        // Between packages there is more chance than between builds of one.
        let own = tie * far(expected, FAR / tie.min(1.0).sqrt());
        let weight = weights.iter().sum::<f64>() + own;
        if weight.is_finite() && weight > 0.0 {
            let kind = self.hosts + 1 + package.class as usize;
            let levels = [(self.hosts, 1.0), (kind, 1.0), (self.size - 1, package.tilt)];
            let mut constant = 0.0;
            let mut add = |system: &mut System, terms: &[(usize, f64)], omega: f64, value: f64| {
                system.square(terms, omega);
                system.times(terms, -omega * value);
                constant += omega * value;
                all.extend(terms.iter().map(|(at, by)| (*at, omega * by)));
            };
            for (build, omega) in builds().zip(&weights) {
                // Not absurdly far from what was expected, whoever measured it.
                let log = build.log.clamp(package.expected - MAX_LOG, package.expected + MAX_LOG);
                let term = build.host.map(|host| (host, 1.0));
                build.host.into_iter().for_each(|host| self.builds[host] += build.weight);
                add(self, term.as_slice(), *omega, log);
            }
            add(self, &levels, own, package.expected);
            self.square(&all, -1.0 / weight);
            self.times(&all, constant / weight);
        }
        all.clear();
        self.scratch = Scratch { weights, all };
    }

    fn square(&mut self, terms: &[(usize, f64)], by: f64) {
        for (row, one) in terms {
            for (column, other) in terms {
                self.matrix[row * self.size + column] += by * one * other;
            }
        }
    }

    fn times(&mut self, terms: &[(usize, f64)], by: f64) {
        for (row, one) in terms {
            self.right[*row] += by * one;
        }
    }

    /// Solves it; what a defect of rounding makes unsolvable leaves hosts as configured.
    fn solved(mut self, configured: &[f64]) -> Levels {
        let mut levels = Levels::new(configured);
        let Some(found) = cholesky(&mut self.matrix, &self.right) else { return levels };
        let offset = |host: usize| found[host] - configured[host];
        // By how much hosts are off in common says nothing about any of them, and goes to the level.
        let all: f64 = self.builds.iter().sum();
        let common: f64 = self.builds.iter().enumerate().map(|(host, builds)| builds * offset(host)).sum();
        let common = if all > 0.0 { common / all } else { 0.0 };
        for (host, speed) in levels.speeds.iter_mut().enumerate() {
            if self.builds[host] > 0.0 {
                *speed += (offset(host) - common).clamp(-MOST_OFFSET, MOST_OFFSET);
            }
        }
        levels.level = found[self.hosts] - common;
        levels.kinds.copy_from_slice(&found[self.hosts + 1..self.size - 1]);
        levels.tilt = found[self.size - 1];
        levels
    }
}

/// Solves `matrix × x = right` for a symmetric positive definite matrix, which is overwritten.
fn cholesky(matrix: &mut [f64], right: &[f64]) -> Option<Vec<f64>> {
    let size = right.len();
    for row in 0..size {
        for column in 0..=row {
            let dot: f64 = (0..column).map(|k| matrix[row * size + k] * matrix[column * size + k]).sum();
            let rest = matrix[row * size + column] - dot;
            if row == column {
                if rest.is_nan() || rest <= 0.0 {
                    return None;
                }
                matrix[row * size + row] = rest.sqrt();
            } else {
                matrix[row * size + column] = rest / matrix[column * size + column];
            }
        }
    }
    let mut found = right.to_vec();
    for row in 0..size {
        let dot: f64 = (0..row).map(|k| matrix[row * size + k] * found[k]).sum();
        found[row] = (found[row] - dot) / matrix[row * size + row];
    }
    for row in (0..size).rev() {
        let dot: f64 = (row + 1..size).map(|k| matrix[k * size + row] * found[k]).sum();
        found[row] = (found[row] - dot) / matrix[row * size + row];
    }
    found.iter().all(|value| value.is_finite()).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn package(expected: f64, builds: &[(usize, f64)]) -> Evidence {
        let build = |&(host, log): &(usize, f64)| Build { host: Some(host), weight: 1.0, log };
        let builds = builds.iter().map(build).collect();
        Evidence { expected, tilt: 0.0, class: OutputClass::Source, builds }
    }

    #[test]
    fn a_linear_system_is_solved() {
        let found = cholesky(&mut [4.0, 2.0, 2.0, 3.0], &[10.0, 9.0]).expect("it is definite");
        assert!((found[0] - 1.5).abs() < 1e-12 && (found[1] - 2.0).abs() < 1e-12, "{found:?}");
        assert_eq!(cholesky(&mut [0.0], &[1.0]), None);
        assert_eq!(cholesky(&mut [f64::NAN], &[1.0]), None);
    }

    #[test]
    fn hosts_that_built_the_same_are_told_apart() {
        // Host 1 takes twice as long, whatever the packages were expected to take.
        let packages: Vec<Evidence> = (0..10)
            .map(|i| {
                let own = 3.0 + f64::from(i) * 0.3;
                package(2.0, &[(0, own), (1, own + 2f64.ln())])
            })
            .collect();
        let found = Levels::solve(&packages, &[0.0, 0.0], 0.1, 0.7);
        let ratio = (found.speeds[0] - found.speeds[1]).exp();
        assert!((1.9..2.0).contains(&ratio), "{ratio}");
        assert!(found.offset(OutputClass::Source, 0.0) > 0.5, "the figures are off, not the hosts");
    }

    #[test]
    fn a_wrong_configured_speed_stops_mattering() {
        let packages: Vec<Evidence> = (0..20).map(|_| package(3.0, &[(0, 3.0), (1, 3.0)])).collect();
        let found = Levels::solve(&packages, &[0.0, 3f64.ln()], 0.1, 0.7);
        let ratio = (found.speeds[1] - found.speeds[0]).exp();
        assert!((0.95..1.07).contains(&ratio), "{ratio}");
    }

    #[test]
    fn one_absurd_build_hardly_matters() {
        let mut packages: Vec<Evidence> = (0..20).map(|_| package(3.0, &[(0, 3.0), (1, 3.0)])).collect();
        packages[0].builds[1].log = 30.0;
        let found = Levels::solve(&packages, &[0.0, 0.0], 0.1, 0.7);
        assert!((found.speeds[0] - found.speeds[1]).abs() < 0.1, "{:?}", found.speeds);
    }

    proptest! {
        #[test]
        fn any_evidence_gives_finite_levels_in_any_order(
            seen in proptest::collection::vec((0..4usize, -14.0..14.0f64, -14.0..14.0f64, 0.0..5.0f64), 0..40),
        ) {
            let packages: Vec<Evidence> = seen
                .iter()
                .map(|&(host, expected, log, weight)| Evidence {
                    expected, tilt: expected / 2.0, class: OutputClass::Module,
                    builds: vec![
                        Build { host: Some(host), weight, log },
                        Build { host: Some((host + 1) % 4), weight: 1.0, log },
                        Build { host: None, weight, log },
                    ],
                })
                .collect();
            let backwards: Vec<Evidence> = packages.iter().rev().cloned().collect();
            let (one, other) = (
                Levels::solve(&packages, &[0.0; 4], 0.1, 0.7), Levels::solve(&backwards, &[0.0; 4], 0.1, 0.7),
            );
            for (a, b) in one.speeds.iter().zip(&other.speeds) {
                prop_assert!(a.is_finite() && a.abs() <= MOST_OFFSET && (a - b).abs() < 1e-6);
            }
            prop_assert!(one.offset(OutputClass::Module, 1.0).is_finite());
        }
    }
}
