//! The module's own rules, by the real Terraform: its variables refuse what Azure would refuse.

use std::{fs, path::Path, process::Command};

use democtl_core::{
    profile::Profile,
    render::azure::{Placement, tfvars},
};
use serde_json::{Value, json};

use crate::common::found;

fn good() -> Value {
    let profile = Profile::load_builtin("m3demo1", &[]).expect("built in");
    let profile = profile.unwrap_or_else(|errors| panic!("{}", errors.to_text(100)));
    let place = Placement {
        environment: "m3demo1",
        id: "00000000-0000-4000-8000-00000000000a",
        subscription: "00000000-0000-4000-8000-000000000001",
        expires_at: "2026-11-26T00:00:00Z",
    };
    tfvars(&profile, &place)
}

/// What `terraform plan` says of these variables; none: it takes them.
fn refusal(terraform: &Path, dir: &Path, variables: &Value) -> Option<String> {
    fs::write(dir.join("terraform.tfvars.json"), variables.to_string()).expect("the directory is ours");
    let output = Command::new(terraform)
        .args(["plan", "-input=false", "-no-color", "-lock=false"])
        .current_dir(dir)
        .env("CHECKPOINT_DISABLE", "1")
        .output()
        .expect("it was found");
    let told =
        String::from_utf8_lossy(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ").replace("│ ", "");
    (!output.status.success()).then_some(told)
}

#[test]
fn variables_that_azure_would_refuse_are_refused() {
    let Some(terraform) = found("terraform") else { return };
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    let tree = Path::new(env!("CARGO_MANIFEST_DIR"));
    fs::copy(tree.join("terraform/variables.tf"), dir.path().join("variables.tf")).expect("the directory is ours");
    assert_eq!(refusal(&terraform, dir.path(), &good()), None);
    let rows: [(&str, Value, &str); 14] = [
        ("/subscription_id", json!("mine"), "subscription_id must be a UUID"),
        ("/location", json!("West Europe"), "location must be a region's name"),
        ("/resource_group", json!("ends-in-a-dot."), "resource_group must be 1 to 90"),
        ("/cluster/name", json!("-aks"), "cluster.name must be 1 to 63"),
        ("/cluster/dns_prefix", json!("a".repeat(55)), "cluster.dns_prefix must be 1 to 54"),
        ("/cluster/sku_tier", json!("Paid"), "cluster.sku_tier must be"),
        ("/cluster/kubernetes_version", json!("latest"), "cluster.kubernetes_version must be such as"),
        ("/workspace/daily_quota_gb", json!(-1), "must not be able to run up a bill"),
        ("/data_collection_rule", json!("dcr of mine"), "data_collection_rule must be 1 to 64"),
        ("/pools/0/mode", json!("User"), "the first pool must be a System pool"),
        ("/pools/1/name", json!("system"), "each with a name of its own"),
        ("/pools/1/name", json!("Apps"), "1 to 12 small letters and digits"),
        ("/pools/2/max", json!(1), "min <= count <= max"),
        ("/pools/0/taints", json!(["a=b:NoSchedule"]), "cannot be tainted here"),
    ];
    for (pointer, value, words) in rows {
        let mut variables = good();
        *variables.pointer_mut(pointer).expect("it is there") = value;
        let told = refusal(&terraform, dir.path(), &variables).unwrap_or_else(|| panic!("{pointer} is taken"));
        assert!(told.contains(words), "{pointer}: {told}");
    }
}

#[test]
fn terraform_files_are_formatted() {
    let Some(terraform) = found("terraform") else { return };
    for dir in ["terraform", "tests/azure/stub"] {
        let output = Command::new(&terraform)
            .args(["fmt", "-check", "-diff", dir])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .expect("it was found");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
}
