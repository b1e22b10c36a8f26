use super::*;

fn revision(set: &Set) -> String {
    set.compile().routes[0].revision.clone()
}

#[test]
fn stays_where_nothing_changes() {
    let set = || Set::new([route("r", "n", "x.example")]);
    let first = revision(&set());
    assert_eq!(first, revision(&set()));
    assert!(
        first.len() == 16 && first.bytes().all(|b| b.is_ascii_hexdigit()),
        "{first}"
    );
    // Defaults written out, labels and other objects make no other route.
    let same = route("r", "n", "x.example")
        .with("/spec/className", json!("default"))
        .with("/metadata/labels", json!({"a": "b"}));
    assert_eq!(first, revision(&Set::new([same, route("z", "n", "z.example")])));
}

#[test]
fn changes_with_the_route_the_secret_the_certificate_and_the_key() {
    let secret = |key: &str| object("Secret", "key", "n", &json!({"hmac": key}));
    let inline =
        json!({"url": "https://iam.example", "algorithms": ["HS256"], "hmacSecretRef": {"name": "key"}});
    let with_hmac = || route("r", "n", "x.example").with("/spec/issuer", inline.clone());
    let first = Set::new([with_hmac(), secret("0123456789abcdef0123456789abcdef")]);
    let mut seen = vec![revision(&first)];
    seen.push(revision(&Set::new([
        with_hmac(),
        secret("1123456789abcdef0123456789abcdef"),
    ])));
    let scoped = with_hmac().with("/spec/rules/0/authorization", json!({"scopes": ["a"]}));
    seen.push(revision(&Set::new([
        scoped,
        secret("0123456789abcdef0123456789abcdef"),
    ])));
    seen.push(revision(&Set {
        key: [8; 32],
        ..first
    }));
    let count = seen.len();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), count);
}
