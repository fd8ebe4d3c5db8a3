//! Targets and behaviours as `autoscaling/v2` objects have them.

use serde_json::Value;

use super::{Behavior, Policy, PolicyKind, Rules, SelectPolicy, Target};
use crate::autoscale::keda::Quantity;

/// Milli-units of a quantity, of CPU, memory or anything counted.
pub fn milli(value: &Value) -> Option<i64> {
    let text = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
    text.parse().ok().map(Quantity::milli)
}

impl Target {
    /// Of a metric's `target`.
    pub fn read(target: &Value) -> Self {
        let quantity = |key: &str| target.get(key).and_then(milli);
        Self {
            average_utilization_percent: target["averageUtilization"].as_i64(),
            average_value_milli: quantity("averageValue"),
            value_milli: quantity("value"),
        }
    }
}

impl Behavior {
    /// Of `spec.behavior`; none where there is none.
    pub fn read(behavior: &Value) -> Option<Self> {
        let rules = |key: &str| behavior.get(key).filter(|rules| rules.is_object()).map(read_rules);
        behavior.is_object().then(|| Self { scale_up: rules("scaleUp"), scale_down: rules("scaleDown") })
    }
}

fn read_rules(rules: &Value) -> Rules {
    let policy = |policy: &Value| {
        Some(Policy {
            kind: if policy["type"] == "Pods" { PolicyKind::Pods } else { PolicyKind::Percent },
            value: policy["value"].as_i64()? as i32,
            period_s: policy["periodSeconds"].as_i64()?,
        })
    };
    Rules {
        stabilization_window_s: rules["stabilizationWindowSeconds"].as_i64(),
        select_policy: match rules["selectPolicy"].as_str() {
            Some("Min") => Some(SelectPolicy::Min),
            Some("Disabled") => Some(SelectPolicy::Disabled),
            Some(_) => Some(SelectPolicy::Max),
            None => None,
        },
        tolerance: None,
        policies: rules["policies"].as_array().map(|policies| policies.iter().filter_map(policy).collect()),
    }
}
