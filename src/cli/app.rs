//! `democtl app web|worker|redis`: a role of the demo app in this process, as the pods run it.

use clap::Args;

use crate::failure::{Failure, Kind, OrFail as _};

#[derive(Debug, Args)]
pub(super) struct AppArgs {
    /// The role and its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    role: Vec<String>,
}

pub(super) fn run(args: AppArgs) -> Result<(), Failure> {
    let command = democtl_app::Command::parse(args.role).or_fail(Kind::Usage, || "the app's role".to_owned())?;
    democtl_app::main(command).or_fail(Kind::Other, || "the app ended".to_owned())
}
