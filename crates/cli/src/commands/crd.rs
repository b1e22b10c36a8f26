use std::fs;

use anyhow::Context;
use splittoken_api::crds;

use super::print;
use crate::arguments::CrdArguments;

/// Prints the custom resource definitions, or writes each to a file of its own.
pub(super) fn run(arguments: &CrdArguments) -> anyhow::Result<()> {
    let files = crds()?;
    let Some(folder) = &arguments.out else {
        let texts: Vec<&str> = files.iter().map(|file| file.yaml.as_str()).collect();
        return print(&texts.join("---\n"));
    };
    fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    for file in &files {
        let path = folder.join(&file.file_name);
        fs::write(&path, &file.yaml).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
