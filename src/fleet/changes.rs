//! Other hosts than there were: what is taken away from a known fleet, changed in it and added to it.
//!
//! Hosts are meant by the name that they are shown by, or by a glob over it. For runs that are gone
//! through again; the fleet of a run to come is chosen in `select`.

use super::host::{Host, HostId, LinkSpeed};
use super::select::{FleetError, LAN, glob};
use crate::base::Table;
use crate::nix::{parse_cores, parse_jobs, parse_speed};

/// What is to be other. Everything is done in the order of the fields.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HostChanges {
    /// Hosts that are not there.
    pub without: Vec<String>,
    /// Jobs at a time, by host.
    pub jobs: Vec<(String, u32)>,
    /// Speed, by host, for all systems or for one; finite and above 0.
    pub speed: Vec<(String, Option<String>, f64)>,
    /// Bytes per second to and from a host, or all but this machine.
    pub bandwidth: Vec<(Option<String>, u64)>,
    /// New hosts.
    pub add: Vec<NewHost>,
}

/// A host that was not there. What is not said of it is as on this machine.
#[derive(Clone, Debug, PartialEq)]
pub struct NewHost {
    /// What it is called.
    pub name: String,
    slots: u32,
    speed: f64,
    cores: Option<u32>,
    systems: Option<Vec<String>>,
    features: Option<Vec<String>>,
    mandatory: Vec<String>,
    bandwidth: Option<u64>,
}

impl HostChanges {
    /// Makes the changes. This machine keeps its place when it is left out, with no slots.
    ///
    /// # Errors
    /// A name that no host goes by, a new host with the name of another, or a system that a host has not.
    pub fn apply(&self, hosts: &mut Table<HostId, Host>) -> Result<(), FleetError> {
        let mut gone = Vec::new();
        for name in &self.without {
            gone.extend(find("--without", name, hosts)?);
        }
        for (name, slots) in &self.jobs {
            find("--jobs", name, hosts)?.into_iter().for_each(|host| hosts[host].slots = *slots);
        }
        for (name, system, speed) in &self.speed {
            let found = find("--speed", name, hosts)?;
            match system {
                None => found.into_iter().for_each(|host| hosts[host].speed = *speed),
                Some(system) => set_speed_for(hosts, found, (name, system, *speed))?,
            }
        }
        for (name, bandwidth) in &self.bandwidth {
            let found = match name {
                Some(name) => find("--bandwidth", name, hosts)?,
                None => hosts.ids().collect(),
            };
            let others = found.into_iter().filter(|host| *host != HostId::HOME);
            others.for_each(|host| hosts[host].link.bandwidth = *bandwidth);
        }
        take_away(hosts, &gone);
        for new in &self.add {
            if hosts.rows().iter().any(|host| host.name == new.name) {
                return Err(FleetError::NameTaken { name: new.name.clone() });
            }
            let host = new.beside(&hosts[HostId::HOME]);
            hosts.push(host);
        }
        Ok(())
    }
}

/// Leaves hosts out. This machine keeps its place, with no slots.
pub fn take_away(hosts: &mut Table<HostId, Host>, gone: &[HostId]) {
    if gone.contains(&HostId::HOME) {
        hosts[HostId::HOME].slots = 0;
    }
    let stays = |id: &HostId| *id == HostId::HOME || !gone.contains(id);
    *hosts = hosts.iter().filter(|(id, _)| stays(id)).map(|(_, host)| host.clone()).collect();
}

fn set_speed_for(
    hosts: &mut Table<HostId, Host>,
    mut found: Vec<HostId>,
    (name, system, speed): (&str, &String, f64),
) -> Result<(), FleetError> {
    found.retain(|host| hosts[*host].systems.contains(system));
    if found.is_empty() {
        return Err(FleetError::NoSuchSystem { host: name.to_owned(), system: system.clone() });
    }
    found.into_iter().for_each(|host| hosts[host].set_speed_for(system, speed));
    Ok(())
}

/// The hosts that a name or glob stands for, at least one.
fn find(option: &'static str, wanted: &str, hosts: &Table<HostId, Host>) -> Result<Vec<HostId>, FleetError> {
    let by = |is: &dyn Fn(&str) -> bool| -> Vec<HostId> {
        hosts.iter().filter(|(_, host)| is(&host.name)).map(|(id, _)| id).collect()
    };
    let mut found = by(&|name| name == wanted);
    if found.is_empty() {
        let glob = glob(option, wanted)?;
        found = by(&|name| glob.is_match(name));
    }
    if found.is_empty() {
        let names: Vec<&str> = hosts.rows().iter().map(|host| host.name.as_str()).collect();
        let near = names.iter().min_by_key(|name| strsim::osa_distance(name, wanted));
        let close = |name: &&&str| strsim::osa_distance(name, wanted) <= (wanted.chars().count() / 3).max(1);
        return Err(FleetError::NoSuchHost {
            option,
            name: wanted.to_owned(),
            suggestion: near.filter(close).map(|name| (*name).to_owned()),
            known: names.join(", "),
        });
    }
    Ok(found)
}

impl NewHost {
    fn beside(&self, home: &Host) -> Host {
        let mut features = self.features.clone().unwrap_or_else(|| home.features.clone());
        features.extend(self.mandatory.iter().filter(|x| !features.contains(x)).cloned().collect::<Vec<_>>());
        Host {
            name: self.name.clone(),
            systems: self.systems.clone().unwrap_or_else(|| home.systems.clone()),
            features,
            mandatory: self.mandatory.clone(),
            slots: self.slots,
            cores: self.cores.unwrap_or(self.slots),
            speed: self.speed,
            emulated: std::collections::BTreeMap::new(),
            substitutes: home.substitutes,
            link: LinkSpeed { bandwidth: self.bandwidth.unwrap_or(LAN.bandwidth), ..LAN },
        }
    }
}

/// `NAME slots=8 speed=2 …`.
impl std::str::FromStr for NewHost {
    type Err = String;

    fn from_str(text: &str) -> Result<NewHost, String> {
        const KEYS: &str = "slots, speed, cores, systems, features, mandatory and bandwidth";
        let mut words = text.split_whitespace();
        let name = words.next().filter(|name| !name.contains('='));
        let name =
            name.ok_or_else(|| "it should begin with a name, as in 'fast slots=8 speed=2'".to_owned())?;
        let mut host = NewHost {
            name: name.to_owned(),
            slots: 1,
            speed: 1.0,
            cores: None,
            systems: None,
            features: None,
            mandatory: Vec::new(),
            bandwidth: None,
        };
        for word in words {
            let (key, value) = word
                .split_once('=')
                .ok_or_else(|| format!("'{word}' is not of the form KEY=VALUE; the keys are {KEYS}"))?;
            let of = |why: String| format!("{key}: {why}");
            let list = || value.split(',').filter(|one| !one.is_empty()).map(str::to_owned).collect();
            match key {
                "slots" => host.slots = parse_jobs(value).map_err(of)?,
                "cores" => host.cores = Some(parse_cores(value).map_err(of)?),
                "speed" => host.speed = parse_speed(value).map_err(of)?,
                "systems" => host.systems = Some(list()),
                "features" => host.features = Some(list()),
                "mandatory" => host.mandatory = list(),
                "bandwidth" => host.bandwidth = Some(bandwidth(value)?),
                _ => return Err(format!("'{key}' is no property of a host; there are {KEYS}")),
            }
        }
        Ok(host)
    }
}

/// Bytes per second: a number with K, M or G (thousands) behind it, or none.
///
/// # Errors
/// It is no such number, or not above 0.
pub fn bandwidth(text: &str) -> Result<u64, String> {
    let (number, unit) = match text.char_indices().last() {
        Some((at, 'k' | 'K')) => (&text[..at], 1e3),
        Some((at, 'M')) => (&text[..at], 1e6),
        Some((at, 'G')) => (&text[..at], 1e9),
        _ => (text, 1.0),
    };
    let rate = number.parse().ok().map(|number: f64| number * unit);
    rate.filter(|rate| (1.0..1e15).contains(rate))
        .map(|rate| rate as u64)
        .ok_or_else(|| format!("'{text}' is no bandwidth (bytes per second, such as 12500000, 12.5M or 1G)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str) -> Host {
        let new: NewHost = format!("{name} slots=2 systems=x86_64-linux features=kvm").parse().unwrap();
        new.beside(&Host { substitutes: true, ..base() })
    }

    fn base() -> Host {
        Host {
            name: "local".into(),
            systems: vec!["x86_64-linux".into(), "i686-linux".into()],
            features: vec!["big-parallel".into()],
            mandatory: vec![],
            slots: 4,
            cores: 8,
            speed: 1.0,
            emulated: Default::default(),
            substitutes: false,
            link: LinkSpeed::FREE,
        }
    }

    fn fleet() -> Table<HostId, Host> {
        [base(), host("ruby"), host("opal")].into_iter().collect()
    }

    fn changed(change: impl FnOnce(&mut HostChanges)) -> Result<Table<HostId, Host>, String> {
        let (mut changes, mut hosts) = (HostChanges::default(), fleet());
        change(&mut changes);
        changes.apply(&mut hosts).map_err(|e| e.to_string())?;
        Ok(hosts)
    }

    #[test]
    fn hosts_are_taken_away_changed_and_added() {
        let new = "new slots=8 speed=2 mandatory=gpu bandwidth=12.5M".parse().unwrap();
        let hosts = changed(|c| {
            c.without = vec!["ruby".into(), "local".into()];
            c.jobs = vec![("*al*".into(), 7)];
            c.speed = vec![("opal".into(), None, 3.0), ("opal".into(), Some("x86_64-linux".into()), 1.5)];
            c.bandwidth = vec![(None, 5)];
            c.add = vec![new];
        })
        .unwrap();
        let names: Vec<_> = hosts.rows().iter().map(|h| (h.name.as_str(), h.slots)).collect();
        assert_eq!(names, [("local", 0), ("opal", 7), ("new", 8)]);
        assert_eq!(hosts[HostId(1)].speed_for("x86_64-linux"), 1.5);
        assert_eq!(hosts[HostId(1)].link.bandwidth, 5);
        assert_eq!(hosts[HostId::HOME].link, LinkSpeed::FREE);
        let new = &hosts[HostId(2)];
        assert_eq!((new.cores, new.speed, new.link.bandwidth), (8, 2.0, 12_500_000));
        assert_eq!(new.systems, base().systems);
        assert_eq!(new.features, ["big-parallel", "gpu"]);
    }

    #[test]
    fn what_does_not_fit_is_said() {
        let wrong = |change: &dyn Fn(&mut HostChanges)| changed(|c| change(c)).unwrap_err();
        let errors = [
            wrong(&|c| c.without = vec!["rubi".into()]),
            wrong(&|c| c.jobs = vec![("x*".into(), 1)]),
            wrong(&|c| c.speed = vec![("ruby".into(), Some("i686-linux".into()), 1.0)]),
            wrong(&|c| c.add = vec!["opal".parse().unwrap()]),
        ];
        insta::assert_snapshot!(errors.join("\n"), @r"
        --without names 'rubi', but there is no such host (did you mean 'ruby'?); there are: local, ruby, opal
        --jobs names 'x*', but there is no such host; there are: local, ruby, opal
        --speed ruby:i686-linux: 'ruby' does not build for i686-linux; add the system to its field 2 in `builders` or the machines file, or drop the option
        --add-host opal: there is a host 'opal' already; give the new one another name
        ");
    }

    #[test]
    fn a_new_host_is_read_or_refused_with_the_reason() {
        let texts = ["", "slots=2", "a slots", "a slots=-1", "a speed=0", "a size=2", "a bandwidth=fast"];
        let errors: Vec<String> = texts.map(|text| text.parse::<NewHost>().unwrap_err()).into();
        insta::assert_snapshot!(errors.join("\n"), @r"
        it should begin with a name, as in 'fast slots=8 speed=2'
        it should begin with a name, as in 'fast slots=8 speed=2'
        'slots' is not of the form KEY=VALUE; the keys are slots, speed, cores, systems, features, mandatory and bandwidth
        slots: '-1' is no number of jobs (a whole number from 0 to 4096)
        speed: '0' is no speed (a number from 0.000001 to 1000000)
        'size' is no property of a host; there are slots, speed, cores, systems, features, mandatory and bandwidth
        'fast' is no bandwidth (bytes per second, such as 12500000, 12.5M or 1G)
        ");
        assert_eq!(bandwidth("2k"), Ok(2_000));
        assert_eq!(bandwidth("1G"), Ok(1_000_000_000));
        for wrong in ["0", "-1M", "M", "", "1T", "nan"] {
            assert!(bandwidth(wrong).is_err(), "{wrong}");
        }
    }
}
