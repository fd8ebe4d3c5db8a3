//! Which recorded run a command is about.

use std::path::{Path, PathBuf};

use super::Settings;
use crate::{
    environment::Environment,
    failure::{Failure, Kind, OrFail as _},
};

/// The directory of the run that is meant; none when a profile is.
pub(super) fn find(what: Option<&str>, name: Option<&str>, settings: &Settings) -> Result<Option<PathBuf>, Failure> {
    let Some(what) = what else {
        return latest(&settings.home.pick(name)?).map(Some);
    };
    if is_run(Path::new(what)) {
        return Ok(Some(PathBuf::from(what)));
    }
    let names = match name {
        Some(name) => vec![settings.home.pick(Some(name))?.name],
        None => settings.home.names().or_fail(Kind::Other, || "cannot list the environments".to_owned())?,
    };
    for environment in &names {
        let dir = settings.home.pick(Some(environment))?.runs_dir().join(what);
        if is_run(&dir) {
            return Ok(Some(dir));
        }
    }
    match name {
        Some(name) => Err(Failure::msg(Kind::Usage, format!("environment {name} has no run {what:?}"))
            .hint(format!("--name {name} alone takes its latest run"))),
        None => Ok(None),
    }
}

fn is_run(dir: &Path) -> bool {
    dir.join("events.jsonl").is_file()
}

fn latest(environment: &Environment) -> Result<PathBuf, Failure> {
    let runs = environment.runs_dir();
    let entries = std::fs::read_dir(&runs).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path());
    // Ids are moments: the greatest is the latest.
    entries.filter(|dir| is_run(dir)).max().ok_or_else(|| {
        Failure::msg(Kind::Usage, format!("environment {} has no runs", environment.name))
            .hint(format!("democtl run-tests --name {}", environment.name))
    })
}

/// The directory of a run by its directory or id; of the only environment's latest run where none is named.
pub(super) fn require(what: Option<&str>, name: Option<&str>, settings: &Settings) -> Result<PathBuf, Failure> {
    find(what, name, settings)?.ok_or_else(|| {
        let what = what.unwrap_or_default();
        Failure::msg(Kind::Usage, format!("there is no run {what:?}")).hint(looked_for(what, settings))
    })
}

/// Where a run was looked for that is not there.
pub(super) fn looked_for(what: &str, settings: &Settings) -> String {
    let names = settings.home.names().unwrap_or_default();
    if names.iter().any(|name| name == what) {
        return format!("{what} is an environment: --name {what} takes its latest run");
    }
    let environments = match names.as_slice() {
        [] => "no environment is set up".to_owned(),
        names => format!("no run of {} is called so", names.join(", ")),
    };
    format!("a run is given by its directory, which has events.jsonl, or by its id: {environments}")
}
