//! What clients and providers send as tokens, keys and answers, and what lies in the store.

// Whatever cannot be had, the test cannot go on without.
#![allow(clippy::unwrap_used)]

use std::sync::LazyLock;

use serde_json::Value;
use splittoken_fuzz::run;
use splittoken_token::{
    Algorithm, Jws, KeySet, Keyring, Live, MAX_JWKS_KEYS, MemberPolicy, Meta, Opaque, Realm, ResponsePolicy,
    Stored, TokenResponse, Use, contains_jwt, derive_keys, error_response_is_safe, open, open_key_set, seal,
};

static KEYRING: LazyLock<Keyring> = LazyLock::new(|| Keyring::generate().unwrap());

fn algorithms() -> Vec<Algorithm> {
    let names = ["RS256", "PS256", "ES256", "ES384", "ES512", "EdDSA"];
    names.iter().map(|name| name.parse().unwrap()).collect()
}

/// What is taken apart is what comes together again, byte for byte.
#[test]
fn jws() {
    run("jws", |input| {
        let Ok(text) = std::str::from_utf8(input) else {
            return;
        };
        if let Ok(jws) = Jws::parse(text) {
            assert_eq!(format!("{}.{}", jws.signing_input(), jws.opaque().expose()), text);
            assert!(Opaque::parse(jws.opaque().expose()).is_ok());
            assert!(contains_jwt(text), "a JWT that is not known for one");
        }
    });
}

/// There is one spelling of each token.
#[test]
fn opaque() {
    run("opaque", |input| {
        let Ok(text) = std::str::from_utf8(input) else {
            return;
        };
        if let Ok(opaque) = Opaque::parse(text) {
            assert_eq!(opaque.expose(), text);
            assert!(
                text.bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
            );
        }
    });
}

/// Nobody makes a record without the keyring.
#[test]
fn record() {
    let opaque = Opaque::parse("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA").unwrap();
    let realm = Realm::of("SplitTokenIssuer", "id", "login");
    let keys = derive_keys(&KEYRING, KEYRING.write_kid(), &realm, Use::Access, &opaque).unwrap();
    run("record", |input| {
        assert!(open(&KEYRING, &keys, input).is_err());
        assert!(open_key_set(&KEYRING, "source", input).is_err());
    });
}

/// What is sealed comes back as it was, whatever it is, and no other bytes open.
#[test]
fn record_of_anything() {
    let opaque = Opaque::parse("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA").unwrap();
    let realm = Realm::of("SplitTokenIssuer", "id", "login");
    let keys = derive_keys(&KEYRING, KEYRING.write_kid(), &realm, Use::Access, &opaque).unwrap();
    run("record", |input| {
        let text = String::from_utf8_lossy(input).into_owned();
        let number = input
            .iter()
            .fold(0, |sum: u64, byte| sum.rotate_left(7) ^ u64::from(*byte));
        let live = Live {
            stored_at_ms: number,
            expires_at: number.rotate_left(32),
            meta: Meta {
                client_id: Some(text.clone()),
                sub: (number % 2 == 0).then(|| text.clone()),
                sid: None,
            },
            signing_input: text.into(),
        };
        let Ok(mut sealed) = seal(&keys, &live) else {
            return;
        };
        assert!(matches!(open(&KEYRING, &keys, &sealed), Ok(Stored::Live(found)) if found == live));
        let place = usize::try_from(number % sealed.len() as u64).unwrap();
        sealed[place] ^= 1;
        assert!(open(&KEYRING, &keys, &sealed).is_err());
    });
}

#[test]
fn jwks() {
    let algorithms = algorithms();
    run("jwks", |input| {
        if let Ok(keys) = KeySet::parse(input, &algorithms) {
            assert!(keys.key_ids().count() <= MAX_JWKS_KEYS);
        }
    });
}

/// Whatever a provider answers, what is left of it holds no JWT, and is JSON.
#[test]
fn response() {
    let policy = ResponsePolicy {
        refresh_token: MemberPolicy::Remove,
        id_token: MemberPolicy::Remove,
    };
    run("response", |input| {
        let Ok(response) = TokenResponse::parse(input) else {
            return;
        };
        // Whoever releases an answer asks this first.
        if response.check_leaks(policy).is_err() {
            return;
        }
        if let Ok(jws) = Jws::parse(response.expose_access_token()) {
            let split = response.split(policy, jws.opaque(), Some(60));
            released(&split);
            let answer: Value = serde_json::from_slice(&split).unwrap();
            assert_eq!(answer["access_token"], jws.opaque().expose());
        }
        if let Ok(passed) = response.pass(policy) {
            released(&passed);
        }
    });
}

fn released(body: &[u8]) {
    let text = std::str::from_utf8(body).unwrap();
    assert!(serde_json::from_str::<Value>(text).is_ok(), "{text}");
    assert!(!contains_jwt(text), "{text}");
}

#[test]
fn error_response() {
    run("error-response", |input| {
        if error_response_is_safe(input) {
            assert!(!contains_jwt(std::str::from_utf8(input).unwrap()));
        }
    });
}
