use std::fmt;

use serde_json::{Map, Value};
use thiserror::Error;

use crate::{Algorithm, Opaque, OpaqueError, base64url, json};

/// The longest JWT that is split, in bytes. Longer ones do not fit into the header lines that upstreams take.
pub const MAX_JWT_BYTES: usize = 16 * 1024;

/// A JWS in compact form (RFC 7515 §7.1), taken apart but not yet verified.
///
/// Parsing refuses what no verification can make good: five-part JWE, `alg: none`, an unknown `crit`,
/// `b64: false`, duplicate members, padding, a signature shorter than 32 bytes.
#[derive(Clone)]
pub struct Jws<'a> {
    text: &'a str,
    signing_input: &'a str,
    opaque: Opaque,
    algorithm: Algorithm,
    key_id: Option<String>,
    token_type: Option<String>,
    claims: Map<String, Value>,
}

/// Why a text is no JWS that can be split. Never quotes the content.
#[derive(Debug, Error, PartialEq, Eq, Clone, Copy)]
pub enum JwsError {
    /// Not three parts: an opaque token, or something else.
    #[error("not a JWT: it does not have three parts")]
    NotThreeParts,
    /// Five parts.
    #[error("an encrypted JWT (JWE) cannot be split")]
    Encrypted,
    /// Longer than [`MAX_JWT_BYTES`].
    #[error("the JWT is longer than {MAX_JWT_BYTES} bytes")]
    TooLong,
    /// The header part.
    #[error("the JWT's header is not canonical base64url of a JSON object")]
    Header,
    /// The payload part.
    #[error("the JWT's claims are not canonical base64url of a JSON object")]
    Payload,
    /// A member stands twice in header or claims.
    #[error("a member stands twice in the JWT's header or claims")]
    Duplicate,
    /// `alg` is missing or not an algorithm that can be verified here; `none` is one of these.
    #[error("the JWT's alg is missing, none or unknown")]
    Algorithm,
    /// `crit` names an extension that is not understood (RFC 7515 §4.1.11).
    #[error("the JWT's crit names an extension that is not understood")]
    Critical,
    /// `b64: false` (RFC 7797).
    #[error("a JWT with an unencoded payload (b64) cannot be split")]
    Unencoded,
    /// The signature is empty, short, padded or not canonical, or of a length that `alg` does not make.
    #[error("the JWT's signature is empty, too short, of the wrong length or not canonical base64url")]
    Signature,
}

impl JwsError {
    /// A closed set of words for metrics and logs.
    pub fn reason(self) -> &'static str {
        match self {
            Self::NotThreeParts => "jwt_parts",
            Self::Encrypted => "jwt_encrypted",
            Self::TooLong => "jwt_too_long",
            Self::Header => "jwt_header",
            Self::Payload => "jwt_payload",
            Self::Duplicate => "jwt_duplicate_member",
            Self::Algorithm => "jwt_alg",
            Self::Critical => "jwt_crit",
            Self::Unencoded => "jwt_b64",
            Self::Signature => "jwt_signature_form",
        }
    }
}

impl<'a> Jws<'a> {
    /// Takes the compact form apart.
    pub fn parse(text: &'a str) -> Result<Self, JwsError> {
        if text.len() > MAX_JWT_BYTES {
            return Err(JwsError::TooLong);
        }
        match text.bytes().filter(|b| *b == b'.').count() {
            2 => {}
            4 => return Err(JwsError::Encrypted),
            _ => return Err(JwsError::NotThreeParts),
        }
        let (signing_input, signature) = text.rsplit_once('.').ok_or(JwsError::NotThreeParts)?;
        let (header, payload) = signing_input.split_once('.').ok_or(JwsError::NotThreeParts)?;
        let header = decode_part(header, JwsError::Header)?;
        let algorithm = check_header(&header)?;
        let opaque =
            Opaque::parse_for(signature, &[algorithm]).map_err(|_: OpaqueError| JwsError::Signature)?;
        Ok(Self {
            text,
            signing_input,
            opaque,
            algorithm,
            key_id: text_member(&header, "kid")?,
            token_type: text_member(&header, "typ")?,
            claims: decode_part(payload, JwsError::Payload)?,
        })
    }

    /// The whole JWT, as given.
    pub fn expose(&self) -> &'a str {
        self.text
    }

    /// `header.payload`, byte for byte: what was signed, and what is sealed.
    pub fn signing_input(&self) -> &'a str {
        self.signing_input
    }

    /// The signature: what the client gets.
    pub fn opaque(&self) -> &Opaque {
        &self.opaque
    }

    /// The header's `alg`.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The header's `kid`.
    pub fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }

    /// The header's `typ`.
    pub fn token_type(&self) -> Option<&str> {
        self.token_type.as_deref()
    }

    pub(crate) fn claims(&self) -> &Map<String, Value> {
        &self.claims
    }
}

impl fmt::Debug for Jws<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Jws({}, {} bytes)", self.algorithm, self.text.len())
    }
}

fn decode_part(part: &str, error: JwsError) -> Result<Map<String, Value>, JwsError> {
    let bytes = base64url::decode(part.as_bytes()).map_err(|_| error)?;
    json::parse_object(&bytes).map_err(|e| match e {
        json::JsonError::Duplicate => JwsError::Duplicate,
        _ => error,
    })
}

fn check_header(header: &Map<String, Value>) -> Result<Algorithm, JwsError> {
    // No extension is understood here, so any `crit` is one too many; an empty list is malformed anyway. `b64`
    // comes first because it must be listed in `crit` and deserves the clearer word.
    if header.get("b64").is_some_and(|b64| b64 != &Value::Bool(true)) {
        return Err(JwsError::Unencoded);
    }
    if header.contains_key("crit") {
        return Err(JwsError::Critical);
    }
    let alg = header
        .get("alg")
        .and_then(Value::as_str)
        .ok_or(JwsError::Algorithm)?;
    alg.parse().map_err(|_| JwsError::Algorithm)
}

fn text_member(header: &Map<String, Value>, name: &str) -> Result<Option<String>, JwsError> {
    match header.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(JwsError::Header),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jwt(header: &str, payload: &str, signature: &[u8]) -> String {
        let e = |s: &[u8]| base64url::encode(s);
        format!(
            "{}.{}.{}",
            e(header.as_bytes()),
            e(payload.as_bytes()),
            e(signature)
        )
    }

    #[test]
    fn takes_a_good_one_apart_byte_for_byte() {
        // Keycloak's header has spaces in odd places; they must survive.
        let text = jwt(
            r#"{"alg":"RS256","typ" : "JWT","kid" : "k1"}"#,
            r#"{"sub":"a"}"#,
            &[7; 256],
        );
        let jws = Jws::parse(&text).unwrap();
        assert_eq!(format!("{}.{}", jws.signing_input(), jws.opaque().expose()), text);
        assert_eq!((jws.key_id(), jws.token_type()), (Some("k1"), Some("JWT")));
        assert_eq!(format!("{jws:?}"), format!("Jws(RS256, {} bytes)", text.len()));
    }

    #[test]
    fn refuses_what_no_verification_can_make_good() {
        let hs = r#"{"alg":"HS256"}"#;
        let good = jwt(hs, "{}", &[7; 32]);
        assert!(Jws::parse(&good).is_ok());
        let cases = [
            ("opaque".to_owned(), JwsError::NotThreeParts),
            ("a.b".to_owned(), JwsError::NotThreeParts),
            ("a.b.c.d".to_owned(), JwsError::NotThreeParts),
            ("a.b.c.d.e".to_owned(), JwsError::Encrypted),
            (jwt(r#"{"alg":"none"}"#, "{}", &[]), JwsError::Algorithm),
            (jwt(r#"{"alg":"none"}"#, "{}", &[7; 32]), JwsError::Algorithm),
            (jwt(r#"{"alg":"hs256"}"#, "{}", &[7; 32]), JwsError::Algorithm),
            (jwt(r#"{"alg":1}"#, "{}", &[7; 32]), JwsError::Algorithm),
            (jwt("{}", "{}", &[7; 32]), JwsError::Algorithm),
            (jwt(hs, "{}", &[]), JwsError::Signature),
            (jwt(hs, "{}", &[7; 31]), JwsError::Signature),
            (jwt(hs, "{}", &[7; 64]), JwsError::Signature),
            (format!("{good}="), JwsError::Signature),
            (
                jwt(r#"{"alg":"HS256","crit":["exp"]}"#, "{}", &[7; 32]),
                JwsError::Critical,
            ),
            (
                jwt(r#"{"alg":"HS256","crit":[]}"#, "{}", &[7; 32]),
                JwsError::Critical,
            ),
            (
                jwt(r#"{"alg":"HS256","b64":false,"crit":["b64"]}"#, "{}", &[7; 32]),
                JwsError::Unencoded,
            ),
            (
                jwt(r#"{"alg":"HS256","kid":7}"#, "{}", &[7; 32]),
                JwsError::Header,
            ),
            (
                jwt(r#"{"alg":"HS256","alg":"RS256"}"#, "{}", &[7; 32]),
                JwsError::Duplicate,
            ),
            (jwt(hs, r#"{"sub":"a","sub":"b"}"#, &[7; 32]), JwsError::Duplicate),
            (jwt(hs, "[]", &[7; 32]), JwsError::Payload),
            (
                jwt(
                    hs,
                    &format!("{{\"x\":\"{}\"}}", "a".repeat(MAX_JWT_BYTES)),
                    &[7; 32],
                ),
                JwsError::TooLong,
            ),
        ];
        for (text, error) in cases {
            assert_eq!(
                Jws::parse(&text).unwrap_err(),
                error,
                "{}",
                &text[..text.len().min(80)]
            );
        }
    }

    #[test]
    fn an_explicit_b64_true_is_the_default() {
        assert!(Jws::parse(&jwt(r#"{"alg":"HS256","b64":true}"#, "{}", &[7; 32])).is_ok());
    }
}
