//! What ready jobs lack on each host: how long their inputs would be on their way, and which hosts have
//! them all. Worked out when first asked for, and anew only where a path came or went.

use fixedbitset::FixedBitSet;

use crate::base::{Id, Span, Table, typed_id};
use crate::fleet::HostId;
use crate::graph::{JobId, PathId, Users, Workload};

typed_id!(
    /// A job of which something is known.
    RowId, "row"
);

/// Not worked out yet, or no longer true.
const UNKNOWN: Span = Span(u64::MAX);
/// A transfer time stands until one in so many of a job's inputs came or went.
const STALE: u32 = 8;
/// A path with this many times as many readers as there are jobs with rows is looked for in those.
const POPULAR: usize = 8;

/// What is known of a job's inputs on one host.
#[derive(Clone, Copy, Debug)]
struct Transfer {
    time: Span,
    /// How many of them came or went since.
    touched: u32,
}

impl Transfer {
    fn of(time: Span) -> Self {
        Self { time, touched: 0 }
    }

    /// The time. After an input came or went, it has to be known whether any is still lacking.
    fn known(self, is_sure: bool) -> Option<Span> {
        (self.time != UNKNOWN && (self.touched == 0 || is_sure)).then_some(self.time)
    }
}

/// What is known of one job.
#[derive(Clone, Debug)]
struct Row {
    job: JobId,
    /// By host.
    transfer: Box<[Transfer]>,
    /// The hosts that have all its inputs; `None` where that has to be looked up.
    complete: Option<FixedBitSet>,
    /// Its inputs with their closures, and by which count of losses.
    closure: Vec<PathId>,
    closed: Option<u32>,
    /// What none of the transfer times exceeds by that, if it was worked out.
    most: Option<Span>,
}

impl Row {
    /// One of so many inputs came, went or was sent to a host.
    fn touch(&mut self, host: HostId, reads: u32) {
        self.complete = None;
        let transfer = &mut self.transfer[host.index()];
        transfer.touched += 1;
        if transfer.time == Span::ZERO || transfer.touched * STALE >= reads {
            *transfer = Transfer::of(UNKNOWN);
        }
    }
}

/// Transfer times of ready jobs. Estimates: a path that appears at a better source, or a path at the
/// destination that an input only refers to, does not count before an input itself comes or goes there; and of many
/// inputs, some may.
#[derive(Clone, Debug)]
pub(super) struct Lacks {
    hosts: usize,
    /// What is known, of as few jobs as are looked at.
    rows: Vec<Row>,
    /// Rows of others, for their room.
    spare: Vec<(Box<[Transfer]>, Vec<PathId>)>,
    /// Which row each job has.
    row: Table<JobId, Option<RowId>>,
    /// Per job how many paths it reads.
    reads: Table<JobId, u32>,
    readers: Users<PathId>,
}

impl Lacks {
    pub fn new(work: &Workload, hosts: usize) -> Self {
        Self {
            hosts,
            rows: Vec::new(),
            spare: Vec::new(),
            row: Table::filled(work.jobs.len(), None),
            reads: work
                .jobs
                .rows()
                .iter()
                .map(|j| u32::try_from(j.inputs.len()).unwrap_or(u32::MAX))
                .collect(),
            readers: Users::of_paths(work),
        }
    }

    /// The transfer time of a job's inputs to a host, if it is known.
    pub fn get(&self, host: HostId, job: JobId) -> Option<Span> {
        let row = self.row(job)?;
        row.transfer[host.index()].known(row.complete.is_some())
    }

    /// The transfer times of the inputs of a job of which it is known where they all are, by host.
    pub fn surely(&self, job: JobId) -> impl Iterator<Item = Option<Span>> + '_ {
        let row = self.row(job).filter(|row| row.complete.is_some());
        debug_assert!(row.is_some(), "where the inputs of {job} are was not looked up");
        row.map_or(&[][..], |row| &row.transfer).iter().map(|transfer| transfer.known(true))
    }

    /// Keeps a transfer time.
    pub fn set(&mut self, host: HostId, job: JobId, time: Span) {
        self.row_mut(job).transfer[host.index()] = Transfer::of(time);
    }

    /// The closure of a job's inputs, which `fill` is to find where paths were lost since.
    pub fn closure(&mut self, job: JobId, losses: u32, fill: impl FnOnce(&mut Vec<PathId>)) -> &[PathId] {
        let row = self.row_mut(job);
        if row.closed != Some(losses) {
            fill(&mut row.closure);
            (row.closed, row.most) = (Some(losses), None);
        }
        &row.closure
    }

    /// The closure that is kept of a job's inputs, if it holds.
    pub fn kept_closure(&self, job: JobId, losses: u32) -> Option<&[PathId]> {
        let row = self.row(job)?;
        (row.closed == Some(losses)).then_some(&row.closure)
    }

    /// What none of a job's transfer times exceeds by its closure, if that is known.
    pub fn most(&self, job: JobId, losses: u32) -> Option<Span> {
        let row = self.row(job)?;
        row.most.filter(|_| row.closed == Some(losses))
    }

    /// Keeps that.
    pub fn set_most(&mut self, job: JobId, most: Span) {
        self.row_mut(job).most = Some(most);
    }

    fn row_mut(&mut self, job: JobId) -> &mut Row {
        let row = *self.row[job].get_or_insert_with(|| {
            let unknown = Transfer::of(UNKNOWN);
            let (mut transfer, closure) =
                self.spare.pop().unwrap_or_else(|| (vec![unknown; self.hosts].into(), Vec::new()));
            transfer.fill(unknown);
            self.rows.push(Row { job, transfer, complete: None, closure, closed: None, most: None });
            RowId::from_index(self.rows.len() - 1)
        });
        &mut self.rows[row.index()]
    }

    fn row(&self, job: JobId) -> Option<&Row> {
        self.row[job].map(|row| &self.rows[row.index()])
    }

    /// The hosts that have all of a job's inputs, if that is known.
    pub fn complete(&self, job: JobId) -> Option<&FixedBitSet> {
        self.row(job)?.complete.as_ref()
    }

    /// Keeps the hosts that have all of a job's inputs: nothing is to be transferred there.
    pub fn set_complete(&mut self, job: JobId, hosts: FixedBitSet) {
        let row = self.row_mut(job);
        for host in hosts.ones() {
            row.transfer[host] = Transfer::of(Span::ZERO);
        }
        row.complete = Some(hosts);
    }

    /// A path came, went or was sent somewhere.
    pub fn touch(&mut self, host: HostId, path: PathId) {
        let readers = self.readers.of(path);
        if readers.len() / POPULAR > self.rows.len() {
            let reads = |row: &&mut Row| readers.binary_search(&row.job).is_ok();
            self.rows.iter_mut().filter(reads).for_each(|row| row.touch(host, self.reads[row.job]));
        } else {
            for &job in readers {
                if let Some(row) = self.row[job] {
                    self.rows[row.index()].touch(host, self.reads[job]);
                }
            }
        }
    }

    /// Whether a job reads a path.
    pub fn reads(&self, job: JobId, path: PathId) -> bool {
        self.readers.contains(path, job)
    }

    /// The link of a host is not what it was thought to be. Nothing is nothing over any link.
    pub fn forget_host(&mut self, host: HostId) {
        for row in &mut self.rows {
            row.most = None;
            let time = &mut row.transfer[host.index()].time;
            if *time != Span::ZERO {
                *time = UNKNOWN;
            }
        }
    }

    /// A job has its place.
    pub fn drop_job(&mut self, job: JobId) {
        let Some(row) = self.row[job].take() else { return };
        let Row { transfer, closure, .. } = self.rows.swap_remove(row.index());
        self.spare.push((transfer, closure));
        if let Some(moved) = self.rows.get(row.index()) {
            self.row[moved.job] = Some(row);
        }
    }
}

#[cfg(test)]
mod tests;
