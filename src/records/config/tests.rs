use super::*;
use crate::base::Span;

fn in_dir() -> (tempfile::TempDir, ConfigFile) {
    let dir = tempfile::tempdir().unwrap();
    let file = ConfigFile::at(dir.path().join("drvdispatch/config.toml"));
    (dir, file)
}

fn with(text: &str) -> (tempfile::TempDir, ConfigFile) {
    let (dir, file) = in_dir();
    fs::create_dir_all(file.path().parent().unwrap()).unwrap();
    fs::write(file.path(), text).unwrap();
    (dir, file)
}

fn said(text: &str) -> String {
    let (dir, file) = with(text);
    let message = file.read().unwrap_err().to_string();
    message.replace(&dir.path().display().to_string(), "")
}

#[test]
fn without_a_file_all_is_as_by_default() {
    let (_dir, file) = in_dir();
    assert_eq!(file.read().unwrap(), Config::default());
    assert_eq!(with("# nothing\n").1.read().unwrap(), Config::default());
    assert_eq!(Config::default().policy, Policy::named("full").unwrap());
}

#[test]
fn parameters_are_read_in_every_form_of_toml() {
    let text = "policy.prefetch = 3\npolicy.cluster = 1\n[cost]\ndecay = 0.5\n";
    let (_dir, file) = with(text);
    let config = file.read().unwrap();
    let policy = Policy { prefetch: 3, cluster: Span::from_secs(1), ..Policy::default() };
    assert_eq!(config, Config { policy, cost: CostParams { decay: 0.5, ..CostParams::default() } });
    let (_dir, file) = with("policy = { steal_margin = false, transfer_term = false, idle_margin = 0.25 }");
    let policy =
        Policy { steal_margin: None, transfer_term: false, idle_margin: Some(0.25), ..Policy::default() };
    assert_eq!(file.read().unwrap().policy, policy);
}

#[test]
fn what_cannot_be_is_named_with_its_line() {
    let wrong = [
        "# one\n[policy]\nprefech = 3\n",
        "[policy]\nspeed = 3\n",
        "\n[polcy]\n",
        "cost = 3\n",
        "[policy]\n\nprefetch = 1.5\n",
        "[policy]\nsteal_margin = true\n",
        "[policy]\nrank_tolerance = nan\n",
        "[policy]\nwindow = \"64\"\n",
        "[cost]\ndecay = 2\n",
        "[cost]\ndecay = 0.1\ndecay = 0.2\n",
        "[cost\n",
    ];
    let said: Vec<String> = wrong.iter().map(|text| said(text)).collect();
    insta::assert_snapshot!(said.join("\n"), @r#"
    /drvdispatch/config.toml:3: there is no parameter 'prefech' in [policy]; is 'prefetch' meant?
    /drvdispatch/config.toml:2: there is no parameter 'speed' in [policy]; there are rank_tolerance, idle_margin, steal_margin, copy_margin, look_ahead, plenty, jobs_per_core, prefetch, cluster, window, transfer_term, stay_with_consumer, learn_speeds, learn_costs, transfer_overhead, attempts, first_retry, last_retry, host_tries
    /drvdispatch/config.toml:2: there is no table 'polcy' here; there are [policy] and [cost]
    /drvdispatch/config.toml:1: 'cost' has to be a table: write [cost]
    /drvdispatch/config.toml:3: policy.prefetch is 1.5; it has to be a whole number from 0 to 100
    /drvdispatch/config.toml:2: policy.steal_margin is true; it has to be a number from 1 to 100, or false
    /drvdispatch/config.toml:2: policy.rank_tolerance is nan; it has to be a number from 0 to 1
    /drvdispatch/config.toml:2: policy.window is "64"; it has to be a whole number from 1 to 100000
    /drvdispatch/config.toml:2: cost.decay is 2; it has to be a number from 0.001 to 1
    /drvdispatch/config.toml:3: duplicate key
    /drvdispatch/config.toml:1: unclosed table, expected `]`
    "#);
}

#[test]
fn what_is_written_is_read_again_and_the_rest_stays() {
    let text = "# mine\n[cost] # learning\ndecay = 0.3   # as measured\n\n# more\n[policy]\nprefetch = 2\n";
    let (_dir, file) = with(text);
    let changes = [
        Change::Cost("decay", Value::Number(0.45)),
        Change::Policy("window", Value::Number(32.0)),
        Change::Policy("steal_margin", Value::OFF),
        Change::Policy("cluster", Value::Number(2.0)),
    ];
    file.write(&changes).unwrap();
    insta::assert_snapshot!(fs::read_to_string(file.path()).unwrap(), @r"
    # mine
    [cost] # learning
    decay = 0.45   # as measured

    # more
    [policy]
    prefetch = 2
    window = 32
    steal_margin = false
    cluster = 2
    ");
    let policy = Policy {
        prefetch: 2,
        window: 32,
        steal_margin: None,
        cluster: Span::from_secs(2),
        ..Policy::default()
    };
    assert_eq!(
        file.read().unwrap(),
        Config { policy, cost: CostParams { decay: 0.45, ..CostParams::default() } }
    );
}

#[test]
fn a_file_that_is_not_there_is_made_and_one_that_is_a_link_stays_one() {
    let (dir, file) = in_dir();
    let change = [Change::Policy("prefetch", Value::Number(4.0))];
    file.write(&change).unwrap();
    assert_eq!(fs::read_to_string(file.path()).unwrap(), "[policy]\nprefetch = 4\n");
    let link = ConfigFile::at(dir.path().join("link.toml"));
    std::os::unix::fs::symlink(file.path(), link.path()).unwrap();
    link.write(&[Change::Policy("prefetch", Value::Number(2.0))]).unwrap();
    assert!(fs::symlink_metadata(link.path()).unwrap().is_symlink());
    assert_eq!(fs::read_to_string(file.path()).unwrap(), "[policy]\nprefetch = 2\n");
}

#[test]
fn a_wrong_file_is_not_written_to() {
    let text = "[policy]\nprefech = 3\n";
    let (_dir, file) = with(text);
    let change = [Change::Policy("prefetch", Value::Number(4.0))];
    assert!(matches!(file.write(&change), Err(ConfigError::Wrong { line: 2, .. })));
    assert_eq!(fs::read_to_string(file.path()).unwrap(), text);
}

#[test]
fn where_nothing_can_be_written_the_lines_are_said() {
    let dir = tempfile::tempdir().unwrap();
    let file = ConfigFile::at(dir.path().join("config.toml"));
    std::os::unix::fs::symlink("nowhere/config.toml", file.path()).unwrap();
    let changes = [Change::Policy("prefetch", Value::Number(4.0)), Change::Cost("k0", Value::Number(0.2))];
    let said = file.write(&changes).unwrap_err().to_string();
    assert!(said.ends_with("put there:\n[policy]\nprefetch = 4\n\n[cost]\nk0 = 0.2"), "{said}");
    assert!(file.path().is_symlink());
}
