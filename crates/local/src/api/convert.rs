//! Conversion between the versions of one resource: as stored, and as served.
//!
//! Custom resources convert by their `apiVersion` alone (strategy None); HPA v1 and the two Event groups by fields.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{model::defaults, registry::Definition, typed};

mod autoscaler;

/// Field names of core and `events.k8s.io` Events that mean the same.
const EVENT_FIELDS: [(&str, &str); 7] = [
    ("reportingComponent", "reportingController"),
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
];

/// The object in the definition's version; the same copy when that is how it is stored.
pub(crate) fn to_served(definition: &Definition, stored: &Arc<Value>) -> Arc<Value> {
    let want = definition.resource.api_version();
    if stored["apiVersion"] == want.as_str() {
        return stored.clone();
    }
    let mut object = (**stored).clone();
    match (definition.table.as_str(), want.as_str()) {
        ("/events", "events.k8s.io/v1") => rename(&mut object, &EVENT_FIELDS.map(|(core, new)| (core, new))),
        ("autoscaling/horizontalpodautoscalers", "autoscaling/v1") => autoscaler::to_v1(&mut object),
        _ => {}
    }
    object["apiVersion"] = json!(want);
    typed(&mut object);
    Arc::new(object)
}

/// The object in the version that is stored.
pub(crate) fn to_stored(definition: &Definition, mut served: Value) -> Value {
    if served["apiVersion"] == definition.stored_as.as_str() {
        return served;
    }
    match (definition.table.as_str(), served["apiVersion"].as_str()) {
        ("/events", Some("events.k8s.io/v1")) => rename(&mut served, &EVENT_FIELDS.map(|(core, new)| (new, core))),
        ("autoscaling/horizontalpodautoscalers", Some("autoscaling/v1")) => autoscaler::to_v2(&mut served),
        _ => {}
    }
    served["apiVersion"] = json!(definition.stored_as);
    if definition.table == "autoscaling/horizontalpodautoscalers" {
        defaults::autoscaler(&mut served["spec"]);
    }
    typed(&mut served);
    served
}

/// Writes an object as the type of its version has it.
fn typed(object: &mut Value) {
    let text = |key: &str| object[key].as_str().unwrap_or_default();
    if let Some(shape) = typed::of_kind(text("apiVersion"), text("kind"))
        && let Err(error) = typed::canonical(shape, object, &mut Vec::new())
    {
        tracing::debug!(%error, "converted object is none of its type");
    }
}

fn rename(object: &mut Value, fields: &[(&str, &str)]) {
    let Some(members) = object.as_object_mut() else { return };
    for (from, to) in fields {
        if let Some(value) = members.shift_remove(*from) {
            members.insert((*to).into(), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::registry::Registry;

    #[test]
    fn objects_are_of_the_type_of_their_version() {
        let registry = Registry::new();
        let of =
            |group: &str, version: &str, plural: &str| registry.find(group, version, plural).expect("it is served");
        let event = json!({ "apiVersion": "v1", "kind": "Event", "metadata": { "name": "e" }, "message": "m",
            "reportingComponent": "", "reportingInstance": "" });
        let new = to_served(&of("events.k8s.io", "v1", "events"), &Arc::new(event));
        assert_eq!(
            (&new["note"], new.get("reportingController"), &new["deprecatedSource"]),
            (&json!("m"), None, &json!({}))
        );
        let old = json!({ "apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler",
            "spec": { "maxReplicas": 2, "targetCPUUtilizationPercentage": 80 } });
        let stored = to_stored(&of("autoscaling", "v1", "horizontalpodautoscalers"), old);
        assert_eq!(stored["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"], 80);
        assert_eq!(stored["status"]["currentMetrics"], Value::Null, "written when empty too");
    }
}
