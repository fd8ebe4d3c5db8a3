//! `democtl tune`: the cheapest policy that passes, searched by forecast; exit 99 when none is found.

use std::{
    fs,
    num::NonZero,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use democtl_core::{
    capacity, profile,
    sim::{Fault, Options, forecast},
    tune::{Plan, Search, Space, difference},
    units::parse_duration,
};

use super::{SetArgs, Settings, SubjectArgs, parse_share};
use crate::{
    environment::{self, Request, write_whole},
    failure::{Failure, Kind, OrFail as _},
    report::tune::{self as report, Tuned},
    target::Target,
    tune::Job,
    ui,
};

#[derive(Debug, Args)]
pub(super) struct TuneArgs {
    #[command(flatten)]
    profile: SubjectArgs,
    #[command(flatten)]
    sets: SetArgs,
    /// Leave this and what is below it as it is, such as pool.main; may be repeated
    #[arg(long, value_name = "PATH")]
    keep: Vec<String>,
    /// Only this test; may be repeated
    #[arg(long, value_name = "NAME")]
    test: Vec<String>,
    /// What goes wrong, in time since the run's beginning; may be repeated
    #[arg(long, value_name = "node-lost@T|zone-short@T+D|redis-pause@T+D|slow-registry=D")]
    fault: Vec<Fault>,
    /// So many seeds that each policy must pass
    #[arg(long, value_name = "N", default_value = "20")]
    seeds: NonZero<u32>,
    /// A policy passes when this share of the seeds does
    #[arg(long, default_value_t = 0.95, value_name = "SHARE", value_parser = parse_share)]
    probability: f64,
    /// Leave this share of every threshold's limit unused, since a forecast is no run
    #[arg(long, default_value_t = 0.1, value_name = "SHARE", value_parser = parse_share)]
    margin: f64,
    /// Search at this speed, which is quicker and harder on a policy than 1; it is proven at both
    #[arg(long, default_value_t = 15.0, value_name = "N")]
    speed: f64,
    /// Let runs begin at any moment of the autoscalers' rounds, not when a fresh environment would
    #[arg(long)]
    any_phase: bool,
    /// How long it may take [default: 2m, without limit with --forecasts]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    time: Option<Duration>,
    /// So many forecasts at most; with this and no --time the same seed finds the same
    #[arg(long, value_name = "N")]
    forecasts: Option<NonZero<u64>>,
    /// Seed of the search, and the first one of the forecasts
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// Write the policy as a profile that extends the given one
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// How long a search takes when nothing else is said.
const TIME: Duration = Duration::from_secs(120);
/// The first line of what this command writes; no other file is overwritten.
const MADE_BY: &str = "Made by democtl tune";

pub(super) fn run(args: &TuneArgs, settings: &Settings) -> Result<(), Failure> {
    let name = args.profile.name(settings);
    let (request, profile) = Request::resolve(name, args.sets.set.clone(), Target::Local, args.speed, args.seed)?;
    let options = Options {
        tests: args.test.clone(),
        seed: args.seed,
        speed: args.speed,
        settle: false,
        faults: args.fault.clone(),
        any_phase: args.any_phase,
        ..Options::default()
    };
    // What cannot be forecast as it is cannot be tuned either, and is told at once.
    forecast(&profile, &options).map_err(super::forecast::refused)?;
    if let Some(out) = &args.out {
        check_out(out, name, args)?;
    }
    let space = Space::of(&profile, &args.keep).map_err(|error| Failure::msg(Kind::Usage, error))?;
    let count = u64::from(args.seeds.get());
    let plan = Plan {
        seeds: (0..count).map(|number| args.seed.wrapping_add(number)).collect(),
        probability: args.probability,
        forecasts: args.forecasts.map(NonZero::get),
        seed: args.seed,
    };
    let mut search = Search::new(space, plan);
    let roomy = capacity::has_room(&profile);
    let job = Job { request: &request, options, margin: args.margin, roomy };
    let time = args.time.or_else(|| args.forecasts.is_none().then_some(TIME));
    job.search(&mut search, time, |passed, policy, forecasts| ui::note(&report::progress(passed, policy, forecasts)));
    let others: Vec<u64> = (0..2 * count).map(|number| args.seed.wrapping_add(count + number)).collect();
    let (best, unproven) = job.prove(&search.found(), &others, args.probability);
    let (best, proofs) = best.unzip();
    let mut tuned = Tuned {
        profile: profile.name.clone(),
        seeds: args.seeds.get(),
        probability: args.probability,
        margin: args.margin,
        speed: args.speed,
        forecasts: search.forecasts(),
        policies: search.policies(),
        given: search.given(),
        front: search.front(),
        best,
        unproven,
        proofs: proofs.unwrap_or_default(),
        toml: None,
    };
    tuned.toml = tuned.best.as_ref().map(|best| text(name, args, &best.sets, &report::sentence(&tuned)));
    if let (Some(out), Some(text)) = (&args.out, &tuned.toml) {
        environment::check_profile(out, text)?;
        write_whole(out, text.as_bytes()).or_fail(Kind::Other, || format!("cannot write {}", out.display()))?;
        ui::note(&format!("written to {}", out.display()));
    }
    settings.result(&tuned, || report::human(&tuned))?;
    if tuned.best.is_some() {
        return Ok(());
    }
    let message = if unproven > 0 {
        format!("{unproven} policies passed the seeds of the search, and none of them passed others")
    } else {
        format!("none of {} policies was seen to pass as asked within {} forecasts", tuned.policies, tuned.forecasts)
    };
    Err(Failure::msg(Kind::Threshold, message).hint(
        "more --time or --forecasts, a smaller --margin or --probability; what --keep holds may be what is needed",
    ))
}

/// The profile that makes the policy of the given one.
fn text(name: &str, args: &TuneArgs, found: &[(String, String)], sentence: &str) -> String {
    let builtin = profile::builtin(name).is_some();
    let extends = match std::path::absolute(name) {
        // Read from wherever the new file lies.
        Ok(path) if !builtin && args.out.is_some() => path.display().to_string(),
        _ => name.to_owned(),
    };
    let sets: Vec<(String, String)> = args.sets.set.iter().chain(found).cloned().collect();
    difference(&extends, sentence, MADE_BY, &sets)
}

/// Refuses a file that could not be written, or not be read as a profile, before the search rather than after it.
fn check_out(out: &Path, name: &str, args: &TuneArgs) -> Result<(), Failure> {
    let old = fs::read_to_string(out).unwrap_or_default();
    if out.exists() && !old.starts_with(&format!("# {MADE_BY}")) {
        return Err(Failure::msg(Kind::Usage, format!("{} is there and was not written by tune", out.display()))
            .hint("give another file with --out"));
    }
    let dir = out.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !dir.is_dir() {
        return Err(Failure::msg(
            Kind::Usage,
            format!("{} cannot be written: there is no directory {}", out.display(), dir.display()),
        ));
    }
    let beside = "it extends the given profile: what that one names is looked for beside the new file too";
    environment::check_profile(out, &text(name, args, &[], "")).map(|_| ()).map_err(|failure| failure.hint(beside))
}
