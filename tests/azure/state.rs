//! Terraform's state in Azure: the real azurerm backend, reached under its public names, and its locks.

use std::{fs, path::PathBuf};

use democtl_fake_azure::{Fate, Faults, Permission, PublicNames, World};
use http::Method;
use rustix::process::{Signal, kill_process};
use serde_json::Value;

use crate::end_to_end::{SETUP, Stage, TOKEN, files_with, terraform_of};

const SECRET: &str = "s3cret-of-this-test";
const BLOB: &str = "tfstate/democtl.tfstate";

/// A stage whose programs log in as an application and find the storage under its public name.
async fn stage(world: World) -> Option<(Stage, PublicNames)> {
    let mut stage = Stage::new(world).await?;
    let names = PublicNames::start(stage.fake.shared()).await.expect("loopback has a free port");
    let certificate = stage.root.path().join("public.pem");
    fs::write(&certificate, &names.certificate).expect("the directory is ours");
    let tenant = stage.fake.world().facts.tenant.clone();
    stage.set(vec![
        ("AZURE_ACCESS_TOKEN", String::new()),
        ("AZURE_TENANT_ID", tenant),
        ("AZURE_CLIENT_ID", "00000000-0000-4000-8000-0000000000cc".to_owned()),
        ("AZURE_CLIENT_SECRET", SECRET.to_owned()),
        ("FAKE_TOKEN", TOKEN.to_owned()),
        ("HTTPS_PROXY", names.proxy.clone()),
        ("SSL_CERT_FILE", certificate.display().to_string()),
        ("DEMOCTL_STATE", "azurerm".to_owned()),
    ]);
    Some((stage, names))
}

/// Name of the storage account.
fn account(stage: &Stage) -> String {
    let ids = stage.fake.world().ids();
    let id = ids.iter().find(|id| id.contains("storageAccounts/")).expect("setup made it");
    let name = id.split("storageAccounts/").nth(1).and_then(|rest| rest.split('/').next());
    name.expect("it has one").to_owned()
}

fn state(stage: &Stage) -> Value {
    let account = account(stage);
    let world = stage.fake.world();
    serde_json::from_slice(world.blob(&account, BLOB).expect("there is a state")).expect("it is JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_lies_in_a_storage_account_of_its_own_and_goes_with_it() {
    let Some((stage, _names)) = stage(World::default()).await else { return };
    stage.expect(0, &["plan", "--profile", "./tiny.toml", "--target", "azure"]).await;
    assert_eq!(stage.fake.world().ids(), Vec::<String>::new(), "a plan makes nothing");
    let setup = stage.setup().await;
    assert!(setup.stderr.contains("for Terraform's state"), "{}", setup.stderr);
    assert!(state(&stage)["resources"].as_array().is_some_and(|all| all.len() == 3), "{}", state(&stage));
    assert!(!stage.state_file().exists(), "none lies here");
    assert_eq!(files_with(&stage.root.path().join("home"), SECRET), Vec::<PathBuf>::new());
    let bodies: Vec<(String, Value)> = {
        let world = stage.fake.world();
        let of_storage = world.ids().into_iter().filter(|id| id.contains("Microsoft.Storage"));
        of_storage.map(|id| (id.clone(), world.body(&id).expect("it is there").clone())).collect()
    };
    let of = |ending: &str| {
        let found = bodies.iter().find(|(id, _)| id.ends_with(ending));
        found.map_or_else(|| panic!("{ending}: {bodies:?}"), |(_, body)| body["properties"].clone())
    };
    let made = of(&account(&stage));
    assert_eq!((&made["allowSharedKeyAccess"], &made["allowBlobPublicAccess"]), (&false.into(), &false.into()));
    let service = of("blobServices/default");
    assert_eq!(service["isVersioningEnabled"], true);
    assert_eq!(service["deleteRetentionPolicy"]["enabled"], true);

    let again = stage.setup().await;
    assert!(again.stdout.contains("nothing changed"), "{}", again.stdout);
    // A state that cannot be read is not taken for none.
    let roles: Vec<(String, Value)> = {
        let mut world = stage.fake.world();
        let ids = world.ids().into_iter().filter(|id| id.contains("roleAssignments/"));
        let roles: Vec<_> = ids.map(|id| (id.clone(), world.body(&id).expect("it is there").clone())).collect();
        for (id, _) in &roles {
            world.plant(id, serde_json::json!({ "id": id }));
        }
        roles
    };
    let unread = stage.expect(4, &["plan", "--profile", "./tiny.toml", "--target", "azure"]).await;
    assert!(unread.stderr.contains("the state in "), "{}", unread.stderr);
    for (id, role) in roles {
        stage.fake.world().plant(&id, role);
    }
    let refused = stage.expect(2, &["cleanup"]).await;
    assert!(refused.stderr.contains("storageAccounts/"), "{}", refused.stderr);
    let cleanup = stage.expect(0, &["cleanup", "--yes"]).await;
    assert!(cleanup.stderr.contains("-state through ARM"), "{}", cleanup.stderr);
    stage.nothing_is_left();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lock_of_an_apply_of_ours_that_died_is_taken_off() {
    let Some((stage, _names)) = stage(World::default()).await else { return };
    // The workspace is made, the cluster is not, so that the apply does not end by itself.
    for fate in [Fate::Succeeds, Fate::Hangs] {
        stage.fake.world().faults.order_fate(fate);
    }
    let noted = |stage: &Stage| stage.environment().join("terraform/lock.json").exists();
    let (outcome, ()) = tokio::join!(stage.run(&SETUP), async {
        stage.wait_until("the lock's note", noted).await;
        kill_process(terraform_of(&stage).expect("it works"), Signal::KILL).expect("it is ours");
        // From here on Azure is well.
        stage.fake.world().faults = Faults::default();
    });
    assert_eq!(outcome.code, Some(4), "{}", outcome.stderr);
    let account = account(&stage);
    let lease = stage.fake.world().lease(&account, BLOB).expect("nobody gave it back").to_owned();
    let plan = stage.expect(0, &["plan", "--profile", "./tiny.toml", "--target", "azure"]).await;
    assert!(plan.stderr.contains("an apply of ours, which is dead") && !plan.stderr.contains("off"), "{}", plan.stderr);
    assert!(plan.stdout.contains("terraform_data.cluster"), "{}", plan.stdout);
    assert_eq!(stage.fake.world().lease(&account, BLOB), Some(lease.as_str()), "a plan changes nothing");
    let cleanup = stage.expect(0, &["cleanup", "--yes"]).await;
    assert!(cleanup.stderr.contains(&format!("which is dead: {lease} is taken off")), "{}", cleanup.stderr);
    stage.nothing_is_left();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lock_of_somebody_else_is_told_and_waited_for() {
    let Some((stage, _names)) = stage(World::default()).await else { return };
    stage.setup().await;
    let account = account(&stage);
    let info = r#"{"ID":"77","Operation":"OperationTypeApply","Who":"ann@laptop","Created":"2026-11-26T01:02:03Z"}"#;
    stage.fake.world().hold(&account, BLOB, "77", info);
    let said = stage.root.path().join("said");
    let mut command = stage.command(&["cleanup", "--yes"]);
    command.stderr(fs::File::create(&said).expect("the directory is ours"));
    let mut child = command.spawn().expect("the binary starts");
    let told = "ann@laptop holds the state since 2026-11-26T01:02:03Z (apply)";
    let heard = |_: &Stage| fs::read_to_string(&said).is_ok_and(|text| text.contains(told) && text.ends_with('\n'));
    stage.wait_until("the holder's name", heard).await;
    assert_eq!(stage.fake.world().lease(&account, BLOB), Some("77"), "it is theirs");
    assert!(!stage.fake.world().billed().is_empty(), "nothing is removed under their hands");
    stage.fake.world().let_go(&account, BLOB);
    let status = tokio::task::spawn_blocking(move || child.wait()).await.expect("it is not cancelled");
    let text = fs::read_to_string(&said).expect("the directory is ours");
    assert_eq!(status.expect("it is ours").code(), Some(0), "{text}");
    assert!(text.contains("force-unlock 77"), "{text}");
    stage.nothing_is_left();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_write_blobs_is_told_how_to() {
    let mut world = World::default();
    world.facts.permissions =
        vec![Permission { actions: vec!["*".into()], not_actions: vec!["Microsoft.Authorization/*/write".into()] }];
    let Some((stage, _names)) = stage(world).await else { return };
    let refused = stage.expect(3, &SETUP).await;
    assert!(refused.stderr.contains("may not give itself a role"), "{}", refused.stderr);
    assert!(refused.stderr.contains("az role assignment create --assignee 00000000-"), "{}", refused.stderr);
    let clusters =
        |logged: &&democtl_fake_azure::Logged| logged.method == Method::PUT && logged.path.contains("managedClusters");
    assert_eq!(stage.fake.world().log.iter().filter(clusters).count(), 0);
    stage.expect(0, &["cleanup", "--yes"]).await;
    stage.nothing_is_left();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_terraform_cannot_use_is_refused_at_once() {
    let Some(mut stage) = Stage::new(World::default()).await else { return };
    stage.set(vec![("DEMOCTL_STATE", "azurerm".to_owned())]);
    let refused = stage.expect(3, &SETUP).await;
    assert!(refused.stderr.contains("a given access token is none"), "{}", refused.stderr);
    stage.nothing_is_left();
}
