//! Watches: what is added, changed and deleted is seen, through bookmarks, ends of watches and compaction.

use futures::{Stream, StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams},
    runtime::{
        WatchStreamExt as _,
        reflector::{self, ObjectRef},
        watcher::{self, Event, watcher},
    },
};
use serde_json::json;

use crate::cluster::{Cluster, eventually, within};

fn map(name: &str) -> ConfigMap {
    serde_json::from_value(json!({ "metadata": { "name": name, "labels": { "test": "yes" } } })).expect("a config map")
}

async fn set(maps: &Api<ConfigMap>, name: &str, value: &str) -> ConfigMap {
    let patch = Patch::Merge(json!({ "data": { "value": value } }));
    maps.patch(name, &PatchParams::default(), &patch).await.expect("it is there")
}

/// Fills the history of config maps in another namespace until what was before is forgotten.
async fn compact(client: &Client, before: &str) {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let namespace = serde_json::from_value(json!({ "metadata": { "name": "elsewhere" } })).expect("a namespace");
    namespaces.create(&PostParams::default(), &namespace).await.expect("it is new");
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "elsewhere");
    maps.create(&PostParams::default(), &map("big")).await.expect("it is new");
    let text = "x".repeat(900 << 10);
    for n in 0..120 {
        set(&maps, "big", &format!("{n}{text}")).await;
    }
    let old = maps.watch(&WatchParams::default(), before).await.expect("a watch begins");
    let first = old.boxed().next().await.expect("it says why it ends").expect("in a known form");
    assert!(matches!(&first, WatchEvent::Error(status) if status.code == 410), "{first:?}");
}

async fn event(stream: &mut (impl Stream<Item = watcher::Result<Event<ConfigMap>>> + Unpin)) -> String {
    let next = within("an event", stream.next()).await.expect("a watcher does not end");
    match next.expect("no error") {
        Event::Init => "init".to_owned(),
        Event::InitApply(map) => format!("listed {}", map.name_any()),
        Event::InitDone => "listed all".to_owned(),
        Event::Apply(map) => {
            let value = map.data.as_ref().and_then(|data| data.get("value"));
            format!("applied {} {}", map.name_any(), value.map_or("-", String::as_str))
        }
        Event::Delete(map) => format!("deleted {}", map.name_any()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watcher_sees_what_happens_in_its_order() {
    let cluster = Cluster::start().await;
    let maps: Api<ConfigMap> = Api::default_namespaced(cluster.client.clone());
    for name in ["a", "b", "c"] {
        maps.create(&PostParams::default(), &map(name)).await.expect("it is new");
    }
    // Lists by pages, then watches.
    let config = watcher::Config::default().labels("test=yes").page_size(2);
    let mut events = watcher(maps.clone(), config).boxed();
    for expected in ["init", "listed a", "listed b", "listed c", "listed all"] {
        assert_eq!(event(&mut events).await, expected);
    }
    maps.create(&PostParams::default(), &map("d")).await.expect("it is new");
    set(&maps, "a", "1").await;
    maps.delete("b", &DeleteParams::default()).await.expect("it is there");
    let unlabel = Patch::Merge(json!({ "metadata": { "labels": { "test": null } } }));
    maps.patch("c", &PatchParams::default(), &unlabel).await.expect("it is there");
    for expected in ["applied d -", "applied a 1", "deleted b", "deleted c"] {
        assert_eq!(event(&mut events).await, expected);
    }
    drop(events);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watcher_lists_again_when_its_version_is_forgotten() {
    let cluster = Cluster::start().await;
    let maps: Api<ConfigMap> = Api::default_namespaced(cluster.client.clone());
    let kept = maps.create(&PostParams::default(), &map("kept")).await.expect("it is new");
    // Its watch ends each second, and without bookmarks it goes on from the version that it saw last.
    let config = watcher::Config::default().labels("test=yes").timeout(1).disable_bookmarks();
    let mut events = watcher(maps.clone(), config).boxed();
    for expected in ["init", "listed kept", "listed all"] {
        assert_eq!(event(&mut events).await, expected);
    }
    compact(&cluster.client, &kept.resource_version().expect("it has one")).await;
    let refused = within("an error", events.next()).await.expect("a watcher does not end");
    assert!(matches!(&refused, Err(watcher::Error::WatchError(status)) if status.code == 410), "{refused:?}");
    for expected in ["init", "listed kept", "listed all"] {
        assert_eq!(event(&mut events).await, expected);
    }
    set(&maps, "kept", "later").await;
    assert_eq!(event(&mut events).await, "applied kept later");
    drop(events);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bookmarks_carry_a_quiet_watch_over_a_compaction() {
    let cluster = Cluster::start().await;
    let maps: Api<ConfigMap> = Api::default_namespaced(cluster.client.clone());
    let before = maps.list(&ListParams::default()).await.expect("a list").metadata.resource_version.expect("a version");
    compact(&cluster.client, &before).await;
    let now = maps.list(&ListParams::default()).await.expect("a list").metadata.resource_version.expect("a version");
    let params = WatchParams::default().timeout(1);
    let events: Vec<_> = within("the end of the watch", async {
        maps.watch(&params, &now).await.expect("it begins").try_collect().await.expect("it ends well")
    })
    .await;
    let [WatchEvent::Bookmark(bookmark)] = events.as_slice() else { panic!("a bookmark at the end: {events:?}") };
    let version = |text: &str| text.parse::<u64>().expect("a number");
    assert!(version(&bookmark.metadata.resource_version) >= version(&now));
    let silent = WatchParams::default().timeout(1).disable_bookmarks();
    let events: Vec<_> = within("the end of the watch", async {
        maps.watch(&silent, &now).await.expect("it begins").try_collect().await.expect("it ends well")
    })
    .await;
    assert!(events.is_empty(), "{events:?}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_streaming_list_is_refused_so_that_clients_list() {
    let cluster = Cluster::start().await;
    let maps: Api<ConfigMap> = Api::default_namespaced(cluster.client.clone());
    let config = watcher::Config::default().streaming_lists();
    let mut events = watcher(maps, config).boxed();
    let refused = loop {
        match within("a refusal", events.next()).await.expect("a watcher does not end") {
            Ok(Event::Init) => {}
            other => break other,
        }
    };
    let words = format!("{refused:?}");
    assert!(refused.is_err() && words.contains("sendInitialEvents is forbidden"), "{words}");
    drop(events);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reflector_holds_what_the_cluster_holds() {
    let cluster = Cluster::start().await;
    let maps: Api<ConfigMap> = Api::default_namespaced(cluster.client.clone());
    let (store, writer) = reflector::store();
    let changes =
        watcher(maps.clone(), watcher::Config::default().labels("test=yes")).default_backoff().reflect(writer);
    let reflecting = tokio::spawn(changes.for_each(|_| std::future::ready(())));
    within("the first list", store.wait_until_ready()).await.expect("the watcher runs");
    for n in 0..100 {
        maps.create(&PostParams::default(), &map(&format!("m{n}"))).await.expect("it is new");
        if n % 3 == 0 {
            maps.delete(&format!("m{n}"), &DeleteParams::default()).await.expect("it is there");
        }
    }
    set(&maps, "m98", "last").await;
    let last = ObjectRef::new("m98").within("default");
    eventually("the last change", || {
        let value = store.get(&last).and_then(|map| map.data.as_ref()?.get("value").cloned());
        std::future::ready(value.filter(|value| value == "last"))
    })
    .await;
    // m99 was deleted before m98 was changed.
    let mut held: Vec<String> = store.state().iter().map(|map| map.name_any()).collect();
    let listed = maps.list(&ListParams::default().labels("test=yes")).await.expect("a list");
    let mut expected: Vec<String> = listed.items.iter().map(ResourceExt::name_any).collect();
    held.sort();
    expected.sort();
    assert_eq!((held.len(), &held), (66, &expected));
    reflecting.abort();
    cluster.stop().await;
}
