//! TLS towards clients: which certificate a client is shown.

use std::{collections::BTreeMap, fmt, sync::Arc, time::SystemTime};

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
use x509_cert::{der::Decode as _, time::Validity};
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

/// A certificate and whom it is for.
#[derive(Debug)]
struct Shown {
    key: Arc<CertifiedKey>,
    names: Vec<String>,
}

impl Shown {
    /// What is wrong is said of the file it is wrong with; it quotes nothing of the key.
    fn new(pem: &CertificatePem, provider: &CryptoProvider) -> Result<Self, String> {
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

    fn validity(&self) -> Option<Validity> {
        let certificate = x509_cert::Certificate::from_der(self.key.cert.first()?).ok()?;
        Some(*certificate.tbs_certificate().validity())
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
mod tests {
    use std::time::Duration;

    use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, SignatureAlgorithm};

    use super::*;

    fn pem(algorithm: &'static SignatureAlgorithm, names: &[&str]) -> CertificatePem {
        pem_of(
            CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap(),
            algorithm,
        )
    }

    fn pem_of(params: CertificateParams, algorithm: &'static SignatureAlgorithm) -> CertificatePem {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        CertificatePem {
            chain: certificate.pem().into_bytes(),
            key: Zeroizing::new(key.serialize_pem().into_bytes()),
        }
    }

    fn found(name: &str, pem: Result<CertificatePem, String>) -> FoundCertificate {
        FoundCertificate {
            name: name.to_owned(),
            pem,
        }
    }

    fn good() -> CertificatePem {
        pem(&PKCS_ECDSA_P256_SHA256, &["a.example"])
    }

    fn by_name(pems: &[CertificatePem]) -> ByName {
        let provider = aws_lc_rs::default_provider();
        let shown = pems
            .iter()
            .map(|pem| Arc::new(Shown::new(pem, &provider).unwrap()));
        ByName(shown.collect())
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
            all.0
                .iter()
                .position(|shown| std::ptr::eq(Arc::as_ptr(shown), chosen))
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
        assert_eq!(
            Certificates::new(&[], None).unwrap_err().reason(),
            "no_certificate"
        );
        let edits: [(fn(&mut CertificatePem), &str); 8] = [
            (|pem| pem.chain.clear(), "tls.crt holds no certificate in PEM"),
            (|pem| pem.key.clear(), "tls.key holds no key in PEM"),
            (
                |pem| pem.chain = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_vec(),
                "tls.crt: ",
            ),
            (
                |pem| std::mem::swap(&mut pem.chain, &mut *pem.key),
                "tls.crt holds a private key and no certificate",
            ),
            (
                |pem| pem.key = pem.chain.clone().into(),
                "tls.key holds a certificate and no key",
            ),
            (|pem| pem.key = good().key, "tls.key is not the key of tls.crt"),
            (
                |pem| {
                    let text = String::from_utf8_lossy(&pem.key);
                    let text = text.replace(" PRIVATE KEY", " ENCRYPTED PRIVATE KEY");
                    pem.key = text.into_bytes().into();
                },
                "tls.key is encrypted; a key without a passphrase is needed",
            ),
            (
                |pem| {
                    let text = "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\
                        DEK-Info: AES-256-CBC,00\n\nAAAA\n-----END EC PRIVATE KEY-----\n";
                    pem.key = text.as_bytes().to_vec().into();
                },
                "tls.key is encrypted; a key without a passphrase is needed",
            ),
        ];
        for (edit, says) in edits {
            let mut broken = good();
            edit(&mut broken);
            let secret = String::from_utf8_lossy(&broken.key).into_owned();
            let error = Certificates::new(&[found("a", Ok(broken))], None).unwrap_err();
            let text = error.to_string();
            assert_eq!(error.reason(), "certificate");
            let all = format!("of a cannot be used: {says}");
            assert!(text.contains(&all), "{text}");
            assert!(secret.is_empty() || !text.contains(&secret), "{text}");
        }
    }

    #[test]
    fn one_that_cannot_be_used_stays_as_it_was_and_hurts_no_other() {
        let gone = || Err("it is gone".to_owned());
        let take = |a, b, former: Option<&Certificates>| {
            Certificates::new(&[found("x/a", a), found("x/b", b)], former).unwrap()
        };
        let says = |certificates: &Certificates| {
            let states = certificates.states.iter();
            let said = states.map(|state| {
                (
                    state.short_name().to_owned(),
                    state.is_shown(),
                    state.problem.is_some(),
                )
            });
            said.collect::<Vec<_>>()
        };
        let state = |name: &str, is_shown, is_failing| (name.to_owned(), is_shown, is_failing);
        let first = take(gone(), Ok(good()), None);
        assert_eq!(says(&first), [state("a", false, true), state("b", true, false)]);
        let second = take(Ok(good()), gone(), Some(&first));
        assert_eq!(says(&second), [state("a", true, false), state("b", true, true)]);
        assert!(second.states[1].shows_what(&first.states[1]));
        let third = take(gone(), Ok(good()), Some(&second));
        assert_eq!(says(&third), [state("a", true, true), state("b", true, false)]);
        assert!(third.states[0].shows_what(&second.states[0]));
        assert!(!third.states[1].shows_what(&second.states[1]));
        // Both at once, which at a start would be the end.
        let fourth = take(gone(), gone(), Some(&third));
        assert_eq!(says(&fourth), [state("a", true, true), state("b", true, true)]);
        let error = Certificates::new(&[found("x/a", gone()), found("x/b", gone())], None).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("of x/a cannot") && text.contains("of x/b cannot"),
            "{text}"
        );
    }

    #[test]
    fn two_of_one_name_are_refused() {
        let both = |a, b| Certificates::new(&[found(a, Ok(good())), found(b, Ok(good()))], None);
        assert!(both("z/c1", "z/c2").is_ok());
        for (a, b) in [("c1", "z/c1"), ("c1", "c1/"), ("/x/c1", "/y/c1//")] {
            let error = both(a, b).unwrap_err();
            assert_eq!(error.reason(), "same_name");
            let text = error.to_string();
            assert!(
                text.contains(&format!("{a} and {b} have")) && text.contains("\"c1\""),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_not_valid_now_says_so() {
        let mut params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
        (params.not_before, params.not_after) =
            (rcgen::date_time_ymd(2020, 1, 1), rcgen::date_time_ymd(2021, 1, 1));
        let pem = pem_of(params, &PKCS_ECDSA_P256_SHA256);
        let certificates = Certificates::new(&[found("a", Ok(pem))], None).unwrap();
        let at =
            |seconds| certificates.states[0].untimely(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        // `date -u -d 2020-01-01 +%s`, and of 2021.
        let (begin, end) = (1_577_836_800, 1_609_459_200);
        assert_eq!(
            at(begin - 1).as_deref(),
            Some("is not valid before 2020-01-01T00:00:00Z")
        );
        assert_eq!(at(begin), None);
        assert_eq!(at(end), None);
        assert_eq!(at(end + 1).as_deref(), Some("ended at 2021-01-01T00:00:00Z"));
    }
}
