use proptest::prelude::*;

use super::*;

fn rates(network: &Network, flows: &[u32]) -> Vec<f64> {
    flows.iter().map(|&flow| network.rate(flow).unwrap()).collect()
}

fn ends(out: &mut Vec<Forecast>) -> Vec<(u32, u64)> {
    out.drain(..).map(|forecast| (forecast.index, forecast.end.0)).collect()
}

#[test]
fn two_flows_into_one_host_halve() {
    let mut network = Network::new([10.0, 10.0, 10.0]);
    let mut out = Vec::new();
    let a = network.begin(Time(0), &[0, 1], 1000, &mut out);
    assert_eq!(ends(&mut out), [(a, 100)]);
    // Half of a's bytes are through when b comes.
    let b = network.begin(Time(50), &[0, 2], 1000, &mut out);
    assert_eq!(rates(&network, &[a, b]), [5.0, 5.0]);
    assert_eq!(ends(&mut out), [(a, 150), (b, 250)]);
    // When a is through, b has 500 bytes left and the link for itself.
    network.end(Time(150), a, &mut out);
    assert_eq!(ends(&mut out), [(b, 200)]);
}

#[test]
fn what_a_third_partys_bottleneck_leaves_goes_to_the_others() {
    // Two flows through the narrow link 0; one of them shares link 1 with a third.
    let mut network = Network::new([4.0, 10.0]);
    let mut out = Vec::new();
    let flows = [&[0][..], &[0, 1], &[1]].map(|links| network.begin(Time(0), links, 100, &mut out));
    assert_eq!(rates(&network, &flows), [2.0, 2.0, 8.0]);
    network.end(Time(1), flows[0], &mut out);
    assert_eq!(rates(&network, &flows[1..]), [4.0, 6.0]);
}

#[test]
fn the_middle_of_a_path_can_be_the_bottleneck() {
    // Two pairs of builders with links of 10, all through a link of 5.
    let mut network = Network::new([10.0, 10.0, 10.0, 10.0, 5.0]);
    let mut out = Vec::new();
    let flows = [&[0, 4, 1][..], &[2, 4, 3]].map(|links| network.begin(Time(0), links, 100, &mut out));
    assert_eq!(rates(&network, &flows), [2.5, 2.5]);
    network.set_capacity(Time(10), 4, 50.0, &mut out);
    assert_eq!(rates(&network, &flows), [10.0, 10.0]);
    assert_eq!(network.flows[flows[0] as usize].bytes.end(), Some(Time(18)));
}

#[test]
fn links_of_no_others_concern_keep_their_forecasts() {
    let mut network = Network::new([10.0, 10.0, f64::INFINITY]);
    let mut out = Vec::new();
    let a = network.begin(Time(0), &[0, 2], 1000, &mut out);
    let stamp = out.pop().unwrap().stamp;
    network.begin(Time(3), &[1, 2], 1000, &mut out);
    assert_eq!(out.len(), 1);
    assert!(network.stands(a, stamp));
    network.begin(Time(3), &[0], 1000, &mut out);
    assert!(!network.stands(a, stamp));
}

#[test]
fn free_links_take_no_time() {
    let mut network = Network::new([f64::INFINITY]);
    let mut out = Vec::new();
    let flow = network.begin(Time(9), &[0], 1 << 40, &mut out);
    assert_eq!(ends(&mut out), [(flow, 9)]);
}

/// By hand: raise all alike to the lowest level at which some link is full, again and again.
fn naive(capacities: &[f64], flows: &[Vec<Link>]) -> Vec<f64> {
    let mut rates: Vec<Option<f64>> = vec![None; flows.len()];
    while rates.iter().any(Option::is_none) {
        let level = |link: Link| {
            let on = |i: &usize| flows[*i].contains(&link);
            let fixed: f64 = (0..flows.len()).filter(on).filter_map(|i| rates[i]).sum();
            let open = (0..flows.len()).filter(on).filter(|&i| rates[i].is_none()).count();
            (open > 0).then(|| ((capacities[link as usize] - fixed).max(0.0) / open as f64, link))
        };
        let lowest = (0..capacities.len() as Link).filter_map(level).min_by(|a, b| a.0.total_cmp(&b.0));
        let (rate, full) = lowest.unwrap();
        for (i, links) in flows.iter().enumerate() {
            if links.contains(&full) && rates[i].is_none() {
                rates[i] = Some(rate);
            }
        }
    }
    rates.into_iter().map(Option::unwrap).collect()
}

/// No link carries too much, and each flow has a full link on which none is faster.
fn is_max_min(capacities: &[f64], flows: &[Vec<Link>], rates: &[f64]) -> bool {
    let on = |link: Link| (0..flows.len()).filter(move |&i| flows[i].contains(&link));
    let load = |link: Link| on(link).map(|i| rates[i]).sum::<f64>();
    let full = |link: Link| load(link) > capacities[link as usize] * (1.0 - 1e-9);
    let fastest = |link: Link| on(link).map(|i| rates[i]).fold(0.0, f64::max);
    let held_back = |i: usize| flows[i].iter().any(|&l| full(l) && rates[i] > fastest(l) * (1.0 - 1e-9));
    (0..capacities.len() as Link).all(|link| load(link) < capacities[link as usize] * (1.0 + 1e-9))
        && (0..flows.len()).all(held_back)
}

#[derive(Clone, Debug)]
enum Change {
    Begin(Vec<Link>),
    End(prop::sample::Index),
    Capacity(Link, f64),
}

fn change(links: Link) -> impl Strategy<Value = Change> {
    let some_links = prop::collection::btree_set(0..links, 1..4);
    prop_oneof![
        4 => some_links.prop_map(|links| Change::Begin(links.into_iter().collect())),
        2 => any::<prop::sample::Index>().prop_map(Change::End),
        1 => (0..links, 1u32..50).prop_map(|(link, capacity)| Change::Capacity(link, f64::from(capacity))),
    ]
}

proptest! {
    #[test]
    fn rates_are_max_min_fair(
        capacities in prop::collection::vec(1u32..50, 8),
        changes in prop::collection::vec(change(8), 1..40),
    ) {
        let mut capacities: Vec<f64> = capacities.into_iter().map(f64::from).collect();
        let mut network = Network::new(capacities.iter().copied());
        let mut flows: Vec<(u32, Vec<Link>)> = Vec::new();
        let mut out = Vec::new();
        for (i, change) in changes.into_iter().enumerate() {
            let at = Time(i as u64);
            match change {
                Change::Begin(links) => {
                    flows.push((network.begin(at, &links, 1 << 30, &mut out), links));
                }
                Change::End(which) if !flows.is_empty() => {
                    let (flow, _) = flows.swap_remove(which.index(flows.len()));
                    network.end(at, flow, &mut out);
                }
                Change::End(_) => {}
                Change::Capacity(link, capacity) => {
                    capacities[link as usize] = capacity;
                    network.set_capacity(at, link, capacity, &mut out);
                }
            }
            let (ids, links): (Vec<u32>, Vec<Vec<Link>>) = flows.iter().cloned().unzip();
            let rates = rates(&network, &ids);
            prop_assert!(is_max_min(&capacities, &links, &rates), "{rates:?} over {links:?} of {capacities:?}");
            for (fast, slow) in rates.iter().zip(naive(&capacities, &links)) {
                prop_assert!((fast - slow).abs() < 1e-6 * slow.max(1.0), "{fast} is not {slow}");
            }
        }
    }
}
