//! What was found, for people.

use std::fmt::Write as _;

use super::{Gain, Judge, Row, Searched, Tuned};
use crate::report::plural;
use crate::tune::{Accuracy, FEWEST_BUILDS, FEWEST_RUNS, Score};

/// All of it.
pub(super) fn text(tuned: &Tuned) -> String {
    let mut out = String::new();
    for left_out in &tuned.left_out {
        let _ = writeln!(out, "left out {}: {}", left_out.run, left_out.why);
    }
    match &tuned.search {
        Some(search) => searched(search, tuned.runs.len(), &mut out),
        None => {
            let _ = writeln!(
                out,
                "no run can be gone through again, so nothing was searched for: each `drvdispatch build` of \
                 {FEWEST_BUILDS} derivations or more records one that can"
            );
        }
    }
    out.push('\n');
    estimator(&tuned.estimator, &mut out);
    out
}

fn searched(search: &Searched, runs: usize, out: &mut String) {
    let (runs, seeds) = (plural(runs, "run"), plural(search.seeds, "seed"));
    let _ = match search.judged_by {
        Judge::OtherRuns => writeln!(
            out,
            "{runs}, {seeds} each; gains are those on the runs that a value was not chosen on ({} folds)",
            search.folds
        ),
        Judge::OtherDurations => writeln!(
            out,
            "{runs}, {seeds} each; with fewer than {FEWEST_RUNS} runs, gains are those with other durations of the \
             same work ({} folds of seeds): they say nothing of other work",
            search.folds
        ),
    };
    let name = |row: &Row| format!("{}.{}", row.table, row.name);
    let width = search.parameters.iter().map(|row| name(row).len()).max().unwrap_or(0);
    let _ = writeln!(
        out,
        "\n{:width$}  {:>7}  {:>7}  {:>8}  {:^18}",
        "parameter", "now", "best", "gain", "95 % interval"
    );
    for row in &search.parameters {
        let (now, best) = (row.now.to_string(), row.best.to_string());
        let verdict = match (row.kept, row.gain, row.matters) {
            (true, ..) => "better",
            (false, Some(_), _) => "not beyond noise",
            (false, None, true) => "as good as any",
            (false, None, false) => "makes no difference",
        };
        let gain = row.gain.map(|gain| (percent(gain.mean), range(&gain))).unwrap_or_default();
        let _ = writeln!(
            out,
            "{:width$}  {now:>7}  {best:>7}  {:>8}  {:^18}  {verdict}",
            name(row),
            gain.0,
            gain.1
        );
    }
    out.push('\n');
    conclusion(search, out);
}

fn conclusion(search: &Searched, out: &mut String) {
    let kept = search.parameters.iter().filter(|row| row.kept).count();
    let file = &search.file;
    let _ = match (&search.together, kept) {
        (Some(gain), 0) => writeln!(
            out,
            "what looked better did not hold up on new seeds ({}, 95 %: {}): {file} stays as it is",
            percent(gain.mean),
            range(gain)
        ),
        (None, _) => writeln!(out, "nothing that was tried is better beyond noise: {file} stays as it is"),
        (Some(gain), kept) => writeln!(
            out,
            "together they gain {} of the makespan on new seeds (95 %: {})\n{} {} {file}",
            percent(gain.mean),
            range(gain),
            plural(kept, "value"),
            if search.dry_run { "would be written to" } else { "written to" },
        ),
    };
}

fn percent(part: f64) -> String {
    format!("{:+.1} %", part * 100.0)
}

fn range(gain: &Gain) -> String {
    format!("{:+.1} to {:+.1}", gain.low * 100.0, gain.high * 100.0)
}

fn estimator(accuracy: &Accuracy, out: &mut String) {
    if accuracy.all.builds == 0 {
        out.push_str("no build says anything of the estimator\n");
        return;
    }
    let mut lines: Vec<(String, &Score)> = vec![("all builds".to_owned(), &accuracy.all)];
    lines.push(("  built before".to_owned(), &accuracy.repeats));
    lines.push(("  seen for the first time".to_owned(), &accuracy.first_seen));
    lines.extend(accuracy.classes.iter().map(|(class, score)| (format!("{}", Kind(class)), score)));
    let host = |(host, system, score)| (format!("on {host}, {system}"), score);
    lines.extend(accuracy.hosts.iter().map(|(name, system, score)| host((name, system, score))));
    lines.retain(|(_, score)| score.builds > 0);
    let names = lines.iter().map(|(name, _)| name.as_str());
    let packages = accuracy.worst.iter().map(|package| package.pname.as_str());
    let width = names.chain(packages).map(|name| name.chars().count()).max().unwrap_or(0);
    out.push_str("the estimator, each build from those before it:\n");
    let _ = writeln!(
        out,
        "{:width$}  {:>6}  {:>8}  {:>6}  {:>11}  {:>11}",
        "", "builds", "log-RMSE", "bias", "within 80 %", "within 90 %"
    );
    for (name, score) in &lines {
        let _ = writeln!(out, "{name:width$}  {}", figures(score));
    }
    if !accuracy.worst.is_empty() {
        out.push_str("\nworst predicted:\n");
    }
    for package in &accuracy.worst {
        let took = crate::base::Span::from_secs_f64(package.took);
        let _ = writeln!(out, "{:width$}  {}  took {took}", package.pname, figures(&package.score));
    }
}

fn figures(score: &Score) -> String {
    format!(
        "{:>6}  {:>8.2}  {:>+6.2}  {:>9.0} %  {:>9.0} %",
        score.builds,
        score.log_rmse,
        score.bias,
        score.within80 * 100.0,
        score.within90 * 100.0
    )
}

/// A kind of derivation as it is written.
struct Kind<'a>(&'a crate::cost::OutputClass);

impl std::fmt::Display for Kind<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let written = serde_json::to_value(self.0).ok();
        f.write_str(written.as_ref().and_then(|value| value.as_str()).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests;
