//! What monitoring knows and when: Prometheus' scrapes and queries, metrics-server's rounds.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use promql_parser::{
    label::METRIC_NAME,
    parser::{Expr, Offset},
    util::{ExprVisitor, walk_expr},
};

use super::{
    World,
    agenda::{Happening, Nanos},
    cluster::Phase,
};
use crate::{
    app::BUCKETS,
    profile::{Profile, Role, Trigger},
    promql::{
        self, Answer, Evaluator,
        series::{Labels, Sample, Storage},
    },
    render,
};

/// The controller manager's `--horizontal-pod-autoscaler-sync-period`, and metrics-server's `--metric-resolution`.
pub(crate) const SYNC: Duration = Duration::from_secs(15);
/// How old a sample may be to count as present (Prometheus' lookback); what no query looks back to is forgotten.
const LOOKBACK: Duration = Duration::from_secs(300);
/// Share of its requests that a container without metrics uses, in percent.
const SHARE: i64 = 20;

/// What a pod uses, as metrics-server tells it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Usage {
    pub(super) cpu_milli: i64,
    pub(super) memory: i64,
    pub(super) at: Nanos,
}

/// A pod's series: its metric, and which counter or bucket.
type Key = (&'static str, u32);

/// What pods expose besides histograms.
pub(super) const METRICS: [&str; 9] = [
    "up",
    "scrape_duration_seconds",
    "app_cpu_seconds_total",
    "app_memory_bytes",
    "customers_processed_total",
    "http_requests_in_flight",
    "http_requests_executing",
    "http_requests_total",
    "queue_depth",
];
/// Names of the app's histograms.
pub(super) const DURATIONS: [&str; 3] = [
    "http_request_duration_seconds_bucket",
    "http_request_duration_seconds_sum",
    "http_request_duration_seconds_count",
];
/// See above.
pub(super) const WAITS: [&str; 3] = ["queue_wait_seconds_bucket", "queue_wait_seconds_sum", "queue_wait_seconds_count"];

/// Both servers.
#[derive(Debug)]
pub(super) struct Monitoring {
    storage: Storage,
    queries: BTreeMap<String, Expr>,
    /// Metrics that queries ask for; others are not kept.
    wanted: BTreeSet<String>,
    /// Whether queries ask for histograms, which cost time to keep.
    pub(super) histograms: bool,
    scrape_interval: Option<Duration>,
    /// Workload of Prometheus.
    server: Option<usize>,
    /// When and how much CPU time each pod had used at the last round.
    readings: BTreeMap<u32, (Nanos, f64)>,
    pub(super) usage: BTreeMap<u32, Usage>,
    /// Series of each pod that were written last.
    written: BTreeMap<u32, BTreeMap<Key, Labels>>,
}

/// Metrics that expressions name, and how far all of them together look back.
#[derive(Default)]
struct Names(BTreeSet<String>, Duration);

impl Names {
    fn look_back(&mut self, range: Duration, offset: Option<&Offset>) {
        let offset = if let Some(Offset::Pos(offset)) = offset { *offset } else { Duration::ZERO };
        self.1 += range + offset;
    }
}

impl ExprVisitor for Names {
    type Error = std::convert::Infallible;

    fn pre_visit(&mut self, expr: &Expr) -> Result<bool, Self::Error> {
        match expr {
            Expr::VectorSelector(selector) => {
                self.0.extend(selector.name.clone());
                self.look_back(Duration::ZERO, selector.offset.as_ref());
            }
            Expr::MatrixSelector(selector) => {
                self.0.extend(selector.vs.name.clone());
                self.look_back(selector.range, selector.vs.offset.as_ref());
            }
            Expr::Subquery(subquery) => self.look_back(subquery.range, subquery.offset.as_ref()),
            _ => {}
        }
        Ok(true)
    }
}

impl Monitoring {
    pub(super) fn new(profile: &Profile, server: Option<usize>, speed: f64) -> Self {
        let (queries, names) = queries(profile);
        let interval = profile.workloads.iter().find_map(|workload| match &workload.role {
            Role::Prometheus(settings) => Some(settings.scrape_interval),
            _ => None,
        });
        let storage = Storage::new((LOOKBACK + names.1).div_f64(speed));
        let wanted = names.0;
        Self {
            storage,
            histograms: wanted.iter().any(|name| name.contains("_seconds_") && name != "app_cpu_seconds_total"),
            scrape_interval: interval.filter(|_| !queries.is_empty()),
            queries,
            wanted,
            server,
            readings: BTreeMap::new(),
            usage: BTreeMap::new(),
            written: BTreeMap::new(),
        }
    }
}

fn queries(profile: &Profile) -> (BTreeMap<String, Expr>, Names) {
    let mut queries = BTreeMap::new();
    let mut names = Names::default();
    for trigger in profile.workloads.iter().filter_map(|w| w.scaling.as_ref()).flat_map(|s| &s.triggers) {
        // A profile's queries were parsed when it was loaded.
        if let Trigger::Prometheus { query, .. } = trigger
            && let Ok(expr) = promql::parse(query)
        {
            let walked = walk_expr(&mut names, &expr);
            debug_assert!(walked.is_ok(), "visiting names cannot fail");
            queries.insert(query.clone(), expr);
        }
    }
    (queries, names)
}

/// The metrics that an expression names.
pub(super) fn names(expr: &Expr) -> BTreeSet<String> {
    let mut names = Names::default();
    let walked = walk_expr(&mut names, expr);
    debug_assert!(walked.is_ok(), "visiting names cannot fail");
    names.0
}

/// How far the queries of a profile look back, at most.
pub(super) fn longest_range(profile: &Profile) -> Duration {
    queries(profile).1.1
}

impl World<'_> {
    /// Prometheus' time.
    fn millis(&self) -> i64 {
        (self.now / 1_000_000) as i64
    }

    /// Prometheus scrapes every running pod of the app.
    pub(super) fn scrape(&mut self) {
        let Some(interval) = self.monitoring.scrape_interval else { return };
        if !self.flows {
            self.agenda.plan(self.now + self.real(interval), Happening::Scrape);
        }
        if !self.server_is_up() {
            return;
        }
        let at = self.millis();
        let mut before = std::mem::take(&mut self.monitoring.written);
        let mut page = Vec::new();
        for workload in 0..self.workloads.len() {
            let is_web = self.web.is_some_and(|web| web.deployment == workload);
            if !is_web && self.workloads[workload].worker.is_none() {
                continue;
            }
            for index in 0..self.workloads[workload].pods.len() {
                let pod = self.workloads[workload].pods[index];
                if self.pods[pod as usize].phase != Phase::Running {
                    continue;
                }
                page.clear();
                self.page(pod, is_web, &mut page);
                let mut series = before.remove(&pod).unwrap_or_default();
                for (key, value) in &page {
                    let labels = series.entry(*key).or_insert_with(|| self.labels(pod, *key));
                    self.monitoring.storage.append(labels, Sample { at, value: *value });
                }
                if series.len() > page.len() {
                    series.retain(|key, labels| {
                        let kept = page.iter().any(|(other, _)| other == key);
                        if !kept {
                            self.monitoring.storage.end(labels, at);
                        }
                        kept
                    });
                }
                self.monitoring.written.insert(pod, series);
            }
        }
        for labels in before.into_values().flat_map(BTreeMap::into_values) {
            self.monitoring.storage.end(&labels, at);
        }
        self.monitoring.storage.forget(at);
    }

    fn server_is_up(&self) -> bool {
        let ready = |server: usize| self.workloads[server].pods.iter().any(|pod| self.pods[*pod as usize].ready);
        self.monitoring.server.is_some_and(ready)
    }

    /// The labels of a pod's series.
    fn labels(&self, pod: u32, (metric, detail): Key) -> Labels {
        let entry = &self.pods[pod as usize];
        let name = &entry.object.name;
        let mut labels: Labels = [
            (METRIC_NAME, metric),
            ("app", self.workloads[entry.workload].name.as_str()),
            ("instance", name),
            ("job", "kubernetes-pods"),
            ("namespace", render::DEMO_NAMESPACE),
            ("node", entry.object.node.as_deref().unwrap_or_default()),
            ("pod", name),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
        let mut put = |key: &str, value: String| labels.insert(key.to_owned(), value);
        if metric == "http_requests_total" {
            let (method, path, status) = &self.counters[detail as usize];
            put("method", method.clone());
            put("path", (*path).to_owned());
            put("status", status.to_string());
        } else if metric.ends_with("_bucket") {
            let bound = BUCKETS.get(detail as usize).copied().unwrap_or(f64::INFINITY);
            put("le", promql::series::text(bound));
        }
        labels
    }

    /// What a pod exposes, as far as anybody asks for it.
    fn page(&self, pod: u32, is_web: bool, page: &mut Vec<(Key, f64)>) {
        let process = &self.pods[pod as usize].process;
        let base = self.workload_of(pod).map_or(0, |workload| workload.base_memory.0);
        let mut put = |metric: &'static str, detail: usize, value: f64| {
            if self.monitoring.wanted.contains(metric) {
                page.push(((metric, detail as u32), value));
            }
        };
        put("up", 0, f64::from(u8::from(process.up)));
        put("scrape_duration_seconds", 0, 0.002);
        if !process.up {
            return;
        }
        put("app_cpu_seconds_total", 0, process.cpu_s);
        put("app_memory_bytes", 0, process.memory(base) as f64);
        if !is_web {
            return put("customers_processed_total", 0, process.processed);
        }
        put("http_requests_in_flight", 0, process.gauge());
        put("http_requests_executing", 0, f64::from(process.executing) + process.flowing_executing);
        put("queue_depth", 0, self.store.length());
        for (counter, count) in process.answers.iter().enumerate().filter(|(_, count)| **count > 0.0) {
            put("http_requests_total", counter, *count);
        }
        if !self.monitoring.histograms {
            return;
        }
        for ([bucket, sum, count], histogram) in [(DURATIONS, &process.durations), (WAITS, &process.waits)] {
            for (index, cumulated) in histogram.cumulated().enumerate() {
                put(bucket, index, cumulated as f64);
            }
            put(sum, 0, histogram.sum_s);
            put(count, 0, histogram.count as f64);
        }
    }

    /// A query's one number, as KEDA reads it: nothing is 0.
    pub(super) fn query(&self, query: &str) -> Result<f64, String> {
        if !self.server_is_up() {
            return Err("prometheus does not answer".to_owned());
        }
        let expr = self.monitoring.queries.get(query).ok_or_else(|| format!("{query} is not known"))?;
        let evaluator = Evaluator::new(&self.monitoring.storage, self.millis(), self.speed);
        match evaluator.eval(expr).map_err(|error| error.to_string())? {
            Answer::Vector(elements) => match elements.as_slice() {
                [one] if one.value.is_finite() => Ok(one.value),
                [] | [_] => Ok(0.0),
                _ => Err(format!("prometheus query {query} returned multiple elements")),
            },
            _ => Err("the result is not a vector".to_owned()),
        }
    }

    /// A round of metrics-server: a pod has no metrics before its second one.
    pub(super) fn measure(&mut self) {
        let mut before = std::mem::take(&mut self.monitoring.readings);
        self.monitoring.usage.clear();
        for workload in (0..self.workloads.len()).filter(|workload| self.workloads[*workload].index.is_some()) {
            let accounts =
                self.workloads[workload].worker.is_some() || self.web.is_some_and(|web| web.deployment == workload);
            for pod in &self.workloads[workload].pods {
                let entry = &self.pods[*pod as usize];
                if entry.phase != Phase::Running {
                    continue;
                }
                let settings = self.workload_of(*pod);
                let mut usage = Usage { cpu_milli: 0, memory: 0, at: self.now };
                if accounts {
                    if !entry.process.up {
                        continue;
                    }
                    let used = entry.process.cpu_s;
                    let last = before.remove(pod);
                    self.monitoring.readings.insert(*pod, (self.now, used));
                    let Some((at, was)) = last.filter(|(at, _)| *at < self.now) else { continue };
                    usage.cpu_milli = ((used - was) / ((self.now - at) as f64 / 1e9) * 1000.0).round() as i64;
                    usage.memory = entry.process.memory(settings.map_or(0, |workload| workload.base_memory.0));
                } else if let Some(settings) = settings {
                    usage.cpu_milli = settings.requests.cpu.0 * SHARE / 100;
                    usage.memory = settings.requests.memory.0 / 100 * SHARE;
                }
                self.monitoring.usage.insert(*pod, usage);
            }
        }
        self.agenda.plan(self.now + self.real(SYNC), Happening::Metrics);
    }
}
