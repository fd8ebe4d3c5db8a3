//! Commands that only look: nothing is another after them, here or in Azure.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use democtl_fake_azure::World;
use rustix::fs::{FlockOperation, fcntl_lock};
use serde_json::Value;

use crate::end_to_end::Stage;

/// Every file below a directory with its bytes, save the lock of the command that looks.
pub(crate) fn tree(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).expect("it is there").map(|entry| entry.expect("it can be read")) {
        let path = entry.path();
        let kind = entry.file_type().expect("it is there");
        if kind.is_dir() {
            found.extend(tree(&path));
        } else if kind.is_symlink() {
            let to = fs::read_link(&path).expect("it is there");
            found.insert(path, to.into_os_string().into_encoded_bytes());
        } else if !path.ends_with("tiny/lock") && !path.ends_with("m3demo2/lock") {
            found.insert(path.clone(), fs::read(&path).expect("the directory is ours"));
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_changes_nothing_of_an_environment_that_is_there() {
    let Some(stage) = Stage::new(World::default()).await else { return };
    stage.setup().await;
    // A state that the last apply could not save where it lies; another module and other variables than at the setup.
    let errored = stage.environment().join("terraform/errored.tfstate");
    let state = fs::read(stage.state_file()).expect("setup wrote it");
    let mut state: Value = serde_json::from_slice(&state).expect("it is JSON");
    state["serial"] = (state["serial"].as_u64().expect("a number") + 1).into();
    fs::write(&errored, state.to_string()).expect("the directory is ours");
    let module = stage.root.path().join("stub/main.tf");
    let text = fs::read_to_string(&module).expect("the directory is ours");
    fs::write(&module, format!("{text}\nresource \"terraform_data\" \"more\" {{}}\n")).expect("it is ours");
    let (files, ids) = (tree(&stage.environment()), stage.fake.world().ids());
    let plan =
        stage.expect(0, &["plan", "--profile", "./tiny.toml", "--target", "azure", "--set", "pool.main.count=2"]).await;
    assert!(
        plan.stdout.contains("terraform_data.more") && !plan.stdout.contains("terraform_data.group"),
        "{}",
        plan.stdout
    );
    assert!(tree(&stage.environment()) == files, "a plan changes a file");
    assert_eq!(stage.fake.world().ids(), ids);
    fs::remove_file(errored).expect("it is ours");
    stage.expect(0, &["cleanup", "--yes"]).await;
    stage.nothing_is_left();
}

/// As a Terraform does that outlived its democtl.
#[tokio::test(flavor = "multi_thread")]
async fn a_plan_waits_for_a_terraform_that_writes_the_state() {
    let Some(stage) = Stage::new(World::default()).await else { return };
    stage.setup().await;
    let state = fs::File::options().read(true).write(true).open(stage.state_file()).expect("setup wrote it");
    fcntl_lock(&state, FlockOperation::LockExclusive).expect("nobody holds it");
    let said = stage.root.path().join("said");
    let mut command = stage.command(&["plan", "--profile", "./tiny.toml", "--target", "azure"]);
    command.stderr(fs::File::create(&said).expect("the directory is ours"));
    let mut child = command.spawn().expect("the binary starts");
    let heard = |_: &Stage| fs::read_to_string(&said).is_ok_and(|text| text.contains("still works here is waited for"));
    stage.wait_until("word of the other terraform", heard).await;
    drop(state);
    let status = tokio::task::spawn_blocking(move || child.wait()).await.expect("it is not cancelled");
    assert_eq!(status.expect("it is ours").code(), Some(0), "{}", fs::read_to_string(&said).unwrap_or_default());
    stage.expect(0, &["cleanup", "--yes"]).await;
}
