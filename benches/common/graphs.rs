//! The graphs that schedules are measured on.
//!
//! Graphs of Nix derivations have durations, sizes and references drawn by a seed ([`Model`]); workflows
//! come with what was measured when they ran. What is not in this repository is looked for in the data
//! folder, and left out where there is none.

use std::io::Read;
use std::path::{Path, PathBuf};

use drvdispatch::base::{Random, Span, Table};
use drvdispatch::cost::guess_sizes;
use drvdispatch::graph::{Graph, JobId, PathSpec, Workload};
use drvdispatch::nix::parse_show;
use drvdispatch::sim::Model;
use serde_json::{Value, json};

use super::wfformat;

/// Where a graph comes from, and how its durations are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// Derivations; durations are drawn.
    Nix,
    /// A recorded workflow of another field; durations are measured.
    Workflow,
}

impl Family {
    pub fn name(self) -> &'static str {
        match self {
            Family::Nix => "nix",
            Family::Workflow => "workflows",
        }
    }
}

/// A graph without a seed.
#[derive(Clone, Debug)]
pub struct Source {
    pub name: String,
    pub family: Family,
    work: Workload,
    measured: Option<Table<JobId, Span>>,
}

/// A graph with what is true of it in one made-up world.
#[derive(Clone, Debug)]
pub struct Input {
    /// What the world knows: real sizes and references.
    pub real: Workload,
    /// What the scheduler is told.
    pub told: Workload,
    /// What each job takes on one core of speed 1.
    pub truth: Table<JobId, Span>,
    /// Which part of it more cores make shorter.
    pub parallel: Table<JobId, f64>,
}

impl Source {
    /// Its size, and how unevenly the work in it is spread.
    pub fn about(&self) -> String {
        let mut times: Vec<f64> = self.seeded(0).truth.rows().iter().map(|t| t.as_secs_f64()).collect();
        times.sort_by(|a, b| b.total_cmp(a));
        let all: f64 = times.iter().sum();
        let longest: f64 = times.iter().take(times.len().div_ceil(100)).sum();
        format!(
            "{} jobs, {:.1} h of work, {:.0} % of it in the longest 1 %",
            times.len(),
            all / 3600.0,
            100.0 * longest / all
        )
    }

    pub fn seeded(&self, seed: u64) -> Input {
        let model = Model { seed };
        let (mut real, mut told) = (self.work.clone(), self.work.clone());
        let truth = self.measured.clone().unwrap_or_else(|| model.durations(&real));
        if self.family == Family::Nix {
            model.fill_paths(&mut real);
            guess_sizes(&mut told);
        }
        let parallel = model.parallel(&real, &truth);
        Input { real, told, truth, parallel }
    }
}

impl Input {
    /// The same with each other job, by chance, for another system.
    pub fn mixed(mut self, system: &str, seed: u64) -> Self {
        let mut random = Random::new(seed);
        for (job, told) in self.told.jobs.iter_mut() {
            if random.below(2) == 0 {
                system.clone_into(&mut told.system);
                system.clone_into(&mut self.real.jobs[job].system);
            }
        }
        self
    }
}

/// The folder of what is not in this repository.
pub fn data() -> PathBuf {
    match std::env::var_os("BENCH_DATA") {
        Some(dir) => PathBuf::from(dir),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"),
    }
}

/// Reads a file, unpacked if it is packed.
pub fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let file = std::fs::File::open(path)?;
    let mut bytes = Vec::new();
    match path.extension().is_some_and(|e| e == "gz") {
        true => flate2::read::GzDecoder::new(file).read_to_end(&mut bytes)?,
        false => std::io::BufReader::new(file).read_to_end(&mut bytes)?,
    };
    Ok(bytes)
}

/// All graphs whose name contains one of `names` (or all, for none), and what could not be read and why.
pub fn sources(names: &[String]) -> (Vec<Source>, Vec<String>) {
    let wanted = |name: &str| names.is_empty() || names.iter().any(|part| name.contains(part.as_str()));
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    let mut take = |name: &str, source: Result<Source, String>| match source {
        Ok(source) => found.push(source),
        Err(why) => missing.push(format!("{name}: {why}")),
    };
    if wanted("system") {
        take("system", system());
    }
    if wanted("distribution") {
        take("distribution", distribution());
    }
    let dir = data().join("workflows");
    let mut files: Vec<PathBuf> = match std::fs::read_dir(&dir) {
        Ok(entries) => entries.filter_map(|entry| Some(entry.ok()?.path())).collect(),
        Err(error) => {
            let is_asked =
                |part: &String| !["system", "distribution"].iter().any(|own| own.contains(part.as_str()));
            if names.is_empty() || names.iter().any(is_asked) {
                take("workflows", Err(format!("{}: {error}", dir.display())));
            }
            Vec::new()
        }
    };
    let is_there = !files.is_empty();
    files.retain(|file| file.to_string_lossy().ends_with(".json.gz"));
    files.sort();
    for file in files {
        let name = file.file_name().unwrap_or_default().to_string_lossy().replace(".json.gz", "");
        if wanted(&name) {
            take(&name, workflow(&name, &file));
        }
    }
    for part in names.iter().filter(|_| is_there) {
        let is_part = |name: &str| name.contains(part.as_str());
        if !found.iter().any(|source| is_part(&source.name)) && !missing.iter().any(|why| is_part(why)) {
            missing.push(format!("{part}: no graph has this in its name"));
        }
    }
    (found, missing)
}

/// The graph of a NixOS system, as this repository has it.
pub fn system() -> Result<Source, String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/graphs/system-facts.json");
    let facts = read(&file).map_err(|e| format!("{}: {e}", file.display()))?;
    let mut json: Value = serde_json::from_slice(&facts).map_err(|e| e.to_string())?;
    complete(&mut json);
    nix("system", json.to_string().as_bytes())
}

/// The largest graph: a distribution.
pub fn distribution() -> Result<Source, String> {
    nix("distribution", &distribution_json()?)
}

/// What Nix prints of it.
pub fn distribution_json() -> Result<Vec<u8>, String> {
    let file = data().join("graphs/distribution-nix2.34.json.gz");
    read(&file).map_err(|e| format!("{}: {e}", file.display()))
}

fn nix(name: &str, json: &[u8]) -> Result<Source, String> {
    let derivations = parse_show(json).map_err(|e| e.to_string())?;
    let graph = Graph::new(derivations).map_err(|e| e.to_string())?;
    let work = Workload::from_graph_all(&graph, &graph.roots());
    Ok(Source { name: name.to_owned(), family: Family::Nix, work, measured: None })
}

fn workflow(name: &str, file: &Path) -> Result<Source, String> {
    let json = read(file).map_err(|e| format!("{}: {e}", file.display()))?;
    let (work, measured) = wfformat::read(&json)?;
    Ok(Source { name: name.to_owned(), family: Family::Workflow, work, measured: Some(measured) })
}

/// Facts leave out what does not decide scheduling: builders, output paths and the hashes of fixed
/// outputs. Any will do.
fn complete(facts: &mut Value) {
    let Some(derivations) = facts["derivations"].as_object_mut() else { return };
    for (key, drv) in derivations {
        let base = key.trim_end_matches(".drv").to_owned();
        drv["builder"] = json!("/bin/sh");
        drv["inputs"]["srcs"] = json!([]);
        // Those of structured attributes are no strings.
        let as_text = |value: &Value| match value {
            Value::Bool(yes) => if *yes { "1" } else { "" }.to_owned(),
            Value::Array(words) => words.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "),
            other => other.as_str().unwrap_or_default().to_owned(),
        };
        if let Some(env) = drv["env"].as_object_mut() {
            env.values_mut().for_each(|value| *value = json!(as_text(value)));
        }
        let Some(outputs) = drv["outputs"].as_object_mut() else { continue };
        for (name, output) in outputs {
            let path = if name == "out" { base.clone() } else { format!("{base}-{name}") };
            output["path"] = json!(path);
            if output.get("method").is_some() {
                output["hash"] = json!("of no use here");
            }
        }
    }
}

/// A made-up graph of any size, about as deep as those of distributions, with near and far inputs.
pub fn made_up(jobs: usize, seed: u64) -> Source {
    use drvdispatch::graph::{Job, Origin, PathId};
    let mut random = Random::new(seed);
    let mut work = Workload::default();
    for i in 0..jobs as u32 {
        let id = JobId(i);
        let reach = u64::from(i).min(jobs as u64 / 40 + 100);
        let mut needs: Vec<JobId> = (0..random.below(9).min(u64::from(i)))
            .map(|_| JobId(i - 1 - random.below(reach) as u32))
            .collect();
        needs.sort_unstable();
        needs.dedup();
        let path = format!("/nix/store/{i:032}-n{i}");
        let output = work.paths.push(PathSpec { path, origin: Origin::Job(id), size: 0, refs: Vec::new() });
        work.jobs.push(Job {
            drv: format!("/nix/store/{i:032}-n{i}.drv"),
            name: format!("n{i}"),
            system: "x86_64-linux".to_owned(),
            features: Vec::new(),
            inputs: needs.iter().map(|need| PathId(need.0)).collect(),
            needs,
            outputs: vec![output],
            fixed_output: i % 5 == 0,
            prefer_local: false,
            parallel: i % 2 == 0,
        });
    }
    let mut used = vec![false; jobs];
    work.jobs.rows().iter().flat_map(|job| &job.needs).for_each(|need| used[need.0 as usize] = true);
    work.wanted = (0..jobs as u32).filter(|&i| !used[i as usize]).map(PathId).collect();
    Source { name: format!("made-up-{jobs}"), family: Family::Nix, work, measured: None }
}
