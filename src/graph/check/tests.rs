use super::*;
use crate::graph::testkit::{random_work, work};
use proptest::prelude::*;

fn error(change: impl Fn(&mut Workload)) -> String {
    let mut work = work(&[vec![], vec![0], vec![0, 1]]);
    work.check().unwrap();
    change(&mut work);
    let text = work.check().unwrap_err().to_string();
    text.replace("/nix/store/00000000000000000000000000000000-", "")
        .replace("/nix/store/11111111111111111111111111111111-", "")
}

#[test]
fn each_kind_of_disagreement_is_told() {
    let (j1, j2) = (JobId(1), JobId(2));
    let told = [
        error(|w| w.jobs[j2].needs.push(JobId(7))),
        error(|w| w.jobs[j2].inputs.push(PathId(7))),
        error(|w| w.jobs[j2].outputs.push(PathId(7))),
        error(|w| w.wanted.push(PathId(3))),
        error(|w| w.paths[PathId(1)].refs.push(PathId(4))),
        error(|w| w.paths[PathId(1)].origin = Origin::Job(JobId(4))),
        error(|w| w.jobs[j2].needs.reverse()),
        error(|w| w.jobs[j2].inputs.push(PathId(1))),
        error(|w| w.jobs[j1].drv = w.jobs[j2].drv.clone()),
        error(|w| w.paths[PathId(1)].path = w.paths[PathId(0)].path.clone()),
        error(|w| w.paths[PathId(1)].origin = Origin::Home),
        error(|w| w.jobs[j1].outputs.clear()),
        error(|w| w.jobs[j1].outputs.push(PathId(1))),
        error(|w| w.jobs[j1].needs.clear()),
        error(|w| w.jobs[JobId(0)].needs.push(j2)),
    ];
    insta::assert_snapshot!(told.join("\n"), @r"
    the needs of j2.drv: j7 does not exist, there are only 3
    the inputs of j2.drv: p7 does not exist, there are only 3
    the outputs of j2.drv: p7 does not exist, there are only 3
    the list of wanted paths: p3 does not exist, there are only 3
    the references of j1: p4 does not exist, there are only 3
    the origin of j1: j4 does not exist, there are only 3
    the needs of j2.drv: j0 is out of order or there twice
    the inputs of j2.drv: p1 is out of order or there twice
    j2.drv appears twice
    j0 appears twice
    j1: j1.drv makes it, but its origin is another
    j1: its origin j1.drv does not make it
    j1: j1.drv makes it twice
    j0: j1.drv uses it, but does not need its maker j0.drv
    jobs need each other in a circle, j0.drv among them
    ");
}

proptest! {
    #[test]
    fn what_is_sound_passes((work, _) in random_work(20)) {
        prop_assert_eq!(work.check(), Ok(()));
    }
}
