//! `drvdispatch history show`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use clap::Args;
use serde::Serialize;

use super::{Estimate, existing, memory, moment, on_what, print_json, same, table};
use crate::cli::error::CliError;
use crate::cost::{About, Memory, OutputClass};
use crate::records::history::{Build, Ended, Filter, class_word, outcome_word};
use crate::report::{Cells, NONE, bytes, plural};

#[derive(Args, Debug)]
pub struct ShowArgs {
    /// A package, such as hello or hello-2.12, or a glob
    #[arg(value_name = "NAME")]
    name: String,
    /// Only builds of this host, with what another one would take there
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// Print the builds as JSON
    #[arg(long)]
    json: bool,
}

/// What `--json` prints; times in microseconds, sizes in bytes, moments in seconds since 1970.
#[derive(Debug, Serialize)]
struct Shown {
    builds: Vec<Build>,
    estimates: Vec<Expected>,
}

#[derive(Debug, Serialize)]
struct Expected {
    name: String,
    class: OutputClass,
    system: String,
    /// Builds of it that succeeded.
    builds: usize,
    #[serde(flatten)]
    estimate: Estimate,
}

pub fn run(args: &ShowArgs) -> Result<(), CliError> {
    let Some(history) = existing()? else { return Ok(()) };
    let which = Filter { name: Some(args.name.clone()), host: args.host.clone(), before: None };
    let mut builds = Vec::new();
    history.builds(&which, |build| builds.push(build))?;
    if builds.is_empty() {
        let host = args.host.as_ref().map(|host| format!(" by {host}")).unwrap_or_default();
        return Err(CliError::Usage(format!(
            "no build of '{}'{host} is remembered; `drvdispatch history` lists what is, and a glob such as \
             'hello*' finds more",
            args.name
        )));
    }
    let estimates = expected(&builds, &memory(&history)?, args.host.as_deref());
    let shown = Shown { builds, estimates };
    if args.json {
        print_json(&shown)
    } else {
        crate::cli::put(&text(&shown, args.host.as_deref()), "the builds")
    }
}

/// One for each package among the builds, in the newest version of each.
fn expected(builds: &[Build], memory: &Memory, host: Option<&str>) -> Vec<Expected> {
    let mut packages: BTreeMap<(&str, OutputClass, &str), (String, usize)> = BTreeMap::new();
    for build in builds {
        let sample = &build.sample;
        let entry = packages.entry((&sample.pname, sample.class, &sample.system)).or_default();
        entry.0 = build.name();
        entry.1 += usize::from(build.outcome == Ended::Built);
    }
    let estimate = |((_, class, system), (name, builds)): ((&str, OutputClass, &str), (String, usize))| {
        let about = About { name: &name, class, system, input_size: None };
        let estimate = Estimate::of(memory, &about, host);
        Expected { name, class, system: system.to_owned(), builds, estimate }
    };
    packages.into_iter().map(estimate).collect()
}

fn text(shown: &Shown, host: Option<&str>) -> String {
    let columns = [
        (Cells::Numbers, "when"),
        (Cells::Names, "derivation"),
        (Cells::Words, "system"),
        (Cells::Words, "host"),
        (Cells::Numbers, "cores"),
        (Cells::Numbers, "took"),
        (Cells::Numbers, "cpu"),
        (Cells::Numbers, "output"),
        (Cells::Words, "outcome"),
    ];
    // What is the same for all is in the lines below.
    let system = same(shown.builds.iter().map(|build| build.sample.system.as_str()));
    let row = |build: &Build| {
        let sample = &build.sample;
        [
            moment(sample.stopped),
            build.name(),
            system.map_or_else(|| sample.system.clone(), |_| NONE.to_owned()),
            sample.host.clone(),
            if sample.cores == 0 { NONE.to_owned() } else { sample.cores.to_string() },
            sample.wall.to_string(),
            sample.cpu.map_or_else(|| NONE.to_owned(), |cpu| cpu.to_string()),
            if sample.output_size == 0 { NONE.to_owned() } else { bytes(sample.output_size) },
            outcome_word(build.outcome),
        ]
    };
    let mut text = table(columns, shown.builds.iter().map(row));
    for Expected { name, class, system, builds, estimate } in &shown.estimates {
        let Estimate { estimate, p10, p90 } = estimate;
        let name = crate::report::clean(name);
        let (kind, times, on) = (class_word(*class), plural(*builds, "build"), on_what(host));
        let _ = writeln!(
            text,
            "{name} ({kind}, {system}): {estimate}, 80 % within {p10} to {p90}, {on}; from {times}"
        );
    }
    text
}
