//! The keyring in its file: read at the start, and again whenever it changes. A mounted Secret changes by itself.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail};
use splittoken_gateway::SharedKeyring;
use splittoken_token::Keyring;
use tokio::{task::spawn_blocking, time::sleep};
use zeroize::Zeroizing;

use crate::arguments::StoreArguments;

/// Kubernetes itself takes up to a minute to bring a changed Secret here.
const POLL: Duration = Duration::from_secs(2);

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
    let mut last = None;
    loop {
        let file = path.clone();
        let found = spawn_blocking(move || read(&file)).await;
        let state = match &found {
            Ok(Ok((text, _))) => Ok(text.clone()),
            Ok(Err(error)) => Err(format!("{error:#}")),
            Err(panic) => Err(panic.to_string()),
        };
        if last.as_ref() != Some(&state) {
            if let Ok(Ok((_, keyring))) = found {
                take_over(keyring, last.is_none(), &shared);
            } else {
                tracing::error!(error = state.as_ref().err(), "the keyring stays as it was");
            }
            last = Some(state);
        }
        sleep(POLL).await;
    }
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
