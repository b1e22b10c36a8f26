//! The provider's signing key: RS256 with 2048 bits, made at start, never written anywhere.

use aws_lc_rs::{
    digest,
    error::Unspecified,
    rand::SystemRandom,
    rsa::{KeyPair, KeySize},
    signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, UnparsedPublicKey},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Serialize;
use serde_json::{Value, json};

/// Tags of DER (X.690): all that an `RSAPublicKey` (RFC 8017, A.1.1) is made of.
const DER_INTEGER: u8 = 0x02;
const DER_SEQUENCE: u8 = 0x30;

/// The private key and its public names.
pub(in crate::demo) struct SigningKey {
    pair: KeyPair,
    modulus: String,
    exponent: String,
    kid: String,
}

impl SigningKey {
    /// Makes a fresh key, which costs between 50 ms and a second of CPU.
    pub(in crate::demo) fn generate() -> Result<Self, Unspecified> {
        let pair = KeyPair::generate(KeySize::Rsa2048)?;
        let (modulus, exponent) = public_numbers(pair.public_key().as_ref()).ok_or(Unspecified)?;
        let (modulus, exponent) = (URL_SAFE_NO_PAD.encode(modulus), URL_SAFE_NO_PAD.encode(exponent));
        let kid = thumbprint(&modulus, &exponent);
        Ok(Self {
            pair,
            modulus,
            exponent,
            kid,
        })
    }

    /// The public half as a JWK (RFC 7517, RFC 7518 section 6.3.1).
    pub(super) fn jwk(&self) -> Value {
        json!({
            "kty": "RSA", "use": "sig", "alg": "RS256",
            "kid": self.kid, "n": self.modulus, "e": self.exponent,
        })
    }

    /// A compact JWS over `claims` (RFC 7515) of the type `at+jwt` (RFC 9068).
    pub(super) fn sign(&self, claims: &impl Serialize) -> Result<String, Unspecified> {
        #[derive(Serialize)]
        struct Header<'a> {
            alg: &'static str,
            typ: &'static str,
            kid: &'a str,
        }
        let header = Header {
            alg: "RS256",
            typ: "at+jwt",
            kid: &self.kid,
        };
        let input = format!("{}.{}", encode(&header)?, encode(claims)?);
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair.sign(
            &RSA_PKCS1_SHA256,
            &SystemRandom::new(),
            input.as_bytes(),
            &mut signature,
        )?;
        Ok(format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// Checks tokens of this key, and can do nothing else.
    pub(in crate::demo) fn verifier(&self) -> Verifier {
        Verifier {
            public_key: self.pair.public_key().as_ref().to_vec(),
        }
    }
}

/// The public half, for the API that checks what it receives.
#[derive(Debug, Clone)]
pub(in crate::demo) struct Verifier {
    /// DER of an `RSAPublicKey`.
    public_key: Vec<u8>,
}

impl Verifier {
    /// Whether the signature of a compact JWS is good. Says nothing about its claims.
    pub(in crate::demo) fn accepts(&self, jwt: &str) -> bool {
        let Some((input, signature)) = jwt.rsplit_once('.') else {
            return false;
        };
        let Ok(signature) = URL_SAFE_NO_PAD.decode(signature) else {
            return false;
        };
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &self.public_key)
            .verify(input.as_bytes(), &signature)
            .is_ok()
    }
}

fn encode(part: &impl Serialize) -> Result<String, Unspecified> {
    let json = serde_json::to_vec(part).map_err(|_| Unspecified)?;
    Ok(URL_SAFE_NO_PAD.encode(json))
}

/// RFC 7638: SHA-256 over the required members in alphabetical order, without spaces.
fn thumbprint(modulus: &str, exponent: &str) -> String {
    let canonical = format!(r#"{{"e":"{exponent}","kty":"RSA","n":"{modulus}"}}"#);
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, canonical.as_bytes()))
}

/// Modulus and exponent of an `RSAPublicKey`, big-endian, without the zero that DER puts before a
/// number whose first bit is set.
fn public_numbers(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (sequence, _) = element(der, DER_SEQUENCE)?;
    let (modulus, rest) = element(sequence, DER_INTEGER)?;
    let (exponent, _) = element(rest, DER_INTEGER)?;
    Some((unsigned(modulus), unsigned(exponent)))
}

fn unsigned(integer: &[u8]) -> &[u8] {
    integer.strip_prefix(&[0]).unwrap_or(integer)
}

/// The content of the first DER element, which must have the given tag, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&[found, length], rest) = der.split_first_chunk()?;
    if found != tag {
        return None;
    }
    let (length, rest) = match length {
        short @ 0..=0x7f => (usize::from(short), rest),
        long => {
            let (bytes, rest) = rest.split_at_checked(usize::from(long & 0x7f))?;
            (
                bytes.iter().try_fold(0usize, |sum, &byte| {
                    sum.checked_mul(256)?.checked_add(byte.into())
                })?,
                rest,
            )
        }
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key and the thumbprint of RFC 7638, section 3.1.
    #[test]
    fn the_thumbprint_is_that_of_the_rfc() {
        let modulus = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
        assert_eq!(
            thumbprint(modulus, "AQAB"),
            "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
        );
    }

    #[test]
    fn the_numbers_of_a_key_are_found() {
        assert_eq!(
            public_numbers(&[0x30, 0x09, 0x02, 0x02, 0x00, 0xc5, 0x02, 0x03, 0x01, 0x00, 0x01]),
            Some((&[0xc5][..], &[1, 0, 1][..])),
        );
    }

    #[test]
    fn broken_der_is_no_key() {
        for broken in [
            &[][..],
            &[0x30],
            &[0x30, 0x05, 0x02],
            &[0x31, 0x00],
            &[0x30, 0x89, 1],
            &[0x30, 0x00],
        ] {
            assert_eq!(public_numbers(broken), None, "{broken:?}");
        }
    }
}
