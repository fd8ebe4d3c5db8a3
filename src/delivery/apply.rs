//! Applies manifests server-side, and hands the application to Argo CD by an `Application` object.

use std::path::Path;

use kube::{
    Api, Client,
    api::{DynamicObject, Patch, PatchParams},
    core::GroupVersionKind,
    discovery,
};
use serde_json::Value;

use crate::{
    environment::write_whole,
    failure::{Failure, Kind, OrFail as _},
};

/// The field manager under which democtl applies.
pub const FIELD_MANAGER: &str = "democtl";

/// Applies every manifest in order; an object that is already as wanted does not change.
pub async fn apply(client: &Client, manifests: &[Value]) -> Result<(), Failure> {
    for manifest in manifests {
        apply_one(client, manifest).await?;
    }
    Ok(())
}

async fn apply_one(client: &Client, manifest: &Value) -> Result<(), Failure> {
    let text = |pointer: &str| manifest.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (api_version, kind, name) = (text("/apiVersion"), text("/kind"), text("/metadata/name"));
    let what = || format!("cannot apply {kind} {name}");
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let gvk = GroupVersionKind::gvk(group, version, kind);
    let (resource, capabilities) = discovery::pinned_kind(client, &gvk).await.or_fail(Kind::Delivery, what)?;
    let api: Api<DynamicObject> = match text("/metadata/namespace") {
        _ if capabilities.scope == discovery::Scope::Cluster => Api::all_with(client.clone(), &resource),
        "" => Api::default_namespaced_with(client.clone(), &resource),
        namespace => Api::namespaced_with(client.clone(), namespace, &resource),
    };
    let params = PatchParams::apply(FIELD_MANAGER).force();
    api.patch(name, &params, &Patch::Apply(manifest)).await.or_fail(Kind::Delivery, what)?;
    Ok(())
}

/// Writes manifests as numbered YAML files, so that a directory sync keeps their order, and removes stale ones.
pub fn write_manifests(dir: &Path, manifests: &[Value]) -> Result<(), Failure> {
    let what = || format!("cannot write manifests into {}", dir.display());
    std::fs::create_dir_all(dir).or_fail(Kind::Other, what)?;
    let mut written = Vec::new();
    for (name, text) in manifest_files(manifests)? {
        write_whole(&dir.join(&name), text.as_bytes()).or_fail(Kind::Other, what)?;
        written.push(name);
    }
    for entry in std::fs::read_dir(dir).or_fail(Kind::Other, what)?.filter_map(Result::ok) {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".yaml") && !written.contains(&name) {
            std::fs::remove_file(entry.path()).or_fail(Kind::Other, what)?;
        }
    }
    Ok(())
}

/// File names and YAML texts of manifests, in order.
pub fn manifest_files(manifests: &[Value]) -> Result<Vec<(String, String)>, Failure> {
    manifests
        .iter()
        .enumerate()
        .map(|(index, manifest)| {
            let text = |pointer: &str| manifest.pointer(pointer).and_then(Value::as_str).unwrap_or("unnamed");
            let name = format!("{index:02}-{}-{}.yaml", text("/kind").to_lowercase(), text("/metadata/name"));
            let yaml = serde_yaml_ng::to_string(manifest).map_err(anyhow::Error::from)?;
            Ok((name, yaml))
        })
        .collect()
}
