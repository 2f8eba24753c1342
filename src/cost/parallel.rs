//! Which part of a job more cores make faster.

use super::prior::OutputClass;
use super::ratio::SHORTEST;
use super::sample::Sample;
use crate::base::{Span, Table};
use crate::graph::{Job, JobId, Workload};

/// The part of a job's one-core time that is spread over its cores, from 0 to 1 (Amdahl's `f`).
///
/// 0 where parallel building is off and for what is over at once. Of 130 crates that take at least 15 s on
/// one core, the quartiles of `f` are 0.61, 0.70 and 0.81; of the on-processor time of eight threads, LLVM
/// used 98 %, Linux 88 %, PHP 82 % and GCC 72 % (public measurements).
pub fn parallel_part(job: &Job) -> f32 {
    by_class(OutputClass::of(job), job.parallel)
}

/// The same for what is known to be of a class, and to build in parallel or not.
pub(super) fn by_class(class: OutputClass, parallel: bool) -> f32 {
    match class {
        OutputClass::BigParallel => 0.9,
        OutputClass::Source if parallel => 0.7,
        _ => 0.0,
    }
}

/// [`parallel_part`] of all jobs.
pub fn parallel_parts(work: &Workload) -> Table<JobId, f64> {
    work.jobs.rows().iter().map(|job| f64::from(parallel_part(job))).collect()
}

/// The part of its one-core time that a job takes on `cores` cores if `parallel` (0 to 1) of it can be
/// spread over them (Amdahl 1967); 0 cores count as 1.
pub fn amdahl(parallel: f64, cores: u32) -> f64 {
    (1.0 - parallel) + parallel / f64::from(cores.max(1))
}

/// Weight of the newest build in a package's parallel part.
const DECAY: f64 = 0.3;
/// More than this is not believed: some of every build is serial.
const MOST: f64 = 0.99;
/// Builds with less time on processors than this measure the start of processes.
const TELLING: Span = Span::from_millis(500);

/// The parallel part of one package, from its builds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Parallel {
    builds: f64,
    mean: f64,
}

impl Parallel {
    /// Takes in a build, if it says anything.
    pub fn learn(&mut self, sample: &Sample) {
        let Some(part) = measured(sample) else { return };
        self.builds = self.builds * (1.0 - DECAY) + 1.0;
        self.mean += (part - self.mean) / self.builds;
    }

    /// The part, from 0 to 0.99: what was measured, with the part by class worth `k` builds.
    pub fn part(&self, by_class: f64, k: f64) -> f64 {
        ((self.builds * self.mean + k * by_class) / (self.builds + k)).clamp(0.0, MOST)
    }
}

/// The parallel part that one build shows.
///
/// Time on processors is what one core takes, so Amdahl's law `wall / cpu = (1 - f) + f / cores` gives
/// `f`. It is a little too low where the build had to wait for disks or for other builds, and where cores
/// were left to the host, which is then taken to have had any number of them.
fn measured(sample: &Sample) -> Option<f64> {
    let cpu = sample.cpu?;
    if cpu < TELLING || sample.cores == 1 || (sample.cores == 0 && cpu <= sample.wall) {
        return None;
    }
    let of_one_core = sample.wall.max(SHORTEST).as_secs_f64() / cpu.as_secs_f64();
    let most = if sample.cores == 0 { 1.0 } else { 1.0 - 1.0 / f64::from(sample.cores) };
    Some(((1.0 - of_one_core) / most).clamp(0.0, MOST))
}

#[cfg(test)]
mod tests {
    use super::super::testkit::sample;
    use super::*;
    use proptest::prelude::*;

    fn built(wall: f64, cpu: f64, cores: u32) -> Sample {
        Sample { cores, cpu: Some(Span::from_secs_f64(cpu)), ..sample("a", wall) }
    }

    #[test]
    fn amdahls_law_is_solved_for_the_part() {
        let f = 0.8;
        let wall = 100.0 * amdahl(f, 8);
        let part = measured(&built(wall, 100.0, 8)).expect("it tells");
        assert!((part - f).abs() < 1e-6, "{part}");
        assert_eq!(measured(&built(100.0, 100.0, 8)), Some(0.0));
        assert_eq!(measured(&built(10.0, 100.0, 8)), Some(MOST), "threads beyond the cores given");
        for nothing in [built(100.0, 100.0, 1), built(100.0, 100.0, 0), built(0.1, 0.1, 4)] {
            assert_eq!(measured(&nothing), None);
        }
        assert_eq!(measured(&built(25.0, 100.0, 0)), Some(0.75), "at least");
        assert_eq!(measured(&Sample { cpu: None, ..built(1.0, 1.0, 4) }), None);
    }

    #[test]
    fn measurements_replace_the_class() {
        let mut parallel = Parallel::default();
        assert_eq!(parallel.part(0.7, 1.0), 0.7);
        parallel.learn(&built(100.0, 100.0, 8));
        assert!((parallel.part(0.7, 1.0) - 0.35).abs() < 1e-9);
        (0..20).for_each(|_| parallel.learn(&built(100.0, 100.0, 8)));
        assert!(parallel.part(0.7, 1.0) < 0.2);
    }

    proptest! {
        #[test]
        fn any_build_gives_a_part(
            builds in proptest::collection::vec((any::<u64>(), any::<u64>(), any::<u32>()), 0..20), class in 0.0..1.0f64,
        ) {
            let mut parallel = Parallel::default();
            for (wall, cpu, cores) in builds {
                let cpu = Some(Span(cpu));
                parallel.learn(&Sample { wall: Span(wall), cpu, cores, ..sample("a", 0.0) });
            }
            prop_assert!((0.0..=MOST).contains(&parallel.part(class, 1.0)));
        }
    }

    #[test]
    fn only_what_builds_in_parallel_gains_from_cores() {
        let job = |name: &str, parallel: bool| Job { name: name.into(), parallel, ..Job::default() };
        assert_eq!(parallel_part(&job("hello-2.12", true)), 0.7);
        assert_eq!(parallel_part(&job("hello-2.12", false)), 0.0);
        assert_eq!(parallel_part(&job("unit-sshd.service", true)), 0.0);
    }

    #[test]
    fn amdahls_law_has_its_ends() {
        assert_eq!([amdahl(0.0, 8), amdahl(1.0, 8), amdahl(0.5, 2), amdahl(0.5, 0)], [1.0, 0.125, 0.75, 1.0]);
    }
}
