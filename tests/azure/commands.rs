//! What the commands tell of a cluster on azure: doctor, tokens for kubectl, pools in `status` and `watch`.

use std::{
    cell::RefCell,
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Child, Command, Output, Stdio},
    sync::mpsc::{Receiver, channel},
    time::Duration,
};

use democtl_fake_azure::World;
use k8s_openapi::api::core::v1::Event;
use kube::Api;
use serde_json::{Value, json};

use crate::{
    backing::LocalClusters,
    common::found,
    end_to_end::{SUBSCRIPTION, Stage, TOKEN, files_with},
};

async fn output(mut command: Command) -> Output {
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("it is not cancelled");
    output.expect("the program starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_doctor_sees_the_login_and_the_subscription() {
    let Some(stage) = Stage::new(World::default()).await else { return };
    let well = stage.expect(0, &["doctor", "--target", "azure"]).await;
    assert!(well.stdout.contains("ok       credential    a given access token"), "{}", well.stdout);
    assert!(well.stdout.contains("ok       login         Demo subscription (tenant "), "{}", well.stdout);
    assert!(well.stdout.ends_with("ready for --target azure\n"), "{}", well.stdout);
    assert!(!well.stdout.contains("ok       az "), "another login needs no Azure CLI: {}", well.stdout);
    stage.fake.world().facts.state = "Disabled".into();
    let refused = stage.expect(3, &["doctor", "--target", "azure"]).await;
    assert!(
        refused.stdout.contains("REFUSED  subscription  Disabled: nothing can be made in it"),
        "{}",
        refused.stdout
    );
    stage.fake.world().tokens.clear();
    let strange = stage.expect(3, &["doctor", "--target", "azure", "--output", "json"]).await;
    let told: Value = serde_json::from_str(&strange.stdout).expect("it is JSON");
    let login = told["checks"].as_array().expect("a list").iter().find(|check| check["what"] == "login");
    assert_eq!(login.expect("it is looked at")["standing"], "refused");
    assert!(!strange.stdout.contains(TOKEN) && !strange.stderr.contains(TOKEN));
}

/// An Azure CLI that is logged in: one token for Resource Manager, and the cluster's own for the cluster.
fn azure_cli(stage: &Stage) {
    let dir = stage.root.path().join("bin");
    fs::create_dir_all(&dir).expect("the directory is ours");
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in\n*6dae42f8-4368-4678-94ff-3960e28e3630*) read -r token <{}/clusters/cluster-0/pki/token ;;\n\
         *) token={TOKEN} ;;\nesac\n\
         echo \"{{\\\"accessToken\\\":\\\"$token\\\",\\\"expires_on\\\":4102444800,\\\"tokenType\\\":\\\"Bearer\\\"}}\"\n",
        stage.root.path().display()
    );
    fs::write(dir.join("az"), script).expect("the directory is ours");
    fs::set_permissions(dir.join("az"), fs::Permissions::from_mode(0o755)).expect("the file is ours");
    // The stub module asks the fake by a variable of its own: a given token would be democtl's login.
    let stub = stage.root.path().join("stub/arm.sh");
    let asks = fs::read_to_string(&stub).expect("it is there").replace("AZURE_ACCESS_TOKEN", "STUB_TOKEN");
    fs::write(stub, asks).expect("it is ours");
}

/// A command of somebody who is logged in by the Azure CLI.
fn by_cli(stage: &Stage, arguments: &[&str]) -> Command {
    let mut command = stage.command(arguments);
    let path = command.get_envs().find(|(name, _)| *name == "PATH").and_then(|(_, path)| path).expect("it is set");
    let path = std::env::join_paths(std::iter::once(stage.root.path().join("bin")).chain(std::env::split_paths(path)));
    command.env("PATH", path.expect("plain directories")).env_remove("AZURE_ACCESS_TOKEN").env("STUB_TOKEN", TOKEN);
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_with_entra_is_reached_by_tokens_that_nothing_keeps() {
    let Some(stage) = Stage::new(World::default()).await else { return };
    stage.fake.back(LocalClusters::new(stage.root.path().join("clusters")).with_entra());
    azure_cli(&stage);
    let setup = output(by_cli(&stage, &["setup", "--profile", "./tiny.toml", "--target", "azure", "--yes"])).await;
    assert_eq!(setup.status.code(), Some(0), "{}", text(&setup.stderr));
    let kubeconfig = stage.environment().join("kubeconfig");
    let written = fs::read_to_string(&kubeconfig).expect("setup wrote it");
    assert!(written.contains(env!("CARGO_BIN_EXE_democtl")) && !written.contains("kubelogin"), "{written}");
    assert_eq!(fs::metadata(&kubeconfig).expect("it is there").permissions().mode() & 0o77, 0);

    let secret =
        fs::read_to_string(stage.root.path().join("clusters/cluster-0/pki/token")).expect("the cluster has it");
    let asked = output(by_cli(&stage, &["kube-token"])).await;
    let answer: Value = serde_json::from_slice(&asked.stdout).expect("it is JSON");
    assert_eq!(answer["apiVersion"], "client.authentication.k8s.io/v1");
    assert_eq!(answer["status"], json!({ "token": secret.trim(), "expirationTimestamp": "2100-01-01T00:00:00Z" }));
    if let Some(kubectl) = found("kubectl") {
        let mut nodes = by_cli(&stage, &[]);
        let envs: Vec<_> =
            nodes.get_envs().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned()))).collect();
        nodes = Command::new(kubectl);
        nodes.args(["get", "nodes", "--output=name"]).env_clear().envs(envs).env("KUBECONFIG", &kubeconfig);
        let nodes = output(nodes).await;
        assert!(text(&nodes.stdout).starts_with("node/"), "{}", text(&nodes.stderr));
    }
    let tests = output(by_cli(&stage, &["run-tests"])).await;
    assert_eq!(tests.status.code(), Some(0), "{}", text(&tests.stderr));
    let mut by_given = by_cli(&stage, &["kube-token"]);
    by_given.env("AZURE_ACCESS_TOKEN", TOKEN);
    let refused = output(by_given).await;
    assert_eq!(refused.status.code(), Some(3));
    assert!(text(&refused.stderr).contains("is for Resource Manager only"), "{}", text(&refused.stderr));

    for said in [&setup.stdout, &setup.stderr, &asked.stderr, &tests.stdout, &tests.stderr, &refused.stderr] {
        assert!(!text(said).contains(secret.trim()), "{}", text(said));
    }
    assert_eq!(files_with(&stage.root.path().join("home"), secret.trim()), Vec::<std::path::PathBuf>::new());
    let cleanup = output(by_cli(&stage, &["cleanup", "--yes"])).await;
    assert_eq!(cleanup.status.code(), Some(0), "{}", text(&cleanup.stderr));
    stage.nothing_is_left();
}

/// `democtl watch`, line by line.
struct Watching {
    child: Child,
    lines: Receiver<Value>,
    /// Events that nobody asked for yet.
    kept: RefCell<Vec<Value>>,
}

impl Watching {
    fn start(stage: &Stage) -> Self {
        let mut command = stage.command(&["watch", "--output", "json"]);
        let mut child = command.stderr(Stdio::null()).spawn().expect("the binary starts");
        let reader = BufReader::new(child.stdout.take().expect("it is piped"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in reader.lines().map_while(Result::ok) {
                if sender.send(serde_json::from_str(&line).expect("each line is JSON")).is_err() {
                    break;
                }
            }
        });
        Self { child, lines, kept: RefCell::default() }
    }

    /// The first event that fits and was not asked for yet, within `time`.
    fn find(&self, time: Duration, fits: impl Fn(&Value) -> bool) -> Option<Value> {
        let mut kept = self.kept.borrow_mut();
        if let Some(at) = kept.iter().position(&fits) {
            return Some(kept.remove(at));
        }
        let end = std::time::Instant::now() + time;
        loop {
            let left = end.checked_duration_since(std::time::Instant::now())?;
            let event = self.lines.recv_timeout(left).ok()?;
            if fits(&event) {
                return Some(event);
            }
            kept.push(event);
        }
    }

    fn expect(&self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        self.find(Duration::from_secs(60), fits).unwrap_or_else(|| panic!("{what} was not told"))
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An Event as AKS's cluster autoscaler writes it.
async fn autoscaler_says(kubeconfig: &Path, name: &str, reason: &str, message: &str) {
    let client = democtl::delivery::connect(kubeconfig).await.expect("the cluster answers");
    let event: Event = serde_json::from_value(json!({
        "apiVersion": "v1", "kind": "Event", "metadata": { "name": name, "namespace": "kube-system" },
        "involvedObject": { "kind": "ConfigMap", "name": "cluster-autoscaler-status", "namespace": "kube-system" },
        "reason": reason, "message": message, "type": "Warning", "source": { "component": "cluster-autoscaler" },
    }))
    .expect("an Event");
    Api::namespaced(client, "kube-system")
        .create(&kube::api::PostParams::default(), &event)
        .await
        .expect("it is taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn pools_are_told_with_their_machines_and_those_that_do_not_come() {
    let Some(stage) = Stage::new(World::default()).await else { return };
    stage.setup().await;
    let told = stage.expect(0, &["status", "--output", "json"]).await;
    let status: Value = serde_json::from_str(&told.stdout).expect("it is JSON");
    assert_eq!(status[0]["price_kind"], "list");
    let pool = &status[0]["cloud"]["pools"][0];
    assert_eq!((&pool["name"], &pool["state"], &pool["count"]), (&json!("main"), &json!("Succeeded"), &json!(1)));
    assert_eq!((pool["machines"].as_array().map(Vec::len), &pool["machines"][0]["boot_s"]), (Some(1), &json!(70.0)));
    let told = stage.expect(0, &["status"]).await;
    let line = "pool   main: Succeeded, 1 node x Standard_D4s_v5, it ran 1m10s after it was asked for";
    assert!(
        told.stdout.contains(line) && told.stdout.contains("by list prices of VMs for westeurope"),
        "{}",
        told.stdout
    );

    let id = format!(
        "/subscriptions/{SUBSCRIPTION}/resourceGroups/reliability-demo-demo-tiny/providers/Microsoft.ContainerService/\
         managedClusters/aks-reliability-demo-demo-tiny/agentPools/main"
    );
    let why = "We do not have sufficient capacity for the requested VM size in this zone.";
    stage.fake.world().refuse_machines(&id, "2099-01-01T00:00:00Z", "ZonalAllocationFailed", why);
    let told = stage.expect(0, &["status"]).await;
    assert!(told.stdout.contains("pool   main: Failed, 1 node x Standard_D4s_v5"), "{}", told.stdout);
    assert!(told.stdout.contains(&format!("ZonalAllocationFailed: {why}")), "{}", told.stdout);

    let kubeconfig = stage.environment().join("kubeconfig");
    let watching = Watching::start(&stage);
    let cloud = |object: &'static str| move |event: &Value| event["fact"] == "cloud" && event["object"] == object;
    let pool = watching.expect("the pool", cloud("pool main"));
    assert_eq!((&pool["state"], &pool["failed"]), (&json!("Failed"), &json!(true)), "{pool}");
    let entry = watching.expect("the activity log's entry", cloud("virtualMachineScaleSets/aks-main-vmss"));
    assert_eq!((&entry["state"], &entry["message"]), (&json!("ZonalAllocationFailed"), &json!(why)));
    let nodes = |change: &'static str| move |event: &Value| event["fact"] == "nodes" && event["change"] == change;
    watching.expect("the nodes that are there", nodes("listed"));
    // An Event that comes while the first list is read is one of old.
    let mut asked = None;
    for number in 0..100 {
        let message = "pod triggered scale-up: [{aks-main-vmss 1->2 (max: 9)}]";
        autoscaler_says(&kubeconfig, &format!("asks-{number}"), "TriggeredScaleUp", message).await;
        asked = watching.find(Duration::from_millis(500), nodes("provisioning"));
        if asked.is_some() {
            break;
        }
    }
    let asked = asked.expect("the machine that is asked for");
    let message = format!("Scale-up failed for group aks-main-vmss: Code=\"ZonalAllocationFailed\" Message=\"{why}\"");
    autoscaler_says(&kubeconfig, "refuses", "FailedToScaleUpGroup", &message).await;
    let failed = watching.expect("the machine that does not come", nodes("failed"));
    assert_eq!(failed["cause"], asked["id"], "{failed}");
    assert_eq!(failed["total"], 1, "it is not paid for: {failed}");
    assert!(failed["reason"].as_str().is_some_and(|reason| reason.starts_with("pool main: ZonalAllocationFailed: ")));
    drop(watching);
    stage.expect(0, &["cleanup", "--yes"]).await;
    stage.nothing_is_left();
}
