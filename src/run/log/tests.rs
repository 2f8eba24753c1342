//! Round trips of arbitrary runs, and logs that are cut, damaged, too new or too long.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::graph::PathId;
use crate::run::arbitrary::{entry, header};

fn write(header: &Header, entries: &[Entry]) -> Vec<u8> {
    let mut log = LogWriter::new(Vec::new(), header).unwrap();
    for Entry { at, what } in entries {
        match what {
            Step::Event(event) => log.event(*at, event),
            Step::Order(order) => log.order(*at, order),
        }
        .unwrap();
    }
    log.flush().unwrap();
    log.into_inner()
}

proptest! {
    #[test]
    fn what_is_written_is_read(entries in vec(entry(), 0..20)) {
        let log = write(&header(), &entries);
        let (read_header, read, torn) = read_log(&log[..]).unwrap();
        prop_assert_eq!(read_header, header());
        prop_assert_eq!(read, entries);
        prop_assert_eq!(torn, None);
    }

    #[test]
    fn random_bytes_never_panic(bytes in vec(any::<u8>(), 0..400), keep in 0usize..3000) {
        let mut log = write(&header(), &[]);
        log.truncate(keep);
        log.extend(bytes);
        // Whatever it says, it says it by value.
        let _ = read_log(&log[..]);
    }
}

fn small() -> Vec<Entry> {
    let at = |n, what| Entry { at: Time(n), what };
    vec![
        at(1, Step::Event(Event::FleetReady)),
        at(2, Step::Event(Event::HostLost { host: HostId(1), cause: "gone\n\"away\" ≠".into() })),
        at(3, Step::Order(Order::Probe { host: HostId(1) })),
    ]
}

#[test]
fn a_log_cut_anywhere_loads_up_to_its_last_whole_line() {
    let log = write(&header(), &small());
    let head = log.iter().position(|b| *b == b'\n').unwrap();
    for cut in 0..=log.len() {
        let result = read_log(&log[..cut]);
        if cut < head {
            assert!(matches!(result, Err(LogError::NoHeader)), "cut at {cut}: {result:?}");
            continue;
        }
        let (_, entries, torn) = result.unwrap();
        let rest = &log[..cut];
        // A line that lacks nothing but its line end is whole.
        let next_ends = log.get(cut) == Some(&b'\n');
        let whole = rest.iter().filter(|b| **b == b'\n').count() + usize::from(next_ends);
        assert_eq!(entries, small()[..whole - 1], "cut at {cut}");
        assert_eq!(torn.is_some(), rest.last() != Some(&b'\n') && !next_ends, "cut at {cut}");
        if let Some(torn) = torn {
            assert_eq!(torn.line, whole + 1);
        }
    }
}

#[test]
fn a_damaged_line_is_named() {
    let mut log = write(&header(), &small());
    let third = log.windows(8).position(|w| w == b"\"at\":2,\"").unwrap();
    log[third] = b'#';
    let error = read_log(&log[..]).unwrap_err();
    assert!(matches!(error, LogError::Damaged { line: 3, .. }), "{error}");
}

/// The error for a log of the header and one more line.
fn error_of(line: &str) -> String {
    let mut log = write(&header(), &[]);
    log.extend(line.as_bytes());
    log.push(b'\n');
    read_log(&log[..]).unwrap_err().to_string()
}

#[test]
fn lines_that_do_not_fit_the_header_are_damaged() {
    let cases = [
        (r#"{"at":1,"event":"started","job":3,"attempt":0}"#, "j3 is not among the 3"),
        (r#"{"at":1,"event":"host-lost","host":2,"cause":""}"#, "h2 is not among the 2"),
        (r#"{"at":1,"event":"slot-up","host":0,"slot":2}"#, "s2 on h0, which has 2 slots"),
        (r#"{"at":1,"event":"host-holds","host":0,"paths":[4]}"#, "p4 is not among the 4"),
        (r#"{"at":1,"event":"host-cores","host":2,"cores":8}"#, "h2 is not among the 2"),
        (r#"{"at":1,"event":"host-cores","host":0,"cores":0}"#, "h0 has 0 cores"),
        (r#"{"at":1,"event":"nonsense"}"#, "unknown variant"),
        (r#"{"at":1,"event":"fleet-ready","order":"probe","host":0}"#, "both"),
        (r#"{"at":1}"#, "neither"),
        (r#"{"event":"fleet-ready"}"#, "missing field `at`"),
    ];
    for (line, expected) in cases {
        let error = error_of(line);
        assert!(error.starts_with("line 2 of the run log is damaged: "), "{error}");
        assert!(error.contains(expected), "{line}: {error}");
    }
}

#[test]
fn headers_that_do_not_fit_together_are_damaged() {
    let broken = |change: fn(&mut Header)| {
        let mut header = header();
        change(&mut header);
        read_log(&write(&header, &[])[..]).unwrap_err().to_string()
    };
    let of = |why: &str| format!("line 1 of the run log is damaged: {why}");
    assert_eq!(broken(|h| h.hosts = Table::new()), of("it has no hosts"));
    assert_eq!(broken(|h| h.hosts[HostId(1)].speed = 0.0), of("host h1 (host1) has the speed 0"));
    assert_eq!(broken(|h| h.estimates = Table::new()), of("it has 0 estimates for 3 jobs"));
    assert_eq!(broken(|h| h.parallel = Some(Table::new())), of("it has parallel parts for 0 of 3 jobs"));
    assert_eq!(
        broken(|h| h.parallel = Some(Table::filled(3, 1.5))),
        of("job j0 has the parallel part 1.5, which is not between 0 and 1")
    );
    assert_eq!(
        broken(|h| h.workload.jobs[JobId(0)].needs = vec![JobId(2)]),
        of(
            "jobs need each other in a circle, /nix/store/00000000000000000000000000000000-job0.drv among them"
        )
    );
    assert_eq!(
        broken(|h| h.workload.jobs[JobId(1)].inputs = vec![PathId(1), PathId(1)]),
        of(
            "the inputs of /nix/store/00000000000000000000000000000001-job1.drv: p1 is out of order or there twice"
        )
    );
    assert_eq!(
        broken(|h| h.workload.jobs[JobId(1)].outputs = vec![PathId(2)]),
        of(
            "/nix/store/00000000000000000000000000000002-path2: /nix/store/00000000000000000000000000000001-job1.drv makes it, but its origin is another"
        )
    );
    assert_eq!(
        broken(|h| h.workload.paths[PathId(0)].refs = vec![PathId(9)]),
        of(
            "the references of /nix/store/00000000000000000000000000000000-path0: p9 does not exist, there are only 4"
        )
    );
    assert_eq!(
        broken(|h| h.workload.wanted = vec![PathId(9)]),
        of("the list of wanted paths: p9 does not exist, there are only 4")
    );
}

#[test]
fn other_files_and_newer_formats_say_so() {
    let newer = br#"{"format":2,"something":"else"}
"#;
    assert!(matches!(read_log(&newer[..]), Err(LogError::Newer { found: 2 })));
    assert!(matches!(read_log(&b"#!/bin/sh\n"[..]), Err(LogError::NotALog)));
    assert!(matches!(read_log(&b""[..]), Err(LogError::NoHeader)));
}

#[test]
fn a_line_without_end_is_not_read_into_memory() {
    let mut log = write(&header(), &[]);
    let limit = log.len();
    assert!(read_with_limit(&log[..], limit).is_ok());
    log.resize(log.len() + limit * 2, b' ');
    let error = read_with_limit(&log[..], limit).unwrap_err();
    assert!(matches!(error, LogError::TooLong { line: 2, .. }), "{error}");
}

#[test]
fn the_header_can_be_read_alone() {
    let log = write(&header(), &small());
    assert_eq!(read_header(&log[..]).unwrap(), header());
}

#[test]
fn the_first_versions_sum_of_processor_times_is_kept() {
    let mut log = write(&header(), &[]);
    let times = r#"{"wall":9,"cpu":7,"start":1,"stop":2}"#;
    log.extend(
        format!(
            r#"{{"at":3,"event":"finished","job":0,"attempt":0,"outcome":{{"outcome":"built","made":[],"times":{times}}}}}"#
        )
        .into_bytes(),
    );
    log.push(b'\n');
    let (_, entries, _) = read_log(&log[..]).unwrap();
    let Step::Event(Event::Finished { outcome: crate::run::Outcome::Built { times, .. }, .. }) =
        &entries[0].what
    else {
        panic!("another event: {entries:?}");
    };
    assert_eq!((times.cpu(), times.cpu_system), (Some(crate::base::Span(7)), None));
}

#[test]
fn logs_of_older_versions_have_parallel_parts_by_kind() {
    let mut old = Header { parallel: None, ..header() };
    old.workload.jobs.iter_mut().for_each(|(_, job)| job.parallel = true);
    let (read, ..) = read_log(&write(&old, &[])[..]).unwrap();
    assert_eq!(read.parallel(), crate::cost::parallel_parts(&old.workload));
    assert_eq!(header().parallel().rows(), [0.7; 3]);
}

#[test]
fn fractions_are_read_as_they_were_written() {
    let mut odd = header();
    for (n, part) in [0.1 + 0.2, 1.0 / 3.0, 0.700_000_000_000_000_1].into_iter().enumerate() {
        odd.parallel.as_mut().unwrap()[JobId(n as u32)] = part;
        odd.hosts[HostId(0)].speed = part;
        assert_eq!(read_header(&write(&odd, &[])[..]).unwrap(), odd);
    }
}
