//! The engine as a process of its own, so that its CPU and memory can be measured beside k6's (`tests/engines/compare.py`).
//!
//! `engine BASE_URL < test.json` runs a test and prints its result; `engine --script < test.json` prints the k6 script.

use std::io::{Write as _, stdin, stdout};

use democtl_core::{render::k6, suite::Test};
use democtl_loadgen::{Options, run};
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let target = std::env::args().nth(1).ok_or("usage: engine BASE_URL|--script < test.json")?;
    let test: Test = serde_json::from_reader(stdin().lock())?;
    let output = if target == "--script" {
        k6::script(&test, 1.0)
    } else {
        let cancel = CancellationToken::new();
        let options = Options { base_url: target, speed: 1.0, seed: 1, progress: None, cancel };
        serde_json::to_string(&run(&test, options).await?)?
    };
    writeln!(stdout(), "{output}")?;
    Ok(())
}
