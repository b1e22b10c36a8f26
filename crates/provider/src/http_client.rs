//! The only file that talks to the provider.

use std::{collections::HashMap, error::Error, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, header};
use parking_lot::Mutex;
use reqwest::{Certificate, Client, Identity, RequestBuilder, Response, redirect};
use splittoken_reach::{Forbidden, Reach};
use url::Url;
use zeroize::Zeroizing;

use crate::{
    CallError, GivenCertificate, MAX_ANSWER_BYTES, ProviderAnswer, ProviderError, ProviderSettings,
    clients::{self, Kind},
    error::FetchError,
    resolver::Resolver,
    token_call::own_headers,
};

/// Shorter than the 5 s after which Node.js, which many providers run on, closes an idle connection. A token
/// request that meets the closing connection is lost, since it must not be sent twice.
const IDLE_CONNECTION: Duration = Duration::from_secs(4);

/// An issuer has four URLs. A provider that names other ports at each discovery has no client for each of them.
const MAX_CLIENTS: usize = 4;

/// Clients with one provider's roots and deadlines, shared by all threads, and by issuers that are alike in these: one
/// for each port where an address may be refused on one port only, and otherwise one for all.
#[derive(Debug)]
pub(crate) struct HttpClient {
    settings: Arc<ProviderSettings>,
    clients: Mutex<HashMap<u16, Arc<Client>>>,
}

impl HttpClient {
    pub(crate) fn new(settings: Arc<ProviderSettings>) -> Result<Self, ProviderError> {
        // Without one the builder below would panic.
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            return Err(ProviderError::NoCryptoProvider);
        }
        let issuer = Url::parse(&settings.url).ok();
        let port = issuer.map_or(0, |url| clients::port_for(&url, &settings.reach));
        // At once, so that it is told what is wrong with the roots.
        let first = client(&settings, port)?;
        Ok(Self {
            settings,
            clients: Mutex::new(HashMap::from([(port, first)])),
        })
    }

    /// The client for this URL, if it may be connected to. A client resolves names by way of our resolver, and connects
    /// to addresses without asking it.
    fn client(&self, url: &Url) -> Result<Arc<Client>, CallError> {
        let reach = &self.settings.reach;
        reach.check_literal(url).map_err(CallError::Forbidden)?;
        let port = clients::port_for(url, reach);
        let mut clients = self.clients.lock();
        if let Some(client) = clients.get(&port) {
            return Ok(Arc::clone(client));
        }
        let client = client(&self.settings, port).map_err(CallError::NoClient)?;
        if clients.len() >= MAX_CLIENTS {
            clients.clear();
        }
        clients.insert(port, Arc::clone(&client));
        Ok(client)
    }

    /// The body of a 200 answer.
    pub(crate) async fn get(&self, url: &Url, limit: usize) -> Result<Zeroizing<Vec<u8>>, FetchError> {
        let client = self.client(url)?;
        let request = client.get(url.clone()).headers(own_headers(HeaderMap::new()));
        let whole = async {
            let response = send(request).await?;
            match response.status().as_u16() {
                200 => Ok(read_body(response, limit).await?),
                status => Err(FetchError::Status(status)),
            }
        };
        tokio::time::timeout(self.settings.request_timeout, whole)
            .await
            .unwrap_or(Err(CallError::Timeout.into()))
    }

    /// Posts `body` byte for byte. Sent at most once: the provider may have acted on it even if we never hear so.
    pub(crate) async fn post(
        &self,
        url: &Url,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<ProviderAnswer, CallError> {
        let client = self.client(url)?;
        let headers = own_headers(headers);
        let request = || {
            client
                .post(url.clone())
                .headers(headers.clone())
                .body(body.clone())
        };
        let whole = async {
            let response = match send(request()).await {
                // No connection, so nothing was sent: one of several addresses may do better.
                Err(CallError::Unreachable(_)) => send(request()).await?,
                other => other?,
            };
            let (status, headers) = (response.status(), response.headers().clone());
            let body = read_body(response, MAX_ANSWER_BYTES).await?;
            Ok(ProviderAnswer {
                status,
                headers,
                body,
            })
        };
        tokio::time::timeout(self.settings.request_timeout, whole)
            .await
            .unwrap_or(Err(CallError::Timeout))
    }
}

fn client(settings: &ProviderSettings, port: u16) -> Result<Arc<Client>, ProviderError> {
    let kind = Kind::of(settings, port);
    clients::shared(&kind, || make(&kind))
}

fn make(kind: &Kind) -> Result<Client, ProviderError> {
    let own_roots = parse_roots(&kind.ca_certificates)?;
    let identity = kind.client_certificate.as_ref().map(identity).transpose()?;
    let client = match build(kind, own_roots, identity.clone()) {
        // An issuer in the clear, say in a mesh, needs no roots; a slim image may have none.
        Err(_) if kind.ca_certificates.is_empty() && kind.is_plain => build(kind, Some(Vec::new()), identity),
        built => built,
    };
    client.map_err(ProviderError::Client)
}

/// The roots to trust in place of the system's, if any are given.
fn parse_roots(pems: &[String]) -> Result<Option<Vec<Certificate>>, ProviderError> {
    let mut roots = Vec::new();
    for (index, pem) in pems.iter().enumerate() {
        let refuse = |source| ProviderError::Certificate {
            number: index + 1,
            source,
        };
        let certificates = Certificate::from_pem_bundle(pem.as_bytes()).map_err(|e| refuse(Some(e)))?;
        if certificates.is_empty() {
            return Err(refuse(None));
        }
        // Building alone with this one finds out now which one is no X.509.
        let alone = Client::builder()
            .no_proxy()
            .tls_certs_only(certificates.clone())
            .build();
        alone.map_err(|e| refuse(Some(e)))?;
        roots.extend(certificates);
    }
    Ok((!pems.is_empty()).then_some(roots))
}

/// What is shown to the provider.
fn identity(given: &GivenCertificate) -> Result<Identity, ProviderError> {
    let mut pem = Zeroizing::new(given.key.expose().to_vec());
    for certificate in &given.chain {
        pem.push(b'\n');
        pem.extend_from_slice(certificate.as_bytes());
    }
    let identity = Identity::from_pem(&pem).map_err(ProviderError::ClientCertificate)?;
    // Building alone with it finds out now whether the key is its own.
    let alone = Client::builder()
        .no_proxy()
        .tls_certs_only(Vec::new())
        .identity(identity.clone())
        .build();
    alone.map_err(ProviderError::ClientCertificate)?;
    Ok(identity)
}

fn build(
    kind: &Kind,
    roots: Option<Vec<Certificate>>,
    identity: Option<Identity>,
) -> reqwest::Result<Client> {
    let builder = Client::builder()
        .http1_only()
        .https_only(!kind.plain_http_allowed)
        .no_proxy()
        // Another crate of the process may switch these features on.
        .no_gzip()
        .no_brotli()
        .no_zstd()
        .no_deflate()
        .referer(false)
        .redirect(redirect::Policy::none())
        .retry(reqwest::retry::never())
        .connect_timeout(kind.connect_timeout)
        .pool_idle_timeout(IDLE_CONNECTION);
    let builder = match &kind.reach {
        Reach::Anywhere => builder,
        reach @ Reach::Beyond(_) => builder.dns_resolver(Arc::new(Resolver {
            reach: reach.clone(),
            port: kind.port,
        })),
    };
    let builder = match identity {
        Some(identity) => builder.identity(identity),
        None => builder,
    };
    match roots {
        Some(roots) => builder.tls_certs_only(roots).build(),
        None => builder.build(),
    }
}

/// Sends, and refuses what is wrong before the body.
async fn send(request: RequestBuilder) -> Result<Response, CallError> {
    let response = request.send().await.map_err(classify)?;
    let status = response.status();
    if status.is_redirection() {
        return Err(CallError::Redirect(status.as_u16()));
    }
    let only = |name, expected: &str| {
        let mut values = response.headers().get_all(name).iter();
        values.all(|value| value.as_bytes().eq_ignore_ascii_case(expected.as_bytes()))
    };
    if status.is_informational() || !only(header::TRANSFER_ENCODING, "chunked") {
        return Err(CallError::Malformed(None));
    }
    if !only(header::CONTENT_ENCODING, "identity") {
        return Err(CallError::Compressed);
    }
    Ok(response)
}

async fn read_body(mut response: Response, limit: usize) -> Result<Zeroizing<Vec<u8>>, CallError> {
    let announced = response.content_length().unwrap_or_default();
    let announced = usize::try_from(announced)
        .ok()
        .filter(|len| *len <= limit)
        .ok_or(CallError::TooLarge)?;
    let mut body = Zeroizing::new(Vec::with_capacity(announced));
    while let Some(chunk) = response.chunk().await.map_err(classify)? {
        if body.len() + chunk.len() > limit {
            return Err(CallError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn classify(error: reqwest::Error) -> CallError {
    let error = error.without_url();
    if error.is_timeout() && error.is_connect() {
        CallError::ConnectTimeout
    } else if error.is_timeout() {
        CallError::Timeout
    } else if error.is_connect() {
        match forbidden(&error) {
            Some(forbidden) => CallError::Forbidden(forbidden),
            None if is_tls(&error) => CallError::Tls(error),
            None => CallError::Unreachable(error),
        }
    } else if is_no_http(&error) {
        CallError::Malformed(Some(error))
    } else {
        CallError::Truncated(error)
    }
}

/// What our resolver said, if it did not let the name through.
fn forbidden(error: &reqwest::Error) -> Option<Forbidden> {
    causes(error).find_map(|cause| cause.downcast_ref().copied())
}

/// Whether the provider sent something that is not HTTP, as opposed to too little of it.
fn is_no_http(error: &reqwest::Error) -> bool {
    causes(error).any(|cause| {
        cause
            .downcast_ref::<hyper::Error>()
            .is_some_and(hyper::Error::is_parse)
    })
}

fn is_tls(error: &reqwest::Error) -> bool {
    causes(error).any(|mut cause| {
        // An I/O error names as its source that of the error inside it, and so leaves the latter out.
        while let Some(inside) = cause
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref)
        {
            cause = inside;
        }
        cause.is::<rustls::Error>()
    })
}

fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(Error::source(error), |cause| Error::source(*cause))
}

#[cfg(test)]
mod tests {
    use super::{Duration, Reach};
    use crate::{GivenEndpoints, Provider, ProviderError, ProviderSettings};

    #[test]
    fn a_process_without_a_crypto_provider_gets_an_error_and_no_panic() {
        let settings = ProviderSettings {
            name: "idp".into(),
            url: "https://idp.example".into(),
            plain_http_allowed: false,
            discovery: true,
            endpoints: GivenEndpoints::default(),
            algorithms: vec![],
            trusted_transport: false,
            hmac_key: None,
            audiences: vec![],
            token_types: vec![],
            clock_skew: Duration::ZERO,
            jwks_refresh: Duration::ZERO,
            jwks_min_refresh: Duration::ZERO,
            ca_certificates: vec![],
            client_certificate: None,
            reach: Reach::Anywhere,
            connect_timeout: Duration::ZERO,
            request_timeout: Duration::ZERO,
        };
        // No test of this binary installs one; those that need it are in `tests/`.
        assert!(matches!(
            Provider::new(settings),
            Err(ProviderError::NoCryptoProvider)
        ));
    }
}
