//! The derivation graph: which derivation uses which outputs of which other, validated once.
//!
//! Everything a wrong or cut-off dump can break is found here, by name, so that nothing above has to
//! ask again. What of the graph is left to build is decided in [`super::prune`].
//!
//! Two derivations may have the same outputs, and real closures hold such twins: an output path does
//! not depend on how a fixed-output input is fetched, so the same package built from a tarball that
//! was fetched in two ways is two derivations. They are kept, and folded into one job when pruning.

use std::collections::VecDeque;

use petgraph::Direction;
use petgraph::graph::{DiGraph, NodeIndex};

use super::paths::{Lists, RowId, number};
use crate::base::{Id, Table, typed_id};
use crate::nix::{Derivation, StorePath};

typed_id!(
    /// A derivation of the graph; numbered in the order of store paths.
    DrvId, "d"
);

/// What is wrong with a set of derivations.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum GraphError {
    /// The same derivation twice.
    #[error("the derivation graph has {drv} twice")]
    Duplicate {
        /// Its path.
        drv: String,
    },
    /// An input derivation that is not in the set.
    #[error(
        "{drv} needs {input}, which the derivation graph does not have; was it made without --recursive?"
    )]
    MissingInput {
        /// The derivation with the input.
        drv: String,
        /// The input.
        input: String,
    },
    /// An output of an input derivation that this does not have.
    #[error("{drv} needs the output '{output}' of {input}, which has no such output (it has {has})")]
    NoSuchOutput {
        /// The derivation with the input.
        drv: String,
        /// The input.
        input: String,
        /// The output that is not there.
        output: String,
        /// The outputs that are there.
        has: String,
    },
    /// Two derivations share some outputs, but not all.
    #[error("{drv} and {other} both make {path}, but differ in their other outputs")]
    ClashingOutput {
        /// The derivation that comes later in path order.
        drv: String,
        /// The other one.
        other: String,
        /// What both make.
        path: String,
    },
    /// One derivation with the same path or name for two outputs.
    #[error("{drv} has the output {output} twice")]
    RepeatedOutput {
        /// Its path.
        drv: String,
        /// The output's name or path.
        output: String,
    },
    /// A derivation without outputs.
    #[error("{drv} has no outputs")]
    NoOutputs {
        /// Its path.
        drv: String,
    },
    /// Derivations that need each other.
    #[error("derivations need each other: {cycle}")]
    Cycle {
        /// `a -> b -> a`, shortened if very long.
        cycle: String,
    },
}

/// A validated, acyclic graph of derivations.
#[derive(Clone, Debug)]
pub struct Graph {
    /// An edge goes from user to input.
    dag: DiGraph<Derivation, ()>,
    /// Per derivation: those in its `input_drvs`, in their order, which is ascending.
    inputs: Lists<DrvId>,
    /// Inputs before users.
    order: Vec<DrvId>,
    paths: Table<RowId, StorePath>,
    /// Per derivation: what it makes, in the order of its outputs.
    makes: Lists<RowId>,
    /// Per derivation: the sources and outputs that it uses, ascending, each once.
    uses: Lists<RowId>,
}

impl Graph {
    /// Validates `derivations` (in any order) and links them.
    ///
    /// # Errors
    /// The first thing that is wrong, in the order of store paths.
    pub fn new(mut derivations: Vec<Derivation>) -> Result<Graph, GraphError> {
        derivations.sort_by(|a, b| a.path.cmp(&b.path));
        check_paths(&derivations)?;
        let mut all: Vec<&StorePath> = derivations.iter().flat_map(|d| &d.outputs).map(|o| &o.path).collect();
        all.extend(derivations.iter().flat_map(|d| &d.input_srcs));
        let (paths, numbers) = number(&all);
        let mut numbers = numbers.into_iter();
        let mut makes = Lists::new();
        for drv in &derivations {
            makes.push(numbers.by_ref().take(drv.outputs.len()));
        }
        check_outputs(&derivations, &makes, paths.len())?;
        let inputs = resolve(&derivations)?;
        let mut uses = Lists::new();
        for (id, drv) in (0..).map(DrvId).zip(&derivations) {
            let mut rows: Vec<RowId> = numbers.by_ref().take(drv.input_srcs.len()).collect();
            for ((_, names), &input) in drv.input_drvs.iter().zip(inputs.of(id)) {
                let outputs = derivations[input.index()].outputs.iter().zip(makes.of(input));
                rows.extend(outputs.filter(|(output, _)| names.contains(&output.name)).map(|(_, &row)| row));
            }
            rows.sort_unstable();
            rows.dedup();
            uses.push(rows);
        }

        let mut dag = DiGraph::with_capacity(derivations.len(), inputs.total());
        for drv in derivations {
            dag.add_node(drv);
        }
        for user in (0..dag.node_count()).map(DrvId::from_index) {
            for &input in inputs.of(user) {
                dag.add_edge(node(user), node(input), ());
            }
        }
        match petgraph::algo::toposort(&dag, None) {
            Ok(users_first) => {
                let order = users_first.into_iter().rev().map(id).collect();
                Ok(Graph { dag, inputs, order, paths, makes, uses })
            }
            Err(cycle) => Err(GraphError::Cycle { cycle: describe_cycle(&dag, cycle.node_id()) }),
        }
    }

    /// The number of derivations.
    pub fn len(&self) -> usize {
        self.dag.node_count()
    }

    /// Whether there are no derivations.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of pairs of a derivation and an input derivation.
    pub fn edges(&self) -> usize {
        self.dag.edge_count()
    }

    /// All ids, in the order of store paths.
    pub fn ids(&self) -> impl DoubleEndedIterator<Item = DrvId> + ExactSizeIterator + use<> {
        (0..self.len()).map(DrvId::from_index)
    }

    /// The derivation with this store path.
    pub fn find(&self, path: &str) -> Option<DrvId> {
        let nodes = self.dag.raw_nodes();
        nodes.binary_search_by(|node| node.weight.path.as_str().cmp(path)).ok().map(DrvId::from_index)
    }

    /// The facts of a derivation.
    pub fn drv(&self, drv: DrvId) -> &Derivation {
        &self.dag[node(drv)]
    }

    /// The input derivations of `drv`, ascending, with the names of the outputs used of each.
    pub fn inputs(&self, drv: DrvId) -> Vec<(DrvId, &[String])> {
        let names = self.drv(drv).input_drvs.iter().map(|(_, names)| names.as_slice());
        self.inputs.of(drv).iter().copied().zip(names).collect()
    }

    /// The input derivations of `drv`, ascending.
    pub(super) fn input_drvs(&self, drv: DrvId) -> &[DrvId] {
        self.inputs.of(drv)
    }

    /// All paths that some derivation makes or uses.
    pub(super) fn paths(&self) -> &Table<RowId, StorePath> {
        &self.paths
    }

    /// What `drv` makes, in the order of its outputs.
    pub(super) fn makes(&self, drv: DrvId) -> &[RowId] {
        self.makes.of(drv)
    }

    /// The sources and outputs that `drv` uses, ascending.
    pub(super) fn uses(&self, drv: DrvId) -> &[RowId] {
        self.uses.of(drv)
    }

    /// The derivations that use an output of `drv`, ascending.
    pub fn users(&self, drv: DrvId) -> Vec<DrvId> {
        let mut users: Vec<_> = self.dag.neighbors_directed(node(drv), Direction::Incoming).map(id).collect();
        users.sort_unstable();
        users
    }

    /// The derivations that no other uses, ascending.
    pub fn roots(&self) -> Vec<DrvId> {
        self.dag.externals(Direction::Incoming).map(id).collect()
    }

    /// All derivations, inputs before users; the same for the same graph.
    pub fn topological(&self) -> &[DrvId] {
        &self.order
    }
}

fn node(drv: DrvId) -> NodeIndex {
    NodeIndex::new(drv.index())
}

fn id(node: NodeIndex) -> DrvId {
    DrvId::from_index(node.index())
}

fn check_paths(sorted: &[Derivation]) -> Result<(), GraphError> {
    match sorted.windows(2).find(|pair| pair[0].path == pair[1].path) {
        Some(pair) => Err(GraphError::Duplicate { drv: pair[0].path.to_string() }),
        None => Ok(()),
    }
}

/// No output twice in one derivation; derivations with a common output have all in common.
fn check_outputs(sorted: &[Derivation], makes: &Lists<RowId>, rows: usize) -> Result<(), GraphError> {
    let mut makers: Table<RowId, Option<&Derivation>> = Table::filled(rows, None);
    for (id, drv) in (0..).map(DrvId).zip(sorted) {
        if drv.outputs.is_empty() {
            return Err(GraphError::NoOutputs { drv: drv.path.to_string() });
        }
        for (i, output) in drv.outputs.iter().enumerate() {
            let earlier = &drv.outputs[..i];
            let repeated = if earlier.iter().any(|e| e.name == output.name) {
                Some(output.name.clone())
            } else {
                earlier.iter().any(|e| e.path == output.path).then(|| output.path.to_string())
            };
            if let Some(output) = repeated {
                return Err(GraphError::RepeatedOutput { drv: drv.path.to_string(), output });
            }
        }
        for (output, &row) in drv.outputs.iter().zip(makes.of(id)) {
            let other = *makers[row].get_or_insert(drv);
            if !same_outputs(drv, other) {
                return Err(GraphError::ClashingOutput {
                    drv: drv.path.to_string(),
                    other: other.path.to_string(),
                    path: output.path.to_string(),
                });
            }
        }
    }
    Ok(())
}

fn same_outputs(a: &Derivation, b: &Derivation) -> bool {
    let same = |(x, y): (&crate::nix::Output, &crate::nix::Output)| x.name == y.name && x.path == y.path;
    a.outputs.len() == b.outputs.len() && a.outputs.iter().zip(&b.outputs).all(same)
}

/// The input derivations of each, checked.
fn resolve(sorted: &[Derivation]) -> Result<Lists<DrvId>, GraphError> {
    let mut all: Vec<&StorePath> = sorted.iter().map(|drv| &drv.path).collect();
    all.extend(sorted.iter().flat_map(|drv| &drv.input_drvs).map(|(input, _)| input));
    let (rows, numbers) = number(&all);
    let mut found: Table<RowId, Option<DrvId>> = Table::filled(rows.len(), None);
    for (&row, id) in numbers.iter().take(sorted.len()).zip((0..).map(DrvId)) {
        found[row] = Some(id);
    }
    let mut numbers = numbers[sorted.len()..].iter();
    let mut inputs = Lists::new();
    for drv in sorted {
        let mut list = Vec::with_capacity(drv.input_drvs.len());
        for ((input, outputs), &row) in drv.input_drvs.iter().zip(&mut numbers) {
            let Some(id) = found[row] else {
                return Err(GraphError::MissingInput { drv: drv.path.to_string(), input: input.to_string() });
            };
            let has = &sorted[id.index()].outputs;
            if let Some(output) = outputs.iter().find(|name| !has.iter().any(|o| o.name == **name)) {
                return Err(GraphError::NoSuchOutput {
                    drv: drv.path.to_string(),
                    input: input.to_string(),
                    output: output.clone(),
                    has: has.iter().map(|o| o.name.as_str()).collect::<Vec<_>>().join(", "),
                });
            }
            list.push(id);
        }
        inputs.push(list);
    }
    Ok(inputs)
}

/// The shortest cycle through `on_cycle`, beginning with its smallest derivation.
fn describe_cycle(dag: &DiGraph<Derivation, ()>, on_cycle: NodeIndex) -> String {
    const SHOWN: usize = 12;
    let mut cycle = shortest_cycle(dag, on_cycle);
    if let Some(first) = (0..cycle.len()).min_by_key(|&i| cycle[i]) {
        cycle.rotate_left(first);
    }
    let mut text = String::new();
    for &n in cycle.iter().take(SHOWN) {
        text.push_str(dag[n].path.as_str());
        text.push_str(" -> ");
    }
    if cycle.len() > SHOWN {
        text.push_str(&format!("({} more) -> ", cycle.len() - SHOWN));
    }
    text.push_str(cycle.first().map_or("", |&n| dag[n].path.as_str()));
    text
}

/// The derivations of the shortest cycle through `on_cycle`, each once, user before input.
fn shortest_cycle(dag: &DiGraph<Derivation, ()>, on_cycle: NodeIndex) -> Vec<NodeIndex> {
    let mut from: Vec<Option<NodeIndex>> = vec![None; dag.node_count()];
    let mut queue = VecDeque::from([on_cycle]);
    while let Some(n) = queue.pop_front() {
        for next in dag.neighbors(n) {
            if next == on_cycle {
                let mut cycle = vec![n];
                let mut at = n;
                while let Some(before) = from[at.index()].filter(|_| at != on_cycle) {
                    cycle.push(before);
                    at = before;
                }
                cycle.reverse();
                return cycle;
            }
            if from[next.index()].is_none() {
                from[next.index()] = Some(n);
                queue.push_back(next);
            }
        }
    }
    vec![on_cycle]
}

#[cfg(test)]
mod tests;
