//! From the graph to the work of one run: what is missing, and every path it touches.
//!
//! Asks nobody: what is missing is told in [`Missing`]. Sizes and references of paths are filled in
//! by who knows them.

use std::collections::{BTreeMap, BTreeSet};

use super::derivations::{DrvId, Graph};
use super::workload::{Job, JobId, Origin, PathId, PathSpec, Workload};
use crate::base::{Id, Table};
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
    /// Who makes an output.
    makers: BTreeMap<&'a StorePath, JobId>,
}

impl<'a> Pruning<'a> {
    fn new(graph: &'a Graph, wanted: &'a [(DrvId, Vec<String>)], to_build: impl Fn(DrvId) -> bool) -> Self {
        let starts: Vec<DrvId> = wanted.iter().map(|(drv, _)| *drv).collect();
        let reached = reach(graph, &starts, &to_build, |drv| drv);

        // Of twins, the first in topological order stands for all: it cannot need any of the others,
        // so leading their users to it makes no cycle.
        let mut standing: BTreeMap<&StorePath, DrvId> = BTreeMap::new();
        for &drv in graph.topological().iter().filter(|drv| reached.contains(drv)) {
            standing.entry(first_output(graph, drv)).or_insert(drv);
        }
        let stand_in = |drv: DrvId| standing.get(first_output(graph, drv)).copied().unwrap_or(drv);

        let jobs: Table<JobId, DrvId> = reach(graph, &starts, &to_build, stand_in).into_iter().collect();
        let makers = jobs
            .iter()
            .flat_map(|(job, &drv)| graph.drv(drv).outputs.iter().map(move |output| (&output.path, job)))
            .collect();
        Pruning { graph, wanted, jobs, makers }
    }

    fn workload(&self, substitutes: &BTreeMap<StorePath, Option<u64>>) -> Workload {
        let inputs: Vec<BTreeSet<&StorePath>> =
            self.jobs.rows().iter().map(|&drv| input_paths(self.graph, drv)).collect();
        let wanted: Vec<&StorePath> = self.wanted_paths(substitutes);

        let mut all: BTreeSet<&StorePath> = self.makers.keys().copied().collect();
        all.extend(inputs.iter().flatten());
        all.extend(&wanted);
        let ids: BTreeMap<&StorePath, PathId> =
            all.iter().enumerate().map(|(i, &path)| (path, PathId::from_index(i))).collect();

        let paths = all.iter().map(|&path| self.path_spec(path, substitutes)).collect();
        let jobs = self.jobs.rows().iter().zip(&inputs).map(|(&drv, inputs)| self.job(drv, inputs, &ids));
        Workload { jobs: jobs.collect(), paths, wanted: wanted.iter().map(|path| ids[path]).collect() }
    }

    /// The wanted paths that are not valid yet, in the order asked for, each once.
    fn wanted_paths(&self, substitutes: &BTreeMap<StorePath, Option<u64>>) -> Vec<&'a StorePath> {
        let mut seen = BTreeSet::new();
        let mut paths = Vec::new();
        for (drv, names) in self.wanted {
            for output in self.graph.drv(*drv).outputs.iter().filter(|o| names.contains(&o.name)) {
                let missing =
                    self.makers.contains_key(&output.path) || substitutes.contains_key(&output.path);
                if missing && seen.insert(&output.path) {
                    paths.push(&output.path);
                }
            }
        }
        paths
    }

    fn path_spec(&self, path: &StorePath, substitutes: &BTreeMap<StorePath, Option<u64>>) -> PathSpec {
        let (origin, size) = match (self.makers.get(path), substitutes.get(path)) {
            (Some(&job), _) => (Origin::Job(job), None),
            (None, Some(&size)) => (Origin::Substituter, size),
            (None, None) => (Origin::Home, None),
        };
        PathSpec { path: path.to_string(), origin, size: size.unwrap_or(0), refs: Vec::new() }
    }

    fn job(&self, drv: DrvId, inputs: &BTreeSet<&StorePath>, ids: &BTreeMap<&StorePath, PathId>) -> Job {
        let facts = self.graph.drv(drv);
        let needs: BTreeSet<JobId> =
            inputs.iter().filter_map(|path| self.makers.get(path).copied()).collect();
        Job {
            drv: facts.path.to_string(),
            name: facts.name.clone(),
            system: facts.system.clone(),
            features: facts.options.required_features.clone(),
            needs: needs.into_iter().collect(),
            inputs: inputs.iter().map(|path| ids[path]).collect(),
            outputs: facts.outputs.iter().map(|output| ids[&output.path]).collect(),
            fixed_output: facts.outputs.iter().all(|output| output.fixed),
            prefer_local: facts.options.prefer_local,
            parallel: facts.options.parallel,
        }
    }
}

/// The derivations to build that `starts` lead to, ascending; each is first put through `stand_in`.
fn reach(
    graph: &Graph,
    starts: &[DrvId],
    to_build: impl Fn(DrvId) -> bool,
    stand_in: impl Fn(DrvId) -> DrvId,
) -> BTreeSet<DrvId> {
    let mut reached = BTreeSet::new();
    let mut open: Vec<DrvId> = starts.to_vec();
    while let Some(drv) = open.pop() {
        if !to_build(drv) {
            continue;
        }
        let drv = stand_in(drv);
        if reached.insert(drv) {
            open.extend(graph.inputs(drv).into_iter().map(|(input, _)| input));
        }
    }
    reached
}

fn first_output(graph: &Graph, drv: DrvId) -> &StorePath {
    &graph.drv(drv).outputs[0].path
}

/// Sources and used outputs.
fn input_paths(graph: &Graph, drv: DrvId) -> BTreeSet<&StorePath> {
    let mut paths: BTreeSet<&StorePath> = graph.drv(drv).input_srcs.iter().collect();
    for (input, names) in graph.inputs(drv) {
        let used = graph.drv(input).outputs.iter().filter(|output| names.contains(&output.name));
        paths.extend(used.map(|output| &output.path));
    }
    paths
}

#[cfg(test)]
mod tests;
