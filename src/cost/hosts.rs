//! Hosts by name and system, and how fast each is at the moment.

use std::collections::BTreeMap;

use super::params::CostParams;

/// One build moves the pace by at most this much of a unit of the logarithm, times the gain.
const MOST: f64 = 1.0;
/// Configured speeds are taken to be within this range.
const SPEEDS: (f64, f64) = (1e-3, 1e3);

/// Every host and system that was built on, numbered in the order of first sight.
#[derive(Clone, Debug, Default)]
pub(super) struct Hosts {
    indices: BTreeMap<String, BTreeMap<String, usize>>,
    names: Vec<(String, String)>,
    speeds: BTreeMap<String, f64>,
    systems: BTreeMap<(String, String), f64>,
    /// Logarithms of configured speeds, by index.
    pub configured: Vec<f64>,
    /// By index.
    paces: Vec<Pace>,
}

/// How much longer builds take at the moment than in the long run.
///
/// A host that is busy with something else, or throttled, is slow for hours, not for good: residuals of
/// builds that follow each other on one host have a correlation of 0.45, and of 0.24 twenty builds apart
/// (363 repeated builds on one host). So their moving average says something about the next build.
#[derive(Clone, Copy, Debug, Default)]
struct Pace {
    log: f64,
    /// When that was, in seconds since 1970.
    at: u64,
}

impl Pace {
    fn log_at(self, now: u64, params: &CostParams) -> f64 {
        let hours = now.saturating_sub(self.at) as f64 / 3600.0;
        self.log * (-hours / params.pace_hours).exp()
    }
}

impl Hosts {
    /// The speed that the user says a host has.
    pub fn configure(&mut self, host: &str, speed: f64) {
        self.speeds.insert(host.to_owned(), speed);
        self.reconfigure();
    }

    /// The speed that the user says a host has for one system.
    pub fn configure_system(&mut self, host: &str, system: &str, speed: f64) {
        self.systems.insert((host.to_owned(), system.to_owned()), speed);
        self.reconfigure();
    }

    fn reconfigure(&mut self) {
        self.configured = self.names.iter().map(|(host, system)| self.configured_log(host, system)).collect();
    }

    fn configured_log(&self, host: &str, system: &str) -> f64 {
        let of_system = self.systems.get(&(host.to_owned(), system.to_owned()));
        let speed = of_system.or_else(|| self.speeds.get(host)).copied().unwrap_or(1.0);
        // What is no number becomes 1.
        if speed.is_nan() { 0.0 } else { speed.clamp(SPEEDS.0, SPEEDS.1).ln() }
    }

    /// The index of a host and system, given now if it has none.
    pub fn index(&mut self, host: &str, system: &str) -> usize {
        if let Some(index) = self.find(host, system) {
            return index;
        }
        let index = self.names.len();
        self.indices.entry(host.to_owned()).or_default().insert(system.to_owned(), index);
        self.names.push((host.to_owned(), system.to_owned()));
        self.configured.push(self.configured_log(host, system));
        self.paces.push(Pace::default());
        index
    }

    /// The index of a host and system that was built on.
    pub fn find(&self, host: &str, system: &str) -> Option<usize> {
        self.indices.get(host)?.get(system).copied()
    }

    /// The logarithm of the configured speed of a host that may never have been built on.
    pub fn expected_log(&self, host: &str, system: &str) -> f64 {
        self.configured_log(host, system)
    }

    /// By how much longer builds take at a time than in the long run, as a logarithm.
    pub fn pace(&self, index: usize, now: u64, params: &CostParams) -> f64 {
        self.paces[index].log_at(now, params)
    }

    /// A build that ended then took this much longer than was estimated for the pace before.
    pub fn observe(&mut self, index: usize, now: u64, residual: f64, params: &CostParams) {
        let pace = &mut self.paces[index];
        let log = pace.log_at(now, params) + params.pace_gain * residual.clamp(-MOST, MOST);
        *pace = Pace { log, at: now.max(pace.at) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_have_the_speed_that_was_configured_before_or_after() {
        let mut hosts = Hosts::default();
        hosts.configure("a", 2.0);
        let index = hosts.index("a", "x");
        assert_eq!(hosts.index("a", "x"), index);
        let other = hosts.index("a", "y");
        hosts.configure_system("a", "y", 0.1);
        assert_eq!(hosts.configured, [2f64.ln(), 0.1f64.ln()]);
        assert_eq!((hosts.find("a", "y"), hosts.find("b", "y")), (Some(other), None));
        hosts.configure("a", f64::NAN);
        assert_eq!(hosts.configured[index], 0.0);
        hosts.configure("a", 0.0);
        assert!(hosts.configured[index].is_finite());
    }

    #[test]
    fn a_pace_is_caught_up_with_and_forgotten() {
        let (mut hosts, params) = (Hosts::default(), CostParams::default());
        let index = hosts.index("a", "x");
        for build in 0..40 {
            let off = 0.5 - hosts.pace(index, build, &params);
            hosts.observe(index, build, off, &params);
        }
        assert!((hosts.pace(index, 40, &params) - 0.5).abs() < 0.05);
        assert!(hosts.pace(index, 40 + 24 * 3600, &params) < 0.02, "a day later");
        let before = hosts.pace(index, 40, &params);
        hosts.observe(index, 40, 1e9, &params);
        assert!(hosts.pace(index, 40, &params) < before + 0.2, "one absurd build");
    }
}
