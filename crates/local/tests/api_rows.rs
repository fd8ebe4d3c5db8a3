//! The API against the answers that a real kube-apiserver 1.33 gave: <kind> passed/total, with the least share that
//! must hold. The rows and their replayer lie beside the project; without them, or without Python, there is no test.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use democtl_local::config::Config;
use tokio_util::sync::CancellationToken;

/// Kinds with a limit of their own; of others 80 % must hold.
const STRICT: [&str; 11] = [
    "create",
    "update",
    "patch",
    "apply",
    "delete",
    "list",
    "watch",
    "dryrun",
    "fieldvalidation",
    "subresource",
    "crd",
];

fn rows() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let rows = std::env::var_os("DEMOCTL_CONFORMANCE").unwrap_or_else(|| "../shared/conformance".into());
    let rows = root.join(rows).join("api");
    let python = Command::new("python3").arg("--version").output().is_ok_and(|output| output.status.success());
    (python && rows.join("replay.py").is_file()).then_some(rows)
}

fn config(dir: &Path) -> Config {
    Config {
        name: "rows".to_owned(),
        dir: dir.to_owned(),
        speed: 15.0,
        seed: 1,
        pools: Vec::new(),
        autoscaler: None,
        vm_delay: (Duration::from_secs(1), Duration::from_secs(2)),
        app_exe: dir.join("none"),
    }
}

/// Passed and all, by kind, out of the replayer's last lines.
fn figures(output: &str) -> BTreeMap<String, (u32, u32)> {
    let lines = output.lines().filter(|line| !line.starts_with("FAIL"));
    let figures = lines.filter_map(|line| {
        let (kind, figure) = line.split_once(' ')?;
        let (passed, all) = figure.trim().split_once('/')?;
        Some((kind.to_owned(), (passed.parse().ok()?, all.parse().ok()?)))
    });
    figures.collect()
}

#[expect(clippy::print_stderr, clippy::print_stdout, reason = "says what was not tested, and the figures")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_a_real_server_hold() {
    let Some(rows) = rows() else {
        eprintln!("skipped: the recorded rows or python3 are not here");
        return;
    };
    // As the binary does at its start.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let home = tempfile::tempdir().expect("a directory");
    let shutdown = CancellationToken::new();
    let cluster = tokio::spawn(democtl_local::server::serve_until(config(home.path()), shutdown.clone()));
    let kubeconfig = home.path().join("kubeconfig");
    let up = async {
        while !kubeconfig.is_file() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), up).await.expect("the cluster comes up");
    let replay = tokio::task::spawn_blocking(move || {
        Command::new("python3").arg(rows.join("replay.py")).arg(&kubeconfig).args(["-m", "-j", "4"]).output()
    });
    let output = replay.await.expect("the replayer runs").expect("python3 starts");
    shutdown.cancel();
    cluster.await.expect("the cluster ends").expect("the cluster ends well");
    let text = String::from_utf8_lossy(&output.stdout);
    let figures = figures(&text);
    assert!(figures.len() >= STRICT.len(), "{text}");
    for (kind, (passed, all)) in figures {
        let least = if STRICT.contains(&kind.as_str()) { 95 } else { 80 };
        println!("{kind} {passed}/{all}");
        assert!(passed * 100 >= all * least, "{kind}: {passed} of {all} rows hold, {least} % must\n{text}");
    }
    for row in text.lines().filter(|line| line.starts_with("FAIL")) {
        println!("{row}");
    }
}
