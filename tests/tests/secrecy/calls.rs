//! API calls, with the token where it belongs and wherever else a client might put it.

use anyhow::Result;
use splittoken_tests::secret;
use splittoken_tests::stand::request;

use crate::stage::Stage;
use crate::tokens::Held;

/// Every call with every token.
pub(super) fn all(stage: &Stage, held: &[Held]) -> Result<()> {
    for token in held {
        in_its_place(stage, token)?;
        in_headers(stage, token)?;
        in_the_target(stage, token)?;
        in_the_body(stage, token)?;
    }
    made_up(stage)
}

fn in_its_place(stage: &Stage, Held { host, opaque, jwt }: &Held) -> Result<()> {
    let input = &jwt[..jwt.len() - opaque.len()];
    let half = &opaque[..opaque.len() / 2];
    for (status, what, value) in [
        (200, "a good call", format!("Bearer {opaque}")),
        (200, "a scheme in lower case", format!("bearer {opaque}")),
        (401, "a whole JWT", format!("Bearer {jwt}")),
        (401, "a JWT without its signature", format!("Bearer {input}")),
        (
            401,
            "a JWT cut short",
            format!("Bearer {}", &jwt[..jwt.len() - 10]),
        ),
        (401, "half a token", format!("Bearer {half}")),
        (401, "a token and more", format!("Bearer {opaque}{half}")),
        (401, "two tokens", format!("Bearer {opaque}, Bearer {opaque}")),
        (401, "a quoted token", format!("Bearer \"{opaque}\"")),
        (401, "Basic", format!("Basic {opaque}")),
        (401, "DPoP", format!("DPoP {opaque}")),
        (401, "no scheme", opaque.clone()),
    ] {
        let header = format!("Authorization: {value}");
        stage.expect(status, what, (host, "GET /orders?page=2", &[&header], ""))?;
    }
    Ok(())
}

fn in_headers(stage: &Stage, Held { host, opaque, jwt }: &Held) -> Result<()> {
    let good = format!("Authorization: Bearer {opaque}");
    let whole = format!("Authorization: Bearer {jwt}");
    for (status, what, headers) in [
        (400, "two credentials", vec![good.clone(), good.clone()]),
        (400, "two different ones", vec![good.clone(), whole]),
        (
            401,
            "a cookie",
            vec![format!("Cookie: session={jwt}; token={opaque}")],
        ),
        (
            200,
            "a cookie beside it",
            vec![good.clone(), format!("Cookie: token={jwt}")],
        ),
        (401, "another header", vec![format!("X-Access-Token: {jwt}")]),
        (
            401,
            "a proxy's header",
            vec![format!("Proxy-Authorization: Bearer {jwt}")],
        ),
        (
            400,
            "a header with an underscore",
            vec![format!("access_token: {jwt}")],
        ),
        (
            400,
            "Connection",
            vec![good.clone(), format!("Connection: authorization, {opaque}")],
        ),
        (
            400,
            "an odd coding",
            vec![good.clone(), format!("Transfer-Encoding: {opaque}")],
        ),
    ] {
        let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
        stage.expect(status, what, (host, "GET /orders", &headers, ""))?;
    }
    // No host at all, or one that no route has: that depends on its length.
    let bytes = request(opaque, "GET /orders", &[&good], "");
    stage.send("a token as Host", bytes)?;
    Ok(())
}

fn in_the_target(stage: &Stage, Held { host, opaque, jwt }: &Held) -> Result<()> {
    let good = format!("Authorization: Bearer {opaque}");
    let spelled = percent_encoded(opaque);
    for (status, what, line) in [
        (
            400,
            "a token in the query",
            format!("GET /orders?access_token={opaque}"),
        ),
        (
            400,
            "a JWT in the query",
            format!("GET /orders?a=b&access%5ftoken={jwt}"),
        ),
        (
            200,
            "a JWT in another parameter",
            format!("GET /orders?next={jwt}"),
        ),
        (200, "a token in the path", format!("GET /orders/{opaque}")),
        (200, "a JWT in the path", format!("GET /orders/{jwt}/items")),
        (200, "a token spelled out", format!("GET /orders/{spelled}")),
        (
            200,
            "a JWT within a segment",
            format!("GET /orders/token={jwt}:x"),
        ),
        (
            400,
            "a path with a dot segment",
            format!("GET /orders/../{opaque}"),
        ),
        (
            400,
            "a path with a slash spelled out",
            format!("GET /orders%2f{jwt}"),
        ),
        (400, "a path parameter", format!("GET /orders;token={opaque}/x")),
        (
            400,
            "a user in the target",
            format!("GET http://{opaque}@{host}/orders"),
        ),
    ] {
        stage.expect(status, what, (host, &line, &[&good], ""))?;
    }
    for (what, line) in [
        ("a token in the path alone", format!("GET /orders/{opaque}")),
        ("a JWT in the path alone", format!("GET /orders/{jwt}")),
    ] {
        stage.expect(401, what, (host, &line, &[], ""))?;
    }
    // Not what anybody does, but it is logged where others are.
    stage.expect(
        401,
        "a token for a method",
        (host, &format!("{opaque} /orders"), &[], ""),
    )?;
    stage.send(
        "a line that is none",
        format!("GET /{jwt} {opaque}\r\nHost: {host}\r\n\r\n"),
    )?;
    stage.send(
        "a header that is none",
        format!("GET / HTTP/1.1\r\n{jwt}\r\n\r\n"),
    )?;
    Ok(())
}

fn in_the_body(stage: &Stage, Held { host, opaque, jwt }: &Held) -> Result<()> {
    let body = format!("access_token={opaque}&token={jwt}");
    let length = format!("Content-Length: {}", body.len());
    let form = "Content-Type: application/x-www-form-urlencoded";
    stage.expect(
        401,
        "a token in a form",
        (host, "POST /orders", &[form, &length], &body),
    )?;
    let good = format!("Authorization: Bearer {opaque}");
    let headers = [good.as_str(), form, &length];
    stage.expect(
        200,
        "a form that goes on",
        (host, "POST /orders", &headers, &body),
    )?;
    Ok(())
}

/// Tokens that nobody issued.
fn made_up(stage: &Stage) -> Result<()> {
    let host = stage.gateway.host();
    let pieces: Vec<String> = (0..460).map(|_| secret::text()).collect();
    let (huge, beyond) = (pieces[..460].concat(), pieces.concat().repeat(4));
    for piece in &pieces[..20] {
        stage.secrets.add("a made-up token", piece);
    }
    for (what, token) in [("an unknown token", &pieces[0]), ("a huge token", &huge)] {
        let header = format!("Authorization: Bearer {token}");
        stage.expect(401, what, (&host, "GET /orders", &[&header], ""))?;
    }
    let bytes = format!("GET /orders HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {beyond}\r\n\r\n");
    stage.send("a token beyond every limit", bytes)?;
    Ok(())
}

fn percent_encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
