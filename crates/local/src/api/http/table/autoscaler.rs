//! Cells of autoscalers. Upstream: `formatHPAMetrics`.

use serde_json::{Value, json};

use super::text::{list, number, text};

pub(super) fn cell(column: &str, hpa: &Value) -> Value {
    match column {
        "Reference" => {
            json!(format!("{}/{}", text(hpa, "/spec/scaleTargetRef/kind"), text(hpa, "/spec/scaleTargetRef/name")))
        }
        "Targets" => json!(targets(hpa)),
        "MinPods" => {
            json!(hpa.pointer("/spec/minReplicas").map_or_else(|| "<unset>".to_owned(), ToString::to_string))
        }
        "MaxPods" => json!(number(hpa, "/spec/maxReplicas")),
        "Replicas" => json!(number(hpa, "/status/currentReplicas")),
        _ => Value::Null,
    }
}

/// `current/target` of each metric.
fn targets(hpa: &Value) -> String {
    let current: Vec<&Value> = list(hpa, "/status/currentMetrics").collect();
    let all: Vec<String> = list(hpa, "/spec/metrics")
        .enumerate()
        .map(|(index, spec)| target(spec, current.get(index).copied().unwrap_or(&Value::Null)))
        .collect();
    match all.as_slice() {
        [] => "<none>".to_owned(),
        [first, second, more @ ..] if !more.is_empty() => format!("{first}, {second} + {} more...", more.len()),
        few => few.join(", "),
    }
}

fn target(spec: &Value, current: &Value) -> String {
    let kind = text(spec, "/type");
    let key = kind.get(..1).map(str::to_lowercase).unwrap_or_default() + kind.get(1..).unwrap_or_default();
    let (wanted, now) = (&spec[&key]["target"], &current[&key]["current"]);
    let figure = |of: &Value, field: &str| of[field].as_str().unwrap_or("<nil>").to_owned();
    // A status that is there, but not of this field, is printed as Go prints nothing.
    let measured = |field: &str| if now.is_object() { figure(now, field) } else { "<unknown>".to_owned() };
    let average = !wanted["averageValue"].is_null();
    match kind.as_str() {
        "External" | "Object" if average => {
            let now = now["averageValue"].as_str().unwrap_or("<unknown>");
            format!("{now}/{} (avg)", figure(wanted, "averageValue"))
        }
        "External" | "Object" => format!("{}/{}", measured("value"), figure(wanted, "value")),
        "Pods" => format!("{}/{}", measured("averageValue"), figure(wanted, "averageValue")),
        "Resource" | "ContainerResource" => {
            let name = text(&spec[&key], "/name");
            if average {
                return format!("{name}: {}/{}", measured("averageValue"), figure(wanted, "averageValue"));
            }
            let share = |of: &Value, none: &str| {
                of["averageUtilization"].as_i64().map_or_else(|| none.to_owned(), |share| format!("{share}%"))
            };
            format!("{name}: {}/{}", share(now, "<unknown>"), share(wanted, "<auto>"))
        }
        _ => "<unknown type>".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_printed_by_their_type() {
        let cpu = |target: Value| json!({ "type": "Resource", "resource": { "name": "cpu", "target": target } });
        let hpa = json!({
            "spec": { "metrics": [
                cpu(json!({ "averageUtilization": 80 })),
                cpu(json!({ "averageValue": "500m" })),
                { "type": "External", "external": { "target": { "averageValue": "3" } } },
            ] },
            "status": { "currentMetrics": [{ "resource": { "current": { "averageUtilization": 40 } } }] },
        });
        assert_eq!(targets(&hpa), "cpu: 40%/80%, cpu: <unknown>/500m + 1 more...");
        assert_eq!(target(&hpa["spec"]["metrics"][2], &Value::Null), "<unknown>/3 (avg)");
    }
}
