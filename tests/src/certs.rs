//! A private certificate authority, made at run time.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};

/// A certificate authority that nobody trusts who was not told to.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A certificate and its key, in PEM.
#[derive(Debug, Clone)]
pub struct Certified {
    /// The certificate.
    pub pem: String,
    /// The private key, PKCS #8.
    pub key_pem: String,
}

impl Authority {
    /// A new authority with a new key.
    pub fn new() -> Result<Self> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "Split Token test authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let pem = params.self_signed(&key)?.pem();
        Ok(Self {
            issuer: Issuer::new(params, key),
            pem,
        })
    }

    /// The authority's own certificate, for `caCertificateRefs` and `--store-ca`.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A certificate for a server with these DNS names or IP addresses.
    pub fn certify(&self, names: &[&str]) -> Result<Certified> {
        self.certify_for(names, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// The same for a server, valid only in these years, the last one left out.
    pub fn certify_between(&self, names: &[&str], years: Range<i32>) -> Result<Certified> {
        self.sign(names, ExtendedKeyUsagePurpose::ServerAuth, |params| {
            params.not_before = date_time_ymd(years.start, 1, 1);
            params.not_after = date_time_ymd(years.end, 1, 1);
        })
    }

    /// A certificate for a client.
    pub fn certify_client(&self, name: &str) -> Result<Certified> {
        self.certify_for(&[name], ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn certify_for(&self, names: &[&str], purpose: ExtendedKeyUsagePurpose) -> Result<Certified> {
        self.sign(names, purpose, |_| {})
    }

    fn sign(
        &self,
        names: &[&str],
        purpose: ExtendedKeyUsagePurpose,
        edit: impl FnOnce(&mut CertificateParams),
    ) -> Result<Certified> {
        let key = KeyPair::generate()?;
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names)?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![purpose];
        edit(&mut params);
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Certified {
            pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        })
    }

    /// Writes the authority's certificate to `folder`/ca.pem.
    pub fn write(&self, folder: &Path) -> Result<PathBuf> {
        let path = folder.join("ca.pem");
        fs::write(&path, &self.pem)?;
        Ok(path)
    }
}

impl Certified {
    /// Writes `folder`/server.pem and `folder`/server.key; gives both paths.
    pub fn write(&self, folder: &Path) -> Result<(PathBuf, PathBuf)> {
        let (certificate, key) = (folder.join("server.pem"), folder.join("server.key"));
        fs::write(&certificate, &self.pem)?;
        fs::write(&key, &self.key_pem)?;
        Ok((certificate, key))
    }

    /// Writes `folder`/tls.crt and `folder`/tls.key, as a mounted Secret holds them.
    pub fn mount(&self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder)?;
        fs::write(folder.join("tls.crt"), &self.pem)?;
        fs::write(folder.join("tls.key"), &self.key_pem)?;
        Ok(())
    }

    /// The settings of a TLS server with this certificate that agrees to one of these protocols and lets in only clients
    /// with a certificate of `clients`; and the names that it is asked for.
    pub fn server(
        &self,
        protocols: &[&str],
        clients: Option<&Authority>,
    ) -> Result<(Arc<ServerConfig>, Asked)> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let certificate = CertificateDer::from_pem_slice(self.pem.as_bytes())?;
        let key = PrivateKeyDer::from_pem_slice(self.key_pem.as_bytes())?;
        let key = CertifiedKey::from_der(vec![certificate], key, &provider)?;
        let asked = Asked::default();
        let noting = Noting {
            key: Arc::new(key),
            asked: asked.clone(),
        };
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?;
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots.add(CertificateDer::from_pem_slice(authority.pem.as_bytes())?)?;
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build()?)
            }
        };
        let mut config = builder.with_cert_resolver(Arc::new(noting));
        let protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec());
        config.alpn_protocols = protocols.collect();
        Ok((Arc::new(config), asked))
    }

    /// The settings of a TLS server with this certificate, HTTP/1.1 only.
    pub fn server_config(&self) -> Result<Arc<ServerConfig>> {
        let certificate = CertificateDer::from_pem_slice(self.pem.as_bytes())?;
        let key = PrivateKeyDer::from_pem_slice(self.key_pem.as_bytes())?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)?;
        Ok(Arc::new(config))
    }
}

/// The names that a server was asked for: one for each handshake.
#[derive(Debug, Clone, Default)]
pub struct Asked(Arc<Mutex<Vec<Option<String>>>>);

impl Asked {
    /// All so far.
    pub fn all(&self) -> Vec<Option<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Shows its one certificate and notes what it was asked for.
#[derive(Debug)]
struct Noting {
    key: Arc<CertifiedKey>,
    asked: Asked,
}

impl ResolvesServerCert for Noting {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(str::to_owned);
        self.asked
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(name);
        Some(Arc::clone(&self.key))
    }
}
