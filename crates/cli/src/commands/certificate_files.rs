//! The certificates of the TLS listener in their folders: read at the start, and again whenever they change.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context;
use splittoken_gateway::{CertificatePem, Certificates, SharedCertificates};
use zeroize::Zeroizing;

use super::followed;

/// What a mounted Secret of the type `kubernetes.io/tls` calls them.
const CHAIN: &str = "tls.crt";
const KEY: &str = "tls.key";

/// All that the files say.
type Texts = Vec<(Vec<u8>, Zeroizing<Vec<u8>>)>;

/// The certificates as they are now.
pub(super) fn certificates(folders: &[PathBuf]) -> anyhow::Result<SharedCertificates> {
    let (_, certificates) = read(folders)?;
    Ok(SharedCertificates::new(Arc::new(certificates).into()))
}

/// Takes over what the files say whenever that changes. What cannot be shown changes nothing, and is said once.
pub(super) async fn follow(folders: Vec<PathBuf>, shared: SharedCertificates) {
    let mut is_first = true;
    let take_over = |certificates| {
        // The first reading brings what is in use already.
        if !std::mem::take(&mut is_first) {
            tracing::info!("the certificates of the TLS listener changed");
        }
        shared.store(Arc::new(certificates));
    };
    followed::follow("what the TLS listener shows", move || read(&folders), take_over).await;
}

fn read(folders: &[PathBuf]) -> anyhow::Result<(Texts, Certificates)> {
    let pems: anyhow::Result<Vec<CertificatePem>> = folders.iter().map(|folder| pem(folder)).collect();
    let pems = pems?;
    let certificates = Certificates::new(&pems).context("--tls-certificates")?;
    let texts = pems.into_iter().map(|pem| (pem.chain, pem.key)).collect();
    Ok((texts, certificates))
}

fn pem(folder: &Path) -> anyhow::Result<CertificatePem> {
    let read = |name: &str| {
        let path = folder.join(name);
        fs::read(&path).with_context(|| format!("cannot read --tls-certificates {}", path.display()))
    };
    Ok(CertificatePem {
        name: folder.display().to_string(),
        chain: read(CHAIN)?,
        key: Zeroizing::new(read(KEY)?),
    })
}
