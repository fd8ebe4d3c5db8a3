//! The programs that a target runs: which version is found, which is needed, where to get it.

use std::{ffi::OsStr, io, path::Path, process::Stdio, time::Duration};

use futures::future::join_all;

use crate::{
    load::k6,
    target::azure::{preflight::Check, terraform},
};

/// How long a program may take to tell its version; the Azure CLI is slow.
const PATIENCE: Duration = Duration::from_secs(30);

/// A program, and what is asked of it.
#[derive(Debug)]
pub(super) struct Tool<'a> {
    program: &'a OsStr,
    /// What makes it tell its version.
    arguments: &'static [&'static str],
    /// First version that serves, and the first that does not any more.
    oldest: (u32, u32),
    too_new: Option<(u32, u32)>,
    /// What does not work without it; none: setup needs it.
    only_for: Option<&'static str>,
    /// Where to get it.
    remedy: &'static str,
}

/// The programs of a target.
pub(super) fn needed(terraform: &Path, azure: bool, by_cli: bool) -> Vec<Tool<'_>> {
    let mut tools = vec![
        Tool {
            program: OsStr::new("kubectl"),
            arguments: &["version", "--client", "--output=json"],
            // The first that takes tokens as `democtl kube-token` gives them.
            oldest: (1, 22),
            too_new: None,
            only_for: Some("to look into the cluster by hand"),
            remedy: "https://kubernetes.io/docs/tasks/tools/",
        },
        Tool {
            program: OsStr::new(k6::PROGRAM),
            arguments: &["version"],
            oldest: (1, 0),
            too_new: None,
            only_for: Some("for --engine k6"),
            remedy: "https://grafana.com/docs/k6/latest/set-up/install-k6/",
        },
    ];
    if by_cli && azure {
        tools.insert(
            0,
            Tool {
                program: OsStr::new("az"),
                arguments: &["version", "--output=json"],
                // The first that tells when a token expires in a form that is the same everywhere.
                oldest: (2, 54),
                too_new: None,
                only_for: None,
                remedy: "https://learn.microsoft.com/cli/azure/install-azure-cli, or another login of docs/azure.md",
            },
        );
    }
    if azure {
        tools.insert(
            0,
            Tool {
                program: terraform.as_os_str(),
                arguments: &["version", "-json"],
                oldest: terraform::OLDEST,
                too_new: Some((terraform::TOO_NEW, 0)),
                only_for: None,
                remedy: "https://developer.hashicorp.com/terraform/install",
            },
        );
    }
    tools
}

/// Asks all of them at once.
pub(super) async fn look(tools: &[Tool<'_>]) -> Vec<Check> {
    join_all(tools.iter().map(Tool::check)).await
}

impl Tool<'_> {
    async fn check(&self) -> Check {
        let name = self.program.to_string_lossy();
        let needed = match (self.too_new, self.only_for) {
            (Some((major, minor)), _) => format!("{} up to below {major}.{minor}", self.oldest()),
            (None, _) => format!("{} or later", self.oldest()),
        };
        let (problem, found) = match self.version().await {
            Ok(Some(found)) if self.serves(found) => {
                return Check::ok(&name, format!("{}.{} (needed: {needed})", found.0, found.1));
            }
            Ok(Some((major, minor))) => ("the wrong version", format!("{major}.{minor} (needed: {needed})")),
            Ok(None) => ("an unknown version", format!("it does not tell its version (needed: {needed})")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => ("", format!("not found (needed: {needed})")),
            Err(error) => ("", format!("does not run: {error} (needed: {needed})")),
        };
        match self.only_for {
            Some(what) => Check::warning(&name, format!("{found}, {what} only"), self.remedy),
            None if problem.is_empty() => Check::refused(&name, found, format!("install it: {}", self.remedy)),
            None => Check::refused(&name, found, format!("{problem}: {}", self.remedy)),
        }
    }

    fn oldest(&self) -> String {
        format!("{}.{}", self.oldest.0, self.oldest.1)
    }

    fn serves(&self, version: (u32, u32)) -> bool {
        version >= self.oldest && self.too_new.is_none_or(|end| version < end)
    }

    async fn version(&self) -> io::Result<Option<(u32, u32)>> {
        let running = tokio::process::Command::new(self.program)
            .args(self.arguments)
            .env("CHECKPOINT_DISABLE", "1")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(PATIENCE, running)
            .await
            .map_err(|_| io::Error::other(format!("no answer within {} s", PATIENCE.as_secs())))??;
        if !output.status.success() {
            return Err(io::Error::other(format!("it ends with {}", output.status)));
        }
        Ok(terraform::first_version(&String::from_utf8_lossy(&output.stdout)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_by_the_cli_needs_the_cli_and_only_azure_needs_terraform() {
        let names = |azure, by_cli| {
            let tools = needed(Path::new("terraform"), azure, by_cli);
            tools.iter().map(|tool| tool.program.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(names(false, true), "kubectl k6");
        assert_eq!(names(true, true), "terraform az kubectl k6");
        assert_eq!(names(true, false), "terraform kubectl k6");
    }
}
