//! What was found, for people.

use std::fmt::Write as _;

use super::{Gain, Judge, Row, Searched, Tuned};
use crate::report::{Cells, Room, Table, plural};
use crate::tune::{Accuracy, FEWEST_BUILDS, FEWEST_RUNS, Package, Score};

/// All of it.
pub(super) fn text(tuned: &Tuned, room: Room) -> String {
    let mut out = String::new();
    for left_out in &tuned.left_out {
        let _ = writeln!(out, "left out {}: {}", left_out.run, left_out.why);
    }
    match &tuned.search {
        Some(search) => searched(search, tuned.runs.len(), room, &mut out),
        None => {
            let _ = writeln!(
                out,
                "no run can be gone through again, so nothing was searched for: each `drvdispatch build` of \
                 {FEWEST_BUILDS} derivations or more records one that can"
            );
        }
    }
    out.push('\n');
    estimator(&tuned.estimator, room, &mut out);
    out
}

fn searched(search: &Searched, runs: usize, room: Room, out: &mut String) {
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
    let mut table = Table::new([
        (Cells::Words, "parameter"),
        (Cells::Numbers, "now"),
        (Cells::Numbers, "best"),
        (Cells::Numbers, "gain"),
        (Cells::Numbers, "95 % interval"),
        (Cells::Words, ""),
    ]);
    for row in &search.parameters {
        let (now, best) = (row.now.to_string(), row.best.to_string());
        let verdict = match (row.kept, row.gain, row.matters) {
            (true, ..) => "better",
            (false, Some(_), _) => "not beyond noise",
            (false, None, true) => "as good as any",
            (false, None, false) => "makes no difference",
        };
        let gain = row.gain.map(|gain| (percent(gain.mean), range(&gain))).unwrap_or_default();
        table.row([name(row), now, best, gain.0, gain.1, verdict.to_owned()]);
    }
    let _ = writeln!(out, "\n{}", table.text(room));
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

fn estimator(accuracy: &Accuracy, room: Room, out: &mut String) {
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
    let mut table = Table::new([
        (Cells::Names, ""),
        (Cells::Numbers, "builds"),
        (Cells::Numbers, "log-RMSE"),
        (Cells::Numbers, "bias"),
        (Cells::Numbers, "in 80 %"),
        (Cells::Numbers, "in 90 %"),
        (Cells::Words, ""),
    ]);
    lines.into_iter().for_each(|(name, score)| table.row(figures(name, score, String::new())));
    if !accuracy.worst.is_empty() {
        table.gap();
        let mut worst: [String; 7] = Default::default();
        worst[0].push_str("worst predicted:");
        table.row(worst);
    }
    for Package { pname, took, score, .. } in &accuracy.worst {
        let took = crate::base::Span::from_secs_f64(*took);
        table.row(figures(pname.clone(), score, format!("took {took}")));
    }
    let _ = write!(out, "the estimator, each build from those before it:\n{}", table.text(room));
}

fn figures(name: String, score: &Score, more: String) -> [String; 7] {
    let percent = |part: f64| format!("{:.0} %", part * 100.0);
    [
        name,
        score.builds.to_string(),
        format!("{:.2}", score.log_rmse),
        format!("{:+.2}", score.bias),
        percent(score.within80),
        percent(score.within90),
        more,
    ]
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
