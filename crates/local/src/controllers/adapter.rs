//! KEDA's metrics adapter: what an external metric of a `ScaledObject` is now, for HPAs and for `external.metrics.k8s.io`.
//!
//! Upstream: `pkg/provider` and `pkg/scaling` of KEDA; fallback and modifiers are `democtl_core::autoscale::keda`.

use democtl_core::autoscale::keda::{self, Metric, Replicas, Trigger};
use serde_json::{Value, json};

use super::{
    Context,
    object::{find, items, now, text},
    records::Records,
    scaled_object,
    triggers::Readers,
};
use crate::api::{
    Client, LabelSelector, Status,
    resources::{DEPLOYMENTS, SCALEDOBJECTS},
};

/// The label by which a metric says whose it is.
const OWNER: &str = "scaledobject.keda.sh/name";

/// See the module.
#[derive(Debug, Clone)]
pub struct Adapter {
    client: Client,
    readers: Readers,
    records: Records,
}

impl Adapter {
    /// An adapter of the cluster.
    pub fn new(context: &Context) -> Self {
        Self {
            client: context.client.as_manager("keda"),
            readers: Readers::new(context.directory.clone()),
            records: context.records.clone(),
        }
    }

    /// The metric's values as `ExternalMetricValue`s.
    pub async fn answer(&self, space: &str, metric: &str, selector: &str) -> Result<Vec<Value>, Status> {
        let selector = LabelSelector::parse(selector)?;
        let owner = selector.value_of(OWNER).unwrap_or_default();
        let target = match find(&self.client, &SCALEDOBJECTS, space, owner)? {
            Some(object) => find(&self.client, &DEPLOYMENTS, space, text(&object, "/spec/scaleTargetRef/name"))?,
            None => None,
        };
        let replicas = target.map(|target| scaled_object::replicas(&target)).unwrap_or_default();
        let metrics = self.read(space, metric, &selector, replicas).await.map_err(Status::plain)?;
        let value = |(name, quantity): (String, keda::Quantity)| json!({ "metricName": name, "metricLabels": null, "timestamp": now(), "value": quantity.to_string() });
        Ok(metrics.into_iter().map(value).collect())
    }

    /// The metric's values; its trigger is read now, unless it says that the operator's last reading will do.
    pub(super) async fn read(
        &self,
        space: &str,
        metric: &str,
        selector: &LabelSelector,
        replicas: Replicas,
    ) -> Result<Vec<Metric>, String> {
        let owner = selector.value_of(OWNER).ok_or_else(|| {
            format!("scaledObject name is not specified, it needs to be set as value of label selector \"{OWNER}\" in the query")
        })?;
        let object = self.client.get(&SCALEDOBJECTS, space, owner).map_err(|status| status.to_string())?;
        let triggers =
            items(&object, "/spec/triggers").enumerate().map(|(index, trigger)| Trigger::parse(index, trigger));
        let trigger = triggers.filter_map(Result::ok).find(|trigger| trigger.metric_name().as_deref() == Some(metric));
        let trigger = trigger.ok_or_else(|| format!("no matching metrics found for {metric}"))?;
        let (spec, records) = (&object["spec"], &self.records);
        let caches = keda::uses_cached_metrics(&spec["triggers"][trigger.index]);
        let cached = if caches { records.by_loop(&object, metric) } else { None };
        let reads = cached.is_none();
        let reading = if let Some(record) = cached {
            record
        } else {
            let reading = self.readers.read(&trigger, space).await;
            reading.map(|value| (vec![(metric.to_owned(), value.quantity)], value.active))
        };
        let (fallback, target) = (keda::Fallback::read(spec), trigger.target());
        let stand_in = |quantity| (vec![(metric.to_owned(), quantity)], false);
        let handed = records.with_health(&object, |health| {
            keda::apply_fallback(fallback.as_ref(), health, metric, reading, &target, replicas, stand_in)
        });
        let metrics = handed.reading.clone().map(|(metrics, _)| metrics);
        let served = keda::serve(spec, metric, Some(&metrics).filter(|_| !reads), || Some(&metrics));
        if served.stored {
            records.store_by_hpa(&object, metric, handed.reading, handed.fallback_active);
        }
        served.metrics
    }
}
