//! Errors of predictions, in units of the natural logarithm.

/// What predictions of one estimator were off by.
#[derive(Clone, Debug, Default)]
pub struct Score {
    /// The logarithm of predicted over actual.
    errors: Vec<f64>,
    in_80: usize,
    in_90: usize,
    intervals: usize,
}

impl Score {
    pub fn add(&mut self, predicted: f64, actual: f64) {
        self.errors.push((predicted / actual).ln());
    }

    /// Whether an 80 % and a 90 % interval held what happened.
    pub fn covered(&mut self, in_80: bool, in_90: bool) {
        self.in_80 += usize::from(in_80);
        self.in_90 += usize::from(in_90);
        self.intervals += 1;
    }

    pub fn count(&self) -> usize {
        self.errors.len()
    }

    /// The root of the mean square.
    pub fn rmse(&self) -> f64 {
        (self.errors.iter().map(|error| error * error).sum::<f64>() / self.errors.len() as f64).sqrt()
    }

    /// The mean: above 0 where predictions are too long.
    pub fn bias(&self) -> f64 {
        self.errors.iter().sum::<f64>() / self.errors.len() as f64
    }

    /// The parts of builds within the 80 % and the 90 % interval.
    pub fn coverage(&self) -> Option<(f64, f64)> {
        let part = |within: usize| within as f64 / self.intervals as f64;
        (self.intervals > 0).then(|| (part(self.in_80), part(self.in_90)))
    }

    pub fn print(&self, name: &str) {
        if self.errors.is_empty() {
            return;
        }
        let (in_80, in_90) = match self.coverage() {
            Some((in_80, in_90)) => (format!("{:.1}", 100.0 * in_80), format!("{:.1}", 100.0 * in_90)),
            None => ("-".to_owned(), "-".to_owned()),
        };
        println!(
            "  {name:<42} {:>6} {:>8.3} {:>+8.3} {in_80:>7} {in_90:>7}",
            self.count(),
            self.rmse(),
            self.bias()
        );
    }

    pub fn head(title: &str) {
        println!(
            "{title}\n  {:<42} {:>6} {:>8} {:>8} {:>7} {:>7}",
            "", "builds", "log-RMSE", "bias", "in 80 %", "in 90 %"
        );
    }
}
