//! Which run log is meant: for the verbs that read one.

use std::path::Path;

use super::error::CliError;
use crate::records::{RunFile, RunsDir, RunsError};

/// A run log by its path, by its name in the directory of runs, or by its age: `last` or 1 is the newest.
///
/// # Errors
/// There is no such log.
pub fn find(name: &str) -> Result<RunFile, CliError> {
    let usage = |e: RunsError| CliError::Usage(e.to_string());
    if name != "last" && Path::new(name).exists() {
        return RunFile::at(name).map_err(usage);
    }
    in_dir(&RunsDir::of_user().map_err(usage)?, name)
}

fn in_dir(dir: &RunsDir, name: &str) -> Result<RunFile, CliError> {
    let runs = dir.list().map_err(|e| CliError::Usage(e.to_string()))?;
    let (count, place) = (runs.len(), dir.path().display());
    let age = match name {
        "last" => Some(1),
        number => number.parse::<usize>().ok().filter(|age| *age > 0),
    };
    let mut runs = runs.into_iter();
    let found = match age {
        Some(age) => runs.nth(age - 1),
        None => runs.find(|run| run.name == name),
    };
    found.ok_or_else(|| match age {
        Some(_) if count == 0 => CliError::Usage(format!("there are no run logs in {place} yet")),
        Some(age) => CliError::Usage(format!("there are only {count} run logs in {place}, not {age}")),
        None => CliError::Usage(format!("'{name}' is neither a file nor a run in {place}")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_known_by_name_and_by_age() {
        let temp = tempfile::tempdir().unwrap();
        let dir = RunsDir::at(temp.path());
        let name = |wanted: &str| in_dir(&dir, wanted).map(|run| run.name).map_err(|e| e.to_string());
        assert!(name("last").unwrap_err().starts_with("there are no run logs in "));
        let (old, _) = dir.create(1_700_000_000).unwrap();
        let (new, _) = dir.create(1_700_000_001).unwrap();
        for (wanted, found) in [("last", &new), ("1", &new), ("2", &old), (old.name.as_str(), &old)] {
            assert_eq!(name(wanted).as_ref(), Ok(&found.name));
        }
        assert!(name("3").unwrap_err().starts_with("there are only 2 run logs in "));
        assert!(name("bogus").unwrap_err().starts_with("'bogus' is neither a file nor a run in "));
    }
}
