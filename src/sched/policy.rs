//! The numbers and switches that a schedule depends on. A policy is a value: the log's header carries it.
//!
//! The named ones are what the default is measured against. They are switches of the same state machine,
//! not schedulers of their own, so that a difference between two of them is a difference of policy.

use serde::{Deserialize, Serialize};

use crate::base::{Span, Table};
use crate::cost::amdahl;
use crate::fleet::{Host, HostId};

/// The part of a usual package's time that more cores make less.
const USUAL_PART: f64 = 0.7;

/// How to decide.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Policy {
    /// Go on with what does not depend on a failed job.
    pub keep_going: bool,
    /// Which ready job comes first.
    pub order: Order,
    /// Which host it goes to.
    pub choice: Choice,
    /// Which hosts are used at all.
    pub confine: Confine,
    /// How many cores each job is given.
    pub cores: Cores,
    /// How many jobs a host is given at a time for each of its cores, at most; `None` for as many as it has slots,
    /// whatever its cores, as in logs that do not say.
    #[serde(default)]
    pub jobs_per_core: Option<f64>,
    /// How many ready jobs are looked at in one decision, best first.
    pub window: usize,
    /// Ranks that differ by no more than this part count as alike: estimates are not that good.
    pub rank_tolerance: f64,
    /// Count what a transfer takes.
    pub transfer_term: bool,
    /// Build what is quicker built than moved where its output is needed.
    pub stay_with_consumer: bool,
    /// For how many jobs beyond its slots a host gets inputs ahead, at most, per slot.
    pub prefetch: u32,
    /// A job that waits for its inputs moves to an idle host that has this many times its gain to win;
    /// `None` leaves it where it is.
    pub steal_margin: Option<f64>,
    /// A host that is idle while jobs wait for better ones gets one that loses no more than this part of
    /// its work; `None` lets it wait.
    pub idle_margin: Option<f64>,
    /// An idle faster host builds what a slower one is not done with, too, if all of it takes less than the
    /// rest of it there, divided by this; `None` has nothing built twice, as in logs that do not say.
    #[serde(default)]
    pub copy_margin: Option<f64>,
    /// At how many jobs that are not ready yet a decision looks at most before it has a ready one wait, those that
    /// are far off counted in part; zero, as in logs that do not say, for none.
    #[serde(default)]
    pub look_ahead: u32,
    /// A free slot takes one of many jobs, without asking where each would be done first, while so many times as many
    /// are ready as there are slots; zero, as in logs that do not say, for never.
    #[serde(default)]
    pub plenty: u32,
    /// Learn how fast hosts really are from what they build.
    pub learn_speeds: bool,
    /// Correct the estimates by what this run's builds took.
    pub learn_costs: bool,
    /// Build clusters of jobs no longer than this one after the other in one slot; zero for none.
    pub cluster: Span,
    /// How often a job that found no slot is looked at again; zero for at every event.
    pub poll: Span,
    /// How often a job may fail for a host's reasons before it is given up.
    pub attempts: u32,
    /// The wait before a lost host is tried again; doubles with each try.
    pub first_retry: Span,
    /// The longest such wait.
    pub last_retry: Span,
    /// After how many vain tries a host no longer counts as one that may come back.
    pub host_tries: u32,
    /// Estimated cost of a transfer beyond its bytes: processes and round trips.
    pub transfer_overhead: Span,
}

/// Which ready job comes first; ties go to the longer chain before it, then to the smaller id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// The one from whose start the run still takes longest.
    Rank,
    /// The one with the most jobs on the longest chain behind it.
    Hops,
    /// The one that became ready first.
    Arrival,
    /// By name of the derivation.
    Name,
}

/// Which host a job goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Choice {
    /// Where it would be finished first, busy hosts counted in: it may wait for one.
    Earliest,
    /// Where it would be finished first among those with a free slot.
    EarliestFree,
    /// The fastest with a free slot.
    FastestFree,
    /// The builder with the lowest load per speed that has a free slot, of equal ones the fastest; this
    /// machine where there is none (Nix's build hook).
    LeastLoaded,
    /// Where a plan made before the run has it, while its hosts are there and nothing is learned that it did not count
    /// on; from then on as [`Choice::Earliest`].
    Planned,
}

/// Which hosts are used at all, as far as they can do the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Confine {
    /// All of them.
    No,
    /// This machine only.
    Home,
    /// The one that does the most work per second only.
    Fastest,
}

impl Confine {
    /// Which host that is, if it is one; of equally fast ones the first.
    pub fn host(self, hosts: &Table<HostId, Host>) -> Option<HostId> {
        let builders = hosts.ids().rev().filter(|host| hosts[*host].slots > 0);
        match self {
            Confine::No => None,
            Confine::Home => Some(HostId::HOME),
            Confine::Fastest => builders.max_by(|a, b| power(&hosts[*a]).total_cmp(&power(&hosts[*b]))),
        }
    }
}

/// The most work that a host does per second if its slots share its cores: those that exceed them do no more.
pub fn power(host: &Host) -> f64 {
    let jobs = host.slots.min(host.lanes());
    f64::from(jobs) / amdahl(USUAL_PART, host.lanes() / jobs.max(1)) * host.speed
}

/// How many cores a job is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cores {
    /// As many as are free for each ready job, on a host whose number of cores is known.
    Adaptive,
    /// So many each; 0 leaves all of a host's to each.
    Fixed(u32),
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            keep_going: false,
            order: Order::Rank,
            choice: Choice::Earliest,
            confine: Confine::No,
            cores: Cores::Adaptive,
            jobs_per_core: Some(1.0),
            window: 64,
            rank_tolerance: 0.1,
            transfer_term: true,
            stay_with_consumer: true,
            prefetch: 1,
            steal_margin: Some(1.25),
            idle_margin: Some(0.05),
            copy_margin: Some(1.0),
            look_ahead: 32,
            plenty: 3,
            learn_speeds: true,
            learn_costs: true,
            cluster: Span::from_millis(500),
            poll: Span::ZERO,
            attempts: 3,
            first_retry: Span::from_secs(1),
            last_retry: Span::from_secs(60),
            host_tries: 6,
            transfer_overhead: Span::from_millis(100),
        }
    }
}

impl Policy {
    /// The names that [`Policy::named`] knows, the default first.
    pub const NAMES: &[&str] = &[
        "full",
        "nix",
        "fifo-fastest",
        "hops-fastest",
        "rank-fastest",
        "rank-free",
        "heft",
        "planned",
        "all-local",
        "all-fastest",
        "no-waiting",
        "no-transfer-term",
        "no-locality",
        "no-idle-guard",
        "no-steal",
        "no-copies",
        "no-look-ahead",
        "no-draws",
        "no-prefetch",
        "no-clusters",
        "no-speed-learning",
        "no-cost-learning",
        "no-tolerance",
        "no-core-limit",
        "one-core",
        "all-cores",
    ];

    /// A policy by name: rivals first, then the default with one thing turned off.
    pub fn named(name: &str) -> Option<Policy> {
        Policy::default().variant(name)
    }

    /// The policy of that name with the numbers of this one, as far as it goes by them: a rival does not.
    pub fn variant(&self, name: &str) -> Option<Policy> {
        let full = self.clone();
        Some(match name {
            "full" => full,
            "nix" => Policy {
                order: Order::Name,
                choice: Choice::LeastLoaded,
                poll: Span::from_secs(5),
                cores: Cores::Fixed(0),
                ..Policy::bare()
            },
            "fifo-fastest" => Policy { order: Order::Arrival, choice: Choice::FastestFree, ..Policy::bare() },
            "hops-fastest" => Policy { order: Order::Hops, choice: Choice::FastestFree, ..Policy::bare() },
            "rank-fastest" => Policy { choice: Choice::FastestFree, ..Policy::bare() },
            "rank-free" => Policy { choice: Choice::EarliestFree, ..Policy::bare() },
            "heft" => Policy { choice: Choice::Planned, ..Policy::bare() },
            "planned" => Policy { choice: Choice::Planned, rank_tolerance: 0.0, ..full },
            "all-local" => Policy { confine: Confine::Home, ..full },
            "all-fastest" => Policy { confine: Confine::Fastest, ..full },
            "no-waiting" => Policy { choice: Choice::EarliestFree, ..full },
            "no-transfer-term" => Policy { transfer_term: false, ..full },
            "no-locality" => Policy { stay_with_consumer: false, ..full },
            "no-idle-guard" => Policy { idle_margin: None, ..full },
            "no-steal" => Policy { steal_margin: None, ..full },
            "no-copies" => Policy { copy_margin: None, ..full },
            "no-look-ahead" => Policy { look_ahead: 0, ..full },
            "no-draws" => Policy { plenty: 0, ..full },
            "no-prefetch" => Policy { prefetch: 0, ..full },
            "no-clusters" => Policy { cluster: Span::ZERO, ..full },
            "no-speed-learning" => Policy { learn_speeds: false, ..full },
            "no-cost-learning" => Policy { learn_costs: false, ..full },
            "no-tolerance" => Policy { rank_tolerance: 0.0, ..full },
            "no-core-limit" => Policy { jobs_per_core: None, ..full },
            "one-core" => Policy { cores: Cores::Fixed(1), ..full },
            "all-cores" => Policy { cores: Cores::Fixed(0), ..full },
            _ => return None,
        })
    }

    /// This policy with what the user decided of a run under another one: whether to go on after a failure,
    /// and how many cores each job gets, if that was said.
    #[must_use]
    pub fn decided_as(self, other: &Policy) -> Policy {
        let cores = match other.cores {
            Cores::Adaptive => self.cores,
            fixed @ Cores::Fixed(_) => fixed,
        };
        Policy { keep_going: other.keep_going, cores, ..self }
    }

    /// What the rivals have in common: none of what only the default does.
    fn bare() -> Policy {
        Policy {
            jobs_per_core: None,
            rank_tolerance: 0.0,
            stay_with_consumer: false,
            prefetch: 0,
            steal_margin: None,
            idle_margin: None,
            copy_margin: None,
            look_ahead: 0,
            plenty: 0,
            learn_speeds: false,
            learn_costs: false,
            cluster: Span::ZERO,
            ..Policy::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_stands_for_another_policy() {
        let all: Vec<Policy> = Policy::NAMES.iter().map(|name| Policy::named(name).unwrap()).collect();
        for (i, policy) in all.iter().enumerate() {
            assert!(!all[..i].contains(policy), "{}", Policy::NAMES[i]);
        }
        assert_eq!(Policy::named("full"), Some(Policy::default()));
        assert_eq!(Policy::named("best"), None);
    }

    #[test]
    fn the_fastest_host_is_the_one_whose_slots_do_most() {
        let host = |(slots, cores, speed): (u32, u32, f64)| -> Host {
            let text = serde_json::json!({
                "name": "h", "systems": [], "features": [], "mandatory": [], "slots": slots, "cores": cores,
                "speed": speed, "substitutes": false, "link": crate::fleet::LinkSpeed::FREE,
            });
            serde_json::from_value(text).unwrap()
        };
        let fastest = |hosts: &[(u32, u32, f64)]| {
            Confine::Fastest.host(&hosts.iter().copied().map(host).collect()).unwrap().0
        };
        assert_eq!(fastest(&[(4, 4, 1.0), (4, 4, 1.0)]), 0, "of equal ones the first");
        assert_eq!(fastest(&[(1, 2, 1.0), (8, 2, 1.0)]), 1, "one slot leaves a core idle most of the time");
        assert_eq!(fastest(&[(4, 4, 1.0), (2, 16, 1.0)]), 1, "what has many cores is done sooner");
        assert_eq!(fastest(&[(4, 0, 1.0), (64, 2, 1.0)]), 0, "slots beyond the cores do nothing");
        assert_eq!(fastest(&[(8, 8, 0.2), (0, 64, 1.0), (1, 0, 1.5)]), 0, "one that builds nothing is none");
    }

    #[test]
    fn variants_keep_the_numbers_that_they_go_by() {
        let own = Policy { prefetch: 7, ..Policy::default() };
        assert_eq!(own.variant("full"), Some(own.clone()));
        assert_eq!(own.variant("no-steal"), Some(Policy { steal_margin: None, ..own.clone() }));
        assert_eq!(own.variant("nix"), Policy::named("nix"));
    }
}
