use drvdispatch::dispatch::link::*;
use std::io::*;
use std::time::*;
fn main() {
    let o = SshOptions::parse("-F /tmp/ht/cfg").unwrap();
    let t = Target { host: "cutme".into(), remote_program: vec!["/tmp/ht/cat".into()], ..Target::default() };
    let r = resolve(&t, &o).unwrap();
    let mut l = open(&r, None, &Gate::default()).unwrap();
    l.write_all(b"hello").unwrap();
    let mut b = [0; 5];
    l.read_exact(&mut b).unwrap();
    std::process::Command::new("ip").args(["link", "set", "vcutA", "down"]).status().unwrap();
    let s = Instant::now();
    println!("{:?} after {:?}", l.read(&mut b), s.elapsed());
    println!("{}", l.diagnose());
}
