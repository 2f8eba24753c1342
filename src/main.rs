//! The `drvdispatch` command.
fn main() {}
