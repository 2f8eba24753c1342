use super::*;
use crate::graph::testkit::{drv, drv_path, path};
use proptest::prelude::*;

fn error(derivations: Vec<Derivation>) -> String {
    Graph::new(derivations).unwrap_err().to_string()
}

#[test]
fn ids_follow_paths_and_edges_are_found_from_both_ends() {
    let graph = Graph::new(vec![drv("c", &["b", "a"]), drv("a", &[]), drv("b", &["a"])]).unwrap();
    assert_eq!((graph.len(), graph.edges()), (3, 3));
    let names: Vec<_> = graph.ids().map(|id| graph.drv(id).name.as_str()).collect();
    assert_eq!(names, ["a", "b", "c"]);
    let id = |name: &str| graph.find(drv_path(name).as_str()).unwrap();
    let inputs: Vec<_> = graph.inputs(id("c")).into_iter().map(|(input, _)| input).collect();
    assert_eq!(inputs, [id("a"), id("b")]);
    assert_eq!(graph.inputs(id("b")), [(id("a"), ["out".to_owned()].as_slice())]);
    assert_eq!(graph.users(id("a")), [id("b"), id("c")]);
    assert_eq!(graph.roots(), [id("c")]);
    assert_eq!(graph.topological(), [id("a"), id("b"), id("c")]);
    assert_eq!(graph.find(drv_path("x").as_str()), None);
}

#[test]
fn no_derivations_are_a_graph() {
    let graph = Graph::new(Vec::new()).unwrap();
    assert!(graph.is_empty() && graph.roots().is_empty() && graph.topological().is_empty());
}

#[test]
fn every_error_names_the_derivation() {
    let z = "/nix/store/00000000000000000000000000000000";
    assert_eq!(
        error(vec![drv("a", &[]), drv("a", &[])]),
        format!("the derivation graph has {z}-a.drv twice")
    );
    assert_eq!(
        error(vec![drv("a", &["b"])]),
        format!(
            "{z}-a.drv needs {z}-b.drv, which the derivation graph does not have; \
             was it made without --recursive?"
        )
    );
    let mut user = drv("b", &["a"]);
    user.input_drvs[0].1 = vec!["out".to_owned(), "man".to_owned()];
    assert_eq!(
        error(vec![drv("a", &[]), user]),
        format!("{z}-b.drv needs the output 'man' of {z}-a.drv, which has no such output (it has dev, out)")
    );
    let mut empty = drv("a", &[]);
    empty.outputs.clear();
    assert_eq!(error(vec![empty]), format!("{z}-a.drv has no outputs"));
}

#[test]
fn outputs_are_shared_wholly_or_not_at_all() {
    let (mut b, mut c) = (drv("b", &[]), drv("c", &[]));
    b.outputs = drv("a", &[]).outputs;
    assert!(Graph::new(vec![drv("a", &[]), b]).is_ok(), "twins are normal");
    c.outputs[1] = drv("a", &[]).outputs[1].clone();
    assert!(error(vec![drv("a", &[]), c]).contains("-c.drv and /nix/store/"), "half a twin is not");

    let mut twice = drv("a", &[]);
    twice.outputs[0].path = twice.outputs[1].path.clone();
    assert_eq!(
        Graph::new(vec![twice]).unwrap_err(),
        GraphError::RepeatedOutput { drv: drv_path("a").to_string(), output: path('1', "a").to_string() }
    );
    let mut twice = drv("a", &[]);
    twice.outputs[0].name = "out".to_owned();
    assert!(error(vec![twice]).ends_with("-a.drv has the output out twice"));
}

#[test]
fn a_cycle_is_printed_from_its_smallest_derivation() {
    let short = |text: String| text.replace("/nix/store/00000000000000000000000000000000-", "");
    let cyclic =
        vec![drv("a", &["b"]), drv("b", &["d"]), drv("c", &["b"]), drv("d", &["c"]), drv("e", &["a"])];
    assert_eq!(short(error(cyclic)), "derivations need each other: b.drv -> d.drv -> c.drv -> b.drv");
    assert_eq!(short(error(vec![drv("a", &["a"])])), "derivations need each other: a.drv -> a.drv");
    let ring: Vec<_> =
        (0..40).map(|i| drv(&format!("n{i:02}"), &[format!("n{:02}", (i + 1) % 40).as_str()])).collect();
    let text = short(error(ring));
    assert!(text.contains("n11.drv -> (28 more) -> n00.drv"), "{text}");
}

#[test]
fn a_very_long_chain_needs_no_deep_stack() {
    let name = |i: usize| format!("n{i:06}");
    let chain: Vec<_> = (0..20_000)
        .map(|i| if i == 0 { drv(&name(0), &[]) } else { drv(&name(i), &[name(i - 1).as_str()]) })
        .collect();
    let graph = Graph::new(chain).unwrap();
    assert!(graph.topological().iter().copied().eq(graph.ids()));
}

proptest! {
    #[test]
    fn inputs_come_before_users(edges in proptest::collection::vec((0..30usize, 0..30usize), 0..90)) {
        let name = |i: usize| format!("n{:02}", i * 7 % 30);
        let mut inputs = vec![Vec::new(); 30];
        for (a, b) in edges.into_iter().filter(|(a, b)| a != b) {
            inputs[a.max(b)].push(name(a.min(b)));
        }
        for list in &mut inputs {
            list.sort();
            list.dedup();
        }
        let all: Vec<_> = inputs.iter().enumerate().map(|(i, list)| {
            drv(&name(i), &list.iter().map(String::as_str).collect::<Vec<_>>())
        }).collect();
        let mut backwards = all.clone();
        backwards.reverse();
        let graph = Graph::new(all).unwrap();
        let place = |id: DrvId| graph.topological().iter().position(|&x| x == id).unwrap();
        for id in graph.ids() {
            for (input, _) in graph.inputs(id) {
                prop_assert!(place(input) < place(id));
                prop_assert!(graph.users(input).contains(&id));
            }
        }
        let backwards = Graph::new(backwards).unwrap();
        prop_assert_eq!(backwards.topological(), graph.topological());
    }
}
