//! `LimitRange`s: defaults that they give to containers, and bounds that they set.
//!
//! <https://github.com/kubernetes/kubernetes/blob/v1.33.0/plugin/pkg/admission/limitranger/admission.go>

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Value, json};

use crate::api::{
    Api,
    meta::{metadata_mut, name},
    status::Status,
    store::Entry,
    typed,
    write::Target,
};

/// Amounts of resources by name.
type Amounts = BTreeMap<String, f64>;

fn of_namespace(api: &Api, target: &Target) -> Vec<Arc<Entry>> {
    api.store.list("/limitranges", &target.namespace).0
}

fn limits(range: &Value) -> impl Iterator<Item = &Value> {
    range["spec"]["limits"].as_array().into_iter().flatten()
}

fn amounts(list: &Value) -> Amounts {
    let members = list.as_object().into_iter().flatten();
    members.filter_map(|(name, value)| Some((name.clone(), typed::amount(value)?))).collect()
}

/// Gives containers of a new pod what they do not say.
pub(super) fn fill(api: &Api, target: &Target, pod: &mut Value) {
    for range in of_namespace(api, target) {
        let of_containers: Vec<&Value> = limits(&range.value).filter(|limit| limit["type"] == "Container").collect();
        let mut told = Vec::new();
        for (list, kind) in [("containers", "container"), ("initContainers", "init container")] {
            for container in pod["spec"][list].as_array_mut().into_iter().flatten() {
                for (part, default, word) in [("requests", "defaultRequest", "request"), ("limits", "default", "limit")]
                {
                    let mut filled: Vec<String> = Vec::new();
                    for (resource, amount) in
                        of_containers.iter().flat_map(|limit| limit[default].as_object().into_iter().flatten())
                    {
                        if container["resources"][part][resource].is_null() {
                            container["resources"][part][resource] = amount.clone();
                            filled.push(resource.clone());
                        }
                    }
                    if !filled.is_empty() {
                        filled.sort();
                        let name = container["name"].as_str().unwrap_or_default();
                        told.push(format!("{} {word} for {kind} {name}", filled.join(", ")));
                    }
                }
            }
        }
        if !told.is_empty() {
            let annotations = metadata_mut(pod).entry("annotations").or_insert_with(|| json!({}));
            annotations["kubernetes.io/limit-ranger"] = json!(format!("LimitRanger plugin set: {}", told.join("; ")));
        }
    }
}

/// Refuses a pod or a claim that is out of bounds.
pub(super) fn check(api: &Api, target: &Target, object: &Value) -> Result<(), Status> {
    let pods = target.definition.table == "/pods";
    for range in of_namespace(api, target) {
        let mut broken = Vec::new();
        for limit in limits(&range.value) {
            let spec = &object["spec"];
            match limit["type"].as_str() {
                Some("Container") if pods => {
                    for container in ["containers", "initContainers"].iter().flat_map(|list| items(spec, list)) {
                        let resources = &container["resources"];
                        bounds(limit, &amounts(&resources["requests"]), &amounts(&resources["limits"]), &mut broken);
                    }
                }
                Some("Pod") if pods => bounds(limit, &of_pod(spec, "requests"), &of_pod(spec, "limits"), &mut broken),
                Some("PersistentVolumeClaim") if !pods => {
                    claim(limit, &amounts(&spec["resources"]["requests"]), &mut broken);
                }
                _ => {}
            }
        }
        if let [first, rest @ ..] = broken.as_slice() {
            let why = if rest.is_empty() { first.clone() } else { format!("[{}]", broken.join(", ")) };
            return Err(Status::forbidden(&target.definition.resource, name(object), &why));
        }
    }
    Ok(())
}

fn items<'a>(spec: &'a Value, list: &str) -> impl Iterator<Item = &'a Value> {
    spec[list].as_array().into_iter().flatten()
}

/// What a pod needs: all containers together, or the init container that needs more, with those that go on beside it.
fn of_pod(spec: &Value, part: &str) -> Amounts {
    let add = |to: &mut Amounts, amounts: &Amounts| {
        for (name, amount) in amounts {
            *to.entry(name.clone()).or_default() += amount;
        }
    };
    let (mut all, mut beside, mut most) = (Amounts::new(), Amounts::new(), Amounts::new());
    for container in items(spec, "containers") {
        add(&mut all, &amounts(&container["resources"][part]));
    }
    for container in items(spec, "initContainers") {
        let mut own = amounts(&container["resources"][part]);
        if container["restartPolicy"] == "Always" {
            add(&mut all, &own);
            add(&mut beside, &own);
            own.clone_from(&beside);
        } else {
            add(&mut own, &beside);
        }
        for (name, amount) in own {
            let known = most.entry(name).or_default();
            *known = known.max(amount);
        }
    }
    for (name, amount) in most {
        let known = all.entry(name).or_default();
        *known = known.max(amount);
    }
    all
}

/// One bound of a limit: the resource, its amount and how it is written.
fn bound<'a>(limit: &'a Value, key: &str) -> impl Iterator<Item = (&'a String, f64, &'a str)> {
    let members = limit[key].as_object().into_iter().flatten();
    members.filter_map(|(name, value)| Some((name, typed::amount(value)?, value.as_str()?)))
}

fn bounds(limit: &Value, requests: &Amounts, most: &Amounts, broken: &mut Vec<String>) {
    let kind = limit["type"].as_str().unwrap_or_default();
    for (name, least, text) in bound(limit, "min") {
        let what = format!("minimum {name} usage per {kind} is {text}");
        match (requests.get(name), most.get(name)) {
            (None, _) => broken.push(format!("{what}.  No request is specified")),
            (Some(request), _) if *request < least => broken.push(format!("{what}, but request is {request}")),
            (_, Some(limit)) if *limit < least => broken.push(format!("{what}, but limit is {limit}")),
            _ => {}
        }
    }
    for (name, greatest, text) in bound(limit, "max") {
        let what = format!("maximum {name} usage per {kind} is {text}");
        match (most.get(name), requests.get(name)) {
            (None, _) => broken.push(format!("{what}.  No limit is specified")),
            (Some(limit), _) if *limit > greatest => broken.push(format!("{what}, but limit is {limit}")),
            (_, Some(request)) if *request > greatest => broken.push(format!("{what}, but request is {request}")),
            _ => {}
        }
    }
    for (name, greatest, text) in bound(limit, "maxLimitRequestRatio") {
        let what = format!("{name} max limit to request ratio per {kind} is {text}");
        let given = |amounts: &Amounts| amounts.get(name).copied().filter(|amount| *amount != 0.0);
        match (given(requests), given(most)) {
            (None, _) => broken.push(format!("{what}, but no request is specified or request is 0")),
            (_, None) => broken.push(format!("{what}, but no limit is specified or limit is 0")),
            (Some(request), Some(limit)) if limit / request > greatest => {
                broken.push(format!("{what}, but provided ratio is {:.6}", limit / request));
            }
            _ => {}
        }
    }
}

/// Of a claim only the request counts.
fn claim(limit: &Value, requests: &Amounts, broken: &mut Vec<String>) {
    for (key, word) in [("min", "minimum"), ("max", "maximum")] {
        for (name, amount, text) in bound(limit, key) {
            let what = format!("{word} {name} usage per PersistentVolumeClaim is {text}");
            match requests.get(name) {
                None => broken.push(format!("{what}.  No request is specified")),
                Some(request) if if key == "min" { *request < amount } else { *request > amount } => {
                    broken.push(format!("{what}, but request is {request}"));
                }
                Some(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_told() {
        let limit = json!({ "type": "Container", "min": { "cpu": "100m" }, "max": { "cpu": "2", "memory": "1Gi" },
            "maxLimitRequestRatio": { "cpu": "4" } });
        let check = |requests: Value, most: Value| {
            let mut broken = Vec::new();
            bounds(&limit, &amounts(&requests), &amounts(&most), &mut broken);
            broken.len()
        };
        let memory = "1Gi";
        assert_eq!(check(json!({ "cpu": "1" }), json!({ "cpu": "2", "memory": memory })), 0);
        assert_eq!(check(json!({ "cpu": "50m" }), json!({ "cpu": "3", "memory": memory })), 3);
        assert_eq!(check(json!({}), json!({})), 4);
    }

    #[test]
    fn a_pod_needs_the_more_of_its_two_phases() {
        let container = |cpu: &str| json!({ "resources": { "requests": { "cpu": cpu } } });
        let mut beside = container("1");
        beside["restartPolicy"] = json!("Always");
        let spec =
            json!({ "containers": [container("1"), container("1")], "initContainers": [beside, container("4")] });
        assert!((of_pod(&spec, "requests")["cpu"] - 5.0).abs() < 1e-9);
    }
}
