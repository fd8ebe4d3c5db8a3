//! What monitoring knows and when: Prometheus' scrapes and queries, metrics-server's rounds.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use promql_parser::{
    label::METRIC_NAME,
    parser::Expr,
    util::{ExprVisitor, walk_expr},
};

use super::{
    World,
    agenda::{Happening, Nanos},
    cluster::Phase,
};
use crate::{
    profile::{Profile, Role, Trigger},
    promql::{
        self, Answer, Evaluator,
        series::{Labels, Sample, Storage},
    },
    render,
};

/// The controller manager's `--horizontal-pod-autoscaler-sync-period`, and metrics-server's `--metric-resolution`.
pub(super) const SYNC: Duration = Duration::from_secs(15);
/// How long Prometheus keeps samples; no query of a profile looks further back.
const RETENTION: Duration = Duration::from_secs(2 * 3600);
/// Share of its requests that a container without metrics uses, in percent.
const SHARE: i64 = 20;

/// What a pod uses, as metrics-server tells it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Usage {
    pub(super) cpu_milli: i64,
    pub(super) memory: i64,
    pub(super) at: Nanos,
}

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
    written: BTreeMap<u32, Vec<Labels>>,
}

/// Metrics that expressions name, and the longest range that they look back.
#[derive(Default)]
struct Names(BTreeSet<String>, Duration);

impl ExprVisitor for Names {
    type Error = std::convert::Infallible;

    fn pre_visit(&mut self, expr: &Expr) -> Result<bool, Self::Error> {
        match expr {
            Expr::VectorSelector(selector) => self.0.extend(selector.name.clone()),
            Expr::MatrixSelector(selector) => {
                self.0.extend(selector.vs.name.clone());
                self.1 = self.1.max(selector.range);
            }
            Expr::Subquery(subquery) => self.1 = self.1.max(subquery.range * 2),
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
        let wanted = names.0;
        Self {
            storage: Storage::new(RETENTION.div_f64(speed)),
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

/// The longest range that any query of a profile looks back.
pub(super) fn longest_range(profile: &Profile) -> Duration {
    queries(profile).1.1
}

fn labels(name: &str, fixed: &Labels, more: &[(&str, &str)]) -> Labels {
    let mut labels = fixed.clone();
    labels.insert(METRIC_NAME.to_owned(), name.to_owned());
    labels.extend(more.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
    labels
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
        let mut gone = std::mem::take(&mut self.monitoring.written);
        for workload in 0..self.workloads.len() {
            let is_web = self.web.is_some_and(|web| web.deployment == workload);
            if !is_web && self.workloads[workload].worker.is_none() {
                continue;
            }
            for pod in self.workloads[workload].pods.clone() {
                if self.pods[pod as usize].phase != Phase::Running {
                    continue;
                }
                let samples = self.page(pod, is_web);
                for (labels, value) in &samples {
                    self.monitoring.storage.append(labels, Sample { at, value: *value });
                }
                let now: Vec<Labels> = samples.into_iter().map(|(labels, _)| labels).collect();
                for labels in gone.remove(&pod).into_iter().flatten().filter(|labels| !now.contains(labels)) {
                    self.monitoring.storage.end(&labels, at);
                }
                self.monitoring.written.insert(pod, now);
            }
        }
        for labels in gone.into_values().flatten() {
            self.monitoring.storage.end(&labels, at);
        }
        self.monitoring.storage.forget(at);
    }

    fn server_is_up(&self) -> bool {
        let ready = |server: usize| self.workloads[server].pods.iter().any(|pod| self.pods[*pod as usize].ready);
        self.monitoring.server.is_some_and(ready)
    }

    /// What a pod exposes, as far as anybody asks for it.
    fn page(&self, pod: u32, is_web: bool) -> Vec<(Labels, f64)> {
        let entry = &self.pods[pod as usize];
        let process = &entry.process;
        let name = &entry.object.name;
        let fixed: Labels = [
            ("app", self.workloads[entry.workload].name.as_str()),
            ("instance", name),
            ("job", "kubernetes-pods"),
            ("namespace", render::DEMO_NAMESPACE),
            ("node", entry.object.node.as_deref().unwrap_or_default()),
            ("pod", name),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
        let base = self.workload_of(pod).map_or(0, |workload| workload.base_memory.0);
        let mut out = Vec::new();
        let mut put = |metric: &str, more: &[(&str, &str)], value: f64| {
            if self.monitoring.wanted.contains(metric) {
                out.push((labels(metric, &fixed, more), value));
            }
        };
        put("up", &[], f64::from(u8::from(process.up)));
        put("scrape_duration_seconds", &[], 0.002);
        if !process.up {
            return out;
        }
        put("app_cpu_seconds_total", &[], process.cpu_s);
        put("app_memory_bytes", &[], process.memory(base) as f64);
        if !is_web {
            put("customers_processed_total", &[], process.processed as f64);
            return out;
        }
        put("http_requests_in_flight", &[], process.gauge());
        put("http_requests_executing", &[], f64::from(process.executing));
        put("queue_depth", &[], self.store.length());
        for (index, (method, path, status)) in self.counters.iter().enumerate() {
            let count = process.answers.get(index).copied().unwrap_or(0.0);
            if count > 0.0 {
                let status = status.to_string();
                put("http_requests_total", &[("method", method), ("path", path), ("status", &status)], count);
            }
        }
        for (metric, histogram) in
            [("http_request_duration_seconds", &process.durations), ("queue_wait_seconds", &process.waits)]
        {
            for (bound, count) in histogram.cumulated() {
                put(&format!("{metric}_bucket"), &[("le", &promql::series::text(bound))], count as f64);
            }
            put(&format!("{metric}_bucket"), &[("le", "+Inf")], histogram.count as f64);
            put(&format!("{metric}_sum"), &[], histogram.sum_s);
            put(&format!("{metric}_count"), &[], histogram.count as f64);
        }
        out
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
                [] => Ok(0.0),
                [one] if one.value.is_finite() => Ok(one.value),
                [_] => Ok(0.0),
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
