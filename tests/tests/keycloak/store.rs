//! Redis holds nothing readable: no claim, no issuer, no signature.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use splittoken_tests::keycloak::Keycloak;
use splittoken_tests::marks::Marks;
use splittoken_tests::redis::Redis;
use splittoken_tests::{jwt, secret};

use super::Front;

/// Shorter texts turn up in random bytes by chance; shorter names are looked for with their quotes.
const SHORTEST: usize = 6;

#[test]
fn redis_holds_nothing_readable() -> Result<()> {
    let keycloak = Keycloak::shared()?;
    let hmac = json!({"algorithms": ["HS256"], "hmacSecretRef": {"name": "signing", "key": "hmac"}});
    let fronts = [
        Front::start(&keycloak.issuer("shop"), |route| route)?,
        Front::start(&keycloak.issuer("hmac"), |route| {
            let secret = keycloak.hmac_secret();
            route.issuer(&hmac).secret("signing", "hmac", secret)
        })?,
    ];
    for front in &fronts {
        let mut tokens = Vec::new();
        for form in front.grants() {
            let form = [form, vec![("scope", "openid")]].concat();
            let answer = front.through(&form)?;
            tokens.push(front.restored(&answer.member("access_token")?)?);
            for other in ["refresh_token", "id_token"] {
                tokens.extend(answer.member(other));
            }
        }
        let marks = marks(front, &tokens)?;
        let dump = front.redis.dump()?;
        assert_eq!(dump.len(), front.grants().len(), "a record for each access token");
        for (key, record) in &dump {
            assert_eq!(found(&marks, key, record), Vec::<String>::new());
            assert!(is_name(key), "{}", String::from_utf8_lossy(key));
            // Header and claims are in there; what can be seen of them is about how long they are.
            assert!(record.len() > 500, "{}", record.len());
        }
        can_be_found(&front.redis, &marks, &tokens)?;
    }
    Ok(())
}

/// Everything that must not be readable.
fn marks(front: &Front, tokens: &[String]) -> Result<Marks> {
    let mut marks = Marks::new();
    let (client, user) = (front.keycloak.client(), front.keycloak.user());
    for (what, text) in [
        ("the issuer", &front.issuer),
        ("the client's id", &client.id),
        ("the client's secret", &client.secret),
        ("the user's name", &format!("\"{}\"", user.id)),
        ("the user's password", &user.secret),
    ] {
        marks.add(what, text);
    }
    for token in tokens {
        marks.add_jwt("a token", token);
        marks.add(
            "the signature's bytes",
            secret::from_base64url(jwt::signature(token)?)?,
        );
        add_json(&mut marks, "a header", &jwt::header(token)?);
        add_json(&mut marks, "a claim", &jwt::claims(token)?);
    }
    Ok(marks)
}

/// Every name and every value, at any depth.
fn add_json(marks: &mut Marks, what: &str, value: &Value) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                add_text(marks, what, name);
                add_json(marks, what, value);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| add_json(marks, what, item)),
        Value::String(text) => add_text(marks, what, text),
        Value::Number(number) if number.to_string().len() >= SHORTEST => {
            add_text(marks, what, &number.to_string());
        }
        Value::Number(_) | Value::Bool(_) | Value::Null => {}
    }
}

fn add_text(marks: &mut Marks, what: &str, text: &str) {
    let quoted = format!("\"{text}\"");
    let text = if text.len() < SHORTEST { &quoted } else { text };
    // `"a"` and the like say nothing.
    if text.len() + 1 >= SHORTEST {
        marks.add(&format!("{what}: {text}"), text);
    }
}

fn found(marks: &Marks, key: &[u8], record: &[u8]) -> Vec<String> {
    let whole = [key, b"\n", record].concat();
    let mut found = marks.found_in(&whole);
    if has_json_in_base64(&whole) {
        found.push("the beginning of a JSON object in base64".to_owned());
    }
    found
}

/// `eyJ`, as every JWT begins, and more of base64 after it: three bytes alone come by chance.
fn has_json_in_base64(bytes: &[u8]) -> bool {
    let is_letter = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_+/".contains(byte);
    bytes
        .windows(10)
        .any(|window| window.starts_with(b"eyJ") && window.iter().all(is_letter))
}

/// `st1:` and 32 bytes in base64url.
fn is_name(key: &[u8]) -> bool {
    let text = String::from_utf8_lossy(key);
    let id = text
        .strip_prefix("st1:")
        .and_then(|id| secret::from_base64url(id).ok());
    id.is_some_and(|id| id.len() == 32)
}

/// The search finds all of it in a Redis that does hold it, as other products' do.
fn can_be_found(redis: &Redis, marks: &Marks, tokens: &[String]) -> Result<()> {
    redis.flush()?;
    let mut connection = redis.connect()?;
    for token in tokens {
        let (input, signature) = token.rsplit_once('.').unwrap_or_default();
        let claims = jwt::claims(token)?.to_string();
        let bytes = secret::from_base64url(signature)?;
        let hex: String = bytes
            .iter()
            .fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
        for plain in [
            input.as_bytes(),
            signature.as_bytes(),
            claims.as_bytes(),
            &bytes,
            hex.as_bytes(),
        ] {
            connection.command_bytes(&[b"SET", b"control", plain])?;
            let (key, value) = redis.dump()?.remove(0);
            ensure!(!found(marks, &key, &value).is_empty(), "the search is blind");
        }
    }
    Ok(())
}
