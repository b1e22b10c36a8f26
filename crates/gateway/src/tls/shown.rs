//! A certificate as it is read from its files, and what is wrong with them.

use std::{fmt, sync::Arc};

use rustls::{
    SignatureScheme,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};
use webpki::EndEntityCert;
use x509_cert::{der::Decode as _, time::Validity};

use super::CertificatePem;

/// A certificate and whom it is for.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) key: Arc<CertifiedKey>,
    names: Vec<String>,
}

impl Shown {
    /// What is wrong is said of the file it is wrong with; it quotes nothing of the key.
    pub(super) fn new(pem: &CertificatePem, provider: &CryptoProvider) -> Result<Self, String> {
        let chain = chain(&pem.chain)?;
        let first = chain.first().ok_or_else(|| no_certificate(&pem.chain))?;
        let names = names(first).map_err(|error| in_chain(&error))?;
        let key = PrivateKeyDer::from_pem_slice(&pem.key).map_err(|_| no_key(&pem.key))?;
        let key = CertifiedKey::from_der(chain, key, provider).map_err(|error| not_its_key(&error))?;
        Ok(Self {
            key: Arc::new(key),
            names,
        })
    }

    pub(super) fn validity(&self) -> Option<Validity> {
        let certificate = x509_cert::Certificate::from_der(self.key.cert.first()?).ok()?;
        Some(*certificate.tbs_certificate().validity())
    }

    pub(super) fn fits(&self, schemes: &[SignatureScheme]) -> bool {
        self.key.key.choose_scheme(schemes).is_some()
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.names.iter().any(|own| own.eq_ignore_ascii_case(name))
    }

    /// Whether one of its names is `*.` and the rest of this one (RFC 9525 §6.3: one label).
    pub(super) fn covers(&self, name: &str) -> bool {
        let parent = name.split_once('.').map(|(_, parent)| parent);
        let wildcards = self.names.iter().filter_map(|own| own.strip_prefix("*."));
        parent.is_some_and(|parent| wildcards.into_iter().any(|own| own.eq_ignore_ascii_case(parent)))
    }
}

fn chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    chain.map_err(|error| in_chain(&error))
}

fn in_chain(error: &dyn fmt::Display) -> String {
    format!("{}: {error}", CertificatePem::CHAIN)
}

/// The two files are easily swapped.
fn no_certificate(pem: &[u8]) -> String {
    let what = if holds(pem, "PRIVATE KEY-----") {
        "a private key and no certificate"
    } else {
        "no certificate in PEM"
    };
    format!("{} holds {what}", CertificatePem::CHAIN)
}

fn no_key(pem: &[u8]) -> String {
    let file = CertificatePem::KEY;
    // PKCS #8, and what OpenSSL wrote before it.
    if holds(pem, "BEGIN ENCRYPTED PRIVATE KEY") || holds(pem, "Proc-Type: 4,ENCRYPTED") {
        return format!("{file} is encrypted; a key without a passphrase is needed");
    }
    let what = if holds(pem, "BEGIN CERTIFICATE") {
        "a certificate and no key"
    } else {
        "no key in PEM"
    };
    format!("{file} holds {what}")
}

fn not_its_key(error: &rustls::Error) -> String {
    let (chain, file) = (CertificatePem::CHAIN, CertificatePem::KEY);
    match error {
        rustls::Error::InconsistentKeys(_) => format!("{file} is not the key of {chain}"),
        error => format!("{file}: {error}"),
    }
}

fn holds(pem: &[u8], mark: &str) -> bool {
    pem.windows(mark.len()).any(|window| window == mark.as_bytes())
}

/// The DNS names of a certificate, wildcards among them.
fn names(certificate: &CertificateDer<'_>) -> Result<Vec<String>, webpki::Error> {
    let certificate = EndEntityCert::try_from(certificate)?;
    Ok(certificate.valid_dns_names().map(str::to_owned).collect())
}
