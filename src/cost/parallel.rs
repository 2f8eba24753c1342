//! Which part of a job more cores make faster.

use super::prior::OutputClass;
use crate::graph::Job;

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
}
