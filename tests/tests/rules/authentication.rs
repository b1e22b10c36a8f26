//! `Required`, `Optional` and `Disabled`, side by side in one route.

use anyhow::Result;
use serde_json::json;
use splittoken_tests::stand::{Addresses, Stand};

use super::{Outcome, compare, file, route, rule};

fn routes(to: &Addresses) -> String {
    let rules = ["Required", "Optional", "Disabled"].map(|how| {
        let name = how.to_lowercase();
        let matches = json!([{"path": {"value": format!("/{name}")}}]);
        rule(to, &name, &json!({"matches": matches, "authentication": how}))
    });
    file(&[route(to, "shop", &["127.0.0.1"], &rules)])
}

#[test]
fn each_rule_asks_in_its_own_way() -> Result<()> {
    let stand = Stand::with(routes)?;
    let token = stand.token(&json!({}))?;
    let (good, unknown) = (
        token.header(),
        format!("Authorization: Bearer {}", "A".repeat(86)),
    );
    let jwt = format!("Authorization: Bearer {}", token.jwt);
    let credentials = [
        ("none", None),
        ("good", Some(good.as_str())),
        ("unknown", Some(unknown.as_str())),
        ("the JWT", Some(jwt.as_str())),
        ("malformed", Some("Authorization: Bearer not a token")),
        ("another scheme", Some("Authorization: Basic c2hvcDpzZWNyZXQ=")),
    ];
    let wanted = [
        ("required", ["401", "required", "401", "401", "401", "401"]),
        ("optional", ["optional", "optional", "401", "401", "401", "401"]),
        ("disabled", ["disabled"; 6]),
    ];
    let mut cases = Vec::new();
    for (path, row) in wanted {
        for ((what, line), wanted) in credentials.iter().zip(row) {
            let headers: Vec<&str> = line.iter().copied().collect();
            let outcome = Outcome::of(&stand, &format!("GET /{path}"), &headers)?;
            cases.push((format!("{path} with {what}"), wanted.to_owned(), outcome.rule()));
            // The upstream gets the JWT where a good token was asked for, and no credential in any other case.
            let restored = wanted == path && path != "disabled" && *what == "good";
            let expected = if restored {
                vec![token.restored()]
            } else {
                Vec::new()
            };
            if let Some(request) = &outcome.request {
                assert_eq!(
                    request.header_all("authorization"),
                    expected,
                    "{path} with {what}"
                );
            }
        }
    }
    compare(cases);
    Ok(())
}

#[test]
fn challenges_say_no_more_than_they_must() -> Result<()> {
    let stand = Stand::with(routes)?;
    let none = Outcome::of(&stand, "GET /required", &[])?.answer;
    let bad = Outcome::of(&stand, "GET /required", &["Authorization: Bearer nonsense"])?.answer;
    let challenge = none.header("www-authenticate").unwrap_or_default();
    assert!(
        challenge.starts_with("Bearer realm=") && !challenge.contains("error"),
        "{challenge}"
    );
    let challenge = bad.header("www-authenticate").unwrap_or_default();
    assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
    // The scopes that a rule asks for are for those whose token is good.
    assert!(!challenge.contains("scope="), "{challenge}");
    Ok(())
}

#[test]
fn a_token_in_the_query_is_looked_for_only_where_tokens_are() -> Result<()> {
    let stand = Stand::with(routes)?;
    let token = stand.token(&json!({}))?;
    let target = |path: &str| format!("GET /{path}?a=b&access_token={}", token.opaque);
    for (path, wanted) in [("required", "400"), ("optional", "400"), ("disabled", "disabled")] {
        let outcome = Outcome::of(&stand, &target(path), &[])?;
        assert_eq!(outcome.rule(), wanted, "{path}");
    }
    Ok(())
}
