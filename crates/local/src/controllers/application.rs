//! Argo CD Applications: syncs a local directory of manifests, in waves, and tells how they are.
//!
//! Upstream: <https://argo-cd.readthedocs.io/en/stable/operator-manual/declarative-setup/>; fields that the manifests leave
//! out, such as the replicas of a scaled Deployment, belong to others and are never reset.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc, time::Duration};

use serde_json::{Value, json};

use super::{
    Context,
    object::{find, int, is_deleting, items, name, namespace, now, text, uid, write_status},
    scaled_object::contains,
};
use crate::api::{Client, DeleteOptions, Resource, Status, resources::APPLICATIONS};

/// Argo CD's tracking label.
const INSTANCE: &str = "app.kubernetes.io/instance";
const WAVE: &str = "argocd.argoproj.io/sync-wave";
/// How often the directory is compared with the cluster, profile time (Argo CD polls every 3 minutes and watches the
/// cluster; a directory is cheaper to read).
const PERIOD: Duration = Duration::from_secs(15);
const COMPONENT: &str = "argocd-application-controller";

pub(super) async fn run(context: Context) {
    let client = context.client.as_manager("argocd-controller");
    let mut attempts = BTreeMap::<String, Attempts>::new();
    let (mut version, mut due) = (0, Duration::ZERO);
    loop {
        let (applications, _) = client.list(&APPLICATIONS, "");
        let seen = applications.iter().filter_map(|app| app["metadata"]["generation"].as_i64()).sum::<i64>()
            + applications.len() as i64;
        let settling = applications.iter().any(|app| text(app, "/status/health/status") != "Healthy");
        let now = context.clock.now();
        if seen != version || now >= due || settling {
            (version, due) = (seen, now + PERIOD);
            for application in &applications {
                let tries = attempts.entry(uid(application).to_owned()).or_default();
                if let Err(status) = visit(&client, application, tries, now)
                    && !status.is_conflict()
                {
                    tracing::warn!(%status, application = name(application), "application");
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

/// Tries of a sync that failed.
#[derive(Default)]
struct Attempts {
    failed: u32,
    next: Duration,
}

/// A manifest with the resource that it is of.
struct Wanted {
    resource: Resource,
    manifest: Value,
}

fn visit(client: &Client, application: &Arc<Value>, tries: &mut Attempts, now: Duration) -> Result<(), Status> {
    if is_deleting(application) {
        return finalize(client, application);
    }
    let wanted = match read_manifests(client, application) {
        Ok(wanted) => wanted,
        Err(error) => return comparison_failed(client, application, &error),
    };
    let out_of_sync = |wanted: &Wanted| {
        let live = live(client, wanted).ok().flatten();
        live.is_none_or(|live| !contains(&live, &wanted.manifest))
    };
    let stale = stale(client, application, &wanted);
    let automated = application["spec"]["syncPolicy"]["automated"].is_object();
    let prune = application["spec"]["syncPolicy"]["automated"]["prune"] == true;
    let changed: Vec<&Wanted> = wanted.iter().filter(|wanted| out_of_sync(wanted)).collect();
    let mut error = None;
    if automated && now >= tries.next && (!changed.is_empty() || (prune && !stale.is_empty())) {
        error = sync(client, &changed, if prune { &stale } else { &[] }).err();
        retry(application, tries, error.as_ref(), now);
        if error.is_none() {
            let message = "Sync operation succeeded";
            client.record_event(application, "Normal", "OperationCompleted", message, COMPONENT);
        }
    }
    tell(client, application, &wanted, &stale, error.as_ref())
}

/// `retry: { limit, backoff: { duration, factor, maxDuration } }`.
fn retry(application: &Value, tries: &mut Attempts, error: Option<&Status>, now: Duration) {
    if error.is_none() {
        *tries = Attempts::default();
        return;
    }
    let policy = &application["spec"]["syncPolicy"]["retry"];
    let seconds = |key: &str, default: f64| {
        let duration = policy["backoff"][key].as_str().and_then(|text| democtl_core::units::parse_duration(text).ok());
        duration.map_or(default, |duration| duration.as_secs_f64())
    };
    tries.failed += 1;
    let limit = int(policy, "/limit").unwrap_or(5).max(0) as u32;
    let factor = policy["backoff"]["factor"].as_f64().unwrap_or(2.0);
    let wait = (seconds("duration", 5.0) * factor.powi(tries.failed as i32 - 1)).min(seconds("maxDuration", 180.0));
    tries.next = if tries.failed > limit { Duration::MAX } else { now + Duration::from_secs_f64(wait) };
}

fn read_manifests(client: &Client, application: &Value) -> Result<Vec<Wanted>, String> {
    let source = &application["spec"]["source"];
    let url = source["repoURL"].as_str().unwrap_or_default();
    let root =
        url.strip_prefix("file://").ok_or_else(|| format!("repoURL {url:?} is not a local directory (file://...)"))?;
    let dir = Path::new(root).join(source["path"].as_str().unwrap_or_default());
    let entries = fs::read_dir(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "yaml" || ending == "yml" || ending == "json"));
    paths.sort();
    let mut wanted = Vec::new();
    for path in paths {
        let content = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        for document in serde_yaml_ng::Deserializer::from_str(&content) {
            let manifest: Value =
                serde::Deserialize::deserialize(document).map_err(|e| format!("{}: {e}", path.display()))?;
            if manifest.is_null() {
                continue;
            }
            wanted
                .push(prepare(client, application, manifest).map_err(|error| format!("{}: {error}", path.display()))?);
        }
    }
    wanted.sort_by_key(|wanted| wave(&wanted.manifest));
    Ok(wanted)
}

fn wave(manifest: &Value) -> i64 {
    manifest["metadata"]["annotations"][WAVE].as_str().and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// Fills in the namespace and the tracking label.
fn prepare(client: &Client, application: &Value, mut manifest: Value) -> Result<Wanted, String> {
    let (api_version, kind) = (text(&manifest, "/apiVersion").to_owned(), text(&manifest, "/kind").to_owned());
    let resource = client
        .resource_of(&api_version, &kind)
        .ok_or_else(|| format!("the cluster knows no {kind} of {api_version}"))?;
    if resource.namespaced && namespace(&manifest).is_empty() {
        manifest["metadata"]["namespace"] = application["spec"]["destination"]["namespace"].clone();
    }
    manifest["metadata"]["labels"][INSTANCE] = json!(name(application));
    Ok(Wanted { resource, manifest })
}

fn live(client: &Client, wanted: &Wanted) -> Result<Option<Arc<Value>>, Status> {
    find(client, &wanted.resource, namespace(&wanted.manifest), name(&wanted.manifest))
}

/// Objects that an earlier sync made and the directory no longer has.
fn stale(client: &Client, application: &Value, wanted: &[Wanted]) -> Vec<(Resource, Arc<Value>)> {
    items(application, "/status/resources")
        .filter_map(|known| {
            let group = known["group"].as_str().unwrap_or_default();
            let version = known["version"].as_str().unwrap_or_default();
            let api_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
            let kind = known["kind"].as_str().unwrap_or_default();
            let space = known["namespace"].as_str().unwrap_or_default();
            let known_name = known["name"].as_str().unwrap_or_default();
            let still = wanted.iter().any(|wanted| {
                wanted.resource.kind == kind
                    && name(&wanted.manifest) == known_name
                    && namespace(&wanted.manifest) == space
            });
            if still {
                return None;
            }
            let resource = client.resource_of(&api_version, kind)?;
            let object = find(client, &resource, space, known_name).ok().flatten()?;
            Some((resource, object))
        })
        .collect()
}

fn sync(client: &Client, changed: &[&Wanted], stale: &[(Resource, Arc<Value>)]) -> Result<(), Status> {
    for wanted in changed {
        let (space, object) = (namespace(&wanted.manifest), name(&wanted.manifest));
        client.apply(&wanted.resource, space, object, &wanted.manifest)?;
    }
    for (resource, object) in stale {
        client.delete(resource, namespace(object), name(object), &DeleteOptions::background())?;
    }
    Ok(())
}

/// Deletes what the Application made, then lets it go.
fn finalize(client: &Client, application: &Value) -> Result<(), Status> {
    const FINALIZER: &str = "resources-finalizer.argocd.argoproj.io";
    if !items(application, "/metadata/finalizers").any(|finalizer| finalizer == FINALIZER) {
        return Ok(());
    }
    let left = stale(client, application, &[]);
    for (resource, object) in &left {
        if !is_deleting(object) {
            client.delete(resource, namespace(object), name(object), &DeleteOptions::background())?;
        }
    }
    if !left.is_empty() {
        return Ok(());
    }
    let rest: Vec<&Value> = items(application, "/metadata/finalizers").filter(|f| **f != FINALIZER).collect();
    let patch = json!({ "metadata": { "finalizers": rest } });
    client.merge_patch(&APPLICATIONS, namespace(application), name(application), None, &patch).map(drop)
}

fn comparison_failed(client: &Client, application: &Value, error: &str) -> Result<(), Status> {
    let mut status = application["status"].clone();
    if !status.is_object() {
        status = json!({});
    }
    let old = items(application, "/status/conditions").find(|condition| condition["message"] == error);
    let since = old.map_or_else(|| json!(now()), |old| old["lastTransitionTime"].clone());
    status["sync"]["status"] = json!("Unknown");
    status["conditions"] = json!([{ "type": "ComparisonError", "message": error, "lastTransitionTime": since }]);
    write_status(client, &APPLICATIONS, application, &status)
}

fn tell(
    client: &Client,
    application: &Arc<Value>,
    wanted: &[Wanted],
    stale: &[(Resource, Arc<Value>)],
    error: Option<&Status>,
) -> Result<(), Status> {
    let mut resources = Vec::new();
    let (mut worst, mut synced) = ("Healthy", stale.is_empty());
    for wanted in wanted {
        let live = live(client, wanted)?;
        let in_sync = live.as_ref().is_some_and(|live| contains(live, &wanted.manifest));
        synced &= in_sync;
        let health = live.as_ref().map_or("Missing", |live| health(live));
        worst = [worst, health].into_iter().max_by_key(|health| severity(health)).unwrap_or(worst);
        resources.push(json!({
            "group": wanted.resource.group,
            "version": wanted.resource.version,
            "kind": wanted.resource.kind,
            "namespace": namespace(&wanted.manifest),
            "name": name(&wanted.manifest),
            "status": if in_sync { "Synced" } else { "OutOfSync" },
            "health": { "status": health },
        }));
    }
    for (resource, object) in stale {
        resources.push(json!({
            "group": resource.group, "version": resource.version, "kind": resource.kind,
            "namespace": namespace(object), "name": name(object), "status": "OutOfSync", "requiresPruning": true,
        }));
    }
    let mut status = application["status"].clone();
    if !status.is_object() {
        status = json!({});
    }
    if let Some(status) = status.as_object_mut() {
        status.shift_remove("conditions");
    }
    status["sync"] = json!({ "status": if synced { "Synced" } else { "OutOfSync" } });
    status["health"] = json!({ "status": worst });
    status["resources"] = json!(resources);
    let phase = match error {
        Some(error) => Some(("Failed", error.to_string())),
        None if synced => Some(("Succeeded", "successfully synced (all tasks run)".to_owned())),
        None => None,
    };
    if let Some((phase, message)) = phase
        && (status["operationState"]["phase"] != phase || status["operationState"]["message"] != message)
    {
        status["operationState"] = json!({ "phase": phase, "message": message, "finishedAt": now() });
    }
    write_status(client, &APPLICATIONS, application, &status)
}

/// Argo CD's health of an object, for the kinds that have one.
fn health(object: &Value) -> &'static str {
    let number = |pointer: &str| int(object, pointer).unwrap_or(0);
    match text(object, "/kind") {
        "Deployment" => {
            let wanted = int(object, "/spec/replicas").unwrap_or(1);
            let observed = object["status"]["observedGeneration"] == object["metadata"]["generation"];
            let done = number("/status/updatedReplicas") >= wanted && number("/status/availableReplicas") >= wanted;
            if observed && done { "Healthy" } else { "Progressing" }
        }
        "Service" if text(object, "/spec/type") == "LoadBalancer" => {
            let has_address = items(object, "/status/loadBalancer/ingress").next().is_some();
            if has_address { "Healthy" } else { "Progressing" }
        }
        "ScaledObject" => {
            let ready = items(object, "/status/conditions").find(|condition| condition["type"] == "Ready");
            match ready.and_then(|condition| condition["status"].as_str()) {
                Some("True") => "Healthy",
                Some("False") => "Degraded",
                _ => "Progressing",
            }
        }
        _ => "Healthy",
    }
}

fn severity(health: &str) -> u8 {
    match health {
        "Healthy" => 0,
        "Progressing" => 2,
        "Degraded" => 3,
        _ => 4,
    }
}
