//! What clients keep: a connection by HTTP/1.1, or one by HTTP/2 over TLS.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use splittoken_tests::http2::Http2;
use splittoken_tests::raw;
use splittoken_tests::stand::request;

/// A request of a client.
pub(crate) struct Call<'c> {
    pub(crate) method: &'c str,
    pub(crate) path: &'c str,
    pub(crate) headers: &'c [(&'c str, &'c str)],
    pub(crate) body: &'static str,
}

/// An answer: the status, and the body as text.
pub(crate) type Said = (u16, String);

/// A connection that is kept until it is over.
pub(crate) trait Line {
    /// Whether the server has said that nothing more is to be sent.
    fn is_over(&mut self) -> bool;

    /// `None` where it turns out before anything was sent that it is over.
    fn call(&mut self, call: &Call<'_>) -> Result<Option<Said>>;
}

/// HTTP/1.1, whose server says by `Connection: close` that an answer is the last.
pub(crate) struct Plain {
    client: raw::Client,
    host: String,
    is_over: bool,
}

impl Plain {
    pub(crate) fn connect(address: SocketAddr) -> Result<Self> {
        Ok(Self {
            client: raw::Client::connect(address)?,
            host: address.to_string(),
            is_over: false,
        })
    }
}

impl Line for Plain {
    fn is_over(&mut self) -> bool {
        self.is_over
    }

    fn call(&mut self, call: &Call<'_>) -> Result<Option<Said>> {
        let length = format!("Content-Length: {}", call.body.len());
        let mut lines: Vec<String> = call
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}"))
            .collect();
        if !call.body.is_empty() {
            lines.push(length);
        }
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let line = format!("{} {}", call.method, call.path);
        self.client.send(request(&self.host, &line, &lines, call.body))?;
        let answer = self.client.read()?.context("the connection was closed")?;
        self.is_over = answer.header("connection").is_some_and(|value| value == "close");
        Ok(Some((answer.status, answer.text())))
    }
}

/// HTTP/2, whose server says by GOAWAY what it does not serve any more.
pub(crate) struct Secure {
    client: Http2,
    base: String,
}

impl Secure {
    pub(crate) fn connect(address: SocketAddr, ca_pem: &str) -> Result<Self> {
        let name = address.ip().to_string();
        Ok(Self {
            client: Http2::connect_tls(address, ca_pem, &name)?,
            base: format!("https://{address}"),
        })
    }
}

impl Line for Secure {
    fn is_over(&mut self) -> bool {
        self.client.is_over()
    }

    fn call(&mut self, call: &Call<'_>) -> Result<Option<Said>> {
        let target = format!("{}{}", self.base, call.path);
        let answer = self
            .client
            .try_call(call.method, &target, call.headers, call.body)?;
        Ok(answer.map(|answer| (answer.status, answer.text())))
    }
}
