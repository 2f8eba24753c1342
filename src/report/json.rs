//! The result on standard output as `nix build --json` prints it.
//!
//! One array on one line, one object per requested derivation: `drvPath`, `outputs` by name, and, where
//! it was built in this run, `startTime`, `stopTime` (seconds since 1970), `cpuUser`, `cpuSystem`
//! (seconds, with a fraction). Nix leaves out what it does not know of and what was valid already, and
//! so is it here. Names and units are those of `builtPathsWithResultToJSON` in Nix's build.cc.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::Serialize;

use super::state::{JobState, RunState};
use crate::base::Span;

/// One derivation that the user asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requested {
    /// Its store path.
    pub drv: String,
    /// The outputs asked for and their paths.
    pub outputs: BTreeMap<String, String>,
}

/// What is printed for it. Fields are in the order of their names, as Nix prints them.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BuildResult {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_system: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_user: Option<f64>,
    pub drv_path: String,
    pub outputs: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_time: Option<u64>,
}

/// What became of the requested derivations, in their order.
pub fn build_results(requested: &[Requested], run: &RunState) -> Vec<BuildResult> {
    let jobs = &run.header().workload.jobs;
    let times: BTreeMap<&str, _> = jobs
        .iter()
        .filter_map(|(id, job)| match &run.jobs()[id] {
            JobState::Built { times, .. } => Some((job.drv.as_str(), times)),
            _ => None,
        })
        .collect();
    let result = |requested: &Requested| {
        let times = times.get(requested.drv.as_str());
        // 0 is what a host says that did not measure.
        let known = |seconds: u64| (seconds > 0).then_some(seconds);
        BuildResult {
            cpu_system: times.and_then(|t| t.cpu_system).map(Span::as_secs_f64),
            cpu_user: times.and_then(|t| t.cpu_user).map(Span::as_secs_f64),
            drv_path: requested.drv.clone(),
            outputs: requested.outputs.clone(),
            start_time: times.and_then(|t| known(t.start)),
            stop_time: times.and_then(|t| known(t.stop)),
        }
    };
    requested.iter().map(result).collect()
}

/// Prints the array and a line end.
pub fn write_json(results: &[BuildResult], mut out: impl Write) -> io::Result<()> {
    serde_json::to_writer(&mut out, results)?;
    writeln!(out)?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{HELLO, Scene, ZLIB};
    use super::*;

    #[test]
    fn built_ones_have_times_and_others_do_not() {
        let run = Scene::running().run;
        let requested = |drv: String| Requested {
            outputs: [("out", "/nix/store/o-x"), ("dev", "/nix/store/d-x")]
                .map(|(name, path)| (name.to_owned(), path.to_owned()))
                .into(),
            drv,
        };
        let wanted = [requested(run.job(ZLIB).drv.clone()), requested(run.job(HELLO).drv.clone())];
        let mut out = Vec::new();
        write_json(&build_results(&wanted, &run), &mut out).unwrap();
        insta::assert_snapshot!(String::from_utf8(out).unwrap(), @r#"[{"cpuSystem":0.0,"cpuUser":1.5,"drvPath":"/nix/store/00000000000000000000000000000000-zlib-1.3.drv","outputs":{"dev":"/nix/store/d-x","out":"/nix/store/o-x"},"startTime":1700000001,"stopTime":1700000004},{"drvPath":"/nix/store/00000000000000000000000000000003-hello-2.12.drv","outputs":{"dev":"/nix/store/d-x","out":"/nix/store/o-x"}}]"#);
    }

    #[test]
    fn nothing_requested_is_an_empty_array() {
        let mut out = Vec::new();
        write_json(&[], &mut out).unwrap();
        assert_eq!(out, b"[]\n");
    }
}
