//! The last JWK Set of each issuer, in a folder that outlives the container: a gateway that starts anew while a provider
//! is down still verifies the tokens that are there.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use aws_lc_rs::digest;
use splittoken_token::MAX_JWKS_BYTES;

use crate::{ProviderSettings, rotation::KEEP};

/// What the names of the files begin with.
const PREFIX: &str = "keys-";

/// Where JWK Sets are kept. They are public; whoever could write them could vouch for tokens, so the folder is the
/// gateway's own.
#[derive(Clone, Debug)]
pub struct KeptKeys {
    folder: PathBuf,
}

/// A JWK Set that another process has fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// As the issuer published it.
    pub document: Vec<u8>,
    /// How long ago.
    pub age: Duration,
}

/// What an archive will have done.
pub type Archiving<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Where the last JWK Sets lie for gateways that start on another machine. It must be as hard to write to as a token is
/// to forge.
pub trait KeyArchive: fmt::Debug + Send + Sync {
    /// What lies there for a source of keys, if anything does.
    fn read<'a>(&'a self, source: &'a str) -> Archiving<'a, Option<Kept>>;

    /// Puts a JWK Set there that was fetched just now. Says whether that worked.
    fn write<'a>(&'a self, source: &'a str, document: &'a [u8]) -> Archiving<'a, bool>;
}

/// Where keys outlive the process, if anywhere.
#[derive(Clone, Debug, Default)]
pub struct Keepers {
    /// On this machine.
    pub folder: Option<KeptKeys>,
    /// Beyond it.
    pub archive: Option<Arc<dyn KeyArchive>>,
}

impl KeptKeys {
    /// Keeps them in this folder, and forgets those there that are too old to be used.
    pub fn in_folder(folder: &Path) -> Self {
        let kept = Self {
            folder: folder.to_owned(),
        };
        if let Err(error) = kept.sweep() {
            tracing::warn!(%error, "old keys cannot be looked through");
        }
        kept
    }

    /// What was kept for an issuer with exactly this source of keys; `None` where there is nothing, or nothing young
    /// enough.
    pub(crate) fn read(&self, settings: &ProviderSettings) -> Option<Kept> {
        let path = self.path(settings);
        let age = age(&path).ok().filter(|age| *age < KEEP)?;
        let document = fs::read(path)
            .ok()
            .filter(|document| document.len() <= MAX_JWKS_BYTES)?;
        Some(Kept { document, age })
    }

    /// Keeps a JWK Set that was fetched just now.
    pub(crate) fn write(&self, settings: &ProviderSettings, document: &[u8]) -> io::Result<()> {
        let path = self.path(settings);
        let new = path.with_extension("new");
        fs::write(&new, document)?;
        fs::rename(new, path)
    }

    /// Named by the source, so that keys never vouch for an issuer of other settings.
    fn path(&self, settings: &ProviderSettings) -> PathBuf {
        let hash = digest::digest(&digest::SHA256, settings.source().as_bytes());
        let bytes = hash.as_ref().iter();
        self.folder
            .join(bytes.fold(PREFIX.to_owned(), |name, byte| format!("{name}{byte:02x}")))
    }

    fn sweep(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            let is_ours = path
                .file_name()
                .is_some_and(|name| name.as_encoded_bytes().starts_with(PREFIX.as_bytes()));
            if is_ours && age(&path)? >= KEEP {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

/// A clock that was set back makes a file young, not old.
fn age(path: &Path) -> io::Result<Duration> {
    let modified = fs::metadata(path)?.modified()?;
    Ok(SystemTime::now().duration_since(modified).unwrap_or_default())
}
