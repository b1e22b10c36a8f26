//! A provider that lies. Whatever it answers: no JWT reaches the client, nothing is stored, the log names the reason,
//! and the next honest exchange works.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use splittoken_tests::certs::Authority;
use splittoken_tests::hostile::{Hostile, now};
use splittoken_tests::jwt::{self, Key};
use splittoken_tests::redis::Redis;
use splittoken_tests::scene::Scene;
use splittoken_tests::secret::base64url;
use splittoken_tests::wire::{Step, answer};
use splittoken_tests::{raw, wait};

/// What the gateway says of an answer that it does not release.
const UNTRUSTED: u16 = 502;
const JSON: (&str, &str) = ("Content-Type", "application/json");

/// A scene whose records can be counted from outside.
struct Court {
    scene: Scene,
    redis: Redis,
}

impl Court {
    fn open() -> Result<Self> {
        let key = Key::es256()?;
        let provider = Hostile::start(&[&key])?;
        let redis = Redis::start()?;
        let scene = Scene::of(provider, key, |route| route, |gateway| gateway.redis(&redis))?;
        Ok(Self { scene, redis })
    }

    /// One lie and its end.
    fn refuses(&self, lie: &str, steps: Vec<Step>, status: u16, reason: &str) -> Result<raw::Answer> {
        let (scene, before, mark) = (&self.scene, self.redis.dump()?.len(), self.scene.log_mark());
        scene.provider.answer_steps(steps);
        let got = scene.ask().context(lie.to_owned())?;
        assert_eq!(got.status, status, "{lie}: {}", got.text());
        self.tells_nothing(lie, &got);
        scene
            .logs_since(mark, &format!("reason=\"{reason}\""))
            .context(lie.to_owned())?;
        assert_eq!(self.redis.dump()?.len(), before, "{lie}: something was stored");
        scene.works().context(lie.to_owned())?;
        Ok(got)
    }

    fn refuses_json(&self, lie: &str, body: impl AsRef<[u8]>, reason: &str) -> Result<()> {
        self.refuses(
            lie,
            vec![Step::Send(answer("200 OK", &[JSON], body))],
            UNTRUSTED,
            reason,
        )?;
        Ok(())
    }

    /// A token response around this access token, which nobody has seen so far.
    fn refuses_token(&self, lie: &str, token: &str, reason: &str) -> Result<()> {
        self.scene.remember(token);
        let body = json!({"access_token": token, "token_type": "Bearer", "expires_in": 600});
        self.refuses_json(lie, body.to_string(), reason)
    }

    /// Our own words, never cached, and nothing of any JWT in any spelling.
    fn tells_nothing(&self, lie: &str, got: &raw::Answer) {
        let whole = [got.head.as_slice(), &got.raw_body].concat();
        assert_eq!(self.scene.marks().found_in(&whole), Vec::<String>::new(), "{lie}");
        assert_eq!(got.header_all("cache-control"), ["no-store"], "{lie}");
        assert_eq!(got.header_all("pragma"), ["no-cache"], "{lie}");
        assert_eq!(got.header("content-type"), Some("application/json"), "{lie}");
        assert!(
            got.json().is_ok_and(|json| json["error"].is_string()),
            "{lie}: {}",
            got.text()
        );
        for name in ["set-cookie", "etag", "location", "content-encoding", "x-token"] {
            assert_eq!(got.header(name), None, "{lie}");
        }
    }

    fn good_body(&self) -> Result<String> {
        let token = self.scene.jwt(&json!({}))?;
        Ok(json!({"access_token": token, "token_type": "Bearer", "expires_in": 600}).to_string())
    }
}

fn send(raw: impl AsRef<[u8]>) -> Vec<Step> {
    vec![Step::send(raw), Step::Close]
}

#[test]
fn answers_that_are_broken_on_the_wire_are_refused() -> Result<()> {
    let court = Court::open()?;
    let body = court.good_body()?;
    let length = body.len();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n");
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let half = &body[..length / 2];
    let zipped = gzip(body.as_bytes());
    for (lie, bytes, reason) in [
        (
            "gzip",
            answer("200 OK", &[("Content-Encoding", "gzip")], &zipped),
            "provider_compressed",
        ),
        (
            "br, it says",
            answer("200 OK", &[("Content-Encoding", "br")], &body),
            "provider_compressed",
        ),
        (
            "twice",
            answer("200 OK", &[("Content-Encoding", "identity, gzip")], &zipped),
            "provider_compressed",
        ),
        (
            "gzip that does not say so",
            answer("200 OK", &[JSON], &zipped),
            "json_syntax",
        ),
        (
            "gzip as transfer",
            format!(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n{length:x}\r\n{body}\r\n0\r\n\r\n"
            )
            .into(),
            "provider_malformed",
        ),
        (
            "shorter than it says",
            format!("{head}\r\n{half}").into(),
            "provider_truncated",
        ),
        (
            "no body at all",
            format!("{head}\r\n").into(),
            "provider_truncated",
        ),
        (
            "ends within a chunk",
            format!("{chunked}{length:x}\r\n{half}").into(),
            "provider_truncated",
        ),
        (
            "no last chunk",
            format!("{chunked}{length:x}\r\n{body}\r\n").into(),
            "provider_truncated",
        ),
        ("an empty answer", Vec::new(), "provider_truncated"),
        ("half a head", head.clone().into(), "provider_truncated"),
        (
            "a chunk size that is none",
            format!("{chunked}xyz\r\n{body}\r\n0\r\n\r\n").into(),
            "provider_truncated",
        ),
        (
            "a chunk size beyond any",
            format!("{chunked}fffffffffffffffff\r\n{body}\r\n0\r\n\r\n").into(),
            "provider_truncated",
        ),
        (
            "two lengths",
            format!("{head}Content-Length: 5\r\n\r\n{body}").into(),
            "provider_malformed",
        ),
        (
            "a length below zero",
            format!("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{body}").into(),
            "provider_malformed",
        ),
        ("not HTTP", format!("{body}\r\n\r\n").into(), "provider_malformed"),
        (
            "HTTP/2",
            b"\0\0\x12\x04\0\0\0\0\0\0\x03\0\0\0\x64\0\x04\0\0\xff\xff".to_vec(),
            "provider_malformed",
        ),
        (
            "status 99",
            format!("HTTP/1.1 099 Odd\r\nContent-Length: {length}\r\n\r\n{body}").into(),
            "provider_malformed",
        ),
        (
            "a null byte in a header",
            format!("{head}X-Token: a\0b\r\n\r\n{body}").into(),
            "provider_malformed",
        ),
        (
            "a space in a header's name",
            format!("{head}X Token: a\r\n\r\n{body}").into(),
            "provider_malformed",
        ),
        (
            "a bare CR in a header",
            format!("{head}X-Token: a\rSet-Cookie: b\r\n\r\n{body}").into(),
            "provider_malformed",
        ),
        (
            "more headers than anyone sends",
            format!("{head}{}\r\n{body}", "X-Token: 1\r\n".repeat(5_000)).into(),
            "provider_malformed",
        ),
        (
            "no end of headers",
            format!("{head}X-Token: {}", "a".repeat(600_000)).into(),
            "provider_malformed",
        ),
    ] {
        court.refuses(lie, send(bytes), UNTRUSTED, reason)?;
    }
    Ok(())
}

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
        court.refuses(lie, send(bytes), UNTRUSTED, reason)?;
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

#[test]
fn a_token_that_does_not_verify_is_refused() -> Result<()> {
    let court = Court::open()?;
    let scene = &court.scene;
    let issuer = scene.provider.issuer();
    let honest = scene.provider.claims(&json!({"jti": "a"}));
    let claiming = |more: Value| scene.jwt(&more);
    let written = |payload: String| scene.key.token_of(&jwt_header(&scene.key), &payload);
    let kid = scene.key.kid();
    let good = scene.key.token(&honest)?;
    let (input, signature) = good.rsplit_once('.').context("no JWT")?;
    let other_claims = base64url(
        scene
            .provider
            .claims(&json!({"sub": "root"}))
            .to_string()
            .as_bytes(),
    );
    let header = input.split_once('.').context("no JWT")?.0;
    let flipped = format!(
        "{}{}",
        if signature.starts_with('A') { 'B' } else { 'A' },
        &signature[1..]
    );
    let without = |name: &str| {
        let mut claims = honest.clone();
        claims.as_object_mut().and_then(|claims| claims.remove(name));
        scene.key.token(&claims)
    };
    let now = now();
    for (lie, token, reason) in [
        ("another signature", format!("{input}.{flipped}"), "signature"),
        (
            "another payload",
            format!("{header}.{other_claims}.{signature}"),
            "signature",
        ),
        (
            "the same kid of another key",
            Key::es256()?.with_kid(kid).token(&honest)?,
            "signature",
        ),
        ("another kid", Key::es256()?.token(&honest)?, "unknown_key"),
        (
            "the kid of a key of another type",
            Key::rs256()?.with_kid(kid).token(&honest)?,
            "unknown_key",
        ),
        (
            "no kid and another key",
            Key::es256()?.token_of(r#"{"alg":"ES256"}"#, &honest.to_string())?,
            "signature",
        ),
        (
            "HS256 with the public key",
            confused(&scene.key, &honest)?,
            "alg_not_allowed",
        ),
        (
            "HS256 with a secret",
            Key::hs256().with_kid(kid).token(&honest)?,
            "alg_not_allowed",
        ),
        ("its own key in its header", self_signed(&honest)?, "signature"),
        (
            "another issuer",
            claiming(json!({"iss": "https://evil.example"}))?,
            "issuer",
        ),
        (
            "an issuer with a slash",
            claiming(json!({"iss": format!("{issuer}/")}))?,
            "issuer",
        ),
        ("a list of issuers", claiming(json!({"iss": [issuer]}))?, "issuer"),
        ("no issuer", without("iss")?, "issuer"),
        (
            "expired",
            claiming(json!({"iat": now - 20, "exp": now - 10}))?,
            "expired",
        ),
        (
            "expired just now",
            claiming(json!({"iat": now - 20, "exp": now}))?,
            "expired",
        ),
        (
            "not yet valid",
            claiming(json!({"nbf": now + 300}))?,
            "not_yet_valid",
        ),
        (
            "exp as text",
            claiming(json!({"exp": (now + 600).to_string()}))?,
            "claims_not_a_date",
        ),
        ("nbf as text", claiming(json!({"nbf": "0"}))?, "claims_not_a_date"),
        (
            "iat as text",
            claiming(json!({"iat": "now"}))?,
            "claims_not_a_date",
        ),
        ("exp null", claiming(json!({"exp": null}))?, "claims_not_a_date"),
        (
            "exp below zero",
            claiming(json!({"exp": -1}))?,
            "claims_not_a_date",
        ),
        (
            "exp in milliseconds",
            claiming(json!({"exp": (now + 600) * 1000}))?,
            "claims_not_a_date",
        ),
        (
            "exp beyond any date",
            written(honest.to_string().replace(&(honest["exp"].to_string()), "1e300"))?,
            "claims_not_a_date",
        ),
        (
            "exp beyond any number",
            written(honest.to_string().replace(&(honest["exp"].to_string()), "1e999"))?,
            "jwt_payload",
        ),
        (
            "exp before nbf",
            claiming(json!({"nbf": now + 20, "exp": now + 10}))?,
            "claims_dates_out_of_order",
        ),
        (
            "bound to a key",
            claiming(json!({"cnf": {"jkt": "x"}}))?,
            "bound_token",
        ),
        ("bound to nothing", claiming(json!({"cnf": null}))?, "bound_token"),
    ] {
        court.refuses_token(lie, &token, reason)?;
    }
    let endless = without("exp")?;
    scene.remember(&endless);
    court.refuses_json(
        "no end",
        json!({"access_token": endless}).to_string(),
        "no_lifetime",
    )?;
    court.refuses_json(
        "an end at once",
        json!({"access_token": good, "expires_in": 0}).to_string(),
        "no_lifetime",
    )
}

fn jwt_header(key: &Key) -> String {
    format!(r#"{{"alg":"{}","kid":"{}"}}"#, key.algorithm(), key.kid())
}

/// HS256 with the public key as its secret: what a verifier accepts that lets the header choose.
fn confused(key: &Key, claims: &Value) -> Result<String> {
    let public = key.public_der()?.context("no public key")?;
    Key::hmac(&public).with_kid(key.kid()).token(claims)
}

/// A key that vouches for itself: RFC 7515 `jwk`.
fn self_signed(claims: &Value) -> Result<String> {
    let key = Key::es256()?;
    let header = json!({"alg": "ES256", "jwk": key.jwk()?, "jku": "http://127.0.0.1:1/jwks"});
    key.token_of(&header.to_string(), &claims.to_string())
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

#[test]
fn an_answer_larger_than_256_kib_is_refused() -> Result<()> {
    let court = Court::open()?;
    let token = court.scene.jwt(&json!({}))?;
    let huge = json!({"access_token": token, "x": "a".repeat(256 * 1024)}).to_string();
    let announced = answer("200 OK", &[JSON], &huge);
    let chunked = format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{huge}\r\n0\r\n\r\n",
        huge.len()
    );
    let endless = [
        Step::send("HTTP/1.1 200 OK\r\n\r\n"),
        Step::send(" ".repeat(300 * 1024)),
        Step::Hold,
    ];
    court.refuses("announced", send(announced), UNTRUSTED, "provider_too_large")?;
    court.refuses("chunked", send(chunked), UNTRUSTED, "provider_too_large")?;
    court.refuses("without end", endless.to_vec(), UNTRUSTED, "provider_too_large")?;
    court.refuses(
        "as an error",
        send(answer("400 Bad Request", &[JSON], &huge)),
        UNTRUSTED,
        "provider_too_large",
    )?;
    let fits = json!({"access_token": token, "x": "a".repeat(250 * 1024)}).to_string();
    court.scene.provider.answer_json(fits);
    assert_eq!(court.scene.ask()?.status, 200);
    Ok(())
}

#[test]
fn a_provider_that_is_slow_is_given_up_on() -> Result<()> {
    let limit = Duration::from_millis(500);
    let scene = Scene::with_route(|route| route.issuer(&json!({"timeouts": {"request": "500ms"}})))?;
    let token = scene.jwt(&json!({}))?;
    let whole = answer("200 OK", &[JSON], json!({"access_token": token}).to_string());
    let (start, rest) = whole.split_at(whole.len() - 20);
    for (lie, steps) in [
        ("nothing comes", vec![Step::Hold]),
        (
            "the head comes",
            vec![
                Step::send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"),
                Step::Hold,
            ],
        ),
        (
            "the end comes late",
            vec![Step::send(start), Step::Wait(limit * 4), Step::send(rest)],
        ),
    ] {
        scene.provider.answer_steps(steps);
        let (begun, mark) = (Instant::now(), scene.log_mark());
        let got = scene.ask()?;
        assert_eq!(got.status, 504, "{lie}: {}", got.text());
        assert!(begun.elapsed() >= limit, "{lie}: given up on too early");
        assert!(begun.elapsed() < limit * 10, "{lie}: {:?}", begun.elapsed());
        assert_eq!(
            scene.marks().found_in(&got.raw_body),
            Vec::<String>::new(),
            "{lie}"
        );
        assert_eq!(got.header("cache-control"), Some("no-store"), "{lie}");
        scene.logs_since(mark, "reason=\"provider_timeout\"")?;
        assert_eq!(
            scene.gateway.call("/x", jwt::signature(&token)?)?.status,
            401,
            "{lie}"
        );
        scene.works()?;
    }
    Ok(())
}

#[test]
fn a_provider_that_refuses_connections_is_a_503() -> Result<()> {
    let scene = Scene::start()?;
    let token = scene.works()?;
    let Scene {
        provider, gateway, ..
    } = scene;
    drop(provider);
    let form = [("grant_type", "client_credentials")];
    let got = wait::until(
        Duration::from_secs(10),
        "the end of the provider's connections",
        || gateway.token(None, &form).ok().filter(|got| got.status == 503),
    )?;
    assert_eq!(got.header("retry-after"), Some("1"));
    assert_eq!(got.header("cache-control"), Some("no-store"));
    assert_eq!(got.member("error")?, "temporarily_unavailable");
    let output = String::from_utf8_lossy(&gateway.output()).into_owned();
    assert!(output.contains("reason=\"provider_unreachable\""), "{output}");
    assert_eq!(
        gateway.call("/x", jwt::signature(&token)?)?.status,
        200,
        "API traffic goes on"
    );
    Ok(())
}

/// Gzip, RFC 1952, with one stored block.
fn gzip(data: &[u8]) -> Vec<u8> {
    let crc = !data.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            crc >> 1 ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    });
    let length = u16::try_from(data.len()).unwrap_or(u16::MAX);
    let head = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255, 1];
    let (length, complement) = (length.to_le_bytes(), (!length).to_le_bytes());
    let size = u32::from(u16::from_le_bytes(length)).to_le_bytes();
    [
        &head,
        length.as_slice(),
        &complement,
        data,
        &crc.to_le_bytes(),
        &size,
    ]
    .concat()
}
