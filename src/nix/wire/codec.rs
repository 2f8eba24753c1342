//! Integers, strings and lists as the protocol writes them: little-endian 64-bit words, strings with
//! their length before and zeros up to the next word after. No operations, no meaning.

use std::io::{BufRead, Read};

use super::error::{Fault, malformed};

/// The longest single string accepted, in bytes: log lines and error messages with log tails fit.
pub(super) const MAX_STRING: u64 = 64 << 20;
/// All strings of one message together, in bytes.
pub(super) const MAX_MESSAGE: u64 = 256 << 20;
/// The longest list accepted.
pub(super) const MAX_ITEMS: u64 = 1 << 20;

/// Zeros after a string of this length.
pub(super) fn padding(len: u64) -> usize {
    ((8 - len % 8) % 8) as usize
}

/// Collects one request.
#[derive(Debug, Default)]
pub(super) struct Encoder {
    bytes: Vec<u8>,
}

impl Encoder {
    pub(super) fn u64(&mut self, n: u64) -> &mut Self {
        self.bytes.extend_from_slice(&n.to_le_bytes());
        self
    }

    pub(super) fn bool(&mut self, b: bool) -> &mut Self {
        self.u64(u64::from(b))
    }

    pub(super) fn string(&mut self, s: impl AsRef<[u8]>) -> &mut Self {
        let s = s.as_ref();
        let len = s.len() as u64;
        self.u64(len);
        self.bytes.extend_from_slice(s);
        self.bytes.extend_from_slice(&[0; 8][..padding(len)]);
        self
    }

    pub(super) fn strings(&mut self, list: &[impl AsRef<[u8]>]) -> &mut Self {
        self.u64(list.len() as u64);
        for s in list {
            self.string(s);
        }
        self
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.bytes
    }

    #[cfg(test)]
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Bytes as they are.
    #[cfg(test)]
    pub(super) fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self
    }
}

/// Reads words and strings off a stream, within limits.
#[derive(Debug)]
pub(super) struct Decoder<R> {
    from: R,
    /// Bytes of strings that the message being read may still bring.
    allowance: u64,
}

impl<R> Decoder<R> {
    pub(super) fn new(from: R) -> Self {
        Self { from, allowance: MAX_MESSAGE }
    }

    pub(super) fn get_ref(&self) -> &R {
        &self.from
    }

    pub(super) fn get_mut(&mut self) -> &mut R {
        &mut self.from
    }

    pub(super) fn into_inner(self) -> R {
        self.from
    }

    /// A new message begins; its strings have the whole allowance again.
    pub(super) fn begin_message(&mut self) {
        self.allowance = MAX_MESSAGE;
    }
}

impl<R: BufRead> Decoder<R> {
    pub(super) fn u64(&mut self) -> Result<u64, Fault> {
        let mut word = [0; 8];
        self.from.read_exact(&mut word)?;
        Ok(u64::from_le_bytes(word))
    }

    /// Any word but 0 is true, as Nix reads it.
    pub(super) fn bool(&mut self) -> Result<bool, Fault> {
        Ok(self.u64()? != 0)
    }

    /// A list's length, before its items.
    pub(super) fn count(&mut self, what: &str) -> Result<u64, Fault> {
        let n = self.u64()?;
        if n > MAX_ITEMS { malformed(format!("{what}: {n} items, more than {MAX_ITEMS}")) } else { Ok(n) }
    }

    /// A string of at most `max` bytes.
    pub(super) fn bytes(&mut self, what: &str, max: u64) -> Result<Vec<u8>, Fault> {
        let len = self.u64()?;
        self.bytes_of_length(len, what, max)
    }

    /// A string whose length was read already. Memory grows with what arrives, not with what is announced.
    pub(super) fn bytes_of_length(&mut self, len: u64, what: &str, max: u64) -> Result<Vec<u8>, Fault> {
        if len > max {
            return malformed(format!("{what}: a string of {len} bytes, more than {max}"));
        }
        let Some(left) = self.allowance.checked_sub(len) else {
            return malformed(format!("{what}: a message of more than {MAX_MESSAGE} bytes"));
        };
        self.allowance = left;
        let mut bytes = Vec::new();
        (&mut self.from).take(len).read_to_end(&mut bytes)?;
        if (bytes.len() as u64) < len {
            return Err(Fault::Stream(std::io::ErrorKind::UnexpectedEof.into()));
        }
        self.zeros(padding(len), what)?;
        Ok(bytes)
    }

    /// The zeros after a string; anything else means that both sides are out of step.
    pub(super) fn zeros(&mut self, n: usize, what: &str) -> Result<(), Fault> {
        let mut pad = [0; 8];
        self.from.read_exact(&mut pad[..n])?;
        if pad == [0; 8] { Ok(()) } else { malformed(format!("{what}: padding that is not zero")) }
    }

    /// A string that has to be UTF-8: paths, names, hashes.
    pub(super) fn string(&mut self, what: &str) -> Result<String, Fault> {
        let bytes = self.bytes(what, MAX_STRING)?;
        String::from_utf8(bytes).or_else(|e| {
            malformed(format!(
                "{what}: not UTF-8: '{}'",
                e.as_bytes()[..e.as_bytes().len().min(80)].escape_ascii()
            ))
        })
    }

    /// A string for people: what builders print need not be UTF-8.
    pub(super) fn text(&mut self, what: &str) -> Result<String, Fault> {
        let bytes = self.bytes(what, MAX_STRING)?;
        Ok(String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned()))
    }

    pub(super) fn strings(&mut self, what: &str) -> Result<Vec<String>, Fault> {
        let n = self.count(what)?;
        (0..n).map(|_| self.string(what)).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            n: u64, b: bool,
            s in proptest::collection::vec(any::<u8>(), 0..40),
            list in proptest::collection::vec(".{0,12}", 0..6),
        ) {
            let mut out = Encoder::default();
            out.u64(n).bool(b).string(&s).strings(&list).u64(7);
            let bytes = out.finish();
            prop_assert_eq!(bytes.len() % 8, 0);
            let mut input = Decoder::new(bytes.as_slice());
            prop_assert_eq!(input.u64().unwrap(), n);
            prop_assert_eq!(input.bool().unwrap(), b);
            prop_assert_eq!(input.bytes("s", 40).unwrap(), s);
            prop_assert_eq!(input.strings("list").unwrap(), list);
            prop_assert_eq!(input.u64().unwrap(), 7);
            prop_assert!(input.u64().is_err());
        }

        #[test]
        fn a_cut_string_is_a_closed_stream(s in proptest::collection::vec(any::<u8>(), 1..40), cut in 0usize..48) {
            let mut out = Encoder::default();
            out.string(&s);
            let bytes = out.finish();
            prop_assume!(cut < bytes.len());
            let got = Decoder::new(&bytes[..cut]).bytes("s", 40);
            prop_assert!(matches!(got, Err(Fault::Stream(e)) if e.kind() == std::io::ErrorKind::UnexpectedEof));
        }
    }

    #[test]
    fn lengths_are_refused_before_anything_is_read() {
        for len in [MAX_STRING + 1, u64::MAX] {
            let got = Decoder::new(len.to_le_bytes().as_slice()).string("a path");
            assert!(matches!(got, Err(Fault::Malformed(m)) if m.starts_with("a path: a string of")));
        }
        let got = Decoder::new(u64::MAX.to_le_bytes().as_slice()).strings("paths");
        assert!(
            matches!(got, Err(Fault::Malformed(m)) if m.starts_with("paths: 18446744073709551615 items"))
        );
    }

    #[test]
    fn the_strings_of_a_message_share_an_allowance() {
        let mut out = Encoder::default();
        out.string("12345678").string("12345678");
        let bytes = out.finish();
        let mut input = Decoder::new(bytes.as_slice());
        input.allowance = 10;
        assert!(input.bytes("s", 8).is_ok());
        assert!(matches!(input.bytes("s", 8), Err(Fault::Malformed(m)) if m.contains("a message of more")));
        let mut input = Decoder::new(bytes.as_slice());
        input.allowance = 10;
        assert!(input.bytes("s", 8).is_ok());
        input.begin_message();
        assert!(input.bytes("s", 8).is_ok());
    }

    #[test]
    fn padding_has_to_be_zero() {
        let mut bytes = 3u64.to_le_bytes().to_vec();
        bytes.extend_from_slice(b"abc\0\0\0\x01\0");
        let got = Decoder::new(bytes.as_slice()).string("a name");
        assert!(matches!(got, Err(Fault::Malformed(m)) if m == "a name: padding that is not zero"));
    }

    #[test]
    fn paths_are_utf8_and_log_lines_need_not_be() {
        let mut out = Encoder::default();
        out.string(b"a\xffb");
        let bytes = out.finish();
        assert!(matches!(Decoder::new(bytes.as_slice()).string("a path"), Err(Fault::Malformed(_))));
        assert_eq!(Decoder::new(bytes.as_slice()).text("a line").unwrap(), "a\u{fffd}b");
    }

    #[test]
    fn memory_follows_what_arrives() {
        // More than any machine has: taking it beforehand would end the test.
        let announced = 1u64 << 62;
        let mut bytes = announced.to_le_bytes().to_vec();
        bytes.extend_from_slice(&[b'x'; 1000]);
        let mut input = Decoder::new(bytes.as_slice());
        input.allowance = u64::MAX;
        assert!(matches!(input.bytes("s", u64::MAX), Err(Fault::Stream(_))));

        let mut list = Encoder::default();
        list.u64(MAX_ITEMS).string("a");
        let got = Decoder::new(list.finish().as_slice()).strings("paths");
        assert!(matches!(got, Err(Fault::Stream(_))));
    }
}
