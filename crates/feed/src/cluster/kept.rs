//! The last set of routes, in a file that outlives the container: a restart while the API server is away serves at once.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

use super::objects::Texts;

const FILE: &str = "routes.json";

/// Where the set is kept.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    path: PathBuf,
}

impl Kept {
    pub(super) fn in_folder(folder: &Path) -> Self {
        Self {
            path: folder.join(FILE),
        }
    }

    /// What was kept; nothing at a first start.
    pub(super) fn read(&self) -> io::Result<BTreeMap<String, Texts>> {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => Zeroizing::new(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
            Err(error) => return Err(error),
        };
        // Its text may be secret, so its place is all that is said of a fault.
        serde_json::from_str(&text).map_err(|error| {
            let place = format!(
                "no set of routes (line {}, column {})",
                error.line(),
                error.column()
            );
            io::Error::new(io::ErrorKind::InvalidData, place)
        })
    }

    /// Keeps a set in place of the last: all of it or, on an error, what was there.
    pub(super) fn write(&self, texts: &BTreeMap<String, Texts>) -> io::Result<()> {
        let text = Zeroizing::new(serde_json::to_vec(texts)?);
        let new = self.path.with_extension("new");
        // It holds what the Secrets hold.
        let mut file: File = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)?;
        file.write_all(&text)?;
        file.sync_data()?;
        fs::rename(&new, &self.path)
    }
}
