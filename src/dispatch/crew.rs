//! The slot threads of a run: started before it is known what to build, so that connecting and
//! evaluating overlap.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, unbounded};
use tokio::runtime::Handle;

use super::build::BuildContext;
use super::joblog::Keeper;
use super::limits::Limits;
use super::mux::Mux;
use super::porters::Porters;
use super::roots::Roots;
use super::session::Access;
use super::slot::{Shared, SlotWorker, Task};
use super::stager::Stager;
use super::stream::Knowledge;
use super::transfer::Carrier;
use super::trust::Imports;
use super::world::{HostHandle, HostState, Inbox, RealWorld, Slot};
use crate::base::{Id, Table};
use crate::fleet::HostId;
use crate::graph::{JobId, Workload};
use crate::run::SlotId;

/// Threads that are connecting or connected.
pub struct Crew {
    access: Table<HostId, Arc<Access>>,
    hosts: Table<HostId, HostHandle>,
    inbox: Inbox,
    started: Instant,
    logs: Logs,
    roots: Table<HostId, Arc<Roots>>,
}

/// What a run needs beside its work.
pub struct Means {
    /// The `nix` program.
    pub nix: PathBuf,
    /// Where transfers run.
    pub runtime: Handle,
    /// One message for each time the user wants the run to end.
    pub interrupts: Receiver<()>,
    /// Limits on each build.
    pub limits: Limits,
    /// Keep the build directories of failed builds.
    pub keep_failed: bool,
    /// What this machine's store takes from other hosts.
    pub imports: Imports,
}

impl Crew {
    /// Starts a thread per slot. Those of builders connect at once, a few handshakes at a time per host;
    /// those of this machine wait for [`Self::into_world`]. `logs` is
    /// where build logs go that the local daemon does not take.
    pub fn start(hosts: Vec<(Arc<Access>, u32)>, connect_timeout: Option<Duration>, logs: PathBuf) -> Self {
        let inbox = Inbox::new();
        let started = Instant::now();
        let access: Table<HostId, Arc<Access>> = hosts.iter().map(|(a, _)| Arc::clone(a)).collect();
        let (keeper, thread) = Keeper::start(Arc::clone(&access[HostId::HOME]), logs);
        let logs = Logs { keeper: keeper.clone(), thread };
        let (hosts_of_crew, roots) = (Table::new(), Table::new());
        let mut crew = Self { access, hosts: hosts_of_crew, inbox, started, logs, roots };
        for (access, slots) in hosts {
            crew.add_host(&access, slots, connect_timeout, &keeper);
        }
        crew
    }

    fn add_host(
        &mut self,
        access: &Arc<Access>,
        slots: u32,
        connect_timeout: Option<Duration>,
        keeper: &Keeper,
    ) {
        let host = HostId::from_index(self.hosts.len());
        let roots = Arc::new(Roots::default());
        self.roots.push(Arc::clone(&roots));
        let mut handles = Table::new();
        for index in 0..slots {
            let (sender, tasks) = unbounded();
            let shared = Arc::new(Shared::default());
            let worker = SlotWorker {
                host,
                slot: SlotId(index),
                access: Arc::clone(access),
                shared: Arc::clone(&shared),
                roots: Arc::clone(&roots),
                tasks,
                out: self.inbox.letters.0.clone(),
                logs: keeper.clone(),
                zero: self.started,
                connect_timeout,
                session: None,
                cores: None,
            };
            // An evaluation may need the local store for itself, so this machine's turn comes after it.
            if !access.is_local() {
                let _ = sender.send(Task::Connect { epoch: 0 });
            }
            // Nobody waits for it: it may hang in a connection attempt when the run is over.
            std::thread::spawn(move || worker.run());
            handles.push(Slot { tasks: sender, shared });
        }
        let state = HostState::Connecting;
        let (connected, answered) = (Vec::new(), None);
        self.hosts.push(HostHandle { slots: handles, epoch: 0, state, connected, answered });
    }

    /// The world of these hosts and that work, of which each job can be built by those `eligible`; its
    /// clock starts now. With it come the build logs, to be waited for when the run is over.
    pub fn into_world(
        self,
        work: Arc<Workload>,
        eligible: Table<JobId, Vec<HostId>>,
        mux: Arc<Mux>,
        means: Means,
    ) -> (RealWorld, Logs) {
        for (_, slot) in self.hosts[HostId::HOME].slots.iter() {
            let _ = slot.tasks.send(Task::Connect { epoch: 0 });
        }
        let names = self.access.rows().iter().map(|access| access.name().to_owned()).collect();
        let patience = self.access[HostId::HOME].patience();
        let known = Arc::new(Knowledge::new(self.hosts.len()));
        let carrier = Carrier {
            work: Arc::clone(&work),
            porters: Porters::new(Arc::clone(&mux), self.roots),
            known: Arc::clone(&known),
            hosts: self.access,
            mux,
            nix: means.nix,
            runtime: means.runtime,
            out: self.inbox.deliveries.0,
        };
        let mut context = BuildContext::new(work, known);
        let seconds =
            |limit: Option<Duration>| limit.map_or(0, |d| u32::try_from(d.as_secs()).unwrap_or(u32::MAX));
        context.timeout = seconds(means.limits.total);
        context.max_silent = seconds(means.limits.silent);
        context.keep_failed = means.keep_failed;
        context.imports = means.imports;
        context.patience = patience;
        context.names = names;
        let world = RealWorld::new(
            self.started,
            self.hosts,
            self.inbox.letters.1,
            self.inbox.deliveries.1,
            means.interrupts,
            Stager::new(carrier),
            Arc::new(context),
            means.limits,
            eligible,
        );
        (world, self.logs)
    }
}

/// The build logs of a run on their way to where they are kept.
pub struct Logs {
    keeper: Keeper,
    thread: JoinHandle<Option<PathBuf>>,
}

impl Logs {
    /// Waits until every log is kept; the directory of those that this machine's Nix did not take, if any.
    pub fn finish(self) -> Option<PathBuf> {
        self.keeper.stop();
        // A panic was printed where it happened.
        self.thread.join().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testkit::{self, Says};
    use super::*;
    use crate::drive::Heard;
    use crate::graph::{Job, Origin, PathId, PathSpec};
    use crate::run::Event;

    fn one_job() -> Workload {
        let job = Job {
            drv: "/nix/store/00000000000000000000000000000001-a.drv".to_owned(),
            name: "a".to_owned(),
            system: "builtin".to_owned(),
            features: Vec::new(),
            needs: Vec::new(),
            inputs: Vec::new(),
            outputs: vec![PathId(0)],
            fixed_output: false,
            prefer_local: false,
            parallel: false,
        };
        let path = "/nix/store/00000000000000000000000000000002-a".to_owned();
        let path = PathSpec { path, origin: Origin::Job(JobId(0)), size: 0, refs: Vec::new() };
        Workload {
            jobs: [job].into_iter().collect(),
            paths: [path].into_iter().collect(),
            wanted: vec![PathId(0)],
        }
    }

    #[test]
    fn a_host_that_does_not_say_what_it_has_is_lost() {
        let (access, dir) = testkit::host(&Says::greeting(), true);
        let access = Arc::new(access);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let crew = Crew::start(vec![(Arc::clone(&access), 1)], None, dir.path().to_owned());
        let mux = Arc::new(Mux::new([(access, String::new())]).unwrap());
        let means = Means {
            nix: PathBuf::from("nix"),
            runtime: runtime.handle().clone(),
            interrupts: crossbeam::channel::never(),
            limits: Limits::default(),
            keep_failed: false,
            imports: Imports::Anything,
        };
        let eligible: Table<JobId, Vec<HostId>> = [vec![HostId::HOME]].into_iter().collect();
        let (world, _logs) = crew.into_world(Arc::new(one_job()), eligible, mux, means);
        let world = Heard::until_ready(world);
        let facts: Vec<&Event> = world.facts().collect();
        let [Event::HostLost { host: HostId::HOME, cause }, Event::FleetReady] = facts.as_slice() else {
            panic!("{facts:?}");
        };
        insta::assert_snapshot!(cause, @"local: the connection to the Nix daemon failed while asking for valid paths: no byte in either direction for 0.05 s; see what holds its nix-daemon up there");
    }
}
