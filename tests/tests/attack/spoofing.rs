//! Header fields that upstreams trust: a client's own copies never arrive, and none of the gateway's is taken away.

use anyhow::{Result, ensure};
use splittoken_tests::gate::{Case, Gate};
use splittoken_tests::wire::Request;

use super::strict_and_lenient;

const OPEN: (&str, &str) = ("GET /public HTTP/1.1⏎Host: {host}⏎", "GET /public HTTP/1.1");
const WITH_TOKEN: (&str, &str) = ("GET /a HTTP/1.1⏎Host: {host}⏎{auth}⏎", "GET /a HTTP/1.1");

/// Both ways of getting through, with these fields.
fn both(fields: &str) -> [Case; 2] {
    let case = |way: &str, (head, line): (&str, &str)| {
        Case::passed(format!("{way}: {fields}"), line, format!("{head}{fields}⏎⏎"))
    };
    [case("without a token", OPEN), case("with a token", WITH_TOKEN)]
}

/// Nothing of the attacker's, and all of the gateway's own.
fn is_ours(gate: &Gate, request: &Request) -> Result<()> {
    let head = String::from_utf8_lossy(request.head()).to_ascii_lowercase();
    ensure!(!head.contains("evil") && !head.contains("6.6.6.6"), "{head}");
    ensure!(request.header_all("host") == [gate.stand.gateway.host()]);
    ensure!(request.header_all("x-forwarded-for") == ["127.0.0.1"]);
    ensure!(request.header_all("x-forwarded-proto") == ["http"]);
    ensure!(request.header_all("x-forwarded-host") == [gate.stand.gateway.host()]);
    let has_token = request.target() == "/a";
    let (users, tokens) = (
        request.header_all("x-user-id"),
        request.header_all("authorization"),
    );
    let expected = if has_token {
        vec![gate.token.restored()]
    } else {
        Vec::new()
    };
    ensure!(tokens == expected, "{tokens:?}");
    ensure!(
        users.len() == usize::from(has_token) && users.iter().all(|user| user == "mallory"),
        "{users:?}"
    );
    Ok(())
}

fn judge(fields: &[&str]) -> Result<()> {
    let gate = strict_and_lenient()?;
    let cases: Vec<Case> = fields.iter().flat_map(|fields| both(fields)).collect();
    gate.judge_with(&cases, |_, request| is_ours(&gate, request));
    Ok(())
}

#[test]
fn whoever_it_is_says_the_gateway() -> Result<()> {
    judge(&[
        "X-User-Id: evil",
        "x-user-id: evil",
        "X-USER-ID: evil",
        "X-User-Id: evil⏎X-User-Id: evil",
        "X-Role: evil",
        "x-rOlE: evil",
        "Remote-User: evil",
        "X-Remote-User: evil",
        "X-Authenticated-User: evil",
        "X-Authenticated-Userid: evil",
        "X-Authenticated-Scope: evil",
        "X-Auth-Request-User: evil",
        "X-Auth-Request-Email: evil",
        "X-Auth-Request-Groups: evil",
        "X-Auth-Request-Preferred-Username: evil",
        "X-Auth-Request-Access-Token: evil",
        "X-Consumer-Username: evil",
        "X-Credential-Identifier: evil",
        "X-Userinfo: evil",
        "X-WebAuth-User: evil",
        "Client-Cert: :evil:",
        "Client-Cert-Chain: :evil:",
        "Proxy-Authorization: Basic evil",
    ])
}

#[test]
fn wherever_it_comes_from_says_the_gateway() -> Result<()> {
    judge(&[
        "X-Forwarded-For: 6.6.6.6",
        "x-forwarded-for: 6.6.6.6, 127.0.0.1",
        "X-Forwarded-For: 6.6.6.6⏎X-Forwarded-For: 6.6.6.6",
        "X-Forwarded-For:",
        "X-Forwarded-For: unknown, evil",
        "X-Forwarded-Proto: evil",
        "X-Forwarded-Host: evil.example",
        "X-Forwarded-Port: evil",
        "X-Forwarded-Prefix: /evil",
        "X-Forwarded-Uri: /evil",
        "X-Forwarded-User: evil",
        "X-Forwarded-Email: evil",
        "X-Forwarded-Groups: evil",
        "X-Forwarded-Access-Token: evil",
        "X-Forwarded-Client-Cert: evil",
        "X-Forwarded-Whatever: evil",
        "X-FORWARDED-FOR: 6.6.6.6",
        "Forwarded: for=6.6.6.6",
        "forwarded: for=\"[::1]\";host=evil;proto=https",
        "X-Real-IP: 6.6.6.6",
        "x-real-ip: 6.6.6.6",
        "X-Original-URL: /evil",
        "X-Rewrite-URL: /evil",
    ])
}

#[test]
fn hop_by_hop_fields_end_here() -> Result<()> {
    judge(&[
        "Keep-Alive: evil",
        "Proxy-Connection: evil",
        "Proxy-Authenticate: evil",
        "TE: evil",
        "TE: trailers, evil",
        "Trailer: evil",
        "Upgrade: evil",
        "HTTP2-Settings: evil",
        "Expect: 100-continue",
        "Connection: close⏎Keep-Alive: evil",
        "Connection: x-evil⏎X-Evil: evil",
        "Connection: keep-alive, x-evil⏎X-Evil: evil",
        "Connection: X-Evil, close⏎X-Evil: evil⏎x-evil: evil",
        "Connection: x-a⏎Connection: x-evil⏎X-Evil: evil",
        "Connection: ,, x-evil ,⏎X-Evil: evil",
    ])
}

/// What `Connection` names goes, and what the gateway says comes after that.
#[test]
fn connection_takes_nothing_of_the_gateways() -> Result<()> {
    judge(&[
        "Connection: x-user-id",
        "Connection: X-User-Id, X-Role⏎X-User-Id: evil",
        "Connection: keep-alive, x-user-id⏎X-User-Id: evil",
        "Connection: te, x-user-id, upgrade",
        "Connection: forwarded⏎Forwarded: for=6.6.6.6",
        "Connection: x-real-ip⏎X-Real-Ip: 6.6.6.6",
        "Connection: connection",
        "Connection: transfer-encoding",
        "Proxy-Connection: x-user-id, authorization",
        "Keep-Alive: x-user-id",
    ])
}

#[test]
fn connection_names_nothing_end_to_end() -> Result<()> {
    let values = [
        "Authorization",
        "AUTHORIZATION",
        "close, authorization",
        "keep-alive,Authorization,x",
        "Host",
        "close, host",
        "Cookie",
        "X-Forwarded-For",
        "close, x-forwarded-for",
        "X-Forwarded-Proto",
        "X-Forwarded-Host",
        "Content-Length",
        "content-type",
        "close, Content-Length",
        "a b",
        "authorization;q=1",
        "\"authorization\"",
        "auth\u{e9}",
        "x=y",
        "(x)",
        "@",
    ];
    let mut cases = Vec::new();
    for value in values {
        for (way, (head, _)) in [("without a token", OPEN), ("with a token", WITH_TOKEN)] {
            let sent = format!("{head}Connection: {value}⏎⏎");
            cases.push(Case::refused(format!("{value}, {way}"), 400, sent));
        }
    }
    strict_and_lenient()?.judge(&cases);
    Ok(())
}

/// CGI and its heirs read `_` as `-`.
#[test]
fn underscores_are_no_hyphens() -> Result<()> {
    let names = [
        "X_User_Id",
        "X-User_Id",
        "x_user-id",
        "X_Forwarded_For",
        "X-Forwarded_For",
        "REMOTE_USER",
        "HTTP_X_USER_ID",
        "Authorization_",
        "_Host",
        "Transfer_Encoding",
        "Content_Length",
        "X_HTTP_Method_Override",
    ];
    let cases: Vec<Case> = names
        .iter()
        .map(|name| Case::refused(*name, 400, format!("{}{name}: evil⏎⏎", WITH_TOKEN.0)))
        .collect();
    strict_and_lenient()?.judge(&cases);
    Ok(())
}
