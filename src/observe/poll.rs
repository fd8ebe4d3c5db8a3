//! Samples of what a person watches: queue depth, customers stored, CPU by workload, dollars per hour.

use std::{collections::BTreeMap, time::Duration};

use democtl_core::{event::Fact, units};
use serde::Deserialize;
use serde_json::Value;

use super::{Recorder, Subject};
use crate::delivery::{self, NAMESPACE};

/// What the app tells of itself at `/api/admin/status`.
#[derive(Debug, Clone, Deserialize)]
pub struct AppStatus {
    /// Messages that no worker has claimed.
    pub queue_depth: u64,
    /// Messages that a worker has claimed and not yet stored.
    #[serde(default)]
    pub processing: u64,
    /// Customers stored since the last reset.
    #[serde(default)]
    pub customers: u64,
    /// Messages given up after all retries.
    #[serde(default)]
    pub dead_letters: u64,
}

/// A client for the app's own address: no proxy, short deadlines.
pub(crate) fn http_client() -> reqwest::Client {
    reqwest::Client::builder()
        .no_proxy()
        .connect_timeout(Duration::from_secs(2))
        .timeout(Duration::from_secs(5))
        .build()
        .unwrap_or_default()
}

/// Asks the app for its state.
pub async fn app_status(http: &reqwest::Client, address: &str) -> Result<AppStatus, reqwest::Error> {
    http.get(format!("{address}/api/admin/status")).send().await?.error_for_status()?.json().await
}

pub(super) async fn run(subject: Subject, recorder: Recorder, period: Duration) {
    let http = http_client();
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let (status, cpu_milli) = tokio::join!(app_status(&http, &subject.address), cpu(&subject));
        let status = status.ok();
        let nodes = recorder.moment().billed_nodes();
        recorder.record(Fact::Sample {
            queue: status.as_ref().map(|status| status.queue_depth + status.processing),
            processed: status.as_ref().map(|status| status.customers),
            cpu_milli,
            usd_per_hour: subject.profile.prices.per_hour(&nodes).unwrap_or(f64::NAN),
        });
    }
}

async fn cpu(subject: &Subject) -> Vec<(String, i64)> {
    let path = format!("/apis/metrics.k8s.io/v1beta1/namespaces/{NAMESPACE}/pods");
    let Ok(list) = subject.client.request::<Value>(delivery::http_get(&path)).await else { return Vec::new() };
    let mut by_workload = BTreeMap::<String, i64>::new();
    for item in list.pointer("/items").and_then(Value::as_array).into_iter().flatten() {
        let pod = item.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        let Some(workload) = super::kubernetes::workload_of(pod, &subject.profile) else { continue };
        let milli: i64 = item
            .pointer("/containers")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(|container| container.pointer("/usage/cpu").and_then(Value::as_str))
            .filter_map(|usage| units::Millicores::parse(usage).ok())
            .map(|cpu| cpu.0)
            .sum();
        *by_workload.entry(workload).or_default() += milli;
    }
    by_workload.into_iter().collect()
}
