//! Addresses, families and node ports of Services.
//!
//! <https://github.com/kubernetes/kubernetes/blob/v1.33.0/pkg/registry/core/service/storage/alloc.go>

use std::{collections::HashSet, net::Ipv4Addr};

use serde_json::{Value, json};

use crate::api::{
    Api, Cause, list,
    meta::{name, set_or_remove},
    resource::resources::SERVICES,
    status::Status,
    text,
};

/// Service addresses and node ports that are taken.
#[derive(Debug, Default)]
pub(crate) struct Addresses {
    next: u16,
    next_port: u16,
}

/// First node port, and how many there are.
const PORTS: (i64, u16) = (30_000, 2768);

fn is_external_name(spec: &Value) -> bool {
    text(spec, "type") == "ExternalName"
}

fn has_node_ports(spec: &Value) -> bool {
    matches!(text(spec, "type"), "NodePort" | "LoadBalancer")
}

fn has_health_check(spec: &Value) -> bool {
    text(spec, "type") == "LoadBalancer" && text(spec, "externalTrafficPolicy") == "Local"
}

/// Gives a new Service what it is not given.
pub(super) fn create(api: &Api, object: &mut Value) -> Result<(), Status> {
    let name = name(object).to_owned();
    let spec = &mut object["spec"];
    if !spec.is_object() {
        return Ok(());
    }
    if !text(spec, "clusterIP").is_empty() && list(spec, "clusterIPs").is_empty() {
        spec["clusterIPs"] = json!([spec["clusterIP"]]);
    }
    families(&name, spec, None)?;
    allocate(api, spec)
}

/// Keeps or gives a changed Service what it is not given, and takes from it what its type has no use for.
pub(super) fn update(api: &Api, old: &Value, object: &mut Value) -> Result<(), Status> {
    let name = name(object).to_owned();
    let (old, spec) = (&old["spec"], &mut object["spec"]);
    if !spec.is_object() {
        return Ok(());
    }
    keep(old, spec);
    if old["clusterIP"] != spec["clusterIP"] && old["clusterIPs"] == spec["clusterIPs"] {
        let given = text(spec, "clusterIP").to_owned();
        spec["clusterIPs"] = if given.is_empty() { Value::Null } else { json!([given]) };
    }
    families(&name, spec, Some(old))?;
    allocate(api, spec)?;
    drop_unused(old, spec);
    if spec["type"] != "LoadBalancer" && object["status"].is_object() {
        object["status"]["loadBalancer"] = json!({});
    }
    Ok(())
}

/// What was allocated stays where the client does not say it.
fn keep(old: &Value, spec: &mut Value) {
    if !is_external_name(old) && !is_external_name(spec) {
        if text(spec, "clusterIP").is_empty() {
            spec["clusterIP"] = old["clusterIP"].clone();
        }
        if list(spec, "clusterIPs").is_empty() {
            spec["clusterIPs"] = old["clusterIPs"].clone();
        }
    }
    if has_node_ports(old) && has_node_ports(spec) {
        let used: Vec<Value> = node_ports(spec).cloned().collect();
        for port in spec["ports"].as_array_mut().into_iter().flatten() {
            let known = list(old, "ports").iter().find(|known| known["name"] == port["name"]);
            let known = known.map(|known| known["nodePort"].clone()).filter(|known| !used.contains(known));
            if let Some(known) = known.filter(|known| !known.is_null() && !is_set(&port["nodePort"])) {
                port["nodePort"] = known;
            }
        }
    }
    if has_health_check(old) && has_health_check(spec) && !is_set(&spec["healthCheckNodePort"]) {
        spec["healthCheckNodePort"] = old["healthCheckNodePort"].clone();
    }
}

fn is_set(port: &Value) -> bool {
    port.as_i64().unwrap_or(0) != 0
}

fn node_ports(spec: &Value) -> impl Iterator<Item = &Value> {
    list(spec, "ports").iter().map(|port| &port["nodePort"]).filter(|port| is_set(port))
}

/// Takes from a Service what its type no longer has, unless the client has changed it.
fn drop_unused(old: &Value, spec: &mut Value) {
    let loses = |has: fn(&Value) -> bool, spec: &Value| has(old) && !has(spec);
    let mut gone: Vec<&str> = Vec::new();
    if loses(|spec| !is_external_name(spec), spec) {
        gone.extend(["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"]);
    }
    if loses(has_health_check, spec) {
        gone.push("healthCheckNodePort");
    }
    if loses(|spec| text(spec, "type") == "LoadBalancer", spec) {
        gone.extend(["allocateLoadBalancerNodePorts", "loadBalancerClass"]);
    }
    if loses(|spec| has_node_ports(spec) || !list(spec, "externalIPs").is_empty(), spec) {
        gone.push("externalTrafficPolicy");
    }
    if loses(has_node_ports, spec) && node_ports(spec).all(|port| node_ports(old).any(|known| known == port)) {
        for port in spec["ports"].as_array_mut().into_iter().flatten() {
            port["nodePort"] = json!(0);
        }
    }
    if let Some(members) = spec.as_object_mut() {
        members.retain(|key, value| !gone.contains(&key.as_str()) || old[key] != *value);
    }
}

/// Fills in IP families and their policy; this cluster has IPv4 alone.
fn families(name: &str, spec: &mut Value, old: Option<&Value>) -> Result<(), Status> {
    if is_external_name(spec) {
        return Ok(());
    }
    let unselective = spec["selector"].as_object().is_none_or(serde_json::Map::is_empty);
    let dual = spec["clusterIP"] == "None" && unselective;
    if spec["ipFamilyPolicy"].is_null() {
        let before = old.map(|old| old["ipFamilyPolicy"].clone()).filter(|policy| !policy.is_null());
        spec["ipFamilyPolicy"] = before.unwrap_or_else(|| json!(if dual { "RequireDualStack" } else { "SingleStack" }));
    }
    let policy = spec["ipFamilyPolicy"].clone();
    let single = policy == "SingleStack";
    let mut causes = unknown_families(spec, &policy);
    refused(name, &mut causes)?;
    if let Some(old) = old.filter(|_| single) {
        for key in ["clusterIPs", "ipFamilies"] {
            if spec[key] == old[key]
                && let Some(values) = spec[key].as_array_mut()
            {
                values.truncate(1);
            }
        }
    }
    for (key, what) in [("clusterIPs", "cluster IPs"), ("ipFamilies", "IP families")] {
        if single && list(spec, key).len() == 2 {
            let why = format!("must be 'RequireDualStack' or 'PreferDualStack' when multiple {what} are specified");
            causes.push(invalid("ipFamilyPolicy", &policy, &why));
        }
    }
    refused(name, &mut causes)?;
    if list(spec, "ipFamilies").is_empty() {
        spec["ipFamilies"] = json!(["IPv4"]);
    }
    if dual {
        if let Some(families) = spec["ipFamilies"].as_array_mut().filter(|all| all.len() < 2 && !single) {
            let other = if families[0] == "IPv4" { "IPv6" } else { "IPv4" };
            families.push(json!(other));
        }
        return Ok(());
    }
    if policy == "RequireDualStack" {
        causes.push(invalid("ipFamilyPolicy", &policy, "this cluster is not configured for dual-stack services"));
    }
    for (index, family) in list(spec, "ipFamilies").iter().enumerate().filter(|(_, family)| *family == "IPv6") {
        causes.push(invalid(&format!("ipFamilies[{index}]"), family, "not configured on this cluster"));
    }
    refused(name, &mut causes)
}

fn invalid(field: &str, value: &Value, why: &str) -> Cause {
    broken("FieldValueInvalid", field, format!("Invalid value: {value}: {why}"))
}

fn broken(reason: &str, field: &str, message: String) -> Cause {
    Cause { reason: reason.into(), field: format!("spec.{field}"), message }
}

/// Fails with what was found, if anything.
fn refused(name: &str, causes: &mut Vec<Cause>) -> Result<(), Status> {
    match std::mem::take(causes) {
        none if none.is_empty() => Ok(()),
        causes => Err(Status::invalid(&SERVICES, name, causes)),
    }
}

fn unknown_families(spec: &Value, policy: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let known = |value: &Value, known: &[&str]| known.iter().any(|known| value == known);
    let unsupported = |field: &str, value: &Value, known: &str| {
        broken("FieldValueNotSupported", field, format!("Unsupported value: {value}: supported values: {known}"))
    };
    let families = list(spec, "ipFamilies");
    for (index, family) in families.iter().enumerate() {
        let field = format!("ipFamilies[{index}]");
        if !known(family, &["IPv4", "IPv6"]) {
            causes.push(unsupported(&field, family, "\"IPv4\", \"IPv6\""));
        }
        if families[..index].contains(family) {
            causes.push(broken("FieldValueDuplicate", &field, format!("Duplicate value: {family}")));
        }
    }
    if !known(policy, &["SingleStack", "PreferDualStack", "RequireDualStack"]) {
        let all = "\"PreferDualStack\", \"RequireDualStack\", \"SingleStack\"";
        causes.push(unsupported("ipFamilyPolicy", policy, all));
    }
    causes
}

/// Gives a Service its cluster address and node ports.
fn allocate(api: &Api, spec: &mut Value) -> Result<(), Status> {
    if is_external_name(spec) {
        return Ok(());
    }
    if text(spec, "clusterIP").is_empty() {
        let ip = free_address(api)?;
        spec["clusterIP"] = json!(ip);
        spec["clusterIPs"] = json!([ip]);
    }
    if has_node_ports(spec) {
        let allocated = spec["type"] != "LoadBalancer" || spec["allocateLoadBalancerNodePorts"] != false;
        let mut given: Vec<(Value, Value)> = list(spec, "ports")
            .iter()
            .filter(|port| is_set(&port["nodePort"]))
            .map(|port| (port["port"].clone(), port["nodePort"].clone()))
            .collect();
        for port in spec["ports"].as_array_mut().into_iter().flatten().filter(|port| !is_set(&port["nodePort"])) {
            if allocated {
                // Ports of one number share their node port.
                let known = given.iter().find(|(number, _)| *number == port["port"]).map(|(_, known)| known.clone());
                port["nodePort"] = known.unwrap_or_else(|| free_port(api));
                given.push((port["port"].clone(), port["nodePort"].clone()));
            }
        }
    }
    if has_health_check(spec) && !is_set(&spec["healthCheckNodePort"]) {
        spec["healthCheckNodePort"] = free_port(api);
    }
    if let Some(members) = spec.as_object_mut()
        && members.get("healthCheckNodePort").is_some_and(|port| !is_set(port))
    {
        set_or_remove(members, "healthCheckNodePort", None);
    }
    Ok(())
}

fn free_port(api: &Api) -> Value {
    let (services, _) = api.store.list("/services", "");
    let taken = |port: i64| {
        services.iter().any(|service| {
            let spec = &service.value["spec"];
            spec["healthCheckNodePort"] == port || node_ports(spec).any(|known| *known == port)
        })
    };
    let mut addresses = api.addresses.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut port = PORTS.0;
    for _ in 0..PORTS.1 {
        port = PORTS.0 + i64::from(addresses.next_port);
        addresses.next_port = (addresses.next_port + 1) % PORTS.1;
        if !taken(port) {
            break;
        }
    }
    json!(port)
}

/// A free address of the upper half of the cluster's block.
fn free_address(api: &Api) -> Result<String, Status> {
    let (services, _) = api.store.list("/services", "");
    let taken: HashSet<&str> = services.iter().filter_map(|s| s.value["spec"]["clusterIP"].as_str()).collect();
    let mut addresses = api.addresses.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    for _ in 0..0x7e00 {
        // Hosts 128.1 to 253.255: the last ones are the runtime's own.
        addresses.next = addresses.next % 0x7dff + 1;
        let [high, low] = (0x8000 + addresses.next).to_be_bytes();
        let ip = Ipv4Addr::new(127, api.settings.block, high, low).to_string();
        if !taken.contains(ip.as_str()) {
            return Ok(ip);
        }
    }
    Err(Status::plain("failed to allocate a serviceIP: range is full"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Settings;

    #[test]
    fn a_type_that_goes_takes_its_fields_along() {
        let api = Api::in_memory(Settings { block: 1, ca_pem: String::new() }).expect("an empty API starts");
        let mut object = json!({ "metadata": { "name": "web" }, "spec": { "type": "LoadBalancer",
            "externalTrafficPolicy": "Local", "ports": [{ "name": "a", "port": 53, "protocol": "UDP" },
            { "name": "b", "port": 53, "protocol": "TCP" }] } });
        create(&api, &mut object).expect("there is room");
        let ports = &object["spec"]["ports"];
        assert_eq!(ports[0]["nodePort"], ports[1]["nodePort"], "one number, one node port");
        assert!(is_set(&object["spec"]["healthCheckNodePort"]));
        let mut new = object.clone();
        new["spec"]["type"] = json!("ClusterIP");
        update(&api, &object, &mut new).expect("it may change");
        let spec = &new["spec"];
        assert!(spec.get("healthCheckNodePort").is_none() && spec.get("externalTrafficPolicy").is_none(), "{spec}");
        assert_eq!((node_ports(spec).count(), &spec["clusterIP"]), (0, &object["spec"]["clusterIP"]));
    }

    #[test]
    fn a_headless_service_without_a_selector_is_taken_as_it_is_filled_in() {
        let api = Api::in_memory(Settings { block: 1, ca_pem: String::new() }).expect("an empty API starts");
        let mut object = json!({ "metadata": { "name": "web", "namespace": "default" },
            "spec": { "type": "ClusterIP", "clusterIP": "None", "sessionAffinity": "None" } });
        create(&api, &mut object).expect("it needs no address");
        let definition = api.definition(&SERVICES).expect("it is served");
        crate::api::model::validate_create(&definition, &object).expect("its families are the server's own choice");
    }

    #[test]
    fn families_of_headless_services_are_two() {
        let mut spec = json!({ "clusterIP": "None" });
        families("web", &mut spec, None).expect("it may have both");
        assert_eq!(spec["ipFamilies"], json!(["IPv4", "IPv6"]));
        spec["clusterIP"] = json!("127.1.128.1");
        assert_eq!(families("web", &mut spec, None).map_err(|status| status.code), Err(422));
    }
}
