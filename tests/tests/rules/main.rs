//! Rules, end to end: which one takes a request, who may pass, and what becomes of the request on its way.
//!
//! Every case is judged by the answer and by what the upstream received. Each rule here writes its name into
//! `X-Rule`, so that the upstream knows which one let a request through.

mod authentication;
mod authorization;
mod claim_headers;
mod edits;
mod hostnames;
mod live;
mod matching;
mod sharing;
mod weights;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use splittoken_tests::raw::Answer;
use splittoken_tests::stand::{Addresses, Stand};
use splittoken_tests::wire::Request;

/// A route of the namespace `default` with an inline issuer and a token endpoint.
fn route(to: &Addresses, name: &str, hostnames: &[&str], rules: &[Value]) -> Value {
    json!({
        "apiVersion": "splittoken.dev/v1alpha1",
        "kind": "SplitTokenRoute",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "hostnames": hostnames,
            "issuer": {"url": to.issuer, "transport": "PlainHTTPAllowed"},
            "tokenEndpoints": {"token": {"path": "/oauth/token"}},
            "rules": rules,
        },
    })
}

/// A rule that goes to the stand's upstream, with these members besides or in their place.
fn rule(to: &Addresses, name: &str, members: &Value) -> Value {
    let mut rule = json!({
        "name": name,
        "backendRefs": [{"url": to.upstream}],
        "requestHeaders": {"set": [{"name": "X-Rule", "value": name}]},
    });
    for (name, value) in members.as_object().into_iter().flatten() {
        rule[name] = value.clone();
    }
    rule
}

/// [`rule`] for everybody: where only matching is looked at.
fn open(to: &Addresses, name: &str, matches: &Value) -> Value {
    rule(
        to,
        name,
        &json!({"matches": matches, "authentication": "Disabled"}),
    )
}

/// Objects as a file of documents. JSON is YAML too.
fn file(objects: &[Value]) -> String {
    objects.iter().map(|object| format!("---\n{object}\n")).collect()
}

/// What came of one request: the answer, and what the upstream got of it.
struct Outcome {
    answer: Answer,
    request: Option<Request>,
}

impl Outcome {
    /// Asks at `host`, with these header lines.
    fn at(stand: &Stand, host: &str, line: &str, headers: &[&str]) -> Result<Self> {
        stand.upstream.take();
        let answer = stand.ask_at(host, line, headers)?;
        let mut requests = stand.upstream.take();
        ensure!(
            requests.len() < 2,
            "{line} was forwarded {} times",
            requests.len()
        );
        Ok(Self {
            answer,
            request: requests.pop(),
        })
    }

    /// [`Self::at`] the gateway's own address.
    fn of(stand: &Stand, line: &str, headers: &[&str]) -> Result<Self> {
        Self::at(stand, &stand.gateway.host(), line, headers)
    }

    /// The rule that let it through to a good answer; the status where nothing was let through.
    fn rule(&self) -> String {
        match &self.request {
            Some(request) if self.answer.status == 200 => request.header("x-rule").unwrap_or_default(),
            Some(request) => format!(
                "{} although the upstream got {}",
                self.answer.status,
                request.line()
            ),
            None => self.answer.status.to_string(),
        }
    }

    /// What the upstream got; an error where it got nothing.
    fn forwarded(&self) -> Result<&Request> {
        let request = self.request.as_ref();
        request.ok_or_else(|| anyhow::anyhow!("not forwarded: {} {}", self.answer.status, self.answer.text()))
    }
}

/// Fails with every case whose `got` is not what was `wanted`.
fn compare(cases: impl IntoIterator<Item = (String, String, String)>) {
    let wrong: Vec<String> = cases
        .into_iter()
        .filter(|(_, wanted, got)| wanted != got)
        .map(|(case, wanted, got)| format!("{case}: {got} in place of {wanted}"))
        .collect();
    assert!(wrong.is_empty(), "{} cases:\n{}", wrong.len(), wrong.join("\n"));
}
