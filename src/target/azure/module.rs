//! The Terraform module as files: the one in this binary, or one of the user's own that takes the same variables.

use std::{fs, io, path::Path};

use serde_json::Value;

use crate::environment::write_whole;

/// `terraform/` of the repository, as it was when this binary was built.
const FILES: [(&str, &str); 4] = [
    ("main.tf", include_str!("../../../terraform/main.tf")),
    ("outputs.tf", include_str!("../../../terraform/outputs.tf")),
    ("variables.tf", include_str!("../../../terraform/variables.tf")),
    ("versions.tf", include_str!("../../../terraform/versions.tf")),
];

/// Writes the module and its variables into `dir`; stale `.tf` files go.
pub(super) fn write(dir: &Path, own: Option<&Path>, variables: &Value) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    let files: Vec<(String, Vec<u8>)> = match own {
        None => FILES.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect(),
        Some(own) => read(own)?,
    };
    for entry in fs::read_dir(dir)?.filter_map(Result::ok) {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".tf") && !files.iter().any(|(known, _)| *known == name) {
            fs::remove_file(entry.path())?;
        }
    }
    for (name, content) in &files {
        write_whole(&dir.join(name), content)?;
    }
    write_whole(&dir.join("terraform.tfvars.json"), &serde_json::to_vec_pretty(variables)?)
}

fn read(own: &Path) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(own)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        // What the module reads beside its own text, but neither a state nor what `init` made there.
        if entry.file_type()?.is_file()
            && !name.starts_with('.')
            && !name.contains(".tfstate")
            && !name.contains(".tfvars")
        {
            files.push((name, fs::read(entry.path())?));
        }
    }
    if !files.iter().any(|(name, _)| name.ends_with(".tf")) {
        return Err(io::Error::new(io::ErrorKind::NotFound, "it holds no .tf file"));
    }
    Ok(files)
}
