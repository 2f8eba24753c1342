//! What is expected of a package before it has been built, and how much is known of one.

use serde::{Deserialize, Serialize};

use super::estimate::Z90;
use super::params::CostParams;
use super::prior::OutputClass;
use super::ratio::SPREAD_OF_BUILDS;
use super::shipped::Table;
use super::spread::Assumed;

/// Where the usual build of a kind is in sources: of the 1,250 packages in the shipped table whose
/// archive's size is known, those of 1 MiB take 24 s and those of 1.5 MiB 30 s.
const USUAL_SOURCE: f64 = 1.5 * 1_048_576.0;
/// Downloads, in bytes per second, and what each takes however small it is; assumed.
const DOWNLOAD: f64 = 8e6;
const DOWNLOAD_START: f64 = 1.0;
/// Bytes of a source are taken to be within this range.
const SOURCES: (f64, f64) = (1024.0, 16e9);
/// How far the shipped table is off for a package, in units of the logarithm (99 packages of one host).
const SPREAD_OF_TABLE: f64 = 0.63;

/// How much was known of a package when it was estimated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Known {
    /// Nothing but its kind and its name.
    Kind,
    /// The size of its source too.
    Size,
    /// What the shipped table says of it.
    Table,
    /// It was built once, for another system or in another generation.
    Once,
    /// It was built twice.
    Twice,
    /// It was built more often.
    Often,
}

impl Known {
    /// All of them, ascending.
    pub const ALL: [Known; 6] =
        [Known::Kind, Known::Size, Known::Table, Known::Once, Known::Twice, Known::Often];

    /// How far such estimates are off, as long as no builds have shown it.
    pub(super) fn assumed(self, class: OutputClass) -> Assumed {
        let even = |spread: f64| Assumed { below: Z90 * spread, above: Z90 * spread };
        match self {
            Known::Kind | Known::Size => {
                let prior = class.prior();
                let [p10, median, p90] =
                    [prior.p10, prior.median, prior.p90].map(|span| span.as_secs_f64().ln());
                Assumed { below: median - p10, above: p90 - median }
            }
            Known::Table => even(SPREAD_OF_TABLE),
            // That of one build, and that of the mean of those before.
            Known::Once => even(SPREAD_OF_BUILDS * 2f64.sqrt()),
            Known::Twice => even(SPREAD_OF_BUILDS * 1.5f64.sqrt()),
            Known::Often => even(SPREAD_OF_BUILDS * 1.25f64.sqrt()),
        }
    }
}

/// What is expected.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Expectation {
    /// The logarithm of seconds on one core of speed 1.
    pub log: f64,
    /// How far the table puts it from the usual of its kind, as a logarithm; 0 if it is not in there.
    pub tilt: f64,
    pub known: Known,
}

/// What is expected of a package by its name, its kind and the size of its source: as the table says, else
/// by size to the power that parameters have, else as the kind usually takes.
pub(super) fn expect(
    table: &Table,
    params: &CostParams,
    pname: &str,
    class: OutputClass,
    source_size: Option<u64>,
) -> Expectation {
    let usual = class.prior().median.as_secs_f64().ln();
    if let Some(shipped) = table.package(pname, class) {
        let tilt = shipped.seconds.ln() - usual;
        return Expectation { log: usual + params.table_trust * tilt, tilt, known: Known::Table };
    }
    let size = match class {
        OutputClass::Archive => source_size.or_else(|| table.archive_size(pname)),
        OutputClass::Source | OutputClass::Module => source_size,
        // Marked so because it takes long whatever its size.
        _ => None,
    };
    let Some(size) = size.filter(|size| *size > 0) else {
        return Expectation { log: usual, tilt: 0.0, known: Known::Kind };
    };
    let size = (size as f64).clamp(SOURCES.0, SOURCES.1);
    let log = match class {
        OutputClass::Archive => (DOWNLOAD_START + size / DOWNLOAD).ln(),
        _ => usual + params.size_exponent * (size / usual_source(class)).ln(),
    };
    Expectation { log, tilt: 0.0, known: Known::Size }
}

/// The source of which a build of this kind takes as long as is usual.
fn usual_source(class: OutputClass) -> f64 {
    let times = class.prior().median.as_secs_f64() / OutputClass::Source.prior().median.as_secs_f64();
    USUAL_SOURCE * times.powf(1.0 / 0.55)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pname: &str, class: OutputClass, size: Option<u64>) -> Expectation {
        expect(&Table::new(), &CostParams::default(), pname, class, size)
    }

    #[test]
    fn the_table_comes_before_the_size_and_the_size_before_the_kind() {
        let usual = OutputClass::Source.prior().median.as_secs_f64().ln();
        assert_eq!(of("gcc", OutputClass::Source, Some(1)).known, Known::Table);
        assert_eq!(of("unheard-of", OutputClass::Source, Some(1)).known, Known::Size);
        let kind = of("unheard-of", OutputClass::Source, None);
        assert_eq!((kind.known, kind.log), (Known::Kind, usual));
        assert_eq!(of("unheard-of", OutputClass::Source, Some(0)).known, Known::Kind, "not known");
        assert_eq!(of("unheard-of", OutputClass::Text, Some(1)).known, Known::Kind, "not compiled");
    }

    #[test]
    fn time_grows_with_the_size_of_the_source() {
        let log = |mib: u64| of("unheard-of", OutputClass::Source, Some(mib << 20)).log;
        assert!((log(100) - log(10) - 0.55 * 10f64.ln()).abs() < 1e-9);
        assert!((log(1).exp() - 24.0).abs() < 1.0);
        assert_eq!(of("unheard-of", OutputClass::BigParallel, Some(1 << 20)).known, Known::Kind);
        assert!(of("firefox", OutputClass::Archive, None).log > 10f64.ln(), "a large download");
    }

    #[test]
    fn more_known_is_less_spread_and_every_spread_has_two_sides() {
        for class in OutputClass::ALL {
            for known in Known::ALL {
                let assumed = known.assumed(class);
                assert!(assumed.below > 0.0 && assumed.above > 0.0, "{class:?} {known:?}");
            }
        }
        let width = |known: Known| known.assumed(OutputClass::Source).above;
        assert!(Known::ALL[1..].windows(2).all(|pair| width(pair[0]) > width(pair[1])));
    }
}
