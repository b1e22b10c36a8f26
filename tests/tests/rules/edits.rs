//! What a rule changes of a request: its path and its headers, and nothing else.

use anyhow::Result;
use serde_json::{Value, json};
use splittoken_tests::gateway::Gateway;
use splittoken_tests::stand::{Addresses, Stand};

use super::{Outcome, file, route, rule};

/// One rule at `/<name>` for everybody, with these members.
fn stand(rules: &[(&str, Value)]) -> Result<Stand> {
    Stand::with(|to| file(&[route_of(to, rules)]))
}

fn route_of(to: &Addresses, rules: &[(&str, Value)]) -> Value {
    let rules: Vec<Value> = rules
        .iter()
        .map(|(name, members)| {
            let mut all =
                json!({"matches": [{"path": {"value": format!("/{name}")}}], "authentication": "Disabled"});
            for (name, value) in members.as_object().into_iter().flatten() {
                all[name] = value.clone();
            }
            rule(to, name, &all)
        })
        .collect();
    route(to, "shop", &["127.0.0.1"], &rules)
}

#[test]
fn the_matched_prefix_is_replaced_and_the_rest_stays() -> Result<()> {
    let rewrite = |to: &str| json!({"pathRewrite": {"replacePrefixMatch": to}});
    let mut root = rewrite("/base");
    root["matches"] = json!([{"path": {"value": "/"}}]);
    let mut two = rewrite("/x");
    two["matches"] = json!([{"path": {"value": "/two"}}, {"path": {"value": "/two/levels"}}]);
    let stand = stand(&[
        ("gone", rewrite("/")),
        ("old", rewrite("/new")),
        ("slash", rewrite("/new/")),
        ("deep", rewrite("/a/b%20c")),
        ("two", two),
        ("root", root),
    ])?;
    for (sent, forwarded) in [
        ("/gone", "/"),
        ("/gone/", "/"),
        ("/gone/a/b", "/a/b"),
        ("/gone/a/", "/a/"),
        ("/gone?q=1", "/?q=1"),
        ("/gone/a?q=/gone&r=%2F..%2f&&s", "/a?q=/gone&r=%2F..%2f&&s"),
        ("/gone/gone", "/gone"),
        ("/gone/a%20b/%41?", "/a%20b/A?"),
        ("/old", "/new"),
        ("/old/", "/new/"),
        ("/old/a", "/new/a"),
        ("/slash", "/new"),
        ("/slash/", "/new/"),
        ("/slash/a", "/new/a"),
        ("/deep/d", "/a/b%20c/d"),
        // What is replaced is what the winning match says.
        ("/two/a", "/x/a"),
        ("/two/levels/a", "/x/a"),
        ("/older/a", "/base/older/a"),
        ("/", "/base/"),
    ] {
        let outcome = Outcome::of(&stand, &format!("GET {sent}"), &[])?;
        assert_eq!(outcome.forwarded()?.target(), forwarded, "{sent}");
    }
    Ok(())
}

#[test]
fn headers_are_set_and_removed() -> Result<()> {
    let edits = json!({
        "set": [{"name": "X-Version", "value": "2"}, {"name": "User-Agent", "value": "gateway of the shop"}],
        "remove": ["X-Debug", "accept-language"],
    });
    let stand = stand(&[("edited", json!({"requestHeaders": edits})), ("plain", json!({}))])?;
    let sent = [
        "X-Version: 1",
        "x-version: 1b",
        "User-Agent: curl/8",
        "X-DEBUG: on",
        "X-Debug: more",
        "Accept-Language: en",
        "X-Debugger: stays",
    ];
    let outcome = Outcome::of(&stand, "GET /edited", &sent)?;
    let request = outcome.forwarded()?;
    for (name, values) in [
        ("x-version", &["2"][..]),
        ("user-agent", &["gateway of the shop"]),
        ("x-debug", &[]),
        ("accept-language", &[]),
        ("x-debugger", &["stays"]),
    ] {
        assert_eq!(request.header_all(name), values, "{name}");
    }
    // Other rules of the same route do not.
    let outcome = Outcome::of(&stand, "GET /plain", &sent)?;
    assert_eq!(outcome.forwarded()?.header_all("x-version"), ["1", "1b"]);
    assert_eq!(outcome.forwarded()?.header_all("x-debug"), ["on", "more"]);
    Ok(())
}

#[test]
fn what_is_set_and_removed_is_gone() -> Result<()> {
    let edits = json!({"set": [{"name": "X-Debug", "value": "on"}], "remove": ["x-debug"]});
    let stand = stand(&[("edited", json!({"requestHeaders": edits}))])?;
    let outcome = Outcome::of(&stand, "GET /edited", &["X-Debug: off"])?;
    assert_eq!(outcome.forwarded()?.header_all("x-debug"), [""; 0]);
    Ok(())
}

/// Edits come last: a rule may take away what the gateway itself says of the client.
#[test]
fn a_rule_may_hide_where_a_request_came_from() -> Result<()> {
    let edits = json!({"remove": ["X-Forwarded-For", "X-Forwarded-Host"]});
    let stand = stand(&[("edited", json!({"requestHeaders": edits}))])?;
    let outcome = Outcome::of(&stand, "GET /edited", &["X-Forwarded-For: 6.6.6.6"])?;
    assert_eq!(outcome.forwarded()?.header("x-forwarded-for"), None);
    assert_eq!(outcome.forwarded()?.header("x-forwarded-host"), None);
    assert_eq!(outcome.forwarded()?.header_all("x-forwarded-proto"), ["http"]);
    Ok(())
}

/// What frames a message, or is the gateway's own to say, is refused before anything runs.
#[test]
fn no_rule_may_touch_the_framing_or_the_credential() -> Result<()> {
    let stand = stand(&[("plain", json!({}))])?;
    let to = stand.addresses();
    let set = |name: &str| json!({"set": [{"name": name, "value": "a"}]});
    let remove = |name: &str| json!({"remove": [name]});
    let mut edits: Vec<(String, Value)> = Vec::new();
    for name in [
        "Authorization",
        "host",
        "Cookie",
        "Transfer-Encoding",
        "CONNECTION",
        "Content-Length",
        "Te",
        "Upgrade",
        "X-Forwarded-Proto",
        "forwarded",
        "X-Real-IP",
    ] {
        edits.push((format!("set {name}"), set(name)));
    }
    for name in [
        "Host",
        "transfer-encoding",
        "Content-Length",
        "Connection",
        "Upgrade",
        "Trailer",
    ] {
        edits.push((format!("remove {name}"), remove(name)));
    }
    for (what, edit) in edits {
        let route = route_of(&to, &[("edited", json!({"requestHeaders": edit}))]);
        let error = Gateway::start(file(&[route]))
            .err()
            .map(|error| format!("{error:#}"));
        let error = error.unwrap_or_default();
        assert!(error.contains("spec.rules[0].requestHeaders"), "{what}: {error}");
    }
    Ok(())
}

#[test]
fn bodies_and_methods_are_not_touched_by_edits() -> Result<()> {
    let members =
        json!({"pathRewrite": {"replacePrefixMatch": "/"}, "requestHeaders": {"remove": ["X-Debug"]}});
    let stand = stand(&[("edited", members)])?;
    stand.upstream.take();
    let body = "a=1&b=%20";
    let head = format!(
        "PATCH /edited/x HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\nContent-Type: text/plain\r\n\r\n{body}",
        stand.gateway.host(),
        body.len()
    );
    assert_eq!(
        stand.gateway.exchange(head)?.map(|answer| answer.status),
        Some(200)
    );
    let request = stand.upstream.last()?;
    assert_eq!(request.line(), "PATCH /x HTTP/1.1");
    assert_eq!(request.body(), body.as_bytes());
    assert_eq!(request.header_all("content-type"), ["text/plain"]);
    Ok(())
}
