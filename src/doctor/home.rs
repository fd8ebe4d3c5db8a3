//! The home directory, and what is left in it of environments that were not removed.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use chrono::{DateTime, Utc};
use democtl_core::units::Bytes;

use super::{Wanted, existing};
use crate::{
    environment::Environment,
    failure::Failure,
    ledger::{Effect, Step},
    target::{Infra, State, Target, azure::preflight::Check, local},
};

/// Room that a setup should have: journals and runs; on azure the provider too, which Terraform unpacks.
const ROOM: u64 = 100 << 20;
const ROOM_AZURE: u64 = 1 << 30;

/// Whether environments can be kept there: writable, room, readable by its owner only.
pub(super) fn directory(home: &Path, target: Target) -> Vec<Check> {
    let Some(there) = existing(home) else {
        return vec![Check::refused("home", format!("nothing above {} is there", home.display()), OTHER_HOME)];
    };
    let at = home.display();
    let writable = match tempfile::tempfile_in(there) {
        Ok(_) if there == home => Check::ok("home", format!("{at} can be written")),
        Ok(_) => Check::ok("home", format!("{at} is not there yet and can be made")),
        Err(error) => Check::refused("home", format!("{} cannot be written: {error}", there.display()), OTHER_HOME),
    };
    let mut checks = vec![writable];
    checks.push(space(there, target));
    let open: Vec<String> = readable_by_others(home).iter().map(|path| path.display().to_string()).collect();
    if let [first, rest @ ..] = open.as_slice() {
        let more = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
        let remedy = format!("chmod -R go= {}", open.join(" "));
        checks.push(Check::warning("permissions", format!("others can read {first}{more}"), remedy));
    }
    checks
}

const OTHER_HOME: &str = "choose another with --home DIR or DEMOCTL_HOME";

fn space(dir: &Path, target: Target) -> Check {
    let needed = if target == Target::Azure { ROOM_AZURE } else { ROOM };
    match rustix::fs::statvfs(dir) {
        Err(error) => Check::warning("space", format!("not known: {error}"), "df"),
        Ok(found) => {
            let free = found.f_bavail.saturating_mul(found.f_frsize);
            let (free_text, needed_text) = (rounded(free), rounded(needed));
            if free >= needed {
                Check::ok("space", format!("{free_text} free"))
            } else {
                let remedy = "runs that are not needed any more lie in environments/*/runs";
                Check::warning("space", format!("{free_text} free, {needed_text} should be"), remedy)
            }
        }
    }
}

/// In whole MiB or GiB.
fn rounded(bytes: u64) -> String {
    let unit = if bytes >= 10 << 30 { 1 << 30 } else { 1 << 20 };
    Bytes((bytes / unit * unit) as i64).to_string()
}

/// Directories of environments that others can look into: they hold credentials.
fn readable_by_others(home: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(home.join("environments")).into_iter().flatten().filter_map(Result::ok);
    let open = |path: &PathBuf| {
        fs::metadata(path).is_ok_and(|found| found.is_dir() && found.permissions().mode().trailing_zeros() < 6)
    };
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).filter(open).collect();
    paths.sort();
    paths
}

/// How the environments stand; one that is whole is no line of its own.
pub(super) async fn environments(wanted: &Wanted<'_>) -> Vec<Check> {
    let names = match wanted.home.names() {
        Ok(names) => names,
        Err(error) => return vec![Check::refused("environments", format!("cannot be listed: {error}"), OTHER_HOME)],
    };
    let mut checks = vec![match names.as_slice() {
        [] => Check::ok("environments", "none is set up"),
        names => Check::ok("environments", format!("{}: {}", names.len(), names.join(", "))),
    }];
    for name in &names {
        let cleanup = format!("democtl cleanup --name {name}");
        let problem = match wanted.home.pick(Some(name)) {
            Ok(environment) => problem(&environment, wanted).await.unwrap_or_else(|failure| Some(failure.to_string())),
            Err(failure) => Some(failure.to_string()),
        };
        checks.extend(problem.map(|found| {
            let found = found.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
            Check::warning("environments", format!("{name}: {found}"), cleanup)
        }));
    }
    checks.extend(orphans(wanted.home.path(), &names));
    checks
}

/// What is wrong with an environment, in words.
async fn problem(environment: &Environment, wanted: &Wanted<'_>) -> Result<Option<String>, Failure> {
    let Some(request) = environment.request()? else {
        return Ok(Some("nothing was asked for: a setup ended before its first act".to_owned()));
    };
    let ledger = environment.ledger()?;
    match ledger.standing(Effect::Cluster) {
        None if ledger.entries().is_empty() => return Ok(Some("a setup ended before its first act".to_owned())),
        None => return Ok(Some("a cleanup did not end".to_owned())),
        Some(Step::Begun) => return Ok(Some("a setup did not end; setup goes on where it stopped".to_owned())),
        Some(_) => {}
    }
    if let Some(place) = &request.azure
        && DateTime::parse_from_rfc3339(&place.expires_at).is_ok_and(|end| end < Utc::now())
    {
        return Ok(Some(format!("it expired at {} and costs money until it is removed", place.expires_at)));
    }
    // Another target's login may not be there, and is not what was asked for.
    if request.target != wanted.target {
        return Ok(None);
    }
    let infra = Infra::of(environment, Some(&request), wanted.context)?;
    Ok(match infra.describe().await {
        State::Running { .. } => None,
        State::Down { reason } => Some(format!("its cluster is down: {reason}")),
        State::Absent => Some("its cluster is gone".to_owned()),
    })
}

/// Processes of clusters whose environment is not there any more.
fn orphans(home: &Path, names: &[String]) -> Vec<Check> {
    let environments = home.join("environments");
    let orphan = |dir: &Path| {
        let below = dir.strip_prefix(&environments).ok()?;
        let name = below.components().next()?.as_os_str().to_str()?;
        (!names.iter().any(|known| known == name)).then(|| name.to_owned())
    };
    let found = local::processes().into_iter().filter_map(|(pid, dir)| Some((pid, orphan(&dir)?)));
    let check = |(pid, name)| {
        Check::warning(
            "processes",
            format!("process {pid} of an environment {name} that is gone"),
            format!("kill {pid}"),
        )
    };
    found.map(check).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::azure::preflight::Standing;

    #[test]
    fn a_home_that_is_not_there_can_be_made_and_an_open_one_is_told() -> std::io::Result<()> {
        let root = tempfile::tempdir()?;
        let home = root.path().join("not/there");
        let found = directory(&home, Target::Local);
        assert_eq!(found[0].standing, Standing::Ok, "{found:?}");
        assert!(found[0].found.ends_with("is not there yet and can be made"), "{found:?}");
        let open = home.join("environments/open");
        fs::create_dir_all(&open)?;
        fs::set_permissions(&open, fs::Permissions::from_mode(0o755))?;
        let closed = home.join("environments/closed");
        fs::create_dir_all(&closed)?;
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o700))?;
        let found = directory(&home, Target::Local);
        let last = found.last().expect("there are checks");
        assert_eq!((last.what.as_str(), last.standing), ("permissions", Standing::Warning));
        assert_eq!(last.found, format!("others can read {}", open.display()));
        Ok(())
    }

    #[test]
    fn room_reads_in_whole_units() {
        assert_eq!(rounded((3 << 20) + 17), "3Mi");
        assert_eq!(rounded((12 << 30) + 17), "12Gi");
    }
}
