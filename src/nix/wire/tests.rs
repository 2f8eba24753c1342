//! The client against a daemon that is only bytes: what it answers is written down beforehand, what
//! is sent to it is kept.

use std::io::{self, Read, Write};

use proptest::prelude::*;

use super::codec::{Decoder, Encoder};
use super::*;

/// A stream with the daemon's half of a conversation.
#[derive(Debug)]
pub(super) struct Script {
    answers: Vec<u8>,
    at: usize,
    /// Most bytes that one read gives.
    chunk: usize,
    pub(super) sent: Vec<u8>,
    pub(super) flushes: usize,
}

impl Script {
    pub(super) fn new(answers: Encoder) -> Self {
        Self { answers: answers.finish(), at: 0, chunk: usize::MAX, sent: vec![], flushes: 0 }
    }
}

impl Read for Script {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let rest = &self.answers[self.at..];
        let n = rest.len().min(buf.len()).min(self.chunk);
        buf[..n].copy_from_slice(&rest[..n]);
        self.at += n;
        Ok(n)
    }
}

impl Write for Script {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.sent.extend_from_slice(buf);
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.flushes += 1;
        Ok(())
    }
}

const LAST: u64 = 0x616c_7473;
const ERROR: u64 = 0x6378_7470;
const RESULT: u64 = 0x5253_4c54;

/// A greeting by a daemon of protocol 1.`minor`.
pub(super) fn greeting(minor: u64) -> Encoder {
    let mut out = Encoder::default();
    out.u64(0x6478_696f).u64(0x100 + minor);
    if minor >= 33 {
        out.string("2.x");
    }
    if minor >= 35 {
        out.u64(1);
    }
    out.u64(LAST);
    out
}

/// A client after the greeting, with the rest of the conversation.
pub(super) fn client(minor: u64, rest: &Encoder) -> Client<Script> {
    let mut answers = greeting(minor);
    answers.raw(rest.as_bytes());
    Client::handshake(Script::new(answers)).unwrap()
}

/// What was sent after the greeting, in one flush.
fn request(client: Client<Script>) -> Decoder<io::Cursor<Vec<u8>>> {
    let script = client.into_inner();
    assert_eq!(script.flushes, 3, "two for the greeting, one for the operation");
    Decoder::new(io::Cursor::new(script.sent[32..].to_vec()))
}

fn at_end<R: io::BufRead>(mut input: Decoder<R>) -> bool {
    input.get_mut().fill_buf().unwrap().is_empty()
}

fn put_error(out: &mut Encoder, message: &str) {
    out.u64(ERROR).string("Error").u64(0).string("Error").string(message);
    out.u64(0).u64(1).u64(0).string("while testing");
}

#[test]
fn greetings_of_every_version() {
    for minor in 32..=40 {
        let client = client(minor, &Encoder::default());
        let used = minor.min(37);
        assert_eq!(client.protocol(), Version::new(1, used as u8));
        assert_eq!(client.nix_version(), (minor >= 33).then_some("2.x"));
        assert_eq!(client.trust(), if minor >= 35 { Trust::Trusted } else { Trust::Unknown });
        let mut hello = Encoder::default();
        hello.u64(0x6e69_7863).u64(0x100 + used).u64(0).u64(0);
        assert_eq!(client.get_ref().sent, hello.finish());
    }
}

#[test]
fn greetings_that_end_it() {
    let greet = |word: u64| {
        let mut out = Encoder::default();
        out.u64(0x6478_696f).u64(word).string("2.x").u64(3);
        Client::handshake(Script::new(out)).unwrap_err()
    };
    for (word, shown) in [(0x100 + 31, "1.31"), (0x200 + 40, "2.40"), (0x0a, "0.10")] {
        let error = greet(word);
        assert!(matches!(error, WireError::Unsupported { .. }), "{error}");
        assert!(error.to_string().contains(&format!("speaks protocol {shown}, but")), "{error}");
    }
    assert!(greet(0x1_0000).to_string().contains("the version 0x10000"));
    assert!(greet(0x100 + 35).to_string().contains("the trust level 3"));

    let mut banner = Encoder::default();
    banner.raw(b"Welcome to builder7!\n");
    let error = Client::handshake(Script::new(banner)).unwrap_err();
    assert!(error.is_connection() && error.to_string().contains(r"begins with 'Welcome to builder7!\n'"));
    let error = Client::handshake(Script::new(Encoder::default())).unwrap_err();
    assert_eq!(error.to_string(), "the Nix daemon closed the connection while greeting");

    let mut refusal = Encoder::default();
    refusal.u64(0x6478_696f).u64(0x120);
    put_error(&mut refusal, "user 'x' is not allowed to connect to the Nix daemon");
    let error = Client::handshake(Script::new(refusal)).unwrap_err();
    assert!(matches!(error, WireError::Remote(e) if e.message.starts_with("user 'x'")));
}

#[test]
fn options_as_sent() {
    let mut answer = Encoder::default();
    answer.u64(LAST);
    let mut client = client(34, &answer);
    let overrides = [("sandbox".to_owned(), "true".to_owned())].into();
    let options = SetOptions {
        cores: 4,
        max_silent: 60,
        timeout: 90,
        keep_failed: true,
        overrides,
        ..SetOptions::default()
    };
    client.set_options(&options).unwrap();
    let mut sent = request(client);
    let words: Vec<u64> = (0..14).map(|_| sent.u64().unwrap()).collect();
    assert_eq!(words, [19, 1, 0, 0, 1, 1, 60, 1, 7, 0, 0, 4, 1, 3]);
    let strings: Vec<String> = (0..6).map(|_| sent.string("").unwrap()).collect();
    assert_eq!(strings, ["builders", "", "sandbox", "true", "timeout", "90"]);
    assert!(at_end(sent));
}

#[test]
fn questions_and_answers() {
    let mut answer = Encoder::default();
    answer.u64(LAST).strings(&["/s/a.drv"]).strings(&["/s/b", "/s/c"]).strings(&[""; 0]).u64(5).u64(9);
    let mut asked = client(37, &answer);
    let missing = asked.query_missing(&["/s/a.drv!out".into()]).unwrap();
    assert_eq!((missing.will_build, missing.will_substitute.len()), (vec!["/s/a.drv".to_owned()], 2));
    assert_eq!((missing.unknown.len(), missing.download_size, missing.nar_size), (0, 5, 9));
    let mut sent = request(asked);
    assert_eq!((sent.u64().unwrap(), sent.strings("").unwrap()), (40, vec!["/s/a.drv!out".to_owned()]));
    assert!(at_end(sent));

    let mut answer = Encoder::default();
    answer.u64(LAST).u64(1).string("").string("00ff").strings(&["/s/b"]).u64(1).u64(2).u64(0);
    answer.strings(&["k:x"]).string("text:sha256:0").u64(LAST).u64(0);
    let mut client = client(32, &answer);
    let info = client.query_path_info("/s/a").unwrap().unwrap();
    assert_eq!((info.deriver, info.nar_hash.as_str(), info.nar_size), (None, "00ff", 2));
    assert_eq!((info.sigs.len(), info.ca.as_deref()), (1, Some("text:sha256:0")));
    assert_eq!(client.query_path_info("/s/b").unwrap(), None);
}

/// A build result as a daemon of protocol 1.`minor` writes it.
fn put_result(out: &mut Encoder, minor: u64) {
    out.u64(0).string("").u64(1).u64(0).u64(100).u64(200);
    if minor >= 37 {
        out.u64(1).u64(1500).u64(0);
    }
    out.u64(1).string("sha256:0!out").string(r#"{"outPath":"h-x"}"#);
}

#[test]
fn builds_of_every_version() {
    let drv = BasicDerivation {
        outputs: vec![DrvOutput { name: "out".into(), path: "/s/h-x".into(), ..DrvOutput::default() }],
        input_srcs: vec!["/s/src".into()],
        platform: "x86_64-linux".into(),
        builder: "/bin/sh".into(),
        args: vec![b"\xff".to_vec()],
        env: vec![(b"k".to_vec(), b"v\xfe".to_vec())],
    };
    for minor in 32..=38 {
        let mut answer = Encoder::default();
        answer.u64(RESULT).u64(7).u64(101).u64(1).u64(1).string("a line").u64(LAST);
        put_result(&mut answer, minor.min(37));
        let mut client = client(minor, &answer);
        let mut log = vec![];
        let result =
            client.build_derivation("/s/d.drv", &drv, BuildMode::Check, &mut |m| log.push(m)).unwrap();
        assert_eq!(log, [LogMessage::Line { activity: 7, text: "a line".into() }]);
        assert_eq!((result.status, result.start_time, result.stop_time), (Status::Built, 100, 200));
        assert_eq!((result.cpu_user, result.cpu_system), ((minor >= 37).then_some(1500), None));
        assert_eq!(result.built_outputs, [("out".to_owned(), "/s/h-x".to_owned())]);
        let mut expected = Encoder::default();
        expected.u64(36).string("/s/d.drv");
        expected.u64(1).string("out").string("/s/h-x").string("").string("").strings(&["/s/src"]);
        expected.string("x86_64-linux").string("/bin/sh").strings(&[b"\xff"]);
        expected.u64(1).string("k").string(b"v\xfe").u64(2);
        assert_eq!(request(client).into_inner().into_inner(), expected.finish());
    }
}

#[test]
fn targets_with_results_need_134() {
    let targets = ["/s/d.drv!out".to_owned()];
    let mut answer = Encoder::default();
    answer.u64(LAST).u64(1).string("/s/d.drv!out");
    put_result(&mut answer, 34);
    let results =
        client(34, &answer).build_paths_with_results(&targets, BuildMode::Normal, &mut |_| ()).unwrap();
    assert_eq!((results.len(), results[0].0.as_str()), (1, "/s/d.drv!out"));
    assert_eq!(results[0].1.built_outputs[0].1, "/s/h-x");
    let mut old = client(33, &answer);
    let error = old.build_paths_with_results(&targets, BuildMode::Normal, &mut |_| ()).unwrap_err();
    assert!(matches!(error, WireError::Unsupported { found: Version { minor: 33, .. }, .. }), "{error}");
    assert!(old.is_usable() && !error.is_connection());
    assert_eq!(old.get_ref().sent.len(), 32, "nothing was asked");
}

#[test]
fn every_kind_of_log_message() {
    let mut answer = Encoder::default();
    answer.u64(0x6f6c_6d67).string("warning: x\n");
    answer
        .u64(0x5354_5254)
        .u64(1)
        .u64(3)
        .u64(105)
        .string("building")
        .u64(2)
        .u64(1)
        .string("/s/d.drv")
        .u64(0)
        .u64(4);
    answer.u64(9);
    answer.u64(RESULT).u64(1).u64(104).u64(1).u64(1).string("buildPhase");
    answer.u64(RESULT).u64(1).u64(105).u64(4).u64(0).u64(1).u64(0).u64(2).u64(0).u64(3).u64(0).u64(4);
    answer.u64(RESULT).u64(1).u64(107).u64(1).u64(1).string("hook");
    answer.u64(RESULT).u64(1).u64(101).u64(1).u64(0).u64(5);
    answer.u64(0x5354_4f50).u64(1).u64(LAST);
    put_result(&mut answer, 36);
    let mut log = vec![];
    let drv = BasicDerivation::default();
    client(36, &answer).build_derivation("/s/d.drv", &drv, BuildMode::Normal, &mut |m| log.push(m)).unwrap();
    let fields = vec![Field::Text("/s/d.drv".into()), Field::Int(4)];
    assert_eq!(
        log,
        [
            LogMessage::Text("warning: x".into()),
            LogMessage::Start { id: 1, level: 3, kind: 105, text: "building".into(), fields, parent: 9 },
            LogMessage::SetPhase { activity: 1, phase: "buildPhase".into() },
            LogMessage::Progress { activity: 1, done: 1, expected: 2, running: 3, failed: 4 },
            LogMessage::PostBuildLine { activity: 1, text: "hook".into() },
            LogMessage::Other { activity: 1, kind: 101, fields: vec![Field::Int(5)] },
            LogMessage::Stop { id: 1 },
        ]
    );
}

#[test]
fn a_refusal_is_no_end_and_nonsense_is() {
    let mut answer = Encoder::default();
    put_error(&mut answer, "no\nindeed\n");
    answer.u64(LAST).u64(1).u64(77);
    let mut client = client(35, &answer);
    let error = client.ensure_path("/s/a").unwrap_err();
    assert_eq!(error.to_string(), "no\nindeed");
    assert!(matches!(error, WireError::Remote(e) if e.traces == ["while testing"]));
    client.add_temp_root("/s/a").unwrap();
    let error = client.add_temp_root("/s/a").unwrap_err();
    let expected =
        "the Nix daemon's answer makes no sense while adding a temporary root: an unknown frame (0x4d)";
    assert_eq!(error.to_string(), expected);
    assert!(error.is_connection() && !client.is_usable());
    let sent = client.get_ref().sent.len();
    assert!(matches!(client.ensure_path("/s/a"), Err(WireError::Unusable { .. })));
    assert_eq!(client.get_ref().sent.len(), sent, "nothing more is sent");
}

#[test]
fn every_answer_is_read_when_one_of_many_is_a_refusal() {
    let mut answer = Encoder::default();
    answer.u64(LAST).u64(1);
    put_error(&mut answer, "no\n");
    answer.u64(LAST).u64(1).u64(LAST).u64(1);
    let mut client = client(35, &answer);
    let error = client.add_temp_roots(&["/s/a", "/s/b", "/s/c"]).unwrap_err();
    assert_eq!(error.to_string(), "no");
    client.add_temp_root("/s/d").unwrap();
    let mut sent = Decoder::new(io::Cursor::new(client.into_inner().sent[32..].to_vec()));
    for path in ["/s/a", "/s/b", "/s/c", "/s/d"] {
        assert_eq!((sent.u64().unwrap(), sent.text("").unwrap().as_str()), (11, path));
    }
}

/// Runs one operation of each kind against whatever the daemon says.
fn run_op(client: &mut Client<Script>, op: u8) -> Result<(), WireError> {
    let targets = ["/s/a.drv!out".to_owned()];
    let drv = BasicDerivation::default();
    match op % 8 {
        0 => client.query_missing(&targets).map(drop),
        1 => client.query_valid_paths(&["/s/a"], true).map(drop),
        2 => client.query_path_info("/s/a").map(drop),
        3 => client.build_derivation("/s/a.drv", &drv, BuildMode::Normal, &mut |_| ()).map(drop),
        4 => client.build_paths_with_results(&targets, BuildMode::Normal, &mut |_| ()).map(drop),
        5 => client.nar_from_path("/s/a", &mut io::sink()).map(drop),
        6 => client.add_multiple_to_store(false, true, &mut []),
        _ => client.set_options(&SetOptions::default()),
    }
}

/// Words as a confused daemon sends them: often a frame, a small number or a huge length.
fn words() -> impl Strategy<Value = Vec<u64>> {
    let frames = [LAST, ERROR, RESULT, 0x5354_5254, 0x5354_4f50, 0x6f6c_6d67, 0x6461_7461];
    let word = prop_oneof![
        4 => proptest::sample::select(frames.to_vec()),
        6 => 0u64..14,
        1 => Just(64u64 << 20),
        1 => Just(1u64 << 20),
        1 => any::<u64>(),
    ];
    proptest::collection::vec(word, 0..40)
}

proptest! {
    #[test]
    fn nonsense_ends_in_an_answer_or_an_error(words in words(), op: u8, minor in 32u64..39, chunk in 1usize..40) {
        let mut answers = greeting(minor);
        for word in words {
            answers.u64(word);
        }
        let mut script = Script::new(answers);
        script.chunk = chunk;
        let mut client = Client::handshake(script).unwrap();
        // Nothing is checked but that each comes back: a broken one is never used again.
        while client.is_usable() && client.get_ref().at < client.get_ref().answers.len() {
            let before = client.get_ref().sent.len();
            let outcome = run_op(&mut client, op);
            prop_assert!(outcome.is_err() || client.is_usable());
            if client.get_ref().sent.len() == before {
                break; // not sent, for the version is too old
            }
        }
    }

    #[test]
    fn a_cut_answer_is_a_closed_connection(cut in 0usize..220, minor in 34u64..39) {
        let mut answer = Encoder::default();
        answer.u64(RESULT).u64(7).u64(101).u64(1).u64(1).string("a line").u64(LAST);
        put_result(&mut answer, minor.min(37));
        let whole = answer.finish();
        prop_assume!(cut < whole.len());
        let mut answer = Encoder::default();
        answer.raw(&whole[..cut]);
        let outcome = run_op(&mut client(minor, &answer), 3);
        prop_assert!(matches!(outcome, Err(WireError::Closed { .. })), "{:?}", outcome);
    }
}
