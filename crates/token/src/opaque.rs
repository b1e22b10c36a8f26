use std::fmt;

use thiserror::Error;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::{Algorithm, base64url};

/// The token that a client holds: the signature part of a JWT, exactly as issued.
///
/// Always canonical unpadded base64url of at least 32 bytes, so every token has one spelling.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Opaque {
    text: String,
    bytes: Vec<u8>,
}

/// Why a text cannot be an opaque token. One answer goes to the client for all of them.
#[derive(Debug, Error, PartialEq, Eq, Clone, Copy)]
pub enum OpaqueError {
    /// Not canonical base64url: padding, other characters, stray bits.
    #[error("not canonical base64url")]
    NotBase64Url,
    /// No allowed algorithm makes signatures of this length.
    #[error("no allowed algorithm makes signatures of this length")]
    Length,
    /// The shape of a whole JWT (or JWE): it has dots.
    #[error("looks like a whole JWT")]
    WholeJwt,
}

impl OpaqueError {
    /// A closed set of words for metrics and logs.
    pub fn reason(self) -> &'static str {
        match self {
            Self::NotBase64Url => "not_base64url",
            Self::Length => "token_length",
            Self::WholeJwt => "whole_jwt",
        }
    }
}

/// Fewer decoded bytes than this never are a token: HMAC-SHA-256 makes the shortest signatures, 32 bytes.
const MIN_BYTES: usize = 32;
/// An RSA-8192 signature has 1024 bytes, which is 1366 characters.
const MAX_CHARS: usize = 1366;

impl Opaque {
    /// Checks the text of a presented or issued token. No I/O, so guessing is cheap to refuse.
    pub fn parse(text: &str) -> Result<Self, OpaqueError> {
        if text.contains('.') {
            return Err(OpaqueError::WholeJwt);
        }
        if text.len() > MAX_CHARS {
            return Err(OpaqueError::Length);
        }
        let bytes = base64url::decode(text.as_bytes()).map_err(|_| OpaqueError::NotBase64Url)?;
        if bytes.len() < MIN_BYTES {
            return Err(OpaqueError::Length);
        }
        Ok(Self {
            text: text.to_owned(),
            bytes,
        })
    }

    /// As [`Opaque::parse`], and the length must be one that some of `algorithms` makes.
    pub fn parse_for(text: &str, algorithms: &[Algorithm]) -> Result<Self, OpaqueError> {
        let opaque = Self::parse(text)?;
        if algorithms
            .iter()
            .any(|alg| alg.allows_signature_len(opaque.bytes.len()))
        {
            Ok(opaque)
        } else {
            Err(OpaqueError::Length)
        }
    }

    /// The text that the client holds. A credential: it goes to that client and nowhere else.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// The decoded signature: the input keying material of every derivation.
    pub(crate) fn signature(&self) -> &[u8] {
        &self.bytes
    }
}

impl fmt::Debug for Opaque {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Opaque({} chars)", self.text.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(len: usize) -> String {
        base64url::encode(&vec![0xa5; len])
    }

    #[test]
    fn takes_only_lengths_that_an_algorithm_makes() {
        let algorithms = [Algorithm::RS256, Algorithm::ES256];
        for (len, good) in [
            (31, false),
            (32, false),
            (64, true),
            (65, false),
            (256, true),
            (1024, true),
        ] {
            assert_eq!(Opaque::parse_for(&of(len), &algorithms).is_ok(), good, "{len}");
        }
        assert_eq!(Opaque::parse(&of(1025)), Err(OpaqueError::Length));
        assert_eq!(Opaque::parse(&of(31)), Err(OpaqueError::Length));
    }

    #[test]
    fn refuses_other_spellings() {
        let good = of(64);
        assert!(Opaque::parse(&good).is_ok());
        let mut stray_bits = good.clone();
        stray_bits.replace_range(85..86, "R");
        for bad in [
            format!("{good}=="),
            format!(" {good}"),
            stray_bits,
            good.replace('p', "+"),
        ] {
            assert_eq!(Opaque::parse(&bad), Err(OpaqueError::NotBase64Url), "{bad}");
        }
        assert_eq!(Opaque::parse("a.b.c"), Err(OpaqueError::WholeJwt));
    }

    #[test]
    fn debug_redacts() {
        assert_eq!(
            format!("{:?}", Opaque::parse(&of(32)).unwrap()),
            "Opaque(43 chars)"
        );
    }
}
