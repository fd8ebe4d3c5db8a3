//! `democtl completions`: shell completions on standard output.

use clap::{Args, Command};
use clap_complete::Shell;

use crate::{failure::Failure, ui};

#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    /// For which shell
    shell: Shell,
}

pub(super) fn run(args: &CompletionsArgs, command: &mut Command) -> Result<(), Failure> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, command, "democtl", &mut text);
    Ok(ui::print(&String::from_utf8_lossy(&text))?)
}
