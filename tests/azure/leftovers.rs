//! What was begun and not finished: taken over by the next setup, found and removed by cleanup.

use democtl::target::azure::{
    adopt,
    arm::{CONTAINER_SERVICE, RESOURCES},
    scan,
};
use democtl_core::{profile::Profile, render::azure::Placement};
use democtl_fake_azure::{Fate, Faults, Request, World};
use serde_json::{Value, json};

use crate::common::{azure, group, placement, tags};

const SUBSCRIPTION: &str = "00000000-0000-4000-8000-000000000001";

fn profile(name: &str) -> Profile {
    Profile::load_builtin(name, &[]).expect("built in").unwrap_or_else(|errors| panic!("{}", errors.to_text(100)))
}

fn cluster_body(environment: &str) -> Value {
    json!({
        "location": "westeurope", "tags": tags(environment), "identity": { "type": "SystemAssigned" },
        "sku": { "name": "Base", "tier": "Standard" },
        "properties": {
            "nodeResourceGroup": format!("reliability-demo-demo-{environment}-nodes"),
            "agentPoolProfiles": [{ "name": "system", "vmSize": "Standard_D4s_v5", "count": 2, "mode": "System" }],
        },
    })
}

fn cluster_id(environment: &str) -> String {
    let name = format!("reliability-demo-demo-{environment}");
    format!("{}/providers/Microsoft.ContainerService/managedClusters/aks-{name}", group(&name))
}

#[tokio::test]
async fn what_no_state_knows_is_taken_over() {
    let (_fake, arm) = azure(World::default()).await;
    let profile = profile("m3demo1");
    let candidates = adopt::candidates(SUBSCRIPTION, &profile, "m3demo1");
    let addresses: Vec<_> = candidates.iter().map(|candidate| candidate.address.as_str()).collect();
    assert_eq!(addresses.len(), 7, "{addresses:?}");
    assert_eq!(adopt::strays(&arm, &candidates, &placement("m3demo1"), None).await.expect("it can be read"), []);

    let body = json!({ "location": "westeurope", "tags": tags("m3demo1") });
    arm.put(&group("reliability-demo-demo-m3demo1"), RESOURCES, &body).await.expect("it can be made");
    arm.put(&cluster_id("m3demo1"), CONTAINER_SERVICE, &cluster_body("m3demo1")).await.expect("it can be made");
    let state = json!({ "version": 4, "resources": [
        { "mode": "managed", "type": "azurerm_resource_group", "name": "this", "instances": [{}] },
    ] });
    let strays = adopt::strays(&arm, &candidates, &placement("m3demo1"), Some(&state)).await.expect("it can be read");
    insta::assert_snapshot!(adopt::import_blocks(&strays), @r#"
    # Written by democtl: what an apply that was killed has made.

    import {
      to = azurerm_kubernetes_cluster.this
      id = "/subscriptions/00000000-0000-4000-8000-000000000001/resourceGroups/reliability-demo-demo-m3demo1/providers/Microsoft.ContainerService/managedClusters/aks-reliability-demo-demo-m3demo1"
    }
    "#);
    let of_others = adopt::strays(&arm, &candidates, &placement("another"), None).await.expect("it can be read");
    assert_eq!(of_others, [], "a group of somebody else is not taken over");
    let same_name = Placement { id: "another", ..placement("m3demo1") };
    let of_others = adopt::strays(&arm, &candidates, &same_name, None).await.expect("it can be read");
    assert_eq!(of_others, [], "nor one whose owner chose the same name");
}

#[tokio::test]
async fn a_scan_finds_what_is_ours_and_leaves_the_rest_alone() {
    let (fake, arm) = azure(World::default()).await;
    let profile = profile("m3demo2");
    let ours = json!({ "location": "westeurope", "tags": tags("m3demo2") });
    arm.put(&group("reliability-demo-demo-m3demo2"), RESOURCES, &ours).await.expect("it can be made");
    arm.put(&cluster_id("m3demo2"), CONTAINER_SERVICE, &cluster_body("m3demo2")).await.expect("it can be made");
    // Left by a controller: a disk and an address that no state knows.
    let nodes = group("reliability-demo-demo-m3demo2-nodes");
    for (kind, name) in [("Microsoft.Compute/disks", "pvc-1"), ("Microsoft.Network/publicIPAddresses", "kubernetes-a1")]
    {
        let id = format!("{nodes}/providers/{kind}/{name}");
        fake.world().plant(&id, json!({ "id": id, "name": name, "type": kind, "properties": {} }));
    }
    // A neighbour, and a group that only bears a name like ours.
    let other = json!({ "location": "westeurope", "tags": tags("m3demo2-b") });
    arm.put(&group("neighbour"), RESOURCES, &other).await.expect("it can be made");
    let before = fake.world().ids().len();

    let found = scan::scan(&arm, &profile, &placement("m3demo2")).await.expect("it can be read");
    assert_eq!(
        found.len(),
        before - 1 - 1,
        "all but the neighbour and the pool, which is a part of its cluster: {found:#?}"
    );
    let known: f64 = found.iter().filter_map(|item| item.usd_per_month).sum();
    let node = 730.0 * 0.23 + 9.60;
    assert!((known - (2.0 * node + 73.0 + 18.25 + 2.0 * 3.65)).abs() < 0.01, "{known}: {found:#?}");
    assert!(found.iter().any(|item| item.id.ends_with("pvc-1") && item.usd_per_month.is_none()), "unknown is not $0");

    scan::remove(&arm, &found, &|_: &str| {}).await.expect("it can be removed");
    assert_eq!(scan::scan(&arm, &profile, &placement("m3demo2")).await.expect("it can be read"), []);
    assert_eq!(fake.world().ids(), [group("neighbour")]);
}

#[tokio::test]
async fn a_group_that_only_bears_the_name_is_told_and_left() {
    let (fake, arm) = azure(World::default()).await;
    let id = group("reliability-demo-demo-m3demo2");
    arm.put(&id, RESOURCES, &json!({ "location": "westeurope" })).await.expect("it can be made");
    let found = scan::scan(&arm, &profile("m3demo2"), &placement("m3demo2")).await.expect("it can be read");
    scan::remove(&arm, &found, &|_: &str| {}).await.expect("there is nothing to remove");
    assert_eq!(fake.world().ids(), [id]);
    assert!(scan::line(&found[0]).contains("it was left alone"), "{}", scan::line(&found[0]));
}

#[tokio::test]
async fn the_cluster_of_a_colleague_with_the_same_name_is_told_and_left() {
    let (fake, arm) = azure(World::default()).await;
    let body = json!({ "location": "westeurope", "tags": tags("m3demo2") });
    arm.put(&group("reliability-demo-demo-m3demo2"), RESOURCES, &body).await.expect("it can be made");
    arm.put(&cluster_id("m3demo2"), CONTAINER_SERVICE, &cluster_body("m3demo2")).await.expect("it can be made");
    let before = fake.world().ids();
    let ours = Placement { id: "another", ..placement("m3demo2") };
    let found = scan::scan(&arm, &profile("m3demo2"), &ours).await.expect("it can be read");
    assert!(!found.is_empty() && found.iter().all(|item| !item.ours), "{found:#?}");
    scan::remove(&arm, &found, &|_: &str| {}).await.expect("there is nothing to remove");
    assert_eq!(fake.world().ids(), before);
}

/// As a Terraform leaves it that was killed while ARM was at work.
#[tokio::test]
async fn what_is_still_in_the_making_is_waited_for() {
    let (fake, arm) = azure(World::default()).await;
    let candidates = adopt::candidates(SUBSCRIPTION, &profile("m3demo2"), "m3demo2");
    let said = std::sync::Mutex::new(Vec::new());
    let progress = |line: &str| said.lock().expect("nobody panicked").push(line.to_owned());
    adopt::wait_until_settled(&arm, &candidates, &progress).await.expect("there is nothing to wait for");
    assert_eq!(said.lock().expect("nobody panicked").len(), 0);
    let body = json!({ "location": "westeurope", "tags": tags("m3demo2") });
    arm.put(&group("reliability-demo-demo-m3demo2"), RESOURCES, &body).await.expect("it can be made");
    arm.put(&cluster_id("m3demo2"), CONTAINER_SERVICE, &cluster_body("m3demo2")).await.expect("it can be made");
    // Somebody changes it; nobody waits for the end.
    let request = Request {
        method: http::Method::PUT,
        path: cluster_id("m3demo2"),
        query: [("api-version".to_owned(), CONTAINER_SERVICE.to_owned())].into(),
        token: Some("fake-token".to_owned()),
        body: cluster_body("m3demo2"),
        base: fake.url.clone(),
    };
    fake.world().answer(&request);
    adopt::wait_until_settled(&arm, &candidates, &progress).await.expect("it ends");
    let told = said.lock().expect("nobody panicked").clone();
    assert!(told[0].contains("azurerm_kubernetes_cluster.this: Azure says Updating"), "{told:?}");
    assert_eq!(
        fake.world().body(&cluster_id("m3demo2")).expect("it is there")["properties"]["provisioningState"],
        "Succeeded"
    );
}

/// As Terraform leaves it that was asked to stop while ARM was at work.
#[tokio::test]
async fn a_cluster_is_not_made_again_because_terraform_did_not_see_it_end() {
    let (fake, arm) = azure(World::default()).await;
    let candidates = adopt::candidates(SUBSCRIPTION, &profile("m3demo2"), "m3demo2");
    let state = json!({ "version": 4, "resources": [
        { "mode": "managed", "type": "azurerm_resource_group", "name": "this", "instances": [{}] },
        { "mode": "managed", "type": "azurerm_kubernetes_cluster", "name": "this", "instances": [{ "status": "tainted" }] },
    ] });
    let tainted = || adopt::tainted_in_vain(&arm, &candidates, Some(&state));
    assert_eq!(tainted().await.expect("it can be read"), Vec::<String>::new(), "it is not there");
    let body = json!({ "location": "westeurope", "tags": tags("m3demo2") });
    arm.put(&group("reliability-demo-demo-m3demo2"), RESOURCES, &body).await.expect("it can be made");
    arm.put(&cluster_id("m3demo2"), CONTAINER_SERVICE, &cluster_body("m3demo2")).await.expect("it can be made");
    assert_eq!(tainted().await.expect("it can be read"), ["azurerm_kubernetes_cluster.this"]);
    let mut failed = fake.world().body(&cluster_id("m3demo2")).expect("it was made").clone();
    failed["properties"]["provisioningState"] = "Failed".into();
    fake.world().plant(&cluster_id("m3demo2"), failed);
    assert_eq!(tainted().await.expect("it can be read"), Vec::<String>::new(), "what failed is made again");
}

/// How many seeds; CI tries more.
fn seeds() -> u64 {
    std::env::var("DEMOCTL_FAULT_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(50)
}

/// Made, changed, and cleaned up while anything goes wrong: each step is done or says why, and in the end nothing is left
/// that costs money.
#[tokio::test]
async fn any_schedule_of_faults_leaves_nothing_that_costs() {
    let profile = profile("m3demo2");
    for seed in 0..seeds() {
        let (fake, arm) = azure(World::default()).await;
        fake.world().faults = Faults::seeded(seed, 30);
        let group = group("reliability-demo-demo-m3demo2");
        let body = json!({ "location": "westeurope", "tags": tags("m3demo2") });
        let pool = format!("{}/agentPools/extra", cluster_id("m3demo2"));
        let extra = json!({ "properties": { "vmSize": "Standard_D4s_v5", "count": 1, "mode": "User" } });
        let steps = [
            (group.as_str(), RESOURCES, &body),
            (&cluster_id("m3demo2"), CONTAINER_SERVICE, &cluster_body("m3demo2")),
            (&pool, CONTAINER_SERVICE, &extra),
        ];
        for (path, version, body) in steps {
            if let Err(error) = arm.put(path, version, body).await {
                let text = error.to_string();
                assert!(text.contains("/subscriptions/") && text.len() > 40, "seed {seed}: an error in words: {text}");
                break;
            }
        }
        let mut cleaned = false;
        for _ in 0..6 {
            // What hangs in Azure ends some hours later.
            fake.world().give_up_stuck();
            let Ok(found) = scan::scan(&arm, &profile, &placement("m3demo2")).await else { continue };
            if scan::remove(&arm, &found, &|_: &str| {}).await.is_ok() {
                cleaned = scan::scan(&arm, &profile, &placement("m3demo2")).await.is_ok_and(|left| left.is_empty());
            }
            if cleaned {
                break;
            }
        }
        assert!(cleaned, "seed {seed}: cleanup does not end; {:?}", fake.world().ids());
        assert_eq!(fake.world().billed(), [], "seed {seed}");
    }
}

#[tokio::test]
async fn a_cluster_that_failed_is_still_found_and_removed() {
    let (fake, arm) = azure(World::default()).await;
    let body = json!({ "location": "westeurope", "tags": tags("m3demo2") });
    arm.put(&group("reliability-demo-demo-m3demo2"), RESOURCES, &body).await.expect("it can be made");
    fake.world().faults.order_fate(Fate::Fails { code: "AllocationFailed".into(), message: "no room".into() });
    arm.put(&cluster_id("m3demo2"), CONTAINER_SERVICE, &cluster_body("m3demo2")).await.expect_err("it fails");
    let found = scan::scan(&arm, &profile("m3demo2"), &placement("m3demo2")).await.expect("it can be read");
    assert!(found.iter().any(|item| item.id.ends_with("managedClusters/aks-reliability-demo-demo-m3demo2")));
    scan::remove(&arm, &found, &|_: &str| {}).await.expect("it can be removed");
    assert_eq!(fake.world().ids(), Vec::<String>::new());
}
