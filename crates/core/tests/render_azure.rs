//! Terraform's variables follow from the profile; a snapshot shows every change of them.

use democtl_core::{
    profile::Profile,
    render::azure::{Placement, azure_names, tfvars},
};
use serde_json::Value;

const PLACE: Placement<'static> = Placement {
    environment: "m3demo2",
    id: "00000000-0000-4000-8000-00000000000a",
    subscription: "00000000-0000-4000-8000-000000000001",
    expires_at: "2026-11-26T00:00:00Z",
};

fn profile(name: &str, sets: &[(&str, &str)]) -> Profile {
    let sets: Vec<(String, String)> = sets.iter().map(|(path, value)| ((*path).into(), (*value).into())).collect();
    Profile::load_builtin(name, &sets).expect("built in").unwrap_or_else(|errors| panic!("{}", errors.to_text(100)))
}

#[test]
fn variables_of_every_profile() {
    for name in ["m3demo1", "m3demo2", "m3demo2-as-written"] {
        let vars = tfvars(&profile(name, &[]), &Placement { environment: name, ..PLACE });
        insta::assert_json_snapshot!(format!("tfvars@{name}"), vars);
    }
}

#[test]
fn the_clusters_own_pool_is_the_first_system_pool() {
    let sets = [("pool.apps.mode", "System"), ("pool.system.mode", "User")];
    let vars = tfvars(&profile("m3demo1", &sets), &PLACE);
    assert_eq!(vars["pools"][0]["mode"], "System");
    let names: Vec<&Value> = vars["pools"].as_array().expect("pools").iter().map(|pool| &pool["name"]).collect();
    assert_eq!(names.len(), 3, "none is lost: {names:?}");
}

#[test]
fn times_are_in_the_units_that_aks_takes() {
    let sets = [("autoscaler.scan_interval", "90s"), ("autoscaler.scale_down_unneeded_time", "90s")];
    let vars = tfvars(&profile("m3demo2", &sets), &PLACE);
    assert_eq!(vars["autoscaler"]["scan_interval"], "90s");
    assert_eq!(vars["autoscaler"]["scale_down_unneeded"], "2m", "rounded up to whole minutes");
}

#[test]
fn names_that_azure_would_refuse_are_told() {
    let profile = profile("m3demo2", &[]);
    assert_eq!(azure_names(&profile, "m3demo2").too_long(), None);
    let long = "a".repeat(60);
    let told = azure_names(&profile, &long).too_long().expect("it is too long");
    assert!(told.contains("Azure takes 63"), "{told}");
    assert!(azure_names(&profile, &long).dns_prefix.len() <= 54);
}

/// Every variable of the module is set, and nothing else is.
#[test]
fn the_module_declares_what_is_rendered() {
    let module = include_str!("../../../terraform/variables.tf");
    let mut declared: Vec<&str> =
        module.lines().filter_map(|line| line.strip_prefix("variable \"")?.strip_suffix("\" {")).collect();
    declared.sort_unstable();
    let vars = tfvars(&profile("m3demo2", &[]), &PLACE);
    let mut rendered: Vec<&str> = vars.as_object().expect("an object").keys().map(String::as_str).collect();
    rendered.sort_unstable();
    assert_eq!(rendered, declared);
}
