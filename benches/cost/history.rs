//! Each build of one host's history, predicted from those that had ended when it began.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use drvdispatch::base::Span;
use drvdispatch::cost::{CostParams, Known, Memory, OutputClass, Sample};
use drvdispatch::graph::Job;

use crate::common::graphs::data;
use crate::rivals::{OF_PACKAGE, Unseen};
use crate::score::Score;

/// A line of the history.
#[derive(Debug)]
struct Merge {
    category: String,
    package: String,
    seconds: f64,
    begin: u64,
    end: u64,
    sample: Sample,
}

/// Where the history is if nothing else is said.
pub fn usual_place() -> PathBuf {
    data().join("durations/one-host-history.csv")
}

/// Prints the tables.
pub fn print(file: &Path) -> Result<(), String> {
    let text = std::fs::read_to_string(file).map_err(|error| {
        format!(
            "{}: {error}\nGive the CSV file of a history as the argument (columns package, version, \
             start_unix, seconds), or set BENCH_DATA to the folder in which durations/ is",
            file.display()
        )
    })?;
    let merges = read(&text).map_err(|(line, why)| format!("{}:{line}: {why}", file.display()))?;
    let tables = Tables::of(&merges);
    let packages: std::collections::BTreeSet<_> = merges.iter().map(|merge| &merge.package).collect();
    println!(
        "{} builds of {} packages; each predicted from those that had ended when it began.\n\
         The shipped table has no time of this host: rows of the same log are left out when it is made.\n",
        merges.len(),
        packages.len()
    );
    tables.print();
    Ok(())
}

#[derive(Default)]
struct Tables {
    repeats: BTreeMap<String, Score>,
    first: BTreeMap<String, Score>,
    known: BTreeMap<Known, Score>,
    own_repeats: Score,
    own_first: Score,
    own_all: Score,
    /// The same without what the host does at the moment.
    no_pace: Score,
}

impl Tables {
    fn of(merges: &[Merge]) -> Tables {
        let mut tables = Tables::default();
        let mut memory = Memory::new(CostParams::default());
        let mut no_pace = Memory::new(CostParams { pace_gain: 0.0, ..CostParams::default() });
        let mut seen: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        let mut unseen = Unseen::default();
        // In the order of ends; what ends when another begins is known to it.
        let mut ends: Vec<&Merge> = merges.iter().collect();
        ends.sort_by_key(|merge| merge.end);
        let mut ended = ends.into_iter().peekable();
        for next in merges {
            while let Some(merge) = ended.next_if(|merge| merge.end <= next.begin) {
                memory.learn(&merge.sample);
                no_pace.learn(&merge.sample);
                let of_package = seen.entry(merge.package.as_str()).or_default();
                if of_package.is_empty() {
                    unseen.learn(&merge.category, merge.seconds);
                }
                of_package.push(merge.seconds);
            }
            let earlier = seen.get(next.package.as_str()).map_or(&[][..], Vec::as_slice);
            tables.own(&memory, next, earlier.is_empty());
            if earlier.is_empty() {
                let rivals = [
                    ("30 s for all", 30.0),
                    ("mean of all", unseen.mean()),
                    ("mean of the category, shrunk", unseen.category(&next.category)),
                ];
                for (name, predicted) in rivals {
                    tables.first.entry(name.to_owned()).or_default().add(predicted, next.seconds);
                }
            } else {
                let median = no_pace.forecast_build(&next.sample).median();
                tables.no_pace.add(median.as_secs_f64(), next.seconds);
                for (name, predict) in OF_PACKAGE {
                    tables.repeats.entry(name.to_owned()).or_default().add(predict(earlier), next.seconds);
                }
            }
        }
        tables
    }

    fn own(&mut self, memory: &Memory, next: &Merge, first: bool) {
        let forecast = memory.forecast_build(&next.sample);
        let within = |coverage: f64| {
            let (low, high) = forecast.interval(coverage);
            low <= next.sample.wall && next.sample.wall <= high
        };
        let (in_80, in_90) = (within(0.8), within(0.9));
        let known = self.known.entry(forecast.known()).or_default();
        let all = if first { &mut self.own_first } else { &mut self.own_repeats };
        for score in [known, all, &mut self.own_all] {
            score.add(forecast.median().as_secs_f64(), next.seconds);
            score.covered(in_80, in_90);
        }
    }

    fn print(&self) {
        Score::head("Built before");
        self.own_repeats.print("drvdispatch");
        self.no_pace.print("drvdispatch, without the host's pace");
        OF_PACKAGE.iter().for_each(|(name, _)| self.repeats[*name].print(name));
        Score::head("\nNever built before");
        self.own_first.print("drvdispatch, with the shipped table");
        self.first.iter().for_each(|(name, score)| score.print(name));
        Score::head("\nBy what was known");
        for (known, score) in &self.known {
            let name = match known {
                Known::Kind => "nothing but the name",
                Known::Size => "the source's size",
                Known::Table => "the shipped table",
                Known::Once => "built once",
                Known::Twice => "built twice",
                Known::Often => "built more often",
            };
            score.print(name);
        }
        self.own_all.print("all");
    }
}

fn read(text: &str) -> Result<Vec<Merge>, (usize, String)> {
    let mut lines = text.lines().enumerate().map(|(number, line)| (number + 1, line));
    match lines.next() {
        Some((_, "package,version,start_unix,seconds")) => {}
        _ => return Err((1, "expected the columns package,version,start_unix,seconds".to_owned())),
    }
    let mut merges = Vec::new();
    for (number, line) in lines {
        merges.push(merge(line).ok_or_else(|| (number, format!("no build: '{line}'")))?);
    }
    if merges.is_empty() {
        return Err((1, "no builds".to_owned()));
    }
    merges.sort_by_key(|merge| merge.begin);
    Ok(merges)
}

fn merge(line: &str) -> Option<Merge> {
    let mut fields = line.split(',');
    let (package, version) = (fields.next()?, fields.next()?);
    let begin: u64 = fields.next()?.parse().ok()?;
    let seconds: f64 = fields.next()?.parse().ok()?;
    let (category, name) = package.split_once('/')?;
    if !(seconds.is_finite() && seconds > 0.0) {
        return None;
    }
    let end = begin.checked_add(seconds.ceil() as u64)?;
    let pname = in_nix(category, name);
    let job = Job { name: format!("{pname}-{version}"), ..Job::default() };
    let sample = Sample {
        class: OutputClass::of(&job),
        pname,
        version: version.to_owned(),
        system: "x86_64-linux".to_owned(),
        host: "host".to_owned(),
        cores: 0,
        wall: Span::from_secs_f64(seconds),
        cpu: None,
        input_size: 0,
        output_size: 0,
        stopped: end,
    };
    Some(Merge { category: category.to_owned(), package: package.to_owned(), seconds, begin, end, sample })
}

/// What Nix calls a package of Gentoo.
fn in_nix(category: &str, name: &str) -> String {
    match (category, name) {
        ("dev-python", _) => format!("python3.6-{name}"),
        ("dev-perl", _) => format!("perl5.26.1-{name}"),
        (_, "grep" | "m4" | "make" | "sed" | "tar") => format!("gnu{name}"),
        (_, "icu") => "icu4c".to_owned(),
        (_, "rust") => "rustc".to_owned(),
        (_, "python") => "python3".to_owned(),
        (_, "mit-krb5") => "krb5".to_owned(),
        (_, "pkgconfig") => "pkg-config".to_owned(),
        (_, "pam") => "linux-pam".to_owned(),
        (_, "ghostscript-gpl") => "ghostscript".to_owned(),
        (_, "webkit-gtk") => "webkitgtk".to_owned(),
        _ => name.to_owned(),
    }
}
