use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Barrier;

use rusqlite::Connection;

use super::*;
use crate::cost::{About, CostParams, Memory};

fn memory(history: &History, before: Option<u64>) -> Memory {
    history.memory(Memory::new(CostParams::default()), before).unwrap()
}

fn seconds(memory: &Memory, name: &str) -> f64 {
    let about = About { name, class: OutputClass::Source, system: "x86_64-linux", input_size: None };
    memory.estimate(&about).median.as_secs_f64()
}

#[test]
fn what_was_added_is_there_next_time_and_only_for_its_owner() {
    let (_temp, path) = place();
    let rows = [row("zlib", 3, 20), row("hello", 9, 10), transfer("ruby", 1 << 20, 11)];
    let added = History::open(&path).unwrap().add(&rows).unwrap();
    assert_eq!(added, Added { builds: 2, transfers: 1 });
    let mut history = History::open(&path).unwrap();
    assert_eq!(names(&history), ["hello-1.0", "zlib-1.0"], "by time");
    assert_eq!(all(&history)[0], build("hello", 9, 10));
    assert_eq!(history.add(&rows).unwrap(), Added::default(), "nothing is there twice");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn a_memory_knows_what_was_built_up_to_then() {
    let (_temp, path) = place();
    let mut history = History::open(&path).unwrap();
    let failed = Build { outcome: Ended::Failed, ..build("hello", 4000, 300) };
    let cached = Build { outcome: Ended::Cached, ..build("hello", 0, 301) };
    history
        .add(&[row("hello", 10, 100), row("hello", 1000, 200), Row::Build(failed), Row::Build(cached)])
        .unwrap();
    let (then, now) = (memory(&history, Some(200)), memory(&history, None));
    assert_ne!(seconds(&then, "hello-1.0"), seconds(&memory(&history, Some(100)), "hello-1.0"));
    assert!(seconds(&now, "hello-1.0") > 2.0 * seconds(&then, "hello-1.0"));
    let without = History::open(&path).unwrap();
    without.db.execute("DELETE FROM builds WHERE outcome <> 'built'", []).unwrap();
    let same = seconds(&memory(&without, None), "hello-1.0");
    assert_eq!(seconds(&now, "hello-1.0"), same, "neither failures nor cached results count");
}

#[test]
fn long_names_and_numbers_beyond_measure_are_bounded() {
    let (_temp, path) = place();
    let mut history = History::open(&path).unwrap();
    let mut odd = build(&"x".repeat(9000), 1, 1);
    (odd.sample.wall, odd.sample.output_size, odd.sample.stopped) = (Span(u64::MAX), u64::MAX, u64::MAX);
    history.add(&[Row::Build(odd)]).unwrap();
    let kept = &all(&history)[0].sample;
    assert_eq!((kept.pname.len(), kept.output_size), (255, i64::MAX as u64));
}

#[test]
fn only_the_newest_transfers_of_each_host_are_kept() {
    let (_temp, path) = place();
    let mut history = History::open(&path).unwrap();
    let rows: Vec<Row> = (0..700).map(|n| transfer(["a", "b"][n % 2], 1 << 21, n as u64)).collect();
    history.add(&[transfer("a", 1000, 0)]).unwrap();
    for rows in rows.chunks(50) {
        history.add(rows).unwrap();
    }
    let mut kept = Vec::new();
    history.transfers(&Filter::default(), |transfer| kept.push(transfer)).unwrap();
    assert_eq!(kept.len(), 301);
    let large = kept.iter().filter(|transfer| transfer.sample.bytes > 1000);
    assert_eq!(large.map(|transfer| transfer.at).min(), Some(400));
    assert!(history.links(None).unwrap().of("a").is_some());
    assert!(history.links(Some(0)).unwrap().of("a").is_none());
}

#[test]
fn an_older_schema_is_brought_up_to_date_with_all_that_is_in_it() {
    let (_temp, path) = place();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let old = Connection::open(&path).unwrap();
    old.execute_batch(include_str!("../../../../fixtures/history/schema-1.sql")).unwrap();
    drop(old);
    let mut history = History::open(&path).unwrap();
    assert_eq!(
        names(&history),
        ["hello-2.12", "zlib-1.3"],
        "and what this version does not know is passed over"
    );
    history.add(&[transfer("ruby", 1, 1)]).unwrap();
    let version: i64 = history.db.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    assert_eq!(version, schema::NEWEST);
}

#[test]
fn a_newer_schema_and_other_databases_say_so_and_stay_as_they_are() {
    let (_temp, path) = place();
    History::open(&path).unwrap().add(&[row("hello", 1, 1)]).unwrap();
    let db = Connection::open(&path).unwrap();
    db.pragma_update(None, "user_version", 99).unwrap();
    let healed = heal(&path, Ok);
    assert!(healed.got.is_none());
    let said = healed.warning.unwrap();
    assert_eq!(
        said.replace(&path.display().to_string(), "FILE"),
        "the history is not used: FILE has schema 99, this version knows up to 2: use the newer drvdispatch, or \
         move the file away"
    );
    let count: i64 = db.query_row("SELECT count(*) FROM builds", [], |row| row.get(0)).unwrap();
    assert_eq!(count, 1);
    let other = path.with_file_name("other.sqlite");
    Connection::open(&other).unwrap().execute_batch("CREATE TABLE songs (name TEXT)").unwrap();
    assert!(matches!(History::open(&other), Err(HistoryError::Foreign { .. })));
}

#[test]
fn a_damaged_file_is_kept_aside_and_a_fresh_one_begun() {
    let (_temp, path) = place();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    for n in 1..=2 {
        fs::write(&path, format!("damage {n}, and this is no database at all").repeat(100)).unwrap();
        let healed = heal(&path, |mut history| history.add(&[row("hello", 1, n)]));
        assert_eq!(healed.got, Some(Added { builds: 1, transfers: 0 }));
        let said = healed.warning.unwrap().replace(&path.display().to_string(), "FILE");
        let expected = format!(
            "the history begins anew: FILE: it is damaged (file is not a database); it is kept as FILE.damaged-{n}"
        );
        assert_eq!(said, expected);
        let kept = fs::read_to_string(path.with_file_name(format!("history.sqlite.damaged-{n}"))).unwrap();
        assert!(kept.starts_with(&format!("damage {n}")));
    }
    assert_eq!(heal(&path, Ok).warning, None);
}

/// Damage in the middle shows only when that page is read.
#[test]
fn damage_that_shows_later_is_dealt_with_likewise() {
    let (_temp, path) = place();
    let mut history = History::open(&path).unwrap();
    history.add(&(0..5000).map(|n| row(&format!("package{n}"), 1, n)).collect::<Vec<_>>()).unwrap();
    drop(history);
    let mut bytes = fs::read(&path).unwrap();
    let half = bytes.len() / 8;
    bytes[half..].iter_mut().for_each(|byte| *byte = 0xa5);
    fs::write(&path, bytes).unwrap();
    let read = |history: History| history.memory(Memory::new(CostParams::default()), None);
    let healed = heal(&path, read);
    assert!(healed.got.is_some());
    assert!(healed.warning.unwrap().contains("malformed"));
    assert_eq!(names(&History::open(&path).unwrap()), Vec::<String>::new());
}

#[test]
fn who_comes_second_to_a_damaged_file_leaves_the_fresh_one_alone() {
    let (_temp, path) = place();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, "damage ".repeat(1000)).unwrap();
    let seen = aside::identity(&path);
    heal(&path, |mut history| history.add(&[row("hello", 1, 1)]));
    assert_eq!(aside::set_aside(&path, seen).unwrap(), None);
    assert_eq!(names(&History::open(&path).unwrap()), ["hello-1.0"]);
}

#[test]
fn a_locked_file_costs_the_history_and_little_time() {
    let (_temp, path) = place();
    drop(History::open(&path).unwrap());
    let other = Connection::open(&path).unwrap();
    other.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE;").unwrap();
    let healed = heal(&path, |history| history.memory(Memory::new(CostParams::default()), None));
    assert!(healed.got.is_none());
    assert!(healed.warning.unwrap().ends_with("another process keeps it locked"));
    other.execute_batch("ROLLBACK").unwrap();
    drop(other);
    assert_eq!(heal(&path, Ok).warning, None);
}

#[test]
fn a_full_disk_loses_what_is_new_and_nothing_else() {
    let (_temp, path) = place();
    let mut history = History::open(&path).unwrap();
    history.add(&[row("hello", 1, 1)]).unwrap();
    let pages: i64 = history.db.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
    history.db.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(())).unwrap();
    let many: Vec<Row> = (0..5000).map(|n| row(&format!("package{n}"), 1, n)).collect();
    let error = history.add(&many).unwrap_err();
    assert_eq!(error.trouble(), Some(Trouble::Full));
    assert!(error.to_string().ends_with(": the disk has no room left"), "{error}");
    assert_eq!(names(&history), ["hello-1.0"]);
}

#[test]
fn where_there_can_be_no_file_there_is_no_history() {
    let temp = tempfile::NamedTempFile::new().unwrap();
    let healed = heal(&temp.path().join("history.sqlite"), Ok);
    assert!(healed.got.is_none());
    assert!(healed.warning.unwrap().starts_with("the history is not used: cannot create "));
}

/// Each connection of a thread is to the others as one of another process.
#[test]
fn several_write_at_once_from_the_first_moment() {
    let (_temp, path) = place();
    const WRITERS: u64 = 6;
    let begin = Barrier::new(WRITERS as usize);
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (begin, path) = (&begin, &path);
            scope.spawn(move || {
                begin.wait();
                let mut history = History::open(path).unwrap();
                for batch in 0..20 {
                    let rows: Vec<Row> =
                        (0..10).map(|n| row(&format!("w{writer}"), 1, batch * 10 + n)).collect();
                    history.add(&rows).unwrap();
                    history.memory(Memory::new(CostParams::default()), None).unwrap();
                }
            });
        }
    });
    assert_eq!(all(&History::open(&path).unwrap()).len(), WRITERS as usize * 200);
}

#[test]
fn packages_and_builds_are_found_and_forgotten_by_name_host_and_time() {
    let (_temp, path) = place();
    let mut history = History::open(&path).unwrap();
    let mut remote = build("hello", 20, 30);
    remote.sample.host = "ruby".into();
    remote.sample.version = "2.0".into();
    let rows = [row("hello", 10, 10), row("gcc", 900, 20), Row::Build(remote), transfer("ruby", 9, 31)];
    history.add(&rows).unwrap();
    let found = |history: &History, filter: &Filter| {
        let packages = history.packages(filter).unwrap();
        packages
            .iter()
            .map(|p| format!("{}-{} {} {}", p.pname, p.version, p.builds, p.last))
            .collect::<Vec<_>>()
    };
    let filter = |name: &str, host: &str, before: Option<u64>| Filter {
        name: Some(name.to_owned()).filter(|name| !name.is_empty()),
        host: Some(host.to_owned()).filter(|host| !host.is_empty()),
        before,
    };
    assert_eq!(found(&history, &filter("", "", None)), ["hello-2.0 2 30", "gcc-1.0 1 20"]);
    assert_eq!(found(&history, &filter("h*", "local", None)), ["hello-1.0 1 10"]);
    assert_eq!(found(&history, &filter("hello-2*", "", None)), ["hello-2.0 1 30"]);
    let old = filter("", "", Some(20));
    assert_eq!(history.count(&old).unwrap(), Removed { builds: 1, transfers: 0 });
    assert_eq!(history.forget(&old).unwrap(), Removed { builds: 1, transfers: 0 });
    let ruby = filter("", "ruby", None);
    assert_eq!(history.forget(&ruby).unwrap(), Removed { builds: 1, transfers: 1 });
    assert_eq!(history.forget(&filter("gc?", "", None)).unwrap(), Removed { builds: 1, transfers: 0 });
    assert_eq!(all(&history), []);
}

#[test]
fn of_a_package_that_is_built_all_the_time_the_newest_builds_count() {
    let (_temp, path) = place();
    let mut history = History::open(&path).unwrap();
    let rows: Vec<Row> = (0..100).map(|n| row("hello", if n < 80 { 1 } else { 500 }, n)).collect();
    history.add(&rows).unwrap();
    history.add(&[row("zlib", 3, 0)]).unwrap();
    let memory = memory(&history, None);
    let took = seconds(&memory, "hello-1.0");
    assert!((200.0..2000.0).contains(&took), "{took}");
    assert!((1.0..20.0).contains(&seconds(&memory, "zlib-1.0")), "what is built rarely is not crowded out");
}
