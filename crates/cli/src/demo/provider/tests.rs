//! The provider as a client meets it.

use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;

use crate::demo::{
    Parts,
    tests::{Reply, running, send, token},
};

const FORM: &str = "content-type: application/x-www-form-urlencoded\r\n";
/// `demo-client:demo-secret`.
const BASIC: &str = "authorization: Basic ZGVtby1jbGllbnQ6ZGVtby1zZWNyZXQ=\r\n";

async fn ask(parts: &Parts, headers: &str, form: &str) -> Reply {
    send(&parts.provider, "POST /token", &format!("{FORM}{headers}"), form).await
}

fn part(jwt: &str, index: usize) -> Value {
    let part = jwt.split('.').nth(index).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

#[tokio::test]
async fn a_token_verifies_against_the_published_keys() {
    let (parts, _stop) = running().await;
    let metadata = send(&parts.provider, "GET /.well-known/openid-configuration", "", "")
        .await
        .json();
    assert_eq!(metadata["issuer"], parts.provider);
    assert_eq!(metadata["token_endpoint"], format!("{}/token", parts.provider));
    assert_eq!(metadata["jwks_uri"], format!("{}/jwks", parts.provider));

    let jwt = token(&parts).await;
    let header = part(&jwt, 0);
    let jwks = send(&parts.provider, "GET /jwks", "", "").await.json();
    let key = jwks["keys"]
        .as_array()
        .unwrap()
        .iter()
        .find(|key| key["kid"] == header["kid"])
        .unwrap();
    assert_eq!(
        (&header["alg"], &key["alg"], &key["kty"]),
        (&"RS256".into(), &"RS256".into(), &"RSA".into())
    );

    let number = |name: &str| URL_SAFE_NO_PAD.decode(key[name].as_str().unwrap()).unwrap();
    let key = RsaPublicKeyComponents {
        n: number("n"),
        e: number("e"),
    };
    assert_eq!(key.n.len(), 256);
    let (input, signature) = jwt.rsplit_once('.').unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    key.verify(&RSA_PKCS1_2048_8192_SHA256, input.as_bytes(), &signature)
        .unwrap();
}

#[tokio::test]
async fn a_user_and_a_client_get_their_own_claims() {
    let (parts, _stop) = running().await;
    let user = part(&token(&parts).await, 1);
    assert_eq!(user["iss"], parts.provider);
    assert_eq!(user["sub"], "alice");
    assert_eq!(user["aud"], "https://api.demo");
    assert_eq!(user["client_id"], "demo-client");
    assert_eq!(user["exp"].as_u64().unwrap() - user["iat"].as_u64().unwrap(), 300);

    let reply = ask(
        &parts,
        BASIC,
        "grant_type=client_credentials&scope=orders:write+orders:read",
    )
    .await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    let answer = reply.json();
    assert_eq!(answer["token_type"], "Bearer");
    assert_eq!(answer["expires_in"], 300);
    assert_eq!(answer["scope"], "orders:write orders:read");
    let client = part(answer["access_token"].as_str().unwrap(), 1);
    assert_eq!(client["sub"], "demo-client");
    assert_eq!(client.get("email"), None);
    assert_ne!(client["jti"], user["jti"]);
}

#[tokio::test]
async fn refusals_are_those_of_the_rfc() {
    let (parts, _stop) = running().await;
    let cases = [
        (BASIC, "grant_type=refresh_token", 400, "unsupported_grant_type"),
        (BASIC, "scope=orders:read", 400, "invalid_request"),
        (
            BASIC,
            "grant_type=password&grant_type=password",
            400,
            "invalid_request",
        ),
        (BASIC, "grant_type=%zz", 400, "invalid_request"),
        (
            BASIC,
            "grant_type=client_credentials&client_secret=demo-secret",
            400,
            "invalid_request",
        ),
        (
            BASIC,
            "grant_type=client_credentials&client_id=another",
            400,
            "invalid_request",
        ),
        (
            BASIC,
            "grant_type=password&username=alice",
            400,
            "invalid_request",
        ),
        (
            BASIC,
            "grant_type=password&username=alice&password=wrong",
            400,
            "invalid_grant",
        ),
        (
            BASIC,
            "grant_type=password&username=bob&password=wonderland",
            400,
            "invalid_grant",
        ),
        (
            BASIC,
            "grant_type=client_credentials&scope=admin",
            400,
            "invalid_scope",
        ),
        ("", "grant_type=client_credentials", 401, "invalid_client"),
        (
            "",
            "grant_type=client_credentials&client_id=demo-client&client_secret=no",
            401,
            "invalid_client",
        ),
        (
            "authorization: Bearer demo-secret\r\n",
            "grant_type=client_credentials",
            401,
            "invalid_client",
        ),
        (
            "authorization: Basic !\r\n",
            "grant_type=client_credentials",
            401,
            "invalid_client",
        ),
    ];
    for (headers, form, status, error) in cases {
        let reply = ask(&parts, headers, form).await;
        assert_eq!(
            (reply.status, reply.json()["error"].as_str()),
            (status, Some(error)),
            "{form}"
        );
        assert_eq!(reply.header("cache-control"), Some("no-store"), "{form}");
        assert_eq!(
            reply.header("www-authenticate").is_some(),
            status == 401,
            "{form}"
        );
    }
    let issued = send(&parts.page, "GET /demo/issued", "", "").await.json();
    assert_eq!(issued["jwt"], Value::Null, "no refusal issued a token");
}

#[tokio::test]
async fn two_credentials_and_other_media_types_are_refused() {
    let (parts, _stop) = running().await;
    let reply = ask(&parts, &BASIC.repeat(2), "grant_type=client_credentials").await;
    assert_eq!(reply.json()["error"], "invalid_request");

    let json = format!("{BASIC}content-type: application/json\r\n");
    let reply = send(&parts.provider, "POST /token", &json, "{}").await;
    assert_eq!(
        (reply.status, reply.json()["error"].as_str()),
        (400, Some("invalid_request"))
    );
    assert_eq!(send(&parts.provider, "GET /token", "", "").await.status, 405);
}
