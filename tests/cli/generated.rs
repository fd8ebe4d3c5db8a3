//! Completions and `docs/cli.md` are written from the command line itself; stale ones fail.
//!
//! `DEMOCTL_REGENERATE=1 cargo test --test cli generated` writes them.

use std::{fmt::Write as _, fs, path::Path};

use clap::{Arg, Command, CommandFactory as _};
use clap_complete::{Shell, generate};
use democtl::{cli::Cli, failure::Kind};

fn check(path: &str, wanted: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("DEMOCTL_REGENERATE").is_some() {
        fs::create_dir_all(file.parent().expect("it is in a directory")).expect("the tree can be written");
        fs::write(&file, wanted).expect("the tree can be written");
    }
    let found = fs::read_to_string(&file).unwrap_or_default();
    assert!(found == wanted, "{path} is stale: DEMOCTL_REGENERATE=1 cargo test --test cli generated");
}

#[test]
fn completions_are_current() {
    for (shell, path) in [(Shell::Bash, "democtl.bash"), (Shell::Zsh, "_democtl"), (Shell::Fish, "democtl.fish")] {
        let mut text = Vec::new();
        generate(shell, &mut Cli::command(), "democtl", &mut text);
        let text = String::from_utf8(text).expect("completions are text");
        check(&format!("completions/{shell}/{path}"), &text);
    }
}

#[test]
fn the_reference_is_current() {
    let mut root = Cli::command();
    root.build();
    let mut text = String::from("# The command line\n\n<!-- Generated: see tests/cli/generated.rs -->\n\n");
    let about = root.get_long_about().or_else(|| root.get_about()).expect("the command has a description");
    let _ = writeln!(text, "{about}\n");
    text.push_str("## On every command\n\n");
    options(&root, true, &mut text);
    for command in root.get_subcommands() {
        section(command, "democtl", &mut text);
    }
    variables(&root, &mut text);
    exit_codes(&mut text);
    check("docs/cli.md", &text);
}

fn section(command: &Command, parent: &str, text: &mut String) {
    if command.is_hide_set() || command.get_name() == "help" {
        return;
    }
    let path = format!("{parent} {}", command.get_name());
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let usage = command.clone().render_usage().to_string();
    let _ = writeln!(text, "## `{path}`\n\n{about}.\n\n```text\n{}\n```\n", usage.trim_start_matches("Usage: "));
    options(command, false, text);
    for inner in command.get_subcommands() {
        section(inner, &path, text);
    }
}

/// The arguments of a command: the global ones or its own.
fn options(command: &Command, global: bool, text: &mut String) {
    let own: Vec<_> = command.get_arguments().filter(|arg| arg.is_global_set() == global && named(arg)).collect();
    for arg in &own {
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let defaults: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
        let choices: Vec<_> = arg.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
        let _ = write!(text, "- `{}`: {help}", arg.to_string().trim());
        if arg.get_action().takes_values() && !choices.is_empty() {
            let _ = write!(text, "; one of {}", choices.join(", "));
        }
        if arg.get_action().takes_values() && !defaults.is_empty() {
            let _ = write!(text, "; default {}", defaults.join(" "));
        }
        if let Some(variable) = arg.get_env() {
            let _ = write!(text, "; or `{}`", variable.to_string_lossy());
        }
        text.push('\n');
    }
    if !own.is_empty() {
        text.push('\n');
    }
}

fn named(arg: &Arg) -> bool {
    !arg.is_hide_set() && !matches!(arg.get_id().as_str(), "help" | "version")
}

fn variables(root: &Command, text: &mut String) {
    text.push_str("## Environment variables\n\nA flag wins over its variable.\n\n| variable | means |\n|---|---|\n");
    let mut rows = std::collections::BTreeMap::new();
    let mut commands = vec![root];
    while let Some(command) = commands.pop() {
        commands.extend(command.get_subcommands());
        for arg in command.get_arguments() {
            if let Some(variable) = arg.get_env() {
                rows.insert(variable.to_string_lossy().into_owned(), format!("`{}`", arg.to_string().trim()));
            }
        }
    }
    rows.insert("HOME".to_owned(), "environments are kept in `~/.local/state/democtl`".to_owned());
    rows.insert("XDG_STATE_HOME".to_owned(), "environments are kept in its `democtl` directory".to_owned());
    rows.insert("NO_COLOR".to_owned(), "no colours".to_owned());
    for (variable, means) in rows {
        let _ = writeln!(text, "| `{variable}` | {means} |");
    }
}

fn exit_codes(text: &mut String) {
    text.push_str("\n## Exit codes\n\n| code | means |\n|---|---|\n| 0 | done and passed |\n");
    let mut kinds = Kind::ALL;
    kinds.sort_by_key(|kind| kind.exit_code());
    for kind in kinds {
        let _ = writeln!(text, "| {} | {} |", kind.exit_code(), kind.meaning());
    }
}
