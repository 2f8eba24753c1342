//! Which part of a job more cores make faster.

use super::prior::OutputClass;
use crate::base::Table;
use crate::graph::{Job, JobId, Workload};

/// The part of a job's one-core time that is spread over its cores, from 0 to 1 (Amdahl's `f`).
///
/// 0 where parallel building is off and for what is over at once. Of 130 crates that take at least 15 s on
/// one core, the quartiles of `f` are 0.61, 0.70 and 0.81; of the on-processor time of eight threads, LLVM
/// used 98 %, Linux 88 %, PHP 82 % and GCC 72 % (public measurements).
pub fn parallel_part(job: &Job) -> f32 {
    match OutputClass::of(job) {
        OutputClass::BigParallel => 0.9,
        OutputClass::Source if job.parallel => 0.7,
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

#[cfg(test)]
mod tests {
    use super::*;

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
