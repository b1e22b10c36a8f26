//! Pages in a real Chromium, which keeps the rules of CORS by itself, and opens a WebSocket on the HTTP/2 connection that it
//! has.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use splittoken_tests::browser;
use splittoken_tests::route::Route;
use splittoken_tests::shop::metric;
use splittoken_tests::stand::Stand;
use splittoken_tests::upstream::Upstream;
use splittoken_tests::websocket::{Loud, field};
use splittoken_tests::wire::answer;

use super::Secured;

fn page() -> Result<Upstream> {
    let page = Upstream::start()?;
    let html = "<!doctype html><link rel=icon href=data:,><title>A page</title>";
    page.answer(answer("200 OK", &[("Content-Type", "text/html")], html));
    Ok(page)
}

#[test]
fn a_page_of_an_allowed_origin_uses_the_api_and_another_learns_nothing() -> Result<()> {
    let (allowed, other) = (page()?, page()?);
    let cors = json!({
        "allowOrigins": [allowed.url()],
        "allowMethods": ["PUT"],
        "allowHeaders": ["Authorization", "Content-Type"],
        "exposeHeaders": ["WWW-Authenticate"],
    });
    let everything = json!(["*"]);
    let open = json!({
        "allowOrigins": everything, "allowMethods": everything, "allowHeaders": everything, "exposeHeaders": everything,
    });
    let stand = Stand::with(|to| {
        let route = |name: &str, host: &str, cors: &Value| {
            let route = Route::new(&to.issuer, &to.upstream).named(name);
            String::from(route.spec(&json!({"hostnames": [host], "cors": cors})))
        };
        route("shop", "127.0.0.1", &cors) + &route("open", "localhost", &open)
    })?;
    // An upstream that would let everybody in.
    let own = [("Access-Control-Allow-Origin", "*"), ("X-Hidden", "1")];
    stand.upstream.answer(answer("200 OK", &own, "ok"));
    let jwt = stand
        .key
        .token(&stand.provider.claims(&json!({"jti": "for a page"})))?;
    stand.provider.answer_token(&jwt);
    let api = stand.gateway.url("");
    let open = format!("http://localhost:{}", stand.gateway.address().port());
    let said = browser::run("cross-origin.mjs", &[&allowed.url(), &other.url(), &api, &open])?;
    ensure!(said.lines().any(|line| line == "DONE"), "{said}");

    let token = said.lines().find_map(|line| line.strip_prefix("TOKEN "));
    let signature = jwt.rsplit('.').next();
    assert_eq!(token.context("no token")?, signature.unwrap_or_default());
    // What came through: a PUT to each API, with the whole JWT.
    let seen = stand.upstream.requests();
    let seen: Vec<_> = seen
        .iter()
        .map(|request| (request.method(), request.header("authorization")))
        .collect();
    let put = ("PUT".to_owned(), Some(format!("Bearer {jwt}")));
    assert_eq!(seen, [put.clone(), put]);
    // A form without a secret is sent without asking, as from any page: only its answer is kept from the other one.
    assert_eq!(stand.provider.requests("/token").len(), 4);
    Ok(())
}

/// Which version of HTTP that is, is the browser's choice: none has been told to it.
#[test]
fn a_page_opens_websockets_on_its_connection() -> Result<()> {
    let (html, sockets) = (page()?, Loud::of_messages()?);
    let secured = Secured::with(
        &[&["127.0.0.1"]],
        |to| {
            let rule = |name: &str, path: &str, url: &str| {
                json!({
                    "name": name, "matches": [{"path": {"value": path}}], "authentication": "Disabled",
                    "backendRefs": [{"url": url}],
                })
            };
            let mut rules = json!([
                rule("sockets", "/ws", &sockets.url()),
                rule("others", "/no", &sockets.url()),
                rule("pages", "/", &html.url()),
            ]);
            rules[0]["upgrades"] = json!(["websocket"]);
            let route = Route::new(&to.issuer, &to.upstream);
            route
                .spec(&json!({"hostnames": ["127.0.0.1"], "rules": rules}))
                .into()
        },
        |gateway| gateway,
    )?;
    let at = |scheme: &str, path: &str| format!("{scheme}://{}{path}", secured.address);
    let (home, socket, refused) = (at("https", "/"), at("wss", "/ws/chat"), at("wss", "/no"));
    let said = browser::run("websocket.mjs", &[&home, &socket, &refused])?;
    ensure!(said.lines().any(|line| line == "DONE"), "{said}");
    let heads = sockets.take();
    assert_eq!(heads.len(), 3);
    for head in &heads {
        ensure!(head.starts_with("GET /ws/chat HTTP/1.1\r\n"), "{head}");
        assert_eq!(field(head, "origin"), Some(at("https", "").as_str()));
    }
    // The page, three sockets and the one that was refused, and nothing by HTTP/1.1.
    let requests = |protocol: &str| {
        let line = format!("splittoken_gateway_client_requests_total{{protocol=\"{protocol}\"}}");
        metric(&secured.stand.gateway, &line)
    };
    assert_eq!((requests("http1")?, requests("http2")?), (0, 5));
    Ok(())
}
