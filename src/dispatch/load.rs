//! From root derivations to the work of a run: the graph by `nix derivation show`, what of it is
//! missing by this machine's daemon.

use std::collections::{BTreeMap, BTreeSet};

use super::evaluate::Root;
use super::nix_cli::{EvalOptions, NixCli, NixError, Stderr};
use super::session::{Access, Session, Trouble};
use crate::cost;
use crate::graph::{DrvId, Graph, GraphError, Missing, Origin, PathId, Workload};
use crate::nix::wire::WireError;
use crate::nix::{Derivation, ShowError, StorePath, parse_show};

/// Why there is no work to be had.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Nix failed.
    #[error(transparent)]
    Nix(#[from] NixError),
    /// The JSON is not understood.
    #[error("{from}: {cause}")]
    Show {
        /// A file, or the command that printed it.
        from: String,
        /// What is wrong.
        cause: ShowError,
    },
    /// The derivations do not make a graph.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// This machine's daemon cannot be reached.
    #[error("{0}")]
    Local(Trouble),
    /// This machine's daemon does not answer as it should.
    #[error("this machine's Nix: {0}")]
    Daemon(#[from] WireError),
    /// A root that the graph lacks.
    #[error("the graph has no derivation {0}; it was made from something else, so make it anew")]
    NoRoot(StorePath),
    /// A derivation that the store lacks, so that nobody knows what is missing for it.
    #[error(
        "the derivation {0} is not in this machine's store; evaluate it here, or bring it here with \
         `nix copy --derivation` (`plan` and `split` need no store with `--offline`)"
    )]
    NotHere(String),
    /// Paths that can neither be built nor fetched.
    #[error("{} can be neither built nor fetched: {}; check the substituters, or add the missing source", plural(.0.len()), .0.join(", "))]
    Unknown(Vec<String>),
}

fn plural(n: usize) -> &'static str {
    if n == 1 { "a path" } else { "paths" }
}

/// Reads what `nix derivation show -r` prints of the roots.
///
/// # Errors
/// Nix fails or prints what is not understood.
pub fn graph_of(
    nix: &NixCli,
    roots: &[Root],
    options: &EvalOptions,
    stderr: Stderr,
) -> Result<Graph, LoadError> {
    let drvs: BTreeSet<&str> = roots.iter().map(|r| r.drv.as_str()).collect();
    let drvs: Vec<&str> = drvs.into_iter().collect();
    let mut all: BTreeMap<StorePath, Derivation> = BTreeMap::new();
    for json in nix.derivation_show(&drvs, options, stderr)? {
        let some = parse(&json, "nix derivation show")?;
        all.extend(some.into_iter().map(|drv| (drv.path.clone(), drv)));
    }
    Ok(Graph::new(all.into_values().collect())?)
}

/// Reads a graph from the JSON of `nix derivation show -r`; `from` names it in errors.
///
/// # Errors
/// It is not understood.
pub fn graph_from(json: &[u8], from: &str) -> Result<Graph, LoadError> {
    Ok(Graph::new(parse(json, from)?)?)
}

fn parse(json: &[u8], from: &str) -> Result<Vec<Derivation>, LoadError> {
    parse_show(json).map_err(|cause| LoadError::Show { from: from.to_owned(), cause })
}

/// The work that is left, and the connection that keeps what is there from being collected.
pub struct Load {
    /// The work.
    pub work: Workload,
    /// Compressed bytes that substituters will send.
    pub download: u64,
    /// Holds temporary roots for as long as it lives.
    pub roots: Session,
}

/// Asks this machine's daemon what of the roots is missing.
///
/// # Errors
/// The daemon cannot be reached or does not answer, or something can be had nowhere.
pub fn missing_work(graph: &Graph, roots: &[Root], home: &Access) -> Result<Load, LoadError> {
    let mut session = home.open(None).map_err(LoadError::Local)?;
    let names = |root: &Root| root.outputs.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    let targets: Vec<String> = roots.iter().map(|r| format!("{}!{}", r.drv, names(r).join(","))).collect();
    for root in roots {
        // A derivation refers to its inputs, so this keeps the whole graph, and the sources with it.
        session.client.add_temp_root(root.drv.as_str())?;
    }
    // Which includes asking the substituters.
    session.client.get_mut().set_patience(Some(home.patience().fetching));
    let answer = session.client.query_missing(&targets)?;
    session.client.get_mut().set_patience(Some(home.patience().asking));
    let (lost, unknown): (Vec<String>, Vec<String>) =
        answer.unknown.into_iter().partition(|p| p.ends_with(".drv"));
    if let Some(drv) = lost.into_iter().next() {
        return Err(LoadError::NotHere(drv));
    }
    if !unknown.is_empty() {
        return Err(LoadError::Unknown(unknown));
    }
    let missing = Missing {
        build: answer.will_build.iter().filter_map(|p| StorePath::parse(p).ok()).collect(),
        substitute: answer
            .will_substitute
            .iter()
            .filter_map(|p| StorePath::parse(p).ok().map(|p| (p, None)))
            .collect(),
    };
    let wanted = wanted(graph, roots)?;
    let mut work = Workload::from_graph(graph, &wanted, &missing);
    describe_paths(&mut work, &mut session)?;
    cost::guess_sizes(&mut work);
    Ok(Load { work, download: answer.download_size, roots: session })
}

/// All of a graph as work, as if nothing had been built anywhere; without a store. With no `roots`,
/// everything that nothing else needs is wanted.
///
/// # Errors
/// The graph lacks a root.
pub fn whole_work(graph: &Graph, roots: &[Root]) -> Result<Workload, LoadError> {
    let starts: Vec<DrvId> = match roots {
        [] => graph.roots(),
        roots => wanted(graph, roots)?.into_iter().map(|(drv, _)| drv).collect(),
    };
    let mut work = Workload::from_graph_all(graph, &starts);
    cost::guess_sizes(&mut work);
    Ok(work)
}

fn wanted(graph: &Graph, roots: &[Root]) -> Result<Vec<(DrvId, Vec<String>)>, LoadError> {
    let one = |root: &Root| {
        let drv = graph.find(root.drv.as_str()).ok_or_else(|| LoadError::NoRoot(root.drv.clone()))?;
        Ok((drv, root.outputs.iter().map(|(name, _)| name.clone()).collect()))
    };
    roots.iter().map(one).collect()
}

/// Sizes and references of what is valid here, and temporary roots for it and for what is to come.
fn describe_paths(work: &mut Workload, session: &mut Session) -> Result<(), LoadError> {
    let ids: BTreeMap<String, PathId> = work.paths.iter().map(|(id, p)| (p.path.clone(), id)).collect();
    for &path in &work.wanted {
        session.client.add_temp_root(&work.paths[path].path)?;
    }
    for (id, spec) in work.paths.iter_mut().filter(|(_, spec)| spec.origin == Origin::Home) {
        session.client.add_temp_root(&spec.path)?;
        let Some(info) = session.client.query_path_info(&spec.path)? else { continue };
        spec.size = info.nar_size;
        spec.refs = info.references.iter().filter_map(|r| ids.get(r).copied()).filter(|&r| r != id).collect();
        spec.refs.sort_unstable();
    }
    Ok(())
}
