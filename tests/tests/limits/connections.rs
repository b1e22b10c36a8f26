//! How many connections there may be, of all clients and of one.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;
use splittoken_tests::frames::{Frame, Frames, block};
use splittoken_tests::http2::Http2;
use splittoken_tests::raw::Client;
use splittoken_tests::route::Route;
use splittoken_tests::shop::metric;
use splittoken_tests::stand::{Stand, Token, request};
use splittoken_tests::wait;
use splittoken_tests::websocket::{AGREED, Loud};

use super::{answered, stand};

const SOON: Duration = Duration::from_secs(10);
const HANDSHAKE: [&str; 4] = [
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13",
];

/// What a client sends before its requests.
type Greeting = &'static [u8];

const NOTHING: Greeting = b"";

fn get(stand: &Stand, token: &Token) -> Vec<u8> {
    request(&stand.gateway.host(), "GET /orders", &[&token.header()], "")
}

/// A connection that has served a request and stays open.
fn open(stand: &Stand, token: &Token, greeting: Greeting) -> Result<Client> {
    let mut client = Client::connect(stand.gateway.address())?;
    let answer = answered(&mut client, [greeting, &get(stand, token)].concat())?;
    ensure!(answer.status == 200, "{}: {}", answer.status, answer.text());
    Ok(client)
}

/// Whether a new connection is closed without an answer.
fn is_turned_away(stand: &Stand, token: &Token, greeting: Greeting) -> Result<bool> {
    let mut client = Client::connect(stand.gateway.address())?;
    client.send([greeting, &get(stand, token)].concat())?;
    Ok(client.read()?.is_none())
}

fn unopened(stand: &Stand, reason: &str) -> Result<u64> {
    let line = format!("splittoken_gateway_connections_unopened_total{{reason=\"{reason}\"}}");
    metric(&stand.gateway, &line)
}

#[test]
fn beyond_the_limit_new_connections_are_closed_at_once() -> Result<()> {
    let stand = Stand::built(
        |to| {
            let rule = json!({"upgrades": ["websocket"]});
            Route::new(&to.issuer, &to.upstream).rule(&rule).into()
        },
        |gateway| gateway.arguments(&["--max-connections", "4", "--threads", "2"]),
    )?;
    let token = stand.token(&json!({}))?;
    wait::until_true(SOON, "the token request's connection to go", || {
        metric(&stand.gateway, "splittoken_gateway_connections").is_ok_and(|open| open == 0)
    })?;
    let mut clients = (0..3)
        .map(|_| open(&stand, &token, NOTHING))
        .collect::<Result<Vec<_>>>()?;
    // The fourth becomes a tunnel, and is one of them still.
    stand
        .upstream
        .answer("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    let mut tunnel = Client::connect(stand.gateway.address())?;
    let header = token.header();
    let handshake: Vec<&str> = HANDSHAKE.into_iter().chain([header.as_str()]).collect();
    let switched = answered(
        &mut tunnel,
        request(&stand.gateway.host(), "GET /socket", &handshake, ""),
    )?;
    assert_eq!(switched.status, 101);
    wait::until_true(SOON, "the tunnel to be counted", || {
        metric(&stand.gateway, "splittoken_gateway_tunnels").is_ok_and(|open| open == 1)
    })?;
    stand.upstream.answer("HTTP/1.1 204 No Content\r\n\r\n");
    for _ in 0..3 {
        assert!(is_turned_away(&stand, &token, NOTHING)?);
    }
    assert_eq!(unopened(&stand, "connections")?, 3);
    for client in &mut clients {
        assert_eq!(
            answered(client, get(&stand, &token))?.status,
            204,
            "those there go on"
        );
    }
    clients.pop();
    wait::until_true(SOON, "room for another", || {
        is_turned_away(&stand, &token, NOTHING).is_ok_and(|is_closed| !is_closed)
    })
}

/// Behind a load balancer that says whose connection it is.
const ONE: Greeting = b"PROXY TCP4 192.0.2.7 192.0.2.1 40000 443\r\n";
const ANOTHER: Greeting = b"PROXY TCP4 192.0.2.8 192.0.2.1 40000 443\r\n";

#[test]
fn an_address_has_its_share() -> Result<()> {
    let stand = stand(&[
        "--max-connections-per-address",
        "2",
        "--trusted-proxies",
        "192.0.2.99/32",
    ])?;
    let token = stand.token(&json!({}))?;
    let open = || open(&stand, &token, NOTHING);
    wait::until_true(SOON, "the token request's connection to go", || {
        metric(&stand.gateway, "splittoken_gateway_connections").is_ok_and(|open| open == 0)
    })?;
    let _clients = [open()?, open()?];
    assert!(is_turned_away(&stand, &token, NOTHING)?);
    assert_eq!(unopened(&stand, "address_connections")?, 1);
    Ok(())
}

#[test]
fn proxies_have_no_share_and_their_clients_do() -> Result<()> {
    let trusted = [
        "--max-connections-per-address",
        "2",
        "--trusted-proxies",
        "127.0.0.0/8",
    ];
    let plain = stand(&trusted)?;
    let token = plain.token(&json!({}))?;
    let clients = (0..9).map(|_| open(&plain, &token, NOTHING));
    assert_eq!(clients.collect::<Result<Vec<_>>>()?.len(), 9);

    let stand = stand(&[&trusted[..], &["--proxy-protocol"]].concat())?;
    // Any token will do: what counts is whether there is an answer.
    let answers = |greeting| is_turned_away(&stand, &token, greeting).map(|is_closed| !is_closed);
    let call = |greeting: Greeting| -> Result<Client> {
        let mut client = Client::connect(stand.gateway.address())?;
        assert_eq!(
            answered(&mut client, [greeting, &get(&stand, &token)].concat())?.status,
            401
        );
        Ok(client)
    };
    let clients = [call(ONE)?, call(ONE)?];
    assert!(!answers(ONE)?);
    assert!(answers(ANOTHER)?);
    drop(clients);
    wait::until_true(SOON, "room for another", || answers(ONE).unwrap_or(false))
}

/// A tunnel on a stream costs as much as a connection, and counts as one.
#[test]
fn tunnels_on_streams_are_connections() -> Result<()> {
    let upstream = Loud::start(AGREED)?;
    for (limit, reason) in [
        ("--max-connections", "connections"),
        ("--max-connections-per-address", "address_connections"),
    ] {
        let stand = Stand::built(
            |to| {
                let rule = json!({"upgrades": ["websocket"], "backendRefs": [{"url": upstream.url()}]});
                Route::new(&to.issuer, &to.upstream).rule(&rule).into()
            },
            |gateway| gateway.arguments(&[limit, "3", "--http2-cleartext"]),
        )?;
        let token = stand.token(&json!({}))?;
        wait::until_true(SOON, "the token request's connection to go", || {
            metric(&stand.gateway, "splittoken_gateway_connections").is_ok_and(|open| open == 0)
        })?;
        let mut client = Http2::connect(stand.gateway.address())?;
        let (target, bearer) = (stand.gateway.url("/ws"), format!("Bearer {}", token.opaque));
        let mut open = || {
            let headers = [
                ("sec-websocket-version", "13"),
                ("authorization", bearer.as_str()),
            ];
            client.open("websocket", &target, &headers)
        };
        // Each is there before the next is asked for.
        let mut tunnels = Vec::new();
        for _ in 0..2 {
            let mut tunnel = open()?;
            assert_eq!(tunnel.status(), 200, "{limit}");
            tunnel.read_head()?;
            tunnels.push(tunnel);
        }
        upstream.take();
        let refused = open()?;
        assert_eq!(refused.status(), 503, "{limit}");
        ensure!(refused.headers().contains_key("retry-after"), "{limit}");
        let failures = format!("splittoken_gateway_failures_total{{reason=\"{reason}\"}}");
        assert_eq!(metric(&stand.gateway, &failures)?, 1);
        ensure!(upstream.take().is_empty(), "{limit}: it arrived");
        tunnels.pop();
        wait::until_true(SOON, "room for another", || {
            open().is_ok_and(|tunnel| tunnel.status() == 200)
        })?;
    }
    Ok(())
}

/// Nor is one overlooked that is asked for while others are being opened.
#[test]
fn of_many_handshakes_at_once_as_many_become_tunnels_as_may() -> Result<()> {
    let upstream = Loud::start(AGREED)?;
    let stand = Stand::built(
        |to| {
            let rule = json!({"upgrades": ["websocket"], "backendRefs": [{"url": upstream.url()}]});
            Route::new(&to.issuer, &to.upstream).rule(&rule).into()
        },
        |gateway| gateway.arguments(&["--max-connections", "5", "--http2-cleartext"]),
    )?;
    let token = stand.token(&json!({}))?;
    wait::until_true(SOON, "the token request's connection to go", || {
        metric(&stand.gateway, "splittoken_gateway_connections").is_ok_and(|open| open == 0)
    })?;
    let (host, bearer) = (stand.gateway.host(), format!("Bearer {}", token.opaque));
    let handshake = block(&[
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":path", "/ws"),
        (":authority", &host),
        ("sec-websocket-version", "13"),
        ("authorization", &bearer),
    ]);
    let streams = (0..40).map(|number| Frame::headers(2 * number + 1, handshake.clone()));
    let mut client = Frames::connect(stand.gateway.address())?;
    client.send(&streams.collect::<Vec<_>>());
    let told = || {
        anyhow::Ok((
            metric(
                &stand.gateway,
                "splittoken_gateway_failures_total{reason=\"connections\"}",
            )?,
            metric(&stand.gateway, "splittoken_gateway_tunnels")?,
        ))
    };
    wait::until_true(SOON, "an answer to each", || {
        told().is_ok_and(|(refused, open)| refused + open == 40)
    })?;
    let (_, open) = told()?;
    assert_eq!(open, 4, "beside their connection");
    Ok(())
}

/// Runs what follows with a limit of 64 open files, of the kind that `which` says (`S` or `H`).
fn limited(which: &str) -> [String; 3] {
    let script = format!("ulimit -{which}n 64; exec \"$0\" \"$@\"");
    ["sh".to_owned(), "-c".to_owned(), script]
}

fn stand_under(program: &[String]) -> Result<Stand> {
    let program: Vec<&str> = program.iter().map(String::as_str).collect();
    Stand::built(
        |to| Route::new(&to.issuer, &to.upstream).into(),
        |gateway| gateway.under(&program),
    )
}

#[test]
fn a_small_soft_limit_of_open_files_limits_nothing() -> Result<()> {
    let stand = stand_under(&limited("S"))?;
    let token = stand.token(&json!({}))?;
    let clients = (0..200).map(|_| open(&stand, &token, NOTHING));
    assert_eq!(clients.collect::<Result<Vec<_>>>()?.len(), 200);
    let said = String::from_utf8_lossy(&stand.gateway.output()).into_owned();
    ensure!(!said.contains("fewer files"), "{said}");
    Ok(())
}

#[test]
fn a_small_hard_limit_of_open_files_is_told() -> Result<()> {
    let stand = stand_under(&limited(""))?;
    wait::until_true(SOON, "a warning that names the limit", || {
        let said = String::from_utf8_lossy(&stand.gateway.output()).into_owned();
        said.contains("fewer files than --max-connections") && said.contains("limit=64")
    })
}
