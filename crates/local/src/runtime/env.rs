//! A container's environment: `env`, `envFrom`, Service variables and `$(VAR)` expansion, by the kubelet's rules.
//!
//! <https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables> and
//! `third_party/forked/golang/expansion`. Pure: what is looked up is passed in.

use std::collections::BTreeMap;

use serde_json::Value;

/// What a container's environment may refer to, all of the pod's namespace.
#[derive(Debug, Default)]
pub struct References {
    /// Data of `ConfigMaps` by name.
    pub config_maps: BTreeMap<String, BTreeMap<String, String>>,
    /// Decoded data of Secrets by name.
    pub secrets: BTreeMap<String, BTreeMap<String, String>>,
    /// Services: name, cluster IP, ports as (name, port, protocol).
    pub services: Vec<ServiceAddress>,
    /// Values of `status.podIP`, `status.hostIP`, `spec.nodeName`, which the kubelet knows before the API does.
    pub fields: BTreeMap<&'static str, String>,
}

/// A Service as its variables tell it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceAddress {
    /// Service's name.
    pub name: String,
    /// Its cluster IP.
    pub cluster_ip: String,
    /// Its ports: name (may be empty), number, protocol.
    pub ports: Vec<(String, u16, String)>,
}

/// A reference to something that is not there: the container waits with `CreateContainerConfigError`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvError {
    /// No such `ConfigMap` or Secret.
    #[error("{kind} {name:?} not found")]
    NoObject {
        /// `configmap` or `secret`.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// The object has no such key.
    #[error("couldn't find key {key} in {kind} {name}")]
    NoKey {
        /// `ConfigMap` or `Secret`.
        kind: &'static str,
        /// Its name.
        name: String,
        /// The key.
        key: String,
    },
    /// A `fieldRef` or `resourceFieldRef` that the kubelet does not know.
    #[error("unsupported field reference {path:?}")]
    Field {
        /// Its path.
        path: String,
    },
}

/// The environment of a container of `pod`, in order, later entries overriding earlier ones.
pub fn resolve(pod: &Value, container: &Value, references: &References) -> Result<Vec<(String, String)>, EnvError> {
    let mut env = Environment::default();
    if pod["spec"]["enableServiceLinks"] != Value::Bool(false) {
        for service in &references.services {
            service_variables(service, &mut env);
        }
    }
    for source in array(&container["envFrom"]) {
        let prefix = source["prefix"].as_str().unwrap_or("");
        for (key, value) in env_from(source, references)? {
            env.set(format!("{prefix}{key}"), value);
        }
    }
    for entry in array(&container["env"]) {
        let Some(name) = entry["name"].as_str() else { continue };
        let value = match (&entry["value"], &entry["valueFrom"]) {
            (Value::String(text), _) => Some(expand(text, |name| env.get(name))),
            (_, Value::Object(_)) => value_from(pod, container, &entry["valueFrom"], references)?,
            _ => Some(String::new()),
        };
        if let Some(value) = value {
            env.set(name.to_owned(), value);
        }
    }
    Ok(env.entries)
}

/// Expands `$(NAME)`; `$$` is a dollar sign; unknown names stay as they are written.
pub fn expand(text: &str, lookup: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
            match lookup(name) {
                Some(value) => out.push_str(&value),
                None => out.extend(["$(", name, ")"]),
            }
            rest = after;
        } else {
            out.push('$');
        }
    }
    out.push_str(rest);
    out
}

/// `command` and `args` of a container with its environment expanded into them.
pub fn expand_args(list: &Value, env: &[(String, String)]) -> Vec<String> {
    let lookup = |name: &str| env.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
    array(list).filter_map(Value::as_str).map(|text| expand(text, lookup)).collect()
}

#[derive(Default)]
struct Environment {
    entries: Vec<(String, String)>,
}

impl Environment {
    fn get(&self, name: &str) -> Option<String> {
        self.entries.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone())
    }

    fn set(&mut self, name: String, value: String) {
        match self.entries.iter_mut().find(|(key, _)| *key == name) {
            Some(entry) => entry.1 = value,
            None => self.entries.push((name, value)),
        }
    }
}

fn service_variables(service: &ServiceAddress, env: &mut Environment) {
    let Some((_, first_port, _)) = service.ports.first() else { return };
    let prefix = service.name.to_uppercase().replace('-', "_");
    env.set(format!("{prefix}_SERVICE_HOST"), service.cluster_ip.clone());
    env.set(format!("{prefix}_SERVICE_PORT"), first_port.to_string());
    for (name, port, _) in service.ports.iter().filter(|(name, ..)| !name.is_empty()) {
        let name = name.to_uppercase().replace('-', "_");
        env.set(format!("{prefix}_SERVICE_PORT_{name}"), port.to_string());
    }
    for (index, (_, port, protocol)) in service.ports.iter().enumerate() {
        let url = format!("{}://{}:{port}", protocol.to_lowercase(), service.cluster_ip);
        if index == 0 {
            env.set(format!("{prefix}_PORT"), url.clone());
        }
        let key = format!("{prefix}_PORT_{port}_{}", protocol.to_uppercase());
        env.set(format!("{key}_PROTO"), protocol.to_lowercase());
        env.set(format!("{key}_PORT"), port.to_string());
        env.set(format!("{key}_ADDR"), service.cluster_ip.clone());
        env.set(key, url);
    }
}

fn env_from(source: &Value, references: &References) -> Result<BTreeMap<String, String>, EnvError> {
    for (field, kind, objects) in
        [("configMapRef", "configmap", &references.config_maps), ("secretRef", "secret", &references.secrets)]
    {
        let Some(name) = source[field]["name"].as_str() else { continue };
        return match objects.get(name) {
            Some(data) => Ok(data.clone()),
            None if source[field]["optional"] == Value::Bool(true) => Ok(BTreeMap::new()),
            None => Err(EnvError::NoObject { kind, name: name.to_owned() }),
        };
    }
    Ok(BTreeMap::new())
}

fn value_from(
    pod: &Value,
    container: &Value,
    source: &Value,
    references: &References,
) -> Result<Option<String>, EnvError> {
    if let Some(path) = source["fieldRef"]["fieldPath"].as_str() {
        return field(pod, path, references).map(Some);
    }
    if let Some(path) = source["resourceFieldRef"]["resource"].as_str() {
        let (list, name) = path.split_once('.').unwrap_or(("limits", path));
        let quantity = &container["resources"][list][name];
        return match quantity.as_str() {
            Some(text) => Ok(Some(text.to_owned())),
            None => Err(EnvError::Field { path: path.to_owned() }),
        };
    }
    key_of(&source["configMapKeyRef"], ["configmap", "ConfigMap"], &references.config_maps)
        .transpose()
        .or_else(|| key_of(&source["secretKeyRef"], ["secret", "Secret"], &references.secrets).transpose())
        .transpose()
}

fn key_of(
    selector: &Value,
    [object, kind]: [&'static str; 2],
    objects: &BTreeMap<String, BTreeMap<String, String>>,
) -> Result<Option<String>, EnvError> {
    let (Some(name), Some(key)) = (selector["name"].as_str(), selector["key"].as_str()) else { return Ok(None) };
    let optional = selector["optional"] == Value::Bool(true);
    match objects.get(name).map(|data| data.get(key)) {
        Some(Some(value)) => Ok(Some(value.clone())),
        _ if optional => Ok(None),
        Some(None) => Err(EnvError::NoKey { kind, name: name.to_owned(), key: key.to_owned() }),
        None => Err(EnvError::NoObject { kind: object, name: name.to_owned() }),
    }
}

/// The downward API's fields: <https://kubernetes.io/docs/concepts/workloads/pods/downward-api/>.
fn field(pod: &Value, path: &str, references: &References) -> Result<String, EnvError> {
    if let Some(value) = references.fields.get(path) {
        return Ok(value.clone());
    }
    for map in ["labels", "annotations"] {
        let key = path.strip_prefix("metadata.").and_then(|rest| rest.strip_prefix(map));
        if let Some(key) = key.and_then(|key| key.strip_prefix("['")).and_then(|key| key.strip_suffix("']")) {
            return Ok(pod["metadata"][map][key].as_str().unwrap_or("").to_owned());
        }
    }
    match path {
        "metadata.name" | "metadata.namespace" | "metadata.uid" | "spec.nodeName" | "spec.serviceAccountName" => {
            let (object, key) = path.split_once('.').unwrap_or_default();
            Ok(pod[object][key].as_str().unwrap_or("").to_owned())
        }
        _ => Err(EnvError::Field { path: path.to_owned() }),
    }
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use serde_json::json;

    use super::*;

    /// Rows of upstream's `third_party/forked/golang/expansion/expand_test.go`.
    #[test]
    fn expansion_follows_upstream() {
        let lookup = |name: &str| match name {
            "VAR_A" => Some("A".to_owned()),
            "VAR_B" => Some("B".to_owned()),
            "VAR_REF" => Some("$(VAR_A)".to_owned()),
            "VAR_EMPTY" => Some(String::new()),
            _ => None,
        };
        for (input, expected) in [
            ("$(VAR_A)", "A"),
            ("___$(VAR_B)___", "___B___"),
            ("$(VAR_A)_$(VAR_B)", "A_B"),
            ("$$(VAR_B)_$(VAR_A)", "$(VAR_B)_A"),
            ("f000-$$VAR_A", "f000-$VAR_A"),
            ("foo\\$(VAR_A)bar", "foo\\Abar"),
            ("$(VAR_REF)", "$(VAR_A)"),
            ("foo$(VAR_EMPTY)bar", "foobar"),
            ("$(VAR_DNE)", "$(VAR_DNE)"),
            ("$(VAR_A", "$(VAR_A"),
            ("$VAR_A)", "$VAR_A)"),
            ("$", "$"),
            ("$$", "$"),
            ("$$$$$$$(VAR_A)", "$$$A"),
            ("$$$$$$$$(VAR_A)", "$$$$(VAR_A)"),
            ("", ""),
        ] {
            assert_eq!(expand(input, lookup), expected, "{input}");
        }
    }

    fn references() -> References {
        References {
            config_maps: BTreeMap::from([("app".into(), BTreeMap::from([("mode".into(), "async".into())]))]),
            secrets: BTreeMap::from([("login".into(), BTreeMap::from([("password".into(), "hush".into())]))]),
            services: vec![ServiceAddress {
                name: "redis-master".into(),
                cluster_ip: "127.9.128.20".into(),
                ports: vec![("resp".into(), 6379, "TCP".into())],
            }],
            fields: BTreeMap::from([("status.podIP", "127.9.0.16".to_owned())]),
        }
    }

    #[test]
    fn every_source_resolves_in_order() {
        let pod = json!({"metadata": {"name": "web-0", "namespace": "demo", "labels": {"app": "web"}},
            "spec": {"nodeName": "node-1"}});
        let container = json!({
            "envFrom": [{"prefix": "CFG_", "configMapRef": {"name": "app"}},
                        {"configMapRef": {"name": "absent", "optional": true}}],
            "env": [
                {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
                {"name": "APP", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
                {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "login", "key": "password"}}},
                {"name": "NONE", "valueFrom": {"configMapKeyRef": {"name": "app", "key": "x", "optional": true}}},
                {"name": "URL", "value": "redis://$(REDIS_MASTER_SERVICE_HOST):$(REDIS_MASTER_SERVICE_PORT)/$(LATER)"},
                {"name": "LATER", "value": "0"},
                {"name": "CFG_mode", "value": "direct"}],
        });
        let env: BTreeMap<_, _> = resolve(&pod, &container, &references()).unwrap().into_iter().collect();
        let get = |name: &str| env.get(name).map(String::as_str);
        assert_eq!(get("IP"), Some("127.9.0.16"));
        assert_eq!(get("NODE"), Some("node-1"));
        assert_eq!(get("APP"), Some("web"));
        assert_eq!(get("PASSWORD"), Some("hush"));
        assert_eq!(get("NONE"), None);
        assert_eq!(get("URL"), Some("redis://127.9.128.20:6379/$(LATER)"));
        assert_eq!(get("CFG_mode"), Some("direct"));
        assert_eq!(get("REDIS_MASTER_PORT"), Some("tcp://127.9.128.20:6379"));
        assert_eq!(get("REDIS_MASTER_PORT_6379_TCP_ADDR"), Some("127.9.128.20"));
        assert_eq!(get("REDIS_MASTER_SERVICE_PORT_RESP"), Some("6379"));
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = |source: Value| {
            let container = json!({"env": [{"name": "X", "valueFrom": source}]});
            resolve(&json!({}), &container, &references()).unwrap_err().to_string()
        };
        assert_eq!(error(json!({"configMapKeyRef": {"name": "no", "key": "k"}})), "configmap \"no\" not found");
        assert_eq!(
            error(json!({"secretKeyRef": {"name": "login", "key": "k"}})),
            "couldn't find key k in Secret login"
        );
        assert_eq!(
            error(json!({"fieldRef": {"fieldPath": "status.phase"}})),
            "unsupported field reference \"status.phase\""
        );
    }
}
