//! The flags that several verbs share, and what they come to.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use super::error::CliError;
use crate::dispatch::{Argument, EvalOptions};
use crate::fleet::FleetOptions;
use crate::nix::{parse_cores, parse_jobs, parse_speed};

/// What to build.
#[derive(Args, Debug, Clone, Default)]
#[command(next_help_heading = "What to build")]
pub struct What {
    /// Flake references, attributes of --file or --expr, or paths of .drv files; any may end in ^OUTPUT,…
    /// or ^*. None: the flake in this directory, or all of --file or --expr
    #[arg(value_name = "INSTALLABLE")]
    pub installables: Vec<String>,
    /// Take attributes of this Nix file instead of flakes
    #[arg(short, long, value_name = "FILE", conflicts_with = "expr")]
    pub file: Option<String>,
    /// Build this attribute of --file or --expr; may be repeated
    #[arg(short = 'A', long = "attr", value_name = "ATTR")]
    pub attrs: Vec<String>,
    /// Take attributes of this Nix expression instead of flakes
    #[arg(long, value_name = "NIX")]
    pub expr: Option<String>,
    /// Take the derivations from this file (`-` for stdin), which `nix derivation show -r` has printed,
    /// instead of asking Nix; without INSTALLABLE, all that no other needs are built
    #[arg(long, value_name = "FILE")]
    pub graph: Option<PathBuf>,
    /// Let the evaluation see the environment and files that are not tracked
    #[arg(long)]
    pub impure: bool,
    /// Replace a flake input
    #[arg(long, num_args = 2, value_names = ["INPUT", "FLAKE"], action = clap::ArgAction::Append)]
    pub override_input: Vec<String>,
    /// Override a setting of nix.conf
    #[arg(long, num_args = 2, value_names = ["NAME", "VALUE"], action = clap::ArgAction::Append)]
    pub option: Vec<String>,
    /// Pass a Nix expression as a function argument
    #[arg(long, num_args = 2, value_names = ["NAME", "NIX"], action = clap::ArgAction::Append)]
    pub arg: Vec<String>,
    /// Pass a string as a function argument
    #[arg(long, num_args = 2, value_names = ["NAME", "STRING"], action = clap::ArgAction::Append)]
    pub argstr: Vec<String>,
}

/// Where to build it.
#[derive(Args, Debug, Clone, Default)]
#[command(next_help_heading = "Where to build")]
pub struct Where {
    /// Builders in place of those of nix.conf: @FILE names a machines file, anything else is one (`;`
    /// ends a line), '' is none
    #[arg(long, value_name = "BUILDERS")]
    pub builders: Option<String>,
    /// Use only these hosts: names as `drvdispatch hosts` shows them, or globs (also over user@host and
    /// host:port); `local` is this machine
    #[arg(long, value_name = "HOST,…", value_delimiter = ',')]
    pub on: Vec<String>,
    /// Do not use these hosts; counts more than --on
    #[arg(long, value_name = "HOST,…", value_delimiter = ',')]
    pub not_on: Vec<String>,
    /// Use only this machine
    #[arg(long, conflicts_with_all = ["on", "not_on"])]
    pub local_only: bool,
    /// Build derivations whose name matches the glob on this host only; may be repeated, the first that
    /// matches counts
    #[arg(long, value_name = "PATTERN=HOST", value_parser = pin)]
    pub pin: Vec<(String, String)>,
    /// Slots of a host, that is, builds at a time; may be repeated
    #[arg(long, value_name = "HOST=N", value_parser = slots)]
    pub jobs: Vec<(String, u32)>,
    /// Speed of a host, where 1 is an ordinary one, or its speed for one system, as in
    /// builder1:aarch64-linux=0.3: what is emulated counts as a tenth of the host's speed if nothing else is
    /// said; may be repeated
    #[arg(long, value_name = "HOST[:SYSTEM]=F", value_parser = speed)]
    pub speed: Vec<Speed>,
    /// Slots of this machine (`auto`: one per processor; 0: build nothing here), as --jobs local=N
    #[arg(short = 'j', long, value_name = "N", value_parser = max_jobs, allow_negative_numbers = true)]
    pub max_jobs: Option<MaxJobs>,
    /// Cores for each build; 0: all that its host has. Without it, what `cores` in nix.conf is set to, or else as it
    /// suits the run
    #[arg(long, value_name = "N", value_parser = parse_cores, allow_negative_numbers = true)]
    pub cores: Option<u32>,
    /// Seconds that connecting to a host may take; 0: what ssh is configured to, or 10
    #[arg(long, value_name = "SECONDS", value_parser = seconds, allow_negative_numbers = true)]
    pub connect_timeout: Option<u64>,
}

/// `--speed`.
#[derive(Clone, Debug, PartialEq)]
pub struct Speed {
    host: String,
    /// For all systems that no other `--speed` names, if none is named.
    system: Option<String>,
    factor: f64,
}

/// `--max-jobs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaxJobs {
    /// One per processor.
    Auto,
    /// So many.
    Number(u32),
}

fn max_jobs(text: &str) -> Result<MaxJobs, String> {
    if text == "auto" {
        return Ok(MaxJobs::Auto);
    }
    parse_jobs(text).map(MaxJobs::Number).map_err(|why| format!("{why}, and not 'auto' either"))
}

/// A length of time.
pub fn seconds(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| "it is no number of seconds (a whole number from 0 on)".to_owned())
}

/// `PATTERN=HOST`.
fn pin(text: &str) -> Result<(String, String), String> {
    let (pattern, host) = pair(text, "PATTERN=HOST, such as 'linux-*=builder1'")?;
    Ok((pattern.to_owned(), host.to_owned()))
}

/// `HOST=N`.
///
/// # Errors
/// It is of another form.
pub fn slots(text: &str) -> Result<(String, u32), String> {
    let (host, slots) = pair(text, "HOST=N, such as builder1=4")?;
    Ok((host.to_owned(), parse_jobs(slots)?))
}

/// `HOST=F` or `HOST:SYSTEM=F`.
///
/// # Errors
/// It is of another form.
pub fn speed(text: &str) -> Result<Speed, String> {
    let (host, speed) = pair(text, "HOST=F or HOST:SYSTEM=F, such as builder1=2.5")?;
    let number = parse_speed(speed)?;
    // Other than a port, the rest of an address or of a URI.
    let is_system = |word: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
        word.starts_with(|c: char| c.is_ascii_alphabetic()) && word.contains('-') && word.chars().all(plain)
    };
    let (host, system) = match host.rsplit_once(':') {
        Some((host, word)) if !host.is_empty() && is_system(word) => (host, Some(word.to_owned())),
        _ => (host, None),
    };
    Ok(Speed { host: host.to_owned(), system, factor: number })
}

/// Both sides of the last '=': a glob may contain one, a host or a number does not.
fn pair<'a>(text: &'a str, form: &str) -> Result<(&'a str, &'a str), String> {
    match text.rsplit_once('=') {
        Some((left, right)) if !left.is_empty() && !right.is_empty() => Ok((left, right)),
        _ => Err(format!("it should be {form}")),
    }
}

fn pairs(flat: &[String]) -> Vec<(String, String)> {
    flat.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect()
}

impl What {
    /// Positional arguments, then attributes.
    pub fn arguments(&self) -> Vec<Argument> {
        let positional = self.installables.iter().cloned().map(Argument::Installable);
        positional.chain(self.attrs.iter().cloned().map(Argument::Attribute)).collect()
    }

    /// The graph to take all of, if no store is to be asked.
    ///
    /// # Errors
    /// Only a part of it is asked for.
    pub fn whole_graph(&self, offline: bool) -> Result<Option<&Path>, CliError> {
        let graph = self.graph.as_deref().filter(|_| offline);
        let part = self.installables.first().or(self.attrs.first());
        match part.or(self.file.as_ref()).or(self.expr.as_ref()) {
            Some(part) if graph.is_some() => Err(CliError::Usage(format!(
                "--offline takes all of the graph of --graph, not only '{part}'; leave out either"
            ))),
            _ => Ok(graph),
        }
    }

    /// What Nix is passed for evaluation.
    pub fn eval_options(&self) -> EvalOptions {
        EvalOptions {
            file: self.file.clone(),
            expr: self.expr.clone(),
            impure: self.impure,
            override_inputs: pairs(&self.override_input),
            options: pairs(&self.option),
            args: pairs(&self.arg),
            argstrs: pairs(&self.argstr),
            extra: Vec::new(),
        }
    }
}

impl std::fmt::Display for Speed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let system = self.system.as_ref().map(|system| format!(":{system}")).unwrap_or_default();
        write!(f, "{}{system}={}", self.host, self.factor)
    }
}

impl Speed {
    /// The host, the system if it is for one only, and the speed.
    pub fn parts(&self) -> (String, Option<String>, f64) {
        (self.host.clone(), self.system.clone(), self.factor)
    }

    fn of_system(&self) -> Option<(String, String, f64)> {
        Some((self.host.clone(), self.system.clone()?, self.factor))
    }
}

impl Where {
    /// What the fleet is chosen by; `processors` are this machine's.
    pub fn fleet_options(&self, processors: u32) -> FleetOptions {
        FleetOptions {
            on: self.on.clone(),
            not_on: self.not_on.clone(),
            local_only: self.local_only,
            jobs: self.jobs.clone(),
            speed: self
                .speed
                .iter()
                .filter(|speed| speed.system.is_none())
                .map(|speed| (speed.host.clone(), speed.factor))
                .collect(),
            system_speed: self.speed.iter().filter_map(Speed::of_system).collect(),
            pins: self.pin.clone(),
            max_jobs: self.max_jobs.map(|jobs| match jobs {
                MaxJobs::Auto => processors,
                MaxJobs::Number(n) => n,
            }),
            cores_local: processors,
        }
    }

    /// How long connecting to a host may take.
    pub fn connect_timeout(&self, nix: u64) -> Option<Duration> {
        self.connect_timeout.or(Some(nix)).filter(|s| *s > 0).map(Duration::from_secs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_cut_at_the_last_equals_sign() {
        assert_eq!(slots("h=3"), Ok(("h".into(), 3)));
        let host = |host: &str, factor| Speed { host: host.into(), system: None, factor };
        assert_eq!(speed("h=.5"), Ok(host("h", 0.5)));
        assert_eq!(pin("a=b*=h"), Ok(("a=b*".into(), "h".into())));
        for wrong in ["h", "=3", "h=", "h=x", "h=-1", "h=nan", "h=99999999", ""] {
            assert!(slots(wrong).is_err() && speed(wrong).is_err(), "{wrong}");
        }
        assert_eq!(slots("h=x").unwrap_err(), "'x' is no number of jobs (a whole number from 0 to 4096)");
    }

    #[test]
    fn a_speed_may_be_for_one_system() {
        let cut = |text: &str| speed(text).map(|s| (s.host, s.system.unwrap_or_default())).unwrap();
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(cut("h:aarch64-linux=.5"), pair("h", "aarch64-linux"));
        assert_eq!(cut("u@h:22:x86_64-darwin=2"), pair("u@h:22", "x86_64-darwin"));
        for host in ["h:22", "[fe80::1]", "ssh-ng://b-1", "a-b"] {
            assert_eq!(cut(&format!("{host}=1")), pair(host, ""));
        }
    }

    #[test]
    fn no_connect_timeout_is_left_to_ssh() {
        let timeout = |given, nix| Where { connect_timeout: given, ..Where::default() }.connect_timeout(nix);
        assert_eq!(timeout(None, 0), None);
        assert_eq!(timeout(None, 5), Some(Duration::from_secs(5)));
        assert_eq!(timeout(Some(3), 5), Some(Duration::from_secs(3)));
        assert_eq!(timeout(Some(0), 5), None);
    }

    #[test]
    fn max_jobs_is_a_number_or_auto() {
        assert_eq!(max_jobs("auto"), Ok(MaxJobs::Auto));
        assert_eq!(max_jobs("0"), Ok(MaxJobs::Number(0)));
        assert!(max_jobs("-1").is_err());
    }

    #[test]
    fn offline_takes_a_graph_as_a_whole() {
        let whole = What { graph: Some(PathBuf::from("g.json")), ..What::default() };
        assert_eq!(whole.whole_graph(true).unwrap(), Some(Path::new("g.json")));
        let part = What { installables: vec![".#x".to_owned()], ..whole.clone() };
        assert!(part.whole_graph(true).unwrap_err().to_string().contains("not only '.#x'"));
        assert_eq!([&whole, &part].map(|what| what.whole_graph(false).unwrap()), [None, None]);
    }
}
