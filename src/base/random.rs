//! A small seeded generator: the same seed gives the same numbers, on every machine and for ever.
//!
//! For simulations and samples only; of no use where somebody must not guess the next number. The
//! generator is SplitMix64 (Steele, Lea, Flood 2014): one addition and a mixing function, so that seeds
//! next to each other give unrelated numbers, and drawing by a key needs no state at all.

/// Draws numbers one after the other.
#[derive(Clone, Debug)]
pub struct Random(u64);

/// The golden ratio's fraction: adding it goes through all 64-bit numbers.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Turns a number into one that shows nothing of it.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Random {
    /// A generator for a seed.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// A generator for a number under a seed: what it draws does not depend on what was drawn for others.
    pub fn keyed(seed: u64, key: u64) -> Random {
        Random(mix(mix(seed.wrapping_add(STEP)) ^ key.wrapping_mul(STEP)))
    }

    /// A generator for a text under a seed.
    pub fn named(seed: u64, name: &str) -> Random {
        // FNV-1a, then mixed.
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        });
        Random::keyed(seed, hash)
    }

    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mix(self.0)
    }

    /// A number below `end`; 0 if there is none. The bias is below `end` / 2^64.
    pub fn below(&mut self, end: u64) -> u64 {
        let wide = u128::from(self.next_u64()) * u128::from(end);
        (wide >> 64) as u64
    }

    /// A number of the uniform distribution over [0, 1).
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Yes, with this probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// A number of the standard normal distribution (Box and Muller 1958).
    pub fn normal(&mut self) -> f64 {
        // 1 - u is above 0, so the logarithm is finite.
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }

    /// A number whose logarithm is normal with mean 0 and standard deviation `sigma`; its median is 1.
    pub fn lognormal(&mut self, sigma: f64) -> f64 {
        (self.normal() * sigma).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_the_published_generator() {
        let mut random = Random::new(1_234_567);
        let first: Vec<u64> = (0..3).map(|_| random.next_u64()).collect();
        assert_eq!(first, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn distributions_have_their_moments() {
        const MANY: usize = 20_000;
        let mut random = Random::new(7);
        let normal: Vec<f64> = (0..MANY).map(|_| random.normal()).collect();
        let mean = normal.iter().sum::<f64>() / MANY as f64;
        let variance = normal.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / MANY as f64;
        assert!(mean.abs() < 0.03 && (variance - 1.0).abs() < 0.05, "{mean} {variance}");
        let unit = (0..MANY).map(|_| random.unit()).sum::<f64>() / MANY as f64;
        assert!((unit - 0.5).abs() < 0.02, "{unit}");
        let below: Vec<u64> = (0..MANY).map(|_| random.below(3)).collect();
        assert!((0..3).all(|n| below.iter().filter(|x| **x == n).count() > MANY / 4));
        assert_eq!(random.below(0), 0);
    }

    #[test]
    fn keys_are_independent_and_repeatable() {
        let draw = |seed, key| Random::keyed(seed, key).next_u64();
        assert_eq!(draw(1, 2), draw(1, 2));
        assert!(draw(1, 2) != draw(2, 1) && draw(0, 0) != draw(0, 1) && draw(0, 0) != draw(1, 0));
        assert_ne!(Random::named(1, "a").next_u64(), Random::named(1, "b").next_u64());
    }
}
