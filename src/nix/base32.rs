//! Nix's base 32: its own alphabet, and the bits in an order of its own.

const DIGITS: &[u8; 32] = b"0123456789abcdfghijklmnpqrsvwxyz";

/// Whether this is one of the 32 digits: no `e`, `o`, `t`, `u`.
pub(super) fn is_digit(c: u8) -> bool {
    c.is_ascii_digit() || (c.is_ascii_lowercase() && !matches!(c, b'e' | b'o' | b't' | b'u'))
}

/// The bytes as base 32, the most significant digit first: the bytes are one little-endian number.
pub(super) fn encode(bytes: &[u8]) -> String {
    let digits = (bytes.len() * 8).div_ceil(5);
    let digit = |place: usize| {
        let (byte, shift) = (place * 5 / 8, place * 5 % 8);
        let low = u16::from(bytes[byte]);
        let high = u16::from(bytes.get(byte + 1).copied().unwrap_or(0));
        let value = ((high << 8 | low) >> shift) & 31;
        char::from(DIGITS[usize::from(value)])
    };
    (0..digits).rev().map(digit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodes_as_nix_does() {
        // `nix-hash --type sha256 --to-base32` of the hash of nothing.
        let empty = [
            0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24,
            0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
        ];
        assert_eq!(encode(&empty), "0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73");
        assert_eq!(encode(&[]), "");
    }

    #[test]
    fn knows_its_digits() {
        let known: Vec<u8> = (0..=255).filter(|c| is_digit(*c)).collect();
        assert_eq!(known, DIGITS);
    }
}
