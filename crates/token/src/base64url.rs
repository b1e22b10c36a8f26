//! Canonical base64url without padding, the only form that JOSE knows (RFC 7515 §2).
//!
//! Strict on purpose: a decoder that lets stray trailing bits or padding through gives one signature several
//! spellings, and each spelling would be another token.

use base64::{DecodeError, Engine, engine::general_purpose::URL_SAFE_NO_PAD};

pub(crate) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Fails on padding, on characters outside the alphabet and on non-zero trailing bits.
pub(crate) fn decode(text: &[u8]) -> Result<Vec<u8>, DecodeError> {
    URL_SAFE_NO_PAD.decode(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_other_spellings_of_the_same_bytes() {
        assert_eq!(decode(b"AA").unwrap(), [0]);
        for bad in ["AA==", "AB", "A", "A A", "A+", "A/", "AA\n"] {
            assert!(decode(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }
}
