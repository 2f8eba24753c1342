//! How a failed build is shown.

use super::state::{JobFailure, RunState};
use super::text::clean;
use crate::run::Failure;

/// The block for one failed build: name, host, how it failed, its last log lines, where the rest is.
pub fn failure_lines(run: &RunState, failure: &JobFailure) -> Vec<String> {
    let job = run.job(failure.job);
    let mut lines = vec![format!(
        "error: {} {} on {} after {}",
        job.name,
        verb(failure.failure),
        run.host_name(failure.host),
        failure.took
    )];
    lines.extend(
        failure.message.lines().map(clean).filter(|l| !l.trim().is_empty()).map(|l| format!("  {l}")),
    );
    if !failure.tail.is_empty() {
        let count = failure.tail.len();
        lines.push(if count == 1 {
            "  Its last log line:".to_owned()
        } else {
            format!("  Its last {count} log lines:")
        });
        lines.extend(failure.tail.iter().map(|line| format!("  > {line}").trim_end().to_owned()));
    }
    lines.push(format!("  For the full log, run: nix log {}", shell_words::quote(&job.drv)));
    lines
}

/// `NAME … on HOST`.
pub(super) fn verb(failure: Failure) -> &'static str {
    match failure {
        Failure::Build => "failed",
        Failure::TimedOut => "timed out",
        Failure::HashMismatch => "made an output with an unexpected hash",
        Failure::NotDeterministic => "built differently than before",
        Failure::LogLimit => "wrote more log than allowed",
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Scene;

    use super::*;

    #[test]
    fn the_block_has_name_host_reason_and_log() {
        let scene = Scene::failed();
        let failure = &scene.run.failures()[0];
        insta::assert_snapshot!(failure_lines(&scene.run, failure).join("\n"), @r"
        error: gcc-13.2 failed on ruby after 59s
          builder failed with exit code 2
          Its last 3 log lines:
          > cc1: out of memory
          >
          > make: *** [all] Error 2
          For the full log, run: nix log /nix/store/00000000000000000000000000000001-gcc-13.2.drv
        ");
    }

    #[test]
    fn only_the_end_of_a_long_log_is_kept() {
        let scene = Scene::failed_with_log((0..100).map(|n| format!("line {n}")));
        let failure = &scene.run.failures()[0];
        assert_eq!(failure.tail.len(), 25);
        assert_eq!(failure.tail[0], "line 75");
        let lines = failure_lines(&scene.run, failure);
        assert!(lines.contains(&"  Its last 25 log lines:".to_owned()), "{lines:?}");
    }
}
