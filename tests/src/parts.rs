//! Where the parts that `tests/setup` got are.

use std::collections::HashMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

/// The path of one part by its name in the `env` file of `tests/setup`, such as `SPLITTOKEN_NODE`. The environment
/// wins over the file, so that any part can be replaced for one run.
pub fn path(name: &str) -> Result<PathBuf> {
    let path = env::var_os(name)
        .map(PathBuf::from)
        .or_else(|| written_by_setup().get(name).cloned())
        .with_context(|| format!("{name} is not known: run tests/setup"))?;
    if !path.exists() {
        bail!(
            "{name} is {}, which does not exist: run tests/setup",
            path.display()
        );
    }
    Ok(path)
}

/// The folder `tests/parts/<name>` of the checkout.
pub fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("parts").join(name)
}

/// A temporary folder that holds the `.mjs` files of `tests/parts/<part>` beside the `node_modules` that `tests/setup`
/// installed (`installed` is that folder's name in the `env` file): the checkout itself never holds `node_modules`.
pub fn node_project(part: &str, installed: &str) -> Result<TempDir> {
    let folder = tempfile::tempdir()?;
    let modules = path(installed)?.join("node_modules");
    std::os::unix::fs::symlink(&modules, folder.path().join("node_modules"))?;
    for entry in fs::read_dir(source(part))? {
        let file = entry?.path();
        if file.extension().is_some_and(|extension| extension == "mjs") {
            fs::copy(&file, folder.path().join(file.file_name().unwrap_or_default()))?;
        }
    }
    Ok(folder)
}

fn written_by_setup() -> &'static HashMap<String, PathBuf> {
    static FILE: OnceLock<HashMap<String, PathBuf>> = OnceLock::new();
    FILE.get_or_init(|| {
        fs::read_to_string(env_file())
            .map(|text| parse(&text))
            .unwrap_or_default()
    })
}

/// `tests/setup` writes one for each checkout, named by its path.
fn env_file() -> PathBuf {
    let cache = env::var_os("XDG_CACHE_HOME")
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".cache")));
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or(Path::new("/"));
    let name = format!("env{}", checkout.display().to_string().replace('/', "%"));
    cache.unwrap_or_default().join("splittoken").join(name)
}

/// Lines of the form `export NAME="value"`; `PATH`, which refers to itself, is of no use here.
fn parse(text: &str) -> HashMap<String, PathBuf> {
    text.lines()
        .filter_map(|line| line.strip_prefix("export ")?.split_once('='))
        .map(|(name, value)| (name.to_owned(), PathBuf::from(value.trim_matches('"'))))
        .collect()
}
