use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A JWS signature algorithm (RFC 7518 §3.1, RFC 8037) that this gateway can verify.
///
/// `none` and everything else that a header may name has no value here, so it cannot be allowed by mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[allow(missing_docs)] // The names are the registered ones and say all there is to say.
pub enum Algorithm {
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    ES512,
    EdDSA,
    HS256,
    HS384,
    HS512,
}

/// The kind of key an algorithm works with; mixing kinds is how algorithm-confusion attacks begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// RSASSA-PKCS1-v1_5 and RSASSA-PSS.
    Rsa,
    /// ECDSA over the NIST curves.
    Ec,
    /// `EdDSA` over Ed25519.
    Okp,
    /// HMAC: the verifier's key could sign too.
    Hmac,
}

/// A name that is not one of [`Algorithm::ALL`].
#[derive(Debug, Error, PartialEq, Eq)]
#[error("not a signature algorithm that can be verified here")]
pub struct UnknownAlgorithm;

impl Algorithm {
    /// Every algorithm, in the order of the enum.
    pub const ALL: [Self; 13] = [
        Self::RS256,
        Self::RS384,
        Self::RS512,
        Self::PS256,
        Self::PS384,
        Self::PS512,
        Self::ES256,
        Self::ES384,
        Self::ES512,
        Self::EdDSA,
        Self::HS256,
        Self::HS384,
        Self::HS512,
    ];

    /// The registered name, as in a JWS header's `alg`.
    pub fn name(self) -> &'static str {
        match self {
            Self::RS256 => "RS256",
            Self::RS384 => "RS384",
            Self::RS512 => "RS512",
            Self::PS256 => "PS256",
            Self::PS384 => "PS384",
            Self::PS512 => "PS512",
            Self::ES256 => "ES256",
            Self::ES384 => "ES384",
            Self::ES512 => "ES512",
            Self::EdDSA => "EdDSA",
            Self::HS256 => "HS256",
            Self::HS384 => "HS384",
            Self::HS512 => "HS512",
        }
    }

    /// The kind of key it needs.
    pub fn family(self) -> Family {
        match self {
            Self::RS256 | Self::RS384 | Self::RS512 | Self::PS256 | Self::PS384 | Self::PS512 => Family::Rsa,
            Self::ES256 | Self::ES384 | Self::ES512 => Family::Ec,
            Self::EdDSA => Family::Okp,
            Self::HS256 | Self::HS384 | Self::HS512 => Family::Hmac,
        }
    }

    /// Whether a signature of `bytes` decoded bytes can be one of this algorithm.
    ///
    /// RSA takes any modulus from 2048 to 8192 bits; the others have one length each (RFC 7518 §3.2, §3.4;
    /// RFC 8032 §5.1.6).
    pub fn allows_signature_len(self, bytes: usize) -> bool {
        match self {
            Self::HS256 => bytes == 32,
            Self::HS384 => bytes == 48,
            Self::HS512 | Self::ES256 | Self::EdDSA => bytes == 64,
            Self::ES384 => bytes == 96,
            Self::ES512 => bytes == 132,
            _ => (256..=1024).contains(&bytes),
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|alg| alg.name() == name)
            .ok_or(UnknownAlgorithm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_none_is_unknown() {
        for alg in Algorithm::ALL {
            assert_eq!(alg.name().parse(), Ok(alg));
            assert_eq!(serde_json::to_string(&alg).unwrap(), format!("\"{alg}\""));
        }
        for bad in ["none", "None", "rs256", "ES256K", "", "RSA-OAEP"] {
            assert_eq!(bad.parse::<Algorithm>(), Err(UnknownAlgorithm), "{bad}");
        }
    }
}
