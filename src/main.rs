//! The `democtl` binary: parse, run, exit.

use std::process::ExitCode;

fn main() -> ExitCode {
    democtl::cli::main(std::env::args_os())
}
