//! The house rules that no compiler checks, read from the sources: a module imports only from lower
//! floors, nothing below the worlds knows the clock or the machine, files stay short and say what they
//! are for.

use std::fs;
use std::path::{Path, PathBuf};

/// The floors, from the ground up.
const FLOORS: [(usize, &[&str]); 9] = [
    (0, &["base"]),
    (1, &["nix", "fleet"]),
    (2, &["graph", "cost"]),
    (3, &["run"]),
    (4, &["sched"]),
    (5, &["drive"]),
    (6, &["sim", "dispatch", "records", "report"]),
    (7, &["tune"]),
    (8, &["cli"]),
];

/// The only imports between two modules of one floor, each with why.
const ACROSS: [(&str, &str, &str); 2] = [
    ("fleet", "nix", "a host is read from a machines file and named by a store URI"),
    ("cost", "graph", "an estimate is for a job of a workload"),
];

/// Up to here nothing may know the time, the environment, files, processes or the network, and
/// nothing may depend on a random order: the same log must always give the same orders.
const PURE_UP_TO: usize = 5;

/// Paths that begin with these, or types of these names, are forbidden there.
const IMPURE_PATHS: [&str; 12] = [
    "std::env",
    "std::fs",
    "std::net",
    "std::os",
    "std::process",
    "std::sync::atomic",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
    "tokio",
    "ssh2",
    "rustix",
];
const IMPURE_NAMES: [&str; 4] = ["Instant", "SystemTime", "HashMap", "HashSet"];

/// What is allowed all the same, each with why.
const PURE_ALL_THE_SAME: [(&str, &str, &str); 1] =
    [("src/nix/store_uri.rs", "std::net::Ipv6Addr", "a value: how an address is written")];

const MOST_LINES: usize = 500;

#[derive(Debug, Clone, PartialEq)]
struct Token {
    text: String,
    line: usize,
    /// Within something under `#[cfg(test)]`.
    test: bool,
}

/// A path as written, with its `use` groups taken apart.
struct Mention {
    segments: Vec<String>,
    line: usize,
    test: bool,
    /// Inline modules around it.
    nesting: usize,
}

struct Source {
    file: String,
    /// `dispatch::link` for src/dispatch/link/mod.rs; empty for lib.rs and main.rs.
    module: Vec<String>,
    lines: usize,
    documented: bool,
    mentions: Vec<Mention>,
    /// Modules declared here under `#[cfg(test)]`.
    test_modules: Vec<Vec<String>>,
}

/// Identifiers, `::` and single characters; comments, strings, characters and lifetimes left out.
fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let mut found = Vec::new();
    let (mut at, mut line) = (0, 1);
    while at < chars.len() {
        let end = token_end(&chars, at);
        let text: String = chars[at..end].iter().collect();
        let first = chars[at];
        if first.is_alphanumeric() && !text.contains('"') || first == '_' || "{}[]()<>;,#:*".contains(first) {
            found.push(Token { text: text.clone(), line, test: false });
        }
        line += text.matches('\n').count();
        at = end;
    }
    found
}

fn token_end(chars: &[char], at: usize) -> usize {
    let rest = &chars[at..];
    let is_word = |c: &char| c.is_alphanumeric() || *c == '_';
    let starts = |text: &str| text.chars().eq(rest.iter().copied().take(text.len()));
    let until = |from: usize, text: &str| -> usize {
        let text: Vec<char> = text.chars().collect();
        let place = chars[from..].windows(text.len()).position(|window| window == text);
        place.map_or(chars.len(), |place| from + place + text.len())
    };
    let word = rest.iter().take_while(|c| is_word(c)).count();
    if starts("//") {
        at + rest.iter().take_while(|c| **c != '\n').count()
    } else if starts("/*") {
        until(at + 2, "*/")
    } else if starts("\"") {
        string_end(chars, at)
    } else if starts("'") {
        match rest {
            [_, '\\', _, ..] => until(at + 3, "'"),
            [_, _, '\'', ..] => at + 3,
            _ => at + 1,
        }
    } else if starts("::") {
        at + 2
    } else if word > 0 {
        let prefix: String = rest[..word].iter().collect();
        let hashes = rest[word..].iter().take_while(|c| **c == '#').count();
        let quoted = rest.get(word + hashes) == Some(&'"');
        match prefix.as_str() {
            "r" | "br" | "cr" if quoted => {
                until(at + word + hashes + 1, &format!("\"{}", "#".repeat(hashes)))
            }
            "b" | "c" if quoted && hashes == 0 => string_end(chars, at + word),
            _ => at + word,
        }
    } else {
        at + 1
    }
}

fn string_end(chars: &[char], quote: usize) -> usize {
    let mut at = quote + 1;
    while at < chars.len() && chars[at] != '"' {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(chars.len())
}

/// Marks what is under `#[cfg(test)]` and returns the names of the modules declared so.
fn mark_tests(tokens: &mut [Token]) -> Vec<String> {
    let attribute = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut names = Vec::new();
    for start in 0..tokens.len() {
        let next = tokens[start..].iter().map(|token| token.text.as_str());
        if !next.clone().take(attribute.len()).eq(attribute) {
            continue;
        }
        let texts: Vec<&str> = next.collect();
        let (mut depth, mut end) = (0, texts.len());
        for (at, text) in texts.iter().enumerate().skip(attribute.len()) {
            match *text {
                "{" => depth += 1,
                "}" => depth -= 1,
                "mod" if depth == 0 && texts.get(at + 2) == Some(&";") => {
                    names.push(texts[at + 1].to_owned())
                }
                _ => {}
            }
            if depth == 0 && matches!(*text, "}" | ";") {
                end = at + 1;
                break;
            }
        }
        tokens[start..start + end].iter_mut().for_each(|token| token.test = true);
    }
    names
}

/// Every path; of `a::{b, c::d}` come `a::b` and `a::c::d`.
fn mentions(tokens: &[Token]) -> Vec<Mention> {
    let mut found = Vec::new();
    let mut inline: Vec<usize> = Vec::new(); // brace depths at which inline modules began
    let (mut depth, mut at) = (0, 0);
    while at < tokens.len() {
        let text = tokens[at].text.as_str();
        match text {
            "{" => {
                depth += 1;
                if at >= 2 && tokens[at - 2].text == "mod" {
                    inline.push(depth);
                }
            }
            "}" => {
                if inline.last() == Some(&depth) {
                    inline.pop();
                }
                depth -= 1;
            }
            _ => {}
        }
        at = if is_word(text) { read_path(tokens, at, &[], inline.len(), &mut found) } else { at + 1 };
    }
    found
}

fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Reads the path or group that begins at `at`, after `prefix`; returns where it ends.
fn read_path(
    tokens: &[Token],
    mut at: usize,
    prefix: &[String],
    nesting: usize,
    found: &mut Vec<Mention>,
) -> usize {
    let mut segments = prefix.to_vec();
    let first = at;
    while let Some(token) = tokens.get(at) {
        if token.text == "{" && at > 0 && tokens[at - 1].text == "::" {
            at += 1;
            while tokens.get(at).is_some_and(|token| token.text != "}") {
                let is_path = is_word(&tokens[at].text) && tokens[at].text != "as";
                at = if is_path { read_path(tokens, at, &segments, nesting, found) } else { at + 1 };
            }
            return at + 1;
        }
        if !is_word(&token.text) {
            break;
        }
        segments.push(token.text.clone());
        at += 1;
        if tokens.get(at).is_none_or(|token| token.text != "::") {
            break;
        }
        at += 1;
    }
    let Token { line, test, .. } = tokens[first];
    found.push(Mention { segments, line, test, nesting });
    at
}

fn read_source(file: &str, text: &str) -> Source {
    let inner = file.trim_start_matches("src/").trim_end_matches(".rs");
    let module: Vec<String> =
        inner.split('/').filter(|part| !matches!(*part, "mod" | "lib" | "main")).map(str::to_owned).collect();
    let mut tokens = tokens(text);
    let declared = mark_tests(&mut tokens);
    let below = |name: String| [module.clone(), vec![name]].concat();
    Source {
        file: file.to_owned(),
        lines: text.lines().count(),
        documented: text.starts_with("//!"),
        mentions: mentions(&tokens),
        test_modules: declared.into_iter().map(below).collect(),
        module,
    }
}

fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().find(|(_, modules)| modules.contains(&module)).map(|(floor, _)| *floor)
}

/// The module directly under the crate that a path leads to, if it leads into this crate.
fn target<'a>(source: &Source, mention: &'a Mention) -> Option<&'a str> {
    let segments = &mention.segments;
    let ups = segments.iter().take_while(|segment| *segment == "super").count();
    let depth = source.module.len() + mention.nesting;
    match segments[0].as_str() {
        "crate" | "drvdispatch" => segments.get(1),
        "super" if ups >= depth => segments.get(ups),
        _ => None,
    }
    .map(String::as_str)
}

fn wrong_floor(source: &Source, mention: &Mention) -> Option<String> {
    let from = source.module.first()?;
    let to = target(source, mention)?;
    let (own, other) = (floor(from)?, floor(to)?);
    let allowed = other < own || from == to || ACROSS.iter().any(|(a, b, _)| a == from && b == &to);
    (!allowed).then(|| format!("{from} (floor {own}) imports from {to} (floor {other})"))
}

fn impure(source: &Source, mention: &Mention) -> Option<String> {
    floor(source.module.first()?).filter(|floor| *floor <= PURE_UP_TO)?;
    let path = mention.segments.join("::");
    let begins = |prefix: &str| path == prefix || path.starts_with(&format!("{prefix}::"));
    let bad = IMPURE_PATHS.iter().any(|prefix| begins(prefix))
        || mention.segments.iter().any(|segment| IMPURE_NAMES.contains(&segment.as_str()));
    let excused = PURE_ALL_THE_SAME.iter().any(|(file, allowed, _)| *file == source.file && begins(allowed));
    (bad && !excused && !mention.test).then(|| format!("{path} on a floor that must be pure"))
}

/// All violations, as `file:line: what is wrong`.
fn violations(files: &[(String, String)]) -> Vec<String> {
    let sources: Vec<Source> = files.iter().map(|(file, text)| read_source(file, text)).collect();
    let test_modules: Vec<&Vec<String>> = sources.iter().flat_map(|source| &source.test_modules).collect();
    let mut found = Vec::new();
    for source in &sources {
        let Source { file, lines, .. } = source;
        if *lines > MOST_LINES {
            found.push(format!("{file}:{lines}: more than {MOST_LINES} lines"));
        }
        if !file.starts_with("src/") {
            continue;
        }
        let for_tests = test_modules.iter().any(|module| source.module.starts_with(module));
        if !source.documented && !for_tests {
            found.push(format!("{file}:1: no module doc"));
        }
        if source.module.first().is_some_and(|module| floor(module).is_none()) {
            found.push(format!("{file}:1: {} has no floor in tests/floors.rs", source.module[0]));
        }
        for mention in &source.mentions {
            let impure = if for_tests { None } else { impure(source, mention) };
            for wrong in [wrong_floor(source, mention), impure].into_iter().flatten() {
                found.push(format!("{file}:{}: {wrong}", mention.line));
            }
        }
    }
    found
}

fn rust_files(dir: &Path, found: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    for entry in entries {
        let path = entry.expect("a directory can be read to its end").path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn the_tree_keeps_to_its_floors() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = Vec::new();
    for dir in ["src", "tests", "benches"] {
        rust_files(&root.join(dir), &mut paths);
    }
    paths.sort();
    let read = |path: &PathBuf| {
        let name = path.strip_prefix(root).expect("found under it").to_string_lossy().into_owned();
        (name, fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
    };
    let files: Vec<_> = paths.iter().map(read).collect();
    for module in FLOORS.iter().flat_map(|(_, modules)| *modules) {
        let is_there = [format!("src/{module}.rs"), format!("src/{module}/mod.rs")];
        assert!(files.iter().any(|(file, _)| is_there.contains(file)), "there is no module {module}");
    }
    let found = violations(&files);
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn a_made_up_tree_breaks_every_rule() {
    let file = |name: &str, text: &str| (name.to_owned(), text.to_owned());
    let graph = "//! Doc.\n\
        use crate::{base::Id, sched::{Sched, events}};\n\
        use std::{fmt, fs::File as F, collections::{BTreeMap, HashMap}};\n\
        // use crate::cli::no; \n\
        const A: &str = \"crate::cli::no \\\" std::fs\"; const B: char = '\"';\n\
        const R: &str = r#\"crate::cli::no \" std::env\"#; fn f<'a>(x: &'a str) {}\n\
        fn now() { std::time::Instant::now(); std::sync::atomic::fence(); super::super::cli::yes(); super::order::no(); }\n\
        #[cfg(test)]\n\
        mod tests { use std::fs; use super::super::super::run::Event; use super::super::order; }\n";
    let files = [
        file("src/graph/x.rs", graph),
        file("src/cost/mod.rs", "//! Doc.\n#[cfg(test)]\nmod tests;\nuse crate::graph::Workload;\n"),
        file("src/cost/tests.rs", "use std::fs;\nuse crate::drive::drive;\n"),
        file("src/report/mod.rs", "use crate::sim::World;\nuse std::fs;"),
        file("src/elsewhere.rs", "//! Doc."),
        file("tests/long.rs", &"//\n".repeat(501)),
    ];
    let expected = "\
src/graph/x.rs:2: graph (floor 2) imports from sched (floor 4)
src/graph/x.rs:2: graph (floor 2) imports from sched (floor 4)
src/graph/x.rs:3: std::fs::File on a floor that must be pure
src/graph/x.rs:3: std::collections::HashMap on a floor that must be pure
src/graph/x.rs:7: std::time::Instant::now on a floor that must be pure
src/graph/x.rs:7: std::sync::atomic::fence on a floor that must be pure
src/graph/x.rs:7: graph (floor 2) imports from cli (floor 8)
src/graph/x.rs:9: graph (floor 2) imports from run (floor 3)
src/cost/tests.rs:2: cost (floor 2) imports from drive (floor 5)
src/report/mod.rs:1: no module doc
src/report/mod.rs:1: report (floor 6) imports from sim (floor 6)
src/elsewhere.rs:1: elsewhere has no floor in tests/floors.rs
tests/long.rs:501: more than 500 lines";
    assert_eq!(violations(&files).join("\n"), expected);
}
