//! The parts as a client meets them: over real sockets.

use std::time::Duration;

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::*;

/// An answer, taken apart.
pub(super) struct Reply {
    pub(super) status: u16,
    head: String,
    pub(super) body: String,
}

impl Reply {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

/// Sends a request with these header lines (each with its line end) and this body.
pub(super) async fn send(base: &str, line: &str, headers: &str, body: &str) -> Reply {
    let address = base.strip_prefix("http://").unwrap();
    let length = body.len();
    let request = format!(
        "{line} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{headers}content-length: {length}\r\n\r\n{body}"
    );
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Reply {
        status,
        head: head.to_owned(),
        body: body.to_owned(),
    }
}

/// Parts with a store of one record. They run until the sender is dropped.
pub(super) async fn running() -> (Parts, watch::Sender<bool>) {
    let (stop, stopped) = watch::channel(false);
    let store: StoreView = Arc::new(|| {
        vec![StoredEntry {
            key: "st1:abc".into(),
            value: vec![1, 0, 255],
            expires_in: Duration::from_secs(299),
        }]
    });
    let store = ShownStore {
        name: "memory".into(),
        view: Some(store),
    };
    (start(store, stopped).await.unwrap(), stop)
}

/// Asks the provider for Alice's token.
pub(super) async fn token(parts: &Parts) -> String {
    let form = "grant_type=password&username=alice&password=wonderland\
                &client_id=demo-client&client_secret=demo-secret";
    let headers = "content-type: application/x-www-form-urlencoded\r\n";
    let reply = send(&parts.provider, "POST /token", headers, form).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    reply.json()["access_token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_api_shows_what_it_received() {
    let (parts, _stop) = running().await;
    let jwt = token(&parts).await;
    let headers = format!("X-Twice: a\r\nauthorization: bearer {jwt}\r\nX-Twice: b\r\n");
    let received = send(&parts.api, "PUT /orders/1?page=2", &headers, "12345")
        .await
        .json();

    assert_eq!(received["method"], "PUT");
    assert_eq!(received["path"], "/orders/1");
    assert_eq!(received["query"], "page=2");
    assert_eq!(received["body_bytes"], 5);
    let lines = received["headers"].as_array().unwrap();
    assert!(lines.contains(&Value::String(format!("authorization: bearer {jwt}"))));
    assert_eq!(
        lines
            .iter()
            .filter(|line| line.as_str().unwrap().starts_with("x-twice: "))
            .count(),
        2
    );
    assert_eq!(received["jwt"]["claims"]["email"], "alice@wonderland.example");
    assert_eq!(received["jwt"]["header"]["alg"], "RS256");
    assert_eq!(received["jwt"]["signature_valid"], true);
}

#[tokio::test]
async fn the_api_tells_a_forged_jwt_and_an_opaque_token() {
    let (parts, _stop) = running().await;
    let (input, _) = { token(&parts).await }
        .rsplit_once('.')
        .map(|(a, b)| (a.to_owned(), b.len()))
        .unwrap();
    let forged = format!("authorization: Bearer {input}.AAAA\r\n");
    let received = send(&parts.api, "GET /", &forged, "").await.json();
    assert_eq!(received["jwt"]["signature_valid"], false);

    let received = send(&parts.api, "GET /", "authorization: Bearer opaque\r\n", "")
        .await
        .json();
    assert_eq!(received["jwt"], Value::Null);
    assert_eq!(received["query"], Value::Null);
}

#[tokio::test]
async fn the_page_and_its_files_are_served_under_a_strict_policy() {
    let (parts, _stop) = running().await;
    for path in [
        "/",
        "/demo/style.css",
        "/demo/main.js",
        "/demo/icon.svg",
        "/demo/setup",
        "/demo/nothing",
    ] {
        let reply = send(&parts.page, &format!("GET {path}"), "", "").await;
        assert_eq!(
            reply.status,
            if path.ends_with("nothing") { 404 } else { 200 },
            "{path}"
        );
        let policy = reply.header("content-security-policy").unwrap();
        assert!(
            policy.starts_with("default-src 'none'; script-src 'self';"),
            "{policy}"
        );
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(reply.header("cache-control"), Some("no-store"), "{path}");
    }
}

#[tokio::test]
async fn every_file_that_the_page_names_is_served() {
    let (parts, _stop) = running().await;
    let mut seen = 0;
    let mut todo = vec!["/".to_owned()];
    let mut done: Vec<String> = Vec::new();
    while let Some(path) = todo.pop() {
        let reply = send(&parts.page, &format!("GET {path}"), "", "").await;
        assert_eq!(reply.status, 200, "{path}");
        seen += 1;
        done.push(path);
        for quoted in reply.body.split('"').skip(1) {
            let named = quoted
                .strip_prefix("./")
                .map_or_else(|| quoted.to_owned(), |file| format!("/demo/{file}"));
            let is_file =
                [".js", ".css", ".svg"].iter().any(|end| named.ends_with(end)) && !named.contains(' ');
            if is_file && !done.contains(&named) && !todo.contains(&named) {
                todo.push(named);
            }
        }
    }
    assert_eq!(seen, page::file_count(), "found: {done:?}");
}

#[tokio::test]
async fn the_page_shows_the_last_token_and_the_store() {
    let (parts, _stop) = running().await;
    let before = send(&parts.page, "GET /demo/issued", "", "").await.json();
    assert_eq!(before["jwt"], Value::Null);

    let jwt = token(&parts).await;
    let after = send(&parts.page, "GET /demo/issued", "", "").await.json();
    assert_eq!(after["jwt"], jwt);

    let store = send(&parts.page, "GET /demo/store", "", "").await.json();
    let entry = serde_json::json!({ "key": "st1:abc", "size": 3, "expires_in": 299, "value": "AQD/" });
    assert_eq!(store["entries"], serde_json::json!([entry]));
}

#[tokio::test]
async fn a_store_elsewhere_is_not_an_empty_store() {
    let (_stop, stopped) = watch::channel(false);
    let name = "redis://127.0.0.1:6379/0".to_owned();
    let store = ShownStore { name, view: None };
    let parts = start(store, stopped).await.unwrap();
    let get = async |path| send(&parts.page, path, "", "").await.json();
    assert_eq!(get("GET /demo/store").await["entries"], Value::Null);
    assert_eq!(get("GET /demo/setup").await["store"], "redis://127.0.0.1:6379/0");
}

#[tokio::test]
async fn the_servers_end_when_they_are_told_to() {
    let (mut parts, stop) = running().await;
    stop.send(true).unwrap();
    while let Some(ended) = parts.servers.join_next().await {
        ended.unwrap().unwrap();
    }
    let address = parts.page.strip_prefix("http://").unwrap();
    assert!(
        TcpStream::connect(address).await.is_err(),
        "the port is free again"
    );
}
