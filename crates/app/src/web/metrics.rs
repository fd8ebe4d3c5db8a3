//! Prometheus metrics of the web role. CPU and memory are modelled: each request accounts its CPU cost.

use std::{sync::atomic::AtomicU64, time::Duration};

use democtl_core::app::{BUCKETS, MEMORY_PER_REQUEST};
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: String,
    path: String,
    status: u16,
}

/// Metrics and their registry.
pub(crate) struct WebMetrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    durations: Histogram,
    in_flight: Gauge,
    executing: Gauge,
    queue_wait: Histogram,
    cpu: Counter<f64, AtomicU64>,
    memory: Gauge,
    queue_depth: Gauge,
    base_memory: u64,
}

impl WebMetrics {
    pub(super) fn new(base_memory: u64) -> Self {
        let metrics = Self {
            registry: Registry::default(),
            requests: Family::default(),
            durations: Histogram::new(BUCKETS),
            in_flight: Gauge::default(),
            executing: Gauge::default(),
            queue_wait: Histogram::new(BUCKETS),
            cpu: Counter::default(),
            memory: Gauge::default(),
            queue_depth: Gauge::default(),
            base_memory,
        };
        metrics.registered()
    }

    fn registered(mut self) -> Self {
        let registry = &mut self.registry;
        registry.register("http_requests", "Requests answered", self.requests.clone());
        registry.register("http_request_duration_seconds", "Time to answer", self.durations.clone());
        registry.register("http_requests_in_flight", "Executing and waiting", self.in_flight.clone());
        registry.register("http_requests_executing", "Executing", self.executing.clone());
        registry.register("queue_wait_seconds", "Time in the pod's own queue", self.queue_wait.clone());
        registry.register("app_cpu_seconds", "Modelled CPU time", self.cpu.clone());
        registry.register("app_memory_bytes", "Modelled memory", self.memory.clone());
        registry.register("queue_depth", "Messages not claimed, as last seen", self.queue_depth.clone());
        self
    }

    /// One request was answered.
    pub(super) fn answered(&self, method: &http::Method, route: &'static str, status: u16, took: Duration) {
        let labels = RequestLabels { method: method.as_str().to_owned(), path: route.to_owned(), status };
        self.requests.get_or_create(&labels).inc();
        self.durations.observe(took.as_secs_f64());
    }

    /// One request began to execute after waiting.
    pub(super) fn admitted(&self, waited: Duration, cpu: Duration) {
        self.queue_wait.observe(waited.as_secs_f64());
        self.cpu.inc_by(cpu.as_secs_f64());
    }

    /// The text that Prometheus scrapes.
    pub(super) fn text(&self, in_flight: usize, executing: usize, queue_depth: Option<u64>) -> String {
        self.in_flight.set(in_flight as i64);
        self.executing.set(executing as i64);
        self.memory.set((self.base_memory + in_flight as u64 * u64::from(MEMORY_PER_REQUEST)).cast_signed());
        if let Some(depth) = queue_depth {
            self.queue_depth.set(depth.cast_signed());
        }
        exposition(&self.registry)
    }
}

/// A registry in the text format.
pub(crate) fn exposition(registry: &Registry) -> String {
    let mut text = String::new();
    // Writing into a string does not fail.
    let _ = encode(&mut text, registry);
    text
}
