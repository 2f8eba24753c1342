use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// Parses with files from a table; a file with the text `DENIED` cannot be read.
fn parse(builders: &str, files: &[(&str, &str)]) -> Result<Machines, MachinesError> {
    let files: BTreeMap<_, _> = files.iter().map(|(name, text)| (PathBuf::from(name), *text)).collect();
    parse_machines(builders, "x86_64-linux", &mut |path| match files.get(path) {
        Some(&"DENIED") => Err(io::ErrorKind::PermissionDenied.into()),
        Some(text) => Ok((*text).to_owned()),
        None => Err(io::ErrorKind::NotFound.into()),
    })
}

fn names(builders: &str, files: &[(&str, &str)]) -> Vec<String> {
    parse(builders, files).unwrap().list.iter().map(|m| format!("{}={}", m.origin, m.uri)).collect()
}

fn one(line: &str) -> Machine {
    let mut list = parse(line, &[]).unwrap().list;
    assert_eq!(list.len(), 1, "{line}");
    list.remove(0)
}

fn error(builders: &str, files: &[(&str, &str)]) -> String {
    parse(builders, files).unwrap_err().to_string()
}

#[test]
fn reads_every_field() {
    let key = "c3NoLWVkMjU1MTkgQUFBQUMzIHJvb3RAYgo=";
    let line =
        format!("ssh-ng://nix@b:22\tx86_64-linux,i686-linux,, /k 8 2.5 kvm,big-parallel benchmark {key} x");
    let m = one(&line);
    assert_eq!(m.uri.to_string(), "ssh-ng://nix@b:22");
    assert_eq!(m.systems, ["x86_64-linux", "i686-linux"]);
    assert_eq!(m.key, Some(PathBuf::from("/k")));
    assert_eq!((m.max_jobs, m.speed), (8, 2.5));
    assert_eq!(
        (m.features, m.mandatory),
        (vec!["kvm".into(), "big-parallel".into()], vec!["benchmark".into()])
    );
    assert_eq!(m.host_key.as_deref(), Some("ssh-ed25519 AAAAC3 root@b"));
}

#[test]
fn dashes_and_missing_fields_are_defaults() {
    for line in ["b", "b - - - - - - -"] {
        let m = one(line);
        assert_eq!(m.systems, ["x86_64-linux"]);
        assert_eq!((m.key, m.max_jobs, m.speed, m.host_key), (None, 1, 1.0, None));
        assert!(m.features.is_empty() && m.mandatory.is_empty());
    }
}

#[test]
fn fields_win_over_parameters() {
    let m = one("ssh://b?ssh-key=/p&base64-ssh-public-host-key=YSBi&remote-program=x - /f");
    assert_eq!((m.key, m.host_key.as_deref()), (Some("/f".into()), Some("a b")));
    assert_eq!(m.uri.params["remote-program"], "x");
    assert_eq!(one("ssh://b?ssh-key=/p").key, Some("/p".into()));
}

#[test]
fn zero_speed_is_one_and_zero_jobs_stay() {
    assert_eq!(one("b - - 0 0").speed, 1.0);
    assert_eq!(one("b - - 0 0").max_jobs, 0);
    assert_eq!(one("b - - 1 0.25").speed, 0.25);
}

#[test]
fn splits_lines_then_comments_then_semicolons() {
    assert_eq!(
        names("a; b # c; d\n\n ; # e\nf", &[]),
        ["`builders`, line 1=ssh://a", "`builders`, line 1=ssh://b", "`builders`, line 4=ssh://f"]
    );
}

#[test]
fn files_nest_and_missing_ones_are_passed_over() {
    let files = [("/m", "# all\n@/n\nc"), ("/n", "b\n@/gone")];
    assert_eq!(
        names("a; @ /m ; d", &files),
        ["`builders`, line 1=ssh://a", "/n:1=ssh://b", "/m:3=ssh://c", "`builders`, line 1=ssh://d"]
    );
    assert_eq!(parse("@/m", &files).unwrap().missing, [PathBuf::from("/gone")]);
    // The same file twice, one after the other, is no cycle.
    assert_eq!(names("@/n;@/n", &files).len(), 2);
}

#[test]
fn says_where_a_file_goes_wrong() {
    insta::assert_snapshot!(error("@/m", &[("/m", "a\n@/n"), ("/n", "@/m")]), @"/n:1: '@/m' includes itself; take one of the '@' lines out");
    insta::assert_snapshot!(error("@/m", &[("/m", "DENIED")]), @"`builders`, line 1: cannot read the machines file '/m': permission denied");
    let files: Vec<(String, String)> =
        (0..40).map(|i| (format!("/{i}"), format!("@/{0}\n@/{0}", i + 1))).collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    insta::assert_snapshot!(error("@/0", &files), @"/15:1: '@/16' is one file too many; put the machines into fewer files");
    let wide: Vec<(String, String)> =
        (0..10).map(|i| (format!("/{i}"), format!("@/{0}\n@/{0}", i + 1))).collect();
    let wide: Vec<(&str, &str)> = wide.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    assert!(error("@/0", &wide).contains("one file too many"));
}

#[test]
fn says_which_field_is_wrong() {
    let files = |text: &'static str| error("@/m", &[("/m", text)]);
    insta::assert_snapshot!(files("\n- x"), @"/m:2: store URI (field 1): it is missing");
    insta::assert_snapshot!(files("b - - -1"), @"/m:1: maximum jobs (field 4): '-1' is no number of jobs (a whole number from 0 to 4096)");
    insta::assert_snapshot!(files("b - - 1 -2"), @"/m:1: speed factor (field 5): '-2' is no speed (a number from 0.000001 to 1000000)");
    insta::assert_snapshot!(files("b - - 1 fast"), @"/m:1: speed factor (field 5): 'fast' is no speed (a number from 0.000001 to 1000000)");
    insta::assert_snapshot!(files("b - - 1 1 - - ???"), @"/m:1: public host key (field 8): it is not base64 (Invalid symbol 63, offset 0.); write `base64 -w0` of the host's ssh_host_…_key.pub");
    insta::assert_snapshot!(files("b - - 1 1 - - eA=="), @"/m:1: public host key (field 8): it is not one line 'ALGORITHM KEY', as in ssh_host_ed25519_key.pub");
    insta::assert_snapshot!(files("ssh://a:b:c"), @"/m:1: store URI (field 1): 'a:b:c' is neither host:port nor an IPv6 address");
    for speed in ["nan", "inf", "-inf"] {
        assert!(parse(&format!("b - - 1 {speed}"), &[]).is_err(), "{speed}");
    }
}

#[test]
fn unusable_machines_are_left_out_with_a_warning() {
    let m = parse("local; unix:///x; s3://bucket; b", &[]).unwrap();
    assert_eq!(m.list.len(), 1);
    insta::assert_snapshot!(m.warnings.join("\n"), @r"
    `builders`, line 1: the machine 'local://local' is left out: it names a store of this machine, which takes part anyway as the host 'local'
    `builders`, line 1: the machine 'unix:///x' is left out: it names a store of this machine, which takes part anyway as the host 'local'
    `builders`, line 1: the machine 's3://bucket' is left out: builders are reached over ssh:// and ssh-ng:// only, not s3://
    ");
}

const TOML: &str = r#"
version = 1
[machines.zed]
uri = "ssh-ng://nix@zed"
jobs = 4
speed-factor = 2
supported-features = ["kvm"]
ssh-public-host-key = "ssh-ed25519 AAAA"

[machines.alpha]
uri = "alpha"
system-types = ["aarch64-linux"]
mandatory-features = ["benchmark"]
ssh-key = "/k"

[machines.off]
uri = "off"
enable = false
"#;

#[test]
fn reads_the_toml_form() {
    let list = parse("@/m.toml", &[("/m.toml", TOML)]).unwrap().list;
    assert_eq!(list.len(), 2);
    let [zed, alpha] = &list[..] else { unreachable!() };
    assert_eq!((zed.alias.as_deref(), zed.max_jobs, zed.speed), (Some("zed"), 4, 2.0));
    assert_eq!(
        (zed.uri.to_string(), zed.origin.to_string()),
        ("ssh-ng://nix@zed".into(), "/m.toml:3".into())
    );
    assert_eq!((zed.host_key.as_deref(), &zed.systems[0][..]), (Some("ssh-ed25519 AAAA"), "x86_64-linux"));
    assert_eq!((&alpha.systems[0][..], &alpha.mandatory[0][..]), ("aarch64-linux", "benchmark"));
}

#[test]
fn says_what_is_wrong_with_toml() {
    let toml = |text: &'static str| error("@/m.toml", &[("/m.toml", text)]);
    insta::assert_snapshot!(toml("version = 2\n[machines]"), @"/m.toml:1: version 2 of the machines file is unknown; only version 1 is");
    assert!(toml("[machines.a]\nuri='a'\nfoo=1").contains("unknown field `foo`"));
    assert!(toml("[machines.a]\njobs=1").contains("missing field `uri`"));
    insta::assert_snapshot!(toml("[machines.a]\nuri='a'\nspeed-factor=-1"), @"/m.toml:1: speed-factor: machine 'a': '-1' is no speed (a number from 0.000001 to 1000000)");
    assert!(toml("b x86_64-linux").starts_with("/m.toml:1: "));
    assert!(error("[machines.a", &[]).starts_with("`builders`, line 1: "));
}

proptest! {
    #[test]
    fn never_panics(text in "([ -~\n]|\\PC){0,120}", inner in "([a-z@;#\\-=\\[\\] \n0-9.:/?]){0,80}") {
        let result = parse(&format!("{text}\n@/m"), &[("/m", &inner)]);
        for m in result.map(|m| m.list).unwrap_or_default() {
            prop_assert!(m.speed.is_finite() && m.speed > 0.0);
            prop_assert!(!m.uri.host.is_empty());
        }
    }
}
