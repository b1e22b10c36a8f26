//! The last set of routes, in a file that outlives the container: a restart while the API server is away serves at once.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, BufWriter},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Instant,
};

use tokio::{sync::watch, task::spawn_blocking, time::sleep};
use zeroize::Zeroizing;

use super::objects::Texts;

const FILE: &str = "routes.json";
/// Writing takes at most one part in so many of the time: ten thousand routes are some ten megabytes, at every edit.
const SHARE: u32 = 10;

/// Where the set is kept.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    path: PathBuf,
}

/// Keeps what is sent, off the way of whoever sends it; of sets that come faster than they can be written, the last.
pub(super) fn keeping(kept: Kept) -> watch::Sender<BTreeMap<String, Texts>> {
    let (sender, mut sets) = watch::channel(BTreeMap::new());
    tokio::spawn(async move {
        while sets.changed().await.is_ok() {
            let (kept, texts) = (kept.clone(), sets.borrow_and_update().clone());
            let start = Instant::now();
            if let Ok(Err(error)) = spawn_blocking(move || kept.write(&texts)).await {
                tracing::warn!(%error, "the routes cannot be kept for a restart");
            }
            sleep(start.elapsed() * (SHARE - 1)).await;
        }
    });
    sender
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
        let new = self.path.with_extension("new");
        // It holds what the Secrets hold.
        let file: File = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)?;
        let mut writer = BufWriter::new(file);
        serde_json::to_writer(&mut writer, texts)?;
        writer.into_inner()?.sync_data()?;
        fs::rename(&new, &self.path)
    }
}
