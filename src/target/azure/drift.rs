//! Where the node pools that AKS has differ from those of the profile: somebody changed them.

use std::collections::BTreeSet;

use democtl_core::profile::{Pool, Profile};
use serde_json::Value;

/// Differences in words; `pools` as ARM lists them. The number of nodes of an autoscaled pool is the autoscaler's.
pub(super) fn of(profile: &Profile, pools: &[Value]) -> Vec<String> {
    let name = |pool: &Value| pool["name"].as_str().unwrap_or_default().to_owned();
    let known: BTreeSet<String> = pools.iter().map(name).collect();
    let mut found: Vec<String> = profile
        .pools
        .iter()
        .filter(|pool| !known.contains(&pool.name))
        .map(|pool| format!("pool {} is missing", pool.name))
        .collect();
    for pool in pools {
        let name = name(pool);
        match profile.pools.iter().find(|wanted| wanted.name == name) {
            None => found.push(format!("pool {name} is not in the profile")),
            Some(wanted) => found.extend(differences(wanted, &pool["properties"])),
        }
    }
    found
}

fn differences(wanted: &Pool, is: &Value) -> Vec<String> {
    let number = |name: &str| is[name].as_u64().map(|value| value.to_string()).unwrap_or_default();
    let scaled = is["enableAutoScaling"].as_bool().unwrap_or(false);
    let mut rows = vec![
        ("VM size", is["vmSize"].as_str().unwrap_or_default().to_owned(), wanted.vm_size.name.to_owned()),
        ("autoscaling", on(scaled).to_owned(), on(wanted.autoscaled).to_owned()),
    ];
    if wanted.autoscaled {
        rows.push(("min", number("minCount"), wanted.min.to_string()));
        rows.push(("max", number("maxCount"), wanted.max.to_string()));
    } else {
        rows.push(("count", number("count"), wanted.count.to_string()));
    }
    let state = is["provisioningState"].as_str().unwrap_or_default();
    let mut found: Vec<String> = rows
        .into_iter()
        .filter(|(_, is, wanted)| !is.eq_ignore_ascii_case(wanted))
        .map(|(what, is, wanted_value)| {
            let is = if is.is_empty() { "unset" } else { &is };
            format!("pool {}: {what} is {is}, the profile has {wanted_value}", wanted.name)
        })
        .collect();
    if !matches!(state, "" | "Succeeded") {
        found.push(format!("pool {}: AKS says {state}", wanted.name));
    }
    found
}

fn on(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pool(name: &str, changes: &Value) -> Value {
        let mut properties = json!({
            "vmSize": "Standard_D4s_v5", "enableAutoScaling": true, "minCount": 2, "maxCount": 7, "count": 4,
            "provisioningState": "Succeeded",
        });
        for (key, value) in changes.as_object().into_iter().flatten() {
            properties[key] = value.clone();
        }
        json!({ "name": name, "properties": properties })
    }

    #[test]
    fn each_difference_is_told_once() {
        let profile = Profile::load_builtin("m3demo2", &[]).expect("built in").expect("valid");
        assert_eq!(of(&profile, &[pool("main", &json!({}))]), Vec::<String>::new(), "its count is the autoscaler's");
        assert_eq!(
            of(
                &profile,
                &[pool("main", &json!({ "maxCount": 5, "provisioningState": "Failed" })), pool("more", &json!({}))]
            ),
            ["pool main: max is 5, the profile has 7", "pool main: AKS says Failed", "pool more is not in the profile"]
        );
        let off = pool("main", &json!({ "enableAutoScaling": false, "minCount": null, "maxCount": null }));
        assert_eq!(of(&profile, &[off]).len(), 3);
        assert_eq!(of(&profile, &[]), ["pool main is missing"]);
    }
}
