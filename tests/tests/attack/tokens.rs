//! What is no token of this route, however much it looks like one. There is one answer to all of it.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use splittoken_tests::gate::{Case, Gate, report};
use splittoken_tests::hostile::{Hostile, now};
use splittoken_tests::jwt::Key;
use splittoken_tests::route::Route;
use splittoken_tests::secret::base64url;
use splittoken_tests::stand::Stand;
use splittoken_tests::wait;

fn with(token: &str) -> String {
    format!("GET /a HTTP/1.1⏎Host: {{host}}⏎Authorization: Bearer {token}⏎⏎")
}

/// All are refused, with the same words, and nothing of a JWT comes back.
fn refuses(gate: &Gate, tokens: &[(&str, String)]) {
    println!("{} cases", tokens.len());
    let failures = tokens.iter().filter_map(|(name, token)| {
        let refused = || {
            let (answer, requests) = gate.send(&with(token))?;
            let answer = answer.context("closed without an answer")?;
            ensure!(answer.status == 401, "{}: {}", answer.status, answer.text());
            ensure!(requests.is_empty(), "the upstream got {requests:?}");
            let told = answer.header("www-authenticate").unwrap_or_default().to_owned();
            ensure!(told.contains("error=\"invalid_token\""), "{told}");
            let secret = gate.token.jwt.split('.').nth(1).unwrap_or_default();
            let all = [answer.head.clone(), answer.body.clone()].concat();
            ensure!(
                !String::from_utf8_lossy(&all).contains(secret),
                "the answer tells the claims"
            );
            Ok(())
        };
        Some((*name, refused().err()?))
    });
    report(failures.collect());
}

/// The other letter that stands for the same bytes where a text's last letter has bits to spare.
fn twin(token: &str) -> String {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let last = token.chars().last().unwrap_or_default();
    let at = ALPHABET.find(last).unwrap_or_default();
    format!("{}{}", &token[..token.len() - 1], &ALPHABET[at + 1..=at + 1])
}

#[test]
fn a_token_has_one_spelling() -> Result<()> {
    let gate = Gate::open()?;
    let token = gate.token.opaque.clone();
    let swapped = |from: char, to: char| token.replace(from, &to.to_string());
    let escaped: String = token.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let cases = [
        ("padded", format!("{token}=")),
        ("padded twice", format!("{token}==")),
        ("padded, escaped", format!("{token}%3D%3D")),
        ("upper case", token.to_uppercase()),
        ("lower case", token.to_lowercase()),
        ("its twin", twin(&token)),
        ("one letter less", token[1..].to_owned()),
        ("one letter less at the end", token[..token.len() - 1].to_owned()),
        ("one letter more", format!("{token}A")),
        ("one letter more before it", format!("A{token}")),
        ("twice", format!("{token}{token}")),
        ("half", token[..token.len() / 2].to_owned()),
        ("backwards", token.chars().rev().collect()),
        ("the other alphabet", format!("{}+/", &token[..token.len() - 2])),
        ("escaped", escaped),
        (
            "an escaped letter",
            format!("%{:02x}{}", token.as_bytes()[0], &token[1..]),
        ),
        ("quoted", format!("\"{token}\"")),
        ("a space in it", format!("{} {}", &token[..9], &token[9..])),
        ("a tab in it", format!("{}\t{}", &token[..9], &token[9..])),
        ("an escaped NUL", format!("{token}%00")),
        ("an escaped line end", format!("{token}%0d%0a")),
        (
            "an escaped line end in it",
            format!("{}%0a{}", &token[..9], &token[9..]),
        ),
        ("a comment", format!("{token}#x")),
        ("a query", format!("{token}?x")),
        ("a path", format!("../{token}")),
        ("a byte over 127", format!("{token}\u{e9}")),
        ("a full-width letter", format!("{token}\u{ef}\u{bc}\u{a1}")),
        ("a soft hyphen", format!("{token}\u{c2}\u{ad}")),
        ("zeros", "A".repeat(86)),
        ("ones", format!("{}w", "_".repeat(85))),
        ("nothing", "A".repeat(43)),
        ("too short", "A".repeat(42)),
        ("too long", "A".repeat(2000)),
        ("bad letters", "!".repeat(86)),
        (
            "a hash of it",
            base64url(
                &aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, token.as_bytes())
                    .as_ref()
                    .repeat(2),
            ),
        ),
        ("minus for underscore", swapped('_', '-') + "A"),
    ];
    refuses(&gate, &cases.map(|(name, text)| (name, text)));
    Ok(())
}

/// Whatever the store speaks, it never hears a client's words.
#[test]
fn the_stores_language_is_no_token() -> Result<()> {
    let gate = Gate::open()?;
    let words = [
        "*",
        "?",
        "[a-z]*",
        "st1:*",
        "st1:",
        "{st1}",
        "st1:{token}",
        "KEYS *",
        "FLUSHALL",
        "*1$8FLUSHALL",
        "*3%0d%0a$3%0d%0aSET%0d%0a$1%0d%0aa%0d%0a$1%0d%0ab",
        "$-1",
        "+OK",
        ":1",
        "-ERR",
        "\\x00",
        "\\r\\nFLUSHALL\\r\\n",
        "'; DROP TABLE tokens; --",
        "${jndi:ldap://evil.example}",
        "{{7*7}}",
        "%n%n%n%s",
        "<script>",
        "`id`",
        "$(id)",
        "../../etc/passwd",
        "__proto__",
        "true",
        "0",
        "-1",
        "NaN",
        "null",
    ];
    let cases: Vec<(&str, String)> = words.iter().map(|word| (*word, (*word).to_owned())).collect();
    refuses(&gate, &cases);
    gate.judge(&[
        Case::refused("a line end", 400, with("{token}\r")),
        Case::refused("a line end and words", 400, with("{token}⏎*1⏎$8⏎FLUSHALL")),
        Case::refused("a NUL", 400, with("{token}\u{0}")),
        Case::refused("ESC", 400, with("{token}\u{1b}[2J")),
    ]);
    Ok(())
}

#[test]
fn a_whole_jwt_is_refused_in_every_disguise() -> Result<()> {
    let gate = Gate::open()?;
    let (jwt, token) = (gate.token.jwt.clone(), gate.token.opaque.clone());
    let parts: Vec<&str> = jwt.split('.').collect();
    let [header, payload, signature] = parts[..] else {
        anyhow::bail!("no JWT");
    };
    let none = base64url(br#"{"alg":"none"}"#);
    let cases = [
        ("as it is", jwt.clone()),
        ("without its signature", format!("{header}.{payload}")),
        ("with an empty signature", format!("{header}.{payload}.")),
        ("without its header", format!(".{payload}.{signature}")),
        ("without its claims", format!("{header}..{signature}")),
        ("two dots and a signature", format!("..{signature}")),
        ("a dot and a signature", format!(".{signature}")),
        ("a signature and a dot", format!("{signature}.")),
        ("backwards", format!("{signature}.{payload}.{header}")),
        ("alg none", format!("{none}.{payload}.")),
        ("alg none, signed", format!("{none}.{payload}.{signature}")),
        (
            "a JWE's five parts",
            format!("{header}.{payload}.{signature}.{payload}.{signature}"),
        ),
        ("four parts", format!("{jwt}.{signature}")),
        ("six parts", format!("{jwt}.{jwt}")),
        ("escaped dots", jwt.replace('.', "%2E")),
        ("escaped dots, lower case", jwt.replace('.', "%2e")),
        ("escaped twice", jwt.replace('.', "%252e")),
        ("commas for dots", jwt.replace('.', ",")),
        ("colons for dots", jwt.replace('.', ":")),
        ("tildes, as an SD-JWT", format!("{jwt}~")),
        ("a selective disclosure", format!("{jwt}~{payload}~")),
        ("spaces for dots", jwt.replace('.', " ")),
        ("no dots", jwt.replace('.', "")),
        ("spaces around its dots", jwt.replace('.', " . ")),
        ("one-dot leaders", jwt.replace('.', "\u{e2}\u{80}\u{a4}")),
        ("in quotes", format!("\"{jwt}\"")),
        ("in single quotes", format!("'{jwt}'")),
        ("in brackets", format!("[{jwt}]")),
        ("in JSON", format!("{{\"access_token\":\"{jwt}\"}}")),
        ("within another scheme", format!("Bearer {jwt}")),
        ("as a parameter", format!("token={jwt}")),
        ("encoded once more", base64url(jwt.as_bytes())),
        (
            "in hexadecimal",
            jwt.bytes().map(|byte| format!("{byte:02x}")).collect(),
        ),
        ("behind its token", format!("{token} {jwt}")),
        ("before its token", format!("{jwt} {token}")),
        ("a list", format!("{jwt},{token}")),
        ("padded", format!("{jwt}==")),
        ("in upper case", jwt.to_uppercase()),
        ("its header alone", header.to_owned()),
        ("its claims alone", payload.to_owned()),
        ("header and signature", format!("{header}{signature}")),
        ("claims and signature", format!("{payload}{signature}")),
        (
            "nested",
            format!("{}.{}.{signature}", base64url(jwt.as_bytes()), payload),
        ),
        (
            "in JSON serialisation",
            format!("{{\"payload\":\"{payload}\",\"protected\":\"{header}\",\"signature\":\"{signature}\"}}"),
        ),
    ];
    refuses(&gate, &cases);
    Ok(())
}

#[test]
fn an_expired_token_is_none() -> Result<()> {
    let gate = Gate::open()?;
    let token = gate.stand.token(&json!({"exp": now() + 10, "iat": now()}))?;
    let status = || gate.stand.get("/a", &token).map(|answer| answer.status);
    let before = status()?;
    ensure!(before == 200, "a token that lives got {before}");
    wait::until_true(Duration::from_secs(100), "the end of a token", || {
        status().is_ok_and(|status| status != 200)
    })?;
    gate.stand.upstream.take();
    refuses(&gate, &[("expired", token.opaque)]);
    Ok(())
}

/// Two routes, two issuers: what one issued, the other has never heard of, and the same key makes no difference.
#[test]
fn a_token_of_another_realm_is_none() -> Result<()> {
    let key = Key::es256()?;
    let other = Hostile::start(&[&key])?;
    let stand = Stand::with(|to| {
        let first: String = Route::new(&to.issuer, &to.upstream).into();
        let second: String = Route::new(&other.issuer(), &to.upstream)
            .named("other")
            .spec(&json!({"hostnames": ["other.example"]}))
            .into();
        first + &second
    })?;
    let gate = Gate::of(stand)?;
    let at = |host: &str, token: &str| {
        gate.stand
            .ask_at(host, "GET /a", &[&format!("Authorization: Bearer {token}")])
    };
    let foreign = key.token(&other.claims(&json!({"jti": "foreign"})))?;
    other.answer_token(&foreign);
    let form = "grant_type=client_credentials";
    let request = format!(
        "POST /oauth/token HTTP/1.1\r\nHost: other.example\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {}\r\n\r\n{form}",
        form.len()
    );
    let answer = gate.stand.gateway.exchange(request)?.context("no answer")?;
    let opaque = answer.json()?["access_token"]
        .as_str()
        .context("no token")?
        .to_owned();
    ensure!(
        at("other.example", &opaque)?.status == 200,
        "a token in its own realm"
    );
    gate.stand.upstream.take();
    let host = gate.stand.gateway.host();
    for (what, host, token) in [
        (
            "the first one's at the other",
            "other.example",
            gate.token.opaque.as_str(),
        ),
        ("the other's at the first", host.as_str(), &opaque),
        ("the other's JWT at the first", host.as_str(), &foreign),
        ("the other's JWT at the other", "other.example", &foreign),
    ] {
        let status = at(host, token)?.status;
        ensure!(status == 401, "{what}: {status}");
        ensure!(gate.good_request()?.is_empty(), "{what} arrived");
    }
    Ok(())
}
