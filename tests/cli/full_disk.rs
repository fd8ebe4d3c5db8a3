//! The disk is full: writes are refused with the reason, reads go on, nothing that was taken is lost.

use std::fs;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client, Config, Error, ResourceExt,
    api::{ListParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
    core::Status,
};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::json;

use crate::environment::{TestEnvironment, finish, kill};

/// Sets how long any file of a process may become, as a full disk would; none: as it likes.
fn limit(pid: u32, bytes: Option<u64>) {
    let pid = Pid::from_raw(i32::try_from(pid).expect("a pid")).expect("a pid");
    let wanted = Rlimit { current: bytes, maximum: None };
    prlimit(Some(pid), Resource::Fsize, wanted).expect("it is ours");
}

async fn maps(environment: &TestEnvironment) -> Api<ConfigMap> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let file = Kubeconfig::read_from(environment.environment_dir().join("kubeconfig")).expect("setup wrote it");
    let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.expect("it is valid");
    Api::default_namespaced(Client::try_from(config).expect("a client"))
}

fn map(name: &str, bytes: usize) -> ConfigMap {
    let object = json!({ "metadata": { "name": name }, "data": { "text": "x".repeat(bytes) } });
    serde_json::from_value(object).expect("a config map")
}

async fn names(maps: &Api<ConfigMap>) -> Vec<String> {
    let all = maps.list(&ListParams::default()).await.expect("reads go on").items;
    all.iter().map(ResourceExt::name_any).filter(|name| name != "kube-root-ca.crt").collect()
}

fn refusal(answer: Result<ConfigMap, Error>) -> Option<Status> {
    match answer {
        Ok(_) => None,
        Err(Error::Api(status)) => Some(*status),
        Err(other) => panic!("no Status: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_writes_and_loses_nothing() {
    let environment = TestEnvironment::new();
    // A disk that is full sends no signal; a file that is too long does, unless it is ignored, which is inherited.
    let mut setup = std::process::Command::new("/bin/sh");
    let like = environment.command(&["setup", "--profile", "./tiny.toml", "--speed", "10"]);
    setup.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""]).arg(like.get_program()).args(like.get_args());
    setup.current_dir(environment.path("")).env_clear();
    setup.envs(like.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let outcome = finish(setup);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let cluster = environment.cluster_pid().expect("it runs");
    let journal = environment.environment_dir().join("cluster/journal");
    let maps = maps(&environment).await;

    limit(cluster, Some(fs::metadata(&journal).expect("it is there").len() + (64 << 10)));
    let (mut taken, mut refused) = (Vec::new(), None);
    while refused.is_none() {
        let name = format!("m{:02}", taken.len());
        refused = refusal(maps.create(&PostParams::default(), &map(&name, 4 << 10)).await);
        if refused.is_none() {
            taken.push(name);
        }
        assert!(taken.len() < 20, "64 KiB do not hold 20 of these");
    }
    let status = refused.expect("the loop ended");
    assert_eq!((status.code, status.reason.as_str()), (507, "InternalError"));
    assert!(status.message.contains("journal cannot be written, nothing was changed: File too large"), "{status:?}");
    assert_eq!(names(&maps).await, taken);
    let changed = map(&taken[0], 5 << 10);
    let status = refusal(maps.replace(&taken[0], &PostParams::default(), &changed).await);
    assert_eq!(status.map(|status| status.code), Some(507), "an update is as long");
    let kept = maps.get(&taken[0]).await.expect("reads go on").data.expect("it has some");
    assert_eq!(kept["text"].len(), 4 << 10);

    limit(cluster, None);
    let status = refusal(maps.create(&PostParams::default(), &map("n-later", 4 << 10)).await);
    assert_eq!(status, None, "there is room again");
    taken.push("n-later".to_owned());
    kill(cluster);
    environment.wait_until("the end of the pods with their cluster", |it| it.processes().is_empty());
    environment.setup();
    assert_eq!(names(&self::maps(&environment).await).await, taken);
}
