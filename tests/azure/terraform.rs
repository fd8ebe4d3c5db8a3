//! The driver against the real Terraform on a module without providers: plan, apply, destroy, cancel, a held lock.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use democtl::target::azure::terraform::{Action, Progress, Terraform};
use democtl_core::cost::Prices;
use tokio_util::sync::CancellationToken;

use crate::common::found;

/// Two resources in a row; while the second one is made, a file tells that it is under way and another lets it end.
const MODULE: &str = r#"
terraform {
  backend "local" {}
}

variable "dir" {
  type = string
}

variable "fail" {
  type    = bool
  default = false
}

resource "terraform_data" "first" {
  input = "one"
}

resource "terraform_data" "second" {
  input      = var.dir
  depends_on = [terraform_data.first]

  provisioner "local-exec" {
    command = "touch '${var.dir}/begun'; while [ ! -e '${var.dir}/go' ]; do sleep 0.05; done; ${var.fail ? "exit 3" : "true"}"
  }
}

output "secret" {
  value     = "hunter2"
  sensitive = true
}
"#;

struct Stage {
    dir: tempfile::TempDir,
    cancel: CancellationToken,
    said: Arc<Mutex<Vec<String>>>,
    terraform: Terraform,
}

impl Stage {
    fn new(fail: bool) -> Option<Self> {
        let program = found("terraform")?;
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        fs::write(dir.path().join("main.tf"), MODULE).expect("the directory is ours");
        let vars = serde_json::json!({ "dir": dir.path(), "fail": fail }).to_string();
        fs::write(dir.path().join("terraform.tfvars.json"), vars).expect("the directory is ours");
        let cancel = CancellationToken::new();
        let said = Arc::new(Mutex::new(Vec::new()));
        let terraform = driver(&program, dir.path(), &cancel, &said);
        Some(Self { dir, cancel, said, terraform })
    }

    fn go(&self) {
        fs::write(self.dir.path().join("go"), "").expect("the directory is ours");
    }

    async fn begun(&self) {
        while !self.dir.path().join("begun").exists() {
            tokio::task::yield_now().await;
        }
    }

    fn said(&self) -> Vec<String> {
        self.said.lock().expect("nobody panicked").clone()
    }
}

fn driver(program: &Path, dir: &Path, cancel: &CancellationToken, said: &Arc<Mutex<Vec<String>>>) -> Terraform {
    let to = said.clone();
    let progress: Progress = Arc::new(move |line: &str| to.lock().expect("nobody panicked").push(line.to_owned()));
    Terraform::new(program.to_owned(), dir.to_owned(), Vec::new(), cancel.clone(), progress)
}

fn prices() -> Prices {
    Prices::committed()
}

#[tokio::test]
async fn a_module_is_planned_applied_and_destroyed() {
    let Some(stage) = Stage::new(false) else { return };
    let terraform = &stage.terraform;
    assert!(terraform.version().expect("it is there").starts_with("1."));
    terraform.init().await.expect("no provider is needed");
    assert!(!terraform.has_state());
    let planned = terraform.plan(false, &prices()).await.expect("it can be planned");
    let created: Vec<_> = planned.plan.changes.iter().map(|change| (change.address.as_str(), change.action)).collect();
    assert_eq!(created, [("terraform_data.first", Action::Create), ("terraform_data.second", Action::Create)]);
    stage.go();
    terraform.apply().await.expect("it can be applied");
    assert!(terraform.has_state());
    let said = stage.said();
    assert!(said.iter().any(|line| line.contains("terraform_data.second: create done after")), "{said:?}");
    assert!(!said.iter().any(|line| line.contains("hunter2")), "{said:?}");

    let again = terraform.plan(false, &prices()).await.expect("it can be planned");
    assert!(!again.changes && again.plan.no_resource_changes && again.drift.is_empty());

    let planned = terraform.plan(true, &prices()).await.expect("it can be planned");
    assert!(planned.plan.changes.iter().all(|change| change.action == Action::Delete));
    terraform.apply().await.expect("it can be destroyed");
    assert!(!terraform.has_state());
    fs::write(stage.dir.path().join("terraform.tfstate"), "{").expect("the directory is ours");
    assert!(terraform.has_state(), "one that cannot be read may say anything");
}

#[tokio::test]
async fn a_failed_apply_says_why_and_keeps_what_was_made() {
    let Some(stage) = Stage::new(true) else { return };
    stage.terraform.init().await.expect("no provider is needed");
    stage.terraform.plan(false, &prices()).await.expect("it can be planned");
    stage.go();
    let failure = stage.terraform.apply().await.expect_err("its provisioner fails");
    assert_eq!(failure.kind().exit_code(), 4);
    let text = failure.to_string();
    assert!(text.starts_with("error: terraform apply failed\n  caused by: local-exec provisioner error"), "{text}");
    assert!(text.contains("terraform_data.second") && text.contains("exit status 3"), "{text}");
    assert!(stage.terraform.has_state());
}

#[tokio::test]
async fn what_is_no_longer_tainted_is_kept() {
    let Some(stage) = Stage::new(true) else { return };
    stage.terraform.init().await.expect("no provider is needed");
    stage.terraform.plan(false, &prices()).await.expect("it can be planned");
    stage.go();
    stage.terraform.apply().await.expect_err("its provisioner fails");
    let planned = stage.terraform.plan(false, &prices()).await.expect("it can be planned");
    assert!(planned.changes, "it would be made again");
    stage.terraform.untaint("terraform_data.second").await.expect("it is tainted");
    let planned = stage.terraform.plan(false, &prices()).await.expect("it can be planned");
    assert!(planned.plan.no_resource_changes, "{:?}", planned.plan);
}

#[tokio::test]
async fn a_module_whose_state_lies_elsewhere_is_refused() {
    let rows = [
        ("backend \"local\" {}", None),
        ("", None),
        ("backend \"local\" { path = \"other.tfstate\" }", Some("a path of its own")),
        ("backend \"inmem\" {}", Some("a backend of type inmem")),
    ];
    for (backend, words) in rows {
        let Some(stage) = Stage::new(false) else { return };
        let module = MODULE.replace("backend \"local\" {}", backend);
        fs::write(stage.dir.path().join("main.tf"), module).expect("the directory is ours");
        stage.terraform.init().await.expect("no provider is needed");
        let refused = stage.terraform.require_known_state().err().map(|failure| failure.to_string());
        match words {
            None => assert_eq!(refused, None, "{backend}"),
            Some(words) => {
                assert!(refused.as_deref().is_some_and(|text| text.contains(words)), "{backend}: {refused:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_cancelled_apply_is_asked_once_and_saves_its_state() {
    let Some(stage) = Stage::new(false) else { return };
    stage.terraform.init().await.expect("no provider is needed");
    stage.terraform.plan(false, &prices()).await.expect("it can be planned");
    let (applied, ()) = tokio::join!(stage.terraform.apply(), async {
        stage.begun().await;
        stage.cancel.cancel();
    });
    let failure = applied.expect_err("it was cancelled");
    assert_eq!(failure.kind().exit_code(), 6, "{failure}");
    assert!(stage.said().iter().any(|line| line.contains("asked to stop")));
    assert!(stage.terraform.has_state(), "the first resource is in the state");

    let next =
        driver(&found("terraform").expect("it was there"), stage.dir.path(), &CancellationToken::new(), &stage.said);
    next.init().await.expect("no provider is needed");
    stage.go();
    next.plan(false, &prices()).await.expect("no lock is left");
    next.apply().await.expect("it goes on");
}

/// Where the state lies does not answer who holds its lock.
#[tokio::test]
async fn a_lock_that_is_not_told_does_not_hold_up_a_cancel() {
    let Some(stage) = Stage::new(false) else { return };
    stage.terraform.init().await.expect("no provider is needed");
    stage.terraform.plan(false, &prices()).await.expect("it can be planned");
    let asked = Arc::new(tokio::sync::Notify::new());
    let (teller_asked, cancel) = (asked.clone(), stage.cancel.clone());
    let teller = move || {
        let asked = teller_asked.clone();
        Box::pin(async move {
            asked.notify_one();
            std::future::pending().await
        }) as futures::future::BoxFuture<'static, Option<String>>
    };
    let terraform = stage.terraform.clone().with_state_in("silent".to_owned(), Arc::new(teller));
    let (applied, ()) = tokio::join!(terraform.apply(), async {
        asked.notified().await;
        stage.begun().await;
        cancel.cancel();
    });
    assert_eq!(applied.expect_err("it was cancelled").kind().exit_code(), 6);
}

#[tokio::test]
async fn a_held_lock_is_told_with_its_holder() {
    let Some(stage) = Stage::new(false) else { return };
    stage.terraform.init().await.expect("no provider is needed");
    stage.terraform.plan(false, &prices()).await.expect("it can be planned");
    let other = driver(&found("terraform").expect("it was there"), stage.dir.path(), &stage.cancel, &stage.said);
    let (applied, failure) = tokio::join!(stage.terraform.apply(), async {
        stage.begun().await;
        let failure = other.plan(false, &prices()).await.expect_err("the state is locked");
        stage.go();
        failure
    });
    applied.expect("the one that holds the lock is not disturbed");
    let text = failure.to_string();
    assert!(text.contains("holds the state since"), "{text}");
}

#[tokio::test]
async fn a_module_that_is_wrong_is_told_by_terraforms_words() {
    let Some(stage) = Stage::new(false) else { return };
    fs::write(stage.dir.path().join("more.tf"), "resource \"terraform_data\" \"x\" { inptu = 1 }\n").expect("ours");
    stage.terraform.init().await.expect("no provider is needed");
    let failure = stage.terraform.plan(false, &prices()).await.expect_err("an argument is unknown");
    assert!(failure.to_string().contains("Unsupported argument"), "{failure}");
}

/// A program of a few lines in place of terraform.
fn impostor(dir: &Path, script: &str) -> PathBuf {
    let path = dir.join("terraform");
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("the directory is ours");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("the file is ours");
    path
}

#[tokio::test]
async fn programs_that_misbehave_are_errors_in_words() {
    let rows = [
        ("echo '{\"terraform_version\":\"1.5.7\"}'", "terraform is 1.5.7, needed is 1.9"),
        ("echo '{\"terraform_version\":\"2.0.0\"}'", "terraform is 2.0.0, needed is 1.9"),
        ("echo garbage; echo broken >&2; exit 1", "does not tell its version: broken"),
    ];
    for (script, words) in rows {
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        let program = impostor(dir.path(), script);
        let terraform = driver(&program, dir.path(), &CancellationToken::new(), &Arc::default());
        let failure = terraform.version().expect_err("it is of no use");
        assert_eq!(failure.kind().exit_code(), 3);
        assert!(failure.to_string().contains(words), "{failure}");
    }
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    let missing = driver(Path::new("/nonexistent/terraform"), dir.path(), &CancellationToken::new(), &Arc::default());
    assert!(missing.version().expect_err("it is not there").to_string().contains("cannot run /nonexistent/terraform"));
    let program = impostor(dir.path(), "echo 'panic: oh no' >&2; kill -9 $$");
    let dies = driver(&program, dir.path(), &CancellationToken::new(), &Arc::default());
    let text = dies.init().await.expect_err("it dies").to_string();
    assert!(text.contains("terraform init failed") && text.contains("a signal ended it: panic: oh no"), "{text}");
}
