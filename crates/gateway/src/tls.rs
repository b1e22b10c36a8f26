//! TLS towards clients: which certificate a client is shown.

use std::{fmt, sync::Arc};

use arc_swap::ArcSwap;
use rustls::{
    ServerConfig, SignatureScheme,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use thiserror::Error;
use webpki::EndEntityCert;
use x509_cert::der::Decode as _;
use zeroize::Zeroizing;

/// What a TLS listener shows. Whoever holds it may put others in their place: handshakes from then on use those, and
/// connections that there are go on.
pub type SharedCertificates = Arc<ArcSwap<Certificates>>;

/// What is spoken under TLS, the most wanted first (RFC 7301).
const PROTOCOLS: [&[u8]; 2] = [HTTP_2, b"http/1.1"];
/// HTTP/2 among them.
pub(crate) const HTTP_2: &[u8] = b"h2";

/// A certificate with its chain, and its key.
pub struct CertificatePem {
    /// What it is called in errors and logs.
    pub name: String,
    /// The certificate and those that lead to its authority, in PEM.
    pub chain: Vec<u8>,
    /// The private key, in PEM.
    pub key: Zeroizing<Vec<u8>>,
}

impl CertificatePem {
    /// The last part of a name that is a path.
    fn short_name(&self) -> &str {
        let name = self.name.trim_end_matches('/');
        name.rsplit('/').next().unwrap_or(name)
    }
}

impl fmt::Debug for CertificatePem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CertificatePem({})", self.name)
    }
}

/// Why certificates cannot be shown.
#[derive(Debug, Error)]
pub enum CertificateError {
    /// There is none.
    #[error("there is no certificate")]
    None,
    /// One is not in PEM, is no certificate, or its key is not its own.
    #[error("the certificate or the key of {name} cannot be used: {why}")]
    Unusable {
        /// Which.
        name: String,
        /// What is wrong; quotes nothing of the key.
        why: String,
    },
    /// The library refuses its settings.
    #[error("TLS cannot be set up")]
    Tls(#[from] rustls::Error),
}

impl CertificateError {
    /// A closed set of words for metrics and logs.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::None => "no_certificate",
            Self::Unusable { .. } => "certificate",
            Self::Tls(_) => "tls",
        }
    }
}

/// Certificates that can be shown.
#[derive(Debug)]
pub struct Certificates {
    config: Arc<ServerConfig>,
    /// The name of each and when it ends, in seconds since 1970, where that can be read.
    ends: Vec<(String, i64)>,
}

impl Certificates {
    /// The first one is shown where none has the name that a client asks for, or it asks for none.
    pub fn new(pems: &[CertificatePem]) -> Result<Self, CertificateError> {
        if pems.is_empty() {
            return Err(CertificateError::None);
        }
        let provider = CryptoProvider::get_default()
            .cloned()
            .unwrap_or_else(|| Arc::new(aws_lc_rs::default_provider()));
        let shown: Result<Vec<_>, _> = pems.iter().map(|pem| Shown::new(pem, &provider)).collect();
        let shown = shown?;
        let ends = shown.iter().zip(pems).filter_map(|(shown, pem)| {
            let end = end(shown.key.cert.first()?)?;
            Some((pem.short_name().to_owned(), end))
        });
        let ends = ends.collect();
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(ByName(shown)));
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        Ok(Self {
            config: Arc::new(config),
            ends,
        })
    }

    /// The short name of each and when it ends.
    pub(crate) fn ends(&self) -> impl Iterator<Item = (&str, i64)> {
        self.ends.iter().map(|(name, end)| (name.as_str(), *end))
    }

    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }
}

/// When a certificate ends.
fn end(certificate: &CertificateDer<'_>) -> Option<i64> {
    let certificate = x509_cert::Certificate::from_der(certificate).ok()?;
    let end = certificate.tbs_certificate().validity().not_after;
    i64::try_from(end.to_unix_duration().as_secs()).ok()
}

/// A certificate and whom it is for.
#[derive(Debug)]
struct Shown {
    key: Arc<CertifiedKey>,
    names: Vec<String>,
}

impl Shown {
    fn new(pem: &CertificatePem, provider: &CryptoProvider) -> Result<Self, CertificateError> {
        let unusable = |why: String| CertificateError::Unusable {
            name: pem.name.clone(),
            why,
        };
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem.chain).collect();
        let chain = chain.map_err(|error| unusable(error.to_string()))?;
        let first = chain
            .first()
            .ok_or_else(|| unusable("no certificate in PEM".to_owned()))?;
        let names = names(first).map_err(|error| unusable(error.to_string()))?;
        let key =
            PrivateKeyDer::from_pem_slice(&pem.key).map_err(|_| unusable("no key in PEM".to_owned()))?;
        let key =
            CertifiedKey::from_der(chain, key, provider).map_err(|error| unusable(error.to_string()))?;
        Ok(Self {
            key: Arc::new(key),
            names,
        })
    }

    fn fits(&self, schemes: &[SignatureScheme]) -> bool {
        self.key.key.choose_scheme(schemes).is_some()
    }

    fn has(&self, name: &str) -> bool {
        self.names.iter().any(|own| own.eq_ignore_ascii_case(name))
    }

    /// Whether one of its names is `*.` and the rest of this one (RFC 9525 §6.3: one label).
    fn covers(&self, name: &str) -> bool {
        let parent = name.split_once('.').map(|(_, parent)| parent);
        let wildcards = self.names.iter().filter_map(|own| own.strip_prefix("*."));
        parent.is_some_and(|parent| wildcards.into_iter().any(|own| own.eq_ignore_ascii_case(parent)))
    }
}

/// The DNS names of a certificate, wildcards among them.
fn names(certificate: &CertificateDer<'_>) -> Result<Vec<String>, webpki::Error> {
    let certificate = EndEntityCert::try_from(certificate)?;
    Ok(certificate.valid_dns_names().map(str::to_owned).collect())
}

/// Chooses by the name that a client asks for (RFC 6066 §3), among those that it can verify.
#[derive(Debug)]
struct ByName(Vec<Shown>);

impl ByName {
    fn choose(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<&Shown> {
        let fitting = || self.0.iter().filter(|shown| shown.fits(schemes));
        let named = name.and_then(|name| {
            let exact = fitting().find(|shown| shown.has(name));
            exact.or_else(|| fitting().find(|shown| shown.covers(name)))
        });
        named.or_else(|| fitting().next())
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let shown = self.choose(hello.server_name(), hello.signature_schemes())?;
        Some(Arc::clone(&shown.key))
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, SignatureAlgorithm};

    use super::*;

    fn pem(algorithm: &'static SignatureAlgorithm, names: &[&str]) -> CertificatePem {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let certificate = CertificateParams::new(names.clone())
            .unwrap()
            .self_signed(&key)
            .unwrap();
        CertificatePem {
            name: names.join(" "),
            chain: certificate.pem().into_bytes(),
            key: Zeroizing::new(key.serialize_pem().into_bytes()),
        }
    }

    fn by_name(pems: &[CertificatePem]) -> ByName {
        let provider = aws_lc_rs::default_provider();
        ByName(
            pems.iter()
                .map(|pem| Shown::new(pem, &provider).unwrap())
                .collect(),
        )
    }

    #[test]
    fn a_client_is_shown_the_certificate_of_the_name_that_it_asks_for() {
        let ec = &PKCS_ECDSA_P256_SHA256;
        let all = by_name(&[
            pem(ec, &["first.example"]),
            pem(ec, &["*.a.example"]),
            pem(ec, &["b.a.example", "c.example"]),
            pem(&PKCS_ED25519, &["first.example"]),
        ]);
        let schemes = [SignatureScheme::ECDSA_NISTP256_SHA256];
        let place = |name, schemes: &[_]| {
            let chosen = all.choose(name, schemes)?;
            all.0.iter().position(|shown| std::ptr::eq(shown, chosen))
        };
        for (name, expected) in [
            (None, 0),
            (Some("unknown.example"), 0),
            (Some("first.example"), 0),
            (Some("x.a.example"), 1),
            (Some("b.a.example"), 2),
            (Some("C.Example"), 2),
            (Some("x.y.a.example"), 0),
            (Some("a.example"), 0),
            (Some(""), 0),
        ] {
            assert_eq!(place(name, &schemes), Some(expected), "{name:?}");
        }
        // What a client could not verify is of no use to it.
        let ed25519 = [SignatureScheme::ED25519];
        assert_eq!(place(Some("first.example"), &ed25519), Some(3));
        assert_eq!(place(Some("c.example"), &ed25519), Some(3));
        assert_eq!(place(None, &[SignatureScheme::RSA_PSS_SHA256]), None);
    }

    #[test]
    fn what_cannot_be_shown_is_named() {
        let good = || pem(&PKCS_ECDSA_P256_SHA256, &["a.example"]);
        assert_eq!(Certificates::new(&[]).unwrap_err().reason(), "no_certificate");
        assert!(Certificates::new(&[good()]).is_ok());
        let edits: [fn(&mut CertificatePem); 5] = [
            |pem| pem.chain.clear(),
            |pem| pem.key.clear(),
            |pem| pem.chain = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_vec(),
            |pem| std::mem::swap(&mut pem.chain, &mut *pem.key),
            |pem| pem.key = self::pem(&PKCS_ECDSA_P256_SHA256, &["b.example"]).key,
        ];
        for edit in edits {
            let mut broken = good();
            edit(&mut broken);
            let secret = String::from_utf8_lossy(&broken.key).into_owned();
            let error = Certificates::new(&[good(), broken]).unwrap_err();
            let text = error.to_string();
            assert_eq!(error.reason(), "certificate");
            assert!(text.contains("a.example cannot be used"), "{text}");
            assert!(secret.is_empty() || !text.contains(&secret), "{text}");
        }
    }
}
