//! JWTs that everybody knows: the examples of RFC 7515 (appendix A) and RFC 7520 (section 4, of which 4.2 and 4.3 are among
//! Wycheproof's), and what is wrong with signatures in general. As tokens of clients they are nothing, and as answers of a
//! provider they are refused, even where it publishes the keys that they were signed with.

use anyhow::{Context as _, Result, ensure};
use aws_lc_rs::{hmac, signature};
use serde_json::{Value, json};
use splittoken_tests::gate::report;
use splittoken_tests::jwt::{self, Key};
use splittoken_tests::scene::Scene;
use splittoken_tests::secret::{base64url, from_base64url};
use splittoken_tests::wire::{Step, answer};

const CLAIMS: &str =
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
const SAYING: &str = "SXTigJlzIGEgZGFuZ2Vyb3VzIGJ1c2luZXNzLCBGcm9kbywgZ29pbmcgb3V0IHlvdXIgZG9vci4gWW91IHN0ZXAgb250by\
                      B0aGUgcm9hZCwgYW5kIGlmIHlvdSBkb24ndCBrZWVwIHlvdXIgZmVldCwgdGhlcmXigJlzIG5vIGtub3dpbmcgd2hlcm\
                      UgeW91IG1pZ2h0IGJlIHN3ZXB0IG9mZiB0by4";

/// RFC 7515 A.1, with the key of its signature.
const HS256: (&str, &str) = (
    "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9",
    "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
);
const HS256_KEY: &str =
    "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
/// RFC 7515 A.2.
const RS256: (&str, &str) = (
    "eyJhbGciOiJSUzI1NiJ9",
    "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t\
     1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12j\
     zDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQ\
     Ge77Rw",
);
/// RFC 7515 A.3, with the key of its signature.
const ES256: (&str, &str) = (
    "eyJhbGciOiJFUzI1NiJ9",
    "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
);
const ES256_KEY: (&str, &str) = (
    "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
);
/// RFC 7515 A.4.
const ES512: &str = "eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA.AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2\
                     SI-KGDKB34XO0aw_7XdtAG8GaSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXo\
                     lLzeO_Jn";
/// RFC 7515 A.5.
const NONE: &str = "eyJhbGciOiJub25lIn0";
/// RFC 7520 4.1, with the modulus of its key.
const BILBO: (&str, &str) = (
    "eyJhbGciOiJSUzI1NiIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9",
    "MRjdkly7_-oTPTS3AXP41iQIGKa80A0ZmTuV5MEaHoxnW2e5CZ5NlKtainoFmKZopdHM1O2U4mwzJdQx996ivp83xuglII7PNDi84wnB-BDkoBwA\
     78185hX-Es4JIwmDLJK3lfWRa-XtL0RnltuYv746iYTh_qHRD68BNt1uSNCrUCTJDt5aAE6x8wW1Kt9eRo4QPocSadnHXFxnt8Is9UzpERV0ePPQ\
     dLuW3IS_de3xyIrDaLGdjluPxUAhb6L2aXic1U12podGU0KLUQSE_oI-ZnmKJ3F4uOZDnd6QZWJushZ41Axf_fcIe8u9ipH84ogoree7vjbU5y18\
     kDquDg",
);
const BILBOS_KEY: &str = "n4EPtAOCc9AlkeQHPzHStgAbgs7bTZLwUBZdR8_KuKPEHLd4rHVTeT-O-XV2jRojdNhxJWTDvNd7nqQ0VEiZQHz_AJmSCpMa\
                          JMRBSFKrKb2wqVwGU_NsYOYL-QtiWN2lbzcEe6XC0dApr5ydQLrHqkHHig3RBordaZ6Aj-oBHqFEHYpPe7Tpe-OfVfHd1E6c\
                          S6M1FZcD1NNLYD5lFHpPI9bTwJlsde3uhGqC0ZCuEHg8lhzwOHrtIQbS0FVbb9k3-tVTU4fg_3L_vniUFAKwuCLqKnS2BYwd\
                          q_mzSnbLY7h_qixoR7jig3__kRhuaxwUkRz5iaiQkqgc5gHdrNP5zw";
/// RFC 7520 4.4, with the key of its signature.
const SYMMETRIC: (&str, &str) = (
    "eyJhbGciOiJIUzI1NiIsImtpZCI6IjAxOGMwYWU1LTRkOWItNDcxYi1iZmQ2LWVlZjMxNGJjNzAzNyJ9",
    "s0h6KThzkfBBBkLspW1h84VsJZFTsPPqMDA7g1Md7p0",
);
const SYMMETRIC_KEY: &str = "hJtXIZ2uSN5kbQfbtTNWbpdmhkV8FJG-Onbc6mxCcYg";

/// The order of P-256's points, and what is larger.
const ORDER: &str = "_____wAAAAD__________7zm-q2nF56E87nKwvxjJVE";

fn whole(payload: &str, (header, signature): (&str, &str)) -> String {
    format!("{header}.{payload}.{signature}")
}

/// The examples, in each of the forms that RFC 7520 section 4 has.
fn examples() -> Vec<(&'static str, String)> {
    let (bilbo, symmetric) = (whole(SAYING, BILBO), whole(SAYING, SYMMETRIC));
    let flattened = json!({"payload": SAYING, "protected": SYMMETRIC.0, "signature": SYMMETRIC.1});
    let signatures =
        [BILBO, SYMMETRIC].map(|(header, signature)| json!({"protected": header, "signature": signature}));
    vec![
        ("RFC 7515 A.1", whole(CLAIMS, HS256)),
        ("RFC 7515 A.2", whole(CLAIMS, RS256)),
        ("RFC 7515 A.3", whole(CLAIMS, ES256)),
        ("RFC 7515 A.4", ES512.to_owned()),
        ("RFC 7515 A.5", format!("{NONE}.{CLAIMS}.")),
        ("RFC 7515 A.6", json!({"payload": CLAIMS, "signatures": [{"protected": RS256.0, "signature": RS256.1}, {"protected": ES256.0, "signature": ES256.1}]}).to_string()),
        ("RFC 7515 A.7", json!({"payload": CLAIMS, "protected": ES256.0, "signature": ES256.1}).to_string()),
        ("RFC 7520 4.1", bilbo),
        ("RFC 7520 4.4", symmetric),
        ("RFC 7520 4.5", format!("{}..{}", SYMMETRIC.0, SYMMETRIC.1)),
        ("RFC 7520 4.6", json!({"payload": SAYING, "header": {"kid": "018c0ae5"}, "protected": base64url(br#"{"alg":"HS256"}"#), "signature": SYMMETRIC.1}).to_string()),
        ("RFC 7520 4.7", json!({"payload": SAYING, "header": {"alg": "HS256"}, "signature": SYMMETRIC.1}).to_string()),
        ("RFC 7520 4.8", json!({"payload": SAYING, "signatures": signatures}).to_string()),
        ("RFC 7520 4.4, flattened", flattened.to_string()),
    ]
}

/// Their public keys, with whatever a careless provider could publish beside them.
fn published(own: &Key) -> Result<Value> {
    let mut keys = jwt::jwks(&[own])?;
    let more = [
        json!({"kty": "EC", "crv": "P-256", "x": ES256_KEY.0, "y": ES256_KEY.1}),
        json!({"kty": "RSA", "kid": "bilbo.baggins@hobbiton.example", "use": "sig", "n": BILBOS_KEY, "e": "AQAB"}),
        json!({"kty": "oct", "k": HS256_KEY}),
        json!({"kty": "oct", "kid": "018c0ae5-4d9b-471b-bfd6-eef314bc7037", "k": SYMMETRIC_KEY}),
    ];
    keys["keys"].as_array_mut().context("no keys")?.extend(more);
    Ok(keys)
}

/// As they stand in the RFCs: a letter that is wrong here would make all of this worth nothing.
#[test]
fn the_examples_are_signed() -> Result<()> {
    for (key, payload, (header, signed)) in [(HS256_KEY, CLAIMS, HS256), (SYMMETRIC_KEY, SAYING, SYMMETRIC)] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &from_base64url(key)?);
        let input = format!("{header}.{payload}");
        ensure!(
            hmac::verify(&key, input.as_bytes(), &from_base64url(signed)?).is_ok(),
            "{input}"
        );
    }
    let point = [
        vec![4],
        from_base64url(ES256_KEY.0)?,
        from_base64url(ES256_KEY.1)?,
    ]
    .concat();
    let key = signature::UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point);
    let input = format!("{}.{CLAIMS}", ES256.0);
    ensure!(
        key.verify(input.as_bytes(), &from_base64url(ES256.1)?).is_ok(),
        "{input}"
    );
    let key = signature::RsaPublicKeyComponents {
        n: from_base64url(BILBOS_KEY)?,
        e: vec![1, 0, 1],
    };
    let input = format!("{}.{SAYING}", BILBO.0);
    let verified = key.verify(
        &signature::RSA_PKCS1_2048_8192_SHA256,
        input.as_bytes(),
        &from_base64url(BILBO.1)?,
    );
    ensure!(verified.is_ok(), "{input}");
    Ok(())
}

/// What is wrong with a signature, whatever is signed.
fn forgeries(key: &Key, claims: &Value) -> Result<Vec<(&'static str, String)>> {
    let good = key.token(claims)?;
    let (input, signed) = good.rsplit_once('.').context("no JWT")?;
    let signed = from_base64url(signed)?;
    let (r, s) = signed.split_at(32);
    let (zero, order, ones) = ([0; 32], from_base64url(ORDER)?, [0xff; 32]);
    let of = |bytes: &[u8]| format!("{input}.{}", base64url(bytes));
    let one = [&[0; 31][..], &[1]].concat();
    let header = |text: Value| -> Result<String> { key.token_of(&text.to_string(), &claims.to_string()) };
    let (kid, none) = (key.kid(), base64url(br#"{"alg":"none"}"#));
    Ok(vec![
        ("r and s are zero", of(&[zero, zero].concat())),
        ("r is zero", of(&[&zero, s].concat())),
        ("s is zero", of(&[r, &zero].concat())),
        ("r is the order", of(&[&order, s].concat())),
        ("s is the order", of(&[r, &order].concat())),
        ("r and s are the order", of(&[&order[..], &order].concat())),
        ("r is one and s is the order", of(&[&one[..], &order].concat())),
        ("r and s are one", of(&[&one[..], &one].concat())),
        ("r and s are all ones", of(&[ones, ones].concat())),
        ("r and s changed places", of(&[s, r].concat())),
        ("r twice", of(&[r, r].concat())),
        ("a byte less", of(&signed[..63])),
        ("a byte more", of(&[&signed[..], &[0]].concat())),
        ("a zero before it", of(&[&[0], &signed[..]].concat())),
        ("zeros before both", of(&[&[0], r, &[0], s].concat())),
        ("in DER", of(&der(r, s))),
        ("of nothing", of(&key.sign(b"")?)),
        (
            "of the claims alone",
            of(&key.sign(input.split_once('.').context("no JWT")?.1.as_bytes())?),
        ),
        (
            "of its decoded parts",
            of(&key.sign(claims.to_string().as_bytes())?),
        ),
        (
            "of a digest",
            of(&key.sign(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, input.as_bytes()).as_ref())?),
        ),
        ("ES384", header(json!({"alg": "ES384", "kid": kid}))?),
        ("ES256K", header(json!({"alg": "ES256K", "kid": kid}))?),
        ("RS256 by a curve", header(json!({"alg": "RS256", "kid": kid}))?),
        (
            "EdDSA by another curve",
            header(json!({"alg": "EdDSA", "kid": kid}))?,
        ),
        ("HS256 by a curve", header(json!({"alg": "HS256", "kid": kid}))?),
        ("es256", header(json!({"alg": "es256", "kid": kid}))?),
        (
            "a kid that is a number",
            header(json!({"alg": "ES256", "kid": 1}))?,
        ),
        (
            "a kid that is a path",
            header(json!({"alg": "ES256", "kid": "../../dev/null"}))?,
        ),
        (
            "a kid that is a query",
            header(json!({"alg": "ES256", "kid": "x' OR '1'='1"}))?,
        ),
        (
            "keys elsewhere",
            header(json!({"alg": "ES256", "kid": "evil", "jku": "http://127.0.0.1:1/jwks"}))?,
        ),
        (
            "none before a signature",
            format!(
                "{none}.{}.{}",
                input.split_once('.').context("no JWT")?.1,
                base64url(&signed)
            ),
        ),
    ])
}

/// Both numbers as ASN.1 has them.
fn der(r: &[u8], s: &[u8]) -> Vec<u8> {
    let number = |bytes: &[u8]| {
        let sign: &[u8] = if bytes[0] < 0x80 { &[] } else { &[0] };
        let length = u8::try_from(sign.len() + bytes.len()).unwrap_or(0);
        [&[2, length], sign, bytes].concat()
    };
    let both = [number(r), number(s)].concat();
    [&[0x30, u8::try_from(both.len()).unwrap_or(0)], &both[..]].concat()
}

#[test]
fn well_known_jwts_are_neither_tokens_nor_answers() -> Result<()> {
    let scene = Scene::start()?;
    let keys = answer(
        "200 OK",
        &[("Content-Type", "application/json")],
        published(&scene.key)?.to_string(),
    );
    scene.provider.jwks_steps(vec![Step::Send(keys)]);
    let claims = scene.provider.claims(&json!({"jti": "forged"}));
    let mut cases = examples();
    cases.extend(forgeries(&scene.key, &claims)?);
    println!("{} cases", cases.len());
    let failures = cases.iter().filter_map(|(name, jwt)| {
        let refused = || {
            is_no_token(&scene, jwt)?;
            is_no_answer(&scene, jwt)?;
            scene.works().map(drop)
        };
        Some((*name, refused().err()?))
    });
    report(failures.collect());
    Ok(())
}

/// Neither whole nor by its last part.
pub(super) fn is_no_token(scene: &Scene, jwt: &str) -> Result<()> {
    scene.upstream.take();
    for token in [jwt, jwt.rsplit('.').next().unwrap_or_default()] {
        let status = scene.gateway.call("/orders", token)?.status;
        ensure!(status == 401, "{token} got {status}");
    }
    let arrived = scene.upstream.take();
    ensure!(arrived.is_empty(), "the upstream got {arrived:?}");
    Ok(())
}

pub(super) fn is_no_answer(scene: &Scene, jwt: &str) -> Result<()> {
    scene.provider.answer_token(jwt);
    let got = scene.ask()?;
    ensure!(got.status == 502, "as an answer: {}: {}", got.status, got.text());
    ensure!(jwt.is_empty() || !got.text().contains(jwt), "it tells the token");
    is_no_token(scene, jwt)
}
