//! `democtl explain`: why a run went as it did, or what a profile will not do as it seems to say.

use clap::Args;
use democtl_core::{
    explain::{Explanation, Moment, explain, explain_at},
    profile::{Lint, Profile, lint},
    sim,
    units::parse_duration,
};
use serde::Serialize;

use super::{NameArgs, SetArgs, Settings, runs};
use crate::{
    environment::{Request, is_profile},
    failure::{Failure, Kind, OrFail as _},
    report::{explain as report, recorded::Recorded},
    target::Target,
};

#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// A run's directory or id, or a profile's name or file; the environment's latest run when left out
    #[arg(value_name = "RUN|PROFILE", group = "subject")]
    what: Option<String>,
    /// The same, and never a run
    #[arg(long, short, value_name = "NAME|FILE", group = "subject")]
    profile: Option<String>,
    #[command(flatten)]
    name: NameArgs,
    #[command(flatten)]
    sets: SetArgs,
    /// Only this moment, since the run began in the profile's time, such as 02:15
    #[arg(long, value_name = "MM:SS", value_parser = parse_moment)]
    at: Option<f64>,
    /// Explain a forecast of the profile, not only its settings
    #[arg(long, requires = "subject")]
    forecast: bool,
}

#[derive(Debug, Serialize)]
struct OfRun<'a> {
    run: String,
    profile: &'a str,
    #[serde(flatten)]
    explanation: &'a Explanation,
}

#[derive(Debug, Serialize)]
struct OfMoment<'a> {
    run: String,
    profile: &'a str,
    #[serde(flatten)]
    moment: &'a Moment,
}

#[derive(Debug, Serialize)]
struct OfProfile<'a> {
    profile: &'a str,
    lints: &'a [Lint],
}

pub(super) fn run(args: ExplainArgs, settings: &Settings) -> Result<(), Failure> {
    let may_be_run = args.profile.is_none();
    let found = if may_be_run { runs::find(args.what.as_deref(), args.name.name.as_deref(), settings)? } else { None };
    if let Some(dir) = found {
        if !args.sets.set.is_empty() || args.forecast {
            return Err(Failure::msg(Kind::Usage, "--set and --forecast are for profiles, and this is a run")
                .hint("give a profile's name or file"));
        }
        return recorded(&Recorded::read(&dir)?, dir.display().to_string(), args.at, settings);
    }
    let name = args.profile.or(args.what).unwrap_or_default();
    let resolved = Request::resolve(&name, args.sets.set, Target::Local, 1.0, 1);
    let (_, profile) = resolved.map_err(|failure| {
        if may_be_run && !is_profile(&name) { failure.hint(runs::looked_for(&name, settings)) } else { failure }
    })?;
    if args.forecast {
        let options = sim::Options { settle: false, ..sim::Options::default() };
        let forecast = sim::forecast(&profile, &options).or_fail(Kind::Usage, || format!("no forecast of {name}"))?;
        let events = forecast.events;
        return recorded(&Recorded { profile, events, tests: forecast.tests }, "forecast".into(), args.at, settings);
    }
    if args.at.is_some() {
        return Err(Failure::msg(Kind::Usage, format!("--at is for runs, and {name} is a profile"))
            .hint(format!("democtl explain {name} --forecast --at MM:SS")));
    }
    settings_of(&profile, settings)
}

fn settings_of(profile: &Profile, settings: &Settings) -> Result<(), Failure> {
    let lints = lint(profile);
    let value = OfProfile { profile: &profile.name, lints: &lints };
    settings.result(&value, || report::lints(&profile.name, &lints))
}

fn recorded(recorded: &Recorded, run: String, at: Option<f64>, settings: &Settings) -> Result<(), Failure> {
    let recording = recorded.recording();
    let explanation = explain(&recording);
    let profile = recorded.profile.name.as_str();
    let Some(at_s) = at else {
        let value = OfRun { run, profile, explanation: &explanation };
        return settings.result(&value, || format!("{profile}, {}\n{}", value.run, report::human(&explanation)));
    };
    let end_s = recorded.events.last().map_or(0.0, |event| event.at_s);
    if at_s > end_s {
        return Err(Failure::msg(Kind::Usage, format!("--at {at_s} s is after the run's end at {end_s:.0} s")));
    }
    // A timeline's second is a whole one.
    let within = recorded.events.iter().map(|event| event.at_s).filter(|time| *time < at_s.floor() + 1.0);
    let moment = explain_at(&recording, &explanation, within.fold(at_s, f64::max));
    let value = OfMoment { run, profile, moment: &moment };
    settings.result(&value, || format!("{profile}, {}\n{}", value.run, report::moment(&moment)))
}

/// Seconds of `02:15`, `1:02:15`, or of a duration such as `135s`.
fn parse_moment(text: &str) -> Result<f64, String> {
    let text = text.trim().trim_start_matches('+');
    if !text.contains(':') {
        return parse_duration(text).map(|duration| duration.as_secs_f64()).map_err(|error| error.to_string());
    }
    let parts: Vec<&str> = text.split(':').collect();
    let number = |(index, part): (usize, &&str)| {
        part.parse::<u32>().ok().filter(|number| part.len() <= 4 && (index == 0 || *number < 60)).map(f64::from)
    };
    let numbers: Option<Vec<f64>> = parts.iter().enumerate().map(number).collect();
    match numbers.as_deref() {
        Some([minutes, seconds]) => Ok(60.0 * minutes + seconds),
        Some([hours, minutes, seconds]) => Ok(3600.0 * hours + 60.0 * minutes + seconds),
        _ => Err("it must be MM:SS or H:MM:SS, such as 02:15".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_as_clocks_or_durations() {
        let cases = [("02:15", 135.0), ("1:02:15", 3735.0), ("+00:38", 38.0), ("135s", 135.0), ("2m", 120.0)];
        for (text, seconds) in cases {
            assert_eq!(parse_moment(text), Ok(seconds), "{text}");
        }
        for wrong in ["02:75", "1:2:3:4", "", "soon", "02:", "-1:00"] {
            assert!(parse_moment(wrong).is_err(), "{wrong}");
        }
    }
}
