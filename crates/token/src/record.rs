use std::fmt;

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    hkdf::{HKDF_SHA256, Prk},
    hmac, rand,
};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::{Keyring, Keys, LookupId, derive::expand};

pub(crate) const VERSION: u8 = 1;
const KIND_LIVE: u8 = 1;
const KIND_TOMBSTONE: u8 = 2;
const HEAD: usize = 4;
pub(crate) const NONCE: usize = 12;
pub(crate) const TAG: usize = 16;
/// Plaintexts are filled with zeros to a multiple of this, so that lengths tell little.
const PADDING: usize = 64;
const TOMBSTONE_LEN: usize = HEAD + 8 + 32;
const AAD_LABEL: &[u8] = b"splittoken/1 record";
const TOMBSTONE_LABEL: &[u8] = b"splittoken/1 tombstone";

/// What the store keeps for a live token. Opaque bytes to whoever has no pepper.
///
/// ```text
///  0  version = 1 │ 1  pepper kid │ 2  kind: 1 live, 2 tombstone │ 3  flags = 0
///  live:      12 nonce ‖ ciphertext ‖ 16 tag          (AES-256-GCM)
///             AAD = "splittoken/1 record" ‖ bytes 0..4 ‖ lookup id
///             plaintext = stored_ms u64 ‖ exp_s u64 ‖ meta_len u16 ‖ meta ‖ len u16 ‖ header.payload ‖ zeros
///  tombstone: exp_s u64 ‖ HMAC-SHA256(HKDF-Expand(pepper, "splittoken/1 tombstone"), lookup id ‖ exp_s)
/// ```
/// Numbers are big-endian; `meta` is JSON.
pub type SealedRecord = Vec<u8>;

/// What is known of a token beside its text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// The client it was issued to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// `sub`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub: Option<String>,
    /// `sid`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sid: Option<String>,
}

/// The content of a live record.
#[derive(Clone, PartialEq, Eq)]
pub struct Live {
    /// When it was stored, milliseconds since the epoch.
    pub stored_at_ms: u64,
    /// When it ends, seconds since the epoch.
    pub expires_at: u64,
    /// What is known beside the text.
    pub meta: Meta,
    /// `header.payload`, byte for byte as issued.
    pub signing_input: Zeroizing<String>,
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Live(exp {}, {} bytes)",
            self.expires_at,
            self.signing_input.len()
        )
    }
}

/// The kind of a record, read without any key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordKind {
    /// A token.
    Live,
    /// A revoked token.
    Tombstone,
}

/// A record that was found and opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored {
    /// A token.
    Live(Live),
    /// A revoked one. Its seal holds, or [`open`] would have failed.
    Revoked,
}

/// Why a record could not be made or opened.
#[derive(Debug, Error, PartialEq, Eq, Clone, Copy)]
pub enum RecordError {
    /// Shorter than any record, or lengths inside that do not add up.
    #[error("the record is malformed")]
    Malformed,
    /// A version, kind or flag that this program does not know.
    #[error("the record is of a version or kind that is not known here")]
    Unknown,
    /// It names a pepper other than the one its key was derived from.
    #[error("the record names another pepper")]
    OtherPepper,
    /// Somebody without the pepper wrote or changed it, or it was moved from another key.
    #[error("the record's seal is broken")]
    Seal,
    /// Too long for its length fields.
    #[error("the token or what is known of it is too long for a record")]
    TooLong,
    /// The system's random generator or the cipher failed.
    #[error("the cryptographic library failed")]
    Crypto,
}

impl RecordError {
    /// A closed set of words for metrics and logs.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Malformed => "record_malformed",
            Self::Unknown => "record_unknown",
            Self::OtherPepper => "record_other_pepper",
            Self::Seal => "record_seal",
            Self::TooLong => "record_too_long",
            Self::Crypto => "crypto",
        }
    }
}

/// Seals `live` under `keys`.
pub fn seal(keys: &Keys, live: &Live) -> Result<SealedRecord, RecordError> {
    let mut plaintext = Zeroizing::new(plaintext(live)?);
    let head = [VERSION, keys.kid(), KIND_LIVE, 0];
    let mut nonce = [0; NONCE];
    rand::fill(&mut nonce).map_err(|_| RecordError::Crypto)?;
    let tag = cipher(keys)?
        .seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            aad(head, keys.lookup_id()),
            &mut plaintext,
        )
        .map_err(|_| RecordError::Crypto)?;
    Ok([&head[..], &nonce, &plaintext, tag.as_ref()].concat())
}

/// Opens what was found under the lookup id of `keys`: a live record or a tombstone, each only if it is ours.
pub fn open(keyring: &Keyring, keys: &Keys, record: &[u8]) -> Result<Stored, RecordError> {
    match check_head(keys, record)? {
        RecordKind::Live => open_live(keys, record).map(Stored::Live),
        RecordKind::Tombstone => open_tombstone(keyring, keys.lookup_id(), record).map(|_| Stored::Revoked),
    }
}

/// The kind of a record, from its first bytes.
pub fn record_kind(record: &[u8]) -> Result<RecordKind, RecordError> {
    match record {
        [VERSION, _, KIND_LIVE, 0, ..] => Ok(RecordKind::Live),
        [VERSION, _, KIND_TOMBSTONE, 0, ..] => Ok(RecordKind::Tombstone),
        [_, _, _, _, ..] => Err(RecordError::Unknown),
        _ => Err(RecordError::Malformed),
    }
}

fn check_head(keys: &Keys, record: &[u8]) -> Result<RecordKind, RecordError> {
    let kind = record_kind(record)?;
    if record.get(1) == Some(&keys.kid()) {
        Ok(kind)
    } else {
        Err(RecordError::OtherPepper)
    }
}

fn open_live(keys: &Keys, record: &[u8]) -> Result<Live, RecordError> {
    let (head, rest) = record.split_first_chunk::<HEAD>().ok_or(RecordError::Malformed)?;
    let (nonce, sealed) = rest.split_first_chunk::<NONCE>().ok_or(RecordError::Malformed)?;
    if sealed.len() < TAG {
        return Err(RecordError::Malformed);
    }
    let mut buffer = Zeroizing::new(sealed.to_vec());
    let plaintext = cipher(keys)?
        .open_in_place(
            Nonce::assume_unique_for_key(*nonce),
            aad(*head, keys.lookup_id()),
            &mut buffer,
        )
        .map_err(|_| RecordError::Seal)?;
    parse_plaintext(plaintext).ok_or(RecordError::Malformed)
}

fn cipher(keys: &Keys) -> Result<LessSafeKey, RecordError> {
    UnboundKey::new(&AES_256_GCM, &keys.encryption)
        .map(LessSafeKey::new)
        .map_err(|_| RecordError::Crypto)
}

fn aad(head: [u8; HEAD], lookup: LookupId) -> Aad<Vec<u8>> {
    Aad::from([AAD_LABEL, &head, lookup.as_bytes()].concat())
}

fn plaintext(live: &Live) -> Result<Vec<u8>, RecordError> {
    let meta = serde_json::to_vec(&live.meta).map_err(|_| RecordError::Malformed)?;
    let text = live.signing_input.as_bytes();
    let len = |bytes: &[u8]| {
        u16::try_from(bytes.len())
            .map(u16::to_be_bytes)
            .map_err(|_| RecordError::TooLong)
    };
    let content = 8 + 8 + 2 + meta.len() + 2 + text.len();
    // All room at once: a reallocation would leave a copy of the claims behind.
    let mut out = Vec::with_capacity(content.next_multiple_of(PADDING));
    out.extend_from_slice(&live.stored_at_ms.to_be_bytes());
    out.extend_from_slice(&live.expires_at.to_be_bytes());
    out.extend_from_slice(&len(&meta)?);
    out.extend_from_slice(&meta);
    out.extend_from_slice(&len(text)?);
    out.extend_from_slice(text);
    out.resize(content.next_multiple_of(PADDING), 0);
    Ok(out)
}

fn parse_plaintext(bytes: &[u8]) -> Option<Live> {
    let (stored_at, rest) = bytes.split_first_chunk::<8>()?;
    let (expires_at, rest) = rest.split_first_chunk::<8>()?;
    let (meta, rest) = split_field(rest)?;
    let (text, zeros) = split_field(rest)?;
    if zeros.len() >= PADDING || zeros.iter().any(|b| *b != 0) {
        return None;
    }
    Some(Live {
        stored_at_ms: u64::from_be_bytes(*stored_at),
        expires_at: u64::from_be_bytes(*expires_at),
        meta: serde_json::from_slice(meta).ok()?,
        signing_input: Zeroizing::new(std::str::from_utf8(text).ok()?.to_owned()),
    })
}

fn split_field(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))
}

/// The record that takes the place of a revoked token until `expires_at` (seconds since the epoch).
///
/// Needs no token, because whoever revokes by user or session only has lookup ids; cannot be made without the
/// pepper. `None` if the keyring has no pepper `kid`.
pub fn tombstone(keyring: &Keyring, kid: u8, lookup: LookupId, expires_at: u64) -> Option<SealedRecord> {
    let expires_at = expires_at.to_be_bytes();
    let tag = hmac::sign(
        &tombstone_key(keyring, kid)?,
        &[&lookup.as_bytes()[..], &expires_at].concat(),
    );
    Some([&[VERSION, kid, KIND_TOMBSTONE, 0], &expires_at[..], tag.as_ref()].concat())
}

/// Checks a tombstone found under `lookup` and gives the time (seconds since the epoch) until which it stands.
pub fn open_tombstone(keyring: &Keyring, lookup: LookupId, record: &[u8]) -> Result<u64, RecordError> {
    if record_kind(record)? != RecordKind::Tombstone {
        return Err(RecordError::Unknown);
    }
    let body: &[u8; TOMBSTONE_LEN] = record.try_into().map_err(|_| RecordError::Malformed)?;
    let (head, body) = body.split_at(HEAD);
    let (expires_at, tag) = body.split_first_chunk::<8>().ok_or(RecordError::Malformed)?;
    let key = tombstone_key(keyring, head[1]).ok_or(RecordError::OtherPepper)?;
    hmac::verify(&key, &[&lookup.as_bytes()[..], expires_at].concat(), tag).map_err(|_| RecordError::Seal)?;
    Ok(u64::from_be_bytes(*expires_at))
}

fn tombstone_key(keyring: &Keyring, kid: u8) -> Option<hmac::Key> {
    // A pepper is uniformly random, so it can be the PRK itself (RFC 5869 §3.3).
    let prk = Prk::new_less_safe(HKDF_SHA256, keyring.pepper(kid)?);
    let key = Zeroizing::new(expand(&prk, &[TOMBSTONE_LABEL])?);
    Some(hmac::Key::new(hmac::HMAC_SHA256, &key[..]))
}

#[cfg(test)]
mod tests;
