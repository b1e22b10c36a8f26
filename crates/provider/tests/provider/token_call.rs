use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use splittoken_provider::{
    MAX_ANSWER_BYTES, Provider, ProviderAnswer, ProviderSettings, TokenCall, TokenCallError,
};

use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::support::{
    full_text, given, passes_with,
    server::{Reply, Server},
    settings, start,
};

/// Where nobody listens, and no test ever will.
const NOBODY: &str = "http://127.0.0.1:1";

/// Odd on purpose: order, case and escapes must survive.
const FORM: &[u8] = b"grant_type=client_credentials&b=%2f+x&a=1&a=2&scope=";

fn call() -> TokenCall {
    let mut headers = HeaderMap::new();
    headers.insert(
        "authorization",
        HeaderValue::from_static("Basic bWFya2VkOnNlY3JldA=="),
    );
    headers.insert(
        "content-type",
        HeaderValue::from_static("application/x-www-form-urlencoded"),
    );
    headers.insert("accept-encoding", HeaderValue::from_static("gzip, br"));
    headers.insert("dpop", HeaderValue::from_static("proof"));
    headers.insert("content-length", HeaderValue::from_static("3"));
    TokenCall {
        headers,
        body: Bytes::from_static(FORM),
    }
}

/// A server that accepts nobody, and whose queue is full: whoever connects gets no answer at all.
async fn full() -> (TcpListener, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut queue = Vec::new();
    let within = Duration::from_millis(500);
    while let Ok(connected) = tokio::time::timeout(within, TcpStream::connect(address)).await {
        queue.push(connected.unwrap());
    }
    (listener, queue)
}

#[tokio::test]
async fn a_provider_that_accepts_nobody_is_given_up_on_by_the_connect_deadline() {
    let (listener, _queue) = full().await;
    let mut settings = given(&format!("http://{}", listener.local_addr().unwrap()));
    settings.connect_timeout = Duration::from_millis(300);
    let begun = Instant::now();
    let outcome = ask(settings).await.map(|answer| answer.status);
    assert_eq!(outcome.unwrap_err().reason(), "provider_connect_timeout");
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
}

async fn ask(settings: ProviderSettings) -> Result<ProviderAnswer, TokenCallError> {
    Provider::new(settings).unwrap().token_call(call()).await
}

#[tokio::test]
async fn the_request_goes_out_byte_for_byte() {
    let server = Server::start().await;
    server.reply("/token", Reply::ok(r#"{"access_token":"x"}"#));
    let answer = ask(given(&server.url)).await.unwrap();
    assert_eq!(
        (answer.status.as_u16(), answer.body.as_slice()),
        (200, br#"{"access_token":"x"}"#.as_slice())
    );
    let seen = server.seen("/token").pop().unwrap();
    assert!(seen.head.starts_with("POST /token HTTP/1.1\r\n"), "{}", seen.head);
    assert_eq!(seen.body, FORM);
    assert_eq!(seen.header("authorization"), Some("Basic bWFya2VkOnNlY3JldA=="));
    assert_eq!(seen.header("accept-encoding"), Some("identity"));
    assert_eq!(
        seen.header("content-length"),
        Some(FORM.len().to_string().as_str())
    );
    let mut names = seen.header_names();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "accept",
            "accept-encoding",
            "authorization",
            "content-length",
            "content-type",
            "dpop",
            "host"
        ],
        "of its own: Accept, which means the same as none, and no user agent, cookie or referer"
    );
}

#[tokio::test]
async fn every_status_but_a_redirect_comes_back_with_its_headers() {
    let server = Server::start().await;
    let bytes = "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"a\"\r\nDPoP-Nonce: n\r\n\
                 Content-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"a\":\r\n2\r\n1}\r\n0\r\n\r\n";
    server.reply("/token", Reply::raw(bytes));
    let answer = ask(given(&server.url)).await.unwrap();
    assert_eq!(
        (answer.status.as_u16(), answer.body.as_slice()),
        (401, b"{\"a\":1}".as_slice())
    );
    assert_eq!(answer.headers["dpop-nonce"], "n");
    assert_eq!(answer.headers["www-authenticate"], "Basic realm=\"a\"");
}

#[tokio::test]
async fn hostile_answers_are_refused_and_the_request_is_sent_once() {
    let too_large = "x".repeat(MAX_ANSWER_BYTES + 1);
    let chunk = format!("{:x}\r\n{}\r\n", too_large.len(), too_large);
    let cases = [
        ("HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n".to_owned(), "provider_redirect"),
        ("HTTP/1.1 307 X\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n".to_owned(), "provider_redirect"),
        ("HTTP/1.1 304 Not Modified\r\n\r\n".to_owned(), "provider_redirect"),
        ("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nxx".to_owned(), "provider_compressed"),
        ("HTTP/1.1 400 X\r\nContent-Encoding: br\r\nContent-Length: 2\r\n\r\nxx".to_owned(), "provider_compressed"),
        (
            "HTTP/1.1 200 OK\r\nContent-Encoding: identity\r\nContent-Encoding: zstd\r\nContent-Length: 0\r\n\r\n".to_owned(),
            "provider_compressed",
        ),
        ("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"access_token\"".to_owned(), "provider_truncated"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"a\":\r\n".to_owned(), "provider_truncated"),
        ("HTTP/1.1 200 OK\r\nContent-Le".to_owned(), "provider_truncated"),
        (String::new(), "provider_truncated"),
        (format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", MAX_ANSWER_BYTES + 1), "provider_too_large"),
        (format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}"), "provider_too_large"),
        (format!("HTTP/1.1 200 OK\r\n\r\n{too_large}"), "provider_too_large"),
        ("SSH-2.0-OpenSSH_9.2\r\n\r\n".to_owned(), "provider_malformed"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nxxx".to_owned(), "provider_malformed"),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n".to_owned(),
            "provider_malformed",
        ),
    ];
    for (bytes, reason) in cases {
        let server = Server::start().await;
        let start = bytes[..bytes.len().min(90)].to_owned();
        server.reply("/token", Reply::raw(bytes));
        server.reply("/elsewhere", Reply::ok("{}"));
        let error = ask(given(&server.url)).await.unwrap_err();
        assert_eq!(error.reason(), reason, "{start:?}: {}", full_text(&error));
        assert_eq!(
            (server.count("/token"), server.connections()),
            (1, 1),
            "{start:?}"
        );
    }
}

#[tokio::test]
async fn an_answer_of_exactly_the_limit_is_good() {
    let server = Server::start().await;
    server.reply("/token", Reply::ok(&"x".repeat(MAX_ANSWER_BYTES)));
    assert_eq!(
        ask(given(&server.url)).await.unwrap().body.len(),
        MAX_ANSWER_BYTES
    );
}

#[tokio::test]
async fn a_slow_provider_is_given_up_in_time() {
    let server = Server::start().await;
    let hour = Duration::from_secs(3600);
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n";
    for reply in [
        Reply::ok("{}").after(hour),
        Reply::raw(head).then(hour, "x"),
        Reply::raw("HTTP/1.1 2").then(hour, "x"),
    ] {
        server.reply("/token", reply);
        let begun = Instant::now();
        let short = ProviderSettings {
            request_timeout: Duration::from_millis(500),
            ..given(&server.url)
        };
        let error = ask(short).await.unwrap_err();
        assert_eq!(error.reason(), "provider_timeout");
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    }
    assert_eq!(
        server.count("/token"),
        3,
        "a request that may have been received is not repeated"
    );
}

#[tokio::test]
async fn a_refused_connection_is_told_quickly() {
    let begun = Instant::now();
    let error = ask(given(NOBODY)).await.unwrap_err();
    assert_eq!(error.reason(), "provider_unreachable", "{}", full_text(&error));
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn an_unknown_name_is_unreachable() {
    let error = ask(given("http://idp.invalid")).await.unwrap_err();
    // The second where whoever knows the names takes too long to say that there is none.
    let expected = ["provider_unreachable", "provider_connect_timeout"];
    assert!(expected.contains(&error.reason()), "{}", full_text(&error));
}

#[tokio::test]
async fn errors_hold_neither_query_nor_form_nor_credentials() {
    let server = Server::start().await;
    for base in [server.url.clone(), NOBODY.to_owned()] {
        for reply in [
            "",
            "HTTP/1.1 302 X\r\nLocation: /?marked\r\n\r\n",
            "marked\r\n\r\n",
            "HTTP/1.1 200 X\r\nContent-Length: 99\r\n\r\nmarked",
        ] {
            server.reply("/token", Reply::raw(reply));
            let mut settings = given(&base);
            settings.endpoints.token = Some(format!("{base}/token?key=marked"));
            let text = full_text(&ask(settings).await.unwrap_err());
            assert!(
                !["marked", "bWFya2Vk", "grant_type"]
                    .iter()
                    .any(|secret| text.contains(secret)),
                "{text}"
            );
        }
    }
    assert!(
        server.seen("/token")[0]
            .head
            .starts_with("POST /token?key=marked ")
    );
}

#[tokio::test]
async fn without_an_endpoint_nothing_is_sent() {
    let server = Server::start().await;
    let (provider, _task) = start(settings(&server.url));
    let error = provider.token_call(call()).await.unwrap_err();
    assert!(matches!(error, TokenCallError::NoTokenEndpoint), "{error}");
}

#[tokio::test]
async fn the_first_request_waits_for_discovery() {
    let server = Server::start().await;
    let document = server.document(&serde_json::json!({})).to_string();
    server.reply(
        "/.well-known/openid-configuration",
        Reply::ok(&document).after(Duration::from_millis(100)),
    );
    server.reply("/token", Reply::ok("{}"));
    let (provider, _task) = start(settings(&server.url));
    assert_eq!(provider.token_call(call()).await.unwrap().status.as_u16(), 200);
}

#[test]
fn a_proxy_in_the_environment_is_not_used() {
    let proxy = "http://127.0.0.1:1";
    let variables = ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"].map(|name| (name, proxy));
    passes_with("token_call::the_request_goes_out_byte_for_byte", &variables);
}
