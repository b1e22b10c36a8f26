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
        let new = self.unfinished();
        let written = write_all(&new, texts).and_then(|()| fs::rename(&new, &self.path));
        // A place that is full must not stay full of what is of no use.
        if written.is_err() {
            self.tidy();
        }
        written
    }

    /// Removes what a process that ended in the midst of writing has left.
    pub(super) fn tidy(&self) {
        match fs::remove_file(self.unfinished()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, "an unfinished set of routes cannot be removed");
            }
            _ => {}
        }
    }

    fn unfinished(&self) -> PathBuf {
        self.path.with_extension("new")
    }
}

fn write_all(path: &Path, texts: &BTreeMap<String, Texts>) -> io::Result<()> {
    // It holds what the Secrets hold.
    let file: File = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    let mut writer = BufWriter::new(file);
    serde_json::to_writer(&mut writer, texts)?;
    writer.into_inner()?.sync_data()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_unfinished_stays() {
        let folder = tempfile::tempdir().unwrap();
        let kept = Kept::in_folder(folder.path());
        fs::write(kept.unfinished(), "half").unwrap();
        kept.tidy();
        assert!(!kept.unfinished().exists(), "of an earlier process");
        kept.tidy();

        // What cannot take the place of the last set goes, and the last set stays.
        fs::create_dir(&kept.path).unwrap();
        kept.write(&BTreeMap::new()).unwrap_err();
        assert!(!kept.unfinished().exists() && kept.path.exists());
        fs::remove_dir(&kept.path).unwrap();
        kept.write(&BTreeMap::new()).unwrap();
        assert!(!kept.unfinished().exists() && kept.path.exists());
    }
}
