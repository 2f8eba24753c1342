//! What is left when a run is over: links, paths, JSON on stdout; summary and endings on stderr.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;

use super::error::{CliError, some_of};
use super::prepare::Prepared;
use crate::base::Span;
use crate::dispatch::Root;
use crate::graph::Origin;
use crate::nix::DEFAULT_STORE_DIR;
use crate::report::{Requested, RunState, Summary, build_results, bytes, plural, write_json};
use crate::run::{Header, LossMeter};
use crate::sched::{Ending, Verdict};

/// What to do with the results.
#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Results")]
pub struct Results {
    /// Name of the links to the results
    #[arg(short, long, value_name = "PATH", default_value = "result")]
    out_link: PathBuf,
    /// Make no links
    #[arg(long)]
    no_link: bool,
    /// Print the store paths of the results
    #[arg(long)]
    print_out_paths: bool,
    /// Print the results as JSON, as `nix build --json` does
    #[arg(long)]
    json: bool,
}

impl Results {
    /// Whether the links can be made in the end, asked before hours are spent on building.
    ///
    /// # Errors
    /// Something else has the name of a link, or its directory is missing.
    pub fn check_links(&self, prepared: &Prepared) -> Result<(), CliError> {
        let links = if self.no_link { Vec::new() } else { links(&self.out_link, &prepared.roots) };
        links.into_iter().try_for_each(|(link, _)| {
            let what = format!("making the link {}", link.display());
            std::path::absolute(&link).and_then(|link| may_be_made(&link)).map_err(CliError::io(what))
        })
    }

    /// Makes the links and prints what was asked for, of the roots that are complete.
    ///
    /// # Errors
    /// A link cannot be made, or stdout not be written to.
    pub fn deliver(
        &self,
        prepared: &mut Prepared,
        verdict: &Verdict,
        header: &Header,
        state: &RunState,
    ) -> Result<(), CliError> {
        let missing: Vec<&str> =
            verdict.missing.iter().map(|&p| header.workload.paths[p].path.as_str()).collect();
        let complete = |root: &&Root| !root.outputs.iter().any(|(_, path)| missing.contains(&path.as_str()));
        let roots: Vec<Root> = prepared.roots.iter().filter(complete).cloned().collect();
        if !self.no_link && verdict.missing.is_empty() {
            for (link, path) in links(&self.out_link, &roots) {
                make_link(prepared, &link, &path)?;
            }
        }
        if self.json && !verdict.missing.is_empty() {
            // An array with some of what was asked for would pass for the whole.
            return Ok(());
        }
        self.print(&roots, &build_results(&requested(&roots), state))
    }

    /// Prints what would be the results.
    ///
    /// # Errors
    /// stdout cannot be written to.
    pub fn print_only(&self, prepared: &Prepared) -> Result<(), CliError> {
        let unbuilt = |r: Requested| crate::report::BuildResult {
            drv_path: r.drv,
            outputs: r.outputs,
            ..Default::default()
        };
        let results: Vec<_> = requested(&prepared.roots).into_iter().map(unbuilt).collect();
        self.print(&prepared.roots, &results)
    }

    fn print(&self, roots: &[Root], results: &[crate::report::BuildResult]) -> Result<(), CliError> {
        let mut text = Vec::new();
        if self.json {
            write_json(results, &mut text).map_err(CliError::io("writing the results"))?;
        }
        // Beside the JSON, too, as Nix does.
        if self.print_out_paths {
            let paths = roots.iter().flat_map(|root| &root.outputs).map(|(_, path)| format!("{path}\n"));
            text.extend(paths.flat_map(String::into_bytes));
        }
        super::put(&String::from_utf8_lossy(&text), "the results")
    }
}

fn requested(roots: &[Root]) -> Vec<Requested> {
    let outputs = |root: &Root| -> BTreeMap<String, String> {
        root.outputs.iter().map(|(name, path)| (name.clone(), path.to_string())).collect()
    };
    roots.iter().map(|root| Requested { drv: root.drv.to_string(), outputs: outputs(root) }).collect()
}

/// `result`, `result-dev`; from the second root on `result-1`, `result-1-dev`, as Nix names them.
fn links(base: &Path, roots: &[Root]) -> Vec<(PathBuf, String)> {
    let mut links = Vec::new();
    for (i, root) in roots.iter().enumerate() {
        for (output, path) in &root.outputs {
            let mut link = base.as_os_str().to_owned();
            if i > 0 {
                link.push(format!("-{i}"));
            }
            if output != "out" {
                link.push(format!("-{output}"));
            }
            links.push((PathBuf::from(link), path.to_string()));
        }
    }
    links
}

/// Whether a result link may go here: nothing is there, or an older result, and its directory exists.
fn may_be_made(link: &Path) -> std::io::Result<()> {
    use std::io::Error;
    if link.symlink_metadata().is_ok() {
        // As with Nix, a link that leads elsewhere is somebody's own.
        return match std::fs::read_link(link) {
            Ok(target) if target.starts_with(DEFAULT_STORE_DIR) => Ok(()),
            _ => Err(Error::other("something else has that name; move it away, or choose another with -o")),
        };
    }
    match link.parent() {
        Some(parent) if parent.is_dir() => Ok(()),
        _ => Err(Error::other("there is no such directory; make it, or choose another with -o")),
    }
}

/// Makes a link in one step over an older one and registers it as a root.
fn make_link(prepared: &mut Prepared, link: &Path, path: &str) -> Result<(), CliError> {
    let failed = |cause| CliError::Io { what: format!("making the link {}", link.display()), cause };
    let link = std::path::absolute(link).map_err(failed)?;
    may_be_made(&link).map_err(failed)?;
    let mut name = link.as_os_str().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    std::os::unix::fs::symlink(path, &name).map_err(failed)?;
    if let Err(cause) = std::fs::rename(&name, &link) {
        let _ = std::fs::remove_file(&name);
        return Err(failed(cause));
    }
    if let Some(session) = &mut prepared.session {
        let registered = session.client.add_indirect_root(&link.to_string_lossy());
        registered.map_err(|e| failed(std::io::Error::other(e.to_string())))?;
    }
    Ok(())
}

/// What `--dry-run` has to say.
pub fn print_missing(prepared: &Prepared) {
    let work = &prepared.work;
    if !work.jobs.is_empty() {
        super::tell!("{} will be built:", plural(work.jobs.len(), "derivation"));
        work.jobs.rows().iter().for_each(|job| super::tell!("  {}", job.drv));
    }
    let fetched: Vec<_> = work.paths.rows().iter().filter(|p| p.origin == Origin::Substituter).collect();
    if !fetched.is_empty() {
        let (what, size) = (plural(fetched.len(), "path"), bytes(prepared.download));
        super::tell!("{what} will be fetched ({size} download):");
        fetched.iter().for_each(|p| super::tell!("  {}", p.path));
    }
}

/// What the run came to, measured by the time that each build really took.
pub fn print_summary(state: &RunState, meter: LossMeter, bound: Span, quiet: bool) {
    if state.header().workload.jobs.is_empty() {
        return;
    }
    let losses = meter.finish(state.now(), bound);
    let summary = Summary { losses, ..Summary::of(state, Some(bound)) };
    if quiet {
        super::tell!("{}", summary.closing_line());
    } else {
        super::tell!("{}", summary.text().trim_end());
        let hosts = state.header().hosts.rows().iter().filter(|host| host.slots > 0).count();
        if let Some(hint) = explain_hint(hosts, state.counts().built) {
            super::tell!("{hint}");
        }
    }
}

/// How to learn why jobs went where they went, if there were hosts to choose from.
fn explain_hint(hosts: usize, built: usize) -> Option<&'static str> {
    (hosts > 1 && built > 0)
        .then_some("why a derivation was built where it was: `drvdispatch explain last NAME`")
}

/// What went wrong without a build having failed; failed builds were shown when they failed.
pub fn print_endings(verdict: &Verdict, state: &RunState, home: &str, interrupted: bool) {
    let header = state.header();
    let mut given_up: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (job, ending) in &verdict.endings {
        let name = &header.workload.jobs[*job].name;
        match ending {
            Ending::GivenUp { cause } => given_up.entry(cause).or_default().push(name),
            // No single try of it was shown as a failure: each might have been its host's.
            Ending::Failed { message, .. } if !state.failures().iter().any(|f| f.job == *job) => {
                super::tell!("error: {name} failed wherever it was tried: {message}");
                super::tell!("  For the full log, run: nix log {}", header.workload.jobs[*job].drv);
            }
            Ending::Failed { .. } => {}
        }
    }
    for (cause, names) in given_up {
        super::tell!("error: {}", given_up_line(&names, cause));
    }
    if verdict.endings.is_empty() && !interrupted {
        for &path in &verdict.missing {
            super::tell!("error: {} did not reach {home}", header.workload.paths[path].path);
        }
    }
}

/// Derivations given up for the same cause, in one line: a host that is gone takes many along.
fn given_up_line(names: &[&str], cause: &str) -> String {
    match names {
        [name] => format!("{name} was given up: {cause}"),
        _ => {
            let named = some_of(names);
            format!("{} were given up ({named}), each for: {cause}", plural(names.len(), "derivation"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_up_for_one_cause_takes_one_line() {
        let cause = "no host is left";
        assert_eq!(given_up_line(&["a"], cause), "a was given up: no host is left");
        assert_eq!(
            given_up_line(&["a", "b"], cause),
            "2 derivations were given up (a, b), each for: no host is left"
        );
        assert_eq!(
            given_up_line(&["a", "b", "c", "d", "e"], cause),
            "5 derivations were given up (a, b, c and 2 more), each for: no host is left"
        );
    }

    #[test]
    fn where_there_was_a_choice_it_can_be_explained() {
        assert!(explain_hint(2, 1).is_some_and(|hint| hint.contains("drvdispatch explain last")));
        assert_eq!((explain_hint(1, 5), explain_hint(2, 0)), (None, None));
    }

    #[test]
    fn only_an_older_result_is_replaced() {
        let dir = std::env::temp_dir().join(format!("drvdispatch-links-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let (result, own) = (dir.join("result"), dir.join("own"));
        assert!(may_be_made(&result).is_ok());
        std::os::unix::fs::symlink("/nix/store/00000000000000000000000000000001-x", &result).unwrap();
        std::os::unix::fs::symlink("/tmp", &own).unwrap();
        let file = dir.join("file");
        std::fs::write(&file, "").unwrap();
        let may =
            [&result, &own, &file, &dir.join("none/result"), &dir].map(|link| may_be_made(link).is_ok());
        std::fs::remove_dir_all(&dir).unwrap();
        assert_eq!(may, [true, false, false, false, false]);
    }
}
