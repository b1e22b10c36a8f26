//! The keys that an issuer published last, for gateways that start while it is down. They are public, but whoever could
//! write them could vouch for tokens: so they are sealed, as everything in the store is.

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    hkdf::{HKDF_SHA256, Prk},
    hmac, rand,
};
use zeroize::Zeroizing;

use crate::{
    Keyring, LookupId, RecordError, SealedRecord,
    derive::expand,
    record::{NONCE, TAG, VERSION},
};

const KIND_KEY_SET: u8 = 3;
const NAME_LABEL: &[u8] = b"splittoken/1 jwks name";
const SEAL_LABEL: &[u8] = b"splittoken/1 jwks seal";
/// Version, kid, kind, flags and the time.
const HEAD: usize = 12;

/// Where the keys of a source lie, and what lies there. A source is everything that says whose keys these are: keys
/// never vouch for an issuer of other settings.
///
/// ```text
///  0  version = 1 │ 1  pepper kid │ 2  kind = 3 │ 3  flags = 0 │ 4  saved_s u64 │ 12 nonce ‖ ciphertext ‖ 16 tag
///  id  = HMAC-SHA256(HKDF-Expand(pepper, "splittoken/1 jwks name"), source)
///  key = HKDF-Expand(pepper, "splittoken/1 jwks seal" ‖ id)                      (AES-256-GCM)
///  AAD = id ‖ bytes 0..12; plaintext = the document
/// ```
pub fn seal_key_set(
    keyring: &Keyring,
    kid: u8,
    source: &str,
    saved_at: u64,
    document: &[u8],
) -> Result<(LookupId, SealedRecord), RecordError> {
    let id = key_set_id(keyring, kid, source).ok_or(RecordError::OtherPepper)?;
    let head = [&[VERSION, kid, KIND_KEY_SET, 0][..], &saved_at.to_be_bytes()].concat();
    let mut nonce = [0; NONCE];
    rand::fill(&mut nonce).map_err(|_| RecordError::Crypto)?;
    let mut text = document.to_vec();
    let tag = cipher(keyring, kid, id)?
        .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), aad(id, &head), &mut text)
        .map_err(|_| RecordError::Crypto)?;
    Ok((id, [&head, &nonce[..], &text, tag.as_ref()].concat()))
}

/// Where the keys of a source lie under the pepper `kid`; `None` if the keyring has no such pepper.
pub fn key_set_id(keyring: &Keyring, kid: u8, source: &str) -> Option<LookupId> {
    let key = Zeroizing::new(expand(&prk(keyring, kid)?, &[NAME_LABEL])?);
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key[..]), source.as_bytes());
    tag.as_ref().try_into().ok().map(LookupId::from_bytes)
}

/// The document of a record that was found for this source, and when it was saved, in seconds since the epoch.
pub fn open_key_set(keyring: &Keyring, source: &str, record: &[u8]) -> Result<(u64, Vec<u8>), RecordError> {
    let (head, rest) = record.split_first_chunk::<HEAD>().ok_or(RecordError::Malformed)?;
    let [VERSION, kid, KIND_KEY_SET, 0, saved_at @ ..] = head else {
        return Err(RecordError::Unknown);
    };
    let (nonce, sealed) = rest.split_first_chunk::<NONCE>().ok_or(RecordError::Malformed)?;
    if sealed.len() < TAG {
        return Err(RecordError::Malformed);
    }
    let id = key_set_id(keyring, *kid, source).ok_or(RecordError::OtherPepper)?;
    let mut text = sealed.to_vec();
    let length = cipher(keyring, *kid, id)?
        .open_in_place(Nonce::assume_unique_for_key(*nonce), aad(id, head), &mut text)
        .map_err(|_| RecordError::Seal)?
        .len();
    text.truncate(length);
    Ok((u64::from_be_bytes(*saved_at), text))
}

fn aad(id: LookupId, head: &[u8]) -> Aad<Vec<u8>> {
    Aad::from([&id.as_bytes()[..], head].concat())
}

/// One for each source: no nonce is ever likely to come twice.
fn cipher(keyring: &Keyring, kid: u8, id: LookupId) -> Result<LessSafeKey, RecordError> {
    let prk = prk(keyring, kid).ok_or(RecordError::OtherPepper)?;
    let key = expand(&prk, &[SEAL_LABEL, id.as_bytes()]).ok_or(RecordError::Crypto)?;
    UnboundKey::new(&AES_256_GCM, &Zeroizing::new(key)[..])
        .map(LessSafeKey::new)
        .map_err(|_| RecordError::Crypto)
}

/// A pepper is uniformly random, so it can be the PRK itself (RFC 5869 §3.3).
fn prk(keyring: &Keyring, kid: u8) -> Option<Prk> {
    Some(Prk::new_less_safe(HKDF_SHA256, keyring.pepper(kid)?))
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
            Ok((1_700_000_000, DOCUMENT.to_vec()))
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
        assert!(seal_key_set(&ring, ring.write_kid() ^ 0x80, SOURCE, 0, DOCUMENT).is_err());
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

    #[test]
    fn nothing_of_it_can_be_read() {
        let (_, record) = sealed(&Keyring::generate().unwrap());
        assert!(!record.windows(6).any(|bytes| bytes == &DOCUMENT[..6]));
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
