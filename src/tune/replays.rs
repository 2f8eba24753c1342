//! Recorded runs as a search simulates them: under any settings, each with what was known before it began.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::search::Pair;
use super::settings::Settings;
use crate::base::{Random, Table, Time};
use crate::cost::{Cost, CostParams, Memory, Sample};
use crate::drive::Watch;
use crate::graph::JobId;
use crate::run::{Event, Order};
use crate::sim::{Conditions, Estimates, Recording};

/// Standard deviation of the logarithm of what a package takes when it is built again. Of 832 merges on one
/// host over six weeks, those of the same package differed by 0.36 (robust).
const NOISE: f64 = 0.36;

/// With fewer builds than this a run's makespan says nothing of how well it was scheduled.
pub const FEWEST_BUILDS: usize = 10;

/// A run to learn from.
#[derive(Clone, Debug)]
pub struct Run {
    /// What the user knows it by.
    pub name: String,
    /// When it began, in seconds since 1970.
    pub started: u64,
    /// What it was.
    pub recording: Recording,
}

/// Why a run is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// It built next to nothing.
    Small,
    /// Not all that was wanted gets built when it is gone through again: builds failed, or hosts were lost.
    Incomplete,
}

impl std::fmt::Display for Unfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Unfit::Small => write!(f, "it built fewer than {FEWEST_BUILDS} derivations"),
            Unfit::Incomplete => f.write_str("not all that was wanted got built"),
        }
    }
}

/// Estimates for each of some runs.
type Estimated = Vec<Arc<Table<JobId, Cost>>>;

/// Runs, and what was learned from all builds before each.
pub struct Replays {
    runs: Vec<Run>,
    samples: Vec<Sample>,
    seed: u64,
    /// What was estimated before each run under certain parameters of the estimator, as they are written.
    known: Mutex<BTreeMap<String, Arc<OnceLock<Estimated>>>>,
}

impl Replays {
    /// `samples` are all builds there are, in any order. Another `seed` draws other durations.
    pub fn new(runs: Vec<Run>, mut samples: Vec<Sample>, seed: u64) -> Replays {
        samples.sort_by_key(|sample| sample.stopped);
        Replays { runs, samples, seed, known: Mutex::default() }
    }

    /// Takes out the runs that say nothing, and returns them with the reason.
    pub fn leave_out_unfit(&mut self, settings: &Settings) -> Vec<(Run, Unfit)> {
        let unfit = |run: usize| {
            let small = self.runs[run].recording.built < FEWEST_BUILDS;
            let incomplete = || self.makespan(settings, Pair { run, seed: 0 }).is_none();
            if small { Some(Unfit::Small) } else { incomplete().then_some(Unfit::Incomplete) }
        };
        let verdicts: Vec<Option<Unfit>> = (0..self.runs.len()).map(unfit).collect();
        let (mut kept, mut out) = (Vec::new(), Vec::new());
        for (run, verdict) in std::mem::take(&mut self.runs).into_iter().zip(verdicts) {
            match verdict {
                None => kept.push(run),
                Some(why) => out.push((run, why)),
            }
        }
        self.runs = kept;
        self.known.get_mut().unwrap_or_else(PoisonError::into_inner).clear();
        out
    }

    /// The runs.
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// The builds, in the order of time.
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// What is known before the first build: the hosts as they were configured in the oldest run that had them.
    pub fn unlearned(&self, params: &CostParams) -> Memory {
        let mut memory = Memory::new(params.clone());
        let mut by_age: Vec<&Run> = self.runs.iter().collect();
        by_age.sort_by_key(|run| run.started);
        let mut known: BTreeSet<&str> = BTreeSet::new();
        for host in by_age.into_iter().flat_map(|run| run.recording.told_hosts.rows()) {
            if known.insert(&host.name) {
                memory.configure(&host.name, host.speed);
                for system in host.emulated.keys() {
                    memory.configure_system(&host.name, system, host.speed_for(system));
                }
            }
        }
        memory
    }

    /// What a run takes under these settings, in seconds; `None` if not all that is wanted gets built.
    pub fn makespan(&self, settings: &Settings, Pair { run, seed }: Pair) -> Option<f64> {
        let recording = &self.runs[run].recording;
        let conditions = Conditions {
            policy: settings.policy.clone().decided_as(&recording.policy),
            estimates: Estimates::Given(self.estimates(run, &settings.cost)),
            noise: if seed == 0 { 0.0 } else { NOISE },
            seed: Random::keyed(self.seed, seed).next_u64(),
            ..Conditions::as_recorded(recording)
        };
        let mut end = End(Time::ZERO);
        let (scheduler, _) = recording.watched(&conditions, &mut end);
        scheduler.verdict().missing.is_empty().then(|| end.0.since(Time::ZERO).as_secs_f64())
    }

    fn estimates(&self, run: usize, params: &CostParams) -> Arc<Table<JobId, Cost>> {
        let key = serde_json::to_string(params).unwrap_or_default();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let estimated = Arc::clone(known.entry(key).or_default());
        drop(known);
        Arc::clone(&estimated.get_or_init(|| self.estimated(params))[run])
    }

    /// Learns from all builds, and estimates each run's jobs when it began.
    fn estimated(&self, params: &CostParams) -> Estimated {
        let mut memory = self.unlearned(params);
        let mut by_age: Vec<usize> = (0..self.runs.len()).collect();
        by_age.sort_by_key(|&run| self.runs[run].started);
        let mut estimated: Estimated = vec![Arc::default(); self.runs.len()];
        let mut samples = self.samples.iter().peekable();
        for run in by_age {
            while let Some(sample) = samples.next_if(|sample| sample.stopped <= self.runs[run].started) {
                memory.learn(sample);
            }
            estimated[run] = Arc::new(memory.estimates(&self.runs[run].recording.told));
        }
        estimated
    }
}

/// Looks at nothing but when the last thing happened.
struct End(Time);

impl Watch for End {
    fn event(&mut self, at: Time, _event: &Event) {
        self.0 = self.0.max(at);
    }

    fn order(&mut self, _at: Time, _order: &Order) {}
}
