//! What `nix build --dry-run` prints: the derivations on stdout, and on stderr a list to leave out.

use serde_json::Value;

/// One entry of `nix build --dry-run --json`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DryRunEntry {
    /// The derivation, or the path of what is none.
    pub path: String,
    /// The outputs that would be built, by name; no path where it is not known beforehand. `None` if
    /// the entry is a path and no derivation.
    pub outputs: Option<Vec<(String, Option<String>)>>,
}

/// Reads the JSON.
///
/// # Errors
/// A phrase that says what is wrong with it.
pub fn parse_dry_run(json: &[u8]) -> Result<Vec<DryRunEntry>, String> {
    let entries: Vec<Value> = serde_json::from_slice(json).map_err(|e| e.to_string())?;
    entries.iter().map(entry).collect()
}

fn entry(value: &Value) -> Result<DryRunEntry, String> {
    let path = |path: &str| DryRunEntry { path: path.to_owned(), outputs: None };
    if let Some(text) = value.as_str().or_else(|| value.get("path")?.as_str()) {
        return Ok(path(text));
    }
    let shown = || value.to_string().chars().take(200).collect::<String>();
    let drv = value.get("drvPath").and_then(Value::as_str);
    let drv = drv.ok_or_else(|| format!("an entry has no store path as its drvPath: {}", shown()))?;
    let outputs = value.get("outputs").and_then(Value::as_object);
    let outputs = outputs.ok_or_else(|| format!("an entry has no outputs: {}", shown()))?;
    let outputs = outputs.iter().map(|(name, path)| (name.clone(), path.as_str().map(str::to_owned)));
    Ok(DryRunEntry { path: drv.to_owned(), outputs: Some(outputs.collect()) })
}

/// Takes the lists of what would be built and fetched out of stderr, line by line: evaluation is
/// done by a dry run, of which the user need not see anything but warnings and errors.
#[derive(Debug, Default)]
pub struct DryRunFilter {
    in_list: bool,
}

impl DryRunFilter {
    /// Whether a line is for the user.
    pub fn keep(&mut self, line: &str) -> bool {
        let is_head = (line.starts_with("these ") || line.starts_with("this "))
            && (line.ends_with(" will be built:")
                || (line.contains(" will be fetched") && line.ends_with("):")));
        self.in_list = is_head || (self.in_list && line.starts_with("  /"));
        !self.in_list
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_entries_of_every_version() {
        let json = br#"[{"drvPath":"/s/a.drv","outputs":{"dev":null,"out":"/s/a"}},"/s/b",{"path":"/s/c"}]"#;
        let entries = parse_dry_run(json).unwrap();
        let outputs = vec![("dev".to_owned(), None), ("out".to_owned(), Some("/s/a".to_owned()))];
        assert_eq!(entries[0], DryRunEntry { path: "/s/a.drv".into(), outputs: Some(outputs) });
        assert_eq!(entries[1].path, "/s/b");
        assert_eq!(entries[2], DryRunEntry { path: "/s/c".into(), outputs: None });
    }

    #[test]
    fn refuses_what_is_no_such_list() {
        for json in
            ["", "{}", "[1]", r#"[{"drvPath":{"drvPath":"/s/a.drv"},"outputs":{}}]"#, r#"[{"drvPath":"/s"}]"#]
        {
            assert!(parse_dry_run(json.as_bytes()).is_err(), "{json}");
        }
    }

    #[test]
    fn hides_the_lists_only() {
        let mut filter = DryRunFilter::default();
        let text = "warning: dirty\nthis derivation will be built:\n  /s/a.drv\nthese 2 derivations will be built:\n  /s/a.drv\n  /s/b.drv\nthese 3 paths will be fetched (1.00 MiB download, 2.00 MiB unpacked):\n  /s/c\nthis path will be fetched (0.00 MiB download, 1 KiB unpacked):\n  /s/d\ndon't know how to build these paths:\n  /s/e\nerror: x";
        let kept: Vec<_> = text.lines().filter(|line| filter.keep(line)).collect();
        assert_eq!(kept, ["warning: dirty", "don't know how to build these paths:", "  /s/e", "error: x"]);
    }

    proptest! {
        #[test]
        fn never_panics(json in "[\\[\\]{}\",:a-z/]{0,60}", line in "\\PC{0,60}") {
            let _ = parse_dry_run(json.as_bytes());
            DryRunFilter::default().keep(&line);
        }
    }
}
