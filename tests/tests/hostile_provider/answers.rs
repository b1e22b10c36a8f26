//! Answers that are whole, and not what a token response may be.

use anyhow::{Context as _, Result};
use serde_json::json;
use splittoken_tests::jwt;
use splittoken_tests::secret::base64url;
use splittoken_tests::wire::{Step, answer};

use super::{Court, JSON, UNTRUSTED};

#[test]
fn answers_of_another_kind_than_200_are_refused() -> Result<()> {
    let court = Court::open()?;
    let body = court.good_body()?;
    let elsewhere = format!("{}/elsewhere", court.scene.provider.issuer());
    let away = [("Location", elsewhere.as_str()), JSON];
    for (lie, bytes, reason) in [
        (
            "moved",
            answer("301 Moved Permanently", &away, &body),
            "provider_redirect",
        ),
        ("found", answer("302 Found", &away, &body), "provider_redirect"),
        (
            "see other",
            answer("303 See Other", &away, &body),
            "provider_redirect",
        ),
        (
            "temporary",
            answer("307 Temporary Redirect", &away, &body),
            "provider_redirect",
        ),
        (
            "permanent",
            answer("308 Permanent Redirect", &away, &body),
            "provider_redirect",
        ),
        ("to nowhere", answer("302 Found", &[], &body), "provider_redirect"),
        (
            "choices",
            answer("300 Multiple Choices", &[], &body),
            "provider_redirect",
        ),
        (
            "not modified",
            b"HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\n\r\n".to_vec(),
            "provider_redirect",
        ),
        (
            "switching",
            format!("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n{body}")
                .into(),
            "provider_malformed",
        ),
        (
            "no content",
            b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(),
            "json_syntax",
        ),
        ("status 799", answer("799 Odd", &[JSON], &body), "provider_status"),
    ] {
        court.refuses(lie, vec![Step::Send(bytes)], UNTRUSTED, reason)?;
    }
    assert_eq!(
        court.scene.provider.requests("/elsewhere").len(),
        0,
        "a redirect was followed"
    );

    // Interim answers are part of HTTP; what follows them counts.
    let token = court.scene.jwt(&json!({}))?;
    let honest = answer("200 OK", &[JSON], json!({"access_token": token}).to_string());
    for interim in [
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n",
    ] {
        court
            .scene
            .provider
            .answer_raw([interim.as_bytes(), &honest].concat());
        let got = court.scene.ask()?;
        assert_eq!((got.status, got.header("link")), (200, None), "{interim}");
        assert_eq!(got.json()?["access_token"], jwt::signature(&token)?);
    }
    Ok(())
}

#[test]
fn a_success_that_is_no_plain_json_object_is_refused() -> Result<()> {
    let court = Court::open()?;
    let token = court.scene.jwt(&json!({}))?;
    let good = format!(r#"{{"access_token":"{token}","token_type":"Bearer"}}"#);
    let deep = format!(
        r#"{{"access_token":"{token}","x":{}{}}}"#,
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    let utf16: Vec<u8> = good.bytes().flat_map(|byte| [byte, 0]).collect();
    for (lie, body, reason) in [
        ("nothing", String::new().into_bytes(), "json_syntax"),
        (
            "HTML",
            format!("<html><body>{token}</body></html>").into(),
            "json_syntax",
        ),
        (
            "a form",
            format!("access_token={token}&token_type=Bearer").into(),
            "json_syntax",
        ),
        ("the bare token", token.clone().into(), "json_syntax"),
        ("a string", format!("\"{token}\"").into(), "json_not_object"),
        ("a list", format!("[{good}]").into(), "json_not_object"),
        ("null", b"null".to_vec(), "json_not_object"),
        ("two objects", format!("{good}{good}").into(), "json_syntax"),
        ("something after it", format!("{good} x").into(), "json_syntax"),
        (
            "a byte order mark",
            format!("\u{feff}{good}").into(),
            "json_syntax",
        ),
        ("UTF-16", utf16, "json_syntax"),
        (
            "no UTF-8",
            [br#"{"x":""#.as_slice(), b"\xff", &good.as_bytes()[1..]].concat(),
            "json_syntax",
        ),
        (
            "half a surrogate",
            format!(r#"{{"x":"\ud800",{}"#, &good[1..]).into(),
            "json_syntax",
        ),
        (
            "a trailing comma",
            format!("{},}}", &good[..good.len() - 1]).into(),
            "json_syntax",
        ),
        (
            "NaN",
            format!(r#"{{"x":NaN,{}"#, &good[1..]).into(),
            "json_syntax",
        ),
        ("very deep", deep.into(), "json_syntax"),
        (
            "no token",
            br#"{"token_type":"Bearer"}"#.to_vec(),
            "no_access_token",
        ),
        (
            "an empty token",
            br#"{"access_token":""}"#.to_vec(),
            "no_access_token",
        ),
        (
            "a null token",
            br#"{"access_token":null}"#.to_vec(),
            "token_not_text",
        ),
        (
            "a list of tokens",
            format!(r#"{{"access_token":["{token}"]}}"#).into(),
            "token_not_text",
        ),
        (
            "a token in an object",
            format!(r#"{{"access_token":{{"jwt":"{token}"}}}}"#).into(),
            "token_not_text",
        ),
        (
            "an ID token that is a list",
            format!(r#"{{"id_token":["{token}"],{}"#, &good[1..]).into(),
            "token_not_text",
        ),
        (
            "a refresh token that is a number",
            format!(r#"{{"refresh_token":1,{}"#, &good[1..]).into(),
            "token_not_text",
        ),
        (
            "an opaque token",
            br#"{"access_token":"opaque"}"#.to_vec(),
            "not_a_jwt",
        ),
        (
            "another case",
            format!(r#"{{"Access_Token":"{token}","access_token":"x"}}"#).into(),
            "jwt_leak",
        ),
        (
            "twice",
            format!(r#"{{"access_token":"{token}",{}"#, &good[1..]).into(),
            "json_duplicate_member",
        ),
        (
            "twice, once opaque",
            format!(r#"{{"access_token":"x",{}"#, &good[1..]).into(),
            "json_duplicate_member",
        ),
        (
            "twice, spelled differently",
            format!(r#"{{"\u0061ccess_token":"x",{}"#, &good[1..]).into(),
            "json_duplicate_member",
        ),
        (
            "twice within another",
            format!(r#"{{"x":[{{"y":1,"y":2}}],{}"#, &good[1..]).into(),
            "json_duplicate_member",
        ),
        (
            "twice, spelled differently within",
            format!(r#"{{"x":{{"y":1,"\u0079":2}},{}"#, &good[1..]).into(),
            "json_duplicate_member",
        ),
    ] {
        court.refuses_json(lie, body, reason)?;
    }
    Ok(())
}

#[test]
fn a_jwt_in_another_member_is_refused() -> Result<()> {
    let court = Court::open()?;
    let token = court.scene.jwt(&json!({}))?;
    let other = court.scene.jwt(&json!({"sub": "somebody else"}))?;
    let (input, _) = other.rsplit_once('.').context("no JWT")?;
    let claims = token.split('.').nth(1).context("no JWT")?;
    let escaped: String = other.bytes().map(|byte| format!("\\u{byte:04x}")).collect();
    let encoded = other.replace('.', "%2E");
    for (lie, member) in [
        ("in a member", format!(r#""jwt":"{other}""#)),
        ("in an object", format!(r#""x":{{"y":{{"z":"{other}"}}}}"#)),
        ("in a list", format!(r#""x":[1,[["{other}"]]]"#)),
        ("as a name", format!(r#""{other}":1"#)),
        ("as a name within", format!(r#""x":[{{"{other}":null}}]"#)),
        ("escaped", format!(r#""x":"{escaped}""#)),
        ("one letter escaped", format!(r#""x":"\u0065{}""#, &other[1..])),
        ("as an escaped name", format!(r#""{escaped}":1"#)),
        (
            "in a fragment",
            format!(r#""uri":"https://app.example/cb#access_token={other}&state=1""#),
        ),
        (
            "percent-encoded in a query",
            format!(r#""uri":"https://app.example/cb?t={encoded}""#),
        ),
        ("behind a scheme", format!(r#""x":"Bearer {other}""#)),
        ("glued to a word", format!(r#""x":"prefix{other}""#)),
        ("without its signature", format!(r#""x":"{input}.""#)),
        ("its claims alone", format!(r#""x":["{claims}"]"#)),
        ("as scope", format!(r#""scope":"a {other} b""#)),
        ("as token type", format!(r#""token_type":"{other}""#)),
        ("the same once more", format!(r#""x":"{token}""#)),
        ("as ID token", format!(r#""id_token":"{token}""#)),
        ("as refresh token", format!(r#""refresh_token":"{token}""#)),
        (
            "within the refresh token",
            format!(r#""refresh_token":"1/{token}/2""#),
        ),
        (
            "its claims as ID token",
            format!(
                r#""id_token":"{}.{}""#,
                token.rsplit_once('.').context("no JWT")?.0,
                base64url(&[7; 64])
            ),
        ),
        (
            "its claims as refresh token",
            format!(
                r#""refresh_token":"{}.""#,
                token.rsplit_once('.').context("no JWT")?.0
            ),
        ),
    ] {
        for body in [
            format!(r#"{{"access_token":"{token}",{member}}}"#),
            format!(r#"{{{member},"access_token":"{token}"}}"#),
        ] {
            court.refuses_json(lie, body, "jwt_leak")?;
        }
    }
    Ok(())
}
