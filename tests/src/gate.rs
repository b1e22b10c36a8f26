//! Raw requests to a gateway, each judged three times: by the answer, by what the upstream received, and by a good
//! request afterwards.
//!
//! Cases are text in which `⏎` stands for CR LF, every other character for the byte of its number, `{host}` for the
//! gateway's Host, `{auth}` for a good `Authorization` line, `{token}` for its token and `{jwt}` for what upstreams get.

mod case;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use crate::raw::{self, Answer};
use crate::route::Route;
use crate::stand::{Addresses, Stand, Token};
use crate::wire::Request;

pub use case::Case;

/// Every path needs a token, apart from those below `/open`.
fn routes(to: &Addresses) -> String {
    let backends = json!([{"url": to.upstream}]);
    let rules = json!([
        {
            "name": "open",
            "matches": [{"path": {"value": "/open"}}],
            "authentication": "Disabled",
            "backendRefs": backends,
        },
        {"name": "api", "backendRefs": backends},
    ]);
    let route = Route::new(&to.issuer, &to.upstream);
    route.spec(&json!({"rules": rules})).into()
}

/// A gateway behind which everything is recorded, and a good token of it.
pub struct Gate {
    /// Provider, gateway and upstream.
    pub stand: Stand,
    /// The good token.
    pub token: Token,
}

impl Gate {
    /// Every path needs a token, apart from `/open`.
    pub fn open() -> Result<Self> {
        Self::of(Stand::with(routes)?)
    }

    /// With other routes, of which one takes `/good` with a token.
    pub fn of(stand: Stand) -> Result<Self> {
        let token = stand.token(&json!({}))?;
        Ok(Self { stand, token })
    }

    /// The bytes of a case.
    pub fn bytes(&self, case: &str) -> Vec<u8> {
        let text = case
            .replace('⏎', "\r\n")
            .replace("{host}", &self.stand.gateway.host())
            .replace("{auth}", &self.token.header())
            .replace("{token}", &self.token.opaque)
            .replace("{jwt}", &self.token.jwt);
        text.chars()
            .map(|c| u8::try_from(u32::from(c)).expect("a case holds characters up to U+00FF"))
            .collect()
    }

    /// The first answer to a case on a connection of its own, and what the upstream got until a good request after it.
    pub fn send(&self, case: &str) -> Result<(Option<Answer>, Vec<Request>)> {
        let bytes = self.bytes(case);
        let mut client = raw::Client::connect(self.stand.gateway.address())?;
        client.send(bytes)?;
        let answer = client.read()?;
        let mut requests = self.good_request()?;
        // Whatever the connection still held has been looked at by its end.
        // It may be closed already.
        let _ = client.finish();
        while client.read().ok().flatten().is_some() {}
        requests.extend(self.good_request()?);
        Ok((answer, requests))
    }

    /// Shows that the gateway is well; gives what the upstream got before that.
    pub fn good_request(&self) -> Result<Vec<Request>> {
        let answer = self.stand.get("/good", &self.token)?;
        ensure!(
            answer.status == 200,
            "a good request got {}: {}",
            answer.status,
            answer.text()
        );
        let mut requests = self.stand.upstream.take();
        let good = requests.pop().context("the good request did not arrive")?;
        ensure!(good.target() == "/good", "the last request was {}", good.line());
        ensure!(good.header_all("authorization") == [self.token.restored()]);
        Ok(requests)
    }

    /// Runs a table of what must be refused; every case is run, and all that fail are named.
    pub fn refuses(&self, table: &[(&str, u16, &str)]) {
        let failures = table
            .iter()
            .filter_map(|(name, status, case)| Some((*name, self.refusal(*status, case).err()?)));
        report(failures.collect());
    }

    fn refusal(&self, status: u16, case: &str) -> Result<()> {
        let (answer, requests) = self.send(case)?;
        let lines: Vec<_> = requests.iter().map(Request::line).collect();
        ensure!(lines.is_empty(), "the upstream got {lines:?}");
        let answer = answer.context("closed without an answer")?;
        ensure!(
            answer.status == status,
            "{} in place of {status}: {}",
            answer.status,
            answer.text()
        );
        Ok(())
    }

    /// What the upstream got of a case that passes: exactly one request.
    pub fn passes(&self, case: &str) -> Result<Request> {
        let (answer, mut requests) = self.send(case)?;
        let answer = answer.context("closed without an answer")?;
        ensure!(answer.status == 200, "{}: {}", answer.status, answer.text());
        ensure!(requests.len() == 1, "{} requests: {requests:?}", requests.len());
        Ok(requests.remove(0))
    }
}

/// Fails with all that went wrong.
pub fn report(failures: Vec<(&str, anyhow::Error)>) {
    let lines: Vec<_> = failures
        .iter()
        .map(|(name, error)| format!("{name}: {error:#}"))
        .collect();
    assert!(
        lines.is_empty(),
        "{} cases failed:\n{}",
        lines.len(),
        lines.join("\n")
    );
}
