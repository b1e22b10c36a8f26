//! The keyring in its file: read at the start, and again whenever it changes. A mounted Secret changes by itself.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, bail};
use splittoken_gateway::SharedKeyring;
use splittoken_token::Keyring;
use zeroize::Zeroizing;

use super::followed;
use crate::arguments::StoreArguments;

/// The keyring from its file, or a random one where nothing outlives the process.
pub(super) fn keyring(file: Option<&Path>, store: &StoreArguments) -> anyhow::Result<SharedKeyring> {
    let keyring = match file {
        Some(path) => read(path)?.1,
        None if store.url == "memory" => Keyring::generate()?,
        None => {
            bail!("--keyring is required with Redis; make one with: splittoken keyring new > keyring.json")
        }
    };
    Ok(SharedKeyring::new(Arc::new(keyring).into()))
}

/// Takes over what the file says whenever that changes. What is no keyring changes nothing, and is said once.
pub(super) async fn follow(path: PathBuf, shared: SharedKeyring) {
    let mut is_first = true;
    let take_over = |keyring| take_over(keyring, std::mem::take(&mut is_first), &shared);
    followed::follow("the keyring", move || read(&path), take_over).await;
}

/// The first reading brings what is in use already.
fn take_over(keyring: Keyring, is_first: bool, shared: &SharedKeyring) {
    if !is_first {
        let mut ids: Vec<u8> = keyring.kids().collect();
        ids.sort_unstable();
        tracing::info!(write = keyring.write_kid(), ?ids, "the keyring changed");
    }
    shared.store(Arc::new(keyring));
}

fn read(path: &Path) -> anyhow::Result<(Zeroizing<String>, Keyring)> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read --keyring {}", path.display()))?;
    let text = Zeroizing::new(text);
    let keyring = Keyring::parse(&text).with_context(|| format!("--keyring {}", path.display()))?;
    Ok((text, keyring))
}
