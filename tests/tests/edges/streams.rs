//! What happens to bodies and to the heads around them, for each pair of versions: HTTP/1.1 and HTTP/2 on either side.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use bytes::Bytes;
use serde_json::json;
use splittoken_tests::hand::Peer;
use splittoken_tests::http::Answer;
use splittoken_tests::http2::Http2;
use splittoken_tests::http2_upstream::{Fields, Http2Upstream, Reply};
use splittoken_tests::raw::Client;
use splittoken_tests::route::Route;
use splittoken_tests::stand::{Stand, Token, request};
use splittoken_tests::wait;
use splittoken_tests::wire::Step;

/// An upstream of each version, with short limits until the head of an answer and a longer one between its pieces.
struct Both {
    stand: Stand,
    http2: Http2Upstream,
    token: Token,
}

/// A rule's limit until the head.
const HEAD: Duration = Duration::from_secs(2);
/// The longest silence.
const IDLE: Duration = Duration::from_secs(4);

/// A version of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    Http1,
    Http2,
}

use Version::{Http1, Http2 as ByHttp2};

/// The client's and the upstream's.
const PAIRS: [(Version, Version); 4] = [
    (Http1, Http1),
    (Http1, ByHttp2),
    (ByHttp2, Http1),
    (ByHttp2, ByHttp2),
];

impl Both {
    fn start() -> Result<Self> {
        let http2 = Http2Upstream::start()?;
        let timeouts = json!({"request": "2s", "backendRequest": "2s", "idle": "4s"});
        let rule = |name: &str, backend| {
            let path = format!("/{name}");
            json!({
                "name": name, "matches": [{"path": {"value": path}}], "timeouts": timeouts, "backendRefs": [backend],
            })
        };
        let stand = Stand::built(
            |to| {
                let mut patient = rule("patient", json!({"url": http2.url(), "protocol": "HTTP2"}));
                patient["timeouts"] = json!({"request": "0s", "backendRequest": "0s", "idle": "4s"});
                let rules = json!([
                    patient,
                    rule("http1", json!({"url": to.upstream})),
                    rule("http2", json!({"url": http2.url(), "protocol": "HTTP2"})),
                ]);
                Route::new(&to.issuer, &to.upstream)
                    .spec(&json!({"rules": rules}))
                    .into()
            },
            |gateway| gateway.arguments(&["--http2-cleartext", "--threads", "1"]),
        )?;
        let token = stand.token(&json!({}))?;
        Ok(Self { stand, http2, token })
    }

    /// From now on both upstreams answer this: pieces with the time before each.
    fn answer(&self, status: u16, headers: &Fields, pieces: &[(Duration, &'static str)]) {
        let mut head = format!("HTTP/1.1 {status} Whatever\r\n");
        for (name, value) in headers {
            head.extend([name, ": ", value.as_str(), "\r\n"]);
        }
        let is_chunked = !headers.iter().any(|(name, _)| *name == "content-length");
        if is_chunked {
            head.push_str("transfer-encoding: chunked\r\n");
        }
        let mut steps = vec![Step::send(head + "\r\n")];
        for (time, piece) in pieces {
            steps.push(Step::Wait(*time));
            steps.push(if is_chunked {
                Step::send(format!("{:x}\r\n{piece}\r\n", piece.len()))
            } else {
                Step::send(piece)
            });
        }
        if is_chunked {
            steps.push(Step::send("0\r\n\r\n"));
        }
        self.stand.upstream.steps(steps);
        let pieces = pieces
            .iter()
            .map(|(time, piece)| (*time, Bytes::from_static(piece.as_bytes())));
        let reply = Reply::Whole(status, headers.clone(), pieces.collect(), Vec::new());
        self.http2.answer(reply);
    }

    fn ask(
        &self,
        (client, upstream): (Version, Version),
        method: &str,
        headers: &[(&str, &str)],
    ) -> Result<Answer> {
        let path = if upstream == Http1 { "/http1/x" } else { "/http2/x" };
        let host = self.stand.gateway.host();
        let bearer = format!("Bearer {}", self.token.opaque);
        let mut all = vec![("authorization", bearer.as_str())];
        all.extend(headers);
        if client == ByHttp2 {
            let target = format!("http://{host}{path}");
            return Http2::connect(self.stand.gateway.address())?.call(method, &target, &all, "");
        }
        let lines: Vec<String> = all
            .iter()
            .map(|(name, value)| format!("{name}: {value}"))
            .collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let mut connection = Client::connect(self.stand.gateway.address())?;
        connection.send(request(&host, &format!("{method} {path}"), &lines, ""))?;
        let answer = if method == "HEAD" {
            connection.read_head()?
        } else {
            connection.read()?
        };
        let Some(answer) = answer else { bail!("no answer") };
        Ok(Answer {
            status: answer.status,
            headers: answer.headers,
            body: answer.body,
        })
    }
}

/// Does this with all pairs at once: most of it is waiting.
fn each_pair(check: impl Fn((Version, Version)) -> Result<()> + Sync) -> Result<()> {
    let check = &check;
    thread::scope(|scope| {
        let checks = PAIRS.map(|pair| (pair, scope.spawn(move || check(pair))));
        checks.into_iter().try_for_each(|(pair, check)| {
            let outcome = check.join().map_err(|_| anyhow!("a panic"));
            outcome.flatten().with_context(|| format!("{pair:?}"))
        })
    })
}

/// Events of a server, a long download: the limits of a request end with the head, and only silence ends the rest.
#[test]
fn a_long_answer_is_not_cut_by_the_limits_of_its_request() -> Result<()> {
    let both = Both::start()?;
    let pause = Duration::from_millis(1500);
    both.answer(
        200,
        &vec![("content-type", "text/event-stream".to_owned())],
        &[
            (Duration::ZERO, "data: 1\n\n"),
            (pause, "data: 2\n\n"),
            (pause, "data: 3\n\n"),
            (pause, "data: 4\n\n"),
        ],
    );
    each_pair(|pair| {
        let start = Instant::now();
        let answer = both.ask(pair, "GET", &[])?;
        ensure!(
            answer.status == 200 && answer.text() == "data: 1\n\ndata: 2\n\ndata: 3\n\ndata: 4\n\n",
            "{} {}",
            answer.status,
            answer.text()
        );
        ensure!(start.elapsed() > 2 * HEAD, "too fast to tell");
        Ok(())
    })
}

#[test]
fn a_silence_ends_an_answer_and_the_client_can_tell() -> Result<()> {
    let both = Both::start()?;
    both.answer(
        200,
        &Vec::new(),
        &[(Duration::ZERO, "half"), (10 * IDLE, "the rest")],
    );
    each_pair(|pair| {
        let start = Instant::now();
        let broken = both.ask(pair, "GET", &[]);
        ensure!(broken.is_err(), "{broken:?}");
        ensure!(start.elapsed() >= IDLE, "{:?}", start.elapsed());
        Ok(())
    })
}

#[test]
fn no_head_in_time_is_a_504() -> Result<()> {
    let both = Both::start()?;
    both.stand.upstream.steps(vec![Step::Hold]);
    both.http2.answer(Reply::After(10 * HEAD));
    each_pair(|pair| {
        let status = both.ask(pair, "GET", &[])?.status;
        ensure!(status == 504, "{status}");
        Ok(())
    })
}

#[test]
fn parts_validators_and_codings_pass_as_they_are() -> Result<()> {
    let both = Both::start()?;
    let fields = vec![
        ("content-length", "4".to_owned()),
        ("content-range", "bytes 0-3/10".to_owned()),
        ("content-encoding", "gzip".to_owned()),
        ("etag", "W/\"e\"".to_owned()),
        ("accept-ranges", "bytes".to_owned()),
        ("vary", "accept-encoding".to_owned()),
        ("last-modified", "Tue, 24 Nov 2026 10:00:00 GMT".to_owned()),
    ];
    // Whatever it is, nobody takes it apart.
    both.answer(206, &fields, &[(Duration::ZERO, "\u{1f}x\u{8}y")]);
    let asked = [
        ("range", "bytes=0-3"),
        ("accept-encoding", "gzip, br"),
        ("if-range", "\"e\""),
    ];
    for pair in PAIRS {
        let answer = both.ask(pair, "GET", &asked)?;
        assert_eq!(
            (answer.status, &*answer.body),
            (206, &b"\x1fx\x08y"[..]),
            "{pair:?}"
        );
        for (name, value) in &fields {
            assert_eq!(answer.header(name), Some(value.as_str()), "{pair:?}: {name}");
        }
        for (name, value) in asked {
            let seen = if pair.1 == Http1 {
                both.stand.upstream.last()?.header(name)
            } else {
                let seen = both.http2.last()?.headers;
                seen.get(name)
                    .and_then(|seen| seen.to_str().ok())
                    .map(str::to_owned)
            };
            assert_eq!(seen.as_deref(), Some(value), "{pair:?}: {name}");
        }
    }
    Ok(())
}

#[test]
fn a_head_has_the_length_of_what_is_not_sent_and_an_unchanged_answer_has_no_body() -> Result<()> {
    let both = Both::start()?;
    let fields = vec![
        ("content-length", "1234".to_owned()),
        ("etag", "\"e\"".to_owned()),
    ];
    both.answer(200, &fields, &[]);
    for pair in PAIRS {
        let answer = both.ask(pair, "HEAD", &[])?;
        assert_eq!((answer.status, answer.body.len()), (200, 0), "{pair:?}");
        assert_eq!(answer.header("content-length"), Some("1234"), "{pair:?}");
    }
    let fields = vec![("content-length", "0".to_owned()), ("etag", "\"e\"".to_owned())];
    both.answer(304, &fields, &[]);
    for pair in PAIRS {
        let answer = both.ask(pair, "GET", &[("if-none-match", "\"e\"")])?;
        assert_eq!((answer.status, answer.body.len()), (304, 0), "{pair:?}");
        assert_eq!(answer.header("etag"), Some("\"e\""), "{pair:?}");
    }
    Ok(())
}

impl Both {
    /// A client by HTTP/1.1 that has sent the head of an upload and waits for leave.
    fn upload(&self, path: &str, length: usize) -> Result<Peer> {
        let mut client = Peer::connect(self.stand.gateway.address())?;
        let length = format!("Content-Length: {length}");
        let headers = [&*self.token.header(), &length, "Expect: 100-continue"];
        client.send(request(
            &self.stand.gateway.host(),
            &format!("POST {path}"),
            &headers,
            "",
        ))?;
        Ok(client)
    }
}

/// To HTTP/1.1 upstreams it is the same, see the tests of API requests.
#[test]
fn a_client_that_asks_first_is_told_to_go_on_by_http_2_too() -> Result<()> {
    let both = Both::start()?;
    let mut client = both.upload("/http2/upload", 4)?;
    client.until("HTTP/1.1 100 Continue\r\n\r\n")?;
    client.send("body")?;
    client.until("HTTP/1.1 200 OK\r\n")?;
    let seen = both.http2.last()?;
    assert_eq!(seen.body, b"body");
    ensure!(!seen.headers.contains_key("expect"), "{:?}", seen.headers);
    Ok(())
}

#[test]
fn a_request_that_stops_coming_is_given_up_by_http_2_too() -> Result<()> {
    let both = Both::start()?;
    for (path, status) in [("/http2/upload", "504"), ("/patient/upload", "400")] {
        let mut client = both.upload(path, 8)?;
        client.send("half")?;
        let start = Instant::now();
        let answer = String::from_utf8_lossy(&client.rest()?).into_owned();
        // What comes first: the limit of the request, or that of a silence.
        ensure!(answer.contains(&format!("HTTP/1.1 {status}")), "{path}: {answer}");
        ensure!(start.elapsed() < 8 * IDLE, "{path}: {:?}", start.elapsed());
    }
    // The connection to the upstream is as good as before.
    assert_eq!(both.ask((Http1, ByHttp2), "GET", &[])?.status, 200);
    assert_eq!(both.http2.connections(), 1);
    Ok(())
}

#[test]
fn a_client_that_breaks_off_ends_its_request_at_the_upstream_and_no_other() -> Result<()> {
    let both = Both::start()?;
    both.http2.answer(Reply::Echo("text/plain"));
    let mut staying = both.upload("/http2/upload", 8)?;
    staying.until("HTTP/1.1 200 OK\r\n")?;
    staying.send("half")?;
    staying.until("half")?;
    let mut leaving = both.upload("/http2/upload", 8)?;
    leaving.send("half")?;
    leaving.until("half")?;
    drop(leaving);
    let open = || {
        let metrics = both.stand.gateway.admin("/metrics").map(|answer| answer.text());
        metrics
            .unwrap_or_default()
            .contains("splittoken_gateway_connections 1")
    };
    wait::until_true(wait::START, "one connection to be left", open)?;
    staying.send("half")?;
    staying.until("halfhalf")?;
    assert_eq!(both.http2.connections(), 1);
    Ok(())
}
