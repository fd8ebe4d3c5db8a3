//! Local clusters behind the fake's managed clusters: the same process that the local target starts.

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use democtl_core::{catalog, profile::Resources, render::NodePool};
use democtl_fake_azure::Backing;
use democtl_local::config::Config;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// How long a cluster may take to answer on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// Clusters in directories below `root`; all end when this goes.
#[derive(Debug)]
pub(crate) struct LocalClusters {
    root: PathBuf,
    /// Whether users log in by Entra ID, as AKS's kubeconfigs ask for kubelogin.
    entra: bool,
    standing: BTreeMap<String, (PathBuf, Child)>,
}

impl LocalClusters {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root, entra: false, standing: BTreeMap::new() }
    }

    /// The same, whose kubeconfigs have no credentials in them. The cluster takes the token in its `pki` directory.
    pub(crate) fn with_entra(mut self) -> Self {
        self.entra = true;
        self
    }
}

fn pool(profile: &Value) -> NodePool {
    let text = |name: &str| profile[name].as_str().unwrap_or_default().to_owned();
    let number = |name: &str| profile[name].as_u64().map(|count| count as u32);
    let size = catalog::vm_size(&text("vmSize")).expect("the fake has checked it");
    let count = number("count").unwrap_or(1);
    let max_pods = number("maxPods").unwrap_or(110);
    let zones = profile["availabilityZones"].as_array().into_iter().flatten();
    NodePool {
        name: text("name"),
        vm_size: size.name.to_owned(),
        count,
        min: number("minCount").unwrap_or(count),
        max: number("maxCount").unwrap_or(count),
        zones: zones.filter_map(|zone| Some(zone.as_str()?.to_owned())).collect(),
        location: "westeurope".to_owned(),
        capacity: Resources { cpu: size.cpu(), memory: size.memory },
        allocatable: Resources { cpu: size.allocatable_cpu(), memory: size.allocatable_memory(max_pods) },
        max_pods,
        labels: BTreeMap::new(),
        taints: Vec::new(),
        mode: text("mode"),
    }
}

impl Backing for LocalClusters {
    fn made(&mut self, id: &str, body: &Value) {
        let dir = self.root.join(format!("cluster-{}", self.standing.len()));
        fs::create_dir_all(&dir).expect("the directory is ours");
        let exe = PathBuf::from(env!("CARGO_BIN_EXE_democtl"));
        let config = Config {
            name: id.rsplit('/').next().unwrap_or_default().to_owned(),
            dir: dir.clone(),
            speed: 10.0,
            seed: 1,
            pools: body["properties"]["agentPoolProfiles"].as_array().into_iter().flatten().map(pool).collect(),
            autoscaler: None,
            vm_delay: (Duration::from_secs(120), Duration::from_secs(300)),
            app_exe: exe.clone(),
        };
        fs::write(dir.join("cluster.json"), serde_json::to_vec(&config).expect("it is plain data")).expect("ours");
        let child = Command::new(exe)
            .args(["local-cluster", "--dir"])
            .arg(&dir)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("DEMOCTL_CLUSTER_DIR", &dir)
            .current_dir(&dir)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(dir.join("log")).expect("ours"))
            .spawn()
            .expect("the binary starts");
        self.standing.insert(id.to_lowercase(), (dir, child));
    }

    fn removed(&mut self, id: &str) {
        if let Some((_, child)) = self.standing.remove(&id.to_lowercase()) {
            end(child);
        }
    }

    fn kubeconfig(&mut self, id: &str) -> Result<String, String> {
        let (dir, child) = self.standing.get_mut(&id.to_lowercase()).ok_or("there is no such cluster")?;
        let begun = Instant::now();
        // Written last: who can read it can use the cluster.
        while begun.elapsed() < DEADLINE {
            if let Ok(text) = fs::read_to_string(dir.join("kubeconfig"))
                && text.ends_with('\n')
            {
                return Ok(if self.entra { through_kubelogin(&text) } else { text });
            }
            if let Ok(Some(status)) = child.try_wait() {
                return Err(format!("{status}: {}", fs::read_to_string(dir.join("log")).unwrap_or_default()));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Err("the cluster does not answer".to_owned())
    }
}

/// As AKS writes it: <https://learn.microsoft.com/azure/aks/enable-authentication-microsoft-entra-id>.
fn through_kubelogin(text: &str) -> String {
    let mut config: serde_yaml_ng::Value = serde_yaml_ng::from_str(text).expect("the cluster wrote it");
    let exec = serde_json::json!({ "exec": {
        "apiVersion": "client.authentication.k8s.io/v1beta1", "command": "kubelogin", "env": null,
        "args": ["get-token", "--environment", "AzurePublicCloud", "--server-id", democtl::target::azure::entra::AKS_SERVER,
                 "--client-id", "80faf920-1908-4b52-b5ef-a8e7bedfc67a", "--tenant-id", "the-tenant", "--login", "devicecode"],
        "installHint": "kubelogin is not installed", "provideClusterInfo": false,
    } });
    config["users"][0]["user"] = serde_yaml_ng::to_value(exec).expect("plain data");
    serde_yaml_ng::to_string(&config).expect("plain data")
}

impl Drop for LocalClusters {
    fn drop(&mut self) {
        for (_, (_, child)) in std::mem::take(&mut self.standing) {
            end(child);
        }
    }
}

fn end(mut child: Child) {
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, Signal::TERM);
    }
    let _ = child.wait();
}
