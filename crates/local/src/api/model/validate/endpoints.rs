//! Endpoints and endpoint slices.

use serde_json::{Value, json};

use super::{
    errors::{Errors, is_absent, list, text},
    names, pod,
};

/// An address that can be reached from elsewhere.
fn address(given: &str, field: &str, errors: &mut Errors) {
    if let Some(why) = names::ip(given).and_then(names::not_special) {
        errors.invalid(field, &json!(given), why);
    }
}

fn port(port: &Value, at: &str, errors: &mut Errors) {
    errors.one_of(port, "protocol", at, &["SCTP", "TCP", "UDP"]);
    if let Some(protocol) = port["appProtocol"].as_str() {
        errors.texts(&format!("{at}.appProtocol"), protocol, names::qualified(protocol));
    }
}

/// Addresses and ports.
pub(super) fn endpoints(object: &Value, errors: &mut Errors) {
    for (index, subset) in list(object, "subsets").iter().enumerate() {
        let at = format!("subsets[{index}]");
        if list(subset, "addresses").is_empty() && list(subset, "notReadyAddresses").is_empty() {
            errors.required(&at, "must specify `addresses` or `notReadyAddresses`");
        }
        for key in ["addresses", "notReadyAddresses"] {
            for (place, endpoint) in list(subset, key).iter().enumerate() {
                let at = format!("{at}.{key}[{place}]");
                let given = text(endpoint, "ip");
                if names::ip(given).is_none() {
                    errors.invalid(&format!("{at}.ip"), &endpoint["ip"], "must be a valid IP address");
                }
                let host = text(endpoint, "hostname");
                if !host.is_empty() {
                    errors.texts(&format!("{at}.hostname"), host, names::label(host));
                }
                if let Some(node) = endpoint["nodeName"].as_str() {
                    errors.texts(&format!("{at}.nodeName"), node, names::subdomain(node));
                }
                if names::ip(given).is_none() {
                    errors.invalid(&format!("{at}.ip"), &endpoint["ip"], "must be a valid IP address");
                }
                address(given, &format!("{at}.ip"), errors);
            }
        }
        let ports = list(subset, "ports");
        for (place, one) in ports.iter().enumerate() {
            let at = format!("{at}.ports[{place}]");
            let name = text(one, "name");
            if ports.len() > 1 && name.is_empty() {
                errors.required(&format!("{at}.name"), "");
            } else if !name.is_empty() {
                errors.texts(&format!("{at}.name"), name, names::label(name));
            }
            pod::port_number(one["port"].as_i64().unwrap_or(0), &format!("{at}.port"), errors);
            port(one, &at, errors);
        }
    }
}

/// An endpoint slice.
pub(super) fn slice(object: &Value, errors: &mut Errors) {
    const KINDS: [&str; 3] = ["FQDN", "IPv4", "IPv6"];
    let kind = text(object, "addressType");
    if kind.is_empty() {
        errors.required("addressType", "");
    } else {
        errors.one_of(object, "addressType", "", &KINDS);
    }
    let ports = list(object, "ports");
    if ports.len() > 20_000 {
        errors.too_many("ports", ports.len(), 20_000);
    } else {
        slice_ports(ports, errors);
    }
    let endpoints = list(object, "endpoints");
    if endpoints.len() > 1000 {
        errors.too_many("endpoints", endpoints.len(), 1000);
        return;
    }
    for (index, endpoint) in endpoints.iter().enumerate() {
        let at = format!("endpoints[{index}]");
        addresses(kind, list(endpoint, "addresses"), &format!("{at}.addresses"), errors);
        let (node, host) = (text(endpoint, "nodeName"), text(endpoint, "hostname"));
        if !is_absent(&endpoint["nodeName"]) {
            errors.texts(&format!("{at}.nodeName"), node, names::subdomain(node));
        }
        if !is_absent(&endpoint["hostname"]) {
            errors.texts(&format!("{at}.hostname"), host, names::label(host));
        }
        zones(list(&endpoint["hints"], "forZones"), &format!("{at}.hints.forZones"), errors);
    }
}

fn slice_ports(ports: &[Value], errors: &mut Errors) {
    let mut known = std::collections::HashSet::new();
    for (index, one) in ports.iter().enumerate() {
        let at = format!("ports[{index}]");
        let name = text(one, "name");
        if !name.is_empty() {
            errors.texts(&format!("{at}.name"), name, names::label(name));
        }
        if !known.insert(name) {
            errors.duplicate(&format!("{at}.name"), &json!(name));
        }
        port(one, &at, errors);
    }
}

fn addresses(kind: &str, addresses: &[Value], at: &str, errors: &mut Errors) {
    if addresses.is_empty() {
        errors.required(at, "must contain at least 1 address");
    } else if addresses.len() > 100 {
        errors.too_many(at, addresses.len(), 100);
        return;
    }
    for (place, given) in addresses.iter().filter_map(Value::as_str).enumerate() {
        let field = format!("{at}[{place}]");
        match (kind, names::ip(given)) {
            ("FQDN", _) => errors.texts(&field, given, names::subdomain(given)),
            ("IPv4" | "IPv6", None) => {
                let why = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
                errors.invalid(&field, &json!(given), why);
            }
            // Of another family: upstream names the list.
            ("IPv4", Some(ip)) if !ip.is_ipv4() => errors.invalid(at, &json!(given), "must be an IPv4 address"),
            ("IPv6", Some(ip)) if !ip.is_ipv6() => errors.invalid(at, &json!(given), "must be an IPv6 address"),
            ("IPv4" | "IPv6", Some(_)) => address(given, &field, errors),
            _ => {}
        }
    }
}

fn zones(zones: &[Value], at: &str, errors: &mut Errors) {
    if zones.len() > 8 {
        errors.too_many(at, zones.len(), 8);
        return;
    }
    for (index, zone) in zones.iter().enumerate() {
        let (name, field) = (text(zone, "name"), format!("{at}[{index}].name"));
        if zones[..index].iter().any(|other| text(other, "name") == name) {
            errors.duplicate(&field, &json!(name));
        }
        errors.texts(&field, name, names::label_value(name));
    }
}
