//! Which credentials count, and what becomes of them.

use anyhow::Result;
use serde_json::json;
use splittoken_tests::secret;

use super::stand;

#[test]
fn the_upstream_gets_exactly_the_jwt_that_was_issued() -> Result<()> {
    let stand = stand()?;
    // The header's odd spaces, escapes and the order of members are part of the signature's input.
    let payload = stand
        .provider
        .claims(&json!({"name": "Zoë \"the\" / <tester>", "n": 1.50}))
        .to_string();
    let jwt = stand.key.token_of(
        &format!(
            "{{\"alg\" : \"ES256\",\"typ\":\"JWT\" , \"kid\": \"{}\"}}",
            stand.key.kid()
        ),
        &payload.replace('/', "\\/").replace(",\"", " ,\n \""),
    )?;
    stand.provider.answer_token(&jwt);
    let form = [("grant_type", "client_credentials")];
    let opaque = stand.gateway.token(None, &form)?.member("access_token")?;
    // Twice: from the store, and from the cache.
    for _ in 0..2 {
        let answer = stand.ask("GET /orders", &[&format!("Authorization: Bearer {opaque}")])?;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    for request in stand.upstream.take() {
        assert_eq!(request.header_all("authorization"), [format!("Bearer {jwt}")]);
    }
    Ok(())
}

#[test]
fn the_scheme_counts_in_any_case() -> Result<()> {
    let stand = stand()?;
    let token = stand.token(&json!({}))?;
    for scheme in ["Bearer", "bearer", "BEARER", "bEaReR"] {
        let answer = stand.ask(
            "GET /orders",
            &[&format!("authorization:{scheme} {}", token.opaque)],
        )?;
        assert_eq!(answer.status, 200, "{scheme}");
        assert_eq!(
            stand.upstream.last()?.header_all("authorization"),
            [token.restored()],
            "{scheme}"
        );
    }
    for scheme in ["", "Token ", "DPoP ", "Bearer: ", "Bearer=", "Bearertoken "] {
        let answer = stand.ask(
            "GET /orders",
            &[&format!("Authorization: {scheme}{}", token.opaque)],
        )?;
        assert_eq!(answer.status, 401, "{scheme:?}");
    }
    Ok(())
}

#[test]
fn where_a_token_is_optional_none_passes_and_a_bad_one_does_not() -> Result<()> {
    let stand = stand()?;
    let token = stand.token(&json!({}))?;
    assert_eq!(stand.ask("GET /maybe", &[])?.status, 200);
    assert_eq!(stand.upstream.last()?.header("authorization"), None);
    assert_eq!(stand.get("/maybe", &token)?.status, 200);
    assert_eq!(
        stand.upstream.last()?.header_all("authorization"),
        [token.restored()]
    );
    stand.upstream.take();
    let unknown = format!("Bearer {}", secret::base64url(&secret::bytes::<64>()));
    let whole = token.restored();
    for value in [unknown.as_str(), &whole, "Bearer x", "Basic c2hvcDpzZWNyZXQ="] {
        let answer = stand.ask("GET /maybe", &[&format!("Authorization: {value}")])?;
        assert_eq!(answer.status, 401, "{value}");
    }
    assert_eq!(stand.ask("GET /maybe?access_token=x", &[])?.status, 400);
    assert_eq!(stand.upstream.requests(), []);
    Ok(())
}

#[test]
fn where_no_token_is_asked_for_a_credential_is_taken_off() -> Result<()> {
    let stand = stand()?;
    let token = stand.token(&json!({}))?;
    for value in [
        token.restored(),
        format!("Bearer {}", token.opaque),
        "Basic c2hvcDpzZWNyZXQ=".to_owned(),
        "Bearer nonsense".to_owned(),
    ] {
        let answer = stand.ask("GET /open", &[&format!("Authorization: {value}")])?;
        assert_eq!(answer.status, 200, "{value}");
        assert_eq!(stand.upstream.last()?.header("authorization"), None, "{value}");
    }
    Ok(())
}

#[test]
fn credentials_for_proxies_are_ours_to_drop() -> Result<()> {
    let stand = stand()?;
    let token = stand.token(&json!({}))?;
    let headers = [
        &token.header(),
        "Proxy-Authorization: Basic c2hvcDpzZWNyZXQ=",
        "Cookie: session=1; theme=dark",
    ];
    assert_eq!(stand.ask("GET /orders", &headers)?.status, 200);
    let request = stand.upstream.last()?;
    assert_eq!(request.header("proxy-authorization"), None);
    // Not ours.
    assert_eq!(request.header("cookie").as_deref(), Some("session=1; theme=dark"));
    Ok(())
}

/// RFC 6750 section 2.2 lets a token be in a form. It is no credential here: bodies are streamed, never read.
#[test]
fn a_token_in_a_form_is_no_credential() -> Result<()> {
    let stand = stand()?;
    let token = stand.token(&json!({}))?;
    let form = format!("access_token={}", token.opaque);
    let headers = [
        "Content-Type: application/x-www-form-urlencoded",
        &format!("Content-Length: {}", form.len()),
    ];
    let bytes = splittoken_tests::stand::request(&stand.gateway.host(), "POST /orders", &headers, &form);
    let answer = stand.gateway.exchange(bytes)?.expect("an answer");
    assert_eq!(answer.status, 401);
    assert_eq!(stand.upstream.requests(), []);
    Ok(())
}

/// A key that the client may hold twice must not be told apart by who came first.
#[test]
fn two_clients_with_two_tokens_never_get_each_others() -> Result<()> {
    let stand = stand()?;
    let tokens: Vec<_> = (0..8)
        .map(|number| stand.token(&json!({"sub": format!("user-{number}")})))
        .collect::<Result<_>>()?;
    stand.upstream.script(|request| {
        let authorization = request.header("authorization").unwrap_or_default();
        vec![splittoken_tests::wire::Step::Send(
            splittoken_tests::wire::answer("200 OK", &[], authorization),
        )]
    });
    std::thread::scope(|scope| {
        let threads: Vec<_> = tokens
            .iter()
            .map(|token| {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let answer = stand.get("/orders", token)?;
                        assert_eq!(answer.text(), token.restored());
                    }
                    anyhow::Ok(())
                })
            })
            .collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().expect("no panic"))
    })
}
