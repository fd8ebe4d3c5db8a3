//! Services.

use serde_json::{Value, json};

use super::{errors::Errors, metadata, names, pod};

/// A Service's ports, type and addresses.
pub(super) fn check(object: &Value, errors: &mut Errors) {
    let spec = &object["spec"];
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
    if kind != "LoadBalancer" {
        if spec["loadBalancerSourceRanges"].as_array().is_some_and(|ranges| !ranges.is_empty()) {
            errors.forbidden("spec.LoadBalancerSourceRanges", "may only be used when `type` is 'LoadBalancer'");
        }
        for key in ["allocateLoadBalancerNodePorts", "loadBalancerClass"] {
            if !spec[key].is_null() {
                errors.forbidden(&format!("spec.{key}"), "may only be used when `type` is 'LoadBalancer'");
            }
        }
    }
    policies(spec, kind, errors);
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
    errors.one_of(spec, "internalTrafficPolicy", "spec", &["Cluster", "Local"]);
}

fn external_name(spec: &Value, errors: &mut Errors) {
    let why = "may not be set for ExternalName services";
    for key in ["clusterIPs", "ipFamilies"] {
        if spec[key].as_array().is_some_and(|list| !list.is_empty()) {
            errors.forbidden(&format!("spec.{key}"), why);
        }
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
    let wrong = |address: &str| address.parse::<std::net::IpAddr>().is_err();
    for (index, address) in spec["clusterIPs"].as_array().into_iter().flatten().enumerate() {
        let text = address.as_str().unwrap_or_default();
        if !matches!(text, "" | "None") && wrong(text) {
            errors.invalid(&format!("spec.clusterIPs[{index}]"), address, "must be a valid IP address");
        }
    }
    for (index, address) in spec["externalIPs"].as_array().into_iter().flatten().enumerate() {
        if wrong(address.as_str().unwrap_or_default()) {
            errors.invalid(&format!("spec.externalIPs[{index}]"), address, "must be a valid IP address");
        }
    }
    for (index, family) in spec["ipFamilies"].as_array().into_iter().flatten().enumerate() {
        if !matches!(family.as_str(), Some("IPv4" | "IPv6")) {
            errors.unsupported(&format!("spec.ipFamilies[{index}]"), family, &["IPv4", "IPv6"]);
        }
    }
}
