//! No client can make a label: whatever is sent, the same series are there.

use anyhow::Result;
use serde_json::json;
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
        !text.contains(&first) && !text.contains(&known.opaque) && !text.contains("eyJ"),
        "{text}"
    );
    Ok(())
}
