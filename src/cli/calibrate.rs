//! `democtl calibrate`: a recorded run's own durations as a profile that extends the one that ran.

use std::path::PathBuf;

use clap::Args;
use democtl_core::{
    calibrate::{calibrate, extending},
    caveats::caveats,
};

use super::{NameArgs, Settings, runs};
use crate::{
    environment::write_whole,
    failure::{Failure, Kind, OrFail as _},
    report::{
        calibrate::{self as report, Calibration},
        recorded::{self, Recorded},
    },
    ui,
};

#[derive(Debug, Args)]
pub(super) struct CalibrateArgs {
    /// A run's directory or id; the environment's latest run when left out
    #[arg(value_name = "RUN")]
    run: Option<String>,
    #[command(flatten)]
    name: NameArgs,
    /// Write the profile to this file instead of the standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(super) fn run(args: &CalibrateArgs, settings: &Settings) -> Result<(), Failure> {
    let dir = runs::require(args.run.as_deref(), args.name.name.as_deref(), settings)?;
    let recorded = Recorded::read(&dir)?;
    let request = recorded::request(&dir)?;
    let fits = calibrate(&recorded.recording());
    let (toml, left) = extending(&request.profile, &request.sets, &fits);
    let calibration = Calibration {
        run: dir.display().to_string(),
        profile: recorded.profile.name.clone(),
        fits,
        toml,
        left,
        notes: caveats(&recorded.recording()),
    };
    if let Some(out) = &args.out {
        if out.exists() {
            return Err(Failure::msg(
                Kind::Usage,
                format!("{} is there, and may be what the run was made from", out.display()),
            )
            .hint("give another file with --out, or remove that one"));
        }
        write_whole(out, calibration.toml.as_bytes())
            .or_fail(Kind::Other, || format!("cannot write {}", out.display()))?;
        ui::note(&format!("wrote {}", out.display()));
    }
    settings.result(&calibration, || report::human(&calibration, args.out.is_none()))
}
