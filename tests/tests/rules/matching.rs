//! Which rule of a host takes a request: paths by whole segments, methods, headers, and Gateway API's precedence.

use anyhow::Result;
use serde_json::{Value, json};
use splittoken_tests::stand::{Addresses, Stand};

use super::{Outcome, compare, file, open, route};

fn prefix(path: &str) -> Value {
    json!([{"path": {"value": path}}])
}

fn exact(path: &str) -> Value {
    json!([{"path": {"type": "Exact", "value": path}}])
}

/// A stand whose one route has these rules, none of which asks for a token.
fn stand(rules: &[(&str, Value)]) -> Result<Stand> {
    Stand::with(|to: &Addresses| {
        let rules: Vec<_> = rules
            .iter()
            .map(|(name, matches)| open(to, name, matches))
            .collect();
        file(&[route(to, "shop", &["127.0.0.1"], &rules)])
    })
}

fn judge(stand: &Stand, table: &[(&str, &[&str], &str)]) -> Result<()> {
    let outcome = |(line, headers, wanted): &(&str, &[&str], &str)| {
        let got = Outcome::of(stand, line, headers)?.rule();
        Ok((format!("{line} {headers:?}"), (*wanted).to_owned(), got))
    };
    compare(table.iter().map(outcome).collect::<Result<Vec<_>>>()?);
    Ok(())
}

#[test]
fn prefixes_are_of_whole_segments_and_the_longest_wins() -> Result<()> {
    let stand = stand(&[
        ("a", prefix("/a")),
        ("deep", prefix("/a/b")),
        ("slash", prefix("/s/")),
        ("encoded", prefix("/e%20f")),
    ])?;
    judge(
        &stand,
        &[
            ("GET /a", &[], "a"),
            ("GET /a/", &[], "a"),
            ("GET /a/x/y/z", &[], "a"),
            ("GET /a?b=/a/b", &[], "a"),
            ("GET /a/bc", &[], "a"),
            ("GET /a/b", &[], "deep"),
            ("GET /a/b/", &[], "deep"),
            ("GET /a/b/c", &[], "deep"),
            ("GET /ab", &[], "404"),
            ("GET /A", &[], "404"),
            ("GET /a.b", &[], "404"),
            ("GET /", &[], "404"),
            ("GET /x/a", &[], "404"),
            // The last slash of a prefix means nothing.
            ("GET /s", &[], "slash"),
            ("GET /s/t", &[], "slash"),
            ("GET /st", &[], "404"),
            // Spellings that are the same path.
            ("GET /%61", &[], "a"),
            ("GET /a/%62/c", &[], "deep"),
            ("GET /e%20f/g", &[], "encoded"),
            ("GET /%65%20f", &[], "encoded"),
        ],
    )
}

#[test]
fn an_exact_path_is_that_path_and_comes_first() -> Result<()> {
    let stand = stand(&[
        ("below", prefix("/e")),
        ("exact", exact("/e")),
        ("deep", exact("/e/f/")),
        ("colon", exact("/g:h")),
    ])?;
    judge(
        &stand,
        &[
            ("GET /e", &[], "exact"),
            ("GET /e?f", &[], "exact"),
            ("POST /%65", &[], "exact"),
            ("GET /e/", &[], "below"),
            ("GET /e/f", &[], "below"),
            ("GET /e/f/", &[], "deep"),
            ("GET /e/f/g", &[], "below"),
            ("GET /E", &[], "404"),
            // An upstream that decodes this sees the same as the rule.
            ("GET /g%3Ah", &[], "colon"),
            ("GET /g%3ah", &[], "colon"),
        ],
    )
}

#[test]
fn the_path_that_was_matched_is_the_path_that_is_forwarded() -> Result<()> {
    let stand = stand(&[("all", prefix("/"))])?;
    for (sent, forwarded) in [
        ("/%7Euser/%41?x=%41&y=/../", "/~user/A?x=%41&y=/../"),
        ("/a%3ab", "/a%3Ab"),
        ("/a%20b/?", "/a%20b/?"),
        ("/%C3%A4", "/%C3%A4"),
        ("/a;b=c", "/a;b=c"),
        ("/", "/"),
    ] {
        let outcome = Outcome::of(&stand, &format!("GET {sent}"), &[])?;
        assert_eq!(outcome.forwarded()?.target(), forwarded, "{sent}");
    }
    Ok(())
}

#[test]
fn methods_choose_between_rules() -> Result<()> {
    let with = |methods: &[&str]| json!([{"path": {"value": "/m"}, "methods": methods}]);
    let stand = stand(&[
        ("rest", prefix("/m")),
        ("read", with(&["GET", "HEAD"])),
        ("write", with(&["POST", "PUT"])),
        (
            "only",
            json!([{"path": {"value": "/only"}, "methods": ["DELETE"]}]),
        ),
    ])?;
    judge(
        &stand,
        &[
            ("GET /m", &[], "read"),
            ("HEAD /m/x", &[], "read"),
            ("POST /m", &[], "write"),
            ("PUT /m", &[], "write"),
            ("PATCH /m", &[], "rest"),
            ("OPTIONS /m", &[], "rest"),
            ("DELETE /only", &[], "only"),
            ("GET /only", &[], "404"),
            // Methods are compared as they are: `get` is another one.
            ("get /m", &[], "rest"),
            // What is said besides does not make it another method.
            ("POST /m", &["X-HTTP-Method-Override: GET"], "write"),
        ],
    )
}

#[test]
fn headers_choose_between_rules() -> Result<()> {
    let with = |headers: Value| json!([{"path": {"value": "/h"}, "headers": headers}]);
    let stand = stand(&[
        ("plain", prefix("/h")),
        ("canary", with(json!([{"name": "X-Env", "value": "canary"}]))),
        (
            "both",
            with(json!([{"name": "x-env", "value": "canary"}, {"name": "X-Team", "value": "red blue"}])),
        ),
    ])?;
    judge(
        &stand,
        &[
            ("GET /h", &[], "plain"),
            ("GET /h", &["X-Env: canary"], "canary"),
            ("GET /h", &["X-ENV:canary"], "canary"),
            ("GET /h", &["X-Env: stable", "X-Env: canary"], "canary"),
            ("GET /h", &["X-Env: canary", "X-Team: red blue"], "both"),
            ("GET /h", &["X-Team: red blue"], "plain"),
            ("GET /h", &["X-Env: Canary"], "plain"),
            ("GET /h", &["X-Env: canary2"], "plain"),
            ("GET /h", &["X-Env: canary, stable"], "plain"),
            ("GET /h", &["X-Env:"], "plain"),
        ],
    )
}

#[test]
fn precedence_is_path_then_method_then_headers_then_order() -> Result<()> {
    let header = json!([{"name": "X-A", "value": "1"}, {"name": "X-B", "value": "1"}]);
    let stand = stand(&[
        ("headers", json!([{"path": {"value": "/p"}, "headers": header}])),
        ("method", json!([{"path": {"value": "/p"}, "methods": ["GET"]}])),
        ("longer", prefix("/p/q")),
        ("first", prefix("/tie")),
        ("second", prefix("/tie/")),
        // Any of its matches makes a rule match, each with its own precedence.
        (
            "many",
            json!([{"path": {"value": "/many"}}, {"path": {"type": "Exact", "value": "/tie"}}]),
        ),
    ])?;
    let both = &["X-A: 1", "X-B: 1"][..];
    judge(
        &stand,
        &[
            ("GET /p", both, "method"),
            ("POST /p", both, "headers"),
            ("GET /p/q", both, "longer"),
            ("GET /tie/x", &[], "first"),
            ("GET /tie", &[], "many"),
            ("GET /many/x", &[], "many"),
        ],
    )
}
