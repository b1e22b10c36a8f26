//! A server that writes raw bytes, so that it can be as wrong as a test wants.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;

/// What is written for a path: pieces with a pause before each; then the connection is closed.
#[derive(Clone, Default)]
pub(crate) struct Reply {
    pieces: Vec<(Duration, Vec<u8>)>,
}

/// A request as it came.
#[derive(Clone)]
pub(crate) struct Seen {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

/// Ends with the test's runtime.
pub(crate) struct Server {
    pub(crate) url: String,
    script: Arc<Script>,
}

#[derive(Default)]
struct Script {
    replies: Mutex<HashMap<String, Reply>>,
    seen: Mutex<Vec<Seen>>,
    connections: AtomicUsize,
}

impl Reply {
    pub(crate) fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Self::default().then(Duration::ZERO, bytes)
    }

    /// A whole answer of this status and this body.
    pub(crate) fn status(status: &str, body: &str) -> Self {
        Self::raw(format!(
            "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ))
    }

    pub(crate) fn ok(body: &str) -> Self {
        Self::status("200 OK", body)
    }

    pub(crate) fn then(mut self, pause: Duration, bytes: impl Into<Vec<u8>>) -> Self {
        self.pieces.push((pause, bytes.into()));
        self
    }

    /// The same, after a pause.
    pub(crate) fn after(mut self, pause: Duration) -> Self {
        self.pieces.insert(0, (pause, Vec::new()));
        self
    }
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::listen(None).await
    }

    pub(crate) async fn start_tls(acceptor: TlsAcceptor) -> Self {
        Self::listen(Some(acceptor)).await
    }

    async fn listen(acceptor: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let scheme = if acceptor.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://localhost:{}", listener.local_addr().unwrap().port());
        let script = Arc::new(Script::default());
        let shared = Arc::clone(&script);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                shared.connections.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(serve(stream, acceptor.clone(), Arc::clone(&shared)));
            }
        });
        Self { url, script }
    }

    /// From now on `path` answers with this; a path without a reply answers 404.
    pub(crate) fn reply(&self, path: &str, reply: Reply) {
        self.script.replies.lock().insert(path.to_owned(), reply);
    }

    /// A discovery document for this server, with `changes`.
    pub(crate) fn document(&self, changes: &serde_json::Value) -> serde_json::Value {
        let url = &self.url;
        let mut document = serde_json::json!({
            "issuer": url,
            "token_endpoint": format!("{url}/token"),
            "jwks_uri": format!("{url}/jwks"),
            "revocation_endpoint": format!("{url}/revoke"),
        });
        document
            .as_object_mut()
            .unwrap()
            .extend(changes.as_object().unwrap().clone());
        document
    }

    /// The requests for `path` so far.
    pub(crate) fn seen(&self, path: &str) -> Vec<Seen> {
        let all = self.script.seen.lock();
        all.iter()
            .filter(|seen| path_of(&seen.head) == path)
            .cloned()
            .collect()
    }

    pub(crate) fn count(&self, path: &str) -> usize {
        self.seen(path).len()
    }

    pub(crate) fn connections(&self) -> usize {
        self.script.connections.load(Ordering::Relaxed)
    }
}

impl Seen {
    /// The lower-case names of the headers, in order.
    pub(crate) fn header_names(&self) -> Vec<String> {
        let lines = self.head.lines().skip(1).take_while(|line| !line.is_empty());
        lines
            .map(|line| line.split(':').next().unwrap().to_ascii_lowercase())
            .collect()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        lines
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }
}

/// The target without its query.
fn path_of(head: &str) -> &str {
    let target = head.split(' ').nth(1).unwrap_or_default();
    target.split('?').next().unwrap_or_default()
}

async fn serve(stream: TcpStream, acceptor: Option<TlsAcceptor>, script: Arc<Script>) {
    match acceptor {
        // A client that does not trust the certificate goes away here.
        Some(acceptor) => {
            if let Ok(stream) = acceptor.accept(stream).await {
                answer(stream, &script).await;
            }
        }
        None => answer(stream, &script).await,
    }
}

/// One request, one answer. Clients that go away early are part of the tests.
async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, script: &Script) {
    let Some(seen) = read_request(&mut stream).await else {
        return;
    };
    let reply = script.replies.lock().get(path_of(&seen.head)).cloned();
    script.seen.lock().push(seen);
    for (pause, bytes) in reply.unwrap_or_else(|| Reply::status("404 Not Found", "")).pieces {
        tokio::time::sleep(pause).await;
        if stream.write_all(&bytes).await.is_err() {
            return;
        }
    }
    let _ = stream.shutdown().await;
}

async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> Option<Seen> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8(bytes[..end + 4].to_vec()).unwrap();
            let body = bytes[end + 4..].to_vec();
            let seen = Seen { head, body };
            let length = seen
                .header("content-length")
                .map_or(0, |len| len.parse().unwrap());
            if seen.body.len() >= length {
                return Some(seen);
            }
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}
