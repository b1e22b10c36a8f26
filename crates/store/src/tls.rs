//! TLS towards a Redis. What stands in files is read again at each connect, so that certificates can be renewed.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use zeroize::Zeroizing;

use crate::StoreConfigError;
use crate::config::StoreFiles;

/// How to speak TLS to one Redis.
pub(crate) struct Tls {
    pub(crate) name: ServerName<'static>,
    trusted: Trusted,
    identity: Option<Identity>,
}

/// Whose certificates count.
enum Trusted {
    /// Those in this file and no others.
    File(PathBuf),
    /// Those of the machine, read once: there are many.
    System(Arc<RootCertStore>),
}

/// Who we are, in PEM.
struct Identity {
    certificate: PathBuf,
    key: PathBuf,
}

impl Tls {
    /// Finds what is wrong with the files now, and not at the first connect.
    pub(crate) fn new(name: ServerName<'static>, files: &StoreFiles) -> Result<Self, StoreConfigError> {
        let trusted = match &files.ca {
            Some(path) => Trusted::File(path.clone()),
            None => Trusted::System(Arc::new(system_roots()?)),
        };
        let identity = match (&files.client_certificate, &files.client_key) {
            (None, None) => None,
            (Some(certificate), Some(key)) => Some(Identity {
                certificate: certificate.clone(),
                key: key.clone(),
            }),
            _ => return Err(StoreConfigError::HalfClientCertificate),
        };
        let this = Self {
            name,
            trusted,
            identity,
        };
        this.config().map(|_| this)
    }

    /// The settings for one connection, from the files as they are.
    pub(crate) fn config(&self) -> Result<Arc<ClientConfig>, StoreConfigError> {
        let provider = CryptoProvider::get_default()
            .cloned()
            .unwrap_or_else(|| Arc::new(aws_lc_rs::default_provider()));
        let roots = match &self.trusted {
            Trusted::File(path) => Arc::new(private_roots(path)?),
            Trusted::System(roots) => Arc::clone(roots),
        };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| StoreConfigError::Tls(Arc::new(error)))?
            .with_root_certificates(roots);
        let config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => builder
                .with_client_auth_cert(identity.certificates()?, identity.key()?)
                .map_err(|error| StoreConfigError::ClientCertificate(Arc::new(error)))?,
        };
        Ok(Arc::new(config))
    }
}

impl Identity {
    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, StoreConfigError> {
        let pem = read("client certificate", &self.certificate)?;
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
        certificates.map_err(|error| StoreConfigError::ClientCertificate(Arc::new(error)))
    }

    fn key(&self) -> Result<PrivateKeyDer<'static>, StoreConfigError> {
        let pem = read("client key", &self.key)?;
        PrivateKeyDer::from_pem_slice(&pem)
            .map_err(|error| StoreConfigError::ClientCertificate(Arc::new(error)))
    }
}

fn read(what: &'static str, path: &Path) -> Result<Zeroizing<Vec<u8>>, StoreConfigError> {
    fs::read(path)
        .map(Zeroizing::new)
        .map_err(|source| StoreConfigError::File { what, source })
}

fn private_roots(path: &Path) -> Result<RootCertStore, StoreConfigError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&read("CA", path)?) {
        let certificate = certificate.map_err(|error| StoreConfigError::Ca(Arc::new(error)))?;
        roots
            .add(certificate)
            .map_err(|error| StoreConfigError::Ca(Arc::new(error)))?;
    }
    if roots.is_empty() {
        return Err(StoreConfigError::NoCertificate);
    }
    Ok(roots)
}

fn system_roots() -> Result<RootCertStore, StoreConfigError> {
    let mut roots = RootCertStore::empty();
    // A machine's bundle may hold a certificate or two that cannot be read; the others count.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(StoreConfigError::NoSystemRoots);
    }
    Ok(roots)
}
