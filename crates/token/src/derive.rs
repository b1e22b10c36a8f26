use std::fmt;

use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::{Keyring, Opaque, Realm, Use, base64url};

/// Prefix of every token record's key in the store: format version 1.
const REDIS_PREFIX: &str = "st1:";

/// The public name of a token: where its record lies, and what logs and admin endpoints may show.
///
/// A PRF output over the signature, the pepper, the realm and the use; no credential, and nothing leads back
/// from it to the token.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LookupId([u8; 32]);

impl LookupId {
    /// The id with exactly these bytes, for tests and for reading one back.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The key of the record in Redis: `st1:` and 43 characters of base64url.
    pub fn redis_key(&self) -> String {
        format!("{REDIS_PREFIX}{}", base64url::encode(&self.0))
    }

    /// The id in a Redis key, if it is one of ours: what an invalidation message names.
    pub fn from_redis_key(key: &[u8]) -> Option<Self> {
        let text = key.strip_prefix(REDIS_PREFIX.as_bytes())?;
        base64url::decode(text).ok()?.try_into().ok().map(Self)
    }
}

impl fmt::Display for LookupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base64url::encode(&self.0))
    }
}

impl fmt::Debug for LookupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LookupId({self})")
    }
}

/// Everything that one token gives under one pepper: where its record lies and the key that opens it.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Keys {
    pub(crate) kid: u8,
    #[zeroize(skip)]
    lookup: LookupId,
    pub(crate) encryption: [u8; 32],
}

impl Keys {
    /// Where the record lies.
    pub fn lookup_id(&self) -> LookupId {
        self.lookup
    }

    /// The id of the pepper that these keys come from.
    pub fn kid(&self) -> u8 {
        self.kid
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys(kid {}, {})", self.kid, self.lookup)
    }
}

/// The keys of `token` in `realm` for `usage` under the pepper `kid`; `None` if the keyring has no such pepper.
///
/// `PRK = HKDF-Extract-SHA256(salt = pepper, ikm = decoded signature)`, then one Expand for each purpose (RFC
/// 5869): a token of another realm or use has another name and another key.
pub fn derive_keys(keyring: &Keyring, kid: u8, realm: &Realm, usage: Use, token: &Opaque) -> Option<Keys> {
    let pepper = keyring.pepper(kid)?;
    let prk = Salt::new(HKDF_SHA256, pepper).extract(token.signature());
    let lookup = LookupId(expand(
        &prk,
        &[b"splittoken/1 ", b"lookup", realm.as_bytes(), usage.label()],
    )?);
    let encryption = expand(
        &prk,
        &[b"splittoken/1 ", b"aes256gcm", realm.as_bytes(), usage.label()],
    )?;
    Some(Keys {
        kid,
        lookup,
        encryption,
    })
}

/// 32 bytes of HKDF-Expand. It fails only for more than 255 hash lengths, which 32 bytes are not.
pub(crate) fn expand(prk: &Prk, info: &[&[u8]]) -> Option<[u8; 32]> {
    struct Len;
    impl KeyType for Len {
        fn len(&self) -> usize {
            32
        }
    }
    let mut out = [0; 32];
    prk.expand(info, Len).ok()?.fill(&mut out).ok()?;
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(byte: u8) -> Opaque {
        Opaque::parse(&base64url::encode(&[byte; 64])).unwrap()
    }

    #[test]
    fn every_input_changes_the_keys() {
        let (ring, other_ring) = (Keyring::generate().unwrap(), Keyring::generate().unwrap());
        let (a, b) = (Realm::of("k", "n", "a"), Realm::of("k", "n", "b"));
        let base = derive_keys(&ring, 1, &a, Use::Access, &token(1)).unwrap();
        let others = [
            derive_keys(&other_ring, 1, &a, Use::Access, &token(1)),
            derive_keys(&ring, 1, &b, Use::Access, &token(1)),
            derive_keys(&ring, 1, &a, Use::Refresh, &token(1)),
            derive_keys(&ring, 1, &a, Use::Access, &token(2)),
        ];
        for other in others.into_iter().flatten() {
            assert_ne!(other.lookup_id(), base.lookup_id());
            assert_ne!(other.encryption, base.encryption);
        }
        let again = derive_keys(&ring, 1, &a, Use::Access, &token(1)).unwrap();
        assert_eq!(
            (again.lookup_id(), again.encryption),
            (base.lookup_id(), base.encryption)
        );
        assert!(derive_keys(&ring, 9, &a, Use::Access, &token(1)).is_none());
    }

    #[test]
    fn the_derivation_is_hkdf_as_written_down() {
        use aws_lc_rs::hmac;
        let pepper = base64url::encode(&[9; 32]);
        let ring =
            Keyring::parse(&format!(r#"{{"version":1,"write":3,"keys":{{"3":"{pepper}"}}}}"#)).unwrap();
        let realm = Realm::of("SplitTokenIssuer", "ns", "name");
        let keys = derive_keys(&ring, 3, &realm, Use::Access, &token(5)).unwrap();

        let prk = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &[9; 32]), &[5; 64]);
        let info = [
            b"splittoken/1 lookup".as_slice(),
            realm.as_bytes(),
            b"access",
            &[1],
        ]
        .concat();
        let first_block = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, prk.as_ref()), &info);
        assert_eq!(keys.lookup_id().as_bytes(), first_block.as_ref());
    }

    #[test]
    fn redis_keys_round_trip() {
        let id = LookupId::from_bytes([0xab; 32]);
        assert_eq!(LookupId::from_redis_key(id.redis_key().as_bytes()), Some(id));
        for bad in ["st1:", "st1:AAAA", "st1:i:AAAA", "other"] {
            assert_eq!(LookupId::from_redis_key(bad.as_bytes()), None, "{bad}");
        }
    }
}
