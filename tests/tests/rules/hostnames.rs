//! Which route's rules a request is held against.

use anyhow::Result;
use serde_json::json;
use splittoken_tests::stand::{Addresses, Stand};

use super::{Outcome, compare, file, open, route};

/// Names of every kind. Those that a wildcard covers take only `/own`.
fn routes(to: &Addresses) -> String {
    let all = json!([{"path": {"value": "/"}}]);
    let own = json!([{"path": {"value": "/own"}}]);
    let route =
        |name: &str, hostname: &str, matches| route(to, name, &[hostname], &[open(to, name, matches)]);
    file(&[
        route("exact", "api.example.com", &own),
        route("wild", "*.example.com", &all),
        route("deeper", "*.eu.example.com", &own),
        route("v4", "127.0.0.1", &all),
        route("v6", "::1", &all),
        route("single", "localhost", &all),
        route("idna", "xn--bcher-kva.example", &all),
    ])
}

#[test]
fn the_most_specific_hostname_decides_alone() -> Result<()> {
    let stand = Stand::with(routes)?;
    let cases = [
        ("api.example.com", "/own", "exact"),
        ("api.example.com", "/other", "404"),
        ("other.example.com", "/other", "wild"),
        ("other.example.com", "/own", "wild"),
        ("a.b.c.example.com", "/", "wild"),
        ("sub.api.example.com", "/other", "wild"),
        ("shop.eu.example.com", "/own", "deeper"),
        ("a.b.eu.example.com", "/own", "deeper"),
        ("shop.eu.example.com", "/other", "404"),
        ("eu.example.com", "/other", "wild"),
        ("localhost", "/", "single"),
        ("xn--bcher-kva.example", "/", "idna"),
        // A wildcard is for what lies below, and dots are where labels end.
        ("example.com", "/own", "404"),
        ("evilexample.com", "/own", "404"),
        ("api.example.com.evil.example", "/own", "404"),
        ("api-example.com", "/own", "404"),
        ("com", "/own", "404"),
        ("a.localhost", "/", "404"),
    ];
    judge(&stand, &cases)
}

#[test]
fn a_hostname_is_compared_without_port_case_and_final_dot() -> Result<()> {
    let stand = Stand::with(routes)?;
    let cases = [
        ("api.example.com:8080", "/own", "exact"),
        ("api.example.com:65535", "/own", "exact"),
        ("api.example.com:", "/own", "exact"),
        ("API.Example.COM", "/own", "exact"),
        ("api.example.com.", "/own", "exact"),
        ("aPi.eXample.com.:443", "/own", "exact"),
        ("SHOP.EU.example.com.:1", "/own", "deeper"),
        ("LOCALHOST:80", "/", "single"),
        ("XN--BCHER-KVA.example", "/", "idna"),
        // One dot ends a name; two are no name, and a wildcard covers none of nothing.
        ("api.example.com..", "/own", "400"),
        (".example.com", "/own", "400"),
        ("api..example.com", "/own", "400"),
        ("api.example.com:0", "/own", "400"),
        ("api.example.com:+80", "/own", "400"),
    ];
    judge(&stand, &cases)
}

#[test]
fn ip_addresses_are_hostnames_in_every_spelling_that_is_an_address() -> Result<()> {
    let stand = Stand::with(routes)?;
    let cases = [
        ("127.0.0.1", "/", "v4"),
        ("127.0.0.1:8080", "/", "v4"),
        ("[::1]", "/", "v6"),
        ("[::1]:8080", "/", "v6"),
        ("[0:0:0:0:0:0:0:1]:80", "/", "v6"),
        ("127.0.0.2", "/", "404"),
        ("127.1", "/", "404"),
        ("2130706433", "/", "404"),
        ("0x7f.0.0.1", "/", "404"),
        ("[::2]", "/", "404"),
        ("[::ffff:127.0.0.1]", "/", "404"),
        ("[fe80::1%25eth0]", "/", "400"),
        ("::1", "/", "400"),
        ("[127.0.0.1]", "/", "400"),
    ];
    judge(&stand, &cases)
}

#[test]
fn upstreams_get_the_host_as_the_client_wrote_it() -> Result<()> {
    let stand = Stand::with(routes)?;
    for host in ["API.example.com.:8080", "other.example.com", "[::1]:80"] {
        let outcome = Outcome::at(&stand, host, "GET /own", &[])?;
        assert_eq!(outcome.forwarded()?.header_all("host"), [host]);
        assert_eq!(outcome.forwarded()?.header_all("x-forwarded-host"), [host]);
    }
    let absolute = Outcome::at(
        &stand,
        "api.example.com",
        "GET http://api.example.com/own?q=1",
        &[],
    )?;
    assert_eq!(absolute.rule(), "exact");
    assert_eq!(absolute.forwarded()?.target(), "/own?q=1");
    Ok(())
}

/// A table of hosts and paths with the rule, or the status of the gateway's own answer.
fn judge(stand: &Stand, table: &[(&str, &str, &str)]) -> Result<()> {
    let outcome = |(host, path, wanted): &(&str, &str, &str)| {
        let got = Outcome::at(stand, host, &format!("GET {path}"), &[])?.rule();
        Ok((format!("{host} {path}"), (*wanted).to_owned(), got))
    };
    compare(table.iter().map(outcome).collect::<Result<Vec<_>>>()?);
    Ok(())
}

/// Otherwise a class of one's own choice would be a way onto a host that belongs to another namespace.
#[test]
fn a_route_of_another_class_is_not_served_and_takes_nothing() -> Result<()> {
    let stand = Stand::with(|to| {
        let own = route(to, "own", &["127.0.0.1"], &[open(to, "own", &json!([{}]))]);
        let stolen = json!([{"path": {"type": "Exact", "value": "/admin"}}]);
        let mut other = route(
            to,
            "other",
            &["127.0.0.1", "b.example"],
            &[open(to, "stolen", &stolen)],
        );
        other["metadata"]["namespace"] = json!("stranger");
        other["spec"]["className"] = json!("other");
        other["spec"]["tokenEndpoints"]["token"]["path"] = json!("/stranger/token");
        file(&[own, other])
    })?;
    for path in ["/admin", "/stranger/token"] {
        let outcome = Outcome::of(&stand, &format!("GET {path}"), &[])?;
        assert_eq!(outcome.rule(), "own", "{path}");
    }
    assert_eq!(Outcome::at(&stand, "b.example", "GET /admin", &[])?.rule(), "404");
    stand
        .gateway
        .says("warning OtherClass SplitTokenRoute/stranger/other spec.className")
}
