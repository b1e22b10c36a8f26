//! The certificates of the TLS listener in their folders: read at the start, and again whenever they change.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use anyhow::{Context, ensure};
use splittoken_gateway::{
    CertificatePem, CertificateState, Certificates, FoundCertificate, SharedCertificates,
};
use zeroize::Zeroizing;

use super::followed;

/// All that the files of each folder say, or why it cannot be read.
type Texts = Vec<Result<(Vec<u8>, Zeroizing<Vec<u8>>), String>>;

/// The certificates as they are now. A folder that is not there is a slip of whoever wrote the options; what is wrong
/// within one may come of a bad Secret, and is no reason to show none of the others.
pub(super) fn certificates(folders: &[PathBuf]) -> anyhow::Result<SharedCertificates> {
    for folder in folders {
        let metadata = fs::metadata(folder)
            .with_context(|| format!("cannot read --tls-certificates {}", folder.display()))?;
        ensure!(
            metadata.is_dir(),
            "--tls-certificates {} is not a folder",
            folder.display()
        );
    }
    let certificates = Certificates::new(&find(folders), None).context("--tls-certificates")?;
    Ok(SharedCertificates::new(Arc::new(certificates).into()))
}

/// Takes over what the files say whenever that changes. What cannot be shown stays as it was, and is said once.
pub(super) async fn follow(folders: Vec<PathBuf>, shared: SharedCertificates) {
    let current = SharedCertificates::clone(&shared);
    let read = move || {
        let found = find(&folders);
        let certificates = Certificates::new(&found, Some(&current.load()))?;
        Ok((texts(found), certificates))
    };
    let take_over = |certificates| {
        let certificates = Arc::new(certificates);
        let former = shared.swap(Arc::clone(&certificates));
        tell(&certificates, Some(&former));
    };
    followed::follow("what the TLS listener shows", read, take_over).await;
}

/// Logs what is new since `former`, and all that is wrong where there is none.
pub(super) fn tell(certificates: &Certificates, former: Option<&Certificates>) {
    for (place, state) in certificates.states().iter().enumerate() {
        let former = former.and_then(|former| former.states().get(place));
        tell_problem(state, former);
        tell_change(state, former);
    }
}

fn tell_problem(state: &CertificateState, former: Option<&CertificateState>) {
    let before = former.and_then(CertificateState::problem);
    match state.problem() {
        now if now == before => {}
        None => tracing::info!(certificate = state.name(), "a certificate can be used again"),
        Some(error) if state.is_shown() => {
            tracing::error!(error, "a certificate of the TLS listener stays as it was");
        }
        Some(error) => tracing::error!(error, "a certificate of the TLS listener is left out"),
    }
}

fn tell_change(state: &CertificateState, former: Option<&CertificateState>) {
    if former.is_some_and(|former| state.shows_what(former)) {
        return;
    }
    if former.is_some() {
        tracing::info!(
            certificate = state.name(),
            "a certificate of the TLS listener changed"
        );
    }
    if let Some(why) = state.untimely(SystemTime::now()) {
        tracing::warn!(
            certificate = state.name(),
            "clients are shown a certificate that {why}"
        );
    }
}

fn find(folders: &[PathBuf]) -> Vec<FoundCertificate> {
    let found = folders.iter().map(|folder| FoundCertificate {
        name: folder.display().to_string(),
        pem: pem(folder),
    });
    found.collect()
}

fn texts(found: Vec<FoundCertificate>) -> Texts {
    let pems = found.into_iter().map(|found| found.pem);
    pems.map(|pem| pem.map(|pem| (pem.chain, pem.key))).collect()
}

fn pem(folder: &Path) -> Result<CertificatePem, String> {
    let read =
        |name: &str| fs::read(folder.join(name)).map_err(|error| format!("{name} cannot be read: {error}"));
    Ok(CertificatePem {
        chain: read(CertificatePem::CHAIN)?,
        key: Zeroizing::new(read(CertificatePem::KEY)?),
    })
}
