//! What a test says that cannot do its work here, since libtest knows passed and failed only.

use std::fs::OpenOptions;
use std::io::Write as _;

/// Says so, and adds the line `NAME: WHY` to the file that `DRVDISPATCH_SKIPPED_TESTS` names: scripts/test
/// counts these lines, and counts so many tests fewer as passed. Call it once, and return from the test.
pub fn skip(why: &str) {
    let thread = std::thread::current(); // libtest gives it the test's name
    let line = format!("{}: {why}\n", thread.name().unwrap_or("a test"));
    eprint!("skipped {line}");
    if let Some(path) = std::env::var_os("DRVDISPATCH_SKIPPED_TESTS") {
        let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
        file.write_all(line.as_bytes()).unwrap(); // in one piece, as other tests write too
    }
}
