//! What a rule asks of a token: 403 where it is not there, and the upstream hears nothing.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use splittoken_tests::stand::{Addresses, Stand, Token};

use super::{Outcome, file, route, rule};

/// What is asked, and for which of [`tokens`] it is there.
struct Case {
    wanted: Value,
    passes: &'static [&'static str],
}

fn case(wanted: Value, passes: &'static [&'static str]) -> Case {
    Case { wanted, passes }
}

/// Tokens of one provider, as different as tokens are.
fn tokens() -> [(&'static str, Value); 5] {
    [
        (
            "alice",
            json!({
                "scope": "orders:read orders:write", "aud": ["shop", "bank"], "client_id": "till", "level": 3,
                "active": true, "realm_access": {"roles": ["clerk", "manager"], "none": []},
                "https://shop.example/tenant": "acme", "a.b": "whole", "a": {"b": "deep"},
            }),
        ),
        (
            "bob",
            json!({
                "scp": ["orders:read"], "aud": "shop", "azp": "kiosk", "level": "3", "active": "true",
                "realm_access": {"roles": "clerk"}, "suspended": false, "a": {"b": "deep"},
            }),
        ),
        (
            "carol",
            json!({"scp": "orders:write admin", "aud": "bank", "cid": "till", "suspended": null}),
        ),
        (
            "dave",
            json!({"scope": "", "aud": [], "appid": "batch", "realm_access": null, "a": ["b"]}),
        ),
        // Nothing, and what looks a little like something.
        (
            "eve",
            json!({"scope": "orders:read2 ORDERS:WRITE", "aud": "shop,bank", "realm_access": "roles"}),
        ),
    ]
}

fn cases() -> Vec<Case> {
    let claim = |name: &str, operator: &str, values: &[&str]| {
        let mut claim = json!({"name": name, "operator": operator});
        if !values.is_empty() {
            claim["values"] = json!(values);
        }
        json!({"claims": [claim]})
    };
    vec![
        case(json!({"scopes": ["orders:read"]}), &["alice", "bob"]),
        case(json!({"scopes": ["orders:read", "orders:write"]}), &["alice"]),
        case(
            json!({"anyScopes": ["admin", "orders:read"]}),
            &["alice", "bob", "carol"],
        ),
        case(
            json!({"scopes": ["orders:write"], "anyScopes": ["admin", "audit"]}),
            &["carol"],
        ),
        case(json!({"audiences": ["shop"]}), &["alice", "bob"]),
        case(json!({"audiences": ["bank", "mint"]}), &["alice", "carol"]),
        case(json!({"clientIDs": ["till"]}), &["alice", "carol"]),
        case(json!({"clientIDs": ["kiosk", "batch"]}), &["bob", "dave"]),
        // Every part must hold.
        case(
            json!({"audiences": ["shop"], "scopes": ["orders:read"], "clientIDs": ["till"]}),
            &["alice"],
        ),
        // Dots descend, lists are looked into, and a text is not a list.
        case(claim("realm_access.roles", "In", &["manager"]), &["alice"]),
        case(
            claim("realm_access.roles", "In", &["clerk", "x"]),
            &["alice", "bob"],
        ),
        case(claim("realm_access.roles", "NotIn", &["manager"]), &["bob"]),
        case(claim("realm_access.none", "NotIn", &["manager"]), &["alice"]),
        case(claim("realm_access.none", "In", &["manager"]), &[]),
        case(claim("realm_access.roles", "Exists", &[]), &["alice", "bob"]),
        case(claim("realm_access", "Exists", &[]), &["alice", "bob", "eve"]),
        // A name with dots of its own comes first.
        case(claim("a.b", "In", &["whole"]), &["alice"]),
        case(claim("a.b", "In", &["deep"]), &["bob"]),
        case(claim("https://shop.example/tenant", "In", &["acme"]), &["alice"]),
        // Numbers and truth values compare by how JSON writes them.
        case(claim("level", "In", &["3"]), &["alice", "bob"]),
        case(claim("active", "In", &["true"]), &["alice", "bob"]),
        case(
            claim("suspended", "DoesNotExist", &[]),
            &["alice", "carol", "dave", "eve"],
        ),
        case(claim("suspended", "Exists", &[]), &["bob"]),
        case(claim("suspended", "NotIn", &["true"]), &["bob"]),
    ]
}

fn routes(to: &Addresses) -> String {
    let rules: Vec<Value> = cases()
        .iter()
        .enumerate()
        .map(|(number, case)| {
            let matches = json!([{"path": {"value": format!("/{number}")}}]);
            rule(
                to,
                &format!("r{number}"),
                &json!({"matches": matches, "authorization": case.wanted}),
            )
        })
        .collect();
    // A route holds so many rules and no more.
    let routes: Vec<Value> = rules
        .chunks(16)
        .enumerate()
        .map(|(number, rules)| route_without_endpoint(to, number, rules))
        .collect();
    file(&routes)
}

/// All of them share one issuer, for one token is to be tried at all.
fn route_without_endpoint(to: &Addresses, number: usize, rules: &[Value]) -> Value {
    let mut route = route(to, &format!("shop-{number}"), &["127.0.0.1"], rules);
    route["spec"]["issuerRef"] = json!({"name": "login"});
    let spec = route["spec"].as_object_mut().expect("a spec");
    spec.remove("issuer");
    if number > 0 {
        spec.remove("tokenEndpoints");
    }
    route
}

fn stand() -> Result<Stand> {
    Stand::with(|to| {
        let issuer = json!({
            "apiVersion": "splittoken.dev/v1alpha1", "kind": "SplitTokenIssuer",
            "metadata": {"name": "login", "namespace": "default"},
            "spec": {"url": to.issuer, "transport": "PlainHTTPAllowed"},
        });
        format!("{}{}", routes(to), file(&[issuer]))
    })
}

#[test]
fn who_passes_and_who_does_not() -> Result<()> {
    let stand = stand()?;
    let mut failures = Vec::new();
    for (who, claims) in tokens() {
        let token = stand.token(&claims)?;
        for (number, case) in cases().iter().enumerate() {
            let outcome = Outcome::of(&stand, &format!("GET /{number}"), &[&token.header()])?;
            let judged = judge(&outcome, number, case, case.passes.contains(&who), &token);
            failures.extend(
                judged
                    .err()
                    .map(|error| format!("{who} with {}: {error}", case.wanted)),
            );
        }
    }
    assert!(
        failures.is_empty(),
        "{} cases:\n{}",
        failures.len(),
        failures.join("\n")
    );
    Ok(())
}

fn judge(outcome: &Outcome, number: usize, case: &Case, passes: bool, token: &Token) -> Result<()> {
    if passes {
        ensure!(outcome.rule() == format!("r{number}"), "{}", outcome.rule());
        ensure!(outcome.forwarded()?.header_all("authorization") == [token.restored()]);
        return Ok(());
    }
    ensure!(outcome.rule() == "403", "{} in place of 403", outcome.rule());
    let answer = &outcome.answer;
    ensure!(
        answer.json()?["error"] == "insufficient_scope",
        "{}",
        answer.text()
    );
    let challenges = answer.header_all("www-authenticate");
    let [challenge] = challenges.as_slice() else {
        anyhow::bail!("not one challenge: {challenges:?}");
    };
    ensure!(challenge.starts_with("Bearer realm=") && challenge.contains("error=\"insufficient_scope\""));
    let texts = |name: &str| -> Vec<&str> {
        case.wanted[name]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect()
    };
    let scopes = [texts("scopes"), texts("anyScopes")].concat().join(" ");
    let says = challenge.contains(&format!("scope=\"{scopes}\""));
    // Scopes can be asked for; audiences, claims and clients cannot, and are nobody's business.
    ensure!(says != scopes.is_empty(), "{challenge}");
    ensure!(
        !challenge.contains("clerk") && !answer.text().contains("clerk"),
        "{challenge}"
    );
    Ok(())
}
