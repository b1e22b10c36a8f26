//! What a provider can answer in place of its metadata and its keys, and what it can do to token requests, while
//! clients use the tokens that there are.

use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use splittoken_tests::caller::Caller;
use splittoken_tests::gateway::Gateway;
use splittoken_tests::jwt::{self, Key};
use splittoken_tests::load::{Load, Sample, count, late, untouched};
use splittoken_tests::route::Route;
use splittoken_tests::shop::{Shop, connected};
use splittoken_tests::traffic::{Traffic, known_to_all};
use splittoken_tests::wait;
use splittoken_tests::wire::{Step, answer};

/// How long one lie is told to those who ask every second.
const TOLD: Duration = Duration::from_secs(1);

/// How long it may take until a gateway has met a lie, or the truth again.
const MET: Duration = Duration::from_secs(30);

/// How long a provider may take on the routes here.
const REQUEST: &str = "1s";

/// The same where each answer counts: on a busy machine an honest one takes a while, too.
const PATIENT: &str = "4s";

/// A way to answer, and what the gateway says of it.
struct Lie {
    name: &'static str,
    steps: Vec<Step>,
    reason: &'static str,
}

fn lie(name: &'static str, reason: &'static str, steps: Vec<Step>) -> Lie {
    Lie { name, steps, reason }
}

fn page(name: &'static str, reason: &'static str, body: impl AsRef<[u8]>) -> Lie {
    lie(name, reason, vec![Step::Send(answer("200 OK", &[], body))])
}

fn raw(name: &'static str, reason: &'static str, bytes: impl AsRef<[u8]>) -> Lie {
    lie(name, reason, vec![Step::send(bytes), Step::Close])
}

/// These bytes one by one, for longer than anybody waits: ten seconds.
fn trickled(bytes: &str) -> Vec<Step> {
    let steps = bytes.bytes().chain(std::iter::repeat(b' ')).take(200);
    steps
        .flat_map(|byte| [Step::Send(vec![byte]), Step::Wait(Duration::from_millis(50))])
        .collect()
}

/// What can be said in place of any document.
fn of_any_document() -> Vec<Lie> {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\n";
    let endless = format!("HTTP/1.1 200 OK\r\n\r\n{}", " ".repeat(300 * 1024));
    let redirect = [("Location", "/elsewhere")];
    vec![
        lie("silence", "provider_timeout", vec![Step::Hold]),
        lie(
            "a head that trickles",
            "provider_timeout",
            trickled("HTTP/1.1 200 OK\r\nX: "),
        ),
        lie("a body that trickles", "provider_timeout", trickled(head)),
        lie(
            "half a body, and silence",
            "provider_timeout",
            vec![Step::send(format!("{head}{{")), Step::Hold],
        ),
        lie(
            "a body without end",
            "provider_too_large",
            vec![Step::send(endless), Step::Hold],
        ),
        page("300 KiB", "provider_too_large", " ".repeat(300 * 1024)),
        raw("half a body", "provider_truncated", format!("{head}{{")),
        lie("the connection's end", "provider_truncated", vec![Step::Close]),
        raw("no HTTP", "provider_malformed", "SSH-2.0-OpenSSH_9.6\r\n\r\n"),
        lie(
            "gzip",
            "provider_compressed",
            vec![Step::Send(answer("200 OK", &[("Content-Encoding", "gzip")], "x"))],
        ),
        lie(
            "a redirect",
            "provider_redirect",
            vec![Step::Send(answer("302 Found", &redirect, ""))],
        ),
        lie(
            "500",
            "provider_status",
            vec![Step::Send(answer("500 Oops", &[], "{}"))],
        ),
        lie(
            "404",
            "provider_status",
            vec![Step::Send(answer("404 Not Found", &[], ""))],
        ),
    ]
}

/// What can be said in place of keys.
fn of_keys() -> Result<Vec<Lie>> {
    let keys = (0..65).map(|_| Key::eddsa()).collect::<Result<Vec<_>>>()?;
    let many = jwt::jwks(&keys.iter().collect::<Vec<_>>())?;
    let mut lies = of_any_document();
    lies.extend([
        page("nothing", "jwks_shape", ""),
        page(
            "a web page",
            "jwks_shape",
            "<!doctype html><title>Sign in</title>",
        ),
        page("no set", "jwks_shape", "[]"),
        page("keys that are no list", "jwks_shape", r#"{"keys": {}}"#),
        page("no keys", "jwks_no_usable_key", r#"{"keys": []}"#),
        page(
            "a secret",
            "jwks_no_usable_key",
            r#"{"keys": [{"kty": "oct", "k": "AAAA"}]}"#,
        ),
        page("65 keys", "jwks_too_many_keys", many.to_string()),
    ]);
    Ok(lies)
}

/// What can be said in place of metadata.
fn of_metadata(issuer: &str) -> Vec<Lie> {
    let document = |change: Value| {
        let mut document = json!({
            "issuer": issuer, "token_endpoint": format!("{issuer}/token"), "jwks_uri": format!("{issuer}/jwks"),
        });
        for (name, value) in change.as_object().into_iter().flatten() {
            document[name] = value.clone();
        }
        document.to_string()
    };
    let mut lies = of_any_document();
    lies.extend([
        page(
            "another issuer",
            "discovery_issuer",
            document(json!({"issuer": "https://other.example"})),
        ),
        page(
            "its issuer with a slash",
            "discovery_issuer",
            document(json!({"issuer": format!("{issuer}/")})),
        ),
        page(
            "no issuer",
            "discovery_no_issuer",
            document(json!({"issuer": null})),
        ),
        page(
            "no keys' URL",
            "discovery_missing",
            document(json!({"jwks_uri": null})),
        ),
        page(
            "a file",
            "url_scheme",
            document(json!({"jwks_uri": "file:///etc/passwd"})),
        ),
    ]);
    lies
}

/// The issuer of the only route, as the gateway's `/config` has it.
fn issuer(gateway: &Gateway) -> Result<Value> {
    Ok(gateway.admin("/config")?.json()?["issuers"][0].take())
}

/// Waits until the gateways say this of a document of the provider's.
fn says(gateways: &[&Gateway], document: &str, what: &str, is_so: impl Fn(&Value) -> bool) -> Result<()> {
    for gateway in gateways {
        let said = || issuer(gateway).map(|issuer| issuer[document].clone());
        wait::until_true(MET, what, || said().is_ok_and(|document| is_so(&document)))
            .with_context(|| format!("{what}: {:?}", said()))?;
    }
    Ok(())
}

/// A route whose keys are fetched every second.
fn eager(shop: &Shop) -> Route {
    shop.route().issuer(&json!({
        "jwks": {"refreshInterval": "1s", "minRefreshInterval": "1s"}, "timeouts": {"request": REQUEST},
    }))
}

#[test]
fn whatever_is_said_in_place_of_keys_the_last_ones_stay() -> Result<()> {
    let shop = Shop::start()?;
    let (first, second) = (shop.gateway_of(eager(&shop))?, shop.gateway_of(eager(&shop))?);
    let gateways = [&first, &second];
    let tokens = known_to_all(&gateways, 50, Caller::of)?;
    let traffic = Traffic::start(&gateways, &gateways, &tokens, Caller::of)?;
    let lies = of_keys()?;
    for Lie { name, steps, reason } in &lies {
        shop.mint.play("/jwks", steps.clone());
        says(&gateways, "jwks", name, |jwks| jwks["reason"] == **reason)?;
        thread::sleep(TOLD);
        shop.mint.answer_honestly("/jwks");
        says(&gateways, "jwks", "the truth", |jwks| jwks["ok"] == true)?;
        for gateway in gateways {
            let ids = issuer(gateway)?["keyIds"].clone();
            ensure!(ids.as_array().is_some_and(|ids| ids.len() == 1), "{name}: {ids}");
        }
    }
    eprintln!("{} answers in place of keys:", lies.len());
    ensure!(
        shop.mint.requests("/elsewhere").is_empty(),
        "a redirect was followed"
    );
    traffic.untouched(&gateways)
}

/// Two replicas of a provider that do not agree. What is published counts, and who is always published notices nothing.
#[test]
fn keys_that_come_and_go_harm_their_own_tokens_alone() -> Result<()> {
    let shop = Shop::start()?;
    let gateway = shop.gateway_of(eager(&shop))?;
    let coming_and_going = known_to_all(&[&gateway], 20, Caller::of)?;
    let stays = Key::es256()?;
    let alone = answer("200 OK", &[], jwt::jwks(&[&stays])?.to_string());
    shop.mint.rotate(stays);
    let tokens = known_to_all(&[&gateway], 50, Caller::of)?;
    let traffic = Traffic::start(&[&gateway], &[&gateway], &tokens, Caller::of)?;
    let going = Load::start(&gateway, vec![coming_and_going])?;
    for _ in 0..5 {
        shop.mint.play("/jwks", vec![Step::Send(alone.clone())]);
        says(&[&gateway], "keyIds", "one key", |ids| {
            ids.as_array().is_some_and(|ids| ids.len() == 1)
        })?;
        shop.mint.answer_honestly("/jwks");
        says(&[&gateway], "keyIds", "both keys", |ids| {
            ids.as_array().is_some_and(|ids| ids.len() == 2)
        })?;
    }
    let going = going.finish();
    let (served, refused) = (count(&going, 200), count(&going, 401));
    eprintln!("a key that came and went 5 times: its tokens got {served} × 200, {refused} × 401");
    ensure!(served > 0 && refused > 0, "always the same");
    // Whoever was refused is looked for anew, and on a busy machine Redis is late with one or the other.
    let others = going.len() - served - refused;
    ensure!(
        count(&going, 503) == others && others as u64 <= late(&[&gateway])?,
        "something else"
    );
    traffic.untouched(&[&gateway])
}

/// While it happens to those who ask for tokens, those who have one notice nothing.
#[test]
fn whatever_happens_to_token_requests_the_api_goes_on() -> Result<()> {
    let shop = Shop::start()?;
    // Every request is to meet the provider.
    let route = eager(&shop).issuer(&json!({"timeouts": {"request": PATIENT}}));
    let always = shop.builder(route).arguments(&["--breaker-failures", "0"]);
    let gateway = always.start()?;
    connected(&gateway, wait::START)?;
    let tokens = known_to_all(&[&gateway], 50, Caller::of)?;
    let api = Load::start(&gateway, vec![tokens.clone(), tokens])?;
    for Lie { name, steps, reason } in of_any_document() {
        shop.mint.play("/token", steps);
        let mut asking = Load::default();
        for _ in 0..8 {
            let mut caller = Caller::of(&gateway)?;
            asking.add(move || Some(Sample::of(|| Ok(caller.token()?.status))));
        }
        thread::sleep(TOLD);
        let asking = asking.finish();
        let expected = match (name, reason) {
            ("404", _) => 404,
            ("500", _) => 500,
            (_, "provider_timeout") => 504,
            _ => 502,
        };
        ensure!(
            count(&asking, expected) == asking.len() && !asking.is_empty(),
            "{name}: {:?}",
            asking.first()
        );
    }
    shop.mint.answer_honestly("/token");
    Caller::of(&gateway)?.issue()?;
    let what = "API requests, whatever happens to token requests";
    untouched(what, &[&gateway], &api.finish())
}

/// A gateway that starts while its provider says such things finds the keys in Redis, and waits for nobody.
#[test]
fn whatever_is_said_in_place_of_metadata_a_new_gateway_serves_at_once() -> Result<()> {
    /// Far less than the provider may take on this route, which is 10 s.
    const AT_ONCE: Duration = Duration::from_secs(5);
    let shop = Shop::start()?;
    let gateway = shop.gateway()?;
    let tokens = known_to_all(&[&gateway], 1, Caller::of)?;
    wait::until_true(wait::START, "the keys to be put there", || {
        shop.redis.key_sets().is_ok_and(|sets| sets.len() == 1)
    })?;
    let lies = of_metadata(&shop.mint.issuer());
    let mut first_calls = Vec::new();
    for Lie { name, steps, reason } in &lies {
        shop.mint.play("/.well-known/openid-configuration", steps.clone());
        let newcomer = shop.builder(shop.route()).start()?;
        connected(&newcomer, wait::START)?;
        let mut caller = Caller::of(&newcomer)?;
        let first = Sample::of(|| caller.status(&tokens[0]));
        ensure!(first.status == 200 && first.took < AT_ONCE, "{name}: {first:?}");
        first_calls.push(first);
        says(&[&newcomer], "discovery", name, |document| {
            document["reason"] == **reason
        })?;
        let answer = caller.token()?;
        ensure!(
            answer.status == 503,
            "{name}: a token request got {}",
            answer.status
        );
        ensure!(caller.status(&tokens[0])? == 200, "{name}");
    }
    eprintln!("{} answers in place of metadata:", lies.len());
    untouched("first requests to a new gateway", &[], &first_calls)
}

/// What is said later changes nothing either: discovery is tried again when an endpoint seems to be gone.
#[test]
fn metadata_that_turns_into_another_issuer_s_change_nothing() -> Result<()> {
    /// A hint hastens discovery once in this time.
    const HINT: Duration = Duration::from_secs(60);
    let shop = Shop::start()?;
    let gateway = shop.gateway_of(eager(&shop))?;
    let tokens = known_to_all(&[&gateway], 50, Caller::of)?;
    let traffic = Traffic::start(&[&gateway], &[&gateway], &tokens, Caller::of)?;
    let other = Shop::start()?;
    let url = other.mint.issuer();
    let document = json!({
        "issuer": url, "token_endpoint": format!("{url}/token"), "jwks_uri": format!("{url}/jwks"),
    });
    let document = answer("200 OK", &[], document.to_string());
    shop.mint
        .play("/.well-known/openid-configuration", vec![Step::Send(document)]);
    shop.mint
        .play("/jwks", vec![Step::Send(answer("404 Not Found", &[], ""))]);
    wait::until_true(HINT * 10, "discovery to be tried again", || {
        issuer(&gateway).is_ok_and(|issuer| issuer["discovery"]["reason"] == "discovery_issuer")
    })?;
    thread::sleep(TOLD);
    ensure!(
        other.mint.connections() == 0,
        "somebody else's endpoints were asked"
    );
    traffic.untouched(&[&gateway])
}
