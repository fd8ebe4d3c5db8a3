//! The summary of a run and of a whole demo: every figure, serialised as `--output json` gives it.

use std::{collections::BTreeMap, time::Duration};

use democtl_core::{
    capacity,
    cost::{self, PriceKind},
    profile::Profile,
    timeline::{Counts, Moment},
    verdict::{TestResult, ThresholdResult, Verdict},
};
use serde::{Deserialize, Serialize};

/// One test in short.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TestSummary {
    /// Its name.
    pub name: String,
    /// Pass when every threshold held.
    pub verdict: Verdict,
    /// Requests finished.
    pub requests: u64,
    /// Share of them that failed, 0 to 1.
    pub failed_rate: f64,
    /// Requests per real second.
    pub rps: f64,
    /// Median latency, milliseconds.
    pub p50_ms: f64,
    /// 95th percentile, milliseconds.
    pub p95_ms: f64,
    /// 99th percentile, milliseconds.
    pub p99_ms: f64,
    /// Each threshold with what was measured.
    pub thresholds: Vec<ThresholdResult>,
}

impl TestSummary {
    /// The short form of a result.
    pub fn of(result: &TestResult) -> Self {
        Self {
            name: result.name.clone(),
            verdict: result.verdict,
            requests: result.total.requests,
            failed_rate: result.total.failed_rate,
            rps: result.total.rps,
            p50_ms: result.total.p50_ms,
            p95_ms: result.total.p95_ms,
            p99_ms: result.total.p99_ms,
            thresholds: result.thresholds.clone(),
        }
    }
}

/// What a run cost and what a month would.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// The run itself, in profile time, at list prices.
    pub run_usd: f64,
    /// A month of the profile's traffic.
    pub monthly_usd: f64,
    /// Dollars an hour before the run.
    pub hourly_before_usd: f64,
    /// Dollars an hour at the peak of nodes.
    pub hourly_peak_usd: f64,
    /// Dollars an hour at the end.
    pub hourly_after_usd: f64,
    /// What the month assumes.
    pub assumption: String,
    /// Whether the VMs' prices are of now, of some time ago, or of the table in this binary.
    #[serde(default)]
    pub prices: PriceKind,
}

impl Cost {
    /// What a run cost that stands at `after`, and a month whose peak is the run's.
    pub fn of(profile: &Profile, after: &Moment) -> Self {
        let [start, end] = [after.began_s, after.at_s].map(Duration::from_secs_f64);
        let spent = cost::run(&profile.prices, &after.node_steps, start, end);
        let peak = capacity::spread(profile, after.peak.nodes.max(0) as u32);
        let month = cost::project(profile, Some(&peak));
        let dollars = |of: fn(&cost::RunCost) -> f64| spent.as_ref().map_or(f64::NAN, of);
        Self {
            run_usd: dollars(|cost| cost.run_usd),
            hourly_before_usd: dollars(|cost| cost.before_per_hour),
            hourly_peak_usd: dollars(|cost| cost.peak_per_hour),
            hourly_after_usd: dollars(|cost| cost.after_per_hour),
            monthly_usd: month.as_ref().map_or(f64::NAN, |month| month.monthly_usd),
            prices: profile.prices.kind,
            assumption: month.map_or_else(String::new, |month| month.assumption),
        }
    }
}

/// One run of a suite on one environment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunSummary {
    /// Environment's name.
    pub environment: String,
    /// Profile's name.
    pub profile: String,
    /// Where it ran.
    pub target: String,
    /// Durations were divided by this.
    pub speed: f64,
    /// Seed of every draw.
    pub seed: u64,
    /// Load engine.
    pub engine: String,
    /// Pass when every test passed.
    pub verdict: Verdict,
    /// The tests in order.
    pub tests: Vec<TestSummary>,
    /// Nodes and pods before the first test.
    pub baseline: Counts,
    /// Greatest numbers of ready nodes and pods.
    pub peak: Counts,
    /// Nodes and pods at the end.
    pub r#final: Counts,
    /// Profile seconds from the last test's end back to the baseline, where that was watched and reached.
    pub settled_s: Option<f64>,
    /// Changes of replicas and of nodes.
    pub scaling_events: u32,
    /// Workloads with pods that no node could hold, and the scheduler's words.
    pub unschedulable: BTreeMap<String, String>,
    /// Money.
    pub cost: Cost,
    /// What a reader must know of how the figures came about.
    pub notes: Vec<String>,
    /// The run's directory.
    pub directory: String,
}

/// Two systems side by side: the first against the last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Profile compared against.
    pub from: String,
    /// Profile compared.
    pub to: String,
    /// Monthly dollars saved by `to`.
    pub monthly_saving_usd: f64,
    /// The same as a share of `from`, 0 to 1.
    pub monthly_saving_rate: f64,
    /// Verdicts of both.
    pub verdicts: (Verdict, Verdict),
}

/// Everything that a demo showed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DemoSummary {
    /// One entry for each profile, in the order in which they ran.
    pub environments: Vec<RunSummary>,
    /// First against last, when there are two or more.
    pub comparison: Option<Comparison>,
    /// Real seconds from the first setup to the end of the last cleanup.
    pub duration_s: f64,
}

impl Comparison {
    /// Compares the first with the last run.
    pub fn of(runs: &[RunSummary]) -> Option<Self> {
        let [first, .., last] = runs else { return None };
        let saving = first.cost.monthly_usd - last.cost.monthly_usd;
        Some(Self {
            from: first.profile.clone(),
            to: last.profile.clone(),
            monthly_saving_usd: saving,
            monthly_saving_rate: if first.cost.monthly_usd > 0.0 { saving / first.cost.monthly_usd } else { 0.0 },
            verdicts: (first.verdict, last.verdict),
        })
    }
}
