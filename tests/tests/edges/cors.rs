//! CORS: preflights are answered by the gateway alone, and every answer of a route says who may read it.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use splittoken_tests::http2::Http2;
use splittoken_tests::ports;
use splittoken_tests::raw;
use splittoken_tests::redis::Redis;
use splittoken_tests::route::Route;
use splittoken_tests::shop::metric;
use splittoken_tests::stand::{Addresses, Stand, request};
use splittoken_tests::wait;
use splittoken_tests::wire::{Request, Step, answer};

const PAGE: &str = "Origin: https://app.example";
const EVIL: &str = "Origin: https://app.example.evil.example";

/// What an answer for [`PAGE`] says, sorted, as [`said`] gives it.
const SHARED: [&str; 3] = [
    "access-control-allow-origin: https://app.example",
    "access-control-expose-headers: WWW-Authenticate, ETag",
    "vary: Origin",
];

/// The same of one for an origin that is not allowed, or for none.
const UNSHARED: [&str; 1] = ["vary: Origin"];

/// On 127.0.0.1 a route that speaks of CORS, at `silent.example` one that does not, at `open.example` one for everybody
/// and at `cookies.example` one with credentials.
fn routes(to: &Addresses, dead: u16) -> String {
    let route = |name: &str, host: &str, cors: Value| {
        Route::new(&to.issuer, &to.upstream)
            .named(name)
            .spec(&json!({"hostnames": [host], "cors": cors}))
    };
    let backend = json!([{"url": to.upstream}]);
    let shop = json!({
        "allowOrigins": ["https://app.example", "https://*.preview.example:8443"],
        "allowMethods": ["PUT", "DELETE"],
        "allowHeaders": ["Authorization", "Content-Type"],
        "exposeHeaders": ["WWW-Authenticate", "ETag"],
    });
    let rules = json!([
        {"name": "orders", "matches": [{"path": {"value": "/orders"}, "methods": ["GET", "PUT", "OPTIONS"]}], "backendRefs": backend},
        {"name": "admin", "matches": [{"path": {"value": "/admin"}}], "authorization": {"scopes": ["admin"]}, "backendRefs": backend},
        {"name": "slow", "matches": [{"path": {"value": "/slow"}}], "timeouts": {"request": "200ms"}, "backendRefs": backend},
        {"name": "dead", "matches": [{"path": {"value": "/dead"}}], "backendRefs": [{"url": format!("http://127.0.0.1:{dead}")}]},
        {"name": "none", "matches": [{"path": {"value": "/none"}}], "backendRefs": [{"url": to.upstream, "weight": 0}]},
    ]);
    let everybody =
        json!({"allowOrigins": ["*"], "allowMethods": ["*"], "allowHeaders": ["*"], "exposeHeaders": ["*"]});
    let cookies = json!({
        "allowOrigins": ["https://app.example"], "allowCredentials": true, "allowHeaders": ["Authorization"], "maxAge": 600,
    });
    let all = [
        route("shop", "127.0.0.1", shop).spec(&json!({"rules": rules})),
        route("silent", "silent.example", Value::Null),
        route("open", "open.example", everybody),
        route("cookies", "cookies.example", cookies),
    ];
    all.map(String::from).concat()
}

fn stand() -> Result<Stand> {
    let dead = ports::free()?;
    Stand::with(|to| routes(to, dead))
}

/// Everything that an answer says of CORS, sorted.
fn said<'h>(headers: impl IntoIterator<Item = &'h (String, String)>) -> Vec<String> {
    let lines = headers
        .into_iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), value))
        .filter(|(name, _)| name == "vary" || name.starts_with("access-control-"));
    let mut lines: Vec<String> = lines.map(|(name, value)| format!("{name}: {value}")).collect();
    lines.sort_unstable();
    lines
}

fn preflight(stand: &Stand, host: &str, path: &str, method: &str, origin: &str) -> Result<raw::Answer> {
    let asks = format!("Access-Control-Request-Method: {method}");
    let headers = [origin, &asks, "Access-Control-Request-Headers: authorization"];
    stand.ask_at(host, &format!("OPTIONS {path}"), &headers)
}

#[test]
fn a_preflight_is_answered_without_a_token_and_nobody_else_sees_it() -> Result<()> {
    let stand = stand()?;
    let host = stand.gateway.host();
    for (path, method) in [
        ("/orders/7?a=b", "PUT"),
        ("/orders", "GET"),
        ("/admin", "DELETE"),
        ("/oauth/token", "POST"),
    ] {
        let answer = preflight(&stand, &host, path, method, PAGE)?;
        assert_eq!((answer.status, answer.text().as_str()), (204, ""), "{path}");
        assert_eq!(answer.header("content-length"), None);
        assert_eq!(
            said(&answer.headers),
            [
                "access-control-allow-headers: Authorization, Content-Type",
                "access-control-allow-methods: PUT, DELETE",
                SHARED[0],
                "access-control-max-age: 5",
                "vary: Origin",
            ],
            "{path}"
        );
        let refused = preflight(&stand, &host, path, method, EVIL)?;
        assert_eq!(
            (refused.status, said(&refused.headers)),
            (204, lines(&UNSHARED)),
            "{path}"
        );
    }
    ensure!(stand.upstream.requests().is_empty(), "the upstream saw it");
    ensure!(
        stand.provider.requests("/token").is_empty(),
        "the provider saw it"
    );
    // They count for the rule that the announced request goes to.
    let line = r#"splittoken_gateway_requests_total{route="default/shop",rule="admin",code="2xx"}"#;
    assert_eq!(metric(&stand.gateway, line)?, 2);
    Ok(())
}

fn lines(expected: &[&str]) -> Vec<String> {
    expected.iter().map(|line| (*line).to_owned()).collect()
}

#[test]
fn the_connection_goes_on_after_a_preflight() -> Result<()> {
    let stand = stand()?;
    let token = stand.token(&json!({}))?;
    let host = stand.gateway.host();
    let mut client = raw::Client::connect(stand.gateway.address())?;
    let headers = [PAGE, "Access-Control-Request-Method: PUT"];
    client.send(request(&host, "OPTIONS /orders", &headers, ""))?;
    assert_eq!(client.read()?.context("no answer")?.status, 204);
    client.send(request(&host, "GET /orders", &[PAGE, &token.header()], ""))?;
    assert_eq!(client.read()?.context("no answer")?.status, 200);
    Ok(())
}

#[test]
fn what_a_preflight_carries_is_not_the_next_request() -> Result<()> {
    let stand = stand()?;
    let token = stand.token(&json!({}))?;
    let host = stand.gateway.host();
    let hidden = request(&host, "GET /orders", &[&token.header()], "");
    let hidden = String::from_utf8(hidden)?;
    let length = format!("Content-Length: {}", hidden.len());
    let headers = [PAGE, "Access-Control-Request-Method: PUT", &length];
    let mut client = raw::Client::connect(stand.gateway.address())?;
    client.send(request(&host, "OPTIONS /orders", &headers, &hidden))?;
    assert_eq!(client.read()?.context("no answer")?.status, 204);
    // Whether the connection goes on is the server's choice.
    client.send(request(&host, "GET /nowhere", &[], ""))?;
    let next = client.read()?.map(|answer| answer.status);
    ensure!(matches!(next, None | Some(404)), "{next:?}");
    ensure!(stand.upstream.requests().is_empty(), "it was taken for a request");
    Ok(())
}

#[test]
fn what_is_no_preflight_and_what_nothing_takes_is_as_ever() -> Result<()> {
    let stand = stand()?;
    let (host, token) = (stand.gateway.host(), stand.token(&json!({}))?);
    // No method, no origin, two methods, another method than OPTIONS: ordinary requests, so a token is asked for.
    let asks = "Access-Control-Request-Method: PUT";
    for (line, headers) in [
        ("OPTIONS /orders", &[PAGE][..]),
        ("OPTIONS /orders", &[asks]),
        ("OPTIONS /orders", &[PAGE, asks, asks]),
        ("GET /orders", &[PAGE, asks]),
    ] {
        let answer = stand.ask(line, headers)?;
        assert_eq!(answer.status, 401, "{line} {headers:?}");
        let expected = if headers.contains(&PAGE) {
            &SHARED[..]
        } else {
            &UNSHARED
        };
        assert_eq!(said(&answer.headers), expected, "{line} {headers:?}");
        let answer = stand.ask(line, &[headers, &[&token.header()]].concat())?;
        assert_eq!((answer.status, said(&answer.headers)), (200, lines(expected)));
    }
    let seen: Vec<String> = stand.upstream.take().iter().map(Request::method).collect();
    assert_eq!(seen, ["OPTIONS", "OPTIONS", "OPTIONS", "GET"]);
    // Two origins are none; nobody is asked all the same.
    let answer = stand.ask("OPTIONS /orders", &[PAGE, PAGE, asks])?;
    assert_eq!((answer.status, said(&answer.headers)), (204, lines(&UNSHARED)));
    // A path that no rule takes.
    for (path, method) in [("/nowhere", "PUT"), ("/none-such/7", "GET")] {
        let answer = preflight(&stand, &host, path, method, PAGE)?;
        assert_eq!((answer.status, said(&answer.headers)), (404, vec![]), "{path}");
    }
    // A method that none takes there: nothing can come of it, and the browser hears the same as for others.
    let answer = preflight(&stand, &host, "/orders", "DELETE", PAGE)?;
    assert_eq!(answer.status, 204);
    let called = stand.ask("DELETE /orders", &[PAGE, &token.header()])?;
    assert_eq!((called.status, said(&called.headers)), (404, vec![]));
    ensure!(stand.upstream.requests().is_empty(), "the upstream saw it");
    Ok(())
}

#[test]
fn a_route_that_does_not_speak_of_it_leaves_it_to_the_upstream() -> Result<()> {
    let stand = stand()?;
    let host = "silent.example";
    let token = stand.token_at(host, &json!({}))?;
    assert_eq!(preflight(&stand, host, "/orders", "PUT", PAGE)?.status, 401);
    assert_eq!(preflight(&stand, host, "/oauth/token", "POST", PAGE)?.status, 405);
    let own = [
        ("Access-Control-Allow-Origin", "https://own.example"),
        ("Access-Control-Allow-Methods", "PATCH"),
        ("Vary", "Accept"),
    ];
    stand.upstream.answer(answer("200 OK", &own, ""));
    let asks = "Access-Control-Request-Method: PUT";
    for line in ["OPTIONS /orders", "GET /orders"] {
        let answer = stand.ask_at(host, line, &[PAGE, asks, &token.header()])?;
        assert_eq!(answer.status, 200);
        assert_eq!(
            said(&answer.headers),
            [
                "access-control-allow-methods: PATCH",
                "access-control-allow-origin: https://own.example",
                "vary: Accept",
            ]
        );
    }
    assert_eq!(stand.upstream.requests()[0].method(), "OPTIONS");
    Ok(())
}

#[test]
fn what_the_upstream_says_of_it_is_replaced() -> Result<()> {
    let stand = stand()?;
    let token = stand.token(&json!({}))?;
    let own = [
        ("Access-Control-Allow-Origin", "*"),
        ("access-control-allow-origin", "https://app.example.evil.example"),
        ("Access-Control-Allow-Credentials", "true"),
        ("Access-Control-Expose-Headers", "*"),
        ("Access-Control-Max-Age", "86400"),
        ("Vary", "Accept"),
        ("ETag", "\"1\""),
    ];
    stand.upstream.answer(answer("200 OK", &own, "ok"));
    let merged = [SHARED[0], SHARED[1], "vary: Accept", "vary: Origin"];
    for (origin, expected) in [
        (Some(PAGE), &merged[..]),
        (Some(EVIL), &merged[2..]),
        (Some("Origin: null"), &merged[2..]),
        (None, &merged[2..]),
    ] {
        let header = token.header();
        let headers: Vec<&str> = [header.as_str()].into_iter().chain(origin).collect();
        let answer = stand.ask("GET /orders", &headers)?;
        assert_eq!((answer.status, answer.text().as_str()), (200, "ok"), "{origin:?}");
        assert_eq!(said(&answer.headers), expected, "{origin:?}");
        assert_eq!(answer.header("etag"), Some("\"1\""));
    }
    // The upstream still hears who asks.
    let seen = stand.upstream.requests();
    let heard = seen[0].header("origin");
    assert_eq!(heard.as_deref(), Some("https://app.example"));
    // One Vary is enough.
    stand
        .upstream
        .answer(answer("200 OK", &[("Vary", "accept, origin")], "ok"));
    let answer = stand.ask("GET /orders", &[PAGE, &token.header()])?;
    assert_eq!(
        said(&answer.headers),
        [SHARED[0], SHARED[1], "vary: accept, origin"]
    );
    Ok(())
}

#[test]
fn the_gateways_own_answers_can_be_read_too() -> Result<()> {
    let stand = stand()?;
    let header = stand.token(&json!({"scope": "orders"}))?.header();
    stand.upstream.steps(vec![Step::Hold]);
    for (line, credential, status) in [
        ("GET /orders", "X-None: 1", 401),
        ("GET /orders", "Authorization: Bearer wrong", 401),
        ("GET /admin", header.as_str(), 403),
        ("GET /orders?access_token=x", &header, 400),
        ("GET /orders/7;a=b", &header, 400),
        ("GET /none", &header, 500),
        ("GET /dead", &header, 502),
        ("GET /slow", &header, 504),
        ("GET /oauth/token", "X-None: 1", 405),
        ("POST /oauth/token", "Content-Length: 0", 400),
    ] {
        for (origin, expected) in [(PAGE, &SHARED[..]), (EVIL, &UNSHARED)] {
            let answer = stand.ask(line, &[origin, credential])?;
            assert_eq!(answer.status, status, "{line}: {}", answer.text());
            assert_eq!(said(&answer.headers), expected, "{line} {origin}");
            ensure!(status != 401 || answer.header("www-authenticate").is_some());
        }
    }
    // Before there is a route, there is nobody to say anything.
    for (line, headers, status) in [
        ("GET /nowhere", &[PAGE, &header][..], 404),
        ("GET /orders", &[PAGE, &header, &header], 400),
        ("GET /orders/../admin", &[PAGE, &header], 400),
    ] {
        let answer = stand.ask(line, headers)?;
        assert_eq!((answer.status, said(&answer.headers)), (status, vec![]), "{line}");
    }
    Ok(())
}

#[test]
fn an_outage_of_the_store_can_be_told_from_one_of_the_network() -> Result<()> {
    let mut redis = Redis::start()?;
    let dead = ports::free()?;
    let stand = Stand::built(|to| routes(to, dead), |gateway| gateway.redis(&redis))?;
    redis.kill()?;
    // As long as a signature with ES256, which nobody has seen.
    let unknown = format!("Authorization: Bearer {}AA", "A1b2".repeat(21));
    let form = "grant_type=client_credentials";
    let length = format!("Content-Length: {}", form.len());
    let headers = [PAGE, "Content-Type: application/x-www-form-urlencoded", &length];
    let host = stand.gateway.host();
    let call = request(&host, "GET /orders", &[PAGE, &unknown], "");
    let ask = request(&host, "POST /oauth/token", &headers, form);
    for bytes in [call, ask] {
        // It takes a moment until a connection that broke is known to have.
        let answer = wait::until(Duration::from_secs(20), "a 503", || {
            let answer = stand.gateway.exchange(&bytes).ok().flatten();
            answer.filter(|answer| answer.status == 503)
        })?;
        assert_eq!(said(&answer.headers), SHARED, "{}", answer.text());
    }
    Ok(())
}

#[test]
fn token_answers_can_be_read() -> Result<()> {
    let stand = stand()?;
    let form = "grant_type=client_credentials";
    let length = format!("Content-Length: {}", form.len());
    let ask = |origin: &str| {
        let headers = ["Content-Type: application/x-www-form-urlencoded", &length, origin];
        let request = request(&stand.gateway.host(), "POST /oauth/token", &headers, form);
        stand.gateway.exchange(request)?.context("no answer")
    };
    let jwt = stand
        .key
        .token(&stand.provider.claims(&json!({"jti": "for a page"})))?;
    let own = [
        ("Content-Type", "application/json"),
        ("Access-Control-Allow-Origin", "*"),
        ("Access-Control-Allow-Credentials", "true"),
    ];
    let body = json!({"access_token": jwt, "token_type": "Bearer", "expires_in": 600}).to_string();
    let refusal = json!({"error": "invalid_grant"}).to_string();
    for (status, line, body) in [(200, "200 OK", &body), (400, "400 Bad Request", &refusal)] {
        stand.provider.answer_raw(answer(line, &own, body));
        for (origin, expected) in [(PAGE, &SHARED[..]), (EVIL, &UNSHARED)] {
            let answer = ask(origin)?;
            assert_eq!(answer.status, status, "{}", answer.text());
            assert_eq!(said(&answer.headers), expected, "{origin}");
            assert_eq!(answer.header("cache-control"), Some("no-store"));
        }
    }
    // What the provider cannot do.
    stand.provider.answer_raw("nonsense\r\n\r\n");
    let answer = ask(PAGE)?;
    assert_eq!((answer.status, said(&answer.headers)), (502, lines(&SHARED)));
    Ok(())
}

#[test]
fn origins_are_compared_as_browsers_write_them() -> Result<()> {
    let stand = stand()?;
    let host = stand.gateway.host();
    for (origin, is_allowed) in [
        ("https://app.example", true),
        ("https://app.example:443", true),
        ("HTTPS://APP.EXAMPLE", true),
        ("http://app.example", false),
        ("https://app.example:8443", false),
        ("https://app.example/", false),
        ("https://a.preview.example:8443", true),
        ("https://a.b.preview.example:8443", true),
        ("https://a.preview.example", false),
        ("https://preview.example:8443", false),
        ("https://evilpreview.example:8443", false),
        ("null", false),
        ("*", false),
    ] {
        let answer = preflight(&stand, &host, "/orders", "PUT", &format!("Origin: {origin}"))?;
        let allowed = answer.header("access-control-allow-origin");
        assert_eq!(allowed, is_allowed.then_some(origin), "{origin}");
        assert_eq!(answer.header("vary"), Some("Origin"));
    }
    Ok(())
}

#[test]
fn everybody_and_credentials() -> Result<()> {
    let stand = stand()?;
    for origin in ["Origin: null", "Origin: https://any.example"] {
        let answer = preflight(&stand, "open.example", "/orders", "PATCH", origin)?;
        assert_eq!(
            said(&answer.headers),
            [
                "access-control-allow-headers: *, Authorization",
                "access-control-allow-methods: *",
                "access-control-allow-origin: *",
                "access-control-max-age: 5",
            ]
        );
    }
    // It is the same for everybody, so it is said to everybody, and caches need not tell them apart.
    for headers in [&["Origin: https://any.example"][..], &[]] {
        let answer = stand.ask_at("open.example", "GET /orders", headers)?;
        let expected = [
            "access-control-allow-origin: *",
            "access-control-expose-headers: *",
        ];
        assert_eq!((answer.status, said(&answer.headers)), (401, lines(&expected)));
    }
    let answer = preflight(&stand, "cookies.example", "/orders", "POST", PAGE)?;
    assert_eq!(
        said(&answer.headers),
        [
            "access-control-allow-credentials: true",
            "access-control-allow-headers: Authorization",
            SHARED[0],
            "access-control-max-age: 600",
            "vary: Origin",
        ]
    );
    let answer = stand.ask_at("cookies.example", "GET /orders", &[PAGE])?;
    let expected = [
        "access-control-allow-credentials: true",
        SHARED[0],
        "vary: Origin",
    ];
    assert_eq!(said(&answer.headers), expected);
    let answer = stand.ask_at("cookies.example", "GET /orders", &[EVIL])?;
    assert_eq!(said(&answer.headers), UNSHARED);
    Ok(())
}

#[test]
fn it_is_the_same_by_http2() -> Result<()> {
    let dead = ports::free()?;
    let stand = Stand::built(
        |to| routes(to, dead),
        |gateway| gateway.arguments(&["--http2-cleartext"]),
    )?;
    let bearer = format!("Bearer {}", stand.token(&json!({}))?.opaque);
    let target = format!("http://{}/orders", stand.gateway.host());
    let origin = ("origin", "https://app.example");
    let mut client = Http2::connect(stand.gateway.address())?;
    let asks = ("access-control-request-method", "PUT");
    let answer = client.call("OPTIONS", &target, &[origin, asks], "")?;
    assert_eq!((answer.status, answer.text().as_str()), (204, ""));
    assert_eq!(answer.header("access-control-allow-methods"), Some("PUT, DELETE"));
    assert_eq!(answer.header("access-control-allow-origin"), Some(origin.1));
    ensure!(stand.upstream.requests().is_empty(), "the upstream saw it");
    let answer = client.get(&target, &[origin])?;
    assert_eq!((answer.status, said(&answer.headers)), (401, lines(&SHARED)));
    let answer = client.get(&target, &[origin, ("authorization", &bearer)])?;
    assert_eq!((answer.status, said(&answer.headers)), (200, lines(&SHARED)));
    let evil = ("origin", "https://evil.example");
    let answer = client.get(&target, &[evil, ("authorization", &bearer)])?;
    assert_eq!((answer.status, said(&answer.headers)), (200, lines(&UNSHARED)));
    Ok(())
}

#[test]
fn an_edit_takes_effect_without_a_restart() -> Result<()> {
    let stand = stand()?;
    let host = stand.gateway.host();
    assert_eq!(preflight(&stand, &host, "/orders", "PUT", PAGE)?.status, 204);
    let to = stand.addresses();
    stand
        .gateway
        .write_routes(&String::from(Route::new(&to.issuer, &to.upstream)))?;
    wait::until_true(Duration::from_secs(20), "a preflight like any request", || {
        preflight(&stand, &host, "/orders", "PUT", PAGE).is_ok_and(|answer| answer.status == 401)
    })
}
