//! A run directory as `run-tests` leaves it.

use std::{fs, path::PathBuf};

use serde_json::json;

use crate::environment::TestEnvironment;

/// A run directory made from a recorded run of `m3demo2` with at most three web pods.
pub(crate) fn recorded(environment: &TestEnvironment) -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let data = root.join("crates/core/tests/data/explain/m3demo2-max-3");
    let run = environment.path("run");
    fs::create_dir(&run).expect("the directory is ours");
    for file in ["events.jsonl", "tests.json"] {
        fs::copy(data.join(file), run.join(file)).expect("it is in the repository");
    }
    let text = fs::read_to_string(root.join("profiles/m3demo2.toml")).expect("it is in the repository");
    let request = json!({
        "profile": "m3demo2",
        "sources": { "m3demo2": text },
        "sets": [["workload.web.scaling.max", "3"]],
        "target": "local",
        "speed": 15.0,
        "seed": 1,
    });
    fs::write(run.join("environment.json"), request.to_string()).expect("the directory is ours");
    run
}
