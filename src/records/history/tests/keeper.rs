use std::fs;

use rusqlite::Connection;

use super::fold::{built, header, order};
use super::*;
use crate::base::Time;

fn keeper(path: &Path, nom: Option<NomFile>) -> Keeper {
    Keeper::begin(Some(History::open(path).unwrap()), Fold::new(&header(), "run".into()), nom)
}

/// Builds the first job `n` times, a second apart.
fn builds(keeper: &mut Keeper, n: u64) {
    for second in 0..n {
        keeper.order(&order(0, 0, 2));
        keeper.event(Time(second * 1_000_000), &built(0, 4));
    }
}

#[test]
fn all_is_written_by_the_end_also_of_a_run_that_ends_in_an_error() {
    let (_temp, path) = place();
    let mut one = keeper(&path, None);
    builds(&mut one, 700);
    assert_eq!(one.finish(), None);
    assert_eq!(all(&History::open(&path).unwrap()).len(), 700);
    let mut two = keeper(&path, None);
    builds(&mut two, 701);
    drop(two);
    assert_eq!(all(&History::open(&path).unwrap()).len(), 701);
    let mut off = Keeper::off();
    builds(&mut off, 1);
    assert_eq!((off.warning(), off.finish()), (None, None));
}

#[test]
fn a_lock_that_is_kept_costs_the_history_and_is_said_once() {
    let (_temp, path) = place();
    let mut keeper = keeper(&path, None);
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    builds(&mut keeper, 5);
    let said = keeper.finish().unwrap();
    let file = path.display();
    assert_eq!(
        said,
        format!("the history is not written any further: {file}: another process keeps it locked")
    );
}

#[test]
fn damage_in_the_middle_of_a_run_is_kept_aside() {
    let (_temp, path) = place();
    let mut history = History::open(&path).unwrap();
    history.add(&(0..5000).map(|n| row(&format!("package{n}"), 1, n)).collect::<Vec<_>>()).unwrap();
    drop(history);
    let mut keeper = keeper(&path, None);
    let mut bytes = fs::read(&path).unwrap();
    bytes[4096..].iter_mut().for_each(|byte| *byte = 0x5a);
    fs::write(&path, bytes).unwrap();
    builds(&mut keeper, 3);
    let said = keeper.finish().unwrap();
    assert!(said.starts_with("the history begins anew: ") && said.ends_with(".damaged-1"), "{said}");
    assert_eq!(all(&History::open(&path).unwrap()).len(), 3);
}

#[test]
fn builds_are_passed_on_to_nom() {
    let (temp, path) = place();
    let reports = temp.path().join("build-reports.csv");
    fs::write(&reports, "hostname,derivation name,utc time,build seconds\r\n").unwrap();
    let mut keeper = keeper(&path, NomFile::at(&reports));
    builds(&mut keeper, 1);
    assert_eq!(keeper.finish(), None);
    let expected = "hostname,derivation name,utc time,build seconds\r\n,zlib,2023-11-14 22:13:20,4\r\n";
    assert_eq!(fs::read_to_string(&reports).unwrap(), expected);
    // Also where there is no history.
    let mut alone = Keeper::begin(None, Fold::new(&header(), "run".into()), NomFile::at(&reports));
    builds(&mut alone, 2);
    assert_eq!(alone.finish(), None);
    assert_eq!(fs::read_to_string(&reports).unwrap().lines().count(), 3);
}
