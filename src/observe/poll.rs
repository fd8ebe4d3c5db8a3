//! Samples of what a person watches: queue depth, customers stored, CPU by workload, dollars per hour.

use std::{collections::BTreeMap, time::Duration};

use democtl_core::{event::Fact, units};
use serde_json::Value;

use super::{Recorder, Subject};
use crate::{
    delivery::{self, NAMESPACE},
    demo_app::{AppStatus, DemoApp},
};

pub(super) async fn run(subject: Subject, recorder: Recorder, period: Duration) {
    let app = DemoApp::default();
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let (status, cpu_milli) = tokio::join!(app.status(&subject.address), cpu(&subject));
        let status = status.ok();
        let nodes = recorder.moment().billed_nodes();
        recorder.record(Fact::Sample {
            queue: status.as_ref().map(AppStatus::unfinished),
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
