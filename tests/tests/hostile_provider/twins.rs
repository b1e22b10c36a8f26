//! Two tokens with one signature.

use anyhow::Result;
use serde_json::json;
use splittoken_tests::certs::Authority;
use splittoken_tests::hostile::Hostile;
use splittoken_tests::jwt::{self, Key};
use splittoken_tests::scene::Scene;
use splittoken_tests::secret::base64url;

use super::{Court, UNTRUSTED};

#[test]
fn the_same_signature_over_other_claims_is_refused_where_it_is_checked() -> Result<()> {
    let court = Court::open()?;
    let first = court.scene.works()?;
    let header = first.split('.').next().unwrap_or_default();
    let payload = base64url(
        court
            .scene
            .provider
            .claims(&json!({"sub": "root"}))
            .to_string()
            .as_bytes(),
    );
    let forged = format!("{header}.{payload}.{}", jwt::signature(&first)?);
    court.refuses_token("the stored signature", &forged, "signature")?;
    court.scene.restores(jwt::signature(&first)?, &first)
}

/// Where TLS alone vouches for a token, the store is what notices.
#[test]
fn the_same_signature_over_other_claims_raises_an_alarm() -> Result<()> {
    const ALARM: &str = r#"splittoken_gateway_alarms_total{reason="signature_collision"}"#;
    let (authority, key) = (Authority::new()?, Key::es256()?);
    let provider = Hostile::start_tls(&authority, &[&key])?;
    let trusting = json!({
        "transport": null, "verification": "Transport",
        "tls": {"caCertificateRefs": [{"name": "ca"}]},
    });
    let scene = Scene::of(
        provider,
        key,
        |route| {
            route
                .issuer(&trusting)
                .config_map("ca", "ca.crt", authority.pem())
        },
        |gateway| gateway,
    )?;
    let first = scene.works()?;
    let header = first.split('.').next().unwrap_or_default();
    let payload = base64url(
        scene
            .provider
            .claims(&json!({"sub": "root"}))
            .to_string()
            .as_bytes(),
    );
    let forged = format!("{header}.{payload}.{}", jwt::signature(&first)?);
    scene.remember(&forged);
    scene.provider.answer_token(&forged);
    assert_eq!(scene.metric(ALARM)?, 0);
    let mark = scene.log_mark();
    let got = scene.ask()?;
    assert_eq!(got.status, UNTRUSTED, "{}", got.text());
    assert_eq!(scene.marks().found_in(&got.raw_body), Vec::<String>::new());
    assert_eq!(scene.metric(ALARM)?, 1);
    scene.logs_since(mark, "signature_collision")?;
    scene.restores(jwt::signature(&first)?, &first)?;
    scene.works()?;
    Ok(())
}
