//! Passes a NAR through and finds its end.
//!
//! The daemon sends a NAR without its length, so it has to be read as a tree to know where it stops.
//! Nothing is unpacked and names are not judged: whoever stores the NAR does that.

use std::io::{BufRead, Write};

use super::codec::{Decoder, padding};
use super::error::{Fault, malformed};
use super::frames;

const MAGIC: &[u8] = b"nix-archive-1";
/// Longer than any file name, tag or symlink target that a file system takes.
const MAX_TOKEN: u64 = 64 << 10;
const _: () = assert!(frames::ERROR > MAX_TOKEN, "an error can be told from a token");

/// Copies one NAR. Returns its length in bytes.
///
/// # Errors
/// [`Fault::Malformed`] when it is no NAR, [`Fault::Local`] when `to` fails, [`Fault::LastWords`] when
/// the daemon gives up on it, and what the stream gives.
pub(super) fn copy<R: BufRead>(from: &mut Decoder<R>, to: &mut dyn Write) -> Result<u64, Fault> {
    let mut nar = Copy { from, to, written: 0 };
    if nar.token()? != MAGIC {
        return malformed("not a NAR");
    }
    nar.tree()?;
    Ok(nar.written)
}

struct Copy<'a, R> {
    from: &'a mut Decoder<R>,
    to: &'a mut dyn Write,
    written: u64,
}

impl<R: BufRead> Copy<'_, R> {
    /// Walks the tree with a counter of open directories instead of a stack: a NAR can nest deeper
    /// than memory should be spent on.
    fn tree(&mut self) -> Result<(), Fault> {
        let mut depth = 0u64;
        loop {
            self.expect(b"(")?;
            self.expect(b"type")?;
            match self.token()?.as_slice() {
                b"regular" => self.regular()?,
                b"symlink" => {
                    self.expect(b"target")?;
                    self.token()?;
                    self.expect(b")")?;
                }
                b"directory" => {
                    if self.another_entry()? {
                        depth += 1;
                        continue;
                    }
                }
                other => return unexpected("a file type", other),
            }
            // A node is complete; close entries and directories until one goes on.
            loop {
                if depth == 0 {
                    return Ok(());
                }
                self.expect(b")")?;
                if self.another_entry()? {
                    break;
                }
                depth -= 1;
            }
        }
    }

    /// In a directory: whether an entry follows (read up to its node), or else the directory ended.
    fn another_entry(&mut self) -> Result<bool, Fault> {
        match self.token()?.as_slice() {
            b")" => Ok(false),
            b"entry" => {
                self.expect(b"(")?;
                self.expect(b"name")?;
                self.token()?;
                self.expect(b"node")?;
                Ok(true)
            }
            other => unexpected("'entry' or ')'", other),
        }
    }

    fn regular(&mut self) -> Result<(), Fault> {
        let mut tag = self.token()?;
        if tag == b"executable" {
            self.expect(b"")?;
            tag = self.token()?;
        }
        if tag == b"contents" {
            self.contents()?;
            tag = self.token()?;
        }
        if tag == b")" { Ok(()) } else { unexpected("the end of a file", &tag) }
    }

    /// A file's bytes, as they arrive.
    fn contents(&mut self) -> Result<(), Fault> {
        let len = self.from.u64()?;
        self.put(&len.to_le_bytes())?;
        let mut left = len;
        while left > 0 {
            let input = self.from.get_mut();
            let chunk = match input.fill_buf() {
                Ok([]) => return Err(Fault::Stream(std::io::ErrorKind::UnexpectedEof.into())),
                Ok(chunk) => chunk,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e.into()),
            };
            let n = chunk.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            put(self.to, &chunk[..n])?;
            input.consume(n);
            left -= n as u64;
            self.written = self.written.saturating_add(n as u64);
        }
        self.from.zeros(padding(len), "a file in a NAR")?;
        self.put(&[0; 8][..padding(len)])
    }

    fn token(&mut self) -> Result<Vec<u8>, Fault> {
        self.from.begin_message();
        let len = self.from.u64()?;
        // The daemon looks for the path only after it said that all is well, so its error can come
        // in place of any token. No token is as long as that word read as a length.
        if len == frames::ERROR {
            return Err(Fault::LastWords(frames::read_error(self.from)?));
        }
        let token = self.from.bytes_of_length(len, "a NAR", MAX_TOKEN)?;
        self.put(&len.to_le_bytes())?;
        self.put(&token)?;
        self.put(&[0; 8][..padding(len)])?;
        Ok(token)
    }

    fn expect(&mut self, what: &[u8]) -> Result<(), Fault> {
        let token = self.token()?;
        if token == what { Ok(()) } else { unexpected(&format!("'{}'", what.escape_ascii()), &token) }
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        put(self.to, bytes)?;
        self.written = self.written.saturating_add(bytes.len() as u64);
        Ok(())
    }
}

fn put(to: &mut dyn Write, bytes: &[u8]) -> Result<(), Fault> {
    to.write_all(bytes).map_err(|source| Fault::Local {
        what: "cannot write the NAR received".into(),
        source,
        in_step: false,
    })
}

fn unexpected<T>(wanted: &str, got: &[u8]) -> Result<T, Fault> {
    let shown = &got[..got.len().min(40)];
    malformed(format!("a NAR with '{}' in place of {wanted}", shown.escape_ascii()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::codec::Encoder;
    use super::*;

    #[derive(Clone, Debug)]
    enum Node {
        File(bool, Vec<u8>),
        Link(String),
        Dir(Vec<(String, Node)>),
    }

    fn node() -> impl Strategy<Value = Node> {
        let leaf = prop_oneof![
            (any::<bool>(), proptest::collection::vec(any::<u8>(), 0..30))
                .prop_map(|(x, b)| Node::File(x, b)),
            "[a-z/]{1,9}".prop_map(Node::Link),
        ];
        leaf.prop_recursive(5, 30, 4, |inner| {
            proptest::collection::vec(("[a-z]{1,9}", inner), 0..4).prop_map(Node::Dir)
        })
    }

    fn put(out: &mut Encoder, node: &Node) {
        out.string("(").string("type");
        match node {
            Node::File(executable, bytes) => {
                out.string("regular");
                if *executable {
                    out.string("executable").string("");
                }
                out.string("contents").string(bytes);
            }
            Node::Link(target) => {
                out.string("symlink").string("target").string(target);
            }
            Node::Dir(entries) => {
                out.string("directory");
                for (name, node) in entries {
                    out.string("entry").string("(").string("name").string(name).string("node");
                    put(out, node);
                    out.string(")");
                }
            }
        }
        out.string(")");
    }

    fn nar(node: &Node) -> Vec<u8> {
        let mut out = Encoder::default();
        out.string(MAGIC);
        put(&mut out, node);
        out.finish()
    }

    fn fault(bytes: &[u8]) -> Fault {
        copy(&mut Decoder::new(bytes), &mut std::io::sink()).unwrap_err()
    }

    proptest! {
        #[test]
        fn a_nar_passes_whole_and_what_follows_stays(node in node(), small in 1usize..20) {
            let whole = nar(&node);
            let mut stream = whole.clone();
            stream.extend_from_slice(b"the rest");
            let small = std::io::BufReader::with_capacity(small, stream.as_slice());
            let mut input = Decoder::new(small);
            let mut out = vec![];
            prop_assert_eq!(copy(&mut input, &mut out).unwrap(), whole.len() as u64);
            prop_assert_eq!(out, whole);
            prop_assert_eq!(input.u64().unwrap().to_le_bytes(), *b"the rest");
        }

        #[test]
        fn a_cut_nar_is_a_closed_stream(node in node(), at in 0.0f64..1.0) {
            let whole = nar(&node);
            let cut = (whole.len() as f64 * at) as usize;
            let fault = fault(&whole[..cut]);
            prop_assert!(matches!(&fault, Fault::Stream(e) if e.kind() == std::io::ErrorKind::UnexpectedEof), "{:?}", fault);
        }

        #[test]
        fn a_flipped_bit_never_panics(node in node(), at: prop::sample::Index, bit in 0u32..8) {
            let mut bytes = nar(&node);
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            let mut out = vec![];
            if copy(&mut Decoder::new(bytes.as_slice()), &mut out).is_ok() {
                prop_assert!(bytes.starts_with(&out));
            }
        }
    }

    #[test]
    fn deep_trees_cost_no_stack() {
        let mut out = Encoder::default();
        out.string(MAGIC);
        const DEPTH: usize = 100_000;
        for _ in 0..DEPTH {
            out.string("(").string("type").string("directory");
            out.string("entry").string("(").string("name").string("d").string("node");
        }
        put(&mut out, &Node::Dir(vec![]));
        for _ in 0..2 * DEPTH {
            out.string(")");
        }
        let bytes = out.finish();
        let got = copy(&mut Decoder::new(bytes.as_slice()), &mut std::io::sink()).unwrap();
        assert_eq!(got, bytes.len() as u64);
    }

    #[test]
    fn what_is_no_nar() {
        let mut other = Encoder::default();
        other.string("nix-archive-2");
        assert!(matches!(fault(&other.finish()), Fault::Malformed(m) if m == "not a NAR"));
        let mut device = Encoder::default();
        device.string(MAGIC).string("(").string("type").string("device\n");
        let m = r"a NAR with 'device\n' in place of a file type";
        assert!(matches!(fault(&device.finish()), Fault::Malformed(got) if got == m));
        let mut gone = Encoder::default();
        gone.string(MAGIC).u64(frames::ERROR).string("Error").u64(0).string("").string("gone").u64(0).u64(0);
        assert!(matches!(fault(&gone.finish()), Fault::LastWords(e) if e.message == "gone"));
    }

    #[test]
    fn a_full_disk_is_not_the_connection() {
        let bytes = nar(&Node::File(false, vec![1; 100]));
        let fault = copy(&mut Decoder::new(bytes.as_slice()), &mut [0u8; 64].as_mut_slice()).unwrap_err();
        assert!(matches!(fault, Fault::Local { in_step: false, .. }), "{fault:?}");
    }
}
