//! The ARM client: retries, throttling, long-running operations of each kind, tokens, errors that say why.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, SystemTime},
};

use democtl::target::azure::arm::{Arm, ArmError, CONTAINER_SERVICE, Patience, RESOURCES, Token, TokenSource};
use democtl_fake_azure::{Fate, Fault, Faults, World};
use futures::future::BoxFuture;
use http::Method;
use serde_json::{Value, json};

use crate::common::{SUBSCRIPTION, WorldTime, azure, azure_with, cluster, group, small_cluster};

async fn make_group(arm: &Arm) {
    let made = arm.put(&group("demo"), RESOURCES, &json!({ "location": "westeurope" })).await.expect("it can be made");
    assert_eq!(made["properties"]["provisioningState"], "Succeeded");
}

#[tokio::test]
async fn a_cluster_is_awaited_and_a_group_goes_with_all_that_is_in_it() {
    let (fake, arm) = azure(World::default()).await;
    make_group(&arm).await;
    let made = arm.put(&cluster(), CONTAINER_SERVICE, &small_cluster()).await.expect("it can be made");
    assert_eq!(made["properties"]["provisioningState"], "Succeeded");
    assert!(fake.world().now() >= Duration::from_secs(240), "it was waited for");
    assert_eq!(fake.world().billed().len(), 4, "cluster, scale set, load balancer, address");
    arm.delete(&group("demo"), RESOURCES).await.expect("it can be removed");
    assert_eq!(fake.world().ids(), Vec::<String>::new());
    arm.delete(&group("demo"), RESOURCES).await.expect("one that is not there is as wanted");
}

#[tokio::test]
async fn a_workspace_without_any_header_is_awaited_by_its_state() {
    let (fake, arm) = azure(World::default()).await;
    make_group(&arm).await;
    fake.world().faults.unseen_for = Duration::from_secs(30);
    let path = format!("{}/providers/Microsoft.OperationalInsights/workspaces/logs", group("demo"));
    let made = arm.put(&path, "2023-09-01", &json!({ "location": "westeurope" })).await.expect("it can be made");
    assert_eq!(made["properties"]["provisioningState"], "Succeeded");
}

#[tokio::test]
async fn an_operation_that_fails_says_why() {
    let (fake, arm) = azure(World::default()).await;
    make_group(&arm).await;
    let message = "Allocation failed. We do not have sufficient capacity.";
    fake.world().faults.order_fate(Fate::Fails { code: "AllocationFailed".into(), message: message.into() });
    let error = arm.put(&cluster(), CONTAINER_SERVICE, &small_cluster()).await.expect_err("it fails");
    assert_eq!(error.code(), Some("AllocationFailed"));
    let text = error.to_string();
    assert!(text.starts_with("the operation of PUT /subscriptions/") && text.contains(message), "{text}");
    assert!(text.contains("target") && text.contains("[request id request-"), "{text}");
    assert!(!text.contains("signed"), "the operation's address carries a signature: {text}");

    fake.world().faults.order_fate(Fate::Canceled);
    let error = arm.put(&cluster(), CONTAINER_SERVICE, &small_cluster()).await.expect_err("it is cancelled");
    assert_eq!(error.code(), Some("Canceled"));
}

#[tokio::test]
async fn an_operation_that_never_ends_meets_its_deadline() {
    let patience = Patience { operation: Duration::from_secs(600), ..Patience::default() };
    let (fake, arm) = azure_with(World::default(), patience).await;
    make_group(&arm).await;
    fake.world().faults.order_fate(Fate::Hangs);
    let error = arm.put(&cluster(), CONTAINER_SERVICE, &small_cluster()).await.expect_err("it never ends");
    assert!(
        matches!(&error, ArmError::Deadline { state, waited, .. }
        if state == "InProgress" && *waited >= Duration::from_secs(600) && *waited < Duration::from_secs(620)),
        "{error}"
    );
}

#[tokio::test]
async fn an_operation_whose_address_is_lost_is_followed_by_the_resource() {
    let (fake, arm) = azure(World::default()).await;
    make_group(&arm).await;
    fake.world().faults.order_fate(Fate::Lost);
    let made = arm.put(&cluster(), CONTAINER_SERVICE, &small_cluster()).await.expect("it was made");
    assert_eq!(made["properties"]["provisioningState"], "Succeeded");
    fake.world().faults.order_fate(Fate::Lost);
    arm.delete(&cluster(), CONTAINER_SERVICE).await.expect("it was removed");
    assert_eq!(fake.world().billed(), []);
}

#[tokio::test]
async fn an_answer_that_is_lost_after_the_act_is_no_second_cluster() {
    for fault in [Fault::ResetAfter, Fault::CutBody] {
        let (fake, arm) = azure(World::default()).await;
        make_group(&arm).await;
        fake.world().faults.order(Method::PUT, "managedclusters", fault.clone());
        arm.put(&cluster(), CONTAINER_SERVICE, &small_cluster()).await.expect("it is made");
        let sets = fake.world().ids().iter().filter(|id| id.contains("ScaleSets")).count();
        assert_eq!(sets, 1, "{fault:?}");
    }
}

#[tokio::test]
async fn throttling_holds_everybody_for_as_long_as_asked() {
    for as_date in [false, true] {
        let (fake, arm) = azure(World::default()).await;
        make_group(&arm).await;
        let fault = Fault::Throttle { after: Duration::from_secs(17), as_date };
        fake.world().faults.order(Method::GET, "resourcegroups/demo", fault);
        let begun = fake.world().now();
        assert!(arm.get(&group("demo"), RESOURCES).await.expect("in the end").is_some());
        assert_eq!(fake.world().now(), begun + Duration::from_secs(17), "as a date: {as_date}");
    }
}

/// 64 at once: while the subscription is throttled nobody asks, and then all are answered.
#[tokio::test]
async fn many_at_once_keep_still_while_throttled() {
    let (fake, arm) = azure(World::default()).await;
    make_group(&arm).await;
    let begun = fake.world().now();
    let before = fake.world().log.len();
    let fault = Fault::Throttle { after: Duration::from_secs(30), as_date: false };
    fake.world().faults.order(Method::GET, "resourcegroups/demo", fault);
    let path = group("demo");
    let asked = futures::future::join_all((0..64).map(|_| arm.get(&path, RESOURCES))).await;
    assert!(asked.into_iter().all(|answer| answer.is_ok_and(|body| body.is_some())));
    let world = fake.world();
    let early = |at: Duration| at > begun && at < begun + Duration::from_secs(30);
    assert_eq!(world.log.iter().filter(|logged| early(logged.at)).count(), 0);
    assert_eq!(world.log.len() - before, 65, "64 answers and the one that was throttled");
}

#[tokio::test]
async fn a_post_is_sent_again_only_when_it_was_refused_at_the_door() {
    let (fake, arm) = azure(World::default()).await;
    let path = format!("{SUBSCRIPTION}/providers/Microsoft.Compute/register");
    let posts = || fake.world().log.iter().filter(|logged| logged.method == Method::POST).count();
    fake.world().faults.order(Method::POST, "register", Fault::Server(503));
    assert!(arm.post_to_read(&path, RESOURCES).await.is_ok(), "one that only reads is sent again");
    assert_eq!(posts(), 2);
    fake.world().faults.order(Method::POST, "register", Fault::Server(503));
    assert_eq!(arm.post(&path, RESOURCES, &Value::Null).await.expect_err("not again").status(), Some(503));
    assert_eq!(posts(), 3);
    let fault = Fault::Throttle { after: Duration::from_secs(1), as_date: false };
    fake.world().faults.order(Method::POST, "register", fault);
    arm.post(&path, RESOURCES, &Value::Null).await.expect("again");
    assert_eq!(posts(), 5);
}

#[tokio::test]
async fn an_attempt_that_hangs_is_given_up_and_made_again() {
    let patience = Patience { attempt: Duration::from_secs(2), ..Patience::default() };
    let (fake, arm) = azure_with(World::default(), patience).await;
    make_group(&arm).await;
    fake.world().faults.order(Method::GET, "resourcegroups/demo", Fault::Hang);
    assert!(arm.get(&group("demo"), RESOURCES).await.expect("in the end").is_some());
    let gets = fake.world().log.iter().filter(|logged| logged.method == Method::GET && logged.status.is_none()).count();
    assert_eq!(gets, 1);
}

#[tokio::test]
async fn a_bad_day_that_does_not_end_is_an_error_in_words() {
    let (fake, arm) = azure(World::default()).await;
    for _ in 0..8 {
        fake.world().faults.order(Method::GET, "resourcegroups", Fault::Server(500));
    }
    let error = arm.get(&group("demo"), RESOURCES).await.expect_err("eight of eight attempts");
    assert!(error.to_string().contains("answered 500 InternalServerError"), "{error}");
    for _ in 0..8 {
        fake.world().faults.order(Method::GET, "resourcegroups", Fault::ResetBefore);
    }
    let error = arm.get(&group("demo"), RESOURCES).await.expect_err("eight of eight attempts");
    assert_eq!(error.to_string(), format!("GET {} got no answer in 8 attempts", group("demo")));
}

#[tokio::test]
async fn lists_are_read_to_their_last_page() {
    let (_fake, arm) = azure(World::default()).await;
    let path = format!("{SUBSCRIPTION}/providers/Microsoft.Compute/skus");
    let skus = arm.list(&path, "2021-07-01", &[("$filter", "location eq 'westeurope'")]).await.expect("a list");
    assert_eq!(skus.len(), 3);
}

/// A source that gives another token each time.
#[derive(Debug)]
struct Renewing(AtomicU32);

impl TokenSource for Renewing {
    fn fetch(&self) -> BoxFuture<'_, Result<Token, ArmError>> {
        let number = self.0.fetch_add(1, Ordering::SeqCst);
        let hour = SystemTime::now() + Duration::from_secs(3600);
        Box::pin(std::future::ready(Ok(Token::new(format!("token-{number}"), Some(hour)))))
    }
}

#[tokio::test]
async fn a_token_that_expires_in_the_middle_is_renewed_once() {
    let mut world = World::default();
    world.tokens.insert("token-0".to_owned(), Duration::from_secs(100));
    world.tokens.insert("token-1".to_owned(), Duration::MAX);
    let (fake, _) = azure(world).await;
    let pace = Arc::new(WorldTime(fake.shared()));
    let arm = Arm::new(&fake.url, Box::new(Renewing(AtomicU32::new(0))), pace, Patience::default()).expect("usable");
    make_group(&arm).await;
    arm.put(&cluster(), CONTAINER_SERVICE, &small_cluster()).await.expect("it outlasts its first token");
    let refused = fake.world().log.iter().filter(|logged| logged.status == Some(401)).count();
    assert_eq!(refused, 1);
    fake.world().tokens.clear();
    let error = arm.get(&group("demo"), RESOURCES).await.expect_err("no token is good any more");
    assert_eq!(error.code(), Some("InvalidAuthenticationToken"));
}

#[tokio::test]
async fn the_token_goes_to_the_arm_host_only() {
    let (other, _) = azure(World::default()).await;
    let (fake, arm) = azure(World::default()).await;
    make_group(&arm).await;
    // Every address that this world tells from now on names another host.
    fake.answer_as(&other.url);
    arm.put(&cluster(), CONTAINER_SERVICE, &small_cluster()).await.expect("it is followed on the ARM host");
    let path = format!("{SUBSCRIPTION}/providers/Microsoft.Compute/skus");
    assert_eq!(arm.list(&path, "2021-07-01", &[]).await.expect("a list").len(), 3);
    assert_eq!(other.world().log.len(), 0);

    let plain = Arm::new(
        "http://example.com",
        Box::new(Renewing(AtomicU32::new(0))),
        Arc::new(WorldTime(fake.shared())),
        Patience::default(),
    );
    assert!(plain.expect_err("a token over plain http").to_string().contains("https only"));
}

/// 50 seeds: made and removed whatever happens in between, and nothing is left that costs money.
#[tokio::test]
async fn any_schedule_of_faults_ends_done_or_with_a_reason_and_leaves_nothing() {
    let patience = Patience { operation: Duration::from_secs(1800), ..Patience::default() };
    for seed in 0..50 {
        let (fake, arm) = azure_with(World::default(), patience.clone()).await;
        make_group(&arm).await;
        fake.world().faults = Faults::seeded(seed, 12);
        match arm.put(&cluster(), CONTAINER_SERVICE, &small_cluster()).await {
            Ok(made) => assert_eq!(made["properties"]["provisioningState"], "Succeeded", "seed {seed}"),
            Err(error) => {
                let known = matches!(error, ArmError::Operation(_) | ArmError::Deadline { .. });
                assert!(known, "seed {seed}: {error}");
            }
        }
        let mut ended = arm.delete(&group("demo"), RESOURCES).await;
        for _ in 0..3 {
            if ended.is_ok() {
                break;
            }
            // What was stuck is given up by Azure itself in the end.
            fake.world().give_up_stuck();
            ended = arm.delete(&group("demo"), RESOURCES).await;
        }
        ended.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert_eq!(fake.world().ids(), Vec::<String>::new(), "seed {seed}");
    }
}
