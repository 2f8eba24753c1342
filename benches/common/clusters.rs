//! The fleets that schedules are measured on.

use drvdispatch::base::{Span, Table};
use drvdispatch::fleet::{Host, HostId, LinkSpeed};

/// A named fleet; this machine is its first host.
#[derive(Clone, Debug)]
pub struct Cluster {
    pub name: &'static str,
    pub about: &'static str,
    pub hosts: Table<HostId, Host>,
    /// The same with what the scheduler is told of their speeds.
    pub told: Table<HostId, Host>,
    /// Each other job is for [`FOREIGN`].
    pub is_mixed: bool,
}

const NATIVE: &str = "x86_64-linux";
/// The system of the boards in a mixed fleet.
pub const FOREIGN: &str = "aarch64-linux";

const LAN: LinkSpeed = LinkSpeed { bandwidth: 100_000_000, latency: Span::from_millis(1) };
const WAN: LinkSpeed = LinkSpeed { bandwidth: 5_000_000, latency: Span::from_millis(50) };
const UPLINK: LinkSpeed = LinkSpeed { bandwidth: 20_000_000, latency: Span::from_millis(20) };

/// Slots and speeds of the fleet that earlier measurements were made on.
const HET4: [(u32, f64); 4] = [(4, 1.0), (8, 1.0), (4, 2.0), (8, 0.5)];

/// The same hosts by a configuration that nobody has looked at for years.
const TOLD: [(u32, f64); 4] = [(4, 1.0), (8, 3.0), (4, 1.0), (8, 0.5)];

/// A desktop and small boards.
const BOARDS: [(u32, f64); 5] = [(8, 1.0), (4, 0.15), (4, 0.15), (4, 0.15), (4, 0.15)];

pub fn all() -> Vec<Cluster> {
    let right = |name, about, hosts: Table<HostId, Host>| Cluster {
        name,
        about,
        told: hosts.clone(),
        hosts,
        is_mixed: false,
    };
    vec![
        right("het4", "4 hosts, slots 4/8/4/8, speeds 1/1/2/0.5, 100 MB/s, 1 ms", fleet(&HET4, LAN, 0)),
        right("wan", "4 hosts, slots 4/8/4/8, speeds 1/1/2/0.5, 5 MB/s, 50 ms", fleet(&HET4, WAN, 0)),
        right(
            "homog",
            "2 hosts of 8 slots and speed 1, 100 MB/s, 1 ms",
            fleet(&[(8, 1.0), (8, 1.0)], LAN, 0),
        ),
        right(
            "cores",
            "this machine alone: 16 slots on 16 cores, and builds that use more than one",
            fleet(&[(16, 1.0)], LAN, 16),
        ),
        Cluster {
            told: fleet(&TOLD, LAN, 0),
            ..right("wrong", "as het4, but configured as speeds 1/3/1/0.5", fleet(&HET4, LAN, 0))
        },
        right(
            "boards",
            "a desktop of 8 slots and 4 boards of 4 slots and speed 0.15, 100 MB/s, 1 ms",
            fleet(&BOARDS, LAN, 0),
        ),
        right(
            "server",
            "this machine of 4 slots and a server of 32 and speed 1.2, 20 MB/s, 20 ms",
            fleet(&[(4, 1.0), (32, 1.2)], UPLINK, 0),
        ),
        right("crowd", "as het4, but each host has 4 cores, however many slots", crowd()),
        Cluster {
            is_mixed: true,
            ..right(
                "mixed",
                "each other job is for the other system: 2 hosts of 8 and 4 slots, of which one emulates it at 0.1, \
                 and 2 boards of 4 slots and speed 0.3, 100 MB/s, 1 ms",
                mixed(),
            )
        },
    ]
}

/// Hosts of which some have more slots than cores.
fn crowd() -> Table<HostId, Host> {
    let mut hosts = fleet(&HET4, LAN, 0);
    hosts.iter_mut().for_each(|(_, host)| host.cores = 4);
    hosts
}

/// Hosts of two systems, of which this machine emulates the one it is not.
fn mixed() -> Table<HostId, Host> {
    let mut hosts = fleet(&[(8, 1.0), (4, 1.0), (4, 0.3), (4, 0.3)], LAN, 0);
    hosts[HostId::HOME].systems.push(FOREIGN.to_owned());
    hosts[HostId::HOME].emulated.insert(FOREIGN.to_owned(), 0.1);
    for board in [2, 3].map(HostId) {
        hosts[board].systems = vec![FOREIGN.to_owned()];
    }
    hosts
}

/// Any number of hosts of mixed speeds.
pub fn many(hosts: usize) -> Table<HostId, Host> {
    let specs: Vec<(u32, f64)> = (0..hosts).map(|i| HET4[i % HET4.len()]).collect();
    fleet(&specs, LAN, 0)
}

fn fleet(specs: &[(u32, f64)], link: LinkSpeed, cores: u32) -> Table<HostId, Host> {
    let host = |(i, &(slots, speed)): (usize, &(u32, f64))| Host {
        name: if i == 0 { "local".to_owned() } else { format!("h{i}") },
        systems: vec![NATIVE.to_owned()],
        features: Vec::new(),
        mandatory: Vec::new(),
        slots,
        cores,
        speed,
        emulated: std::collections::BTreeMap::new(),
        substitutes: false,
        link: if i == 0 { LinkSpeed::FREE } else { link },
    };
    specs.iter().enumerate().map(host).collect()
}
