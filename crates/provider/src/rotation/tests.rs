use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::json;

use super::*;

const ALGORITHMS: &[Algorithm] = &[Algorithm::EdDSA];

fn jwk(id: Option<&str>) -> Value {
    let pair = Ed25519KeyPair::generate().unwrap();
    let mut jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(pair.public_key())});
    if let Some(id) = id {
        jwk["kid"] = json!(id);
    }
    jwk
}

fn set(keys: &[&Value]) -> Vec<u8> {
    json!({ "keys": keys }).to_string().into_bytes()
}

fn step(from: &Rotation, keys: &[&Value]) -> (Rotation, Change) {
    from.replaced_by(&set(keys), ALGORITHMS, Instant::now()).unwrap()
}

#[test]
fn first_keys_come_and_none_leaves() {
    let (rotation, change) = step(&Rotation::default(), &[&jwk(Some("a")), &jwk(Some("b"))]);
    assert_eq!(
        change,
        Change {
            came: vec!["a".into(), "b".into()],
            left: vec![],
            some_key_left: false
        }
    );
    assert!(rotation.is_published("a") && !rotation.is_retired("a") && !rotation.is_published("c"));
}

#[test]
fn overlap_then_removal() {
    let (a, b) = (jwk(Some("a")), jwk(Some("b")));
    let (one, _) = step(&Rotation::default(), &[&a]);
    let (both, change) = step(&one, &[&b, &a]);
    assert_eq!(
        change,
        Change {
            came: vec!["b".into()],
            left: vec![],
            some_key_left: false
        }
    );
    let (two, change) = step(&both, &[&b]);
    assert_eq!(
        change,
        Change {
            came: vec![],
            left: vec!["a".into()],
            some_key_left: true
        }
    );
    assert!(two.is_retired("a") && !two.is_published("a"));
    let (back, _) = step(&two, &[&a, &b]);
    assert!(!back.is_retired("a") && back.is_published("a"));
}

#[test]
fn order_and_unknown_members_change_nothing() {
    let (a, b) = (jwk(Some("a")), jwk(Some("b")));
    let (one, _) = step(&Rotation::default(), &[&a, &b]);
    let mut decorated = a.clone();
    decorated["x5t"] = json!("something");
    let (_, change) = step(&one, &[&b, &decorated]);
    assert_eq!(change, Change::default());
}

#[test]
fn another_key_under_the_same_id_or_without_one_counts_as_left() {
    for id in [Some("a"), None] {
        let (one, _) = step(&Rotation::default(), &[&jwk(id)]);
        let (_, change) = step(&one, &[&jwk(id)]);
        assert_eq!(
            change,
            Change {
                some_key_left: true,
                ..Change::default()
            }
        );
    }
}

#[test]
fn a_set_without_a_usable_key_is_no_step() {
    let (one, _) = step(&Rotation::default(), &[&jwk(Some("a"))]);
    let now = Instant::now();
    assert_eq!(
        one.replaced_by(&set(&[]), ALGORITHMS, now).unwrap_err(),
        KeySetError::NoUsableKey
    );
    assert_eq!(
        one.replaced_by(b"{}", ALGORITHMS, now).unwrap_err(),
        KeySetError::Shape
    );
}

#[test]
fn keys_last_a_day_without_a_fetch_and_their_ids_longer() {
    let now = Instant::now();
    let (a, b) = (jwk(Some("a")), jwk(Some("b")));
    let (one, _) = Rotation::default()
        .replaced_by(&set(&[&a]), ALGORITHMS, now)
        .unwrap();
    assert!(
        one.after_failure(now + KEEP.saturating_sub(Duration::from_secs(1)))
            .is_none()
    );
    let dropped = one.after_failure(now + KEEP).unwrap();
    assert!(dropped.keys().is_empty() && !dropped.is_retired("a"));
    assert!(dropped.after_failure(now + 2 * KEEP).is_none());
    let (next, change) = step(&dropped, &[&b]);
    assert_eq!(change.left, ["a"]);
    assert!(next.is_retired("a"));
    assert!(Rotation::default().after_failure(now + KEEP).is_none());
}

#[test]
fn the_latest_64_retired_ids_are_remembered() {
    let mut rotation = Rotation::default();
    for n in 0..=70 {
        rotation = step(&rotation, &[&jwk(Some(&n.to_string()))]).0;
    }
    assert_eq!(rotation.retired_ids().count(), MAX_RETIRED);
    assert!(rotation.is_retired("69") && rotation.is_retired("6") && !rotation.is_retired("5"));
}
