//! `democtl kubeconfig`: where an environment's kubeconfig is, for `export KUBECONFIG=$(democtl kubeconfig)`.

use clap::Args;
use serde_json::json;

use super::{NameArgs, Settings};
use crate::failure::{Failure, Kind};

#[derive(Debug, Args)]
pub(super) struct KubeconfigArgs {
    #[command(flatten)]
    name: NameArgs,
}

pub(super) fn run(args: &KubeconfigArgs, settings: &Settings) -> Result<(), Failure> {
    let environment = settings.home.pick(args.name.name.as_deref())?;
    let path = environment.kubeconfig();
    if !path.exists() {
        return Err(Failure::msg(Kind::Infrastructure, format!("{} has no kubeconfig yet", environment.name))
            .hint(format!("democtl setup --name {} with its profile goes on where it stopped", environment.name)));
    }
    let path = path.display().to_string();
    settings.result(&json!({ "kubeconfig": path }), || path.clone())
}
