//! A small controller as its authors write them: children by apply with an owner, a finalizer, a status.

use std::{sync::Arc, time::Duration};

use futures::StreamExt as _;
use k8s_openapi::{
    api::core::v1::ConfigMap, apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, CustomResource, CustomResourceExt as _, Resource as _, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams, PostParams},
    runtime::{
        controller::{Action, Controller},
        finalizer::{self, finalizer},
        wait::{await_condition, conditions},
        watcher,
    },
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::cluster::{Cluster, eventually, within};

/// What the controller turns into a config map.
#[derive(CustomResource, Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[kube(group = "example.com", version = "v1", kind = "Greeting", namespaced, status = "GreetingStatus")]
struct GreetingSpec {
    text: String,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct GreetingStatus {
    said: String,
    observed_generation: i64,
}

const FINALIZER: &str = "example.com/farewell";
const MANAGER: &str = "greeter";

async fn apply(client: Client, greeting: Arc<Greeting>) -> Result<Action, kube::Error> {
    let (name, namespace) = (greeting.name_any(), greeting.namespace().expect("it is namespaced"));
    let owner = greeting.controller_owner_ref(&()).expect("it has a uid");
    let child = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": name, "ownerReferences": [owner] },
        "data": { "text": greeting.spec.text },
    });
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), &namespace);
    maps.patch(&name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(child)).await?;
    let status =
        json!({ "status": { "said": greeting.spec.text, "observedGeneration": greeting.metadata.generation } });
    let greetings: Api<Greeting> = Api::namespaced(client, &namespace);
    greetings.patch_status(&name, &PatchParams::default(), &Patch::Merge(status)).await?;
    Ok(Action::requeue(Duration::from_secs(300)))
}

/// What outlives the object.
async fn farewell(client: Client, greeting: Arc<Greeting>) -> Result<Action, kube::Error> {
    let maps: Api<ConfigMap> = Api::default_namespaced(client);
    let name = format!("farewell-{}", greeting.name_any());
    let map = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name } });
    maps.patch(&name, &PatchParams::apply(MANAGER), &Patch::Apply(map)).await?;
    Ok(Action::await_change())
}

async fn run(client: Client, stop: CancellationToken) {
    let greetings: Api<Greeting> = Api::all(client.clone());
    let maps: Api<ConfigMap> = Api::all(client.clone());
    let reconcile = |greeting: Arc<Greeting>, client: Arc<Client>| async move {
        let client = Client::clone(&client);
        let api: Api<Greeting> = Api::namespaced(client.clone(), &greeting.namespace().expect("it is namespaced"));
        finalizer(&api, FINALIZER, greeting, |event| async move {
            match event {
                finalizer::Event::Apply(greeting) => apply(client, greeting).await,
                finalizer::Event::Cleanup(greeting) => farewell(client, greeting).await,
            }
        })
        .await
    };
    Controller::new(greetings, watcher::Config::default())
        .owns(maps, watcher::Config::default())
        .graceful_shutdown_on(async move { stop.cancelled().await })
        .run(reconcile, |_, _, _| Action::requeue(Duration::from_millis(50)), Arc::new(client))
        .for_each(|_| std::future::ready(()))
        .await;
}

async fn define(client: &Client) {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    definitions.create(&PostParams::default(), &Greeting::crd()).await.expect("it is new");
    let established = await_condition(definitions, "greetings.example.com", conditions::is_crd_established());
    within("the definition", established).await.expect("the watch goes well");
}

async fn said(maps: &Api<ConfigMap>, name: &str, text: &str) -> ConfigMap {
    eventually("the child's text", || async {
        let map = maps.get_opt(name).await.expect("an answer")?;
        (map.data.as_ref()?.get("text")? == text).then_some(map)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_controller_keeps_children_status_and_finalizer() {
    let cluster = Cluster::start().await;
    let client = cluster.client.clone();
    define(&client).await;
    let stop = CancellationToken::new();
    let controller = tokio::spawn(run(client.clone(), stop.clone()));
    let greetings: Api<Greeting> = Api::default_namespaced(client.clone());
    let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());

    let hello = Greeting::new("hello", GreetingSpec { text: "good morning".into() });
    let hello = greetings.create(&PostParams::default(), &hello).await.expect("it is new");
    let child = said(&maps, "hello", "good morning").await;
    let owner = &child.owner_references()[0];
    assert_eq!((Some(&owner.uid), owner.controller), (hello.uid().as_ref(), Some(true)));
    let told = |text: &'static str| {
        let greetings = greetings.clone();
        async move {
            eventually("the status", || async {
                let greeting = greetings.get("hello").await.expect("it is there");
                greeting.status.as_ref().is_some_and(|status| status.said == text).then_some(greeting)
            })
            .await
        }
    };
    let greeting = told("good morning").await;
    assert_eq!(greeting.finalizers(), [FINALIZER]);
    // A status is no change of what is wanted.
    assert_eq!(greeting.metadata.generation, Some(1));
    assert_eq!(greeting.status.map(|status| status.observed_generation), Some(1));

    // The owner changes; a child that was changed or deleted by others is put right.
    let patch = Patch::Merge(json!({ "spec": { "text": "good evening" } }));
    greetings.patch("hello", &PatchParams::default(), &patch).await.expect("it is there");
    said(&maps, "hello", "good evening").await;
    assert_eq!(told("good evening").await.metadata.generation, Some(2));
    let patch = Patch::Merge(json!({ "data": { "text": "nonsense" } }));
    maps.patch("hello", &PatchParams::default(), &patch).await.expect("it is there");
    said(&maps, "hello", "good evening").await;
    maps.delete("hello", &DeleteParams::default()).await.expect("it is there");
    said(&maps, "hello", "good evening").await;

    // The finalizer runs, then the owner goes, then its child.
    greetings.delete("hello", &DeleteParams::default()).await.expect("it is there");
    let gone = |kind: &'static str| format!("the end of the {kind}");
    eventually(&gone("owner"), || async {
        greetings.get_opt("hello").await.expect("an answer").is_none().then_some(())
    })
    .await;
    assert!(maps.get_opt("farewell-hello").await.expect("an answer").is_some(), "the finalizer ran first");
    eventually(&gone("child"), || async { maps.get_opt("hello").await.expect("an answer").is_none().then_some(()) })
        .await;

    stop.cancel();
    within("the end of the controller", controller).await.expect("it does not panic");
    cluster.stop().await;
}
