//! What ready jobs lack on each host: how long their inputs would be on their way, and which hosts have
//! them all. Worked out when first asked for, and anew only where a path came or went.

use crate::base::{Id, Span, Table, typed_id};
use crate::fleet::HostId;
use crate::graph::{JobId, PathId, Users, Workload};

use super::holders;

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

/// What is known of one job, but for what is kept for each host.
#[derive(Clone, Debug)]
struct Row {
    job: JobId,
    /// Whether it was looked up which hosts have all its inputs.
    is_sure: bool,
    /// Its inputs with their closures, and by which count of losses.
    closure: Vec<PathId>,
    closed: Option<u32>,
    /// What none of the transfer times exceeds by that, if it was worked out.
    most: Option<Span>,
}

impl Row {
    /// One of so many inputs came, went or was sent to a host.
    fn touch(&mut self, transfer: &mut Transfer, reads: u32) {
        self.is_sure = false;
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
    /// Blocks of bits for the hosts that have all inputs of a job.
    width: usize,
    /// What is known, of as few jobs as are looked at.
    rows: Vec<Row>,
    /// Per row and host.
    transfers: Vec<Transfer>,
    /// Per row which hosts have all inputs, where that was looked up.
    complete: Vec<usize>,
    /// Lists of former rows, for their room.
    spare: Vec<Vec<PathId>>,
    /// Which row each job has.
    row: Table<JobId, Option<RowId>>,
    /// Per job how many paths it reads.
    reads: Table<JobId, u32>,
    readers: Users<PathId>,
}

impl Lacks {
    pub fn new(work: &Workload, hosts: usize) -> Self {
        let reads = |inputs: &[PathId]| u32::try_from(inputs.len()).unwrap_or(u32::MAX);
        Self {
            hosts,
            width: holders::width(hosts),
            rows: Vec::new(),
            transfers: Vec::new(),
            complete: Vec::new(),
            spare: Vec::new(),
            row: Table::filled(work.jobs.len(), None),
            reads: work.jobs.rows().iter().map(|job| reads(&job.inputs)).collect(),
            readers: Users::of_paths(work),
        }
    }

    /// The transfer time of a job's inputs to a host, if it is known.
    pub fn get(&self, host: HostId, job: JobId) -> Option<Span> {
        let row = self.row[job]?;
        self.transfers[self.place(row, host)].known(self.rows[row.index()].is_sure)
    }

    /// The transfer times of the inputs of a job of which it is known where they all are, by host.
    pub fn surely(&self, job: JobId) -> impl Iterator<Item = Option<Span>> + '_ {
        let row = self.row[job].filter(|row| self.rows[row.index()].is_sure);
        debug_assert!(row.is_some(), "where the inputs of {job} are was not looked up");
        let times = row.map_or(&[][..], |row| &self.transfers[row.index() * self.hosts..][..self.hosts]);
        times.iter().map(|transfer| transfer.known(true))
    }

    /// Keeps a transfer time.
    pub fn set(&mut self, host: HostId, job: JobId, time: Span) {
        let row = self.row_of(job);
        let place = self.place(row, host);
        self.transfers[place] = Transfer::of(time);
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

    fn place(&self, row: RowId, host: HostId) -> usize {
        row.index() * self.hosts + host.index()
    }

    fn row_mut(&mut self, job: JobId) -> &mut Row {
        let row = self.row_of(job);
        &mut self.rows[row.index()]
    }

    /// The row of a job, a new one if it has none.
    fn row_of(&mut self, job: JobId) -> RowId {
        *self.row[job].get_or_insert_with(|| {
            let closure = self.spare.pop().unwrap_or_default();
            self.rows.push(Row { job, is_sure: false, closure, closed: None, most: None });
            self.transfers.resize(self.rows.len() * self.hosts, Transfer::of(UNKNOWN));
            self.complete.resize(self.rows.len() * self.width, 0);
            RowId::from_index(self.rows.len() - 1)
        })
    }

    fn row(&self, job: JobId) -> Option<&Row> {
        self.row[job].map(|row| &self.rows[row.index()])
    }

    /// The hosts that have all of a job's inputs, as bits, if that is known.
    #[inline]
    pub fn complete(&self, job: JobId) -> Option<&[usize]> {
        let row = self.row[job]?.index();
        self.rows[row].is_sure.then(|| &self.complete[row * self.width..][..self.width])
    }

    /// Keeps the hosts that have all of a job's inputs, as `find` says: nothing is to be transferred there.
    pub fn find_complete(&mut self, job: JobId, find: impl FnOnce(&mut [usize])) {
        let row = self.row_of(job).index();
        let complete = &mut self.complete[row * self.width..][..self.width];
        find(complete);
        let transfers = &mut self.transfers[row * self.hosts..][..self.hosts];
        holders::of(complete).for_each(|host| transfers[host.index()] = Transfer::of(Span::ZERO));
        self.rows[row].is_sure = true;
    }

    /// A path came, went or was sent somewhere.
    pub fn touch(&mut self, host: HostId, path: PathId) {
        let Self { hosts, rows, transfers, row, reads, readers, .. } = self;
        let place = |row: usize| row * *hosts + host.index();
        let readers = readers.of(path);
        if readers.len() / POPULAR > rows.len() {
            for (i, known) in rows.iter_mut().enumerate() {
                if readers.binary_search(&known.job).is_ok() {
                    known.touch(&mut transfers[place(i)], reads[known.job]);
                }
            }
        } else {
            for &job in readers {
                if let Some(i) = row[job].map(Id::index) {
                    rows[i].touch(&mut transfers[place(i)], reads[job]);
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
        self.rows.iter_mut().for_each(|row| row.most = None);
        for Transfer { time, .. } in self.transfers.iter_mut().skip(host.index()).step_by(self.hosts) {
            if *time != Span::ZERO {
                *time = UNKNOWN;
            }
        }
    }

    /// A job has its place. The last row takes that of its own.
    pub fn drop_job(&mut self, job: JobId) {
        let Some(row) = self.row[job].take() else { return };
        self.spare.push(self.rows.swap_remove(row.index()).closure);
        let (place, last) = (row.index() * self.hosts, self.rows.len() * self.hosts);
        self.transfers.copy_within(last.., place);
        self.transfers.truncate(last);
        let (place, last) = (row.index() * self.width, self.rows.len() * self.width);
        self.complete.copy_within(last.., place);
        self.complete.truncate(last);
        if let Some(moved) = self.rows.get(row.index()) {
            self.row[moved.job] = Some(row);
        }
    }
}

#[cfg(test)]
mod tests;
