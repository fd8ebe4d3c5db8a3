use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::api::{
    Api, Settings,
    resources::{CONFIGMAPS, SECRETS},
};

const SPACE: &str = "default";

/// An API with a collector.
struct Rig {
    client: Client,
    _collector: JoinSet<()>,
}

fn rig() -> Rig {
    let api = Api::in_memory(Settings { block: 1, ca_pem: String::new() }).expect("an empty API starts");
    let client = api.client();
    let mut collector = JoinSet::new();
    collector.spawn(collect(client.clone()));
    Rig { client, _collector: collector }
}

impl Rig {
    fn make(&self, resource: &Resource, name: &str, owners: &[&Value], finalizers: &[&str]) -> Arc<Value> {
        let references: Vec<Value> = owners
            .iter()
            .map(|owner| {
                json!({
                    "apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": owner["metadata"]["name"],
                    "uid": owner["metadata"]["uid"], "blockOwnerDeletion": true,
                })
            })
            .collect();
        let object = json!({
            "apiVersion": resource.api_version(),
            "kind": resource.kind,
            "metadata": { "name": name, "ownerReferences": references, "finalizers": finalizers },
        });
        self.client.create(resource, SPACE, object).expect("the object is valid")
    }

    fn delete(&self, resource: &Resource, name: &str, propagation: Propagation) {
        let options = DeleteOptions { propagation: Some(propagation), ..DeleteOptions::default() };
        self.client.delete(resource, SPACE, name, &options).expect("it is there");
    }

    /// Waits until an object is as wanted; none when it is gone.
    async fn until(&self, resource: &Resource, name: &str, wanted: impl Fn(Option<&Value>) -> bool) {
        let waiting = async {
            loop {
                let (_, version) = self.client.list(resource, SPACE);
                let mut watch = self.client.watch(resource, SPACE, version);
                if wanted(find(&self.client, resource, SPACE, name).expect("the API answers").as_deref()) {
                    return;
                }
                watch.next().await;
            }
        };
        let limit = Duration::from_secs(20);
        tokio::time::timeout(limit, waiting).await.unwrap_or_else(|_| panic!("{name} never became as wanted"));
    }

    async fn until_gone(&self, resource: &Resource, name: &str) {
        self.until(resource, name, |object| object.is_none()).await;
    }
}

fn owners(object: Option<&Value>) -> usize {
    object.map_or(0, |object| items(object, "/metadata/ownerReferences").count())
}

#[tokio::test]
async fn dependents_of_any_kind_go_with_their_owner() {
    let rig = rig();
    let owner = rig.make(&CONFIGMAPS, "owner", &[], &[]);
    let child = rig.make(&SECRETS, "child", &[&owner], &[]);
    rig.make(&CONFIGMAPS, "grandchild", &[&child], &[]);
    rig.delete(&CONFIGMAPS, "owner", Propagation::Background);
    rig.until_gone(&SECRETS, "child").await;
    rig.until_gone(&CONFIGMAPS, "grandchild").await;
}

#[tokio::test]
async fn an_object_whose_owner_never_was_goes() {
    let rig = rig();
    let ghost =
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "ghost", "uid": "no-such-uid" } });
    rig.make(&SECRETS, "child", &[&ghost], &[]);
    rig.until_gone(&SECRETS, "child").await;
}

#[tokio::test]
async fn one_owner_that_is_left_keeps_an_object() {
    let rig = rig();
    let (first, second) = (rig.make(&CONFIGMAPS, "first", &[], &[]), rig.make(&CONFIGMAPS, "second", &[], &[]));
    rig.make(&SECRETS, "child", &[&first, &second], &[]);
    rig.delete(&CONFIGMAPS, "first", Propagation::Background);
    rig.until(&SECRETS, "child", |child| owners(child) == 1).await;
}

#[tokio::test]
async fn orphans_stay_without_their_owner() {
    let rig = rig();
    let owner = rig.make(&CONFIGMAPS, "owner", &[], &[]);
    rig.make(&SECRETS, "child", &[&owner], &[]);
    rig.until(&SECRETS, "child", |child| owners(child) == 1).await;
    rig.delete(&CONFIGMAPS, "owner", Propagation::Orphan);
    rig.until_gone(&CONFIGMAPS, "owner").await;
    rig.until(&SECRETS, "child", |child| child.is_some() && owners(child) == 0).await;
}

#[tokio::test]
async fn an_owner_waits_for_its_dependents_in_the_foreground() {
    let rig = rig();
    let owner = rig.make(&CONFIGMAPS, "owner", &[], &[]);
    rig.make(&SECRETS, "child", &[&owner], &["example.com/held"]);
    rig.delete(&CONFIGMAPS, "owner", Propagation::Foreground);
    rig.until(&SECRETS, "child", |child| child.is_some_and(is_deleting)).await;
    assert!(rig.client.get(&CONFIGMAPS, SPACE, "owner").is_ok(), "the owner waits");
    let free = json!({ "metadata": { "finalizers": null } });
    rig.client.merge_patch(&SECRETS, SPACE, "child", None, &free).expect("it is there");
    rig.until_gone(&SECRETS, "child").await;
    rig.until_gone(&CONFIGMAPS, "owner").await;
}

#[tokio::test]
async fn custom_resources_own_and_are_owned() {
    let rig = rig();
    let crd = json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": { "name": "widgets.example.com" },
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": { "plural": "widgets", "kind": "Widget" },
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": { "openAPIV3Schema": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } },
            }],
        },
    });
    rig.client.create(&CRDS, "", crd).expect("the definition is valid");
    let widgets = rig.client.resource_of("example.com/v1", "Widget").expect("widgets are served");
    let owner = rig.make(&widgets, "owner", &[], &[]);
    rig.make(&widgets, "part", &[&owner], &[]);
    rig.make(&SECRETS, "child", &[&owner], &[]);
    rig.delete(&widgets, "owner", Propagation::Background);
    rig.until_gone(&widgets, "part").await;
    rig.until_gone(&SECRETS, "child").await;
}
