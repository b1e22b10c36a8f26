use std::{collections::BTreeMap, fmt};

use aws_lc_rs::{
    hkdf::{HKDF_SHA256, Salt},
    rand,
};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::{base64url, derive::expand};

/// A pepper: 32 random bytes that no Redis dump contains.
pub(crate) const PEPPER_LEN: usize = 32;

/// Bytes of a mark: enough to tell the keys of an installation apart.
const MARK_LEN: usize = 8;

/// At most two peppers are tried on a read: the one that is written and the one that goes.
const MAX_KEYS: usize = 2;

/// The peppers of an installation, `{kid: u8 → 32 random bytes}`, and which of them new records use.
///
/// The file is JSON: `{"version":1,"write":1,"keys":{"1":"<43 characters of base64url>"}}`. Losing it ends all
/// sessions and nothing worse; leaking it together with the store's content and an opaque token opens that token's record.
#[derive(Clone)]
pub struct Keyring {
    write: u8,
    keys: BTreeMap<u8, Zeroizing<[u8; PEPPER_LEN]>>,
}

/// Why a keyring file cannot be used. Messages never quote key material.
#[derive(Debug, Error)]
pub enum KeyringError {
    /// Not the JSON shape above.
    #[error("the keyring is not valid JSON of the expected shape (line {line}, column {column})")]
    Syntax {
        /// Line of the first error, from 1.
        line: usize,
        /// Column of the first error, from 1.
        column: usize,
    },
    /// A version that this program does not know.
    #[error("keyring version {0} is not supported (expected 1)")]
    Version(u32),
    /// A key id that is no number from 0 to 255. Not quoted: it may be the key, in its name's place.
    #[error("a keyring key id is not a number from 0 to 255")]
    KeyId,
    /// A key that is not 32 bytes of unpadded base64url.
    #[error("keyring key {0} is not 32 bytes of unpadded base64url (43 characters)")]
    Key(u8),
    /// The key to write with is missing.
    #[error("the keyring says to write with key {0}, which it does not hold")]
    NoWriteKey(u8),
    /// No key, or more than two.
    #[error("a keyring holds one or two keys, this one holds {0}")]
    Count(usize),
    /// The system's random generator failed.
    #[error("the system's random generator failed")]
    Random,
}

impl KeyringError {
    /// A closed set of words for metrics and logs.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Syntax { .. } => "keyring_syntax",
            Self::Version(_) => "keyring_version",
            Self::KeyId => "keyring_key_id",
            Self::Key(_) => "keyring_key",
            Self::NoWriteKey(_) => "keyring_no_write_key",
            Self::Count(_) => "keyring_count",
            Self::Random => "random",
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    write: u8,
    keys: BTreeMap<String, Zeroizing<String>>,
}

impl Keyring {
    /// A fresh keyring with one random pepper, id 1.
    pub fn generate() -> Result<Self, KeyringError> {
        let mut pepper = Zeroizing::new([0; PEPPER_LEN]);
        rand::fill(pepper.as_mut()).map_err(|_| KeyringError::Random)?;
        Ok(Self {
            write: 1,
            keys: BTreeMap::from([(1, pepper)]),
        })
    }

    /// Reads the file form.
    pub fn parse(text: &str) -> Result<Self, KeyringError> {
        let file: File = serde_json::from_str(text).map_err(|e| KeyringError::Syntax {
            line: e.line(),
            column: e.column(),
        })?;
        if file.version != 1 {
            return Err(KeyringError::Version(file.version));
        }
        if file.keys.is_empty() || file.keys.len() > MAX_KEYS {
            return Err(KeyringError::Count(file.keys.len()));
        }
        let keys = file
            .keys
            .into_iter()
            .map(parse_key)
            .collect::<Result<BTreeMap<_, _>, _>>()?;
        if !keys.contains_key(&file.write) {
            return Err(KeyringError::NoWriteKey(file.write));
        }
        Ok(Self {
            write: file.write,
            keys,
        })
    }

    /// The file form, one line of JSON. It is a secret.
    pub fn to_file(&self) -> Zeroizing<String> {
        let keys = self
            .keys
            .iter()
            .map(|(kid, key)| (kid.to_string(), Zeroizing::new(base64url::encode(&key[..]))));
        let file = File {
            version: 1,
            write: self.write,
            keys: keys.collect(),
        };
        // A map of strings always serialises.
        Zeroizing::new(serde_json::to_string(&file).unwrap_or_default())
    }

    /// The id of the pepper that new records use.
    pub fn write_kid(&self) -> u8 {
        self.write
    }

    /// All ids, the one that is written first: the order in which records are looked for.
    pub fn kids(&self) -> impl Iterator<Item = u8> + '_ {
        let others = self.keys.keys().copied().filter(|kid| *kid != self.write);
        std::iter::once(self.write).chain(others)
    }

    /// The first step of a rotation: a second random key, which is read and not yet written.
    pub fn with_new_key(&self) -> Result<Self, KeyringError> {
        if self.keys.len() >= MAX_KEYS {
            return Err(KeyringError::Count(self.keys.len() + 1));
        }
        let mut pepper = Zeroizing::new([0; PEPPER_LEN]);
        rand::fill(pepper.as_mut()).map_err(|_| KeyringError::Random)?;
        // Ids go round: with at most two in use, the next one is always free.
        let id = self.write.wrapping_add(1);
        let mut keys = self.keys.clone();
        keys.insert(id, pepper);
        Ok(Self { keys, ..*self })
    }

    /// The second step: new records are written with the other key.
    #[must_use]
    pub fn switched(&self) -> Self {
        let other = self.keys.keys().copied().find(|kid| *kid != self.write);
        Self {
            write: other.unwrap_or(self.write),
            keys: self.keys.clone(),
        }
    }

    /// The last step: nothing is read any more that was written with another key than the current one.
    #[must_use]
    pub fn without_old_keys(&self) -> Self {
        let mut keys = self.keys.clone();
        keys.retain(|kid, _| *kid == self.write);
        Self { keys, ..*self }
    }

    /// A public name for each key, by its id: 16 hexadecimal digits. Keyrings that were made apart use the same ids, and
    /// these tell whether two of them hold the same keys.
    ///
    /// A few bytes of HKDF-SHA256 over a pepper, which is random: nothing leads back to it, and no other use has this salt.
    pub fn marks(&self) -> BTreeMap<u8, String> {
        let marks = self.keys.iter().map(|(kid, pepper)| (*kid, mark(pepper)));
        marks.collect()
    }

    pub(crate) fn pepper(&self, kid: u8) -> Option<&[u8; PEPPER_LEN]> {
        self.keys.get(&kid).map(|key| &**key)
    }
}

fn mark(pepper: &[u8; PEPPER_LEN]) -> String {
    let prk = Salt::new(HKDF_SHA256, b"splittoken/1 keyring").extract(pepper);
    // 32 bytes are never too many.
    let bytes = expand(&prk, &[b"splittoken/1 ", b"mark"]).unwrap_or_default();
    let digits = bytes.iter().take(MARK_LEN).map(|byte| format!("{byte:02x}"));
    digits.collect()
}

fn parse_key(
    (kid, key): (String, Zeroizing<String>),
) -> Result<(u8, Zeroizing<[u8; PEPPER_LEN]>), KeyringError> {
    let id: u8 = kid.parse().map_err(|_| KeyringError::KeyId)?;
    let bytes = Zeroizing::new(base64url::decode(key.as_bytes()).map_err(|_| KeyringError::Key(id))?);
    let mut pepper = Zeroizing::new([0; PEPPER_LEN]);
    if bytes.len() != PEPPER_LEN {
        return Err(KeyringError::Key(id));
    }
    pepper.copy_from_slice(&bytes);
    Ok((id, pepper))
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<u8> = self.keys.keys().copied().collect();
        write!(f, "Keyring(write {}, ids {ids:?})", self.write)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survives_its_file_form() {
        let keyring = Keyring::generate().unwrap();
        let again = Keyring::parse(&keyring.to_file()).unwrap();
        assert_eq!(again.pepper(1), keyring.pepper(1));
        assert_eq!(again.write_kid(), 1);
    }

    #[test]
    fn two_generated_keyrings_differ() {
        assert_ne!(
            Keyring::generate().unwrap().pepper(1),
            Keyring::generate().unwrap().pepper(1)
        );
    }

    #[test]
    fn a_rotation_reads_both_keys_until_the_old_one_goes() {
        let old = Keyring::generate().unwrap();
        let both = old.with_new_key().unwrap();
        assert_eq!(
            both.kids().collect::<Vec<_>>(),
            [1, 2],
            "written with the old one"
        );
        assert!(both.with_new_key().is_err(), "a third key");
        let switched = both.switched();
        assert_eq!(switched.kids().collect::<Vec<_>>(), [2, 1]);
        let new = switched.without_old_keys();
        assert_eq!(new.kids().collect::<Vec<_>>(), [2]);
        assert_eq!(new.pepper(2), both.pepper(2));
        assert_eq!(old.switched().write_kid(), 1, "there is nothing to switch to");
    }

    #[test]
    fn a_mark_tells_keys_of_the_same_id_apart() {
        let (one, other) = (Keyring::generate().unwrap(), Keyring::generate().unwrap());
        assert_eq!(one.marks(), Keyring::parse(&one.to_file()).unwrap().marks());
        assert_ne!(one.marks()[&1], other.marks()[&1]);
        assert_eq!(one.marks()[&1].len(), 2 * MARK_LEN);
        let both = one.with_new_key().unwrap().marks();
        assert_eq!(both[&1], one.marks()[&1], "whatever else the keyring holds");
        assert_ne!(both[&1], both[&2]);
    }

    #[test]
    fn ids_go_round() {
        let key = base64url::encode(&[7; 32]);
        let text = format!(r#"{{"version":1,"write":255,"keys":{{"255":"{key}"}}}}"#);
        let next = Keyring::parse(&text).unwrap().with_new_key().unwrap();
        assert_eq!(next.kids().collect::<Vec<_>>(), [255, 0]);
    }

    #[test]
    fn reads_the_written_key_first() {
        let key = base64url::encode(&[7; 32]);
        let text = format!(r#"{{"version":1,"write":2,"keys":{{"1":"{key}","2":"{key}"}}}}"#);
        assert_eq!(Keyring::parse(&text).unwrap().kids().collect::<Vec<_>>(), [2, 1]);
    }

    #[test]
    fn says_what_is_wrong_without_quoting_keys() {
        let key = base64url::encode(&[7; 32]);
        let cases = [
            ("{".to_owned(), "keyring_syntax"),
            (
                r#"{"version":2,"write":1,"keys":{}}"#.to_owned(),
                "keyring_version",
            ),
            (r#"{"version":1,"write":1,"keys":{}}"#.to_owned(), "keyring_count"),
            (
                format!(r#"{{"version":1,"write":3,"keys":{{"1":"{key}"}}}}"#),
                "keyring_no_write_key",
            ),
            (
                format!(r#"{{"version":1,"write":1,"keys":{{"256":"{key}"}}}}"#),
                "keyring_key_id",
            ),
            (
                format!(r#"{{"version":1,"write":1,"keys":{{"{key}":"1"}}}}"#),
                "keyring_key_id",
            ),
            (
                format!(r#"{{"version":1,"write":1,"keys":{{"1":"{key}AA"}}}}"#),
                "keyring_key",
            ),
            (
                format!(r#"{{"version":1,"write":1,"keys":{{"1":"{key}"}},"x":1}}"#),
                "keyring_syntax",
            ),
        ];
        for (text, reason) in cases {
            let error = Keyring::parse(&text).unwrap_err();
            assert_eq!(error.reason(), reason, "{text}");
            assert!(!error.to_string().contains(&key));
        }
    }
}
