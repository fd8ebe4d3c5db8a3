//! `democtl forecast`: the suite, or days of traffic, in virtual time; exit 99 when a threshold fails. Beside a recorded
//! run it compares and judges nothing.

use std::ops::Range;

use clap::Args;
use democtl_core::{
    fidelity::known,
    profile::Profile,
    sim::{self, Fault, ForecastError, Options},
    verdict::Verdict,
};

use super::{SetArgs, Settings, SubjectArgs, parse_share, runs};
use crate::{
    environment::Request,
    failure::{Failure, Kind},
    parallel,
    report::{
        against::{self, Against},
        forecast::{self, ForecastSummary, Seeds},
        recorded::{self, Recorded},
        summary::RunSummary,
    },
    target::Target,
};

#[derive(Debug, Args)]
pub(super) struct ForecastArgs {
    #[command(flatten)]
    profile: SubjectArgs,
    #[command(flatten)]
    sets: SetArgs,
    /// Put the forecast beside a recorded run, with its seed and speed, and its profile where none is given: a run's
    /// directory or id; exit 0 whatever differs. May be repeated for runs of one profile
    #[arg(long, value_name = "RUN", conflicts_with_all = ["test", "seed", "probability", "speed", "any_phase", "fault", "day", "month"])]
    against: Vec<String>,
    /// Only this test; may be repeated
    #[arg(long, value_name = "NAME")]
    test: Vec<String>,
    /// Seed of every draw
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// So many seeds, from --seed on: how probable each verdict is
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), conflicts_with_all = ["day", "month"])]
    seeds: Option<u32>,
    /// With --seeds: pass when this share of them does
    #[arg(long, default_value_t = 0.95, value_name = "SHARE", value_parser = parse_share, requires = "seeds")]
    probability: f64,
    /// Divide every duration of the suite and of the controllers by this; requests keep their own time
    #[arg(long, default_value_t = 1.0, value_name = "N")]
    speed: f64,
    /// Let the run begin at any moment of the autoscalers' rounds, not when a fresh environment would
    #[arg(long, conflicts_with_all = ["day", "month"])]
    any_phase: bool,
    /// What goes wrong, in time since the run's beginning; may be repeated
    #[arg(long, value_name = "node-lost@T|zone-short@T+D|redis-pause@T+D|slow-registry=D")]
    fault: Vec<Fault>,
    /// A day of the profile's traffic instead of the suite
    #[arg(long, conflicts_with_all = ["test", "month", "fault"])]
    day: bool,
    /// 30 days of the profile's traffic instead of the suite
    #[arg(long, conflicts_with_all = ["test", "fault"])]
    month: bool,
}

pub(super) fn run(args: ForecastArgs, settings: &Settings) -> Result<(), Failure> {
    if !args.against.is_empty() {
        return beside(&args, settings);
    }
    let name = args.profile.name(settings);
    let (_, profile) = Request::resolve(name, args.sets.set, Target::Local, args.speed, args.seed)?;
    let options = Options {
        tests: args.test,
        seed: args.seed,
        speed: args.speed,
        settle: true,
        faults: args.fault,
        any_phase: args.any_phase,
        ..Options::default()
    };
    if args.day || args.month {
        let days = if args.month { 30 } else { 1 };
        let forecast = sim::traffic(&profile, &options, days).map_err(refused)?;
        return settings.result(&forecast, || forecast::traffic(&profile, &forecast));
    }
    let (first, events) = one(&profile, &options)?;
    let seeds = match args.seeds {
        Some(count) if count > 1 => {
            let mut runs = vec![first.clone()];
            runs.extend(seeds(&options, 1..count, |options| Ok(one(&profile, options)?.0))?);
            Some(Seeds::of(&runs))
        }
        _ => None,
    };
    let summary = ForecastSummary { run: first, seeds, events };
    settings.result(&summary, || forecast::human(&summary, settings.style))?;
    judge(&summary, args.probability)
}

/// Recorded runs of one profile and their forecasts side by side.
fn beside(args: &ForecastArgs, settings: &Settings) -> Result<(), Failure> {
    let mut runs = Vec::new();
    let mut asked: Vec<Request> = Vec::new();
    for run in &args.against {
        let dir = runs::require(Some(run), None, settings)?;
        let recorded = Recorded::read(&dir)?;
        if recorded.tests.is_empty() {
            return Err(Failure::msg(Kind::Usage, format!("no test of the run {} has ended", dir.display()))
                .hint("democtl explain tells how far it came"));
        }
        asked.push(recorded::request(&dir)?);
        runs.push((dir.display().to_string(), recorded));
    }
    let request = &asked[0];
    let setting = |request: &Request| (request.sources.clone(), request.sets.clone(), request.speed.to_bits());
    if let Some(other) = asked.iter().position(|other| setting(other) != setting(request)) {
        return Err(Failure::msg(Kind::Usage, format!("{} and {} ran different profiles", runs[0].0, runs[other].0))
            .hint("--against takes runs of the same profile, --set and --speed"));
    }
    let sets = args.sets.set.clone();
    let other = args.profile.given().is_some() || !sets.is_empty();
    let profile = match args.profile.given() {
        Some(name) => Request::resolve(name, sets, Target::Local, request.speed, request.seed)?.1,
        None => Request { sets: [request.sets.clone(), sets].concat(), ..request.clone() }.profile()?,
    };
    let mut forecasts = Vec::new();
    for ((_, recorded), Request { seed, speed, .. }) in runs.iter().zip(&asked) {
        let mut known = known(&recorded.events, *seed);
        if other {
            // Its tests may take longer.
            known.begins.clear();
        }
        let options = Options {
            tests: recorded.tests.iter().map(|test| test.name.clone()).collect(),
            seed: *seed,
            speed: *speed,
            settle: recorded.settled(),
            known: Some(known),
            ..Options::default()
        };
        forecasts.extend(seeds(&options, 0..args.seeds.unwrap_or(1), |options| {
            sim::forecast(&profile, options).map_err(refused)
        })?);
    }
    let against = Against::new(&runs, request, &profile, &forecasts);
    settings.result(&against, || against::human(&against, settings.style))
}

fn one(profile: &Profile, options: &Options) -> Result<(RunSummary, Vec<democtl_core::event::Event>), Failure> {
    let forecast = sim::forecast(profile, options).map_err(refused)?;
    Ok((forecast::summary(profile, options, &forecast), forecast.events))
}

/// A forecast of each seed, counted from the options' own, on all cores.
fn seeds<T: Send>(
    options: &Options,
    numbers: Range<u32>,
    forecast: impl Fn(&Options) -> Result<T, Failure> + Sync,
) -> Result<Vec<T>, Failure> {
    let seeds: Vec<u64> = numbers.map(|number| options.seed.wrapping_add(u64::from(number))).collect();
    parallel::map(&seeds, |seed| forecast(&Options { seed: *seed, ..options.clone() })).into_iter().collect()
}

pub(super) fn refused(error: ForecastError) -> Failure {
    match error {
        ForecastError::UnknownTest(error) => error.into(),
        error => Failure::new(Kind::Usage, error),
    }
}

fn judge(summary: &ForecastSummary, probability: f64) -> Result<(), Failure> {
    match &summary.seeds {
        Some(seeds) if seeds.passed >= probability => Ok(()),
        Some(seeds) => {
            let (passed, wanted) = (100.0 * seeds.passed, 100.0 * probability);
            Err(Failure::msg(Kind::Threshold, format!("{passed:.0} % of the seeds pass, {wanted:.0} % were asked for")))
        }
        None if summary.run.verdict == Verdict::Pass => Ok(()),
        None => {
            let failed = summary.run.tests.iter().filter(|test| test.verdict == Verdict::Fail);
            let names: Vec<_> = failed.map(|test| test.name.as_str()).collect();
            Err(Failure::msg(Kind::Threshold, format!("thresholds failed in {}", names.join(", "))))
        }
    }
}
