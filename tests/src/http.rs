//! A plain HTTP client for talking to providers and the admin server directly. Not for the gate's cases: those need
//! the bytes as they are, see [`crate::raw`].

use std::time::Duration;

use anyhow::{Context as _, Result};
use reqwest::blocking::RequestBuilder;
use reqwest::redirect::Policy;
use serde_json::Value;

/// A client: no redirects followed, no proxy, nothing decompressed, cookies not kept.
#[derive(Debug, Clone)]
pub struct Client {
    inner: reqwest::blocking::Client,
}

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The header fields in order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Client {
    /// A client for plain HTTP.
    pub fn new() -> Result<Self> {
        Self::build(None)
    }

    /// A client that trusts this authority, in PEM, and no other.
    pub fn trusting(ca_pem: &str) -> Result<Self> {
        Self::build(Some(ca_pem))
    }

    /// GET.
    pub fn get(&self, url: &str) -> Result<Answer> {
        perform(self.inner.get(url))
    }

    /// GET with a bearer token.
    pub fn get_with(&self, url: &str, token: &str) -> Result<Answer> {
        perform(self.inner.get(url).bearer_auth(token))
    }

    /// POST of a form; `basic` is a client id with its secret.
    pub fn post_form(&self, url: &str, basic: Option<(&str, &str)>, form: &[(&str, &str)]) -> Result<Answer> {
        let request = self.inner.post(url).form(form);
        perform(match basic {
            Some((id, secret)) => request.basic_auth(id, Some(secret)),
            None => request,
        })
    }

    /// POST of a JSON document with a bearer token.
    pub fn post_json(&self, url: &str, token: &str, body: &Value) -> Result<Answer> {
        perform(self.inner.post(url).bearer_auth(token).json(body))
    }

    /// The client inside, for whatever else a test wants to send.
    pub fn inner(&self) -> &reqwest::blocking::Client {
        &self.inner
    }

    fn build(ca_pem: Option<&str>) -> Result<Self> {
        // Only the first call of a process installs it, which is the same one.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let mut builder = reqwest::blocking::Client::builder()
            .redirect(Policy::none())
            .no_proxy()
            .timeout(Duration::from_secs(30))
            .pool_max_idle_per_host(0);
        let roots = ca_pem
            .map(|pem| reqwest::Certificate::from_pem(pem.as_bytes()))
            .transpose()?;
        // The list may be empty: no test trusts the machine's own roots.
        builder = builder.tls_certs_only(roots);
        Ok(Self {
            inner: builder.build()?,
        })
    }
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body)
            .with_context(|| format!("{}, not JSON: {}", self.status, self.text()))
    }

    /// A string member of a JSON body.
    pub fn member(&self, name: &str) -> Result<String> {
        let json = self.json()?;
        let member = json[name].as_str().map(str::to_owned);
        member.with_context(|| format!("{} without {name}: {json}", self.status))
    }

    /// The first value of one header field, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(found, _)| found == name)
            .map(|(_, value)| value.as_str())
    }
}

fn perform(request: RequestBuilder) -> Result<Answer> {
    let answer = request.send()?;
    let headers = answer
        .headers()
        .iter()
        .map(|(name, value)| {
            (
                name.to_string(),
                String::from_utf8_lossy(value.as_bytes()).into_owned(),
            )
        })
        .collect();
    Ok(Answer {
        status: answer.status().as_u16(),
        headers,
        body: answer.bytes()?.to_vec(),
    })
}
