//! A client of the gateway on one keep-alive connection: for tests that make thousands of requests.

use std::fmt::Write as _;

use anyhow::{Context as _, Result, ensure};

use crate::gateway::Gateway;
use crate::oidc::Registration;
use crate::raw::{self, Answer};

/// HTTP Basic of the client `shop` with the password `secret`: the providers of such tests ask nobody.
pub const BASIC: &str = "Basic c2hvcDpzZWNyZXQ=";

/// One connection.
#[derive(Debug)]
pub struct Caller {
    client: raw::Client,
    host: String,
    authorization: String,
}

impl Caller {
    /// Connects.
    pub fn of(gateway: &Gateway) -> Result<Self> {
        Ok(Self {
            client: raw::Client::connect(gateway.address())?,
            host: gateway.host(),
            authorization: BASIC.to_owned(),
        })
    }

    /// Asks for tokens as this client, in place of [`BASIC`].
    #[must_use]
    pub fn as_client(mut self, client: &Registration) -> Self {
        self.authorization = format!("Basic {}", client.basic_credentials());
        self
    }

    /// `GET /orders` with a bearer token.
    pub fn api(&mut self, token: &str) -> Result<Answer> {
        let host = &self.host;
        let request =
            format!("GET /orders HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n");
        self.exchange(&request)
    }

    /// The status of [`Self::api`].
    pub fn status(&mut self, token: &str) -> Result<u16> {
        Ok(self.api(token)?.status)
    }

    /// A token request with `client_credentials` and HTTP Basic.
    pub fn token(&mut self) -> Result<Answer> {
        let body = "grant_type=client_credentials";
        let mut request = format!("POST /oauth/token HTTP/1.1\r\nHost: {}\r\n", self.host);
        write!(
            request,
            "Authorization: {}\r\nContent-Type: application/x-www-form-urlencoded\r\n\
             Content-Length: {}\r\n\r\n{body}",
            self.authorization,
            body.len()
        )?;
        self.exchange(&request)
    }

    /// [`Self::token`], which must succeed: the opaque token.
    pub fn issue(&mut self) -> Result<String> {
        let answer = self.token()?;
        ensure!(
            answer.status == 200,
            "no token: {} {}",
            answer.status,
            answer.text()
        );
        let json = answer.json()?;
        let token = json["access_token"].as_str().context("no access_token")?;
        Ok(token.to_owned())
    }

    fn exchange(&mut self, request: &str) -> Result<Answer> {
        self.client.send(request)?;
        self.client
            .read()?
            .context("the gateway closed the connection without an answer")
    }
}
