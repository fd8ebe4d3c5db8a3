//! Rendered manifests of every built-in profile, and what must hold of all of them.

use democtl_core::{
    profile::{BUILTIN_PROFILES, Profile},
    render::{self, GitSource},
};
use serde_json::Value;

fn profile(name: &str) -> Profile {
    Profile::load_builtin(name, &[]).expect("built in").unwrap_or_else(|errors| panic!("{}", errors.to_text(100)))
}

fn wave(object: &Value) -> i32 {
    let text =
        object["metadata"]["annotations"]["argocd.argoproj.io/sync-wave"].as_str().expect("every object has a wave");
    text.parse().expect("a number")
}

#[test]
fn manifests_are_as_recorded() {
    for (name, _) in BUILTIN_PROFILES {
        insta::assert_json_snapshot!(format!("manifests@{name}"), render::manifests(&profile(name), "1.0.0"));
    }
}

#[test]
fn applications_are_as_recorded() {
    let parts = render::parts(&profile("m3demo2"), "1.0.0");
    let source = GitSource {
        repo_url: "https://github.com/democtl/democtl".into(),
        revision: "HEAD".into(),
        path: "deploy/m3demo2".into(),
    };
    insta::assert_json_snapshot!("applications", render::applications(&parts, &source));
}

#[test]
fn pools_and_platform_are_as_recorded() {
    for (name, _) in BUILTIN_PROFILES {
        insta::assert_json_snapshot!(format!("pools@{name}"), render::node_pools(&profile(name)));
    }
    insta::assert_json_snapshot!("platform", render::platform());
    insta::assert_json_snapshot!("daemon-sets", render::daemon_sets());
}

#[test]
fn no_deployment_fights_its_autoscaler() {
    for (name, _) in BUILTIN_PROFILES {
        let manifests = render::manifests(&profile(name), "1.0.0");
        let of = |kind: &'static str| manifests.iter().filter(move |object| object["kind"] == kind);
        for scaled in of("ScaledObject") {
            let target = &scaled["spec"]["scaleTargetRef"]["name"];
            let deployment =
                of("Deployment").find(|d| d["metadata"]["name"] == *target).expect("its target is rendered");
            assert!(deployment["spec"].get("replicas").is_none(), "{name}: {target} has replicas");
        }
    }
}

#[test]
fn waves_ascend_and_names_are_unique() {
    for (name, _) in BUILTIN_PROFILES {
        for part in render::parts(&profile(name), "1.0.0") {
            assert!(part.manifests.is_sorted_by_key(wave), "{name}/{}", part.name);
        }
        let manifests = render::manifests(&profile(name), "1.0.0");
        let mut keys: Vec<String> = manifests
            .iter()
            .map(|o| format!("{}/{}/{}", o["kind"], o["metadata"]["namespace"], o["metadata"]["name"]))
            .collect();
        let count = keys.len();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), count, "{name}");
    }
}

#[test]
fn the_queue_has_one_name_everywhere() {
    let sets = [
        ("workload.web.writes", "orders"),
        ("workload.worker.reads", "orders"),
        ("workload.worker.scaling.trigger.0.list", "orders"),
    ]
    .map(|(path, value)| (path.to_owned(), value.to_owned()));
    let profile = Profile::load_builtin("m3demo2", &sets).expect("built in").expect("sound");
    let text = serde_json::to_string(&render::manifests(&profile, "1.0.0")).expect("json");
    assert_eq!(text.matches("\"orders\"").count(), 3, "web, worker, trigger");
    assert!(!text.contains("customer_operations"));
}
