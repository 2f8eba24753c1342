use super::*;
use crate::graph::testkit::{random_work, work};
use proptest::prelude::*;

#[test]
fn the_smallest_ready_job_comes_first() {
    let order = Order::new(&work(&[vec![3], vec![], vec![1], vec![]]));
    assert_eq!(order.jobs(), [JobId(1), JobId(2), JobId(3), JobId(0)]);
    assert_eq!(order.users(JobId(3)), [JobId(0)]);
    assert!(order.users(JobId(0)).is_empty() && order.stuck().is_empty());
}

#[test]
fn what_is_on_a_circle_or_behind_it_is_stuck() {
    let order = Order::new(&work(&[vec![1], vec![0], vec![1], vec![]]));
    assert_eq!(order.stuck(), [JobId(0), JobId(1), JobId(2)]);
    assert_eq!(order.jobs().len(), 4);
}

proptest! {
    #[test]
    fn needs_come_before_users((work, _) in random_work(30)) {
        let order = Order::new(&work);
        prop_assert!(order.stuck().is_empty());
        for (id, job) in work.jobs.iter() {
            prop_assert_eq!(order.jobs()[order.position(id)], id);
            for &need in &job.needs {
                prop_assert!(order.position(need) < order.position(id));
                prop_assert!(order.users(need).contains(&id));
            }
        }
        let edges: usize = work.jobs.iter().map(|(_, job)| job.needs.len()).sum();
        prop_assert_eq!(work.jobs.ids().map(|id| order.users(id).len()).sum::<usize>(), edges);
    }
}
