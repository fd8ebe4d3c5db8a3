#![expect(clippy::unwrap_used, reason = "tests")]
use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use futures::FutureExt;
use serde_json::json;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::*;
use crate::runtime::{
    fake::{Fake, pod},
    network::Network,
};

/// A kubelet over a fake API, with a shell script in the app's place.
struct Rig {
    api: Arc<Fake>,
    dir: TempDir,
    kubelet: JoinHandle<()>,
    shutdown: CancellationToken,
}

impl Rig {
    fn start(block: u8, script: &str, speed: f64) -> Self {
        Self::restart(Fake::new(), tempfile::tempdir().unwrap(), block, script, speed)
    }

    fn restart(api: Arc<Fake>, dir: TempDir, block: u8, script: &str, speed: f64) -> Self {
        let exe = dir.path().join("app");
        fs::write(&exe, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&exe, fs::Permissions::from_mode(0o755)).unwrap();
        let context = Context {
            objects: api.clone(),
            addresses: Addresses::for_pods(Network::new(block)),
            logs: LogStore::new(dir.path().join("logs")),
            clock: Clock::new(speed, Duration::ZERO),
            app_exe: exe,
            work_dir: dir.path().to_owned(),
            redis_server: None,
            prometheus: Arc::new(|_, _| std::future::pending().boxed()),
        };
        let shutdown = CancellationToken::new();
        let kubelet = tokio::spawn(run(context, shutdown.clone()));
        Self { api, dir, kubelet, shutdown }
    }

    async fn stop(self) -> (Arc<Fake>, TempDir) {
        self.shutdown.cancel();
        self.kubelet.await.unwrap();
        (self.api, self.dir)
    }
}

fn is_ready(pod: &Value) -> bool {
    pod["status"]["containerStatuses"][0]["ready"] == true
}

fn is_alive(pid: &str) -> bool {
    // A zombie that was not reaped yet counts as ended.
    fs::read_to_string(Path::new("/proc").join(pid).join("stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

const APP: &str = "reliability-demo:test";
/// Says its pid and environment, then waits for its stdin to end.
const WAIT: &str = "echo pid=$$ ip=$IP args=$*; read line";

#[tokio::test]
async fn a_pod_runs_is_deleted_with_grace_and_removed() {
    let rig = Rig::start(201, WAIT, 1.0);
    let web = json!({"name": "web", "image": APP, "args": ["app", "web", "$(IP)"],
        "env": [{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]});
    rig.api.apply(Kind::Pod, pod("web", &web));
    let running = rig.api.until(Kind::Pod, "web", is_ready).await;
    assert_eq!(running["status"]["phase"], "Running");
    assert_eq!(running["status"]["podIP"], "127.201.0.16");
    let log = rig.dir.path().join("logs/default_web_uid-web/web/0.log");
    let line = until_file(&log, "args=").await;
    assert!(line.contains("ip=127.201.0.16 args=app web 127.201.0.16"), "{line}");
    let pid = line.split("pid=").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    assert!(is_alive(&pid));

    let mut deleted = running;
    deleted["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    deleted["metadata"]["deletionGracePeriodSeconds"] = json!(30);
    rig.api.apply(Kind::Pod, deleted);
    rig.api.until(Kind::Pod, "web", Value::is_null).await;
    assert!(!is_alive(&pid), "removed only when its process has ended");
    assert!(!log.exists());
    let reasons: Vec<_> = rig.api.reasons().into_iter().map(|(reason, _)| reason).collect();
    assert_eq!(reasons, ["Pulled", "Created", "Started", "Killing"]);
}

#[tokio::test]
async fn a_crashing_container_restarts_and_backs_off() {
    let rig = Rig::start(202, "exit 3", 100.0);
    rig.api.apply(Kind::Pod, pod("crash", &json!({"name": "web", "image": APP})));
    let twice = |pod: &Value| pod["status"]["containerStatuses"][0]["restartCount"].as_u64() >= Some(2);
    let backed = |pod: &Value| {
        twice(pod) && pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == "CrashLoopBackOff"
    };
    let pod = rig.api.until(Kind::Pod, "crash", backed).await;
    let status = &pod["status"]["containerStatuses"][0];
    assert_eq!(status["lastState"]["terminated"]["exitCode"], 3);
    assert_eq!(status["lastState"]["terminated"]["reason"], "Error");
    assert_eq!(pod["status"]["phase"], "Running");
    let events = rig.api.reasons();
    let back_off = events.iter().find(|(reason, _)| *reason == "BackOff").unwrap();
    assert_eq!(back_off.1, "Back-off restarting failed container web in pod crash_default(uid-crash)");
    rig.stop().await;
}

#[tokio::test]
async fn a_job_pod_completes_and_a_virtual_one_says_so() {
    let rig = Rig::start(203, "exit 0", 50.0);
    let mut job = pod("job", &json!({"name": "main", "image": "busybox", "command": ["sleep", "5"]}));
    job["spec"]["restartPolicy"] = json!("Never");
    rig.api.apply(Kind::Pod, job);
    let running = rig.api.until(Kind::Pod, "job", is_ready).await;
    assert_eq!(running["status"]["message"], "virtual containers (nothing runs): main");
    let done = rig.api.until(Kind::Pod, "job", |pod| pod["status"]["phase"] == "Succeeded").await;
    assert_eq!(done["status"]["containerStatuses"][0]["state"]["terminated"]["reason"], "Completed");
    rig.api.delete_at_once(Kind::Pod, &done);
    rig.stop().await;
}

#[tokio::test]
async fn a_failed_liveness_probe_restarts_and_readiness_gates_traffic() {
    let rig = Rig::start(204, WAIT, 10.0);
    let container = json!({"name": "web", "image": APP,
        "livenessProbe": {"tcpSocket": {"port": 9}, "periodSeconds": 1, "failureThreshold": 2},
        "readinessProbe": {"tcpSocket": {"port": 9}, "periodSeconds": 1}});
    rig.api.apply(Kind::Pod, pod("sick", &container));
    let pod = rig.api.until(Kind::Pod, "sick", |pod| pod["status"]["containerStatuses"][0]["restartCount"] == 1).await;
    assert!(!is_ready(&pod));
    let events = rig.api.reasons();
    let has = |reason: &str, text: &str| events.iter().any(|(r, message)| *r == reason && message.contains(text));
    assert!(
        has("Unhealthy", "Liveness probe failed: dial tcp 127.204.0.16:9: connect: connection refused"),
        "{events:?}"
    );
    assert!(has("Killing", "Container web failed liveness probe, will be restarted"), "{events:?}");
    rig.stop().await;
}

#[tokio::test]
async fn a_missing_reference_is_waited_for() {
    let rig = Rig::start(205, WAIT, 1.0);
    let container = json!({"name": "web", "image": APP,
        "env": [{"name": "MODE", "valueFrom": {"configMapKeyRef": {"name": "app", "key": "mode"}}}]});
    rig.api.apply(Kind::Pod, pod("cfg", &container));
    let waiting = |pod: &Value| {
        pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == "CreateContainerConfigError"
    };
    let pod = rig.api.until(Kind::Pod, "cfg", waiting).await;
    assert_eq!(pod["status"]["containerStatuses"][0]["state"]["waiting"]["message"], "configmap \"app\" not found");
    let map = json!({"metadata": {"namespace": "default", "name": "app", "uid": "1"}, "data": {"mode": "async"}});
    rig.api.apply(Kind::ConfigMap, map);
    rig.api.until(Kind::Pod, "cfg", is_ready).await;
    rig.stop().await;
}

#[tokio::test]
async fn pods_of_an_earlier_life_get_new_processes_and_keep_their_address() {
    let rig = Rig::start(206, WAIT, 1.0);
    rig.api.apply(Kind::Pod, pod("web", &json!({"name": "web", "image": APP})));
    let before = rig.api.until(Kind::Pod, "web", is_ready).await;
    let (api, dir) = rig.stop().await;
    let rig = Rig::restart(api, dir, 206, WAIT, 1.0);
    let restarted = |pod: &Value| is_ready(pod) && pod["status"]["containerStatuses"][0]["restartCount"] == 1;
    let after = rig.api.until(Kind::Pod, "web", restarted).await;
    assert_eq!(after["status"]["podIP"], before["status"]["podIP"]);
    let (api, _dir) = rig.stop().await;
    assert!(is_ready(&api.find(Kind::Pod, "default", "web").unwrap()), "a stop leaves the objects as they are");
}

async fn until_file(path: &Path, wanted: &str) -> String {
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    loop {
        let text = fs::read_to_string(path).unwrap_or_default();
        if text.contains(wanted) && text.ends_with('\n') {
            return text;
        }
        assert!(std::time::Instant::now() < deadline, "{} never said {wanted}: {text}", path.display());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
