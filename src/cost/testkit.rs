//! Samples for tests.

use super::prior::OutputClass;
use super::sample::Sample;
use crate::base::Span;

/// A build of `pname` 1.0 on host `a` that took these seconds.
pub fn sample(pname: &str, seconds: f64) -> Sample {
    Sample {
        pname: pname.to_owned(),
        version: "1.0".to_owned(),
        class: OutputClass::Source,
        system: "x86_64-linux".to_owned(),
        host: "a".to_owned(),
        cores: 1,
        wall: Span::from_secs_f64(seconds),
        cpu: None,
        input_size: 0,
        output_size: 0,
        stopped: 0,
    }
}
