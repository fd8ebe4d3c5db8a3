//! Owners of the replicas as a Scale has them, and back in the object that is scaled.
//!
//! <https://github.com/kubernetes/apimachinery/blob/v0.33.0/pkg/util/managedfields/scalehandler.go>

use serde_json::Value;

use super::{Entry, entries, store};
use crate::api::{
    fields::{FieldSet, Path},
    registry::Definition,
};

/// A path such as `.spec.replicas` as a set has it.
fn parsed(path: &str) -> Path {
    path.trim_start_matches('.').split('.').map(|part| format!("f:{part}")).collect()
}

fn only(path: Path) -> FieldSet {
    FieldSet([path].into())
}

/// Gives a Scale those owners of the object that own its replicas.
pub(crate) fn to_scale(object: &Value, replicas: &str, scale: &mut Value) {
    let path = parsed(replicas);
    let mut all = entries(object);
    all.retain(|entry| entry.fields.0.contains(&path));
    for entry in &mut all {
        entry.api_version = "autoscaling/v1".into();
        entry.fields = only(parsed(".spec.replicas"));
    }
    store(scale, all);
}

/// Gives the object the owners that its Scale got: who is none of them any more loses the replicas.
pub(crate) fn to_parent(definition: &Definition, scale: &Value, replicas: &str, object: &mut Value) {
    let path = parsed(replicas);
    let mut scaled = entries(scale);
    let mut all = entries(object);
    for entry in all.iter_mut().filter(|entry| entry.fields.0.contains(&path)) {
        match scaled.iter().position(|other| other.is_of(entry)) {
            Some(at) => _ = scaled.remove(at),
            None => _ = entry.fields.0.remove(&path),
        }
    }
    scaled.retain(|entry| entry.fields.0.contains(&parsed(".spec.replicas")));
    all.extend(scaled.into_iter().map(|entry| Entry {
        api_version: definition.resource.api_version(),
        time: Value::Null,
        fields: only(path.clone()),
        ..entry
    }));
    store(object, all);
}
