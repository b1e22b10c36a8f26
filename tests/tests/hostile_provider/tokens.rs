//! Tokens that no key could make good.

use anyhow::{Context as _, Result};
use serde_json::json;
use splittoken_tests::secret::base64url;

use super::Court;

#[test]
fn a_token_that_no_check_can_make_good_is_refused() -> Result<()> {
    let court = Court::open()?;
    let scene = &court.scene;
    let claims = scene.provider.claims(&json!({"jti": "a"})).to_string();
    let (alg, kid) = (scene.key.algorithm(), scene.key.kid());
    let with = |member: &str| {
        scene
            .key
            .token_of(&format!(r#"{{"alg":"{alg}","kid":"{kid}"{member}}}"#), &claims)
    };
    let of = |header: &str, payload: &str| scene.key.token_of(header, payload);
    let good = with("")?;
    let (input, signature) = good.rsplit_once('.').context("no JWT")?;
    let none = |alg: &str| of(&format!(r#"{{"alg":"{alg}"}}"#), &claims);
    let unsigned =
        |alg: &str| Ok::<_, anyhow::Error>(format!("{}.", none(alg)?.rsplit_once('.').context("no JWT")?.0));
    let jwe_header = base64url(br#"{"alg":"RSA-OAEP","enc":"A256GCM","cty":"JWT"}"#);
    // The last of 86 letters carries 2 bits of a 64-byte signature: another letter of the same 2 bits.
    let twin = format!("{}{}", &signature[..85], twin_of(signature.as_bytes()[85]));
    let padding = "a".repeat(16 * 1024);
    for (lie, token, reason) in [
        (
            "a JWE",
            format!("{jwe_header}.{0}.{0}.{0}.{0}", base64url(&[7; 32])),
            "jwt_encrypted",
        ),
        ("none", none("none")?, "jwt_alg"),
        ("none, unsigned", unsigned("none")?, "jwt_alg"),
        ("None", none("None")?, "jwt_alg"),
        ("NONE, unsigned", unsigned("NONE")?, "jwt_alg"),
        ("an empty alg", none("")?, "jwt_alg"),
        ("an unknown alg", none("RS1")?, "jwt_alg"),
        ("no alg", of("{}", &claims)?, "jwt_alg"),
        ("a list of algs", of(r#"{"alg":["ES256"]}"#, &claims)?, "jwt_alg"),
        ("no signature", format!("{input}."), "jwt_signature_form"),
        (
            "a short signature",
            format!("{input}.{}", base64url(&[7; 31])),
            "jwt_signature_form",
        ),
        (
            "half a signature",
            format!("{input}.{}", &signature[..43]),
            "jwt_signature_form",
        ),
        (
            "a long signature",
            format!("{good}{signature}"),
            "jwt_signature_form",
        ),
        ("a padded signature", format!("{good}=="), "jwt_signature_form"),
        (
            "a signature with other last bits",
            format!("{input}.{twin}"),
            "jwt_signature_form",
        ),
        (
            "a space in the signature",
            format!("{input}. {signature}"),
            "jwt_signature_form",
        ),
        ("a line end after it", format!("{good}\n"), "jwt_signature_form"),
        (
            "standard base64",
            format!("{input}.{}", "+/".repeat(43)),
            "jwt_signature_form",
        ),
        ("crit", with(r#","crit":["exp"]"#)?, "jwt_crit"),
        ("an empty crit", with(r#","crit":[]"#)?, "jwt_crit"),
        ("b64 false", with(r#","b64":false,"crit":["b64"]"#)?, "jwt_b64"),
        ("b64 false, hidden", with(r#","b64":false"#)?, "jwt_b64"),
        ("alg twice", with(r#","alg":"none""#)?, "jwt_duplicate_member"),
        (
            "a claim twice",
            of(&format!(r#"{{"alg":"{alg}"}}"#), r#"{"sub":"a","sub":"b"}"#)?,
            "jwt_duplicate_member",
        ),
        (
            "a kid that is a number",
            of(r#"{"alg":"ES256","kid":1}"#, &claims)?,
            "jwt_header",
        ),
        (
            "a header that is no object",
            of(r#"["alg"]"#, &claims)?,
            "jwt_header",
        ),
        ("a padded header", good.replacen('.', "=.", 1), "jwt_header"),
        (
            "claims that are no object",
            of(&format!(r#"{{"alg":"{alg}"}}"#), "[]")?,
            "jwt_payload",
        ),
        (
            "claims that are no JSON",
            of(&format!(r#"{{"alg":"{alg}"}}"#), "sub: a")?,
            "jwt_payload",
        ),
        (
            "no claims",
            good.replace(&format!(".{}.", input.split_once('.').context("no JWT")?.1), ".."),
            "jwt_payload",
        ),
        (
            "longer than 16 KiB",
            scene.key.token(&scene.provider.claims(&json!({"x": padding})))?,
            "jwt_too_long",
        ),
        ("two parts", input.to_owned(), "not_a_jwt"),
        ("four parts", format!("{good}.x"), "not_a_jwt"),
    ] {
        court.refuses_token(lie, &token, reason)?;
    }
    Ok(())
}

/// A letter of base64url that differs in its last four bits alone.
fn twin_of(letter: u8) -> char {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let at = LETTERS
        .iter()
        .position(|known| *known == letter)
        .unwrap_or_default();
    char::from(LETTERS[at ^ 1])
}
