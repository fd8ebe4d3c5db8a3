//! The built binary with `--target azure`: the real Terraform on a stub module, the fake's ARM, a local cluster behind it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use democtl_fake_azure::{FakeAzure, World};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::{
    backing::LocalClusters,
    common::{found, tls},
};

pub(crate) const SUBSCRIPTION: &str = "00000000-0000-4000-8000-000000000001";

/// What nobody may see.
pub(crate) const TOKEN: &str = "t0ken-of-this-test";

const PROFILE: &str = r#"suite = "tiny"

[meta]
description = "One node, one pod"

[pool.main]
vm_size = "Standard_D4s_v5"
count = 1

[workload.web]
replicas = 1
requests = { cpu = "500m", memory = "1Gi" }

[workload.redis]

[workload.prometheus]
"#;

const SUITE: &str = r#"name = "tiny"
description = "One short test."

[[test]]
name = "calm"
vus = 2
duration = "2s"
thresholds = ["http_req_failed: rate<0.02"]
journey = [{ name = "list", get = "/api/customers" }, { think = "100ms" }]
"#;

pub(crate) struct Stage {
    pub(crate) root: tempfile::TempDir,
    pub(crate) fake: FakeAzure,
    programs: Vec<PathBuf>,
    /// The environment's name.
    name: &'static str,
    /// The module and the login.
    variables: Vec<(&'static str, String)>,
}

pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Stage {
    pub(crate) async fn new(world: World) -> Option<Self> {
        let programs = vec![found("terraform")?, found("curl")?];
        let root = tempfile::tempdir().expect("a temporary directory can be made");
        let path = |name: &str| root.path().join(name);
        fs::write(path("tiny.toml"), PROFILE).expect("the directory is ours");
        fs::create_dir(path("suites")).expect("the directory is ours");
        fs::write(path("suites/tiny.toml"), SUITE).expect("the directory is ours");
        fs::create_dir(path("stub")).expect("the directory is ours");
        let tree = Path::new(env!("CARGO_MANIFEST_DIR"));
        for file in ["tests/azure/stub/main.tf", "tests/azure/stub/arm.sh", "terraform/variables.tf"] {
            let name = Path::new(file).file_name().expect("it has one");
            fs::copy(tree.join(file), path("stub").join(name)).expect("the directory is ours");
        }
        let variables = vec![
            ("DEMOCTL_TERRAFORM_MODULE", path("stub").display().to_string()),
            ("AZURE_ACCESS_TOKEN", TOKEN.to_owned()),
        ];
        Some(Self::with(world, root, programs, "tiny", variables).await)
    }

    /// A stage in `root` with another module and login.
    pub(crate) async fn with(
        mut world: World,
        root: tempfile::TempDir,
        programs: Vec<PathBuf>,
        name: &'static str,
        variables: Vec<(&'static str, String)>,
    ) -> Self {
        tls();
        // Each request takes a minute of the world: nobody waits for long.
        world.style.tick = Duration::from_secs(60);
        world.style.retry_after = Duration::ZERO;
        world.tokens.insert(TOKEN.to_owned(), Duration::MAX);
        let fake = FakeAzure::start(world).await.expect("loopback has a free port");
        fake.back(LocalClusters::new(root.path().join("clusters")));
        Self { root, fake, programs, name, variables }
    }

    /// Further variables of every command, over those that are there.
    pub(crate) fn set(&mut self, variables: Vec<(&'static str, String)>) {
        self.variables.extend(variables);
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let dirs = self.programs.iter().filter_map(|program| program.parent()).map(Path::to_owned);
        let search = dirs.chain([PathBuf::from("/usr/bin"), PathBuf::from("/bin")]);
        let mut command = Command::new(env!("CARGO_BIN_EXE_democtl"));
        command
            .args(arguments)
            .current_dir(self.root.path())
            .env_clear()
            .env("HOME", self.root.path())
            .env("DEMOCTL_HOME", self.root.path().join("home"))
            .env("PATH", std::env::join_paths(search).expect("plain directories"))
            .env("DEMOCTL_AZURE_ENDPOINT", &self.fake.url)
            .env("DEMOCTL_PRICES_ENDPOINT", &self.fake.url)
            .env("AZURE_SUBSCRIPTION_ID", SUBSCRIPTION)
            .envs(self.variables.iter().map(|(name, value)| (*name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs to the end beside the fake.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Outcome {
        let mut command = self.command(arguments);
        let output = tokio::task::spawn_blocking(move || command.output()).await.expect("it is not cancelled");
        let output = output.expect("the binary starts");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Outcome { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    pub(crate) async fn expect(&self, code: i32, arguments: &[&str]) -> Outcome {
        let outcome = self.run(arguments).await;
        assert_eq!(outcome.code, Some(code), "{arguments:?}\n{}\n{}", outcome.stdout, outcome.stderr);
        outcome
    }

    pub(crate) async fn setup(&self) -> Outcome {
        self.expect(0, &["setup", "--profile", "./tiny.toml", "--target", "azure", "--yes"]).await
    }

    pub(crate) fn environment(&self) -> PathBuf {
        self.root.path().join("home/environments").join(self.name)
    }

    pub(crate) fn state_file(&self) -> PathBuf {
        self.environment().join("terraform/terraform.tfstate")
    }

    pub(crate) fn nothing_is_left(&self) {
        assert_eq!(self.fake.world().billed(), [], "what costs money");
        assert_eq!(self.fake.world().ids(), Vec::<String>::new());
        assert_eq!(self.fake.world().soft_deleted(), Vec::<String>::new(), "what Azure keeps");
        assert!(!self.environment().exists());
    }

    pub(crate) async fn wait_until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let begun = Instant::now();
        while !condition(self) {
            assert!(begun.elapsed() < Duration::from_secs(300), "{what} did not happen");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Files below `dir` that hold `text`.
pub(crate) fn files_with(dir: &Path, text: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok) {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files_with(&path, text));
        } else if fs::read(&path).is_ok_and(|content| content.windows(text.len()).any(|part| part == text.as_bytes())) {
            found.push(path);
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn an_environment_is_set_up_tested_told_and_removed() {
    let Some(stage) = Stage::new(World::default()).await else { return };
    let mut said = String::new();
    let plan = stage.expect(0, &["plan", "--profile", "./tiny.toml", "--target", "azure"]).await;
    assert!(plan.stdout.contains("terraform_data.cluster") && plan.stdout.contains("create"), "{}", plan.stdout);
    assert!(plan.stdout.contains("list prices of VMs for westeurope"), "{}", plan.stdout);
    assert_eq!(stage.fake.world().ids(), Vec::<String>::new(), "a plan makes nothing");
    assert!(!stage.environment().exists(), "and leaves nothing");

    let setup = stage.setup().await;
    assert!(setup.stdout.contains("tiny is up"), "{}", setup.stdout);
    assert!(!setup.stderr.contains("REFUSED") && setup.stderr.contains("create done after"), "{}", setup.stderr);
    let clusters = |stage: &Stage| {
        stage.fake.world().ids().iter().filter(|id| id.ends_with("aks-reliability-demo-demo-tiny")).count()
    };
    assert_eq!(clusters(&stage), 1);
    let again = stage.setup().await;
    assert!(again.stdout.contains("nothing changed"), "{}", again.stdout);

    let tests = stage.expect(0, &["run-tests", "--output", "json"]).await;
    let summary: Value = serde_json::from_str(&tests.stdout).expect("it is JSON");
    assert_eq!((&summary["target"], &summary["verdict"]), (&Value::from("azure"), &Value::from("pass")));
    assert_eq!(summary["cost"]["prices"], "list", "priced as the plan was");
    assert!(summary["tests"][0]["requests"].as_u64().is_some_and(|requests| requests > 0), "{summary}");
    let status = stage.expect(0, &["status", "--output", "json"]).await;
    let told: Value = serde_json::from_str(&status.stdout).expect("it is JSON");
    assert_eq!((&told[0]["cluster"]["state"], &told[0]["counts"]["nodes"]), (&Value::from("running"), &Value::from(1)));

    let pool = "/subscriptions/00000000-0000-4000-8000-000000000001/resourceGroups/reliability-demo-demo-tiny/providers/\
                Microsoft.ContainerService/managedClusters/aks-reliability-demo-demo-tiny/agentPools/main";
    let mut body = stage.fake.world().body(pool).expect("the cluster has it").clone();
    body["properties"]["count"] = Value::from(3);
    stage.fake.world().plant(pool, body);
    let drifted = stage.expect(0, &["status"]).await;
    assert!(drifted.stdout.contains("drift  pool main: count is 3, the profile has 1"), "{}", drifted.stdout);

    // Nobody may see the token: not in what was said, not in what was written.
    for outcome in [&plan, &setup, &again, &tests, &status] {
        said.push_str(&outcome.stdout);
        said.push_str(&outcome.stderr);
    }
    assert!(!said.contains(TOKEN));
    assert_eq!(files_with(&stage.root.path().join("home"), TOKEN), Vec::<PathBuf>::new());

    let refused = stage.expect(2, &["cleanup"]).await;
    assert!(refused.stderr.contains("tiny would lose") && refused.stderr.contains("a month"), "{}", refused.stderr);
    assert_eq!(clusters(&stage), 1, "nobody agreed");
    let cleanup = stage.expect(0, &["cleanup", "--yes"]).await;
    let withdrawn = "no application, load balancer or disk is left in the cluster";
    assert!(cleanup.stderr.contains(withdrawn), "{}", cleanup.stderr);
    stage.nothing_is_left();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_does_not_answer_is_removed_nevertheless() {
    let Some(stage) = Stage::new(World::default()).await else { return };
    stage.setup().await;
    let file = stage.environment().join("kubeconfig");
    let text = fs::read_to_string(&file).expect("setup wrote it");
    let away = |line: &str| {
        if line.contains("server:") { "    server: https://127.0.0.1:1".to_owned() } else { line.to_owned() }
    };
    fs::write(&file, text.lines().map(away).collect::<Vec<_>>().join("\n") + "\n").expect("the directory is ours");
    let cleanup = stage.expect(0, &["cleanup", "--yes"]).await;
    assert!(cleanup.stderr.contains("the cluster's API did not answer within"), "{}", cleanup.stderr);
    stage.nothing_is_left();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_is_registered_only_when_that_was_agreed_to() {
    let mut world = World::default();
    world.facts.providers.insert("Microsoft.Compute".into(), "NotRegistered".into());
    let Some(stage) = Stage::new(world).await else { return };
    let refused = stage.expect(3, &SETUP).await;
    assert!(refused.stderr.contains("not registered: Microsoft.Compute"), "{}", refused.stderr);
    assert!(refused.stderr.contains("democtl setup --register, or az provider register"), "{}", refused.stderr);
    assert_eq!(stage.fake.world().facts.providers["Microsoft.Compute"], "NotRegistered", "--yes agrees to a plan only");
    stage.nothing_is_left();
    let done = stage.expect(0, &[&SETUP[..], &["--register"]].concat()).await;
    assert!(done.stderr.contains("registering Microsoft.Compute"), "{}", done.stderr);
    stage.expect(0, &["cleanup", "--yes"]).await;
    stage.nothing_is_left();
}

/// A person let the cluster's identity into a registry; the state goes, the cluster goes, the role must go too.
#[tokio::test(flavor = "multi_thread")]
async fn a_role_of_the_clusters_identity_goes_with_it() {
    let Some(stage) = Stage::new(World::default()).await else { return };
    stage.setup().await;
    let registry = format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/registry");
    let role = format!("{registry}/providers/Microsoft.Authorization/roleAssignments/pull");
    {
        let mut world = stage.fake.world();
        let id = world.ids().into_iter().find(|id| id.contains("managedClusters/") && !id.contains("agentPools"));
        let cluster = world.body(&id.expect("setup made it")).expect("setup made it").clone();
        let principal = cluster["properties"]["identityProfile"]["kubeletidentity"]["objectId"].clone();
        world.plant(&registry, serde_json::json!({ "id": registry, "name": "registry", "tags": {} }));
        world.plant(&role, serde_json::json!({ "id": role, "properties": { "principalId": principal } }));
    }
    let refused = stage.expect(2, &["cleanup"]).await;
    assert!(refused.stderr.contains("roleAssignments/pull (a role of the cluster's identity)"), "{}", refused.stderr);
    stage.expect(0, &["cleanup", "--yes"]).await;
    assert_eq!(stage.fake.world().ids(), [registry], "nothing of ours, and all of others");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_terraform_does_not_know_is_found_and_removed() {
    let Some(stage) = Stage::new(World::default()).await else { return };
    stage.setup().await;
    fs::remove_file(stage.state_file()).expect("setup wrote it");
    let cleanup = stage.expect(0, &["cleanup", "--yes"]).await;
    assert!(cleanup.stderr.contains("through ARM"), "{}", cleanup.stderr);
    stage.nothing_is_left();
}

/// The state of a module of the user's own may know what lies where no scan looks.
#[tokio::test(flavor = "multi_thread")]
async fn the_state_of_an_own_module_is_kept_until_terraform_works() {
    let Some(stage) = Stage::new(World::default()).await else { return };
    stage.setup().await;
    let mut command = stage.command(&["cleanup", "--yes"]);
    command.env("PATH", "/nowhere");
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("it is not cancelled");
    let output = output.expect("the binary starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_ne!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("it is kept until Terraform works"), "{said}");
    assert_eq!(stage.fake.world().billed(), [], "what is found goes all the same");
    assert!(stage.state_file().exists());
    stage.expect(0, &["cleanup", "--yes"]).await;
    stage.nothing_is_left();
}

/// An hourly job removed ours, and a colleague made theirs under the same name.
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_of_a_colleague_under_our_name_is_not_joined() {
    let Some(stage) = Stage::new(World::default()).await else { return };
    stage.setup().await;
    {
        let mut world = stage.fake.world();
        for id in world.ids().into_iter().filter(|id| !id.contains("agentPools")) {
            let mut body = world.body(&id).expect("it is there").clone();
            body["tags"]["democtl-id"] = "theirs".into();
            world.plant(&id, body);
        }
    }
    let setup = stage.expect(3, &SETUP).await;
    assert!(setup.stderr.contains("belongs to another environment tiny"), "{}", setup.stderr);
    let before = stage.fake.world().ids();
    let cleanup = stage.expect(0, &["cleanup", "--yes"]).await;
    assert!(!cleanup.stderr.contains("removing the applications"), "{}", cleanup.stderr);
    assert!(cleanup.stderr.contains("terraform removes nothing"), "{}", cleanup.stderr);
    assert_eq!(stage.fake.world().ids(), before);
    assert!(!stage.environment().exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_subscription_and_an_unasked_person_make_nothing() {
    let mut world = World::default();
    world.facts.usages[1].limit = 2;
    let Some(stage) = Stage::new(world).await else { return };
    let refused = stage.expect(3, &["setup", "--profile", "./tiny.toml", "--target", "azure", "--yes"]).await;
    assert!(refused.stderr.contains("4 needed at the pools' most nodes, 2 free"), "{}", refused.stderr);
    stage.nothing_is_left();
    stage.fake.world().facts.usages[1].limit = 100;
    let unasked = stage.expect(2, &["setup", "--profile", "./tiny.toml", "--target", "azure"]).await;
    assert!(unasked.stderr.contains("hint: give --yes"), "{}", unasked.stderr);
    stage.nothing_is_left();
    let mut away = stage.command(&SETUP);
    away.env("DEMOCTL_AZURE_ENDPOINT", "http://127.0.0.1:1");
    let output = tokio::task::spawn_blocking(move || away.output()).await.expect("it is not cancelled");
    let output = output.expect("the binary starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("got no answer in 4 attempts") && said.contains("Connection refused"), "{said}");
    stage.nothing_is_left();
    let fast = stage.expect(2, &["setup", "--profile", "./tiny.toml", "--target", "azure", "--speed", "5"]).await;
    assert!(fast.stderr.contains("a real cluster has its own clock"), "{}", fast.stderr);
}

/// Whether a command has come so far.
type Reached = fn(&Stage) -> bool;

fn kill(child: &mut Child) {
    child.kill().expect("the process is ours");
    child.wait().expect("the process is ours");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setup_that_was_killed_in_its_apply_goes_on_without_a_second_cluster() {
    let Some(stage) = Stage::new(World::default()).await else { return };
    let reached: [(&str, Reached); 2] = [
        ("the plan's file", |stage| stage.environment().join("terraform/plan.tfplan").exists()),
        ("the cluster's PUT", |stage| {
            let world = stage.fake.world();
            world.log.iter().any(|logged| logged.method == http::Method::PUT && logged.path.contains("managedClusters"))
        }),
    ];
    for (what, condition) in reached {
        let mut command = stage.command(&["setup", "--profile", "./tiny.toml", "--target", "azure", "--yes"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary starts");
        stage.wait_until(what, condition).await;
        kill(&mut child);
    }
    stage.setup().await;
    let puts = stage.fake.world().ids().iter().filter(|id| id.contains("virtualMachineScaleSets")).count();
    assert_eq!(puts, 1);
    stage.expect(0, &["cleanup", "--yes"]).await;
    stage.nothing_is_left();
}

/// Nothing stands and no state is written yet when cleanup begins, but Terraform is about to make a cluster.
#[tokio::test(flavor = "multi_thread")]
async fn cleanup_waits_for_a_terraform_that_outlived_its_democtl() {
    let reached: [(&str, Reached); 2] = [
        ("the plan's file", |stage| stage.environment().join("terraform/plan.tfplan").exists()),
        ("the apply", |stage| stage.environment().join("terraform/apply.jsonl").exists()),
    ];
    for (what, condition) in reached {
        let Some(stage) = Stage::new(World::default()).await else { return };
        kill_at(&stage, &SETUP, what, condition).await;
        let cleanup = stage.expect(0, &["cleanup", "--yes"]).await;
        assert!(terraform_of(&stage).is_none(), "{what}: none works on\n{}", cleanup.stderr);
        stage.nothing_is_left();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_cloud_is_refused() {
    let Some(stage) = Stage::new(World::default()).await else { return };
    let mut other = stage.command(&SETUP);
    other.env("DEMOCTL_AZURE_ENDPOINT", "https://management.chinacloudapi.cn");
    let output = tokio::task::spawn_blocking(move || other.output()).await.expect("it is not cancelled");
    let output = output.expect("the binary starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("only Azure's public cloud is supported"), "{said}");
    stage.nothing_is_left();
}

/// Lines of the ledger so far.
fn ledger_lines(stage: &Stage) -> usize {
    fs::read_to_string(stage.environment().join("ledger.jsonl")).unwrap_or_default().lines().count()
}

/// Starts a command, waits until it has come so far, and kills it.
async fn kill_at(stage: &Stage, arguments: &[&str], what: &str, condition: impl Fn(&Stage) -> bool) {
    let mut command = stage.command(arguments);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary starts");
    stage.wait_until(what, condition).await;
    kill(&mut child);
}

pub(crate) const SETUP: [&str; 6] = ["setup", "--profile", "./tiny.toml", "--target", "azure", "--yes"];

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_each_line_of_the_ledger_everything_goes_on() {
    let Some(stage) = Stage::new(World::default()).await else { return };
    for lines in 1..=3 {
        kill_at(&stage, &SETUP, "a line of the ledger", |stage| ledger_lines(stage) >= lines).await;
    }
    stage.setup().await;
    let sets = stage.fake.world().ids().iter().filter(|id| id.contains("virtualMachineScaleSets")).count();
    assert_eq!(sets, 1, "no second cluster");
    let before = ledger_lines(&stage);
    for more in 1..=2 {
        let condition = |stage: &Stage| ledger_lines(stage) >= before + more || !stage.environment().exists();
        kill_at(&stage, &["cleanup", "--yes"], "a line of the ledger", condition).await;
    }
    // Whatever stands now: setup makes it whole, cleanup empties it.
    stage.setup().await;
    let gone = |stage: &Stage| stage.fake.world().log.iter().any(|logged| logged.method == http::Method::DELETE);
    kill_at(&stage, &["cleanup", "--yes"], "the first DELETE", gone).await;
    let last = stage.run(&["cleanup", "--all", "--yes"]).await;
    assert_eq!(last.code, Some(0), "{}", last.stderr);
    stage.nothing_is_left();
}

/// The processes of terraform and its providers that work in this stage's directory, with their names.
pub(crate) fn terraforms_of(stage: &Stage) -> Vec<(Pid, String)> {
    let entries = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let ours = |pid: i32| {
        let cwd = fs::read_link(format!("/proc/{pid}/cwd")).ok()?;
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?.trim().to_owned();
        let ours = cwd.starts_with(stage.root.path()) && name.starts_with("terraform");
        ours.then_some((Pid::from_raw(pid)?, name))
    };
    pids.filter_map(ours).collect()
}

/// The terraform itself.
pub(crate) fn terraform_of(stage: &Stage) -> Option<Pid> {
    terraforms_of(stage).into_iter().find(|(_, name)| name == "terraform").map(|(pid, _)| pid)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terraform_that_was_killed_is_told_and_the_next_setup_goes_on() {
    let Some(stage) = Stage::new(World::default()).await else { return };
    let put = |stage: &Stage| {
        let world = stage.fake.world();
        world.log.iter().any(|logged| logged.method == http::Method::PUT && logged.path.contains("managedClusters"))
    };
    let (outcome, ()) = tokio::join!(stage.run(&SETUP), async {
        stage.wait_until("the cluster's PUT", put).await;
        if let Some(pid) = terraform_of(&stage) {
            kill_process(pid, Signal::KILL).expect("it is ours");
        }
    });
    assert_eq!(outcome.code, Some(4), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("a signal ended it"), "{}", outcome.stderr);
    // What its provisioner had begun goes on in Azure, and ends.
    stage
        .wait_until("the cluster", |stage| {
            stage.fake.world().billed().len() == 4 || {
                stage.fake.world().advance(Duration::from_secs(60));
                false
            }
        })
        .await;
    stage.setup().await;
    stage.expect(0, &["cleanup", "--yes"]).await;
    stage.nothing_is_left();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_argument_vector_shows_the_token() {
    let Some(stage) = Stage::new(World::default()).await else { return };
    let done = std::sync::atomic::AtomicBool::new(false);
    let watch = async {
        let mut looked = 0_u32;
        while !done.load(std::sync::atomic::Ordering::SeqCst) {
            for entry in fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok) {
                let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
                let shown = line.windows(TOKEN.len()).any(|part| part == TOKEN.as_bytes());
                assert!(!shown, "{}", String::from_utf8_lossy(&line));
            }
            looked += 1;
            tokio::task::yield_now().await;
        }
        looked
    };
    let work = async {
        stage.setup().await;
        stage.expect(0, &["cleanup", "--yes"]).await;
        done.store(true, std::sync::atomic::Ordering::SeqCst);
    };
    let ((), looked) = tokio::join!(work, watch);
    assert!(looked > 10, "it was looked {looked} times");
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_lets_terraform_end_and_the_next_setup_goes_on() {
    let Some(stage) = Stage::new(World::default()).await else { return };
    let child = stage.command(&SETUP).spawn().expect("the binary starts");
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("a pid");
    let put = |stage: &Stage| {
        let world = stage.fake.world();
        world.log.iter().any(|logged| logged.method == http::Method::PUT && logged.path.contains("managedClusters"))
    };
    stage.wait_until("the cluster's PUT", put).await;
    kill_process(pid, Signal::INT).expect("it is ours");
    let output = tokio::task::spawn_blocking(|| child.wait_with_output()).await.expect("it is not cancelled");
    let output = output.expect("the process is ours");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(6), "{said}");
    assert!(said.contains("terraform was asked to stop") && said.contains("setup goes on where it stopped"), "{said}");
    assert!(terraform_of(&stage).is_none(), "it was waited for");
    assert!(stage.state_file().exists());
    stage.setup().await;
    stage.expect(0, &["cleanup", "--yes"]).await;
    stage.nothing_is_left();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_logs_in_with_its_secret() {
    let Some(mut stage) = Stage::new(World::default()).await else { return };
    let over_tls = stage.fake.over_tls().await.expect("loopback has a free port");
    let certificate = stage.root.path().join("fake.pem");
    fs::write(&certificate, &over_tls.certificate).expect("the directory is ours");
    let tenant = stage.fake.world().facts.tenant.clone();
    stage.fake.world().applications.insert("app".to_owned(), TOKEN.to_owned());
    let url = format!("https://{}", over_tls.host);
    stage.set(vec![
        ("AZURE_ACCESS_TOKEN", String::new()),
        ("AZURE_TENANT_ID", tenant),
        ("AZURE_CLIENT_ID", "app".to_owned()),
        ("AZURE_CLIENT_SECRET", TOKEN.to_owned()),
        ("AZURE_AUTHORITY_HOST", url.clone()),
        ("DEMOCTL_AZURE_ENDPOINT", url),
        ("SSL_CERT_FILE", certificate.display().to_string()),
    ]);
    let plan = ["plan", "--profile", "./tiny.toml", "--target", "azure"];
    let planned = stage.expect(0, &plan).await;
    assert!(planned.stdout.contains("terraform_data.cluster"), "{}", planned.stdout);
    stage.fake.world().applications.insert("app".to_owned(), "another".to_owned());
    let refused = stage.expect(3, &plan).await;
    assert!(
        refused.stderr.contains("a client secret") && refused.stderr.contains("AADSTS7000215"),
        "{}",
        refused.stderr
    );
    assert!(!refused.stderr.contains(TOKEN), "{}", refused.stderr);
}
