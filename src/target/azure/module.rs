//! The Terraform module as files: the one in this binary, or one of the user's own that takes the same variables.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::environment::write_whole;

/// `terraform/` of the repository, as it was when this binary was built.
const FILES: [(&str, &str); 7] = [
    ("aks.tf", include_str!("../../../terraform/aks.tf")),
    ("main.tf", include_str!("../../../terraform/main.tf")),
    ("monitoring.tf", include_str!("../../../terraform/monitoring.tf")),
    ("outputs.tf", include_str!("../../../terraform/outputs.tf")),
    ("pools.tf", include_str!("../../../terraform/pools.tf")),
    ("variables.tf", include_str!("../../../terraform/variables.tf")),
    ("versions.tf", include_str!("../../../terraform/versions.tf")),
];

/// A file of a module: its path in it, its text, whether it may be run.
struct Part {
    path: PathBuf,
    content: Vec<u8>,
    mode: Option<fs::Permissions>,
}

/// Writes the module and its variables into `dir`; stale `.tf` files go.
pub(super) fn write(dir: &Path, own: Option<&Path>, variables: &Value) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    let mut parts = Vec::new();
    match own {
        None => {
            let part = |(name, text): (&str, &str)| Part { path: name.into(), content: text.into(), mode: None };
            parts.extend(FILES.into_iter().map(part));
        }
        Some(own) => read(own, Path::new(""), &mut parts)?,
    }
    if !parts.iter().any(|part| part.path.parent() == Some(Path::new("")) && is_text(&part.path)) {
        return Err(io::Error::new(io::ErrorKind::NotFound, "it holds no .tf file"));
    }
    remove_stale(dir, Path::new(""), &parts)?;
    for part in &parts {
        let to = dir.join(&part.path);
        fs::create_dir_all(to.parent().unwrap_or(dir))?;
        write_whole(&to, &part.content)?;
        if let Some(mode) = &part.mode {
            fs::set_permissions(&to, mode.clone())?;
        }
    }
    write_whole(&dir.join("terraform.tfvars.json"), &serde_json::to_vec_pretty(variables)?)
}

fn is_text(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.ends_with(".tf") || name.ends_with(".tf.json")
}

/// What Terraform, git or democtl keeps beside a module and is none of it: without the file that says where the state lies
/// the next command would take the state to be empty.
fn is_kept_beside(name: &str) -> bool {
    matches!(name, ".terraform" | ".git" | super::state::OVERRIDE)
        || name.contains(".tfstate")
        || name.contains(".tfvars")
}

/// Reads a module with the modules and files below it; its lock of providers too.
fn read(root: &Path, below: &Path, parts: &mut Vec<Part>) -> io::Result<()> {
    for entry in fs::read_dir(root.join(below))? {
        let entry = entry?;
        let name = entry.file_name();
        let path = below.join(&name);
        if is_kept_beside(&name.to_string_lossy()) {
            continue;
        }
        // A link to a file is followed, one to a directory is not: it may lead back.
        if entry.file_type()?.is_dir() {
            read(root, &path, parts)?;
            continue;
        }
        let metadata = fs::metadata(entry.path())?;
        if metadata.is_file() {
            parts.push(Part { path, content: fs::read(entry.path())?, mode: Some(metadata.permissions()) });
        }
    }
    Ok(())
}

fn remove_stale(dir: &Path, below: &Path, parts: &[Part]) -> io::Result<()> {
    for entry in fs::read_dir(dir.join(below))? {
        let entry = entry?;
        let path = below.join(entry.file_name());
        if is_kept_beside(&entry.file_name().to_string_lossy()) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            remove_stale(dir, &path, parts)?;
        } else if is_text(&path) && !parts.iter().any(|part| part.path == path) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;

    fn files(dir: &Path, below: &Path) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for entry in fs::read_dir(dir.join(below)).expect("it is there").filter_map(Result::ok) {
            let path = below.join(entry.file_name());
            if entry.file_type().expect("it is there").is_dir() {
                found.extend(files(dir, &path));
            } else {
                assert!(found.insert(path.display().to_string()));
            }
        }
        found
    }

    #[test]
    fn a_module_comes_with_all_that_it_reads_and_without_its_state() -> io::Result<()> {
        let (own, to) = (tempfile::tempdir()?, tempfile::tempdir()?);
        for path in [
            "main.tf",
            ".terraform.lock.hcl",
            "run.sh",
            "pools/main.tf",
            "pools/files/a.json",
            "terraform.tfstate",
            "terraform.tfstate.backup",
            "terraform.tfstate.d/x/terraform.tfstate",
            "my.auto.tfvars",
            ".terraform/providers/x",
            ".git/config",
        ] {
            let path = own.path().join(path);
            fs::create_dir_all(path.parent().unwrap_or(own.path()))?;
            fs::write(path, "x")?;
        }
        fs::create_dir_all(to.path().join("gone"))?;
        for stale in ["gone/old.tf", "adopt.tf"] {
            fs::write(to.path().join(stale), "old")?;
        }
        for kept in ["terraform.tfstate", "democtl_state_override.tf"] {
            fs::write(to.path().join(kept), "{}")?;
        }
        write(to.path(), Some(own.path()), &json!({ "a": 1 }))?;
        let wanted = [
            ".terraform.lock.hcl",
            "democtl_state_override.tf",
            "main.tf",
            "pools/files/a.json",
            "pools/main.tf",
            "run.sh",
            "terraform.tfstate",
            "terraform.tfvars.json",
        ];
        assert_eq!(files(to.path(), Path::new("")), wanted.map(str::to_owned).into());
        assert_eq!(fs::read_to_string(to.path().join("terraform.tfstate"))?, "{}", "the environment's own");
        let empty = tempfile::tempdir()?;
        let error = write(to.path(), Some(empty.path()), &json!({})).expect_err("it is no module");
        assert_eq!(error.to_string(), "it holds no .tf file");
        Ok(())
    }
}
