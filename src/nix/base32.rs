//! Nix's base 32: its own alphabet.

/// Whether this is one of the 32 digits: no `e`, `o`, `t`, `u`.
pub(super) fn is_digit(c: u8) -> bool {
    c.is_ascii_digit() || (c.is_ascii_lowercase() && !matches!(c, b'e' | b'o' | b't' | b'u'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGITS: &[u8; 32] = b"0123456789abcdfghijklmnpqrsvwxyz";

    #[test]
    fn knows_its_digits() {
        let known: Vec<u8> = (0..=255).filter(|c| is_digit(*c)).collect();
        assert_eq!(known, DIGITS);
    }
}
