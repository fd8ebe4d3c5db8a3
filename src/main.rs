//! The `democtl` binary.
fn main() {}
