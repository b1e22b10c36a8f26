//! The realms' descriptions.

use serde_json::{Value, json};

use crate::oidc::Registration;
use crate::secret::base64url;

/// A realm that signs with RS256, Keycloak's default.
pub(super) fn rs256(name: &str, client: &Registration, user: &Registration) -> Value {
    json!({
        "realm": name,
        "enabled": true,
        "sslRequired": "none",
        "accessTokenLifespan": 600,
        "clients": [{
            "clientId": client.id,
            "secret": client.secret,
            "enabled": true,
            "publicClient": false,
            "serviceAccountsEnabled": true,
            "directAccessGrantsEnabled": true,
            "standardFlowEnabled": false,
        }],
        "users": [{
            "username": user.id,
            "enabled": true,
            // A user without these is asked to complete the account, and gets no token.
            "email": format!("{}@example.com", user.id),
            "emailVerified": true,
            "firstName": "Alice",
            "lastName": "Example",
            "credentials": [{"type": "password", "value": user.secret, "temporary": false}],
        }],
    })
}

/// The same realm, signing access tokens with HS256. Keycloak shows the secrets it made to nobody, but takes one that
/// is given to it.
pub(super) fn hs256(name: &str, client: &Registration, user: &Registration, secret: &[u8]) -> Value {
    let mut realm = rs256(name, client, user);
    realm["defaultSignatureAlgorithm"] = json!("HS256");
    realm["components"] = json!({
        "org.keycloak.keys.KeyProvider": [
            {
                "name": "hmac", "providerId": "hmac-generated", "subComponents": {},
                "config": {
                    "algorithm": ["HS256"], "priority": ["200"], "active": ["true"], "enabled": ["true"],
                    "kid": ["hmac-1"], "secret": [base64url(secret)], "secretSize": [secret.len().to_string()],
                },
            },
            {
                "name": "hmac-refresh", "providerId": "hmac-generated", "subComponents": {},
                "config": {"algorithm": ["HS512"], "priority": ["100"]},
            },
            {
                "name": "rsa", "providerId": "rsa-generated", "subComponents": {},
                "config": {"algorithm": ["RS256"], "priority": ["100"]},
            },
            {
                "name": "aes", "providerId": "aes-generated", "subComponents": {},
                "config": {"priority": ["100"]},
            },
        ],
    });
    realm
}
