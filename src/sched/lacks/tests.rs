use super::*;
use crate::fleet::{Host, LinkSpeed};
use crate::graph::{Job, Origin, PathSpec};
use crate::run::{Made, Source, TransferId};
use crate::sched::stores::Stores;
use proptest::prelude::*;

const HOSTS: u32 = 3;
const PATHS: u32 = 8;
const OVERHEAD: Span = Span::from_millis(100);

/// What can happen to stores. All links are alike, so that it does not matter where a path comes from.
#[derive(Clone, Debug)]
enum Change {
    Hold(u32, u32),
    Forget(u32, u32),
    Made(u32, u32, u64),
    Told(u32, Vec<u32>),
    Begin(u32, Vec<u32>),
    End(u32),
    Lost(u32),
    /// The link of a host is measured anew.
    Link(u32),
    Placed(u32),
}

fn change() -> impl Strategy<Value = Change> {
    let paths = || proptest::collection::vec(0..PATHS, 0..4);
    prop_oneof![
        (0..HOSTS, 0..PATHS).prop_map(|(h, p)| Change::Hold(h, p)),
        (0..HOSTS, 0..PATHS).prop_map(|(h, p)| Change::Forget(h, p)),
        (0..HOSTS, 0..PATHS, 1..99u64).prop_map(|(h, p, size)| Change::Made(h, p, size)),
        (0..HOSTS, paths()).prop_map(|(h, paths)| Change::Told(h, paths)),
        (0..HOSTS, paths()).prop_map(|(h, paths)| Change::Begin(h, paths)),
        (0..9u32).prop_map(Change::End),
        (0..HOSTS).prop_map(Change::Lost),
        (0..HOSTS).prop_map(Change::Link),
        (0..4u32).prop_map(Change::Placed),
    ]
}

fn host() -> Host {
    let link = LinkSpeed { bandwidth: 1 << 20, latency: Span::from_millis(1) };
    let text = serde_json::json!({
        "name": "h", "systems": ["x"], "features": [], "mandatory": [], "slots": 1, "cores": 0,
        "speed": 1.0, "substitutes": false, "link": link,
    });
    serde_json::from_value(text).unwrap()
}

/// Four jobs that read two or three of the paths, which are all valid at home.
fn work() -> Workload {
    let path = |n: u32| PathSpec {
        path: format!("p{n}"),
        origin: Origin::Home,
        size: u64::from(n + 1) << 20,
        refs: vec![],
    };
    let reads = [vec![0, 1], vec![1, 2, 3], vec![4, 5], vec![0, 6, 7]];
    let job = |paths: &Vec<u32>| Job { inputs: paths.iter().map(|&p| PathId(p)).collect(), ..Job::default() };
    Workload { jobs: reads.iter().map(job).collect(), paths: (0..PATHS).map(path).collect(), wanted: vec![] }
}

fn apply(change: &Change, work: &Workload, stores: &mut Stores, lacks: &mut Lacks) {
    let ids = |paths: &[u32]| {
        let mut ids: Vec<PathId> = paths.iter().map(|&p| PathId(p)).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    };
    match change {
        Change::Hold(host, path) => stores.hold(HostId(*host), PathId(*path)),
        Change::Forget(host, path) => stores.forget(HostId(*host), PathId(*path)),
        Change::Made(host, path, size) => {
            stores.made(HostId(*host), &Made { path: PathId(*path), size: size << 20, refs: vec![] });
            // Its readers become ready by it, and then nothing of before counts.
            let readers = work.jobs.iter().filter(|(_, job)| job.inputs.contains(&PathId(*path)));
            readers.for_each(|(job, _)| lacks.drop_job(job));
        }
        Change::Told(host, paths) => stores.told(HostId(*host), ids(paths).into_iter()),
        Change::Begin(host, paths) => {
            let mut paths = ids(paths);
            paths.retain(|&path| !stores.is_arriving(HostId(*host), path));
            stores.begin(Source::Host(HostId::HOME), HostId(*host), paths);
        }
        Change::End(transfer) => {
            stores.end(TransferId(*transfer));
        }
        Change::Lost(host) => stores.drop_transfers_of(HostId(*host)),
        Change::Link(host) => lacks.forget_host(HostId(*host)),
        Change::Placed(job) => lacks.drop_job(JobId(*job)),
    }
}

proptest! {
    #[test]
    fn what_is_kept_is_what_would_be_worked_out(changes in proptest::collection::vec(change(), 1..60)) {
        let work = work();
        let hosts: Table<HostId, Host> = (0..HOSTS).map(|_| host()).collect();
        let (mut stores, mut lacks) = (Stores::new(&work, &hosts), Lacks::new(&work, HOSTS as usize));
        hosts.ids().for_each(|host| stores.set_reachable(host, true));
        for change in changes {
            apply(&change, &work, &mut stores, &mut lacks);
            for (host, path) in stores.take_touched() {
                lacks.touch(host, path);
            }
            for (job, spec) in work.jobs.iter() {
                let mut closure = Vec::new();
                stores.fill_closure(&spec.inputs, &mut closure);
                let kept = lacks.closure(job, stores.losses(), |list| list.clone_from(&closure)).to_vec();
                let most = OVERHEAD + self::host().link.time(stores.bytes(&kept).max(1));
                for host in hosts.ids() {
                    let now = stores.transfer_time(&hosts, host, &closure, OVERHEAD);
                    prop_assert_eq!(stores.transfer_time(&hosts, host, &kept, OVERHEAD), now);
                    prop_assert!(now <= most, "{} to {} after {:?}", job, host, &change);
                    let kept = lacks.get(host, job);
                    prop_assert_eq!(kept.unwrap_or(now), now, "{} to {} after {:?}", job, host, &change);
                    lacks.set(host, job, now);
                }
                let mut now = vec![0; holders::width(HOSTS as usize)];
                stores.holders_of_all(&spec.inputs, &mut now);
                if let Some(kept) = lacks.complete(job) {
                    prop_assert_eq!(kept, &now, "{} after {:?}", job, &change);
                }
                lacks.find_complete(job, |complete| complete.copy_from_slice(&now));
            }
        }
    }
}

/// What can happen to a closure, by a path, its references beyond itself, and a host.
fn change_of_closure() -> impl Strategy<Value = (Change, Vec<u32>)> {
    (change(), proptest::collection::vec(1..PATHS, 0..3))
}

proptest! {
    #[test]
    fn a_kept_closure_lacks_nothing_whatever_is_lost_and_made_again(
        changes in proptest::collection::vec(change_of_closure(), 1..60),
    ) {
        let mut work = work();
        for path in 0..PATHS - 1 {
            work.paths[PathId(path)].refs = vec![PathId(path + 1)];
        }
        let hosts: Table<HostId, Host> = (0..HOSTS).map(|_| host()).collect();
        let (mut stores, mut lacks) = (Stores::new(&work, &hosts), Lacks::new(&work, HOSTS as usize));
        hosts.ids().for_each(|host| stores.set_reachable(host, true));
        for (change, refs) in changes {
            if let Change::Made(host, path, size) = change {
                let refs = refs.iter().map(|further| path + further).filter(|&path| path < PATHS);
                let made = Made { path: PathId(path), size: size << 20, refs: refs.map(PathId).collect() };
                stores.made(HostId(host), &made);
                // Who reads it is looked at anew; who only reads what refers to it is not.
                let readers = work.jobs.iter().filter(|(_, job)| job.inputs.contains(&PathId(path)));
                readers.for_each(|(job, _)| lacks.drop_job(job));
            } else {
                apply(&change, &work, &mut stores, &mut lacks);
            }
            for (job, spec) in work.jobs.iter() {
                let mut closure = Vec::new();
                stores.fill_closure(&spec.inputs, &mut closure);
                let losses = stores.losses();
                let kept = lacks.closure(job, losses, |list| list.clone_from(&closure)).to_vec();
                let missed = closure.iter().find(|path| !kept.contains(path));
                prop_assert_eq!(missed, None, "of {} after {:?}", job, &change);
                let most = lacks.most(job, losses).unwrap_or_else(|| host().link.time(stores.bytes(&kept).max(1)));
                lacks.set_most(job, most);
                for to in hosts.ids() {
                    let now = stores.transfer_time(&hosts, to, &closure, Span::ZERO);
                    prop_assert!(now <= most, "{} to {} after {:?}", job, to, &change);
                }
            }
        }
    }
}

#[test]
fn a_change_at_one_host_leaves_the_others_alone() {
    let work = work();
    let mut lacks = Lacks::new(&work, HOSTS as usize);
    let (one, other, job) = (HostId(1), HostId(2), JobId(0));
    lacks.set(one, job, Span::from_secs(1));
    lacks.set(other, job, Span::from_secs(2));
    lacks.touch(one, PathId(7));
    assert_eq!(lacks.get(one, job), Some(Span::from_secs(1)), "it does not read that path");
    lacks.touch(one, PathId(0));
    assert_eq!((lacks.get(one, job), lacks.get(other, job)), (None, Some(Span::from_secs(2))));
}

#[test]
fn of_many_inputs_one_more_makes_no_difference_yet() {
    let few = work();
    let all = Job { inputs: (0..PATHS).chain(100..116).map(PathId).collect(), ..Job::default() };
    let paths = (0..116).map(|_| few.paths[PathId(0)].clone()).collect();
    let work = Workload { jobs: [all].into_iter().collect(), paths, wanted: vec![] };
    let (host, job) = (HostId(1), JobId(0));
    let mut lacks = Lacks::new(&work, HOSTS as usize);
    lacks.set(host, job, Span::from_secs(1));
    let known = |lacks: &mut Lacks, path| {
        lacks.touch(host, PathId(path));
        assert_eq!(lacks.get(host, job), None, "nobody knows whether it lacks anything");
        lacks.find_complete(job, |complete| complete.fill(0));
        lacks.get(host, job)
    };
    let first = [0, 1].map(|path| known(&mut lacks, path));
    assert_eq!(first, [Some(Span::from_secs(1)); 2], "two of 24 inputs");
    assert_eq!(known(&mut lacks, 2), None, "an eighth of them");
    lacks.set(host, job, Span::ZERO);
    assert_eq!(known(&mut lacks, 3), None, "whether it lacks nothing is always known");
}

#[test]
fn another_link_makes_all_times_over_it_unknown_but_nothing_is_nothing_over_any_link() {
    let mut lacks = Lacks::new(&work(), HOSTS as usize);
    let (host, other) = (HostId(1), HostId(2));
    lacks.set(host, JobId(1), Span::from_secs(1));
    lacks.set(other, JobId(1), Span::from_secs(2));
    lacks.set(host, JobId(2), Span::ZERO);
    lacks.closure(JobId(1), 0, |_| {});
    lacks.set_most(JobId(1), Span::from_secs(3));
    assert_eq!(lacks.most(JobId(1), 0), Some(Span::from_secs(3)));
    assert_eq!(lacks.most(JobId(1), 1), None, "a path was lost");
    lacks.forget_host(host);
    assert_eq!(lacks.most(JobId(1), 0), None);
    let times = [(host, JobId(1)), (other, JobId(1)), (host, JobId(2))].map(|(h, j)| lacks.get(h, j));
    assert_eq!(times, [None, Some(Span::from_secs(2)), Some(Span::ZERO)]);
}

#[test]
fn a_path_that_many_read_is_forgotten_where_it_is_read() {
    let few = work();
    let reader = few.jobs[JobId(0)].clone();
    let all = few.jobs.rows().iter().cloned().chain((0..99).map(|_| reader.clone()));
    let work = Workload { jobs: all.collect(), ..few };
    let (host, reads, another) = (HostId(1), JobId(50), JobId(1));
    let mut lacks = Lacks::new(&work, HOSTS as usize);
    for job in [another, reads] {
        lacks.set(host, job, Span::from_secs(1));
    }
    lacks.touch(host, PathId(0));
    assert_eq!((lacks.get(host, reads), lacks.get(host, another)), (None, Some(Span::from_secs(1))));
    lacks.drop_job(another);
    assert_eq!(lacks.get(host, another), None);
    lacks.set(host, reads, Span::from_secs(2));
    assert_eq!(lacks.get(host, reads), Some(Span::from_secs(2)));
}
