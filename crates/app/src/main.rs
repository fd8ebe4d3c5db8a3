//! `democtl-app ROLE`: a role of the demo app as a process of its own, for tests that kill it.

use std::process::ExitCode;

fn main() -> ExitCode {
    let run = democtl_app::Command::parse(std::env::args().skip(1)).and_then(democtl_app::main);
    match run {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "ended");
            ExitCode::FAILURE
        }
    }
}
