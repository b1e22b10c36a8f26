//! The keys that an issuer published last, for gateways that start while it is down. Public, but whoever could write
//! them could vouch for tokens: so they come with a tag that takes the pepper to make.

use aws_lc_rs::{
    hkdf::{HKDF_SHA256, Prk},
    hmac,
};
use zeroize::Zeroizing;

use crate::{Keyring, LookupId, RecordError, SealedRecord, derive::expand, record::VERSION};

const KIND_KEY_SET: u8 = 3;
const LABEL: &[u8] = b"splittoken/1 jwks";
const HEAD: usize = 4;
const TAG: usize = 32;

/// Where the keys of a source lie, and what lies there.
///
/// ```text
///  0  version = 1 │ 1  pepper kid │ 2  kind = 3 │ 3  flags = 0 │ 4  saved_s u64 │ 12  tag (32) │ 44  document
///  key = HKDF-Expand(pepper, "splittoken/1 jwks"); id = HMAC-SHA256(key, source)
///  tag = HMAC-SHA256(key, id ‖ bytes 0..12 ‖ document)
/// ```
/// A source is everything that says whose keys these are: keys never vouch for an issuer of other settings. `None` if
/// the keyring has no pepper `kid`.
pub fn seal_key_set(
    keyring: &Keyring,
    kid: u8,
    source: &str,
    saved_at: u64,
    document: &[u8],
) -> Option<(LookupId, SealedRecord)> {
    let key = key(keyring, kid)?;
    let id = id(&key, source)?;
    let head = [&[VERSION, kid, KIND_KEY_SET, 0][..], &saved_at.to_be_bytes()].concat();
    let tag = hmac::sign(&key, &[&id.as_bytes()[..], &head, document].concat());
    Some((id, [&head, tag.as_ref(), document].concat()))
}

/// Where the keys of a source lie under the pepper `kid`.
pub fn key_set_id(keyring: &Keyring, kid: u8, source: &str) -> Option<LookupId> {
    id(&key(keyring, kid)?, source)
}

/// The document of a record that was found for this source, and when it was saved, in seconds since the epoch.
pub fn open_key_set<'r>(
    keyring: &Keyring,
    source: &str,
    record: &'r [u8],
) -> Result<(u64, &'r [u8]), RecordError> {
    let (head, rest) = record
        .split_first_chunk::<{ HEAD + 8 }>()
        .ok_or(RecordError::Malformed)?;
    let [VERSION, kid, KIND_KEY_SET, 0, saved_at @ ..] = head else {
        return Err(RecordError::Unknown);
    };
    let (tag, document) = rest.split_first_chunk::<TAG>().ok_or(RecordError::Malformed)?;
    let key = key(keyring, *kid).ok_or(RecordError::OtherPepper)?;
    let id = id(&key, source).ok_or(RecordError::Malformed)?;
    let signed = [&id.as_bytes()[..], head, document].concat();
    hmac::verify(&key, &signed, tag).map_err(|_| RecordError::Seal)?;
    Ok((u64::from_be_bytes(*saved_at), document))
}

fn id(key: &hmac::Key, source: &str) -> Option<LookupId> {
    let tag = hmac::sign(key, source.as_bytes());
    tag.as_ref().try_into().ok().map(LookupId::from_bytes)
}

fn key(keyring: &Keyring, kid: u8) -> Option<hmac::Key> {
    // A pepper is uniformly random, so it can be the PRK itself (RFC 5869 §3.3).
    let prk = Prk::new_less_safe(HKDF_SHA256, keyring.pepper(kid)?);
    let key = Zeroizing::new(expand(&prk, &[LABEL])?);
    Some(hmac::Key::new(hmac::HMAC_SHA256, &key[..]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{RecordKind, record_kind};

    const SOURCE: &str = "https://iam.example";
    const DOCUMENT: &[u8] = br#"{"keys": []}"#;

    fn sealed(keyring: &Keyring) -> (LookupId, SealedRecord) {
        seal_key_set(keyring, keyring.write_kid(), SOURCE, 1_700_000_000, DOCUMENT).unwrap()
    }

    #[test]
    fn what_was_sealed_opens_for_its_source_only() {
        let (ring, other) = (Keyring::generate().unwrap(), Keyring::generate().unwrap());
        let (id, record) = sealed(&ring);
        assert_eq!(key_set_id(&ring, ring.write_kid(), SOURCE), Some(id));
        assert_eq!(
            open_key_set(&ring, SOURCE, &record),
            Ok((1_700_000_000, DOCUMENT))
        );
        assert_eq!(
            open_key_set(&ring, "https://evil.example", &record),
            Err(RecordError::Seal)
        );
        assert_ne!(
            key_set_id(&ring, ring.write_kid(), "https://evil.example"),
            Some(id)
        );
        assert!(open_key_set(&other, SOURCE, &record).is_err());
        assert!(seal_key_set(&ring, ring.write_kid() ^ 0x80, SOURCE, 0, DOCUMENT).is_none());
    }

    #[test]
    fn a_changed_byte_is_found_wherever_it_is() {
        let ring = Keyring::generate().unwrap();
        let (_, record) = sealed(&ring);
        for at in 0..record.len() {
            let mut changed = record.clone();
            changed[at] ^= 1;
            assert!(open_key_set(&ring, SOURCE, &changed).is_err(), "byte {at}");
        }
        for length in 0..record.len() {
            assert!(
                open_key_set(&ring, SOURCE, &record[..length]).is_err(),
                "{length} bytes"
            );
        }
    }

    /// Put where a token's record is looked for, it is none.
    #[test]
    fn it_is_no_record_of_a_token() {
        let (_, record) = sealed(&Keyring::generate().unwrap());
        assert_eq!(record_kind(&record), Err(RecordError::Unknown));
        assert_ne!(record_kind(&record), Ok(RecordKind::Live));
    }

    proptest! {
        #[test]
        fn opening_anything_never_panics(record in proptest::collection::vec(any::<u8>(), 0..200)) {
            let ring = Keyring::generate().unwrap();
            prop_assert!(open_key_set(&ring, SOURCE, &record).is_err());
        }
    }
}
