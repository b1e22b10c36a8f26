//! JWTs of any shape, signed with keys made at run time.

use anyhow::{Context as _, Result};
use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaKeyPair};
use aws_lc_rs::{hmac, rand};
use serde_json::{Value, json};

use crate::secret::{base64url, bytes};

/// A signing key with its key id.
#[derive(Debug)]
pub struct Key {
    kid: String,
    material: Material,
}

#[derive(Debug)]
enum Material {
    Rsa(RsaKeyPair, Rsa),
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Hmac(Vec<u8>),
}

#[derive(Debug, Clone, Copy)]
enum Rsa {
    Pkcs1,
    Pss,
}

impl Key {
    /// A 2048-bit RSA key for RS256.
    pub fn rs256() -> Result<Self> {
        Ok(Self::of(Material::Rsa(
            RsaKeyPair::generate(KeySize::Rsa2048)?,
            Rsa::Pkcs1,
        )))
    }

    /// A 2048-bit RSA key for PS256.
    pub fn ps256() -> Result<Self> {
        Ok(Self::of(Material::Rsa(
            RsaKeyPair::generate(KeySize::Rsa2048)?,
            Rsa::Pss,
        )))
    }

    /// A P-256 key for ES256.
    pub fn es256() -> Result<Self> {
        let pair = EcdsaKeyPair::generate(&signature::ECDSA_P256_SHA256_FIXED_SIGNING)?;
        Ok(Self::of(Material::P256(pair)))
    }

    /// An Ed25519 key for `EdDSA`.
    pub fn eddsa() -> Result<Self> {
        Ok(Self::of(Material::Ed25519(Ed25519KeyPair::generate()?)))
    }

    /// A 32-byte secret for HS256.
    pub fn hs256() -> Self {
        Self::hmac(&bytes::<32>())
    }

    /// HS256 with a secret that a test brings, such as somebody's public key.
    pub fn hmac(secret: &[u8]) -> Self {
        Self::of(Material::Hmac(secret.to_vec()))
    }

    /// The same secret or key under another key id.
    #[must_use]
    pub fn with_kid(mut self, kid: &str) -> Self {
        kid.clone_into(&mut self.kid);
        self
    }

    /// The key id.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The name of the algorithm, RFC 7518 section 3.1.
    pub fn algorithm(&self) -> &'static str {
        match &self.material {
            Material::Rsa(_, Rsa::Pkcs1) => "RS256",
            Material::Rsa(_, Rsa::Pss) => "PS256",
            Material::P256(_) => "ES256",
            Material::Ed25519(_) => "EdDSA",
            Material::Hmac(_) => "HS256",
        }
    }

    /// The secret of an HS256 key, for `hmacSecretRef`.
    pub fn hmac_secret(&self) -> Option<&[u8]> {
        match &self.material {
            Material::Hmac(secret) => Some(secret),
            _ => None,
        }
    }

    /// The public key as a JWK, RFC 7517; `None` for HS256, whose secret no JWKS shows.
    pub fn jwk(&self) -> Result<Option<Value>> {
        let mut jwk = match &self.material {
            Material::Rsa(pair, _) => {
                let (modulus, exponent) =
                    rsa_numbers(pair.public_key().as_ref()).context("an RSA public key")?;
                json!({"kty": "RSA", "n": base64url(modulus), "e": base64url(exponent)})
            }
            Material::P256(pair) => {
                // SEC 1: 0x04, x, y of 32 bytes each.
                let point = pair.public_key().as_ref();
                json!({"kty": "EC", "crv": "P-256", "x": base64url(&point[1..33]), "y": base64url(&point[33..65])})
            }
            Material::Ed25519(pair) => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": base64url(pair.public_key().as_ref())})
            }
            Material::Hmac(_) => return Ok(None),
        };
        jwk["kid"] = json!(self.kid);
        jwk["use"] = json!("sig");
        jwk["alg"] = json!(self.algorithm());
        Ok(Some(jwk))
    }

    /// The public key as a `SubjectPublicKeyInfo` in DER; `None` for HS256.
    pub fn public_der(&self) -> Result<Option<Vec<u8>>> {
        Ok(match &self.material {
            Material::Rsa(pair, _) => Some(pair.public_key().as_der()?.as_ref().to_vec()),
            Material::P256(pair) => Some(pair.public_key().as_der()?.as_ref().to_vec()),
            Material::Ed25519(pair) => Some(pair.public_key().as_der()?.as_ref().to_vec()),
            Material::Hmac(_) => None,
        })
    }

    /// An honest JWT: the usual header for this key, and these claims.
    pub fn token(&self, claims: &Value) -> Result<String> {
        let header = json!({"alg": self.algorithm(), "typ": "JWT", "kid": self.kid});
        self.token_of(&header.to_string(), &claims.to_string())
    }

    /// A JWT with this header and payload, byte for byte, whatever they say.
    pub fn token_of(&self, header: &str, payload: &str) -> Result<String> {
        let input = format!(
            "{}.{}",
            base64url(header.as_bytes()),
            base64url(payload.as_bytes())
        );
        let signature = base64url(&self.sign(input.as_bytes())?);
        Ok(format!("{input}.{signature}"))
    }

    /// The signature of these bytes, in JWS form.
    pub fn sign(&self, input: &[u8]) -> Result<Vec<u8>> {
        let random = rand::SystemRandom::new();
        Ok(match &self.material {
            Material::Rsa(pair, padding) => {
                let scheme: &dyn signature::RsaEncoding = match padding {
                    Rsa::Pkcs1 => &signature::RSA_PKCS1_SHA256,
                    Rsa::Pss => &signature::RSA_PSS_SHA256,
                };
                let mut signed = vec![0; pair.public_modulus_len()];
                pair.sign(scheme, &random, input, &mut signed)?;
                signed
            }
            Material::P256(pair) => pair.sign(&random, input)?.as_ref().to_vec(),
            Material::Ed25519(pair) => pair.sign(input).as_ref().to_vec(),
            Material::Hmac(secret) => hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), input)
                .as_ref()
                .to_vec(),
        })
    }

    fn of(material: Material) -> Self {
        Self {
            kid: base64url(&bytes::<9>()),
            material,
        }
    }
}

/// A JWKS document of these keys' public halves.
pub fn jwks(keys: &[&Key]) -> Result<Value> {
    let keys = keys.iter().map(|key| key.jwk()).collect::<Result<Vec<_>>>()?;
    Ok(json!({"keys": keys.into_iter().flatten().collect::<Vec<_>>()}))
}

/// The claims of a JWT, not verified.
pub fn claims(token: &str) -> Result<Value> {
    part(token, 1)
}

/// The header of a JWT, not verified.
pub fn header(token: &str) -> Result<Value> {
    part(token, 0)
}

/// The signature part of a JWT: what the gateway's clients get.
pub fn signature(token: &str) -> Result<&str> {
    let mut parts = token.split('.');
    let signature = parts.nth(2).filter(|_| parts.next().is_none());
    signature.with_context(|| "not a JWT of three parts")
}

fn part(token: &str, index: usize) -> Result<Value> {
    signature(token)?;
    let text = token.split('.').nth(index).unwrap_or_default();
    Ok(serde_json::from_slice(&crate::secret::from_base64url(text)?)?)
}

/// Modulus and exponent of an `RSAPublicKey` in DER, RFC 8017 A.1.1, without the sign's zero byte.
fn rsa_numbers(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (sequence, _) = der_value(der)?;
    let (modulus, rest) = der_value(sequence)?;
    let (exponent, _) = der_value(rest)?;
    Some((modulus.strip_prefix(&[0]).unwrap_or(modulus), exponent))
}

/// The content of the first DER value, and what follows it.
fn der_value(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&first, rest) = der.get(1..)?.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
        (
            digits
                .iter()
                .fold(0, |number, digit| number << 8 | usize::from(*digit)),
            rest,
        )
    };
    rest.split_at_checked(length)
}
