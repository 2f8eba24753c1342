//! Sending paths: one request whose body comes in frames, each with its length before it.

use std::io::{Read, Write};

use super::client::{Client, send};
use super::codec::Encoder;
use super::error::{Fault, WireError};
use super::frames;
use super::ops::{Op, request};
use super::types::PathInfo;

/// Bytes of a frame. One is copied at a time, so this is all the memory an upload takes.
const FRAME: usize = 64 << 10;

/// A path to send.
pub struct Upload<'a> {
    /// The store path.
    pub path: &'a str,
    /// What is known of it; `nar_size` bytes are taken from `nar`.
    pub info: &'a PathInfo,
    /// The NAR.
    pub nar: &'a mut dyn Read,
}

impl<S: Read + Write> Client<S> {
    /// Adds paths to the store; each after what it refers to, unless that is there already.
    ///
    /// The daemon's messages are read only when all is sent. Daemons say next to nothing meanwhile, so
    /// their side of the stream does not fill up.
    ///
    /// # Errors
    /// [`WireError::Local`] when a NAR cannot be read or is shorter than said: the paths before it were
    /// added, and the connection can be used on. [`WireError::Remote`] when the daemon refuses one
    /// (unsigned with `check_sigs` or from a user it does not trust, or a wrong hash), and those of the
    /// connection.
    pub fn add_multiple_to_store(
        &mut self,
        repair: bool,
        check_sigs: bool,
        uploads: &mut [Upload<'_>],
    ) -> Result<(), WireError> {
        self.guarded("sending paths", |client| {
            let mut request = request(Op::AddMultipleToStore);
            request.bool(repair).bool(!check_sigs);
            let stream = client.input.get_mut().get_mut();
            stream.write_all(&request.finish())?;
            let sent = send_all(&mut Frames { to: stream, frame: Vec::new() }, uploads);
            if let Err(Fault::Stream(e)) = sent {
                return Err(Fault::Stream(e));
            }
            // An upload cut short ends like any other; the daemon finds it too short and says so.
            send(&mut client.input, &0u64.to_le_bytes())?;
            match (sent, frames::until_done(&mut client.input, &mut |_| ())) {
                (Err(local), Ok(()) | Err(Fault::Remote(_))) => Err(local),
                (_, outcome) => outcome,
            }
        })
    }

    /// Keeps `log` as the build log of a derivation, where `nix log` finds it.
    ///
    /// # Errors
    /// As [`Self::add_multiple_to_store`]; only trusted users may.
    pub fn add_build_log(&mut self, drv_path: &str, log: &mut dyn Read) -> Result<(), WireError> {
        self.guarded("sending a build log", |client| {
            let mut request = request(Op::AddBuildLog);
            // The base name, where everything else takes the whole path.
            request.string(drv_path.rsplit('/').next().unwrap_or(drv_path));
            let stream = client.input.get_mut().get_mut();
            stream.write_all(&request.finish())?;
            let mut frames = Frames { to: stream, frame: Vec::new() };
            let sent = frames.copy_all(log).and_then(|()| frames.flush());
            if let Err(Fault::Stream(e)) = sent {
                return Err(Fault::Stream(e));
            }
            send(&mut client.input, &0u64.to_le_bytes())?;
            frames::until_done(&mut client.input, &mut |_| ())?;
            client.input.u64()?;
            sent
        })
    }
}

fn send_all<W: Write>(frames: &mut Frames<'_, W>, uploads: &mut [Upload<'_>]) -> Result<(), Fault> {
    let mut count = Encoder::default();
    count.u64(uploads.len() as u64);
    frames.put(&count.finish())?;
    for upload in uploads {
        frames.put(&header(upload.path, upload.info))?;
        frames.copy(upload)?;
    }
    frames.flush()
}

/// A path's information in the form of protocol 1.16, which this operation keeps to.
fn header(path: &str, info: &PathInfo) -> Vec<u8> {
    let mut header = Encoder::default();
    header
        .string(path)
        .string(info.deriver.as_deref().unwrap_or_default())
        .string(&info.nar_hash)
        .strings(&info.references)
        .u64(info.registration_time)
        .u64(info.nar_size)
        .bool(info.ultimate)
        .strings(&info.sigs)
        .string(info.ca.as_deref().unwrap_or_default());
    header.finish()
}

/// Cuts what is put in into frames.
struct Frames<'a, W> {
    to: &'a mut W,
    /// Not yet sent, at most [`FRAME`] bytes.
    frame: Vec<u8>,
}

impl<W: Write> Frames<'_, W> {
    fn put(&mut self, mut bytes: &[u8]) -> Result<(), Fault> {
        while !bytes.is_empty() {
            let n = bytes.len().min(FRAME - self.frame.len());
            self.frame.extend_from_slice(&bytes[..n]);
            bytes = &bytes[n..];
            if self.frame.len() == FRAME {
                self.flush()?;
            }
        }
        Ok(())
    }

    /// The NAR of one path, exactly as long as announced.
    fn copy(&mut self, upload: &mut Upload<'_>) -> Result<(), Fault> {
        let mut left = upload.info.nar_size;
        while left > 0 {
            let want = left.min((FRAME - self.frame.len()) as u64);
            let got = (&mut *upload.nar).take(want).read_to_end(&mut self.frame);
            let got = got.and_then(|n| match n {
                0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
                n => Ok(n),
            });
            match got {
                Ok(n) => left -= n as u64,
                Err(source) => {
                    self.flush()?;
                    let what = format!("cannot read the NAR of {} to send it", upload.path);
                    return Err(Fault::Local { what, source, in_step: true });
                }
            }
            if self.frame.len() == FRAME {
                self.flush()?;
            }
        }
        Ok(())
    }

    /// All that there is to read.
    fn copy_all(&mut self, from: &mut dyn Read) -> Result<(), Fault> {
        loop {
            let room = (FRAME - self.frame.len()) as u64;
            match (&mut *from).take(room).read_to_end(&mut self.frame) {
                Ok(0) => return Ok(()),
                Ok(_) => self.flush()?,
                Err(source) => {
                    let what = "cannot read a build log to send it".to_owned();
                    return Err(Fault::Local { what, source, in_step: true });
                }
            }
        }
    }

    /// Sends what is there. An empty frame would end the request.
    fn flush(&mut self) -> Result<(), Fault> {
        if !self.frame.is_empty() {
            self.to.write_all(&(self.frame.len() as u64).to_le_bytes())?;
            self.to.write_all(&self.frame)?;
            self.frame.clear();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::codec::Decoder;
    use super::super::tests::{Script, client};
    use super::*;

    /// What was sent after the greeting and the request's three words: the frames' lengths and their
    /// contents.
    fn frames(script: &Script) -> (Vec<u64>, Vec<u8>) {
        let mut rest = &script.sent[32 + 24..];
        let (mut lengths, mut body) = (vec![], vec![]);
        loop {
            let (word, after) = rest.split_at(8);
            let len = u64::from_le_bytes(word.try_into().unwrap());
            lengths.push(len);
            if len == 0 {
                assert!(after.is_empty(), "nothing follows the last frame");
                return (lengths, body);
            }
            let (frame, after) = after.split_at(len as usize);
            body.extend_from_slice(frame);
            rest = after;
        }
    }

    fn done() -> Encoder {
        let mut answer = Encoder::default();
        answer.u64(0x616c_7473);
        answer
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn frames_carry_all_paths(sizes in proptest::collection::vec(
            prop_oneof![0usize..300, FRAME - 300..FRAME + 8, 2 * FRAME..3 * FRAME], 0..4)) {
            let nars: Vec<Vec<u8>> = sizes.iter().map(|n| (0..*n).map(|i| (i % 251) as u8).collect()).collect();
            let infos: Vec<PathInfo> = nars.iter()
                .map(|n| PathInfo { nar_size: n.len() as u64, nar_hash: "00".into(), ..PathInfo::default() })
                .collect();
            let mut readers: Vec<&[u8]> = nars.iter().map(Vec::as_slice).collect();
            let mut uploads: Vec<Upload<'_>> = readers.iter_mut().zip(&infos)
                .map(|(nar, info)| Upload { path: "/s/a", info, nar })
                .collect();
            let mut client = client(32, &done());
            client.add_multiple_to_store(false, false, &mut uploads).unwrap();

            let (lengths, body) = frames(client.get_ref());
            prop_assert!(lengths.iter().all(|n| *n <= FRAME as u64));
            let mut body = Decoder::new(body.as_slice());
            prop_assert_eq!(body.u64().unwrap(), nars.len() as u64);
            for (info, nar) in infos.iter().zip(&nars) {
                let expected = header("/s/a", info);
                let mut got = vec![0; expected.len() + nar.len()];
                body.get_mut().read_exact(&mut got).unwrap();
                prop_assert_eq!(&got[..expected.len()], expected.as_slice());
                prop_assert_eq!(&got[expected.len()..], nar.as_slice());
            }
            prop_assert!(body.get_ref().is_empty());
        }
    }

    #[test]
    fn a_short_nar_ends_the_frames_and_not_the_connection() {
        let mut answer = Encoder::default();
        answer.u64(0x6378_7470).string("Error").u64(0).string("").string("unexpected end").u64(0).u64(0);
        answer.raw(done().as_bytes());
        let mut client = client(34, &answer);
        let info = PathInfo { nar_size: 100, ..PathInfo::default() };
        let mut upload = [Upload { path: "/s/a", info: &info, nar: &mut &[1; 40][..] }];
        let error = client.add_multiple_to_store(true, true, &mut upload).unwrap_err();
        assert!(matches!(&error, WireError::Local { what, .. } if what.contains("/s/a")), "{error}");
        let (lengths, body) = frames(client.get_ref());
        assert_eq!(lengths.len(), 2);
        assert!(body.ends_with(&[1; 40]));
        client.set_options(&super::super::SetOptions::default()).unwrap();
    }
}
