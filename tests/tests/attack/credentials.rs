//! Where a credential stands, and in what form: one place, one form.

use anyhow::{Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use splittoken_tests::gate::{Case, Gate};

use super::strict_and_lenient;

fn get(target: &str, fields: &str) -> String {
    format!("GET {target} HTTP/1.1⏎Host: {{host}}⏎{fields}⏎⏎")
}

#[test]
fn only_bearer_and_one_space_is_bearer() -> Result<()> {
    let gate = strict_and_lenient()?;
    let basic = STANDARD.encode(format!("{}:", gate.token.opaque));
    let password = STANDARD.encode(format!("x:{}", gate.token.opaque));
    let values = [
        "",
        "Bearer",
        "Bearer ",
        "{token}",
        "Bearer{token}",
        "Bearer:{token}",
        "Bearer: {token}",
        "Bearer={token}",
        "Bearer\t{token}",
        "Bearer\t {token}",
        "Bearer \t{token}",
        "Bearer\u{a0}{token}",
        "\u{a0}Bearer {token}",
        "Bearer,{token}",
        "Bearer/{token}",
        "Bearer%20{token}",
        "Bearer+{token}",
        "Bearer \"{token}\"",
        "Bearer '{token}'",
        "Bearer <{token}>",
        "Bearer token={token}",
        "Bearer token=\"{token}\"",
        "Bearer access_token={token}",
        "Bearer Bearer {token}",
        "Bearer,Bearer {token}",
        "Bearer {token}, Bearer {token}",
        "Bearer {token},Bearer {token}",
        "Bearer {token},",
        "Bearer ,{token}",
        "Bearer {token};",
        "Bearer {token} {token}",
        "Bearer {token} x",
        "Bearer x {token}",
        "Bearer {token}\tx",
        "Bearers {token}",
        "Beare {token}",
        "B\u{e9}arer {token}",
        "Basic {token}",
        "Basic {token}:",
        "Token {token}",
        "JWT {token}",
        "OAuth {token}",
        "DPoP {token}",
        "MAC id=\"{token}\"",
        "Digest username=\"{token}\"",
        "Negotiate {token}",
        "Hawk id=\"{token}\"",
        "HOBA result=\"{token}\"",
        "AWS4-HMAC-SHA256 Credential={token}",
        "Apikey {token}",
        "null",
        "Bearer null",
        "Bearer undefined",
        "Bearer [object Object]",
    ];
    let mut cases: Vec<Case> = values
        .iter()
        .map(|value| Case::denied(*value, 401, get("/a", &format!("Authorization: {value}"))))
        .collect();
    for text in [basic, password] {
        cases.push(Case::denied(
            "Basic of the token",
            401,
            get("/a", &format!("Authorization: Basic {text}")),
        ));
    }
    gate.judge(&cases);
    Ok(())
}

/// RFC 9110 §11.1 and §5.5: the scheme in any case, and white space around a value is no part of it.
#[test]
fn what_is_the_same_value_is_the_same_credential() -> Result<()> {
    let fields = [
        "Authorization: bearer {token}",
        "Authorization: BEARER {token}",
        "Authorization:Bearer {token}",
        "Authorization: \t Bearer {token}",
        "Authorization: Bearer {token} \t",
        "aUTHORIZATION: Bearer {token}",
    ];
    let gate = strict_and_lenient()?;
    let cases: Vec<Case> = fields
        .iter()
        .map(|fields| Case::passed(*fields, "GET /a HTTP/1.1", get("/a", fields)))
        .collect();
    gate.judge_with(&cases, |_, request| {
        ensure!(request.header_all("authorization") == [gate.token.restored()]);
        Ok(())
    });
    Ok(())
}

#[test]
fn two_credentials_are_none() -> Result<()> {
    let fields = [
        "{auth}⏎{auth}",
        "{auth}⏎Authorization: Basic YTpi",
        "Authorization: Basic YTpi⏎{auth}",
        "{auth}⏎AUTHORIZATION: Bearer x",
        "authorization: Bearer x⏎{auth}",
        "{auth}⏎Authorization:",
        "Authorization:⏎{auth}",
        "{auth}⏎X: y⏎authorization: Bearer {token}",
        "{auth}⏎Authorization: Bearer {jwt}",
        "{auth}⏎ Bearer {token}",
        "Authorization: Bearer⏎ {token}",
        "Authorization:⏎ Bearer {token}",
        "Authorization : Bearer {token}",
        "Authorization\u{0}: Bearer {token}",
        "Authorization: Bearer {token}\u{0}",
        "Authorization: Bearer \u{0}{token}",
        "Authorization: Bearer {token}\rX: y",
    ];
    let mut cases = Vec::new();
    for target in ["/a", "/public"] {
        for fields in fields {
            cases.push(Case::refused(
                format!("{target} {fields}"),
                400,
                get(target, fields),
            ));
        }
    }
    strict_and_lenient()?.judge(&cases);
    Ok(())
}

#[test]
fn no_other_place_is_a_place() -> Result<()> {
    let fields = [
        "X: y",
        "Proxy-Authorization: Bearer {token}",
        "X-Authorization: Bearer {token}",
        "X-Access-Token: {token}",
        "X-Auth-Token: {token}",
        "X-Api-Key: {token}",
        "X-Forwarded-Authorization: Bearer {token}",
        "X-Original-Authorization: Bearer {token}",
        "X-Auth-Request-Access-Token: {token}",
        "Access-Token: {token}",
        "Cookie: access_token={token}",
        "Cookie: Authorization=Bearer {token}",
        "Cookie: token={token}⏎Cookie: session={token}",
        "Sec-WebSocket-Protocol: bearer, {token}",
        "Referer: http://{host}/?access_token={token}",
        "User-Agent: Bearer {token}",
        "Authentication: Bearer {token}",
        "WWW-Authenticate: Bearer {token}",
        "DPoP: {token}",
    ];
    let mut cases: Vec<Case> = fields
        .iter()
        .map(|fields| Case::denied(*fields, 401, get("/a", fields)))
        .collect();
    for (name, kind, body) in [
        (
            "a form",
            "application/x-www-form-urlencoded",
            "access_token={token}",
        ),
        ("JSON", "application/json", "{\"access_token\":\"{token}\"}"),
        ("text", "text/plain", "Authorization: Bearer {token}"),
    ] {
        let length = body.len() - "{token}".len() + 86;
        let head = format!("POST /a HTTP/1.1⏎Host: {{host}}⏎Content-Type: {kind}⏎Content-Length: {length}");
        cases.push(Case::denied(
            format!("in the body, as {name}"),
            401,
            format!("{head}⏎⏎{body}"),
        ));
    }
    for target in [
        "/a?token={token}",
        "/a?bearer={token}",
        "/a?Access_Token={token}",
        "/a/{token}",
        "/a?access_token%00={token}",
    ] {
        cases.push(Case::denied(target, 401, get(target, "X: y")));
    }
    strict_and_lenient()?.judge(&cases);
    Ok(())
}

#[test]
fn a_token_in_the_query_is_refused() -> Result<()> {
    let queries = [
        "access_token={token}",
        "access_token=",
        "access_token",
        "a=b&access_token={token}",
        "a=b;access_token={token}",
        "access_token={token}&access_token={token}",
        "%61ccess_token={token}",
        "access%5ftoken={token}",
        "access%5Ftoken",
        "&&access_token={token}",
        "?&access_token={token}",
    ];
    let mut cases = Vec::new();
    for query in queries {
        for fields in ["X: y", "{auth}"] {
            let name = format!("{query} with {fields}");
            cases.push(Case::denied(name, 400, get(&format!("/a?{query}"), fields)));
        }
    }
    strict_and_lenient()?.judge(&cases);
    Ok(())
}

#[test]
fn a_credential_is_no_larger_than_a_head() -> Result<()> {
    let gate = Gate::open()?;
    let of = |length: usize| get("/a", &format!("Authorization: Bearer {}", "A".repeat(length)));
    gate.judge(&[
        Case::denied("a kilobyte", 401, of(1024)),
        Case::denied("30 kB", 401, of(30_000)),
        Case::refused("64 kB", 431, of(64 * 1024)),
        Case::refused("a megabyte", 431, of(1024 * 1024)),
        Case::refused(
            "a megabyte of a scheme",
            431,
            get("/a", &format!("Authorization: {} x", "B".repeat(1024 * 1024))),
        ),
        Case::refused(
            "a megabyte of spaces",
            431,
            get(
                "/a",
                &format!("Authorization: Bearer{}x", " ".repeat(1024 * 1024)),
            ),
        ),
        Case::denied(
            "30 kB of JWT",
            401,
            get("/a", &format!("Authorization: Bearer {}", "a.".repeat(15_000))),
        ),
    ]);
    Ok(())
}
