//! Numbers as people read them. Times have [`Span`](crate::base::Span)'s `Display`.

/// `512 B`, `1.2 MiB`, `34 GiB`: three digits at most before the unit changes.
pub fn bytes(n: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if n < 1000 {
        return format!("{n} B");
    }
    let mut value = n as f64 / 1024.0;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    // 9.95 would round to 10.0.
    if value < 9.95 { format!("{value:.1} {}", UNITS[unit]) } else { format!("{value:.0} {}", UNITS[unit]) }
}

/// `1 path`, `2 paths`.
pub fn plural(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_few_digits() {
        let cases = [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 KiB"),
            (10 << 10, "10 KiB"),
            (1_023_000, "999 KiB"),
            (1_024_000, "1.0 MiB"),
            (1_300_000, "1.2 MiB"),
            (36 << 30, "36 GiB"),
            (u64::MAX, "16 EiB"),
        ];
        for (n, text) in cases {
            assert_eq!(bytes(n), text, "{n}");
        }
    }

    proptest::proptest! {
        #[test]
        fn bytes_are_never_wide(n: u64) {
            proptest::prop_assert!(bytes(n).len() <= 7, "{}", bytes(n));
        }
    }
}
