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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::registry::Registry;

    #[test]
    fn replicas_go_to_who_scales() {
        let definition = Registry::new().find("apps", "v1", "deployments").expect("it is served");
        let entry = |manager: &str, fields: Value| {
            json!({ "manager": manager, "operation": "Update", "apiVersion": "apps/v1", "fieldsType": "FieldsV1",
                "fieldsV1": { "f:spec": fields } })
        };
        let mut object = json!({ "metadata": { "managedFields": [
            entry("both", json!({ "f:paused": {}, "f:replicas": {} })), entry("other", json!({ "f:paused": {} }))] } });
        let mut scale = json!({});
        to_scale(&object, ".spec.replicas", &mut scale);
        let of_scale = scale["metadata"]["managedFields"].as_array().expect("one entry");
        assert_eq!((of_scale.len(), &of_scale[0]["apiVersion"]), (1, &json!("autoscaling/v1")));
        scale["metadata"]["managedFields"] = json!([{ "manager": "scaler", "operation": "Update", "subresource": "scale",
            "apiVersion": "autoscaling/v1", "fieldsV1": { "f:spec": { "f:replicas": {} } } }]);
        to_parent(&definition, &scale, ".spec.replicas", &mut object);
        let mut scaled = entry("scaler", json!({ "f:replicas": {} }));
        scaled["subresource"] = json!("scale");
        let wanted = [entry("both", json!({ "f:paused": {} })), entry("other", json!({ "f:paused": {} })), scaled];
        assert_eq!(object["metadata"]["managedFields"], json!(wanted));
    }
}
