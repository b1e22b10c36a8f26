//! What is counted is what happened, and the table of `docs/gateway.md` is what there is.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use splittoken_tests::collector::Collector;
use splittoken_tests::frames::{self, Frame, Frames};
use splittoken_tests::gateway::Gateway;
use splittoken_tests::raw::Client;
use splittoken_tests::route::Route;
use splittoken_tests::stand::{Addresses, Stand, request};
use splittoken_tests::wait;
use splittoken_tests::wire::answer;

use crate::exposition::Exposition;
use crate::scrape;

fn routes(to: &Addresses) -> String {
    route(to).into()
}

fn route(to: &Addresses) -> Route {
    let backends = json!([{"url": to.upstream}]);
    let rules = json!([
        {
            "name": "orders",
            "matches": [{"path": {"value": "/orders"}}],
            "authorization": {"scopes": ["read"]},
            "backendRefs": backends,
        },
        {"name": "open", "authentication": "Disabled", "backendRefs": backends},
    ]);
    Route::new(&to.issuer, &to.upstream).spec(&json!({"rules": rules}))
}

/// The samples' own names, with type and labels, of one metric.
type Row = (String, String, BTreeSet<String>);

/// The table of the page, checked for its form.
fn documented() -> Result<Vec<Row>> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/gateway.md");
    let page = std::fs::read_to_string(page)?;
    let rows = page.lines().filter(|line| line.starts_with("| `splittoken_"));
    rows.map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [name, kind, labels, meaning] = cells.as_slice() else {
            anyhow::bail!("not four cells: {line}");
        };
        ensure!(!meaning.is_empty(), "no meaning: {line}");
        let labels = labels
            .split(',')
            .map(|label| label.trim().trim_matches('`').to_owned());
        let labels = labels.filter(|label| !label.is_empty()).collect();
        Ok((name.trim_matches('`').to_owned(), (*kind).to_owned(), labels))
    })
    .collect()
}

#[test]
fn the_page_documents_exactly_what_there_is() -> Result<()> {
    let mut documented = documented()?;
    let number = documented.len();
    documented.sort();
    documented.dedup_by(|a, b| a.0 == b.0);
    assert_eq!(documented.len(), number, "a metric is there twice");
    let gateway = busy_gateway()?;
    // Some of it is counted a little after the answers. What has come by the end of this wait is what there is.
    let is_whole = |now: Exposition| {
        now.families.len() >= number && now.families.values().all(|family| !family.samples.is_empty())
    };
    let _ = wait::until_true(Duration::from_secs(20), "every metric to have a sample", || {
        scrape(&gateway).is_ok_and(is_whole)
    });
    let exposition = scrape(&gateway)?;
    let mut exposed = Vec::new();
    for (name, family) in &exposition.families {
        let name = if family.kind == "counter" {
            format!("{name}_total")
        } else {
            name.clone()
        };
        let first = family
            .samples
            .first()
            .with_context(|| format!("{name} has no sample to see labels by"))?;
        // The bounds of buckets are of every histogram.
        let labels = first
            .labels
            .iter()
            .map(|(label, _)| label.clone())
            .filter(|label| label != "le");
        exposed.push((name, family.kind.clone(), labels.collect()));
    }
    exposed.sort();
    assert_eq!(exposed, documented);
    Ok(())
}

/// A gateway to which everything has happened that is counted, even a record that is not one.
fn busy_gateway() -> Result<Gateway> {
    let shop = splittoken_tests::shop::Shop::start()?;
    let (secured, collector) = (crate::Listener::new()?, Collector::start()?);
    let nobody = format!("http://127.0.0.1:{}", splittoken_tests::ports::free()?);
    let rules = json!([
        {"name": "api", "backendRefs": [{"url": shop.upstream.url()}]},
        {
            "name": "nobody",
            "authentication": "Disabled",
            "matches": [{"path": {"value": "/nobody"}}],
            "backendRefs": [{"url": nobody}],
        },
    ]);
    let gateway = shop
        .builder(shop.route().spec(&json!({"rules": rules})))
        .arguments(&["--http2-cleartext"])
        .arguments(&secured.arguments())
        .arguments(&["--otlp-endpoint", &collector.url(), "--trace-sampling", "1"])
        .start()?;
    secured.session()?;
    let answer = gateway.exchange(request(&gateway.host(), "GET /nobody", &[], ""))?;
    ensure!(answer.context("no answer")?.status == 502);
    let answer = gateway.exchange("nonsense\r\n\r\n")?;
    ensure!(answer.context("no answer")?.status == 400);
    splittoken_tests::shop::connected(&gateway, wait::START)?;
    // A connection that comes to nothing.
    drop(TcpStream::connect(gateway.address())?);
    let mut caller = splittoken_tests::caller::Caller::of(&gateway)?;
    let token = caller.issue()?;
    ensure!(caller.status(&token)? == 200);
    ensure!(caller.status("nonsense")? == 401);
    let (key, _) = shop.redis.dump()?.pop().context("no record")?;
    shop.redis
        .command(&["SET", std::str::from_utf8(&key)?, "noise"])?;
    wait::until_true(Duration::from_secs(10), "the noise to be found", || {
        caller.status(&token).is_ok_and(|status| status == 401)
    })?;
    let alarms = scrape(&gateway)?.sum("splittoken_gateway_alarms_total");
    ensure!(alarms > 0, "no alarm");
    Ok(gateway)
}

#[test]
fn every_request_is_counted_once_where_it_belongs() -> Result<()> {
    let stand = Stand::with(routes)?;
    let (reader, stranger) = (stand.token(&json!({"scope": "read"}))?, stand.token(&json!({}))?);
    let ask = |line: &str, headers: &[&str]| stand.ask(line, headers).map(|answer| answer.status);
    for _ in 0..3 {
        assert_eq!(ask("GET /orders", &[&reader.header()])?, 200);
    }
    assert_eq!(ask("GET /orders", &[&stranger.header()])?, 403);
    assert_eq!(ask("GET /orders", &[])?, 401);
    assert_eq!(ask("GET /orders", &["Authorization: Bearer nonsense"])?, 401);
    for status in [
        "204 No Content",
        "302 Found",
        "404 Not Found",
        "500 Oops",
        "503 Later",
    ] {
        stand.upstream.answer(answer(status, &[], ""));
        ask("GET /open", &[])?;
    }
    assert_eq!(stand.ask_at("nobody.example", "GET /", &[])?.status, 404);
    assert_eq!(ask("GET /a/../b", &[])?, 400);
    let exposition = scrape(&stand.gateway)?;
    let requests = |rule: &str, code: &str| {
        let labels = [("route", "default/shop"), ("rule", rule), ("code", code)];
        exposition.value("splittoken_gateway_requests_total", &labels)
    };
    let orders = ["1xx", "2xx", "3xx", "4xx", "5xx"].map(|code| requests("orders", code));
    let open = ["1xx", "2xx", "3xx", "4xx", "5xx"].map(|code| requests("open", code));
    assert_eq!((orders, open), ([0, 3, 0, 3, 0], [0, 1, 1, 1, 2]));
    let failures =
        |reason: &str| exposition.value("splittoken_gateway_failures_total", &[("reason", reason)]);
    for reason in ["scope", "no_credentials", "no_route", "path_dot_segment"] {
        assert_eq!(failures(reason), 1, "{reason}");
    }
    assert_eq!(exposition.sum("splittoken_gateway_failures_total"), 5);
    let lookups =
        |outcome: &str| exposition.value("splittoken_gateway_token_lookups_total", &[("outcome", outcome)]);
    assert_eq!((lookups("store"), lookups("cache")), (2, 2));
    let split = [("route", "default/shop"), ("outcome", "split")];
    assert_eq!(
        exposition.value("splittoken_gateway_token_requests_total", &split),
        2
    );
    // Two tokens, six requests with rules of a token, five without, two for nobody.
    assert_eq!(
        exposition.sum("splittoken_gateway_request_duration_seconds_count"),
        15
    );
    Ok(())
}

/// What is no request is counted where it ends a connection.
#[test]
fn what_is_no_http_is_counted_by_connection() -> Result<()> {
    let stand = Stand::built(routes, |gateway| gateway.arguments(&["--http2-cleartext"]))?;
    let host = stand.gateway.host();
    let two_lengths = ["Content-Length: 1", "Content-Length: 2"];
    let huge = format!("X-Huge: {}", "x".repeat(64 * 1024));
    for (bytes, status) in [
        (b"nonsense\r\n\r\n".to_vec(), 400),
        (request(&host, "GET /open", &two_lengths, ""), 400),
        (request(&host, "GET /open", &[&huge], ""), 431),
    ] {
        let answer = stand.gateway.exchange(bytes)?.context("no answer")?;
        assert_eq!(answer.status, status);
    }
    let mut client = Frames::connect(stand.gateway.address())?;
    // Data of a stream that nobody has opened.
    client.send(&[Frame::new(frames::DATA, 1, *b"x")]);
    client.end()?;
    for (protocol, reason, count) in [
        ("http1", "malformed", 2),
        ("http1", "too_large", 1),
        ("http2", "protocol", 1),
    ] {
        let labels = [("protocol", protocol), ("reason", reason)];
        wait::until_true(wait::START, &format!("{protocol} {reason}"), || {
            let now = scrape(&stand.gateway);
            now.is_ok_and(|now| now.value("splittoken_gateway_connection_errors_total", &labels) == count)
        })?;
    }
    assert_eq!(stand.ask("GET /open", &[])?.status, 200);
    Ok(())
}

#[test]
fn token_requests_are_counted_by_what_came_of_them() -> Result<()> {
    let stand = Stand::with(routes)?;
    let ask = |form: &str| {
        let length = format!("Content-Length: {}", form.len());
        let headers = ["Content-Type: application/x-www-form-urlencoded", &length];
        let bytes = request(&stand.gateway.host(), "POST /oauth/token", &headers, form);
        let answer = stand.gateway.exchange(bytes)?.context("no answer")?;
        Ok::<_, anyhow::Error>(answer.status)
    };
    // The provider refuses until it is told what to answer.
    assert_eq!(ask("grant_type=client_credentials")?, 400);
    assert_eq!(ask("no_grant=1")?, 400);
    stand.provider.answer_json("not JSON");
    assert_eq!(ask("grant_type=client_credentials")?, 502);
    stand.token(&json!({}))?;
    let exposition = scrape(&stand.gateway)?;
    let mut outcomes = BTreeMap::new();
    for sample in exposition
        .samples()
        .filter(|s| s.name == "splittoken_gateway_token_requests_total")
    {
        assert_eq!(sample.labels[0], ("route".to_owned(), "default/shop".to_owned()));
        outcomes.insert(sample.labels[1].1.clone(), sample.whole());
    }
    assert_eq!(outcomes.values().sum::<u64>(), 4, "{outcomes:?}");
    assert_eq!(outcomes.get("split"), Some(&1), "{outcomes:?}");
    assert_eq!(outcomes.get("refused_by_provider"), Some(&1), "{outcomes:?}");
    assert_eq!(outcomes.get("grant_type_count"), Some(&1), "{outcomes:?}");
    Ok(())
}

#[test]
fn gauges_follow_what_they_measure() -> Result<()> {
    let stand = Stand::with(routes)?;
    let gauge = |name: &str| {
        Ok::<_, anyhow::Error>(scrape(&stand.gateway)?.value(&format!("splittoken_gateway_{name}"), &[]))
    };
    assert_eq!(
        (
            gauge("routes")?,
            gauge("config_generation")?,
            gauge("config_failing")?
        ),
        (1, 1, 0)
    );
    let before = gauge("connections")?;
    let open = (0..5)
        .map(|_| {
            let mut client = Client::connect(stand.gateway.address())?;
            client.send(request(&stand.gateway.host(), "GET /open", &[], ""))?;
            ensure!(client.read()?.is_some());
            Ok(client)
        })
        .collect::<Result<Vec<_>>>()?;
    assert_eq!(gauge("connections")?, before + 5);
    drop(open);
    let limit = Duration::from_secs(10);
    wait::until_true(limit, "the connections to be gone", || {
        gauge("connections").is_ok_and(|now| now <= before)
    })?;
    let first = route(&stand.addresses());
    let second = first
        .clone()
        .named("second")
        .spec(&json!({"hostnames": ["second.example"]}));
    let both = [first, second].map(String::from).concat();
    stand.gateway.write_routes(&both)?;
    wait::until_true(limit, "two routes", || {
        gauge("routes").is_ok_and(|now| now == 2) && gauge("config_generation").is_ok_and(|now| now > 1)
    })?;
    assert_eq!(gauge("config_generation")?, 2);
    stand.gateway.write_routes("kind: [")?;
    wait::until_true(limit, "the bad edit", || {
        gauge("config_failing").is_ok_and(|now| now == 1)
            && gauge("config_rejected_total").is_ok_and(|now| now > 0)
    })?;
    assert_eq!((gauge("routes")?, gauge("config_rejected_total")?), (2, 1));
    Ok(())
}
