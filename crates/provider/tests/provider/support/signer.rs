//! Keys made for the test, and tokens signed with them.

use aws_lc_rs::{
    hmac,
    signature::{Ed25519KeyPair, KeyPair},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use serde_json::{Value, json};

use super::now;

/// An Ed25519 key with an id, or without one.
pub(crate) struct Signer {
    id: Option<&'static str>,
    pair: Ed25519KeyPair,
}

impl Signer {
    pub(crate) fn new(id: &'static str) -> Self {
        Self {
            id: Some(id),
            pair: Ed25519KeyPair::generate().unwrap(),
        }
    }

    pub(crate) fn without_id() -> Self {
        Self {
            id: None,
            pair: Ed25519KeyPair::generate().unwrap(),
        }
    }

    /// A good token of `issuer`.
    pub(crate) fn token(&self, issuer: &str) -> String {
        let mut header = json!({"alg": "EdDSA"});
        if let Some(id) = self.id {
            header["kid"] = json!(id);
        }
        let message = message(&header, issuer);
        let signature = BASE64URL.encode(self.pair.sign(message.as_bytes()));
        format!("{message}.{signature}")
    }

    fn jwk(&self) -> Value {
        let mut jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": BASE64URL.encode(self.pair.public_key())});
        if let Some(id) = self.id {
            jwk["kid"] = json!(id);
        }
        jwk
    }
}

/// The JWK Set of these keys.
pub(crate) fn jwks(signers: &[&Signer]) -> String {
    json!({ "keys": signers.iter().map(|signer| signer.jwk()).collect::<Vec<_>>() }).to_string()
}

/// A good HS256 token of `issuer`.
pub(crate) fn hmac_token(secret: &[u8], issuer: &str) -> String {
    let message = message(&json!({"alg": "HS256"}), issuer);
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message.as_bytes());
    format!("{message}.{}", BASE64URL.encode(tag))
}

/// The same token with one bit of its signature turned.
pub(crate) fn forged(token: &str) -> String {
    let (message, signature) = token.rsplit_once('.').unwrap();
    let mut bytes = BASE64URL.decode(signature).unwrap();
    bytes[7] ^= 1;
    format!("{message}.{}", BASE64URL.encode(bytes))
}

fn message(header: &Value, issuer: &str) -> String {
    let claims = json!({"iss": issuer, "sub": "alice", "iat": now(), "exp": now() + 600});
    let part = |value: &Value| BASE64URL.encode(value.to_string());
    format!("{}.{}", part(header), part(&claims))
}
