//! A plan as typed changes, with what each costs an hour before and after, and what of it hurts.
//!
//! <https://developer.hashicorp.com/terraform/internals/json-format>

use std::fmt::Write as _;

use democtl_core::{cost::Prices, render::azure::EXPIRES_TAG};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What becomes of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It is made.
    Create,
    /// It is changed in place.
    Update,
    /// It is removed and made anew.
    Replace,
    /// It is removed.
    Delete,
    /// Only the state forgets it.
    Forget,
}

impl Action {
    fn of(actions: &[String]) -> Option<Self> {
        match actions.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["create"] => Some(Self::Create),
            ["update"] => Some(Self::Update),
            ["delete", "create"] | ["create", "delete"] => Some(Self::Replace),
            ["delete"] => Some(Self::Delete),
            ["forget"] => Some(Self::Forget),
            // `no-op` and `read` change nothing.
            _ => None,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Replace => "replace",
            Self::Delete => "delete",
            Self::Forget => "forget",
        }
    }
}

/// One resource that a plan changes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    /// Its address.
    pub address: String,
    /// What becomes of it.
    pub action: Action,
    /// Dollars per hour before; none: it has no price of its own that is known.
    pub usd_before: Option<f64>,
    /// Dollars per hour after.
    pub usd_after: Option<f64>,
    /// What a person should know before saying yes.
    pub warning: Option<String>,
}

/// A whole plan.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    /// Everything that changes, in Terraform's order.
    pub changes: Vec<Change>,
    /// Dollars per hour of the nodes and the control plane in the state before.
    pub usd_before: f64,
    /// Dollars per hour of them afterwards.
    pub usd_after: f64,
    /// Whether only outputs change, or nothing.
    pub no_resource_changes: bool,
}

#[derive(Deserialize)]
struct Shown {
    #[serde(default)]
    resource_changes: Vec<ResourceChange>,
    #[serde(default)]
    resource_drift: Vec<ResourceChange>,
}

#[derive(Deserialize)]
struct ResourceChange {
    address: String,
    #[serde(rename = "type")]
    kind: String,
    change: Inner,
}

#[derive(Deserialize)]
struct Inner {
    actions: Vec<String>,
    #[serde(default)]
    before: Value,
    #[serde(default)]
    after: Value,
}

impl Plan {
    /// Reads the output of `terraform show -json PLAN`.
    pub fn read(json: &str, prices: &Prices) -> Result<Self, serde_json::Error> {
        let shown: Shown = serde_json::from_str(json)?;
        let (mut usd_before, mut usd_after) = (0.0, 0.0);
        let mut changes = Vec::new();
        for resource in &shown.resource_changes {
            let Inner { actions, before, after } = &resource.change;
            let (was, will) = (hourly(&resource.kind, before, prices), hourly(&resource.kind, after, prices));
            usd_before += was.unwrap_or(0.0);
            usd_after += will.unwrap_or(0.0);
            if let Some(action) = Action::of(actions) {
                let warning = warning(&resource.kind, action, before, after);
                changes.push(Change {
                    address: resource.address.clone(),
                    action,
                    usd_before: was,
                    usd_after: will,
                    warning,
                });
            }
        }
        Ok(Self { no_resource_changes: changes.is_empty(), changes, usd_before, usd_after })
    }

    /// A table for people.
    pub fn table(&self) -> String {
        if self.no_resource_changes {
            return "nothing changes\n".to_owned();
        }
        let width = self.changes.iter().map(|change| change.address.len()).max().unwrap_or(0).max(8);
        let mut text = format!("  {:width$}  {:8} {:>9} {:>9}\n", "resource", "action", "$/h now", "$/h then");
        let money = |usd: Option<f64>| usd.map_or_else(|| "-".to_owned(), |usd| format!("{usd:.3}"));
        for change in &self.changes {
            let (now, then) = (money(change.usd_before), money(change.usd_after));
            let _ = writeln!(text, "  {:width$}  {:8} {now:>9} {then:>9}", change.address, change.action.word());
        }
        for change in &self.changes {
            if let Some(warning) = &change.warning {
                let _ = writeln!(text, "  warning: {}: {warning}", change.address);
            }
        }
        text
    }
}

/// Addresses of what others have changed, from the same output. What a provider reads back as empty instead of absent is
/// no change, though Terraform lists it.
pub(super) fn drift(json: &str) -> Result<Vec<String>, serde_json::Error> {
    let shown: Shown = serde_json::from_str(json)?;
    let changed = |resource: &ResourceChange| !same(&resource.change.before, &resource.change.after);
    Ok(shown.resource_drift.into_iter().filter(changed).map(|resource| resource.address).collect())
}

/// Whether two values say the same, where nothing, an empty text and an empty list are one, and the tag that is pushed out
/// while an environment is used may say anything.
fn same(a: &Value, b: &Value) -> bool {
    let empty = |value: &Value| match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(all) => all.is_empty(),
        Value::Object(all) => all.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    };
    match (a, b) {
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            let names = a.keys().chain(b.keys());
            let mut names = names.filter(|name| *name != EXPIRES_TAG);
            names.all(|name| same(a.get(name).unwrap_or(&Value::Null), b.get(name).unwrap_or(&Value::Null)))
        }
        _ => a == b || empty(a) && empty(b),
    }
}

/// Dollars per hour of one resource's nodes (with their disks) and control plane; none: nothing of it is known to cost.
fn hourly(kind: &str, values: &Value, prices: &Prices) -> Option<f64> {
    let nodes = |pool: &Value| {
        let each = prices.vm.get(pool["vm_size"].as_str()?)? + prices.os_disk;
        let count = pool["node_count"].as_f64().or_else(|| pool["min_count"].as_f64())?;
        Some(each * count)
    };
    match kind {
        "azurerm_kubernetes_cluster" => {
            let plane = if values["sku_tier"] == "Standard" { prices.control_plane } else { 0.0 };
            Some(nodes(&values["default_node_pool"][0])? + plane)
        }
        "azurerm_kubernetes_cluster_node_pool" => nodes(values),
        _ => None,
    }
}

fn warning(kind: &str, action: Action, before: &Value, after: &Value) -> Option<String> {
    let rotates = |pool: &'static str| {
        let size = |values: &Value| {
            let pool = if pool.is_empty() { values } else { &values[pool][0] };
            pool["vm_size"].as_str().map(str::to_owned)
        };
        let (was, will) = (size(before)?, size(after)?);
        (was != will).then(|| format!("the VM size goes from {was} to {will}: every node of the pool is replaced"))
    };
    match (kind, action) {
        ("azurerm_kubernetes_cluster", Action::Replace) => {
            Some("the whole cluster is removed and made anew, with all that runs on it".to_owned())
        }
        ("azurerm_kubernetes_cluster_node_pool", Action::Replace | Action::Delete) => {
            Some("all nodes of the pool go".to_owned())
        }
        ("azurerm_kubernetes_cluster", Action::Update) => rotates("default_node_pool"),
        ("azurerm_kubernetes_cluster_node_pool", Action::Update) => rotates(""),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn plan(changes: &Value) -> Plan {
        let text = json!({ "format_version": "1.2", "resource_changes": changes }).to_string();
        Plan::read(&text, &Prices::committed()).expect("it is a plan")
    }

    #[test]
    fn a_new_cluster_is_priced() {
        let plan = plan(&json!([
            { "address": "azurerm_resource_group.this", "type": "azurerm_resource_group",
              "change": { "actions": ["create"], "before": null, "after": { "name": "g" } } },
            { "address": "azurerm_kubernetes_cluster.this", "type": "azurerm_kubernetes_cluster",
              "change": { "actions": ["create"], "before": null, "after": { "sku_tier": "Standard",
                "default_node_pool": [{ "vm_size": "Standard_D4s_v5", "node_count": 2, "min_count": 2, "max_count": 7 }] } } },
        ]));
        insta::assert_snapshot!(plan.table(), @r"
          resource                         action     $/h now  $/h then
          azurerm_resource_group.this      create           -         -
          azurerm_kubernetes_cluster.this  create           -     0.586
        ");
        assert!((plan.usd_after - (2.0 * (0.23 + 9.60 / 730.0) + 0.10)).abs() < 1e-9);
    }

    #[test]
    fn what_hurts_is_called_out() {
        let pool = |size: &str| json!({ "vm_size": size, "node_count": 3 });
        let kind = "azurerm_kubernetes_cluster_node_pool";
        let plan = plan(&json!([
            { "address": "pool.a", "type": kind, "change": { "actions": ["update"],
              "before": pool("Standard_D4s_v5"), "after": pool("Standard_D8s_v5") } },
            { "address": "pool.b", "type": kind, "change": { "actions": ["delete"], "before": pool("Standard_D4s_v5") } },
            { "address": "pool.c", "type": kind, "change": { "actions": ["no-op"],
              "before": pool("Standard_D4s_v5"), "after": pool("Standard_D4s_v5") } },
            { "address": "cluster", "type": "azurerm_kubernetes_cluster", "change": { "actions": ["delete", "create"] } },
        ]));
        assert_eq!(plan.changes.len(), 3);
        let warnings: Vec<_> = plan.changes.iter().filter_map(|change| change.warning.clone()).collect();
        assert_eq!(warnings.len(), 3, "{warnings:?}");
        assert!(warnings[0].contains("from Standard_D4s_v5 to Standard_D8s_v5"));
        let node = |usd: f64| 3.0 * (usd + 9.60 / 730.0);
        assert!((plan.usd_before - 3.0 * node(0.23)).abs() < 1e-9);
        assert!((plan.usd_after - node(0.46) - node(0.23)).abs() < 1e-9);
    }

    #[test]
    fn what_is_read_back_as_empty_was_not_changed_by_others() {
        let drifted = |before: Value, after: Value| {
            let change = json!({ "address": "a.b", "type": "a", "change": { "actions": ["update"], "before": before, "after": after } });
            let text = json!({ "format_version": "1.2", "resource_drift": [change] }).to_string();
            !drift(&text).expect("it is a plan").is_empty()
        };
        let identity = |ids: Value| json!({ "identity": [{ "ids": ids, "type": "SystemAssigned" }] });
        assert!(!drifted(identity(Value::Null), identity(json!([]))));
        assert!(!drifted(json!({ "a": null, "b": 1 }), json!({ "b": 1, "c": "" })));
        assert!(drifted(identity(Value::Null), identity(json!(["x"]))));
        assert!(drifted(json!({ "max_count": 7 }), json!({ "max_count": 5 })));
        assert!(drifted(json!({ "on": null }), json!({ "on": false })));
        assert!(drifted(json!({ "name": "a" }), Value::Null), "it is gone");
        let tags = |end: &str, owner: &str| json!({ "tags": { "expires-at": end, "owner": owner } });
        assert!(
            !drifted(tags("today", "ann"), tags("tomorrow", "ann")),
            "it is pushed out while somebody works with it"
        );
        assert!(drifted(tags("today", "ann"), tags("today", "bob")));
    }

    #[test]
    fn a_plan_of_outputs_only_changes_nothing() {
        assert_eq!(plan(&json!([])).table(), "nothing changes\n");
    }
}
