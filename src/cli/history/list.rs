//! `drvdispatch history list`.

use clap::Args;
use serde::Serialize;

use super::{Estimate, day, existing, memory, on_what, print_json, same, table};
use crate::cli::error::CliError;
use crate::cost::{About, Memory, OutputClass};
use crate::records::history::{Filter, Package, class_word, name};
use crate::report::{Cells, NONE, clean};

#[derive(Args, Debug, Clone)]
pub struct ListArgs {
    /// Only packages that this host has built, with what they would take there
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// Print the list as JSON
    #[arg(long)]
    json: bool,
}

/// A package, as `--json` prints it; times in microseconds, `last` in seconds since 1970.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    name: String,
    version: String,
    class: OutputClass,
    system: String,
    builds: u64,
    last: u64,
    #[serde(flatten)]
    estimate: Estimate,
}

pub fn run(args: &ListArgs) -> Result<(), CliError> {
    let Some(history) = existing()? else {
        return if args.json { print_json(&Vec::<Entry>::new()) } else { Ok(()) };
    };
    let host = args.host.as_deref();
    let which = Filter { host: args.host.clone(), ..Filter::default() };
    let list = entries(history.packages(&which)?, &memory(&history)?, host);
    if args.json {
        return print_json(&list);
    }
    if list.is_empty() {
        crate::cli::tell!("nothing that was built{}", host.map(|h| format!(" by {h}")).unwrap_or_default());
        return Ok(());
    }
    crate::cli::put(&text(&list, host), "the history")
}

/// The longest first: those are what matters to a plan.
fn entries(packages: Vec<Package>, memory: &Memory, host: Option<&str>) -> Vec<Entry> {
    let entry = |package: Package| {
        let Package { pname, version, class, system, builds, last } = package;
        let full = name(&pname, &version);
        let about = About { name: &full, class, system: &system, input_size: None };
        let estimate = Estimate::of(memory, &about, host);
        Entry { name: pname, version, class, system, builds, last, estimate }
    };
    let mut list: Vec<Entry> = packages.into_iter().map(entry).collect();
    list.sort_by(|a, b| b.estimate.estimate.cmp(&a.estimate.estimate).then_with(|| a.name.cmp(&b.name)));
    list
}

fn text(list: &[Entry], host: Option<&str>) -> String {
    let columns = [
        (Cells::Names, "package"),
        (Cells::Words, "version"),
        (Cells::Words, "kind"),
        (Cells::Words, "system"),
        (Cells::Numbers, "builds"),
        (Cells::Numbers, "last"),
        (Cells::Numbers, "estimate"),
        (Cells::Numbers, "80 % within"),
    ];
    // What is the same for all is said once.
    let system = same(list.iter().map(|entry| entry.system.as_str()));
    let row = |entry: &Entry| {
        let Estimate { estimate, p10, p90 } = entry.estimate;
        [
            entry.name.clone(),
            entry.version.clone(),
            class_word(entry.class),
            system.map_or_else(|| entry.system.clone(), |_| NONE.to_owned()),
            entry.builds.to_string(),
            day(entry.last),
            estimate.to_string(),
            format!("{p10} to {p90}"),
        ]
    };
    let all = system.map(|system| format!("all for {}; ", clean(system))).unwrap_or_default();
    format!("{}{all}estimates are for builds {}\n", table(columns, list.iter().map(row)), on_what(host))
}
