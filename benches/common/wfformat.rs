//! Recorded workflows in WfFormat 1.5 (wfcommons.org) as workloads.
//!
//! A task is a job, a file is a path. Files that no task makes are taken to be everywhere already, as the
//! published figures for schedulers on these workflows do: only what tasks make travels. An order
//! between two tasks that no file explains becomes an empty path from one to the other, and so does the
//! end of a task on which nothing depends: that is what is wanted, so that no results are brought home.

use std::collections::{BTreeMap, BTreeSet};

use drvdispatch::base::{Id, Span, Table};
use drvdispatch::graph::{Job, JobId, Origin, PathId, PathSpec, Workload};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    schema_version: String,
    workflow: Body,
}

#[derive(Deserialize)]
struct Body {
    specification: Specification,
    execution: Execution,
}

#[derive(Deserialize)]
struct Specification {
    tasks: Vec<Task>,
    #[serde(default)]
    files: Vec<Data>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Task {
    name: String,
    id: String,
    #[serde(default)]
    parents: Vec<String>,
    #[serde(default)]
    input_files: Vec<String>,
    #[serde(default)]
    output_files: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    id: String,
    size_in_bytes: u64,
}

#[derive(Deserialize)]
struct Execution {
    tasks: Vec<Executed>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Executed {
    id: String,
    runtime_in_seconds: f64,
}

/// Paths by their names, numbered as they come.
#[derive(Default)]
struct Paths {
    table: Table<PathId, PathSpec>,
    ids: BTreeMap<String, PathId>,
}

impl Paths {
    fn add(&mut self, name: &str, origin: Origin, size: u64) -> PathId {
        let path = PathSpec { path: name.to_owned(), origin, size, refs: Vec::new() };
        let id = self.table.push(path);
        self.ids.insert(name.to_owned(), id);
        id
    }
}

/// Reads a workflow, and how long its tasks ran.
pub fn read(json: &[u8]) -> Result<(Workload, Table<JobId, Span>), String> {
    let file: File = serde_json::from_slice(json).map_err(|e| format!("not WfFormat: {e}"))?;
    if file.schema_version != "1.5" {
        return Err(format!("WfFormat {} is not known, only 1.5", file.schema_version));
    }
    let Specification { tasks, files } = file.workflow.specification;
    let ids: BTreeMap<&str, JobId> =
        tasks.iter().enumerate().map(|(i, task)| (task.id.as_str(), JobId::from_index(i))).collect();
    let sizes: BTreeMap<&str, u64> = files.iter().map(|f| (f.id.as_str(), f.size_in_bytes)).collect();
    let parents = parents(&tasks, &ids)?;
    let used: BTreeSet<JobId> = parents.iter().flatten().copied().collect();
    let mut paths = Paths::default();
    let outputs = outputs(&tasks, &sizes, &mut paths)?;
    let (mut jobs, mut wanted) = (Table::new(), Vec::new());
    for (i, task) in tasks.iter().enumerate() {
        let made_by = |path: &PathId, paths: &Paths| match paths.table[*path].origin {
            Origin::Job(job) => Some(job),
            _ => None,
        };
        let mut inputs = BTreeSet::new();
        for name in &task.input_files {
            let Some(&id) = paths.ids.get(name) else { continue };
            // Some tasks name their own output as an input, or that of a task that comes after them.
            if made_by(&id, &paths).is_some_and(|maker| parents[i].contains(&maker)) {
                inputs.insert(id);
            }
        }
        let mut needs: BTreeSet<JobId> = inputs.iter().filter_map(|path| made_by(path, &paths)).collect();
        for parent in parents[i].iter().filter(|parent| !needs.contains(parent)) {
            inputs.insert(paths.ids[&marker(&tasks[parent.index()])]);
        }
        needs.extend(&parents[i]);
        if !used.contains(&JobId::from_index(i)) {
            wanted.push(paths.ids[&marker(task)]);
        }
        jobs.push(job(task, needs, inputs, outputs[i].clone()));
    }
    let work = Workload { jobs, paths: paths.table, wanted };
    // Twice the same task, or tasks that need each other.
    work.check().map_err(|e| e.to_string())?;
    let times = times(&tasks, &file.workflow.execution)?;
    Ok((work, times))
}

/// How long each task ran.
fn times(tasks: &[Task], execution: &Execution) -> Result<Table<JobId, Span>, String> {
    let times: BTreeMap<&str, f64> =
        execution.tasks.iter().map(|t| (t.id.as_str(), t.runtime_in_seconds)).collect();
    let time = |task: &Task| match times.get(task.id.as_str()) {
        Some(&seconds) if seconds >= 0.0 => Ok(Span::from_secs_f64(seconds)),
        Some(seconds) => Err(format!("task {} ran for {seconds} s", task.id)),
        None => Err(format!("task {} has no run time", task.id)),
    };
    tasks.iter().map(time).collect()
}

fn parents(tasks: &[Task], ids: &BTreeMap<&str, JobId>) -> Result<Vec<BTreeSet<JobId>>, String> {
    let known = |name: &String| ids.get(name.as_str()).copied().ok_or(format!("no task is called {name}"));
    tasks.iter().map(|task| task.parents.iter().map(known).collect()).collect()
}

fn marker(task: &Task) -> String {
    format!("end of {}", task.id)
}

/// The paths that each task makes: its files, and its end.
fn outputs(
    tasks: &[Task],
    sizes: &BTreeMap<&str, u64>,
    paths: &mut Paths,
) -> Result<Vec<Vec<PathId>>, String> {
    let mut all = Vec::new();
    for (i, task) in tasks.iter().enumerate() {
        let origin = Origin::Job(JobId::from_index(i));
        let mut made = Vec::new();
        for name in &task.output_files {
            // Of two tasks that write a file, the first counts.
            if !paths.ids.contains_key(name) {
                let size = sizes.get(name.as_str());
                let size = size.ok_or(format!("task {} makes {name}, which has no size", task.id))?;
                made.push(paths.add(name, origin, *size));
            }
        }
        made.push(paths.add(&marker(task), origin, 0));
        all.push(made);
    }
    Ok(all)
}

fn job(task: &Task, needs: BTreeSet<JobId>, inputs: BTreeSet<PathId>, outputs: Vec<PathId>) -> Job {
    Job {
        drv: task.id.clone(),
        name: task.name.clone(),
        system: "x86_64-linux".to_owned(),
        features: Vec::new(),
        needs: needs.into_iter().collect(),
        inputs: inputs.into_iter().collect(),
        outputs,
        fixed_output: false,
        prefer_local: false,
        parallel: false,
    }
}
