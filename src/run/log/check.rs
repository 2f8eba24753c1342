//! Whether what a log says fits together: ids within their tables, lists in order, no cycles.

use super::{Entry, Header, Step};
use crate::base::{Id, Table};
use crate::fleet::HostId;
use crate::run::{Event, Order, Outcome, SlotId, Source};

type Checked = Result<(), String>;

/// Checks the header by itself.
pub(super) fn header(header: &Header) -> Checked {
    let work = &header.workload;
    if header.hosts.is_empty() {
        return Err("it has no hosts".to_owned());
    }
    if let Some((id, host)) = header.hosts.iter().find(|(_, h)| !(h.speed.is_finite() && h.speed > 0.0)) {
        return Err(format!("host {id} ({}) has the speed {}", host.name, host.speed));
    }
    if header.estimates.len() != work.jobs.len() {
        return Err(format!("it has {} estimates for {} jobs", header.estimates.len(), work.jobs.len()));
    }
    if let Some(eligible) = &header.eligible {
        if eligible.len() != work.jobs.len() {
            return Err(format!("it has hosts for {} of {} jobs", eligible.len(), work.jobs.len()));
        }
        eligible.rows().iter().flatten().try_for_each(|&host| one(&header.hosts, host))?;
    }
    if let Some(parallel) = &header.parallel {
        if parallel.len() != work.jobs.len() {
            return Err(format!("it has parallel parts for {} of {} jobs", parallel.len(), work.jobs.len()));
        }
        if let Some((id, part)) = parallel.iter().find(|(_, part)| !(0.0..=1.0).contains(*part)) {
            return Err(format!("job {id} has the parallel part {part}, which is not between 0 and 1"));
        }
    }
    work.check().map_err(|why| why.to_string())
}

/// Checks a line against the header.
pub(super) fn entry(header: &Header, entry: &Entry) -> Checked {
    match &entry.what {
        Step::Event(e) => event(header, e),
        Step::Order(o) => order(header, o),
    }
}

fn event(header: &Header, event: &Event) -> Checked {
    let work = &header.workload;
    match event {
        Event::SlotUp { host, slot } => slot_of(header, *host, *slot),
        Event::HostHolds { host, paths } => {
            one(&header.hosts, *host)?;
            within(&work.paths, paths)
        }
        Event::HostCores { host, cores: 0 } => Err(format!("{host} has 0 cores")),
        Event::HostCores { host, .. } => one(&header.hosts, *host),
        Event::HostLost { host, .. } | Event::HostRefused { host, .. } | Event::HostDrained { host, .. } => {
            one(&header.hosts, *host)
        }
        Event::Started { job, .. } => one(&work.jobs, *job),
        Event::Progress { job, permille, .. } => {
            one(&work.jobs, *job)?;
            let whole = *permille <= 1000;
            if whole { Ok(()) } else { Err(format!("{job} has done {permille} thousandths of its work")) }
        }
        Event::Finished { job, outcome, .. } => {
            one(&work.jobs, *job)?;
            let Outcome::Built { made, .. } = outcome else { return Ok(()) };
            made.iter().try_for_each(|m| {
                one(&work.paths, m.path)?;
                within(&work.paths, &m.refs)
            })
        }
        Event::Staged { .. }
        | Event::StageFailed { .. }
        | Event::FleetReady
        | Event::DeadlineReached
        | Event::Interrupted => Ok(()),
    }
}

fn order(header: &Header, order: &Order) -> Checked {
    let work = &header.workload;
    match order {
        Order::Stage { from, to, paths, for_job, .. } => {
            if let Source::Host(host) = from {
                one(&header.hosts, *host)?;
            }
            one(&header.hosts, *to)?;
            within(&work.paths, paths)?;
            for_job.map_or(Ok(()), |job| one(&work.jobs, job))
        }
        Order::Build { job, host, slot, expect, .. } => {
            one(&work.jobs, *job)?;
            expect.next_best.map_or(Ok(()), |(next, _)| one(&header.hosts, next))?;
            slot_of(header, *host, *slot)
        }
        Order::Cancel { job, host, slot, .. } => {
            one(&work.jobs, *job)?;
            slot_of(header, *host, *slot)
        }
        Order::Probe { host } => one(&header.hosts, *host),
    }
}

fn slot_of(header: &Header, host: HostId, slot: SlotId) -> Checked {
    one(&header.hosts, host)?;
    let slots = header.hosts[host].slots;
    if slot.0 < slots { Ok(()) } else { Err(format!("{slot} on {host}, which has {slots} slots")) }
}

fn one<I: Id + std::fmt::Display, T>(table: &Table<I, T>, id: I) -> Checked {
    match table.get(id) {
        Some(_) => Ok(()),
        None => Err(format!("{id} is not among the {} of the header", table.len())),
    }
}

fn within<I: Id + std::fmt::Display, T>(table: &Table<I, T>, ids: &[I]) -> Checked {
    ids.iter().try_for_each(|id| one(table, *id))
}
