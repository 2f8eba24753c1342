//! What one package took, wherever it was built: a logarithmic moving average.
//!
//! Seconds are kept as they were measured, by host and by cores, and put into terms of one core of speed 1
//! when they are asked for. So what is learned later of a host's speed or of a package's parallel part
//! holds for earlier builds too.

use super::levels::Build;
use super::names::major_differs;
use super::parallel::{Parallel, amdahl};
use super::params::CostParams;
use super::ratio::SHORTEST;
use super::sample::Sample;

/// A share of a package's weight below this is forgotten.
const NEGLIGIBLE: f64 = 0.01;
/// What is left of a build's word on hosts at each next one of its package. A package changes from version to
/// version, so that its newest builds say what it takes; how much longer it takes on one host than on another
/// stays, so that many more builds say that, above all where everything built has one name.
const KEPT: f64 = 0.97;

/// The builds of one package and kind for one system.
#[derive(Clone, Debug)]
pub(super) struct Package {
    cells: Vec<Cell>,
    /// What builds say about hosts, with their number in place of a share.
    compared: Vec<Cell>,
    /// The sum of the squares of single builds' shares, which gives how many builds the average is worth.
    squares: f64,
    /// Builds so far.
    pub count: u32,
    pub version: String,
    pub parallel: Parallel,
    /// Bytes of all outputs of the newest build that had any.
    pub output_size: u64,
}

/// Builds on one host with the same number of cores.
#[derive(Clone, Copy, Debug)]
struct Cell {
    host: usize,
    cores: u32,
    /// Share of the average; those of all cells sum up to 1.
    share: f64,
    /// The mean logarithm of seconds.
    log: f64,
}

impl Package {
    pub fn new() -> Package {
        Package {
            cells: Vec::new(),
            compared: Vec::new(),
            squares: 1.0,
            count: 0,
            version: String::new(),
            parallel: Parallel::default(),
            output_size: 0,
        }
    }

    /// Takes in a build on the host of this index.
    pub fn learn(&mut self, sample: &Sample, host: usize, params: &CostParams) {
        let kept =
            if major_differs(&self.version, &sample.version) { params.major_version_weight } else { 1.0 };
        // What is left of the earlier builds, and what the new one gets, of a whole of 1.
        let (old, new) = match self.count {
            0 => (0.0, 1.0),
            _ => {
                let (old, new) = ((1.0 - params.decay) * kept, params.decay);
                (old / (old + new), new / (old + new))
            }
        };
        // Cores left to the host count as one, as they do for the scheduler: its builds take what they took.
        let cores = sample.cores.max(1);
        let log = sample.wall.max(SHORTEST).as_secs_f64().ln();
        add(&mut self.cells, old, Cell { host, cores, share: new, log });
        add(&mut self.compared, KEPT, Cell { host, cores, share: 1.0, log });
        let whole: f64 = self.cells.iter().map(|cell| cell.share).sum();
        self.cells.iter_mut().for_each(|cell| cell.share /= whole);
        self.squares = self.squares * old * old + new * new;
        self.count = self.count.saturating_add(1);
        self.version.clone_from(&sample.version);
        self.parallel.learn(sample);
        if sample.output_size > 0 {
            self.output_size = sample.output_size;
        }
    }

    /// How many builds the average is worth: Kish's effective sample size, as shares differ.
    pub fn weight(&self) -> f64 {
        1.0 / self.squares
    }

    /// Builds by host, in seconds on one core of it, for comparing hosts.
    pub fn builds(&self, parallel: f64) -> impl Iterator<Item = Build> + use<'_> {
        self.compared.iter().map(move |cell| Build {
            host: Some(cell.host),
            weight: cell.share,
            log: cell.log - amdahl(parallel, cell.cores).ln(),
        })
    }

    /// The average: the logarithm of seconds on one core of speed 1, by the logarithms of hosts' speeds.
    pub fn mean(&self, parallel: f64, speeds: &[f64]) -> f64 {
        let normalised = |cell: &Cell| cell.log - amdahl(parallel, cell.cores).ln() + speeds[cell.host];
        self.cells.iter().map(|cell| cell.share * normalised(cell)).sum()
    }
}

/// Puts a build among the others, of which a part is kept.
fn add(cells: &mut Vec<Cell>, kept: f64, new: Cell) {
    cells.iter_mut().for_each(|cell| cell.share *= kept);
    match cells.iter_mut().find(|cell| (cell.host, cell.cores) == (new.host, new.cores)) {
        Some(cell) => {
            cell.log += (new.log - cell.log) * new.share / (cell.share + new.share);
            cell.share += new.share;
        }
        None => cells.push(new),
    }
    cells.retain(|cell| cell.share >= NEGLIGIBLE);
}

#[cfg(test)]
mod tests {
    use super::super::testkit::sample;
    use super::*;
    use crate::base::Span;
    use proptest::prelude::*;

    fn learned(samples: &[Sample]) -> Package {
        let mut package = Package::new();
        for sample in samples {
            package.learn(sample, 0, &CostParams::default());
        }
        package
    }

    fn mean(package: &Package) -> f64 {
        package.mean(0.0, &[0.0]).exp()
    }

    #[test]
    fn newer_builds_weigh_more_and_logarithms_are_averaged() {
        let package = learned(&[sample("a", 100.0), sample("a", 10.0)]);
        assert!((mean(&package) - 10f64.powf(2.0 - 0.3)).abs() < 1e-6);
        let many = learned(&vec![sample("a", 8.0); 30]);
        assert!((mean(&many) - 8.0).abs() < 1e-6);
        assert!((many.weight() - 1.7 / 0.3).abs() < 0.01, "{}", many.weight());
    }

    #[test]
    fn a_new_generation_makes_the_old_count_half() {
        let next = |version: &str| Sample { version: version.into(), ..sample("a", 10.0) };
        let same = learned(&[sample("a", 100.0), next("1.9")]);
        let other = learned(&[sample("a", 100.0), next("2.0")]);
        assert!((mean(&same).log10() - 1.7).abs() < 1e-6);
        assert!((mean(&other).log10() - (0.35 * 2.0 + 0.3) / 0.65).abs() < 1e-6);
    }

    #[test]
    fn what_is_learned_later_of_hosts_and_cores_holds_for_earlier_builds() {
        let mut package = Package::new();
        let four = Sample { cores: 4, ..sample("a", 30.0) };
        package.learn(&four, 1, &CostParams::default());
        assert!((package.mean(0.0, &[0.0, 0.0]).exp() - 30.0).abs() < 1e-6);
        assert!((package.mean(0.8, &[0.0, 2f64.ln()]).exp() - 150.0).abs() < 1e-6);
    }

    #[test]
    fn cores_left_to_the_host_leave_builds_as_they_are() {
        let host = Sample { cores: 0, cpu: Some(Span::from_secs(90)), ..sample("a", 30.0) };
        assert!((learned(&[host]).mean(0.9, &[0.0]).exp() - 30.0).abs() < 1e-6);
    }

    proptest! {
        #[test]
        fn longer_builds_never_lower_the_mean(
            walls in proptest::collection::vec((0..u64::MAX, 0..3usize, 0..5u32), 1..20),
            longer in any::<prop::sample::Index>(),
        ) {
            let longer = longer.index(walls.len());
            let learned = |factor: u64| {
                let mut package = Package::new();
                for (i, &(wall, host, cores)) in walls.iter().enumerate() {
                    let wall = Span(wall.saturating_mul(if i == longer { factor } else { 1 }));
                    package.learn(&Sample { wall, cores, ..sample("a", 0.0) }, host, &CostParams::default());
                }
                package
            };
            let (one, other) = (learned(1), learned(3));
            let speeds = [0.0, 0.5, -0.5];
            prop_assert!(one.mean(0.5, &speeds).is_finite());
            prop_assert!(one.mean(0.5, &speeds) <= other.mean(0.5, &speeds) + 1e-9);
            prop_assert!((1.0..=6.0).contains(&(one.weight() + 1e-9)));
            let builds: f64 = one.builds(0.5).map(|build| build.weight).sum();
            prop_assert!(builds >= one.weight() - 1e-6 && builds <= walls.len() as f64 + 1e-6);
        }
    }
}
