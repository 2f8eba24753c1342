use proptest::prelude::*;

use super::*;

fn defaults() -> Defaults {
    Defaults { system: "x86_64-linux".into(), host: "local".into() }
}

fn history() -> (tempfile::TempDir, History) {
    let (temp, path) = place();
    let history = History::open(&path).unwrap();
    (temp, history)
}

fn take(history: &mut History, text: &str) -> Imported {
    import(history, text, &defaults()).unwrap()
}

fn shown(history: &History) -> String {
    let line = |build: Build| {
        let Sample { class, host, wall, cpu, stopped, .. } = &build.sample;
        let cpu = cpu.map_or_else(String::new, |cpu| format!(" ({cpu})"));
        format!("{stopped} {} {host} {wall}{cpu} {} {}\n", build.name(), class_word(*class), build.run)
    };
    all(history).into_iter().map(line).collect()
}

fn bad(imported: &Imported) -> Vec<String> {
    imported.bad.iter().map(|bad| format!("{}: {}", bad.line, bad.why)).collect()
}

const NOM: &str = "hostname,derivation name,utc time,build seconds\r
,hello,2025-11-09 10:00:00,3\r
,hello,2025-11-09 11:00:00,4\r
,broken,yesterday,4\r
ruby,source,2025-11-09 10:00:00,2\r
,short,2025-11-09 10:00:00\r
ruby,,2025-11-09 10:00:00,2\r
ruby,negative,2025-11-09 10:00:00,-2\r
ruby,gcc-wrapper,2025-11-09 12:00:00,\"1\"\r
";

#[test]
fn noms_reports_are_taken_in_but_for_bad_lines() {
    let (_temp, mut history) = history();
    let imported = take(&mut history, NOM);
    assert_eq!((imported.builds, imported.known), (4, 0));
    insta::assert_snapshot!(bad(&imported).join("\n"), @r"
    4: 'yesterday' is no time such as 2026-01-31 12:00:00
    6: it has 3 fields in place of 4
    7: it has no name
    8: '-2' is no whole number of seconds
    ");
    insta::assert_snapshot!(shown(&history), @r"
    1762682400 hello local 3.0s source nom
    1762682400 source ruby 2.0s archive nom
    1762686000 hello local 4.0s source nom
    1762689600 gcc-wrapper ruby 1.0s hook nom
    ");
    let again = take(&mut history, NOM);
    assert_eq!((again.builds, again.known), (0, 4), "nothing is taken in twice");
}

#[test]
fn what_was_passed_on_to_nom_does_not_come_back() {
    let (_temp, mut history) = history();
    let mut own = build("hello", 3, 1_762_682_401);
    own.sample.wall = Span::from_millis(3_700);
    history.add(&[Row::Build(own)]).unwrap();
    let imported = take(&mut history, NOM);
    assert_eq!((imported.builds, imported.known), (3, 1));
}

#[test]
fn neither_does_what_nom_has_another_name_for() {
    let (_temp, mut history) = history();
    let mut own = build("nixos-system-25", 3, 1_762_682_401);
    (own.sample.version, own.sample.host) = (String::new(), "ssh-ng://root@ruby".into());
    history.add(&[Row::Build(own)]).unwrap();
    let header = NOM.lines().next().unwrap();
    let told = |name: &str, host: &str| format!("{header}\r\n{host},{name},2025-11-09 10:00:01,3\r\n");
    let imported = take(&mut history, &told("nixos-system", "ruby"));
    assert_eq!((imported.builds, imported.known), (0, 1), "{imported:?}");
    assert_eq!(take(&mut history, &told("nixos-system", "opal")).builds, 1, "another host");
    assert_eq!(take(&mut history, &told("nixos", "ruby")).builds, 1, "another name");
}

#[test]
fn older_noms_have_mean_times_only() {
    let (_temp, mut history) = history();
    let imported = take(&mut history, ",hello,3\r\nruby,gcc,900\r\nruby,gcc\r\n");
    assert_eq!(
        (imported.builds, bad(&imported).join("; ")),
        (2, "3: it has 2 fields in place of 3".to_owned())
    );
    insta::assert_snapshot!(shown(&history), @r"
    0 hello local 3.0s source nom
    0 gcc ruby 15m00s source nom
    ");
}

#[test]
fn what_nix_build_prints_is_taken_in() {
    let (_temp, mut history) = history();
    let zeros = "0".repeat(32);
    let text = format!(
        r#"[{{"cpuSystem":0.5,"cpuUser":2.0,"drvPath":"/nix/store/{zeros}-hello-2.12.drv","outputs":{{"out":"x"}},"startTime":1700000001,"stopTime":1700000004}},{{"drvPath":"/nix/store/{zeros}-there-1.drv","outputs":{{}}}}]
[
  {{"drvPath":"{zeros}-zlib-1.3.drv","outputs":{{}},"startTime":1700000001,"stopTime":1700000002}},
  {{"drvPath":"/nix/store/{zeros}-odd-1.drv","outputs":{{}},"startTime":2,"stopTime":1}},
  {{"drvPath":7}}
]
[{{"drvPath":
"#
    );
    let imported = take(&mut history, &text);
    assert_eq!((imported.builds, imported.unbuilt), (2, 1));
    insta::assert_snapshot!(bad(&imported).join("\n").replace(&zeros, "0…"), @r"
    4: /nix/store/0…-odd-1.drv ends before it begins
    5: invalid type: integer `7`, expected a string
    8: EOF while parsing a value
    ");
    insta::assert_snapshot!(shown(&history), @r"
    1700000002 zlib-1.3 local 1.0s source nix-build
    1700000004 hello-2.12 local 3.0s (2.5s) source nix-build
    ");
    assert_eq!(take(&mut history, &text).builds, 0);
}

#[test]
fn other_files_are_refused() {
    let (_temp, mut history) = history();
    for text in ["", "\n\n", "hello\n", "a,b,c\n", "a,b,c,d\n1,2,3,4\n", "\0\u{1}"] {
        let error = import(&mut history, text, &defaults()).unwrap_err();
        assert!(matches!(error, ImportError::Unknown), "{text}: {error}");
    }
}

#[test]
fn own_lines_that_are_wrong_are_named() {
    let (_temp, mut history) = history();
    let mut json = Vec::new();
    let good = serde_json::to_string(&row("hello", 1, 1)).unwrap();
    json.extend([good.clone(), "{\"build\":3}".into(), String::new(), good.replace("hello", "a\\u001bb")]);
    json.push(good.replace("source", "unheard-of"));
    json.push(good.replace("1000000", "99999999999999"));
    json.push(good.replace("hello", "zlib"));
    let imported = take(&mut history, &json.join("\n"));
    assert_eq!(imported.builds, 2);
    let lines: Vec<u64> = imported.bad.iter().map(|bad| bad.line).collect();
    assert_eq!(lines, [2, 4, 5, 6]);
    assert_eq!(imported.bad[1].why, r#""a\u{1b}b" has control characters in it"#);
}

fn any_row() -> impl Strategy<Value = Row> {
    let name = "[a-z][a-z0-9,\" é.-]{0,12}";
    let numbers = (0..=8_000_000_000_000u64, 0..i64::MAX as u64, 0..i64::MAX as u64, any::<u32>());
    let build = (name, "[0-9.]{0,5}", name, 0..OutputClass::ALL.len(), numbers, any::<Option<u32>>(), 0..3u8);
    let build =
        build.prop_map(|(pname, version, host, class, (wall, size, stopped, cores), cpu, outcome)| {
            let sample = Sample {
                pname,
                version,
                class: OutputClass::ALL[class],
                system: "x86_64-linux".into(),
                host,
                cores,
                wall: Span(wall),
                cpu: cpu.map(|cpu| Span(cpu.into())),
                input_size: size,
                output_size: size / 2,
                stopped,
            };
            let outcome = [Ended::Built, Ended::Cached, Ended::NotDeterministic][usize::from(outcome)];
            Row::Build(Build { sample, outcome, run: "2026-run".into() })
        });
    let transfer =
        (name, 0..1u64 << 40, 0..1u64 << 40).prop_map(|(host, bytes, at)| transfer(&host, bytes, at));
    prop_oneof![4 => build, 1 => transfer]
}

/// Takes nothing.
struct Gone;

impl std::io::Write for Gone {
    fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
        Err(std::io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_reader_that_has_gone_is_told_as_that() {
    let (_temp, mut history) = history();
    history.add(&(0..900).map(|n| row("hello", n, n)).collect::<Vec<_>>()).unwrap();
    let json = export_json(&history, &Filter::default(), &mut Gone).unwrap().unwrap_err();
    let csv = export_csv(&history, &Filter::default(), &mut Gone).unwrap().unwrap_err();
    assert_eq!([json.kind(), csv.kind()], [std::io::ErrorKind::BrokenPipe; 2]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn what_is_exported_comes_back_as_it_was(rows in proptest::collection::vec(any_row(), 0..20)) {
        let (_temp, mut one) = history();
        one.add(&rows).unwrap();
        let export = |history: &History| {
            let (mut json, mut csv) = (Vec::new(), Vec::new());
            export_json(history, &Filter::default(), &mut json).unwrap().unwrap();
            export_csv(history, &Filter::default(), &mut csv).unwrap().unwrap();
            (String::from_utf8(json).unwrap(), String::from_utf8(csv).unwrap())
        };
        let (json, csv) = export(&one);
        if !json.is_empty() {
            let (_temp, mut other) = history();
            let imported = take(&mut other, &json);
            prop_assert_eq!(imported.bad, vec![]);
            prop_assert_eq!(export(&other), (json, csv.clone()));
        }
        let (_temp, mut other) = history();
        prop_assert_eq!(take(&mut other, &csv).bad, vec![]);
        prop_assert_eq!(all(&other), all(&one));
    }

    #[test]
    fn no_text_does_any_harm(text in any::<String>(), good in 0..3usize, at in any::<prop::sample::Index>()) {
        let (_temp, mut history) = history();
        let _ = import(&mut history, &text, &defaults());
        let mut mixed = [NOM, "[{\"drvPath\":\"x\"}]", ",hello,3\n"][good].to_owned();
        let cut = (0..=at.index(mixed.len())).rev().find(|i| mixed.is_char_boundary(*i)).unwrap();
        mixed.insert_str(cut, &text);
        let _ = import(&mut history, &mixed, &defaults());
    }
}
