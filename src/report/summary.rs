//! What a run came to: as numbers, and as text for its end.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use super::failure::verb;
use super::losses::loss_parts;
use super::state::{JobState, RunState, Standing};
use super::text::one_line;
use super::units::{bytes, plural};
use crate::base::{Span, Time};
use crate::run::bare_cause;
use crate::run::{Failure, Losses, Source};

/// Jobs that were not built are named up to this many.
const MAX_NAMED: usize = 20;

/// The numbers of a run. Times are in microseconds, sizes in bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// From the beginning to the last thing that happened.
    pub makespan: Span,
    /// What no schedule could have beaten, if that was computed.
    pub lower_bound: Option<Span>,
    /// Where the difference of the two went, if that was counted.
    #[serde(default)]
    pub losses: Option<Losses>,
    pub built: usize,
    /// Not to be built: some host had their outputs, or those of what needs them, from before.
    #[serde(default)]
    pub found: usize,
    pub failed: usize,
    pub skipped: usize,
    /// Never begun, or never finished for want of a host.
    pub unfinished: usize,
    /// Whether the user ended it.
    pub interrupted: bool,
    /// Hosts that have slots or built something.
    pub hosts: Vec<HostSummary>,
    pub links: Vec<LinkSummary>,
    /// Everything that is not built, in the order of derivations.
    pub not_built: Vec<NotBuilt>,
}

/// One host's part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostSummary {
    pub name: String,
    pub slots: u32,
    /// Jobs that ended there, built or failed.
    pub jobs: usize,
    /// How long its slots were taken, in sum.
    pub busy: Span,
    /// Its part of all hosts' busy time, 0 to 1.
    pub share: f64,
    /// How long its connected slots had nothing to do, in sum.
    pub idle: Span,
    /// Why it could not be used in the end.
    pub trouble: Option<String>,
}

/// What went one way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LinkSummary {
    /// A host, or nothing for substituters.
    pub from: Option<String>,
    pub to: String,
    pub paths: usize,
    pub bytes: u64,
    pub failed_transfers: usize,
}

/// A job that is not built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "why")]
pub enum NotBuilt {
    Failed { drv: String, name: String, host: String, failure: Failure },
    Skipped { drv: String, name: String, because: String },
    Unfinished { drv: String, name: String, setback: Option<String> },
}

impl Summary {
    /// Sums up the state of a run that is over.
    pub fn of(run: &RunState, lower_bound: Option<Span>) -> Self {
        let counts = run.counts();
        Self {
            makespan: run.now().since(Time::ZERO),
            lower_bound,
            losses: None,
            built: counts.built,
            found: counts.unneeded,
            failed: counts.failed,
            skipped: counts.skipped,
            unfinished: counts.waiting + counts.active,
            interrupted: run.interrupted(),
            hosts: hosts(run),
            links: links(run),
            not_built: not_built(run),
        }
    }

    /// `5 built, 1 failed, 2 skipped in 3m20s`: the whole summary for those who want it short.
    pub fn closing_line(&self) -> String {
        let mut line = format!("{} built", self.built);
        let more = [
            (self.found, "built before"),
            (self.failed, "failed"),
            (self.skipped, "skipped"),
            (self.unfinished, "not finished"),
        ];
        for (n, what) in more.into_iter().filter(|(n, _)| *n > 0) {
            let _ = write!(line, ", {n} {what}");
        }
        let _ = write!(line, " in {}", self.makespan);
        if self.interrupted {
            line.push_str(" (interrupted)");
        }
        line
    }

    /// Everything, a few lines for people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        if self.jobs() > 0 {
            self.hosts_text(&mut text);
            self.links_text(&mut text);
        }
        self.not_built_text(&mut text);
        text.push_str(&self.closing_line());
        if let Some(bound) = self.lower_bound.filter(|b| *b > Span::ZERO && self.clean()) {
            let ratio = self.makespan.as_secs_f64() / bound.as_secs_f64();
            let _ = write!(text, ", {ratio:.2} times the lower bound of {bound}");
            if let Some(parts) = self.losses.as_ref().and_then(loss_parts) {
                let _ = write!(text, "\nbeyond the bound: {parts}");
            }
        }
        text.push('\n');
        text
    }

    fn jobs(&self) -> usize {
        self.hosts.iter().map(|h| h.jobs).sum()
    }

    /// Only a run that did everything can be held against the bound.
    fn clean(&self) -> bool {
        self.not_built.is_empty()
    }

    fn hosts_text(&self, text: &mut String) {
        let width = self.hosts.iter().map(|h| console::measure_text_width(&h.name)).max().unwrap_or(0).max(4);
        let _ = writeln!(text, "{:width$}  jobs    busy  share    idle", "host");
        for host in &self.hosts {
            let name = console::pad_str(&host.name, width, console::Alignment::Left, None);
            let share = format!("{:.0}%", host.share * 100.0);
            let (busy, idle) = (host.busy.to_string(), host.idle.to_string());
            let _ = write!(text, "{name}  {:>4}  {busy:>6}  {share:>5}  {idle:>6}", host.jobs);
            let _ = match &host.trouble {
                // The remedy behind the semicolon was shown when it was news.
                Some(why) => {
                    let why = why.split(';').next().unwrap_or(why);
                    writeln!(text, "  {}", bare_cause(&host.name, why))
                }
                None => writeln!(text),
            };
        }
    }

    fn links_text(&self, text: &mut String) {
        let mut links: Vec<_> = self.links.iter().filter(|link| link.paths > 0).collect();
        links.sort_by_key(|link| std::cmp::Reverse(link.bytes));
        let total = links.iter().map(|link| link.bytes).fold(0, u64::saturating_add);
        if links.is_empty() {
            return;
        }
        let _ = writeln!(text, "moved {}:", bytes(total));
        for link in links.iter().take(MAX_NAMED) {
            let from = link.from.as_deref().unwrap_or("substituters");
            let paths = plural(link.paths, "path");
            let _ = writeln!(text, "  {from} to {}: {} ({paths})", link.to, bytes(link.bytes));
        }
        if links.len() > MAX_NAMED {
            let _ = writeln!(text, "  and {} more ways", links.len() - MAX_NAMED);
        }
    }

    fn not_built_text(&self, text: &mut String) {
        // What was never begun has no story; the closing line counts it.
        let told = |row: &&NotBuilt| !matches!(row, NotBuilt::Unfinished { setback: None, .. });
        let mut rows: Vec<&NotBuilt> = self.not_built.iter().filter(told).collect();
        if rows.is_empty() {
            return;
        }
        text.push_str("not built:\n");
        // What failed comes first: the rest follows from it.
        rows.sort_by_key(|row| match row {
            NotBuilt::Failed { .. } => 0,
            NotBuilt::Unfinished { .. } => 1,
            NotBuilt::Skipped { .. } => 2,
        });
        for row in rows.iter().take(MAX_NAMED) {
            let _ = match row {
                NotBuilt::Failed { name, host, failure, .. } => {
                    writeln!(text, "  {name} {} on {host}", verb(*failure))
                }
                NotBuilt::Skipped { name, because, .. } => {
                    writeln!(text, "  {name} was skipped because of {because}")
                }
                NotBuilt::Unfinished { name, setback, .. } => {
                    writeln!(text, "  {name} was not finished: {}", setback.as_deref().unwrap_or_default())
                }
            };
        }
        if rows.len() > MAX_NAMED {
            let _ = writeln!(text, "  and {} more", rows.len() - MAX_NAMED);
        }
    }
}

fn hosts(run: &RunState) -> Vec<HostSummary> {
    let all: Span = run.hosts().iter().map(|(_, host)| host.busy).sum();
    let rows = run.hosts().iter().map(|(id, host)| {
        let spec = &run.header().hosts[id];
        HostSummary {
            name: spec.name.clone(),
            slots: spec.slots,
            jobs: host.built + host.failed,
            busy: host.busy,
            share: if all > Span::ZERO { host.busy.0 as f64 / all.0 as f64 } else { 0.0 },
            idle: host.connected(run.now()).saturating_sub(host.busy),
            trouble: match &host.standing {
                Standing::Awaited if spec.slots > 0 => Some("has not answered yet".to_owned()),
                standing => standing.cause().map(one_line),
            },
        }
    });
    rows.filter(|host| host.slots > 0 || host.jobs > 0).collect()
}

fn links(run: &RunState) -> Vec<LinkSummary> {
    let links = run.transfers().links().map(|(from, to, totals)| LinkSummary {
        from: match from {
            Source::Host(host) => Some(run.host_name(host).to_owned()),
            Source::Substituter => None,
        },
        to: run.host_name(to).to_owned(),
        paths: totals.paths,
        bytes: totals.bytes,
        failed_transfers: totals.failed,
    });
    links.collect()
}

fn not_built(run: &RunState) -> Vec<NotBuilt> {
    let row = |(id, state): (_, &JobState)| {
        let (drv, name) = (run.job(id).drv.clone(), run.job(id).name.clone());
        match state {
            JobState::Built { .. } | JobState::Unneeded => None,
            JobState::Failed { failure } => {
                let failed = &run.failures()[*failure];
                let host = run.host_name(failed.host).to_owned();
                Some(NotBuilt::Failed { drv, name, host, failure: failed.failure })
            }
            JobState::Skipped { because } => {
                Some(NotBuilt::Skipped { drv, name, because: run.job(*because).name.clone() })
            }
            JobState::Waiting | JobState::Active => {
                let setback = run.setback(id);
                let setback =
                    setback.map(|(host, why)| format!("{} on {}", one_line(why), run.host_name(host)));
                Some(NotBuilt::Unfinished { drv, name, setback })
            }
        }
    };
    run.jobs().iter().filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Scene, header};
    use super::*;

    #[test]
    fn a_failed_run_says_what_is_missing() {
        let run = Scene::failed().run;
        insta::assert_snapshot!(Summary::of(&run, Some(Span::from_secs(100))).text(), @r"
        host   jobs    busy  share    idle
        local     1     43s    20%   1m17s
        ruby      2   2m55s    80%   1m04s
        opal      0    0.0s     0%    0.0s  no answer within 5s
        moved 6.0 MiB:
          ruby to local: 5.0 MiB (1 path)
          substituters to local: 1.0 MiB (1 path)
        not built:
          gcc-13.2 failed on ruby
          curl-8.9 was skipped because of gcc-13.2
          nixos-system-demo was skipped because of gcc-13.2
        2 built, 1 failed, 2 skipped in 2m00s
        ");
    }

    #[test]
    fn a_run_that_was_ended_names_what_it_was_at() {
        let mut run = Scene::running().run;
        run.event(Time(100_000_000), &crate::run::Event::Interrupted);
        run.finish(Time(101_000_000));
        insta::assert_snapshot!(Summary::of(&run, None).text(), @r"
        host   jobs    busy  share    idle
        local     0     43s    22%     58s
        ruby      1   2m36s    78%     45s
        opal      0    0.0s     0%    0.0s  no answer within 5s
        moved 5.0 MiB:
          ruby to local: 5.0 MiB (1 path)
        not built:
          gcc-13.2 was not finished: stopped on ruby
          hello-2.12 was not finished: stopped on local
        1 built, 4 not finished in 1m41s (interrupted)
        ");
    }

    #[test]
    fn a_whole_run_is_held_against_the_bound() {
        let run = RunState::new(header());
        let mut summary = Summary::of(&run, Some(Span::from_secs(170)));
        summary.not_built.clear();
        (summary.built, summary.unfinished, summary.makespan) = (5, 0, Span::from_secs(200));
        insta::assert_snapshot!(summary.text(), @"5 built in 3m20s, 1.18 times the lower bound of 2m50s");
        let losses =
            Losses { transfer: Span::from_secs(30), makespan: summary.makespan, ..Losses::default() };
        summary.losses = Some(losses);
        assert!(summary.text().ends_with("bound of 2m50s\nbeyond the bound: transfer 30s\n"));
    }

    #[test]
    fn the_json_form_reads_back() {
        let summary = Summary::of(&Scene::failed().run, None);
        let json = serde_json::to_string(&summary).unwrap();
        assert_eq!(serde_json::from_str::<Summary>(&json).unwrap(), summary);
        assert!(json.contains(r#""why":"skipped""#), "{json}");
    }
}
