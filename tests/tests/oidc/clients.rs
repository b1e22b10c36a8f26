//! Client libraries that people use, unmodified, with the gateway's token endpoint in place of the provider's.

use anyhow::{Result, ensure};
use splittoken_tests::clients::{Errand, Report};
use splittoken_tests::jwt;
use splittoken_tests::restored::{bearer_of, signed_with_rs256};

use super::{Front, SCOPE};

/// RS256 with 2048 bits in base64url.
const SIGNATURE: usize = 342;

/// A client program's run with one of the libraries.
type Run = fn(&Errand) -> Result<Report>;

/// Python's Authlib over both HTTP libraries that it knows, and Go's x/oauth2.
const LIBRARIES: [(&str, Run); 3] = [
    ("Authlib on requests", Errand::authlib),
    ("Authlib on httpx", Errand::authlib_httpx),
    ("x/oauth2", Errand::go),
];

#[test]
fn libraries_get_tokens_with_client_credentials() -> Result<()> {
    let front = Front::start()?;
    let errand = Errand::new(
        front.provider.service(),
        &front.gateway.token_url(),
        &front.gateway.url("/orders"),
    );
    for (name, run) in LIBRARIES {
        let report = run(&errand.clone().scope("orders:read"))?;
        assert_eq!((report.refreshed, report.changed), (false, false), "{name}");
        opaque_for_the_client(name, &report);
        whole_for_the_api(&front, "service")?;
    }
    Ok(())
}

#[test]
fn libraries_log_in_with_pkce_and_refresh() -> Result<()> {
    let front = Front::start()?;
    // People log in at the provider itself; only tokens come through the gateway.
    let errand = Errand::new(
        front.provider.web(),
        &front.gateway.token_url(),
        &front.gateway.url("/orders"),
    )
    .log_in_at(&front.provider.auth_url())
    .scope(SCOPE);
    for (name, run) in LIBRARIES {
        let report = run(&errand)?;
        assert_eq!((report.refreshed, report.changed), (true, true), "{name}");
        opaque_for_the_client(name, &report);
        whole_for_the_api(&front, "alice")?;
    }
    Ok(())
}

fn opaque_for_the_client(name: &str, report: &Report) {
    assert!(!report.token_has_dots, "{name} holds a JWT: {report:?}");
    assert_eq!(report.token_length, SIGNATURE, "{name}: {report:?}");
    assert_eq!(report.token_type, "Bearer", "{name}");
    assert_eq!(
        (report.api_status, report.api_body.as_str()),
        (200, "ok"),
        "{name}"
    );
}

/// The one request that the API got since the last time carried a JWT of the provider for this subject.
fn whole_for_the_api(front: &Front, subject: &str) -> Result<()> {
    let requests = front.upstream.take();
    ensure!(requests.len() == 1, "{} requests", requests.len());
    let token = bearer_of(&requests[0])?;
    signed_with_rs256(&front.http, &front.jwks_url(), &token)?;
    assert_eq!(jwt::claims(&token)?["sub"], subject);
    Ok(())
}
