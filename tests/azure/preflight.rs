//! Broken subscriptions, and what a person sees of each: refused before anything is made.

use democtl::target::azure::preflight::{self, Standing};
use democtl_core::profile::Profile;
use democtl_fake_azure::{Fault, Permission, World};
use http::Method;
use serde_json::json;

use crate::common::{SUBSCRIPTION, azure, group, placement, tags};

fn profile(name: &str, sets: &[(&str, &str)]) -> Profile {
    let sets: Vec<(String, String)> = sets.iter().map(|(path, value)| ((*path).into(), (*value).into())).collect();
    Profile::load_builtin(name, &sets).expect("built in").unwrap_or_else(|errors| panic!("{}", errors.to_text(100)))
}

type Break = fn(&mut World);

/// A name, what is broken, the profile with its overrides.
type Row = (&'static str, Break, &'static str, &'static [(&'static str, &'static str)]);

const GROUP: &str = "reliability-demo-demo-m3demo2";

fn plant_group(world: &mut World, name: &str, tags: &serde_json::Value, state: &str) {
    let body = json!({
        "id": group(name), "name": name, "location": "westeurope", "tags": tags,
        "type": "Microsoft.Resources/resourceGroups", "properties": { "provisioningState": state },
    });
    world.plant(&group(name), body);
}

fn allow(actions: &[&str], not: &[&str]) -> Vec<Permission> {
    let texts = |all: &[&str]| all.iter().map(ToString::to_string).collect();
    vec![Permission { actions: texts(actions), not_actions: texts(not) }]
}

#[expect(clippy::too_many_lines, reason = "it is a table")]
fn rows() -> Vec<Row> {
    vec![
        ("login_token_invalid", |world| world.tokens.clear(), "m3demo2", &[]),
        (
            "login_token_expired",
            |world| {
                world.tokens.insert("fake-token".into(), std::time::Duration::ZERO);
            },
            "m3demo2",
            &[],
        ),
        (
            "subscription_unknown",
            |world| world.facts.subscription = "11111111-0000-4000-8000-000000000001".into(),
            "m3demo2",
            &[],
        ),
        ("subscription_disabled", |world| world.facts.state = "Disabled".into(), "m3demo2", &[]),
        ("subscription_warned", |world| world.facts.state = "Warned".into(), "m3demo2", &[]),
        ("subscription_deleted", |world| world.facts.state = "Deleted".into(), "m3demo2", &[]),
        (
            "provider_not_registered",
            |world| {
                world.facts.providers.insert("Microsoft.ContainerService".into(), "NotRegistered".into());
            },
            "m3demo2",
            &[],
        ),
        (
            "provider_registering",
            |world| {
                world.facts.providers.insert("Microsoft.Compute".into(), "Registering".into());
                world.facts.providers.insert("Microsoft.OperationalInsights".into(), "Unregistered".into());
            },
            "m3demo2",
            &[],
        ),
        (
            "provider_unknown",
            |world| {
                world.facts.providers.remove("Microsoft.ManagedIdentity");
            },
            "m3demo2",
            &[],
        ),
        ("permissions_reader", |world| world.facts.permissions = allow(&["*/read"], &[]), "m3demo2", &[]),
        ("permissions_none", |world| world.facts.permissions.clear(), "m3demo2", &[]),
        ("permissions_no_delete", |world| world.facts.permissions = allow(&["*"], &["*/delete"]), "m3demo2", &[]),
        (
            "permissions_no_credentials",
            |world| {
                world.facts.permissions =
                    allow(&["*"], &["Microsoft.ContainerService/managedClusters/listClusterUserCredential/action"]);
            },
            "m3demo2",
            &[],
        ),
        (
            "lock_on_subscription",
            |world| {
                world.facts.locks.push((SUBSCRIPTION.into(), "CanNotDelete".into()));
            },
            "m3demo2",
            &[],
        ),
        ("lock_on_group", |world| world.facts.locks.push((group(GROUP), "ReadOnly".into())), "m3demo2", &[]),
        ("size_not_sold", |world| world.facts.skus.retain(|sku| sku.name != "Standard_D4s_v5"), "m3demo2", &[]),
        (
            "size_restricted",
            |world| world.facts.skus[1].restricted = Some("NotAvailableForSubscription".into()),
            "m3demo2",
            &[],
        ),
        ("size_restricted_by_offer", |world| world.facts.skus[2].restricted = Some("QuotaId".into()), "m3demo1", &[]),
        ("size_not_in_zone", |world| world.facts.skus[1].zones = vec!["1".into(), "2".into()], "m3demo2", &[]),
        ("size_zone_restricted", |world| world.facts.skus[1].restricted_zones = vec!["3".into()], "m3demo2", &[]),
        ("size_no_zone_at_all", |world| world.facts.skus[1].zones.clear(), "m3demo2", &[]),
        ("region_sells_nothing", |world| world.facts.location = "northeurope".into(), "m3demo2", &[]),
        (
            "quota_family_60_free",
            |world| {
                world.facts.usages[1].limit = 100;
                world.facts.usages[1].used = 40;
            },
            "m3demo1",
            &[],
        ),
        (
            "quota_total",
            |world| {
                world.facts.usages[0].limit = 20;
            },
            "m3demo2",
            &[],
        ),
        (
            "quota_zero",
            |world| {
                world.facts.usages[1].limit = 0;
            },
            "m3demo2",
            &[],
        ),
        (
            "quota_both",
            |world| {
                world.facts.usages[0].used = 190;
                world.facts.usages[1].used = 90;
            },
            "m3demo1",
            &[],
        ),
        (
            "quota_at_the_most_nodes_only",
            |world| {
                world.facts.usages[1].limit = 16;
            },
            "m3demo2",
            &[],
        ),
        ("version_gone", |_| {}, "m3demo2", &[("azure.kubernetes_version", "1.27")]),
        ("version_no_default", |world| world.facts.versions.clear(), "m3demo2", &[]),
        (
            "state_group_of_somebody",
            |world| plant_group(world, "reliability-demo-demo-m3demo2-state", &json!({}), "Succeeded"),
            "m3demo2",
            &[],
        ),
        ("group_of_somebody", |world| plant_group(world, GROUP, &json!({}), "Succeeded"), "m3demo2", &[]),
        (
            "group_of_another_environment",
            |world| {
                plant_group(world, GROUP, &json!({ "democtl-environment": "other" }), "Succeeded");
            },
            "m3demo2",
            &[],
        ),
        (
            "group_of_a_colleague_with_the_same_name",
            |world| {
                let other = json!({ "democtl-environment": "m3demo2", "democtl-id": "another" });
                plant_group(world, GROUP, &other, "Succeeded");
            },
            "m3demo2",
            &[],
        ),
        (
            "group_without_an_id",
            |world| plant_group(world, GROUP, &json!({ "democtl-environment": "m3demo2" }), "Succeeded"),
            "m3demo2",
            &[],
        ),
        (
            "group_going",
            |world| {
                plant_group(world, GROUP, &tags("m3demo2"), "Deleting");
            },
            "m3demo2",
            &[],
        ),
        (
            "nodes_of_somebody",
            |world| plant_group(world, "reliability-demo-demo-m3demo2-nodes", &json!({}), "Succeeded"),
            "m3demo2",
            &[],
        ),
        (
            "several_at_once",
            |world| {
                world.facts.providers.insert("Microsoft.Network".into(), "NotRegistered".into());
                world.facts.permissions = allow(&["*/read"], &[]);
                world.facts.usages[1].limit = 20;
                world.facts.skus[1].restricted_zones = vec!["2".into()];
            },
            "m3demo2",
            &[],
        ),
        (
            "azure_has_a_bad_day",
            |world| {
                for _ in 0..8 {
                    world.faults.order(Method::GET, "usages", Fault::Server(503));
                }
            },
            "m3demo2",
            &[],
        ),
    ]
}

#[tokio::test]
async fn every_broken_subscription_is_refused_in_words() {
    for (name, break_it, profile_name, sets) in rows() {
        let mut world = World::default();
        break_it(&mut world);
        let (fake, arm) = azure(world).await;
        let before = fake.world().ids();
        let report = preflight::inspect(&arm, &profile(profile_name, sets), &placement(profile_name)).await;
        assert!(report.refusals().count() > 0, "{name}:\n{}", report.table());
        assert!(report.refusals().all(|check| check.remedy.is_some()), "{name}: each has a remedy");
        assert_eq!(fake.world().ids(), before, "{name}: nothing is made");
        insta::with_settings!({ filters => [(r"request-\d+", "request-N")] }, {
            insta::assert_snapshot!(format!("preflight@{name}"), report.table());
        });
    }
}

#[tokio::test]
async fn a_subscription_that_is_well_lets_both_profiles_pass() {
    for name in ["m3demo1", "m3demo2"] {
        let (_fake, arm) = azure(World::default()).await;
        let report = preflight::inspect(&arm, &profile(name, &[]), &placement(name)).await;
        assert_eq!(report.refusals().count(), 0, "{}", report.table());
        insta::assert_snapshot!(format!("preflight@well_{name}"), report.table());
    }
}

#[tokio::test]
async fn m3demo1_with_60_free_is_short_of_12() {
    let mut world = World::default();
    world.facts.usages[1].used = 40;
    let (_fake, arm) = azure(world).await;
    let report = preflight::inspect(&arm, &profile("m3demo1", &[]), &placement("m3demo1")).await;
    let [refused] = report.refusals().collect::<Vec<_>>()[..] else { panic!("one: {}", report.table()) };
    let family =
        "Standard DSv5 Family vCPUs: 72 needed at the pools' most nodes, 60 free (40 of 100 in use): 12 missing";
    assert_eq!(refused.found, family);
}

#[tokio::test]
async fn warnings_do_not_refuse() {
    let rows: [(Break, &[(&str, &str)]); 2] =
        [(|world| world.facts.state = "PastDue".into(), &[]), (|_| {}, &[("azure.kubernetes_version", "1.35")])];
    for (break_it, sets) in rows {
        let mut world = World::default();
        break_it(&mut world);
        let (_fake, arm) = azure(world).await;
        let report = preflight::inspect(&arm, &profile("m3demo2", sets), &placement("m3demo2")).await;
        assert_eq!(report.refusals().count(), 0, "{}", report.table());
        let warnings = report.checks.iter().filter(|check| check.standing == Standing::Warning).count();
        assert_eq!(warnings, 1, "{}", report.table());
    }
}

#[tokio::test]
async fn an_earlier_try_is_gone_on_with() {
    let mut world = World::default();
    plant_group(&mut world, GROUP, &tags("m3demo2"), "Succeeded");
    let (_fake, arm) = azure(world).await;
    let report = preflight::inspect(&arm, &profile("m3demo2", &[]), &placement("m3demo2")).await;
    assert_eq!(report.refusals().count(), 0, "{}", report.table());
    assert!(report.table().contains("setup goes on with it"));
}
