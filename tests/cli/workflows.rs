//! Pipelines and documents: they are YAML, hold no secret, always clean up, and every `democtl` line in them is one that
//! this binary takes.

use std::{fs, path::PathBuf};

use clap::Parser as _;
use democtl::cli::Cli;
use serde_yaml_ng::Value;

fn tree(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The pipelines of a directory, by their paths.
fn pipelines(dir: &str) -> Vec<(String, String, Value)> {
    let entries =
        fs::read_dir(tree(dir)).expect("it is in the tree").map(|entry| entry.expect("it can be read").path());
    let read = |path: PathBuf| {
        let name = path.display().to_string();
        let text = fs::read_to_string(&path).expect("it is text");
        let value = serde_yaml_ng::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        (name, text, value)
    };
    entries.map(read).collect()
}

/// All texts below a value that are scripts.
fn scripts(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Mapping(entries) => {
            for (key, value) in entries {
                match (key.as_str(), value.as_str()) {
                    (Some("run" | "script" | "inlineScript"), Some(script)) => found.push(script.to_owned()),
                    _ => scripts(value, found),
                }
            }
        }
        Value::Sequence(values) => values.iter().for_each(|value| scripts(value, found)),
        _ => {}
    }
}

/// The calls of democtl in a script, as words; variables stay as they are written.
fn calls(script: &str) -> Vec<Vec<String>> {
    let script = script.replace("\\\n", " ");
    let lines = script.lines().map(|line| line.split(" #").next().unwrap_or_default());
    let commands = lines.flat_map(|line| line.split("&&").flat_map(|part| part.split('|')).map(str::trim));
    let words = |command: &str| command.split_whitespace().map(|word| word.replace('"', "")).collect::<Vec<_>>();
    commands.map(words).filter(|words| words.first().is_some_and(|word| word == "democtl")).collect()
}

/// Refuses a call that the command line does not take; yields how many there were.
fn check(name: &str, script: &str) -> usize {
    let calls = calls(script);
    for call in &calls {
        if let Err(error) = Cli::try_parse_from(call) {
            panic!("{name}: {}\n{error}", call.join(" "));
        }
    }
    calls.len()
}

#[test]
fn every_call_in_a_pipeline_is_taken() {
    let mut total = 0;
    for (name, text, value) in [pipelines(".github/workflows"), pipelines(".azure-pipelines")].concat() {
        let mut found = Vec::new();
        scripts(&value, &mut found);
        let calls: usize = found.iter().map(|script| check(&name, script)).sum();
        let written = text.lines().filter(|line| line.trim_start().trim_start_matches("run: ").starts_with("democtl "));
        assert_eq!(calls, written.count(), "{name}: a call was not looked at");
        total += calls;
        for secret in ["secrets.", "CLIENT_SECRET", "client-secret"] {
            assert!(!text.contains(secret), "{name} holds {secret}");
        }
    }
    assert!(total >= 8, "{total} calls");
}

#[test]
fn every_call_in_the_documents_of_azure_is_taken() {
    for document in ["docs/azure.md", "docs/ci.md"] {
        let text = fs::read_to_string(tree(document)).expect("it is in the tree");
        let blocks = text.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
        let calls: usize = blocks.map(|block| check(document, block)).sum();
        assert!(calls > 0, "{document}");
    }
}

#[test]
fn a_job_of_github_logs_in_by_its_own_token_and_cleans_up_whatever_happens() {
    for (name, _, workflow) in pipelines(".github/workflows") {
        assert_eq!(workflow["permissions"]["id-token"], "write", "{name}");
        assert_eq!(workflow["concurrency"]["cancel-in-progress"], false, "{name}: one that is cut off costs money");
        for (_, job) in workflow["jobs"].as_mapping().expect("jobs") {
            let steps = job["steps"].as_sequence().expect("steps");
            let calls = |step: &Value, words: &str| step["run"].as_str().is_some_and(|script| script.contains(words));
            let makes = steps.iter().position(|step| calls(step, "democtl setup"));
            let Some(makes) = makes else { continue };
            let cleans =
                steps.iter().position(|step| calls(step, "democtl cleanup --all --yes")).expect("it cleans up");
            assert!(makes < cleans && steps[cleans]["if"] == "always()", "{name}");
            assert!(job["timeout-minutes"].is_number(), "{name}");
        }
    }
}

#[test]
fn a_job_of_azure_pipelines_cleans_up_whatever_happens() {
    fn jobs<'a>(value: &'a Value, found: &mut Vec<&'a Value>) {
        match value {
            Value::Mapping(entries) if entries.contains_key("deployment") || entries.contains_key("job") => {
                found.push(value);
            }
            Value::Mapping(entries) => entries.values().for_each(|value| jobs(value, found)),
            Value::Sequence(values) => values.iter().for_each(|value| jobs(value, found)),
            _ => {}
        }
    }
    let mut makers = 0;
    for (name, _, pipeline) in pipelines(".azure-pipelines") {
        let mut found = Vec::new();
        jobs(&pipeline, &mut found);
        for job in found {
            let steps = &job["strategy"]["runOnce"]["deploy"]["steps"];
            let steps = job["steps"].as_sequence().or(steps.as_sequence()).expect("steps");
            let calls = |step: &Value, words: &str| {
                let mut all = Vec::new();
                scripts(step, &mut all);
                all.iter().any(|script| script.contains(words))
            };
            let Some(makes) = steps.iter().position(|step| calls(step, "democtl setup")) else { continue };
            makers += 1;
            let cleans =
                steps.iter().position(|step| calls(step, "democtl cleanup --all --yes")).expect("it cleans up");
            assert!(makes < cleans && steps[cleans]["condition"] == "always()", "{name}");
            assert!(job["timeoutInMinutes"].is_number(), "{name}");
            assert!(
                job["cancelTimeoutInMinutes"].as_u64().is_some_and(|minutes| minutes >= 30),
                "{name}: it takes long"
            );
        }
    }
    assert_eq!(makers, 1);
}
