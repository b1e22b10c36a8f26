//! TLS towards upstreams: whose certificates count, and what the gateway shows of itself. There is no way not to verify.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    hash::{Hash, Hasher},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use splittoken_routing::{BackendProtocol, BackendTls, ClientCertificate};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::tls::HTTP_2;

const HTTP_1: &[u8] = b"http/1.1";

/// Why a backend's TLS cannot be set up.
#[derive(Clone, Debug, Error)]
pub(crate) enum TlsError {
    /// No DNS name and no IP address.
    #[error("{0:?} is no name for a certificate")]
    ServerName(String),
    /// Certificate authorities that are none.
    #[error("its certificate authorities cannot be used: {0}")]
    Authorities(String),
    /// The machine has none.
    #[error("there are no certificate authorities on this machine")]
    NoSystemRoots,
    /// The route names one that did not come along.
    #[error("the client certificate {0} is not there")]
    NoClientCertificate(String),
    /// No certificate, no key, or a key of another one. Quotes nothing of it.
    #[error("the client certificate cannot be used: {0}")]
    ClientCertificate(String),
    /// The library refuses its settings.
    #[error("TLS cannot be set up: {0}")]
    Settings(rustls::Error),
}

/// All that one TLS connection may have in common with another.
#[derive(Clone, PartialEq, Eq)]
struct Settings {
    server_name: String,
    ca_certificates: Vec<String>,
    client_certificate: Option<ClientCertificate>,
    protocol: BackendProtocol,
}

// Of what is no secret.
impl Hash for Settings {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.server_name.hash(state);
        self.ca_certificates.hash(state);
        self.protocol.hash(state);
    }
}

/// How TLS is spoken with some backends: set up once and shared by all workers.
pub(crate) struct Tls {
    /// Tells it from every other one of this process, former ones included.
    pub(super) number: u64,
    name: ServerName<'static>,
    config: Arc<ClientConfig>,
    /// The same for HTTP/1.1 alone.
    config_http1: Arc<ClientConfig>,
}

/// The TLS of a configuration's backends. Those with the same settings have the same.
#[derive(Default)]
pub(crate) struct TlsBook(HashMap<Settings, Result<Arc<Tls>, TlsError>>);

impl TlsBook {
    /// The TLS of a backend, from `before` where it was there already.
    pub(crate) fn set_up(
        &mut self,
        before: &Self,
        tls: &BackendTls,
        protocol: BackendProtocol,
        shown: &BTreeMap<String, ClientCertificate>,
    ) -> Result<Arc<Tls>, TlsError> {
        let client_certificate = match &tls.client_certificate {
            None => None,
            Some(name) => {
                let found = shown.get(name).cloned();
                Some(found.ok_or_else(|| TlsError::NoClientCertificate(name.clone()))?)
            }
        };
        let settings = Settings {
            server_name: tls.server_name.clone(),
            ca_certificates: tls.ca_certificates.clone(),
            client_certificate,
            protocol,
        };
        let made = self.0.entry(settings).or_insert_with_key(|settings| {
            let known = before.0.get(settings).cloned();
            known.unwrap_or_else(|| Tls::new(settings).map(Arc::new))
        });
        made.clone()
    }
}

impl Tls {
    fn new(settings: &Settings) -> Result<Self, TlsError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = ServerName::try_from(settings.server_name.clone())
            .map_err(|_| TlsError::ServerName(settings.server_name.clone()))?;
        let config = config(settings)?;
        let mut config_http1 = config.clone();
        config_http1.alpn_protocols = vec![HTTP_1.to_vec()];
        Ok(Self {
            number: NEXT.fetch_add(1, Relaxed),
            name,
            config: Arc::new(config),
            config_http1: Arc::new(config_http1),
        })
    }

    /// The handshake. Fails where the certificate is not for the name, or from nobody who counts.
    pub(super) async fn connect(&self, stream: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
        let connector = TlsConnector::from(Arc::clone(&self.config));
        connector.connect(self.name.clone(), stream).await
    }

    /// The same, to speak HTTP/1.1.
    pub(super) async fn connect_http1(&self, stream: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
        let connector = TlsConnector::from(Arc::clone(&self.config_http1));
        connector.connect(self.name.clone(), stream).await
    }
}

/// Whether it was agreed on to speak HTTP/2.
pub(super) fn is_http2(stream: &TlsStream<TcpStream>) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(HTTP_2)
}

fn config(settings: &Settings) -> Result<ClientConfig, TlsError> {
    let provider = CryptoProvider::get_default()
        .cloned()
        .unwrap_or_else(|| Arc::new(aws_lc_rs::default_provider()));
    let roots = if settings.ca_certificates.is_empty() {
        system_roots().ok_or(TlsError::NoSystemRoots)?
    } else {
        Arc::new(roots(&settings.ca_certificates)?)
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Settings)?
        .with_root_certificates(roots);
    let mut config = match &settings.client_certificate {
        None => builder.with_no_client_auth(),
        Some(shown) => {
            let (chain, key) = parsed(shown)?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| TlsError::ClientCertificate(error.to_string()))?
        }
    };
    config.alpn_protocols = match settings.protocol {
        BackendProtocol::Http1 => vec![HTTP_1.to_vec()],
        BackendProtocol::Http2 => vec![HTTP_2.to_vec()],
        BackendProtocol::Negotiated => vec![HTTP_2.to_vec(), HTTP_1.to_vec()],
    };
    Ok(config)
}

fn roots(pems: &[String]) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for pem in pems {
        let certificate = certificate(pem).map_err(TlsError::Authorities)?;
        roots
            .add(certificate)
            .map_err(|error| TlsError::Authorities(error.to_string()))?;
    }
    Ok(roots)
}

fn certificate(pem: &str) -> Result<CertificateDer<'static>, String> {
    CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|error| error.to_string())
}

fn parsed(
    shown: &ClientCertificate,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
    let chain: Result<Vec<_>, String> = shown.chain.iter().map(|pem| certificate(pem)).collect();
    let chain = chain.map_err(TlsError::ClientCertificate)?;
    let key = PrivateKeyDer::from_pem_slice(shown.key.expose())
        .map_err(|_| TlsError::ClientCertificate("no key in PEM".to_owned()))?;
    Ok((chain, key))
}

/// The machine's own, read once: there are many.
fn system_roots() -> Option<Arc<RootCertStore>> {
    static ROOTS: OnceLock<Option<Arc<RootCertStore>>> = OnceLock::new();
    let read = || {
        let mut roots = RootCertStore::empty();
        // A machine's bundle may hold a certificate or two that cannot be read; the others count.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        (!roots.is_empty()).then(|| Arc::new(roots))
    };
    ROOTS.get_or_init(read).clone()
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tls({} {:?})", self.number, self.name)
    }
}

impl fmt::Debug for TlsBook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.values()).finish()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};
    use splittoken_token::SecretBytes;

    use super::*;

    fn certified() -> (String, Vec<u8>) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        (pem, key.serialize_pem().into_bytes())
    }

    fn backend(server_name: &str, authorities: &[&str]) -> BackendTls {
        BackendTls {
            address: "192.0.2.1:443".to_owned(),
            server_name: server_name.to_owned(),
            ca_certificates: authorities.iter().map(|pem| (*pem).to_owned()).collect(),
            client_certificate: None,
        }
    }

    fn shown(pem: &str, key: &[u8]) -> BTreeMap<String, ClientCertificate> {
        let certificate = ClientCertificate {
            chain: vec![pem.to_owned()],
            key: SecretBytes::new(key.to_vec()),
        };
        BTreeMap::from([("client".to_owned(), certificate)])
    }

    const AUTO: BackendProtocol = BackendProtocol::Negotiated;

    #[test]
    fn the_same_settings_are_set_up_once_and_others_never_shared() {
        let ((ca, _), (other_ca, _), (pem, key), (next_pem, next_key)) =
            (certified(), certified(), certified(), certified());
        let (none, client, next) = (BTreeMap::new(), shown(&pem, &key), shown(&next_pem, &next_key));
        let plain = backend("a.example", &[&ca]);
        let with_client = BackendTls {
            client_certificate: Some("client".to_owned()),
            ..plain.clone()
        };
        let all = [
            (&plain, AUTO, &none),
            (&plain, BackendProtocol::Http1, &none),
            (&backend("b.example", &[&ca]), AUTO, &none),
            (&backend("a.example", &[&other_ca]), AUTO, &none),
            (&backend("a.example", &[&ca, &other_ca]), AUTO, &none),
            (&with_client, AUTO, &client),
            (&with_client, AUTO, &next),
        ];
        let numbers = |before: &TlsBook| {
            let mut book = TlsBook::default();
            let made = all
                .iter()
                .map(|(tls, protocol, shown)| book.set_up(before, tls, *protocol, shown).unwrap().number);
            let numbers: Vec<u64> = made.collect();
            let again = book.set_up(before, all[0].0, all[0].1, all[0].2).unwrap();
            assert_eq!(again.number, numbers[0]);
            (book, numbers)
        };
        let (book, first) = numbers(&TlsBook::default());
        let distinct: std::collections::BTreeSet<_> = first.iter().collect();
        assert_eq!(distinct.len(), all.len());
        assert_eq!(
            numbers(&book).1,
            first,
            "an edit of something else changes nothing"
        );
    }

    #[test]
    fn what_cannot_be_used_is_said_without_its_key() {
        let ((ca, other_key), (pem, key)) = (certified(), certified());
        let with_client = BackendTls {
            client_certificate: Some("client".to_owned()),
            ..backend("a.example", &[&ca])
        };
        for (tls, shown) in [
            (backend("a.example", &["nothing"]), BTreeMap::new()),
            (backend("not a name", &[&ca]), BTreeMap::new()),
            (with_client.clone(), BTreeMap::new()),
            (with_client.clone(), shown(&pem, &other_key)),
            (with_client.clone(), shown(&pem, b"no key")),
            (with_client.clone(), shown("no certificate", &key)),
        ] {
            let made = TlsBook::default().set_up(&TlsBook::default(), &tls, AUTO, &shown);
            let text = made.unwrap_err().to_string();
            assert!(!text.contains("PRIVATE") && text.len() < 200, "{text}");
        }
    }
}
