//! What a removal must not leave behind: workspaces that Azure keeps, roles of identities that are gone.

use std::{sync::Mutex, time::Duration};

use democtl::{
    delivery::{self, withdraw::withdraw},
    target::azure::{
        arm::{CONTAINER_SERVICE, RESOURCES, WORKSPACES},
        locks, providers, roles, scan,
    },
};
use democtl_core::profile::Profile;
use democtl_fake_azure::{Permission, World};
use http::Method;
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{PersistentVolumeClaim, Pod, Service},
};
use kube::{
    Api,
    api::{ListParams, Patch, PatchParams, PostParams},
};
use serde_json::json;

use crate::{
    common::{SUBSCRIPTION, azure, cluster, group, placement, small_cluster, tags},
    end_to_end::Stage,
};

fn subscription() -> &'static str {
    SUBSCRIPTION.trim_start_matches("/subscriptions/")
}

#[tokio::test]
async fn a_workspace_goes_for_good() {
    let (fake, arm) = azure(World::default()).await;
    let profile = Profile::load_builtin("m3demo2", &[]).expect("built in").expect("valid");
    let name = "reliability-demo-demo-m3demo2";
    let workspace = format!("{}/providers/Microsoft.OperationalInsights/workspaces/logs", group(name));
    for force in [false, true] {
        let body = json!({ "location": "westeurope", "tags": tags("m3demo2") });
        arm.put(&group(name), RESOURCES, &body).await.expect("it can be made");
        arm.put(&workspace, WORKSPACES, &body).await.expect("it can be made");
        assert_eq!(fake.world().soft_deleted(), Vec::<String>::new(), "one that is made again is not kept any more");
        if force {
            let found = scan::scan(&arm, &profile, &placement("m3demo2")).await.expect("it can be read");
            scan::remove(&arm, &found, &|_: &str| {}).await.expect("it can be removed");
        } else {
            arm.delete(&group(name), RESOURCES).await.expect("it can be removed");
        }
        assert_eq!(fake.world().ids(), Vec::<String>::new());
        let kept = scan::kept_workspaces(&arm, subscription(), name).await.expect("it can be read");
        assert_eq!(kept.len(), usize::from(!force), "{kept:?}");
        assert_eq!(fake.world().soft_deleted().len(), usize::from(!force));
    }
}

/// An assignment on a group of somebody else, as a person makes it who lets a cluster pull images.
fn assign(world: &mut World, name: &str, principal: &str) -> String {
    let id = format!("{}/providers/Microsoft.Authorization/roleAssignments/{name}", group("registry"));
    let properties = json!({ "principalId": principal, "scope": group("registry") });
    world.plant(&id, json!({ "id": id, "name": name, "properties": properties }));
    id
}

#[tokio::test]
async fn roles_of_an_identity_that_is_gone_are_taken_away() {
    let (fake, arm) = azure(World::default()).await;
    for name in ["demo", "registry"] {
        let body = json!({ "location": "westeurope", "tags": tags(name) });
        arm.put(&group(name), RESOURCES, &body).await.expect("it can be made");
    }
    let made = arm.put(&cluster(), CONTAINER_SERVICE, &small_cluster()).await.expect("it can be made");
    let identities = roles::principals(&made);
    assert_eq!(identities.len(), 2, "{made}");
    let found = scan::scan_by_tags(&arm, &placement("demo")).await.expect("it can be read");
    assert_eq!(roles::principals_in(&arm, &found).await.expect("it can be read"), identities);
    let (own, nodes, other) = {
        let mut world = fake.world();
        let inside = format!("{}/providers/Microsoft.Authorization/roleAssignments/inside", group("demo"));
        world.plant(&inside, json!({ "id": inside, "properties": { "principalId": identities[0] } }));
        (
            assign(&mut world, "own", &identities[0]),
            assign(&mut world, "nodes", &identities[1]),
            assign(&mut world, "other", "somebody"),
        )
    };
    let outside = roles::assignments(&arm, subscription(), &identities, &["demo"]).await.expect("it can be read");
    assert_eq!(outside, [nodes.clone(), own.clone()], "what lies in the group goes with it");

    let said = Mutex::new(Vec::new());
    let progress = |line: &str| said.lock().expect("nobody panicked").push(line.to_owned());
    let sweep = || roles::sweep(&arm, subscription(), &identities, &found, &["demo"], &progress);
    assert_eq!(sweep().await.expect("it can be read"), Vec::<String>::new());
    assert!(fake.world().ids().contains(&own), "a cluster that stands needs its roles");
    scan::remove(&arm, &found, &|_: &str| {}).await.expect("it can be removed");
    fake.world().facts.permissions =
        vec![Permission { actions: vec!["*".into()], not_actions: vec!["Microsoft.Authorization/*/delete".into()] }];
    let left = sweep().await.expect("it can be read");
    assert_eq!(left.len(), 2, "{left:?}");
    assert!(left[0].contains("az role assignment delete --ids") && left[0].contains(&nodes), "{left:?}");
    fake.world().facts.permissions[0].not_actions.clear();
    let left = sweep().await.expect("it can be read");
    assert_eq!(left, Vec::<String>::new());
    assert_eq!(fake.world().ids(), [group("registry"), other], "those of others stay");
    assert!(said.lock().expect("nobody panicked").is_empty());
}

#[tokio::test]
async fn a_lock_is_found_with_who_put_it_there() {
    let mut world = World::default();
    world.facts.locks.push((group("demo-nodes"), "CanNotDelete".into()));
    world.facts.locks.push((group("other"), "ReadOnly".into()));
    let (_fake, arm) = azure(world).await;
    let found = locks::on(&arm, subscription(), &["Demo", "demo-nodes"]).await.expect("it can be read");
    let [lock] = found.as_slice() else { panic!("one: {found:?}") };
    assert!(lock.line().contains("put there by ann@example.com on 2026-01-01: \"until the audit\""), "{}", lock.line());
    assert!(lock.remedy().ends_with("demo-nodes/providers/Microsoft.Authorization/locks/keep"), "{}", lock.remedy());
}

#[tokio::test]
async fn providers_are_registered_and_awaited() {
    let mut world = World::default();
    for name in ["Microsoft.Network", "Microsoft.Compute"] {
        world.facts.providers.insert(name.into(), "NotRegistered".into());
    }
    let (fake, arm) = azure(world).await;
    let missing = providers::missing(&arm, subscription(), &providers::PROVIDERS).await.expect("it can be read");
    assert_eq!(missing, ["Microsoft.Compute", "Microsoft.Network"]);
    let begun = fake.world().now();
    providers::register(&arm, subscription(), &missing).await.expect("it may");
    let (now, takes) = {
        let world = fake.world();
        (world.now(), world.style.register)
    };
    assert!(now >= begun + takes, "it was waited for");
    let missing = providers::missing(&arm, subscription(), &providers::PROVIDERS).await.expect("it can be read");
    assert_eq!(missing, Vec::<&str>::new());
    let posts = fake.world().log.iter().filter(|logged| logged.method == Method::POST).count();
    assert_eq!(posts, 2);

    fake.world().facts.providers.insert("Microsoft.Network".into(), "NotRegistered".into());
    fake.world().facts.permissions = vec![Permission { actions: vec!["*/read".into()], not_actions: Vec::new() }];
    let refused = providers::register(&arm, subscription(), &["Microsoft.Network"]).await.expect_err("it may not");
    assert_eq!(refused.code(), Some("AuthorizationFailed"));
}

/// A claim in the namespace `default`, and a Deployment with a pod that uses it.
async fn claimed(client: &kube::Client) -> (Api<PersistentVolumeClaim>, Api<Pod>) {
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), "default");
    let claim = json!({
        "metadata": { "name": "data" },
        "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } },
    });
    let claim = serde_json::from_value(claim).expect("it is one");
    claims.create(&PostParams::default(), &claim).await.expect("it can be made");
    let labels = json!({ "app": "theirs" });
    let deployment = json!({
        "metadata": { "name": "theirs" },
        "spec": { "selector": { "matchLabels": labels }, "template": {
            "metadata": { "labels": labels },
            "spec": {
                "containers": [{ "name": "it", "image": "theirs", "volumeMounts": [{ "name": "data", "mountPath": "/data" }] }],
                "volumes": [{ "name": "data", "persistentVolumeClaim": { "claimName": "data" } }],
            },
        } },
    });
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), "default");
    let deployment = serde_json::from_value(deployment).expect("it is one");
    deployments.create(&PostParams::default(), &deployment).await.expect("it can be made");
    let pods: Api<Pod> = Api::namespaced(client.clone(), "default");
    while pods.list(&ListParams::default()).await.expect("it answers").items.is_empty() {
        tokio::task::yield_now().await;
    }
    (claims, pods)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_look_into_the_cluster_is_told_at_once() {
    let Some(stage) = Stage::new(World::default()).await else { return };
    stage.setup().await;
    let text = std::fs::read_to_string(stage.environment().join("kubeconfig")).expect("setup wrote it");
    let mut config: serde_yaml_ng::Value = serde_yaml_ng::from_str(&text).expect("it is YAML");
    config["users"][0]["user"] = serde_yaml_ng::to_value(json!({ "token": "revoked" })).expect("plain data");
    let path = stage.root.path().join("revoked");
    std::fs::write(&path, serde_yaml_ng::to_string(&config).expect("plain data")).expect("the directory is ours");
    let client = delivery::connect(&path).await.expect("it names a cluster");
    let refused = withdraw(&client, Duration::from_secs(600)).await.expect_err("it may not").to_string();
    assert!(refused.contains("the login may not look into the cluster"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_keeps_everything_and_cleanup_says_so_once() {
    let Some(stage) = Stage::new(World::default()).await else { return };
    stage.setup().await;
    stage.fake.world().facts.locks.push((group("reliability-demo-demo-tiny"), "CanNotDelete".into()));
    let before = stage.fake.world().ids();
    let stuck = stage.expect(4, &["cleanup", "--yes"]).await;
    for once in
        ["error: ", "a lock keeps all of it", "put there by ann@example.com on 2026-01-01", "az lock delete --ids"]
    {
        assert_eq!(stuck.stderr.matches(once).count(), 1, "{once}: {}", stuck.stderr);
    }
    assert!(stuck.stderr.contains("a month"), "{}", stuck.stderr);
    assert_eq!(stage.fake.world().ids(), before, "half an environment is no use to anybody");
    assert!(stage.environment().exists(), "what stays is not forgotten");
    stage.fake.world().facts.locks.clear();
    stage.expect(0, &["cleanup", "--yes"]).await;
    stage.nothing_is_left();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_cluster_holds_outside_of_itself_is_taken_back_and_waited_for() {
    let Some(stage) = Stage::new(World::default()).await else { return };
    stage.setup().await;
    let client = delivery::connect(&stage.environment().join("kubeconfig")).await.expect("setup wrote it");
    let services: Api<Service> = Api::namespaced(client.clone(), "default");
    let balanced = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": { "name": "theirs", "finalizers": ["service.kubernetes.io/load-balancer-cleanup"] },
        "spec": { "type": "LoadBalancer", "ports": [{ "port": 81 }] },
    });
    let balanced = serde_json::from_value(balanced).expect("it is one");
    services.create(&PostParams::default(), &balanced).await.expect("it can be made");
    // A person's own, which no Application takes along.
    let (claims, pods) = claimed(&client).await;
    let late = withdraw(&client, Duration::ZERO).await.expect_err("nothing goes in no time").to_string();
    assert!(late.contains("after 0 s the cluster still holds Application reliability-demo-"), "{late}");
    assert!(late.contains("Service theirs"), "{late}");

    // Azure's controller holds a Service until its load balancer is gone.
    let controller = async {
        while services.get("theirs").await.expect("it is held").metadata.deletion_timestamp.is_none() {
            tokio::task::yield_now().await;
        }
        let free = Patch::Merge(json!({ "metadata": { "finalizers": null } }));
        services.patch("theirs", &PatchParams::default(), &free).await.expect("it is there");
        // Kubernetes holds a claim as long as a pod uses it.
        while !pods.list(&ListParams::default()).await.expect("it answers").items.is_empty() {
            tokio::task::yield_now().await;
        }
        claims.patch("data", &PatchParams::default(), &free).await.expect("it is held");
    };
    let (withdrawn, ()) = tokio::join!(withdraw(&client, Duration::from_secs(120)), controller);
    withdrawn.expect("all went");
    let all: Api<Service> = Api::all(client);
    let left = all.list(&kube::api::ListParams::default()).await.expect("it answers").items;
    let balanced =
        |service: &&Service| service.spec.as_ref().and_then(|spec| spec.type_.as_deref()) == Some("LoadBalancer");
    assert_eq!(left.iter().filter(balanced).count(), 0);
    stage.expect(0, &["cleanup", "--yes"]).await;
    stage.nothing_is_left();
}
