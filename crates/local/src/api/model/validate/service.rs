//! Services.

use serde_json::{Value, json};

use super::{
    errors::{Errors, list, text},
    metadata, names, pod,
};

/// A Service's ports, type and addresses.
pub(super) fn check(old: Option<&Value>, object: &Value, errors: &mut Errors) {
    let spec = &object["spec"];
    // Upstream draws ports before it looks at anything else.
    if old.is_none() && node_ports(spec, errors) {
        return;
    }
    let kind = spec["type"].as_str().unwrap_or_default();
    let headless = spec["clusterIP"] == "None";
    let ports = spec["ports"].as_array().map_or(&[][..], Vec::as_slice);
    if ports.is_empty() && !headless && kind != "ExternalName" {
        errors.required("spec.ports", "");
    }
    match kind {
        "LoadBalancer" | "NodePort" if headless => {
            let why = format!("may not be set to 'None' for {kind} services");
            errors.invalid("spec.clusterIPs[0]", &json!("None"), &why);
        }
        "ExternalName" => external_name(spec, errors),
        _ => {}
    }
    let mut known: Vec<&str> = Vec::new();
    for (index, one) in ports.iter().enumerate() {
        port(one, &format!("spec.ports[{index}]"), ports.len() > 1, &mut known, errors);
    }
    metadata::labels(&spec["selector"], "spec.selector", errors);
    errors.one_of(spec, "sessionAffinity", "spec", &["ClientIP", "None"]);
    if let Some(seconds) = spec["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"].as_i64()
        && !(1..=86_400).contains(&seconds)
    {
        let field = "spec.sessionAffinityConfig.clientIP.timeoutSeconds";
        errors.invalid(field, &json!(seconds), "must be greater than 0 and less than or equal to 86400");
    }
    addresses(spec, errors);
    errors.one_of(spec, "type", "spec", &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"]);
    if kind == "ClusterIP" {
        for index in (0..ports.len()).filter(|index| ports[*index]["nodePort"].as_i64().unwrap_or(0) != 0) {
            errors.forbidden(&format!("spec.ports[{index}].nodePort"), "may not be used when `type` is 'ClusterIP'");
        }
    }
    for key in ["nodePort", "port"] {
        for (index, one) in ports.iter().enumerate().filter(|(_, one)| one[key].as_i64().unwrap_or(0) != 0) {
            let same = |other: &&Value| other["protocol"] == one["protocol"] && other[key] == one[key];
            if ports[..index].iter().find(same).is_some() {
                let field = if key == "port" {
                    format!("spec.ports[{index}]")
                } else {
                    format!("spec.ports[{index}].nodePort")
                };
                errors.duplicate(&field, &one[key]);
            }
        }
    }
    source_ranges(object, errors);
    if kind == "LoadBalancer" {
        if let Some(class) = spec["loadBalancerClass"].as_str() {
            errors.texts("spec.loadBalancerClass", class, names::qualified(class));
        }
    } else {
        for key in ["allocateLoadBalancerNodePorts", "loadBalancerClass"] {
            if !spec[key].is_null() {
                errors.forbidden(&format!("spec.{key}"), "may only be used when `type` is 'LoadBalancer'");
            }
        }
    }
    policies(spec, kind, errors);
}

/// Who may come through a load balancer: in the spec, or in an annotation.
fn source_ranges(object: &Value, errors: &mut Errors) {
    let spec = &object["spec"];
    let annotation = "service.beta.kubernetes.io/load-balancer-source-ranges";
    let given = object["metadata"]["annotations"][annotation].as_str().map(str::trim);
    let field = format!("metadata.annotations[{annotation}]");
    let ranges = list(spec, "loadBalancerSourceRanges");
    let balanced = spec["type"] == "LoadBalancer";
    let why = "may only be used when `type` is 'LoadBalancer'";
    if !ranges.is_empty() {
        if !balanced {
            errors.forbidden("spec.LoadBalancerSourceRanges", why);
        }
        for (index, range) in ranges.iter().enumerate() {
            if !names::is_block(range.as_str().unwrap_or_default().trim()) {
                let at = format!("spec.LoadBalancerSourceRanges[{index}]");
                errors.invalid(&at, range, "must be a valid CIDR value");
            }
        }
    } else if let Some(given) = given {
        if !balanced {
            errors.forbidden(&field, why);
        }
        if !given.is_empty() && !given.split(',').all(|range| names::is_block(range.trim())) {
            errors.invalid(
                &field,
                &json!(given),
                "must be a list of IP ranges. For example, 10.240.0.0/24,10.250.0.0/24",
            );
        }
    }
}

fn policies(spec: &Value, kind: &str, errors: &mut Errors) {
    let external = matches!(kind, "NodePort" | "LoadBalancer")
        || kind == "ClusterIP" && spec["externalIPs"].as_array().is_some_and(|ips| !ips.is_empty());
    match spec["externalTrafficPolicy"].as_str() {
        Some(policy) if !external => {
            let why = "may only be set for externally-accessible services";
            errors.invalid("spec.externalTrafficPolicy", &json!(policy), why);
        }
        Some(_) => errors.one_of(spec, "externalTrafficPolicy", "spec", &["Cluster", "Local"]),
        None if external => errors.required("spec.externalTrafficPolicy", ""),
        None => {}
    }
    let checked = kind == "LoadBalancer" && spec["externalTrafficPolicy"] == "Local";
    if !checked && spec["healthCheckNodePort"].as_i64().unwrap_or(0) != 0 {
        let why = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
        errors.invalid("spec.healthCheckNodePort", &spec["healthCheckNodePort"], why);
    }
    errors.one_of(spec, "internalTrafficPolicy", "spec", &["Cluster", "Local"]);
    errors.one_of(spec, "trafficDistribution", "spec", &["PreferClose"]);
}

/// Ports of nodes come from a range, and each is taken once.
fn node_ports(spec: &Value, errors: &mut Errors) -> bool {
    let before = errors.0.len();
    let ports = list(spec, "ports");
    for (index, port) in ports.iter().enumerate().filter(|_| matches!(text(spec, "type"), "NodePort" | "LoadBalancer"))
    {
        let number = port["nodePort"].as_i64().filter(|number| *number != 0);
        let at = format!("spec.ports[{index}].nodePort");
        if number.is_some_and(|number| !(30_000..=32_767).contains(&number)) {
            let why = "provided port is not in the valid range. The range of valid ports is 30000-32767";
            errors.invalid(&at, &port["nodePort"], why);
            break;
        }
        let same = |other: &Value| other["nodePort"] == port["nodePort"] && other["protocol"] == port["protocol"];
        if number.is_some() && ports[..index].iter().any(same) {
            errors.invalid(&at, &port["nodePort"], "provided port is already allocated");
            break;
        }
    }
    errors.0.len() > before
}

fn external_name(spec: &Value, errors: &mut Errors) {
    let why = "may not be set for ExternalName services";
    if !list(spec, "clusterIPs").is_empty() || spec["clusterIP"] == "None" {
        errors.forbidden("spec.clusterIPs", why);
    }
    if !list(spec, "ipFamilies").is_empty() {
        errors.forbidden("spec.ipFamilies", why);
    }
    if !spec["ipFamilyPolicy"].is_null() {
        errors.forbidden("spec.ipFamilyPolicy", why);
    }
    match spec["externalName"].as_str().unwrap_or_default().trim_end_matches('.') {
        "" => errors.required("spec.externalName", ""),
        name => errors.texts("spec.externalName", name, names::subdomain(name)),
    }
}

fn port<'a>(port: &'a Value, path: &str, named: bool, known: &mut Vec<&'a str>, errors: &mut Errors) {
    let name = port["name"].as_str().unwrap_or_default();
    if named && name.is_empty() {
        errors.required(&format!("{path}.name"), "");
    } else if !name.is_empty() {
        errors.texts(&format!("{path}.name"), name, names::label(name));
        if known.contains(&name) {
            errors.duplicate(&format!("{path}.name"), &json!(name));
        }
        known.push(name);
    }
    pod::port_number(port["port"].as_i64().unwrap_or(0), &format!("{path}.port"), errors);
    errors.one_of(port, "protocol", path, &["SCTP", "TCP", "UDP"]);
    pod::port_number_or_name(&port["targetPort"], &format!("{path}.targetPort"), errors);
    if let Some(protocol) = port["appProtocol"].as_str() {
        errors.texts(&format!("{path}.appProtocol"), protocol, names::qualified(protocol));
    }
}

fn addresses(spec: &Value, errors: &mut Errors) {
    let wrong = |address: &str| names::ip(address).is_none();
    for (index, address) in spec["clusterIPs"].as_array().into_iter().flatten().enumerate() {
        let text = address.as_str().unwrap_or_default();
        if !matches!(text, "" | "None") && wrong(text) {
            errors.invalid(&format!("spec.clusterIPs[{index}]"), address, "must be a valid IP address");
        }
    }
    for (index, address) in spec["externalIPs"].as_array().into_iter().flatten().enumerate() {
        let (given, field) = (address.as_str().unwrap_or_default(), format!("spec.externalIPs[{index}]"));
        if wrong(given) {
            errors.invalid(&field, address, "must be a valid IP address");
        } else if let Some(why) = names::ip(given).and_then(names::not_special) {
            errors.invalid(&field, address, why);
        }
    }
}
