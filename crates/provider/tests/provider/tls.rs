use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::{ServerConfig, pki_types::PrivateKeyDer};
use serde_json::json;
use splittoken_provider::{GivenCertificate, Provider, ProviderError, ProviderSettings};
use splittoken_token::SecretBytes;
use tokio_rustls::TlsAcceptor;

use super::support::{
    eventually, given, passes_with,
    server::{Reply, Server},
    settings,
    signer::{Signer, jwks},
    start,
};

type Ca = CertifiedIssuer<'static, KeyPair>;

fn ca(name: &str) -> Ca {
    let mut params = CertificateParams::new([]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A TLS server for `localhost` with a certificate of `ca`.
async fn server_of(ca: &Ca) -> Server {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["localhost".to_owned()])
        .unwrap()
        .signed_by(&key, ca)
        .unwrap();
    let private = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], private)
        .unwrap();
    Server::start_tls(TlsAcceptor::from(Arc::new(config))).await
}

fn https_only(url: &str, ca_certificates: Vec<String>) -> ProviderSettings {
    ProviderSettings {
        plain_http_allowed: false,
        ca_certificates,
        ..settings(url)
    }
}

const OPENID: &str = "/.well-known/openid-configuration";

#[tokio::test]
async fn a_private_ca_is_trusted_when_given() {
    let (ca, other) = (ca("ours"), ca("another"));
    let server = server_of(&ca).await;
    server.reply(OPENID, Reply::ok(&server.document(&json!({})).to_string()));
    server.reply("/jwks", Reply::ok(&jwks(&[&Signer::new("a")])));
    // Several PEMs, and a bundle in one of them, as ConfigMaps have it.
    let bundle = format!("# ours\n{}\n{}", other.pem(), ca.pem());
    let (provider, _task) = start(https_only(&server.url, vec![other.pem(), bundle]));
    eventually("the keys over TLS", || provider.keys().len() == 1).await;
}

#[tokio::test]
async fn another_ca_or_none_is_refused_with_the_reason() {
    let (ca, other) = (ca("ours"), ca("another"));
    let server = server_of(&ca).await;
    for trusted in [vec![other.pem()], vec![]] {
        let (provider, _task) = start(https_only(&server.url, trusted));
        eventually("an error", || {
            provider.state().discovery.unwrap().reason.is_some()
        })
        .await;
        let state = provider.state().discovery.unwrap();
        assert_eq!(state.reason, Some("provider_tls"));
        let error = state.error.unwrap();
        assert!(
            error.contains("invalid peer certificate: UnknownIssuer"),
            "{error}"
        );
    }
    assert_eq!(server.count(OPENID), 0);
}

#[tokio::test]
async fn a_certificate_for_another_host_is_refused() {
    let ca = ca("ours");
    let server = server_of(&ca).await;
    let (provider, _task) = start(https_only(
        &server.url.replace("localhost", "127.0.0.1"),
        vec![ca.pem()],
    ));
    eventually("an error", || {
        provider.state().discovery.unwrap().reason == Some("provider_tls")
    })
    .await;
    assert_eq!(server.count(OPENID), 0);
}

#[tokio::test]
async fn discovery_cannot_lead_from_https_to_http() {
    let ca = ca("ours");
    let (server, clear) = (server_of(&ca).await, Server::start().await);
    for member in ["token_endpoint", "jwks_uri", "revocation_endpoint"] {
        let document = server.document(&json!({ member: format!("{}/x", clear.url) }));
        server.reply(OPENID, Reply::ok(&document.to_string()));
        let (provider, _task) = start(https_only(&server.url, vec![ca.pem()]));
        eventually("an error", || {
            provider.state().discovery.unwrap().reason == Some("url_plain_http")
        })
        .await;
        let error = provider.state().discovery.unwrap().error.unwrap();
        assert!(error.contains(member), "{error}");
    }
    assert_eq!(clear.connections(), 0);
}

#[test]
fn settings_that_make_no_provider() {
    let reason = |settings| Provider::new(settings).unwrap_err();
    let good = ca("ours").pem();
    let truncated = good.replace("-----END", "----END");
    let no_x509 = "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n".to_owned();
    for bad in [String::new(), "no PEM".to_owned(), truncated, no_x509] {
        let error = reason(https_only("https://idp.example", vec![good.clone(), bad.clone()]));
        assert!(
            matches!(error, ProviderError::Certificate { number: 2, .. }),
            "{bad}: {error}"
        );
    }
    assert_eq!(
        reason(https_only("http://idp.example", vec![])).reason(),
        "url_plain_http"
    );
    assert_eq!(
        reason(settings("https://u:p@idp.example")).reason(),
        "url_user_info"
    );
    assert_eq!(reason(settings("https://idp.example?x")).reason(), "url_query");
    assert_eq!(reason(settings("idp")).reason(), "url_not_absolute");
    let mut plain = given("http://idp.example");
    plain.plain_http_allowed = false;
    assert_eq!(reason(plain).reason(), "url_plain_http");
}

#[test]
fn without_discovery_an_issuer_need_not_be_a_url() {
    let mut settings = given("https://idp.example");
    settings.url = "accounts.example".into();
    assert!(Provider::new(settings).is_ok());
}

/// Tells the process that the machine has no root certificates, as in a slim image.
const NO_ROOTS: [(&str, &str); 2] = [("SSL_CERT_FILE", "/dev/null"), ("SSL_CERT_DIR", "/dev/null")];

#[test]
fn without_system_roots_https_is_an_error_and_http_works() {
    let is_child = std::env::var("SSL_CERT_FILE").is_ok_and(|path| path == NO_ROOTS[0].1);
    if !is_child {
        passes_with(
            "tls::without_system_roots_https_is_an_error_and_http_works",
            &NO_ROOTS,
        );
        return;
    }
    let error = Provider::new(https_only("https://idp.example", vec![])).unwrap_err();
    assert_eq!(error.reason(), "http_client", "{error}");
    assert!(Provider::new(https_only("https://idp.example", vec![ca("ours").pem()])).is_ok());
    assert!(Provider::new(settings("http://idp.example")).is_ok());
}

#[tokio::test]
async fn a_client_certificate_that_cannot_be_used_is_found_at_once() {
    let certified = || {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["gateway.example".to_owned()]).unwrap();
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    };
    let ((pem, key), (_, other_key)) = (certified(), certified());
    for (chain, key, is_good) in [
        (&pem[..], &key[..], true),
        (&pem, &other_key, false),
        (&pem, "no key", false),
        ("no certificate", &key, false),
    ] {
        let settings = ProviderSettings {
            client_certificate: Some(GivenCertificate {
                chain: vec![chain.to_owned()],
                key: SecretBytes::new(key.as_bytes().to_vec()),
            }),
            ..https_only("https://idp.example", vec![pem.clone()])
        };
        let made = Provider::new(settings);
        assert_eq!(made.is_ok(), is_good, "{made:?}");
        if let Err(error) = made {
            assert_eq!((error.reason(), error.may_pass()), ("client_certificate", false));
            assert!(!error.with_causes().contains("PRIVATE"));
        }
    }
}
