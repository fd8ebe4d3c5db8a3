//! The embedded Prometheus: scrapes, keeps samples in memory, answers `PromQL` over Prometheus's HTTP API.
//!
//! Stands in for the image `prom/prometheus`. Its
//! configuration tells only the scrape interval, in profile time; targets are found by the pods' annotations. Range durations in queries are
//! profile time too (divided by the speed), while rates are per real second: see `democtl_core::promql`.

pub mod exposition;
pub mod http;
pub mod scrape;

use std::{
    collections::{HashMap, HashSet},
    io,
    net::SocketAddr,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use democtl_core::promql::series::{Labels, Sample, Storage};
use futures::future::join_all;
use promql_parser::label::METRIC_NAME;

use self::scrape::{Scraper, Target, stored, targets};
use super::objects::Objects;
use crate::clock::Clock;

/// Between two scrapes where the configuration tells nothing, as Prometheus has it.
pub const DEFAULT_SCRAPE_INTERVAL: Duration = Duration::from_secs(60);
/// How long samples are kept: profile time, but at least the real time below.
const RETENTION: Duration = Duration::from_secs(2 * 3600);
const SHORTEST_RETENTION: Duration = Duration::from_secs(900);
/// A scrape's limit in real time, unless the interval is longer.
const SCRAPE_TIMEOUT: Duration = Duration::from_secs(1);

/// One Prometheus: its series and the state of its targets. Cheap to clone.
#[derive(Clone)]
pub struct Prometheus {
    objects: Arc<dyn Objects>,
    clock: Clock,
    scrape_interval: Duration,
    state: Arc<RwLock<State>>,
}

struct State {
    storage: Storage,
    targets: Vec<TargetState>,
}

/// A target with its last scrape.
#[derive(Debug, Clone)]
pub struct TargetState {
    /// The target.
    pub target: Target,
    /// What was wrong with the last scrape, if anything.
    pub error: Option<String>,
    /// When it was, Unix milliseconds.
    pub at: i64,
    /// How long it took, real time.
    pub took: Duration,
}

impl Prometheus {
    /// Without samples; `run` makes it scrape every `scrape_interval` of profile time.
    pub fn new(objects: Arc<dyn Objects>, clock: Clock, scrape_interval: Duration) -> Self {
        let retention = clock.real(RETENTION).max(SHORTEST_RETENTION);
        let state = State { storage: Storage::new(retention), targets: Vec::new() };
        Self { objects, clock, scrape_interval, state: Arc::new(RwLock::new(state)) }
    }

    /// Scrapes and serves its API on `address` until dropped.
    pub async fn run(self, address: SocketAddr) -> io::Result<()> {
        let listener = tokio::net::TcpListener::bind(address).await?;
        let router = http::router(self.clone());
        tokio::select! {
            result = axum::serve(listener, router) => result,
            () = self.scrape_for_ever() => Ok(()),
        }
    }

    async fn scrape_for_ever(&self) {
        let scraper = Scraper::default();
        let mut seen = HashMap::new();
        let mut ticks = self.clock.interval(self.scrape_interval);
        loop {
            ticks.tick().await;
            match targets(self.objects.as_ref()).await {
                Ok(targets) => self.scrape_all(&scraper, targets, &mut seen).await,
                Err(error) => tracing::warn!(%error, "no targets for prometheus"),
            }
        }
    }

    /// Scrapes every target once; `seen` are the series of each target's last scrape, ended when they do not come again.
    async fn scrape_all(&self, scraper: &Scraper, targets: Vec<Target>, seen: &mut HashMap<Labels, HashSet<Labels>>) {
        let timeout = self.clock.real(self.scrape_interval).max(SCRAPE_TIMEOUT);
        let pending = targets.into_iter().map(|target| async move {
            let (began, at) = (std::time::Instant::now(), now());
            let result = scraper.scrape(&target, timeout).await;
            (target, at, began.elapsed(), result)
        });
        let results = join_all(pending).await;
        let at = now();
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let mut before = std::mem::take(seen);
        state.targets.clear();
        for (target, at, took, result) in results {
            let named = |name: &str| stored(&target.labels, Labels::from([(METRIC_NAME.to_owned(), name.to_owned())]));
            let up = f64::from(u8::from(result.is_ok()));
            let error = result.as_ref().err().map(ToString::to_string);
            let samples = result.unwrap_or_default().into_iter();
            let mut samples: Vec<_> = samples.map(|(labels, value)| (stored(&target.labels, labels), value)).collect();
            samples.push((named("up"), up));
            samples.push((named("scrape_duration_seconds"), took.as_secs_f64()));
            let mut now_seen = HashSet::new();
            for (labels, value) in samples {
                state.storage.append(&labels, Sample { at, value });
                now_seen.insert(labels);
            }
            for gone in before.remove(&target.labels).unwrap_or_default().difference(&now_seen) {
                state.storage.end(gone, at);
            }
            seen.insert(target.labels.clone(), now_seen);
            state.targets.push(TargetState { target, error, at, took });
        }
        for gone in before.into_values().flatten() {
            state.storage.end(&gone, at);
        }
        state.storage.forget(at);
    }

    /// How much faster than real time the durations of queries run.
    pub fn speed(&self) -> f64 {
        self.clock.speed()
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Unix time in milliseconds.
pub(crate) fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use std::sync::atomic::{AtomicU64, Ordering};

    use axum::{Router, routing::get};
    use serde_json::{Value, json};

    use super::*;
    use crate::runtime::{fake::Fake, objects::Kind};

    #[tokio::test]
    async fn scrapes_ends_vanished_series_and_answers() {
        let served = Arc::new(AtomicU64::new(0));
        let count = served.clone();
        let page = get(move || async move {
            let n = count.fetch_add(1, Ordering::SeqCst);
            let extra = if n == 0 { "gone 1\n" } else { "" };
            format!("{extra}http_requests_total{{code=\"200\"}} {}\n", n * 10)
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move { axum::serve(listener, Router::new().route("/metrics", page)).await });
        let api = Fake::new();
        api.apply(
            Kind::Pod,
            json!({"metadata": {"namespace": "default", "name": "web-0", "uid": "1", "labels": {"app": "web"},
                    "annotations": {"prometheus.io/scrape": "true", "prometheus.io/port": port.to_string()}},
                "spec": {}, "status": {"phase": "Running", "podIP": "127.0.0.1"}}),
        );
        let prometheus = Prometheus::new(api.clone(), Clock::new(1.0, Duration::ZERO), DEFAULT_SCRAPE_INTERVAL);
        let (scraper, mut seen) = (Scraper::default(), HashMap::new());
        for _ in 0..2 {
            let found = targets(api.as_ref()).await.unwrap();
            prometheus.scrape_all(&scraper, found, &mut seen).await;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let ask = |query: &str| -> Value { http::instant(&prometheus, query, None).unwrap()["result"].clone() };
        assert_eq!(ask("up{app=\"web\"}")[0]["value"][1], "1");
        assert_eq!(ask("http_requests_total")[0]["value"][1], "10");
        assert_eq!(ask("gone"), json!([]), "ended with the second scrape");
        assert_eq!(ask("count_over_time(gone[1m])")[0]["value"][1], "1");
        prometheus.scrape_all(&scraper, Vec::new(), &mut seen).await;
        assert_eq!(ask("up"), json!([]), "a target that is gone ends all of its series");
    }
}
