//! `democtl local-cluster`: this process is the local target's cluster until it is told to end.

use std::path::PathBuf;

use clap::Args;
use democtl_local::config::Config;

use crate::failure::{Failure, Kind, OrFail as _};

#[derive(Debug, Args)]
pub(super) struct LocalClusterArgs {
    /// The cluster's directory; its cluster.json tells the rest
    #[arg(long)]
    dir: PathBuf,
}

pub(super) fn run(args: &LocalClusterArgs) -> Result<(), Failure> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).with_max_level(tracing::Level::INFO).init();
    let path = args.dir.join("cluster.json");
    let what = || format!("cannot read {}", path.display());
    let text = std::fs::read(&path).or_fail(Kind::Infrastructure, what)?;
    let config: Config = serde_json::from_slice(&text).or_fail(Kind::Infrastructure, what)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let served = runtime.block_on(democtl_local::serve(config));
    served.or_fail(Kind::Infrastructure, || "the local cluster ended".to_owned())
}
