use std::fmt;

use aws_lc_rs::digest::{Context, SHA256};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::base64url;

/// The set of routes whose tokens are interchangeable.
///
/// Made from the *object* that defines the issuer, never from its URL: nobody joins a realm by typing one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Realm([u8; Self::LEN]);

impl Realm {
    /// Bytes of a realm id. 128 bits: chosen by nobody, so collisions are out of reach.
    pub const LEN: usize = 16;

    /// The realm of the object `kind` `namespace`/`name`: `SHA-256` over the three, each prefixed by its
    /// length as eight big-endian bytes, cut to 16 bytes.
    pub fn of(kind: &str, namespace: &str, name: &str) -> Self {
        let mut hash = Context::new(&SHA256);
        for part in [kind, namespace, name] {
            hash.update(&(part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        let mut id = [0; Self::LEN];
        id.copy_from_slice(&hash.finish().as_ref()[..Self::LEN]);
        Self(id)
    }

    /// The 16 bytes that go into key derivation.
    pub fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl fmt::Display for Realm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base64url::encode(&self.0))
    }
}

impl fmt::Debug for Realm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Realm({self})")
    }
}

impl Serialize for Realm {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Realm {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = base64url::decode(text.as_bytes()).ok();
        bytes
            .and_then(|bytes| bytes.try_into().ok())
            .map(Self)
            .ok_or_else(|| serde::de::Error::custom("a realm is 16 bytes of base64url"))
    }
}

/// What a record is for. A record of one use does not exist under another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Use {
    /// An access token: may be put together again and sent to an upstream.
    Access,
    /// A refresh token: goes to the provider only, never to an upstream.
    Refresh,
}

impl Use {
    pub(crate) fn label(self) -> &'static [u8] {
        match self {
            Self::Access => b"access",
            Self::Refresh => b"refresh",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_run_into_each_other() {
        assert_ne!(Realm::of("K", "ab", "c"), Realm::of("K", "a", "bc"));
        assert_ne!(
            Realm::of("SplitTokenIssuer", "a", "b"),
            Realm::of("SplitTokenRoute", "a", "b")
        );
    }

    #[test]
    fn survives_serde() {
        let realm = Realm::of("SplitTokenIssuer", "shop", "keycloak");
        let text = serde_json::to_string(&realm).unwrap();
        assert_eq!(serde_json::from_str::<Realm>(&text).unwrap(), realm);
        assert!(serde_json::from_str::<Realm>("\"AAAA\"").is_err());
    }
}
