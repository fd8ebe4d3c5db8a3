//! What a search may change in a profile, and between which bounds.
//!
//! Each knob is one path of the profile with the values that it may take, in order: a step to a neighbour is a small change.
//! Bounds come from the profile itself: a pod requests at least what it uses when it is full, a saturation trigger is
//! offered only where none is. What the product says of its pods (concurrency, queue, batch) is not a policy and stays.

use super::text;
use crate::{
    capacity, catalog,
    profile::{PolicyKind, Pool, PoolMode, Profile, Role, Scaling, Trigger, Workload},
};

/// A policy: for each knob the number of its value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Candidate(pub(super) Vec<u8>);

/// One changed setting, for people.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Change {
    /// Path in the profile.
    pub path: String,
    /// What the given profile has.
    pub from: String,
    /// What the policy has.
    pub to: String,
}

/// Why there is nothing to search.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpaceError {
    /// No knob at all, or all are kept.
    #[error("profile `{0}` has nothing to tune")]
    Nothing(String),
    /// A path to keep that no knob has.
    #[error("`{path}` is nothing that is tuned; that is {known}")]
    Unknown {
        /// The path.
        path: String,
        /// The knobs.
        known: String,
    },
}

/// Every knob of a profile.
#[derive(Debug, Clone)]
pub struct Space {
    pub(super) knobs: Vec<Knob>,
    /// Workloads that scale, with their triggers.
    scaled: Vec<(String, Vec<Trigger>)>,
}

/// One setting that may be changed.
#[derive(Debug, Clone)]
pub(super) struct Knob {
    path: String,
    pub(super) what: What,
    pub(super) values: Vec<String>,
    /// The number of the given value.
    pub(super) given: u8,
}

/// How a knob changes the profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// The value stands at the path.
    Value,
    /// The value is a trigger's own target.
    Target { scaled: usize, trigger: usize },
    /// The value is the target of a trigger that is added: requests in flight per pod.
    Saturation { scaled: usize },
    /// The value is the percent per 15 s of the only rule by which a workload grows.
    Growth,
}

impl Knob {
    /// A value, for people.
    fn told(&self, value: &str) -> String {
        match self.what {
            What::Growth if value != GIVEN => format!("{value} % every 15s"),
            _ => value.trim_matches('"').to_owned(),
        }
    }
}

/// Values with no meaning to add: the given profile's.
const GIVEN: &str = "as given";
const NONE: &str = "none";
/// Counts that are tried.
const COUNTS: [u32; 26] =
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 64, 80, 100, 150, 200, 400, 800];
/// CPU requests that are tried, milli.
const MILLIS: [i64; 17] = [50, 100, 150, 200, 250, 300, 400, 500, 600, 750, 1000, 1500, 2000, 3000, 4000, 6000, 8000];
/// Memory requests that are tried, MiB.
const MEBIBYTES: [i64; 11] = [128, 256, 384, 512, 768, 1024, 1536, 2048, 4096, 8192, 12_288];
/// Percent that are tried for resource triggers.
const PERCENT: [u32; 7] = [30, 40, 50, 60, 70, 80, 90];
/// Shares of a query's threshold that are tried.
const SHARES: [f64; 9] = [0.1, 0.2, 0.35, 0.5, 0.7, 0.85, 1.25, 1.5, 2.0];
/// Shares of a pod's concurrency at which it may count as saturated, percent.
const SATURATION: [u32; 8] = [30, 40, 50, 60, 70, 80, 90, 100];
/// Growth that is tried, percent per 15 s.
const GROWTH: [u32; 4] = [100, 200, 400, 900];
/// Windows of scaling down that are tried, seconds.
const WINDOWS: [u32; 5] = [60, 120, 180, 300, 600];
/// A request leaves so much beyond the use of a full pod, percent.
const RESERVE: i64 = 10;

impl Space {
    /// The knobs of a profile but those at or below the paths to keep.
    ///
    /// # Errors
    /// Nothing is left, or a path to keep names none.
    pub fn of(profile: &Profile, keep: &[String]) -> Result<Self, SpaceError> {
        let mut space = Self { knobs: Vec::new(), scaled: Vec::new() };
        for pool in &profile.pools {
            space.pool(pool);
        }
        let has_prometheus = profile.workloads.iter().any(|workload| matches!(workload.role, Role::Prometheus(_)));
        for workload in profile.workloads.iter().filter(|w| matches!(w.role, Role::Web(_) | Role::Worker(_))) {
            space.requests(workload);
            match &workload.scaling {
                Some(scaling) => space.scaling(workload, scaling, has_prometheus),
                None => space.counts(&format!("workload.{}.replicas", workload.name), workload.replicas, 1),
            }
        }
        space.knobs.retain(|knob| knob.values.len() > 1);
        let known = space.knobs.iter().map(|knob| knob.path.clone()).collect::<Vec<_>>();
        for path in keep {
            if !known.iter().any(|knob| is_below(knob, path)) {
                return Err(SpaceError::Unknown { path: path.clone(), known: known.join(", ") });
            }
        }
        space.knobs.retain(|knob| !keep.iter().any(|path| is_below(&knob.path, path)));
        if space.knobs.is_empty() { Err(SpaceError::Nothing(profile.name.clone())) } else { Ok(space) }
    }

    /// The given profile's policy.
    pub fn given(&self) -> Candidate {
        Candidate(self.knobs.iter().map(|knob| knob.given).collect())
    }

    /// Paths that may be changed, and how many values each has.
    pub fn paths(&self) -> impl Iterator<Item = (&str, usize)> {
        self.knobs.iter().map(|knob| (knob.path.as_str(), knob.values.len()))
    }

    /// The overrides that make the given profile this policy's.
    pub fn sets(&self, candidate: &Candidate) -> Vec<(String, String)> {
        let mut sets = Vec::new();
        let mut scaled = self.scaled.clone();
        for (knob, value) in self.changed(candidate) {
            match knob.what {
                What::Value => sets.push((knob.path.clone(), value.to_owned())),
                What::Target { scaled: workload, trigger } => retarget(&mut scaled[workload].1[trigger], value),
                What::Saturation { scaled: workload } => scaled[workload].1.extend(saturation(value)),
                What::Growth => {
                    let policies = format!("[{{ percent = {value}, period = \"15s\" }}]");
                    sets.push((format!("{}.window", knob.path), "\"0s\"".to_owned()));
                    sets.push((format!("{}.policies", knob.path), policies));
                }
            }
        }
        for ((workload, triggers), (_, given)) in scaled.iter().zip(&self.scaled) {
            if triggers != given {
                sets.push((format!("workload.{workload}.scaling.trigger"), text::triggers(triggers)));
            }
        }
        sets
    }

    /// What a policy changes, for people.
    pub fn changes(&self, candidate: &Candidate) -> Vec<Change> {
        let change = |(knob, value): (&Knob, &str)| Change {
            path: knob.path.clone(),
            from: knob.told(&knob.values[usize::from(knob.given)]),
            to: knob.told(value),
        };
        self.changed(candidate).map(change).collect()
    }

    fn changed<'a>(&'a self, candidate: &'a Candidate) -> impl Iterator<Item = (&'a Knob, &'a str)> {
        let pairs = self.knobs.iter().zip(&candidate.0);
        pairs
            .filter(|(knob, value)| knob.given != **value)
            .map(|(knob, value)| (knob, knob.values[usize::from(*value)].as_str()))
    }

    fn knob(&mut self, path: String, what: What, values: Vec<String>, given: &str) {
        if let Some(given) = values.iter().position(|value| value == given) {
            self.knobs.push(Knob { path, what, values, given: given as u8 });
        }
    }

    /// Counts around the given one.
    fn counts(&mut self, path: &str, given: u32, least: u32) {
        let range = least.max(given / 4)..=(given * 3).max(8);
        let values = ladder(given, COUNTS.into_iter().filter(|count| range.contains(count)));
        self.knob(path.to_owned(), What::Value, values, &given.to_string());
    }

    fn pool(&mut self, pool: &Pool) {
        let path = |key: &str| format!("pool.{}.{key}", pool.name);
        // What a burstable size has saved up is not modelled: it would look cheaper than it is.
        let is_burstable = |name: &str| name.starts_with("Standard_B");
        let mut sizes: Vec<_> = catalog::VM_SIZES
            .into_iter()
            .filter(|size| size.name == pool.vm_size.name || !is_burstable(size.name))
            .collect();
        sizes.sort_by(|a, b| a.usd_per_hour.total_cmp(&b.usd_per_hour));
        let quoted = |name: &str| format!("\"{name}\"");
        let names = sizes.iter().map(|size| quoted(size.name)).collect();
        self.knob(path("vm_size"), What::Value, names, &quoted(pool.vm_size.name));
        let least = u32::from(pool.mode == PoolMode::System);
        if pool.autoscaled {
            let range = least..=(pool.min * 3).max(6);
            let values = ladder(pool.min, COUNTS.into_iter().filter(|count| range.contains(count)));
            self.knob(path("min"), What::Value, values, &pool.min.to_string());
            self.counts(&path("max"), pool.max, least.max(1));
        } else {
            self.counts(&path("count"), pool.count, least);
        }
    }

    fn requests(&mut self, workload: &Workload) {
        let path = |key: &str| format!("workload.{}.requests.{key}", workload.name);
        let (requests, limits) = (workload.requests, workload.limits);
        let full = capacity::full_use(workload).map_or(requests.cpu.0, |full| full.0 * (100 + RESERVE) / 100);
        let millis = MILLIS.into_iter().filter(|milli| (full..=limits.cpu.0).contains(milli));
        let values = ladder(requests.cpu.0, millis).iter().map(|milli| format!("\"{milli}m\"")).collect();
        self.knob(path("cpu"), What::Value, values, &format!("\"{}m\"", requests.cpu.0));
        let full = (capacity::full_memory(workload).0 * (100 + RESERVE) / 100).max(workload.base_memory.0 * 2);
        let sizes = MEBIBYTES.into_iter().filter(|mib| (full..=limits.memory.0).contains(&(mib << 20)));
        let values = ladder(requests.memory.0 >> 20, sizes).iter().map(|mib| format!("\"{mib}Mi\"")).collect();
        self.knob(path("memory"), What::Value, values, &format!("\"{}Mi\"", requests.memory.0 >> 20));
    }

    fn scaling(&mut self, workload: &Workload, scaling: &Scaling, has_prometheus: bool) {
        let path = format!("workload.{}.scaling", workload.name);
        let range = scaling.min.min(1)..=(scaling.min * 4).max(8);
        let values = ladder(scaling.min, COUNTS.into_iter().filter(|count| range.contains(count)));
        self.knob(format!("{path}.min"), What::Value, values, &scaling.min.to_string());
        self.counts(&format!("{path}.max"), scaling.max, 1);
        let scaled = self.scaled.len();
        self.scaled.push((workload.name.clone(), scaling.triggers.clone()));
        for (trigger, given) in scaling.triggers.iter().enumerate() {
            if let Some((key, values, given)) = targets(given) {
                let path = format!("{path}.trigger.{trigger}.{key}");
                self.knob(path, What::Target { scaled, trigger }, values, &given);
            }
        }
        if let Role::Web(web) = &workload.role
            && has_prometheus
            && !scaling.triggers.iter().any(Trigger::sees_waiting)
        {
            let mut values = vec![NONE.to_owned()];
            values
                .extend(SATURATION.iter().map(|percent| (web.concurrency * percent).div_ceil(100).max(1).to_string()));
            values.dedup();
            self.knob(format!("{path}.trigger.in-flight"), What::Saturation { scaled }, values, NONE);
        }
        let mut growth: Vec<String> = GROWTH.iter().map(ToString::to_string).collect();
        let up = scaling.behavior.scale_up.as_ref();
        let only =
            up.filter(|rules| rules.window.unwrap_or(0) == 0).and_then(|rules| match rules.policies.as_slice() {
                [only] if only.kind == PolicyKind::Percent && only.period_seconds == 15 => Some(only.value.to_string()),
                _ => None,
            });
        let given = only.filter(|value| growth.contains(value)).unwrap_or_else(|| {
            growth.insert(0, GIVEN.to_owned());
            GIVEN.to_owned()
        });
        self.knob(format!("{path}.behavior.scale_up"), What::Growth, growth, &given);
        let window = scaling.behavior.scale_down.as_ref().and_then(|rules| rules.window).unwrap_or(300);
        let values = ladder(window, WINDOWS).iter().map(|seconds| format!("\"{seconds}s\"")).collect();
        self.knob(format!("{path}.behavior.scale_down.window"), What::Value, values, &format!("\"{window}s\""));
    }

    /// Policies that those who know the field would try first, each a step further than the one before: count what waits,
    /// grow at once, request less, request only what is used, keep the fewest nodes, allow more pods.
    pub(super) fn informed(&self) -> Vec<Candidate> {
        let mut candidate = self.given();
        let mut steps = Vec::new();
        let mut step = |change: &dyn Fn(&Knob) -> Option<usize>| {
            for (knob, value) in self.knobs.iter().zip(&mut candidate.0) {
                *value = change(knob).map_or(*value, |to| to.min(knob.values.len() - 1) as u8);
            }
            if !steps.contains(&candidate) {
                steps.push(candidate.clone());
            }
        };
        step(&|knob| matches!(knob.what, What::Saturation { .. }).then_some(SATURATION.len() / 2));
        step(&|knob| {
            let quick = knob.values.iter().position(|value| value == "400");
            quick.filter(|quick| knob.what == What::Growth && *quick > usize::from(knob.given))
        });
        step(&|knob| (knob.path.ends_with(".cpu") && knob.given > 0).then(|| usize::from(knob.given) - 1));
        step(&|knob| knob.path.ends_with(".cpu").then_some(0));
        step(&|knob| {
            let fewest = knob.path.ends_with(".min") || knob.path.ends_with(".count");
            (knob.path.starts_with("pool.") && fewest).then_some(0)
        });
        step(&|knob| knob.path.ends_with(".max").then(|| usize::from(knob.given) + 1));
        steps
    }
}

fn is_below(path: &str, above: &str) -> bool {
    path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Values in order, the given one among them.
fn ladder<T: Ord + ToString>(given: T, values: impl IntoIterator<Item = T>) -> Vec<String> {
    let mut values: Vec<T> = values.into_iter().chain([given]).collect();
    values.sort();
    values.dedup();
    values.iter().map(ToString::to_string).collect()
}

/// The key of a trigger's target with the values that it may take, and the given one.
fn targets(trigger: &Trigger) -> Option<(&'static str, Vec<String>, String)> {
    match trigger {
        Trigger::Cpu { utilization } | Trigger::Memory { utilization } => {
            Some(("utilization", ladder(*utilization, PERCENT), utilization.to_string()))
        }
        Trigger::Prometheus { threshold, .. } => {
            let mut values: Vec<f64> = SHARES.iter().map(|share| two_digits(threshold * share)).collect();
            values.push(*threshold);
            values.sort_by(f64::total_cmp);
            values.dedup();
            Some(("threshold", values.iter().map(ToString::to_string).collect(), threshold.to_string()))
        }
        Trigger::Redis { length, .. } => {
            let around = COUNTS.into_iter().filter(|count| (1.max(length / 5)..=length * 20).contains(count));
            Some(("length", ladder(*length, around), length.to_string()))
        }
        Trigger::Cron { .. } => None,
    }
}

/// Rounded to two significant digits.
fn two_digits(number: f64) -> f64 {
    let mut unit = 1.0;
    while number.abs() / unit >= 100.0 {
        unit *= 10.0;
    }
    // Below 10, tenths and hundredths: dividing by a power of ten keeps what is written short.
    let mut part = 1.0;
    while number.abs() > 0.0 && number.abs() * part < 10.0 && part < 1e6 {
        part *= 10.0;
    }
    if part > 1.0 { (number * part).round() / part } else { (number / unit).round() * unit }
}

fn retarget(trigger: &mut Trigger, value: &str) {
    match trigger {
        Trigger::Cpu { utilization: number }
        | Trigger::Memory { utilization: number }
        | Trigger::Redis { length: number, .. } => {
            *number = value.parse().unwrap_or(*number);
        }
        Trigger::Prometheus { threshold, .. } => *threshold = value.parse().unwrap_or(*threshold),
        Trigger::Cron { .. } => {}
    }
}

/// Requests in flight, per pod; none for the value that adds none.
fn saturation(value: &str) -> Option<Trigger> {
    Some(Trigger::Prometheus {
        name: Some("in-flight".to_owned()),
        server: "http://prometheus:9090".to_owned(),
        query: "sum(http_requests_in_flight)".to_owned(),
        threshold: value.parse().ok()?,
        activation: 0.0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn builtin(name: &str, sets: &[(&str, &str)]) -> Profile {
        let sets: Vec<_> = sets.iter().map(|(path, value)| ((*path).to_owned(), (*value).to_owned())).collect();
        Profile::load_builtin(name, &sets).expect("built in").expect("valid")
    }

    fn space(name: &str) -> Space {
        Space::of(&builtin(name, &[]), &[]).expect("there is something to tune")
    }

    #[test]
    fn knobs_of_the_profile_as_written() {
        let space = space("m3demo2-as-written");
        let knob = |knob: &Knob| format!("{} [{}] {}", knob.path, knob.given, knob.values.join(" "));
        insta::assert_snapshot!(space.knobs.iter().map(knob).collect::<Vec<_>>().join("\n"));
    }

    #[test]
    fn the_given_policy_changes_nothing_and_each_single_change_is_a_profile_of_its_own() {
        for name in ["m3demo1", "m3demo2", "m3demo2-as-written"] {
            let (space, given) = (space(name), builtin(name, &[]));
            assert!(space.sets(&space.given()).is_empty() && space.changes(&space.given()).is_empty());
            for (index, knob) in space.knobs.iter().enumerate() {
                for value in (0..knob.values.len() as u8).filter(|value| *value != knob.given) {
                    let mut candidate = space.given();
                    candidate.0[index] = value;
                    let sets = space.sets(&candidate);
                    assert_eq!(space.changes(&candidate).len(), 1, "{sets:?}");
                    match Profile::load_builtin(name, &sets).expect("built in") {
                        Ok(profile) => assert_ne!(profile, given, "{sets:?} changes nothing"),
                        // Bounds that cross, or a pod that fits no such node: refused as any such profile is.
                        Err(errors) => {
                            let text = errors.to_text(100);
                            assert!(text.contains("above max") || text.contains("offers"), "{sets:?}: {text}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_kept_is_no_knob_and_what_is_unknown_is_told() {
        let profile = builtin("m3demo2", &[]);
        let kept = Space::of(&profile, &["pool".into(), "workload.web.scaling.max".into()]).expect("the rest");
        assert!(kept.paths().all(|(path, _)| !path.starts_with("pool.") && path != "workload.web.scaling.max"));
        assert!(kept.paths().any(|(path, _)| path == "workload.web.scaling.min"));
        let wrong = Space::of(&profile, &["workload.web.scaling.ma".into()]).expect_err("no such knob");
        assert!(wrong.to_string().contains("workload.web.scaling.max, "), "{wrong}");
        let nothing = Space::of(&profile, &["pool".into(), "workload".into()]).expect_err("all is kept");
        assert_eq!(nothing.to_string(), "profile `m3demo2` has nothing to tune");
    }

    #[test]
    fn requests_cover_what_a_full_pod_uses() {
        let space = space("m3demo2");
        let least = |path: &str| space.knobs.iter().find(|knob| knob.path == path).map(|knob| knob.values[0].clone());
        // 10 places of 100 ms and 2 ms of CPU each use 200m, and a tenth is left.
        assert_eq!(least("workload.web.requests.cpu").as_deref(), Some("\"250m\""));
        // 100 messages of 1 ms in 400 ms use 250m.
        assert_eq!(least("workload.worker.requests.cpu").as_deref(), Some("\"300m\""));
    }

    #[test]
    fn numbers_have_two_digits() {
        let texts = [100.0 * 0.35, 6.0 * 0.35, 0.4321, 1234.0, 0.0].map(|number| two_digits(number).to_string());
        assert_eq!(texts, ["35", "2.1", "0.43", "1200", "0"]);
    }
}
