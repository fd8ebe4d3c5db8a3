//! What a container's image stands for on this machine.

use std::{net::Ipv4Addr, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use democtl_core::units::parse_duration;
use serde_json::Value;

use super::{Context, container::Workload};
use crate::runtime::{
    env::{self, EnvError, References, ServiceAddress},
    objects::{Kind, ObjectsError, meta},
    process::{EXIT_ON_STDIN_EOF, Invocation},
    prometheus::DEFAULT_SCRAPE_INTERVAL,
};

/// Port of Redis in the redis image.
const REDIS_PORT: u16 = 6379;
/// Port of the prometheus image.
const PROMETHEUS_PORT: u16 = 9090;
/// Virtual containers of this annotation end after so many seconds of profile time.
pub(super) const RUN_SECONDS: &str = "democtl.dev/run-seconds";

/// Why a container cannot be made yet.
#[derive(Debug, thiserror::Error)]
pub(super) enum LaunchError {
    /// The environment refers to something that is not there.
    #[error(transparent)]
    Env(#[from] EnvError),
    /// The API did not answer.
    #[error(transparent)]
    Objects(#[from] ObjectsError),
}

/// Which kind of thing an image is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Image {
    App,
    Redis,
    Prometheus,
    Virtual,
}

impl Image {
    /// By the image's repository, whatever its registry and tag.
    pub(super) fn of(image: &str) -> Self {
        let repository = image.split('@').next().unwrap_or(image);
        let name = repository.rsplit('/').next().unwrap_or(repository).split(':').next().unwrap_or("");
        if image.contains("reliability-demo") {
            Self::App
        } else if name == "redis" {
            Self::Redis
        } else if repository.contains("prom/prometheus") {
            Self::Prometheus
        } else {
            Self::Virtual
        }
    }
}

/// Turns a container into something that can be started.
pub(super) async fn prepare(
    context: &Context,
    pod: &Value,
    container: &Value,
    pod_ip: Ipv4Addr,
    host_ip: &str,
) -> Result<Workload, LaunchError> {
    let image = Image::of(container["image"].as_str().unwrap_or(""));
    match image {
        Image::Virtual => return Ok(virtual_container(pod, container)),
        Image::Prometheus => {
            let serve = context.prometheus.clone();
            let interval = scrape_interval(context, pod).await?;
            let address = (pod_ip, PROMETHEUS_PORT).into();
            return Ok(Workload::Embedded(std::sync::Arc::new(move || serve(address, interval))));
        }
        Image::App | Image::Redis => {}
    }
    let references = references(context, pod, container, pod_ip, host_ip).await?;
    let mut env = env::resolve(pod, container, &references)?;
    let mut args = env::expand_args(&container["args"], &env);
    set_default(&mut env, "POD_NAME", meta(pod, "name"));
    env.push((EXIT_ON_STDIN_EOF.to_owned(), "1".to_owned()));
    let mut program = context.app_exe.clone();
    if image == Image::Redis {
        set_default(&mut env, "APP_BIND", &format!("{pod_ip}:{REDIS_PORT}"));
        args = match &context.redis_server {
            Some(server) => real_redis(&server.to_string_lossy(), pod_ip, &args),
            None => vec!["app".to_owned(), "redis".to_owned()],
        };
    } else {
        set_default(&mut env, "APP_BIND", &format!("{pod_ip}:{}", app_port(container)));
        // `command` would be the image's entrypoint, which is the executable itself.
        if let Some(command) = container["command"].as_array().and_then(|words| words.first()?.as_str())
            && command.starts_with('/')
            && std::path::Path::new(command).is_file()
        {
            program = command.into();
        }
    }
    Ok(Workload::Process(Invocation { program, args, env, dir: context.work_dir.clone() }))
}

/// `redis-server` below the app's supervisor, which ends it when the cluster is gone.
fn real_redis(server: &str, pod_ip: Ipv4Addr, args: &[String]) -> Vec<String> {
    let (ip, port) = (pod_ip.to_string(), REDIS_PORT.to_string());
    let fixed = ["app", "supervise", "--", server, "--bind", &ip, "--port", &port, "--protected-mode", "no"];
    let mut all: Vec<String> = fixed.map(str::to_owned).into();
    all.extend(["--save", "", "--appendonly", "no", "--daemonize", "no"].map(str::to_owned));
    let own = args.iter().skip_while(|arg| arg.ends_with("redis-server"));
    all.extend(own.cloned());
    all
}

/// `global.scrape_interval` of the `prometheus.yml` in one of the pod's `ConfigMap` volumes.
async fn scrape_interval(context: &Context, pod: &Value) -> Result<Duration, LaunchError> {
    for volume in pod["spec"]["volumes"].as_array().into_iter().flatten() {
        let config = fetch(context, Kind::ConfigMap, meta(pod, "namespace"), &volume["configMap"]["name"]).await?;
        let Some(text) = config.as_ref().and_then(|config| config["data"]["prometheus.yml"].as_str()) else { continue };
        let settings: Value = serde_yaml_ng::from_str(text).unwrap_or_default();
        let interval = settings["global"]["scrape_interval"].as_str().and_then(|text| parse_duration(text).ok());
        return Ok(interval.filter(|interval| !interval.is_zero()).unwrap_or(DEFAULT_SCRAPE_INTERVAL));
    }
    Ok(DEFAULT_SCRAPE_INTERVAL)
}

fn app_port(container: &Value) -> u64 {
    container["ports"][0]["containerPort"].as_u64().unwrap_or(8080)
}

/// Runs for ever, or as long as its command (`sleep 5`, `true`, `false`) or the pod's annotation says.
fn virtual_container(pod: &Value, container: &Value) -> Workload {
    let words: Vec<&str> = [&container["command"], &container["args"]]
        .into_iter()
        .filter_map(Value::as_array)
        .flatten()
        .filter_map(Value::as_str)
        .flat_map(str::split_whitespace)
        .skip_while(|word| matches!(*word, "sh" | "/bin/sh" | "bash" | "/bin/bash" | "-c" | "-ec"))
        .collect();
    let annotated = pod["metadata"]["annotations"][RUN_SECONDS].as_str().and_then(|text| text.parse::<f64>().ok());
    let seconds = |seconds: f64| Duration::try_from_secs_f64(seconds).ok();
    let (ends_after, code) = match words.as_slice() {
        _ if annotated.is_some() => (annotated.and_then(seconds), 0),
        ["true" | "/bin/true"] | ["echo", ..] => (Some(Duration::ZERO), 0),
        ["false" | "/bin/false"] => (Some(Duration::ZERO), 1),
        ["exit", code] => (Some(Duration::ZERO), code.parse().unwrap_or(0)),
        ["sleep" | "/bin/sleep", time] => (time.trim_end_matches('s').parse().ok().and_then(seconds), 0),
        _ => (None, 0),
    };
    Workload::Virtual { ends_after, code }
}

/// Fetches what the container's environment refers to.
async fn references(
    context: &Context,
    pod: &Value,
    container: &Value,
    pod_ip: Ipv4Addr,
    host_ip: &str,
) -> Result<References, LaunchError> {
    let namespace = meta(pod, "namespace");
    let mut references = References::default();
    let sources: Vec<&Value> =
        [&container["env"], &container["envFrom"]].into_iter().filter_map(Value::as_array).flatten().collect();
    for source in sources {
        let from = &source["valueFrom"];
        for name in [&source["configMapRef"]["name"], &from["configMapKeyRef"]["name"]] {
            if let Some(object) = fetch(context, Kind::ConfigMap, namespace, name).await? {
                references.config_maps.insert(meta(&object, "name").to_owned(), texts(&object["data"], Some));
            }
        }
        for name in [&source["secretRef"]["name"], &from["secretKeyRef"]["name"]] {
            if let Some(object) = fetch(context, Kind::Secret, namespace, name).await? {
                let data = texts(&object["data"], |text| {
                    BASE64_STANDARD.decode(text).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
                });
                references.secrets.insert(meta(&object, "name").to_owned(), data);
            }
        }
    }
    let services = context.objects.list(Kind::Service, Some(namespace)).await?;
    references.services = services.iter().filter_map(|service| service_address(service)).collect();
    references.fields = [
        ("status.podIP", pod_ip.to_string()),
        ("status.podIPs", pod_ip.to_string()),
        ("status.hostIP", host_ip.to_owned()),
    ]
    .into();
    Ok(references)
}

async fn fetch(context: &Context, kind: Kind, namespace: &str, name: &Value) -> Result<Option<Value>, ObjectsError> {
    let Some(name) = name.as_str() else { return Ok(None) };
    match context.objects.get(kind, namespace, name).await {
        Ok(object) => Ok(Some(object)),
        Err(ObjectsError::NotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

fn texts(data: &Value, decode: impl Fn(String) -> Option<String>) -> std::collections::BTreeMap<String, String> {
    let entries = data.as_object().into_iter().flatten();
    entries.filter_map(|(key, value)| Some((key.clone(), decode(value.as_str()?.to_owned())?))).collect()
}

/// A Service with a cluster IP; headless ones have no variables.
fn service_address(service: &Value) -> Option<ServiceAddress> {
    let cluster_ip = service["spec"]["clusterIP"].as_str().filter(|ip| !ip.is_empty() && *ip != "None")?;
    let ports = service["spec"]["ports"].as_array()?.iter().filter_map(|port| {
        let number = u16::try_from(port["port"].as_u64()?).ok()?;
        let text = |field: &str, default: &str| port[field].as_str().unwrap_or(default).to_owned();
        Some((text("name", ""), number, text("protocol", "TCP")))
    });
    Some(ServiceAddress {
        name: meta(service, "name").to_owned(),
        cluster_ip: cluster_ip.to_owned(),
        ports: ports.collect(),
    })
}

fn set_default(env: &mut Vec<(String, String)>, name: &str, value: &str) {
    if !env.iter().any(|(key, _)| key == name) {
        env.push((name.to_owned(), value.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn images_by_repository() {
        for (image, expected) in [
            ("ghcr.io/democtl/reliability-demo:0.1.0", Image::App),
            ("reliability-demo@sha256:00", Image::App),
            ("redis:7-alpine", Image::Redis),
            ("docker.io/library/redis", Image::Redis),
            ("bitnami/redis-exporter:1", Image::Virtual),
            ("prom/prometheus:v3.1.0", Image::Prometheus),
            ("registry:5000/nginx", Image::Virtual),
        ] {
            assert_eq!(Image::of(image), expected, "{image}");
        }
    }

    #[test]
    fn virtual_containers_end_as_their_command_says() {
        let run = |container: Value| match virtual_container(&json!({}), &container) {
            Workload::Virtual { ends_after, code } => (ends_after.map(|after| after.as_secs()), code),
            Workload::Process(_) | Workload::Embedded(_) => (Some(u64::MAX), -1),
        };
        assert_eq!(run(json!({"command": ["sleep", "5"]})), (Some(5), 0));
        assert_eq!(run(json!({"command": ["sh", "-c", "sleep 3"]})), (Some(3), 0));
        assert_eq!(run(json!({"command": ["false"]})), (Some(0), 1));
        assert_eq!(run(json!({"args": ["serve"]})), (None, 0));
    }
}
