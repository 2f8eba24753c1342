//! Builds that share the processors of their hosts.
//!
//! A build takes as long as [`crate::cost::amdahl`] says for the cores that it was given. While more cores are given out on a host than it has, all its
//! builds slow down in proportion, as under a fair operating system.

use slab::Slab;

use super::progress::{Forecast, Progress, Stamp};
use crate::base::{Table, Time};
use crate::fleet::HostId;
use crate::graph::JobId;
use crate::run::Attempt;

/// A build under way.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub job: JobId,
    pub attempt: Attempt,
    pub host: HostId,
    pub began: Time,
}

#[derive(Clone, Debug)]
struct RunState {
    run: Run,
    /// The cores it keeps busy.
    cores: u32,
    /// Microseconds of its own, and how many there are in all.
    work: Progress,
    whole: f64,
    stamp: Stamp,
}

#[derive(Clone, Debug)]
struct HostState {
    /// 0 where unknown: then builds do not get in each other's way.
    cores: u32,
    /// How fast it is at the moment, where 1 is as usual.
    pace: f64,
    given: u64,
    runs: Vec<u32>,
}

/// All hosts and what they build.
#[derive(Clone, Debug)]
pub(super) struct Processors {
    hosts: Table<HostId, HostState>,
    runs: Slab<RunState>,
    stamp: Stamp,
}

impl Processors {
    /// Hosts with so many cores; 0 where unknown.
    pub fn new(cores: impl IntoIterator<Item = u32>) -> Self {
        let host = |cores| HostState { cores, pace: 1.0, given: 0, runs: Vec::new() };
        Self { hosts: cores.into_iter().map(host).collect(), runs: Slab::new(), stamp: Stamp::FIRST }
    }

    /// Begins a build that takes `micros` with as many cores to itself as it keeps busy. `out` gets the
    /// new ends of all builds whose rate changes.
    pub fn begin(&mut self, at: Time, run: Run, cores: u32, micros: f64, out: &mut Vec<Forecast>) {
        let host = run.host;
        let (work, stamp) = (Progress::new(at, micros), self.stamp.next());
        let index = self.runs.insert(RunState { run, cores, work, whole: micros, stamp });
        let index = u32::try_from(index).expect("there are fewer than 2^32 builds at a time");
        let before = self.hosts[host].rate();
        self.hosts[host].given += u64::from(cores);
        self.hosts[host].runs.push(index);
        self.follow(at, host, before, out);
        let rate = self.hosts[host].rate();
        self.set_rate(at, index, rate, out);
    }

    /// Ends a build and returns it; `out` gets the new ends of all builds whose rate changes.
    pub fn end(&mut self, at: Time, index: u32, out: &mut Vec<Forecast>) -> Option<Run> {
        let state = self.runs.try_remove(index as usize)?;
        let host = state.run.host;
        let before = self.hosts[host].rate();
        self.hosts[host].given -= u64::from(state.cores);
        self.hosts[host].runs.retain(|&other| other != index);
        self.follow(at, host, before, out);
        Some(state.run)
    }

    /// Changes how fast a host is; `out` gets the new ends of its builds.
    pub fn set_pace(&mut self, at: Time, host: HostId, pace: f64, out: &mut Vec<Forecast>) {
        let before = self.hosts[host].rate();
        self.hosts[host].pace = pace;
        self.follow(at, host, before, out);
    }

    /// Whether a forecast of the end of a build still stands.
    pub fn stands(&self, index: u32, stamp: Stamp) -> bool {
        self.runs.get(index as usize).is_some_and(|state| state.stamp == stamp)
    }

    /// The builds on a host.
    pub fn on(&self, host: HostId) -> &[u32] {
        &self.hosts[host].runs
    }

    /// The build of a job's attempt on a host, if it is under way.
    pub fn find(&self, host: HostId, job: JobId, attempt: Attempt) -> Option<u32> {
        let is_it = |run: &Run| run.job == job && run.attempt == attempt;
        let is = |index: &&u32| self.runs.get(**index as usize).is_some_and(|state| is_it(&state.run));
        self.hosts[host].runs.iter().find(is).copied()
    }

    /// Which part of its work a build has done, if it is under way.
    pub fn part_done(&self, at: Time, host: HostId, job: JobId, attempt: Attempt) -> Option<f64> {
        let state = self.runs.get(self.find(host, job, attempt)? as usize)?;
        (state.whole > 0.0).then(|| 1.0 - state.work.left(at) / state.whole)
    }

    /// Gives a host's builds its new rate, if it has one.
    fn follow(&mut self, at: Time, host: HostId, before: f64, out: &mut Vec<Forecast>) {
        let rate = self.hosts[host].rate();
        if rate != before {
            for i in 0..self.hosts[host].runs.len() {
                self.set_rate(at, self.hosts[host].runs[i], rate, out);
            }
        }
    }

    fn set_rate(&mut self, at: Time, index: u32, rate: f64, out: &mut Vec<Forecast>) {
        let Some(state) = self.runs.get_mut(index as usize) else { return };
        if state.work.set_rate(at, rate) {
            state.stamp = self.stamp.next();
            out.extend(state.work.end().map(|end| Forecast { index, stamp: state.stamp, end }));
        }
    }
}

impl HostState {
    fn rate(&self) -> f64 {
        let cores = u64::from(self.cores);
        let share = if cores == 0 || self.given <= cores { 1.0 } else { cores as f64 / self.given as f64 };
        self.pace * share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(job: u32) -> Run {
        Run { job: JobId(job), attempt: Attempt(0), host: HostId::HOME, began: Time::ZERO }
    }

    fn ends(out: &mut Vec<Forecast>) -> Vec<(u32, u64)> {
        out.drain(..).map(|forecast| (forecast.index, forecast.end.0)).collect()
    }

    #[test]
    fn builds_slow_down_when_more_cores_are_given_than_there_are() {
        let mut host = Processors::new([4]);
        let mut out = Vec::new();
        host.begin(Time(0), run(0), 2, 100.0, &mut out);
        host.begin(Time(0), run(1), 2, 100.0, &mut out);
        assert_eq!(ends(&mut out), [(0, 100), (1, 100)]);
        // Eight cores given, four there: everything takes twice as long from now on.
        host.begin(Time(50), run(2), 4, 100.0, &mut out);
        assert_eq!(ends(&mut out), [(0, 150), (1, 150), (2, 250)]);
        host.end(Time(150), 0, &mut out);
        host.end(Time(150), 1, &mut out);
        assert_eq!(ends(&mut out).last(), Some(&(2, 200)));
    }

    #[test]
    fn nobody_is_in_the_way_where_cores_are_unknown() {
        let mut host = Processors::new([0]);
        let mut out = Vec::new();
        for job in 0..9 {
            host.begin(Time(0), run(job), 64, 100.0, &mut out);
        }
        assert!(ends(&mut out).into_iter().all(|(_, end)| end == 100));
        host.set_pace(Time(50), HostId::HOME, 0.5, &mut out);
        assert!(ends(&mut out).into_iter().all(|(_, end)| end == 150));
        assert_eq!(host.find(HostId::HOME, JobId(3), Attempt(0)), Some(3));
        assert_eq!(host.find(HostId::HOME, JobId(3), Attempt(1)), None);
    }
}
