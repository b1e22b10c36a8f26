//! The harness itself: each part starts, does what the tests rely on, and can be taken down.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::json;
use splittoken_tests::certs::Authority;
use splittoken_tests::clients::{Errand, Report};
use splittoken_tests::hostile::Hostile;
use splittoken_tests::http::Client;
use splittoken_tests::jwt::{self, Key};
use splittoken_tests::oidc::{OidcProvider, Pkce, REDIRECT_URL};
use splittoken_tests::raw;
use splittoken_tests::redis::Redis;
use splittoken_tests::upstream::Upstream;
use splittoken_tests::wire::{Step, answer};
use splittoken_tests::{browser, secret};

#[test]
fn redis_keeps_dumps_and_forgets() -> Result<()> {
    let redis = Redis::start()?;
    redis.command(&["SET", "name", "value"])?;
    redis.command(&["HSET", "hash", "field", "member"])?;
    let mut dump = redis.dump()?;
    dump.sort();
    assert_eq!(
        dump,
        [
            (b"hash".to_vec(), b"field\nmember".to_vec()),
            (b"name".to_vec(), b"value".to_vec())
        ]
    );
    let mut monitor = redis.connect()?;
    monitor.command(&["MONITOR"])?;
    redis.flush()?;
    assert!(
        monitor
            .receive()
            .context("nothing monitored")?
            .text()
            .contains("\"FLUSHALL\"")
    );
    assert_eq!(redis.dump()?, []);
    Ok(())
}

#[test]
fn redis_dies_and_comes_back_empty() -> Result<()> {
    let mut redis = Redis::start()?;
    redis.command(&["SET", "name", "value"])?;
    redis.kill()?;
    assert!(redis.connect().is_err(), "a killed Redis accepted a connection");
    redis.restart()?;
    assert_eq!(redis.dump()?, []);
    Ok(())
}

#[test]
fn a_paused_redis_answers_when_it_goes_on() -> Result<()> {
    let redis = Redis::start()?;
    let mut connection = redis.connect()?;
    redis.pause()?;
    let start = Instant::now();
    assert!(connection.send(&["PING"]).is_err(), "a stopped Redis answered");
    assert!(
        start.elapsed() > Duration::from_secs(4),
        "it closed instead of hanging"
    );
    redis.resume()?;
    assert_eq!(redis.command(&["PING"])?.text(), "PONG");
    Ok(())
}

#[test]
fn redis_lets_an_acl_user_do_what_its_rules_say() -> Result<()> {
    let redis = Redis::builder().acl(&["~st:*", "+get", "+set"]).start()?;
    let user = redis.user().context("no user")?;
    let mut connection = splittoken_tests::redis::Connection::open(redis.address())?;
    assert!(
        connection.command(&["GET", "st:1"]).is_err(),
        "no login was needed"
    );
    connection.command(&["AUTH", &user.user, &user.password])?;
    connection.command(&["SET", "st:1", "value"])?;
    assert!(
        connection.command(&["SET", "other", "value"]).is_err(),
        "the key pattern did not bite"
    );
    assert_eq!(redis.dump()?, [(b"st:1".to_vec(), b"value".to_vec())]);
    assert_eq!(std::fs::read_to_string(redis.password_file())?, user.password);
    Ok(())
}

#[test]
fn redis_speaks_tls_with_a_private_authority() -> Result<()> {
    let redis = Redis::builder().tls().start()?;
    let authority = std::fs::read_to_string(redis.ca_file())?;
    let url = redis.tls_url()?.replace("rediss:", "https:");
    // Redis takes an HTTP request for an attack and closes: what is shown is that the handshake passes, or not.
    let trusting = Client::trusting(&authority)?
        .get(&url)
        .err()
        .context("Redis answered HTTP")?;
    assert!(!format!("{trusting:?}").contains("UnknownIssuer"), "{trusting:?}");
    let other = Client::trusting(Authority::new()?.pem())?
        .get(&url)
        .err()
        .context("Redis answered HTTP")?;
    assert!(format!("{other:?}").contains("certificate"), "{other:?}");
    Ok(())
}

#[test]
fn oidc_provider_gives_jwts() -> Result<()> {
    let provider = OidcProvider::start()?;
    let token = provider
        .client_credentials("orders:read")?
        .member("access_token")?;
    assert_eq!(jwt::header(&token)?["alg"], "RS256");
    let claims = jwt::claims(&token)?;
    assert_eq!(claims["iss"], provider.issuer());
    assert_eq!(claims["aud"], "urn:shop");
    assert_eq!(claims["scope"], "orders:read");
    assert_eq!(claims["tenant"], "acme");
    Ok(())
}

#[test]
fn oidc_provider_logs_in_and_rotates_refresh_tokens() -> Result<()> {
    let provider = OidcProvider::start()?;
    let http = Client::new()?;
    let pkce = Pkce::new();
    let code = provider.login(&pkce, "openid offline_access orders:read")?;
    let form = [
        ("grant_type", "authorization_code"),
        ("code", &code),
        ("redirect_uri", REDIRECT_URL),
        ("code_verifier", &pkce.verifier),
    ];
    let basic = Some(provider.web().basic());
    let first = http.post_form(&provider.token_url(), basic, &form)?;
    assert_eq!(jwt::claims(&first.member("access_token")?)?["sub"], "alice");
    assert_eq!(jwt::claims(&first.member("id_token")?)?["aud"], "web");
    let refresh_token = first.member("refresh_token")?;
    let form = [
        ("grant_type", "refresh_token"),
        ("refresh_token", refresh_token.as_str()),
    ];
    let second = http.post_form(&provider.token_url(), basic, &form)?;
    assert_ne!(second.member("refresh_token")?, refresh_token);
    assert_ne!(second.member("access_token")?, first.member("access_token")?);
    assert_eq!(
        http.post_form(&provider.token_url(), basic, &form)?.status,
        400,
        "used twice"
    );
    Ok(())
}

#[test]
fn oidc_provider_gives_opaque_tokens_where_asked() -> Result<()> {
    let provider = OidcProvider::start()?;
    let form = [("grant_type", "client_credentials"), ("resource", "urn:opaque")];
    let answer = Client::new()?.post_form(&provider.token_url(), Some(provider.service().basic()), &form)?;
    assert!(!answer.member("access_token")?.contains('.'));
    Ok(())
}

#[test]
fn upstream_records_raw_bytes() -> Result<()> {
    let upstream = Upstream::start()?;
    let plain = b"GET /a?b=c HTTP/1.1\r\nhost: x\r\nX-Odd:  spaced \r\n\r\n".to_vec();
    let long = b"POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody".to_vec();
    let chunked =
        b"POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nab\r\n0\r\nT: 1\r\n\r\n"
            .to_vec();
    let mut client = raw::Client::connect(upstream.address())?;
    // All at once: the upstream must find the ends by itself.
    client.send([plain.as_slice(), &long, &chunked].concat())?;
    for _ in 0..3 {
        let answer = client.read()?.context("closed")?;
        assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
    }
    let requests = upstream.take();
    assert_eq!(
        requests
            .iter()
            .map(|request| request.raw.clone())
            .collect::<Vec<_>>(),
        [plain, long, chunked]
    );
    assert_eq!(requests[0].target(), "/a?b=c");
    assert_eq!(requests[0].header("x-odd").as_deref(), Some("spaced"));
    assert_eq!(requests[1].body(), b"body");
    assert_eq!(upstream.connections(), 1);
    assert_eq!(upstream.requests(), []);
    Ok(())
}

#[test]
fn raw_client_reads_every_framing_and_the_close() -> Result<()> {
    let upstream = Upstream::start()?;
    let request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    upstream.steps(vec![
        Step::send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"),
        Step::Wait(Duration::from_millis(20)),
        Step::send("2\r\nde\r\n0\r\n\r\n"),
    ]);
    let answer = raw::exchange(upstream.address(), request)?.context("closed")?;
    assert_eq!(answer.text(), "abcde");
    assert_eq!(answer.raw_body, b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
    upstream.steps(vec![
        Step::send("HTTP/1.0 404 Nope\r\nA: 1\r\na: 2\r\n\r\nto the close"),
        Step::Close,
    ]);
    let answer = raw::exchange(upstream.address(), request)?.context("closed")?;
    assert_eq!((answer.status, answer.text().as_str()), (404, "to the close"));
    assert_eq!(answer.header_all("A"), ["1", "2"]);
    upstream.steps(vec![Step::Close]);
    assert_eq!(raw::exchange(upstream.address(), request)?, None);
    upstream.answer(answer_of_length_9());
    let mut client = raw::Client::connect(upstream.address())?;
    client.send("HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")?;
    assert_eq!(client.read_head()?.context("closed")?.body, b"");
    drop(upstream);
    assert!(client.closed()?, "the upstream's end left a connection open");
    Ok(())
}

fn answer_of_length_9() -> &'static str {
    "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"
}

#[test]
fn a_truncated_answer_is_an_error() -> Result<()> {
    let upstream = Upstream::start()?;
    upstream.steps(vec![
        Step::send(answer_of_length_9()),
        Step::send("short"),
        Step::Close,
    ]);
    assert!(raw::exchange(upstream.address(), "GET / HTTP/1.1\r\nHost: x\r\n\r\n").is_err());
    Ok(())
}

#[test]
fn hostile_says_what_it_is_told_with_keys_that_fit() -> Result<()> {
    let keys = [
        Key::rs256()?,
        Key::ps256()?,
        Key::es256()?,
        Key::eddsa()?,
        Key::hs256(),
    ];
    let authority = Authority::new()?;
    let provider = Hostile::start_tls(&authority, &keys.each_ref())?;
    let http = Client::trusting(authority.pem())?;
    let discovery = http.get(&format!("{}/.well-known/openid-configuration", provider.issuer()))?;
    assert_eq!(discovery.member("issuer")?, provider.issuer());
    let jwks = http.get(&discovery.member("jwks_uri")?)?.json()?;
    assert_eq!(
        jwks["keys"].as_array().map(Vec::len),
        Some(4),
        "an HS256 secret has no place in a JWKS"
    );
    assert_eq!(
        secret::from_base64url(jwks["keys"][0]["n"].as_str().unwrap_or_default())?.len(),
        256
    );
    assert_eq!(jwks["keys"][0]["e"], "AQAB");
    let token = keys[2].token(&provider.claims(&json!({"aud": "urn:shop"})))?;
    assert_eq!(secret::from_base64url(jwt::signature(&token)?)?.len(), 64);
    provider.answer_token(&token);
    let given = http.post_form(
        &provider.token_url(),
        None,
        &[("grant_type", "client_credentials")],
    )?;
    assert_eq!(given.member("access_token")?, token);
    assert_eq!(jwt::claims(&token)?["iss"], provider.issuer());
    provider.answer_steps(vec![
        Step::send(&answer("200 OK", &[], "0123456789")[..40]),
        Step::Close,
    ]);
    assert!(
        http.post_form(&provider.token_url(), None, &[]).is_err(),
        "truncated"
    );
    assert_eq!(provider.requests("/token").len(), 2);
    assert_eq!(provider.requests("/jwks").len(), 1);
    Ok(())
}

/// Python's joserfc checks each kind of signature against the JWKS: an opinion that is not ours.
#[test]
fn signatures_are_what_another_library_takes() -> Result<()> {
    let keys = [Key::rs256()?, Key::ps256()?, Key::es256()?, Key::eddsa()?];
    let jwks = jwt::jwks(&keys.each_ref())?.to_string();
    let program = "import sys,json\nfrom joserfc import jwt,jwk\n\
        keys=jwk.KeySet.import_key_set(json.loads(sys.argv[1]))\n\
        print(jwt.decode(sys.argv[2],keys,algorithms=['RS256','PS256','ES256','EdDSA']).claims['sub'])";
    for key in &keys {
        let token = key.token(&json!({"sub": "mallory"}))?;
        let mut command = std::process::Command::new(splittoken_tests::parts::path("SPLITTOKEN_PYTHON")?);
        command.args(["-W", "ignore", "-c", program, &jwks, &token]);
        let said = splittoken_tests::process::Process::start("joserfc", &command)?
            .finish(Duration::from_secs(60))?;
        assert_eq!(said.trim(), "mallory", "{}", key.algorithm());
    }
    Ok(())
}

#[test]
fn client_libraries_run_their_errands() -> Result<()> {
    let provider = OidcProvider::start()?;
    let upstream = Upstream::start()?;
    let service =
        Errand::new(provider.service(), &provider.token_url(), &upstream.url()).scope("orders:read");
    for report in [service.authlib()?, service.authlib_httpx()?, service.go()?] {
        expect_direct_token(&report, false);
    }
    let web = Errand::new(provider.web(), &provider.token_url(), &upstream.url())
        .scope("openid offline_access orders:read")
        .log_in_at(&provider.auth_url());
    for report in [web.authlib()?, web.authlib_httpx()?, web.go()?] {
        expect_direct_token(&report, true);
    }
    assert_eq!(upstream.requests().len(), 6);
    assert!(
        upstream
            .last()?
            .header("authorization")
            .is_some_and(|value| value.starts_with("Bearer ey"))
    );
    Ok(())
}

/// Asked at the provider itself, the token is a JWT.
fn expect_direct_token(report: &Report, refreshed: bool) {
    assert!(report.token_has_dots && report.token_length > 300, "{report:?}");
    assert_eq!((report.api_status, report.api_body.as_str()), (200, "ok"));
    assert_eq!((report.refreshed, report.changed), (refreshed, refreshed));
}

#[test]
fn browser_opens_a_page() -> Result<()> {
    let upstream = Upstream::start()?;
    let page = "<!doctype html><link rel=icon href='data:,'><title>A page</title>";
    upstream.answer(answer("200 OK", &[("Content-Type", "text/html")], page));
    assert!(browser::run("smoke.mjs", &[&upstream.url()])?.contains("TITLE A page"));
    upstream.answer(answer(
        "200 OK",
        &[("Content-Type", "text/html")],
        "<script>nothing.here()</script>",
    ));
    assert!(
        browser::run("smoke.mjs", &[&upstream.url()]).is_err(),
        "the page's error passed unseen"
    );
    Ok(())
}
