use aws_lc_rs::{
    hmac,
    rand::SystemRandom,
    rsa,
    signature::{self as sig, KeyPair},
};
use serde_json::{Value, json};

use super::*;
use crate::{KeySetError, SecretBytes, base64url::encode};

type Sign = Box<dyn Fn(&[u8]) -> Vec<u8>>;

/// A private key of each kind, made for the test, and its JWK.
struct Signer {
    algorithm: Algorithm,
    jwk: Value,
    sign: Sign,
}

fn rsa_signer(algorithm: Algorithm, encoding: &'static dyn sig::RsaEncoding) -> Signer {
    let pair = rsa::KeyPair::generate(rsa::KeySize::Rsa2048).unwrap();
    let public = rsa::PublicKeyComponents::<Vec<u8>>::from(pair.public_key());
    let jwk = json!({"kty": "RSA", "kid": "k", "n": encode(&public.n), "e": encode(&public.e)});
    let sign = Box::new(move |message: &[u8]| {
        let mut out = vec![0; pair.public_modulus_len()];
        pair.sign(encoding, &SystemRandom::new(), message, &mut out)
            .unwrap();
        out
    });
    Signer { algorithm, jwk, sign }
}

fn ec_signer(algorithm: Algorithm, curve: &str, parameters: &'static sig::EcdsaSigningAlgorithm) -> Signer {
    let pair = sig::EcdsaKeyPair::generate(parameters).unwrap();
    let point = &pair.public_key().as_ref()[1..];
    let (x, y) = point.split_at(point.len() / 2);
    let jwk = json!({"kty": "EC", "kid": "k", "crv": curve, "x": encode(x), "y": encode(y)});
    Signer {
        algorithm,
        jwk,
        sign: Box::new(move |m| pair.sign(&SystemRandom::new(), m).unwrap().as_ref().to_vec()),
    }
}

fn ed_signer() -> Signer {
    let pair = sig::Ed25519KeyPair::generate().unwrap();
    let jwk = json!({"kty": "OKP", "kid": "k", "crv": "Ed25519", "x": encode(pair.public_key().as_ref())});
    Signer {
        algorithm: Algorithm::EdDSA,
        jwk,
        sign: Box::new(move |m| pair.sign(m).as_ref().to_vec()),
    }
}

fn signers() -> Vec<Signer> {
    vec![
        rsa_signer(Algorithm::RS256, &sig::RSA_PKCS1_SHA256),
        rsa_signer(Algorithm::RS512, &sig::RSA_PKCS1_SHA512),
        rsa_signer(Algorithm::PS384, &sig::RSA_PSS_SHA384),
        ec_signer(Algorithm::ES256, "P-256", &sig::ECDSA_P256_SHA256_FIXED_SIGNING),
        ec_signer(Algorithm::ES384, "P-384", &sig::ECDSA_P384_SHA384_FIXED_SIGNING),
        ec_signer(Algorithm::ES512, "P-521", &sig::ECDSA_P521_SHA512_FIXED_SIGNING),
        ed_signer(),
    ]
}

impl Signer {
    fn jwt(&self, header: &Value, claims: &Value) -> String {
        let mut full = json!({"alg": self.algorithm.name()});
        full.as_object_mut()
            .unwrap()
            .extend(header.as_object().unwrap().clone());
        let input = format!(
            "{}.{}",
            encode(full.to_string().as_bytes()),
            encode(claims.to_string().as_bytes())
        );
        let signature = (self.sign)(input.as_bytes());
        format!("{input}.{}", encode(&signature))
    }

    fn keys(&self) -> KeySet {
        KeySet::parse(
            json!({"keys": [self.jwk]}).to_string().as_bytes(),
            &Algorithm::ALL,
        )
        .unwrap()
    }
}

fn policy() -> Policy<'static> {
    Policy {
        issuer: "https://iam.example",
        algorithms: &Algorithm::ALL,
        audiences: &[],
        token_types: &[],
        clock_skew: 30,
    }
}

fn good_claims() -> Value {
    json!({"iss": "https://iam.example", "sub": "a", "exp": 2_000, "iat": 1_000})
}

fn check(
    signer: &Signer,
    header: &Value,
    claims: &Value,
    policy: &Policy<'_>,
    now: u64,
) -> Result<Claims, VerifyError> {
    let text = signer.jwt(header, claims);
    verify(
        &Jws::parse(&text).unwrap(),
        Verifier::Keys(&signer.keys()),
        policy,
        now,
    )
}

#[test]
fn every_algorithm_verifies_and_a_changed_payload_does_not() {
    for signer in signers() {
        let text = signer.jwt(&json!({"kid": "k"}), &good_claims());
        let keys = signer.keys();
        let claims = verify(
            &Jws::parse(&text).unwrap(),
            Verifier::Keys(&keys),
            &policy(),
            1_500,
        )
        .unwrap();
        assert_eq!(claims.text("sub"), Some("a"), "{}", signer.algorithm);

        let mut parts: Vec<&str> = text.split('.').collect();
        let other = encode(
            json!({"iss": "https://iam.example", "sub": "b", "exp": 2_000})
                .to_string()
                .as_bytes(),
        );
        parts[1] = &other;
        let forged = parts.join(".");
        let result = verify(
            &Jws::parse(&forged).unwrap(),
            Verifier::Keys(&keys),
            &policy(),
            1_500,
        );
        assert_eq!(
            result.unwrap_err(),
            VerifyError::Signature,
            "{}",
            signer.algorithm
        );
    }
}

#[test]
fn a_public_key_never_serves_as_an_hmac_key() {
    let signer = rsa_signer(Algorithm::RS256, &sig::RSA_PKCS1_SHA256);
    let n = signer.jwk["n"].as_str().unwrap().as_bytes().to_vec();
    let input = format!(
        "{}.{}",
        encode(br#"{"alg":"HS256"}"#),
        encode(good_claims().to_string().as_bytes())
    );
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &n), input.as_bytes());
    let forged = format!("{input}.{}", encode(tag.as_ref()));
    let result = verify(
        &Jws::parse(&forged).unwrap(),
        Verifier::Keys(&signer.keys()),
        &policy(),
        1_500,
    );
    assert_eq!(result.unwrap_err(), VerifyError::UnknownKey);
}

#[test]
fn hmac_keys_verify_their_own() {
    let secret = SecretBytes::new(b"a key of thirty-two bytes or so.".to_vec());
    let keys = KeySet::hmac(&secret, &[Algorithm::HS256]);
    let input = format!(
        "{}.{}",
        encode(br#"{"alg":"HS256"}"#),
        encode(good_claims().to_string().as_bytes())
    );
    let tag = hmac::sign(
        &hmac::Key::new(hmac::HMAC_SHA256, secret.expose()),
        input.as_bytes(),
    );
    let text = format!("{input}.{}", encode(tag.as_ref()));
    assert!(
        verify(
            &Jws::parse(&text).unwrap(),
            Verifier::Keys(&keys),
            &policy(),
            1_500
        )
        .is_ok()
    );
    let only_rsa = Policy {
        algorithms: &[Algorithm::RS256],
        ..policy()
    };
    let result = verify(
        &Jws::parse(&text).unwrap(),
        Verifier::Keys(&keys),
        &only_rsa,
        1_500,
    );
    assert_eq!(result.unwrap_err(), VerifyError::AlgorithmNotAllowed);
}

#[test]
fn claims_are_held_to_the_policy() {
    let signer = ed_signer();
    let with = |name: &str, value: Value| {
        let mut claims = good_claims();
        claims[name] = value;
        claims
    };
    let cases = [
        (with("iss", json!("https://iam.example/")), VerifyError::Issuer),
        (with("iss", json!(["https://iam.example"])), VerifyError::Issuer),
        (with("exp", json!(1_500)), VerifyError::Expired),
        (
            with("exp", json!("2000")),
            VerifyError::Claims(ClaimsError::NotADate("exp")),
        ),
        (with("nbf", json!(1_531)), VerifyError::NotYetValid),
        (with("cnf", json!({"jkt": "x"})), VerifyError::Bound),
    ];
    for (claims, error) in cases {
        assert_eq!(
            check(&signer, &json!({}), &claims, &policy(), 1_500).unwrap_err(),
            error,
            "{claims}"
        );
    }
    assert!(check(&signer, &json!({}), &with("nbf", json!(1_530)), &policy(), 1_500).is_ok());
}

#[test]
fn audiences_and_types() {
    let signer = ed_signer();
    let (audiences, types) = (["api".to_owned()], ["at+jwt".to_owned()]);
    let strict = Policy {
        audiences: &audiences,
        token_types: &types,
        ..policy()
    };
    let mut claims = good_claims();
    claims["aud"] = json!(["other", "api"]);
    for typ in ["at+jwt", "AT+JWT", "application/at+jwt"] {
        assert!(
            check(&signer, &json!({"typ": typ}), &claims, &strict, 1_500).is_ok(),
            "{typ}"
        );
    }
    assert_eq!(
        check(&signer, &json!({}), &claims, &strict, 1_500).unwrap_err(),
        VerifyError::TokenType
    );
    assert_eq!(
        check(&signer, &json!({"typ": "JWT"}), &claims, &strict, 1_500).unwrap_err(),
        VerifyError::TokenType
    );
    claims["aud"] = json!("apis");
    assert_eq!(
        check(&signer, &json!({"typ": "at+jwt"}), &claims, &strict, 1_500).unwrap_err(),
        VerifyError::Audience
    );
}

#[test]
fn key_ids_pick_the_key() {
    let signer = ed_signer();
    assert_eq!(
        check(
            &signer,
            &json!({"kid": "other"}),
            &good_claims(),
            &policy(),
            1_500
        )
        .unwrap_err(),
        VerifyError::UnknownKey
    );
    assert!(check(&signer, &json!({}), &good_claims(), &policy(), 1_500).is_ok());
    let keys = signer.keys();
    assert!(keys.covers(Algorithm::EdDSA, Some("k")) && !keys.covers(Algorithm::EdDSA, Some("x")));
    assert_eq!(keys.key_ids().collect::<Vec<_>>(), ["k"]);
}

#[test]
fn unusable_keys_are_left_out() {
    const MAX: usize = crate::MAX_JWKS_KEYS;
    let good = ed_signer().jwk;
    let with = |name: &str, value: Value| {
        let mut jwk = good.clone();
        jwk[name] = value;
        jwk
    };
    let parse =
        |keys: Vec<Value>| KeySet::parse(json!({ "keys": keys }).to_string().as_bytes(), &Algorithm::ALL);
    for bad in [
        with("use", json!("enc")),
        with("alg", json!("RS256")),
        with("key_ops", json!(["sign"])),
        with("crv", json!("X25519")),
        with("x", json!("AAAA")),
        json!({"kty": "oct", "k": encode(&[7; 32]), "alg": "HS256"}),
        json!({"kty": "RSA", "n": encode(&[0xff; 128]), "e": "AQAB"}),
        json!({"kty": "EC", "crv": "P-256", "x": encode(&[1; 32]), "y": encode(&[1; 32])}),
        json!("text"),
    ] {
        assert_eq!(
            parse(vec![bad.clone()]).unwrap_err(),
            KeySetError::NoUsableKey,
            "{bad}"
        );
        assert_eq!(parse(vec![bad, good.clone()]).unwrap().len(), 1);
    }
    assert_eq!(parse(vec![good.clone(); MAX]).unwrap().len(), MAX);
    assert_eq!(parse(vec![good; MAX + 1]).unwrap_err(), KeySetError::TooManyKeys);
    assert_eq!(
        KeySet::parse(b"{}", &Algorithm::ALL).unwrap_err(),
        KeySetError::Shape
    );
}
