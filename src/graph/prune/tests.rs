use super::*;
use crate::graph::testkit::{drv, drv_path, out_path, path};

fn graph(derivations: Vec<crate::nix::Derivation>) -> Graph {
    Graph::new(derivations).unwrap()
}

fn wanted(graph: &Graph, name: &str) -> Vec<(DrvId, Vec<String>)> {
    vec![(graph.find(drv_path(name).as_str()).unwrap(), vec!["out".to_owned()])]
}

fn build(names: &[&str]) -> BTreeSet<StorePath> {
    names.iter().map(|name| drv_path(name)).collect()
}

/// `job <- needs | inputs with origin`, one line per job, then the wanted paths.
fn show(work: &Workload) -> String {
    work.check().unwrap();
    let name = |id: PathId| {
        let spec = &work.paths[id];
        let origin = match spec.origin {
            Origin::Job(job) => job.to_string(),
            Origin::Home => "home".to_owned(),
            Origin::Substituter => format!("cache {}", spec.size),
        };
        format!("{}[{origin}]", spec.path.rsplit_once('/').unwrap().1.split_once('-').unwrap().1)
    };
    let names = |ids: &[PathId]| ids.iter().map(|&id| name(id)).collect::<Vec<_>>().join(" ");
    let mut text = String::new();
    for (id, job) in work.jobs.iter() {
        text.push_str(&format!("{id} {} <- {:?} | {}\n", job.name, job.needs, names(&job.inputs)));
    }
    text.push_str(&format!("wanted {}", names(&work.wanted)));
    text
}

#[test]
fn only_what_is_missing_and_needed_is_a_job() {
    let graph = graph(vec![
        drv("a", &[]),
        drv("b", &["a"]),
        drv("c", &["b", "cached", "here"]),
        drv("cached", &[]),
        drv("here", &["a"]),
        drv("other", &["a"]),
    ]);
    let missing =
        Missing { build: build(&["b", "c", "other"]), substitute: [(out_path("cached"), Some(7))].into() };
    let work = Workload::from_graph(&graph, &wanted(&graph, "c"), &missing);
    insta::assert_snapshot!(show(&work), @r"
    j0 b <- [] | a[home] b-src[home]
    j1 c <- [j0] | b[j0] cached[cache 7] here[home] c-src[home]
    wanted c[j1]
    ");
    assert_eq!(work.jobs[JobId(0)].outputs.len(), 2, "also outputs that nobody uses");
}

#[test]
fn what_is_wanted_and_there_is_no_work() {
    let graph = graph(vec![drv("a", &[])]);
    let none = Workload::from_graph(&graph, &wanted(&graph, "a"), &Missing::default());
    assert_eq!(none, Workload::default());
    let cached = Missing { substitute: [(out_path("a"), None)].into(), ..Missing::default() };
    let fetched = Workload::from_graph(&graph, &wanted(&graph, "a"), &cached);
    insta::assert_snapshot!(show(&fetched), @"wanted a[cache 0]");
}

#[test]
fn a_job_is_not_reached_through_what_is_valid() {
    let graph = graph(vec![drv("a", &[]), drv("b", &["a"]), drv("c", &["b"])]);
    let missing = Missing { build: build(&["a", "c"]), ..Missing::default() };
    let work = Workload::from_graph(&graph, &wanted(&graph, "c"), &missing);
    insta::assert_snapshot!(show(&work), @r"
    j0 c <- [] | b[home] c-src[home]
    wanted c[j0]
    ");
}

#[test]
fn without_a_store_everything_is_a_job() {
    let graph = graph(vec![drv("a", &[]), drv("b", &["a"]), drv("c", &["b"]), drv("d", &["c"])]);
    let root = graph.find(drv_path("c").as_str()).unwrap();
    let work = Workload::from_graph_all(&graph, &[root, root]);
    insta::assert_snapshot!(show(&work), @r"
    j0 a <- [] | a-src[home]
    j1 b <- [j0] | a[j0] b-src[home]
    j2 c <- [j1] | b[j1] c-src[home]
    wanted c-dev[j2] c[j2]
    ");
}

#[test]
fn twins_are_one_job_and_make_no_cycle() {
    // `a` and `z` make the same; `a` needs `y`, which needs `z`. If `a` stood for both, `y` would
    // need `a`, and `a` needs `y`.
    let mut twin = drv("z", &[]);
    twin.outputs = drv("a", &[]).outputs;
    let graph = graph(vec![drv("a", &["y"]), drv("b", &["a"]), drv("y", &["z"]), twin]);
    let root = graph.find(drv_path("b").as_str()).unwrap();
    insta::assert_snapshot!(show(&Workload::from_graph_all(&graph, &[root])), @r"
    j0 b <- [j1] | a[j1] b-src[home]
    j1 z <- [] | z-src[home]
    wanted b-dev[j0] b[j0]
    ");
}

#[test]
fn a_twin_that_is_not_missing_stands_for_nobody() {
    let mut twin = drv("z", &["a"]);
    twin.outputs = drv("c", &[]).outputs;
    let graph = graph(vec![drv("a", &[]), drv("b", &["z"]), drv("c", &[]), twin]);
    let missing = Missing { build: build(&["a", "b", "z"]), ..Missing::default() };
    let work = Workload::from_graph(&graph, &wanted(&graph, "b"), &missing);
    let names: Vec<_> = work.jobs.rows().iter().map(|job| job.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "z"]);
}

#[test]
fn facts_come_along() {
    let mut fetch = drv("a", &[]);
    for output in &mut fetch.outputs {
        output.fixed = true;
    }
    fetch.options.prefer_local = true;
    fetch.options.parallel = true;
    fetch.options.required_features = vec!["kvm".to_owned()];
    let graph = graph(vec![fetch]);
    let work = Workload::from_graph_all(&graph, &graph.roots());
    let job = &work.jobs[JobId(0)];
    assert!(job.fixed_output && job.prefer_local && job.parallel);
    assert_eq!(job.features, ["kvm"]);
    assert_eq!(job.drv, drv_path("a").as_str());
    assert_eq!(work.paths[job.inputs[0]].path, path('3', "a-src").as_str());
}
