//! No client can make a label: whatever is sent, the same series are there.

use anyhow::Result;
use serde_json::json;
use splittoken_tests::jwt::Key;
use splittoken_tests::raw::Client;
use splittoken_tests::secret;
use splittoken_tests::stand::{Stand, request};

use crate::scrape;

/// Requests that carry their mark in every place that a client can write to.
fn odd_requests(stand: &Stand, mark: &str) -> Result<()> {
    let host = stand.gateway.host();
    let form = format!("grant_type={mark}&client_id={mark}&scope={mark}");
    let length = format!("Content-Length: {}", form.len());
    let bearer = format!("Authorization: Bearer {mark}");
    let scheme = format!("Authorization: {mark} {mark}");
    let own = format!("X-{mark}: {mark}");
    let requests = [
        request(&host, &format!("GET /{mark}"), &[], ""),
        request(&host, &format!("GET /{mark}?{mark}={mark}"), &[&bearer], ""),
        request(&host, &format!("GET /{mark}"), &[&scheme], ""),
        request(
            &host,
            &format!("GET /{mark}"),
            &[&own, &format!("User-Agent: {mark}")],
            "",
        ),
        request(&host, &format!("{mark} /open"), &[], ""),
        request(&host, &format!("{mark} /oauth/token"), &[], ""),
        request(&format!("{mark}.example"), "GET /", &[], ""),
        request(&format!("{mark}_\"}}"), "GET /", &[], ""),
        request(&host, &format!("GET /{mark}/../{mark}"), &[], ""),
        request(
            &host,
            &format!("GET /{mark}"),
            &[&format!("Transfer-Encoding: {mark}")],
            "",
        ),
        request(
            &host,
            &format!("GET /{mark}"),
            &[&format!("Connection: {mark}, host")],
            "",
        ),
        request(
            &host,
            "POST /oauth/token",
            &["Content-Type: application/x-www-form-urlencoded", &length],
            &form,
        ),
        request(
            &host,
            "POST /oauth/token",
            &[&format!("Content-Type: {mark}/{mark}"), &length],
            &form,
        ),
        format!("{mark}\r\n\r\n").into_bytes(),
    ];
    for bytes in requests {
        let mut client = Client::connect(stand.gateway.address())?;
        client.send(bytes)?;
        // Some are closed without an answer, which is one.
        let _ = client.read()?;
    }
    Ok(())
}

#[test]
fn clients_cannot_make_labels() -> Result<()> {
    let stand = Stand::start()?;
    // Letters only, so that it can be a method and a name too; upper case, for no label of ours is.
    let mark = || {
        format!(
            "M{}",
            secret::text().replace(|c: char| !c.is_ascii_alphabetic(), "Q")
        )
    };
    let known = stand.token(&json!({"sub": mark(), "client_id": mark(), "scope": mark()}))?;
    assert_eq!(stand.get("/", &known)?.status, 200);
    let first = mark();
    odd_requests(&stand, &first)?;
    let before = scrape(&stand.gateway)?;
    for _ in 0..10 {
        odd_requests(&stand, &mark())?;
    }
    let after = scrape(&stand.gateway)?;
    assert_eq!(after.series(), before.series());
    let total = |of: &str| (before.sum(of), after.sum(of));
    let (few, many) = total("splittoken_gateway_failures_total");
    assert!(many > few + 50, "they were not counted: {few}, {many}");
    for sample in after.samples() {
        for (name, value) in &sample.labels {
            let is_ours = match name.as_str() {
                "route" => value == "default/shop",
                "rule" => value == "api",
                "kind" => ["upstream", "provider"].contains(&value.as_str()),
                "issuer" => before
                    .samples()
                    .any(|known| known.labels.contains(&(name.clone(), value.clone()))),
                "protocol" => ["http1", "http2"].contains(&value.as_str()),
                "call" => ["token", "discovery", "jwks"].contains(&value.as_str()),
                "command" => ["get", "put"].contains(&value.as_str()),
                "code" => ["1xx", "2xx", "3xx", "4xx", "5xx"].contains(&value.as_str()),
                "reason" | "outcome" => value
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'),
                "le" => value == "+Inf" || value.parse::<f64>().is_ok(),
                _ => false,
            };
            assert!(is_ours, "{name}=\"{value}\" of {}", sample.name);
        }
    }
    let text = stand.gateway.admin("/metrics")?.text();
    assert!(
        !text.contains(&first) && !text.contains(&known.opaque) && !text.contains(&known.jwt[..8]),
        "{text}"
    );
    Ok(())
}

/// How many of each.
const FLOOD: usize = 1_000;

#[test]
fn a_thousand_hosts_paths_methods_and_keys_are_no_more_series() -> Result<()> {
    let stand = Stand::start()?;
    let host = stand.gateway.host();
    let flood = |from: usize, to: usize| -> Result<()> {
        for number in from..to {
            let bearer = format!("Authorization: Bearer {}", secret::text());
            let requests = [
                request(&format!("h{number}.example"), "GET /", &[], ""),
                request(&host, &format!("GET /p{number}"), &[&bearer], ""),
                request(&host, &format!("M{number} /"), &[], ""),
            ];
            for bytes in requests {
                stand.gateway.exchange(bytes)?;
            }
        }
        Ok(())
    };
    // A provider that signs with keys that it does not publish, each with an id of its own.
    let keys = |number: usize| -> Result<()> {
        for _ in 0..number {
            let other = Key::es256()?;
            let claims = stand.provider.claims(&json!({"jti": secret::text()}));
            stand.provider.answer_token(&other.token(&claims)?);
            let form = "grant_type=client_credentials";
            let length = format!("Content-Length: {}", form.len());
            let headers = ["Content-Type: application/x-www-form-urlencoded", &length];
            let bytes = request(&host, "POST /oauth/token", &headers, form);
            let answer = stand.gateway.exchange(bytes)?;
            anyhow::ensure!(answer.is_some_and(|answer| answer.status == 502));
        }
        Ok(())
    };
    let token = stand.token(&json!({}))?;
    assert_eq!(stand.get("/", &token)?.status, 200);
    flood(0, 1)?;
    keys(2)?;
    let before = scrape(&stand.gateway)?;
    flood(1, FLOOD)?;
    keys(20)?;
    let after = scrape(&stand.gateway)?;
    assert_eq!(after.series(), before.series());
    let seen = |exposition: &crate::exposition::Exposition| {
        exposition.sum("splittoken_gateway_client_requests_total")
    };
    assert!(seen(&after) >= seen(&before) + 3 * (FLOOD as u64 - 1) + 20);
    Ok(())
}
