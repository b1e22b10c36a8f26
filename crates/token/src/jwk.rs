use std::fmt;

use aws_lc_rs::{hmac, signature as sig};
use serde_json::{Map, Value};
use thiserror::Error;

use crate::{Algorithm, Family, SecretBytes, base64url, json};

/// The largest JWK Set that is read, in bytes.
pub const MAX_JWKS_BYTES: usize = 256 * 1024;
/// The most keys that a JWK Set may hold.
pub const MAX_JWKS_KEYS: usize = 64;

/// The keys of an issuer, parsed once: verifying with a parsed key costs half of parsing it each time.
#[derive(Default)]
pub struct KeySet {
    keys: Vec<Key>,
}

/// One key that verifies signatures.
pub struct Key {
    id: Option<String>,
    algorithm: Algorithm,
    material: Material,
}

enum Material {
    Public(sig::ParsedPublicKey),
    Hmac(Box<hmac::Key>),
}

/// Why a document is no JWK Set to use.
#[derive(Debug, Error, PartialEq, Eq, Clone, Copy)]
pub enum KeySetError {
    /// More than [`MAX_JWKS_BYTES`].
    #[error("the JWK Set is larger than {MAX_JWKS_BYTES} bytes")]
    TooLarge,
    /// Not a JSON object with a list `keys`.
    #[error("the JWK Set is not a JSON object with a list of keys")]
    Shape,
    /// More than [`MAX_JWKS_KEYS`].
    #[error("the JWK Set holds more than {MAX_JWKS_KEYS} keys")]
    TooManyKeys,
    /// No key in it can verify a signature of an allowed algorithm.
    #[error("the JWK Set holds no usable signature key")]
    NoUsableKey,
}

impl KeySetError {
    /// A closed set of words for metrics and logs.
    pub fn reason(self) -> &'static str {
        match self {
            Self::TooLarge => "jwks_too_large",
            Self::Shape => "jwks_shape",
            Self::TooManyKeys => "jwks_too_many_keys",
            Self::NoUsableKey => "jwks_no_usable_key",
        }
    }
}

impl KeySet {
    /// Parses a JWK Set (RFC 7517 §5) and keeps the keys that can verify one of `algorithms`.
    ///
    /// A key that is not understood, is meant for encryption, is too weak or is symmetric is left out, as §5
    /// asks: the others stay usable.
    pub fn parse(document: &[u8], algorithms: &[Algorithm]) -> Result<Self, KeySetError> {
        if document.len() > MAX_JWKS_BYTES {
            return Err(KeySetError::TooLarge);
        }
        let object = json::parse_object(document).map_err(|_| KeySetError::Shape)?;
        let list = object
            .get("keys")
            .and_then(Value::as_array)
            .ok_or(KeySetError::Shape)?;
        if list.len() > MAX_JWKS_KEYS {
            return Err(KeySetError::TooManyKeys);
        }
        let jwks = list.iter().filter_map(Value::as_object);
        let keys: Vec<Key> = jwks
            .flat_map(|jwk| algorithms.iter().filter_map(|alg| parse_key(jwk, *alg)))
            .collect();
        if keys.is_empty() {
            return Err(KeySetError::NoUsableKey);
        }
        Ok(Self { keys })
    }

    /// The set of one HMAC key, usable under each HMAC algorithm in `algorithms`.
    pub fn hmac(secret: &SecretBytes, algorithms: &[Algorithm]) -> Self {
        let keys = algorithms.iter().filter_map(|alg| {
            let hash = match alg {
                Algorithm::HS256 => hmac::HMAC_SHA256,
                Algorithm::HS384 => hmac::HMAC_SHA384,
                Algorithm::HS512 => hmac::HMAC_SHA512,
                _ => return None,
            };
            let material = Material::Hmac(Box::new(hmac::Key::new(hash, secret.expose())));
            Some(Key {
                id: None,
                algorithm: *alg,
                material,
            })
        });
        Self { keys: keys.collect() }
    }

    /// The ids of the keys, for `/config` and for noticing which ones came and went.
    pub fn key_ids(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().filter_map(Key::id)
    }

    /// Whether some key could verify a token with this header: same algorithm, and same id where both have one.
    pub fn covers(&self, algorithm: Algorithm, key_id: Option<&str>) -> bool {
        self.candidates(algorithm, key_id).next().is_some()
    }

    /// How many (key, algorithm) pairs there are.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    pub(crate) fn candidates(
        &self,
        algorithm: Algorithm,
        key_id: Option<&str>,
    ) -> impl Iterator<Item = &Key> {
        self.keys.iter().filter(move |key| {
            // A key without an id, or a token without one, matches by algorithm alone (RFC 7515 §4.1.4: optional).
            key.algorithm == algorithm
                && key_id.is_none_or(|wanted| key.id.as_deref().is_none_or(|id| id == wanted))
        })
    }
}

impl Key {
    /// The `kid`.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.material {
            Material::Public(key) => key.verify_sig(message, signature).is_ok(),
            Material::Hmac(key) => hmac::verify(key, message, signature).is_ok(),
        }
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.keys).finish()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({}, {:?})", self.algorithm, self.id)
    }
}

/// The key of `jwk` for `algorithm`, if it is one.
fn parse_key(jwk: &Map<String, Value>, algorithm: Algorithm) -> Option<Key> {
    let text = |name: &str| jwk.get(name).and_then(Value::as_str);
    let is_for_signatures = text("use").is_none_or(|usage| usage == "sig")
        && jwk.get("key_ops").is_none_or(|ops| {
            ops.as_array()
                .is_some_and(|ops| ops.iter().any(|op| op == "verify"))
        })
        && text("alg").is_none_or(|alg| alg == algorithm.name());
    if !is_for_signatures {
        return None;
    }
    let bytes = |name: &str| base64url::decode(text(name)?.as_bytes()).ok();
    let material = match (algorithm.family(), text("kty")?) {
        (Family::Rsa, "RSA") => rsa_key(algorithm, &bytes("n")?, &bytes("e")?)?,
        (Family::Ec, "EC") => ec_key(algorithm, text("crv")?, &bytes("x")?, &bytes("y")?)?,
        (Family::Okp, "OKP") if text("crv") == Some("Ed25519") => {
            sig::ParsedPublicKey::new(&sig::ED25519, bytes("x")?).ok()?
        }
        _ => return None,
    };
    let id = text("kid").map(str::to_owned);
    Some(Key {
        id,
        algorithm,
        material: Material::Public(material),
    })
}

fn rsa_key(algorithm: Algorithm, modulus: &[u8], exponent: &[u8]) -> Option<sig::ParsedPublicKey> {
    let parameters = match algorithm {
        Algorithm::RS256 => &sig::RSA_PKCS1_2048_8192_SHA256,
        Algorithm::RS384 => &sig::RSA_PKCS1_2048_8192_SHA384,
        Algorithm::RS512 => &sig::RSA_PKCS1_2048_8192_SHA512,
        Algorithm::PS256 => &sig::RSA_PSS_2048_8192_SHA256,
        Algorithm::PS384 => &sig::RSA_PSS_2048_8192_SHA384,
        Algorithm::PS512 => &sig::RSA_PSS_2048_8192_SHA512,
        _ => return None,
    };
    // Some providers pad the modulus with a zero byte, against RFC 7518 §6.3.1.1.
    let strip = |bytes: &'_ [u8]| {
        bytes
            .iter()
            .skip_while(|b| **b == 0)
            .copied()
            .collect::<Vec<u8>>()
    };
    let (n, e) = (strip(modulus), strip(exponent));
    // Weak keys are refused by the algorithm at each verification; leaving them out here makes that visible.
    if !(256..=1024).contains(&n.len()) || e.is_empty() || e.len() > 8 {
        return None;
    }
    sig::RsaPublicKeyComponents { n: &n, e: &e }
        .to_parsed_public_key(parameters)
        .ok()
}

fn ec_key(algorithm: Algorithm, curve: &str, x: &[u8], y: &[u8]) -> Option<sig::ParsedPublicKey> {
    let (parameters, len): (&'static sig::EcdsaVerificationAlgorithm, _) = match (algorithm, curve) {
        (Algorithm::ES256, "P-256") => (&sig::ECDSA_P256_SHA256_FIXED, 32),
        (Algorithm::ES384, "P-384") => (&sig::ECDSA_P384_SHA384_FIXED, 48),
        (Algorithm::ES512, "P-521") => (&sig::ECDSA_P521_SHA512_FIXED, 66),
        _ => return None,
    };
    if x.len() != len || y.len() != len {
        return None;
    }
    // SEC 1 §2.3.3: an uncompressed point is 4, x, y.
    sig::ParsedPublicKey::new(parameters, [&[4], x, y].concat()).ok()
}
