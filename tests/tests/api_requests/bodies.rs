//! Bodies of answers and how they are framed, whole and broken.

use anyhow::{Context as _, Result};
use splittoken_tests::hand::Peer;
use splittoken_tests::raw::{Answer, Client};
use splittoken_tests::secret;
use splittoken_tests::stand::{Stand, request};
use splittoken_tests::wire::{Step, answer};

use super::stand;

/// Two requests on one connection: whatever the first answer was, the second begins in the right place.
fn twice(stand: &Stand, line: &str) -> Result<Answer> {
    let mut client = Client::connect(stand.gateway.address())?;
    client.send(request(&stand.gateway.host(), line, &[], ""))?;
    let read = |client: &mut Client| {
        let is_head = line.starts_with("HEAD ");
        let answer = if is_head {
            client.read_head()
        } else {
            client.read()
        };
        answer?.context("no answer")
    };
    let first = read(&mut client)?;
    client.send(request(&stand.gateway.host(), "GET /open/second", &[], ""))?;
    let second = client.read()?.context("no second answer")?;
    assert_eq!(
        second.text(),
        "second",
        "after {:?}",
        String::from_utf8_lossy(&first.head)
    );
    Ok(first)
}

/// The upstream answers this, apart from the second request of [`twice`].
fn upstream_answers(stand: &Stand, raw: &'static str) {
    stand.upstream.script(move |request| {
        let is_second = request.target() == "/open/second";
        vec![if is_second {
            Step::Send(answer("200 OK", &[], "second"))
        } else {
            Step::send(raw)
        }]
    });
}

#[test]
fn answers_without_a_body_have_none() -> Result<()> {
    let stand = stand()?;
    for (line, raw, status, length) in [
        (
            "HEAD /open",
            "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n",
            200,
            Some("1234"),
        ),
        (
            "HEAD /open",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            200,
            None,
        ),
        (
            "HEAD /open",
            "HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\n",
            404,
            Some("9"),
        ),
        ("GET /open", "HTTP/1.1 204 No Content\r\n\r\n", 204, None),
        (
            "DELETE /open",
            "HTTP/1.1 204 No Content\r\nX-A: b\r\n\r\n",
            204,
            None,
        ),
        // RFC 9110 section 8.6: a 204 has no Content-Length, whatever an upstream thinks.
        (
            "GET /open",
            "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
            204,
            None,
        ),
        (
            "GET /open",
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            200,
            Some("0"),
        ),
    ] {
        upstream_answers(&stand, raw);
        let answer = twice(&stand, line)?;
        assert_eq!(answer.status, status, "{line} {raw}");
        assert_eq!(answer.header("content-length"), length, "{line} {raw}");
        assert_eq!(answer.raw_body, b"", "{line} {raw}");
    }
    Ok(())
}

/// Its length is that of what is not sent (RFC 9110 section 8.6).
#[test]
fn a_304_has_no_body_whatever_length_it_names() -> Result<()> {
    let stand = stand()?;
    for raw in [
        "HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\nContent-Length: 100\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\n\r\n",
    ] {
        upstream_answers(&stand, raw);
        let answer = twice(&stand, "GET /open")?;
        assert_eq!(answer.status, 304);
        assert_eq!(answer.header("etag"), Some("\"1\""));
        assert!(matches!(answer.header("content-length"), None | Some("100")));
    }
    Ok(())
}

#[test]
fn bodies_arrive_whole_however_the_upstream_frames_them() -> Result<()> {
    let stand = stand()?;
    for raw in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\nhe\r\n3\r\nllo\r\n0\r\nX-Sum: 1\r\n\r\n",
        // RFC 9112 section 6.3: chunked wins, and the length must not travel on.
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 100\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    ] {
        upstream_answers(&stand, raw);
        let answer = twice(&stand, "GET /open")?;
        assert_eq!((answer.status, answer.text().as_str()), (200, "hello"), "{raw}");
        let framings =
            answer.header_all("content-length").len() + answer.header_all("transfer-encoding").len();
        assert_eq!(framings, 1, "{raw}: {:?}", answer.headers);
    }
    Ok(())
}

/// The end of such a body is the upstream's close; the client's connection goes on (RFC 9112 section 9.3).
#[test]
fn a_body_up_to_the_close_and_http_1_0_become_http_1_1() -> Result<()> {
    let stand = stand()?;
    for raw in [
        "HTTP/1.1 200 OK\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello",
        "HTTP/1.0 200 OK\r\n\r\nhello",
        "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    ] {
        stand.upstream.script(move |request| {
            let is_second = request.target() == "/open/second";
            let first = if is_second {
                Step::Send(answer("200 OK", &[], "second"))
            } else {
                Step::send(raw)
            };
            vec![first, Step::Close]
        });
        let answer = twice(&stand, "GET /open")?;
        assert!(
            answer.head.starts_with(b"HTTP/1.1 200 OK\r\n"),
            "{raw}: {:?}",
            String::from_utf8_lossy(&answer.head)
        );
        assert_eq!(answer.text(), "hello", "{raw}");
    }
    Ok(())
}

/// What a client must be able to tell from a whole answer: a length that is not reached, or no last chunk.
#[test]
fn a_client_notices_an_answer_that_broke_off() -> Result<()> {
    let stand = stand()?;
    for raw in [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nxyz\r\n",
    ] {
        stand.upstream.steps(vec![Step::send(raw), Step::Close]);
        let mut client = Peer::connect(stand.gateway.address())?;
        client.send(request(&stand.gateway.host(), "GET /open", &[], ""))?;
        let all = String::from_utf8_lossy(&client.rest()?).into_owned();
        let (head, body) = all.split_once("\r\n\r\n").context("no head")?;
        if head.starts_with("HTTP/1.1 502") {
            continue;
        }
        assert!(head.starts_with("HTTP/1.1 200"), "{raw}: {all}");
        let is_whole = if head.to_ascii_lowercase().contains("content-length: 10") {
            body.len() >= 10
        } else {
            body.ends_with("0\r\n\r\n")
        };
        assert!(!is_whole, "{raw}: {all}");
    }
    Ok(())
}

#[test]
fn ten_megabytes_go_up_and_come_down_unchanged() -> Result<()> {
    let stand = stand()?;
    // Random, so that a piece that is lost, doubled or moved shows.
    let piece = secret::bytes::<65_536>();
    let sent: Vec<u8> = (0..160u8)
        .flat_map(|number| piece.iter().map(move |byte| byte ^ number))
        .collect();
    assert!(sent.len() >= 10_000_000);
    for chunked in [false, true] {
        stand.upstream.script(move |request| {
            let body = request.body().to_vec();
            let raw = if chunked {
                let mut raw = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
                for piece in body.chunks(50_000) {
                    raw.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
                    raw.extend_from_slice(piece);
                    raw.extend_from_slice(b"\r\n");
                }
                raw.extend_from_slice(b"0\r\n\r\n");
                raw
            } else {
                answer("200 OK", &[], body)
            };
            vec![Step::Send(raw)]
        });
        let length = format!("Content-Length: {}", sent.len());
        let mut bytes = request(&stand.gateway.host(), "PUT /open", &[&length], "");
        bytes.extend_from_slice(&sent);
        let answer = stand.gateway.exchange(bytes)?.context("no answer")?;
        assert_eq!(answer.status, 200);
        assert!(stand.upstream.last()?.body() == sent, "what went up has changed");
        assert!(
            answer.body == sent,
            "what came down has changed (chunked: {chunked})"
        );
    }
    Ok(())
}

#[test]
fn a_token_request_that_announces_too_much_is_refused_before_it_has_come() -> Result<()> {
    let stand = stand()?;
    let mut client = Peer::connect(stand.gateway.address())?;
    let headers = [
        "Content-Type: application/x-www-form-urlencoded",
        "Content-Length: 65537",
    ];
    client.send(request(
        &stand.gateway.host(),
        "POST /oauth/token",
        &headers,
        "grant_type=",
    ))?;
    let answer = String::from_utf8_lossy(&client.rest()?).into_owned();
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    Ok(())
}
