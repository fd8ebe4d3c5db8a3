//! The real azurerm provider on the real module: its schema, its own tests, and a life against the fake.
//!
//! `.ci/setup --with-azurerm` builds the provider; `DEMOCTL_TEST_AZURERM` names the mirror that it lies in, or is 1 for
//! the place where that script puts it. Without it these tests say that they are not run.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::Arc,
    time::Duration,
};

use democtl::target::azure::terraform::{Action, Plan, Progress, Terraform};
use democtl_core::{cost::Prices, profile::Profile, render::azure::tfvars};
use democtl_fake_azure::{FakeAzure, OverTls, Permission, World};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::{
    backing::LocalClusters,
    common::{found, placement, tls},
    end_to_end::{Stage, terraforms_of},
    looking::tree,
    schema::{Inner, Schema, Shape, Use, file, types_used},
};

const CLIENT: &str = "00000000-0000-4000-8000-0000000000d1";

/// What nobody may see.
const SECRET: &str = "s3cret-of-this-test";

/// Terraform, and the mirror with the provider.
struct Tools {
    terraform: PathBuf,
    mirror: PathBuf,
}

fn tools() -> Option<Tools> {
    let terraform = found("terraform")?;
    let Some(named) = env::var_os("DEMOCTL_TEST_AZURERM").filter(|value| !value.is_empty()) else {
        #[expect(clippy::print_stderr, reason = "a test that is not run says so")]
        {
            eprintln!("not run: DEMOCTL_TEST_AZURERM does not name a mirror with the azurerm provider");
        }
        return None;
    };
    let cache = || {
        let home = env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache/democtl-test"));
        env::var_os("DEMOCTL_TEST_CACHE").map(PathBuf::from).or(home).unwrap_or_default().join("terraform")
    };
    let mirror = if named == "1" { cache() } else { PathBuf::from(named) };
    assert!(
        mirror.join("registry.terraform.io/hashicorp/azurerm").is_dir(),
        "{} holds no azurerm provider: .ci/setup --with-azurerm builds it",
        mirror.display()
    );
    Some(Tools { terraform, mirror })
}

impl Tools {
    /// Terraform's settings: providers come from the mirror only.
    fn settings(&self, dir: &Path) -> PathBuf {
        let path = dir.join("terraform.rc");
        let text = format!(
            "provider_installation {{\n  filesystem_mirror {{\n    path = \"{}\"\n  }}\n}}\n",
            self.mirror.display()
        );
        fs::write(&path, text).expect("the directory is ours");
        path
    }

    /// Runs Terraform in `dir`; yields what it prints.
    fn run(&self, dir: &Path, arguments: &[&str]) -> String {
        let output = Command::new(&self.terraform)
            .args(arguments)
            .current_dir(dir)
            .env("TF_CLI_CONFIG_FILE", self.settings(dir))
            .env("CHECKPOINT_DISABLE", "1")
            .output()
            .expect("it was found");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "terraform {arguments:?}\n{out}\n{err}");
        out
    }
}

/// A copy of the module with its tests, in a directory of its own.
fn module(tools: &Tools) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    let tree = Path::new(env!("CARGO_MANIFEST_DIR")).join("terraform");
    fs::create_dir(dir.path().join("tests")).expect("the directory is ours");
    for part in ["", "tests"] {
        for entry in fs::read_dir(tree.join(part)).expect("it is there").filter_map(Result::ok) {
            if entry.path().is_file() {
                fs::copy(entry.path(), dir.path().join(part).join(entry.file_name())).expect("the directory is ours");
            }
        }
    }
    tools.settings(dir.path());
    dir
}

fn profile(name: &str, sets: &[(&str, &str)]) -> Profile {
    let sets: Vec<(String, String)> = sets.iter().map(|(path, value)| ((*path).into(), (*value).into())).collect();
    Profile::load_builtin(name, &sets).expect("built in").unwrap_or_else(|errors| panic!("{}", errors.to_text(100)))
}

/// Writes the variables of a profile beside the module.
fn variables(dir: &Path, name: &str, sets: &[(&str, &str)]) {
    let text = tfvars(&profile(name, sets), &placement(name)).to_string();
    fs::write(dir.join("terraform.tfvars.json"), text).expect("the directory is ours");
}

/// A block of `terraform providers schema -json`, reduced.
fn shape(block: &Value) -> Shape {
    let flag = |value: &Value, name: &str| value[name].as_bool().unwrap_or(false);
    let usage = |argument: &Value| match (flag(argument, "required"), flag(argument, "optional")) {
        (true, _) => Use::Required,
        (false, true) => Use::Optional,
        (false, false) => Use::Computed,
    };
    let inner = |value: &Value| {
        let times = |name: &str| value[name].as_u64().unwrap_or(0) as usize;
        let single = value["nesting_mode"] == "single";
        Inner {
            least: times("min_items"),
            most: if single { 1 } else { times("max_items") },
            shape: shape(&value["block"]),
        }
    };
    let entries = |name: &str| block[name].as_object().into_iter().flatten();
    Shape {
        arguments: entries("attributes").map(|(name, value)| (name.clone(), usage(value))).collect(),
        blocks: entries("block_types").map(|(name, value)| (name.clone(), inner(value))).collect(),
    }
}

#[test]
fn azurerm_schema_is_the_committed_one() {
    let Some(tools) = tools() else { return };
    let dir = module(&tools);
    tools.run(dir.path(), &["init", "-input=false"]);
    let whole: Value =
        serde_json::from_str(&tools.run(dir.path(), &["providers", "schema", "-json"])).expect("it is JSON");
    let provider = &whole["provider_schemas"]["registry.terraform.io/hashicorp/azurerm"];
    let resource = |kind: String| {
        let block = shape(&provider["resource_schemas"][&kind]["block"]);
        (kind, block)
    };
    let is = Schema {
        source: "registry.terraform.io/hashicorp/azurerm 5.2, built as .ci/setup --with-azurerm does".into(),
        licence: "MPL-2.0, https://github.com/hashicorp/terraform-provider-azurerm/blob/main/LICENSE".into(),
        provider: shape(&provider["provider"]["block"]),
        resources: types_used().into_iter().map(resource).collect::<BTreeMap<_, _>>(),
    };
    let text = serde_json::to_string_pretty(&is).expect("it is plain data") + "\n";
    if env::var_os("DEMOCTL_REGENERATE").is_some() {
        fs::write(file(), &text).expect("the tree is ours");
    }
    let committed = fs::read_to_string(file()).unwrap_or_default();
    assert!(committed == text, "{} is stale: DEMOCTL_REGENERATE=1 writes it", file().display());
}

#[test]
fn azurerm_validates_and_passes_the_modules_own_tests() {
    let Some(tools) = tools() else { return };
    let dir = module(&tools);
    tools.run(dir.path(), &["init", "-input=false"]);
    tools.run(dir.path(), &["validate"]);
    for name in ["m3demo1", "m3demo2", "m3demo2-as-written"] {
        variables(dir.path(), name, &[]);
        let said = tools.run(dir.path(), &["test", "-no-color"]);
        assert!(said.contains("Success!") && said.contains("0 failed"), "{name}: {said}");
    }
}

/// A world in which an application of the least permissions may log in.
fn world() -> World {
    let mut world = World::default();
    world.style.retry_after = Duration::ZERO;
    world.style.tick = Duration::from_secs(60);
    // Each request takes a minute of the world; Terraform asks often.
    world.style.login = Duration::from_secs(365 * 24 * 3600);
    world.applications.insert(CLIENT.to_owned(), SECRET.to_owned());
    world.facts.permissions = vec![documented_role()];
    world
}

/// The custom role of the docs, which is all that the tests are allowed.
fn documented_role() -> Permission {
    let docs = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/azure.md")).expect("it is there");
    let text = docs.split("```json").nth(1).and_then(|rest| rest.split("```").next()).expect("it shows a role");
    let role: Value = serde_json::from_str(text).expect("it is JSON");
    let actions = role["Actions"].as_array().into_iter().flatten().filter_map(Value::as_str);
    Permission { actions: actions.map(str::to_owned).collect(), not_actions: Vec::new() }
}

/// What leads Terraform to the fake, and logs it in.
fn login(tenant: &str, tls: &OverTls, dir: &Path) -> Vec<(&'static str, String)> {
    let certificate = dir.join("fake.pem");
    fs::write(&certificate, &tls.certificate).expect("the directory is ours");
    vec![
        ("ARM_METADATA_HOSTNAME", tls.host.clone()),
        ("SSL_CERT_FILE", certificate.display().to_string()),
        ("ARM_TENANT_ID", tenant.to_owned()),
        ("ARM_CLIENT_ID", CLIENT.to_owned()),
        ("ARM_CLIENT_SECRET", SECRET.to_owned()),
        ("TF_CLI_CONFIG_FILE", dir.join("terraform.rc").display().to_string()),
    ]
}

/// Terraform by democtl's own driver, with the fake behind it.
struct Life {
    dir: tempfile::TempDir,
    fake: FakeAzure,
    tools: Tools,
    terraform: Terraform,
}

impl Life {
    async fn of(name: &str) -> Option<Self> {
        let tools = tools()?;
        tls();
        let dir = module(&tools);
        variables(dir.path(), name, &[]);
        let mut fake = FakeAzure::start(world()).await.expect("loopback has a free port");
        fake.back(LocalClusters::new(dir.path().join("clusters")));
        let over_tls = fake.over_tls().await.expect("loopback has a free port");
        let tenant = fake.world().facts.tenant.clone();
        let variables = login(&tenant, &over_tls, dir.path());
        let variables = variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let silent: Progress = Arc::new(|_: &str| {});
        let at = dir.path().to_owned();
        let terraform = Terraform::new(tools.terraform.clone(), at, variables, CancellationToken::new(), silent);
        terraform.init().await.unwrap_or_else(|failure| panic!("{failure}"));
        Some(Self { dir, fake, tools, terraform })
    }

    async fn plan(&self, destroy: bool) -> (Plan, bool) {
        let planned = self.terraform.plan(destroy, &Prices::committed()).await;
        let planned = planned.unwrap_or_else(|failure| panic!("{failure}\n{}", self.asked()));
        assert_eq!(planned.drift, Vec::<String>::new(), "nobody else changes anything: {}", self.drift());
        (planned.plan, planned.changes)
    }

    /// What the plan says that others have changed.
    fn drift(&self) -> String {
        let plan: Value = serde_json::from_str(&self.tools.run(self.dir.path(), &["show", "-json", "plan.tfplan"]))
            .expect("it is JSON");
        let drift = plan["resource_drift"].as_array().into_iter().flatten();
        let one = |one: &Value| {
            let (before, after) = (&one["change"]["before"], &one["change"]["after"]);
            let names = after.as_object().into_iter().flatten().filter(|(name, value)| before[*name] != **value);
            let all: Vec<String> = names.map(|(name, value)| format!("{name}: {} -> {value}", before[name])).collect();
            format!("{}: {}", one["address"], all.join(", "))
        };
        drift.map(one).collect::<Vec<_>>().join("\n")
    }

    async fn apply(&self) {
        self.terraform.apply().await.unwrap_or_else(|failure| panic!("{failure}\n{}", self.asked()));
    }

    /// The last requests, for a failure's sake.
    fn asked(&self) -> String {
        let world = self.fake.world();
        let last =
            world.log.iter().rev().take(12).map(|one| format!("{} {} -> {:?}\n", one.method, one.path, one.status));
        last.collect()
    }
}

fn actions(plan: &Plan) -> Vec<(&str, Action)> {
    plan.changes.iter().map(|change| (change.address.as_str(), change.action)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn azurerm_applies_changes_and_removes() {
    let cases = [("m3demo1", "pool.data.labels.tier", "data", 7), ("m3demo2", "pool.main.max", "8", 5)];
    for (name, key, value, resources) in cases {
        let Some(life) = Life::of(name).await else { return };
        let (plan, _) = life.plan(false).await;
        assert_eq!(plan.changes.len(), resources, "{:?}", actions(&plan));
        assert!(plan.changes.iter().all(|change| change.action == Action::Create), "{:?}", actions(&plan));
        life.apply().await;
        assert!(!life.fake.world().billed().is_empty(), "a cluster costs money");

        let (plan, changes) = life.plan(false).await;
        assert!(!changes, "{name}: what was just applied is planned again: {:?}", actions(&plan));

        variables(life.dir.path(), name, &[(key, value)]);
        let (plan, _) = life.plan(false).await;
        assert!(matches!(actions(&plan).as_slice(), [(_, Action::Update)]), "{:?}", actions(&plan));
        life.apply().await;
        let (_, changes) = life.plan(false).await;
        assert!(!changes, "{name}: the change is whole");

        let (plan, _) = life.plan(true).await;
        assert!(plan.changes.iter().all(|change| change.action == Action::Delete), "{:?}", actions(&plan));
        life.apply().await;
        assert_eq!(life.fake.world().billed(), [], "{name}: nothing costs money");
        assert_eq!(life.fake.world().ids(), Vec::<String>::new(), "{name}");
    }
}

const SETUP: [&str; 6] = ["setup", "--profile", "m3demo2", "--target", "azure", "--yes"];

/// The built binary with the module that is in it: one application logs in twice, democtl by itself and the provider as
/// it is told.
async fn staged(world: World) -> Option<Stage> {
    let tools = tools()?;
    let root = tempfile::tempdir().expect("a temporary directory can be made");
    tools.settings(root.path());
    let mut stage = Stage::with(world, root, vec![tools.terraform], "m3demo2", Vec::new()).await;
    let over_tls = stage.fake.over_tls().await.expect("loopback has a free port");
    let tenant = stage.fake.world().facts.tenant.clone();
    let url = format!("https://{}", over_tls.host);
    stage.set(login(&tenant, &over_tls, stage.root.path()));
    stage.set(vec![("DEMOCTL_AZURE_ENDPOINT", url.clone()), ("AZURE_AUTHORITY_HOST", url)]);
    Some(stage)
}

#[tokio::test(flavor = "multi_thread")]
async fn azurerm_serves_the_built_binary() {
    let Some(stage) = staged(world()).await else { return };
    let setup = stage.expect(0, &SETUP).await;
    assert!(setup.stdout.contains("m3demo2 is up"), "{}", setup.stdout);
    let again = stage.expect(0, &SETUP).await;
    assert!(again.stdout.contains("nothing changed"), "{}", again.stdout);
    // Its end is pushed out by who works with it, which is neither a difference nor a change by others.
    let group =
        format!("/subscriptions/{}/resourceGroups/reliability-demo-demo-m3demo2", crate::end_to_end::SUBSCRIPTION);
    {
        let mut world = stage.fake.world();
        let mut body = world.body(&group).expect("setup made it").clone();
        body["tags"]["expires-at"] = "2020-01-01T00:00:00Z".into();
        world.plant(&group, body);
    }
    stage.expect(0, &SETUP).await;
    assert_ne!(stage.fake.world().body(&group).expect("setup made it")["tags"]["expires-at"], "2020-01-01T00:00:00Z");
    let plan = stage.expect(0, &["plan", "--profile", "m3demo2", "--target", "azure"]).await;
    assert!(plan.stdout.contains("nothing changes") && !plan.stderr.contains("changed by others"), "{}", plan.stderr);
    let status = stage.expect(0, &["status", "--output", "json"]).await;
    let told: Value = serde_json::from_str(&status.stdout).expect("it is JSON");
    assert_eq!((&told[0]["cluster"]["state"], &told[0]["counts"]["nodes"]), (&json!("running"), &json!(2)));
    for outcome in [&setup, &again, &status] {
        assert!(!outcome.stdout.contains(SECRET) && !outcome.stderr.contains(SECRET));
    }
    removed_by_terraform(&stage).await;
}

async fn removed_by_terraform(stage: &Stage) {
    let cleanup = stage.expect(0, &["cleanup", "--yes"]).await;
    assert!(!cleanup.stderr.contains("through ARM"), "Terraform removes it all: {}", cleanup.stderr);
    stage.nothing_is_left();
}

/// A world in which a cluster takes hours of requests, so that one can come in between.
fn slow_world() -> World {
    let mut world = world();
    world.style.make = MAKING;
    world
}

const MAKING: Duration = Duration::from_secs(6 * 3600);

/// Whether the cluster was asked for; from then on time stands still.
fn begun(stage: &Stage) -> bool {
    let mut world = stage.fake.world();
    let put = |path: &str| path.contains("managedClusters");
    let begun = world.log.iter().any(|one| one.method == http::Method::PUT && put(&one.path));
    if begun {
        world.style.tick = Duration::ZERO;
    }
    begun
}

/// The next setup finds the cluster in the making, waits, and goes on with it: nothing is made again.
async fn goes_on(stage: &Stage, words: &str) {
    let before = stage.fake.world().log.len();
    let looked = |stage: &Stage| {
        let world = stage.fake.world();
        let looks =
            world.log.iter().skip(before).filter(|one| one.path.ends_with("/aks-reliability-demo-demo-m3demo2"));
        // First whether it runs, then whether ARM is done with it.
        looks.count() >= 2
    };
    let (outcome, ()) = tokio::join!(stage.run(&SETUP), async {
        stage.wait_until("a second look at the cluster", looked).await;
        stage.fake.world().style.tick = Duration::from_secs(60);
        stage.fake.world().advance(MAKING);
    });
    assert_eq!(outcome.code, Some(0), "{}\n{}", outcome.stdout, outcome.stderr);
    for words in ["Azure says Creating; it is waited for", words] {
        assert!(outcome.stderr.contains(words), "{words}: {}", outcome.stderr);
    }
    let removed = stage.fake.world().log.iter().filter(|one| one.method == http::Method::DELETE).count();
    assert_eq!(removed, 0, "nothing is removed and made again");
    removed_by_terraform(stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn azurerm_goes_on_after_terraform_was_killed() {
    let Some(stage) = staged(slow_world()).await else { return };
    let (outcome, ()) = tokio::join!(stage.run(&SETUP), async {
        stage.wait_until("the cluster's PUT", begun).await;
        for (pid, _) in terraforms_of(&stage) {
            kill_process(pid, Signal::KILL).expect("it is ours");
        }
    });
    assert_eq!(outcome.code, Some(4), "{}", outcome.stderr);
    goes_on(&stage, "aks-reliability-demo-demo-m3demo2 is there already and is taken over").await;
}

/// What a setup leaves and says that is interrupted while the cluster is made.
async fn interrupted(stage: &Stage) -> Output {
    let child = stage.command(&SETUP).spawn().expect("the binary starts");
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("a pid");
    stage.wait_until("the cluster's PUT", begun).await;
    kill_process(pid, Signal::INT).expect("it is ours");
    let output = tokio::task::spawn_blocking(|| child.wait_with_output()).await.expect("it is not cancelled");
    output.expect("the process is ours")
}

#[tokio::test(flavor = "multi_thread")]
async fn azurerm_goes_on_after_it_was_interrupted() {
    let Some(stage) = staged(slow_world()).await else { return };
    let output = interrupted(&stage).await;
    assert_eq!(output.status.code(), Some(6), "{}", String::from_utf8_lossy(&output.stderr));
    goes_on(&stage, "azurerm_kubernetes_cluster.this was under way when terraform was stopped: it is kept").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn azurerm_plans_by_a_copy_of_the_state() {
    let Some(stage) = staged(slow_world()).await else { return };
    interrupted(&stage).await;
    stage.fake.world().style.tick = Duration::from_secs(60);
    stage.fake.world().advance(MAKING);
    let files = tree(&stage.environment());
    let plan = stage.expect(0, &["plan", "--profile", "m3demo2", "--target", "azure"]).await;
    assert!(plan.stderr.contains("azurerm_kubernetes_cluster.this was under way when"), "{}", plan.stderr);
    assert!(!plan.stdout.contains("replace"), "{}", plan.stdout);
    assert!(tree(&stage.environment()) == files, "a plan changes a file");
    stage.expect(0, &SETUP).await;
    removed_by_terraform(&stage).await;
}
