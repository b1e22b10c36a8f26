//! Where a collector is, and the HTTP client that asks it.

use std::{
    error::Error,
    fs, io,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use opentelemetry_http::{HttpClient, HttpError};
use parking_lot::Mutex;
use reqwest::{Certificate, Client};
use tokio::runtime::Handle;
use url::Url;

use super::{EXPORT, TracesError};

/// Who takes spans.
#[derive(Clone, Debug)]
pub struct Collector {
    /// Where it is.
    pub url: CollectorUrl,
    /// A PEM file with the only certificate authorities to trust for `https://`; otherwise those of the machine count.
    pub authorities: Option<PathBuf>,
}

/// Where a collector takes spans.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectorUrl(Url);

impl CollectorUrl {
    /// Where spans go (OTLP specification, "Endpoint URLs for OTLP/HTTP").
    pub(super) fn traces(&self) -> String {
        format!("{}/v1/traces", self.0.as_str().trim_end_matches('/'))
    }

    fn is_plain(&self) -> bool {
        self.0.scheme() == "http"
    }
}

impl FromStr for CollectorUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str =
            "expected a URL such as http://collector:4318, without user, password, query or fragment";
        let url = Url::parse(text).map_err(|_| EXPECTED)?;
        let is_bare = url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        let is_http = matches!(url.scheme(), "http" | "https") && url.has_host();
        // The specification puts it there.
        let has_its_path = url.path().trim_end_matches('/').ends_with("/v1/traces");
        if has_its_path {
            return Err("expected a URL without /v1/traces, which is added");
        }
        if is_bare && is_http {
            Ok(Self(url))
        } else {
            Err(EXPECTED)
        }
    }
}

/// An HTTP client that works from a thread without a runtime: its requests run on one that there is.
#[derive(Debug)]
pub(super) struct Sender {
    clients: Clients,
    runtime: Handle,
    cause: Cause,
}

/// Why the last request had no answer. The library passes on that there was none, and no more.
#[derive(Clone, Debug, Default)]
pub(super) struct Cause(Arc<Mutex<Option<String>>>);

impl Cause {
    /// Nothing, if there was an answer.
    pub(super) fn text(&self) -> Option<String> {
        self.0.lock().clone()
    }

    fn note(&self, error: Option<&HttpError>) {
        *self.0.lock() = error.map(|error| chain(error.as_ref()));
    }
}

fn chain(error: &(dyn Error + 'static)) -> String {
    let errors = std::iter::successors(Some(error), |&error| error.source());
    errors.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

impl Sender {
    pub(super) fn new(collector: &Collector, runtime: Handle, cause: Cause) -> Result<Self, TracesError> {
        let clients = Clients::new(collector)?;
        Ok(Self {
            clients,
            runtime,
            cause,
        })
    }
}

#[async_trait]
impl HttpClient for Sender {
    async fn send_bytes(&self, mut request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        // The key that a collector wants is among them.
        for value in request.headers_mut().values_mut() {
            value.set_sensitive(true);
        }
        let client = self.clients.current();
        let sent = self
            .runtime
            .spawn(async move { client.send_bytes(request).await });
        let answer = sent.await?;
        self.cause.note(answer.as_ref().err());
        answer
    }
}

/// The client that trusts what the file says now.
#[derive(Debug)]
struct Clients {
    file: Option<PathBuf>,
    newest: Mutex<Newest>,
}

#[derive(Debug)]
struct Newest {
    /// What the file held when it was read last.
    pem: Vec<u8>,
    client: Client,
}

impl Clients {
    fn new(collector: &Collector) -> Result<Self, TracesError> {
        let file = collector.authorities.clone();
        if file.is_some() && collector.url.is_plain() {
            return Err(TracesError::NotHttps);
        }
        let (pem, client) = match &file {
            Some(path) => {
                let pem = fs::read(path).map_err(TracesError::Unreadable)?;
                let client = trusting(&pem)?;
                (pem, client)
            }
            // In the clear there is nobody to verify, and a slim image may have no roots.
            None if collector.url.is_plain() => {
                let plain = bare().tls_certs_only(Vec::new()).build();
                (Vec::new(), plain.map_err(TracesError::Client)?)
            }
            None => (
                Vec::new(),
                bare().https_only(true).build().map_err(TracesError::Client)?,
            ),
        };
        let newest = Mutex::new(Newest { pem, client });
        Ok(Self { file, newest })
    }

    /// Reads the file: not for a thread that serves. One that is no good changes nothing.
    fn current(&self) -> Client {
        let mut newest = self.newest.lock();
        if let Some(path) = &self.file {
            newest.renew(path, fs::read(path));
        }
        newest.client.clone()
    }
}

impl Newest {
    fn renew(&mut self, path: &Path, read: io::Result<Vec<u8>>) {
        // Not there for a while, as files are that are being replaced: it has not become another.
        let Ok(pem) = read else { return };
        if pem == self.pem {
            return;
        }
        let file = path.display();
        match trusting(&pem) {
            Ok(client) => {
                self.client = client;
                tracing::info!(%file, "other certificate authorities for the collector");
            }
            Err(error) => {
                let reason = error.reason();
                tracing::warn!(%file, reason, %error, "the collector's certificate authorities stay as they were");
            }
        }
        self.pem = pem;
    }
}

/// A client for a collector with one of these authorities only.
fn trusting(pem: &[u8]) -> Result<Client, TracesError> {
    let authorities = Certificate::from_pem_bundle(pem).map_err(TracesError::Authorities)?;
    if authorities.is_empty() {
        return Err(TracesError::NoAuthorities);
    }
    let client = bare().https_only(true).tls_certs_only(authorities).build();
    client.map_err(TracesError::Authorities)
}

fn bare() -> reqwest::ClientBuilder {
    Client::builder()
        .http1_only()
        .no_proxy()
        .no_gzip()
        .no_brotli()
        .no_zstd()
        .no_deflate()
        .referer(false)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .timeout(EXPORT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collectors_are_urls_without_secrets() {
        for (text, traces) in [
            ("http://collector:4318", "http://collector:4318/v1/traces"),
            ("http://collector:4318/", "http://collector:4318/v1/traces"),
            ("https://[::1]/otlp/", "https://[::1]/otlp/v1/traces"),
        ] {
            assert_eq!(
                text.parse::<CollectorUrl>().map(|url| url.traces()),
                Ok(traces.to_owned())
            );
        }
        for text in [
            "",
            "collector:4318",
            "grpc://collector:4317",
            "http://",
            "http://user@collector",
            "http://:secret@collector",
            "http://collector?key=secret",
            "http://collector#a",
        ] {
            assert!(text.parse::<CollectorUrl>().is_err(), "{text}");
        }
    }
}
