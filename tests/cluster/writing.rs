//! Writes: server-side apply with conflicts, optimistic concurrency, scale, eviction.

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Pod, Secret},
    policy::v1::PodDisruptionBudget,
};
use kube::{
    Api, Client, Error, Resource as _, ResourceExt as _,
    api::{DeleteParams, EvictParams, ListParams, Patch, PatchParams, PostParams},
    core::Status,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::cluster::{Cluster, eventually};

fn object<K: DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).expect("an object")
}

fn refused<T: std::fmt::Debug>(answer: Result<T, Error>, code: u16) -> Status {
    match answer {
        Err(Error::Api(status)) if status.code == code => *status,
        other => panic!("not a Status of {code}: {other:?}"),
    }
}

fn deployment(replicas: u32) -> Deployment {
    object(json!({
        "metadata": { "name": "pause" },
        "spec": {
            "replicas": replicas,
            "selector": { "matchLabels": { "app": "pause" } },
            "template": {
                "metadata": { "labels": { "app": "pause" } },
                "spec": { "containers": [{ "name": "pause", "image": "pause" }] },
            },
        },
    }))
}

async fn ready(client: &Client, replicas: i32) -> Vec<Pod> {
    let deployments: Api<Deployment> = Api::default_namespaced(client.clone());
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    eventually("the replicas", || async {
        let status = deployments.get("pause").await.expect("it is there").status?;
        let pods = pods.list(&ListParams::default().labels("app=pause")).await.expect("a list").items;
        let settled = status.ready_replicas.unwrap_or(0) == replicas && pods.len() == replicas as usize;
        settled.then_some(pods)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn patches_at_the_same_time_all_hold() {
    let cluster = Cluster::start().await;
    let maps: Api<ConfigMap> = Api::default_namespaced(cluster.client.clone());
    let empty = object(json!({ "metadata": { "name": "shared" }, "data": {} }));
    maps.create(&PostParams::default(), &empty).await.expect("it is made");
    let writers = (0..8).map(|writer| {
        let maps = maps.clone();
        tokio::spawn(async move {
            for count in 0..25 {
                let patch = Patch::Merge(json!({ "data": { (format!("writer-{writer}")): count.to_string() } }));
                maps.patch("shared", &PatchParams::default(), &patch).await.expect("a patch names no version");
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.expect("all patches hold");
    }
    let data = maps.get("shared").await.expect("it is there").data.unwrap_or_default();
    assert_eq!(data.len(), 8);
    assert!(data.values().all(|count| count == "24"), "{data:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn apply_owns_fields_and_updates_are_optimistic() {
    let cluster = Cluster::start().await;
    let maps: Api<ConfigMap> = Api::default_namespaced(cluster.client.clone());
    let settings = |data: Value| {
        Patch::Apply(
            json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "settings" }, "data": data }),
        )
    };
    let (one, other) = (PatchParams::apply("one"), PatchParams::apply("other"));
    let created = maps.patch("settings", &one, &settings(json!({ "a": "1", "b": "1" }))).await.expect("it is made");
    let same = maps.patch("settings", &one, &settings(json!({ "a": "1", "b": "1" }))).await.expect("nothing changes");
    assert_eq!(created.resource_version(), same.resource_version());
    let conflict = refused(maps.patch("settings", &other, &settings(json!({ "a": "2" }))).await, 409);
    assert!(conflict.message.contains("conflict with \"one\""), "{}", conflict.message);
    let forced = maps.patch("settings", &other.force(), &settings(json!({ "a": "2" }))).await.expect("it is forced");
    assert_eq!(forced.data.map(|data| data["a"].clone()), Some("2".to_owned()));
    // What one gives up goes, unless somebody else owns it.
    let less = maps.patch("settings", &one, &settings(json!({}))).await.expect("it is made");
    assert_eq!(
        less.data.map(|data| data.into_iter().collect::<Vec<_>>()),
        Some(vec![("a".to_owned(), "2".to_owned())])
    );

    let mut stale = created;
    stale.data = Some([("a".to_owned(), "3".to_owned())].into());
    let conflict = refused(maps.replace("settings", &PostParams::default(), &stale).await, 409);
    assert!(conflict.message.contains("please apply your changes to the latest version"), "{}", conflict.message);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_lost_its_owners_goes_whatever_they_are() {
    let cluster = Cluster::start().await;
    let maps: Api<ConfigMap> = Api::default_namespaced(cluster.client.clone());
    let secrets: Api<Secret> = Api::default_namespaced(cluster.client.clone());
    let params = PostParams::default();
    let family = |name: &'static str| {
        let (maps, secrets, params) = (maps.clone(), secrets.clone(), params.clone());
        async move {
            let owner =
                maps.create(&params, &object(json!({ "metadata": { "name": name } }))).await.expect("it is new");
            let reference = owner.controller_owner_ref(&()).expect("it has a uid");
            let child = object(json!({ "metadata": { "name": name, "ownerReferences": [reference] } }));
            secrets.create(&params, &child).await.expect("it is new");
        }
    };
    let gone = |name: &'static str| {
        let (maps, secrets) = (maps.clone(), secrets.clone());
        async move {
            eventually("the end of both", || async {
                let owner = maps.get_opt(name).await.expect("an answer").is_none();
                (owner && secrets.get_opt(name).await.expect("an answer").is_none()).then_some(())
            })
            .await;
        }
    };
    for (name, how) in [("later", DeleteParams::background()), ("first", DeleteParams::foreground())] {
        family(name).await;
        maps.delete(name, &how).await.expect("it is there");
        gone(name).await;
    }
    family("alone").await;
    maps.delete("alone", &DeleteParams::orphan()).await.expect("it is there");
    eventually("a child without an owner", || async {
        let child = secrets.get("alone").await.expect("it stays");
        child.owner_references().is_empty().then_some(())
    })
    .await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scale_is_read_and_written_and_a_budget_holds_evictions() {
    let cluster = Cluster::start().await;
    let client = cluster.client.clone();
    let deployments: Api<Deployment> = Api::default_namespaced(client.clone());
    deployments.create(&PostParams::default(), &deployment(1)).await.expect("it is new");
    ready(&client, 1).await;
    let patch = Patch::Merge(json!({ "spec": { "replicas": 3 } }));
    let scale = deployments.patch_scale("pause", &PatchParams::default(), &patch).await.expect("it is taken");
    assert_eq!(scale.spec.and_then(|spec| spec.replicas), Some(3));
    let mut pods = ready(&client, 3).await;
    let scale = deployments.get_scale("pause").await.expect("it is there");
    let status = scale.status.expect("it has one");
    assert_eq!((status.replicas, status.selector.as_deref()), (3, Some("app=pause")));

    let evicted = pods.pop().expect("there are three").name_any();
    let api: Api<Pod> = Api::default_namespaced(client.clone());
    api.evict(&evicted, &EvictParams::default()).await.expect("nothing forbids it");
    eventually("another pod", || async {
        let pods = ready(&client, 3).await;
        pods.iter().all(|pod| pod.name_any() != evicted).then_some(())
    })
    .await;
    let budgets: Api<PodDisruptionBudget> = Api::default_namespaced(client.clone());
    let budget = json!({
        "metadata": { "name": "all" },
        "spec": { "minAvailable": 3, "selector": { "matchLabels": { "app": "pause" } } },
    });
    budgets.create(&PostParams::default(), &object(budget)).await.expect("it is new");
    let held = ready(&client, 3).await[0].name_any();
    let refusal = refused(api.evict(&held, &EvictParams::default()).await, 429);
    assert!(refusal.message.contains("would violate the pod's disruption budget"), "{}", refusal.message);
    assert!(api.get(&held).await.expect("it is there").metadata.deletion_timestamp.is_none());
    refused(api.evict("nobody", &EvictParams::default()).await, 404);
    cluster.stop().await;
}
