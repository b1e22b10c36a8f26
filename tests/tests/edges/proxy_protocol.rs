//! The PROXY protocol: a load balancer says whose connection it is, and nobody else may.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use splittoken_tests::raw;
use splittoken_tests::shop::metric;
use splittoken_tests::stand::{Stand, Token, request};
use splittoken_tests::tls::Session;
use splittoken_tests::wait;

use super::{Secured, stand};

const V1: &[u8] = b"PROXY TCP4 192.0.2.7 192.0.2.1 40000 443\r\n";
const V1_UNKNOWN: &[u8] = b"PROXY UNKNOWN\r\n";

/// Version 2 (0x21, TCP over IPv4) with something behind the addresses, as cloud load balancers have.
fn v2(command: u8) -> Vec<u8> {
    let mut bytes = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    bytes.extend([0x20 | command, 0x11, 0, 19]);
    bytes.extend([192, 0, 2, 8, 192, 0, 2, 1, 0x9c, 0x40, 1, 0xbb]);
    bytes.extend([0xea, 0, 4, 1, 2, 3, 4]);
    bytes
}

fn behind(trusted: &str) -> Result<(Stand, Vec<u8>)> {
    let stand = stand(&["--proxy-protocol", "--trusted-proxies", trusted])?;
    let call = request(&stand.gateway.host(), "GET /orders", &[], "");
    Ok((stand, call))
}

fn in_pieces(address: SocketAddr, pieces: &[&[u8]]) -> Result<Option<raw::Answer>> {
    let mut client = raw::Client::connect(address)?;
    for piece in pieces {
        client.send(piece)?;
    }
    client.read()
}

#[test]
fn the_header_says_whose_connection_it_is() -> Result<()> {
    let (stand, _) = behind("127.0.0.0/8")?;
    let jwt = stand
        .key
        .token(&stand.provider.claims(&json!({"jti": "behind a proxy"})))?;
    stand.provider.answer_token(&jwt);
    let form = "grant_type=client_credentials";
    let length = format!("Content-Length: {}", form.len());
    let headers = ["Content-Type: application/x-www-form-urlencoded", &length];
    let asked = [
        V1,
        &request(&stand.gateway.host(), "POST /oauth/token", &headers, form),
    ]
    .concat();
    let issued = stand.gateway.exchange(asked)?.context("no token")?;
    let token = issued.json()?["access_token"]
        .as_str()
        .context("no token")?
        .to_owned();
    let token = Token { jwt, opaque: token };
    let call = request(
        &stand.gateway.host(),
        "GET /orders",
        &[&token.header(), "X-Forwarded-For: 6.6.6.6"],
        "",
    );
    for (what, header, address) in [
        ("version 1", V1.to_vec(), "192.0.2.7"),
        ("version 2", v2(1), "192.0.2.8"),
        ("of unknown origin", V1_UNKNOWN.to_vec(), "127.0.0.1"),
        ("its own", v2(0), "127.0.0.1"),
    ] {
        // In one piece, and byte by byte.
        let bytes: Vec<&[u8]> = header.chunks(1).collect();
        let whole = [header.as_slice(), &call].concat();
        for pieces in [vec![whole.as_slice()], [bytes, vec![&call[..]]].concat()] {
            let answer = in_pieces(stand.gateway.address(), &pieces)?.context("no answer")?;
            assert_eq!(answer.status, 200, "{what}: {}", answer.text());
            let seen = stand.upstream.last()?;
            let told = seen.header("x-forwarded-for").unwrap_or_default();
            // Of itself, a trusted proxy may say more.
            ensure!(
                told == address || (address == "127.0.0.1" && told == "6.6.6.6, 127.0.0.1"),
                "{what}: {told}"
            );
        }
    }
    Ok(())
}

#[test]
fn a_connection_without_a_header_is_closed() -> Result<()> {
    let (stand, call) = behind("127.0.0.1/32")?;
    let endless = [b"PROXY TCP4 ".as_slice(), &[b'1'; 5000]].concat();
    let broken = [b"PROXY TCP4 192.0.2.7 192.0.2.1 40000\r\n".as_slice(), &call].concat();
    let twice = [V1, V1, &call].concat();
    for (what, bytes) in [
        ("none", &call),
        ("a broken one", &broken),
        ("an endless one", &endless),
    ] {
        let answer = stand.gateway.exchange(bytes);
        ensure!(!matches!(answer, Ok(Some(_))), "{what}: {answer:?}");
    }
    // What comes behind the header is the client's own.
    let answer = stand.gateway.exchange(&twice)?.context("no answer")?;
    assert_eq!(answer.status, 400);
    ensure!(stand.upstream.requests().is_empty(), "it came through");
    let line = "splittoken_gateway_connections_unopened_total{reason=\"proxy_header\"}";
    wait::until_true(wait::START, "all to be counted", || {
        metric(&stand.gateway, line).is_ok_and(|count| count == 3)
    })
}

#[test]
fn strangers_say_nothing_about_others() -> Result<()> {
    let (stand, call) = behind("192.0.2.0/24")?;
    let answer = stand.gateway.exchange([V1, &call].concat());
    ensure!(!matches!(answer, Ok(Some(_))), "{answer:?}");
    let line = "splittoken_gateway_connections_unopened_total{reason=\"proxy_untrusted\"}";
    wait::until_true(wait::START, "it to be counted", || {
        metric(&stand.gateway, line).is_ok_and(|count| count == 1)
    })
}

#[test]
fn tls_begins_behind_the_header() -> Result<()> {
    let secured = Secured::built(&[&["a.example"]], |gateway| {
        gateway.arguments(&["--proxy-protocol", "--trusted-proxies", "127.0.0.1/32"])
    })?;
    let mut stream = TcpStream::connect(secured.address)?;
    stream.write_all(&v2(1))?;
    let mut session = Session::over(stream, secured.authority.pem(), "a.example", &[])?;
    let answer = session.exchange(request("a.example", "GET /orders", &[], ""), |text| {
        text.contains("\r\n\r\n")
    })?;
    ensure!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    Ok(())
}
