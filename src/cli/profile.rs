//! `democtl profile list|show|check`.

use std::fmt::Write as _;

use clap::{Args, Subcommand};
use democtl_core::profile::lint;
use serde_json::json;

use super::{SetArgs, Settings};
use crate::{environment::Request, failure::Failure, report::explain as report, target::Target};

#[derive(Debug, Subcommand)]
pub(super) enum ProfileCommand {
    /// The built-in profiles
    List,
    /// A profile as TOML, with all that it extends and every override; as JSON with every default too
    Show(OneArgs),
    /// Check a profile: errors and warnings with line, column and hint
    Check(OneArgs),
}

#[derive(Debug, Args)]
pub(super) struct OneArgs {
    /// A built-in profile's name or a file's path
    profile: String,
    #[command(flatten)]
    sets: SetArgs,
}

pub(super) fn run(command: ProfileCommand, settings: &Settings) -> Result<(), Failure> {
    match command {
        ProfileCommand::List => list(settings),
        ProfileCommand::Show(args) => {
            let (request, profile) = Request::resolve(&args.profile, args.sets.set, Target::Local, 1.0, 1)?;
            let text = request.merged()?;
            settings.result(&profile, || text)
        }
        ProfileCommand::Check(args) => {
            let (_, profile) = Request::resolve(&args.profile, args.sets.set, Target::Local, 1.0, 1)?;
            let lints = lint(&profile);
            let value = json!({ "profile": profile.name, "valid": true, "lints": lints });
            settings.result(&value, || report::lints(&format!("{} is valid", args.profile), &lints))
        }
    }
}

fn list(settings: &Settings) -> Result<(), Failure> {
    let mut profiles = Vec::new();
    for (name, _) in democtl_core::profile::BUILTIN_PROFILES {
        let (_, profile) = Request::resolve(name, Vec::new(), Target::Local, 1.0, 1)?;
        profiles.push((name, profile.description));
    }
    let value: Vec<_> =
        profiles.iter().map(|(name, description)| json!({ "name": name, "description": description })).collect();
    settings.result(&value, || {
        profiles.iter().fold(String::new(), |mut text, (name, description)| {
            let _ = writeln!(text, "{name:22}  {description}");
            text
        })
    })
}
