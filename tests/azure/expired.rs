//! Environments past their time: found by their tags on a machine that never saw them, and removed without a state.

use std::fs;

use chrono::{DateTime, Utc};
use democtl::target::azure::{
    arm::{Arm, CONTAINER_SERVICE, RESOURCES},
    expired::survey,
};
use democtl_fake_azure::{Fate, Permission, World};
use serde_json::{Value, json};

use crate::{
    common::{SUBSCRIPTION, azure, group},
    end_to_end::Stage,
};

fn subscription() -> &'static str {
    SUBSCRIPTION.trim_start_matches("/subscriptions/")
}

fn tags(environment: &str, expires: &str) -> Value {
    json!({ "democtl-environment": environment, "democtl-id": format!("id-of-{environment}"), "expires-at": expires })
}

/// A group with a cluster, as a setup elsewhere leaves it; AKS gives the tags to the group of the nodes too.
async fn made(arm: &Arm, environment: &str, expires: &str) {
    let tags = tags(environment, expires);
    let body = json!({ "location": "westeurope", "tags": tags });
    arm.put(&group(environment), RESOURCES, &body).await.expect("it can be made");
    let cluster = json!({
        "location": "westeurope", "tags": tags, "identity": { "type": "SystemAssigned" },
        "sku": { "name": "Base", "tier": "Standard" },
        "properties": {
            "nodeResourceGroup": format!("{environment}-nodes"),
            "agentPoolProfiles": [{ "name": "main", "vmSize": "Standard_D4s_v5", "count": 1, "mode": "System" }],
        },
    });
    let path = format!("{}/providers/Microsoft.ContainerService/managedClusters/aks", group(environment));
    arm.put(&path, CONTAINER_SERVICE, &cluster).await.expect("it can be made");
}

#[tokio::test]
async fn what_is_past_its_time_is_removed_and_nothing_else() {
    let (fake, arm) = azure(World::default()).await;
    made(&arm, "old", "2026-11-26T00:00:00Z").await;
    made(&arm, "new", "2026-11-27T00:00:00Z").await;
    made(&arm, "odd", "some day").await;
    let before = fake.world().ids();
    let silent = |_: &str| {};
    let now: DateTime<Utc> = "2026-11-26T12:00:00Z".parse().expect("a time");
    let survey = survey(&arm, subscription(), now).await.expect("it can be read");
    let [old] = survey.expired.as_slice() else { panic!("one: {survey:?}") };
    assert_eq!((old.environment.as_str(), old.id.as_str()), ("old", "id-of-old"));
    assert_eq!(survey.needed.len(), 1);
    assert_eq!(survey.unclear.len(), 2, "the group and that of its nodes: {:?}", survey.unclear);

    fake.world().facts.locks.push((group("old-nodes"), "CanNotDelete".into()));
    let refused = old.inventory(&arm, &silent).await.expect_err("it is locked").to_string();
    assert!(refused.contains("put there by ann@example.com") && refused.contains("a month"), "{refused}");
    fake.world().facts.locks.clear();

    // A person let the cluster's identity into a registry.
    let registry = group("registry");
    let role = format!("{registry}/providers/Microsoft.Authorization/roleAssignments/pull");
    {
        let mut world = fake.world();
        let id = format!("{}/providers/Microsoft.ContainerService/managedClusters/aks", group("old"));
        let principal = world.body(&id).expect("it was made")["identity"]["principalId"].clone();
        world.plant(&registry, json!({ "id": registry, "name": "registry", "tags": {} }));
        world.plant(&role, json!({ "id": role, "properties": { "principalId": principal } }));
    }
    let inventory = old.inventory(&arm, &silent).await.expect("it can be read");
    for part in ["virtualMachineScaleSets", "roleAssignments/pull (a role of the cluster's identity)"] {
        assert!(inventory.lines.iter().any(|line| line.contains(part)), "{part}: {:?}", inventory.lines);
    }
    fake.world().faults.order_fate(Fate::Fails { code: "Stuck".into(), message: "not now".into() });
    let failed = old.remove(&arm, &inventory, &silent).await.expect_err("the group does not go").to_string();
    assert!(failed.contains("Stuck"), "{failed}");
    assert!(fake.world().ids().contains(&role), "a cluster that stands needs its roles");
    let left = old.remove(&arm, &inventory, &silent).await.expect("it can be removed");
    assert_eq!(left, Vec::<String>::new());
    let of_old = |id: &String| id.contains("/resourceGroups/old");
    let mut others: Vec<String> = before.into_iter().filter(|id| !of_old(id)).collect();
    others.push(registry);
    others.sort_unstable();
    let mut is = fake.world().ids();
    is.sort_unstable();
    assert_eq!(is, others);
}

/// Changes the end of all that is tagged.
fn expire(world: &mut World, expires: &str) {
    for id in world.ids() {
        let mut body = world.body(&id).expect("it is there").clone();
        if body["tags"]["expires-at"].is_string() {
            body["tags"]["expires-at"] = expires.into();
            world.plant(&id, body);
        }
    }
}

const EXPIRED: [&str; 3] = ["cleanup", "--expired", "--yes"];

#[tokio::test(flavor = "multi_thread")]
async fn a_job_removes_what_another_machine_made_once_its_time_has_come() {
    let Some(stage) = Stage::new(World::default()).await else { return };
    stage.setup().await;
    let early = stage.expect(0, &EXPIRED).await;
    assert!(early.stdout.contains("no environment is past its time"), "{}", early.stdout);
    assert!(early.stderr.contains("tiny is needed until"), "{}", early.stderr);

    // Another machine knows nothing of it.
    fs::remove_dir_all(stage.root.path().join("home")).expect("it is ours");
    expire(&mut stage.fake.world(), "soon");
    let unclear = stage.expect(0, &EXPIRED).await;
    assert!(unclear.stderr.contains("which is no time"), "{}", unclear.stderr);
    expire(&mut stage.fake.world(), "2020-01-01T00:00:00Z");
    let unasked = stage.expect(2, &["cleanup", "--expired"]).await;
    assert!(unasked.stderr.contains("hint: give --yes"), "{}", unasked.stderr);
    assert!(!stage.fake.world().billed().is_empty(), "nobody agreed");
    let removed = stage.expect(0, &EXPIRED).await;
    assert!(removed.stdout.contains("removed tiny"), "{}", removed.stdout);
    stage.nothing_is_left();
    stage.expect(0, &EXPIRED).await;

    let mut nowhere = stage.command(&EXPIRED);
    nowhere.env_remove("AZURE_SUBSCRIPTION_ID");
    let output = tokio::task::spawn_blocking(move || nowhere.output()).await.expect("it is not cancelled");
    let output = output.expect("the binary starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("--expired needs a subscription"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_environment_of_this_machine_goes_by_its_state() {
    let Some(stage) = Stage::new(World::default()).await else { return };
    stage.setup().await;
    let file = stage.environment().join("environment.json");
    let mut request: Value = serde_json::from_slice(&fs::read(&file).expect("setup wrote it")).expect("it is JSON");
    request["azure"]["expires_at"] = "2020-01-01T00:00:00Z".into();
    fs::write(&file, request.to_string()).expect("the directory is ours");
    let prolonged = stage.expect(0, &EXPIRED).await;
    assert!(prolonged.stderr.contains("tiny is needed until"), "the tags decide: {}", prolonged.stderr);
    expire(&mut stage.fake.world(), "2020-01-01T00:00:00Z");
    let removed = stage.expect(0, &EXPIRED).await;
    assert!(removed.stderr.contains("terraform plans the removal"), "{}", removed.stderr);
    stage.nothing_is_left();
}

/// `expires-at` of the environment's resource group.
fn end(stage: &Stage) -> String {
    let world = stage.fake.world();
    let body = world.body(&group("reliability-demo-demo-tiny")).expect("setup made it");
    body["tags"]["expires-at"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_works_with_an_environment_pushes_its_end_out() {
    let Some(stage) = Stage::new(World::default()).await else { return };
    stage.setup().await;
    let first = end(&stage);
    for (is, pushed) in [("2020-01-01T00:00:00Z", true), ("2999-01-01T00:00:00Z", false), ("never", false)] {
        expire(&mut stage.fake.world(), is);
        let setup = stage.setup().await;
        assert!(setup.stdout.contains("nothing changed"), "{}", setup.stdout);
        if pushed {
            assert!(end(&stage) >= first, "{} after {first}", end(&stage));
            assert!(stage.expect(0, &EXPIRED).await.stdout.contains("no environment is past its time"));
        } else {
            assert_eq!(end(&stage), is, "somebody's wish");
        }
    }
    expire(&mut stage.fake.world(), "2020-01-01T00:00:00Z");
    stage.expect(0, &["run-tests"]).await;
    assert!(end(&stage) >= first, "{} after {first}", end(&stage));

    // Who may not change the tag is told when the environment ends.
    expire(&mut stage.fake.world(), "2020-01-01T00:00:00Z");
    stage.fake.world().facts.permissions =
        vec![Permission { actions: vec!["*/read".into(), "*/action".into()], not_actions: Vec::new() }];
    let told = stage.setup().await;
    assert!(told.stderr.contains("could not be pushed out to"), "{}", told.stderr);
    stage.fake.world().facts.permissions = World::default().facts.permissions;
    stage.expect(0, &["cleanup", "--yes"]).await;
    stage.nothing_is_left();
}
