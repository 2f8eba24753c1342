//! From the arguments to the work of a run, for the verbs that have one.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::args::What;
use super::error::CliError;
use super::setup::Setup;
use crate::dispatch::{
    Access, Evaluator, LoadError, Root, Session, graph_from, graph_of, missing_work, read_drv_file,
    whole_work,
};
use crate::fleet::HostId;
use crate::graph::{Graph, Workload};
use crate::nix::{DEFAULT_STORE_DIR, ShowError};

/// What is to be done, and for whom.
pub struct Prepared {
    /// What the user asked for, in the order of the arguments.
    pub roots: Vec<Root>,
    /// What has to be built and moved for it.
    pub work: Workload,
    /// Compressed bytes that come from substituters.
    pub download: u64,
    /// Keeps what is there from being collected; absent without a store.
    pub session: Option<Session>,
}

/// Evaluates, loads the graph and asks what is missing. What Nix says goes to `say`.
///
/// # Errors
/// Any of that fails.
pub fn load(setup: &Setup, what: &What, say: &mut dyn FnMut(&str)) -> Result<Prepared, CliError> {
    let options = what.eval_options();
    let given = what.graph.as_deref().map(read_graph).transpose()?;
    let arguments = what.arguments();
    let roots = if let (Some(graph), true) = (&given, arguments.is_empty()) {
        all_roots(graph)
    } else {
        let mut evaluator = Evaluator {
            nix: &setup.nix,
            options: &options,
            store_dir: DEFAULT_STORE_DIR,
            read_drv: &read_drv_file,
            stderr: say,
        };
        evaluator.roots(&arguments)?
    };
    let graph = match given {
        Some(graph) => graph,
        None => graph_of(&setup.nix, &roots, &options, say)?,
    };
    let load = missing_work(&graph, &roots, &setup.access[HostId::HOME])?;
    Ok(Prepared { roots, work: load.work, download: load.download, session: Some(load.roots) })
}

/// A graph from a file, as if nothing of it had been built; needs no store.
///
/// # Errors
/// The file cannot be read or understood.
pub fn load_whole(path: &Path) -> Result<Prepared, CliError> {
    let graph = read_graph(path)?;
    let roots = all_roots(&graph);
    let work = whole_work(&graph, &[])?;
    Ok(Prepared { roots, work, download: 0, session: None })
}

/// The derivations that nothing else in the graph needs, with all their outputs.
fn all_roots(graph: &Graph) -> Vec<Root> {
    let root = |(from, drv)| {
        let drv = graph.drv(drv);
        let outputs = drv.outputs.iter().map(|o| (o.name.clone(), o.path.clone())).collect();
        Root { drv: drv.path.clone(), outputs, from }
    };
    graph.roots().into_iter().enumerate().map(root).collect()
}

fn read_graph(path: &Path) -> Result<Graph, CliError> {
    let stdin = path == Path::new("-");
    let name = if stdin { "standard input".to_owned() } else { path.display().to_string() };
    let mut json = Vec::new();
    let read = if stdin {
        std::io::stdin().lock().read_to_end(&mut json)
    } else {
        std::fs::File::open(path).and_then(|mut file| file.read_to_end(&mut json))
    };
    read.map_err(CliError::io(format!("reading the graph from {name}")))?;
    graph_from(&json, &name).map_err(|error| match error {
        // What is of another form altogether; other errors are about one derivation of the right form.
        LoadError::Show { from, cause: cause @ (ShowError::Json { .. } | ShowError::Entry { .. }) } => {
            CliError::Graph { from, cause }
        }
        other => other.into(),
    })
}

/// Every host with its slots, for the crew.
pub fn slots(setup: &Setup) -> Vec<(Arc<Access>, u32)> {
    setup.fleet.hosts.iter().map(|(id, host)| (Arc::clone(&setup.access[id]), host.slots)).collect()
}

/// The threads that child processes, timers and signals need.
///
/// # Errors
/// The system has no threads left.
pub fn runtime() -> Result<tokio::runtime::Runtime, CliError> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(CliError::io("starting threads"))
}

/// Seconds since 1970.
pub fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}
