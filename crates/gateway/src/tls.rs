//! TLS towards clients: which certificate a client is shown.

mod shown;

use std::{collections::BTreeMap, fmt, sync::Arc, time::SystemTime};

use arc_swap::ArcSwap;
use rustls::{
    ServerConfig, SignatureScheme,
    crypto::{CryptoProvider, aws_lc_rs},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use thiserror::Error;
use zeroize::Zeroizing;

use self::shown::Shown;

/// What a TLS listener shows. Whoever holds it may put others in their place: handshakes from then on use those, and
/// connections that there are go on.
pub type SharedCertificates = Arc<ArcSwap<Certificates>>;

/// What is spoken under TLS, the most wanted first (RFC 7301).
const PROTOCOLS: [&[u8]; 2] = [HTTP_2, b"http/1.1"];
/// HTTP/2 among them.
pub(crate) const HTTP_2: &[u8] = b"h2";

/// A certificate with its chain, and its key.
pub struct CertificatePem {
    /// The certificate and those that lead to its authority, in PEM.
    pub chain: Vec<u8>,
    /// The private key, in PEM.
    pub key: Zeroizing<Vec<u8>>,
}

impl CertificatePem {
    /// What a mounted Secret of the type `kubernetes.io/tls` calls the chain, and so do errors.
    pub const CHAIN: &str = "tls.crt";
    /// What it calls the key.
    pub const KEY: &str = "tls.key";
}

impl fmt::Debug for CertificatePem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CertificatePem")
    }
}

/// What is where a certificate should be.
#[derive(Debug)]
pub struct FoundCertificate {
    /// What it is called in errors and logs: the path of its folder.
    pub name: String,
    /// What was read there, or why nothing was.
    pub pem: Result<CertificatePem, String>,
}

/// Why certificates cannot be shown.
#[derive(Debug, Error)]
pub enum CertificateError {
    /// There is none.
    #[error("there is no certificate")]
    None,
    /// There is none that can be used. Of each it says what is wrong; it quotes nothing of a key.
    #[error("{0}")]
    Unusable(String),
    /// Metrics could not tell two of them apart.
    #[error("{first} and {second} have one name in metrics, {name:?}: give their folders different names")]
    SameName {
        /// One of them.
        first: String,
        /// The other.
        second: String,
        /// The last part of both.
        name: String,
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
            Self::Unusable(_) => "certificate",
            Self::SameName { .. } => "same_name",
            Self::Tls(_) => "tls",
        }
    }
}

/// Certificates that can be shown, and those that could not be taken over.
#[derive(Debug)]
pub struct Certificates {
    config: Arc<ServerConfig>,
    states: Vec<CertificateState>,
}

impl Certificates {
    /// The first one that can be used is shown where none has the name that a client asks for, or it asks for none. One
    /// that cannot be used stays as it is in `former`, where it has the same place; it is left out if it is in neither.
    pub fn new(found: &[FoundCertificate], former: Option<&Self>) -> Result<Self, CertificateError> {
        are_distinct(found)?;
        let provider = CryptoProvider::get_default()
            .cloned()
            .unwrap_or_else(|| Arc::new(aws_lc_rs::default_provider()));
        let states: Vec<_> = found
            .iter()
            .enumerate()
            .map(|(place, found)| {
                let former = former.and_then(|former| former.states.get(place));
                CertificateState::new(found, former, &provider)
            })
            .collect();
        let shown: Vec<_> = states.iter().filter_map(|state| state.shown.clone()).collect();
        if shown.is_empty() {
            return Err(none_usable(&states));
        }
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(ByName(shown)));
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        Ok(Self {
            config: Arc::new(config),
            states,
        })
    }

    /// Each, in the order in which they were given.
    pub fn states(&self) -> &[CertificateState] {
        &self.states
    }

    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }
}

/// Refuses two of one short name.
fn are_distinct(found: &[FoundCertificate]) -> Result<(), CertificateError> {
    let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
    for FoundCertificate { name, .. } in found {
        let short = short_name(name);
        if let Some(first) = seen.insert(short, name) {
            return Err(CertificateError::SameName {
                first: first.to_owned(),
                second: name.clone(),
                name: short.to_owned(),
            });
        }
    }
    Ok(())
}

fn none_usable(states: &[CertificateState]) -> CertificateError {
    let problems: Vec<_> = states.iter().filter_map(CertificateState::problem).collect();
    if problems.is_empty() {
        return CertificateError::None;
    }
    CertificateError::Unusable(problems.join("; "))
}

/// The last part of a name that is a path.
fn short_name(name: &str) -> &str {
    let name = name.trim_end_matches('/');
    name.rsplit('/').next().unwrap_or(name)
}

/// One certificate of a listener: what is shown, and what is wrong with what its files hold now.
#[derive(Debug)]
pub struct CertificateState {
    name: String,
    shown: Option<Arc<Shown>>,
    problem: Option<String>,
}

impl CertificateState {
    fn new(found: &FoundCertificate, former: Option<&Self>, provider: &CryptoProvider) -> Self {
        let name = found.name.clone();
        let pem = found.pem.as_ref().map_err(Clone::clone);
        match pem.and_then(|pem| Shown::new(pem, provider)) {
            Ok(shown) => Self {
                name,
                shown: Some(Arc::new(shown)),
                problem: None,
            },
            Err(why) => Self {
                problem: Some(format!(
                    "the certificate or the key of {name} cannot be used: {why}"
                )),
                shown: former.and_then(|former| former.shown.clone()),
                name,
            },
        }
    }

    /// What it is called in errors and logs.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it is called in metrics.
    pub(crate) fn short_name(&self) -> &str {
        short_name(&self.name)
    }

    /// Why what its files hold now is not taken over; names the certificate.
    pub fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// Whether clients are shown it, if in a former form.
    pub fn is_shown(&self) -> bool {
        self.shown.is_some()
    }

    /// Whether clients are shown the same as there.
    pub fn shows_what(&self, other: &Self) -> bool {
        let chain = |state: &Self| state.shown.as_ref().map(|shown| shown.key.cert.clone());
        chain(self) == chain(other)
    }

    /// Why no client can take it at this time: it has ended, or is not valid yet.
    pub fn untimely(&self, now: SystemTime) -> Option<String> {
        let validity = self.shown.as_ref()?.validity()?;
        let (begin, end) = (validity.not_before, validity.not_after);
        let now = now.duration_since(SystemTime::UNIX_EPOCH).ok()?;
        if now < begin.to_unix_duration() {
            return Some(format!("is not valid before {begin}"));
        }
        (now > end.to_unix_duration()).then(|| format!("ended at {end}"))
    }

    /// When it ends, in seconds since 1970, where that can be read.
    pub(crate) fn end(&self) -> Option<i64> {
        let end = self.shown.as_ref()?.validity()?.not_after;
        i64::try_from(end.to_unix_duration().as_secs()).ok()
    }
}

/// Chooses by the name that a client asks for (RFC 6066 §3), among those that it can verify.
#[derive(Debug)]
struct ByName(Vec<Arc<Shown>>);

impl ByName {
    fn choose(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<&Shown> {
        let fitting = || self.0.iter().map(Arc::as_ref).filter(|shown| shown.fits(schemes));
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
mod tests;
