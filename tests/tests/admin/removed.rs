//! What is not served any more is not counted any more.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::json;
use splittoken_tests::route::Route;
use splittoken_tests::stand::Stand;
use splittoken_tests::wire::Step;
use splittoken_tests::{raw, wait};

use crate::exposition::Exposition;
use crate::scrape;

/// Ten times the second in which an edit is taken over.
const LIMIT: Duration = Duration::from_secs(10);

/// Whether any series has a label with this value.
fn names(exposition: &Exposition, value: &str) -> bool {
    let mut labels = exposition.samples().flat_map(|sample| &sample.labels);
    labels.any(|(_, found)| found == value)
}

#[test]
fn series_go_with_their_route_and_the_others_stay() -> Result<()> {
    let stand = Stand::start()?;
    let to = stand.addresses();
    let shop = Route::new(&to.issuer, &to.upstream);
    let other = Route::new(&to.issuer, &to.upstream)
        .named("other")
        .spec(&json!({"hostnames": ["other.example"]}));
    let both = [shop.clone(), other].map(String::from).concat();
    stand.gateway.write_routes(&both)?;
    let token = wait::until(LIMIT, "the other route", || {
        stand.token_at("other.example", &json!({})).ok()
    })?;
    assert_eq!(
        stand.ask_at("other.example", "GET /", &[&token.header()])?.status,
        200
    );
    let own = stand.token(&json!({}))?;
    assert_eq!(stand.get("/", &own)?.status, 200);
    let before = scrape(&stand.gateway)?;
    assert!(names(&before, "default/other") && names(&before, "default/shop"));
    // One of its requests is still on its way when the route goes.
    stand.upstream.steps(vec![
        Step::Wait(Duration::from_secs(3)),
        Step::Send(splittoken_tests::wire::answer("200 OK", &[], "late")),
    ]);
    let mut late = raw::Client::connect(stand.gateway.address())?;
    late.send(splittoken_tests::stand::request(
        "other.example",
        "GET /",
        &[&token.header()],
        "",
    ))?;
    wait::until_true(LIMIT, "the late request", || stand.upstream.requests().len() == 3)?;
    stand.gateway.write_routes(&String::from(shop.clone()))?;
    wait::until_true(LIMIT, "the series to be gone", || {
        scrape(&stand.gateway).is_ok_and(|now| !names(&now, "default/other"))
    })?;
    assert_eq!(late.read()?.context("no late answer")?.status, 200);
    let after = scrape(&stand.gateway)?;
    assert!(!names(&after, "default/other"), "a late request brought it back");
    let own = [("route", "default/shop"), ("rule", "api"), ("code", "2xx")];
    let name = "splittoken_gateway_requests_total";
    assert_eq!((before.value(name, &own), after.value(name, &own)), (1, 1));
    // A rule that has another name is another one.
    let renamed = shop.rule(&json!({"name": "renamed"}));
    stand.gateway.write_routes(&String::from(renamed))?;
    wait::until_true(LIMIT, "the rule's series to be gone", || {
        scrape(&stand.gateway).is_ok_and(|now| now.value(name, &own) == 0 && !names(&now, "api"))
    })
}

#[test]
fn series_go_with_their_issuer() -> Result<()> {
    let stand = Stand::start()?;
    let of_issuer = |exposition: &Exposition| {
        exposition
            .samples()
            .filter(|sample| sample.name == "splittoken_gateway_provider_requests_total")
            .map(|sample| sample.labels[0].1.clone())
            .collect::<Vec<_>>()
    };
    stand.token(&json!({}))?;
    let before = of_issuer(&scrape(&stand.gateway)?);
    assert!(!before.is_empty());
    let elsewhere = Route::new(
        &format!("http://127.0.0.1:{}", splittoken_tests::ports::free()?),
        &stand.addresses().upstream,
    )
    .named("elsewhere");
    stand.gateway.write_routes(&String::from(elsewhere))?;
    wait::until_true(LIMIT, "another issuer's series alone", || {
        scrape(&stand.gateway).is_ok_and(|now| {
            let now = of_issuer(&now);
            !now.is_empty() && now.iter().all(|name| !before.contains(name))
        })
    })
}
