//! Claims that upstreams get as headers, which nobody else can send.

use anyhow::Result;
use serde_json::{Value, json};
use splittoken_tests::stand::{Addresses, Stand};
use splittoken_tests::wire::Request;

use super::{Outcome, file, route, rule};

fn routes(to: &Addresses) -> String {
    let at = |path: &str| json!([{"path": {"value": path}}]);
    let claims = ["sub", "roles", "profile", "profile.level", "name", "odd"];
    let headers = |encoding: &str| -> Vec<Value> {
        let header = |claim: &&str| {
            let name = format!("X-{}", claim.replace('.', "-"));
            json!({"claim": claim, "header": name, "encoding": encoding})
        };
        claims.iter().map(header).collect()
    };
    let rules = [
        rule(
            to,
            "commas",
            &json!({"matches": at("/commas"), "claimsToHeaders": headers("CommaSeparated")}),
        ),
        rule(
            to,
            "json",
            &json!({"matches": at("/json"), "claimsToHeaders": headers("JSON")}),
        ),
        rule(
            to,
            "maybe",
            &json!({
                "matches": at("/maybe"), "authentication": "Optional",
                "claimsToHeaders": [{"claim": "sub", "header": "X-Sub"}],
            }),
        ),
        rule(
            to,
            "open",
            &json!({"matches": at("/open"), "authentication": "Disabled"}),
        ),
        rule(to, "bare", &json!({"matches": at("/bare")})),
        // For upstreams that are to know who calls, and not to hold a token.
        rule(
            to,
            "blind",
            &json!({
                "matches": at("/blind"), "claimsToHeaders": [{"claim": "sub", "header": "X-Sub"}],
                "requestHeaders": {"remove": ["Authorization"]},
            }),
        ),
    ];
    let neighbour = route(
        to,
        "neighbour",
        &["neighbour.example"],
        &[rule(to, "bare", &json!({}))],
    );
    file(&[route(to, "shop", &["127.0.0.1"], &rules), neighbour])
}

const NAMES: [&str; 6] = [
    "x-sub",
    "x-roles",
    "x-profile",
    "x-profile-level",
    "x-name",
    "x-odd",
];

/// What the upstream got of them, in the order of [`NAMES`]; nothing is sent twice.
fn got(request: &Request) -> [Option<String>; 6] {
    NAMES.map(|name| {
        let mut values = request.header_all(name);
        assert!(values.len() < 2, "{name} came {} times", values.len());
        values.pop()
    })
}

#[test]
fn claims_are_written_in_both_encodings() -> Result<()> {
    let stand = Stand::with(routes)?;
    let token = stand.token(&json!({
        "sub": "alice", "roles": ["clerk", "manager", 7], "profile": {"level": 3, "ok": true},
        "name": "Zoë Łódź 店", "odd": 1.5,
    }))?;
    let text = |values: [&str; 6]| values.map(|value| Some(value.to_owned()));
    for (path, wanted) in [
        (
            "/commas",
            text([
                "alice",
                "clerk,manager,7",
                r#"{"level":3,"ok":true}"#,
                "3",
                "Zoë Łódź 店",
                "1.5",
            ]),
        ),
        (
            "/json",
            text([
                r#""alice""#,
                r#"["clerk","manager",7]"#,
                r#"{"level":3,"ok":true}"#,
                "3",
                r#""Zo\u00eb \u0141\u00f3d\u017a \u5e97""#,
                "1.5",
            ]),
        ),
    ] {
        let outcome = Outcome::of(&stand, &format!("GET {path}"), &[&token.header()])?;
        assert_eq!(got(outcome.forwarded()?), wanted, "{path}");
    }
    // Not only after a lenient reader has had a look: these are the bytes of UTF-8.
    let outcome = Outcome::of(&stand, "GET /commas", &[&token.header()])?;
    let raw = &outcome.forwarded()?.raw;
    assert!(
        memchr_find(raw, "Zoë Łódź 店".as_bytes()),
        "{}",
        String::from_utf8_lossy(raw)
    );
    Ok(())
}

fn memchr_find(raw: &[u8], wanted: &[u8]) -> bool {
    raw.windows(wanted.len()).any(|window| window == wanted)
}

#[test]
fn what_has_no_single_meaning_is_left_out() -> Result<()> {
    let stand = Stand::with(routes)?;
    for odd in [
        json!(null),
        json!("a\r\nX-Admin: 1"),
        json!("a\tb"),
        json!(" a"),
        json!(["a,b", "c"]),
        json!(["a", " b"]),
        json!(["a\nb"]),
    ] {
        let token = stand.token(&json!({"odd": odd}))?;
        let outcome = Outcome::of(&stand, "GET /commas", &[&token.header(), "X-Odd: mine"])?;
        let request = outcome.forwarded()?;
        assert_eq!(request.header("x-odd"), None, "{odd}");
        assert_eq!(request.header("x-admin"), None, "{odd}");
    }
    // JSON has one meaning for all of them but for null, which says nothing.
    let token = stand.token(&json!({"odd": "a\r\nX-Admin: 1"}))?;
    let outcome = Outcome::of(&stand, "GET /json", &[&token.header()])?;
    assert_eq!(
        outcome.forwarded()?.header("x-odd").as_deref(),
        Some(r#""a\r\nX-Admin: 1""#)
    );
    assert_eq!(outcome.forwarded()?.header("x-admin"), None);
    Ok(())
}

/// A rule that sets no claim headers may stand before the same upstream as one that does.
#[test]
fn clients_cannot_send_a_claim_header_of_their_route() -> Result<()> {
    let stand = Stand::with(routes)?;
    let token = stand.token(&json!({"sub": "alice"}))?;
    let good = token.header();
    let mut lines: Vec<String> = NAMES.iter().map(|name| format!("{name}: root")).collect();
    lines.extend(NAMES.iter().map(|name| format!("{}: root", name.to_uppercase())));
    for (path, with_token, sub) in [
        ("/commas", true, Some("alice")),
        ("/json", true, Some("\"alice\"")),
        ("/maybe", true, Some("alice")),
        ("/maybe", false, None),
        ("/open", false, None),
        ("/open", true, None),
        ("/bare", true, None),
        ("/blind", true, Some("alice")),
    ] {
        let headers: Vec<&str> = lines
            .iter()
            .map(String::as_str)
            .chain(with_token.then_some(good.as_str()))
            .collect();
        let outcome = Outcome::of(&stand, &format!("GET {path}"), &headers)?;
        let mut wanted = [const { None }; 6];
        wanted[0] = sub.map(str::to_owned);
        assert_eq!(got(outcome.forwarded()?), wanted, "{path}, token: {with_token}");
    }
    Ok(())
}

/// One team's choice of names must not take headers from another team's clients.
#[test]
fn other_routes_are_not_concerned() -> Result<()> {
    let stand = Stand::with(routes)?;
    let token = stand.token_at("neighbour.example", &json!({}))?;
    let headers = [token.header(), "X-Sub: mine".to_owned()];
    let headers = headers.each_ref().map(String::as_str);
    let outcome = Outcome::at(&stand, "neighbour.example", "GET /", &headers)?;
    assert_eq!(outcome.forwarded()?.header_all("x-sub"), ["mine"]);
    Ok(())
}

#[test]
fn an_upstream_can_have_the_claims_without_the_token() -> Result<()> {
    let stand = Stand::with(routes)?;
    let token = stand.token(&json!({"sub": "alice"}))?;
    let outcome = Outcome::of(&stand, "GET /blind", &[&token.header()])?;
    let request = outcome.forwarded()?;
    assert_eq!(request.header("x-sub").as_deref(), Some("alice"));
    assert_eq!(request.header("authorization"), None);
    let raw = String::from_utf8_lossy(&request.raw).into_owned();
    assert!(!raw.contains(&token.opaque) && !raw.contains("eyJ"), "{raw}");
    Ok(())
}
