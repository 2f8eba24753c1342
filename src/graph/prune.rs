//! From the graph to the work of one run: what is missing, and every path it touches.
//!
//! Asks nobody: what is missing is told in [`Missing`]. Sizes and references of paths are filled in
//! by who knows them.

use std::collections::{BTreeMap, BTreeSet};

use super::derivations::{DrvId, Graph};
use super::paths::RowId;
use super::workload::{Job, JobId, Origin, PathId, PathSpec, Workload};
use crate::base::Table;
use crate::nix::StorePath;

/// What the local store lacks, as its daemon answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Missing {
    /// Derivations to build.
    pub build: BTreeSet<StorePath>,
    /// Paths that a substituter has, with the size as a NAR in bytes where known.
    pub substitute: BTreeMap<StorePath, Option<u64>>,
}

impl Workload {
    /// The work that leads from what is there to the `wanted` outputs.
    ///
    /// Jobs are the derivations in `missing.build` that `wanted` needs, by way of other such
    /// derivations; of twins with the same outputs, one. A wanted output of any other derivation is
    /// valid, and left out, or is fetched from a substituter.
    pub fn from_graph(graph: &Graph, wanted: &[(DrvId, Vec<String>)], missing: &Missing) -> Workload {
        Pruning::new(graph, wanted, |drv| missing.build.contains(&graph.drv(drv).path))
            .workload(&missing.substitute)
    }

    /// The work of building everything that the `roots` need from nothing but sources; all outputs
    /// of the roots are wanted. For plans without a store.
    pub fn from_graph_all(graph: &Graph, roots: &[DrvId]) -> Workload {
        let all_outputs = |&root: &DrvId| {
            (root, graph.drv(root).outputs.iter().map(|output| output.name.clone()).collect())
        };
        let wanted: Vec<_> = roots.iter().map(all_outputs).collect();
        Pruning::new(graph, &wanted, |_| true).workload(&BTreeMap::new())
    }
}

/// Which derivations are jobs, and of which job each output path is.
struct Pruning<'a> {
    graph: &'a Graph,
    wanted: &'a [(DrvId, Vec<String>)],
    /// The derivation of each job.
    jobs: Table<JobId, DrvId>,
    /// Who makes a path.
    makers: Table<RowId, Option<JobId>>,
}

impl<'a> Pruning<'a> {
    fn new(graph: &'a Graph, wanted: &'a [(DrvId, Vec<String>)], to_build: impl Fn(DrvId) -> bool) -> Self {
        let starts: Vec<DrvId> = wanted.iter().map(|(drv, _)| *drv).collect();
        let to_build: Table<DrvId, bool> = graph.ids().map(to_build).collect();
        let reached = reach(graph, &starts, &to_build, |drv| drv);

        // Of twins, the first in topological order stands for all: it cannot need any of the others,
        // so leading their users to it makes no cycle.
        let mut standing: Table<RowId, Option<DrvId>> = Table::filled(graph.paths().len(), None);
        for &drv in graph.topological().iter().filter(|&&drv| reached[drv]) {
            standing[graph.makes(drv)[0]].get_or_insert(drv);
        }
        let stand_in = |drv: DrvId| standing[graph.makes(drv)[0]].unwrap_or(drv);

        let reached = reach(graph, &starts, &to_build, stand_in);
        let jobs: Table<JobId, DrvId> = graph.ids().filter(|&drv| reached[drv]).collect();
        let mut makers = Table::filled(graph.paths().len(), None);
        for (job, &drv) in jobs.iter() {
            graph.makes(drv).iter().for_each(|&row| makers[row] = Some(job));
        }
        Pruning { graph, wanted, jobs, makers }
    }

    fn workload(&self, substitutes: &BTreeMap<StorePath, Option<u64>>) -> Workload {
        let wanted = self.wanted_paths(substitutes);
        let mut touched = Table::filled(self.graph.paths().len(), false);
        wanted.iter().for_each(|&row| touched[row] = true);
        for &drv in self.jobs.rows() {
            let rows = self.graph.makes(drv).iter().chain(self.graph.uses(drv));
            rows.for_each(|&row| touched[row] = true);
        }
        let mut ids: Table<RowId, PathId> = Table::filled(touched.len(), PathId(0));
        let mut paths = Table::new();
        for (row, _) in touched.iter().filter(|(_, touched)| **touched) {
            ids[row] = paths.push(self.path_spec(row, substitutes));
        }
        let jobs = self.jobs.rows().iter().map(|&drv| self.job(drv, &ids)).collect();
        Workload { jobs, paths, wanted: wanted.iter().map(|&row| ids[row]).collect() }
    }

    /// The wanted paths that are not valid yet, in the order asked for, each once.
    fn wanted_paths(&self, substitutes: &BTreeMap<StorePath, Option<u64>>) -> Vec<RowId> {
        let mut seen = BTreeSet::new();
        let mut paths = Vec::new();
        for (drv, names) in self.wanted {
            let outputs = self.graph.drv(*drv).outputs.iter().zip(self.graph.makes(*drv));
            for (output, &row) in outputs.filter(|(output, _)| names.contains(&output.name)) {
                let missing = self.makers[row].is_some() || substitutes.contains_key(&output.path);
                if missing && seen.insert(row) {
                    paths.push(row);
                }
            }
        }
        paths
    }

    fn path_spec(&self, row: RowId, substitutes: &BTreeMap<StorePath, Option<u64>>) -> PathSpec {
        let path = &self.graph.paths()[row];
        let (origin, size) = match (self.makers[row], substitutes.get(path)) {
            (Some(job), _) => (Origin::Job(job), None),
            (None, Some(&size)) => (Origin::Substituter, size),
            (None, None) => (Origin::Home, None),
        };
        PathSpec { path: path.to_string(), origin, size: size.unwrap_or(0), refs: Vec::new() }
    }

    fn job(&self, drv: DrvId, ids: &Table<RowId, PathId>) -> Job {
        let facts = self.graph.drv(drv);
        let uses = self.graph.uses(drv);
        let mut needs: Vec<JobId> = uses.iter().filter_map(|&row| self.makers[row]).collect();
        needs.sort_unstable();
        needs.dedup();
        let numbered = |rows: &[RowId]| rows.iter().map(|&row| ids[row]).collect();
        Job {
            drv: facts.path.to_string(),
            name: facts.name.clone(),
            system: facts.system.clone(),
            features: facts.options.required_features.clone(),
            needs,
            inputs: numbered(uses),
            outputs: numbered(self.graph.makes(drv)),
            fixed_output: facts.outputs.iter().all(|output| output.fixed),
            prefer_local: facts.options.prefer_local,
            parallel: facts.options.parallel,
        }
    }
}

/// Which derivations to build `starts` lead to; each is first put through `stand_in`.
fn reach(
    graph: &Graph,
    starts: &[DrvId],
    to_build: &Table<DrvId, bool>,
    stand_in: impl Fn(DrvId) -> DrvId,
) -> Table<DrvId, bool> {
    let mut reached = Table::filled(graph.len(), false);
    let mut open: Vec<DrvId> = starts.to_vec();
    while let Some(drv) = open.pop() {
        if !to_build[drv] {
            continue;
        }
        let drv = stand_in(drv);
        if !std::mem::replace(&mut reached[drv], true) {
            open.extend(graph.input_drvs(drv));
        }
    }
    reached
}

#[cfg(test)]
mod tests;
