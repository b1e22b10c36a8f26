//! Pages of other origins, by CORS, through gateways in pods.

use anyhow::{Result, ensure};
use serde_json::json;
use splittoken_tests::cluster::Reply;
use splittoken_tests::wait;

use crate::shop::FIRST;
use crate::tls::{Edge, secure_url_of};

/// The origin that the route names.
const PAGE: &str = "https://app.example";

/// And one that it does not.
const STRANGER: &str = "https://app.example.evil.example";

const SHARED_WITH: &str = "Access-Control-Allow-Origin";

/// A page of the origin that the route names may call, and read answers and refusals; another may not.
pub(crate) fn may_call_where_the_route_says_so(edge: &Edge) -> Result<()> {
    let mut route = edge.shop.route(&[]);
    route["spec"]["cors"] = json!({
        "allowOrigins": [PAGE], "allowMethods": ["PUT"], "allowHeaders": ["Authorization"], "maxAge": 600,
    });
    edge.shop.namespace.apply(&[route])?;
    every_pod_knows(edge)?;

    let allowed = preflight(edge, PAGE)?;
    assert_eq!(allowed.header(SHARED_WITH).as_deref(), Some(PAGE));
    let said = |name: &str| allowed.header(name).unwrap_or_default();
    assert_eq!(said("Access-Control-Allow-Methods"), "PUT");
    assert_eq!(said("Access-Control-Allow-Headers"), "Authorization");
    assert_eq!(said("Access-Control-Max-Age"), "600");
    let denied = preflight(edge, STRANGER)?;
    assert_eq!(denied.header(SHARED_WITH), None, "{denied:?}");

    let bearer = format!("Authorization: Bearer {}", edge.token);
    let read = put(edge, PAGE, &["-header", &bearer])?;
    ensure!(read.status == 200 && read.body.contains("\"PUT\""), "{read:?}");
    assert_eq!(read.header(SHARED_WITH).as_deref(), Some(PAGE));
    let refused = put(edge, PAGE, &[])?;
    ensure!(refused.status == 401, "{refused:?}");
    assert_eq!(refused.header(SHARED_WITH).as_deref(), Some(PAGE));
    let unread = put(edge, STRANGER, &["-header", &bearer])?;
    assert_eq!(unread.header(SHARED_WITH), None, "{unread:?}");
    Ok(())
}

fn every_pod_knows(edge: &Edge) -> Result<()> {
    for pod in edge.shop.gateways()? {
        let url = secure_url_of(&pod);
        wait::until_true(wait::START, "a pod to answer preflights", || {
            preflight_at(edge, &url, PAGE).is_ok_and(|reply| reply.header(SHARED_WITH).is_some())
        })?;
    }
    Ok(())
}

fn preflight(edge: &Edge, origin: &str) -> Result<Reply> {
    preflight_at(edge, &FIRST.secure_url("/list"), origin)
}

fn preflight_at(edge: &Edge, url: &str, origin: &str) -> Result<Reply> {
    let fields = [
        &format!("Origin: {origin}"),
        "Access-Control-Request-Method: PUT",
        "Access-Control-Request-Headers: authorization",
    ];
    let fields = fields.map(|field| ["-header", field]).concat();
    edge.call(url, &[&["-method", "OPTIONS"], &fields[..]].concat())
}

fn put(edge: &Edge, origin: &str, more: &[&str]) -> Result<Reply> {
    let origin = format!("Origin: {origin}");
    let url = FIRST.secure_url("/list");
    edge.call(&url, &[&["-method", "PUT", "-header", &origin], more].concat())
}
