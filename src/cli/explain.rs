//! `drvdispatch explain`, and what `plan --explain` says: why a job went where it went.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use clap::Args;
use globset::Glob;

use super::error::CliError;
use super::runs::find;
use crate::base::{Span, Table, Time};
use crate::fleet::{Host, HostId};
use crate::graph::{JobId, Workload};
use crate::report::{self, Cells, Room};
use crate::run::{Attempt, Entry, Event, Expectation, Order, Step, Why};
use crate::sched::{Binding, OfferParts, Scheduler, explain};

/// More derivations than this are counted, not explained.
const MOST: usize = 10;

/// Say why a derivation was built where it was built
#[derive(Args, Debug, Clone)]
pub struct ExplainArgs {
    /// A run log: a file, the name of one in the directory of runs, or `last`
    #[arg(value_name = "RUN")]
    run: String,
    /// The derivation: its name, a glob over names, or its .drv path
    #[arg(value_name = "NAME")]
    name: String,
}

/// Runs the verb.
///
/// # Errors
/// The log cannot be read, or this version cannot explain it.
pub fn run(args: &ExplainArgs) -> Result<(), CliError> {
    let usage = |text: String| CliError::Usage(text);
    let file = find(&args.run)?;
    let (header, entries, torn) = file.read().map_err(|e| usage(e.to_string()))?;
    if let Some(torn) = torn {
        super::tell!("warning: {}: {torn}", file.path.display());
    }
    let fresh = Scheduler::recorded(&header).map_err(|e| usage(format!("{}: {e}", file.path.display())))?;
    let eligible = header.eligible();
    let lack = |job: JobId, host: HostId| {
        let (spec, host_spec) = (&header.workload.jobs[job], &header.hosts[host]);
        let lack = host_spec.lacks(&spec.system, &spec.features).map(|lack| lack.to_string());
        let pinned = || "was left out by --pin".to_owned();
        lack.or_else(|| (!eligible[job].contains(&host)).then(pinned))
    };
    let run = Explained {
        work: &header.workload,
        hosts: &header.hosts,
        fresh: &fresh,
        entries: &entries,
        lack: &lack,
        room: Room::of_stdout(),
    };
    let text = run.text(&args.name).map_err(|why| usage(format!("{}: {why}", file.path.display())))?;
    super::put(&text, "the explanation")
}

/// A run, real or simulated, with a scheduler as it was at its beginning.
pub struct Explained<'a> {
    /// What was to be built.
    pub work: &'a Workload,
    /// Where.
    pub hosts: &'a Table<HostId, Host>,
    /// Before the first event.
    pub fresh: &'a Scheduler,
    /// The events and orders.
    pub entries: &'a [Entry],
    /// Why a host may not build a job, if so.
    pub lack: &'a dyn Fn(JobId, HostId) -> Option<String>,
    /// For what is said.
    pub room: Room,
}

impl Explained<'_> {
    /// What is to be said of the jobs that go by this name, path or glob.
    ///
    /// # Errors
    /// There is no such job, or the log is from a version that decided differently.
    pub fn text(&self, name: &str) -> Result<String, String> {
        let jobs = matching(self.work, name)?;
        let mut text = String::new();
        for &job in jobs.iter().take(MOST) {
            let bindings = explain(self.fresh, self.entries, job)
                .map_err(|differs| format!("{differs}; what came after cannot be explained"))?;
            self.job_text(job, &bindings, &mut text);
        }
        if jobs.len() > MOST {
            let _ = writeln!(text, "and {} more match '{name}'", jobs.len() - MOST);
        }
        Ok(text)
    }

    fn job_text(&self, job: JobId, bindings: &[Binding], text: &mut String) {
        let _ = writeln!(text, "{}  {}", self.work.jobs[job].name, self.work.jobs[job].drv);
        if bindings.is_empty() {
            let _ = writeln!(text, "  was never given a slot: not needed, or the run ended before");
        }
        for binding in bindings {
            self.binding_text(job, binding, text);
        }
        for host in self.hosts.ids() {
            if let Some(lack) = (self.lack)(job, host) {
                let _ = writeln!(text, "  {} {lack}", self.hosts[host].name);
            }
        }
    }

    fn binding_text(&self, job: JobId, binding: &Binding, text: &mut String) {
        let chosen = binding.seat.host;
        let name = |host: HostId| self.hosts[host].name.as_str();
        let reason = match &binding.build {
            Some(_) if copies(self.entries).contains(&(job, binding.seat.attempt)) => WHY_A_COPY.to_owned(),
            Some((_, expect)) if expect.why == Why::Soonest => reason(expect, &binding.offers, chosen, name),
            Some((_, expect)) => {
                let among = among(&binding.offers, chosen, name);
                [Some(why(expect, name)), among].into_iter().flatten().collect::<Vec<_>>().join("; ")
            }
            None => "but the build never began there".to_owned(),
        };
        let moment = binding.at.since(Time::ZERO);
        let to_the_end = binding.rank.map(|rank| format!("; {rank} from here to the end on average hosts"));
        let _ =
            writeln!(text, "  at {moment}: to {}, {reason}{}", name(chosen), to_the_end.unwrap_or_default());
        text.push_str(&self.offers_text(job, binding));
    }

    /// What each host had to offer, or why it had nothing.
    fn offers_text(&self, job: JobId, binding: &Binding) -> String {
        let mut table = report::Table::new([
            (Cells::Names, "    host"),
            (Cells::Numbers, "done in"),
            (Cells::Numbers, "slot in"),
            (Cells::Numbers, "paths in"),
            (Cells::Numbers, "builds"),
            (Cells::Words, ""),
        ]);
        let name = |host: HostId| format!("    {}", self.hosts[host].name);
        for offer in &binding.offers {
            let OfferParts { host, queue, transfer, work, finish, avoided } = *offer;
            let [finish, queue, transfer, work] = [finish, queue, transfer, work].map(|s| s.to_string());
            let notes = [(host == binding.seat.host, "chosen"), (avoided, "(it failed there before)")];
            let notes: Vec<&str> = notes.into_iter().filter(|(is, _)| *is).map(|(_, note)| note).collect();
            table.row([name(host), finish, queue, transfer, work, notes.join("  ")]);
        }
        let answered = |host: HostId| binding.offers.iter().any(|offer| offer.host == host);
        for host in self.hosts.ids().filter(|&host| !answered(host) && (self.lack)(job, host).is_none()) {
            let none = || "-".to_owned();
            let note = "could not be reached then".to_owned();
            table.row([name(host), none(), none(), none(), none(), note]);
        }
        table.text(self.room)
    }
}

/// The jobs that go by this name, path or glob.
fn matching(work: &Workload, name: &str) -> Result<Vec<JobId>, String> {
    let glob = Glob::new(name).map_err(|e| format!("'{name}' is no valid pattern: {}", e.kind()))?;
    let glob = glob.compile_matcher();
    let jobs = work.jobs.iter();
    let found: Vec<JobId> = jobs
        .filter(|(_, job)| job.drv == name || job.name == name || glob.is_match(&job.name))
        .map(|(id, _)| id)
        .collect();
    if found.is_empty() {
        return Err(format!("no derivation that is to be built goes by '{name}'"));
    }
    Ok(found)
}

/// The attempts that were copies: begun while another attempt at the same job went on elsewhere.
pub fn copies(entries: &[Entry]) -> BTreeSet<(JobId, Attempt)> {
    let mut copies = BTreeSet::new();
    let mut running: BTreeMap<(JobId, Attempt), HostId> = BTreeMap::new();
    for entry in entries {
        match &entry.what {
            Step::Order(Order::Build { job, attempt, host, .. }) => {
                if running.range((*job, Attempt(0))..=(*job, Attempt(u32::MAX))).next().is_some() {
                    copies.insert((*job, *attempt));
                }
                running.insert((*job, *attempt), *host);
            }
            Step::Event(Event::Finished { job, attempt, .. })
            | Step::Order(Order::Cancel { job, attempt, .. }) => {
                running.remove(&(*job, *attempt));
            }
            Step::Event(Event::HostLost { host, .. } | Event::HostRefused { host, .. }) => {
                running.retain(|_, on| on != host);
            }
            _ => {}
        }
    }
    copies
}

/// Why a copy was begun.
pub const WHY_A_COPY: &str = "a copy, as the first is late";

/// Why a job went to its host, in a few words, by what all hosts had to offer, or by the order alone where that is not
/// known or did not matter.
pub fn reason<'a>(
    expect: &Expectation,
    offers: &[OfferParts],
    chosen: HostId,
    name: impl Fn(HostId) -> &'a str + Copy,
) -> String {
    let among = among(offers, chosen, name).filter(|_| expect.why == Why::Soonest);
    among.unwrap_or_else(|| why(expect, name))
}

/// Why a job went to its host, in a few words, by what the order to build says. How the next best host looked is
/// not certain: of a job that stood in line, what comes behind it counts there, and it itself where it stood.
fn why<'a>(expect: &Expectation, name: impl Fn(HostId) -> &'a str) -> String {
    let here = expect.queue.max(expect.transfer) + expect.work;
    match (expect.why, expect.next_best) {
        (Why::Drawn, _) => "drawn from many, as a slot was free".to_owned(),
        (Why::Followed, _) => "in the slot of what it follows".to_owned(),
        (Why::Planned, _) => "as planned before the run".to_owned(),
        (Why::Confined, _) => "the policy's only host".to_owned(),
        (Why::Soonest, None) => "the only host for it".to_owned(),
        (Why::Soonest, Some((host, there))) if there > here => {
            format!("up to {} sooner than {}", there.saturating_sub(here), name(host))
        }
        (Why::Soonest, Some((host, _))) => format!("about as soon as {}", name(host)),
    }
}

/// The same by what all hosts had to offer, of which the order to build has only one, as it looked in passing;
/// `None` if the chosen one or all others had nothing.
fn among<'a>(offers: &[OfferParts], chosen: HostId, name: impl Fn(HostId) -> &'a str) -> Option<String> {
    let (own, others): (Vec<&OfferParts>, _) = offers.iter().partition(|offer| offer.host == chosen);
    let (own, best) = (own.first()?, others.into_iter().min_by_key(|offer| (offer.avoided, offer.finish))?);
    let (here, there, name) = (own.finish, best.finish, name(best.host));
    let is_sooner_begun = own.queue == Span::ZERO && best.queue > Span::ZERO;
    let at_once = if is_sooner_begun { "at once, " } else { "" };
    Some(match here.cmp(&there) {
        Ordering::Less => format!("{} sooner than {name}", there.saturating_sub(here)),
        Ordering::Equal => format!("as soon as {name}"),
        Ordering::Greater => format!("{at_once}{} later than {name}", here.saturating_sub(there)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::Cost;
    use crate::fleet::LinkSpeed;
    use crate::graph::{Job, Origin, PathId, PathSpec};
    use crate::run::{Outcome, SlotId};
    use crate::sched::Policy;

    fn host(name: &str, system: &str, speed: f64) -> Host {
        let json = serde_json::json!({
            "name": name, "systems": [system], "features": [], "mandatory": [], "slots": 1, "cores": 0,
            "speed": speed, "substitutes": false, "link": LinkSpeed::FREE,
        });
        serde_json::from_value(json).unwrap()
    }

    fn work() -> Workload {
        let zeros = "0".repeat(32);
        let job = Job {
            drv: format!("/nix/store/{zeros}-gcc-14.drv"),
            name: "gcc-14".to_owned(),
            system: "x86_64-linux".to_owned(),
            features: vec![],
            needs: vec![],
            inputs: vec![],
            outputs: vec![PathId(0)],
            fixed_output: false,
            prefer_local: false,
            parallel: false,
        };
        let path = format!("/nix/store/{zeros}-gcc-14");
        let spec = PathSpec { path, origin: Origin::Job(JobId(0)), size: 0, refs: vec![] };
        Workload {
            jobs: [job].into_iter().collect(),
            paths: [spec].into_iter().collect(),
            wanted: vec![PathId(0)],
        }
    }

    #[test]
    fn a_second_attempt_is_a_copy_while_the_first_goes_on() {
        let build = |attempt, host| {
            let (job, attempt, host, slot) = (JobId(0), Attempt(attempt), HostId(host), SlotId(0));
            Step::Order(Order::Build { job, attempt, host, slot, cores: 0, expect: Expectation::default() })
        };
        let failed =
            Step::Event(Event::Finished { job: JobId(0), attempt: Attempt(0), outcome: Outcome::Cancelled });
        let told = Step::Order(Order::Cancel {
            job: JobId(0),
            attempt: Attempt(0),
            host: HostId(1),
            slot: SlotId(0),
        });
        let lost = |host| Step::Event(Event::HostLost { host: HostId(host), cause: String::new() });
        let copied = |steps: Vec<Step>| {
            let entries: Vec<Entry> = steps.into_iter().map(|what| Entry { at: Time::ZERO, what }).collect();
            copies(&entries).into_iter().collect::<Vec<_>>()
        };
        assert_eq!(copied(vec![build(0, 1), build(1, 2), failed.clone()]), [(JobId(0), Attempt(1))]);
        assert_eq!(copied(vec![build(0, 1), failed, build(1, 2)]), []);
        assert_eq!(copied(vec![build(0, 1), told, build(1, 2)]), [], "it was told to end");
        assert_eq!(copied(vec![build(0, 1), lost(1), build(1, 2)]), []);
        assert_eq!(copied(vec![build(0, 1), lost(2), build(1, 2)]).len(), 1);
    }

    #[test]
    fn by_the_order_alone_no_more_is_claimed_than_is_known() {
        let said = |there: u64| {
            let work = Span::from_secs(10);
            let next_best = Some((HostId(1), Span::from_secs(there)));
            why(&Expectation { work, next_best, ..Expectation::default() }, |_| "b")
        };
        assert_eq!(said(47), "up to 37s sooner than b");
        assert_eq!([said(10), said(9)], ["about as soon as b"; 2]);
    }

    #[test]
    fn of_a_slot_that_was_drawn_or_taken_over_nothing_is_claimed_of_other_hosts() {
        let said = |why_so| why(&Expectation { why: why_so, ..Expectation::default() }, |_| "b");
        assert_eq!(said(Why::Drawn), "drawn from many, as a slot was free");
        assert_eq!(said(Why::Followed), "in the slot of what it follows");
        assert_eq!(said(Why::Planned), "as planned before the run");
        assert_eq!(said(Why::Confined), "the policy's only host");
        assert_eq!(said(Why::Soonest), "the only host for it");
    }

    #[test]
    fn the_reason_is_what_the_table_shows() {
        let offer = |host, queue, finish, avoided| OfferParts {
            host: HostId(host),
            queue: Span::from_secs(queue),
            transfer: Span::ZERO,
            work: Span::from_secs(finish - queue),
            finish: Span::from_secs(finish),
            avoided,
        };
        let said = |offers: &[OfferParts]| among(offers, HostId(0), |host| ["a", "b", "c"][host.0 as usize]);
        let [own, later] = [offer(0, 0, 30, false), offer(1, 2, 34, false)];
        assert_eq!(said(&[own, later]).unwrap(), "4.0s sooner than b");
        assert_eq!(said(&[own, offer(2, 1, 30, false)]).unwrap(), "as soon as c");
        let sooner = offer(2, 1, 16, false);
        assert_eq!(said(&[sooner, own, later]).unwrap(), "at once, 14s later than c");
        assert_eq!(said(&[sooner, offer(0, 3, 30, false)]).unwrap(), "14s later than c");
        let free_too = offer(2, 0, 16, false);
        assert_eq!(said(&[free_too, own]).unwrap(), "14s later than c");
        let failed = OfferParts { avoided: true, ..sooner };
        assert_eq!(said(&[failed, own, later]).unwrap(), "4.0s sooner than b");
        assert_eq!([said(&[own]), said(&[later])], [None, None]);
    }

    #[test]
    fn every_host_has_a_line_that_says_what_it_offered_or_why_not() {
        let work = work();
        let hosts: Table<HostId, Host> = [
            host("local", "x86_64-linux", 1.0),
            host("fast", "x86_64-linux", 2.0),
            host("mac", "aarch64-darwin", 1.0),
            host("down", "x86_64-linux", 4.0),
        ]
        .into_iter()
        .collect();
        let able = [0, 1, 3].map(HostId).to_vec();
        let cost = Cost { median: Span::from_secs(60), p10: Span::from_secs(30), p90: Span::from_secs(90) };
        let fresh = Scheduler::new(
            work.clone(),
            hosts.clone(),
            Table::filled(1, cost),
            Table::filled(1, able),
            Policy::default(),
        );
        let up = |host| Event::SlotUp { host: HostId(host), slot: SlotId(0) };
        let mut entries = Vec::new();
        let mut scheduler = fresh.clone();
        for event in [up(0), up(1), Event::FleetReady] {
            let mut orders = Vec::new();
            scheduler.step(Time::ZERO, &event, &mut orders);
            entries.push(Entry { at: Time::ZERO, what: Step::Event(event) });
            entries
                .extend(orders.into_iter().map(|order| Entry { at: Time::ZERO, what: Step::Order(order) }));
        }
        let lack = |_: JobId, host: HostId| {
            (host == HostId(2))
                .then(|| hosts[host].lacks("x86_64-linux", &[]).map(|lack| lack.to_string()))?
        };
        let run = Explained {
            work: &work,
            hosts: &hosts,
            fresh: &fresh,
            entries: &entries,
            lack: &lack,
            room: Room::PIPE,
        };
        let text = run.text("gcc-*").unwrap();
        let lines: Vec<String> =
            text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert!(lines[0].starts_with("gcc-14 /nix/store/"), "{text}");
        assert!(lines[1].starts_with("at 0.0s: to fast, 30s sooner than local; "), "{text}");
        assert_eq!(lines[3], "fast 30s 0.0s 0.0s 30s chosen");
        assert_eq!(lines[4], "local 1m00s 0.0s 0.0s 1m00s");
        assert_eq!(lines[5], "down - - - - could not be reached then");
        assert!(lines[6].starts_with("mac "), "{text}");
        assert_eq!(lines.len(), 7);
        let none = run.text("gdb").unwrap_err();
        assert_eq!(none, "no derivation that is to be built goes by 'gdb'");
    }
}
