//! What hosts are called, and what a name on the command line stands for.
//!
//! A builder is shown by the shortest name that no other host of the whole list has: `host`, or
//! `user@host`, or with `:port`, or with a number at the end. What the user writes may be any of these
//! forms, whichever is shown.

use super::host::HostId;
use super::select::{FleetError, FleetOptions, glob};
use crate::base::Id as _;
use crate::nix::Machine;

/// What this machine is called.
const LOCAL: &str = "local";

/// The names of all hosts, chosen or not; the first is this machine.
pub(super) struct Names {
    shown: Vec<String>,
    /// For each host, the other names that it goes by.
    others: Vec<Vec<String>>,
}

impl Names {
    /// Names this machine and those of the machines file.
    pub(super) fn of(machines: &[Machine]) -> Self {
        let forms: Vec<Forms> = machines.iter().map(Forms::of).collect();
        let mut shown: Vec<String> = Vec::with_capacity(machines.len() + 1);
        shown.push(LOCAL.to_owned());
        for (i, own) in forms.iter().enumerate() {
            let free = |form: &&String| {
                // Where `b` and `me@b` are two builders, the first has no longer name to give way to.
                let mine = *form == own.fullest();
                let rivals = forms.iter().enumerate().filter(|(j, other)| *j != i && other.has(form));
                *form != LOCAL && rivals.into_iter().all(|(_, other)| mine && *form != other.fullest())
            };
            let name = own.all().find(free).cloned();
            let name = name.unwrap_or_else(|| numbered(i, &forms, &shown));
            shown.push(name);
        }
        // A builder that calls itself `local` is not this machine.
        let known = |forms: Forms| forms.all().filter(|form| *form != LOCAL).cloned().collect();
        let others = std::iter::once(Vec::new()).chain(forms.into_iter().map(known)).collect();
        Self { shown, others }
    }

    /// The builders' names, in the order of the machines.
    pub(super) fn of_builders(&self) -> impl Iterator<Item = &str> {
        self.shown.iter().skip(HostId::HOME.index() + 1).map(String::as_str)
    }

    /// For each host, whether the run may use it.
    pub(super) fn chosen(&self, options: &FleetOptions) -> Result<Vec<bool>, FleetError> {
        let mut chosen = vec![options.on.is_empty(); self.shown.len()];
        for name in &options.on {
            self.find("--on", name)?.into_iter().for_each(|i| chosen[i] = true);
        }
        for name in &options.not_on {
            self.find("--not-on", name)?.into_iter().for_each(|i| chosen[i] = false);
        }
        if options.local_only {
            chosen.iter_mut().skip(1).for_each(|c| *c = false);
        }
        Ok(chosen)
    }

    /// The hosts that a name or glob stands for, at least one.
    pub(super) fn find(&self, option: &'static str, wanted: &str) -> Result<Vec<usize>, FleetError> {
        // What is shown is meant first; an address in brackets, or a name with `*` in it, is itself
        // before it is a glob.
        let all = || 0..self.shown.len();
        let mut found: Vec<usize> = all().filter(|&i| self.shown[i] == wanted).collect();
        if found.is_empty() {
            found = all().filter(|&i| self.spellings(i).any(|name| name == wanted)).collect();
        }
        if found.is_empty() {
            let glob = glob(option, wanted)?;
            // `r*` shall not mean all of `root@…`, nor `s*` all of `ssh://…`.
            let alike = |name: &str| match name.contains("://") {
                true => wanted.contains("://"),
                false => ['@', ':'].iter().all(|mark| !name.contains(*mark) || wanted.contains(*mark)),
            };
            let matches = |i: &usize| {
                glob.is_match(&self.shown[*i])
                    || self.spellings(*i).any(|name| alike(name) && glob.is_match(name))
            };
            found = all().filter(matches).collect();
        }
        if found.is_empty() {
            return Err(FleetError::NoSuchHost {
                option,
                name: wanted.to_owned(),
                suggestion: self.closest(wanted),
                known: self.shown.join(", "),
            });
        }
        Ok(found)
    }

    /// Everything that a host goes by.
    fn spellings(&self, i: usize) -> impl Iterator<Item = &str> {
        std::iter::once(self.shown[i].as_str()).chain(self.others[i].iter().map(String::as_str))
    }

    fn closest(&self, wanted: &str) -> Option<String> {
        let distance = |i: usize| self.spellings(i).map(|s| strsim::osa_distance(s, wanted)).min();
        let by_distance = (0..self.shown.len()).filter_map(|i| Some((distance(i)?, &self.shown[i])));
        // Up to a third of the letters may be wrong.
        by_distance
            .min()
            .filter(|(d, _)| *d <= (wanted.chars().count() / 3).max(1))
            .map(|(_, name)| name.clone())
    }
}

/// What a machine goes by.
struct Forms {
    /// The shortest first.
    plain: Vec<String>,
    uri: String,
}

impl Forms {
    fn of(machine: &Machine) -> Self {
        let uri = &machine.uri;
        let mut plain: Vec<String> = machine.alias.iter().cloned().collect();
        let mut with_user = |host: String| {
            let long = uri.user.as_ref().map(|user| format!("{user}@{host}"));
            plain.extend(std::iter::once(host).chain(long));
        };
        with_user(uri.host.clone());
        if let Some(port) = uri.port {
            let v6 = uri.host.contains(':');
            with_user(if v6 { format!("[{}]:{port}", uri.host) } else { format!("{}:{port}", uri.host) });
        }
        Self { plain, uri: uri.to_string() }
    }

    fn all(&self) -> impl Iterator<Item = &String> {
        self.plain.iter().chain([&self.uri])
    }

    fn has(&self, form: &String) -> bool {
        self.all().any(|own| own == form)
    }

    fn shortest(&self) -> &String {
        self.plain.first().unwrap_or(&self.uri)
    }

    /// The longest that is no URI.
    fn fullest(&self) -> &String {
        self.plain.last().unwrap_or(&self.uri)
    }
}

/// The name of a machine that differs from others in nothing that a name could have: the shortest form
/// with its number among those that go by it.
fn numbered(i: usize, forms: &[Forms], shown: &[String]) -> String {
    let shortest = forms[i].shortest();
    let before = forms[..i].iter().filter(|other| other.has(shortest)).count();
    // This machine is the first of that name.
    let first = if shortest == LOCAL { 2 } else { 1 };
    let taken = |name: &String| forms.iter().any(|forms| forms.has(name)) || shown.contains(name);
    let mut names = (first + before..).map(|n| format!("{shortest}#{n}"));
    names.find(|name| !taken(name)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::nix::parse_machines;

    fn names(builders: &str) -> Names {
        let none = &mut |_: &std::path::Path| Err(std::io::ErrorKind::NotFound.into());
        Names::of(&parse_machines(builders, "x", none).unwrap().list)
    }

    fn shown(builders: &str) -> String {
        names(builders).shown.join(" ")
    }

    #[test]
    fn the_shortest_name_that_tells_hosts_apart_is_shown() {
        for (builders, expected) in [
            ("ssh-ng://root@a ; ssh://me@b:22?x=y", "local a b"),
            ("root@a; me@a; c", "local root@a me@a c"),
            ("a; me@a", "local a me@a"),
            ("ssh://root@a:22; ssh://root@a:23", "local a:22 a:23"),
            ("ssh://root@a:22; ssh://me@a:22; ssh://root@a:23", "local root@a:22 me@a a:23"),
            ("ssh://root@[::1]:22; ssh://root@[::1]:23", "local [::1]:22 [::1]:23"),
            ("ssh://a; ssh-ng://a", "local ssh://a ssh-ng://a"),
            ("root@a; root@a; root@b", "local a#1 a#2 b"),
            ("ssh://root@local; ssh://local", "local root@local ssh://local"),
        ] {
            assert_eq!(shown(builders), expected, "{builders}");
        }
    }

    #[test]
    fn all_forms_are_understood() {
        let names = names("ssh-ng://root@a:22; me@a; ssh://me@rs; b");
        for (wanted, expected) in [
            ("a", &[1, 2][..]),
            ("root@a", &[1]),
            ("a:22", &[1]),
            ("ssh-ng://root@a:22", &[1]),
            ("root@*", &[1]),
            ("*@*", &[1, 2, 3]),
            ("r*", &[1, 3]),
            ("s*", &[]),
            ("*:22", &[1]),
            ("ssh://*", &[2, 3, 4]),
            ("rs", &[3]),
            ("me@rs", &[3]),
            ("[bl]*", &[0, 4]),
        ] {
            assert_eq!(names.find("--on", wanted).unwrap_or_default(), expected, "{wanted}");
        }
    }

    proptest! {
        #[test]
        fn every_host_has_a_name_of_its_own_that_finds_it(
            list in prop::collection::vec("(ssh://|ssh-ng://)?([ab]@)?(local|a|b|a%231)(:[12])?", 0..8)
        ) {
            let names = names(&list.join(";"));
            for (i, name) in names.shown.iter().enumerate() {
                prop_assert_eq!(names.find("--on", name).unwrap(), vec![i], "{}", name);
            }
        }
    }
}
