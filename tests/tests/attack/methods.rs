//! Methods: a rule that names some is reached by those, spelled as they are, and by no other way.

use anyhow::{Result, ensure};
use splittoken_tests::gate::{Case, Gate};

use super::strict_and_lenient;

/// Everybody may GET `/items`; all else there takes a scope.
#[test]
fn only_the_method_that_a_rule_names_is_that_method() -> Result<()> {
    let methods = [
        "get", "Get", "gET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "GETX", "XGET", "GET-",
        "GET.GET", "TRACK", "DEBUG", "PURGE", "PROPFIND", "MKCOL", "COPY", "MOVE", "LOCK", "SEARCH", "BREW",
        "LINK", "QUERY", "JEFF", "X", "!", "$", "~GET", "GET%20", "M-SEARCH", "ACL", "REBIND", "get|GET",
    ];
    let mut cases = Vec::new();
    for method in methods {
        // The answer to HEAD has no body whatever it says, which the client does not know.
        if method != "HEAD" {
            cases.push(Case::denied(
                method,
                401,
                format!("{method} /items HTTP/1.1⏎Host: {{host}}⏎⏎"),
            ));
            let name = format!("{method}, without the scope");
            cases.push(Case::denied(
                name,
                403,
                format!("{method} /items HTTP/1.1⏎Host: {{host}}⏎{{auth}}⏎⏎"),
            ));
        }
    }
    cases.push(Case::passed(
        "GET",
        "GET /items HTTP/1.1",
        "GET /items HTTP/1.1⏎Host: {host}⏎⏎",
    ));
    strict_and_lenient()?.judge(&cases);
    Ok(())
}

#[test]
fn methods_for_proxies_are_not_served() -> Result<()> {
    let lines = [
        "CONNECT {host}",
        "CONNECT evil.example:443",
        "CONNECT 169.254.169.254:80",
        "TRACE /items",
        "TRACE /public",
        "TRACE http://{host}/public",
        "TRACE *",
        "CONNECT /public",
        "CONNECT *",
        "CONNECT http://evil.example/",
    ];
    let cases: Vec<Case> = lines
        .iter()
        .map(|line| Case::refused(*line, 405, format!("{line} HTTP/1.1⏎Host: {{host}}⏎{{auth}}⏎⏎")))
        .collect();
    strict_and_lenient()?.judge(&cases);
    Ok(())
}

const OVERRIDES: [&str; 4] = [
    "X-HTTP-Method-Override",
    "X-HTTP-Method",
    "X-Method-Override",
    "x-http-method-override",
];

/// A strict rule is not got round by asking for a lenient one and meaning another.
#[test]
fn an_override_is_no_method() -> Result<()> {
    let mut cases = Vec::new();
    for name in OVERRIDES {
        for method in ["POST", "PUT", "DELETE"] {
            let sent = format!("{method} /items HTTP/1.1⏎Host: {{host}}⏎{name}: GET⏎⏎");
            cases.push(Case::denied(format!("{method} with {name}: GET"), 401, sent));
        }
        for method in ["POST", "DELETE", "evil"] {
            let sent = format!("GET /items HTTP/1.1⏎Host: {{host}}⏎{name}: {method}⏎⏎");
            cases.push(Case::passed(
                format!("GET with {name}: {method}"),
                "GET /items HTTP/1.1",
                sent,
            ));
        }
    }
    strict_and_lenient()?.judge_with(&cases, |_, request| {
        for name in OVERRIDES {
            ensure!(request.header(name).is_none(), "{name} arrived");
        }
        Ok(())
    });
    Ok(())
}

/// Where no rule asks for the method, it is between client and upstream what they make of it.
#[test]
fn an_override_passes_where_rules_name_no_methods() -> Result<()> {
    let gate = Gate::open()?;
    let request = gate.passes("POST /open HTTP/1.1⏎Host: {host}⏎X-HTTP-Method-Override: PATCH⏎⏎")?;
    ensure!(request.header("x-http-method-override").as_deref() == Some("PATCH"));
    Ok(())
}
