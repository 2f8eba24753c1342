use super::*;
use crate::base::{Random, Span};
use crate::cost::CostParams;

const SIGMA: f64 = 0.36;

/// Builds of fifty packages, over and over, each by a lognormal factor off what is usual for it.
fn history(builds: u64, worse: u64) -> Vec<Sample> {
    let mut random = Random::new(5);
    let sample = |n: u64| {
        let package = n % 50;
        let usual = 20.0 * Random::keyed(9, package).lognormal(1.0);
        let sigma = if package == worse { 4.0 * SIGMA } else { SIGMA };
        Sample {
            pname: format!("package{package}"),
            version: "1.0".to_owned(),
            class: OutputClass::Source,
            system: "x86_64-linux".to_owned(),
            host: if n % 7 < 3 { "here" } else { "there" }.to_owned(),
            cores: 1,
            wall: Span::from_secs_f64(usual * random.lognormal(sigma)),
            cpu: None,
            input_size: 0,
            output_size: 0,
            stopped: 1_700_000_000 + 600 * n,
        }
    };
    (0..builds).map(sample).collect()
}

fn of(samples: &[Sample]) -> Accuracy {
    Accuracy::new(samples, Memory::new(CostParams::default()), 10)
}

#[test]
fn known_noise_is_found_again() {
    let accuracy = of(&history(3_000, 99));
    // An average over the past with weight 0.3 on the newest has noise of its own: σ² × 0.3 / (2 - 0.3).
    let expected = SIGMA * (1.0_f64 + 0.3 / 1.7).sqrt();
    let Score { builds, log_rmse, bias, within80, within90 } = accuracy.repeats;
    assert_eq!((builds, accuracy.first_seen.builds, accuracy.all.builds), (2_950, 50, 3_000));
    assert!((log_rmse - expected).abs() < 0.03, "{log_rmse} for {expected}");
    assert!(bias.abs() < 0.03, "{bias}");
    assert!((within80 - 0.8).abs() < 0.03, "{within80}");
    assert!((within90 - 0.9).abs() < 0.03, "{within90}");
    assert!(accuracy.first_seen.log_rmse > 0.8, "{:?}", accuracy.first_seen);
}

#[test]
fn each_host_and_kind_has_its_line_and_the_worst_package_its_name() {
    let mut samples = history(2_000, 17);
    samples[17].class = OutputClass::Join;
    // Wrong by far, but nobody waits for it.
    samples.push(Sample { pname: "quick".to_owned(), wall: Span(50), ..samples[1].clone() });
    let accuracy = of(&samples);
    let hosts: Vec<&str> = accuracy.hosts.iter().map(|(host, ..)| host.as_str()).collect();
    assert_eq!(hosts, ["here", "there"]);
    assert_eq!(accuracy.hosts.iter().map(|(.., score)| score.builds).sum::<usize>(), 2_001);
    let classes: Vec<(OutputClass, usize)> = accuracy.classes.iter().map(|(c, s)| (*c, s.builds)).collect();
    assert_eq!(classes, [(OutputClass::Join, 1), (OutputClass::Source, 2_000)]);
    assert_eq!(accuracy.worst.len(), 10);
    assert!(accuracy.worst.iter().any(|p| (p.pname.as_str(), p.score.builds) == ("package17", 39)));
    assert!(accuracy.worst.is_sorted_by(|a, b| a.score.log_rmse >= b.score.log_rmse));
    assert!(accuracy.worst.iter().all(|package| package.pname != "quick"));
}

#[test]
fn only_what_was_before_is_used() {
    let mut samples = history(500, 99);
    for (n, sample) in samples.iter_mut().enumerate() {
        sample.host = if n < 250 { "early" } else { "late" }.to_owned();
    }
    let mut other = samples.clone();
    other[250..].iter_mut().for_each(|sample| sample.wall = Span::from_secs(1));
    let score = |samples: &[Sample], host: &str| {
        of(samples).hosts.into_iter().find(|(name, ..)| name == host).map(|(.., score)| score).unwrap()
    };
    assert_eq!(score(&samples, "early"), score(&other, "early"));
    assert_ne!(score(&samples, "late"), score(&other, "late"));
    assert_eq!(of(&[]), Accuracy::default());
}
