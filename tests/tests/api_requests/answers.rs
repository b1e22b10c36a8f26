//! The gateway's own answers: RFC 6750 for what is wrong with a token, 5xx for what is wrong behind it.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::json;
use splittoken_tests::hostile::now;
use splittoken_tests::raw::Answer;
use splittoken_tests::secret;
use splittoken_tests::stand::Stand;
use splittoken_tests::wait;

use super::stand;

fn challenge(answer: &Answer) -> &str {
    answer.header("www-authenticate").unwrap_or_default()
}

#[test]
fn without_credentials_the_challenge_names_no_error() -> Result<()> {
    let stand = stand()?;
    for headers in [
        &[][..],
        &["Authorization: Basic c2hvcDpzZWNyZXQ="],
        &["Authorization: Bearer"],
        &["Authorization:"],
        &["Authorization: Negotiate abc"],
    ] {
        let answer = stand.ask("GET /orders", headers)?;
        assert_eq!(answer.status, 401, "{headers:?}");
        let challenge = challenge(&answer);
        assert!(
            challenge.starts_with("Bearer realm=\"") && !challenge.contains("error"),
            "{challenge}"
        );
    }
    assert_eq!(stand.upstream.requests(), []);
    Ok(())
}

/// Whatever is wrong with a token, the answer is the same, byte for byte.
#[test]
fn every_bad_token_gets_the_same_answer() -> Result<()> {
    let stand = stand()?;
    let good = stand.token(&json!({}))?;
    let other_realm = stand.token_at("neighbour.example", &json!({}))?;
    let expired = expired(&stand)?;
    let (head, last) = good.opaque.split_at(good.opaque.len() - 1);
    let non_canonical = format!("{head}{}", next_letter(last));
    let unknown = secret::base64url(&secret::bytes::<64>());
    let parts: Vec<_> = good.jwt.split('.').collect();
    let bad = [
        ("unknown", unknown.clone()),
        ("expired", expired),
        ("of another realm", other_realm.opaque),
        ("with stray bits at its end", non_canonical),
        ("padded", format!("{}==", good.opaque)),
        ("cut off", head.to_owned()),
        ("longer", format!("{}AAAA", good.opaque)),
        ("of a length that no algorithm gives", "AAAA".to_owned()),
        ("with a dot", format!(".{}", good.opaque)),
        (
            "with characters of plain base64",
            unknown.replace(['-', '_'], "+")[..85].to_owned() + "/",
        ),
        ("of other characters", "!".repeat(86)),
        ("two of them", format!("{0} {0}", good.opaque)),
        ("with a comma", format!("{0},{0}", good.opaque)),
        ("very long", "A".repeat(20_000)),
        ("a whole JWT", good.jwt.clone()),
        (
            "a JWT without its signature",
            format!("{}.{}.", parts[0], parts[1]),
        ),
        (
            "a JWT with another payload",
            format!("{}.{}.{}", parts[0], parts[0], parts[2]),
        ),
        ("five parts", format!("{0}.{0}.{0}.{0}.{0}", good.opaque)),
        ("the header alone", parts[0].to_owned()),
    ];
    let get = |token: &str| stand.ask("GET /orders", &[&format!("Authorization: Bearer {token}")]);
    let first = get(&unknown)?;
    assert_eq!(first.status, 401);
    assert_eq!(first.json()?["error"], "invalid_token");
    assert!(
        challenge(&first).contains("error=\"invalid_token\""),
        "{}",
        challenge(&first)
    );
    for (name, token) in bad {
        let answer = get(&token)?;
        assert_eq!(answer.status, first.status, "{name}");
        assert_eq!(answer.text(), first.text(), "{name}");
        let names = |answer: &Answer| {
            answer
                .headers
                .iter()
                .map(|(name, _)| name.clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(names(&answer), names(&first), "{name}");
        assert_eq!(challenge(&answer), challenge(&first), "{name}");
    }
    assert_eq!(stand.get("/orders", &good)?.status, 200);
    Ok(())
}

/// A token that worked a moment ago, and so lies in the cache, until it expired.
fn expired(stand: &Stand) -> Result<String> {
    let token = stand.token(&json!({"exp": now() + 10}))?;
    assert_eq!(stand.get("/orders", &token)?.status, 200);
    wait::until_true(Duration::from_secs(60), "the end of a token", || {
        stand
            .get("/orders", &token)
            .is_ok_and(|answer| answer.status == 401)
    })?;
    assert!(now() >= jwt_exp(&token.jwt)?, "it ended too early");
    Ok(token.opaque)
}

fn jwt_exp(jwt: &str) -> Result<u64> {
    splittoken_tests::jwt::claims(jwt)?["exp"]
        .as_u64()
        .context("no exp")
}

/// The next letter of base64url: the same bytes, with a stray bit at the end.
fn next_letter(letter: &str) -> char {
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let at = alphabet.find(letter).expect("a letter of base64url");
    alphabet[at + 1..]
        .chars()
        .next()
        .expect("the last letter of 64 bytes ends in zeros")
}

#[test]
fn a_token_with_too_little_scope_is_told_which_one_is_needed() -> Result<()> {
    let stand = stand()?;
    for scope in [
        json!(null),
        json!("orders:read"),
        json!("orders:reads orders:write"),
        json!(""),
    ] {
        let token = stand.token(&json!({ "scope": scope }))?;
        let answer = stand.get("/scoped", &token)?;
        assert_eq!(answer.status, 403, "{scope}");
        assert_eq!(answer.json()?["error"], "insufficient_scope");
        let challenge = challenge(&answer);
        assert!(challenge.contains("error=\"insufficient_scope\""), "{challenge}");
        assert!(
            challenge.contains("scope=\"orders:read orders:write\""),
            "{challenge}"
        );
    }
    assert_eq!(stand.upstream.requests(), []);
    let token = stand.token(&json!({"scope": "openid orders:write orders:read"}))?;
    assert_eq!(stand.get("/scoped", &token)?.status, 200);
    Ok(())
}

#[test]
fn an_upstream_that_is_not_there_is_a_502() -> Result<()> {
    let stand = stand()?;
    let token = stand.token(&json!({}))?;
    let answer = stand.get("/refused", &token)?;
    assert_eq!(answer.status, 502);
    assert!(
        !answer.text().contains("127.0.0.1"),
        "the answer names the upstream: {}",
        answer.text()
    );
    // The token comes first: nobody learns anything without one.
    assert_eq!(stand.ask("GET /refused", &[])?.status, 401);
    Ok(())
}

#[test]
fn a_path_of_no_rule_and_a_host_of_no_route_are_404() -> Result<()> {
    let stand = stand()?;
    let token = stand.token(&json!({}))?;
    let answer = stand.ask_at("nowhere.example", "GET /", &[&token.header()])?;
    assert_eq!(answer.status, 404);
    assert_eq!(stand.upstream.requests(), []);
    Ok(())
}

#[test]
fn answers_are_json_and_hold_no_token() -> Result<()> {
    let stand = stand()?;
    let token = stand.token(&json!({}))?;
    let authorization = token.header();
    for (line, headers) in [
        ("GET /scoped", &[authorization.as_str()][..]),
        ("GET /refused", &[&authorization]),
        ("GET /a;b", &[&authorization]),
        ("GET /orders", &[]),
    ] {
        let answer = stand.ask(line, headers)?;
        assert_eq!(answer.header("content-type"), Some("application/json"), "{line}");
        assert!(answer.json()?["error"].is_string(), "{line}");
        let all = String::from_utf8_lossy(&answer.head).into_owned() + &answer.text();
        assert!(
            !all.contains(&token.opaque) && !all.contains(&token.jwt),
            "{line}: {all}"
        );
    }
    Ok(())
}
