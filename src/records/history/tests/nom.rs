use std::fs;
use std::sync::Barrier;

use super::*;

const HEADER: &str = "hostname,derivation name,utc time,build seconds\r\n";

fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("build-reports.csv");
    fs::write(&path, text).unwrap();
    (temp, path)
}

#[test]
fn builds_are_added_in_its_order_and_form() {
    let text = format!("{HEADER}zeta,gcc,2025-11-09 10:00:00,900\r\n,hello,2025-11-09 10:00:00,3\r\n");
    let (_temp, path) = file(&text);
    let mut other = build("lib2", 61, 1_700_000_000);
    (other.sample.host, other.sample.version) = ("me@ruby".into(), String::new());
    let failed = Build { outcome: Ended::Failed, ..build("bad", 1, 1) };
    let rows =
        [row("hello", 2, 1_700_000_000), Row::Build(other), Row::Build(failed), transfer("ruby", 1, 1)];
    NomFile::at(&path).unwrap().append(&rows).unwrap();
    insta::assert_snapshot!(fs::read_to_string(&path).unwrap().replace("\r\n", "\n"), @r"
    hostname,derivation name,utc time,build seconds
    ,hello,2023-11-14 22:13:20,2
    ,hello,2025-11-09 10:00:00,3
    ruby,lib,2023-11-14 22:13:20,61
    zeta,gcc,2025-11-09 10:00:00,900
    ");
    assert!(fs::read_to_string(&path).unwrap().ends_with(",900\r\n"));
}

#[test]
fn ten_builds_are_kept_of_each() {
    let (_temp, path) = file(HEADER);
    let rows: Vec<Row> = (0..25).map(|n| row("hello", n, 1_700_000_000 + n)).collect();
    let mut nom = NomFile::at(&path).unwrap();
    rows.chunks(7).for_each(|rows| nom.append(rows).unwrap());
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text.lines().count(), 11);
    assert!(text.ends_with(",24\r\n") && text.contains(",15\r\n") && !text.contains(",14\r\n"));
}

#[test]
fn a_file_that_is_not_understood_is_left_alone() {
    for text in ["", "nonsense\r\n", "hostname,derivation name,utc time,build seconds\r\n,x,yesterday,3\r\n"]
    {
        let (_temp, path) = file(text);
        let error = NomFile::at(&path).unwrap().append(&[row("hello", 1, 1)]).unwrap_err();
        assert!(error.contains("build-reports.csv: "), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
    assert_eq!(NomFile::at("/nowhere/build-reports.csv"), None);
}

#[test]
fn whoever_has_the_lock_is_waited_for() {
    let (_temp, path) = file(HEADER);
    let lock = fs::File::create(format!("{}.lock", path.display())).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let mut nom = NomFile::at(&path).unwrap();
    assert!(nom.append(&[row("hello", 1, 1)]).unwrap_err().contains("locked"));
    let mut held = Some(lock);
    nom.append_after(&[row("hello", 2, 2)], &mut || drop(held.take())).unwrap();
    assert!(held.is_none(), "it did not wait");
    assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 2);
}

#[test]
fn several_write_at_once() {
    let (_temp, path) = file(HEADER);
    let begin = Barrier::new(5);
    std::thread::scope(|scope| {
        for writer in 0..5 {
            let (begin, path) = (&begin, &path);
            scope.spawn(move || {
                begin.wait();
                for n in 0..8 {
                    NomFile::at(path).unwrap().append(&[row(&format!("w{writer}x"), n, n)]).unwrap();
                }
            });
        }
    });
    assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 41);
}
