//! The fake's own rules: what costs money when, what is refused, and that a seed repeats.

use std::{collections::BTreeMap, time::Duration};

use democtl_fake_azure::{Answer, Fate, Fault, Faults, Request, World};
use http::{Method, StatusCode};
use serde_json::{Value, json};

const GROUP: &str = "/subscriptions/00000000-0000-4000-8000-000000000001/resourceGroups/demo";

fn cluster() -> String {
    format!("{GROUP}/providers/Microsoft.ContainerService/managedClusters/aks")
}

fn request(method: Method, path: &str, body: Value) -> Request {
    Request {
        method,
        path: path.to_owned(),
        query: BTreeMap::from([("api-version".to_owned(), "2025-10-01".to_owned())]),
        token: Some("fake-token".to_owned()),
        body,
        base: "http://fake".to_owned(),
    }
}

/// Status, headers and body.
fn ask(
    world: &mut World,
    method: Method,
    path: &str,
    body: Value,
) -> (StatusCode, BTreeMap<&'static str, String>, Value) {
    match world.answer(&request(method, path, body)) {
        Answer::Reply { status, headers, body, .. } => (status, headers.into_iter().collect(), body),
        other => panic!("no answer: {other:?}"),
    }
}

fn wanted(count: u32) -> Value {
    json!({
        "location": "westeurope", "identity": { "type": "SystemAssigned" }, "sku": { "name": "Base", "tier": "Standard" },
        "properties": { "agentPoolProfiles": [
            { "name": "main", "vmSize": "Standard_D4s_v5", "count": count, "mode": "System",
              "enableAutoScaling": true, "minCount": 2, "maxCount": 7, "availabilityZones": ["1", "2", "3"] },
        ] },
    })
}

fn with_group() -> World {
    let mut world = World::default();
    let (status, ..) = ask(&mut world, Method::PUT, GROUP, json!({ "location": "westeurope" }));
    assert_eq!(status, StatusCode::CREATED);
    world
}

#[test]
fn a_cluster_costs_money_from_its_end_of_making_to_its_end_of_removal() {
    let mut world = with_group();
    let (status, headers, body) = ask(&mut world, Method::PUT, &cluster(), wanted(2));
    assert_eq!((status, &body["properties"]["provisioningState"]), (StatusCode::CREATED, &json!("Creating")));
    let operation = headers["azure-asyncoperation"].strip_prefix("http://fake").expect("on this host").to_owned();
    let path = operation.split('?').next().expect("it has a path").to_owned();
    assert_eq!(ask(&mut world, Method::GET, &path, Value::Null).2["status"], "InProgress");
    assert_eq!(ask(&mut world, Method::PUT, &cluster(), wanted(3)).0, StatusCode::CONFLICT, "in progress");
    world.advance(Duration::from_secs(300));
    assert_eq!(ask(&mut world, Method::GET, &path, Value::Null).2["status"], "Succeeded");
    let hourly: f64 = world.billed().iter().map(|billed| billed.usd_per_hour).sum();
    assert!((hourly - (2.0 * 0.23 + 0.10 + 0.025 + 0.005)).abs() < 1e-9, "{:?}", world.billed());

    let (status, headers, _) = ask(&mut world, Method::DELETE, GROUP, Value::Null);
    assert_eq!(status, StatusCode::ACCEPTED);
    assert!(headers.contains_key("location") && !headers.contains_key("azure-asyncoperation"), "{headers:?}");
    assert!(!world.billed().is_empty());
    world.advance(Duration::from_secs(300));
    assert_eq!(world.ids(), Vec::<String>::new());
}

#[test]
fn quota_counts_what_runs() {
    let mut world = with_group();
    world.facts.usages[1].limit = 10;
    let (status, _, body) = ask(&mut world, Method::PUT, &cluster(), wanted(3));
    assert_eq!((status, &body["error"]["code"]), (StatusCode::BAD_REQUEST, &json!("ErrCode_InsufficientVCPUQuota")));
    assert_eq!(ask(&mut world, Method::PUT, &cluster(), wanted(2)).0, StatusCode::CREATED);
    world.advance(Duration::from_secs(300));
    let path =
        "/subscriptions/00000000-0000-4000-8000-000000000001/providers/Microsoft.Compute/locations/westeurope/usages";
    let usages = ask(&mut world, Method::GET, path, Value::Null).2;
    assert_eq!(usages["value"][1]["currentValue"], 8);
}

#[test]
fn wrong_bodies_and_logins_are_refused() {
    let mut world = with_group();
    let mut no_system = wanted(2);
    no_system["properties"]["agentPoolProfiles"][0]["mode"] = json!("User");
    let mut no_bounds = wanted(2);
    no_bounds["properties"]["agentPoolProfiles"][0]["maxCount"] = Value::Null;
    let mut no_size = wanted(2);
    no_size["properties"]["agentPoolProfiles"][0]["vmSize"] = json!("Standard_D4s_v9");
    for body in [no_system, no_bounds, no_size] {
        assert_eq!(ask(&mut world, Method::PUT, &cluster(), body).0, StatusCode::BAD_REQUEST);
    }
    world.tokens.insert("fake-token".to_owned(), Duration::from_secs(60));
    world.advance(Duration::from_secs(60));
    let (status, headers, body) = ask(&mut world, Method::GET, GROUP, Value::Null);
    assert_eq!((status, &body["error"]["code"]), (StatusCode::UNAUTHORIZED, &json!("ExpiredAuthenticationToken")));
    assert!(headers.contains_key("www-authenticate"));
}

#[test]
fn operations_can_fail_hang_and_get_lost() {
    for (fate, state) in [
        (Fate::Fails { code: "AllocationFailed".into(), message: "no capacity".into() }, "Failed"),
        (Fate::Canceled, "Canceled"),
        (Fate::Hangs, "Creating"),
        (Fate::Lost, "Succeeded"),
    ] {
        let mut world = with_group();
        world.faults.order_fate(fate.clone());
        ask(&mut world, Method::PUT, &cluster(), wanted(2));
        world.advance(Duration::from_secs(3600));
        let body = ask(&mut world, Method::GET, &cluster(), Value::Null).2;
        assert_eq!(body["properties"]["provisioningState"], state, "{fate:?}");
    }
}

#[test]
fn a_fault_can_be_ordered_and_a_seed_repeats() {
    let mut world = with_group();
    world.faults.order(
        Method::GET,
        "/resourcegroups/DEMO",
        Fault::Throttle { after: Duration::from_secs(7), as_date: false },
    );
    let (status, headers, _) = ask(&mut world, Method::GET, GROUP, Value::Null);
    assert_eq!((status, headers["retry-after"].as_str()), (StatusCode::TOO_MANY_REQUESTS, "7"));
    assert_eq!(ask(&mut world, Method::GET, GROUP, Value::Null).0, StatusCode::OK);

    let session = |seed| {
        let mut world = with_group();
        world.faults = Faults::seeded(seed, 50);
        let answers = (0..100).map(|_| world.answer(&request(Method::GET, GROUP, Value::Null)).status());
        answers.collect::<Vec<_>>()
    };
    assert_eq!(session(7), session(7));
    assert_ne!(session(7), session(8));
    assert!(session(7).iter().any(|status| *status != Some(StatusCode::OK)));
}

#[test]
fn a_new_resource_may_not_be_seen_at_once() {
    let mut world = with_group();
    world.faults.unseen_for = Duration::from_secs(5);
    assert_eq!(ask(&mut world, Method::PUT, &cluster(), wanted(2)).0, StatusCode::CREATED);
    assert_eq!(ask(&mut world, Method::GET, &cluster(), Value::Null).0, StatusCode::NOT_FOUND);
    world.advance(Duration::from_secs(5));
    assert_eq!(ask(&mut world, Method::GET, &cluster(), Value::Null).0, StatusCode::OK);
}

#[test]
fn a_cluster_lists_its_pools_and_what_the_service_adds() {
    let mut world = with_group();
    ask(&mut world, Method::PUT, &cluster(), wanted(2));
    world.advance(Duration::from_secs(300));
    let pool = format!("{}/agentPools/more", cluster());
    let body = json!({ "properties": { "vmSize": "Standard_D4s_v5", "count": 1, "mode": "User" } });
    ask(&mut world, Method::PUT, &pool, body);
    world.advance(Duration::from_secs(300));
    let (_, _, body) = ask(&mut world, Method::GET, &cluster(), Value::Null);
    let pools = body["properties"]["agentPoolProfiles"].as_array().expect("it has pools").clone();
    let names: Vec<&Value> = pools.iter().map(|pool| &pool["name"]).collect();
    assert_eq!(names, ["main", "more"]);
    assert_eq!(pools[1]["orchestratorVersion"], "1.33.5", "the cluster's own");
    assert_eq!(body["properties"]["autoScalerProfile"]["scan-interval"], "10s");
    ask(&mut world, Method::DELETE, &pool, Value::Null);
    world.advance(Duration::from_secs(300));
    let (_, _, body) = ask(&mut world, Method::GET, &cluster(), Value::Null);
    assert_eq!(body["properties"]["agentPoolProfiles"].as_array().map(Vec::len), Some(1));
}

#[test]
fn what_is_attached_to_a_cluster_needs_it_and_goes_with_it() {
    let mut world = with_group();
    let attached = format!("{}/providers/Microsoft.Insights/dataCollectionRuleAssociations/agent", cluster());
    let (status, ..) = ask(&mut world, Method::PUT, &attached, json!({ "properties": {} }));
    assert_eq!(status, StatusCode::NOT_FOUND, "there is no cluster");
    ask(&mut world, Method::PUT, &cluster(), wanted(2));
    world.advance(Duration::from_secs(300));
    let (status, _, body) = ask(&mut world, Method::PUT, &attached, json!({ "properties": {} }));
    assert_eq!((status, &body["properties"]["provisioningState"]), (StatusCode::CREATED, &json!("Succeeded")));
    world.style.page = 100;
    let (_, _, listed) = ask(&mut world, Method::GET, &format!("{GROUP}/resources"), Value::Null);
    assert!(!listed.to_string().contains("Associations"), "lists leave it out: {listed}");
    ask(&mut world, Method::DELETE, &cluster(), Value::Null);
    world.advance(Duration::from_secs(300));
    assert_eq!(world.ids(), [GROUP]);
}

#[test]
fn only_an_application_with_its_secret_gets_a_token() {
    let mut world = with_group();
    world.applications.insert("app".to_owned(), "secret".to_owned());
    let path = format!("/{}/oauth2/v2.0/token", world.facts.tenant);
    let form = |client: &str, secret: &str| json!({ "grant_type": "client_credentials", "client_id": client, "client_secret": secret });
    for (client, secret, words) in [("other", "secret", "AADSTS700016"), ("app", "other", "AADSTS7000215")] {
        let (status, _, body) = ask(&mut world, Method::POST, &path, form(client, secret));
        assert_eq!(status, StatusCode::UNAUTHORIZED);
        assert!(body.to_string().contains(words), "{body}");
    }
    let (_, _, body) = ask(&mut world, Method::POST, &path, form("app", "secret"));
    let mut with_it = request(Method::GET, GROUP, Value::Null);
    with_it.token = body["access_token"].as_str().map(str::to_owned);
    assert_eq!(world.answer(&with_it).status(), Some(StatusCode::OK));
    world.advance(Duration::from_secs(3601));
    assert_eq!(world.answer(&with_it).status(), Some(StatusCode::UNAUTHORIZED), "it lasts an hour");
}
