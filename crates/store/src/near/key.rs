//! How a token's text becomes a key: hashed with a secret of this process, so that nobody can aim at a slot.

use std::hash::{BuildHasher, Hash, Hasher, RandomState};

use siphasher::sip128::{Hasher128, SipHasher24};
use splittoken_token::{Realm, Use};

/// The name of a token in a near cache: 128 bits of SipHash-2-4 over realm, use and text. No credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheKey(u64, u64);

/// It already is a hash.
impl Hash for CacheKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0);
    }
}

/// SipHash-2-4 under a random key of 128 bits.
pub(super) struct SecretHash(SipHasher24);

impl SecretHash {
    /// With a key from the operating system's random numbers, which is where `RandomState` has its own from.
    pub(super) fn random() -> Self {
        let random = RandomState::new();
        Self(SipHasher24::new_with_keys(
            random.hash_one("near cache, first half"),
            random.hash_one("near cache, second half"),
        ))
    }

    /// Realm and use have a fixed length, so the three parts cannot run into each other.
    pub(super) fn key(&self, realm: &Realm, usage: Use, text: &[u8]) -> CacheKey {
        let usage = match usage {
            Use::Access => 1,
            Use::Refresh => 2,
        };
        let mut hash = self.0;
        hash.write_u8(usage);
        hash.write(realm.as_bytes());
        hash.write(text);
        let (first, second) = hash.finish128().as_u64();
        CacheKey(first, second)
    }
}

/// For tables whose keys are hashes: takes their first 64 bits.
#[derive(Clone, Copy, Default)]
pub(super) struct Hashed;

impl BuildHasher for Hashed {
    type Hasher = TakeFirst;

    fn build_hasher(&self) -> TakeFirst {
        TakeFirst(0)
    }
}

pub(super) struct TakeFirst(u64);

impl Hasher for TakeFirst {
    fn write(&mut self, bytes: &[u8]) {
        // Not how a key comes; still a hash if it ever does.
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_counts_and_so_does_the_secret() {
        let (one, other) = (SecretHash::random(), SecretHash::random());
        let (a, b) = (Realm::of("k", "n", "a"), Realm::of("k", "n", "b"));
        let key = one.key(&a, Use::Access, b"text");
        assert_eq!(key, one.key(&a, Use::Access, b"text"));
        for different in [
            one.key(&b, Use::Access, b"text"),
            one.key(&a, Use::Refresh, b"text"),
            one.key(&a, Use::Access, b"texT"),
            one.key(&a, Use::Access, b""),
            other.key(&a, Use::Access, b"text"),
        ] {
            assert_ne!(key, different);
        }
    }
}
