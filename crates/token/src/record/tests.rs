use proptest::prelude::*;

use super::*;
use crate::{Opaque, Realm, Use, base64url, derive_keys};

fn keyring() -> Keyring {
    Keyring::generate().unwrap()
}

fn keys(ring: &Keyring, byte: u8) -> Keys {
    let token = Opaque::parse(&base64url::encode(&[byte; 64])).unwrap();
    derive_keys(
        ring,
        ring.write_kid(),
        &Realm::of("k", "n", "x"),
        Use::Access,
        &token,
    )
    .unwrap()
}

fn live(text: &str) -> Live {
    Live {
        stored_at_ms: 1_700_000_000_123,
        expires_at: 1_700_000_300,
        meta: Meta {
            client_id: Some("shop".into()),
            ..Meta::default()
        },
        signing_input: Zeroizing::new(text.to_owned()),
    }
}

#[test]
fn nothing_readable_is_in_a_record() {
    let ring = keyring();
    let record = seal(&keys(&ring, 1), &live("eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhIn0")).unwrap();
    for word in ["eyJ", "shop", "client"] {
        assert!(
            !record.windows(word.len()).any(|w| w == word.as_bytes()),
            "{word}"
        );
    }
    assert_eq!(record_kind(&record), Ok(RecordKind::Live));
}

#[test]
fn every_changed_byte_breaks_it() {
    let ring = keyring();
    let keys = keys(&ring, 1);
    let record = seal(&keys, &live("a.b")).unwrap();
    assert_eq!(open(&ring, &keys, &record), Ok(Stored::Live(live("a.b"))));
    for at in 0..record.len() {
        let mut changed = record.clone();
        changed[at] ^= 1;
        assert!(open(&ring, &keys, &changed).is_err(), "byte {at}");
    }
    for len in 0..record.len() {
        assert!(open(&ring, &keys, &record[..len]).is_err(), "cut to {len}");
    }
}

#[test]
fn a_record_opens_only_under_its_own_keys() {
    let (ring, other_ring) = (keyring(), keyring());
    let record = seal(&keys(&ring, 1), &live("a.b")).unwrap();
    assert_eq!(open(&ring, &keys(&ring, 2), &record), Err(RecordError::Seal));
    assert_eq!(
        open(&other_ring, &keys(&other_ring, 1), &record),
        Err(RecordError::Seal)
    );
}

#[test]
fn lengths_are_rounded() {
    let ring = keyring();
    let keys = keys(&ring, 1);
    let (a, b) = (
        seal(&keys, &live("a.b")).unwrap(),
        seal(&keys, &live("aa.bb")).unwrap(),
    );
    assert_eq!(a.len(), b.len());
    assert_ne!(a, b);
}

#[test]
fn tombstones_cannot_be_forged_moved_or_changed() {
    let (ring, other_ring) = (keyring(), keyring());
    let keys = keys(&ring, 1);
    let stone = tombstone(&ring, 1, keys.lookup_id(), 1_700_000_300).unwrap();
    assert_eq!(open(&ring, &keys, &stone), Ok(Stored::Revoked));
    assert_eq!(open_tombstone(&ring, keys.lookup_id(), &stone), Ok(1_700_000_300));
    assert_eq!(
        open_tombstone(&ring, LookupId::from_bytes([0; 32]), &stone),
        Err(RecordError::Seal)
    );
    assert_eq!(
        open_tombstone(&other_ring, keys.lookup_id(), &stone),
        Err(RecordError::Seal)
    );
    for at in 0..stone.len() {
        let mut changed = stone.clone();
        changed[at] ^= 1;
        assert!(
            open_tombstone(&ring, keys.lookup_id(), &changed).is_err(),
            "byte {at}"
        );
    }
}

proptest! {
    #[test]
    fn what_is_sealed_opens_to_the_same(text in "[A-Za-z0-9_.-]{0,2000}", sub in proptest::option::of(".{0,40}")) {
        let ring = keyring();
        let keys = keys(&ring, 9);
        let mut content = live(&text);
        content.meta.sub = sub;
        let record = seal(&keys, &content).unwrap();
        prop_assert_eq!(open(&ring, &keys, &record), Ok(Stored::Live(content)));
    }

    #[test]
    fn opening_anything_never_panics(record in proptest::collection::vec(any::<u8>(), 0..200)) {
        let ring = keyring();
        prop_assert!(open(&ring, &keys(&ring, 1), &record).is_err());
    }
}
