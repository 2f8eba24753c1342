//! Whether a workload that came from outside holds together.

use std::collections::BTreeSet;
use std::fmt::Debug;

use super::order::Order;
use super::workload::{Job, JobId, Origin, PathId, Workload};
use crate::base::{Id, Table};

/// What does not hold together in a workload.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadWorkload {
    /// A number beyond the end of its table.
    #[error("{place}: {id} does not exist, there are only {len}")]
    OutOfRange {
        /// Where it is written.
        place: String,
        /// The number.
        id: String,
        /// How many there are.
        len: usize,
    },
    /// A list that must ascend, each member once, does not.
    #[error("{place}: {id} is out of order or there twice")]
    NotAscending {
        /// The list.
        place: String,
        /// The first member out of order.
        id: String,
    },
    /// Two jobs with one derivation, or two paths that are the same.
    #[error("{place} appears twice")]
    Twice {
        /// The derivation or path.
        place: String,
    },
    /// A job and a path disagree about who makes the path.
    #[error("{path}: {why}")]
    Producer {
        /// The path.
        path: String,
        /// How they disagree.
        why: String,
    },
    /// Jobs that need each other.
    #[error("jobs need each other in a circle, {drv} among them")]
    Cycle {
        /// A derivation on or behind the circle.
        drv: String,
    },
}

impl Workload {
    /// Checks what everything that uses a workload relies on: ids in range, lists ascending, no
    /// derivation or path twice, jobs and paths agreed about who makes what, no circle of needs.
    ///
    /// # Errors
    /// The first thing that does not hold.
    pub fn check(&self) -> Result<(), BadWorkload> {
        self.check_paths()?;
        let mut drvs = BTreeSet::new();
        for (id, job) in self.jobs.iter() {
            if !drvs.insert(&job.drv) {
                return Err(BadWorkload::Twice { place: job.drv.clone() });
            }
            self.check_ids(job)?;
            self.check_producers(id, job)?;
        }
        self.check_origins()?;
        match Order::new(self).stuck().first() {
            Some(&job) => Err(BadWorkload::Cycle { drv: self.jobs[job].drv.clone() }),
            None => Ok(()),
        }
    }

    fn check_paths(&self) -> Result<(), BadWorkload> {
        let mut paths = BTreeSet::new();
        for (_, spec) in self.paths.iter() {
            if !paths.insert(&spec.path) {
                return Err(BadWorkload::Twice { place: spec.path.clone() });
            }
            in_range(&self.paths, &spec.refs, || format!("the references of {}", spec.path))?;
            if let Origin::Job(job) = spec.origin {
                in_range(&self.jobs, &[job], || format!("the origin of {}", spec.path))?;
            }
        }
        in_range(&self.paths, &self.wanted, || "the list of wanted paths".to_owned())
    }

    fn check_ids(&self, job: &Job) -> Result<(), BadWorkload> {
        let needs = || format!("the needs of {}", job.drv);
        let inputs = || format!("the inputs of {}", job.drv);
        in_range(&self.jobs, &job.needs, needs)?;
        in_range(&self.paths, &job.inputs, inputs)?;
        in_range(&self.paths, &job.outputs, || format!("the outputs of {}", job.drv))?;
        ascending(&job.needs, needs)?;
        ascending(&job.inputs, inputs)
    }

    fn check_producers(&self, id: JobId, job: &Job) -> Result<(), BadWorkload> {
        let disagree = |path: PathId, why: String| {
            Err(BadWorkload::Producer { path: self.paths[path].path.clone(), why })
        };
        for (i, &path) in job.outputs.iter().enumerate() {
            if job.outputs[..i].contains(&path) {
                return disagree(path, format!("{} makes it twice", job.drv));
            }
            if self.paths[path].origin != Origin::Job(id) {
                return disagree(path, format!("{} makes it, but its origin is another", job.drv));
            }
        }
        for &path in &job.inputs {
            match self.paths[path].origin {
                Origin::Job(maker) if job.needs.binary_search(&maker).is_err() => {
                    let maker = &self.jobs[maker].drv;
                    return disagree(
                        path,
                        format!("{} uses it, but does not need its maker {maker}", job.drv),
                    );
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Every path whose origin is a job is among the job's outputs.
    fn check_origins(&self) -> Result<(), BadWorkload> {
        for (id, spec) in self.paths.iter() {
            match spec.origin {
                Origin::Job(job) if !self.jobs[job].outputs.contains(&id) => {
                    let why = format!("its origin {} does not make it", self.jobs[job].drv);
                    return Err(BadWorkload::Producer { path: spec.path.clone(), why });
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn in_range<I: Id + Debug, T>(
    table: &Table<I, T>,
    ids: &[I],
    place: impl Fn() -> String,
) -> Result<(), BadWorkload> {
    match ids.iter().find(|id| id.index() >= table.len()) {
        Some(id) => Err(BadWorkload::OutOfRange { place: place(), id: format!("{id:?}"), len: table.len() }),
        None => Ok(()),
    }
}

fn ascending<I: Id + Debug>(ids: &[I], place: impl Fn() -> String) -> Result<(), BadWorkload> {
    match ids.windows(2).find(|pair| pair[0] >= pair[1]) {
        Some(pair) => Err(BadWorkload::NotAscending { place: place(), id: format!("{:?}", pair[1]) }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
