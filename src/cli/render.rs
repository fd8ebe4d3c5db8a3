//! `democtl render`: the manifests that setup delivers, as files or on standard output.

use std::path::PathBuf;

use clap::Args;
use democtl_core::render;
use serde_json::json;

use super::{ProfileArgs, Settings};
use crate::{VERSION, delivery::apply, environment::Request, failure::Failure, target::Target, ui};

#[derive(Debug, Args)]
pub(super) struct RenderArgs {
    #[command(flatten)]
    profile: ProfileArgs,
    /// Write one file for each object into this directory; YAML on standard output when left out
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub(super) fn run(args: &RenderArgs, settings: &Settings) -> Result<(), Failure> {
    let (_, profile) = Request::resolve(&args.profile.profile, args.profile.sets.set.clone(), Target::Local, 1.0, 1)?;
    let manifests = render::manifests(&profile, VERSION);
    if let Some(dir) = &args.out {
        apply::write_manifests(dir, &manifests)?;
        ui::note(&format!("{} manifests in {}", manifests.len(), dir.display()));
        return Ok(());
    }
    let files = apply::manifest_files(&manifests)?;
    settings.result(&json!({ "manifests": manifests }), || {
        files.iter().map(|(_, yaml)| yaml.trim_end()).collect::<Vec<_>>().join("\n---\n")
    })
}
