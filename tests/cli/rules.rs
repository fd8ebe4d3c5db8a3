//! Where each scaling rule lives: the table of docs/architecture.md against the sources.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A row of the table.
#[derive(Debug)]
struct Rule {
    definition: String,
    home: PathBuf,
    callers: Vec<PathBuf>,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// `core/sim/scaling.rs` as the file that it stands for.
fn source(short: &str) -> PathBuf {
    let (name, rest) = short.split_once('/').expect("a crate and a path");
    root().join("crates").join(name).join("src").join(rest)
}

fn rules() -> Vec<Rule> {
    let text = fs::read_to_string(root().join("docs/architecture.md")).expect("it is in the repository");
    let (_, table) = text.split_once("### Where each scaling rule lives").expect("it has the table");
    let rows =
        table.lines().skip_while(|line| !line.starts_with("|---")).skip(1).take_while(|line| line.starts_with('|'));
    let row = |line: &str| {
        let cells: Vec<Vec<&str>> = line.split('|').map(|cell| cell.split('`').skip(1).step_by(2).collect()).collect();
        Rule {
            definition: cells[2][0].to_owned(),
            home: root().join("crates/core/src/autoscale").join(cells[3][0]),
            callers: cells[4].iter().map(|short| source(short)).collect(),
        }
    };
    rows.map(row).collect()
}

/// All Rust sources below a directory.
fn sources(dir: &Path, all: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("a directory of the repository") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, all);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            all.push(path);
        }
    }
}

#[test]
fn each_scaling_rule_lives_once_and_is_asked_where_the_map_says() {
    let mut all = Vec::new();
    sources(&root().join("src"), &mut all);
    for entry in fs::read_dir(root().join("crates")).expect("the crates") {
        sources(&entry.expect("an entry").path().join("src"), &mut all);
    }
    let rules = rules();
    assert!(rules.len() >= 10, "{rules:?}");
    for rule in rules {
        let defines = |path: &&PathBuf| {
            let text = fs::read_to_string(path).expect("a source");
            text.lines().any(|line| line.trim_start().starts_with(&rule.definition))
        };
        let homes: Vec<&PathBuf> = all.iter().filter(defines).collect();
        assert_eq!(homes, [&rule.home], "`{}`", rule.definition);
        let name = rule.definition.rsplit(' ').next().unwrap_or_default();
        let name = name.split('(').next().unwrap_or_default();
        for caller in &rule.callers {
            let text = fs::read_to_string(caller).expect("a source that the table names");
            let asks = text.lines().any(|line| {
                !line.contains(&rule.definition)
                    && (line.contains(&format!("{name}("))
                        || line.contains(&format!("{name}::"))
                        || line.contains(&format!("({name})")))
            });
            assert!(asks, "{} does not ask `{name}`", caller.display());
        }
    }
}
