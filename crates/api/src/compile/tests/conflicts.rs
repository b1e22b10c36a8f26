use super::*;

fn at(created: &str, route: Value) -> Value {
    route.with("/metadata/creationTimestamp", json!(created))
}

const OLD: &str = "2025-01-01T00:00:00Z";
const NEW: &str = "2025-06-01T00:00:00Z";
const NEWEST: &str = "2025-09-01T00:00:00Z";

#[test]
fn the_older_route_owns_the_hostname() {
    let set = [
        at(NEW, route("a", "a", "x.example")),
        at(OLD, route("z", "z", "x.example")),
    ];
    let compiled = Set::new(set).compile();
    assert_eq!(compiled.served(), ["z/z"]);
    assert_eq!(
        compiled.problems("a/a"),
        [("spec.hostnames[0]", Reason::HostnameConflict)]
    );
    assert!(compiled.verdict("a/a").problems[0].message.contains("z/z"));
}

#[test]
fn files_have_no_age_so_names_decide() {
    let compiled = Set::new([route("b", "z", "x.example"), route("a", "a", "x.example")]).compile();
    assert_eq!(compiled.served(), ["a/a"]);
}

#[test]
fn a_wildcard_owns_what_it_covers() {
    for (older, younger, conflict) in [
        ("*.example", "a.example", true),
        ("*.example", "a.b.example", true),
        ("*.example", "*.b.example", true),
        ("*.example", "*.example", true),
        ("*.example", "example", false),
        ("*.b.example", "*.c.example", false),
        ("*.b.example", "bb.example", false),
        ("127.0.0.1", "127.0.0.2", false),
        // The most specific hostname serves, so a younger wildcard takes nothing away.
        ("a.example", "*.example", false),
        ("*.b.example", "*.example", false),
    ] {
        let set = [
            at(OLD, route("old", "a", older)),
            at(NEW, route("new", "b", younger)),
        ];
        let compiled = Set::new(set).compile();
        assert_eq!(compiled.verdict("new").is_clean(), !conflict, "{older} {younger}");
        assert!(compiled.verdict("old").is_clean());
    }
}

#[test]
fn the_oldest_owner_counts_exact_or_wildcard() {
    let compiled = Set::new([
        at(OLD, route("exact", "a", "a.example")),
        at(NEW, route("wild", "b", "*.example")),
        at(
            NEWEST,
            route("more", "a", "a.example")
                .with("/spec/rules/0/matches", json!([{"path": {"value": "/more"}}])),
        ),
        at(NEWEST, route("other", "a", "b.example")),
    ])
    .compile();
    assert_eq!(compiled.served(), ["a/exact", "b/wild", "a/more"]);
    assert_eq!(
        compiled.problems("other"),
        [("spec.hostnames[0]", Reason::HostnameConflict)]
    );
}

#[test]
fn a_route_that_is_not_accepted_owns_nothing() {
    let unsupported = at(
        OLD,
        route("a", "a", "x.example").with("/spec/rules/0/backendRefs/0/url", json!("http://a.example:0")),
    );
    let conflicted = at(
        NEW,
        route("c", "c", "y.example").with("/spec/hostnames", json!(["y.example", "z.example"])),
    );
    let owner = at(OLD, route("b", "b", "y.example"));
    let compiled = Set::new([
        unsupported,
        owner,
        conflicted,
        at(NEWEST, route("d", "d", "x.example")),
        at(NEWEST, route("e", "e", "z.example")),
    ])
    .compile();
    assert_eq!(compiled.served(), ["b/b", "d/d", "e/e"]);
    assert_eq!(
        compiled.problems("a/a"),
        [("spec.rules[0].backendRefs[0].url", Reason::Invalid)]
    );
    assert_eq!(
        compiled.problems("c/c"),
        [("spec.hostnames[0]", Reason::HostnameConflict)]
    );
}

#[test]
fn a_route_that_cannot_be_served_keeps_its_hostname() {
    let waiting = at(
        OLD,
        route("a", "a", "x.example").with("/spec/issuer", Value::Null),
    )
    .with("/spec/issuerRef", json!({"name": "missing"}));
    let compiled = Set::new([waiting, at(NEW, route("b", "b", "x.example"))]).compile();
    assert_eq!(compiled.served(), Vec::<String>::new());
    assert_eq!(
        compiled.problems("a/a"),
        [("spec.issuerRef", Reason::IssuerNotFound)]
    );
    assert_eq!(
        compiled.problems("b/b"),
        [("spec.hostnames[0]", Reason::HostnameConflict)]
    );
}

#[test]
fn equal_matches_of_one_namespace_are_both_served_and_the_later_is_warned() {
    let compiled = Set::new([route("a", "n", "x.example"), route("b", "n", "x.example")]).compile();
    assert_eq!(compiled.served(), ["n/a", "n/b"]);
    assert!(compiled.warnings("n/a").is_empty());
    assert_eq!(
        compiled.warnings("n/b"),
        [("spec.rules[0].matches[0]", WarningReason::ShadowedMatch)]
    );
    assert!(compiled.verdict("n/b").warnings[0].message.contains("all of n/a"));
}

#[test]
fn matches_that_differ_in_anything_are_no_duplicates() {
    let with = |name, matches| route(name, "n", "x.example").with("/spec/rules/0/matches", json!([matches]));
    let compiled = Set::new([
        with("a", json!({"path": {"value": "/a"}})),
        with("b", json!({"path": {"value": "/a", "type": "Exact"}})),
        with("c", json!({"path": {"value": "/a"}, "methods": ["GET", "PUT"]})),
        with(
            "d",
            json!({"path": {"value": "/a"}, "headers": [{"name": "X-A", "value": "b"}]}),
        ),
        with("e", json!({"path": {"value": "/a/"}, "methods": ["PUT", "GET"]})),
        with(
            "f",
            json!({"path": {"value": "/a"}, "headers": [{"name": "x-a", "value": "b"}]}),
        ),
    ])
    .compile();
    for name in ["n/a", "n/b", "n/c", "n/d"] {
        assert!(compiled.warnings(name).is_empty(), "{name}");
    }
    assert_eq!(compiled.warnings("n/e").len() + compiled.warnings("n/f").len(), 2);
}

fn endpoint(route: Value, path: &str) -> Value {
    route.with(
        "/spec/tokenEndpoints",
        json!({"token": {"path": path, "idToken": "Remove"}}),
    )
}

fn exact(route: Value, path: &str) -> Value {
    route.with(
        "/spec/rules/0/matches",
        json!([{"path": {"type": "Exact", "value": path}}]),
    )
}

#[test]
fn a_token_endpoint_and_an_exact_path_cannot_be_the_same() {
    let plain = |name| route(name, "n", "x.example");
    let compiled = Set::new([endpoint(plain("a"), "/t:1"), exact(plain("b"), "/t%3A1")]).compile();
    assert_eq!(compiled.served(), ["n/a"]);
    assert_eq!(
        compiled.problems("n/b"),
        [("spec.rules[0].matches[0].path.value", Reason::PathConflict)]
    );

    let compiled = Set::new([exact(plain("a"), "/t"), endpoint(plain("b"), "/t")]).compile();
    assert_eq!(compiled.served(), ["n/a"]);
    assert_eq!(
        compiled.problems("n/b"),
        [("spec.tokenEndpoints.token.path", Reason::PathConflict)]
    );

    let other_host = endpoint(route("b", "n", "y.example"), "/t");
    assert_eq!(
        Set::new([exact(plain("a"), "/t"), other_host])
            .compile()
            .served()
            .len(),
        2
    );
}

#[test]
fn two_token_endpoints_at_one_place_must_be_alike() {
    let shared = |name| {
        let route = endpoint(route(name, "n", "x.example"), "/t").with("/spec/issuer", Value::Null);
        route.with("/spec/issuerRef", json!({"name": "login"}))
    };
    let compiled = Set::new([issuer("login", "n"), shared("a"), shared("b")]).compile();
    assert_eq!(compiled.served(), ["n/a", "n/b"]);
    let reasons: Vec<_> = compiled
        .verdict("n/b")
        .warnings
        .iter()
        .map(|w| w.reason)
        .collect();
    assert!(
        reasons.contains(&WarningReason::SharedTokenEndpoint),
        "{reasons:?}"
    );

    let stricter = shared("b").with("/spec/tokenEndpoints/token/refreshToken", json!("Remove"));
    let compiled = Set::new([issuer("login", "n"), shared("a"), stricter]).compile();
    assert_eq!(
        compiled.problems("n/b"),
        [("spec.tokenEndpoints.token.path", Reason::PathConflict)]
    );

    // Whose pages may ask there would depend on which of them is older.
    let open = |name| shared(name).with("/spec/cors", json!({"allowOrigins": ["*"]}));
    let compiled = Set::new([issuer("login", "n"), open("a"), open("b")]).compile();
    assert_eq!(compiled.served().len(), 2);
    let compiled = Set::new([issuer("login", "n"), shared("a"), open("b")]).compile();
    assert_eq!(
        compiled.problems("n/b"),
        [("spec.tokenEndpoints.token.path", Reason::PathConflict)]
    );

    // Private issuers make different realms even with equal URLs.
    let private = |name| endpoint(route(name, "n", "x.example"), "/t");
    let compiled = Set::new([private("a"), private("b")]).compile();
    assert_eq!(
        compiled.problems("n/b"),
        [("spec.tokenEndpoints.token.path", Reason::PathConflict)]
    );
}
