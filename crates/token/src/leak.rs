//! Does a text hold a JWT? The last guard before anything of the provider's goes to a client.
//!
//! Looks for the encoded header of a JOSE object followed by a dot, anywhere in a text: behind `Bearer `, in a
//! URL's fragment, glued to other letters. Claims leak by `header.payload` alone, so no signature is asked for.

use base64::{
    Engine,
    alphabet::URL_SAFE,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use percent_encoding::percent_decode_str;
use serde_json::Value;

/// Lenient where the real decoder is strict: whoever reads a leaked token may be lenient too.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Texts with more places that could start a header than this are taken for a JWT: checking each would be
/// work that a hostile provider chooses.
const MAX_CANDIDATES: usize = 1_000;

/// Headers longer than this many characters are not decoded; the shortest text that is taken for one has 8.
const MAX_HEADER_CHARS: usize = 16 * 1024;

/// Whether `text` holds something that looks like a JWT, signed or encrypted, whole or without its signature;
/// as it stands, or percent-encoded as in a URL.
pub fn contains_jwt(text: &str) -> bool {
    holds_jwt(text) || (text.contains('%') && holds_jwt(&percent_decode_str(text).decode_utf8_lossy()))
}

fn holds_jwt(text: &str) -> bool {
    let mut candidates = 0;
    for word in text.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '='))) {
        // Every part but the last is followed by a dot.
        let Some((parts, _)) = word.rsplit_once('.') else {
            continue;
        };
        for part in parts.split('.') {
            for start in header_starts(part) {
                candidates += 1;
                if candidates > MAX_CANDIDATES || is_jose_header(&part[start..]) {
                    return true;
                }
            }
        }
    }
    false
}

/// Whether any string or member name in `value`, at any depth, holds something that looks like a JWT.
pub fn json_contains_jwt(value: &Value) -> bool {
    any_text(value, &contains_jwt)
}

/// Whether `holds` is true of any string or member name in `value`, at any depth.
pub(crate) fn any_text(value: &Value, holds: &impl Fn(&str) -> bool) -> bool {
    match value {
        Value::String(text) => holds(text),
        Value::Array(list) => list.iter().any(|value| any_text(value, holds)),
        Value::Object(map) => map
            .iter()
            .any(|(name, value)| holds(name) || any_text(value, holds)),
        _ => false,
    }
}

/// Where the encoding of `{` and then a quote or white space begins.
///
/// Base64 of `{"` starts with `eyI` or `eyJ`; of `{` and white space with `ewk`, `ewo`, `ew0` or `eyA` and
/// their neighbours: the second byte decides the rest of `y`/`w` and the third letter's upper bits.
fn header_starts(part: &str) -> impl Iterator<Item = usize> {
    let bytes = part.as_bytes();
    bytes.windows(3).enumerate().filter_map(|(at, three)| {
        let [b'e', second, third] = *three else {
            return None;
        };
        let third = sextet(third)?;
        let next = (sextet(second)? & 0b1111) << 4 | third >> 2;
        let is_brace = sextet(second)? >> 4 == 0b11;
        (is_brace && matches!(next, b'"' | b' ' | b'\t' | b'\r' | b'\n')).then_some(at)
    })
}

fn sextet(letter: u8) -> Option<u8> {
    Some(match letter {
        b'A'..=b'Z' => letter - b'A',
        b'a'..=b'z' => letter - b'a' + 26,
        b'0'..=b'9' => letter - b'0' + 52,
        b'-' => 62,
        b'_' => 63,
        _ => return None,
    })
}

fn is_jose_header(part: &str) -> bool {
    if part.len() > MAX_HEADER_CHARS {
        return true;
    }
    // Four letters are three bytes; a single letter left over is no byte at all.
    let part = part.trim_end_matches('=');
    let part = if part.len() % 4 == 1 {
        &part[..part.len() - 1]
    } else {
        part
    };
    let Ok(bytes) = LENIENT.decode(part) else {
        return false;
    };
    let mut objects = serde_json::Deserializer::from_slice(&bytes).into_iter::<Value>();
    // Bytes after the object do not matter: a lenient reader might cut them off.
    matches!(objects.next(), Some(Ok(Value::Object(header))) if header.contains_key("alg") || header.contains_key("enc"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base64url::encode;

    fn token(header: &str) -> String {
        format!(
            "{}.{}.{}",
            encode(header.as_bytes()),
            encode(b"{\"sub\":\"a\"}"),
            encode(&[7; 32])
        )
    }

    #[test]
    fn finds_a_jwt_wherever_it_hides() {
        let headers = [
            r#"{"alg":"RS256"}"#,
            "{ \"alg\":\"none\"}",
            "{\n\"typ\":\"JWT\",\"alg\":\"HS256\"}",
            "{\t\"alg\" : 7}",
            "{\r\n \"enc\":\"A128GCM\"}",
        ];
        for header in headers {
            let jwt = token(header);
            let (without_signature, _) = jwt.rsplit_once('.').unwrap();
            for text in [
                jwt.clone(),
                format!("Bearer {jwt}"),
                format!("https://a.example/cb#access_token={jwt}&x=1"),
                format!("prefix_{jwt}"),
                format!("a.b.{jwt}"),
                without_signature.to_owned(),
                format!("{without_signature}."),
                jwt.replacen('.', "=.", 1),
                format!("https://a.example/cb?t={}", jwt.replace('.', "%2E")),
            ] {
                assert!(contains_jwt(&text), "{header:?} in {text}");
            }
            assert!(json_contains_jwt(&serde_json::json!({"a": [{"b": jwt}]})));
            assert!(json_contains_jwt(&serde_json::json!({ jwt: 1 })));
        }
    }

    #[test]
    fn leaves_other_texts_alone() {
        for text in [
            "",
            "invalid_grant: the code has expired.",
            "eyJ",
            "eyJhbGciOiJSUzI1NiJ9",
            "v1.MToken.abc",
            &encode(&[7; 256]),
            "https://example.com/eyes.html?ew=1.2.3",
            &format!("{}.x", encode(br#"{"no":"header"}"#)),
        ] {
            assert!(!contains_jwt(text), "{text}");
        }
    }

    #[test]
    fn too_many_candidates_count_as_one() {
        assert!(contains_jwt(&format!("{}.", "eyI".repeat(MAX_CANDIDATES + 1))));
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in ".{0,200}") {
            contains_jwt(&text);
        }

        #[test]
        fn a_header_is_found_behind_any_prefix(prefix in "[A-Za-z0-9_-]{0,9}", kid in "[a-z]{0,9}") {
            let jwt = token(&format!(r#"{{"kid":"{kid}","alg":"ES256"}}"#));
            let text = format!("{prefix}{jwt}");
            proptest::prop_assert!(contains_jwt(&text), "{}", text);
        }
    }
}
